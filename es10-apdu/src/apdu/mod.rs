//! APDUs of ISO/IEC 7816-4 as far as an LPA needs them: no I/O.

mod class;
mod command;
mod response;
mod status;

pub use class::Channel;
pub use command::Command;
pub use response::Response;
pub use status::StatusWord;

/// Instruction bytes an LPA or the card behind it meets.
pub mod ins {
    /// MANAGE CHANNEL, ETSI TS 102 221 section 11.1.17.
    pub const MANAGE_CHANNEL: u8 = 0x70;
    /// SELECT, ISO/IEC 7816-4.
    pub const SELECT: u8 = 0xA4;
    /// GET RESPONSE, ISO/IEC 7816-4.
    pub const GET_RESPONSE: u8 = 0xC0;
    /// STORE DATA, GlobalPlatform Card Specification section 11.11.
    pub const STORE_DATA: u8 = 0xE2;
}

/// Bytes that are no APDU.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MalformedApdu {
    /// Shorter than the header (command) or the status word (response).
    #[error("an APDU of {length} bytes is too short")]
    TooShort {
        /// How many bytes there were.
        length: usize,
    },
    /// Lc or Le do not agree with the number of bytes.
    #[error("the length fields do not agree with {length} bytes")]
    WrongLength {
        /// How many bytes there were.
        length: usize,
    },
}
