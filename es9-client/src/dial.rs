//! A connection to a server, step by step.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connect::{Connect, NameNotResolved};
use crate::deadlines::Deadline;
use crate::error::{Error, Phase};
use crate::tls::TlsError;
use crate::wire::ServerAddress;

/// Opens the byte stream.
pub(crate) async fn open<C: Connect>(
    connect: &C,
    address: &ServerAddress,
) -> Result<C::Stream, Error> {
    let stream = connect.connect(address.host(), address.port()).await;
    stream.map_err(|cause| {
        let host = address.host().to_owned();
        let inner = cause.get_ref();
        match inner.is_some_and(|inner| inner.is::<NameNotResolved>()) {
            true => Error::Dns { host, cause },
            false => Error::Connect { host, cause },
        }
    })
}

/// Puts TLS on a stream.
pub(crate) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    tls: Arc<ClientConfig>,
    host: &str,
    stream: S,
) -> Result<TlsStream<S>, Error> {
    handshake(tls, host, stream)
        .await
        .map_err(|cause| Error::Tls {
            host: host.to_owned(),
            cause: Box::new(cause),
        })
}

pub(crate) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    tls: Arc<ClientConfig>,
    host: &str,
    stream: S,
) -> Result<TlsStream<S>, TlsError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| TlsError::Handshake(rustls::Error::UnsupportedNameType))?;
    let stream = TlsConnector::from(tls).connect(name, stream).await;
    stream.map_err(TlsError::from)
}

/// What was not done in time.
pub(crate) fn timed_out(address: &ServerAddress, phase: Phase, deadline: Deadline) -> Error {
    Error::Timeout {
        host: address.host().to_owned(),
        phase,
        after: deadline.after,
    }
}
