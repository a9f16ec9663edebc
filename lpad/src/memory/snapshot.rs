//! What lpad knows about an eUICC, as read from the card last.

use std::sync::Arc;
use std::time::Duration;

use es10_apdu::types::{
    Aid, Eid, Iccid, NotificationEvent, PprIds, ProfileClass, SubjectKeyIdentifier, VersionType,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::config::{OrderSource, Route};
use crate::failure::{JobFailure, PortFailure};
use crate::job::{Achievement, OperationId, Part};
use crate::memory::service::Service;
use crate::modem::table::Known as Modem;

/// What is known about one eUICC.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The eUICC as a whole.
    pub euicc: Euicc,
    /// Server addresses stored on the card.
    pub addresses: Known<Addresses>,
    /// The profiles on the card.
    pub profiles: Known<Vec<Profile>>,
    /// Notifications that wait for delivery.
    pub notifications: Known<Vec<Notification>>,
    /// How it stands with the service of the profile that is watched.
    pub service: Service,
    /// When the card was read; `None` when it never could be.
    pub read_at: Option<Instant>,
    pub(crate) is_fresh: bool,
}

/// A part of the card.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
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

    fn unknown(&self, part: Part) -> Option<UnknownPart> {
        match self {
            Self::Unknown(because) => Some(UnknownPart {
                part,
                because: Arc::clone(because),
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

    /// The default SM-DP+ that is stored on the card, as the card holds it.
    pub(crate) fn default_smdp(&self) -> Option<&str> {
        self.addresses.value()?.default_smdp.as_deref()
    }

    /// The profiles, as far as they are known.
    pub(crate) fn listed(&self) -> &[Profile] {
        self.profiles.value().map_or(&[], Vec::as_slice)
    }

    /// How it stands with the service of the profile in use.
    pub(crate) fn service(&self) -> Service {
        let profile = in_use(self.listed());
        let service = &self.service;
        let preferred = service.preferred;
        let known = match service.profile == profile {
            true => service.clone(),
            // It was changed since it was looked at.
            false => Service {
                switches_left: service.switches_left,
                ..Service::default()
            },
        };
        Service {
            profile,
            preferred,
            on_fallback: profile.is_some() && preferred.is_some() && profile != preferred,
            ..known
        }
    }

    /// Whether this part is known.
    pub(crate) fn has(&self, part: Part) -> Result<(), JobFailure> {
        match part {
            Part::Info => self.euicc.info.of(part).map(drop),
            Part::Addresses => self.addresses.of(part).map(drop),
            Part::Profiles => self.profiles.of(part).map(drop),
            Part::Notifications => self.notifications.of(part).map(drop),
        }
    }

    /// Lets the eUICC tell of its parts what it shows of them, and which cannot be read.
    pub(crate) fn name_unknown_parts(&mut self) {
        let notifications = self.notifications.value().into_iter().flatten();
        let set_aside = notifications.filter(|one| one.set_aside.is_some());
        self.euicc.notifications_set_aside = set_aside.count();
        self.euicc.unknown = [
            self.euicc.info.unknown(Part::Info),
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

/// One eUICC: what shows in its state, and in events.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Euicc {
    /// Its name in the configuration.
    pub name: String,
    /// The port it is behind.
    pub port: String,
    /// The modem, since its port was opened.
    pub modem: Option<Arc<Modem>>,
    /// How commands reach the card, since that was found out.
    pub route: Option<Route>,
    /// Whether it can be used.
    pub state: Shown,
    /// How it stands with bringing the card up.
    pub attempt: Option<Attempt>,
    /// The operation that runs on it.
    pub busy_with: Option<OperationId>,
    /// How many notifications are set aside, because the card does not give or remove them.
    pub notifications_set_aside: usize,
    /// When the card was read last, in seconds since 1970.
    pub read_at_s: Option<u64>,
    /// The card.
    pub eid: Option<Eid>,
    /// What the card says it can do.
    pub info: Known<EuiccInfo>,
    /// Parts of the card that cannot be read, and why; each blocks only what needs it.
    pub unknown: Vec<UnknownPart>,
    /// The first profile of an empty card, when lpad was told to get one.
    pub first_profile: Option<FirstProfile>,
}

/// A part of the card that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownPart {
    /// The part.
    pub part: Part,
    /// Why.
    pub because: Arc<JobFailure>,
}

/// Whether an eUICC can be used, and why not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Shown {
    /// It has not been read yet.
    #[default]
    Starting,
    /// It answers.
    Ready,
    /// The modem or the card does not answer; lpad keeps trying.
    Unavailable {
        /// Why, as of the last attempt.
        because: Arc<JobFailure>,
        /// Since when, in seconds since 1970.
        since_s: u64,
    },
}

impl Shown {
    /// The state without its reason.
    pub fn availability(&self) -> Availability {
        match self {
            Self::Starting => Availability::Starting,
            Self::Ready => Availability::Ready,
            Self::Unavailable { .. } => Availability::Unavailable,
        }
    }
}

/// How it stands with bringing a card up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attempt {
    /// An attempt is under way.
    UnderWay {
        /// What is being tried.
        what: &'static str,
        /// Since when, in seconds since 1970.
        since_s: u64,
    },
    /// The next one is to come.
    Next {
        /// When, in seconds since 1970.
        at_s: u64,
    },
}

/// How it stands with the first profile, which no client has to ask for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FirstProfile {
    /// Whether it goes on.
    pub state: FirstProfileState,
    /// What is tried next, or now, or was tried last.
    pub source: Option<OrderSource>,
    /// What is tried when nothing is to be had there.
    pub then: Option<OrderSource>,
    /// Failed attempts that the server counted as well.
    pub attempts: u32,
    /// After how many of them the order is given up.
    pub most_attempts: u32,
    /// How the last attempt ended.
    pub last: Option<String>,
    /// What people can do when nothing more is tried.
    pub next_step: Option<String>,
    /// When the next attempt is made, in seconds since 1970.
    pub next_attempt_s: Option<u64>,
}

/// Whether a first profile is being looked for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum FirstProfileState {
    /// lpad was not told to.
    Off,
    /// The card has a profile.
    NotNeeded,
    /// There is no address to ask: none is configured, and none is known of the card.
    NoAddress,
    /// The first attempt is to come.
    Waiting,
    /// An attempt is under way.
    Trying,
    /// An attempt failed, and the next one is to come.
    BackingOff,
    /// The clock was not set since the power came back, and certificates cannot be checked.
    WaitingClock,
    /// It was downloaded.
    Done,
    /// It was given up: the order is over, or was tried often enough.
    Stopped,
}

/// Whether an eUICC can be used.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
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
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EuiccInfo {
    /// The SGP.22 version the card follows.
    pub svn: VersionType,
    /// The card's firmware version.
    pub firmware: VersionType,
    /// Version of the profile package specification.
    pub profile_version: VersionType,
    /// Non-volatile memory left for profiles.
    pub free_memory_bytes: Option<u64>,
    /// Certificate issuers the card verifies servers with.
    pub ci_keys_for_verification: Vec<SubjectKeyIdentifier>,
    /// Certificate issuers the card can sign for.
    pub ci_keys_for_signing: Vec<SubjectKeyIdentifier>,
}

/// Server addresses stored on the card, SGP.22 v2.5 section 5.7.3, tag BF3C. They are kept as the card
/// holds them: what is no address is shown as well.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Addresses {
    /// The SM-DP+ that is asked when no other is named.
    pub default_smdp: Option<String>,
    /// The root discovery server.
    pub root_smds: String,
}

/// A profile on the card, SGP.22 v2.5 section 5.7.15, tag E3.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Profile {
    /// The profile's ICCID.
    pub iccid: Iccid,
    /// Whether it is the one in use.
    pub state: ProfileState,
    /// Its kind.
    pub class: ProfileClass,
    /// Who provides the service.
    pub service_provider: String,
    /// The name the operator gave it.
    pub name: String,
    /// The name it was given here.
    pub nickname: Option<String>,
    /// The application identifier of its ISD-P.
    pub aid: Option<Aid>,
    /// Profile policy rules.
    pub policy_rules: PprIds,
}

impl Profile {
    /// What an operation tells of a profile.
    pub(crate) fn achieved(&self) -> Achievement {
        let name = self.nickname.clone().unwrap_or_else(|| self.name.clone());
        Achievement {
            iccid: Some(self.iccid),
            profile_name: Some(name).filter(|name| !name.is_empty()),
            enabled: Some(self.state == ProfileState::Enabled),
            ..Achievement::default()
        }
    }

    /// A disabled operational profile of which nothing else is known.
    #[cfg(test)]
    pub(crate) fn of(iccid: &str) -> Self {
        Self {
            iccid: iccid.parse().unwrap(),
            state: ProfileState::Disabled,
            class: ProfileClass::OPERATIONAL,
            service_provider: String::new(),
            name: String::new(),
            nickname: None,
            aid: None,
            policy_rules: PprIds::default(),
        }
    }
}

/// The profile with this ICCID.
pub(crate) fn find(profiles: &[Profile], iccid: Iccid) -> Result<Profile, JobFailure> {
    let found = profiles.iter().find(|profile| profile.iccid == iccid);
    found.cloned().ok_or(JobFailure::UnknownProfile(iccid))
}

/// The profile in use.
pub(crate) fn in_use(profiles: &[Profile]) -> Option<Iccid> {
    let mut profiles = profiles.iter();
    let enabled = profiles.find(|profile| profile.state == ProfileState::Enabled);
    enabled.map(|profile| profile.iccid)
}

/// Whether a profile is in use.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
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

/// The notification with this number.
pub(crate) fn find_notification(
    waiting: &[Notification],
    number: i64,
) -> Result<Notification, JobFailure> {
    let found = waiting.iter().find(|one| one.sequence_number == number);
    found
        .cloned()
        .ok_or(JobFailure::UnknownNotification(number))
}

/// A notification that waits on the card, SGP.22 v2.5 section 5.7.9, tag BF2F.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Notification {
    /// Its sequence number.
    pub sequence_number: i64,
    /// What happened; `None` when the card's entry cannot be read.
    pub event: Option<NotificationEvent>,
    /// The server it goes to, as the card holds it.
    pub address: String,
    /// The profile it is about.
    pub iccid: Option<Iccid>,
    /// How often its delivery failed in a row.
    pub failed_attempts: u32,
    /// Why the last delivery failed.
    pub last_error: Option<String>,
    /// Why it is set aside: it is tried again less and less often, and holds up no other one.
    pub set_aside: Option<String>,
    /// Since when it has waited, in seconds since 1970, when it did not get through at once.
    pub waiting_since_s: Option<u64>,
}
