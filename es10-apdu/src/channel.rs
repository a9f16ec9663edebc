//! A logical channel of the card with an application selected on it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, warn};

use crate::apdu::{Channel, Command, Response, StatusWord, ins};
use crate::link::{Deadlines, LinkOptions};
use crate::transport::{Deadline, Fault, Garbled, Outcome, Transport, TransportError};
use crate::types::Aid;

/// An open logical channel on which an application has been selected.
///
/// It has to be closed with [`LogicalChannel::close`]: a card has few channels, and one that is
/// left open stays so until the card is reset. Who may be killed in between gives a
/// [`ChannelRecord`] that survives, and calls [`close_recorded`] at the next start.
#[derive(Debug)]
pub struct LogicalChannel<T> {
    transport: T,
    channel: Channel,
    record: Option<Arc<dyn ChannelRecord>>,
    close_deadline: Duration,
}

impl<T: Transport> LogicalChannel<T> {
    /// Opens a channel with MANAGE CHANNEL and selects the application by the first of its
    /// identifiers that the card knows. When it knows none, the channel is closed again.
    ///
    /// When the card has no free channel, the recorded ones are closed, and after them channels 1
    /// to 3: a killed process may have left them open.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a channel open. It is in the record, so that
    /// [`close_recorded`] closes it.
    pub async fn open(
        mut transport: T,
        application: &Application,
        link: &LinkOptions,
        record: Option<Arc<dyn ChannelRecord>>,
    ) -> Result<Self, OpenError> {
        let Deadlines { open, close, .. } = link.deadlines;
        let record_and_proof = record.as_deref().map(|record| (record, &application.proof));
        let channel = open_with_clean_up(&mut transport, record_and_proof, open, close).await?;
        // Before SELECT: a process that is killed from here on leaves the channel open.
        if let Some(record) = &record {
            record.opened(channel);
        }
        let mut opened = Self {
            transport,
            channel,
            record,
            close_deadline: close,
        };
        match opened.select(&application.aids, link).await {
            Ok(()) => {
                if let Some(record) = &opened.record {
                    record.selected(channel);
                }
                Ok(opened)
            }
            Err(error) => {
                if let Err(error) = opened.close().await {
                    warn!(%channel, %error, "the channel stays open");
                }
                Err(error)
            }
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
        command.cla = self.channel.class(command.cla);
        exchange(&mut self.transport, &command, deadline).await
    }

    /// Closes the channel. When the port is gone it cannot be closed; the card does so itself
    /// when it is reset. Until it is known to be closed, the channel stays in the record.
    pub async fn close(mut self) -> Result<(), TransportError> {
        close(&mut self.transport, self.channel, self.close_deadline).await?;
        if let Some(record) = &self.record {
            record.closed(self.channel);
        }
        Ok(())
    }

    /// Its number.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    async fn select(&mut self, aids: &[Aid], link: &LinkOptions) -> Result<(), OpenError> {
        let mut last = StatusWord::NOT_FOUND;
        for aid in aids {
            let command = Command {
                data: aid.octets().to_vec(),
                le: link.le.field(),
                ..Command::new(self.channel.class(0x00), ins::SELECT, 0x04, 0x00)
            };
            let transport = &mut self.transport;
            let deadline = Deadline::after(link.deadlines.open);
            let selected = match exact(transport, &command, deadline).await {
                // Selecting twice does no harm, and some modems fail at the first command on a
                // channel that was just opened: EG95 answers `+CME ERROR: 0`.
                Err(error) if matches!(error.fault, Fault::Device(_)) => {
                    debug!(%error, "selecting again");
                    sleep(BEFORE_SELECTING_AGAIN.min(deadline.left())).await;
                    exact(transport, &command, deadline).await
                }
                selected => selected,
            };
            let sw = selected?.sw;
            // The file control information is not fetched after 61xx: nothing in it is needed,
            // and a card drops it at the next command.
            if sw.is_success() || sw.is_warning() || sw.has_more() {
                return Ok(());
            }
            debug!(%sw, "not this application");
            last = sw;
        }
        Err(OpenError::Select { sw: last })
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
    fn opened(&self, channel: Channel);

    /// The application has been selected on a channel.
    fn selected(&self, channel: Channel);

    /// A channel has been closed, or is known not to be open, or not to be ours any more.
    fn closed(&self, channel: Channel);
}

/// A channel that was opened and not closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecordedChannel {
    /// The channel.
    pub channel: Channel,
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

impl Proof {
    /// Whether the application answers on this channel.
    async fn holds(
        &self,
        transport: &mut impl Transport,
        channel: Channel,
        deadline: Deadline,
    ) -> Result<bool, TransportError> {
        let question = Command {
            cla: channel.class(self.question.cla),
            ..self.question.clone()
        };
        // A card that was left between the blocks of a command refuses the next one once.
        for _ in 0..2 {
            let Response { data, sw } = exchange(transport, &question, deadline).await?;
            if sw.is_success() && data.starts_with(&self.answer) {
                return Ok(true);
            }
            debug!(%channel, %sw, "the application does not answer");
        }
        Ok(false)
    }
}

/// Closes the channels that an earlier process has left open, as remembered by `record`. May be
/// called again after an error.
///
/// The card may have been reset since, and another program may have got the same number. So a
/// channel on which the application was selected is closed only if it still answers there.
///
/// # Errors
/// When the transport fails; channels not yet closed stay in the record, and so do those that the
/// modem does not let be closed. A card that refuses has no such channel any more.
pub async fn close_recorded(
    transport: &mut impl Transport,
    record: &dyn ChannelRecord,
    proof: &Proof,
    deadline: Duration,
) -> Result<(), TransportError> {
    for RecordedChannel { channel, selected } in record.open_channels() {
        let is_ours = match selected {
            true => unless_refused(
                proof
                    .holds(transport, channel, Deadline::after(deadline))
                    .await,
            ),
            // What was never selected cannot answer.
            false => Ok(Some(true)),
        };
        match is_ours? {
            Some(true) => {
                debug!(%channel, "closing a channel that was left open");
                if close_unless_refused(transport, channel, deadline).await? {
                    record.closed(channel);
                }
            }
            Some(false) => {
                debug!(%channel, "the channel is closed, or another program's by now");
                record.closed(channel);
            }
            None => {}
        }
    }
    Ok(())
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
    /// The card was not reached, or its answer is lost.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl OpenError {
    /// What the card has done; selecting an application can always be repeated.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::ManageChannel { .. } | Self::NoChannelNumber | Self::Select { .. } => {
                Outcome::Refused
            }
            Self::Transport(error) => error.outcome(),
        }
    }
}

async fn open_with_clean_up(
    transport: &mut impl Transport,
    record: Option<(&dyn ChannelRecord, &Proof)>,
    deadline: Duration,
    close_deadline: Duration,
) -> Result<Channel, OpenError> {
    let refused = match open(transport, deadline).await {
        Err(error @ OpenError::ManageChannel { sw }) if means_none_free(sw) => error,
        result => return result,
    };
    warn!(error = %refused, "no free channel, closing those left open");
    // The recorded ones are known to be of an earlier process of this program. Any other may be the
    // modem's own or another program's, so it is closed only when nothing else helps.
    if let Some((record, proof)) = record
        && !record.open_channels().is_empty()
    {
        close_recorded(transport, record, proof, close_deadline).await?;
        match open(transport, deadline).await {
            Err(OpenError::ManageChannel { sw }) if means_none_free(sw) => {}
            result => return result,
        }
    }
    // The standard channels: a card need not have the extended ones, 4 to 19.
    for channel in (1..=3).filter_map(Channel::new) {
        close_unless_refused(transport, channel, close_deadline).await?;
    }
    open(transport, deadline).await
}

fn means_none_free(sw: StatusWord) -> bool {
    // ETSI TS 102 221 has no status word for it alone: cards give one of these.
    matches!(
        sw,
        StatusWord::FUNCTION_NOT_SUPPORTED | StatusWord::CHANNEL_NOT_SUPPORTED
    )
}

async fn open(transport: &mut impl Transport, deadline: Duration) -> Result<Channel, OpenError> {
    // The answer is one byte, the number. A card that is asked for 256 with 00 may say 6C01.
    let command = Command {
        le: Some(1),
        ..Command::new(0x00, ins::MANAGE_CHANNEL, 0x00, 0x00)
    };
    let deadline = Deadline::after(deadline);
    let Response { data, sw } = exchange(transport, &command, deadline).await?;
    if !sw.is_success() {
        return Err(OpenError::ManageChannel { sw });
    }
    match data[..] {
        // Channel 0 is the modem's: a profile is in use on it.
        [number] if number != 0 => Channel::new(number).ok_or(OpenError::NoChannelNumber),
        _ => Err(OpenError::NoChannelNumber),
    }
}

/// Closes a channel; whether the card had it open does not matter.
async fn close(
    transport: &mut impl Transport,
    channel: Channel,
    deadline: Duration,
) -> Result<(), TransportError> {
    // The 00 at the end is not wanted by the card, but some modems refuse APDUs of four bytes.
    let command = Command {
        le: Some(0),
        ..Command::new(0x00, ins::MANAGE_CHANNEL, 0x80, channel.number())
    };
    let deadline = Deadline::after(deadline);
    let sw = transport.transmit(&command, deadline).await?.sw;
    if !sw.is_success() {
        debug!(%channel, %sw, "the channel was not open");
    }
    Ok(())
}

/// Closes a channel and says whether that was possible: modems may refuse it.
async fn close_unless_refused(
    transport: &mut impl Transport,
    channel: Channel,
    deadline: Duration,
) -> Result<bool, TransportError> {
    let closed = unless_refused(close(transport, channel, deadline).await)?;
    Ok(closed.is_some())
}

/// `None` for what the modem did not let through.
fn unless_refused<R>(done: Result<R, TransportError>) -> Result<Option<R>, TransportError> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) if matches!(error.fault, Fault::Device(_)) => {
            debug!(%error, "the modem does not do it");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Sends a command and gathers its whole response.
async fn exchange(
    transport: &mut impl Transport,
    command: &Command,
    deadline: Deadline,
) -> Result<Response, TransportError> {
    let mut response = exact(transport, command, deadline).await?;
    let mut data = std::mem::take(&mut response.data);
    let mut sw = response.sw;
    let mut empty_rounds = 0;
    for _ in 0..MAX_ROUNDS {
        if !sw.has_more() {
            return Ok(Response { data, sw });
        }
        // Modems that run GET RESPONSE themselves never show 61xx, so this serves both kinds.
        let fetch = Command {
            le: Some(sw.sw2()),
            // Modems that watch the class byte want that of the command the data belong to.
            ..Command::new(command.cla, ins::GET_RESPONSE, 0x00, 0x00)
        };
        // The card has executed the command, whatever becomes of its answer.
        let more = exact(transport, &fetch, deadline).await;
        let more = more.map_err(|error| TransportError::unanswered(error.fault))?;
        empty_rounds = match more.data.is_empty() {
            true => empty_rounds + 1,
            false => 0,
        };
        data.extend(more.data);
        sw = more.sw;
        if empty_rounds == MAX_EMPTY_ROUNDS || data.len() > MAX_RESPONSE {
            break;
        }
    }
    match sw.has_more() {
        true => Err(Garbled::Endless.into()),
        false => Ok(Response { data, sw }),
    }
}

/// Sends a command, and once more with the Le the card asks for: a second 6Cxx is an answer.
async fn exact(
    transport: &mut impl Transport,
    command: &Command,
    deadline: Deadline,
) -> Result<Response, TransportError> {
    let response = transport.transmit(command, deadline).await?;
    let Some(le) = response.sw.exact_le() else {
        return Ok(response);
    };
    // A wrong Le means that nothing was done, so that even a state-changing command is safe.
    let command = Command {
        le: Some(le),
        ..command.clone()
    };
    transport.transmit(&command, deadline).await
}

/// What a modem is given to get to know a channel.
const BEFORE_SELECTING_AGAIN: Duration = Duration::from_millis(100);
/// Bytes of one response at most.
const MAX_RESPONSE: usize = 64 * 1024;
/// GET RESPONSE commands for one response at most: [`MAX_RESPONSE`] in pieces of 256, and some empty.
const MAX_ROUNDS: usize = 256 + 8;
/// Announcements without data in a row, after which the card is not believed any more: modems are
/// known that answer `6100` to every GET RESPONSE.
const MAX_EMPTY_ROUNDS: u8 = 2;

#[cfg(test)]
mod tests;
