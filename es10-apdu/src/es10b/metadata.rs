//! ES8+.StoreMetadata: what a profile says of itself.

use rasn::types::{Any, OctetString};
use rasn::{AsnType, Decode, Decoder, Encode};

use crate::asn1::{List, Open, sequences};
use crate::types::{
    Iccid, IconType, NotificationConfigurationInformation, OperatorId, PprIds, ProfileClass, Text,
};

/// Metadata of a profile: shown before the download, stored with the profile.
///
/// SGP.22 v2.5 section 5.5.3, tag BF25.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 37))]
pub struct StoreMetadataRequest {
    /// The profile.
    pub iccid: Iccid,
    /// Who provides the service.
    #[rasn(tag(context, 17))]
    pub service_provider_name: Option<Text>,
    /// A short description.
    #[rasn(tag(context, 18))]
    pub profile_name: Option<Text>,
    /// The format of the icon.
    #[rasn(tag(context, 19))]
    pub icon_type: Option<IconType>,
    /// The icon.
    #[rasn(tag(context, 20))]
    pub icon: Option<OctetString>,
    /// Its kind; absent means operational.
    #[rasn(tag(context, 21))]
    pub profile_class: Option<ProfileClass>,
    /// Who wants to hear of which events.
    #[rasn(tag(context, 22))]
    pub notification_configuration_info: Option<List<Open<NotificationConfigurationInformation>>>,
    /// The operator.
    #[rasn(tag(context, 23))]
    pub profile_owner: Option<Open<OperatorId>>,
    /// Policy rules.
    #[rasn(tag(context, 25))]
    pub profile_policy_rules: Option<PprIds>,
    /// Vendor extensions that stay with the profile; opaque.
    #[rasn(tag(context, 34))]
    pub service_specific_data_stored_in_euicc: Option<List<Opaque>>,
}

impl StoreMetadataRequest {
    /// The kind of profile, with the module's default.
    pub fn class(&self) -> ProfileClass {
        self.profile_class.unwrap_or(ProfileClass::OPERATIONAL)
    }

    /// The policy rules; none when absent.
    pub fn rules(&self) -> PprIds {
        self.profile_policy_rules.unwrap_or_default()
    }
}

/// A data object that is not looked into here.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(delegate)]
pub struct Opaque(pub Any);

impl crate::asn1::Extensible for Opaque {}

sequences!(StoreMetadataRequest);
