//! The parts of a card, each read for itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is read of a card, each part for itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Part {
    /// EUICCInfo2.
    Info,
    /// The configured addresses.
    Addresses,
    /// The profile list.
    Profiles,
    /// The notification list.
    Notifications,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "EUICCInfo2",
            Self::Addresses => "addresses",
            Self::Profiles => "profile list",
            Self::Notifications => "notification list",
        })
    }
}
