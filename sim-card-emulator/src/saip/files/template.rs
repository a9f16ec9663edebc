//! The templates of the files a terminal asks for.
//!
//! Annex A of the TCA specification, as far as a file is of use to a terminal that only reads.

/// Files of a profile element that go into one directory.
pub(super) struct Group {
    pub(super) directory: Directory,
    /// Number of the component that is the directory itself, or of the first file.
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) templates: &'static [Template],
}

/// Where files go.
#[derive(Clone, Copy)]
pub(super) enum Directory {
    Master,
    /// A new application, which the first component describes.
    Application(Kind),
    /// The application of this kind that was created last.
    Latest(Kind),
}

/// The network access applications.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Usim,
    Isim,
    Csim,
}

/// What a file is when the package does not say it.
pub(super) struct Template {
    pub(super) number: u32,
    pub(super) identifier: u16,
    pub(super) short: Option<u8>,
    /// Octets of the whole file; 0 when the package decides.
    pub(super) size: usize,
    /// Octets of a record; 0 when there are none.
    pub(super) record: usize,
    /// What stands at its beginning. A file without it is only there when the package has it.
    pub(super) content: &'static [u8],
}

impl Template {
    pub(super) fn descriptor(&self) -> u8 {
        if self.record == 0 {
            TRANSPARENT
        } else {
            LINEAR_FIXED
        }
    }
}

/// What the profile element with this tag creates.
pub(super) fn groups(tag: u32) -> &'static [Group] {
    match tag {
        0xB0 => MF,
        0xB3 => USIM,
        0xB4 => OPT_USIM,
        0xB5 => ISIM,
        0xB6 => OPT_ISIM,
        0xB9 => CSIM,
        0xBA => OPT_CSIM,
        0xBF20 => IOT,
        0xBF21 => OPT_IOT,
        _ => &[],
    }
}

const fn transparent(
    number: u32,
    identifier: u16,
    short: u8,
    size: usize,
    content: &'static [u8],
) -> Template {
    Template {
        number,
        identifier,
        short: Some(short),
        size,
        record: 0,
        content,
    }
}

const fn records(number: u32, identifier: u16, short: u8, record: usize) -> Template {
    Template {
        number,
        identifier,
        short: Some(short),
        size: 0,
        record,
        content: &[],
    }
}

const MF: &[Group] = &[Group {
    directory: Directory::Master,
    first: 3,
    last: 7,
    templates: &[
        transparent(3, 0x2F05, 0x05, 0, &[]),
        transparent(4, 0x2FE2, 0x02, 10, &[]),
        records(5, 0x2F00, 0x1E, 38),
        records(6, 0x2F06, 0x06, 37),
        transparent(7, 0x2F08, 0x08, 5, &[]),
    ],
}];

const USIM: &[Group] = &[Group {
    directory: Directory::Application(Kind::Usim),
    first: 2,
    last: 25,
    templates: &[
        transparent(3, 0x6F07, 0x07, 9, &[]),
        records(4, 0x6F06, 0x17, 37),
        transparent(5, 0x6F08, 0x08, 33, &[0x07]),
        transparent(6, 0x6F09, 0x09, 33, &[0x07]),
        transparent(7, 0x6F31, 0x12, 1, &[0x0A]),
        transparent(8, 0x6F38, 0x04, 0, &[]),
        records(9, 0x6F3B, 0x00, 26),
        records(10, 0x6F3C, 0x00, 176),
        records(11, 0x6F42, 0x00, 42),
        transparent(12, 0x6F43, 0x00, 2, &[0xFF, 0xFF]),
        transparent(13, 0x6F46, 0x00, 17, &[]),
        transparent(14, 0x6F56, 0x05, 1, &[]),
        transparent(15, 0x6F5B, 0x0F, 6, &[0xF0, 0x00, 0x00, 0xF0, 0x00, 0x00]),
        transparent(16, 0x6F5C, 0x10, 3, &[0xFF, 0xFF, 0xFF]),
        transparent(17, 0x6F73, 0x0C, 14, &PSLOCI),
        transparent(18, 0x6F78, 0x06, 2, &[]),
        transparent(19, 0x6F7B, 0x0D, 12, &[0xFF; 12]),
        transparent(20, 0x6F7E, 0x0B, 11, &LOCI),
        transparent(21, 0x6FAD, 0x03, 4, &[0x00, 0x00, 0x00, 0x02]),
        records(22, 0x6FB7, 0x01, 4),
        transparent(23, 0x6FC4, 0x00, 0, &[]),
        transparent(24, 0x6FE3, 0x1E, 18, &EPSLOCI),
        records(25, 0x6FE4, 0x18, 54),
    ],
}];

/// Only what terminals show of it: groups, own numbers, the names of networks.
const OPT_USIM: &[Group] = &[Group {
    directory: Directory::Latest(Kind::Usim),
    first: 2,
    last: 90,
    templates: &[
        transparent(2, 0x6F05, 0x02, 0, &[]),
        transparent(5, 0x6F3E, 0x00, 0, &[]),
        transparent(6, 0x6F3F, 0x00, 0, &[]),
        records(7, 0x6F40, 0x00, 34),
        transparent(15, 0x6F60, 0x0A, 40, &[]),
        transparent(16, 0x6F61, 0x11, 40, &[]),
        transparent(17, 0x6F62, 0x13, 5, &[]),
    ],
}];

const ISIM: &[Group] = &[Group {
    directory: Directory::Application(Kind::Isim),
    first: 2,
    last: 8,
    templates: &[
        transparent(3, 0x6F02, 0x02, 0, &[]),
        records(4, 0x6F04, 0x04, 64),
        transparent(5, 0x6F03, 0x05, 0, &[]),
        transparent(6, 0x6F07, 0x07, 14, &[]),
        transparent(7, 0x6FAD, 0x03, 3, &[0x00, 0x00, 0x00]),
        records(8, 0x6F06, 0x06, 37),
    ],
}];

const OPT_ISIM: &[Group] = &[Group {
    directory: Directory::Latest(Kind::Isim),
    first: 2,
    last: 15,
    templates: &[],
}];

const CSIM: &[Group] = &[Group {
    directory: Directory::Application(Kind::Csim),
    first: 2,
    last: 35,
    templates: &[],
}];

const OPT_CSIM: &[Group] = &[Group {
    directory: Directory::Latest(Kind::Csim),
    first: 2,
    last: 65,
    templates: &[],
}];

/// The element of the IoT Minimal Profile holds the files of the master file and of the USIM.
const IOT: &[Group] = &[
    Group {
        directory: Directory::Master,
        first: 3,
        last: 7,
        templates: MF[0].templates,
    },
    Group {
        directory: Directory::Application(Kind::Usim),
        first: 8,
        last: 23,
        templates: &[
            transparent(9, 0x6F07, 0x07, 9, &[]),
            records(10, 0x6F06, 0x17, 37),
            transparent(11, 0x6F08, 0x08, 33, &[0x07]),
            transparent(12, 0x6F09, 0x09, 33, &[0x07]),
            transparent(13, 0x6F31, 0x12, 1, &[0x0A]),
            transparent(14, 0x6F38, 0x04, 0, &[]),
            transparent(15, 0x6F5B, 0x0F, 6, &[0xF0, 0x00, 0x00, 0xF0, 0x00, 0x00]),
            transparent(16, 0x6F5C, 0x10, 3, &[0xFF, 0xFF, 0xFF]),
            transparent(17, 0x6F73, 0x0C, 14, &PSLOCI),
            transparent(18, 0x6F78, 0x06, 2, &[]),
            transparent(19, 0x6F7B, 0x0D, 12, &[0xFF; 12]),
            transparent(20, 0x6F7E, 0x0B, 11, &LOCI),
            transparent(21, 0x6FAD, 0x03, 4, &[0x00, 0x00, 0x00, 0x02]),
            records(22, 0x6FB7, 0x01, 4),
            transparent(23, 0x6FC4, 0x00, 0, &[]),
        ],
    },
];

const OPT_IOT: &[Group] = &[Group {
    directory: Directory::Latest(Kind::Usim),
    first: 2,
    last: 12,
    templates: &[transparent(6, 0x6F46, 0x00, 17, &[])],
}];

/// No location yet.
const LOCI: [u8; 11] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0xFF, 0x01,
];
const PSLOCI: [u8; 14] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0xFF, 0x01,
];
const EPSLOCI: [u8; 18] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00,
    0x00, 0x01,
];
const TRANSPARENT: u8 = 0x41;
const LINEAR_FIXED: u8 = 0x42;
