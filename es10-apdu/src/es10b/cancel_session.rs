//! ES10b.CancelSession: ending a session before the package is installed.

use rasn::{AsnType, Decode, Decoder, Encode};

use crate::asn1::{Open, Raw, elements, sequences};
use crate::function::functions;
use crate::types::{Oid, Signature, TransactionId, result_code};

/// Ends a session. What the server does with the order depends on the reason.
///
/// SGP.22 v2.5 section 5.7.14, tag BF41.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 65))]
pub struct CancelSessionRequest {
    /// The session.
    pub transaction_id: TransactionId,
    /// Why.
    pub reason: CancelSessionReason,
}

result_code! {
    /// Why a session is cancelled.
    CancelSessionReason {
        END_USER_REJECTION = 0, "rejected by the end user";
        POSTPONED = 1, "postponed";
        TIMEOUT = 2, "timeout";
        PPR_NOT_ALLOWED = 3, "profile policy rule not allowed";
        METADATA_MISMATCH = 4, "metadata mismatch";
        LOAD_BPP_EXECUTION_ERROR = 5, "the package could not be loaded";
        UNDEFINED_REASON = 127, "undefined reason";
    }
}

/// The eUICC's answer; the server gets its octets.
///
/// SGP.22 v2.5 section 5.7.14, tag BF41.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice, automatic_tags, tag(explicit(context, 65)))]
pub enum CancelSessionResponse {
    /// The session is over.
    CancelSessionResponseOk(Open<CancelSessionResponseOk>),
    /// There is no such session.
    CancelSessionResponseError(CancelSessionError),
}

/// The eUICC's word for the server that the session is over.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct CancelSessionResponseOk {
    /// What the eUICC signed.
    pub euicc_cancel_session_signed: Raw<EuiccCancelSessionSigned>,
    /// Its signature.
    pub euicc_cancel_session_signature: Signature,
}

/// What an eUICC signs about a cancelled session.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags)]
pub struct EuiccCancelSessionSigned {
    /// The session.
    pub transaction_id: TransactionId,
    /// The owner of CERT.DPauth.
    pub smdp_oid: Oid,
    /// Why.
    pub reason: CancelSessionReason,
}

result_code! {
    /// Why CancelSession failed.
    CancelSessionError {
        INVALID_TRANSACTION_ID = 5, "invalid transaction id";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

sequences!(
    CancelSessionRequest,
    CancelSessionResponseOk,
    EuiccCancelSessionSigned
);

elements!(CancelSessionResponse);

functions! {
    CancelSessionRequest => Raw<CancelSessionResponse>,
        "ES10b.CancelSession", "5.7.14", 0xBF41, session;
}
