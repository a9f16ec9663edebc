//! The Rules Authorisation Table: which policy rules whose profiles may carry.

use rasn::{AsnType, Decode, Decoder, Encode};

use crate::asn1::{List, Open, sequences};
use crate::function::functions;
use crate::types::{OperatorId, PprFlags, PprIds};

/// Asks for the Rules Authorisation Table.
///
/// SGP.22 v2.5 section 5.7.22, tag BF43.
#[derive(AsnType, Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(tag(context, 67))]
pub struct GetRatRequest {}

/// The Rules Authorisation Table. The first entry that names a rule decides; none forbids it.
///
/// SGP.22 v2.5 section 5.7.22, tag BF43.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 67))]
pub struct GetRatResponse {
    /// The entries, in order.
    pub rat: List<Open<ProfilePolicyAuthorisationRule>>,
}

/// An entry of the table.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags)]
pub struct ProfilePolicyAuthorisationRule {
    /// The rules it is about.
    pub ppr_ids: PprIds,
    /// Whose profiles may carry them.
    pub allowed_operators: List<Open<OperatorId>>,
    /// Whether the user must consent.
    pub ppr_flags: PprFlags,
}

sequences!(
    GetRatRequest,
    GetRatResponse,
    ProfilePolicyAuthorisationRule
);

functions! {
    GetRatRequest => GetRatResponse, "ES10b.GetRAT", "5.7.22", 0xBF43, reads;
}
