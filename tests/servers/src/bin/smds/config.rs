//! The command line, and how it goes together with the configuration file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Parser;
use rsp_common::config_file::{self, ConfigError};
use rsp_servers::smdp::FaultPlan;
use rsp_servers::smds::Function;
use serde::Deserialize;

/// A test SM-DS (SGP.22): tells eUICCs which servers have something for them.
///
/// LPAs ask it over ES11; SM-DP+s register and delete events over ES12. Both are HTTPS on the same
/// port, under /gsma/rsp2/es9plus/ and /gsma/rsp2/es12/. An ES12 client needs no certificate.
///
/// With --root it is an alternative SM-DS: an event whose forwardingIndicator is true it registers
/// at the root SM-DS too, with its own address and an event ID of its own.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A configuration file; what the command line says wins over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to serve ES11 and ES12 over TLS; 127.0.0.1:8444 when left out
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// The FQDN to answer to; the first name in the TLS certificate when left out
    #[arg(long, value_name = "FQDN")]
    host_name: Option<String>,
    /// Folder of the PKI, which card and SM-DP+ share; a fresh one is made there when it is empty
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
    /// Folder to keep events in
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The root SM-DS to forward events to
    #[arg(long, value_name = "FQDN[:PORT]")]
    root: Option<String>,
    /// Where a host is reached whose name does not lead there; may be given several times
    #[arg(long, value_name = "FQDN=HOST:PORT", value_parser = target)]
    connect_to: Vec<(String, String)>,
    /// An event there is from the beginning; may be given several times
    #[arg(long = "event", value_name = "EID,EVENT-ID,ADDRESS", value_parser = event)]
    events: Vec<Event>,
    /// Something done wrong, in the n-th call or in every one; may be given several times
    #[arg(long = "fault", value_name = "FUNCTION[:N]=NAME[=VALUE]")]
    faults: Vec<FaultPlan<Function>>,
    /// Prints the names of all faults
    #[arg(long)]
    pub(crate) list_faults: bool,
    /// Prints a configuration file with every key, its default and what it means
    #[arg(long)]
    pub(crate) example_config: bool,
}

const EXAMPLES: &str = "\
Examples:
  smds --pki /tmp/pki --event 89049032123451234512345678901235,M-1,smdp.example.com
  smds --pki /tmp/pki --listen 127.0.0.1:8445 --host-name root.example.com
  smds --pki /tmp/pki --root root.example.com --connect-to root.example.com=127.0.0.1:8445
  smds --pki /tmp/pki --fault authenticateClient:2=http-status=503
  smds --example-config > smds.toml
An SM-DP+ registers an event like this, and deletes it under deleteEvent:
  curl --cacert /tmp/ci.pem --resolve smds.example.com:8444:127.0.0.1 \\
    -H 'X-Admin-Protocol: gsma/rsp/v2.2.2' -H 'Content-Type: application/json' -d '{
      \"header\": {\"functionRequesterIdentifier\": \"me\", \"functionCallIdentifier\": \"1\"},
      \"eid\": \"89049032123451234512345678901235\", \"eventId\": \"M-1\",
      \"rspServerAddress\": \"smdp.example.com\", \"forwardingIndicator\": false}' \\
    https://smds.example.com:8444/gsma/rsp2/es12/registerEvent
  (openssl x509 -inform der -in /tmp/pki/ci.der -out /tmp/ci.pem makes the PEM file)";

/// The configuration file.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) listen: String,
    pub(crate) host_name: Option<String>,
    pub(crate) pki: Option<PathBuf>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) root: Option<String>,
    pub(crate) connect_to: BTreeMap<String, String>,
    #[serde(rename = "event")]
    pub(crate) events: Vec<Event>,
    #[serde(rename = "fault")]
    pub(crate) faults: Vec<FaultPlan<Function>>,
}

/// An event there is from the beginning.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    pub(crate) eid: String,
    pub(crate) event_id: String,
    pub(crate) rsp_server_address: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8444".to_owned(),
            host_name: None,
            pki: None,
            state: None,
            root: None,
            connect_to: BTreeMap::new(),
            events: Vec::new(),
            faults: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a file; its relative paths begin in its folder.
    fn beside(path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = config_file::load(path)?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        for path in [&mut config.pki, &mut config.state].into_iter().flatten() {
            *path = folder.join(&path);
        }
        Ok(config)
    }
}

impl Arguments {
    /// The configuration file with what the command line says put over it.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::beside(path)?,
            None => Config::default(),
        };
        if let Some(listen) = &self.listen {
            config.listen.clone_from(listen);
        }
        replace(&mut config.host_name, &self.host_name);
        replace(&mut config.pki, &self.pki);
        replace(&mut config.state, &self.state);
        replace(&mut config.root, &self.root);
        config.connect_to.extend(self.connect_to.iter().cloned());
        config.events.extend(self.events.iter().cloned());
        config.faults.extend(self.faults.iter().cloned());
        Ok(config)
    }
}

fn replace<T: Clone>(configured: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        configured.clone_from(given);
    }
}

fn target(text: &str) -> Result<(String, String), &'static str> {
    let (host, target) = text.split_once('=').ok_or("it is not FQDN=HOST:PORT")?;
    Ok((host.to_owned(), target.to_owned()))
}

fn event(text: &str) -> Result<Event, &'static str> {
    let mut parts = text.splitn(3, ',').map(str::to_owned);
    let (eid, event_id, rsp_server_address) = (parts.next(), parts.next(), parts.next());
    let event = || {
        Some(Event {
            eid: eid?,
            event_id: event_id?,
            rsp_server_address: rsp_server_address?,
        })
    };
    event().ok_or("it is not EID,EVENT-ID,ADDRESS")
}

/// The configuration file that `--example-config` prints.
pub(crate) const EXAMPLE: &str = include_str!("../../../smds.toml");

#[cfg(test)]
mod tests {
    use super::*;

    const EID: &str = "89049032123451234512345678901235";

    fn parse(text: &str) -> Config {
        config_file::parse(text, Path::new("smds.toml")).unwrap()
    }

    #[test]
    fn the_example_is_the_default_and_its_examples_can_be_used() {
        assert_eq!(parse(EXAMPLE), Config::default());
        let is_example = |line: &&str| !line.starts_with("# ");
        let lines = EXAMPLE.lines().filter(is_example);
        let all: Vec<_> = lines.map(|line| line.trim_start_matches('#')).collect();
        let config = parse(&all.join("\n"));
        assert_eq!(config.root.as_deref(), Some("root.example.com"));
        assert_eq!(config.connect_to["root.example.com"], "127.0.0.1:8445");
        assert_eq!((config.events.len(), config.faults.len()), (1, 1));
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("smds.toml");
        let text =
            "listen = 'a:1'\nroot = 'b'\nstate = 'state'\n[connect_to]\nc = 'd:1'\ne = 'f:1'\n";
        std::fs::write(&file, text).unwrap();
        let event = format!("{EID},M-1,smdp.example.com");
        let mut words = vec![
            "smds",
            "--config",
            file.to_str().unwrap(),
            "--listen",
            "g:2",
        ];
        words.extend(["--connect-to", "c=h:2", "--event", &event]);
        words.extend(["--fault", "registerEvent:2=http-status=500"]);
        let config = Arguments::try_parse_from(words).unwrap().config().unwrap();
        assert_eq!(
            (&*config.listen, config.root.as_deref()),
            ("g:2", Some("b"))
        );
        let targets: Vec<_> = config.connect_to.into_iter().collect();
        let expected = [("c", "h:2"), ("e", "f:1")];
        assert_eq!(
            targets,
            expected.map(|(host, to)| (host.to_owned(), to.to_owned()))
        );
        assert_eq!(config.events[0].event_id, "M-1");
        assert_eq!(config.faults.len(), 1);
        assert_eq!(config.state, Some(folder.path().join("state")));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for words in [
            ["--event", "1,2"],
            ["--connect-to", "host"],
            ["--fault", "x"],
        ] {
            let words = ["smds"].iter().chain(&words);
            Arguments::try_parse_from(words).unwrap_err();
        }
    }
}
