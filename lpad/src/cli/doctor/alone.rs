//! Examining without a daemon: the state of one is neither read nor touched.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, io, process};

use crate::api::body::Examination;
use crate::config::EuiccConfig;
use crate::engine;
use crate::memory::journal::{Journal, SharedJournal};
use crate::memory::state_folder::StateFolder;
use crate::modem::SerialPort;
use crate::modem::table::Table;

/// What examines.
pub(super) struct Alone {
    table: Arc<Table>,
    journal: SharedJournal,
    _state: StateFolder,
    // Dropped last: the state is in it.
    _folder: Folder,
}

impl Alone {
    pub(super) fn new(table: Arc<Table>) -> io::Result<Self> {
        let folder = Folder::new()?;
        let state = StateFolder::hold(&folder.0)?;
        let journal = SharedJournal::new(Journal::open(&state)?);
        Ok(Self {
            table,
            journal,
            _state: state,
            _folder: folder,
        })
    }

    /// Examines until it is told to `stop`: no channel stays open, of which nobody would know.
    pub(super) async fn examine(
        &self,
        euicc: &EuiccConfig,
        stop: impl Future<Output = ()>,
    ) -> Examination {
        let port = SerialPort::new(euicc, Arc::clone(&self.table));
        let (journal, table) = (self.journal.clone(), Arc::clone(&self.table));
        (&engine::examine(port, euicc, journal, table, stop).await).into()
    }
}

/// A folder of its own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let path = env::temp_dir().join(format!("lpactl-{}-{now}", process::id()));
        // Fails when there is anything by that name.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, "the temporary folder stays");
        }
    }
}
