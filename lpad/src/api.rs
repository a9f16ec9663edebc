//! The API on the Unix socket: HTTP/1.1 and JSON, one resource per file.
//!
//! A request becomes an [`router::Action`] by a pure match; the [`actor::Actor`] at the other end decides
//! whether it may be done; every error leaves as a [`problem::Problem`].

pub mod actor;
mod connections;
pub mod downloads;
pub mod euiccs;
pub mod events;
pub mod health;
pub mod notifications;
mod openapi;
pub mod operations;
pub mod problem;
pub mod profiles;
pub mod router;
mod server;
#[cfg(test)]
mod tests;

pub use server::{Api, bind};
