//! The small jobs: one function of the card each.

use es9_client::Connect;
use es10_apdu::transport::Outcome;
use es10_apdu::types::ResetOptions;

use super::session::{
    MODEM_RETURNS, Reading, close, commit, profiles_when_back, read_again, show_notifications,
    wind_up, wind_up_anew,
};
use super::{Engine, Unfinished, reading, switch};
use crate::commit::Cancelled;
use crate::engine::outbox::Urgency;
use crate::job::{Achievement, ResetScope, Stage};
use crate::memory::operations::Ticket;
use crate::modem::OpenPort;
use crate::problem::Problem;
use crate::procedure::{FunctionError, euicc, profiles};

impl<O: OpenPort, C: Connect + 'static> Engine<O, C> {
    pub(super) async fn delete(
        &mut self,
        ticket: &Ticket,
        iccid: &str,
    ) -> Result<Achievement, Unfinished> {
        let number = switch::parse(iccid)?;
        ticket.stage(Stage::Deleting);
        let Self {
            card,
            context,
            outbox,
            ..
        } = self;
        let known = switch::find(&context.known().profiles, iccid).ok();
        let name = known.and_then(|profile| switch::achieved(&profile).profile_name);
        let isdr = card.session().await.map_err(Problem::from)?;
        let (mut isdr, committed) = commit(ticket, isdr).await?;
        let deleted = profiles::delete(&mut isdr, number, &committed).await;
        let doubtful = matches!(&deleted, Err(FunctionError::Call(error))
            if error.outcome() == Outcome::Unknown);
        let wound_up = if doubtful {
            tracing::warn!("the answer is lost; the card will tell");
            close(isdr).await;
            let back = profiles_when_back(card, MODEM_RETURNS).await;
            back.map_err(Unfinished::in_doubt)?;
            wind_up_anew(card, context, outbox, ticket).await
        } else {
            wind_up(context, outbox, ticket, isdr, Reading::Now).await
        };
        let is_there = switch::find(&context.known().profiles, iccid).is_ok();
        if !doubtful || is_there {
            deleted.map_err(Problem::from)?;
        }
        Ok(wound_up.add_to(Achievement {
            iccid: Some(iccid.to_owned()),
            profile_name: name,
            ..Achievement::default()
        }))
    }

    pub(super) async fn rename(
        &mut self,
        ticket: &Ticket,
        iccid: &str,
        nickname: &str,
    ) -> Result<Achievement, Unfinished> {
        let number = switch::parse(iccid)?;
        ticket.stage(Stage::Writing);
        let Self {
            card,
            context,
            outbox,
            ..
        } = self;
        let isdr = card.session().await.map_err(Problem::from)?;
        let (mut isdr, committed) = commit(ticket, isdr).await?;
        let renamed = profiles::set_nickname(&mut isdr, number, nickname, &committed).await;
        let read = read_again(context, outbox, &mut isdr).await;
        close(isdr).await;
        renamed.map_err(Problem::from)?;
        read.map_err(Problem::from)?;
        let profile = switch::find(&context.known().profiles, iccid)?;
        Ok(Achievement {
            enabled: None,
            ..switch::achieved(&profile)
        })
    }

    pub(super) async fn set_default_smdp(
        &mut self,
        ticket: &Ticket,
        address: &str,
    ) -> Result<Achievement, Unfinished> {
        ticket.stage(Stage::Writing);
        let Self {
            card,
            context,
            bootstrap,
            ..
        } = self;
        let isdr = card.session().await.map_err(Problem::from)?;
        let (mut isdr, committed) = commit(ticket, isdr).await?;
        let set = euicc::set_default_smdp(&mut isdr, address, &committed).await;
        let read = reading::addresses(&mut isdr).await;
        close(isdr).await;
        set.map_err(Problem::from)?;
        let addresses = read.map_err(Problem::from)?;
        context.update(|known| known.addresses = addresses);
        bootstrap.consider(&context.known());
        Ok(Achievement::default())
    }

    pub(super) async fn deliver(&mut self, ticket: &Ticket) -> Result<Achievement, Unfinished> {
        ticket.stage(Stage::DeliveringNotifications);
        let Self {
            card,
            context,
            outbox,
            ..
        } = self;
        let mut urgency = Urgency::Now;
        let mut achieved = Achievement::default();
        loop {
            let mut isdr = card.session().await.map_err(Problem::from)?;
            let delivered = outbox.deliver(&mut isdr, urgency).await;
            close(isdr).await;
            show_notifications(context, outbox);
            let delivered = delivered.map_err(Problem::from)?;
            achieved.notifications_delivered += delivered.delivered;
            achieved.notifications_pending = delivered.pending;
            if ticket.is_cancelled() {
                return Err(Cancelled.into());
            }
            if !outbox.is_busy() && !outbox.is_due() {
                return Ok(achieved);
            }
            // A server that takes its time is waited for without the channel.
            while outbox.is_busy() {
                tokio::select! {
                    biased;
                    () = ticket.cancelled() => return Err(Cancelled.into()),
                    () = outbox.settle() => {}
                }
            }
            urgency = Urgency::Due;
        }
    }

    pub(super) async fn reset(
        &mut self,
        ticket: &Ticket,
        scope: ResetScope,
    ) -> Result<Achievement, Unfinished> {
        ticket.stage(Stage::Deleting);
        let Self {
            card,
            context,
            outbox,
            ..
        } = self;
        let isdr = card.session().await.map_err(Problem::from)?;
        let (mut isdr, committed) = commit(ticket, isdr).await?;
        let reset = euicc::reset(&mut isdr, reset_options(scope), &committed).await;
        // An enabled profile that was erased makes the card ask for a reset.
        close(isdr).await;
        let back = profiles_when_back(card, MODEM_RETURNS).await;
        back.map_err(Unfinished::in_doubt)?;
        let wound_up = wind_up_anew(card, context, outbox, ticket).await;
        let erased = reset.map_err(Problem::from)?;
        if scope.default_smdp {
            context.update(|known| known.addresses.default_smdp = None);
        }
        Ok(wound_up.add_to(Achievement {
            nothing_to_change: !erased,
            ..Achievement::default()
        }))
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
