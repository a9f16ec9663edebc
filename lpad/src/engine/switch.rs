//! Enabling and disabling: until the modem really uses what it should, and what it uses gives service.
//!
//! SGP.22 v2.5 sections 3.2.1 and 3.2.2. The journal holds one record of a switch that may have to be
//! undone, written before the card is asked; with the profile list it is enough to go on, or back, after
//! any interruption. A profile that gets no service is left again for the one before, and that for the
//! others in turn.

mod notice;
mod service;
mod way_back;

use std::time::Duration;

use es9_client::Restrict;
use es10_apdu::es10c::{EnableProfileRequest, EnableResult};
use es10_apdu::function::Es10Function;
use es10_apdu::transport::Outcome as Answer;
use es10_apdu::types::{Iccid, PprIds, ProfileClass};
use tokio::time::{Instant, sleep, timeout};

use self::notice::make_notice;
use self::service::Verified;
use super::change::Deliver;
use super::desk::MODEM_RETURNS;
use super::life::Up;
use super::outbox::Urgency;
use super::reading;
use super::session::{Finished, ReadBackNow, show_notifications};
use super::waiting::Patience;
use crate::commit::Committed;
use crate::config::{AfterEnable, Confirm};
use crate::dialler::Hook;
use crate::failure::{Guard, Holdout, Interruption, JobFailure, Returned};
use crate::job::{Achievement, Outcome, Part, Reason, Stage, Switch, Switching, Tried, Verdict};
use crate::memory::journal::{InService, OpenSwitch, Record};
use crate::memory::operations::Ticket;
use crate::memory::snapshot::{Known, Profile, ProfileState, find};
use crate::modem::{OpenPort, ReportedProfile};
use crate::procedure::{Card, FunctionError, profiles};

/// What the card said to a switch.
enum Said {
    /// The profile is in the wanted state already, and nothing was begun.
    NothingToChange(Profile),
    /// The profile is in the wanted state, or the card accepted, or its answer is lost.
    Switched(Option<JobFailure>),
}

/// A profile in the wanted state.
enum Brought {
    /// It was in that state before.
    Unchanged(Profile),
    InUse(InUse),
}

/// What it came to that a profile was to be brought into service.
enum Came {
    /// It was in use already.
    Unchanged(Profile),
    Into(InUse, Outcome),
    ToNothing(Reason, Option<u8>),
}

/// A profile in the wanted state on the card and, as far as that tells, at the modem.
struct InUse {
    profile: Profile,
    warnings: Vec<String>,
}

impl<O: OpenPort, C: Restrict + 'static> Up<'_, O, C> {
    /// Enables a profile, and goes back when it gets no service; that it is enabled already is a success.
    pub(super) async fn enable(
        &mut self,
        ticket: &Ticket,
        order: &Switch,
    ) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::Enabling);
        let known = self.context.known();
        let profiles = known.profiles.of(Part::Profiles)?;
        let target = profiles.iter().find(|profile| profile.iccid == order.iccid);
        let is_test = target.is_some_and(|target| target.class == ProfileClass::TEST);
        let from = in_use(profiles);
        let config = &self.context.config.switch;
        let deadline_s = match order.verify && !is_test {
            true => order.deadline_s.unwrap_or(config.deadline_s),
            false => 0,
        };
        let is_watched = deadline_s > 0 && from.is_some() && from != Some(order.iccid);
        let mut open = OpenSwitch {
            operation: ticket.id(),
            eid: self.card.eid,
            from,
            was_in_service: is_watched && self.is_in_service().await,
            to: order.iccid,
            candidate: order.iccid,
            looks: 0,
            asks_client: order.confirm.unwrap_or(config.confirm) == Confirm::Client,
            accepts_no_return: order.accept_no_return,
            deadline_s,
            failed: Vec::new(),
        };
        let changes = from != Some(order.iccid);
        if deadline_s > 0 {
            if changes {
                self.hand_over(ticket, order.iccid).await;
            }
            return self.go(ticket, open).await;
        }
        let to = Some(order.iccid);
        let mut told = Vec::new();
        if changes {
            told.extend(self.tell_dialler(Hook::Down, from, to, None).await);
        }
        let brought = self.bring(ticket, &mut open).await;
        // Also when nothing was switched: the dialler was told to give up the profile in use.
        if changes {
            let now = if brought.is_ok() { to } else { from };
            told.extend(self.tell_dialler(Hook::Up, from, now, None).await);
        }
        match brought? {
            Brought::Unchanged(profile) => self.confirm_unchanged(&profile).await,
            Brought::InUse(mut in_use) => {
                in_use.warnings.extend(told);
                self.arrived(ticket, &open, in_use, Outcome::Unverified)
                    .await
            }
        }
    }

    /// Disables a profile; that it is disabled already is a success.
    pub(super) async fn disable(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        force: bool,
    ) -> Result<Achievement, JobFailure> {
        let known = self.context.known();
        let profiles = known.profiles.of(Part::Profiles)?;
        let before = find(profiles, iccid)?;
        if before.state == ProfileState::Enabled && !force {
            return Err(JobFailure::WouldStrand(Guard::InUse));
        }
        let in_use = match self.bring_to(ticket, iccid, None).await? {
            Brought::Unchanged(profile) => {
                return Ok(Achievement {
                    nothing_to_change: true,
                    ..profile.achieved()
                });
            }
            Brought::InUse(in_use) => in_use,
        };
        let achieved = Achievement {
            warnings: in_use.warnings,
            ..in_use.profile.achieved()
        };
        Ok(self.finish(ticket, achieved).await)
    }

    /// Some operators activate a subscription only when they have heard of its installation, which the
    /// profile in use may be the only way for. What does not get through in time waits on the card.
    async fn hand_over(&mut self, ticket: &Ticket, iccid: Iccid) {
        let known = self.context.known();
        let mut waiting = known.notifications.value().into_iter().flatten();
        if !waiting.any(|waiting| waiting.iccid == Some(iccid)) {
            return;
        }
        let delivered = timeout(HAND_OVER, self.deliver_as(ticket, Urgency::Due)).await;
        if let Ok(Err(failure)) = delivered {
            let shown = failure.shortened();
            tracing::warn!(
                failure = shown,
                "notifications wait until the switch has ended"
            );
            if failure.loses_card() {
                self.desk.port.is_away();
            }
        }
        ticket.stage(Stage::Enabling);
    }

    /// Goes on with a switch that an end of the daemon cut off, as the card tells where it stands.
    ///
    /// A client's order is not begun anew unseen: what was not sent stays unsent, unless it is a step of a
    /// download, whose code is spent.
    pub(super) async fn go_on(
        &mut self,
        ticket: &Ticket,
        mut open: OpenSwitch,
        is_download: bool,
    ) -> Result<Achievement, JobFailure> {
        let known = self.context.known();
        let profiles = known.profiles.of(Part::Profiles);
        let profiles = profiles.map_err(|failure| JobFailure::in_doubt(failure, None))?;
        match in_use(profiles) {
            Some(enabled) if enabled == open.candidate => {
                open.looks += 1;
                self.context
                    .journal
                    .note(Record::Switch(Box::new(open.clone())));
                if open.looks > STARTS && !open.is_returning() {
                    tracing::warn!("this profile was given enough starts");
                    self.show(ticket, &open, None);
                    return self.go_back(ticket, open, Reason::GivenUp, None, 0).await;
                }
            }
            enabled if !open.is_returning() && !is_download && enabled == open.from => {
                self.tell_dialler(Hook::Up, enabled, enabled, None).await;
                return Err(JobFailure::Interrupted(Interruption::Running));
            }
            // The card, or another program, chose it.
            Some(enabled) if Some(enabled) != open.from && !open.is_returning() => {
                open.failed.push(Tried {
                    iccid: open.candidate,
                    reason: Reason::CardKeptOld,
                    cause: None,
                    after_s: 0,
                });
                open.candidate = enabled;
                self.context
                    .journal
                    .note(Record::Switch(Box::new(open.clone())));
            }
            _ => {}
        }
        self.go(ticket, open).await
    }

    /// Brings one profile after the other into service, until one is.
    async fn go(
        &mut self,
        ticket: &Ticket,
        mut open: OpenSwitch,
    ) -> Result<Achievement, JobFailure> {
        loop {
            let begun = Instant::now();
            let (reason, cause) = match self.bring_into_service(ticket, &mut open).await? {
                Came::Unchanged(profile) => return self.confirm_unchanged(&profile).await,
                Came::Into(in_use, outcome) => {
                    return self.arrived(ticket, &open, in_use, outcome).await;
                }
                Came::ToNothing(reason, cause) => (reason, cause),
            };
            let after_s = begun.elapsed().as_secs();
            if !self.turn_back(ticket, &mut open, reason, cause, after_s) {
                return self.stranded(ticket, open).await;
            }
        }
    }

    /// As [`Self::go`], after the candidate has failed.
    async fn go_back(
        &mut self,
        ticket: &Ticket,
        mut open: OpenSwitch,
        reason: Reason,
        cause: Option<u8>,
        after_s: u64,
    ) -> Result<Achievement, JobFailure> {
        match self.turn_back(ticket, &mut open, reason, cause, after_s) {
            true => self.go(ticket, open).await,
            false => self.stranded(ticket, open).await,
        }
    }

    /// The candidate got no service: the next one is to be tried. `false` when there is none.
    fn turn_back(
        &mut self,
        ticket: &Ticket,
        open: &mut OpenSwitch,
        reason: Reason,
        cause: Option<u8>,
        after_s: u64,
    ) -> bool {
        let tried = Tried {
            iccid: open.candidate,
            reason,
            cause,
            after_s,
        };
        tracing::warn!(
            operation = %ticket.id(),
            reason = reason.lack(),
            after_s,
            "a profile got no service"
        );
        open.failed.push(tried);
        let context = self.context;
        let known = context.known();
        let profiles = known.profiles.value().map_or(&[][..], Vec::as_slice);
        let last_good = context
            .journal
            .look(|intent| intent.last_good(open.eid).map(|good| good.iccid));
        let Some(next) = way_back::next(open, last_good, &context.config, profiles) else {
            return false;
        };
        open.candidate = next;
        open.looks = 1;
        // The way back is gone even if it cannot be written.
        context.journal.note(Record::Switch(Box::new(open.clone())));
        ticket.forget_verdict();
        self.show(ticket, open, None);
        ticket.stage(Stage::Returning);
        true
    }

    /// No profile is left to try. The one that is most likely to get service again stays in use.
    async fn stranded(
        &mut self,
        ticket: &Ticket,
        mut open: OpenSwitch,
    ) -> Result<Achievement, JobFailure> {
        let Some(first) = open.failed.first().cloned() else {
            return Err(JobFailure::Interrupted(Interruption::Running));
        };
        let is_alone = open.failed.iter().all(|tried| tried.iccid == first.iccid);
        if is_alone {
            // There is nothing to go back to: the modem goes on searching.
            return match first.reason {
                Reason::ModemKeptOld => Err(JobFailure::NotSwitched(Holdout::Modem)),
                _ => self.stays(ticket, &open, &first).await,
            };
        }
        let last_good = self
            .context
            .journal
            .look(|intent| intent.last_good(open.eid).map(|good| good.iccid));
        let rest = last_good.or(open.from).unwrap_or(open.to);
        open.candidate = rest;
        let rest = match self.bring(ticket, &mut open).await {
            Ok(_) => rest,
            Err(failure) if failure.loses_card() || failure.is_in_doubt() => {
                return Err(JobFailure::in_doubt(failure, None));
            }
            Err(failure) => {
                let shown = failure.shortened();
                tracing::warn!(
                    failure = shown,
                    "the last profile with service is not enabled"
                );
                let known = self.context.known();
                let profiles = known.profiles.value().map_or(&[][..], Vec::as_slice);
                in_use(profiles).unwrap_or(rest)
            }
        };
        // The network may come later, and then the dialler has to know.
        self.tell_dialler(Hook::Up, open.from, Some(rest), None)
            .await;
        let outcome = Outcome::Stranded;
        self.show(ticket, &open, Some((outcome, Some(rest))));
        Err(self.no_service(outcome, &open, Some(rest)))
    }

    /// A profile without service stays in use, for want of another one.
    async fn stays(
        &mut self,
        ticket: &Ticket,
        open: &OpenSwitch,
        tried: &Tried,
    ) -> Result<Achievement, JobFailure> {
        let warning = format!("{tried}, and there is no other profile to go back to.");
        let warning = match self.hint(tried.reason) {
            Some(hint) => format!("{warning} {hint}"),
            None => warning,
        };
        let known = self.context.known();
        let profile = find(known.profiles.of(Part::Profiles)?, tried.iccid)?;
        let in_use = InUse {
            profile,
            warnings: vec![warning],
        };
        self.arrived(ticket, open, in_use, Outcome::Unverified)
            .await
    }

    fn no_service(&self, outcome: Outcome, open: &OpenSwitch, on: Option<Iccid>) -> JobFailure {
        let first = open.failed.first();
        JobFailure::NoService(Box::new(Returned {
            outcome,
            failed: open.failed.clone(),
            on,
            hint: first.and_then(|tried| self.hint(tried.reason)),
        }))
    }

    /// Brings the candidate into use, and looks until it is in service.
    ///
    /// # Errors
    /// When nothing was changed, or the card cannot be asked.
    async fn bring_into_service(
        &mut self,
        ticket: &Ticket,
        open: &mut OpenSwitch,
    ) -> Result<Came, JobFailure> {
        let is_returning = open.is_returning();
        if open.failed.last().map(|tried| tried.iccid) == Some(open.candidate) {
            self.reset_once_more().await;
        }
        let from = open.failed.last().map(|tried| tried.iccid).or(open.from);
        let to = Some(open.candidate);
        let mut down = None;
        if from != to && !self.context.config.dialler.down.is_empty() {
            // After a power cut the dialler has to be told that nothing came of it.
            let begun = Record::Switch(Box::new(open.clone()));
            match is_returning {
                true => self.context.journal.note(begun),
                false => self.context.intend(begun)?,
            }
            down = self.tell_dialler(Hook::Down, from, to, None).await;
        }
        let mut in_use = match self.bring(ticket, open).await {
            Ok(Brought::Unchanged(profile)) => return Ok(Came::Unchanged(profile)),
            Ok(Brought::InUse(in_use)) => in_use,
            Err(failure) => {
                let came = came_to(failure, open);
                if came.is_err() && !is_returning && from != to {
                    // The one before is still in use, and the dialler was told to give it up.
                    self.tell_dialler(Hook::Up, from, from, None).await;
                }
                return came;
            }
        };
        in_use.warnings.extend(down);
        self.show(ticket, open, None);
        ticket.stage(Stage::Verifying);
        let outcome = match self.verify(ticket, open, &mut in_use.warnings).await {
            Verified::InService => Outcome::Confirmed,
            Verified::Untold => {
                if is_returning {
                    let warning = "The modem does not tell whether it is registered.";
                    in_use.warnings.push(warning.to_owned());
                }
                Outcome::Unverified
            }
            Verified::Lacks(reason, cause) => return Ok(Came::ToNothing(reason, cause)),
            Verified::LeftOpen => {
                // A restart in good order is not held against the profile.
                if !is_returning && open.looks > 1 {
                    open.looks -= 1;
                    let record = Record::Switch(Box::new(open.clone()));
                    self.context.journal.note(record);
                }
                return Err(left_open());
            }
        };
        if open.asks_client && !is_returning {
            let seconds = self.context.config.switch.confirm_s;
            self.until(ticket, open, seconds);
            ticket.stage(Stage::AwaitingConfirm);
            let verdict = ticket.verdict(&[Verdict::Confirm, Verdict::Revert]);
            let verdict = timeout(Duration::from_secs(seconds), verdict);
            let verdict = tokio::select! {
                verdict = verdict => verdict,
                () = ticket.daemon_ends() => return Err(left_open()),
            };
            match verdict {
                Ok(Verdict::Confirm) => {}
                Ok(Verdict::Revert) => return Ok(Came::ToNothing(Reason::Reverted, None)),
                Err(_) => return Ok(Came::ToNothing(Reason::NotConfirmed, None)),
            }
        }
        Ok(Came::Into(in_use, outcome))
    }

    /// A profile that was in service a moment ago, and is not, may need the modem's last means.
    async fn reset_once_more(&mut self) {
        let Some(rung) = self.desk.port.habits().ladder.last().cloned() else {
            return;
        };
        tracing::info!(%rung, "the modem is reset once more for this profile");
        if let Err(failure) = self.desk.port.reset(&rung).await {
            tracing::warn!(failure = failure.shortened(), "this reset did not work");
        }
    }

    /// A profile is in use, and in service as far as that can be told: the switch has ended.
    async fn arrived(
        &mut self,
        ticket: &Ticket,
        open: &OpenSwitch,
        in_use: InUse,
        outcome: Outcome,
    ) -> Result<Achievement, JobFailure> {
        let iccid = in_use.profile.iccid;
        if outcome == Outcome::Confirmed {
            self.is_in_service_since_now(open, iccid);
        }
        let achieved = Achievement {
            warnings: in_use.warnings,
            ..in_use.profile.achieved()
        };
        let achieved = self.finish(ticket, achieved).await;
        let is_wanted = iccid == open.to;
        let outcome = match (is_wanted, outcome) {
            (true, outcome) => outcome,
            (false, _) if Some(iccid) == open.from => Outcome::Reverted,
            (false, _) => Outcome::Diverted,
        };
        self.show(ticket, open, Some((outcome, Some(iccid))));
        match is_wanted {
            true => Ok(achieved),
            false => Err(self.no_service(outcome, open, Some(iccid))),
        }
    }

    /// Keeps which profile was in service last. The one that was wanted is watched for a while.
    fn is_in_service_since_now(&mut self, open: &OpenSwitch, iccid: Iccid) {
        let watched_s = match iccid == open.to {
            true => self.context.config.switch.probation_s,
            false => 0,
        };
        let profile = InService {
            eid: open.eid,
            iccid,
            before: open.from,
            watched_until_s: match watched_s {
                0 => 0,
                seconds => self.context.clock.unix_seconds().saturating_add(seconds),
            },
        };
        self.context
            .journal
            .note(Record::InService(profile.clone()));
        if watched_s > 0 {
            self.probation
                .begin(profile, Duration::from_secs(watched_s));
        }
    }

    /// Leaves a profile that has lost its service.
    pub(super) async fn leave(
        &mut self,
        ticket: &Ticket,
        before: Option<Iccid>,
        lost: Tried,
    ) -> Result<Achievement, JobFailure> {
        let open = OpenSwitch {
            operation: ticket.id(),
            eid: self.card.eid,
            from: before,
            was_in_service: before.is_some(),
            to: lost.iccid,
            candidate: lost.iccid,
            looks: 1,
            asks_client: false,
            accepts_no_return: false,
            deadline_s: self.context.config.switch.deadline_s,
            failed: Vec::new(),
        };
        self.context
            .intend(Record::Switch(Box::new(open.clone())))?;
        // The way back is not called off.
        ticket.commit()?;
        self.go_back(ticket, open, lost.reason, lost.cause, lost.after_s)
            .await
    }

    /// Shows where the switch stands, or how it ended.
    fn show(&self, ticket: &Ticket, open: &OpenSwitch, ended: Option<(Outcome, Option<Iccid>)>) {
        let (outcome, profile) = match ended {
            Some((outcome, profile)) => (Some(outcome), profile),
            None => (None, Some(open.candidate)),
        };
        ticket.switching(Switching {
            outcome,
            profile,
            deadline_s: None,
            failed: open.failed.clone(),
        });
    }

    /// Shows until when something has to be so.
    fn until(&self, ticket: &Ticket, open: &OpenSwitch, seconds: u64) {
        let now = self.context.clock.unix_seconds();
        ticket.switching(Switching {
            outcome: None,
            profile: Some(open.candidate),
            deadline_s: Some(now.saturating_add(seconds)),
            failed: open.failed.clone(),
        });
    }

    /// Delivers what the switch has left on the card, now that there is a network.
    async fn finish(&mut self, ticket: &Ticket, achieved: Achievement) -> Achievement {
        let context = self.context;
        let waits = context.waits();
        let patience = Patience::new(&waits, MODEM_RETURNS);
        let finished = loop {
            let finished = self
                .desk
                .in_session(async |session| {
                    let finished = session.finish(context, ticket, ReadBackNow::No).await;
                    show_notifications(context, session.outbox);
                    Ok(finished)
                })
                .await;
            match finished {
                Ok(finished) => break finished,
                Err(failure) if patience.again(&failure).await => {}
                Err(failure) => {
                    self.desk.port.is_away();
                    break Finished::without_session(&failure);
                }
            }
        };
        finished.add_to(achieved)
    }

    /// Brings the candidate of a switch into use. That it is already is a success.
    async fn bring(
        &mut self,
        ticket: &Ticket,
        open: &mut OpenSwitch,
    ) -> Result<Brought, JobFailure> {
        self.bring_to(ticket, open.candidate, Some(open)).await
    }

    /// Brings a profile into use by a switch, or, without one, out of it: on the card and at the modem.
    ///
    /// It begins with reading the card, so that it may be started again while the switch was not sent.
    async fn bring_to(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        mut open: Option<&mut OpenSwitch>,
    ) -> Result<Brought, JobFailure> {
        let wanted = match &open {
            Some(_) => ProfileState::Enabled,
            None => ProfileState::Disabled,
        };
        let waits = self.context.waits();
        let patience = Patience::new(&waits, MODEM_RETURNS);
        let mut may_ask_again = true;
        loop {
            let lost = match self.say(ticket, iccid, open.as_deref_mut()).await {
                Ok(Said::NothingToChange(profile)) => return Ok(Brought::Unchanged(profile)),
                Ok(Said::Switched(lost)) => lost,
                // The switch itself was not sent, or it would be `Switched`.
                Err(failure) if failure.loses_card() && patience.again(&failure).await => continue,
                Err(failure) => return Err(failure),
            };
            match self.confirm(ticket, iccid, wanted, lost).await {
                // The card was read since, and has not switched: asking again is safe.
                Err(JobFailure::Function(error)) if may_ask_again => {
                    tracing::warn!(%error, "the switch got lost on its way");
                    may_ask_again = false;
                }
                ended => return ended.map(Brought::InUse),
            }
        }
    }

    /// Reads the profiles, and tells the card what is wanted if it is not so already. What is to be done
    /// is in the journal before.
    async fn say(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        open: Option<&mut OpenSwitch>,
    ) -> Result<Said, JobFailure> {
        let wanted = match &open {
            Some(_) => ProfileState::Enabled,
            None => ProfileState::Disabled,
        };
        if wanted == ProfileState::Disabled {
            ticket.stage(Stage::Disabling);
        }
        let context = self.context;
        // How the modem takes a switch has to be known before the first one.
        self.desk.port.at().await?;
        let habits = self.desk.port.habits();
        let (refresh, needs_profile) = (habits.refresh_flag, habits.needs_profile);
        self.desk
            .in_session(async |session| {
                let profiles = reading::profiles(&mut session.card).await?;
                let profile = find(&profiles, iccid);
                let from = in_use(&profiles);
                let others = profiles.iter().filter(|other| other.iccid != iccid);
                let has_others = others
                    .filter(|other| other.class == ProfileClass::OPERATIONAL)
                    .count()
                    > 0;
                context.update(|known| known.profiles = Known::Value(profiles));
                let profile = profile?;
                let is_new = open.as_ref().is_none_or(|open| open.looks == 0);
                if profile.state == wanted {
                    return Ok(match is_new {
                        true => Said::NothingToChange(profile),
                        false => Said::Switched(None),
                    });
                }
                if needs_profile && wanted == ProfileState::Disabled {
                    return Err(JobFailure::LastProfile);
                }
                if let Some(open) = open
                    && is_new
                {
                    let is_for_good = profile.policy_rules.contains(PprIds::PPR1);
                    if is_for_good && has_others && !open.accepts_no_return {
                        return Err(JobFailure::WouldStrand(Guard::NoWayBack));
                    }
                    open.from = from;
                    open.looks = 1;
                    if open.deadline_s > 0 {
                        context.intend(Record::Switch(Box::new(open.clone())))?;
                    }
                }
                let committed = ticket.commit()?;
                // A refresh closes the channel; that it cannot be closed then does not matter.
                match request(&mut session.card, iccid, wanted, refresh, &committed).await {
                    Ok(()) => Ok(Said::Switched(None)),
                    Err(error) if error.outcome() == Answer::Unknown => {
                        tracing::warn!(%error, "the answer is lost; the card will tell");
                        Ok(Said::Switched(Some(error.into())))
                    }
                    Err(error) => Err(error.into()),
                }
            })
            .await
    }

    /// The profile is enabled already; the modem may still use another one, after a switch that it did not
    /// follow. That it is out of service is said: the client may have wanted to know.
    async fn confirm_unchanged(&mut self, profile: &Profile) -> Result<Achievement, JobFailure> {
        let mut unfinished = None;
        let port = &mut self.desk.port;
        let printed = profile.iccid.to_string();
        let expected = Some(printed.as_str());
        let uses_another = |answer: &ReportedProfile| {
            matches!(answer, ReportedProfile::Iccid(_)) && !answer.proves(expected)
        };
        if port
            .wait_for_profile(expected, Duration::ZERO)
            .await
            .is_ok_and(|answer| uses_another(&answer))
        {
            tracing::info!("the modem uses another profile than the card");
            let noticed = make_notice(port, expected, &self.context.config).await?;
            unfinished = self.finish_reset().await;
            if uses_another(&noticed) {
                return Err(JobFailure::NotSwitched(Holdout::Modem));
            }
        }
        let lack = self.lack().await;
        Ok(Achievement {
            nothing_to_change: true,
            warnings: unfinished.into_iter().chain(lack).collect(),
            ..profile.achieved()
        })
    }

    /// Makes the modem notice what the card was told, and reads from the card what came of it.
    async fn confirm(
        &mut self,
        ticket: &Ticket,
        iccid: Iccid,
        wanted: ProfileState,
        lost: Option<JobFailure>,
    ) -> Result<InUse, JobFailure> {
        ticket.stage(Stage::RefreshingModem);
        let config = &self.context.config;
        let expected = (wanted == ProfileState::Enabled).then(|| iccid.to_string());
        let noticed = make_notice(&mut self.desk.port, expected.as_deref(), config).await;
        let unfinished = self.finish_reset().await;
        let profiles = match self.when_back(ticket, None, Deliver::Later).await {
            Ok(back) => back.profiles,
            Err(since) => {
                let lost = lost.unwrap_or(JobFailure::NotSwitched(Holdout::Modem));
                return Err(JobFailure::in_doubt(lost, Some(since)));
            }
        };
        let profile = find(profiles.of(Part::Profiles)?, iccid)?;
        if profile.state != wanted {
            return Err(lost.unwrap_or(JobFailure::NotSwitched(Holdout::Card)));
        }
        let warning = match noticed {
            Ok(answer) if answer.proves(expected.as_deref()) => None,
            Ok(ReportedProfile::Iccid(_)) => return Err(JobFailure::NotSwitched(Holdout::Modem)),
            Ok(ReportedProfile::None | ReportedProfile::NotReported)
                if config.after_enable == AfterEnable::Nothing =>
            {
                None
            }
            Ok(ReportedProfile::None | ReportedProfile::NotReported) => Some(NOT_TOLD.to_owned()),
            Err(failure) => Some(format!("The modem could not be asked: {failure}.")),
        };
        Ok(InUse {
            profile,
            warnings: warning.into_iter().chain(unfinished).collect(),
        })
    }

    /// Ends a reset that a rung left unfinished; gives what is to be told of it.
    async fn finish_reset(&mut self) -> Option<String> {
        match self.desk.port.finish_reset().await {
            Ok(unfinished) => unfinished,
            Err(failure) => {
                let failure = failure.shortened();
                tracing::warn!(failure, "the modem may still be off");
                None
            }
        }
    }
}

/// The daemon ends: the journal keeps the switch open, and the next start goes on.
fn left_open() -> JobFailure {
    JobFailure::in_doubt(JobFailure::Interrupted(Interruption::Running), None)
}

/// What a failure to bring a profile into use means for a switch.
fn came_to(failure: JobFailure, open: &OpenSwitch) -> Result<Came, JobFailure> {
    let is_returning = open.is_returning();
    let has_begun = open.looks > 0;
    Ok(Came::ToNothing(
        match failure {
            JobFailure::NotSwitched(Holdout::Modem) => Reason::ModemKeptOld,
            JobFailure::NotSwitched(Holdout::Card) if is_returning => Reason::CardKeptOld,
            JobFailure::UnknownProfile(_) if has_begun => Reason::CardRefused,
            JobFailure::Function(error) if is_returning && error.outcome() == Answer::Refused => {
                tracing::warn!(%error, "the way back is refused");
                Reason::CardRefused
            }
            // The profile that is left may not be in service: what was begun is not given up.
            failure if is_returning && !failure.is_in_doubt() => {
                return Err(JobFailure::in_doubt(failure, None));
            }
            // The card may have switched: only what says that it has not ends the switch.
            failure if has_begun && !left_as_it_was(&failure) && !failure.is_in_doubt() => {
                return Err(JobFailure::in_doubt(failure, None));
            }
            failure => return Err(failure),
        },
        None,
    ))
}

/// Whether nothing was changed when this came of an order to the card.
fn left_as_it_was(failure: &JobFailure) -> bool {
    match failure {
        JobFailure::Function(FunctionError::Refused { function, .. }) => {
            *function == EnableProfileRequest::NAME
        }
        JobFailure::Cancelled
        | JobFailure::WouldStrand(_)
        | JobFailure::NotSwitched(_)
        | JobFailure::Journal(_) => true,
        _ => false,
    }
}

/// The profile in use.
fn in_use(profiles: &[Profile]) -> Option<Iccid> {
    let mut profiles = profiles.iter();
    let enabled = profiles.find(|profile| profile.state == ProfileState::Enabled);
    enabled.map(|profile| profile.iccid)
}

/// Asks with a refresh if the modem acts on it; when the card stays busy with the modem, at last without
/// one.
async fn request(
    card: &mut impl Card,
    iccid: Iccid,
    wanted: ProfileState,
    refresh: bool,
    committed: &Committed,
) -> Result<(), FunctionError> {
    for attempt in 1..=BUSY_ATTEMPTS {
        let may_ask_again = attempt < BUSY_ATTEMPTS;
        let refresh = refresh && may_ask_again;
        let result = match wanted {
            ProfileState::Enabled => profiles::enable(card, iccid, refresh, committed).await,
            ProfileState::Disabled => profiles::disable(card, iccid, refresh, committed).await,
        };
        match result {
            Err(FunctionError::Refused { refusal, .. })
                if may_ask_again && refusal.code == EnableResult::CAT_BUSY.0 =>
            {
                tracing::info!(attempt, "the card is busy with the modem");
                sleep(BUSY_PAUSE).await;
            }
            result => return result,
        }
    }
    Ok(())
}

/// What is said of a modem that cannot be asked for the ICCID.
const NOT_TOLD: &str =
    "The modem does not tell which profile it uses; if it finds no network, restart it.";
/// How long a switch waits for notifications to be delivered.
const HAND_OVER: Duration = Duration::from_secs(60);
/// So often a profile is looked at after a start; a box that is switched off again and again goes back.
const STARTS: u32 = 2;
/// How often a busy card is asked, the last time without refresh.
const BUSY_ATTEMPTS: u32 = 6;
/// How long a busy card is left alone.
const BUSY_PAUSE: Duration = Duration::from_secs(2);
