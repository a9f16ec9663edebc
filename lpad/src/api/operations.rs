//! `/v1/operations`, `/v1/operations/{id}`, and what is said to it: `cancel`, `answer`, `confirm`, `revert`.

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::action::{Action, Request};
use super::body::Operation;
use super::status::ErrorResponse;
use crate::job::{Answer, OperationId, Verdict};
use crate::memory::operations::State;
use crate::problem::{Code, Problem};

/// All operations.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct OperationList {
    /// Oldest first.
    pub operations: Vec<Operation>,
}

pub(super) fn route(request: &Request<'_>, rest: &[&str]) -> Result<Action, ErrorResponse> {
    match rest {
        [] => request.only_get(Action::Operations {
            state: state(request)?,
        }),
        [id] => match *request.method {
            Method::GET => Ok(Action::Operation {
                id: parse(id)?,
                wait_s: request.wait(0)?,
            }),
            Method::DELETE => Ok(Action::Cancel(parse(id)?)),
            _ => Err(request.not_allowed(&["GET", "DELETE"])),
        },
        [_, "cancel" | "answer" | "confirm" | "revert"] if *request.method != Method::POST => {
            Err(request.not_allowed(&["POST"]))
        }
        [id, "cancel"] => Ok(Action::Cancel(parse(id)?)),
        [id, "confirm"] => Ok(Action::Decide {
            id: parse(id)?,
            verdict: Verdict::Confirm,
        }),
        [id, "revert"] => Ok(Action::Decide {
            id: parse(id)?,
            verdict: Verdict::Revert,
        }),
        [id, "answer"] => {
            let answer: Answer = request.json()?;
            Ok(Action::Answer {
                id: parse(id)?,
                answer: Answer {
                    confirmation_code: answer.confirmation_code.filter(|code| !code.is_blank()),
                    ..answer
                },
            })
        }
        _ => Err(request.not_found()),
    }
}

fn parse(id: &str) -> Result<OperationId, Problem> {
    id.parse().map_err(|_| {
        Problem::new(Code::UnknownOperation).detail(format!("\"{id}\" is no operation's number."))
    })
}

fn state(request: &Request<'_>) -> Result<Option<State>, Problem> {
    let Some(name) = request.value_of("state") else {
        return Ok(None);
    };
    let known = State::ALL.iter().find(|state| state.name() == name);
    let known = known.copied().map(Some);
    known.ok_or_else(|| {
        let names: Vec<_> = State::ALL.iter().map(|state| state.name()).collect();
        let detail = format!("state is one of {}.", names.join(", "));
        Problem::new(Code::InvalidRequest).detail(detail)
    })
}
