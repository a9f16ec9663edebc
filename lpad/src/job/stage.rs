//! What an operation is doing, how far it is, and what it waits for.

use serde::{Deserialize, Serialize};

/// What an operation is doing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Stage {
    /// Opening the card and reaching the server.
    Initialising,
    /// Card and server prove who they are.
    Authenticating,
    /// A person has to accept the profile.
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
    /// The modem looks for a network, and what must be reachable is tried.
    Verifying,
    /// A client has to confirm the profile.
    AwaitingConfirm,
    /// Another profile is brought back into service.
    Returning,
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
            Self::Verifying => "verifying",
            Self::AwaitingConfirm => "awaiting-confirm",
            Self::Returning => "returning",
            Self::ReadingCard => "reading-card",
            Self::Done => "done",
        }
    }
}

/// A stage, and when it began.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct StageTime {
    /// The stage.
    pub stage: Stage,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub at_s: u64,
}

/// How much of the profile package the card has taken.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Progress {
    /// Bytes taken.
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

/// What it waits for; only once the wait has lasted a few seconds, and until the answer came.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Waiting {
    /// What has to answer.
    pub on: WaitingOn,
    /// Until when it is waited for at most, in seconds since 1970-01-01 UTC.
    pub until_s: u64,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum WaitingOn {
    /// The card has to answer a command.
    Card,
    /// The modem has to come back, or to use another profile.
    Modem,
    /// The server has to answer.
    Server,
}

impl WaitingOn {
    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Modem => "modem",
            Self::Server => "server",
        }
    }
}
