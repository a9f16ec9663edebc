//! `AT+CSIM`, 3GPP TS 27.007 section 8.17, and what can go wrong with it.

use es10_apdu::apdu::{Command, ins};
use es10_apdu::at::Cme;

use super::{Action, Card, Effect, Failure, Modem, Moment};

/// What is left to do of a command when the modem stops in it.
#[derive(Debug)]
pub(super) enum Stage {
    Execute(Vec<u8>),
    Answer(Vec<u8>),
    HangUp,
}

impl<C: Card> Modem<C> {
    /// Begins `AT+CSIM=<length>,"<digits>"`.
    pub(super) fn csim(&mut self, parameters: &str) {
        if !self.settings.card_is_on() {
            return self.answer(Err(Failure::Cme(Cme::SIM_NOT_INSERTED)));
        }
        let Some(apdu) = parse(parameters) else {
            return self.answer(Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)));
        };
        // The modem passes on what is no APDU as well; the card has something to say about it.
        let effect = Command::parse(&apdu)
            .ok()
            .and_then(|command| self.control.fault_for(&command));
        match effect {
            None => self.go_on(Stage::Execute(apdu)),
            Some(effect) => self.fail(apdu, effect),
        }
    }

    /// Goes on with a command after it was stopped.
    pub(super) fn go_on(&mut self, stage: Stage) {
        match stage {
            Stage::Execute(apdu) => {
                let response = self.transmit(&apdu);
                self.pause(self.control.quirks().apdu_time);
                self.finish(&response);
            }
            Stage::Answer(response) => self.finish(&response),
            Stage::HangUp => self.control.hang_up(),
        }
    }

    fn fail(&mut self, apdu: Vec<u8>, effect: Effect) {
        let executed = match effect {
            Effect::Error { executed, .. }
            | Effect::Silence { executed }
            | Effect::HangUp { executed } => executed,
            Effect::Truncate => true,
            Effect::Instead { .. } => false,
            Effect::Hold { moment, .. } => moment == Moment::BeforeAnswer,
        };
        let response = match executed {
            true => self.transmit(&apdu),
            false => Vec::new(),
        };
        match effect {
            Effect::Error { cme, .. } => {
                let failure = cme.map_or(Failure::Error, |cme| Failure::Cme(Cme(cme)));
                self.answer(Err(failure));
            }
            Effect::Silence { .. } => {}
            Effect::HangUp { .. } => self.paused = Some(Stage::HangUp),
            Effect::Truncate => {
                let digits = hex::encode_upper(&response);
                let half = &digits[..digits.len() / 2];
                self.answer(Ok(vec![format!("+CSIM: {},\"{half}\"", digits.len())]));
            }
            Effect::Instead { response } => self.finish(&response),
            Effect::Hold { gate, moment } => {
                self.actions.push_back(Action::Wait(gate));
                self.paused = Some(match moment {
                    Moment::BeforeExecution => Stage::Execute(apdu),
                    Moment::BeforeAnswer => Stage::Answer(response),
                });
            }
        }
    }

    /// Lets the card execute a command.
    fn transmit(&mut self, apdu: &[u8]) -> Vec<u8> {
        self.control.count(|counters| counters.apdus += 1);
        let mut response = self.card.transmit(apdu);
        if self.control.quirks().get_response {
            while let [.., 0x61, le] = response[..] {
                response.truncate(response.len() - 2);
                let fetch = [apdu[0], ins::GET_RESPONSE, 0x00, 0x00, le];
                let more = self.card.transmit(&fetch);
                let stuck = more.len() <= 2;
                response.extend(more);
                if stuck {
                    break;
                }
            }
        }
        response
    }

    /// Answers with a response APDU; a card without power gives none. If the card has asked for a REFRESH with it, that is what the
    /// modem does next.
    fn finish(&mut self, response: &[u8]) {
        if response.is_empty() {
            // The card has no power.
            return self.answer(Err(Failure::Cme(Cme::SIM_FAILURE)));
        }
        let quirks = self.control.quirks();
        let mut digits = hex::encode_upper(response);
        if quirks.lower_case {
            digits.make_ascii_lowercase();
        }
        let quote = if quirks.unquoted { "" } else { "\"" };
        let blank = if quirks.no_blank { "" } else { " " };
        let length = digits.len();
        let line = format!("+CSIM:{blank}{length},{quote}{digits}{quote}");
        self.answer(Ok(vec![line]));
        if self.card.refresh_pending() && !quirks.ignores_refresh {
            self.card.reset();
            self.say("+QUSIM: 1");
        }
    }
}

/// Reads `<length>,"<digits>"`; quotation marks are required, as many modems require them.
fn parse(parameters: &str) -> Option<Vec<u8>> {
    let (length, digits) = parameters.split_once(',')?;
    let digits = digits.trim().strip_prefix('"')?.strip_suffix('"')?;
    let length: usize = length.trim().parse().ok()?;
    let apdu = hex::decode(digits).ok()?;
    // A single byte would be a lock of the card on some modems; no APDU is shorter than four.
    (length == digits.len() && apdu.len() >= 4).then_some(apdu)
}
