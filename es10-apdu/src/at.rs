//! A modem's AT port and the APDU transports over it, 3GPP TS 27.007 and V.250.

mod apdu;
mod cgla;
mod csim;
mod line;
mod port;
mod profile;
mod serial;

pub use cgla::Cgla;
pub use csim::Csim;
pub use line::{Cme, Line, LineParser, Pending, ResultCode};
pub use port::{AtPort, Statistics};
pub use profile::ModemProfile;
pub use serial::{Holder, Serial, SerialCause, SerialError};
