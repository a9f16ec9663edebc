//! Profiles to download: unprotected profile packages and the metadata that travels beside them.
//!
//! The packages follow the TCA eUICC Profile Package: Interoperable Format Technical Specification
//! (SAIP): a plain concatenation of profile elements, the header first and the end element last.
//! What [`ProfileBuilder`] makes is valid by the grammar and our own; what
//! [`Profile::from_package`] takes is somebody else's and is served byte for byte.

use std::fmt;

use es10_apdu::tlv::{Children, Tlv, encode as tlv};
use serde::{Deserialize, Serialize};

mod content;
mod icon;

pub use content::Content;
pub use icon::icon;

use content::Subscriber;

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
        let name = format!("Test profile {}", iccid.last_digits());
        ProfileBuilder {
            metadata: Metadata::new(iccid.clone(), "Example Mobile".to_owned(), name),
            imsi: Imsi::of(&iccid),
            content: Content::default(),
            size: 0,
            ppk: false,
        }
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

/// Makes a valid profile: header, files and codes as wished for, optional filler, end.
#[derive(Clone, Debug)]
pub struct ProfileBuilder {
    metadata: Metadata,
    imsi: Imsi,
    content: Content,
    size: usize,
    ppk: bool,
}

impl ProfileBuilder {
    /// Names the profile: the metadata's profileName and the header's profileType.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.metadata.profile_name = name.into();
        self
    }

    /// Names the service provider, which is the name of the network in EF.SPN too.
    pub fn service_provider(mut self, name: impl Into<String>) -> Self {
        self.metadata.service_provider = name.into();
        self
    }

    /// Chooses the subscriber; [`Imsi::of`] the ICCID when nobody does.
    pub fn imsi(mut self, imsi: Imsi) -> Self {
        self.imsi = imsi;
        self
    }

    /// How much of a real profile there is in the package.
    pub fn content(mut self, content: Content) -> Self {
        self.content = content;
        self
    }

    /// Makes it a test or provisioning profile.
    pub fn class(mut self, class: ProfileClass) -> Self {
        self.metadata.class = class;
        self
    }

    /// Binds the user by rules, which need an owner the eUICC allows them to.
    pub fn policy_rules(mut self, rules: impl Into<Vec<PolicyRule>>) -> Self {
        self.metadata.policy_rules = rules.into();
        self
    }

    /// Names the operator the profile belongs to.
    pub fn owner(mut self, owner: ProfileOwner) -> Self {
        self.metadata.owner = Some(owner);
        self
    }

    /// Shows a picture, a PNG; [`icon`] makes one.
    pub fn icon(mut self, png: impl Into<Vec<u8>>) -> Self {
        self.metadata.icon = png.into();
        self
    }

    /// Reports these events, in this order, to `address` or else to the SM-DP+.
    pub fn notifications(
        mut self,
        events: impl Into<Vec<NotificationEvent>>,
        address: Option<&str>,
    ) -> Self {
        self.metadata.notification_events = events.into();
        self.metadata.notification_address = address.map(str::to_owned);
        self
    }

    /// Fills the package up to this many bytes with nonStandard elements nobody must understand.
    ///
    /// The result can be up to [`FILLER_SLACK`] bytes shorter, never longer unless what must be in
    /// it is.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// Protects the package with keys of its own.
    pub fn ppk(mut self) -> Self {
        self.ppk = true;
        self
    }

    /// Builds the package and its metadata.
    pub fn build(self) -> Profile {
        let header = tlv(
            0xA0,
            &[
                tlv(0x80, &[2]),
                tlv(0x81, &[3]),
                tlv(0x82, self.metadata.profile_name.as_bytes()),
                tlv(0x83, &self.metadata.iccid.in_reading_order()),
                tlv(0xA5, &[tlv(0x81, &[]), tlv(0x84, &[])].concat()),
                tlv(0xA6, &self.content.templates()),
            ]
            .concat(),
        );
        let mut package = header;
        let mut identification = 1;
        let elements = self.content.elements(&Subscriber {
            iccid: &self.metadata.iccid,
            imsi: &self.imsi,
            network: &self.metadata.service_provider,
        });
        for element in elements {
            package.extend(element);
            identification += 1;
        }
        while let Some(element) = self.filler(package.len(), identification) {
            package.extend(element);
            identification += 1;
        }
        package.extend(end(identification));
        Profile {
            package,
            metadata: self.metadata,
            ppk: self.ppk,
        }
    }

    /// One more nonStandard element, when there is room for it before the end element.
    fn filler(&self, length: usize, identification: u16) -> Option<Vec<u8>> {
        let room = self.size.checked_sub(length + end(identification).len())?;
        // One element stays below 16 kB so that a card needs no more buffer than for a real one.
        // 24 bytes hold everything of an element but its content.
        let most = room.min(16_384).checked_sub(SMALLEST_FILLER)?;
        (0..=most)
            .rev()
            .map(|content| non_standard(identification, content))
            .find(|element| element.len() <= room)
    }
}

/// How many bytes a filled package can miss of the size asked for.
pub const FILLER_SLACK: usize = SMALLEST_FILLER + 4;

/// The longest profileName, in characters.
const MAX_PROFILE_NAME: usize = 64;

/// Bytes a nonStandard element needs besides its content, at least.
const SMALLEST_FILLER: usize = 13;

/// The element nobody but its issuer (here 2.999, the example arc) has to understand.
fn non_standard(identification: u16, content: usize) -> Vec<u8> {
    let content: Vec<u8> = (0..=250).cycle().take(content).collect();
    tlv(
        0xA9,
        &[
            tlv(0xA0, &tlv(0x81, &der_integer(identification))),
            tlv(0x81, &[0x88, 0x37]),
            tlv(0x82, &content),
        ]
        .concat(),
    )
}

fn end(identification: u16) -> Vec<u8> {
    let header = [tlv(0x80, &[]), tlv(0x81, &der_integer(identification))].concat();
    tlv(0xAA, &tlv(0xA0, &header))
}

fn der_integer(value: u16) -> Vec<u8> {
    let [high, low] = value.to_be_bytes();
    match (high, low) {
        (0, low) if low < 0x80 => vec![low],
        (high, low) if high < 0x80 => vec![high, low],
        (high, low) => vec![0, high, low],
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
    /// Who receives these notifications; `None` is the SM-DP+ that serves the profile.
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

/// The number of a profile: 18 to 20 decimal digits, the last one a check digit.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Deserialize, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct Iccid(String);

impl Iccid {
    /// The `number`-th ICCID of a range of our own, with its Luhn check digit.
    pub fn nth(number: u32) -> Self {
        let digits = format!("8901999{number:011}");
        let sum: u32 = digits
            .bytes()
            .rev()
            .enumerate()
            .map(|(place, digit)| {
                let digit = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
                digit / 10 + digit % 10
            })
            .sum();
        Self(format!("{digits}{}", (10 - sum % 10) % 10))
    }

    /// Reads the form of the profile header: digits in reading order, filled up with F.
    fn from_reading_order(bytes: &[u8]) -> Result<Self, ProfileError> {
        hex::encode_upper(bytes)
            .trim_end_matches('F')
            .to_owned()
            .try_into()
    }

    /// The form of the profile header: digits in reading order, filled up with F.
    fn in_reading_order(&self) -> [u8; 10] {
        let mut bytes = [0xFF; 10];
        for (place, digit) in self.0.bytes().enumerate() {
            let shift = if place % 2 == 0 { 4 } else { 0 };
            bytes[place / 2] &= !(0x0F << shift) | ((digit - b'0') << shift);
        }
        bytes
    }

    /// The form of tag 5A and of EF.ICCID: the digits of each byte swapped.
    pub fn swapped(&self) -> [u8; 10] {
        self.in_reading_order().map(|byte| byte.rotate_left(4))
    }

    fn last_digits(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }
}

impl fmt::Display for Iccid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Iccid> for String {
    fn from(iccid: Iccid) -> Self {
        iccid.0
    }
}

impl TryFrom<String> for Iccid {
    type Error = ProfileError;

    fn try_from(digits: String) -> Result<Self, ProfileError> {
        if !(18..=20).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit())
        {
            return Err(ProfileError::BadIccid(digits));
        }
        Ok(Self(digits))
    }
}

/// The number of a subscriber, 15 decimal digits: country, network, person.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Imsi(String);

impl Imsi {
    /// The subscriber of the test network 001/01 that has the ICCID's last digits before the check
    /// digit.
    pub fn of(iccid: &Iccid) -> Self {
        let digits = &iccid.0[..iccid.0.len() - 1];
        Self(format!("00101{}", &digits[digits.len() - 10..]))
    }

    /// The form of EF.IMSI (3GPP TS 31.102 section 4.2.2): length, and the digits after a nibble
    /// that says that their number is odd.
    pub fn coded(&self) -> [u8; 9] {
        let mut digits = self.0.bytes().map(|digit| digit - b'0');
        let mut coded = [0; 9];
        coded[0] = 8;
        coded[1] = digits.next().unwrap_or_default() << 4 | 0x09;
        for octet in &mut coded[2..] {
            *octet = digits.next().unwrap_or(0x0F) | digits.next().unwrap_or(0x0F) << 4;
        }
        coded
    }
}

impl fmt::Display for Imsi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Imsi {
    type Error = ProfileError;

    fn try_from(digits: String) -> Result<Self, ProfileError> {
        if digits.len() != 15 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(ProfileError::BadImsi(digits));
        }
        Ok(Self(digits))
    }
}

/// A BIT STRING of named bits in one byte: trailing zero bits are not sent (X.690 section 11.2.2).
fn named_bits(bits: u8) -> [u8; 2] {
    let [.., unused] = bits.trailing_zeros().to_be_bytes();
    [unused, bits]
}

#[cfg(test)]
mod tests;
