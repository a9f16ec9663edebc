//! The configuration file of the program `sim-card-emulator`; every key has a default.
//!
//! [`EXAMPLE`] names and explains them all.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use es10_apdu::types::Eid;
use rsp_common::config_file::{self, ConfigError};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::euicc::Settings;
use crate::modem::{self, ModemControl, Network, Quirks};

/// A configuration file with every key, its default and what it means.
pub const EXAMPLE: &str = include_str!("../sim-card-emulator.toml");

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[identity]`: who the eUICC is.
    pub identity: IdentityConfig,
    /// `[card]`: features, limits and manners of the card.
    pub card: Settings,
    /// `[state]`: what outlives the program.
    pub state: StateConfig,
    /// `[modem]`: the modem the card is in.
    pub modem: ModemConfig,
    /// `[pty]`: the modem's port.
    pub pty: PtyConfig,
    /// `[vpcd]`: a PC/SC reader in place of a modem.
    pub vpcd: VpcdConfig,
}

/// `[identity]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// Folder of the PKI; a fresh one is made there when it is empty.
    pub pki: Option<PathBuf>,
    /// The EID for a PKI that is made now; of an existing PKI it must be the one.
    #[serde(deserialize_with = "optional_text")]
    pub eid: Option<Eid>,
}

/// `[state]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    /// Folder that keeps profiles and notifications; without it a restart is a new card.
    pub directory: Option<PathBuf>,
}

/// `[modem]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModemConfig {
    /// What `AT+CGMI` answers.
    pub manufacturer: String,
    /// What `AT+CGMM` answers.
    pub model: String,
    /// What `AT+CGMR` answers.
    pub revision: String,
    /// What `AT+CGSN` answers.
    #[serde(deserialize_with = "text")]
    pub imei: Imei,
    /// Its bad habits.
    #[serde(deserialize_with = "quirks")]
    pub quirks: Quirks,
    /// What chance begins with.
    pub seed: u64,
    /// How the network treats a profile that is not named in `networks`.
    #[serde(deserialize_with = "text")]
    pub network: Network,
    /// How the network treats a profile, by its ICCID or IMSI.
    #[serde(deserialize_with = "networks")]
    pub networks: BTreeMap<String, Network>,
}

impl Default for ModemConfig {
    fn default() -> Self {
        let modem::Identity {
            manufacturer,
            model,
            revision,
            imei,
        } = modem::Identity::default();
        Self {
            manufacturer,
            model,
            revision,
            imei: Imei(imei),
            quirks: Quirks::default(),
            seed: 0,
            network: Network::default(),
            networks: BTreeMap::new(),
        }
    }
}

impl ModemConfig {
    /// What the modem says of itself.
    pub fn identity(&self) -> modem::Identity {
        modem::Identity {
            manufacturer: self.manufacturer.clone(),
            model: self.model.clone(),
            revision: self.revision.clone(),
            imei: self.imei.0.clone(),
        }
    }

    /// Gives a modem the habits and the network it shall have.
    pub fn apply(&self, control: &ModemControl) {
        control.set_quirks(|quirks| quirks.clone_from(&self.quirks));
        control.seed(self.seed);
        control.set_network(None, self.network.clone());
        for (profile, network) in &self.networks {
            control.set_network(Some(profile), network.clone());
        }
    }
}

/// `[pty]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PtyConfig {
    /// Where the symbolic link to the terminal is put.
    pub link: Option<PathBuf>,
    /// Bits per second of the line; as fast as it goes when there is none.
    pub baud: Option<u32>,
}

/// `[vpcd]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VpcdConfig {
    /// Where the reader of vsmartcard is; `pcscd` shows it as "Virtual PCD".
    pub address: Option<String>,
}

impl Config {
    /// Reads a configuration file; without one everything has its default.
    ///
    /// `knobs` are put over the keys of `[card]`: names and values, which are written as in the
    /// file but need no quotation marks.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is no TOML, has an unknown key or an unusable value, or a knob
    /// does.
    pub fn load(path: Option<&Path>, knobs: &[(String, String)]) -> Result<Self, ConfigError> {
        match path {
            Some(path) => Self::parse(&config_file::read(path)?, path, knobs),
            None => Self::parse("", Path::new(""), knobs),
        }
    }

    /// Does what [`Config::load`] does with the text of a file; `path` is for messages only.
    pub fn parse(text: &str, path: &Path, knobs: &[(String, String)]) -> Result<Self, ConfigError> {
        let mut config: Self = config_file::parse(text, path)?;
        let mut file: toml::Table = config_file::parse(text, path)?;
        let mut card = match file.remove("card") {
            Some(toml::Value::Table(card)) => card,
            _ => toml::Table::new(),
        };
        for (knob, value) in knobs {
            card.insert(knob.clone(), config_file::value(value));
            config.card = card.clone().try_into().map_err(|source: toml::de::Error| {
                let option = format!("--card {knob}={value}");
                ConfigError::Option {
                    option,
                    source: source.into(),
                }
            })?;
        }
        Ok(config)
    }
}

/// The number of a modem, 15 digits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Imei(pub String);

impl FromStr for Imei {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 15 && text.bytes().all(|digit| digit.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("an IMEI has 15 digits")
        }
    }
}

fn text<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}

fn optional_text<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    text(deserializer).map(Some)
}

fn quirks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quirks, D::Error> {
    let mut quirks = Quirks::default();
    for name in Vec::<String>::deserialize(deserializer)? {
        quirks.add(&name).map_err(D::Error::custom)?;
    }
    Ok(quirks)
}

fn networks<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Network>, D::Error> {
    let networks = BTreeMap::<String, String>::deserialize(deserializer)?;
    let networks = networks
        .into_iter()
        .map(|(profile, network)| match network.parse() {
            Ok(network) => Ok((profile, network)),
            Err(error) => Err(D::Error::custom(error)),
        });
    networks.collect()
}

#[cfg(test)]
mod tests;
