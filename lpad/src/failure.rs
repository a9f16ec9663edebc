//! Why a job failed, by fault.
//!
//! A [`JobFailure`] travels up unchanged and is kept as it is. Decisions are taken on it and on nothing
//! else; what people read is made of it at the edge, by [`Problem`](crate::problem::Problem).

use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use es9_client::{AddressError, NextStep, ServerAddress};
use es10_apdu::apdu::StatusWord;
use es10_apdu::channel::OpenError;
use es10_apdu::es10b::{
    AuthenticateErrorCode, CancelSessionReason, DownloadErrorCode, ErrorReason,
};
use es10_apdu::isdr::CallError;
use es10_apdu::transport::{Fault, Outcome, TransportError};
use es10_apdu::types::{Eid, Iccid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::commit::Cancelled;
use crate::job::{OperationId, Outcome as SwitchOutcome, Part, Tried};
use crate::procedure::FunctionError;
use crate::procedure::download::{DownloadError, Failure, SessionEnd};
use crate::secret::shorten_numbers;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobFailure {
    // Ended on purpose.
    /// A client cancelled it before anything was changed.
    #[error("the operation was cancelled")]
    Cancelled,
    /// Asked for whatever it has for this EID, the server has nothing.
    #[error("{0}")]
    NothingToDownload(DownloadError),

    // The request does not fit the card.
    /// No such profile.
    #[error("no profile {0} is on the card")]
    UnknownProfile(Iccid),
    /// The card has no such notification.
    #[error("there is no notification with number {0} on the card")]
    UnknownNotification(i64),
    /// The profile on offer is there already; the order stays.
    #[error("the profile {0} is installed already")]
    ProfileInstalled(Iccid),
    /// Neither configuration nor card names a default SM-DP+.
    #[error("no default SM-DP+ is known")]
    NoDefaultSmdp,
    /// The configuration does not allow profiles of this server.
    #[error("the configuration does not allow that profiles are downloaded from {0}")]
    SmdpNotAllowed(ServerAddress),
    /// The default SM-DP+ on the card is no address.
    #[error("the card holds the address {text:?}: {error}")]
    StoredAddress {
        /// What the card holds.
        text: String,
        /// Why it is no address.
        error: AddressError,
    },
    /// Another card is in the slot than the one the work is for; nothing was sent to it.
    #[error("this was for the eUICC {wanted}, but {found} is in the slot")]
    OtherCard {
        /// The card the work is for.
        wanted: Eid,
        /// The card that answers.
        found: Eid,
    },
    /// Without an enabled profile the modem would pass nothing on to the card any more.
    #[error("this modem passes nothing on to a card without an enabled profile")]
    LastProfile,

    // The way to the card.
    /// The modem's port.
    #[error(transparent)]
    Port(#[from] PortFailure),
    /// The modem refused to open a session, or to pass on MANAGE CHANNEL or SELECT.
    #[error("{error}")]
    ModemRefusedChannel {
        /// What it said.
        error: TransportError,
        /// What helps on this modem, when that is known.
        hint: Option<String>,
    },
    /// The card gives no logical channel.
    #[error("{0}")]
    CardRefusedChannel(OpenError),
    /// The card has no ISD-R, so that it is no eUICC.
    #[error("the ISD-R cannot be selected: {sw}")]
    NoIsdr {
        /// What the card, or the modem in its place, said.
        sw: StatusWord,
        /// What helps on this modem, when that is known.
        hint: Option<String>,
    },

    // The card.
    /// A function was refused, not reached, or its answer is lost.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// The job needs a part of the card that cannot be read.
    #[error("the card's {part} cannot be read: {because}")]
    PartUnknown {
        /// The part.
        part: Part,
        /// Why it cannot be read.
        because: Arc<Self>,
    },
    /// The switch was accepted, and did not happen.
    #[error("{0}")]
    NotSwitched(Holdout),

    /// The profile got no service; what became of it.
    #[error("{0}")]
    NoService(Box<Returned>),
    /// It would leave the box without a profile that it can use.
    #[error("{0}")]
    WouldStrand(Guard),

    /// Another operation changes the profile in use, and it is not known yet how that ended.
    #[error("it is not known yet how operation {0} ended, which changes the profile in use")]
    Behind(OperationId),

    /// The answer was lost, and the card, read since, is not as was asked.
    #[error("the answer was lost ({}), and the card was read since: this was not done", fault(.0))]
    NotDone(Arc<Self>),

    // A download.
    /// Server, card or person ended it.
    #[error("{0}")]
    Download(DownloadError),
    /// The installation was cut off, and the card does not have the profile.
    #[error("the installation was cut off, and the card does not have the profile{}", because(.0))]
    CutOff(Option<Arc<Self>>),

    // Here.
    /// The journal cannot be written, so nothing was begun.
    #[error("the journal cannot be written: {0}")]
    Journal(io::Error),
    /// The daemon ended.
    #[error("{0}")]
    Interrupted(Interruption),
    /// It has ended, and this was told of it; nothing when an older lpad kept no reasons.
    #[error("this failed before lpad was restarted{}", detail(.0))]
    FailedEarlier(Option<Told>),

    // Not known yet: the journal keeps the operation open.
    /// Of a download: what was lost when its profile, which is installed, was to be enabled.
    #[error("{0}")]
    NotEnabled(Arc<Self>),
    /// The answer is lost, and the card could not be asked since.
    #[error("{lost}")]
    InDoubt {
        /// What was lost.
        lost: Arc<Self>,
        /// Why the card cannot be asked.
        since: Option<Arc<Self>>,
    },
}

/// What was told of a failure, as the journal keeps it until it is told again. Nothing is decided on it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Told(pub Map<String, Value>);

impl Told {
    /// The sentence that says what went wrong.
    pub fn detail(&self) -> Option<&str> {
        self.0.get("detail")?.as_str()
    }

    /// The same with each text for people changed.
    pub(crate) fn reworded(self, words: impl Fn(&str) -> String) -> Self {
        let mut told = Value::Object(self.0);
        reword(&mut told, &words);
        match told {
            Value::Object(told) => Self(told),
            _ => Self::default(),
        }
    }
}

fn reword(value: &mut Value, words: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = words(text),
        Value::Object(members) => members
            .iter_mut()
            .filter(|(name, _)| !FOR_PROGRAMS.contains(&name.as_str()))
            .for_each(|(_, member)| reword(member, words)),
        _ => {}
    }
}

/// Members that are one of a few words.
const FOR_PROGRAMS: [&str; 2] = ["code", "code_consumed"];

/// Why the modem's port cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortFailure {
    /// It cannot be opened.
    #[error("{0}")]
    Open(io::Error),
    /// Not even `AT` is answered.
    #[error("nothing answers AT on {} at {baud} baud", port.display())]
    Silent {
        /// The port.
        port: PathBuf,
        /// The rate it was opened with.
        baud: u32,
    },
    /// It was not tried yet.
    #[error("the card has not been read yet")]
    NotYet,
    /// It was there, and is gone.
    #[error("the port is gone")]
    Gone,
    /// A command did not come through.
    #[error("the modem cannot be used: {0}")]
    Lost(TransportError),
}

/// Which of the two kept the old profile after a switch that was accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Holdout {
    /// The card's profile list says the same as before.
    #[error("the card answered ok, but its profile list did not change")]
    Card,
    /// The card switched; the modem still uses the old profile.
    #[error("the card switched, but the modem still uses the old profile")]
    Modem,
}

/// What became of a switch to a profile that got no service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Returned {
    /// How it ended.
    pub outcome: SwitchOutcome,
    /// What was tried, and why it was given up.
    pub failed: Vec<Tried>,
    /// The profile in use now.
    pub on: Iccid,
    /// Whether that one is known to be in service.
    pub is_proven: bool,
    /// What did not go well on the way.
    pub warnings: Vec<String>,
    /// What helps on this modem, when that is known.
    pub hint: Option<String>,
}

impl Returned {
    /// With this profile in use.
    pub(crate) fn to(
        on: Iccid,
        outcome: SwitchOutcome,
        is_proven: bool,
        warnings: Vec<String>,
    ) -> Self {
        Self {
            outcome,
            failed: Vec::new(),
            on,
            is_proven,
            warnings,
            hint: None,
        }
    }
}

/// A sentence without its end, and those that follow.
impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, tried) in self.failed.iter().enumerate() {
            let before = if index == 0 { "" } else { "; " };
            write!(f, "{before}{tried}")?;
        }
        let now = match (self.outcome, self.is_proven) {
            (SwitchOutcome::Stranded, _) => "is enabled, without service",
            (SwitchOutcome::Reverted, true) => "is in service again",
            (SwitchOutcome::Reverted, false) => "is in use again",
            (_, true) => "is in service",
            (_, false) => "is in use",
        };
        write!(f, "; {} {now}", self.on)?;
        for warning in &self.warnings {
            write!(f, ". {}", warning.trim_end_matches('.'))?;
        }
        Ok(())
    }
}

/// Why a profile is not switched off or deleted, or a notification not removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Guard {
    /// It is the one in use.
    #[error("this profile is in use: without it the box has no network")]
    InUse,
    /// There is no other operational one.
    #[error("this is the last operational profile on the card")]
    Last,
    /// The configuration says so.
    #[error("the configuration says that this profile is to be kept")]
    Kept,
    /// It could not be disabled again.
    #[error("the profile's rules (PPR1) do not allow that it is ever disabled")]
    NoWayBack,
    /// Its recipient has not got it.
    #[error("this notification was not delivered, and its recipient would never hear of it")]
    Undelivered,
}

/// How far an operation was when the daemon ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Interruption {
    /// It waited.
    #[error("lpad was stopped before this was begun; nothing was done")]
    Queued,
    /// The profile package had not been sent.
    #[error("lpad was stopped before the profile was sent to the card")]
    BeforeLoading,
    /// It was under way; what it should change is as it was.
    #[error("lpad was stopped while this was under way")]
    Running,
    /// It was under way on a card that is not in the slot any more, and only that card can tell.
    #[error("lpad was stopped while this was under way on the card{}, and another one is in the slot", number(.0))]
    CardAway(Option<Eid>),
}

impl JobFailure {
    /// Something was lost, and the card could not be asked since.
    pub(crate) fn in_doubt(lost: impl Into<Arc<Self>>, since: Option<Self>) -> Self {
        Self::InDoubt {
            lost: lost.into(),
            since: since.map(Arc::new),
        }
    }

    /// Adds what helps on this modem, when the card's ISD-R cannot be reached through it.
    pub(crate) fn with_hint(mut self, known: &str) -> Self {
        if let Self::ModemRefusedChannel { hint, .. } | Self::NoIsdr { hint, .. } = &mut self
            && !known.is_empty()
        {
            *hint = Some(known.to_owned());
        }
        self
    }

    /// As a log may hold it: EID and ICCID shortened.
    pub(crate) fn shortened(&self) -> String {
        shorten_numbers(&self.to_string())
    }

    /// What the card has done of what was asked.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Function(error) => error.outcome(),
            Self::Port(PortFailure::Lost(error)) => error.outcome(),
            Self::Port(_) | Self::ModemRefusedChannel { .. } | Self::Journal(_) => {
                Outcome::NotReached
            }
            Self::InDoubt { .. } => Outcome::Unknown,
            Self::Download(error) => match error.session {
                SessionEnd::InDoubt(_) => Outcome::Unknown,
                _ => Outcome::Refused,
            },
            _ => Outcome::Refused,
        }
    }

    /// Whether the card has to be opened and read again before it is used.
    pub fn loses_card(&self) -> bool {
        match self {
            Self::OtherCard { .. }
            | Self::Port(_)
            | Self::ModemRefusedChannel { .. }
            | Self::CardRefusedChannel(_)
            | Self::NoIsdr { .. } => true,
            Self::Function(error) => error.loses_card(),
            Self::Download(error) | Self::NothingToDownload(error) => match &error.failure {
                Failure::Card(error) => error.loses_card(),
                _ => false,
            },
            Self::InDoubt { lost, since } => {
                since.as_ref().is_some_and(|since| since.loses_card()) || lost.loses_card()
            }
            Self::PartUnknown { because, .. } | Self::NotEnabled(because) => because.loses_card(),
            Self::Cancelled
            | Self::UnknownProfile(_)
            | Self::UnknownNotification(_)
            | Self::ProfileInstalled(_)
            | Self::NoDefaultSmdp
            | Self::StoredAddress { .. }
            | Self::SmdpNotAllowed(_)
            | Self::NotSwitched(_)
            | Self::NoService(_)
            | Self::WouldStrand(_)
            | Self::LastProfile
            | Self::Behind(_)
            | Self::NotDone(_)
            | Self::CutOff(_)
            | Self::Journal(_)
            | Self::Interrupted(_)
            | Self::FailedEarlier(_) => false,
        }
    }

    /// Whether a server was not reached for want of a network, or of the time: either may come.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Download(error) => match &error.failure {
                Failure::Server(error) => error.is_local(),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether it is not known yet what the card did, so that the journal keeps the operation.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::InDoubt { .. })
    }

    /// Whether a download by itself need not be tried again: trouble that may pass (clock, network,
    /// modem, a server's bad hour) ends no order, only what the order cannot survive does.
    pub fn ends_order(&self) -> bool {
        match self {
            Self::ProfileInstalled(_) | Self::StoredAddress { .. } => true,
            Self::Download(error) => download_ends_order(&error.failure),
            Self::Cancelled
            | Self::NothingToDownload(_)
            | Self::SmdpNotAllowed(_)
            | Self::NoDefaultSmdp
            | Self::UnknownProfile(_)
            | Self::UnknownNotification(_)
            | Self::OtherCard { .. }
            | Self::Port(_)
            | Self::ModemRefusedChannel { .. }
            | Self::CardRefusedChannel(_)
            | Self::NoIsdr { .. }
            | Self::Function(_)
            | Self::PartUnknown { .. }
            | Self::NotSwitched(_)
            | Self::NoService(_)
            | Self::WouldStrand(_)
            | Self::LastProfile
            | Self::Behind(_)
            | Self::NotDone(_)
            | Self::CutOff(_)
            | Self::Journal(_)
            | Self::Interrupted(_)
            | Self::FailedEarlier(_)
            | Self::NotEnabled(_)
            | Self::InDoubt { .. } => false,
        }
    }

    /// Whether the order wants another confirmation code than it was given.
    pub fn wants_confirmation_code(&self) -> bool {
        let Self::Download(error) = self else {
            return false;
        };
        match &error.failure {
            Failure::Server(error) => error.next_step() == NextStep::EnterConfirmationCode,
            Failure::ConfirmationCodeRequired => true,
            _ => false,
        }
    }
}

fn download_ends_order(failure: &Failure) -> bool {
    match failure {
        Failure::Server(error) => matches!(
            error.next_step(),
            NextStep::AskOperatorForNewCode
                | NextStep::CheckActivationCode
                // Another wrong code would bring the order closer to its limit.
                | NextStep::EnterConfirmationCode
                | NextStep::UseOrderedDevice
        ),
        Failure::AuthenticationRefused(code) => *code == AuthenticateErrorCode::CI_PK_UNKNOWN,
        Failure::PreparationRefused(code) => matches!(
            *code,
            DownloadErrorCode::INVALID_CERTIFICATE | DownloadErrorCode::UNSUPPORTED_CURVE
        ),
        Failure::Installation { reason, .. } => !matches!(
            *reason,
            ErrorReason::INTERRUPTION | ErrorReason::UNKNOWN_ERROR
        ),
        Failure::ConfirmationCodeRequired | Failure::OidMismatch { .. } | Failure::Rules(_) => true,
        Failure::Declined(reason) => *reason == CancelSessionReason::END_USER_REJECTION,
        _ => false,
    }
}

fn because(cause: &Option<Arc<JobFailure>>) -> String {
    cause
        .as_ref()
        .map_or_else(String::new, |cause| format!(": {cause}"))
}

/// What was lost, without what the card may have done: that is known by now.
fn fault(lost: &JobFailure) -> String {
    match lost {
        JobFailure::Function(FunctionError::Call(CallError::Transport { command, error })) => {
            format!("{command}: {}", error.fault)
        }
        JobFailure::Port(PortFailure::Lost(error)) => error.fault.to_string(),
        lost => lost.to_string(),
    }
}

fn detail(told: &Option<Told>) -> String {
    match told.as_ref().and_then(Told::detail) {
        Some(detail) => format!(": {detail}"),
        None => "; its reason was not kept".to_owned(),
    }
}

fn number(eid: &Option<Eid>) -> String {
    eid.map_or_else(String::new, |eid| format!(" {eid}"))
}

/// A failure is the same as another one when it is that one, not when it reads alike: what keeps
/// failures can be compared for whether it has changed.
impl PartialEq for JobFailure {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for JobFailure {}

impl From<Cancelled> for JobFailure {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl From<TransportError> for PortFailure {
    fn from(error: TransportError) -> Self {
        match error.fault {
            Fault::Closed => Self::Gone,
            _ => Self::Lost(error),
        }
    }
}

impl From<CallError> for JobFailure {
    fn from(error: CallError) -> Self {
        Self::Function(error.into())
    }
}

impl From<DownloadError> for JobFailure {
    fn from(error: DownloadError) -> Self {
        Self::Download(error)
    }
}

impl From<OpenError> for JobFailure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Transport(error) if matches!(error.fault, Fault::Device(_)) => {
                Self::ModemRefusedChannel { error, hint: None }
            }
            OpenError::Transport(error) => PortFailure::from(error).into(),
            OpenError::Session { refusal } => Self::ModemRefusedChannel {
                error: TransportError::not_sent(Fault::Device(refusal)),
                hint: None,
            },
            OpenError::Select { sw } => Self::NoIsdr { sw, hint: None },
            error => Self::CardRefusedChannel(error),
        }
    }
}
