//! A test SM-DP+: real TLS, real cryptography, orders, sessions, reservations, and named faults.
//!
//! [`Smdp`] is a handle; clones share one server. It can listen on sockets ([`Smdp::serve`]) or
//! answer on a single in-memory stream ([`Smdp::serve_stream`]), so that the same download runs
//! with and without a network.
//!
//! The baseline is SGP.22 v2.5.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, io};

use hyper::Uri;
use rsp_common::certificate::Certificate;
use rsp_common::key::PrivateKey;
use rsp_common::pki::{Pki, PkiError};
use rustls::SupportedProtocolVersion;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::rsp::tls::{self, Endpoint};

mod admin;
mod bpp;
mod callback;
mod config_file;
mod control;
mod date;
mod eligibility;
mod es2;
mod es9;
mod folder;
mod notification;
mod operator;
mod order;
mod order_settings;
mod request_log;
mod reservation;
mod server;
mod sims;
mod store;
#[cfg(test)]
mod testing;

pub use self::bpp::{Binding, BindingRequest, MetadataField, PackageFault, Piece, Tag, TagPair};
use self::callback::Courier;
pub use self::callback::{Callback, CallbackMethod};
pub use self::config_file::{ConfigFile, ConfigFileError};
pub use self::es2::{Event, EventError, EventRegistrar, Registration, StockedProfile};
pub use self::es9::Function;
pub use self::folder::FolderError;
use self::folder::{Folder, Found};
pub use self::notification::{ReceivedNotification, Sequence, Verdict};
pub use self::order::{Failure, Order, OrderId, OrderRequest, OrderState};
pub use self::order_settings::{OrderSettings, OrderSettingsError};
pub use self::request_log::ReceivedRequest;
use self::reservation::Context;
pub use self::reservation::{
    Reservation, ReservationFault, ReservationFaultPlan, ReservationRequest, ReservationStatus,
    UnknownReservationFault,
};
pub use self::sims::{Fleet, Sim, SimStatus};
pub use self::store::Counters;
use self::store::State;
pub use crate::rsp::faults::{Calls, Fault, FaultPlan, NamedText};
pub use crate::rsp::names::{NameError, Named};
pub use crate::rsp::server::DirectRequest;
pub use crate::rsp::status::{Code, NotAStatusCode, StatusCode};
pub use crate::rsp::tls::{TlsChoice, TlsError};

/// What a server is made of.
#[derive(Clone)]
pub struct Config {
    /// Its FQDN: the serverAddress it signs and the smdpAddress it accepts.
    pub host_name: String,
    /// Its certificates and keys; those of the CI, DPauth, DPpb and DPtls are needed.
    pub pki: Pki,
    /// The user of the reservation API.
    pub account_sid: String,
    /// The password of the reservation API.
    pub auth_token: String,
    /// An OAuth2 token the reservation API accepts instead of user and password.
    pub bearer_token: Option<String>,
    /// How long a reservation stays `new`, and then `reserving`, and a Sim `scheduled`.
    pub reservation_step: Duration,
    /// Whether the reservation API gives smdp_plus_address as an `https` URL, as its type allows,
    /// and not as a host name.
    pub address_as_url: bool,
    /// How large the packages of reserved profiles are, in octets.
    pub reserved_profile_size: usize,
    /// Where orders and reservations are kept; `None` keeps them in memory.
    pub state_folder: Option<PathBuf>,
    /// Whether an eUICC without the memory or the services for a profile is refused.
    pub check_eligibility: bool,
    /// Tells when orders expire and what dates resources and reports carry.
    pub clock: Clock,
    /// Tells an SM-DS of the orders that name one; without it none can be reached.
    pub event_registrar: Option<Arc<dyn EventRegistrar>>,
    /// Issuers of the certificates that callers of ES2+ over TLS must show; an empty list leaves the
    /// functions open to every caller. The plain port is always open.
    pub es2_client_roots: Vec<Certificate>,
    /// The operator: where ES2+.HandleDownloadProgressInfo goes, `http` or `https`; a path of its
    /// own stands before the function's. `None` reports nothing.
    pub operator_url: Option<Uri>,
    /// Whose certificates callbacks and reports over `https` accept, besides the PKI's CI.
    pub callback_roots: Vec<Certificate>,
    /// How long a callback or report that failed waits before it is tried again; the third try is
    /// the last one and waits four times as long.
    pub callback_pause: Duration,
    /// The TLS versions to offer.
    pub tls_versions: &'static [&'static SupportedProtocolVersion],
    /// What is presented where TLS is expected.
    pub tls: TlsChoice,
}

impl Config {
    /// A server that keeps nothing and offers TLS 1.2 and 1.3.
    pub fn new(host_name: impl Into<String>, pki: Pki) -> Self {
        Self {
            host_name: host_name.into(),
            pki,
            account_sid: "AC00000000000000000000000000000001".to_owned(),
            auth_token: "test-token".to_owned(),
            bearer_token: None,
            reservation_step: Duration::from_millis(300),
            address_as_url: false,
            reserved_profile_size: 3000,
            state_folder: None,
            check_eligibility: true,
            clock: Clock::system(),
            event_registrar: None,
            es2_client_roots: Vec::new(),
            operator_url: None,
            callback_roots: Vec::new(),
            callback_pause: Duration::from_secs(1),
            tls_versions: rustls::ALL_VERSIONS,
            tls: TlsChoice::Right,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("host_name", &self.host_name)
            .finish_non_exhaustive()
    }
}

/// Why a server could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SmdpError {
    /// A certificate or key is missing or cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The saved orders cannot be read.
    #[error("{path}: {source}")]
    State {
        /// The folder they are in.
        path: PathBuf,
        /// What is wrong with them.
        source: io::Error,
    },
    /// TLS cannot be offered as it shall.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A test SM-DP+; clones are handles of the same server.
#[derive(Clone, Debug)]
pub struct Smdp(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    tls: RwLock<(TlsChoice, Endpoint)>,
    state: Mutex<State>,
    folder: Mutex<Option<Folder>>,
    courier: Courier,
    changes: watch::Sender<u64>,
}

impl Smdp {
    /// Makes a server; it begins to answer with [`Smdp::serve`] or [`Smdp::serve_stream`].
    ///
    /// # Errors
    ///
    /// When a certificate or key is missing or the saved orders cannot be read.
    pub fn new(config: Config) -> Result<Self, SmdpError> {
        use rsp_common::certificate::Role;
        let tls = endpoint(&config.tls, &config)?;
        for role in [Role::DpAuth, Role::DpPb] {
            config.pki.certificate(role)?;
            config.pki.key(role)?;
        }
        config.pki.certificate(Role::Ci)?;
        let mut state = match &config.state_folder {
            Some(folder) => State::load(folder, config.clock.unix_seconds()).map_err(|source| {
                SmdpError::State {
                    path: folder.clone(),
                    source,
                }
            })?,
            None => State::default(),
        };
        state.orders.set_clock(&config.clock);
        let own = [config.pki.hierarchy(Role::DpTls).certificate(Role::Ci)?];
        let roots = own.into_iter().chain(&config.callback_roots);
        let courier = Courier::new(roots, config.callback_pause).map_err(TlsError::from)?;
        Ok(Self(Arc::new(Shared {
            tls: RwLock::new((config.tls.clone(), tls)),
            config,
            state: Mutex::new(state),
            folder: Mutex::default(),
            courier,
            changes: watch::Sender::new(0),
        })))
    }

    /// What the server was made of.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Takes an order.
    pub fn create_order(&self, request: OrderRequest) -> OrderId {
        self.update(|state| state.orders.create(request))
    }

    /// Takes an order unless there was one with the same matching ID, EID and profile before;
    /// open ones for another profile are withdrawn.
    pub fn create_order_once(&self, request: OrderRequest) -> OrderId {
        self.update(|state| {
            let alike = |order: &&Order| {
                order.matching_id() == request.matching_id
                    && order.ordered_eid() == request.eid.as_deref()
            };
            let (same, others): (Vec<&Order>, Vec<_>) = state
                .orders
                .all()
                .iter()
                .filter(alike)
                .partition(|order| *order.profile() == request.profile);
            if let Some(order) = same.first() {
                return order.id();
            }
            for order in others.iter().map(|order| order.id()).collect::<Vec<_>>() {
                state.orders.get_mut(order).map(Order::withdraw);
            }
            state.orders.create(request)
        })
    }

    /// Releases an order that was created unreleased.
    pub fn release(&self, order: OrderId) {
        self.update(
            |state| {
                while state.orders.get_mut(order).is_some_and(Order::prepare) {}
            },
        );
    }

    /// Withdraws an order: nothing can be downloaded from it any more.
    pub fn withdraw(&self, order: OrderId) {
        self.update(|state| state.orders.get_mut(order).map(Order::withdraw));
    }

    /// Adds a profile that can be ordered over ES2+; one with the same ICCID that was not ordered
    /// yet is replaced.
    pub fn stock(&self, profile: StockedProfile) {
        self.update(|state| state.stock.add(profile));
    }

    /// Takes every package in a folder, `<matching id>.der` with the settings in
    /// `<matching id>.toml`, as an order or as a profile that can be ordered; and those that come
    /// later, as soon as anything is asked.
    ///
    /// # Errors
    ///
    /// When the folder or a file in it cannot be read, or is not what its name says.
    pub fn serve_folder(&self, path: &Path) -> Result<(), FolderError> {
        let mut folder = Folder::new(path);
        for found in folder.look()? {
            self.take(found?);
        }
        *self.0.folder.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder);
        Ok(())
    }

    /// Takes what has come into the folder.
    fn look_into_folder(&self) {
        let mut folder = self.0.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let found = folder.as_mut().map(Folder::look).transpose();
        drop(folder);
        match found {
            Ok(found) => {
                for found in found.into_iter().flatten() {
                    match found {
                        Ok(found) => self.take(found),
                        Err(error) => tracing::warn!(%error, "a package cannot be served"),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the folder of packages cannot be read"),
        }
    }

    fn take(&self, found: Found) {
        match found {
            Found::Order(order) => drop(self.create_order_once(*order)),
            Found::Stock(profile) => self.stock(*profile),
        }
    }

    /// One order as it is now.
    pub fn order(&self, order: OrderId) -> Option<Order> {
        self.state().orders.get(order).cloned()
    }

    /// All orders as they are now, the oldest first.
    pub fn orders(&self) -> Vec<Order> {
        self.state().orders.all().to_vec()
    }

    /// All notifications received, the oldest first.
    pub fn notifications(&self) -> Vec<ReceivedNotification> {
        self.state().notifications.clone()
    }

    /// Why sessions were cancelled, the oldest first: the reasons eUICCs signed.
    pub fn cancellations(&self) -> Vec<i64> {
        self.state().cancellations.clone()
    }

    /// The latest requests of ES9+, the oldest first.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.state().requests.all()
    }

    /// How often the server was asked what.
    pub fn counters(&self) -> Counters {
        self.state().counters
    }

    /// Plans a fault.
    pub fn set_fault(&self, function: Function, calls: Calls, fault: Fault) {
        self.update(|state| state.faults.plan(function, calls, fault));
    }

    /// Plans a fault as it was written down.
    pub fn plan(&self, plan: FaultPlan<Function>) {
        self.set_fault(plan.function, plan.calls, plan.fault);
    }

    /// The faults that are still to come.
    pub fn faults(&self) -> Vec<FaultPlan<Function>> {
        self.state().faults.planned().to_vec()
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
    pub fn set_tls(&self, chain: &[Certificate], key: &PrivateKey) -> Result<(), SmdpError> {
        let tls = tls::server_config(
            chain,
            key,
            self.0.config.tls_versions,
            &self.0.config.es2_client_roots,
        );
        let endpoint = Endpoint::Tls(tls.map_err(TlsError::from)?);
        self.present(TlsChoice::Right, endpoint);
        Ok(())
    }

    /// What is presented where TLS is expected; [`TlsChoice::Right`] after [`Smdp::set_tls`].
    pub fn tls_choice(&self) -> TlsChoice {
        let tls = self.0.tls.read().unwrap_or_else(PoisonError::into_inner);
        tls.0.clone()
    }

    /// Presents something else where TLS is expected, from the next connection on.
    ///
    /// # Errors
    ///
    /// When a certificate must be issued for it and the CI's private key is not there.
    pub fn choose_tls(&self, choice: &TlsChoice) -> Result<(), SmdpError> {
        let endpoint = endpoint(choice, &self.0.config)?;
        self.present(choice.clone(), endpoint);
        Ok(())
    }

    fn present(&self, choice: TlsChoice, endpoint: Endpoint) {
        let mut tls = self.0.tls.write().unwrap_or_else(PoisonError::into_inner);
        *tls = (choice, endpoint);
    }

    /// Counts up whenever anything changed: orders, reservations, notifications, counters.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Waits until the condition holds; the caller sets the deadline.
    pub async fn wait_until(&self, mut condition: impl FnMut(&Self) -> bool) {
        let mut changes = self.changes();
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

    /// The only way to change anything: reservations, callbacks and the copy on disk follow.
    fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        self.tell(&mut state);
        if let Some(folder) = &self.0.config.state_folder
            && let Err(error) = state.save(folder)
        {
            tracing::error!(%error, folder = %folder.display(), "orders could not be saved");
        }
        drop(state);
        self.0.changes.send_modify(|count| *count += 1);
        result
    }

    /// Tells customers, operator and SM-DS what became of the orders, without waiting for them.
    fn tell(&self, state: &mut State) {
        let config = &self.0.config;
        let now = self.now();
        for reservation in state.reservations.follow(&state.orders, now) {
            tracing::info!(sid = reservation.sid, status = %reservation.status, "reservation");
            if let Some(order) = state.orders.get(reservation.order) {
                reservation.provide_sim(order, &mut state.sims, now);
                if let Some(call) = reservation.call(order, &config.account_sid) {
                    self.0.courier.send(&reservation.sid, call);
                }
            }
        }
        let progress = state.orders.take_progress();
        if let Some(operator) = &config.operator_url {
            let oid = self.oid();
            let calls = progress.iter();
            let calls = calls.filter_map(|step| es2::report(operator, &oid, state, step));
            for call in calls {
                self.0.courier.send(OPERATOR, call);
            }
        }
        for event in state.orders.take_ended_events(&config.host_name) {
            self.forget(event);
        }
    }

    /// The server's object identifier, by which the operator knows it.
    fn oid(&self) -> String {
        use rsp_common::certificate::Role;
        let certificate = self.0.config.pki.certificate(Role::DpAuth);
        let owner = certificate.ok().and_then(Certificate::owner);
        owner.map(ToString::to_string).unwrap_or_default()
    }

    fn now(&self) -> u64 {
        self.0.config.clock.unix_seconds()
    }

    fn context<'a>(&'a self, base_url: &'a str) -> Context<'a> {
        Context {
            account_sid: &self.0.config.account_sid,
            host_name: &self.0.config.host_name,
            address_as_url: self.0.config.address_as_url,
            base_url,
        }
    }
}

/// What stands behind the TLS port when `choice` is made.
fn endpoint(choice: &TlsChoice, config: &Config) -> Result<Endpoint, TlsError> {
    choice.endpoint(
        &config.pki,
        &config.host_name,
        config.tls_versions,
        &config.es2_client_roots,
    )
}

/// The queue of what the operator is told.
const OPERATOR: &str = "operator";
