//! A test SM-DS: real TLS, real cryptography, events, and named faults.
//!
//! [`Smds`] is a handle; clones share one server. LPAs ask it over ES11 what waits for their
//! eUICC; SM-DP+s register and delete events over ES12 ([`Es12Client`]), or a test does so with
//! the handle. With a [`Root`] it is an alternative SM-DS: what it is told to forward it registers
//! at the root SM-DS under a new event ID, with its own address.
//!
//! The baseline is SGP.22 v2.5.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::{fmt, io};

use rsp_common::certificate::{Certificate, Role};
use rsp_common::key::PrivateKey;
use rsp_common::pki::{Pki, PkiError};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::sync::watch;

pub use self::events::EventRecord;
use self::events::Events;
pub use self::function::Function;
pub use self::registrar::Es12Client;
use crate::rsp::faults::Faults;
use crate::rsp::session::Sessions;
use crate::rsp::tls;
use crate::smdp::{Calls, EventRegistrar, Fault, FaultPlan, StatusCode};

mod es11;
mod es12;
mod events;
mod function;
mod registrar;
mod server;

/// What a server is made of.
#[derive(Clone)]
pub struct Config {
    /// Its FQDN: the serverAddress it signs and the smdpAddress it accepts.
    pub host_name: String,
    /// Its certificates and keys; those of the CI, DSauth and DStls are needed.
    pub pki: Pki,
    /// The SM-DS to forward events to; with one this is an alternative SM-DS.
    pub root: Option<Root>,
    /// Where events are kept; `None` keeps them in memory.
    pub state_folder: Option<PathBuf>,
    /// The TLS versions to offer.
    pub tls_versions: &'static [&'static SupportedProtocolVersion],
}

/// The root SM-DS, as an alternative one knows it.
#[derive(Clone, Debug)]
pub struct Root {
    /// Its FQDN, with a port if it needs one.
    pub address: String,
    /// The client that speaks with it.
    pub registrar: Arc<dyn EventRegistrar>,
}

impl Config {
    /// A root SM-DS that keeps nothing and offers TLS 1.2 and 1.3.
    pub fn new(host_name: impl Into<String>, pki: Pki) -> Self {
        Self {
            host_name: host_name.into(),
            pki,
            root: None,
            state_folder: None,
            tls_versions: rustls::ALL_VERSIONS,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("host_name", &self.host_name)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// Why a server could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SmdsError {
    /// A certificate or key is missing or cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The saved events cannot be read.
    #[error("{path}: {source}")]
    State {
        /// The folder they are in.
        path: PathBuf,
        /// What is wrong with them.
        source: io::Error,
    },
    /// The TLS certificate and key do not suit TLS.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A test SM-DS; clones are handles of the same server.
#[derive(Clone, Debug)]
pub struct Smds(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    tls: RwLock<Arc<ServerConfig>>,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

/// Everything that changes while the server runs.
#[derive(Debug, Default)]
struct State {
    events: Events,
    sessions: Sessions<()>,
    faults: Faults<Function>,
    requests: [u64; Function::ALL.len()],
}

impl Smds {
    /// Makes a server; it begins to answer with [`Smds::serve`] or [`Smds::serve_stream`].
    ///
    /// # Errors
    ///
    /// When a certificate or key is missing or the saved events cannot be read.
    pub fn new(config: Config) -> Result<Self, SmdsError> {
        let chain = [config.pki.certificate(Role::DsTls)?.clone()];
        let tls = tls::server_config(
            &chain,
            config.pki.key(Role::DsTls)?,
            config.tls_versions,
            &[],
        )?;
        config.pki.certificate(Role::DsAuth)?;
        config.pki.key(Role::DsAuth)?;
        config.pki.certificate(Role::Ci)?;
        let events = match &config.state_folder {
            Some(folder) => Events::load(folder).map_err(|source| SmdsError::State {
                path: folder.clone(),
                source,
            })?,
            None => Events::default(),
        };
        let state = State {
            events,
            ..State::default()
        };
        Ok(Self(Arc::new(Shared {
            config,
            tls: RwLock::new(tls),
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
        })))
    }

    /// What the server was made of.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Registers an event as it is, without telling another SM-DS.
    ///
    /// # Errors
    ///
    /// When the eUICC has an event of this ID already, or there are too many.
    pub fn register_event(&self, event: EventRecord) -> Result<(), StatusCode> {
        self.update(|state| state.events.register(event))
    }

    /// Deletes an event here, without telling another SM-DS; gives it if there was one.
    pub fn delete_event(&self, eid: &str, event_id: &str) -> Option<EventRecord> {
        self.update(|state| state.events.delete(eid, event_id))
    }

    /// All events registered, the oldest first.
    pub fn events(&self) -> Vec<EventRecord> {
        self.state().events.all().to_vec()
    }

    /// How often a function was called, faulty calls included.
    pub fn requests(&self, function: Function) -> u64 {
        self.state().requests[function as usize]
    }

    /// Plans a fault.
    pub fn set_fault(&self, function: Function, calls: Calls, fault: Fault) {
        self.update(|state| state.faults.plan(function, calls, fault));
    }

    /// Plans a fault as it was written down.
    pub fn plan(&self, plan: FaultPlan<Function>) {
        self.set_fault(plan.function, plan.calls, plan.fault);
    }

    /// Forgets all faults planned.
    pub fn clear_faults(&self) {
        self.update(|state| state.faults.clear());
    }

    /// Presents another TLS certificate from the next connection on, the leaf first.
    ///
    /// # Errors
    ///
    /// When the key cannot be used for TLS.
    pub fn set_tls(&self, chain: &[Certificate], key: &PrivateKey) -> Result<(), SmdsError> {
        let tls = tls::server_config(chain, key, self.config().tls_versions, &[])?;
        *self.0.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        Ok(())
    }

    /// Waits until the condition holds; the caller sets the deadline.
    pub async fn wait_until(&self, mut condition: impl FnMut(&Self) -> bool) {
        let mut changes = self.0.changes.subscribe();
        while !condition(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves single values behind, none of them half written.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The only way to change anything: the copy on disk follows.
    fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        if let Some(folder) = &self.config().state_folder
            && let Err(error) = state.events.save(folder)
        {
            tracing::error!(%error, folder = %folder.display(), "events could not be saved");
        }
        drop(state);
        self.0.changes.send_modify(|count| *count += 1);
        result
    }
}

#[cfg(test)]
mod tests;
