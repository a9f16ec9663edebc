//! What an eUICC says of itself, its default SM-DP+ and its reset.
//!
//! Each function that changes something is sent once. After an error whose outcome is unknown, or
//! when a future was dropped, the caller reads the card before saying anything.

use es10_apdu::asn1::Raw;
use es10_apdu::es10a::{
    EuiccConfiguredAddressesRequest, EuiccConfiguredAddressesResponse, SetDefaultDpAddressRequest,
};
use es10_apdu::es10b::{EuiccInfo1, EuiccInfo2, GetEuiccInfo1Request, GetEuiccInfo2Request};
use es10_apdu::es10c::{EuiccMemoryResetRequest, GetEuiccDataRequest, ResetResult};
use es10_apdu::isdr::CallError;
use es10_apdu::types::{Eid, ResetOptions};

use super::{Card, FunctionError, accepted, call_with_retry};
use crate::commit::Committed;

/// Reads the EID.
pub async fn eid(card: &mut impl Card) -> Result<Eid, CallError> {
    Ok(card.call(&GetEuiccDataRequest::default()).await?.eid_value)
}

/// Reads EUICCInfo1.
pub async fn info1(card: &mut impl Card) -> Result<Raw<EuiccInfo1>, CallError> {
    call_with_retry(card, &GetEuiccInfo1Request {}).await
}

/// Reads EUICCInfo2.
pub async fn info2(card: &mut impl Card) -> Result<Raw<EuiccInfo2>, CallError> {
    card.call(&GetEuiccInfo2Request {}).await
}

/// Reads the configured addresses.
pub async fn addresses(
    card: &mut impl Card,
) -> Result<EuiccConfiguredAddressesResponse, CallError> {
    card.call(&EuiccConfiguredAddressesRequest {}).await
}

/// Sets the default SM-DP+; an empty address clears it.
pub async fn set_default_smdp(
    card: &mut impl Card,
    address: &str,
    _: &Committed,
) -> Result<(), FunctionError> {
    let request = SetDefaultDpAddressRequest {
        default_dp_address: address.into(),
    };
    let result = card.call(&request).await?.set_default_dp_address_result;
    accepted::<SetDefaultDpAddressRequest>(result.0, &result)
}

/// Clears what `options` name; tells whether there was anything to clear.
pub async fn reset(
    card: &mut impl Card,
    options: ResetOptions,
    _: &Committed,
) -> Result<bool, FunctionError> {
    let request = EuiccMemoryResetRequest {
        reset_options: options,
    };
    match card.call(&request).await?.reset_result {
        ResetResult::OK => Ok(true),
        ResetResult::NOTHING_TO_DELETE => Ok(false),
        result => Err(FunctionError::refused::<EuiccMemoryResetRequest>(
            result.0, &result,
        )),
    }
}
