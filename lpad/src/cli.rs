//! `lpactl`: the daemon's API on the command line, for people and with `--json` for programs.

pub mod args;
pub mod doctor;
mod download;
mod progress;
mod prompt;
mod render;
mod status;
mod table;
mod time;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write, stderr, stdout};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::ProgressDrawTarget;
use jiff::Timestamp;
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use self::args::{
    Arguments, Command, EuiccCommand, NotificationCommand, OperationCommand, ProfileCommand,
    ResetArguments, ResetScopeArguments,
};
use self::doctor::program::Program;
use self::progress::ProgressLine;
use self::status::Overview;
use self::table::Width;
use crate::api::body::{Euicc, EventKind, Operation, Profile};
use crate::api::euiccs::{AddressesChange, EuiccList, ResetRequest};
use crate::api::filter::OperationFilter;
use crate::api::health::Health;
use crate::api::operations::OperationList;
use crate::api::profiles::ProfileChange;
use crate::client::{Client, ClientError, EventReader};
use crate::config::Confirm;
use crate::job::{Answer, OperationId, Verdict};
use crate::memory::operations::State;
use crate::memory::snapshot::{Availability, ProfileState};
use crate::printable::{printable, without_error_numbers};
use crate::problem::{Code, Problem};
use crate::runtime::closing::{Closing, closing};

/// Runs `lpactl` and tells how it went. `program` is the daemon's, for what needs no daemon.
pub fn run(arguments: Arguments, program: Program) -> ExitCode {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(stderr(), "{}.", without_error_numbers(&error.to_string()));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(carry_out(arguments, program));
    // A question that was interrupted still waits for its line.
    runtime.shutdown_background();
    code
}

async fn carry_out(arguments: Arguments, program: Program) -> ExitCode {
    let given = arguments.socket.clone();
    let socket = match socket(given, std::env::var_os("LPAD_SOCKET")) {
        Ok(socket) => socket,
        Err(error) => {
            let _ = stderr().write_all(error.message().as_bytes());
            return ExitCode::from(error.exit_code());
        }
    };
    let (interrupt, interruption) = closing();
    let lpactl = Lpactl {
        client: Client::new(socket).may_wait(!arguments.no_queue),
        json: arguments.json,
        euicc: arguments.euicc.clone(),
        program,
        interruption,
    };
    let cleans_up = matches!(arguments.command, Command::Doctor(_));
    let mut command = pin!(lpactl.command(arguments.command));
    let done = tokio::select! {
        // What was asked for may have ended with the interruption, and knows more.
        biased;
        done = &mut command => done,
        () = interrupted() => {
            interrupt.close();
            if cleans_up {
                let _ = timeout(CLEANING_UP, command).await;
            }
            Err(CliError::Interrupted)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output, such as `head`, has seen enough.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            if let (CliError::Client(ClientError::Problem(problem)), true) = (&error, lpactl.json) {
                // Without standard output the exit code has to do.
                let _ = lpactl.print_json(problem);
            }
            let _ = stderr().write_all(error.message().as_bytes());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Resolves when the process is told to end.
async fn interrupted() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => drop(ctrl_c().await),
    }
}

/// How long closing what was opened on the card may take.
const CLEANING_UP: Duration = Duration::from_secs(15);

/// The daemon's socket: the one on the command line, in the environment, or the usual one.
fn socket(given: Option<PathBuf>, environment: Option<OsString>) -> Result<PathBuf, CliError> {
    let (named, path) = match (given, environment) {
        (Some(path), _) => ("--socket", path),
        (None, Some(path)) => ("LPAD_SOCKET", path.into()),
        (None, None) => return Ok(PathBuf::from(DEFAULT_SOCKET)),
    };
    if path.as_os_str().is_empty() {
        return Err(CliError::Usage(format!(
            "{named} is empty; it names the daemon's socket, {DEFAULT_SOCKET} when it is not set"
        )));
    }
    if SocketAddr::from_pathname(&path).is_err() {
        return Err(CliError::Usage(format!(
            "{named} is too long: the path of a socket has 107 bytes at most"
        )));
    }
    // What cannot be looked at is told when it cannot be reached.
    let is_socket = fs::metadata(&path).map_or(true, |file| file.file_type().is_socket());
    if !is_socket {
        let path = path.display();
        return Err(CliError::Usage(format!(
            "{named}: {path} is a file or folder and not the daemon's socket"
        )));
    }
    Ok(path)
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
    #[error(
        "This profile has policy rules, which a person has to accept: run lpactl at a terminal. \
         --yes does not accept them; nothing was changed"
    )]
    NeedsPerson,
    /// What was to be said is said: the result says it.
    #[error("Nothing to download")]
    NothingToDownload,
    #[error("Not ready: {0}")]
    NotReady(String),
    /// What was to be said of them is said.
    #[error("Failed checks: {0}")]
    Unwell(usize),
    /// With what to do.
    #[error("The ports cannot be listed: {0}")]
    Unlisted(String, String),
    #[error("Interrupted")]
    Interrupted,
    #[error("The terminal cannot be used: {0}")]
    Input(#[from] io::Error),
    /// What was asked for is done.
    #[error("It is done, but standard output cannot be written: {0}")]
    Output(io::Error),
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Unreachable { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                4
            }
            Self::Client(ClientError::Unreachable { .. } | ClientError::Timeout(_))
            | Self::Left(_) => 3,
            Self::NotConfirmed | Self::NeedsPerson => 5,
            Self::Client(ClientError::Problem(problem)) | Self::Ended(problem) => {
                problem_exit_code(problem.code)
            }
            Self::Usage(_) => 2,
            Self::NothingToDownload => 6,
            Self::NotReady(_) | Self::Unwell(_) | Self::Unlisted(..) => 7,
            Self::Output(_) => 8,
            // As a shell tells that a program was ended by this signal.
            Self::Interrupted => 130,
            Self::Client(_) | Self::Input(_) => 1,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Client(ClientError::Problem(problem)) | Self::Ended(problem) => {
                render::problem(problem, Width::of(stderr()))
            }
            Self::Client(ClientError::Unreachable { source, .. }) => {
                format!("{}.\n{}\n", self.words(), unreachable_hint(source.kind()))
            }
            Self::Client(ClientError::Timeout(_)) => format!("{}.\n{SILENT}\n", self.words()),
            Self::Unlisted(_, next) => format!("{}.\n{}\n", self.words(), printable(next)),
            Self::NothingToDownload => String::new(),
            Self::Interrupted => "\n".to_owned(),
            Self::Client(_)
            | Self::Left(_)
            | Self::Usage(_)
            | Self::NotConfirmed
            | Self::NeedsPerson
            | Self::NotReady(_)
            | Self::Unwell(_)
            | Self::Input(_)
            | Self::Output(_) => format!("{}.\n", self.words()),
        }
    }

    /// What it says, for a terminal.
    fn words(&self) -> String {
        let text = self.to_string();
        printable(&without_error_numbers(&text)).into_owned()
    }
}

/// What `lpactl` ends with when this is its problem.
pub fn problem_exit_code(code: Code) -> u8 {
    match code {
        Code::Forbidden => 4,
        Code::Cancelled | Code::Declined | Code::Postponed | Code::NoAnswer => 5,
        Code::InvalidRequest
        | Code::InvalidActivationCode
        | Code::InvalidAddress
        | Code::UnknownEuicc
        | Code::UnknownProfile
        | Code::UnknownNotification
        | Code::UnknownOperation => 2,
        Code::NothingToDownload => 6,
        Code::SwitchReverted | Code::NotConfirmed => 9,
        Code::SwitchDiverted => 10,
        Code::SwitchStranded => 11,
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
        io::ErrorKind::WouldBlock => {
            "The daemon accepts no connections. Look at journalctl -u lpad."
        }
        _ => "The daemon has stopped. Look at journalctl -u lpad and start it again.",
    }
}

/// One run of `lpactl`.
#[derive(Debug)]
struct Lpactl {
    client: Client,
    json: bool,
    euicc: Option<String>,
    program: Program,
    interruption: Closing,
}

impl Lpactl {
    async fn command(&self, command: Command) -> Result<(), CliError> {
        // It has something to say of a daemon that does not answer.
        if !matches!(command, Command::Doctor(_)) {
            self.client.must_be_served().await?;
        }
        match command {
            Command::Status => self.status().await,
            Command::Euicc(command) => self.euicc_command(command).await,
            Command::Service => self.service().await,
            Command::Profile(command) => self.profile_command(command).await,
            Command::Download(arguments) => self.download(arguments).await,
            Command::Notification(command) => self.notification_command(command).await,
            Command::Operation(command) => self.operation_command(command).await,
            Command::Events { after } => self.events(after).await,
            Command::Doctor(arguments) => self.doctor(&arguments).await,
        }
    }

    /// Tells what is known: a card that does not answer is not waited for. One that can be used is
    /// looked at for a moment, because another one may have taken its place unnoticed.
    async fn status(&self) -> Result<(), CliError> {
        let mut euiccs = self.chosen(self.client.euiccs().await?)?;
        for euicc in &mut euiccs {
            if euicc.state == Availability::Ready {
                *euicc = self.client.euicc_within(&euicc.name, LOOK_S).await?;
            }
        }
        let health = self.client.health().await?;
        let away = euiccs
            .iter()
            .filter(|euicc| euicc.state != Availability::Ready)
            .map(|euicc| format!("{} is {}", euicc.name, euicc.state.name()));
        // Every change is refused then.
        let is_unwritable = |problem: &&Problem| problem.code == Code::StateUnwritable;
        let unwritable = health.problems.iter().find(is_unwritable);
        let unwritable = unwritable.map(|_| "lpad cannot write its state".to_owned());
        let trouble: Vec<String> = away.chain(unwritable).collect();
        match self.json {
            true => self.print_json(&EuiccList { euiccs })?,
            false => self.overview(&health, euiccs).await?,
        }
        match trouble.as_slice() {
            [] => Ok(()),
            trouble => Err(CliError::NotReady(trouble.join(", "))),
        }
    }

    async fn overview(&self, health: &Health, euiccs: Vec<Euicc>) -> Result<(), CliError> {
        let version = self.client.version().await?;
        let mut overviews = Vec::new();
        for euicc in euiccs {
            let name = &euicc.name;
            // What was never read is told by the eUICC's own problem.
            let profiles = self.client.known_profiles(name).await.unwrap_or_default();
            let notifications = self.client.known_notifications(name).await;
            let operation = match euicc.busy_with {
                Some(id) => self.client.operation(id, 0).await.ok(),
                None => None,
            };
            overviews.push(Overview {
                profiles,
                notifications: notifications.unwrap_or_default(),
                operation,
                euicc,
            });
        }
        let text = status::status(
            &version,
            &health.problems,
            &overviews,
            Timestamp::now(),
            Width::of(stdout()),
        );
        self.print(&text)
    }

    /// The eUICC chosen with `--euicc`, or all.
    fn chosen(&self, mut euiccs: Vec<Euicc>) -> Result<Vec<Euicc>, CliError> {
        let Some(name) = &self.euicc else {
            return Ok(euiccs);
        };
        let names: Vec<String> = euiccs.iter().map(|euicc| euicc.name.clone()).collect();
        euiccs.retain(|euicc| euicc.name == *name);
        match euiccs.is_empty() {
            true => Err(CliError::Usage(format!(
                "No eUICC is called \"{name}\"; there is {}",
                names.join(", ")
            ))),
            false => Ok(euiccs),
        }
    }

    async fn euicc_command(&self, command: EuiccCommand) -> Result<(), CliError> {
        let name = self.name().await?;
        match command {
            EuiccCommand::Info => {
                let euicc = self.client.euicc(&name).await?;
                if self.json {
                    return self.print_json(&euicc);
                }
                let addresses = match self.client.addresses(&name).await {
                    Ok(addresses) => Some(addresses),
                    // The rest is worth being shown; what is unknown is part of it.
                    Err(ClientError::Problem(problem)) if problem.code == Code::PartUnknown => None,
                    Err(error) => return Err(error.into()),
                };
                self.print(&render::euicc(
                    &euicc,
                    addresses.as_ref(),
                    Width::of(stdout()),
                ))
            }
            EuiccCommand::SetDefaultSmdp { address, download } => {
                let change = AddressesChange {
                    default_smdp: address,
                    download,
                };
                self.change(self.client.change_addresses(&name, &change))
                    .await
            }
            EuiccCommand::Reset(arguments) => self.reset(&name, &arguments).await,
        }
    }

    async fn service(&self) -> Result<(), CliError> {
        let service = self.client.service(&self.name().await?).await?;
        match self.json {
            true => self.print_json(&service),
            false => self.print(&render::service(&service, Width::of(stdout()))),
        }
    }

    async fn reset(&self, name: &str, arguments: &ResetArguments) -> Result<(), CliError> {
        confirmed(arguments.yes, &reset_question(name, &arguments.scope)).await?;
        let request = ResetRequest {
            confirm: name.to_owned(),
            operational_profiles: arguments.scope.operational,
            test_profiles: arguments.scope.test,
            default_smdp: arguments.scope.default_smdp,
        };
        self.change(self.client.reset(name, &request)).await
    }

    async fn profile_command(&self, command: ProfileCommand) -> Result<(), CliError> {
        let name = self.name().await?;
        let client = &self.client;
        match command {
            ProfileCommand::List => {
                let list = client.profile_list(&name).await?;
                self.show(&list, |list, width| render::profiles(&list.profiles, width))?;
                self.note_age(list.problem.as_ref(), list.read_at_s);
                Ok(())
            }
            ProfileCommand::Show { profile } => {
                let profile = self.profile(&name, &profile).await?;
                self.show(&profile, render::profile)
            }
            ProfileCommand::Enable(arguments) => {
                let iccid = self.profile(&name, &arguments.profile).await?.iccid;
                let change = ProfileChange {
                    verify: !arguments.no_verify,
                    confirm: arguments.confirm.map(Confirm::from),
                    deadline_s: arguments.deadline,
                    accept_no_return: arguments.accept_no_return,
                    ..ProfileChange::to(ProfileState::Enabled)
                };
                self.change(client.change_profile(&name, &iccid, &change))
                    .await
            }
            ProfileCommand::Disable { profile, force } => {
                let iccid = self.profile(&name, &profile).await?.iccid;
                self.change(client.disable(&name, &iccid, force)).await
            }
            ProfileCommand::Rename { profile, nickname } => {
                let profile = self.profile(&name, &profile).await?;
                self.rename(&name, &profile, &nickname).await
            }
            ProfileCommand::Delete {
                profile,
                force,
                yes,
            } => {
                let profile = self.profile(&name, &profile).await?;
                let title = printable(render::title(&profile));
                confirmed(
                    yes,
                    &format!("Delete {title} ({}) for ever?", profile.iccid),
                )
                .await?;
                self.change(client.delete(&name, &profile.iccid, force))
                    .await
            }
        }
    }

    /// Says that a list is not of now, when the card cannot be read.
    fn note_age(&self, problem: Option<&Problem>, read_at_s: Option<u64>) {
        let (Some(problem), Some(read_at_s), false) = (problem, read_at_s, self.json) else {
            return;
        };
        let age = time::since(read_at_s, Timestamp::now());
        let detail = printable(&problem.detail);
        let note = format!("Note: This is {age} old; the card cannot be read now. {detail}\n");
        // Without standard error the list has to do.
        let _ = stderr().write_all(note.as_bytes());
    }

    async fn rename(&self, euicc: &str, profile: &Profile, nickname: &str) -> Result<(), CliError> {
        let renamed = self.client.rename(euicc, &profile.iccid, nickname);
        let ended = self.carry_out(renamed).await?;
        if self.json || !nickname.is_empty() || ended.problem.is_some() {
            return self.tell(ended);
        }
        let (name, iccid) = (&profile.name, &profile.iccid);
        let text = match &profile.nickname {
            Some(nickname) => format!("The nickname {nickname} of {name} ({iccid}) is removed."),
            None => format!("{name} ({iccid}) has no nickname."),
        };
        self.print(&format!("{}\n", printable(&text)))
    }

    async fn notification_command(&self, command: NotificationCommand) -> Result<(), CliError> {
        let name = self.name().await?;
        match command {
            NotificationCommand::List => {
                let list = self.client.notification_list(&name).await?;
                self.show(&list, |list, width| {
                    render::notifications(&list.notifications, width)
                })?;
                self.note_age(list.problem.as_ref(), list.read_at_s);
                Ok(())
            }
            NotificationCommand::Show { number } => {
                let one = self.client.notification(&name, number).await?;
                self.show(&one, render::notification)
            }
            NotificationCommand::Deliver { number: None } => {
                self.change(self.client.deliver_notifications(&name)).await
            }
            NotificationCommand::Deliver {
                number: Some(number),
            } => {
                self.change(self.client.deliver_notification(&name, number))
                    .await
            }
            NotificationCommand::Remove { number, force } => {
                self.change(self.client.remove_notification(&name, number, force))
                    .await
            }
        }
    }

    async fn operation_command(&self, command: OperationCommand) -> Result<(), CliError> {
        match command {
            OperationCommand::List(wanted) => {
                self.check_chosen().await?;
                let filter = OperationFilter {
                    state: wanted.state,
                    kind: wanted.kind,
                    euicc: self.euicc.clone(),
                    since_s: wanted.since,
                };
                let operations = self.client.operations_of(&filter).await?;
                let list = OperationList { operations };
                self.show(&list, |list, width| {
                    render::operations(&list.operations, width)
                })
            }
            OperationCommand::Show { id } => {
                self.check_chosen().await?;
                let operation = self.client.operation(id, 0).await?;
                self.show(&operation, render::operation)
            }
            OperationCommand::Wait { id } => self.change(self.client.operation(id, 0)).await,
            OperationCommand::Answer {
                id,
                answer,
                confirmation_code_file,
            } => {
                let file = confirmation_code_file.as_deref();
                let answer = Answer {
                    answer: answer.into(),
                    confirmation_code: download::read_confirmation_code(file).await?,
                };
                self.change(self.client.answer(id, &answer)).await
            }
            OperationCommand::Cancel { id } => self.cancel(id).await,
            OperationCommand::Confirm { id } => {
                self.change(self.client.decide(id, Verdict::Confirm)).await
            }
            OperationCommand::Revert { id } => {
                self.change(self.client.decide(id, Verdict::Revert)).await
            }
        }
    }

    async fn cancel(&self, id: OperationId) -> Result<(), CliError> {
        self.client.cancel(id).await?;
        let ended = self.client.wait(id).await?;
        self.show(&ended, |ended, _| {
            format!("Operation {id} is {}.\n", ended.state.name())
        })
    }

    /// What is not about one eUICC takes no wrong name of one either.
    async fn check_chosen(&self) -> Result<(), CliError> {
        if self.euicc.is_some() {
            self.chosen(self.client.euiccs().await?)?;
        }
        Ok(())
    }

    async fn events(&self, after: Option<u64>) -> Result<(), CliError> {
        self.check_chosen().await?;
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

    /// Asks for a change, shows it until it has ended, and its outcome.
    async fn change(
        &self,
        asked: impl Future<Output = Result<Operation, ClientError>>,
    ) -> Result<(), CliError> {
        let ended = self.carry_out(asked).await?;
        self.tell(ended)
    }

    /// Asks for a change and shows it until it has ended. The events are followed before it is
    /// asked for; that they cannot be is no reason not to.
    async fn carry_out(
        &self,
        asked: impl Future<Output = Result<Operation, ClientError>>,
    ) -> Result<Operation, CliError> {
        let news = self.news().await;
        let operation = asked.await?;
        self.watch(operation, news, async |_| Ok(())).await
    }

    /// The events, unless they cannot be followed.
    async fn news(&self) -> Option<EventReader> {
        self.client.events(None).await.ok()
    }

    /// Shows an operation until it has ended; calls `asked` once it waits for an answer.
    async fn watch(
        &self,
        mut operation: Operation,
        mut news: Option<EventReader>,
        asked: impl AsyncFn(&Operation) -> Result<(), CliError>,
    ) -> Result<Operation, CliError> {
        let mut line =
            ProgressLine::new(ProgressDrawTarget::stderr(), Width::of(stderr()), stderr());
        // The events still tell of the offer when its state was read before them.
        let mut has_asked = false;
        let mut told_of = None;
        loop {
            if operation.state.is_final() {
                line.clear();
                return Ok(operation);
            }
            if line.is_live() || !self.json {
                line.show(&operation);
            }
            if operation.state == State::Queued
                && let Some(ahead) = self.asking_ahead_of(&operation).await
                && told_of.replace(ahead.id) != Some(ahead.id)
            {
                line.clear();
                let _ = stderr().write_all(render::asking(&ahead, Timestamp::now()).as_bytes());
            }
            if operation.offer.is_some() && !has_asked {
                has_asked = true;
                line.clear();
                asked(&operation).await?;
            }
            operation = self.next(operation, &mut news).await?;
        }
    }

    /// The operation that is in the way because it waits for an answer.
    async fn asking_ahead_of(&self, queued: &Operation) -> Option<Operation> {
        // This is only for people's information.
        let asking = self
            .client
            .operations_of(&OperationFilter {
                state: Some(State::AwaitingAnswer),
                ..OperationFilter::default()
            })
            .await
            .ok()?;
        let is_ahead = |asking: &Operation| asking.euicc == queued.euicc && asking.id < queued.id;
        asking.into_iter().find(is_ahead)
    }

    /// The operation after something happened: from the events, or else by asking again.
    async fn next(
        &self,
        operation: Operation,
        news: &mut Option<EventReader>,
    ) -> Result<Operation, CliError> {
        let id = operation.id;
        while let Some(events) = news {
            let Ok(Some(event)) = events.next().await else {
                // They end with the daemon: whether it has ended shows below.
                *news = None;
                break;
            };
            match event.kind {
                EventKind::Operation if event.data["id"] == id.to_string() => {
                    let parsed = serde_json::from_value(event.data);
                    return Ok(parsed.map_err(|error| ClientError::Garbled(error.to_string()))?);
                }
                EventKind::Operation if event.data["state"] == State::AwaitingAnswer.name() => {
                    return Ok(operation);
                }
                EventKind::Missed => return Ok(self.client.operation(id, 0).await?),
                EventKind::Operation | EventKind::Euicc | EventKind::Alarm => {}
            }
        }
        if operation.offer.is_some() {
            // A question answers a wait at once.
            sleep(Duration::from_secs(POLL_S)).await;
        }
        match self.client.operation_or_later(id, POLL_S).await {
            Err(ClientError::Unreachable { .. } | ClientError::Connection(_)) => {
                Err(CliError::Left(id))
            }
            operation => Ok(operation?),
        }
    }

    fn tell(&self, ended: Operation) -> Result<(), CliError> {
        match (self.json, ended.problem.clone()) {
            (true, problem) => {
                let shown = self.print_json(&ended);
                // Why it failed matters more than that it cannot be shown.
                problem.map_or(shown, |problem| Err(CliError::Ended(Box::new(problem))))
            }
            (false, Some(problem)) => Err(CliError::Ended(Box::new(problem))),
            (false, None) => self.print(&render::outcome(&ended, Width::of(stdout()))),
        }?;
        match ended.result.is_some_and(|done| done.nothing_to_download) {
            true => Err(CliError::NothingToDownload),
            false => Ok(()),
        }
    }

    /// The eUICC to use: the one named, the only one, or the one called `default`.
    async fn name(&self) -> Result<String, CliError> {
        let euiccs = self.chosen(self.client.euiccs().await?)?;
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
        // No meaning goes before another: what is deleted must not depend on which one was meant.
        let is_meant = |profile: &&Profile| {
            profile.iccid == without_padding(wanted)
                || profile.nickname.as_deref() == Some(wanted)
                || profile.name == wanted
        };
        let found: Vec<&Profile> = profiles.iter().filter(is_meant).collect();
        match found[..] {
            [profile] => Ok(profile.clone()),
            [] => Err(CliError::Usage(format!(
                "No profile is called \"{wanted}\"; `lpactl profile list` shows them"
            ))),
            _ => Err(CliError::Usage(format!(
                "Several profiles are called \"{wanted}\"; use the ICCID"
            ))),
        }
    }

    /// Prints what the daemon answered: as it is, or as people read it.
    fn show<T: Serialize>(
        &self,
        answer: &T,
        text: impl FnOnce(&T, Width) -> String,
    ) -> Result<(), CliError> {
        match self.json {
            true => self.print_json(answer),
            false => self.print(&text(answer, Width::of(stdout()))),
        }
    }

    fn print_json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value);
        let text = text.map_err(|error| CliError::Output(error.into()))?;
        self.print(&(text + "\n"))
    }

    fn print(&self, text: &str) -> Result<(), CliError> {
        let mut out = stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(CliError::Output)
    }
}

/// What is asked before it is erased.
fn reset_question(euicc: &str, scope: &ResetScopeArguments) -> String {
    let parts = [
        (scope.operational, "all operational profiles"),
        (
            scope.test,
            "all test profiles that were loaded in the field",
        ),
        (scope.default_smdp, "the default SM-DP+ address"),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter_map(|(chosen, part)| chosen.then_some(part))
        .collect();
    let parts = parts.join(" and ");
    format!(
        "Erase {parts} on the eUICC \"{}\" for ever?",
        printable(euicc)
    )
}

/// An ICCID without the F that fills its last octet and is printed on some cards.
fn without_padding(iccid: &str) -> &str {
    match iccid.strip_suffix(['F', 'f']) {
        Some(digits) if digits.len() == 19 && digits.bytes().all(|b| b.is_ascii_digit()) => digits,
        _ => iccid,
    }
}

async fn confirmed(yes: bool, question: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !prompt::is_interactive() {
        return Err(CliError::Usage(
            "This cannot be undone: add --yes to confirm".to_owned(),
        ));
    }
    match prompt::confirm(question).await? {
        true => Ok(()),
        false => Err(CliError::NotConfirmed),
    }
}

/// How long `status` looks at a card that can be used: a reading takes less than a second of it.
const LOOK_S: u64 = 2;
/// How long one `?wait=` lasts where the events cannot be followed.
const POLL_S: u64 = 2;
const DEFAULT_SOCKET: &str = "/run/lpad/lpad.sock";
/// What to do when what waits on the socket is not taken.
const SILENT: &str = "systemd may hold the socket while the daemon does not start, or the daemon hangs. \
    Look at journalctl -u lpad -n 20 and sudo lpad --check.";

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use clap::Parser;
    use tokio::time::Instant;

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
            (CliError::NothingToDownload, 6),
            (ended(Code::NothingToDownload), 6),
            (CliError::NotReady("default is starting".into()), 7),
            (CliError::Unwell(2), 7),
            (CliError::Output(io::ErrorKind::StorageFull.into()), 8),
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

    #[test]
    fn what_cannot_be_reached_is_named_without_control_characters_and_numbers() {
        let error = CliError::Client(ClientError::Unreachable {
            socket: "\x1b[2Jsocket".into(),
            source: io::Error::from_raw_os_error(111),
        });
        assert_eq!(
            error.message(),
            "cannot reach lpad on \\u{1b}[2Jsocket: Connection refused.\n\
             The daemon has stopped. Look at journalctl -u lpad and start it again.\n"
        );
    }

    /// systemd listens, and no daemon accepts.
    #[tokio::test(start_paused = true)]
    async fn a_socket_without_a_daemon_is_told_in_seconds_and_nothing_is_left_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lpad.sock");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let path = path.to_str().unwrap();
        let mut connections = 0;
        for line in [
            "status",
            "download --default --yes",
            "--euicc default euicc set-default-smdp a.example.com",
            "operation cancel 1",
        ] {
            let asked = Instant::now();
            let words = ["lpactl", "--socket", path].into_iter();
            let arguments = Arguments::parse_from(words.chain(line.split(' ')));
            let lpactl = Lpactl {
                client: Client::new(arguments.socket.unwrap()),
                json: false,
                euicc: arguments.euicc,
                program: Program::installed(),
                interruption: closing().1,
            };
            let error = lpactl.command(arguments.command).await.unwrap_err();
            assert_eq!(asked.elapsed().as_secs(), 15, "{line}");
            assert_eq!(error.exit_code(), 3, "{line}");
            let message = error.message();
            assert!(message.starts_with("lpad did not answer within 15 s.\n"));
            assert!(message.contains("sudo lpad --check"), "{message}");
            while let Ok((mut stream, _)) = listener.accept() {
                connections += 1;
                let mut asked = [0; 16];
                stream.read_exact(&mut asked).unwrap();
                assert_eq!(&asked, b"GET /v1/version ");
            }
        }
        assert_eq!(connections, 4);
    }

    #[test]
    fn a_reset_says_what_it_erases() {
        let question = |operational, test, default_smdp| {
            let scope = ResetScopeArguments {
                operational,
                test,
                default_smdp,
            };
            reset_question("default", &scope)
        };
        assert_eq!(
            question(false, false, true),
            "Erase the default SM-DP+ address on the eUICC \"default\" for ever?"
        );
        assert_eq!(
            question(true, true, true),
            "Erase all operational profiles and all test profiles that were loaded in the field and \
             the default SM-DP+ address on the eUICC \"default\" for ever?"
        );
    }

    #[test]
    fn a_name_that_is_no_socket_is_told_apart_from_a_daemon_that_is_not_there() {
        let said = |given: Option<&str>, environment: Option<&str>| {
            let socket = socket(given.map(PathBuf::from), environment.map(OsString::from));
            socket.map_err(|error| (error.exit_code(), error.message()))
        };
        assert_eq!(said(None, None).unwrap(), PathBuf::from(DEFAULT_SOCKET));
        assert!(said(Some("/nowhere/lpad.sock"), Some("")).is_ok());
        for (given, environment, words) in [
            (None, Some(""), "LPAD_SOCKET is empty"),
            (None, Some("/"), "LPAD_SOCKET: / is a file or folder"),
            (Some("/proc/version"), None, "--socket: /proc/version is a"),
            (Some(&"x".repeat(200)), None, "--socket is too long"),
        ] {
            let (code, message) = said(given, environment).unwrap_err();
            assert_eq!(code, 2);
            assert!(message.starts_with(words), "{message}");
        }
    }

    #[test]
    fn the_padding_of_a_printed_iccid_is_passed_over() {
        for (typed, iccid) in [
            ("8901999000000000012F", "8901999000000000012"),
            ("8901999000000000012f", "8901999000000000012"),
            ("89019990000000000012", "89019990000000000012"),
            ("890199900000000001F", "890199900000000001F"),
            ("8901999000000000012FF", "8901999000000000012FF"),
            ("F", "F"),
        ] {
            assert_eq!(without_padding(typed), iccid);
        }
    }
}
