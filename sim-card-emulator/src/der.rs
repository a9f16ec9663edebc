//! Writing and walking definite-length TLVs, for the objects whose exact octets matter.

/// Writes one TLV; the tag is given as it stands on the wire, for example `0x30` or `0xBF38`.
pub fn tlv(tag: u32, value: &[u8]) -> Vec<u8> {
    let mut out = tag_octets(tag);
    out.extend(length(value.len()));
    out.extend_from_slice(value);
    out
}

/// Writes one TLV around the concatenation of the given parts.
pub fn constructed(tag: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(tag, &parts.concat())
}

/// Writes a definite length in its shortest form.
pub fn length(len: usize) -> Vec<u8> {
    let octets = len.to_be_bytes();
    let significant = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
    match significant {
        [] => vec![0],
        [short] if *short < 0x80 => vec![*short],
        long => {
            let count = 0x80 | u8::try_from(long.len()).expect("a usize has at most 8 octets");
            [&[count], long].concat()
        }
    }
}

/// Writes a non-negative INTEGER under the given tag.
pub fn unsigned(tag: u32, value: u64) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let significant = &octets[zeros.min(7)..];
    if significant[0] & 0x80 == 0 {
        tlv(tag, significant)
    } else {
        tlv(tag, &[&[0], significant].concat())
    }
}

/// One TLV of a longer string of octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tlv<'a> {
    /// The tag as it stands on the wire.
    pub tag: u32,
    /// The content octets.
    pub value: &'a [u8],
    /// Tag, length and content as received.
    pub bytes: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// Reads the TLV at the front; `None` when it is incomplete or not of definite length.
    pub fn first(input: &'a [u8]) -> Option<Self> {
        let header = Header::parse(input)?;
        let end = header.size.checked_add(header.length)?;
        Some(Self {
            tag: header.tag,
            value: input.get(header.size..end)?,
            bytes: input.get(..end)?,
        })
    }

    /// Reads input that holds one TLV and nothing behind it.
    pub fn exact(input: &'a [u8]) -> Option<Self> {
        Self::first(input).filter(|tlv| tlv.bytes.len() == input.len())
    }

    /// Reads input that is a concatenation of TLVs.
    pub fn all(mut input: &'a [u8]) -> Option<Vec<Self>> {
        let mut found = Vec::new();
        while !input.is_empty() {
            let tlv = Self::first(input)?;
            input = &input[tlv.bytes.len()..];
            found.push(tlv);
        }
        Some(found)
    }

    /// The TLVs inside a constructed one.
    pub fn children(&self) -> Option<Vec<Self>> {
        Self::all(self.value)
    }
}

/// Tag and length field of a TLV, of which the content need not be there yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// The tag as it stands on the wire.
    pub tag: u32,
    /// Number of content octets announced.
    pub length: usize,
    /// Number of octets of tag and length field together.
    pub size: usize,
}

impl Header {
    /// Reads the header at the front; `None` when it is incomplete or has no definite length.
    pub fn parse(input: &[u8]) -> Option<Self> {
        let mut tag = u32::from(*input.first()?);
        let mut size = 1;
        if tag & 0x1F == 0x1F {
            loop {
                let octet = *input.get(size).filter(|_| size < 4)?;
                tag = tag << 8 | u32::from(octet);
                size += 1;
                if octet & 0x80 == 0 {
                    break;
                }
            }
        }
        let first = *input.get(size)?;
        size += 1;
        if first < 0x80 {
            return Some(Self {
                tag,
                length: usize::from(first),
                size,
            });
        }
        let count = usize::from(first & 0x7F);
        if count == 0 || count > 4 {
            return None;
        }
        let octets = input.get(size..size + count)?;
        let length = octets
            .iter()
            .fold(0, |sum, octet| sum << 8 | usize::from(*octet));
        Some(Self {
            tag,
            length,
            size: size + count,
        })
    }
}

fn tag_octets(tag: u32) -> Vec<u8> {
    let octets = tag.to_be_bytes();
    octets[octets
        .iter()
        .take_while(|octet| **octet == 0)
        .count()
        .min(3)..]
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_minimal() {
        assert_eq!(length(0), [0]);
        assert_eq!(length(127), [0x7F]);
        assert_eq!(length(128), [0x81, 0x80]);
        assert_eq!(length(0x1234), [0x82, 0x12, 0x34]);
    }

    #[test]
    fn a_two_octet_tag_and_a_long_length_are_walked() {
        let inner = tlv(0x81, &[7; 300]);
        let outer = tlv(0xBF38, &inner);
        let read = Tlv::exact(&outer).unwrap();
        assert_eq!((read.tag, read.value), (0xBF38, inner.as_slice()));
        assert_eq!(Tlv::first(&outer[..200]), None);
        assert_eq!(Tlv::exact(&[outer, vec![0]].concat()), None);
    }

    #[test]
    fn integers_keep_their_sign_bit_free() {
        assert_eq!(unsigned(0x02, 0), [2, 1, 0]);
        assert_eq!(unsigned(0x02, 127), [2, 1, 0x7F]);
        assert_eq!(unsigned(0x02, 128), [2, 2, 0, 0x80]);
    }
}
