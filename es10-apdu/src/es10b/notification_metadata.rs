//! What a notification is about: its place in the card's count, event, recipient, profile.

use rasn::{AsnType, Decode, Decoder, Encode};

use crate::asn1::sequences;
use crate::types::{Iccid, NotificationEvent, Text};

/// What a notification is about.
///
/// SGP.22 v2.5 section 5.7.9, tag BF2F.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 47))]
pub struct NotificationMetadata {
    /// Rises by one with each notification of an eUICC.
    #[rasn(tag(context, 0))]
    pub seq_number: i64,
    /// What happened, one bit.
    #[rasn(tag(context, 1))]
    pub profile_management_operation: NotificationEvent,
    /// The recipient, an FQDN.
    pub notification_address: Text,
    /// The profile.
    pub iccid: Option<Iccid>,
}

sequences!(NotificationMetadata);
