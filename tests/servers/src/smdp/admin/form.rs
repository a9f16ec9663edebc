//! Forms and queries.

use hyper::Uri;
use percent_encoding::{percent_decode, percent_decode_str};

use super::ApiError;
use crate::smdp::callback::{Callback, CallbackMethod};

/// The pairs of a form or query, decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn read(form: &[u8]) -> Result<Self, ApiError> {
        must_be_escaped(form)?;
        Ok(Self(form_urlencoded::parse(form).into_owned().collect()))
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let (_, value) = pairs.find(|(key, _)| key == name)?;
        Some(value)
    }

    pub(super) fn number(&self, parameter: &'static str, or: u64) -> Result<u64, ApiError> {
        let problem = "not a number";
        self.value(parameter).map_or(Ok(or), |text| {
            text.parse()
                .map_err(|_| ApiError::Parameter { parameter, problem })
        })
    }

    pub(super) fn flag(&self, parameter: &'static str, or: bool) -> Result<bool, ApiError> {
        let problem = "it is true or false";
        self.value(parameter)
            .map_or(Ok(or), |text| match text.to_ascii_lowercase().as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(ApiError::Parameter { parameter, problem }),
            })
    }

    /// A URL to be called and how; without the URL nothing is called.
    pub(super) fn callback(
        &self,
        url: &'static str,
        method: &'static str,
    ) -> Result<Option<Callback>, ApiError> {
        let how = match self.value(method) {
            None | Some("POST") => CallbackMethod::Post,
            Some("GET") => CallbackMethod::Get,
            Some(_) => {
                return Err(ApiError::Parameter {
                    parameter: method,
                    problem: "it is GET or POST",
                });
            }
        };
        let Some(text) = self.value(url) else {
            return Ok(None);
        };
        let is_absolute =
            |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
        let parsed = text.parse().ok().filter(is_absolute);
        let url = parsed.ok_or(ApiError::Parameter {
            parameter: url,
            problem: "not an absolute URL",
        })?;
        Ok(Some(Callback { url, method: how }))
    }
}

/// A part of a path with its percent signs resolved.
pub(super) fn decoded(part: &str) -> Result<String, ApiError> {
    must_be_escaped(part.as_bytes())?;
    let text = percent_decode_str(part).decode_utf8();
    Ok(text.map_err(|_| ApiError::Form)?.into_owned())
}

/// A percent sign stands before two digits, and what it stands for is text. The crates pass over
/// such mistakes; a client should hear of its own.
fn must_be_escaped(text: &[u8]) -> Result<(), ApiError> {
    let mut after = text.split(|octet| *octet == b'%').skip(1);
    let is_digit = |octet: &u8| octet.is_ascii_hexdigit();
    let is_right = after.all(|rest| rest.len() >= 2 && rest[..2].iter().all(is_digit));
    match is_right && percent_decode(text).decode_utf8().is_ok() {
        true => Ok(()),
        false => Err(ApiError::Form),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_percent_decoded() {
        let form = b"Eid=8904&CallbackUrl=http%3A%2F%2Fhost%2Fa%3Fb&Note=a+b&Flag";
        let form = Form::read(form).unwrap();
        assert_eq!(form.value("CallbackUrl"), Some("http://host/a?b"));
        assert_eq!(form.value("Note"), Some("a b"));
        assert_eq!(form.value("Flag"), Some(""));
        assert_eq!(Form::read(b"a=%zz"), Err(ApiError::Form));
        assert_eq!(Form::read(b"a=%2"), Err(ApiError::Form));
        assert_eq!(Form::read(b"a=%ff"), Err(ApiError::Form));
        assert_eq!(decoded("a+b%20c").unwrap(), "a+b c");
        assert_eq!(decoded("%"), Err(ApiError::Form));
    }
}
