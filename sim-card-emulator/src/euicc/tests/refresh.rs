//! REFRESH as the terminal sees it.

use super::bench::{Bench, ICCID};
use super::files::{enable, in_use, install, package};

const RESET: &str = "D0098103010104820281829000";
const CHANGE: &str = "D0098103010109820281829000";
const DONE: &str = "801400000C810301010482028281830100";

fn two_profiles() -> Bench {
    let mut bench = in_use();
    install(
        &mut bench,
        SECOND,
        package(SECOND, "080910101099999999", &[]),
    );
    bench
}

/// TERMINAL PROFILE of 34 octets with or without "eUICC Profile State Change".
fn terminal_profile(change: bool) -> String {
    let last = if change { "20" } else { "00" };
    format!("8010000022{}{last}", "FF".repeat(33))
}

fn number(bench: &mut Bench) -> String {
    bench.apdu("00A4000C022FE2");
    bench.apdu("00B000000A")
}

#[test]
fn a_terminal_that_does_not_know_the_change_of_profile_is_told_to_reset_the_card() {
    let mut bench = two_profiles();
    assert_eq!(bench.apdu(&terminal_profile(false)), "9000");
    assert_eq!(enable(&mut bench, SECOND, true), "BF3103800100910B");
    // It is announced until it is fetched.
    assert_eq!(bench.apdu("80F2000C"), "910B");
    assert_eq!(bench.apdu("801200000B"), RESET);
    assert_eq!(bench.apdu("80F2000C"), "9000");
    assert_eq!(number(&mut bench), "981000000000000010F99000");
    bench.euicc.reset();
    assert_eq!(number(&mut bench), "981000000000000020F79000");
}

#[test]
fn a_terminal_that_knows_the_change_of_profile_answers_it_and_starts_anew() {
    let mut bench = two_profiles();
    assert_eq!(bench.apdu(&terminal_profile(true)), "9000");
    enable(&mut bench, SECOND, true);
    assert_eq!(bench.apdu("801200000C"), "6C0B");
    assert_eq!(bench.apdu("8012000000"), CHANGE);
    assert_eq!(number(&mut bench), "981000000000000010F99000");
    assert_eq!(bench.apdu(DONE), "9000");
    assert!(bench.euicc.open_channels().is_empty());
    assert_eq!(number(&mut bench), "981000000000000020F79000");
    // What the terminal said before is forgotten with everything else.
    bench.select();
    enable(&mut bench, ICCID, true);
    assert_eq!(bench.apdu("801200000B"), RESET);
}

#[test]
fn a_refresh_that_failed_leaves_the_card_busy_until_the_reset() {
    let mut bench = two_profiles();
    bench.apdu(&terminal_profile(true));
    enable(&mut bench, SECOND, true);
    bench.apdu("801200000B");
    assert_eq!(enable(&mut bench, SECOND, true), "BF31038001059000");
    assert_eq!(bench.apdu("801400000C810301010982028281830120"), "9000");
    assert_eq!(number(&mut bench), "981000000000000010F99000");
    assert_eq!(bench.apdu("801200000B"), "6985");
    assert_eq!(enable(&mut bench, SECOND, true), "BF31038001059000");
    bench.euicc.reset();
    assert_eq!(number(&mut bench), "981000000000000020F79000");
}

#[test]
fn a_memory_reset_always_asks_for_a_reset() {
    let mut bench = in_use();
    bench.apdu(&terminal_profile(true));
    assert_eq!(bench.apdu("81E2910007BF3404820206C000"), "BF3403800100910B");
    assert_eq!(bench.apdu("801200000B"), RESET);
    bench.euicc.reset();
    assert_eq!(bench.apdu("00A4000C022FE2"), "6A82");
}

#[test]
fn toolkit_commands_belong_on_the_basic_channel_and_must_make_sense() {
    let mut bench = two_profiles();
    assert_eq!(bench.apdu(DONE), "6985");
    assert_eq!(bench.apdu("80100000"), "6700");
    assert_eq!(bench.apdu("8010010001FF"), "6A86");
    enable(&mut bench, SECOND, true);
    assert_eq!(bench.apdu("811200000B"), "6881");
    assert_eq!(bench.apdu("001200000B"), "6E00");
    bench.apdu("801200000B");
    assert_eq!(bench.apdu("8014000005810301"), "6700");
    assert_eq!(
        bench.apdu("80140000058103010104"),
        "6A80",
        "there is no result in it"
    );
    assert_eq!(bench.apdu(DONE), "9000");
}

const SECOND: &str = "8901000000000000027F";
