//! The modem as the card's terminal: it reads the enabled profile, ETSI TS 102 221 section 14, and
//! does what the card asks for, ETSI TS 102 223.

use std::time::Duration;

use es10_apdu::apdu::{StatusWord, ins};
use tokio::time::Instant;

use super::network::Cause;
use super::{Card, Event, Modem, Quirk};

/// What the modem knows of the card.
#[derive(Debug, Default)]
pub(super) struct Sim {
    /// [`Card::power_ups`] when it was read.
    power_ups: u64,
    pub(super) iccid: Option<String>,
    pub(super) imsi: Option<String>,
    /// The profile in use gives its IMSI only to a client that knows the PIN.
    pub(super) wants_pin: bool,
    /// The AID of the USIM.
    application: Option<Vec<u8>>,
    /// The length of what the card wants fetched.
    pub(super) proactive: Option<u8>,
    /// When it was read; until then it is unknown.
    started: Option<Instant>,
    /// When the modem's own LPA lends the ISD-R, if that was asked for.
    pub(super) lends_at: Option<Instant>,
    /// A REFRESH was fetched, and is acted on later.
    pub(super) refresh_is_due: bool,
    /// A REFRESH is under way.
    pub(super) is_refreshing: bool,
    /// Another program has the card.
    pub(super) is_locked: bool,
    /// The network has refused the profile, which is not tried again until the radio restarts.
    pub(super) refused_for: Option<Cause>,
    /// EF.FPLMN.
    pub(super) forbidden_networks: Vec<u8>,
    /// Commands since it was read.
    pub(super) asked: u64,
}

impl Sim {
    /// The ICCID of the profile in use.
    pub(super) fn iccid(&self) -> Option<&str> {
        self.iccid.as_deref()
    }

    /// How long ago the card was read.
    pub(super) fn age(&self) -> Duration {
        self.started
            .map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// Whether the modem's own LPA leaves the ISD-R to others, which it does for so long.
    pub(super) fn lends_isdr(&self, long: Duration) -> bool {
        match self.lends_at {
            Some(at) => at.elapsed() <= long && Instant::now() >= at,
            None => self.age() <= long,
        }
    }

    /// The IMSI of the profile in use.
    pub(super) fn imsi(&self) -> Option<&str> {
        self.imsi.as_deref()
    }
}

/// What the card answered the modem itself.
pub(super) struct Answer {
    pub(super) data: Vec<u8>,
    /// 0 when there was none.
    pub(super) sw: u16,
}

impl Answer {
    pub(super) fn is_done(&self) -> bool {
        matches!(self.sw.to_be_bytes(), [0x90, 0x00] | [0x91, _])
    }
}

impl<C: Card> Modem<C> {
    /// Reads a card that has just got its power: channels and sessions are gone.
    pub(super) fn start_card(&mut self) {
        self.stop_card();
        self.sim.started = Some(Instant::now());
        if self.has(Quirk::BareTerminalCapability) {
            self.own(&BARE_TERMINAL_CAPABILITY);
        } else if !self.has(Quirk::NoTerminalCapability) {
            self.own(&TERMINAL_CAPABILITY);
        }
        self.select(MASTER_FILE);
        self.sim.iccid = self.read_iccid();
        if self.first_iccid.is_none() {
            self.first_iccid.clone_from(&self.sim.iccid);
        }
        if self.sim.iccid.is_some() {
            self.sim.application = self.find_application();
            self.read_subscriber();
        }
        self.occupy_channels();
        let mut profile = TERMINAL_PROFILE;
        if self.has(Quirk::NoProfileStateChange) {
            profile[STATE_CHANGE.0] &= !STATE_CHANGE.1;
        }
        self.own(&profile);
    }

    /// Reads the IMSI, as far as the card lets the modem.
    pub(super) fn read_subscriber(&mut self) {
        if !self.select_application().is_done() || !self.select(EF_IMSI).is_done() {
            return;
        }
        let file = self.own(&[0x00, ins::READ_BINARY, 0x00, 0x00, 0x09]);
        self.sim.wants_pin = file.sw == StatusWord::SECURITY_STATUS.0;
        self.sim.imsi = imsi(&file.data);
        self.read_forbidden_networks();
    }

    /// Forgets a card that has no power.
    pub(super) fn stop_card(&mut self) {
        self.sessions.clear();
        self.sim = Sim {
            power_ups: self.card.power_ups(),
            ..Sim::default()
        };
    }

    /// The card does not answer.
    pub(super) fn lose_card(&mut self) {
        self.stop_card();
        self.search();
    }

    /// Reads the card again after a reset.
    pub(super) fn notice_card(&mut self) {
        if self.settings.card_is_on() && self.card.power_ups() != self.sim.power_ups {
            self.start_card();
            self.search();
        }
    }

    /// Remembers what a response says of a command of the card's.
    pub(super) fn note_proactive(&mut self, response: &[u8]) {
        if let [.., 0x91, length] = *response {
            self.sim.proactive = Some(length);
        }
    }

    /// Does what the card asks for, if it does.
    pub(super) fn serve_card(&mut self) {
        for _ in 0..PROACTIVE_COMMANDS {
            let deaf = self.has(Quirk::IgnoresRefresh) || self.has(Quirk::StuckRefresh);
            let refreshes = self.sim.is_refreshing || self.sim.refresh_is_due;
            if deaf || refreshes || !self.settings.card_is_on() {
                return;
            }
            let Some(length) = self.sim.proactive.take() else {
                return;
            };
            let fetched = self.own(&[0x80, ins::FETCH, 0x00, 0x00, length]);
            match Proactive::read(&fetched.data) {
                Some(Proactive::Refresh { details }) if self.has(Quirk::LateRefresh) => {
                    self.sim.refresh_is_due = true;
                    let late = self.control.time(Quirk::LateRefresh);
                    self.schedule(late, Event::Refresh { details });
                }
                Some(Proactive::Refresh { details }) => self.refresh(details),
                Some(Proactive::Other { details }) => self.respond(details, BEYOND_CAPABILITIES),
                None => return,
            }
        }
    }

    /// REFRESH, ETSI TS 102 223 section 6.4.7: only "UICC Reset" takes the power away.
    fn refresh(&mut self, details: [u8; 3]) {
        match details[2] {
            UICC_RESET => self.card.reset(),
            _ => self.respond(details, PERFORMED),
        }
        self.settings.echo |= self.has(Quirk::EchoReturns);
        if self.has(Quirk::RefreshHangsUp) {
            return self.leave(self.control.time(Quirk::RefreshHangsUp));
        }
        let time = self.control.time(Quirk::RefreshTime);
        if time.is_zero() {
            self.start_card();
            self.say("+QUSIM: 1");
        } else {
            self.stop_card();
            self.sim.is_refreshing = true;
            self.say("+CPIN: NOT READY");
            self.schedule(time, Event::CardBack);
        }
        self.search();
    }

    /// The time a late modem takes to act on a REFRESH has passed; a card that was reset meanwhile
    /// wants none any more.
    pub(super) fn refresh_late(&mut self, details: [u8; 3]) {
        if std::mem::take(&mut self.sim.refresh_is_due) {
            self.refresh(details);
        }
    }

    /// The time a REFRESH takes has passed.
    pub(super) fn card_is_back(&mut self) {
        if !self.sim.is_refreshing {
            return;
        }
        self.start_card();
        self.say("+QUSIM: 1");
        if let Ok(state) = self.card_state() {
            self.say(&format!("+CPIN: {state}"));
        }
        self.search();
    }

    fn respond(&mut self, [number, kind, qualifier]: [u8; 3], result: u8) {
        let response = [
            [0x81, 0x03, number, kind],
            [qualifier, 0x82, 0x02, 0x82],
            [0x81, 0x83, 0x01, result],
        ]
        .concat();
        let mut apdu = vec![0x80, ins::TERMINAL_RESPONSE, 0x00, 0x00, 0x0C];
        apdu.extend(response);
        self.own(&apdu);
    }

    fn read_iccid(&mut self) -> Option<String> {
        self.select(EF_ICCID).is_done().then_some(())?;
        let file = self.own(&[0x00, ins::READ_BINARY, 0x00, 0x00, 0x0A]);
        swapped_digits(&file.data).filter(|digits| digits.len() >= 18)
    }

    /// The AID of the first USIM in EF.DIR.
    fn find_application(&mut self) -> Option<Vec<u8>> {
        self.select(EF_DIR).is_done().then_some(())?;
        for record in 1..=APPLICATIONS {
            let entry = self.own(&[0x00, ins::READ_RECORD, record, 0x04, 0x00]);
            if !entry.is_done() {
                return None;
            }
            if let [0x61, _, 0x4F, length, rest @ ..] = &entry.data[..]
                && let Some(aid) = rest.get(..usize::from(*length))
                && aid.starts_with(&USIM)
            {
                return Some(aid.to_vec());
            }
        }
        None
    }

    /// ins::SELECT by file identifier on the basic channel, answered with the file's properties.
    pub(super) fn select(&mut self, file: u16) -> Answer {
        let [high, low] = file.to_be_bytes();
        self.own(&[0x00, ins::SELECT, 0x00, 0x04, 0x02, high, low])
    }

    /// ins::SELECT of the USIM on the basic channel.
    pub(super) fn select_application(&mut self) -> Answer {
        let aid = self
            .sim
            .application
            .clone()
            .unwrap_or_else(|| USIM.to_vec());
        let length = u8::try_from(aid.len()).unwrap_or(u8::MAX);
        let mut apdu = vec![0x00, ins::SELECT, 0x04, 0x04, length];
        apdu.extend(aid);
        self.own(&apdu)
    }

    /// A command of the modem's own, with GET RESPONSE and the right Le as need be.
    pub(super) fn own(&mut self, apdu: &[u8]) -> Answer {
        let mut data = Vec::new();
        let mut apdu = apdu.to_vec();
        for _ in 0..EXCHANGES {
            let response = self.card.transmit_own(&apdu);
            let Some((more, sw)) = response.split_last_chunk::<2>() else {
                break;
            };
            self.note_proactive(&response);
            match *sw {
                [0x61, le] => apdu = vec![apdu[0], ins::GET_RESPONSE, 0x00, 0x00, le],
                [0x6C, le] if apdu.len() == 5 => apdu[4] = le,
                sw => {
                    data.extend(more);
                    let sw = u16::from_be_bytes(sw);
                    return Answer { data, sw };
                }
            }
            data.extend(more);
        }
        Answer { data, sw: 0 }
    }

    /// Selects the MF on the basic channel.
    pub(super) fn select_master_file(&mut self) {
        self.select(MASTER_FILE);
    }
}

/// A command of the card's: number, type and qualifier.
enum Proactive {
    Refresh { details: [u8; 3] },
    Other { details: [u8; 3] },
}

impl Proactive {
    /// Reads the command details, which come first, ETSI TS 102 223 section 6.6.
    fn read(command: &[u8]) -> Option<Self> {
        let (0xD0, rest) = command.split_first().map(|(tag, rest)| (*tag, rest))? else {
            return None;
        };
        let ([0x81, _, rest @ ..] | [_, rest @ ..]) = rest else {
            return None;
        };
        let [0x81 | 0x01, 0x03, number, kind, qualifier, ..] = *rest else {
            return None;
        };
        let details = [number, kind, qualifier];
        Some(match kind {
            REFRESH => Self::Refresh { details },
            _ => Self::Other { details },
        })
    }
}

/// What EF.IMSI holds, ETSI TS 131 102 section 4.2.2.
fn imsi(file: &[u8]) -> Option<String> {
    let (length, rest) = file.split_first()?;
    let digits = swapped_digits(rest.get(..usize::from(*length))?)?;
    // The first half octet tells whether the number of digits is odd.
    digits
        .get(1..)
        .filter(|imsi| imsi.len() >= 6)
        .map(str::to_owned)
}

/// Digits of octets whose halves are swapped; `F` fills up the last one.
fn swapped_digits(octets: &[u8]) -> Option<String> {
    let mut digits = String::new();
    for octet in octets {
        digits.push(char::from_digit(u32::from(octet & 0x0F), 16)?);
        digits.push(char::from_digit(u32::from(octet >> 4), 16)?);
    }
    let digits = digits.trim_end_matches('f');
    let decimal = digits.bytes().all(|digit| digit.is_ascii_digit());
    (decimal && !digits.is_empty()).then(|| digits.to_owned())
}

const MASTER_FILE: u16 = 0x3F00;
const EF_DIR: u16 = 0x2F00;
const EF_ICCID: u16 = 0x2FE2;
const EF_IMSI: u16 = 0x6F07;
/// The AID of every USIM begins so.
const USIM: [u8; 7] = [0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02];
/// Supply voltage, extended channels and what an LPA beside the card can do.
const TERMINAL_CAPABILITY: [u8; 15] = [
    0x80, 0xAA, 0x00, 0x00, 0x0A, 0xA9, 0x08, 0x81, 0x00, 0x82, 0x01, 0x01, 0x83, 0x01, 0x07,
];
/// Supply voltage and extended channels, and nothing of an LPA.
const BARE_TERMINAL_CAPABILITY: [u8; 12] = [
    0x80, 0xAA, 0x00, 0x00, 0x07, 0xA9, 0x05, 0x81, 0x00, 0x82, 0x01, 0x01,
];
/// Profile download, REFRESH and, in the last octet, "eUICC Profile State Change".
const TERMINAL_PROFILE: [u8; 39] = {
    let mut command = [0; 39];
    (command[0], command[1], command[4]) = (0x80, 0x10, 34);
    (command[5], command[7], command[38]) = (0x01, 0x80, 0x20);
    command
};
/// Where the profile says that it knows "eUICC Profile State Change".
const STATE_CHANGE: (usize, u8) = (38, 0x20);
/// The type of REFRESH.
const REFRESH: u8 = 0x01;
/// The qualifier of a REFRESH that wants a cold reset.
const UICC_RESET: u8 = 0x04;
/// Results of a terminal response.
const PERFORMED: u8 = 0x00;
const BEYOND_CAPABILITIES: u8 = 0x30;
/// Records of EF.DIR that are looked at.
const APPLICATIONS: u8 = 10;
/// Exchanges that one command of the modem's may need.
const EXCHANGES: usize = 64;
/// Commands of the card's that are executed in a row.
const PROACTIVE_COMMANDS: usize = 8;
