//! Requests that come again, and orders that end meanwhile.

use super::*;

#[test]
fn a_request_sent_again_after_its_answer_was_lost_gets_the_same_answer() {
    let mut rig = Rig::new();
    let order = rig.order(|_| {});
    let server = rig.session();
    let response = rig.proof(&server).response();
    let first = rig.authenticate(&server.transaction_id, &response).unwrap();
    let second = rig.authenticate(&server.transaction_id, &response).unwrap();
    assert_eq!(first, second);
    let response = rig.prepare(signed2(&server.transaction_id, 1, None), &first);
    let first = rig.get_package(&server.transaction_id, &response).unwrap();
    let second = rig.get_package(&server.transaction_id, &response).unwrap();
    assert_eq!(first, second);
    assert_eq!(rig.smdp.state().orders.get(order).unwrap().attempts(), 1);
}

#[test]
fn a_retry_with_the_kept_one_time_key_gets_the_kept_package_in_a_new_frame() {
    let mut rig = Rig::new();
    rig.order(|_| {});
    let (_, answer) = rig.authenticated();
    let signed: SmdpSigned2 = asn1::read(&octets(&answer, "smdpSigned2")).unwrap();
    assert_eq!(signed.bpp_euicc_otpk, None);
    let first = rig.download(1, None).unwrap();
    let (_, answer) = rig.authenticated();
    let signed: SmdpSigned2 = asn1::read(&octets(&answer, "smdpSigned2")).unwrap();
    assert_eq!(
        signed.bpp_euicc_otpk.unwrap(),
        signed2(&unknown_transaction(), 1, None).euicc_otpk
    );
    let second = rig.download(1, None).unwrap();
    let pieces = |package: &[u8]| {
        let package = tlv::Tlv::exactly(package).unwrap();
        (
            package.child(0xBF23).unwrap().encoding.to_vec(),
            package.child(0xA3).unwrap().encoding.to_vec(),
        )
    };
    assert_ne!(pieces(&first).0, pieces(&second).0);
    assert_eq!(pieces(&first).1, pieces(&second).1);
    let third = rig.download(2, None).unwrap();
    assert_ne!(pieces(&first).1, pieces(&third).1);
}

#[test]
fn a_retry_after_a_restart_of_the_server_gets_the_kept_package_in_a_new_frame() {
    let mut rig = Rig::new();
    let order = rig.order(|_| {});
    let first = rig.download(1, None).unwrap();
    rig.restart();
    let (_, answer) = rig.authenticated();
    let signed: SmdpSigned2 = asn1::read(&octets(&answer, "smdpSigned2")).unwrap();
    assert_eq!(
        signed.bpp_euicc_otpk.unwrap(),
        signed2(&unknown_transaction(), 1, None).euicc_otpk
    );
    let second = rig.download(1, None).unwrap();
    let (first, second) = (
        tlv::Tlv::exactly(&first).unwrap(),
        tlv::Tlv::exactly(&second).unwrap(),
    );
    for protected in [0xA0, 0xA1, 0xA3] {
        assert_eq!(
            first.child(protected).unwrap().encoding,
            second.child(protected).unwrap().encoding
        );
    }
    let channels = [first, second].map(|package| package.child(0xBF23).unwrap().contents.to_vec());
    assert_ne!(channels[0], channels[1]);
    assert_eq!(rig.smdp.state().orders.get(order).unwrap().attempts(), 2);
}

#[test]
fn a_result_that_comes_again_after_a_restart_is_verified_and_changes_nothing() {
    let mut rig = Rig::new();
    let order = rig.order(|request| request.max_downloads = Some(2));
    let (transaction_id, answer) = rig.authenticated();
    let response = rig.prepare(signed2(&transaction_id, 1, None), &answer);
    rig.get_package(&transaction_id, &response).unwrap();
    let aid = [tlv::encode(0x4F, &[0xA0; 16]), tlv::encode(0x04, &[])].concat();
    let success = tlv::encode(0xA0, &aid);
    rig.restart();
    rig.report(&transaction_id, &success);
    rig.restart();
    rig.report(&transaction_id, &success);
    assert_eq!(rig.smdp.state().notifications[0].verdict, Verdict::Verified);
    assert_eq!(rig.smdp.state().orders.get(order).unwrap().downloads(), 1);
}

#[test]
fn what_another_session_used_up_is_refused_to_an_euicc_already_admitted() {
    let mut rig = Rig::new();
    let order = rig.order(|_| {});
    let (transaction_id, answer) = rig.authenticated();
    let response = rig.prepare(signed2(&transaction_id, 1, None), &answer);
    rig.smdp.state().orders.get_mut(order).unwrap().withdraw();
    assert_eq!(
        rig.get_package(&transaction_id, &response),
        Err(StatusCode::MATCHING_ID_REFUSED)
    );
    assert_eq!(rig.state_of(order), OrderState::Unavailable);
}

#[test]
fn an_order_that_expires_in_a_session_is_refused_when_the_package_is_asked_for() {
    let time = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1000));
    let mut rig = Rig::new();
    let now = time.clone();
    let now =
        move || UNIX_EPOCH + Duration::from_secs(now.load(std::sync::atomic::Ordering::Relaxed));
    rig.smdp.state().orders.set_clock(&Clock::new(now));
    rig.order(|request| request.expires = Some(UNIX_EPOCH + Duration::from_secs(1001)));
    let (transaction_id, answer) = rig.authenticated();
    let response = rig.prepare(signed2(&transaction_id, 1, None), &answer);
    time.store(1001, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(
        rig.get_package(&transaction_id, &response),
        Err(StatusCode::ORDER_EXPIRED)
    );
}

#[test]
fn the_metadata_offered_is_the_metadata_in_the_package() {
    let mut rig = Rig::new();
    rig.order(|_| {});
    let (transaction_id, answer) = rig.authenticated();
    let offered = octets(&answer, "profileMetadata");
    let response = rig.prepare(signed2(&transaction_id, 1, None), &answer);
    let answer = rig.get_package(&transaction_id, &response).unwrap();
    let package = octets(&answer, "boundProfilePackage");
    let package = tlv::Tlv::exactly(&package).unwrap();
    let sequence = package.child(0xA1).unwrap();
    let stored = sequence.child(0x88).unwrap().contents;
    assert_eq!(stored[..stored.len() - 8], offered);
}
