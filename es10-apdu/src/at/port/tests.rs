use std::task::Context;

use tokio::io::{DuplexStream, duplex};
use tokio::time::timeout;
use tokio_test::io::Builder;

use super::super::Cme;
use super::*;
use crate::transport::{DeviceRefusal, DeviceRefusalKind, Outcome};

const SECOND: Duration = Duration::from_secs(1);
const CSIM: &str = "AT+CSIM=10,\"0070000001\"";

fn pair() -> (AtPort<DuplexStream>, DuplexStream) {
    let (ours, modem) = duplex(4096);
    (AtPort::new(ours), modem)
}

/// Reads what was sent, up to its CR.
async fn sent(modem: &mut DuplexStream) -> String {
    let mut line = Vec::new();
    loop {
        match modem.read_u8().await.unwrap() {
            b'\r' => return String::from_utf8(line).unwrap(),
            byte => line.push(byte),
        }
    }
}

async fn say(modem: &mut DuplexStream, text: &str) {
    modem.write_all(text.as_bytes()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn start_up_silences_the_echo_and_survives_stale_input_and_refusals() {
    let stream = Builder::new()
        .read(b"\0\r\n+ESIMS: 1,29\r\nOK\r\n")
        .wait(Duration::from_millis(300))
        .write(b"\r")
        .wait(Duration::from_millis(200))
        .write(b"ATQ0\r")
        .read(b"ATQ0\r\r\nOK\r\n")
        .wait(Duration::from_millis(200))
        .write(b"ATE0\r")
        .read(b"ATE0\r\r\nOK\r\n")
        .write(b"ATV1\r")
        .read(b"0\r")
        .write(b"AT+CMEE=1\r")
        .read(b"\r\nERROR\r\n")
        .build();
    let mut port = AtPort::new(stream);
    port.init(&ModemProfile::default()).await.unwrap();
    assert_eq!(port.statistics().commands, 4);
}

#[tokio::test(start_paused = true)]
async fn start_up_gives_a_mute_port_up() {
    let (mut port, _modem) = pair();
    let error = port.init(&ModemProfile::default()).await.unwrap_err();
    let after = ModemProfile::default().command;
    assert_eq!(error.fault, Fault::Timeout { after });
}

#[tokio::test(start_paused = true)]
async fn start_up_gets_a_modem_in_quiet_mode_to_talk() {
    let (mut port, mut modem) = pair();
    let modem = tokio::spawn(async move {
        let mut quiet = true;
        loop {
            match sent(&mut modem).await.as_str() {
                "" => {}
                "AT+CMEE=1" => break say(&mut modem, "OK\r\n").await,
                command => {
                    quiet &= command != "ATQ0";
                    let answer = if quiet { "" } else { "OK\r\n" };
                    say(&mut modem, answer).await;
                }
            }
        }
    });
    port.init(&ModemProfile::default()).await.unwrap();
    modem.await.unwrap();
}

#[tokio::test]
async fn an_answer_in_pieces_with_unsolicited_codes_between_is_put_together() {
    let stream = Builder::new()
        .write(b"AT+CSIM=10,\"0070000001\"\r")
        .read(b"AT+CSIM=10,\"00700")
        .read(b"00001\"\r\r\n+CEREG: 5\r")
        .read(b"\n+CSIM: 6,\"0190")
        .read(b"00\"\r\n+CUSD: 0,\"OK\"\r\n\r\nO")
        .read(b"K\r\n")
        .build();
    let mut port = AtPort::new(stream);
    let lines = port.command(CSIM, SECOND).await.unwrap();
    assert_eq!(lines, ["+CSIM: 6,\"019000\""]);
    assert_eq!(port.statistics().urcs, 2);
    assert_eq!(port.statistics().bytes_out, 24);
}

#[tokio::test]
async fn errors_end_a_command_and_leave_its_outcome_unknown() {
    use DeviceRefusalKind::{Busy, CardFailed, Other};

    for (answer, kind, result) in [
        ("\r\nERROR\r\n", Other, ResultCode::Error),
        (
            "\r\n+CME ERROR: 13\r\n",
            CardFailed,
            ResultCode::Cme(Cme::SIM_FAILURE),
        ),
        (
            "\r\n+CME ERROR: SIM busy\r\n",
            Busy,
            ResultCode::Cme(Cme::SIM_BUSY),
        ),
    ] {
        let (mut port, mut modem) = pair();
        say(&mut modem, "\r\n").await;
        let answering = async {
            sent(&mut modem).await;
            say(&mut modem, answer).await;
        };
        let (result_of_command, ()) = tokio::join!(port.command(CSIM, SECOND), answering);
        let error = result_of_command.unwrap_err();
        let refusal = DeviceRefusal::new(kind, &result);
        assert_eq!(error.fault, Fault::Device(refusal));
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_not_taken_for_that_of_the_next_command() {
    let (mut port, mut modem) = pair();
    let error = port.command(CSIM, SECOND).await.unwrap_err();
    assert_eq!(error.fault, Fault::Timeout { after: SECOND });
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(sent(&mut modem).await, CSIM);
    let late = async {
        tokio::time::sleep(SECOND / 2).await;
        say(&mut modem, "+CSIM: 6,\"019000\"\r\nOK\r\n").await;
        assert_eq!(sent(&mut modem).await, "AT+CSIM=4,\"AAAA\"");
        say(&mut modem, "+CSIM: 4,\"6A82\"\r\nOK\r\n").await;
    };
    let next = port.command("AT+CSIM=4,\"AAAA\"", SECOND);
    let (lines, ()) = tokio::join!(next, late);
    assert_eq!(lines.unwrap(), ["+CSIM: 4,\"6A82\""]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_later_than_every_wait_is_caught_by_the_probe() {
    let (mut port, mut modem) = pair();
    port.command(CSIM, SECOND).await.unwrap_err();
    sent(&mut modem).await;
    let late = async {
        assert_eq!(sent(&mut modem).await, "AT");
        say(&mut modem, "OK\r\n+CSIM: 6,\"019000\"\r\nOK\r\n").await;
        assert_eq!(sent(&mut modem).await, "AT");
        say(&mut modem, "OK\r\n").await;
        assert_eq!(sent(&mut modem).await, "AT+CPIN?");
        say(&mut modem, "+CPIN: READY\r\nOK\r\n").await;
    };
    let (value, ()) = tokio::join!(port.query("AT+CPIN?", SECOND), late);
    assert_eq!(value.unwrap().as_deref(), Some("READY"));
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_stays_mute_is_not_sent_anything_new() {
    let (mut port, mut modem) = pair();
    port.command(CSIM, SECOND).await.unwrap_err();
    let error = port.command(CSIM, SECOND).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotReached);
    sent(&mut modem).await;
    for _ in 0..PROBES {
        assert_eq!(sent(&mut modem).await, "AT");
    }
    let nothing = timeout(SECOND, modem.read_u8()).await;
    assert!(nothing.is_err(), "the mute modem was sent more");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_command_leaves_the_port_dirty_and_usable() {
    let (mut port, mut modem) = pair();
    let dropped = timeout(SECOND, port.command(CSIM, 10 * SECOND)).await;
    assert!(dropped.is_err());
    sent(&mut modem).await;
    let answering = async {
        say(&mut modem, "+CSIM: 6,\"019000\"\r\nOK\r\n").await;
        assert_eq!(sent(&mut modem).await, "ATI");
        say(&mut modem, "EC25\r\nOK\r\n").await;
    };
    let (lines, ()) = tokio::join!(port.command("ATI", SECOND), answering);
    assert_eq!(lines.unwrap(), ["EC25"]);
}

#[tokio::test(start_paused = true)]
async fn a_half_written_command_is_ended_before_the_next_one() {
    let (ours, mut modem) = duplex(8);
    let mut port = AtPort::new(ours);
    let error = port.command(CSIM, SECOND).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    let answering = async {
        let half = sent(&mut modem).await;
        assert!(CSIM.starts_with(&half) && half.len() < CSIM.len(), "{half}");
        say(&mut modem, "ERROR\r\n").await;
        assert_eq!(sent(&mut modem).await, "AT");
        say(&mut modem, "OK\r\n").await;
    };
    let (lines, ()) = tokio::join!(port.command("AT", SECOND), answering);
    assert_eq!(lines.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unsolicited_codes_does_not_hold_off_the_deadline() {
    let (mut port, mut modem) = pair();
    let flood = async {
        loop {
            say(&mut modem, "+CREG: 1\r\n").await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        result = port.command(CSIM, SECOND) => {
            assert_eq!(result.unwrap_err().fault, Fault::Timeout { after: SECOND });
        }
        () = flood => {}
    }
}

#[tokio::test]
async fn a_hung_up_port_is_closed_for_good() {
    let (mut port, modem) = pair();
    drop(modem);
    let error = port.command(CSIM, SECOND).await.unwrap_err();
    assert_eq!(error.fault, Fault::Closed);
    assert_eq!(error.outcome(), Outcome::NotReached);
    assert!(port.is_closed());
    assert_eq!(port.idle().await, Fault::Closed);
}

#[tokio::test]
async fn a_port_that_hangs_up_in_the_middle_leaves_the_outcome_unknown() {
    let (mut port, mut modem) = pair();
    let hang_up = async {
        sent(&mut modem).await;
        drop(modem);
    };
    let (result, ()) = tokio::join!(port.command(CSIM, SECOND), hang_up);
    let error = result.unwrap_err();
    assert_eq!(error, TransportError::unanswered(Fault::Closed));
}

#[tokio::test]
async fn an_error_of_the_device_means_that_it_is_gone() {
    let eio = io::Error::from_raw_os_error(5);
    let stream = Builder::new().read_error(eio).build();
    assert_eq!(AtPort::new(stream).idle().await, Fault::Closed);
}

#[tokio::test]
async fn an_idle_port_counts_unsolicited_codes() {
    let (mut port, mut modem) = pair();
    say(&mut modem, "\r\n+QUSIM: 1\r\n").await;
    drop(modem);
    assert_eq!(port.idle().await, Fault::Closed);
    assert_eq!(port.statistics().urcs, 1);
}

#[tokio::test(start_paused = true)]
async fn an_endless_answer_is_cut_off() {
    let (mut port, mut modem) = pair();
    let talking = async {
        loop {
            say(&mut modem, "blah blah blah blah\r\n").await;
        }
    };
    tokio::select! {
        result = port.command("ATI", SECOND) => {
            let limit = ANSWER_LIMIT;
            assert_eq!(result.unwrap_err().fault, Garbled::TooLong { limit }.into());
        }
        () = talking => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_on_a_clean_port_waits_for_no_timer() {
    let (mut port, mut modem) = pair();
    say(&mut modem, "\r\n+CREG: 1\r\n").await;
    let begin = Instant::now();
    let answering = async {
        sent(&mut modem).await;
        say(&mut modem, "EC25\r\nOK\r\n").await;
    };
    let (lines, ()) = tokio::join!(port.command("ATI", SECOND), answering);
    assert_eq!(lines.unwrap(), ["EC25"]);
    assert_eq!(port.statistics().urcs, 1);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

/// A stream that keeps each piece that is written on its own.
struct Pieces {
    stream: DuplexStream,
    written: Vec<usize>,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.push(octets.len());
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_command_goes_out_in_one_write() {
    let (stream, mut modem) = duplex(4096);
    let written = Vec::new();
    let mut port = AtPort::new(Pieces { stream, written });
    let answering = async {
        sent(&mut modem).await;
        say(&mut modem, "+CSIM: 6,\"019000\"\r\nOK\r\n").await;
    };
    let (lines, ()) = tokio::join!(port.command(CSIM, SECOND), answering);
    lines.unwrap();
    assert_eq!(port.into_inner().written, [CSIM.len() + 1]);
}

#[tokio::test(start_paused = true)]
async fn a_command_dropped_while_it_is_written_is_ended_before_the_next_one() {
    let (ours, mut modem) = duplex(8);
    let mut port = AtPort::new(ours);
    let dropped = timeout(SECOND, port.command(CSIM, 10 * SECOND)).await;
    assert!(dropped.is_err());
    let answering = async {
        assert_eq!(sent(&mut modem).await, CSIM[..8]);
        say(&mut modem, "ERROR\r\n").await;
        assert_eq!(sent(&mut modem).await, "AT");
        say(&mut modem, "OK\r\n").await;
    };
    let (lines, ()) = tokio::join!(port.command("AT", SECOND), answering);
    assert_eq!(lines.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_command_dropped_before_anything_was_written_leaves_the_port_clean() {
    let (ours, mut modem) = duplex(8);
    let mut port = AtPort::new(ours);
    // Fills the pipe.
    port.stream.write_all(b"AT+CREG\r").await.unwrap();
    let dropped = timeout(SECOND, port.command("AT", 10 * SECOND)).await;
    assert!(dropped.is_err());
    assert_eq!(sent(&mut modem).await, "AT+CREG");
    let begin = Instant::now();
    let answering = async {
        assert_eq!(sent(&mut modem).await, "ATI");
        say(&mut modem, "OK\r\n").await;
    };
    let (lines, ()) = tokio::join!(port.command("ATI", SECOND), answering);
    lines.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_late_end_that_came_meanwhile_is_not_waited_for() {
    for idles in [false, true] {
        let (mut port, mut modem) = pair();
        port.command(CSIM, SECOND).await.unwrap_err();
        assert_eq!(sent(&mut modem).await, CSIM);
        say(&mut modem, "+CSIM: 6,\"019000\"\r\nOK\r\n").await;
        if idles {
            assert!(timeout(SECOND, port.idle()).await.is_err());
        }
        let begin = Instant::now();
        let answering = async {
            assert_eq!(sent(&mut modem).await, "ATI");
            say(&mut modem, "EC25\r\nOK\r\n").await;
        };
        let (lines, ()) = tokio::join!(port.command("ATI", SECOND), answering);
        assert_eq!(lines.unwrap(), ["EC25"]);
        assert_eq!(begin.elapsed(), Duration::ZERO, "idles: {idles}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_answer_the_next_command_goes_out_within_seconds() {
    let (mut port, mut modem) = pair();
    port.command(CSIM, 130 * SECOND).await.unwrap_err();
    assert_eq!(sent(&mut modem).await, CSIM);
    let begin = Instant::now();
    let answering = async {
        for (command, answer) in [("AT", "OK\r\n"), ("ATI", "EC25\r\nOK\r\n")] {
            assert_eq!(sent(&mut modem).await, command);
            say(&mut modem, answer).await;
        }
    };
    let (lines, ()) = tokio::join!(port.command("ATI", 30 * SECOND), answering);
    assert_eq!(lines.unwrap(), ["EC25"]);
    assert!(begin.elapsed() <= LATE + SECOND, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_mute_modem_costs_a_command_no_more_than_its_own_deadline() {
    let (mut port, _modem) = pair();
    port.command(CSIM, 130 * SECOND).await.unwrap_err();
    for deadline in [30, 10, 1] {
        let begin = Instant::now();
        let error = port.command("ATI", deadline * SECOND).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotReached);
        assert!(begin.elapsed() <= deadline * SECOND, "{deadline}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_late_answers_of_probes_are_not_taken_for_that_of_the_next_command() {
    let (mut port, mut modem) = pair();
    port.command(CSIM, SECOND).await.unwrap_err();
    port.command("ATI", 10 * SECOND).await.unwrap_err();
    assert_eq!(sent(&mut modem).await, CSIM);
    say(&mut modem, "+CSIM: 6,\"019000\"\r\nOK\r\n").await;
    let late = async {
        let mut probes = 0;
        while sent(&mut modem).await == "AT" {
            probes += 1;
            tokio::time::sleep(SECOND / 20).await;
            say(&mut modem, "OK\r\n").await;
        }
        assert!(probes > PROBES, "{probes}");
        say(&mut modem, "+CPIN: READY\r\nOK\r\n").await;
    };
    let (value, ()) = tokio::join!(port.query("AT+CPIN?", 5 * SECOND), late);
    assert_eq!(value.unwrap().as_deref(), Some("READY"));
}
