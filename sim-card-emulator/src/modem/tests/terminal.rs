//! The modem as the card's terminal.

use super::*;

/// What a modem sends to a card with an enabled profile that has just got its power.
const START: [&str; 12] = [
    "80AA00000AA9088100820101830107",
    "00A40004023F00",
    "00A40004022FE2",
    "00B000000A",
    "00A40004022F00",
    "00B2010400",
    "00A4040407A0000000871002",
    "00A40004026F07",
    "00B0000009",
    "00A4040407A0000000871002",
    "00A40004026F7B",
    "801000002201008000",
];

fn must_be_start(own: &[String]) {
    assert_eq!(own.len(), START.len(), "{own:?}");
    for (apdu, start) in own.iter().zip(START) {
        assert!(apdu.starts_with(start), "{apdu} {start}");
    }
}

#[test]
fn a_modem_reads_the_card_when_both_get_their_power() {
    let mut modem = quirky(&[]);
    talk(&mut modem, "AT\r");
    must_be_start(&modem.card().own);
    modem.card().own.clear();
    // With the radio alone nothing is read again.
    talk(&mut modem, "AT+CFUN=4\rAT+CFUN=1\r");
    assert!(modem.card().own.is_empty());
    talk(&mut modem, "AT+CFUN=0\rAT+CFUN=1\r");
    must_be_start(&modem.card().own);
    assert_eq!(modem.card().resets, 1);
}

#[test]
fn a_refresh_makes_the_modem_use_the_new_profile() {
    let other = "8901000000000000027";
    // UICC Reset takes the card's power; of the others the card is told that they were done.
    for (mode, resets, answered) in [(0x04, 1, false), (0x09, 0, true), (0x03, 0, true)] {
        let mut modem = quirky(&[]);
        modem.card().next_iccid = Some(other.to_owned());
        talk(&mut modem, "AT\r");
        modem.card().own.clear();
        let input = format!("AT+CSIM=8,\"8002{mode:02X}00\"\r");
        assert_eq!(
            talk(&mut modem, &input),
            "\r\n+CSIM: 4,\"910B\"\r\n\r\nOK\r\n\r\n+QUSIM: 1\r\n"
        );
        assert_eq!(modem.card().resets, resets, "{mode}");
        let own = std::mem::take(&mut modem.card().own);
        assert_eq!(own[0], "801200000B");
        let response = format!("801400000C81030101{mode:02X}82028281830100");
        assert_eq!(own[1] == response, answered, "{own:?}");
        must_be_start(&own[1 + usize::from(answered)..]);
        let iccid = format!("\r\n+CCID: {other}\r\n\r\nOK\r\n");
        dialogue(&mut modem, &[("AT+CCID", &iccid)]);
    }
}

#[test]
fn a_modem_that_ignores_the_refresh_keeps_the_old_profile() {
    let mut modem = quirky(&["ignores-refresh"]);
    modem.card().next_iccid = Some("8901000000000000027".to_owned());
    dialogue(
        &mut modem,
        &[
            (
                "AT+CSIM=8,\"80020400\"",
                "\r\n+CSIM: 4,\"910B\"\r\n\r\nOK\r\n",
            ),
            ("AT+CCID", "\r\n+CCID: 8901000000000000019\r\n\r\nOK\r\n"),
        ],
    );
    assert_eq!(modem.card().resets, 0);
    dialogue(
        &mut modem,
        &[
            ("AT+CFUN=0", "\r\nOK\r\n"),
            ("AT+CFUN=1", "\r\nOK\r\n"),
            ("AT+CCID", "\r\n+CCID: 8901000000000000027\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn a_modem_may_fetch_the_rest_of_a_response_by_itself() {
    let input = "AT+CSIM=8,\"80010000\"";
    dialogue(
        &mut quirky(&[]),
        &[(input, "\r\n+CSIM: 6,\"AA6101\"\r\n\r\nOK\r\n")],
    );
    dialogue(
        &mut quirky(&["get-response"]),
        &[(input, "\r\n+CSIM: 8,\"AABB9000\"\r\n\r\nOK\r\n")],
    );
}

#[test]
fn a_card_that_stops_answering_is_no_card() {
    let mut modem = quirky(&[]);
    dialogue(
        &mut modem,
        &[
            ("AT+CREG=1", "\r\nOK\r\n"),
            (
                "AT+CSIM=8,\"80030000\"",
                "\r\n+CREG: 0\r\n\r\n+CME ERROR: 13\r\n",
            ),
            ("AT+CPIN?", "\r\n+CME ERROR: 10\r\n"),
            ("AT+CFUN=0", "\r\nOK\r\n"),
            ("AT+CFUN=1", "\r\n+CREG: 1\r\n\r\nOK\r\n"),
            ("AT+CPIN?", "\r\n+CPIN: READY\r\n\r\nOK\r\n"),
        ],
    );
}
