//! The small jobs: one function of the card each.

use std::pin::pin;

use es9_client::Connect;
use es10_apdu::transport::Outcome;
use es10_apdu::types::{Iccid, ResetOptions};

use super::desk::MODEM_RETURNS;
use super::life::Up;
use super::outbox::Urgency;
use super::reading::{self, known};
use super::session::{Finished, ReadBackNow, finish, read_all, show_notifications};
use super::settle::{self, ReadBack, Settled, after_loss};
use super::waiting::Patience;
use crate::failure::{Interruption, JobFailure};
use crate::job::{Achievement, Part, ResetScope, Stage, WaitingOn};
use crate::memory::journal::StartedOperation;
use crate::memory::operations::Ticket;
use crate::memory::snapshot::{Known, Profile, find};
use crate::modem::OpenPort;
use crate::procedure::{euicc, profiles};

/// What came of a function that changes the card.
pub(super) enum Changed<R> {
    /// It was carried out, and the session ended as it should.
    Done(R, Finished),
    /// Its answer is lost.
    Lost(JobFailure),
}

/// What a card that was away tells when it is back.
pub(super) struct Back {
    /// How the operation ended that was to be settled.
    settled: Option<Settled>,
    /// The profile list.
    pub(super) profiles: Known<Vec<Profile>>,
    pub(super) finished: Finished,
}

impl<O: OpenPort, C: Connect + 'static> Up<'_, O, C> {
    pub(super) async fn delete(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
    ) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::Deleting);
        let known = self.context.known();
        let name = known
            .profiles
            .value()
            .and_then(|profiles| find(profiles, iccid).ok())
            .and_then(|profile| profile.achieved().profile_name);
        let context = self.context;
        let deleted = self
            .desk
            .in_session(async |session| {
                let committed = ticket.commit()?;
                match profiles::delete(&mut session.card, iccid, &committed).await {
                    Err(error) if error.outcome() == Outcome::Unknown => {
                        Ok(Changed::Lost(error.into()))
                    }
                    deleted => {
                        // A refusal is told with what is on the card now.
                        let finished = finish(session, context, ticket, ReadBackNow::Yes).await;
                        Ok(Changed::Done(deleted?, finished))
                    }
                }
            })
            .await?;
        let achieved = match deleted {
            Changed::Done((), finished) => finished.add_to(Achievement {
                iccid: Some(iccid),
                ..Achievement::default()
            }),
            Changed::Lost(lost) => self.settle(ticket, lost).await?,
        };
        Ok(Achievement {
            profile_name: name,
            ..achieved
        })
    }

    pub(super) async fn rename(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        nickname: &str,
    ) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::Writing);
        let context = self.context;
        let renamed = self
            .desk
            .in_session(async |session| {
                let committed = ticket.commit()?;
                let named =
                    profiles::set_nickname(&mut session.card, iccid, nickname, &committed).await;
                match named {
                    Err(error) if error.outcome() == Outcome::Unknown => {
                        Ok(Changed::Lost(error.into()))
                    }
                    named => {
                        let read = read_all(session, context).await;
                        named?;
                        read?;
                        Ok(Changed::Done((), Finished::default()))
                    }
                }
            })
            .await?;
        match renamed {
            Changed::Done((), _) => {
                let known = self.context.known();
                let profile = find(known.profiles.of(Part::Profiles)?, iccid)?;
                Ok(Achievement {
                    enabled: None,
                    ..profile.achieved()
                })
            }
            Changed::Lost(lost) => self.settle(ticket, lost).await,
        }
    }

    pub(super) async fn set_default_smdp(
        &mut self,
        ticket: &Ticket,
        address: &str,
    ) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::Writing);
        let set = self
            .desk
            .in_session(async |session| {
                let committed = ticket.commit()?;
                let set = euicc::set_default_smdp(&mut session.card, address, &committed).await;
                match set {
                    Err(error) if error.outcome() == Outcome::Unknown => {
                        Ok(Changed::Lost(error.into()))
                    }
                    set => {
                        let addresses = known(reading::addresses(&mut session.card).await)?;
                        set?;
                        Ok(Changed::Done(addresses, Finished::default()))
                    }
                }
            })
            .await?;
        let achieved = match set {
            Changed::Done(addresses, _) => {
                self.context.update(|known| known.addresses = addresses);
                Achievement::default()
            }
            Changed::Lost(lost) => self.settle(ticket, lost).await?,
        };
        self.context.consider(self.first_boot, self.card.eid);
        Ok(achieved)
    }

    pub(super) async fn deliver(&mut self, ticket: &Ticket) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::DeliveringNotifications);
        let waits = self.context.waits();
        let mut urgency = Urgency::Now;
        let mut achieved = Achievement::default();
        loop {
            let delivered = self
                .desk
                .in_session(async |session| {
                    Ok(session.outbox.deliver(&mut session.card, urgency).await?)
                })
                .await;
            show_notifications(self.context, &self.desk.outbox);
            let delivered = delivered?;
            achieved.notifications_delivered += delivered.delivered;
            achieved.notifications_pending = delivered.pending;
            let outbox = &mut self.desk.outbox;
            if ticket.is_cancelled() {
                return Err(JobFailure::Cancelled);
            }
            if !outbox.is_busy() && !outbox.is_due() {
                return Ok(achieved);
            }
            // A server that takes its time is waited for without the channel.
            let longest = self.context.server.deadlines().notification;
            while outbox.is_busy() {
                let settled = pin!(outbox.settle());
                tokio::select! {
                    biased;
                    () = ticket.cancelled() => return Err(JobFailure::Cancelled),
                    () = waits.on(WaitingOn::Server, longest, settled) => {}
                }
            }
            urgency = Urgency::Due;
        }
    }

    pub(super) async fn reset(
        &mut self,
        ticket: &Ticket,
        scope: ResetScope,
    ) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::Deleting);
        let reset = self
            .desk
            .in_session(async |session| {
                let committed = ticket.commit()?;
                Ok(euicc::reset(&mut session.card, reset_options(scope), &committed).await)
            })
            .await?;
        let erased = match reset {
            Ok(erased) => erased,
            Err(error) if error.outcome() == Outcome::Unknown => {
                return self.settle(ticket, error.into()).await;
            }
            Err(error) => return Err(error.into()),
        };
        // An enabled profile that was erased makes the card ask for a reset: the channel is gone.
        let back = self.when_back(ticket, None).await.map_err(|since| {
            JobFailure::in_doubt(JobFailure::Interrupted(Interruption::Running), since)
        })?;
        Ok(back.finished.add_to(Achievement {
            nothing_to_change: !erased,
            ..Achievement::default()
        }))
    }

    /// Finds out what became of a change whose answer was lost, as soon as the card can be read.
    pub(super) async fn settle(
        &mut self,
        ticket: &Ticket,
        lost: JobFailure,
    ) -> Result<Achievement, JobFailure> {
        tracing::warn!(%lost, "the answer is lost; the card will tell");
        let Some(started) = self.context.started(ticket.id()) else {
            return Err(lost);
        };
        match self.when_back(ticket, Some(&started)).await {
            Ok(Back {
                settled: Some(settled),
                finished,
                ..
            }) => Ok(finished.add_to(after_loss(settled, lost)?)),
            Ok(_) => Err(lost),
            Err(since) => Err(JobFailure::in_doubt(lost, since)),
        }
    }

    /// Waits for a card that is away, reads it, settles an operation by it, and delivers what waits
    /// there. In this order: a result that was delivered is not on the card any more.
    pub(super) async fn when_back(
        &mut self,
        ticket: &Ticket,
        started: Option<&StartedOperation>,
    ) -> Result<Back, JobFailure> {
        ticket.stage(Stage::ReadingCard);
        let waits = self.context.waits();
        let patience = Patience::new(&waits, MODEM_RETURNS);
        loop {
            let context = self.context;
            let read = self
                .desk
                .in_session(async |session| {
                    let profiles = known(reading::profiles(&mut session.card).await)?;
                    let addresses = known(reading::addresses(&mut session.card).await)?;
                    let read = ReadBack {
                        profiles: &profiles,
                        addresses: &addresses,
                    };
                    let settled = match started {
                        Some(started) => {
                            Some(settle::operation(&mut session.card, started, &read).await?)
                        }
                        None => None,
                    };
                    context.update(|known| {
                        known.profiles = profiles.clone();
                        known.addresses = addresses;
                        known.changed();
                    });
                    session.card.was_read();
                    let finished = finish(session, context, ticket, ReadBackNow::No).await;
                    show_notifications(context, session.outbox);
                    Ok(Back {
                        settled,
                        profiles,
                        finished,
                    })
                })
                .await;
            match read {
                Err(failure) if patience.again(&failure).await => {}
                ended => return ended,
            }
        }
    }
}

fn reset_options(scope: ResetScope) -> ResetOptions {
    let chosen = [
        (
            scope.operational_profiles,
            ResetOptions::DELETE_OPERATIONAL_PROFILES,
        ),
        (
            scope.test_profiles,
            ResetOptions::DELETE_FIELD_LOADED_TEST_PROFILES,
        ),
        (scope.default_smdp, ResetOptions::RESET_DEFAULT_SMDP_ADDRESS),
    ];
    chosen
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .fold(ResetOptions::default(), |all, (_, option)| all | option)
}
