//! Opening the port to a modem.

use std::{io, process};

use es10_apdu::at::{Serial, SerialCause};
use tokio::io::{AsyncRead, AsyncWrite};

use super::place::Place;
use crate::config::EuiccConfig;

/// Opens the byte stream to a modem, as often as it has to be opened again.
pub trait OpenPort: Send + 'static {
    /// What comes out.
    type Port: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens it. The text of an error is for people.
    fn open(&mut self) -> impl Future<Output = io::Result<Self::Port>> + Send;

    /// Waits until opening it again may end otherwise than the last time. An opener that is told of
    /// nothing never ends this: the port is tried now and then in any case.
    ///
    /// # Cancel safety
    ///
    /// What has changed is found by the next call as well.
    fn changed(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Opens a serial port.
#[derive(Clone, Debug)]
pub struct SerialPort {
    place: Place,
    baud: u32,
}

impl SerialPort {
    /// The port of a configured eUICC.
    pub fn new(config: &EuiccConfig) -> Self {
        Self {
            place: Place::new(config.port.clone()),
            baud: config.baud,
        }
    }
}

impl OpenPort for SerialPort {
    type Port = Serial;

    async fn open(&mut self) -> io::Result<Serial> {
        self.place.look();
        Serial::open(self.place.path(), self.baud).map_err(|error| match error.cause {
            SerialCause::Busy(Some(holder)) if holder.pid == process::id() => {
                let port = self.place.path().display();
                io::Error::other(format!(
                    "cannot open {port}: lpad itself uses it, for another [[euicc]] section"
                ))
            }
            _ => io::Error::other(error),
        })
    }

    async fn changed(&mut self) {
        self.place.changed().await;
    }
}
