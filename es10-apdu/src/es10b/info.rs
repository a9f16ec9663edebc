//! What an eUICC can do, and its challenge.

use rasn::types::OctetString;
use rasn::{AsnType, Decode, Decoder, Encode};

use crate::asn1::{List, Open, Raw, sequences};
use crate::function::functions;
use crate::tlv::Children;
use crate::types::{
    Challenge, PprIds, RspCapability, SubjectKeyIdentifier, Text, UiccCapability, VersionType,
};

/// Asks for EUICCInfo1.
///
/// SGP.22 v2.5 section 5.7.8, tag BF20.
#[derive(AsnType, Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(tag(context, 32))]
pub struct GetEuiccInfo1Request {}

/// What a server must know before it authenticates; it gets the octets as the eUICC sent them.
///
/// SGP.22 v2.5 section 5.7.8, tag BF20.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 32))]
pub struct EuiccInfo1 {
    /// The version of SGP.22 it supports.
    #[rasn(tag(context, 2))]
    pub svn: VersionType,
    /// CI keys it can verify with.
    #[rasn(tag(context, 9))]
    pub euicc_ci_pk_id_list_for_verification: List<SubjectKeyIdentifier>,
    /// CI keys above its own certificates, the preferred one first.
    #[rasn(tag(context, 10))]
    pub euicc_ci_pk_id_list_for_signing: List<SubjectKeyIdentifier>,
}

/// Asks for EUICCInfo2.
///
/// SGP.22 v2.5 section 5.7.8, tag BF22.
#[derive(AsnType, Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(tag(context, 34))]
pub struct GetEuiccInfo2Request {}

/// Everything an eUICC tells about itself.
///
/// SGP.22 v2.5 section 5.7.8, tag BF22. Mandatory components that only inform are optional here.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 34))]
pub struct EuiccInfo2 {
    /// The version of the profile package specification.
    #[rasn(tag(context, 1))]
    pub profile_version: VersionType,
    /// The version of SGP.22 it supports.
    #[rasn(tag(context, 2))]
    pub svn: VersionType,
    /// Its firmware.
    #[rasn(tag(context, 3))]
    pub euicc_firmware_ver: VersionType,
    /// Memory, see [`ExtCardResource`].
    #[rasn(tag(context, 4))]
    pub ext_card_resource: OctetString,
    /// Profile package features.
    #[rasn(tag(context, 5))]
    pub uicc_capability: UiccCapability,
    /// The version of TS 102 241 (Java Card API).
    #[rasn(tag(context, 6))]
    pub ts102241_version: Option<VersionType>,
    /// The version of GlobalPlatform.
    #[rasn(tag(context, 7))]
    pub globalplatform_version: Option<VersionType>,
    /// Remote SIM provisioning features.
    #[rasn(tag(context, 8))]
    pub rsp_capability: RspCapability,
    /// CI keys it can verify with.
    #[rasn(tag(context, 9))]
    pub euicc_ci_pk_id_list_for_verification: List<SubjectKeyIdentifier>,
    /// CI keys above its own certificates, the preferred one first.
    #[rasn(tag(context, 10))]
    pub euicc_ci_pk_id_list_for_signing: List<SubjectKeyIdentifier>,
    /// 0 other, 1 basic, 2 medium, 3 contactless.
    #[rasn(tag(context, 11))]
    pub euicc_category: Option<i64>,
    /// Rules it never accepts in a profile.
    #[rasn(tag(context, 25))]
    pub forbidden_profile_policy_rules: Option<PprIds>,
    /// The version of the protection profile.
    pub pp_version: Option<VersionType>,
    /// The accreditation of its production site; the misspelling is the module's.
    pub sas_acreditation_number: Option<Text>,
    /// Where its certification can be looked up.
    #[rasn(tag(context, 12))]
    pub certification_data_object: Option<Open<CertificationDataObject>>,
}

/// Where the certification of an eUICC can be looked up.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags)]
pub struct CertificationDataObject {
    /// The platform's label.
    pub platform_label: Text,
    /// The registrar's base URL.
    pub discovery_base_url: Text,
}

/// Memory of an eUICC, TS 102 226; a value that is missing or malformed is unknown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ExtCardResource {
    /// Number of installed applications, tag 81.
    pub installed_applications: Option<u64>,
    /// Free non-volatile memory in octets, tag 82.
    pub free_non_volatile_memory: Option<u64>,
    /// Free volatile memory in octets, tag 83.
    pub free_volatile_memory: Option<u64>,
}

impl EuiccInfo2 {
    /// Reads the memory figures.
    pub fn resources(&self) -> ExtCardResource {
        let mut resources = ExtCardResource::default();
        for child in Children::of(&self.ext_card_resource).map_while(Result::ok) {
            let value = match child.contents.len() {
                1..=8 => Some(
                    child
                        .contents
                        .iter()
                        .fold(0, |sum, &o| sum << 8 | u64::from(o)),
                ),
                _ => None,
            };
            match child.tag {
                0x81 => resources.installed_applications = value,
                0x82 => resources.free_non_volatile_memory = value,
                0x83 => resources.free_volatile_memory = value,
                _ => {}
            }
        }
        resources
    }
}

/// Asks for a challenge. From here on any earlier RSP session of the eUICC is gone, and any earlier
/// challenge: the last one counts, so that one whose answer was lost does no harm.
///
/// SGP.22 v2.5 section 5.7.7, tag BF2E.
#[derive(AsnType, Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(tag(context, 46))]
pub struct GetEuiccChallengeRequest {}

/// The challenge, good for one AuthenticateServer.
///
/// SGP.22 v2.5 section 5.7.7, tag BF2E.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 46))]
pub struct GetEuiccChallengeResponse {
    /// The challenge.
    pub euicc_challenge: Challenge,
}

sequences!(
    CertificationDataObject,
    EuiccInfo1,
    EuiccInfo2,
    GetEuiccChallengeRequest,
    GetEuiccChallengeResponse,
    GetEuiccInfo1Request,
    GetEuiccInfo2Request,
);

functions! {
    GetEuiccInfo1Request => Raw<EuiccInfo1>, "ES10b.GetEUICCInfo1", "5.7.8", 0xBF20, reads;
    GetEuiccInfo2Request => Raw<EuiccInfo2>, "ES10b.GetEUICCInfo2", "5.7.8", 0xBF22, reads;
    GetEuiccChallengeRequest => GetEuiccChallengeResponse,
        "ES10b.GetEUICCChallenge", "5.7.7", 0xBF2E, reads;
}
