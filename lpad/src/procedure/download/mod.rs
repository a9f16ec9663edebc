//! Download and installation of a profile.
//!
//! SGP.22 v2.5 sections 3.0.1 and 3.1.3. A struct for each state, consumed by the step that leaves
//! it: [`Initiated`] → [`ServerAuthenticated`] → [`Offer`] → [`Prepared`] → [`Bound`] →
//! [`Installed`]. Consent is a value: who holds an [`Offer`] accepts or declines it. Each failure
//! ends its session with the reason that fits, so that an order is never burnt by accident.

mod error;
mod state;

pub use error::{CancelError, DownloadError, Failure, SessionEnd, Step};
pub use state::{
    Bound, Device, InDoubt, Initiated, Installed, Offer, Order, Prepared, Progress,
    ServerAuthenticated, resolve,
};
