//! Commands that ask and set.

use super::*;

#[test]
fn commands_are_answered_as_the_standards_say() {
    let mut modem = modem();
    assert_eq!(talk(&mut modem, "AT\r"), "AT\r\r\nOK\r\n");
    assert_eq!(talk(&mut modem, "ATE0\r"), "ATE0\r\r\nOK\r\n");
    for (input, output) in [
        ("at\r\n", "\r\nOK\r\n"),
        ("\n\r", ""),
        ("ATE0V1Q0\r", "\r\nOK\r\n"),
        ("AT+CGMM\r", "\r\nsim-card-emulator\r\n\r\nOK\r\n"),
        ("AT+CGSN\r", "\r\n490154203237518\r\n\r\nOK\r\n"),
        (
            "AT+CFUN?;+CMEE?\r",
            "\r\n+CFUN: 1\r\n\r\n+CMEE: 0\r\n\r\nOK\r\n",
        ),
        ("AT+CPIN?\r", "\r\nERROR\r\n"),
        ("AT+CMEE=1\r", "\r\nOK\r\n"),
        ("AT+CPIN?\r", "\r\n+CME ERROR: 10\r\n"),
        ("AT+CEREG?\r", "\r\n+CEREG: 0,0\r\n\r\nOK\r\n"),
        ("AT+CMEE=2\r", "\r\nOK\r\n"),
        ("AT+CCID\r", "\r\n+CME ERROR: SIM not inserted\r\n"),
        ("AT+IPR?\r", "\r\n+IPR: 115200\r\n\r\nOK\r\n"),
        ("AT+NOSUCH\r", "\r\nERROR\r\n"),
        ("ATD112;\r", "\r\nERROR\r\n"),
        ("hello\r", "\r\nERROR\r\n"),
        ("AT+CSIM=?\r", "\r\nOK\r\n"),
        (
            "AT+CSIM=10,\"0070000001\"\r",
            "\r\n+CSIM: 6,\"019000\"\r\n\r\nOK\r\n",
        ),
        (
            "AT+CSIM=12,\"0070000001\"\r",
            "\r\n+CME ERROR: incorrect parameters\r\n",
        ),
        (
            "AT+CSIM=10,0070000001\r",
            "\r\n+CME ERROR: incorrect parameters\r\n",
        ),
        (
            "AT+CSIM=8,\"80030000\"\r",
            "\r\n+CME ERROR: SIM failure\r\n",
        ),
        ("AT+CSIM=1\r", "\r\n+CME ERROR: incorrect parameters\r\n"),
        ("ATV0\r", "0\r"),
        ("AT+CGMI\r", "lpad\r\n0\r"),
        ("AT+NOSUCH\r", "4\r"),
        ("ATV1\r", "\r\nOK\r\n"),
        ("ATQ1\r", ""),
        ("AT\r", ""),
        ("ATQ0\r", "\r\nOK\r\n"),
    ] {
        assert_eq!(talk(&mut modem, input), output, "{input:?}");
    }
}

#[test]
fn an_enabled_profile_brings_the_modem_into_the_network() {
    let mut modem = modem();
    modem.card().iccid = Some(ICCID.to_owned());
    let control = modem.control();
    control.set_quirks(|quirks| quirks.turn_on(Quirk::RestartStays));
    talk(&mut modem, "ATE0\r");
    for (input, output) in [
        ("AT+CPIN?\r", "\r\n+CPIN: READY\r\n\r\nOK\r\n"),
        (
            "AT+QCCID\r",
            "\r\n+QCCID: 8901000000000000019\r\n\r\nOK\r\n",
        ),
        ("AT+CREG?\r", "\r\n+CREG: 0,1\r\n\r\nOK\r\n"),
        (
            "AT+COPS?\r",
            "\r\n+COPS: 0,0,\"Test Network\",7\r\n\r\nOK\r\n",
        ),
        ("AT+CFUN=4\r", "\r\nOK\r\n"),
        ("AT+CREG?\r", "\r\n+CREG: 0,0\r\n\r\nOK\r\n"),
        ("AT+CFUN=0\r", "\r\nOK\r\n"),
        ("AT+CPIN?\r", "\r\nERROR\r\n"),
        ("AT+CSIM=10,\"0070000001\"\r", "\r\nERROR\r\n"),
        ("AT+CFUN=1,1\r", "\r\nOK\r\n\r\nRDY\r\n\r\n+CPIN: READY\r\n"),
        ("AT\r", "AT\r\r\nOK\r\n"),
    ] {
        assert_eq!(talk(&mut modem, input), output, "{input:?}");
    }
    assert_eq!(modem.card().resets, 2);
}

#[test]
fn a_line_without_end_is_refused_and_not_kept() {
    let mut modem = modem();
    talk(&mut modem, "ATE0\r");
    for _ in 0..100 {
        assert_eq!(talk(&mut modem, &"A".repeat(1000)), "");
        assert!(modem.input.len() <= LINE_LIMIT + 1000);
    }
    assert_eq!(talk(&mut modem, "\r"), "\r\nERROR\r\n");
    assert_eq!(talk(&mut modem, "AT\r"), "\r\nOK\r\n");
}

#[test]
fn every_command_tells_what_it_takes() {
    let mut modem = quirky(&[]);
    let listed = talk(&mut modem, "AT+CLAC\r");
    let names = listed.lines().filter_map(|line| line.strip_prefix("AT+"));
    let names: Vec<String> = names.map(str::to_owned).collect();
    assert_eq!(names.len(), 32);
    for name in names {
        let answer = talk(&mut modem, &format!("AT+{name}=?\r"));
        assert!(answer.ends_with("\r\nOK\r\n"), "{name}: {answer}");
        let bad = talk(&mut modem, &format!("AT+{name}=no,such\r"));
        assert!(
            bad.ends_with("ERROR\r\n") || bad.contains("+CME ERROR"),
            "{name}: {bad}"
        );
    }
    dialogue(
        &mut modem,
        &[
            ("AT+CFUN=?", "\r\n+CFUN: (0,1,4),(0,1)\r\n\r\nOK\r\n"),
            ("AT+CCHO=?", "\r\nOK\r\n"),
            (
                "AT+IPR=?",
                "\r\n+IPR: (),(9600,19200,38400,57600,115200,230400,460800,921600)\r\n\r\nOK\r\n",
            ),
        ],
    );
}

#[test]
fn a_modem_says_what_it_is() {
    let mut modem = quirky(&[]);
    let about = format!("\r\nRevision: {}\r\n", env!("CARGO_PKG_VERSION"));
    let about = format!("\r\nlpad\r\n\r\nsim-card-emulator\r\n{about}\r\nOK\r\n");
    dialogue(
        &mut modem,
        &[
            ("ATI", &about),
            ("AT+CGSN=0", "\r\n490154203237518\r\n\r\nOK\r\n"),
            ("AT+CGSN=1", "\r\n+CGSN: \"490154203237518\"\r\n\r\nOK\r\n"),
            ("AT+CGSN=2", "\r\n+CGSN: \"4901542032375101\"\r\n\r\nOK\r\n"),
            ("AT+CGSN=3", "\r\n+CGSN: \"01\"\r\n\r\nOK\r\n"),
            ("AT+CGSN=4", "\r\n+CME ERROR: 50\r\n"),
            ("AT+CSQ", "\r\n+CSQ: 20,0\r\n\r\nOK\r\n"),
            ("AT+CIMI", "\r\n001010123456789\r\n\r\nOK\r\n"),
            ("AT+ICCID", "\r\n+ICCID: 8901000000000000019\r\n\r\nOK\r\n"),
            ("AT+CCID?", "\r\n+CCID: 8901000000000000019\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn a_line_of_several_commands_is_answered_up_to_the_first_that_fails() {
    let mut modem = quirky(&[]);
    dialogue(
        &mut modem,
        &[
            (
                "ATE0;+CSIM=10,\"0070000001\";+CMEE?",
                "\r\n+CSIM: 6,\"019000\"\r\n\r\n+CMEE: 1\r\n\r\nOK\r\n",
            ),
            (
                "AT+CMEE?;+CSIM=2,\"00\";+CFUN?",
                "\r\n+CMEE: 1\r\n\r\n+CME ERROR: 50\r\n",
            ),
        ],
    );
}

#[test]
fn a_reset_of_the_settings_keeps_the_radio_and_the_rate() {
    let mut modem = quirky(&[]);
    dialogue(
        &mut modem,
        &[
            ("AT+IPR=9600", "\r\nOK\r\n"),
            ("AT+CFUN=4", "\r\nOK\r\n"),
            ("AT&F", "\r\nOK\r\n"),
            ("ATE0", "ATE0\r\r\nOK\r\n"),
            (
                "AT+CFUN?;+IPR?",
                "\r\n+CFUN: 4\r\n\r\n+IPR: 9600\r\n\r\nOK\r\n",
            ),
            ("AT+CSQ", "\r\n+CSQ: 99,99\r\n\r\nOK\r\n"),
            ("AT+IPR=1200", "\r\nERROR\r\n"),
            ("ATZ", "\r\nOK\r\n"),
            ("AT", "AT\r\r\nOK\r\n"),
        ],
    );
}

#[test]
fn without_an_enabled_profile_each_modem_says_so_in_its_own_way() {
    for (quirk, state, iccid) in [
        ("ideal", "+CME ERROR: 10", "+CME ERROR: 10"),
        ("empty-sim-failure", "+CME ERROR: 13", "+CME ERROR: 13"),
        (
            "empty-not-ready",
            "+CPIN: NOT READY\r\n\r\nOK",
            "+CME ERROR: 10",
        ),
        (
            "empty-euicc",
            "+CPIN: EMPTY_EUICC\r\n\r\nOK",
            "+CME ERROR: 10",
        ),
    ] {
        let quirk = if quirk == "ideal" {
            "preset:ideal"
        } else {
            quirk
        };
        let mut modem = quirky(&[quirk]);
        modem.card().iccid = None;
        dialogue(
            &mut modem,
            &[
                ("AT+CPIN?", &format!("\r\n{state}\r\n")),
                ("AT+CCID", &format!("\r\n{iccid}\r\n")),
                ("AT+CREG?", "\r\n+CREG: 0,0\r\n\r\nOK\r\n"),
            ],
        );
    }
}
