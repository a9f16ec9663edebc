//! TERMINAL CAPABILITY, and the manners of a card that are settings.

use super::bench::{Bench, ISDR};
use crate::euicc::Settings;

const LPAD: &str = "80AA00000AA9088100820101830107";
const EID: &str = "81E2910006BF3E035C015A00";

fn select(bench: &mut Bench) -> String {
    bench.apdu(&format!("01A4040010{ISDR}00"))
}

#[test]
fn terminal_capability_is_a_template_of_known_objects() {
    let mut bench = Bench::new();
    for (command, answer) in [
        (LPAD, "9000"),
        ("80AA000005A903830107", "9000"),
        ("80AA000007A9058003010203", "9000"),
        ("80AA000006A904800101", "6700"),
        ("80AA000006A90480020101", "6A80"),
        ("80AA000005A903810100", "6A80"),
        ("80AA000004A9028300", "6A80"),
        ("80AA000005A803830107", "6A80"),
        ("80AA010005A903830107", "6A86"),
        ("80AA0000", "6A80"),
        ("00AA000005A903830107", "6E00"),
    ] {
        assert_eq!(bench.apdu(command), answer, "{command}");
    }
}

#[test]
fn a_card_that_requires_terminal_capability_hides_its_isdr_until_then() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().terminal_capability_required = true;
    assert_eq!(select(&mut bench), "6985");
    bench.apdu("80AA000004A9028100");
    assert_eq!(
        select(&mut bench),
        "6985",
        "there is no LPA in this terminal"
    );
    bench.apdu(LPAD);
    assert!(select(&mut bench).ends_with("9000"));
    bench.euicc.reset();
    bench.apdu("0070000001");
    assert_eq!(select(&mut bench), "6985");
}

#[test]
fn each_part_of_the_lpa_has_its_own_functions() {
    let functions = ["81E2910003BF3C0000", "81E2910003BF2E0000", EID];
    for (capability, allowed) in [
        ("01", [false, false, true]),
        ("02", [false, true, false]),
        ("04", [true, false, false]),
        ("07", [true, true, true]),
    ] {
        let mut bench = Bench::new();
        bench.apdu(&format!("80AA000005A9038301{capability}"));
        assert!(select(&mut bench).ends_with("9000"));
        for (function, allowed) in functions.iter().zip(allowed) {
            let answer = bench.apdu(function);
            assert_eq!(answer.ends_with("9000"), allowed, "{capability} {function}");
            assert!(allowed || answer == "6985", "{answer}");
        }
    }
    let mut bench = Bench::new();
    bench.apdu("80AA000005A903830100");
    assert_eq!(select(&mut bench), "6985");
}

#[test]
fn the_isdr_refuses_while_the_card_has_an_active_lpa_of_its_own() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().lpae_active = true;
    assert_eq!(select(&mut bench), "6985");
}

#[test]
fn the_isdr_can_have_another_name() {
    let mut bench = Bench::new();
    let esim_me = "A0000005591010000000008900000300";
    let aid = hex::decode(esim_me).unwrap();
    bench.euicc.settings_mut().isdr_aids = vec![aid];
    assert_eq!(select(&mut bench), "6A82");
    let answer = bench.apdu(&format!("01A4040010{esim_me}00"));
    assert!(answer.starts_with(&format!("6F1F8410{esim_me}")));
    assert_eq!(bench.apdu("81F2000100"), format!("8410{esim_me}9000"));
    assert!(bench.apdu(EID).starts_with("BF3E125A10"));
}

#[test]
fn the_isdr_can_answer_without_information() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().fci_less_select = true;
    assert_eq!(select(&mut bench), "9000");
    assert!(bench.apdu(EID).starts_with("BF3E125A10"));
}

#[test]
fn the_first_channel_can_have_a_high_number() {
    let mut bench = Bench::new();
    bench.apdu("00708001");
    bench.euicc.settings_mut().first_channel = 4;
    bench.euicc.settings_mut().channels = 2;
    assert_eq!(bench.apdu("0070000001"), "049000");
    assert_eq!(bench.apdu("0070000501"), "9000");
    assert_eq!(bench.apdu("0070000000"), "6A81");
    assert_eq!(bench.apdu("0070000101"), "6A81");
    assert_eq!(bench.apdu("0070000601"), "6A86");
    assert_eq!(bench.euicc.open_channels(), [4, 5]);
    assert!(bench.apdu(&format!("40A4040010{ISDR}00")).ends_with("9000"));
}

#[test]
fn no_channel_need_be_free_at_all() {
    let mut bench = Bench::new();
    bench.apdu("00708001");
    bench.euicc.settings_mut().channels = 0;
    assert_eq!(bench.apdu("0070000001"), "6A81");
}

#[test]
fn a_long_answer_can_leave_in_short_pieces() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().response_piece = 8;
    assert_eq!(bench.apdu(EID), "6108");
    assert_eq!(bench.apdu("81C0000000"), "BF3E125A108904906108");
    assert_eq!(bench.apdu("81C0000009"), "6C08");
    assert_eq!(bench.apdu("81C0000008"), "32123451234512346105");
    assert_eq!(
        bench.apdu("81C0000005"),
        "56789012359000".get(..0).map(|_| "56789012359000").unwrap()
    );
    assert_eq!(
        bench.apdu("0070000001"),
        "029000",
        "what fits leaves at once"
    );
}

#[test]
fn le_can_be_required_to_be_exact_and_nothing_is_done_twice() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().le_exact = true;
    assert_eq!(bench.apdu("0070000000"), "6C01");
    assert_eq!(bench.apdu("0070000001"), "029000");
    assert_eq!(bench.euicc.open_channels(), [1, 2]);
    assert_eq!(bench.apdu("81E2910003BF2E0000"), "6C15");
    let challenge = bench.apdu("81E2910003BF2E0015");
    assert!(challenge.starts_with("BF2E128010") && challenge.ends_with("9000"));
    // Any other command in between drops the answer.
    assert_eq!(bench.apdu(EID), "6C15");
    bench.apdu("81F2000C");
    assert_ne!(bench.apdu("81E2910003BF2E0015"), challenge);
    assert!(
        bench.apdu("81E2910006BF3E035C015A").starts_with("BF3E12"),
        "no Le is no wrong Le"
    );
}

#[test]
fn the_settings_a_card_is_made_with_are_those_of_a_plain_one() {
    let settings = Settings::default();
    assert_eq!((settings.response_piece, settings.first_channel), (256, 1));
    assert!(!settings.le_exact && !settings.terminal_capability_required);
}
