//! ES10b.LoadBoundProfilePackage: a package is checked and installed segment by segment.
//!
//! SGP.22 v2.5 sections 2.5.3 to 2.5.6, 5.5 and 5.7.6. Every segment is one unit of the package as
//! section 2.5.5 cuts it; anything else is a structure error of the part that was expected.

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::{Open, Raw, read};
use es10_apdu::es10b::{
    BppCommandId, ConfigureIsdpRequest, ErrorReason, FinalResult, ReplaceSessionKeysRequest,
    StoreMetadataRequest, SuccessResult,
};
use es10_apdu::types::{Aid, NotificationEvent, PprIds, ProfileClass, RspCapability, Text};
use rsp_common::bsp::{Bsp, BspKeys};
use rsp_common::der::{Tlv, tlv};

use super::metadata::rules_allowed;
use super::session::{Authenticated, Prepared, Session};
use super::{Euicc, InstallationAnswer, Profile};
use crate::saip::{PackageReader, success_response};

pub(super) mod arrival;
mod failure;
mod opening;
mod result;

use self::arrival::{Loading, Part};
use self::failure::Failure;
use self::result::installing;

impl Euicc {
    /// The first segment: the header of BF36 and the whole of BF23.
    pub(super) fn begin_loading(
        &mut self,
        channel: u8,
        segment: &[u8],
    ) -> Result<Vec<u8>, StatusWord> {
        let (session, prepared) = self.prepared().ok_or(StatusWord::CONDITIONS_OF_USE)?;
        let installing = installing(session);
        let opened = opening::check(segment, session, prepared, self.identity.eid().octets());
        self.flash().installing = Some(installing.clone());
        let (bsp, remaining) = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                let command_id = BppCommandId::INITIALISE_SECURE_CHANNEL;
                return Ok(self.end_with_error(&failure, command_id));
            }
        };
        self.consume_one_time_key(&installing.owner);
        let reader = PackageReader::new(self.settings.uicc_capability)
            .strict_content(self.settings.strict_content);
        if let Session::Authenticated(session) = &mut self.session {
            session.loading = Some(Loading::new(channel, bsp, remaining, reader));
        }
        Ok(Vec::new())
    }

    /// Any further segment.
    pub(super) fn load_segment(&mut self, segment: &[u8]) -> Vec<u8> {
        let Session::Authenticated(session) = &mut self.session else {
            return Vec::new();
        };
        let Some(mut loading) = session.loading.take() else {
            return Vec::new();
        };
        let (part, expected) = (loading.part, loading.command_id());
        let processed = self.process(&mut loading, segment);
        self.note_progress(&loading, expected);
        if let Err(failure) = processed {
            // The header of A2 may stand where that of A3 was expected.
            let at = match (part, loading.part) {
                (Part::StoreMetadata, Part::ReplaceSessionKeys) => {
                    BppCommandId::REPLACE_SESSION_KEYS
                }
                _ => expected,
            };
            return self.end_with_error(&failure, at);
        }
        let complete = loading.part == Part::ProfileElements && loading.part_remaining == 0;
        if complete && self.settings.installation_answer != InstallationAnswer::NothingDone {
            return match self.install(loading) {
                Ok(result) => result,
                Err(failure) => self.end_with_error(&failure, expected),
            };
        }
        if let Session::Authenticated(session) = &mut self.session {
            session.loading = Some(loading);
        }
        Vec::new()
    }

    /// The session, when a package may begin.
    pub(super) fn prepared(&self) -> Option<(&Authenticated, &Prepared)> {
        match &self.session {
            Session::Authenticated(session) if session.loading.is_none() => {
                Some((session, session.prepared.as_ref()?))
            }
            _ => None,
        }
    }

    fn process(&self, loading: &mut Loading, segment: &[u8]) -> Result<(), Failure> {
        let elements = loading.elements(segment, self.settings.uncut_sequences)?;
        for element in &elements {
            if element.len() > self.settings.segment_limit {
                return Err(ErrorReason::BSP_STRUCTURE_ERROR.into());
            }
            let plain = loading.bsp.unprotect(element)?;
            loading.pieces += 1;
            if loading.part == Part::ProfileElements {
                self.load_elements(loading, &plain)?;
            } else {
                loading.collect(&plain)?;
            }
        }
        if elements.is_empty() || loading.part_remaining > 0 {
            return Ok(());
        }
        let request = std::mem::take(&mut loading.collected);
        match loading.part {
            Part::Opening | Part::ProfileElements => Ok(()),
            Part::ConfigureIsdp => {
                configure_isdp(&request)?;
                loading.configuration = request;
                Ok(())
            }
            Part::StoreMetadata => self.store_metadata(loading, &request),
            Part::ReplaceSessionKeys => replace_session_keys(&mut loading.bsp, &request),
        }
    }

    fn store_metadata(&self, loading: &mut Loading, request: &[u8]) -> Result<(), Failure> {
        let metadata: Raw<StoreMetadataRequest> =
            Raw::from_ber(request).map_err(|_| ErrorReason::INCORRECT_INPUT_VALUES)?;
        let metadata = loading.stored.insert(metadata);
        check_values(metadata)?;
        let class = metadata.class();
        let test = class == ProfileClass::TEST;
        let known = (ProfileClass::TEST.0..=ProfileClass::OPERATIONAL.0).contains(&class.0);
        let capability = self.settings.rsp_capability;
        if !known || (test && !capability.contains(RspCapability::TEST_PROFILE_SUPPORT)) {
            return Err(ErrorReason::UNSUPPORTED_PROFILE_CLASS.into());
        }
        let installed = &self.memory.profiles;
        if installed
            .iter()
            .any(|profile| profile.iccid == metadata.iccid)
        {
            return Err(ErrorReason::ICCID_ALREADY_EXISTS.into());
        }
        // A profile that cannot be disabled is of no use beside one that is in use already.
        let shut_out = metadata.rules().contains(PprIds::PPR1)
            && installed
                .iter()
                .any(|profile| profile.class() == ProfileClass::OPERATIONAL);
        let settings = &self.settings;
        if shut_out || !rules_allowed(metadata, settings.forbidden_rules, &settings.rat) {
            return Err(ErrorReason::PPR_NOT_ALLOWED.into());
        }
        if test && self.settings.foreign_naa_key {
            return Err(ErrorReason::INVALID_NAA_KEY.into());
        }
        Ok(())
    }

    fn load_elements(&self, loading: &mut Loading, plain: &[u8]) -> Result<(), Failure> {
        if loading.package.len() + plain.len() > self.free_memory() {
            return Err(ErrorReason::INSUFFICIENT_MEMORY.into());
        }
        loading.package.extend_from_slice(plain);
        loading.reader.push(plain)?;
        let announced = loading.stored.as_ref().map(|metadata| metadata.iccid);
        match loading.reader.header() {
            Some(header) if Some(header.iccid) != announced => {
                Err(ErrorReason::DATA_MISMATCH.into())
            }
            _ => Ok(()),
        }
    }

    /// Everything has arrived: the profile is there, disabled, and its result is a notification.
    fn install(&mut self, loading: Loading) -> Result<Vec<u8>, Failure> {
        loading.reader.finish()?;
        let metadata = loading.stored.ok_or(ErrorReason::BSP_STRUCTURE_ERROR)?;
        let aid = self.free_aid().ok_or(ErrorReason::INSUFFICIENT_MEMORY)?;
        let installing = self.memory.installing.as_ref();
        let issuer = installing.map_or_else(Vec::new, |noted| noted.ci_key_identifier.clone());
        let named = Aid::from_octets(&aid).map_err(|_| ErrorReason::UNKNOWN_ERROR)?;
        self.flash().profiles.push(Profile {
            iccid: metadata.iccid,
            aid,
            enabled: false,
            nickname: String::new(),
            metadata: metadata.clone(),
            configuration: loading.configuration,
            ci_key_identifier: issuer.clone(),
            package: loading.package,
        });
        let bare = self.settings.bare_sima_response;
        let response = if bare {
            tlv(0x30, &[])
        } else {
            success_response()
        };
        let result = SuccessResult {
            aid: named,
            sima_response: response.into(),
        };
        let result = self.end(FinalResult::SuccessResult(Open(result)));
        if self.settings.installation_notified {
            self.notify(&metadata, &issuer, NotificationEvent::INSTALL);
        }
        Ok(match self.settings.installation_answer {
            InstallationAnswer::Result => result,
            _ => Vec::new(),
        })
    }

    fn free_aid(&self) -> Option<Vec<u8>> {
        (0x11..=0xFE)
            .map(|number| [&ISDP_AID[..], &[number, 0x00]].concat())
            .find(|aid| {
                self.memory
                    .profiles
                    .iter()
                    .all(|profile| profile.aid != *aid)
            })
    }
}

fn configure_isdp(plain: &[u8]) -> Result<(), Failure> {
    let request: Result<ConfigureIsdpRequest, _> = read(plain);
    let size = Tlv::exact(plain).map_or(usize::MAX, |request| request.value.len());
    if request.is_err() || size > LONGEST_PROPRIETARY_DATA {
        return Err(ErrorReason::INCORRECT_INPUT_VALUES.into());
    }
    Ok(())
}

fn replace_session_keys(bsp: &mut Bsp, plain: &[u8]) -> Result<(), Failure> {
    let request: ReplaceSessionKeysRequest =
        read(plain).map_err(|_| ErrorReason::INCORRECT_INPUT_VALUES)?;
    let key = |octets: &[u8]| {
        octets
            .try_into()
            .map_err(|_| ErrorReason::INCORRECT_INPUT_VALUES)
    };
    bsp.replace_keys(BspKeys {
        initial_mac_chaining_value: key(&request.initial_mac_chaining_value)?,
        encryption: key(&request.ppk_enc)?,
        mac: key(&request.ppk_cmac)?,
    });
    Ok(())
}

/// Limits of the module on metadata.
pub(super) fn check_values(metadata: &StoreMetadataRequest) -> Result<(), ErrorReason> {
    let fits = |text: Option<&Text>, most| text.is_none_or(|text| text.octets().len() <= most);
    let icon = metadata.icon.as_ref().is_none_or(|icon| icon.len() <= 1024);
    if fits(metadata.service_provider_name.as_ref(), 32)
        && fits(metadata.profile_name.as_ref(), 64)
        && icon
        && metadata.icon.is_some() == metadata.icon_type.is_some()
    {
        Ok(())
    } else {
        Err(ErrorReason::INCORRECT_INPUT_VALUES)
    }
}

/// The value of BF24: dpProprietaryData of 128 octets with its tag and length.
const LONGEST_PROPRIETARY_DATA: usize = 128 + 3;
const ISDP_AID: [u8; 14] = [
    0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x00, 0x00,
];
