//! ES10c.eUICCMemoryReset.

use rasn::{AsnType, Decode, Decoder, Encode};

use crate::asn1::sequences;
use crate::function::functions;
use crate::types::{ResetOptions, result_code};

/// Clears an eUICC, whatever state its profiles are in.
///
/// SGP.22 v2.5 section 5.7.19, tag BF34.
#[derive(AsnType, Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 52))]
pub struct EuiccMemoryResetRequest {
    /// What to clear.
    #[rasn(tag(context, 2))]
    pub reset_options: ResetOptions,
}

/// Whether the eUICC was cleared.
///
/// SGP.22 v2.5 section 5.7.19, tag BF34.
#[derive(AsnType, Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 52))]
pub struct EuiccMemoryResetResponse {
    /// The result.
    pub reset_result: ResetResult,
}

result_code! {
    /// The result of eUICCMemoryReset.
    ResetResult {
        OK = 0, "ok";
        NOTHING_TO_DELETE = 1, "nothing to delete";
        CAT_BUSY = 5, "the card is busy with a proactive command";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

sequences!(EuiccMemoryResetRequest, EuiccMemoryResetResponse);

functions! {
    EuiccMemoryResetRequest => EuiccMemoryResetResponse,
        "ES10c.eUICCMemoryReset", "5.7.19", 0xBF34, changes;
}
