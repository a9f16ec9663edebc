//! The daemon as a whole: what is wired to what, how it starts and how it ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use es9_client::{Es9Client, Options, Restrict, Roots, RootsError, TcpConnect};
use listenfd::ListenFd;
use rustix::process::Signal;
use sd_notify::NotifyState;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{interval, timeout};

use crate::api::actor::Permissions;
use crate::api::{Api, Socket};
use crate::check;
use crate::client::Client;
use crate::config::{Config, ConfigError, EuiccConfig, StateConfig};
use crate::engine::{Context, ENGINE_ENDS, Engine, EngineHandle};
use crate::memory::events::{Change, Events, Follower};
use crate::memory::journal::{Journal, SharedJournal};
use crate::memory::key::Key;
use crate::memory::operations::Operations;
use crate::memory::snapshot::Snapshot;
use crate::memory::state_folder::StateFolder;
use crate::modem::table::Table;
use crate::modem::{OpenPort, SerialPort};
use crate::problem::Problem;
use crate::reach::Reach;
use crate::runtime::clock::Clock;
use crate::runtime::closing::{Closer, closing};
use crate::runtime::interfaces::Interfaces;
use crate::runtime::program;
use crate::runtime::uplink::Uplink;

/// What surrounds the daemon; tests put their own parts in.
#[derive(Debug)]
pub struct Parts<P, C> {
    /// Makes the opener of an eUICC's port.
    pub ports: P,
    /// Opens byte streams to servers.
    pub connect: C,
    /// The network interfaces, for checks over one of them.
    pub interfaces: Interfaces,
    /// Tells when a network has come up.
    pub uplink: Uplink,
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
    /// Runs the program that is told of alarms.
    alarms: JoinSet<()>,
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
        C: Restrict + 'static,
    {
        let Parts {
            mut ports,
            connect,
            interfaces,
            uplink,
            mut roots,
            es9,
            clock,
            listener,
        } = parts;
        if let Some(folder) = &config.trust.extra_roots {
            let count = roots.add_folder(folder)?;
            tracing::info!(count, folder = %folder.display(), "further certificate issuers");
        }
        let modems = Table::of(&config, Path::new("lpad.toml"))?;
        // First of all: the socket tells whether another daemon is at work for the same clients.
        let configured = config.api.socket.clone();
        let socket = listener.as_ref().and_then(path_of).unwrap_or(configured);
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
        journal.keep(config.state.history(), clock.unix_seconds());
        let start = journal.count_start();
        let journal = SharedJournal::new(journal);
        let events = Events::of_start(start);
        let operations = Operations::new(
            events.clone(),
            clock.clone(),
            journal.clone(),
            Problem::told,
        );
        let options = Options {
            deadlines: config.es9.deadlines(),
            ..es9
        };
        let mut alarms = JoinSet::new();
        if !config.alarm.command.is_empty() {
            alarms.spawn(tell_alarms(
                config.alarm.command.clone(),
                events.follow(None),
            ));
        }
        let modems = Arc::new(modems);
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
                reach: Reach::new(connect.clone(), interfaces.clone()),
                uplink: uplink.clone(),
                modems: modems.clone(),
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
            key,
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
            alarms,
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
        self.alarms.abort_all();
        self.api_closer.close();
        while self.api.join_next().await.is_some() {}
        if self.keeps_socket
            && let Err(error) = fs::remove_file(&self.socket)
        {
            tracing::debug!(%error, "the socket is gone already");
        }
    }
}

/// Runs a program for each alarm, one after the other.
async fn tell_alarms(words: Vec<String>, mut events: Follower) {
    while let Some(event) = events.next().await {
        let alarm = match event.change {
            Change::Alarm(alarm) => alarm,
            Change::Missed { .. } => {
                tracing::warn!("the program for alarms takes long, and may have missed some");
                continue;
            }
            Change::Operation(_) | Change::Euicc(_) => continue,
        };
        // A text and numbers can be written.
        let input = serde_json::to_vec(&alarm).unwrap_or_default();
        let run = program::run(&words, &input, Stdio::inherit(), ALARM).await;
        if let (Err(error), Some(program)) = (run, words.first()) {
            tracing::warn!(%error, program, "the program for alarms fails");
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
    let listener = activated().map_err(DaemonError::Activation)?;
    check::usable(&config, listener.is_none()).map_err(DaemonError::Configuration)?;
    if let Some(path) = listener.as_ref().and_then(path_of) {
        for warning in check::socket_handed_over(&config.api, &path) {
            tracing::warn!("{warning}");
        }
    }
    let modems = Arc::new(Table::of(&config, Path::new("lpad.toml"))?);
    let parts = Parts {
        ports: move |euicc: &EuiccConfig| SerialPort::new(euicc, Arc::clone(&modems)),
        connect: TcpConnect::with_targets(config.es9.targets()),
        interfaces: Interfaces::system(),
        uplink: Uplink::system(),
        roots: Roots::gsma(),
        es9: Options::default(),
        clock: Clock::system(),
        listener,
    };
    let mut daemon = Daemon::start(config, parts)?;
    let (version, socket) = (env!("CARGO_PKG_VERSION"), daemon.socket.display());
    tracing::info!(version, %socket, "lpad is up");
    notify(&[NotifyState::Ready]);
    let mut events = daemon.events();
    // Half the time that systemd waits, as sd_watchdog_enabled(3) recommends. It is this task that
    // answers: the engines and the API share its one thread, so it also speaks for them.
    let pause = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    let mut watchdog = pause.filter(|pause| !pause.is_zero()).map(interval);
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

/// The socket systemd listened on before it started the daemon.
fn activated() -> io::Result<Option<UnixListener>> {
    let Some(listener) = ListenFd::from_env().take_unix_listener(0)? else {
        return Ok(None);
    };
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener).map(Some)
}

/// Where a socket is; one without a file is nowhere.
fn path_of(listener: &UnixListener) -> Option<PathBuf> {
    let address = listener.local_addr().ok()?;
    address.as_pathname().map(PathBuf::from)
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
    /// The configuration names a place that cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The table of modems, or what overrides it, cannot be used.
    #[error(transparent)]
    Modems(#[from] ConfigError),
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

impl DaemonError {
    /// 2 when no start can succeed before somebody has put the configuration right, 1 when a later one
    /// might: a folder may be on a medium that is not mounted yet.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_)
            | Self::Modems(ConfigError::Syntax { .. } | ConfigError::Value { .. })
            | Self::Roots(RootsError::Certificate { .. } | RootsError::Pem { .. }) => 2,
            // No regular file, or one that is too large.
            Self::Roots(RootsError::Io { cause, .. })
                if cause.kind() == io::ErrorKind::InvalidData =>
            {
                2
            }
            _ => 1,
        }
    }
}

/// How long the program may take that is told of an alarm.
const ALARM: Duration = Duration::from_secs(30);
