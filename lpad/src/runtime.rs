//! What every long-running program needs: the time of day, the end, patience and a log.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

pub(crate) mod backoff;
pub mod clock;
pub mod closing;
pub mod interfaces;
pub mod log;
pub(crate) mod program;
pub mod uplink;

/// A file descriptor that tells when it can be read.
///
/// Must be called inside a tokio runtime.
pub(crate) fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe and asks only for what an OwnedFd holds anyway"
    )]
    AsyncFd::new(descriptor)
}
