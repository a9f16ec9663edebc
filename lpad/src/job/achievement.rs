//! What an operation achieved.

use serde::{Deserialize, Serialize};

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
