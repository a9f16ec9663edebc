//! SHA-256 of several parts, written as hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use ring::digest::{Context, SHA256};

/// SHA-256 of several parts.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Each part goes in with its length, so that no octet can move from one part to the next.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        let mut octets = [0; 32];
        octets.copy_from_slice(context.finish().as_ref());
        Self(octets)
    }
}

impl Digest {
    /// A number from 0 to 1 that it stands for, the same for the same parts.
    pub fn share(&self) -> f64 {
        let [a, b, c, d, ..] = self.0;
        f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Its first octets tell one from another in a log.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({}…)", hex::encode(&self.0[..4]))
    }
}

impl FromStr for Digest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 32];
        hex::decode_to_slice(text, &mut octets)?;
        Ok(Self(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_join_to_the_same_text_have_different_digests() {
        assert_ne!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"a", b"bc"]));
        assert_ne!(Digest::of(&[b"a"]), Digest::of(&[b"a", b""]));
        assert_eq!(Digest::of(&[b"a", b"b"]), Digest::of(&[b"a", b"b"]));
    }

    #[test]
    fn a_digest_is_read_back_from_its_digits() {
        let digest = Digest::of(&[b"POST", b"/v1", b"{}"]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("00".parse::<Digest>().is_err());
    }
}
