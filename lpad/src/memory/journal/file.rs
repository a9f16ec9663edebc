//! The file of the journal: lines are appended, or all of it is replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::memory::state_folder::{HeldFolder, StateFolder, is_file_at, open_own};

/// The file of the journal, open.
#[derive(Debug)]
pub(super) struct JournalFile {
    folder: HeldFolder,
    path: PathBuf,
    file: File,
    length: u64,
    /// Whether it is known to hold what was written, and nothing else.
    is_whole: bool,
    /// Whether the medium has no room.
    #[cfg(test)]
    pub(super) is_full: bool,
}

impl JournalFile {
    /// Opens the file, and gives what is in it, up to a limit, and whether that is all.
    pub(super) fn open(folder: &StateFolder) -> io::Result<(Self, Vec<u8>, bool)> {
        let folder = folder.held();
        let path = folder.join(NAME);
        let file = open_own(&path)?;
        let mut content = Vec::new();
        (&file).take(READ_AT_MOST).read_to_end(&mut content)?;
        let length = file.metadata()?.len();
        let is_all = u64::try_from(content.len()) == Ok(length);
        let file = Self {
            folder,
            path,
            file,
            length,
            is_whole: true,
            #[cfg(test)]
            is_full: false,
        };
        Ok((file, content, is_all))
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether it holds what was written and is in its place.
    pub(super) fn is_sound(&self) -> bool {
        self.is_whole && is_file_at(&self.file, &self.path)
    }

    /// What is in it cannot be added to: all of it has to be replaced.
    pub(super) fn must_be_replaced(&mut self) {
        self.is_whole = false;
    }

    /// Cuts it off after `length` bytes.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_all()?;
        self.length = length;
        Ok(())
    }

    /// Waits until the medium has the file and its name.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        self.folder.sync()
    }

    /// Adds a line, and waits until the medium has it when that is `safe`.
    pub(super) fn append(&mut self, line: &[u8], safe: bool) -> io::Result<()> {
        self.folder.must_be_held()?;
        #[cfg(test)]
        self.must_have_room()?;
        if let Err(error) = self.file.write_all(line) {
            // The next line must not begin behind half of this one.
            self.is_whole = self.file.set_len(self.length).is_ok();
            return Err(error);
        }
        if safe && let Err(error) = self.file.sync_data() {
            // After a failure the kernel may take for written what is not.
            let _ = self.file.set_len(self.length);
            self.is_whole = false;
            return Err(error);
        }
        self.length += length(line);
        Ok(())
    }

    /// Puts a file with this content in its place; makes the folder again when it is gone.
    pub(super) fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.must_have_room()?;
        self.folder.restore()?;
        let temporary = self.path.with_extension("tmp");
        // A leftover of an earlier attempt might have other permissions.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = temporary.display();
                let why = format!("{path} is in the way, remove it: {error}");
                return Err(io::Error::new(error.kind(), why));
            }
            _ => {}
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        let placed = file
            .write_all(content)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temporary, &self.path));
        if let Err(error) = placed {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        // From here on the new file is the journal, whatever happens.
        self.file = file;
        self.length = length(content);
        let synced = self.folder.sync();
        if let Err(error) = &synced {
            tracing::warn!(%error, "the medium may not have the compacted journal yet");
        }
        self.is_whole = synced.is_ok();
        Ok(())
    }

    #[cfg(test)]
    fn must_have_room(&self) -> io::Result<()> {
        match self.is_full {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    /// Gives the file a second name, to be looked at by people; of many the oldest are removed.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let earlier = self.folder.numbered(DAMAGED)?;
        // The highest number there is has no next one; lpad did not give it.
        let next = earlier
            .iter()
            .filter_map(|(number, _)| number.checked_add(1));
        let number = next.max().unwrap_or(1);
        let aside = self.folder.join(&format!("{DAMAGED}{number}"));
        if fs::hard_link(&self.path, &aside).is_err() {
            // Not every file system has second names.
            fs::rename(&self.path, &aside)?;
        }
        let beyond = (earlier.len() + 1).saturating_sub(DAMAGED_KEPT);
        for (_, path) in earlier.iter().take(beyond) {
            let _ = fs::remove_file(path);
        }
        Ok(aside)
    }

    /// The damaged journals that were set aside and are still there.
    pub(super) fn damaged(&self) -> Vec<PathBuf> {
        let found = self.folder.numbered(DAMAGED).unwrap_or_default();
        found.into_iter().map(|(_, path)| path).collect()
    }
}

fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

/// Name of the journal in the state folder.
pub(super) const NAME: &str = "journal.ndjson";
/// Names of damaged journals, before their number.
const DAMAGED: &str = "journal.damaged-";
/// How many damaged journals are kept.
const DAMAGED_KEPT: usize = 4;
/// A journal is compacted long before it has so many bytes.
const READ_AT_MOST: u64 = 8 * 1024 * 1024;
