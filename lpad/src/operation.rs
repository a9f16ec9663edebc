//! Long-running operations: they have a number, go on when the client leaves, can be watched,
//! answered and, until the point of no return, cancelled.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::api::problem::Problem;
use crate::secret::Secret;

mod registry;
#[cfg(test)]
mod tests;

pub use registry::{HISTORY_KEPT, OperationError, Operations, QUEUE_LENGTH, RequestKey, Ticket};

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
