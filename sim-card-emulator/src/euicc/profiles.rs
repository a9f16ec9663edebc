//! ES10c: listing, enabling, disabling, deleting and naming profiles, and the memory reset.

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::encode;
use es10_apdu::es10c::{
    DeleteProfileRequest, DeleteProfileResponse, DeleteResult, DisableProfileRequest,
    DisableProfileResponse, DisableResult, EnableProfileRequest, EnableProfileResponse,
    EnableResult, EuiccMemoryResetRequest, EuiccMemoryResetResponse, ProfileIdentifier,
    ProfileInfo, ProfileInfoListError, ProfileInfoListRequest, ProfileInfoListResponse,
    ProfileSearch, ResetResult, SetNicknameRequest, SetNicknameResponse, SetNicknameResult,
};
use es10_apdu::types::{
    Aid, Iccid, NotificationEvent, PprIds, ProfileClass, ProfileState, ResetOptions, RspCapability,
};

use super::session::Session;
use super::{Euicc, Profile, Refresh, Switch};
use crate::der::{constructed, extended, tlv, unsigned};

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
            Some(_) if self.cat_busy() => DisableResult::CAT_BUSY,
            Some(profile) if !profile.enabled => DisableResult::PROFILE_NOT_IN_ENABLED_STATE,
            Some(profile) if has_rule(profile, PprIds::PPR1) => DisableResult::DISALLOWED_BY_POLICY,
            Some(profile)
                if !self.has_room_for(recipients(profile, NotificationEvent::DISABLE)) =>
            {
                DisableResult::UNDEFINED_ERROR
            }
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
            Some(_) if self.settings.v3_answers && self.in_test_mode() => {
                DeleteResult::DISALLOWED_IN_TEST_MODE
            }
            Some(profile) if has_rule(profile, PprIds::PPR2) => DeleteResult::DISALLOWED_BY_POLICY,
            Some(profile) if !self.has_room_for(recipients(profile, NotificationEvent::DELETE)) => {
                DeleteResult::UNDEFINED_ERROR
            }
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
        let options = self.known_options(request.reset_options);
        let result = self.check_reset(options);
        if result == ResetResult::OK {
            self.session = Session::default();
            self.report_interruption();
            // From here on it is done, at the latest when the power comes back.
            self.flash().pending_reset = Some(options.0);
            if self.power_fails_halfway {
                return Err(StatusWord::TECHNICAL_PROBLEM);
            }
            let enabled_goes = self
                .enabled()
                .is_some_and(|profile| is_doomed(profile, options));
            self.finish_memory_reset();
            if enabled_goes {
                self.refresh = Some(Refresh::Waiting);
            }
        }
        Ok(encode(&EuiccMemoryResetResponse {
            reset_result: result,
        }))
    }

    /// Does what a memory reset has promised.
    pub(super) fn finish_memory_reset(&mut self) {
        let Some(options) = self.memory.pending_reset.map(ResetOptions) else {
            return;
        };
        if options.contains(ResetOptions::RESET_DEFAULT_SMDP_ADDRESS) {
            self.flash().default_dp_address.clear();
        }
        self.delete(|profile| is_doomed(profile, options));
        self.flash().pending_reset = None;
    }

    fn check_reset(&self, options: ResetOptions) -> ResetResult {
        let profiles = self.memory.profiles.iter();
        let doomed = profiles.filter(|profile| is_doomed(profile, options));
        let notifications = doomed.map(|profile| recipients(profile, NotificationEvent::DELETE));
        let notifications: Vec<usize> = notifications.collect();
        let address = options.contains(ResetOptions::RESET_DEFAULT_SMDP_ADDRESS)
            && !self.memory.default_dp_address.is_empty();
        if self.cat_busy() {
            ResetResult::CAT_BUSY
        } else if notifications.is_empty() && !address {
            ResetResult::NOTHING_TO_DELETE
        } else if self.has_room_for(notifications.iter().sum()) {
            ResetResult::OK
        } else {
            ResetResult::UNDEFINED_ERROR
        }
    }

    /// Options of version 3 are no options to a card of version 2.
    fn known_options(&self, options: ResetOptions) -> ResetOptions {
        let of_v2 = ResetOptions::DELETE_OPERATIONAL_PROFILES
            | ResetOptions::DELETE_FIELD_LOADED_TEST_PROFILES
            | ResetOptions::RESET_DEFAULT_SMDP_ADDRESS;
        if self.settings.v3_answers {
            options
        } else {
            ResetOptions(options.0 & of_v2.0)
        }
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
            self.notify(
                &old.metadata,
                &old.ci_key_identifier,
                NotificationEvent::DISABLE,
            );
        }
        let new = enable
            .and_then(|iccid| self.find(&ProfileIdentifier::Iccid(*iccid)))
            .cloned();
        if let Some(new) = new {
            self.set_state(&new.iccid, true);
            self.notify(
                &new.metadata,
                &new.ci_key_identifier,
                NotificationEvent::ENABLE,
            );
        }
    }

    fn check_enable(&self, identifier: &ProfileIdentifier) -> Result<Iccid, EnableResult> {
        let target = self
            .find(identifier)
            .ok_or(EnableResult::ICCID_OR_AID_NOT_FOUND)?;
        if self.cat_busy() {
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
        let disabled = self.enabled();
        let disabled = disabled.map_or(0, |old| recipients(old, NotificationEvent::DISABLE));
        if !self.has_room_for(disabled + recipients(target, NotificationEvent::ENABLE)) {
            return Err(EnableResult::UNDEFINED_ERROR);
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
            let issuer = &profile.ci_key_identifier;
            self.notify(&profile.metadata, issuer, NotificationEvent::DELETE);
        }
    }

    fn set_state(&mut self, iccid: &Iccid, enabled: bool) {
        for profile in &mut self.flash().profiles {
            if profile.iccid == *iccid {
                profile.enabled = enabled;
            }
        }
    }

    /// Whether a proactive session is going on, so that no profile can be switched.
    fn cat_busy(&self) -> bool {
        self.refresh.is_some() || self.settings.cat_busy
    }

    fn in_test_mode(&self) -> bool {
        let enabled = self.enabled();
        enabled.is_some_and(|profile| profile.class() == ProfileClass::TEST)
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

/// Whether a memory reset with these options deletes the profile.
fn is_doomed(profile: &Profile, options: ResetOptions) -> bool {
    match profile.class() {
        ProfileClass::TEST => options.contains(ResetOptions::DELETE_FIELD_LOADED_TEST_PROFILES),
        ProfileClass::PROVISIONING => options.contains(ResetOptions::DELETE_PROVISIONING_PROFILES),
        _ => options.contains(ResetOptions::DELETE_OPERATIONAL_PROFILES),
    }
}

/// How many notifications an event of the profile makes.
fn recipients(profile: &Profile, event: NotificationEvent) -> usize {
    let configuration = profile.metadata.notification_configuration_info.as_ref();
    let entries = configuration.iter().flat_map(|list| list.iter());
    entries
        .filter(|entry| entry.profile_management_operation.contains(event))
        .count()
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
