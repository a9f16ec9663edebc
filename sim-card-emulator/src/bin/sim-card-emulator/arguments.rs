//! The command line, and how it goes together with the configuration file.

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use es10_apdu::types::Eid;
use sim_card_emulator::config::{Config, Imei};
use sim_card_emulator::modem::{Network, QuirkError, Quirks};

use crate::pki;

/// An eUICC (SGP.22) behind an AT modem on a pseudo terminal, or in a PC/SC reader.
///
/// The terminal is found at the path of a symbolic link, which is used like the serial port of a
/// real modem: AT+CSIM reaches the card, AT+CGSN, AT+CCID, AT+CFUN and the like answer too.
///
/// The card is strict: it verifies every certificate and signature, and opens real bound profile
/// packages. Without --pki it makes a test PKI of its own; a test SM-DP+ that is started on the
/// same --pki folder belongs to it.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// A configuration file; what the command line says wins over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the symbolic link to the terminal is put; it is removed at the end
    #[arg(long, value_name = "LINK")]
    pty: Option<PathBuf>,
    /// Puts the card into a PC/SC reader in place of a modem: where vsmartcard's vpcd listens
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "pty")]
    vpcd: Option<String>,
    /// Make the line as slow as this many bits per second
    #[arg(long, value_name = "BITS/S")]
    baud: Option<u32>,
    /// Folder that keeps profiles and notifications; without it a restart is a new card
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Folder of the PKI (ci.der, eum.der, euicc.der, euicc.key); a fresh one is made when empty
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
    /// The eUICC's number for a PKI that is made now; of an existing PKI it must be the one
    #[arg(long, value_name = "32 DIGITS")]
    eid: Option<Eid>,
    /// Sets up the card otherwise; the keys of [card] in the configuration file, several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    card: Vec<(String, String)>,
    /// The modem's IMEI
    #[arg(long, value_name = "15 DIGITS")]
    imei: Option<Imei>,
    /// A bad habit of the modem, or preset:NAME for those of a real one; several times
    #[arg(long = "quirk", value_name = "NAME[=VALUE]", value_parser = quirk)]
    quirks: Vec<String>,
    /// How the network treats profiles that the configuration file does not name
    #[arg(long, value_name = "WORD,WORD…")]
    network: Option<Network>,
    /// What chance begins with: the same quirks with the same seed do the same
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Prints every quirk and preset, what it does and which modems do so
    #[arg(long)]
    pub(crate) list_quirks: bool,
    /// Prints every word that --network and the configuration file know, and what it does
    #[arg(long)]
    pub(crate) list_networks: bool,
    /// Prints a configuration file with every key, its default and what it means
    #[arg(long)]
    pub(crate) example_config: bool,
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Makes and explains folders of certificates and keys
    #[command(subcommand)]
    Pki(pki::Command),
}

const EXAMPLES: &str = "\
Examples:
  sim-card-emulator --pty /tmp/modem --state /tmp/card
  sim-card-emulator --pty /tmp/modem --pki /tmp/pki --baud 115200 --quirk ignores-refresh
  sim-card-emulator --pty /tmp/modem --card memory=20000 --card forbidden_rules='[\"ppr1\"]'
  sim-card-emulator --vpcd 127.0.0.1:35963       (the reader \"Virtual PCD\" of pcscd)
  sim-card-emulator --example-config > card.toml
  sim-card-emulator pki new /tmp/pki --curve brainpool --host smdp.example.com
  sim-card-emulator pki show /tmp/pki
  minicom -D /tmp/modem        (then type AT+CGSN)";

impl Arguments {
    /// The configuration file with what the command line says put over it.
    pub(crate) fn config(&self) -> Result<Config, Box<dyn Error>> {
        let mut config = Config::load(self.config.as_deref(), &self.card)?;
        // A card that the file puts elsewhere is moved.
        if self.pty.is_some() || self.vpcd.is_some() {
            config.pty.link.clone_from(&self.pty);
            config.vpcd.address.clone_from(&self.vpcd);
        }
        replace(&mut config.pty.baud, &self.baud);
        replace(&mut config.state.directory, &self.state);
        replace(&mut config.identity.pki, &self.pki);
        replace(&mut config.identity.eid, &self.eid);
        if let Some(imei) = &self.imei {
            config.modem.imei = imei.clone();
        }
        if let Some(network) = &self.network {
            config.modem.network = network.clone();
        }
        if let Some(seed) = self.seed {
            config.modem.seed = seed;
        }
        for name in &self.quirks {
            config.modem.quirks.add(name)?;
        }
        Ok(config)
    }
}

fn replace<T: Clone>(configured: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        configured.clone_from(given);
    }
}

/// `KEY=VALUE`, or `KEY` alone for what is only on or off.
fn key_and_value(text: &str) -> Result<(String, String), std::convert::Infallible> {
    let (key, value) = text.split_once('=').unwrap_or((text, "true"));
    Ok((key.to_owned(), value.to_owned()))
}

/// A quirk as it was written, known to be one.
fn quirk(text: &str) -> Result<String, QuirkError> {
    Quirks::default().add(text)?;
    Ok(text.to_owned())
}
