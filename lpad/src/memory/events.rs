//! What happened, in order: a bounded ring of numbered events that any number of readers follow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// One thing that happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Event {
    /// Its number; later events have higher ones.
    pub id: u64,
    /// What it is about.
    pub kind: EventKind,
    /// The state after it, as the API shows it.
    pub data: serde_json::Value,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// An operation changed; the data is the operation.
    Operation,
    /// What is known about an eUICC changed; the data is the eUICC.
    Euicc,
    /// The reader came too late: events between the last one it saw and the next are gone.
    Missed,
}

impl EventKind {
    /// The name used in the event stream.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Euicc => "euicc",
            Self::Missed => "missed",
        }
    }
}

/// The ring; clones share it.
#[derive(Clone, Debug)]
pub struct Events {
    ring: Arc<Mutex<Ring>>,
    newest: Arc<watch::Sender<u64>>,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Event>,
    next_id: u64,
}

impl Events {
    /// An empty ring. `first_id` should be above every number given out before a restart, so that
    /// a reader that comes back with an old number is not answered with the wrong events.
    pub fn new(first_id: u64) -> Self {
        let ring = Ring {
            events: VecDeque::new(),
            next_id: first_id,
        };
        Self {
            ring: Arc::new(Mutex::new(ring)),
            newest: Arc::new(watch::Sender::new(first_id.saturating_sub(1))),
        }
    }

    /// Adds an event and wakes every reader.
    pub fn publish(&self, kind: EventKind, data: &impl Serialize) {
        // A value that cannot be written as JSON would be a mistake in its type, not in its content.
        let data = serde_json::to_value(data).unwrap_or(serde_json::Value::Null);
        let mut ring = self.ring();
        let id = ring.next_id;
        ring.next_id += 1;
        if ring.events.len() == EVENTS_KEPT {
            ring.events.pop_front();
        }
        ring.events.push_back(Event { id, kind, data });
        drop(ring);
        self.newest.send_replace(id);
    }

    /// Follows the events after `last_seen`, or the ones still to come when there is none.
    pub fn follow(&self, last_seen: Option<u64>) -> Follower {
        let newest = self.newest.subscribe();
        let newest_id = *newest.borrow();
        // A number from the future is from another life of the daemon: start over.
        let last = last_seen.map_or(newest_id, |id| if id <= newest_id { id } else { 0 });
        Follower {
            ring: Arc::clone(&self.ring),
            newest,
            last,
        }
    }

    /// How many follow the events now.
    pub fn followers(&self) -> usize {
        self.newest.receiver_count()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reader of the events.
#[derive(Debug)]
pub struct Follower {
    ring: Arc<Mutex<Ring>>,
    newest: watch::Receiver<u64>,
    last: u64,
}

impl Follower {
    /// The next event, or `None` when the daemon ends.
    ///
    /// # Cancel safety
    ///
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            self.newest.borrow_and_update();
            if let Some(event) = self.ready() {
                return Some(event);
            }
            self.newest.changed().await.ok()?;
        }
    }

    fn ready(&mut self) -> Option<Event> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let event = ring
            .events
            .iter()
            .find(|event| event.id > self.last)?
            .clone();
        drop(ring);
        if event.id > self.last + 1 && self.last != 0 {
            self.last = event.id - 1;
            let data = serde_json::json!({ "next": event.id });
            return Some(Event {
                id: self.last,
                kind: EventKind::Missed,
                data,
            });
        }
        self.last = event.id;
        Some(event)
    }
}

/// How many events a late reader can still get.
pub const EVENTS_KEPT: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_comes_back_gets_what_it_missed() {
        let events = Events::new(1);
        for n in 0..3 {
            events.publish(EventKind::Operation, &n);
        }
        let mut follower = events.follow(Some(1));
        assert_eq!(follower.next().await.unwrap().id, 2);
        assert_eq!(follower.next().await.unwrap().data, 2);
        let next = tokio::spawn(async move { follower.next().await });
        events.publish(EventKind::Euicc, &"x");
        assert_eq!(next.await.unwrap().unwrap().id, 4);
    }

    #[tokio::test]
    async fn a_reader_that_is_too_late_is_told_so() {
        let events = Events::new(1);
        for n in 0..EVENTS_KEPT + 5 {
            events.publish(EventKind::Operation, &n);
        }
        let mut follower = events.follow(Some(2));
        let missed = follower.next().await.unwrap();
        assert_eq!((missed.kind, missed.id), (EventKind::Missed, 5));
        assert_eq!(follower.next().await.unwrap().id, 6);
    }

    #[tokio::test]
    async fn a_new_reader_sees_only_what_is_to_come() {
        let events = Events::new(7);
        events.publish(EventKind::Operation, &1);
        let mut follower = events.follow(None);
        events.publish(EventKind::Operation, &2);
        assert_eq!(follower.next().await.unwrap().id, 8);
        drop(events);
        assert_eq!(follower.next().await, None);
    }
}
