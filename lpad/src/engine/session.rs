//! How a session with the card ends: notifications are delivered, and what changed is read.

use std::sync::Arc;

use es9_client::Connect;
use tokio::io::{AsyncRead, AsyncWrite};

use super::context::Context;
use super::desk::Session;
use super::outbox::{Delivered, Outbox, Urgency};
use super::reading::{self, known};
use crate::failure::JobFailure;
use crate::job::{Achievement, Stage};
use crate::memory::operations::Ticket;
use crate::memory::snapshot::{Known, Notification};

/// How a session ended.
#[derive(Debug, Default)]
pub(super) struct Finished {
    delivered: Delivered,
    warnings: Vec<String>,
}

impl Finished {
    /// Adds to what was achieved what became of the notifications.
    pub(super) fn add_to(self, achieved: Achievement) -> Achievement {
        let mut warnings = achieved.warnings;
        warnings.extend(self.warnings);
        Achievement {
            notifications_delivered: self.delivered.delivered,
            notifications_pending: self.delivered.pending,
            warnings,
            ..achieved
        }
    }

    /// A session in which notifications were to be delivered did not come about.
    pub(super) fn without_session(failure: &JobFailure) -> Self {
        Self {
            delivered: Delivered::default(),
            warnings: vec![format!(
                "Notifications stay on the card for now: {failure}."
            )],
        }
    }
}

/// What is read at the end of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReadBackNow {
    /// What the operation has changed.
    Yes,
    /// Nothing: another session follows at once.
    No,
}

impl<S, C> Session<'_, S, C>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    C: Connect + 'static,
{
    /// Delivers notifications and reads the card again, unless it is going to be read anyway. What fails
    /// here does not undo what was achieved: it becomes a warning.
    pub(super) async fn finish(
        &mut self,
        context: &Context<C>,
        ticket: &Ticket,
        read: ReadBackNow,
    ) -> Finished {
        ticket.stage(Stage::DeliveringNotifications);
        let mut finished = Finished::default();
        match self.outbox.deliver(&mut self.card, Urgency::Due).await {
            Ok(delivered) => finished.delivered = delivered,
            Err(error) => {
                let failure = error.into();
                self.card.tolerate(&failure);
                finished = Finished::without_session(&failure);
            }
        }
        if read == ReadBackNow::Yes {
            ticket.stage(Stage::ReadingCard);
            let outbox_knows = finished.warnings.is_empty();
            if let Err(failure) = self.read_changes(context, outbox_knows).await {
                let warning = format!("The card could not be read again: {failure}.");
                finished.warnings.push(warning);
                self.card.tolerate(&failure);
                // What was read before the change is not the truth any more.
                let because = Arc::new(failure);
                context.update(|known| {
                    known.profiles = Known::Unknown(Arc::clone(&because));
                    known.notifications = Known::Unknown(because);
                });
            }
        }
        finished
    }

    /// Reads what an operation has changed, and no more: the rest waits until a client asks.
    async fn read_changes(
        &mut self,
        context: &Context<C>,
        outbox_knows: bool,
    ) -> Result<(), JobFailure> {
        let profiles = known(reading::profiles(&mut self.card).await)?;
        let notifications = match outbox_knows {
            true => Known::Value(self.outbox.shown()),
            false => self.listed().await?,
        };
        context.update(|known| {
            known.profiles = profiles;
            known.notifications = notifications;
            known.changed();
        });
        Ok(())
    }

    /// Reads all that may change while the daemon runs.
    pub(super) async fn read_all(&mut self, context: &Context<C>) -> Result<(), JobFailure> {
        let profiles = known(reading::profiles(&mut self.card).await)?;
        let info = known(reading::info(&mut self.card).await)?;
        let notifications = self.listed().await?;
        // Addresses change by an operation of ours only, which reads them itself.
        let addresses = match context.known().addresses {
            known @ Known::Value(_) => known,
            _ => known(reading::addresses(&mut self.card).await)?,
        };
        context.was_read(|known| {
            known.euicc.info = info;
            known.addresses = addresses;
            known.profiles = profiles;
            known.notifications = notifications;
        });
        Ok(())
    }

    /// The card's list of notifications, with what is known of their deliveries.
    async fn listed(&mut self) -> Result<Known<Vec<Notification>>, JobFailure> {
        let listed = self.outbox.list(&mut self.card).await;
        known(listed.map(|()| self.outbox.shown()))
    }
}

/// Shows the notifications as the outbox knows them since its last round.
pub(super) fn show_notifications<C: Connect + 'static>(context: &Context<C>, outbox: &Outbox<C>) {
    context.update(|known| known.notifications = Known::Value(outbox.shown()));
}
