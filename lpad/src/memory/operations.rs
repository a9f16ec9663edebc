//! The operations of a running daemon: they have a number, go on when the client leaves, can be
//! watched, answered and, until the point of no return, cancelled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use es10_apdu::types::Eid;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::commit::{Cancellation, TooLate};
use crate::job::{Achievement, Answer, Decision, Kind, Offer, OperationId, Progress, Stage};
use crate::memory::events::{EventKind, Events};
use crate::memory::journal::{
    AskedOperation, Ending, Intent, Record, RequestKey, SharedJournal, StartedOperation,
};
use crate::problem::{Code, Problem};
use crate::runtime::clock::Clock;

mod asker;
#[cfg(test)]
mod tests;
mod ticket;

pub use asker::{ClientProcess, Lease, LeaseHolder};
pub use ticket::Ticket;

/// All operations of the daemon, the last [`HISTORY_KEPT`] finished ones included; clones share them.
#[derive(Clone, Debug)]
pub struct Operations {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    journal: SharedJournal,
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
    /// The client that has to be there to answer, when there is one.
    lease: Option<Lease>,
    request: Option<RequestKey>,
}

/// Why a call on an operation is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
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
    /// Its number cannot be kept, so that it is not begun.
    #[error("the journal cannot be written: {0}")]
    Unwritable(String),
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
    /// The operations the journal knows of: those that were asked for and never begun have ended,
    /// those that were under way run until the card has told how they ended.
    pub fn new(events: Events, clock: Clock, journal: SharedJournal) -> Self {
        let intent = journal.intent();
        let table = Mutex::new(Table {
            entries: BTreeMap::new(),
            last: intent.last_operation,
        });
        let operations = Self {
            shared: Arc::new(Shared {
                table,
                journal,
                events,
                clock,
            }),
        };
        operations.recall(&intent);
        operations
    }

    fn recall(&self, intent: &Intent) {
        for (asked, ending) in intent.answered.values() {
            let operation = Operation::ended_earlier(asked, *ending);
            self.put(operation, Cancellation::default(), asked.request.clone());
        }
        for asked in intent.never_begun() {
            let operation = Operation::ended_earlier(&asked, Ending::NotBegun);
            self.put(operation, Cancellation::default(), asked.request.clone());
            self.note_ending(asked.operation, Ending::NotBegun);
        }
        for started in intent.operations.values() {
            let asked = intent.asked.get(&started.operation);
            let mut operation = Operation::new(started.operation, &started.euicc, started.kind);
            operation.state = State::Running;
            operation.cancellable = false;
            operation.created_at_s = asked.map_or(0, |asked| asked.at_s);
            let request = asked.and_then(|asked| asked.request.clone());
            self.put(operation, passed(), request);
        }
    }

    /// Queues an operation for a card, when one is known, and gives the engine's side of it. Its
    /// number is on the medium, so that it is never given to another one.
    ///
    /// # Errors
    ///
    /// `QueueFull` when [`QUEUE_LENGTH`] operations of this eUICC have not ended, `Unwritable` when
    /// its number cannot be kept.
    pub fn start(
        &self,
        euicc: &str,
        eid: Option<Eid>,
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
        let asked = AskedOperation {
            operation: id,
            euicc: euicc.to_owned(),
            eid,
            kind,
            request: request.clone(),
            at_s: self.shared.clock.unix_seconds(),
        };
        let operation = Operation {
            created_at_s: asked.at_s,
            ..Operation::new(id, euicc, kind)
        };
        let written = self.shared.journal.append(Record::OperationAsked(asked));
        written.map_err(|error| OperationError::Unwritable(error.to_string()))?;
        table.last = id;
        self.shared.events.publish(EventKind::Operation, &operation);
        let cancellation = Cancellation::default();
        let operation = watch::Sender::new(operation);
        table.entries.insert(
            id,
            Entry {
                operation,
                cancellation: cancellation.clone(),
                answer: None,
                lease: None,
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
                .filter(|earlier| earlier.is_key_of(request))?;
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

    /// Says which client asked for an operation. With a lease, a question is asked only while that
    /// client is there.
    ///
    /// # Errors
    ///
    /// `Unknown` when there is none, or it is no longer kept.
    pub fn asked_by(
        &self,
        id: OperationId,
        client: ClientProcess,
        lease: Option<Lease>,
    ) -> Result<Operation, OperationError> {
        let mut table = self.table();
        let entry = table.entries.get_mut(&id);
        let entry = entry.ok_or(OperationError::Unknown(id))?;
        if !entry.operation.borrow().state.is_final() {
            entry.lease = lease;
            // No event of its own: the next one has it.
            entry
                .operation
                .send_modify(|operation| operation.client = Some(client));
        }
        let operation = entry.operation.borrow().clone();
        Ok(operation)
    }

    /// The card told how an operation ended that was cut off, in an earlier life of the daemon or in
    /// this one.
    pub fn restore(&self, operation: Operation) {
        let ending = match operation.state {
            State::Succeeded => Ending::Succeeded,
            State::Cancelled => Ending::Cancelled,
            _ => Ending::Failed,
        };
        self.note_ending(operation.id, ending);
        self.put(operation, Cancellation::default(), None);
    }

    /// Another card is in the slot than the one an operation was begun on: how it ended is not known
    /// before that one is back, and the journal keeps it open until then.
    pub fn leave(&self, started: &StartedOperation) {
        if self
            .find(started.operation)
            .is_ok_and(|known| known.state.is_final())
        {
            return;
        }
        let card = started
            .eid
            .map_or_else(String::new, |eid| format!(" {eid}"));
        let problem = Problem::new(Code::Interrupted)
            .detail(format!(
                "lpad was stopped while this was under way on the card{card}, and another one is in the slot."
            ))
            .next_step("Put that card in again: lpad reads from it how this ended.")
            .of_operation(started.operation);
        let ended = Operation {
            state: State::Failed,
            cancellable: false,
            problem: Some(problem),
            finished_at_s: Some(self.shared.clock.unix_seconds()),
            ..Operation::new(started.operation, &started.euicc, started.kind)
        };
        self.put(ended, Cancellation::default(), None);
    }

    /// Resumes an operation that was cut off; it runs from now on.
    pub(crate) fn resume(&self, operation: Operation) -> Ticket {
        let id = operation.id;
        let cancellation = passed();
        let operation = Operation {
            state: State::Running,
            stage: None,
            result: None,
            problem: None,
            finished_at_s: None,
            ..operation
        };
        self.put(operation, cancellation.clone(), None);
        Ticket {
            id,
            operations: self.clone(),
            cancellation,
        }
    }

    /// Puts an operation into the history. One that is there already changes, and stays the same
    /// for those who watch it and for its key.
    fn put(&self, operation: Operation, cancellation: Cancellation, request: Option<RequestKey>) {
        let mut table = self.table();
        table.last = table.last.max(operation.id);
        let shown = match table.entries.get_mut(&operation.id) {
            Some(entry) => {
                let known = entry.operation.borrow().clone();
                let operation = Operation {
                    client: known.client,
                    created_at_s: known.created_at_s,
                    ..operation
                };
                entry.answer = None;
                entry.cancellation = cancellation;
                entry.operation.send_replace(operation.clone());
                operation
            }
            None => {
                let entry = Entry {
                    cancellation,
                    answer: None,
                    lease: None,
                    request,
                    operation: watch::Sender::new(operation.clone()),
                };
                table.entries.insert(operation.id, entry);
                operation
            }
        };
        drop(table);
        self.shared.events.publish(EventKind::Operation, &shown);
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
        let settled = |operation: &Operation| operation.state.is_settled();
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
            self.note_ending(id, Ending::Cancelled);
            self.finish(
                id,
                State::Cancelled,
                None,
                Some(Problem::new(Code::Cancelled)),
            );
        }
        self.find(id)
    }

    /// The daemon ends: every operation stops that still can. Those that wait are never begun, and are
    /// told the same as after the next start.
    pub fn end_all(&self) {
        for operation in self.list() {
            if operation.state != State::Queued {
                // One that has ended or is past the point of no return is left alone.
                let _ = self.cancel(operation.id);
                continue;
            }
            if let Some(entry) = self.table().entries.get(&operation.id) {
                // One that waits has not passed the point of no return.
                let _ = entry.cancellation.cancel();
            }
            self.finish(operation.id, State::Failed, None, Some(never_begun()));
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
            operation.asked_at_s = None;
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

    /// Changes an operation that has not ended, and says so to those who watch.
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

    /// Writes that an operation's outcome is known. Without it the next start asks the card again.
    fn note_ending(&self, operation: OperationId, ending: Ending) {
        let record = Record::OperationFinished {
            operation,
            ending: Some(ending),
        };
        if let Err(error) = self.shared.journal.append(record) {
            tracing::warn!(%operation, %error, "the journal cannot be written");
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
            operation.asked_at_s = None;
            operation.result = result;
            operation.problem = problem.map(|problem| problem.of_operation(id));
            operation.finished_at_s = Some(now);
            if state == State::Succeeded {
                operation.stage = Some(Stage::Done);
            }
        });
        if let Some(entry) = self.table().entries.get_mut(&id) {
            entry.lease = None;
        }
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
    /// Waiting for a person to accept or decline the profile.
    AwaitingAnswer,
    /// Done as asked.
    Succeeded,
    /// Ended with a problem.
    Failed,
    /// Ended because a client cancelled it.
    Cancelled,
}

impl State {
    /// Every state, in the order of an operation's life.
    pub const ALL: &[Self] = &[
        Self::Queued,
        Self::Running,
        Self::AwaitingAnswer,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether nothing changes until a client does something, if ever.
    pub fn is_settled(self) -> bool {
        self.is_final() || self == Self::AwaitingAnswer
    }

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
    /// The process that asked for it; absent when lpad did by itself, or before its last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientProcess>,
    /// Since when the offer waits for an answer, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at_s: Option<u64>,
    /// When it was asked for, in seconds since 1970.
    pub created_at_s: u64,
    /// When it ended, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at_s: Option<u64>,
}

impl Operation {
    pub(crate) fn new(id: OperationId, euicc: &str, kind: Kind) -> Self {
        Self {
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
            client: None,
            asked_at_s: None,
            created_at_s: 0,
            finished_at_s: None,
        }
    }

    /// One that ended in an earlier life of the daemon, with what the journal knows of it.
    fn ended_earlier(asked: &AskedOperation, ending: Ending) -> Self {
        let operation = Self {
            cancellable: false,
            created_at_s: asked.at_s,
            ..Self::new(asked.operation, &asked.euicc, asked.kind)
        };
        match ending {
            Ending::Succeeded => Self {
                state: State::Succeeded,
                stage: Some(Stage::Done),
                result: Some(Achievement::default()),
                ..operation
            },
            Ending::Failed | Ending::Cancelled | Ending::NotBegun => Self {
                state: State::Failed,
                problem: Some(never_begun().of_operation(asked.operation)),
                ..operation
            },
        }
    }
}

/// Of an operation that passed the point of no return in an earlier life of the daemon.
fn passed() -> Cancellation {
    let cancellation = Cancellation::default();
    // It was never cancelled.
    let _ = cancellation.commit();
    cancellation
}

/// Why an operation that waited has ended with the daemon.
fn never_begun() -> Problem {
    Problem::new(Code::Interrupted)
        .detail("lpad was stopped before this was begun; nothing was done.")
        .next_step("Ask for it again.")
}

/// How many operations of one eUICC may run and wait.
pub const QUEUE_LENGTH: usize = 8;
/// How many ended operations are kept.
pub const HISTORY_KEPT: usize = 100;
