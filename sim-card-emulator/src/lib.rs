//! A strict software eUICC, the AT modem in front of it, and the PKI both need.
//!
//! From the inside out:
//!
//! * [`euicc`]: the card itself, a pure state machine behind APDUs, with [`saip`] to read profile
//!   packages and [`bsp`] to open what a server bound;
//! * [`card`]: the card in a holder, to be shared, watched and cut off, its flash in a
//!   [`state_folder`];
//! * [`vpcd`]: the card in a PC/SC reader;
//! * [`modem`]: AT commands, with the quirks of real modems as data, on a [`pty`] or any stream;
//! * [`pki`], [`certificate`], [`crl`], [`key`]: a whole test PKI, and what a card checks of it. The test
//!   SM-DP+ uses them too.
//!
//! Section numbers refer to SGP.22 v2.5.

pub mod bsp;
pub mod card;
pub mod certificate;
pub mod config;
pub mod config_file;
pub mod crl;
pub mod der;
pub mod euicc;
pub mod key;
pub mod modem;
pub mod pki;
pub mod pty;
pub mod saip;
pub mod state_folder;
pub mod vpcd;
