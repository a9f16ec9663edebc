//! Quirks of a card that starts, is empty, or wants a REFRESH.

use super::*;

/// An APDU after which the card wants a REFRESH, and its answer.
const SWITCH: &str = "AT+CSIM=8,\"80020900\"";
const SWITCHED: &str = "\r\n+CSIM: 4,\"910B\"\r\n\r\nOK\r\n";

#[test]
fn no_terminal_capability() {
    let mut modem = quirky(&["no-terminal-capability"]);
    talk(&mut modem, "AT\r");
    assert_eq!(modem.card().own[0], "00A40004023F00");
}

#[test]
fn bare_terminal_capability() {
    let mut modem = quirky(&["bare-terminal-capability"]);
    talk(&mut modem, "AT\r");
    assert_eq!(modem.card().own[0], "80AA000007A9058100820101");
}

#[test]
fn no_profile_state_change() {
    for (quirk, last) in [("preset:ideal", "20"), ("no-profile-state-change", "00")] {
        let mut modem = quirky(&[quirk]);
        talk(&mut modem, "AT\r");
        let profile = modem.card().own.last().unwrap().clone();
        assert_eq!(
            profile,
            format!("8010000022010080{}{last}", "00".repeat(30))
        );
    }
}

#[test]
fn busy_at_start() {
    let busy = "\r\n+CME ERROR: 14\r\n";
    dialogue(
        &mut quirky(&["busy-at-start=2"]),
        &[
            ("AT+CPIN?", busy),
            ("AT", DONE),
            (STORE, busy),
            (STORE, STORED),
            ("AT+CFUN=0", DONE),
            ("AT+CFUN=1", DONE),
            (OPEN, busy),
        ],
    );
}

#[test]
fn busy_at_random() {
    let storms = |seed| {
        let mut modem = quirky(&["busy-at-random=20"]);
        modem.control().seed(seed);
        [(); 50].map(|()| talk(&mut modem, "AT+CPIN?\r").contains("+CME ERROR: 14"))
    };
    assert_eq!(storms(1), storms(1));
    assert_ne!(storms(1), storms(2));
    let busy = storms(1).iter().filter(|busy| **busy).count();
    assert!((3..25).contains(&busy), "{busy} of 50");
}

/// A modem whose card has no enabled profile.
fn empty(quirk: &str) -> Modem<Mirror> {
    let mut modem = quirky(&[quirk]);
    modem.card().iccid = None;
    modem
}

#[test]
fn empty_sim_failure() {
    dialogue(
        &mut empty("empty-sim-failure"),
        &[("AT+CPIN?", "\r\n+CME ERROR: 13\r\n"), (OPEN, OPENED)],
    );
}

#[test]
fn empty_not_ready() {
    dialogue(
        &mut empty("empty-not-ready"),
        &[
            ("AT+CPIN?", "\r\n+CPIN: NOT READY\r\n\r\nOK\r\n"),
            (OPEN, OPENED),
        ],
    );
}

#[test]
fn empty_euicc() {
    dialogue(
        &mut empty("empty-euicc"),
        &[
            ("AT+CPIN?", "\r\n+CPIN: EMPTY_EUICC\r\n\r\nOK\r\n"),
            (OPEN, OPENED),
        ],
    );
}

#[test]
fn empty_no_session() {
    dialogue(
        &mut empty("empty-no-session"),
        &[
            (OPEN, BARE_ERROR),
            ("AT+CSIM=10,\"0070000001\"", BARE_ERROR),
            (STORE, STORED),
        ],
    );
    shows("empty-no-session", OPEN, OPENED);
}

#[test]
fn empty_no_csim() {
    let mut modem = empty("empty-no-csim");
    dialogue(&mut modem, &[(STORE, BARE_ERROR), (OPEN, OPENED)]);
    assert_eq!(modem.card().seen[0], "0070000001", "of the session");
    shows("empty-no-csim", STORE, STORED);
}

#[test]
fn empty_iccid() {
    for iccid in ["89000123456789012358", "89111111111111111111"] {
        let quirk = format!("empty-iccid={iccid}");
        let told = format!("\r\n+QCCID: {iccid}\r\n\r\nOK\r\n");
        dialogue(
            &mut empty(&quirk),
            &[
                ("AT+QCCID", &told),
                ("AT+CPIN?", "\r\n+CME ERROR: 10\r\n"),
                ("AT+CIMI", "\r\n+CME ERROR: 10\r\n"),
            ],
        );
        let told = format!("\r\n+QCCID: {ICCID}\r\n\r\nOK\r\n");
        shows(&quirk, "AT+QCCID", &told);
    }
}

#[test]
fn empty_ready() {
    dialogue(
        &mut empty("empty-ready"),
        &[
            ("AT+CPIN?", "\r\n+CPIN: READY\r\n\r\nOK\r\n"),
            ("AT+CIMI", "\r\n111111111111111\r\n\r\nOK\r\n"),
            ("AT+CCID", "\r\n+CME ERROR: 10\r\n"),
        ],
    );
}

#[test]
fn empty_no_card() {
    let failure = "\r\n+CME ERROR: 13\r\n";
    dialogue(
        &mut empty("empty-no-card"),
        &[
            ("AT+CPIN?", failure),
            (OPEN, failure),
            (STORE, failure),
            ("AT+CRSM=176,12258,0,0,10", failure),
        ],
    );
    shows("empty-no-card", OPEN, OPENED);
}

#[test]
fn ignores_refresh() {
    let mut modem = quirky(&["ignores-refresh"]);
    dialogue(&mut modem, &[(SWITCH, SWITCHED), (STORE, STORED)]);
    assert_eq!(modem.card().refresh, Some(0x09));
}

#[test]
fn stuck_refresh() {
    let stuck = "\r\n+CME ERROR: 4\r\n";
    dialogue(
        &mut quirky(&["stuck-refresh"]),
        &[
            (SWITCH, SWITCHED),
            (OPEN, stuck),
            (STORE, stuck),
            ("AT+CFUN=0", DONE),
            ("AT+CFUN=1", DONE),
            (OPEN, OPENED),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn late_refresh() {
    let mut modem = quirky(&["late-refresh=10s"]);
    modem.card().next_iccid = Some("8901000000000000027".to_owned());
    let early = "\r\n+CSIM: 4,\"6985\"\r\n\r\nOK\r\n";
    dialogue(&mut modem, &[(SWITCH, SWITCHED), (STORE, early)]);
    assert_eq!(
        modem.card().own.last().unwrap(),
        "801200000B",
        "fetched at once"
    );
    tokio::time::advance(SECOND * 9).await;
    dialogue(&mut modem, &[(OPEN, OPENED), (STORE, early)]);
    tokio::time::advance(SECOND).await;
    assert_eq!(talk(&mut modem, ""), "\r\n+QUSIM: 1\r\n");
    let iccid = "\r\n+CCID: 8901000000000000027\r\n\r\nOK\r\n";
    dialogue(&mut modem, &[(STORE, STORED), ("AT+CCID", iccid)]);
}

#[tokio::test(start_paused = true)]
async fn a_card_that_was_reset_before_the_late_refresh_sees_none() {
    let mut modem = quirky(&["late-refresh=10s"]);
    let switched = [(SWITCH, SWITCHED), ("AT+CFUN=0", DONE), ("AT+CFUN=1", DONE)];
    dialogue(&mut modem, &switched);
    dialogue(&mut modem, &[(STORE, STORED)]);
    tokio::time::advance(SECOND * 11).await;
    assert_eq!(talk(&mut modem, ""), "");
}

#[test]
fn card_keeps_power() {
    let stuck = "\r\n+CME ERROR: 4\r\n";
    let mut modem = quirky(&["stuck-refresh", "card-keeps-power", "restart-stays"]);
    dialogue(
        &mut modem,
        &[
            (SWITCH, SWITCHED),
            (OPEN, stuck),
            ("AT+CFUN=0", DONE),
            ("AT+CFUN=1", DONE),
        ],
    );
    assert_eq!(modem.card().resets, 0);
    modem.control().hang_up();
    talk(&mut modem, "");
    assert_eq!(modem.card().resets, 1);
    talk(&mut modem, "ATE0\r");
    dialogue(&mut modem, &[(OPEN, OPENED)]);
}

#[tokio::test(start_paused = true)]
async fn refresh_time() {
    let mut modem = quirky(&["refresh-time=2s"]);
    modem.card().next_iccid = Some("8901000000000000027".to_owned());
    let begun = format!("{SWITCHED}\r\n+CPIN: NOT READY\r\n");
    dialogue(
        &mut modem,
        &[
            (SWITCH, &begun),
            ("AT+CPIN?", "\r\n+CME ERROR: 14\r\n"),
            (OPEN, "\r\n+CME ERROR: 14\r\n"),
        ],
    );
    tokio::time::advance(SECOND * 2).await;
    let back = "\r\n+QUSIM: 1\r\n\r\n+CPIN: READY\r\n";
    assert_eq!(talk(&mut modem, ""), back);
    let iccid = "\r\n+CCID: 8901000000000000027\r\n\r\nOK\r\n";
    dialogue(&mut modem, &[("AT+CCID", iccid)]);
}
