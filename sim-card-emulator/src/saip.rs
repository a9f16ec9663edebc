//! Reading an unprotected profile package the way an eUICC does, element by element.
//!
//! The package (TCA eUICC Profile Package, "SAIP") is a plain concatenation of profile elements
//! that arrives in pieces cut anywhere. The first element is the header, the last one is the end.

use std::collections::BTreeSet;

use es10_apdu::types::{Iccid, UiccCapability};

use crate::der::{Header, Tlv, constructed, tlv, unsigned};

pub mod files;

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
            ended: false,
        }
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
