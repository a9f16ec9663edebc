//! Service is watched: for a while after a switch, because a subscription may be switched off, or a modem
//! lose the network for good, only after it seemed to work; until it is back when no profile got any; and
//! for ever where that is configured.
//!
//! What lpad does about a loss by itself is bounded: by patience, by waits that grow, and by a budget of
//! switches that outlives a restart.

use std::time::Duration;

use es10_apdu::types::{Eid, Iccid};
use tokio::time::Instant;

use crate::config::{EuiccConfig, WatchConfig};
use crate::job::{Reason, Tried};
use crate::memory::journal::{InService, KeptWatch};
use crate::memory::service::{self, NextStep, ServiceState};
use crate::runtime::backoff::Backoff;

/// The watch over the profile in use.
#[derive(Debug)]
pub(super) struct Watch {
    config: WatchConfig,
    /// How long a loss may last soon after a switch.
    deadline: Duration,
    /// How long a restarted radio may take; none when it is not restarted.
    restart: Option<Duration>,
    budget: Budget,
    card: Option<Eid>,
    watched: Option<Watched>,
    /// Rounds over all profiles, after none got service.
    rounds: Option<Tries>,
    /// The profile that is wanted, and used again after another one took over.
    preferred: Option<Iccid>,
    /// Ways back to it.
    returns: Option<Tries>,
    is_changed: bool,
}

/// The profile that is watched.
#[derive(Debug)]
struct Watched {
    profile: InService,
    /// Until when it is on probation.
    until: Option<Instant>,
    looked: Instant,
    is_silent: bool,
    /// Since when it is in service, or silent, if it is not lost.
    since: Instant,
    loss: Option<Loss>,
}

/// Its service is lost.
#[derive(Debug)]
struct Loss {
    since: Instant,
    /// Since when it is of a kind that has the same time.
    kind_since: Instant,
    reason: Reason,
    cause: Option<u8>,
    is_on_probation: bool,
    is_told: bool,
    has_restarted: bool,
    /// What was begun because of it has until then to help.
    not_before: Instant,
}

/// What is tried again and again.
#[derive(Clone, Copy, Debug)]
struct Tries {
    /// How often it was tried, and the next time with it.
    number: u32,
    next: Instant,
}

impl Tries {
    fn first(waits: &Backoff) -> Self {
        Self::nth(1, waits)
    }

    fn nth(number: u32, waits: &Backoff) -> Self {
        Self {
            number,
            next: Instant::now() + waits.any_delay(number),
        }
    }

    /// As it was kept over a restart.
    fn kept(number: u32, wait: Duration, waits: &Backoff) -> Option<Self> {
        (number > 0).then(|| Self {
            number,
            next: Instant::now() + wait.min(waits.longest),
        })
    }
}

/// What a look has found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Service {
    /// The profile is in service, as far as that is told.
    In,
    /// The modem says nothing, or its radio was switched off: that is no loss.
    Silent,
    /// It lacks something, for the network's reason.
    Lacks(Reason, Option<u8>),
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Step {
    Nothing,
    /// The modem has to look for its network from the beginning.
    RestartRadio,
    /// The profile is left for another one.
    Leave {
        /// What it lacks, and for how long.
        lost: Tried,
        /// The profile to go back to first.
        before: Option<Iccid>,
    },
    /// The preferred profile is tried again.
    Return(Iccid),
}

impl Watch {
    pub(super) fn new(config: &EuiccConfig) -> Self {
        let seconds = Duration::from_secs;
        let restart_s = config.switch.radio_restart_s;
        Self {
            config: config.watch.clone(),
            deadline: seconds(config.switch.deadline_s),
            restart: (restart_s > 0).then(|| seconds(restart_s)),
            budget: Budget::new(config.switch.max_switches_per_day),
            card: None,
            watched: None,
            rounds: None,
            preferred: None,
            returns: None,
            is_changed: false,
        }
    }

    /// Takes up what is known of a card, unless it is the one that is watched.
    pub(super) fn belongs_to(&mut self, eid: Eid, kept: Option<KeptWatch>, now_s: u64) {
        if self.card.replace(eid) == Some(eid) {
            return;
        }
        let kept = kept.unwrap_or_else(|| KeptWatch::of(eid));
        // A clock that was not set yet says nothing of the time that has passed.
        let passed_s = now_s.saturating_sub(kept.at_s);
        let left = |seconds: u64| Duration::from_secs(seconds.saturating_sub(passed_s));
        self.watched = None;
        self.rounds = Tries::kept(kept.round, left(kept.round_in_s), &ROUNDS);
        let waits = self.waits_to_return();
        self.returns = Tries::kept(kept.way_back, left(kept.way_back_in_s), &waits);
        self.preferred = kept.preferred;
        self.budget.is_full_in(left(kept.budget_full_in_s));
    }

    /// What has to outlive a restart, if it has changed.
    pub(super) fn changed(&mut self, now_s: u64) -> Option<KeptWatch> {
        let eid = self.card.filter(|_| std::mem::take(&mut self.is_changed))?;
        let left = |at: Instant| at.saturating_duration_since(Instant::now()).as_secs();
        let kept = |tries: Option<Tries>| tries.map_or((0, 0), |it| (it.number, left(it.next)));
        let (round, round_in_s) = kept(self.rounds);
        let (way_back, way_back_in_s) = kept(self.returns);
        Some(KeptWatch {
            eid,
            at_s: now_s,
            round,
            round_in_s,
            preferred: self.preferred,
            way_back,
            way_back_in_s,
            budget_full_in_s: left(self.budget.full_at),
        })
    }

    /// Watches the profile in use from now on, in place of any other, if there is a reason to.
    pub(super) fn begin(&mut self, profile: InService, probation: Duration) {
        let now = Instant::now();
        let is_on_probation = !probation.is_zero();
        let is_watched = is_on_probation || self.config.enable || self.rounds.is_some();
        self.watched = is_watched.then(|| Watched {
            profile,
            until: is_on_probation.then(|| now + probation),
            looked: now,
            is_silent: false,
            since: now,
            loss: None,
        });
    }

    /// Watches nothing any more: no profile is in use, or another one.
    pub(super) fn end(&mut self) {
        self.watched = None;
        self.is_changed |= self.rounds.take().is_some();
    }

    /// Whether something is watched.
    pub(super) fn is_on(&self) -> bool {
        self.watched.is_some()
    }

    /// Whether it is this profile that is watched.
    pub(super) fn is_of(&self, iccid: Iccid) -> bool {
        (self.watched.as_ref()).is_some_and(|watched| watched.profile.iccid == iccid)
    }

    /// When the next look is due.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.watched.as_ref().map(|watched| watched.looked + LOOK)
    }

    /// A client wants this profile to be used.
    pub(super) fn prefers(&mut self, iccid: Iccid) {
        self.is_changed |= self.preferred != Some(iccid) || self.returns.is_some();
        self.preferred = Some(iccid);
        self.returns = None;
    }

    /// A profile is in use, and no round is to follow.
    pub(super) fn is_settled(&mut self) {
        self.is_changed |= self.rounds.take().is_some();
    }

    /// No profile got service: all are tried again after a while.
    pub(super) fn is_stranded(&mut self) {
        let number = self.rounds.map_or(1, |rounds| rounds.number);
        self.rounds = Some(Tries::nth(number, &ROUNDS));
        self.is_changed = true;
    }

    /// lpad switches by itself.
    pub(super) fn spends(&mut self) {
        self.budget.spend();
        self.is_changed = true;
    }

    /// A look has found this. `has_other` says whether there is a profile to go to; gives what is to be done,
    /// and what people should hear of.
    pub(super) fn looked(&mut self, found: Service, has_other: bool) -> (Step, Option<Tried>) {
        let now = Instant::now();
        let Some(watched) = &mut self.watched else {
            return (Step::Nothing, None);
        };
        let before = std::mem::replace(&mut watched.looked, now);
        let (reason, cause) = match found {
            Service::In => {
                let was_silent = std::mem::take(&mut watched.is_silent);
                if watched.loss.take().is_some() || was_silent {
                    watched.since = now;
                }
                return (self.is_in_service(now), None);
            }
            Service::Silent => {
                // That time does not count.
                if let Some(loss) = &mut watched.loss {
                    loss.since += now - before;
                    loss.kind_since += now - before;
                }
                if !std::mem::replace(&mut watched.is_silent, true) {
                    watched.since = before;
                }
                return (Step::Nothing, None);
            }
            Service::Lacks(reason, cause) => (reason, cause),
        };
        // A loss that begins on probation is followed to its end.
        let is_on_probation = watched.until.is_some();
        let loss = watched.loss.get_or_insert_with(|| {
            tracing::warn!(reason = reason.lack(), "the profile has lost its service");
            Loss {
                since: now,
                kind_since: now,
                reason,
                cause,
                is_on_probation,
                is_told: false,
                has_restarted: false,
                not_before: now,
            }
        });
        watched.is_silent = false;
        if patience(&self.config, loss.reason) != patience(&self.config, reason) {
            loss.kind_since = now;
        }
        (loss.reason, loss.cause) = (reason, cause);
        let lasts = now - loss.since;
        let lost = Tried {
            iccid: watched.profile.iccid,
            reason,
            cause,
            after_s: lasts.as_secs(),
        };
        if loss.is_on_probation {
            if lasts < self.deadline || now < loss.not_before {
                return (Step::Nothing, None);
            }
            loss.not_before = now + AGAIN;
            let before = watched.profile.before;
            return (Step::Leave { lost, before }, None);
        }
        let may_leave = has_other && self.budget.left() > 0;
        let leave = Step::Leave {
            lost: lost.clone(),
            before: None,
        };
        if let Some(rounds) = &mut self.rounds {
            if now < rounds.next || !may_leave {
                return (Step::Nothing, None);
            }
            // It counts even if it cannot be begun.
            *rounds = Tries::nth(rounds.number.saturating_add(1), &ROUNDS);
            self.is_changed = true;
            return (leave, None);
        }
        if !self.config.enable || now < loss.ends(&self.config) {
            return (Step::Nothing, None);
        }
        let news = (!std::mem::replace(&mut loss.is_told, true)).then_some(lost);
        let step = match self.restart {
            // Another registration would be refused for the same reason.
            Some(restart) if !loss.has_restarted && reason != Reason::Apn => {
                loss.has_restarted = true;
                loss.not_before = now + restart;
                Step::RestartRadio
            }
            _ if now < loss.not_before || !may_leave => Step::Nothing,
            _ => {
                loss.not_before = now + AGAIN;
                leave
            }
        };
        (step, news)
    }

    /// How it stands, as clients are shown it.
    pub(super) fn shown(&self, now_s: u64) -> service::Service {
        let now = Instant::now();
        let next = self.next_step();
        let next = next.map(|(step, at)| (step, at.max(now).duration_since(now)));
        let loss = self.watched.as_ref().and_then(|it| it.loss.as_ref());
        let state = match (&self.watched, loss) {
            (None, _) => ServiceState::NotWatched,
            (Some(watched), _) if watched.is_silent => ServiceState::Silent,
            _ if self.rounds.is_some() => ServiceState::Stranded,
            (_, Some(_)) => ServiceState::Lost,
            _ => ServiceState::InService,
        };
        let since = match (&self.watched, loss) {
            (Some(watched), _) if watched.is_silent => Some(watched.since),
            (_, Some(loss)) => Some(loss.since),
            (watched, None) => watched.as_ref().map(|watched| watched.since),
        };
        service::Service {
            state,
            since_s: since.map(|at| now_s.saturating_sub((now - at).as_secs())),
            reason: loss.map(|loss| loss.reason),
            cause: loss.and_then(|loss| loss.cause),
            profile: self.watched.as_ref().map(|watched| watched.profile.iccid),
            preferred: self.preferred,
            on_fallback: false,
            next_step: next.map(|(step, _)| step),
            next_step_s: next.map(|(_, wait)| now_s.saturating_add(wait.as_secs())),
            switches_left: self.budget.left(),
        }
    }

    /// What is done next if nothing changes, and when.
    fn next_step(&self) -> Option<(NextStep, Instant)> {
        let watched = self.watched.as_ref()?;
        let may_switch = |at: Instant| self.budget.next().map(|next| next.max(at));
        if let Some(rounds) = self.rounds {
            return Some((NextStep::Round, may_switch(rounds.next)?));
        }
        let Some(loss) = &watched.loss else {
            let returns = self.returns?;
            return Some((NextStep::Return, may_switch(returns.next)?));
        };
        if loss.is_on_probation {
            let end = loss.since + self.deadline;
            return Some((NextStep::Leave, end.max(loss.not_before)));
        }
        if !self.config.enable {
            return None;
        }
        let end = loss.ends(&self.config);
        if self.restart.is_some() && !loss.has_restarted && loss.reason != Reason::Apn {
            return Some((NextStep::RestartRadio, end));
        }
        Some((NextStep::Leave, may_switch(end.max(loss.not_before))?))
    }

    fn is_in_service(&mut self, now: Instant) -> Step {
        let Some(watched) = &mut self.watched else {
            return Step::Nothing;
        };
        let iccid = watched.profile.iccid;
        if self.rounds.take().is_some() {
            tracing::info!("the profile is in service again");
            self.is_changed = true;
        }
        let is_on_probation = watched.until.is_some_and(|until| now < until);
        if !is_on_probation && watched.until.take().is_some() {
            tracing::info!("the profile has been in service long enough");
        }
        if is_on_probation {
            return Step::Nothing;
        }
        if !self.config.enable {
            self.watched = None;
            return Step::Nothing;
        }
        let is_away = |preferred: &Iccid| *preferred != iccid;
        let Some(preferred) = self.preferred.filter(is_away) else {
            self.is_changed |= self.returns.take().is_some();
            return Step::Nothing;
        };
        if self.config.return_s == 0 {
            return Step::Nothing;
        }
        let waits = self.waits_to_return();
        let Some(returns) = &mut self.returns else {
            self.returns = Some(Tries::first(&waits));
            self.is_changed = true;
            return Step::Nothing;
        };
        if now < returns.next || self.budget.left() == 0 {
            return Step::Nothing;
        }
        *returns = Tries::nth(returns.number.saturating_add(1), &waits);
        self.is_changed = true;
        Step::Return(preferred)
    }

    fn waits_to_return(&self) -> Backoff {
        let first = Duration::from_secs(self.config.return_s);
        Backoff {
            first,
            longest: first.max(DAY),
        }
    }
}

impl Loss {
    /// When something is done about it: after the time of its kind, or of any kind if it changes.
    fn ends(&self, config: &WatchConfig) -> Instant {
        let longest = config.searching_s.max(config.denied_s);
        let longest = Duration::from_secs(longest.max(config.unreachable_s));
        let of_kind = self.kind_since + patience(config, self.reason);
        of_kind.min(self.since + longest)
    }
}

/// How long a profile may lack this.
fn patience(config: &WatchConfig, reason: Reason) -> Duration {
    Duration::from_secs(match reason {
        Reason::NotRegistered | Reason::HomeOnly => config.searching_s,
        Reason::Denied => config.denied_s,
        _ => config.unreachable_s,
    })
}

/// How many switches lpad may make by itself: a bucket that is full after a day without any.
#[derive(Debug)]
struct Budget {
    most: u32,
    full_at: Instant,
}

impl Budget {
    fn new(most: u32) -> Self {
        let full_at = Instant::now();
        Self { most, full_at }
    }

    fn is_full_in(&mut self, wait: Duration) {
        // What was spent beyond it is forgotten.
        self.full_at = Instant::now() + wait.min(DAY);
    }

    /// How long it takes until there is one more.
    fn each(&self) -> Duration {
        DAY / self.most.max(1)
    }

    fn left(&self) -> u32 {
        let missing = self.full_at.saturating_duration_since(Instant::now());
        let spent = missing.as_secs().div_ceil(self.each().as_secs().max(1));
        let spent = u32::try_from(spent).unwrap_or(u32::MAX);
        self.most.saturating_sub(spent)
    }

    /// When there is one at the earliest.
    fn next(&self) -> Option<Instant> {
        let others = self.most.checked_sub(1)?;
        let wait = self.each() * others;
        Some(self.full_at.checked_sub(wait).unwrap_or(self.full_at))
    }

    /// What was begun is brought to its end, also beyond the budget; that is made up for.
    fn spend(&mut self) {
        self.full_at = self.full_at.max(Instant::now()) + self.each();
    }
}

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(30);
/// When to try again what could not be begun, such as leaving a profile while clients keep the card busy.
const AGAIN: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Between rounds over all profiles, none of which gets service.
const ROUNDS: Backoff = Backoff {
    first: Duration::from_secs(15 * 60),
    longest: Duration::from_secs(6 * 60 * 60),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_spent_budget_fills_over_a_day() {
        let mut budget = Budget::new(4);
        for left in (0..4).rev() {
            assert_eq!(budget.left(), left + 1);
            budget.spend();
        }
        assert_eq!(budget.left(), 0);
        tokio::time::advance(Duration::from_secs(6 * 3600)).await;
        assert_eq!(budget.left(), 1);
        budget.spend();
        budget.spend();
        tokio::time::advance(Duration::from_secs(6 * 3600)).await;
        assert_eq!(budget.left(), 0);
        tokio::time::advance(DAY).await;
        assert_eq!(budget.left(), 4);
        assert_eq!(Budget::new(0).left(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_gives_no_budget_back_and_no_clock_takes_it_away() {
        let eid = "89049032123451234512345678901235".parse().unwrap();
        let config = EuiccConfig::new("/dev/ttyUSB2");
        let mut watch = Watch::new(&config);
        watch.belongs_to(eid, None, 1000);
        for _ in 0..12 {
            watch.spends();
        }
        watch.is_stranded();
        let kept = watch.changed(1000).unwrap();
        // After two hours, with a clock that went back to its beginning, and with one that was set.
        for (now_s, left) in [(1000 + 7200, 1), (0, 0), (u64::MAX, 12)] {
            let mut watch = Watch::new(&config);
            watch.belongs_to(eid, Some(kept.clone()), now_s);
            assert_eq!(watch.budget.left(), left, "{now_s}");
            let rounds = watch.rounds.unwrap();
            assert!(rounds.next <= Instant::now() + ROUNDS.first);
        }
    }

    fn watch() -> Watch {
        let mut config = EuiccConfig::new("/dev/ttyUSB2");
        config.watch.enable = true;
        let mut watch = Watch::new(&config);
        let profile = InService {
            eid: "89049032123451234512345678901235".parse().unwrap(),
            iccid: "8901999000000000012".parse().unwrap(),
            before: None,
            watched_until_s: 0,
        };
        watch.begin(profile, Duration::ZERO);
        watch
    }

    /// Looks for so long.
    async fn look(watch: &mut Watch, minutes: u64, found: Service) {
        for _ in 0..minutes * 2 {
            tokio::time::advance(LOOK).await;
            watch.looked(found, true);
        }
    }

    fn next(watch: &Watch) -> Option<NextStep> {
        watch.shown(0).next_step
    }

    const SEARCHES: Service = Service::Lacks(Reason::NotRegistered, None);

    #[tokio::test(start_paused = true)]
    async fn what_is_lacking_after_a_tunnel_has_its_own_time() {
        let mut watch = watch();
        look(&mut watch, 12, SEARCHES).await;
        look(&mut watch, 14, Service::Lacks(Reason::NoAddress, None)).await;
        assert_eq!(next(&watch), Some(NextStep::RestartRadio));
        look(&mut watch, 2, Service::Lacks(Reason::NoAddress, None)).await;
        assert_eq!(next(&watch), Some(NextStep::Leave));
        look(&mut watch, 1, Service::In).await;
        assert_eq!(next(&watch), None);
        // One thing after the other is a loss all the same.
        for _ in 0..7 {
            look(&mut watch, 2, SEARCHES).await;
            look(&mut watch, 2, Service::Lacks(Reason::Denied, None)).await;
        }
        assert_eq!(next(&watch), Some(NextStep::RestartRadio));
        look(&mut watch, 3, SEARCHES).await;
        assert_eq!(next(&watch), Some(NextStep::Leave));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_in_which_the_modem_says_nothing_does_not_count() {
        let mut watch = watch();
        look(&mut watch, 29, SEARCHES).await;
        look(&mut watch, 60, Service::Silent).await;
        assert_eq!(watch.shown(0).state, ServiceState::Silent);
        look(&mut watch, 1, SEARCHES).await;
        assert_eq!(watch.shown(0).state, ServiceState::Lost);
        assert_eq!(next(&watch), Some(NextStep::RestartRadio));
        look(&mut watch, 1, SEARCHES).await;
        assert_eq!(next(&watch), Some(NextStep::Leave));
        look(&mut watch, 1, Service::Silent).await;
        look(&mut watch, 1, Service::In).await;
        assert_eq!(watch.shown(0).state, ServiceState::InService);
    }
}
