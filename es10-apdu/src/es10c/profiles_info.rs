//! ES10c.GetProfilesInfo and SetNickname.

use rasn::types::OctetString;
use rasn::{AsnType, Decode, Decoder, Encode, Encoder};

use crate::asn1::{List, Open, elements, sequences};
use crate::es10b::Opaque;
use crate::function::functions;
use crate::types::{
    Aid, Iccid, IconType, NotificationConfigurationInformation, OperatorId, PprIds, ProfileClass,
    ProfileState, Text, result_code,
};

/// Asks for the profiles.
///
/// SGP.22 v2.5 section 5.7.15, tag BF2D.
#[derive(AsnType, Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(tag(context, 45))]
pub struct ProfileInfoListRequest {
    /// Only those.
    #[rasn(tag(explicit(context, 0)))]
    pub search_criteria: Option<ProfileSearch>,
    /// The data objects wanted, tags one after the other; absent means the card's default.
    #[rasn(tag(application, 28))]
    pub tag_list: Option<OctetString>,
}

impl ProfileInfoListRequest {
    /// All profiles with everything but the icon, which costs many APDUs and few people see.
    pub fn all_but_icons() -> Self {
        const TAGS: &[u8] = &[
            0x5A, 0x4F, 0x9F, 0x70, 0x90, 0x91, 0x92, 0x93, 0x95, 0xB6, 0xB7, 0x99,
        ];
        Self {
            search_criteria: None,
            tag_list: Some(OctetString::from_static(TAGS)),
        }
    }
}

/// Which profiles.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice)]
pub enum ProfileSearch {
    /// The one in this ISD-P.
    IsdpAid(Aid),
    /// The one with this number.
    Iccid(Iccid),
    /// Those of this kind.
    #[rasn(tag(context, 21))]
    ProfileClass(ProfileClass),
}

/// The profiles.
///
/// SGP.22 v2.5 section 5.7.15, tag BF2D.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice, automatic_tags, tag(explicit(context, 45)))]
pub enum ProfileInfoListResponse {
    /// The list, possibly empty.
    ProfileInfoListOk(List<ProfileInfo>),
    /// No list.
    ProfileInfoListError(ProfileInfoListError),
}

/// What is known of a profile; only what was asked for is there.
///
/// SGP.22 v2.5 section 5.7.15, tag E3.
#[derive(AsnType, Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(tag(private, 3))]
pub struct ProfileInfo {
    /// The profile.
    pub iccid: Option<Iccid>,
    /// Its ISD-P.
    pub isdp_aid: Option<Aid>,
    /// Whether it is the one in use.
    #[rasn(tag(context, 112))]
    pub profile_state: Option<ProfileState>,
    /// The user's name for it.
    #[rasn(tag(context, 16))]
    pub profile_nickname: Option<Text>,
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
    /// What the SM-DP+ keeps with the profile; its first element is an object identifier.
    #[rasn(tag(context, 24))]
    pub dp_proprietary_data: Option<List<Opaque>>,
    /// Policy rules.
    #[rasn(tag(context, 25))]
    pub profile_policy_rules: Option<PprIds>,
    /// Vendor extensions that stay with the profile; opaque.
    #[rasn(tag(context, 34))]
    pub service_specific_data_stored_in_euicc: Option<List<Opaque>>,
}

impl ProfileInfo {
    /// Whether it is the one in use.
    pub fn is_enabled(&self) -> bool {
        self.profile_state == Some(ProfileState::ENABLED)
    }

    /// The kind of profile, with the module's default.
    pub fn class(&self) -> ProfileClass {
        self.profile_class.unwrap_or(ProfileClass::OPERATIONAL)
    }
}

result_code! {
    /// Why there is no list of profiles.
    ProfileInfoListError {
        INCORRECT_INPUT_VALUES = 1, "incorrect input values";
        PROFILE_CHANGE_ONGOING = 11, "a profile change is under way";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

/// Names a profile; an empty name removes the old one.
///
/// SGP.22 v2.5 section 5.7.21, tag BF29.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 41))]
pub struct SetNicknameRequest {
    /// The profile.
    pub iccid: Iccid,
    /// At most 64 octets.
    #[rasn(tag(context, 16))]
    pub profile_nickname: Text,
}

/// Whether the profile was named.
///
/// SGP.22 v2.5 section 5.7.21, tag BF29.
#[derive(AsnType, Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 41))]
pub struct SetNicknameResponse {
    /// The result.
    pub set_nickname_result: SetNicknameResult,
}

result_code! {
    /// The result of SetNickname.
    SetNicknameResult {
        OK = 0, "ok";
        ICCID_NOT_FOUND = 1, "no such profile";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

sequences!(
    ProfileInfo,
    ProfileInfoListRequest,
    SetNicknameRequest,
    SetNicknameResponse
);

elements!(ProfileInfoListResponse, ProfileSearch);

functions! {
    ProfileInfoListRequest => ProfileInfoListResponse,
        "ES10c.GetProfilesInfo", "5.7.15", 0xBF2D, reads;
    SetNicknameRequest => SetNicknameResponse, "ES10c.SetNickname", "5.7.21", 0xBF29, changes;
}
