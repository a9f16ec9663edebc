//! The AT modem in front of a card: a pure interpreter, bytes in and bytes out.
//!
//! [`Modem`] is fed with [`Modem::push`] and asked with [`Modem::next_action`] what to do; [`serve`] does
//! it on any byte stream. What a real modem does badly is data, see [`Quirks`] and [`Fault`], and
//! can be changed while the modem runs through its [`ModemControl`].

use std::collections::VecDeque;
use std::time::Duration;

use es10_apdu::at::Cme;

mod command;
mod control;
mod csim;
mod serve;
#[cfg(test)]
mod tests;

pub use control::{
    Counters, Effect, Fault, Gate, Hold, ModemControl, Moment, Pattern, Quirks, UnknownQuirk,
    UrcPlace,
};
pub use serve::{Ended, serve};

/// What a modem needs of the card in its holder.
pub trait Card: Send {
    /// Executes a command APDU and gives its response APDU, status word included.
    fn transmit(&mut self, command: &[u8]) -> Vec<u8>;

    /// Switches the card off and on: open channels and unfinished commands are gone.
    fn reset(&mut self);

    /// Whether the card has asked for a REFRESH; asking takes the request.
    fn refresh_pending(&mut self) -> bool;

    /// The ICCID of the enabled profile in reading order; `None` when there is none.
    fn enabled_iccid(&self) -> Option<String>;
}

/// A modem with a card in it.
#[derive(Debug)]
pub struct Modem<C> {
    card: C,
    identity: Identity,
    settings: Settings,
    control: ModemControl,
    input: Vec<u8>,
    /// A line that has outgrown [`LINE_LIMIT`] is skipped to its end.
    overlong: bool,
    actions: VecDeque<Action>,
    /// What is to be done once the actions are.
    paused: Option<csim::Stage>,
}

impl<C: Card> Modem<C> {
    /// A modem that has just been switched on: echo on, errors without numbers.
    pub fn new(card: C, identity: Identity) -> Self {
        Self {
            card,
            identity,
            settings: Settings::default(),
            control: ModemControl::default(),
            input: Vec::new(),
            overlong: false,
            actions: VecDeque::new(),
            paused: None,
        }
    }

    /// Takes bytes from the client.
    pub fn push(&mut self, bytes: &[u8]) {
        self.control
            .count(|counters| counters.bytes_in += bytes.len() as u64);
        self.input.extend(bytes);
    }

    /// What is to be done next; `None` when the modem waits for more bytes.
    pub fn next_action(&mut self) -> Option<Action> {
        loop {
            if self.control.take_hang_up() {
                self.unplug();
                return Some(Action::HangUp);
            }
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if let Some(stage) = self.paused.take() {
                self.go_on(stage);
            } else if let Some(urc) = self.control.take_urc() {
                self.say(&urc);
            } else if let Some(line) = self.next_line() {
                self.run(line);
            } else {
                return None;
            }
        }
    }

    /// The handle that steers this modem.
    pub fn control(&self) -> ModemControl {
        self.control.clone()
    }

    /// The card in it.
    pub fn card(&mut self) -> &mut C {
        &mut self.card
    }

    /// Takes the card out.
    pub fn into_card(self) -> C {
        self.card
    }

    /// Forgets everything but the card's memory, as a modem does that loses its power.
    fn unplug(&mut self) {
        self.settings = Settings::default();
        self.input.clear();
        self.overlong = false;
        self.actions.clear();
        self.paused = None;
        self.card.reset();
    }

    /// The next command line, without its terminator.
    fn next_line(&mut self) -> Option<Result<Vec<u8>, LineTooLong>> {
        let Some(end) = self.input.iter().position(|&byte| byte == b'\r') else {
            if self.input.len() > LINE_LIMIT {
                self.overlong = true;
                self.input.clear();
            }
            return None;
        };
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        line.retain(|&byte| !matches!(byte, b'\r' | b'\n' | 0));
        Some(
            match std::mem::take(&mut self.overlong) || end > LINE_LIMIT {
                true => Err(LineTooLong),
                false => Ok(line),
            },
        )
    }

    fn run(&mut self, line: Result<Vec<u8>, LineTooLong>) {
        let quirks = self.control.quirks();
        if quirks.mute {
            return;
        }
        let line = line.map(|line| String::from_utf8_lossy(&line).into_owned());
        if line.as_ref().is_ok_and(String::is_empty) {
            return;
        }
        self.control.count(|counters| counters.commands += 1);
        self.urcs(&quirks, UrcPlace::BeforeEcho);
        if self.settings.echo || quirks.echo_stuck {
            self.write(format!("{}\r", line.as_deref().unwrap_or_default()));
        }
        self.urcs(&quirks, UrcPlace::BeforeAnswer);
        match line {
            Ok(line) => self.execute(&line),
            Err(LineTooLong) => self.answer(Err(Failure::Error)),
        }
    }

    /// Writes the lines of an answer and its final result.
    fn answer(&mut self, answer: Result<Vec<String>, Failure>) {
        let verbose = self.settings.verbose;
        for line in answer.as_deref().unwrap_or_default() {
            match verbose {
                true => self.write(format!("\r\n{line}\r\n")),
                false => self.write(format!("{line}\r\n")),
            }
        }
        let quirks = self.control.quirks();
        self.urcs(&quirks, UrcPlace::BeforeResult);
        if !self.settings.quiet {
            let result = match (answer, self.settings.cmee) {
                (Ok(_), _) if verbose => "OK".to_owned(),
                (Ok(_), _) => "0".to_owned(),
                (Err(Failure::Cme(cme)), 1) => format!("+CME ERROR: {}", cme.0),
                (Err(Failure::Cme(cme)), 2) => {
                    format!("+CME ERROR: {}", cme.meaning().unwrap_or("unknown"))
                }
                (Err(_), _) if verbose => "ERROR".to_owned(),
                (Err(_), _) => "4".to_owned(),
            };
            match verbose {
                true => self.write(format!("\r\n{result}\r\n")),
                false => self.write(format!("{result}\r")),
            }
        }
        self.urcs(&quirks, UrcPlace::AfterResult);
    }

    fn urcs(&mut self, quirks: &Quirks, place: UrcPlace) {
        for (_, text) in quirks.urcs.iter().filter(|(at, _)| *at == place) {
            self.say(text);
        }
    }

    /// Says something unasked.
    fn say(&mut self, text: &str) {
        self.write(format!("\r\n{text}\r\n"));
    }

    /// Queues bytes for the client; what is queued together leaves together.
    fn write(&mut self, text: String) {
        self.control
            .count(|counters| counters.bytes_out += text.len() as u64);
        let bytes = text.into_bytes();
        match (self.control.split(), self.actions.back_mut()) {
            (Some(size), _) => {
                for piece in bytes.chunks(size.max(1)) {
                    self.actions.push_back(Action::Write(piece.to_vec()));
                    self.actions.push_back(Action::Pause(SPLIT_PAUSE));
                }
            }
            (None, Some(Action::Write(queued))) => queued.extend(bytes),
            (None, _) => self.actions.push_back(Action::Write(bytes)),
        }
    }

    /// Lets some time go by, if any.
    fn pause(&mut self, time: Duration) {
        if !time.is_zero() {
            self.actions.push_back(Action::Pause(time));
        }
    }
}

/// What the owner of a [`Modem`] is to do for it.
#[derive(Debug)]
pub enum Action {
    /// Send these bytes to the client.
    Write(Vec<u8>),
    /// Let so much time go by.
    Pause(Duration),
    /// Wait to be let go.
    Wait(Gate),
    /// Close the port.
    HangUp,
}

/// What a modem says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// `AT+CGMI`.
    pub manufacturer: String,
    /// `AT+CGMM`.
    pub model: String,
    /// `AT+CGMR`.
    pub revision: String,
    /// `AT+CGSN`.
    pub imei: String,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            manufacturer: "lpad".to_owned(),
            model: "sim-card-emulator".to_owned(),
            revision: env!("CARGO_PKG_VERSION").to_owned(),
            imei: "490154203237518".to_owned(),
        }
    }
}

/// What AT commands set.
#[derive(Clone, Debug)]
struct Settings {
    echo: bool,
    verbose: bool,
    quiet: bool,
    cmee: u8,
    cfun: u8,
    baud_rate: u32,
}

impl Settings {
    /// In minimum functionality the card has no power.
    fn card_is_on(&self) -> bool {
        self.cfun != 0
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            echo: true,
            verbose: true,
            quiet: false,
            cmee: 0,
            cfun: 1,
            baud_rate: 115_200,
        }
    }
}

/// Why a command is answered with an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    Error,
    Cme(Cme),
}

/// A command line that was not kept.
#[derive(Debug)]
struct LineTooLong;

/// Bytes of a command line at most; a STORE DATA block of 255 bytes needs 535.
const LINE_LIMIT: usize = 2048;
/// Long enough for a reader to see the pieces apart.
const SPLIT_PAUSE: Duration = Duration::from_millis(10);
