//! A profile and a notification as the API shows them.

use es10_apdu::types::{PprIds, ProfileClass};
use serde::{Deserialize, Serialize};

use crate::memory::snapshot::{self, ProfileState};

/// A profile on the card.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Profile {
    /// Its ICCID, 18 to 20 digits.
    pub iccid: String,
    /// Whether it is the one in use.
    pub state: ProfileState,
    /// `operational`, `test` or `provisioning`; a number when the card names a class that SGP.22
    /// does not know.
    pub class: String,
    /// Who provides the service; may be empty.
    pub service_provider: String,
    /// The name the operator gave it; may be empty.
    pub name: String,
    /// The nickname stored on the card; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
    /// The application identifier of its ISD-P, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aid: Option<String>,
    /// Profile policy rules by name, SGP.22 v2.5 section 2.9.1; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_rules: Vec<String>,
}

/// A notification that waits on the card.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Notification {
    /// Its number, counted by the card.
    pub sequence_number: u64,
    /// What happened: `install`, `enable`, `disable` or `delete`; several with `+` between them
    /// when a card says so.
    pub event: String,
    /// The server it goes to.
    pub address: String,
    /// The profile it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iccid: Option<String>,
    /// How often in a row its delivery failed.
    #[serde(default)]
    pub failed_attempts: u32,
    /// Why the last delivery failed; absent when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Why it is set aside: the card does not give it or does not remove it, or it names no server.
    /// It is tried again less and less often and holds up no other one. Absent when it is not set
    /// aside. An entry of the card's list that cannot be read has the event `unreadable` and the
    /// number 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
    /// Since when it has waited, in seconds since 1970; absent unless its delivery failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since_s: Option<u64>,
}

impl From<&snapshot::Profile> for Profile {
    fn from(known: &snapshot::Profile) -> Self {
        let aid = known.aid.as_ref();
        Self {
            iccid: known.iccid.to_string(),
            state: known.state,
            class: class(known.class),
            service_provider: known.service_provider.clone(),
            name: known.name.clone(),
            nickname: known.nickname.clone(),
            aid: aid.map(|aid| hex::encode_upper(aid.octets())),
            policy_rules: rules(known.policy_rules),
        }
    }
}

impl From<&snapshot::Notification> for Notification {
    fn from(known: &snapshot::Notification) -> Self {
        let event = match known.event {
            Some(event) => event.names().collect::<Vec<_>>().join("+"),
            None => "unreadable".to_owned(),
        };
        Self {
            // The card's numbers are signed; a negative one is a mistake of the card.
            sequence_number: u64::try_from(known.sequence_number).unwrap_or_default(),
            event,
            address: known.address.clone(),
            iccid: known.iccid.map(|iccid| iccid.to_string()),
            failed_attempts: known.failed_attempts,
            last_error: known.last_error.clone(),
            set_aside: known.set_aside.clone(),
            waiting_since_s: known.waiting_since_s,
        }
    }
}

/// The name of a class of profiles; its number when it has none.
pub(super) fn class(class: ProfileClass) -> String {
    let name = class.meaning().map(str::to_owned);
    name.unwrap_or_else(|| class.0.to_string())
}

/// The names of policy rules.
pub(super) fn rules(rules: PprIds) -> Vec<String> {
    rules.names().map(str::to_owned).collect()
}
