//! ES10a: the addresses an eUICC is configured with.

use rasn::{AsnType, Decode, Decoder, Encode};

use crate::asn1::sequences;
use crate::function::functions;
use crate::types::{Text, result_code};

/// Asks for the configured addresses.
///
/// SGP.22 v2.5 section 5.7.3, tag BF3C.
#[derive(AsnType, Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(tag(context, 60))]
pub struct EuiccConfiguredAddressesRequest {}

/// The configured addresses.
///
/// SGP.22 v2.5 section 5.7.3, tag BF3C. The root SM-DS address is mandatory in the module and
/// absent on some cards.
#[derive(AsnType, Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 60))]
pub struct EuiccConfiguredAddressesResponse {
    /// The default SM-DP+, an FQDN; absent or empty when none is set.
    pub default_dp_address: Option<Text>,
    /// The root SM-DS, an FQDN.
    pub root_ds_address: Option<Text>,
}

/// Sets the default SM-DP+; an empty address clears it.
///
/// SGP.22 v2.5 section 5.7.4, tag BF3F.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 63))]
pub struct SetDefaultDpAddressRequest {
    /// The address, an FQDN.
    pub default_dp_address: Text,
}

/// Whether the address was set.
///
/// SGP.22 v2.5 section 5.7.4, tag BF3F.
#[derive(AsnType, Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 63))]
pub struct SetDefaultDpAddressResponse {
    /// The result.
    pub set_default_dp_address_result: SetDefaultDpAddressResult,
}

result_code! {
    /// The result of SetDefaultDpAddress; 8 is of SGP.22 v3.
    SetDefaultDpAddressResult {
        OK = 0, "ok";
        UNSUPPORTED_CI_PK_ID = 8, "unsupported CI public key identifier";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

sequences!(
    EuiccConfiguredAddressesRequest,
    EuiccConfiguredAddressesResponse,
    SetDefaultDpAddressRequest,
    SetDefaultDpAddressResponse,
);

functions! {
    EuiccConfiguredAddressesRequest => EuiccConfiguredAddressesResponse,
        "ES10a.GetEuiccConfiguredAddresses", "5.7.3", 0xBF3C, reads;
    SetDefaultDpAddressRequest => SetDefaultDpAddressResponse,
        "ES10a.SetDefaultDpAddress", "5.7.4", 0xBF3F, changes;
}
