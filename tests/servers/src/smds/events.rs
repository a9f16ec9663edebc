//! The events an SM-DS knows.

use std::borrow::Cow;
use std::path::Path;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::rsp::disk;
use crate::rsp::status::StatusCode;

/// What an SM-DS tells an eUICC: that something waits for it at a server.
///
/// SGP.22 v2.5 section 5.4.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EventRecord {
    /// The eUICC, 32 digits.
    pub eid: String,
    /// The event's name at that server: for an SM-DP+ the matching ID.
    pub event_id: String,
    /// The server: an SM-DP+ or another SM-DS. Nothing keeps it from being this SM-DS itself.
    pub rsp_server_address: String,
    /// The name under which the root SM-DS was told of it, when it was.
    #[serde(default)]
    pub forwarded_as: Option<String>,
}

impl EventRecord {
    /// An event that was not passed on to a root SM-DS.
    pub fn new(
        eid: impl Into<String>,
        event_id: impl Into<String>,
        rsp_server_address: impl Into<String>,
    ) -> Self {
        Self {
            eid: eid.into(),
            event_id: event_id.into(),
            rsp_server_address: rsp_server_address.into(),
            forwarded_as: None,
        }
    }

    fn is(&self, eid: &str, event_id: &str) -> bool {
        self.eid == eid && self.event_id == event_id
    }

    /// Whether an eUICC that asks with this matching ID means this event.
    fn is_meant_by(&self, matching_id: &str) -> bool {
        matching_id.is_empty()
            || self.event_id == matching_id
            || self.forwarded_as.as_deref() == Some(matching_id)
    }
}

/// The events that are registered, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Events {
    records: Vec<EventRecord>,
    /// The copy on disk, as far as it is known.
    on_disk: Vec<u8>,
}

impl Events {
    pub(super) fn all(&self) -> &[EventRecord] {
        &self.records
    }

    /// Registers an event; its ID must be new for this eUICC.
    pub(super) fn register(&mut self, event: EventRecord) -> Result<(), StatusCode> {
        if self.find(&event.eid, &event.event_id).is_some() {
            return Err(StatusCode::EVENT_EXISTS);
        }
        if self.records.len() == MAX_EVENTS {
            return Err(StatusCode::SMDS_FAILED);
        }
        self.records.push(event);
        Ok(())
    }

    pub(super) fn find(&self, eid: &str, event_id: &str) -> Option<&EventRecord> {
        self.records.iter().find(|event| event.is(eid, event_id))
    }

    pub(super) fn delete(&mut self, eid: &str, event_id: &str) -> Option<EventRecord> {
        let place = self
            .records
            .iter()
            .position(|event| event.is(eid, event_id))?;
        Some(self.records.remove(place))
    }

    /// The events an eUICC means: all of its own, or the one of this ID, which there must be.
    pub(super) fn meant(
        &self,
        eid: &str,
        matching_id: &str,
    ) -> Result<Vec<&EventRecord>, StatusCode> {
        let own = self.records.iter().filter(|event| event.eid == eid);
        let meant: Vec<_> = own.filter(|event| event.is_meant_by(matching_id)).collect();
        match meant.is_empty() && !matching_id.is_empty() {
            true => Err(StatusCode::EVENT_UNKNOWN),
            false => Ok(meant),
        }
    }

    /// Reads what an earlier run saved, if anything.
    pub(super) fn load(folder: &Path) -> io::Result<Self> {
        let Some(on_disk) = disk::read(folder, FILE)? else {
            return Ok(Self::default());
        };
        let Saved { events, .. } = disk::parse(FILE, &on_disk, VERSION)?;
        Ok(Self {
            records: events.into_owned(),
            on_disk,
        })
    }

    /// Brings the copy on disk up to date, if it is not.
    pub(super) fn save(&mut self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(&Saved {
            version: VERSION,
            events: Cow::Borrowed(&self.records),
        })?;
        if text != self.on_disk {
            disk::replace(folder, FILE, &text)?;
            self.on_disk = text;
        }
        Ok(())
    }
}

/// The copy on disk.
#[derive(Deserialize, Serialize)]
struct Saved<'a> {
    #[serde(default)]
    version: u32,
    events: Cow<'a, [EventRecord]>,
}

/// What an eUICC is told.
impl fmt::Display for EventRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.event_id, self.rsp_server_address)
    }
}

const FILE: &str = "events.json";
/// Of the file's format.
const VERSION: u32 = 1;
const MAX_EVENTS: usize = 10_000;
