//! TLS of the server.

use std::sync::Arc;

use rsp_common::certificate::Certificate;
use rsp_common::key::PrivateKey;
use rsp_common::pki::PkiError;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

mod choice;

pub use choice::TlsChoice;
pub(crate) use choice::{Endpoint, be_strange, swallow};

/// Why a server cannot offer TLS as it shall.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key is missing or cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The certificate and key do not suit TLS.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// A configuration that presents this chain, the leaf first.
///
/// The certificates are not looked at: a server with a wrong one is what some tests need, and
/// rustls' own check refuses the critical policies of this PKI. Clients are asked for a
/// certificate when there are issuers of such; they can do without, and a wrong one ends the
/// handshake.
pub(crate) fn server_config(
    chain: &[Certificate],
    key: &PrivateKey,
    versions: &[&'static SupportedProtocolVersion],
    client_roots: &[Certificate],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let chain = chain
        .iter()
        .map(|one| CertificateDer::from(one.der().to_vec()))
        .collect();
    let key = PrivateKeyDer::from_pem_slice(key.to_pem().as_bytes())
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let key = ring::sign::any_ecdsa_type(&key)?;
    let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(client_verifier(client_roots)?)
        .with_cert_resolver(Arc::new(resolver));
    Ok(Arc::new(config))
}

fn client_verifier(roots: &[Certificate]) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    if roots.is_empty() {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(CertificateDer::from(root.der().to_vec()))?;
    }
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))
}
