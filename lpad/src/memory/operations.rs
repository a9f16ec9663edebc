//! The operations of a running daemon: they have a number, go on when the client leaves, can be
//! watched, answered and, until the point of no return, cancelled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use es10_apdu::types::Eid;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::commit::{Cancellation, TooLate};
use crate::failure::{Interruption, JobFailure, Told};
use crate::job::{
    Achievement, Answer, Decision, Kind, OperationId, Progress, Stage, Verdict, Waiting,
};
use crate::memory::events::{Change, Events};
use crate::memory::journal::{
    AskedOperation, EndDetails, EndedOperation, Ending, Intent, OpenSwitch, Record, RequestKey,
    SharedJournal, StartedOperation,
};
use crate::runtime::clock::Clock;
use crate::secret::{Secret, in_few_words};

mod asker;
mod operation;
#[cfg(test)]
mod tests;
mod ticket;

pub use asker::{Asked, Lease, LeaseHolder};
pub use operation::{Operation, STAGES_KEPT, State};
pub use ticket::Ticket;

pub use crate::memory::journal::ClientProcess;

/// All operations of the daemon, those included that have ended and are still kept; clones share them.
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
    tell: fn(&JobFailure) -> Told,
    /// Whether the daemon ends.
    is_ending: watch::Sender<bool>,
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
    /// Whether it goes on after it was cut off.
    resumed: bool,
    /// What no text may hold that the journal keeps.
    codes: Vec<Secret>,
    hearing: watch::Sender<Hearing>,
}

impl Entry {
    fn of(operation: Operation, cancellation: Cancellation) -> Self {
        Self {
            operation: watch::Sender::new(operation),
            cancellation,
            answer: None,
            lease: None,
            resumed: false,
            codes: Vec::new(),
            hearing: watch::Sender::default(),
        }
    }
}

/// What clients say of the change of the profile in use that is part of an operation. What is heard and
/// what is refused changes under one lock, so that nothing is accepted and ignored.
#[derive(Clone, Copy, Debug, Default)]
struct Hearing {
    /// What one has said first, which counts.
    said: Option<Verdict>,
    /// What may be said now.
    heard: &'static [Verdict],
}

impl Hearing {
    /// Of a switch that an end of the daemon, or of the card, cut off.
    fn of(switch: Option<&OpenSwitch>) -> Self {
        let is_undoable = switch.is_some_and(OpenSwitch::is_undoable);
        Self {
            said: switch.and_then(|switch| switch.verdict),
            heard: if is_undoable { &[Verdict::Revert] } else { &[] },
        }
    }
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
    /// The eUICC has an operation under way, and this one was not to wait.
    #[error("operation {0} is under way, and this one was not to wait for it")]
    UnderWay(OperationId),
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
    /// A client has said something else of its switch.
    #[error("a client has said {said} to operation {0} already", said = .1.name())]
    Decided(OperationId, Verdict),
    /// The answer lacks the confirmation code.
    #[error("operation {0} needs the confirmation code with the answer")]
    CodeMissing(OperationId),
}

impl Operations {
    /// The operations the journal knows of: the latest ones that ended, those that were asked for and
    /// never begun, which have ended by that, and those that were under way, which run until the card
    /// has told how they ended. What `tell` says of a failure is kept in the journal.
    pub fn new(
        events: Events,
        clock: Clock,
        journal: SharedJournal,
        tell: fn(&JobFailure) -> Told,
    ) -> Self {
        let intent = journal.look(Intent::clone);
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
                tell,
                is_ending: watch::Sender::default(),
            }),
        };
        operations.recall(&intent);
        operations
    }

    fn recall(&self, intent: &Intent) {
        for ended in intent.ended.values() {
            let EndedOperation {
                asked,
                ending,
                details,
            } = ended;
            // It is no news, so that those who follow the events are not told again.
            let operation = Operation::ended_earlier(asked, *ending, details.clone());
            let entry = Entry::of(operation, Cancellation::default());
            self.table().entries.insert(asked.operation, entry);
        }
        for asked in intent.never_begun() {
            let details = EndDetails {
                at_s: Some(self.shared.clock.unix_seconds()),
                ..EndDetails::default()
            };
            let mut operation = Operation::ended_earlier(&asked, Ending::NotBegun, details);
            self.note_ending(&mut operation, Ending::NotBegun);
            self.put(operation, Cancellation::default());
        }
        for started in intent.operations.values() {
            let asked = intent.asked.get(&started.operation);
            let asked = asked.cloned().unwrap_or_else(|| started.into());
            let switch = intent.switch_of(started.operation);
            let operation = Operation {
                state: State::Running,
                cancellable: false,
                switch: switch.as_ref().map(OpenSwitch::shown),
                ..Operation::asked(&asked)
            };
            self.put(operation, passed());
            self.hears(started.operation, Hearing::of(switch.as_ref()));
        }
        self.forget_oldest();
    }

    /// Queues an operation for a card, when one is known, and gives the engine's side of it. Its
    /// number is on the medium, so that it is never given to another one.
    ///
    /// # Errors
    ///
    /// `QueueFull` when [`QUEUE_LENGTH`] operations of this eUICC have not ended, `UnderWay` when one has
    /// not and this one is not to wait, `Unwritable` when its number cannot be kept.
    pub fn start(
        &self,
        euicc: &str,
        eid: Option<Eid>,
        kind: Kind,
        asked: Asked,
    ) -> Result<Ticket, OperationError> {
        let mut table = self.table();
        let open: Vec<OperationId> = table
            .entries
            .values()
            .map(|entry| entry.operation.borrow())
            .filter(|operation| operation.euicc == euicc && !operation.state.is_final())
            .map(|operation| operation.id)
            .collect();
        match open.first() {
            Some(holder) if !asked.may_wait => return Err(OperationError::UnderWay(*holder)),
            Some(holder) if open.len() >= QUEUE_LENGTH => {
                return Err(OperationError::QueueFull(*holder));
            }
            _ => {}
        }
        let id = table.last.0.checked_add(1).map(OperationId);
        let id = id.ok_or_else(|| {
            OperationError::Unwritable("the numbers of operations are used up".to_owned())
        })?;
        let Asked {
            client,
            lease,
            request,
            ..
        } = asked;
        let asked = AskedOperation {
            eid,
            request,
            by_itself: client.is_none(),
            client,
            at_s: self.shared.clock.unix_seconds(),
            ..AskedOperation::new(id, euicc, kind)
        };
        let operation = Operation::asked(&asked);
        self.announce(Record::OperationAsked(asked))?;
        table.last = id;
        self.publish(&operation);
        let cancellation = Cancellation::default();
        let entry = Entry {
            lease,
            ..Entry::of(operation, cancellation.clone())
        };
        table.entries.insert(id, entry);
        Ok(Ticket {
            id,
            operations: self.clone(),
            cancellation,
        })
    }

    /// The operation that was asked for, or told something, with this key.
    pub fn repeated(&self, request: &RequestKey) -> Result<Option<Operation>, OperationError> {
        let now = self.shared.clock.unix_seconds();
        match (self.shared.journal).look_now(now, |intent| intent.used_for(request)) {
            Some((id, false)) => Err(OperationError::KeyReused(id)),
            Some((id, true)) => self.find(id).map(Some),
            None => Ok(None),
        }
    }

    /// Keeps the key with which something was said to an operation. That is known at once; after a power
    /// cut it may not be, so that nothing may be said like this that must not be said twice.
    pub fn was_told(&self, id: OperationId, request: RequestKey) {
        let operation = id;
        let record = Record::OperationTold { operation, request };
        self.shared.journal.note(record);
    }

    /// The client that asked for an operation has come back by another connection: a question that is
    /// still to come is asked only while this one lasts.
    pub fn attended_by(&self, id: OperationId, lease: Option<Lease>) {
        if let Some(entry) = self.table().entries.get_mut(&id) {
            entry.lease = lease.filter(|_| !entry.operation.borrow().state.is_final());
        }
    }

    /// The card told how an operation ended that was cut off, in an earlier life of the daemon or in
    /// this one.
    pub fn restore(&self, operation: Operation) {
        let mut operation = self.as_known(operation);
        let ending = match operation.state {
            State::Succeeded => Ending::Succeeded,
            State::Cancelled => Ending::Cancelled,
            _ => Ending::Failed,
        };
        if let (Ending::Succeeded, Some(at_s)) = (ending, operation.finished_at_s) {
            operation.enter(Stage::Done, at_s);
        }
        self.note_ending(&mut operation, ending);
        self.put(operation, Cancellation::default());
        self.forget_oldest();
    }

    /// Another card is in the slot than the one an operation was begun on: how it ended is not known
    /// before that one is back, and the journal keeps it open until then.
    pub fn leave(&self, started: &StartedOperation) {
        // It has ended, or goes on behind another port, which has its card now.
        let goes_on = |entry: &Entry| entry.resumed || entry.operation.borrow().state.is_final();
        if (self.table().entries.get(&started.operation)).is_some_and(goes_on) {
            return;
        }
        let failure = JobFailure::Interrupted(Interruption::CardAway(started.eid));
        let ended = Operation {
            state: State::Failed,
            cancellable: false,
            failure: Some(Arc::new(failure)),
            finished_at_s: Some(self.shared.clock.unix_seconds()),
            ..Operation::new(started.operation, &started.euicc, started.kind)
        };
        self.put(self.as_known(ended), Cancellation::default());
    }

    /// Resumes an operation that was cut off; it runs from now on.
    pub(crate) fn resume(&self, operation: Operation) -> Ticket {
        let id = operation.id;
        let cancellation = passed();
        let switch = self.shared.journal.look(|intent| intent.switch_of(id));
        let operation = Operation {
            state: State::Running,
            stage: None,
            switch: switch.as_ref().map(OpenSwitch::shown),
            result: None,
            failure: None,
            finished_at_s: None,
            ..self.as_known(operation)
        };
        self.put(operation, cancellation.clone());
        self.hears(id, Hearing::of(switch.as_ref()));
        if let Some(entry) = self.table().entries.get_mut(&id) {
            entry.resumed = true;
        }
        Ticket {
            id,
            operations: self.clone(),
            cancellation,
        }
    }

    /// With what is known of how it was asked for, and of what it has done.
    fn as_known(&self, operation: Operation) -> Operation {
        let Ok(known) = self.find(operation.id) else {
            return operation;
        };
        Operation {
            client: known.client,
            by_itself: known.by_itself,
            created_at_s: known.created_at_s,
            stage: known.stage,
            stages: known.stages,
            progress: operation.progress.or(known.progress),
            ..operation
        }
    }

    /// Puts an operation into the history. One that is there already changes, and stays the same for
    /// those who watch it.
    fn put(&self, operation: Operation, cancellation: Cancellation) {
        let mut table = self.table();
        table.last = table.last.max(operation.id);
        match table.entries.get_mut(&operation.id) {
            Some(entry) => {
                entry.answer = None;
                entry.cancellation = cancellation;
                entry.operation.send_replace(operation.clone());
            }
            None => {
                let entry = Entry::of(operation.clone(), cancellation);
                table.entries.insert(operation.id, entry);
            }
        }
        drop(table);
        self.publish(&operation);
    }

    /// One operation.
    pub fn find(&self, id: OperationId) -> Result<Operation, OperationError> {
        self.forget_oldest();
        self.watch(id).map(|operation| operation.borrow().clone())
    }

    /// Every operation kept, oldest first.
    pub fn list(&self) -> Vec<Operation> {
        self.forget_oldest();
        self.table()
            .entries
            .values()
            .map(|entry| entry.operation.borrow().clone())
            .collect()
    }

    /// Waits until the operation has ended or asks something, but at most `longest`.
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
            let failure = Arc::new(JobFailure::Cancelled);
            self.end(id, Ending::Cancelled, Err(failure));
        }
        self.find(id)
    }

    /// The daemon ends: every operation stops that still can. Those that wait are never begun, and are
    /// told the same as after the next start.
    pub fn end_all(&self) {
        self.shared.is_ending.send_replace(true);
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
            let failure = JobFailure::Interrupted(Interruption::Queued);
            self.end(operation.id, Ending::NotBegun, Err(Arc::new(failure)));
        }
    }

    /// Resolves when no package is being loaded into this eUICC, or the card has taken nothing of it for
    /// as long as `stalled`.
    pub(crate) async fn loaded(&self, euicc: &str, stalled: Duration) {
        let loads = |operation: &Operation| {
            operation.state == State::Running && operation.stage == Some(Stage::Installing)
        };
        let mut all = self.list().into_iter();
        if let Some(operation) = all.find(|operation| operation.euicc == euicc && loads(operation))
            && let Ok(mut operation) = self.watch(operation.id)
        {
            while loads(&operation.borrow_and_update()) {
                // Of an operation that is forgotten nothing is loaded any more.
                let Ok(Ok(())) = timeout(stalled, operation.changed()).await else {
                    break;
                };
            }
        }
    }

    /// Answers an offer. The key that the answer came with is on the medium before it is given: another
    /// question may not be answered by it.
    pub fn answer(
        &self,
        id: OperationId,
        answer: Answer,
        request: Option<RequestKey>,
    ) -> Result<Operation, OperationError> {
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
        if entry.answer.as_ref().is_none_or(oneshot::Sender::is_closed) {
            return Err(OperationError::NotAsking(id));
        }
        if let Some(request) = request {
            let operation = id;
            self.announce(Record::OperationTold { operation, request })?;
        }
        entry.codes.extend(answer.confirmation_code.clone());
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

    /// Says that the new profile of a switch stays, or that the one before is to be used again. It is on
    /// the medium when this returns, and saying it again changes nothing.
    pub fn decide(&self, id: OperationId, verdict: Verdict) -> Result<Operation, OperationError> {
        let table = self.table();
        let entry = table.entries.get(&id);
        let entry = entry.ok_or(OperationError::Unknown(id))?;
        let operation = entry.operation.borrow().clone();
        let Hearing { said, heard } = *entry.hearing.borrow();
        match said {
            // The client may not have got the answer.
            Some(said) if said == verdict => return Ok(operation),
            _ if operation.state.is_final() => return Err(OperationError::Ended(id)),
            Some(said) => return Err(OperationError::Decided(id, said)),
            None if !heard.contains(&verdict) => return Err(OperationError::NotAsking(id)),
            None => {}
        }
        let journal = &self.shared.journal;
        if let Some(open) = journal.look(|intent| intent.switch_of(id)) {
            let decided = OpenSwitch {
                verdict: Some(verdict),
                ..open
            };
            let written = journal.append(Record::Switch(Box::new(decided)));
            written.map_err(|error| OperationError::Unwritable(error.to_string()))?;
        }
        let said = Some(verdict);
        entry.hearing.send_replace(Hearing { said, heard });
        Ok(operation)
    }

    fn hears(&self, id: OperationId, hearing: Hearing) {
        if let Some(entry) = self.table().entries.get(&id) {
            entry.hearing.send_replace(hearing);
        }
    }

    fn watch(&self, id: OperationId) -> Result<watch::Receiver<Operation>, OperationError> {
        let table = self.table();
        let entry = table.entries.get(&id).ok_or(OperationError::Unknown(id))?;
        Ok(entry.operation.subscribe())
    }

    /// Says what an operation waits for, or that it waits no longer.
    pub(crate) fn waits(&self, id: OperationId, waiting: Option<Waiting>) {
        self.change(id, |operation| operation.waiting = waiting);
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
            self.publish(&now);
        }
    }

    /// Writes what is about to be done.
    fn announce(&self, record: Record) -> Result<(), OperationError> {
        let written = self.shared.journal.append(record);
        written.map_err(|error| OperationError::Unwritable(error.to_string()))
    }

    /// Ends an operation, and writes that its outcome is known. One that has ended does not change.
    fn end(&self, id: OperationId, ending: Ending, outcome: Result<Achievement, Arc<JobFailure>>) {
        self.finish(id, State::of(ending), outcome, Some(ending));
    }

    /// Tells that an operation failed, and leaves it open in the journal.
    fn leave_open(&self, id: OperationId, failure: Arc<JobFailure>) {
        self.finish(id, State::Failed, Err(failure), None);
    }

    /// Writes that an operation's outcome is known, and what is told of it, from now on and after the next
    /// start in the same words. Without it the next start asks the card again, which may have been changed
    /// since.
    fn note_ending(&self, ended: &mut Operation, ending: Ending) {
        let codes = match self.table().entries.get(&ended.id) {
            Some(entry) => entry.codes.clone(),
            None => Vec::new(),
        };
        let words = |text: &str| in_few_words(text, &codes);
        if let Some(achieved) = &mut ended.result {
            let texts = achieved.profile_name.iter_mut();
            for text in texts.chain(&mut achieved.warnings) {
                *text = words(text);
            }
        }
        // What is told of any other ending follows from it.
        let failure = ended.failure.as_deref();
        let failure = failure.filter(|_| ending == Ending::Failed);
        let problem = failure.map(|failure| (self.shared.tell)(failure).reworded(words));
        if let Some(problem) = &problem {
            let told = JobFailure::FailedEarlier(Some(problem.clone()));
            ended.failure = Some(Arc::new(told));
        }
        let details = EndDetails {
            at_s: ended.finished_at_s,
            stage: ended.stage,
            stages: Some(ended.stages.clone()).filter(|stages| !stages.is_empty()),
            progress: ended.progress,
            switch: ended.switch.clone().map(Box::new),
            result: ended.result.clone(),
            problem,
        };
        self.shared.journal.note(Record::OperationFinished {
            operation: ended.id,
            ending: Some(ending),
            details,
        });
    }

    fn finish(
        &self,
        id: OperationId,
        state: State,
        outcome: Result<Achievement, Arc<JobFailure>>,
        ending: Option<Ending>,
    ) {
        let Ok(mut ended) = self.find(id) else {
            return;
        };
        if ended.state.is_final() {
            return;
        }
        ended.end(state, outcome, self.shared.clock.unix_seconds());
        if let Some(ending) = ending {
            self.note_ending(&mut ended, ending);
        }
        self.change(id, |operation| *operation = ended);
        if let Some(entry) = self.table().entries.get_mut(&id) {
            entry.lease = None;
        }
        self.forget_oldest();
    }

    fn publish(&self, operation: &Operation) {
        let change = Change::Operation(Box::new(operation.clone()));
        self.shared.events.publish(change);
    }

    /// What has ended is known as long as the journal knows it.
    fn forget_oldest(&self) {
        let now = self.shared.clock.unix_seconds();
        let mut table = self.table();
        let has_ended = |entry: &Entry| entry.operation.borrow().state.is_final();
        let ended = table.entries.iter().filter(|(_, entry)| has_ended(entry));
        let forgotten: Vec<OperationId> = self.shared.journal.look_now(now, |intent| {
            let ids = ended.map(|(id, _)| *id);
            ids.filter(|id| !intent.knows(*id)).collect()
        });
        for id in forgotten {
            table.entries.remove(&id);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of an operation that passed the point of no return in an earlier life of the daemon.
fn passed() -> Cancellation {
    let cancellation = Cancellation::default();
    // It was never cancelled.
    let _ = cancellation.commit();
    cancellation
}

/// How many operations of one eUICC may run and wait.
pub const QUEUE_LENGTH: usize = 8;
