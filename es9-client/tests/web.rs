//! Ordinary web servers, over TLS in memory.
//!
//! The folder `web` has two issuers, and a server that each has certified: one with RSA for a key on P-256,
//! the other with P-384 for an RSA key. Both servers are `fleet.example.com` and 127.0.0.1.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::io;
use std::sync::Arc;

use es9_client::{TlsError, WebClient, WebConnection};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;

const RSA_ISSUER: &str = include_str!("web/issuer-rsa.pem");
const P384_ISSUER: &str = include_str!("web/issuer-p384.pem");
const P256: [&str; 2] = [
    include_str!("web/server-p256.pem"),
    include_str!("web/server-p256.key"),
];
const RSA: [&str; 2] = [
    include_str!("web/server-rsa.pem"),
    include_str!("web/server-rsa.key"),
];

/// A server that answers every request with these octets, and closes.
fn serve(
    [certificate, key]: [&str; 2],
    version: &'static SupportedProtocolVersion,
    answer: &'static [u8],
) -> DuplexStream {
    let (near, far) = duplex(16 * 1024);
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tokio::spawn(async move {
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(far).await else {
            return;
        };
        let mut request = [0; 1024];
        let count = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..count]).into_owned();
        assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains("host: fleet.example.com:8443\r\n"),
            "{request}"
        );
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    near
}

async fn secure(
    issuers: &str,
    host: &str,
    stream: DuplexStream,
) -> Result<WebConnection<DuplexStream>, TlsError> {
    let client = WebClient::new(issuers.as_bytes()).unwrap();
    client.secure(host, stream).await
}

async fn status(answer: &'static [u8]) -> io::Result<u16> {
    let stream = serve(P256, &TLS13, answer);
    let connection = secure(RSA_ISSUER, "fleet.example.com", stream).await;
    let connection = connection.unwrap();
    connection.status("fleet.example.com:8443", "/health").await
}

#[tokio::test]
async fn servers_with_keys_and_issuers_of_every_common_kind_are_accepted() {
    for (server, issuer) in [(P256, RSA_ISSUER), (RSA, P384_ISSUER)] {
        for version in [&TLS13, &TLS12] {
            for host in ["fleet.example.com", "127.0.0.1"] {
                let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                let stream = serve(server, version, answer);
                let connection = secure(issuer, host, stream).await.unwrap();
                let status = connection.status("fleet.example.com:8443", "/health").await;
                assert_eq!(status.unwrap(), 204);
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_nobody_known_has_certified_for_this_host_is_refused() {
    for (server, issuer, host) in [
        (P256, P384_ISSUER, "fleet.example.com"),
        (RSA, RSA_ISSUER, "fleet.example.com"),
        (P256, RSA_ISSUER, "other.example.com"),
        (P256, RSA_ISSUER, "127.0.0.2"),
    ] {
        let refused = secure(issuer, host, serve(server, &TLS13, b"")).await;
        let error = refused.unwrap_err();
        assert!(matches!(error, TlsError::Handshake(_)), "{error}");
    }
}

#[tokio::test]
async fn the_status_is_told_and_nothing_else_is_read() {
    for (answer, expected) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"[..],
            200,
        ),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", 302),
        (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", 503),
    ] {
        assert_eq!(status(answer).await.unwrap(), expected);
    }
    let error = status(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let error = status(b"").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn without_an_issuer_there_is_nothing_to_trust() {
    for text in ["", "nonsense", P256[1]] {
        let error = WebClient::new(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
