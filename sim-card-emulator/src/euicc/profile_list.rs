//! ES10c.GetProfilesInfo and SetNickname (SGP.22 v2.5 sections 5.7.15 and 5.7.21).

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::encode;
use es10_apdu::es10c::{
    ProfileIdentifier, ProfileInfo, ProfileInfoListError, ProfileInfoListRequest,
    ProfileInfoListResponse, ProfileSearch, SetNicknameRequest, SetNicknameResponse,
    SetNicknameResult,
};
use es10_apdu::types::{Aid, ProfileState, RspCapability};
use rsp_common::der::{constructed, extended, tlv, unsigned};

use super::{Euicc, Profile};

impl Euicc {
    pub(super) fn profiles_info(
        &self,
        request: ProfileInfoListRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        if self.settings.v3_answers && self.memory.pending_switch.is_some() {
            return Ok(no_list(ProfileInfoListError::PROFILE_CHANGE_ONGOING));
        }
        let tags = match &request.tag_list {
            None => Some(DEFAULT_TAGS.to_vec()),
            Some(list) => tag_list(list),
        };
        let Some(tags) = tags else {
            return Ok(no_list(ProfileInfoListError::INCORRECT_INPUT_VALUES));
        };
        let found = self
            .memory
            .profiles
            .iter()
            .filter(|profile| match &request.search_criteria {
                None => true,
                Some(ProfileSearch::IsdpAid(aid)) => profile.aid == aid.octets(),
                Some(ProfileSearch::Iccid(iccid)) => profile.iccid == *iccid,
                Some(ProfileSearch::ProfileClass(class)) => profile.class() == *class,
            });
        let list: Vec<Vec<u8>> = found
            .map(|profile| self.profile_info(profile, &tags))
            .collect();
        Ok(tlv(0xBF2D, &constructed(0xA0, &list)))
    }

    fn profile_info(&self, profile: &Profile, tags: &[u32]) -> Vec<u8> {
        let mut info = profile_info(profile, tags);
        let kept = RspCapability::SERVICE_SPECIFIC_DATA_SUPPORT;
        if !self.settings.rsp_capability.contains(kept) {
            info.service_specific_data_stored_in_euicc = None;
        }
        let info = encode(&info);
        if !self.settings.v3_answers {
            return info;
        }
        let port = tlv(ENABLED_ON_ESIM_PORT, &[0]);
        let size = u64::try_from(profile.package.len()).unwrap_or(u64::MAX);
        let more = [
            (profile.enabled, ENABLED_ON_ESIM_PORT, port),
            (true, PROFILE_SIZE, unsigned(PROFILE_SIZE, size)),
        ];
        let more = more
            .into_iter()
            .filter(|(given, tag, _)| *given && tags.contains(tag))
            .map(|(_, _, part)| part);
        extended(&info, &more.collect::<Vec<_>>())
    }

    pub(super) fn set_nickname(
        &mut self,
        request: SetNicknameRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let nickname = std::str::from_utf8(request.profile_nickname.octets());
        let known = self
            .find(&ProfileIdentifier::Iccid(request.iccid))
            .is_some();
        let result = match nickname {
            _ if !known => SetNicknameResult::ICCID_NOT_FOUND,
            Ok(nickname) if nickname.len() <= LONGEST_NICKNAME => {
                for profile in &mut self.flash().profiles {
                    if profile.iccid == request.iccid {
                        profile.nickname = nickname.to_owned();
                    }
                }
                SetNicknameResult::OK
            }
            _ => SetNicknameResult::UNDEFINED_ERROR,
        };
        Ok(encode(&SetNicknameResponse {
            set_nickname_result: result,
        }))
    }
}

fn no_list(error: ProfileInfoListError) -> Vec<u8> {
    encode(&ProfileInfoListResponse::ProfileInfoListError(error))
}

/// The tags of a list that stand one after the other; `None` when the last one is cut off.
fn tag_list(list: &[u8]) -> Option<Vec<u32>> {
    let mut tags = Vec::new();
    let mut octets = list.iter();
    while let Some(first) = octets.next() {
        let mut tag = u32::from(*first);
        if tag & 0x1F == 0x1F {
            tag = tag << 8 | u32::from(*octets.next()?);
        }
        tags.push(tag);
    }
    Some(tags)
}

fn profile_info(profile: &Profile, tags: &[u32]) -> ProfileInfo {
    let has = |tag| tags.contains(&tag);
    let metadata = &profile.metadata;
    let state = if profile.enabled {
        ProfileState::ENABLED
    } else {
        ProfileState::DISABLED
    };
    let nickname = Some(&profile.nickname).filter(|name| !name.is_empty());
    ProfileInfo {
        iccid: has(0x5A).then_some(profile.iccid),
        isdp_aid: Aid::from_octets(&profile.aid).ok().filter(|_| has(0x4F)),
        profile_state: has(0x9F70).then_some(state),
        profile_nickname: nickname.filter(|_| has(0x90)).map(|name| name[..].into()),
        service_provider_name: metadata.service_provider_name.clone().filter(|_| has(0x91)),
        profile_name: metadata.profile_name.clone().filter(|_| has(0x92)),
        icon_type: metadata.icon_type.filter(|_| has(0x93)),
        icon: metadata.icon.clone().filter(|_| has(0x94)),
        profile_class: has(0x95).then_some(profile.class()),
        notification_configuration_info: metadata
            .notification_configuration_info
            .clone()
            .filter(|_| has(0xB6)),
        profile_owner: metadata.profile_owner.clone().filter(|_| has(0xB7)),
        dp_proprietary_data: profile.proprietary_data().filter(|_| has(0xB8)),
        profile_policy_rules: metadata.profile_policy_rules.filter(|_| has(0x99)),
        service_specific_data_stored_in_euicc: metadata
            .service_specific_data_stored_in_euicc
            .clone()
            .filter(|_| has(0xBF22)),
    }
}

const DEFAULT_TAGS: [u32; 9] = [0x5A, 0x4F, 0x9F70, 0x90, 0x91, 0x92, 0x93, 0x94, 0x95];
/// Of SGP.22 v3.
const ENABLED_ON_ESIM_PORT: u32 = 0x9F24;
/// Of SGP.22 v3.
const PROFILE_SIZE: u32 = 0x9F25;
const LONGEST_NICKNAME: usize = 64;
