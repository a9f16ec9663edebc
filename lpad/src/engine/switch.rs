//! Enabling and disabling: until the modem really uses what it should, and what it uses gives service.
//!
//! SGP.22 v2.5 sections 3.2.1 and 3.2.2. The journal holds one record of a switch that may have to be
//! undone, written before the card is asked; with the profile list it is enough to go on, or back, after
//! any interruption. A profile that gets no service is left again for the one before, and that for the
//! others in turn.

mod bring;
mod notice;
mod service;
mod way_back;

use std::time::Duration;

use es9_client::Restrict;
use es10_apdu::es10c::EnableProfileRequest;
use es10_apdu::function::Es10Function;
use es10_apdu::transport::Outcome as Answer;
use es10_apdu::types::{Iccid, ProfileClass};
use tokio::time::{Instant, timeout};

use self::bring::{Brought, InUse};
use self::service::Verified;
use super::desk::MODEM_RETURNS;
use super::life::Up;
use super::outbox::Urgency;
use super::session::{Finished, ReadBackNow, show_notifications};
use super::waiting::Patience;
use crate::config::Confirm;
use crate::dialler::Hook;
use crate::failure::{Guard, Holdout, Interruption, JobFailure, Returned};
use crate::job::{Achievement, Outcome, Part, Reason, Stage, Switch, Switching, Tried, Verdict};
use crate::memory::journal::{InService, OpenSwitch, Record};
use crate::memory::operations::Ticket;
use crate::memory::snapshot::{Profile, ProfileState, find, in_use};
use crate::modem::OpenPort;
use crate::procedure::FunctionError;

/// What it came to that a profile was to be brought into service.
enum Came {
    /// It was in use already.
    Unchanged(Profile),
    Into(InUse, Outcome),
    ToNothing(Reason, Option<u8>),
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
            verdict: None,
            failed: Vec::new(),
        };
        let changes = from != Some(order.iccid);
        if deadline_s > 0 {
            if changes {
                self.hand_over(ticket, order.iccid).await;
            }
            return self.go(ticket, open, None).await;
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
        let enabled = in_use(profiles);
        let is_as_before = enabled == open.from && !open.is_returning();
        let said = ticket.said().filter(|_| !open.is_returning());
        match enabled {
            // It is not begun against the client's will either.
            _ if said == Some(Verdict::Revert) && !is_as_before => {
                let tried = Tried::of(open.candidate, Reason::Reverted);
                return self.go(ticket, open, Some(tried)).await;
            }
            Some(enabled) if enabled == open.candidate => {
                open.looks += 1;
                self.keep(ticket, &mut open);
                // One that a client has confirmed over the profile works.
                if open.looks > STARTS && !open.is_returning() && said.is_none() {
                    tracing::warn!("this profile was given enough starts");
                    let tried = Tried::of(enabled, Reason::GivenUp);
                    return self.go(ticket, open, Some(tried)).await;
                }
            }
            _ if is_as_before && (!is_download || said == Some(Verdict::Revert)) => {
                self.tell_dialler(Hook::Up, enabled, enabled, None).await;
                return Err(JobFailure::Interrupted(Interruption::Running));
            }
            // The card, or another program, chose it.
            Some(enabled) if Some(enabled) != open.from && !open.is_returning() => {
                let tried = Tried::of(open.candidate, Reason::CardKeptOld);
                open.failed.push(tried);
                open.candidate = enabled;
                self.keep(ticket, &mut open);
                ticket.switching(open.shown());
            }
            _ => {}
        }
        self.go(ticket, open, None).await
    }

    /// Brings one profile after the other into service, until one is; `failed` is what the candidate lacked
    /// that was tried before.
    async fn go(
        &mut self,
        ticket: &Ticket,
        mut open: OpenSwitch,
        mut failed: Option<Tried>,
    ) -> Result<Achievement, JobFailure> {
        loop {
            if let Some(tried) = failed.take()
                && !self.turn_back(ticket, &mut open, tried)
            {
                return self.stranded(ticket, open).await;
            }
            let begun = Instant::now();
            let (reason, cause) = match self.bring_into_service(ticket, &mut open).await? {
                Came::Unchanged(profile) => return self.confirm_unchanged(&profile).await,
                Came::Into(in_use, outcome) => {
                    return self.arrived(ticket, &open, in_use, outcome).await;
                }
                Came::ToNothing(reason, cause) => (reason, cause),
            };
            failed = Some(Tried {
                cause,
                after_s: begun.elapsed().as_secs(),
                ..Tried::of(open.candidate, reason)
            });
        }
    }

    /// The candidate got no service: the next one is to be tried. `false` when there is none.
    fn turn_back(&mut self, ticket: &Ticket, open: &mut OpenSwitch, tried: Tried) -> bool {
        tracing::warn!(
            operation = %ticket.id(),
            reason = tried.reason.lack(),
            after_s = tried.after_s,
            "a profile got no service"
        );
        open.failed.push(tried);
        let known = self.context.known();
        let (last_good, config) = (self.last_good(open), &self.context.config);
        let Some(next) = way_back::next(open, last_good, config, known.listed()) else {
            return false;
        };
        open.candidate = next;
        open.looks = 1;
        // The way back is gone even if it cannot be written.
        self.keep(ticket, open);
        ticket.hears(&[]);
        ticket.switching(open.shown());
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
        let rest = self.last_good(&open).or(open.from).unwrap_or(open.to);
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
                in_use(self.context.known().listed()).unwrap_or(rest)
            }
        };
        // The network may come later, and then the dialler has to know.
        self.tell_dialler(Hook::Up, open.from, Some(rest), None)
            .await;
        let outcome = Outcome::Stranded;
        show_end(ticket, &open, outcome, Some(rest));
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
            match is_returning {
                true => self.keep(ticket, open),
                false => self
                    .context
                    .intend(Record::Switch(Box::new(open.clone())))?,
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
                    self.keep(ticket, open);
                }
                return Err(left_open());
            }
        };
        if is_returning {
            return Ok(Came::Into(in_use, outcome));
        }
        if open.asks_client {
            self.ask_client(ticket, open).await?;
        }
        // Nothing is heard any more from here on, so that what was said until now is all that counts.
        Ok(match ticket.hears(&[]) {
            Some(Verdict::Revert) => Came::ToNothing(Reason::Reverted, None),
            None if open.asks_client => Came::ToNothing(Reason::NotConfirmed, None),
            Some(Verdict::Confirm) | None => Came::Into(in_use, outcome),
        })
    }

    /// Waits until a client says what becomes of the switch, or the time for that is over.
    async fn ask_client(&mut self, ticket: &Ticket, open: &OpenSwitch) -> Result<(), JobFailure> {
        let seconds = self.context.config.switch.confirm_s;
        ticket.hears(VERDICTS);
        self.until(ticket, open, seconds);
        ticket.stage(Stage::AwaitingConfirm);
        let verdict = timeout(Duration::from_secs(seconds), ticket.verdict(VERDICTS));
        tokio::select! {
            biased;
            _ = verdict => Ok(()),
            () = ticket.daemon_ends() => Err(left_open()),
        }
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
        show_end(ticket, open, outcome, Some(iccid));
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
            verdict: None,
            failed: Vec::new(),
        };
        self.context
            .intend(Record::Switch(Box::new(open.clone())))?;
        // The way back is not called off.
        ticket.commit()?;
        self.go(ticket, open, Some(lost)).await
    }

    /// Writes where the switch stands.
    fn keep(&self, ticket: &Ticket, open: &mut OpenSwitch) {
        open.verdict = ticket.said();
        let record = Record::Switch(Box::new(open.clone()));
        self.context.journal.note(record);
    }

    /// The profile that was in service last.
    fn last_good(&self, open: &OpenSwitch) -> Option<Iccid> {
        let known = self.context.last_good(open.eid);
        known.map(|known| known.iccid)
    }

    /// Shows until when something has to be so.
    fn until(&self, ticket: &Ticket, open: &OpenSwitch, seconds: u64) {
        let now = self.context.clock.unix_seconds();
        ticket.switching(Switching {
            deadline_s: Some(now.saturating_add(seconds)),
            ..open.shown()
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
}

/// Shows how the switch ended.
fn show_end(ticket: &Ticket, open: &OpenSwitch, outcome: Outcome, on: Option<Iccid>) {
    ticket.switching(Switching {
        outcome: Some(outcome),
        profile: on,
        ..open.shown()
    });
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

/// How long a switch waits for notifications to be delivered.
const HAND_OVER: Duration = Duration::from_secs(60);
/// What a client that is asked may say.
const VERDICTS: &[Verdict] = &[Verdict::Confirm, Verdict::Revert];
/// So often a profile is looked at after a start; a box that is switched off again and again goes back.
const STARTS: u32 = 2;
