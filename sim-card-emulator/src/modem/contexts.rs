//! Packet data: contexts, their addresses, and whether packets get through; 3GPP TS 27.007 section 10.

use std::collections::BTreeMap;

use es10_apdu::at::Cme;

use super::form::Form;
use super::network::{Access, Network};
use super::{Card, Data, Failure, Modem, Reply};

/// The contexts of a modem; what was defined outlives a restart.
#[derive(Debug)]
pub(super) struct Contexts {
    defined: BTreeMap<u8, Context>,
    active: BTreeMap<u8, Context>,
    /// `AT+CGEREP`.
    events: u8,
}

#[derive(Clone, Debug)]
struct Context {
    kind: String,
    apn: String,
}

impl Context {
    /// That of a modem nobody has set up.
    fn usual() -> Self {
        Self {
            kind: "IPV4V6".to_owned(),
            apn: String::new(),
        }
    }

    /// What the network gave it, for IPv4 and for IPv6, as far as it wants them.
    fn addresses(&self, number: u8) -> Vec<String> {
        let old = format!("10.64.0.{number}");
        let new = format!("32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.{number}");
        match self.kind.as_str() {
            "IP" => vec![old],
            "IPV6" => vec![new],
            _ => vec![old, new],
        }
    }
}

impl Default for Contexts {
    fn default() -> Self {
        Self {
            defined: BTreeMap::from([(ATTACH, Context::usual())]),
            active: BTreeMap::new(),
            events: 0,
        }
    }
}

impl Contexts {
    /// The modem restarts.
    pub(super) fn restart(&mut self) {
        self.active.clear();
        self.events = 0;
    }
}

impl<C: Card> Modem<C> {
    /// Why the network refuses the context that a modem registers with, as a cause of ESM.
    pub(super) fn attach_context_refused(&self, network: &Network) -> Option<u8> {
        let context = self.contexts.defined.get(&ATTACH)?;
        refused(network, context)
    }

    /// After a registration: contexts the network does not want are gone, and the one the modem has
    /// registered with is up.
    pub(super) fn renew_contexts(&mut self, network: &Network) {
        let active = std::mem::take(&mut self.contexts.active);
        let (kept, lost): (BTreeMap<_, _>, BTreeMap<_, _>) = active
            .into_iter()
            .partition(|(_, context)| refused(network, context).is_none());
        self.contexts.active = kept;
        for number in lost.into_keys() {
            self.tell(&format!("NW PDN DEACT {number}"));
        }
        if network.access != Access::Umts && self.registration.has_data() {
            // A refusal has been noted for AT+CEER.
            let _ = self.activate(ATTACH, network);
        }
        self.tell_data();
    }

    /// The registration is gone, and all contexts with it: the modem tells this, or of each of them.
    pub(super) fn drop_contexts(&mut self, event: Option<&str>) {
        let active = std::mem::take(&mut self.contexts.active);
        match event {
            Some(event) => self.tell(event),
            None => {
                for number in active.into_keys() {
                    self.tell(&format!("ME PDN DEACT {number}"));
                }
            }
        }
        self.tell_data();
    }

    /// Tells those who watch whether packets get through.
    pub(super) fn tell_data(&self) {
        let is_up = self.registration.has_data() && !self.contexts.active.is_empty();
        self.control.set_data(match is_up {
            false => Data::Down,
            true if self.network().no_packets => Data::Stuck,
            true => Data::Up,
        });
    }

    fn activate(&mut self, number: u8, network: &Network) -> Result<(), Failure> {
        if self.contexts.active.contains_key(&number) {
            return Ok(());
        }
        let context = self.contexts.defined.get(&number);
        let context = context.ok_or(Failure::Cme(Cme::INCORRECT_PARAMETERS))?;
        if let Some(cause) = refused(network, context) {
            self.attempts.report(format!("ESM cause {cause}"));
            return Err(Failure::Cme(match cause {
                NOT_SUBSCRIBED => SERVICE_NOT_SUBSCRIBED,
                _ => UNSPECIFIED_ERROR,
            }));
        }
        self.contexts.active.insert(number, context.clone());
        self.tell(&format!("ME PDN ACT {number}"));
        Ok(())
    }

    /// Tells an event of packet data, if it is asked for.
    fn tell(&mut self, event: &str) {
        if self.contexts.events > 0 {
            self.say(&format!("+CGEV: {event}"));
        }
    }

    /// `AT+CGEREP=<mode>`: whether `+CGEV` comes unasked.
    pub(super) fn report_events(&mut self, form: Form<'_>) -> Reply {
        match form {
            Form::Read => return Ok(vec![format!("+CGEREP: {},0", self.contexts.events)]),
            Form::Run | Form::Set("0" | "0,0" | "0,1") => self.contexts.events = 0,
            Form::Set("1" | "1,0" | "1,1") => self.contexts.events = 1,
            Form::Set("2" | "2,0" | "2,1") => self.contexts.events = 2,
            _ => return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
        Ok(Vec::new())
    }

    /// `AT+CGATT`: whether the modem is registered for packet data.
    pub(super) fn attachment(&mut self, form: Form<'_>) -> Reply {
        let is_attached = self.registration.has_data();
        match form {
            Form::Read => return Ok(vec![format!("+CGATT: {}", u8::from(is_attached))]),
            Form::Set("1") if self.attempts.is_detached => self.attempts.is_detached = false,
            Form::Set("1") if !is_attached => return Err(Failure::Cme(NO_NETWORK)),
            Form::Set("0") if !self.attempts.is_detached => self.attempts.is_detached = true,
            Form::Set("0" | "1") => return Ok(Vec::new()),
            _ => return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
        self.search();
        Ok(Vec::new())
    }

    /// `AT+CGDCONT=<number>,"<type>","<APN>"`; the context to register with is always there.
    pub(super) fn define_context(&mut self, form: Form<'_>) -> Reply {
        let contexts = &mut self.contexts.defined;
        match form {
            Form::Read => Ok(contexts
                .iter()
                .map(|(number, Context { kind, apn })| {
                    format!("+CGDCONT: {number},\"{kind}\",\"{apn}\",\"\",0,0")
                })
                .collect()),
            Form::Set(set) => {
                let mut fields = set.split(',').map(|field| field.trim().trim_matches('"'));
                let number = context_number(fields.next().unwrap_or_default())?;
                match fields.next().unwrap_or_default() {
                    "" if number == ATTACH => {
                        contexts.insert(number, Context::usual());
                    }
                    "" => {
                        contexts.remove(&number);
                    }
                    kind @ ("IP" | "IPV6" | "IPV4V6") => {
                        let kind = kind.to_owned();
                        let apn = fields.next().unwrap_or_default();
                        let fits = apn.len() <= APN_LIMIT;
                        fits.then_some(())
                            .ok_or(Failure::Cme(Cme::INCORRECT_PARAMETERS))?;
                        let apn = apn.to_owned();
                        contexts.insert(number, Context { kind, apn });
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
        match form {
            Form::Read => {
                let Contexts {
                    defined, active, ..
                } = &self.contexts;
                let line = |number: &u8| {
                    let active = active.contains_key(number);
                    format!("+CGACT: {number},{}", u8::from(active))
                };
                Ok(defined.keys().map(line).collect())
            }
            Form::Set(set) => {
                let (state, number) = set.split_once(',').unwrap_or((set, "1"));
                let number = context_number(number)?;
                match state.trim() {
                    "0" => {
                        if self.contexts.active.remove(&number).is_some() {
                            self.tell(&format!("ME PDN DEACT {number}"));
                        }
                    }
                    "1" if !self.registration.has_data() => {
                        return Err(Failure::Cme(NO_NETWORK));
                    }
                    "1" => {
                        let network = self.network();
                        self.activate(number, &network)?;
                    }
                    _ => return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
                }
                self.tell_data();
                Ok(Vec::new())
            }
            _ => Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
    }

    /// `AT+CGPADDR[=<number>…]`: addresses.
    pub(super) fn context_addresses(&self, form: Form<'_>) -> Reply {
        let line = |number: u8| {
            let context = self.contexts.active.get(&number);
            let addresses = context.map(|context| context.addresses(number));
            let addresses: String = addresses
                .iter()
                .flatten()
                .map(|address| format!(",\"{address}\""))
                .collect();
            format!("+CGPADDR: {number}{addresses}")
        };
        let defined = &self.contexts.defined;
        match form {
            Form::Run => Ok(defined.keys().map(|number| line(*number)).collect()),
            Form::Set(numbers) => numbers
                .split(',')
                .map(|number| context_number(number).map(line))
                .collect(),
            _ => Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
    }

    /// `AT+CGCONTRDP[=<number>]`: what the network has given each context that is up.
    pub(super) fn context_parameters(&self, form: Form<'_>) -> Reply {
        let active = &self.contexts.active;
        let wanted = match form {
            Form::Run => None,
            Form::Set(number) => Some(context_number(number)?),
            _ => return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        };
        if wanted.is_some_and(|number| !active.contains_key(&number)) {
            return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS));
        }
        let told = active
            .iter()
            .filter(|(number, _)| wanted.is_none_or(|wanted| wanted == **number));
        let lines = told.flat_map(|(number, context)| {
            let apn = &context.apn;
            let bearer = number + FIRST_BEARER - 1;
            let mask = |address: &str| match address.split('.').count() {
                4 => "255.255.255.0".to_owned(),
                _ => ["255"; 8].join(".") + &".0".repeat(8),
            };
            let addresses = context.addresses(*number).into_iter();
            addresses.map(move |address| {
                let mask = mask(&address);
                format!("+CGCONTRDP: {number},{bearer},\"{apn}\",\"{address}.{mask}\"")
            })
        });
        Ok(lines.collect())
    }
}

/// Why the network refuses a context, as a cause of ESM, 3GPP TS 24.301 section 9.9.4.4.
fn refused(network: &Network, context: &Context) -> Option<u8> {
    match &network.apn {
        Some(apn) if apn.eq_ignore_ascii_case(&context.apn) => None,
        Some(_) if context.apn.is_empty() => Some(NO_APN),
        Some(_) => Some(NOT_SUBSCRIBED),
        None => network.no_address.then_some(NETWORK_FAILURE),
    }
}

fn context_number(text: &str) -> Result<u8, Failure> {
    let number = text.trim().parse().ok();
    number
        .filter(|number| (1..=16).contains(number))
        .ok_or(Failure::Cme(Cme::INCORRECT_PARAMETERS))
}

/// The context that a modem registers with.
const ATTACH: u8 = 1;
/// The number of the first bearer.
const FIRST_BEARER: u8 = 5;
/// Missing or unknown APN, not subscribed, and network failure: causes of ESM.
const NO_APN: u8 = 27;
const NOT_SUBSCRIBED: u8 = 33;
const NETWORK_FAILURE: u8 = 38;
const NO_NETWORK: Cme = Cme(30);
/// 3GPP TS 27.007 section 9.2.2.
const SERVICE_NOT_SUBSCRIBED: Cme = Cme(133);
const UNSPECIFIED_ERROR: Cme = Cme(148);
/// Characters of an APN at most.
const APN_LIMIT: usize = 100;
