//! What every long-running program needs: the time of day, the end, patience and a log.

pub(crate) mod backoff;
pub mod clock;
pub mod closing;
pub mod interfaces;
pub mod log;
pub(crate) mod program;
