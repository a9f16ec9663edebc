//! Looking at a server, with the issuers and the `connect_to` of the configuration.

use std::path::Path;

use es9_client::{
    CertificateError, Error, Inspection, Options, Roots, ServerAddress, TcpConnect, TlsError,
    inspect,
};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::problem::Problem;

/// What a server showed of itself.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Server {
    /// Where the configuration says it is.
    pub target: Option<String>,
    /// How long its name and the TCP connection took; `None` when there was none.
    pub connected_ms: Option<u64>,
    /// How long the TLS handshake took; `None` when it failed.
    pub secured_ms: Option<u64>,
    /// The version of TLS, for people.
    pub tls: Option<String>,
    /// The certificates it sent, its own first.
    pub certificates: Vec<Certificate>,
    /// Why there is no secure connection.
    pub refusal: Option<Refusal>,
}

/// A certificate that a server showed.
#[derive(Debug, Deserialize, Serialize)]
pub struct Certificate {
    /// Whose it is.
    pub subject: String,
    /// The key identifier of who issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// From when it is valid.
    pub not_before: String,
    /// Until when.
    pub not_after: String,
}

/// Why there is no secure connection.
#[derive(Debug, Deserialize, Serialize)]
pub struct Refusal {
    /// The step it failed at.
    pub step: Step,
    /// What went wrong.
    pub problem: Problem,
    /// What the certificate says of the clock, if it is not valid yet.
    pub not_yet_valid: Option<String>,
}

/// A step on the way to a server.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Step {
    /// Its name has to be resolved.
    Name,
    /// It has to be connected to.
    Connection,
    /// The handshake has to succeed.
    Handshake,
    /// Its certificate has to be accepted.
    Certificate,
}

/// Connects to a server, and gives the connection up again.
pub(super) async fn at(address: &ServerAddress, path: &Path) -> Server {
    let config = Config::load(path).ok();
    let mut roots = Roots::gsma();
    let mut options = Options::default();
    let mut targets = Vec::new();
    if let Some(Config { es9, trust, .. }) = &config {
        options.deadlines = es9.deadlines();
        targets.extend(es9.targets());
        if let Some(folder) = trust.extra_roots.as_deref()
            && let Err(error) = roots.add_folder(folder)
        {
            // It is in the verdict on the configuration as well.
            tracing::debug!(%error, "no further certificate issuers");
        }
    }
    let is_host = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(address.host());
    let target = targets.iter().find(is_host);
    let target = target.map(|(_, target)| target.clone());
    let connect = TcpConnect::with_targets(targets);
    let found = inspect(&connect, roots, &options, address).await;
    Server {
        target,
        ..found.into()
    }
}

impl From<Inspection> for Server {
    fn from(found: Inspection) -> Self {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let certificates = found.chain.iter().map(|certificate| Certificate {
            subject: certificate.subject(),
            issuer: certificate.authority_key_id().map(ToString::to_string),
            not_before: certificate.not_before().to_string(),
            not_after: certificate.not_after().to_string(),
        });
        let is_connected = found.connected_in.is_some();
        Self {
            target: None,
            connected_ms: found.connected_in.map(ms),
            secured_ms: found.secured_in.map(ms),
            tls: found.tls.map(str::to_owned),
            certificates: certificates.collect(),
            refusal: found.error.map(|error| Refusal::of(&error, is_connected)),
        }
    }
}

impl Refusal {
    fn of(error: &Error, is_connected: bool) -> Self {
        let certificate = match error {
            Error::Tls { cause, .. } => match &**cause {
                TlsError::Certificate(refusal) => Some(refusal),
                _ => None,
            },
            _ => None,
        };
        let step = match error {
            Error::Dns { .. } => Step::Name,
            _ if !is_connected => Step::Connection,
            _ if certificate.is_some() => Step::Certificate,
            _ => Step::Handshake,
        };
        let is_early =
            |refusal: &&CertificateError| matches!(refusal, CertificateError::NotYetValid { .. });
        Self {
            step,
            problem: error.into(),
            not_yet_valid: certificate.filter(is_early).map(ToString::to_string),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use es9_client::{Phase, Timestamp};

    use super::*;

    #[test]
    fn the_step_that_a_server_fails_at_is_named() {
        let host = || "smdp.example.com".to_owned();
        let cause = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let failed = |error, connected_in: Option<u64>| {
            let server = Server::from(Inspection {
                connected_in: connected_in.map(Duration::from_millis),
                error: Some(error),
                ..Inspection::default()
            });
            assert_eq!(server.connected_ms, connected_in);
            let refusal = server.refusal.unwrap();
            (refusal.step, refusal.not_yet_valid)
        };
        let dns = Error::Dns {
            host: host(),
            cause: cause(),
        };
        assert_eq!(failed(dns, None), (Step::Name, None));
        let connect = Error::Connect {
            host: host(),
            cause: cause(),
        };
        assert_eq!(failed(connect, None), (Step::Connection, None));
        let timeout = Error::Timeout {
            host: host(),
            phase: Phase::Connect,
            after: Duration::from_secs(30),
        };
        assert_eq!(failed(timeout, Some(10)), (Step::Handshake, None));
        let early = CertificateError::NotYetValid {
            subject: host(),
            not_before: Timestamp(1_835_700_000),
            now: Timestamp(1_735_700_000),
        };
        let said = early.to_string();
        let early = Error::Tls {
            host: host(),
            cause: Box::new(TlsError::Certificate(early)),
        };
        assert_eq!(failed(early, Some(10)), (Step::Certificate, Some(said)));
    }
}
