use std::time::Duration;

use rsp_common::key::PrivateKey;

use super::*;
use crate::profile::Iccid;
use crate::smdp::bpp::BindingRequest;

const EID: &str = "89049032123451234512345678901235";
const OTHER: &str = "89033024343000012200000000031331";

fn profile() -> Profile {
    Profile::builder(Iccid::nth(1)).build()
}

fn orders(request: OrderRequest) -> Orders {
    let mut orders = Orders::default();
    orders.create(request);
    orders
}

fn binding(number: u8) -> Binding {
    let key = |number| PrivateKey::from_scalar(&[number; 32]).unwrap();
    Binding::new(&BindingRequest {
        one_time_key: &key(99),
        host_id: b"host",
        euicc_otpk: &key(number).public_key(),
        eid: &[0x89; 16],
        metadata: &[],
        package: &[],
        profile_keys: None,
    })
}

fn hash_cc(code: &str, transaction_id: &[u8]) -> Vec<u8> {
    Sha256::digest([Sha256::digest(code).as_slice(), transaction_id].concat()).to_vec()
}

#[test]
fn a_matching_id_order_goes_to_the_first_eid_and_stays_with_it() {
    let mut orders = orders(OrderRequest::with_matching_id(profile(), "M-1"));
    assert_eq!(
        orders.find("m-1", EID).unwrap_err(),
        StatusCode::MATCHING_ID_REFUSED
    );
    let order = orders.find("M-1", EID).unwrap();
    order.admit(EID).unwrap();
    order.delivered(EID, binding(1));
    assert_eq!(order.state(), OrderState::Downloaded);
    assert_eq!(order.admit(OTHER), Err(StatusCode::EID_REFUSED));
    order.admit(EID).unwrap();
    order.installed();
    assert_eq!(order.state(), OrderState::Installed);
    assert_eq!(
        orders.find("M-1", EID).unwrap_err(),
        StatusCode::MATCHING_ID_REFUSED
    );
}

#[test]
fn an_eid_order_is_found_with_an_empty_matching_id() {
    let mut orders = orders(OrderRequest::for_eid(profile(), EID));
    assert_eq!(orders.find("", OTHER).unwrap_err(), StatusCode::EID_REFUSED);
    assert_eq!(
        orders.find("M-1", EID).unwrap_err(),
        StatusCode::MATCHING_ID_REFUSED
    );
    orders.find("", EID).unwrap().installed();
    assert_eq!(
        orders.find("", EID).unwrap_err(),
        StatusCode::MATCHING_ID_REFUSED
    );
}

#[test]
fn an_order_is_refused_until_it_is_released() {
    let request = OrderRequest {
        released: false,
        ..OrderRequest::for_eid(profile(), EID)
    };
    let mut orders = orders(request);
    let order = orders.find("", EID).unwrap();
    assert_eq!(order.state(), OrderState::Linked);
    assert_eq!(order.admit(EID), Err(StatusCode::NOT_RELEASED));
    order.state = OrderState::Released;
    assert_eq!(order.admit(EID), Ok(()));
}

#[test]
fn an_order_expires_with_the_second_it_names() {
    let expires = Some(UNIX_EPOCH + Duration::from_secs(1000));
    let mut orders = orders(OrderRequest {
        expires,
        ..OrderRequest::for_eid(profile(), EID)
    });
    let at = |second| Clock::new(move || UNIX_EPOCH + Duration::from_secs(second));
    orders.set_clock(&at(999));
    assert_eq!(orders.find("", EID).unwrap().admit(EID), Ok(()));
    orders.set_clock(&at(1000));
    let order = orders.find("", EID).unwrap();
    assert_eq!(order.admit(EID), Err(StatusCode::ORDER_EXPIRED));
}

#[test]
fn a_result_without_a_known_meaning_leaves_the_order_open_once() {
    for reason in [127, 16, 99] {
        let mut orders = orders(OrderRequest::for_eid(profile(), EID));
        let order = orders.find("", EID).unwrap();
        order.delivered(EID, binding(1));
        order.failed(reason);
        assert_eq!(order.state(), OrderState::Downloaded, "{reason}");
        order.failed(reason);
        assert_eq!(order.state(), OrderState::Error, "{reason}");
    }
}

#[test]
fn too_many_downloads_close_an_order() {
    let mut orders = orders(OrderRequest {
        max_attempts: 2,
        ..OrderRequest::for_eid(profile(), EID)
    });
    let order = orders.find("", EID).unwrap();
    for _ in 0..2 {
        order.admit(EID).unwrap();
        order.delivered(EID, binding(1));
    }
    assert_eq!(order.admit(EID), Err(StatusCode::DOWNLOAD_TRIES_EXCEEDED));
    assert_eq!(order.state(), OrderState::Error);
}

#[test]
fn the_last_wrong_confirmation_code_closes_the_order_and_a_missing_one_costs_nothing() {
    let mut request = OrderRequest::with_matching_id(profile(), "M-1");
    request.confirmation_code = Some("1234".into());
    request.max_confirmation_attempts = 2;
    let mut orders = orders(request);
    let order = orders.find("M-1", EID).unwrap();
    for _ in 0..5 {
        assert_eq!(
            order.confirm(&[1], None),
            Err(StatusCode::CONFIRMATION_CODE_MISSING)
        );
    }
    let wrong = hash_cc("4321", &[1]);
    let refused = order.confirm(&[1], Some(&wrong));
    assert_eq!(refused, Err(StatusCode::CONFIRMATION_CODE_REFUSED));
    assert_eq!(order.confirm(&[1], Some(&hash_cc("1234", &[1]))), Ok(()));
    let closed = order.confirm(&[1], Some(&wrong));
    assert_eq!(closed, Err(StatusCode::CONFIRMATION_CODE_TRIES_EXCEEDED));
    assert_eq!(order.state(), OrderState::Error);
}

#[test]
fn the_confirmation_code_is_hashed_with_the_transaction_id() {
    // The published session of the vectors: code "1234", transaction ID 0102…10.
    let transaction_id: Vec<u8> = (1..=16).collect();
    let expected = "94e57b8cdfe3eb0a8510f18898add0b1e67b48fafd39892796d6f65f9ce3cc40";
    assert_eq!(hex::encode(hash_cc("1234", &transaction_id)), expected);
}

#[test]
fn temporary_failures_and_postponing_leave_the_order_open() {
    let mut orders = orders(OrderRequest::for_eid(profile(), EID));
    let order = orders.find("", EID).unwrap();
    order.delivered(EID, binding(1));
    order.failed(10);
    order.failed(11);
    order.cancelled(1);
    order.cancelled(2);
    assert_eq!(order.state(), OrderState::Downloaded);
    order.failed(12);
    assert_eq!(order.state(), OrderState::Error);
}

#[test]
fn every_other_cancel_reason_ends_the_order() {
    for reason in [0, 3, 4, 5, 127] {
        let mut orders = orders(OrderRequest::for_eid(profile(), EID));
        let order = orders.find("", EID).unwrap();
        order.cancelled(reason);
        assert_eq!(order.state(), OrderState::Error, "reason {reason}");
    }
}

#[test]
fn a_package_is_kept_for_its_one_time_key_and_bound_again_unless_that_is_forbidden() {
    let mut orders = orders(OrderRequest::for_eid(profile(), EID));
    let order = orders.find("", EID).unwrap();
    let (first, second) = (binding(1), binding(2));
    assert!(order.binding_for(first.euicc_otpk()).unwrap().is_none());
    order.delivered(EID, first.clone());
    assert_eq!(order.kept_euicc_otpk(EID), Some(first.euicc_otpk()));
    assert_eq!(order.kept_euicc_otpk(OTHER), None);
    assert!(order.binding_for(first.euicc_otpk()).unwrap().is_some());
    assert!(order.binding_for(second.euicc_otpk()).unwrap().is_none());
    order.rebinding = false;
    let refused = order.binding_for(second.euicc_otpk()).unwrap_err();
    assert_eq!(refused, StatusCode::REBINDING_REFUSED);
}

#[test]
fn a_second_copy_of_a_result_changes_nothing() {
    let mut orders = orders(OrderRequest::for_eid(profile(), EID));
    let key = PrivateKey::from_scalar(&[1; 32]).unwrap().public_key();
    orders
        .find("", EID)
        .unwrap()
        .remember(Delivery::new(&[1], EID, &key));
    let order = orders.of_transaction(&[1]).unwrap();
    assert!(order.close_delivery(&[1]));
    assert!(!order.close_delivery(&[1]));
    assert!(!order.close_delivery(&[2]));
    assert!(orders.of_transaction(&[2]).is_none());
}

#[test]
fn a_repeatable_order_is_open_again_after_each_round_until_it_is_used_up() {
    let mut request = OrderRequest::with_matching_id(profile(), "M-1");
    request.max_downloads = Some(2);
    let mut orders = orders(request);
    let order = orders.find("M-1", EID).unwrap();
    order.delivered(EID, binding(1));
    order.cancelled(0);
    assert_eq!(order.state(), OrderState::Released);
    order.installed();
    assert_eq!(
        (order.state(), order.downloads()),
        (OrderState::Released, 1)
    );
    order.admit(OTHER).unwrap();
    order.installed();
    assert_eq!(
        (order.state(), order.downloads()),
        (OrderState::Installed, 2)
    );
}
