//! An engine's life: its card is absent or ready, and there is one way up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use es9_client::Restrict;
use es10_apdu::asn1::Raw;
use es10_apdu::es10b::EuiccInfo1;
use es10_apdu::types::Eid;
use tokio::time::Instant;

use super::context::Context;
use super::desk::Desk;
use super::first_boot::FirstBoot;
use super::outbox::Urgency;
use super::reading::{CardState, known};
use super::routes::Routes;
use super::settle::{self, ReadBack, Settled};
use super::watch::Watch;
use crate::failure::{JobFailure, PortFailure};
use crate::job::{Achievement, Kind};
use crate::memory::journal::StartedOperation;
use crate::memory::operations::{Operation, State, Ticket};
use crate::memory::snapshot::Profile;
use crate::modem::OpenPort;
use crate::runtime::backoff::Backoff;
use crate::secret::Shortened;

/// The place of an eUICC's card, with all that an engine has for it.
pub(super) struct Slot<O: OpenPort, C> {
    pub(super) desk: Desk<O, C>,
    pub(super) context: Arc<Context<C>>,
    life: Life,
    pub(super) first_boot: FirstBoot,
    pub(super) watch: Watch,
    /// What an earlier life of the daemon, or a loss of the card, left half done. It goes before everything
    /// else.
    pub(super) resumed: VecDeque<Resumed>,
}

/// An operation that goes on with a change of the profile in use.
pub(super) struct Resumed {
    pub(super) ticket: Ticket,
    /// What its download has achieved, if it is one.
    pub(super) download: Option<Achievement>,
}

/// Whether the card can be used.
#[derive(Debug)]
enum Life {
    Absent(Absent),
    Ready(Card),
}

/// The card cannot be used; it is tried again.
#[derive(Debug)]
struct Absent {
    /// Attempts by the timer that failed in a row.
    failures: u32,
    /// When the timer tries next.
    next: Instant,
    /// How the last attempt ended, and when.
    ended: Option<(Instant, Arc<JobFailure>)>,
    /// What the log was told of that, and when.
    told: Option<(Instant, String)>,
}

/// What is true only while the card is ready.
#[derive(Clone, Debug)]
pub(super) struct Card {
    pub(super) eid: Eid,
    pub(super) imei: Option<String>,
    pub(super) info1: Option<Raw<EuiccInfo1>>,
}

/// A slot while its card is ready. Every job is a method of this type, so that a job on an absent
/// card cannot be written.
pub(super) struct Up<'e, O: OpenPort, C> {
    pub(super) desk: &'e mut Desk<O, C>,
    pub(super) context: &'e Context<C>,
    pub(super) card: &'e Card,
    pub(super) first_boot: &'e mut FirstBoot,
    pub(super) watch: &'e mut Watch,
}

/// What asks for the card.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// The timer.
    Due,
    /// A job: a client waits, so that it is tried at once. It raises no back-off.
    Job,
}

impl Life {
    /// To be read, or read anew, after so long.
    fn absent(delay: Duration) -> Self {
        Self::Absent(Absent {
            failures: 0,
            next: Instant::now() + delay,
            ended: None,
            told: None,
        })
    }
}

impl<O: OpenPort, C: Restrict + 'static> Slot<O, C> {
    /// A slot whose card is to be read at once.
    pub(super) fn new(desk: Desk<O, C>, context: Context<C>) -> Self {
        Self {
            desk,
            first_boot: FirstBoot::new(context.config.bootstrap.clone(), context.key.clone()),
            watch: Watch::new(&context.config),
            context: Arc::new(context),
            life: Life::absent(Duration::ZERO),
            resumed: VecDeque::new(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.life, Life::Ready(_))
    }

    /// The slot with its card ready, brought up if need be. A job that comes right after a failed
    /// attempt gets its failure.
    pub(super) async fn up(&mut self, why: Why) -> Result<Up<'_, O, C>, Arc<JobFailure>> {
        if let Life::Absent(absent) = &self.life {
            if let (Why::Job, Some((ended, failure))) = (why, &absent.ended)
                && ended.elapsed() < JUST_NOW
            {
                return Err(Arc::clone(failure));
            }
            let failures = absent.failures;
            let mut card = self.bring_up().await;
            // It may be the way to the card that was remembered: one that works is found at once.
            if let Err(failure) = &card
                && Routes::may_be_another(failure)
                && self.desk.port.doubts_route()
            {
                card = self.bring_up().await;
            }
            match card {
                Ok(card) => self.life = Life::Ready(card),
                Err(failure) => return Err(self.stays_absent(why, failures, failure)),
            }
        }
        let Self {
            life: Life::Ready(card),
            desk,
            context,
            first_boot,
            watch,
            ..
        } = self
        else {
            // The arm above leaves it ready.
            return Err(Arc::new(PortFailure::Gone.into()));
        };
        Ok(Up {
            desk,
            context,
            card,
            first_boot,
            watch,
        })
    }

    fn stays_absent(&mut self, why: Why, failures: u32, failure: JobFailure) -> Arc<JobFailure> {
        let failure = Arc::new(failure);
        let now = Instant::now();
        let (failures, next) = match (why, &self.life) {
            (Why::Job, Life::Absent(absent)) => (failures, absent.next),
            _ => {
                let failures = failures.saturating_add(1);
                (failures, now + RESTART.delay(failures))
            }
        };
        let retry_in_s = next.saturating_duration_since(now).as_secs();
        let name = &self.context.config.name;
        let shown = failure.shortened();
        let told = match &mut self.life {
            Life::Absent(absent) => absent.told.take(),
            Life::Ready(_) => None,
        };
        // A modem may be away for weeks, and each attempt fails the same way.
        let told = match told {
            Some((at, told)) if told == shown && now < at + REMINDER => {
                tracing::debug!(
                    euicc = name,
                    retry_in_s,
                    "the card still cannot be used: {shown}"
                );
                (at, told)
            }
            _ => {
                tracing::warn!(euicc = name, retry_in_s, "the card cannot be used: {shown}");
                (now, shown)
            }
        };
        self.desk.port.close();
        self.context
            .is_unavailable(Arc::clone(&failure), Duration::from_secs(retry_in_s));
        self.life = Life::Absent(Absent {
            failures,
            next,
            ended: Some((now, Arc::clone(&failure))),
            told: Some(told),
        });
        failure
    }

    /// The one start sequence: opens the port, closes what was left open, reads the card, finds out
    /// how operations ended that were cut off, and begins to deliver what waits.
    async fn bring_up(&mut self) -> Result<Card, JobFailure> {
        let Self {
            desk,
            context,
            first_boot,
            watch,
            resumed,
            ..
        } = self;
        context.tries("opening the port");
        desk.unbind();
        desk.port.finish_reset().await?;
        let imei = desk.port.imei().await?;
        let modem = desk.port.modem();
        context.update(|known| known.euicc.modem = modem);
        context.tries("opening a channel to the card");
        desk.port.close_orphans().await?;
        context.tries("reading the card");
        let (state, notifications) = desk
            .in_session(async |session| {
                let state = CardState::read(&mut session.card).await?;
                let (name, eid) = (&context.config.name, Some(state.eid));
                let (left, open) = context.journal.look(|intent| {
                    let left = intent.left_on_another_card(name, eid);
                    (left, intent.open_on(name, eid))
                });
                for left in left {
                    context.operations.leave(&left);
                }
                for started in open {
                    let id = started.operation;
                    // The card was read before, and lost again.
                    if resumed.iter().any(|known| known.ticket.id() == id) {
                        continue;
                    }
                    let switch = context.journal.look(|intent| intent.switch_of(id));
                    if let Some(switch) = switch {
                        let profiles = state.profiles.value().into_iter().flatten();
                        let mut to = profiles.filter(|profile| profile.iccid == switch.to);
                        let achieved = to.next().map(Profile::achieved);
                        let is_download = started.kind == Kind::Download;
                        tracing::info!(operation = %id, "a switch of profiles goes on");
                        resumed.push_back(Resumed {
                            ticket: context.operations.resume(as_it_was(&started)),
                            download: achieved.filter(|_| is_download),
                        });
                        continue;
                    }
                    let settled =
                        settle::operation(&mut session.card, &started, &ReadBack::of(&state))
                            .await?;
                    settle_in_history(context, resumed, &started, settled);
                }
                session.outbox.belongs_to(state.eid);
                let round = session.outbox.round(&mut session.card, Urgency::Now).await;
                // A list that the card does not give is asked for again later.
                let notifications = known(round.map(|_| session.outbox.shown()))?;
                session.card.was_read();
                Ok((state, notifications))
            })
            .await?;
        let eid = state.eid;
        desk.bind(eid);
        let shown = eid.to_string();
        tracing::info!(
            euicc = context.config.name,
            eid = %Shortened(&shown),
            "the eUICC is ready"
        );
        context.uses(desk.port.route());
        let info1 = state.info1.clone();
        context.card_was_read(state, notifications);
        let jitter = first_boot.jitter(eid);
        context.consider(first_boot, eid, jitter);
        context.watch_again(watch, eid);
        Ok(Card { eid, imei, info1 })
    }

    /// What is known of the card is in doubt: it is read anew, at once.
    pub(super) fn read_anew(&mut self) {
        self.desk.port.close();
        self.context.changed();
        self.life = Life::absent(Duration::ZERO);
    }

    /// The card answers, and did not tell what became of an operation: it is read again after a while.
    pub(super) fn ask_again(&mut self) {
        self.read_anew();
        self.life = Life::absent(ASK_AGAIN);
    }

    /// The card cannot be used until it was read anew.
    pub(super) fn lose(&mut self, failure: Arc<JobFailure>) {
        self.read_anew();
        // Another card answers: it is read at once, and clients wait for what it says. Until then the
        // one before is shown as a whole, so that work asked for by its EID is refused.
        if matches!(*failure, JobFailure::OtherCard { .. }) {
            let failure = failure.shortened();
            tracing::warn!(
                euicc = self.context.config.name,
                failure,
                "the card was changed"
            );
            return;
        }
        self.context.is_unavailable(failure, RESTART.first);
        self.life = Life::absent(RESTART.first);
    }

    /// The port has changed: however often it failed before, what it is now is another matter.
    pub(super) fn port_changed(&mut self) {
        if let Life::Absent(absent) = &mut self.life {
            absent.failures = 0;
        }
    }

    /// When the card is to be tried next; `None` while it is ready.
    pub(super) fn next_start(&self) -> Option<Instant> {
        match &self.life {
            Life::Absent(absent) => Some(absent.next),
            Life::Ready(_) => None,
        }
    }
}

/// Writes into history how an operation ended that was cut off; one whose profile waits to be enabled
/// goes on.
fn settle_in_history<C>(
    context: &Context<C>,
    resumed: &mut VecDeque<Resumed>,
    started: &StartedOperation,
    settled: Settled,
) {
    let id = started.operation;
    let operation = Operation {
        finished_at_s: Some(context.clock.unix_seconds()),
        ..as_it_was(started)
    };
    let operation = match settled {
        Settled::Done(achieved) if started.enable && achieved.enabled == Some(false) => {
            tracing::info!(operation = %id, "the profile is installed and waits to be enabled");
            let ticket = context.operations.resume(operation);
            resumed.push_back(Resumed {
                ticket,
                download: Some(achieved),
            });
            return;
        }
        Settled::NotDone(_) if started.kind == Kind::Disable => {
            // The dialler may have been told that the profile goes away.
            let ticket = context.operations.resume(operation);
            resumed.push_back(Resumed {
                ticket,
                download: None,
            });
            return;
        }
        Settled::Done(achieved) => Operation {
            state: State::Succeeded,
            result: Some(achieved),
            ..operation
        },
        Settled::NotDone(failure) => Operation {
            state: State::Failed,
            failure: Some(Arc::new(failure)),
            ..operation
        },
        // What would tell cannot be read: the journal keeps it open, and the next reading asks again.
        Settled::Unknown(failure) => {
            let failure = failure.shortened();
            tracing::warn!(operation = %id, failure, "the card does not tell how it ended");
            return;
        }
    };
    tracing::info!(operation = %id, outcome = operation.state.name(), "the card told how it ended");
    context.operations.restore(operation);
}

/// An operation of an earlier life of the daemon.
fn as_it_was(started: &StartedOperation) -> Operation {
    Operation {
        cancellable: false,
        ..Operation::new(started.operation, &started.euicc, started.kind)
    }
}

/// How long a card is left alone that did not tell.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// A job that comes this soon after a failed attempt gets its failure.
const JUST_NOW: Duration = Duration::from_secs(1);
/// How often the log is told again that the card cannot be used, for the same reason.
const REMINDER: Duration = Duration::from_secs(3600);
/// Between attempts to open a port that is not there.
pub(super) const RESTART: Backoff = Backoff {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
};
