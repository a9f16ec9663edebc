//! The socket: made, replaced when a killed daemon left one, made again when it is removed.

use std::fs::{self, File, Permissions as Mode};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode as Umask, inotify};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::net::unix::pipe::Receiver;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep_until};

use super::actor::Accounts;
use crate::config::ApiConfig;

/// The socket the API is served on.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    /// What it takes to make it again; nothing for a socket that belongs to another process.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    config: ApiConfig,
    file: FileId,
    /// Tells when something leaves the socket's folder or comes into it; nothing where the kernel
    /// cannot.
    folder: Option<Receiver>,
    /// When making it again is tried next, after that failed.
    retry: Option<Instant>,
}

impl Socket {
    /// A socket that another process made and keeps, as systemd does.
    pub fn handed_over(listener: UnixListener) -> Self {
        Self {
            listener,
            own: None,
        }
    }

    /// Makes the socket: only root, the daemon's user and the admin group can open it.
    ///
    /// A socket without a listener is what a killed daemon leaves, and is replaced.
    pub fn bind(config: &ApiConfig) -> io::Result<Self> {
        let listener = bind(config)?;
        let own = Own {
            config: config.clone(),
            file: FileId::of(&config.socket)?,
            folder: watch(&config.socket),
            retry: None,
        };
        Ok(Self {
            listener,
            own: Some(own),
        })
    }

    /// Fails when no socket can be made in this place until somebody changes what is there.
    pub(crate) fn can_be_at(path: &Path) -> io::Result<()> {
        must_be_guarded(&folder(path))?;
        is_left_over(path).map(drop)
    }

    /// The next client.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Resolves when the socket's file is gone, so that no client can reach the daemon any more.
    pub(super) async fn lost(&self) {
        let Some(own) = &self.own else {
            return std::future::pending().await;
        };
        if let Some(retry) = own.retry {
            return sleep_until(retry).await;
        }
        while own.is_there() {
            own.something_changed().await;
        }
    }

    /// Makes the socket again after it was [lost](Self::lost), and says so in the log.
    pub(super) fn make_again(&mut self) {
        let Some(own) = &mut self.own else {
            return;
        };
        let path = own.config.socket.display().to_string();
        match Self::bind(&own.config) {
            Ok(socket) => {
                tracing::warn!(path, "the socket was removed and is made again");
                *self = socket;
            }
            Err(error) => {
                match own.retry {
                    None => {
                        tracing::error!(path, %error, "the socket was removed and cannot be made again");
                    }
                    Some(_) => tracing::debug!(path, %error, "the socket still cannot be made"),
                }
                own.retry = Some(Instant::now() + RETRY);
            }
        }
    }
}

impl Own {
    fn is_there(&self) -> bool {
        FileId::of(&self.config.socket).is_ok_and(|file| file == self.file)
    }

    async fn something_changed(&self) {
        let Some(folder) = &self.folder else {
            return std::future::pending().await;
        };
        if folder.readable().await.is_err() {
            return std::future::pending().await;
        }
        // What it was does not matter: the file itself is looked at.
        let mut events = [0; 4096];
        while folder.try_read(&mut events).is_ok_and(|length| length > 0) {}
    }
}

/// Which file a path names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

fn watch(socket: &Path) -> Option<Receiver> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags};
    // What comes may have taken its place.
    let changes = WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::CREATE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    let watched = || {
        let folder = folder(socket);
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&events, &folder, changes)?;
        // Read as a pipe is: octets come when something happened.
        Receiver::from_file_unchecked(File::from(events))
    };
    let watched = watched();
    if let Err(error) = &watched {
        tracing::info!(%error, "it will not be noticed when the socket is removed");
    }
    watched.ok()
}

fn folder(socket: &Path) -> PathBuf {
    match socket.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn bind(config: &ApiConfig) -> io::Result<UnixListener> {
    let path = &config.socket;
    must_be_guarded(&folder(path))?;
    remove_stale(path)?;
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        fs::create_dir_all(directory)?;
    }
    // No other user may connect before the permissions are set.
    let umask = rustix::process::umask(Umask::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(umask);
    let listener = listener?;
    let group = match config.reader_group {
        // Two groups cannot own one file; SO_PEERCRED sorts the callers out.
        Some(_) => None,
        None => Accounts::read().group_id(&config.admin_group),
    };
    // Most often it is the daemon's own group already, and under its unit it may not change groups.
    if let Some(group) = group
        && fs::symlink_metadata(path)?.gid() != group
        && let Err(error) = chown(path, None, Some(group))
    {
        tracing::warn!(group = config.admin_group, %error, "the socket stays with its group");
    }
    let mode = if config.reader_group.is_some() {
        0o666
    } else {
        0o660
    };
    fs::set_permissions(path, Mode::from_mode(mode))?;
    Ok(listener)
}

/// Who can put another socket in this one's place is told what clients would tell lpad, codes too. In a
/// folder like `/tmp` only the owner of a file can.
fn must_be_guarded(folder: &Path) -> io::Result<()> {
    let mode = match fs::metadata(folder) {
        Ok(metadata) => metadata.mode() & 0o7777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if mode & 0o1002 != 0o002 {
        return Ok(());
    }
    let folder = folder.display();
    let why = format!("every user may write to {folder} (mode {mode:04o}); chmod o-w it");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Whether a socket is in this place; fails when something else is.
fn is_left_over(path: &Path) -> io::Result<bool> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match kind.is_socket() {
        true => Ok(true),
        false => {
            let message = format!("{} exists and is no socket", path.display());
            Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    if !is_left_over(path)? {
        return Ok(());
    }
    // Without NONBLOCK this waits for ever when the listener's queue is full.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let taken = |how: &str| {
        let message = format!("another lpad listens on {}{how}", path.display());
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    };
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(rustix::io::Errno::CONNREFUSED) => fs::remove_file(path),
        Err(rustix::io::Errno::AGAIN) => taken(" and does not answer"),
        Err(error) => Err(error.into()),
        Ok(()) => taken(""),
    }
}

/// How long after a failure the socket is tried to be made again.
const RETRY: Duration = Duration::from_secs(10);
