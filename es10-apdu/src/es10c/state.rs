//! ES10c.EnableProfile, DisableProfile and DeleteProfile.

use rasn::{AsnType, Decode, Decoder, Encode};

use crate::asn1::{elements, sequences};
use crate::function::functions;
use crate::types::{Aid, Iccid, result_code};

/// Which profile.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice)]
pub enum ProfileIdentifier {
    /// The one in this ISD-P.
    IsdpAid(Aid),
    /// The one with this number.
    Iccid(Iccid),
}

/// Enables a profile and disables the one in use.
///
/// SGP.22 v2.5 section 5.7.16, tag BF31. With the refresh flag the switch happens when the modem
/// acts on the REFRESH that follows; without it, at once.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 49))]
pub struct EnableProfileRequest {
    /// The profile.
    pub profile_identifier: ProfileIdentifier,
    /// Whether the eUICC shall ask the modem for a REFRESH.
    pub refresh_flag: bool,
}

/// Whether the profile will be enabled.
///
/// SGP.22 v2.5 section 5.7.16, tag BF31.
#[derive(AsnType, Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 49))]
pub struct EnableProfileResponse {
    /// The result.
    pub enable_result: EnableResult,
}

result_code! {
    /// The result of EnableProfile; 7 is of SGP.22 v3.
    EnableResult {
        OK = 0, "ok";
        ICCID_OR_AID_NOT_FOUND = 1, "no such profile";
        PROFILE_NOT_IN_DISABLED_STATE = 2, "the profile is not disabled";
        DISALLOWED_BY_POLICY = 3, "a profile policy rule forbids it";
        WRONG_PROFILE_REENABLING = 4, "another profile must be enabled after a test profile";
        CAT_BUSY = 5, "the card is busy with a proactive command";
        COMMAND_ERROR = 7, "command error";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

/// Disables the profile in use.
///
/// SGP.22 v2.5 section 5.7.17, tag BF32.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 50))]
pub struct DisableProfileRequest {
    /// The profile.
    pub profile_identifier: ProfileIdentifier,
    /// Whether the eUICC shall ask the modem for a REFRESH.
    pub refresh_flag: bool,
}

/// Whether the profile will be disabled.
///
/// SGP.22 v2.5 section 5.7.17, tag BF32.
#[derive(AsnType, Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 50))]
pub struct DisableProfileResponse {
    /// The result.
    pub disable_result: DisableResult,
}

result_code! {
    /// The result of DisableProfile; 7 is of SGP.22 v3.
    DisableResult {
        OK = 0, "ok";
        ICCID_OR_AID_NOT_FOUND = 1, "no such profile";
        PROFILE_NOT_IN_ENABLED_STATE = 2, "the profile is not enabled";
        DISALLOWED_BY_POLICY = 3, "a profile policy rule forbids it";
        CAT_BUSY = 5, "the card is busy with a proactive command";
        COMMAND_ERROR = 7, "command error";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

/// Deletes a disabled profile.
///
/// SGP.22 v2.5 section 5.7.18, tag BF33.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice, tag(explicit(context, 51)))]
pub enum DeleteProfileRequest {
    /// The one in this ISD-P.
    IsdpAid(Aid),
    /// The one with this number.
    Iccid(Iccid),
}

/// Whether the profile was deleted.
///
/// SGP.22 v2.5 section 5.7.18, tag BF33.
#[derive(AsnType, Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 51))]
pub struct DeleteProfileResponse {
    /// The result.
    pub delete_result: DeleteResult,
}

result_code! {
    /// The result of DeleteProfile; 4 and 7 are of SGP.22 v3.
    DeleteResult {
        OK = 0, "ok";
        ICCID_OR_AID_NOT_FOUND = 1, "no such profile";
        PROFILE_NOT_IN_DISABLED_STATE = 2, "the profile is not disabled";
        DISALLOWED_BY_POLICY = 3, "a profile policy rule forbids it";
        DISALLOWED_IN_TEST_MODE = 4, "not while a test profile is enabled";
        COMMAND_ERROR = 7, "command error";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

sequences!(
    DeleteProfileResponse,
    DisableProfileRequest,
    DisableProfileResponse,
    EnableProfileRequest,
    EnableProfileResponse,
);

elements!(DeleteProfileRequest, ProfileIdentifier);

functions! {
    EnableProfileRequest => EnableProfileResponse, "ES10c.EnableProfile", "5.7.16", 0xBF31, changes;
    DisableProfileRequest => DisableProfileResponse,
        "ES10c.DisableProfile", "5.7.17", 0xBF32, changes;
    DeleteProfileRequest => DeleteProfileResponse, "ES10c.DeleteProfile", "5.7.18", 0xBF33, changes;
}
