//! The eUICC: a strict, pure state machine behind APDUs.
//!
//! [`Euicc::handle`] takes one command APDU and gives the answer; nothing here does I/O. What a real
//! card keeps in flash is the value [`NonVolatile`]; everything else is lost at [`Euicc::reset`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use es10_apdu::apdu::{Command, Response, StatusWord};
use es10_apdu::es10c::ProfileIdentifier;
use es10_apdu::types::{Eid, Iccid};

use crate::saip::files::FileSystem;

mod addresses;
mod apdu;
mod forced;
mod function;
mod identity;
mod info;
mod loading;
mod memory_reset;
mod metadata;
mod notifications;
mod profile_list;
mod profiles;
mod revocation;
mod session;
mod settings;
mod state;
mod uicc;
mod update;

use apdu::Channel;
pub use identity::{Identity, PersonalisationError};
pub use metadata::{Rule, any_operator};
use session::Session;
pub use settings::{
    DamagedResult, EmptyList, Forced, ForcedAnswer, FullStore, InstallationAnswer, Settings,
};
pub use state::{
    Crl, ForbiddenNetworks, Installing, NonVolatile, Notification, OneTimeKey, PinFailures,
    Profile, Switch,
};
use uicc::{Refresh, Terminal};
pub use update::UpdateError;

/// What an eUICC gets from outside.
pub trait Env {
    /// Fills the buffer with random octets.
    fn random(&mut self, out: &mut [u8]);
}

/// Randomness of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Env for SystemRandom {
    fn random(&mut self, out: &mut [u8]) {
        getrandom::fill(out).expect("a running system has randomness");
    }
}

/// One eUICC under power.
#[derive(Clone, Debug)]
pub struct Euicc {
    identity: Arc<Identity>,
    settings: Settings,
    memory: NonVolatile,
    revision: u64,
    channels: BTreeMap<u8, Channel>,
    session: Session,
    refresh: Option<Refresh>,
    terminal: Terminal,
    /// The files of the profile in use, once one was asked for.
    files: Option<Arc<FileSystem>>,
    /// Key references of the PINs that were given.
    verified_pins: BTreeSet<u8>,
    power_fails_halfway: bool,
    last_function: Option<u32>,
}

impl Euicc {
    /// Powers an eUICC up with what its flash holds; a new one holds [`NonVolatile::default`].
    pub fn new(
        identity: impl Into<Arc<Identity>>,
        settings: Settings,
        memory: NonVolatile,
    ) -> Self {
        let mut euicc = Self {
            identity: identity.into(),
            settings,
            memory,
            revision: 0,
            channels: BTreeMap::new(),
            session: Session::default(),
            refresh: None,
            terminal: Terminal::default(),
            files: None,
            verified_pins: BTreeSet::new(),
            power_fails_halfway: false,
            last_function: None,
        };
        euicc.reset();
        euicc
    }

    /// Executes one command APDU.
    pub fn handle(&mut self, apdu: &[u8], env: &mut dyn Env) -> Response {
        self.last_function = None;
        match Command::parse(apdu) {
            Ok(command) => self.execute(&command, env).unwrap_or_else(Response::from),
            Err(_) => StatusWord::WRONG_LENGTH.into(),
        }
    }

    /// Executes one command APDU as far as the card gets when its power fails meanwhile: what is
    /// done in several steps is only begun. The answer is lost.
    pub fn begin(&mut self, apdu: &[u8], env: &mut dyn Env) {
        self.power_fails_halfway = true;
        self.handle(apdu, env);
        self.power_fails_halfway = false;
    }

    /// A reset, or power that came back.
    ///
    /// Channels and the RSP session are gone, a switch that waited for the REFRESH is made, or the
    /// card goes back to another profile ([`Settings::profile_at_reset`]), a memory reset that was begun is finished, and an installation that was under way is reported as
    /// interrupted.
    pub fn reset(&mut self) {
        self.channels = BTreeMap::from([(0, Channel::default())]);
        self.session = Session::default();
        self.refresh = None;
        self.terminal = Terminal::default();
        self.forget_files();
        self.report_interruption();
        if let Some(switch) = self.memory.pending_switch.clone() {
            self.flash().pending_switch = None;
            self.switch(switch.enable.as_ref());
        }
        if let Some(iccid) = self.settings.profile_at_reset
            && self.enabled_iccid() != Some(iccid)
            && self.find(&ProfileIdentifier::Iccid(iccid)).is_some()
        {
            self.switch(Some(&iccid));
        }
        self.finish_memory_reset();
    }

    /// The EID.
    pub fn eid(&self) -> Eid {
        self.identity.eid()
    }

    /// What the manufacturer put in.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// What survives power loss.
    pub fn memory(&self) -> &NonVolatile {
        &self.memory
    }

    /// Rises with every change of [`Euicc::memory`].
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The profile in use.
    pub fn enabled_iccid(&self) -> Option<Iccid> {
        self.memory
            .profiles
            .iter()
            .find(|profile| profile.enabled)
            .map(|profile| profile.iccid)
    }

    /// Takes a REFRESH that waits for the terminal, as FETCH does; false when none waits.
    ///
    /// The terminal acts on it by [`Euicc::reset`].
    pub fn take_refresh(&mut self) -> bool {
        let waiting = self.refresh == Some(Refresh::Waiting);
        if waiting {
            self.refresh = Some(Refresh::Fetched);
        }
        waiting
    }

    /// The supplementary logical channels that are open.
    pub fn open_channels(&self) -> Vec<u8> {
        self.channels
            .keys()
            .copied()
            .filter(|number| *number != 0)
            .collect()
    }

    /// The tag of the ES10 function the last command completed, `86` and so on for BPP segments.
    pub fn last_function(&self) -> Option<u32> {
        self.last_function
    }

    /// How the card is set up; changes hold from the next command on.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// How the card is set up.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Octets of flash that are not in use.
    pub fn free_memory(&self) -> usize {
        let profiles = self.memory.profiles.iter();
        let crls = self.memory.crls.iter();
        let used: usize = profiles
            .map(|profile| profile.package.len())
            .chain(crls.map(|crl| crl.der.len()))
            .sum();
        self.settings.memory.saturating_sub(used)
    }

    fn flash(&mut self) -> &mut NonVolatile {
        self.revision += 1;
        &mut self.memory
    }
}

#[cfg(test)]
pub(crate) mod tests;
