//! Opening a serial port for an AT dialogue.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{self, ControlModes, OptionalActions};
use serialport::TTYPort;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A serial port, opened for this process alone and without any treatment of the bytes.
///
/// A hung-up device reads as end of file or fails with `EIO`; both become
/// [`Fault::Closed`](crate::transport::Fault::Closed) in [`AtPort`](super::AtPort).
#[derive(Debug)]
pub struct Serial {
    /// Reads and writes: the same terminal, non-blocking.
    device: AsyncFd<File>,
    /// Holds the locks, and gives them up when dropped.
    _lock: TTYPort,
}

impl Serial {
    /// Opens the terminal at `path` (symbolic links such as those in `/dev/serial/by-id` are
    /// followed), with 8 data bits, no parity, one stop bit and no flow control. It is taken with
    /// `TIOCEXCL` and `flock`, and refused when another program has it.
    pub fn open(path: &Path, baud_rate: u32) -> Result<Self, SerialError> {
        let error = |cause: SerialCause| SerialError {
            port: path.to_owned(),
            cause,
        };
        // Both descriptors must be of one device even if a link is re-pointed in between.
        let device = path.canonicalize().map_err(|cause| error(cause.into()))?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(&device, flags, Mode::empty())
            .map(File::from)
            .map_err(|errno| error(io::Error::from(errno).into()))?;
        let lock = serialport::new(device.to_string_lossy(), baud_rate)
            .open_native()
            .map_err(|cause| error(cause.into()))?;
        keep_lines_up_after_close(&file);
        #[expect(
            deprecated,
            reason = "its successor is unsafe and asks only for what a File holds anyway"
        )]
        let device = AsyncFd::new(file).map_err(|cause| error(cause.into()))?;
        Ok(Self {
            device,
            _lock: lock,
        })
    }
}

impl AsyncRead for Serial {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.device.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            // `Err` says that the port was not ready after all.
            if let Ok(result) = guard.try_io(|device| device.get_ref().read(room)) {
                return Poll::Ready(result.map(|count| buffer.advance(count)));
            }
        }
    }
}

impl AsyncWrite for Serial {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.device.poll_write_ready(cx))?;
            if let Ok(result) = guard.try_io(|device| device.get_ref().write(bytes)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A serial port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {}: {cause}", port.display())]
pub struct SerialError {
    /// The path as it was asked for.
    pub port: PathBuf,
    /// Why.
    #[source]
    pub cause: SerialCause,
}

/// Why a serial port could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SerialCause {
    /// Another program has it.
    #[error(
        "another program uses it, most often ModemManager; tell it to leave this port alone with \
         a udev rule that sets ENV{{ID_MM_PORT_IGNORE}}=\"1\""
    )]
    Busy,
    /// No such device: unplugged, or not there yet.
    #[error("there is no such device; is the modem plugged in and powered?")]
    Missing,
    /// This user may not.
    #[error("permission denied; the user needs to be in the group that owns it, often dialout")]
    Permission,
    /// Something that is not a terminal.
    #[error("it is not a serial port")]
    NotATerminal,
    /// Any other error of the operating system.
    #[error("{0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for SerialCause {
    fn from(error: io::Error) -> Self {
        match (Errno::from_io_error(&error), error.kind()) {
            (Some(Errno::BUSY), _) => Self::Busy,
            (Some(Errno::NXIO | Errno::NODEV), _) | (_, io::ErrorKind::NotFound) => Self::Missing,
            (Some(Errno::NOTTY), _) => Self::NotATerminal,
            (_, io::ErrorKind::PermissionDenied) => Self::Permission,
            _ => Self::Io(error),
        }
    }
}

impl From<serialport::Error> for SerialCause {
    fn from(error: serialport::Error) -> Self {
        match error.kind() {
            // That is how serialport reports a lock held by another program.
            serialport::ErrorKind::NoDevice => Self::Busy,
            serialport::ErrorKind::Io(kind) => io::Error::new(kind, error.description).into(),
            _ if error.description.starts_with("Not a typewriter")
                || error.description.starts_with("Inappropriate ioctl") =>
            {
                Self::NotATerminal
            }
            _ => Self::Io(io::Error::other(error.description)),
        }
    }
}

/// Without HUPCL, so that closing the port does not drop DTR and with it a data call. Devices that
/// have no such lines refuse, which is no matter.
fn keep_lines_up_after_close(file: &File) {
    if let Ok(mut attributes) = termios::tcgetattr(file) {
        attributes.control_modes &= !ControlModes::HUPCL;
        let _ = termios::tcsetattr(file, OptionalActions::Now, &attributes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_port_is_named() {
        let error = Serial::open(Path::new("/dev/serial/by-id/usb-Fake"), 115_200).unwrap_err();
        assert!(matches!(error.cause, SerialCause::Missing), "{error}");
        assert!(error.to_string().contains("/dev/serial/by-id/usb-Fake"));
    }

    #[tokio::test]
    async fn a_device_that_is_no_terminal_is_refused() {
        let error = Serial::open(Path::new("/dev/null"), 115_200).unwrap_err();
        assert!(matches!(error.cause, SerialCause::NotATerminal), "{error}");
    }
}
