//! A logical channel of the card with an application selected on it.

mod exchange;
mod opening;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

pub(crate) use self::exchange::Persistence;
use self::exchange::exchange;
use self::opening::Opening;
pub use self::opening::{close_recorded, close_unnamed};
use crate::apdu::{Channel, Command, Response, StatusWord};
use crate::link::{GetResponseClass, LinkOptions};
use crate::transport::{Deadline, DeviceRefusal, Outcome, Session, Transport, TransportError};
use crate::types::Aid;

/// Where commands for an application go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A logical channel, which the class byte names.
    Channel(Channel),
    /// A session of a device that opens channels itself and puts them into the class byte.
    Session(Session),
}

impl Place {
    /// The class byte of a command that goes there, from its class byte on the basic channel.
    fn class(&self, base: u8) -> u8 {
        match self {
            Self::Channel(channel) => channel.class(base),
            Self::Session(_) => base,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(channel) => channel.fmt(f),
            Self::Session(session) => session.fmt(f),
        }
    }
}

/// An open logical channel on which an application has been selected.
///
/// It has to be closed with [`LogicalChannel::close`]: a card has few channels, and one that is
/// left open stays so until the card is reset. Who may be killed in between gives a
/// [`ChannelRecord`] that survives, and calls [`close_recorded`] at the next start.
#[derive(Debug)]
pub struct LogicalChannel<T> {
    transport: T,
    place: Place,
    record: Option<Arc<dyn ChannelRecord>>,
    get_response: GetResponseClass,
    close_deadline: Duration,
}

impl<T: Transport> LogicalChannel<T> {
    /// Opens a channel and selects the application by the first of its identifiers that the card
    /// knows: with MANAGE CHANNEL and SELECT, or as a session of the device. When the card knows
    /// none, the channel is closed again.
    ///
    /// When no channel is to be had, the recorded ones are closed, and after them channels (or
    /// sessions) 1 to 3: a killed process may have left them open.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a channel open. Once its number was seen it is in the record,
    /// so that [`close_recorded`] closes it.
    pub async fn open(
        mut transport: T,
        application: &Application,
        link: &LinkOptions,
        record: Option<Arc<dyn ChannelRecord>>,
    ) -> Result<Self, OpenError> {
        let opening = Opening {
            transport: &mut transport,
            application,
            link,
            record: record.as_deref(),
        };
        let place = opening.open().await?;
        Ok(Self::resume(transport, place, link, record))
    }

    /// Goes on with a channel that was opened before, over the same kind of transport.
    pub fn resume(
        mut transport: T,
        place: Place,
        link: &LinkOptions,
        record: Option<Arc<dyn ChannelRecord>>,
    ) -> Self {
        if let Place::Session(session) = &place {
            transport.resume_session(session);
        }
        Self {
            transport,
            place,
            record,
            get_response: link.get_response,
            close_deadline: link.deadlines.close,
        }
    }

    /// Sends a command, its class byte as on the basic channel, on this channel and gathers the
    /// whole response: `61xx` is followed by GET RESPONSE, `6Cxx` by the command with that Le. The
    /// deadline is that of all of them together.
    ///
    /// # Cancel safety
    /// Whether the command was executed is unknown; the channel stays usable.
    pub async fn transmit(
        &mut self,
        mut command: Command,
        deadline: Deadline,
    ) -> Result<Response, TransportError> {
        command.cla = self.place.class(command.cla);
        exchange(&mut self.transport, &command, self.get_response, deadline).await
    }

    /// Closes the channel. When the port is gone it cannot be closed; the card does so itself
    /// when it is reset. Until it is known to be closed, the channel stays in the record.
    pub async fn close(mut self) -> Result<(), TransportError> {
        if let Err(error) =
            opening::close(&mut self.transport, &self.place, self.close_deadline).await
        {
            warn!(channel = %self.place, %error, "the channel stays open");
            return Err(error);
        }
        if let Some(record) = &self.record {
            record.closed(&self.place);
        }
        Ok(())
    }

    /// Where its commands go.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// From now on GET RESPONSE has this class byte.
    pub(crate) fn set_get_response(&mut self, class: GetResponseClass) {
        self.get_response = class;
    }
}

/// Remembers open channels beyond the life of this process.
///
/// A memory of open channels is void after a card reset. It is kept where it is lost together with
/// the card's power, such as `/run`.
pub trait ChannelRecord: fmt::Debug + Send + Sync {
    /// The channels that were opened and not closed.
    fn open_channels(&self) -> Vec<RecordedChannel>;

    /// A channel has been opened; called before anything else is sent on it.
    fn opened(&self, place: &Place);

    /// The application has been selected on a channel.
    fn selected(&self, place: &Place);

    /// A channel has been closed, or is known not to be open, or not to be ours any more.
    fn closed(&self, place: &Place);
}

/// A channel that was opened and not closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordedChannel {
    /// The channel or session.
    pub place: Place,
    /// Whether the application is selected on it and answers, unless the card was reset. Without that
    /// a channel cannot be told from any other one.
    pub selected: bool,
}

/// An application of the card.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its identifiers, in the order in which they are tried.
    pub aids: Vec<Aid>,
    /// What tells it from others on a channel.
    pub proof: Proof,
}

/// A question that changes nothing and is answered so by one application only.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The question, its class byte as on the basic channel.
    pub question: Command,
    /// How the answer begins.
    pub answer: Vec<u8>,
}

/// Why no channel with the application could be had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OpenError {
    /// MANAGE CHANNEL was refused.
    #[error("the card opens no logical channel: {sw}")]
    ManageChannel {
        /// Its status word.
        sw: StatusWord,
    },
    /// MANAGE CHANNEL gave no channel number an LPA may use.
    #[error("the card gave no usable channel number")]
    NoChannelNumber,
    /// No application could be selected.
    #[error("the application cannot be selected: {sw}")]
    Select {
        /// The status word for the last one tried.
        sw: StatusWord,
    },
    /// The device opens no session with the application, and does not say why.
    #[error("no session with the application can be opened: {refusal}")]
    Session {
        /// What the device said to the last one tried.
        refusal: DeviceRefusal,
    },
    /// The card was not reached, or its answer is lost.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl OpenError {
    /// What the card has done; selecting an application can always be repeated.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::ManageChannel { .. }
            | Self::NoChannelNumber
            | Self::Select { .. }
            | Self::Session { .. } => Outcome::Refused,
            Self::Transport(error) => error.outcome(),
        }
    }
}

#[cfg(test)]
mod tests;
