//! What an engine's jobs share beside the card.

use std::sync::Arc;
use std::time::Duration;

use es9_client::Es9Client;
use es10_apdu::types::{Eid, Iccid, ProfileClass};
use tokio::sync::watch;
use tokio::time::Instant;

use super::first_boot::FirstBoot;
use super::reading::CardState;
use super::waiting::Waits;
use super::watch::Watch;
use crate::config::{EuiccConfig, Route};
use crate::failure::JobFailure;
use crate::job::{Download, DownloadSource, OperationId, Part};
use crate::memory::alarm::{Alarm, AlarmCode};
use crate::memory::digest::Digest;
use crate::memory::events::{Change, Events};
use crate::memory::journal::{Attempt, InService, Record, SharedJournal, StartedOperation};
use crate::memory::key::Key;
use crate::memory::operations::Operations;
use crate::memory::snapshot::{
    Attempt as Bringing, Known, Notification, Profile, ProfileState, Shown, Snapshot, find,
};
use crate::modem::table::Table;
use crate::procedure::download::Order;
use crate::reach::Reach;
use crate::runtime::clock::Clock;
use crate::runtime::uplink::Uplink;
use crate::secret::{Secret, in_few_words, shorten_numbers};

/// What an engine's jobs share beside the card.
#[derive(Debug)]
pub(crate) struct Context<C> {
    pub(crate) config: EuiccConfig,
    pub(crate) server: Arc<Es9Client<C>>,
    pub(crate) reach: Reach<C>,
    pub(crate) uplink: Uplink,
    pub(crate) modems: Arc<Table>,
    pub(crate) journal: SharedJournal,
    pub(crate) key: Key,
    pub(crate) operations: Operations,
    pub(crate) events: Events,
    pub(crate) clock: Clock,
    pub(crate) snapshot: watch::Sender<Snapshot>,
}

impl<C> Context<C> {
    /// What is known.
    pub(super) fn known(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Changes what is known, and says so when that shows in the eUICC itself.
    pub(super) fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        let before = self.snapshot.borrow().euicc.clone();
        self.snapshot.send_modify(|known| {
            change(known);
            known.name_unknown_parts();
        });
        let now = self.snapshot.borrow().euicc.clone();
        if before != now {
            self.events.publish(Change::Euicc(Box::new(now)));
        }
    }

    /// Shows how commands reach the card.
    pub(super) fn uses(&self, route: Option<Route>) {
        if self.snapshot.borrow().euicc.route != route {
            self.update(|known| known.euicc.route = route);
        }
    }

    /// An operation changed the card: it is read again for the next client that asks.
    pub(super) fn changed(&self) {
        self.update(Snapshot::changed);
    }

    /// Shows what the operation that has the card waits for.
    pub(super) fn waits(&self) -> Waits {
        let known = self.snapshot.subscribe();
        Waits::new(self.operations.clone(), known, self.clock.clone())
    }

    /// Names the operation that has the card, until the guard is dropped.
    pub(super) fn busy(self: &Arc<Self>, operation: OperationId) -> Busy<C> {
        let before = self.snapshot.borrow().euicc.busy_with;
        self.update(|known| known.euicc.busy_with = Some(operation));
        Busy {
            context: Arc::clone(self),
            before,
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
    pub(super) fn card_was_read(&self, state: CardState, notifications: Known<Vec<Notification>>) {
        self.was_read(|known| {
            known.euicc.state = Shown::Ready;
            known.euicc.attempt = None;
            known.euicc.eid = Some(state.eid);
            known.euicc.info = state.info;
            known.addresses = state.addresses;
            known.profiles = state.profiles;
            known.notifications = notifications;
        });
    }

    /// Lets people hear of something.
    pub(super) fn alarm(&self, code: AlarmCode, operation: Option<OperationId>, detail: String) {
        let euicc = self.config.name.clone();
        let detail = in_few_words(&detail, &[]);
        tracing::error!(euicc, code = code.name(), "{}", shorten_numbers(&detail));
        let at_s = self.clock.unix_seconds();
        self.events.publish(Change::Alarm(Box::new(Alarm {
            code,
            euicc,
            operation,
            detail,
            at_s,
        })));
    }

    /// Says what is being tried to bring the card up.
    pub(super) fn tries(&self, what: &'static str) {
        let since_s = self.clock.unix_seconds();
        self.update(|known| known.euicc.attempt = Some(Bringing::UnderWay { what, since_s }));
    }

    /// The card cannot be used, and is tried again after `delay`.
    pub(super) fn is_unavailable(&self, failure: Arc<JobFailure>, delay: Duration) {
        let now = self.clock.unix_seconds();
        self.update(|known| {
            let since_s = match known.euicc.state {
                Shown::Unavailable { since_s, .. } => since_s,
                Shown::Starting | Shown::Ready => now,
            };
            known.euicc.state = Shown::Unavailable {
                because: failure,
                since_s,
            };
            known.euicc.attempt = Some(Bringing::Next {
                at_s: now.saturating_add(delay.as_secs()),
            });
        });
    }

    /// Lets the first boot look at what is known of a card, and shows how it stands.
    pub(super) fn consider(&self, first_boot: &mut FirstBoot, eid: Eid, wait: Duration) {
        let earlier = |order| self.attempts_at(eid, order);
        first_boot.consider(eid, &self.known(), earlier, wait);
        self.show_first_boot(first_boot);
    }

    /// Goes on with watching the profile in use, after a restart or when another program has enabled it.
    pub(super) fn watch_again(&self, watch: &mut Watch, eid: Eid) {
        let now_s = self.clock.unix_seconds();
        let kept = self.journal.look(|intent| intent.watch_of(eid));
        watch.belongs_to(eid, kept, now_s);
        self.keep_watch(watch);
        let known = self.known();
        let is_used = |profile: &&Profile| profile.state == ProfileState::Enabled;
        let used = known.listed().iter().find(is_used);
        let Some(used) = used.filter(|used| used.class != ProfileClass::TEST) else {
            return;
        };
        if watch.is_on() {
            return;
        }
        let last_good = self.last_good(eid);
        let profile = last_good.filter(|profile| profile.iccid == used.iccid);
        let profile = profile.unwrap_or_else(|| InService::of(eid, used.iccid));
        let left_s = profile.watched_until_s.saturating_sub(now_s);
        // The clock may have been set meanwhile.
        let left_s = left_s.min(self.config.switch.probation_s);
        watch.begin(profile, Duration::from_secs(left_s));
        self.keep_watch(watch);
    }

    /// Keeps over a restart what the watch has done, and shows how it stands.
    pub(super) fn keep_watch(&self, watch: &mut Watch) {
        if let Some(kept) = watch.changed(self.clock.unix_seconds()) {
            self.journal.note(Record::Watch(kept));
        }
        let service = watch.shown(self.clock.unix_seconds());
        self.snapshot.send_if_modified(|known| {
            let is_new = known.service != service;
            known.service = service;
            is_new
        });
    }

    /// What the first boot downloads now, if anything.
    pub(super) fn first_download(&self, first_boot: &mut FirstBoot, eid: Eid) -> Option<Download> {
        let known = self.known();
        let clock_is_set = self.clock.plausible_seconds().is_some();
        let earlier = |order| self.attempts_at(eid, order);
        let download = first_boot.attempt(eid, &known, earlier, clock_is_set);
        self.show_first_boot(first_boot);
        download
    }

    /// The profile of a card that was in service last.
    pub(super) fn last_good(&self, eid: Eid) -> Option<InService> {
        self.journal.look(|intent| intent.last_good(eid))
    }

    fn attempts_at(&self, eid: Eid, order: Digest) -> Option<Attempt> {
        self.journal.look(|intent| intent.attempts_at(eid, order))
    }

    /// Keeps the attempts at an order over a restart.
    pub(super) fn keep(&self, attempt: Attempt) {
        let at_s = self.clock.unix_seconds();
        let record = Record::Attempt(Attempt { at_s, ..attempt });
        self.journal.note(record);
    }

    /// Shows how it stands with the first profile.
    pub(super) fn show_first_boot(&self, first_boot: &FirstBoot) {
        let status = first_boot.status(self.clock.unix_seconds());
        self.update(|known| known.euicc.first_profile = status);
    }

    /// Whether the card is known to have this profile; a list that is not known says no, and then the
    /// card itself will.
    pub(super) fn has_profile(&self, iccid: Iccid) -> bool {
        let known = self.snapshot.borrow();
        known
            .profiles
            .value()
            .is_some_and(|profiles| find(profiles, iccid).is_ok())
    }

    /// Where a download is to be had, if the configuration allows that place.
    pub(super) fn order(&self, source: &DownloadSource) -> Result<Order, JobFailure> {
        let order = self.order_at(source)?;
        match self.config.allows(order.address.host()) {
            true => Ok(order),
            false => Err(JobFailure::SmdpNotAllowed(order.address)),
        }
    }

    fn order_at(&self, source: &DownloadSource) -> Result<Order, JobFailure> {
        let of_eid = |address| Order {
            address,
            matching_id: Secret::default(),
            oid: None,
        };
        match source {
            DownloadSource::ActivationCode(code) => Ok(Order {
                address: code.address.clone(),
                matching_id: code.matching_id.clone(),
                oid: code.oid.clone(),
            }),
            DownloadSource::Smdp(address) => Ok(of_eid(address.clone())),
            DownloadSource::DefaultSmdp => {
                let known = self.known();
                let configured = self.config.bootstrap.default_smdp.as_deref();
                let Some(text) = known.default_smdp().or(configured) else {
                    known.addresses.of(Part::Addresses)?;
                    return Err(JobFailure::NoDefaultSmdp);
                };
                let address = text.parse().map(of_eid);
                address.map_err(|error| JobFailure::StoredAddress {
                    text: text.to_owned(),
                    error,
                })
            }
        }
    }

    /// An operation that changes the profile in use and has not ended.
    pub(super) fn switching(&self) -> Option<OperationId> {
        let (name, eid) = (&self.config.name, self.known().euicc.eid);
        self.journal.look(|intent| intent.switching_on(name, eid))
    }

    /// What the journal holds of an operation that is under way.
    pub(super) fn started(&self, operation: OperationId) -> Option<StartedOperation> {
        self.journal
            .look(|intent| intent.operations.get(&operation).cloned())
    }

    /// Writes what is about to be done.
    pub(super) fn intend(&self, record: Record) -> Result<(), JobFailure> {
        self.journal.append(record).map_err(JobFailure::Journal)
    }
}

/// Names the operation that has the card; dropping it names the one before again.
#[derive(Debug)]
pub(super) struct Busy<C> {
    context: Arc<Context<C>>,
    before: Option<OperationId>,
}

impl<C> Drop for Busy<C> {
    fn drop(&mut self) {
        let before = self.before;
        self.context.update(|known| known.euicc.busy_with = before);
    }
}
