//! ES2+: what an operator asks of this server, and what the server tells the operator.
//!
//! SGP.22 v2.5 section 5.3. `POST /gsma/rsp2/es2plus/` with `downloadOrder`, `confirmOrder`,
//! `releaseProfile` and `cancelOrder`, in JSON, over TLS or on the plain port. What is ordered is in
//! stock ([`Smdp::stock`], or a profile with a `profile_type` in a folder or the configuration
//! file). Over TLS a client certificate is needed when [`Config::es2_client_roots`] has issuers of
//! such; without any, and on the plain port, every caller is accepted.
//!
//! A profile is Available in stock, Allocated or Linked (to an EID) once it is ordered, Confirmed,
//! then Released. From there its order is that of every other download, whose steps are told to
//! [`Config::operator_url`] by `handleDownloadProgressInfo`: 1 eligibility and tries, 2 a wrong
//! confirmation code, 3 the package, 4 the result with the signed notification.
//!
//! When `confirmOrder` names an SM-DS, [`Config::event_registrar`] tells it of the order once that
//! is released, and to forget it once the order is closed.
//!
//! [`Smdp::stock`]: super::Smdp::stock
//! [`Config::es2_client_roots`]: super::Config::es2_client_roots
//! [`Config::operator_url`]: super::Config::operator_url
//! [`Config::event_registrar`]: super::Config::event_registrar

use std::time::Duration;

mod events;
mod ordering;
mod report;
mod request;
mod status;
mod stock;

pub use self::events::{Event, EventError, EventRegistrar, Registration};
pub(super) use self::ordering::Function;
pub(super) use self::report::report;
pub(super) use self::stock::Stock;
pub use self::stock::StockedProfile;

/// What the path of every function begins with.
const PATH: &str = "/gsma/rsp2/es2plus/";

/// How long an SM-DS may take.
const SMDS_DEADLINE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
