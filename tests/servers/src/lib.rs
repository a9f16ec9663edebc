//! A test SM-DP+ and a test SM-DS, profiles to download from them, and an LPA to try them with.
//!
//! * [`smdp`]: ES9+ over HTTPS, orders, ES2+, an operator's reservation API, faults by name;
//! * [`smds`]: ES11 and ES12 over HTTPS, events, faults by name;
//! * [`profile`]: makes profile packages;
//! * [`lpa`]: an LPA that checks nothing;
//! * [`network`]: a network in memory for all of them;
//! * [`recorder`]: an HTTP server that keeps what it receives;
//! * [`web`]: an ordinary web server.
//!
//! Section numbers refer to SGP.22 v2.5.

pub mod clock;
pub mod lpa;
pub mod network;
pub mod profile;
pub mod recorder;
mod rsp;
pub mod smdp;
pub mod smds;
pub mod web;
