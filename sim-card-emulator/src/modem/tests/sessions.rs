//! `AT+CCHO`, `AT+CGLA` and `AT+CCHC`.

use super::*;

#[test]
fn a_session_reaches_the_application_over_a_channel_of_its_own() {
    let mut modem = quirky(&[]);
    dialogue(
        &mut modem,
        &[
            (
                "AT+CCHO=\"A0000005591010FFFFFFFF8900000100\"",
                "\r\n+CCHO: 1\r\n\r\nOK\r\n",
            ),
            (
                "AT+CCHO=\"A0000005591010FFFFFFFF8900000100\"",
                "\r\n+CCHO: 2\r\n\r\nOK\r\n",
            ),
            (
                "AT+CGLA=2,14,\"80E2910002BF2E\"",
                "\r\n+CGLA: 10,\"02BF2E9000\"\r\n\r\nOK\r\n",
            ),
            ("AT+CCHC=2", "\r\nOK\r\n"),
            ("AT+CGLA=2,14,\"80E2910002BF2E\"", "\r\n+CME ERROR: 50\r\n"),
            ("AT+CCHC=2", "\r\n+CME ERROR: 50\r\n"),
            ("AT+CCHC=1", "\r\nOK\r\n"),
        ],
    );
    assert_eq!(
        modem.card().seen,
        [
            "0070000001",
            "01A4040010A0000005591010FFFFFFFF8900000100",
            "0070000001",
            "02A4040010A0000005591010FFFFFFFF8900000100",
            // The class byte names the channel, whatever the client wrote.
            "82E2910002BF2E",
            "00708002",
            "00708001",
        ]
    );
}

#[test]
fn an_application_the_card_does_not_have_takes_no_channel() {
    let mut modem = quirky(&[]);
    dialogue(
        &mut modem,
        &[
            ("AT+CCHO=\"A000000000\"", "\r\n+CME ERROR: 22\r\n"),
            ("AT+CCHO=A000000000", "\r\n+CME ERROR: 50\r\n"),
            ("AT+CCHO=\"\"", "\r\n+CME ERROR: 50\r\n"),
            ("AT+CCHO", "\r\nERROR\r\n"),
        ],
    );
    assert!(modem.card().channels.is_empty());
}

#[test]
fn sessions_die_with_the_card() {
    let open = "AT+CCHO=\"A0000005591010FFFFFFFF8900000100\"";
    let opened = "\r\n+CCHO: 1\r\n\r\nOK\r\n";
    let dead = ("AT+CGLA=1,8,\"80700000\"", "\r\n+CME ERROR: 50\r\n");
    let mut modem = quirky(&[]);
    let card_off = ("AT+CGLA=1,8,\"80700000\"", "\r\n+CME ERROR: 10\r\n");
    dialogue(
        &mut modem,
        &[
            (open, opened),
            ("AT+CFUN=0", "\r\nOK\r\n"),
            card_off,
            ("AT+CFUN=1", "\r\nOK\r\n"),
            dead,
            (open, opened),
            // A REFRESH.
            (
                "AT+CGLA=1,8,\"80020400\"",
                "\r\n+CGLA: 4,\"910B\"\r\n\r\nOK\r\n\r\n+QUSIM: 1\r\n",
            ),
            dead,
        ],
    );
}

#[test]
fn a_response_in_pieces_is_passed_on_in_pieces() {
    let mut modem = quirky(&[]);
    dialogue(
        &mut modem,
        &[
            (
                "AT+CCHO=\"A0000005591010FFFFFFFF8900000100\"",
                "\r\n+CCHO: 1\r\n\r\nOK\r\n",
            ),
            (
                "AT+CGLA=1,8,\"80010000\"",
                "\r\n+CGLA: 6,\"AA6101\"\r\n\r\nOK\r\n",
            ),
            (
                "AT+CGLA=1,10,\"80C0000001\"",
                "\r\n+CGLA: 6,\"BB9000\"\r\n\r\nOK\r\n",
            ),
        ],
    );
}

#[test]
fn faults_meet_apdus_on_sessions_too() {
    let mut modem = quirky(&[]);
    let open = "AT+CCHO=\"A0000005591010FFFFFFFF8900000100\"";
    dialogue(&mut modem, &[(open, "\r\n+CCHO: 1\r\n\r\nOK\r\n")]);
    let control = modem.control();
    let pattern = Pattern {
        ins: Some(0x70),
        ..Pattern::ANY
    };
    let executed = false;
    let effect = Effect::Error {
        cme: Some(14),
        executed,
    };
    control.inject(Fault::next(pattern, effect.clone()));
    dialogue(&mut modem, &[(open, "\r\n+CME ERROR: 14\r\n")]);
    control.inject(Fault::next(Pattern::ANY, Effect::Truncate));
    dialogue(
        &mut modem,
        &[(
            "AT+CGLA=1,8,\"80700000\"",
            "\r\n+CGLA: 4,\"90\"\r\n\r\nOK\r\n",
        )],
    );
    control.inject(Fault::next(Pattern::ANY, Effect::Silence { executed }));
    dialogue(
        &mut modem,
        &[("AT+CCHC=1", ""), ("AT+CCHC=1", "\r\nOK\r\n")],
    );
}
