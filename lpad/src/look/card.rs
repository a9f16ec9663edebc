//! Examining without a daemon: the state of one is neither read nor touched.

use std::fs::{self, DirBuilder};
use std::future::pending;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, io, process};

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

use crate::api::body::Examination;
use crate::config::Config;
use crate::engine;
use crate::memory::journal::{Journal, SharedJournal};
use crate::memory::state_folder::StateFolder;
use crate::modem::SerialPort;
use crate::modem::table::Table;

/// Examines the way to the card of an eUICC until the process is told to end: no channel stays open, of
/// which nobody would know.
pub(super) async fn examination(name: &str, path: &Path) -> Result<Examination, String> {
    let stop = told_to_end();
    let config = Config::load(path).map_err(|error| error.to_string())?;
    let table = Table::of(&config, path).map_err(|error| error.to_string())?;
    let mut euiccs = config.euiccs.iter();
    let euicc = euiccs.find(|euicc| euicc.name == name);
    let euicc = euicc.ok_or_else(|| format!("the configuration has no eUICC called \"{name}\""))?;
    let place = |error| {
        let folder = env::temp_dir();
        let folder = folder.display();
        format!("{folder}: {error}; make room there, or name another folder with TMPDIR")
    };
    let folder = Folder::new().map_err(place)?;
    let state = StateFolder::hold(&folder.0).map_err(place)?;
    let journal = SharedJournal::new(Journal::open(&state).map_err(place)?);
    let table = Arc::new(table);
    let port = SerialPort::new(euicc, Arc::clone(&table));
    Ok((&engine::examine(port, euicc, journal, table, stop).await).into())
}

/// Resolves when the process is told to end, or when the one that started it has.
fn told_to_end() -> impl Future<Output = ()> {
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    let heard = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    async {
        let [Ok(mut terminate), Ok(mut interrupt)] = heard else {
            return pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// A folder of its own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let path = env::temp_dir().join(format!("lpad-{}-{now}", process::id()));
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
