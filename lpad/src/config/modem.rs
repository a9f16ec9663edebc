//! What differs between modems, as it is written in TOML: in a `[[modem]]` of the table of modems, and in
//! `[euicc.modem]`, which overrides it.
//!
//! An entry keeps its values as they are written, and code for each type of key is not made anew for each
//! key: derived, this would be a fiftieth of the daemon.

use std::fmt;

use es10_apdu::link::{GetResponseClass, Le};
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A `[[modem]]` of the table, or `[euicc.modem]`. A key that is left out has the value of the family, or
/// else of the entry `generic`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ModemEntry(Vec<(&'static str, Value)>);

/// What a type of value is made of.
trait FromValue: Sized {
    fn from_value(value: &Value) -> Result<Self, String>;
}

/// Defines what holds in the end.
macro_rules! habits {
    ($($(#[$doc:meta])* $key:ident: $kind:ty,)*) => {
        /// How a modem is to be handled.
        #[derive(Clone, Debug, Default, Eq, PartialEq)]
        pub struct Habits {
            $($(#[$doc])* pub $key: $kind,)*
        }

        /// The keys of [`Habits`].
        #[cfg(test)]
        const HABITS: &[&str] = &[$(stringify!($key)),*];

        impl ModemEntry {
            /// What holds in the end; nothing is left out in `generic`.
            pub fn habits(&self) -> Habits {
                Habits {
                    $($key: self.read(stringify!($key)),)*
                }
            }
        }

        fn read(key: &str, value: &Value) -> Result<(), String> {
            match key {
                $(stringify!($key) => <$kind>::from_value(value).map(drop),)*
                _ => Ok(()),
            }
        }
    };
}

habits! {
    /// The ways for commands to the card, in the order in which they are tried.
    apdu: Vec<Route>,
    /// Bytes of data in one command to the card, at most.
    block_size: u8,
    /// Characters in one AT line, at most; 0 when no limit is known.
    line_limit: u64,
    /// Whether commands to the card carry Le.
    le: Le,
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
    /// Commands that make the modem say why a network refuses it.
    reject_cause: Vec<String>,
    /// Commands that ask for the addresses of its data connections.
    address: Vec<String>,
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

/// All keys of an entry: which modems it is for, and how these are handled.
const KEYS: &[&str] = &[
    "id",
    "makers",
    "models",
    "family",
    "verdict",
    "usb",
    "page",
    "apdu",
    "block_size",
    "line_limit",
    "le",
    "get_response_class",
    "terminal_capability",
    "open_s",
    "close_s",
    "block_s",
    "retry",
    "question_s",
    "iccid",
    "imei",
    "no_profile_iccids",
    "needs_profile",
    "registration",
    "reject_cause",
    "address",
    "refresh_flag",
    "refresh_s",
    "reset_s",
    "ladder",
    "never",
    "not_registered",
    "no_isd_r",
];

/// Keys that are lists of AT lines.
const LINES: &[&str] = &["iccid", "imei", "registration", "reject_cause", "address"];

/// How much is known of lpad's work with a modem.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
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
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// `AT+CCHO`, `AT+CGLA` and `AT+CCHC`: the modem opens the logical channel.
    Cgla,
    /// `AT+CSIM`: lpad opens it with APDUs of its own.
    Csim,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cgla => "AT+CGLA",
            Self::Csim => "AT+CSIM",
        })
    }
}

impl Habits {
    /// Whether a rung ends with this line; what a modem must never be sent ends none.
    pub(crate) fn resets_by(&self, line: &str) -> bool {
        let mut last = self.ladder.iter().map(|rung| rung.send.last());
        last.any(|last| last.is_some_and(|last| last == line))
    }

    /// Bytes of data in one command to the card at most: what an AT line has room for counts as well.
    pub(crate) fn most_in_a_block(&self) -> u8 {
        let room = self.line_limit.saturating_sub(AROUND_A_BLOCK) / 2;
        let room = u8::try_from(room).unwrap_or(u8::MAX);
        match self.line_limit {
            0 => self.block_size,
            _ => self.block_size.min(room),
        }
    }
}

/// Characters of an AT line around the data of a block: `AT+CGLA=`, a session of 16 digits, the length,
/// quotation marks, and the header of the command with Lc and Le.
const AROUND_A_BLOCK: u64 = 8 + 17 + 4 + 2 + 12;
/// The least limit of an AT line, with the smallest block.
const SHORTEST_LIMIT: u64 = AROUND_A_BLOCK + 2 * SMALLEST_BLOCK;
/// Bytes of data.
const SMALLEST_BLOCK: u64 = 16;

/// One way to make the modem read the card again. Without lines and a program it only waits.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
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

/// A key whose value cannot be used, and what it must be.
pub(crate) type WrongKey = (&'static str, String);

impl ModemEntry {
    /// The value of a key, unless it is left out.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| value)
    }

    /// The text of a key; empty when it is left out.
    pub fn text(&self, key: &str) -> &str {
        match self.get(key) {
            Some(Value::String(text)) => text,
            _ => "",
        }
    }

    /// The texts of a key; `None` when it is left out.
    pub fn texts(&self, key: &str) -> Option<Vec<String>> {
        self.get(key).map(|_| self.read(key))
    }

    /// How much is known of lpad's work with it.
    pub fn verdict(&self) -> Verdict {
        self.read("verdict")
    }

    fn read<T: FromValue + Default>(&self, key: &str) -> T {
        let value = self.get(key).map(T::from_value);
        value.and_then(Result::ok).unwrap_or_default()
    }

    /// This entry, with what it leaves out as in `other`, and the family of that one.
    #[must_use]
    pub fn over(mut self, other: Self) -> Self {
        self.0.retain(|(key, _)| *key != "family");
        for (key, value) in other.0 {
            if self.get(key).is_none() {
                self.0.push((key, value));
            }
        }
        self
    }

    /// The same without a key.
    #[cfg(test)]
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.0.retain(|(name, _)| *name != key);
        self
    }

    /// The keys that are left out.
    #[cfg(test)]
    pub(crate) fn left_out(&self) -> Vec<&'static str> {
        let habits = HABITS.iter().copied();
        habits.filter(|key| self.get(key).is_none()).collect()
    }

    /// Looks at what no key shows alone.
    pub(crate) fn check(&self) -> Result<(), WrongKey> {
        let forbidden = self.clone().leave_out_forbidden();
        match forbidden.into_iter().next() {
            None => Ok(()),
            Some((key, line)) => Err((key, format!("has \"{line}\", which \"never\" forbids"))),
        }
    }

    /// A key that is set and says which modems are meant.
    pub(crate) fn names_modems(&self) -> Option<&'static str> {
        let keys = ["id", "makers", "models", "verdict", "usb", "page"];
        keys.into_iter().find(|key| self.get(key).is_some())
    }

    /// Leaves out every line that the modem must not be sent; gives them with their keys. Lines that are
    /// written together are not sent alone, which is what some modems cannot stand.
    pub(crate) fn leave_out_forbidden(&mut self) -> Vec<(&'static str, String)> {
        let never: Vec<String> = self.read("never");
        let forbidden = |key: &str, value: &Value| -> Option<String> {
            let lines = match key {
                "ladder" => {
                    let rung = Rung::from_value(value).unwrap_or_default();
                    let is_alone = !rung.together || rung.send.len() < 2;
                    if is_alone { rung.send } else { Vec::new() }
                }
                _ => String::from_value(value).into_iter().collect(),
            };
            let mut lines = lines.into_iter();
            let is_same =
                |never: &String, line: &str| never.trim().eq_ignore_ascii_case(line.trim());
            lines.find(|line| never.iter().any(|never| is_same(never, line)))
        };
        let mut left_out = Vec::new();
        for (key, value) in &mut self.0 {
            let Value::Array(values) = value else {
                continue;
            };
            if *key == "ladder" || LINES.contains(key) {
                values.retain(|value| match forbidden(key, value) {
                    None => true,
                    Some(line) => {
                        left_out.push((*key, line));
                        false
                    }
                });
            }
        }
        left_out
    }
}

/// Looks at the value of a key.
fn check(key: &str, value: &Value) -> Result<(), String> {
    read(key, value)?;
    match key {
        "id" | "family" | "not_registered" | "no_isd_r" => check_text(&String::from_value(value)?),
        "makers" | "models" => {
            let patterns = Vec::<String>::from_value(value)?;
            patterns.iter().try_for_each(|pattern| check_text(pattern))
        }
        "verdict" => Verdict::from_value(value).map(drop),
        "usb" => {
            let usb = Vec::<String>::from_value(value)?;
            match usb.iter().find(|usb| UsbPorts::parse(usb).is_none()) {
                None => Ok(()),
                Some(usb) => Err(format!(
                    "is like \"2c7c:0125 at 2 3 avoid 0 1\", and \"{usb}\" is not"
                )),
            }
        }
        _ if key == "never" || LINES.contains(&key) => check_lines(&Vec::from_value(value)?),
        "block_size" => check_number(value, SMALLEST_BLOCK, 255, "bytes"),
        "line_limit" => match value.as_u64() {
            Some(0 | SHORTEST_LIMIT..) => Ok(()),
            _ => Err(format!(
                "must be 0, or at least {SHORTEST_LIMIT} characters"
            )),
        },
        "refresh_s" => check_number(value, 0, LONGEST_WAIT_S, "seconds"),
        _ if key.ends_with("_s") => check_number(value, 1, LONGEST_WAIT_S, "seconds"),
        "ladder" => check_ladder(&Vec::from_value(value)?),
        _ => Ok(()),
    }
}

fn check_number(value: &Value, least: u64, most: u64, unit: &str) -> Result<(), String> {
    match value.as_u64() {
        Some(number) if (least..=most).contains(&number) => Ok(()),
        _ => Err(format!("must be between {least} and {most} {unit}")),
    }
}

fn check_ladder(rungs: &[Rung]) -> Result<(), String> {
    let wrong = |why: &str| Err(why.to_owned());
    if rungs.len() > MOST {
        return wrong("has more than 8 rungs");
    }
    for rung in rungs {
        check_lines(&rung.send)?;
        if !rung.send.is_empty() && !rung.run.is_empty() {
            return wrong("has a rung with both send and run");
        }
        let program = rung.run.first();
        if program.is_some_and(|program| !program.starts_with('/')) {
            return wrong("has a program whose path does not begin with \"/\"");
        }
        if rung.pause_s > 60 || !(1..=LONGEST_WAIT_S).contains(&rung.within_s()) {
            return wrong("waits for up to 60 s after a line, and 1 to 600 s for the profile");
        }
    }
    Ok(())
}

fn check_lines(lines: &[String]) -> Result<(), String> {
    if lines.len() > MOST {
        return Err("has more than 8 lines".to_owned());
    }
    let is_line = |line: &String| {
        let attention = line.get(..2);
        attention.is_some_and(|start| start.eq_ignore_ascii_case("AT"))
            && line.len() <= LONGEST_LINE
            && line.bytes().all(|octet| matches!(octet, b' '..=b'~'))
    };
    match lines.iter().find(|line| !is_line(line)) {
        None => Ok(()),
        Some(line) => Err(format!("has {line:?}, which is no AT line")),
    }
}

/// What may be shown in one line.
fn check_text(text: &str) -> Result<(), String> {
    match text.len() > LONGEST_TEXT || text.contains(char::is_control) {
        true => Err(format!("is too long, or not one line: {text:?}")),
        false => Ok(()),
    }
}

/// A whole number up to the largest of its type.
fn number<T: TryFrom<u64> + fmt::Display>(value: &Value, most: T) -> Result<T, String> {
    match value.as_u64() {
        Some(number) => number
            .try_into()
            .map_err(|_| format!("must be at most {most}")),
        None if value.is_i64() => Err("must not be negative".to_owned()),
        None => Err("must be a whole number".to_owned()),
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Result<Self, String> {
        number(value, Self::MAX)
    }
}

impl FromValue for u8 {
    fn from_value(value: &Value) -> Result<Self, String> {
        number(value, Self::MAX)
    }
}

impl FromValue for u16 {
    fn from_value(value: &Value) -> Result<Self, String> {
        number(value, Self::MAX)
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Bool(flag) => Ok(*flag),
            _ => Err("must be true or false".to_owned()),
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(text.clone()),
            _ => Err("must be a text".to_owned()),
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(values) => values.iter().map(T::from_value).collect(),
            _ => Err("must be a list".to_owned()),
        }
    }
}

/// The value that a name stands for.
fn named<T: Copy>(value: &Value, names: &[(&str, T)]) -> Result<T, String> {
    if let Value::String(text) = value
        && let Some((_, named)) = names.iter().find(|(name, _)| name == text)
    {
        return Ok(*named);
    }
    let names: Vec<_> = names
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    Err(format!("must be {}", names.join(" or ")))
}

impl FromValue for Route {
    fn from_value(value: &Value) -> Result<Self, String> {
        named(value, &[("cgla", Self::Cgla), ("csim", Self::Csim)])
    }
}

impl FromValue for Le {
    fn from_value(value: &Value) -> Result<Self, String> {
        named(value, &[("absent", Self::Absent), ("zero", Self::Zero)])
    }
}

impl FromValue for GetResponseClass {
    fn from_value(value: &Value) -> Result<Self, String> {
        let names = [
            ("as-command", Self::AsCommand),
            ("channel-only", Self::Interindustry),
        ];
        named(value, &names)
    }
}

impl FromValue for Verdict {
    fn from_value(value: &Value) -> Result<Self, String> {
        let all = [
            Self::Supported,
            Self::Expected,
            Self::KnownNotToWork,
            Self::Unknown,
        ];
        named(value, &all.map(|verdict| (verdict.name(), verdict)))
    }
}

impl FromValue for Rung {
    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Object(keys) = value else {
            return Err("must be a list of tables".to_owned());
        };
        let mut rung = Self::default();
        for (key, value) in keys {
            let set = match &**key {
                "send" => Vec::from_value(value).map(|send| rung.send = send),
                "together" => bool::from_value(value).map(|together| rung.together = together),
                "run" => Vec::from_value(value).map(|run| rung.run = run),
                "pause_s" => u64::from_value(value).map(|pause_s| rung.pause_s = pause_s),
                "port_leaves" => bool::from_value(value).map(|leaves| rung.port_leaves = leaves),
                "within_s" => u64::from_value(value).map(|within_s| rung.within_s = Some(within_s)),
                _ => return Err(format!("has a rung with the unknown key \"{key}\"")),
            };
            set.map_err(|why| format!("has a rung in which {key} {why}"))?;
        }
        Ok(rung)
    }
}

impl<'de> Deserialize<'de> for ModemEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = ModemEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ModemEntry, A::Error> {
        let mut entry = ModemEntry::default();
        while let Some(key) = map.next_key_seed(Key)? {
            let value = map.next_value_seed(ValueOf(key))?;
            entry.0.push((key, value));
        }
        Ok(entry)
    }
}

/// One of [`KEYS`]; an error here is shown with the line of the key.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<&'static str, E> {
        let known = KEYS.iter().find(|known| **known == key);
        known.copied().ok_or_else(|| E::unknown_field(key, KEYS))
    }
}

/// The value of a key; an error here is shown with the line of the value.
struct ValueOf(&'static str);

impl<'de> DeserializeSeed<'de> for ValueOf {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match check(self.0, &value) {
            Ok(()) => Ok(value),
            Err(why) => Err(D::Error::custom(format_args!("{} {why}", self.0))),
        }
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
