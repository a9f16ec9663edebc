//! `/v1/operations`, `/v1/operations/{id}`, its `cancel` and its `answer`.

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::action::{Action, Request};
use crate::job::OperationId;
use crate::memory::operations::Operation;
use crate::problem::{Code, Problem};

/// Body of `GET /v1/operations`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct OperationList {
    /// Every operation kept, oldest first.
    pub operations: Vec<Operation>,
}

pub(super) fn route(request: &Request<'_>, rest: &[&str]) -> Result<Action, Problem> {
    match rest {
        [] => request.only_get(Action::Operations),
        [id] => match *request.method {
            Method::GET => Ok(Action::Operation {
                id: parse(id)?,
                wait_s: wait(request)?,
            }),
            Method::DELETE => Ok(Action::Cancel(parse(id)?)),
            _ => Err(request.not_allowed(&["GET", "DELETE"])),
        },
        [_, "cancel" | "answer"] if *request.method != Method::POST => {
            Err(request.not_allowed(&["POST"]))
        }
        [id, "cancel"] => Ok(Action::Cancel(parse(id)?)),
        [id, "answer"] => Ok(Action::Answer {
            id: parse(id)?,
            answer: request.json()?,
        }),
        _ => Err(request.not_found()),
    }
}

fn parse(id: &str) -> Result<OperationId, Problem> {
    id.parse().map_err(|_| {
        Problem::new(Code::UnknownOperation).detail(format!("\"{id}\" is no operation's number."))
    })
}

fn wait(request: &Request<'_>) -> Result<u64, Problem> {
    match request.only_query("wait")?.map(str::parse) {
        None => Ok(0),
        Some(Ok(seconds @ 0..=LONGEST_WAIT_S)) => Ok(seconds),
        Some(_) => Err(Problem::new(Code::InvalidRequest).detail(format!(
            "wait is a number of seconds up to {LONGEST_WAIT_S}."
        ))),
    }
}

/// The longest `?wait=`.
pub const LONGEST_WAIT_S: u64 = 60;
