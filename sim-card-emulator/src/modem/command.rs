//! The AT commands a modem knows, V.250 and 3GPP TS 27.007.

use es10_apdu::at::Cme;

use super::form::Form;
use super::job::{Job, Rest};
use super::registration::REGISTRATIONS;
use super::{After, Card, Failure, Identity, Modem, Quirk, Reply, STANDARD_RATE, Settings};

/// What a command comes to.
enum Outcome {
    Lines(Vec<String>),
    /// Something at the card, which may be held up.
    Job(Job),
}

impl<C: Card> Modem<C> {
    /// Executes a command line and answers it.
    pub(super) fn execute(&mut self, line: &str) {
        match strip_attention(line) {
            None => self.answer(&[], Err(Failure::Error)),
            Some(body) => self.proceed(Rest {
                text: body.to_owned(),
                lines: Vec::new(),
            }),
        }
    }

    /// Executes the commands of a line up to the first that fails, or that the card is asked for.
    pub(super) fn proceed(&mut self, rest: Rest) {
        let Rest { text, mut lines } = rest;
        let mut text = text.trim();
        while !text.is_empty() {
            let (outcome, after) = match text.starts_with(EXTENDED) {
                true => {
                    let (command, after) = split_extended(text);
                    (self.extended(command.trim()), after)
                }
                false => match self.basic(text, &mut lines) {
                    Ok(after) => (Ok(Outcome::Lines(Vec::new())), after),
                    Err(failure) => (Err(failure), ""),
                },
            };
            text = after.trim_start_matches([' ', ';']);
            match outcome {
                Ok(Outcome::Lines(more)) => lines.extend(more),
                Ok(Outcome::Job(job)) => {
                    let text = text.to_owned();
                    return self.begin(job, Rest { text, lines });
                }
                Err(failure) => return self.answer(&lines, Err(failure)),
            }
        }
        self.answer(&lines, Ok(()));
    }

    /// Executes a command of one letter and gives what follows it.
    fn basic<'l>(&mut self, rest: &'l str, lines: &mut Vec<String>) -> Result<&'l str, Failure> {
        let letters = if rest.starts_with('&') { 2 } else { 1 };
        let (name, after) = rest.split_at_checked(letters).ok_or(Failure::Error)?;
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (digits, after) = after.split_at(digits);
        let value: u8 = match digits {
            "" => 0,
            digits => digits.parse().map_err(|_| Failure::Error)?,
        };
        let told = self.told_identity();
        let switch = || match value {
            0 | 1 => Ok(value == 1),
            _ => Err(Failure::Error),
        };
        match name.to_ascii_uppercase().as_str() {
            "E" => self.settings.echo = switch()?,
            "V" => self.settings.verbose = switch()?,
            "Q" => self.settings.quiet = switch()?,
            "I" => lines.extend([
                told.manufacturer,
                told.model,
                format!("Revision: {}", told.revision),
            ]),
            "Z" | "&F" => {
                self.settings = Settings {
                    cfun: self.settings.cfun,
                    card_is_off: self.settings.card_is_off,
                    ..Settings::default()
                };
            }
            // Flow control and the lines of a real UART.
            "&C" | "&D" | "&K" | "&W" | "X" | "S" => {}
            _ => return Err(Failure::Error),
        }
        Ok(after)
    }

    /// Executes a command that begins with a plus sign, or with the sign of some maker.
    fn extended(&mut self, command: &str) -> Result<Outcome, Failure> {
        let (name, form) = Form::split(command);
        let name = name.to_ascii_uppercase();
        let own = match name.as_str() {
            "+QESIM" if self.has(Quirk::InternalLpa) => Some(self.give_up_lpa(form)),
            "+GTDUALSIM" if self.has(Quirk::IsdrWindow) => Some(self.select_slot(form)),
            name => {
                let restarted = self.restart_by(&command.to_ascii_uppercase());
                restarted.or_else(|| self.iccid_question(name, form))
            }
        };
        if let Some(reply) = own {
            return reply.map(Outcome::Lines);
        }
        let known = COMMANDS.iter().find(|(known, _)| *known == name);
        let known = known.filter(|(name, _)| !self.is_missing(name));
        let (name, test) = *known.ok_or(Failure::Unknown)?;
        if form == Form::Test {
            return self.test_form(name, test).map(Outcome::Lines);
        }
        if let Some(job) = self.job(name, form)? {
            return Ok(Outcome::Job(job));
        }
        let reply = match name {
            "+CIMI" | "+CPIN" => self.card_question(name, form),
            name if REGISTRATIONS.contains(&name) => self.registration(name, form),
            "+CEER" => self.report(form),
            "+COPS" => self.operator(form),
            "+QMBNCFG" => self.select_carrier(form),
            "+CGATT" => self.attachment(form),
            "+CGDCONT" => self.define_context(form),
            "+CGACT" => self.activate_context(form),
            "+CGPADDR" => self.context_addresses(form),
            "+CGCONTRDP" => self.context_parameters(form),
            "+CGEREP" => self.report_events(form),
            "+CFUN" => self.functionality(form),
            "+CMEE" => self.error_numbers(form),
            "+IPR" => self.line_rate(form),
            _ => self.identify(name, form),
        };
        reply.map(Outcome::Lines)
    }

    /// Whether this modem does without the command.
    fn is_missing(&self, name: &str) -> bool {
        match name {
            "+CSIM" => self.has(Quirk::NoCsim),
            "+CCHO" | "+CGLA" => self.has(Quirk::NoCcho),
            "+CCHC" => self.has(Quirk::NoCcho) || self.has(Quirk::CchcMissing),
            _ => false,
        }
    }

    /// `=?`: what a command takes.
    fn test_form(&self, name: &str, test: &str) -> Reply {
        let usage = match name {
            "+CCHC" => "<sessionid>",
            "+CCHO" => "<dfname>",
            "+CGLA" => "<sessionid>,<length>,<command>",
            "+CSIM" => "<length>,<command>",
            name if REGISTRATIONS.contains(&name) => {
                return Ok(vec![format!("{name}: (0-{})", self.highest_level(name))]);
            }
            _ if test.is_empty() => return Ok(Vec::new()),
            _ => return Ok(vec![format!("{name}: {test}")]),
        };
        if self.has(Quirk::TestFormSilent) {
            return Err(Failure::Silence);
        }
        if self.has(Quirk::TestFormError) {
            return Err(Failure::Error);
        }
        Ok(match self.has(Quirk::TestFormUsage) {
            true => vec![format!("{name}: {usage}")],
            false => Vec::new(),
        })
    }

    /// What the modem is, TS 27.007 section 5, and what it knows.
    fn identify(&mut self, name: &str, form: Form<'_>) -> Reply {
        let told = self.told_identity();
        let Identity { imei, .. } = &told;
        let named = |text: String| match self.has(Quirk::IdentityNamed) {
            true => format!("{name}: \"{text}\""),
            false => text,
        };
        let text = match (name, form) {
            ("+CGMI", Form::Run) => named(told.manufacturer),
            ("+CGMM", Form::Run) => named(told.model),
            ("+CGMR", Form::Run) => named(told.revision),
            ("+CGSN", _) if self.has(Quirk::CgsnSilent) => return Err(Failure::Silence),
            ("+CGSN", Form::Run | Form::Set("0")) if self.has(Quirk::CgsnSerial) => {
                SERIAL_NUMBER.to_owned()
            }
            ("+CGSN", Form::Run | Form::Set("0")) => imei.clone(),
            ("+CGSN", Form::Set("1")) => format!("+CGSN: \"{imei}\""),
            // The software version stands in place of the check digit.
            ("+CGSN", Form::Set("2")) => {
                let body = imei.get(..14).unwrap_or(imei);
                format!("+CGSN: \"{body}{SOFTWARE_VERSION}\"")
            }
            ("+CGSN", Form::Set("3")) => format!("+CGSN: \"{SOFTWARE_VERSION}\""),
            ("+CSQ", Form::Run) if self.settings.cfun == 1 => "+CSQ: 20,0".to_owned(),
            ("+CSQ", Form::Run) => "+CSQ: 99,99".to_owned(),
            ("+CLAC", Form::Run) => {
                let known = COMMANDS.iter().map(|(name, _)| *name);
                let known = known.filter(|name| !self.is_missing(name));
                let own = self.control.words(Quirk::ResetCommands);
                let all = known.chain(self.iccid_commands()).chain(own);
                return Ok(all.map(|name| format!("AT{name}")).collect());
            }
            (_, Form::Set(_)) => return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
            _ => return Err(Failure::Error),
        };
        Ok(vec![text])
    }

    /// `AT+CFUN`, TS 27.007 section 8.2.
    fn functionality(&mut self, form: Form<'_>) -> Reply {
        let before = self.settings.cfun;
        if before != 1 && form == Form::Set("1") && self.radio_busy_for > 0 {
            self.radio_busy_for -= 1;
            return Err(Failure::Cme(Cme::SIM_BUSY));
        }
        match form {
            Form::Read => return Ok(vec![format!("+CFUN: {before}")]),
            Form::Set("0" | "0,0") => self.settings.cfun = 0,
            Form::Set("1" | "1,0") => self.settings.cfun = 1,
            Form::Set("4" | "4,0") => self.settings.cfun = 4,
            Form::Set("1,1") => {
                self.afterwards.push(After::Restart);
                return Ok(Vec::new());
            }
            _ => return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
        if self.settings.cfun != 1 {
            self.sim.refused_for = None;
            self.radio_busy_for = self.control.value(Quirk::RadioBusy).unwrap_or(0);
        }
        self.pause(self.control.time(Quirk::CfunTime));
        self.settings.echo |= self.has(Quirk::EchoReturns);
        let was_on = before != 0;
        if self.settings.cfun == 0 && was_on && self.has(Quirk::RadioOffDrops) {
            let absent = self.control.time(Quirk::RadioOffDrops);
            self.afterwards.push(After::Drop { absent });
        } else if self.settings.cfun == 0 && self.has(Quirk::RadioOffRestarts) {
            self.afterwards.push(After::RestartHere);
        } else if self.settings.cfun == 0 && self.has(Quirk::RadioOffHangsUp) {
            let absent = self.control.time(Quirk::RadioOffHangsUp);
            self.afterwards.push(After::Leave { absent });
        }
        match (before, self.settings.cfun) {
            (0, 0) => {}
            (_, 0) => self.cut_card(),
            (0, _) if self.settings.card_is_on() => self.start_card(),
            _ => {}
        }
        if before != self.settings.cfun {
            self.radio_starts += u64::from(self.settings.cfun == 1);
            self.search();
        }
        Ok(Vec::new())
    }

    /// `AT+CMEE`, TS 27.007 section 9.1.
    fn error_numbers(&mut self, form: Form<'_>) -> Reply {
        match form {
            Form::Read => return Ok(vec![format!("+CMEE: {}", self.settings.cmee)]),
            Form::Run | Form::Set("0") => self.settings.cmee = 0,
            Form::Set("1") => self.settings.cmee = 1,
            Form::Set("2") => self.settings.cmee = 2,
            _ => return Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
        }
        Ok(Vec::new())
    }

    /// `AT+IPR`, V.250 section 6.2.10; the answer leaves at the rate of before.
    fn line_rate(&mut self, form: Form<'_>) -> Reply {
        match form {
            Form::Read => Ok(vec![format!("+IPR: {}", self.rate())]),
            Form::Set(rate) => {
                let rate = rate.trim().parse().ok().filter(|rate| RATES.contains(rate));
                let rate = rate.ok_or(Failure::Cme(Cme::INCORRECT_PARAMETERS))?;
                self.rate = Some(rate);
                self.afterwards.push(After::Rate(rate));
                Ok(Vec::new())
            }
            _ => Err(Failure::Error),
        }
    }

    /// The rate of the modem's side of the line.
    pub(super) fn rate(&self) -> u32 {
        self.rate.or(self.line_rate).unwrap_or(STANDARD_RATE)
    }
}

fn strip_attention(line: &str) -> Option<&str> {
    let (attention, body) = line.trim().split_at_checked(2)?;
    attention.eq_ignore_ascii_case("AT").then_some(body)
}

/// Cuts at the first semicolon outside quotation marks.
fn split_extended(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (index, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            ';' if !quoted => return (&text[..index], &text[index + 1..]),
            _ => {}
        }
    }
    (text, "")
}

/// What the names of extended commands begin with; a maker's own often with another sign than plus.
const EXTENDED: [char; 6] = ['+', '#', '!', '^', '%', '$'];
/// A serial number that is no IMEI.
const SERIAL_NUMBER: &str = "MQ23A0715004217";
/// Every command that begins with a plus sign, and what its test form answers.
const COMMANDS: [(&str, &str); 29] = [
    ("+C5GREG", ""),
    ("+CCHC", ""),
    ("+CCHO", ""),
    ("+CEER", ""),
    ("+CEREG", ""),
    ("+CFUN", "(0,1,4),(0,1)"),
    ("+CGACT", "(0,1)"),
    ("+CGATT", "(0,1)"),
    ("+CGCONTRDP", ""),
    ("+CGDCONT", "(1-16),(\"IP\",\"IPV6\",\"IPV4V6\"),,,(0),(0)"),
    ("+CGEREP", "(0-2),(0,1)"),
    ("+CGLA", ""),
    ("+CGMI", ""),
    ("+CGMM", ""),
    ("+CGMR", ""),
    ("+CGPADDR", ""),
    ("+CGREG", ""),
    ("+CGSN", "(0-3)"),
    ("+CIMI", ""),
    ("+CLAC", ""),
    ("+CMEE", "(0-2)"),
    (
        "+COPS",
        "(2,\"Test Network\",\"Test\",\"00101\",7),,(0,1,2,3,4),(0,1,2)",
    ),
    ("+CPIN", ""),
    ("+CREG", ""),
    ("+CRSM", ""),
    ("+CSIM", ""),
    ("+CSQ", "(0-31,99),(99)"),
    (
        "+IPR",
        "(),(9600,19200,38400,57600,115200,230400,460800,921600)",
    ),
    ("+QMBNCFG", ""),
];
const RATES: [u32; 8] = [
    9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600,
];
/// The last two digits of an IMEISV.
const SOFTWARE_VERSION: &str = "01";
