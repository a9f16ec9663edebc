//! ES2+: what an operator asks of this server, and what the server tells the operator.

use std::time::Duration;

mod events;
mod ordering;
mod report;
mod request;
mod status;
mod stock;

pub use self::{
    events::{Event, EventError, EventRegistrar, Registration},
    stock::StockedProfile,
};
pub(super) use self::{ordering::Function, report::report, stock::Stock};

/// What the path of every function begins with.
const PATH: &str = "/gsma/rsp2/es2plus/";

/// How long an SM-DS may take.
const SMDS_DEADLINE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
