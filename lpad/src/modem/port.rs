//! Opening the port to a modem.

use std::path::PathBuf;
use std::{io, process};

use es10_apdu::at::{Serial, SerialCause};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::EuiccConfig;

/// Opens the byte stream to a modem, as often as it has to be opened again.
pub trait OpenPort: Send + 'static {
    /// What comes out.
    type Port: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens it. The text of an error is for people.
    fn open(&mut self) -> impl Future<Output = io::Result<Self::Port>> + Send;
}

/// Opens a serial port.
#[derive(Clone, Debug)]
pub struct SerialPort {
    path: PathBuf,
    baud: u32,
}

impl SerialPort {
    /// The port of a configured eUICC.
    pub fn new(config: &EuiccConfig) -> Self {
        Self {
            path: config.port.clone(),
            baud: config.baud,
        }
    }
}

impl OpenPort for SerialPort {
    type Port = Serial;

    async fn open(&mut self) -> io::Result<Serial> {
        Serial::open(&self.path, self.baud).map_err(|error| match error.cause {
            SerialCause::Busy(Some(holder)) if holder.pid == process::id() => {
                let port = self.path.display();
                io::Error::other(format!(
                    "cannot open {port}: lpad itself uses it, for another [[euicc]] section"
                ))
            }
            _ => io::Error::other(error),
        })
    }
}
