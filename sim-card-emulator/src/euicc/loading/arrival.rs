//! How much of a package has arrived, and what must come next.

use es10_apdu::asn1::Raw;
use es10_apdu::es10b::{BppCommandId, ErrorReason, StoreMetadataRequest};
use rsp_common::bsp::Bsp;
use rsp_common::der::{Header, Tlv};

use super::failure::Failure;
use crate::saip::PackageReader;

/// A package that has begun to arrive.
#[derive(Clone, Debug)]
pub(in crate::euicc) struct Loading {
    channel: u8,
    pub(super) bsp: Bsp,
    /// Octets of BF36 that have not arrived.
    remaining: usize,
    pub(super) part: Part,
    /// Octets of the part that have not arrived.
    pub(super) part_remaining: usize,
    /// Elements of the part that have arrived.
    pub(super) pieces: usize,
    /// The request of the part, as far as it has arrived.
    pub(super) collected: Vec<u8>,
    pub(super) configuration: Vec<u8>,
    pub(super) stored: Option<Raw<StoreMetadataRequest>>,
    pub(super) reader: PackageReader,
    pub(super) package: Vec<u8>,
}

impl Loading {
    pub(super) fn new(channel: u8, bsp: Bsp, remaining: usize, reader: PackageReader) -> Self {
        Self {
            channel,
            bsp,
            remaining,
            part: Part::Opening,
            part_remaining: 0,
            pieces: 0,
            collected: Vec::new(),
            configuration: Vec::new(),
            stored: None,
            reader,
            package: Vec::new(),
        }
    }

    pub(in crate::euicc) fn channel(&self) -> u8 {
        self.channel
    }

    /// The part that is expected next, as the result names it.
    pub(super) fn command_id(&self) -> BppCommandId {
        match (self.part, self.part_remaining) {
            (Part::Opening, _) => BppCommandId::CONFIGURE_ISDP,
            (Part::ConfigureIsdp, 0) => BppCommandId::STORE_METADATA,
            (Part::ConfigureIsdp, _) => BppCommandId::CONFIGURE_ISDP,
            (Part::StoreMetadata, 0) => BppCommandId::LOAD_PROFILE_ELEMENTS,
            (Part::StoreMetadata, _) if self.pieces == 0 => BppCommandId::STORE_METADATA,
            (Part::StoreMetadata, _) => BppCommandId::STORE_METADATA2,
            (Part::ReplaceSessionKeys, 0) => BppCommandId::LOAD_PROFILE_ELEMENTS,
            (Part::ReplaceSessionKeys, _) => BppCommandId::REPLACE_SESSION_KEYS,
            (Part::ProfileElements, _) => BppCommandId::LOAD_PROFILE_ELEMENTS,
        }
    }

    /// Takes the header of the next part.
    fn enter(&mut self, header: Header) -> Result<(), Failure> {
        let next = match (self.part, header.tag) {
            (Part::Opening, 0xA0) => Part::ConfigureIsdp,
            (Part::ConfigureIsdp, 0xA1) => Part::StoreMetadata,
            (Part::StoreMetadata, 0xA2) => Part::ReplaceSessionKeys,
            (Part::StoreMetadata | Part::ReplaceSessionKeys, 0xA3) => Part::ProfileElements,
            _ => return Err(ErrorReason::BSP_STRUCTURE_ERROR.into()),
        };
        self.part = next;
        self.pieces = 0;
        self.part_remaining = header.length;
        if header.length == 0 || header.length > self.remaining.saturating_sub(header.size) {
            return Err(ErrorReason::BSP_STRUCTURE_ERROR.into());
        }
        if next == Part::ProfileElements && header.length != self.remaining - header.size {
            // The last part must end where the package was announced to end.
            return Err(Failure::at(
                BppCommandId::INITIALISE_SECURE_CHANNEL,
                ErrorReason::BSP_STRUCTURE_ERROR,
            ));
        }
        Ok(())
    }

    /// Takes a piece of the request of a part.
    pub(super) fn collect(&mut self, plain: &[u8]) -> Result<(), Failure> {
        if self.collected.len() + plain.len() > LONGEST_REQUEST {
            return Err(ErrorReason::INCORRECT_INPUT_VALUES.into());
        }
        self.collected.extend_from_slice(plain);
        Ok(())
    }

    /// Cuts the protected TLV out of a segment, and the header of a part before it. Several stand
    /// in one segment only in the parts where that is the LPA's habit and the card's.
    pub(super) fn elements<'a>(
        &mut self,
        segment: &'a [u8],
        uncut: bool,
    ) -> Result<Vec<&'a [u8]>, Failure> {
        let structure = Failure::from(ErrorReason::BSP_STRUCTURE_ERROR);
        let mut rest = segment;
        if self.part_remaining == 0 {
            let header = Header::parse(segment).ok_or_else(|| structure.clone())?;
            self.enter(header)?;
            self.remaining -= header.size;
            rest = &segment[header.size..];
            if self.part.header_stands_alone() {
                return if rest.is_empty() {
                    Ok(Vec::new())
                } else {
                    Err(structure)
                };
            }
        }
        let elements = if uncut && !self.part.header_stands_alone() {
            Tlv::all(rest)
        } else {
            Tlv::exact(rest).map(|element| vec![element])
        };
        let elements = elements.filter(|elements| {
            let fits = rest.len() <= self.part_remaining && !rest.is_empty();
            fits && elements
                .iter()
                .all(|element| element.tag == self.part.element())
        });
        let elements = elements.ok_or(structure)?;
        self.part_remaining -= rest.len();
        self.remaining -= rest.len();
        Ok(elements.iter().map(|element| element.bytes).collect())
    }
}

/// Where in a package the card is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Opening,
    ConfigureIsdp,
    StoreMetadata,
    ReplaceSessionKeys,
    ProfileElements,
}

impl Part {
    fn element(self) -> u32 {
        match self {
            Self::Opening | Self::ConfigureIsdp | Self::ReplaceSessionKeys => 0x87,
            Self::StoreMetadata => 0x88,
            Self::ProfileElements => 0x86,
        }
    }

    fn header_stands_alone(self) -> bool {
        matches!(self, Self::StoreMetadata | Self::ProfileElements)
    }
}

/// Metadata with an icon has some 1500 octets.
const LONGEST_REQUEST: usize = 0x4000;
