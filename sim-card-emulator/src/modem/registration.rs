//! Registration: the search for the network, what comes of it, and the commands that tell.

use std::time::Duration;

use es10_apdu::apdu::ins;
use es10_apdu::at::Cme;

use super::form::Form;
use super::network::{Access, Cause, Identities, Network, Service};
use super::{Card, Event, Failure, Modem, Quirk, Reply};

/// The modem's place in the network, 3GPP TS 27.007 section 7.2.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Registration {
    circuit: Stat,
    packet: Stat,
    access: Access,
    /// Why it is not registered.
    cause: Option<Cause>,
}

impl Registration {
    /// The same for calls and for packet data.
    fn both(stat: Stat) -> Self {
        Self {
            circuit: stat,
            packet: stat,
            ..Self::default()
        }
    }

    /// The state that one of the four commands tells.
    fn of(self, command: &str) -> Stat {
        let has = |access: &[Access]| match access.contains(&self.access) {
            true => self.packet,
            false => Stat::Idle,
        };
        match command {
            "+CREG" => self.circuit,
            "+CGREG" => has(&[Access::Umts, Access::Lte]),
            "+CEREG" => has(&[Access::Lte]),
            _ => has(&[Access::Nr]),
        }
    }

    /// Whether it is registered for packet data.
    pub(super) fn has_data(self) -> bool {
        use Stat::{Home, NoCsfbHome, NoCsfbRoaming, Roaming};
        matches!(self.packet, Home | Roaming | NoCsfbHome | NoCsfbRoaming)
    }

    /// Which of its networks it is in.
    fn is_in(self) -> Option<usize> {
        let stats = [self.circuit, self.packet];
        let stat = stats.into_iter().find(|stat| stat.is_registered())?;
        Some(usize::from(stat.is_roaming()))
    }

    /// The access technology, as numbers tell it.
    fn technology(self) -> u8 {
        match self.access {
            Access::Umts => 2,
            Access::Lte => 7,
            Access::Nr => 11,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stat {
    #[default]
    Idle = 0,
    Home = 1,
    Searching = 2,
    Denied = 3,
    Unknown = 4,
    Roaming = 5,
    SmsHome = 6,
    SmsRoaming = 7,
    Emergency = 8,
    NoCsfbHome = 9,
    NoCsfbRoaming = 10,
}

impl Stat {
    /// What a modem is that was let in.
    fn in_network(network: &Network) -> Self {
        match (network.service, network.roaming) {
            (Service::SmsOnly, false) => Self::SmsHome,
            (Service::SmsOnly, true) => Self::SmsRoaming,
            (Service::NoCsfb, false) => Self::NoCsfbHome,
            (Service::NoCsfb, true) => Self::NoCsfbRoaming,
            (Service::Emergency, _) => Self::Emergency,
            (_, false) => Self::Home,
            (_, true) => Self::Roaming,
        }
    }

    fn is_registered(self) -> bool {
        !matches!(
            self,
            Self::Idle | Self::Searching | Self::Denied | Self::Unknown
        )
    }

    fn is_roaming(self) -> bool {
        matches!(self, Self::Roaming | Self::SmsRoaming | Self::NoCsfbRoaming)
    }
}

/// What the modem remembers while it looks for the network; a restart forgets it.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Refusals in a row, after which it waits longer.
    refused: u8,
    /// See [`super::network::Networks::number`].
    network: u64,
    /// `AT+CGATT=0`.
    pub(super) is_detached: bool,
    /// What `AT+CEER` tells.
    report: Option<String>,
}

impl Attempts {
    pub(super) fn report(&mut self, report: String) {
        self.report = Some(report);
    }
}

/// The carrier setting; kept without power.
#[derive(Debug)]
pub(super) struct Carrier {
    in_use: String,
    /// What is in use after a restart.
    chosen: String,
}

impl Carrier {
    /// The modem restarts.
    pub(super) fn restart(&mut self) {
        self.in_use.clone_from(&self.chosen);
    }
}

impl Default for Carrier {
    fn default() -> Self {
        Self {
            in_use: USUAL_CARRIER.to_owned(),
            chosen: USUAL_CARRIER.to_owned(),
        }
    }
}

impl<C: Card> Modem<C> {
    /// Looks for the network again, after radio, card or network have changed.
    pub(super) fn search(&mut self) {
        self.forget(&Event::Found);
        self.forget(&Event::Lost);
        self.attempts.refused = 0;
        self.attempts.network = self.control.networks(|all| all.number(self.identities()));
        let radio = self.settings.cfun == 1 && !self.settings.deregistered;
        if !radio || self.sim.wants_pin || self.sim.iccid().is_none() {
            return self.set_registration(Registration::default());
        }
        let network = self.network();
        if let Some(cause) = self.sim.refused_for {
            return self.set_registration(refused(cause, Stat::Denied, &network));
        }
        let mut takes = self.control.networks(|all| all.search(self.identities()));
        let has_setting = |carrier: &String| *carrier == self.carrier.in_use;
        if self.forbids(&network) || !network.carrier.as_ref().is_none_or(has_setting) {
            takes = None;
        }
        if takes == Some(Duration::ZERO) {
            return self.attach();
        }
        if let Some(takes) = takes {
            self.schedule(takes, Event::Found);
        }
        self.set_registration(Registration::both(match network.service {
            Service::Unknown => Stat::Unknown,
            _ => Stat::Searching,
        }));
    }

    /// Looks for the network again, when the test has changed the one of this profile.
    pub(super) fn notice_network(&mut self) {
        let now = self.control.networks(|all| all.number(self.identities()));
        if now != self.attempts.network {
            self.sim.refused_for = None;
            self.search();
        }
    }

    /// The network is found, and the modem asks to be let in.
    pub(super) fn attach(&mut self) {
        let network = self.network();
        let starts = self.radio_starts;
        let refused_for = self
            .control
            .networks(|all| all.admit(self.identities(), starts));
        if let Some(cause) = refused_for {
            self.attempts.report(format!("EMM cause {}", cause.0));
            return self.turn_away(cause, &network);
        }
        let wants_context = network.access != Access::Umts && !network.no_address;
        if let Some(esm) = self.attach_context_refused(&network)
            && wants_context
            && !self.attempts.is_detached
        {
            let cause = Cause::ESM_FAILURE;
            let report = format!("EMM cause {}, ESM cause {esm}", cause.0);
            self.attempts.report(report);
            return self.turn_away(cause, &network);
        }
        self.attempts.report = None;
        let stat = Stat::in_network(&network);
        let only_if = |is: bool| if is { stat } else { Stat::Idle };
        self.set_registration(Registration {
            circuit: only_if(network.access != Access::Nr),
            packet: only_if(!self.attempts.is_detached),
            access: network.access,
            cause: None,
        });
        self.renew_contexts(&network);
        if let Some(after) = network.loses_after {
            self.schedule(after, Event::Lost);
        }
        self.stay_awake();
    }

    /// The network is gone, as it was to be.
    pub(super) fn lose_network(&mut self) {
        self.control.networks(|all| all.lose(self.identities()));
        self.search();
    }

    /// The network has refused the modem.
    fn turn_away(&mut self, cause: Cause, network: &Network) {
        let stat = match cause.is_final() {
            true => {
                self.sim.refused_for = Some(cause);
                Stat::Denied
            }
            false => {
                self.attempts.refused += 1;
                let wait = match self.attempts.refused < ATTEMPTS {
                    true => T3411,
                    false => {
                        self.attempts.refused = 0;
                        T3402
                    }
                };
                self.schedule(wait, Event::Found);
                Stat::Searching
            }
        };
        if cause == Cause::PLMN_NOT_ALLOWED {
            self.forbid_network(network.roaming);
        }
        self.set_registration(refused(cause, stat, network));
    }

    fn set_registration(&mut self, now: Registration) {
        let before = std::mem::replace(&mut self.registration, now);
        for (index, name) in REGISTRATIONS.into_iter().enumerate() {
            let level = self.settings.registration_codes[index];
            let state = self.state(now, name, level);
            if level > 0 && state != self.state(before, name, level) {
                self.say(&format!("{name}: {state}"));
            }
        }
        if before.has_data() && !now.has_data() {
            self.drop_contexts(match (now.packet, now.cause) {
                (_, Some(_)) => Some("NW DETACH"),
                (Stat::Idle, _) => Some("ME DETACH"),
                _ => None,
            });
        }
    }

    /// `AT+CREG`, `AT+CGREG`, `AT+CEREG`, `AT+C5GREG`.
    pub(super) fn registration(&mut self, name: &str, form: Form<'_>) -> Reply {
        let index = REGISTRATIONS.iter().position(|known| *known == name);
        let index = index.unwrap_or(0);
        let refused = Err(Failure::Cme(Cme::INCORRECT_PARAMETERS));
        let most = self.highest_level(name);
        match form {
            Form::Read => {
                match self.network().service {
                    Service::SimFailure => return Err(Failure::Cme(Cme::SIM_FAILURE)),
                    Service::Untold => return Err(Failure::Error),
                    _ => {}
                }
                let level = self.settings.registration_codes[index];
                let state = self.state(self.registration, name, level);
                Ok(vec![format!("{name}: {level},{state}")])
            }
            Form::Run => {
                self.settings.registration_codes[index] = 0;
                Ok(Vec::new())
            }
            Form::Set(level) => match level.parse() {
                Ok(level) if level <= most => {
                    self.settings.registration_codes[index] = level;
                    Ok(Vec::new())
                }
                _ => refused,
            },
            Form::Test => refused,
        }
    }

    /// How much a command can be asked to tell.
    pub(super) fn highest_level(&self, name: &str) -> u8 {
        let standard = match name {
            "+CREG" | "+C5GREG" => 3,
            _ => 5,
        };
        let most = self.control.value(Quirk::RegistrationLevels);
        most.and_then(|most| u8::try_from(most).ok())
            .map_or(standard, |most| most.min(standard))
    }

    /// A state, with the place from level 2 on, the cause at levels 3 and 5, and the times of power
    /// saving at 4 and 5.
    fn state(&self, registration: Registration, name: &str, level: u8) -> String {
        let stat = match registration.of(name) {
            Stat::Denied if self.has(Quirk::DeniedSearching) => Stat::Searching,
            Stat::Searching if registration.cause.is_some() && self.has(Quirk::RetryDenied) => {
                Stat::Denied
            }
            stat => stat,
        };
        let mut fields = vec![(stat as u8).to_string()];
        // What of a place a cause comes after; `+CGREG` may tell a routing area as well.
        let width = match name {
            "+CGREG" => 5,
            "+C5GREG" => 6,
            _ => 4,
        };
        if level >= 2 && stat.is_registered() {
            fields.extend(place(name, registration.technology()));
        }
        if matches!(level, 3 | 5)
            && let Some(cause) = registration.cause
            && !stat.is_registered()
            && stat != Stat::Idle
        {
            fields.resize(width, String::new());
            fields.extend(["0".to_owned(), cause.0.to_string()]);
        }
        if level >= 4 && stat.is_registered() && self.has(Quirk::SleepsAfter) {
            fields.resize(width + 2, String::new());
            fields.extend(POWER_SAVING.map(str::to_owned));
        }
        fields.join(",")
    }

    /// `AT+CEER`: why the network refused something last.
    pub(super) fn report(&self, form: Form<'_>) -> Reply {
        let report = self.attempts.report.as_deref();
        match form {
            Form::Run => Ok(vec![format!("+CEER: {}", report.unwrap_or(NO_REPORT))]),
            _ => Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
    }

    /// `AT+COPS`.
    pub(super) fn operator(&mut self, form: Form<'_>) -> Reply {
        let mode = match self.settings.deregistered {
            true => 2,
            false => 0,
        };
        let format = self.settings.operator_format;
        let was_off = self.settings.deregistered;
        match form {
            Form::Read => {
                let Some(operator) = self.registration.is_in() else {
                    return Ok(vec![format!("+COPS: {mode}")]);
                };
                let name = OPERATORS[operator][usize::from(format)];
                let technology = self.registration.technology();
                let line = format!("+COPS: {mode},{format},\"{name}\",{technology}");
                return Ok(vec![line]);
            }
            Form::Set("0" | "1,2,\"00101\"" | "4,2,\"00101\"") => {
                self.settings.deregistered = false;
            }
            Form::Set("2") => self.settings.deregistered = true,
            Form::Set("3,0") => self.settings.operator_format = 0,
            Form::Set("3,1") => self.settings.operator_format = 1,
            Form::Set("3,2") => self.settings.operator_format = 2,
            _ => return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
        if self.settings.deregistered != was_off {
            self.search();
        }
        Ok(Vec::new())
    }

    /// How the network treats the profile in use.
    pub(super) fn network(&self) -> Network {
        self.control
            .networks(|all| all.of(self.identities()).clone())
    }

    fn identities(&self) -> Identities<'_> {
        [self.sim.iccid(), self.sim.imsi()]
    }

    /// Writes a network that has refused the profile for good into EF.FPLMN.
    fn forbid_network(&mut self, is_roaming: bool) {
        let own = PLMNS[usize::from(is_roaming)];
        self.read_forbidden_networks();
        let mut forbidden = self.sim.forbidden_networks.clone();
        let is_free = |entry: &&mut [u8]| **entry == [0xFF; 3];
        if forbidden.is_empty() || forbidden.chunks(3).any(|entry| entry == own) {
            return;
        }
        match forbidden.chunks_exact_mut(3).find(is_free) {
            Some(free) => free.copy_from_slice(&own),
            None => {
                forbidden.drain(..3);
                forbidden.extend(own);
            }
        }
        let length = u8::try_from(forbidden.len()).unwrap_or(u8::MAX);
        let mut update = vec![0x00, ins::UPDATE_BINARY, 0x00, 0x00, length];
        update.extend(&forbidden);
        self.own(&update);
        self.sim.forbidden_networks = forbidden;
    }

    /// Reads EF.FPLMN, which is selected then.
    pub(super) fn read_forbidden_networks(&mut self) {
        let mut content = Vec::new();
        if self.select_application().is_done() && self.select(EF_FPLMN).is_done() {
            let file = self.own(&[0x00, ins::READ_BINARY, 0x00, 0x00, 0x00]);
            content = file.data;
        }
        content.truncate(content.len() / 3 * 3);
        self.sim.forbidden_networks = content;
    }

    /// Whether EF.FPLMN has the network.
    fn forbids(&self, network: &Network) -> bool {
        let own = PLMNS[usize::from(network.roaming)];
        let mut forbidden = self.sim.forbidden_networks.chunks(3);
        forbidden.any(|entry| entry == own)
    }

    /// `AT+QMBNCFG="Select","<name>"`: the carrier setting, which holds from the next restart on.
    pub(super) fn select_carrier(&mut self, form: Form<'_>) -> Reply {
        let Form::Set(set) = form else {
            return Err(Failure::Error);
        };
        let mut words = set.split(',').map(|word| word.trim().trim_matches('"'));
        match (words.next(), words.next(), words.next()) {
            (Some("Select"), None, _) => {
                let line = format!("+QMBNCFG: \"Select\",\"{}\"", self.carrier.in_use);
                return Ok(vec![line]);
            }
            (Some("Select"), Some(name), None) if (1..=64).contains(&name.len()) => {
                name.clone_into(&mut self.carrier.chosen);
            }
            (Some("Deactivate"), None, _) => self.carrier.chosen.clear(),
            (Some("AutoSel"), Some("0" | "1"), None) => {}
            _ => return Err(Failure::Error),
        }
        Ok(Vec::new())
    }
}

/// A modem that was refused.
fn refused(cause: Cause, stat: Stat, network: &Network) -> Registration {
    let circuit = match cause.spares_circuit() && network.access != Access::Nr {
        true => Stat::in_network(network),
        false => stat,
    };
    Registration {
        circuit,
        packet: stat,
        access: network.access,
        cause: Some(cause),
    }
}

/// Area, cell, access technology, and in 5G the slices.
fn place(name: &str, technology: u8) -> Vec<String> {
    let place: &[&str] = match name {
        "+CEREG" => &["\"0001\"", "\"00000101\""],
        "+C5GREG" => &["\"000001\"", "\"0000000101\""],
        _ => &["\"0001\"", "\"0101\""],
    };
    let slices: &[&str] = match name {
        "+C5GREG" => &["1", "\"01\""],
        _ => &[],
    };
    let place = place.iter().map(|part| (*part).to_owned());
    let place = place.chain([technology.to_string()]);
    place
        .chain(slices.iter().map(|part| (*part).to_owned()))
        .collect()
}

pub(super) const REGISTRATIONS: [&str; 4] = ["+CREG", "+CGREG", "+CEREG", "+C5GREG"];
/// The networks at home and elsewhere: long, short and in digits (001 is for tests).
const OPERATORS: [[&str; 3]; 2] = [
    ["Test Network", "Test", "00101"],
    ["Other Network", "Other", "00102"],
];
/// The same as EF.FPLMN has them.
const PLMNS: [[u8; 3]; 2] = [[0x00, 0xF1, 0x10], [0x00, 0xF1, 0x20]];
pub(super) const EF_FPLMN: u16 = 0x6F7B;
const USUAL_CARRIER: &str = "ROW_Generic_3GPP";
/// What `AT+CEER` answers when all is well.
const NO_REPORT: &str = "No cause information available";
/// Active time and periodic update of a modem that sleeps: ten seconds, six hours.
const POWER_SAVING: [&str; 2] = ["\"00000101\"", "\"00100110\""];
/// Attempts in a row, the time between two of them, and after them: 3GPP TS 24.301 sections 5.5.1.2
/// and 10.2.
const ATTEMPTS: u8 = 5;
const T3411: Duration = Duration::from_secs(10);
const T3402: Duration = Duration::from_secs(720);
