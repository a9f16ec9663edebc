//! The commands that tell the ICCID of the profile in use, which each maker has named in its own way.

use super::form::Form;
use super::{Card, Failure, Modem, Quirk, Reply};

/// Those of a modem of which nothing else is said.
const USUAL: [&str; 3] = ["+CCID", "+ICCID", "+QCCID"];

impl<C: Card> Modem<C> {
    /// The commands for the ICCID that this modem has.
    pub(super) fn iccid_commands(&self) -> Vec<&'static str> {
        match self.has(Quirk::IccidCommands) {
            true => self.control.words(Quirk::IccidCommands),
            false => USUAL.to_vec(),
        }
    }

    /// Answers a command for the ICCID; nothing when it is none.
    pub(super) fn iccid_question(&mut self, name: &str, form: Form<'_>) -> Option<Reply> {
        let commands = self.iccid_commands();
        let mut commands = commands.into_iter();
        let command = commands.find(|command| command.trim_end_matches('?') == name)?;
        Some(match form {
            Form::Test => Ok(Vec::new()),
            Form::Read => self.tell_iccid(name),
            Form::Run if !command.ends_with('?') => self.tell_iccid(name),
            Form::Run | Form::Set(_) => Err(Failure::Error),
        })
    }

    fn tell_iccid(&mut self, name: &str) -> Reply {
        if self.has(Quirk::IccidRefused) {
            return Err(Failure::Error);
        }
        self.card_is_reachable()?;
        let of_none = self.control.words(Quirk::EmptyIccid).first().copied();
        let iccid = match &self.first_iccid {
            Some(first) if self.has(Quirk::IccidOfStart) => first,
            _ => match (self.profile(), of_none) {
                (Err(_), Some(iccid)) if !self.sim.is_locked => iccid,
                (iccid, _) => iccid?,
            },
        };
        let mut digits = iccid.to_owned();
        if self.has(Quirk::IccidPadded) {
            digits = format!("{digits:F<20}");
        }
        if self.has(Quirk::IccidQuoted) {
            digits = format!("\"{digits}\"");
        }
        if self.has(Quirk::IccidBare) {
            return Ok(vec![digits]);
        }
        let name = match name {
            "+CICCID" => "+ICCID",
            name => name,
        };
        Ok(vec![format!("{name}: {digits}")])
    }
}
