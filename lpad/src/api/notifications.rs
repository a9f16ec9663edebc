//! `/v1/euiccs/{name}/notifications`, its `deliver`, and each notification by its number.

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::action::{Action, CARD_S, Request};
use super::body::Notification;
use super::status::ErrorResponse;
use crate::job::Job;
use crate::problem::{Code, Problem};

/// All notifications that wait.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NotificationList {
    /// In the order they were made.
    pub notifications: Vec<Notification>,
    /// When the card was read, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at_s: Option<u64>,
    /// Why the card cannot be read now, so that the list may be out of date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

pub(super) fn route(
    request: &Request<'_>,
    euicc: &str,
    rest: &[&str],
) -> Result<Action, ErrorResponse> {
    match rest {
        [] => request.only_get(Action::Notifications {
            euicc: euicc.to_owned(),
            wait_s: request.wait(CARD_S)?,
        }),
        ["deliver"] => deliver(request, euicc, None),
        [number, "deliver"] => deliver(request, euicc, Some(parse(number)?)),
        [number] => one(request, euicc, parse(number)?),
        _ => Err(request.not_found()),
    }
}

fn deliver(
    request: &Request<'_>,
    euicc: &str,
    number: Option<i64>,
) -> Result<Action, ErrorResponse> {
    match *request.method {
        Method::POST => Ok(request.start(euicc, Job::DeliverNotifications(number))?),
        _ => Err(request.not_allowed(&["POST"])),
    }
}

fn one(request: &Request<'_>, euicc: &str, number: i64) -> Result<Action, ErrorResponse> {
    match *request.method {
        Method::GET => Ok(Action::Notification {
            euicc: euicc.to_owned(),
            number,
            wait_s: request.wait(CARD_S)?,
        }),
        Method::DELETE => {
            let force = request.flag("force", false)?;
            Ok(request.start(euicc, Job::RemoveNotification { number, force })?)
        }
        _ => Err(request.not_allowed(&["GET", "DELETE"])),
    }
}

fn parse(number: &str) -> Result<i64, Problem> {
    number.parse().map_err(|_| {
        Problem::new(Code::UnknownNotification)
            .detail("The path holds no number of a notification.")
    })
}
