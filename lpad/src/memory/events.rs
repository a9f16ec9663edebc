//! What happened, in order: a bounded ring of numbered events that any number of readers follow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::alarm::Alarm;
use super::operations::Operation;
use super::snapshot::Euicc;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its number; later events have higher ones, also after a restart. It is the number of the
    /// daemon's start times 2^30 plus a count, so that it stays below 2^53, where JSON's numbers are
    /// exact everywhere, for eight million starts.
    pub id: u64,
    /// What changed.
    pub change: Change,
}

/// What changed, as it is now.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An operation.
    Operation(Box<Operation>),
    /// What is known about an eUICC.
    Euicc(Box<Euicc>),
    /// People should hear of something.
    Alarm(Box<Alarm>),
    /// The reader came too late: events between the last one it saw and the next are gone.
    Missed {
        /// The next one's number.
        next: u64,
    },
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
    /// An empty ring for the daemon's start of this number.
    pub fn of_start(start: u64) -> Self {
        Self::new((start % STARTS_TOLD_APART) * EVENTS_OF_A_START + 1)
    }

    pub(crate) fn new(first_id: u64) -> Self {
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
    pub fn publish(&self, change: Change) {
        let mut ring = self.ring();
        let id = ring.next_id;
        ring.next_id += 1;
        if ring.events.len() == EVENTS_KEPT {
            ring.events.pop_front();
        }
        ring.events.push_back(Event { id, change });
        drop(ring);
        self.newest.send_replace(id);
    }

    /// Follows the events after `last_seen`, or the ones still to come when there is none.
    pub fn follow(&self, last_seen: Option<u64>) -> Follower {
        let newest = self.newest.subscribe();
        let newest_id = *newest.borrow();
        // A number that was not given out yet is of an earlier journal: what came since is gone.
        let is_unknown = last_seen.is_some_and(|id| id > newest_id);
        let last = if is_unknown { Some(0) } else { last_seen };
        Follower {
            ring: Arc::clone(&self.ring),
            newest,
            last: last.unwrap_or(newest_id),
            missed: is_unknown,
        }
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
    /// Whether it is known that it missed events, and it was not told yet.
    missed: bool,
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
        let is_gap = event.id > self.last + 1 && self.last != 0;
        if is_gap || self.missed {
            self.missed = false;
            self.last = event.id - 1;
            return Some(Event {
                id: self.last,
                change: Change::Missed { next: event.id },
            });
        }
        self.last = event.id;
        Some(event)
    }
}

/// How many events a late reader can still get.
pub const EVENTS_KEPT: usize = 512;
/// How many numbers each start of the daemon has for its events: at one event a second they last
/// for 34 years.
const EVENTS_OF_A_START: u64 = 1 << 30;
/// Numbers of starts are counted round, so that those of events stay below 2^53.
const STARTS_TOLD_APART: u64 = 1 << 23;

#[cfg(test)]
mod tests {
    use super::*;

    /// The change that is told apart from others by its number.
    fn change(n: usize) -> Change {
        Change::Euicc(Box::new(Euicc {
            notifications_set_aside: n,
            ..Euicc::default()
        }))
    }

    #[tokio::test]
    async fn a_reader_that_comes_back_gets_what_it_missed() {
        let events = Events::new(1);
        for n in 0..3 {
            events.publish(change(n));
        }
        let mut follower = events.follow(Some(1));
        assert_eq!(follower.next().await.unwrap().id, 2);
        assert_eq!(follower.next().await.unwrap().change, change(2));
        let next = tokio::spawn(async move { follower.next().await });
        events.publish(change(4));
        assert_eq!(next.await.unwrap().unwrap().id, 4);
    }

    #[tokio::test]
    async fn a_reader_that_is_too_late_is_told_so() {
        let events = Events::new(1);
        for n in 0..EVENTS_KEPT + 5 {
            events.publish(change(n));
        }
        let mut follower = events.follow(Some(2));
        let missed = follower.next().await.unwrap();
        assert_eq!((missed.change, missed.id), (Change::Missed { next: 6 }, 5));
        assert_eq!(follower.next().await.unwrap().id, 6);
    }

    #[tokio::test]
    async fn a_reader_of_an_earlier_start_is_told_that_it_missed_events() {
        let events = Events::of_start(1);
        events.publish(change(1));
        let seen = events.follow(Some(0)).next().await.unwrap().id;
        let events = Events::of_start(2);
        events.publish(change(2));
        let mut follower = events.follow(Some(seen));
        let missed = follower.next().await.unwrap();
        let next = follower.next().await.unwrap();
        assert_eq!(missed.change, Change::Missed { next: next.id });
        assert_eq!((next.id, next.change), (missed.id + 1, change(2)));
    }

    #[tokio::test]
    async fn a_reader_of_an_earlier_journal_is_told_that_it_missed_events() {
        let events = Events::of_start(1);
        events.publish(change(1));
        let later = Events::of_start(9).follow(None).last;
        let mut follower = events.follow(Some(later));
        let missed = follower.next().await.unwrap().change;
        assert!(matches!(missed, Change::Missed { .. }));
        assert_eq!(follower.next().await.unwrap().change, change(1));
    }

    #[test]
    fn numbers_of_events_are_exact_in_json() {
        for start in [8_000_000, STARTS_TOLD_APART - 1, 1 << 53, u64::MAX] {
            let events = Events::of_start(start);
            events.publish(change(1));
            let last = events.follow(None).last;
            assert!(last < 1 << 53, "{start}: {last}");
        }
    }

    #[tokio::test]
    async fn a_new_reader_sees_only_what_is_to_come() {
        let events = Events::new(7);
        events.publish(change(1));
        let mut follower = events.follow(None);
        events.publish(change(2));
        assert_eq!(follower.next().await.unwrap().id, 8);
        drop(events);
        assert_eq!(follower.next().await, None);
    }
}
