//! `lpactl doctor`: looks at everything between here, the card and a server, and says what to do.

mod bundle;
pub mod checks;
pub mod program;

use std::time::Duration;

use es9_client::ServerAddress;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::checks::{Check, Server, Verdict};
use self::program::Unseen;
use super::args::DoctorArguments;
use super::table::{Table as Grid, Width, facts};
use super::{CliError, Lpactl, stdout, unreachable_hint};
use crate::api::body::Examination;
use crate::client::ClientError;
use crate::look::{Configuration, Look, Port};
use crate::printable::printable;
use crate::problem::Code;

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

impl Lpactl {
    /// Examines through the daemon, or without one when none answers.
    pub(super) async fn doctor(&self, arguments: &DoctorArguments) -> Result<(), CliError> {
        if arguments.ports {
            return self.ports(arguments).await;
        }
        let named = arguments.smdp.as_deref().map(parse_address).transpose()?;
        if let Some(file) = &arguments.bundle {
            bundle::must_be_new(file)?;
        }
        let look = Look::Configuration;
        let configured = match self.look(&look, arguments, LOOKING).await {
            Err(Unseen::Interrupted) => return Err(CliError::Interrupted),
            configured => configured,
        };
        let mut checks = vec![read(&configured, arguments)];
        let euiccs = match self.client.must_be_served().await {
            Ok(()) => {
                checks.extend(self.daemon().await?);
                let known = configured.as_ref().ok();
                self.unless_interrupted(self.through_daemon(known)).await?
            }
            Err(error) => match without_daemon(&error) {
                Some(why) => {
                    self.without_daemon(&configured, arguments, &why, &mut checks)
                        .await?
                }
                None => return Err(error.into()),
            },
        };
        let configured = configured.unwrap_or_default();
        let server = self.server(named, &configured, arguments, &euiccs).await?;
        checks.push(checks::clock(server.refusal.as_ref()));
        let report = Report {
            lpactl: env!("CARGO_PKG_VERSION"),
            at: Timestamp::now().to_string(),
            checks,
            euiccs,
            server,
        };
        if let Some(file) = &arguments.bundle {
            bundle::write(file, &report, configured.values)?;
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

    async fn ports(&self, arguments: &DoctorArguments) -> Result<(), CliError> {
        let found: Vec<Port> = match self.look(&Look::Ports, arguments, LOOKING).await {
            Ok(found) => found,
            Err(Unseen::Interrupted) => return Err(CliError::Interrupted),
            Err(error) => {
                let Check {
                    says, next_step, ..
                } = error.check(Verdict::Failure, "Ports");
                let next = next_step.unwrap_or_default();
                return Err(CliError::Unlisted(says, next));
            }
        };
        self.show(&found, |found, width| ports(found, width))
    }

    /// Has the program of the daemon look at something.
    async fn look<T: DeserializeOwned>(
        &self,
        what: &Look,
        arguments: &DoctorArguments,
        longest: Duration,
    ) -> Result<T, Unseen> {
        let (config, stop) = (&arguments.config, &self.interruption);
        self.program.look(what, config, longest, stop).await
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

    async fn through_daemon(
        &self,
        configured: Option<&Configuration>,
    ) -> Result<Vec<Examined>, CliError> {
        let mut examined = Vec::new();
        for euicc in self.chosen(self.client.euiccs().await?)? {
            let found = match self.client.examine(&euicc.name).await {
                Ok(found) => Ok(found),
                Err(ClientError::Problem(problem)) if problem.code != Code::Forbidden => {
                    Err(Check::failed("Examination", &problem))
                }
                Err(error) => return Err(error.into()),
            };
            let mut known = configured.into_iter().flat_map(|config| &config.euiccs);
            let known = known.find(|known| known.name == euicc.name);
            let baud = known.and_then(|known| known.baud);
            examined.push(Examined::of(euicc.name, euicc.port, baud, found));
        }
        Ok(examined)
    }

    async fn without_daemon(
        &self,
        configured: &Result<Configuration, Unseen>,
        arguments: &DoctorArguments,
        why: &Check,
        checks: &mut Vec<Check>,
    ) -> Result<Vec<Examined>, CliError> {
        let blind = |says: String, next_step| Check {
            verdict: Verdict::Failure,
            says,
            next_step,
            ..why.clone()
        };
        let config = match configured {
            Ok(config) if !config.euiccs.is_empty() => config,
            // Nothing could be examined, which is no success.
            unread => {
                let without = match unread {
                    Ok(_) => "the configuration",
                    Err(_) => "the program lpad",
                };
                let says =
                    format!("none answers, and without {without} lpactl cannot look by itself");
                checks.push(blind(says, why.next_step.clone()));
                return Ok(Vec::new());
            }
        };
        if config.is_held {
            let says = format!(
                "none answers on {}, but an lpad runs: it holds {}",
                self.client.socket().display(),
                config.state
            );
            let next = "Name its socket with --socket, or stop it and try again.";
            checks.push(blind(says, Some(next.to_owned())));
            return Ok(Vec::new());
        }
        let mut names = config.euiccs.iter().map(|euicc| euicc.name.as_str());
        if let Some(name) = &self.euicc
            && !names.any(|known| known == name)
        {
            let problem = format!("The configuration has no eUICC called \"{name}\"");
            return Err(CliError::Usage(problem));
        }
        let mut examined = Vec::new();
        for euicc in &config.euiccs {
            if self.euicc.as_ref().is_some_and(|name| *name != euicc.name) {
                continue;
            }
            let look = Look::Euicc(euicc.name.clone());
            let found = match self.look(&look, arguments, EXAMINING).await {
                Ok(found) => found,
                Err(Unseen::Interrupted) => return Err(CliError::Interrupted),
                Err(error) => {
                    let Check {
                        says, next_step, ..
                    } = error.check(Verdict::Failure, "Daemon");
                    let says = format!("none answers, and lpactl cannot look by itself: {says}");
                    checks.push(blind(says, next_step));
                    return Ok(examined);
                }
            };
            let (name, port) = (euicc.name.clone(), euicc.port.clone());
            examined.push(Examined::of(name, port, euicc.baud, Ok(found)));
        }
        checks.push(why.clone());
        Ok(examined)
    }

    /// Connects to the server that is named, else to the default one of a card, else to the configured one.
    async fn server(
        &self,
        named: Option<ServerAddress>,
        configured: &Configuration,
        arguments: &DoctorArguments,
        examined: &[Examined],
    ) -> Result<Server, CliError> {
        let found = || examined.iter().filter_map(|euicc| euicc.found.as_ref());
        let on_card = || {
            let mut addresses = found().filter_map(|found| found.addresses.as_ref());
            addresses.find_map(|addresses| addresses.default_smdp.as_deref()?.parse().ok())
        };
        let in_file = || {
            let mut euiccs = configured.euiccs.iter();
            euiccs.find_map(|euicc| euicc.default_smdp.as_deref()?.parse().ok())
        };
        let Some(address) = named.or_else(on_card).or_else(in_file) else {
            return Ok(Server::none());
        };
        let issuers = found().filter_map(|found| found.info.as_ref());
        let issuers: Vec<_> = issuers
            .flat_map(|info| info.ci_keys_for_verification.iter().cloned())
            .collect();
        let shown = address.to_string();
        // There are two steps, for the connection and for the handshake.
        let longest = LOOKING + 2 * Duration::from_secs(configured.connect_s);
        match self.look(&Look::Server(address), arguments, longest).await {
            Ok(found) => Ok(Server::of(&shown, found, &issuers)),
            Err(Unseen::Interrupted) => Err(CliError::Interrupted),
            Err(error) => {
                let check = error.check(Verdict::NotLookedAt, "Server");
                Ok(Server::unseen(&shown, check))
            }
        }
    }
}

impl Examined {
    fn of(
        name: String,
        port: String,
        baud: Option<u32>,
        found: Result<Examination, Check>,
    ) -> Self {
        let (found, checks) = match found {
            Ok(found) => {
                let opened = match baud {
                    Some(baud) => format!("{port} at {baud} baud"),
                    None => port.clone(),
                };
                let checks = checks::of(&found, &opened);
                (Some(found), checks)
            }
            Err(check) => (None, vec![check]),
        };
        Self {
            name,
            port,
            checks,
            found,
        }
    }
}

/// The verdict on the configuration. Who may not read it can still ask the daemon.
fn read(configured: &Result<Configuration, Unseen>, arguments: &DoctorArguments) -> Check {
    let what = "Configuration";
    let configured = match configured {
        Ok(configured) => configured,
        Err(error) => return error.check(Verdict::NotLookedAt, what),
    };
    match &configured.error {
        Some(error) if configured.is_wrong => {
            let next = "Correct it; `sudo lpad --check` looks at it again.";
            Check::new(Verdict::Failure, what, error, next)
        }
        Some(error) => {
            let next = "Name it with --config, or run lpactl as root.";
            Check::new(Verdict::NotLookedAt, what, error, next)
        }
        None if configured.warnings.is_empty() => {
            Check::ok(what, format!("{} is fine", arguments.config.display()))
        }
        None => Check::new(Verdict::Warning, what, configured.warnings.join("; "), ""),
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

fn ports(found: &[Port], width: Width) -> String {
    if found.is_empty() {
        return "No port of a modem is found on USB or PCIe. A modem on a UART is not found by itself: \
                set port to its device.\n"
            .to_owned();
    }
    let mut table = Grid::new(["PORT", "MODEM", "WHAT IT IS"], width);
    for port in found {
        table.row([&port.port, &port.modem, &port.verdict].map(Clone::clone));
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

/// How long looking at files takes at most, or what comes on top of waiting for others.
const LOOKING: Duration = Duration::from_secs(30);
/// How long an examination takes at most, with closing what it has opened.
const EXAMINING: Duration = Duration::from_secs(150);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_listed_with_the_names_to_configure() {
        let stays = "/dev/serial/by-id/usb-Quectel_EG25-G-if02-port0";
        let found = [Port {
            port: stays.to_owned(),
            device: "/dev/ttyUSB2".to_owned(),
            modem: "Quectel EG25-G 2c7c:0125".to_owned(),
            verdict: "known".to_owned(),
            may_be_at: true,
        }];
        let text = ports(&found, Width::UNLIMITED);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("PORT "), "{text}");
        let line = format!("{stays}  Quectel EG25-G 2c7c:0125  known");
        assert_eq!(lines[1].trim_end(), line);
        assert!(ports(&[], Width::UNLIMITED).starts_with("No port of a modem is found"));
    }
}
