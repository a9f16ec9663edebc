//! Download orders: which profile is there for whom, and how often it may be tried.
//!
//! SGP.22 v2.5 section 3.1.6 gives the states.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sim_card_emulator::key::PublicKey;

use super::bpp::Binding;
use crate::{profile::Profile, rsp::status::StatusCode};

/// What is ordered; everything but the profile has a default.
#[derive(Clone)]
pub struct OrderRequest {
    /// The profile to deliver.
    pub profile: Profile,
    /// The matching ID; empty means that the order is found by its EID.
    pub matching_id: String,
    /// The eUICC the order is bound to, 32 digits; `None` lets any eUICC claim it.
    ///
    /// An order with a matching ID and an EID is found by either, and only by that eUICC.
    pub eid: Option<String>,
    /// The code the user must know; only its hash is kept.
    pub confirmation_code: Option<String>,
    /// How many wrong confirmation codes close the order.
    pub max_confirmation_attempts: u32,
    /// How many installations the order is good for; `None` is any number.
    pub max_downloads: Option<u32>,
    /// How many packages may be delivered for one installation.
    pub max_attempts: u32,
    /// When the order expires.
    pub expires: Option<SystemTime>,
    /// Whether the profile can be downloaded at once; otherwise [`Smdp::release`] makes it so.
    ///
    /// [`Smdp::release`]: super::Smdp::release
    pub released: bool,
    /// Whether a package bound to one one-time key may be bound to another one.
    pub rebinding: bool,
}

impl OrderRequest {
    /// An order any eUICC that shows the matching ID can claim, once.
    pub fn with_matching_id(profile: Profile, matching_id: impl Into<String>) -> Self {
        Self {
            profile,
            matching_id: matching_id.into(),
            eid: None,
            confirmation_code: None,
            max_confirmation_attempts: 3,
            max_downloads: Some(1),
            max_attempts: 10,
            expires: None,
            released: true,
            rebinding: true,
        }
    }

    /// An order for one eUICC, found by its EID and an empty matching ID.
    pub fn for_eid(profile: Profile, eid: impl Into<String>) -> Self {
        Self {
            eid: Some(eid.into()),
            ..Self::with_matching_id(profile, "")
        }
    }
}

impl fmt::Debug for OrderRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderRequest")
            .field("profile", &self.profile)
            .field("max_downloads", &self.max_downloads)
            .finish_non_exhaustive()
    }
}

/// An order of this server, by the sequence of their creation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct OrderId(pub(super) u32);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The states of an order that this server distinguishes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum OrderState {
    /// Ordered for any eUICC.
    Allocated,
    /// Ordered for one eUICC.
    Linked,
    /// Confirmed, but the operator has not released it.
    Confirmed,
    /// Can be downloaded.
    Released,
    /// A package was delivered and its result is not known; it can be tried again.
    Downloaded,
    /// Installed: the order is closed.
    Installed,
    /// Failed for good: the order is closed.
    Error,
    /// Withdrawn: the order is closed.
    Unavailable,
}

impl OrderState {
    /// Whether nothing can be downloaded any more.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Installed | Self::Error | Self::Unavailable)
    }

    fn is_deliverable(self) -> bool {
        matches!(self, Self::Released | Self::Downloaded)
    }
}

/// A download order and what became of it.
#[derive(Clone, Deserialize, Serialize)]
pub struct Order {
    pub(super) id: OrderId,
    pub(super) state: OrderState,
    pub(super) matching_id: String,
    pub(super) eid: Option<String>,
    pub(super) profile: Profile,
    #[serde(with = "hex")]
    confirmation_code_hash: Vec<u8>,
    wrong_confirmation_codes: u32,
    max_confirmation_attempts: u32,
    downloads: u32,
    max_downloads: Option<u32>,
    attempts: u32,
    max_attempts: u32,
    expires: Option<u64>,
    rebinding: bool,
    claimed_by: Option<String>,
    failure: Option<Failure>,
    pub(super) deliveries: Vec<Delivery>,
    /// The last package delivered and the EID it was for.
    #[serde(skip)]
    binding: Option<(String, Binding)>,
}

/// Why an order failed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
pub enum Failure {
    /// The eUICC reported this error reason in its installation result.
    #[error("the eUICC could not install the profile (error reason {0})")]
    Installation(i64),
    /// The LPA cancelled the session for this reason.
    #[error("the device cancelled the download (reason {0})")]
    Cancelled(i64),
    /// The confirmation code was wrong too often.
    #[error("the confirmation code was wrong too often")]
    ConfirmationCode,
    /// The package was fetched too often without a result.
    #[error("the profile was fetched too often without being installed")]
    TooManyAttempts,
}

impl Failure {
    /// A short stable code.
    pub fn code(self) -> String {
        match self {
            Self::Installation(reason) => format!("installation-{reason}"),
            Self::Cancelled(reason) => format!("cancelled-{reason}"),
            Self::ConfirmationCode => "confirmation-code".to_owned(),
            Self::TooManyAttempts => "attempts".to_owned(),
        }
    }
}

/// A session in which an eUICC was found entitled to an order.
///
/// It is kept so that an installation result can be verified long after the session is gone.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Delivery {
    #[serde(with = "hex")]
    pub(super) transaction_id: Vec<u8>,
    /// The eUICC's public key, an uncompressed SEC1 point.
    #[serde(with = "hex")]
    pub(super) euicc_key: Vec<u8>,
    /// Whether the result was received; another copy of it changes nothing.
    closed: bool,
}

impl Delivery {
    pub(super) fn new(transaction_id: &[u8], euicc_key: &PublicKey) -> Self {
        Self {
            transaction_id: transaction_id.to_vec(),
            euicc_key: euicc_key.to_point().to_vec(),
            closed: false,
        }
    }
}

impl Order {
    /// The order's number.
    pub fn id(&self) -> OrderId {
        self.id
    }

    /// What became of it so far.
    pub fn state(&self) -> OrderState {
        self.state
    }

    /// The profile it is about.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The matching ID; empty when the order is found by EID.
    pub fn matching_id(&self) -> &str {
        &self.matching_id
    }

    /// The eUICC the order is bound to or claimed by.
    pub fn eid(&self) -> Option<&str> {
        self.eid.as_deref().or(self.claimed_by.as_deref())
    }

    /// The eUICC the order was made for.
    pub fn ordered_eid(&self) -> Option<&str> {
        self.eid.as_deref()
    }

    /// Why the last round of downloading failed.
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// How often it was installed.
    pub fn downloads(&self) -> u32 {
        self.downloads
    }

    /// How many packages were delivered since the last installation.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    fn new(id: OrderId, request: OrderRequest) -> Self {
        let state = match (request.released, &request.eid) {
            (true, _) => OrderState::Released,
            (false, Some(_)) => OrderState::Linked,
            (false, None) => OrderState::Allocated,
        };
        Self {
            id,
            state,
            matching_id: request.matching_id,
            eid: request.eid,
            profile: request.profile,
            confirmation_code_hash: request
                .confirmation_code
                .map(|code| Sha256::digest(code).to_vec())
                .unwrap_or_default(),
            wrong_confirmation_codes: 0,
            max_confirmation_attempts: request.max_confirmation_attempts,
            downloads: 0,
            max_downloads: request.max_downloads,
            attempts: 0,
            max_attempts: request.max_attempts,
            expires: request.expires.map(seconds),
            rebinding: request.rebinding,
            claimed_by: None,
            failure: None,
            deliveries: Vec::new(),
            binding: None,
        }
    }

    pub(super) fn requires_confirmation_code(&self) -> bool {
        !self.confirmation_code_hash.is_empty()
    }

    /// Moves an order that is being prepared one state on; false when it cannot go further.
    pub(super) fn prepare(&mut self) -> bool {
        self.state = match self.state {
            OrderState::Allocated | OrderState::Linked => OrderState::Confirmed,
            OrderState::Confirmed => OrderState::Released,
            _ => return false,
        };
        true
    }

    /// Withdraws an order that is not closed yet.
    pub(super) fn withdraw(&mut self) {
        if !self.state.is_closed() {
            self.state = OrderState::Unavailable;
        }
    }

    /// Whether this eUICC may download now; closes an order that was tried too often.
    pub(super) fn admit(&mut self, eid: &str) -> Result<(), StatusCode> {
        if self.eid().is_some_and(|bound| bound != eid) {
            return Err(StatusCode::EID_REFUSED);
        }
        if !self.state.is_deliverable() {
            return Err(StatusCode::NOT_RELEASED);
        }
        if self
            .expires
            .is_some_and(|expires| expires <= seconds(SystemTime::now()))
        {
            return Err(StatusCode::ORDER_EXPIRED);
        }
        if self.attempts >= self.max_attempts {
            self.fail(Failure::TooManyAttempts);
            return Err(StatusCode::DOWNLOAD_TRIES_EXCEEDED);
        }
        Ok(())
    }

    /// Remembers whom a session serves, so that its installation result can be verified.
    pub(super) fn remember(&mut self, delivery: Delivery) {
        if self.deliveries.len() == MAX_DELIVERIES {
            self.deliveries.remove(0);
        }
        self.deliveries.push(delivery);
    }

    /// Compares the hash the eUICC signed with the confirmation code ordered.
    ///
    /// SGP.22 v2.5 section 5.7.5: SHA-256 over the code's SHA-256 and the transaction ID.
    pub(super) fn confirm(
        &mut self,
        transaction_id: &[u8],
        hash_cc: Option<&[u8]>,
    ) -> Result<(), StatusCode> {
        if !self.requires_confirmation_code() {
            return Ok(());
        }
        let hash_cc = hash_cc.ok_or(StatusCode::CONFIRMATION_CODE_MISSING)?;
        let expected = Sha256::new()
            .chain_update(&self.confirmation_code_hash)
            .chain_update(transaction_id)
            .finalize();
        if hash_cc == expected.as_slice() {
            return Ok(());
        }
        self.wrong_confirmation_codes += 1;
        if self.wrong_confirmation_codes >= self.max_confirmation_attempts {
            self.fail(Failure::ConfirmationCode);
            return Err(StatusCode::CONFIRMATION_CODE_TRIES_EXCEEDED);
        }
        Err(StatusCode::CONFIRMATION_CODE_REFUSED)
    }

    /// The one-time key of this eUICC that a kept package is bound to.
    pub(super) fn kept_euicc_otpk(&self, eid: &str) -> Option<&[u8]> {
        let (bound_to, binding) = self.binding.as_ref()?;
        (bound_to == eid).then(|| binding.euicc_otpk())
    }

    /// The kept package when it is bound to this one-time key, nothing when a new one is needed.
    pub(super) fn binding_for(&self, euicc_otpk: &[u8]) -> Result<Option<&Binding>, StatusCode> {
        match &self.binding {
            Some((_, binding)) if binding.euicc_otpk() == euicc_otpk => Ok(Some(binding)),
            Some(_) if !self.rebinding => Err(StatusCode::REBINDING_REFUSED),
            _ => Ok(None),
        }
    }

    /// A package was delivered to this eUICC; from now on the order is its own.
    pub(super) fn delivered(&mut self, eid: &str, binding: Binding) {
        self.attempts += 1;
        self.state = OrderState::Downloaded;
        self.binding = Some((eid.to_owned(), binding));
        if self.max_downloads == Some(1) {
            self.claimed_by = Some(eid.to_owned());
        }
    }

    /// Takes note of the result of a session; false when it was already known.
    pub(super) fn close_delivery(&mut self, transaction_id: &[u8]) -> bool {
        let mut deliveries = self.deliveries.iter_mut();
        let delivery = deliveries.find(|delivery| delivery.transaction_id == transaction_id);
        delivery.is_some_and(|delivery| !std::mem::replace(&mut delivery.closed, true))
    }

    /// The eUICC reported success.
    pub(super) fn installed(&mut self) {
        if !self.state.is_closed() {
            self.downloads += 1;
            self.failure = None;
            self.end(OrderState::Installed);
        }
    }

    /// The eUICC reported that the installation failed.
    ///
    /// SGP.22 v2.5 section 2.5.6: missing memory and an interruption may pass.
    pub(super) fn failed(&mut self, error_reason: i64) {
        const INSUFFICIENT_MEMORY: i64 = 10;
        const INTERRUPTION: i64 = 11;
        if !self.state.is_closed() && !matches!(error_reason, INSUFFICIENT_MEMORY | INTERRUPTION) {
            self.fail(Failure::Installation(error_reason));
        }
    }

    /// The session was cancelled; only "postponed" and "timeout" leave the order open.
    pub(super) fn cancelled(&mut self, reason: i64) {
        const POSTPONED: i64 = 1;
        const TIMEOUT: i64 = 2;
        if !self.state.is_closed() && !matches!(reason, POSTPONED | TIMEOUT) {
            self.fail(Failure::Cancelled(reason));
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
        self.end(OrderState::Error);
    }

    /// Ends this round: an order for several downloads is open again, one for one is closed.
    fn end(&mut self, state: OrderState) {
        self.binding = None;
        let repeats = self.max_downloads != Some(1);
        let used_up = self
            .max_downloads
            .is_some_and(|most| self.downloads >= most);
        self.state = if repeats && !used_up {
            OrderState::Released
        } else {
            state
        };
        self.attempts = 0;
        self.wrong_confirmation_codes = 0;
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("profile", &self.profile)
            .field("downloads", &self.downloads)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// All orders of a server.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Orders(Vec<Order>);

impl Orders {
    pub(super) fn create(&mut self, request: OrderRequest) -> OrderId {
        let id = OrderId(self.0.last().map_or(1, |last| last.id.0 + 1));
        self.0.push(Order::new(id, request));
        id
    }

    pub(super) fn all(&self) -> &[Order] {
        &self.0
    }

    pub(super) fn get(&self, id: OrderId) -> Option<&Order> {
        self.0.iter().find(|order| order.id == id)
    }

    pub(super) fn get_mut(&mut self, id: OrderId) -> Option<&mut Order> {
        self.0.iter_mut().find(|order| order.id == id)
    }

    /// The order a session was for, by its transaction ID.
    pub(super) fn of_transaction(&mut self, transaction_id: &[u8]) -> Option<&mut Order> {
        self.0.iter_mut().find(|order| {
            order
                .deliveries
                .iter()
                .any(|delivery| delivery.transaction_id == transaction_id)
        })
    }

    /// Finds the order an eUICC asks for.
    ///
    /// An empty matching ID finds what was ordered for the EID, whether it has a matching ID too
    /// or not. Closed orders are no longer found; among several the first one that can be
    /// downloaded is taken.
    pub(super) fn find(&mut self, matching_id: &str, eid: &str) -> Result<&mut Order, StatusCode> {
        let open = self.0.iter_mut().filter(|order| !order.state.is_closed());
        if !matching_id.is_empty() {
            return open
                .filter(|order| order.matching_id == matching_id)
                .min_by_key(|order| !order.state.is_deliverable())
                .ok_or(StatusCode::MATCHING_ID_REFUSED);
        }
        let (mine, others): (Vec<_>, Vec<_>) = open
            .filter(|order| order.eid.is_some())
            .partition(|order| order.eid.as_deref() == Some(eid));
        let refused = match others.as_slice() {
            [] => StatusCode::MATCHING_ID_REFUSED,
            _ => StatusCode::EID_REFUSED,
        };
        mine.into_iter()
            .min_by_key(|order| !order.state.is_deliverable())
            .ok_or(refused)
    }
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// How many sessions of an order are remembered for late installation results.
const MAX_DELIVERIES: usize = 16;

#[cfg(test)]
mod tests;
