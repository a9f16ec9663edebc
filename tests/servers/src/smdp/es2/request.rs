//! The members of an ES2+ request.

use serde_json::{Map, Value};

use crate::rsp::status::StatusCode;

/// A request whose header is right.
#[derive(Debug)]
pub(super) struct Request<'a> {
    members: &'a Map<String, Value>,
    /// The operator.
    pub(super) requester: &'a str,
}

impl<'a> Request<'a> {
    /// Checks the header: who asks, and in which call.
    pub(super) fn read(value: &'a Value) -> Result<Self, StatusCode> {
        let members = value.as_object().ok_or(StatusCode::INVALID_INPUT)?;
        let header = |name: &str| {
            let text = members.get("header")?.get(name)?.as_str()?;
            Some(text).filter(|text| !text.trim().is_empty())
        };
        let requester =
            header("functionRequesterIdentifier").ok_or(StatusCode::REQUESTER_INVALID)?;
        header("functionCallIdentifier").ok_or(StatusCode::CALL_INVALID)?;
        Ok(Self { members, requester })
    }

    /// A member that can be left out; `null` is one left out.
    pub(super) fn optional(&self, name: &str) -> Result<Option<&'a str>, StatusCode> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(StatusCode::INVALID_INPUT),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, StatusCode> {
        match self.members.get(name) {
            None => Err(StatusCode::MISSING_INPUT),
            Some(value) => value.as_bool().ok_or(StatusCode::INVALID_INPUT),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, StatusCode> {
        self.optional(name)?.ok_or(StatusCode::MISSING_INPUT)
    }

    /// 19 or 20 digits, of which the 20th may be a filling F; given without it.
    pub(super) fn optional_iccid(&self) -> Result<Option<&'a str>, StatusCode> {
        let Some(text) = self.optional("iccid")? else {
            return Ok(None);
        };
        let digits = match text.strip_suffix(['F', 'f']) {
            Some(digits) if digits.len() == 19 => digits,
            Some(_) => return Err(StatusCode::INVALID_INPUT),
            None => text,
        };
        if !(19..=20).contains(&digits.len()) || !is_digits(digits) {
            return Err(StatusCode::INVALID_INPUT);
        }
        Ok(Some(digits))
    }

    pub(super) fn iccid(&self) -> Result<&'a str, StatusCode> {
        self.optional_iccid()?.ok_or(StatusCode::MISSING_INPUT)
    }

    pub(super) fn eid(&self) -> Result<Option<&'a str>, StatusCode> {
        let eid = self.optional("eid")?;
        match eid.is_none_or(|eid| eid.len() == 32 && is_digits(eid)) {
            true => Ok(eid),
            false => Err(StatusCode::INVALID_INPUT),
        }
    }

    /// Capital letters, digits and hyphens, as in an activation code; may be empty.
    pub(super) fn matching_id(&self) -> Result<Option<&'a str>, StatusCode> {
        let matching_id = self.optional("matchingId")?;
        let is_allowed =
            |octet: u8| octet.is_ascii_uppercase() || octet.is_ascii_digit() || octet == b'-';
        match matching_id.is_none_or(|id| id.len() <= 255 && id.bytes().all(is_allowed)) {
            true => Ok(matching_id),
            false => Err(StatusCode::INVALID_INPUT),
        }
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_digit())
}
