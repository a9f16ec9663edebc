//! The subject and reason codes of ES2+.

use crate::rsp::status::StatusCode;

impl StatusCode {
    /// functionRequesterIdentifier is missing or empty.
    pub const REQUESTER_INVALID: Self = Self::es2("1.2.1", "2.1");
    /// functionCallIdentifier is missing or empty.
    pub const CALL_INVALID: Self = Self::es2("1.2.2", "2.1");
    /// The installation failed on the eUICC.
    pub const INSTALLATION_FAILED: Self = Self::es2("8.1", "4.2");
    /// The order cannot be found without an EID, and there is none.
    pub const EID_MISSING: Self = Self::es2("8.1.1", "2.2");
    /// The order is for another EID.
    pub const EID_MISMATCH: Self = Self::es2("8.1.1", "3.10");
    /// The profile is for another operator.
    pub const ICCID_NOT_ALLOWED: Self = Self::es2("8.2.1", "1.2");
    /// The profile has an order that is further already.
    pub const ICCID_IN_USE: Self = Self::es2("8.2.1", "3.3");
    /// The profile's state does not allow this.
    pub const ICCID_IN_WRONG_STATE: Self = Self::es2("8.2.1", "3.5");
    /// There is no such profile, or no order for it.
    pub const ICCID_UNKNOWN: Self = Self::es2("8.2.1", "3.9");
    /// All profiles of this type are for other operators.
    pub const PROFILE_TYPE_NOT_ALLOWED: Self = Self::es2("8.2.5", "1.2");
    /// No profile of this type is left.
    pub const PROFILE_TYPE_EXHAUSTED: Self = Self::es2("8.2.5", "3.7");
    /// There is no such profile type.
    pub const PROFILE_TYPE_UNKNOWN: Self = Self::es2("8.2.5", "3.9");
    /// Another open order has this matching ID.
    pub const MATCHING_ID_IN_USE: Self = Self::es2("8.2.6", "3.3");
    /// The order has another matching ID.
    pub const MATCHING_ID_MISMATCH: Self = Self::es2("8.2.6", "3.10");
    /// The SM-DS refused the event.
    pub const SMDS_FAILED: Self = Self::es2("8.9", "4.2");
    /// The SM-DS cannot be reached.
    pub const SMDS_INACCESSIBLE: Self = Self::es2("8.9", "5.1");

    const fn es2(subject: &'static str, reason: &'static str) -> Self {
        Self::new(subject, reason)
    }
}
