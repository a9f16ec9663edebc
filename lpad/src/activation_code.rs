//! The activation code.
//!
//! SGP.22 v2.5 section 4.1: `1$` address `$` matching id [`$` OID [`$` confirmation flag]], as text
//! or, in a QR code, with `LPA:` in front.

use std::fmt;
use std::str::FromStr;

use es9_client::{AddressError, ServerAddress};
use es10_apdu::types::{Oid, OidError};

use crate::secret::Secret;

/// Characters an activation code may have at most.
const MAX_LEN: usize = 255;

/// Where a profile waits, and under which name.
#[derive(Clone, Debug)]
pub struct ActivationCode {
    /// The SM-DP+.
    pub address: ServerAddress,
    /// The token; it may be empty. Who has it gets the profile, so it is a secret.
    pub matching_id: Secret,
    /// The SM-DP+'s object identifier, which its certificate must carry.
    pub oid: Option<Oid>,
    /// Whether a confirmation code will be asked for.
    pub confirmation_code_required: bool,
}

impl FromStr for ActivationCode {
    type Err = ActivationCodeError;

    fn from_str(text: &str) -> Result<Self, ActivationCodeError> {
        let text = text.trim();
        let code = match text.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("LPA:") => &text[4..],
            _ => text,
        };
        if code.is_empty() {
            return Err(ActivationCodeError::Empty);
        }
        if code.chars().count() > MAX_LEN {
            return Err(ActivationCodeError::TooLong);
        }
        if code
            .chars()
            .any(|character| character.is_control() || character.is_whitespace())
        {
            return Err(ActivationCodeError::Character);
        }
        let mut fields = code.split('$');
        let format = fields.next().unwrap_or_default();
        if format != "1" {
            return Err(ActivationCodeError::Format);
        }
        let address = fields.next().ok_or(ActivationCodeError::Incomplete)?;
        let matching_id = fields.next().ok_or(ActivationCodeError::Incomplete)?;
        let oid = match fields.next() {
            None | Some("") => None,
            Some(dotted) => Some(dotted.parse().map_err(ActivationCodeError::Oid)?),
        };
        let flag = fields.next().unwrap_or_default();
        if !matches!(flag, "" | "1") {
            tracing::info!(
                "the activation code's confirmation flag is neither empty nor 1: ignored"
            );
        }
        if fields.next().is_some() {
            tracing::info!("the activation code has fields of a later version: ignored");
        }
        Ok(Self {
            address: address.parse().map_err(ActivationCodeError::Address)?,
            matching_id: Secret::new(matching_id),
            oid,
            confirmation_code_required: flag == "1",
        })
    }
}

/// What is wrong with an activation code. Never says the matching id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ActivationCodeError {
    /// The address.
    #[error("the activation code's server address is wrong: {0}")]
    Address(#[source] AddressError),
    /// Blanks or control characters.
    #[error("the activation code contains a blank or a control character")]
    Character,
    /// Nothing at all.
    #[error("the activation code is empty")]
    Empty,
    /// Another format than 1.
    #[error("the activation code does not start with 1$ (or LPA:1$): its format is not supported")]
    Format,
    /// Fields are missing.
    #[error("the activation code ends too early: it must be 1$<SM-DP+ address>$<matching id>")]
    Incomplete,
    /// The OID.
    #[error("the activation code's SM-DP+ OID is wrong: {0}")]
    Oid(#[source] OidError),
    /// More than 255 characters.
    #[error("the activation code has more than {MAX_LEN} characters")]
    TooLong,
}

/// Shows where it leads, not what it is worth.
impl fmt::Display for ActivationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1${}$…", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ActivationCode {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_prefix_and_surrounding_blanks_do_not_matter() {
        for text in [
            "1$dp.example.com$M-1",
            "LPA:1$dp.example.com$M-1",
            "lpa:1$dp.example.com$M-1",
            "  LPA:1$dp.example.com$M-1\n",
        ] {
            let code = parse(text);
            assert_eq!(code.address.host(), "dp.example.com");
            assert_eq!(code.matching_id.expose(), "M-1");
            assert!(!code.confirmation_code_required);
        }
    }

    #[test]
    fn the_token_is_passed_through_and_may_be_empty() {
        assert_eq!(
            parse("1$DP.EXAMPLE.COM$m-1_x").matching_id.expose(),
            "m-1_x"
        );
        assert_eq!(parse("1$dp.example.com$").matching_id.expose(), "");
        let code = parse("1$SMDP.GSMA.COM$$1.3.6.1.4.1.31746");
        assert_eq!(code.matching_id.expose(), "");
        assert_eq!(code.oid.unwrap().to_string(), "1.3.6.1.4.1.31746");
    }

    #[test]
    fn oid_flag_and_port_are_read() {
        let code = parse("1$dp.example.com:8443$M-1$2.999.10$1");
        assert_eq!(code.address.port(), 8443);
        assert_eq!(code.oid.unwrap().to_string(), "2.999.10");
        assert!(code.confirmation_code_required);
        assert!(parse("1$dp.example.com$M-1$$1").confirmation_code_required);
        assert!(!parse("1$dp.example.com$M-1$$$x").confirmation_code_required);
    }

    #[test]
    fn malformed_codes_are_refused_each_with_its_reason() {
        use ActivationCodeError as E;
        for (text, expected) in [
            ("", E::Empty),
            ("LPA:", E::Empty),
            ("2$dp.example.com$M", E::Format),
            ("$dp.example.com$M", E::Format),
            ("10$dp.example.com$M", E::Format),
            ("1", E::Incomplete),
            ("1$", E::Incomplete),
            ("1$dp.example.com", E::Incomplete),
            ("1$$M", E::Address(AddressError::Empty)),
            ("1$dp example$M", E::Character),
            ("1$dp.example.com$M\u{7}1", E::Character),
            ("1$dp.example.com$M$2.x", E::Oid(OidError)),
        ] {
            assert_eq!(
                text.parse::<ActivationCode>().err(),
                Some(expected),
                "{text}"
            );
        }
        let long = format!("1$dp.example.com${}", "A".repeat(256));
        assert_eq!(long.parse::<ActivationCode>().err(), Some(E::TooLong));
        for port in ["0", "70000", "x", ""] {
            let text = format!("1$dp.example.com:{port}$M");
            assert!(
                matches!(text.parse::<ActivationCode>(), Err(E::Address(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn neither_debug_nor_display_shows_the_token() {
        let code = parse("1$dp.example.com$SECRET-1");
        assert!(!format!("{code:?} {code}").contains("SECRET"));
    }
}
