//! What lpad knows about an eUICC, as read from the card last.

use std::sync::Arc;
use std::time::Duration;

use es10_apdu::types::{Eid, Iccid};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::failure::{JobFailure, PortFailure};
use crate::job::{Achievement, OperationId, Part};
use crate::problem::Problem;

/// What is known about one eUICC.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The eUICC as a whole.
    pub euicc: Euicc,
    /// What the card says it can do.
    pub info: Known<EuiccInfo>,
    /// Server addresses stored on the card.
    pub addresses: Known<Addresses>,
    /// The profiles on the card.
    pub profiles: Known<Vec<Profile>>,
    /// Notifications that wait for delivery.
    pub notifications: Known<Vec<Notification>>,
    /// When the card was read; `None` when it never could be.
    pub read_at: Option<Instant>,
    pub(crate) is_fresh: bool,
}

/// A part of the card.
#[derive(Clone, Debug, Default)]
pub enum Known<T> {
    /// It was not read yet.
    #[default]
    NotYet,
    /// As it was read.
    Value(T),
    /// The card refuses it, or answers with something that cannot be understood.
    Unknown(Arc<JobFailure>),
}

impl<T> Known<T> {
    /// The part, for what cannot do without it.
    ///
    /// # Errors
    ///
    /// Why it is not known.
    pub fn of(&self, part: Part) -> Result<&T, JobFailure> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Unknown(because) => Err(JobFailure::PartUnknown {
                part,
                because: Arc::clone(because),
            }),
            Self::NotYet => Err(JobFailure::Port(PortFailure::NotYet)),
        }
    }

    /// The part, when it is known.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::NotYet | Self::Unknown(_) => None,
        }
    }

    /// As [`Self::value`], to be changed.
    pub(crate) fn value_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Value(value) => Some(value),
            Self::NotYet | Self::Unknown(_) => None,
        }
    }

    fn unknown(&self, part: Part) -> Option<UnknownPart> {
        match self {
            Self::Unknown(because) => Some(UnknownPart {
                part,
                problem: because.as_ref().into(),
            }),
            Self::NotYet | Self::Value(_) => None,
        }
    }
}

impl Snapshot {
    /// An operation changed the card: the next client that asks wants it read again.
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

    /// The card, when one was read.
    pub(crate) fn eid(&self) -> Option<Eid> {
        self.euicc.eid.as_deref()?.parse().ok()
    }

    /// Whether this part is known.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub(crate) fn has(&self, part: Part) -> Result<(), JobFailure> {
        match part {
            Part::Info => self.info.of(part).map(drop),
            Part::Addresses => self.addresses.of(part).map(drop),
            Part::Profiles => self.profiles.of(part).map(drop),
            Part::Notifications => self.notifications.of(part).map(drop),
        }
    }

    /// Lets the eUICC name its parts that cannot be read.
    pub(crate) fn name_unknown_parts(&mut self) {
        self.euicc.info = self.info.value().cloned();
        self.euicc.unknown = [
            self.info.unknown(Part::Info),
            self.addresses.unknown(Part::Addresses),
            self.profiles.unknown(Part::Profiles),
            self.notifications.unknown(Part::Notifications),
        ]
        .into_iter()
        .flatten()
        .collect();
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
    /// Parts of the card that cannot be read, and why; each blocks only what needs it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownPart>,
    /// What is being tried to bring the card up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trying: Option<Trying>,
    /// Since when it cannot be used, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable_since_s: Option<u64>,
    /// When it is tried next, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_s: Option<u64>,
    /// The first profile of an empty card, when lpad was told to get one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_profile: Option<FirstProfile>,
}

/// A part of the card that cannot be read.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct UnknownPart {
    /// The part.
    pub part: Part,
    /// Why.
    pub problem: Problem,
}

/// What is being tried.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trying {
    /// What.
    pub what: String,
    /// Since when, in seconds since 1970.
    pub since_s: u64,
}

/// How it stands with the first profile, which no client has to ask for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FirstProfile {
    /// Whether it goes on.
    pub state: FirstProfileState,
    /// Failed attempts that the server counted as well.
    pub attempts: u32,
    /// After how many of them the order is given up.
    pub most_attempts: u32,
    /// How the last attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// When the next attempt is made, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_s: Option<u64>,
}

/// Whether a first profile is being looked for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstProfileState {
    /// lpad was not told to.
    Off,
    /// The card has a profile, or there is no address to ask.
    NotNeeded,
    /// The first attempt is to come.
    Waiting,
    /// An attempt is under way.
    Trying,
    /// An attempt failed, and the next one is to come.
    BackingOff,
    /// It was downloaded.
    Done,
    /// It was given up: the order is over, or was tried often enough.
    Stopped,
}

impl FirstProfileState {
    /// Whether an order in this state is left as it is when the card is read again.
    pub(crate) fn goes_on(self) -> bool {
        !matches!(self, Self::Off | Self::NotNeeded)
    }
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
    /// The name it was given here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
    /// The application identifier of its ISD-P.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aid: Option<String>,
    /// Profile policy rules by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_rules: Vec<String>,
}

impl Profile {
    /// What an operation tells of a profile.
    pub(crate) fn achieved(&self) -> Achievement {
        let name = self.nickname.clone().unwrap_or_else(|| self.name.clone());
        Achievement {
            iccid: Some(self.iccid.clone()),
            profile_name: Some(name).filter(|name| !name.is_empty()),
            enabled: Some(self.state == ProfileState::Enabled),
            ..Achievement::default()
        }
    }
}

/// The profile with this ICCID.
///
/// # Errors
///
/// When there is none.
pub(crate) fn find(profiles: &[Profile], iccid: Iccid) -> Result<Profile, JobFailure> {
    let printed = iccid.to_string();
    let found = profiles.iter().find(|profile| profile.iccid == printed);
    found.cloned().ok_or(JobFailure::UnknownProfile(iccid))
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
