//! What the operation at hand waits for: patience, and showing it once it has lasted a while.

use std::pin::{Pin, pin};
use std::time::Duration;

use es9_client::{Connect, Es9Client, Es9Function, ServerAddress};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::failure::JobFailure;
use crate::job::{Waiting, WaitingOn};
use crate::memory::operations::Operations;
use crate::memory::snapshot::Snapshot;
use crate::procedure::{Server, ServerError};
use crate::runtime::clock::Clock;

/// Shows what the operation that has the card waits for.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    operations: Operations,
    known: watch::Receiver<Snapshot>,
    clock: Clock,
}

impl Waits {
    pub(super) fn new(
        operations: Operations,
        known: watch::Receiver<Snapshot>,
        clock: Clock,
    ) -> Self {
        Self {
            operations,
            known,
            clock,
        }
    }

    /// Awaits an answer that comes, or is given up, within `longest`. Once that has lasted
    /// [`SHOWN_AFTER`] it shows, until the answer came or the future is dropped.
    ///
    /// It is given a pinned future, because one that is moved in here would take its space twice.
    pub(super) async fn on<T>(
        &self,
        whom: WaitingOn,
        longest: Duration,
        mut answer: Pin<&mut impl Future<Output = T>>,
    ) -> T {
        let end = Instant::now() + longest;
        tokio::select! {
            biased;
            answer = answer.as_mut() => return answer,
            () = sleep(SHOWN_AFTER) => {}
        }
        let _shown = Shown(self);
        self.show(whom, end);
        answer.await
    }

    fn show(&self, on: WaitingOn, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        let until_s = self.clock.unix_seconds().saturating_add(left.as_secs());
        self.tell(Some(Waiting { on, until_s }));
    }

    fn tell(&self, waiting: Option<Waiting>) {
        let busy_with = self.known.borrow().euicc.busy_with;
        if let Some(operation) = busy_with {
            self.operations.waits(operation, waiting);
        }
    }
}

/// Takes away what is shown of a wait.
struct Shown<'w>(&'w Waits);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.tell(None);
    }
}

/// Patience with a modem that is away, or restarting: what failed because of that is tried again.
pub(super) struct Patience<'w> {
    waits: &'w Waits,
    began: Instant,
    end: Instant,
    /// Nothing is shown before the first failure, and nothing stays.
    _shown: Shown<'w>,
}

impl<'w> Patience<'w> {
    pub(super) fn new(waits: &'w Waits, longest: Duration) -> Self {
        let began = Instant::now();
        Self {
            waits,
            began,
            end: began + longest,
            _shown: Shown(waits),
        }
    }

    /// How long is left.
    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Waits a moment before the next try; `false` when there is no time left, or trying again
    /// would not help.
    pub(super) async fn again(&self, failure: &JobFailure) -> bool {
        let may_help = !matches!(failure, JobFailure::OtherCard { .. });
        if !may_help || self.left().is_zero() {
            return false;
        }
        tracing::debug!(%failure, "the modem is not back yet");
        if self.began.elapsed() >= SHOWN_AFTER {
            self.waits.show(WaitingOn::Modem, self.end);
        }
        sleep(RETRY).await;
        true
    }
}

/// A server, whose answers are waited for in sight of the clients.
#[derive(Debug)]
pub(super) struct InSight<'a, C> {
    client: &'a Es9Client<C>,
    waits: &'a Waits,
}

impl<'a, C: Connect> InSight<'a, C> {
    pub(super) fn new(client: &'a Es9Client<C>, waits: &'a Waits) -> Self {
        Self { client, waits }
    }
}

impl<C: Connect> Server for InSight<'_, C> {
    async fn call<F: Es9Function>(
        &self,
        address: &ServerAddress,
        function: &F,
    ) -> Result<F::Response, ServerError> {
        let longest = F::deadline(self.client.deadlines());
        let answer = pin!(self.client.call(address, function));
        Ok(self.waits.on(WaitingOn::Server, longest, answer).await?)
    }
}

/// A wait that has lasted this long is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(3);
/// How often a modem that is away is tried.
const RETRY: Duration = Duration::from_millis(500);
