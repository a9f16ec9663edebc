//! The journal of intent: what lpad was about to do, kept across power loss.
//!
//! One file of NDJSON lines, `{"crc":"…","len":…,"record":{…}}`, each synchronised to the medium before
//! the thing it announces is done. A torn last line is what a power cut leaves: it is cut off.
//! Only what is known of logical channels is not waited for: the next start of the system voids it.
//! The journal never tells what happened on the card; the card does.
//!
//! Writing blocks the one thread for the few milliseconds the medium takes. That is intended: nothing
//! may go on before the intent is safe.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::job::{Kind, OperationId};

/// One record of intent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Record {
    /// A logical channel is about to be opened on the card behind a port.
    ChannelOpening {
        /// The port.
        port: PathBuf,
        /// The start of the system, as in [`Record::ChannelOpened`].
        boot: String,
    },
    /// A logical channel is open on the card behind a port.
    ChannelOpened {
        /// The port.
        port: PathBuf,
        /// The channel's number.
        channel: u8,
        /// The start of the system it was opened in; a later start finds another card.
        boot: String,
    },
    /// That channel is closed, or the card was reset.
    ChannelClosed {
        /// The port.
        port: PathBuf,
    },
    /// An operation began to change things.
    OperationStarted(StartedOperation),
    /// A download is about to send the profile package to the card.
    LoadingBpp {
        /// The download.
        operation: OperationId,
        /// The RSP session.
        transaction_id: String,
        /// The profile.
        iccid: String,
    },
    /// An operation ended and its outcome is known.
    OperationFinished {
        /// The operation.
        operation: OperationId,
    },
    /// A server was reached on this TCP port.
    HostPort {
        /// The server's host name.
        host: String,
        /// The TCP port.
        port: u16,
    },
    /// The highest operation number given out, where no other record says so.
    LastOperation {
        /// The number.
        operation: OperationId,
    },
}

impl Record {
    /// What is known of channels is void after the next start of the system. It need not be on the
    /// medium; being written is enough to outlive the daemon.
    fn outlives_the_system(&self) -> bool {
        !matches!(
            self,
            Self::ChannelOpening { .. } | Self::ChannelOpened { .. } | Self::ChannelClosed { .. }
        )
    }
}

/// What an operation set out to do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StartedOperation {
    /// The operation.
    pub operation: OperationId,
    /// The eUICC.
    pub euicc: String,
    /// What it does.
    pub kind: Kind,
    /// The profile it is about, when that is known from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iccid: Option<String>,
    /// The server a profile is downloaded from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether a downloaded profile is to be enabled afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enable: bool,
    /// Set once the profile package was about to be sent to the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
}

/// What the journal amounts to: everything still open.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Intent {
    /// What is known of the logical channels behind the ports.
    pub channels: BTreeMap<PathBuf, KnownChannel>,
    /// Operations that were under way when the daemon ended.
    pub operations: BTreeMap<OperationId, StartedOperation>,
    /// TCP ports other than 443 that servers were reached on.
    pub host_ports: BTreeMap<String, u16>,
    /// The highest operation number given out.
    pub last_operation: OperationId,
}

/// The logical channel behind a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownChannel {
    /// Its number, or that of the last one: a card gives the lowest free number, so that the next
    /// one is most likely the same. `None` before the first one.
    pub number: Option<u8>,
    /// Whether it is open.
    pub phase: Phase,
    /// The start of the system in which that was so.
    pub boot: String,
}

/// Whether a logical channel is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// It was to be opened, and the card's answer was not seen.
    Opening,
    /// It is.
    Open,
    /// It is not.
    Closed,
}

impl Intent {
    fn apply(&mut self, record: Record) {
        match record {
            Record::ChannelOpened {
                port,
                channel,
                boot,
            } => {
                let number = Some(channel);
                let phase = Phase::Open;
                let channel = KnownChannel {
                    number,
                    phase,
                    boot,
                };
                self.channels.insert(port, channel);
            }
            Record::ChannelOpening { port, boot } => {
                let earlier = self.channels.remove(&port);
                let number = earlier
                    .filter(|earlier| earlier.boot == boot)
                    .and_then(|earlier| earlier.number);
                let phase = Phase::Opening;
                let channel = KnownChannel {
                    number,
                    phase,
                    boot,
                };
                self.channels.insert(port, channel);
            }
            Record::ChannelClosed { port } => {
                if let Some(channel) = self.channels.get_mut(&port) {
                    channel.phase = Phase::Closed;
                }
            }
            Record::OperationStarted(started) => {
                self.last_operation = self.last_operation.max(started.operation);
                self.operations.insert(started.operation, started);
            }
            Record::LoadingBpp {
                operation,
                transaction_id,
                iccid,
            } => {
                if let Some(started) = self.operations.get_mut(&operation) {
                    started.transaction_id = Some(transaction_id);
                    started.iccid = Some(iccid);
                }
            }
            Record::OperationFinished { operation } => {
                self.operations.remove(&operation);
            }
            Record::HostPort { host, port } => {
                self.host_ports.insert(host, port);
                while self.host_ports.len() > HOST_PORTS_KEPT {
                    self.host_ports.pop_first();
                }
            }
            Record::LastOperation { operation } => {
                self.last_operation = self.last_operation.max(operation);
            }
        }
    }

    /// The records that say the same in the fewest lines.
    fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let last = Record::LastOperation {
            operation: self.last_operation,
        };
        let channels = self.channels.iter().flat_map(|(port, known)| {
            let (port, boot) = (port.clone(), known.boot.clone());
            let opened = known.number.map(|channel| Record::ChannelOpened {
                port: port.clone(),
                channel,
                boot: boot.clone(),
            });
            let phase = match known.phase {
                Phase::Opening => Some(Record::ChannelOpening { port, boot }),
                Phase::Open => None,
                Phase::Closed => Some(Record::ChannelClosed { port }),
            };
            opened.into_iter().chain(phase)
        });
        let operations = self
            .operations
            .values()
            .cloned()
            .map(Record::OperationStarted);
        let ports = self.host_ports.iter().map(|(host, port)| Record::HostPort {
            host: host.clone(),
            port: *port,
        });
        std::iter::once(last)
            .chain(channels)
            .chain(operations)
            .chain(ports)
    }
}

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    intent: Intent,
}

impl Journal {
    /// Opens the journal in `directory`, cuts a torn tail and replays the rest.
    ///
    /// # Errors
    ///
    /// When the folder or the file cannot be made, read or written.
    pub fn open(directory: &Path) -> io::Result<Self> {
        if !directory.exists() {
            fs::create_dir_all(directory)?;
            fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        }
        let path = directory.join(FILE_NAME);
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (records, whole) = parse(&content);
        if whole < content.len() {
            let cut = content.len() - whole;
            tracing::warn!(
                bytes = cut,
                "the journal ends in a torn record, which is cut off"
            );
        }
        let mut intent = Intent::default();
        records.into_iter().for_each(|record| intent.apply(record));
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        let length = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(length)?;
        file.sync_all()?;
        File::open(directory)?.sync_all()?;
        let mut journal = Self {
            path,
            file,
            length,
            intent,
        };
        if length > COMPACT_ABOVE {
            journal.compact()?;
        }
        Ok(journal)
    }

    /// Writes a record and waits until the medium has it, when it is one that matters after the
    /// next start of the system.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what it announces must then not be done.
    pub fn append(&mut self, record: Record) -> io::Result<()> {
        let line = line(&record)?;
        let written = self.file.write_all(&line);
        let safe = written.and_then(|()| match record.outlives_the_system() {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        if let Err(error) = safe {
            // A half-written line would make every later one unreadable.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += u64::try_from(line.len()).unwrap_or_default();
        self.intent.apply(record);
        match self.length > COMPACT_ABOVE {
            true => self.compact(),
            false => Ok(()),
        }
    }

    /// What is still open.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// Replaces the file by one that holds only what is still open.
    fn compact(&mut self) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut content = Vec::new();
        for record in self.intent.records() {
            content.extend(line(&record)?);
        }
        // A leftover of an earlier attempt might have other permissions.
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        if let Some(directory) = self.path.parent() {
            File::open(directory)?.sync_all()?;
        }
        self.file = file;
        self.length = u64::try_from(content.len()).unwrap_or_default();
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
    ///
    /// # Errors
    ///
    /// As [`Journal::append`].
    pub fn append(&self, record: Record) -> io::Result<()> {
        self.journal().append(record)
    }

    /// What is still open.
    pub fn intent(&self) -> Intent {
        self.journal().intent().clone()
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(record)?;
    let (crc, len) = (crc32(json.as_bytes()), json.len());
    Ok(format!("{{\"crc\":\"{crc:08x}\",\"len\":{len},\"record\":{json}}}\n").into_bytes())
}

/// The readable records at the start of `content`, and how many bytes they take.
fn parse(content: &[u8]) -> (Vec<Record>, usize) {
    let mut records = Vec::new();
    let mut whole = 0;
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        let Some(record) = parse_line(line) else {
            break;
        };
        records.push(record);
        whole += line.len();
    }
    (records, whole)
}

fn parse_line(line: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(line.strip_suffix(b"}\n")?).ok()?;
    let (crc, text) = text
        .strip_prefix("{\"crc\":\"")?
        .split_once("\",\"len\":")?;
    let (len, json) = text.split_once(",\"record\":")?;
    let whole =
        len.parse() == Ok(json.len()) && u32::from_str_radix(crc, 16) == Ok(crc32(json.as_bytes()));
    whole.then(|| serde_json::from_str(json).ok()).flatten()
}

/// CRC-32 of ISO/IEC 13239, bit by bit: the journal's lines are short.
fn crc32(octets: &[u8]) -> u32 {
    !octets.iter().fold(u32::MAX, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => (crc >> 1) ^ 0xEDB8_8320,
        })
    })
}

/// Name of the journal in the state folder.
const FILE_NAME: &str = "journal.ndjson";
/// The journal is compacted when it grows beyond this many bytes.
const COMPACT_ABOVE: u64 = 64 * 1024;
/// How many servers with a TCP port of their own are remembered.
const HOST_PORTS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn what_is_open_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        for record in story() {
            journal.append(record).unwrap();
        }
        let before = journal.intent().clone();
        drop(journal);
        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!(*journal.intent(), before);
        let open = &journal.intent().operations[&OperationId(2)];
        assert_eq!(open.transaction_id.as_deref(), Some("AB12"));
        assert_eq!(open.iccid.as_deref(), Some("89000"));
        assert_eq!(
            journal.intent().channels[Path::new("/dev/ttyUSB2")].number,
            Some(1)
        );
    }

    #[test]
    fn a_torn_tail_is_cut_wherever_the_power_went() {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = Vec::new();
        let mut ends = vec![0];
        for record in story() {
            whole.extend(line(&record).unwrap());
            ends.push(whole.len());
        }
        for cut in 0..whole.len() {
            let kept = ends.iter().rposition(|end| *end <= cut).unwrap();
            let (records, length) = parse(&whole[..cut]);
            assert_eq!((records.len(), length), (kept, ends[kept]), "cut at {cut}");
        }
        for cut in [0, 1, ends[2], ends[2] + 1, whole.len() - 1] {
            fs::write(folder.path().join(FILE_NAME), &whole[..cut]).unwrap();
            let mut journal = Journal::open(folder.path()).unwrap();
            let host = "a".into();
            journal.append(Record::HostPort { host, port: 1 }).unwrap();
            drop(journal);
            let journal = Journal::open(folder.path()).unwrap();
            assert_eq!(journal.intent().host_ports["a"], 1, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_replay_before_it() {
        let mut content = line(&story()[0]).unwrap();
        let first = content.len();
        content.extend(line(&story()[1]).unwrap());
        content[first + 40] ^= 1;
        assert_eq!(parse(&content).1, first);
    }

    #[test]
    fn a_long_journal_is_compacted_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        for record in story() {
            journal.append(record).unwrap();
        }
        let before = journal.intent().clone();
        while journal.length < COMPACT_ABOVE {
            let at = journal.length;
            journal
                .append(Record::ChannelClosed {
                    port: "/dev/other".into(),
                })
                .unwrap();
            if journal.length < at {
                break;
            }
        }
        assert!(journal.length < 2000);
        assert_eq!(*journal.intent(), before);
        drop(journal);
        assert_eq!(*Journal::open(folder.path()).unwrap().intent(), before);
    }

    #[test]
    fn only_the_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        Journal::open(folder.path()).unwrap();
        let mode = fs::metadata(folder.path().join(FILE_NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    fn story() -> Vec<Record> {
        let started = |operation, kind| {
            Record::OperationStarted(StartedOperation {
                operation: OperationId(operation),
                euicc: "default".into(),
                kind,
                iccid: None,
                address: Some("smdp.example.com".into()),
                enable: false,
                transaction_id: None,
            })
        };
        vec![
            Record::ChannelOpened {
                port: "/dev/ttyUSB2".into(),
                channel: 1,
                boot: "b".into(),
            },
            started(1, Kind::Enable),
            Record::OperationFinished {
                operation: OperationId(1),
            },
            Record::HostPort {
                host: "smdp.example.com".into(),
                port: 8443,
            },
            started(2, Kind::Download),
            Record::LoadingBpp {
                operation: OperationId(2),
                transaction_id: "AB12".into(),
                iccid: "89000".into(),
            },
        ]
    }
}
