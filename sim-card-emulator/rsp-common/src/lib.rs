//! What an emulated eUICC and the servers it talks to have in common.
//!
//! * [`pki`], [`certificate`], [`crl`], [`key`]: whole test PKIs, also with certificates that are
//!   wrong by name, and the checks SGP.22 demands of a certificate;
//! * [`bsp`]: the protection of profile packages, for both ends;
//! * [`der`]: writing and walking DER;
//! * [`config_file`]: configuration files in TOML, with errors that name what was probably meant.
//!
//! Section numbers refer to SGP.22 v2.5.

pub mod bsp;
pub mod certificate;
pub mod config_file;
pub mod crl;
pub mod der;
pub mod key;
pub mod pki;
