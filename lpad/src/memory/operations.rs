//! The operations of a running daemon: they have a number, go on when the client leaves, can be
//! watched, answered and, until the point of no return, cancelled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::commit::{Cancellation, TooLate};
use crate::job::{Achievement, Answer, Decision, Kind, Offer, OperationId, Progress, Stage};
use crate::memory::events::{EventKind, Events};
use crate::problem::{Code, Problem};
use crate::runtime::clock::Clock;

#[cfg(test)]
mod tests;
mod ticket;

pub use ticket::Ticket;

/// All operations of the daemon, the last [`HISTORY_KEPT`] finished ones included; clones share them.
#[derive(Clone, Debug)]
pub struct Operations {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    events: Events,
    clock: Clock,
}

#[derive(Debug)]
struct Table {
    entries: BTreeMap<OperationId, Entry>,
    last: OperationId,
}

#[derive(Debug)]
struct Entry {
    operation: watch::Sender<Operation>,
    cancellation: Cancellation,
    answer: Option<oneshot::Sender<Answer>>,
    request: Option<RequestKey>,
}

/// What tells a repeated request from a new one: `Idempotency-Key` and a digest of the body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestKey {
    /// The client's key.
    pub key: String,
    /// SHA-256 of what was asked.
    pub digest: [u8; 32],
}

/// Why a call on an operation is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OperationError {
    /// There is no such operation.
    #[error("there is no operation {0}")]
    Unknown(OperationId),
    /// The eUICC's queue is full.
    #[error("operation {0} and those behind it must end first")]
    QueueFull(OperationId),
    /// The key was used for something else.
    #[error("the Idempotency-Key was used for operation {0}, which asked for something else")]
    KeyReused(OperationId),
    /// It has ended.
    #[error("operation {0} has ended")]
    Ended(OperationId),
    /// Cancelling would leave the card in doubt.
    #[error("operation {0} is past the point of no return")]
    PastPointOfNoReturn(OperationId),
    /// It asks nothing.
    #[error("operation {0} does not wait for an answer")]
    NotAsking(OperationId),
    /// The answer lacks the confirmation code.
    #[error("operation {0} needs the confirmation code with the answer")]
    CodeMissing(OperationId),
}

impl Operations {
    /// No operations yet; numbers go on after `last`.
    pub fn new(events: Events, clock: Clock, last: OperationId) -> Self {
        let table = Mutex::new(Table {
            entries: BTreeMap::new(),
            last,
        });
        Self {
            shared: Arc::new(Shared {
                table,
                events,
                clock,
            }),
        }
    }

    /// Queues an operation and gives the engine's side of it.
    ///
    /// # Errors
    ///
    /// `QueueFull` when [`QUEUE_LENGTH`] operations of this eUICC have not ended.
    pub fn start(
        &self,
        euicc: &str,
        kind: Kind,
        request: Option<RequestKey>,
    ) -> Result<Ticket, OperationError> {
        let mut table = self.table();
        let open: Vec<OperationId> = table
            .entries
            .values()
            .map(|entry| entry.operation.borrow())
            .filter(|operation| operation.euicc == euicc && !operation.state.is_final())
            .map(|operation| operation.id)
            .collect();
        if let (Some(holder), true) = (open.first(), open.len() >= QUEUE_LENGTH) {
            return Err(OperationError::QueueFull(*holder));
        }
        let id = OperationId(table.last.0 + 1);
        table.last = id;
        let operation = Operation {
            id,
            euicc: euicc.to_owned(),
            kind,
            state: State::Queued,
            stage: None,
            progress: None,
            cancellable: true,
            offer: None,
            result: None,
            problem: None,
            created_at_s: self.shared.clock.unix_seconds(),
            finished_at_s: None,
        };
        self.shared.events.publish(EventKind::Operation, &operation);
        let cancellation = Cancellation::default();
        let operation = watch::Sender::new(operation);
        table.entries.insert(
            id,
            Entry {
                operation,
                cancellation: cancellation.clone(),
                answer: None,
                request,
            },
        );
        Ok(Ticket {
            id,
            operations: self.clone(),
            cancellation,
        })
    }

    /// The operation that was started with this key.
    ///
    /// # Errors
    ///
    /// `KeyReused` when it asked for something else.
    pub fn repeated(&self, request: &RequestKey) -> Result<Option<Operation>, OperationError> {
        let table = self.table();
        let known = table.entries.iter().find_map(|(id, entry)| {
            let earlier = entry
                .request
                .as_ref()
                .filter(|earlier| earlier.key == request.key)?;
            Some((
                *id,
                earlier.digest == request.digest,
                entry.operation.borrow().clone(),
            ))
        });
        match known {
            Some((id, false, _)) => Err(OperationError::KeyReused(id)),
            Some((_, true, operation)) => Ok(Some(operation)),
            None => Ok(None),
        }
    }

    /// Puts an operation of an earlier life of the daemon into the history.
    pub fn restore(&self, operation: Operation) {
        self.insert(operation, Cancellation::default());
    }

    /// Takes an operation of an earlier life of the daemon up again; it runs from now on.
    pub(crate) fn resume(&self, operation: Operation) -> Ticket {
        let id = operation.id;
        let cancellation = Cancellation::default();
        // Its first step was done in the earlier life, so it passed the point of no return there.
        let _ = cancellation.commit();
        let operation = Operation {
            state: State::Running,
            stage: None,
            result: None,
            finished_at_s: None,
            ..operation
        };
        self.insert(operation, cancellation.clone());
        Ticket {
            id,
            operations: self.clone(),
            cancellation,
        }
    }

    fn insert(&self, operation: Operation, cancellation: Cancellation) {
        let mut table = self.table();
        table.last = table.last.max(operation.id);
        self.shared.events.publish(EventKind::Operation, &operation);
        let entry = Entry {
            cancellation,
            answer: None,
            request: None,
            operation: watch::Sender::new(operation.clone()),
        };
        table.entries.insert(operation.id, entry);
    }

    /// One operation.
    ///
    /// # Errors
    ///
    /// `Unknown` when there is none, or it is no longer kept.
    pub fn find(&self, id: OperationId) -> Result<Operation, OperationError> {
        self.watch(id).map(|operation| operation.borrow().clone())
    }

    /// Every operation kept, oldest first.
    pub fn list(&self) -> Vec<Operation> {
        self.table()
            .entries
            .values()
            .map(|entry| entry.operation.borrow().clone())
            .collect()
    }

    /// Waits until the operation has ended or asks something, but at most `longest`.
    ///
    /// # Errors
    ///
    /// `Unknown` when there is none, or it is no longer kept.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait(
        &self,
        id: OperationId,
        longest: Duration,
    ) -> Result<Operation, OperationError> {
        let mut operation = self.watch(id)?;
        let settled = |operation: &Operation| {
            operation.state.is_final() || operation.state == State::AwaitingAnswer
        };
        // Both a timeout and a removed entry leave the last known state to be told.
        let _ = timeout(longest, operation.wait_for(settled)).await;
        let operation = operation.borrow().clone();
        Ok(operation)
    }

    /// Asks an operation to stop. A queued one ends at once, a running one at its next safe point.
    ///
    /// # Errors
    ///
    /// When there is none, it has ended, or it is past the point of no return.
    pub fn cancel(&self, id: OperationId) -> Result<Operation, OperationError> {
        let state = {
            let table = self.table();
            let entry = table.entries.get(&id).ok_or(OperationError::Unknown(id))?;
            let operation = entry.operation.borrow().clone();
            if operation.state.is_final() {
                return Err(OperationError::Ended(id));
            }
            entry
                .cancellation
                .cancel()
                .map_err(|TooLate| OperationError::PastPointOfNoReturn(id))?;
            operation.state
        };
        if state == State::Queued {
            self.finish(
                id,
                State::Cancelled,
                None,
                Some(Problem::new(Code::Cancelled)),
            );
        }
        self.find(id)
    }

    /// Asks every operation to stop that still can.
    pub fn cancel_all(&self) {
        for operation in self.list() {
            // One that has ended or is past the point of no return is left alone.
            let _ = self.cancel(operation.id);
        }
    }

    /// Answers an offer.
    ///
    /// # Errors
    ///
    /// When there is none, nothing is asked, or the confirmation code is missing.
    pub fn answer(&self, id: OperationId, answer: Answer) -> Result<Operation, OperationError> {
        let mut table = self.table();
        let entry = table
            .entries
            .get_mut(&id)
            .ok_or(OperationError::Unknown(id))?;
        let operation = entry.operation.borrow().clone();
        let Some(offer) = operation
            .offer
            .filter(|_| operation.state == State::AwaitingAnswer)
        else {
            return Err(OperationError::NotAsking(id));
        };
        let code_missing = offer.confirmation_code_required && answer.confirmation_code.is_none();
        if answer.answer == Decision::Accept && code_missing {
            return Err(OperationError::CodeMissing(id));
        }
        let waiting = entry.answer.take().ok_or(OperationError::NotAsking(id))?;
        waiting
            .send(answer)
            .map_err(|_| OperationError::NotAsking(id))?;
        drop(table);
        self.change(id, |operation| {
            operation.state = State::Running;
            operation.offer = None;
        });
        self.find(id)
    }

    /// Whether an operation of this eUICC runs or waits.
    pub fn holder(&self, euicc: &str) -> Option<OperationId> {
        self.list()
            .into_iter()
            .find(|operation| operation.euicc == euicc && !operation.state.is_final())
            .map(|operation| operation.id)
    }

    fn watch(&self, id: OperationId) -> Result<watch::Receiver<Operation>, OperationError> {
        let table = self.table();
        let entry = table.entries.get(&id).ok_or(OperationError::Unknown(id))?;
        Ok(entry.operation.subscribe())
    }

    /// Changes an operation that has not ended, and says so to whoever watches.
    fn change(&self, id: OperationId, change: impl FnOnce(&mut Operation)) {
        let table = self.table();
        let Some(entry) = table.entries.get(&id) else {
            return;
        };
        let before = entry.operation.borrow().clone();
        if before.state.is_final() {
            return;
        }
        entry.operation.send_modify(|operation| {
            change(operation);
            operation.cancellable =
                !operation.state.is_final() && !entry.cancellation.is_committed();
        });
        let now = entry.operation.borrow();
        let percent = |operation: &Operation| operation.progress.map(Progress::percent);
        let only_bytes = Operation {
            progress: now.progress,
            ..before.clone()
        } == *now;
        // Readers of events get every change but at most one per percent; `wait` sees every byte.
        if !only_bytes || percent(&before) != percent(&now) {
            self.shared.events.publish(EventKind::Operation, &*now);
        }
    }

    fn finish(
        &self,
        id: OperationId,
        state: State,
        result: Option<Achievement>,
        problem: Option<Problem>,
    ) {
        let now = self.shared.clock.unix_seconds();
        self.change(id, |operation| {
            operation.state = state;
            operation.offer = None;
            operation.result = result;
            operation.problem = problem.map(|problem| problem.of_operation(id));
            operation.finished_at_s = Some(now);
            if state == State::Succeeded {
                operation.stage = Some(Stage::Done);
            }
        });
        self.forget_oldest();
    }

    fn forget_oldest(&self) {
        let mut table = self.table();
        let ended: Vec<OperationId> = table
            .entries
            .iter()
            .filter(|(_, entry)| entry.operation.borrow().state.is_final())
            .map(|(id, _)| *id)
            .collect();
        for id in ended.iter().take(ended.len().saturating_sub(HISTORY_KEPT)) {
            table.entries.remove(id);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waiting for the eUICC.
    Queued,
    /// Under way.
    Running,
    /// Waiting for somebody to accept or decline the profile.
    AwaitingAnswer,
    /// Done as asked.
    Succeeded,
    /// Ended with a problem.
    Failed,
    /// Ended because somebody cancelled it.
    Cancelled,
}

impl State {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::AwaitingAnswer => "awaiting-answer",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One operation as the API shows it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Operation {
    /// Its number.
    pub id: OperationId,
    /// The eUICC it belongs to.
    pub euicc: String,
    /// What it does.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// How much of the profile package the card has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Whether it can still be cancelled.
    pub cancellable: bool,
    /// The profile that waits for an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// What it achieved, once it has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Achievement>,
    /// Why it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// When it was asked for, in seconds since 1970.
    pub created_at_s: u64,
    /// When it ended, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at_s: Option<u64>,
}

/// How many operations of one eUICC may run and wait.
pub const QUEUE_LENGTH: usize = 8;
/// How many ended operations are kept.
pub const HISTORY_KEPT: usize = 100;
