//! ES10c: enabling, disabling and deleting profiles (SGP.22 v2.5 sections 5.7.16 to 5.7.18).

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::encode;
use es10_apdu::es10c::{
    DeleteProfileRequest, DeleteProfileResponse, DeleteResult, DisableProfileRequest,
    DisableProfileResponse, DisableResult, EnableProfileRequest, EnableProfileResponse,
    EnableResult, ProfileIdentifier,
};
use es10_apdu::types::{Iccid, NotificationEvent, PprIds, ProfileClass};

use super::{Euicc, Profile, Refresh, Switch};

impl Euicc {
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

    pub(super) fn delete(&mut self, doomed: impl Fn(&Profile) -> bool) {
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
    pub(super) fn cat_busy(&self) -> bool {
        self.refresh.is_some() || self.settings.cat_busy
    }

    fn in_test_mode(&self) -> bool {
        let enabled = self.enabled();
        enabled.is_some_and(|profile| profile.class() == ProfileClass::TEST)
    }

    pub(super) fn enabled(&self) -> Option<&Profile> {
        self.memory.profiles.iter().find(|profile| profile.enabled)
    }

    pub(super) fn find(&self, identifier: &ProfileIdentifier) -> Option<&Profile> {
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

/// How many notifications an event of the profile makes.
pub(super) fn recipients(profile: &Profile, event: NotificationEvent) -> usize {
    let configuration = profile.metadata.notification_configuration_info.as_ref();
    let entries = configuration.iter().flat_map(|list| list.iter());
    entries
        .filter(|entry| entry.profile_management_operation.contains(event))
        .count()
}
