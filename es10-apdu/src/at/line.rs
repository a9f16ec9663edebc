//! What a modem's bytes mean: final result, information, unsolicited result code or echo.
//!
//! Pure: bytes go in by [`LineParser::push`], classified lines come out by [`LineParser::next`].
//! Lines end with CR, LF or both, in any mixture, and may be cut anywhere.

use std::fmt;

use crate::transport::{DeviceRefusal, DeviceRefusalKind};

/// Bytes of a line kept at most; longer ones are dropped and reported as [`Line::Overlong`].
///
/// A modem that runs GET RESPONSE by itself may give 64 KiB of card data in one line of hex.
const LINE_LIMIT: usize = 136 * 1024;

/// Bytes of an unfinished line from which on a passed deadline is looked at.
const FLOOD: usize = 4096;

/// Splits a modem's output into lines and says what each of them is.
#[derive(Debug, Default)]
pub struct LineParser {
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
    /// Inside a line that has outgrown the limit.
    overlong: bool,
    /// A final result that was glued to the end of an information line.
    glued: Option<ResultCode>,
}

impl LineParser {
    /// Takes over received bytes. NULs, which lead the first answer of some modems, are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer
            .extend(bytes.iter().copied().filter(|&byte| byte != 0));
    }

    /// The next whole line, seen by the command that is under way (none: an idle port).
    pub fn next(&mut self, pending: Option<&Pending>) -> Option<Line> {
        if let Some(glued) = self.glued.take() {
            return Some(Line::Final(glued));
        }
        while let Some(text) = self.next_text() {
            let Some(text) = text else {
                return Some(Line::Overlong);
            };
            let text = text.trim_matches([' ', '\t']);
            // CR LF is two line ends with nothing between them.
            if text.is_empty() {
                continue;
            }
            let (text, glued) = match pending {
                Some(pending) => pending.unglue(text),
                None => (text, None),
            };
            self.glued = glued;
            return Some(Line::classify(text, pending));
        }
        None
    }

    /// Whether an unfinished line has outgrown what an ordinary answer needs.
    pub fn is_flooded(&self) -> bool {
        self.overlong || self.buffer.len() > FLOOD
    }

    /// Forgets an unfinished line, for a port that has just been opened.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The text of the next line; inside, `None` for one that was too long.
    fn next_text(&mut self) -> Option<Option<String>> {
        let end = self.buffer[self.scanned..]
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n'));
        let Some(end) = end.map(|end| self.scanned + end) else {
            self.scanned = self.buffer.len();
            if self.scanned > LINE_LIMIT {
                self.overlong = true;
                self.buffer.clear();
                self.scanned = 0;
            }
            return None;
        };
        self.scanned = 0;
        let line: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
        Some(match std::mem::take(&mut self.overlong) {
            true => None,
            false => Some(String::from_utf8_lossy(&line).into_owned()),
        })
    }
}

/// The command under way, as far as the meaning of lines depends on it.
#[derive(Clone, Debug)]
pub struct Pending {
    command: String,
    /// `+CSIM` for `AT+CSIM=…`; empty when answers carry no prefix (`AT`, `ATI`).
    prefix: String,
    /// Whether an unsolicited code may be the answer.
    keeps_codes: bool,
}

impl Pending {
    /// The command as it is sent, without its terminator.
    pub fn new(command: &str) -> Self {
        let body = command
            .get(..2)
            .filter(|start| start.eq_ignore_ascii_case("AT"))
            .map_or(command, |_| &command[2..]);
        let prefix = match body.starts_with(is_extended_mark) {
            true => body.split(['=', '?', ';']).next().unwrap_or_default(),
            false => "",
        };
        Self {
            command: command.to_owned(),
            prefix: prefix.to_ascii_uppercase(),
            keeps_codes: false,
        }
    }

    /// The same for a modem whose answer may look like an unsolicited code.
    pub(super) fn with_codes(self) -> Self {
        Self {
            keeps_codes: true,
            ..self
        }
    }

    pub(super) fn keeps_codes(&self) -> bool {
        self.keeps_codes
    }

    /// The text after `+CSIM:`, when the line is such an answer to this command.
    pub fn payload<'l>(&self, line: &'l str) -> Option<&'l str> {
        if self.prefix.is_empty() {
            return None;
        }
        let (prefix, payload) = line.split_at_checked(self.prefix.len())?;
        prefix
            .eq_ignore_ascii_case(&self.prefix)
            .then(|| payload.trim_start().strip_prefix(':'))?
            .map(str::trim)
    }

    /// Whether a line is the echo of the command. The first letters may be missing, and blanks
    /// may have come in.
    fn is_echo(&self, line: &str) -> bool {
        let squeeze = |text: &str| {
            let mut text: String = text.split_whitespace().collect();
            text.make_ascii_uppercase();
            text
        };
        let (line, command) = (squeeze(line), squeeze(&self.command));
        // From three letters on, so that `OK` never passes for the end of an echo.
        line == command
            || (line.len() >= 3 && line.len() + 2 >= command.len() && command.ends_with(&line))
    }

    /// Whether a bare digit can be an answer, so that it must not be taken for a final result
    /// in digits: the session number of `AT+CCHO`.
    fn answers_in_bare_digits(&self) -> bool {
        self.prefix == "+CCHO"
    }

    /// Cuts a final result off the end of this command's answer: `+CSIM: 4,"9000"OK`.
    fn unglue<'l>(&self, line: &'l str) -> (&'l str, Option<ResultCode>) {
        let whole = (line, None);
        // Only behind the quote that ends an answer: in any other line `OK` may be part of a text.
        if self.payload(line).is_none() {
            return whole;
        }
        let Some(quote) = line.rfind('"') else {
            return whole;
        };
        let (answer, rest) = line.split_at(quote + 1);
        match ResultCode::parse(rest.trim()) {
            Some(result) => (answer, Some(result)),
            None => whole,
        }
    }
}

/// A line from the modem.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Line {
    /// The command came back.
    Echo,
    /// The command under way has ended.
    Final(ResultCode),
    /// Text that belongs to the command under way, or that is not known.
    Information(String),
    /// An unsolicited result code: says something about the modem, not about the command.
    Urc(String),
    /// A line that was too long to keep.
    Overlong,
}

impl Line {
    fn classify(text: &str, pending: Option<&Pending>) -> Self {
        let Some(pending) = pending else {
            // A late answer to an APDU that was given up is no unsolicited code.
            let late = text.starts_with("+CSIM") || text.starts_with("+CGLA");
            return match ResultCode::parse(text) {
                Some(result) => Self::Final(result),
                None if is_urc(text) && !late => Self::Urc(text.to_owned()),
                None => Self::Information(text.to_owned()),
            };
        };
        // By comparing the line, not by counting bytes: an unsolicited code may come before it.
        if pending.is_echo(text) {
            return Self::Echo;
        }
        let digits = match pending.answers_in_bare_digits() {
            true => None,
            false => ResultCode::from_digit(text),
        };
        if let Some(result) = digits.or_else(|| ResultCode::parse(text)) {
            return Self::Final(result);
        }
        // Unsolicited codes come at any time, also between the lines of an answer. What has the prefix
        // of the command is its answer, even when it looks like one: `+CREG: 1` after `AT+CREG?`.
        match is_urc(text) && pending.payload(text).is_none() {
            true => Self::Urc(text.to_owned()),
            false => Self::Information(text.to_owned()),
        }
    }
}

/// The result code that ends a command.
///
/// `NO CARRIER`, `BUSY` and their like end a dialled call, and nothing is ever dialled here: they
/// are unsolicited.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ResultCode {
    /// `OK`.
    Ok,
    /// `ERROR`.
    Error,
    /// `+CME ERROR:` with a number, or with words that stand for one.
    Cme(Cme),
    /// `+CME ERROR:` with words of the modem's own.
    CmeText(String),
    /// `+CMS ERROR:` with whatever follows.
    Cms(String),
    /// `COMMAND NOT SUPPORT`, from Huawei modems.
    CommandNotSupported,
    /// `TOO MANY PARAMETERS`, from Huawei modems.
    TooManyParameters,
}

impl ResultCode {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "OK" => Self::Ok,
            "ERROR" => Self::Error,
            "COMMAND NOT SUPPORT" => Self::CommandNotSupported,
            "TOO MANY PARAMETERS" => Self::TooManyParameters,
            _ => {
                let after = |start| {
                    let rest: &str = text.strip_prefix(start)?;
                    let rest = rest.trim_start();
                    Some(rest.strip_prefix(':').unwrap_or(rest).trim())
                };
                match (after("+CME ERROR"), after("+CMS ERROR")) {
                    (Some(code), _) => Self::from_cme(code),
                    (_, Some(code)) => Self::Cms(words(code)),
                    (None, None) => return None,
                }
            }
        })
    }

    fn from_cme(code: &str) -> Self {
        match code.parse().ok().map(Cme).or_else(|| Cme::from_words(code)) {
            Some(code) => Self::Cme(code),
            None => Self::CmeText(words(code)),
        }
    }

    /// A result code in digits, from a modem left in `ATV0` by another program.
    fn from_digit(text: &str) -> Option<Self> {
        match text {
            "0" => Some(Self::Ok),
            "4" => Some(Self::Error),
            // The others of V.250 are about dialled calls.
            _ => None,
        }
    }
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Error => f.write_str("ERROR"),
            Self::Cme(code) => write!(f, "+CME ERROR: {code}"),
            Self::CmeText(text) => write!(f, "+CME ERROR: {text}"),
            Self::Cms(text) => write!(f, "+CMS ERROR: {text}"),
            Self::CommandNotSupported => f.write_str("COMMAND NOT SUPPORT"),
            Self::TooManyParameters => f.write_str("TOO MANY PARAMETERS"),
        }
    }
}

impl ResultCode {
    /// What it comes to; errors with a number in `retry` may pass, and so may a bare `ERROR`.
    pub fn refusal(&self, retry: &[u16]) -> DeviceRefusal {
        let kind = match self {
            Self::Cme(Cme::SIM_BUSY) => DeviceRefusalKind::Busy,
            Self::Cme(Cme::SIM_NOT_INSERTED) => DeviceRefusalKind::NoCard,
            Self::Cme(Cme::SIM_FAILURE | Cme::SIM_WRONG) => DeviceRefusalKind::CardFailed,
            Self::Cme(
                Cme::PH_SIM_PIN_REQUIRED
                | Cme::SIM_PIN_REQUIRED
                | Cme::SIM_PUK_REQUIRED
                | Cme::SIM_PIN2_REQUIRED
                | Cme::SIM_PUK2_REQUIRED,
            ) => DeviceRefusalKind::Locked,
            Self::Cme(Cme::NOT_ALLOWED | Cme::NOT_SUPPORTED)
            | Self::CommandNotSupported
            | Self::TooManyParameters => DeviceRefusalKind::NotAllowed,
            _ => DeviceRefusalKind::Other,
        };
        DeviceRefusal {
            may_pass: match self {
                Self::Error => true,
                Self::Cme(Cme(number)) => retry.contains(number),
                _ => false,
            },
            ..DeviceRefusal::new(kind, self)
        }
    }
}

/// A modem's own words as they may be shown and logged: not too many, and without long numbers, which are
/// those of the card or its user.
fn words(said: &str) -> String {
    let mut words = String::new();
    for part in said.split_inclusive(|letter: char| !letter.is_ascii_digit()) {
        let digits = part.trim_end_matches(|letter: char| !letter.is_ascii_digit());
        match digits.len() < LONG_NUMBER {
            true => words.push_str(part),
            false => {
                words.push('…');
                words.push_str(&part[digits.len()..]);
            }
        }
    }
    words.chars().take(MOST_WORDS).collect()
}

/// Digits of a number that is not shown: IMSI and IMEI have 15.
const LONG_NUMBER: usize = 14;
/// Letters of a modem's own words.
const MOST_WORDS: usize = 100;

/// An error number of mobile equipment, 3GPP TS 27.007 section 9.2; any value can be held.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Cme(pub u16);

impl Cme {
    /// Phone failure.
    pub const PHONE_FAILURE: Self = Self(0);
    /// Operation not allowed.
    pub const NOT_ALLOWED: Self = Self(3);
    /// Operation not supported.
    pub const NOT_SUPPORTED: Self = Self(4);
    /// PH-SIM PIN required.
    pub const PH_SIM_PIN_REQUIRED: Self = Self(5);
    /// SIM not inserted.
    pub const SIM_NOT_INSERTED: Self = Self(10);
    /// SIM PIN required.
    pub const SIM_PIN_REQUIRED: Self = Self(11);
    /// SIM PUK required.
    pub const SIM_PUK_REQUIRED: Self = Self(12);
    /// SIM failure.
    pub const SIM_FAILURE: Self = Self(13);
    /// SIM busy.
    pub const SIM_BUSY: Self = Self(14);
    /// SIM wrong.
    pub const SIM_WRONG: Self = Self(15);
    /// Incorrect password.
    pub const INCORRECT_PASSWORD: Self = Self(16);
    /// SIM PIN2 required.
    pub const SIM_PIN2_REQUIRED: Self = Self(17);
    /// SIM PUK2 required.
    pub const SIM_PUK2_REQUIRED: Self = Self(18);
    /// Incorrect parameters.
    pub const INCORRECT_PARAMETERS: Self = Self(50);
    /// Unknown.
    pub const UNKNOWN: Self = Self(100);

    /// The number's meaning in the words of the standard; `None` for one that has no place here.
    pub fn meaning(self) -> Option<&'static str> {
        CME_WORDS
            .iter()
            .find(|&&(code, _)| code == self.0)
            .map(|&(_, words)| words)
    }

    /// The number that words stand for, whatever their case and spacing.
    fn from_words(words: &str) -> Option<Self> {
        let squeeze = |text: &str| text.replace([' ', '-', '_'], "").to_ascii_lowercase();
        let words = squeeze(words);
        CME_WORDS
            .iter()
            .find(|(_, known)| squeeze(known) == words)
            .map(|&(code, _)| Self(code))
    }
}

impl fmt::Display for Cme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.meaning() {
            Some(meaning) => write!(f, "{} ({meaning})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

const CME_WORDS: [(u16, &str); 22] = [
    (0, "phone failure"),
    (3, "operation not allowed"),
    (4, "operation not supported"),
    (5, "PH-SIM PIN required"),
    (10, "SIM not inserted"),
    (11, "SIM PIN required"),
    (12, "SIM PUK required"),
    (13, "SIM failure"),
    (14, "SIM busy"),
    (15, "SIM wrong"),
    (16, "incorrect password"),
    (17, "SIM PIN2 required"),
    (18, "SIM PUK2 required"),
    (20, "memory full"),
    (21, "invalid index"),
    (22, "not found"),
    (23, "memory failure"),
    (24, "text string too long"),
    (30, "no network service"),
    (31, "network timeout"),
    (50, "incorrect parameters"),
    (100, "unknown"),
];

fn is_extended_mark(mark: char) -> bool {
    matches!(mark, '+' | '^' | '$' | '%' | '#' | '*' | '!' | '&')
}

/// Whether a line has the form of an unsolicited result code: a marked name, or one of the bare
/// words modems shout.
fn is_urc(text: &str) -> bool {
    const WORDS: [&str; 14] = [
        "RING",
        "RDY",
        "NO CARRIER",
        "BUSY",
        "NO ANSWER",
        "NO DIALTONE",
        "READY",
        "SMS DONE",
        "SMS READY",
        "PB DONE",
        "CALL READY",
        "NORMAL POWER DOWN",
        "POWERED DOWN",
        "START",
    ];
    let mut letters = text.chars();
    let marked = letters.next().is_some_and(is_extended_mark)
        && letters
            .next()
            .is_some_and(|letter| letter.is_ascii_alphabetic());
    marked || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
