//! Typed SGP.22 ES10 functions of an eUICC behind any APDU pipe.
//!
//! The baseline is SGP.22 v2.5; every public item that comes from it names its section.
//!
//! The layers, bottom up:
//!
//! * [`transport`]: one command APDU in, one response APDU out, with a deadline;
//! * `at`: an AT port and the `AT+CSIM` transport over it, with the feature of this name;
//! * `pcsc`: the transport over a PC/SC reader, with the feature of this name;
//! * [`link`]: what differs between the links to a card, as data;
//! * [`apdu`]: commands, responses, status words and class byte coding;
//! * [`channel`]: a logical channel with an application selected on it;
//! * [`store_data`]: cutting an ES10 command into STORE DATA blocks;
//! * [`isdr`]: typed calls to the ISD-R, the only place where codec meets channel.
//!
//! Three outcomes are told apart everywhere, see [`transport::Outcome`].

pub mod apdu;
pub mod asn1;
#[cfg(feature = "at")]
pub mod at;
pub mod bpp;
pub mod channel;
pub mod es10a;
#[allow(
    elided_lifetimes_in_paths,
    reason = "rasn's derive writes them for tagged CHOICE types"
)]
pub mod es10b;
#[allow(
    elided_lifetimes_in_paths,
    reason = "rasn's derive writes them for tagged CHOICE types"
)]
pub mod es10c;
pub mod function;
pub mod isdr;
pub mod link;
#[cfg(feature = "pcsc")]
pub mod pcsc;
pub mod store_data;
pub mod tlv;
pub mod transport;
pub mod types;
