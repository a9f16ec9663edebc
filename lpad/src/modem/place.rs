//! The place of a port in the file system, and waiting until something happens there.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::runtime::watched;

/// The place of a port, and what was found there last.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: PathBuf,
    found: Option<Found>,
}

impl Place {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, found: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks what is there. Opening it may fail for that long as this stays as it is.
    pub(super) fn look(&mut self) {
        self.found = Found::at(&self.path);
    }

    /// Whether [`Self::look`] has found anything.
    pub(super) fn is_taken(&self) -> bool {
        self.found.is_some()
    }

    /// Waits until something else is there than [`Self::look`] has found, or a program that had it
    /// open has closed it. Without notices from the kernel that never ends.
    pub(super) async fn changed(&self) {
        match self.wait().await {
            // udev gives a new device its group and its names one after the other.
            Ok(()) => sleep(SETTLE).await,
            Err(error) => {
                tracing::debug!(%error, "the kernel does not tell when the port is back");
                std::future::pending().await
            }
        }
    }

    async fn wait(&self) -> io::Result<()> {
        loop {
            let watch = Watch::on(&self.path)?;
            // What has changed before there was a watch is seen here.
            if Found::at(&self.path) != self.found || watch.was_closed().await? {
                return Ok(());
            }
        }
    }
}

/// What is at a path, behind all symbolic links.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Found {
    file: (u64, u64),
    device: u64,
    /// Of a folder, which changes with what is in it.
    content: Option<(i64, i64)>,
    rights: (u32, u32, u32),
}

impl Found {
    fn at(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            device: metadata.rdev(),
            content: metadata
                .is_dir()
                .then(|| (metadata.mtime(), metadata.mtime_nsec())),
            rights: (metadata.mode(), metadata.uid(), metadata.gid()),
        })
    }
}

/// Watches over a path: its folders, those its symbolic links lead to, and what is at its end.
#[derive(Debug)]
struct Watch {
    inotify: AsyncFd<OwnedFd>,
    /// The number of the watch over what is at the end.
    end: Option<i32>,
}

impl Watch {
    fn on(path: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            // From the root on: a folder that is made where none was is seen in the one before.
            let mut folders: Vec<_> = path.ancestors().skip(1).collect();
            folders.reverse();
            for folder in folders {
                if inotify::add_watch(&inotify, folder, FOLDER_CHANGES).is_err() {
                    break;
                }
            }
            let Ok(target) = fs::read_link(&path) else {
                break;
            };
            path = path.with_file_name("").join(target);
        }
        let changes = match path.is_dir() {
            true => FOLDER_CHANGES,
            false => WatchFlags::CLOSE_WRITE,
        };
        let end = inotify::add_watch(&inotify, &path, changes).ok();
        let inotify = watched(inotify)?;
        Ok(Self { inotify, end })
    }

    /// Waits for a notice; says whether what is at the end was closed, or only a folder has changed.
    async fn was_closed(&self) -> io::Result<bool> {
        let mut octets = [MaybeUninit::uninit(); NOTICES];
        loop {
            let mut ready = self.inotify.readable().await?;
            let mut notices = inotify::Reader::new(self.inotify.get_ref(), &mut octets);
            let mut was_closed = false;
            loop {
                match notices.next() {
                    Ok(notice) => {
                        was_closed |= self.end == Some(notice.wd())
                            && notice.events().contains(ReadFlags::CLOSE_WRITE);
                    }
                    Err(Errno::AGAIN) => break ready.clear_ready(),
                    Err(error) => return Err(error.into()),
                }
                if notices.is_buffer_empty() {
                    return Ok(was_closed);
                }
            }
        }
    }
}

/// What may bring a path into being, or give its end other rights.
const FOLDER_CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);
/// Symbolic links that are followed from a name in `/dev/serial/by-id` on.
const MOST_LINKS: usize = 8;
/// Octets of notices that are read at once; a single one has less than 300.
const NOTICES: usize = 1024;
/// What a device needs after it has appeared.
const SETTLE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tokio::time::timeout;

    use super::*;

    /// Does something to a place that was looked at, and waits until that is noticed.
    async fn noticed(path: &Path, happens: impl FnOnce()) {
        let mut place = Place::new(path.to_owned());
        place.look();
        let happens = async {
            // Once to let the wait begin.
            tokio::task::yield_now().await;
            happens();
        };
        let both = async { tokio::join!(place.wait(), happens).0 };
        timeout(LONGEST, both)
            .await
            .expect("it is noticed")
            .unwrap();
    }

    #[tokio::test]
    async fn a_port_that_appears_with_all_its_folders_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let names = folder.path().join("serial/by-id");
        noticed(&names.join("modem"), || {
            fs::create_dir_all(&names).unwrap();
            fs::write(folder.path().join("ttyUSB2"), "").unwrap();
            symlink("../../ttyUSB2", names.join("modem")).unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_device_that_appears_under_a_name_that_was_there_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        symlink("pts/4", folder.path().join("modem")).unwrap();
        noticed(&folder.path().join("modem"), || {
            fs::create_dir(folder.path().join("pts")).unwrap();
            fs::write(folder.path().join("pts/4"), "").unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_name_that_leads_elsewhere_now_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("ttyUSB2"), "").unwrap();
        fs::write(at("ttyUSB6"), "").unwrap();
        symlink("ttyUSB2", at("modem")).unwrap();
        noticed(&at("modem"), || {
            symlink("ttyUSB6", at("new")).unwrap();
            fs::rename(at("new"), at("modem")).unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_port_that_may_be_opened_now_or_is_closed_by_others_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("ttyUSB2");
        fs::write(&port, "").unwrap();
        noticed(&port, || {
            fs::set_permissions(&port, fs::Permissions::from_mode(0o660)).unwrap();
        })
        .await;
        let other = fs::OpenOptions::new().write(true).open(&port).unwrap();
        noticed(&port, || drop(other)).await;
    }

    #[tokio::test]
    async fn a_folder_that_holds_something_else_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        noticed(folder.path(), || {
            fs::write(folder.path().join("ttyUSB2"), "").unwrap()
        })
        .await;
    }

    #[tokio::test]
    async fn what_happens_beside_it_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("ttyUSB2"));
        let mut wait = std::pin::pin!(place.wait());
        for number in 3..9 {
            assert!(timeout(Duration::ZERO, wait.as_mut()).await.is_err());
            fs::write(folder.path().join(format!("ttyUSB{number}")), "").unwrap();
        }
        fs::write(folder.path().join("ttyUSB2"), "").unwrap();
        timeout(LONGEST, wait)
            .await
            .expect("it is noticed")
            .unwrap();
    }

    const LONGEST: Duration = Duration::from_secs(30);
}
