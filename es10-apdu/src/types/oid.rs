//! Object identifiers.

use std::fmt;
use std::str::FromStr;

use rasn::types::Tag;

use super::octets::octet_string;

/// An OBJECT IDENTIFIER, kept as its contents octets; shown in dotted form.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Oid(Vec<u8>);

impl Oid {
    /// Takes the contents octets.
    pub fn from_octets(octets: &[u8]) -> Result<Self, OidError> {
        arcs(octets).ok_or(OidError)?;
        Ok(Self(octets.to_vec()))
    }

    /// The contents octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the dotted form.
impl FromStr for Oid {
    type Err = OidError;

    fn from_str(dotted: &str) -> Result<Self, OidError> {
        let decimal = |arc: &str| {
            let only_digits = !arc.is_empty() && arc.bytes().all(|octet| octet.is_ascii_digit());
            only_digits
                .then(|| arc.parse::<u128>().ok())
                .flatten()
                .ok_or(OidError)
        };
        let arcs = dotted
            .split('.')
            .map(decimal)
            .collect::<Result<Vec<_>, _>>()?;
        let [root @ 0..=2, second, rest @ ..] = arcs.as_slice() else {
            return Err(OidError);
        };
        if *root < 2 && *second > 39 {
            return Err(OidError);
        }
        let first = second.checked_add(root * 40).ok_or(OidError)?;
        let mut octets = Vec::new();
        for arc in std::iter::once(&first).chain(rest) {
            push_arc(&mut octets, *arc);
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arcs = arcs(&self.0).unwrap_or_default();
        let mut separator = "";
        for (index, arc) in arcs.into_iter().enumerate() {
            if index == 0 {
                let root = (arc / 40).min(2);
                write!(f, "{root}.{}", arc - root * 40)?;
            } else {
                write!(f, "{separator}{arc}")?;
            }
            separator = ".";
        }
        Ok(())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Not an object identifier.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an object identifier")]
pub struct OidError;

octet_string!(Oid, Tag::OBJECT_IDENTIFIER);

fn arcs(octets: &[u8]) -> Option<Vec<u128>> {
    if octets.is_empty() || octets.last().is_some_and(|last| last & 0x80 != 0) {
        return None;
    }
    let mut arcs = Vec::new();
    let mut arc = 0u128;
    for octet in octets {
        if arc > u128::MAX >> 7 {
            return None;
        }
        arc = arc << 7 | u128::from(octet & 0x7F);
        if octet & 0x80 == 0 {
            arcs.push(std::mem::take(&mut arc));
        }
    }
    Some(arcs)
}

fn push_arc(octets: &mut Vec<u8>, arc: u128) {
    let groups = (128 - arc.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let more = if group == 0 { 0 } else { 0x80 };
        octets.push((arc >> (group * 7) & 0x7F) as u8 | more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_form_and_octets_agree() {
        for (dotted, octets) in [
            ("2.999.10", "88370a"),
            ("2.999", "8837"),
            ("2.23.146.1.2.1.4", "67811201020104"),
            ("1.3.6.1.4.1.31746", "2b0601040181f802"),
        ] {
            let oid: Oid = dotted.parse().unwrap();
            assert_eq!(hex::encode(oid.octets()), octets);
            assert_eq!(oid.to_string(), dotted);
        }
        for wrong in ["", "2", "3.1", "1.40", "2..1", "2.+1", "2.x", "."] {
            assert!(wrong.parse::<Oid>().is_err(), "{wrong}");
        }
        assert!(Oid::from_octets(&[0x88]).is_err());
        assert!(Oid::from_octets(&[0xFF; 40]).is_err());
    }
}
