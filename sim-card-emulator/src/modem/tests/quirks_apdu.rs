//! Quirks of what becomes of an APDU.

use super::*;

#[test]
fn apdu_time() {
    let mut modem = quirky(&["apdu-time=70ms"]);
    assert_eq!(
        timed(&mut modem, STORE),
        (STORED.to_owned(), SECOND * 7 / 100)
    );
}

#[test]
fn apdu_jitter() {
    let times = |seed| {
        let mut modem = quirky(&["apdu-time=10ms", "apdu-jitter=90ms"]);
        modem.control().seed(seed);
        [(); 9].map(|()| timed(&mut modem, STORE).1)
    };
    assert_eq!(times(1), times(1));
    assert_ne!(times(1), times(2));
    let within = SECOND / 100..=SECOND / 10;
    assert!(times(3).iter().all(|time| within.contains(time)));
}

#[test]
fn last_block_time() {
    let mut modem = quirky(&["last-block-time=45s"]);
    let others_follow = timed(&mut modem, "AT+CSIM=14,\"80E2110002BF2E\"").1;
    assert_eq!(others_follow, Duration::ZERO);
    assert_eq!(timed(&mut modem, STORE).1, SECOND * 45);
    assert_eq!(timed(&mut modem, STORE).1, SECOND * 45);
}

#[test]
fn open_time() {
    let mut modem = quirky(&["open-time=2s"]);
    assert_eq!(timed(&mut modem, OPEN), (OPENED.to_owned(), SECOND * 2));
    assert_eq!(timed(&mut modem, "AT+CCHC=1").1, Duration::ZERO);
}

#[test]
fn get_response() {
    let both = "\r\n+CSIM: 8,\"AABB9000\"\r\n\r\nOK\r\n";
    shows("get-response", "AT+CSIM=8,\"80010000\"", both);
}

#[test]
fn cgla_get_response() {
    dialogue(
        &mut quirky(&["cgla-get-response"]),
        &[
            (
                "AT+CSIM=8,\"80010000\"",
                "\r\n+CSIM: 6,\"AA6101\"\r\n\r\nOK\r\n",
            ),
            (OPEN, OPENED),
            (
                "AT+CGLA=1,8,\"80010000\"",
                "\r\n+CGLA: 8,\"AABB9000\"\r\n\r\nOK\r\n",
            ),
        ],
    );
}

#[test]
fn raw_61xx() {
    let line = |digits: &str| format!("\r\n+CSIM: {},\"{digits}\"\r\n\r\nOK\r\n", digits.len());
    let mut modem = quirky(&["raw-61xx"]);
    dialogue(
        &mut modem,
        &[
            (STORE, &line("6103")),
            ("AT+CSIM=10,\"80C0000002\"", &line("02BF6101")),
            ("AT+CSIM=10,\"80C0000001\"", &line("2E9000")),
            // What was not fetched is gone with the next command.
            (STORE, &line("6103")),
            ("AT+CSIM=8,\"80700000\"", &line("9000")),
            ("AT+CSIM=10,\"80C0000003\"", &line("9000")),
        ],
    );
    assert_eq!(
        modem.card().seen,
        ["80E2910002BF2E", "80E2910002BF2E", "80700000", "80C0000003"]
    );
}

#[test]
fn get_response_class() {
    let line = |digits: &str| format!("\r\n+CGLA: {},\"{digits}\"\r\n\r\nOK\r\n", digits.len());
    dialogue(
        &mut quirky(&["raw-61xx", "get-response-class"]),
        &[
            (OPEN, OPENED),
            ("AT+CGLA=1,14,\"80E2910002BF2E\"", &line("6103")),
            ("AT+CGLA=1,10,\"80C0000003\"", &line("9000")),
            ("AT+CGLA=1,10,\"01C0000003\"", &line("02BF2E9000")),
        ],
    );
}

#[test]
fn csim_no_select() {
    let select = "AT+CSIM=42,\"01A4040010A0000005591010FFFFFFFF8900000100\"";
    dialogue(
        &mut quirky(&["csim-no-select"]),
        &[
            (
                "AT+CSIM=10,\"0070000001\"",
                "\r\n+CSIM: 6,\"019000\"\r\n\r\nOK\r\n",
            ),
            (select, "\r\n+CSIM: 4,\"6A82\"\r\n\r\nOK\r\n"),
            (OPEN, "\r\n+CCHO: 2\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn loop_6100() {
    let again = (
        "AT+CSIM=10,\"80C0000000\"",
        "\r\n+CSIM: 4,\"6100\"\r\n\r\nOK\r\n",
    );
    dialogue(
        &mut quirky(&["loop-6100"]),
        &[
            (STORE, "\r\n+CSIM: 4,\"6103\"\r\n\r\nOK\r\n"),
            again,
            again,
            again,
        ],
    );
}

#[test]
fn le_required() {
    dialogue(
        &mut quirky(&["le-required"]),
        &[
            (STORE, "\r\n+CSIM: 4,\"9000\"\r\n\r\nOK\r\n"),
            (
                "AT+CSIM=16,\"80E2910002BF2E00\"",
                "\r\n+CSIM: 12,\"02BF2E009000\"\r\n\r\nOK\r\n",
            ),
        ],
    );
}

#[test]
fn le_forbidden() {
    let mut modem = quirky(&["le-forbidden"]);
    dialogue(
        &mut modem,
        &[
            (
                "AT+CSIM=16,\"80E2910002BF2E00\"",
                "\r\n+CSIM: 4,\"6700\"\r\n\r\nOK\r\n",
            ),
            (STORE, STORED),
        ],
    );
    assert_eq!(modem.card().seen, ["80E2910002BF2E"]);
}

#[test]
fn wrong_le() {
    let mut modem = quirky(&["wrong-le"]);
    dialogue(
        &mut modem,
        &[
            (
                "AT+CSIM=10,\"0070000000\"",
                "\r\n+CSIM: 4,\"6C01\"\r\n\r\nOK\r\n",
            ),
            (
                "AT+CSIM=10,\"0070000001\"",
                "\r\n+CSIM: 6,\"019000\"\r\n\r\nOK\r\n",
            ),
        ],
    );
    assert_eq!(
        modem.card().channels,
        [1],
        "the card has opened one channel"
    );
}

#[test]
fn last_block_error() {
    let mut modem = quirky(&["last-block-error=8"]);
    dialogue(
        &mut modem,
        &[
            ("AT+CSIM=14,\"80E2910702BF2E\"", STORED),
            ("AT+CSIM=14,\"80E2910802BF2E\"", BARE_ERROR),
        ],
    );
    assert_eq!(modem.card().seen.len(), 2, "the card has executed both");
}

#[test]
fn cgla_last_block_error() {
    dialogue(
        &mut quirky(&["cgla-last-block-error=8"]),
        &[
            ("AT+CSIM=14,\"80E2910802BF2E\"", STORED),
            (OPEN, OPENED),
            ("AT+CGLA=1,14,\"80E2910802BF2E\"", BARE_ERROR),
        ],
    );
}

#[test]
fn last_block_lost() {
    let mut modem = quirky(&["last-block-lost=8"]);
    dialogue(
        &mut modem,
        &[
            ("AT+CSIM=14,\"80E2910702BF2E\"", STORED),
            ("AT+CSIM=14,\"80E2910802BF2E\"", BARE_ERROR),
        ],
    );
    assert_eq!(modem.card().seen.len(), 1, "the card has seen one");
}

#[test]
fn phone_failure_once() {
    let select = "AT+CSIM=42,\"01A4040010A0000005591010FFFFFFFF8900000100\"";
    dialogue(
        &mut quirky(&["phone-failure-once"]),
        &[
            (
                "AT+CSIM=10,\"0070000001\"",
                "\r\n+CSIM: 6,\"019000\"\r\n\r\nOK\r\n",
            ),
            (select, "\r\n+CME ERROR: 0\r\n"),
            (select, "\r\n+CSIM: 12,\"620282009000\"\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn csim_limit() {
    dialogue(
        &mut quirky(&["csim-limit=6"]),
        &[
            (STORE, ""),
            (
                "AT+CSIM=8,\"80700000\"",
                "\r\n+CSIM: 4,\"9000\"\r\n\r\nOK\r\n",
            ),
        ],
    );
}

#[test]
fn wavecom_filter() {
    let refused = "\r\n+CME ERROR: 3\r\n";
    dialogue(
        &mut quirky(&["wavecom-filter"]),
        &[
            (STORE, STORED),
            ("AT+CSIM=10,\"80C0000001\"", refused),
            ("AT+CSIM=10,\"0070000001\"", refused),
            // Shorter than five octets, and with a length that does not fit.
            ("AT+CSIM=8,\"80F20000\"", refused),
            ("AT+CSIM=16,\"80E2910002BF2E00\"", refused),
        ],
    );
}

#[test]
fn cinterion_filter() {
    let mut modem = quirky(&["cinterion-filter"]);
    dialogue(
        &mut modem,
        &[
            (STORE, "\r\n+CME ERROR: 3\r\n"),
            (
                "AT+CSIM=14,\"00A40004022FE2\"",
                "\r\n+CSIM: 12,\"620282009000\"\r\n\r\nOK\r\n",
            ),
            // The MF is selected again by now, and has no content.
            (
                "AT+CSIM=10,\"00B000000A\"",
                "\r\n+CSIM: 4,\"6986\"\r\n\r\nOK\r\n",
            ),
        ],
    );
    assert_eq!(modem.card().own.last().unwrap(), "00A40004023F00");
}

#[test]
fn csim_basic_only() {
    dialogue(
        &mut quirky(&["csim-basic-only"]),
        &[
            ("AT+CSIM=10,\"0070000001\"", "\r\n+CME ERROR: 3\r\n"),
            ("AT+CSIM=8,\"81710000\"", "\r\n+CME ERROR: 3\r\n"),
            (STORE, STORED),
        ],
    );
}

#[test]
fn csim_channels_dead() {
    dialogue(
        &mut quirky(&["csim-channels-dead"]),
        &[
            (
                "AT+CSIM=10,\"0070000001\"",
                "\r\n+CSIM: 6,\"019000\"\r\n\r\nOK\r\n",
            ),
            ("AT+CSIM=10,\"81F2000000\"", BARE_ERROR),
            (OPEN, "\r\n+CCHO: 2\r\n\r\nOK\r\n"),
            (
                "AT+CGLA=2,8,\"80700000\"",
                "\r\n+CGLA: 4,\"9000\"\r\n\r\nOK\r\n",
            ),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn telit_lock() {
    let mut modem = quirky(&["telit-lock"]);
    dialogue(
        &mut modem,
        &[
            ("AT+CSIM=1", "\r\n#QSS: 0\r\n\r\nOK\r\n"),
            ("AT+CPIN?", "\r\n+CME ERROR: 10\r\n"),
            (OPEN, "\r\n+CME ERROR: 10\r\n"),
            (STORE, STORED),
            ("AT+CSIM=0", DONE),
        ],
    );
    tokio::time::advance(SECOND * 2).await;
    assert_eq!(talk(&mut modem, ""), "\r\n#QSS: 1\r\n");
    dialogue(
        &mut modem,
        &[("AT+CPIN?", "\r\n+CPIN: READY\r\n\r\nOK\r\n")],
    );
}

#[test]
fn reboots_after() {
    let mut modem = quirky(&["reboots-after=2"]);
    dialogue(
        &mut modem,
        &[
            (OPEN, OPENED),
            (
                "AT+CGLA=1,8,\"80700000\"",
                "\r\n+CGLA: 4,\"9000\"\r\n\r\nOK\r\n",
            ),
            (
                "AT+CGLA=1,8,\"80700000\"",
                "\r\n^boot.rom: 0x00000000\r\n\r\nRDY\r\n\r\n+CPIN: READY\r\n",
            ),
            ("ATE0;+CMEE=1", "ATE0;+CMEE=1\r\r\nOK\r\n"),
            ("AT+CGLA=1,8,\"80700000\"", "\r\n+CME ERROR: 50\r\n"),
            (STORE, STORED),
            (STORE, STORED),
        ],
    );
    assert_eq!(modem.card().resets, 1);
}
