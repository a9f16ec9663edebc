//! Putting the files of a package together.

use es10_apdu::types::Iccid;
use rsp_common::der::{Tlv, constructed, tlv};

use super::description::{self, Description, MOST_RECORDS};
use super::template::{self, Directory};
use super::{
    ALWAYS_READABLE, APPLICATION, Body, EF_DIR, EF_ICCID, File, FileSystem, Pin, Puk, pin,
};

/// Puts a file system together, one profile element after the other.
pub(super) struct Builder {
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
    pub(super) fn new() -> Self {
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

    pub(super) fn element(&mut self, tag: u32, parts: &[Tlv<'_>]) {
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
            if let Some(file) = description::file(directory, template, description.as_ref()) {
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
        self.put(file);
    }

    fn put(&mut self, file: File) {
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

    pub(super) fn finish(mut self, iccid: &Iccid) -> FileSystem {
        if self.is_silent(EF_ICCID) {
            let number = Body::Transparent(iccid.octets().to_vec());
            self.put_in_master(EF_ICCID, 0x02, number);
        }
        if self.is_silent(EF_DIR) {
            self.list_applications();
        }
        self.into_file_system()
    }

    /// Whether a file of the master file is not there, or nothing is in it.
    fn is_silent(&self, identifier: u16) -> bool {
        let same = |file: &&File| (file.parent, file.identifier) == (0, identifier);
        let file = self.files.iter().find(same);
        file.is_none_or(|file| file.content().iter().all(|octet| *octet == 0xFF))
    }

    pub(super) fn put_in_master(&mut self, identifier: u16, short: u8, body: Body) {
        self.put(File {
            parent: FileSystem::MASTER,
            identifier,
            short: Some(short),
            access: ALWAYS_READABLE.to_vec(),
            body,
        });
    }

    /// Puts every application of the package into EF.DIR.
    fn list_applications(&mut self) {
        let aids = self.files.iter().filter_map(|file| match &file.body {
            Body::Directory { aid } => aid.clone(),
            _ => None,
        });
        let aids: Vec<Vec<u8>> = aids.collect();
        let label = |aid: &[u8]| match aid.get(5..7) {
            Some([0x10, 0x02]) => "USIM",
            Some([0x10, 0x04]) => "ISIM",
            _ => "CSIM",
        };
        let applications: Vec<_> = aids.iter().map(|aid| (&aid[..], label(aid))).collect();
        self.put_directory(&applications);
    }

    /// EF.DIR with a record for each application (ETSI TS 102 221 section 13.1).
    pub(super) fn put_directory(&mut self, applications: &[(&[u8], &str)]) {
        let mut content = Vec::new();
        for (aid, label) in applications.iter().take(MOST_RECORDS) {
            let mut record = constructed(0x61, &[tlv(0x4F, aid), tlv(0x50, label.as_bytes())]);
            record.resize(DIRECTORY_RECORD, 0xFF);
            content.extend(record);
        }
        if content.is_empty() {
            content.resize(DIRECTORY_RECORD, 0xFF);
        }
        let body = Body::Records {
            cyclic: false,
            length: DIRECTORY_RECORD,
            content,
        };
        self.put_in_master(EF_DIR, 0x1E, body);
    }

    pub(super) fn into_file_system(self) -> FileSystem {
        FileSystem {
            files: self.files,
            pins: self.pins,
            puks: self.puks,
        }
    }
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

/// Octets of a record of EF.DIR that is made here: AID and label, and room.
const DIRECTORY_RECORD: usize = 38;
pub(super) const LARGEST_FILE_SYSTEM: usize = 512 * 1024;
pub(super) const MOST_FILES: usize = 1000;
const THE_3GPP: [u8; 5] = [0xA0, 0x00, 0x00, 0x00, 0x87];
