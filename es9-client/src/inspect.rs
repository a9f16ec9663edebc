//! Looking at a server: what it shows of itself, also when it is refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, ProtocolVersion, SignatureScheme};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::certificate::Certificate;
use crate::client::Options;
use crate::connect::{Connect, NameNotResolved};
use crate::error::{Error, Phase};
use crate::roots::Roots;
use crate::tls::{self, RspServerVerifier, TlsError};
use crate::wire::ServerAddress;

/// What a server showed of itself.
#[derive(Debug, Default)]
pub struct Inspection {
    /// How long its name and the TCP connection took; `None` when there was none.
    pub connected_in: Option<Duration>,
    /// How long the TLS handshake took; `None` when it failed.
    pub secured_in: Option<Duration>,
    /// The version of TLS, for people; `None` when the handshake failed.
    pub tls: Option<&'static str>,
    /// The certificates it sent, its own first, without those that cannot be read. Nothing is proven of
    /// them when `error` is there.
    pub chain: Vec<Certificate>,
    /// Why there is no secure connection.
    pub error: Option<Error>,
}

/// Connects to a server as [`Es9Client`](crate::Es9Client) does, and gives the connection up again.
///
/// [`Deadlines::connect`](crate::Deadlines::connect) is for the connection, and once more for the handshake.
pub async fn inspect<C: Connect>(
    connect: &C,
    roots: Roots,
    options: &Options,
    address: &ServerAddress,
) -> Inspection {
    let mut found = Inspection::default();
    let shown = Arc::default();
    found.error = look(connect, roots, options, address, &mut found, &shown)
        .await
        .err();
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
    let certificates = shown.iter().filter_map(|der| Certificate::parse(der).ok());
    found.chain = certificates.collect();
    found
}

async fn look<C: Connect>(
    connect: &C,
    roots: Roots,
    options: &Options,
    address: &ServerAddress,
    found: &mut Inspection,
    shown: &Arc<Shown>,
) -> Result<(), Error> {
    let host = || address.host().to_owned();
    let longest = options.deadlines.connect;
    let too_late = |_| Error::Timeout {
        host: host(),
        phase: Phase::Connect,
        after: longest,
    };
    let begun = Instant::now();
    let stream = timeout(longest, connect.connect(address.host(), address.port()));
    let stream = stream.await.map_err(too_late)?.map_err(|cause| {
        let inner = cause.get_ref();
        match inner.is_some_and(|inner| inner.is::<NameNotResolved>()) {
            true => Error::Dns {
                host: host(),
                cause,
            },
            false => Error::Connect {
                host: host(),
                cause,
            },
        }
    })?;
    found.connected_in = Some(begun.elapsed());
    let refused = |cause| Error::Tls {
        host: host(),
        cause: Box::new(cause),
    };
    let name = ServerName::try_from(host())
        .map_err(|_| refused(TlsError::Handshake(rustls::Error::UnsupportedNameType)))?;
    let verifier = Recorder {
        verifier: RspServerVerifier::new(roots),
        shown: Arc::clone(shown),
    };
    let config = tls::config_with(verifier, options.clock.clone());
    let begun = Instant::now();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = timeout(longest, connector.connect(name, stream)).await;
    let stream = stream
        .map_err(too_late)?
        .map_err(|error| refused(error.into()))?;
    found.secured_in = Some(begun.elapsed());
    found.tls = Some(match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS 1.2",
    });
    Ok(())
}

type Shown = Mutex<Vec<Vec<u8>>>;

/// Keeps what a server shows, and judges it as usual.
#[derive(Debug)]
struct Recorder {
    verifier: RspServerVerifier,
    shown: Arc<Shown>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = [end_entity].into_iter().chain(intermediates);
        let chain = chain.take(MOST_SHOWN).map(|der| der.to_vec()).collect();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// A server may send many; as many as are looked at are kept.
const MOST_SHOWN: usize = 8;
