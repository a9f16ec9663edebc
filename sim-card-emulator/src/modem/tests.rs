//! The modem as a client sees it.

use std::time::Duration;

use es10_apdu::apdu::Command;
use es10_apdu::at::{AtPort, Cme, Csim, Deadlines, FinalResult};
use es10_apdu::transport::{Fault as Cause, Garbled, Transport, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Answers every command with what it got after the header, and `9000`.
#[derive(Debug, Default)]
struct Mirror {
    resets: u32,
    refresh: bool,
    iccid: Option<String>,
    left: Vec<u8>,
}

impl Card for Mirror {
    fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        match command[1] {
            // An unfinished response of two bytes in two pieces.
            0x01 => {
                self.left = vec![0xBB];
                vec![0xAA, 0x61, 0x01]
            }
            0xC0 => [&std::mem::take(&mut self.left)[..], &[0x90, 0x00]].concat(),
            0x02 => {
                self.refresh = true;
                vec![0x91, 0x0B]
            }
            // No power.
            0x03 => Vec::new(),
            _ => [&command[4..], &[0x90, 0x00]].concat(),
        }
    }

    fn reset(&mut self) {
        self.resets += 1;
    }

    fn refresh_pending(&mut self) -> bool {
        std::mem::take(&mut self.refresh)
    }

    fn enabled_iccid(&self) -> Option<String> {
        self.iccid.clone()
    }
}

fn modem() -> Modem<Mirror> {
    Modem::new(Mirror::default(), Identity::default())
}

/// What a modem says to `input`, without a stream.
fn talk(modem: &mut Modem<Mirror>, input: &str) -> String {
    modem.push(input.as_bytes());
    let mut output = Vec::new();
    while let Some(action) = modem.next_action() {
        if let Action::Write(bytes) = action {
            output.extend(bytes);
        }
    }
    String::from_utf8(output).unwrap()
}

type Served = JoinHandle<(Modem<Mirror>, Ended)>;

/// A port on a served modem that has been started up.
async fn port(mut modem: Modem<Mirror>) -> (AtPort<DuplexStream>, Served) {
    let (client, stream) = duplex(4096);
    let served = tokio::spawn(async move {
        let ended = serve(&mut modem, stream, None).await.unwrap();
        (modem, ended)
    });
    let mut port = AtPort::new(client);
    port.init(&Deadlines::default()).await.unwrap();
    (port, served)
}

fn command(ins: u8) -> Command {
    Command {
        le: Some(0x77),
        ..Command::new(0x80, ins, 0x00, 0x00)
    }
}

async fn transmit(port: &mut AtPort<DuplexStream>, ins: u8) -> Result<Vec<u8>, TransportError> {
    let mut csim = Csim::new(port);
    let response = csim.transmit(&command(ins), SECOND).await?;
    Ok(response.to_bytes())
}

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
    talk(&mut modem, "ATE0\r");
    modem.card().iccid = Some("8901000000000000019".to_owned());
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
fn a_refresh_resets_the_card_after_the_answer() {
    let mut modem = modem();
    talk(&mut modem, "ATE0\r");
    let answer = "\r\n+CSIM: 4,\"910B\"\r\n\r\nOK\r\n";
    let input = "AT+CSIM=8,\"80020000\"\r";
    modem
        .control()
        .set_quirks(|quirks| quirks.ignores_refresh = true);
    assert_eq!(talk(&mut modem, input), answer);
    assert_eq!(modem.card().resets, 0);
    modem
        .control()
        .set_quirks(|quirks| quirks.ignores_refresh = false);
    assert_eq!(
        talk(&mut modem, input),
        format!("{answer}\r\n+QUSIM: 1\r\n")
    );
    assert_eq!(modem.card().resets, 1);
}

#[test]
fn a_modem_may_fetch_the_rest_of_a_response_by_itself() {
    let mut modem = modem();
    talk(&mut modem, "ATE0\r");
    let input = "AT+CSIM=8,\"80010000\"\r";
    assert_eq!(
        talk(&mut modem, input),
        "\r\n+CSIM: 6,\"AA6101\"\r\n\r\nOK\r\n"
    );
    modem
        .control()
        .set_quirks(|quirks| quirks.get_response = true);
    assert_eq!(
        talk(&mut modem, input),
        "\r\n+CSIM: 8,\"AABB9000\"\r\n\r\nOK\r\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_copes_with_every_named_quirk() {
    for name in Quirks::NAMES.into_iter().filter(|name| *name != "mute") {
        let modem = modem();
        modem
            .control()
            .set_quirks(|quirks| quirks.add(name).unwrap());
        let (mut port, _served) = port(modem).await;
        let answer = transmit(&mut port, 0x70).await;
        assert_eq!(answer.as_deref(), Ok(&[0x77, 0x90, 0x00][..]), "{name}");
    }
    let error = Quirks::default().add("no-such").unwrap_err();
    assert!(error.to_string().contains("echo-stuck"));
}

#[tokio::test(start_paused = true)]
async fn a_fault_meets_the_apdu_it_is_meant_for_and_no_other() {
    let (modem, fault) = (modem(), |effect| Fault {
        pattern: Pattern {
            ins: Some(0x70),
            ..Pattern::ANY
        },
        nth: 2,
        effect,
    });
    let control = modem.control();
    let (mut port, _served) = port(modem).await;
    let executed = false;
    for (effect, expected) in [
        (
            Effect::Error {
                cme: None,
                executed,
            },
            Cause::Modem(FinalResult::Error),
        ),
        (
            Effect::Error {
                cme: Some(14),
                executed,
            },
            Cause::Modem(FinalResult::Cme(Cme::SIM_BUSY)),
        ),
        (
            Effect::Silence { executed },
            Cause::Timeout { after: SECOND },
        ),
        (
            Effect::Truncate,
            Garbled::Length {
                announced: 6,
                digits: 3,
            }
            .into(),
        ),
    ] {
        control.inject(fault(effect));
        transmit(&mut port, 0x70).await.unwrap();
        transmit(&mut port, 0x71).await.unwrap();
        let error = transmit(&mut port, 0x70).await.unwrap_err();
        assert_eq!(error, TransportError::unanswered(expected));
        transmit(&mut port, 0x70).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_modem_may_say_error_although_the_card_has_done_it() {
    let modem = modem();
    let control = modem.control();
    let (mut port, _served) = port(modem).await;
    for executed in [false, true] {
        let before = control.counters().borrow().apdus;
        control.inject(Fault::next(
            Pattern::ANY,
            Effect::Error {
                cme: None,
                executed,
            },
        ));
        transmit(&mut port, 0x70).await.unwrap_err();
        let after = control.counters().borrow().apdus;
        assert_eq!(after - before, u64::from(executed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_answer_comes_late_and_belongs_to_no_other_command() {
    let modem = modem();
    let control = modem.control();
    let (mut port, _served) = port(modem).await;
    let mut hold = control.hold(Pattern::ANY, 1, Moment::BeforeAnswer);
    let error = transmit(&mut port, 0x02).await.unwrap_err();
    assert_eq!(error.fault, Cause::Timeout { after: SECOND });
    hold.reached().await;
    let release = async {
        tokio::time::sleep(SECOND / 2).await;
        hold.release();
    };
    let (answer, ()) = tokio::join!(transmit(&mut port, 0x70), release);
    assert_eq!(answer.unwrap(), [0x77, 0x90, 0x00]);
}

#[tokio::test(start_paused = true)]
async fn a_modem_can_be_stopped_before_the_card_sees_the_command() {
    let modem = modem();
    let control = modem.control();
    let (mut port, served) = port(modem).await;
    let mut hold = control.hold(Pattern::ANY, 1, Moment::BeforeExecution);
    let stopped = async {
        hold.reached().await;
        assert_eq!(control.counters().borrow().apdus, 0);
        control.hang_up();
    };
    let (answer, ()) = tokio::join!(transmit(&mut port, 0x70), stopped);
    assert_eq!(answer.unwrap_err().fault, Cause::Closed);
    let (mut modem, ended) = served.await.unwrap();
    assert_eq!(ended, Ended::HungUp);
    assert_eq!(modem.card().resets, 1);
}

#[tokio::test(start_paused = true)]
async fn a_modem_may_hang_up_on_an_apdu_and_be_plugged_in_again() {
    let modem = modem();
    let control = modem.control();
    let (mut first, served) = port(modem).await;
    control.inject(Fault::next(Pattern::ANY, Effect::HangUp { executed: true }));
    let error = transmit(&mut first, 0x70).await.unwrap_err();
    assert_eq!(error, TransportError::unanswered(Cause::Closed));
    let (modem, _) = served.await.unwrap();
    let (mut second, _served) = port(modem).await;
    transmit(&mut second, 0x70).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn unsolicited_codes_come_at_any_time() {
    let modem = modem();
    let control = modem.control();
    let (mut port, _served) = port(modem).await;
    let mut urcs = port.urcs();
    control.urc("+CEREG: 5");
    tokio::select! {
        urc = urcs.recv() => assert_eq!(urc.unwrap(), "+CEREG: 5"),
        fault = port.idle() => panic!("{fault}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_ends_the_service() {
    let (port, served) = port(modem()).await;
    drop(port);
    assert_eq!(served.await.unwrap().1, Ended::ClientGone);
}

#[tokio::test(start_paused = true)]
async fn bytes_take_their_time_on_a_slow_line() {
    let (mut client, stream) = duplex(4096);
    let mut modem = modem();
    talk(&mut modem, "ATE0\r");
    tokio::spawn(async move { serve(&mut modem, stream, Some(9600)).await });
    let block = Command {
        data: vec![0; 255],
        ..Command::new(0x80, 0xE2, 0x11, 0x00)
    };
    let digits = hex::encode_upper(block.to_bytes());
    let line = format!("AT+CSIM={},\"{digits}\"\r", digits.len());
    let start = Instant::now();
    client.write_all(line.as_bytes()).await.unwrap();
    let mut answer = vec![0; 539];
    client.read_exact(&mut answer).await.unwrap();
    let bytes = u32::try_from(line.len() + answer.len()).unwrap();
    let least = SECOND * 10 / 9600 * bytes;
    let took = start.elapsed();
    assert!(
        took >= least && took < least + SECOND / 10,
        "{took:?} for {least:?}"
    );
}
