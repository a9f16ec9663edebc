//! ES10a: addresses.

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::encode;
use es10_apdu::es10a::{
    EuiccConfiguredAddressesRequest, EuiccConfiguredAddressesResponse, SetDefaultDpAddressRequest,
    SetDefaultDpAddressResponse, SetDefaultDpAddressResult,
};
use rsp_common::der::{Tlv, constructed, extended, tlv};

use super::Euicc;

impl Euicc {
    pub(super) fn configured_addresses(
        &self,
        _: EuiccConfiguredAddressesRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let default = &self.memory.default_dp_address;
        let addresses = encode(&EuiccConfiguredAddressesResponse {
            default_dp_address: Some(default)
                .filter(|set| !set.is_empty())
                .map(|set| set[..].into()),
            root_ds_address: Some(self.settings.root_ds_address[..].into()),
        });
        Ok(if self.settings.v3_answers {
            extended(&addresses, &self.more_of_v3())
        } else {
            addresses
        })
    }

    /// Another root SM-DS, and which CI the default SM-DP+ must be under.
    fn more_of_v3(&self) -> Vec<Vec<u8>> {
        let ci = self.identity.signing_key_identifiers().next();
        let ci = ci.unwrap_or_default();
        let name = tlv(0x81, b"Test CI");
        vec![
            tlv(0xA2, &tlv(0x0C, b"root2.ds.example.com")),
            tlv(0x83, ci),
            tlv(0xA4, &constructed(0x30, &[tlv(0x80, ci), name])),
        ]
    }

    pub(super) fn set_default_dp_address(
        &mut self,
        request: SetDefaultDpAddressRequest,
        data: &[u8],
    ) -> Result<Vec<u8>, StatusWord> {
        let address = std::str::from_utf8(request.default_dp_address.octets());
        let parts = Tlv::exact(data).and_then(|request| request.children());
        let parts = parts.unwrap_or_default();
        let issuer = parts.iter().find(|part| part.tag == ALLOWED_CI_PK_ID);
        let known = issuer.is_none_or(|ci| self.identity.issuer(ci.value).is_some());
        let result = match address {
            _ if !known => SetDefaultDpAddressResult::UNSUPPORTED_CI_PK_ID,
            Ok(address) if address.len() <= LONGEST_ADDRESS => {
                self.flash().default_dp_address = address.to_owned();
                SetDefaultDpAddressResult::OK
            }
            _ => SetDefaultDpAddressResult::UNDEFINED_ERROR,
        };
        Ok(encode(&SetDefaultDpAddressResponse {
            set_default_dp_address_result: result,
        }))
    }
}

const LONGEST_ADDRESS: usize = 128;
/// Of SGP.22 v3.
const ALLOWED_CI_PK_ID: u32 = 0x81;
