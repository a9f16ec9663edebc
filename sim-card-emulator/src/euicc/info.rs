//! ES10b.GetEUICCInfo, GetRAT and ES10c.GetEID: what the card tells about itself.

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::{List, Open, encode};
use es10_apdu::es10b::{
    EuiccInfo1, EuiccInfo2, GetEuiccInfo1Request, GetEuiccInfo2Request, GetRatRequest,
    GetRatResponse,
};
use es10_apdu::es10c::{GetEuiccDataRequest, GetEuiccDataResponse};
use es10_apdu::types::{SubjectKeyIdentifier, VersionType};

use super::Euicc;
use crate::der::tlv;

impl Euicc {
    pub(super) fn euicc_info1(&self, _: GetEuiccInfo1Request) -> Result<Vec<u8>, StatusWord> {
        Ok(encode(&EuiccInfo1 {
            svn: self.settings.svn,
            euicc_ci_pk_id_list_for_verification: self.ci_key_identifiers(),
            euicc_ci_pk_id_list_for_signing: self.ci_key_identifiers(),
        }))
    }

    pub(super) fn euicc_info2(&self, _: GetEuiccInfo2Request) -> Result<Vec<u8>, StatusWord> {
        Ok(encode(&self.info2()))
    }

    pub(super) fn info2(&self) -> EuiccInfo2 {
        let settings = &self.settings;
        EuiccInfo2 {
            profile_version: settings.profile_version,
            svn: settings.svn,
            euicc_firmware_ver: settings.firmware_version,
            ext_card_resource: self.resources().into(),
            uicc_capability: settings.uicc_capability,
            ts102241_version: Some(VersionType([9, 2, 0])),
            globalplatform_version: Some(VersionType([2, 3, 0])),
            rsp_capability: settings.rsp_capability,
            euicc_ci_pk_id_list_for_verification: self.ci_key_identifiers(),
            euicc_ci_pk_id_list_for_signing: self.ci_key_identifiers(),
            euicc_category: None,
            forbidden_profile_policy_rules: Some(settings.forbidden_rules),
            pp_version: Some(VersionType([1, 0, 0])),
            sas_acreditation_number: Some(settings.sas_accreditation_number[..].into()),
            certification_data_object: None,
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
            eid_value: self.identity.eid,
        }))
    }

    fn ci_key_identifiers(&self) -> List<SubjectKeyIdentifier> {
        let identifier = SubjectKeyIdentifier::from_octets(&self.identity.ci_key_identifier);
        List::from(identifier.into_iter().collect::<Vec<_>>())
    }

    /// Extended card resources (ETSI TS 102 226): applications, free flash, free RAM.
    fn resources(&self) -> Vec<u8> {
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
