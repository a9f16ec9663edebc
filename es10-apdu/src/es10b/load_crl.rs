//! ES10b.LoadCRL: telling an eUICC which certificates were revoked.

use rasn::de::Error as _;
use rasn::types::{Any, Class, Constraints, Identifier, Tag};
use rasn::{AsnType, Decode, Decoder, Encode, Encoder};

use crate::asn1::{CodecError, List, Open, elements, sequences};
use crate::function::functions;
use crate::tlv::{self, Tlv};
use crate::types::result_code;

/// Gives the eUICC a revocation list.
///
/// SGP.22 v2.5 section 5.7.12, tag BF35. Only for an eUICC with crlSupport.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 53))]
pub struct LoadCrlRequest {
    /// The list.
    pub crl: CertificateList,
}

/// An X.509 certificate revocation list in DER; in a request its SEQUENCE has another tag.
#[derive(Clone, Eq, PartialEq)]
pub struct CertificateList(Vec<u8>);

impl CertificateList {
    /// Takes a whole list, tag and length included.
    pub fn from_ber(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::tagged(bytes, SEQUENCE)
    }

    /// The list, tag and length included.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn tagged(bytes: &[u8], tag: u32) -> Result<Self, CodecError> {
        let list = Tlv::exactly(bytes)?;
        if list.tag != tag {
            return Err(CodecError::Decode {
                type_name: "CertificateList",
                cause: format!("the tag is {:X}", list.tag),
            });
        }
        Ok(Self(tlv::encode(SEQUENCE, list.contents)))
    }
}

impl std::fmt::Debug for CertificateList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CertificateList({} octets)", self.0.len())
    }
}

impl AsnType for CertificateList {
    const TAG: Tag = Tag::SEQUENCE;
}

impl Decode for CertificateList {
    fn decode_with_tag_and_constraints<D: Decoder>(
        decoder: &mut D,
        tag: Tag,
        _: &Constraints,
    ) -> Result<Self, D::Error> {
        let codec = decoder.codec();
        let bytes = decoder.decode_any(Tag::EOC)?.into_bytes();
        Self::tagged(&bytes, octet(tag)).map_err(|error| D::Error::custom(error, codec))
    }
}

impl Encode for CertificateList {
    fn encode_with_tag_and_constraints<'b, E: Encoder<'b>>(
        &self,
        encoder: &mut E,
        tag: Tag,
        _: &Constraints,
        identifier: Identifier,
    ) -> Result<(), E::Error> {
        let contents = Tlv::exactly(&self.0).map_or(&[][..], |list| list.contents);
        let list = Any::new(tlv::encode(octet(tag), contents));
        encoder.encode_any(Tag::EOC, &list, identifier)?;
        Ok(())
    }
}

/// The eUICC's answer.
///
/// SGP.22 v2.5 section 5.7.12, tag BF35.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice, automatic_tags, tag(explicit(context, 53)))]
pub enum LoadCrlResponse {
    /// The list was taken.
    LoadCrlResponseOk(Open<LoadCrlResponseOk>),
    /// It was not.
    LoadCrlResponseError(LoadCrlError),
}

/// What the eUICC still lacks.
#[derive(AsnType, Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(automatic_tags)]
pub struct LoadCrlResponseOk {
    /// The numbers of the parts of a list in parts that were not loaded yet.
    pub missing_parts: Option<List<PartialCrlNumber>>,
}

/// The number of a part of a revocation list.
#[derive(AsnType, Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(delegate)]
pub struct PartialCrlNumber(pub i64);

result_code! {
    /// Why a revocation list was not taken.
    LoadCrlError {
        INVALID_SIGNATURE = 1, "invalid signature";
        INVALID_CRL_FORMAT = 2, "invalid format of the list";
        NOT_ENOUGH_MEMORY_SPACE = 3, "not enough memory";
        VERIFICATION_KEY_NOT_FOUND = 4, "verification key not found";
        FRESHER_CRL_ALREADY_LOADED = 5, "a fresher list was loaded already";
        BASE_CRL_MISSING = 6, "the base list is missing";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

sequences!(LoadCrlRequest, LoadCrlResponseOk);

elements!(LoadCrlResponse, PartialCrlNumber);

functions! {
    LoadCrlRequest => LoadCrlResponse, "ES10b.LoadCRL", "5.7.12", 0xBF35, changes;
}

/// The octet of a constructed tag below 31.
fn octet(tag: Tag) -> u32 {
    let class = match tag.class {
        Class::Universal => 0x00,
        Class::Application => 0x40,
        Class::Context => 0x80,
        Class::Private => 0xC0,
    };
    class | 0x20 | tag.value
}

const SEQUENCE: u32 = 0x30;
