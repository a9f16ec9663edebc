//! Reading an unprotected profile package the way an eUICC does, element by element.
//!
//! The package (TCA eUICC Profile Package, "SAIP") is a plain concatenation of profile elements
//! that arrives in pieces cut anywhere. The first element is the header, the last one is the end.

use std::collections::BTreeSet;

use es10_apdu::types::{Iccid, UiccCapability};
use rsp_common::der::{Header, Tlv, constructed, tlv, unsigned};

pub mod files;

use files::{EF_ICCID, FileSystem};

/// Longest package that is read.
pub const MAX_PACKAGE: usize = 512 * 1024;

/// What the header element says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProfileHeader {
    /// The profile, in the form RSP uses.
    pub iccid: Iccid,
    /// Identifier of the profile type, for people.
    pub profile_type: Option<String>,
}

/// A status of a profile element.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeStatus(pub u16);

impl PeStatus {
    /// Processed.
    pub const OK: Self = Self(0);
    /// The element is mandated and not known.
    pub const PE_NOT_SUPPORTED: Self = Self(1);
    /// A value that makes no sense.
    pub const BAD_VALUES: Self = Self(3);
    /// The element is longer than the card can hold.
    pub const NOT_ENOUGH_MEMORY: Self = Self(4);
    /// Malformed, cut off, or in a wrong order.
    pub const INVALID_REQUEST_FORMAT: Self = Self(5);
    /// An application that must be there already is not.
    pub const LIB_NOT_SUPPORTED: Self = Self(8);
    /// A file system template that is not known.
    pub const TEMPLATE_NOT_SUPPORTED: Self = Self(9);
    /// A mandatory service the eUICC does not have.
    pub const FEATURE_NOT_SUPPORTED: Self = Self(10);
    /// There are no PIN codes.
    pub const PIN_CODE_MISSING: Self = Self(11);
    /// A version of the package format that is not known.
    pub const UNSUPPORTED_PROFILE_VERSION: Self = Self(31);
}

/// The element that ended the loading, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeFailure {
    /// Why.
    pub status: PeStatus,
    /// Which element, when it has a number.
    pub identification: Option<u16>,
}

impl PeFailure {
    /// The EUICCResponse that reports the failure and the end of the installation.
    pub fn sima_response(&self) -> Vec<u8> {
        let identification = self
            .identification
            .map(|number| unsigned(0x81, number.into()));
        let status = constructed(
            0x30,
            &[
                unsigned(0x80, self.status.0.into()),
                identification.unwrap_or_default(),
            ],
        );
        constructed(0x30, &[tlv(0xA0, &status), tlv(0x81, &[])])
    }
}

impl From<PeStatus> for PeFailure {
    fn from(status: PeStatus) -> Self {
        Self {
            status,
            identification: None,
        }
    }
}

/// The EUICCResponse of a package that was processed to its end.
pub fn success_response() -> Vec<u8> {
    let status = tlv(0x30, &unsigned(0x80, PeStatus::OK.0.into()));
    tlv(0x30, &tlv(0xA0, &status))
}

/// Reads a package piece by piece and processes each element as soon as it is complete.
#[derive(Clone, Debug)]
pub struct PackageReader {
    capability: UiccCapability,
    incomplete: Vec<u8>,
    received: usize,
    header: Option<ProfileHeader>,
    identifications: BTreeSet<u16>,
    strict_content: bool,
    /// Tags of the elements so far.
    seen: BTreeSet<u32>,
    ended: bool,
}

impl PackageReader {
    /// Begins a package for an eUICC with these features.
    pub fn new(capability: UiccCapability) -> Self {
        Self {
            capability,
            incomplete: Vec::new(),
            received: 0,
            header: None,
            identifications: BTreeSet::new(),
            strict_content: false,
            seen: BTreeSet::new(),
            ended: false,
        }
    }

    /// Whether a package must be a whole profile that a network could use: master file, PUK and PIN
    /// codes, a network access application with its parameters, a security domain, each after
    /// what it needs, and the header's ICCID in EF.ICCID.
    pub fn strict_content(mut self, strict: bool) -> Self {
        self.strict_content = strict;
        self
    }

    /// Takes the next piece.
    ///
    /// # Errors
    ///
    /// The first element that cannot be processed; the package is refused then.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), PeFailure> {
        self.received += piece.len();
        if self.received > MAX_PACKAGE {
            return Err(PeStatus::NOT_ENOUGH_MEMORY.into());
        }
        self.incomplete.extend_from_slice(piece);
        let buffer = std::mem::take(&mut self.incomplete);
        let mut rest = &buffer[..];
        while let Some(element) = Tlv::first(rest) {
            self.process(&element)?;
            rest = &rest[element.bytes.len()..];
        }
        self.incomplete = rest.to_vec();
        self.check_incomplete()
    }

    /// Ends the package.
    ///
    /// # Errors
    ///
    /// When the end element is missing or an element is cut off.
    pub fn finish(self) -> Result<ProfileHeader, PeFailure> {
        match self.header {
            Some(header) if self.ended && self.incomplete.is_empty() => Ok(header),
            _ => Err(PeStatus::INVALID_REQUEST_FORMAT.into()),
        }
    }

    /// What the header element says, once it was read.
    pub fn header(&self) -> Option<&ProfileHeader> {
        self.header.as_ref()
    }

    /// Number of octets taken so far.
    pub fn received(&self) -> usize {
        self.received
    }

    /// Refuses at once what cannot become an element any more.
    fn check_incomplete(&self) -> Result<(), PeFailure> {
        if self.ended && !self.incomplete.is_empty() {
            return Err(PeStatus::INVALID_REQUEST_FORMAT.into());
        }
        match Header::parse(&self.incomplete) {
            Some(header) if header.length > MAX_PACKAGE => Err(PeStatus::NOT_ENOUGH_MEMORY.into()),
            None if self.incomplete.len() >= LONGEST_HEADER => {
                Err(PeStatus::INVALID_REQUEST_FORMAT.into())
            }
            _ => Ok(()),
        }
    }

    fn process(&mut self, element: &Tlv<'_>) -> Result<(), PeFailure> {
        if self.ended || (element.tag == HEADER) != self.header.is_none() {
            return Err(PeStatus::INVALID_REQUEST_FORMAT.into());
        }
        let parts = element.children().ok_or(PeStatus::INVALID_REQUEST_FORMAT)?;
        if element.tag == HEADER {
            self.header = Some(self.profile_header(&parts)?);
            return Ok(());
        }
        let (identification, mandated) = element_header(&parts)?;
        let fail = |status| PeFailure {
            status,
            identification: Some(identification),
        };
        if !self.identifications.insert(identification) {
            return Err(fail(PeStatus::INVALID_REQUEST_FORMAT));
        }
        if self.strict_content {
            self.check_content(element).map_err(fail)?;
        }
        self.seen.insert(element.tag);
        match element.tag {
            END => self.ended = true,
            FIRST_TEMPLATE..=LAST_TEMPLATE | 0xBF1F..=0xBF21 => {
                let template = parts.get(1).filter(|part| part.tag == 0x81);
                if template.is_some_and(|template| !is_known_template(template.value)) {
                    return Err(fail(PeStatus::TEMPLATE_NOT_SUPPORTED));
                }
            }
            0xA1..=0xA8 => {}
            _ if mandated => return Err(fail(PeStatus::PE_NOT_SUPPORTED)),
            _ => {}
        }
        Ok(())
    }

    /// What an element needs before it, and what only one can be of.
    fn check_content(&self, element: &Tlv<'_>) -> Result<(), PeStatus> {
        let seen = |alternatives: &[u32]| alternatives.iter().any(|tag| self.seen.contains(tag));
        let wrong_order = !requirements(element.tag).iter().all(|tags| seen(tags));
        if wrong_order || (MASTER_FILE.contains(&element.tag) && seen(MASTER_FILE)) {
            return Err(PeStatus::INVALID_REQUEST_FORMAT);
        }
        if element.tag == END && !seen(&[PIN_CODES]) {
            return Err(PeStatus::PIN_CODE_MISSING);
        }
        if element.tag == END && !WHOLE_PROFILE.iter().all(|tags| seen(tags)) {
            return Err(PeStatus::INVALID_REQUEST_FORMAT);
        }
        match &self.header {
            Some(header) if MASTER_FILE.contains(&element.tag) => {
                let files = FileSystem::of_package(element.bytes, &header.iccid);
                let number = files.child(FileSystem::MASTER, EF_ICCID);
                let number = number.and_then(|index| files.file(index));
                match number.is_some_and(|file| file.content() == header.iccid.octets()) {
                    true => Ok(()),
                    false => Err(PeStatus::BAD_VALUES),
                }
            }
            _ => Ok(()),
        }
    }

    fn profile_header(&self, parts: &[Tlv<'_>]) -> Result<ProfileHeader, PeStatus> {
        let part = |tag| parts.iter().find(|part| part.tag == tag);
        let required = |tag| part(tag).ok_or(PeStatus::INVALID_REQUEST_FORMAT);
        if !matches!(required(0x80)?.value, [2 | 3]) {
            return Err(PeStatus::UNSUPPORTED_PROFILE_VERSION);
        }
        required(0x81)?;
        let services = required(0xA5)?
            .children()
            .ok_or(PeStatus::INVALID_REQUEST_FORMAT)?;
        if !services.iter().all(|service| self.supports(service.tag)) {
            return Err(PeStatus::FEATURE_NOT_SUPPORTED);
        }
        let templates = required(0xA6)?
            .children()
            .ok_or(PeStatus::INVALID_REQUEST_FORMAT)?;
        if !templates
            .iter()
            .all(|oid| oid.tag == 0x06 && is_known_template(oid.value))
        {
            return Err(PeStatus::TEMPLATE_NOT_SUPPORTED);
        }
        if part(0xA8).is_some_and(|applications| !applications.value.is_empty()) {
            return Err(PeStatus::LIB_NOT_SUPPORTED);
        }
        let profile_type = part(0x82).map(|text| String::from_utf8_lossy(text.value).into_owned());
        Ok(ProfileHeader {
            iccid: iccid(required(0x83)?.value)?,
            profile_type,
        })
    }

    /// Whether the eUICC has a service of the header's list.
    fn supports(&self, tag: u32) -> bool {
        let index = tag
            .checked_sub(0x80)
            .and_then(|index| usize::try_from(index).ok());
        let bit = index.and_then(|index| SERVICES.get(index));
        bit.is_some_and(|bit| self.capability.0 >> bit & 1 == 1)
    }
}

/// Elements one of each of which must stand before the one with this tag.
fn requirements(tag: u32) -> &'static [&'static [u32]] {
    match tag {
        0xA1 | 0xB1 | 0xB2 | 0xB3 | 0xB5 | 0xB7 | 0xB9 => &[MASTER_FILE],
        PIN_CODES => &[MASTER_FILE, &[0xA3]],
        0xA4 => &[&[0xB3, 0xB5, 0xBF20]],
        0xA5 | 0xBA => &[&[0xB9]],
        0xB4 | 0xB8 | 0xBC..=0xBE | 0xBF1F => &[&[0xB3]],
        0xB6 => &[&[0xB5]],
        0xBF21 => &[&[0xBF20]],
        _ => &[],
    }
}

/// Number and "mandated" flag of the PEHeader every element but the first begins with.
fn element_header(parts: &[Tlv<'_>]) -> Result<(u16, bool), PeStatus> {
    let header = parts
        .first()
        .filter(|part| part.tag == 0xA0)
        .and_then(Tlv::children);
    let header = header.ok_or(PeStatus::INVALID_REQUEST_FORMAT)?;
    let number = header
        .iter()
        .find(|part| part.tag == 0x81)
        .map(|part| part.value);
    let number = match number {
        Some([low]) if *low < 0x80 => u16::from(*low),
        Some([high, low]) if *high < 0x80 => u16::from_be_bytes([*high, *low]),
        _ => return Err(PeStatus::INVALID_REQUEST_FORMAT),
    };
    Ok((number, header.iter().any(|part| part.tag == 0x80)))
}

/// The header has the digits in reading order, RSP swaps them.
fn iccid(octets: &[u8]) -> Result<Iccid, PeStatus> {
    let digits = hex::encode(octets);
    let digits = digits.trim_end_matches('f');
    if octets.len() != 10 || digits.len() < 18 || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(PeStatus::BAD_VALUES);
    }
    digits.parse().map_err(|_| PeStatus::BAD_VALUES)
}

/// The templates of the TCA specification: 2.23.143.1.2.n, later versions one arc deeper.
fn is_known_template(oid: &[u8]) -> bool {
    match oid.strip_prefix(&[0x67, 0x81, 0x0F, 0x01, 0x02]) {
        Some([number]) => (1..=18).contains(number),
        Some([number, version]) => (1..=18).contains(number) && (2..=9).contains(version),
        _ => false,
    }
}

/// A master file, PUKs, a network access application, its parameters, a security domain.
const WHOLE_PROFILE: &[&[u32]] = &[
    MASTER_FILE,
    &[0xA3],
    &[0xB3, 0xB5, 0xB9, 0xBF20],
    &[0xA4, 0xA5],
    &[0xA6],
];
/// The element of the master file, and that of an IoT Minimal Profile, which has it in it.
const MASTER_FILE: &[u32] = &[0xB0, 0xBF20];
const PIN_CODES: u32 = 0xA2;
const HEADER: u32 = 0xA0;
const END: u32 = 0xAA;
const FIRST_TEMPLATE: u32 = 0xB0;
const LAST_TEMPLATE: u32 = 0xBE;
/// Two tag octets and five of length cannot stay incomplete.
const LONGEST_HEADER: usize = 9;
/// Bit of uiccCapability for each service of the header, in the order of their tags from `80`:
/// the two lists are not numbered alike.
const SERVICES: [u8; 30] = [
    0, 1, 2, 3, 4, 6, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 7, 8, 19, 20, 21, 22, 23, 24, 25, 26,
    27, 28, 29, 30,
];

#[cfg(test)]
mod tests;
