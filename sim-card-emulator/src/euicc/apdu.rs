//! Which command goes where, and STORE DATA (ETSI TS 102 221, GlobalPlatform).

use es10_apdu::apdu::{Command, Response, StatusWord, ins};

use super::session::Session;
use super::uicc::Location;
use super::{Env, Euicc};

/// What one logical channel holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Channel {
    /// The AID the ISD-R was selected by; while it is selected there are no files.
    pub(super) isdr: Option<Vec<u8>>,
    /// The files that are selected.
    pub(super) location: Location,
    /// STORE DATA blocks so far, and the number expected next.
    blocks: Option<(u16, Vec<u8>)>,
    /// What GET RESPONSE has still to give.
    pub(super) response: Vec<u8>,
    /// A command that was executed and asked for the wrong number of octets, with its answer.
    pub(super) inexact: Option<(Command, Response)>,
}

impl Channel {
    /// A channel with a file selected.
    pub(super) fn at(location: Location) -> Self {
        Self {
            location,
            ..Self::default()
        }
    }
}

impl Euicc {
    pub(super) fn execute(
        &mut self,
        command: &Command,
        env: &mut dyn Env,
    ) -> Result<Response, StatusWord> {
        let class = Class::of(command.cla).ok_or(StatusWord::UNKNOWN_CLA)?;
        let number = command.channel().number();
        self.channel(number)?;
        if command.data.len() > 255 {
            return Err(StatusWord::WRONG_LENGTH);
        }
        if command.ins == ins::GET_RESPONSE {
            return self.get_response(number, command);
        }
        if let Some(response) = self.repeated(number, command) {
            return Ok(response);
        }
        let channel = self.channel(number)?;
        channel.response.clear();
        let blocks = channel.blocks.take();
        let mut sw = StatusWord::OK;
        let data = match (command.ins, class) {
            (ins::MANAGE_CHANNEL, Class::Interindustry) => self.manage_channel(number, command)?,
            (ins::SELECT, Class::Interindustry) => self.select(number, command)?,
            (ins::READ_BINARY, Class::Interindustry) => {
                let (data, warning) = self.read_binary(number, command)?;
                sw = warning;
                data
            }
            (ins::READ_RECORD, Class::Interindustry) => self.read_record(number, command)?,
            (ins::UPDATE_BINARY, Class::Interindustry) => self.update_binary(number, command)?,
            (ins::VERIFY_PIN, Class::Interindustry) => self.verify_pin(command)?,
            (ins::UNBLOCK_PIN, Class::Interindustry) => self.unblock_pin(command)?,
            (ins::STORE_DATA, Class::Proprietary) => {
                self.store_data(number, command, blocks, env)?
            }
            (ins::STATUS, Class::Proprietary) => self.status(number, command)?,
            (ins::TERMINAL_CAPABILITY, Class::Proprietary) => self.terminal_capability(command)?,
            (ins::FETCH | ins::TERMINAL_PROFILE | ins::TERMINAL_RESPONSE, Class::Proprietary)
                if number != 0 =>
            {
                return Err(StatusWord::CHANNEL_NOT_SUPPORTED);
            }
            (ins::TERMINAL_PROFILE, Class::Proprietary) => self.terminal_profile(command)?,
            (ins::FETCH, Class::Proprietary) => self.fetch(command)?,
            (ins::TERMINAL_RESPONSE, Class::Proprietary) => self.terminal_response(command)?,
            (known, _) if INSTRUCTIONS.contains(&known) => return Err(StatusWord::UNKNOWN_CLA),
            _ => return Err(StatusWord::UNKNOWN_INS),
        };
        Ok(self.answer(number, command, data, sw))
    }

    fn store_data(
        &mut self,
        number: u8,
        command: &Command,
        blocks: Option<(u16, Vec<u8>)>,
        env: &mut dyn Env,
    ) -> Result<Vec<u8>, StatusWord> {
        let channel = self.channel(number)?;
        if channel.isdr.is_none() {
            return Err(StatusWord::CONDITIONS_OF_USE);
        }
        let last = match command.p1 {
            0x11 => false,
            0x91 => true,
            _ => return Err(StatusWord::INCORRECT_P1_P2),
        };
        let (expected, mut data) = blocks.unwrap_or_default();
        if u16::from(command.p2) != expected {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        if command.data.is_empty() {
            return Err(StatusWord::WRONG_LENGTH);
        }
        data.extend_from_slice(&command.data);
        if last {
            self.call(number, &data, env)
        } else {
            channel.blocks = Some((expected + 1, data));
            Ok(Vec::new())
        }
    }

    /// A package that is half loaded is lost with the channel it came through.
    pub(super) fn abandon_loading(&mut self, channel: u8) {
        if self.session.is_loading_on(channel) {
            self.session = Session::default();
            self.report_interruption();
        }
    }
}

/// Kinds of class byte without secure messaging and chaining.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Class {
    Interindustry,
    Proprietary,
}

impl Class {
    fn of(cla: u8) -> Option<Self> {
        match cla {
            0x00..=0x03 | 0x40..=0x4F => Some(Self::Interindustry),
            0x80..=0x83 | 0xC0..=0xCF => Some(Self::Proprietary),
            _ => None,
        }
    }
}

const INSTRUCTIONS: [u8; 13] = [
    ins::MANAGE_CHANNEL,
    ins::SELECT,
    ins::STORE_DATA,
    ins::FETCH,
    ins::READ_BINARY,
    ins::READ_RECORD,
    ins::STATUS,
    ins::TERMINAL_CAPABILITY,
    ins::TERMINAL_PROFILE,
    ins::TERMINAL_RESPONSE,
    ins::UNBLOCK_PIN,
    ins::UPDATE_BINARY,
    ins::VERIFY_PIN,
];
