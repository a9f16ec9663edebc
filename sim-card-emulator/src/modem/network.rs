//! The network: whether the enabled profile gets into it, and the commands that ask for that.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use es10_apdu::at::Cme;

use super::form::Form;
use super::quirks::read_time;
use super::{Card, Event, Failure, Modem, Reply};

/// How the network treats a profile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Network {
    /// It lets the profile in, so long after the search began.
    Registers {
        /// How long it takes.
        after: Duration,
    },
    /// It lets the profile in after so long, but not for packet data.
    WithoutData {
        /// How long it takes.
        after: Duration,
    },
    /// It is never found: no coverage.
    Never,
    /// It refuses the SIM.
    RejectsSim,
}

impl Default for Network {
    fn default() -> Self {
        Self::Registers {
            after: Duration::ZERO,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `registers`, `registers-after=5s`, `without-data`, `without-data-after=5s`, `never`
    /// or `rejects-sim`.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (name, time) = match text.split_once('=') {
            Some((name, time)) => (name, read_time(time)),
            None => (text, None),
        };
        let at_once = !text.contains('=');
        Ok(match (name, time, at_once) {
            ("registers", _, true) => Self::default(),
            ("registers-after", Some(after), _) => Self::Registers { after },
            ("without-data", _, true) => Self::WithoutData {
                after: Duration::ZERO,
            },
            ("without-data-after", Some(after), _) => Self::WithoutData { after },
            ("never", _, true) => Self::Never,
            ("rejects-sim", _, true) => Self::RejectsSim,
            _ => {
                let text = text.to_owned();
                return Err(NetworkError { text });
            }
        })
    }
}

/// No network behaves like that.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "no network is like {text:?}; say registers, registers-after=5s, without-data, \
     without-data-after=5s, never or rejects-sim"
)]
pub struct NetworkError {
    text: String,
}

/// How the network treats each profile.
#[derive(Clone, Debug, Default)]
pub(super) struct Networks {
    unnamed: Network,
    named: BTreeMap<String, Network>,
}

impl Networks {
    pub(super) fn set(&mut self, profile: Option<&str>, network: Network) {
        match profile {
            Some(profile) => {
                self.named.insert(profile.to_owned(), network);
            }
            None => self.unnamed = network,
        }
    }

    pub(super) fn of(&self, identities: [Option<&str>; 2]) -> Network {
        let named = identities.into_iter().flatten();
        let mut named = named.filter_map(|identity| self.named.get(identity));
        named.next().copied().unwrap_or(self.unnamed)
    }
}

/// The modem's place in the network, 3GPP TS 27.007 section 7.2.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Registration {
    circuit: Stat,
    packet: Stat,
}

impl Registration {
    /// The state that one of the three commands tells.
    fn of(self, command: &str) -> Stat {
        match command {
            "+CREG" => self.circuit,
            _ => self.packet,
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
}

impl<C: Card> Modem<C> {
    /// Looks for the network again, after radio, card or network have changed.
    pub(super) fn search(&mut self) {
        self.forget(&Event::Found);
        let radio = self.settings.cfun == 1 && !self.settings.deregistered;
        let now = match self.sim.iccid() {
            Some(_) if radio && !self.sim.wants_pin => self.found(true),
            _ => Registration::default(),
        };
        self.set_registration(now);
    }

    /// The time the search takes has passed.
    pub(super) fn register(&mut self) {
        let now = self.found(false);
        self.set_registration(now);
    }

    /// What becomes of a search that begins, or ends now.
    fn found(&mut self, begins: bool) -> Registration {
        let both = |stat| Registration {
            circuit: stat,
            packet: stat,
        };
        let network = self.control.network([self.sim.iccid(), self.sim.imsi()]);
        match network {
            Network::Registers { after } | Network::WithoutData { after }
                if begins && !after.is_zero() =>
            {
                self.schedule(after, Event::Found);
                both(Stat::Searching)
            }
            Network::Registers { .. } => both(Stat::Home),
            Network::WithoutData { .. } => Registration {
                circuit: Stat::Home,
                packet: Stat::Denied,
            },
            Network::Never => both(Stat::Searching),
            Network::RejectsSim => both(Stat::Denied),
        }
    }

    fn set_registration(&mut self, now: Registration) {
        let before = std::mem::replace(&mut self.registration, now);
        for (index, name) in REGISTRATIONS.into_iter().enumerate() {
            let level = self.settings.registration_codes[index];
            if level > 0 && before.of(name) != now.of(name) {
                let state = state(name, level, now.of(name));
                self.say(&format!("{name}: {state}"));
            }
        }
        if now.packet != Stat::Home {
            self.settings.active_contexts.clear();
        }
    }

    /// `AT+CREG`, `AT+CGREG`, `AT+CEREG`.
    pub(super) fn registration(&mut self, name: &str, form: Form<'_>) -> Reply {
        let index = REGISTRATIONS.iter().position(|known| *known == name);
        let level = &mut self.settings.registration_codes[index.unwrap_or(0)];
        match form {
            Form::Read => {
                let state = state(name, *level, self.registration.of(name));
                Ok(vec![format!("{name}: {level},{state}")])
            }
            Form::Set("0" | "1" | "2") | Form::Run => {
                *level = match form {
                    Form::Set("1") => 1,
                    Form::Set("2") => 2,
                    _ => 0,
                };
                Ok(Vec::new())
            }
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
        match form {
            Form::Read if self.registration.circuit == Stat::Home => {
                let name = OPERATOR[usize::from(format)];
                return Ok(vec![format!("+COPS: {mode},{format},\"{name}\",7")]);
            }
            Form::Read => return Ok(vec![format!("+COPS: {mode}")]),
            Form::Set("0" | "1,2,\"00101\"" | "4,2,\"00101\"") => {
                self.settings.deregistered = false;
            }
            Form::Set("2") => self.settings.deregistered = true,
            Form::Set("3,0") => self.settings.operator_format = 0,
            Form::Set("3,1") => self.settings.operator_format = 1,
            Form::Set("3,2") => self.settings.operator_format = 2,
            _ => return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
        if !matches!(form, Form::Set(set) if set.starts_with('3')) {
            self.search();
        }
        Ok(Vec::new())
    }

    /// `AT+CGATT`: whether packet data may flow.
    pub(super) fn attachment(&mut self, form: Form<'_>) -> Reply {
        let attached = self.registration.packet == Stat::Home;
        match form {
            Form::Read => Ok(vec![format!("+CGATT: {}", u8::from(attached))]),
            Form::Set("1") if !attached => Err(Failure::Cme(NO_NETWORK)),
            Form::Set("0" | "1") => Ok(Vec::new()),
            _ => Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
    }

    /// `AT+CGDCONT=<number>,"<type>","<APN>"`.
    pub(super) fn define_context(&mut self, form: Form<'_>) -> Reply {
        let contexts = &mut self.settings.contexts;
        match form {
            Form::Read => Ok(contexts
                .iter()
                .map(|(number, rest)| format!("+CGDCONT: {number},{rest},\"\",0,0"))
                .collect()),
            Form::Set(set) => {
                let (number, rest) = set.split_once(',').unwrap_or((set, ""));
                let number = context_number(number)?;
                let kind = rest.split(',').next().unwrap_or_default();
                match kind {
                    "" => {
                        contexts.remove(&number);
                    }
                    "\"IP\"" | "\"IPV6\"" | "\"IPV4V6\"" if rest.len() <= APN_LIMIT => {
                        let mut parts = rest.splitn(3, ',');
                        let kind = parts.next().unwrap_or_default();
                        let apn = parts.next().unwrap_or("\"\"");
                        contexts.insert(number, format!("{kind},{apn}"));
                    }
                    _ => return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
                }
                Ok(Vec::new())
            }
            _ => Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
    }

    /// `AT+CGACT=<state>,<number>`.
    pub(super) fn activate_context(&mut self, form: Form<'_>) -> Reply {
        let settings = &mut self.settings;
        match form {
            Form::Read => {
                let line = |number: &u8| {
                    let active = settings.active_contexts.contains(number);
                    format!("+CGACT: {number},{}", u8::from(active))
                };
                Ok(settings.contexts.keys().map(line).collect())
            }
            Form::Set(set) => {
                let (state, number) = set.split_once(',').unwrap_or((set, "1"));
                let number = context_number(number)?;
                match state.trim() {
                    "0" => {
                        settings.active_contexts.remove(&number);
                    }
                    "1" if self.registration.packet != Stat::Home => {
                        return Err(Failure::Cme(NO_NETWORK));
                    }
                    "1" if settings.contexts.contains_key(&number) => {
                        settings.active_contexts.insert(number);
                    }
                    _ => return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
                }
                Ok(Vec::new())
            }
            _ => Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
    }
}

fn context_number(text: &str) -> Result<u8, Failure> {
    let number = text.trim().parse().ok();
    number
        .filter(|number| (1..=16).contains(number))
        .ok_or(Failure::Cme(Cme::INCORRECT_PARAMETERS))
}

/// A state, with the place at level 2.
fn state(name: &str, level: u8, stat: Stat) -> String {
    let number = stat as u8;
    match (level, stat, name) {
        (2, Stat::Home, "+CEREG") => format!("{number},\"0001\",\"00000101\",7"),
        (2, Stat::Home, _) => format!("{number},\"0001\",\"0101\",7"),
        _ => number.to_string(),
    }
}

const REGISTRATIONS: [&str; 3] = ["+CREG", "+CGREG", "+CEREG"];
/// The network's name: long, short and in digits (001 01 is for tests).
const OPERATOR: [&str; 3] = ["Test Network", "Test", "00101"];
const NO_NETWORK: Cme = Cme(30);
/// Characters of a context's definition at most.
const APN_LIMIT: usize = 128;
