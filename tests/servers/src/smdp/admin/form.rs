//! Forms and queries.

use hyper::Uri;

use super::ApiError;
use crate::smdp::callback::{Callback, CallbackMethod};

/// The pairs of a form or query, decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn read(form: &[u8]) -> Result<Self, ApiError> {
        let pairs = form
            .split(|octet| *octet == b'&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let mut parts = pair.splitn(2, |octet| *octet == b'=');
                let mut part = || decoded(parts.next().unwrap_or_default());
                Ok((part()?, part()?))
            });
        pairs.collect::<Result<_, _>>().map(Self)
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

/// Text with its percent signs and plus signs resolved.
pub(super) fn decoded(text: &[u8]) -> Result<String, ApiError> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => octets.push(b' '),
            b'%' => {
                let (digits, after) = rest.split_at_checked(2).ok_or(ApiError::Form)?;
                let mut octet = [0];
                hex::decode_to_slice(digits, &mut octet).map_err(|_| ApiError::Form)?;
                octets.push(octet[0]);
                rest = after;
            }
            plain => octets.push(*plain),
        }
    }
    String::from_utf8(octets).map_err(|_| ApiError::Form)
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
    }
}
