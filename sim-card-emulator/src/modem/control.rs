//! The handle by which a test or an operator gives a modem its quirks and faults while it runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use es10_apdu::apdu::Command;
use tokio::sync::{Notify, watch};

use super::client_rate::ClientRate;
use super::network::{Network, Networks};
use super::presets::Preset;
use super::quirks::{Quirk, Quirks, UrcPlace};
use super::random::Random;

/// Steers a running modem; clones steer the same one.
///
/// An answer is held back until the test has looked at what happens meanwhile:
///
/// ```
/// use sim_card_emulator::card::Card;
/// use sim_card_emulator::euicc::{Identity, Settings};
/// use sim_card_emulator::modem::{self, Modem, Moment, Pattern};
/// use rsp_common::pki::{Pki, PkiOptions};
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

    /// Says how the network treats a profile, named by its ICCID or its IMSI; `None` stands for
    /// every profile that is not named.
    pub fn set_network(&self, profile: Option<&str>, network: Network) {
        let mut state = self.state();
        state.networks.set(profile, network);
        state.network_changed = true;
        drop(state);
        self.shared.urc_queued.notify_one();
    }

    /// Tells the network that the installation of a profile was reported, which it may wait for
    /// before it lets the profile in (`provisioned-after`); the first time counts.
    pub fn provisioned(&self, iccid: &str) {
        self.state().networks.provisioned(iccid);
    }

    /// Whether packets get through on the modem's interface; can be waited on.
    pub fn data(&self) -> watch::Receiver<Data> {
        self.shared.data.subscribe()
    }

    /// Sets what chance begins with: a modem with the same quirks and the same seed does the same.
    pub fn seed(&self, seed: u64) {
        self.state().random = Random::new(seed);
    }

    /// Says at which rate the client's port works, where it is a line with a rate; `None`: at the
    /// modem's, whichever that is.
    pub fn set_client_rate(&self, rate: Option<u32>) {
        self.state().client_rate = ClientRate::Fixed(rate);
    }

    /// Asks `rate` for the client's rate, whenever bytes pass; see [`crate::pty::Pty::rate`].
    pub fn follow_client_rate(&self, rate: impl Fn() -> Option<u32> + Send + 'static) {
        self.state().client_rate = ClientRate::Followed(Box::new(rate));
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

    /// How many faults have not come true yet.
    pub fn waiting_faults(&self) -> usize {
        self.state().faults.len()
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
        self.hang_up_for(Duration::ZERO);
    }

    /// Makes the modem's port go away for so long, see [`super::Ended::HungUp`].
    pub fn hang_up_for(&self, absent: Duration) {
        self.shared.hang_up.send_replace(Some(absent));
    }

    /// What has gone over the port so far; can be waited on.
    pub fn counters(&self) -> watch::Receiver<Counters> {
        self.shared.counters.subscribe()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.shared.counters.send_modify(change);
    }

    pub(super) fn has(&self, quirk: Quirk) -> bool {
        self.state().quirks.has(quirk)
    }

    pub(super) fn value(&self, quirk: Quirk) -> Option<u64> {
        self.state().quirks.value(quirk)
    }

    pub(super) fn time(&self, quirk: Quirk) -> Duration {
        self.state().quirks.time(quirk)
    }

    pub(super) fn words(&self, quirk: Quirk) -> Vec<&'static str> {
        self.state().quirks.words(quirk)
    }

    pub(super) fn preset(&self) -> Option<Preset> {
        self.state().quirks.preset()
    }

    /// What comes unasked in this place of every exchange.
    pub(super) fn urcs_at(&self, place: UrcPlace) -> Vec<String> {
        let State { quirks, random, .. } = &mut *self.state();
        quirks.urcs_at(place, random)
    }

    /// A number below `limit`, by chance.
    pub(super) fn chance(&self, limit: u64) -> u64 {
        self.state().random.below(limit)
    }

    /// Asks the network.
    pub(super) fn networks<T>(&self, ask: impl FnOnce(&mut Networks) -> T) -> T {
        ask(&mut self.state().networks)
    }

    pub(super) fn set_data(&self, data: Data) {
        self.shared.data.send_if_modified(|told| {
            let is_new = *told != data;
            *told = data;
            is_new
        });
    }

    pub(super) fn take_network_change(&self) -> bool {
        std::mem::take(&mut self.state().network_changed)
    }

    pub(super) fn client_rate(&self) -> Option<u32> {
        self.state().client_rate.now()
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

    pub(super) fn take_hang_up(&self) -> Option<Duration> {
        self.shared.hang_up.send_replace(None)
    }

    /// Completes when the modem is to hang up.
    pub(super) async fn hung_up(&self) {
        let mut hang_up = self.shared.hang_up.subscribe();
        // The sender lives as long as `self`.
        let _ = hang_up.wait_for(Option::is_some).await;
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
    hang_up: watch::Sender<Option<Duration>>,
    counters: watch::Sender<Counters>,
    data: watch::Sender<Data>,
}

#[derive(Debug)]
struct State {
    quirks: Quirks,
    faults: Vec<Fault>,
    urcs: VecDeque<String>,
    networks: Networks,
    network_changed: bool,
    random: Random,
    client_rate: ClientRate,
}

impl Default for State {
    fn default() -> Self {
        Self {
            quirks: Quirks::default(),
            faults: Vec::new(),
            urcs: VecDeque::new(),
            networks: Networks::default(),
            network_changed: false,
            random: Random::new(0),
            client_rate: ClientRate::Fixed(None),
        }
    }
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
    /// The card has executed the command, and its answer is lost.
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

/// Whether packets get through on a modem's interface: it is registered for them, and a context is up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Data {
    /// There is no address.
    #[default]
    Down,
    /// There is an address, and nothing gets through.
    Stuck,
    /// They do.
    Up,
}

const URCS_QUEUED: usize = 1024;
