//! The API on the Unix socket: HTTP/1.1 and JSON, one resource per file.
//!
//! A request becomes an [`action::Action`] by a pure match; the [`actor::Actor`] at the other end decides
//! whether it may be done; every error leaves as an [`ErrorResponse`](status::ErrorResponse).

pub mod action;
pub mod actor;
mod answer;
pub mod body;
mod connections;
#[cfg(feature = "openapi")]
pub mod description;
pub mod downloads;
pub mod euiccs;
pub mod events;
pub mod filter;
pub mod health;
mod json;
pub mod notifications;
pub mod operations;
pub mod profiles;
pub mod routes;
mod server;
mod socket;
pub mod status;
mod stream;
#[cfg(test)]
mod tests;

pub use answer::Api;
pub use socket::Socket;
