//! The HTTP status of each problem, and the document an error is answered with.
//!
//! A problem inside an operation or an event has no status: only an answer has one.

use serde::{Deserialize, Serialize};

use crate::problem::{Code, Problem};

/// The body of an answer that is an error: the problem, with what only HTTP knows.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErrorResponse {
    /// The HTTP status.
    pub status: u16,
    /// For a method the resource does not take: those it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// What went wrong.
    #[serde(flatten)]
    pub problem: Problem,
}

impl From<Problem> for ErrorResponse {
    fn from(problem: Problem) -> Self {
        Self {
            status: status_of(problem.code),
            allow: Vec::new(),
            problem,
        }
    }
}

/// The HTTP status a problem is answered with.
pub fn status_of(code: Code) -> u16 {
    match code {
        Code::InvalidRequest => 400,
        Code::Forbidden => 403,
        Code::NotFound
        | Code::UnknownEuicc
        | Code::UnknownOperation
        | Code::UnknownProfile
        | Code::UnknownNotification
        | Code::NothingToDownload => 404,
        Code::MethodNotAllowed => 405,
        Code::RequestTimeout => 408,
        Code::Busy
        | Code::NotificationUndelivered
        | Code::SmdpNotAllowed
        | Code::OperationEnded
        | Code::PastPointOfNoReturn
        | Code::NotAwaitingAnswer
        | Code::Cancelled
        | Code::Declined
        | Code::Postponed
        | Code::PolicyRulesForbidden
        | Code::DisallowedByPolicy
        | Code::ProfileEnabled
        | Code::ProfileInstalled
        | Code::CardFull
        | Code::ServerRefused
        | Code::MatchingIdRefused
        | Code::EidRefused
        | Code::NotReleased
        | Code::OrderClosed
        | Code::CardRefused
        | Code::FailedEarlier
        | Code::LastProfile
        | Code::SwitchReverted
        | Code::SwitchDiverted
        | Code::WouldStrand
        | Code::ProfileKept
        | Code::NoWayBack
        | Code::OtherCard => 409,
        Code::BodyTooLarge => 413,
        Code::InvalidActivationCode
        | Code::InvalidAddress
        | Code::NoDefaultSmdp
        | Code::IdempotencyKeyReused
        | Code::ConfirmationCodeRequired
        | Code::ConfirmationCodeRefused => 422,
        Code::JournalDamaged | Code::Internal => 500,
        Code::ServerFailed
        | Code::ServerNotTrusted
        | Code::ServerGarbled
        | Code::InstallationFailed => 502,
        Code::TooManyReaders
        | Code::TooManyConnections
        | Code::CardBusy
        | Code::CardGarbled
        | Code::NoEuicc
        | Code::PartUnknown
        | Code::ModemRefused
        | Code::NoChannel
        | Code::ModemSilent
        | Code::ModemUnavailable
        | Code::ModemTimeout
        | Code::CardNotSwitched
        | Code::SwitchNotConfirmed
        | Code::SwitchStranded
        | Code::NotConfirmed
        | Code::Interrupted
        | Code::StateUnwritable => 503,
        Code::NoAnswer | Code::ServerUnreachable | Code::ServerTimeout => 504,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_problem_is_answered_with_the_status_of_an_error() {
        for code in Code::ALL {
            let status = status_of(*code);
            assert!((400..600).contains(&status), "{}: {status}", code.name());
        }
    }

    #[test]
    fn an_error_response_is_its_problem_with_a_status() {
        let problem = Problem::new(Code::MethodNotAllowed);
        let response = ErrorResponse {
            allow: vec!["GET".into()],
            ..problem.clone().into()
        };
        let mut expected = serde_json::to_value(&problem).unwrap();
        assert_eq!(expected.get("status"), None);
        expected["status"] = json!(405);
        expected["allow"] = json!(["GET"]);
        let document = serde_json::to_value(&response).unwrap();
        assert_eq!(document, expected);
        assert_eq!(
            serde_json::from_value::<ErrorResponse>(document).unwrap(),
            response
        );
    }
}
