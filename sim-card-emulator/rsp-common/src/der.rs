//! Writing and walking definite-length TLVs, for the objects whose exact octets matter.

pub use es10_apdu::tlv::encode as tlv;

/// Writes one TLV around the concatenation of the given parts.
pub fn constructed(tag: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(tag, &parts.concat())
}

/// Puts more parts behind those of a constructed TLV.
pub fn extended(der: &[u8], more: &[Vec<u8>]) -> Vec<u8> {
    match Tlv::exact(der) {
        Some(whole) => tlv(whole.tag, &[whole.value, &more.concat()].concat()),
        None => der.to_vec(),
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

/// Writes an INTEGER under the given tag.
pub fn signed(tag: u32, value: i64) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let redundant = octets.windows(2).take_while(|pair| {
        let sign = if pair[1] & 0x80 == 0 { 0x00 } else { 0xFF };
        pair[0] == sign
    });
    tlv(tag, &octets[redundant.count()..])
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
        let header = es10_apdu::tlv::Header::read(input).ok()?;
        Some(Self {
            tag: header.tag,
            length: header.length?,
            size: header.size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn parts_are_put_behind_those_that_are_there() {
        let whole = extended(&tlv(0x30, &[5, 0]), &[tlv(0x80, &[1]), tlv(0x81, &[])]);
        assert_eq!(whole, [0x30, 7, 5, 0, 0x80, 1, 1, 0x81, 0]);
    }

    #[test]
    fn integers_keep_their_sign_bit_free() {
        assert_eq!(unsigned(0x02, 0), [2, 1, 0]);
        assert_eq!(unsigned(0x02, 127), [2, 1, 0x7F]);
        assert_eq!(unsigned(0x02, 128), [2, 2, 0, 0x80]);
        for value in [0, 1, 127, 128, 255, 256, 65_535] {
            assert_eq!(signed(0x80, value), unsigned(0x80, value.unsigned_abs()));
        }
        assert_eq!(signed(0x80, -1), [0x80, 1, 0xFF]);
        assert_eq!(signed(0x80, -129), [0x80, 2, 0xFF, 0x7F]);
    }
}
