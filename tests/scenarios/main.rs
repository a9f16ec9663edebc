//! Stories, one test binary.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod dependencies;
mod downloads;
mod procedures;
mod server_certificate;
