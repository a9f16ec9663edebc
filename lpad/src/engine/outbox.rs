//! The outbox: every notification reaches its recipient, in order, whatever becomes of the others.
//!
//! SGP.22 v2.5 section 3.5. The card keeps the notifications; the outbox remembers what became of
//! each one and how the recipients behave. Each recipient gets its notifications in ascending
//! order, the next one after the last was acknowledged; one that fails is left alone for a while
//! that grows. A notification that the card does not give or does not remove is set aside and costs
//! nothing but itself.
//!
//! The card's list is read first (ListNotification, BF28), then each notification by its number,
//! at most [`ROUND`] at a time: any number of them may wait, and memory does not grow with it.

mod delivery;
mod recipient;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use es9_client::{Connect, Es9Client, ServerAddress};
use es10_apdu::asn1::List;
use es10_apdu::es10b::NotificationMetadata;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::delivery::{Delivery, Message, News};
use self::recipient::{Manners, Recipient};
use super::reading;
use crate::memory::journal::SharedJournal;
use crate::memory::snapshot::Notification;
use crate::procedure::notifications::Retrieved;
use crate::procedure::{Card, FunctionError, notifications};
use crate::runtime::backoff::Backoff;

/// Delivers the notifications of one eUICC.
#[derive(Debug)]
pub(crate) struct Outbox<C> {
    client: Arc<Es9Client<C>>,
    journal: SharedJournal,
    /// The card whose notifications these are.
    eid: Option<String>,
    /// Counts cards, so that a delivery for an earlier one is not taken for one of this card.
    card: u64,
    /// What is on the card, by number.
    waiting: BTreeMap<i64, Waiting>,
    /// Entries of the card's list that cannot be read, as they are shown.
    unreadable: Vec<Notification>,
    /// The card did not give its list: how often in a row, and when it is asked again.
    unlisted: Option<(u32, Instant)>,
    recipients: BTreeMap<Recipient, Manners>,
    deliveries: JoinSet<()>,
    sender: mpsc::UnboundedSender<Message>,
    messages: mpsc::UnboundedReceiver<Message>,
}

/// A notification on the card.
#[derive(Debug)]
struct Waiting {
    recipient: Recipient,
    state: WaitingState,
    /// As it is shown, without what is known of its delivery.
    shown: Notification,
}

/// Where a notification stands. One whose recipient rests is due, and waits for the recipient.
#[derive(Debug)]
enum WaitingState {
    /// It is to be delivered.
    Due,
    /// It was read and given to a delivery.
    OnItsWay,
    /// The recipient has it, the card still has it too.
    Acknowledged,
    /// It is left alone for a while that grows.
    Aside {
        why: AsideReason,
        tries: u32,
        until: Instant,
    },
}

/// Why a notification is set aside.
#[derive(Clone, Debug)]
enum AsideReason {
    /// The card does not give it.
    NotGiven(String),
    /// It names no server.
    NoRecipient(String),
    /// It was delivered, and the card does not remove it: only the removal is tried again.
    NotRemoved(String),
}

/// What deliveries came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Delivered {
    /// Notifications delivered and removed.
    pub(crate) delivered: usize,
    /// Notifications that stay on the card.
    pub(crate) pending: usize,
}

/// Which notifications are tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Urgency {
    /// Those that are due.
    Due,
    /// All of them, as when a client asks.
    Now,
}

impl<C: Connect + 'static> Outbox<C> {
    pub(crate) fn new(client: Arc<Es9Client<C>>, journal: SharedJournal) -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        Self {
            client,
            journal,
            eid: None,
            card: 0,
            waiting: BTreeMap::new(),
            unreadable: Vec::new(),
            unlisted: None,
            recipients: BTreeMap::new(),
            deliveries: JoinSet::new(),
            sender,
            messages,
        }
    }

    /// Says which card is there. What is known of another one's notifications is forgotten: its
    /// numbers mean something else here.
    pub(crate) fn belongs_to(&mut self, eid: &str) {
        if self.eid.as_deref() == Some(eid) {
            return;
        }
        self.eid = Some(eid.to_owned());
        self.card += 1;
        self.waiting.clear();
        self.unreadable.clear();
        self.unlisted = None;
        self.recipients.clear();
        self.deliveries.abort_all();
    }

    /// One round: removes what was acknowledged, reads the card's list, and begins to deliver what
    /// is to be delivered. Gives the number of notifications removed.
    ///
    /// # Errors
    ///
    /// When the card is lost, or does not give its list.
    ///
    /// # Cancel safety
    ///
    /// What was not removed is removed by the next round; deliveries go on.
    pub(crate) async fn round(
        &mut self,
        card: &mut impl Card,
        urgency: Urgency,
    ) -> Result<usize, FunctionError> {
        let removed = self.remove(card, urgency).await?;
        self.list(card).await?;
        self.begin(card, urgency).await?;
        Ok(removed)
    }

    /// Delivers, and removes what is acknowledged soon. The channel is held open meanwhile, so a
    /// recipient that takes its time is not waited for longer than [`CHANNEL_HELD`]: its delivery
    /// goes on, and the next round removes what it achieved.
    ///
    /// # Errors
    ///
    /// As [`Outbox::round`].
    ///
    /// # Cancel safety
    ///
    /// As [`Outbox::round`].
    pub(crate) async fn deliver(
        &mut self,
        card: &mut impl Card,
        urgency: Urgency,
    ) -> Result<Delivered, FunctionError> {
        let end = Instant::now() + CHANNEL_HELD;
        let mut delivered = self.round(card, urgency).await?;
        loop {
            while self.is_busy() && timeout_at(end, self.settle()).await.is_ok() {
                delivered += self.remove(card, Urgency::Due).await?;
            }
            if self.is_busy() || !self.is_due() || Instant::now() >= end {
                break;
            }
            delivered += self.round(card, Urgency::Due).await?;
        }
        Ok(Delivered {
            delivered,
            pending: self.pending(),
        })
    }

    /// Resolves when a delivery has something to say; never without deliveries.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn settle(&mut self) {
        // The outbox holds a sender itself, so the channel never ends.
        if let Some(Message { card, news }) = self.messages.recv().await
            && card == self.card
        {
            match news {
                News::Acknowledged(number) => self.acknowledged(number),
                News::Ended { recipient, error } => self.ended(&recipient, error),
            }
        }
        while self.deliveries.try_join_next().is_some() {}
    }

    /// Whether something is on its way.
    pub(crate) fn is_busy(&self) -> bool {
        self.recipients.values().any(|manners| manners.busy)
    }

    /// Whether a round would do something now.
    pub(crate) fn is_due(&self) -> bool {
        self.next_attempt().is_some_and(|at| at <= Instant::now())
    }

    /// How many notifications are on the card, as far as is known.
    pub(crate) fn pending(&self) -> usize {
        self.waiting.len() + self.unreadable.len()
    }

    /// When the next round is due.
    pub(crate) fn next_attempt(&self) -> Option<Instant> {
        let list = self.unlisted.map(|(_, at)| at);
        let next = self.waiting.values().filter_map(|one| self.due_at(one));
        match list {
            // Without the list nothing can be done.
            Some(at) => Some(at),
            None => next.min(),
        }
    }

    /// A server has just answered: what waits for it is due at once.
    pub(crate) fn has_answered(&mut self, server: &ServerAddress) {
        for (recipient, manners) in &mut self.recipients {
            if recipient
                .server(&self.journal)
                .is_ok_and(|known| known == *server)
            {
                manners.has_answered();
            }
        }
    }

    /// What is on the card and what is known of the deliveries, as of the last round.
    pub(crate) fn shown(&self) -> Vec<Notification> {
        let readable = self.waiting.values().map(|one| {
            let mut shown = one.shown.clone();
            if let Some(manners) = self.recipients.get(&one.recipient) {
                shown.failed_attempts = manners.failures;
                shown.last_error = manners.last_error.clone();
            }
            if let WaitingState::Aside { why, tries, .. } = &one.state {
                shown.failed_attempts = *tries;
                shown.set_aside = Some(why.to_string());
            }
            shown
        });
        readable.chain(self.unreadable.iter().cloned()).collect()
    }

    /// Reads the card's list. Of what is not in it any more nothing is remembered.
    pub(crate) async fn list(&mut self, card: &mut impl Card) -> Result<(), FunctionError> {
        match notifications::metadata(card).await {
            Ok(list) => {
                self.unlisted = None;
                self.listed(list);
                Ok(())
            }
            Err(error) => {
                // A client that reads in between does not put off the next attempt.
                let rests = self.unlisted.is_some_and(|(_, at)| at > Instant::now());
                if !error.loses_card() && !rests {
                    let tries = self.unlisted.map_or(0, |(tries, _)| tries) + 1;
                    let delay = ASIDE.delay(tries);
                    self.unlisted = Some((tries, Instant::now() + delay));
                    tracing::warn!(
                        %error, retry_in_s = delay.as_secs(),
                        "the card does not list its notifications"
                    );
                }
                Err(error)
            }
        }
    }

    fn listed(&mut self, list: List<NotificationMetadata>) {
        if list.unreadable.len() > self.unreadable.len() {
            let count = list.unreadable.len();
            tracing::warn!(count, "entries of the card's list cannot be read");
        }
        self.unreadable = list.unreadable.iter().map(reading::unreadable).collect();
        let mut known = std::mem::take(&mut self.waiting);
        for entry in list.items {
            let recipient = Recipient::of(&entry.notification_address.to_string());
            let state = known
                .remove(&entry.seq_number)
                .filter(|known| known.recipient == recipient)
                .map_or(WaitingState::Due, |known| known.state);
            let waiting = Waiting {
                recipient,
                state,
                shown: reading::notification(&entry),
            };
            self.waiting.insert(entry.seq_number, waiting);
        }
        // A recipient that has nothing waiting has nothing to be left alone for.
        let waiting = &self.waiting;
        let is_wanted = |name: &Recipient| waiting.values().any(|one| one.recipient == *name);
        self.recipients
            .retain(|name, manners| manners.busy || is_wanted(name));
    }

    /// Removes from the card what was acknowledged; gives the number of notifications removed.
    async fn remove(
        &mut self,
        card: &mut impl Card,
        urgency: Urgency,
    ) -> Result<usize, FunctionError> {
        let now = Instant::now();
        let is_to_go = |one: &Waiting| match &one.state {
            WaitingState::Acknowledged => true,
            WaitingState::Aside {
                why: AsideReason::NotRemoved(_),
                until,
                ..
            } => urgency == Urgency::Now || *until <= now,
            _ => false,
        };
        let waiting = self.waiting.iter();
        let to_go: Vec<i64> = waiting
            .filter(|(_, one)| is_to_go(one))
            .map(|(number, _)| *number)
            .collect();
        let mut removed = 0;
        for number in to_go {
            match notifications::remove(card, number).await {
                Ok(()) => {
                    self.waiting.remove(&number);
                    removed += 1;
                }
                Err(error) if error.loses_card() => return Err(error),
                Err(error) => self.put_aside(number, AsideReason::NotRemoved(error.to_string())),
            }
        }
        Ok(removed)
    }

    /// Reads what is to be delivered, at most a round of it, and begins to deliver it.
    async fn begin(&mut self, card: &mut impl Card, urgency: Urgency) -> Result<(), FunctionError> {
        let now = Instant::now();
        let is_wanted = |one: &&i64| {
            let one = &self.waiting[*one];
            let is_ready = match &one.state {
                WaitingState::Due => true,
                WaitingState::Aside {
                    why: AsideReason::NotRemoved(_),
                    ..
                } => false,
                WaitingState::Aside { until, .. } => urgency == Urgency::Now || *until <= now,
                WaitingState::OnItsWay | WaitingState::Acknowledged => false,
            };
            let manners = self.recipients.get(&one.recipient);
            let may_be_tried = manners.is_none_or(|manners| {
                let rests = manners.rests_until.is_some_and(|until| until > now);
                !manners.busy && (urgency == Urgency::Now || !rests)
            });
            is_ready && may_be_tried
        };
        let wanted: Vec<i64> = self
            .waiting
            .keys()
            .filter(is_wanted)
            .take(ROUND)
            .copied()
            .collect();
        let mut deliveries = BTreeMap::new();
        let mut lost = None;
        for number in wanted {
            match notifications::retrieve(card, number).await {
                Ok(Retrieved::Octets(octets)) => self.queue(&mut deliveries, number, octets),
                Ok(Retrieved::Gone) => {
                    let why = "the card lists it and does not have it";
                    self.put_aside(number, AsideReason::NotGiven(why.to_owned()));
                }
                Err(error) if error.loses_card() => {
                    lost = Some(error);
                    break;
                }
                Err(error) => self.put_aside(number, AsideReason::NotGiven(error.to_string())),
            }
        }
        // What was read before the card was lost can be delivered without it.
        for delivery in deliveries.into_values() {
            let (client, sender) = (Arc::clone(&self.client), self.sender.clone());
            self.deliveries.spawn(delivery.run(client, sender));
        }
        lost.map_or(Ok(()), Err)
    }

    /// Adds a notification that was read to its recipient's delivery.
    fn queue(
        &mut self,
        deliveries: &mut BTreeMap<Recipient, Delivery>,
        number: i64,
        octets: Vec<u8>,
    ) {
        let Some(one) = self.waiting.get_mut(&number) else {
            return;
        };
        let recipient = one.recipient.clone();
        let server = match recipient.server(&self.journal) {
            Ok(server) => server,
            Err(error) => {
                let why = format!("{:?} is no address: {error}", recipient.name());
                return self.put_aside(number, AsideReason::NoRecipient(why));
            }
        };
        one.state = WaitingState::OnItsWay;
        self.recipients.entry(recipient.clone()).or_default().busy = true;
        let card = self.card;
        let delivery = deliveries
            .entry(recipient.clone())
            .or_insert_with(|| Delivery {
                card,
                recipient,
                server,
                queue: Vec::new(),
            });
        delivery.queue.push((number, octets));
    }

    fn acknowledged(&mut self, number: i64) {
        let Some(one) = self.waiting.get_mut(&number) else {
            return;
        };
        one.state = WaitingState::Acknowledged;
        if let Some(manners) = self.recipients.get_mut(&one.recipient) {
            manners.has_answered();
        }
    }

    fn ended(&mut self, recipient: &Recipient, error: Option<String>) {
        for one in self.waiting.values_mut() {
            if matches!(one.state, WaitingState::OnItsWay) && one.recipient == *recipient {
                one.state = WaitingState::Due;
            }
        }
        let manners = self.recipients.entry(recipient.clone()).or_default();
        manners.busy = false;
        let Some(error) = error else {
            return manners.has_answered();
        };
        manners.failures = manners.failures.saturating_add(1);
        let delay = REST.delay(manners.failures);
        tracing::warn!(
            recipient = recipient.name(), %error, retry_in_s = delay.as_secs(),
            "a notification could not be delivered"
        );
        manners.rests_until = Some(Instant::now() + delay);
        manners.last_error = Some(error);
    }

    fn put_aside(&mut self, number: i64, why: AsideReason) {
        let Some(one) = self.waiting.get_mut(&number) else {
            return;
        };
        let tries = match &one.state {
            WaitingState::Aside { tries, .. } => tries.saturating_add(1),
            _ => 1,
        };
        let delay = ASIDE.delay(tries);
        let recipient = one.recipient.name();
        tracing::warn!(
            number, recipient, %why, retry_in_s = delay.as_secs(),
            "a notification is set aside"
        );
        let until = Instant::now() + delay;
        one.state = WaitingState::Aside { why, tries, until };
    }

    /// When a notification is to be looked at again; `None` while its recipient is busy.
    fn due_at(&self, one: &Waiting) -> Option<Instant> {
        let manners = self.recipients.get(&one.recipient);
        let is_busy = manners.is_some_and(|manners| manners.busy);
        let rests_until = manners.and_then(|manners| manners.rests_until);
        match &one.state {
            WaitingState::OnItsWay => None,
            // Removed together when the last one was acknowledged.
            WaitingState::Acknowledged => (!self.is_busy()).then(Instant::now),
            WaitingState::Aside {
                why: AsideReason::NotRemoved(_),
                until,
                ..
            } => Some(*until),
            _ if is_busy => None,
            WaitingState::Aside { until, .. } => {
                Some(rests_until.map_or(*until, |at| at.max(*until)))
            }
            WaitingState::Due => Some(rests_until.unwrap_or_else(Instant::now)),
        }
    }
}

impl fmt::Display for AsideReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGiven(why) => write!(f, "it cannot be read from the card: {why}"),
            Self::NoRecipient(why) => write!(f, "it cannot be delivered: {why}"),
            Self::NotRemoved(why) => {
                write!(f, "it is delivered, and the card does not remove it: {why}")
            }
        }
    }
}

/// How many notifications are read in one round.
const ROUND: usize = 16;
/// How long the channel is held open for deliveries.
const CHANNEL_HELD: Duration = Duration::from_secs(5);
/// How long a recipient that failed is left alone.
const REST: Backoff = Backoff {
    first: Duration::from_secs(10),
    longest: Duration::from_secs(3600),
};
/// How long a notification that is set aside is left alone.
const ASIDE: Backoff = Backoff {
    first: Duration::from_secs(60),
    longest: Duration::from_secs(6 * 3600),
};
