//! The members of requests and answers.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use es10_apdu::asn1::{Extensible, Raw};
use serde_json::{Map, Value, json};

use super::status::StatusCode;

/// The members of a successful answer besides its header.
pub(crate) type Members = Map<String, Value>;

/// Members that are text.
pub(crate) fn members<const N: usize>(members: [(&str, String); N]) -> Members {
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect()
}

/// The members of a request.
pub(crate) struct Fields<'a>(pub(crate) &'a Value);

impl<'a> Fields<'a> {
    pub(crate) fn text(&self, name: &str) -> Result<&'a str, StatusCode> {
        match self.0.get(name) {
            None => Err(StatusCode::MISSING_INPUT),
            Some(value) => value.as_str().ok_or(StatusCode::INVALID_INPUT),
        }
    }

    pub(crate) fn octets(&self, name: &str) -> Result<Vec<u8>, StatusCode> {
        BASE64_STANDARD
            .decode(self.text(name)?)
            .map_err(|_| StatusCode::INVALID_INPUT)
    }

    pub(crate) fn ber<T: Extensible>(&self, name: &str) -> Result<Raw<T>, StatusCode> {
        Raw::from_ber(&self.octets(name)?).map_err(|error| {
            tracing::info!(name, %error, "a member cannot be read");
            StatusCode::INVALID_INPUT
        })
    }

    pub(crate) fn transaction_id(&self) -> Result<Vec<u8>, StatusCode> {
        let text = self.text("transactionId")?;
        hex::decode(text).map_err(|_| StatusCode::UNKNOWN_TRANSACTION)
    }
}
