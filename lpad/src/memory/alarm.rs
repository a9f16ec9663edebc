//! What people should hear of: lpad goes on by itself, and may not get far.

use serde::{Deserialize, Serialize};

use crate::job::{OperationId, Outcome, Switching};

/// Something that people should hear of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Alarm {
    /// What it is.
    pub code: AlarmCode,
    /// The eUICC by its name in the configuration.
    pub euicc: String,
    /// The operation that tells more, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// What happened, for people.
    pub detail: String,
    /// When, in seconds since 1970.
    pub at_s: u64,
}

/// The stable name of an alarm.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum AlarmCode {
    /// The first profile is not looked for any more.
    BootstrapStopped,
    /// Notifications have waited on the card for a day or longer.
    NotificationsStuck,
    /// The profile in use has lost its service.
    ServiceLost,
    /// A profile got no service, or lost it; the one before is in use again.
    SwitchReverted,
    /// Neither that profile nor the one before got service; another one is in use.
    SwitchDiverted,
    /// No profile of the card gets service.
    SwitchStranded,
}

impl AlarmCode {
    /// That of a switch as it ended; `None` when the wanted profile is in use and may give service.
    pub fn of_switch(switch: &Switching) -> Option<Self> {
        match switch.outcome? {
            Outcome::Confirmed => None,
            // For want of another one it stays in use without.
            Outcome::Unverified if !switch.failed.is_empty() => Some(Self::SwitchStranded),
            Outcome::Unverified => None,
            Outcome::Reverted => Some(Self::SwitchReverted),
            Outcome::Diverted => Some(Self::SwitchDiverted),
            Outcome::Stranded => Some(Self::SwitchStranded),
        }
    }

    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::BootstrapStopped => "bootstrap-stopped",
            Self::NotificationsStuck => "notifications-stuck",
            Self::ServiceLost => "service-lost",
            Self::SwitchReverted => "switch-reverted",
            Self::SwitchDiverted => "switch-diverted",
            Self::SwitchStranded => "switch-stranded",
        }
    }
}
