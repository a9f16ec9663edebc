//! A BER-TLV walker: tag, length, contents, and the octets exactly as received.
//!
//! It knows no meaning. [`asn1`](crate::asn1) uses it to drop what a newer card adds, the Bound
//! Profile Package is cut with it, and the emulator reads requests with it.

use std::fmt;

/// Indefinite lengths may nest; nothing in SGP.22 is deeper than this.
const MAX_DEPTH: u8 = 32;

/// One data object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tlv<'a> {
    /// The tag octets as one number: `0x5A`, `0x9F70`, `0xBF38`.
    pub tag: u32,
    /// Tag, length and contents as received.
    pub encoding: &'a [u8],
    /// The contents alone, without end-of-contents octets.
    pub contents: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// Reads the data object at the start of `input` and gives what follows it.
    pub fn read(input: &'a [u8]) -> Result<(Self, &'a [u8]), TlvError> {
        Self::read_at_depth(input, 0)
    }

    /// Reads `input` as exactly one data object.
    pub fn exactly(input: &'a [u8]) -> Result<Self, TlvError> {
        match Self::read(input)? {
            (tlv, []) => Ok(tlv),
            (_, rest) => Err(TlvError::Trailing { len: rest.len() }),
        }
    }

    /// The data objects inside a constructed one.
    pub fn children(&self) -> Children<'a> {
        Children::of(self.contents)
    }

    /// The first child with `tag`; a malformed child ends the search.
    pub fn child(&self, tag: u32) -> Option<Self> {
        self.children()
            .map_while(Result::ok)
            .find(|child| child.tag == tag)
    }

    /// Octets of tag and length field.
    pub fn header(&self) -> &'a [u8] {
        let len = self.contents.as_ptr() as usize - self.encoding.as_ptr() as usize;
        &self.encoding[..len]
    }

    fn read_at_depth(input: &'a [u8], depth: u8) -> Result<(Self, &'a [u8]), TlvError> {
        let Header { tag, length, size } = Header::read(input)?;
        let body = &input[size..];
        let (contents, used) = match length {
            Some(len) if len <= body.len() => (&body[..len], len),
            Some(len) => {
                let missing = len - body.len();
                return Err(TlvError::Truncated { tag, missing });
            }
            None => {
                let len = indefinite_len(body, depth)?;
                (&body[..len], len + 2)
            }
        };
        let (encoding, rest) = input.split_at(size + used);
        let tlv = Self {
            tag,
            encoding,
            contents,
        };
        Ok((tlv, rest))
    }
}

/// Tag and length field of a data object whose contents need not be there yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// The tag octets as one number.
    pub tag: u32,
    /// Octets of contents announced; `None` for the indefinite form.
    pub length: Option<usize>,
    /// Octets of tag and length field.
    pub size: usize,
}

impl Header {
    /// Reads the header at the start of `input`.
    pub fn read(input: &[u8]) -> Result<Self, TlvError> {
        let (tag, tag_len) = read_tag(input)?;
        let (length, length_len) = read_length(&input[tag_len..])?;
        let size = tag_len + length_len;
        Ok(Self { tag, length, size })
    }
}

/// Iterates over data objects that follow each other.
#[derive(Clone, Debug)]
pub struct Children<'a> {
    rest: &'a [u8],
}

impl<'a> Children<'a> {
    /// The data objects of `contents`, one after the other.
    pub fn of(contents: &'a [u8]) -> Self {
        Self { rest: contents }
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Tlv::read(self.rest) {
            Ok((tlv, rest)) => {
                self.rest = rest;
                Some(Ok(tlv))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// Why octets are no data object.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TlvError {
    /// Lengths of this form need more than four octets, or nest too deep.
    #[error("the length needs more than four octets, or objects nest too deep")]
    Length,
    /// The input ends inside a tag or length field.
    #[error("the data ends inside a tag or length")]
    Header,
    /// A tag of more than four octets.
    #[error("a tag of more than four octets")]
    Tag,
    /// Octets after the object.
    #[error("{len} octets follow the data object")]
    Trailing {
        /// How many.
        len: usize,
    },
    /// The contents are longer than what is there.
    #[error("tag {tag:X} ends {missing} octets too early")]
    Truncated {
        /// The object's tag.
        tag: u32,
        /// Octets that were announced and are not there.
        missing: usize,
    },
}

/// Encodes one data object in DER.
pub fn encode(tag: u32, contents: &[u8]) -> Vec<u8> {
    let mut out = header(tag, contents.len());
    out.extend_from_slice(contents);
    out
}

/// Tag and minimal length field of an object with `len` octets of contents.
pub fn header(tag: u32, len: usize) -> Vec<u8> {
    let significant = |octets: &[u8]| octets.iter().position(|&octet| octet != 0);
    let tag = tag.to_be_bytes();
    let mut out = tag[significant(&tag).unwrap_or(tag.len() - 1)..].to_vec();
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let len = len.to_be_bytes();
            let octets = &len[significant(&len).unwrap_or(len.len() - 1)..];
            out.extend((0x81..).nth(octets.len() - 1));
            out.extend_from_slice(octets);
        }
    }
    out
}

/// Shows data objects as an indented tree, for people.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a>(pub &'a [u8]);

impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_tree(f, self.0, 0)
    }
}

fn write_tree(f: &mut fmt::Formatter<'_>, contents: &[u8], depth: usize) -> fmt::Result {
    for child in Children::of(contents) {
        let indent = depth * 2;
        match child {
            Ok(tlv) if is_constructed(tlv.tag) && depth < usize::from(MAX_DEPTH) => {
                writeln!(f, "{:indent$}{:X}", "", tlv.tag)?;
                write_tree(f, tlv.contents, depth + 1)?;
            }
            Ok(tlv) => {
                writeln!(
                    f,
                    "{:indent$}{:X} {}",
                    "",
                    tlv.tag,
                    hex::encode_upper(tlv.contents)
                )?;
            }
            Err(error) => writeln!(f, "{:indent$}({error})", "")?,
        }
    }
    Ok(())
}

/// Whether the tag announces data objects as contents.
pub fn is_constructed(tag: u32) -> bool {
    let octets = tag.to_be_bytes();
    octets
        .iter()
        .find(|&&octet| octet != 0)
        .is_some_and(|first| first & 0x20 != 0)
}

fn read_tag(input: &[u8]) -> Result<(u32, usize), TlvError> {
    let first = *input.first().ok_or(TlvError::Header)?;
    let mut tag = u32::from(first);
    if first & 0x1F != 0x1F {
        return Ok((tag, 1));
    }
    for (index, &octet) in input.iter().enumerate().skip(1) {
        if index > 3 {
            return Err(TlvError::Tag);
        }
        tag = tag << 8 | u32::from(octet);
        if octet & 0x80 == 0 {
            return Ok((tag, index + 1));
        }
    }
    Err(TlvError::Header)
}

fn read_length(input: &[u8]) -> Result<(Option<usize>, usize), TlvError> {
    match *input.first().ok_or(TlvError::Header)? {
        short @ 0..=0x7F => Ok((Some(usize::from(short)), 1)),
        0x80 => Ok((None, 1)),
        long => {
            let count = usize::from(long & 0x7F);
            if count > 4 {
                return Err(TlvError::Length);
            }
            let octets = input.get(1..=count).ok_or(TlvError::Header)?;
            let length = octets
                .iter()
                .fold(0, |sum, &octet| sum << 8 | usize::from(octet));
            Ok((Some(length), count + 1))
        }
    }
}

fn indefinite_len(body: &[u8], depth: u8) -> Result<usize, TlvError> {
    if depth >= MAX_DEPTH {
        return Err(TlvError::Length);
    }
    let mut rest = body;
    while !rest.starts_with(&[0, 0]) {
        rest = Tlv::read_at_depth(rest, depth + 1)?.1;
    }
    Ok(body.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_one_two_and_three_octets_are_read() {
        for (input, tag) in [
            ("5a0101", 0x5A),
            ("9f70020102", 0x9F70),
            ("bf818001ff", 0xBF_8180),
        ] {
            let bytes = hex::decode(input).unwrap();
            assert_eq!(Tlv::exactly(&bytes).map(|tlv| tlv.tag).ok(), {
                // The last one says its length in the fourth octet.
                Some(tag).filter(|_| tag != 0xBF_8180)
            });
        }
    }

    #[test]
    fn non_minimal_and_indefinite_lengths_are_read_as_received() {
        let long = hex::decode("30820002050000").unwrap();
        let (tlv, rest) = Tlv::read(&long).unwrap();
        assert_eq!((tlv.contents, rest), (&long[4..6], &long[6..]));
        let indefinite = hex::decode("3080308004010100000401020000ff").unwrap();
        let (tlv, rest) = Tlv::read(&indefinite).unwrap();
        assert_eq!((tlv.children().count(), rest), (2, &[0xFF][..]));
    }

    #[test]
    fn bad_lengths_are_errors_and_never_panics() {
        for input in [
            "",
            "bf",
            "5a",
            "5a05",
            "5a0501",
            "5a85ffffffffff",
            "3080",
            "1fffffffff00",
        ] {
            assert!(Tlv::read(&hex::decode(input).unwrap()).is_err(), "{input}");
        }
        let deep = [[0x30, 0x80]; 5_000].concat();
        assert_eq!(Tlv::read(&deep), Err(TlvError::Length));
    }

    #[test]
    fn what_is_encoded_has_minimal_lengths() {
        for (len, head) in [
            (0, "bf3700"),
            (127, "bf377f"),
            (128, "bf378180"),
            (256, "bf37820100"),
            (0x1234, "bf37821234"),
        ] {
            assert_eq!(hex::encode(header(0xBF37, len)), head);
            let whole = encode(0xBF37, &vec![0; len]);
            assert_eq!(Tlv::exactly(&whole).unwrap().contents.len(), len);
        }
    }
}
