//! Commands that reach the card, and what can go wrong with them; `AT+CSIM` among them.

use std::time::Duration;

use es10_apdu::apdu::{Command, ins};
use es10_apdu::at::Cme;

use super::digits::read_digits;
use super::files::FileAccess;
use super::filters::Route;
use super::form::Form;
use super::job::{Job, Rest};
use super::{Action, Card, Effect, Failure, Modem, Moment, Quirk, Reply};

/// What is left to do of a command when the modem stops in it.
#[derive(Debug)]
pub(super) enum Stage {
    Execute(Job, Rest),
    Answer(Reply, Rest),
    HangUp,
}

impl<C: Card> Modem<C> {
    /// What this command asks of the card; `None` when it is none of these.
    pub(super) fn job(&mut self, name: &str, form: Form<'_>) -> Result<Option<Job>, Failure> {
        let job = match (name, form) {
            ("+CSIM", Form::Set("0" | "1")) if self.has(Quirk::TelitLock) => {
                let locked = form == Form::Set("1");
                Some(Job::Lock { locked })
            }
            ("+CSIM" | "+CGLA", Form::Set(text)) if self.is_misspelt(text) => {
                return Err(Failure::Error);
            }
            ("+CSIM", Form::Set(text)) => self.read_apdu(text).map(Job::Csim),
            ("+CGLA", Form::Set(text)) => text.split_once(',').and_then(|(session, text)| {
                let session = session.trim().to_owned();
                let apdu = self.read_apdu(text)?;
                Some(Job::Cgla { session, apdu })
            }),
            ("+CCHO", Form::Set(text)) => {
                let aid = read_digits(text).filter(|aid| (1..=16).contains(&aid.len()));
                aid.map(|aid| Job::Ccho { aid })
            }
            ("+CCHC", Form::Set(text)) => {
                let session = text.to_owned();
                Some(Job::Cchc { session })
            }
            ("+CRSM", _) if self.has(Quirk::CrsmRefused) => {
                return Err(Failure::Cme(Cme::NOT_ALLOWED));
            }
            ("+CRSM", Form::Set(text)) => FileAccess::read(text).map(Job::Crsm),
            ("+CSIM" | "+CGLA" | "+CCHO" | "+CCHC" | "+CRSM", _) => return Err(Failure::Error),
            _ => return Ok(None),
        };
        self.card_is_reachable()?;
        let job = job.ok_or(Failure::Cme(Cme::INCORRECT_PARAMETERS))?;
        self.card_is_free(&job)?;
        Ok(Some(job))
    }

    /// Whether this modem refuses digits that are written like this.
    fn is_misspelt(&self, text: &str) -> bool {
        let digits = text.rsplit(',').next().unwrap_or_default();
        let lower = digits.bytes().any(|letter| letter.is_ascii_lowercase());
        self.has(Quirk::UpperCaseOnly) && lower
            || self.has(Quirk::QuotesRequired) && !digits.contains('"')
    }

    /// Reads `<length>,"<digits>"`; quotation marks are required, as many modems require them.
    fn read_apdu(&self, parameters: &str) -> Option<Vec<u8>> {
        let (length, digits) = parameters.split_once(',')?;
        let apdu = match self.has(Quirk::QuotesOptional) {
            true => hex::decode(digits.trim().trim_matches('"')).ok()?,
            false => read_digits(digits)?,
        };
        let length: usize = length.trim().parse().ok()?;
        // A single byte would be a lock of the card on some modems; no APDU is shorter than four.
        (length == 2 * apdu.len() && apdu.len() >= 4).then_some(apdu)
    }

    /// Begins something at the card; what was injected may happen to it.
    pub(super) fn begin(&mut self, job: Job, rest: Rest) {
        let apdus = self.apdus_of(&job);
        let effect = apdus.iter().find_map(|apdu| self.control.fault_for(apdu));
        match effect {
            None => self.go_on(Stage::Execute(job, rest)),
            Some(effect) => self.fail(job, rest, effect),
        }
    }

    /// Goes on with a command after it was stopped.
    pub(super) fn go_on(&mut self, stage: Stage) {
        match stage {
            Stage::Execute(job, rest) => {
                let reply = self.perform(&job);
                let time = self.time_of(&job);
                self.pause(time);
                self.conclude(reply, rest);
            }
            Stage::Answer(reply, rest) => self.conclude(reply, rest),
            Stage::HangUp => self.control.hang_up(),
        }
    }

    /// Goes on with the command line, or ends it.
    fn conclude(&mut self, reply: Reply, mut rest: Rest) {
        match reply {
            Ok(lines) => {
                rest.lines.extend(lines);
                self.proceed(rest);
            }
            Err(failure) => self.answer(&rest.lines, Err(failure)),
        }
    }

    fn fail(&mut self, job: Job, rest: Rest, effect: Effect) {
        let executed = match &effect {
            Effect::Error { executed, .. }
            | Effect::Silence { executed }
            | Effect::HangUp { executed } => *executed,
            Effect::Truncate => true,
            Effect::Instead { .. } => false,
            Effect::Hold { moment, .. } => *moment == Moment::BeforeAnswer,
        };
        let reply = match executed {
            true => self.perform(&job),
            false => Ok(Vec::new()),
        };
        match effect {
            Effect::Error { cme, .. } => {
                let failure = cme.map_or(Failure::Error, |cme| Failure::Cme(Cme(cme)));
                self.conclude(Err(failure), rest);
            }
            Effect::Silence { .. } => self.conclude(Err(Failure::Silence), rest),
            Effect::HangUp { .. } => self.paused = Some(Stage::HangUp),
            Effect::Truncate => {
                let halves = reply.map(|lines| lines.iter().map(|line| half(line)).collect());
                self.conclude(halves, rest);
            }
            Effect::Instead { response } => {
                let reply = self.reply_instead(&job, &response);
                self.conclude(reply, rest);
            }
            Effect::Hold { gate, moment } => {
                self.actions.push_back(Action::Wait(gate));
                self.paused = Some(match moment {
                    Moment::BeforeExecution => Stage::Execute(job, rest),
                    Moment::BeforeAnswer => Stage::Answer(reply, rest),
                });
            }
        }
    }

    /// What the card is asked first, and then.
    fn apdus_of(&self, job: &Job) -> Vec<Command> {
        let apdu = |apdu: &[u8]| Command::parse(apdu).ok();
        match job {
            // The modem passes on what is no APDU as well; the card has something to say about it.
            Job::Csim(bytes) => apdu(bytes).into_iter().collect(),
            Job::Cgla { session, apdu } => {
                let apdu = self.on_session(session, apdu);
                apdu.and_then(|bytes| Command::parse(&bytes).ok())
                    .into_iter()
                    .collect()
            }
            Job::Ccho { .. } => vec![
                Command::new(0x00, ins::MANAGE_CHANNEL, 0x00, 0x00),
                Command::new(0x00, ins::SELECT, 0x04, 0x00),
            ],
            Job::Cchc { .. } => vec![Command::new(0x00, ins::MANAGE_CHANNEL, 0x80, 0x00)],
            Job::Crsm(_) | Job::Lock { .. } => Vec::new(),
        }
    }

    fn perform(&mut self, job: &Job) -> Reply {
        match job {
            Job::Csim(apdu) => {
                let response = self.pass(Route::Csim, apdu)?;
                Ok(vec![self.response_line("+CSIM", None, &response)])
            }
            Job::Cgla { session, apdu } => self.on_application(session, apdu),
            Job::Ccho { aid } => self.open_session(aid),
            Job::Cchc { session } => self.close_session(session),
            Job::Crsm(access) => self.access_file(access),
            Job::Lock { locked } => Ok(self.lock_card(*locked)),
        }
    }

    /// The reply when the card is not asked, and this is taken for its response.
    fn reply_instead(&self, job: &Job, response: &[u8]) -> Reply {
        match job {
            Job::Csim(_) => Ok(vec![self.response_line("+CSIM", None, response)]),
            Job::Cgla { session, .. } => {
                Ok(vec![self.response_line("+CGLA", Some(session), response)])
            }
            Job::Cchc { .. } | Job::Lock { .. } => Ok(Vec::new()),
            Job::Ccho { .. } | Job::Crsm(_) => Err(Failure::Error),
        }
    }

    /// How long the card and the modem are at it.
    fn time_of(&mut self, job: &Job) -> Duration {
        let mut time = self.control.time(Quirk::ApduTime);
        if let Some(most) = self.control.value(Quirk::ApduJitter) {
            time += Duration::from_millis(self.control.chance(most.saturating_add(1)));
        }
        let is_last_block = match job {
            Job::Csim(apdu) | Job::Cgla { apdu, .. } => {
                matches!(apdu[..], [_, ins::STORE_DATA, 0x91, ..])
            }
            _ => false,
        };
        if is_last_block {
            time += self.control.time(Quirk::LastBlockTime);
            if !std::mem::replace(&mut self.late_is_over, true) {
                time += self.control.time(Quirk::LateAnswer);
            }
        }
        if matches!(job, Job::Ccho { .. }) {
            time += self.control.time(Quirk::OpenTime);
        }
        time
    }

    /// Has the card execute a command of the client. `joined`: the modem fetches what is left of
    /// the response, and passes on all of it.
    pub(super) fn ask(&mut self, apdu: &[u8], joined: bool) -> Result<Vec<u8>, Failure> {
        self.control.count(|counters| counters.apdus += 1);
        let mut response = self.card.transmit(apdu);
        if joined {
            while let [.., 0x61, le] = response[..] {
                response.truncate(response.len() - 2);
                let fetch = [apdu[0], ins::GET_RESPONSE, 0x00, 0x00, le];
                let more = self.card.transmit(&fetch);
                let stuck = more.len() <= 2;
                response.extend(more);
                if stuck || response.len() > JOINED_LIMIT {
                    break;
                }
            }
        }
        if response.len() < 2 {
            // The card has no power.
            self.lose_card();
            return Err(Failure::Cme(Cme::SIM_FAILURE));
        }
        self.note_proactive(&response);
        Ok(response)
    }
}

/// The second half of the digits is missing.
fn half(line: &str) -> String {
    match line.split_once('"') {
        Some((head, digits)) => {
            let digits = digits.trim_end_matches('"');
            format!("{head}\"{}\"", &digits[..digits.len() / 2])
        }
        None => line[..line.len() / 2].to_owned(),
    }
}

/// Bytes of a joined response at most.
const JOINED_LIMIT: usize = 0x1_0000;
