//! Whether the profile in use is in service, and what lpad does next about it.

use es10_apdu::types::Iccid;
use serde::{Deserialize, Serialize};

use crate::job::Reason;
use crate::printed;

/// How it stands with the service of an eUICC.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Service {
    /// Whether the profile in use is in service.
    pub state: ServiceState,
    /// Since when, in seconds since 1970-01-01 UTC; absent when it is not watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_s: Option<u64>,
    /// What it lacks; absent when it is in service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The network's reason by its number, 3GPP TS 24.301 section 9.9.3.9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<u8>,
    /// The profile in use; absent when there is none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "printed::optional"
    )]
    #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
    pub profile: Option<Iccid>,
    /// The profile that a client or the first boot has enabled last; absent when there was none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "printed::optional"
    )]
    #[cfg_attr(feature = "openapi", schemars(with = "Option<String>"))]
    pub preferred: Option<Iccid>,
    /// Whether another profile than that is in use.
    pub on_fallback: bool,
    /// What lpad does next by itself if nothing changes; absent when that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<NextStep>,
    /// When, in seconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step_s: Option<u64>,
    /// How many switches lpad could still make by itself, at its last look.
    pub switches_left: u32,
}

/// Whether a profile is in service.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum ServiceState {
    /// It is not watched.
    #[default]
    NotWatched,
    /// It is, as far as that is told.
    InService,
    /// The modem says nothing, or its radio was switched off.
    Silent,
    /// It is not.
    Lost,
    /// No profile was, when they were tried last.
    Stranded,
}

/// What lpad does by itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum NextStep {
    /// The radio is restarted.
    RestartRadio,
    /// The profile is left for another one.
    Leave,
    /// All profiles are tried again.
    Round,
    /// The preferred profile is tried again.
    Return,
}

impl ServiceState {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotWatched => "not watched",
            Self::InService => "in service",
            Self::Silent => "the modem says nothing, or its radio was switched off",
            Self::Lost => "lost",
            Self::Stranded => "no profile has any",
        }
    }
}

impl NextStep {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::RestartRadio => "restart the radio",
            Self::Leave => "leave the profile for another one",
            Self::Round => "try all profiles again",
            Self::Return => "try the preferred profile again",
        }
    }
}
