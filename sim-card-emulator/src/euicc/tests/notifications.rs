use es10_apdu::es10a::{
    EuiccConfiguredAddressesRequest, SetDefaultDpAddressRequest, SetDefaultDpAddressResult,
};
use es10_apdu::es10b::{
    DeleteNotificationStatus, ListNotificationRequest, ListNotificationResponse,
    NotificationSentRequest, PendingNotification, RetrieveNotificationsListRequest,
    RetrieveNotificationsListResponse, SearchCriteria,
};
use es10_apdu::types::NotificationEvent;

use super::bench::{Bench, ICCID, configuration};
use crate::certificate::Role;

const INSTALL: [u8; 2] = [0x07, 0x80];
const ENABLE: [u8; 2] = [0x06, 0x40];
const DISABLE: [u8; 2] = [0x05, 0x20];
const DELETE: [u8; 2] = [0x04, 0x10];

fn enable(profile: &str) -> String {
    let swapped: Vec<u8> = hex::decode(profile)
        .unwrap()
        .iter()
        .map(|o| o.rotate_left(4))
        .collect();
    format!("BF3111A00C5A0A{}810100", hex::encode(swapped))
}

fn send(bench: &mut Bench, request: &str) {
    bench.send(&hex::decode(request).unwrap()).unwrap();
}

fn events(bench: &mut Bench, wanted: Option<NotificationEvent>) -> Vec<(i64, NotificationEvent)> {
    let request = ListNotificationRequest {
        profile_management_operation: wanted,
    };
    match bench.call(&request) {
        ListNotificationResponse::NotificationMetadataList(list) => list
            .iter()
            .map(|metadata| (metadata.seq_number, metadata.profile_management_operation))
            .collect(),
        ListNotificationResponse::ListNotificationsResultError(error) => panic!("{error}"),
    }
}

#[test]
fn every_configured_event_is_notified_in_order_and_signed() {
    let mut bench = Bench::new();
    let other = "8901000000000000027F";
    bench.install(ICCID, &[configuration(&[INSTALL, ENABLE, DISABLE, DELETE])]);
    bench.install(other, &[configuration(&[[0x04, 0xF0]])]);
    send(&mut bench, &enable(ICCID));
    send(&mut bench, &enable(other));
    let (install, enabled, disabled) = (
        NotificationEvent::INSTALL,
        NotificationEvent::ENABLE,
        NotificationEvent::DISABLE,
    );
    assert_eq!(
        events(&mut bench, None),
        [
            (1, install),
            (2, install),
            (3, install),
            (4, install),
            (5, enabled),
            (6, disabled),
            (7, enabled),
        ]
    );
    assert_eq!(events(&mut bench, Some(disabled)), [(6, disabled)]);
    assert_eq!(events(&mut bench, Some(disabled | enabled)).len(), 3);
    let RetrieveNotificationsListResponse::NotificationList(list) =
        bench.call(&RetrieveNotificationsListRequest::default())
    else {
        panic!("there is no list");
    };
    let key = bench.pki.key(Role::Euicc).unwrap().public_key();
    for pending in list.iter() {
        let signed = match &**pending {
            PendingNotification::ProfileInstallationResult(result) => key.verifies(
                result.profile_installation_result_data.bytes(),
                result.euicc_sign_pir.contents(),
            ),
            PendingNotification::OtherSignedNotification(other) => key.verifies(
                other.tbs_other_notification.bytes(),
                other.euicc_notification_signature.contents(),
            ),
        };
        assert!(signed);
    }
}

#[test]
fn a_notification_is_retrieved_by_number_and_removed_once() {
    let mut bench = Bench::new();
    bench.install(ICCID, &[configuration(&[ENABLE])]);
    send(&mut bench, &enable(ICCID));
    let by_number = |seq_number| RetrieveNotificationsListRequest {
        search_criteria: Some(SearchCriteria::SeqNumber(seq_number)),
    };
    let RetrieveNotificationsListResponse::NotificationList(list) = bench.call(&by_number(2))
    else {
        panic!("there is no list");
    };
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].metadata().seq_number, 2);
    let mut remove = |seq_number| {
        bench
            .call(&NotificationSentRequest { seq_number })
            .delete_notification_status
    };
    assert_eq!(remove(2), DeleteNotificationStatus::OK);
    assert_eq!(remove(2), DeleteNotificationStatus::NOTHING_TO_DELETE);
    assert_eq!(events(&mut bench, None).len(), 1);
    // The number is not given a second time.
    send(&mut bench, "BF3211A00C5A0A981000000000000010F9810100");
    send(&mut bench, &enable(ICCID));
    assert_eq!(events(&mut bench, None).last().unwrap().0, 3);
}

#[test]
fn notifications_of_a_deleted_profile_stay() {
    let mut bench = Bench::new();
    bench.install(ICCID, &[configuration(&[DELETE])]);
    send(&mut bench, "BF330C5A0A981000000000000010F9");
    let events = events(&mut bench, None);
    assert_eq!(
        events,
        [
            (1, NotificationEvent::INSTALL),
            (2, NotificationEvent::DELETE)
        ]
    );
}

#[test]
fn a_full_list_drops_its_oldest() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().notifications = 2;
    bench.install(ICCID, &[configuration(&[INSTALL, ENABLE])]);
    send(&mut bench, &enable(ICCID));
    let numbers: Vec<_> = events(&mut bench, None)
        .iter()
        .map(|event| event.0)
        .collect();
    assert_eq!(numbers, [2, 3]);
}

#[test]
fn the_default_address_is_set_and_cleared() {
    let mut bench = Bench::new();
    let mut set = |address: &str| {
        let request = SetDefaultDpAddressRequest {
            default_dp_address: address.into(),
        };
        let result = bench.call(&request).set_default_dp_address_result;
        let shown = bench.call(&EuiccConfiguredAddressesRequest::default());
        (
            result,
            shown.default_dp_address.map(|address| address.to_string()),
        )
    };
    let ok = SetDefaultDpAddressResult::OK;
    assert_eq!(
        set("smdp.example.com"),
        (ok, Some("smdp.example.com".into()))
    );
    assert_eq!(set(""), (ok, None));
    assert_eq!(
        set(&"x".repeat(200)).0,
        SetDefaultDpAddressResult::UNDEFINED_ERROR
    );
}
