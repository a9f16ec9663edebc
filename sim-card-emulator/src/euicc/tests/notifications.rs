use es10_apdu::asn1::read;
use es10_apdu::es10a::{
    EuiccConfiguredAddressesRequest, SetDefaultDpAddressRequest, SetDefaultDpAddressResult,
};
use es10_apdu::es10b::{
    DeleteNotificationStatus, DownloadErrorCode, ListNotificationRequest, ListNotificationResponse,
    NotificationMetadata, NotificationSentRequest, PendingNotification, PrepareDownloadResponse,
    RetrieveNotificationsListRequest, RetrieveNotificationsListResponse, SearchCriteria,
};
use es10_apdu::types::NotificationEvent;
use rsp_common::certificate::Role;
use rsp_common::der::{constructed, tlv};

use super::bench::{Authenticate, Bench, ICCID, Prepare, configuration, signature_of};
use crate::euicc::{EmptyList, Euicc, FullStore};

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

#[test]
fn an_empty_list_has_the_form_the_card_is_used_to() {
    let mut bench = Bench::new();
    for (form, list, retrieve) in [
        (EmptyList::List, "BF2802A000", "BF2B02A000"),
        (EmptyList::NoResultAvailable, "BF2802A000", "BF2B03810101"),
        (EmptyList::UndefinedError, "BF280381017F", "BF2B0381017F"),
    ] {
        bench.euicc.settings_mut().empty_list = form;
        let mut ask =
            |request: &str| hex::encode_upper(bench.send(&hex::decode(request).unwrap()).unwrap());
        assert_eq!(ask("BF2800"), list);
        assert_eq!(ask("BF28 04 81 02 0410".replace(' ', "").as_str()), list);
        assert_eq!(ask("BF2B00"), retrieve);
        assert_eq!(ask("BF2B05A003800109"), retrieve);
    }
    bench.install(ICCID, &[]);
    assert_eq!(events(&mut bench, None).len(), 1);
}

#[test]
fn a_card_that_keeps_every_notification_refuses_work_until_the_list_is_emptied() {
    let mut bench = Bench::new();
    let other = "8901000000000000027F";
    bench.install(ICCID, &[configuration(&[ENABLE, DISABLE, DELETE])]);
    bench.install(other, &[configuration(&[ENABLE, DELETE])]);
    let settings = bench.euicc.settings_mut();
    (settings.full_store, settings.notifications) = (FullStore::Refuse, 3);
    send(&mut bench, &enable(ICCID));
    let memory = bench.euicc.memory().clone();
    let code = |bench: &mut Bench, request: &str| {
        *bench
            .send(&hex::decode(request).unwrap())
            .unwrap()
            .last()
            .unwrap()
    };
    for request in [
        enable(other),
        "BF3211A00C5A0A981000000000000010F9810100".to_owned(),
        "BF330C5A0A981000000000000020F7".to_owned(),
        "BF34048202 0780".replace(' ', ""),
    ] {
        assert_eq!(code(&mut bench, &request), 127, "{request}");
    }
    let signature = signature_of({
        let request = Authenticate::new(&bench.pki);
        bench.authenticate(&request)
    });
    let PrepareDownloadResponse::DownloadResponseError(error) =
        bench.prepare(&Prepare::new(&bench.pki, signature))
    else {
        panic!("there is no room for a result");
    };
    assert_eq!(
        error.download_error_code,
        DownloadErrorCode::UNDEFINED_ERROR
    );
    assert_eq!(*bench.euicc.memory(), memory);
    // Switching makes two.
    send(&mut bench, "BF3003800101");
    assert_eq!(code(&mut bench, &enable(other)), 127);
    send(&mut bench, "BF3003800102");
    assert_eq!(code(&mut bench, &enable(other)), 0);
    let numbers: Vec<_> = events(&mut bench, None)
        .iter()
        .map(|event| event.0)
        .collect();
    assert_eq!(numbers, [3, 4, 5]);
}

#[test]
fn one_event_is_reported_to_every_address_that_wants_it() {
    let mut bench = Bench::new();
    let entry =
        |bits: [u8; 2], address: &[u8]| constructed(0x30, &[tlv(0x80, &bits), tlv(0x81, address)]);
    let all = constructed(
        0xB6,
        &[
            entry([0x04, 0xF0], b"all.example.com"),
            entry(ENABLE, b"enable.example.com"),
            entry(DELETE, b"delete.example.com"),
        ],
    );
    bench.install(ICCID, &[all]);
    send(&mut bench, &enable(ICCID));
    let list = bench.euicc.memory().notifications.iter();
    let addresses: Vec<(i64, String)> = list
        .map(|kept| {
            let metadata: NotificationMetadata = read(&kept.metadata).unwrap();
            let bits = metadata.profile_management_operation.0.count_ones();
            assert_eq!((bits, metadata.seq_number), (1, kept.sequence_number));
            (
                metadata.seq_number,
                metadata.notification_address.to_string(),
            )
        })
        .collect();
    let expected = [
        (1, "smdp.example.com"),
        (2, "all.example.com"),
        (3, "all.example.com"),
        (4, "enable.example.com"),
    ];
    assert_eq!(
        addresses,
        expected.map(|(number, address)| (number, address.to_owned()))
    );
}

#[test]
fn numbers_rise_over_power_loss_memory_resets_and_removals() {
    let mut bench = Bench::new();
    let mut last = 0;
    for round in 0..4 {
        bench.install(ICCID, &[configuration(&[ENABLE, DELETE])]);
        send(&mut bench, &enable(ICCID));
        send(&mut bench, "BF34048202 0780".replace(' ', "").as_str());
        let numbers: Vec<_> = events(&mut bench, None)
            .iter()
            .map(|event| event.0)
            .collect();
        assert_eq!(numbers, [last + 1, last + 2, last + 3], "round {round}");
        last += 3;
        for number in numbers {
            let request = NotificationSentRequest { seq_number: number };
            bench.call(&request);
        }
        let identity = bench.euicc.identity().clone();
        let (settings, memory) = (bench.euicc.settings().clone(), bench.euicc.memory().clone());
        bench.euicc = Euicc::new(identity, settings, memory);
        bench.select();
    }
}

#[test]
fn the_result_may_be_all_that_is_told_of_an_installation() {
    for (notified, count) in [(true, 2), (false, 1)] {
        let mut bench = Bench::new();
        bench.euicc.settings_mut().installation_notified = notified;
        bench.install(ICCID, &[configuration(&[INSTALL])]);
        assert_eq!(
            events(&mut bench, Some(NotificationEvent::INSTALL)).len(),
            count
        );
        assert_eq!(bench.euicc.memory().notifications.len(), count);
    }
}
