//! The engine's side of an operation.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Hearing, Operations, State};
use crate::commit::{Cancellation, Cancelled, Committed};
use crate::failure::{Interruption, JobFailure};
use crate::job::{
    Achievement, Answer, Decision, Offer, OperationId, Progress, Reply, Stage, Switching, Verdict,
};
use crate::memory::journal::Ending;
use crate::secret::Secret;

/// The engine's side of an operation. One that is dropped unfinished fails as interrupted; the journal
/// keeps it open, so that the next start settles it.
#[derive(Debug)]
pub struct Ticket {
    pub(super) id: OperationId,
    pub(super) operations: Operations,
    pub(super) cancellation: Cancellation,
}

impl Ticket {
    /// The operation's number.
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// The journal keeps no text with one of these codes in it.
    pub(crate) fn keeps_secret(&self, codes: Vec<Secret>) {
        if let Some(entry) = self.operations.table().entries.get_mut(&self.id) {
            entry.codes.extend(codes);
        }
    }

    /// Starts it, unless it was cancelled while it waited.
    pub fn begin(&self) -> bool {
        if self.is_cancelled() {
            return false;
        }
        self.operations
            .change(self.id, |operation| operation.state = State::Running);
        true
    }

    /// Says what it is doing now.
    pub fn stage(&self, stage: Stage) {
        tracing::info!(operation = %self.id, stage = stage.name());
        let now = self.operations.shared.clock.unix_seconds();
        self.operations
            .change(self.id, |operation| operation.enter(stage, now));
    }

    /// Resolves when the daemon ends: what may take long is left to its next life.
    pub(crate) async fn daemon_ends(&self) {
        let mut is_ending = self.operations.shared.is_ending.subscribe();
        // The ticket holds the sender.
        let _ = is_ending.wait_for(|is_ending| *is_ending).await;
    }

    /// Says how much of the package the card has.
    pub fn progress(&self, progress: Progress) {
        self.operations
            .change(self.id, |operation| operation.progress = Some(progress));
    }

    /// Says where the change of the profile in use stands.
    pub(crate) fn switching(&self, switch: Switching) {
        self.operations
            .change(self.id, |operation| operation.switch = Some(switch));
    }

    /// Says what clients may say of the switch from now on, and gives what one has said.
    pub(crate) fn hears(&self, heard: &'static [Verdict]) -> Option<Verdict> {
        let table = self.operations.table();
        let hearing = &table.entries.get(&self.id)?.hearing;
        let said = hearing.borrow().said;
        hearing.send_replace(Hearing { said, heard });
        said
    }

    /// What a client has said of the switch.
    pub(crate) fn said(&self) -> Option<Verdict> {
        let table = self.operations.table();
        let entry = table.entries.get(&self.id);
        entry.and_then(|entry| entry.hearing.borrow().said)
    }

    /// Resolves when a client has said one of these of the switch; gives which.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what was said stays said.
    pub(crate) async fn verdict(&self, any_of: &[Verdict]) -> Verdict {
        let hearing = {
            let table = self.operations.table();
            let entry = table.entries.get(&self.id);
            entry.map(|entry| entry.hearing.subscribe())
        };
        if let Some(mut hearing) = hearing {
            let is_one = |now: &Hearing| now.said.is_some_and(|said| any_of.contains(&said));
            if let Ok(now) = hearing.wait_for(is_one).await
                && let Some(said) = now.said
            {
                return said;
            }
        }
        // One that is forgotten is not decided on any more.
        std::future::pending().await
    }

    /// Passes the point of no return: from here on it can no longer be cancelled.
    pub fn commit(&self) -> Result<Committed, Cancelled> {
        let committed = self.cancellation.commit()?;
        // Nothing but what follows from the commit: `cancellable`.
        self.operations.change(self.id, |_| {});
        Ok(committed)
    }

    /// Until when it can be cancelled.
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled()
    }

    /// Whether it has passed the point of no return.
    pub(crate) fn is_committed(&self) -> bool {
        self.cancellation.is_committed()
    }

    /// Resolves when it is cancelled.
    pub async fn cancelled(&self) {
        self.cancellation.cancelled().await;
    }

    /// Shows a profile and waits for an answer, but at most `longest`. A client that asked for the
    /// operation with a lease and is gone has postponed it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the operation asking; the next stage ends that.
    pub async fn ask(&self, offer: Offer, longest: Duration) -> Reply {
        let (sender, answer) = oneshot::channel();
        let mut lease = None;
        if let Some(entry) = self.operations.table().entries.get_mut(&self.id) {
            entry.answer = Some(sender);
            lease = entry.lease.clone();
        }
        self.stage(Stage::AwaitingConsent);
        let now = self.operations.shared.clock.unix_seconds();
        self.operations.change(self.id, |operation| {
            operation.offer = Some(offer);
            operation.asked_at_s = Some(now);
            operation.state = State::AwaitingAnswer;
        });
        let left = async {
            match &lease {
                Some(lease) => lease.ended().await,
                None => std::future::pending().await,
            }
        };
        let reply = tokio::select! {
            biased;
            () = self.cancelled() => Reply::Cancelled,
            answer = timeout(longest, answer) => match answer {
                Ok(Ok(answer)) => Reply::Answered(answer),
                Ok(Err(_)) | Err(_) => Reply::TimedOut,
            },
            () = left => {
                tracing::info!(operation = %self.id, "the client that was asked is gone");
                Reply::Answered(Answer {
                    answer: Decision::Postpone,
                    confirmation_code: None,
                })
            }
        };
        self.operations.change(self.id, |operation| {
            operation.offer = None;
            operation.asked_at_s = None;
            operation.state = State::Running;
        });
        reply
    }

    /// Ends it well.
    pub fn succeed(self, result: Achievement) {
        tracing::info!(operation = %self.id, "succeeded");
        self.operations.end(self.id, Ending::Succeeded, Ok(result));
    }

    /// Ends it with a failure; `Cancelled` ends it as cancelled. One that is in doubt stays open in the
    /// journal, until the card has told.
    pub fn fail(self, failure: impl Into<Arc<JobFailure>>) {
        let failure = failure.into();
        let ending = match *failure {
            JobFailure::Cancelled => Ending::Cancelled,
            _ => Ending::Failed,
        };
        let text = failure.shortened();
        tracing::warn!(operation = %self.id, "{}: {text}", State::of(ending).name());
        match failure.is_in_doubt() {
            true => self.operations.leave_open(self.id, failure),
            false => self.operations.end(self.id, ending, Err(failure)),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Does nothing after `succeed` or `fail`: an operation that has ended does not change.
        let failure = JobFailure::Interrupted(Interruption::Running);
        self.operations.leave_open(self.id, Arc::new(failure));
    }
}
