//! The commands that restart a modem or its card, beside `AT+CFUN=1,1`: each maker has its own.

use std::time::Duration;

use super::{After, Card, Modem, Quirk, Reply};

impl<C: Card> Modem<C> {
    /// Executes a command that restarts something; nothing when this modem does not have it.
    pub(super) fn restart_by(&mut self, command: &str) -> Option<Reply> {
        let known = match command {
            "+CFUN=41" => "+CFUN=40",
            "#SIMDET=0" | "#SIMDET=1" => "#SIMDET",
            command => command,
        };
        let commands = self.control.words(Quirk::ResetCommands);
        if !commands.contains(&known) {
            return None;
        }
        match command {
            "+CFUN=40" | "#SIMDET=0" => self.switch_card(false),
            "+CFUN=41" | "#SIMDET=1" => self.switch_card(true),
            "#SIMDET" => return None,
            "+QPOWD=1" => self.afterwards.push(After::PowerOff),
            _ => self.afterwards.push(After::Restart),
        }
        Some(Ok(Vec::new()))
    }

    /// Gives the card its power, or takes it, whatever the radio does.
    fn switch_card(&mut self, on: bool) {
        let was_on = self.settings.card_is_on();
        self.settings.card_is_off = !on;
        match (was_on, self.settings.card_is_on()) {
            (true, false) => self.cut_card(),
            (false, true) => self.start_card(),
            _ => return,
        }
        self.search();
    }

    /// The modem's own power goes, and the card's with it; otherwise a restart sees to that.
    pub(super) fn power_down(&mut self) {
        if self.has(Quirk::CardKeepsPower) {
            self.card.reset();
        }
    }

    /// Takes the card's power, in a modem that can.
    pub(super) fn cut_card(&mut self) {
        if !self.has(Quirk::CardKeepsPower) {
            self.card.reset();
        }
        self.stop_card();
    }
}

/// How long a modem that was switched off stays so: somebody has to press a key.
pub(super) const OFF: Duration = Duration::from_secs(60);
