//! The files a profile package creates: what a terminal sees of the profile in use.
//!
//! TCA eUICC Profile Package, sections 8.3 and 9. Every profile element that creates files is a
//! list of them by the number of its component; file identifiers, sizes and contents come out of
//! the package, and where it is silent out of the element's template. A package was checked when
//! it was installed; what still makes no sense here creates no file.

use es10_apdu::types::Iccid;
use rsp_common::der::Tlv;

mod builder;
mod description;
mod pin;
mod template;

use builder::Builder;
pub use pin::{Pin, Puk};

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
    /// must know to supply it with power, and no number. EF.DIR names `applications`, and is not
    /// there without any.
    pub fn without_profile(applications: &[(&[u8], &str)]) -> Self {
        let mut builder = Builder::new();
        if !applications.is_empty() {
            builder.put_directory(applications);
        }
        for (identifier, short, content) in [ENV_CLASSES, UMPC] {
            builder.put_in_master(identifier, short, Body::Transparent(content.to_vec()));
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

    /// Puts other octets into the transparent files with this identifier.
    pub(crate) fn rewrite(&mut self, identifier: u16, octets: &[u8]) {
        for file in &mut self.files {
            if let Body::Transparent(content) = &mut file.body
                && file.identifier == identifier
            {
                octets.clone_into(content);
            }
        }
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

/// What an application has instead of a file identifier: the current one.
pub const APPLICATION: u16 = 0x7FFF;
/// EF.DIR, the list of applications.
pub const EF_DIR: u16 = 0x2F00;
/// EF.ICCID, the number of the profile.
pub const EF_ICCID: u16 = 0x2FE2;
/// EF.FPLMN, the networks that have refused the profile for good.
pub const EF_FPLMN: u16 = 0x6F7B;

/// EF.ENV-CLASSES of ETSI TS 102 671. Its number is not confirmed by anything at hand.
const ENV_CLASSES: (u16, u8, &[u8]) = (0x2F09, 0x09, &[0x01]);
/// EF.UMPC: at most 60 mA, and no time-out of its own.
const UMPC: (u16, u8, &[u8]) = (0x2F08, 0x08, &[0x3C, 0x3C, 0x00, 0x00, 0x00]);
/// Access rules that let every terminal read.
const ALWAYS_READABLE: [u8; 3] = [0x2F, 0x06, 0x01];

#[cfg(test)]
pub(crate) mod tests;
