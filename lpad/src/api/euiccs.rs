//! `/v1/euiccs`, `/v1/euiccs/{name}`, its `addresses`, `examination`, `reset` and `service`.

use es9_client::ServerAddress;
use hyper::Method;
use serde::{Deserialize, Serialize};

use super::action::{Action, CARD_S, Request};
use super::body::Euicc;
use super::status::ErrorResponse;
use crate::job::{Job, ResetScope};
use crate::problem::{Code, Problem};

/// All eUICCs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct EuiccList {
    /// In the order of their names.
    pub euiccs: Vec<Euicc>,
}

/// The new default SM-DP+.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AddressesChange {
    /// A host name such as `smdp.example.com`, with `:PORT` where it is not 443; an empty text
    /// removes the address.
    pub default_smdp: String,
    /// Whether a profile is asked for there as soon as the address is stored, in an operation of kind
    /// `download` that follows by itself and accepts what it gets.
    #[serde(default)]
    pub download: bool,
}

/// What to erase: at least one of the three is true.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ResetRequest {
    /// The eUICC's name once more.
    pub confirm: String,
    /// Erase operational profiles.
    #[serde(default)]
    pub operational_profiles: bool,
    /// Erase test profiles that were loaded in the field.
    #[serde(default)]
    pub test_profiles: bool,
    /// Erase the default SM-DP+ address.
    #[serde(default)]
    pub default_smdp: bool,
}

pub(super) fn route(
    request: &Request<'_>,
    euicc: &str,
    rest: &[&str],
) -> Result<Action, ErrorResponse> {
    match rest {
        [] => request.only_get(Action::Euicc {
            euicc: euicc.to_owned(),
            wait_s: request.wait(CARD_S)?,
        }),
        ["addresses"] => match *request.method {
            Method::GET => Ok(Action::Addresses {
                euicc: euicc.to_owned(),
                wait_s: request.wait(CARD_S)?,
            }),
            Method::PUT => Ok(set_addresses(request, euicc)?),
            _ => Err(request.not_allowed(&["GET", "PUT"])),
        },
        ["examination"] => match *request.method {
            Method::POST => Ok(Action::Examine {
                euicc: euicc.to_owned(),
            }),
            _ => Err(request.not_allowed(&["POST"])),
        },
        ["reset"] => match *request.method {
            Method::POST => Ok(reset(request, euicc)?),
            _ => Err(request.not_allowed(&["POST"])),
        },
        ["service"] => request.only_get(Action::Service {
            euicc: euicc.to_owned(),
        }),
        _ => Err(request.not_found()),
    }
}

fn set_addresses(request: &Request<'_>, euicc: &str) -> Result<Action, Problem> {
    let AddressesChange {
        default_smdp: address,
        download,
    } = request.json()?;
    // Every LPA that ever reads the card must understand what is written to it.
    let address = match address.is_empty() {
        true => address,
        false => parse_address(&address)?.to_string(),
    };
    if download && address.is_empty() {
        let why = "there is nothing to download from no address.";
        return Err(Problem::new(Code::InvalidRequest).detail(why));
    }
    request.start(euicc, Job::SetDefaultSmdp { address, download })
}

pub(super) fn parse_address(address: &str) -> Result<ServerAddress, Problem> {
    address
        .parse()
        .map_err(|error| Problem::because(Code::InvalidAddress, &error))
}

fn reset(request: &Request<'_>, euicc: &str) -> Result<Action, Problem> {
    let body: ResetRequest = request.json()?;
    let scope = ResetScope {
        operational_profiles: body.operational_profiles,
        test_profiles: body.test_profiles,
        default_smdp: body.default_smdp,
    };
    let invalid = |detail: String| Err(Problem::new(Code::InvalidRequest).detail(detail));
    if body.confirm != euicc {
        return invalid(format!("confirm must be the eUICC's name, \"{euicc}\"."));
    }
    if !(scope.operational_profiles || scope.test_profiles || scope.default_smdp) {
        return invalid(
            "nothing to erase: set operational_profiles, test_profiles or default_smdp.".into(),
        );
    }
    request.start(euicc, Job::Reset(scope))
}
