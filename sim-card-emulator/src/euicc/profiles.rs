//! ES10c: listing, enabling, disabling, deleting and naming profiles, and the memory reset.

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::{List, encode};
use es10_apdu::es10c::{
    DeleteProfileRequest, DeleteProfileResponse, DeleteResult, DisableProfileRequest,
    DisableProfileResponse, DisableResult, EnableProfileRequest, EnableProfileResponse,
    EnableResult, EuiccMemoryResetRequest, EuiccMemoryResetResponse, ProfileIdentifier,
    ProfileInfo, ProfileInfoListError, ProfileInfoListRequest, ProfileInfoListResponse,
    ProfileSearch, ResetResult, SetNicknameRequest, SetNicknameResponse, SetNicknameResult,
};
use es10_apdu::types::{
    Aid, Iccid, NotificationEvent, PprIds, ProfileClass, ProfileState, ResetOptions,
};

use super::session::Session;
use super::{Euicc, Profile, Refresh, Switch};

impl Euicc {
    pub(super) fn profiles_info(
        &self,
        request: ProfileInfoListRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let tags = match &request.tag_list {
            None => Some(DEFAULT_TAGS.to_vec()),
            Some(list) => tag_list(list),
        };
        let Some(tags) = tags else {
            let error = ProfileInfoListError::INCORRECT_INPUT_VALUES;
            return Ok(encode(&ProfileInfoListResponse::ProfileInfoListError(
                error,
            )));
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
        let list = found
            .map(|profile| profile_info(profile, &tags))
            .collect::<Vec<_>>();
        Ok(encode(&ProfileInfoListResponse::ProfileInfoListOk(
            List::from(list),
        )))
    }

    pub(super) fn enable_profile(
        &mut self,
        request: EnableProfileRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let result = match self.check_enable(&request.profile_identifier) {
            Ok(iccid) => {
                self.begin_switch(Some(iccid), request.refresh_flag);
                EnableResult::OK
            }
            Err(refused) => refused,
        };
        Ok(encode(&EnableProfileResponse {
            enable_result: result,
        }))
    }

    pub(super) fn disable_profile(
        &mut self,
        request: DisableProfileRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let result = match self.find(&request.profile_identifier) {
            None => DisableResult::ICCID_OR_AID_NOT_FOUND,
            Some(_) if self.refresh.is_some() => DisableResult::CAT_BUSY,
            Some(profile) if !profile.enabled => DisableResult::PROFILE_NOT_IN_ENABLED_STATE,
            Some(profile) if has_rule(profile, PprIds::PPR1) => DisableResult::DISALLOWED_BY_POLICY,
            Some(_) => {
                self.begin_switch(None, request.refresh_flag);
                DisableResult::OK
            }
        };
        Ok(encode(&DisableProfileResponse {
            disable_result: result,
        }))
    }

    pub(super) fn delete_profile(
        &mut self,
        request: DeleteProfileRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let identifier = match request {
            DeleteProfileRequest::IsdpAid(aid) => ProfileIdentifier::IsdpAid(aid),
            DeleteProfileRequest::Iccid(iccid) => ProfileIdentifier::Iccid(iccid),
        };
        let awaited = self
            .memory
            .pending_switch
            .as_ref()
            .and_then(|switch| switch.enable);
        let result = match self.find(&identifier) {
            None => DeleteResult::ICCID_OR_AID_NOT_FOUND,
            Some(profile) if profile.enabled || awaited == Some(profile.iccid) => {
                DeleteResult::PROFILE_NOT_IN_DISABLED_STATE
            }
            Some(profile) if has_rule(profile, PprIds::PPR2) => DeleteResult::DISALLOWED_BY_POLICY,
            Some(profile) => {
                let iccid = profile.iccid;
                self.delete(|profile| profile.iccid == iccid);
                DeleteResult::OK
            }
        };
        Ok(encode(&DeleteProfileResponse {
            delete_result: result,
        }))
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

    /// SGP.22 v2.5 section 5.7.19: states and policy rules do not count.
    pub(super) fn memory_reset(
        &mut self,
        request: EuiccMemoryResetRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let options = request.reset_options;
        let doomed = move |profile: &Profile| match profile.class() {
            ProfileClass::TEST => options.contains(ResetOptions::DELETE_FIELD_LOADED_TEST_PROFILES),
            ProfileClass::OPERATIONAL => {
                options.contains(ResetOptions::DELETE_OPERATIONAL_PROFILES)
            }
            _ => false,
        };
        let profiles = self.memory.profiles.iter().any(doomed);
        let address = options.contains(ResetOptions::RESET_DEFAULT_SMDP_ADDRESS)
            && !self.memory.default_dp_address.is_empty();
        let result = match (self.refresh.is_some(), profiles || address) {
            (true, _) => ResetResult::CAT_BUSY,
            (false, false) => ResetResult::NOTHING_TO_DELETE,
            (false, true) => {
                self.session = Session::default();
                self.report_interruption();
                if address {
                    self.flash().default_dp_address.clear();
                }
                if self
                    .memory
                    .profiles
                    .iter()
                    .any(|profile| profile.enabled && doomed(profile))
                {
                    self.refresh = Some(Refresh::Waiting);
                }
                self.delete(doomed);
                ResetResult::OK
            }
        };
        Ok(encode(&EuiccMemoryResetResponse {
            reset_result: result,
        }))
    }

    /// Makes a profile the one in use, or none; notifies of the disabled one first.
    pub(super) fn switch(&mut self, enable: Option<&Iccid>) {
        self.forget_files();
        if let Some(old) = self.enabled().cloned() {
            let to_test = enable
                .and_then(|iccid| self.find(&ProfileIdentifier::Iccid(*iccid)))
                .is_some_and(|profile| profile.class() == ProfileClass::TEST);
            let from_test = old.class() == ProfileClass::TEST;
            if !from_test {
                self.flash().before_test = Some(old.iccid).filter(|_| to_test);
            }
            self.set_state(&old.iccid, false);
            self.notify(&old.metadata, NotificationEvent::DISABLE);
        }
        let new = enable
            .and_then(|iccid| self.find(&ProfileIdentifier::Iccid(*iccid)))
            .cloned();
        if let Some(new) = new {
            self.set_state(&new.iccid, true);
            self.notify(&new.metadata, NotificationEvent::ENABLE);
        }
    }

    fn check_enable(&self, identifier: &ProfileIdentifier) -> Result<Iccid, EnableResult> {
        let target = self
            .find(identifier)
            .ok_or(EnableResult::ICCID_OR_AID_NOT_FOUND)?;
        if self.refresh.is_some() {
            return Err(EnableResult::CAT_BUSY);
        }
        if target.enabled {
            return Err(EnableResult::PROFILE_NOT_IN_DISABLED_STATE);
        }
        if let Some(current) = self.enabled() {
            let provisioning = target.class() == ProfileClass::PROVISIONING;
            if has_rule(current, PprIds::PPR1) && !provisioning {
                return Err(EnableResult::DISALLOWED_BY_POLICY);
            }
            let may_follow_test = target.class() == ProfileClass::TEST
                || self.memory.before_test == Some(target.iccid);
            if current.class() == ProfileClass::TEST && !may_follow_test {
                return Err(EnableResult::WRONG_PROFILE_REENABLING);
            }
        }
        Ok(target.iccid)
    }

    /// Without the refresh flag the switch is made at once, with it by the REFRESH.
    fn begin_switch(&mut self, enable: Option<Iccid>, refresh: bool) {
        if refresh {
            self.flash().pending_switch = Some(Switch { enable });
            self.refresh = Some(Refresh::Waiting);
        } else {
            self.switch(enable.as_ref());
        }
    }

    fn delete(&mut self, doomed: impl Fn(&Profile) -> bool) {
        let (deleted, kept) = std::mem::take(&mut self.flash().profiles)
            .into_iter()
            .partition(doomed);
        let deleted: Vec<Profile> = deleted;
        self.flash().profiles = kept;
        for profile in deleted {
            self.notify(&profile.metadata, NotificationEvent::DELETE);
        }
    }

    fn set_state(&mut self, iccid: &Iccid, enabled: bool) {
        for profile in &mut self.flash().profiles {
            if profile.iccid == *iccid {
                profile.enabled = enabled;
            }
        }
    }

    fn enabled(&self) -> Option<&Profile> {
        self.memory.profiles.iter().find(|profile| profile.enabled)
    }

    fn find(&self, identifier: &ProfileIdentifier) -> Option<&Profile> {
        self.memory
            .profiles
            .iter()
            .find(|profile| match identifier {
                ProfileIdentifier::IsdpAid(aid) => profile.aid == aid.octets(),
                ProfileIdentifier::Iccid(iccid) => profile.iccid == *iccid,
            })
    }
}

fn has_rule(profile: &Profile, rule: PprIds) -> bool {
    profile.metadata.rules().contains(rule)
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
        dp_proprietary_data: None,
        profile_policy_rules: metadata.profile_policy_rules.filter(|_| has(0x99)),
        service_specific_data_stored_in_euicc: None,
    }
}

const DEFAULT_TAGS: [u32; 9] = [0x5A, 0x4F, 0x9F70, 0x90, 0x91, 0x92, 0x93, 0x94, 0x95];
const LONGEST_NICKNAME: usize = 64;
