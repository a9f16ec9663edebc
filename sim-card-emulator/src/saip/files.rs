//! The files a profile package creates: what a terminal sees of the profile in use.
//!
//! TCA eUICC Profile Package, sections 8.3 and 9. Every profile element that creates files is a
//! list of them by the number of its component; file identifiers, sizes and contents come out of
//! the package, and where it is silent out of the element's template. A package was checked when
//! it was installed; what still makes no sense here creates no file.

use es10_apdu::types::Iccid;

use crate::der::{Tlv, constructed, tlv};

mod pin;
mod template;

pub use pin::{Pin, Puk};

use template::{Directory, Template};

/// The master file of a card and everything below it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileSystem {
    files: Vec<File>,
    pins: Vec<Pin>,
    puks: Vec<Puk>,
}

/// A file of a card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// The directory it is in; the master file is in itself.
    pub parent: usize,
    /// File identifier; `7FFF` for an application.
    pub identifier: u16,
    /// Short file identifier, 1 to 30.
    pub short: Option<u8>,
    /// Reference to the access rules, as in tag `8B`.
    pub access: Vec<u8>,
    /// What is in it.
    pub body: Body,
}

/// What a file is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// A directory; an application when it has a name.
    Directory {
        /// The application's AID.
        aid: Option<Vec<u8>>,
    },
    /// Octets in a row.
    Transparent(Vec<u8>),
    /// Records of one length.
    Records {
        /// Whether the records follow each other in a circle.
        cyclic: bool,
        /// Octets of a record, at least one.
        length: usize,
        /// The records, one after the other.
        content: Vec<u8>,
    },
}

impl FileSystem {
    /// Index of the master file.
    pub const MASTER: usize = 0;

    /// The files of a profile.
    ///
    /// `iccid` stands in EF.ICCID when the package puts nothing there.
    pub fn of_package(package: &[u8], iccid: &Iccid) -> Self {
        let mut builder = Builder::new();
        let mut rest = package;
        while let Some(element) = Tlv::first(rest) {
            rest = &rest[element.bytes.len()..];
            if let Some(parts) = element.children() {
                builder.element(element.tag, &parts);
            }
        }
        builder.finish(iccid)
    }

    /// The files of a card without a profile in use (SGP.22 v2.5 section 3.2.2): what a terminal
    /// must know to supply it with power, and no number.
    pub fn without_profile() -> Self {
        let mut builder = Builder::new();
        for (identifier, short, content) in [(ENV_CLASSES, None, &[0x01][..]), UMPC] {
            builder.files.push(File {
                parent: Self::MASTER,
                identifier,
                short,
                access: ALWAYS_READABLE.to_vec(),
                body: Body::Transparent(content.to_vec()),
            });
        }
        builder.into_file_system()
    }

    /// The file with this index.
    pub fn file(&self, index: usize) -> Option<&File> {
        self.files.get(index)
    }

    /// The file with this identifier in a directory.
    pub fn child(&self, directory: usize, identifier: u16) -> Option<usize> {
        self.find(directory, |file| file.identifier == identifier)
    }

    /// The file with this short identifier in a directory.
    pub fn short(&self, directory: usize, short: u8) -> Option<usize> {
        self.find(directory, |file| file.short == Some(short))
    }

    /// The applications, in the order of the package.
    pub fn applications(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let applications = self.files.iter().enumerate();
        applications.filter_map(|(index, file)| match &file.body {
            Body::Directory { aid: Some(aid) } => Some((index, &aid[..])),
            _ => None,
        })
    }

    /// The PIN with this key reference.
    pub fn pin(&self, reference: u8) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.reference == reference)
    }

    /// The PINs, in the order of the package.
    pub fn pins(&self) -> &[Pin] {
        &self.pins
    }

    /// The PUK that unblocks the PIN with this key reference.
    pub fn puk(&self, reference: u8) -> Option<&Puk> {
        let unblocking = self.pin(reference)?.unblocking?;
        self.puks.iter().find(|puk| puk.reference == unblocking)
    }

    fn find(&self, directory: usize, is: impl Fn(&File) -> bool) -> Option<usize> {
        let mut files = self.files.iter().enumerate().skip(1);
        files
            .find(|(_, file)| {
                file.parent == directory && file.identifier != APPLICATION && is(file)
            })
            .map(|(index, _)| index)
    }
}

impl File {
    /// Octets of its content.
    pub fn content(&self) -> &[u8] {
        match &self.body {
            Body::Directory { .. } => &[],
            Body::Transparent(content) | Body::Records { content, .. } => content,
        }
    }

    /// Whether it has files below it.
    pub fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory { .. })
    }
}

/// Puts a file system together, one profile element after the other.
struct Builder {
    files: Vec<File>,
    pins: Vec<Pin>,
    puks: Vec<Puk>,
    /// The latest application of each kind, which optional elements add to.
    latest: [Option<usize>; 3],
    /// AID of the USIM of an IoT Minimal Profile, which the header knows.
    minimal_aid: Option<Vec<u8>>,
    octets: usize,
}

impl Builder {
    fn new() -> Self {
        let master = File {
            parent: FileSystem::MASTER,
            identifier: 0x3F00,
            short: None,
            access: ALWAYS_READABLE.to_vec(),
            body: Body::Directory { aid: None },
        };
        Self {
            files: vec![master],
            pins: Vec::new(),
            puks: Vec::new(),
            latest: [None; 3],
            minimal_aid: None,
            octets: 0,
        }
    }

    fn element(&mut self, tag: u32, parts: &[Tlv<'_>]) {
        match tag {
            0xA2 => self.pins.extend(pin::pins(parts)),
            0xA3 => self.puks.extend(pin::puks(parts)),
            0xA0 => self.minimal_aid = minimal_aid(parts),
            _ => {}
        }
        for group in template::groups(tag) {
            self.group(group, parts);
        }
    }

    /// Creates the files of an element that go into one directory.
    fn group(&mut self, group: &template::Group, parts: &[Tlv<'_>]) {
        if self.is_full() {
            return;
        }
        let described = |number: u32| {
            let part = parts
                .iter()
                .skip(2)
                .find(|part| component(part.tag) == Some(number))?;
            Description::read(part)
        };
        let directory = match group.directory {
            Directory::Master => Some(FileSystem::MASTER),
            Directory::Application(kind) => {
                let aid = described(group.first).and_then(|description| description.aid);
                let aid = aid.or_else(|| self.minimal_aid.clone());
                aid.map(|aid| self.application(kind as usize, aid))
            }
            Directory::Latest(kind) => self.latest[kind as usize],
        };
        let Some(directory) = directory else {
            return;
        };
        for number in group.first..=group.last {
            let template = group
                .templates
                .iter()
                .find(|template| template.number == number);
            let description = described(number).filter(|_| !self.is_full());
            if let Some(file) = file(directory, template, description.as_ref()) {
                self.add(file);
            }
        }
    }

    fn application(&mut self, kind: usize, aid: Vec<u8>) -> usize {
        self.files.push(File {
            parent: FileSystem::MASTER,
            identifier: APPLICATION,
            short: None,
            access: ALWAYS_READABLE.to_vec(),
            body: Body::Directory { aid: Some(aid) },
        });
        let index = self.files.len() - 1;
        self.latest[kind] = Some(index);
        index
    }

    /// A later description of a file replaces an earlier one.
    fn add(&mut self, file: File) {
        let length = file.content().len();
        if self.is_full() || self.octets + length > LARGEST_FILE_SYSTEM {
            self.octets = LARGEST_FILE_SYSTEM;
            return;
        }
        self.octets += length;
        let same = |other: &&mut File| {
            (other.parent, other.identifier) == (file.parent, file.identifier)
                && !other.is_directory()
        };
        match self.files.iter_mut().find(same) {
            Some(other) => *other = file,
            None => self.files.push(file),
        }
    }

    fn is_full(&self) -> bool {
        self.octets >= LARGEST_FILE_SYSTEM || self.files.len() >= MOST_FILES
    }

    fn finish(mut self, iccid: &Iccid) -> FileSystem {
        let number = self.file_mut(EF_ICCID);
        if number.is_none_or(|file| file.content().iter().all(|octet| *octet == 0xFF)) {
            self.add_to_master(EF_ICCID, 0x02, Body::Transparent(iccid.octets().to_vec()));
        }
        let directory = self.file_mut(EF_DIR);
        if directory.is_none_or(|file| file.content().iter().all(|octet| *octet == 0xFF)) {
            let body = self.directory();
            self.add_to_master(EF_DIR, 0x1E, body);
        }
        self.into_file_system()
    }

    fn file_mut(&mut self, identifier: u16) -> Option<&mut File> {
        self.files
            .iter_mut()
            .find(|file| (file.parent, file.identifier) == (0, identifier))
    }

    fn add_to_master(&mut self, identifier: u16, short: u8, body: Body) {
        self.add(File {
            parent: FileSystem::MASTER,
            identifier,
            short: Some(short),
            access: ALWAYS_READABLE.to_vec(),
            body,
        });
    }

    /// EF.DIR with a record for each application (ETSI TS 102 221 section 13.1).
    fn directory(&self) -> Body {
        let mut content = Vec::new();
        for file in &self.files {
            let Body::Directory { aid: Some(aid) } = &file.body else {
                continue;
            };
            let label = match aid.get(5..7) {
                Some([0x10, 0x02]) => "USIM",
                Some([0x10, 0x04]) => "ISIM",
                _ => "CSIM",
            };
            let mut record = constructed(0x61, &[tlv(0x4F, aid), tlv(0x50, label.as_bytes())]);
            record.resize(DIRECTORY_RECORD, 0xFF);
            content.extend(record);
        }
        if content.is_empty() {
            content.resize(DIRECTORY_RECORD, 0xFF);
        }
        Body::Records {
            cyclic: false,
            length: DIRECTORY_RECORD,
            content,
        }
    }

    fn into_file_system(self) -> FileSystem {
        FileSystem {
            files: self.files,
            pins: self.pins,
            puks: self.puks,
        }
    }
}

/// What a package says of one file.
#[derive(Default)]
struct Description {
    refused: bool,
    identifier: Option<u16>,
    aid: Option<Vec<u8>>,
    /// First octet of the file descriptor, and the length of a record.
    descriptor: Option<(u8, usize)>,
    short: Option<Option<u8>>,
    access: Option<Vec<u8>>,
    size: Option<usize>,
    filling: Filling,
    /// Octets that are skipped, then octets that are written.
    contents: Vec<(usize, Vec<u8>)>,
}

impl Description {
    fn read(file: &Tlv<'_>) -> Option<Self> {
        let mut description = Self::default();
        let mut skipped = 0_usize;
        for choice in file.children()? {
            match choice.tag {
                0x80 => description.refused = true,
                0xA1 => description.fcp(&choice.children()?),
                0x82 => skipped = skipped.saturating_add(number(choice.value)?),
                0x83 => {
                    let octets = choice.value.to_vec();
                    description
                        .contents
                        .push((std::mem::take(&mut skipped), octets));
                }
                _ => {}
            }
        }
        Some(description)
    }

    fn fcp(&mut self, parts: &[Tlv<'_>]) {
        for part in parts {
            match (part.tag, part.value) {
                (0x82, [kind, _]) => self.descriptor = Some((*kind, 0)),
                (0x82, [kind, _, high, low]) => {
                    let length = u16::from_be_bytes([*high, *low]);
                    self.descriptor = Some((*kind, length.into()));
                }
                (0x83, [high, low]) => self.identifier = Some(u16::from_be_bytes([*high, *low])),
                (0x84, aid) => self.aid = Some(aid.to_vec()),
                (0x8B, access) => self.access = Some(access.to_vec()),
                (0x80, size) => self.size = number(size),
                (0x88, []) => self.short = Some(None),
                (0x88, [short]) => self.short = Some(Some(short >> 3)),
                (0xA5, _) => self.filling = Filling::read(part),
                _ => {}
            }
        }
    }

    /// The content of a file of `size` octets, or as long as what is written when that is open.
    fn content(&self, size: Option<usize>, record: usize) -> Vec<u8> {
        let mut content = Vec::new();
        let mut position = 0_usize;
        for (skipped, octets) in &self.contents {
            position = position.saturating_add(*skipped);
            let end = position.saturating_add(octets.len());
            if end > LARGEST_FILE {
                break;
            }
            if content.len() < end {
                self.filling.extend(&mut content, end, record);
            }
            content[position..end].copy_from_slice(octets);
            position = end;
        }
        if let Some(size) = size.filter(|size| *size <= LARGEST_FILE) {
            self.filling.extend(&mut content, size, record);
            content.truncate(size);
        }
        content
    }
}

/// What a file holds where nothing was written.
enum Filling {
    /// The pattern once, then its last octet.
    Once(Vec<u8>),
    /// The pattern over and over.
    Repeated(Vec<u8>),
}

impl Default for Filling {
    fn default() -> Self {
        Self::Once(vec![0xFF])
    }
}

impl Filling {
    fn read(information: &Tlv<'_>) -> Self {
        let parts = information.children().unwrap_or_default();
        parts
            .iter()
            .find_map(|part| match part.tag {
                0xC1 if !part.value.is_empty() => Some(Self::Once(part.value.to_vec())),
                0xC2 if !part.value.is_empty() => Some(Self::Repeated(part.value.to_vec())),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// Lengthens the content; the pattern begins anew with each record.
    fn extend(&self, content: &mut Vec<u8>, end: usize, record: usize) {
        for position in content.len()..end {
            let position = if record == 0 {
                position
            } else {
                position % record
            };
            content.push(match self {
                Self::Once(pattern) => pattern[position.min(pattern.len() - 1)],
                Self::Repeated(pattern) => pattern[position % pattern.len()],
            });
        }
    }
}

/// The file that template and package make together, if they do.
fn file(
    parent: usize,
    template: Option<&Template>,
    description: Option<&Description>,
) -> Option<File> {
    let silent = Description::default();
    let description = match description {
        Some(description) if description.refused => return None,
        Some(description) => description,
        // What the package does not speak of is there when the template has something for it.
        None => template
            .filter(|template| !template.content.is_empty())
            .map(|_| &silent)?,
    };
    let identifier = description
        .identifier
        .or(template.map(|template| template.identifier))?;
    let (kind, length) = description
        .descriptor
        .or(template.map(|template| (template.descriptor(), template.record)))?;
    let size = description.size.or(template
        .map(|template| template.size)
        .filter(|size| *size > 0));
    let mut content = description.content(size, length);
    if description.contents.is_empty() {
        let default = template.map_or(&[][..], |template| template.content);
        let written = default.len().min(size.unwrap_or(default.len()));
        content.resize(content.len().max(written), 0xFF);
        content[..written].copy_from_slice(&default[..written]);
    }
    let body = match kind & 0x07 {
        1 => Body::Transparent(content),
        2 | 6 => records(kind & 0x07 == 6, length, content)?,
        _ => return None,
    };
    let short = description
        .short
        .or_else(|| template.map(|template| template.short))
        .flatten();
    let rules = match parent {
        FileSystem::MASTER => ALWAYS_READABLE.to_vec(),
        _ => DEFAULT_ACCESS.to_vec(),
    };
    Some(File {
        parent,
        identifier,
        short: short.filter(|short| (1..=30).contains(short)),
        access: description.access.clone().unwrap_or(rules),
        body,
    })
}

/// A whole number of records, at most as many as a terminal can count.
fn records(cyclic: bool, length: usize, mut content: Vec<u8>) -> Option<Body> {
    if !(1..=255).contains(&length) {
        return None;
    }
    let count = content.len().div_ceil(length).clamp(1, 254);
    content.resize(count * length, 0xFF);
    Some(Body::Records {
        cyclic,
        length,
        content,
    })
}

/// RID of 3GPP and what iotOptions of the header says.
fn minimal_aid(header: &[Tlv<'_>]) -> Option<Vec<u8>> {
    let options = header.iter().find(|part| part.tag == 0xA9)?.children()?;
    let extension = options.iter().find(|part| part.tag == 0x80)?.value;
    (7..=11)
        .contains(&extension.len())
        .then(|| [&THE_3GPP[..], extension].concat())
}

/// The number of a component of a profile element, which its context tag tells.
fn component(tag: u32) -> Option<u32> {
    match tag {
        0xA0..=0xBE => Some(tag & 0x1F),
        0xBF1F..=0xBF7F => Some(tag & 0x7F),
        _ => None,
    }
}

/// A number of up to four octets.
fn number(octets: &[u8]) -> Option<usize> {
    let significant = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
    (significant.len() <= 4).then(|| {
        significant
            .iter()
            .fold(0, |number, octet| number << 8 | usize::from(*octet))
    })
}

/// What an application has instead of a file identifier: the current one.
pub const APPLICATION: u16 = 0x7FFF;
/// EF.DIR, the list of applications.
pub const EF_DIR: u16 = 0x2F00;
/// EF.ICCID, the number of the profile.
pub const EF_ICCID: u16 = 0x2FE2;

/// EF.ENV-CLASSES of ETSI TS 102 671. Its number is not confirmed by anything at hand.
const ENV_CLASSES: u16 = 0x2F09;
/// EF.UMPC: at most 60 mA, and no time-out of its own.
const UMPC: (u16, Option<u8>, &[u8]) = (0x2F08, Some(0x08), &[0x3C, 0x3C, 0x00, 0x00, 0x00]);
const ALWAYS_READABLE: [u8; 3] = [0x2F, 0x06, 0x01];
const DEFAULT_ACCESS: [u8; 3] = [0x6F, 0x06, 0x01];
/// Octets of a record of EF.DIR that is made here: AID and label, and room.
const DIRECTORY_RECORD: usize = 38;
/// No offset of READ BINARY reaches beyond it.
const LARGEST_FILE: usize = 0x8000;
const LARGEST_FILE_SYSTEM: usize = 512 * 1024;
const MOST_FILES: usize = 1000;
const THE_3GPP: [u8; 5] = [0xA0, 0x00, 0x00, 0x00, 0x87];

#[cfg(test)]
pub(crate) mod tests;
