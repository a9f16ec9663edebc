//! Download orders: which profile is there for whom, and how often it may be tried.
//!
//! SGP.22 v2.5 section 3.1.6 gives the states.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use es10_apdu::es10b::FinalResult;
use rsp_common::key::PublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(super) use self::list::Orders;
use self::progress::{Point, Progress};
pub use self::request::OrderRequest;
pub(super) use self::transition::Confirmation;
use super::bpp::Binding;
use crate::clock::Clock;
use crate::profile::Profile;
use crate::rsp::status::StatusCode;

mod list;
pub(super) mod progress;
mod request;
mod transition;

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
    /// The last package delivered and the EID it was for; kept so that a retry gets it again.
    #[serde(default)]
    binding: Option<(String, Binding)>,
    /// Results of unknown meaning: the first one leaves the order open.
    #[serde(default)]
    unexplained_failures: u32,
    /// The SM-DS that shall know of the order once it is released.
    #[serde(default)]
    smds_address: Option<String>,
    /// Whether the SM-DS was told of the order, and not yet to forget it.
    #[serde(default)]
    pub(super) has_event: bool,
    /// What the operator was not told yet.
    #[serde(skip)]
    progress: Vec<Progress>,
    #[serde(skip, default = "Clock::system")]
    clock: Clock,
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
    /// The profile could not be reserved; the number is the operator's.
    #[error("the profile could not be reserved")]
    Reservation(u32),
}

impl Failure {
    /// A short stable code.
    pub fn code(self) -> String {
        match self {
            Self::Installation(reason) => format!("installation-{reason}"),
            Self::Cancelled(reason) => format!("cancelled-{reason}"),
            Self::ConfirmationCode => "confirmation-code".to_owned(),
            Self::TooManyAttempts => "attempts".to_owned(),
            Self::Reservation(code) => code.to_string(),
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
    #[serde(default)]
    eid: String,
    /// The eUICC's public key, an uncompressed SEC1 point.
    #[serde(with = "hex")]
    pub(super) euicc_key: Vec<u8>,
    /// Whether the result was received; another copy of it changes nothing.
    closed: bool,
}

impl Delivery {
    pub(super) fn new(transaction_id: &[u8], eid: &str, euicc_key: &PublicKey) -> Self {
        Self {
            transaction_id: transaction_id.to_vec(),
            eid: eid.to_owned(),
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

    /// The SM-DS that shall know of the order once it is released.
    pub fn smds_address(&self) -> Option<&str> {
        self.smds_address.as_deref()
    }

    fn new(id: OrderId, request: OrderRequest, clock: Clock) -> Self {
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
            unexplained_failures: 0,
            smds_address: None,
            has_event: false,
            progress: Vec::new(),
            clock,
        }
    }

    pub(super) fn requires_confirmation_code(&self) -> bool {
        !self.confirmation_code_hash.is_empty()
    }

    /// Whether this eUICC may download now; closes an order that was tried too often.
    pub(super) fn admit(&mut self, eid: &str) -> Result<(), StatusCode> {
        let admitted = self.check(eid);
        if let Err(status @ (StatusCode::ORDER_EXPIRED | StatusCode::DOWNLOAD_TRIES_EXCEEDED)) =
            admitted
        {
            self.ineligible(eid, status);
        }
        admitted
    }

    /// Whether what this eUICC was admitted to still holds: another session may have used it up.
    pub(super) fn check(&mut self, eid: &str) -> Result<(), StatusCode> {
        if self.eid().is_some_and(|bound| bound != eid) {
            return Err(StatusCode::EID_REFUSED);
        }
        if self.state.is_closed() {
            return Err(match self.failure {
                Some(Failure::ConfirmationCode) => StatusCode::CONFIRMATION_CODE_TRIES_EXCEEDED,
                Some(Failure::TooManyAttempts) => StatusCode::DOWNLOAD_TRIES_EXCEEDED,
                _ => StatusCode::MATCHING_ID_REFUSED,
            });
        }
        if !self.state.is_deliverable() {
            return Err(StatusCode::NOT_RELEASED);
        }
        let now = self.clock.unix_seconds();
        if self.expires.is_some_and(|expires| expires <= now) {
            return Err(StatusCode::ORDER_EXPIRED);
        }
        if self.attempts >= self.max_attempts {
            self.fail(Failure::TooManyAttempts);
            return Err(StatusCode::DOWNLOAD_TRIES_EXCEEDED);
        }
        Ok(())
    }

    /// The eUICC cannot have this profile.
    pub(super) fn ineligible(&mut self, eid: &str, status: StatusCode) {
        self.note(Point::Eligibility, Some(eid), Some(status), &[]);
    }

    /// Remembers the eUICC that a session serves, so that its installation result can be verified.
    pub(super) fn remember(&mut self, delivery: Delivery) {
        self.note(Point::Eligibility, Some(&delivery.eid), None, &[]);
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
        let confirmed = self.compare(transaction_id, hash_cc);
        if let Err(status) = confirmed {
            let eid = self.eid_of_session(transaction_id);
            self.note(Point::Confirmation, eid.as_deref(), Some(status), &[]);
        }
        confirmed
    }

    fn compare(&mut self, transaction_id: &[u8], hash_cc: Option<&[u8]>) -> Result<(), StatusCode> {
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

    fn eid_of_session(&self, transaction_id: &[u8]) -> Option<String> {
        let mut deliveries = self.deliveries.iter();
        deliveries
            .find(|delivery| delivery.transaction_id == transaction_id)
            .map(|delivery| delivery.eid.clone())
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
        self.note(Point::Download, Some(eid), None, &[]);
    }

    /// Takes note of the result of a session; false when it was already known.
    pub(super) fn close_delivery(&mut self, transaction_id: &[u8]) -> bool {
        let mut deliveries = self.deliveries.iter_mut();
        let delivery = deliveries.find(|delivery| delivery.transaction_id == transaction_id);
        delivery.is_some_and(|delivery| !std::mem::replace(&mut delivery.closed, true))
    }

    /// The eUICC reported how an installation ended: `notification` is the signed result.
    pub(super) fn reported(
        &mut self,
        transaction_id: &[u8],
        result: &FinalResult,
        notification: &[u8],
    ) {
        let status = match result {
            FinalResult::SuccessResult(_) => None,
            FinalResult::ErrorResult(error) if error.error_reason.0 == INSUFFICIENT_MEMORY => {
                Some(StatusCode::INSUFFICIENT_MEMORY)
            }
            FinalResult::ErrorResult(_) => Some(StatusCode::INSTALLATION_FAILED),
        };
        let eid = self.eid_of_session(transaction_id);
        self.note(Point::Installation, eid.as_deref(), status, notification);
        match result {
            FinalResult::SuccessResult(_) => self.installed(),
            FinalResult::ErrorResult(error) => self.failed(error.error_reason.0),
        }
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
    /// SGP.22 v2.5 section 2.5.6: missing memory and an interruption may pass. What has no known
    /// meaning may too, once.
    pub(super) fn failed(&mut self, error_reason: i64) {
        if self.state.is_closed() || matches!(error_reason, INSUFFICIENT_MEMORY | INTERRUPTION) {
            return;
        }
        if !PERMANENT_REASONS.contains(&error_reason) {
            self.unexplained_failures += 1;
            if self.unexplained_failures == 1 {
                return;
            }
        }
        self.fail(Failure::Installation(error_reason));
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
        self.unexplained_failures = 0;
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

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// installFailedDueToInsufficientMemoryForProfile
const INSUFFICIENT_MEMORY: i64 = 10;

/// installFailedDueToInterruption
const INTERRUPTION: i64 = 11;

/// How many sessions of an order are remembered for late installation results.
const MAX_DELIVERIES: usize = 16;

/// Error reasons that will be the same the next time.
const PERMANENT_REASONS: [i64; 23] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23, 26, 31, 32,
];

#[cfg(test)]
mod tests;
