//! The first boot: a card without a profile gets one by itself.
//!
//! SGP.22 v2.5 section 3.1.2. As long as it is wanted, the configured SM-DP+, or the one stored on
//! the card, is asked for a profile made for this EID; a configured activation code takes its place.
//!
//! Only what the order itself cannot survive ends the attempts for it, and only attempts that the
//! server has counted as well count towards the cap: days without network use up nothing.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use es9_client::AddressError;
use es10_apdu::types::{Eid, ProfileClass};
use tokio::time::Instant;

use crate::activation_code::ActivationCodeError;
use crate::config::{BootstrapConfig, BootstrapWhen};
use crate::failure::JobFailure;
use crate::files::read_code;
use crate::job::{Achievement, Consent, Download, DownloadSource};
use crate::memory::digest::Digest;
use crate::memory::journal::Attempt;
use crate::memory::key::Key;
use crate::memory::snapshot::{FirstProfile, FirstProfileState, Snapshot};
use crate::procedure::download::Step;
use crate::runtime::backoff::{Backoff, NETWORK_SETTLES, below};
use crate::secret::{Secret, in_few_words, shorten_numbers};

/// Decides when to look for a first profile.
#[derive(Debug)]
pub(super) struct FirstBoot {
    config: BootstrapConfig,
    key: Key,
    wish: Wish,
}

/// What the card still needs.
#[derive(Debug)]
enum Wish {
    Nothing,
    /// A profile, and nobody says where it is.
    Address,
    Order(Wanted),
}

/// Where the profile of a card is.
enum Place {
    /// None is wanted.
    NotNeeded,
    /// It is not told, and why.
    Untold(&'static str),
    At(Secret),
}

/// The order that is tried: a card, where its profile is, and the confirmation code. Another one begins
/// anew.
#[derive(Debug)]
struct Wanted {
    stand: Stand,
    /// What is kept of it over a restart.
    kept: Attempt,
    /// Failures in a row in this life of the daemon; they make the back-off grow.
    failures: u32,
    /// Whether the last attempt failed for want of a network.
    lacked_network: bool,
    /// What the last attempt was made with and no file but the operator's may hold.
    codes: Vec<Secret>,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug)]
enum Stand {
    /// The next attempt is made then.
    Due(Instant),
    Trying,
    Done,
    Stopped,
}

impl FirstBoot {
    pub(super) fn new(config: BootstrapConfig, key: Key) -> Self {
        let wish = Wish::Nothing;
        Self { config, key, wish }
    }

    /// The card was read, or its default SM-DP+ was set: look whether a profile is wanted.
    ///
    /// `earlier` tells what the journal knows of an order. A reading of the card begins nothing anew:
    /// attempts and back-off belong to the order.
    pub(super) fn consider(
        &mut self,
        eid: Eid,
        snapshot: &Snapshot,
        earlier: impl FnOnce(Digest) -> Option<Attempt>,
    ) {
        // A site that got its power back at once must not ask its server at once.
        let jitter = Duration::from_secs(self.config.jitter_s);
        self.look(eid, snapshot, earlier, below(jitter));
    }

    /// As [`Self::consider`]; the first attempt at another order is made after `wait`.
    fn look(
        &mut self,
        eid: Eid,
        snapshot: &Snapshot,
        earlier: impl FnOnce(Digest) -> Option<Attempt>,
        wait: Duration,
    ) {
        let place = match self.place(snapshot) {
            Place::NotNeeded => {
                self.wish = Wish::Nothing;
                return;
            }
            Place::Untold(why) => {
                if !matches!(self.wish, Wish::Address) {
                    tracing::warn!("no first profile: {why}");
                }
                self.wish = Wish::Address;
                return;
            }
            Place::At(place) => place,
        };
        let order = self.order(eid, &place);
        if matches!(&self.wish, Wish::Order(wanted) if wanted.kept.order == order) {
            return;
        }
        let kept = earlier(order).unwrap_or_else(|| Attempt::none(eid, order));
        let mut wanted = Wanted {
            stand: Stand::Due(Instant::now() + wait),
            kept,
            failures: 0,
            lacked_network: false,
            codes: Vec::new(),
        };
        if wanted.kept.done && self.config.activation_code_file.is_some() {
            wanted.stand = Stand::Done;
        } else if wanted.is_over(self.config.attempts) {
            let last = wanted.kept.last.clone().unwrap_or_default();
            wanted.give_up(&shorten_numbers(&last));
        }
        self.wish = Wish::Order(wanted);
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
        match self.wanted()?.stand {
            Stand::Due(at) => Some(at),
            Stand::Trying | Stand::Done | Stand::Stopped => None,
        }
    }

    fn wanted(&self) -> Option<&Wanted> {
        match &self.wish {
            Wish::Order(wanted) => Some(wanted),
            Wish::Nothing | Wish::Address => None,
        }
    }

    /// What to download now; `None` when nothing is wanted any more, or it is not known where it is.
    pub(super) fn attempt(
        &mut self,
        eid: Eid,
        snapshot: &Snapshot,
        earlier: impl FnOnce(Digest) -> Option<Attempt>,
    ) -> Option<Download> {
        // The files may have appeared or changed since the card was read.
        self.look(eid, snapshot, earlier, Duration::ZERO);
        self.next_attempt()?;
        let download = self.download();
        let Wish::Order(wanted) = &mut self.wish else {
            return None;
        };
        match download {
            Ok(download) => {
                wanted.stand = Stand::Trying;
                wanted.lacked_network = false;
                wanted.codes = download.codes();
                Some(download)
            }
            // The file may appear or be put right later.
            Err(why) => {
                wanted.back_off(FAILED, &why);
                None
            }
        }
    }

    /// What the configuration asks for, or why it cannot be told.
    fn download(&self) -> Result<Download, String> {
        let code_file = self.config.confirmation_code_file.as_deref();
        let confirmation_code = code_file.map(|path| {
            read_code(path).map_err(|error| unreadable("confirmation code", path, &error))
        });
        let confirmation_code = confirmation_code.transpose()?;
        Ok(Download {
            source: self.source()?,
            confirmation_code,
            consent: Consent::Accept,
            enable: self.config.enable,
        })
    }

    /// An attempt ended; gives what the journal has to keep of the order.
    pub(super) fn ended(&mut self, outcome: Result<&Achievement, &JobFailure>) -> Option<Attempt> {
        let Wish::Order(wanted) = &mut self.wish else {
            return None;
        };
        match outcome {
            Ok(achieved) if !achieved.nothing_to_download => {
                wanted.kept = Attempt {
                    done: true,
                    ..Attempt::none(wanted.kept.eid, wanted.kept.order)
                };
                wanted.stand = Stand::Done;
            }
            Ok(_) => {
                wanted.kept.empty = wanted.kept.empty.saturating_add(1);
                wanted.back_off(NOTHING_THERE, "the SM-DP+ has nothing for this eUICC");
            }
            Err(failure) => wanted.failed(failure, self.config.attempts),
        }
        Some(wanted.kept.clone())
    }

    /// A network has come up: an attempt that failed for want of one is made again soon.
    pub(super) fn network_came_up(&mut self) {
        if let Wish::Order(wanted) = &mut self.wish
            && let Stand::Due(at) = wanted.stand
            && wanted.lacked_network
        {
            let soon = Instant::now() + below(NETWORK_SETTLES);
            wanted.stand = Stand::Due(at.min(soon));
        }
    }

    /// Why nothing more is tried, unless a client wanted it so.
    pub(super) fn stopped_by(&self) -> Option<&str> {
        let wanted = self.wanted()?;
        let is_stopped =
            matches!(wanted.stand, Stand::Stopped) && wanted.is_over(self.config.attempts);
        wanted.kept.last.as_deref().filter(|_| is_stopped)
    }

    /// What is told of it.
    pub(super) fn status(&self, now_s: u64) -> Option<FirstProfile> {
        let wanted = self.wanted();
        let state = match &self.wish {
            Wish::Nothing if self.config.when == BootstrapWhen::Never => return None,
            Wish::Nothing => FirstProfileState::NotNeeded,
            Wish::Address => FirstProfileState::NoAddress,
            Wish::Order(wanted) => wanted.state(),
        };
        Some(FirstProfile {
            state,
            attempts: wanted.map_or(0, |wanted| wanted.kept.failures),
            most_attempts: self.config.attempts,
            last: wanted.and_then(|wanted| wanted.kept.last.clone()),
            next_step: self.next_step(),
            next_attempt_s: self.next_attempt().map(|next| {
                let wait = next.saturating_duration_since(Instant::now());
                now_s.saturating_add(wait.as_secs())
            }),
        })
    }

    /// What people can do when nothing more is tried.
    fn next_step(&self) -> Option<String> {
        let wanted = match &self.wish {
            Wish::Nothing => return None,
            Wish::Address => return Some(GIVE_ADDRESS.to_owned()),
            Wish::Order(wanted) => wanted,
        };
        if !matches!(wanted.stand, Stand::Stopped) {
            return None;
        }
        let by_hand = "download by hand with `lpactl download`";
        let is_used_up = wanted.kept.failures >= self.config.attempts;
        let config = &self.config;
        if wanted.kept.wants_confirmation_code {
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
        Some(match &config.activation_code_file {
            Some(path) if wanted.kept.ended => {
                let path = path.display();
                format!("Put another activation code into {path} and restart lpad, or {by_hand}.")
            }
            None if wanted.kept.ended => {
                format!("Ask the operator for an activation code and {by_hand}.")
            }
            _ if is_used_up => {
                format!("Raise attempts under [euicc.bootstrap] and restart lpad, or {by_hand}.")
            }
            _ => format!("Restart lpad to have it looked for again, or {by_hand}."),
        })
    }

    /// Where the profile is that is wanted.
    fn place(&self, snapshot: &Snapshot) -> Place {
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
            return Place::NotNeeded;
        }
        match (&config.activation_code_file, &config.default_smdp) {
            // One that cannot be read may appear later.
            (Some(path), _) => Place::At(read_code(path).unwrap_or_default()),
            (None, Some(address)) => Place::At(Secret::new(address.as_str())),
            (None, None) => match (snapshot.default_smdp(), snapshot.addresses.value()) {
                (Some(address), _) => Place::At(Secret::new(address)),
                (None, Some(_)) => Place::Untold("no address is configured and the card has none"),
                (None, None) => {
                    Place::Untold("no address is configured and the card's cannot be read")
                }
            },
        }
    }

    fn source(&self) -> Result<DownloadSource, String> {
        match (&self.config.activation_code_file, &self.config.default_smdp) {
            (Some(path), _) => {
                let code = "activation code";
                let text = read_code(path).map_err(|error| unreadable(code, path, &error))?;
                let parsed = text.expose().parse().map(DownloadSource::ActivationCode);
                parsed.map_err(|error: ActivationCodeError| unreadable(code, path, &error))
            }
            // Checked when the configuration was read.
            (None, Some(address)) => {
                let address = address.parse().map(DownloadSource::Smdp);
                address.map_err(|error: AddressError| error.to_string())
            }
            (None, None) => Ok(DownloadSource::DefaultSmdp),
        }
    }
}

impl Wanted {
    fn state(&self) -> FirstProfileState {
        match self.stand {
            Stand::Due(_) if self.failures == 0 => FirstProfileState::Waiting,
            Stand::Due(_) => FirstProfileState::BackingOff,
            Stand::Trying => FirstProfileState::Trying,
            Stand::Done => FirstProfileState::Done,
            Stand::Stopped => FirstProfileState::Stopped,
        }
    }

    fn failed(&mut self, failure: &JobFailure, most: u32) {
        let text = failure.to_string();
        self.lacked_network = failure.is_of_network();
        if reached_the_order(failure) {
            self.kept.failures = self.kept.failures.saturating_add(1);
        }
        self.kept.ended = failure.ends_order();
        self.kept.wants_confirmation_code = failure.wants_confirmation_code();
        match failure {
            // A client did not want it; the next start of the daemon asks again.
            JobFailure::Cancelled => self.stand = Stand::Stopped,
            _ if self.is_over(most) => self.give_up(&failure.shortened()),
            _ => return self.back_off(FAILED, &text),
        }
        self.kept.last = Some(in_few_words(&text, &self.codes));
    }

    fn is_over(&self, most: u32) -> bool {
        self.kept.ended || self.kept.failures >= most
    }

    fn give_up(&mut self, last: &str) {
        match self.kept.ended {
            true => tracing::warn!(last, "no first profile: this order is over"),
            false => {
                let attempts = self.kept.failures;
                tracing::warn!(attempts, last, "no first profile: tried often enough");
            }
        }
        self.stand = Stand::Stopped;
    }

    fn back_off(&mut self, backoff: Backoff, last: &str) {
        self.failures = self.failures.saturating_add(1);
        let delay = backoff.any_delay(self.failures.max(self.kept.empty));
        let shown = shorten_numbers(last);
        let retry_in_s = delay.as_secs();
        tracing::info!(retry_in_s, last = shown, "no first profile yet");
        self.stand = Stand::Due(Instant::now() + delay);
        self.kept.last = Some(in_few_words(last, &self.codes));
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

/// What to do about a card that nobody gave an address to ask.
const GIVE_ADDRESS: &str = "Name default_smdp under [euicc.bootstrap] and restart lpad, or store an \
                            address on the card with `lpactl euicc set-default-smdp`.";
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
        first.attempt(EID.parse().unwrap(), snapshot, |_| None)
    }

    fn consider(first: &mut FirstBoot, snapshot: &Snapshot) {
        first.consider(EID.parse().unwrap(), snapshot, |_| None);
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
        first.consider(eid, &empty(), |order| {
            Some(Attempt {
                failures: 2,
                ..Attempt::none(eid, order)
            })
        });
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
        first.consider(EID.parse().unwrap(), &empty(), |_| Some(kept));
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
