//! The AT commands a modem knows, V.250 and 3GPP TS 27.007.

use es10_apdu::at::Cme;

use super::{Card, Failure, Modem, Settings};

impl<C: Card> Modem<C> {
    /// Executes a command line and answers it.
    pub(super) fn execute(&mut self, line: &str) {
        let Some(body) = strip_attention(line) else {
            return self.answer(Err(Failure::Error));
        };
        // APDUs may be held up, so they come alone in a line.
        if let Some(parameters) = strip_name(body, "+CSIM=") {
            return self.csim(parameters);
        }
        let restart = strip_name(body, "+CFUN=").is_some_and(|value| value.trim() == "1,1");
        let answer = self.commands(body);
        let done = answer.is_ok();
        self.answer(answer);
        if restart && done {
            self.restart();
        }
    }

    /// Executes the commands of a line up to the first that fails.
    fn commands(&mut self, body: &str) -> Result<Vec<String>, Failure> {
        let mut lines = Vec::new();
        let mut rest = body.trim();
        while !rest.is_empty() {
            rest = match rest.starts_with('+') {
                true => {
                    let (command, after) = split_extended(rest);
                    lines.extend(self.extended(command.trim())?);
                    after
                }
                false => self.basic(rest, &mut lines)?,
            }
            .trim_start();
        }
        Ok(lines)
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
        let switch = || match value {
            0 | 1 => Ok(value == 1),
            _ => Err(Failure::Error),
        };
        match name.to_ascii_uppercase().as_str() {
            "E" => self.settings.echo = switch()?,
            "V" => self.settings.verbose = switch()?,
            "Q" => self.settings.quiet = switch()?,
            "I" => lines.extend([
                self.identity.manufacturer.clone(),
                self.identity.model.clone(),
                format!("Revision: {}", self.identity.revision),
            ]),
            "Z" | "&F" => {
                self.settings = Settings {
                    cfun: self.settings.cfun,
                    baud_rate: self.settings.baud_rate,
                    ..Settings::default()
                };
            }
            // Flow control and the lines of a real UART.
            "&C" | "&D" | "&K" | "X" => {}
            _ => return Err(Failure::Error),
        }
        Ok(after)
    }

    /// Executes a command that begins with a plus sign.
    fn extended(&mut self, command: &str) -> Result<Vec<String>, Failure> {
        let (name, value) = match command.find(['=', '?']) {
            Some(end) => command.split_at(end),
            None => (command, ""),
        };
        let name = name.to_ascii_uppercase();
        let one = |line: String| Ok(vec![line]);
        match (name.as_str(), value.trim()) {
            ("+CGMI" | "+CGMM" | "+CGMR" | "+CGSN" | "+CSIM", "=?") => Ok(Vec::new()),
            ("+CGMI", "") => one(self.identity.manufacturer.clone()),
            ("+CGMM", "") => one(self.identity.model.clone()),
            ("+CGMR", "") => one(self.identity.revision.clone()),
            ("+CGSN", "") => one(self.identity.imei.clone()),
            ("+CCID" | "+QCCID" | "+ICCID", "" | "?") => {
                let iccid = self.iccid()?;
                one(format!("{name}: {iccid}"))
            }
            ("+CPIN", "?") => {
                self.iccid()?;
                one("+CPIN: READY".to_owned())
            }
            ("+CFUN", "?") => one(format!("+CFUN: {}", self.settings.cfun)),
            ("+CFUN", "=0") => {
                self.card.reset();
                self.settings.cfun = 0;
                Ok(Vec::new())
            }
            ("+CFUN", "=1" | "=1,0" | "=1,1") => {
                self.settings.cfun = 1;
                Ok(Vec::new())
            }
            ("+CFUN", "=4") => {
                self.settings.cfun = 4;
                Ok(Vec::new())
            }
            ("+CFUN", _) => Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
            ("+CREG" | "+CGREG" | "+CEREG", "?") => {
                one(format!("{name}: 0,{}", u8::from(self.is_registered())))
            }
            ("+COPS", "?") => one(match self.is_registered() {
                true => "+COPS: 0,0,\"Test Network\",7".to_owned(),
                false => "+COPS: 0".to_owned(),
            }),
            ("+CMEE", "?") => one(format!("+CMEE: {}", self.settings.cmee)),
            ("+CMEE", value @ ("=0" | "=1" | "=2")) => {
                self.settings.cmee = value.as_bytes()[1] - b'0';
                Ok(Vec::new())
            }
            ("+CMEE", _) => Err(Failure::Cme(Cme::INCORRECT_PARAMETERS)),
            ("+IPR", "?") => one(format!("+IPR: {}", self.settings.baud_rate)),
            _ => Err(Failure::Error),
        }
    }

    /// The ICCID the network side would see.
    fn iccid(&self) -> Result<String, Failure> {
        match self.settings.card_is_on() {
            true => self.card.enabled_iccid(),
            false => None,
        }
        .ok_or(Failure::Cme(Cme::SIM_NOT_INSERTED))
    }

    /// A modem with radio and an enabled profile finds a network here.
    fn is_registered(&self) -> bool {
        self.settings.cfun == 1 && self.card.enabled_iccid().is_some()
    }

    /// The modem starts anew: settings are those of a fresh one, and so are the card's channels.
    fn restart(&mut self) {
        let baud_rate = self.settings.baud_rate;
        self.settings = Settings {
            baud_rate,
            ..Settings::default()
        };
        self.card.reset();
        self.say("RDY");
        if self.card.enabled_iccid().is_some() {
            self.say("+CPIN: READY");
        }
    }
}

fn strip_attention(line: &str) -> Option<&str> {
    let (attention, body) = line.trim().split_at_checked(2)?;
    attention.eq_ignore_ascii_case("AT").then_some(body)
}

fn strip_name<'l>(body: &'l str, name: &str) -> Option<&'l str> {
    let (start, rest) = body.trim().split_at_checked(name.len())?;
    // `+CSIM=?` asks whether there is such a command.
    (start.eq_ignore_ascii_case(name) && rest != "?").then_some(rest)
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
