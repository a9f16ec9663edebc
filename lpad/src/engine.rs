//! The one task that owns an eUICC: operations come in, outcomes go out, one at a time.
//!
//! The engine opens a logical channel for each operation and closes it again. Whatever happened to
//! it or to the daemon, it reads the card before it says anything.

mod change;
mod context;
mod download;
mod first_boot;
mod handle;
mod outbox;
mod port;
mod reading;
mod session;
mod settle;
mod switch;

use std::time::Duration;

use es9_client::Connect;
use es10_apdu::isdr::Isdr;
use es10_apdu::transport::{Fault, Transport};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub(crate) use self::context::Context;
use self::first_boot::Bootstrap;
use self::handle::Command;
pub use self::handle::EngineHandle;
use self::outbox::{Outbox, Urgency};
use self::port::CardPort;
pub use self::port::PortError;
use self::reading::CardState;
use self::session::{close, read_again, show_notifications};
use crate::commit::Cancelled;
use crate::job::{Achievement, Download, Job};
use crate::memory::journal::{Record, StartedOperation};
use crate::memory::operations::Ticket;
use crate::memory::snapshot::{ProfileState, Snapshot};
use crate::modem::{self, OpenPort};
use crate::problem::{Code, Problem};
use crate::runtime::backoff::Backoff;
use crate::runtime::closing::Closing;

/// The task's state.
pub(crate) struct Engine<O: OpenPort, C> {
    card: CardPort<O>,
    context: Context<C>,
    outbox: Outbox<C>,
    bootstrap: Bootstrap,
    commands: mpsc::Receiver<Command>,
    /// Whether the card was read since the port was opened.
    ready: bool,
    failed_starts: u32,
    next_start: Instant,
    /// Downloads of an earlier life of the daemon whose profiles are installed and wait to be
    /// enabled.
    unfinished: Vec<(Ticket, Achievement)>,
}

/// A job that did not succeed.
#[derive(Debug)]
struct Unfinished {
    problem: Problem,
    /// Nobody knows yet what the card did: the journal keeps the operation open.
    in_doubt: bool,
}

impl Unfinished {
    fn in_doubt(problem: Problem) -> Self {
        Self {
            problem,
            in_doubt: true,
        }
    }
}

impl From<Problem> for Unfinished {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            in_doubt: false,
        }
    }
}

impl From<Cancelled> for Unfinished {
    fn from(Cancelled: Cancelled) -> Self {
        Problem::new(Code::Cancelled).into()
    }
}

/// What wakes an engine.
#[derive(Debug)]
enum Wake {
    Asked(Command),
    Delivered,
    Due,
    Gone(Fault),
    Closing,
}

impl<O: OpenPort, C: Connect + 'static> Engine<O, C> {
    /// An engine and the side of it that others hold.
    pub(crate) fn new(opener: O, context: Context<C>) -> (Self, EngineHandle) {
        let (handle, commands) = EngineHandle::new(
            &context.config.name,
            context.operations.clone(),
            context.snapshot.subscribe(),
        );
        context.snapshot.send_modify(|known| {
            known.euicc.name = context.config.name.clone();
            known.euicc.port = context.config.port.display().to_string();
        });
        let engine = Self {
            card: CardPort::new(opener, &context.config, context.journal.clone()),
            outbox: Outbox::new(context.server.clone(), context.journal.clone()),
            bootstrap: Bootstrap::new(context.config.bootstrap.clone()),
            context,
            commands,
            ready: false,
            failed_starts: 0,
            next_start: Instant::now(),
            unfinished: Vec::new(),
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
            let patience = async {
                closing.announced().await;
                sleep(GRACE).await;
            };
            tokio::select! {
                () = self.handle(wake) => {}
                () = patience => {
                    tracing::warn!("what is under way does not end in time");
                    break;
                }
            }
        }
        // Closes the channel of what was cut off; nothing when there is none.
        if timeout(GRACE, self.card.close_orphans_if_any())
            .await
            .is_err()
        {
            tracing::warn!("a logical channel may stay open; the next start closes it");
        }
        self.card.close();
    }

    async fn next_wake(&mut self, closing: &Closing) -> Wake {
        let due = self.next_due();
        let Self {
            card,
            outbox,
            commands,
            ready,
            ..
        } = self;
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
            Some(command) = commands.recv() => Wake::Asked(command),
            () = outbox.settle() => Wake::Delivered,
            fault = card.idle(), if *ready => Wake::Gone(fault),
            () = timer => Wake::Due,
        }
    }

    fn next_due(&self) -> Option<Instant> {
        match self.ready {
            false => Some(self.next_start),
            true => [self.outbox.next_attempt(), self.bootstrap.next_attempt()]
                .into_iter()
                .flatten()
                .min(),
        }
    }

    async fn handle(&mut self, wake: Wake) {
        match wake {
            Wake::Asked(Command::Run(job, ticket)) => {
                // Whoever asked hears of the outcome by the ticket.
                let _ = self.carry_out(job, ticket).await;
            }
            Wake::Asked(Command::Read(done)) => {
                self.refresh().await;
                drop(done);
            }
            Wake::Delivered => self.tidy_up().await,
            Wake::Gone(fault) => {
                tracing::warn!(euicc = self.context.config.name, %fault, "the port is gone");
                let problem = Problem::new(Code::ModemUnavailable);
                self.lose(problem.detail(GONE));
            }
            Wake::Due if !self.ready => self.start_or_wait().await,
            Wake::Due => self.due().await,
            Wake::Closing => {}
        }
        if self.ready {
            // One that the modem did not let be closed gets a second chance at once.
            self.card.close_orphans_if_any().await;
        }
    }

    /// Something is due: a recipient to be tried again, or a first profile to be looked for.
    async fn due(&mut self) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if self.outbox.is_due() {
            self.tidy_up().await;
        }
        if is_due(self.bootstrap.next_attempt()) {
            self.look_for_first_profile().await;
        }
    }

    async fn look_for_first_profile(&mut self) {
        let Some(download) = self.bootstrap.attempt(&self.context.known()) else {
            return;
        };
        let job = Job::Download(download);
        let name = self.context.config.name.clone();
        let ticket =
            match self
                .context
                .operations
                .start(&name, self.context.eid(), job.kind(), None)
            {
                Ok(ticket) => ticket,
                Err(error) => return self.bootstrap.ended(Err(&error.into())),
            };
        let outcome = self.carry_out(job, ticket).await;
        self.bootstrap.ended(outcome.as_ref());
    }

    /// Deliveries in the background had something to say, or notifications are due.
    async fn tidy_up(&mut self) {
        let is_due = self.outbox.is_due();
        if !self.ready || self.outbox.is_busy() && !is_due {
            return;
        }
        let Self {
            card,
            context,
            outbox,
            ..
        } = self;
        if is_due {
            let round = match card.session().await {
                Ok(mut isdr) => {
                    let round = outbox.round(&mut isdr, Urgency::Due).await;
                    close(isdr).await;
                    match round {
                        Err(error) if error.loses_card() => Err(Problem::from(error)),
                        // The outbox has told it, and tries again by itself.
                        _ => Ok(()),
                    }
                }
                Err(error) => Err(error.into()),
            };
            if let Err(problem) = round {
                tracing::warn!(euicc = context.config.name, "{problem}");
                return self.lose(problem);
            }
        }
        show_notifications(context, outbox);
        if !self.outbox.is_busy() {
            self.context.server.close().await;
        }
    }

    /// The card cannot be used until it was read anew.
    fn lose(&mut self, problem: Problem) {
        self.begin_anew(RESTART.first);
        self.context.is_unavailable(problem);
    }

    /// Opens the port and reads the card anew before anything else.
    fn begin_anew(&mut self, delay: Duration) {
        self.ready = false;
        self.card.close();
        self.context.update(Snapshot::changed);
        self.failed_starts = 0;
        self.next_start = Instant::now() + delay;
    }

    async fn start_or_wait(&mut self) {
        match self.start().await {
            Ok(()) => {
                self.failed_starts = 0;
                self.ready = true;
                self.take_up().await;
                self.resolve_doubt();
                self.bootstrap.consider(&self.context.known());
            }
            Err(problem) => {
                self.failed_starts = self.failed_starts.saturating_add(1);
                let delay = RESTART.delay(self.failed_starts);
                let name = &self.context.config.name;
                tracing::warn!(euicc = name, retry_in_s = delay.as_secs(), "{problem}");
                self.card.close();
                self.context.is_unavailable(problem);
                self.next_start = Instant::now() + delay;
            }
        }
    }

    /// Opens the port, closes what was left open, reads the card and finds out how operations
    /// ended that were cut off.
    async fn start(&mut self) -> Result<(), Problem> {
        let Self {
            card,
            context,
            outbox,
            ..
        } = self;
        let imei = modem::imei(card.at().await?).await;
        context.imei = imei;
        card.close_orphans().await?;
        let mut isdr = card.session().await?;
        let read = read_anew(context, outbox, &mut isdr).await;
        close(isdr).await;
        let (eid, unfinished) = read?;
        card.was_read();
        self.unfinished = unfinished;
        let context = &self.context;
        let eid = crate::secret::Shortened(&eid).to_string();
        tracing::info!(euicc = context.config.name, eid, "the eUICC is ready");
        Ok(())
    }

    /// Enables the profiles whose downloads were cut off before that.
    async fn take_up(&mut self) {
        for (ticket, mut achieved) in std::mem::take(&mut self.unfinished) {
            let id = ticket.id();
            self.context
                .update(|known| known.euicc.busy_with = Some(id));
            let enabled = self.enable_installed(&ticket, &mut achieved).await;
            self.context.update(|known| known.euicc.busy_with = None);
            match enabled {
                Ok(()) => ticket.succeed(achieved),
                Err(Unfinished { problem, .. }) => ticket.leave_in_doubt(problem),
            }
        }
    }

    async fn refresh(&mut self) {
        if !self.ready {
            return self.start_or_wait().await;
        }
        let Self {
            card,
            context,
            outbox,
            ..
        } = self;
        let read = match card.session().await {
            Ok(mut isdr) => {
                let read = read_again(context, outbox, &mut isdr).await;
                close(isdr).await;
                read.map_err(Problem::from)
            }
            Err(error) => Err(error.into()),
        };
        if let Err(problem) = read {
            self.lose(problem);
        }
    }

    async fn carry_out(&mut self, job: Job, ticket: Ticket) -> Result<Achievement, Problem> {
        let id = ticket.id();
        if !ticket.begin() {
            return Err(Problem::new(Code::Cancelled));
        }
        let kind = job.kind().name();
        tracing::info!(operation = %id, euicc = self.context.config.name, kind, "started");
        self.context
            .update(|known| known.euicc.busy_with = Some(id));
        let outcome = self.prepared(job, &ticket).await;
        self.context.server.close().await;
        self.context.update(|known| known.euicc.busy_with = None);
        match &outcome {
            Ok(achieved) => ticket.succeed(achieved.clone()),
            Err(Unfinished {
                problem,
                in_doubt: true,
            }) => ticket.leave_in_doubt(problem.clone()),
            Err(Unfinished { problem, .. }) => ticket.fail(problem.clone()),
        }
        let outcome = outcome.map_err(|unfinished| unfinished.problem);
        if let Err(problem) = &outcome
            && problem.code.is_card_out_of_reach()
        {
            self.lose(problem.clone());
        } else {
            self.resolve_doubt();
        }
        outcome
    }

    /// What was not seen shows when the card is read anew.
    fn resolve_doubt(&mut self) {
        if self.ready && self.card.is_in_doubt() {
            tracing::info!("an answer was lost on the way: the card is read anew");
            self.begin_anew(Duration::ZERO);
        }
    }

    /// Carries a job out behind its record in the journal.
    async fn prepared(&mut self, job: Job, ticket: &Ticket) -> Result<Achievement, Unfinished> {
        if !self.ready {
            self.start().await?;
            self.ready = true;
            self.take_up().await;
        }
        let started = self.record(&job, ticket);
        self.context.intend(Record::OperationStarted(started))?;
        self.job(job, ticket).await
    }

    fn record(&self, job: &Job, ticket: &Ticket) -> StartedOperation {
        let iccid = match job {
            Job::Enable(iccid) | Job::Disable(iccid) | Job::Delete(iccid) => Some(iccid.clone()),
            Job::Rename { iccid, .. } => Some(iccid.clone()),
            _ => None,
        };
        let address = match job {
            Job::Download(Download { source, .. }) => self
                .order(source)
                .ok()
                .map(|order| order.address.to_string()),
            _ => None,
        };
        StartedOperation {
            eid: self.context.eid(),
            iccid,
            address,
            enable: matches!(job, Job::Download(Download { enable: true, .. })),
            ..StartedOperation::new(ticket.id(), &self.context.config.name, job.kind())
        }
    }

    async fn job(&mut self, job: Job, ticket: &Ticket) -> Result<Achievement, Unfinished> {
        match job {
            Job::Download(request) => self.download(ticket, request).await,
            Job::Enable(iccid) => self.switch(ticket, &iccid, ProfileState::Enabled).await,
            Job::Disable(iccid) => self.switch(ticket, &iccid, ProfileState::Disabled).await,
            Job::Delete(iccid) => self.delete(ticket, &iccid).await,
            Job::Rename { iccid, nickname } => self.rename(ticket, &iccid, &nickname).await,
            Job::SetDefaultSmdp(address) => self.set_default_smdp(ticket, &address).await,
            Job::DeliverNotifications => self.deliver(ticket).await,
            Job::Reset(scope) => self.reset(ticket, scope).await,
        }
    }
}

/// Reads everything, settles what was in doubt, begins to deliver what waits; gives the EID and the
/// downloads that have to be taken up again.
async fn read_anew<C: Connect + 'static, T: Transport>(
    context: &Context<C>,
    outbox: &mut Outbox<C>,
    isdr: &mut Isdr<T>,
) -> Result<(String, Vec<(Ticket, Achievement)>), Problem> {
    let state = CardState::read(isdr).await?;
    let intent = context.journal.intent();
    let (name, eid) = (&context.config.name, state.eid.parse().ok());
    let mut unfinished = Vec::new();
    for left in intent.left_on_another_card(name, eid) {
        context.operations.leave(&left);
    }
    for started in intent.open_on(name, eid) {
        let now = context.clock.unix_seconds();
        let operation = settle::resolve_operation(isdr, &state, &started, now).await?;
        let (id, outcome) = (operation.id, operation.state.name());
        tracing::info!(operation = %id, outcome, "the card told how it ended");
        match operation
            .result
            .clone()
            .filter(|achieved| achieved.enabled == Some(false))
        {
            Some(achieved) if started.enable => {
                unfinished.push((context.operations.resume(operation), achieved));
            }
            _ => context.operations.restore(operation),
        }
    }
    outbox.belongs_to(&state.eid);
    match outbox.round(isdr, Urgency::Now).await {
        Err(error) if error.loses_card() => return Err(error.into()),
        // What the card does not give of its notifications is tried again later.
        _ => {}
    }
    let eid = state.eid.clone();
    context.card_was_read(state);
    show_notifications(context, outbox);
    Ok((eid, unfinished))
}

const GONE: &str = "The modem's port is gone; lpad opens it again as soon as it is back.";
/// Between attempts to open a port that is not there.
const RESTART: Backoff = Backoff {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
};
/// How long what is under way may take when the daemon ends.
const GRACE: Duration = Duration::from_secs(20);
