//! Logical channels, SELECT, STORE DATA and GET RESPONSE (ETSI TS 102 221, GlobalPlatform).

use es10_apdu::apdu::{Command, Response, StatusWord, ins};

use super::session::Session;
use super::{Env, Euicc, Refresh};
use crate::der::{Tlv, constructed, tlv};

/// What one logical channel holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Channel {
    isdr_selected: bool,
    /// STORE DATA blocks so far, and the number expected next.
    blocks: Option<(u16, Vec<u8>)>,
    /// What GET RESPONSE has still to give.
    response: Vec<u8>,
}

impl Euicc {
    pub(super) fn execute(
        &mut self,
        command: &Command,
        env: &mut dyn Env,
    ) -> Result<Response, StatusWord> {
        let class = Class::of(command.cla).ok_or(StatusWord::UNKNOWN_CLA)?;
        let number = command.channel().number();
        let channel = self
            .channels
            .get_mut(&number)
            .ok_or(StatusWord::CHANNEL_NOT_SUPPORTED)?;
        if command.data.len() > 255 {
            return Err(StatusWord::WRONG_LENGTH);
        }
        if command.ins == ins::GET_RESPONSE {
            return self.get_response(number, command);
        }
        channel.response.clear();
        let blocks = channel.blocks.take();
        let data = match (command.ins, class) {
            (ins::MANAGE_CHANNEL, Class::Interindustry) => self.manage_channel(command)?,
            (ins::SELECT, Class::Interindustry) => self.select(number, command)?,
            (ins::STORE_DATA, Class::Proprietary) => {
                self.store_data(number, command, blocks, env)?
            }
            (STATUS, Class::Proprietary) => Vec::new(),
            (TERMINAL_CAPABILITY, Class::Proprietary) => terminal_capability(command)?,
            (FETCH, Class::Proprietary) => self.fetch()?,
            (TERMINAL_RESPONSE, Class::Proprietary) => self.terminal_response()?,
            (known, _) if INSTRUCTIONS.contains(&known) => return Err(StatusWord::UNKNOWN_CLA),
            _ => return Err(StatusWord::UNKNOWN_INS),
        };
        Ok(self.answer(number, data, !command.data.is_empty()))
    }

    /// Gives the data, or what of it fits and the number of octets GET RESPONSE can have.
    fn answer(&mut self, number: u8, data: Vec<u8>, case_4: bool) -> Response {
        let always = self.settings.always_get_response && case_4;
        let wait = data.len() > 256 || (always && !data.is_empty());
        if let Some(channel) = self.channels.get_mut(&number)
            && wait
        {
            channel.response = data;
            return more(channel.response.len()).into();
        }
        Response {
            data,
            sw: self.done(),
        }
    }

    /// `9000`, or `91xx` while a proactive command waits to be fetched.
    fn done(&self) -> StatusWord {
        match self.refresh {
            Some(Refresh::Waiting) => REFRESH_WAITS,
            _ => StatusWord::OK,
        }
    }

    fn get_response(&mut self, number: u8, command: &Command) -> Result<Response, StatusWord> {
        let sw = self.done();
        let channel = self
            .channels
            .get_mut(&number)
            .ok_or(StatusWord::CHANNEL_NOT_SUPPORTED)?;
        if (command.p1, command.p2) != (0, 0) {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        if channel.response.is_empty() {
            return Err(StatusWord::CONDITIONS_OF_USE);
        }
        let available = channel.response.len();
        let wanted = match command.le {
            Some(0) => available.min(256),
            Some(le) => usize::from(le),
            None => return Err(StatusWord::WRONG_LENGTH),
        };
        if wanted > available {
            // Fewer than 256, or as many could not have been asked for.
            return Err(StatusWord(0x6C00 | u16::from(available.to_be_bytes()[7])));
        }
        let data: Vec<u8> = channel.response.drain(..wanted).collect();
        let sw = if channel.response.is_empty() {
            sw
        } else {
            more(channel.response.len())
        };
        Ok(Response { data, sw })
    }

    fn manage_channel(&mut self, command: &Command) -> Result<Vec<u8>, StatusWord> {
        match (command.p1, command.p2) {
            (0x00, number) if number <= self.settings.channels => self.open_channel(number),
            (0x80, number) if number != 0 => self.close_channel(number),
            _ => Err(StatusWord::INCORRECT_P1_P2),
        }
    }

    fn open_channel(&mut self, wanted: u8) -> Result<Vec<u8>, StatusWord> {
        let mut numbers = 1..=self.settings.channels.min(19);
        let free = numbers.find(|number| {
            !self.channels.contains_key(number) && (wanted == 0 || wanted == *number)
        });
        let number = free.ok_or(StatusWord::FUNCTION_NOT_SUPPORTED)?;
        self.channels.insert(number, Channel::default());
        Ok(if wanted == 0 {
            vec![number]
        } else {
            Vec::new()
        })
    }

    fn close_channel(&mut self, number: u8) -> Result<Vec<u8>, StatusWord> {
        self.channels
            .remove(&number)
            .ok_or(StatusWord::CHANNEL_NOT_SUPPORTED)?;
        self.abandon_loading(number);
        Ok(Vec::new())
    }

    fn select(&mut self, number: u8, command: &Command) -> Result<Vec<u8>, StatusWord> {
        self.abandon_loading(number);
        let channel = self
            .channels
            .get_mut(&number)
            .ok_or(StatusWord::CHANNEL_NOT_SUPPORTED)?;
        match (command.p1, command.p2, &command.data[..]) {
            (0x04, 0x00 | 0x0C, aid) if aid == ISDR_AID => {
                if number == 0 && !self.settings.isdr_on_basic_channel {
                    return Err(StatusWord::CONDITIONS_OF_USE);
                }
                channel.isdr_selected = true;
                let svn = self.settings.svn.octets().to_vec();
                Ok(if command.p2 == 0x0C {
                    Vec::new()
                } else {
                    file_control_information(&svn)
                })
            }
            (0x04, 0x00 | 0x04 | 0x0C, _) => Err(StatusWord::NOT_FOUND),
            (0x00, 0x04 | 0x0C, [0x3F, 0x00]) => {
                channel.isdr_selected = false;
                Ok(if command.p2 == 0x0C {
                    Vec::new()
                } else {
                    master_file()
                })
            }
            (0x00, 0x04 | 0x0C, _) => Err(StatusWord::NOT_FOUND),
            _ => Err(StatusWord::INCORRECT_P1_P2),
        }
    }

    fn store_data(
        &mut self,
        number: u8,
        command: &Command,
        blocks: Option<(u16, Vec<u8>)>,
        env: &mut dyn Env,
    ) -> Result<Vec<u8>, StatusWord> {
        let channel = self
            .channels
            .get_mut(&number)
            .ok_or(StatusWord::CHANNEL_NOT_SUPPORTED)?;
        if !channel.isdr_selected {
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

    fn fetch(&mut self) -> Result<Vec<u8>, StatusWord> {
        if self.take_refresh() {
            Ok(REFRESH.to_vec())
        } else {
            Err(StatusWord::CONDITIONS_OF_USE)
        }
    }

    /// The terminal has acted on the REFRESH: the card is as after a reset.
    fn terminal_response(&mut self) -> Result<Vec<u8>, StatusWord> {
        match self.refresh {
            Some(Refresh::Fetched) => {
                self.reset();
                Ok(Vec::new())
            }
            _ => Err(StatusWord::CONDITIONS_OF_USE),
        }
    }

    /// A package that is half loaded is lost with the channel it came through.
    fn abandon_loading(&mut self, channel: u8) {
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

fn more(available: usize) -> StatusWord {
    StatusWord(
        0x6100
            | if available < 256 {
                u16::from(available.to_be_bytes()[7])
            } else {
                0
            },
    )
}

fn terminal_capability(command: &Command) -> Result<Vec<u8>, StatusWord> {
    match Tlv::exact(&command.data) {
        Some(Tlv { tag: 0xA9, .. }) if (command.p1, command.p2) == (0, 0) => Ok(Vec::new()),
        _ => Err(StatusWord::INCORRECT_DATA),
    }
}

/// What SELECT of the ISD-R answers: its AID, the longest data field, the version of SGP.22.
fn file_control_information(svn: &[u8]) -> Vec<u8> {
    let proprietary = tlv(0xA5, &tlv(0x9F65, &[0xFF]));
    constructed(
        0x6F,
        &[
            tlv(0x84, &ISDR_AID),
            proprietary,
            tlv(0xE0, &tlv(0x82, svn)),
        ],
    )
}

fn master_file() -> Vec<u8> {
    constructed(
        0x62,
        &[
            tlv(0x82, &[0x78, 0x21]),
            tlv(0x83, &[0x3F, 0x00]),
            tlv(0x8A, &[0x05]),
        ],
    )
}

const ISDR_AID: [u8; 16] = [
    0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x00, 0x00, 0x01, 0x00,
];
/// Proactive command REFRESH, "UICC Reset", from the UICC to the terminal.
const REFRESH: [u8; 11] = [
    0xD0, 0x09, 0x81, 0x03, 0x01, 0x01, 0x04, 0x82, 0x02, 0x81, 0x82,
];
/// Done, and so many octets can be fetched.
const REFRESH_WAITS: StatusWord = StatusWord(0x910B);
const FETCH: u8 = 0x12;
const STATUS: u8 = 0xF2;
const TERMINAL_CAPABILITY: u8 = 0xAA;
const TERMINAL_RESPONSE: u8 = 0x14;
const INSTRUCTIONS: [u8; 7] = [
    ins::MANAGE_CHANNEL,
    ins::SELECT,
    ins::STORE_DATA,
    FETCH,
    STATUS,
    TERMINAL_CAPABILITY,
    TERMINAL_RESPONSE,
];
