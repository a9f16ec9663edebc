//! What lpad knows about an eUICC, as read from the card last.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::job::OperationId;
use crate::problem::Problem;

/// What is known about one eUICC.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The eUICC as a whole.
    pub euicc: Euicc,
    /// Server addresses stored on the card.
    pub addresses: Addresses,
    /// The profiles on the card.
    pub profiles: Vec<Profile>,
    /// Notifications that wait for delivery.
    pub notifications: Vec<Notification>,
    /// When the card was read; `None` when it never could be.
    pub read_at: Option<Instant>,
    pub(crate) is_fresh: bool,
}

impl Snapshot {
    /// An operation changed the card: whoever asks next wants it read again.
    pub(crate) fn changed(&mut self) {
        self.is_fresh = false;
    }

    /// Whether it was read so short a time ago, and nothing was changed since, that reading it
    /// again would bring nothing new.
    pub(crate) fn is_fresh(&self) -> bool {
        self.is_fresh
            && self
                .read_at
                .is_some_and(|read_at| read_at.elapsed() < FRESH_FOR)
    }
}

/// What was read this short a time ago is not read again.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// One eUICC.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Euicc {
    /// Its name in the configuration.
    pub name: String,
    /// The port it is behind.
    pub port: String,
    /// Whether it can be used.
    pub state: Availability,
    /// The operation that runs on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_with: Option<OperationId>,
    /// Why it cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// How many notifications are set aside, because the card does not give or remove them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub notifications_set_aside: usize,
    /// When the card was read last, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at_s: Option<u64>,
    /// The eUICC identifier, 32 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eid: Option<String>,
    /// What the card says it can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<EuiccInfo>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Whether an eUICC can be used.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Availability {
    /// It has not been read yet.
    #[default]
    Starting,
    /// It answers.
    Ready,
    /// The modem or the card does not answer; lpad keeps trying.
    Unavailable,
}

impl Availability {
    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The parts of EUICCInfo2 people ask for, SGP.22 v2.5 section 5.7.8, tag BF22.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct EuiccInfo {
    /// The SGP.22 version the card follows.
    pub svn: String,
    /// The card's firmware version.
    pub firmware: String,
    /// Version of the profile package specification.
    pub profile_version: String,
    /// Non-volatile memory left for profiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_memory_bytes: Option<u64>,
    /// Certificate issuers the card verifies servers with, by key identifier.
    pub ci_keys_for_verification: Vec<String>,
    /// Certificate issuers the card can sign for, by key identifier.
    pub ci_keys_for_signing: Vec<String>,
}

/// Server addresses stored on the card, SGP.22 v2.5 section 5.7.3, tag BF3C.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Addresses {
    /// The SM-DP+ that is asked when no other is named.
    pub default_smdp: Option<String>,
    /// The root discovery server.
    pub root_smds: String,
}

/// A profile on the card, SGP.22 v2.5 section 5.7.15, tag E3.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Profile {
    /// The profile's ICCID.
    pub iccid: String,
    /// Whether it is the one in use.
    pub state: ProfileState,
    /// `operational`, `test` or `provisioning`.
    pub class: String,
    /// Who provides the service.
    pub service_provider: String,
    /// The name the operator gave it.
    pub name: String,
    /// The name somebody gave it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
    /// The application identifier of its ISD-P.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aid: Option<String>,
    /// Profile policy rules by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_rules: Vec<String>,
}

/// Whether a profile is in use.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileState {
    /// It is not.
    #[default]
    Disabled,
    /// It is.
    Enabled,
}

impl ProfileState {
    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
        }
    }
}

/// A notification that waits on the card, SGP.22 v2.5 section 5.7.9, tag BF2F.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Notification {
    /// Its sequence number.
    pub sequence_number: u64,
    /// `install`, `enable`, `disable` or `delete`.
    pub event: String,
    /// The server it goes to.
    pub address: String,
    /// The profile it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iccid: Option<String>,
    /// How often its delivery failed in a row.
    #[serde(default)]
    pub failed_attempts: u32,
    /// Why the last delivery failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Why it is set aside: it is tried again less and less often, and holds up no other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
}
