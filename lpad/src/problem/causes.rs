//! What every error of the layers below becomes.

use es9_client::{NextStep, Phase, StatusCodeData, TlsError};
use es10_apdu::apdu::StatusWord;
use es10_apdu::channel::OpenError;
use es10_apdu::es10b::{
    AuthenticateErrorCode, CancelSessionReason, DownloadErrorCode, ErrorReason,
};
use es10_apdu::es10c::{
    DeleteProfileRequest, DeleteResult, DisableResult, EnableResult, SetNicknameRequest,
    SetNicknameResult,
};
use es10_apdu::function::Es10Function;
use es10_apdu::isdr::CallError;
use es10_apdu::transport::{Fault, TransportError};

use super::{CardStatus, Code, CodeConsumed, Problem};
use crate::engine::PortError;
use crate::procedure::download::{DownloadError, Failure, SessionEnd};
use crate::procedure::{FunctionError, Refusal};

impl From<PortError> for Problem {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Open(_) => Self::because(Code::ModemUnavailable, &error),
            PortError::Modem(cause) => cause.into(),
            PortError::Card(OpenError::Transport(TransportError {
                fault: Fault::Device(_),
                ..
            })) => Self::because(Code::NoEuicc, &error),
            PortError::Card(OpenError::Transport(cause)) => cause.into(),
            PortError::Card(OpenError::ManageChannel { sw }) => {
                Self::because(Code::NoEuicc, &error)
                    .card(status("MANAGE CHANNEL", sw))
                    .next_step(
                        "Stop other programs that use the card, and restart the modem, which frees \
                         all logical channels.",
                    )
            }
            PortError::Card(OpenError::Select { sw }) => {
                Self::because(Code::NoEuicc, &error).card(status("SELECT", sw))
            }
            PortError::Card(OpenError::NoChannelNumber) => Self::because(Code::NoEuicc, &error),
        }
    }
}

impl From<TransportError> for Problem {
    fn from(error: TransportError) -> Self {
        let code = match error.fault {
            Fault::Timeout { .. } => Code::ModemTimeout,
            Fault::Garbled(_) => Code::CardGarbled,
            _ => Code::ModemUnavailable,
        };
        Self::because(code, &error)
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let function = error.command().to_owned();
        let problem = match &error {
            CallError::Codec { .. } | CallError::EarlyAnswer { .. } => Self::new(Code::CardGarbled),
            CallError::Status { .. } => Self::new(Code::CardRefused),
            CallError::TooLong { .. } => Self::new(Code::Internal),
            CallError::Transport { error, .. } => Self::from(error.clone()),
        };
        let sw = match &error {
            CallError::Status { sw, .. } => Some(hex_status(*sw)),
            _ => None,
        };
        problem.detail(sentence(&error)).card(CardStatus {
            function,
            result: None,
            sw,
        })
    }
}

impl From<FunctionError> for Problem {
    fn from(error: FunctionError) -> Self {
        match &error {
            FunctionError::Call(cause) => cause.clone().into(),
            FunctionError::Refused { function, refusal } => {
                let code = refused_code(function, refusal);
                Self::because(code, &error).card(result(function, refusal.code))
            }
        }
    }
}

/// The meaning of a function's result: results above 2 mean the same in all of ES10c.
fn refused_code(function: &str, refusal: &Refusal) -> Code {
    const NOT_FOUND: i64 = EnableResult::ICCID_OR_AID_NOT_FOUND.0;
    const IN_USE: i64 = DeleteResult::PROFILE_NOT_IN_DISABLED_STATE.0;
    const POLICY: i64 = EnableResult::DISALLOWED_BY_POLICY.0;
    const BUSY: i64 = DisableResult::CAT_BUSY.0;
    let about_profiles = function.starts_with("ES10c.");
    match refusal.code {
        NOT_FOUND if about_profiles && function.ends_with("Profile") => Code::UnknownProfile,
        code if function == SetNicknameRequest::NAME
            && code == SetNicknameResult::ICCID_NOT_FOUND.0 =>
        {
            Code::UnknownProfile
        }
        IN_USE if function == DeleteProfileRequest::NAME => Code::ProfileEnabled,
        POLICY if about_profiles => Code::DisallowedByPolicy,
        BUSY if about_profiles => Code::CardBusy,
        _ => Code::CardRefused,
    }
}

impl From<es9_client::Error> for Problem {
    fn from(error: es9_client::Error) -> Self {
        (&error).into()
    }
}

impl From<&es9_client::Error> for Problem {
    fn from(error: &es9_client::Error) -> Self {
        use es9_client::Error;
        let code = match error {
            Error::Closed { .. } | Error::Connect { .. } | Error::Dns { .. } => {
                Code::ServerUnreachable
            }
            Error::Timeout {
                phase: Phase::Connect,
                ..
            } => Code::ServerUnreachable,
            Error::Timeout { .. } => Code::ServerTimeout,
            Error::Http { status: 500.., .. } => Code::ServerFailed,
            Error::Status { data, .. } => server_code(data),
            Error::Tls { cause, .. } => match **cause {
                TlsError::Interrupted(_) => Code::ServerUnreachable,
                TlsError::Certificate(_) | TlsError::Handshake(_) => Code::ServerNotTrusted,
            },
            // What is left are answers that do not follow the specification.
            _ => Code::ServerGarbled,
        };
        let problem = match (code, error.next_step()) {
            // The fault may be here as well: the code's own advice names every suspect.
            (Code::ServerNotTrusted, NextStep::ReportServerFault) => Self::because(code, error),
            (_, next_step) => Self::because(code, error).next_step(next_step.advice()),
        };
        match error.status() {
            Some(data) => Self {
                retryable: error.next_step().is_retryable(),
                ..problem.sgp22(data.subject_code.trim(), data.reason_code.trim())
            },
            None => problem,
        }
    }
}

fn server_code(data: &StatusCodeData) -> Code {
    match (data.subject_code.trim(), data.reason_code.trim()) {
        ("8.2.6", "3.8") => Code::MatchingIdRefused,
        ("8.1.1", "3.8" | "3.10") => Code::EidRefused,
        ("8.2", "1.2") => Code::NotReleased,
        ("8.8.5", _) => Code::OrderClosed,
        ("8.2.7", "2.2") => Code::ConfirmationCodeRequired,
        ("8.2.7", "3.8") => Code::ConfirmationCodeRefused,
        ("8.1", "4.8") => Code::CardFull,
        _ => match data.meaning().next_step {
            NextStep::AskOperatorForNewCode => Code::OrderClosed,
            next_step if next_step.is_retryable() => Code::ServerFailed,
            _ => Code::ServerRefused,
        },
    }
}

impl From<DownloadError> for Problem {
    fn from(error: DownloadError) -> Self {
        let consumed = consumed(&error);
        let text = sentence(&error);
        let problem = failure(error.failure).detail(&text).code_consumed(consumed);
        match error.session {
            // An order that stays in any case is none of the reader's worries.
            SessionEnd::CancelFailed(_, cause) if consumed == CodeConsumed::No => {
                tracing::info!(%cause, "the server could not be told; the order stays");
                problem
            }
            SessionEnd::CancelFailed(_, cause) => {
                let text = text.trim_end_matches('.');
                problem.detail(format!("{text}; the server could not be told: {cause}."))
            }
            _ => problem,
        }
    }
}

fn failure(failure: Failure) -> Problem {
    let code = match failure {
        Failure::AuthenticationRefused(code) => {
            let next_step = match code {
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
            return Problem::new(preparation_refused(code))
                .card(result("ES10b.PrepareDownload", code.0))
                .next_step(NextStep::ReportServerFault.advice());
        }
        Failure::Installation { reason, .. } => return installation(reason),
        Failure::Card(error) => return error.into(),
        Failure::Function(error) => return error.into(),
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

impl Problem {
    /// The problem with the error's own words.
    pub(crate) fn because(code: Code, error: &dyn std::fmt::Display) -> Self {
        Self::new(code).detail(sentence(error))
    }
}

/// An error's text as a sentence.
fn sentence(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.trim_end_matches('.').chars();
    let end = if text.ends_with('?') { "" } else { "." };
    match letters.next() {
        // Host names and functions keep their spelling.
        Some(first)
            if text
                .split([' ', ':'])
                .next()
                .is_some_and(|word| word.contains('.')) =>
        {
            format!("{first}{}{end}", letters.as_str())
        }
        Some(first) => format!("{}{}{end}", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

fn result(function: &str, code: i64) -> CardStatus {
    CardStatus {
        function: function.to_owned(),
        result: Some(code),
        sw: None,
    }
}

fn status(function: &str, sw: StatusWord) -> CardStatus {
    CardStatus {
        function: function.to_owned(),
        result: None,
        sw: Some(hex_status(sw)),
    }
}

fn hex_status(sw: StatusWord) -> String {
    format!("{:04X}", sw.0)
}

#[cfg(test)]
mod tests {
    use es10_apdu::es10c::EnableProfileRequest;

    use super::*;
    use crate::procedure::download::Step;

    fn refused<F: Es10Function>(code: i64) -> Problem {
        let refusal = Refusal {
            code,
            text: "no".into(),
        };
        FunctionError::Refused {
            function: F::NAME,
            refusal,
        }
        .into()
    }

    #[test]
    fn a_result_of_the_card_is_named_with_its_function() {
        let problem = refused::<EnableProfileRequest>(EnableResult::CAT_BUSY.0);
        assert_eq!((problem.code, problem.retryable), (Code::CardBusy, true));
        let card = problem.card.unwrap();
        assert_eq!(
            (card.function.as_str(), card.result),
            ("ES10c.EnableProfile", Some(5))
        );
        assert_eq!(
            refused::<EnableProfileRequest>(1).code,
            Code::UnknownProfile
        );
        assert_eq!(
            refused::<EnableProfileRequest>(3).code,
            Code::DisallowedByPolicy
        );
        assert_eq!(
            refused::<DeleteProfileRequest>(2).code,
            Code::ProfileEnabled
        );
        assert_eq!(refused::<SetNicknameRequest>(1).code, Code::UnknownProfile);
        assert_eq!(refused::<EnableProfileRequest>(127).code, Code::CardRefused);
    }

    #[test]
    fn a_status_word_is_shown_in_hex() {
        let problem = Problem::from(CallError::Status {
            command: "ES10b.GetEUICCChallenge",
            sw: StatusWord(0x6985),
            last: true,
        });
        assert_eq!(problem.code, Code::CardRefused);
        assert_eq!(problem.card.unwrap().sw.as_deref(), Some("6985"));
    }

    #[test]
    fn every_known_status_code_of_a_server_finds_its_code() {
        for (subject, reason, code) in [
            ("8.2.6", "3.8", Code::MatchingIdRefused),
            ("8.1.1", "3.8", Code::EidRefused),
            ("8.2", "1.2", Code::NotReleased),
            ("8.2", "3.7", Code::OrderClosed),
            ("8.8.5", "4.10", Code::OrderClosed),
            ("8.8.5", "6.4", Code::OrderClosed),
            ("8.2.7", "2.2", Code::ConfirmationCodeRequired),
            ("8.2.7", "3.8", Code::ConfirmationCodeRefused),
            ("8.2.7", "6.4", Code::OrderClosed),
            ("8.1", "4.8", Code::CardFull),
            ("8.1", "6.1", Code::ServerRefused),
            ("8.8", "4.2", Code::ServerFailed),
        ] {
            let data = StatusCodeData {
                subject_code: subject.into(),
                reason_code: reason.into(),
                ..StatusCodeData::default()
            };
            assert_eq!(server_code(&data), code, "{subject}/{reason}");
        }
    }

    #[test]
    fn a_download_says_whether_the_code_is_used_up() {
        let error = |session, failure| DownloadError {
            step: Step::Consent,
            session,
            failure,
        };
        let declined = |reason| {
            Problem::from(error(
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
        let problem = Problem::from(error(SessionEnd::NotOpened, Failure::ChallengeMismatch));
        assert_eq!(problem.code, Code::ServerNotTrusted);
        assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    }

    #[test]
    fn an_errors_text_becomes_a_sentence() {
        assert_eq!(sentence(&"the modem is gone"), "The modem is gone.");
        assert_eq!(
            sentence(&"smdp.example.com refused"),
            "smdp.example.com refused."
        );
        assert_eq!(sentence(&"ES10b.GetEID: no"), "ES10b.GetEID: no.");
        assert_eq!(sentence(&"is it plugged in?"), "Is it plugged in?");
    }
}
