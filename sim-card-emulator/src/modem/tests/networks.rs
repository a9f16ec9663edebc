//! The network, and what the modem tells of it.

use super::*;

fn network(words: &str) -> Network {
    words.parse().unwrap()
}

/// A modem with these quirks, whose network is made of these words.
fn modem_in(words: &str, quirks: &[&str]) -> Modem<Mirror> {
    let modem = quirky(quirks);
    modem.control().set_network(None, network(words));
    modem
}

/// What the modem answers to a question, without what comes around the answer.
fn told(modem: &mut Modem<Mirror>, question: &str) -> String {
    let said = talk(modem, &format!("{question}\r"));
    let lines: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
    lines.join("; ").trim_end_matches("; OK").to_owned()
}

/// Lets time go by, and gives what the modem says meanwhile.
async fn after(modem: &mut Modem<Mirror>, seconds: u64) -> String {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    told(modem, "")
}

#[tokio::test(start_paused = true)]
async fn the_profile_decides_when_the_modem_is_registered() {
    let modem = quirky(&[]);
    let control = modem.control();
    control.set_network(Some(ICCID), network("registers-after=5s"));
    let (mut port, _served) = port(modem).await;
    let begin = Instant::now();
    port.command("AT+CEREG=1", SECOND).await.unwrap();
    port.command("AT+CFUN=4;+CFUN=1", SECOND).await.unwrap();
    let state = port.query("AT+CEREG?", SECOND).await.unwrap();
    assert_eq!(state.as_deref(), Some("1,2"));
    // Off, searching, and in the end registered.
    let moment = Duration::from_millis(1);
    for (until, urcs) in [(5 * SECOND - moment, 2), (5 * SECOND + moment, 3)] {
        assert!(timeout_at(begin + until, port.idle()).await.is_err());
        assert_eq!(port.statistics().urcs, urcs);
    }
    let state = port.query("AT+CEREG?", SECOND).await.unwrap();
    assert_eq!(state.as_deref(), Some("1,1"));
    let state = port.query("AT+COPS?", SECOND).await.unwrap();
    assert_eq!(state.as_deref(), Some("0,0,\"Test Network\",7"));
}

#[test]
fn each_profile_has_its_own_network() {
    let unregistered = "\r\n+COPS: 0\r\n\r\nOK\r\n";
    for (words, circuit, packet) in [
        ("registers", 1, 1),
        ("without-data", 1, 3),
        ("never", 2, 2),
        ("rejects-sim", 3, 3),
    ] {
        // By ICCID, by IMSI, and for every other profile.
        for named in [Some(ICCID), Some("001010123456789"), None] {
            let mut modem = quirky(&[]);
            let control = modem.control();
            control.set_network(Some("8901000000000000027"), network("never"));
            control.set_network(named, network(words));
            dialogue(
                &mut modem,
                &[
                    ("AT+CREG?", &format!("\r\n+CREG: 0,{circuit}\r\n\r\nOK\r\n")),
                    (
                        "AT+CGREG?",
                        &format!("\r\n+CGREG: 0,{packet}\r\n\r\nOK\r\n"),
                    ),
                    (
                        "AT+CEREG?",
                        &format!("\r\n+CEREG: 0,{packet}\r\n\r\nOK\r\n"),
                    ),
                    (
                        "AT+CGATT?",
                        &format!("\r\n+CGATT: {}\r\n\r\nOK\r\n", u8::from(packet == 1)),
                    ),
                ],
            );
            let operator = talk(&mut modem, "AT+COPS?\r");
            assert_eq!(operator == unregistered, circuit != 1, "{words}");
        }
    }
}

#[test]
fn a_change_is_told_with_as_much_as_was_asked_for() {
    let mut modem = quirky(&[]);
    dialogue(
        &mut modem,
        &[
            ("AT+CREG=1;+CGREG=2;+CEREG=2", "\r\nOK\r\n"),
            (
                "AT+COPS=2",
                "\r\n+CREG: 0\r\n\r\n+CGREG: 0\r\n\r\n+CEREG: 0\r\n\r\nOK\r\n",
            ),
            (
                "AT+COPS=0",
                "\r\n+CREG: 1\r\n\r\n+CGREG: 1,\"0001\",\"0101\",7\r\n\
             \r\n+CEREG: 1,\"0001\",\"00000101\",7\r\n\r\nOK\r\n",
            ),
            (
                "AT+CEREG?",
                "\r\n+CEREG: 2,1,\"0001\",\"00000101\",7\r\n\r\nOK\r\n",
            ),
            ("AT+CREG=4", "\r\n+CME ERROR: 50\r\n"),
        ],
    );
    modem.control().set_network(None, network("rejects-sim"));
    assert_eq!(
        talk(&mut modem, ""),
        "\r\n+CREG: 3\r\n\r\n+CGREG: 3\r\n\r\n+CEREG: 3\r\n"
    );
}

#[test]
fn the_operator_has_three_names() {
    let mut modem = quirky(&[]);
    dialogue(
        &mut modem,
        &[
            (
                "AT+COPS=3,1;+COPS?",
                "\r\n+COPS: 0,1,\"Test\",7\r\n\r\nOK\r\n",
            ),
            (
                "AT+COPS=3,2;+COPS?",
                "\r\n+COPS: 0,2,\"00101\",7\r\n\r\nOK\r\n",
            ),
            ("AT+COPS=1,2,\"26201\"", "\r\n+CME ERROR: 50\r\n"),
        ],
    );
}

#[test]
fn contexts_are_defined_and_need_the_packet_network() {
    let mut modem = quirky(&[]);
    dialogue(
        &mut modem,
        &[
            ("AT+CGDCONT=1,\"IP\",\"internet\"", "\r\nOK\r\n"),
            (
                "AT+CGDCONT?",
                "\r\n+CGDCONT: 1,\"IP\",\"internet\",\"\",0,0\r\n\r\nOK\r\n",
            ),
            ("AT+CGACT=1,1", "\r\nOK\r\n"),
            ("AT+CGACT?", "\r\n+CGACT: 1,1\r\n\r\nOK\r\n"),
            ("AT+CGACT=1,2", "\r\n+CME ERROR: 50\r\n"),
            ("AT+CGDCONT=17,\"IP\"", "\r\n+CME ERROR: 50\r\n"),
            ("AT+CFUN=4", "\r\nOK\r\n"),
            ("AT+CGACT?", "\r\n+CGACT: 1,0\r\n\r\nOK\r\n"),
            ("AT+CGACT=1,1", "\r\n+CME ERROR: 30\r\n"),
            ("AT+CGATT=1", "\r\n+CME ERROR: 30\r\n"),
            ("AT+CGDCONT=2,\"IPV6\"", "\r\nOK\r\n"),
            ("AT+CGDCONT=2", "\r\nOK\r\n"),
            // The context to register with is always there.
            ("AT+CGDCONT=1", "\r\nOK\r\n"),
            (
                "AT+CGDCONT?",
                "\r\n+CGDCONT: 1,\"IPV4V6\",\"\",\"\",0,0\r\n\r\nOK\r\n",
            ),
        ],
    );
}

#[test]
fn a_modem_may_be_unable_to_say_whether_it_is_registered() {
    for (words, answer) in [("sim-failure", "+CME ERROR: 13"), ("untold", "ERROR")] {
        let mut modem = modem_in(words, &[]);
        talk(&mut modem, "ATE0;+CMEE=1\r");
        assert_eq!(told(&mut modem, "AT+CEREG?"), answer);
    }
}

#[test]
fn what_a_registered_modem_may_do_is_told_by_its_state() {
    for (words, stat, has_data) in [
        ("registers", 1, true),
        ("roaming", 5, true),
        ("unknown", 4, false),
        ("sms-only", 6, false),
        ("sms-only,roaming", 7, false),
        ("emergency", 8, false),
        ("no-csfb", 9, true),
        ("no-csfb,roaming", 10, true),
    ] {
        let mut modem = modem_in(words, &[]);
        for name in ["+CREG", "+CGREG", "+CEREG"] {
            let state = told(&mut modem, &format!("AT{name}?"));
            assert_eq!(state, format!("{name}: 0,{stat}"), "{words}");
        }
        assert_eq!(told(&mut modem, "AT+C5GREG?"), "+C5GREG: 0,0");
        let attached = format!("+CGATT: {}", u8::from(has_data));
        assert_eq!(told(&mut modem, "AT+CGATT?"), attached, "{words}");
        let data = *modem.control().data().borrow();
        assert_eq!(data == Data::Up, has_data, "{words}");
    }
}

#[test]
fn each_access_has_a_registration_of_its_own() {
    for (words, technology, stats) in [
        ("3g", 2, [1, 1, 0, 0]),
        ("registers", 7, [1, 1, 1, 0]),
        ("5g", 11, [0, 0, 0, 1]),
    ] {
        let mut modem = modem_in(words, &[]);
        for (name, stat) in ["+CREG", "+CGREG", "+CEREG", "+C5GREG"].iter().zip(stats) {
            let state = told(&mut modem, &format!("AT{name}?"));
            assert_eq!(state, format!("{name}: 0,{stat}"), "{words}");
        }
        let operator = format!("+COPS: 0,0,\"Test Network\",{technology}");
        assert_eq!(told(&mut modem, "AT+COPS?"), operator);
        // In 3G somebody has to ask for a context.
        let is_up = format!("+CGACT: 1,{}", u8::from(words != "3g"));
        assert_eq!(told(&mut modem, "AT+CGACT?"), is_up);
        assert_eq!(told(&mut modem, "AT+CGACT=1,1;+CGACT?"), "+CGACT: 1,1");
    }
}

#[test]
fn the_cause_of_a_refusal_is_told_at_the_levels_that_have_it() {
    const LTE: &str = "\"0001\",\"00000101\",7";
    for (words, line, state) in [
        ("rejects=15", "AT+CREG=3;+CREG?", "+CREG: 3,3,,,,0,15"),
        ("rejects=15", "AT+CREG=2;+CREG?", "+CREG: 2,3"),
        ("rejects=15", "AT+CGREG=5;+CGREG?", "+CGREG: 5,3,,,,,0,15"),
        ("rejects=15", "AT+CEREG=4;+CEREG?", "+CEREG: 4,3"),
        ("rejects=17", "AT+CEREG=3;+CEREG?", "+CEREG: 3,2,,,,0,17"),
        (
            "rejects=7",
            "AT+CREG=3;+CREG?",
            "+CREG: 3,1,\"0001\",\"0101\",7",
        ),
        (
            "rejects=27,5g",
            "AT+C5GREG=3;+C5GREG?",
            "+C5GREG: 3,3,,,,,,0,27",
        ),
        ("rejects=27,5g", "AT+CEREG=3;+CEREG?", "+CEREG: 3,0"),
        (
            "5g",
            "AT+C5GREG=2;+C5GREG?",
            "+C5GREG: 2,1,\"000001\",\"0000000101\",11,1,\"01\"",
        ),
        (
            "roaming",
            "AT+CEREG=3;+CEREG?",
            &format!("+CEREG: 3,5,{LTE}"),
        ),
        ("rejects=8", "AT+CEER", "+CEER: EMM cause 8"),
        (
            "registers",
            "AT+CEER",
            "+CEER: No cause information available",
        ),
        ("never", "AT+CEREG=5;+CEREG?", "+CEREG: 5,2"),
        ("registers", "AT+C5GREG=4", "+CME ERROR: 50"),
        ("registers", "AT+CREG=?", "+CREG: (0-3)"),
        ("registers", "AT+CEREG=?", "+CEREG: (0-5)"),
    ] {
        assert_eq!(told(&mut modem_in(words, &[]), line), state, "{words}");
    }
    let mut modem = modem_in("registers", &["sleeps-after"]);
    let saving = format!("+CEREG: 4,1,{LTE},,,\"00000101\",\"00100110\"");
    assert_eq!(told(&mut modem, "AT+CEREG=4;+CEREG?"), saving);
}

#[test]
fn registration_levels() {
    let mut modem = modem_in("rejects=8", &["registration-levels=2"]);
    for (line, state) in [
        ("AT+CEREG=3", "+CME ERROR: 50"),
        ("AT+CEREG=?", "+CEREG: (0-2)"),
        ("AT+CEREG=2;+CEREG?", "+CEREG: 2,3"),
    ] {
        assert_eq!(told(&mut modem, line), state);
    }
}

#[test]
fn denied_searching() {
    let mut modem = modem_in("rejects=8", &["denied-searching"]);
    let state = "+CEREG: 3,2,,,,0,8";
    assert_eq!(told(&mut modem, "AT+CEREG=3;+CEREG?"), state);
}

#[test]
fn retry_denied() {
    let mut modem = modem_in("rejects=17", &["retry-denied"]);
    let state = "+CEREG: 3,3,,,,0,17";
    assert_eq!(told(&mut modem, "AT+CEREG=3;+CEREG?"), state);
}

#[tokio::test(start_paused = true)]
async fn a_network_in_trouble_is_tried_five_times_and_again_after_twelve_minutes() {
    let searching = "+CEREG: 3,2,,,,0,17";
    let registered = "+CEREG: 1,\"0001\",\"00000101\",7";
    let mut modem = modem_in("rejects=17,times=5", &[]);
    assert_eq!(told(&mut modem, "AT+CEREG=3;+CEREG?"), searching);
    // Four more, of which nothing changes.
    for _ in 0..4 {
        assert_eq!(after(&mut modem, 10).await, "");
    }
    assert_eq!(after(&mut modem, 719).await, "");
    assert_eq!(after(&mut modem, 1).await, registered);
    // The counter begins anew with the radio.
    let mut modem = modem_in("rejects=17,times=5", &[]);
    assert_eq!(told(&mut modem, "AT+CEREG=3;+CEREG?"), searching);
    for _ in 0..4 {
        assert_eq!(after(&mut modem, 10).await, "");
    }
    let restarted = told(&mut modem, "AT+CFUN=4;+CFUN=1");
    assert_eq!(restarted, format!("+CEREG: 0; {registered}"));
}

#[test]
fn a_refused_profile_is_tried_again_when_the_radio_restarts() {
    for (words, answers) in [
        ("rejects=8", [3, 3, 3]),
        ("rejects=8,times=2", [3, 3, 1]),
        ("rejects=8,until-restart", [3, 1, 1]),
        ("rejects=17,until-restart", [2, 1, 1]),
    ] {
        let mut modem = modem_in(words, &[]);
        for stat in answers {
            for line in ["AT+CEREG?", "AT+COPS=2;+COPS=0;+CEREG?"] {
                let state = format!("+CEREG: 0,{stat}");
                assert_eq!(told(&mut modem, line), state, "{words}");
            }
            told(&mut modem, "AT+CFUN=4;+CFUN=1");
        }
        // Another network is another matter.
        modem.control().set_network(None, network("registers"));
        assert_eq!(told(&mut modem, "AT+CEREG?"), "+CEREG: 0,1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_let_in_some_time_after_its_installation_was_reported() {
    let mut modem = modem_in("provisioned-after=2m,rejects=17", &[]);
    assert_eq!(told(&mut modem, "AT+CEREG=1;+CEREG?"), "+CEREG: 1,2");
    assert_eq!(after(&mut modem, 300).await, "");
    modem.control().provisioned("8901000000000000027");
    modem.control().provisioned(ICCID);
    let again = "AT+CFUN=4;+CFUN=1;+CEREG?";
    assert!(told(&mut modem, again).ends_with("+CEREG: 1,2"));
    tokio::time::advance(SECOND * 119).await;
    assert!(told(&mut modem, again).ends_with("+CEREG: 1,2"));
    // It asks again by itself.
    assert_eq!(after(&mut modem, 10).await, "+CEREG: 1");
    // With a final cause, which is the usual one, it does not.
    let mut modem = modem_in("provisioned-after=2m", &[]);
    assert_eq!(told(&mut modem, "AT+CEREG=1;+CEREG?"), "+CEREG: 1,3");
    modem.control().provisioned(ICCID);
    assert_eq!(after(&mut modem, 1000).await, "");
    assert!(told(&mut modem, again).ends_with("+CEREG: 1,1"));
}

#[tokio::test(start_paused = true)]
async fn service_is_lost_and_comes_back() {
    let mut modem = modem_in("loses-after=10m,lost-for=5m", &[]);
    let mut data = modem.control().data();
    assert_eq!(told(&mut modem, "AT+CEREG=1;+CEREG?"), "+CEREG: 1,1");
    assert_eq!(*data.borrow_and_update(), Data::Up);
    for _ in 0..3 {
        assert_eq!(after(&mut modem, 599).await, "");
        assert_eq!(after(&mut modem, 1).await, "+CEREG: 2");
        assert_eq!(*data.borrow_and_update(), Data::Down);
        // A restart of the radio does not bring it back.
        assert_eq!(
            told(&mut modem, "AT+CFUN=4;+CFUN=1"),
            "+CEREG: 0; +CEREG: 2"
        );
        assert_eq!(after(&mut modem, 299).await, "");
        assert_eq!(after(&mut modem, 1).await, "+CEREG: 1");
        assert_eq!(*data.borrow_and_update(), Data::Up);
    }
    let mut modem = modem_in("loses-after=10m", &[]);
    told(&mut modem, "AT+CEREG=1");
    assert_eq!(after(&mut modem, 600).await, "+CEREG: 2");
    assert_eq!(after(&mut modem, 80_000).await, "");
    modem.control().set_network(None, network("registers"));
    assert_eq!(told(&mut modem, ""), "+CEREG: 1");
}

#[tokio::test(start_paused = true)]
async fn only_what_disturbs_a_search_begins_it_anew() {
    let mut modem = modem_in("registers-after=9m", &[]);
    told(&mut modem, "AT+CEREG=1");
    assert_eq!(after(&mut modem, 500).await, "");
    // What is as it was before disturbs nothing, and neither do the networks of others.
    modem
        .control()
        .set_network(Some("8901000000000000027"), network("never"));
    assert_eq!(told(&mut modem, "AT+CFUN=1;+COPS=0;+CEREG?"), "+CEREG: 1,2");
    assert_eq!(after(&mut modem, 40).await, "+CEREG: 1");
    told(&mut modem, "AT+CFUN=4;+CFUN=1");
    assert_eq!(after(&mut modem, 500).await, "");
    told(&mut modem, "AT+CFUN=4;+CFUN=1");
    assert_eq!(after(&mut modem, 500).await, "");
    assert_eq!(after(&mut modem, 40).await, "+CEREG: 1");
}

#[test]
fn a_network_wants_its_own_apn() {
    let asks = "AT+CEREG=3;+CEREG?;+CEER;+CGACT?;+CGATT?";
    let refused = |esm: u8| {
        format!("+CEREG: 3,2,,,,0,19; +CEER: EMM cause 19, ESM cause {esm}; +CGACT: 1,0; +CGATT: 0")
    };
    let registered = "+CEREG: 3,1,\"0001\",\"00000101\",7";
    let all_well =
        format!("{registered}; +CEER: No cause information available; +CGACT: 1,1; +CGATT: 1");
    let define = |apn: &str| format!("AT+CFUN=4;+CGDCONT=1,\"IP\",\"{apn}\";+CFUN=1");
    let mut modem = modem_in("apn=iot.example", &[]);
    assert_eq!(told(&mut modem, asks), refused(27));
    told(&mut modem, &define("internet"));
    assert_eq!(told(&mut modem, asks), refused(33));
    told(&mut modem, &define("IoT.example"));
    assert_eq!(told(&mut modem, asks), all_well);
    // Where that is not looked at before a context is wanted, the modem is registered.
    for words in ["apn=iot.example,no-address", "no-address"] {
        let mut modem = modem_in(words, &[]);
        told(&mut modem, &define("internet"));
        let esm = if words == "no-address" { 38 } else { 33 };
        let no_address = format!("{registered}; +CEER: ESM cause {esm}; +CGACT: 1,0; +CGATT: 1");
        assert_eq!(told(&mut modem, asks), no_address);
        let error = if esm == 33 { 133 } else { 148 };
        let refused = format!("+CME ERROR: {error}");
        assert_eq!(told(&mut modem, "AT+CGACT=1,1"), refused);
        told(&mut modem, &define("iot.example"));
        assert_eq!(told(&mut modem, asks) == all_well, esm == 33);
    }
}

#[test]
fn the_modem_tells_who_has_ended_a_context() {
    let mut modem = modem_in("registers", &[]);
    for (line, words, events) in [
        ("AT+CGEREP=2,1;+CGEREP?", "registers", "+CGEREP: 2,0"),
        ("", "no-address", "+CGEV: NW PDN DEACT 1"),
        ("", "registers", "+CGEV: ME PDN ACT 1"),
        ("", "rejects=8", "+CGEV: NW DETACH"),
        ("", "registers", "+CGEV: ME PDN ACT 1"),
        ("", "never", "+CGEV: ME PDN DEACT 1"),
        ("", "registers", "+CGEV: ME PDN ACT 1"),
        ("AT+CGACT=0,1", "registers", "+CGEV: ME PDN DEACT 1"),
        ("AT+CGACT=1,1", "registers", "+CGEV: ME PDN ACT 1"),
        ("AT+CFUN=4", "registers", "+CGEV: ME DETACH"),
        ("AT+CFUN=1", "registers", "+CGEV: ME PDN ACT 1"),
        ("AT+CGATT=0", "registers", "+CGEV: ME DETACH"),
        ("AT+CREG?;+CEREG?", "registers", "+CREG: 0,1; +CEREG: 0,0"),
        ("AT+CGATT=1", "registers", "+CGEV: ME PDN ACT 1"),
        ("AT+CGEREP=0;+CFUN=4;+CFUN=1", "registers", ""),
    ] {
        if line.is_empty() {
            modem.control().set_network(None, network(words));
        }
        let said = told(&mut modem, line);
        assert_eq!(said.trim_end_matches("OK"), events, "{line} {words}");
    }
}

#[test]
fn a_context_that_is_up_has_addresses() {
    let mut modem = modem_in("registers", &[]);
    let long = "32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.1";
    for (line, lines) in [
        (
            "AT+CGDCONT=2,\"IP\",\"internet\";+CGPADDR",
            format!("+CGPADDR: 1,\"10.64.0.1\",\"{long}\"; +CGPADDR: 2"),
        ),
        ("AT+CGCONTRDP=2", "+CME ERROR: 50".to_owned()),
        (
            "AT+CGACT=1,2;+CGPADDR=2;+CGCONTRDP=2",
            "+CGPADDR: 2,\"10.64.0.2\"; \
             +CGCONTRDP: 2,6,\"internet\",\"10.64.0.2.255.255.255.0\""
                .to_owned(),
        ),
        ("AT+CFUN=4;+CGPADDR=1;+CGCONTRDP", "+CGPADDR: 1".to_owned()),
        ("AT+CGPADDR=17", "+CME ERROR: 50".to_owned()),
    ] {
        assert_eq!(told(&mut modem, line), lines, "{line}");
    }
}

#[test]
fn packets_get_through_while_a_context_is_up() {
    let mut modem = modem_in("registers", &[]);
    let mut data = modem.control().data();
    assert_eq!(*data.borrow(), Data::Down);
    for (line, words, expected) in [
        ("AT", "registers", Data::Up),
        ("AT+CGACT=0,1", "registers", Data::Down),
        ("AT+CGACT=1,1", "registers", Data::Up),
        ("AT+CFUN=4", "registers", Data::Down),
        ("AT+CFUN=1", "registers", Data::Up),
        ("AT", "no-packets", Data::Stuck),
        ("AT", "never", Data::Down),
    ] {
        modem.control().set_network(None, network(words));
        talk(&mut modem, "");
        told(&mut modem, line);
        assert_eq!(*data.borrow_and_update(), expected, "{line} {words}");
    }
}

#[test]
fn a_carrier_setting_holds_from_the_next_restart_on() {
    let mut modem = modem_in("carrier=Other", &["restart-stays"]);
    for (line, expected) in [
        ("AT+CEREG?", "+CEREG: 0,2"),
        (
            "AT+QMBNCFG=\"Select\"",
            "+QMBNCFG: \"Select\",\"ROW_Generic_3GPP\"",
        ),
        ("AT+QMBNCFG=\"Select\",\"Other\"", "OK"),
        ("AT+CFUN=4;+CFUN=1;+CEREG?", "+CEREG: 0,2"),
        ("AT+QMBNCFG=\"List\"", "ERROR"),
    ] {
        assert_eq!(told(&mut modem, line), expected);
    }
    talk(&mut modem, "AT+CFUN=1,1\rATE0\r");
    assert_eq!(told(&mut modem, "AT+CEREG?"), "+CEREG: 0,1");
    // Networks that care for none work with any.
    modem.control().set_network(None, network("registers"));
    assert_eq!(told(&mut modem, "AT+CEREG?"), "+CEREG: 0,1");
}
