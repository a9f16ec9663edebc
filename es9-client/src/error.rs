use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::certificate::CertificateError;
use crate::envelope::{ExecutionStatus, ProtocolError};
use crate::status::{NextStep, StatusCodeData};
use crate::tls::TlsError;

/// Why a function of ES9+ did not succeed. Every variant names the server.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection ended before the answer was complete.
    #[error("{host} closed the connection {}", moment(*.sent))]
    Closed {
        /// The server.
        host: String,
        /// Whether the request may have reached it.
        sent: bool,
    },
    /// The server refused the TCP connection or is out of reach.
    #[error("{host} cannot be reached: {cause}")]
    Connect {
        /// The server.
        host: String,
        /// What the operating system says.
        cause: io::Error,
    },
    /// The server's name could not be resolved.
    #[error("the name {host} cannot be resolved: {cause}")]
    Dns {
        /// The server.
        host: String,
        /// What the resolver says.
        cause: io::Error,
    },
    /// The HTTP status is not one of SGP.22. Redirects are not followed.
    #[error("{host} answered {function} with HTTP status {status}{}", redirect(*.status))]
    Http {
        /// The server.
        host: String,
        /// The function that was called.
        function: &'static str,
        /// The HTTP status code.
        status: u16,
    },
    /// The answer does not follow SGP.22.
    #[error("{host} answered {function} in a way that cannot be understood: {cause}")]
    Protocol {
        /// The server.
        host: String,
        /// The function that was called.
        function: &'static str,
        /// What is wrong.
        cause: ProtocolError,
    },
    /// The server refused to execute the function.
    #[error("{host} refused {function}: {} ({data})", .data.meaning().title)]
    Status {
        /// The server.
        host: String,
        /// The function that was called.
        function: &'static str,
        /// The execution status.
        status: ExecutionStatus,
        /// Subject and reason.
        data: Box<StatusCodeData>,
    },
    /// No answer in time.
    #[error("{host} did not {phase} within {} s", .after.as_secs())]
    Timeout {
        /// The server.
        host: String,
        /// What was waited for.
        phase: Phase,
        /// How long.
        after: Duration,
    },
    /// No secure connection, mostly because the server's certificate was refused.
    #[error("no secure connection to {host}: {cause}")]
    Tls {
        /// The server.
        host: String,
        /// What failed.
        cause: Box<TlsError>,
    },
    /// The answer is larger than anything SGP.22 has use for.
    #[error("{host} answered {function} with more than {limit} bytes")]
    TooLarge {
        /// The server.
        host: String,
        /// The function that was called.
        function: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl Error {
    /// What is known about the state of the server.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Status { .. } => Outcome::Refused,
            Self::Http { status, .. } if (300..500).contains(status) => Outcome::Refused,
            Self::Connect { .. } | Self::Dns { .. } | Self::Tls { .. } => Outcome::NotReached,
            Self::Closed { sent: false, .. } => Outcome::NotReached,
            Self::Timeout {
                phase: Phase::Connect | Phase::EarlierCall,
                ..
            } => Outcome::NotReached,
            Self::Protocol {
                cause: ProtocolError::Request { .. },
                ..
            } => Outcome::NotReached,
            Self::Closed { .. }
            | Self::Http { .. }
            | Self::Protocol { .. }
            | Self::Timeout { .. }
            | Self::TooLarge { .. } => Outcome::Unknown,
        }
    }

    /// What to do about it.
    pub fn next_step(&self) -> NextStep {
        match self {
            Self::Connect { .. } | Self::Dns { .. } => NextStep::CheckNetwork,
            Self::Timeout {
                phase: Phase::Connect,
                ..
            } => NextStep::CheckNetwork,
            Self::Closed { .. } | Self::Timeout { .. } => NextStep::RetryLater,
            Self::Http { status: 500.., .. } => NextStep::RetryLater,
            Self::Http { .. } | Self::Protocol { .. } | Self::TooLarge { .. } => {
                NextStep::ReportServerFault
            }
            Self::Status { data, .. } => data.meaning().next_step,
            Self::Tls { cause, .. } => match &**cause {
                TlsError::Certificate(
                    CertificateError::ImplausibleClock { .. }
                    | CertificateError::NotYetValid { .. },
                ) => NextStep::CheckClock,
                TlsError::Interrupted(_) => NextStep::RetryLater,
                TlsError::Certificate(_) | TlsError::Handshake(_) => NextStep::ReportServerFault,
            },
        }
    }

    /// Whether this machine is the cause, and not the server: it has no network, or no time to check
    /// certificates by.
    pub fn is_local(&self) -> bool {
        matches!(
            self.next_step(),
            NextStep::CheckNetwork | NextStep::CheckClock
        )
    }

    /// The status code, when the server gave one.
    pub fn status(&self) -> Option<&StatusCodeData> {
        match self {
            Self::Status { data, .. } => Some(data),
            _ => None,
        }
    }
}

/// What a failed call means for the state of the server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// The server said no.
    Refused,
    /// The server has not seen the request.
    NotReached,
    /// The server may or may not have acted on the request.
    Unknown,
}

/// What a deadline was set for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Phase {
    /// Name resolution, TCP and TLS.
    Connect,
    /// The end of an earlier call to the same server.
    EarlierCall,
    /// The answer, from the first byte of the request to the last of the body.
    Response,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "accept a secure connection",
            Self::EarlierCall => "finish an earlier call",
            Self::Response => "answer",
        })
    }
}

fn moment(sent: bool) -> &'static str {
    match sent {
        true => "before it answered",
        false => "at once",
    }
}

fn redirect(status: u16) -> &'static str {
    match status {
        300..400 => ", which points elsewhere and is not followed",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_reached_the_server_may_be_repeated_blindly() {
        for error in [
            connect(io::ErrorKind::ConnectionRefused),
            timeout(Phase::Connect),
            timeout(Phase::EarlierCall),
            closed(false),
        ] {
            assert_eq!(error.outcome(), Outcome::NotReached, "{error}");
        }
        for error in [timeout(Phase::Response), closed(true), http(503)] {
            assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        }
        for error in [status("8.2.6", "3.8"), http(404), http(307)] {
            assert_eq!(error.outcome(), Outcome::Refused, "{error}");
        }
    }

    #[test]
    fn every_error_is_a_sentence_that_names_the_host() {
        for (error, sentence) in [
            (
                status("8.2.7", "3.8"),
                "smdp.example.com refused authenticateClient: \
                 The confirmation code is wrong (status code 8.2.7/3.8)",
            ),
            (
                http(307),
                "smdp.example.com answered authenticateClient with HTTP status 307, \
                 which points elsewhere and is not followed",
            ),
            (
                timeout(Phase::Connect),
                "smdp.example.com did not accept a secure connection within 30 s",
            ),
            (
                closed(true),
                "smdp.example.com closed the connection before it answered",
            ),
        ] {
            assert_eq!(error.to_string(), sentence);
        }
    }

    #[test]
    fn the_next_step_depends_on_who_can_help() {
        for (error, next_step) in [
            (status("8.2.7", "3.8"), NextStep::EnterConfirmationCode),
            (
                connect(io::ErrorKind::NetworkUnreachable),
                NextStep::CheckNetwork,
            ),
            (timeout(Phase::Response), NextStep::RetryLater),
            (timeout(Phase::EarlierCall), NextStep::RetryLater),
            (http(502), NextStep::RetryLater),
            (http(404), NextStep::ReportServerFault),
            (closed(true), NextStep::RetryLater),
        ] {
            assert_eq!(error.next_step(), next_step, "{error}");
        }
    }

    #[test]
    fn what_this_machine_lacks_is_told_from_what_a_server_does() {
        let clock = CertificateError::ImplausibleClock {
            now: crate::Timestamp(0),
        };
        let clock = Error::Tls {
            host: host(),
            cause: Box::new(TlsError::Certificate(clock)),
        };
        for error in [connect(io::ErrorKind::NetworkUnreachable), clock] {
            assert!(error.is_local(), "{error}");
        }
        for error in [http(502), closed(true), timeout(Phase::Response)] {
            assert!(!error.is_local(), "{error}");
        }
    }

    fn connect(kind: io::ErrorKind) -> Error {
        Error::Connect {
            host: host(),
            cause: kind.into(),
        }
    }

    fn timeout(phase: Phase) -> Error {
        Error::Timeout {
            host: host(),
            phase,
            after: Duration::from_secs(30),
        }
    }

    fn closed(sent: bool) -> Error {
        Error::Closed { host: host(), sent }
    }

    fn http(status: u16) -> Error {
        Error::Http {
            host: host(),
            function: "authenticateClient",
            status,
        }
    }

    fn status(subject: &str, reason: &str) -> Error {
        let data = StatusCodeData {
            subject_code: subject.to_owned(),
            reason_code: reason.to_owned(),
            ..StatusCodeData::default()
        };
        Error::Status {
            host: host(),
            function: "authenticateClient",
            status: serde_json::from_str("\"Failed\"").unwrap(),
            data: Box::new(data),
        }
    }

    fn host() -> String {
        "smdp.example.com".to_owned()
    }
}
