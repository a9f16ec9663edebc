//! The modem as a client sees it.

use std::time::Duration;

use es10_apdu::apdu::Command;
use es10_apdu::at::{AtPort, Cme, Csim, ModemProfile, ResultCode};
use es10_apdu::transport::{Fault as Cause, Garbled, Transport, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::*;

mod commands;
mod dialects;
mod files;
mod networks;
mod nonsense;
mod quirks_apdu;
mod quirks_card;
mod quirks_read;
mod quirks_restart;
mod quirks_session;
mod quirks_written;
mod real_card;
mod serving;
mod sessions;
mod terminal;

const SECOND: Duration = Duration::from_secs(1);
/// An APDU that the card answers with five octets, and how.
const STORE: &str = "AT+CSIM=14,\"80E2910002BF2E\"";
const STORED: &str = "\r\n+CSIM: 10,\"02BF2E9000\"\r\n\r\nOK\r\n";
/// `AT+CCHO` with the ISD-R, and how that is answered.
const OPEN: &str = "AT+CCHO=\"A0000005591010FFFFFFFF8900000100\"";
const OPENED: &str = "\r\n+CCHO: 1\r\n\r\nOK\r\n";
const DONE: &str = "\r\nOK\r\n";
const BARE_ERROR: &str = "\r\nERROR\r\n";
const ICCID: &str = "8901000000000000019";
/// An application of [`Mirror`].
const APPLICATION: &str = "A0000005591010FFFFFFFF8900000100";

/// Answers every proprietary command with what it got after the header, and `9000`; has logical
/// channels, one application, and the files of the profile that is enabled, if one is.
#[derive(Debug, Default)]
struct Mirror {
    resets: u32,
    channels: Vec<u8>,
    /// What a REFRESH asks for, when one waits.
    refresh: Option<u8>,
    /// The ICCID of the enabled profile; its IMSI is 001010123456789.
    iccid: Option<String>,
    /// The ICCID after the next REFRESH.
    next_iccid: Option<String>,
    file: u16,
    left: Vec<u8>,
    /// Commands of the client and of the modem itself, in digits.
    seen: Vec<String>,
    own: Vec<String>,
}

impl Mirror {
    fn with_profile() -> Self {
        Self {
            iccid: Some(ICCID.to_owned()),
            ..Self::default()
        }
    }

    fn execute(&mut self, command: &[u8]) -> Vec<u8> {
        match (command[0] & 0x80, command[1]) {
            (0x00, 0x70) if command[2] == 0 => {
                let channel = (1..).find(|free| !self.channels.contains(free)).unwrap();
                self.channels.push(channel);
                vec![channel, 0x90, 0x00]
            }
            (0x00, 0x70) => {
                self.channels.retain(|open| *open != command[3]);
                vec![0x90, 0x00]
            }
            (0x00, 0xA4) => self.select(command),
            (0x00, 0xB0) => self.read(),
            (0x00, 0xB2) if self.file == 0x2F00 && command[2] == 1 => {
                hex::decode("61094F07A0000000871002FFFFFF9000").unwrap()
            }
            (0x00, 0xB2) => vec![0x6A, 0x83],
            (0x80, 0x12) => match self.refresh.take() {
                Some(mode) => {
                    let head = hex::decode("D009810301010482028182").unwrap();
                    let mut refresh = head;
                    refresh[6] = mode;
                    if mode != 0x04 {
                        self.refreshed();
                    }
                    [refresh, vec![0x90, 0x00]].concat()
                }
                None => vec![0x6F, 0x00],
            },
            (0x80, 0x10 | 0x14 | 0xAA) => vec![0x90, 0x00],
            // An unfinished response of two bytes in two pieces.
            (_, 0x01) => {
                self.left = vec![0xBB];
                vec![0xAA, 0x61, 0x01]
            }
            (_, 0xC0) => [&std::mem::take(&mut self.left)[..], &[0x90, 0x00]].concat(),
            (_, 0x02) => {
                self.refresh = Some(command[2]);
                vec![0x91, 0x0B]
            }
            // No power.
            (_, 0x03) => Vec::new(),
            _ => [&command[4..], &[0x90, 0x00]].concat(),
        }
    }

    fn select(&mut self, command: &[u8]) -> Vec<u8> {
        let known = match command[2] {
            0x04 => {
                let aid = hex::encode_upper(&command[5..5 + usize::from(command[4])]);
                aid == APPLICATION || self.iccid.is_some() && aid.starts_with("A0000000871002")
            }
            _ => {
                self.file = u16::from_be_bytes([command[5], command[6]]);
                self.file == 0x3F00
                    || self.iccid.is_some() && [0x2F00, 0x2FE2, 0x6F07].contains(&self.file)
            }
        };
        match known {
            true => vec![0x62, 0x02, 0x82, 0x00, 0x90, 0x00],
            false => vec![0x6A, 0x82],
        }
    }

    fn read(&self) -> Vec<u8> {
        let digits = match (self.file, &self.iccid) {
            (0x2FE2, Some(iccid)) => format!("{iccid:F<20}"),
            (0x6F07, Some(_)) => return hex::decode("0809101010325476989000").unwrap(),
            _ => return vec![0x69, 0x86],
        };
        let pairs = digits.as_bytes().chunks(2);
        let mut bytes: Vec<u8> = pairs
            .flat_map(|pair| hex::decode([pair[1], pair[0]]).unwrap())
            .collect();
        bytes.extend([0x90, 0x00]);
        bytes
    }

    fn refreshed(&mut self) {
        if let Some(iccid) = self.next_iccid.take() {
            self.iccid = Some(iccid);
        }
    }
}

impl Card for Mirror {
    fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        self.seen.push(hex::encode_upper(command));
        self.execute(command)
    }

    fn transmit_own(&mut self, command: &[u8]) -> Vec<u8> {
        self.own.push(hex::encode_upper(command));
        self.execute(command)
    }

    fn reset(&mut self) {
        self.resets += 1;
        self.channels.clear();
        self.refresh = None;
        self.refreshed();
    }
}

fn modem() -> Modem<Mirror> {
    Modem::new(Mirror::default(), Identity::default())
}

/// A modem with an enabled profile, no echo, numbered errors and these quirks.
fn quirky(quirks: &[&str]) -> Modem<Mirror> {
    let mut modem = Modem::new(Mirror::with_profile(), Identity::default());
    modem.control().set_quirks(|active| {
        quirks.iter().for_each(|quirk| active.add(quirk).unwrap());
    });
    modem.settings.echo = false;
    modem.settings.cmee = 1;
    modem
}

/// What a modem says to `input`, without a stream.
fn talk<C: Card>(modem: &mut Modem<C>, input: &str) -> String {
    modem.push(input.as_bytes());
    let mut output = Vec::new();
    while let Some(action) = modem.next_action() {
        if let Action::Write(bytes) = action {
            output.extend(bytes);
        }
    }
    String::from_utf8(output).unwrap()
}

/// What a modem says to a line, and how long it takes over it.
fn timed(modem: &mut Modem<Mirror>, line: &str) -> (String, Duration) {
    modem.push(format!("{line}\r").as_bytes());
    let (mut output, mut time) = (String::new(), Duration::ZERO);
    while let Some(action) = modem.next_action() {
        match action {
            Action::Write(bytes) => output.push_str(&String::from_utf8(bytes).unwrap()),
            Action::Pause(pause) => time += pause,
            _ => {}
        }
    }
    (output, time)
}

/// The pieces in which the answer to a line leaves.
fn pieces(modem: &mut Modem<Mirror>, line: &str) -> Vec<String> {
    modem.push(format!("{line}\r").as_bytes());
    let mut pieces = Vec::new();
    while let Some(action) = modem.next_action() {
        if let Action::Write(bytes) = action {
            pieces.push(String::from_utf8(bytes).unwrap());
        }
    }
    pieces
}

/// One exchange with a modem that has one quirk.
#[track_caller]
fn shows(quirk: &str, input: &str, output: &str) {
    dialogue(&mut quirky(&[quirk]), &[(input, output)]);
}

/// A dialogue: each input is answered with exactly the output after it.
#[track_caller]
fn dialogue<C: Card>(modem: &mut Modem<C>, exchanges: &[(&str, &str)]) {
    for (input, output) in exchanges {
        assert_eq!(talk(modem, &format!("{input}\r")), *output, "{input:?}");
    }
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
    port.init(&ModemProfile::default()).await.unwrap();
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
    let response = csim.transmit(&command(ins), SECOND.into()).await?;
    Ok(response.to_bytes())
}
