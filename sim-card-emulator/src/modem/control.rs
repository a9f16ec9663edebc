//! The handle by which a test or an operator gives a modem its quirks and faults while it runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use es10_apdu::apdu::Command;
use tokio::sync::{Notify, watch};

/// Steers a running modem; clones steer the same one.
///
/// An answer is held back until the test has looked at what happens meanwhile:
///
/// ```
/// use sim_card_emulator::card::Card;
/// use sim_card_emulator::euicc::{Identity, Settings};
/// use sim_card_emulator::modem::{self, Modem, Moment, Pattern};
/// use sim_card_emulator::pki::{Pki, PkiOptions};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pki = Pki::generate(&PkiOptions::default())?;
/// let card = Card::new(Identity::from_pki(&pki)?, Settings::default());
/// let mut modem = Modem::new(card.clone(), modem::Identity::default());
/// let control = modem.control();
/// let (mut port, line) = tokio::io::duplex(1024);
/// tokio::spawn(async move { modem::serve(&mut modem, line, None).await });
///
/// let mut hold = control.hold(Pattern::ANY, 1, Moment::BeforeAnswer);
/// port.write_all(b"ATE0\rAT+CSIM=10,\"0070000001\"\r").await?;
/// hold.reached().await;
/// assert_eq!(card.open_channels(), [1]);
/// assert_eq!(control.counters().borrow().commands, 2);
///
/// hold.release();
/// let mut said = [0; 32];
/// port.read_exact(&mut said).await?;
/// assert!(said.ends_with(b"+CSIM: 6,\"019000\"\r\n"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ModemControl {
    shared: Arc<Shared>,
}

impl ModemControl {
    /// Changes the lasting quirks.
    pub fn set_quirks(&self, change: impl FnOnce(&mut Quirks)) {
        change(&mut self.state().quirks);
    }

    /// Makes one thing go wrong.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Stops the modem at the `nth` APDU from now that fits `pattern`, until it is let go.
    pub fn hold(&self, pattern: Pattern, nth: u32, moment: Moment) -> Hold {
        let (reached_in, reached) = watch::channel(false);
        let (release, released) = watch::channel(false);
        let gate = Gate {
            reached: Arc::new(reached_in),
            released,
        };
        self.inject(Fault {
            pattern,
            nth,
            effect: Effect::Hold { moment, gate },
        });
        Hold { reached, release }
    }

    /// Takes back all faults that have not come true yet.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Makes the modem say something unasked.
    pub fn urc(&self, text: &str) {
        let mut state = self.state();
        if state.urcs.len() < URCS_QUEUED {
            state.urcs.push_back(text.to_owned());
        }
        drop(state);
        self.shared.urc_queued.notify_one();
    }

    /// Makes the modem's port go away, as when it is unplugged, whatever it is doing.
    pub fn hang_up(&self) {
        self.shared.hang_up.send_replace(true);
    }

    /// What has gone over the port so far; can be waited on.
    pub fn counters(&self) -> watch::Receiver<Counters> {
        self.shared.counters.subscribe()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.shared.counters.send_modify(change);
    }

    pub(super) fn quirks(&self) -> Quirks {
        self.state().quirks.clone()
    }

    /// The size of the pieces in which answers leave.
    pub(super) fn split(&self) -> Option<usize> {
        self.state().quirks.split
    }

    /// The fault that this APDU meets; it is used up.
    pub(super) fn fault_for(&self, command: &Command) -> Option<Effect> {
        let mut state = self.state();
        for fault in &mut state.faults {
            if fault.pattern.fits(command) {
                fault.nth = fault.nth.saturating_sub(1);
            }
        }
        // Of two that come true at once, the second waits for the next APDU of its kind.
        let due = state
            .faults
            .iter()
            .position(|fault| fault.nth == 0 && fault.pattern.fits(command))?;
        Some(state.faults.remove(due).effect)
    }

    pub(super) fn take_urc(&self) -> Option<String> {
        self.state().urcs.pop_front()
    }

    pub(super) fn take_hang_up(&self) -> bool {
        self.shared.hang_up.send_replace(false)
    }

    /// Completes when the modem is to hang up.
    pub(super) async fn hung_up(&self) {
        let mut hang_up = self.shared.hang_up.subscribe();
        // The sender lives as long as `self`.
        let _ = hang_up.wait_for(|hang_up| *hang_up).await;
    }

    /// Completes when there is something to say unasked.
    pub(super) async fn urc_queued(&self) {
        self.shared.urc_queued.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    urc_queued: Notify,
    hang_up: watch::Sender<bool>,
    counters: watch::Sender<Counters>,
}

#[derive(Debug, Default)]
struct State {
    quirks: Quirks,
    faults: Vec<Fault>,
    urcs: VecDeque<String>,
}

/// How a modem differs from a well-behaved one, all the time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Quirks {
    /// The echo stays on after `ATE0`.
    pub echo_stuck: bool,
    /// Answers carry hex in lower case.
    pub lower_case: bool,
    /// Answers carry hex without quotation marks.
    pub unquoted: bool,
    /// Answers have no blank after the colon.
    pub no_blank: bool,
    /// The modem runs GET RESPONSE by itself and joins the data.
    pub get_response: bool,
    /// The modem ignores a REFRESH that the card asks for.
    pub ignores_refresh: bool,
    /// Nothing is answered at all.
    pub mute: bool,
    /// Answers leave in pieces of so many bytes.
    pub split: Option<usize>,
    /// How long the card takes over each APDU.
    pub apdu_time: Duration,
    /// Unsolicited codes that come with every command, and where.
    pub urcs: Vec<(UrcPlace, String)>,
}

impl Quirks {
    /// The names that [`Quirks::add`] knows.
    pub const NAMES: [&'static str; 9] = [
        "echo-stuck",
        "lower-case",
        "unquoted",
        "no-blank",
        "get-response",
        "ignores-refresh",
        "mute",
        "split-writes",
        "urc-flood",
    ];

    /// Adds a quirk by its name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn add(&mut self, name: &str) -> Result<(), UnknownQuirk> {
        match name {
            "echo-stuck" => self.echo_stuck = true,
            "lower-case" => self.lower_case = true,
            "unquoted" => self.unquoted = true,
            "no-blank" => self.no_blank = true,
            "get-response" => self.get_response = true,
            "ignores-refresh" => self.ignores_refresh = true,
            "mute" => self.mute = true,
            "split-writes" => self.split = Some(7),
            "urc-flood" => self.flood(20),
            _ => {
                let name = name.to_owned();
                return Err(UnknownQuirk { name });
            }
        }
        Ok(())
    }

    /// Adds `count` unsolicited codes in every place, some with the words `OK` and `ERROR`.
    pub fn flood(&mut self, count: usize) {
        let texts = [
            "+CREG: 1,\"1A2B\",\"01234567\",7",
            "+CUSD: 0,\"OK\",15",
            "+COPS: 0,0,\"ERROR\"",
        ];
        for place in UrcPlace::ALL {
            let urcs = texts.iter().cycle().take(count);
            self.urcs
                .extend(urcs.map(|text| (place, (*text).to_owned())));
        }
    }
}

/// No quirk has that name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no quirk {name:?}; there are {}", Quirks::NAMES.join(", "))]
pub struct UnknownQuirk {
    name: String,
}

/// Where in an exchange an unsolicited code comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UrcPlace {
    /// Before the echo.
    BeforeEcho,
    /// Between the echo and the first line of the answer.
    BeforeAnswer,
    /// Between the answer and the final result.
    BeforeResult,
    /// After the final result.
    AfterResult,
}

impl UrcPlace {
    /// All places in order.
    pub const ALL: [Self; 4] = [
        Self::BeforeEcho,
        Self::BeforeAnswer,
        Self::BeforeResult,
        Self::AfterResult,
    ];
}

/// Something that goes wrong once.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The APDUs that count.
    pub pattern: Pattern,
    /// Which of them meets the fault, counted from the injection on: 1 is the next one.
    pub nth: u32,
    /// What happens to it.
    pub effect: Effect,
}

impl Fault {
    /// Something that happens to the next APDU that fits `pattern`.
    pub fn next(pattern: Pattern, effect: Effect) -> Self {
        Self {
            pattern,
            nth: 1,
            effect,
        }
    }
}

/// Which command APDUs are meant; `None` fits everything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pattern {
    /// The instruction.
    pub ins: Option<u8>,
    /// The first parameter.
    pub p1: Option<u8>,
    /// The second parameter.
    pub p2: Option<u8>,
}

impl Pattern {
    /// Every APDU.
    pub const ANY: Self = Self {
        ins: None,
        p1: None,
        p2: None,
    };

    /// The last STORE DATA block of a command, at which a card sets to work.
    pub const LAST_BLOCK: Self = Self {
        ins: Some(0xE2),
        p1: Some(0x91),
        p2: None,
    };

    fn fits(&self, command: &Command) -> bool {
        let fits = |wanted: Option<u8>, is| wanted.is_none_or(|wanted| wanted == is);
        fits(self.ins, command.ins) && fits(self.p1, command.p1) && fits(self.p2, command.p2)
    }
}

/// What happens to an APDU.
#[derive(Clone, Debug)]
pub enum Effect {
    /// The modem answers with an error: bare `ERROR`, or `+CME ERROR` with this number.
    Error {
        /// The number, if any.
        cme: Option<u16>,
        /// Whether the card has executed the command nevertheless.
        executed: bool,
    },
    /// The modem answers nothing.
    Silence {
        /// Whether the card has executed the command.
        executed: bool,
    },
    /// The port goes away.
    HangUp {
        /// Whether the card has executed the command.
        executed: bool,
    },
    /// The second half of the answer's digits is missing.
    Truncate,
    /// The card is not asked: this is the response APDU, status word included.
    Instead {
        /// The response.
        response: Vec<u8>,
    },
    /// The modem stops until it is let go, see [`ModemControl::hold`].
    Hold {
        /// Before or after the card has executed the command.
        moment: Moment,
        /// What it waits for.
        gate: Gate,
    },
}

/// When a modem stops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// The card has not seen the command yet.
    BeforeExecution,
    /// The card has executed the command, and nobody has been told.
    BeforeAnswer,
}

/// The test's end of a hold: dropping it lets the modem go.
#[derive(Debug)]
pub struct Hold {
    reached: watch::Receiver<bool>,
    release: watch::Sender<bool>,
}

impl Hold {
    /// Waits until the modem has stopped there; also returns when it never will.
    pub async fn reached(&mut self) {
        let _ = self.reached.wait_for(|reached| *reached).await;
    }

    /// Lets the modem go on: a late answer.
    pub fn release(self) {
        self.release.send_replace(true);
    }
}

/// The modem's end of a hold.
#[derive(Clone, Debug)]
pub struct Gate {
    reached: Arc<watch::Sender<bool>>,
    released: watch::Receiver<bool>,
}

impl Gate {
    /// Tells the test that it has come so far, and waits to be let go.
    pub async fn pass(mut self) {
        self.reached.send_replace(true);
        let _ = self.released.wait_for(|released| *released).await;
    }
}

/// What has gone over a modem's port.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// AT command lines.
    pub commands: u64,
    /// APDUs the card has executed.
    pub apdus: u64,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
}

const URCS_QUEUED: usize = 1024;
