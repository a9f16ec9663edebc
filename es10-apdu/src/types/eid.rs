//! The number of an eUICC.

use std::fmt;
use std::str::FromStr;

use rasn::types::{Class, Tag};

use super::octets::octet_string;

/// An EID, SGP.29: 32 digits in sixteen octets, in printed order; tag 5A.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Eid([u8; 16]);

impl Eid {
    /// Takes the sixteen octets.
    pub fn from_octets(octets: &[u8]) -> Result<Self, EidError> {
        let octets = octets.try_into().map_err(|_| EidError::Length {
            len: octets.len() * 2,
        })?;
        let eid = Self(octets);
        if let Some(character) = eid.to_string().chars().find(|c| !c.is_ascii_digit()) {
            return Err(EidError::Digit { character });
        }
        Ok(eid)
    }

    /// The sixteen octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Whether the two check digits are right: the number modulo 97 is 1.
    ///
    /// Cards with wrong ones exist, so this is a reason to warn and not to refuse.
    pub fn has_valid_check_digits(&self) -> bool {
        let remainder = self.0.iter().fold(0u32, |remainder, octet| {
            (remainder * 100 + u32::from(octet >> 4) * 10 + u32::from(octet & 0x0F)) % 97
        });
        remainder == 1
    }
}

/// Reads 32 digits.
impl FromStr for Eid {
    type Err = EidError;

    fn from_str(printed: &str) -> Result<Self, EidError> {
        if let Some(character) = printed.chars().find(|c| !c.is_ascii_digit()) {
            return Err(EidError::Digit { character });
        }
        let octets = hex::decode(printed).map_err(|_| EidError::Length { len: printed.len() })?;
        Self::from_octets(&octets)
    }
}

impl fmt::Display for Eid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(self.0))
    }
}

/// Hides the middle, so that a log does not identify a device.
impl fmt::Debug for Eid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.to_string();
        write!(f, "{}…{}", &digits[..8], &digits[28..])
    }
}

/// Why text or octets are no EID.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EidError {
    /// Not a decimal digit.
    #[error("an EID consists of decimal digits, and {character:?} is not one")]
    Digit {
        /// What stands there.
        character: char,
    },
    /// Too short or too long.
    #[error("an EID has 32 digits, not {len}")]
    Length {
        /// Digits given.
        len: usize,
    },
}

octet_string!(Eid, Tag::new(Class::Application, 26));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_right_in_issued_eids_and_wrong_after_one_typing_error() {
        for digits in [
            "89049032123451234512345678901235",
            "89033024343000012200000000031331",
        ] {
            let eid: Eid = digits.parse().unwrap();
            assert!(eid.has_valid_check_digits());
            assert_eq!(eid.to_string(), digits);
        }
        let typo: Eid = "89049032123451234512345678901236".parse().unwrap();
        assert!(!typo.has_valid_check_digits());
    }

    #[test]
    fn a_log_shows_neither_the_device_nor_a_broken_character() {
        let eid: Eid = "89049032123451234512345678901235".parse().unwrap();
        assert_eq!(format!("{eid:?}"), "89049032…1235");
        assert_eq!("8904".parse::<Eid>(), Err(EidError::Length { len: 4 }));
        assert!("é9049032123451234512345678901235".parse::<Eid>().is_err());
    }
}
