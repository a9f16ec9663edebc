//! `/v1/operations`, `/v1/operations/{id}`, and what is said to it: `cancel`, `answer`, `confirm`, `revert`.

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::action::{Action, Request, invalid};
use super::body::Operation;
use super::filter::OperationFilter;
use super::status::ErrorResponse;
use crate::job::{Answer, Kind, OperationId, Verdict};
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
        [] => request.only_get(Action::Operations(filter(request)?)),
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

fn filter(request: &Request<'_>) -> Result<OperationFilter, Problem> {
    let since_s = request.number("since").map(|seconds| {
        let wrong = || invalid("since is a time in seconds since 1970.".to_owned());
        seconds.ok_or_else(wrong)
    });
    Ok(OperationFilter {
        state: one_of(request, "state", State::ALL, State::name)?,
        kind: one_of(request, "kind", Kind::ALL, Kind::name)?,
        euicc: request.value_of("euicc").map(str::to_owned),
        since_s: since_s.transpose()?,
    })
}

fn one_of<T: Copy>(
    request: &Request<'_>,
    key: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let Some(said) = request.value_of(key) else {
        return Ok(None);
    };
    let known = all.iter().find(|one| name(**one) == said);
    let names = &mut all.iter().map(|one| name(*one));
    known.copied().map(Some).ok_or_else(|| none_of(key, names))
}

/// The same for all types.
fn none_of(key: &str, names: &mut dyn Iterator<Item = &'static str>) -> Problem {
    let names: Vec<_> = names.collect();
    invalid(format!("{key} is one of {}.", names.join(", ")))
}
