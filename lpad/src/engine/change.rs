//! The small jobs: one function of the card each.

use std::pin::pin;
use std::time::Duration;

use es9_client::Restrict;
use es10_apdu::transport::Outcome;
use es10_apdu::types::{Iccid, ProfileClass, ResetOptions};

use super::desk::{MODEM_RETURNS, Session};
use super::life::Up;
use super::outbox::Urgency;
use super::reading::{self, known};
use super::session::{Finished, ReadBackNow, show_notifications};
use super::settle::{self, ReadBack, Settled, after_loss};
use super::waiting::Patience;
use crate::commit::Committed;
use crate::failure::{Guard, Interruption, JobFailure};
use crate::job::{Achievement, Part, ResetScope, Stage, WaitingOn};
use crate::memory::journal::StartedOperation;
use crate::memory::operations::Ticket;
use crate::memory::snapshot::{
    Known, Notification, Profile, ProfileState, find, find_notification,
};
use crate::modem::OpenPort;
use crate::procedure::{FunctionError, euicc, profiles};
use crate::secret::Shortened;

/// What a card that was away tells when it is back.
pub(super) struct Back {
    /// How the operation ended that was to be settled.
    settled: Option<Settled>,
    /// The profile list.
    pub(super) profiles: Known<Vec<Profile>>,
    pub(super) finished: Finished,
}

/// Whether what waits on the card is delivered when it was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Deliver {
    Now,
    /// There may be no network yet.
    Later,
}

impl<O: OpenPort, C: Restrict + 'static> Up<'_, O, C> {
    pub(super) async fn delete(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        force: bool,
    ) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::Deleting);
        let (context, known) = (self.context, self.context.known());
        let profiles = known.profiles.of(Part::Profiles)?;
        let profile = find(profiles, iccid).ok();
        if !force {
            may_be_deleted(context.config.is_kept(iccid), profiles, iccid)
                .map_err(JobFailure::WouldStrand)?;
        }
        let deleted = self
            .change(ticket, async |session, committed| {
                let deleted = profiles::delete(&mut session.card, iccid, &committed).await;
                let deleted = unless_lost(deleted)?;
                // A refusal is told with what is on the card now.
                let finished = session.finish(context, ticket, ReadBackNow::Yes).await;
                deleted?;
                Ok(finished.add_to(Achievement {
                    iccid: Some(iccid),
                    ..Achievement::default()
                }))
            })
            .await?;
        Ok(Achievement {
            profile_name: profile.and_then(|profile| profile.achieved().profile_name),
            ..deleted
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
        self.change(ticket, async |session, committed| {
            let card = &mut session.card;
            let named = profiles::set_nickname(card, iccid, nickname, &committed).await;
            let named = unless_lost(named)?;
            let read = session.read_all(context).await;
            named?;
            read?;
            let known = context.known();
            let profile = find(known.profiles.of(Part::Profiles)?, iccid)?;
            Ok(Achievement {
                enabled: None,
                ..profile.achieved()
            })
        })
        .await
    }

    pub(super) async fn set_default_smdp(
        &mut self,
        ticket: &Ticket,
        address: &str,
    ) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::Writing);
        let context = self.context;
        let achieved = self
            .change(ticket, async |session, committed| {
                let card = &mut session.card;
                let set = euicc::set_default_smdp(card, address, &committed).await;
                let set = unless_lost(set)?;
                let addresses = known(reading::addresses(card).await)?;
                context.update(|known| known.addresses = addresses);
                set?;
                Ok(Achievement::default())
            })
            .await?;
        // The client need not wait.
        context.consider(self.first_boot, self.card.eid, Duration::ZERO);
        Ok(achieved)
    }

    /// Delivers all that waits, or the notification with this number and those before it.
    pub(super) async fn deliver(
        &mut self,
        ticket: &Ticket,
        number: Option<i64>,
    ) -> Result<Achievement, JobFailure> {
        let Some(number) = number else {
            return self.deliver_as(ticket, Urgency::Now).await;
        };
        self.notification(number)?;
        self.deliver_as(ticket, Urgency::UpTo(number)).await
    }

    /// A notification that waits.
    fn notification(&self, number: i64) -> Result<Notification, JobFailure> {
        let known = self.context.known();
        find_notification(known.notifications.of(Part::Notifications)?, number)
    }

    /// Removes a notification that was not delivered.
    pub(super) async fn remove_notification(
        &mut self,
        ticket: &Ticket,
        number: i64,
        force: bool,
    ) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::Writing);
        let context = self.context;
        let Notification { address, iccid, .. } = self.notification(number)?;
        if !force {
            return Err(JobFailure::WouldStrand(Guard::Undelivered));
        }
        let removed = self
            .change(ticket, async |session, _committed| {
                session.outbox.forget(&mut session.card, number).await?;
                show_notifications(context, session.outbox);
                Ok(Achievement::default())
            })
            .await;
        // For those who look later why a server never heard of it.
        let asked = context.operations.find(ticket.id()).ok();
        let client = asked.and_then(|asked| asked.client);
        let iccid = iccid.map(|iccid| iccid.to_string()).unwrap_or_default();
        tracing::warn!(
            operation = %ticket.id(),
            number,
            recipient = address,
            iccid = %Shortened(&iccid),
            ?client,
            is_removed = removed.is_ok(),
            "a notification is removed undelivered, by force"
        );
        removed
    }

    /// Delivers what is this urgent, and what becomes due meanwhile.
    pub(super) async fn deliver_as(
        &mut self,
        ticket: &Ticket,
        mut urgency: Urgency,
    ) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::DeliveringNotifications);
        let waits = self.context.waits();
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
            .change(ticket, async |session, committed| {
                let options = reset_options(scope);
                let erased = euicc::reset(&mut session.card, options, &committed).await?;
                Ok(Achievement {
                    nothing_to_change: !erased,
                    ..Achievement::default()
                })
            })
            .await?;
        // An enabled profile that was erased makes the card ask for a reset: the channel is gone.
        let back = self
            .when_back(ticket, None, Deliver::Now)
            .await
            .map_err(|since| {
                JobFailure::in_doubt(JobFailure::Interrupted(Interruption::Running), Some(since))
            })?;
        Ok(back.finished.add_to(reset))
    }

    /// Changes the card; when the answer is lost, or the card after it, the card tells what became of
    /// it as soon as it can be read.
    async fn change(
        &mut self,
        ticket: &Ticket,
        work: impl AsyncFnOnce(
            &mut Session<'_, O::Port, C>,
            Committed,
        ) -> Result<Achievement, JobFailure>,
    ) -> Result<Achievement, JobFailure> {
        let changed = self
            .desk
            .in_session(async |session| {
                let committed = ticket.commit()?;
                work(session, committed).await
            })
            .await;
        match changed {
            Err(lost) if lost.outcome() == Outcome::Unknown && ticket.is_committed() => {
                self.settle(ticket, lost).await
            }
            changed => changed,
        }
    }

    /// Finds out what became of a change whose answer was lost, as soon as the card can be read.
    pub(super) async fn settle(
        &mut self,
        ticket: &Ticket,
        lost: JobFailure,
    ) -> Result<Achievement, JobFailure> {
        let shown = lost.shortened();
        tracing::warn!(lost = shown, "the answer is lost; the card will tell");
        let Some(started) = self.context.started(ticket.id()) else {
            return Err(lost);
        };
        match self.when_back(ticket, Some(&started), Deliver::Now).await {
            Ok(Back {
                settled: Some(settled),
                finished,
                ..
            }) => Ok(finished.add_to(after_loss(settled, lost)?)),
            Ok(_) => Err(lost),
            Err(since) => Err(JobFailure::in_doubt(lost, Some(since))),
        }
    }

    /// Waits for a card that is away, reads it, settles an operation by it, and delivers what waits
    /// there. In this order: a result that was delivered is not on the card any more.
    pub(super) async fn when_back(
        &mut self,
        ticket: &Ticket,
        started: Option<&StartedOperation>,
        deliver: Deliver,
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
                    let finished = match deliver {
                        Deliver::Now => session.finish(context, ticket, ReadBackNow::No).await,
                        Deliver::Later => Finished::default(),
                    };
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

/// The last way into a network is not deleted by mistake. One in use is not deleted by the card.
fn may_be_deleted(is_kept: bool, profiles: &[Profile], iccid: Iccid) -> Result<(), Guard> {
    let is_operational = |profile: &&Profile| profile.class == ProfileClass::OPERATIONAL;
    let mut operational = profiles.iter().filter(is_operational);
    let is_one = operational
        .clone()
        .any(|one| one.iccid == iccid && one.state == ProfileState::Disabled);
    let has_others = operational.any(|profile| profile.iccid != iccid);
    match () {
        () if is_kept => Err(Guard::Kept),
        () if is_one && !has_others => Err(Guard::Last),
        () => Ok(()),
    }
}

/// What the card answered; an error when its answer is lost.
fn unless_lost<R>(
    answer: Result<R, FunctionError>,
) -> Result<Result<R, FunctionError>, JobFailure> {
    match answer {
        Err(error) if error.outcome() == Outcome::Unknown => Err(error.into()),
        answered => Ok(answered),
    }
}

fn reset_options(scope: ResetScope) -> ResetOptions {
    [
        (
            scope.operational_profiles,
            ResetOptions::DELETE_OPERATIONAL_PROFILES,
        ),
        (
            scope.test_profiles,
            ResetOptions::DELETE_FIELD_LOADED_TEST_PROFILES,
        ),
        (scope.default_smdp, ResetOptions::RESET_DEFAULT_SMDP_ADDRESS),
    ]
    .into_iter()
    .filter(|(wanted, _)| *wanted)
    .fold(ResetOptions::default(), |all, (_, option)| all | option)
}
