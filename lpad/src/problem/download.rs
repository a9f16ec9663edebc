//! What a failed download becomes, and what became of its order.

use es9_client::NextStep;
use es10_apdu::es10b::{
    AuthenticateErrorCode, CancelSessionReason, DownloadErrorCode, ErrorReason,
};

use super::card::result;
use super::{Code, CodeConsumed, Problem, sentence};
use crate::procedure::download::{DownloadError, Failure, SessionEnd};

impl From<&DownloadError> for Problem {
    fn from(error: &DownloadError) -> Self {
        let problem = failure(&error.failure)
            .detail(sentence(error))
            .code_consumed(consumed(error));
        match &error.session {
            SessionEnd::CancelFailed(_, cause) => Self {
                session: Some(sentence(cause)),
                ..problem
            },
            _ => problem,
        }
    }
}

fn failure(failure: &Failure) -> Problem {
    let code = match failure {
        Failure::AuthenticationRefused(code) => {
            let next_step = match *code {
                AuthenticateErrorCode::CI_PK_UNKNOWN => {
                    "Check that this eUICC and the SM-DP+ have a certificate issuer in common."
                }
                _ => NextStep::ReportServerFault.advice(),
            };
            return Problem::new(Code::ServerNotTrusted)
                .card(result("ES10b.AuthenticateServer", code.0))
                .next_step(next_step);
        }
        Failure::PreparationRefused(code) => {
            return Problem::new(preparation_refused(*code))
                .card(result("ES10b.PrepareDownload", code.0))
                .next_step(NextStep::ReportServerFault.advice());
        }
        Failure::Installation { reason, .. } => return installation(*reason),
        Failure::Card(error) => return error.into(),
        Failure::Server(error) => return error.into(),
        Failure::ConfirmationCodeRequired => Code::ConfirmationCodeRequired,
        Failure::Declined(CancelSessionReason::POSTPONED) => Code::Postponed,
        Failure::Declined(CancelSessionReason::TIMEOUT) => Code::NoAnswer,
        Failure::Declined(_) => Code::Declined,
        Failure::NoResult => Code::InstallationFailed,
        Failure::Rules(_) => Code::PolicyRulesForbidden,
        Failure::ChallengeMismatch
        | Failure::OidMismatch { .. }
        | Failure::ServerAddressMismatch { .. } => Code::ServerNotTrusted,
        Failure::Bpp(_)
        | Failure::Certificate(_)
        | Failure::MetadataMismatch { .. }
        | Failure::ServerData { .. }
        | Failure::TransactionIdMismatch { .. }
        | Failure::TransactionId(_) => Code::ServerGarbled,
    };
    Problem::new(code)
}

/// What the eUICC verifies before a download is the server's; the rest is between card and lpad.
fn preparation_refused(code: DownloadErrorCode) -> Code {
    match code {
        DownloadErrorCode::INVALID_CERTIFICATE
        | DownloadErrorCode::INVALID_SIGNATURE
        | DownloadErrorCode::UNSUPPORTED_CURVE => Code::ServerNotTrusted,
        _ => Code::CardRefused,
    }
}

fn installation(reason: ErrorReason) -> Problem {
    let code = match reason {
        ErrorReason::ICCID_ALREADY_EXISTS => Code::ProfileInstalled,
        ErrorReason::INSUFFICIENT_MEMORY => Code::CardFull,
        ErrorReason::PPR_NOT_ALLOWED => Code::PolicyRulesForbidden,
        _ => Code::InstallationFailed,
    };
    let problem = Problem::new(code).card(result("ES10b.LoadBoundProfilePackage", reason.0));
    match reason {
        ErrorReason::INTERRUPTION => Problem {
            retryable: true,
            ..problem.next_step("Download again; the order is still there.")
        },
        _ => problem,
    }
}

/// Whether the order behind a failed download is used up.
fn consumed(error: &DownloadError) -> CodeConsumed {
    let by_reason = |reason| match reason {
        CancelSessionReason::POSTPONED | CancelSessionReason::TIMEOUT => CodeConsumed::No,
        _ => CodeConsumed::Yes,
    };
    match (&error.session, &error.failure) {
        (SessionEnd::Cancelled(reason), _) => by_reason(*reason),
        // The server may have heard the reason, and its answer was lost.
        (SessionEnd::CancelFailed(reason, _), _) => match by_reason(*reason) {
            CodeConsumed::No => CodeConsumed::No,
            _ => CodeConsumed::Unknown,
        },
        (SessionEnd::NotOpened, _) => CodeConsumed::No,
        (SessionEnd::InDoubt(_), _) => CodeConsumed::Unknown,
        (SessionEnd::Reported, Failure::Installation { reason, .. }) => match *reason {
            ErrorReason::INSUFFICIENT_MEMORY | ErrorReason::INTERRUPTION => CodeConsumed::No,
            _ => CodeConsumed::Yes,
        },
        (SessionEnd::Reported, _) => CodeConsumed::Unknown,
        (SessionEnd::Closed, Failure::Server(cause)) => match cause.next_step() {
            NextStep::AskOperatorForNewCode => CodeConsumed::Yes,
            NextStep::CheckActivationCode => CodeConsumed::Unknown,
            _ => CodeConsumed::No,
        },
        (SessionEnd::Closed, _) => CodeConsumed::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procedure::download::Step;

    #[test]
    fn a_download_says_whether_the_code_is_used_up() {
        let error = |session, failure| DownloadError {
            step: Step::Consent,
            session,
            failure,
        };
        let declined = |reason| {
            Problem::from(&error(
                SessionEnd::Cancelled(reason),
                Failure::Declined(reason),
            ))
        };
        let problem = declined(CancelSessionReason::POSTPONED);
        assert_eq!(problem.code, Code::Postponed);
        assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
        let problem = declined(CancelSessionReason::END_USER_REJECTION);
        assert_eq!(problem.code, Code::Declined);
        assert_eq!(problem.code_consumed, Some(CodeConsumed::Yes));
        let problem = Problem::from(&error(SessionEnd::NotOpened, Failure::ChallengeMismatch));
        assert_eq!(problem.code, Code::ServerNotTrusted);
        assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    }
}
