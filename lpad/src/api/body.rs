//! The JSON of what the daemon knows: the contract with its clients.
//!
//! Memory holds typed facts; here, and nowhere else, they become the API's texts, and a failure
//! becomes a [`Problem`](crate::problem::Problem).

mod euicc;
mod event;
mod examination;
mod operation;
mod profile;

pub use euicc::{Addresses, Euicc, EuiccInfo, FirstProfile, Modem, Trying, UnknownPart};
pub use event::{Event, EventKind};
pub use examination::{Examination, ExaminedRoute};
pub use operation::{Achievement, Offer, Operation};
pub use profile::{Notification, Profile};

/// Whether a count or a flag says nothing that its absence does not say.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
