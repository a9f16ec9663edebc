//! Notifications: made, kept, listed and removed (SGP.22 v2.5 sections 3.5 and 5.7.9 to 5.7.11).

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::{Raw, encode};
use es10_apdu::es10b::{
    DeleteNotificationStatus, ListNotificationRequest, ListNotificationResponse,
    NotificationMetadata, NotificationSentRequest, NotificationSentResponse, NotificationsError,
    OtherSignedNotification, RetrieveNotificationsListRequest, RetrieveNotificationsListResponse,
    SearchCriteria, StoreMetadataRequest,
};
use es10_apdu::types::{Iccid, NotificationEvent, Text};
use rsp_common::der::{constructed, extended, tlv};

use super::{EmptyList, Euicc, FullStore, Notification};

impl Euicc {
    pub(super) fn list_notification(
        &self,
        request: ListNotificationRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let wanted = request.profile_management_operation;
        let list = self.memory.notifications.iter().filter(|notification| {
            wanted.is_none_or(|events| events.intersects(NotificationEvent(notification.event)))
        });
        let list = list
            .map(|notification| notification.metadata.clone())
            .collect::<Vec<_>>();
        let error = match self.settings.empty_list {
            EmptyList::UndefinedError if list.is_empty() => NotificationsError::UNDEFINED_ERROR,
            _ => return Ok(tlv(0xBF28, &constructed(0xA0, &list))),
        };
        let error = ListNotificationResponse::ListNotificationsResultError(error);
        Ok(encode(&error))
    }

    pub(super) fn retrieve_notifications_list(
        &self,
        request: RetrieveNotificationsListRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let list =
            self.memory
                .notifications
                .iter()
                .filter(|notification| match request.search_criteria {
                    None => true,
                    Some(SearchCriteria::SeqNumber(number)) => {
                        notification.sequence_number == number
                    }
                    Some(SearchCriteria::ProfileManagementOperation(events)) => {
                        events.intersects(NotificationEvent(notification.event))
                    }
                });
        let list = list
            .map(|notification| notification.der.clone())
            .collect::<Vec<_>>();
        let error = match self.settings.empty_list {
            EmptyList::NoResultAvailable if list.is_empty() => {
                NotificationsError::NO_RESULT_AVAILABLE
            }
            EmptyList::UndefinedError if list.is_empty() => NotificationsError::UNDEFINED_ERROR,
            _ => return Ok(tlv(0xBF2B, &constructed(0xA0, &list))),
        };
        let error = RetrieveNotificationsListResponse::NotificationsListResultError(error);
        Ok(encode(&error))
    }

    pub(super) fn remove_notification(
        &mut self,
        request: NotificationSentRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let position = self
            .memory
            .notifications
            .iter()
            .position(|notification| notification.sequence_number == request.seq_number);
        let status = match position {
            Some(position) => {
                self.flash().notifications.remove(position);
                DeleteNotificationStatus::OK
            }
            None => DeleteNotificationStatus::NOTHING_TO_DELETE,
        };
        Ok(encode(&NotificationSentResponse {
            delete_notification_status: status,
        }))
    }

    /// Makes a notification for every recipient the profile names for the event, signed by the
    /// chain that installed it.
    pub(super) fn notify(
        &mut self,
        metadata: &StoreMetadataRequest,
        ci_key_identifier: &[u8],
        event: NotificationEvent,
    ) {
        let configuration = metadata.notification_configuration_info.as_ref();
        for entry in configuration.iter().flat_map(|list| list.iter()) {
            if entry.profile_management_operation.contains(event) {
                let address = entry.notification_address.clone();
                self.notify_other(ci_key_identifier, event, address, metadata.iccid);
            }
        }
    }

    /// Draws the next sequence number and puts the event into words.
    pub(super) fn notification_metadata(
        &mut self,
        event: NotificationEvent,
        address: Text,
        iccid: Option<Iccid>,
    ) -> Raw<NotificationMetadata> {
        self.flash().sequence_number += 1;
        Raw::new(NotificationMetadata {
            seq_number: self.memory.sequence_number,
            profile_management_operation: event,
            notification_address: address,
            iccid,
        })
    }

    /// Whether the list takes that many more, or makes room for them.
    pub(super) fn has_room_for(&self, more: usize) -> bool {
        let list = &self.memory.notifications;
        self.settings.full_store == FullStore::DropOldest
            || list.len() + more <= self.settings.notifications
    }

    /// Keeps a signed notification; the oldest makes room where that is the habit.
    pub(super) fn keep_notification(&mut self, metadata: &Raw<NotificationMetadata>, der: Vec<u8>) {
        let capacity = self.settings.notifications.max(1);
        let drops = self.settings.full_store == FullStore::DropOldest;
        let notifications = &mut self.flash().notifications;
        if drops {
            let surplus = (notifications.len() + 1).saturating_sub(capacity);
            notifications.drain(..surplus);
        }
        notifications.push(Notification {
            sequence_number: metadata.seq_number,
            event: metadata.profile_management_operation.0,
            metadata: metadata.bytes().to_vec(),
            der,
        });
    }

    fn notify_other(
        &mut self,
        ci_key_identifier: &[u8],
        event: NotificationEvent,
        address: Text,
        iccid: Iccid,
    ) {
        let metadata = self.notification_metadata(event, address, Some(iccid));
        let chain = self.identity.chain(ci_key_identifier);
        let (euicc_certificate, eum_certificate) = chain.certificates();
        let der = encode(&OtherSignedNotification {
            euicc_notification_signature: chain.sign(metadata.bytes()),
            tbs_other_notification: metadata.clone(),
            euicc_certificate,
            eum_certificate,
        });
        let other_certificates = constructed(0xA1, &[chain.ci.der().to_vec()]);
        let der = if self.settings.v3_answers {
            extended(&der, &[other_certificates])
        } else {
            der
        };
        self.keep_notification(&metadata, der);
    }
}
