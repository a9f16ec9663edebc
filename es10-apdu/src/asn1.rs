//! Reading what cards send, writing what they expect.
//!
//! Written is strict DER. Read is BER, tolerantly: the module is `EXTENSIBILITY IMPLIED` and real
//! cards use it, so data objects this version does not know are dropped and known ones are put into
//! order before the decoder sees them. This happens at every [`Raw`], [`Open`] and [`List`].
//!
//! What was signed is never encoded again: [`Raw`] keeps the octets as received.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use rasn::ber::de::{Decoder as BerDecoder, DecoderOptions};
use rasn::de::Error as _;
use rasn::error::DecodeError;
use rasn::types::fields::{Field, Fields};
use rasn::types::{Any, Class, Constraints, Identifier, Tag, TagTree};
use rasn::{AsnType, Decode, Decoder, Encode, Encoder};

use crate::tlv::{self, Children, Tlv, TlvError};

/// A type that is read tolerantly.
pub trait Extensible: Decode {
    /// Whether the type is a SEQUENCE, the only kind that can have unknown components.
    const SEQUENCE: bool = false;

    /// Where the component stands in the module that is the `nth` one, from 0, to have `tag`;
    /// `None` when the module has none.
    fn position(_tag: Tag, _nth: usize) -> Option<usize> {
        None
    }
}

/// Says of SEQUENCE types that a newer peer may add components to them.
macro_rules! sequences {
    ($($type:ty),+ $(,)?) => {$(
        impl crate::asn1::Extensible for $type {
            const SEQUENCE: bool = true;

            fn position(tag: rasn::types::Tag, nth: usize) -> Option<usize> {
                use rasn::types::Constructed;
                crate::asn1::component(&Self::FIELDS, tag, nth)
            }
        }
    )+};
}

/// Says of other types that they can be elements of a list or a whole answer.
macro_rules! elements {
    ($($type:ty),+ $(,)?) => {$(
        impl crate::asn1::Extensible for $type {}
    )+};
}

pub(crate) use elements;
pub(crate) use sequences;

/// Octets as received, and what they mean.
#[derive(Clone, Eq, PartialEq)]
pub struct Raw<T> {
    bytes: Vec<u8>,
    value: T,
}

impl<T: Encode> Raw<T> {
    /// Encodes `value` for the first time.
    pub fn new(value: T) -> Self {
        Self {
            bytes: encode(&value),
            value,
        }
    }
}

impl<T: Extensible> Raw<T> {
    /// Reads exactly one value and keeps its octets.
    pub fn from_ber(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(Self {
            value: read(bytes)?,
            bytes: bytes.to_vec(),
        })
    }
}

impl<T> Raw<T> {
    /// The octets, tag and length included, exactly as received.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the octets away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Gives the value away.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> Deref for Raw<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Raw<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: AsnType> AsnType for Raw<T> {
    const TAG: Tag = T::TAG;
    const TAG_TREE: TagTree = T::TAG_TREE;
    const IS_CHOICE: bool = T::IS_CHOICE;
}

impl<T: Extensible> Decode for Raw<T> {
    fn decode_with_tag_and_constraints<D: Decoder>(
        decoder: &mut D,
        tag: Tag,
        _: &Constraints,
    ) -> Result<Self, D::Error> {
        // `Tag::EOC` is rasn's "any tag". The octets are taken as they are; their tag is checked when
        // they are read.
        let bytes = decoder.decode_any(Tag::EOC)?.into_bytes();
        let value = read_tagged(&bytes, tag)?;
        Ok(Self { bytes, value })
    }
}

impl<T: AsnType> Encode for Raw<T> {
    fn encode_with_tag_and_constraints<'b, E: Encoder<'b>>(
        &self,
        encoder: &mut E,
        _: Tag,
        _: &Constraints,
        identifier: Identifier,
    ) -> Result<(), E::Error> {
        encoder.encode_any(Tag::EOC, &Any::new(self.bytes.clone()), identifier)?;
        Ok(())
    }
}

impl<T: Extensible> Extensible for Raw<T> {}

/// A SEQUENCE inside another, which may hold components this version does not know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Open<T>(pub T);

impl<T> Deref for Open<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Open<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: AsnType> AsnType for Open<T> {
    const TAG: Tag = T::TAG;
    const TAG_TREE: TagTree = T::TAG_TREE;
    const IS_CHOICE: bool = T::IS_CHOICE;
}

impl<T: Extensible> Decode for Open<T> {
    fn decode_with_tag_and_constraints<D: Decoder>(
        decoder: &mut D,
        tag: Tag,
        _: &Constraints,
    ) -> Result<Self, D::Error> {
        let bytes = decoder.decode_any(Tag::EOC)?.into_bytes();
        Ok(Self(read_tagged(&bytes, tag)?))
    }
}

impl<T: Encode> Encode for Open<T> {
    fn encode_with_tag_and_constraints<'b, E: Encoder<'b>>(
        &self,
        encoder: &mut E,
        tag: Tag,
        constraints: &Constraints,
        identifier: Identifier,
    ) -> Result<(), E::Error> {
        // A CHOICE has no tag of its own, so there is none that could replace it.
        if tag == Tag::EOC {
            return self.0.encode(encoder);
        }
        self.0
            .encode_with_tag_and_constraints(encoder, tag, constraints, identifier)
    }
}

impl<T: Extensible> Extensible for Open<T> {}

/// A SEQUENCE OF in which an element that cannot be read costs that element, not the list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct List<T> {
    /// The elements that could be read, in the card's order.
    pub items: Vec<T>,
    /// Those that could not.
    pub unreadable: Vec<Unreadable>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            unreadable: Vec::new(),
        }
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        Self {
            items,
            unreadable: Vec::new(),
        }
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> AsnType for List<T> {
    const TAG: Tag = Tag::SEQUENCE;
}

impl<T: Extensible> Decode for List<T> {
    fn decode_with_tag_and_constraints<D: Decoder>(
        decoder: &mut D,
        tag: Tag,
        _: &Constraints,
    ) -> Result<Self, D::Error> {
        let contents = decoder.decode_any(tag)?.into_bytes();
        let mut list = Self::default();
        for (index, child) in Children::of(&contents).enumerate() {
            // Behind an element without a proper length nothing can be told apart any more.
            let encoding = child.map_or_else(|_| contents.as_slice(), |tlv| tlv.encoding);
            match child
                .map_err(CodecError::from)
                .and_then(|tlv| read(tlv.encoding))
            {
                Ok(item) => list.items.push(item),
                Err(error) => {
                    let encoding = encoding.to_vec();
                    list.unreadable.push(Unreadable {
                        index,
                        encoding,
                        error,
                    });
                }
            }
        }
        Ok(list)
    }
}

impl<T: Encode> Encode for List<T> {
    fn encode_with_tag_and_constraints<'b, E: Encoder<'b>>(
        &self,
        encoder: &mut E,
        tag: Tag,
        _: &Constraints,
        identifier: Identifier,
    ) -> Result<(), E::Error> {
        encoder.encode_sequence_of(tag, &self.items, &Constraints::NONE, identifier)?;
        Ok(())
    }
}

/// An element of a [`List`] that could not be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unreadable {
    /// Its place in the list, from 0.
    pub index: usize,
    /// Its octets.
    pub encoding: Vec<u8>,
    /// Why.
    pub error: CodecError,
}

/// Why octets are not the value they should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CodecError {
    /// The decoder's own words, with the type it was reading.
    #[error("{type_name}: {cause}")]
    Decode {
        /// The ASN.1 type.
        type_name: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// There is nothing to read.
    #[error("{type_name}: the answer is empty")]
    Empty {
        /// The ASN.1 type.
        type_name: &'static str,
    },
    /// Not even a data object.
    #[error(transparent)]
    Tlv(#[from] TlvError),
}

/// Reads exactly one value, tolerantly.
pub fn read<T: Extensible>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.is_empty() {
        return Err(CodecError::Empty {
            type_name: type_name::<T>(),
        });
    }
    // rasn would accept octets behind the value.
    Tlv::exactly(bytes)?;
    read_tagged(bytes, T::TAG).map_err(|error| CodecError::Decode {
        type_name: type_name::<T>(),
        cause: cause(&error),
    })
}

/// Encodes a value in DER.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    // The encoder fails for values outside their constraints only; no type here states any, what
    // SGP.22 limits is checked when the value is made.
    rasn::der::encode(value).expect("a value without constraints can be encoded")
}

/// The position of the `nth` component with `tag` in a SEQUENCE type.
pub(crate) fn component<const N: usize>(fields: &Fields<N>, tag: Tag, nth: usize) -> Option<usize> {
    let has_tag = |field: &Field| field.tag == tag || contains(&field.tag_tree, tag);
    let mut with_tag = fields
        .iter()
        .enumerate()
        .filter(|(_, field)| has_tag(field));
    with_tag.nth(nth).map(|(position, _)| position)
}

fn contains(tree: &TagTree, tag: Tag) -> bool {
    match tree {
        TagTree::Leaf(leaf) => *leaf == tag,
        TagTree::Choice(branches) => branches.iter().any(|branch| contains(branch, tag)),
    }
}

fn read_tagged<T: Extensible>(bytes: &[u8], tag: Tag) -> Result<T, DecodeError> {
    let bytes = if T::SEQUENCE {
        known_components(bytes, T::position)?
    } else {
        Cow::Borrowed(bytes)
    };
    let mut decoder = BerDecoder::new(&bytes, DecoderOptions::ber());
    // A tag of the component in place of the type's own, as IMPLICIT TAGS has it.
    if tag == Tag::EOC || tag == T::TAG {
        T::decode(&mut decoder)
    } else {
        T::decode_with_tag(&mut decoder, tag)
    }
}

/// Drops unknown and repeated components, and puts the known ones into the module's order.
///
/// `position` is [`Extensible::position`]: with the type itself as parameter, this and its sorting
/// would be in the program once for every SEQUENCE.
fn known_components(
    bytes: &[u8],
    position: fn(Tag, usize) -> Option<usize>,
) -> Result<Cow<'_, [u8]>, DecodeError> {
    let malformed = |error: TlvError| DecodeError::custom(error, rasn::Codec::Ber);
    let whole = Tlv::exactly(bytes).map_err(malformed)?;
    let mut known: Vec<(usize, &[u8])> = Vec::new();
    let mut seen: BTreeMap<Tag, usize> = BTreeMap::new();
    let mut all_in_order = true;
    for child in whole.children() {
        let child = child.map_err(malformed)?;
        let tag = tag_of(child.tag);
        // The order tells components with one tag apart: AuthenticateResponseOk has two certificates.
        let nth = seen.entry(tag).and_modify(|count| *count += 1).or_insert(0);
        let Some(position) = position(tag, *nth) else {
            all_in_order = false;
            continue;
        };
        all_in_order &= known.last().is_none_or(|&(last, _)| last < position);
        known.push((position, child.encoding));
    }
    // Nearly always, and then nothing is copied.
    if all_in_order {
        return Ok(Cow::Borrowed(bytes));
    }
    known.sort_by_key(|&(position, _)| position);
    let contents: Vec<u8> = known
        .into_iter()
        .flat_map(|(_, encoding)| encoding)
        .copied()
        .collect();
    Ok(Cow::Owned(tlv::encode(whole.tag, &contents)))
}

/// The decoder's idea of a tag written as octets.
fn tag_of(octets: u32) -> Tag {
    let bytes = octets.to_be_bytes();
    let first = bytes.iter().position(|&octet| octet != 0).unwrap_or(3);
    let class = match bytes[first] >> 6 {
        0 => Class::Universal,
        1 => Class::Application,
        2 => Class::Context,
        _ => Class::Private,
    };
    let number = match &bytes[first + 1..] {
        [] => u32::from(bytes[first] & 0x1F),
        more => more
            .iter()
            .fold(0, |sum, &octet| sum << 7 | u32::from(octet & 0x7F)),
    };
    Tag::new(class, number)
}

fn type_name<T>() -> &'static str {
    let path = std::any::type_name::<T>();
    let path = path
        .rsplit('<')
        .next()
        .unwrap_or(path)
        .trim_end_matches('>');
    path.rsplit("::").next().unwrap_or(path)
}

/// The decoder's message without its backtrace and bit offsets.
fn cause(error: &DecodeError) -> String {
    error.kind.to_string()
}
