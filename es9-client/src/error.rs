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
    #[error("{host} closed the connection {}", if *.sent { "before it answered" } else { "at once" })]
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
                phase: Phase::Connect,
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
pub enum Phase {
    /// Name resolution, TCP and TLS.
    Connect,
    /// The answer, from the first byte of the request to the last of the body.
    Response,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "accept a secure connection",
            Self::Response => "answer",
        })
    }
}

fn redirect(status: u16) -> &'static str {
    match status {
        300..400 => ", which points elsewhere and is not followed",
        _ => "",
    }
}
