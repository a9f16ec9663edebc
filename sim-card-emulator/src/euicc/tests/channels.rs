use es10_apdu::apdu::StatusWord;

use super::bench::{Bench, ISDR};

#[test]
fn channels_are_few_and_closed_ones_are_refused() {
    let mut bench = Bench::new();
    assert_eq!(bench.apdu("0070000001"), "029000");
    assert_eq!(bench.apdu("0070000001"), "039000");
    assert_eq!(bench.apdu("0070000001"), "6A81");
    assert_eq!(bench.euicc.open_channels(), [1, 2, 3]);
    assert_eq!(bench.apdu("00708002"), "9000");
    assert_eq!(bench.apdu("00708002"), "6881");
    assert_eq!(bench.apdu("82E2910003BF2E0000"), "6881");
    assert_eq!(bench.apdu("0070000200"), "9000");
    assert_eq!(bench.apdu("00708000"), "6A86");
    assert_eq!(bench.apdu("C0E2910003BF2E0000"), "6881");
}

#[test]
fn channels_above_three_have_their_own_class_bytes() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().channels = 19;
    for _ in 2..=4 {
        bench.apdu("0070000001");
    }
    assert!(bench.apdu(&format!("40A4040010{ISDR}00")).ends_with("9000"));
    assert!(
        bench
            .apdu("C0E2910006BF3E035C015A00")
            .starts_with("BF3E125A10")
    );
}

#[test]
fn the_isdr_answers_select_with_its_aid() {
    let mut bench = Bench::new();
    let information = bench.apdu(&format!("01A4040010{ISDR}00"));
    assert_eq!(
        information,
        format!("6F1F8410{ISDR}A5049F6501FFE00582030205009000")
    );
    assert_eq!(bench.apdu("01A4040005A00000055900"), "6A82");
}

#[test]
fn the_isdr_is_on_the_basic_channel_unless_the_card_keeps_it_from_there() {
    let mut bench = Bench::new();
    assert!(bench.apdu(&format!("00A4040010{ISDR}00")).ends_with("9000"));
    assert!(bench.apdu("80E2910003BF2E0000").starts_with("BF2E12"));
    let mut strict = Bench::new();
    strict.euicc.settings_mut().isdr_on_basic_channel = false;
    assert_eq!(strict.apdu(&format!("00A4040010{ISDR}00")), "6985");
    assert_eq!(strict.apdu("80E2910003BF2E0000"), "6985");
}

#[test]
fn functions_need_a_selected_isdr() {
    let mut bench = Bench::new();
    bench.apdu("0070000001");
    assert_eq!(bench.apdu("82E2910003BF2E0000"), "6985");
}

#[test]
fn blocks_count_from_zero_without_gaps() {
    let mut bench = Bench::new();
    assert_eq!(bench.apdu("81E2110003BF3E03"), "9000");
    assert_eq!(
        bench.apdu("81E29101035C015A00"),
        "BF3E125A10890490321234512345123456789012359000"
    );
    for (first, second) in [
        ("81E2110003BF3E03", "81E29102035C015A"),
        ("81E2110003BF3E03", "81E29100035C015A"),
        ("81E2110103BF3E03", "81E29101035C015A"),
        ("81E2110003BF3E03", "81E21000035C015A"),
    ] {
        let answers = [bench.apdu(first), bench.apdu(second)];
        assert!(
            answers.contains(&"6A86".into()),
            "{first} {second}: {answers:?}"
        );
        // The partial command was dropped.
        assert_eq!(bench.apdu("81E29101035C015A"), "6A86");
    }
    bench.apdu("81E2110003BF3E03");
    bench.apdu("81F2000C00");
    assert_eq!(bench.apdu("81E29101035C015A"), "6A86");
}

#[test]
fn malformed_requests_are_refused_before_anything_is_done() {
    let mut bench = Bench::new();
    for (request, sw) in [
        ("BF3B00", StatusWord::REFERENCED_DATA_NOT_FOUND),
        ("BF3500", StatusWord::REFERENCED_DATA_NOT_FOUND),
        ("BF2E0000", StatusWord::INCORRECT_DATA),
        ("BF2E", StatusWord::INCORRECT_DATA),
        ("BF2E018000", StatusWord::INCORRECT_DATA),
        ("BF2E8100", StatusWord::INCORRECT_DATA),
        ("BF3104A0028101", StatusWord::INCORRECT_DATA),
        ("BF3E035C0199", StatusWord::REFERENCED_DATA_NOT_FOUND),
        ("BF3600", StatusWord::CONDITIONS_OF_USE),
        ("A103880100", StatusWord::REFERENCED_DATA_NOT_FOUND),
        ("BF", StatusWord::INCORRECT_DATA),
    ] {
        let refused = bench.send(&hex::decode(request).unwrap());
        assert_eq!(refused, Err(sw), "{request}");
    }
    assert_eq!(bench.apdu("81E29100"), "6700");
    assert_eq!(bench.apdu("81"), "6700");
    assert_eq!(bench.apdu("81DC000000"), "6D00");
    assert_eq!(bench.apdu("01E2910003BF2E00"), "6E00");
    assert_eq!(bench.apdu("84E2910003BF2E00"), "6E00");
}

#[test]
fn an_answer_can_be_fetched_piece_by_piece() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().always_get_response = true;
    assert_eq!(bench.apdu("81E2910006BF3E035C015A00"), "6115");
    assert_eq!(bench.apdu("81C0000030"), "6C15");
    assert_eq!(bench.apdu("81C0000005"), "BF3E125A106110");
    assert_eq!(
        bench.apdu("01C0000010"),
        "890490321234512345123456789012359000"
    );
    assert_eq!(bench.apdu("81C0000010"), "6985");
    assert_eq!(bench.apdu("81E2910006BF3E035C015A00"), "6115");
    assert_eq!(bench.apdu("81F2000C00"), "9000");
    assert_eq!(bench.apdu("81C0000015"), "6985");
}

#[test]
fn a_reset_closes_every_channel() {
    let mut bench = Bench::new();
    bench.euicc.reset();
    assert!(bench.euicc.open_channels().is_empty());
    assert_eq!(bench.apdu("81E2910003BF2E0000"), "6881");
}

#[test]
fn no_command_makes_the_card_fall_over() {
    let mut bench = Bench::new();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut octet = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_be_bytes()[0]
    };
    for round in 0..20_000 {
        let length = usize::from(octet() % 40);
        let mut command: Vec<u8> = (0..length).map(|_| octet()).collect();
        if round % 4 != 0 && length > 6 {
            let body = u8::try_from(length - 5).unwrap();
            command.splice(..5, [0x81, 0xE2, 0x91, 0x00, body]);
            command[5] = 0xBF;
            command[6] = 0x20 + octet() % 0x24;
        }
        if bench.euicc.open_channels().is_empty() {
            bench.select();
        }
        bench.handle(&command);
    }
}
