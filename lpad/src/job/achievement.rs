//! What an operation achieved.

use es10_apdu::types::Iccid;
use serde::{Deserialize, Serialize};

use crate::printed;

/// What an operation achieved, as it is told and as the journal keeps it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Achievement {
    /// The profile it was about.
    #[serde(skip_serializing_if = "Option::is_none", with = "printed::optional")]
    pub iccid: Option<Iccid>,
    /// That profile's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_name: Option<String>,
    /// Whether that profile is enabled now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Set when the server had nothing to download.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nothing_to_download: bool,
    /// Set when the card was as asked already.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nothing_to_change: bool,
    /// Notifications delivered.
    pub notifications_delivered: usize,
    /// Notifications that stay on the card until their recipient can be reached.
    pub notifications_pending: usize,
    /// What succeeded only in part, for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Set when all that is known is that it succeeded: an older lpad kept no more.
    #[serde(skip)]
    pub details_unknown: bool,
}
