//! What is common to the jobs that work in a session with the card.

use std::time::Duration;

use es9_client::Connect;
use es10_apdu::isdr::Isdr;
use es10_apdu::transport::Transport;
use tokio::time::{Instant, sleep};

use super::context::Context;
use super::port::CardPort;
use super::reading;
use crate::commit::{Cancelled, Committed};
use crate::engine::outbox::{Delivered, Outbox, Urgency};
use crate::job::{Achievement, Stage};
use crate::memory::operations::Ticket;
use crate::memory::snapshot::Profile;
use crate::modem::OpenPort;
use crate::problem::Problem;
use crate::procedure::FunctionError;

/// How a session was wound up.
#[derive(Debug, Default)]
pub(super) struct WoundUp {
    pub(super) delivered: Delivered,
    pub(super) warnings: Vec<String>,
}

impl WoundUp {
    /// Adds to what was achieved what became of the notifications.
    pub(super) fn add_to(self, achieved: Achievement) -> Achievement {
        Achievement {
            notifications_delivered: self.delivered.delivered,
            notifications_pending: self.delivered.pending,
            warnings: self.warnings,
            ..achieved
        }
    }
}

/// Whether the card is read at the end of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// It is.
    Now,
    /// Another session follows at once.
    Later,
}

/// As [`wind_up`], in a session of its own.
pub(super) async fn wind_up_anew<O: OpenPort, C: Connect + 'static>(
    card: &mut CardPort<O>,
    context: &Context<C>,
    outbox: &mut Outbox<C>,
    ticket: &Ticket,
) -> WoundUp {
    match card.session().await {
        Ok(isdr) => wind_up(context, outbox, ticket, isdr, Reading::Now).await,
        Err(error) => {
            let warning = format!("Notifications stay on the card for now: {error}.");
            let warnings = vec![warning];
            WoundUp {
                warnings,
                ..WoundUp::default()
            }
        }
    }
}

/// Delivers notifications, reads the card again unless it is going to be read anyway, and closes
/// the channel. What fails here does not undo what was achieved: it becomes a warning.
pub(super) async fn wind_up<C: Connect + 'static, T: Transport>(
    context: &Context<C>,
    outbox: &mut Outbox<C>,
    ticket: &Ticket,
    mut isdr: Isdr<T>,
    reading: Reading,
) -> WoundUp {
    ticket.stage(Stage::DeliveringNotifications);
    let mut wound_up = WoundUp::default();
    match outbox.deliver(&mut isdr, Urgency::Due).await {
        Ok(delivered) => wound_up.delivered = delivered,
        Err(error) => {
            let warning = format!("Notifications stay on the card for now: {error}.");
            wound_up.warnings.push(warning);
        }
    }
    if reading == Reading::Now {
        ticket.stage(Stage::ReadingCard);
        let is_known = wound_up.warnings.is_empty();
        if let Err(error) = read_changes(context, outbox, &mut isdr, is_known).await {
            let warning = format!("The card could not be read again: {error}.");
            wound_up.warnings.push(warning);
        }
    }
    close(isdr).await;
    wound_up
}

/// Reads what an operation has changed, and no more: the rest waits until somebody asks.
async fn read_changes<C: Connect + 'static, T: Transport>(
    context: &Context<C>,
    outbox: &Outbox<C>,
    isdr: &mut Isdr<T>,
    outbox_knows: bool,
) -> Result<(), FunctionError> {
    let profiles = reading::profiles(isdr).await?;
    context.update(|known| {
        known.profiles = profiles;
        known.changed();
    });
    if outbox_knows {
        show_notifications(context, outbox);
        return Ok(());
    }
    let mut notifications = reading::notifications(isdr).await?;
    outbox.annotate(&mut notifications);
    context.update(|known| known.notifications = notifications);
    Ok(())
}

/// Shows the notifications as the outbox knows them since its last round.
pub(super) fn show_notifications<C: Connect + 'static>(context: &Context<C>, outbox: &Outbox<C>) {
    context.update(|known| {
        known.notifications = outbox.shown();
        known.euicc.notifications_set_aside = outbox.set_aside();
    });
}

/// Reads all that may change while the daemon runs.
pub(super) async fn read_again<C: Connect + 'static, T: Transport>(
    context: &Context<C>,
    outbox: &Outbox<C>,
    isdr: &mut Isdr<T>,
) -> Result<(), FunctionError> {
    let profiles = reading::profiles(isdr).await?;
    let info = reading::info(isdr).await?;
    let mut notifications = reading::notifications(isdr).await?;
    outbox.annotate(&mut notifications);
    context.was_read(|known| {
        known.euicc.info = Some(info);
        known.profiles = profiles;
        known.notifications = notifications;
    });
    Ok(())
}

/// Passes the point of no return; closes the channel when the job was cancelled before.
pub(super) async fn commit<T: Transport>(
    ticket: &Ticket,
    isdr: Isdr<T>,
) -> Result<(Isdr<T>, Committed), Cancelled> {
    match ticket.commit() {
        Ok(committed) => Ok((isdr, committed)),
        Err(cancelled) => {
            close(isdr).await;
            Err(cancelled)
        }
    }
}

/// Closes the channel; what cannot be closed is remembered and closed later.
pub(super) async fn close<T: Transport>(isdr: Isdr<T>) {
    if let Err(error) = isdr.close().await {
        tracing::warn!(%error, "the logical channel could not be closed");
    }
}

/// Patience with a card that is not there: its modem may be restarting.
#[derive(Debug)]
pub(super) struct Patience {
    end: Instant,
}

impl Patience {
    pub(super) fn new(longest: Duration) -> Self {
        let end = Instant::now() + longest;
        Self { end }
    }

    /// Waits a moment; `false` when there was time enough.
    pub(super) async fn is_left(&self, problem: &Problem) -> bool {
        if Instant::now() >= self.end {
            return false;
        }
        tracing::debug!(%problem, "the card is not back yet");
        sleep(RETRY).await;
        true
    }
}

/// Reads the profiles as soon as the card lets them be read.
pub(super) async fn profiles_when_back<O: OpenPort>(
    card: &mut CardPort<O>,
    longest: Duration,
) -> Result<Vec<Profile>, Problem> {
    let patience = Patience::new(longest);
    loop {
        let problem = match card.session().await {
            Ok(mut isdr) => {
                let read = reading::profiles(&mut isdr).await;
                close(isdr).await;
                match read {
                    Ok(profiles) => return Ok(profiles),
                    Err(error) => error.into(),
                }
            }
            Err(error) => error.into(),
        };
        if !patience.is_left(&problem).await {
            return Err(problem);
        }
    }
}

/// How long a modem that restarts, or gets its power back, is waited for.
pub(super) const MODEM_RETURNS: Duration = Duration::from_secs(120);
/// How often a restarting modem is tried.
const RETRY: Duration = Duration::from_millis(500);
