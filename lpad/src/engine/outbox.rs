//! The outbox: every notification reaches its recipient, in order, whatever becomes of the others.
//!
//! SGP.22 v2.5 section 3.5. The card keeps the notifications; the outbox only remembers how their
//! recipients behave. Each recipient gets its notifications in ascending order, the next one after
//! the last was acknowledged; recipients that fail are left alone for a while that grows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use es9_client::{Connect, Es9Client, ServerAddress};
use es10_apdu::asn1::Raw;
use es10_apdu::es10b::{NotificationMetadata, PendingNotification};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::memory::journal::SharedJournal;
use crate::memory::snapshot::Notification;
use crate::procedure::notifications::Pending;
use crate::procedure::{Card, FunctionError, notifications};
use crate::runtime::backoff::Backoff;

/// Delivers the notifications of one eUICC.
#[derive(Debug)]
pub(crate) struct Outbox<C> {
    server: Arc<Es9Client<C>>,
    journal: SharedJournal,
    recipients: BTreeMap<String, Recipient>,
    deliveries: JoinSet<()>,
    sender: mpsc::UnboundedSender<Message>,
    messages: mpsc::UnboundedReceiver<Message>,
    /// Acknowledged, and still on the card.
    acknowledged: Vec<i64>,
}

/// How a recipient behaves.
#[derive(Debug, Default)]
struct Recipient {
    busy: bool,
    /// Something was to be delivered while it was busy.
    again: bool,
    failures: u32,
    not_before: Option<Instant>,
    last_error: Option<String>,
}

/// What a delivery has to say. There are at most as many as notifications on the card.
#[derive(Debug)]
enum Message {
    Acknowledged(i64),
    Ended {
        recipient: String,
        error: Option<String>,
    },
}

/// What a round of deliveries did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Delivered {
    /// Notifications delivered and removed.
    pub(crate) delivered: usize,
    /// Notifications that stay on the card.
    pub(crate) pending: usize,
}

/// Which recipients are tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Whom {
    /// Those that are not being left alone.
    Due,
    /// All of them.
    Everybody,
}

impl<C: Connect + 'static> Outbox<C> {
    pub(crate) fn new(server: Arc<Es9Client<C>>, journal: SharedJournal) -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        Self {
            server,
            journal,
            recipients: BTreeMap::new(),
            deliveries: JoinSet::new(),
            sender,
            messages,
            acknowledged: Vec::new(),
        }
    }

    /// Reads what waits on the card, delivers it and removes what was acknowledged.
    ///
    /// # Errors
    ///
    /// When the card is not reached. What was not removed will be delivered again.
    ///
    /// # Cancel safety
    ///
    /// Deliveries go on; what they achieve is removed by the next call.
    pub(crate) async fn deliver(
        &mut self,
        card: &mut impl Card,
        whom: Whom,
    ) -> Result<Delivered, FunctionError> {
        // What is on its way already would keep its recipient from being given what is new.
        let mut delivered = self.wait_until_idle(card).await?;
        let waiting = self.begin(card, whom).await?;
        let now = self.wait_until_idle(card).await?;
        delivered += now;
        Ok(Delivered {
            delivered,
            pending: waiting.saturating_sub(now),
        })
    }

    async fn wait_until_idle(&mut self, card: &mut impl Card) -> Result<usize, FunctionError> {
        let mut removed = self.remove_acknowledged(card).await?;
        while self.is_busy() {
            self.settle().await;
            removed += self.remove_acknowledged(card).await?;
        }
        Ok(removed)
    }

    /// Reads what waits on the card and begins to deliver it; gives the number of what waits.
    ///
    /// # Errors
    ///
    /// When the card is not reached.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes on the card.
    pub(crate) async fn begin(
        &mut self,
        card: &mut impl Card,
        whom: Whom,
    ) -> Result<usize, FunctionError> {
        let resting = match whom {
            Whom::Due => self.resting(),
            Whom::Everybody => Vec::new(),
        };
        let (pending, addresses) = match resting.is_empty() {
            true => everything(card).await?,
            // Nothing is read for those that are left alone: a day's worth takes a card seconds.
            false => all_but(card, &resting).await?,
        };
        if !pending.unreadable.is_empty() {
            let count = pending.unreadable.len();
            tracing::warn!(count, "notifications that cannot be read stay on the card");
        }
        // A recipient that has nothing waiting has nothing to be left alone for.
        self.recipients
            .retain(|name, recipient| recipient.busy || addresses.contains(name));
        self.start(pending.notifications);
        Ok(addresses.len())
    }

    /// The recipients that are left alone for now.
    fn resting(&self) -> Vec<String> {
        let now = Instant::now();
        let rests = |recipient: &Recipient| recipient.not_before.is_some_and(|until| until > now);
        let resting = self.recipients.iter().filter(|(_, one)| rests(one));
        resting.map(|(name, _)| name.clone()).collect()
    }

    /// Resolves when a delivery has something to say; never without deliveries.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn settle(&mut self) {
        // The outbox holds a sender itself, so the channel never ends.
        match self.messages.recv().await {
            Some(Message::Acknowledged(seq_number)) => self.acknowledged.push(seq_number),
            Some(Message::Ended { recipient, error }) => self.ended(&recipient, error),
            None => {}
        }
        while self.deliveries.try_join_next().is_some() {}
    }

    /// Removes from the card what was acknowledged; gives the number of notifications removed.
    ///
    /// # Errors
    ///
    /// When the card is not reached.
    ///
    /// # Cancel safety
    ///
    /// What was not removed is removed by the next call.
    pub(crate) async fn remove_acknowledged(
        &mut self,
        card: &mut impl Card,
    ) -> Result<usize, FunctionError> {
        let mut removed = 0;
        while let Some(seq_number) = self.acknowledged.last() {
            notifications::remove(card, *seq_number).await?;
            self.acknowledged.pop();
            removed += 1;
        }
        Ok(removed)
    }

    /// Whether something is on its way.
    pub(crate) fn is_busy(&self) -> bool {
        self.recipients.values().any(|recipient| recipient.busy)
    }

    /// Whether something waits for its removal from the card.
    pub(crate) fn has_acknowledged(&self) -> bool {
        !self.acknowledged.is_empty()
    }

    /// When a recipient that failed is due again.
    pub(crate) fn next_attempt(&self) -> Option<Instant> {
        let idle = self.recipients.values().filter(|recipient| !recipient.busy);
        idle.filter_map(|recipient| recipient.not_before).min()
    }

    /// Adds to notifications what is known of their recipients.
    pub(crate) fn annotate(&self, notifications: &mut [Notification]) {
        for notification in notifications {
            if let Some(recipient) = self.recipients.get(&key(&notification.address)) {
                notification.failed_attempts = recipient.failures;
                notification.last_error = recipient.last_error.clone();
            }
        }
    }

    fn start(&mut self, pending: Vec<Raw<PendingNotification>>) {
        let mut queues: BTreeMap<String, Vec<Raw<PendingNotification>>> = BTreeMap::new();
        for notification in pending {
            let address = notification.metadata().notification_address.to_string();
            queues.entry(address).or_default().push(notification);
        }
        for (address, mut queue) in queues {
            let recipient = self.recipients.entry(key(&address)).or_default();
            if recipient.busy {
                recipient.again = true;
                continue;
            }
            queue.retain(|notification| {
                !self
                    .acknowledged
                    .contains(&notification.metadata().seq_number)
            });
            queue.sort_by_key(|notification| notification.metadata().seq_number);
            recipient.busy = true;
            let target = target(&address, &self.journal);
            let (server, sender) = (Arc::clone(&self.server), self.sender.clone());
            self.deliveries
                .spawn(run(server, key(&address), target, queue, sender));
        }
    }

    fn ended(&mut self, name: &str, error: Option<String>) {
        let recipient = self.recipients.entry(name.to_owned()).or_default();
        recipient.busy = false;
        match error {
            Some(error) => {
                recipient.failures = recipient.failures.saturating_add(1);
                let delay = BACKOFF.delay(recipient.failures);
                tracing::warn!(
                    recipient = name, %error, retry_in_s = delay.as_secs(),
                    "a notification could not be delivered"
                );
                recipient.not_before = Some(Instant::now() + delay);
                recipient.last_error = Some(error);
            }
            None => {
                let not_before = recipient.again.then(Instant::now);
                *recipient = Recipient {
                    not_before,
                    ..Recipient::default()
                };
            }
        }
    }
}

/// What waits, and the recipient of each.
async fn everything(card: &mut impl Card) -> Result<(Pending, Vec<String>), FunctionError> {
    let pending = notifications::pending(card).await?;
    let waiting = pending.notifications.iter();
    let addresses = waiting.map(|one| key(&one.metadata().notification_address.to_string()));
    let addresses = addresses.collect();
    Ok((pending, addresses))
}

/// What waits for others than these recipients, and the recipient of each that waits.
async fn all_but(
    card: &mut impl Card,
    resting: &[String],
) -> Result<(Pending, Vec<String>), FunctionError> {
    let listed = notifications::metadata(card).await?;
    let address = |one: &NotificationMetadata| key(&one.notification_address.to_string());
    let due = listed.items.iter();
    let due = due.filter(|one| !resting.contains(&address(one)));
    let pending = notifications::retrieve(card, due.map(|one| one.seq_number).collect()).await?;
    Ok((pending, listed.items.iter().map(address).collect()))
}

/// Delivers one recipient's notifications until all are acknowledged or one is not.
async fn run<C: Connect + 'static>(
    server: Arc<Es9Client<C>>,
    recipient: String,
    target: Result<ServerAddress, String>,
    queue: Vec<Raw<PendingNotification>>,
    sender: mpsc::UnboundedSender<Message>,
) {
    let delivered = async {
        let target = target?;
        for notification in queue {
            let seq_number = notification.metadata().seq_number;
            let delivery = notifications::deliver(&*server, &target, &notification).await;
            delivery.map_err(|error| error.to_string())?;
            tracing::info!(recipient, seq_number, "notification delivered");
            // Nobody listens any more when the daemon ends.
            let _ = sender.send(Message::Acknowledged(seq_number));
        }
        Ok(())
    };
    let error = delivered.await.err();
    let _ = sender.send(Message::Ended { recipient, error });
}

/// Where a recipient is reached: on the port it was reached on before, when it names none.
fn target(address: &str, journal: &SharedJournal) -> Result<ServerAddress, String> {
    let target: ServerAddress = address
        .parse()
        .map_err(|error| format!("{address:?} is no address: {error}"))?;
    let known = journal
        .intent()
        .host_ports
        .get(&key(target.host()))
        .copied();
    Ok(match known {
        Some(port) if !address.contains(':') => target.with_port(port),
        _ => target,
    })
}

fn key(address: &str) -> String {
    address.to_ascii_lowercase()
}

/// How long a recipient that failed is left alone.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(10),
    longest: Duration::from_secs(3600),
};
