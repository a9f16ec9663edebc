//! How loading a package ended.

use rasn::types::OctetString;
use rasn::{AsnType, Decode, Decoder, Encode, Encoder};

use super::NotificationMetadata;
use crate::asn1::{Open, Raw, elements, sequences};
use crate::types::{Aid, Oid, Signature, TransactionId, result_code};

/// The signed result of LoadBoundProfilePackage, a notification at the same time.
///
/// SGP.22 v2.5 section 2.5.6, tag BF37.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 55))]
pub struct ProfileInstallationResult {
    /// What the eUICC signed.
    pub profile_installation_result_data: Raw<ProfileInstallationResultData>,
    /// Its signature.
    pub euicc_sign_pir: Signature,
}

/// What an eUICC signs about an installation.
///
/// SGP.22 v2.5 section 2.5.6, tag BF27.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 39))]
pub struct ProfileInstallationResultData {
    /// The session.
    #[rasn(tag(context, 0))]
    pub transaction_id: TransactionId,
    /// The notification's number, recipient and profile.
    pub notification_metadata: Raw<NotificationMetadata>,
    /// The owner of CERT.DPpb; optional in the oldest module.
    pub smdp_oid: Option<Oid>,
    /// The result.
    #[rasn(tag(explicit(context, 2)))]
    pub final_result: FinalResult,
}

/// Success or error.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice, automatic_tags)]
pub enum FinalResult {
    /// The profile is installed and disabled.
    SuccessResult(Open<SuccessResult>),
    /// It is not.
    ErrorResult(Open<ErrorResult>),
}

/// Where a profile was installed.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct SuccessResult {
    /// The ISD-P.
    pub aid: Aid,
    /// Answers to the profile elements; opaque.
    pub sima_response: OctetString,
}

/// Why a profile was not installed.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags)]
pub struct ErrorResult {
    /// The part of the package that failed.
    pub bpp_command_id: BppCommandId,
    /// The reason.
    pub error_reason: ErrorReason,
    /// Answers to the profile elements; opaque.
    pub sima_response: Option<OctetString>,
}

result_code! {
    /// A part of a Bound Profile Package.
    BppCommandId {
        INITIALISE_SECURE_CHANNEL = 0, "InitialiseSecureChannel";
        CONFIGURE_ISDP = 1, "ConfigureISDP";
        STORE_METADATA = 2, "StoreMetadata";
        STORE_METADATA2 = 3, "StoreMetadata, further part";
        REPLACE_SESSION_KEYS = 4, "ReplaceSessionKeys";
        LOAD_PROFILE_ELEMENTS = 5, "LoadProfileElements";
    }
}

result_code! {
    /// Why an installation failed.
    ErrorReason {
        INCORRECT_INPUT_VALUES = 1, "incorrect input values";
        INVALID_SIGNATURE = 2, "invalid signature";
        INVALID_TRANSACTION_ID = 3, "invalid transaction id";
        UNSUPPORTED_CRT_VALUES = 4, "unsupported key type or length";
        UNSUPPORTED_REMOTE_OPERATION_TYPE = 5, "unsupported remote operation type";
        UNSUPPORTED_PROFILE_CLASS = 6, "unsupported profile class";
        BSP_STRUCTURE_ERROR = 7, "the protected package has a wrong structure";
        BSP_SECURITY_ERROR = 8, "the protected package fails its integrity check";
        ICCID_ALREADY_EXISTS = 9, "the profile is already installed";
        INSUFFICIENT_MEMORY = 10, "not enough memory on the eUICC";
        INTERRUPTION = 11, "the installation was interrupted";
        PE_PROCESSING_ERROR = 12, "a profile element could not be processed";
        DATA_MISMATCH = 13, "profile and metadata differ";
        INVALID_NAA_KEY = 14, "a test profile without the test key";
        PPR_NOT_ALLOWED = 15, "a profile policy rule is not allowed";
        INSUFFICIENT_SECURITY_LEVEL = 31, "security level too low";
        SERVER_ADDRESS_NOT_ALLOWED = 32, "server address not in the allow list";
        UNKNOWN_ERROR = 127, "unknown error";
    }
}

sequences!(
    ErrorResult,
    ProfileInstallationResult,
    ProfileInstallationResultData,
    SuccessResult
);

elements!(FinalResult);
