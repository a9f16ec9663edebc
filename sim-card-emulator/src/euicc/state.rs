//! What an eUICC keeps in flash.

use es10_apdu::asn1::{List, Raw, read};
use es10_apdu::es10b::{ConfigureIsdpRequest, Opaque, StoreMetadataRequest};
use es10_apdu::types::{Iccid, Oid, ProfileClass};
use rsp_common::key::Curve;
use serde::{Deserialize, Serialize};

/// Everything that survives power loss.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NonVolatile {
    /// Address of the default SM-DP+; empty when none is set.
    pub default_dp_address: String,
    /// Number of the latest notification.
    pub sequence_number: i64,
    /// Installed profiles, the oldest first.
    pub profiles: Vec<Profile>,
    /// Notifications that wait for delivery, the oldest first.
    pub notifications: Vec<Notification>,
    /// One-time keys no package has been opened with yet, at most one per SM-DP+.
    pub one_time_keys: Vec<OneTimeKey>,
    /// A switch that is made with the next REFRESH or reset.
    pub pending_switch: Option<Switch>,
    /// Options of a memory reset that was begun.
    pub pending_reset: Option<u64>,
    /// The installation that is under way.
    pub installing: Option<Installing>,
    /// The operational profile that was in use before a test profile.
    #[serde(with = "optional_text")]
    pub before_test: Option<Iccid>,
    /// Revocation lists, and parts of them, the oldest first.
    pub crls: Vec<Crl>,
    /// PINs that were wrong.
    pub pin_failures: Vec<PinFailures>,
    /// What terminals have written into EF.FPLMN.
    pub forbidden_networks: Vec<ForbiddenNetworks>,
}

/// EF.FPLMN of a profile, when it was written.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ForbiddenNetworks {
    /// The profile.
    #[serde(with = "text")]
    pub iccid: Iccid,
    /// The whole file.
    #[serde(with = "octets")]
    pub content: Vec<u8>,
}

/// How often the PIN of a profile was wrong since it was right.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PinFailures {
    /// The profile.
    #[serde(with = "text")]
    pub iccid: Iccid,
    /// Key reference of the PIN.
    pub reference: u8,
    /// How often.
    pub count: u8,
}

/// An installed profile.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its number.
    #[serde(with = "text")]
    pub iccid: Iccid,
    /// Its ISD-P.
    #[serde(with = "octets")]
    pub aid: Vec<u8>,
    /// Whether it is the one in use.
    pub enabled: bool,
    /// The user's name for it; empty when there is none.
    pub nickname: String,
    /// StoreMetadata as received.
    #[serde(with = "metadata")]
    pub metadata: Raw<StoreMetadataRequest>,
    /// ConfigureISDP as received; empty when a profile was installed before it was kept.
    #[serde(default, with = "octets")]
    pub configuration: Vec<u8>,
    /// Key identifier of the CI whose chain signs its notifications; empty for the first.
    #[serde(default, with = "octets")]
    pub ci_key_identifier: Vec<u8>,
    /// The profile package as decrypted. It has a file of its own.
    #[serde(skip)]
    pub package: Vec<u8>,
}

impl Profile {
    pub(super) fn class(&self) -> ProfileClass {
        self.metadata.class()
    }

    /// What the SM-DP+ keeps with the profile.
    pub(super) fn proprietary_data(&self) -> Option<List<Opaque>> {
        let configuration: ConfigureIsdpRequest = read(&self.configuration).ok()?;
        configuration.dp_proprietary_data
    }
}

/// A signed notification that waits for delivery.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// Its number.
    pub sequence_number: i64,
    /// The event, bits as in NotificationEvent.
    pub event: u64,
    /// NotificationMetadata as signed.
    #[serde(with = "octets")]
    pub metadata: Vec<u8>,
    /// PendingNotification as signed.
    #[serde(with = "octets")]
    pub der: Vec<u8>,
}

/// A revocation list of a CI, or a part of one.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Crl {
    /// The list as received.
    #[serde(with = "octets")]
    pub der: Vec<u8>,
}

/// A one-time key that is kept for a retry.
#[derive(Clone, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OneTimeKey {
    /// The SM-DP+ it was made for.
    #[serde(with = "text")]
    pub owner: Oid,
    /// The private scalar.
    #[serde(with = "octets")]
    pub scalar: Vec<u8>,
    /// The curve it is on.
    #[serde(default)]
    pub curve: Curve,
}

impl std::fmt::Debug for OneTimeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneTimeKey")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

/// A change of the profile in use.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// The profile to enable; none when the one in use is only disabled.
    #[serde(with = "optional_text")]
    pub enable: Option<Iccid>,
}

/// What must be known to report an installation, also after power loss.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Installing {
    /// The RSP session.
    #[serde(with = "octets")]
    pub transaction_id: Vec<u8>,
    /// Address of the SM-DP+, as it was signed.
    pub address: String,
    /// The SM-DP+.
    #[serde(with = "text")]
    pub owner: Oid,
    /// The profile, once its metadata is known.
    #[serde(with = "optional_text")]
    pub iccid: Option<Iccid>,
    /// The part of the package that is expected.
    pub bpp_command_id: i64,
    /// Key identifier of the CI whose chain signs the result; empty for the first.
    #[serde(default, with = "octets")]
    pub ci_key_identifier: Vec<u8>,
}

mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

mod optional_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value
            .as_ref()
            .map(ToString::to_string)
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}

mod octets {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        octets: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(octets))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

mod metadata {
    use es10_apdu::asn1::Raw;
    use es10_apdu::es10b::StoreMetadataRequest;
    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    use super::octets;

    pub(super) fn serialize<S: Serializer>(
        metadata: &Raw<StoreMetadataRequest>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        octets::serialize(metadata.bytes(), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Raw<StoreMetadataRequest>, D::Error> {
        Raw::from_ber(&octets::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
