//! One recipient's deliveries, in a task of their own.

use std::sync::Arc;

use es9_client::{Connect, Es9Client, ServerAddress};
use tokio::sync::mpsc;

use super::recipient::Recipient;
use crate::procedure::notifications;

/// What a delivery has to say.
#[derive(Debug)]
pub(super) enum News {
    /// The recipient has the notification with this number.
    Acknowledged(i64),
    /// Nothing is on its way to the recipient any more.
    Ended {
        recipient: Recipient,
        error: Option<Failed>,
    },
}

/// Why a delivery failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// In words.
    pub(super) why: String,
    /// Whether this machine was the cause: a network may come up, or the clock be set.
    pub(super) is_local: bool,
}

/// Notifications for one recipient, in the order it gets them: numbers and octets.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) recipient: Recipient,
    pub(super) queue: Vec<(i64, Vec<u8>)>,
    server: ServerAddress,
}

impl Delivery {
    pub(super) fn new(recipient: Recipient, server: ServerAddress) -> Self {
        let queue = Vec::new();
        Self {
            recipient,
            queue,
            server,
        }
    }

    /// Delivers until all are acknowledged or one is not.
    ///
    /// What it says is not bounded by the channel, but by the notifications of a round.
    pub(super) async fn run<C: Connect>(
        self,
        client: Arc<Es9Client<C>>,
        sender: mpsc::UnboundedSender<News>,
    ) {
        let Self {
            recipient,
            queue,
            server,
        } = self;
        // The outbox is gone when the daemon ends; the card still has what was not removed.
        let say = |news| drop(sender.send(news));
        let mut error = None;
        for (number, octets) in queue {
            if let Err(cause) = notifications::deliver(&*client, &server, &octets).await {
                error = Some(Failed {
                    why: cause.to_string(),
                    is_local: cause.is_local(),
                });
                break;
            }
            let recipient = recipient.name();
            tracing::info!(recipient, number, "notification delivered");
            say(News::Acknowledged(number));
        }
        say(News::Ended { recipient, error });
    }
}
