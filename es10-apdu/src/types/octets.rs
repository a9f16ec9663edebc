//! OCTET STRING types with a length of their own, and values that stay opaque.

use std::fmt;

use rasn::de::Error as _;
use rasn::types::{Any, Constraints, Identifier, Tag};
use rasn::{AsnType, Decode, Decoder, Encode, Encoder};

use crate::asn1::{CodecError, elements};
use crate::tlv::{self, Tlv};

/// Makes a type with `from_octets` and `octets` an OCTET STRING with `tag`.
macro_rules! octet_string {
    ($type:ty, $tag:expr) => {
        impl rasn::AsnType for $type {
            const TAG: rasn::types::Tag = $tag;
        }

        impl rasn::Decode for $type {
            fn decode_with_tag_and_constraints<D: rasn::Decoder>(
                decoder: &mut D,
                tag: rasn::types::Tag,
                constraints: &rasn::types::Constraints,
            ) -> Result<Self, D::Error> {
                let codec = decoder.codec();
                let octets: Vec<u8> = decoder.decode_octet_string(tag, constraints)?;
                Self::from_octets(&octets)
                    .map_err(|error| <D::Error as rasn::de::Error>::custom(error, codec))
            }
        }

        impl rasn::Encode for $type {
            fn encode_with_tag_and_constraints<'b, E: rasn::Encoder<'b>>(
                &self,
                encoder: &mut E,
                tag: rasn::types::Tag,
                constraints: &rasn::types::Constraints,
                identifier: rasn::types::Identifier,
            ) -> Result<(), E::Error> {
                encoder.encode_octet_string(tag, constraints, self.octets(), identifier)?;
                Ok(())
            }
        }

        impl crate::asn1::Extensible for $type {}
    };
}

pub(crate) use octet_string;

/// Octets of a length the module allows.
macro_rules! sized {
    ($(#[$doc:meta])* $name:ident, $range:expr, $tag:expr) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Hash, PartialEq)]
        pub struct $name(Vec<u8>);

        impl $name {
            /// Takes the octets, without tag and length.
            pub fn from_octets(octets: &[u8]) -> Result<Self, LengthError> {
                if !$range.contains(&octets.len()) {
                    return Err(LengthError { type_name: stringify!($name), len: octets.len() });
                }
                Ok(Self(octets.to_vec()))
            }

            /// The octets, without tag and length.
            pub fn octets(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex::encode_upper(&self.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode_upper(&self.0))
            }
        }

        octet_string!($name, $tag);
    };
}

/// A length the module does not allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a {type_name} cannot have {len} octets")]
pub struct LengthError {
    type_name: &'static str,
    len: usize,
}

sized!(
    /// An application identifier, ISO 7816-4: 5 to 16 octets; tag 4F.
    Aid, 1..=16, Tag::new(rasn::types::Class::Application, 15)
);
sized!(
    /// A random challenge of eUICC or server, 16 octets.
    Challenge, 16..=16, Tag::OCTET_STRING
);
sized!(
    /// SHA-256(SHA-256(confirmation code) ‖ transactionId), 32 octets.
    HashCc, 32..=32, Tag::OCTET_STRING
);
sized!(
    /// The public part of a one-time key, an uncompressed point; tag 5F49.
    OneTimeKey, 65..=65, Tag::new(rasn::types::Class::Application, 73)
);
sized!(
    /// Names a CI public key, usually 20 octets.
    SubjectKeyIdentifier, 1..=64, Tag::OCTET_STRING
);
sized!(
    /// Names an RSP session, 1 to 16 octets.
    TransactionId, 1..=16, Tag::OCTET_STRING
);

/// Major, minor and revision number, one octet each.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VersionType(pub [u8; 3]);

impl VersionType {
    /// Takes the octets, without tag and length.
    pub fn from_octets(octets: &[u8]) -> Result<Self, LengthError> {
        let version = octets.try_into();
        version.map(Self).map_err(|_| LengthError {
            type_name: "VersionType",
            len: octets.len(),
        })
    }

    /// The octets, without tag and length.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for VersionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0[0], self.0[1], self.0[2])
    }
}

impl fmt::Debug for VersionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

octet_string!(VersionType, Tag::OCTET_STRING);

/// A value that is carried as the data object received.
macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident, $octets:literal, $tag:expr) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Hash, PartialEq)]
        pub struct $name(Vec<u8>);

        impl $name {
            /// Takes a whole data object, tag and length included.
            pub fn from_ber(bytes: &[u8]) -> Result<Self, CodecError> {
                let tlv = Tlv::exactly(bytes)?;
                if tlv.tag != $octets {
                    let cause = format!("the tag is {:X}", tlv.tag);
                    return Err(CodecError::Decode { type_name: stringify!($name), cause });
                }
                Ok(Self(bytes.to_vec()))
            }

            /// The data object as received.
            pub fn bytes(&self) -> &[u8] {
                &self.0
            }

            /// What is inside the data object.
            pub fn contents(&self) -> &[u8] {
                Tlv::exactly(&self.0).map_or(&[], |tlv| tlv.contents)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({} octets)", stringify!($name), self.0.len())
            }
        }

        impl AsnType for $name {
            const TAG: Tag = $tag;
        }

        impl Decode for $name {
            fn decode_with_tag_and_constraints<D: Decoder>(
                decoder: &mut D,
                _: Tag,
                _: &Constraints,
            ) -> Result<Self, D::Error> {
                let codec = decoder.codec();
                let bytes = decoder.decode_any(Tag::EOC)?.into_bytes();
                Self::from_ber(&bytes).map_err(|error| D::Error::custom(error, codec))
            }
        }

        impl Encode for $name {
            fn encode_with_tag_and_constraints<'b, E: Encoder<'b>>(
                &self,
                encoder: &mut E,
                _: Tag,
                _: &Constraints,
                identifier: Identifier,
            ) -> Result<(), E::Error> {
                encoder.encode_any(Tag::EOC, &Any::new(self.0.clone()), identifier)?;
                Ok(())
            }
        }

        elements!($name);
    };
}

opaque!(
    /// An X.509 certificate in DER.
    Certificate, 0x30, Tag::SEQUENCE
);
opaque!(
    /// An ECDSA signature, r ‖ s; tag 5F37. Others sign it with its tag and length.
    Signature, 0x5F37, Tag::new(rasn::types::Class::Application, 55)
);

impl Signature {
    /// Wraps r ‖ s into the data object.
    pub fn new(r_s: &[u8]) -> Self {
        Self(tlv::encode(0x5F37, r_s))
    }
}
