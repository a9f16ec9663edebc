//! Reading, delivering and removing notifications, one at a time.
//!
//! SGP.22 v2.5 section 3.5. Order, patience and recipients that are down are the business of
//! [`outbox`](crate::outbox).

use es9_client::es9::HandleNotification;
use es9_client::{Opaque, ServerAddress};
use es10_apdu::asn1::{List, Raw, Unreadable};
use es10_apdu::es10b::{
    DeleteNotificationStatus, ListNotificationRequest, ListNotificationResponse,
    NotificationMetadata, NotificationSentRequest, PendingNotification,
    RetrieveNotificationsListRequest, RetrieveNotificationsListResponse, SearchCriteria,
};
use es10_apdu::isdr::CallError;
use es10_apdu::transport::{Fault, Garbled, TransportError};

use super::{Card, FunctionError, Server};

/// What waits on the card for delivery.
#[derive(Debug, Default)]
pub struct Pending {
    /// In the card's order, octets as received.
    pub notifications: Vec<Raw<PendingNotification>>,
    /// Elements of the list that could not be read; they stay on the card.
    pub unreadable: Vec<Unreadable>,
}

/// Reads all pending notifications; when the card has more than one answer holds, one by one.
///
/// # Errors
/// When the card is not reached, or refuses for another reason than having none.
///
/// # Cancel safety
/// Nothing changes on the card.
pub async fn pending(card: &mut impl Card) -> Result<Pending, FunctionError> {
    match card
        .call(&RetrieveNotificationsListRequest::default())
        .await
    {
        Ok(RetrieveNotificationsListResponse::NotificationList(list)) => Ok(Pending {
            notifications: list.items,
            unreadable: list.unreadable,
        }),
        // Old cards say "no result" or "undefined error" for an empty list: the list of metadata
        // tells an empty one from a failure.
        Ok(RetrieveNotificationsListResponse::NotificationsListResultError(_)) => {
            one_by_one(card).await
        }
        Err(CallError::Transport {
            error:
                TransportError {
                    fault: Fault::Garbled(Garbled::TooLong { .. }),
                    ..
                },
            ..
        }) => one_by_one(card).await,
        Err(error) => Err(error.into()),
    }
}

async fn one_by_one(card: &mut impl Card) -> Result<Pending, FunctionError> {
    let metadata = metadata(card).await?;
    let numbers = metadata.items.iter().map(|entry| entry.seq_number);
    let mut pending = retrieve(card, numbers.collect::<Vec<_>>()).await?;
    pending.unreadable.extend(metadata.unreadable);
    Ok(pending)
}

/// Lists what waits on the card, without its content: a fraction of the octets.
///
/// # Errors
/// When the card is not reached.
///
/// # Cancel safety
/// Nothing changes on the card.
pub async fn metadata(card: &mut impl Card) -> Result<List<NotificationMetadata>, FunctionError> {
    match card.call(&ListNotificationRequest::default()).await? {
        ListNotificationResponse::NotificationMetadataList(list) => Ok(list),
        // Some cards answer so when there is none.
        ListNotificationResponse::ListNotificationsResultError(_) => Ok(List::default()),
    }
}

/// Reads the pending notifications with these numbers, one by one.
///
/// # Errors
/// When the card is not reached, or has one of them no more.
///
/// # Cancel safety
/// Nothing changes on the card.
pub async fn retrieve(card: &mut impl Card, numbers: Vec<i64>) -> Result<Pending, FunctionError> {
    let mut pending = Pending::default();
    for number in numbers {
        let search_criteria = Some(SearchCriteria::SeqNumber(number));
        let request = RetrieveNotificationsListRequest { search_criteria };
        match card.call(&request).await? {
            RetrieveNotificationsListResponse::NotificationList(list) => {
                pending.notifications.extend(list.items);
                pending.unreadable.extend(list.unreadable);
            }
            RetrieveNotificationsListResponse::NotificationsListResultError(error) => {
                return Err(FunctionError::refused::<RetrieveNotificationsListRequest>(
                    error.0, &error,
                ));
            }
        }
    }
    Ok(pending)
}

/// Hands a notification to its recipient. Success is the recipient's acknowledgement.
///
/// # Errors
/// When it was not acknowledged; it must stay on the card then.
///
/// # Cancel safety
/// The recipient may have it; it will get it again, which it has to bear.
pub async fn deliver(
    server: &impl Server,
    address: &ServerAddress,
    notification: &Raw<PendingNotification>,
) -> Result<(), es9_client::Error> {
    let pending_notification = Opaque::from(notification.bytes());
    server
        .call(
            address,
            &HandleNotification {
                pending_notification,
            },
        )
        .await
}

/// Removes a delivered notification; one that is gone already is fine.
///
/// # Errors
/// When the card is not reached or refuses.
///
/// # Cancel safety
/// The notification may be gone.
pub async fn remove(card: &mut impl Card, seq_number: i64) -> Result<(), FunctionError> {
    let request = NotificationSentRequest { seq_number };
    match card.call(&request).await?.delete_notification_status {
        DeleteNotificationStatus::OK | DeleteNotificationStatus::NOTHING_TO_DELETE => Ok(()),
        status => Err(FunctionError::refused::<NotificationSentRequest>(
            status.0, &status,
        )),
    }
}
