//! A strict software eUICC and the AT modem in front of it.
//!
//! From the inside out:
//!
//! * [`euicc`]: the card itself, a pure state machine behind APDUs, with [`saip`] to read profile
//!   packages;
//! * [`card`]: the card in a holder, to be shared, watched and cut off, its flash in a
//!   [`state_folder`];
//! * [`vpcd`]: the card in a PC/SC reader;
//! * [`modem`]: AT commands, with the quirks of real modems as data, on a [`pty`] or any stream.
//!
//! The PKI, and the protection of packages, are in [`rsp_common`]: the test servers use them, too.
//!
//! Section numbers refer to SGP.22 v2.5.

pub mod card;
pub mod config;
pub mod euicc;
pub mod modem;
pub mod pty;
pub mod saip;
pub mod state_folder;
pub mod vpcd;
