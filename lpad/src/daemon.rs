//! The daemon as a whole: what is wired to what, how it starts and how it ends.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use es9_client::{Connect, Deadlines, Es9Client, Options, Roots, RootsError, TcpConnect};
use listenfd::ListenFd;
use rustix::fs::{major, minor};
use rustix::process::Signal;
use sd_notify::NotifyState;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{interval, timeout};

use crate::api::actor::{Accounts, Permissions};
use crate::api::{Api, Socket};
use crate::client::Client;
use crate::config::{ApiConfig, Config, ConfigError, Es9Config, EuiccConfig, StateConfig};
use crate::engine::{Context, ENGINE_ENDS, Engine, EngineHandle};
use crate::files::{other_kind, read_code};
use crate::memory::events::{Change, Events, Follower};
use crate::memory::journal::{Journal, SharedJournal};
use crate::memory::key::Key;
use crate::memory::operations::Operations;
use crate::memory::snapshot::Snapshot;
use crate::memory::state_folder::StateFolder;
use crate::modem::{OpenPort, SerialPort};
use crate::runtime::clock::Clock;
use crate::runtime::closing::{Closer, closing};

/// What surrounds the daemon; tests put their own parts in.
#[derive(Debug)]
pub struct Parts<P, C> {
    /// Makes the opener of an eUICC's port.
    pub ports: P,
    /// Opens byte streams to servers.
    pub connect: C,
    /// Certificate issuers that are trusted; `[trust] extra_roots` come on top.
    pub roots: Roots,
    /// How servers are called; the deadlines are those of the configuration.
    pub es9: Options,
    /// The time of day.
    pub clock: Clock,
    /// The API's socket, when another process made it and keeps it; `None` makes the configured one.
    pub listener: Option<UnixListener>,
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    socket: PathBuf,
    /// Whether the socket is the daemon's own, to be removed in the end.
    keeps_socket: bool,
    engines: JoinSet<()>,
    engines_closer: Closer,
    api: JoinSet<()>,
    api_closer: Closer,
    operations: Operations,
    journal: SharedJournal,
    events: Events,
    handles: BTreeMap<String, EngineHandle>,
    /// Held until the end.
    _state: StateFolder,
}

impl Daemon {
    /// Opens the journal and the socket and starts an engine for each eUICC. Ports are opened by
    /// the engines afterwards, as often as it takes.
    ///
    /// Must be called inside a tokio runtime.
    pub fn start<P, O, C>(config: Config, parts: Parts<P, C>) -> Result<Self, DaemonError>
    where
        P: FnMut(&EuiccConfig) -> O,
        O: OpenPort,
        C: Connect + Clone + 'static,
    {
        let Parts {
            mut ports,
            connect,
            mut roots,
            es9,
            clock,
            listener,
        } = parts;
        if let Some(folder) = &config.trust.extra_roots {
            let count = roots.add_folder(folder)?;
            tracing::info!(count, folder = %folder.display(), "further certificate issuers");
        }
        // First of all: the socket tells whether another daemon is at work for the same clients.
        let socket = config.api.socket.clone();
        let keeps_socket = listener.is_none();
        let listener = match listener {
            Some(listener) => Socket::handed_over(listener),
            None => Socket::bind(&config.api).map_err(|source| DaemonError::Socket {
                path: socket.clone(),
                source,
            })?,
        };
        let (state, mut journal) = open_state(&config.state).inspect_err(|_| {
            if keeps_socket {
                // Made just now; the error to be told is the other one.
                let _ = fs::remove_file(&socket);
            }
        })?;
        let key = Key::of(&state);
        let start = journal.count_start();
        let journal = SharedJournal::new(journal);
        let events = Events::of_start(start);
        let operations = Operations::new(events.clone(), clock.clone(), journal.clone());
        let options = Options {
            deadlines: deadlines(&config.es9),
            ..es9
        };
        let (engines_closer, engines_closing) = closing();
        let mut engines = JoinSet::new();
        let mut handles = BTreeMap::new();
        for euicc in &config.euiccs {
            // A client each: a server that one eUICC waits for must not delay another one, and the
            // end of a job closes no connection but its own.
            let server = Es9Client::new(connect.clone(), roots.clone(), options.clone());
            let context = Context {
                config: euicc.clone(),
                server: Arc::new(server),
                journal: journal.clone(),
                key: key.clone(),
                operations: operations.clone(),
                events: events.clone(),
                clock: clock.clone(),
                snapshot: watch::Sender::new(Snapshot::default()),
            };
            let (engine, handle) = Engine::new(ports(euicc), context);
            engines.spawn(engine.run(engines_closing.clone()));
            handles.insert(euicc.name.clone(), handle);
        }
        let api = Api {
            engines: handles.clone(),
            operations: operations.clone(),
            journal: journal.clone(),
            events: events.clone(),
            permissions: Permissions::new(&config.api),
            max_connections: config.api.max_connections,
        };
        let (api_closer, api_closing) = closing();
        let mut serving = JoinSet::new();
        serving.spawn(api.serve(listener, api_closing));
        Ok(Self {
            socket,
            keeps_socket,
            engines,
            engines_closer,
            api: serving,
            api_closer,
            operations,
            journal,
            events,
            handles,
            _state: state,
        })
    }

    /// A client of this daemon.
    pub fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    /// The engine of an eUICC.
    pub fn engine(&self, name: &str) -> Option<&EngineHandle> {
        self.handles.get(name)
    }

    /// Follows what happens from now on.
    pub fn events(&self) -> Follower {
        self.events.follow(None)
    }

    /// Resolves when a part has failed that should run as long as the daemon, which is a mistake in
    /// lpad. The rest would go on and tell of a card that is not looked after any more.
    pub async fn failed(&mut self) -> DaemonError {
        let ended = tokio::select! {
            Some(ended) = self.engines.join_next() => ended,
            Some(ended) = self.api.join_next() => ended,
            else => return std::future::pending().await,
        };
        DaemonError::Failed(ended.err())
    }

    /// Ends the daemon: operations are cancelled where they still can be, channels and ports are
    /// closed, clients get their last answers. Takes less than a minute, and 150 s at most while a package
    /// is loaded.
    ///
    /// # Cancel safety
    /// Dropping the future ends everything at once; the journal knows what was under way.
    pub async fn shutdown(mut self) {
        // The engines first, the API last: clients that wait are told how their operations ended.
        self.operations.end_all();
        self.engines_closer.close();
        let ended = async { while self.engines.join_next().await.is_some() {} };
        if timeout(ENGINE_ENDS, ended).await.is_err() {
            tracing::warn!("an eUICC's engine does not end in time; lpad ends without it");
        }
        self.journal.make_up();
        self.api_closer.close();
        while self.api.join_next().await.is_some() {}
        if self.keeps_socket
            && let Err(error) = fs::remove_file(&self.socket)
        {
            tracing::debug!(%error, "the socket is gone already");
        }
    }
}

fn open_state(config: &StateConfig) -> Result<(StateFolder, Journal), DaemonError> {
    let path = &config.directory;
    let opened = StateFolder::hold(path).and_then(|folder| {
        let journal = Journal::open(&folder)?;
        Ok((folder, journal))
    });
    opened.map_err(|source| DaemonError::State {
        path: path.clone(),
        source,
    })
}

fn deadlines(config: &Es9Config) -> Deadlines {
    Deadlines {
        connect: config.connect_timeout(),
        response: config.response_timeout(),
        notification: config.notification_timeout(),
    }
}

/// Runs the daemon on real ports and the real network until it is told to end.
///
/// SIGTERM and SIGINT end it; SIGHUP does nothing, because the configuration is read only at start.
pub async fn run(config: Config) -> Result<(), DaemonError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signals)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(DaemonError::Signals)?;
    // With a handler, SIGXFSZ does not end the process: writing to a file that may not grow any more
    // is an error that is reported like a full medium.
    let too_large = SignalKind::from_raw(Signal::XFSZ.as_raw());
    let _ignored = signal(too_large).map_err(DaemonError::Signals)?;
    let targets = config.es9.connect_to.iter();
    let targets = targets.map(|(host, target)| (host.clone(), target.to_string()));
    let parts = Parts {
        ports: SerialPort::new,
        connect: TcpConnect::with_targets(targets),
        roots: Roots::gsma(),
        es9: Options::default(),
        clock: Clock::system(),
        listener: activated().map_err(DaemonError::Activation)?,
    };
    if let Some(unknown) = unknown_group(&config) {
        tracing::warn!("{unknown}");
    }
    let socket = config.api.socket.clone();
    let mut daemon = Daemon::start(config, parts)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), socket = %socket.display(), "lpad is up");
    notify(&[NotifyState::Ready]);
    let mut events = daemon.events();
    // Half the time that systemd waits, as sd_watchdog_enabled(3) recommends. It is this task that
    // answers: the engines and the API share its one thread, so it also speaks for them.
    let mut watchdog = sd_notify::watchdog_enabled().map(|limit| interval(limit / 2));
    let outcome = loop {
        let patted = async {
            match &mut watchdog {
                Some(watchdog) => watchdog.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = patted => notify(&[NotifyState::Watchdog]),
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            // The process ends, so that systemd starts it again.
            error = daemon.failed() => break Err(error),
            _ = hang_up.recv() => tracing::info!("restart lpad to read its configuration again"),
            Some(event) = events.next() => {
                if let Change::Euicc(euicc) = event.change {
                    let status = format!("{}: {}", euicc.name, euicc.state.availability().name());
                    notify(&[NotifyState::Status(&status)]);
                }
            }
        }
    };
    notify(&[NotifyState::Stopping]);
    tracing::info!("lpad ends");
    daemon.shutdown().await;
    outcome
}

/// Looks for what a configuration names outside its file: the groups, the folder of certificate issuers,
/// the ports and the files with codes. `path` is for messages only.
pub fn check(config: &Config, path: &Path) -> Result<(), ConfigError> {
    let unusable = |message| ConfigError::Value {
        path: path.to_owned(),
        message,
    };
    unknown_group(config).map_or(Ok(()), |message| Err(unusable(message)))?;
    if let Some(folder) = &config.trust.extra_roots {
        let found = Roots::empty().add_folder(folder);
        found.map_err(|error| unusable(DaemonError::from(error).to_string()))?;
    }
    let mut euiccs = config.euiccs.iter();
    let wrong = euiccs.find_map(|euicc| no_port(euicc).or_else(|| unusable_code(euicc)));
    wrong.map_or(Ok(()), |message| Err(unusable(message)))
}

/// What works but lets every user of this system do harm: change the configuration at `path` or the
/// certificate issuers, or read a code.
pub fn unwise(config: &Config, path: &Path) -> Vec<String> {
    let mode = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o7777);
    let mut warnings = Vec::new();
    for path in [Some(path), config.trust.extra_roots.as_deref()] {
        let Some(path) = path.filter(|path| mode(path) & 0o002 != 0) else {
            continue;
        };
        let (path, mode) = (path.display(), mode(path));
        warnings.push(format!(
            "{path}: every user may change it (mode {mode:04o}); chmod o-w it"
        ));
    }
    for (key, path) in config.euiccs.iter().flat_map(code_files) {
        let mode = mode(path);
        if mode & 0o006 != 0 {
            let path = path.display();
            warnings.push(format!(
                "{key}: {path}: every user may read or change it (mode {mode:04o}); chmod o-rw it"
            ));
        }
    }
    warnings
}

/// What is in a port's place and is no port. A modem that is not there may be plugged in later.
fn no_port(euicc: &EuiccConfig) -> Option<String> {
    let metadata = fs::metadata(&euicc.port).ok()?;
    let kind = metadata.file_type();
    let what = match kind.is_char_device() {
        // Opening a port has effects on it, so that the kernel is asked what it is. It says nothing of
        // pseudo terminals.
        true => {
            let (major, minor) = (major(metadata.rdev()), minor(metadata.rdev()));
            let subsystem = format!("/sys/dev/char/{major}:{minor}/subsystem");
            let subsystem = fs::read_link(subsystem).ok()?;
            let is_port = ["tty", "wwan"]
                .map(OsStr::new)
                .contains(&subsystem.file_name()?);
            (!is_port).then_some("another device")?
        }
        false => other_kind(kind).unwrap_or("a file"),
    };
    let (name, port) = (&euicc.name, euicc.port.display());
    Some(format!(
        "[[euicc]] \"{name}\": port: {port} is {what}, not a serial port"
    ))
}

/// A file that is there and holds no code. One that is not there may appear later, and one that may not
/// be read here may well be read by the daemon.
fn unusable_code(euicc: &EuiccConfig) -> Option<String> {
    code_files(euicc).find_map(|(key, path)| {
        let error = read_code(path).err()?;
        if [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied].contains(&error.kind()) {
            return None;
        }
        Some(format!("{key}: {}: {error}", path.display()))
    })
}

/// The files with codes, each with its place in the configuration.
fn code_files(euicc: &EuiccConfig) -> impl Iterator<Item = (String, &Path)> {
    let bootstrap = &euicc.bootstrap;
    let files = [
        ("activation_code_file", &bootstrap.activation_code_file),
        ("confirmation_code_file", &bootstrap.confirmation_code_file),
    ];
    let name = &euicc.name;
    files.into_iter().filter_map(move |(key, path)| {
        let key = format!("[[euicc]] \"{name}\": bootstrap {key}");
        Some((key, path.as_deref()?))
    })
}

/// The group that is configured and does not exist. The admin group of the default need not exist:
/// without it root and the daemon's own user are the admins.
fn unknown_group(config: &Config) -> Option<String> {
    let accounts = Accounts::read();
    let admins = &config.api.admin_group;
    let admins = Some(admins).filter(|name| **name != ApiConfig::default().admin_group);
    let groups = [
        ("admin_group", admins),
        ("reader_group", config.api.reader_group.as_ref()),
    ];
    groups.into_iter().find_map(|(key, name)| {
        let name = name.filter(|name| accounts.group_id(name).is_none())?;
        Some(format!("[api] {key}: there is no group \"{name}\""))
    })
}

/// The socket systemd listened on before it started the daemon.
fn activated() -> io::Result<Option<UnixListener>> {
    let Some(listener) = ListenFd::from_env().take_unix_listener(0)? else {
        return Ok(None);
    };
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener).map(Some)
}

/// Tells systemd, when it started the daemon.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

/// Why the daemon does not start, or ends without being told to.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A part of it has failed.
    #[error("a part of lpad has failed: {}", .0.as_ref().map_or_else(|| "it ended".to_owned(), JoinError::to_string))]
    Failed(Option<JoinError>),
    /// The socket systemd handed over cannot be used.
    #[error("the socket handed over at start: {0}")]
    Activation(io::Error),
    /// A certificate issuer cannot be used.
    #[error("[trust] extra_roots: {0}")]
    Roots(#[from] RootsError),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
    /// The socket cannot be made.
    #[error("[api] socket {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state folder cannot be used.
    #[error("[state] directory {}: {source}", path.display())]
    State {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What `lpad --help` prints.
pub const HELP: &str = "\
Local Profile Assistant: downloads and switches the eSIM profiles of this gateway

Usage: lpad [OPTIONS]

Options:
      --config <FILE>   The configuration file [default: /etc/lpad/lpad.toml]
      --check           Check the configuration and exit
      --example-config  Print a configuration: every key with its default and its meaning
  -h, --help            Print help
  -V, --version         Print version
";
