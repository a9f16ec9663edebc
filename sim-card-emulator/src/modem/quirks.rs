//! How modems differ from a well-behaved one, as data by name.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use super::presets::Preset;

/// One line per quirk: its variant, its name, what its value counts, and what it does.
macro_rules! quirks {
    ($($variant:ident $name:literal $kind:expr, $imitates:literal, $about:literal;)*) => {
        /// A way in which a modem differs from a well-behaved one, all the time.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Quirk {
            $(#[doc = concat!($about, "\n\nImitates ", $imitates, ".")] $variant,)*
        }

        impl Quirk {
            /// All there are.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// What it is called, for example on a command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What its value counts, and what it is when it is left out.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => $kind,)* }
            }

            /// What the modem does.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }

            /// The real modems that do so.
            pub const fn imitates(self) -> &'static str {
                match self { $(Self::$variant => $imitates,)* }
            }
        }

        impl Quirks {
            /// The names that [`Quirks::add`] knows.
            pub const NAMES: [&'static str; Quirk::ALL.len()] = [$($name),*];
        }
    };
}

quirks! {
    // Lines and results.
    EchoStuck "echo-stuck" Kind::Flag, "modems whose echo ATE0 does not switch off",
        "The echo stays on after `ATE0`.";
    LowerCase "lower-case" Kind::Flag, "the Android emulator and some Quectel firmware",
        "Answers carry hexadecimal digits in lower case.";
    Unquoted "unquoted" Kind::Flag, "the Android emulator",
        "Answers carry hexadecimal digits without quotation marks.";
    NoBlank "no-blank" Kind::Flag, "modems that save the blank",
        "Answers have no blank after the colon.";
    Mute "mute" Kind::Flag, "a diagnostic port, or a modem that hangs",
        "Nothing is answered at all.";
    SplitWrites "split-writes" Kind::Count(7), "USB modems whose answers come in several reads",
        "Output leaves in pieces of so many bytes, 10 ms apart.";
    UrcFlood "urc-flood" Kind::Count(20), "modems that tell everything they notice",
        "So many unsolicited codes come in every place of every exchange.";

    // APDUs.
    ApduTime "apdu-time" Kind::Time(80), "a card that takes its time (45 to 170 ms are usual)",
        "Every APDU takes so long.";
    GetResponse "get-response" Kind::Flag, "Quectel EC25 and EG25 over AT+CGLA",
        "The modem runs GET RESPONSE by itself and joins the data.";
    CglaGetResponse "cgla-get-response" Kind::Flag, "modems with different code behind AT+CSIM",
        "The modem runs GET RESPONSE by itself for AT+CGLA only.";

    // Sessions.
    CchoBare "ccho-bare" Kind::Flag, "Fibocom FM350 (3GPP TS 27.007 prints it so)",
        "`AT+CCHO` answers the session number alone in its line.";
    CchoHandle "ccho-handle" Kind::Flag, "Sierra MC7455 and EM7590",
        "`AT+CCHO` answers a handle of 16 digits, which must come back as it is.";
    SessionNumbers "session-numbers" Kind::Count(4), "modems that count sessions, not channels",
        "Sessions are numbered from here, whatever the channel.";
    ClassUntouched "class-untouched" Kind::Flag, "modems that pass AT+CGLA on as it is",
        "The class byte of `AT+CGLA` reaches the card as the client wrote it.";

    // The card after a switch.
    IgnoresRefresh "ignores-refresh" Kind::Flag, "Quectel RG650E",
        "The modem ignores a REFRESH that the card asks for.";

    // Without an enabled profile.
    EmptySimFailure "empty-sim-failure" Kind::Flag, "Nordic nRF91",
        "Without an enabled profile, questions about the card get `+CME ERROR: 13`.";
    EmptyNotReady "empty-not-ready" Kind::Flag, "several Quectel modems",
        "Without an enabled profile, `AT+CPIN?` answers `NOT READY`.";
    EmptyEuicc "empty-euicc" Kind::Flag, "MediaTek T700 (Fibocom FM350)",
        "Without an enabled profile, `AT+CPIN?` answers `EMPTY_EUICC`.";
}

/// What the value of a quirk counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It has none: the quirk is there or not.
    Flag,
    /// A number, this one when it is left out.
    Count(u64),
    /// A time, these milliseconds when it is left out.
    Time(u64),
}

/// The quirks of a modem.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Quirks {
    values: BTreeMap<Quirk, u64>,
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

    /// Adds a quirk with this value; times count milliseconds.
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

    /// The quirk's time; none without it.
    pub fn time(&self, quirk: Quirk) -> Duration {
        Duration::from_millis(self.value(quirk).unwrap_or(0))
    }

    /// What comes unasked in this place of every exchange.
    pub(super) fn urcs_at(&self, place: UrcPlace) -> Vec<String> {
        let texts = [
            "+CREG: 1,\"1A2B\",\"01234567\",7",
            "+CUSD: 0,\"OK\",15",
            "+COPS: 0,0,\"ERROR\"",
        ];
        let count = self.value(Quirk::UrcFlood).unwrap_or(0).min(URCS_AT_ONCE);
        let count = usize::try_from(count).unwrap_or(0);
        let flood = texts
            .iter()
            .cycle()
            .take(count)
            .map(|text| (*text).to_owned());
        let own = self.urcs.iter().filter(|(at, _)| *at == place);
        own.map(|(_, text)| text.clone()).chain(flood).collect()
    }
}

impl FromStr for Quirk {
    type Err = QuirkError;

    fn from_str(name: &str) -> Result<Self, QuirkError> {
        let found = Self::ALL.into_iter().find(|quirk| quirk.name() == name);
        found.ok_or_else(|| QuirkError::Name {
            name: name.to_owned(),
        })
    }
}

impl Kind {
    /// The value when none is given.
    const fn default(self) -> u64 {
        match self {
            Self::Flag => 1,
            Self::Count(value) | Self::Time(value) => value,
        }
    }

    /// What may be given, in words.
    const fn takes(self) -> &'static str {
        match self {
            Self::Flag => "no value",
            Self::Count(_) => "a number",
            Self::Time(_) => "a time like 500ms or 2s",
        }
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
        }
    }
}

/// Reads `500ms`, `2s`, `1.5s` or a bare number of seconds, up to a day.
pub(super) fn read_time(text: &str) -> Option<Duration> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 0.001),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1.0),
    };
    let plain = |digit: char| digit.is_ascii_digit() || digit == '.';
    let number: f64 = number.chars().all(plain).then(|| number.parse().ok())??;
    let time = Duration::try_from_secs_f64(number * unit).ok()?;
    (time <= LONGEST).then_some(time)
}

/// Why a quirk could not be added.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuirkError {
    /// There is none of that name.
    #[error("there is no quirk {name:?}; there are {}", Quirks::NAMES.join(", "))]
    Name {
        /// The name.
        name: String,
    },
    /// There is no preset of that name.
    #[error("there is no preset {name:?}; there are {}", Preset::NAMES.join(", "))]
    Preset {
        /// The name.
        name: String,
    },
    /// Its value is none.
    #[error("the quirk {text:?} takes {takes}")]
    Value {
        /// What was given.
        text: String,
        /// What it takes.
        takes: &'static str,
    },
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

/// Unsolicited codes in one place at most.
const URCS_AT_ONCE: u64 = 1000;
/// No time is longer.
const LONGEST: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_what_the_quirk_counts() {
        let mut quirks = Quirks::default();
        for (text, quirk, value) in [
            ("mute", Quirk::Mute, 1),
            ("split-writes", Quirk::SplitWrites, 7),
            ("split-writes=64", Quirk::SplitWrites, 64),
            ("apdu-time", Quirk::ApduTime, 80),
            ("apdu-time=5", Quirk::ApduTime, 5000),
            ("apdu-time=1.5s", Quirk::ApduTime, 1500),
            ("apdu-time=20ms", Quirk::ApduTime, 20),
        ] {
            quirks.add(text).unwrap();
            assert_eq!(quirks.value(quirk), Some(value), "{text}");
        }
    }

    #[test]
    fn what_fits_no_quirk_is_refused_with_what_would() {
        for (text, words) in [
            ("no-such", "there are echo-stuck, "),
            ("preset:no-such", "there are ideal"),
            ("mute=2", "takes no value"),
            ("split-writes=x", "takes a number"),
            ("apdu-time=soon", "takes a time like 500ms or 2s"),
            ("apdu-time=-1", "takes a time"),
            ("apdu-time=1e9", "takes a time"),
            ("apdu-time=999999s", "takes a time"),
        ] {
            let error = Quirks::default().add(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
