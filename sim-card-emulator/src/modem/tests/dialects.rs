//! Names: how modems call themselves, the card's number and a restart.

use super::*;

/// A modem of a preset, without echo and with numbered errors, and no quirk that takes time.
fn preset(name: &str) -> Modem<Mirror> {
    quirky(&[&format!("preset:{name}")])
}

#[test]
fn a_preset_says_what_the_real_modem_says() {
    let mut modem = preset("eg916q");
    dialogue(
        &mut modem,
        &[
            ("AT+CGMI", "\r\nQuectel\r\n\r\nOK\r\n"),
            ("AT+CGMM", "\r\nEG916Q-GL\r\n\r\nOK\r\n"),
            ("AT+CGMR", "\r\nEG916QGLLGR01A03M04\r\n\r\nOK\r\n"),
            (
                "ATI",
                "\r\nQuectel\r\n\r\nEG916Q-GL\r\n\r\nRevision: EG916QGLLGR01A03M04\r\n\r\nOK\r\n",
            ),
            ("AT+CGSN", "\r\n490154203237518\r\n\r\nOK\r\n"),
        ],
    );
    // What somebody has set is told.
    modem.identity.model = "EG25".to_owned();
    dialogue(&mut modem, &[("AT+CGMM", "\r\nEG25\r\n\r\nOK\r\n")]);
    for name in ["ideal", "uart115200-echo"] {
        let said = talk(&mut preset(name), "AT+CGMM\r");
        assert!(
            said.ends_with("\r\nsim-card-emulator\r\n\r\nOK\r\n"),
            "{said}"
        );
    }
}

#[test]
fn identity_named() {
    dialogue(
        &mut preset("fibocom-fm150"),
        &[
            (
                "AT+CGMI",
                "\r\n+CGMI: \"Fibocom Wireless Inc.\"\r\n\r\nOK\r\n",
            ),
            ("AT+CGMM", "\r\n+CGMM: \"FM150-AE\"\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn iccid_commands() {
    for (command, asked, line) in [
        ("+CCID", "AT+CCID", "+CCID: "),
        ("+CICCID", "AT+CICCID", "+ICCID: "),
        ("+MCCID", "AT+MCCID", "+MCCID: "),
        ("#CCID", "AT#CCID", "#CCID: "),
        ("!ICCID?", "AT!ICCID?", "!ICCID: "),
        ("^ICCID?", "AT^ICCID?", "^ICCID: "),
        ("^SCID", "AT^SCID", "^SCID: "),
        ("%XICCID", "AT%XICCID", "%XICCID: "),
        ("$MYCCID", "AT$MYCCID", "$MYCCID: "),
        ("+SQNCCID", "AT+SQNCCID", "+SQNCCID: "),
    ] {
        let mut modem = quirky(&[&format!("iccid-commands={command}")]);
        dialogue(
            &mut modem,
            &[
                (asked, &format!("\r\n{line}{ICCID}\r\n\r\nOK\r\n")),
                ("AT+ICCID", BARE_ERROR),
                ("AT+QCCID", BARE_ERROR),
            ],
        );
    }
    // A maker's question mark is no ornament.
    shows("iccid-commands=!ICCID?", "AT!ICCID", BARE_ERROR);
    let all = talk(&mut quirky(&["iccid-commands=#CCID"]), "AT+CLAC\r");
    assert!(all.contains("\r\nAT#CCID\r\n") && !all.contains("AT+CCID"));
}

#[test]
fn iccid_bare() {
    shows(
        "iccid-bare",
        "AT+CCID",
        &format!("\r\n{ICCID}\r\n\r\nOK\r\n"),
    );
}

#[test]
fn iccid_quoted() {
    let line = format!("\r\n$MYCCID: \"{ICCID}\"\r\n\r\nOK\r\n");
    shows("preset:neoway-n58", "AT$MYCCID", &line);
}

#[test]
fn cgsn_serial() {
    let mut modem = quirky(&["cgsn-serial"]);
    dialogue(
        &mut modem,
        &[
            ("AT+CGSN", "\r\nMQ23A0715004217\r\n\r\nOK\r\n"),
            ("AT+CGSN=1", "\r\n+CGSN: \"490154203237518\"\r\n\r\nOK\r\n"),
        ],
    );
}

#[test]
fn cgsn_silent() {
    let mut modem = quirky(&["cgsn-silent"]);
    dialogue(
        &mut modem,
        &[("AT+CGSN", ""), ("AT+CGSN=1", ""), ("AT", DONE)],
    );
}

#[test]
fn reset_commands() {
    let restart = "\r\nOK\r\n\r\nRDY\r\n\r\n+CPIN: READY\r\n";
    for command in [
        "+CFUN=6",
        "+CFUN=15",
        "+CFUN=16",
        "#REBOOT",
        "!RESET",
        "^RESET",
        "+CRESET",
        "+RESET",
        "+MREBOOT=0",
    ] {
        let mut modem = quirky(&["restart-stays", &format!("reset-commands={command}")]);
        let other = ["AT!RESET", "AT#REBOOT"][usize::from(command == "!RESET")];
        dialogue(
            &mut modem,
            &[(other, BARE_ERROR), (&format!("AT{command}"), restart)],
        );
        assert_eq!(modem.card().resets, 1, "{command}");
    }
}

#[test]
fn a_card_is_switched_off_and_on_by_its_own_commands() {
    let gone = "\r\n+CME ERROR: 10\r\n";
    for (word, off, on) in [
        ("#SIMDET", "AT#SIMDET=0", "AT#SIMDET=1"),
        ("+CFUN=40", "AT+CFUN=40", "AT+CFUN=41"),
    ] {
        let mut modem = quirky(&[&format!("reset-commands={word}")]);
        dialogue(
            &mut modem,
            &[
                (OPEN, OPENED),
                (off, DONE),
                (STORE, gone),
                ("AT+CFUN=4", DONE),
                ("AT+CFUN=1", DONE),
                (STORE, gone),
                (on, DONE),
                (STORE, STORED),
                (OPEN, OPENED),
            ],
        );
        assert_eq!(modem.card().resets, 1);
    }
    let unknown = quirky(&["reset-commands=#REBOOT"]);
    dialogue(
        &mut { unknown },
        &[
            ("AT#SIMDET=0", BARE_ERROR),
            ("AT+CFUN=40", "\r\n+CME ERROR: 50\r\n"),
        ],
    );
}

#[test]
fn a_modem_that_was_switched_off_waits_for_its_key() {
    let mut modem = quirky(&["reset-commands=+QPOWD=1"]);
    modem.push(b"AT+QPOWD=1\r");
    let mut said = String::new();
    let absent = loop {
        match modem.next_action() {
            Some(Action::Write(bytes)) => said.push_str(&String::from_utf8(bytes).unwrap()),
            Some(Action::HangUp { absent }) => break absent,
            Some(_) => {}
            None => panic!("the port stays"),
        }
    };
    assert_eq!(said, "\r\nOK\r\n\r\nPOWERED DOWN\r\n");
    assert_eq!(absent, SECOND * 60);
    assert_eq!(modem.card().resets, 1);
}
