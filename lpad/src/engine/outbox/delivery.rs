//! One recipient's deliveries, in a task of their own.

use std::sync::Arc;

use es9_client::{Connect, Es9Client, ServerAddress};
use tokio::sync::mpsc;

use super::recipient::Recipient;
use crate::procedure::notifications;

/// What a delivery has to say.
#[derive(Debug)]
pub(super) struct Message {
    /// Which card it is about, counted by the outbox.
    pub(super) card: u64,
    pub(super) news: News,
}

#[derive(Debug)]
pub(super) enum News {
    /// The recipient has the notification with this number.
    Acknowledged(i64),
    /// Nothing is on its way to the recipient any more.
    Ended {
        recipient: Recipient,
        error: Option<String>,
    },
}

/// Notifications for one recipient, in the order it gets them: numbers and octets.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) card: u64,
    pub(super) recipient: Recipient,
    pub(super) server: ServerAddress,
    pub(super) queue: Vec<(i64, Vec<u8>)>,
}

impl Delivery {
    /// Delivers until all are acknowledged or one is not.
    ///
    /// Messages are not bounded by the channel, but by the notifications of a round.
    pub(super) async fn run<C: Connect>(
        self,
        client: Arc<Es9Client<C>>,
        sender: mpsc::UnboundedSender<Message>,
    ) {
        let Self {
            card,
            recipient,
            server,
            queue,
        } = self;
        // The outbox is gone when the daemon ends; the card still has what was not removed.
        let say = |news| drop(sender.send(Message { card, news }));
        let mut error = None;
        for (number, octets) in queue {
            if let Err(cause) = notifications::deliver(&*client, &server, &octets).await {
                error = Some(cause.to_string());
                break;
            }
            tracing::info!(
                recipient = recipient.name(),
                number,
                "notification delivered"
            );
            say(News::Acknowledged(number));
        }
        say(News::Ended { recipient, error });
    }
}
