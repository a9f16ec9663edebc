//! What a card is behind: a modem's AT port, or a reader.

use es10_apdu::at::AtPort;
#[cfg(feature = "pcsc")]
use es10_apdu::pcsc::ReaderCard;
use es10_apdu::transport::Fault;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a card is behind, as it was opened.
#[derive(Debug)]
pub enum Device<S> {
    /// The AT port of a modem.
    Modem(AtPort<S>),
    /// A PC/SC reader.
    #[cfg(feature = "pcsc")]
    Reader(ReaderCard),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Device<S> {
    /// Whether it has to be opened anew.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Modem(port) => port.is_closed(),
            #[cfg(feature = "pcsc")]
            Self::Reader(card) => card.is_closed(),
        }
    }

    /// The port of a modem; a reader answers no AT.
    pub(crate) fn modem(&mut self) -> Option<&mut AtPort<S>> {
        match self {
            Self::Modem(port) => Some(port),
            #[cfg(feature = "pcsc")]
            Self::Reader(_) => None,
        }
    }

    /// Waits until it is gone.
    pub(crate) async fn idle(&mut self) -> Fault {
        match self {
            Self::Modem(port) => port.idle().await,
            #[cfg(feature = "pcsc")]
            Self::Reader(card) => card.idle().await,
        }
    }
}

/// The stream to a modem's port.
impl<S: AsyncRead + AsyncWrite + Unpin + Send> From<S> for Device<S> {
    fn from(stream: S) -> Self {
        Self::Modem(AtPort::new(stream))
    }
}
