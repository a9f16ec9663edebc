//! What `lpactl doctor` asks of the program `lpad`: `lpad --look` prints it as JSON.
//!
//! It takes the engine and the TLS client, which `lpactl` leaves out.

mod card;
mod server;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use es9_client::{AddressError, ServerAddress};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::server::{Certificate, Refusal, Server, Step};
use crate::check::check;
use crate::config::{Config, ConfigError, Es9Config, EuiccConfig};
use crate::memory::state_folder;
use crate::modem::ports::{Candidate, candidates};
use crate::modem::table::Table;

/// What is looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Look {
    /// The configuration: [`Configuration`].
    Configuration,
    /// The ports of modems: a list of [`Port`].
    Ports,
    /// The way to the card of this eUICC, without a daemon: an
    /// [`Examination`](crate::api::body::Examination).
    Euicc(String),
    /// The server at this address: [`Server`].
    Server(ServerAddress),
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => f.write_str("configuration"),
            Self::Ports => f.write_str("ports"),
            Self::Euicc(name) => write!(f, "euicc={name}"),
            Self::Server(address) => write!(f, "server={address}"),
        }
    }
}

impl FromStr for Look {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "configuration" => Ok(Self::Configuration),
            None if text == "ports" => Ok(Self::Ports),
            Some(("euicc", name)) => Ok(Self::Euicc(name.to_owned())),
            Some(("server", address)) => address
                .parse()
                .map(Self::Server)
                .map_err(|error: AddressError| error.to_string()),
            _ => Err(format!("--look {text:?} is not known; see lpad --help")),
        }
    }
}

impl Look {
    /// Looks, and gives the JSON of what was seen. `path` is that of the configuration.
    pub async fn seen(&self, path: &Path) -> Result<String, String> {
        let seen = match self {
            Self::Configuration => serde_json::to_string(&Configuration::at(path)),
            Self::Ports => serde_json::to_string(&ports(path)),
            Self::Euicc(name) => serde_json::to_string(&card::examination(name, path).await?),
            Self::Server(address) => serde_json::to_string(&server::at(address, path).await),
        };
        seen.map_err(|error| error.to_string())
    }
}

/// The configuration of the daemon, as far as it may be read.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Configuration {
    /// Why it cannot be used.
    pub error: Option<String>,
    /// Whether it has a mistake; otherwise it cannot be read.
    pub is_wrong: bool,
    /// What works, and should not be so.
    pub warnings: Vec<String>,
    /// Its eUICCs; none if it cannot be used at all.
    pub euiccs: Vec<Euicc>,
    /// The folder of the daemon's state.
    pub state: String,
    /// Whether a daemon holds this folder.
    pub is_held: bool,
    /// The deadline of each step of connecting to a server, in seconds.
    pub connect_s: u64,
    /// Its keys and values; `null` if it has a mistake.
    pub values: Value,
}

/// An eUICC in the configuration.
#[derive(Debug, Deserialize, Serialize)]
pub struct Euicc {
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: String,
    /// The rate of its port; absent for a reader.
    pub baud: Option<u32>,
    /// The address of its default SM-DP+.
    pub default_smdp: Option<String>,
}

/// A port that may be a modem's.
#[derive(Debug, Deserialize, Serialize)]
pub struct Port {
    /// What to write under `port`.
    pub port: String,
    /// Its device.
    pub device: String,
    /// The modem, in its maker's words.
    pub modem: String,
    /// What the port is taken for, in words.
    pub verdict: String,
    /// Whether lpad would send it a command to find out.
    pub may_be_at: bool,
}

impl Configuration {
    fn at(path: &Path) -> Self {
        let mut seen = Self {
            connect_s: Es9Config::default().connect_timeout_s,
            ..Self::default()
        };
        let read = ConfigError::read_text(path).and_then(|text| {
            let config = Config::parse(&text, path)?;
            seen.values = toml::from_str(&text).unwrap_or_default();
            Table::of(&config, path)?;
            Ok(config)
        });
        let checked = read.and_then(|config| {
            seen.euiccs = config.euiccs.iter().map(Euicc::from).collect();
            seen.state = config.state.directory.display().to_string();
            seen.is_held = state_folder::is_held(&config.state.directory);
            seen.connect_s = config.es9.connect_timeout_s;
            check(&config, path)
        });
        match checked {
            Ok(warnings) => seen.warnings = warnings,
            Err(error) => {
                let is_file = matches!(error, ConfigError::Read { .. });
                seen.is_wrong = !is_file || !seen.euiccs.is_empty();
                seen.error = Some(error.to_string());
            }
        }
        seen
    }
}

impl From<&EuiccConfig> for Euicc {
    fn from(euicc: &EuiccConfig) -> Self {
        Self {
            name: euicc.name.clone(),
            port: euicc.port.display().to_string(),
            baud: Some(euicc.baud).filter(|_| euicc.reader().is_none()),
            default_smdp: euicc.bootstrap.default_smdp.clone(),
        }
    }
}

impl From<&Candidate> for Port {
    fn from(found: &Candidate) -> Self {
        Self {
            port: found.name().display().to_string(),
            device: found.path.display().to_string(),
            modem: found.description.clone(),
            verdict: found.verdict.words().to_owned(),
            may_be_at: found.verdict.may_be_asked(),
        }
    }
}

/// Those without a configuration can look for ports as well.
fn ports(path: &Path) -> Vec<Port> {
    let table = Config::load(path).and_then(|config| Table::of(&config, path));
    let found = candidates(Path::new("/"), &table.unwrap_or_default());
    found.iter().map(Port::from).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_looked_at_is_named_on_a_command_line() {
        for look in [
            Look::Configuration,
            Look::Ports,
            Look::Euicc("a=b".to_owned()),
            Look::Server("smdp.example.com:8443".parse().unwrap()),
        ] {
            assert_eq!(look.to_string().parse(), Ok(look));
        }
        for wrong in ["", "euicc", "server=a b", "Ports", "ports=1"] {
            assert!(wrong.parse::<Look>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_configuration_is_seen_with_its_mistake_or_its_values() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lpad.toml");
        let seen = |text: &str| {
            fs::write(&file, text).unwrap();
            Configuration::at(&file)
        };
        let euicc = "[[euicc]]\nport = \"/dev/null\"\n";
        let well = seen(&format!("# a comment\n[log]\nlevel = \"warn\"\n{euicc}"));
        assert_eq!(well.values["log"]["level"], "warn");
        assert_eq!((well.euiccs.len(), well.euiccs[0].baud), (1, Some(115_200)));
        assert_eq!((well.connect_s, well.is_held), (30, false));
        // A key that lpad does not know may be a misspelt one.
        let wrong = seen(&format!(
            "{euicc}[euicc.bootstrap]\nconfirmation_code = \"9876\"\n"
        ));
        assert!(wrong.is_wrong && wrong.error.is_some() && wrong.euiccs.is_empty());
        assert_eq!(wrong.values, Value::Null);
        let none = Configuration::at(&folder.path().join("nowhere"));
        assert!(!none.is_wrong && none.error.is_some() && none.euiccs.is_empty());
    }
}
