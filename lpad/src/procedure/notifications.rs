//! Listing, reading, delivering and removing notifications, one at a time.
//!
//! SGP.22 v2.5 section 3.5. Order, patience and recipients that are down are the business of the
//! engine's outbox.

use es9_client::es9::HandleNotification;
use es9_client::{Opaque, ServerAddress};
use es10_apdu::asn1::{List, Raw};
use es10_apdu::es10b::{
    DeleteNotificationStatus, ListNotificationRequest, ListNotificationResponse,
    NotificationMetadata, NotificationSentRequest, NotificationsError, PendingNotification,
    ProfileInstallationResultData, RetrieveNotificationsListRequest,
    RetrieveNotificationsListResponse, SearchCriteria,
};
use es10_apdu::types::{Iccid, NotificationEvent, TransactionId};

use super::{Card, FunctionError, Server, ServerError, call_with_retry};

/// Lists what waits on the card, without its content.
pub async fn metadata(card: &mut impl Card) -> Result<List<NotificationMetadata>, FunctionError> {
    match call_with_retry(card, &ListNotificationRequest::default()).await? {
        ListNotificationResponse::NotificationMetadataList(list) => Ok(list),
        // Some cards answer so when there is none.
        ListNotificationResponse::ListNotificationsResultError(_) => Ok(List::default()),
    }
}

/// A notification read by its number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Retrieved {
    /// Its octets as the card gave them. Whether lpad can read them does not matter: they are for
    /// the recipient.
    Octets(Vec<u8>),
    /// The card does not have it.
    Gone,
}

/// Reads the notification with this number.
///
/// One at a time, because a card gives all of them in one answer otherwise, which grows without end
/// while the recipients are out of reach.
pub async fn retrieve(card: &mut impl Card, number: i64) -> Result<Retrieved, FunctionError> {
    let Some(list) = retrieve_list(card, number).await? else {
        return Ok(Retrieved::Gone);
    };
    // A card may give more than it was asked for.
    let wanted = |one: &&Raw<PendingNotification>| one.metadata().seq_number == number;
    let readable = list.items.iter().find(wanted).map(Raw::bytes);
    let unreadable = || list.unreadable.first().map(|one| one.encoding.as_slice());
    Ok(match readable.or_else(unreadable) {
        Some(octets) => Retrieved::Octets(octets.to_vec()),
        None => Retrieved::Gone,
    })
}

/// Looks for the result of a session's installation.
///
/// `None` when no notification of the card is a result of this session that can be read.
pub async fn installation_result(
    card: &mut impl Card,
    transaction_id: &TransactionId,
    iccid: Option<Iccid>,
) -> Result<Option<ProfileInstallationResultData>, FunctionError> {
    let listed = metadata(card).await?;
    let may_be = |one: &&NotificationMetadata| {
        let event = one.profile_management_operation;
        let same_profile = one
            .iccid
            .zip(iccid)
            .is_none_or(|(found, wanted)| found == wanted);
        event.intersects(NotificationEvent::INSTALL) && same_profile
    };
    // The session is the latest that this profile had, so its result is the newest.
    let candidates = listed.items.iter().rev().filter(may_be);
    for number in candidates.map(|one| one.seq_number) {
        let list = match retrieve_list(card, number).await {
            Ok(Some(list)) => list,
            Ok(None) => continue,
            Err(error) if error.loses_card() => return Err(error),
            Err(error) => {
                tracing::warn!(number, %error, "a notification cannot be read");
                continue;
            }
        };
        let data = list.items.iter().find_map(|one| match &**one {
            PendingNotification::ProfileInstallationResult(result) => {
                let data = &*result.profile_installation_result_data;
                (data.transaction_id == *transaction_id).then(|| data.clone())
            }
            PendingNotification::OtherSignedNotification(_) => None,
        });
        if data.is_some() {
            return Ok(data);
        }
    }
    Ok(None)
}

/// The list with the one notification of this number; `None` when the card does not have it.
async fn retrieve_list(
    card: &mut impl Card,
    number: i64,
) -> Result<Option<List<Raw<PendingNotification>>>, FunctionError> {
    let search_criteria = Some(SearchCriteria::SeqNumber(number));
    let request = RetrieveNotificationsListRequest { search_criteria };
    match call_with_retry(card, &request).await? {
        RetrieveNotificationsListResponse::NotificationList(list) => Ok(Some(list)),
        RetrieveNotificationsListResponse::NotificationsListResultError(
            NotificationsError::NO_RESULT_AVAILABLE,
        ) => Ok(None),
        RetrieveNotificationsListResponse::NotificationsListResultError(error) => Err(
            FunctionError::refused::<RetrieveNotificationsListRequest>(error.0, &error),
        ),
    }
}

/// Hands a notification, as the card gave it, to its recipient. Success is the recipient's
/// acknowledgement.
///
/// # Errors
/// When it was not acknowledged; it must stay on the card then.
///
/// # Cancel safety
/// The recipient may have it; it will get it again, which it has to bear.
pub async fn deliver(
    server: &impl Server,
    address: &ServerAddress,
    notification: &[u8],
) -> Result<(), ServerError> {
    let pending_notification = Opaque::from(notification);
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
pub async fn remove(card: &mut impl Card, seq_number: i64) -> Result<(), FunctionError> {
    let request = NotificationSentRequest { seq_number };
    match card.call(&request).await?.delete_notification_status {
        // Nothing to delete: it was removed before, and the answer to that was lost.
        DeleteNotificationStatus::OK | DeleteNotificationStatus::NOTHING_TO_DELETE => Ok(()),
        status => Err(FunctionError::refused::<NotificationSentRequest>(
            status.0, &status,
        )),
    }
}
