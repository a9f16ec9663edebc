//! Restarts: the port goes away and comes back.

use super::*;

/// What a modem says to a line, and how long its port stays away then, if it goes.
fn until_gone(modem: &mut Modem<Mirror>, line: &str) -> (String, Option<Duration>) {
    modem.push(line.as_bytes());
    let mut output = String::new();
    while let Some(action) = modem.next_action() {
        match action {
            Action::Write(bytes) => output.push_str(&String::from_utf8(bytes).unwrap()),
            Action::HangUp { absent } => return (output, Some(absent)),
            _ => {}
        }
    }
    (output, None)
}

const BACK: &str = "\r\nRDY\r\n\r\n+CPIN: READY\r\n";

#[tokio::test(start_paused = true)]
async fn a_restart_takes_the_port_away_and_forgets_what_was_set() {
    let mut modem = quirky(&[]);
    assert_eq!(
        until_gone(&mut modem, "AT+CFUN=1,1\r"),
        (DONE.to_owned(), None)
    );
    tokio::time::advance(SECOND / 2).await;
    let away = (String::new(), Some(SECOND * 3));
    assert_eq!(until_gone(&mut modem, ""), away);
    assert_eq!(until_gone(&mut modem, ""), (BACK.to_owned(), None));
    assert_eq!(talk(&mut modem, "AT\r"), "AT\r\r\nOK\r\n");
    assert_eq!(modem.card().resets, 1);
}

#[tokio::test(start_paused = true)]
async fn restart_leaves_after() {
    let mut modem = quirky(&["restart-leaves-after=47s"]);
    until_gone(&mut modem, "AT+CFUN=1,1\r");
    tokio::time::advance(SECOND * 46).await;
    // It answers as if nothing was to come.
    assert_eq!(until_gone(&mut modem, "AT\r"), (DONE.to_owned(), None));
    tokio::time::advance(SECOND).await;
    assert_eq!(until_gone(&mut modem, "").1, Some(SECOND * 3));
}

#[tokio::test(start_paused = true)]
async fn restart_absent() {
    let mut modem = quirky(&["restart-absent=30s"]);
    until_gone(&mut modem, "AT+CFUN=1,1\r");
    tokio::time::advance(SECOND).await;
    assert_eq!(until_gone(&mut modem, "").1, Some(SECOND * 30));
}

#[test]
fn restart_stays() {
    let mut modem = quirky(&["restart-stays"]);
    let answer = (format!("{DONE}{BACK}"), None);
    assert_eq!(until_gone(&mut modem, "AT+CFUN=1,1\r"), answer);
}

#[test]
fn radio_off_hangs_up() {
    let mut modem = quirky(&["radio-off-hangs-up=3s"]);
    // The second command of the same write is lost with the port.
    let away = (DONE.to_owned(), Some(SECOND * 3));
    assert_eq!(until_gone(&mut modem, "AT+CFUN=0\rAT+CFUN=1\r"), away);
    assert_eq!(until_gone(&mut modem, ""), (BACK.to_owned(), None));
    talk(&mut modem, "ATE0\r");
    dialogue(&mut modem, &[("AT+CFUN?", "\r\n+CFUN: 1\r\n\r\nOK\r\n")]);
}

#[test]
fn radio_off_drops() {
    let away = (DONE.to_owned(), Some(SECOND * 3));
    for (written, cfun) in [("AT+CFUN=0\r", 0), ("AT+CFUN=0\rAT+CFUN=1\r", 1)] {
        let mut modem = quirky(&["radio-off-drops=3s"]);
        assert_eq!(until_gone(&mut modem, written), away);
        // It has not restarted.
        assert_eq!(until_gone(&mut modem, ""), (String::new(), None));
        let state = format!("\r\n+CFUN: {cfun}\r\n\r\nOK\r\n");
        dialogue(&mut modem, &[("AT+CFUN?", &state)]);
        assert_eq!(modem.card().resets, 1);
        dialogue(&mut modem, &[("AT+CFUN=1", DONE), (OPEN, OPENED)]);
    }
}

#[test]
fn cfun_time() {
    let mut modem = quirky(&["cfun-time=60s"]);
    for line in ["AT+CFUN=0", "AT+CFUN=1"] {
        assert_eq!(timed(&mut modem, line), (DONE.to_owned(), SECOND * 60));
    }
    assert_eq!(timed(&mut modem, "AT+CFUN?").1, Duration::ZERO);
}

#[test]
fn radio_busy() {
    let mut modem = quirky(&["radio-busy=1"]);
    let refused = "\r\n+CME ERROR: 14\r\n";
    dialogue(&mut modem, &[("AT+CMEE=1", DONE), ("AT+CFUN=1", DONE)]);
    for off in ["AT+CFUN=4", "AT+CFUN=0"] {
        let on = "AT+CFUN=1";
        dialogue(
            &mut modem,
            &[(off, DONE), (on, refused), (on, DONE), (on, DONE)],
        );
    }
}

#[test]
fn radio_off_restarts() {
    let mut modem = quirky(&["radio-off-restarts"]);
    let answer = format!("{DONE}{BACK}");
    dialogue(
        &mut modem,
        &[
            ("AT+CFUN=0", &answer),
            ("ATE0", "ATE0\r\r\nOK\r\n"),
            ("AT+CFUN?", "\r\n+CFUN: 1\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn refresh_hangs_up() {
    let mut modem = quirky(&["refresh-hangs-up=5s"]);
    let answer = "\r\n+CSIM: 4,\"910B\"\r\n\r\nOK\r\n".to_owned();
    let gone = until_gone(&mut modem, "AT+CSIM=8,\"80020900\"\r");
    assert_eq!(gone, (answer, Some(SECOND * 5)));
    assert_eq!(until_gone(&mut modem, "").0, BACK);
}

#[tokio::test(start_paused = true)]
async fn the_server_of_a_modem_is_told_how_long_it_is_away() {
    let modem = quirky(&["restart-absent=30s"]);
    let (mut port, served) = port(modem).await;
    let begin = Instant::now();
    port.command("AT+CFUN=1,1", SECOND).await.unwrap();
    assert_eq!(port.idle().await, Cause::Closed);
    assert_eq!(begin.elapsed().as_millis() / 10, 50);
    let (_, ended) = served.await.unwrap();
    let absent = SECOND * 30;
    assert_eq!(ended, Ended::HungUp { absent });
}

#[test]
fn radio_kept() {
    for (line, cfun) in [("AT+CFUN=0", 0), ("AT+CFUN=4", 4), ("AT+CFUN=1", 1)] {
        let mut modem = quirky(&["radio-kept", "restart-stays"]);
        dialogue(&mut modem, &[(line, DONE)]);
        talk(&mut modem, "AT+CFUN=1,1\rATE0\r");
        let state = format!("\r\n+CFUN: {cfun}\r\n\r\nOK\r\n");
        dialogue(&mut modem, &[("AT+CFUN?", &state)]);
        let registered = format!("\r\n+CEREG: 0,{}\r\n\r\nOK\r\n", u8::from(cfun == 1));
        dialogue(&mut modem, &[("AT+CEREG?", &registered)]);
        talk(&mut modem, "AT+CFUN=1\r");
        dialogue(&mut modem, &[("ATE0;+CMEE=1", DONE), (OPEN, OPENED)]);
    }
}

#[tokio::test(start_paused = true)]
async fn sleeps_after() {
    let mut modem = quirky(&["sleeps-after=20s"]);
    let moment = SECOND / 1000;
    dialogue(&mut modem, &[("AT", DONE)]);
    for _ in 0..2 {
        tokio::time::advance(SECOND * 20 - moment).await;
        dialogue(&mut modem, &[("AT", DONE)]);
    }
    tokio::time::advance(SECOND * 20).await;
    assert_eq!(talk(&mut modem, ""), "\r\n+UUPSMR: 1\r\n");
    tokio::time::advance(SECOND * 60 - moment).await;
    dialogue(&mut modem, &[("AT", "")]);
    tokio::time::advance(moment).await;
    assert_eq!(talk(&mut modem, ""), "\r\n+UUPSMR: 0\r\n");
    dialogue(&mut modem, &[("AT", DONE)]);
    // What is not registered does not sleep.
    dialogue(&mut modem, &[("AT+CFUN=4", DONE)]);
    tokio::time::advance(SECOND * 1000).await;
    dialogue(&mut modem, &[("AT", DONE)]);
}
