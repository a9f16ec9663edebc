//! ES10c.GetEID.

use rasn::types::OctetString;
use rasn::{AsnType, Decode, Decoder, Encode};

use crate::asn1::sequences;
use crate::function::functions;
use crate::types::Eid;

/// Asks for the EID.
///
/// SGP.22 v2.5 section 5.7.20, tag BF3E.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 62))]
pub struct GetEuiccDataRequest {
    /// The data objects wanted; 5A is the only one defined.
    #[rasn(tag(application, 28))]
    pub tag_list: OctetString,
}

impl Default for GetEuiccDataRequest {
    fn default() -> Self {
        Self {
            tag_list: OctetString::from_static(&[0x5A]),
        }
    }
}

/// The EID.
///
/// SGP.22 v2.5 section 5.7.20, tag BF3E.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 62))]
pub struct GetEuiccDataResponse {
    /// The EID.
    pub eid_value: Eid,
}

sequences!(GetEuiccDataRequest, GetEuiccDataResponse);

functions! {
    GetEuiccDataRequest => GetEuiccDataResponse, "ES10c.GetEID", "5.7.20", 0xBF3E, reads;
}
