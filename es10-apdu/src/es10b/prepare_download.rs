//! ES10b.PrepareDownload: the eUICC makes the one-time key a package is bound to.

use rasn::{AsnType, Decode, Decoder, Encode};

use crate::asn1::{Open, Raw, elements, sequences};
use crate::function::functions;
use crate::types::{Certificate, HashCc, OneTimeKey, Signature, TransactionId, result_code};

/// Agrees to a download.
///
/// SGP.22 v2.5 section 5.7.5, tag BF21.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 33))]
pub struct PrepareDownloadRequest {
    /// What the SM-DP+ signed.
    pub smdp_signed2: Raw<SmdpSigned2>,
    /// Its signature, which covers euiccSignature1 too.
    pub smdp_signature2: Signature,
    /// The hashed confirmation code, when one is required.
    pub hash_cc: Option<HashCc>,
    /// CERT.DPpb.
    pub smdp_certificate: Certificate,
}

/// What an SM-DP+ signs second.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct SmdpSigned2 {
    /// The session.
    #[rasn(tag(context, 0))]
    pub transaction_id: TransactionId,
    /// Whether a confirmation code is required.
    pub cc_required_flag: bool,
    /// The eUICC's one-time key a package is already bound to.
    pub bpp_euicc_otpk: Option<OneTimeKey>,
}

/// The eUICC's answer; the server gets its octets.
///
/// SGP.22 v2.5 section 5.7.5, tag BF21.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice, automatic_tags, tag(explicit(context, 33)))]
pub enum PrepareDownloadResponse {
    /// Ready to receive a package.
    DownloadResponseOk(Open<PrepareDownloadResponseOk>),
    /// Not ready.
    DownloadResponseError(Open<PrepareDownloadResponseError>),
}

/// The eUICC's one-time key, signed.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct PrepareDownloadResponseOk {
    /// What the eUICC signed.
    pub euicc_signed2: Raw<EuiccSigned2>,
    /// Its signature, which covers smdpSignature2 too.
    pub euicc_signature2: Signature,
}

/// What an eUICC signs second.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct EuiccSigned2 {
    /// The session.
    #[rasn(tag(context, 0))]
    pub transaction_id: TransactionId,
    /// The one-time key.
    pub euicc_otpk: OneTimeKey,
    /// The hashed confirmation code as the LPA gave it.
    pub hash_cc: Option<HashCc>,
}

/// Why a download was not agreed to.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct PrepareDownloadResponseError {
    /// The session.
    #[rasn(tag(context, 0))]
    pub transaction_id: TransactionId,
    /// The reason.
    pub download_error_code: DownloadErrorCode,
}

result_code! {
    /// Why PrepareDownload failed.
    DownloadErrorCode {
        INVALID_CERTIFICATE = 1, "invalid certificate";
        INVALID_SIGNATURE = 2, "invalid signature";
        UNSUPPORTED_CURVE = 3, "unsupported curve";
        NO_SESSION_CONTEXT = 4, "no session context";
        INVALID_TRANSACTION_ID = 5, "invalid transaction id";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

sequences!(
    EuiccSigned2,
    PrepareDownloadRequest,
    PrepareDownloadResponseError,
    PrepareDownloadResponseOk,
    SmdpSigned2,
);

elements!(PrepareDownloadResponse);

functions! {
    PrepareDownloadRequest => Raw<PrepareDownloadResponse>,
        "ES10b.PrepareDownload", "5.7.5", 0xBF21, session;
}
