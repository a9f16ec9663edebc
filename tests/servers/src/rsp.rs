//! What an SM-DP+ and an SM-DS have in common: connections, requests, the common mutual
//! authentication, sessions, and named faults.

pub(crate) mod authentication;
pub(crate) mod disk;
mod echo;
pub(crate) mod faults;
pub(crate) mod fields;
pub(crate) mod http;
pub(crate) mod names;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod status;
pub(crate) mod tls;

/// Random octets of the operating system.
///
/// # Panics
///
/// When the operating system has none, which leaves a server nothing it could do.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).expect("the operating system has randomness");
    octets
}
