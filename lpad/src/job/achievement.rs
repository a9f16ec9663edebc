//! What an operation achieved.

use es10_apdu::types::Iccid;

/// What an operation achieved.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Achievement {
    /// The profile it was about.
    pub iccid: Option<Iccid>,
    /// That profile's name.
    pub profile_name: Option<String>,
    /// Whether that profile is enabled now.
    pub enabled: Option<bool>,
    /// Set when the server had nothing to download.
    pub nothing_to_download: bool,
    /// Set when the card was as asked already.
    pub nothing_to_change: bool,
    /// Notifications delivered.
    pub notifications_delivered: usize,
    /// Notifications that stay on the card until their recipient can be reached.
    pub notifications_pending: usize,
    /// What succeeded only in part, for people.
    pub warnings: Vec<String>,
}
