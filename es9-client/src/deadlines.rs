use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// How long to wait for what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadlines {
    /// A new connection: name resolution, TCP and TLS together. 30 s by default.
    pub connect: Duration,
    /// A call: waiting for earlier calls to the same server, connecting, the answer, and a second
    /// request when the first one was lost. 120 s by default, because some servers are slow in
    /// making a profile package.
    pub response: Duration,
    /// The same for the call that delivers a notification. 30 s by default.
    pub notification: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            response: Duration::from_secs(120),
            notification: Duration::from_secs(30),
        }
    }
}

/// The moment at which something is given up, however many steps and retries it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    until: Instant,
    /// For messages.
    pub(crate) after: Duration,
}

impl Deadline {
    pub(crate) fn after(after: Duration) -> Self {
        let after = after.min(LONGEST);
        let until = Instant::now() + after;
        Self { until, after }
    }

    /// A deadline for one step, which is never later than that of the whole.
    pub(crate) fn within(self, after: Duration) -> Self {
        let step = Self::after(after);
        match step.until < self.until {
            true => step,
            false => self,
        }
    }

    /// Waits for the future, but not beyond the deadline.
    pub(crate) async fn limit<F: Future>(self, future: F) -> Result<F::Output, Elapsed> {
        timeout_at(self.until, future).await
    }
}

/// Keeps `Instant::now() + after` from overflowing.
const LONGEST: Duration = Duration::from_secs(86_400);
