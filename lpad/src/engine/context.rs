//! What an engine's jobs share beside the card.

use std::sync::Arc;

use es9_client::Es9Client;
use es10_apdu::types::Eid;
use tokio::sync::watch;
use tokio::time::Instant;

use super::reading::CardState;
use crate::config::EuiccConfig;
use crate::memory::events::{EventKind, Events};
use crate::memory::journal::{Record, SharedJournal};
use crate::memory::operations::Operations;
use crate::memory::snapshot::{Availability, Snapshot};
use crate::problem::{Code, Problem};
use crate::runtime::clock::Clock;

/// What an engine's jobs share beside the card.
#[derive(Debug)]
pub(crate) struct Context<C> {
    pub(crate) config: EuiccConfig,
    pub(crate) server: Arc<Es9Client<C>>,
    pub(crate) journal: SharedJournal,
    pub(crate) operations: Operations,
    pub(crate) events: Events,
    pub(crate) clock: Clock,
    pub(crate) snapshot: watch::Sender<Snapshot>,
    pub(crate) imei: Option<String>,
}

impl<C> Context<C> {
    /// What is known.
    pub(super) fn known(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Changes what is known, and says so when that shows in the eUICC itself.
    pub(super) fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        let before = self.snapshot.borrow().euicc.clone();
        self.snapshot.send_modify(change);
        let now = self.snapshot.borrow().euicc.clone();
        if before != now {
            self.events.publish(EventKind::Euicc, &now);
        }
    }

    /// The card was just read.
    pub(super) fn was_read(&self, change: impl FnOnce(&mut Snapshot)) {
        let now = self.clock.unix_seconds();
        self.update(|known| {
            change(known);
            known.read_at = Some(Instant::now());
            known.is_fresh = true;
            known.euicc.read_at_s = Some(now);
        });
    }

    /// The card was read as a whole: it can be used.
    pub(super) fn card_was_read(&self, state: CardState) {
        self.was_read(|known| {
            known.euicc.state = Availability::Ready;
            known.euicc.problem = None;
            known.euicc.eid = Some(state.eid);
            known.euicc.info = Some(state.info);
            known.addresses = state.addresses;
            known.profiles = state.profiles;
        });
    }

    /// The card cannot be used.
    pub(super) fn is_unavailable(&self, problem: Problem) {
        self.update(|known| {
            known.euicc.state = Availability::Unavailable;
            known.euicc.problem = Some(problem);
        });
    }

    /// The card, when it was ever read.
    pub(super) fn eid(&self) -> Option<Eid> {
        self.snapshot.borrow().euicc.eid.as_deref()?.parse().ok()
    }

    /// Writes what is about to be done.
    pub(super) fn intend(&self, record: Record) -> Result<(), Problem> {
        self.journal.append(record).map_err(|error| {
            Problem::new(Code::StateUnwritable)
                .detail(format!("The journal cannot be written: {error}."))
        })
    }
}
