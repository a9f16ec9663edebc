//! Profiles to download: unprotected profile packages and the metadata that travels beside them.
//!
//! The packages follow the TCA eUICC Profile Package: Interoperable Format Technical Specification
//! (SAIP): a plain concatenation of profile elements, the header first and the end element last.
//! What [`ProfileBuilder`] makes is valid by the grammar and our own; what
//! [`Profile::from_package`] takes was made elsewhere and is served byte for byte.

use std::fmt;

use es10_apdu::tlv::{Children, Tlv, encode as tlv};
use serde::{Deserialize, Serialize};

mod builder;
mod content;
mod icon;
mod number;

pub use builder::{FILLER_SLACK, ProfileBuilder};
pub use content::Content;
pub use icon::icon;
pub use number::{Iccid, Imsi};

/// An unprotected profile package with the metadata its SM-DP+ announces for it.
#[derive(Clone, Eq, PartialEq, Deserialize, Serialize)]
pub struct Profile {
    /// The profile elements, as the eUICC shall see them after decryption.
    #[serde(with = "hex")]
    pub package: Vec<u8>,
    /// What the user is shown and the eUICC stores.
    pub metadata: Metadata,
    /// Whether the package is protected by keys of its own instead of the session's.
    ///
    /// SGP.22 v2.5 section 2.5.3, ReplaceSessionKeys.
    pub ppk: bool,
}

impl Profile {
    /// Begins a profile of our own with the given ICCID.
    pub fn builder(iccid: Iccid) -> ProfileBuilder {
        ProfileBuilder::new(iccid)
    }

    /// Takes a foreign package: its ICCID and profile type come from its header.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when the package does not begin with a readable profile header.
    pub fn from_package(package: Vec<u8>) -> Result<Self, ProfileError> {
        let header = Header::read(&package)?;
        let name = header
            .profile_type
            .unwrap_or_else(|| header.iccid.to_string());
        let name = name.chars().take(MAX_PROFILE_NAME).collect();
        Ok(Self {
            package,
            metadata: Metadata::new(header.iccid, "Example Mobile".to_owned(), name),
            ppk: false,
        })
    }

    /// The services an eUICC must offer for this profile, as context tags of
    /// `eUICC-Mandatory-services`; empty when the header cannot be read.
    pub fn mandatory_services(&self) -> Vec<u8> {
        Header::read(&self.package)
            .map(|header| header.mandatory_services)
            .unwrap_or_default()
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("package", &format_args!("{} bytes", self.package.len()))
            .field("metadata", &self.metadata)
            .field("ppk", &self.ppk)
            .finish()
    }
}

/// What a profile header says that an SM-DP+ needs.
struct Header {
    iccid: Iccid,
    profile_type: Option<String>,
    mandatory_services: Vec<u8>,
}

impl Header {
    fn read(package: &[u8]) -> Result<Self, ProfileError> {
        let (header, _) = Tlv::read(package).map_err(|_| ProfileError::NoHeader)?;
        if header.tag != 0xA0 {
            return Err(ProfileError::NoHeader);
        }
        let iccid = header.child(0x83).ok_or(ProfileError::NoIccid)?;
        let profile_type = header.child(0x82);
        let services = header
            .child(0xA5)
            .map_or(&[][..], |services| services.contents);
        Ok(Self {
            iccid: Iccid::from_reading_order(iccid.contents)?,
            profile_type: profile_type
                .map(|text| String::from_utf8_lossy(text.contents).into_owned()),
            mandatory_services: Children::of(services)
                .map_while(Result::ok)
                .filter_map(|service| service.tag.try_into().ok())
                .collect(),
        })
    }
}

/// Why a file is not a profile package.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// The first element is not a profile header (tag A0) with a valid length.
    #[error("it does not begin with a profile header (tag A0)")]
    NoHeader,
    /// The header names no ICCID.
    #[error("its header has no ICCID (tag 83)")]
    NoIccid,
    /// The ICCID is not 18 to 20 digits.
    #[error("{0:?} is not an ICCID of 18 to 20 digits")]
    BadIccid(String),
    /// The IMSI is not 15 digits.
    #[error("{0:?} is not an IMSI of 15 digits")]
    BadImsi(String),
}

/// What StoreMetadata says about a profile.
///
/// SGP.22 v2.5 section 5.5.3, tag BF25. The same bytes are ES9+'s profileMetadata.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Metadata {
    /// The profile's ICCID.
    pub iccid: Iccid,
    /// serviceProviderName, at most 32 characters.
    pub service_provider: String,
    /// profileName, at most 64 characters.
    pub profile_name: String,
    /// profileClass; operational is the default and is then not written.
    pub class: ProfileClass,
    /// The events whose notification the SM-DP+ asks for.
    ///
    /// Install is not among the defaults: the eUICC would send it besides the installation result.
    pub notification_events: Vec<NotificationEvent>,
    /// The server that receives these notifications; `None` is the SM-DP+ that serves the profile.
    pub notification_address: Option<String>,
    /// profileOwner: which operator the profile belongs to.
    pub owner: Option<ProfileOwner>,
    /// The profile policy rules in force.
    pub policy_rules: Vec<PolicyRule>,
    /// An icon in PNG form.
    #[serde(with = "hex")]
    pub icon: Vec<u8>,
}

impl Metadata {
    /// The metadata of an operational profile that reports enabling, disabling and deletion.
    pub fn new(iccid: Iccid, service_provider: String, profile_name: String) -> Self {
        Self {
            iccid,
            service_provider,
            profile_name,
            class: ProfileClass::Operational,
            notification_events: vec![
                NotificationEvent::Enable,
                NotificationEvent::Disable,
                NotificationEvent::Delete,
            ],
            notification_address: None,
            owner: None,
            policy_rules: Vec::new(),
            icon: Vec::new(),
        }
    }

    /// The StoreMetadata TLV, with `smdp_address` as recipient unless another one is set.
    pub fn to_der(&self, smdp_address: &str) -> Vec<u8> {
        let mut fields = [
            tlv(0x5A, &self.iccid.swapped()),
            tlv(0x91, self.service_provider.as_bytes()),
            tlv(0x92, self.profile_name.as_bytes()),
        ]
        .concat();
        if !self.icon.is_empty() {
            fields.extend(tlv(0x93, &[1]));
            fields.extend(tlv(0x94, &self.icon));
        }
        if self.class != ProfileClass::Operational {
            fields.extend(tlv(0x95, &[self.class as u8]));
        }
        if !self.notification_events.is_empty() {
            let address = self.notification_address.as_deref().unwrap_or(smdp_address);
            let entries = self
                .notification_events
                .iter()
                .map(|event| event.configured(address));
            fields.extend(tlv(0xB6, &entries.collect::<Vec<_>>().concat()));
        }
        if let Some(owner) = &self.owner {
            fields.extend(tlv(0xB7, &owner.to_der()));
        }
        if !self.policy_rules.is_empty() {
            let bits = self
                .policy_rules
                .iter()
                .fold(0, |bits, rule| bits | *rule as u8);
            fields.extend(tlv(0x99, &named_bits(bits)));
        }
        tlv(0xBF25, &fields)
    }
}

/// The class of a profile.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileClass {
    /// test(0)
    Test = 0,
    /// provisioning(1)
    Provisioning = 1,
    /// operational(2)
    Operational = 2,
}

/// An event of a profile's life; the value is its bit in NotificationEvent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NotificationEvent {
    /// notificationInstall(0)
    Install = 0x80,
    /// notificationEnable(1)
    Enable = 0x40,
    /// notificationDisable(2)
    Disable = 0x20,
    /// notificationDelete(3)
    Delete = 0x10,
}

impl NotificationEvent {
    fn configured(self, address: &str) -> Vec<u8> {
        let entry = [
            tlv(0x80, &named_bits(self as u8)),
            tlv(0x81, address.as_bytes()),
        ];
        tlv(0x30, &entry.concat())
    }
}

/// A profile policy rule; the value is its bit in PprIds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyRule {
    /// ppr1(1): the profile must not be disabled.
    Ppr1 = 0x40,
    /// ppr2(2): the profile must not be deleted.
    Ppr2 = 0x20,
}

/// The operator a profile belongs to, by its network and group identifiers.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct ProfileOwner {
    /// MCC and MNC as three bytes of packed digits (3GPP TS 24.008 section 10.5.1.13).
    #[serde(with = "hex")]
    pub mcc_mnc: [u8; 3],
    /// Group identifier 1.
    #[serde(default, with = "hex")]
    pub gid1: Vec<u8>,
    /// Group identifier 2.
    #[serde(default, with = "hex")]
    pub gid2: Vec<u8>,
}

impl ProfileOwner {
    fn to_der(&self) -> Vec<u8> {
        let mut fields = tlv(0x80, &self.mcc_mnc);
        for (tag, gid) in [(0x81, &self.gid1), (0x82, &self.gid2)] {
            if !gid.is_empty() {
                fields.extend(tlv(tag, gid));
            }
        }
        fields
    }
}

/// A BIT STRING of named bits in one byte: trailing zero bits are not sent (X.690 section 11.2.2).
fn named_bits(bits: u8) -> [u8; 2] {
    let [.., unused] = bits.trailing_zeros().to_be_bytes();
    [unused, bits]
}

/// The longest profileName, in characters.
const MAX_PROFILE_NAME: usize = 64;

#[cfg(test)]
mod tests;
