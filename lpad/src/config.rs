//! The configuration file: one TOML document, every key with a default but `port`.
//!
//! `lpad.toml` in the crate's folder describes the keys to those who run lpad. The packaged file and
//! the pages about the configuration are made of it.

mod bootstrap;
mod modem;
mod switch;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use es9_client::{Deadlines, ServerAddress};
use es10_apdu::types::Iccid;
use serde::Deserialize;
use strsim::levenshtein;

pub use self::bootstrap::{AfterUse, BootstrapConfig, BootstrapWhen, OrderSource};
pub use self::modem::{Habits, ModemEntry, Route, Rung, UsbPorts, Verdict};
pub use self::switch::{
    Check, Confirm, DiallerConfig, Need, ProfileConfig, Roaming, SwitchConfig, WatchConfig,
};
pub(crate) use self::switch::{LONGEST_LOOK, Target};
use crate::files::read_file;
use crate::{packed, printed};

/// The whole configuration of the daemon.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[api]`: the local socket and who may use it.
    pub api: ApiConfig,
    /// `[state]`: where lpad keeps its journal.
    pub state: StateConfig,
    /// `[log]`: how much is logged.
    pub log: LogConfig,
    /// `[trust]`: certificate issuers beside the built-in GSMA ones.
    pub trust: TrustConfig,
    /// `[es9]`: how servers are reached.
    pub es9: Es9Config,
    /// `[alarm]`: who hears of what people should hear of.
    pub alarm: AlarmConfig,
    /// `[modems]`: what is known of modems beside what is built in.
    pub modems: ModemsConfig,
    /// `[[euicc]]`: the eUICCs, one section each.
    #[serde(rename = "euicc")]
    pub euiccs: Vec<EuiccConfig>,
}

/// `[api]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Path of the Unix socket.
    pub socket: PathBuf,
    /// The group whose members may change things; it also owns the socket when it exists.
    pub admin_group: String,
    /// The group whose members may read.
    pub reader_group: Option<String>,
    /// What only root and the daemon's own user may do.
    pub root_only: Vec<Locked>,
    /// How many connections are served at the same time. Those that wait for something are not
    /// counted; there may be eight times as many.
    pub max_connections: usize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/lpad/lpad.sock"),
            admin_group: "lpad".to_owned(),
            reader_group: None,
            root_only: Vec::new(),
            max_connections: 32,
        }
    }
}

/// What may be left to root.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Locked {
    /// Downloading profiles.
    Download,
    /// Erasing the card.
    Reset,
    /// Enabling, disabling and deleting profiles for tests.
    TestProfile,
}

/// `[state]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    /// The folder that holds the journal; made with mode 0700 when it is missing.
    pub directory: PathBuf,
    /// How many operations that have ended are kept.
    pub history: usize,
    /// For how many days they are kept.
    pub history_days: u64,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/lpad"),
            history: 100,
            history_days: 365,
        }
    }
}

impl StateConfig {
    /// How much of what has ended is kept.
    pub fn history(&self) -> History {
        History {
            operations: self.history,
            days: self.history_days,
        }
    }
}

/// How much of what has ended is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct History {
    /// So many operations.
    pub operations: usize,
    /// For so many days.
    pub days: u64,
}

impl History {
    /// The most there can be: the journal is read as a whole, and has to stay short.
    pub const MOST: Self = Self {
        operations: 250,
        days: 3650,
    };
}

impl Default for History {
    fn default() -> Self {
        StateConfig::default().history()
    }
}

/// `[alarm]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct AlarmConfig {
    /// A program and its arguments, which reads the alarm as JSON; none when empty.
    pub command: Vec<String>,
}

/// `[log]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The least important level that is still logged; `LPAD_LOG` wins over it.
    pub level: LogLevel,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what needs an operator's attention.
    Error,
    /// What lpad recovers from by itself.
    Warn,
    /// What lpad does, one line per operation and stage.
    #[default]
    Info,
    /// Every APDU and every call of a server, by its header and size.
    Debug,
    /// Every AT command as well; contents are never logged.
    Trace,
}

/// `[trust]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TrustConfig {
    /// Folder of DER or PEM certificate issuers (CI) trusted beside the built-in GSMA ones.
    pub extra_roots: Option<PathBuf>,
}

/// `[modems]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ModemsConfig {
    /// A file with entries that come before those that are built in.
    pub table: Option<PathBuf>,
}

/// `[es9]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Es9Config {
    /// Host name → address and port to connect to in its place; names and TLS stay the host's.
    pub connect_to: BTreeMap<String, SocketAddr>,
    /// Deadline for a new connection (name, TCP and TLS), in seconds.
    pub connect_timeout_s: u64,
    /// Deadline for a whole call to a server, connection and retry included, in seconds.
    pub response_timeout_s: u64,
    /// The same for a call that delivers a notification, in seconds.
    pub notification_timeout_s: u64,
}

impl Default for Es9Config {
    fn default() -> Self {
        Self {
            connect_to: BTreeMap::new(),
            connect_timeout_s: 30,
            response_timeout_s: 120,
            notification_timeout_s: 30,
        }
    }
}

/// One `[[euicc]]` section.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct EuiccConfig {
    /// The eUICC's name in the API.
    #[serde(default = "default_name")]
    pub name: String,
    /// The modem's AT port, for example `/dev/serial/by-id/…-if02-port0`, or `auto`.
    pub port: PathBuf,
    /// How APDUs reach the card.
    #[serde(default)]
    pub apdu: ApduPath,
    /// Rate of a real UART; USB modems ignore it.
    #[serde(default = "default_baud")]
    pub baud: u32,
    /// Size of one STORE DATA block in bytes.
    #[serde(default = "default_block_size")]
    pub block_size: u8,
    /// ISD-R application identifiers in hex to try in this order; empty means GSMA's.
    #[serde(default)]
    pub aids: Vec<HexBytes>,
    /// The SM-DP+ that profiles are downloaded from: host names, or `*.` and a domain; all when empty.
    #[serde(default)]
    pub smdp_allowed: Vec<String>,
    /// Deadline for an ES10 function, in seconds.
    #[serde(default = "default_apdu_timeout")]
    pub apdu_timeout_s: u64,
    /// Deadline for one block of a profile package, in seconds.
    #[serde(default = "default_load_timeout")]
    pub load_timeout_s: u64,
    /// How long a person has to answer a profile offer, in seconds.
    #[serde(default = "default_consent_timeout")]
    pub consent_timeout_s: u64,
    /// How the modem is made to notice that another profile is enabled.
    #[serde(default)]
    pub after_enable: AfterEnable,
    /// The profiles to go back to after the one before, in this order.
    #[serde(default, deserialize_with = "printed::list::deserialize")]
    pub fallback: Vec<Iccid>,
    /// Whether any other operational profile may be gone back to at last.
    #[serde(default = "yes")]
    pub fallback_any: bool,
    /// `[euicc.modem]`: how its modem is to be handled, where the table of modems says otherwise.
    #[serde(default)]
    pub modem: ModemEntry,
    /// `[euicc.switch]`: how the profile in use is changed.
    #[serde(default)]
    pub switch: SwitchConfig,
    /// `[euicc.watch]`: how its service is watched.
    #[serde(default)]
    pub watch: WatchConfig,
    /// `[euicc.dialler]`: what the program is told that makes the data connection.
    #[serde(default)]
    pub dialler: DiallerConfig,
    /// `[[euicc.profile]]`: what is known of single profiles.
    #[serde(default, rename = "profile")]
    pub profiles: Vec<ProfileConfig>,
    /// `[euicc.bootstrap]`: what happens by itself at start; nothing without the section.
    #[serde(default = "no_bootstrap")]
    pub bootstrap: BootstrapConfig,
}

const fn yes() -> bool {
    true
}

/// A first profile is for those who asked for it.
fn no_bootstrap() -> BootstrapConfig {
    BootstrapConfig {
        when: BootstrapWhen::Never,
        ..BootstrapConfig::default()
    }
}

fn default_name() -> String {
    "default".to_owned()
}

const fn default_baud() -> u32 {
    115_200
}

const fn default_block_size() -> u8 {
    255
}

const fn default_apdu_timeout() -> u64 {
    60
}

const fn default_load_timeout() -> u64 {
    240
}

const fn default_consent_timeout() -> u64 {
    300
}

/// How APDUs reach the card.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum ApduPath {
    /// `AT+CGLA` or `AT+CSIM`, whichever works with this modem.
    #[default]
    Auto,
    /// `AT+CCHO`, `AT+CGLA` and `AT+CCHC`, 3GPP TS 27.007 sections 8.43 to 8.46.
    Cgla,
    /// `AT+CSIM`, 3GPP TS 27.007 section 8.17.
    Csim,
}

/// What is done after a profile was enabled or disabled so that the modem reads the card again.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum AfterEnable {
    /// Look at the ICCID the modem reports, climb the ladder only if it is still the old one.
    #[default]
    Auto,
    /// Trust the modem to act on REFRESH.
    Nothing,
    /// Begin with the first rung of the ladder at once.
    Radio,
}

/// Octets written as hexadecimal digits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct HexBytes(pub Vec<u8>);

impl TryFrom<String> for HexBytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match hex::decode(&text) {
            Ok(octets) => Ok(Self(octets)),
            Err(error) => Err(format!("\"{text}\" is not hexadecimal: {error}")),
        }
    }
}

impl Config {
    /// Every key with its default and its meaning, as `lpad --example-config` prints it. The daemon has it
    /// packed.
    pub const EXAMPLE: &str = include_str!("../lpad.toml");

    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&ConfigError::read_text(path)?, path)
    }

    /// Parses and checks the text of a configuration; `path` is for messages only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|error| ConfigError::syntax(path, text, &error))?;
        match config.check() {
            Ok(()) => Ok(config),
            Err(Wrong { place, message }) => Err(ConfigError::Value {
                path: path.to_owned(),
                line: place.and_then(|place| place.line_in(text)),
                message,
            }),
        }
    }

    fn check(&self) -> Result<(), Wrong> {
        if self.euiccs.is_empty() {
            return Err(Wrong {
                place: None,
                message: "there is no [[euicc]] section; add one with port = \"/dev/…\"".into(),
            });
        }
        let (api, es9) = (Section::new("[api]"), Section::new("[es9]"));
        let socket = self.api.socket.as_os_str();
        if !(1..=LONGEST_SOCKET).contains(&socket.len()) {
            let length = socket.len();
            let wrong = format!("must have 1 to {LONGEST_SOCKET} bytes, and has {length}");
            return Err(api.wrong("socket", &wrong));
        }
        api.check_path("socket", &self.api.socket)?;
        if !(1..=1024).contains(&self.api.max_connections) {
            return Err(api.wrong("max_connections", "must be between 1 and 1024"));
        }
        let state = Section::new("[state]");
        state.check_path("directory", &self.state.directory)?;
        if !(1..=History::MOST.operations).contains(&self.state.history) {
            return Err(state.wrong("history", "must be between 1 and 250"));
        }
        if !(1..=History::MOST.days).contains(&self.state.history_days) {
            return Err(state.wrong("history_days", "must be between 1 and 3650"));
        }
        if let Some(folder) = &self.trust.extra_roots {
            Section::new("[trust]").check_path("extra_roots", folder)?;
        }
        if let Some(table) = &self.modems.table {
            Section::new("[modems]").check_path("table", table)?;
        }
        let program = switch::check_program(&self.alarm.command);
        program.map_err(|why| Section::new("[alarm]").wrong("command", why))?;
        for host in self.es9.connect_to.keys() {
            let named = host.parse::<ServerAddress>().ok();
            if named.is_none_or(|named| !named.host().eq_ignore_ascii_case(host)) {
                let wrong = format!("names hosts without a port, and \"{host}\" is none");
                return Err(es9.wrong("connect_to", &wrong));
            }
        }
        for (key, seconds) in [
            ("connect_timeout_s", self.es9.connect_timeout_s),
            ("response_timeout_s", self.es9.response_timeout_s),
            ("notification_timeout_s", self.es9.notification_timeout_s),
        ] {
            es9.check_seconds(key, seconds)?;
        }
        let mut names = BTreeSet::new();
        let mut ports = BTreeSet::new();
        for (index, euicc) in self.euiccs.iter().enumerate() {
            let section = Section {
                number: index + 1,
                ..Section::new(EUICC)
            };
            euicc.check(section)?;
            if !names.insert(&euicc.name) {
                return Err(Wrong {
                    place: Some((section, "name").into()),
                    message: format!(
                        "two [[euicc]] sections are called \"{}\"; give each its own name",
                        euicc.name
                    ),
                });
            }
            if !ports.insert(&euicc.port) {
                return Err(Wrong {
                    place: Some((section, "port").into()),
                    message: format!(
                        "two [[euicc]] sections use the port {}",
                        euicc.port.display()
                    ),
                });
            }
        }
        Ok(())
    }
}

/// A section of the file.
#[derive(Clone, Copy, Debug)]
struct Section<'n> {
    header: &'static str,
    /// Which of the sections with this header, or below which `[[euicc]]`, counted from 1.
    number: usize,
    /// Which of the sections with this header below that `[[euicc]]`, counted from 1.
    nth: usize,
    /// The name of the eUICC it is about.
    euicc: Option<&'n str>,
}

/// A value that cannot be used.
struct Wrong {
    place: Option<Place>,
    message: String,
}

/// Where a key is.
struct Place {
    header: &'static str,
    number: usize,
    nth: usize,
    key: &'static str,
}

impl From<(Section<'_>, &'static str)> for Place {
    fn from((section, key): (Section<'_>, &'static str)) -> Self {
        let Section {
            header,
            number,
            nth,
            ..
        } = section;
        Self {
            header,
            number,
            nth,
            key,
        }
    }
}

impl Place {
    /// The line of the key, unless it is written inside a table on one line.
    fn line_in(&self, text: &str) -> Option<usize> {
        let (mut euiccs, mut sections, mut is_inside) = (0, 0, false);
        let line = text.lines().position(|line| {
            let line = line.trim();
            if line.starts_with('[') {
                let header = line.split('#').next().unwrap_or_default().trim_end();
                euiccs += usize::from(header == EUICC);
                let is_one = header == self.header && (euiccs == self.number || euiccs == 0);
                sections += usize::from(is_one);
                is_inside = is_one && sections == self.nth;
            }
            let after = line.strip_prefix(self.key).map(str::trim_start);
            is_inside && after.is_some_and(|after| after.starts_with('='))
        });
        line.map(|index| index + 1)
    }
}

impl Section<'_> {
    fn new(header: &'static str) -> Self {
        Self {
            header,
            number: 1,
            nth: 1,
            euicc: None,
        }
    }

    /// The key `key` of it is wrong as `why` says.
    fn wrong(self, key: &'static str, why: &str) -> Wrong {
        let inside = match self.header {
            BOOTSTRAP => "bootstrap ",
            DIALLER => "dialler ",
            MODEM => "modem ",
            PROFILE => "profile ",
            SWITCH => "switch ",
            WATCH => "watch ",
            _ => "",
        };
        let message = match self.euicc {
            Some(name) => format!("{EUICC} \"{name}\": {inside}{key} {why}"),
            None => format!("{} {key} {why}", self.header),
        };
        Wrong {
            place: Some((self, key).into()),
            message,
        }
    }

    fn check_seconds(self, key: &'static str, seconds: u64) -> Result<(), Wrong> {
        match seconds {
            1..=3600 => Ok(()),
            _ => Err(self.wrong(key, "must be between 1 and 3600 seconds")),
        }
    }

    /// A path that is not absolute begins wherever the daemon was started.
    fn check_between(
        self,
        key: &'static str,
        seconds: u64,
        least: u64,
        most: u64,
    ) -> Result<(), Wrong> {
        match (least..=most).contains(&seconds) {
            true => Ok(()),
            false => {
                let wrong = format!("must be between {least} and {most} seconds");
                Err(self.wrong(key, &wrong))
            }
        }
    }

    fn check_path(self, key: &'static str, path: &Path) -> Result<(), Wrong> {
        let octets = path.as_os_str().as_encoded_bytes();
        match () {
            () if octets.is_empty() => Err(self.wrong(key, "is empty")),
            () if octets.contains(&0) => Err(self.wrong(key, "contains a NUL character")),
            () if !path.is_absolute() => Err(self.wrong(key, "must begin with \"/\"")),
            () => Ok(()),
        }
    }
}

impl Es9Config {
    /// How long servers are waited for.
    pub(crate) fn deadlines(&self) -> Deadlines {
        let seconds = Duration::from_secs;
        Deadlines {
            connect: seconds(self.connect_timeout_s),
            response: seconds(self.response_timeout_s),
            notification: seconds(self.notification_timeout_s),
        }
    }

    /// [`Self::connect_to`] as text.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (String, String)> {
        let targets = self.connect_to.iter();
        targets.map(|(host, target)| (host.clone(), target.to_string()))
    }
}

impl EuiccConfig {
    /// The section as it is when only the port is given.
    pub fn new(port: impl Into<PathBuf>) -> Self {
        Self {
            name: default_name(),
            port: port.into(),
            apdu: ApduPath::default(),
            baud: default_baud(),
            block_size: default_block_size(),
            aids: Vec::new(),
            smdp_allowed: Vec::new(),
            apdu_timeout_s: default_apdu_timeout(),
            load_timeout_s: default_load_timeout(),
            consent_timeout_s: default_consent_timeout(),
            after_enable: AfterEnable::default(),
            modem: ModemEntry::default(),
            fallback: Vec::new(),
            fallback_any: true,
            switch: SwitchConfig::default(),
            watch: WatchConfig::default(),
            dialler: DiallerConfig::default(),
            profiles: Vec::new(),
            bootstrap: no_bootstrap(),
        }
    }

    /// Whether the port is that of whatever modem there is.
    pub fn is_any_port(&self) -> bool {
        self.port == Path::new("auto")
    }

    /// The reader's name, or a part of it, when the port is a PC/SC reader.
    pub fn reader(&self) -> Option<&str> {
        self.port.to_str()?.strip_prefix(READER)
    }

    /// What is known of a profile: of several sections about it, the one that says most of its ICCID.
    pub fn profile(&self, iccid: Iccid) -> Option<&ProfileConfig> {
        let iccid = iccid.to_string();
        let about = self.profiles.iter().filter(|known| known.is_about(&iccid));
        about.max_by_key(|known| known.iccid.len())
    }

    /// Whether this profile is only deleted by force.
    pub fn is_kept(&self, iccid: Iccid) -> bool {
        self.profile(iccid).is_some_and(|known| known.keep)
    }

    /// Whether the port is a device by its path.
    pub(crate) fn names_device(&self) -> bool {
        !self.is_any_port() && self.reader().is_none()
    }

    fn check(&self, section: Section<'_>) -> Result<(), Wrong> {
        let section = Section {
            euicc: Some(&self.name),
            ..section
        };
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.chars().all(valid) {
            let wrong = "must have 1 to 32 characters out of a-z, 0-9 and \"-\"";
            return Err(section.wrong("name", wrong));
        }
        if self.reader().is_some() && !cfg!(feature = "pcsc") {
            let wrong =
                "names a PC/SC reader, and this lpad was built without the feature \"pcsc\"";
            return Err(section.wrong("port", wrong));
        }
        if self.names_device() {
            if self.port.is_relative() && !self.port.as_os_str().is_empty() {
                return Err(section.wrong("port", "must begin with \"/\", or be \"auto\""));
            }
            section.check_path("port", &self.port)?;
        }
        if !(300..=4_000_000).contains(&self.baud) {
            let wrong = "must be between 300 and 4000000 bits per second";
            return Err(section.wrong("baud", wrong));
        }
        if self.block_size < 16 {
            return Err(section.wrong("block_size", "must be between 16 and 255 bytes"));
        }
        let mut aids = self.aids.iter();
        if let Some(HexBytes(aid)) = aids.find(|aid| !(5..=16).contains(&aid.0.len())) {
            let wrong = format!(
                "have 5 to 16 bytes each, and {} has {}",
                hex::encode_upper(aid),
                aid.len()
            );
            return Err(section.wrong("aids", &wrong));
        }
        let is_host = |text: &str| {
            let parsed = text.parse::<ServerAddress>();
            parsed.is_ok_and(|parsed| parsed.host().eq_ignore_ascii_case(text))
        };
        let mut allowed = self.smdp_allowed.iter();
        if let Some(wrong) = allowed.find(|text| !is_host(text.strip_prefix("*.").unwrap_or(text)))
        {
            let wrong = format!("names hosts and \"*.\" with a domain, and \"{wrong}\" is neither");
            return Err(section.wrong("smdp_allowed", &wrong));
        }
        for (key, seconds) in [
            ("apdu_timeout_s", self.apdu_timeout_s),
            ("load_timeout_s", self.load_timeout_s),
            ("consent_timeout_s", self.consent_timeout_s),
        ] {
            section.check_seconds(key, seconds)?;
        }
        let modem = Section {
            header: MODEM,
            ..section
        };
        if let Some(key) = self.modem.names_modems() {
            return Err(modem.wrong(key, "belongs into a [[modem]] of a table"));
        }
        let checked = self.modem.check();
        checked.map_err(|(key, why)| modem.wrong(key, &why))?;
        let inside = |header| Section { header, ..section };
        self.check_fallback(section)?;
        self.switch.check(inside(SWITCH))?;
        self.watch.check(inside(WATCH))?;
        self.dialler.check(inside(DIALLER))?;
        for (index, profile) in self.profiles.iter().enumerate() {
            let section = Section {
                nth: index + 1,
                ..inside(PROFILE)
            };
            profile.check(section)?;
            if self.profiles[..index]
                .iter()
                .any(|other| other.iccid == profile.iccid)
            {
                return Err(section.wrong("iccid", "is that of a section before it"));
            }
        }
        let configured = self.bootstrap.default_smdp.as_deref();
        let configured = configured.and_then(|text| text.parse::<ServerAddress>().ok());
        if configured.is_some_and(|address| !self.allows(address.host())) {
            return Err(inside(BOOTSTRAP).wrong("default_smdp", "is not in smdp_allowed"));
        }
        self.bootstrap.check(inside(BOOTSTRAP))
    }

    /// Whether profiles may be downloaded from this host.
    pub fn allows(&self, host: &str) -> bool {
        let fits = |allowed: &String| match allowed.strip_prefix('*') {
            Some(domain) => {
                let name = host.len().checked_sub(domain.len());
                let end = name.and_then(|at| host.get(at..));
                end.is_some_and(|end| end.eq_ignore_ascii_case(domain))
            }
            None => host.eq_ignore_ascii_case(allowed),
        };
        self.smdp_allowed.is_empty() || self.smdp_allowed.iter().any(fits)
    }

    fn check_fallback(&self, section: Section<'_>) -> Result<(), Wrong> {
        if self.fallback.len() > MOST_FALLBACKS {
            return Err(section.wrong("fallback", "has more than 16 profiles"));
        }
        let mut seen = BTreeSet::new();
        match self
            .fallback
            .iter()
            .all(|iccid| seen.insert(iccid.octets()))
        {
            true => Ok(()),
            false => Err(section.wrong("fallback", "has a profile twice")),
        }
    }
}

/// Why a configuration cannot be used; the text is for the person who wrote the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is no TOML, or a key is unknown, missing or of the wrong type.
    #[error("{}:{line}: {message}{}", path.display(), hint.as_deref().unwrap_or_default())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
        /// What may have been meant.
        hint: Option<String>,
    },
    /// A value cannot be used.
    #[error("{}:{} {message}", path.display(), line.map(|line| format!("{line}:")).unwrap_or_default())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where one can be told.
        line: Option<usize>,
        /// The section, the key and what it must be.
        message: String,
    },
}

impl ConfigError {
    /// The text of a file.
    pub(crate) fn read_text(path: &Path) -> Result<String, Self> {
        let octets = read_file(path, LONGEST_FILE).map_err(|source| Self::Read {
            path: path.to_owned(),
            source,
        })?;
        String::from_utf8(octets).map_err(|error| Self::Syntax {
            path: path.to_owned(),
            line: line_at(error.as_bytes(), error.utf8_error().valid_up_to()),
            message: "this is no text in UTF-8".to_owned(),
            hint: None,
        })
    }

    /// What is wrong with the syntax of a text, or with a key in it.
    pub(crate) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let line = line_at(text.as_bytes(), start);
        let message = error.message();
        // serde names the unknown key first, then every key it knows, each between backquotes;
        // taking them from there keeps the hint true whatever keys are added.
        let mut quoted = message.split('`').skip(1).step_by(2);
        let unknown = quoted
            .next()
            .filter(|_| message.starts_with("unknown field"));
        let (message, hint) = match unknown {
            Some(unknown) => (
                format!("unknown key \"{unknown}\""),
                elsewhere(unknown).or_else(|| nearest(unknown, quoted)),
            ),
            None => (in_plain_words(message, text.lines().nth(line - 1)), None),
        };
        Self::Syntax {
            path: path.to_owned(),
            line,
            message,
            hint,
        }
    }
}

fn line_at(text: &[u8], position: usize) -> usize {
    1 + text.iter().take(position).filter(|b| **b == b'\n').count()
}

fn nearest<'k>(unknown: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    let begins_alike = |known: &str| known.starts_with(unknown) || unknown.starts_with(known);
    let distances = known.map(|known| match begins_alike(known) {
        true => (0, known),
        false => (levenshtein(unknown, known), known),
    });
    let (distance, known) = distances.min()?;
    (distance <= known.len().div_ceil(2)).then(|| format!("; did you mean \"{known}\"?"))
}

/// The section that a key belongs to, which the example tells.
fn elsewhere(unknown: &str) -> Option<String> {
    let is_meant = |section: &&str| {
        let name = section.trim_matches(['[', ']']).strip_prefix("euicc.");
        name == Some(unknown)
    };
    if let Some(section) = [BOOTSTRAP, DIALLER, MODEM, PROFILE, SWITCH, WATCH]
        .into_iter()
        .find(is_meant)
    {
        return Some(format!("; write {section}, below {EUICC}"));
    }
    let mut header = "";
    let example = packed::EXAMPLE.text();
    let found = example.lines().find(|line| {
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            header = line;
        }
        line.strip_prefix(unknown)
            .is_some_and(|rest| rest.starts_with(" = "))
    });
    found.map(|_| format!("; it belongs below {header}"))
}

/// What the parser says, as somebody who writes a configuration would say it.
fn in_plain_words(message: &str, line: Option<&str>) -> String {
    let message = message.lines().collect::<Vec<_>>().join(", ");
    let is_single =
        |header: &&str| line.is_some_and(|line| line.trim() == &header[1..header.len() - 1]);
    if let Some(header) = [EUICC, PROFILE].into_iter().find(is_single)
        && message.starts_with("invalid type: map")
    {
        return format!("write {header}, with two brackets: there may be several");
    }
    let mut quoted = message.split('`').skip(1);
    if let (Some(number), Some(rest)) = (quoted.next(), quoted.next())
        && rest.starts_with(" as i128")
    {
        return format!("the number {number} is out of range");
    }
    let words = [
        ("`", "\""),
        ("missing field", "missing key"),
        ("wanted string or table", "expected a string"),
        ("expected path string", "expected a string"),
        ("expected a sequence", "expected a list"),
        ("expected u8", "expected a number up to 255"),
        ("expected u32", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected usize", "expected a whole number"),
    ];
    words.into_iter().fold(message, |message, (said, plain)| {
        message.replace(said, plain)
    })
}

const EUICC: &str = "[[euicc]]";
const BOOTSTRAP: &str = "[euicc.bootstrap]";
const DIALLER: &str = "[euicc.dialler]";
const MODEM: &str = "[euicc.modem]";
const PROFILE: &str = "[[euicc.profile]]";
const SWITCH: &str = "[euicc.switch]";
const WATCH: &str = "[euicc.watch]";
/// What a port begins with that is a PC/SC reader.
const READER: &str = "pcsc:";
/// More profiles than a card has.
const MOST_FALLBACKS: usize = 16;
/// More than any configuration has.
const LONGEST_FILE: u64 = 1024 * 1024;
/// What `sockaddr_un` has room for.
const LONGEST_SOCKET: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("lpad.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_port_is_all_a_configuration_needs() {
        let config = parse("[[euicc]]\nport = \"/dev/ttyUSB2\"\n").unwrap();
        let euicc = &config.euiccs[0];
        assert_eq!(
            (euicc.name.as_str(), euicc.block_size, euicc.baud),
            ("default", 255, 115_200)
        );
        assert_eq!(euicc.bootstrap.when, BootstrapWhen::Never);
        assert_eq!(config.api.socket, Path::new("/run/lpad/lpad.sock"));
        assert_eq!(config.state.directory, Path::new("/var/lib/lpad"));
    }

    #[test]
    fn a_first_profile_may_be_in_several_places() {
        let config = Config::parse(
            "[[euicc]]\nport = \"/x\"\n[euicc.bootstrap]\nsources = [\"card\", \"code\"]\n\
             default_smdp = \"smdp.example.com\"\nactivation_code_file = \"/etc/lpad/code\"",
            Path::new("lpad.toml"),
        );
        let bootstrap = &config.unwrap().euiccs[0].bootstrap;
        assert_eq!(bootstrap.sources, [OrderSource::Card, OrderSource::Code]);
    }

    #[test]
    fn every_key_can_be_set() {
        let config = parse(
            r#"
            [api]
            socket = "/tmp/a.sock"
            admin_group = "wheel"
            reader_group = "adm"
            max_connections = 4
            [state]
            directory = "/tmp/state"
            history = 250
            history_days = 30
            [log]
            level = "debug"
            [trust]
            extra_roots = "/etc/lpad/ci.d"
            [es9]
            connect_to = { "smdp.example.com" = "127.0.0.1:8443" }
            connect_timeout_s = 1
            response_timeout_s = 2
            notification_timeout_s = 3
            [[euicc]]
            name = "left"
            port = "/dev/ttyUSB2"
            apdu = "csim"
            baud = 9600
            block_size = 120
            aids = ["A0000005591010FFFFFFFF8900000100"]
            apdu_timeout_s = 4
            load_timeout_s = 5
            consent_timeout_s = 6
            after_enable = "radio"
            fallback = ["8944500000000000019"]
            fallback_any = false
            [euicc.switch]
            deadline_s = 900
            radio_restart_s = 0
            ladder_s = 120
            reject_grace_s = 60
            stable_s = 5
            probation_s = 0
            max_switches_per_day = 3
            roaming = "home-only"
            interface = "wwan0"
            need = "all"
            confirm = "client"
            confirm_s = 300
            check = [
                { tcp = "192.0.2.10:443" },
                { https = "https://a.example/health", status = [200, 204], ca_file = "/etc/ssl/a.pem" },
                { command = ["/usr/lib/gateway/vpn-up", "-q"], timeout_s = 20 },
            ]
            [euicc.watch]
            enable = true
            searching_s = 3600
            denied_s = 60
            unreachable_s = 120
            return_s = 0
            [euicc.dialler]
            down = ["/usr/lib/gateway/ppp-down"]
            up = ["/usr/lib/gateway/ppp-up"]
            [[euicc.profile]]
            iccid = "89882800*"
            apn = "iot.example"
            ip_type = "ipv4v6"
            user = "gateway"
            password_file = "/etc/gateway/apn-password"
            [[euicc.profile]]
            iccid = "8944500000000000019"
            keep = true
            [euicc.bootstrap]
            when = "always"
            default_smdp = "smdp.example.com"
            confirmation_code_file = "/etc/lpad/cc"
            enable = false
            attempts = 2
            [[euicc]]
            name = "right"
            port = "/dev/ttyUSB6"
            [euicc.bootstrap]
            activation_code_file = "/etc/lpad/ac"
            "#,
        )
        .unwrap();
        assert_eq!(config.euiccs[0].aids[0].0.len(), 16);
        assert_eq!(config.es9.connect_to["smdp.example.com"].port(), 8443);
        assert_eq!(config.euiccs[0].switch.check.len(), 3);
        assert!(config.euiccs[0].profiles[1].keep);
        assert_eq!(config.euiccs[1].name, "right");
    }

    #[test]
    fn an_unknown_key_names_the_file_the_line_and_the_nearest_key() {
        let error = parse("[[euicc]]\nport = \"/dev/ttyUSB2\"\nblocksize = 3\n").unwrap_err();
        assert_eq!(
            error,
            "lpad.toml:3: unknown key \"blocksize\"; did you mean \"block_size\"?"
        );
        let error =
            parse("[[euicc]]\nport = \"/x\"\n[euicc.boot]\nwhen = \"never\"\n").unwrap_err();
        assert_eq!(
            error,
            "lpad.toml:3: unknown key \"boot\"; did you mean \"bootstrap\"?"
        );
    }

    #[test]
    fn every_key_of_the_example_is_found_in_its_section() {
        for (key, header) in [
            ("socket", "[api]"),
            ("extra_roots", "[trust]"),
            ("baud", "[[euicc]]"),
            ("jitter_s", "[euicc.bootstrap]"),
            ("fallback", "[[euicc]]"),
            ("deadline_s", "[euicc.switch]"),
            ("up", "[euicc.dialler]"),
            ("apn", "[[euicc.profile]]"),
        ] {
            let hint = elsewhere(key).unwrap();
            assert_eq!(hint, format!("; it belongs below {header}"));
        }
        assert_eq!(elsewhere("sock"), None);
    }

    #[test]
    fn messages_say_what_to_write() {
        let cases = [
            ("", "there is no [[euicc]] section"),
            ("[[euicc]]\nname = \"a\"", "missing key \"port\""),
            (
                "[[euicc]]\nport = \"/x\"\napdu = \"usb\"",
                "lpad.toml:3: unknown variant \"usb\"",
            ),
            (
                "[[euicc]]\nport = \"/x\"\nname = \"My Card\"",
                "lpad.toml:3: [[euicc]] \"My Card\": name must have 1 to 32 characters",
            ),
            (
                "[[euicc]]\nport = \"/x\"\nbaud = 1",
                "baud must be between 300 and 4000000 bits per second",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.bootstrap]\nattempts = 0",
                "attempts must be at least 1; for none there is when = \"never\"",
            ),
            (
                &format!(
                    "[api]\nsocket = \"/{}\"\n[[euicc]]\nport = \"/x\"",
                    "s".repeat(107)
                ),
                "[api] socket must have 1 to 107 bytes, and has 108",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[state]\nhistory = 0",
                "lpad.toml:4: [state] history must be between 1 and 250",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[state]\nhistory = 251",
                "must be between 1 and 250",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[state]\nhistory_days = 3651",
                "[state] history_days must be between 1 and 3650",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[state]\nhistory_hours = 1",
                "history_hours",
            ),
            (
                "[[euicc]]\nport = \"/x\"\nblock_size = 2",
                "between 16 and 255",
            ),
            (
                "[[euicc]]\nport = \"/x\"\naids = [\"A000\"]",
                "aids have 5 to 16 bytes each, and A000 has 2",
            ),
            (
                "[[euicc]]\nport = \"/x\"\napdu_timeout_s = 0",
                "between 1 and 3600 seconds",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[[euicc]]\nport = \"/y\"",
                "give each its own name",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[[euicc]]\nname = \"b\"\nport = \"/x\"",
                "use the port /x",
            ),
            (
                "[[euicc]]\nport = \"auto\"\n[[euicc]]\nname = \"b\"\nport = \"auto\"",
                "use the port auto",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.bootstrap]\ndefault_smdp = \"http://a.b\"",
                "must be a host name",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.bootstrap]\njitter_s = 86401",
                "between 0 and 86400 seconds",
            ),
            (
                "[es9]\nconnect_to = { a = \"b\" }",
                "lpad.toml:2: invalid socket address",
            ),
            (
                "[[euicc]]\nport = \"/x\"\nfallback = [\"89\"]",
                "lpad.toml:3: ",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n\
                 fallback = [\"8944500000000000019\", \"8944500000000000019\"]",
                "lpad.toml:3: [[euicc]] \"default\": fallback has a profile twice",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.switch]\ndeadline_s = 5",
                "lpad.toml:4: [[euicc]] \"default\": switch deadline_s must be between 30 and 7200",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.switch]\ncheck = [{ status = [200] }]",
                "lpad.toml:4: [[euicc]] \"default\": switch check needs one of tcp, https and command",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.switch]\n\
                 check = [{ tcp = \"a.example:1\", command = [\"/bin/true\"] }]",
                "needs one of tcp, https and command in each entry",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.switch]\ncheck = [{ command = [\"true\"] }]",
                "check has a program whose path does not begin with \"/\"",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.switch]\n\
                 check = [{ tcp = \"a.example:1\", ca_file = \"/x\" }]",
                "check has a ca_file without https",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.switch]\ncheck = [{ tpc = \"a.example:1\" }]",
                "lpad.toml:4: unknown key \"tpc\"; did you mean \"tcp\"?",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.switch]\ninterface = \"a/b\"",
                "switch interface must be \"auto\"",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.dialler]\nup = [\"ppp-up\"]",
                "dialler up has a program whose path does not begin with \"/\"",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[[euicc.profile]]\niccid = \"89*\"\n\
                 [[euicc.profile]]\niccid = \"8*9\"",
                "lpad.toml:6: [[euicc]] \"default\": profile iccid must have 18 to 20 digits",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[[euicc.profile]]\niccid = \"89*\"\n\
                 [[euicc.profile]]\niccid = \"89*\"",
                "profile iccid is that of a section before it",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[[euicc.profile]]\niccid = \"89*\"\napn = \"a b\"",
                "profile apn must have up to 100 characters",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.profile]\niccid = \"89*\"",
                "lpad.toml:3: write [[euicc.profile]], with two brackets",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[switch]\nconfirm = \"auto\"",
                "lpad.toml:3: unknown key \"switch\"; write [euicc.switch], below [[euicc]]",
            ),
            (
                "[[euicc]]\nport = \"/x\"\napn = \"iot.example\"",
                "unknown key \"apn\"; it belongs below [[euicc.profile]]",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[[euicc]]\nname = \"b\"\nport = \"/y\"\n\
                 [euicc.bootstrap]\njitter_s = 86401",
                "lpad.toml:7: [[euicc]] \"b\": bootstrap jitter_s must be",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[es9] # here\nresponse_timeout_s=0",
                "lpad.toml:4: [es9] response_timeout_s must be between 1 and 3600 seconds",
            ),
            (
                "[[euicc]]\nport = \"tty\"",
                "lpad.toml:2: [[euicc]] \"default\": port must begin with \"/\", or be \"auto\"",
            ),
            #[cfg(not(feature = "pcsc"))]
            (
                "[[euicc]]\nport = \"pcsc:Gemalto\"",
                "lpad.toml:2: [[euicc]] \"default\": port names a PC/SC reader, and this lpad was built \
                 without the feature \"pcsc\"",
            ),
            (
                "[state]\ndirectory = \"\"\n[[euicc]]\nport = \"/x\"",
                "directory is empty",
            ),
            (
                "[state]\ndirectory = \"/a\\u0000\"\n[[euicc]]\nport = \"/x\"",
                "lpad.toml:2: [state] directory contains a NUL character",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[euicc.bootstrap]\nactivation_code_file = \"\"",
                "lpad.toml:4: [[euicc]] \"default\": bootstrap activation_code_file is empty",
            ),
            (
                "[euicc]\nport = \"/x\"",
                "lpad.toml:1: write [[euicc]], with two brackets",
            ),
            (
                "port = \"/x\"",
                "lpad.toml:1: unknown key \"port\"; it belongs below [[euicc]]",
            ),
            (
                "[[euicc]]\nport = \"/x\"\n[bootstrap]\nwhen = \"empty\"",
                "lpad.toml:3: unknown key \"bootstrap\"; write [euicc.bootstrap], below [[euicc]]",
            ),
            (
                "[[euicc]]\nport = \"/x\"\ndefault_smdp = \"a.b\"",
                "unknown key \"default_smdp\"; it belongs below [euicc.bootstrap]",
            ),
            ("[log]\nlevel = 0", "lpad.toml:2: expected a string"),
            (
                "[es9]\nconnect_timeout_s = 18446744073709551616",
                "lpad.toml:2: the number 18446744073709551616 is out of range",
            ),
            (
                "[es9]\nconnect_to = { \"a.b:443\" = \"127.0.0.1:1\" }\n[[euicc]]\nport = \"/x\"",
                "lpad.toml:2: [es9] connect_to names hosts without a port, and \"a.b:443\" is none",
            ),
            (
                "[es9]\nconnect_to = { \"\" = \"127.0.0.1:1\" }\n[[euicc]]\nport = \"/x\"",
                "and \"\" is none",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            assert!(
                error.contains(expected),
                "{text}\n gives {error}\n not {expected}"
            );
        }
    }
}
