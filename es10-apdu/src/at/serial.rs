//! Opening a serial port for an AT dialogue.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, major, minor};
use rustix::io::Errno;
use rustix::termios::{self, ControlModes, OptionalActions};
use serialport::TTYPort;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A serial port, opened for this process alone and without any treatment of the bytes.
///
/// It is a terminal, or the AT port of a modem on PCIe (`/dev/wwan0at0`), which is none.
///
/// A hung-up device reads as end of file or fails with `EIO`; both become
/// [`Fault::Closed`](crate::transport::Fault::Closed) in [`AtPort`](super::AtPort).
#[derive(Debug)]
pub struct Serial {
    /// Reads and writes: the same device, non-blocking.
    device: AsyncFd<File>,
    /// Holds the locks of a terminal, and gives them up when dropped.
    _lock: Option<TTYPort>,
}

impl Serial {
    /// Opens the port at `path` (symbolic links such as those in `/dev/serial/by-id` are
    /// followed). A terminal is set to 8 data bits, no parity, one stop bit and no flow control. It
    /// is taken with `TIOCEXCL` and `flock`, and refused when another program has it.
    pub fn open(path: &Path, baud_rate: u32) -> Result<Self, SerialError> {
        let error = |cause: SerialCause| SerialError {
            port: path.to_owned(),
            cause,
        };
        // Both descriptors must be of one device even if a link is re-pointed in between.
        let device = path.canonicalize().map_err(|cause| error(cause.into()))?;
        Self::open_device(&device, baud_rate)
            .map_err(|cause| match cause {
                SerialCause::Busy(None) => SerialCause::Busy(Holder::of(&device)),
                cause => cause,
            })
            .map_err(error)
    }

    fn open_device(device: &Path, baud_rate: u32) -> Result<Self, SerialCause> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(device, flags, Mode::empty())
            .map(File::from)
            .map_err(io::Error::from)?;
        if Wwan::of(&file).check()? {
            return Self::over_wwan(file);
        }
        let lock = serialport::new(device.to_string_lossy(), baud_rate).open_native()?;
        keep_lines_up_after_close(&file);
        Self::over(file, Some(lock))
    }

    /// A port of the kernel's WWAN framework has neither rate nor modem lines, and answers the
    /// system calls for terminals with errors; it does not know `TIOCEXCL` either.
    fn over_wwan(file: File) -> Result<Self, SerialCause> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Err(SerialCause::Busy(None)),
            Err(errno) => Err(io::Error::from(errno).into()),
            Ok(()) => Self::over(file, None),
        }
    }

    fn over(file: File, lock: Option<TTYPort>) -> Result<Self, SerialCause> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe and asks only for what a File holds anyway"
        )]
        let device = AsyncFd::new(file)?;
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
    #[error("{}", busy(.0.as_ref()))]
    Busy(Option<Holder>),
    /// No such device: unplugged, or not there yet.
    #[error("there is no such device; is the modem plugged in and powered?")]
    Missing,
    /// A port of the modem that does not speak AT, such as MBIM.
    #[error("it is the modem's {0} port, not its AT port")]
    NotAt(String),
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
            (Some(Errno::BUSY), _) => Self::Busy(None),
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
            serialport::ErrorKind::NoDevice => Self::Busy(None),
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

fn busy(holder: Option<&Holder>) -> String {
    let (holder, is_modem_manager) = match holder {
        Some(holder) => (format!("{holder} uses it"), holder.name == MODEM_MANAGER),
        None => (
            format!("another program uses it, most often {MODEM_MANAGER}"),
            true,
        ),
    };
    match is_modem_manager {
        true => format!(
            "{holder}; tell it to leave this port alone with a udev rule that sets \
             ENV{{ID_MM_PORT_IGNORE}}=\"1\""
        ),
        false => holder,
    }
}

/// A process that has a port open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// What it is called.
    pub name: String,
}

impl Holder {
    /// A process that has the device open; `None` when there is none, or it is hidden from this
    /// user. `device` has no symbolic links in it.
    pub fn of(device: &Path) -> Option<Self> {
        let mut processes = fs::read_dir("/proc").ok()?.flatten();
        processes.find_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let mut open = fs::read_dir(process.path().join("fd")).ok()?.flatten();
            // The links are only read: to follow one may take as long as the device likes.
            open.find(|file| fs::read_link(file.path()).is_ok_and(|path| path == device))?;
            let name = fs::read_to_string(process.path().join("comm")).ok()?;
            let name = name.trim_end().replace(char::is_control, "?");
            Some(Self { pid, name })
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// What the kernel's WWAN framework says of a device: nothing, if the device is not one of its
/// ports.
#[derive(Debug, Default)]
struct Wwan(Option<String>);

impl Wwan {
    fn of(device: &File) -> Self {
        let Ok(stat) = fstat(device) else {
            return Self::default();
        };
        let device = format!("{}:{}", major(stat.st_rdev), minor(stat.st_rdev));
        Self::in_folder(&Path::new("/sys/dev/char").join(device))
    }

    fn in_folder(device: &Path) -> Self {
        let class = fs::read_link(device.join("subsystem"));
        if !class.is_ok_and(|class| class.ends_with("wwan")) {
            return Self::default();
        }
        Self(Some(
            fs::read_to_string(device.join("type")).unwrap_or_default(),
        ))
    }

    /// Whether it is a port of the framework; one that speaks something else than AT is an error.
    fn check(self) -> Result<bool, SerialCause> {
        match self.0.as_deref().map(str::trim) {
            None => Ok(false),
            // Before it told the type, the framework told it by the name alone.
            Some("" | "AT") => Ok(true),
            Some(kind) => Err(SerialCause::NotAt(kind.to_owned())),
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

const MODEM_MANAGER: &str = "ModemManager";

#[cfg(test)]
mod tests {
    use std::io::pipe;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A pipe opened once more, for reading and writing: like a WWAN port, it is no terminal.
    fn no_terminal(pipe: &impl AsRawFd) -> File {
        let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
        let flags = OFlags::RDWR | OFlags::NONBLOCK;
        rustix::fs::open(path, flags, Mode::empty()).unwrap().into()
    }

    #[tokio::test]
    async fn a_wwan_port_is_read_and_written_without_being_a_terminal() {
        let (pipe, _writer) = pipe().unwrap();
        let mut port = Serial::over_wwan(no_terminal(&pipe)).unwrap();
        port.write_all(b"AT\r").await.unwrap();
        let mut octets = [0; 3];
        port.read_exact(&mut octets).await.unwrap();
        assert_eq!(&octets, b"AT\r");
    }

    #[tokio::test]
    async fn a_wwan_port_is_for_one_program() {
        let (pipe, _writer) = pipe().unwrap();
        let first = Serial::over_wwan(no_terminal(&pipe)).unwrap();
        let second = Serial::over_wwan(no_terminal(&pipe));
        assert!(matches!(second, Err(SerialCause::Busy(None))), "{second:?}");
        drop(first);
        Serial::over_wwan(no_terminal(&pipe)).unwrap();
    }

    #[test]
    fn the_kernel_tells_a_modems_at_port_from_its_others_and_from_other_devices() {
        let folder = tempfile::tempdir().unwrap();
        let device = |name: &str, class: &str, kind: Option<&str>| {
            let device = folder.path().join(name);
            fs::create_dir_all(&device).unwrap();
            symlink(
                Path::new("../../../class").join(class),
                device.join("subsystem"),
            )
            .unwrap();
            if let Some(kind) = kind {
                fs::write(device.join("type"), kind).unwrap();
            }
            Wwan::in_folder(&device).check()
        };
        assert!(device("244:0", "wwan", Some("AT\n")).unwrap());
        assert!(device("244:1", "wwan", None).unwrap());
        assert!(!device("1:3", "mem", None).unwrap());
        assert!(!device("188:2", "tty", Some("16")).unwrap());
        let mbim = device("244:2", "wwan", Some("MBIM\n")).unwrap_err();
        assert_eq!(
            mbim.to_string(),
            "it is the modem's MBIM port, not its AT port"
        );
    }

    #[test]
    fn who_has_a_file_open_is_named() {
        let open = File::open("/proc/self/exe").unwrap();
        let path = fs::read_link(format!("/proc/self/fd/{}", open.as_raw_fd())).unwrap();
        let holder = Holder::of(&path).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(
            !holder.name.is_empty() && !holder.name.contains('\n'),
            "{holder}"
        );
        assert_eq!(Holder::of(Path::new("/nowhere")), None);
    }

    #[test]
    fn advice_about_modem_manager_is_for_modem_manager() {
        let (pid, advice) = (812, "ID_MM_PORT_IGNORE");
        let holder = |name: &str| {
            Some(Holder {
                pid,
                name: name.to_owned(),
            })
        };
        let busy = |holder| SerialCause::Busy(holder).to_string();
        assert_eq!(busy(holder("minicom")), "minicom (process 812) uses it");
        let modem_manager = busy(holder(MODEM_MANAGER));
        assert!(modem_manager.starts_with("ModemManager (process 812) uses it; tell it"));
        assert!(modem_manager.contains(advice) && busy(None).contains(advice));
    }

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
