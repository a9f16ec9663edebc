//! The operator's API over HTTP, as its customers see it: profiles, Sims and Fleets.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode, Uri};
use serde_json::{Value, json};

use self::form::Form;
use self::page::List;
use super::Smdp;
use super::reservation::{ReservationFault, ReservationRequest};
use super::sims::{FleetSettings, SimError, SimStatus, SimUpdate};
use crate::rsp::http::{self, Body, CutOff};

mod form;
mod page;

/// Whether a path is one of the API's.
pub(super) fn is_api(path: &str) -> bool {
    Resource::of_path(path).is_some()
}

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

/// What can be found in the API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Resource {
    Profiles,
    Sims,
    Fleets,
}

impl Resource {
    /// The resource behind a path, and the name of one of its kind.
    fn of_path(path: &str) -> Option<(Self, &str)> {
        [Self::Profiles, Self::Sims, Self::Fleets]
            .into_iter()
            .find_map(|resource| {
                let rest = path.strip_prefix(resource.list().path)?;
                match rest.strip_prefix('/') {
                    Some(name) => Some((resource, name)),
                    None => rest.is_empty().then_some((resource, "")),
                }
            })
    }

    fn list(self) -> List {
        match self {
            Self::Profiles => List {
                path: "/v1/ESimProfiles",
                key: "esim_profiles",
                filters: &[("Eid", "eid"), ("SimSid", "sim_sid"), ("Status", "status")],
            },
            Self::Sims => List {
                path: "/v1/Sims",
                key: "sims",
                filters: &[
                    ("Status", "status"),
                    ("Fleet", "fleet_sid"),
                    ("Iccid", "iccid"),
                ],
            },
            Self::Fleets => List {
                path: "/v1/Fleets",
                key: "fleets",
                filters: &[("NetworkAccessProfile", "network_access_profile_sid")],
            },
        }
    }
}

impl Smdp {
    /// Answers a request of the operator's API.
    pub(super) async fn answer_api(
        &self,
        request: &ApiRequest<'_>,
    ) -> Result<Response<Body>, CutOff> {
        let fault = self.update(|state| state.reservation_faults.next_answer());
        if let Some(fault) = fault {
            tracing::info!(?fault, "fault");
        }
        let answer = match fault {
            Some(ReservationFault::Silence) => {
                tokio::time::sleep(SILENCE).await;
                return Err(CutOff);
            }
            Some(ReservationFault::Unauthorized) => Err(ApiError::Unauthorized),
            Some(ReservationFault::TooManyRequests) => Err(ApiError::TooManyRequests),
            Some(ReservationFault::Unavailable) => Err(ApiError::Unavailable),
            _ => self.api(request),
        };
        Ok(match answer {
            Ok((status, value)) => http::json(status, &value),
            Err(error) => error.into_response(),
        })
    }

    fn api(&self, request: &ApiRequest<'_>) -> Result<(StatusCode, Value), ApiError> {
        self.authorize(request.headers)?;
        let (resource, name) = Resource::of_path(request.uri.path()).ok_or(ApiError::NotFound)?;
        let name = form::decoded(name)?;
        let base_url = request.base_url;
        match (resource, name.as_str(), request.method) {
            (_, "", &Method::GET) => {
                let query = Form::read(request.uri.query().unwrap_or_default().as_bytes())?;
                let page =
                    resource
                        .list()
                        .page(self.elements(resource, base_url), &query, base_url)?;
                Ok((StatusCode::OK, page))
            }
            (_, name, &Method::GET) => {
                let element = self.element(resource, name, base_url);
                Ok((StatusCode::OK, element.ok_or(ApiError::NotFound)?))
            }
            (Resource::Profiles, "", &Method::POST) => {
                let reservation = self.reserve(reservation_request(request.body)?);
                let shown = self.element(resource, &reservation.sid, base_url);
                Ok((StatusCode::CREATED, shown.ok_or(ApiError::NotFound)?))
            }
            (Resource::Fleets, "", &Method::POST) => self.new_fleet(request),
            (Resource::Sims, name, &Method::POST) if !name.is_empty() => {
                let sim = self.update_sim(name, sim_update(request.body)?)?;
                Ok((
                    StatusCode::OK,
                    sim.to_json(&self.config().account_sid, base_url),
                ))
            }
            _ => Err(ApiError::Method),
        }
    }

    /// All there are of a kind, the newest first.
    fn elements(&self, resource: Resource, base_url: &str) -> Vec<Value> {
        let account_sid = &self.config().account_sid;
        let state = self.state();
        match resource {
            Resource::Profiles => {
                let reservations = state.reservations.all().iter().rev();
                let shown = reservations.filter_map(|reservation| {
                    let order = state.orders.get(reservation.order)?;
                    Some(reservation.to_json(order, &self.context(base_url)))
                });
                shown.collect()
            }
            Resource::Sims => {
                let sims = state.sims.all().iter().rev();
                sims.map(|sim| sim.to_json(account_sid, base_url)).collect()
            }
            Resource::Fleets => {
                let fleets = state.sims.fleets().iter().rev();
                fleets
                    .map(|fleet| fleet.to_json(account_sid, base_url))
                    .collect()
            }
        }
    }

    fn element(&self, resource: Resource, name: &str, base_url: &str) -> Option<Value> {
        let account_sid = &self.config().account_sid;
        let state = self.state();
        match resource {
            Resource::Profiles => {
                let reservation = state.reservations.get(name)?;
                let order = state.orders.get(reservation.order)?;
                Some(reservation.to_json(order, &self.context(base_url)))
            }
            Resource::Sims => Some(state.sims.get(name)?.to_json(account_sid, base_url)),
            Resource::Fleets => Some(state.sims.fleet(name)?.to_json(account_sid, base_url)),
        }
    }

    fn new_fleet(&self, request: &ApiRequest<'_>) -> Result<(StatusCode, Value), ApiError> {
        let form = Form::read(request.body)?;
        let settings = fleet_settings(&form)?;
        let unique_name = form.value("UniqueName").map(str::to_owned);
        let now = self.now();
        let fleet = self.update(|state| state.sims.create_fleet(unique_name, settings, now))?;
        let account_sid = &self.config().account_sid;
        Ok((
            StatusCode::CREATED,
            fleet.to_json(account_sid, request.base_url),
        ))
    }

    /// Basic with account and token, or Bearer when the server has such a token.
    fn authorize(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let config = self.config();
        let expected = format!("{}:{}", config.account_sid, config.auth_token);
        let (scheme, credentials) = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.split_once(' '))
            .ok_or(ApiError::Unauthorized)?;
        let credentials = credentials.trim();
        let is_right = if scheme.eq_ignore_ascii_case("basic") {
            let credentials = BASE64_STANDARD.decode(credentials);
            credentials.is_ok_and(|credentials| credentials == expected.as_bytes())
        } else {
            scheme.eq_ignore_ascii_case("bearer")
                && config.bearer_token.as_deref() == Some(credentials)
        };
        match is_right {
            true => Ok(()),
            false => Err(ApiError::Unauthorized),
        }
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
    #[error(transparent)]
    Sim(#[from] SimError),
    #[error("Too many requests")]
    TooManyRequests,
    #[error("Service unavailable")]
    Unavailable,
}

impl ApiError {
    fn into_response(self) -> Response<Body> {
        let (status, code) = match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, 20003),
            Self::NotFound | Self::Sim(SimError::Unknown) => (StatusCode::NOT_FOUND, 20404),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, 20004),
            Self::Sim(SimError::Transition) => (StatusCode::BAD_REQUEST, 83010),
            Self::Parameter { .. } | Self::EidOrMatchingId | Self::Form | Self::Sim(_) => {
                (StatusCode::BAD_REQUEST, 20001)
            }
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, 20429),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, 20503),
        };
        let problem = json!({
            "code": code,
            "message": self.to_string(),
            "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
            "status": status.as_u16(),
        });
        let mut response = http::json(status, &problem);
        let headers = response.headers_mut();
        if self == Self::Unauthorized {
            let realm = HeaderValue::from_static("Basic realm=\"reservations\"");
            headers.insert(WWW_AUTHENTICATE, realm);
        }
        if self == Self::TooManyRequests {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn reservation_request(body: &[u8]) -> Result<ReservationRequest, ApiError> {
    let form = Form::read(body)?;
    let eid = form.value("Eid").map(str::to_owned);
    if let Some(eid) = &eid
        && (eid.len() != 32 || !eid.bytes().all(|digit| digit.is_ascii_digit()))
    {
        return Err(ApiError::Parameter {
            parameter: "Eid",
            problem: "an EID has 32 digits",
        });
    }
    if form.flag("GenerateMatchingId", false)? == eid.is_some() {
        return Err(ApiError::EidOrMatchingId);
    }
    Ok(ReservationRequest {
        eid,
        callback: form.callback("CallbackUrl", "CallbackMethod")?,
    })
}

fn sim_update(body: &[u8]) -> Result<SimUpdate, ApiError> {
    let form = Form::read(body)?;
    let status = match form.value("Status") {
        None => None,
        Some("ready") => Some(SimStatus::Ready),
        Some("active") => Some(SimStatus::Active),
        Some("inactive") => Some(SimStatus::Inactive),
        Some(_) => {
            return Err(ApiError::Parameter {
                parameter: "Status",
                problem: "it is ready, active or inactive",
            });
        }
    };
    Ok(SimUpdate {
        unique_name: form.value("UniqueName").map(str::to_owned),
        status,
        fleet: form.value("Fleet").map(str::to_owned),
        callback: form.callback("CallbackUrl", "CallbackMethod")?,
    })
}

fn fleet_settings(form: &Form) -> Result<FleetSettings, ApiError> {
    let parameter = "NetworkAccessProfile";
    let network_access_profile_sid = form.value(parameter).ok_or(ApiError::Parameter {
        parameter,
        problem: "it is missing",
    })?;
    let data_limit = form.number("DataLimit", 1000)?;
    if !(1..=2_000_000).contains(&data_limit) {
        return Err(ApiError::Parameter {
            parameter: "DataLimit",
            problem: "it is 1 to 2000000 megabytes",
        });
    }
    Ok(FleetSettings {
        network_access_profile_sid: network_access_profile_sid.to_owned(),
        data_enabled: form.flag("DataEnabled", true)?,
        data_limit,
        sms_commands_enabled: form.flag("SmsCommandsEnabled", true)?,
        sms_commands: form.callback("SmsCommandsUrl", "SmsCommandsMethod")?,
        ip_commands: form.callback("IpCommandsUrl", "IpCommandsMethod")?,
    })
}

/// How long a request is left without an answer, when that is its fault.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

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
            b"GenerateMatchingId=perhaps",
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
    fn a_path_leads_to_a_kind_of_resource_or_to_one_of_them() {
        for (path, found) in [
            ("/v1/ESimProfiles", Some((Resource::Profiles, ""))),
            ("/v1/Sims/HS1", Some((Resource::Sims, "HS1"))),
            ("/v1/Fleets/", Some((Resource::Fleets, ""))),
            ("/v1/Simsalabim", None),
            ("/v2/Sims", None),
        ] {
            assert_eq!(Resource::of_path(path), found, "{path}");
        }
    }
}
