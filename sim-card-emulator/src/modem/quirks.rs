//! How modems differ from a well-behaved one, as data by name.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use super::presets::Preset;
use super::random::Random;

pub(super) mod error;
mod table;

use self::error::QuirkError;
pub use self::table::Quirk;

/// What the value of a quirk counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It has none: the quirk is there or not.
    Flag,
    /// A number, this one when it is left out.
    Count(u64),
    /// A time, these milliseconds when it is left out.
    Time(u64),
    /// Some of these words; the second list when it is left out.
    Words(&'static [&'static str], &'static [&'static str]),
}

/// The quirks of a modem.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Quirks {
    values: BTreeMap<Quirk, u64>,
    preset: Option<Preset>,
    /// Unsolicited codes that come with every command, and where.
    pub urcs: Vec<(UrcPlace, String)>,
}

impl Quirks {
    /// Adds a quirk by its name, with a value if need be: `mute`, `split-writes=1`,
    /// `apdu-time=1.5s`; or all of a [`Preset`]: `preset:quectel-eg25`.
    ///
    /// # Errors
    /// When there is none of that name, or the value does not fit.
    pub fn add(&mut self, text: &str) -> Result<(), QuirkError> {
        if let Some(preset) = text.strip_prefix("preset:") {
            let preset: Preset = preset.parse()?;
            self.preset = Some(preset);
            return preset.quirks().iter().try_for_each(|quirk| self.add(quirk));
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let quirk: Quirk = name.parse()?;
        let value = quirk.kind().read(value).ok_or_else(|| QuirkError::Value {
            text: text.to_owned(),
            takes: quirk.kind().takes(),
        })?;
        self.set(quirk, value);
        Ok(())
    }

    /// Adds a quirk with the value it has when none is given.
    pub fn turn_on(&mut self, quirk: Quirk) {
        self.set(quirk, quirk.kind().default());
    }

    /// Adds a quirk with this value; times count milliseconds, and words are bits in their order.
    pub fn set(&mut self, quirk: Quirk, value: u64) {
        self.values.insert(quirk, value);
    }

    /// Takes a quirk away.
    pub fn turn_off(&mut self, quirk: Quirk) {
        self.values.remove(&quirk);
    }

    /// Whether the modem has this quirk.
    pub fn has(&self, quirk: Quirk) -> bool {
        self.values.contains_key(&quirk)
    }

    /// The quirk's value, if the modem has it.
    pub fn value(&self, quirk: Quirk) -> Option<u64> {
        self.values.get(&quirk).copied()
    }

    /// The preset that was added last: whose names the modem goes by.
    pub fn preset(&self) -> Option<Preset> {
        self.preset
    }

    /// The quirk's words; none without it.
    pub fn words(&self, quirk: Quirk) -> Vec<&'static str> {
        quirk.kind().words(self.value(quirk).unwrap_or(0))
    }

    /// The quirk's time; none without it.
    pub fn time(&self, quirk: Quirk) -> Duration {
        Duration::from_millis(self.value(quirk).unwrap_or(0))
    }

    /// What comes unasked in this place of every exchange.
    pub(super) fn urcs_at(&self, place: UrcPlace, random: &mut Random) -> Vec<String> {
        let place_of = |quirk| match quirk {
            Quirk::UrcBeforeEcho => Some((UrcPlace::BeforeEcho, FLOOD[0])),
            Quirk::UrcBeforeAnswer => Some((UrcPlace::BeforeAnswer, "+CEREG: 5")),
            Quirk::UrcBeforeResult => Some((UrcPlace::BeforeResult, "+CGEV: ME PDN DEACT 1")),
            _ => None,
        };
        let own = self.urcs.iter().map(|(at, text)| (*at, text.as_str()));
        let named = self.values.keys().copied().filter_map(place_of);
        let mut texts: Vec<&str> = own
            .chain(named)
            .filter_map(|(at, text)| (at == place).then_some(text))
            .collect();
        if self.has(Quirk::UrcWithResults) && place != UrcPlace::BeforeEcho {
            texts.extend(["+CUSD: 0,\"OK\",15", "+COPS: 0,0,\"ERRNET\""]);
        }
        let count = self.value(Quirk::UrcFlood).unwrap_or(0).min(URCS_AT_ONCE);
        let count = usize::try_from(count).unwrap_or(0);
        texts.extend(FLOOD.iter().cycle().take(count));
        if let Some(percent) = self.value(Quirk::UrcAtRandom)
            && random.below(100) < percent
        {
            texts.push(FLOOD[usize::try_from(random.below(3)).unwrap_or(0)]);
        }
        texts.into_iter().map(str::to_owned).collect()
    }
}

impl FromStr for Quirk {
    type Err = QuirkError;

    fn from_str(name: &str) -> Result<Self, QuirkError> {
        let found = Self::ALL.into_iter().find(|quirk| quirk.name() == name);
        found.ok_or_else(|| QuirkError::Name {
            name: name.to_owned(),
            known: &Quirks::NAMES,
        })
    }
}

impl Kind {
    /// The value when none is given.
    fn default(self) -> u64 {
        match self {
            Self::Flag => 1,
            Self::Count(value) | Self::Time(value) => value,
            Self::Words(known, usual) => bits(known, usual.iter().copied()).unwrap_or(0),
        }
    }

    /// The value when none is given, as it would be written behind the quirk's name.
    pub fn usual(self) -> String {
        match self {
            Self::Flag => String::new(),
            Self::Count(count) => format!("={count}"),
            Self::Time(time) if time % 1000 == 0 => format!("={}s", time / 1000),
            Self::Time(time) => format!("={time}ms"),
            Self::Words(_, usual) => format!("={}", usual.join(",")),
        }
    }

    /// What may be given, in words.
    const fn takes(self) -> &'static str {
        match self {
            Self::Flag => "no value",
            Self::Count(_) => "a number",
            Self::Time(_) => "a time like 500ms or 2s",
            Self::Words(..) => "words that are known for it, with commas between them",
        }
    }

    fn words(self, value: u64) -> Vec<&'static str> {
        let Self::Words(known, _) = self else {
            return Vec::new();
        };
        let numbered = known.iter().copied().enumerate();
        let chosen = numbered.filter(|(number, _)| value >> number & 1 == 1);
        chosen.map(|(_, word)| word).collect()
    }

    fn read(self, text: Option<&str>) -> Option<u64> {
        match (self, text) {
            (_, None) => Some(self.default()),
            (Self::Flag, Some(_)) => None,
            (Self::Count(_), Some(text)) => text.parse().ok(),
            (Self::Time(_), Some(text)) => {
                let time = read_time(text)?.as_millis();
                u64::try_from(time).ok()
            }
            (Self::Words(known, _), Some(text)) => bits(known, text.split(',')),
        }
    }
}

/// Words as bits in the order of all of them.
fn bits<'w>(known: &[&str], words: impl IntoIterator<Item = &'w str>) -> Option<u64> {
    let mut bits = 0;
    for word in words {
        bits |= 1 << known.iter().position(|known| *known == word)?;
    }
    Some(bits)
}

/// Reads `500ms`, `2s`, `1.5m`, `12h` or a bare number of seconds, up to a day.
pub(super) fn read_time(text: &str) -> Option<Duration> {
    let mut units = UNITS.iter();
    let found = units.find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, unit) = found.unwrap_or((text, 1.0));
    let plain = |digit: char| digit.is_ascii_digit() || digit == '.';
    let number: f64 = number.chars().all(plain).then(|| number.parse().ok())??;
    let time = Duration::try_from_secs_f64(number * unit).ok()?;
    (time <= LONGEST).then_some(time)
}

/// Where in an exchange an unsolicited code comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UrcPlace {
    /// Before the echo.
    BeforeEcho,
    /// Between the echo and the first line of the answer.
    BeforeAnswer,
    /// Between the answer and the final result.
    BeforeResult,
    /// After the final result.
    AfterResult,
}

impl UrcPlace {
    /// All places in order.
    pub const ALL: [Self; 4] = [
        Self::BeforeEcho,
        Self::BeforeAnswer,
        Self::BeforeResult,
        Self::AfterResult,
    ];
}

/// Codes of many kinds; some have the words of results in them.
const FLOOD: [&str; 3] = [
    "+CREG: 1,\"1A2B\",\"01234567\",7",
    "+CUSD: 0,\"OK\",15",
    "+COPS: 0,0,\"ERROR\"",
];
/// Unsolicited codes in one place at most.
const URCS_AT_ONCE: u64 = 1000;
/// How many seconds a unit has.
const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
/// No time is longer.
const LONGEST: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests;
