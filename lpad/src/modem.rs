//! What lpad does with the modem itself: opens its port, asks who it is and which profile it uses,
//! and makes it read the card again.

mod cause;
mod device;
mod identity;
mod ladder;
mod place;
mod port;
pub mod ports;
mod profile_in_use;
mod registration;
pub mod table;

pub(crate) use self::cause::{Cause, Meaning};
pub use self::device::Device;
pub use self::identity::Identity;
pub(crate) use self::identity::imei;
pub(crate) use self::ladder::{Made, SETTLE, shown, write, writes};
pub use self::port::{OpenPort, SerialPort};
pub(crate) use self::profile_in_use::{ProfileInUse, ReportedProfile};
pub(crate) use self::registration::{Look, Registration, look};

#[cfg(test)]
mod tests;
