//! `/v1/euiccs/{name}/profiles` and `/v1/euiccs/{name}/profiles/{iccid}`.

use es10_apdu::types::Iccid;
use hyper::Method;
use serde::{Deserialize, Serialize};

use super::action::{Action, CARD_S, Request};
use super::body::Profile;
use super::status::ErrorResponse;
use crate::job::Job;
use crate::memory::snapshot::ProfileState;
use crate::problem::{Code, Problem};

/// All profiles.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProfileList {
    /// In the card's order.
    pub profiles: Vec<Profile>,
    /// When the card was read, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at_s: Option<u64>,
    /// Why the card cannot be read now, so that the list may be out of date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// Either a state or a nickname.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProfileChange {
    /// The state the profile should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ProfileState>,
    /// At most 64 bytes of UTF-8; an empty text removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
}

pub(super) fn route(
    request: &Request<'_>,
    euicc: &str,
    rest: &[&str],
) -> Result<Action, ErrorResponse> {
    let iccid = match rest {
        [] => {
            return request.only_get(Action::Profiles {
                euicc: euicc.to_owned(),
                wait_s: request.wait(CARD_S)?,
            });
        }
        [iccid] => parse(iccid)?,
        _ => return Err(request.not_found()),
    };
    match *request.method {
        Method::GET => Ok(Action::Profile {
            euicc: euicc.to_owned(),
            iccid,
            wait_s: request.wait(CARD_S)?,
        }),
        Method::PATCH => Ok(request.start(euicc, change(request, iccid)?)),
        Method::DELETE => Ok(request.start(euicc, Job::Delete(iccid))),
        _ => Err(request.not_allowed(&["GET", "PATCH", "DELETE"])),
    }
}

fn parse(iccid: &str) -> Result<Iccid, Problem> {
    iccid
        .parse()
        .map_err(|error| Problem::because(Code::UnknownProfile, &error))
}

fn change(request: &Request<'_>, iccid: Iccid) -> Result<Job, Problem> {
    let invalid = |detail: &str| Err(Problem::new(Code::InvalidRequest).detail(detail));
    match request.json()? {
        ProfileChange {
            state: Some(ProfileState::Enabled),
            nickname: None,
        } => Ok(Job::Enable(iccid)),
        ProfileChange {
            state: Some(ProfileState::Disabled),
            nickname: None,
        } => Ok(Job::Disable(iccid)),
        ProfileChange {
            state: None,
            nickname: Some(nickname),
        } => match nickname.len() {
            0..=64 => Ok(Job::Rename { iccid, nickname }),
            _ => invalid("a nickname has at most 64 bytes."),
        },
        _ => invalid("give either \"state\" or \"nickname\"."),
    }
}
