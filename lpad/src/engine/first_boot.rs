//! The first boot: a card without a profile gets one by itself.
//!
//! SGP.22 v2.5 section 3.1.2. As long as it is wanted, the configured SM-DP+, or the one stored on
//! the card, is asked for a profile made for this EID; a configured activation code takes its place.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{BootstrapConfig, BootstrapWhen};
use crate::job::{Achievement, Consent, Download, DownloadSource};
use crate::memory::snapshot::Snapshot;
use crate::problem::Problem;
use crate::runtime::backoff::Backoff;
use crate::secret::Secret;

/// Decides when to look for a first profile.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    config: BootstrapConfig,
    attempts: u32,
    empty_answers: u32,
    next: Option<Instant>,
}

impl Bootstrap {
    pub(crate) fn new(config: BootstrapConfig) -> Self {
        Self {
            config,
            attempts: 0,
            empty_answers: 0,
            next: None,
        }
    }

    /// The card was read, or its default SM-DP+ was set: look whether a profile is wanted.
    pub(crate) fn consider(&mut self, snapshot: &Snapshot) {
        self.attempts = 0;
        self.empty_answers = 0;
        self.next = self.wanted(snapshot).then(Instant::now);
    }

    /// When the next attempt is due.
    pub(crate) fn next_attempt(&self) -> Option<Instant> {
        self.next
    }

    /// What to download now; `None` when nothing is wanted any more.
    pub(crate) fn attempt(&mut self, snapshot: &Snapshot) -> Option<Download> {
        self.next = None;
        if !self.wanted(snapshot) {
            return None;
        }
        self.attempts += 1;
        let confirmation_code = self
            .config
            .confirmation_code_file
            .as_deref()
            .and_then(read_code);
        Some(Download {
            source: self.source()?,
            confirmation_code,
            consent: Consent::Accept,
            enable: self.config.enable,
        })
    }

    /// An attempt ended.
    pub(crate) fn ended(&mut self, outcome: Result<&Achievement, &Problem>) {
        let delay = match outcome {
            Ok(achieved) if !achieved.nothing_to_download => return,
            Ok(_) => {
                self.empty_answers += 1;
                NOTHING_THERE.delay(self.empty_answers)
            }
            Err(problem) if problem.retryable => FAILED.delay(self.attempts),
            Err(problem) => {
                tracing::warn!(
                    code = problem.code.name(),
                    "no first profile; waiting for somebody"
                );
                return;
            }
        };
        if self.attempts >= self.config.attempts {
            tracing::warn!(
                attempts = self.attempts,
                "no first profile; waiting for somebody"
            );
            return;
        }
        tracing::info!(retry_in_s = delay.as_secs(), "no first profile yet");
        self.next = Some(Instant::now() + delay);
    }

    fn wanted(&self, snapshot: &Snapshot) -> bool {
        let config = &self.config;
        let from_somewhere = config.activation_code_file.is_some()
            || config.default_smdp.is_some()
            || snapshot.addresses.default_smdp.is_some();
        from_somewhere
            && match config.when {
                BootstrapWhen::Empty => !snapshot
                    .profiles
                    .iter()
                    .any(|profile| profile.class == "operational"),
                BootstrapWhen::Always => true,
                BootstrapWhen::Never => false,
            }
    }

    fn source(&self) -> Option<DownloadSource> {
        match (&self.config.activation_code_file, &self.config.default_smdp) {
            (Some(path), _) => {
                let code = read_code(path)?.expose().parse();
                code.map(DownloadSource::ActivationCode)
                    .inspect_err(|error| tracing::error!(path = %path.display(), %error))
                    .ok()
            }
            // Checked when the configuration was read.
            (None, Some(address)) => address.parse().map(DownloadSource::Smdp).ok(),
            (None, None) => Some(DownloadSource::DefaultSmdp),
        }
    }
}

/// The first line of a file that holds a code.
fn read_code(path: &Path) -> Option<Secret> {
    match fs::read_to_string(path) {
        Ok(text) => text.lines().next().map(Secret::new),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the code cannot be read");
            None
        }
    }
}

/// After a failure that may pass.
const FAILED: Backoff = Backoff {
    first: Duration::from_secs(5),
    longest: Duration::from_secs(3600),
};
/// After the server had nothing for this EID.
const NOTHING_THERE: Backoff = Backoff {
    first: Duration::from_secs(300),
    longest: Duration::from_secs(3600),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::snapshot::Profile;
    use crate::problem::Code;

    fn bootstrap(when: BootstrapWhen) -> Bootstrap {
        Bootstrap::new(BootstrapConfig {
            when,
            default_smdp: Some("smdp.example.com".into()),
            attempts: 2,
            ..BootstrapConfig::default()
        })
    }

    fn with_profile() -> Snapshot {
        let profile = Profile {
            class: "operational".into(),
            ..Profile::default()
        };
        Snapshot {
            profiles: vec![profile],
            ..Snapshot::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_card_is_filled_and_a_full_one_left_alone() {
        let mut first = bootstrap(BootstrapWhen::Empty);
        first.consider(&with_profile());
        assert_eq!(first.next_attempt(), None);
        first.consider(&Snapshot::default());
        assert_eq!(first.next_attempt(), Some(Instant::now()));
        let download = first.attempt(&Snapshot::default()).unwrap();
        assert!(matches!(download.source, DownloadSource::Smdp(_)) && download.enable);
        first.ended(Ok(&Achievement::default()));
        assert_eq!(first.next_attempt(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_may_pass_is_retried_but_not_for_ever() {
        let mut first = bootstrap(BootstrapWhen::Empty);
        first.consider(&Snapshot::default());
        for again in [true, false] {
            first.attempt(&Snapshot::default()).unwrap();
            first.ended(Err(&Problem::new(Code::ServerUnreachable)));
            assert_eq!(first.next_attempt().is_some(), again);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_repeated_and_nothing_to_download_is_no_failure() {
        let mut first = bootstrap(BootstrapWhen::Empty);
        first.consider(&Snapshot::default());
        first.attempt(&Snapshot::default()).unwrap();
        let nothing = Achievement {
            nothing_to_download: true,
            ..Achievement::default()
        };
        first.ended(Ok(&nothing));
        assert!(first.next_attempt().unwrap() > Instant::now() + Duration::from_secs(100));
        first.attempt(&Snapshot::default()).unwrap();
        first.ended(Err(&Problem::new(Code::OrderClosed)));
        assert_eq!(first.next_attempt(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_address_nothing_is_tried() {
        let mut first = Bootstrap::new(BootstrapConfig::default());
        first.consider(&Snapshot::default());
        assert_eq!(first.next_attempt(), None);
        let mut snapshot = Snapshot::default();
        snapshot.addresses.default_smdp = Some("smdp.example.com".into());
        first.consider(&snapshot);
        let download = first.attempt(&snapshot).unwrap();
        assert!(matches!(download.source, DownloadSource::DefaultSmdp));
    }
}
