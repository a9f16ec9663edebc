//! What cards of SGP.22 v3 answer to requests of v2.

use es10_apdu::asn1::{Raw, read};
use es10_apdu::es10a::{EuiccConfiguredAddressesRequest, EuiccConfiguredAddressesResponse};
use es10_apdu::es10b::{EuiccInfo1, EuiccInfo2, EuiccSigned1, PendingNotification};
use es10_apdu::types::{NotificationEvent, RspCapability};
use rsp_common::der::{Tlv, constructed, extended, tlv};

use super::bench::{Authenticate, Bench, ICCID, configuration};

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().v3_answers = true;
    bench
}

fn ask(bench: &mut Bench, request: &str) -> String {
    hex::encode_upper(
        bench
            .send(&hex::decode(request.replace(' ', "")).unwrap())
            .unwrap(),
    )
}

fn tags(der: &[u8]) -> Vec<u32> {
    let parts = Tlv::exact(der).unwrap().children().unwrap();
    parts.iter().map(|part| part.tag).collect()
}

#[test]
fn information_has_more_fields_and_stays_readable() {
    let mut bench = bench();
    let info1 = bench.send(&[0xBF, 0x20, 0]).unwrap();
    assert_eq!(tags(&info1), [0x82, 0xA9, 0xAA, 0xB1, 0x88, 0x93]);
    let read1: EuiccInfo1 = read(&info1).unwrap();
    let info2 = bench.send(&[0xBF, 0x22, 0]).unwrap();
    let more = [0x8D, 0x8E, 0xAF, 0x90, 0xB1, 0x92, 0x93];
    assert!(tags(&info2).ends_with(&more), "{:X?}", tags(&info2));
    let read2: EuiccInfo2 = read(&info2).unwrap();
    assert_eq!(read1.svn, read2.svn);
    assert!(read2.rsp_capability.contains(RspCapability(1 << 18)));
    bench.euicc.settings_mut().v3_answers = false;
    let info1 = bench.send(&[0xBF, 0x20, 0]).unwrap();
    assert_eq!(tags(&info1), [0x82, 0xA9, 0xAA]);
}

#[test]
fn addresses_come_with_further_roots_and_issuers() {
    let mut bench = bench();
    bench
        .send(&hex::decode("BF3F058003612E62").unwrap())
        .unwrap();
    let answer = bench.send(&[0xBF, 0x3C, 0]).unwrap();
    assert_eq!(tags(&answer), [0x80, 0x81, 0xA2, 0x83, 0xA4]);
    let known: EuiccConfiguredAddressesResponse = read(&answer).unwrap();
    assert_eq!(
        known,
        bench.call(&EuiccConfiguredAddressesRequest::default())
    );
    // An issuer the card does not know is refused, its own is not.
    let own = Authenticate::new(&bench.pki).ci_key_identifier;
    let set = |issuer: &[u8]| constructed(0xBF3F, &[tlv(0x80, b"c.d"), tlv(0x81, issuer)]);
    let refused = bench.send(&set(&[1; 20])).unwrap();
    assert_eq!(refused, [0xBF, 0x3F, 3, 0x80, 1, 8]);
    assert_eq!(bench.euicc.memory().default_dp_address, "a.b");
    let taken = bench.send(&set(&own)).unwrap();
    assert_eq!(taken, [0xBF, 0x3F, 3, 0x80, 1, 0]);
    assert_eq!(bench.euicc.memory().default_dp_address, "c.d");
}

#[test]
fn notifications_carry_the_rest_of_the_chain() {
    let mut bench = bench();
    bench.install(ICCID, &[configuration(&[[0x06, 0x40]])]);
    ask(
        &mut bench,
        "BF31 11 A0 0C 5A 0A 981000000000000010F9 81 01 00",
    );
    let kept = bench.euicc.memory().notifications.last().unwrap().clone();
    assert_eq!(tags(&kept.der), [0xBF2F, 0x5F37, 0x30, 0x30, 0xA1]);
    let pending: Raw<PendingNotification> = Raw::from_ber(&kept.der).unwrap();
    let event = pending.metadata().profile_management_operation;
    assert_eq!(event, NotificationEvent::ENABLE);
}

#[test]
fn a_change_that_waits_for_the_refresh_hides_the_list() {
    let mut bench = bench();
    bench.install(ICCID, &[]);
    bench.apdu("81E2910014BF3111A00C5A0A981000000000000010F98101FF00");
    assert_eq!(ask(&mut bench, "BF2D00"), "BF2D0381010B");
    bench.euicc.settings_mut().v3_answers = false;
    assert!(ask(&mut bench, "BF2D00").contains("9F700100"));
    bench.euicc.settings_mut().v3_answers = true;
    bench.euicc.reset();
    bench.select();
    let asked = ask(&mut bench, "BF2D 08 5C 06 5A 9F24 9F25 BB");
    assert!(asked.contains("9F2401009F2502"), "{asked}");
    let asked = ask(&mut bench, "BF2D 05 5C 03 5A 9F25");
    assert!(asked.contains("F99F2502"), "{asked}");
}

#[test]
fn in_test_mode_nothing_is_deleted() {
    let mut bench = bench();
    let other = "8901000000000000027F";
    bench.install(ICCID, &[tlv(0x95, &[0])]);
    bench.install(other, &[]);
    ask(
        &mut bench,
        "BF31 11 A0 0C 5A 0A 981000000000000010F9 81 01 00",
    );
    let delete = "BF33 0C 5A 0A 981000000000000020F7";
    assert_eq!(ask(&mut bench, delete), "BF3303800104");
    bench.euicc.settings_mut().v3_answers = false;
    assert_eq!(ask(&mut bench, delete), "BF3303800100");
}

#[test]
fn a_memory_reset_deletes_provisioning_profiles_too() {
    let mut bench = bench();
    bench.install(ICCID, &[tlv(0x95, &[1])]);
    let reset = "BF34 04 82 02 03 08";
    bench.euicc.settings_mut().v3_answers = false;
    assert_eq!(ask(&mut bench, reset), "BF3403800101");
    bench.euicc.settings_mut().v3_answers = true;
    // There are no test profiles that were not loaded in the field.
    assert_eq!(ask(&mut bench, "BF34 04 82 02 04 10"), "BF3403800101");
    assert_eq!(ask(&mut bench, reset), "BF3403800100");
    assert!(bench.euicc.memory().profiles.is_empty());
}

#[test]
fn sessions_are_cancelled_for_reasons_of_v3() {
    let mut bench = bench();
    bench.session();
    let cancel = |reason: u8| format!("BF41 15 80 10 {} 81 01 {reason:02X}", "07".repeat(16));
    assert_eq!(ask(&mut bench, &cancel(30)), "BF410381017F");
    bench.euicc.settings_mut().v3_answers = false;
    assert_eq!(ask(&mut bench, &cancel(16)), "BF410381017F");
    bench.euicc.settings_mut().v3_answers = true;
    assert!(ask(&mut bench, &cancel(16)).contains("820110"));
}

#[test]
fn the_device_may_tell_more_where_the_card_says_so_and_that_is_signed() {
    for (v3_answers, capability, taken) in [
        (false, RspCapability::default(), false),
        (
            false,
            RspCapability::DEVICE_INFO_EXTENSIBILITY_SUPPORT,
            true,
        ),
        (true, RspCapability::default(), true),
    ] {
        let mut bench = Bench::new();
        let settings = bench.euicc.settings_mut();
        (settings.v3_answers, settings.rsp_capability) = (v3_answers, capability);
        let challenge = bench.challenge();
        let request = Authenticate::new(&bench.pki).to_der(&challenge);
        let request = Tlv::exact(&request).unwrap().children().unwrap();
        let mut parts: Vec<Vec<u8>> = request.iter().map(|part| part.bytes.to_vec()).collect();
        let capabilities = tlv(0xA1, &tlv(0x88, &[15, 0, 0]));
        let device = constructed(0xA1, &[tlv(0x80, &[0x35, 0x29, 0x06, 0x11]), capabilities]);
        parts[4] = constructed(0xA0, &[tlv(0x80, b"MATCHING"), device]);
        let answer = bench.send(&constructed(0xBF38, &parts));
        assert_eq!(answer.is_ok(), taken);
        let Ok(answer) = answer else {
            // Nothing was begun: the challenge is still good.
            let request = Authenticate::new(&bench.pki);
            super::bench::signature_of(bench.authenticate_with(&challenge, &request));
            continue;
        };
        let ok = Tlv::exact(&answer).unwrap().children().unwrap()[0];
        let signed = ok.children().unwrap()[0];
        assert_eq!(signed.children().unwrap()[4].bytes, parts[4]);
        let _: EuiccSigned1 = read(signed.bytes).unwrap();
    }
}

#[test]
fn what_a_server_of_v3_signed_besides_is_verified_and_ignored() {
    let mut bench = Bench::new();
    let challenge = bench.challenge();
    let server = Authenticate::new(&bench.pki);
    let request = server.to_der(&challenge);
    let request = Tlv::exact(&request).unwrap().children().unwrap();
    let mut parts: Vec<Vec<u8>> = request.iter().map(|part| part.bytes.to_vec()).collect();
    let session_context = tlv(0xA5, &tlv(0x80, &[3, 0, 0]));
    parts[0] = extended(&parts[0], &[session_context]);
    parts[1] = tlv(0x5F37, &server.key.sign(&parts[0]));
    let answer = bench.send(&constructed(0xBF38, &parts)).unwrap();
    super::bench::signature_of(read(&answer).unwrap());
}
