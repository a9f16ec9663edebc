//! The number of a profile.

use std::fmt;
use std::str::FromStr;

use rasn::types::{Class, Tag};

use super::octets::octet_string;

/// An ICCID as EF.ICCID holds it: ten octets, two digits each, swapped, padded with F; tag 5A.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Iccid([u8; 10]);

impl Iccid {
    /// Takes the ten octets of EF.ICCID.
    pub fn from_octets(octets: &[u8]) -> Result<Self, IccidError> {
        octets
            .try_into()
            .map(Self)
            .map_err(|_| IccidError::Length { len: octets.len() })
    }

    /// The ten octets of EF.ICCID.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// Reads 18 to 20 printed digits; a pad F at the end is allowed.
impl FromStr for Iccid {
    type Err = IccidError;

    fn from_str(printed: &str) -> Result<Self, IccidError> {
        let digits = printed.trim_end_matches(['F', 'f']);
        if !(18..=20).contains(&digits.len()) || printed.len() > 20 {
            return Err(IccidError::Length { len: printed.len() });
        }
        let mut octets = [0xFF; 10];
        for (index, character) in digits.chars().enumerate() {
            let digit = character
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok());
            let digit = digit.ok_or(IccidError::Digit { character })?;
            let octet = &mut octets[index / 2];
            *octet = if index % 2 == 0 {
                0xF0 | digit
            } else {
                digit << 4 | *octet & 0x0F
            };
        }
        Ok(Self(octets))
    }
}

/// Shows the digits in printed order, without padding.
impl fmt::Display for Iccid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let swapped = self.0.map(|octet| octet.rotate_left(4));
        f.write_str(hex::encode_upper(swapped).trim_end_matches('F'))
    }
}

/// Hides the middle, so that a log does not identify a subscription.
impl fmt::Debug for Iccid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.to_string();
        let tail = digits.len().saturating_sub(4);
        write!(
            f,
            "{}…{}",
            digits.get(..6).unwrap_or(""),
            digits.get(tail..).unwrap_or("")
        )
    }
}

/// Why text or octets are no ICCID.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IccidError {
    /// Not a digit.
    #[error("an ICCID consists of digits, and {character:?} is not one")]
    Digit {
        /// What stands there.
        character: char,
    },
    /// Too short or too long.
    #[error("an ICCID has 18 to 20 digits in ten octets, not {len}")]
    Length {
        /// Digits or octets given.
        len: usize,
    },
}

octet_string!(Iccid, Tag::new(Class::Application, 26));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eighteen_nineteen_and_twenty_digits_fill_ten_octets() {
        for (digits, octets) in [
            ("890100000000000001", "981000000000000010ff"),
            ("8901000000000000019", "981000000000000010f9"),
            ("89010000000000000198", "98100000000000001089"),
        ] {
            let iccid: Iccid = digits.parse().unwrap();
            assert_eq!(hex::encode(iccid.octets()), octets);
            assert_eq!(iccid.to_string(), digits);
        }
        let padded: Iccid = "8901000000000000019F".parse().unwrap();
        assert_eq!(padded.to_string(), "8901000000000000019");
    }

    #[test]
    fn what_is_no_iccid_is_refused() {
        for text in [
            "",
            "8901",
            "89010000000000000198765",
            "8901000000000000 19",
            "é",
        ] {
            assert!(text.parse::<Iccid>().is_err(), "{text}");
        }
    }
}
