//! Quirks of sessions.

use super::*;

/// The same as [`OPEN`] over `AT+CSIM`, and how that is answered.
const RAW_OPEN: &str = "AT+CSIM=10,\"0070000001\"";
const RAW_OPENED: &str = "\r\n+CSIM: 6,\"019000\"\r\n\r\nOK\r\n";
const RAW_SELECT: &str = "AT+CSIM=42,\"01A4040010A0000005591010FFFFFFFF8900000100\"";
const RAW_SELECTED: &str = "\r\n+CSIM: 12,\"620282009000\"\r\n\r\nOK\r\n";
const CLOSED: &str = "\r\n+CSIM: 4,\"9000\"\r\n\r\nOK\r\n";
/// Something on session 1.
const ON_FIRST: &str = "AT+CGLA=1,8,\"80700000\"";
const ANSWERED: &str = "\r\n+CGLA: 4,\"9000\"\r\n\r\nOK\r\n";

#[test]
fn ccho_bare() {
    shows("ccho-bare", OPEN, "\r\n1\r\n\r\nOK\r\n");
}

#[test]
fn ccho_handle() {
    let unknown = "\r\n+CME ERROR: 50\r\n";
    dialogue(
        &mut quirky(&["ccho-handle"]),
        &[
            (OPEN, "\r\n+CCHO: 000000000385a7cf\r\n\r\nOK\r\n"),
            (OPEN, "\r\n+CCHO: 000000000385aaa7\r\n\r\nOK\r\n"),
            ("AT+CGLA=000000000385a7cf,8,\"80700000\"", ANSWERED),
            // Altered, or taken for a channel.
            ("AT+CGLA=385a7cf,8,\"80700000\"", unknown),
            (ON_FIRST, unknown),
            ("AT+CCHC=000000000385A7CF", unknown),
            ("AT+CCHC=000000000385a7cf", DONE),
        ],
    );
}

#[test]
fn session_numbers() {
    let mut modem = quirky(&["session-numbers=4"]);
    dialogue(
        &mut modem,
        &[
            (OPEN, "\r\n+CCHO: 4\r\n\r\nOK\r\n"),
            ("AT+CGLA=4,8,\"80700000\"", ANSWERED),
            (ON_FIRST, "\r\n+CME ERROR: 50\r\n"),
        ],
    );
    assert_eq!(
        modem.card().seen.last().unwrap(),
        "81700000",
        "on channel 1"
    );
}

#[test]
fn answer_with_session() {
    dialogue(
        &mut quirky(&["answer-with-session"]),
        &[
            (OPEN, OPENED),
            (ON_FIRST, "\r\n+CGLA: 1,4,\"9000\"\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn class_untouched() {
    let mut modem = quirky(&["class-untouched"]);
    dialogue(&mut modem, &[(OPEN, OPENED), (ON_FIRST, ANSWERED)]);
    assert_eq!(modem.card().seen.last().unwrap(), "80700000");
}

#[test]
fn first_channel() {
    for (quirk, channel, class) in [("first-channel", 2, "82"), ("first-channel=4", 4, "C0")] {
        let mut modem = quirky(&[quirk]);
        dialogue(
            &mut modem,
            &[
                (OPEN, &format!("\r\n+CCHO: {channel}\r\n\r\nOK\r\n")),
                (&format!("AT+CGLA={channel},8,\"80700000\""), ANSWERED),
            ],
        );
        assert_eq!(modem.card().seen.last().unwrap(), &format!("{class}700000"));
    }
}

#[test]
fn max_sessions() {
    dialogue(
        &mut quirky(&["max-sessions=1"]),
        &[
            (OPEN, OPENED),
            (OPEN, "\r\n+CME ERROR: 3\r\n"),
            ("AT+CCHC=1", DONE),
            (OPEN, OPENED),
        ],
    );
}

#[test]
fn channels_of_csim_count_as_sessions() {
    let full = "\r\n+CSIM: 4,\"6A81\"\r\n\r\nOK\r\n";
    dialogue(
        &mut quirky(&["max-sessions=1", "leaked-sessions=1"]),
        &[
            (RAW_OPEN, full),
            ("AT+CSIM=10,\"0070800100\"", CLOSED),
            (RAW_OPEN, RAW_OPENED),
            (OPEN, "\r\n+CME ERROR: 3\r\n"),
            (RAW_OPEN, full),
            ("AT+CSIM=10,\"0070800100\"", CLOSED),
            (OPEN, OPENED),
        ],
    );
}

#[test]
fn leaked_sessions() {
    dialogue(
        &mut quirky(&["leaked-sessions=1", "max-sessions=1"]),
        &[
            (OPEN, "\r\n+CME ERROR: 3\r\n"),
            ("AT+CCHC=1", DONE),
            (OPEN, OPENED),
            ("AT+CFUN=0", DONE),
            ("AT+CFUN=1", DONE),
            (OPEN, OPENED),
        ],
    );
}

#[test]
fn cchc_line() {
    dialogue(
        &mut quirky(&["cchc-line"]),
        &[(OPEN, OPENED), ("AT+CCHC=1", "\r\n+CCHC\r\n\r\nOK\r\n")],
    );
}

#[test]
fn cchc_missing() {
    let mut modem = quirky(&["cchc-missing"]);
    dialogue(
        &mut modem,
        &[
            (OPEN, OPENED),
            ("AT+CCHC=1", BARE_ERROR),
            (ON_FIRST, ANSWERED),
        ],
    );
}

#[test]
fn cchc_always_ok() {
    shows("cchc-always-ok", "AT+CCHC=3", DONE);
}

#[test]
fn isdr_refused() {
    dialogue(
        &mut quirky(&["isdr-refused"]),
        &[
            (OPEN, "\r\n+CME ERROR: Parameters error\r\n"),
            (RAW_OPEN, RAW_OPENED),
            (RAW_SELECT, "\r\n+CME ERROR: Parameters error\r\n"),
            (
                "AT+CSIM=10,\"0070800100\"",
                "\r\n+CSIM: 4,\"9000\"\r\n\r\nOK\r\n",
            ),
            ("AT+CCHO=\"A0000000871002\"", OPENED),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn isdr_window() {
    let mut modem = quirky(&["isdr-window=60s"]);
    dialogue(&mut modem, &[(OPEN, OPENED), ("AT+CCHC=1", DONE)]);
    tokio::time::advance(SECOND * 61).await;
    dialogue(
        &mut modem,
        &[
            (OPEN, BARE_ERROR),
            (RAW_OPEN, RAW_OPENED),
            (RAW_SELECT, BARE_ERROR),
            ("AT+CSIM=10,\"0070800100\"", CLOSED),
            ("AT+CFUN=0", DONE),
            ("AT+CFUN=1", DONE),
            (OPEN, OPENED),
            ("AT+CCHC=1", DONE),
            ("AT+GTDUALSIM=1", DONE),
            (OPEN, BARE_ERROR),
        ],
    );
    tokio::time::advance(SECOND * 601).await;
    dialogue(&mut modem, &[(OPEN, OPENED), ("AT+CCHC=1", DONE)]);
    tokio::time::advance(SECOND * 60).await;
    dialogue(&mut modem, &[(OPEN, BARE_ERROR)]);
}

#[test]
fn internal_lpa() {
    let off = "AT+QESIM=\"lpa_enable\",0";
    dialogue(
        &mut quirky(&["internal-lpa", "restart-stays"]),
        &[
            (OPEN, "\r\n+CME ERROR: 4\r\n"),
            (
                "AT+QESIM=\"lpa_enable\"",
                "\r\n+QESIM: \"lpa_enable\",1\r\n\r\nOK\r\n",
            ),
            (off, DONE),
            (OPEN, "\r\n+CME ERROR: 4\r\n"),
            (RAW_OPEN, RAW_OPENED),
            (RAW_SELECT, "\r\n+CME ERROR: 4\r\n"),
            ("AT+CFUN=1,1", "\r\nOK\r\n\r\nRDY\r\n\r\n+CPIN: READY\r\n"),
            ("ATE0", "ATE0\r\r\nOK\r\n"),
            (RAW_OPEN, RAW_OPENED),
            (RAW_SELECT, RAW_SELECTED),
            (OPEN, "\r\n+CCHO: 2\r\n\r\nOK\r\n"),
            (
                "AT+QESIM=\"lpa_enable\"",
                "\r\n+QESIM: \"lpa_enable\",0\r\n\r\nOK\r\n",
            ),
        ],
    );
    shows("preset:ideal", off, BARE_ERROR);
}
