//! ES10b.AuthenticateServer: the eUICC verifies the server and authenticates itself.

use rasn::types::OctetString;
use rasn::{AsnType, Decode, Decoder, Encode};

use super::EuiccInfo2;
use crate::asn1::{Open, Raw, elements, sequences};
use crate::function::functions;
use crate::types::{
    Certificate, Challenge, Signature, SubjectKeyIdentifier, Text, TransactionId, VersionType,
    result_code,
};

/// Presents a server to the eUICC.
///
/// SGP.22 v2.5 section 5.7.13, tag BF38. Uses up the challenge, whatever the outcome.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 56))]
pub struct AuthenticateServerRequest {
    /// What the server signed.
    pub server_signed1: Raw<ServerSigned1>,
    /// Its signature.
    pub server_signature1: Signature,
    /// The CI above the certificate the eUICC shall use.
    pub euicc_ci_pk_id_to_be_used: SubjectKeyIdentifier,
    /// CERT.DPauth or CERT.DSauth.
    pub server_certificate: Certificate,
    /// Context of the session.
    pub ctx_params1: CtxParams1,
}

/// What a server signs first.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct ServerSigned1 {
    /// The session.
    #[rasn(tag(context, 0))]
    pub transaction_id: TransactionId,
    /// The eUICC's challenge.
    #[rasn(tag(context, 1))]
    pub euicc_challenge: Challenge,
    /// The server's own address; comparing it is the LPA's duty.
    #[rasn(tag(context, 3))]
    pub server_address: Text,
    /// The server's challenge.
    #[rasn(tag(context, 4))]
    pub server_challenge: Challenge,
}

/// Context of a session; one alternative so far.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice, automatic_tags)]
pub enum CtxParams1 {
    /// The download and discovery procedures.
    CtxParamsForCommonAuthentication(Open<CtxParamsForCommonAuthentication>),
}

/// What is asked for, and by which device.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags)]
pub struct CtxParamsForCommonAuthentication {
    /// The token of the activation code, an event id, or empty.
    pub matching_id: Option<Text>,
    /// The device.
    pub device_info: Open<DeviceInfo>,
}

/// The device an eUICC is in.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags)]
pub struct DeviceInfo {
    /// The first eight digits of the IMEI, swapped BCD.
    pub tac: OctetString,
    /// What the device supports.
    pub device_capabilities: Open<DeviceCapabilities>,
    /// The IMEI in eight octets.
    pub imei: Option<OctetString>,
}

/// The highest release of each kind a device supports. Components of later versions may be sent
/// only to an eUICC with deviceInfoExtensibilitySupport and are left out here.
#[derive(AsnType, Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(automatic_tags)]
pub struct DeviceCapabilities {
    /// GSM.
    pub gsm_supported_release: Option<VersionType>,
    /// UTRAN.
    pub utran_supported_release: Option<VersionType>,
    /// cdma2000 1x.
    pub cdma2000onex_supported_release: Option<VersionType>,
    /// cdma2000 HRPD.
    pub cdma2000hrpd_supported_release: Option<VersionType>,
    /// cdma2000 eHRPD.
    pub cdma2000ehrpd_supported_release: Option<VersionType>,
    /// E-UTRAN with EPC.
    pub eutran_epc_supported_release: Option<VersionType>,
    /// Contactless.
    pub contactless_supported_release: Option<VersionType>,
    /// Revocation lists.
    pub rsp_crl_supported_version: Option<VersionType>,
}

/// The eUICC's answer; the server gets its octets.
///
/// SGP.22 v2.5 section 5.7.13, tag BF38.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice, automatic_tags, tag(explicit(context, 56)))]
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum AuthenticateServerResponse {
    /// The server is what it says, and this is the eUICC's proof of itself.
    AuthenticateResponseOk(Open<AuthenticateResponseOk>),
    /// It is not, or something else is wrong.
    AuthenticateResponseError(Open<AuthenticateResponseError>),
}

/// The eUICC's proof of itself.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct AuthenticateResponseOk {
    /// What the eUICC signed.
    pub euicc_signed1: Raw<EuiccSigned1>,
    /// Its signature.
    pub euicc_signature1: Signature,
    /// CERT.EUICC.
    pub euicc_certificate: Certificate,
    /// CERT.EUM.
    pub eum_certificate: Certificate,
}

/// What an eUICC signs first.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct EuiccSigned1 {
    /// The session.
    #[rasn(tag(context, 0))]
    pub transaction_id: TransactionId,
    /// The server's address as the server wrote it.
    #[rasn(tag(context, 3))]
    pub server_address: Text,
    /// The server's challenge.
    #[rasn(tag(context, 4))]
    pub server_challenge: Challenge,
    /// EUICCInfo2.
    pub euicc_info2: Raw<EuiccInfo2>,
    /// The context the LPA gave.
    pub ctx_params1: CtxParams1,
}

/// Why a server was refused.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct AuthenticateResponseError {
    /// The session.
    #[rasn(tag(context, 0))]
    pub transaction_id: TransactionId,
    /// The reason.
    pub authenticate_error_code: AuthenticateErrorCode,
}

result_code! {
    /// Why AuthenticateServer failed; 8 to 14 are of SGP.22 v3.
    AuthenticateErrorCode {
        INVALID_CERTIFICATE = 1, "invalid certificate";
        INVALID_SIGNATURE = 2, "invalid signature";
        UNSUPPORTED_CURVE = 3, "unsupported curve";
        NO_SESSION_CONTEXT = 4, "no session context";
        INVALID_OID = 5, "invalid OID";
        EUICC_CHALLENGE_MISMATCH = 6, "eUICC challenge mismatch";
        CI_PK_UNKNOWN = 7, "CI public key unknown";
        TRANSACTION_ID_ERROR = 8, "transaction id error";
        MISSING_CRL = 9, "missing revocation list";
        INVALID_CRL_SIGNATURE = 10, "invalid signature of the revocation list";
        REVOKED_CERT = 11, "revoked certificate";
        INVALID_CERT_OR_CRL_TIME = 12, "certificate or revocation list out of date";
        INVALID_CERT_OR_CRL_CONFIGURATION = 13, "certificate or revocation list not as required";
        INVALID_ICCID = 14, "invalid ICCID";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

sequences!(
    AuthenticateResponseError,
    AuthenticateResponseOk,
    AuthenticateServerRequest,
    CtxParamsForCommonAuthentication,
    DeviceCapabilities,
    DeviceInfo,
    EuiccSigned1,
    ServerSigned1,
);

elements!(AuthenticateServerResponse, CtxParams1);

functions! {
    AuthenticateServerRequest => Raw<AuthenticateServerResponse>,
        "ES10b.AuthenticateServer", "5.7.13", 0xBF38, session;
}
