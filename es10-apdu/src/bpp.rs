//! Cutting a Bound Profile Package into the segments an eUICC takes.
//!
//! SGP.22 v2.5 section 2.5.5. The package is cut on the octets received, never encoded again:
//! the segments one after the other are the package.

use crate::asn1::{CodecError, Raw, read};
use crate::es10b::{InitialiseSecureChannelRequest, StoreMetadataRequest};
use crate::tlv::{Tlv, TlvError};

/// Octets of the MAC at the end of an 88 TLV.
const MAC_LEN: usize = 8;

/// A package, cut.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BoundProfilePackage {
    segments: Vec<Segment>,
}

/// What is sent as one STORE DATA series.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment {
    /// Which part of the package it belongs to.
    pub part: Part,
    /// Its octets.
    pub bytes: Vec<u8>,
}

/// The parts of a package, in order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Part {
    /// BF36 and BF23.
    InitialiseSecureChannel,
    /// A0, a sequence of 87.
    ConfigureIsdp,
    /// A1, a sequence of 88.
    StoreMetadata,
    /// A2, a sequence of 87.
    ReplaceSessionKeys,
    /// A3, a sequence of 86.
    ProfileElements,
}

impl Part {
    const SEQUENCES: [(u32, u32, Self); 4] = [
        (0xA0, 0x87, Self::ConfigureIsdp),
        (0xA1, 0x88, Self::StoreMetadata),
        (0xA2, 0x87, Self::ReplaceSessionKeys),
        (0xA3, 0x86, Self::ProfileElements),
    ];

    /// Whether the sequence's header goes together with its first element.
    fn header_travels_with_first(self) -> bool {
        matches!(self, Self::ConfigureIsdp | Self::ReplaceSessionKeys)
    }
}

impl BoundProfilePackage {
    /// Cuts a package.
    pub fn cut(package: &[u8]) -> Result<Self, BppError> {
        let whole = Tlv::exactly(package)?;
        if whole.tag != 0xBF36 {
            return Err(BppError::NoPackage { tag: whole.tag });
        }
        let mut children = whole.children();
        let first = children.next().ok_or(BppError::Missing { tag: 0xBF23 })??;
        if first.tag != 0xBF23 {
            return Err(BppError::Missing { tag: 0xBF23 });
        }
        // The header of the whole goes with the first part, so that the segments are the package.
        let mut segments = vec![Segment {
            part: Part::InitialiseSecureChannel,
            bytes: [whole.header(), first.encoding].concat(),
        }];
        let mut rest = children
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .peekable();
        for (tag, element, part) in Part::SEQUENCES {
            match rest.next_if(|sequence| sequence.tag == tag) {
                Some(sequence) => cut_sequence(&mut segments, sequence, element, part)?,
                None if part == Part::ReplaceSessionKeys => {}
                None => return Err(BppError::Missing { tag }),
            }
        }
        match rest.next() {
            Some(extra) => Err(BppError::Unexpected { tag: extra.tag }),
            None => Ok(Self { segments }),
        }
    }

    /// The segments, in the order to send.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Octets of all segments.
    pub fn size(&self) -> usize {
        self.segments
            .iter()
            .map(|segment| segment.bytes.len())
            .sum()
    }

    /// The unprotected part, which names the session.
    pub fn initialise_secure_channel(
        &self,
    ) -> Result<Raw<InitialiseSecureChannelRequest>, CodecError> {
        // The first segment is the header of BF36, whose contents go on in the others, and BF23.
        let first = &self.segments[0].bytes;
        let at = first
            .windows(2)
            .position(|octets| octets == [0xBF, 0x23])
            .unwrap_or(0);
        Raw::from_ber(&first[at..])
    }

    /// The metadata inside, which is authenticated and not encrypted.
    pub fn store_metadata(&self) -> Result<StoreMetadataRequest, CodecError> {
        let elements = self
            .segments
            .iter()
            .filter(|segment| segment.part == Part::StoreMetadata);
        let mut metadata = Vec::new();
        for element in elements.skip(1) {
            let contents = Tlv::exactly(&element.bytes)?.contents;
            metadata.extend_from_slice(&contents[..contents.len().saturating_sub(MAC_LEN)]);
        }
        read(&metadata)
    }
}

fn cut_sequence(
    segments: &mut Vec<Segment>,
    sequence: Tlv<'_>,
    element: u32,
    part: Part,
) -> Result<(), BppError> {
    let mut header = Some(sequence.header());
    if !part.header_travels_with_first() {
        segments.extend(header.take().map(|header| Segment {
            part,
            bytes: header.to_vec(),
        }));
    }
    for (index, child) in sequence.children().enumerate() {
        let child = child?;
        if child.tag != element {
            return Err(BppError::Unexpected { tag: child.tag });
        }
        if index == 0 && child.contents.len() < MAC_LEN {
            return Err(BppError::Unexpected { tag: child.tag });
        }
        let bytes = [header.take().unwrap_or(&[]), child.encoding].concat();
        segments.push(Segment { part, bytes });
    }
    if sequence.contents.is_empty() {
        return Err(BppError::Missing { tag: element });
    }
    Ok(())
}

/// Why a package cannot be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BppError {
    /// A mandatory part is not there, or not where it belongs.
    #[error("the package has no {tag:X} where it belongs")]
    Missing {
        /// The tag of the part.
        tag: u32,
    },
    /// Something else than a package.
    #[error("the package has tag {tag:X} and not BF36")]
    NoPackage {
        /// The tag found.
        tag: u32,
    },
    /// Not even data objects.
    #[error("the package is malformed: {0}")]
    Tlv(#[from] TlvError),
    /// A part that does not belong there.
    #[error("the package holds {tag:X} where it does not belong")]
    Unexpected {
        /// The tag found.
        tag: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../vectors/vectors.json")).unwrap()
    }

    #[test]
    fn a_package_is_cut_exactly_where_the_vectors_cut_it() {
        let vectors = vectors();
        for key in ["bpp", "bppWithPpk"] {
            let der = hex::decode(vectors[key]["der"].as_str().unwrap()).unwrap();
            let package = BoundProfilePackage::cut(&der).unwrap();
            let segments: Vec<_> = package
                .segments()
                .iter()
                .map(|segment| hex::encode(&segment.bytes))
                .collect();
            let expected: Vec<_> = vectors[key]["segments"].as_array().unwrap().to_vec();
            assert_eq!(
                segments,
                expected
                    .iter()
                    .map(|s| s.as_str().unwrap())
                    .collect::<Vec<_>>()
            );
            assert_eq!(segments.concat(), hex::encode(&der));
        }
    }

    #[test]
    fn session_and_metadata_are_readable_before_anything_is_sent() {
        let vectors = vectors();
        let der = hex::decode(vectors["bpp"]["der"].as_str().unwrap()).unwrap();
        let package = BoundProfilePackage::cut(&der).unwrap();
        let channel = package.initialise_secure_channel().unwrap();
        assert_eq!(
            hex::encode(channel.bytes()),
            vectors["parts"]["bf23"].as_str().unwrap()
        );
        assert_eq!(channel.transaction_id.octets()[15], 0x10);
        let metadata = package.store_metadata().unwrap();
        assert_eq!(metadata.iccid.to_string(), "8901000000000000019");
    }

    #[test]
    fn damaged_structure_is_found_before_the_card_sees_it() {
        let vectors = vectors();
        let der = hex::decode(vectors["bpp"]["der"].as_str().unwrap()).unwrap();
        let whole = Tlv::exactly(&der).unwrap();
        let parts: Vec<_> = whole
            .children()
            .map(|child| child.unwrap().encoding)
            .collect();
        let build = |parts: &[&[u8]]| crate::tlv::encode(0xBF36, &parts.concat());
        for (damage, package) in [
            ("truncated", der[..der.len() - 1].to_vec()),
            ("extra octet", [der.as_slice(), &[0]].concat()),
            ("A1 missing", build(&[parts[0], parts[1], parts[3]])),
            (
                "A1 before A0",
                build(&[parts[0], parts[2], parts[1], parts[3]]),
            ),
            ("A3 missing", build(&[parts[0], parts[1], parts[2]])),
            (
                "unknown part",
                build(&[parts[0], parts[1], parts[2], parts[3], &[0xA4, 0]]),
            ),
            (
                "empty A0",
                build(&[parts[0], &[0xA0, 0], parts[2], parts[3]]),
            ),
            ("another tag", crate::tlv::encode(0xBF37, whole.contents)),
        ] {
            assert!(BoundProfilePackage::cut(&package).is_err(), "{damage}");
        }
    }
}
