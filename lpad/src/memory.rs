//! What the daemon knows: intent that must survive, operations, events, and what the card said last.

pub mod alarm;
pub mod digest;
pub mod events;
pub mod examination;
pub mod journal;
pub mod key;
pub mod link;
pub mod operations;
pub mod service;
pub mod snapshot;
pub mod state_folder;
