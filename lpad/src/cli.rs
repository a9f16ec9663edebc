//! `lpactl`: the daemon's API on the command line, for people and with `--json` for programs.

pub mod args;
mod download;
mod progress;
mod prompt;
mod render;
mod table;

use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use self::args::{
    Arguments, Command, EuiccCommand, NotificationCommand, OperationCommand, ProfileCommand,
    ResetArguments,
};
use self::progress::ProgressLine;
use self::render::Overview;
use crate::api::euiccs::{EuiccList, ResetRequest};
use crate::api::notifications::NotificationList;
use crate::api::operations::OperationList;
use crate::api::profiles::ProfileList;
use crate::client::{Client, ClientError};
use crate::job::OperationId;
use crate::memory::events::EventKind;
use crate::memory::operations::Operation;
use crate::memory::snapshot::{Profile, ProfileState};
use crate::printable::printable;
use crate::problem::{Code, Problem};

/// Runs `lpactl` and tells how it went.
pub async fn run(arguments: Arguments) -> ExitCode {
    let socket = arguments
        .socket
        .clone()
        .or_else(|| Some(std::env::var_os("LPAD_SOCKET")?.into()));
    let client = Client::new(socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)));
    let session = Session {
        client,
        json: arguments.json,
        euicc: arguments.euicc.clone(),
    };
    match session.command(arguments.command).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            if let (CliError::Client(ClientError::Problem(problem)), true) = (&error, session.json)
            {
                // Without standard output the exit code has to do.
                let _ = session.print_json(problem);
            }
            let _ = stderr().write_all(error.message().as_bytes());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Why `lpactl` ends with something else than 0.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Ended(Box<Problem>),
    #[error("{0}")]
    Usage(String),
    #[error("lpad was stopped; when it is back, `lpactl operation show {0}` tells what came of it")]
    Left(OperationId),
    #[error("Nothing was changed")]
    NotConfirmed,
    #[error("standard input or output: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Unreachable { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                4
            }
            Self::Client(ClientError::Unreachable { .. }) | Self::Left(_) => 3,
            Self::Client(ClientError::Timeout) | Self::NotConfirmed => 5,
            Self::Client(ClientError::Problem(problem)) | Self::Ended(problem) => {
                problem_exit_code(problem.code)
            }
            Self::Usage(_) => 2,
            Self::Client(_) | Self::Output(_) => 1,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Client(ClientError::Problem(problem)) | Self::Ended(problem) => {
                render::problem(problem)
            }
            Self::Client(ClientError::Unreachable { source, .. }) => {
                format!("{self}.\n{}\n", unreachable_hint(source.kind()))
            }
            Self::Client(_)
            | Self::Left(_)
            | Self::Usage(_)
            | Self::NotConfirmed
            | Self::Output(_) => {
                format!("{self}.\n")
            }
        }
    }
}

fn problem_exit_code(code: Code) -> u8 {
    match code {
        Code::Forbidden => 4,
        Code::Cancelled | Code::Declined | Code::Postponed | Code::NoAnswer => 5,
        Code::InvalidRequest
        | Code::InvalidActivationCode
        | Code::InvalidAddress
        | Code::UnknownEuicc
        | Code::UnknownProfile
        | Code::UnknownOperation => 2,
        _ => 1,
    }
}

fn unreachable_hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => {
            "Run it as root or as a member of the daemon's admin group."
        }
        io::ErrorKind::NotFound => {
            "Is the daemon running (systemctl status lpad), and is this its socket? \
             --socket or LPAD_SOCKET name another one."
        }
        _ => "The daemon has stopped. Look at journalctl -u lpad and start it again.",
    }
}

/// One run of `lpactl`.
#[derive(Debug)]
struct Session {
    client: Client,
    json: bool,
    euicc: Option<String>,
}

impl Session {
    async fn command(&self, command: Command) -> Result<(), CliError> {
        match command {
            Command::Status => self.status().await,
            Command::Euicc(command) => self.euicc_command(command).await,
            Command::Profile(command) => self.profile_command(command).await,
            Command::Download(arguments) => self.download(arguments).await,
            Command::Notification(command) => self.notification_command(command).await,
            Command::Operation(command) => self.operation_command(command).await,
            Command::Events { after } => self.events(after).await,
        }
    }

    async fn status(&self) -> Result<(), CliError> {
        let euiccs = self.client.euiccs().await?;
        if self.json {
            return self.print_json(&EuiccList { euiccs });
        }
        let health = self.client.health().await?;
        let version = self.client.version().await?;
        let mut overviews = Vec::new();
        for euicc in euiccs {
            // What cannot be read is told by the eUICC's own problem.
            let profiles = self.client.profiles(&euicc.name).await.unwrap_or_default();
            let notifications = self
                .client
                .notifications(&euicc.name)
                .await
                .unwrap_or_default();
            let operation = match euicc.busy_with {
                Some(id) => self.client.operation(id, 0).await.ok(),
                None => None,
            };
            overviews.push(Overview {
                euicc,
                profiles,
                notifications,
                operation,
            });
        }
        self.print(&render::status(&version, &health.problems, &overviews))
    }

    async fn euicc_command(&self, command: EuiccCommand) -> Result<(), CliError> {
        let name = self.name().await?;
        match command {
            EuiccCommand::Info => {
                let euicc = self.client.euicc(&name).await?;
                if self.json {
                    return self.print_json(&euicc);
                }
                let addresses = self.client.addresses(&name).await?;
                self.print(&render::euicc(&euicc, &addresses))
            }
            EuiccCommand::SetDefaultSmdp { address } => {
                self.follow(self.client.set_default_smdp(&name, &address).await?)
                    .await
            }
            EuiccCommand::Reset(arguments) => self.reset(&name, &arguments).await,
        }
    }

    async fn reset(&self, name: &str, arguments: &ResetArguments) -> Result<(), CliError> {
        confirmed(
            arguments.yes,
            &format!("Erase what is on the eUICC \"{name}\" for ever?"),
        )?;
        let request = ResetRequest {
            confirm: name.to_owned(),
            operational_profiles: arguments.scope.operational,
            test_profiles: arguments.scope.test,
            default_smdp: arguments.scope.default_smdp,
        };
        self.follow(self.client.reset(name, &request).await?).await
    }

    async fn profile_command(&self, command: ProfileCommand) -> Result<(), CliError> {
        let name = self.name().await?;
        let client = &self.client;
        let operation = match command {
            ProfileCommand::List => {
                let profiles = client.profiles(&name).await?;
                return match self.json {
                    true => self.print_json(&ProfileList { profiles }),
                    false => self.print(&render::profiles(&profiles)),
                };
            }
            ProfileCommand::Show { profile } => {
                let profile = self.profile(&name, &profile).await?;
                return match self.json {
                    true => self.print_json(&profile),
                    false => self.print(&render::profile(&profile)),
                };
            }
            ProfileCommand::Enable { profile } => {
                let iccid = self.profile(&name, &profile).await?.iccid;
                client
                    .set_state(&name, &iccid, ProfileState::Enabled)
                    .await?
            }
            ProfileCommand::Disable { profile } => {
                let iccid = self.profile(&name, &profile).await?.iccid;
                client
                    .set_state(&name, &iccid, ProfileState::Disabled)
                    .await?
            }
            ProfileCommand::Rename { profile, nickname } => {
                let iccid = self.profile(&name, &profile).await?.iccid;
                client.rename(&name, &iccid, &nickname).await?
            }
            ProfileCommand::Delete { profile, yes } => {
                let profile = self.profile(&name, &profile).await?;
                let title = printable(render::title(&profile));
                confirmed(
                    yes,
                    &format!("Delete {title} ({}) for ever?", profile.iccid),
                )?;
                client.delete(&name, &profile.iccid).await?
            }
        };
        self.follow(operation).await
    }

    async fn notification_command(&self, command: NotificationCommand) -> Result<(), CliError> {
        let name = self.name().await?;
        match command {
            NotificationCommand::List => {
                let notifications = self.client.notifications(&name).await?;
                match self.json {
                    true => self.print_json(&NotificationList { notifications }),
                    false => self.print(&render::notifications(&notifications)),
                }
            }
            NotificationCommand::Deliver => {
                self.follow(self.client.deliver_notifications(&name).await?)
                    .await
            }
        }
    }

    async fn operation_command(&self, command: OperationCommand) -> Result<(), CliError> {
        match command {
            OperationCommand::List => {
                let operations = self.client.operations().await?;
                match self.json {
                    true => self.print_json(&OperationList { operations }),
                    false => self.print(&render::operations(&operations)),
                }
            }
            OperationCommand::Show { id } => {
                let operation = self.client.operation(id, 0).await?;
                match self.json {
                    true => self.print_json(&operation),
                    false => self.print(&render::operation(&operation)),
                }
            }
            OperationCommand::Wait { id } => self.follow(self.client.operation(id, 0).await?).await,
            OperationCommand::Cancel { id } => self.cancel(id).await,
        }
    }

    async fn cancel(&self, id: OperationId) -> Result<(), CliError> {
        self.client.cancel(id).await?;
        let ended = self.client.wait(id).await?;
        match self.json {
            true => self.print_json(&ended),
            false => self.print(&format!("Operation {id} is {}.\n", ended.state.name())),
        }
    }

    async fn events(&self, after: Option<u64>) -> Result<(), CliError> {
        let mut events = self.client.events(after).await?;
        let mut last = String::new();
        while let Some(event) = events.next().await? {
            if self.json {
                self.print(&format!("{}\n", serde_json::json!(event)))?;
                continue;
            }
            let text = render::event(&event);
            // Not every change shows in a line.
            if text != last {
                self.print(&format!("{}  {text}\n", event.id))?;
                last = text;
            }
        }
        Ok(())
    }

    /// Shows an operation until it has ended, and its outcome.
    async fn follow(&self, operation: Operation) -> Result<(), CliError> {
        let ended = self.watch(operation, async |_| Ok(())).await?;
        self.tell(ended)
    }

    /// Shows an operation until it has ended; calls `asked` whenever it waits for an answer.
    async fn watch(
        &self,
        operation: Operation,
        asked: impl AsyncFn(&Operation) -> Result<(), CliError>,
    ) -> Result<Operation, CliError> {
        let id = operation.id;
        let live = stderr().is_terminal();
        let mut line = ProgressLine::new(stderr(), live);
        // Subscribed before the state is read, so that no change is missed in between.
        let mut events = self.client.events(None).await?;
        let mut operation = self.client.operation(id, 0).await?;
        // The events still tell of the offer when its state was read before them.
        let mut has_asked = false;
        loop {
            if operation.state.is_final() {
                line.clear();
                return Ok(operation);
            }
            if live || !self.json {
                line.show(&operation);
            }
            if operation.offer.is_some() && !has_asked {
                has_asked = true;
                line.clear();
                asked(&operation).await?;
            }
            operation = loop {
                let Ok(Some(event)) = events.next().await else {
                    return Err(CliError::Left(id));
                };
                match event.kind {
                    EventKind::Operation if event.data["id"] == id.to_string() => {
                        let parsed = serde_json::from_value(event.data);
                        break parsed.map_err(|error| ClientError::Garbled(error.to_string()))?;
                    }
                    EventKind::Missed => break self.client.operation(id, 0).await?,
                    EventKind::Operation | EventKind::Euicc => {}
                }
            };
        }
    }

    fn tell(&self, ended: Operation) -> Result<(), CliError> {
        match (self.json, ended.problem.clone()) {
            (true, problem) => {
                self.print_json(&ended)?;
                problem.map_or(Ok(()), |problem| Err(CliError::Ended(Box::new(problem))))
            }
            (false, Some(problem)) => Err(CliError::Ended(Box::new(problem))),
            (false, None) => self.print(&render::outcome(&ended)),
        }
    }

    /// The eUICC to use: the one named, the only one, or the one called `default`.
    async fn name(&self) -> Result<String, CliError> {
        if let Some(name) = &self.euicc {
            return Ok(name.clone());
        }
        let euiccs = self.client.euiccs().await?;
        let names: Vec<&str> = euiccs.iter().map(|euicc| euicc.name.as_str()).collect();
        match names.as_slice() {
            [only] => Ok((*only).to_owned()),
            several if several.contains(&"default") => Ok("default".to_owned()),
            several => Err(CliError::Usage(format!(
                "There are several eUICCs; choose one with --euicc: {}",
                several.join(", ")
            ))),
        }
    }

    /// The profile with this ICCID, nickname or name.
    async fn profile(&self, euicc: &str, wanted: &str) -> Result<Profile, CliError> {
        let profiles = self.client.profiles(euicc).await?;
        let by = |matches: fn(&Profile, &str) -> bool| {
            profiles
                .iter()
                .filter(|profile| matches(profile, wanted))
                .collect::<Vec<_>>()
        };
        let found = [
            by(|profile, wanted| profile.iccid == wanted),
            by(|profile, wanted| profile.nickname.as_deref() == Some(wanted)),
            by(|profile, wanted| profile.name == wanted),
        ];
        let found = found
            .into_iter()
            .find(|found| !found.is_empty())
            .unwrap_or_default();
        match found.as_slice() {
            [profile] => Ok((*profile).clone()),
            [] => Err(CliError::Usage(format!(
                "No profile is called \"{wanted}\"; `lpactl profile list` shows them"
            ))),
            _ => Err(CliError::Usage(format!(
                "Several profiles are called \"{wanted}\"; use the ICCID"
            ))),
        }
    }

    fn print_json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        self.print(&(text + "\n"))
    }

    fn print(&self, text: &str) -> Result<(), CliError> {
        let mut out = stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }
}

fn confirmed(yes: bool, question: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !prompt::somebody_is_there() {
        return Err(CliError::Usage(
            "This cannot be undone: say --yes".to_owned(),
        ));
    }
    match prompt::confirm(question)? {
        true => Ok(()),
        false => Err(CliError::NotConfirmed),
    }
}

const DEFAULT_SOCKET: &str = "/run/lpad/lpad.sock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_as_the_help_says() {
        let unreachable = |kind: io::ErrorKind| {
            CliError::Client(ClientError::Unreachable {
                socket: "s".into(),
                source: kind.into(),
            })
        };
        let ended = |code| CliError::Ended(Box::new(Problem::new(code)));
        let cases = [
            (ended(Code::MatchingIdRefused), 1),
            (CliError::Usage("x".into()), 2),
            (ended(Code::InvalidActivationCode), 2),
            (unreachable(io::ErrorKind::NotFound), 3),
            (unreachable(io::ErrorKind::PermissionDenied), 4),
            (ended(Code::Forbidden), 4),
            (ended(Code::Postponed), 5),
            (CliError::NotConfirmed, 5),
        ];
        for (error, code) in cases {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }

    #[test]
    fn a_daemon_that_is_not_there_comes_with_a_hint() {
        let error = CliError::Client(ClientError::Unreachable {
            socket: "/run/lpad/lpad.sock".into(),
            source: io::ErrorKind::NotFound.into(),
        });
        assert!(
            error.message().contains("systemctl status lpad"),
            "{}",
            error.message()
        );
    }
}
