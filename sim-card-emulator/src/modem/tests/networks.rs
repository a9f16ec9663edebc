//! The network, and what the modem tells of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_profile_decides_when_the_modem_is_registered() {
    let modem = quirky(&[]);
    let control = modem.control();
    control.set_network(Some(ICCID), "registers-after=5s".parse().unwrap());
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
    for (network, circuit, packet) in [
        ("registers", 1, 1),
        ("without-data", 1, 3),
        ("never", 2, 2),
        ("rejects-sim", 3, 3),
    ] {
        // By ICCID, by IMSI, and for every other profile.
        for named in [Some(ICCID), Some("001010123456789"), None] {
            let mut modem = quirky(&[]);
            let control = modem.control();
            control.set_network(Some("8901000000000000027"), Network::Never);
            control.set_network(named, network.parse().unwrap());
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
            assert_eq!(operator == unregistered, circuit != 1, "{network}");
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
            ("AT+CREG=3", "\r\n+CME ERROR: 50\r\n"),
        ],
    );
    modem.control().set_network(None, Network::RejectsSim);
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
            ("AT+CGDCONT=1", "\r\nOK\r\n"),
            ("AT+CGDCONT?", "\r\nOK\r\n"),
        ],
    );
}

#[test]
fn a_network_is_read_from_words() {
    let after = Duration::from_millis(1500);
    for (text, network) in [
        ("registers-after=1.5s", Network::Registers { after }),
        ("without-data-after=1500ms", Network::WithoutData { after }),
        ("registers", Network::default()),
    ] {
        assert_eq!(text.parse(), Ok(network));
    }
    for text in [
        "",
        "registers=1",
        "registers-after",
        "never=1s",
        "registers-after=x",
    ] {
        let error = text.parse::<Network>().unwrap_err().to_string();
        assert!(error.contains("rejects-sim"), "{error}");
    }
}
