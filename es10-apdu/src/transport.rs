//! One command APDU in, one response APDU out, with a deadline.
//!
//! A [`Transport`] does not retry, does not fetch with GET RESPONSE, opens no channel and knows no
//! TLV; all of that is built on top of it. Middleware wraps one transport into another:
//! [`trace`] logs, [`script`] plays a written dialogue.

use std::future::{Future, ready};
use std::time::Duration;
use std::{fmt, io};

pub use deadline::Deadline;
pub use session::Session;

use crate::apdu::{Command, MalformedApdu, Response};
use crate::types::Aid;

mod deadline;
pub mod script;
mod session;
pub mod trace;

/// An APDU pipe to a card.
pub trait Transport: Send {
    /// Sends one command APDU and waits for its response APDU until `deadline`.
    ///
    /// # Errors
    /// When no response APDU came back; [`TransportError::outcome`] tells whether the card may
    /// have executed the command.
    ///
    /// # Cancel safety
    /// Dropping the future after the command was sent leaves its outcome unknown. The transport
    /// stays usable: an answer that arrives late is never taken for that of the next command.
    fn transmit(
        &mut self,
        command: &Command,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Response, TransportError>> + Send;

    /// Whether the device opens logical channels itself and calls them sessions. Commands then go to
    /// the session that was opened or resumed last, and their class byte names no channel.
    fn has_sessions(&self) -> bool {
        false
    }

    /// Opens a session with an application.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a session open.
    fn open_session(
        &mut self,
        aid: &Aid,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Session, TransportError>> + Send {
        let _ = (aid, deadline);
        ready(Err(no_sessions()))
    }

    /// Takes up a session that was opened before.
    fn resume_session(&mut self, session: &Session) {
        let _ = session;
    }

    /// Closes the session that was opened or resumed last.
    ///
    /// # Cancel safety
    /// May be repeated.
    fn close_session(
        &mut self,
        deadline: Deadline,
    ) -> impl Future<Output = Result<(), TransportError>> + Send {
        let _ = deadline;
        ready(Err(no_sessions()))
    }
}

impl<T: Transport> Transport for &mut T {
    async fn transmit(
        &mut self,
        command: &Command,
        deadline: Deadline,
    ) -> Result<Response, TransportError> {
        (**self).transmit(command, deadline).await
    }

    fn has_sessions(&self) -> bool {
        (**self).has_sessions()
    }

    async fn open_session(
        &mut self,
        aid: &Aid,
        deadline: Deadline,
    ) -> Result<Session, TransportError> {
        (**self).open_session(aid, deadline).await
    }

    fn resume_session(&mut self, session: &Session) {
        (**self).resume_session(session);
    }

    async fn close_session(&mut self, deadline: Deadline) -> Result<(), TransportError> {
        (**self).close_session(deadline).await
    }
}

/// A device without sessions was asked for one.
fn no_sessions() -> TransportError {
    TransportError::not_sent(Fault::Io(io::ErrorKind::Unsupported))
}

/// What is known about a command that did not succeed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The card answered that it did not do it.
    Refused,
    /// The command never reached the card; it may be sent again.
    NotReached,
    /// The command was sent and its answer is lost or unclear: the card may have done it. The
    /// card has to be read again before anything is said, and the command is not sent again.
    Unknown,
}

/// No response APDU came back.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{fault}{}", if *.sent { "; the card may have executed the command" } else { "" })]
pub struct TransportError {
    /// What went wrong.
    #[source]
    pub fault: Fault,
    /// Whether any byte of the command had been handed over before.
    pub sent: bool,
}

impl TransportError {
    /// The command was not handed over.
    pub fn not_sent(fault: impl Into<Fault>) -> Self {
        Self {
            fault: fault.into(),
            sent: false,
        }
    }

    /// The command was handed over and no valid response came back.
    pub fn unanswered(fault: impl Into<Fault>) -> Self {
        Self {
            fault: fault.into(),
            sent: true,
        }
    }

    /// Whether the port is lost, so that it has to be opened again.
    pub fn is_gone(&self) -> bool {
        matches!(self.fault, Fault::Closed | Fault::Io(_))
    }

    /// Whether the modem or reader was using the card itself.
    ///
    /// It says nothing of the outcome: some say so of a command that the card has executed.
    pub fn is_busy(&self) -> bool {
        matches!(&self.fault, Fault::Device(refusal) if refusal.kind == DeviceRefusalKind::Busy)
    }

    /// [`Outcome::NotReached`] before the first byte was written, [`Outcome::Unknown`] after it.
    ///
    /// A modem's bare `ERROR` counts as unknown as well: modems are known to answer `ERROR` to the
    /// last block of a command which the card goes on to execute.
    pub fn outcome(&self) -> Outcome {
        match self.sent {
            true => Outcome::Unknown,
            false => Outcome::NotReached,
        }
    }
}

/// Why no response APDU came back.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The port is gone: unplugged, re-enumerating, or closed by the other side.
    #[error("the port is gone")]
    Closed,
    /// The operating system reported an error.
    #[error("input/output error: {0}")]
    Io(io::ErrorKind),
    /// Nothing that ends a command arrived in time.
    #[error("the modem did not answer within {} s", after.as_secs_f32())]
    Timeout {
        /// How long the whole step was given.
        after: Duration,
    },
    /// The modem or reader refused, or said that it failed.
    #[error("the modem answered {0}")]
    Device(DeviceRefusal),
    /// The answer is not one that can be trusted.
    #[error(transparent)]
    Garbled(#[from] Garbled),
}

/// A modem or reader answered with an error of its own instead of the card's response APDU.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{said}")]
pub struct DeviceRefusal {
    /// What it comes to.
    pub kind: DeviceRefusalKind,
    /// Whether the device may do it a moment later.
    pub may_pass: bool,
    /// The device's own words.
    pub said: Box<str>,
}

impl DeviceRefusal {
    /// A refusal of this kind, in the words the device used. One that says nothing in particular may
    /// pass, as does being busy.
    pub fn new(kind: DeviceRefusalKind, said: &impl fmt::Display) -> Self {
        Self {
            kind,
            may_pass: matches!(kind, DeviceRefusalKind::Busy | DeviceRefusalKind::Other),
            said: said.to_string().into(),
        }
    }
}

/// What a device's refusal comes to, whatever code it has for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DeviceRefusalKind {
    /// The card is in use, or not ready yet: later it may work.
    Busy,
    /// No card is in the slot.
    NoCard,
    /// The device cannot work with the card; some say so of one without an enabled profile.
    CardFailed,
    /// The card or the modem wants a PIN or PUK first.
    Locked,
    /// The device does not pass such a command on.
    NotAllowed,
    /// Anything else, such as a bare `ERROR`.
    Other,
}

/// An answer that cannot be trusted. The bytes themselves are not kept: they may be secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Garbled {
    /// The modem said it was done without giving a response APDU.
    #[error("the modem said OK without a response APDU")]
    NoResponse,
    /// More than one response APDU came for one command.
    #[error("the modem gave {count} response APDUs for one command")]
    SeveralResponses {
        /// How many.
        count: usize,
    },
    /// Not of the form length, hexadecimal digits.
    #[error("the modem's answer has no length and hexadecimal digits")]
    Form,
    /// The announced length is not that of the digits, so something is missing.
    #[error("the modem announced {announced} hexadecimal digits and gave {digits}")]
    Length {
        /// What the length field says.
        announced: usize,
        /// How many digits followed.
        digits: usize,
    },
    /// The bytes are no response APDU.
    #[error(transparent)]
    Apdu(#[from] MalformedApdu),
    /// A line or an answer longer than anything a modem may say.
    #[error("the modem's answer is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The card announced data, and GET RESPONSE gave none of them.
    #[error("the card announced an answer that cannot be fetched")]
    Unfetched,
    /// The card goes on announcing more data without giving any.
    #[error("the card announces more data without end")]
    Endless,
}

impl From<Garbled> for TransportError {
    fn from(garbled: Garbled) -> Self {
        Self::unanswered(garbled)
    }
}
