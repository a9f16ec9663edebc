//! Quirks of what a modem writes, and when.

use super::*;

#[test]
fn echo_stuck() {
    shows("echo-stuck", "ATE0", "ATE0\r\r\nOK\r\n");
}

#[test]
fn echo_returns() {
    dialogue(
        &mut quirky(&["echo-returns"]),
        &[("AT", DONE), ("AT+CFUN=1", DONE), ("AT", "AT\r\r\nOK\r\n")],
    );
}

#[test]
fn lower_case() {
    shows(
        "lower-case",
        STORE,
        "\r\n+CSIM: 10,\"02bf2e9000\"\r\n\r\nOK\r\n",
    );
}

#[test]
fn unquoted() {
    shows("unquoted", STORE, "\r\n+CSIM: 10,02BF2E9000\r\n\r\nOK\r\n");
}

#[test]
fn no_blank() {
    shows(
        "no-blank",
        STORE,
        "\r\n+CSIM:10,\"02BF2E9000\"\r\n\r\nOK\r\n",
    );
}

#[test]
fn spaced_digits() {
    let spaced = "\r\n+CSIM: 10,\"02 BF 2E 90 00\"\r\n\r\nOK\r\n";
    shows("spaced-digits", STORE, spaced);
}

#[test]
fn length_in_octets() {
    let octets = "\r\n+CSIM: 5,\"02BF2E9000\"\r\n\r\nOK\r\n";
    shows("length-in-octets", STORE, octets);
}

#[test]
fn wrong_length() {
    let wrong = "\r\n+CSIM: 12,\"02BF2E9000\"\r\n\r\nOK\r\n";
    shows("wrong-length", STORE, wrong);
}

#[test]
fn truncated_answers() {
    let truncated = "\r\n+CSIM: 10,\"02BF\"\r\n\r\nOK\r\n";
    shows("truncated-answers=4", STORE, truncated);
}

#[test]
fn no_empty_line() {
    shows(
        "no-empty-line",
        STORE,
        "\r\n+CSIM: 10,\"02BF2E9000\"\r\nOK\r\n",
    );
}

#[test]
fn glued_result() {
    shows("glued-result", STORE, "\r\n+CSIM: 10,\"02BF2E9000\"OK\r\n");
    shows("glued-result", "AT+CFUN?", "\r\n+CFUN: 1\r\n\r\nOK\r\n");
}

#[test]
fn cr_only() {
    shows("cr-only", STORE, "\r+CSIM: 10,\"02BF2E9000\"\r\rOK\r");
}

#[test]
fn cme_shouted() {
    shows(
        "cme-shouted",
        "AT+CSIM=2,\"00\"",
        "\r\n+CME ERROR:INCORRECTPARAMETERS\r\n",
    );
}

#[test]
fn huawei_results() {
    dialogue(
        &mut quirky(&["huawei-results"]),
        &[
            ("AT+NOSUCH", "\r\nCOMMAND NOT SUPPORT\r\n"),
            ("AT+CSIM=2,\"00\"", "\r\nTOO MANY PARAMETERS\r\n"),
            ("AT+CCHC", "\r\nERROR\r\n"),
        ],
    );
}

#[test]
fn cpin_without_result() {
    shows("cpin-without-result", "AT+CPIN?", "\r\n+CPIN: READY\r\n");
}

#[test]
fn verbose_off() {
    dialogue(
        &mut quirky(&["verbose-off"]),
        &[
            ("AT", "0\r"),
            ("AT+CFUN?", "+CFUN: 1\r\n0\r"),
            ("ATV1", DONE),
        ],
    );
}

#[test]
fn quiet_on() {
    dialogue(
        &mut quirky(&["quiet-on"]),
        &[("AT", ""), ("AT+CFUN?", "\r\n+CFUN: 1\r\n"), ("ATQ0", DONE)],
    );
}

#[test]
fn mute() {
    shows("mute", "AT", "");
}

#[test]
fn split_writes() {
    let pieces = pieces(&mut quirky(&["split-writes=4"]), "AT");
    assert_eq!(pieces, ["\r\nOK", "\r\n"]);
}

#[test]
fn split_at_random() {
    let split = |seed| {
        let mut modem = quirky(&["split-at-random=5"]);
        modem.control().seed(seed);
        pieces(&mut modem, STORE)
    };
    assert_eq!(split(1), split(1));
    assert_ne!(split(1), split(2));
    assert_eq!(split(3).concat(), STORED);
    assert!(split(4).iter().all(|piece| (1..=5).contains(&piece.len())));
}

#[test]
fn urc_flood() {
    let mut modem = quirky(&["urc-flood=2"]);
    let codes = "\r\n+CREG: 1,\"1A2B\",\"01234567\",7\r\n\r\n+CUSD: 0,\"OK\",15\r\n";
    let answer = format!("{codes}{codes}\r\n+CFUN: 1\r\n{codes}\r\nOK\r\n{codes}");
    dialogue(&mut modem, &[("AT+CFUN?", &answer)]);
}

#[test]
fn urc_before_echo() {
    let mut modem = quirky(&["urc-before-echo"]);
    modem.settings.echo = true;
    let answer = "\r\n+CREG: 1,\"1A2B\",\"01234567\",7\r\nAT\r\r\nOK\r\n";
    dialogue(&mut modem, &[("AT", answer)]);
}

#[test]
fn urc_before_answer() {
    let answer = format!("\r\n+CEREG: 5\r\n{STORED}");
    shows("urc-before-answer", STORE, &answer);
}

#[test]
fn urc_before_result() {
    let answer = "\r\n+CSIM: 10,\"02BF2E9000\"\r\n\r\n+CGEV: ME PDN DEACT 1\r\n\r\nOK\r\n";
    shows("urc-before-result", STORE, answer);
}

#[test]
fn urc_with_results() {
    let codes = "\r\n+CUSD: 0,\"OK\",15\r\n\r\n+COPS: 0,0,\"ERRNET\"\r\n";
    let answer = format!("{codes}\r\n+CFUN: 1\r\n{codes}\r\nOK\r\n{codes}");
    shows("urc-with-results", "AT+CFUN?", &answer);
}

#[test]
fn urc_at_random() {
    let talks = |seed| {
        let mut modem = quirky(&["urc-at-random=30"]);
        modem.control().seed(seed);
        [(); 20].map(|()| talk(&mut modem, "AT\r")).concat()
    };
    assert_eq!(talks(1), talks(1));
    assert_ne!(talks(1), talks(2));
    let codes = talks(1).matches("\r\n+C").count();
    assert!((10..40).contains(&codes), "{codes} of 80 places");
}

#[test]
fn late_answer() {
    let mut modem = quirky(&["late-answer=200s"]);
    let late = Duration::from_secs(200);
    assert_eq!(
        timed(&mut modem, "AT+CSIM=14,\"80E2110002BF2E\"").1,
        Duration::ZERO
    );
    assert_eq!(timed(&mut modem, STORE), (STORED.to_owned(), late));
    assert_eq!(timed(&mut modem, STORE).1, Duration::ZERO);
}

#[test]
fn drop_first() {
    dialogue(
        &mut quirky(&["drop-first=2"]),
        &[("AT", ""), ("AT", ""), ("AT", DONE)],
    );
}

#[test]
fn stale_input() {
    let mut modem = quirky(&["stale-input"]);
    assert_eq!(talk(&mut modem, ""), "\r\n+ESIMS: 1,29\r\n\r\n+CREG: 2\r\n");
    dialogue(&mut modem, &[("AT", DONE)]);
}

#[test]
fn nul_first() {
    dialogue(
        &mut quirky(&["nul-first"]),
        &[("AT", "\0\0\r\nOK\r\n"), ("AT", DONE)],
    );
}
