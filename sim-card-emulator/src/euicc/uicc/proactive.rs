//! The toolkit: REFRESH after a change of the profile in use, ETSI TS 102 223.

use es10_apdu::apdu::{Command, StatusWord};
use rsp_common::der::Tlv;

use crate::euicc::Euicc;

/// A REFRESH the card wants the terminal to act on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::euicc) enum Refresh {
    /// It is announced with every answer.
    Waiting,
    /// The terminal knows it.
    Fetched,
    /// The terminal could not do it. Only a reset ends the proactive session now.
    Refused,
}

impl Euicc {
    /// `91xx` in place of `9000` while a proactive command waits to be fetched.
    pub(in crate::euicc) fn announce(&self, sw: StatusWord) -> StatusWord {
        match (self.refresh, sw) {
            (Some(Refresh::Waiting), StatusWord::OK) => REFRESH_WAITS,
            _ => sw,
        }
    }

    /// TERMINAL PROFILE: what the terminal can do for the card.
    pub(in crate::euicc) fn terminal_profile(
        &mut self,
        command: &Command,
    ) -> Result<Vec<u8>, StatusWord> {
        if (command.p1, command.p2) != (0, 0) {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        if command.data.is_empty() {
            return Err(StatusWord::WRONG_LENGTH);
        }
        self.terminal.profile.clone_from(&command.data);
        Ok(Vec::new())
    }

    pub(in crate::euicc) fn fetch(&mut self, command: &Command) -> Result<Vec<u8>, StatusWord> {
        if (command.p1, command.p2) != (0, 0) {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        if self.refresh != Some(Refresh::Waiting) {
            return Err(StatusWord::CONDITIONS_OF_USE);
        }
        if command
            .le
            .is_some_and(|le| !matches!(le, 0 | REFRESH_LENGTH))
        {
            return Err(StatusWord(0x6C00 | u16::from(REFRESH_LENGTH)));
        }
        self.take_refresh();
        Ok(refresh(self.refresh_mode()).to_vec())
    }

    /// The terminal has acted on the REFRESH: the card is as after a reset. When it could not, the
    /// change waits for a real one.
    pub(in crate::euicc) fn terminal_response(
        &mut self,
        command: &Command,
    ) -> Result<Vec<u8>, StatusWord> {
        if (command.p1, command.p2) != (0, 0) {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        if self.refresh != Some(Refresh::Fetched) {
            return Err(StatusWord::CONDITIONS_OF_USE);
        }
        let result = Tlv::all(&command.data).ok_or(StatusWord::INCORRECT_DATA)?;
        let result = result.iter().find(|object| object.tag & 0x7F == RESULT);
        let general = result.and_then(|result| result.value.first());
        match general.ok_or(StatusWord::INCORRECT_DATA)? {
            performed if *performed < 0x20 => self.reset(),
            _ => self.refresh = Some(Refresh::Refused),
        }
        Ok(Vec::new())
    }

    /// A terminal that knows the mode is told of the change of profile, any other one to reset
    /// the card. A memory reset always asks for the latter.
    fn refresh_mode(&self) -> u8 {
        let known = self
            .terminal
            .profile
            .get(33)
            .is_some_and(|octet| octet & 0x20 != 0);
        match known && self.memory.pending_switch.is_some() {
            true => PROFILE_STATE_CHANGE,
            false => UICC_RESET,
        }
    }
}

/// Proactive command REFRESH in a mode, from the UICC to the terminal.
fn refresh(mode: u8) -> [u8; 11] {
    [
        0xD0, 0x09, 0x81, 0x03, 0x01, 0x01, mode, 0x82, 0x02, 0x81, 0x82,
    ]
}

const UICC_RESET: u8 = 0x04;
/// "eUICC Profile State Change"; the 34th octet of TERMINAL PROFILE, bit 6, tells its support.
const PROFILE_STATE_CHANGE: u8 = 0x09;
const REFRESH_LENGTH: u8 = 0x0B;
/// Done, and so many octets can be fetched.
const REFRESH_WAITS: StatusWord = StatusWord(0x910B);
/// Tag of the result, without the bit that asks for comprehension.
const RESULT: u32 = 0x03;
