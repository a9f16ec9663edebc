//! The first boot: a card without a profile gets one by itself.
//!
//! SGP.22 v2.5 section 3.1.2. As long as it is wanted, the places where a profile may be are asked in the
//! configured order: that of an activation code, the configured SM-DP+, the one stored on the card. Where
//! there is nothing, the next one is asked at once; trouble that may pass is waited for.
//!
//! Only what an order itself cannot survive ends the attempts for it, and only attempts that the
//! server has counted as well count towards the cap: days without network use up nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fmt, fs, io};

use es9_client::AddressError;
use es10_apdu::types::{Eid, ProfileClass};
use tokio::time::Instant;

use crate::activation_code::{ActivationCode, ActivationCodeError};
use crate::config::{AfterUse, BootstrapConfig, BootstrapWhen, OrderSource};
use crate::failure::JobFailure;
use crate::files::{read_code, read_owned_code};
use crate::job::{Achievement, Consent, Download, DownloadSource};
use crate::memory::digest::Digest;
use crate::memory::journal::Attempt;
use crate::memory::key::Key;
use crate::memory::snapshot::{FirstProfile, FirstProfileState, Snapshot};
use crate::procedure::download::Step;
use crate::runtime::backoff::{Backoff, Hurry};
use crate::secret::{Secret, in_few_words, shorten_numbers};

/// Decides when to look for a first profile.
#[derive(Debug)]
pub(super) struct FirstBoot {
    config: BootstrapConfig,
    /// The credential with an activation code that systemd passed on.
    credential: Option<PathBuf>,
    key: Key,
    wish: Wish,
}

/// What the card still needs.
#[derive(Debug)]
enum Wish {
    Nothing,
    /// A profile, and nobody says where it is.
    Address,
    Orders(Orders),
}

/// Where the profile of a card may be.
enum Places {
    /// None is wanted.
    NotNeeded,
    /// It is not told, and why.
    Untold(&'static str),
    At(Vec<Place>),
}

/// One place where the profile of a card may be.
struct Place {
    source: OrderSource,
    /// The activation code or the address.
    text: Secret,
}

/// The orders that are tried, one after the other.
#[derive(Debug)]
struct Orders {
    all: Vec<Order>,
    /// How often each is tried.
    most: u32,
    /// The one that is tried next, or now.
    current: usize,
    stand: Stand,
    /// Failures in a row in this life of the daemon; they make the back-off grow.
    failures: u32,
    /// What the next attempt waits for, beside its time.
    waits_for: Option<WaitsFor>,
    hurry: Hurry,
    /// Of orders that are given up, when it is looked next whether a code has appeared.
    looks_again: Option<Instant>,
}

/// An order: a card, where its profile is, and the confirmation code. Another one begins anew.
#[derive(Debug)]
struct Order {
    source: OrderSource,
    /// What is kept of it over a restart.
    kept: Attempt,
    /// What the last attempt was made with and no file but the operator's may hold.
    codes: Vec<Secret>,
    /// Whether its file is not there, so that there is nothing to be tried yet.
    is_missing: bool,
    /// Failures in a row since it had its turn.
    failures: u32,
}

/// Where it stands.
#[derive(Clone, Copy, Debug)]
enum Stand {
    /// The next attempt is made then.
    Due(Instant),
    Trying,
    Done,
    Stopped,
}

/// What ends a wait early.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum WaitsFor {
    Network,
    Clock,
}

impl FirstBoot {
    pub(super) fn new(config: BootstrapConfig, key: Key) -> Self {
        let folder = env::var_os("CREDENTIALS_DIRECTORY");
        let credential = folder.map(|folder| Path::new(&folder).join(CREDENTIAL));
        Self {
            config,
            credential: credential.filter(|path| path.exists()),
            key,
            wish: Wish::Nothing,
        }
    }

    /// When in the time for it the turn of this card is: a site that got its power back at once must not
    /// ask its server at once.
    pub(super) fn jitter(&self, eid: Eid) -> Duration {
        let jitter = Duration::from_secs(self.config.jitter_s);
        jitter.mul_f64(Digest::of(&[eid.octets()]).share())
    }

    /// The card was read or changed: look whether a profile is wanted. The first attempt at other orders
    /// than before is made after `wait`.
    ///
    /// `earlier` tells what the journal knows of an order. A reading of the card begins nothing anew:
    /// attempts and back-off belong to the order.
    pub(super) fn consider(
        &mut self,
        eid: Eid,
        snapshot: &Snapshot,
        earlier: impl Fn(Digest) -> Option<Attempt>,
        wait: Duration,
    ) {
        let places = match self.places(snapshot) {
            Places::NotNeeded => {
                self.wish = Wish::Nothing;
                return;
            }
            Places::Untold(why) => {
                if !matches!(self.wish, Wish::Address) {
                    tracing::warn!("no first profile: {why}");
                }
                self.wish = Wish::Address;
                return;
            }
            Places::At(places) => places,
        };
        let all = places.into_iter().map(|Place { source, text }| {
            let order = self.order(eid, &text);
            Order {
                source,
                kept: earlier(order).unwrap_or_else(|| Attempt::none(eid, order)),
                codes: Vec::new(),
                is_missing: text.expose().is_empty(),
                failures: 0,
            }
        });
        let all: Vec<Order> = all.collect();
        let ids = |all: &[Order]| -> Vec<Digest> {
            let ids = all.iter().map(|order| order.kept.order);
            ids.collect()
        };
        if matches!(&self.wish, Wish::Orders(known) if ids(&known.all) == ids(&all)) {
            return;
        }
        let mut orders = Orders {
            all,
            most: self.config.attempts,
            current: 0,
            stand: Stand::Due(Instant::now() + wait),
            failures: 0,
            waits_for: None,
            hurry: Hurry::default(),
            looks_again: None,
        };
        if !orders.next_of(0) {
            orders.give_up();
        }
        self.wish = Wish::Orders(orders);
        self.put_away();
    }

    /// What tells this order from others. A confirmation code has so few digits that it goes in by its
    /// mark; when it is put right the order begins anew.
    fn order(&self, eid: Eid, place: &Secret) -> Digest {
        let code_file = self.config.confirmation_code_file.as_deref();
        let code = code_file.and_then(|path| read_code(path).ok());
        let mark = code.map(|code| self.key.mark(code.expose().as_bytes()));
        let parts = [eid.octets(), place.expose().as_bytes()];
        let parts = parts.into_iter().chain(mark.as_ref().map(AsRef::as_ref));
        Digest::of(&parts.collect::<Vec<_>>())
    }

    /// When the next attempt is due.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        let orders = self.orders()?;
        match orders.stand {
            Stand::Due(at) => Some(at),
            Stand::Trying | Stand::Done => None,
            Stand::Stopped => orders.looks_again,
        }
    }

    fn orders(&self) -> Option<&Orders> {
        match &self.wish {
            Wish::Orders(orders) => Some(orders),
            Wish::Nothing | Wish::Address => None,
        }
    }

    /// What to download now; `None` when nothing is wanted any more, or it is not known where it is.
    pub(super) fn attempt(
        &mut self,
        eid: Eid,
        snapshot: &Snapshot,
        earlier: impl Fn(Digest) -> Option<Attempt>,
        clock_is_set: bool,
    ) -> Option<Download> {
        // The files may have appeared or changed since the card was read.
        self.consider(eid, snapshot, earlier, Duration::ZERO);
        let orders = self.orders_mut()?;
        match orders.stand {
            Stand::Due(_) => {}
            Stand::Trying | Stand::Done => return None,
            Stand::Stopped => {
                orders.looks_again = orders.looks_again.map(|_| Instant::now() + FILES);
                return None;
            }
        }
        orders.waits_for = None;
        if !clock_is_set {
            // No certificate could be checked.
            orders.waits_for = Some(WaitsFor::Clock);
            orders.stand = Stand::Due(Instant::now() + CLOCK);
            return None;
        }
        loop {
            let orders = self.orders()?;
            let source = orders.all.get(orders.current)?.source;
            let download = self.download(source);
            let orders = self.orders_mut()?;
            match download {
                Ok(download) => {
                    orders.stand = Stand::Trying;
                    if let Some(order) = orders.all.get_mut(orders.current) {
                        order.codes = download.codes();
                    }
                    return Some(download);
                }
                // Where there is no code there is nothing, and the file may appear later.
                Err(NoDownload { is_missing, .. })
                    if is_missing && orders.next_of(orders.current + 1) => {}
                Err(NoDownload { why, .. }) => {
                    orders.back_off(FAILED, &why);
                    orders.take_turns();
                    return None;
                }
            }
        }
    }

    fn orders_mut(&mut self) -> Option<&mut Orders> {
        match &mut self.wish {
            Wish::Orders(orders) => Some(orders),
            Wish::Nothing | Wish::Address => None,
        }
    }

    /// What is downloaded from a source, or why it cannot be told.
    fn download(&self, source: OrderSource) -> Result<Download, NoDownload> {
        let source = self.source(source)?;
        let code_file = self.config.confirmation_code_file.as_deref();
        let confirmation_code = code_file.map(|path| {
            read_code(path).map_err(|error| NoDownload {
                why: unreadable("confirmation code", path, &error),
                is_missing: false,
            })
        });
        Ok(Download {
            source,
            confirmation_code: confirmation_code.transpose()?,
            consent: Consent::Accept,
            enable: self.config.enable,
        })
    }

    /// An attempt ended; gives what the journal has to keep of the order.
    pub(super) fn ended(&mut self, outcome: Result<&Achievement, &JobFailure>) -> Option<Attempt> {
        let orders = self.orders_mut()?;
        let current = orders.current;
        let kept = &mut orders.all.get_mut(current)?.kept;
        match outcome {
            Ok(achieved) if !achieved.nothing_to_download => {
                *kept = Attempt {
                    done: true,
                    ..Attempt::none(kept.eid, kept.order)
                };
                orders.stand = Stand::Done;
            }
            Ok(_) => {
                kept.empty = kept.empty.saturating_add(1);
                kept.last = Some(NOTHING.to_owned());
                match orders.next_of(current + 1) {
                    true => orders.stand = Stand::Due(Instant::now()),
                    false => {
                        orders.back_off(NOTHING_THERE, NOTHING);
                        // The next round begins with the first one.
                        orders.next_of(0);
                    }
                }
            }
            Err(failure) => orders.failed(failure),
        }
        Some(orders.all.get(current)?.kept.clone())
    }

    /// The attempt that was due was not begun.
    pub(super) fn not_begun(&mut self, why: &dyn fmt::Display) {
        if let Some(orders) = self.orders_mut() {
            orders.back_off(FAILED, &why.to_string());
        }
    }

    /// Takes the file away whose activation code was used, if it is to be. A code is known to be used by
    /// its order: when lpad ends before the file is gone, the next start takes it away.
    pub(super) fn put_away(&self) {
        let Some(path) = &self.config.activation_code_file else {
            return;
        };
        let Ok(text) = read_code(path) else {
            return;
        };
        // Another code may have been put there meanwhile.
        let is_used = |order: &Order| {
            order.is_used() && order.kept.order == self.order(order.kept.eid, &text)
        };
        let orders = self.orders();
        if !orders.is_some_and(|orders| orders.all.iter().any(is_used)) {
            return;
        }
        let put = match self.config.after_use {
            AfterUse::Keep => return,
            AfterUse::Remove => fs::remove_file(path),
            AfterUse::Rename => {
                let mut used = path.clone().into_os_string();
                used.push(".used");
                fs::rename(path, used)
            }
        };
        let file = path.display();
        match put {
            Ok(()) => tracing::info!(%file, "the activation code is used, and its file put away"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%file, %error, "the file of the used activation code stays");
            }
        }
    }

    /// A network has come up, or the clock was set: an attempt that waits for that is made soon.
    pub(super) fn network_came_up(&mut self) {
        if let Some(orders) = self.orders_mut()
            && let Stand::Due(at) = orders.stand
            && orders.waits_for.is_some()
        {
            orders.stand = Stand::Due(at.min(orders.hurry.next()));
        }
    }

    /// Why nothing more is tried, unless a client wanted it so.
    pub(super) fn stopped_by(&self) -> Option<&str> {
        let orders = self.orders()?;
        let order = orders.all.get(orders.current)?;
        let is_stopped =
            matches!(orders.stand, Stand::Stopped) && order.is_over(self.config.attempts);
        order.kept.last.as_deref().filter(|_| is_stopped)
    }

    /// What is told of it.
    pub(super) fn status(&self, now_s: u64) -> Option<FirstProfile> {
        let state = match &self.wish {
            Wish::Nothing if self.config.when == BootstrapWhen::Never => return None,
            Wish::Nothing => FirstProfileState::NotNeeded,
            Wish::Address => FirstProfileState::NoAddress,
            Wish::Orders(orders) => orders.state(),
        };
        let orders = self.orders();
        let order = orders.and_then(|orders| orders.all.get(orders.current));
        let is_open =
            matches!(orders, Some(orders) if matches!(orders.stand, Stand::Due(_) | Stand::Trying));
        let then = orders.filter(|_| is_open).and_then(|orders| {
            let mut further = orders.all.iter().skip(orders.current + 1);
            further.find(|order| order.may_be_tried(self.config.attempts))
        });
        Some(FirstProfile {
            state,
            source: order.map(|order| order.source),
            then: then.map(|order| order.source),
            attempts: order.map_or(0, |order| order.kept.failures),
            most_attempts: self.config.attempts,
            last: order.and_then(|order| order.kept.last.clone()),
            next_step: self.next_step(),
            next_attempt_s: self.next_attempt().filter(|_| is_open).map(|next| {
                let wait = next.saturating_duration_since(Instant::now());
                now_s.saturating_add(wait.as_secs())
            }),
        })
    }

    /// What people can do when nothing more is tried.
    fn next_step(&self) -> Option<String> {
        let orders = match &self.wish {
            Wish::Nothing => return None,
            Wish::Address => return Some(GIVE_ADDRESS.to_owned()),
            Wish::Orders(orders) => orders,
        };
        if !matches!(orders.stand, Stand::Stopped) {
            return None;
        }
        let Order { source, kept, .. } = orders.all.get(orders.current)?;
        let by_hand = "download by hand with `lpactl download`";
        let is_used_up = kept.failures >= self.config.attempts;
        let config = &self.config;
        if kept.wants_confirmation_code {
            return Some(match &config.confirmation_code_file {
                Some(path) => {
                    let path = path.display();
                    format!(
                        "Put the right confirmation code into {path} and restart lpad, or {by_hand}."
                    )
                }
                None => format!(
                    "Put the operator's confirmation code into a file, name it under \
                     [euicc.bootstrap] as confirmation_code_file and restart lpad, or {by_hand}."
                ),
            });
        }
        Some(match (source, &config.activation_code_file) {
            (OrderSource::Code, Some(path)) if kept.ended => {
                let path = path.display();
                format!("Put another activation code into {path} and restart lpad, or {by_hand}.")
            }
            _ if kept.ended => {
                format!("Ask the operator for an activation code and {by_hand}.")
            }
            _ if is_used_up => {
                format!("Raise attempts under [euicc.bootstrap] and restart lpad, or {by_hand}.")
            }
            _ => format!("Restart lpad to have it looked for again, or {by_hand}."),
        })
    }

    /// Where the profile is that is wanted.
    fn places(&self, snapshot: &Snapshot) -> Places {
        let config = &self.config;
        let may_be_tried = match config.when {
            // A list that cannot be read might hold a profile.
            BootstrapWhen::Empty => snapshot.profiles.value().is_some_and(|profiles| {
                !profiles
                    .iter()
                    .any(|profile| profile.class == ProfileClass::OPERATIONAL)
            }),
            BootstrapWhen::Always => true,
            BootstrapWhen::Never => false,
        };
        if !may_be_tried {
            return Places::NotNeeded;
        }
        let on_card = snapshot.default_smdp();
        let mut places: Vec<Place> = Vec::new();
        for &source in &config.sources {
            let text = match source {
                // One that cannot be read may appear later.
                OrderSource::Code => {
                    let path = self.code_file();
                    path.map(|path| read_owned_code(path).unwrap_or_default())
                }
                OrderSource::Config => config.default_smdp.as_deref().map(Secret::new),
                OrderSource::Card => on_card.map(Secret::new),
            };
            // The same address twice is one order.
            places.extend(
                text.filter(|text| {
                    !places
                        .iter()
                        .any(|known| known.text.expose() == text.expose())
                })
                .map(|text| Place { source, text }),
            );
        }
        match (places.is_empty(), snapshot.addresses.value()) {
            (false, _) => Places::At(places),
            (true, Some(_)) => Places::Untold("no address is configured and the card has none"),
            (true, None) => {
                Places::Untold("no address is configured and the card's cannot be read")
            }
        }
    }

    /// Where an activation code is to be found.
    fn code_file(&self) -> Option<&Path> {
        let configured = self.config.activation_code_file.as_deref();
        configured.or(self.credential.as_deref())
    }

    fn source(&self, source: OrderSource) -> Result<DownloadSource, NoDownload> {
        let why = |why: &dyn fmt::Display| NoDownload {
            why: why.to_string(),
            is_missing: false,
        };
        Ok(match (source, &self.config.default_smdp) {
            (OrderSource::Code, _) => {
                let code = "activation code";
                let path = self.code_file().unwrap_or_else(|| Path::new(""));
                let text = read_owned_code(path).map_err(|error| NoDownload {
                    why: unreadable(code, path, &error),
                    is_missing: error.kind() == io::ErrorKind::NotFound,
                })?;
                let parsed = text.expose().parse::<ActivationCode>();
                let parsed = parsed
                    .map_err(|error: ActivationCodeError| why(&unreadable(code, path, &error)));
                DownloadSource::ActivationCode(parsed?)
            }
            // Checked when the configuration was read.
            (OrderSource::Config, Some(address)) => {
                let address = address.parse();
                DownloadSource::Smdp(address.map_err(|error: AddressError| why(&error))?)
            }
            (OrderSource::Config | OrderSource::Card, _) => DownloadSource::DefaultSmdp,
        })
    }
}

/// Why nothing can be downloaded from a source.
struct NoDownload {
    why: String,
    /// There is no code, and none was to be expected.
    is_missing: bool,
}

impl Orders {
    /// Goes to the first order from this one on that may be tried; says whether there is one. Where another
    /// one was given up, a code that is not there is nothing to wait for.
    fn next_of(&mut self, first: usize) -> bool {
        let is_one_over = self.all.iter().any(|order| order.is_over(self.most));
        let may_be_tried =
            |order: &Order| order.may_be_tried(self.most) && !(is_one_over && order.is_missing);
        let next = self.all.iter().skip(first).position(may_be_tried);
        if let Some(next) = next {
            self.current = first + next;
        }
        next.is_some()
    }

    /// A place where there is trouble keeps its turn for a while, and then it is another one's: a server
    /// that is gone for good must not stand before all others.
    fn take_turns(&mut self) {
        let Some(order) = self.all.get_mut(self.current) else {
            return;
        };
        order.failures += 1;
        if order.failures >= TURN {
            order.failures = 0;
            let _ = self.next_of(self.current + 1) || self.next_of(0);
        }
    }

    fn state(&self) -> FirstProfileState {
        match (self.stand, self.waits_for) {
            (Stand::Due(_), Some(WaitsFor::Clock)) => FirstProfileState::WaitingClock,
            (Stand::Due(_), _) if self.failures == 0 => FirstProfileState::Waiting,
            (Stand::Due(_), _) => FirstProfileState::BackingOff,
            (Stand::Trying, _) => FirstProfileState::Trying,
            (Stand::Done, _) => FirstProfileState::Done,
            (Stand::Stopped, _) => FirstProfileState::Stopped,
        }
    }

    fn failed(&mut self, failure: &JobFailure) {
        let text = failure.to_string();
        let current = self.current;
        let Some(order) = self.all.get_mut(current) else {
            return;
        };
        if reached_the_order(failure) {
            order.kept.failures = order.kept.failures.saturating_add(1);
        }
        order.kept.ended = failure.ends_order();
        order.kept.wants_confirmation_code = failure.wants_confirmation_code();
        order.kept.last = Some(in_few_words(&text, &order.codes));
        let is_over = order.is_over(self.most);
        if failure.is_local() {
            self.waits_for = Some(WaitsFor::Network);
        }
        match failure {
            // A client did not want it; the next start of the daemon asks again.
            JobFailure::Cancelled => self.stand = Stand::Stopped,
            _ if !is_over => {
                self.back_off(FAILED, &text);
                self.take_turns();
            }
            _ if self.next_of(current + 1) || self.next_of(0) => {
                tracing::warn!(
                    last = failure.shortened(),
                    "this order is over; the next one is tried"
                );
                self.stand = Stand::Due(Instant::now());
            }
            _ => self.give_up(),
        }
    }

    /// No order may be tried any more.
    fn give_up(&mut self) {
        let is_given_up = |order: &&Order| order.is_over(self.most) && !order.is_used();
        // The last one that was tried, if that is why.
        let current = self.all.get(self.current);
        let mut order = current.into_iter().chain(&self.all);
        let Some(Order { kept, source, .. }) = order.find(is_given_up) else {
            self.stand = Stand::Done;
            return;
        };
        let last = shorten_numbers(kept.last.as_deref().unwrap_or_default());
        match kept.ended {
            true => tracing::warn!(last, "no first profile: this order is over"),
            false => {
                let attempts = kept.failures;
                tracing::warn!(attempts, last, "no first profile: tried often enough");
            }
        }
        let place = self.all.iter().position(|order| order.source == *source);
        self.current = place.unwrap_or_default();
        self.stand = Stand::Stopped;
        let is_missing = self.all.iter().any(|order| order.is_missing);
        self.looks_again = is_missing.then(|| Instant::now() + FILES);
    }

    fn back_off(&mut self, backoff: Backoff, last: &str) {
        self.failures = self.failures.saturating_add(1);
        let Some(order) = self.all.get_mut(self.current) else {
            return;
        };
        let delay = backoff.any_delay(self.failures.max(order.kept.empty));
        let shown = shorten_numbers(last);
        let retry_in_s = delay.as_secs();
        tracing::info!(retry_in_s, last = shown, "no first profile yet");
        order.kept.last = Some(in_few_words(last, &order.codes));
        self.stand = Stand::Due(Instant::now() + delay);
    }
}

impl Order {
    /// Whether its code was used, which can be done once.
    fn is_used(&self) -> bool {
        self.source == OrderSource::Code && self.kept.done
    }

    fn is_over(&self, most: u32) -> bool {
        self.kept.ended || self.kept.failures >= most
    }

    fn may_be_tried(&self, most: u32) -> bool {
        !self.is_used() && !self.is_over(most)
    }
}

/// Whether the server counted the attempt: it counts those that get as far as AuthenticateClient.
fn reached_the_order(failure: &JobFailure) -> bool {
    match failure {
        JobFailure::Download(error) => {
            !matches!(error.step, Step::Initiate | Step::AuthenticateServer)
        }
        JobFailure::NotDone(lost) => reached_the_order(lost),
        JobFailure::CutOff(_) | JobFailure::InDoubt { .. } | JobFailure::ProfileInstalled(_) => {
            true
        }
        _ => false,
    }
}

fn unreadable(code: &str, path: &Path, why: &dyn fmt::Display) -> String {
    format!("the {code} cannot be read: {}: {why}", path.display())
}

/// What is said of a server that has no profile for the card.
const NOTHING: &str = "the SM-DP+ has nothing for this eUICC";
/// The credential of systemd with an activation code.
const CREDENTIAL: &str = "lpad.activation-code";
/// What to do about a card that nobody gave an address to ask.
const GIVE_ADDRESS: &str = "Name default_smdp under [euicc.bootstrap] and restart lpad, or store an \
                            address on the card with `lpactl euicc set-default-smdp`.";
/// How often a place is asked in vain before it is the next one's turn.
const TURN: u32 = 3;
/// How often it is looked for a code when nothing else is tried any more.
const FILES: Duration = Duration::from_secs(3600);
/// How often the clock is looked at where the kernel does not tell that it was set.
const CLOCK: Duration = Duration::from_secs(600);
/// After a failure that may pass.
const FAILED: Backoff = Backoff {
    first: Duration::from_secs(5),
    longest: Duration::from_secs(3600),
};
/// After the server had nothing for this EID.
const NOTHING_THERE: Backoff = Backoff {
    first: Duration::from_secs(300),
    longest: Duration::from_secs(6 * 3600),
};

#[cfg(test)]
mod tests {
    use es9_client::{Error, ServerAddress};

    use super::*;
    use crate::memory::snapshot::{Addresses, Known, Profile};
    use crate::memory::state_folder::StateFolder;
    use crate::procedure::download::{DownloadError, SessionEnd};

    const EID: &str = "89049032123451234512345678901235";

    fn first_boot(when: BootstrapWhen) -> FirstBoot {
        let config = BootstrapConfig {
            when,
            default_smdp: Some("smdp.example.com".into()),
            attempts: 2,
            jitter_s: 0,
            ..BootstrapConfig::default()
        };
        FirstBoot::new(config, key())
    }

    fn key() -> Key {
        let folder = tempfile::tempdir().unwrap();
        Key::of(&StateFolder::hold(folder.path()).unwrap())
    }

    fn attempt(first: &mut FirstBoot, snapshot: &Snapshot) -> Option<Download> {
        first.attempt(EID.parse().unwrap(), snapshot, |_| None, true)
    }

    fn consider(first: &mut FirstBoot, snapshot: &Snapshot) {
        first.consider(EID.parse().unwrap(), snapshot, |_| None, Duration::ZERO);
    }

    fn empty() -> Snapshot {
        Snapshot {
            profiles: Known::Value(Vec::new()),
            ..Snapshot::default()
        }
    }

    fn with_profile() -> Snapshot {
        Snapshot {
            profiles: Known::Value(vec![Profile::of("89000123456789012341")]),
            ..Snapshot::default()
        }
    }

    /// A failure in this step of the download; the network comes and goes.
    fn failure(step: Step) -> JobFailure {
        let address: ServerAddress = "smdp.example.com".parse().unwrap();
        JobFailure::Download(DownloadError {
            step,
            session: SessionEnd::NotOpened,
            failure: Error::Closed {
                host: address.to_string(),
                sent: true,
            }
            .into(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_card_is_filled_and_a_full_one_left_alone() {
        let mut first = first_boot(BootstrapWhen::Empty);
        consider(&mut first, &with_profile());
        assert_eq!(first.next_attempt(), None);
        consider(&mut first, &empty());
        assert_eq!(first.next_attempt(), Some(Instant::now()));
        let download = attempt(&mut first, &empty()).unwrap();
        assert!(matches!(download.source, DownloadSource::Smdp(_)) && download.enable);
        first.ended(Ok(&Achievement::default()));
        assert_eq!(first.next_attempt(), None);
    }

    /// A server sees them all: the sites got their power back in the same second.
    #[tokio::test(start_paused = true)]
    async fn a_thousand_gateways_do_not_ask_in_the_same_second() {
        let config = BootstrapConfig {
            default_smdp: Some("smdp.example.com".into()),
            ..BootstrapConfig::default()
        };
        let mut asked = vec![0_u32; 60];
        for number in 0..1000 {
            let mut first = FirstBoot::new(config.clone(), key());
            let eid = format!("890490321234512345{number:012}00");
            let eid = eid.parse().unwrap();
            let jitter = first.jitter(eid);
            first.consider(eid, &empty(), |_| None, jitter);
            let wait = first.next_attempt().unwrap() - Instant::now();
            let second = usize::try_from(wait.as_secs()).unwrap();
            asked[second.min(59)] += 1;
        }
        for (second, asked) in asked.iter().enumerate() {
            let bar = "#".repeat(usize::try_from(*asked).unwrap());
            eprintln!("second {second:2}: {asked:3} {bar}");
        }
        // No second sees more than a twentieth of them.
        assert!(asked.iter().all(|asked| *asked <= 50), "{asked:?}");
        assert_eq!(asked.iter().sum::<u32>(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_card_whose_profiles_cannot_be_read_is_not_filled() {
        let mut first = first_boot(BootstrapWhen::Empty);
        consider(&mut first, &Snapshot::default());
        assert_eq!(first.next_attempt(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_counted_over_readings_of_the_card_and_end_at_the_cap() {
        let mut first = first_boot(BootstrapWhen::Empty);
        consider(&mut first, &empty());
        for again in [true, false] {
            consider(&mut first, &empty());
            attempt(&mut first, &empty()).unwrap();
            first.ended(Err(&failure(Step::Install)));
            consider(&mut first, &empty());
            assert_eq!(first.next_attempt().is_some(), again);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_of_an_earlier_life_count_as_well() {
        let mut first = first_boot(BootstrapWhen::Empty);
        let eid = EID.parse().unwrap();
        let earlier = |order| {
            Some(Attempt {
                failures: 2,
                ..Attempt::none(eid, order)
            })
        };
        first.consider(eid, &empty(), earlier, Duration::ZERO);
        assert_eq!(first.next_attempt(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn days_without_network_use_up_no_attempt() {
        let mut first = first_boot(BootstrapWhen::Empty);
        consider(&mut first, &empty());
        for _ in 0..50 {
            attempt(&mut first, &empty()).unwrap();
            let kept = first.ended(Err(&failure(Step::Initiate)));
            assert_eq!(kept.unwrap().failures, 0);
            assert!(first.next_attempt().is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_the_order_is_not_repeated_and_nothing_to_download_is_no_failure() {
        let mut first = first_boot(BootstrapWhen::Empty);
        consider(&mut first, &empty());
        attempt(&mut first, &empty()).unwrap();
        let nothing = Achievement {
            nothing_to_download: true,
            ..Achievement::default()
        };
        first.ended(Ok(&nothing));
        assert!(first.next_attempt().is_some());
        attempt(&mut first, &empty()).unwrap();
        let iccid = "89001234567890123457".parse().unwrap();
        let kept = first.ended(Err(&JobFailure::ProfileInstalled(iccid)));
        assert!(kept.unwrap().ended);
        assert_eq!(first.next_attempt(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn why_an_order_was_given_up_is_told_after_a_restart_with_what_to_do() {
        let mut first = first_boot(BootstrapWhen::Empty);
        consider(&mut first, &empty());
        attempt(&mut first, &empty()).unwrap();
        let iccid = "89001234567890123457".parse().unwrap();
        let failure = JobFailure::ProfileInstalled(iccid);
        let kept = first.ended(Err(&failure)).unwrap();
        assert_eq!(kept.last, Some(failure.to_string()));
        let told = first.status(0).unwrap();
        let mut first = first_boot(BootstrapWhen::Empty);
        let earlier = |_| Some(kept.clone());
        first.consider(EID.parse().unwrap(), &empty(), earlier, Duration::ZERO);
        assert_eq!(first.status(0).unwrap(), told);
        let next_step = "Ask the operator for an activation code and download by hand with \
                         `lpactl download`.";
        assert_eq!(told.next_step.unwrap(), next_step);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_address_nothing_is_tried() {
        let config = BootstrapConfig {
            when: BootstrapWhen::Empty,
            jitter_s: 0,
            ..BootstrapConfig::default()
        };
        let mut first = FirstBoot::new(config, key());
        let unread = empty();
        let none_stored = Snapshot {
            addresses: Known::Value(Addresses::default()),
            ..empty()
        };
        for snapshot in [unread, none_stored] {
            consider(&mut first, &snapshot);
            assert_eq!(first.next_attempt(), None);
            let told = first.status(0).unwrap();
            assert_eq!(told.state, FirstProfileState::NoAddress);
            assert_eq!(told.next_step.as_deref(), Some(GIVE_ADDRESS));
        }
        let snapshot = Snapshot {
            addresses: Known::Value(Addresses {
                default_smdp: Some("smdp.example.com".into()),
                ..Addresses::default()
            }),
            ..empty()
        };
        consider(&mut first, &snapshot);
        let download = attempt(&mut first, &snapshot).unwrap();
        assert!(matches!(download.source, DownloadSource::DefaultSmdp));
    }
}
