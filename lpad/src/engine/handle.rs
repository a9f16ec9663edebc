//! How the rest of the daemon talks to an eUICC's engine.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::job::Job;
use crate::memory::journal::RequestKey;
use crate::memory::operations::{Operation, OperationError, Operations, Ticket};
use crate::memory::snapshot::Snapshot;

/// What reaches an engine's queue.
#[derive(Debug)]
pub(crate) enum Command {
    /// Carry out an operation.
    Run(Job, Ticket),
    /// Read the card, then drop the sender.
    Read(oneshot::Sender<()>),
}

/// The side of an engine that is held by the API and by the other parts of the daemon.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    name: String,
    operations: Operations,
    commands: mpsc::Sender<Command>,
    snapshot: watch::Receiver<Snapshot>,
}

impl EngineHandle {
    /// A handle and the engine's ends of it.
    pub(crate) fn new(
        name: &str,
        operations: Operations,
        snapshot: watch::Receiver<Snapshot>,
    ) -> (Self, mpsc::Receiver<Command>) {
        // Operations are bounded by their own queue; the rest is for readers.
        let (commands, queue) = mpsc::channel(4 * crate::memory::operations::QUEUE_LENGTH);
        (
            Self {
                name: name.to_owned(),
                operations,
                commands,
                snapshot,
            },
            queue,
        )
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

    /// Queues an operation.
    ///
    /// # Errors
    ///
    /// When too many wait already, or the request's key was used for something else.
    pub fn start(
        &self,
        job: Job,
        request: Option<RequestKey>,
    ) -> Result<Operation, OperationError> {
        if let Some(request) = &request
            && let Some(operation) = self.operations.repeated(request)?
        {
            return Ok(operation);
        }
        let eid = self.snapshot().euicc.eid.and_then(|eid| eid.parse().ok());
        let ticket = self
            .operations
            .start(&self.name, eid, job.kind(), request)?;
        let id = ticket.id();
        if let Err(refused) = self.commands.try_send(Command::Run(job, ticket)) {
            // Dropping the ticket ends the operation as interrupted.
            drop(refused);
        }
        self.operations.find(id)
    }

    /// What is known, read from the card first unless that was done just now or the card is busy.
    ///
    /// # Cancel safety
    ///
    /// The reading goes on when the future is dropped.
    pub async fn fresh(&self) -> Snapshot {
        let known = self.snapshot();
        if known.is_fresh() || known.euicc.busy_with.is_some() {
            return known;
        }
        let (done, read) = oneshot::channel();
        if self.commands.try_send(Command::Read(done)).is_ok() {
            let mut snapshot = self.snapshot.clone();
            let read_or_busy = async {
                tokio::select! {
                    _ = read => {}
                    _ = snapshot.wait_for(|known| known.euicc.busy_with.is_some()) => {}
                }
            };
            // After the deadline what is known must do.
            let _ = timeout(READ_DEADLINE, read_or_busy).await;
        }
        self.snapshot()
    }
}

/// How long a reader waits for the card.
const READ_DEADLINE: Duration = Duration::from_secs(30);
