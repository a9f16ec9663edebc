//! Ordinary web servers: whether one answers, and with which status.
//!
//! This is for looking whether the Internet, or a server in it, can be reached. The certificates of ES9+
//! are other ones: see [`tls`](crate::tls).

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{HOST, USER_AGENT};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;

use crate::http::{Connection, ExchangeError};
use crate::tls::TlsError;
use crate::{crypto, dial};

/// Asks web servers, of which these issuers have to have signed the certificates.
#[derive(Clone, Debug)]
pub struct WebClient(Arc<ClientConfig>);

impl WebClient {
    /// Trusts the issuers in a text of PEM, as files like `ca-certificates.crt` are.
    ///
    /// # Errors
    /// When there is none that can be used.
    pub fn new(issuers: &[u8]) -> io::Result<Self> {
        let mut trusted = RootCertStore::empty();
        // A bundle may hold certificates of no use here beside good ones.
        let certificates = CertificateDer::pem_slice_iter(issuers).filter_map(Result::ok);
        trusted.add_parsable_certificates(certificates);
        if trusted.is_empty() {
            let why = "no certificate issuer is in it (PEM)";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let mut tls = ClientConfig::builder_with_provider(Arc::new(crypto::web_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("there are cipher suites for both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier(trusted)))
            .with_no_client_auth();
        tls.resumption = Resumption::disabled();
        Ok(Self(Arc::new(tls)))
    }

    /// Puts TLS on a stream to a host: a name or an address.
    ///
    /// # Errors
    /// When there is no secure connection, mostly because the certificate is refused.
    pub async fn secure<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        host: &str,
        stream: S,
    ) -> Result<WebConnection<S>, TlsError> {
        let stream = dial::handshake(Arc::clone(&self.0), host, stream).await;
        stream.map(WebConnection)
    }
}

/// A secure connection to a web server.
#[derive(Debug)]
pub struct WebConnection<S>(TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> WebConnection<S> {
    /// Asks for a page, and gives the status of the answer. Neither is the page read, nor another one to
    /// which the answer points.
    ///
    /// # Errors
    /// When there is no answer, or none that is HTTP/1.1.
    pub async fn status(self, authority: &str, path: &str) -> io::Result<u16> {
        let request = Request::get(path)
            .header(HOST, authority)
            .header(USER_AGENT, concat!("lpad/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::new()))
            .map_err(io::Error::other)?;
        let connection = Connection::open(self.0).await;
        let mut connection = connection.map_err(|_| io::ErrorKind::ConnectionReset)?;
        match connection.send(request).await {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(ExchangeError::NotHttp(why)) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, why))
            }
            Err(_) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

#[derive(Debug)]
struct Verifier(RootCertStore);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let server = ParsedCertificate::try_from(server)?;
        let algorithms = crypto::WEB_SIGNATURES.all;
        verify_server_cert_signed_by_trust_anchor(&server, &self.0, others, now, algorithms)?;
        verify_server_name(&server, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, server, signed, &crypto::WEB_SIGNATURES)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, server, signed, &crypto::WEB_SIGNATURES)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto::WEB_SIGNATURES.supported_schemes()
    }
}
