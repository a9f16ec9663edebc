//! Results of installations and other notifications.

use super::*;

#[test]
fn an_installation_result_closes_the_order_once_and_only_when_its_signature_is_right() {
    let success = tlv::encode(
        0xA0,
        &[tlv::encode(0x4F, &[0xA0; 16]), tlv::encode(0x04, &[])].concat(),
    );
    let failure = |reason: u8| {
        tlv::encode(
            0xA1,
            &[tlv::encode(0x80, &[5]), tlv::encode(0x81, &[reason])].concat(),
        )
    };
    for (result, state) in [
        (success.clone(), OrderState::Installed),
        (failure(12), OrderState::Error),
        (failure(10), OrderState::Downloaded),
    ] {
        let mut rig = Rig::new();
        let order = rig.order(|_| {});
        let (transaction_id, answer) = rig.authenticated();
        let response = rig.prepare(signed2(&transaction_id, 1, None), &answer);
        rig.get_package(&transaction_id, &response).unwrap();
        assert_eq!(rig.state_of(order), OrderState::Downloaded);
        rig.report(&unknown_transaction(), &result);
        assert_eq!(rig.state_of(order), OrderState::Downloaded);
        rig.report(&transaction_id, &result);
        rig.report(&transaction_id, &success);
        assert_eq!(rig.state_of(order), state);
        let notifications = rig.smdp.notifications();
        let verdicts: Vec<_> = notifications.iter().map(|one| &one.verdict).collect();
        assert_eq!(
            verdicts,
            [
                &Verdict::UnknownSession,
                &Verdict::Verified,
                &Verdict::Verified
            ]
        );
    }
}

#[test]
fn an_installation_result_for_another_server_changes_nothing() {
    let mut rig = Rig::new();
    let order = rig.order(|_| {});
    let (transaction_id, _) = rig.authenticated();
    let failure = tlv::encode(0xA1, &[0x80, 1, 5, 0x81, 1, 12]);
    rig.report_to(&[0x88, 0x37, 0x0B], &transaction_id, &failure);
    assert_eq!(rig.last(), (Verdict::WrongOwner, Sequence::Unknown));
    assert_eq!(rig.state_of(order), OrderState::Released);
}

#[test]
fn notifications_are_to_come_in_rising_order_and_once() {
    let mut rig = Rig::new();
    let pki = rig.pki.clone();
    let key = pki.key(Role::Euicc).unwrap();
    for (number, sequence) in [
        (2, Sequence::Rising),
        (4, Sequence::Rising),
        (4, Sequence::Repeated),
        (3, Sequence::OutOfOrder),
        (5, Sequence::Rising),
    ] {
        rig.notify(number, &pki, key);
        assert_eq!(rig.last(), (Verdict::Verified, sequence), "{number}");
    }
}

#[test]
fn each_euicc_counts_its_notifications_itself_and_only_true_ones_count() {
    let mut rig = Rig::new();
    let pki = rig.pki.clone();
    let key = pki.key(Role::Euicc).unwrap();
    rig.notify(9, &pki, &PrivateKey::generate().unwrap());
    assert_eq!(rig.last(), (Verdict::BadSignature, Sequence::Unknown));
    rig.notify(8, &pki, key);
    assert_eq!(rig.last(), (Verdict::Verified, Sequence::Rising));

    let mut other = pki.clone();
    let euicc = CertificateSpec::euicc(OTHER_EID, SystemTime::now());
    other.issue(Role::Euicc, Role::Eum, &euicc).unwrap();
    let other_key = other.key(Role::Euicc).unwrap().clone();
    rig.notify(1, &other, &other_key);
    assert_eq!(rig.last(), (Verdict::Verified, Sequence::Rising));

    let stranger = Pki::generate(&PkiOptions::default()).unwrap();
    let own = stranger.key(Role::Euicc).unwrap().clone();
    rig.notify(9, &stranger, &own);
    let (verdict, sequence) = rig.last();
    assert!(matches!(verdict, Verdict::BadCertificate(_)), "{verdict:?}");
    assert_eq!(sequence, Sequence::Unknown);
}

#[test]
fn a_forged_installation_result_is_kept_and_changes_nothing() {
    let mut rig = Rig::new();
    let order = rig.order(|_| {});
    let (transaction_id, _) = rig.authenticated();
    let key = PrivateKey::generate().unwrap();
    let certificate = rig.pki.certificate(Role::Euicc).unwrap().clone();
    rig.pki.insert(Role::Euicc, certificate, Some(key));
    rig.report(
        &transaction_id,
        &tlv::encode(0xA1, &[0x80, 1, 5, 0x81, 1, 12]),
    );
    assert_eq!(rig.state_of(order), OrderState::Released);
    assert_eq!(
        rig.smdp.state().notifications[0].verdict,
        Verdict::BadSignature
    );
}
