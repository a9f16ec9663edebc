//! The LPA's side of ES9+: SGP.22 chapter 6 over HTTPS.
//!
//! [`Es9Client::call`] sends one function to an SM-DP+ and returns its typed answer. DER objects
//! stay opaque bytes here: what was signed must arrive unchanged at the other end. The server's
//! certificate is checked against the GSMA certificate issuers ([`Roots`]) and must have
//! been issued for the TLS role of an SM-DP+ or SM-DS; there is no way to turn that off.
//!
//! The baseline is SGP.22 v2.5.

mod certificate;
mod client;
mod connect;
mod crypto;
mod deadlines;
mod dial;
mod envelope;
mod error;
mod function;
mod http;
mod inspect;
mod roots;
mod status;
mod tls;
mod web;
mod wire;

pub mod es9;

pub use certificate::{Certificate, CertificateError, KeyId, Timestamp};
pub use client::{Counters, Es9Client, Options};
pub use connect::{Connect, NameNotResolved, Restrict, TcpConnect};
pub use deadlines::Deadlines;
pub use envelope::{Answer, AnswerError, ExecutionStatus, ProtocolError};
pub use error::{Error, Outcome, Phase};
pub use function::Es9Function;
pub use inspect::{Inspection, inspect};
pub use roots::{Root, Roots, RootsError};
pub use status::{Meaning, NextStep, StatusCodeData};
pub use tls::{EARLIEST_PLAUSIBLE, RspServerVerifier, TlsError};
pub use web::{WebClient, WebConnection};
pub use wire::{AddressError, Opaque, ServerAddress, TransactionId, TransactionIdError};

#[cfg(test)]
mod tests;
