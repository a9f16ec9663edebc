//! lpad: the Local Profile Assistant (LPAd of SGP.22 v2.5) of a Linux gateway, as a daemon.
//!
//! The daemon owns the eUICC behind a modem's AT port, downloads and switches profiles, delivers
//! notifications, and is driven over HTTP on a local Unix socket. `lpactl` is its command line.
//!
//! A call comes in through [`api`], becomes a [`job`] that the eUICC's one [`engine`] task
//! carries out with the procedures of the specification, and outlives the client that asked.

#![allow(
    clippy::result_large_err,
    reason = "problems are rare, and end a request"
)]

pub mod activation_code;
pub mod api;
mod check;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
pub mod commit;
pub mod config;
mod daemon;
mod dialler;
pub mod engine;
pub mod failure;
mod files;
pub mod job;
pub mod look;
pub mod memory;
pub mod modem;
mod packed;
pub mod printable;
mod printed;
pub mod problem;
pub mod procedure;
pub mod program;
mod reach;
pub mod runtime;
pub mod secret;

pub use check::{check, unwise};
pub use daemon::{Daemon, DaemonError, Parts, run};
pub use program::HELP;
