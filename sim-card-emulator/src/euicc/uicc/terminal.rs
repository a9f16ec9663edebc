//! TERMINAL CAPABILITY, ETSI TS 102 221 section 11.1.19, and what it opens of the ISD-R.

use es10_apdu::apdu::{Command, StatusWord};
use rsp_common::der::Tlv;

use super::control::application_control;
use crate::euicc::Euicc;
use crate::euicc::function::Interface;

/// What the terminal has told the card since the reset.
#[derive(Clone, Debug, Default)]
pub(in crate::euicc) struct Terminal {
    /// TERMINAL PROFILE.
    pub(super) profile: Vec<u8>,
    /// The capabilities it has for an eUICC, once it has told any capability.
    capability: Option<u8>,
}

impl Euicc {
    pub(in crate::euicc) fn terminal_capability(
        &mut self,
        command: &Command,
    ) -> Result<Vec<u8>, StatusWord> {
        if (command.p1, command.p2) != (0, 0) {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        let template = Tlv::exact(&command.data).filter(|template| template.tag == 0xA9);
        let parts = template.and_then(|template| template.children());
        let parts = parts.ok_or(StatusWord::INCORRECT_DATA)?;
        let well_formed = parts.iter().all(|part| match part.tag {
            0x80 => part.value.len() == 3,
            0x81 => part.value.is_empty(),
            0x82 | 0x83 => !part.value.is_empty(),
            _ => true,
        });
        if !well_formed {
            return Err(StatusWord::INCORRECT_DATA);
        }
        let euicc = parts.iter().find(|part| part.tag == 0x83);
        let capability = euicc.and_then(|part| part.value.first()).copied();
        self.terminal.capability = Some(capability.unwrap_or_default());
        Ok(Vec::new())
    }

    pub(super) fn select_isdr(
        &mut self,
        number: u8,
        aid: &[u8],
        silent: bool,
    ) -> Result<Vec<u8>, StatusWord> {
        let settings = &self.settings;
        let basic = number == 0 && !settings.isdr_on_basic_channel;
        if basic || settings.lpae_active || !self.has_assistant() {
            return Err(StatusWord::CONDITIONS_OF_USE);
        }
        let silent = silent || settings.fci_less_select;
        let svn = settings.svn;
        self.channel(number)?.isdr = Some(aid.to_vec());
        Ok(match silent {
            true => Vec::new(),
            false => application_control(aid, svn),
        })
    }

    /// Refuses a function that the terminal has not said it has any use for.
    pub(in crate::euicc) fn check_interface(&self, interface: Interface) -> Result<(), StatusWord> {
        let bit = match interface {
            Interface::Es10c => 0x01,
            Interface::Es10b => 0x02,
            Interface::Es10a => 0x04,
        };
        match self.terminal.capability {
            Some(capability) if capability & bit == 0 => Err(StatusWord::CONDITIONS_OF_USE),
            _ => Ok(()),
        }
    }

    /// Whether there is an LPA in the terminal. One that has told nothing has one, unless the card
    /// insists on being told.
    fn has_assistant(&self) -> bool {
        match self.terminal.capability {
            Some(capability) => capability & 0x07 != 0,
            None => !self.settings.terminal_capability_required,
        }
    }
}
