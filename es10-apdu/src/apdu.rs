//! APDUs of ISO/IEC 7816-4 as far as an LPA needs them: no I/O.

mod class;
mod command;
mod response;
mod status;

pub use class::Channel;
pub use command::Command;
pub use response::Response;
pub use status::StatusWord;

/// Instruction bytes an LPA, a modem or the card behind it meets.
pub mod ins {
    /// TERMINAL PROFILE, ETSI TS 102 221.
    pub const TERMINAL_PROFILE: u8 = 0x10;
    /// FETCH, ETSI TS 102 221.
    pub const FETCH: u8 = 0x12;
    /// TERMINAL RESPONSE, ETSI TS 102 221.
    pub const TERMINAL_RESPONSE: u8 = 0x14;
    /// VERIFY PIN, ETSI TS 102 221.
    pub const VERIFY_PIN: u8 = 0x20;
    /// UNBLOCK PIN, ETSI TS 102 221.
    pub const UNBLOCK_PIN: u8 = 0x2C;
    /// MANAGE CHANNEL, ETSI TS 102 221 section 11.1.17.
    pub const MANAGE_CHANNEL: u8 = 0x70;
    /// SELECT, ISO/IEC 7816-4.
    pub const SELECT: u8 = 0xA4;
    /// TERMINAL CAPABILITY, ETSI TS 102 221.
    pub const TERMINAL_CAPABILITY: u8 = 0xAA;
    /// READ BINARY, ISO/IEC 7816-4.
    pub const READ_BINARY: u8 = 0xB0;
    /// READ RECORD, ISO/IEC 7816-4.
    pub const READ_RECORD: u8 = 0xB2;
    /// GET RESPONSE, ISO/IEC 7816-4.
    pub const GET_RESPONSE: u8 = 0xC0;
    /// UPDATE BINARY, ISO/IEC 7816-4.
    pub const UPDATE_BINARY: u8 = 0xD6;
    /// UPDATE RECORD, ISO/IEC 7816-4.
    pub const UPDATE_RECORD: u8 = 0xDC;
    /// STORE DATA, GlobalPlatform Card Specification section 11.11.
    pub const STORE_DATA: u8 = 0xE2;
    /// STATUS, ETSI TS 102 221.
    pub const STATUS: u8 = 0xF2;
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
