//! Events at an SM-DS, as far as the SM-DP+ is concerned.

use std::fmt;
use std::pin::Pin;

/// What a device shall learn from an SM-DS: that a profile waits for it.
///
/// SGP.22 v2.5 section 5.4, the input of ES12.RegisterEvent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// The SM-DS, as the operator named it.
    pub smds_address: String,
    /// The eUICC that shall learn of the profile, 32 digits.
    pub eid: String,
    /// Where the profile waits.
    pub rsp_server_address: String,
    /// The order's matching ID.
    pub event_id: String,
}

/// Why an event could not be registered or deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EventError {
    /// The SM-DS cannot be reached.
    #[error("the SM-DS cannot be reached")]
    Inaccessible,
    /// The SM-DS answered that it failed.
    #[error("the SM-DS refused")]
    Refused,
}

/// The end of a registration or deletion.
pub type Registration<'a> = Pin<Box<dyn Future<Output = Result<(), EventError>> + Send + 'a>>;

/// Speaks ES12 with an SM-DS; the caller sets the deadline.
pub trait EventRegistrar: fmt::Debug + Send + Sync {
    /// Makes the SM-DS tell the eUICC of the event.
    fn register(&self, event: Event) -> Registration<'_>;

    /// Makes the SM-DS forget the event.
    fn delete(&self, event: Event) -> Registration<'_>;
}
