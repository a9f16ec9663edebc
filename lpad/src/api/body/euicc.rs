//! An eUICC as the API shows it.

use es10_apdu::types::SubjectKeyIdentifier;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::config::{OrderSource, Route};
use crate::job::{OperationId, Part};
use crate::memory::snapshot::{self, Attempt, Availability, FirstProfileState, Shown};
use crate::modem::table::Known;
use crate::problem::Problem;

/// One eUICC.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Euicc {
    /// Its name in the configuration.
    pub name: String,
    /// Its port, as it is configured.
    pub port: String,
    /// What its modem says of itself, and how it is handled; absent until its port was
    /// opened, and for a card in a reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modem: Option<Modem>,
    /// Whether it can be used.
    pub state: Availability,
    /// The operation that uses it now; absent when none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_with: Option<OperationId>,
    /// Why it cannot be used; absent when it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// How many notifications are set aside, because the card does not give or remove them; absent
    /// when none is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub notifications_set_aside: usize,
    /// When the card was read last, in seconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at_s: Option<u64>,
    /// The eUICC identifier, 32 digits; absent when the card was never read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eid: Option<String>,
    /// What the card says it can do; absent when it was never read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<EuiccInfo>,
    /// Parts of the card that cannot be read, and why; absent when all can. Each blocks only what
    /// needs it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownPart>,
    /// What is being tried to bring the card up; absent when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trying: Option<Trying>,
    /// Since when it cannot be used, in seconds since 1970-01-01 UTC; absent when it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable_since_s: Option<u64>,
    /// When it is tried next, in seconds since 1970-01-01 UTC; absent while it can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_s: Option<u64>,
    /// The first profile of an empty card; absent when lpad was not told to get one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_profile: Option<FirstProfile>,
}

/// A modem.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Modem {
    /// Its maker; absent when it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// Its model; absent when it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its firmware; absent when it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// The entry of the table of modems by which it is handled; `generic` for a modem that no entry
    /// names.
    pub profile: String,
    /// Why that one, for people.
    pub because: String,
    /// How commands reach the card: `cgla` or `csim`; absent until that was found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apdu: Option<Route>,
}

/// A part of the card that cannot be read.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct UnknownPart {
    /// The part.
    pub part: Part,
    /// Why.
    pub problem: Problem,
}

/// What is being tried.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Trying {
    /// What, for people.
    pub what: String,
    /// Since when, in seconds since 1970-01-01 UTC.
    pub since_s: u64,
}

/// How it stands with the first profile of an empty card.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct FirstProfile {
    /// Whether it goes on.
    pub state: FirstProfileState,
    /// What is tried next, or now, or was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<OrderSource>,
    /// What is tried when nothing is to be had there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<OrderSource>,
    /// Failed attempts that the server counted as well.
    pub attempts: u32,
    /// After how many of them the order is given up.
    pub most_attempts: u32,
    /// How the last attempt ended, for people; absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// What to do, for people; absent unless the order was given up or there is no address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// When the next attempt is made, in seconds since 1970-01-01 UTC; absent when none is to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_s: Option<u64>,
}

/// Parts of EUICCInfo2, SGP.22 v2.5 section 5.7.8.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct EuiccInfo {
    /// The SGP.22 version the card follows, for example `2.5.0`.
    pub svn: String,
    /// The card's firmware version.
    pub firmware: String,
    /// The version of the profile package specification.
    pub profile_version: String,
    /// Non-volatile memory left for profiles, in bytes; absent when the card does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_memory_bytes: Option<u64>,
    /// Certificate issuers the card trusts to certify servers.
    pub ci_keys_for_verification: Vec<String>,
    /// Certificate issuers that certify the card.
    pub ci_keys_for_signing: Vec<String>,
}

/// Server addresses on the card.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Addresses {
    /// The SM-DP+ that is asked when no other is named; null when there is none.
    pub default_smdp: Option<String>,
    /// The root discovery server; empty when there is none.
    pub root_smds: String,
}

impl From<&snapshot::Euicc> for Euicc {
    fn from(known: &snapshot::Euicc) -> Self {
        let (problem, unavailable_since_s) = match &known.state {
            Shown::Unavailable { because, since_s } => (Some((&**because).into()), Some(*since_s)),
            Shown::Starting | Shown::Ready => (None, None),
        };
        let (trying, next_attempt_s) = match known.attempt {
            Some(Attempt::UnderWay { what, since_s }) => {
                let what = what.to_owned();
                (Some(Trying { what, since_s }), None)
            }
            Some(Attempt::Next { at_s }) => (None, Some(at_s)),
            None => (None, None),
        };
        Self {
            name: known.name.clone(),
            port: known.port.clone(),
            modem: known.modem.as_deref().map(|modem| Modem {
                apdu: known.route,
                ..modem.into()
            }),
            state: known.state.availability(),
            busy_with: known.busy_with,
            problem,
            notifications_set_aside: known.notifications_set_aside,
            read_at_s: known.read_at_s,
            eid: known.eid.map(|eid| eid.to_string()),
            info: known.info.value().map(EuiccInfo::from),
            unknown: known.unknown.iter().map(UnknownPart::from).collect(),
            trying,
            unavailable_since_s,
            next_attempt_s,
            first_profile: known.first_profile.as_ref().map(FirstProfile::from),
        }
    }
}

impl From<&Known> for Modem {
    fn from(known: &Known) -> Self {
        let identity = known.identity.clone();
        Self {
            manufacturer: identity.manufacturer,
            model: identity.model,
            firmware: identity.firmware,
            profile: known.family.clone(),
            because: known.because.to_string(),
            apdu: None,
        }
    }
}

impl From<&snapshot::UnknownPart> for UnknownPart {
    fn from(known: &snapshot::UnknownPart) -> Self {
        Self {
            part: known.part,
            problem: (&*known.because).into(),
        }
    }
}

impl From<&snapshot::FirstProfile> for FirstProfile {
    fn from(known: &snapshot::FirstProfile) -> Self {
        Self {
            state: known.state,
            source: known.source,
            then: known.then,
            attempts: known.attempts,
            most_attempts: known.most_attempts,
            last: known.last.clone(),
            next_step: known.next_step.clone(),
            next_attempt_s: known.next_attempt_s,
        }
    }
}

impl From<&snapshot::EuiccInfo> for EuiccInfo {
    fn from(known: &snapshot::EuiccInfo) -> Self {
        let keys = |keys: &[SubjectKeyIdentifier]| {
            let keys = keys.iter();
            keys.map(|key| hex::encode_upper(key.octets())).collect()
        };
        Self {
            svn: known.svn.to_string(),
            firmware: known.firmware.to_string(),
            profile_version: known.profile_version.to_string(),
            free_memory_bytes: known.free_memory_bytes,
            ci_keys_for_verification: keys(&known.ci_keys_for_verification),
            ci_keys_for_signing: keys(&known.ci_keys_for_signing),
        }
    }
}

impl From<&snapshot::Addresses> for Addresses {
    fn from(known: &snapshot::Addresses) -> Self {
        Self {
            default_smdp: known.default_smdp.clone(),
            root_smds: known.root_smds.clone(),
        }
    }
}
