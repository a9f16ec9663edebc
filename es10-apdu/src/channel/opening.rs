//! Opening and closing: by MANAGE CHANNEL and SELECT, or by the device itself.

use std::time::Duration;

use tracing::{debug, warn};

use super::exchange::{Persistence, exact, exchange};
use super::{Application, ChannelRecord, OpenError, Place, Proof, RecordedChannel};
use crate::apdu::{Channel, Command, Response, StatusWord, ins};
use crate::link::LinkOptions;
use crate::transport::{
    Deadline, DeviceRefusal, DeviceRefusalKind, Fault, Session, Transport, TransportError,
};

/// A channel that is to be opened.
pub(super) struct Opening<'a, T> {
    pub(super) transport: &'a mut T,
    pub(super) application: &'a Application,
    pub(super) link: &'a LinkOptions,
    pub(super) record: Option<&'a dyn ChannelRecord>,
}

impl<T: Transport> Opening<'_, T> {
    /// Opens it and selects the application on it.
    pub(super) async fn open(mut self) -> Result<Place, OpenError> {
        match self.transport.has_sessions() {
            true => self.open_session().await,
            false => self.open_channel().await,
        }
    }

    async fn open_session(&mut self) -> Result<Place, OpenError> {
        let mut session = match self.try_sessions().await {
            Err(error) if matches!(error.fault, Fault::Garbled(_)) => {
                // One may be open whose name was not understood.
                close_unnamed(self.transport, &self.application.proof, self.link).await?;
                return Err(error.into());
            }
            tried => tried?,
        };
        // A modem does not say why. It may be that no channel is free, so those left open are closed,
        // unless the card itself is the reason, or that it is in use.
        if let Err(refusal) = &session
            && !is_about_the_card(refusal)
        {
            debug!(%refusal, "no session, closing those left open");
            if self.close_own().await? {
                session = self.try_sessions().await?;
            }
            // Any other may be another program's, so it is closed only when nothing else helps.
            if session.is_err() {
                for session in first_sessions() {
                    self.transport.resume_session(&session);
                    let deadline = Deadline::after(self.link.deadlines.close);
                    unless_refused(self.transport.close_session(deadline).await)?;
                }
                session = self.try_sessions().await?;
            }
        }
        let place = session
            .map(Place::Session)
            .map_err(|refusal| OpenError::Session { refusal })?;
        self.note(|record| {
            record.opened(&place);
            record.selected(&place);
        });
        Ok(place)
    }

    /// Tries to open a session with the applications in turn; inside, why the device opens none.
    async fn try_sessions(&mut self) -> Result<Result<Session, DeviceRefusal>, TransportError> {
        let mut last = None;
        for aid in &self.application.aids {
            let deadline = Deadline::after(self.link.deadlines.open);
            let mut persistence = Persistence::default();
            loop {
                match self.transport.open_session(aid, deadline).await {
                    Ok(session) => return Ok(Ok(session)),
                    Err(error) if persistence.again(&error, deadline).await => {
                        self.close_own().await?;
                    }
                    Err(TransportError {
                        fault: Fault::Device(refusal),
                        ..
                    }) => {
                        last = Some(refusal);
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        match last {
            Some(refusal) => Ok(Err(refusal)),
            None => Err(TransportError::not_sent(Fault::Closed)),
        }
    }

    async fn open_channel(&mut self) -> Result<Place, OpenError> {
        let channel = self.free_channel().await?;
        let place = Place::Channel(channel);
        // Before SELECT: a process that is killed from here on leaves the channel open.
        self.note(|record| record.opened(&place));
        let selected = self.select(channel).await;
        match &selected {
            Ok(()) => self.note(|record| record.selected(&place)),
            Err(_) => match close(self.transport, &place, self.link.deadlines.close).await {
                Ok(()) => self.note(|record| record.closed(&place)),
                Err(error) => warn!(%channel, %error, "the channel stays open"),
            },
        }
        selected.map(|()| place)
    }

    /// A channel, after closing others if none is free.
    async fn free_channel(&mut self) -> Result<Channel, OpenError> {
        let refused = match self.manage_channel().await {
            Err(error @ OpenError::ManageChannel { sw }) if means_none_free(sw) => error,
            result => return result,
        };
        warn!(error = %refused, "no free channel, closing those left open");
        // The recorded ones are known to be of an earlier process of this program. Any other may be the
        // modem's own or another program's, so it is closed only when nothing else helps.
        if self.close_own().await? {
            match self.manage_channel().await {
                Err(OpenError::ManageChannel { sw }) if means_none_free(sw) => {}
                result => return result,
            }
        }
        // The standard channels: a card need not have the extended ones, 4 to 19.
        for channel in (1..=3).filter_map(Channel::new) {
            let place = Place::Channel(channel);
            unless_refused(close(self.transport, &place, self.link.deadlines.close).await)?;
        }
        self.manage_channel().await
    }

    async fn manage_channel(&mut self) -> Result<Channel, OpenError> {
        // The answer is one byte, the number. A card that is asked for 256 with 00 may say 6C01.
        let command = Command {
            le: Some(1),
            ..Command::new(0x00, ins::MANAGE_CHANNEL, 0x00, 0x00)
        };
        let deadline = Deadline::after(self.link.deadlines.open);
        let mut persistence = Persistence::default();
        let Response { data, sw } = loop {
            let class = self.link.get_response;
            match exchange(self.transport, &command, class, deadline).await {
                Err(error) if persistence.again(&error, deadline).await => {
                    self.close_own().await?;
                }
                ended => break ended?,
            }
        };
        if !sw.is_success() {
            return Err(OpenError::ManageChannel { sw });
        }
        match data[..] {
            // Channel 0 is the modem's: a profile is in use on it.
            [number] if number != 0 => Channel::new(number).ok_or(OpenError::NoChannelNumber),
            _ => Err(OpenError::NoChannelNumber),
        }
    }

    async fn select(&mut self, channel: Channel) -> Result<(), OpenError> {
        let mut last = StatusWord::NOT_FOUND;
        let mut may_tell = self.link.terminal_capability;
        for aid in &self.application.aids {
            let command = Command {
                data: aid.octets().to_vec(),
                le: self.link.le.field(),
                ..Command::new(channel.class(0x00), ins::SELECT, 0x04, 0x00)
            };
            let mut sw = self.select_one(&command).await?;
            if may_tell && wants_to_be_told(sw) {
                may_tell = false;
                self.tell_capability().await?;
                sw = self.select_one(&command).await?;
            }
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

    async fn select_one(&mut self, command: &Command) -> Result<StatusWord, TransportError> {
        let deadline = Deadline::after(self.link.deadlines.open);
        let mut persistence = Persistence::default();
        // Selecting twice does no harm.
        loop {
            match exact(self.transport, command, deadline).await {
                Err(error) if persistence.again(&error, deadline).await => {}
                ended => return Ok(ended?.sw),
            }
        }
    }

    /// TERMINAL CAPABILITY, ETSI TS 102 221 section 11.1.19, on the basic channel. It is the modem's
    /// task when the card starts, and modems older than eUICCs leave out that there is an LPA.
    async fn tell_capability(&mut self) -> Result<(), TransportError> {
        debug!("telling the card that there is an LPA");
        let command = Command {
            data: TERMINAL_CAPABILITY.to_vec(),
            ..Command::new(0x80, ins::TERMINAL_CAPABILITY, 0x00, 0x00)
        };
        let deadline = Deadline::after(self.link.deadlines.open);
        unless_refused(self.transport.transmit(&command, deadline).await).map(drop)
    }

    /// Closes what the record knows of; says whether there was anything. Before a channel is asked for
    /// again as well: the modem may have refused one that the card has opened all the same, and the
    /// record names the one it is most likely to be.
    async fn close_own(&mut self) -> Result<bool, TransportError> {
        let proof = &self.application.proof;
        match self.record {
            Some(record) if !record.open_channels().is_empty() => {
                close_recorded(self.transport, record, proof, self.link).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn note(&self, what: impl FnOnce(&dyn ChannelRecord)) {
        if let Some(record) = self.record {
            what(record);
        }
    }
}

/// Closes a channel; whether the card had it open does not matter.
pub(super) async fn close(
    transport: &mut impl Transport,
    place: &Place,
    deadline: Duration,
) -> Result<(), TransportError> {
    let deadline = Deadline::after(deadline);
    match place {
        Place::Channel(channel) => {
            // The 00 at the end is not wanted by the card, but some modems refuse APDUs of four bytes.
            let command = Command {
                le: Some(0),
                ..Command::new(0x00, ins::MANAGE_CHANNEL, 0x80, channel.number())
            };
            let sw = transport.transmit(&command, deadline).await?.sw;
            if !sw.is_success() {
                debug!(%channel, %sw, "the channel was not open");
            }
            Ok(())
        }
        Place::Session(session) => {
            transport.resume_session(session);
            let mut persistence = Persistence::default();
            loop {
                match transport.close_session(deadline).await {
                    Err(error) if persistence.again(&error, deadline).await => {}
                    // Some modems have no AT+CCHC, and others know the session no more after a REFRESH.
                    closed => return unless_refused(closed).map(drop),
                }
            }
        }
    }
}

/// Closes the channels that an earlier process has left open, as remembered by `record`. May be
/// called again after an error.
///
/// The card may have been reset since, and another program may have got the same number. So a
/// channel on which the application was selected is closed only if it still answers there. What is
/// reached in another way than this transport's stays in the record.
///
/// # Errors
/// When the transport fails; channels not yet closed stay in the record, and so do those that the
/// modem does not let be closed. A card that refuses has no such channel any more.
pub async fn close_recorded(
    transport: &mut impl Transport,
    record: &dyn ChannelRecord,
    proof: &Proof,
    link: &LinkOptions,
) -> Result<(), TransportError> {
    for RecordedChannel { place, selected } in record.open_channels() {
        if matches!(place, Place::Session(_)) != transport.has_sessions() {
            continue;
        }
        let is_ours = match selected {
            true => match proof.holds(transport, &place, link).await {
                Err(error) if error.is_busy() => continue,
                answered => unless_refused(answered)?,
            },
            // What was never selected cannot answer.
            false => Some(true),
        };
        match (is_ours, &place) {
            (Some(true), _) => {
                debug!(%place, "closing a channel that was left open");
                let closed = close(transport, &place, link.deadlines.close).await;
                if unless_refused(closed)?.is_some() {
                    record.closed(&place);
                }
            }
            // A modem that does not know the session any more has closed it.
            (Some(false), _) | (None, Place::Session(_)) => {
                debug!(%place, "the channel is closed, or another program's by now");
                record.closed(&place);
            }
            (None, Place::Channel(_)) => {}
        }
    }
    Ok(())
}

/// Closes sessions with the application whose names nobody knows, because the device's answer was lost or
/// not understood: of the first three, those in which the application answers.
///
/// # Errors
/// When the transport fails.
pub async fn close_unnamed(
    transport: &mut impl Transport,
    proof: &Proof,
    link: &LinkOptions,
) -> Result<(), TransportError> {
    if !transport.has_sessions() {
        return Ok(());
    }
    for place in first_sessions().map(Place::Session) {
        let is_open = unless_refused(proof.holds(transport, &place, link).await)?;
        if is_open == Some(true) {
            debug!(%place, "closing a session whose name was lost");
            close(transport, &place, link.deadlines.close).await?;
        }
    }
    Ok(())
}

/// Most modems number their sessions like channels, from 1 on.
fn first_sessions() -> impl Iterator<Item = Session> {
    ["1", "2", "3"].into_iter().filter_map(Session::new)
}

impl Proof {
    /// Whether the application answers there.
    async fn holds(
        &self,
        transport: &mut impl Transport,
        place: &Place,
        link: &LinkOptions,
    ) -> Result<bool, TransportError> {
        if let Place::Session(session) = place {
            transport.resume_session(session);
        }
        let question = Command {
            cla: place.class(self.question.cla),
            ..self.question.clone()
        };
        let deadline = Deadline::after(link.deadlines.close);
        let mut persistence = Persistence::default();
        // A card that was left between the blocks of a command refuses the next one once.
        for _ in 0..2 {
            let Response { data, sw } = loop {
                match exchange(transport, &question, link.get_response, deadline).await {
                    Err(error) if persistence.again(&error, deadline).await => {}
                    ended => break ended?,
                }
            };
            if sw.is_success() && data.starts_with(&self.answer) {
                return Ok(true);
            }
            debug!(%place, %sw, "the application does not answer");
        }
        Ok(false)
    }
}

/// Whether no session is to be had because of the card itself, whatever else is open.
fn is_about_the_card(refusal: &DeviceRefusal) -> bool {
    use DeviceRefusalKind::{Busy, CardFailed, Locked, NoCard};
    matches!(refusal.kind, Busy | CardFailed | Locked | NoCard)
}

fn means_none_free(sw: StatusWord) -> bool {
    // ETSI TS 102 221 has no status word for it alone: cards give one of these.
    matches!(
        sw,
        StatusWord::FUNCTION_NOT_SUPPORTED | StatusWord::CHANNEL_NOT_SUPPORTED
    )
}

/// Whether this may be the answer of a card that does not know yet that its terminal has an LPA.
fn wants_to_be_told(sw: StatusWord) -> bool {
    matches!(
        sw,
        StatusWord::CONDITIONS_OF_USE | StatusWord::SELECTION_FAILED
    )
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

/// No UICC interface power, extended logical channels, and an LPA with LUI, LPD and LDS.
const TERMINAL_CAPABILITY: [u8; 10] = [0xA9, 0x08, 0x81, 0x00, 0x82, 0x01, 0x01, 0x83, 0x01, 0x07];
