//! The one task that owns an eUICC: operations come in, outcomes go out, one at a time.
//!
//! The engine opens a logical channel for each operation and closes it again. Whatever happened to
//! it or to the daemon, it reads the card before it says anything.

mod change;
mod context;
mod desk;
mod download;
mod first_boot;
mod handle;
mod life;
mod outbox;
mod port;
mod reading;
mod routes;
mod session;
mod settle;
mod switch;
mod waiting;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use es9_client::{Restrict, ServerAddress};
use es10_apdu::transport::Fault;
use es10_apdu::types::Eid;
use tokio::sync::oneshot;
use tokio::sync::watch::Sender;
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub(crate) use self::context::Context;
use self::desk::Desk;
pub use self::handle::EngineHandle;
use self::handle::{Inbox, Work};
use self::life::{Resumed, Slot, Up, Why};
use self::outbox::{Outbox, Urgency};
use self::port::{CardPort, Must};
use self::session::show_notifications;
use self::waiting::Waits;
use self::watch::Step;
use crate::config::{Confirm, EuiccConfig};
use crate::failure::{Interruption, JobFailure, PortFailure, Told};
use crate::job::{
    Achievement, Consent, Download, DownloadSource, Job, Kind, OperationId, Switch, Tried,
};
use crate::memory::alarm::AlarmCode;
use crate::memory::events::Events;
use crate::memory::examination::Examination;
use crate::memory::journal::{Record, SharedJournal, StartedOperation};
use crate::memory::operations::{Asked, OperationError, Operations, Ticket};
use crate::memory::snapshot::{Profile, Snapshot, in_use};
use crate::modem::OpenPort;
use crate::modem::table::Table;
use crate::runtime::clock::Clock;
use crate::runtime::closing::Closing;
use crate::runtime::uplink::Uplink;

/// The task's state.
pub(crate) struct Engine<O: OpenPort, C> {
    slot: Slot<O, C>,
    inbox: Inbox,
    uplink: Uplink,
}

/// What wakes an engine.
#[derive(Debug)]
enum Wake {
    Work(Work),
    /// Clients want a fresh reading.
    Readers,
    Delivered,
    Due,
    /// A network has come up.
    Uplink,
    Gone(Fault),
    /// The port of a card that is absent may be there again.
    PortChanged,
    /// Somebody wants the way to the card examined.
    Examine(oneshot::Sender<Examination>),
    Closing,
}

impl<O: OpenPort, C: Restrict + 'static> Engine<O, C> {
    /// An engine and the side of it that others hold.
    pub(crate) fn new(opener: O, context: Context<C>) -> (Self, EngineHandle) {
        let (handle, inbox) = EngineHandle::new(
            &context.config.name,
            context.operations.clone(),
            context.snapshot.subscribe(),
        );
        context.snapshot.send_modify(|known| {
            known.euicc.name = context.config.name.clone();
            known.euicc.port = context.config.port.display().to_string();
        });
        let journal = context.journal.clone();
        let port = CardPort::new(
            opener,
            &context.config,
            journal,
            context.modems.clone(),
            context.waits(),
        );
        let outbox = Outbox::new(
            context.server.clone(),
            context.journal.clone(),
            context.clock.clone(),
        );
        let uplink = context.uplink.clone();
        let slot = Slot::new(Desk::new(port, outbox), context);
        let engine = Self {
            slot,
            inbox,
            uplink,
        };
        (engine, handle)
    }

    /// Works until `closing` is announced; then what is under way may end, but not for long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a channel open and an operation in doubt; the journal knows.
    pub(crate) async fn run(mut self, closing: Closing) {
        loop {
            let wake = self.next_wake(&closing).await;
            if matches!(wake, Wake::Closing) {
                break;
            }
            let context = Arc::clone(&self.slot.context);
            let patience = async {
                closing.announced().await;
                let loaded = context.operations.loaded(&context.config.name, STALLED);
                let _ = timeout(LOADING_GRACE, loaded).await;
                sleep(GRACE).await;
            };
            tokio::select! {
                () = self.handle(wake, &closing) => {}
                () = patience => {
                    tracing::warn!("what is under way does not end in time");
                    break;
                }
            }
        }
        // Ends what was cut off; nothing when there is none.
        let port = &mut self.slot.desk.port;
        match timeout(GRACE / 2, port.finish_reset()).await {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => {
                tracing::warn!(failure = failure.shortened(), "the modem may still be off");
            }
            Err(_) => tracing::warn!("the modem may still be off; the next start looks after it"),
        }
        if timeout(GRACE, port.close_orphans_if_any()).await.is_err() {
            tracing::warn!("a logical channel may stay open; the next start closes it");
        }
        port.close();
    }

    async fn next_wake(&mut self, closing: &Closing) -> Wake {
        let due = self.next_due();
        let ready = self.slot.is_ready();
        let Self {
            slot,
            inbox,
            uplink,
        } = self;
        let desk = &mut slot.desk;
        let port = async {
            match ready {
                true => Wake::Gone(desk.port.idle().await),
                false => {
                    desk.port.changed().await;
                    Wake::PortChanged
                }
            }
        };
        let timer = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = closing.announced() => Wake::Closing,
            // A handle lives as long as the API, which ends after the engines.
            Some(work) = inbox.work.recv() => Wake::Work(work),
            Ok(()) = inbox.readers.changed() => Wake::Readers,
            Some(asked) = inbox.examiners.recv() => Wake::Examine(asked),
            () = desk.outbox.settle() => Wake::Delivered,
            () = uplink.comes_up() => Wake::Uplink,
            wake = port => wake,
            () = timer => Wake::Due,
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.slot.next_start().or_else(|| {
            [
                self.slot.desk.outbox.next_attempt(),
                self.slot.first_boot.next_attempt(),
                self.slot.watch.next_look(),
            ]
            .into_iter()
            .flatten()
            .min()
        })
    }

    async fn handle(&mut self, wake: Wake, closing: &Closing) {
        match wake {
            Wake::Work(work) => self.work(work).await,
            Wake::Readers => self.read_for_all().await,
            Wake::Delivered => self.tend_outbox().await,
            Wake::Gone(fault) => {
                tracing::warn!(euicc = self.slot.context.config.name, %fault, "the port is gone");
                self.slot.lose(Arc::new(PortFailure::Gone.into()));
            }
            Wake::Due => self.due().await,
            Wake::Uplink => {
                self.slot.desk.outbox.network_came_up();
                self.slot.first_boot.network_came_up();
                self.slot.context.show_first_boot(&self.slot.first_boot);
            }
            Wake::PortChanged => {
                self.slot.port_changed();
                self.due().await;
            }
            // The client has left.
            Wake::Examine(asked) if asked.is_closed() => {}
            Wake::Examine(asked) => self.examine(asked, closing).await,
            Wake::Closing => {}
        }
        self.resume().await;
        // One that the modem did not let be closed gets a second chance at once. In doubt the card is
        // read anew first, which closes it as well: nobody is to be told what is in doubt meanwhile.
        if self.slot.is_ready() && !self.slot.desk.port.is_in_doubt() {
            self.slot.desk.port.close_orphans_if_any().await;
        }
        self.slot.context.uses(self.slot.desk.port.route());
        if self.slot.is_ready() && self.slot.desk.port.is_in_doubt() {
            tracing::info!("an answer was lost: the card is read anew");
            self.slot.read_anew();
        }
    }

    /// Carries out what a client wants, and what follows from it.
    async fn work(&mut self, work: Work) {
        let (eid, kind) = (work.eid, work.job.kind());
        let address = match &work.job {
            Job::SetDefaultSmdp {
                address,
                download: true,
            } => address.parse().ok(),
            _ => None,
        };
        // The client hears of the outcome by the ticket.
        let is_done = self.carry_out(work).await.is_ok();
        if let (true, Some(address)) = (is_done, address) {
            self.ask_smdp(address, eid).await;
        }
        // The card may have its first profile by that, or need one.
        if matches!(kind, Kind::Download | Kind::Delete | Kind::Reset)
            && let Some(eid) = self.slot.context.known().euicc.eid
        {
            let first_boot = &mut self.slot.first_boot;
            let jitter = first_boot.jitter(eid);
            self.slot.context.consider(first_boot, eid, jitter);
        }
    }

    /// Something is due: the card, a recipient to be tried again, or a first profile to be looked for.
    async fn due(&mut self) {
        if !self.slot.is_ready() {
            // Its failure is logged and shown where it is found.
            let _ = self.slot.up(Why::Due).await;
            return;
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if self.slot.desk.outbox.is_due() {
            self.tend_outbox().await;
        }
        if self.slot.is_ready() && is_due(self.slot.first_boot.next_attempt()) {
            self.look_for_first_profile().await;
        }
        if self.slot.is_ready() && is_due(self.slot.watch.next_look()) {
            self.look_after_service().await;
        }
    }

    /// Looks whether the profile that is watched is in service, and does what follows.
    async fn look_after_service(&mut self) {
        let Ok(mut up) = self.slot.up(Why::Due).await else {
            return;
        };
        let (eid, known) = (up.card.eid, up.context.known());
        let is_watched =
            |profiles: &Vec<Profile>| in_use(profiles).is_some_and(|one| up.watch.is_of(one));
        // Another one was enabled meanwhile.
        if !known.profiles.value().is_none_or(is_watched) {
            up.watch.end();
            up.context.watch_again(up.watch, eid);
            return up.context.keep_watch(up.watch);
        }
        let found = up.service().await;
        let has_other = in_use(known.listed()).is_some_and(|iccid| up.could_leave(iccid));
        let (step, news) = up.watch.looked(found, has_other);
        up.context.keep_watch(up.watch);
        if let Some(lost) = news {
            let code = AlarmCode::ServiceLost;
            let (iccid, lack) = (lost.iccid, lost.reason.lack());
            let minutes = lost.after_s / 60;
            let detail = format!("{iccid} has been without service for {minutes} min: {lack}.");
            up.context.alarm(code, None, detail);
        }
        let job = match step {
            Step::Nothing => return,
            Step::RestartRadio => return up.restart_radio(Must::IfKept).await,
            Step::Leave { lost, before } => Job::Leave { lost, before },
            Step::Return(iccid) if !up.context.has_profile(iccid) => return,
            Step::Return(iccid) => Job::Enable(Switch {
                confirm: Some(Confirm::Auto),
                by_itself: true,
                ..Switch::to(iccid)
            }),
        };
        // Its outcome is told by the operation. What clients want goes first; it is tried again later.
        if let Err(error) = self.by_itself(job, Some(eid)).await {
            tracing::warn!(%error, "the profile in use is not changed yet");
        }
    }

    /// Downloads what an SM-DP+ has, which a client has just made the default one.
    async fn ask_smdp(&mut self, address: ServerAddress, eid: Option<Eid>) {
        let job = Job::Download(Download {
            source: DownloadSource::Smdp(address),
            confirmation_code: None,
            consent: Consent::Accept,
            enable: self.slot.context.config.bootstrap.enable,
        });
        // Its outcome is told by the operation.
        if let Err(error) = self.by_itself(job, eid).await {
            tracing::warn!(%error, "the default SM-DP+ is not asked");
        }
    }

    async fn look_for_first_profile(&mut self) {
        let eid = self.slot.context.known().euicc.eid;
        let first_boot = &mut self.slot.first_boot;
        let download = eid.and_then(|eid| self.slot.context.first_download(first_boot, eid));
        let Some(download) = download else {
            return;
        };
        let (id, outcome) = match self.by_itself(Job::Download(download), eid).await {
            Ok(ended) => ended,
            // The queue is full, which goes first, or the state cannot be written.
            Err(error) => {
                self.slot.first_boot.not_begun(&error);
                return self.slot.context.show_first_boot(&self.slot.first_boot);
            }
        };
        let outcome = outcome.as_ref().map_err(|failure| &**failure);
        if let Some(attempt) = self.slot.first_boot.ended(outcome) {
            self.slot.context.keep(attempt);
            self.slot.first_boot.put_away();
        }
        self.slot.context.show_first_boot(&self.slot.first_boot);
        if let Some(last) = self.slot.first_boot.stopped_by() {
            let detail = format!("No first profile is looked for any more: {last}");
            let code = AlarmCode::BootstrapStopped;
            self.slot.context.alarm(code, Some(id), detail);
        }
    }

    /// Carries out what no client asked for, and gives its number and outcome.
    ///
    /// # Errors
    /// When it cannot be queued.
    async fn by_itself(
        &mut self,
        job: Job,
        eid: Option<Eid>,
    ) -> Result<(OperationId, Result<Achievement, Arc<JobFailure>>), OperationError> {
        let context = &self.slot.context;
        let (name, kind) = (&context.config.name, job.kind());
        let ticket = context
            .operations
            .start(name, eid, kind, Asked::by_lpad())?;
        let id = ticket.id();
        Ok((id, self.carry_out(Work { job, ticket, eid }).await))
    }

    /// Deliveries in the background had something to say, or notifications are due.
    async fn tend_outbox(&mut self) {
        let outbox = &self.slot.desk.outbox;
        let is_due = outbox.is_due();
        if !self.slot.is_ready() || outbox.is_busy() && !is_due {
            return;
        }
        if is_due {
            let round = self
                .slot
                .desk
                .in_session(async |session| {
                    match session.outbox.round(&mut session.card, Urgency::Due).await {
                        Err(error) if error.loses_card() => Err(error.into()),
                        // The outbox has told it, and tries again by itself.
                        _ => Ok(()),
                    }
                })
                .await;
            if let Err(failure) = round {
                return self.failed("notifications could not be read", failure);
            }
        }
        show_notifications(&self.slot.context, &self.slot.desk.outbox);
        if let Some(detail) = self.slot.desk.outbox.stuck() {
            let code = AlarmCode::NotificationsStuck;
            self.slot.context.alarm(code, None, detail);
        }
        if !self.slot.desk.outbox.is_busy() {
            self.slot.context.server.close().await;
        }
    }

    /// Reads the card once for all clients that wait for it.
    async fn read_for_all(&mut self) {
        // Another reading may have served them meanwhile.
        let none_waits = *self.inbox.readers.borrow_and_update() == 0;
        if none_waits || !self.slot.is_ready() || self.slot.context.known().is_fresh() {
            return;
        }
        let context = Arc::clone(&self.slot.context);
        let read = self
            .slot
            .desk
            .in_session(async |session| session.read_all(&context).await)
            .await;
        if let Err(failure) = read {
            self.failed("the card could not be read", failure);
        }
    }

    async fn examine(&mut self, mut asked: oneshot::Sender<Examination>, closing: &Closing) {
        // Nobody is kept waiting for a client that has left.
        let stop = async {
            tokio::select! {
                () = asked.closed() => {}
                () = closing.announced() => {}
            }
        };
        let found = self.slot.desk.port.examine(stop).await;
        if !self.slot.is_ready() {
            // Until it is tried again others may use it.
            self.slot.desk.port.close();
        }
        let _ = asked.send(found);
    }

    /// Something of the engine's own failed: what is known of the card is read anew.
    fn failed(&mut self, what: &str, failure: JobFailure) {
        let (name, shown) = (&self.slot.context.config.name, failure.shortened());
        tracing::warn!(euicc = name, failure = shown, "{what}");
        self.slot.lose(Arc::new(failure));
    }

    /// Goes on with switches that were cut off, and with downloads that were before theirs, until the card
    /// has to be read anew.
    async fn resume(&mut self) {
        while self.slot.is_ready()
            && let Some(Resumed { ticket, download }) = self.slot.resumed.pop_front()
        {
            let id = ticket.id();
            // As it stands now: it may have ended since the card was read.
            let Some(started) = self.slot.context.started(id) else {
                continue;
            };
            let busy = self.slot.context.busy(id);
            let switch = self
                .slot
                .context
                .journal
                .look(|intent| intent.switch_of(id));
            let ended = match self.slot.up(Why::Job).await {
                Ok(up) if started.eid.is_some_and(|eid| eid != up.card.eid) => {
                    let away = Interruption::CardAway(started.eid);
                    Err(JobFailure::in_doubt(JobFailure::Interrupted(away), None).into())
                }
                Ok(mut up) => match (download, switch) {
                    (Some(achieved), switch) => {
                        up.enable_installed(&ticket, achieved, switch).await
                    }
                    (None, Some(open)) => up.go_on(&ticket, open, false).await,
                    (None, None) => up.was_not_disabled(&started).await,
                }
                .map_err(Arc::new),
                Err(failure) => Err(JobFailure::in_doubt(failure, None).into()),
            };
            drop(busy);
            // The client hears of the outcome by the ticket.
            let _ = self.ended(ticket, ended);
        }
    }

    async fn carry_out(&mut self, work: Work) -> Result<Achievement, Arc<JobFailure>> {
        let Work { job, ticket, eid } = work;
        let id = ticket.id();
        if let Job::Download(download) = &job {
            ticket.keeps_secret(download.codes());
        }
        if !ticket.begin() {
            return Err(Arc::new(JobFailure::Cancelled));
        }
        let kind = job.kind().name();
        tracing::info!(operation = %id, euicc = self.slot.context.config.name, kind, "started");
        let busy = self.slot.context.busy(id);
        let outcome = self.attempt(job, &ticket, eid).await;
        self.slot.context.server.close().await;
        drop(busy);
        self.ended(ticket, outcome)
    }

    /// Brings the card up, goes on with what was cut off, and carries the job out.
    async fn attempt(
        &mut self,
        job: Job,
        ticket: &Ticket,
        eid: Option<Eid>,
    ) -> Result<Achievement, Arc<JobFailure>> {
        self.slot.up(Why::Job).await?;
        self.resume().await;
        if job.waits_for_switch()
            && let Some(open) = self.slot.context.switching()
        {
            return Err(Arc::new(JobFailure::Behind(open)));
        }
        let mut up = self.slot.up(Why::Job).await?;
        if let Some(wanted) = eid
            && wanted != up.card.eid
        {
            let found = up.card.eid;
            return Err(Arc::new(JobFailure::OtherCard { wanted, found }));
        }
        up.has_what_it_needs(job.kind()).await?;
        let started = up.started(&job, ticket);
        up.context.intend(Record::OperationStarted(started))?;
        Ok(up.job(job, ticket).await?)
    }

    /// Lets people hear of a switch that did not end on the wanted profile, or on one without service.
    fn tell_of_switch(&self, id: OperationId, why: Option<&String>) {
        let context = &self.slot.context;
        let ended = context.operations.find(id).ok();
        let switch = ended.and_then(|ended| ended.switch);
        if let Some(code) = switch.as_ref().and_then(AlarmCode::of_switch) {
            let why = why.map_or("No profile got service.", String::as_str);
            context.alarm(code, Some(id), why.to_owned());
        }
    }

    /// Tells how an operation ended, and what that means for the card.
    fn ended(
        &mut self,
        ticket: Ticket,
        outcome: Result<Achievement, Arc<JobFailure>>,
    ) -> Result<Achievement, Arc<JobFailure>> {
        let id = ticket.id();
        match &outcome {
            Ok(achieved) => {
                ticket.succeed(achieved.clone());
                self.tell_of_switch(id, achieved.warnings.last());
            }
            Err(failure) => {
                ticket.fail(Arc::clone(failure));
                if !failure.is_in_doubt() {
                    self.tell_of_switch(id, Some(&failure.to_string()));
                }
                if failure.loses_card() && self.slot.is_ready() {
                    self.slot.lose(Arc::clone(failure));
                } else if failure.is_in_doubt() && self.slot.is_ready() {
                    // The card is there, and what would tell cannot be read now.
                    self.slot.ask_again();
                }
            }
        }
        outcome
    }
}

/// Examines the way to a card where no engine has it, until it is told to `stop`. `journal` remembers
/// channels, and is nobody else's.
pub async fn examine<O: OpenPort>(
    opener: O,
    config: &EuiccConfig,
    journal: SharedJournal,
    modems: Arc<Table>,
    stop: impl Future<Output = ()>,
) -> Examination {
    let clock = Clock::system();
    let nothing = |_: &JobFailure| Told::default();
    let events = Events::of_start(0);
    let operations = Operations::new(events, clock.clone(), journal.clone(), nothing);
    let known = Sender::new(Snapshot::default());
    let waits = Waits::new(operations, known.subscribe(), clock);
    let mut port = CardPort::new(opener, config, journal, modems, waits);
    port.examine(stop).await
}

impl<O: OpenPort, C: Restrict + 'static> Up<'_, O, C> {
    /// Makes sure of the parts of the card that a job needs; one that could not be read gets a second
    /// chance.
    async fn has_what_it_needs(&mut self, kind: Kind) -> Result<(), JobFailure> {
        let all_known =
            |known: &Snapshot| kind.needs().iter().try_for_each(|part| known.has(*part));
        if all_known(&self.context.known()).is_ok() {
            return Ok(());
        }
        let context = self.context;
        self.desk
            .in_session(async |session| session.read_all(context).await)
            .await?;
        all_known(&context.known())
    }

    /// What the journal keeps of a job, to settle it by if its end is not seen.
    fn started(&self, job: &Job, ticket: &Ticket) -> StartedOperation {
        let name = &self.context.config.name;
        let started = StartedOperation {
            eid: Some(self.card.eid),
            ..StartedOperation::new(ticket.id(), name, job.kind())
        };
        match job {
            Job::Enable(Switch { iccid, .. })
            | Job::Leave {
                lost: Tried { iccid, .. },
                ..
            }
            | Job::Disable { iccid, .. }
            | Job::Delete { iccid, .. } => StartedOperation {
                iccid: Some(iccid.to_string()),
                ..started
            },
            Job::Rename { iccid, nickname } => StartedOperation {
                iccid: Some(iccid.to_string()),
                value: Some(nickname.clone()),
                ..started
            },
            Job::SetDefaultSmdp { address, .. } => StartedOperation {
                value: Some(address.clone()),
                ..started
            },
            Job::Reset(scope) => StartedOperation {
                reset: Some(*scope),
                ..started
            },
            Job::Download(Download { source, enable, .. }) => StartedOperation {
                address: self
                    .context
                    .order(source)
                    .ok()
                    .map(|order| order.address.to_string()),
                enable: *enable,
                ..started
            },
            Job::DeliverNotifications(_) => started,
            Job::RemoveNotification { number, .. } => StartedOperation {
                value: Some(number.to_string()),
                ..started
            },
        }
    }

    async fn job(&mut self, job: Job, ticket: &Ticket) -> Result<Achievement, JobFailure> {
        match job {
            Job::Download(request) => self.download(ticket, request).await,
            Job::Enable(order) => self.enable(ticket, &order).await,
            Job::Leave { lost, before } => self.leave(ticket, before, lost).await,
            Job::Disable { iccid, force } => self.disable(ticket, iccid, force).await,
            Job::Delete { iccid, force } => self.delete(ticket, iccid, force).await,
            Job::Rename { iccid, nickname } => self.rename(ticket, iccid, &nickname).await,
            Job::SetDefaultSmdp { address, .. } => self.set_default_smdp(ticket, &address).await,
            Job::DeliverNotifications(number) => self.deliver(ticket, number).await,
            Job::RemoveNotification { number, force } => {
                self.remove_notification(ticket, number, force).await
            }
            Job::Reset(scope) => self.reset(ticket, scope).await,
        }
    }
}

/// How long what is under way may take when the daemon ends.
const GRACE: Duration = Duration::from_secs(20);
/// How much longer while a package is loaded: cut off it costs its profile, and perhaps the order.
const LOADING_GRACE: Duration = Duration::from_secs(100);
/// After how long without an answer to a block there is no reason to wait for the rest.
const STALLED: Duration = Duration::from_secs(15);
/// How long an engine may take to end: all of the above, and closing the channel.
pub(crate) const ENGINE_ENDS: Duration = Duration::from_secs(150);
