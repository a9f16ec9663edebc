//! The wall clock, replaceable so that whole lives of a gateway replay.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use es9_client::{EARLIEST_PLAUSIBLE, Timestamp};

/// Tells the time of day for records that people read; deadlines use tokio's clock.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Arc::new(SystemTime::now))
    }

    /// A clock that asks `now`.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// Whole seconds since 1970, unless the clock was not set since the power came back: many gateways
    /// have none that goes on without it.
    pub fn plausible_seconds(&self) -> Option<u64> {
        let seconds = self.unix_seconds();
        let Timestamp(earliest) = EARLIEST_PLAUSIBLE;
        (i64::try_from(seconds).is_ok_and(|now| now >= earliest)).then_some(seconds)
    }

    /// Whole seconds since 1970; 0 before.
    pub fn unix_seconds(&self) -> u64 {
        self.now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.unix_seconds())
    }
}
