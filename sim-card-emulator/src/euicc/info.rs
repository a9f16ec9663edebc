//! ES10b.GetEUICCInfo, GetRAT and ES10c.GetEID: what the card tells about itself.

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::{List, Open, encode};
use es10_apdu::es10b::{
    EuiccInfo1, EuiccInfo2, GetEuiccInfo1Request, GetEuiccInfo2Request, GetRatRequest,
    GetRatResponse,
};
use es10_apdu::es10c::{GetEuiccDataRequest, GetEuiccDataResponse};
use es10_apdu::types::{RspCapability, SubjectKeyIdentifier, VersionType};
use rsp_common::der::{Tlv, extended, tlv};

use super::Euicc;

impl Euicc {
    pub(super) fn euicc_info1(&self, _: GetEuiccInfo1Request) -> Result<Vec<u8>, StatusWord> {
        let info = encode(&EuiccInfo1 {
            svn: self.settings.svn,
            euicc_ci_pk_id_list_for_verification: self.verification_list(),
            euicc_ci_pk_id_list_for_signing: self.signing_list(),
        });
        if !self.settings.v3_answers {
            return Ok(info);
        }
        let capability = retagged(0x88, &encode(&self.rsp_capability()));
        let more = [self.signing_of_v3(), capability, tlv(0x93, &HIGHEST_SVN)];
        Ok(extended(&info, &more))
    }

    pub(super) fn euicc_info2(&self, _: GetEuiccInfo2Request) -> Result<Vec<u8>, StatusWord> {
        Ok(self.info2())
    }

    pub(super) fn info2(&self) -> Vec<u8> {
        let settings = &self.settings;
        let info = encode(&EuiccInfo2 {
            profile_version: settings.profile_version,
            svn: settings.svn,
            euicc_firmware_ver: settings.firmware_version,
            ext_card_resource: self.resources().into(),
            uicc_capability: settings.uicc_capability,
            ts102241_version: Some(VersionType([9, 2, 0])),
            globalplatform_version: Some(VersionType([2, 3, 0])),
            rsp_capability: self.rsp_capability(),
            euicc_ci_pk_id_list_for_verification: self.verification_list(),
            euicc_ci_pk_id_list_for_signing: self.signing_list(),
            euicc_category: None,
            forbidden_profile_policy_rules: Some(settings.forbidden_rules),
            pp_version: Some(VersionType([1, 0, 0])),
            sas_acreditation_number: Some(settings.sas_accreditation_number[..].into()),
            certification_data_object: None,
        });
        if settings.v3_answers {
            extended(&info, &self.more_of_v3_info())
        } else {
            info
        }
    }

    /// Properties and reference of the hardware, package versions, LPA mode, keys, own data, svn.
    fn more_of_v3_info(&self) -> Vec<Vec<u8>> {
        vec![
            tlv(0x8D, &[0x07, 0x80]),
            tlv(0x8E, b"LPAD-TEST-TRE"),
            tlv(0xAF, &tlv(0x04, &[3, 2, 0])),
            tlv(0x90, &[0]),
            self.signing_of_v3(),
            tlv(0x92, b"lpad"),
            tlv(0x93, &HIGHEST_SVN),
        ]
    }

    /// Keys a certificate chain of another shape than version 2 knows could be signed with.
    fn signing_of_v3(&self) -> Vec<u8> {
        retagged(0xB1, &encode(&self.signing_list()))
    }

    /// A card of version 3 says in EUICCInfo1 too what it can do, and that it does.
    fn rsp_capability(&self) -> RspCapability {
        if self.settings.v3_answers {
            self.settings.rsp_capability | EUICC_RSP_CAP_IN_INFO1
        } else {
            self.settings.rsp_capability
        }
    }

    pub(super) fn rat(&self, _: GetRatRequest) -> Result<Vec<u8>, StatusWord> {
        let rules = self.settings.rat.iter().map(|rule| Open(rule.0.clone()));
        Ok(encode(&GetRatResponse {
            rat: List::from(rules.collect::<Vec<_>>()),
        }))
    }

    pub(super) fn euicc_data(&self, request: GetEuiccDataRequest) -> Result<Vec<u8>, StatusWord> {
        if request.tag_list[..] != [0x5A] {
            return Err(StatusWord::REFERENCED_DATA_NOT_FOUND);
        }
        Ok(encode(&GetEuiccDataResponse {
            eid_value: self.identity.eid(),
        }))
    }

    fn verification_list(&self) -> List<SubjectKeyIdentifier> {
        if self.settings.no_verification_keys {
            return List::default();
        }
        key_identifiers(self.identity.verification_key_identifiers())
    }

    fn signing_list(&self) -> List<SubjectKeyIdentifier> {
        if self.settings.no_signing_keys {
            return List::default();
        }
        key_identifiers(self.identity.signing_key_identifiers())
    }

    /// Extended card resources (ETSI TS 102 226): applications, free flash, free RAM.
    fn resources(&self) -> Vec<u8> {
        if let Some(resource) = &self.settings.card_resource {
            return resource.clone();
        }
        let installed = u8::try_from(self.memory.profiles.len()).unwrap_or(u8::MAX);
        let free = u32::try_from(self.free_memory()).unwrap_or(u32::MAX);
        let parts = [
            tlv(0x81, &[installed]),
            tlv(0x82, &free.to_be_bytes()),
            tlv(0x83, &self.settings.free_ram.to_be_bytes()),
        ];
        parts.concat()
    }
}

/// The same contents under a tag of the module.
fn retagged(tag: u32, der: &[u8]) -> Vec<u8> {
    tlv(tag, Tlv::exact(der).map_or(&[], |whole| whole.value))
}

const HIGHEST_SVN: [u8; 3] = [3, 1, 0];
/// Of SGP.22 v3.
const EUICC_RSP_CAP_IN_INFO1: RspCapability = RspCapability(1 << 18);
fn key_identifiers<'a>(all: impl Iterator<Item = &'a [u8]>) -> List<SubjectKeyIdentifier> {
    let identifiers = all.filter_map(|octets| SubjectKeyIdentifier::from_octets(octets).ok());
    List::from(identifiers.collect::<Vec<_>>())
}
