//! The subject and reason codes this server answers with.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Why a function was not executed: a subject code and a reason code, compared as text.
///
/// SGP.22 v2.5 section 5.2.6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StatusCode {
    /// What is affected, such as "8.2.6" (matching ID).
    pub subject: Code,
    /// Why, such as "3.8" (refused).
    pub reason: Code,
}

impl StatusCode {
    /// X-Admin-Protocol is missing or malformed.
    pub const MISSING_PROTOCOL: Self = Self::new("1.3.1", "2.2");
    /// The request lacks a mandatory member.
    pub const MISSING_INPUT: Self = Self::new("1.6", "2.2");
    /// A member of the request cannot be read.
    pub const INVALID_INPUT: Self = Self::new("1.6", "2.1");
    /// The eUICC refused, or its signature or the challenge in it is not right.
    pub const EUICC_VERIFICATION_FAILED: Self = Self::new("8.1", "6.1");
    /// The eUICC has not enough memory for the profile.
    pub const INSUFFICIENT_MEMORY: Self = Self::new("8.1", "4.8");
    /// The order belongs to another EID.
    pub const EID_REFUSED: Self = Self::new("8.1.1", "3.8");
    /// The EUM certificate does not lead to the issuer.
    pub const EUM_CERTIFICATE_INVALID: Self = Self::new("8.1.2", "6.1");
    /// The EUM certificate is outside its validity.
    pub const EUM_CERTIFICATE_EXPIRED: Self = Self::new("8.1.2", "6.3");
    /// The eUICC certificate does not lead to the EUM.
    pub const EUICC_CERTIFICATE_INVALID: Self = Self::new("8.1.3", "6.1");
    /// The eUICC certificate is outside its validity.
    pub const EUICC_CERTIFICATE_EXPIRED: Self = Self::new("8.1.3", "6.3");
    /// The profile is not released yet.
    pub const NOT_RELEASED: Self = Self::new("8.2", "1.2");
    /// The package is bound to another one-time key and cannot be bound again.
    pub const REBINDING_REFUSED: Self = Self::new("8.2", "3.7");
    /// No profile is eligible for this eUICC.
    pub const NOT_ELIGIBLE: Self = Self::new("8.2.5", "4.3");
    /// The matching ID is unknown or used, or there is no order for the EID.
    pub const MATCHING_ID_REFUSED: Self = Self::new("8.2.6", "3.8");
    /// A confirmation code is required and missing.
    pub const CONFIRMATION_CODE_MISSING: Self = Self::new("8.2.7", "2.2");
    /// The confirmation code is wrong.
    pub const CONFIRMATION_CODE_REFUSED: Self = Self::new("8.2.7", "3.8");
    /// The confirmation code was wrong too often; the order is closed.
    pub const CONFIRMATION_CODE_TRIES_EXCEEDED: Self = Self::new("8.2.7", "6.4");
    /// The SM-DP+ OID in the answer is not this server's.
    pub const OID_MISMATCH: Self = Self::new("8.8", "3.10");
    /// The address asked for is not this server's.
    pub const ADDRESS_REFUSED: Self = Self::new("8.8.1", "3.8");
    /// No common issuer for the eUICC's signatures.
    pub const NO_SIGNING_ISSUER: Self = Self::new("8.8.2", "3.1");
    /// The eUICC's specification version is not supported.
    pub const VERSION_UNSUPPORTED: Self = Self::new("8.8.3", "3.1");
    /// No server certificate under an issuer the eUICC can verify.
    pub const NO_VERIFICATION_ISSUER: Self = Self::new("8.8.4", "3.7");
    /// The order's time is over.
    pub const ORDER_EXPIRED: Self = Self::new("8.8.5", "4.10");
    /// The order was tried too often; it is closed.
    pub const DOWNLOAD_TRIES_EXCEEDED: Self = Self::new("8.8.5", "6.4");
    /// The address asked for is not this SM-DS's.
    pub const SMDS_ADDRESS_REFUSED: Self = Self::new("8.9.1", "3.8");
    /// No common issuer for the eUICC's signatures, says an SM-DS.
    pub const SMDS_NO_SIGNING_ISSUER: Self = Self::new("8.9.2", "3.1");
    /// An SM-DS does not support the eUICC's specification version.
    pub const SMDS_VERSION_UNSUPPORTED: Self = Self::new("8.9.3", "3.1");
    /// No SM-DS certificate under an issuer the eUICC can verify.
    pub const SMDS_NO_VERIFICATION_ISSUER: Self = Self::new("8.9.4", "3.7");
    /// The SM-DS has an event of this ID for this eUICC already.
    pub const EVENT_EXISTS: Self = Self::new("8.9.5", "3.3");
    /// The SM-DS has no event of this ID for this eUICC.
    pub const EVENT_UNKNOWN: Self = Self::new("8.9.5", "3.9");
    /// The transaction ID is unknown.
    pub const UNKNOWN_TRANSACTION: Self = Self::new("8.10.1", "3.9");
    /// The EUM certificate's issuer is not the one chosen for this session.
    pub const UNKNOWN_ISSUER: Self = Self::new("8.11.1", "3.9");

    pub(crate) const fn new(subject: &'static str, reason: &'static str) -> Self {
        let (Some(subject), Some(reason)) = (Code::parse(subject), Code::parse(reason)) else {
            panic!("the constants above are codes");
        };
        Self { subject, reason }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.subject, self.reason)
    }
}

impl FromStr for StatusCode {
    type Err = NotAStatusCode;

    fn from_str(text: &str) -> Result<Self, NotAStatusCode> {
        let (subject, reason) = text.split_once('/').ok_or(NotAStatusCode)?;
        Ok(Self {
            subject: Code::parse(subject).ok_or(NotAStatusCode)?,
            reason: Code::parse(reason).ok_or(NotAStatusCode)?,
        })
    }
}

/// The text is not a subject code and a reason code with a slash between them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a status code is a subject and a reason, such as 8.2.6/3.8")]
pub struct NotAStatusCode;

/// A subject code or reason code: up to four numbers with dots between them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Code {
    numbers: [u8; 4],
    count: usize,
}

impl Code {
    /// Reads the text form; a const function, so that a wrong constant does not compile.
    const fn parse(text: &str) -> Option<Self> {
        let (mut code, text) = (
            Self {
                numbers: [0; 4],
                count: 0,
            },
            text.as_bytes(),
        );
        let (mut at, mut digits) = (0, 0);
        while at < text.len() {
            match text[at] {
                b'.' if digits > 0 && code.count < 3 => {
                    code.count += 1;
                    digits = 0;
                }
                // A leading zero would not come back.
                digit @ b'0'..=b'9' if digits == 0 || code.numbers[code.count] > 0 => {
                    let Some(tens) = code.numbers[code.count].checked_mul(10) else {
                        return None;
                    };
                    let Some(number) = tens.checked_add(digit - b'0') else {
                        return None;
                    };
                    code.numbers[code.count] = number;
                    digits += 1;
                }
                _ => return None,
            }
            at += 1;
        }
        code.count += 1;
        if digits > 0 { Some(code) } else { None }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, number) in self.numbers[..self.count].iter().enumerate() {
            let dot = if place == 0 { "" } else { "." };
            write!(f, "{dot}{number}")?;
        }
        Ok(())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_code_is_read_as_it_is_written() {
        for text in ["8.2.6/3.8", "8.10.1/3.10", "1.6/2.1", "255.0.1.7/9"] {
            assert_eq!(text.parse::<StatusCode>().unwrap().to_string(), text);
        }
        assert_eq!("8.8.5/4.10".parse(), Ok(StatusCode::ORDER_EXPIRED));
        for text in [
            "",
            "8.2",
            "8.2/",
            "/3.8",
            "8..2/3",
            "8.2./3",
            "256/1",
            "08/1",
            "1.2.3.4.5/1",
        ] {
            assert_eq!(text.parse::<StatusCode>(), Err(NotAStatusCode), "{text}");
        }
    }
}
