//! A strict software eUICC, the AT modem in front of it, and the PKI both need.
//!
//! Section numbers refer to SGP.22 v2.5.

pub mod bsp;
pub mod card;
pub mod certificate;
pub mod der;
pub mod euicc;
pub mod key;
pub mod modem;
pub mod pki;
pub mod pty;
pub mod saip;
pub mod state_folder;
