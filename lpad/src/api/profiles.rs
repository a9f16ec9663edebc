//! `/v1/euiccs/{name}/profiles` and `/v1/euiccs/{name}/profiles/{iccid}`.

use es10_apdu::types::Iccid;
use hyper::Method;
use serde::{Deserialize, Serialize};

use super::action::{Action, CARD_S, Request};
use super::body::Profile;
use super::body::is_default;
use super::status::ErrorResponse;
use crate::config::Confirm;
use crate::job::{Job, Switch};
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
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProfileChange {
    /// The state the profile should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ProfileState>,
    /// With `enabled`: whether the profile must get service, or else the one before is used again. When
    /// `false`, there is no `confirm` and no `deadline_s`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub verify: bool,
    /// With `enabled`: who has the last word, where that differs from the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// With `enabled`: how long the profile may take to get service, in seconds, where that differs from the
    /// configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    /// With `enabled`: whether it may be a profile that forbids being disabled.
    #[serde(default, skip_serializing_if = "is_default")]
    pub accept_no_return: bool,
    /// With `disabled`: even if that leaves the box without a profile in use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub force: bool,
    /// At most 64 bytes of UTF-8; an empty text removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
}

impl Default for ProfileChange {
    fn default() -> Self {
        Self {
            state: None,
            verify: true,
            confirm: None,
            deadline_s: None,
            accept_no_return: false,
            force: false,
            nickname: None,
        }
    }
}

impl ProfileChange {
    /// To this state, as configured.
    pub fn to(state: ProfileState) -> Self {
        Self {
            state: Some(state),
            ..Self::default()
        }
    }
}

const fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
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
        Method::PATCH => Ok(request.start(euicc, change(request, iccid)?)?),
        Method::DELETE => {
            let force = request.flag("force", false)?;
            Ok(request.start(euicc, Job::Delete { iccid, force })?)
        }
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
    let asked: ProfileChange = request.json()?;
    let plain = ProfileChange {
        state: asked.state,
        nickname: asked.nickname.clone(),
        ..ProfileChange::default()
    };
    let (job, takes) = match (asked.state, &asked.nickname) {
        (Some(ProfileState::Enabled), None) => {
            let takes = ProfileChange {
                force: false,
                ..asked.clone()
            };
            let job = Job::Enable(Switch {
                verify: asked.verify,
                confirm: asked.confirm,
                deadline_s: asked.deadline_s,
                accept_no_return: asked.accept_no_return,
                ..Switch::to(iccid)
            });
            (job, takes)
        }
        (Some(ProfileState::Disabled), None) => {
            let force = asked.force;
            let takes = ProfileChange { force, ..plain };
            (Job::Disable { iccid, force }, takes)
        }
        (None, Some(nickname)) if nickname.len() <= 64 => {
            let nickname = nickname.clone();
            (Job::Rename { iccid, nickname }, plain)
        }
        (None, Some(_)) => return invalid("a nickname has at most 64 bytes."),
        _ => return invalid("give either \"state\" or \"nickname\"."),
    };
    // A member that does not belong to it would be passed over in silence.
    if takes != asked {
        return invalid("a member belongs to another state than the one given.");
    }
    if !asked.verify && (asked.confirm.is_some() || asked.deadline_s.is_some()) {
        return invalid("with \"verify\": false there is no \"confirm\" and no \"deadline_s\".");
    }
    match asked.deadline_s {
        Some(0 | 86_401..) => invalid("deadline_s is a number of seconds from 1 to 86400."),
        _ => Ok(job),
    }
}
