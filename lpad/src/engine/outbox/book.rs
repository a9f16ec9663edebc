//! What is known of the notifications on a card and of their recipients, and what is to be done next.
//!
//! Each recipient gets its notifications in ascending order, the next one after the last was
//! acknowledged; one that fails is left alone for a while that grows. A notification that the card
//! does not give or does not remove is set aside and costs nothing but itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use es10_apdu::asn1::List;
use es10_apdu::es10b::NotificationMetadata;
use tokio::time::Instant;

use super::super::reading;
use super::Urgency;
use super::delivery::Failed;
use super::recipient::Recipient;
use crate::memory::snapshot::Notification;
use crate::runtime::backoff::{Backoff, Hurry, Rest};

#[derive(Debug, Default)]
pub(super) struct Book {
    /// What is on the card, by number.
    entries: BTreeMap<i64, Entry>,
    /// Entries of the card's list that cannot be read, as they are shown.
    unreadable: Vec<Notification>,
    recipients: BTreeMap<Recipient, Manners>,
    /// While the card does not give its list nothing else is tried.
    list: Rest,
    /// When the card gave it.
    listed_at: Option<Instant>,
    hurry: Hurry,
}

/// A notification on the card.
#[derive(Debug)]
struct Entry {
    recipient: Recipient,
    stand: Stand,
    /// Why it is set aside; until when, its rest says.
    aside: Option<String>,
    rest: Rest,
    /// As it is shown, without what is known of its delivery.
    shown: Notification,
}

/// Where a notification stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stand {
    /// It is to be delivered, once neither it nor its recipient rests.
    Waiting,
    /// It was read and given to a delivery.
    OnItsWay,
    /// The recipient has it; it is to be removed from the card.
    Delivered,
}

/// How a recipient behaves.
#[derive(Debug, Default)]
struct Manners {
    /// Something is on its way to it.
    busy: bool,
    rest: Rest,
    /// Why the last delivery failed.
    last_error: Option<Failed>,
}

impl Book {
    /// The card gave its list.
    pub(super) fn listed(&mut self, list: &List<NotificationMetadata>) {
        self.list = Rest::default();
        self.listed_at = Some(Instant::now());
        if list.unreadable.len() > self.unreadable.len() {
            let count = list.unreadable.len();
            tracing::warn!(count, "entries of the card's list cannot be read");
        }
        self.unreadable = list.unreadable.iter().map(reading::unreadable).collect();
        let mut known = std::mem::take(&mut self.entries);
        for metadata in &list.items {
            let number = metadata.seq_number;
            let recipient = Recipient::of(&metadata.notification_address.to_string());
            let shown = reading::notification(metadata);
            let entry = match known.remove(&number) {
                Some(known) if known.recipient == recipient => Entry { shown, ..known },
                _ => Entry {
                    recipient,
                    stand: Stand::Waiting,
                    aside: None,
                    rest: Rest::default(),
                    shown,
                },
            };
            self.entries.insert(number, entry);
        }
        // A recipient that has nothing waiting has nothing to be left alone for.
        let entries = &self.entries;
        let is_wanted = |name: &Recipient| entries.values().any(|entry| entry.recipient == *name);
        self.recipients
            .retain(|name, manners| manners.busy || is_wanted(name));
    }

    /// The card did not give its list. A client that reads meanwhile does not put off the next
    /// attempt.
    pub(super) fn not_listed(&mut self, error: &impl fmt::Display) {
        if self.list.is_over() {
            let retry_in_s = self.list.fail(&ASIDE).as_secs();
            tracing::warn!(%error, retry_in_s, "the card does not list its notifications");
        }
    }

    /// What is to be removed from the card.
    pub(super) fn to_remove(&self, urgency: Urgency) -> Vec<i64> {
        let entries = self.entries.iter();
        let is_to_go = |number: i64, entry: &Entry| {
            let may_be_tried = entry.rest.is_over() || self.is_urgent(urgency, number, entry);
            entry.stand == Stand::Delivered && may_be_tried
        };
        entries
            .filter(|(number, entry)| is_to_go(**number, entry))
            .map(|(number, _)| *number)
            .collect()
    }

    /// What is to be read and delivered, in order, but not more than `most`.
    pub(super) fn to_deliver(&self, urgency: Urgency, most: usize) -> Vec<(i64, Recipient)> {
        let is_ready = |number: i64, entry: &Entry| {
            let is_urgent = self.is_urgent(urgency, number, entry);
            let may = |rest: &Rest| is_urgent || rest.is_over();
            let manners = self.recipients.get(&entry.recipient);
            let may_be_tried = manners.is_none_or(|manners| !manners.busy && may(&manners.rest));
            entry.stand == Stand::Waiting && may(&entry.rest) && may_be_tried
        };
        let entries = self.entries.iter();
        let ready = entries.filter(|(number, entry)| is_ready(**number, entry));
        ready
            .map(|(number, entry)| (*number, entry.recipient.clone()))
            .take(most)
            .collect()
    }

    /// Whether it is tried although it rests.
    fn is_urgent(&self, urgency: Urgency, number: i64, entry: &Entry) -> bool {
        match urgency {
            Urgency::Due => false,
            Urgency::Now => true,
            Urgency::UpTo(last) => {
                let wanted = self.entries.get(&last);
                number <= last && wanted.is_some_and(|last| last.recipient == entry.recipient)
            }
        }
    }

    /// Notifications were given to a delivery to their recipient.
    pub(super) fn on_their_way(
        &mut self,
        recipient: &Recipient,
        numbers: impl Iterator<Item = i64>,
    ) {
        for number in numbers {
            if let Some(entry) = self.entries.get_mut(&number) {
                entry.stand = Stand::OnItsWay;
                entry.aside = None;
                entry.rest = Rest::default();
            }
        }
        self.recipients.entry(recipient.clone()).or_default().busy = true;
    }

    /// The recipient has the notification with this number.
    pub(super) fn acknowledged(&mut self, number: i64) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.stand = Stand::Delivered;
            if let Some(manners) = self.recipients.get_mut(&entry.recipient) {
                manners.has_answered();
            }
        }
    }

    /// Nothing is on its way to the recipient any more.
    pub(super) fn ended(&mut self, recipient: &Recipient, error: Option<Failed>) {
        for entry in self.entries.values_mut() {
            if entry.stand == Stand::OnItsWay && entry.recipient == *recipient {
                entry.stand = Stand::Waiting;
            }
        }
        let manners = self.recipients.entry(recipient.clone()).or_default();
        manners.busy = false;
        let Some(error) = error else {
            return manners.has_answered();
        };
        let (recipient, retry_in_s) = (recipient.name(), manners.rest.fail(&LEFT_ALONE).as_secs());
        let why = &*error.why;
        tracing::warn!(
            recipient,
            why,
            retry_in_s,
            "a notification could not be delivered"
        );
        manners.last_error = Some(error);
    }

    /// The card has removed a notification.
    pub(super) fn removed(&mut self, number: i64) {
        self.entries.remove(&number);
    }

    /// The card does not give or remove a notification, or it has no recipient: that is tried again
    /// less and less often.
    pub(super) fn set_aside(&mut self, number: i64, why: &str) {
        if let Some(entry) = self.entries.get_mut(&number) {
            let recipient = entry.recipient.name();
            let retry_in_s = entry.rest.fail(&ASIDE).as_secs();
            tracing::warn!(
                number,
                recipient,
                why,
                retry_in_s,
                "a notification is set aside"
            );
            entry.aside = Some(why.to_owned());
        }
    }

    /// Recipients have just answered: nothing keeps them from being given the next one.
    pub(super) fn have_answered(&mut self, is_one: impl Fn(&Recipient) -> bool) {
        for (recipient, manners) in &mut self.recipients {
            if is_one(recipient) {
                manners.has_answered();
            }
        }
    }

    /// A network has come up: recipients that were not reached are tried again soon.
    pub(super) fn network_came_up(&mut self) {
        let Self {
            recipients, hurry, ..
        } = self;
        let mut end = None;
        for manners in recipients.values_mut() {
            let error = manners.last_error.as_ref();
            if error.is_some_and(|error| error.is_local) {
                manners
                    .rest
                    .end_by(*end.get_or_insert_with(|| hurry.next()));
            }
        }
    }

    /// What did not get through yet: its recipient could not be given it, or it is set aside.
    pub(super) fn not_through(&self) -> impl Iterator<Item = i64> + '_ {
        let entries = self.entries.iter().filter(|(_, entry)| {
            let manners = self.recipients.get(&entry.recipient);
            let has_failed = manners.is_some_and(|manners| manners.last_error.is_some());
            has_failed || entry.aside.is_some()
        });
        entries.map(|(number, _)| *number)
    }

    /// Whether it is on the card, as far as is known.
    pub(super) fn has(&self, number: i64) -> bool {
        self.entries.contains_key(&number)
    }

    /// Whether something is on its way.
    pub(super) fn is_busy(&self) -> bool {
        self.recipients.values().any(|manners| manners.busy)
    }

    /// How many notifications are on the card, as far as is known.
    pub(super) fn pending(&self) -> usize {
        self.entries.len() + self.unreadable.len()
    }

    /// When there is something to be done next.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        let entries = self.entries.values();
        let next = entries.filter_map(|entry| self.due_at(entry));
        let daily = self.listed_at.map(|at| at + DAY);
        self.list.until().or_else(|| next.chain(daily).min())
    }

    /// What is on the card, with what is known of the deliveries.
    pub(super) fn shown(&self) -> Vec<Notification> {
        let readable = self.entries.values().map(|entry| {
            let manners = self.recipients.get(&entry.recipient);
            let failures = match &entry.aside {
                Some(_) => entry.rest.failures(),
                None => manners.map_or(0, |manners| manners.rest.failures()),
            };
            Notification {
                failed_attempts: failures,
                last_error: manners
                    .and_then(|manners| Some(manners.last_error.as_ref()?.why.clone())),
                set_aside: entry.aside.clone(),
                ..entry.shown.clone()
            }
        });
        readable.chain(self.unreadable.iter().cloned()).collect()
    }

    /// When a notification is to be looked at again; `None` while its recipient is busy.
    fn due_at(&self, entry: &Entry) -> Option<Instant> {
        let manners = self.recipients.get(&entry.recipient);
        match entry.stand {
            Stand::OnItsWay => None,
            // Those that were acknowledged are removed together, after the last one.
            Stand::Delivered if entry.aside.is_none() => (!self.is_busy()).then(Instant::now),
            Stand::Delivered => entry.rest.until(),
            Stand::Waiting if manners.is_some_and(|manners| manners.busy) => None,
            Stand::Waiting => {
                let recipient_rests = manners.and_then(|manners| manners.rest.until());
                let rests = entry.rest.until().max(recipient_rests);
                Some(rests.unwrap_or_else(Instant::now))
            }
        }
    }
}

impl Manners {
    fn has_answered(&mut self) {
        self.rest = Rest::default();
        self.last_error = None;
    }
}

/// The card is looked at this often even if nothing is known to wait: what its applets do makes
/// notifications as well.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a recipient that failed is left alone.
const LEFT_ALONE: Backoff = Backoff {
    first: Duration::from_secs(10),
    longest: Duration::from_secs(3600),
};
/// How long a notification that is set aside is left alone.
const ASIDE: Backoff = Backoff {
    first: Duration::from_secs(60),
    longest: Duration::from_secs(6 * 3600),
};
