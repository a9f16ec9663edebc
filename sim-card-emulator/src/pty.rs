//! A pseudo terminal in place of a modem's serial port.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

use crate::modem::{self, Card, Ended, Modem};

/// Serves a modem on one terminal after the other, each published at `link`: a modem that hangs up
/// takes its terminal away, and comes back like one plugged in again once it was absent for long
/// enough.
///
/// With a `baud_rate` the line is a UART of that rate, see [`modem::serve`], and bytes are lost
/// between it and a client that has set another one.
///
/// # Errors
/// When a terminal cannot be opened or fails.
///
/// # Cancel safety
/// The terminal is gone then; the modem can be served again.
pub async fn serve<C: Card>(
    modem: &mut Modem<C>,
    link: &Path,
    baud_rate: Option<u32>,
) -> io::Result<Infallible> {
    loop {
        let pty = Pty::open(link)?;
        modem.control().follow_client_rate(pty.rate());
        tracing::info!(link = %link.display(), "the modem is ready");
        match modem::serve(modem, pty, baud_rate).await? {
            Ended::ClientGone => {}
            Ended::HungUp { absent } => sleep(absent).await,
        }
    }
}

/// The modem's side of a pseudo terminal whose other side a client finds at a path.
///
/// Dropping it is what unplugging is to a client: end of file on reading, `EIO` on writing.
#[derive(Debug)]
pub struct Pty {
    master: AsyncFd<File>,
    /// Keeps the terminal alive, and its settings raw, while no client has it open.
    slave: Arc<OwnedFd>,
    device: PathBuf,
    link: PathBuf,
}

impl Pty {
    /// Makes a pseudo terminal and publishes it at `link`, a symbolic link that is put in place of
    /// an earlier one in one step.
    ///
    /// # Errors
    /// When the system gives no pseudo terminal, or something other than a symbolic link is at
    /// `link`.
    pub fn open(link: &Path) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        // Before a client knows the path: a fresh terminal echoes what the modem says back to it.
        let mut attributes = tcgetattr(&slave)?;
        attributes.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &attributes)?;
        fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
        let name = ptsname(&master, Vec::new())?;
        let device = PathBuf::from(OsString::from_vec(name.into_bytes()));
        #[expect(
            deprecated,
            reason = "its successor is unsafe and asks only for what a File holds anyway"
        )]
        let master = AsyncFd::new(File::from(master))?;
        publish(&device, link)?;
        Ok(Self {
            master,
            slave: Arc::new(slave),
            device,
            link: link.to_owned(),
        })
    }

    /// The terminal's own path, which changes with every one.
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Tells at which rate the client works its side of the terminal, in bits per second, for
    /// [`crate::modem::ModemControl::follow_client_rate`]; `None` once the terminal is gone.
    pub fn rate(&self) -> impl Fn() -> Option<u32> + Send + use<> {
        let slave = Arc::downgrade(&self.slave);
        move || {
            let attributes = tcgetattr(slave.upgrade()?).ok()?;
            Some(attributes.output_speed()).filter(|rate| *rate != 0)
        }
    }

    /// The kernel keeps a pseudo terminal exclusive (`TIOCEXCL`) after its last client is gone,
    /// where a real one forgets it: a client that was killed would lock out the next one. So
    /// exclusiveness is lifted as soon as a client has said something; its `flock` remains.
    fn lift_exclusiveness(&self) {
        // It cannot fail on a terminal, and nothing would be lost.
        let _ = ioctl_tiocnxcl(&*self.slave);
    }
}

impl AsyncRead for Pty {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.master.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            // `Err` says that the terminal was not ready after all.
            if let Ok(result) = guard.try_io(|master| master.get_ref().read(room)) {
                self.lift_exclusiveness();
                return Poll::Ready(result.map(|count| buffer.advance(count)));
            }
        }
    }
}

impl AsyncWrite for Pty {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.master.poll_write_ready(cx))?;
            if let Ok(result) = guard.try_io(|master| master.get_ref().write(bytes)) {
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

impl Drop for Pty {
    fn drop(&mut self) {
        // Another one may have been published there meanwhile.
        if fs::read_link(&self.link).is_ok_and(|target| target == self.device) {
            let _ = fs::remove_file(&self.link);
        }
    }
}

/// Puts a symbolic link to `device` at `link`, never leaving the place empty.
fn publish(device: &Path, link: &Path) -> io::Result<()> {
    if fs::symlink_metadata(link).is_ok_and(|found| !found.is_symlink()) {
        let found = format!("{} exists and is no symbolic link", link.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, found));
    }
    let mut temporary = link.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    // Left by a process of the same number that was killed in between.
    let _ = fs::remove_file(&temporary);
    symlink(device, &temporary)?;
    fs::rename(&temporary, link)
}

#[cfg(test)]
mod tests {
    use es10_apdu::at::{Serial, SerialCause};
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Directory(TempDir);

    impl Directory {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn link(&self) -> PathBuf {
            self.0.path().join("modem")
        }
    }

    #[tokio::test]
    async fn bytes_pass_unchanged_both_ways_and_nothing_is_echoed() {
        let directory = Directory::new();
        let mut pty = Pty::open(&directory.link()).unwrap();
        pty.write_all(b"\r\nRDY\r\n").await.unwrap();
        let mut client = Serial::open(&directory.link(), 115_200).unwrap();
        client.write_all(b"AT\r\x03\x11").await.unwrap();
        let mut bytes = [0; 5];
        pty.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"AT\r\x03\x11");
        let mut stale = [0; 7];
        client.read_exact(&mut stale).await.unwrap();
        assert_eq!(&stale, b"\r\nRDY\r\n");
    }

    #[tokio::test]
    async fn a_second_client_is_told_that_the_port_is_in_use() {
        let directory = Directory::new();
        let pty = Pty::open(&directory.link()).unwrap();
        let first = Serial::open(&directory.link(), 115_200).unwrap();
        pty.lift_exclusiveness();
        let error = Serial::open(&directory.link(), 115_200).unwrap_err();
        assert!(matches!(error.cause, SerialCause::Busy(_)), "{error}");
        let holder = format!("(process {}) uses it", std::process::id());
        assert!(error.to_string().contains(&holder), "{error}");
        drop(first);
        Serial::open(&directory.link(), 115_200).unwrap();
    }

    #[tokio::test]
    async fn a_dropped_terminal_is_an_unplugged_one() {
        let directory = Directory::new();
        let pty = Pty::open(&directory.link()).unwrap();
        let client = Serial::open(&directory.link(), 115_200).unwrap();
        drop(pty);
        let mut port = es10_apdu::at::AtPort::new(client);
        assert_eq!(port.idle().await, es10_apdu::transport::Fault::Closed);
        assert!(fs::symlink_metadata(directory.link()).is_err());
    }

    #[tokio::test]
    async fn the_clients_rate_can_be_seen() {
        let directory = Directory::new();
        let pty = Pty::open(&directory.link()).unwrap();
        let rate = pty.rate();
        for baud in [9600, 115_200] {
            let _client = Serial::open(&directory.link(), baud).unwrap();
            assert_eq!(rate(), Some(baud));
            pty.lift_exclusiveness();
        }
        drop(pty);
        assert_eq!(rate(), None);
    }

    /// A card that agrees with everything.
    struct Yes;

    impl Card for Yes {
        fn transmit(&mut self, _: &[u8]) -> Vec<u8> {
            vec![0x90, 0x00]
        }

        fn reset(&mut self) {}
    }

    /// Waits until another terminal than `earlier` is published.
    async fn published(link: &Path, earlier: Option<PathBuf>) -> PathBuf {
        loop {
            match fs::read_link(link) {
                Ok(device) if Some(&device) != earlier.as_ref() => return device,
                _ => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn a_restart_takes_the_terminal_away_and_brings_another_under_the_same_link() {
        let directory = Directory::new();
        let link = directory.link();
        let mut modem = Modem::new(Yes, modem::Identity::default());
        modem.control().set_quirks(|quirks| {
            quirks.add("restart-leaves-after=0ms").unwrap();
            quirks.add("restart-absent=0ms").unwrap();
        });
        let served = link.clone();
        tokio::spawn(async move { serve(&mut modem, &served, None).await });
        let device = published(&link, None).await;
        // Held open, so that the kernel gives its number to no other.
        let mut client = Serial::open(&link, 115_200).unwrap();
        client.write_all(b"AT+CFUN=1,1\r").await.unwrap();
        let mut port = es10_apdu::at::AtPort::new(client);
        assert_eq!(port.idle().await, es10_apdu::transport::Fault::Closed);
        assert_ne!(published(&link, Some(device.clone())).await, device);
        let mut client = Serial::open(&link, 115_200).unwrap();
        let mut ready = [0; 7];
        client.read_exact(&mut ready).await.unwrap();
        assert_eq!(&ready, b"\r\nRDY\r\n");
    }

    #[tokio::test]
    async fn a_link_is_replaced_and_a_file_is_not() {
        let directory = Directory::new();
        let first = Pty::open(&directory.link()).unwrap();
        let second = Pty::open(&directory.link()).unwrap();
        drop(first);
        assert_eq!(fs::read_link(directory.link()).unwrap(), second.device());
        let file = directory.0.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(Pty::open(&file).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}
