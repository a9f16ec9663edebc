//! The profile on offer, and the answer to it.

use es10_apdu::types::{Iccid, PprIds, ProfileClass};
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// A profile that a person has to accept before it is downloaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// The profile's ICCID.
    pub iccid: Iccid,
    /// Who provides the service.
    pub service_provider: String,
    /// The profile's name.
    pub profile_name: String,
    /// Its kind.
    pub class: ProfileClass,
    /// Profile policy rules.
    pub policy_rules: PprIds,
    /// Whether accepting means accepting the policy rules too.
    pub policy_consent_required: bool,
    /// Whether the server asks for a confirmation code and lpad has none.
    pub confirmation_code_required: bool,
}

/// The answer to an offer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Answer {
    /// The decision.
    pub answer: Decision,
    /// The confirmation code, when the offer asks for one. A secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation_code: Option<Secret>,
}

/// The decision about an offer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Decision {
    /// Download it.
    Accept,
    /// Never download it; the order is used up.
    Decline,
    /// Not now; the order stays.
    Postpone,
}

/// What came of an offer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// An answer came.
    Answered(Answer),
    /// The operation was cancelled.
    Cancelled,
    /// No answer came in time.
    TimedOut,
}
