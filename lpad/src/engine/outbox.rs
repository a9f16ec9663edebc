//! The outbox: every notification reaches its recipient, in order, whatever becomes of the others.
//!
//! SGP.22 v2.5 section 3.5. The card keeps the notifications; the [`Book`] says what became of each
//! one and what is to be done next. The card's list is read first (ListNotification, BF28), then each
//! notification by its number, at most [`ROUND`] at a time: any number of them may wait, and memory
//! does not grow with it. Each recipient is delivered to by a task of its own.

mod book;
mod delivery;
mod recipient;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use es9_client::{Connect, Es9Client, ServerAddress};
use es10_apdu::types::Eid;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::book::Book;
use self::delivery::{Delivery, News};
use self::recipient::Recipient;
use crate::memory::journal::{Record, SharedJournal, WaitingNotifications};
use crate::memory::snapshot::Notification;
use crate::procedure::notifications::Retrieved;
use crate::procedure::{Card, FunctionError, notifications};
use crate::runtime::clock::Clock;

/// Delivers the notifications of one eUICC.
#[derive(Debug)]
pub(crate) struct Outbox<C> {
    client: Arc<Es9Client<C>>,
    journal: SharedJournal,
    clock: Clock,
    /// Since when notifications have waited that did not get through, by number.
    waiting: BTreeMap<i64, u64>,
    /// When it was told last that some have waited for long.
    told_at: Option<Instant>,
    /// The card whose notifications these are.
    eid: Option<Eid>,
    book: Book,
    /// A notification that need not be read, and its number: the next round has it.
    at_hand: Option<(i64, Vec<u8>)>,
    deliveries: JoinSet<()>,
    sender: mpsc::UnboundedSender<News>,
    news: mpsc::UnboundedReceiver<News>,
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
    /// The one with this number, with those before it that its recipient has to get first, and those that
    /// are due.
    UpTo(i64),
}

impl<C: Connect + 'static> Outbox<C> {
    pub(crate) fn new(client: Arc<Es9Client<C>>, journal: SharedJournal, clock: Clock) -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        Self {
            client,
            journal,
            clock,
            waiting: BTreeMap::new(),
            told_at: None,
            eid: None,
            book: Book::default(),
            at_hand: None,
            deliveries: JoinSet::new(),
            sender,
            news,
        }
    }

    /// Says which card is there. What is known of another one's notifications is forgotten, and what
    /// is under way for it ends unheard: its numbers mean something else here.
    pub(crate) fn belongs_to(&mut self, eid: Eid) {
        if self.eid != Some(eid) {
            let waiting = self
                .journal
                .look(|intent| intent.waiting.get(&eid).cloned());
            let (client, clock) = (Arc::clone(&self.client), self.clock.clone());
            *self = Self {
                eid: Some(eid),
                waiting: waiting.unwrap_or_default(),
                ..Self::new(client, self.journal.clone(), clock)
            };
        }
    }

    /// Takes a notification that the card has just given, as its list will have it. That saves a
    /// reading; its turn is behind the older ones all the same.
    pub(crate) fn hand_over(&mut self, number: i64, octets: Vec<u8>) {
        self.at_hand = Some((number, octets));
    }

    /// One round: removes what was acknowledged, reads the card's list, and begins to deliver what
    /// is to be delivered. Gives the number of notifications removed. What a round that is cut off
    /// did not remove, the next one removes; deliveries go on.
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
            pending: self.book.pending(),
        })
    }

    /// Reads the card's list. Of what is not in it any more nothing is remembered. One that the card
    /// does not give is asked for again later.
    pub(crate) async fn list(&mut self, card: &mut impl Card) -> Result<(), FunctionError> {
        let list = notifications::metadata(card).await;
        match &list {
            Ok(list) => {
                self.book.listed(list);
                self.keep_waiting();
            }
            Err(error) if error.loses_card() => {}
            Err(error) => self.book.not_listed(error),
        }
        list.map(drop)
    }

    /// Resolves when a delivery has something to say; never without deliveries. Nothing is lost when
    /// the future is dropped.
    pub(crate) async fn settle(&mut self) {
        // The outbox holds a sender itself, so the channel never ends.
        match self.news.recv().await {
            Some(News::Acknowledged(number)) => self.book.acknowledged(number),
            Some(News::Ended { recipient, error }) => {
                self.book.ended(&recipient, error);
                self.keep_waiting();
            }
            None => {}
        }
        while self.deliveries.try_join_next().is_some() {}
    }

    /// Whether something is on its way.
    pub(crate) fn is_busy(&self) -> bool {
        self.book.is_busy()
    }

    /// Whether a round would do something now.
    pub(crate) fn is_due(&self) -> bool {
        self.next_attempt().is_some_and(|at| at <= Instant::now())
    }

    /// Removes a notification from the card, delivered or not.
    pub(crate) async fn forget(
        &mut self,
        card: &mut impl Card,
        number: i64,
    ) -> Result<(), FunctionError> {
        notifications::remove(card, number).await?;
        self.book.removed(number);
        self.keep_waiting();
        Ok(())
    }

    /// When the next round is due.
    pub(crate) fn next_attempt(&self) -> Option<Instant> {
        self.book.next_attempt()
    }

    /// A server has just answered: what waits for it is due at once.
    pub(crate) fn has_answered(&mut self, server: &ServerAddress) {
        let Self { book, journal, .. } = self;
        let is_it = |recipient: &Recipient| {
            recipient
                .server(journal)
                .is_ok_and(|known| known == *server)
        };
        book.have_answered(is_it);
    }

    /// A network has come up: what failed for want of one is tried again soon.
    pub(crate) fn network_came_up(&mut self) {
        self.book.network_came_up();
    }

    /// What is on the card and what is known of the deliveries, as of the last list.
    pub(crate) fn shown(&self) -> Vec<Notification> {
        let mut shown = self.book.shown();
        for one in &mut shown {
            one.waiting_since_s = self.waiting.get(&one.sequence_number).copied();
        }
        shown
    }

    /// What to tell people of notifications that have waited for a day, once a day.
    pub(crate) fn stuck(&mut self) -> Option<String> {
        self.keep_waiting();
        let now = self.clock.plausible_seconds()?;
        let is_stuck = |since_s: &&u64| now.saturating_sub(**since_s) >= DAY.as_secs();
        let stuck = self.waiting.values().filter(is_stuck).count();
        let is_told = self.told_at.is_some_and(|at| at.elapsed() < DAY);
        if stuck == 0 || is_told {
            return None;
        }
        self.told_at = Some(Instant::now());
        let (number, _) = self.waiting.iter().find(|(_, since_s)| is_stuck(since_s))?;
        let shown = self.book.shown();
        let one = shown.iter().find(|one| one.sequence_number == *number)?;
        let why = one.set_aside.as_deref().or(one.last_error.as_deref());
        Some(format!(
            "{stuck} of the card's notifications could not be delivered for a day or longer, number \
             {number} for {}: {}",
            one.address,
            why.unwrap_or("it waits for those before it")
        ))
    }

    /// Keeps over a restart since when notifications wait that did not get through. Those that do at once
    /// cost no line of the journal.
    fn keep_waiting(&mut self) {
        let (Some(eid), Some(now)) = (self.eid, self.clock.plausible_seconds()) else {
            return;
        };
        let before = self.waiting.clone();
        self.waiting.retain(|number, _| self.book.has(*number));
        for number in self.book.not_through().take(MOST_WAITING) {
            let since = self.waiting.entry(number).or_insert(now);
            // The clock was ahead.
            *since = now.min(*since);
        }
        if self.waiting != before {
            let since = self.waiting.clone();
            let waiting = WaitingNotifications { eid, since };
            self.journal.note(Record::Waiting(waiting));
        }
    }

    /// Removes from the card what was acknowledged; gives the number of notifications removed.
    async fn remove(
        &mut self,
        card: &mut impl Card,
        urgency: Urgency,
    ) -> Result<usize, FunctionError> {
        let mut removed = 0;
        for number in self.book.to_remove(urgency) {
            match notifications::remove(card, number).await {
                Ok(()) => {
                    self.book.removed(number);
                    removed += 1;
                }
                Err(error) if error.loses_card() => return Err(error),
                Err(error) => {
                    let why = "it is delivered, and the card does not remove it";
                    self.book.set_aside(number, &format!("{why}: {error}"));
                }
            }
        }
        Ok(removed)
    }

    /// Reads what is to be delivered, at most a round of it, and begins to deliver it.
    async fn begin(&mut self, card: &mut impl Card, urgency: Urgency) -> Result<(), FunctionError> {
        let mut deliveries = BTreeMap::new();
        let mut at_hand = self.at_hand.take();
        let mut read = Ok(());
        for (number, recipient) in self.book.to_deliver(urgency, ROUND) {
            let server = match recipient.server(&self.journal) {
                Ok(server) => server,
                Err(error) => {
                    let name = recipient.name();
                    let why = format!("it cannot be delivered: {name:?} is no address: {error}");
                    self.book.set_aside(number, &why);
                    continue;
                }
            };
            let retrieved = match at_hand.take_if(|(at_hand, _)| *at_hand == number) {
                Some((_, octets)) => Ok(Retrieved::Octets(octets)),
                None => notifications::retrieve(card, number).await,
            };
            let why = match retrieved {
                Ok(Retrieved::Octets(octets)) => {
                    let delivery = deliveries
                        .entry(recipient.clone())
                        .or_insert_with(|| Delivery::new(recipient, server));
                    delivery.queue.push((number, octets));
                    continue;
                }
                Ok(Retrieved::Gone) => "the card lists it and does not have it".to_owned(),
                Err(error) if error.loses_card() => {
                    read = Err(error);
                    break;
                }
                Err(error) => error.to_string(),
            };
            let why = format!("it cannot be read from the card: {why}");
            self.book.set_aside(number, &why);
        }
        // What was read before the card was lost can be delivered without it.
        for delivery in deliveries.into_values() {
            let numbers = delivery.queue.iter().map(|(number, _)| *number);
            self.book.on_their_way(&delivery.recipient, numbers);
            let (client, sender) = (Arc::clone(&self.client), self.sender.clone());
            self.deliveries.spawn(delivery.run(client, sender));
        }
        read
    }
}

/// After how long people hear of what waits, and how often.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Of how many notifications it is kept since when they wait.
const MOST_WAITING: usize = 64;
/// How many notifications are read in one round.
const ROUND: usize = 16;
/// How long the channel is held open for deliveries.
const CHANNEL_HELD: Duration = Duration::from_secs(5);
