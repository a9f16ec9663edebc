//! When a step has taken long enough.

use std::time::Duration;

use tokio::time::Instant;

use super::Fault;

/// The moment at which a step has taken long enough.
///
/// It is made once, where the step begins, and passed down: whatever the step consists of (waiting
/// for the port, GET RESPONSE, a repetition) has to fit into it, and nothing renews it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadline {
    until: Instant,
    /// What the step was given, for messages.
    after: Duration,
}

impl Deadline {
    /// A step that begins now and may take this long.
    pub fn after(after: Duration) -> Self {
        let until = Instant::now() + after;
        Self { until, after }
    }

    /// This deadline or the other one, whichever is earlier.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        match other.until < self.until {
            true => other,
            false => self,
        }
    }

    /// The moment itself.
    pub fn until(self) -> Instant {
        self.until
    }

    /// What is left of it.
    pub fn left(self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether nothing is left of it.
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// What a step that did not end in time failed with.
    pub fn fault(self) -> Fault {
        Fault::Timeout { after: self.after }
    }
}

/// A step that begins now.
impl From<Duration> for Deadline {
    fn from(after: Duration) -> Self {
        Self::after(after)
    }
}
