//! An eUICC in a holder: shared between the modem and the test that watches or disturbs it.
//!
//! A test looks at the card, waits for what shall happen in it, takes its power away at a chosen
//! command, and puts its flash back as it was:
//!
//! ```
//! use sim_card_emulator::card::{Card, PowerCut};
//! use sim_card_emulator::euicc::{Identity, Settings};
//! use sim_card_emulator::modem::Card as _;
//! use rsp_common::pki::{Pki, PkiOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pki = Pki::generate(&PkiOptions::default())?;
//! let mut card = Card::new(Identity::from_pki(&pki)?, Settings::default());
//! let flash = card.memory();
//! let mut state = card.state();
//! let counters = card.counters();
//!
//! // What a modem does: open a channel, select the ISD-R, set the default SM-DP+ address.
//! assert_eq!(card.transmit(&[0x00, 0x70, 0x00, 0x00, 0x01]), [0x01, 0x90, 0x00]);
//! assert_eq!(state.borrow_and_update().open_channels, [1]);
//! let select = [&[0x01, 0xA4, 0x04, 0x00, 0x10], &es10_apdu::isdr::ISDR_AID[..]].concat();
//! card.transmit(&select);
//! let set_address = b"\x81\xE2\x91\x00\x08\xBF\x3F\x05\x80\x03a.b";
//! card.transmit(set_address);
//! assert_eq!(card.memory().default_dp_address, "a.b");
//! assert_eq!(counters.borrow().calls(0xBF3F), 1);
//!
//! // The next command is executed, and its answer is lost.
//! card.cut_power(1, PowerCut::AfterExecution);
//! assert!(card.transmit(set_address).is_empty());
//! assert!(!state.borrow_and_update().powered);
//! card.reset();
//! assert!(state.borrow_and_update().open_channels.is_empty());
//!
//! card.restore(flash);
//! assert_eq!(card.memory().default_dp_address, "");
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use es10_apdu::apdu::StatusWord;
use es10_apdu::types::Iccid;
use tokio::sync::watch;

use crate::euicc::{
    Env, Euicc, Forced, ForcedAnswer, Identity, NonVolatile, Settings, SystemRandom, UpdateError,
};
use crate::modem;
use crate::state_folder::{StateError, StateFolder};

/// What a card has done so far.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Command APDUs that were executed, those of the modem's own not counted.
    pub apdus: u64,
    /// Calls by the tag of the function; a BPP counts once as `BF36`, and its other segments by
    /// the tag they begin with.
    pub functions: BTreeMap<u32, u64>,
    /// Resets, the first power-up not counted.
    pub resets: u64,
    /// How often the power was lost, see [`Card::cut_power`].
    pub power_cuts: u64,
}

impl Counters {
    /// How often the function with this tag was called.
    pub fn calls(&self, tag: u32) -> u64 {
        self.functions.get(&tag).copied().unwrap_or_default()
    }
}

/// How a card is at the moment, as far as a test waits for it; see [`Card::state`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CardState {
    /// Whether it has power, see [`Card::cut_power`].
    pub powered: bool,
    /// The installed profiles, the oldest first.
    pub installed: Vec<Iccid>,
    /// The one in use.
    pub enabled: Option<Iccid>,
    /// The sequence numbers of the notifications that wait for delivery, the oldest first.
    pub notifications: Vec<i64>,
    /// The supplementary logical channels that are open.
    pub open_channels: Vec<u8>,
}

/// When power is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PowerCut {
    /// The command never reaches the card.
    BeforeExecution,
    /// The command is begun: what it does in several steps, as a memory reset, is finished when
    /// the power comes back. Other commands are executed.
    DuringExecution,
    /// The command is executed, its answer is lost.
    AfterExecution,
}

/// A handle on a card; clones are handles on the same card.
#[derive(Clone)]
pub struct Card {
    holder: Arc<Mutex<Holder>>,
    counters: watch::Sender<Counters>,
    state: watch::Sender<CardState>,
}

struct Holder {
    euicc: Euicc,
    env: Box<dyn Env + Send>,
    folder: Option<StateFolder>,
    saved_revision: u64,
    powered: bool,
    /// Resets, whatever caused them.
    power_ups: u64,
    cut: Option<(u64, PowerCut)>,
}

impl Card {
    /// A new card that keeps its flash in memory.
    ///
    /// Cards that are given the same `Arc` share the identity, which is most of a card's memory.
    pub fn new(identity: impl Into<Arc<Identity>>, settings: Settings) -> Self {
        Self::with_env(identity, settings, Box::new(SystemRandom))
    }

    /// A new card that keeps its flash in memory and takes its randomness from somewhere else.
    pub fn with_env(
        identity: impl Into<Arc<Identity>>,
        settings: Settings,
        env: Box<dyn Env + Send>,
    ) -> Self {
        Self::put(
            Euicc::new(identity, settings, NonVolatile::default()),
            env,
            None,
        )
    }

    /// A card that keeps its flash in a folder, and goes on where it stopped.
    pub fn in_folder(
        identity: impl Into<Arc<Identity>>,
        settings: Settings,
        mut folder: StateFolder,
    ) -> Result<Self, StateError> {
        let memory = folder.load()?;
        let euicc = Euicc::new(identity, settings, memory);
        folder.save(euicc.memory())?;
        Ok(Self::put(euicc, Box::new(SystemRandom), Some(folder)))
    }

    /// Changes how the card is set up, from the next command on.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        change(self.holder().euicc.settings_mut());
    }

    /// Makes the card give an answer instead of doing anything, once; the next call of the
    /// function, or for a package the next segment that begins with the tag, is the first.
    pub fn force(&self, function: u32, call: u32, answer: ForcedAnswer) {
        self.configure(|settings| {
            settings.forced.push(Forced {
                function,
                call: Some(call.max(1)),
                answer,
            });
        });
    }

    /// Changes metadata of the profile in use, see [`Euicc::update_metadata`].
    ///
    /// # Errors
    ///
    /// When no profile is in use, or the request cannot be granted.
    pub fn update_metadata(&self, request: &[u8]) -> Result<(), UpdateError> {
        let mut holder = self.holder();
        holder.euicc.update_metadata(request)?;
        holder.save();
        Ok(())
    }

    /// Looks at the eUICC.
    pub fn inspect<T>(&self, look: impl FnOnce(&Euicc) -> T) -> T {
        look(&self.holder().euicc)
    }

    /// What the flash holds.
    pub fn memory(&self) -> NonVolatile {
        self.inspect(|euicc| euicc.memory().clone())
    }

    /// Puts back what the flash held before, and resets the card.
    pub fn restore(&self, memory: NonVolatile) {
        let mut holder = self.holder();
        let identity = Arc::clone(holder.euicc.identity());
        holder.euicc = Euicc::new(identity, holder.euicc.settings().clone(), memory);
        holder.saved_revision = u64::MAX;
        holder.powered = true;
        holder.power_ups += 1;
        if let Some(folder) = &mut holder.folder {
            folder.forget();
        }
        holder.save();
        self.publish(&holder);
    }

    /// Cuts the power at the `nth` command from now on, the next one being the first. Commands
    /// of the modem's own do not count.
    ///
    /// Until it is reset the card is dead: it answers nothing.
    pub fn cut_power(&self, nth: u64, when: PowerCut) {
        self.holder().cut = Some((nth.max(1), when));
    }

    /// Takes back what [`Card::cut_power`] has announced.
    pub fn keep_power(&self) {
        self.holder().cut = None;
    }

    /// Switches the card off and on.
    pub fn reset(&self) {
        let mut holder = self.holder();
        holder.reset();
        self.publish(&holder);
        drop(holder);
        self.counters.send_modify(|counters| counters.resets += 1);
    }

    /// The answer to reset.
    pub fn atr(&self) -> Vec<u8> {
        self.inspect(Euicc::atr)
    }

    /// The supplementary logical channels that are open.
    pub fn open_channels(&self) -> Vec<u8> {
        self.inspect(Euicc::open_channels)
    }

    /// Follows how the card is: `wait_for` waits until a profile is installed or enabled, a
    /// notification is taken away, a channel is closed.
    pub fn state(&self) -> watch::Receiver<CardState> {
        self.state.subscribe()
    }

    /// Follows what the card does.
    pub fn counters(&self) -> watch::Receiver<Counters> {
        self.counters.subscribe()
    }

    fn put(euicc: Euicc, env: Box<dyn Env + Send>, folder: Option<StateFolder>) -> Self {
        let holder = Holder {
            saved_revision: euicc.revision(),
            euicc,
            env,
            folder,
            powered: true,
            power_ups: 0,
            cut: None,
        };
        Self {
            state: watch::Sender::new(holder.state()),
            holder: Arc::new(Mutex::new(holder)),
            counters: watch::Sender::new(Counters::default()),
        }
    }

    /// Tells those who watch, when something is otherwise than before.
    fn publish(&self, holder: &Holder) {
        let now = holder.state();
        self.state.send_if_modified(|state| {
            let is_changed = *state != now;
            *state = now;
            is_changed
        });
    }

    /// A panic elsewhere does not spoil the card: each command leaves it consistent.
    fn holder(&self) -> MutexGuard<'_, Holder> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    /// Executes a command; `None` when there is no power, or it is lost now.
    fn transmit(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        if !self.powered {
            return None;
        }
        let cut = self.cut_now();
        self.execute(command, cut)
    }

    /// Executes a command, unless `cut` takes the power away.
    fn execute(&mut self, command: &[u8], cut: Option<PowerCut>) -> Option<Vec<u8>> {
        if !self.powered {
            return None;
        }
        if cut == Some(PowerCut::BeforeExecution) {
            self.powered = false;
            return None;
        }
        if cut == Some(PowerCut::DuringExecution) {
            self.euicc.begin(command, self.env.as_mut());
            self.save();
            self.powered = false;
            return None;
        }
        let mut response = self.euicc.handle(command, self.env.as_mut());
        // What the answer promises must be true after a power loss.
        if !self.save() {
            response = StatusWord::MEMORY_PROBLEM.into();
        }
        if cut == Some(PowerCut::AfterExecution) {
            self.powered = false;
            return None;
        }
        Some(response.to_bytes())
    }

    fn cut_now(&mut self) -> Option<PowerCut> {
        let (nth, when) = self.cut.take()?;
        if nth == 1 {
            return Some(when);
        }
        self.cut = Some((nth - 1, when));
        None
    }

    fn state(&self) -> CardState {
        let memory = self.euicc.memory();
        let notifications = memory.notifications.iter();
        CardState {
            powered: self.powered,
            installed: memory
                .profiles
                .iter()
                .map(|profile| profile.iccid)
                .collect(),
            enabled: self.euicc.enabled_iccid(),
            notifications: notifications
                .map(|waiting| waiting.sequence_number)
                .collect(),
            open_channels: self.euicc.open_channels(),
        }
    }

    fn reset(&mut self) {
        self.powered = true;
        self.power_ups += 1;
        self.euicc.reset();
        self.save();
    }

    /// Writes the flash down when it has changed; false when that fails.
    fn save(&mut self) -> bool {
        let revision = self.euicc.revision();
        if revision == self.saved_revision {
            return true;
        }
        let saved = self
            .folder
            .as_mut()
            .map_or(Ok(()), |folder| folder.save(self.euicc.memory()));
        match saved {
            Ok(()) => {
                self.saved_revision = revision;
                true
            }
            Err(error) => {
                tracing::error!(%error, "the card's memory could not be saved");
                false
            }
        }
    }
}

impl modem::Card for Card {
    fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        let (response, function, was_cut) = {
            let mut holder = self.holder();
            let was_powered = holder.powered;
            let response = holder.transmit(command);
            let was_cut = was_powered && !holder.powered;
            self.publish(&holder);
            (response, holder.euicc.last_function(), was_cut)
        };
        self.counters.send_modify(|counters| {
            counters.power_cuts += u64::from(was_cut);
            if response.is_some() {
                counters.apdus += 1;
                if let Some(tag) = function {
                    *counters.functions.entry(tag).or_default() += 1;
                }
            }
        });
        response.unwrap_or_default()
    }

    fn reset(&mut self) {
        Self::reset(self);
    }

    /// What the modem does by itself neither counts nor meets a power cut.
    fn transmit_own(&mut self, command: &[u8]) -> Vec<u8> {
        let mut holder = self.holder();
        let response = holder.execute(command, None);
        self.publish(&holder);
        response.unwrap_or_default()
    }

    fn power_ups(&self) -> u64 {
        self.holder().power_ups
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holder = self.holder();
        f.debug_struct("Card")
            .field("eid", &holder.euicc.eid())
            .field("powered", &holder.powered)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
