//! The journal of intent: what lpad was about to do, kept across power loss.
//!
//! One file of NDJSON lines, `{"crc":"…","len":…,"record":{…}}`, each synchronised to the medium before
//! the thing it announces is done. A torn last line is what a power cut leaves: it is cut off. A
//! journal that is damaged elsewhere is set aside, and what can be read of it is kept. Whole lines
//! that this version does not know are kept as they are: a later version wrote them. What a later
//! version changes in records that this one knows gets a new format number, and is refused.
//! Only what is known of logical channels is not waited for: the next start of the system voids it.
//! The journal never tells what happened on the card; the card does.
//!
//! Writing blocks the one thread for the few milliseconds the medium takes. That is intended: nothing
//! may go on before the intent is safe.

mod channel;
mod file;
mod intent;
mod record;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::channel::OpenChannel;
use self::file::JournalFile;
pub use self::intent::{EndedOperation, HostPorts, Intent, KnownChannel, KnownPort, Phase};
use self::record::Line;
pub use self::record::{
    AskedOperation, Attempt, ClientProcess, EndDetails, Ending, InService, KeptWatch, OpenSwitch,
    Record, RequestKey, StartedOperation, WaitingNotifications,
};
use crate::config::History;
use crate::memory::state_folder::StateFolder;

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    file: JournalFile,
    intent: Intent,
    /// Lines of another version, kept as they are.
    foreign: Vec<String>,
    /// Lines with what has happened that could not be written yet: they go before the next one.
    owed: Vec<String>,
    /// The journal is compacted when it grows beyond this many bytes.
    compact_above: u64,
    /// Why it could not be written last.
    trouble: Option<String>,
    /// When it was last tried to get out of trouble.
    tried: Option<Instant>,
}

impl Journal {
    /// Opens the journal in the state folder and replays it.
    ///
    /// # Errors
    ///
    /// When its file cannot be made, read or written, is something else than a file of this user, or
    /// has a later format.
    pub fn open(folder: &StateFolder) -> io::Result<Self> {
        let (file, content, is_all) = JournalFile::open(folder)?;
        let Replay {
            records,
            foreign,
            whole,
            end,
        } = Replay::of(&content);
        records.iter().try_for_each(must_be_known)?;
        // How much is kept is said once everything is known.
        let mut intent = Intent {
            history: History::MOST,
            ..Intent::default()
        };
        records.into_iter().for_each(|record| intent.apply(record));
        let mut journal = Self {
            file,
            intent,
            foreign,
            owed: Vec::new(),
            compact_above: COMPACT_ABOVE,
            trouble: None,
            tried: None,
        };
        match end {
            End::Damaged => journal.mend(),
            _ if !is_all => journal.mend(),
            End::Torn => {
                let cut = content.len() - whole;
                tracing::warn!(
                    bytes = cut,
                    "the journal ends in a torn record, which is cut off"
                );
                journal.file.cut(u64::try_from(whole).unwrap_or(u64::MAX))?;
            }
            End::Whole => journal.file.sync()?,
        }
        if journal.file.length() > COMPACT_ABOVE {
            journal.compact();
        }
        Ok(journal)
    }

    /// Keeps so much of what has ended, from now on. What is more is gone for ever: it does not come
    /// back when more is to be kept later.
    pub fn keep(&mut self, history: History, now_s: u64) {
        if self.intent.keep(history, now_s) {
            self.compact();
        }
    }

    /// Counts a start of the daemon and gives its number.
    pub fn count_start(&mut self) -> u64 {
        let number = self.intent.starts.saturating_add(1);
        let format = FORMAT;
        self.note(Record::DaemonStarted { number, format });
        number
    }

    /// Writes a record and waits until the medium has it, when it is one that matters after the
    /// next start of the system.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what it announces must then not be done.
    pub fn append(&mut self, record: Record) -> io::Result<()> {
        if let Err(error) = self.write(&record) {
            self.trouble = Some(error.to_string());
            return Err(error);
        }
        self.intent.apply(record);
        self.is_out_of_trouble();
        if self.file.length() > self.compact_above {
            self.compact();
        }
        Ok(())
    }

    /// Writes what has happened. When that cannot be done it is true all the same: it is known at once,
    /// and written before the next record.
    pub fn note(&mut self, record: Record) {
        let Err(error) = self.append(record.clone()) else {
            return;
        };
        tracing::warn!(%error, "the journal cannot be written; this is made up for later");
        // One that no line can hold would keep all others from being written.
        let Ok(line) = record.line() else {
            return;
        };
        if self.owed.len() < OWED_KEPT {
            self.owed.push(line);
        } else {
            // All that is known is written in place of the lines.
            self.owed.clear();
            self.file.must_be_replaced();
        }
        self.intent.apply(record);
    }

    /// Writes what could not be written when it happened.
    pub fn make_up(&mut self) {
        let is_behind = !self.owed.is_empty() || !self.file.is_sound();
        if is_behind && let Err(error) = self.rewrite() {
            tracing::error!(%error, "the journal cannot be written; the next start knows less");
        }
    }

    /// What is still open.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Why the journal cannot be written, as far as that is known without writing: its folder may be
    /// gone, or the last record did not find room. It is tried whether that is still so.
    pub fn trouble(&mut self) -> Option<&str> {
        let is_well = self.trouble.is_none() && self.file.is_sound();
        let was_tried = self.tried.is_some_and(|tried| tried.elapsed() < TRY_AGAIN);
        if !is_well && !was_tried {
            self.tried = Some(Instant::now());
            match self.rewrite() {
                Ok(()) => self.is_out_of_trouble(),
                Err(error) => self.trouble = Some(error.to_string()),
            }
        }
        self.trouble.as_deref()
    }

    /// Journals that were found damaged and were set aside, as long as they are there.
    pub fn damaged(&self) -> Vec<PathBuf> {
        self.file.damaged()
    }

    fn is_out_of_trouble(&mut self) {
        self.tried = None;
        if self.trouble.take().is_some() {
            tracing::info!("the journal can be written again");
        }
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        let line = record.line()?;
        if !self.file.is_sound() {
            tracing::warn!("the journal is not what was written, or gone: it is written anew");
            self.rewrite()?;
        }
        let lines = self.owed.concat() + &line;
        let is_safe = record.outlives_the_system() || !self.owed.is_empty();
        self.file.append(lines.as_bytes(), is_safe)?;
        self.owed.clear();
        Ok(())
    }

    /// Sets a damaged file aside and goes on with what could be read of it.
    fn mend(&mut self) {
        let mended = self.file.set_aside().and_then(|aside| {
            tracing::error!(
                aside = %aside.display(),
                "the journal is damaged and set aside; lpad goes on with what can be read of it"
            );
            self.rewrite()
        });
        if let Err(error) = mended {
            tracing::error!(%error, "the journal is damaged and cannot be replaced");
            self.trouble = Some(error.to_string());
            self.file.must_be_replaced();
        }
    }

    /// Makes the file short again. When that fails it is tried again at twice the size: the records
    /// are safe all the same.
    fn compact(&mut self) {
        if let Err(error) = self.rewrite() {
            self.compact_above = self.file.length().saturating_mul(2);
            tracing::warn!(%error, "the journal cannot be compacted");
        }
    }

    /// Replaces the file by one that holds only what is still open.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut content = String::new();
        for record in self.intent.records() {
            content.push_str(&record.line()?);
        }
        content.extend(self.foreign.iter().map(String::as_str));
        self.file.replace(content.as_bytes())?;
        self.owed.clear();
        self.compact_above = self.file.length().saturating_mul(2).max(COMPACT_ABOVE);
        Ok(())
    }
}

/// The journal as the parts of the daemon share it.
#[derive(Clone, Debug)]
pub struct SharedJournal(Arc<Mutex<Journal>>);

impl SharedJournal {
    /// Shares a journal.
    pub fn new(journal: Journal) -> Self {
        Self(Arc::new(Mutex::new(journal)))
    }

    /// As [`Journal::append`].
    pub fn append(&self, record: Record) -> io::Result<()> {
        self.journal().append(record)
    }

    /// As [`Journal::note`].
    pub fn note(&self, record: Record) {
        self.journal().note(record);
    }

    /// As [`Journal::make_up`].
    pub fn make_up(&self) {
        self.journal().make_up();
    }

    /// Looks at what is still open; the journal is locked meanwhile.
    pub fn look<R>(&self, at: impl FnOnce(&Intent) -> R) -> R {
        at(self.journal().intent())
    }

    /// Looks at what is still open, once what ended too long ago is forgotten.
    pub fn look_now<R>(&self, now_s: u64, at: impl FnOnce(&Intent) -> R) -> R {
        let mut journal = self.journal();
        journal.intent.forget(None, now_s);
        at(journal.intent())
    }

    /// A server was reached on this TCP port: written when that is news.
    pub fn reached(&self, host: &str, port: u16) {
        let mut journal = self.journal();
        match journal.intent.host_ports.get(host) {
            Some(known) if *known == port => journal.intent.uses(host),
            None if port == HTTPS => {}
            _ => {
                let host = host.to_owned();
                journal.note(Record::HostPort { host, port });
            }
        }
    }

    /// As [`Journal::trouble`].
    pub fn trouble(&self) -> Option<String> {
        self.journal().trouble().map(str::to_owned)
    }

    /// As [`Journal::damaged`].
    pub fn damaged(&self) -> Vec<PathBuf> {
        self.journal().damaged()
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in a journal's file.
#[derive(Debug, Default)]
struct Replay {
    records: Vec<Record>,
    foreign: Vec<String>,
    /// How many bytes there are up to the end of the last whole line.
    whole: usize,
    end: End,
}

/// What is behind the last whole line, and whether all lines before it are whole.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum End {
    /// Nothing.
    #[default]
    Whole,
    /// The beginning of a line: the power went while it was written.
    Torn,
    /// The file was not written by lpad alone.
    Damaged,
}

impl Replay {
    fn of(content: &[u8]) -> Self {
        let mut replay = Self::default();
        let mut read = 0;
        let mut is_damaged = false;
        for line in content.split_inclusive(|octet| *octet == b'\n') {
            read += line.len();
            match Line::parse(line) {
                Line::Record(record) => replay.records.push(record),
                Line::Foreign(line) => replay.foreign.push(line),
                Line::Torn => continue,
            }
            // A line that is not whole has whole ones behind it.
            is_damaged |= replay.whole + line.len() < read;
            replay.whole = read;
        }
        replay.end = match &content[replay.whole..] {
            _ if is_damaged => End::Damaged,
            [] => End::Whole,
            rest if is_torn(rest) => End::Torn,
            _ => End::Damaged,
        };
        replay
    }
}

/// A later lpad may mean something else by the records that follow.
fn must_be_known(record: &Record) -> io::Result<()> {
    match record {
        Record::DaemonStarted { format, .. } if *format > FORMAT => {
            let why = format!(
                "a later lpad wrote the journal: its format is {format}, and this one knows {FORMAT}; \
                 install that lpad again"
            );
            Err(io::Error::new(io::ErrorKind::InvalidData, why))
        }
        _ => Ok(()),
    }
}

/// Whether this is what a power cut leaves of a line: its beginning, or zeros in its place.
fn is_torn(rest: &[u8]) -> bool {
    let is_beginning = rest.starts_with(LINE_START) || LINE_START.starts_with(rest);
    let is_unended = !rest.contains(&b'\n');
    rest.len() <= LONGEST_TORN
        && is_unended
        && (is_beginning || rest.iter().all(|octet| *octet == 0))
}

/// Where a server is that nothing else is known of.
const HTTPS: u16 = 443;
/// Raised when a record means something else than before; new records and new parts of known ones do
/// not raise it. `daemon-started` keeps its parts in every format.
const FORMAT: u64 = 1;
/// How each line begins.
const LINE_START: &[u8] = b"{\"crc\":\"";
/// More than a torn line, or the zeros of its block, has.
const LONGEST_TORN: usize = 64 * 1024;
/// The journal is compacted when it grows beyond this many bytes.
const COMPACT_ABOVE: u64 = 128 * 1024;
/// So many records that could not be written are kept as lines; of more, all that is known is written
/// anew.
const OWED_KEPT: usize = 64;
/// In trouble, readers let the journal be tried again at most so often.
const TRY_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
