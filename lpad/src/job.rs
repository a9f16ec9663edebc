//! What an eUICC can be asked to do, and what can be said of an operation while it runs.
//!
//! Every job is carried out for the card that its client saw, and for no other. It waits while another
//! one has the card. This table holds for each kind:
//!
//! | kind | needs | can be cancelled until | a lost answer is settled by | after a restart |
//! |---|---|---|---|---|
//! | `download` | the EID | the first segment goes to the card | the result of its session in the notifications, else the profile list | the same; if asked for, the profile is enabled |
//! | `enable` | profiles | EnableProfile | profile list, then the ICCID the modem uses, then whether it is in service | the same: an open switch goes on, or back |
//! | `disable` | profiles | DisableProfile | profile list, then the ICCID the modem uses | profile list |
//! | `delete` | profiles | DeleteProfile | profile list | profile list |
//! | `rename` | profiles | SetNickname | the nickname in the list | the nickname in the list |
//! | `set-default-smdp` | addresses | SetDefaultDpAddress | addresses | addresses |
//! | `deliver-notifications` | notifications | always | nothing: it is delivered again | ended as interrupted, deliveries go on |
//! | `remove-notification` | notifications | RemoveNotificationFromList | the card's list | the card's list |
//! | `reset` | the EID | eUICCMemoryReset | profile list and addresses | profile list and addresses |
//!
//! A part that a job needs and that cannot be read fails the job before anything is sent.

use es9_client::ServerAddress;
use es10_apdu::types::Iccid;
use serde::{Deserialize, Serialize};

use crate::activation_code::ActivationCode;
use crate::secret::Secret;

mod achievement;
mod id;
mod offer;
mod part;
mod stage;
mod switch;

pub use achievement::Achievement;
pub use id::{NotANumber, OperationId};
pub use offer::{Answer, Decision, Offer, Reply};
pub use part::Part;
pub use stage::{Progress, Stage, StageTime, Waiting, WaitingOn};
pub use switch::{Outcome, Reason, Switch, Switching, Tried, Verdict};

/// What an engine can be asked to do.
#[derive(Clone, Debug)]
pub enum Job {
    /// Download a profile.
    Download(Download),
    /// Enable a profile; a success when it is enabled already.
    Enable(Switch),
    /// Leave a profile that has lost its service for another one; no client asks for it.
    Leave {
        /// The profile, what it lacks, and for how long.
        lost: Tried,
        /// The profile that was in use before it.
        before: Option<Iccid>,
    },
    /// Disable the profile with this ICCID; a success when it is disabled already.
    Disable {
        /// The profile's ICCID.
        iccid: Iccid,
        /// Even if that leaves the box without a profile in use.
        force: bool,
    },
    /// Delete the disabled profile with this ICCID.
    Delete {
        /// The profile's ICCID.
        iccid: Iccid,
        /// Even if it is the last one, or is to be kept.
        force: bool,
    },
    /// Give the profile a nickname; an empty one removes it.
    Rename {
        /// The profile's ICCID.
        iccid: Iccid,
        /// The nickname.
        nickname: String,
    },
    /// Store the default SM-DP+ address on the card; an empty one removes it.
    SetDefaultSmdp {
        /// The address.
        address: String,
        /// Whether a profile is asked for there at once, in an operation of its own.
        download: bool,
    },
    /// Deliver what waits, now: all of it, or the notification with this number and those before it that
    /// have the same recipient.
    DeliverNotifications(Option<i64>),
    /// Remove a notification that was not delivered.
    RemoveNotification {
        /// Its sequence number.
        number: i64,
        /// Even though its recipient never hears of it.
        force: bool,
    },
    /// Erase profiles.
    Reset(ResetScope),
}

impl Job {
    /// Whether it waits until it is known how a change of the profile in use ended.
    pub(crate) fn waits_for_switch(&self) -> bool {
        match self {
            Self::Download(download) => download.enable,
            Self::Enable(_) | Self::Leave { .. } | Self::Disable { .. } | Self::Delete { .. } => {
                true
            }
            // The rest leaves profiles alone; a reset may be what mends a card that does not tell.
            _ => false,
        }
    }

    /// The kind of operation it becomes.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Download(_) => Kind::Download,
            Self::Enable(_) | Self::Leave { .. } => Kind::Enable,
            Self::Disable { .. } => Kind::Disable,
            Self::Delete { .. } => Kind::Delete,
            Self::Rename { .. } => Kind::Rename,
            Self::SetDefaultSmdp { .. } => Kind::SetDefaultSmdp,
            Self::DeliverNotifications(_) => Kind::DeliverNotifications,
            Self::RemoveNotification { .. } => Kind::RemoveNotification,
            Self::Reset(_) => Kind::Reset,
        }
    }
}

/// A profile to download.
#[derive(Clone, Debug)]
pub struct Download {
    /// Where it is.
    pub source: DownloadSource,
    /// The confirmation code, when one was given.
    pub confirmation_code: Option<Secret>,
    /// Whether a person is asked before it is downloaded.
    pub consent: Consent,
    /// Whether it is enabled afterwards.
    pub enable: bool,
}

impl Download {
    /// What of it is secret.
    pub(crate) fn codes(&self) -> Vec<Secret> {
        let matching_id = match &self.source {
            DownloadSource::ActivationCode(code) => Some(code.matching_id.clone()),
            DownloadSource::Smdp(_) | DownloadSource::DefaultSmdp => None,
        };
        let confirmation_code = self.confirmation_code.clone();
        matching_id.into_iter().chain(confirmation_code).collect()
    }
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

/// Whether a person is asked before a profile is downloaded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Consent {
    /// Show the profile and wait for an answer.
    #[default]
    Ask,
    /// Accept it.
    Accept,
}

/// What a reset erases, SGP.22 v2.5 section 5.7.19, tag BF34.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ResetScope {
    /// Operational profiles.
    pub operational_profiles: bool,
    /// Test profiles that were loaded later.
    pub test_profiles: bool,
    /// The default SM-DP+ address.
    pub default_smdp: bool,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "OperationKind")
)]
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
    /// Remove a notification that was not delivered, section 3.5.
    RemoveNotification,
    /// Erase profiles from the card, section 3.3.2.
    Reset,
}

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Download,
        Self::Enable,
        Self::Disable,
        Self::Delete,
        Self::Rename,
        Self::SetDefaultSmdp,
        Self::DeliverNotifications,
        Self::RemoveNotification,
        Self::Reset,
    ];

    /// The parts of the card without which it could not be settled.
    pub const fn needs(self) -> &'static [Part] {
        match self {
            Self::Download | Self::Reset => &[],
            Self::Enable | Self::Disable | Self::Delete | Self::Rename => &[Part::Profiles],
            Self::SetDefaultSmdp => &[Part::Addresses],
            Self::DeliverNotifications | Self::RemoveNotification => &[Part::Notifications],
        }
    }

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
            Self::RemoveNotification => "remove-notification",
            Self::Reset => "reset",
        }
    }
}
