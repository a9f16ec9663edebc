//! How long to wait before something that failed is tried again.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

/// Waits that double from `first` up to `longest`, each shortened by chance to between its half and
/// the whole, so that a fleet that lost power together does not come back together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// The first wait.
    pub(crate) first: Duration,
    /// The longest wait.
    pub(crate) longest: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row, counted from 1.
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        self.whole(failures).mul_f64(0.5 + 0.5 * chance())
    }

    /// Any wait from a second to the whole: full jitter, for many that fail for the same reason.
    pub(crate) fn any_delay(&self, failures: u32) -> Duration {
        let least = Duration::from_secs(1);
        least + below(self.whole(failures).saturating_sub(least))
    }

    fn whole(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

/// Failures in a row, and until when nothing is tried because of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rest {
    failures: u32,
    until: Option<Instant>,
}

impl Rest {
    /// It failed once more; gives how long nothing is tried: any time up to the whole wait, so that
    /// servers that come back are not asked by a whole fleet at once.
    pub(crate) fn fail(&mut self, backoff: &Backoff) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let delay = backoff.any_delay(self.failures);
        self.until = Some(Instant::now() + delay);
        delay
    }

    /// What it failed for has passed, most likely: it is over by then.
    pub(crate) fn end_by(&mut self, end: Instant) {
        self.until = self.until.map(|until| until.min(end));
    }

    /// How often it failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when nothing is tried; `None` when the last attempt did not fail.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it may be tried.
    pub(crate) fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }
}

/// When what failed for want of a network is tried again because one has come up.
#[derive(Debug, Default)]
pub(crate) struct Hurry(Option<Instant>);

impl Hurry {
    /// At any time within 30 seconds, because a site whose uplink returns has many boxes; and once in five
    /// minutes, because one that comes and goes is no reason to try each time.
    pub(crate) fn next(&mut self) -> Instant {
        let now = Instant::now();
        let soon = now + below(NETWORK_SETTLES);
        let next = match self.0 {
            // That one is still to come.
            Some(last) if last > now => last,
            Some(last) => soon.max(last + FLAPS),
            None => soon,
        };
        self.0 = Some(next);
        next
    }
}

/// Within this time it is tried again.
const NETWORK_SETTLES: Duration = Duration::from_secs(30);
/// So far apart are attempts that a network has brought about.
const FLAPS: Duration = Duration::from_secs(300);

/// Any time from none to `bound`.
pub(crate) fn below(bound: Duration) -> Duration {
    bound.mul_f64(chance())
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    let mut octets = [0; 4];
    match SystemRandom::new().fill(&mut octets) {
        Ok(()) => f64::from(u32::from_be_bytes(octets)) / f64::from(u32::MAX),
        // Without chance the whole wait is right as well.
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(3600),
        };
        let wholes: Vec<u64> = (1..=12).map(|n| backoff.whole(n).as_secs()).collect();
        assert_eq!(
            wholes,
            [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
        );
        assert_eq!(backoff.whole(u32::MAX).as_secs(), 3600);
        for failures in 1..20 {
            let (delay, whole) = (backoff.delay(failures), backoff.whole(failures));
            assert!(whole / 2 <= delay && delay <= whole);
            let any = backoff.any_delay(failures);
            assert!(Duration::from_secs(1) <= any && any <= whole);
        }
    }
}
