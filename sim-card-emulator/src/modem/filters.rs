//! What stands between a client's APDUs and the card in some modems.

use es10_apdu::apdu::{Channel, Command, StatusWord, ins};
use es10_apdu::at::Cme;

use super::{Card, Failure, Modem, Quirk};

/// How an APDU comes to the modem.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Route {
    Csim,
    Cgla,
}

/// What the filters remember between two APDUs.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// A channel has been opened, and nothing was selected on it yet.
    has_opened: bool,
    /// The answer that waits for the command with the right Le.
    held: Option<(Vec<u8>, Vec<u8>)>,
    /// What of an answer waits for GET RESPONSE in the modem.
    left: Option<Vec<u8>>,
    /// APDUs since the modem was made; it reboots by itself once.
    passed: u64,
}

impl<C: Card> Modem<C> {
    /// Lets the card execute an APDU of the client, as far as this modem does.
    pub(super) fn pass(&mut self, route: Route, apdu: &[u8]) -> Result<Vec<u8>, Failure> {
        self.filters.passed += 1;
        if self.control.value(Quirk::RebootsAfter) == Some(self.filters.passed) {
            self.say("^boot.rom: 0x00000000");
            self.reboot();
            self.tells_start = true;
            return Err(Failure::Silence);
        }
        if route == Route::Csim {
            self.admit(apdu)?;
            if let Some(status) = self.answer_for_card(apdu) {
                return Ok(status.0.to_be_bytes().to_vec());
            }
        }
        let joined = self.has(Quirk::GetResponse)
            || route == Route::Cgla && self.has(Quirk::CglaGetResponse);
        let response = match Command::parse(apdu) {
            Ok(command) => self.filtered(route, &command, apdu, joined)?,
            Err(_) => self.ask(apdu, joined)?,
        };
        if route == Route::Csim {
            self.note_channel(apdu, &response);
            if self.has(Quirk::CinterionFilter) {
                self.select_master_file();
            }
        }
        Ok(response)
    }

    /// Whether `AT+CSIM` takes this APDU at all.
    fn admit(&self, apdu: &[u8]) -> Result<(), Failure> {
        let refused = Err(Failure::Cme(Cme::NOT_ALLOWED));
        let [class, instruction, ..] = *apdu else {
            return Ok(());
        };
        let on_channel = Channel::of_class(class) != Channel::BASIC;
        let limit = self.control.value(Quirk::CsimLimit);
        if limit.is_some_and(|limit| apdu.len() as u64 > limit) {
            return Err(Failure::Silence);
        }
        if self.has(Quirk::EmptyNoCsim) && self.sim.iccid().is_none() {
            return Err(Failure::Error);
        }
        if self.has(Quirk::WavecomFilter) && !fits_wavecom(apdu)
            || self.has(Quirk::CinterionFilter) && !CINTERION.contains(&instruction)
            || self.has(Quirk::CsimBasicOnly) && (on_channel || instruction == ins::MANAGE_CHANNEL)
        {
            return refused;
        }
        if self.has(Quirk::CsimChannelsDead) && on_channel {
            return Err(Failure::Error);
        }
        match *apdu {
            [_, ins::MANAGE_CHANNEL, 0x00, ..] => self.admit_channel(),
            [_, ins::SELECT, 0x04, _, _, ref aid @ ..] => self.admit_application(aid),
            _ => Ok(()),
        }
    }

    /// What the modem says to `AT+CSIM` in place of the card, without asking it.
    fn answer_for_card(&self, apdu: &[u8]) -> Option<StatusWord> {
        match *apdu {
            [_, ins::SELECT, 0x04, ..] if self.has(Quirk::CsimNoSelect) => {
                Some(StatusWord::NOT_FOUND)
            }
            [_, ins::MANAGE_CHANNEL, 0x00, ..] if self.is_out_of_channels() => {
                Some(StatusWord::FUNCTION_NOT_SUPPORTED)
            }
            _ => None,
        }
    }

    fn filtered(
        &mut self,
        route: Route,
        command: &Command,
        apdu: &[u8],
        joined: bool,
    ) -> Result<Vec<u8>, Failure> {
        if self.has(Quirk::LeForbidden) && !command.data.is_empty() && command.le.is_some() {
            return Ok(StatusWord::WRONG_LENGTH.0.to_be_bytes().to_vec());
        }
        if self.sim.refresh_is_due && command.ins == ins::STORE_DATA {
            return Ok(StatusWord::CONDITIONS_OF_USE.0.to_be_bytes().to_vec());
        }
        let left = match command.ins {
            ins::GET_RESPONSE if self.has(Quirk::GetResponseClass) && command.cla & 0x80 != 0 => {
                return Ok(StatusWord::OK.0.to_be_bytes().to_vec());
            }
            ins::GET_RESPONSE => self.filters.left.take(),
            _ => {
                self.filters.left = None;
                None
            }
        };
        if let Some(left) = left {
            return Ok(self.first_octets(left, command.le));
        }
        if self.has(Quirk::Loop6100) && command.ins == ins::GET_RESPONSE {
            return Ok(vec![0x61, 0x00]);
        }
        let opens = command.ins == ins::MANAGE_CHANNEL && command.p1 == 0x00;
        let has_opened = std::mem::replace(&mut self.filters.has_opened, opens);
        if self.has(Quirk::PhoneFailureOnce) && has_opened && command.ins == ins::SELECT {
            return Err(Failure::Cme(Cme::PHONE_FAILURE));
        }
        let late = |from: Option<u64>| {
            let last = command.ins == ins::STORE_DATA && command.p1 == 0x91;
            last && from.is_some_and(|from| u64::from(command.p2) >= from)
        };
        if late(self.control.value(Quirk::LastBlockLost)) {
            return Err(Failure::Error);
        }
        let of_cgla = self.control.value(Quirk::CglaLastBlockError);
        let failed = late(self.control.value(Quirk::LastBlockError))
            || route == Route::Cgla && late(of_cgla);
        let response = match self.held_for(apdu) {
            Some(response) => response,
            None => self.ask(apdu, joined)?,
        };
        match failed {
            true => Err(Failure::Error),
            false => Ok(self.shaped(command, apdu, response, joined)),
        }
    }

    /// The first octets of an answer that waits; the rest goes on waiting.
    fn first_octets(&mut self, mut answer: Vec<u8>, le: Option<u8>) -> Vec<u8> {
        let length = answer.len().saturating_sub(2);
        let wanted = match le {
            None | Some(0) => 256,
            Some(le) => usize::from(le),
        };
        if length <= wanted {
            return answer;
        }
        let rest = answer.split_off(wanted);
        answer.extend([0x61, (length - wanted).to_be_bytes()[7]]);
        self.filters.left = Some(rest);
        answer
    }

    /// What this modem makes of a response.
    fn shaped(
        &mut self,
        command: &Command,
        apdu: &[u8],
        response: Vec<u8>,
        joined: bool,
    ) -> Vec<u8> {
        let length = response.len().saturating_sub(2);
        let low = length.to_be_bytes()[7];
        let unasked = !command.data.is_empty() && command.le.is_none() && length > 0;
        if unasked && self.has(Quirk::LeRequired) {
            return StatusWord::OK.0.to_be_bytes().to_vec();
        }
        if unasked && self.has(Quirk::Loop6100) {
            return vec![0x61, low];
        }
        if unasked && !joined && self.has(Quirk::Raw61xx) {
            self.filters.left = Some(response);
            return vec![0x61, low];
        }
        let all = command.data.is_empty() && command.le == Some(0);
        if all && self.has(Quirk::WrongLe) && (1..256).contains(&length) {
            let mut right = apdu.to_vec();
            if let Some(le) = right.last_mut() {
                *le = low;
            }
            self.filters.held = Some((right, response));
            return vec![0x6C, low];
        }
        response
    }

    fn held_for(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        let (right, response) = self.filters.held.take()?;
        (right == apdu).then_some(response)
    }
}

/// The window of lengths, the instructions and the length byte that Wavecom modules allow.
fn fits_wavecom(apdu: &[u8]) -> bool {
    let [_, instruction, _, _, length, ref data @ ..] = *apdu else {
        return false;
    };
    let refused = [
        ins::VERIFY_PIN,
        0x24,
        0x26,
        0x28,
        ins::UNBLOCK_PIN,
        ins::UPDATE_BINARY,
        ins::UPDATE_RECORD,
        ins::GET_RESPONSE,
        ins::MANAGE_CHANNEL,
    ];
    apdu.len() <= 261
        && !refused.contains(&instruction)
        && (data.is_empty() || data.len() == usize::from(length))
}

/// SELECT, STATUS, READ, UPDATE, SEEK, INCREASE and GET RESPONSE.
const CINTERION: [u8; 9] = [
    ins::SELECT,
    ins::STATUS,
    ins::READ_BINARY,
    ins::READ_RECORD,
    ins::UPDATE_BINARY,
    ins::UPDATE_RECORD,
    0xA2,
    0x32,
    ins::GET_RESPONSE,
];
