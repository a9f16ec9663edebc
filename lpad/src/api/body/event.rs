//! An event as its readers get it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Euicc, Operation};
use crate::memory::events::{self, Change};

/// One thing that happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Event {
    /// Its number; later events have higher ones, also after a restart.
    pub id: u64,
    /// What it is about.
    pub kind: EventKind,
    /// The state after it, as the API shows it.
    pub data: Value,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum EventKind {
    /// An operation changed; the data is the operation.
    Operation,
    /// What is known about an eUICC changed; the data is the eUICC.
    Euicc,
    /// People should hear of something; the data is the alarm.
    Alarm,
    /// The reader came too late: events between the last one it saw and the next are gone.
    Missed,
}

impl EventKind {
    /// The name used in the event stream.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Euicc => "euicc",
            Self::Alarm => "alarm",
            Self::Missed => "missed",
        }
    }
}

impl From<&events::Event> for Event {
    fn from(event: &events::Event) -> Self {
        let (kind, data) = match &event.change {
            Change::Operation(operation) => (
                EventKind::Operation,
                serde_json::to_value(Operation::from(&**operation)),
            ),
            Change::Euicc(euicc) => (
                EventKind::Euicc,
                serde_json::to_value(Euicc::from(&**euicc)),
            ),
            Change::Alarm(alarm) => (EventKind::Alarm, serde_json::to_value(&**alarm)),
            Change::Missed { next } => (EventKind::Missed, Ok(json!({ "next": next }))),
        };
        Self {
            id: event.id,
            kind,
            // A body that cannot be written as JSON would be a mistake in its type, not in its content.
            data: data.unwrap_or_default(),
        }
    }
}
