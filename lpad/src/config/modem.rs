//! What differs between modems, as it is written in TOML: in a `[[modem]]` of the table of modems, and in
//! `[euicc.modem]`, which overrides it.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// Defines what may be written, where each key may be left out, and what holds in the end.
macro_rules! keys {
    ($($(#[$doc:meta])* $key:ident: $kind:ty,)*) => {
        /// A `[[modem]]` of the table, or `[euicc.modem]`. A key that is left out has the value of the
        /// family, or else of the entry `generic`.
        #[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
        #[serde(default, deny_unknown_fields)]
        pub struct ModemEntry {
            /// The name of the entry.
            pub id: Option<String>,
            /// Its makers, as patterns for the answer to `AT+CGMI`; none stands for all.
            pub makers: Option<Vec<String>>,
            /// Its models, as patterns for the answer to `AT+CGMM`; none stands for all.
            pub models: Option<Vec<String>>,
            /// The entry that has the values of the keys that are left out.
            pub family: Option<String>,
            /// How much is known of lpad's work with it.
            pub verdict: Option<Verdict>,
            /// USB numbers, and which of the interfaces are AT ports: `2c7c:0125 at 2 3 avoid 0 1`.
            pub usb: Option<Vec<String>>,
            /// What only the book shows.
            pub page: Option<Unread>,
            $($(#[$doc])* pub $key: Option<$kind>,)*
        }

        /// How a modem is to be handled.
        #[derive(Clone, Debug, Default, Eq, PartialEq)]
        pub struct Habits {
            $($(#[$doc])* pub $key: $kind,)*
        }

        impl ModemEntry {
            /// This entry, with what it leaves out as in `other`.
            #[must_use]
            pub fn over(self, other: Self) -> Self {
                Self {
                    family: other.family,
                    verdict: self.verdict.or(other.verdict),
                    $($key: self.$key.or(other.$key),)*
                    ..self
                }
            }

            /// What holds in the end; nothing is left out in `generic`.
            pub(crate) fn habits(self) -> Habits {
                Habits {
                    $($key: self.$key.unwrap_or_default(),)*
                }
            }

            /// The keys that are left out.
            #[cfg(test)]
            pub(crate) fn left_out(&self) -> Vec<&'static str> {
                let mut left_out = Vec::new();
                $(if self.$key.is_none() {
                    left_out.push(stringify!($key));
                })*
                left_out
            }
        }
    };
}

keys! {
    /// The ways for commands to the card, in the order in which they are tried.
    apdu: Vec<Route>,
    /// Bytes of data in one command to the card, at most.
    block_size: u8,
    /// Characters in one AT line, at most; 0 when no limit is known.
    line_limit: u64,
    /// Whether commands to the card carry Le.
    le: LeField,
    /// The class byte of GET RESPONSE.
    get_response_class: GetResponseClass,
    /// Whether TERMINAL CAPABILITY is sent to a card that refuses the ISD-R without it.
    terminal_capability: bool,
    /// Longest time for opening a channel to the card.
    open_s: u64,
    /// Longest time for closing it.
    close_s: u64,
    /// Longest time for a block that is not the last one of a command.
    block_s: u64,
    /// Errors of mobile equipment (`+CME ERROR`) after which a command that had no effect is sent again.
    retry: Vec<u16>,
    /// Longest time for a question to the modem itself.
    question_s: u64,
    /// Commands that ask for the ICCID of the profile in use.
    iccid: Vec<String>,
    /// Commands that ask for the IMEI.
    imei: Vec<String>,
    /// Patterns of ICCIDs that stand for no profile at all.
    no_profile_iccids: Vec<String>,
    /// Whether the modem passes nothing on to a card without an enabled profile.
    needs_profile: bool,
    /// Commands that ask whether the modem is registered in a network.
    registration: Vec<String>,
    /// Longest time for a registration after a profile was enabled; 0 does not ask for it.
    registration_s: u64,
    /// Whether the card is to ask for a REFRESH when profiles are switched.
    refresh_flag: bool,
    /// How long the modem may take to act on REFRESH.
    refresh_s: u64,
    /// Longest time for one line of the ladder.
    reset_s: u64,
    /// What makes the modem read the card again, the mildest first.
    ladder: Vec<Rung>,
    /// Lines that this modem must not be sent.
    never: Vec<String>,
    /// What helps when the modem uses the right profile and is not registered.
    not_registered: String,
    /// What helps when the ISD-R cannot be reached.
    no_isd_r: String,
}

/// How much is known of lpad's work with a modem.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Somebody has published a download and a switch over its AT port.
    Supported,
    /// Parts of that are proven, and nothing speaks against the rest.
    Expected,
    /// It was tried, and the modem refuses.
    KnownNotToWork,
    /// No report was found.
    #[default]
    Unknown,
}

impl Verdict {
    /// The name used in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Expected => "expected",
            Self::KnownNotToWork => "known-not-to-work",
            Self::Unknown => "unknown",
        }
    }
}

/// A way for commands to the card.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// `AT+CCHO`, `AT+CGLA` and `AT+CCHC`.
    Cgla,
    /// `AT+CSIM`.
    Csim,
}

/// Whether commands to the card carry Le.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LeField {
    /// They do not.
    #[default]
    Absent,
    /// It is `00`.
    Zero,
}

/// The class byte of GET RESPONSE.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum GetResponseClass {
    /// That of the command whose answer is fetched.
    #[default]
    AsCommand,
    /// The number of the channel and nothing else.
    ChannelOnly,
}

/// One way to make the modem read the card again. Without lines and a program it only waits.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Rung {
    /// AT lines, in this order.
    pub send: Vec<String>,
    /// Whether all lines are written at once, because the port is gone after the first.
    pub together: bool,
    /// A program and its arguments, such as one that switches the modem's power.
    pub run: Vec<String>,
    /// The pause after each line.
    pub pause_s: u64,
    /// Whether the modem restarts, so that its port goes away or has to be opened anew.
    pub port_leaves: bool,
    /// How long the modem has after that to use the other profile.
    pub within_s: Option<u64>,
}

impl Rung {
    /// How long the modem has to use the other profile, in seconds.
    pub fn within_s(&self) -> u64 {
        let usual = if self.port_leaves { 120 } else { 60 };
        self.within_s.unwrap_or(usual)
    }
}

/// Anything, which is not kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A key whose value cannot be used, and what it must be.
pub(crate) type WrongKey = (&'static str, String);

impl ModemEntry {
    /// Looks at the values.
    pub(crate) fn check(&self) -> Result<(), WrongKey> {
        self.check_numbers()?;
        let lists = [
            ("iccid", &self.iccid),
            ("imei", &self.imei),
            ("registration", &self.registration),
            ("never", &self.never),
        ];
        for (key, lines) in lists {
            check_lines(key, lines.as_deref().unwrap_or_default())?;
        }
        let patterns = [
            ("makers", &self.makers),
            ("models", &self.models),
            ("no_profile_iccids", &self.no_profile_iccids),
        ];
        for (key, patterns) in patterns {
            for pattern in patterns.iter().flatten() {
                check_text(key, pattern)?;
            }
        }
        let texts = [
            ("id", &self.id),
            ("family", &self.family),
            ("not_registered", &self.not_registered),
            ("no_isd_r", &self.no_isd_r),
        ];
        for (key, text) in texts {
            check_text(key, text.as_deref().unwrap_or_default())?;
        }
        for usb in self.usb.iter().flatten() {
            if UsbPorts::parse(usb).is_none() {
                let wrong = format!("is like \"2c7c:0125 at 2 3 avoid 0 1\", and \"{usb}\" is not");
                return Err(("usb", wrong));
            }
        }
        self.check_ladder()?;
        match self.forbidden() {
            None => Ok(()),
            Some((key, line)) => Err((key, format!("has \"{line}\", which \"never\" forbids"))),
        }
    }

    fn check_numbers(&self) -> Result<(), WrongKey> {
        if self.block_size.is_some_and(|size| size < 16) {
            return Err(("block_size", "must be between 16 and 255 bytes".to_owned()));
        }
        for (key, seconds, least) in [
            ("open_s", self.open_s, 1),
            ("close_s", self.close_s, 1),
            ("block_s", self.block_s, 1),
            ("question_s", self.question_s, 1),
            ("reset_s", self.reset_s, 1),
            ("refresh_s", self.refresh_s, 0),
            ("registration_s", self.registration_s, 0),
        ] {
            if seconds.is_some_and(|seconds| !(least..=LONGEST_WAIT_S).contains(&seconds)) {
                let wrong = format!("must be between {least} and {LONGEST_WAIT_S} seconds");
                return Err((key, wrong));
            }
        }
        Ok(())
    }

    fn check_ladder(&self) -> Result<(), WrongKey> {
        let rungs = self.ladder.as_deref().unwrap_or_default();
        let wrong = |why: &str| Err(("ladder", why.to_owned()));
        if rungs.len() > MOST {
            return wrong("has more than 8 rungs");
        }
        for rung in rungs {
            check_lines("ladder", &rung.send)?;
            if !rung.send.is_empty() && !rung.run.is_empty() {
                return wrong("has a rung with both send and run");
            }
            if rung
                .run
                .first()
                .is_some_and(|program| !program.starts_with('/'))
            {
                return wrong("has a program whose path does not begin with \"/\"");
            }
            if rung.pause_s > 60 || !(1..=LONGEST_WAIT_S).contains(&rung.within_s()) {
                return wrong("waits for up to 60 s after a line, and 1 to 600 s for the profile");
            }
        }
        Ok(())
    }

    /// A key that is set and says which modems are meant.
    pub(crate) fn names_modems(&self) -> Option<&'static str> {
        let keys = [
            ("id", self.id.is_some()),
            ("makers", self.makers.is_some()),
            ("models", self.models.is_some()),
            ("verdict", self.verdict.is_some()),
            ("usb", self.usb.is_some()),
            ("page", self.page.is_some()),
        ];
        keys.into_iter()
            .find(|(_, is_set)| *is_set)
            .map(|(key, _)| key)
    }

    /// A line that the modem must not be sent, and the key that has it.
    pub(crate) fn forbidden(&self) -> Option<(&'static str, String)> {
        let mut rest = self.clone();
        let lines = rest.leave_out_forbidden();
        lines.into_iter().next()
    }

    /// Leaves out every line that the modem must not be sent; gives them with their keys. Lines that are
    /// written together are not sent alone, which is what some modems cannot stand.
    pub(crate) fn leave_out_forbidden(&mut self) -> Vec<(&'static str, String)> {
        let never = self.never.clone().unwrap_or_default();
        let is_never = |line: &String| never.iter().any(|never| never.eq_ignore_ascii_case(line));
        let mut left_out = Vec::new();
        if let Some(ladder) = &mut self.ladder {
            ladder.retain(|rung| {
                let is_alone = !rung.together || rung.send.len() < 2;
                let line = rung.send.iter().find(|line| is_alone && is_never(line));
                left_out.extend(line.map(|line| ("ladder", line.clone())));
                line.is_none()
            });
        }
        for (key, lines) in [
            ("iccid", &mut self.iccid),
            ("imei", &mut self.imei),
            ("registration", &mut self.registration),
        ] {
            let lines = lines.as_mut().into_iter();
            lines.for_each(|lines| {
                lines.retain(|line| {
                    let is_never = is_never(line);
                    if is_never {
                        left_out.push((key, line.clone()));
                    }
                    !is_never
                });
            });
        }
        left_out
    }
}

fn check_lines(key: &'static str, lines: &[String]) -> Result<(), WrongKey> {
    if lines.len() > MOST {
        return Err((key, "has more than 8 lines".to_owned()));
    }
    let is_line = |line: &String| {
        let attention = line.get(..2);
        attention.is_some_and(|start| start.eq_ignore_ascii_case("AT"))
            && line.len() <= LONGEST_LINE
            && line.bytes().all(|octet| matches!(octet, b' '..=b'~'))
    };
    match lines.iter().find(|line| !is_line(line)) {
        None => Ok(()),
        Some(line) => Err((key, format!("has {line:?}, which is no AT line"))),
    }
}

/// What may be shown in one line.
fn check_text(key: &'static str, text: &str) -> Result<(), WrongKey> {
    match text.len() > LONGEST_TEXT || text.contains(char::is_control) {
        true => Err((key, format!("is too long, or not one line: {text:?}"))),
        false => Ok(()),
    }
}

/// Which interfaces of a USB device are AT ports.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UsbPorts {
    /// Vendor and product, such as `2c7c:0125`.
    pub id: String,
    /// Interfaces that take AT lines, the best first; none when it is not known.
    pub at: Vec<u8>,
    /// Interfaces that do not.
    pub avoid: Vec<u8>,
}

impl UsbPorts {
    /// As it is written in the table.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let id = words.next()?;
        let (vendor, product) = id.split_once(':')?;
        let is_number = |text: &str| text.len() == 4 && text.bytes().all(|c| c.is_ascii_hexdigit());
        if !is_number(vendor) || !is_number(product) {
            return None;
        }
        let mut ports = Self {
            id: id.to_ascii_lowercase(),
            ..Self::default()
        };
        let mut list = None;
        for word in words {
            match (word, &mut list) {
                ("at", _) => list = Some(&mut ports.at),
                ("avoid", _) => list = Some(&mut ports.avoid),
                (number, Some(list)) => list.push(number.parse().ok()?),
                _ => return None,
            }
        }
        Some(ports)
    }
}

/// The most rungs of a ladder, and the most lines of a list.
const MOST: usize = 8;
/// The longest line that is sent.
const LONGEST_LINE: usize = 128;
/// The longest text for people.
const LONGEST_TEXT: usize = 300;
/// The longest wait for a modem, in seconds.
const LONGEST_WAIT_S: u64 = 600;
