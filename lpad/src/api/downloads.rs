//! `/v1/euiccs/{name}/downloads`.

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::action::{Action, Request};
use super::euiccs::parse_address;
use super::status::ErrorResponse;
use crate::activation_code::ActivationCode;
use crate::job::{Consent, Download, DownloadSource, Job};
use crate::problem::{Code, CodeConsumed, Problem};
use crate::secret::Secret;

/// What to download: one of `activation_code`, `default` and `smdp`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct DownloadRequest {
    /// The activation code, with or without `LPA:` before it, SGP.22 v2.5 section 4.1. A secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_code: Option<Secret>,
    /// Download what the default SM-DP+ on the card holds for this EID.
    #[serde(default)]
    pub default: bool,
    /// Download what this SM-DP+ holds for this EID: a host name, with `:PORT` where it is not 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smdp: Option<String>,
    /// The confirmation code the operator gave; an empty one counts as none. A secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation_code: Option<Secret>,
    /// Whether a person is asked before the download.
    #[serde(default)]
    pub consent: Consent,
    /// Enable the profile once it is installed.
    #[serde(default)]
    pub enable: bool,
    /// The question is for this client alone, which keeps the connection of this request open: when
    /// that is closed before the answer, the profile is postponed at once and the order stays.
    /// Otherwise any client may answer, as long as the configuration says.
    #[serde(default)]
    pub attended: bool,
}

pub(super) fn route(request: &Request<'_>, euicc: &str) -> Result<Action, ErrorResponse> {
    match *request.method {
        Method::POST => Ok(download(request, euicc)?),
        _ => Err(request.not_allowed(&["POST"])),
    }
}

fn download(request: &Request<'_>, euicc: &str) -> Result<Action, Problem> {
    let body: DownloadRequest = request.json()?;
    let confirmation_code = body.confirmation_code.filter(|code| !code.is_blank());
    let source = match (body.activation_code, body.default, body.smdp) {
        (Some(code), false, None) => DownloadSource::ActivationCode(parse_code(&code)?),
        (None, true, None) => DownloadSource::DefaultSmdp,
        (None, false, Some(address)) => DownloadSource::Smdp(parse_address(&address)?),
        _ => {
            return Err(Problem::new(Code::InvalidRequest)
                .detail("give one of \"activation_code\", \"default\": true and \"smdp\"."));
        }
    };
    if let DownloadSource::ActivationCode(code) = &source
        && code.confirmation_code_required
        && confirmation_code.is_none()
        && body.consent == Consent::Accept
    {
        return Err(Problem::new(Code::ConfirmationCodeRequired)
            .detail("The activation code announces that a confirmation code is needed with it.")
            .code_consumed(CodeConsumed::No));
    }
    let download = Download {
        source,
        confirmation_code,
        consent: body.consent,
        enable: body.enable,
    };
    request.start_attended(euicc, Job::Download(download), body.attended)
}

/// Reads an activation code.
pub(crate) fn parse_code(code: &Secret) -> Result<ActivationCode, Problem> {
    code.expose()
        .parse()
        .map_err(|error| Problem::because(Code::InvalidActivationCode, &error))
}
