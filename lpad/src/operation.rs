//! Long-running operations: they have a number, go on when the client leaves, can be watched,
//! answered and, until the point of no return, cancelled.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::api::problem::{Code, Problem};
use crate::clock::Clock;
use crate::events::{EventKind, Events};
use crate::secret::Secret;

/// An operation's number, counted from 1 and never given out twice.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, Hash,
)]
#[serde(into = "String", try_from = "String")]
pub struct OperationId(pub u64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for OperationId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl From<OperationId> for String {
    fn from(id: OperationId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for OperationId {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// What an operation does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Download and install a profile, SGP.22 v2.5 section 3.1.3.
    Download,
    /// Enable a profile, section 3.2.1.
    Enable,
    /// Disable a profile, section 3.2.2.
    Disable,
    /// Delete a profile, section 3.2.3.
    Delete,
    /// Give a profile a nickname, section 3.2.6.
    Rename,
    /// Store the default SM-DP+ address on the card, section 3.3.4.
    SetDefaultSmdp,
    /// Deliver pending notifications, section 3.5.
    DeliverNotifications,
    /// Erase profiles from the card, section 3.3.2.
    Reset,
}

impl Kind {
    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Delete => "delete",
            Self::Rename => "rename",
            Self::SetDefaultSmdp => "set-default-smdp",
            Self::DeliverNotifications => "deliver-notifications",
            Self::Reset => "reset",
        }
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

/// What an operation is doing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Opening the card and reaching the server.
    Initialising,
    /// Card and server prove who they are.
    Authenticating,
    /// Somebody has to accept the profile.
    AwaitingConsent,
    /// The card makes a key for this profile.
    Preparing,
    /// The server binds and sends the profile package.
    Downloading,
    /// The card takes the profile package in.
    Installing,
    /// Notifications are delivered.
    DeliveringNotifications,
    /// The profile is enabled.
    Enabling,
    /// The profile is disabled.
    Disabling,
    /// The profile is deleted.
    Deleting,
    /// A setting is written to the card.
    Writing,
    /// The modem is made to notice the change.
    RefreshingModem,
    /// The card is read again.
    ReadingCard,
    /// Nothing is left to do.
    Done,
}

impl Stage {
    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initialising => "initialising",
            Self::Authenticating => "authenticating",
            Self::AwaitingConsent => "awaiting-consent",
            Self::Preparing => "preparing",
            Self::Downloading => "downloading",
            Self::Installing => "installing",
            Self::DeliveringNotifications => "delivering-notifications",
            Self::Enabling => "enabling",
            Self::Disabling => "disabling",
            Self::Deleting => "deleting",
            Self::Writing => "writing",
            Self::RefreshingModem => "refreshing-modem",
            Self::ReadingCard => "reading-card",
            Self::Done => "done",
        }
    }
}

/// How much of the profile package the card has.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Progress {
    /// Bytes the card has taken.
    pub done: u64,
    /// Bytes of the whole package.
    pub total: u64,
}

impl Progress {
    /// Whole percent done.
    pub fn percent(self) -> u64 {
        (self.done * 100).checked_div(self.total).unwrap_or(0)
    }
}

/// A profile somebody has to accept before it is downloaded.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Offer {
    /// The profile's ICCID.
    pub iccid: String,
    /// Who provides the service.
    pub service_provider: String,
    /// The profile's name.
    pub profile_name: String,
    /// `operational`, `test` or `provisioning`.
    pub class: String,
    /// Profile policy rules by name; empty when the profile has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_rules: Vec<String>,
    /// Whether accepting means accepting the policy rules too.
    #[serde(default)]
    pub policy_consent_required: bool,
    /// Whether the server asks for a confirmation code and lpad has none.
    #[serde(default)]
    pub confirmation_code_required: bool,
}

/// Somebody's answer to an [`Offer`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The decision.
    pub answer: Decision,
    /// The confirmation code, when the offer asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation_code: Option<Secret>,
}

/// What somebody decided about an offer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Download it.
    Accept,
    /// Never download it; the order is used up.
    Decline,
    /// Not now; the order stays.
    Postpone,
}

/// What came of an offer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Somebody answered.
    Answered(Answer),
    /// The operation was cancelled.
    Cancelled,
    /// Nobody answered in time.
    TimedOut,
}

/// What an operation achieved.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Achievement {
    /// The profile it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iccid: Option<String>,
    /// That profile's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_name: Option<String>,
    /// Whether that profile is enabled now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Set when the server had nothing to download.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nothing_to_download: bool,
    /// Set when the card was as asked already.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nothing_to_change: bool,
    /// Notifications delivered.
    #[serde(default)]
    pub notifications_delivered: usize,
    /// Notifications that stay on the card until their recipient can be reached.
    #[serde(default)]
    pub notifications_pending: usize,
    /// What succeeded only in part, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
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
    cancel: watch::Sender<bool>,
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
        let cancel = watch::Sender::new(false);
        let cancelled = cancel.subscribe();
        let operation = watch::Sender::new(operation);
        table.entries.insert(
            id,
            Entry {
                operation,
                cancel,
                answer: None,
                request,
            },
        );
        Ok(Ticket {
            id,
            operations: self.clone(),
            cancelled,
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
        let mut table = self.table();
        table.last = table.last.max(operation.id);
        self.shared.events.publish(EventKind::Operation, &operation);
        let entry = Entry {
            cancel: watch::Sender::new(false),
            answer: None,
            request: None,
            operation: watch::Sender::new(operation.clone()),
        };
        table.entries.insert(operation.id, entry);
    }

    /// Takes an operation of an earlier life of the daemon up again; it runs from now on.
    pub(crate) fn resume(&self, operation: Operation) -> Ticket {
        let id = operation.id;
        let cancel = watch::Sender::new(false);
        let cancelled = cancel.subscribe();
        self.restore(Operation {
            state: State::Running,
            stage: None,
            result: None,
            finished_at_s: None,
            ..operation
        });
        if let Some(entry) = self.table().entries.get_mut(&id) {
            entry.cancel = cancel;
        }
        Ticket {
            id,
            operations: self.clone(),
            cancelled,
        }
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
            if !operation.cancellable {
                return Err(OperationError::PastPointOfNoReturn(id));
            }
            entry.cancel.send_replace(true);
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
        self.change(id, |operation| operation.state = State::Running);
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
        entry.operation.send_modify(change);
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
            operation.cancellable = false;
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

/// The engine's side of an operation. One that is dropped unfinished fails as interrupted.
#[derive(Debug)]
pub struct Ticket {
    id: OperationId,
    operations: Operations,
    cancelled: watch::Receiver<bool>,
}

impl Ticket {
    /// The operation's number.
    pub fn id(&self) -> OperationId {
        self.id
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
        self.operations
            .change(self.id, |operation| operation.stage = Some(stage));
    }

    /// Says how much of the package the card has.
    pub fn progress(&self, progress: Progress) {
        self.operations
            .change(self.id, |operation| operation.progress = Some(progress));
    }

    /// From here on it can no longer be cancelled. `false`: somebody did, just before.
    pub fn point_of_no_return(&self) -> bool {
        self.operations
            .change(self.id, |operation| operation.cancellable = false);
        !self.is_cancelled()
    }

    /// Whether somebody asked it to stop.
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Resolves when somebody asks it to stop.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn cancelled(&self) {
        let mut cancelled = self.cancelled.clone();
        if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
            // The operation is forgotten, so nobody can cancel it.
            std::future::pending::<()>().await;
        }
    }

    /// Shows a profile and waits for somebody's answer, but at most `longest`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the operation asking; the next stage ends that.
    pub async fn ask(&self, offer: Offer, longest: Duration) -> Reply {
        let (sender, answer) = oneshot::channel();
        if let Some(entry) = self.operations.table().entries.get_mut(&self.id) {
            entry.answer = Some(sender);
        }
        self.stage(Stage::AwaitingConsent);
        self.operations.change(self.id, |operation| {
            operation.offer = Some(offer);
            operation.state = State::AwaitingAnswer;
        });
        let reply = tokio::select! {
            biased;
            () = self.cancelled() => Reply::Cancelled,
            answer = timeout(longest, answer) => match answer {
                Ok(Ok(answer)) => Reply::Answered(answer),
                Ok(Err(_)) | Err(_) => Reply::TimedOut,
            },
        };
        self.operations.change(self.id, |operation| {
            operation.offer = None;
            operation.state = State::Running;
        });
        reply
    }

    /// Ends it well.
    pub fn succeed(self, result: Achievement) {
        tracing::info!(operation = %self.id, "succeeded");
        self.operations
            .finish(self.id, State::Succeeded, Some(result), None);
    }

    /// Ends it with a problem; a problem that says `cancelled` ends it as cancelled.
    pub fn fail(self, problem: Problem) {
        let state = match problem.code {
            Code::Cancelled => State::Cancelled,
            _ => State::Failed,
        };
        tracing::warn!(operation = %self.id, "{problem}");
        self.operations.finish(self.id, state, None, Some(problem));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Does nothing after `succeed` or `fail`: an operation that has ended does not change.
        let problem = Problem::new(Code::Interrupted);
        self.operations
            .finish(self.id, State::Failed, None, Some(problem));
    }
}

/// How many operations of one eUICC may run and wait.
pub const QUEUE_LENGTH: usize = 8;
/// How many ended operations are kept.
pub const HISTORY_KEPT: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn operations() -> Operations {
        Operations::new(Events::new(1), Clock::system(), OperationId(0))
    }

    fn offer(confirmation_code_required: bool) -> Offer {
        Offer {
            confirmation_code_required,
            ..Offer::default()
        }
    }

    fn accept(code: Option<&str>) -> Answer {
        Answer {
            answer: Decision::Accept,
            confirmation_code: code.map(Secret::new),
        }
    }

    #[tokio::test]
    async fn an_operation_goes_from_queued_to_succeeded() {
        let operations = operations();
        let ticket = operations.start("default", Kind::Enable, None).unwrap();
        let id = ticket.id();
        assert_eq!(operations.find(id).unwrap().state, State::Queued);
        assert!(ticket.begin());
        ticket.stage(Stage::Enabling);
        assert_eq!(operations.find(id).unwrap().stage, Some(Stage::Enabling));
        ticket.succeed(Achievement::default());
        let ended = operations.wait(id, Duration::from_secs(60)).await.unwrap();
        assert_eq!(
            (ended.state, ended.stage),
            (State::Succeeded, Some(Stage::Done))
        );
        assert!(ended.finished_at_s.is_some());
    }

    #[tokio::test]
    async fn a_ticket_that_is_dropped_ends_the_operation_as_interrupted() {
        let operations = operations();
        let ticket = operations.start("default", Kind::Enable, None).unwrap();
        let id = ticket.id();
        drop(ticket);
        let ended = operations.find(id).unwrap();
        assert_eq!(ended.problem.unwrap().code, Code::Interrupted);
    }

    #[tokio::test]
    async fn a_queued_operation_is_cancelled_at_once_and_never_begins() {
        let operations = operations();
        let ticket = operations.start("default", Kind::Enable, None).unwrap();
        assert_eq!(
            operations.cancel(ticket.id()).unwrap().state,
            State::Cancelled
        );
        assert!(!ticket.begin());
        assert_eq!(
            operations.cancel(ticket.id()),
            Err(OperationError::Ended(ticket.id()))
        );
    }

    #[tokio::test]
    async fn a_running_operation_hears_that_it_is_cancelled() {
        let operations = operations();
        let ticket = operations.start("default", Kind::Download, None).unwrap();
        ticket.begin();
        assert_eq!(
            operations.cancel(ticket.id()).unwrap().state,
            State::Running
        );
        ticket.cancelled().await;
        assert!(!ticket.point_of_no_return());
        let id = ticket.id();
        ticket.fail(Problem::new(Code::Cancelled));
        assert_eq!(operations.find(id).unwrap().state, State::Cancelled);
    }

    #[tokio::test]
    async fn past_the_point_of_no_return_it_can_no_longer_be_cancelled() {
        let operations = operations();
        let ticket = operations.start("default", Kind::Download, None).unwrap();
        ticket.begin();
        assert!(ticket.point_of_no_return());
        let refused = operations.cancel(ticket.id()).unwrap_err();
        assert_eq!(refused, OperationError::PastPointOfNoReturn(ticket.id()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_offer_waits_for_its_answer_and_wants_the_code_with_it() {
        let operations = operations();
        let ticket = operations.start("default", Kind::Download, None).unwrap();
        let id = ticket.id();
        ticket.begin();
        let asking =
            tokio::spawn(async move { ticket.ask(offer(true), Duration::from_secs(300)).await });
        let asked = operations.wait(id, Duration::from_secs(1)).await.unwrap();
        assert_eq!(asked.state, State::AwaitingAnswer);
        assert!(asked.offer.unwrap().confirmation_code_required);
        let refused = operations.answer(id, accept(None)).unwrap_err();
        assert_eq!(refused, OperationError::CodeMissing(id));
        operations.answer(id, accept(Some("1234"))).unwrap();
        assert_eq!(asking.await.unwrap(), Reply::Answered(accept(Some("1234"))));
        let refused = operations.answer(id, accept(None)).unwrap_err();
        assert_eq!(refused, OperationError::NotAsking(id));
    }

    #[tokio::test(start_paused = true)]
    async fn an_offer_nobody_answers_times_out() {
        let operations = operations();
        let ticket = operations.start("default", Kind::Download, None).unwrap();
        ticket.begin();
        let reply = ticket.ask(offer(false), Duration::from_secs(300)).await;
        assert_eq!(reply, Reply::TimedOut);
    }

    #[tokio::test]
    async fn the_queue_of_an_euicc_is_bounded_and_names_its_holder() {
        let operations = operations();
        let tickets: Vec<Ticket> = (0..QUEUE_LENGTH)
            .map(|_| operations.start("default", Kind::Enable, None).unwrap())
            .collect();
        let refused = operations.start("default", Kind::Enable, None).unwrap_err();
        assert_eq!(refused, OperationError::QueueFull(tickets[0].id()));
        assert!(operations.start("other", Kind::Enable, None).is_ok());
    }

    #[tokio::test]
    async fn a_repeated_request_finds_the_operation_it_started() {
        let operations = operations();
        let request = RequestKey {
            key: "k".into(),
            digest: [1; 32],
        };
        assert_eq!(operations.repeated(&request), Ok(None));
        let ticket = operations
            .start("default", Kind::Enable, Some(request.clone()))
            .unwrap();
        let found = operations.repeated(&request).unwrap().unwrap();
        assert_eq!(found.id, ticket.id());
        let other = RequestKey {
            digest: [2; 32],
            ..request
        };
        assert_eq!(
            operations.repeated(&other),
            Err(OperationError::KeyReused(ticket.id()))
        );
    }

    #[tokio::test]
    async fn only_the_latest_operations_are_kept() {
        let operations = operations();
        for _ in 0..HISTORY_KEPT + 3 {
            operations
                .start("default", Kind::Enable, None)
                .unwrap()
                .succeed(Achievement::default());
        }
        assert_eq!(operations.list().len(), HISTORY_KEPT);
        assert_eq!(
            operations.find(OperationId(3)),
            Err(OperationError::Unknown(OperationId(3)))
        );
    }

    #[tokio::test]
    async fn bytes_are_events_only_once_per_percent() {
        let events = Events::new(1);
        let operations = Operations::new(events.clone(), Clock::system(), OperationId(0));
        let mut follower = events.follow(Some(0));
        let ticket = operations.start("default", Kind::Download, None).unwrap();
        for done in 0..=10_000 {
            ticket.progress(Progress {
                done,
                total: 10_000,
            });
        }
        drop(ticket);
        let mut count = 0;
        loop {
            let event = follower.next().await.unwrap();
            count += 1;
            if event.data["state"] == "failed" {
                break;
            }
        }
        assert_eq!(count, 1 + 101 + 1);
    }
}
