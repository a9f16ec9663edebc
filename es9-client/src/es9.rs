//! The functions of ES9+, one file each.
//!
//! Member names are spelled out one by one: they are irregular (`euiccCiPKIdToBeUsed`), and an
//! automatic renaming would lose members without a word.

mod authenticate_client;
mod cancel_session;
mod get_bound_profile_package;
mod handle_notification;
mod initiate_authentication;

pub use authenticate_client::{AuthenticateClientOk, AuthenticateClientRequest};
pub use cancel_session::{CancelSessionOk, CancelSessionRequestEs9};
pub use get_bound_profile_package::{GetBoundProfilePackageOk, GetBoundProfilePackageRequest};
pub use handle_notification::HandleNotification;
pub use initiate_authentication::{InitiateAuthenticationOkEs9, InitiateAuthenticationRequest};

#[cfg(test)]
mod tests;
