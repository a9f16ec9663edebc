//! The port and the card behind it.

mod examination;
mod modem;

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use es10_apdu::apdu::{Command, Response, StatusWord};
use es10_apdu::asn1::Raw;
use es10_apdu::at::{Cgla, Csim, ModemProfile};
use es10_apdu::channel::Place;
use es10_apdu::es10b::ProfileInstallationResult;
use es10_apdu::function::Effect;
use es10_apdu::isdr::{
    CallError, Exchange, Isdr, IsdrOptions, Request, close_recorded, close_unnamed,
};
use es10_apdu::link::{Deadlines, LinkOptions};
#[cfg(feature = "pcsc")]
use es10_apdu::pcsc::ReaderCard;
use es10_apdu::transport::trace::Trace;
use es10_apdu::transport::{Deadline, Fault, Outcome, Session, Transport, TransportError};
use es10_apdu::types::Aid;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::routes::{self, Routes};
use super::waiting::Waits;
#[cfg(feature = "pcsc")]
use crate::config::ApduPath;
use crate::config::{EuiccConfig, ModemEntry, Route};
use crate::failure::{JobFailure, PortFailure};
use crate::job::WaitingOn;
use crate::memory::journal::{OpenChannel, OpenSwitch, SharedJournal};
use crate::modem::table::{Known, Table};
use crate::modem::{Device, OpenPort, ProfileInUse};
use crate::procedure::Card;

/// The one owner of the port, and with it of the card.
pub(super) struct CardPort<O: OpenPort> {
    opener: O,
    port: Option<Device<O::Port>>,
    /// Whether the card may hold something else than was read of it, because the answer to a change
    /// was lost, on this port or on an earlier one.
    answer_lost: bool,
    modem: ModemProfile,
    table: Arc<Table>,
    /// What overrides the table.
    configured: ModemEntry,
    known: Arc<Known>,
    /// Whether the modem has told once whether it is registered.
    tells_registration: bool,
    profile_in_use: ProfileInUse,
    routes: Routes,
    options: IsdrOptions,
    /// Bytes of data in one command at most, as configured.
    block_size: u8,
    path: PathBuf,
    baud: u32,
    waits: Waits,
    record: Arc<OpenChannel>,
}

/// Whether a modem is reset in which case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Must {
    /// Only if the next life of the daemon can end it, should this one not: until then the radio is off.
    IfKept,
    /// Anyway: without it the box may stay without service.
    Anyway,
}

impl Must {
    /// For the candidate of a switch: a way back goes on although the journal cannot be written.
    pub(super) fn of(open: &OpenSwitch) -> Self {
        match open.is_returning() {
            true => Self::Anyway,
            false => Self::IfKept,
        }
    }
}

impl<O: OpenPort> CardPort<O> {
    pub(super) fn new(
        opener: O,
        config: &EuiccConfig,
        journal: SharedJournal,
        table: Arc<Table>,
        waits: Waits,
    ) -> Self {
        let record = Arc::new(OpenChannel::of(config, journal));
        let aids: Vec<Aid> = config
            .aids
            .iter()
            .filter_map(|aid| Aid::from_octets(&aid.0).ok())
            .collect();
        let modem = modem_profile(config);
        let mut options = IsdrOptions {
            link: modem.link.clone(),
            ..IsdrOptions::default()
        };
        if !aids.is_empty() {
            options.aids = aids;
        }
        options.record = Some(record.clone());
        let apdu = config.apdu;
        // In a reader, lpad opens the channels itself, as by this route.
        #[cfg(feature = "pcsc")]
        let apdu = config.reader().map_or(apdu, |_| ApduPath::Csim);
        Self {
            opener,
            port: None,
            answer_lost: false,
            modem,
            table,
            configured: config.modem.clone(),
            known: Arc::default(),
            tells_registration: false,
            profile_in_use: ProfileInUse::default(),
            routes: Routes::new(apdu),
            options,
            block_size: config.block_size,
            path: config.port.clone(),
            baud: config.baud,
            waits,
            record,
        }
    }

    /// Opens the port when it is not open, and brings a modem to known manners.
    pub(super) async fn at(&mut self) -> Result<&mut Device<O::Port>, JobFailure> {
        if self.port.as_ref().is_none_or(Device::is_closed) {
            // The old descriptor must go first: holding it keeps the device's name busy.
            self.port = None;
            let mut device = match timeout(OPENING, self.opener.open()).await {
                Ok(device) => device.map_err(PortFailure::Open)?,
                Err(_) => return Err(PortFailure::Open(io::ErrorKind::TimedOut.into()).into()),
            };
            match &mut device {
                Device::Modem(port) => {
                    let longest = INIT_COMMANDS * self.modem.init;
                    self.waits
                        .on(WaitingOn::Modem, longest, pin!(port.init(&self.modem)))
                        .await
                        .map_err(|error| self.silent_or_lost(error))?;
                    self.recognise(port).await?;
                }
                #[cfg(feature = "pcsc")]
                Device::Reader(_) => self.has_reader(),
            }
            self.port = Some(device);
            self.take_up_route();
        }
        self.port.as_mut().ok_or_else(|| PortFailure::Gone.into())
    }

    /// Handles the link as the modem's entry of the table says, and takes the route that worked with this
    /// modem before.
    fn take_up_route(&mut self) {
        let habits = &self.known.habits;
        let longest = Duration::from_secs;
        self.modem.link = LinkOptions {
            block_size: self.block_size.min(habits.most_in_a_block()),
            le: habits.le,
            get_response: habits.get_response_class,
            terminal_capability: habits.terminal_capability,
            deadlines: Deadlines {
                open: longest(habits.open_s),
                close: longest(habits.close_s),
                block: longest(habits.block_s),
                ..self.modem.link.deadlines
            },
        };
        if let Some(Device::Modem(port)) = &mut self.port {
            port.set_retry(&habits.retry);
        }
        let (modem, link) = (self.known.identity.to_string(), &self.modem.link);
        // What was found out of the same modem in this life, and what is in doubt of it, stays so.
        if let Some(start) = self.routes.start(&modem, &habits.apdu, link) {
            self.options.link = link.clone();
            if let Some(found) = self.record.link(start) {
                self.routes.recall(&found);
                self.options.link = found.over(link);
            }
        }
    }

    /// A modem that does not answer the first command at all is another matter than one that lost
    /// an answer: port or rate are wrong.
    fn silent_or_lost(&self, error: TransportError) -> PortFailure {
        match error.fault {
            Fault::Timeout { .. } => PortFailure::Silent {
                port: self.path.clone(),
                baud: self.baud,
            },
            _ => error.into(),
        }
    }

    /// The ISD-R on a logical channel of its own; it has to be closed. One that could not be closed
    /// before is closed first: the record has room for one.
    pub(super) async fn session(&mut self) -> Result<OpenCard<'_, O::Port>, JobFailure> {
        if self.record.may_be_open() {
            self.close_orphans().await?;
        }
        let (route, place) = self.open_place().await?;
        let Self {
            port: Some(port),
            waits,
            options,
            routes,
            record,
            answer_lost,
            ..
        } = self
        else {
            return Err(PortFailure::Gone.into());
        };
        let pipe = Trace::new(Link::over(port, waits, route));
        Ok(OpenCard {
            isdr: Isdr::resume(pipe, place, options),
            route,
            answer_lost,
            routes,
            link: &mut options.link,
            record,
        })
    }

    /// Opens the ISD-R by the route that is known to work, else by the first that does.
    async fn open_place(&mut self) -> Result<(Route, Place), JobFailure> {
        self.at().await?;
        if let Some(route) = self.routes.proven() {
            match self.open_by(route).await {
                Err(failure) if self.routes.is_refused(&failure) => {
                    let failure = failure.shortened();
                    tracing::info!(%route, failure, "the route does not work any more");
                    self.routes.forget();
                }
                opened => return Ok((route, opened?)),
            }
        }
        let mut because = None;
        for route in self.routes.order() {
            // The record has room for one channel, and the next route cannot close it.
            if self.record.may_be_open() {
                self.close_orphans().await?;
            }
            match self.try_route(route).await {
                Ok(place) => return Ok((route, place)),
                Err(failure) if Routes::may_be_another(&failure) => {
                    tracing::info!(%route, failure = failure.shortened(), "not by this route");
                    because = Some(routes::more_telling(because, failure));
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(because.unwrap_or_else(|| PortFailure::Gone.into()))
    }

    /// Opens the ISD-R by this route, finds out how it wants to be used, and remembers that.
    async fn try_route(&mut self, route: Route) -> Result<Place, JobFailure> {
        let (place, link) = self.adapt(route).await?;
        tracing::debug!(%route, ?link, "the route works");
        self.record.found(self.routes.found(route, &link));
        self.options.link = link;
        Ok(place)
    }

    /// Opens the ISD-R by this route, and finds out how it wants to be used.
    async fn adapt(&mut self, route: Route) -> Result<(Place, LinkOptions), JobFailure> {
        self.options.link = self.modem.link.clone();
        let place = self.open_by(route).await?;
        let mut isdr = self.isdr_at(place.clone(), route)?;
        match isdr.adapt().await {
            Ok(link) => Ok((place, link)),
            Err(error) => {
                if let Err(error) = isdr.close().await {
                    tracing::debug!(%error, "the logical channel could not be closed");
                }
                Err(error.into())
            }
        }
    }

    /// The ISD-R that was opened by this route.
    fn isdr_at(
        &mut self,
        place: Place,
        route: Route,
    ) -> Result<Isdr<Trace<Link<'_, O::Port>>>, JobFailure> {
        let port = self.port.as_mut().ok_or(PortFailure::Gone)?;
        let link = Trace::new(Link::over(port, &self.waits, route));
        Ok(Isdr::resume(link, place, &self.options))
    }

    async fn open_by(&mut self, route: Route) -> Result<Place, JobFailure> {
        self.at().await?;
        let port = self.port.as_mut().ok_or(PortFailure::Gone)?;
        self.record.opening();
        let link = Trace::new(Link::over(port, &self.waits, route));
        match Isdr::open(link, &self.options).await {
            Ok(isdr) => Ok(isdr.place().clone()),
            Err(error) => {
                if error.outcome() != Outcome::Unknown {
                    self.record.was_not_opened();
                }
                Err(JobFailure::from(error).with_hint(&self.known.habits.no_isd_r))
            }
        }
    }

    /// Closes what was left open: by an earlier life of the daemon, or because an answer was lost.
    pub(super) async fn close_orphans(&mut self) -> Result<(), JobFailure> {
        self.at().await?;
        let port = self.port.as_mut().ok_or(PortFailure::Gone)?;
        // By the route it was opened by, which may not be the one that is used now.
        for route in [Route::Cgla, Route::Csim] {
            let mut link = Trace::new(Link::over(port, &self.waits, route));
            close_recorded(&mut link, &*self.record, &self.options.link)
                .await
                .map_err(PortFailure::from)?;
        }
        if self.record.may_be_unnamed() {
            let mut link = Trace::new(Link::over(port, &self.waits, Route::Cgla));
            close_unnamed(&mut link, &self.options.link)
                .await
                .map_err(PortFailure::from)?;
            self.record.was_not_opened();
        }
        Ok(())
    }

    /// As [`Self::close_orphans`], without opening a port for nothing.
    pub(super) async fn close_orphans_if_any(&mut self) {
        if !self.record.may_be_open() {
            return;
        }
        if let Err(error) = self.close_orphans().await {
            tracing::warn!(%error, "a logical channel may stay open; it is closed before the next one is opened");
        }
    }

    /// How commands reach the card, once that was found out.
    pub(super) fn route(&self) -> Option<Route> {
        self.routes.known()
    }

    /// Whether the route that worked is in doubt, and finding out anew may help.
    pub(super) fn doubts_route(&self) -> bool {
        self.routes.known().is_some() && self.routes.proven().is_none()
    }

    /// The card could not be asked: it is to be read anew.
    pub(super) fn is_away(&mut self) {
        self.answer_lost = true;
    }

    /// Whether the answer to a change was lost and the card not read since, or the port is lost.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.answer_lost || self.port.as_ref().is_none_or(Device::is_closed)
    }

    /// Listens to the modem until its port is gone; never ends without a port.
    pub(super) async fn idle(&mut self) -> Fault {
        match &mut self.port {
            Some(port) => port.idle().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until opening the port again may end otherwise than the last time.
    pub(super) async fn changed(&mut self) {
        self.opener.changed().await;
    }

    /// Closes the port.
    pub(super) fn close(&mut self) {
        self.port = None;
    }
}

fn modem_profile(config: &EuiccConfig) -> ModemProfile {
    let deadlines = Deadlines {
        last_block: Duration::from_secs(config.apdu_timeout_s),
        load_bpp: Duration::from_secs(config.load_timeout_s),
        ..Deadlines::default()
    };
    let link = LinkOptions {
        block_size: config.block_size,
        deadlines,
        ..LinkOptions::default()
    };
    ModemProfile {
        link,
        ..ModemProfile::default()
    }
}

/// The card's ISD-R on an open channel, which notes whether the answer to a change was lost.
#[derive(Debug)]
pub(super) struct OpenCard<'p, S> {
    isdr: Isdr<Trace<Link<'p, S>>>,
    route: Route,
    answer_lost: &'p mut bool,
    routes: &'p mut Routes,
    link: &'p mut LinkOptions,
    record: &'p OpenChannel,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> OpenCard<'_, S> {
    /// A failure fails no job. If the card is lost with it, it has to be read anew all the same.
    pub(super) fn tolerate(&mut self, failure: &JobFailure) {
        *self.answer_lost |= failure.loses_card();
    }

    /// What shows of changes was read: whatever was in doubt is not any more.
    pub(super) fn was_read(&mut self) {
        *self.answer_lost = false;
    }

    /// Closes the channel; one that cannot be closed is in the record, and closed later.
    pub(super) async fn close(self) {
        // What was found out on the way holds from now on.
        if self.isdr.link() != self.link {
            *self.link = self.isdr.link().clone();
            self.record.found(self.routes.found(self.route, self.link));
        }
        if self.routes.proven() == Some(self.route) {
            self.routes.went_well();
        }
        if let Err(error) = self.isdr.close().await {
            tracing::warn!(%error, "the logical channel could not be closed");
        }
    }

    /// An answer that is of no use may have been asked for in the wrong way.
    fn judge<R>(&mut self, answer: &Result<R, CallError>) {
        match answer {
            Err(CallError::Transport { error, .. }) if error.is_gone() => {}
            Err(CallError::Transport { .. } | CallError::Codec { .. }) => self.routes.doubt(),
            Err(CallError::Status { sw, .. }) if *sw == StatusWord::WRONG_LENGTH => {
                self.routes.doubt();
            }
            _ => {}
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Card for OpenCard<'_, S> {
    fn exchange<'a>(&'a mut self, request: Request<'a>) -> Exchange<'a> {
        let changes = request.effect == Effect::Changes;
        Box::pin(async move {
            // Set while the command is under way, so that a future dropped in between counts as well.
            let lost_before = *self.answer_lost;
            *self.answer_lost |= changes;
            let answer = self.isdr.exchange(request).await;
            *self.answer_lost = lost_before || (changes && is_lost(&answer));
            self.judge(&answer);
            answer
        })
    }

    async fn load_segment(
        &mut self,
        segment: &[u8],
    ) -> Result<Option<Raw<ProfileInstallationResult>>, CallError> {
        let lost_before = std::mem::replace(self.answer_lost, true);
        let answer = self.isdr.load_segment(segment).await;
        *self.answer_lost = lost_before || is_lost(&answer);
        self.judge(&answer);
        if let Err(CallError::Transport { error, .. }) = &answer
            && matches!(error.fault, Fault::Device(_))
        {
            self.routes.lost_a_package();
        }
        answer
    }
}

fn is_lost<T>(answer: &Result<T, CallError>) -> bool {
    matches!(answer, Err(error) if error.outcome() == Outcome::Unknown)
}

/// The link to the card.
#[derive(Debug)]
struct Link<'p, S> {
    pipe: Pipe<'p, S>,
    waits: &'p Waits,
}

impl<'p, S> Link<'p, S> {
    fn over(device: &'p mut Device<S>, waits: &'p Waits, route: Route) -> Self {
        let pipe = match (device, route) {
            (Device::Modem(port), Route::Cgla) => Pipe::Cgla(Cgla::new(port)),
            (Device::Modem(port), Route::Csim) => Pipe::Csim(Csim::new(port)),
            #[cfg(feature = "pcsc")]
            (Device::Reader(card), _) => Pipe::Reader(card),
        };
        Self { pipe, waits }
    }
}

/// What carries the APDUs.
#[derive(Debug)]
enum Pipe<'p, S> {
    Cgla(Cgla<'p, S>),
    Csim(Csim<'p, S>),
    #[cfg(feature = "pcsc")]
    Reader(&'p mut ReaderCard),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for Link<'_, S> {
    async fn transmit(
        &mut self,
        command: &Command,
        deadline: Deadline,
    ) -> Result<Response, TransportError> {
        let answer = pin!(async {
            match &mut self.pipe {
                Pipe::Cgla(cgla) => cgla.transmit(command, deadline).await,
                Pipe::Csim(csim) => csim.transmit(command, deadline).await,
                #[cfg(feature = "pcsc")]
                Pipe::Reader(card) => card.transmit(command, deadline).await,
            }
        });
        self.waits
            .on(WaitingOn::Card, deadline.left(), answer)
            .await
    }

    fn has_sessions(&self) -> bool {
        matches!(self.pipe, Pipe::Cgla(_))
    }

    async fn open_session(
        &mut self,
        aid: &Aid,
        deadline: Deadline,
    ) -> Result<Session, TransportError> {
        let opened = pin!(async {
            match &mut self.pipe {
                Pipe::Cgla(cgla) => cgla.open_session(aid, deadline).await,
                Pipe::Csim(csim) => csim.open_session(aid, deadline).await,
                #[cfg(feature = "pcsc")]
                Pipe::Reader(card) => card.open_session(aid, deadline).await,
            }
        });
        self.waits
            .on(WaitingOn::Card, deadline.left(), opened)
            .await
    }

    fn resume_session(&mut self, session: &Session) {
        if let Pipe::Cgla(cgla) = &mut self.pipe {
            cgla.resume_session(session);
        }
    }

    async fn close_session(&mut self, deadline: Deadline) -> Result<(), TransportError> {
        let closed = pin!(async {
            match &mut self.pipe {
                Pipe::Cgla(cgla) => cgla.close_session(deadline).await,
                Pipe::Csim(csim) => csim.close_session(deadline).await,
                #[cfg(feature = "pcsc")]
                Pipe::Reader(card) => card.close_session(deadline).await,
            }
        });
        self.waits
            .on(WaitingOn::Card, deadline.left(), closed)
            .await
    }
}

/// How many commands a modem has time to answer before its port is given up.
const INIT_COMMANDS: u32 = 7;
/// How long opening the port may take.
const OPENING: Duration = Duration::from_secs(10);
