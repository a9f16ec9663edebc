//! ES10a: addresses.

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::encode;
use es10_apdu::es10a::{
    EuiccConfiguredAddressesRequest, EuiccConfiguredAddressesResponse, SetDefaultDpAddressRequest,
    SetDefaultDpAddressResponse, SetDefaultDpAddressResult,
};

use super::Euicc;

impl Euicc {
    pub(super) fn configured_addresses(
        &self,
        _: EuiccConfiguredAddressesRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let default = &self.memory.default_dp_address;
        Ok(encode(&EuiccConfiguredAddressesResponse {
            default_dp_address: Some(default)
                .filter(|set| !set.is_empty())
                .map(|set| set[..].into()),
            root_ds_address: Some(self.settings.root_ds_address[..].into()),
        }))
    }

    pub(super) fn set_default_dp_address(
        &mut self,
        request: SetDefaultDpAddressRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let address = std::str::from_utf8(request.default_dp_address.octets());
        let result = match address {
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
