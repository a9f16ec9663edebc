//! The records of the journal, and the lines they are written in.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use es10_apdu::channel::Place;
use es10_apdu::types::{Eid, Iccid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::failure::Told;
use crate::job::{
    Achievement, Kind, OperationId, Progress, ResetScope, Stage, StageTime, Switching, Tried,
    Verdict,
};
use crate::memory::digest::Digest;
use crate::memory::link::FoundLink;
use crate::printed;

/// One record of intent. In a line, its kind is the member `type`: `line_of` and `Line::parse` put it
/// there and take it out, because what serde does with a tag inside is a fiftieth of the daemon.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Record {
    /// The daemon was started.
    DaemonStarted {
        /// How often so far.
        number: u64,
        /// The journal's format from here on.
        #[serde(default = "first_format")]
        format: u64,
    },
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
        /// The channel's number; 0 for a session.
        channel: u8,
        /// What the modem calls the session that it has opened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// The start of the system it was opened in; a later start finds another card.
        boot: String,
    },
    /// The ISD-R is selected on that channel.
    ChannelSelected {
        /// The port.
        port: PathBuf,
    },
    /// That channel is closed, or the card was reset.
    ChannelClosed {
        /// The port.
        port: PathBuf,
    },
    /// How APDUs reach the card through a modem, as was found out by trying.
    LinkFound {
        /// The port.
        port: PathBuf,
        /// What is known of it.
        link: FoundLink,
    },
    /// A reset of the modem begins, in which its radio may be off for a while.
    ModemResetting {
        /// The port.
        port: PathBuf,
        /// The line that ends it.
        last_line: String,
    },
    /// The reset of the modem has ended.
    ModemReset {
        /// The port.
        port: PathBuf,
    },
    /// A client asked for an operation, and is about to be told its number.
    OperationAsked(AskedOperation),
    /// A client said something to an operation under a key: an answer, or that it is to stop.
    OperationTold {
        /// The operation.
        operation: OperationId,
        /// What tells the request from others.
        request: RequestKey,
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
    /// A change of the profile in use is about to begin, or has come further.
    Switch(Box<OpenSwitch>),
    /// A profile is in service.
    InService(InService),
    /// What lpad has done by itself about the service of a card.
    Watch(KeptWatch),
    /// These notifications did not get through yet.
    Waiting(WaitingNotifications),
    /// An operation ended and its outcome is known.
    OperationFinished {
        /// The operation.
        operation: OperationId,
        /// How it ended; older journals do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ending: Option<Ending>,
        /// What else is known of its end.
        #[serde(flatten, skip_deserializing)]
        details: EndDetails,
    },
    /// A profile is about to be looked for without being asked.
    Attempt(Attempt),
    /// The attempts for a card are over: it has a profile, or another order is tried.
    AttemptsOver {
        /// The card.
        #[serde(with = "printed")]
        eid: Eid,
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
    /// That a channel or session is open.
    pub(super) fn channel_opened(port: PathBuf, place: &Place, boot: String) -> Self {
        let (channel, session) = match place {
            Place::Channel(channel) => (channel.number(), None),
            Place::Session(session) => (0, Some(session.to_string())),
        };
        Self::ChannelOpened {
            port,
            channel,
            session,
            boot,
        }
    }

    /// What is known of channels is void after the next start of the system. It need not be on the
    /// medium; being written is enough to outlive the daemon.
    pub(super) fn outlives_the_system(&self) -> bool {
        !matches!(
            self,
            Self::ChannelOpening { .. }
                | Self::ChannelOpened { .. }
                | Self::ChannelSelected { .. }
                | Self::ChannelClosed { .. }
        )
    }

    /// The line it is written in: checksum, length, record.
    pub(super) fn line(&self) -> io::Result<String> {
        let json = serde_json::to_string(self)?;
        Ok(line_of(&with_type_inside(&json).unwrap_or(json)))
    }
}

/// What journals without a format have.
fn first_format() -> u64 {
    1
}

/// What a client asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AskedOperation {
    /// The operation.
    pub operation: OperationId,
    /// The eUICC by its name in the configuration.
    pub euicc: String,
    /// The card it is for, when one was known.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "printed::optional"
    )]
    pub eid: Option<Eid>,
    /// What it does.
    pub kind: Kind,
    /// What tells the request from others, when the client gave it a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestKey>,
    /// The same of what was said to it since, the latest at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<RequestKey>,
    /// The process that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientProcess>,
    /// Whether lpad began it by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_itself: bool,
    /// When, in seconds since 1970.
    #[serde(default)]
    pub at_s: u64,
}

impl AskedOperation {
    /// With nothing said yet of who asked for it.
    pub fn new(operation: OperationId, euicc: &str, kind: Kind) -> Self {
        Self {
            operation,
            euicc: euicc.to_owned(),
            eid: None,
            kind,
            request: None,
            told: Vec::new(),
            client: None,
            by_itself: false,
            at_s: 0,
        }
    }

    /// Something was said to it; of too much the oldest goes.
    pub(super) fn hears(&mut self, request: RequestKey) {
        let beyond = (self.told.len() + 1).saturating_sub(TOLD_KEPT);
        self.told.drain(..beyond);
        self.told.push(request);
    }
}

/// One that no client asked for in this journal, as far as its beginning tells.
impl From<&StartedOperation> for AskedOperation {
    fn from(started: &StartedOperation) -> Self {
        Self {
            eid: started.eid,
            ..Self::new(started.operation, &started.euicc, started.kind)
        }
    }
}

/// A process, as the kernel tells it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ClientProcess {
    /// Its user.
    pub uid: u32,
    /// Its primary group; a daemon of an older version does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Its number; absent when the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its name, at most 15 bytes; absent when the daemon may not see the processes of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What an operation set out to do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StartedOperation {
    /// The operation.
    pub operation: OperationId,
    /// The eUICC by its name in the configuration.
    pub euicc: String,
    /// The card it is for; older journals do not say.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "printed::optional"
    )]
    pub eid: Option<Eid>,
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
    /// The nickname or address that is to be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What a reset erases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<ResetScope>,
}

impl StartedOperation {
    /// With nothing said yet of what it is about.
    pub fn new(operation: OperationId, euicc: &str, kind: Kind) -> Self {
        Self {
            operation,
            euicc: euicc.to_owned(),
            eid: None,
            kind,
            iccid: None,
            address: None,
            enable: false,
            transaction_id: None,
            value: None,
            reset: None,
        }
    }
}

/// A change of the profile in use that has not ended: with the profile list it is all that is needed to
/// go on, or back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OpenSwitch {
    /// The operation.
    pub operation: OperationId,
    /// The card.
    #[serde(with = "printed")]
    pub eid: Eid,
    /// The profile that was in use before.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "printed::optional"
    )]
    pub from: Option<Iccid>,
    /// Whether that one was in service.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_in_service: bool,
    /// The profile that is wanted.
    #[serde(with = "printed")]
    pub to: Iccid,
    /// The profile that is brought into service now.
    #[serde(with = "printed")]
    pub candidate: Iccid,
    /// How often it was begun to look whether that one is in service; 0 before the card was asked for it.
    #[serde(default)]
    pub looks: u32,
    /// Whether a client has to confirm it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks_client: bool,
    /// Whether no client asked for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_itself: bool,
    /// Whether the wanted profile may be one that cannot be left again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepts_no_return: bool,
    /// How long each profile has to get into service, in seconds; 0 if that is not looked at.
    pub deadline_s: u64,
    /// What a client has said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Whether the dialler was told that a profile goes away, and not yet that one is in use.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_down: bool,
    /// The profiles that got no service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Tried>,
}

/// A profile that is in service.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InService {
    /// The card.
    #[serde(with = "printed")]
    pub eid: Eid,
    /// The profile.
    #[serde(with = "printed")]
    pub iccid: Iccid,
    /// The profile that was in use before it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "printed::optional"
    )]
    pub before: Option<Iccid>,
    /// Until when it is watched, in seconds since 1970; 0 if it is not.
    #[serde(default)]
    pub watched_until_s: u64,
}

/// What lpad has done by itself about the service of a card, and does next.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeptWatch {
    /// The card.
    #[serde(with = "printed")]
    pub eid: Eid,
    /// When this was so, in seconds since 1970.
    #[serde(default)]
    pub at_s: u64,
    /// The number of the next round over all profiles; 0 if none is to follow.
    #[serde(default)]
    pub round: u32,
    /// In how many seconds it is due.
    #[serde(default)]
    pub round_in_s: u64,
    /// The profile that was wanted last.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "printed::optional"
    )]
    pub preferred: Option<Iccid>,
    /// The number of the next attempt to use it again; 0 if none is to follow.
    #[serde(default)]
    pub way_back: u32,
    /// In how many seconds it is due.
    #[serde(default)]
    pub way_back_in_s: u64,
    /// In how many seconds the budget of switches is full again.
    #[serde(default)]
    pub budget_full_in_s: u64,
}

impl KeptWatch {
    /// Nothing was done yet.
    pub fn of(eid: Eid) -> Self {
        Self {
            eid,
            at_s: 0,
            round: 0,
            round_in_s: 0,
            preferred: None,
            way_back: 0,
            way_back_in_s: 0,
            budget_full_in_s: 0,
        }
    }
}

/// The notifications of a card that did not get through yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WaitingNotifications {
    /// The card.
    #[serde(with = "printed")]
    pub eid: Eid,
    /// Since when, in seconds since 1970, by their numbers.
    pub since: BTreeMap<i64, u64>,
}

impl InService {
    /// One of which no more is known, and which is not on probation.
    pub fn of(eid: Eid, iccid: Iccid) -> Self {
        Self {
            eid,
            iccid,
            before: None,
            watched_until_s: 0,
        }
    }
}

impl OpenSwitch {
    /// From one profile to another, with nothing done yet.
    pub fn new(operation: OperationId, eid: Eid, from: Option<Iccid>, to: Iccid) -> Self {
        Self {
            operation,
            eid,
            from,
            was_in_service: false,
            to,
            candidate: to,
            looks: 0,
            asks_client: false,
            by_itself: false,
            accepts_no_return: false,
            deadline_s: 0,
            verdict: None,
            is_down: false,
            failed: Vec::new(),
        }
    }

    /// Whether the wanted profile was given up.
    pub fn is_returning(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Whether the profile before is used again, should this one not do.
    pub(crate) fn has_way_back(&self) -> bool {
        self.deadline_s > 0 || self.asks_client
    }

    /// Whether a client may still have the profile before again.
    pub(crate) fn is_undoable(&self) -> bool {
        !self.is_returning() && self.has_way_back()
    }

    /// The profile that is left for the candidate.
    pub(crate) fn left(&self) -> Option<Iccid> {
        let failed = self.failed.last().map(|tried| tried.iccid);
        failed.or(self.from)
    }

    /// Where it stands, as clients are shown it.
    pub(crate) fn shown(&self) -> Switching {
        Switching {
            outcome: None,
            profile: Some(self.candidate),
            deadline_s: None,
            failed: self.failed.clone(),
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Done as asked.
    Succeeded,
    /// With a problem.
    Failed,
    /// A client cancelled it.
    Cancelled,
    /// The daemon ended before it was begun.
    NotBegun,
}

/// What is known of an operation's end beside how it ended. Older journals have none of it, and what a
/// later version writes otherwise is left out: the line counts all the same.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct EndDetails {
    /// When, in seconds since 1970.
    #[serde(
        default,
        deserialize_with = "known",
        skip_serializing_if = "Option::is_none"
    )]
    pub at_s: Option<u64>,
    /// What it did last.
    #[serde(
        default,
        deserialize_with = "known",
        skip_serializing_if = "Option::is_none"
    )]
    pub stage: Option<Stage>,
    /// What it did, the latest at the end.
    #[serde(
        default,
        deserialize_with = "known",
        skip_serializing_if = "Option::is_none"
    )]
    pub stages: Option<Vec<StageTime>>,
    /// How much of the profile package the card had.
    #[serde(
        default,
        deserialize_with = "known",
        skip_serializing_if = "Option::is_none"
    )]
    pub progress: Option<Progress>,
    /// What became of the profile in use, when that was to be changed.
    #[serde(
        default,
        deserialize_with = "known",
        skip_serializing_if = "Option::is_none"
    )]
    pub switch: Option<Box<Switching>>,
    /// What it achieved, when it succeeded.
    #[serde(
        default,
        deserialize_with = "known",
        skip_serializing_if = "Option::is_none"
    )]
    pub result: Option<Achievement>,
    /// What was told of its failure, when it failed.
    #[serde(
        default,
        deserialize_with = "known",
        skip_serializing_if = "Option::is_none"
    )]
    pub problem: Option<Told>,
}

/// A value, when it is one that this version knows.
fn known<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// What tells a repeated request from a new one: `Idempotency-Key`, who sent it, and a digest of what
/// was asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RequestKey {
    /// The client's key.
    pub key: String,
    /// The client's user: keys of different users have nothing to do with each other.
    pub uid: u32,
    /// The digest of method, path and the body's mark.
    #[serde(with = "printed")]
    pub digest: Digest,
}

impl RequestKey {
    /// The key of a request of HTTP. Its body may hold a code that could be guessed from a plain digest,
    /// so that it is known by its mark.
    pub fn new(key: &str, uid: u32, method: &str, path: &str, mark: &[u8]) -> Self {
        Self {
            key: key.to_owned(),
            uid,
            digest: Digest::of(&[method.as_bytes(), path.as_bytes(), mark]),
        }
    }

    /// Whether the same user used the same key.
    pub fn is_key_of(&self, other: &Self) -> bool {
        self.uid == other.uid && self.key == other.key
    }
}

/// The attempts at an order that no client asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Attempt {
    /// The card.
    #[serde(with = "printed")]
    pub eid: Eid,
    /// The order: a digest of the server's address and the matching identifier, and of the mark of the
    /// confirmation code if there is one.
    #[serde(with = "printed")]
    pub order: Digest,
    /// How many failed that the server counted as well.
    pub failures: u32,
    /// How many found nothing to download.
    pub empty: u32,
    /// Whether the order is over. Older journals have [`u32::MAX`] failures instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// Whether it is over for want of the right confirmation code.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_confirmation_code: bool,
    /// Whether its profile was downloaded, which an order with a code allows once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
    /// How the last one ended, in few words and without the codes of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// When the last one was begun, in seconds since 1970.
    pub at_s: u64,
}

impl Attempt {
    /// No attempt yet.
    pub fn none(eid: Eid, order: Digest) -> Self {
        Self {
            eid,
            order,
            failures: 0,
            empty: 0,
            ended: false,
            wants_confirmation_code: false,
            done: false,
            last: None,
            at_s: 0,
        }
    }

    /// What a record of any version says.
    pub(super) fn of_any_version(self) -> Self {
        match self.failures {
            u32::MAX => Self {
                failures: 0,
                ended: true,
                ..self
            },
            _ => self,
        }
    }
}

/// A line of the journal, read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// A record.
    Record(Record),
    /// A whole line with a record of another version of lpad: kept as it is, and not understood.
    Foreign(String),
    /// Not a whole line.
    Torn,
}

impl Line {
    pub(super) fn parse(octets: &[u8]) -> Self {
        let Some((text, json)) = whole(octets) else {
            return Self::Torn;
        };
        let record = with_type_outside(json).and_then(|outside| {
            let mut record = serde_json::from_str(&outside).ok()?;
            if let Record::OperationFinished { details, .. } = &mut record {
                *details = serde_json::from_str(json).ok()?;
            }
            Some(record)
        });
        record.map_or_else(|| Self::Foreign(text.to_owned()), Self::Record)
    }
}

/// `{"attempt":{…}}` as `{"type":"attempt",…}`.
fn with_type_inside(json: &str) -> Option<String> {
    let (kind, members) = json.strip_prefix("{\"")?.split_once("\":{")?;
    let members = members.strip_suffix('}')?;
    Some(format!("{{\"type\":\"{kind}\",{members}"))
}

/// `{"type":"attempt",…}` as `{"attempt":{…}}`.
fn with_type_outside(json: &str) -> Option<String> {
    let (kind, members) = json.strip_prefix("{\"type\":\"")?.split_once("\",")?;
    Some(format!("{{\"{kind}\":{{{members}}}"))
}

/// The line with the JSON of a record.
pub(super) fn line_of(json: &str) -> String {
    let (crc, len) = (CRC_32.checksum(json.as_bytes()), json.len());
    format!("{{\"crc\":\"{crc:08x}\",\"len\":{len},\"record\":{json}}}\n")
}

/// The line as text and the JSON of its record, when length and checksum are right.
fn whole(octets: &[u8]) -> Option<(&str, &str)> {
    let line = std::str::from_utf8(octets).ok()?;
    let (crc, text) = line
        .strip_suffix("}\n")?
        .strip_prefix("{\"crc\":\"")?
        .split_once("\",\"len\":")?;
    let (len, json) = text.split_once(",\"record\":")?;
    let is_whole = len.parse() == Ok(json.len())
        && u32::from_str_radix(crc, 16) == Ok(CRC_32.checksum(json.as_bytes()));
    is_whole.then_some((line, json))
}

/// How many requests that said something to an operation are remembered with it.
const TOLD_KEPT: usize = 8;
/// Without a table, which would be larger than what it saves: the journal's lines are short.
const CRC_32: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32() {
        assert_eq!(CRC_32.checksum(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let eid: Eid = "89049032123451234512345678901235".parse().unwrap();
        let request = |key| RequestKey::new(key, 1000, "DELETE", "/v1/x", b"");
        let asked = AskedOperation {
            eid: Some(eid),
            request: Some(request("k")),
            told: vec![request("l")],
            client: Some(ClientProcess {
                uid: 1000,
                gid: Some(100),
                pid: Some(4711),
                name: Some("a \"name\"\n".into()),
            }),
            at_s: 3,
            ..AskedOperation::new(OperationId(7), "default", Kind::Delete)
        };
        let attempt = Attempt {
            eid,
            order: Digest::of(&[b"smdp.example.com", b""]),
            failures: 2,
            empty: 1,
            wants_confirmation_code: true,
            done: true,
            ended: true,
            last: Some("refused".into()),
            at_s: 4,
        };
        for record in [
            Record::OperationAsked(asked),
            Record::OperationAsked(AskedOperation {
                by_itself: true,
                ..AskedOperation::new(OperationId(8), "default", Kind::Download)
            }),
            Record::OperationTold {
                operation: OperationId(7),
                request: request("m"),
            },
            Record::Attempt(attempt),
            Record::AttemptsOver { eid },
            Record::OperationFinished {
                operation: OperationId(7),
                ending: Some(Ending::NotBegun),
                details: EndDetails::default(),
            },
        ] {
            let line = record.line().unwrap();
            assert_eq!(Line::parse(line.as_bytes()), Line::Record(record));
        }
    }

    #[test]
    fn the_lines_of_the_first_release_are_understood() {
        let json = r#"{"type":"operation-started","operation":"3","euicc":"default","kind":"enable","iccid":"8900"}"#;
        let line = line_of(json);
        let Line::Record(Record::OperationStarted(started)) = Line::parse(line.as_bytes()) else {
            panic!("{line}");
        };
        assert_eq!((started.operation, started.eid), (OperationId(3), None));
        let eid = "89049032123451234512345678901235";
        let order = Digest::of(&[b""]);
        for (failures, is_over) in [("2", false), ("4294967295", true)] {
            let json = format!(
                r#"{{"type":"attempt","eid":"{eid}","order":"{order}","failures":{failures},"empty":1,"at_s":4}}"#
            );
            let Line::Record(Record::Attempt(attempt)) = Line::parse(line_of(&json).as_bytes())
            else {
                panic!("{json}");
            };
            assert_eq!(attempt.of_any_version().ended, is_over);
        }
        let json = r#"{"type":"operation-finished","operation":"3"}"#;
        let finished = Record::OperationFinished {
            operation: OperationId(3),
            ending: None,
            details: EndDetails::default(),
        };
        assert_eq!(
            Line::parse(line_of(json).as_bytes()),
            Line::Record(finished)
        );
    }

    #[test]
    fn what_a_later_version_says_otherwise_of_an_end_costs_only_that() {
        let json = r#"{"type":"operation-finished","operation":"3","ending":"failed","at_s":7,"stage":"of-a-later-version","result":"well","problem":{"code":"of-a-later-version"},"more":1}"#;
        let Line::Record(Record::OperationFinished {
            ending, details, ..
        }) = Line::parse(line_of(json).as_bytes())
        else {
            panic!("{json}");
        };
        assert_eq!((ending, details.at_s), (Some(Ending::Failed), Some(7)));
        assert_eq!((details.stage, details.result), (None, None));
        assert!(details.problem.is_some());
    }

    #[test]
    fn a_whole_line_of_another_version_is_foreign_and_any_other_is_torn() {
        let foreign = line_of(r#"{"type":"from-the-future","operation":"9"}"#);
        assert_eq!(
            Line::parse(foreign.as_bytes()),
            Line::Foreign(foreign.clone())
        );
        for position in 0..foreign.len() {
            let mut damaged = foreign.clone().into_bytes();
            damaged[position] ^= 1;
            assert_eq!(Line::parse(&damaged), Line::Torn, "{position}");
            assert_eq!(Line::parse(&damaged[..position]), Line::Torn, "{position}");
        }
    }
}
