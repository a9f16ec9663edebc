//! The modem with the emulated card in it.

use rsp_common::pki::{Pki, PkiOptions};

use super::*;
use crate::card;
use crate::euicc::tests::bench::Bench;
use crate::euicc::tests::files::{in_use, install, package};
use crate::euicc::tests::pins::locked;
use crate::euicc::{Identity as Personalisation, Settings as CardSettings};

const OTHER: &str = "8901000000000000027";

/// A modem with these quirks and a card with two profiles, of which the first is in use.
fn modem_with_card(quirks: &[&str]) -> Modem<card::Card> {
    modem_over(in_use(), quirks)
}

/// A modem over what is in use there, with another profile beside it.
fn modem_over(mut bench: Bench, quirks: &[&str]) -> Modem<card::Card> {
    let upp = package("8901000000000000027F", "080910101099999999", &[]);
    install(&mut bench, "8901000000000000027F", upp);
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    let identity = Personalisation::from_pki(&pki).unwrap();
    let card = card::Card::new(identity, CardSettings::default());
    card.restore(bench.euicc.memory().clone());
    let mut modem = Modem::new(card, Identity::default());
    modem.control().set_quirks(|active| {
        quirks.iter().for_each(|quirk| active.add(quirk).unwrap());
    });
    modem.settings.echo = false;
    modem.settings.cmee = 1;
    modem
}

fn iccid_line(iccid: &str) -> String {
    format!("\r\n+CCID: {iccid}\r\n\r\nOK\r\n")
}

/// EnableProfile of the other profile with the REFRESH flag, on session 1, and its answer.
const ENABLE: &str = "AT+CGLA=1,50,\"80E2910014BF3111A00C5A0A981000000000000020F78101FF\"";
const ENABLED: &str = "\r\n+CGLA: 16,\"BF3103800100910B\"\r\n\r\nOK\r\n";

#[test]
fn a_switch_over_a_session_ends_with_the_modem_in_the_other_profile() {
    // With "eUICC Profile State Change" the card keeps its power, with "UICC Reset" it does not.
    for (quirk, resets) in [("preset:ideal", 0), ("no-profile-state-change", 1)] {
        let mut modem = modem_with_card(&[quirk]);
        let switched = format!("{ENABLED}\r\n+QUSIM: 1\r\n");
        dialogue(
            &mut modem,
            &[
                ("AT+CCID", &iccid_line(ICCID)),
                ("AT+CIMI", "\r\n001010123456063\r\n\r\nOK\r\n"),
                (OPEN, OPENED),
                (ENABLE, &switched),
                // The session is gone with the channel.
                (ENABLE, "\r\n+CME ERROR: 50\r\n"),
                ("AT+CCID", &iccid_line(OTHER)),
                ("AT+CIMI", "\r\n001010199999999\r\n\r\nOK\r\n"),
                ("AT+CREG?", "\r\n+CREG: 0,1\r\n\r\nOK\r\n"),
                (
                    "AT+CRSM=176,28423,0,0,9",
                    "\r\n+CRSM: 144,0,\"080910101099999999\"\r\n\r\nOK\r\n",
                ),
                (OPEN, OPENED),
            ],
        );
        let card = modem.card();
        assert_eq!(card.counters().borrow().resets, resets);
        assert_eq!(card.open_channels(), [1]);
    }
}

#[test]
fn a_card_whose_refresh_is_stuck_is_busy_until_the_radio_was_off() {
    let mut modem = modem_with_card(&["ignores-refresh"]);
    dialogue(
        &mut modem,
        &[
            (OPEN, OPENED),
            (ENABLE, ENABLED),
            // catBusy, and the REFRESH is still announced.
            (ENABLE, "\r\n+CGLA: 16,\"BF3103800105910B\"\r\n\r\nOK\r\n"),
            ("AT+CCID", &iccid_line(ICCID)),
            ("AT+CFUN=0", DONE),
            ("AT+CFUN=1", DONE),
            ("AT+CCID", &iccid_line(OTHER)),
        ],
    );
}

#[test]
fn a_card_that_is_told_of_no_lpa_wants_to_be_told_by_the_client() {
    let mut modem = modem_with_card(&["bare-terminal-capability"]);
    let line = |digits: &str| format!("\r\n+CSIM: {},\"{digits}\"\r\n\r\nOK\r\n", digits.len());
    let told = "AT+CSIM=30,\"80AA00000AA9088100820101830107\"";
    dialogue(
        &mut modem,
        &[
            (OPEN, "\r\n+CME ERROR: 22\r\n"),
            ("AT+CSIM=10,\"0070000001\"", &line("019000")),
            (
                "AT+CSIM=42,\"01A4040010A0000005591010FFFFFFFF8900000100\"",
                &line("6985"),
            ),
            ("AT+CSIM=10,\"0070800100\"", &line("9000")),
            (told, &line("9000")),
            (OPEN, OPENED),
        ],
    );
}

#[test]
fn what_the_modem_does_by_itself_is_not_counted_and_meets_no_power_cut() {
    let mut modem = modem_with_card(&[]);
    modem.card().cut_power(2, card::PowerCut::AfterExecution);
    dialogue(
        &mut modem,
        &[
            ("AT+CCID;+CFUN=0;+CFUN=1", &iccid_line(ICCID)),
            (
                "AT+CSIM=10,\"0070000001\"",
                "\r\n+CSIM: 6,\"019000\"\r\n\r\nOK\r\n",
            ),
        ],
    );
    let counters = modem.card().counters().borrow().clone();
    assert_eq!((counters.apdus, counters.power_cuts), (1, 0));
    assert_eq!(modem.control().counters().borrow().apdus, 1);
    dialogue(
        &mut modem,
        &[
            ("AT+CSIM=10,\"0070000001\"", "\r\n+CME ERROR: 13\r\n"),
            ("AT+CCID", "\r\n+CME ERROR: 10\r\n"),
        ],
    );
    // Power that comes back is a card that was put back.
    modem.card().reset();
    dialogue(&mut modem, &[("AT+CCID", &iccid_line(ICCID))]);
}

#[test]
fn a_profile_behind_a_pin_is_registered_once_the_pin_was_entered() {
    let mut modem = modem_over(locked(), &[]);
    dialogue(
        &mut modem,
        &[
            ("AT+CPIN?", "\r\n+CPIN: SIM PIN\r\n\r\nOK\r\n"),
            ("AT+CCID", &iccid_line(ICCID)),
            ("AT+CIMI", "\r\n+CME ERROR: 11\r\n"),
            ("AT+CREG?", "\r\n+CREG: 0,0\r\n\r\nOK\r\n"),
            ("AT+CPIN=\"12\"", "\r\n+CME ERROR: 50\r\n"),
            ("AT+CPIN=\"0000\"", "\r\n+CME ERROR: 16\r\n"),
            ("AT+CPIN=\"1234\"", "\r\n+CPIN: READY\r\n\r\nOK\r\n"),
            ("AT+CPIN=\"1234\"", "\r\n+CME ERROR: 3\r\n"),
            ("AT+CIMI", "\r\n001010123456063\r\n\r\nOK\r\n"),
            ("AT+CREG?", "\r\n+CREG: 0,1\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn a_pin_that_was_wrong_too_often_is_asked_for_no_longer() {
    let mut modem = modem_over(locked(), &[]);
    dialogue(
        &mut modem,
        &[
            ("AT+CPIN=\"0000\"", "\r\n+CME ERROR: 16\r\n"),
            ("AT+CPIN=\"0000\"", "\r\n+CME ERROR: 16\r\n"),
            ("AT+CPIN=\"0000\"", "\r\n+CME ERROR: 12\r\n"),
            ("AT+CPIN?", "\r\n+CPIN: SIM PUK\r\n\r\nOK\r\n"),
            ("AT+CPIN=\"1234\"", "\r\n+CME ERROR: 12\r\n"),
            ("AT+CIMI", "\r\n+CME ERROR: 12\r\n"),
        ],
    );
}

#[test]
fn a_card_goes_back_to_another_profile_at_a_reset() {
    let mut modem = modem_with_card(&[]);
    let card = modem.card().clone();
    dialogue(&mut modem, &[("AT+CCID", &iccid_line(ICCID))]);
    card.configure(|settings| settings.profile_at_reset = Some(OTHER.parse().unwrap()));
    dialogue(&mut modem, &[("AT+CCID", &iccid_line(ICCID))]);
    card.reset();
    dialogue(&mut modem, &[("AT+CCID", &iccid_line(OTHER))]);
}

#[test]
fn a_card_keeps_what_is_written_into_its_list_of_forbidden_networks() {
    let mut modem = modem_with_card(&[]);
    let read = "AT+CRSM=176,28539,0,0,12";
    let file = |content: &str| format!("\r\n+CRSM: 144,0,\"{content}\"\r\n\r\nOK\r\n");
    let status = |sw: &str| format!("\r\n+CRSM: {sw}\r\n\r\nOK\r\n");
    let written = file("FFFFFF00F110FFFFFFFFFFFF");
    dialogue(
        &mut modem,
        &[
            (read, &file("FFFFFFFFFFFFFFFFFFFFFFFF")),
            ("AT+CRSM=214,28539,0,3,3,\"00F110\"", &status("144,0")),
            (read, &written),
            // No other file can be written, and no more than there is.
            ("AT+CRSM=214,28423,0,0,1,\"FF\"", &status("105,130")),
            ("AT+CRSM=214,28539,0,12,1,\"FF\"", &status("103,0")),
            ("AT+CFUN=0;+CFUN=1", DONE),
            (read, &written),
        ],
    );
}

#[test]
fn a_network_that_refuses_the_profile_for_good_is_forbidden_to_it_until_the_file_is_cleared() {
    let mut modem = modem_with_card(&[]);
    let control = modem.control();
    let read = "AT+CRSM=176,28539,0,0,12";
    let file = |content: &str| format!("\r\n+CRSM: 144,0,\"{content}\"\r\n\r\nOK\r\n");
    let forbidden = file("00F110FFFFFFFFFFFFFFFFFF");
    let empty = file("FFFFFFFFFFFFFFFFFFFFFFFF");
    let clear = "AT+CRSM=214,28539,0,0,12,\"FFFFFFFFFFFFFFFFFFFFFFFF\"";
    let stat = |stat: u8| format!("\r\n+CEREG: 0,{stat}\r\n\r\nOK\r\n");
    let again = "AT+CFUN=4;+CFUN=1";
    dialogue(&mut modem, &[(read, &empty), ("AT+CEREG?", &stat(1))]);
    control.set_network(None, "rejects=11".parse().unwrap());
    dialogue(&mut modem, &[("AT+CEREG?", &stat(3)), (read, &forbidden)]);
    // The network would let it in now, but is not asked, whatever is restarted.
    control.set_network(None, Network::default());
    for line in ["AT", again, "AT+CFUN=0;+CFUN=1"] {
        dialogue(&mut modem, &[(line, DONE), ("AT+CEREG?", &stat(2))]);
    }
    // Other profiles have files of their own.
    dialogue(&mut modem, &[(OPEN, OPENED)]);
    talk(&mut modem, &format!("{ENABLE}\r"));
    dialogue(&mut modem, &[(read, &empty), ("AT+CEREG?", &stat(1))]);
    dialogue(&mut modem, &[(OPEN, OPENED)]);
    talk(&mut modem, &format!("{}\r", ENABLE.replace("20F7", "10F9")));
    dialogue(&mut modem, &[(read, &forbidden), ("AT+CEREG?", &stat(2))]);
    dialogue(
        &mut modem,
        &[
            (clear, "\r\n+CRSM: 144,0\r\n\r\nOK\r\n"),
            (again, DONE),
            ("AT+CEREG?", &stat(1)),
            (read, &empty),
        ],
    );
}
