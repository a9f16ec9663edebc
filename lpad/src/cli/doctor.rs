//! `lpactl doctor`: looks at everything between here, the card and a server, and says what to do.

mod alone;
mod bundle;
pub mod checks;

use std::env;
use std::path::Path;
use std::sync::Arc;

use es9_client::{Options, Roots, ServerAddress, TcpConnect, inspect};
use jiff::Timestamp;
use serde::Serialize;

use self::alone::Alone;
use self::checks::{Check, Server, Verdict};
use super::args::DoctorArguments;
use super::table::{Table as Grid, Width, facts};
use super::{CliError, Lpactl, stdout, unreachable_hint};
use crate::api::body::Examination;
use crate::check::check;
use crate::client::ClientError;
use crate::config::{Config, ConfigError};
use crate::memory::state_folder;
use crate::modem::ports::{Candidate, candidates};
use crate::modem::table::Table;
use crate::printable::printable;
use crate::problem::{Code, Problem};

/// What was looked at, and what came of it.
#[derive(Debug, Serialize)]
struct Report {
    /// The version of `lpactl`.
    lpactl: &'static str,
    /// When it was made.
    at: String,
    /// What is the same for all eUICCs.
    checks: Vec<Check>,
    euiccs: Vec<Examined>,
    server: Server,
}

/// An eUICC that was examined, or should have been.
#[derive(Debug, Serialize)]
struct Examined {
    name: String,
    port: String,
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Examination>,
}

/// The configuration of the daemon, as far as it may be read.
struct Configured {
    config: Option<Config>,
    table: Arc<Table>,
}

impl Lpactl {
    /// Examines through the daemon, or without one when none answers.
    pub(super) async fn doctor(&self, arguments: &DoctorArguments) -> Result<(), CliError> {
        if arguments.ports {
            return self.ports(arguments);
        }
        let named = arguments.smdp.as_deref().map(parse_address).transpose()?;
        if let Some(file) = &arguments.bundle {
            bundle::must_be_new(file)?;
        }
        let (configured, read) = Configured::read(&arguments.config);
        let mut checks = vec![read];
        let euiccs = match self.client.must_be_served().await {
            Ok(()) => {
                checks.extend(self.daemon().await?);
                self.unless_interrupted(self.through_daemon(&configured))
                    .await?
            }
            Err(error) => match without_daemon(&error) {
                Some(why) => self.without_daemon(&configured, &why, &mut checks).await?,
                None => return Err(error.into()),
            },
        };
        let server = async { Ok(configured.server(named, &euiccs).await) };
        let server = self.unless_interrupted(server).await?;
        checks.push(checks::clock(server.error.as_ref()));
        let report = Report {
            lpactl: env!("CARGO_PKG_VERSION"),
            at: Timestamp::now().to_string(),
            checks,
            euiccs,
            server,
        };
        if let Some(file) = &arguments.bundle {
            bundle::write(file, &report, &arguments.config)?;
        }
        match self.json {
            true => self.print_json(&report)?,
            false => self.print(&report.text(Width::of(stdout())))?,
        }
        if let Some(file) = &arguments.bundle
            && !self.json
        {
            let file = file.display().to_string();
            self.print(&format!(
                "\n{} is written. EID, ICCID, IMEI and IMSI are shortened in it, codes left out.\n",
                printable(&file)
            ))?;
        }
        report.outcome()
    }

    async fn unless_interrupted<T>(
        &self,
        done: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        tokio::select! {
            biased;
            done = done => done,
            () = self.interruption.announced() => Err(CliError::Interrupted),
        }
    }

    fn ports(&self, arguments: &DoctorArguments) -> Result<(), CliError> {
        let (configured, _) = Configured::read(&arguments.config);
        let found = candidates(Path::new("/"), &configured.table);
        if self.json {
            let ports: Vec<_> = found.iter().map(Port::of).collect();
            return self.print_json(&ports);
        }
        self.print(&ports(&found, Width::of(stdout())))
    }

    /// The daemon, which answers, and what it has to tell of itself.
    async fn daemon(&self) -> Result<Vec<Check>, CliError> {
        let version = self.client.version().await?.version;
        let socket = self.client.socket().display();
        let answers = Check::ok("Daemon", format!("lpad {version} answers on {socket}"));
        let health = self.client.health().await?;
        let problems = health.problems.iter();
        let problems = problems.map(|problem| Check::failed("Daemon", problem));
        Ok([answers].into_iter().chain(problems).collect())
    }

    async fn through_daemon(&self, configured: &Configured) -> Result<Vec<Examined>, CliError> {
        let mut examined = Vec::new();
        for euicc in self.chosen(self.client.euiccs().await?)? {
            let found = match self.client.examine(&euicc.name).await {
                Ok(found) => Ok(found),
                Err(ClientError::Problem(problem)) if problem.code != Code::Forbidden => {
                    Err(problem)
                }
                Err(error) => return Err(error.into()),
            };
            examined.push(configured.examined(euicc.name, euicc.port, found));
        }
        Ok(examined)
    }

    async fn without_daemon(
        &self,
        configured: &Configured,
        why: &Check,
        checks: &mut Vec<Check>,
    ) -> Result<Vec<Examined>, CliError> {
        let Some(config) = &configured.config else {
            // Nothing could be examined, which is no success.
            let verdict = Verdict::Failure;
            let says = "none answers, and without the configuration lpactl cannot look by itself";
            checks.push(Check {
                verdict,
                says: says.to_owned(),
                ..why.clone()
            });
            return Ok(Vec::new());
        };
        let folder = &config.state.directory;
        if state_folder::is_held(folder) {
            checks.push(Check::new(
                Verdict::Failure,
                "Daemon",
                format!(
                    "none answers on {}, but an lpad runs: it holds {}",
                    self.client.socket().display(),
                    folder.display()
                ),
                "Name its socket with --socket, or stop it and try again.",
            ));
            return Ok(Vec::new());
        }
        checks.push(why.clone());
        let mut names = config.euiccs.iter().map(|euicc| euicc.name.as_str());
        if let Some(name) = &self.euicc
            && !names.any(|known| known == name)
        {
            let problem = format!("The configuration has no eUICC called \"{name}\"");
            return Err(CliError::Usage(problem));
        }
        let alone = match Alone::new(Arc::clone(&configured.table)) {
            Ok(alone) => alone,
            Err(error) => {
                let folder = env::temp_dir();
                checks.push(Check::new(
                    Verdict::Failure,
                    "Daemon",
                    format!(
                        "none answers, and lpactl cannot look by itself: {}: {error}",
                        folder.display()
                    ),
                    "Make room there, or name another folder with TMPDIR.",
                ));
                return Ok(Vec::new());
            }
        };
        let mut examined = Vec::new();
        for euicc in &config.euiccs {
            if self.euicc.as_ref().is_some_and(|name| *name != euicc.name) {
                continue;
            }
            let found = alone.examine(euicc, self.interruption.announced()).await;
            if self.interruption.is_announced() {
                return Err(CliError::Interrupted);
            }
            let (name, port) = (euicc.name.clone(), euicc.port.display().to_string());
            examined.push(configured.examined(name, port, Ok(found)));
        }
        Ok(examined)
    }
}

impl Configured {
    /// Reads the configuration. Who may not read it can still ask the daemon.
    fn read(path: &Path) -> (Self, Check) {
        let shown = path.display();
        let read = Config::load(path).and_then(|config| {
            let table = Table::of(&config, path)?;
            Ok((config, table))
        });
        let (config, table) = match read {
            Ok(read) => read,
            Err(error) => {
                let unread = Self {
                    config: None,
                    table: Arc::default(),
                };
                let said = error.to_string();
                let check = match error {
                    ConfigError::Syntax { .. } | ConfigError::Value { .. } => {
                        let next = "Correct it; `sudo lpad --check` looks at it again.";
                        Check::new(Verdict::Failure, "Configuration", said, next)
                    }
                    _ => {
                        let next = "Name it with --config, or run lpactl as root.";
                        Check::new(Verdict::NotLookedAt, "Configuration", said, next)
                    }
                };
                return (unread, check);
            }
        };
        let check = match check(&config, path) {
            Ok(warnings) if warnings.is_empty() => {
                Check::ok("Configuration", format!("{shown} is fine"))
            }
            Ok(warnings) => Check {
                verdict: Verdict::Warning,
                ..Check::ok("Configuration", warnings.join("; "))
            },
            Err(error) => {
                let next = "Correct it; `sudo lpad --check` looks at it again.";
                Check::new(Verdict::Failure, "Configuration", error.to_string(), next)
            }
        };
        let configured = Self {
            config: Some(config),
            table: Arc::new(table),
        };
        (configured, check)
    }

    fn examined(
        &self,
        name: String,
        port: String,
        found: Result<Examination, Box<Problem>>,
    ) -> Examined {
        let config = self.config.as_ref();
        let mut euiccs = config.into_iter().flat_map(|config| &config.euiccs);
        let euicc = euiccs.find(|euicc| euicc.name == name);
        let opened = match euicc {
            Some(euicc) if euicc.reader().is_none() => format!("{port} at {} baud", euicc.baud),
            _ => port.clone(),
        };
        let (found, checks) = match found {
            Ok(found) => {
                let modem = euicc.map(|euicc| &euicc.modem);
                let checks = checks::of(&found, &opened, &self.table, modem);
                (Some(found), checks)
            }
            Err(problem) => (None, vec![Check::failed("Examination", &problem)]),
        };
        Examined {
            name,
            port,
            checks,
            found,
        }
    }

    /// Connects to the server that is named, else to the default one of a card, else to the configured one.
    async fn server(&self, named: Option<ServerAddress>, examined: &[Examined]) -> Server {
        let on_card = || {
            let found = examined.iter().filter_map(|euicc| euicc.found.as_ref());
            let mut addresses = found.filter_map(|found| found.addresses.as_ref());
            addresses.find_map(|addresses| addresses.default_smdp.as_deref()?.parse().ok())
        };
        let config = self.config.as_ref();
        let in_file = || {
            let mut euiccs = config.into_iter().flat_map(|config| &config.euiccs);
            euiccs.find_map(|euicc| euicc.bootstrap.default_smdp.as_deref()?.parse().ok())
        };
        let Some(address) = named.or_else(on_card).or_else(in_file) else {
            return Server::none();
        };
        let mut roots = Roots::gsma();
        if let Some(folder) = config.and_then(|config| config.trust.extra_roots.as_deref())
            && let Err(error) = roots.add_folder(folder)
        {
            // It is in the verdict on the configuration as well.
            tracing::debug!(%error, "no further certificate issuers");
        }
        let mut options = Options::default();
        let mut targets = Vec::new();
        if let Some(Config { es9, .. }) = config {
            options.deadlines = es9.deadlines();
            targets.extend(es9.targets());
        }
        let is_host = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(address.host());
        let target = targets.iter().find(is_host);
        let target = target.map(|(_, target)| target.clone());
        let connect = TcpConnect::with_targets(targets);
        let found = inspect(&connect, roots, &options, &address).await;
        let issuers = examined.iter().filter_map(|euicc| euicc.found.as_ref());
        let issuers = issuers.filter_map(|found| found.info.as_ref());
        let issuers: Vec<_> = issuers
            .flat_map(|info| info.ci_keys_for_verification.iter().cloned())
            .collect();
        Server::of(&address, found, target.as_deref(), &issuers)
    }
}

impl Report {
    fn all(&self) -> impl Iterator<Item = &Check> {
        let euiccs = self.euiccs.iter().flat_map(|euicc| &euicc.checks);
        self.checks.iter().chain(euiccs).chain(&self.server.checks)
    }

    fn text(&self, width: Width) -> String {
        let mut text = format!("lpactl {}\n", self.lpactl);
        text.push_str(&lines(&self.checks, width));
        for euicc in &self.euiccs {
            text.push_str(&format!("\n{}\n", printable(&euicc.name)));
            text.push_str(&lines(&euicc.checks, width));
        }
        let server = match &self.server.address {
            Some(address) => format!("SM-DP+ {address}"),
            None => "SM-DP+".to_owned(),
        };
        text.push_str(&format!("\n{}\n", printable(&server)));
        text.push_str(&lines(&self.server.checks, width));
        text
    }

    fn outcome(&self) -> Result<(), CliError> {
        let failed = self.all().filter(|check| check.verdict == Verdict::Failure);
        match failed.count() {
            0 => Ok(()),
            failed => Err(CliError::Unwell(failed)),
        }
    }
}

/// Each check in a line, and what to do below it.
fn lines(checks: &[Check], width: Width) -> String {
    let mut lines = Vec::new();
    for check in checks {
        let verdict = check.verdict.words();
        lines.push((check.what, format!("{verdict}: {}", check.says)));
        lines.extend(check.next_step.clone().map(|next| ("  Next", next)));
    }
    facts(&lines, width)
}

/// A port as programs read it.
#[derive(Serialize)]
struct Port {
    port: String,
    device: String,
    modem: String,
    verdict: &'static str,
    may_be_at: bool,
}

impl Port {
    fn of(found: &Candidate) -> Self {
        Self {
            port: found.name().display().to_string(),
            device: found.path.display().to_string(),
            modem: found.description.clone(),
            verdict: found.verdict.words(),
            may_be_at: found.verdict.may_be_asked(),
        }
    }
}

fn ports(found: &[Candidate], width: Width) -> String {
    if found.is_empty() {
        return "No port of a modem is found on USB or PCIe. A modem on a UART is not found by itself: \
                set port to its device.\n"
            .to_owned();
    }
    let mut table = Grid::new(["PORT", "MODEM", "WHAT IT IS"], width);
    for port in found.iter().map(Port::of) {
        table.row([port.port, port.modem, port.verdict.to_owned()]);
    }
    table.render()
}

fn parse_address(address: &str) -> Result<ServerAddress, CliError> {
    let parsed = address.parse();
    parsed.map_err(|error| CliError::Usage(format!("--smdp: {error}")))
}

/// What is the matter with a daemon that does not answer; `None` when that is another matter.
fn without_daemon(error: &ClientError) -> Option<Check> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    match error {
        ClientError::Unreachable { source, .. }
            if matches!(source.kind(), NotFound | ConnectionRefused) =>
        {
            Some(Check::new(
                Verdict::Warning,
                "Daemon",
                "none answers, so that lpactl looks by itself",
                unreachable_hint(source.kind()),
            ))
        }
        ClientError::Timeout(_) => Some(Check::new(
            Verdict::Failure,
            "Daemon",
            error.to_string(),
            super::SILENT,
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modem::ports::{Reason, Verdict as PortVerdict};

    #[test]
    fn ports_are_listed_with_the_names_to_configure() {
        let port = |path: &str, stable: Option<&str>, verdict| Candidate {
            path: path.into(),
            stable: stable.map(Into::into),
            modem: "/sys/devices/usb1/1-1".into(),
            description: "Quectel EG25-G 2c7c:0125".into(),
            usb: None,
            verdict,
        };
        let stays = "/dev/serial/by-id/usb-Quectel_EG25-G-if02-port0";
        let found = [
            port("/dev/ttyUSB2", Some(stays), PortVerdict::ListedAt(0)),
            port("/dev/ttyUSB0", None, PortVerdict::NotAt(Reason::Diagnosis)),
        ];
        let text = ports(&found, Width::UNLIMITED);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("PORT "), "{text}");
        assert!(lines[1].starts_with(&format!("{stays}  Quectel EG25-G 2c7c:0125  known ")));
        assert!(lines[2].starts_with("/dev/ttyUSB0 ") && lines[2].ends_with("says the modem"));
        assert!(ports(&[], Width::UNLIMITED).starts_with("No port of a modem is found"));
    }
}
