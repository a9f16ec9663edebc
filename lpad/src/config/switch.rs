//! How the profile in use is changed, and watched: `[euicc.switch]`, `[euicc.dialler]`,
//! `[[euicc.profile]]` and `[euicc.watch]`.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use es10_apdu::types::Iccid;
use serde::{Deserialize, Serialize};

use super::{Section, Wrong};

/// `[euicc.switch]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SwitchConfig {
    /// How long a profile may take from its use by the modem until it is in service, in seconds.
    pub deadline_s: u64,
    /// After so many seconds without service the radio is restarted once; 0 never does.
    pub radio_restart_s: u64,
    /// How long the modem may take to use the profile, all rungs of its ladder included, in seconds.
    pub ladder_s: u64,
    /// How long a network's refusal is not taken as its last word, in seconds.
    pub reject_grace_s: u64,
    /// How far apart the two looks are that must find the profile in service, in seconds.
    pub stable_s: u64,
    /// Whether a foreign network will do.
    pub roaming: Roaming,
    /// The network interface of the modem: a name, `auto`, or nothing for none.
    pub interface: String,
    /// How many of the checks must succeed.
    pub need: Need,
    /// Who has the last word.
    pub confirm: Confirm,
    /// How long a client has to confirm, in seconds.
    pub confirm_s: u64,
    /// How long service is watched after a switch, in seconds; 0 does not.
    pub probation_s: u64,
    /// How many switches lpad makes by itself in a day, at most; 0 makes none.
    pub max_switches_per_day: u32,
    /// What must be reachable; without any, being registered is enough.
    pub check: Vec<Check>,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        Self {
            deadline_s: 420,
            radio_restart_s: 210,
            ladder_s: 180,
            reject_grace_s: 180,
            stable_s: 10,
            roaming: Roaming::default(),
            interface: String::new(),
            need: Need::default(),
            confirm: Confirm::default(),
            confirm_s: 600,
            probation_s: 1800,
            max_switches_per_day: 12,
            check: Vec::new(),
        }
    }
}

/// `[euicc.watch]`: how the service of the profile in use is watched.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// Whether it is watched for ever, and not only after a switch.
    pub enable: bool,
    /// How long the modem may look for a network, in seconds.
    pub searching_s: u64,
    /// How long a network may refuse the profile, in seconds.
    pub denied_s: u64,
    /// How long a registered profile may have no address, or not reach what is configured, in seconds.
    pub unreachable_s: u64,
    /// After how long on another profile the preferred one is tried again, in seconds; 0 never does.
    pub return_s: u64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            enable: false,
            searching_s: 1800,
            denied_s: 300,
            unreachable_s: 900,
            return_s: 14_400,
        }
    }
}

impl SwitchConfig {
    /// How long all checks together may take, one after the other, as they are configured, in seconds.
    pub(crate) fn checks_s(&self) -> u64 {
        self.check.iter().map(|check| check.timeout_s).sum()
    }

    /// How long a check may take, so that all together take no longer than [`LONGEST_LOOK`].
    pub(crate) fn longest_of(&self, check: &Check) -> Duration {
        let longest = Duration::from_secs(check.timeout_s);
        let all = Duration::from_secs(self.checks_s());
        match all > LONGEST_LOOK {
            true => longest.mul_f64(LONGEST_LOOK.div_duration_f64(all)),
            false => longest,
        }
    }
}

/// How long the checks of one look may take together: clients wait meanwhile.
pub(crate) const LONGEST_LOOK: Duration = Duration::from_secs(60);

impl WatchConfig {
    pub(super) fn check(&self, section: Section<'_>) -> Result<(), Wrong> {
        for (key, seconds, least, most) in [
            ("searching_s", self.searching_s, 60, 86_400),
            ("denied_s", self.denied_s, 60, 86_400),
            ("unreachable_s", self.unreachable_s, 60, 86_400),
            ("return_s", self.return_s, 0, 604_800),
        ] {
            section.check_between(key, seconds, least, most)?;
        }
        Ok(())
    }
}

/// Whether a foreign network will do.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Roaming {
    /// It does.
    #[default]
    Allow,
    /// Only the home network does.
    HomeOnly,
}

/// How many of the checks must succeed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// One.
    #[default]
    Any,
    /// Every one.
    All,
}

/// Who has the last word on a switch.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Confirm {
    /// lpad: the profile is in service.
    #[default]
    Auto,
    /// A client, over the new profile.
    Client,
}

/// Something that must be reachable: one of `tcp`, `https` and `command`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Check {
    /// A TCP connection to this host and port can be opened.
    pub tcp: Option<String>,
    /// A web server answers at this URL.
    pub https: Option<String>,
    /// The status codes of it that will do.
    pub status: Vec<u16>,
    /// The certificate issuers it is checked against; without it, those of the system.
    pub ca_file: Option<PathBuf>,
    /// A program, with its arguments, ends with 0.
    pub command: Vec<String>,
    /// How long it may take, in seconds.
    pub timeout_s: u64,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            tcp: None,
            https: None,
            status: vec![200],
            ca_file: None,
            command: Vec::new(),
            timeout_s: 10,
        }
    }
}

/// What a check connects to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Target<'a> {
    /// A name or an address, that of IPv6 in brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// Host and port as they are written.
    pub(crate) authority: &'a str,
    /// What a web server is asked for.
    pub(crate) path: Option<&'a str>,
}

impl Check {
    /// What it connects to; `None` when it runs a program.
    pub(crate) fn target(&self) -> Option<Result<Target<'_>, &'static str>> {
        if let Some(authority) = &self.tcp {
            return Some(Target::parse(authority, None, None));
        }
        let url = self.https.as_deref()?;
        let Some(rest) = url.strip_prefix("https://") else {
            return Some(Err("has a URL that does not begin with \"https://\""));
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        Some(Target::parse(authority, Some(443), Some(path)))
    }

    /// For people. What follows the host in a URL may be a secret.
    pub(crate) fn name(&self) -> String {
        match self.target() {
            Some(Ok(target)) => target.authority.to_owned(),
            _ => self.command.first().cloned().unwrap_or_default(),
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let kinds = [
            self.tcp.is_some(),
            self.https.is_some(),
            !self.command.is_empty(),
        ];
        if kinds.into_iter().filter(|kind| *kind).count() != 1 {
            return Err("needs one of tcp, https and command in each entry");
        }
        self.target().transpose()?;
        check_program(&self.command)?;
        if !(1..=60).contains(&self.timeout_s) {
            return Err("has a timeout_s that is not between 1 and 60 seconds");
        }
        let is_status = |status: &u16| (100..600).contains(status);
        if self.status.is_empty() || !self.status.iter().all(is_status) {
            return Err("has a status that is none of HTTP");
        }
        match &self.ca_file {
            Some(_) if self.https.is_none() => Err("has a ca_file without https"),
            Some(path) if path.is_relative() => Err("has a ca_file that does not begin with \"/\""),
            _ => Ok(()),
        }
    }
}

impl<'a> Target<'a> {
    fn parse(
        authority: &'a str,
        usual: Option<u16>,
        path: Option<&'a str>,
    ) -> Result<Self, &'static str> {
        let end = match authority.starts_with('[') {
            true => authority.find(']').map_or(0, |end| end + 1),
            false => authority.find(':').unwrap_or(authority.len()),
        };
        let (host, port) = authority.split_at(end);
        let is_host = match host.strip_prefix('[') {
            Some(inside) => inside.trim_end_matches(']').parse::<Ipv6Addr>().is_ok(),
            None => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
                (1..=253).contains(&host.len()) && host.chars().all(is_part)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0),
            None => usual.filter(|_| port.is_empty()),
        };
        let is_path = |path: &str| path.len() <= 1024 && path.bytes().all(|c| c.is_ascii_graphic());
        if !is_host || !path.is_none_or(is_path) {
            return Err("has something else than a host name or an address");
        }
        Ok(Self {
            host,
            port: port.ok_or("has something else than a port after the host")?,
            authority,
            path,
        })
    }
}

/// `[euicc.dialler]`: what is told of a switch to the program that makes the data connection.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct DiallerConfig {
    /// Run before the profile in use goes away.
    pub down: Vec<String>,
    /// Run when a profile is registered in a network.
    pub up: Vec<String>,
}

/// One `[[euicc.profile]]` section.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ProfileConfig {
    /// The profile's ICCID, or its beginning and `*`.
    pub iccid: String,
    /// Whether it is only deleted by force.
    #[serde(default)]
    pub keep: bool,
    /// The APN of its data connection, for the dialler.
    #[serde(default)]
    pub apn: Option<String>,
    /// `ip`, `ipv6` or `ipv4v6`, for the dialler.
    #[serde(default)]
    pub ip_type: Option<String>,
    /// The user of its data connection, for the dialler.
    #[serde(default)]
    pub user: Option<String>,
    /// A file with the password, for the dialler.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

impl SwitchConfig {
    pub(super) fn check(&self, section: Section<'_>) -> Result<(), Wrong> {
        for (key, seconds, least, most) in [
            ("deadline_s", self.deadline_s, 30, 7200),
            ("radio_restart_s", self.radio_restart_s, 0, 7200),
            ("ladder_s", self.ladder_s, 10, 3600),
            ("reject_grace_s", self.reject_grace_s, 0, 3600),
            ("stable_s", self.stable_s, 0, 120),
            ("probation_s", self.probation_s, 0, 86_400),
            ("confirm_s", self.confirm_s, 30, 86_400),
        ] {
            section.check_between(key, seconds, least, most)?;
        }
        if self.max_switches_per_day > MOST_SWITCHES {
            return Err(section.wrong("max_switches_per_day", "must be 100 or less"));
        }
        if !is_interface(&self.interface) {
            let wrong = "must be \"auto\", the name of an interface, or \"\"";
            return Err(section.wrong("interface", wrong));
        }
        if self.check.len() > MOST_CHECKS {
            return Err(section.wrong("check", "has more than 8 entries"));
        }
        let checked = self.check.iter().try_for_each(Check::check);
        checked.map_err(|why| section.wrong("check", why))
    }
}

impl DiallerConfig {
    pub(super) fn check(&self, section: Section<'_>) -> Result<(), Wrong> {
        for (key, words) in [("down", &self.down), ("up", &self.up)] {
            check_program(words).map_err(|why| section.wrong(key, why))?;
        }
        Ok(())
    }
}

impl ProfileConfig {
    /// About this profile, with nothing said of it yet.
    pub fn about(iccid: &str) -> Self {
        Self {
            iccid: iccid.to_owned(),
            ..Self::default()
        }
    }

    /// Whether this section is about that profile.
    pub fn is_about(&self, iccid: &str) -> bool {
        match self.iccid.strip_suffix('*') {
            Some(beginning) => iccid.starts_with(beginning),
            None => iccid == self.iccid,
        }
    }

    pub(super) fn check(&self, section: Section<'_>) -> Result<(), Wrong> {
        let is_iccid = match self.iccid.strip_suffix('*') {
            Some(start) => start.len() < 20 && start.bytes().all(|c| c.is_ascii_digit()),
            None => self.iccid.parse::<Iccid>().is_ok(),
        };
        if !is_iccid {
            let wrong = "must have 18 to 20 digits, or fewer and \"*\"";
            return Err(section.wrong("iccid", wrong));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if let Some(apn) = &self.apn
            && (apn.len() > 100 || !apn.chars().all(is_name))
        {
            let wrong =
                "must have up to 100 characters out of letters, digits, \".\", \"-\" and \"_\"";
            return Err(section.wrong("apn", wrong));
        }
        if let Some(ip_type) = &self.ip_type
            && !["ip", "ipv6", "ipv4v6"].contains(&&**ip_type)
        {
            let wrong = "must be \"ip\", \"ipv6\" or \"ipv4v6\"";
            return Err(section.wrong("ip_type", wrong));
        }
        if let Some(user) = &self.user
            && (user.len() > 127 || user.contains(char::is_control))
        {
            return Err(section.wrong("user", "must have up to 127 characters, in one line"));
        }
        match &self.password_file {
            Some(path) if path.as_os_str().len() > LONGEST_PATH => {
                Err(section.wrong("password_file", "has more than 1024 bytes"))
            }
            Some(path) => section.check_path("password_file", path),
            None => Ok(()),
        }
    }
}

/// A program and its arguments, which may be left out together.
pub(super) fn check_program(words: &[String]) -> Result<(), &'static str> {
    let Some(program) = words.first() else {
        return Ok(());
    };
    match () {
        () if !program.starts_with('/') => {
            Err("has a program whose path does not begin with \"/\"")
        }
        () if words.iter().any(|word| word.contains('\0')) => Err("contains a NUL character"),
        () => Ok(()),
    }
}

/// Whether the kernel may have an interface of this name; no name is none.
fn is_interface(name: &str) -> bool {
    let is_part = |c: u8| c.is_ascii_graphic() && c != b'/' && c != b':';
    name.len() <= LONGEST_INTERFACE && ![".", ".."].contains(&name) && name.bytes().all(is_part)
}

/// A card is made for some ten thousand of them.
const MOST_SWITCHES: u32 = 100;
/// Each takes its time, one after the other.
const MOST_CHECKS: usize = 8;
/// `IFNAMSIZ`, without the end.
const LONGEST_INTERFACE: usize = 15;
/// What a dialler is told has to fit into a pipe.
const LONGEST_PATH: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, value: &str) -> Check {
        toml::from_str(&format!("{key} = \"{value}\"")).unwrap()
    }

    #[test]
    fn a_target_is_a_host_with_a_port() {
        for (key, value, expected) in [
            ("tcp", "192.0.2.10:443", Some(("192.0.2.10", 443, None))),
            ("tcp", "a.example:1", Some(("a.example", 1, None))),
            ("tcp", "[2001:db8::1]:80", Some(("[2001:db8::1]", 80, None))),
            (
                "https",
                "https://a.example",
                Some(("a.example", 443, Some("/"))),
            ),
            (
                "https",
                "https://a.example:8443/health?q=1",
                Some(("a.example", 8443, Some("/health?q=1"))),
            ),
            (
                "https",
                "https://[2001:db8::1]/",
                Some(("[2001:db8::1]", 443, Some("/"))),
            ),
            ("tcp", "a.example", None),
            ("tcp", "a.example:0", None),
            ("tcp", "a.example:70000", None),
            ("tcp", ":443", None),
            ("tcp", "2001:db8::1:443", None),
            ("tcp", "[2001:db8::1]443", None),
            ("tcp", "[2001:db8::1", None),
            ("tcp", "a.example:443/", None),
            ("https", "http://a.example/", None),
            ("https", "https://user:word@a.example/", None),
            ("https", "https://a.example/a b", None),
            ("https", "https:///health", None),
        ] {
            let check = check(key, value);
            let target = check.target().unwrap().ok();
            let target = target.map(|target| (target.host, target.port, target.path));
            assert_eq!(target, expected, "{value}");
            assert_eq!(check.check().is_ok(), expected.is_some(), "{value}");
        }
    }

    #[test]
    fn a_url_is_named_without_what_may_be_a_secret() {
        let check = check("https", "https://a.example:8443/health?token=1234");
        assert_eq!(check.name(), "a.example:8443");
    }

    #[test]
    fn an_interface_has_a_name_that_is_no_path() {
        for (name, is_one) in [
            ("wwan0", true),
            ("auto", true),
            ("", true),
            ("eth0.100", true),
            ("../../etc", false),
            ("..", false),
            ("a name", false),
            ("wwan0123456789ab", false),
        ] {
            assert_eq!(is_interface(name), is_one, "{name}");
        }
    }
}
