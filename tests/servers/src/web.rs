//! An ordinary web server with an ordinary certificate: what a check of a gateway's connection asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::recorder::serve_one;

/// A web server; clones are one server.
#[derive(Clone)]
pub struct Web {
    tls: TlsAcceptor,
    status: Arc<AtomicU16>,
}

impl Web {
    /// The only host that its certificate is for.
    pub const HOST: &'static str = "fleet.example.com";
    /// Who has issued its certificate, in PEM.
    pub const ISSUER: &'static str = include_str!("../../../es9-client/tests/web/issuer-rsa.pem");

    /// A server that answers every request with 200.
    pub fn new() -> Self {
        let certificate = include_bytes!("../../../es9-client/tests/web/server-p256.pem");
        let key = include_bytes!("../../../es9-client/tests/web/server-p256.key");
        let certificate = CertificateDer::from_pem_slice(certificate).expect("it is PEM");
        let key = PrivateKeyDer::from_pem_slice(key).expect("it is PEM");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        Self {
            tls: TlsAcceptor::from(Arc::new(config)),
            status: Arc::new(AtomicU16::new(200)),
        }
    }

    /// Sets what it answers from now on.
    pub fn set_status(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Answers the requests of one connection.
    pub async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        // A client that does not trust it goes away.
        let Ok(stream) = self.tls.accept(stream).await else {
            return;
        };
        // Nobody looks at what it is asked.
        let (sender, _) = mpsc::channel(1);
        serve_one(stream, self.status.load(Ordering::Relaxed), sender).await;
    }
}

impl Default for Web {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
