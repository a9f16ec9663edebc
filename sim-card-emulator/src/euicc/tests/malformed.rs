//! Requests that are cut off, changed or unknown: nothing is done by halves.

use es10_apdu::apdu::StatusWord;
use es10_apdu::es10b::{CertificateList, LoadCrlRequest};
use es10_apdu::function::Es10Function;
use es10_apdu::types::RspCapability;
use rsp_common::certificate::Role;
use rsp_common::crl::{CrlSpec, serial_number};
use rsp_common::der::Tlv;

use super::bench::{Authenticate, Bench, ICCID, Prepare, configuration, now, signature_of};
use crate::euicc::NonVolatile;

/// A card with two profiles, notifications of both, an address and a revocation list.
fn filled() -> Bench {
    let mut bench = Bench::new();
    let events = configuration(&[[0x04, 0xF0]]);
    bench.euicc.settings_mut().rsp_capability = RspCapability::CRL_SUPPORT;
    bench.install(ICCID, std::slice::from_ref(&events));
    bench.install("8901000000000000027F", &[events]);
    for request in [
        "BF3F058003612E62",
        "BF3111A00C5A0A981000000000000010F9810100",
    ] {
        bench.send(&hex::decode(request).unwrap()).unwrap();
    }
    let list = revocation_list(&bench, 1);
    bench.send(&list).unwrap();
    bench
}

fn revocation_list(bench: &Bench, number: u64) -> Vec<u8> {
    let spec = CrlSpec {
        revoked: vec![serial_number(bench.pki.certificate(Role::DsAuth).unwrap()).unwrap()],
        ..CrlSpec::new(number, now())
    };
    let key = bench.pki.key(Role::Ci).unwrap();
    let crl = spec.issue(bench.pki.certificate(Role::Ci).unwrap(), key);
    let crl = CertificateList::from_ber(&crl).unwrap();
    LoadCrlRequest { crl }.to_der()
}

/// Requests that change something, or look something up.
const REQUESTS: [&str; 20] = [
    "BF2000",
    "BF2200",
    "BF2E00",
    "BF2800",
    "BF2804810204F0",
    "BF29105A0A981000000000000010F990024142",
    "BF2B00",
    "BF2B05A003800102",
    "BF2B06A004810204F0",
    "BF2D00",
    "BF2D13A00C5A0A981000000000000010F95C035A9F70",
    "BF2D05A003950102",
    "BF3003800103",
    "BF3111A00C5A0A981000000000000020F7810100",
    "BF3211A00C5A0A981000000000000010F9810100",
    "BF330C5A0A981000000000000020F7",
    "BF3404820205E0",
    "BF3C00",
    "BF3E035C015A",
    "BF3F058003632E64",
];

/// Whether the answer tells of success, in one of the forms answers have.
fn is_ok(answer: &[u8]) -> bool {
    let parts = Tlv::exact(answer).and_then(|answer| answer.children());
    let parts = parts.unwrap_or_default();
    match parts.first() {
        Some(part) if part.tag == 0x80 => part.value == [0],
        Some(part) => part.tag == 0xA0,
        None => false,
    }
}

/// Sends a request to a copy of the card; unless it says ok everything must be as before.
fn assert_whole_or_nothing(bench: &Bench, request: &[u8]) -> Result<Vec<u8>, StatusWord> {
    let mut copy = bench.copy();
    let answer = copy.send(request);
    if !answer.as_deref().is_ok_and(is_ok) {
        assert!(
            copy.euicc.memory() == bench.euicc.memory(),
            "{}",
            hex::encode(request)
        );
    }
    answer
}

/// Sends every beginning of a request, and the request with more behind it.
fn assert_length_matters(bench: &Bench, request: &[u8]) {
    let incorrect = Err(StatusWord::INCORRECT_DATA);
    for length in 1..request.len() {
        assert_eq!(
            assert_whole_or_nothing(bench, &request[..length]),
            incorrect
        );
    }
    for more in [&[0][..], &[0xBF, 0x20, 0x00], &[0x80, 0x00]] {
        let longer = [request, more].concat();
        assert_eq!(assert_whole_or_nothing(bench, &longer), incorrect);
    }
}

#[test]
fn plain_requests_are_taken_whole_or_not_at_all() {
    let mut v3 = filled();
    v3.euicc.settings_mut().v3_answers = true;
    let v2 = filled();
    for (bench, request) in REQUESTS
        .iter()
        .flat_map(|request| [(&v2, request), (&v3, request)])
    {
        let request = hex::decode(request).unwrap();
        assert_whole_or_nothing(bench, &request).unwrap();
        assert_length_matters(bench, &request);
        for at in 0..request.len() {
            for octet in 0..=255 {
                let mut changed = request.clone();
                changed[at] = octet;
                let _ = assert_whole_or_nothing(bench, &changed);
            }
        }
    }
}

#[test]
fn signed_requests_are_taken_whole_or_not_at_all() {
    let mut bench = filled();
    let list = revocation_list(&bench, 2);
    assert_signed_whole_or_nothing(&bench, &list);
    let challenge = bench.challenge();
    let authenticate = Authenticate::new(&bench.pki);
    assert_signed_whole_or_nothing(&bench, &authenticate.to_der(&challenge));
    let signature = signature_of(bench.authenticate_with(&challenge, &authenticate));
    let prepare = Prepare::new(&bench.pki, signature);
    assert_signed_whole_or_nothing(&bench, &prepare.to_der());
    let cancel = format!("BF41158010{}810105", "07".repeat(16));
    assert_length_matters(&bench, &hex::decode(cancel).unwrap());
}

/// The request itself is good; what was signed of it must not be changed by a bit.
fn assert_signed_whole_or_nothing(bench: &Bench, request: &[u8]) {
    let answer = assert_whole_or_nothing(bench, request).unwrap();
    assert!(is_ok(&answer));
    assert_length_matters(bench, request);
    for at in 0..request.len() {
        let mut changed = request.to_vec();
        changed[at] ^= 1 << (at % 8);
        let _ = assert_whole_or_nothing(bench, &changed);
    }
}

#[test]
fn a_package_with_a_changed_or_cut_segment_leaves_a_result_and_no_profile() {
    let mut bench = filled();
    let mut package = bench.session();
    let third = "8901000000000000035F";
    package.metadata = super::bench::metadata_of(third, &[]);
    package.upp = super::bench::upp(third, 20);
    package.profile_keys = true;
    let segments = package.segments();
    for (index, segment) in segments.iter().enumerate() {
        for length in 1..segment.len() {
            assert_refused(&bench, &segments, index, &segment[..length]);
        }
        assert_refused(&bench, &segments, index, &[&segment[..], &[0]].concat());
        for at in 0..segment.len() {
            let mut changed = segment.clone();
            changed[at] ^= 1 << (at % 8);
            assert_refused(&bench, &segments, index, &changed);
        }
        bench.send(segment).unwrap();
    }
    assert_eq!(bench.euicc.memory().profiles.len(), 3);
}

/// Sends a segment that is not the good one, and the good ones behind it.
fn assert_refused(bench: &Bench, segments: &[Vec<u8>], index: usize, segment: &[u8]) {
    let mut copy = bench.copy();
    let before = copy.euicc.memory().clone();
    let sent = [segment.to_vec()]
        .into_iter()
        .chain(segments[index + 1..].to_vec());
    let answers: Vec<_> = sent.map(|segment| copy.send(&segment)).collect();
    let memory = copy.euicc.memory();
    assert_eq!(memory.profiles, before.profiles, "{}", hex::encode(segment));
    let results = answers
        .iter()
        .flatten()
        .filter(|answer| answer.starts_with(&[0xBF, 0x37]));
    let made = memory.notifications.len() - before.notifications.len();
    assert_eq!(results.count(), made);
    let unchanged = NonVolatile {
        sequence_number: memory.sequence_number,
        notifications: memory.notifications.clone(),
        one_time_keys: memory.one_time_keys.clone(),
        installing: memory.installing.clone(),
        ..before
    };
    assert_eq!(*memory, unchanged);
}

#[test]
fn what_is_no_function_is_referenced_data_that_was_not_found() {
    let mut bench = filled();
    let known: Vec<u32> = (0xBF20..=0xBF7F)
        .filter(|tag| {
            let [.., low] = u32::to_be_bytes(*tag);
            let request = [0xBF, low, 0];
            let answer = assert_whole_or_nothing(&bench, &request);
            answer != Err(StatusWord::REFERENCED_DATA_NOT_FOUND)
        })
        .collect();
    let functions = [
        0xBF20, 0xBF21, 0xBF22, 0xBF28, 0xBF29, 0xBF2B, 0xBF2D, 0xBF2E, 0xBF30, 0xBF31, 0xBF32,
        0xBF33, 0xBF34, 0xBF35, 0xBF36, 0xBF38, 0xBF3C, 0xBF3E, 0xBF3F, 0xBF41, 0xBF43,
    ];
    assert_eq!(known, functions);
    let unknown = Err(StatusWord::REFERENCED_DATA_NOT_FOUND);
    for request in ["5A00", "BF810000", "E300", "A000", "8600"] {
        assert_eq!(
            bench.send(&hex::decode(request).unwrap()),
            unknown,
            "{request}"
        );
    }
    // What belongs into a package or comes over the air is no function of the LPA.
    for request in ["BF2300", "BF2400", "BF2500", "BF2600", "BF2A00"] {
        assert_eq!(
            bench.send(&hex::decode(request).unwrap()),
            unknown,
            "{request}"
        );
    }
}
