//! Notifications: what the servers concerned must hear.

use rasn::{AsnType, Decode, Decoder, Encode, Encoder};

use super::{NotificationMetadata, ProfileInstallationResult};
use crate::asn1::{List, Open, Raw, elements, sequences};
use crate::function::functions;
use crate::types::{Certificate, NotificationEvent, Signature, result_code};

/// Asks for the metadata of pending notifications.
///
/// SGP.22 v2.5 section 5.7.9, tag BF28.
#[derive(AsnType, Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(tag(context, 40))]
pub struct ListNotificationRequest {
    /// Only those of these events.
    #[rasn(tag(context, 1))]
    pub profile_management_operation: Option<NotificationEvent>,
}

/// The metadata of pending notifications.
///
/// SGP.22 v2.5 section 5.7.9, tag BF28.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice, automatic_tags, tag(explicit(context, 40)))]
pub enum ListNotificationResponse {
    /// The list, possibly empty.
    NotificationMetadataList(List<NotificationMetadata>),
    /// No list.
    ListNotificationsResultError(NotificationsError),
}

/// Asks for pending notifications themselves; all of them without criteria.
///
/// SGP.22 v2.5 section 5.7.10, tag BF2B.
#[derive(AsnType, Clone, Copy, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[rasn(tag(context, 43))]
pub struct RetrieveNotificationsListRequest {
    /// Only these.
    #[rasn(tag(explicit(context, 0)))]
    pub search_criteria: Option<SearchCriteria>,
}

/// Which notifications.
#[derive(AsnType, Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice)]
pub enum SearchCriteria {
    /// The one with this number.
    #[rasn(tag(context, 0))]
    SeqNumber(i64),
    /// Those of these events.
    #[rasn(tag(context, 1))]
    ProfileManagementOperation(NotificationEvent),
}

/// Pending notifications.
///
/// SGP.22 v2.5 section 5.7.10, tag BF2B.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice, automatic_tags, tag(explicit(context, 43)))]
pub enum RetrieveNotificationsListResponse {
    /// The list, possibly empty.
    NotificationList(List<Raw<PendingNotification>>),
    /// No list; some cards say so when it is empty.
    NotificationsListResultError(NotificationsError),
}

/// A notification that waits for delivery. The recipient gets its octets.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(choice)]
pub enum PendingNotification {
    /// How an installation ended.
    #[rasn(tag(context, 55))]
    ProfileInstallationResult(Open<ProfileInstallationResult>),
    /// Any other event.
    OtherSignedNotification(Open<OtherSignedNotification>),
}

impl PendingNotification {
    /// What it is about.
    pub fn metadata(&self) -> &NotificationMetadata {
        match self {
            Self::ProfileInstallationResult(result) => {
                &result
                    .profile_installation_result_data
                    .notification_metadata
            }
            Self::OtherSignedNotification(other) => &other.tbs_other_notification,
        }
    }
}

/// An event of a profile, signed.
#[derive(AsnType, Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct OtherSignedNotification {
    /// What the eUICC signed.
    pub tbs_other_notification: Raw<NotificationMetadata>,
    /// Its signature.
    pub euicc_notification_signature: Signature,
    /// CERT.EUICC.
    pub euicc_certificate: Certificate,
    /// CERT.EUM.
    pub eum_certificate: Certificate,
}

result_code! {
    /// Why there is no list of notifications.
    NotificationsError {
        NO_RESULT_AVAILABLE = 1, "no result available";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

/// Removes a notification that was delivered (RemoveNotificationFromList).
///
/// SGP.22 v2.5 section 5.7.11, tag BF30.
#[derive(AsnType, Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(tag(context, 48))]
pub struct NotificationSentRequest {
    /// The one with this number.
    #[rasn(tag(context, 0))]
    pub seq_number: i64,
}

/// Whether the notification was removed.
///
/// SGP.22 v2.5 section 5.7.11, tag BF30.
#[derive(AsnType, Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[rasn(automatic_tags, tag(context, 48))]
pub struct NotificationSentResponse {
    /// The result.
    pub delete_notification_status: DeleteNotificationStatus,
}

result_code! {
    /// The result of RemoveNotificationFromList.
    DeleteNotificationStatus {
        OK = 0, "ok";
        NOTHING_TO_DELETE = 1, "nothing to delete";
        UNDEFINED_ERROR = 127, "undefined error";
    }
}

sequences!(
    ListNotificationRequest,
    NotificationSentRequest,
    NotificationSentResponse,
    OtherSignedNotification,
    RetrieveNotificationsListRequest,
);

elements!(
    ListNotificationResponse,
    PendingNotification,
    RetrieveNotificationsListResponse,
    SearchCriteria,
);

functions! {
    ListNotificationRequest => ListNotificationResponse,
        "ES10b.ListNotification", "5.7.9", 0xBF28, reads;
    RetrieveNotificationsListRequest => RetrieveNotificationsListResponse,
        "ES10b.RetrieveNotificationsList", "5.7.10", 0xBF2B, reads;
    NotificationSentRequest => NotificationSentResponse,
        "ES10b.RemoveNotificationFromList", "5.7.11", 0xBF30, changes;
}
