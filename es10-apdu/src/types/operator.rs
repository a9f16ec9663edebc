//! Structures that profile metadata, profile list and Rules Authorisation Table share.

use rasn::types::OctetString;
use rasn::{AsnType, Decode, Decoder, Encode};

use super::{NotificationEvent, Text};
use crate::asn1::sequences;

/// Names a network operator; the digits of mccMnc as in TS 24.008, E standing for any digit.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags)]
pub struct OperatorId {
    /// MCC and MNC, three octets.
    pub mcc_mnc: OctetString,
    /// EF.GID1 of the profile; zero length matches any.
    pub gid1: Option<OctetString>,
    /// EF.GID2 of the profile; zero length matches any.
    pub gid2: Option<OctetString>,
}

/// Which events of a profile are reported to whom.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags)]
pub struct NotificationConfigurationInformation {
    /// The events, one bit each.
    pub profile_management_operation: NotificationEvent,
    /// The recipient, an FQDN.
    pub notification_address: Text,
}

sequences!(NotificationConfigurationInformation, OperatorId);
