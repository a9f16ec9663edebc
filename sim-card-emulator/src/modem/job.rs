//! What a command line asks of the card, and what is left of the line meanwhile.

use super::files::FileAccess;

/// What a command line asks of the card.
#[derive(Clone, Debug)]
pub(super) enum Job {
    /// `AT+CSIM`: an APDU as it is, 3GPP TS 27.007 section 8.17.
    Csim(Vec<u8>),
    /// `AT+CGLA`: an APDU on a session.
    Cgla { session: String, apdu: Vec<u8> },
    /// `AT+CCHO`: a session with an application.
    Ccho { aid: Vec<u8> },
    /// `AT+CCHC`: the end of a session.
    Cchc { session: String },
    /// `AT+CRSM`: a file.
    Crsm(FileAccess),
    /// `AT+CSIM=1` and `AT+CSIM=0` of Telit modems.
    Lock { locked: bool },
}

/// What is left of a command line, and what it has come to so far.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) text: String,
    pub(super) lines: Vec<String>,
}
