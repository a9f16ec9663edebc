//! The subject and reason codes this server answers with.

use std::fmt;

/// Why a function was not executed: a subject code and a reason code, compared as text.
///
/// SGP.22 v2.5 section 5.2.6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StatusCode {
    /// What is affected, such as "8.2.6" (matching ID).
    pub subject: &'static str,
    /// Why, such as "3.8" (refused).
    pub reason: &'static str,
}

impl StatusCode {
    /// X-Admin-Protocol is missing or malformed.
    pub const MISSING_PROTOCOL: Self = Self::new("1.3.1", "2.2");
    /// The request lacks a mandatory member.
    pub const MISSING_INPUT: Self = Self::new("1.6", "2.2");
    /// A member of the request cannot be read.
    pub const INVALID_INPUT: Self = Self::new("1.6", "2.1");
    /// The eUICC refused, or its signature or the challenge in it is not right.
    pub const EUICC_VERIFICATION_FAILED: Self = Self::new("8.1", "6.1");
    /// The eUICC has not enough memory for the profile.
    pub const INSUFFICIENT_MEMORY: Self = Self::new("8.1", "4.8");
    /// The order belongs to another EID.
    pub const EID_REFUSED: Self = Self::new("8.1.1", "3.8");
    /// The EUM certificate does not lead to the issuer.
    pub const EUM_CERTIFICATE_INVALID: Self = Self::new("8.1.2", "6.1");
    /// The EUM certificate is outside its validity.
    pub const EUM_CERTIFICATE_EXPIRED: Self = Self::new("8.1.2", "6.3");
    /// The eUICC certificate does not lead to the EUM.
    pub const EUICC_CERTIFICATE_INVALID: Self = Self::new("8.1.3", "6.1");
    /// The eUICC certificate is outside its validity.
    pub const EUICC_CERTIFICATE_EXPIRED: Self = Self::new("8.1.3", "6.3");
    /// The profile is not released yet.
    pub const NOT_RELEASED: Self = Self::new("8.2", "1.2");
    /// The package is bound to another one-time key and cannot be bound again.
    pub const REBINDING_REFUSED: Self = Self::new("8.2", "3.7");
    /// No profile is eligible for this eUICC.
    pub const NOT_ELIGIBLE: Self = Self::new("8.2.5", "4.3");
    /// The matching ID is unknown or used, or there is no order for the EID.
    pub const MATCHING_ID_REFUSED: Self = Self::new("8.2.6", "3.8");
    /// A confirmation code is required and missing.
    pub const CONFIRMATION_CODE_MISSING: Self = Self::new("8.2.7", "2.2");
    /// The confirmation code is wrong.
    pub const CONFIRMATION_CODE_REFUSED: Self = Self::new("8.2.7", "3.8");
    /// The confirmation code was wrong too often; the order is closed.
    pub const CONFIRMATION_CODE_TRIES_EXCEEDED: Self = Self::new("8.2.7", "6.4");
    /// The SM-DP+ OID in the answer is not this server's.
    pub const OID_MISMATCH: Self = Self::new("8.8", "3.10");
    /// The address asked for is not this server's.
    pub const ADDRESS_REFUSED: Self = Self::new("8.8.1", "3.8");
    /// No common issuer for the eUICC's signatures.
    pub const NO_SIGNING_ISSUER: Self = Self::new("8.8.2", "3.1");
    /// The eUICC's specification version is not supported.
    pub const VERSION_UNSUPPORTED: Self = Self::new("8.8.3", "3.1");
    /// No server certificate under an issuer the eUICC can verify.
    pub const NO_VERIFICATION_ISSUER: Self = Self::new("8.8.4", "3.7");
    /// The order's time is over.
    pub const ORDER_EXPIRED: Self = Self::new("8.8.5", "4.10");
    /// The order was tried too often; it is closed.
    pub const DOWNLOAD_TRIES_EXCEEDED: Self = Self::new("8.8.5", "6.4");
    /// The address asked for is not this SM-DS's.
    pub const SMDS_ADDRESS_REFUSED: Self = Self::new("8.9.1", "3.8");
    /// No common issuer for the eUICC's signatures, says an SM-DS.
    pub const SMDS_NO_SIGNING_ISSUER: Self = Self::new("8.9.2", "3.1");
    /// An SM-DS does not support the eUICC's specification version.
    pub const SMDS_VERSION_UNSUPPORTED: Self = Self::new("8.9.3", "3.1");
    /// No SM-DS certificate under an issuer the eUICC can verify.
    pub const SMDS_NO_VERIFICATION_ISSUER: Self = Self::new("8.9.4", "3.7");
    /// The SM-DS has an event of this ID for this eUICC already.
    pub const EVENT_EXISTS: Self = Self::new("8.9.5", "3.3");
    /// The SM-DS has no event of this ID for this eUICC.
    pub const EVENT_UNKNOWN: Self = Self::new("8.9.5", "3.9");
    /// The transaction ID is unknown.
    pub const UNKNOWN_TRANSACTION: Self = Self::new("8.10.1", "3.9");
    /// The EUM certificate's issuer is not the one chosen for this session.
    pub const UNKNOWN_ISSUER: Self = Self::new("8.11.1", "3.9");

    const fn new(subject: &'static str, reason: &'static str) -> Self {
        Self { subject, reason }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.subject, self.reason)
    }
}
