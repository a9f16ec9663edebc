//! Numbers of profiles and subscribers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ProfileError;

/// The number of a profile: 18 to 20 decimal digits, the last one a check digit.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct Iccid(String);

impl Iccid {
    /// The `number`-th ICCID of a range of our own, with its Luhn check digit.
    pub fn nth(number: u32) -> Self {
        let iccid = Self::with_check_digit(&format!("8901999{number:011}"));
        iccid.expect("18 digits and the check digit")
    }

    /// These 17 to 19 decimal digits with their Luhn check digit behind them.
    pub fn with_check_digit(digits: &str) -> Result<Self, ProfileError> {
        let sum: u32 = digits
            .chars()
            .rev()
            .filter_map(|digit| digit.to_digit(10))
            .enumerate()
            .map(|(place, digit)| {
                let digit = digit * if place % 2 == 0 { 2 } else { 1 };
                digit / 10 + digit % 10
            })
            .sum();
        format!("{digits}{}", (10 - sum % 10) % 10).try_into()
    }

    /// Reads the form of the profile header: digits in reading order, filled up with F.
    pub(super) fn from_reading_order(bytes: &[u8]) -> Result<Self, ProfileError> {
        hex::encode_upper(bytes)
            .trim_end_matches('F')
            .to_owned()
            .try_into()
    }

    /// The form of the profile header: digits in reading order, filled up with F.
    pub(super) fn in_reading_order(&self) -> [u8; 10] {
        let mut bytes = [0xFF; 10];
        for (place, digit) in self.0.bytes().enumerate() {
            let shift = if place % 2 == 0 { 4 } else { 0 };
            bytes[place / 2] &= !(0x0F << shift) | ((digit - b'0') << shift);
        }
        bytes
    }

    /// The form of tag 5A and of EF.ICCID: the digits of each byte swapped.
    pub fn swapped(&self) -> [u8; 10] {
        self.in_reading_order().map(|byte| byte.rotate_left(4))
    }

    pub(super) fn last_digits(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }
}

impl fmt::Display for Iccid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Iccid> for String {
    fn from(iccid: Iccid) -> Self {
        iccid.0
    }
}

impl TryFrom<String> for Iccid {
    type Error = ProfileError;

    fn try_from(digits: String) -> Result<Self, ProfileError> {
        if !(18..=20).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit())
        {
            return Err(ProfileError::BadIccid(digits));
        }
        Ok(Self(digits))
    }
}

/// The number of a subscriber, 15 decimal digits: country, network, person.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Imsi(String);

impl Imsi {
    /// The subscriber of the test network 001/01 that has the ICCID's last digits before the check
    /// digit.
    pub fn of(iccid: &Iccid) -> Self {
        let digits = &iccid.0[..iccid.0.len() - 1];
        Self(format!("00101{}", &digits[digits.len() - 10..]))
    }

    /// Its last digit, by which networks keep a part of the subscribers away when they must.
    pub(super) fn last_digit(&self) -> u8 {
        self.0.bytes().next_back().map_or(0, |digit| digit - b'0')
    }

    /// The form of EF.IMSI (3GPP TS 31.102 section 4.2.2): length, and the digits after a nibble
    /// that says that their number is odd.
    pub fn coded(&self) -> [u8; 9] {
        let mut digits = self.0.bytes().map(|digit| digit - b'0');
        let mut coded = [0; 9];
        coded[0] = 8;
        coded[1] = digits.next().unwrap_or_default() << 4 | 0x09;
        for octet in &mut coded[2..] {
            *octet = digits.next().unwrap_or(0x0F) | digits.next().unwrap_or(0x0F) << 4;
        }
        coded
    }
}

impl fmt::Display for Imsi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Imsi {
    type Error = ProfileError;

    fn try_from(digits: String) -> Result<Self, ProfileError> {
        if digits.len() != 15 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(ProfileError::BadImsi(digits));
        }
        Ok(Self(digits))
    }
}
