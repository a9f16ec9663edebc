//! What failures of a server become.

use es9_client::{NextStep, Phase, StatusCodeData, TlsError};

use super::{Code, Problem};

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
            Error::Status { data, .. } => Code::from(&**data),
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

impl From<&StatusCodeData> for Code {
    fn from(data: &StatusCodeData) -> Self {
        match (data.subject_code.trim(), data.reason_code.trim()) {
            ("8.2.6", "3.8") => Self::MatchingIdRefused,
            ("8.1.1", "3.8" | "3.10") => Self::EidRefused,
            ("8.2", "1.2") => Self::NotReleased,
            ("8.8.5", _) => Self::OrderClosed,
            ("8.2.7", "2.2") => Self::ConfirmationCodeRequired,
            ("8.2.7", "3.8") => Self::ConfirmationCodeRefused,
            ("8.1", "4.8") => Self::CardFull,
            _ => match data.meaning().next_step {
                NextStep::AskOperatorForNewCode => Self::OrderClosed,
                next_step if next_step.is_retryable() => Self::ServerFailed,
                _ => Self::ServerRefused,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(Code::from(&data), code, "{subject}/{reason}");
        }
    }
}
