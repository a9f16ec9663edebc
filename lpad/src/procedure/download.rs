//! Download and installation of a profile.
//!
//! SGP.22 v2.5 sections 3.0.1 and 3.1.3. A struct for each state, consumed by the step that leaves
//! it: [`Initiated`] → [`ServerAuthenticated`] → [`Offer`] → [`Prepared`] → [`Bound`] →
//! [`Installed`]. Consent is a value: the holder of an [`Offer`] accepts or declines it. Each failure
//! ends its session with the reason that fits, so that an order is never used up by accident.
//!
//! A future that is dropped leaves the session to the server, which ends it by itself; the order
//! stays. Once loading began, the profile may be installed: [`resolve`] asks the card.

use es9_client::ServerAddress;
use es10_apdu::types::{Aid, Iccid, Oid, TransactionId};

use crate::secret::Secret;

mod authentication;
mod device;
mod error;
mod offer;
mod package;
mod rules;
mod session;

pub use authentication::{Initiated, ServerAuthenticated};
pub use device::Device;
pub use error::{CancelError, DownloadError, Failure, SessionEnd, Step};
pub use offer::Offer;
pub use package::{Bound, Prepared, resolve};
pub use rules::{RequiredConsent, RuleRefusal};

/// Which profile to download.
#[derive(Clone, Debug)]
pub struct Order {
    /// The SM-DP+.
    pub address: ServerAddress,
    /// The token of the activation code; empty for a profile reserved for this EID.
    pub matching_id: Secret,
    /// The object identifier the SM-DP+ must have.
    pub oid: Option<Oid>,
}

/// The profile is installed, and disabled.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The profile.
    pub iccid: Iccid,
    /// Its ISD-P.
    pub isdp_aid: Aid,
    /// The number of the notification that says so.
    pub seq_number: i64,
    /// That notification as the card gave it, where it was the answer to the last segment.
    pub notification: Option<Vec<u8>>,
}

/// A session whose end was lost on the way: the card knows, see [`resolve`].
#[derive(Clone, Debug)]
pub struct InDoubt {
    /// The server of the session.
    pub address: ServerAddress,
    /// The session.
    pub transaction_id: TransactionId,
    /// The profile.
    pub iccid: Option<Iccid>,
}
