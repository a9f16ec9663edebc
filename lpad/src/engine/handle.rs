//! How the rest of the daemon talks to an eUICC's engine.

use std::time::Duration;

use es9_client::ServerAddress;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::activation_code::ActivationCode;
use crate::operation::{Kind, Operation, OperationError, Operations, RequestKey, Ticket};
use crate::secret::Secret;
use crate::snapshot::Snapshot;

/// What an engine can be asked to do.
#[derive(Clone, Debug)]
pub enum Job {
    /// Download a profile.
    Download(Download),
    /// Enable the profile with this ICCID; a success when it is enabled already.
    Enable(String),
    /// Disable the profile with this ICCID; a success when it is disabled already.
    Disable(String),
    /// Delete the disabled profile with this ICCID.
    Delete(String),
    /// Give the profile a nickname; an empty one removes it.
    Rename {
        /// The profile's ICCID.
        iccid: String,
        /// The nickname.
        nickname: String,
    },
    /// Store the default SM-DP+ address on the card; an empty one removes it.
    SetDefaultSmdp(String),
    /// Deliver what waits, now.
    DeliverNotifications,
    /// Erase profiles.
    Reset(ResetScope),
}

impl Job {
    /// The kind of operation it becomes.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Download(_) => Kind::Download,
            Self::Enable(_) => Kind::Enable,
            Self::Disable(_) => Kind::Disable,
            Self::Delete(_) => Kind::Delete,
            Self::Rename { .. } => Kind::Rename,
            Self::SetDefaultSmdp(_) => Kind::SetDefaultSmdp,
            Self::DeliverNotifications => Kind::DeliverNotifications,
            Self::Reset(_) => Kind::Reset,
        }
    }
}

/// A profile to download.
#[derive(Clone, Debug)]
pub struct Download {
    /// Where it is.
    pub source: DownloadSource,
    /// The confirmation code, when somebody gave one.
    pub confirmation_code: Option<Secret>,
    /// Whether somebody is asked before it is downloaded.
    pub consent: Consent,
    /// Whether it is enabled afterwards.
    pub enable: bool,
}

/// Where a profile to download is.
#[derive(Clone, Debug)]
pub enum DownloadSource {
    /// As an activation code says.
    ActivationCode(ActivationCode),
    /// At the default SM-DP+ stored on the card.
    DefaultSmdp,
    /// At this SM-DP+, under the card's EID.
    Smdp(ServerAddress),
}

/// Whether somebody is asked before a profile is downloaded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// Show the profile and wait for an answer.
    #[default]
    Ask,
    /// Accept it.
    Accept,
}

/// What a reset erases, SGP.22 v2.5 section 5.7.19, tag BF34.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResetScope {
    /// Operational profiles.
    pub operational_profiles: bool,
    /// Test profiles that were loaded later.
    pub test_profiles: bool,
    /// The default SM-DP+ address.
    pub default_smdp: bool,
}

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
        let (commands, queue) = mpsc::channel(4 * crate::operation::QUEUE_LENGTH);
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
        let ticket = self.operations.start(&self.name, job.kind(), request)?;
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
