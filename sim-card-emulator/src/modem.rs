//! The AT modem in front of a card: a pure interpreter, bytes in and bytes out.
//!
//! [`Modem`] is fed with [`Modem::push`] and asked with [`Modem::next_action`] what to do;
//! [`serve`] does it on any byte stream. It is the card's terminal as well: it reads the enabled
//! profile and acts on what the card asks for. What a real modem does badly is data, see [`Quirk`] and
//! [`Fault`], and can be changed while the modem runs through its [`ModemControl`].

use std::collections::VecDeque;
use std::time::Duration;

use es10_apdu::at::Cme;
use tokio::time::Instant;

mod answer;
mod apdu;
mod client_rate;
mod command;
mod contexts;
mod control;
mod digits;
mod files;
mod filters;
mod form;
mod iccid;
mod job;
mod makers;
mod network;
mod power;
mod presets;
mod questions;
mod quirks;
mod random;
mod registration;
mod reset;
mod serve;
mod session;
mod terminal;
#[cfg(test)]
mod tests;

pub use control::{Counters, Data, Effect, Fault, Gate, Hold, ModemControl, Moment, Pattern};
pub use network::{Network, NetworkError};
pub use presets::Preset;
pub use quirks::error::QuirkError;
pub use quirks::{Kind, Quirk, Quirks, UrcPlace};
pub use serve::{Ended, serve};

/// What a modem needs of the card in its holder.
pub trait Card: Send {
    /// Executes a command APDU of the modem's client and gives its response APDU, status word
    /// included; nothing when the card has no power.
    fn transmit(&mut self, command: &[u8]) -> Vec<u8>;

    /// Executes a command APDU of the modem itself, which is not counted.
    fn transmit_own(&mut self, command: &[u8]) -> Vec<u8> {
        self.transmit(command)
    }

    /// Switches the card off and on: open channels and unfinished commands are gone.
    fn reset(&mut self);

    /// How often the card has been reset, whatever caused it: a modem that sees it rise reads the
    /// card again, as one does whose card was taken out and put back.
    fn power_ups(&self) -> u64 {
        0
    }
}

/// A modem with a card in it.
#[derive(Debug)]
pub struct Modem<C> {
    card: C,
    identity: Identity,
    settings: Settings,
    /// The rate that `AT+IPR` has set; kept without power.
    rate: Option<u32>,
    /// The rate of the line it is served on, if that has one.
    line_rate: Option<u32>,
    control: ModemControl,
    /// Whether it has read the card since power came.
    is_started: bool,
    /// Whether it tells when it has started, as after a restart.
    tells_start: bool,
    /// Whether a client has opened the port.
    is_connected: bool,
    /// So many command lines are not heard.
    deaf_for: u64,
    /// So many `AT+CFUN=1` are refused.
    radio_busy_for: u64,
    nul_is_due: bool,
    /// Whether the modem's own LPA has the ISD-R; kept without power.
    own_lpa: session::OwnLpa,
    filters: filters::Filters,
    late_is_over: bool,
    /// The port goes away, and the modem stays as it is.
    leaves_port_only: bool,
    sim: terminal::Sim,
    /// The first ICCID since the modem started.
    first_iccid: Option<String>,
    sessions: session::Sessions,
    registration: registration::Registration,
    attempts: registration::Attempts,
    carrier: registration::Carrier,
    /// How often the radio was switched on.
    radio_starts: u64,
    contexts: contexts::Contexts,
    /// It saves power and hears nothing.
    is_asleep: bool,
    timers: Vec<(Instant, Event)>,
    input: Vec<u8>,
    /// A line that has outgrown [`LINE_LIMIT`] is skipped to its end.
    overlong: bool,
    actions: VecDeque<Action>,
    /// What is to be done once the actions are.
    paused: Option<apdu::Stage>,
    /// What is to be done once the command line is answered.
    afterwards: Vec<After>,
}

impl<C: Card> Modem<C> {
    /// A modem that has just been switched on: echo on, errors without numbers.
    pub fn new(card: C, identity: Identity) -> Self {
        Self {
            card,
            identity,
            settings: Settings::default(),
            rate: None,
            line_rate: None,
            control: ModemControl::default(),
            is_started: false,
            tells_start: false,
            is_connected: false,
            deaf_for: 0,
            radio_busy_for: 0,
            nul_is_due: false,
            own_lpa: session::OwnLpa::default(),
            filters: filters::Filters::default(),
            late_is_over: false,
            leaves_port_only: false,
            sim: terminal::Sim::default(),
            first_iccid: None,
            sessions: session::Sessions::default(),
            registration: registration::Registration::default(),
            attempts: registration::Attempts::default(),
            carrier: registration::Carrier::default(),
            radio_starts: 0,
            contexts: contexts::Contexts::default(),
            is_asleep: false,
            timers: Vec::new(),
            input: Vec::new(),
            overlong: false,
            actions: VecDeque::new(),
            paused: None,
            afterwards: Vec::new(),
        }
    }

    /// Takes bytes from the client.
    pub fn push(&mut self, bytes: &[u8]) {
        self.control
            .count(|counters| counters.bytes_in += bytes.len() as u64);
        self.input.extend(bytes);
    }

    /// What is to be done next; `None` when the modem waits for more bytes, or for
    /// [`Modem::wakes_at`].
    pub fn next_action(&mut self) -> Option<Action> {
        loop {
            if let Some(absent) = self.control.take_hang_up() {
                self.leaves_port_only = false;
                self.power_down();
                self.unplug();
                return Some(Action::HangUp { absent });
            }
            if let Some(action) = self.actions.pop_front() {
                if matches!(action, Action::HangUp { .. }) {
                    self.unplug();
                }
                return Some(action);
            }
            if !self.is_started {
                self.start();
            } else if !self.is_connected {
                self.connect();
            } else if let Some(stage) = self.paused.take() {
                self.go_on(stage);
            } else if let Some(event) = self.due() {
                self.happen(event);
            } else if self.control.take_network_change() {
                self.notice_network();
            } else if let Some(urc) = self.control.take_urc() {
                self.say(&urc);
            } else if let Some(line) = self.next_line() {
                self.run(line);
            } else {
                return None;
            }
        }
    }

    /// When the modem has something to do by itself, and [`Modem::next_action`] is to be asked.
    pub fn wakes_at(&self) -> Option<Instant> {
        self.timers.iter().map(|(at, _)| *at).min()
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
        if self.has(Quirk::Mute) {
            return;
        }
        let mut line = line.map(|line| String::from_utf8_lossy(&line).into_owned());
        if line.as_ref().is_ok_and(String::is_empty) {
            return;
        }
        if self.deaf_for > 0 {
            self.deaf_for -= 1;
            return;
        }
        if self.is_asleep && self.has(Quirk::SleepsAfter) {
            return;
        }
        self.stay_awake();
        self.control.count(|counters| counters.commands += 1);
        self.notice_card();
        let longer_than = |limit: Option<u64>| {
            let length = line.as_ref().map_or(LINE_LIMIT, String::len) as u64;
            limit.is_some_and(|limit| length > limit)
        };
        if longer_than(self.control.value(Quirk::LineLimitSilent)) {
            return;
        }
        let is_csim = line.as_ref().is_ok_and(|line| is_csim(line));
        let csim_limit = self.control.value(Quirk::CsimLineLimit);
        let too_long =
            longer_than(self.control.value(Quirk::LineLimit)) || is_csim && longer_than(csim_limit);
        self.urcs(UrcPlace::BeforeEcho);
        if self.settings.echo || self.has(Quirk::EchoStuck) {
            self.write(format!("{}\r", line.as_deref().unwrap_or_default()));
        }
        self.urcs(UrcPlace::BeforeAnswer);
        if too_long {
            line = Err(LineTooLong);
        }
        match line {
            Ok(line) => self.execute(&line),
            Err(LineTooLong) => self.answer(&[], Err(Failure::Error)),
        }
    }

    fn has(&self, quirk: Quirk) -> bool {
        self.control.has(quirk)
    }

    /// What the modem says of itself: what its preset does not say, or the owner has said otherwise,
    /// is told as it was given.
    fn told_identity(&self) -> Identity {
        let mut told = self.identity.clone();
        let usual = Identity::default();
        if let Some(preset) = self.control.preset() {
            for (told, usual, named) in [
                (&mut told.manufacturer, usual.manufacturer, preset.maker()),
                (&mut told.model, usual.model, preset.model()),
                (&mut told.revision, usual.revision, preset.firmware()),
            ] {
                if *told == usual && !named.is_empty() {
                    named.clone_into(told);
                }
            }
        }
        told
    }
}

fn is_csim(line: &str) -> bool {
    let name = line.trim_start().get(.."AT+CSIM".len());
    name.is_some_and(|name| name.eq_ignore_ascii_case("AT+CSIM"))
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
    /// From now on the line has this rate, in bits per second.
    Rate(u32),
    /// Close the port.
    HangUp {
        /// How long it stays away.
        absent: Duration,
    },
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
    /// The card alone is switched off.
    card_is_off: bool,
    /// Whether `+CREG`, `+CGREG`, `+CEREG` and `+C5GREG` come unasked, and with how much.
    registration_codes: [u8; 4],
    /// `AT+COPS=2`.
    deregistered: bool,
    operator_format: u8,
}

impl Settings {
    /// In minimum functionality the card has no power.
    fn card_is_on(&self) -> bool {
        self.cfun != 0 && !self.card_is_off
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
            card_is_off: false,
            registration_codes: [0; 4],
            deregistered: false,
            operator_format: 0,
        }
    }
}

/// The lines of an answer, or why there are none.
type Reply = Result<Vec<String>, Failure>;

/// Why a command is answered with an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    Error,
    Cme(Cme),
    /// There is no answer.
    Silence,
    /// A result of this modem alone.
    Text(&'static str),
    /// There is no such command.
    Unknown,
}

/// What a modem does by itself at some time.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Event {
    /// The search for the network ends, or it is asked once more.
    Found,
    /// The network is gone, as it was to be.
    Lost,
    /// Nobody has asked for anything for so long that the modem sleeps.
    Sleep,
    /// It has slept long enough.
    Wake,
    /// A late modem acts on the REFRESH it has fetched.
    Refresh { details: [u8; 3] },
    /// The card can be read again after a REFRESH.
    CardBack,
    /// The port goes away.
    Leave { absent: Duration },
    /// Another program gives the card back.
    Unlocked,
}

/// What a modem does once it has answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum After {
    Rate(u32),
    /// `AT+CFUN=1,1`.
    Restart,
    /// A restart that leaves the port.
    RestartHere,
    /// `AT+QPOWD=1`.
    PowerOff,
    /// The port goes away for so long, and what came with the last command is done all the same.
    Drop {
        absent: Duration,
    },
    /// The port goes away at once.
    Leave {
        absent: Duration,
    },
}

/// A command line that was not kept.
#[derive(Debug)]
struct LineTooLong;

/// Bytes of a command line at most; a STORE DATA block of 255 bytes needs 535.
const LINE_LIMIT: usize = 2048;
/// The rate of a line until one is set.
const STANDARD_RATE: u32 = 115_200;
