//! The state folder: one daemon at a time holds it, and its files are opened with care.
//!
//! The folder may lie on a medium that others write to. A file in it is used only when it is a regular
//! file of the daemon's own user: a symbolic link would let another file be overwritten, and opening
//! a pipe or a device might never return.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

use crate::files::{kind, other_kind};

/// The state folder, held by this daemon alone until it is dropped.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    lock: Arc<Mutex<Lock>>,
}

impl StateFolder {
    /// Makes the folder when it is missing, and holds it.
    pub fn hold(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            lock: Arc::new(Mutex::new(hold(path)?)),
        })
    }

    /// The folder for those who write in it while it is held.
    pub(super) fn held(&self) -> HeldFolder {
        HeldFolder {
            path: self.path.clone(),
            lock: Arc::downgrade(&self.lock),
        }
    }
}

/// The folder as long as the daemon holds it: what is left of one that has ended writes nothing.
#[derive(Clone, Debug)]
pub(super) struct HeldFolder {
    path: PathBuf,
    lock: Weak<Mutex<Lock>>,
}

impl HeldFolder {
    /// The path of a file in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Fails when the daemon does not hold the folder any more.
    pub(super) fn must_be_held(&self) -> io::Result<()> {
        self.lock().map(drop)
    }

    /// Makes the folder again, and holds it again, when it was removed.
    pub(super) fn restore(&self) -> io::Result<()> {
        let lock = self.lock()?;
        let mut lock = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_file_at(&lock.file, &self.join(LOCK)) {
            *lock = hold(&self.path)?;
        }
        Ok(())
    }

    /// Waits until the medium has the names of the files.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// The names of the files that begin with `prefix` and end in a number, by number.
    pub(super) fn numbered(&self, prefix: &str) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                found.push((number, self.path.join(&name)));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn lock(&self) -> io::Result<Arc<Mutex<Lock>>> {
        let lock = self.lock.upgrade();
        lock.ok_or_else(|| io::Error::other("this daemon has ended"))
    }
}

/// Whether a daemon holds this folder, as far as may be seen. Nothing is changed.
pub(crate) fn is_held(folder: &Path) -> bool {
    let Ok(file) = File::open(folder.join(LOCK)) else {
        return false;
    };
    // Given up with the file.
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

/// The locked file.
#[derive(Debug)]
struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Closing the file is not enough: a process that is being started holds copies of all open files
    /// until it executes its program, and the lock with them.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn hold(folder: &Path) -> io::Result<Lock> {
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    must_be_guarded(folder)?;
    let file = open_own(&folder.join(LOCK))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { file }),
        Err(Errno::WOULDBLOCK) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another lpad keeps its state here",
        )),
        Err(error) => Err(error.into()),
    }
}

/// Who may write to the folder can put other files in the place of its own.
fn must_be_guarded(folder: &Path) -> io::Result<()> {
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    let metadata = fs::metadata(folder)?;
    if let Err(why) = can_be_own(folder, &metadata) {
        return refused(why);
    }
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    match owner == own {
        true => Ok(()),
        false => refused(format!(
            "it belongs to user {owner}, and lpad runs as user {own}"
        )),
    }
}

/// Whether it is a folder that nobody else writes to, whoever owns it; else why not.
pub(crate) fn can_be_own(folder: &Path, metadata: &fs::Metadata) -> Result<(), String> {
    let mode = metadata.mode() & 0o7777;
    let is_root = fs::canonicalize(folder).is_ok_and(|path| path.parent().is_none());
    match mode & 0o022 {
        _ if !metadata.is_dir() => {
            let kind = kind(metadata.file_type());
            Err(format!(
                "it is {kind}, not a folder; name a folder that is lpad's alone"
            ))
        }
        _ if is_root => {
            Err("it is the root of the file system; name a folder that is lpad's alone".to_owned())
        }
        0 => Ok(()),
        // It is there for others.
        _ if mode & 0o1000 != 0 => Err(format!(
            "everybody may write to it (mode {mode:04o}); name a folder that is lpad's alone"
        )),
        _ => Err(format!(
            "others may write to it (mode {mode:04o}); chmod 700 it if it is lpad's alone, or name \
             another one"
        )),
    }
}

/// Opens a regular file of the daemon's own user for reading and appending, and makes it when it is
/// missing. Never waits, whatever the name stands for.
pub(super) fn open_own(path: &Path) -> io::Result<File> {
    // Opening some devices has effects, so that what is there is looked at first.
    match fs::symlink_metadata(path) {
        Ok(metadata) => must_be_own(path, &metadata)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE;
    let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, flags | careful, Mode::RUSR | Mode::WUSR)?);
    // It may have been exchanged in between.
    let metadata = file.metadata()?;
    must_be_own(path, &metadata)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
        let (path, mode) = (path.display(), format!("{mode:04o}"));
        tracing::warn!(%path, mode, "others could use this file of lpad's; it has mode 0600 now");
    }
    Ok(file)
}

fn must_be_own(path: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().display();
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if let Some(kind) = other_kind(metadata.file_type()) {
        return refused(format!("{name} is {kind}, not a file; remove it"));
    }
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != own {
        return refused(format!(
            "{name} belongs to user {owner}, and lpad runs as user {own}"
        ));
    }
    Ok(())
}

/// Whether `path` still names this file.
pub(super) fn is_file_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let open = file.metadata().map(identity);
    let named = fs::symlink_metadata(path).map(identity);
    matches!((open, named), (Ok(open), Ok(named)) if open == named)
}

/// Name of the file whose lock is held.
const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_at_a_time_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = StateFolder::hold(&path).unwrap();
        let refused = StateFolder::hold(&path).unwrap_err();
        assert_eq!(refused.to_string(), "another lpad keeps its state here");
        let held = first.held();
        assert!(held.must_be_held().is_ok());
        drop(first);
        assert!(held.must_be_held().is_err());
        StateFolder::hold(&path).unwrap();
    }

    #[test]
    fn a_copy_of_the_locked_file_in_a_process_being_started_does_not_hold_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateFolder::hold(folder.path()).unwrap();
        let _copy = first.lock.lock().unwrap().file.try_clone().unwrap();
        drop(first);
        StateFolder::hold(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_was_removed_is_made_and_held_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = StateFolder::hold(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
        first.held().restore().unwrap();
        assert!(StateFolder::hold(&path).is_err());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, why) in [
            (0o777, "chmod 700 it if it is lpad's alone"),
            (0o770, "chmod 700 it if it is lpad's alone"),
            (0o702, "chmod 700 it if it is lpad's alone"),
            (0o1777, "name a folder that is lpad's alone"),
        ] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            let refused = StateFolder::hold(folder.path()).unwrap_err().to_string();
            let why = format!("may write to it (mode {mode:04o}); {why}");
            assert!(refused.contains(&why), "{refused}");
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        StateFolder::hold(folder.path()).unwrap();
    }

    #[test]
    fn what_cannot_be_lpads_own_folder_is_refused_without_advice_that_harms() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "valuable").unwrap();
        for (path, why) in [
            (Path::new("/"), "it is the root of the file system"),
            (Path::new("/proc/.."), "it is the root of the file system"),
            (Path::new("/dev/null"), "it is a device, not a folder"),
            (&file, "it is a file, not a folder"),
        ] {
            let refused = StateFolder::hold(path).unwrap_err().to_string();
            assert!(refused.starts_with(why), "{refused}");
            assert!(!refused.contains("chmod"), "{refused}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "valuable");
        assert!(!Path::new("/lock").exists());
    }

    #[test]
    fn a_file_that_others_may_use_is_closed_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        for mode in [0o666, 0o644, 0o660] {
            fs::write(&path, "kept").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            open_own(&path).unwrap();
            let closed = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(closed & 0o777, 0o600);
            assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        }
    }

    #[test]
    fn a_removed_folder_that_another_daemon_holds_now_is_left_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = StateFolder::hold(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
        let _second = StateFolder::hold(&path).unwrap();
        let refused = first.held().restore().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
    }
}
