//! How the rest of the daemon talks to an eUICC's engine.

use std::time::Duration;

use es10_apdu::types::Eid;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::job::Job;
use crate::memory::examination::Examination;
use crate::memory::operations::{
    Asked, Operation, OperationError, Operations, QUEUE_LENGTH, Ticket,
};
use crate::memory::snapshot::{Shown, Snapshot};

/// A job, and the card it is for.
#[derive(Debug)]
pub(crate) struct Work {
    pub(super) job: Job,
    pub(super) ticket: Ticket,
    /// The card the client saw when it asked; `None` when none had been read yet.
    pub(super) eid: Option<Eid>,
}

/// The engine's ends of its handle.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(super) work: mpsc::Receiver<Work>,
    /// How many clients wait for a fresh reading.
    pub(super) readers: watch::Receiver<usize>,
    /// Who wants the way to the card examined.
    pub(super) examiners: mpsc::Receiver<oneshot::Sender<Examination>>,
}

/// The side of an engine that is held by the API and by the other parts of the daemon.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    name: String,
    operations: Operations,
    work: mpsc::Sender<Work>,
    readers: watch::Sender<usize>,
    examiners: mpsc::Sender<oneshot::Sender<Examination>>,
    snapshot: watch::Receiver<Snapshot>,
}

impl EngineHandle {
    /// A handle and the engine's ends of it.
    pub(crate) fn new(
        name: &str,
        operations: Operations,
        snapshot: watch::Receiver<Snapshot>,
    ) -> (Self, Inbox) {
        // Operations are bounded by their registry, so that this queue never is full.
        let (work, queue) = mpsc::channel(QUEUE_LENGTH);
        let readers = watch::Sender::new(0);
        let (examiners, waiting) = mpsc::channel(EXAMINERS);
        let inbox = Inbox {
            work: queue,
            readers: readers.subscribe(),
            examiners: waiting,
        };
        let handle = Self {
            name: name.to_owned(),
            operations,
            work,
            readers,
            examiners,
            snapshot,
        };
        (handle, inbox)
    }

    /// The eUICC's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Follows what is known.
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.clone()
    }

    /// Queues an operation for the card that is known now.
    ///
    /// # Errors
    ///
    /// When too many wait already, or it was not to wait.
    pub fn start(&self, job: Job, asked: Asked) -> Result<Operation, OperationError> {
        let eid = self.snapshot.borrow().euicc.eid;
        let ticket = self.operations.start(&self.name, eid, job.kind(), asked)?;
        let id = ticket.id();
        if let Err(refused) = self.work.try_send(Work { job, ticket, eid }) {
            // The engine has ended. Dropping the ticket ends the operation as interrupted.
            drop(refused);
        }
        self.operations.find(id)
    }

    /// What is known, read from the card first unless that was done just now, or the card is busy or
    /// away: a client never waits for a card that is not there, but at the start of the daemon until
    /// that has shown.
    ///
    /// # Cancel safety
    ///
    /// The reading goes on when the future is dropped.
    pub async fn fresh(&self) -> Snapshot {
        let cannot_wait = |known: &Snapshot| {
            known.euicc.busy_with.is_some()
                || matches!(known.euicc.state, Shown::Unavailable { .. })
        };
        let known = self.snapshot();
        if known.is_fresh() || cannot_wait(&known) {
            return known;
        }
        let asked = Instant::now();
        let mut snapshot = self.snapshot.clone();
        let _waits = Reader::of(&self.readers);
        let read = snapshot.wait_for(|known| {
            cannot_wait(known) || known.read_at.is_some_and(|read_at| read_at >= asked)
        });
        // After the deadline what is known must do.
        let _ = timeout(READ_DEADLINE, read).await;
        self.snapshot()
    }

    /// Examines the way to the card, once nothing else uses it; `None` when that does not come about in
    /// time, or too many wait for it already.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the examination ends, and closes the channel it has open.
    pub async fn examine(&self) -> Option<Examination> {
        let (asked, answer) = oneshot::channel();
        self.examiners.try_send(asked).ok()?;
        timeout(EXAMINE_DEADLINE, answer).await.ok()?.ok()
    }
}

/// A client that waits for a fresh reading; when it is dropped, one less waits.
#[derive(Debug)]
struct Reader<'r>(&'r watch::Sender<usize>);

impl<'r> Reader<'r> {
    fn of(readers: &'r watch::Sender<usize>) -> Self {
        readers.send_modify(|waiting| *waiting += 1);
        Self(readers)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

/// Examinations that may wait for the engine.
const EXAMINERS: usize = 4;
/// How long one waits for it: a little longer than it takes.
const EXAMINE_DEADLINE: Duration = Duration::from_secs(90);
/// How long a reader waits for the card.
const READ_DEADLINE: Duration = Duration::from_secs(30);
