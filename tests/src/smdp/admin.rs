//! The reservation API over HTTP.

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{
    Method, Response, StatusCode, Uri,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};

use super::{
    Smdp,
    reservation::{Callback, CallbackMethod, Reservation, ReservationRequest},
};
use crate::rsp::http::{self, Body};

/// Where the API lives.
pub(super) const PATH: &str = "/v1/ESimProfiles";

/// One request, its body read.
#[derive(Debug)]
pub(super) struct ApiRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    /// Scheme and authority the client used.
    pub(super) base_url: &'a str,
}

impl Smdp {
    /// Answers a request of the reservation API.
    pub(super) fn answer_api(&self, request: &ApiRequest<'_>) -> Response<Body> {
        match self.api(request) {
            Ok((status, value)) => http::json(status, &value),
            Err(error) => error.into_response(),
        }
    }

    fn api(&self, request: &ApiRequest<'_>) -> Result<(StatusCode, Value), ApiError> {
        self.authorize(request.headers)?;
        let rest = request
            .uri
            .path()
            .strip_prefix(PATH)
            .ok_or(ApiError::NotFound)?;
        let context = self.context(request.base_url);
        let show = |reservation: &Reservation| {
            let order = self.order(reservation.order).ok_or(ApiError::NotFound)?;
            Ok(reservation.to_json(&order, &context))
        };
        match (rest.trim_start_matches('/'), request.method) {
            ("", &Method::POST) => {
                let reservation = self.reserve(reservation_request(request.body)?);
                Ok((StatusCode::CREATED, show(&reservation)?))
            }
            ("", &Method::GET) => {
                let query = pairs(request.uri.query().unwrap_or_default().as_bytes())?;
                let mut matching = Vec::new();
                for reservation in self.reservations().iter().rev() {
                    let shown = show(reservation)?;
                    if is_wanted(&shown, &query) {
                        matching.push(shown);
                    }
                }
                Ok((StatusCode::OK, page(matching, &query, request.base_url)?))
            }
            (sid, &Method::GET) => {
                let reservation = self.reservation(sid).ok_or(ApiError::NotFound)?;
                Ok((StatusCode::OK, show(&reservation)?))
            }
            _ => Err(ApiError::Method),
        }
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let expected = format!("{}:{}", self.0.config.account_sid, self.0.config.auth_token);
        headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, credentials)| BASE64_STANDARD.decode(credentials.trim()).ok())
            .filter(|credentials| credentials == expected.as_bytes())
            .map(drop)
            .ok_or(ApiError::Unauthorized)
    }
}

/// Why a request of the API was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
enum ApiError {
    #[error("Authenticate")]
    Unauthorized,
    #[error("The requested resource was not found")]
    NotFound,
    #[error("Method not allowed")]
    Method,
    #[error("{parameter}: {problem}")]
    Parameter {
        parameter: &'static str,
        problem: &'static str,
    },
    #[error("Either Eid or GenerateMatchingId=true is needed, not both")]
    EidOrMatchingId,
    #[error("The body or query is not application/x-www-form-urlencoded")]
    Form,
}

impl ApiError {
    fn into_response(self) -> Response<Body> {
        let (status, code) = match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, 20003),
            Self::NotFound => (StatusCode::NOT_FOUND, 20404),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, 20004),
            Self::Parameter { .. } | Self::EidOrMatchingId | Self::Form => {
                (StatusCode::BAD_REQUEST, 20001)
            }
        };
        let problem = json!({
            "code": code,
            "message": self.to_string(),
            "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
            "status": status.as_u16(),
        });
        let mut response = http::json(status, &problem);
        if self == Self::Unauthorized {
            let realm = HeaderValue::from_static("Basic realm=\"reservations\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, realm);
        }
        response
    }
}

fn reservation_request(body: &[u8]) -> Result<ReservationRequest, ApiError> {
    let form = pairs(body)?;
    let eid = value(&form, "Eid").map(str::to_owned);
    if let Some(eid) = &eid
        && (eid.len() != 32 || !eid.bytes().all(|digit| digit.is_ascii_digit()))
    {
        return Err(ApiError::Parameter {
            parameter: "Eid",
            problem: "an EID has 32 digits",
        });
    }
    let generate = value(&form, "GenerateMatchingId").is_some_and(|flag| flag == "true");
    if generate == eid.is_some() {
        return Err(ApiError::EidOrMatchingId);
    }
    Ok(ReservationRequest {
        eid,
        callback: callback(&form)?,
    })
}

fn callback(form: &[(String, String)]) -> Result<Option<Callback>, ApiError> {
    let method = match value(form, "CallbackMethod") {
        None | Some("POST") => CallbackMethod::Post,
        Some("GET") => CallbackMethod::Get,
        Some(_) => {
            let problem = "it is GET or POST";
            return Err(ApiError::Parameter {
                parameter: "CallbackMethod",
                problem,
            });
        }
    };
    let Some(url) = value(form, "CallbackUrl") else {
        return Ok(None);
    };
    let url: Uri = url
        .parse()
        .ok()
        .filter(|url: &Uri| matches!(url.scheme_str(), Some("http" | "https")))
        .ok_or(ApiError::Parameter {
            parameter: "CallbackUrl",
            problem: "not an absolute URL",
        })?;
    Ok(Some(Callback { url, method }))
}

/// Whether a resource passes the filters of a list.
fn is_wanted(shown: &Value, query: &[(String, String)]) -> bool {
    [("Eid", "eid"), ("SimSid", "sim_sid"), ("Status", "status")]
        .iter()
        .all(|(filter, field)| {
            value(query, filter).is_none_or(|wanted| shown[field].as_str() == Some(wanted))
        })
}

/// One page of a list with its neighbours' URLs.
fn page(
    matching: Vec<Value>,
    query: &[(String, String)],
    base_url: &str,
) -> Result<Value, ApiError> {
    let number = |parameter, or| match value(query, parameter) {
        None => Ok(or),
        Some(text) => text.parse::<usize>().map_err(|_| ApiError::Parameter {
            parameter,
            problem: "not a number",
        }),
    };
    let size = number("PageSize", 50)?.clamp(1, 1000);
    let page = number("Page", 0)?;
    let filters: String = query
        .iter()
        .filter(|(name, _)| ["Eid", "SimSid", "Status"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={value}&"))
        .collect();
    let url = |page: usize| format!("{base_url}{PATH}?{filters}PageSize={size}&Page={page}");
    let has_next = page.saturating_add(1).saturating_mul(size) < matching.len();
    let shown: Vec<_> = matching
        .into_iter()
        .skip(page.saturating_mul(size))
        .take(size)
        .collect();
    Ok(json!({
        "esim_profiles": shown,
        "meta": {
            "first_page_url": url(0),
            "key": "esim_profiles",
            "next_page_url": has_next.then(|| url(page + 1)),
            "page": page,
            "page_size": size,
            "previous_page_url": page.checked_sub(1).map(url),
            "url": url(page),
        },
    }))
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// The pairs of a form or query.
fn pairs(form: &[u8]) -> Result<Vec<(String, String)>, ApiError> {
    form.split(|octet| *octet == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let mut parts = pair.splitn(2, |octet| *octet == b'=');
            let mut part = || decoded(parts.next().unwrap_or_default());
            Ok((part()?, part()?))
        })
        .collect()
}

fn decoded(text: &[u8]) -> Result<String, ApiError> {
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
        let form = pairs(b"Eid=8904&CallbackUrl=http%3A%2F%2Fhost%2Fa%3Fb&Note=a+b&Flag").unwrap();
        assert_eq!(value(&form, "CallbackUrl"), Some("http://host/a?b"));
        assert_eq!(value(&form, "Note"), Some("a b"));
        assert_eq!(value(&form, "Flag"), Some(""));
        assert_eq!(pairs(b"a=%zz"), Err(ApiError::Form));
        assert_eq!(pairs(b"a=%2"), Err(ApiError::Form));
    }

    #[test]
    fn a_reservation_is_for_an_eid_or_for_a_matching_id() {
        let eid = reservation_request(b"Eid=89049032123451234512345678901235")
            .unwrap()
            .eid;
        assert_eq!(eid.as_deref(), Some("89049032123451234512345678901235"));
        assert!(
            reservation_request(b"GenerateMatchingId=true")
                .unwrap()
                .eid
                .is_none()
        );
        for form in [
            &b""[..],
            b"Eid=123",
            b"GenerateMatchingId=true&Eid=89049032123451234512345678901235",
            b"GenerateMatchingId=true&CallbackUrl=nowhere",
            b"GenerateMatchingId=true&CallbackMethod=PUT",
        ] {
            assert!(
                reservation_request(form).is_err(),
                "{}",
                String::from_utf8_lossy(form)
            );
        }
    }

    #[test]
    fn a_page_knows_its_neighbours() {
        let list = |page: &str| {
            let query = [
                ("PageSize".into(), "2".into()),
                ("Page".into(), page.into()),
            ];
            super::page(
                (0..5).map(|one| json!(one)).collect(),
                &query,
                "http://host",
            )
            .unwrap()
        };
        assert_eq!(list("0")["esim_profiles"], json!([0, 1]));
        assert!(list("0")["meta"]["previous_page_url"].is_null());
        let last = list("2");
        assert_eq!(last["esim_profiles"], json!([4]));
        assert!(last["meta"]["next_page_url"].is_null());
        let previous = "http://host/v1/ESimProfiles?PageSize=2&Page=1";
        assert_eq!(last["meta"]["previous_page_url"], previous);
    }
}
