//! `[euicc.bootstrap]`: the first profile of an eUICC.

use std::path::PathBuf;

use es9_client::ServerAddress;
use serde::{Deserialize, Serialize};

use super::{Section, Wrong};

/// `[euicc.bootstrap]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct BootstrapConfig {
    /// At which start a profile is looked for without being asked.
    pub when: BootstrapWhen,
    /// Where it is looked for, in this order.
    pub sources: Vec<OrderSource>,
    /// The SM-DP+ to ask before the one whose address is stored on the card.
    pub default_smdp: Option<String>,
    /// A file with an activation code; without it the credential of systemd, if there is one.
    pub activation_code_file: Option<PathBuf>,
    /// What becomes of that file when its code was used.
    pub after_use: AfterUse,
    /// A file with the confirmation code, when the operator gave one.
    pub confirmation_code_file: Option<PathBuf>,
    /// Whether the profile is enabled once it is installed.
    pub enable: bool,
    /// How often an order is tried before it is given up.
    pub attempts: u32,
    /// The first attempt is made within so many seconds of a start, at a time that the EID says.
    pub jitter_s: u64,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self {
            when: BootstrapWhen::default(),
            default_smdp: None,
            sources: vec![OrderSource::Code, OrderSource::Config, OrderSource::Card],
            activation_code_file: None,
            after_use: AfterUse::default(),
            confirmation_code_file: None,
            enable: true,
            attempts: 12,
            jitter_s: 60,
        }
    }
}

/// Where a first profile may be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum OrderSource {
    /// Where an activation code says.
    Code,
    /// At the SM-DP+ of the configuration.
    Config,
    /// At the SM-DP+ stored on the card.
    Card,
}

/// What becomes of the file with an activation code when that was used.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum AfterUse {
    /// It stays, and lpad knows that the code is used.
    #[default]
    Keep,
    /// It gets the ending `.used`.
    Rename,
    /// It is removed.
    Remove,
}

/// At which start a profile is looked for without being asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum BootstrapWhen {
    /// When the card holds no profile.
    #[default]
    Empty,
    /// At every start.
    Always,
    /// Never.
    Never,
}

impl BootstrapConfig {
    pub(super) fn check(&self, section: Section<'_>) -> Result<(), Wrong> {
        if self.jitter_s > 86_400 {
            return Err(section.wrong("jitter_s", "must be between 0 and 86400 seconds"));
        }
        let mut sources = self.sources.iter().enumerate();
        if self.sources.is_empty()
            || sources.any(|(index, source)| self.sources[..index].contains(source))
        {
            let wrong = "must name \"code\", \"config\" and \"card\", or some of them, once each";
            return Err(section.wrong("sources", wrong));
        }
        if self.attempts == 0 {
            let wrong = "must be at least 1; for none there is when = \"never\"";
            return Err(section.wrong("attempts", wrong));
        }
        for (key, path) in [
            ("activation_code_file", &self.activation_code_file),
            ("confirmation_code_file", &self.confirmation_code_file),
        ] {
            path.as_ref()
                .map_or(Ok(()), |path| section.check_path(key, path))?;
        }
        let Some(address) = &self.default_smdp else {
            return Ok(());
        };
        match address.parse::<ServerAddress>() {
            Ok(_) => Ok(()),
            Err(error) => Err(section.wrong("default_smdp", &format!("is wrong: {error}"))),
        }
    }
}
