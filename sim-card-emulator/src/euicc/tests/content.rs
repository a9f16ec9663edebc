//! What must be in a profile when the card insists on whole ones.

use es10_apdu::es10b::{ErrorReason, FinalResult};
use rsp_common::der::tlv;

use super::bench::{Bench, ICCID, Package, error_of, metadata_of};
use super::files::package;
use super::pins::codes;

/// A profile element that is of no interest but for its tag.
fn empty(tag: u32, number: u8) -> Vec<u8> {
    tlv(tag, &tlv(0xA0, &tlv(0x81, &[number])))
}

/// Status and identification of the element a strict card blames; none when it is content.
fn load(upp: Vec<u8>) -> Option<String> {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().strict_content = true;
    let package = Package {
        metadata: metadata_of(ICCID, &[]),
        upp,
        ..bench.session()
    };
    let result = bench.load(&package.segments()).unwrap();
    let outcome = &result.profile_installation_result_data.final_result;
    if matches!(outcome, FinalResult::SuccessResult(_)) {
        return None;
    }
    let error = error_of(&result);
    assert_eq!(error.error_reason, ErrorReason::PE_PROCESSING_ERROR);
    Some(hex::encode(error.sima_response.unwrap()))
}

fn blamed(status: u8, identification: u8) -> Option<String> {
    Some(format!(
        "300ca00830068001{status:02x}8101{identification:02x}8100"
    ))
}

fn profile(extra: &[Vec<u8>]) -> Vec<u8> {
    package(ICCID, "080910101032540636", extra)
}

const END: u8 = 0x7F;

#[test]
fn a_whole_profile_is_installed_and_nothing_may_be_missing() {
    let [puks, pins] = codes();
    let parameters = empty(0xA4, 0x61);
    let domain = empty(0xA6, 0x62);
    let whole = [
        puks.clone(),
        pins.clone(),
        parameters.clone(),
        domain.clone(),
    ];
    assert_eq!(load(profile(&whole)), None);
    assert_eq!(
        load(profile(&whole[..3])),
        blamed(5, END),
        "no security domain"
    );
    let without = [puks.clone(), pins.clone(), domain.clone()];
    assert_eq!(load(profile(&without)), blamed(5, END), "no parameters");
    let without = [puks, parameters.clone(), domain.clone()];
    assert_eq!(load(profile(&without)), blamed(11, END), "no PIN");
    let without = [pins, parameters, domain];
    assert_eq!(
        load(profile(&without)),
        blamed(5, 0x72),
        "no PUK for the PIN"
    );
}

#[test]
fn an_element_stands_after_what_it_needs() {
    let too_early = |tag| {
        let whole = profile(&[]);
        let header = whole[1] as usize + 2;
        let early = empty(tag, 0x60);
        load([&whole[..header], &early, &whole[header..]].concat())
    };
    for tag in [
        0xA1, 0xA2, 0xA4, 0xA5, 0xB2, 0xB3, 0xB4, 0xB6, 0xBA, 0xBC, 0xBF21,
    ] {
        assert_eq!(too_early(tag), blamed(5, 0x60), "{tag:X}");
    }
    let twice = profile(&[empty(0xB0, 0x60)]);
    assert_eq!(load(twice), blamed(5, 0x60), "there is one master file");
}

#[test]
fn the_number_in_the_files_must_be_that_of_the_header() {
    let mut spoilt = profile(&[]);
    let number = hex::decode("981000000000000010f9").unwrap();
    let at = spoilt
        .windows(10)
        .position(|octets| octets == number)
        .unwrap();
    spoilt[at + 1] = 0x20;
    assert_eq!(load(spoilt), blamed(3, 0x31));
}
