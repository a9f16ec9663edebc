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

use std::collections::BTreeSet;
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
use super::port::Must;
use super::session::{Finished, ReadBackNow, show_notifications};
use super::waiting::Patience;
use crate::config::Confirm;
use crate::dialler::Hook;
use crate::failure::{Guard, Holdout, Interruption, JobFailure, Returned};
use crate::job::{
    Achievement, OperationId, Outcome, Part, Reason, Stage, Switch, Switching, Tried, Verdict,
};
use crate::memory::journal::{InService, OpenSwitch, Record, StartedOperation};
use crate::memory::operations::Ticket;
use crate::memory::snapshot::{Profile, ProfileState, find, in_use};
use crate::modem::OpenPort;
use crate::procedure::FunctionError;

/// What it came to that a profile was to be brought into service.
enum Came {
    /// It was in use already.
    Unchanged(Profile),
    Into(Profile, Outcome),
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
        // It never gives service.
        let is_test = target.is_some_and(|target| target.class == ProfileClass::TEST);
        let from = in_use(profiles);
        let config = &self.context.config.switch;
        let confirm = order.confirm.unwrap_or(config.confirm);
        let mut open = OpenSwitch {
            asks_client: order.verify && confirm == Confirm::Client,
            by_itself: order.by_itself,
            accepts_no_return: order.accept_no_return,
            deadline_s: match order.verify && !is_test {
                true => order.deadline_s.unwrap_or(config.deadline_s),
                false => 0,
            },
            ..OpenSwitch::new(ticket.id(), self.card.eid, from, order.iccid)
        };
        if from != Some(order.iccid) && open.has_way_back() {
            open.was_in_service = from.is_some()
                && tokio::select! {
                    biased;
                    () = ticket.cancelled() => return Err(JobFailure::Cancelled),
                    is_in_service = self.is_in_service() => is_in_service,
                };
            self.was_in_service(&open);
            self.hand_over(ticket, order.iccid).await;
            if ticket.is_cancelled() {
                return Err(JobFailure::Cancelled);
            }
        }
        self.spends(&open);
        self.go(ticket, open, None).await
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
        let mut told = None;
        if before.state == ProfileState::Enabled {
            told = self.goes_away(ticket, Some(iccid), None).await;
        }
        let in_use = match self.bring_to(ticket, iccid, None).await {
            Ok(Brought::Unchanged(profile)) => {
                return Ok(Achievement {
                    nothing_to_change: true,
                    ..profile.achieved()
                });
            }
            Ok(Brought::InUse(in_use)) => in_use,
            Err(failure) => {
                if !failure.is_in_doubt() {
                    self.may_be_in_use(iccid).await;
                }
                return Err(failure);
            }
        };
        let achieved = Achievement {
            warnings: told.into_iter().chain(in_use.warnings).collect(),
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
                if open.looks > STARTS && open.is_undoable() && said.is_none() {
                    tracing::warn!("this profile was given enough starts");
                    let tried = Tried::of(enabled, Reason::GivenUp);
                    return self.go(ticket, open, Some(tried)).await;
                }
            }
            _ if match is_as_before {
                true => !is_download || said == Some(Verdict::Revert),
                false => !open.has_way_back(),
            } =>
            {
                self.tell_up(&mut open, enabled).await;
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
        let mut warnings = Vec::new();
        loop {
            if let Some(tried) = failed.take()
                && !self.turn_back(ticket, &mut open, tried)
            {
                return self.stranded(ticket, open, warnings).await;
            }
            let begun = Instant::now();
            let came = self.bring_into_service(ticket, &mut open, &mut warnings);
            let (reason, cause) = match came.await? {
                Came::Unchanged(profile) => {
                    self.is_wanted(&open, profile.iccid);
                    return self.confirm_unchanged(&profile).await;
                }
                Came::Into(profile, outcome) => {
                    let in_use = InUse { profile, warnings };
                    return self.arrived(ticket, open, in_use, outcome).await;
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
        ticket.hears(&[]);
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
        self.spends(open);
        // The way back is gone even if it cannot be written.
        self.keep(ticket, open);
        ticket.switching(open.shown());
        ticket.stage(Stage::Returning);
        true
    }

    /// No profile is left to try. The one that is most likely to get service again stays in use.
    async fn stranded(
        &mut self,
        ticket: &Ticket,
        mut open: OpenSwitch,
        mut warnings: Vec<String>,
    ) -> Result<Achievement, JobFailure> {
        let Some(first) = open.failed.first().cloned() else {
            return Err(JobFailure::Interrupted(Interruption::Running));
        };
        let is_alone = open.failed.iter().all(|tried| tried.iccid == first.iccid);
        if is_alone {
            // There is nothing to go back to: the modem goes on searching.
            return match first.reason {
                Reason::ModemKeptOld => {
                    self.tell_up(&mut open, Some(first.iccid)).await;
                    Err(JobFailure::NotSwitched(Holdout::Modem))
                }
                _ => self.stays(ticket, open, &first, warnings).await,
            };
        }
        let rest = way_back::rest(&open, self.last_good(&open), self.context.known().listed());
        open.candidate = rest;
        self.spends(&open);
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
        open.is_down = true;
        warnings.extend(self.tell_up(&mut open, Some(rest)).await);
        self.watch.is_stranded();
        self.watch.begin(in_service(&open, rest, 0), Duration::ZERO);
        self.context.keep_watch(self.watch);
        show_end(ticket, &open, Outcome::Stranded, Some(rest));
        let returned = Returned::to(rest, Outcome::Stranded, false, warnings);
        Err(self.no_service(open, returned))
    }

    /// A profile without service stays in use, for want of another one.
    async fn stays(
        &mut self,
        ticket: &Ticket,
        open: OpenSwitch,
        tried: &Tried,
        mut warnings: Vec<String>,
    ) -> Result<Achievement, JobFailure> {
        let warning = format!("{tried}, and there is no other profile to go back to.");
        let warning = match self.hint(tried.reason) {
            Some(hint) => format!("{warning} {hint}"),
            None => warning,
        };
        let known = self.context.known();
        let profile = find(known.profiles.of(Part::Profiles)?, tried.iccid)?;
        warnings.insert(0, warning);
        let in_use = InUse { profile, warnings };
        self.arrived(ticket, open, in_use, Outcome::Unverified)
            .await
    }

    fn no_service(&self, open: OpenSwitch, mut returned: Returned) -> JobFailure {
        let first = open.failed.first();
        // Each profile may have brought the same ones.
        let mut told = BTreeSet::new();
        returned
            .warnings
            .retain(|warning| told.insert(warning.clone()));
        JobFailure::NoService(Box::new(Returned {
            hint: first.and_then(|tried| self.hint(tried.reason)),
            failed: open.failed,
            ..returned
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
        warnings: &mut Vec<String>,
    ) -> Result<Came, JobFailure> {
        let is_returning = open.is_returning();
        if is_returning && open.left() == Some(open.candidate) {
            self.reset_once_more().await;
        }
        warnings.extend(self.tell_down(ticket, open).await?);
        let profile = match self.bring(ticket, open).await {
            Ok(Brought::Unchanged(profile)) => {
                self.tell_up(open, Some(profile.iccid)).await;
                return Ok(Came::Unchanged(profile));
            }
            Ok(Brought::InUse(brought)) => {
                warnings.extend(brought.warnings);
                brought.profile
            }
            Err(failure) => {
                let came = came_to(failure, open);
                if came.as_ref().is_err_and(|failure| !failure.is_in_doubt()) {
                    let enabled = in_use(self.context.known().listed());
                    self.tell_up(open, enabled).await;
                }
                return came;
            }
        };
        let verified = match is_returning || open.deadline_s > 0 {
            true => {
                ticket.stage(Stage::Verifying);
                self.verify(ticket, open, warnings).await
            }
            false => {
                open.is_down = false;
                let to = Some(open.candidate);
                let up = self.tell_dialler(Hook::Up, open.left(), to, None);
                warnings.extend(up.await);
                Verified::NotLooked
            }
        };
        let outcome = match verified {
            Verified::InService => Outcome::Confirmed,
            Verified::NotLooked => Outcome::Unverified,
            Verified::Untold => {
                let is_modem = self.desk.port.modem().is_some();
                warnings.extend(is_modem.then(|| UNTOLD.to_owned()));
                Outcome::Unverified
            }
            Verified::Lacks(reason, cause) => return Ok(Came::ToNothing(reason, cause)),
            Verified::LeftOpen => return Err(self.leave_open(ticket, open)),
        };
        if is_returning {
            return Ok(Came::Into(profile, outcome));
        }
        if open.asks_client {
            self.ask_client(ticket, open).await?;
        }
        // Nothing is heard any more from here on, so that what was said until now is all that counts.
        Ok(match ticket.hears(&[]) {
            Some(Verdict::Revert) => Came::ToNothing(Reason::Reverted, None),
            None if open.asks_client => Came::ToNothing(Reason::NotConfirmed, None),
            Some(Verdict::Confirm) | None => Came::Into(profile, outcome),
        })
    }

    /// Waits until a client says what becomes of the switch, or the time for that is over.
    async fn ask_client(
        &mut self,
        ticket: &Ticket,
        open: &mut OpenSwitch,
    ) -> Result<(), JobFailure> {
        let seconds = self.context.config.switch.confirm_s;
        ticket.hears(VERDICTS);
        self.until(ticket, open, seconds);
        ticket.stage(Stage::AwaitingConfirm);
        let verdict = timeout(Duration::from_secs(seconds), ticket.verdict(VERDICTS));
        tokio::select! {
            biased;
            _ = verdict => Ok(()),
            () = ticket.daemon_ends() => Err(self.leave_open(ticket, open)),
        }
    }

    /// The daemon ends: the journal keeps the switch open, and the next start goes on. A restart in good
    /// order is not held against the profile.
    fn leave_open(&self, ticket: &Ticket, open: &mut OpenSwitch) -> JobFailure {
        if !open.is_returning() && open.looks > 1 {
            open.looks -= 1;
            self.keep(ticket, open);
        }
        JobFailure::in_doubt(JobFailure::Interrupted(Interruption::Running), None)
    }

    /// Tells the dialler that the profile in use goes away, unless it has heard that.
    async fn tell_down(
        &mut self,
        ticket: &Ticket,
        open: &mut OpenSwitch,
    ) -> Result<Option<String>, JobFailure> {
        let (left, to) = (open.left(), Some(open.candidate));
        let stays = left == to || in_use(self.context.known().listed()) == to;
        if open.is_down || stays || self.context.config.dialler.down.is_empty() {
            return Ok(None);
        }
        open.is_down = true;
        // After a power cut the dialler has to be told what came of it.
        match open.is_returning() {
            true => self.keep(ticket, open),
            false => self.context.intend(record_of(ticket, open))?,
        }
        Ok(self.goes_away(ticket, left, to).await)
    }

    /// Tells the dialler that a profile goes away. Nobody waits for it who has cancelled that.
    async fn goes_away(
        &mut self,
        ticket: &Ticket,
        from: Option<Iccid>,
        to: Option<Iccid>,
    ) -> Option<String> {
        tokio::select! {
            biased;
            () = ticket.cancelled() => None,
            warning = self.tell_dialler(Hook::Down, from, to, None) => warning,
        }
    }

    /// An order to disable a profile was cut off before the card had it.
    pub(super) async fn was_not_disabled(
        &mut self,
        started: &StartedOperation,
    ) -> Result<Achievement, JobFailure> {
        if let Some(iccid) = started.iccid.as_deref().and_then(|text| text.parse().ok()) {
            self.may_be_in_use(iccid).await;
        }
        Err(JobFailure::Interrupted(Interruption::Running))
    }

    /// A profile that was to be disabled may be in use all the same, and the dialler was told that it goes.
    async fn may_be_in_use(&mut self, iccid: Iccid) {
        if in_use(self.context.known().listed()) == Some(iccid) {
            let iccid = Some(iccid);
            self.tell_dialler(Hook::Up, iccid, iccid, None).await;
        }
    }

    /// Tells the dialler that this profile is in use at the end, if it still waits for one.
    async fn tell_up(&mut self, open: &mut OpenSwitch, on: Option<Iccid>) -> Option<String> {
        if !open.is_down || on.is_none() {
            return None;
        }
        open.is_down = false;
        let from = open.left().filter(|left| Some(*left) != on);
        self.tell_dialler(Hook::Up, from.or(open.from), on, None)
            .await
    }

    /// A profile that was in service a moment ago, and is not, may need the modem's last means.
    async fn reset_once_more(&mut self) {
        let Some(rung) = self.desk.port.habits().ladder.last().cloned() else {
            return;
        };
        tracing::info!(%rung, "the modem is reset once more for this profile");
        if let Err(failure) = self.desk.port.reset(&rung, Must::Anyway).await {
            tracing::warn!(failure = failure.shortened(), "this reset did not work");
        }
    }

    /// A profile is in use, and in service as far as that can be told: the switch has ended.
    async fn arrived(
        &mut self,
        ticket: &Ticket,
        mut open: OpenSwitch,
        mut in_use: InUse,
        outcome: Outcome,
    ) -> Result<Achievement, JobFailure> {
        let iccid = in_use.profile.iccid;
        let up = self.tell_up(&mut open, Some(iccid)).await;
        in_use.warnings.extend(up);
        self.is_used_from_now(&open, &in_use.profile, outcome);
        let achieved = Achievement {
            warnings: in_use.warnings,
            ..in_use.profile.achieved()
        };
        let achieved = self.finish(ticket, achieved).await;
        if iccid == open.to {
            show_end(ticket, &open, outcome, Some(iccid));
            return Ok(achieved);
        }
        let is_proven = outcome == Outcome::Confirmed;
        let outcome = match Some(iccid) == open.from {
            true => Outcome::Reverted,
            false => Outcome::Diverted,
        };
        show_end(ticket, &open, outcome, Some(iccid));
        let warnings = achieved.warnings;
        Err(self.no_service(open, Returned::to(iccid, outcome, is_proven, warnings)))
    }

    /// Keeps which profile was in service last, and watches the one in use. The one that was wanted is on
    /// probation for a while.
    fn is_used_from_now(&mut self, open: &OpenSwitch, profile: &Profile, outcome: Outcome) {
        let iccid = profile.iccid;
        let is_proven = outcome == Outcome::Confirmed;
        let probation_s = match is_proven && iccid == open.to {
            true => self.context.config.switch.probation_s,
            false => 0,
        };
        let until_s = match probation_s {
            0 => 0,
            seconds => self.context.clock.unix_seconds().saturating_add(seconds),
        };
        let used = in_service(open, iccid, until_s);
        if is_proven {
            self.context.journal.note(Record::InService(used.clone()));
        }
        self.watch.is_settled();
        match profile.class {
            // It never gives service.
            ProfileClass::TEST => self.watch.end(),
            _ => self.watch.begin(used, Duration::from_secs(probation_s)),
        }
        self.is_wanted(open, iccid);
    }

    /// A profile is in use at the end of a switch; what a client asked for is preferred from now on.
    fn is_wanted(&mut self, open: &OpenSwitch, iccid: Iccid) {
        if iccid == open.to && !open.by_itself {
            self.watch.prefers(iccid);
        }
        self.context.keep_watch(self.watch);
    }

    /// What lpad switches by itself is counted.
    fn spends(&mut self, open: &OpenSwitch) {
        if open.by_itself {
            self.watch.spends();
            self.context.keep_watch(self.watch);
        }
    }

    /// Keeps that the profile in use was in service when a switch began, if another one was before. It is
    /// not watched for that.
    fn was_in_service(&self, open: &OpenSwitch) {
        let Some(iccid) = open.from.filter(|_| open.was_in_service) else {
            return;
        };
        if self.last_good(open) != Some(iccid) {
            let known = InService::of(open.eid, iccid);
            self.context.journal.note(Record::InService(known));
        }
    }

    /// Whether a profile without service could be left for another one.
    pub(super) fn could_leave(&self, iccid: Iccid) -> bool {
        let tried = Tried::of(iccid, Reason::NotRegistered);
        let open = OpenSwitch {
            failed: vec![tried],
            ..OpenSwitch::new(OperationId(0), self.card.eid, None, iccid)
        };
        let (last_good, config) = (self.last_good(&open), &self.context.config);
        way_back::next(&open, last_good, config, self.context.known().listed()).is_some()
    }

    /// Leaves a profile that has lost its service.
    pub(super) async fn leave(
        &mut self,
        ticket: &Ticket,
        before: Option<Iccid>,
        lost: Tried,
    ) -> Result<Achievement, JobFailure> {
        let open = OpenSwitch {
            was_in_service: before.is_some(),
            looks: 1,
            by_itself: true,
            deadline_s: self.context.config.switch.deadline_s,
            ..OpenSwitch::new(ticket.id(), self.card.eid, before, lost.iccid)
        };
        self.context
            .intend(Record::Switch(Box::new(open.clone())))?;
        // The way back is not called off.
        ticket.commit()?;
        self.go(ticket, open, Some(lost)).await
    }

    /// Writes where the switch stands.
    fn keep(&self, ticket: &Ticket, open: &mut OpenSwitch) {
        self.context.journal.note(record_of(ticket, open));
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

/// A profile that is in use at the end of a switch.
fn in_service(open: &OpenSwitch, iccid: Iccid, watched_until_s: u64) -> InService {
    InService {
        eid: open.eid,
        iccid,
        before: open.from,
        watched_until_s,
    }
}

/// What the journal holds of a switch: how it stands, and what a client has said of it.
fn record_of(ticket: &Ticket, open: &mut OpenSwitch) -> Record {
    open.verdict = ticket.said();
    Record::Switch(Box::new(open.clone()))
}

/// Shows how the switch ended.
fn show_end(ticket: &Ticket, open: &OpenSwitch, outcome: Outcome, on: Option<Iccid>) {
    ticket.switching(Switching {
        outcome: Some(outcome),
        profile: on,
        ..open.shown()
    });
}

/// What a failure to bring a profile into use means for a switch.
fn came_to(failure: JobFailure, open: &OpenSwitch) -> Result<Came, JobFailure> {
    let is_returning = open.is_returning();
    let has_begun = open.looks > 0;
    if !open.has_way_back() {
        let is_told = !has_begun || left_as_it_was(&failure) || failure.is_in_doubt();
        return Err(match is_told {
            true => failure,
            false => JobFailure::in_doubt(failure, None),
        });
    }
    Ok(Came::ToNothing(
        match failure {
            JobFailure::NotSwitched(Holdout::Modem) => Reason::ModemKeptOld,
            JobFailure::NotSwitched(Holdout::Card) if is_returning => Reason::CardKeptOld,
            JobFailure::UnknownProfile(_) if has_begun => Reason::CardRefused,
            JobFailure::Function(error) if is_returning && is_no(&error) => {
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

/// Whether the card said no to enabling a profile. A list that it does not give says nothing of that.
fn is_no(error: &FunctionError) -> bool {
    match error {
        FunctionError::Refused { function, .. } => *function == EnableProfileRequest::NAME,
        FunctionError::Call(error) => error.outcome() == Answer::Refused,
    }
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

/// Said of a modem that does not tell whether a profile is in service.
const UNTOLD: &str = "The modem does not tell whether it is registered.";
/// How long a switch waits for notifications to be delivered.
const HAND_OVER: Duration = Duration::from_secs(60);
/// What a client that is asked may say.
const VERDICTS: &[Verdict] = &[Verdict::Confirm, Verdict::Revert];
/// So often a profile is looked at after a start; a box that is switched off again and again goes back.
const STARTS: u32 = 2;
