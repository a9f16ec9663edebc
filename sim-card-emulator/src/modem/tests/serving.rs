//! A served modem: what is injected, held up and hung up, and bytes that take their time.

use super::*;

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
            Cause::Device(ResultCode::Error.refusal(&[])),
        ),
        (
            Effect::Error {
                cme: Some(14),
                executed,
            },
            Cause::Device(ResultCode::Cme(Cme::SIM_BUSY).refusal(&[14])),
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
    assert_eq!(
        ended,
        Ended::HungUp {
            absent: Duration::ZERO
        }
    );
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
    control.urc("+CEREG: 5");
    assert!(timeout(SECOND, port.idle()).await.is_err());
    assert_eq!(port.statistics().urcs, 1);
    control.urc("+CEREG: 1");
    let mut line = [0; 13];
    let mut stream = port.into_inner();
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"\r\n+CEREG: 1\r\n");
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

/// A modem on a UART, and the client's end of it.
fn uart(rate: u32) -> (ModemControl, DuplexStream) {
    let (client, stream) = duplex(4096);
    let mut modem = quirky(&[]);
    let control = modem.control();
    tokio::spawn(async move { serve(&mut modem, stream, Some(rate)).await });
    (control, client)
}

/// Sends a line that must be answered so, and tells how long that took.
async fn exchange(client: &mut DuplexStream, line: &str, answer: &str) -> Duration {
    let begin = Instant::now();
    client.write_all(line.as_bytes()).await.unwrap();
    let mut bytes = vec![0; answer.len()];
    let read = timeout(SECOND, client.read_exact(&mut bytes)).await;
    read.expect("it is answered").unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), answer, "{line}");
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_rate_changes_after_the_answer() {
    let (_, mut client) = uart(9600);
    let per_byte = SECOND * 10 / 9600;
    let time = exchange(&mut client, "AT+IPR=115200\r", DONE).await;
    let least = per_byte * 20;
    assert!(time >= least && time < least + SECOND / 200, "{time:?}");
    let answer = "\r\n+IPR: 115200\r\n\r\nOK\r\n";
    let time = exchange(&mut client, "AT+IPR?\r", answer).await;
    assert!(time < per_byte * 5, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn between_two_rates_bytes_are_garbled() {
    let (control, mut client) = uart(115_200);
    for rate in [115_200, 9600] {
        control.set_client_rate(Some(rate + 1));
        client.write_all(b"AT\r").await.unwrap();
        let silence = timeout(SECOND, client.read_u8()).await;
        silence.unwrap_err();
        control.set_client_rate(Some(rate));
        // What came through before is still in the line.
        exchange(&mut client, "\r", BARE_ERROR).await;
        exchange(&mut client, "AT\r", DONE).await;
        exchange(&mut client, "AT+IPR=9600\r", DONE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_port_without_a_rate_the_rate_is_a_number() {
    let (mut client, stream) = duplex(4096);
    let mut modem = quirky(&[]);
    modem.control().set_client_rate(Some(9600));
    tokio::spawn(async move { serve(&mut modem, stream, None).await });
    let time = exchange(&mut client, "AT+IPR=38400\r", DONE).await;
    assert_eq!(time, Duration::ZERO);
    let answer = "\r\n+IPR: 38400\r\n\r\nOK\r\n";
    exchange(&mut client, "AT+IPR?\r", answer).await;
}

#[tokio::test(start_paused = true)]
async fn a_port_can_be_taken_away_for_a_while_by_hand() {
    let modem = modem();
    let control = modem.control();
    let (mut port, served) = port(modem).await;
    let absent = SECOND * 7;
    control.hang_up_for(absent);
    assert_eq!(port.idle().await, Cause::Closed);
    assert_eq!(served.await.unwrap().1, Ended::HungUp { absent });
}
