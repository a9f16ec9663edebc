//! The download job: SGP.22 v2.5 section 3.1.3 from the order to the delivered notification.

use std::time::Duration;

use es9_client::{Connect, Es9Client, ServerAddress};
use es10_apdu::es10b::{CancelSessionReason, ErrorReason};
use es10_apdu::isdr::Isdr;
use es10_apdu::transport::Transport;

use super::context::Context;
use super::port::CardPort;
use super::session::{Patience, Reading, WoundUp, close, wind_up, wind_up_anew};
use super::{Engine, Unfinished};
use crate::job::{
    Achievement, Consent, Decision, Download, DownloadSource, Offer as Shown, Progress, Reply,
    Stage,
};
use crate::memory::journal::Record;
use crate::memory::operations::Ticket;
use crate::memory::snapshot::ProfileState;
use crate::modem::OpenPort;
use crate::problem::{Code, CodeConsumed, Problem};
use crate::procedure::download::{
    Device, DownloadError, Failure, InDoubt, Initiated, Installed, Offer, Order, SessionEnd, Step,
    resolve,
};
use crate::procedure::interruptible::Interruptible;
use crate::secret::Secret;

impl<O: OpenPort, C: Connect + 'static> Engine<O, C> {
    pub(super) async fn download(
        &mut self,
        ticket: &Ticket,
        request: Download,
    ) -> Result<Achievement, Unfinished> {
        ticket.stage(Stage::Initialising);
        let enable = request.enable;
        let order = self.order(&request.source)?;
        let mut achieved = match self.install(ticket, request, order).await {
            Ok(achieved) => achieved,
            Err(unfinished) if is_nothing_there(&unfinished.problem) => {
                return Ok(Achievement {
                    nothing_to_download: true,
                    ..Achievement::default()
                });
            }
            Err(unfinished) => return Err(unfinished),
        };
        if enable {
            self.enable_installed(ticket, &mut achieved).await?;
        }
        Ok(achieved)
    }

    /// Enables the profile that was installed. It is installed whatever comes of that, so a
    /// failure is told as a warning.
    pub(super) async fn enable_installed(
        &mut self,
        ticket: &Ticket,
        achieved: &mut Achievement,
    ) -> Result<(), Unfinished> {
        let iccid = achieved.iccid.clone().unwrap_or_default();
        match self.switch(ticket, &iccid, ProfileState::Enabled).await {
            Ok(switched) => {
                achieved.enabled = Some(true);
                achieved.notifications_delivered += switched.notifications_delivered;
                achieved.notifications_pending = switched.notifications_pending;
                achieved.warnings.extend(switched.warnings);
            }
            Err(unfinished) if unfinished.in_doubt => return Err(unfinished),
            Err(Unfinished { problem, .. }) => {
                let warning = format!("It could not be enabled: {}", problem.detail);
                achieved.warnings.push(warning);
            }
        }
        Ok(())
    }

    pub(super) fn order(&self, source: &DownloadSource) -> Result<Order, Problem> {
        let of_eid = |address| Order {
            address,
            matching_id: Secret::default(),
            oid: None,
        };
        match source {
            DownloadSource::ActivationCode(code) => Ok(Order {
                address: code.address.clone(),
                matching_id: code.matching_id.clone(),
                oid: code.oid.clone(),
            }),
            DownloadSource::Smdp(address) => Ok(of_eid(address.clone())),
            DownloadSource::DefaultSmdp => {
                let stored = self.context.known().addresses.default_smdp;
                let stored = stored.or_else(|| self.context.config.bootstrap.default_smdp.clone());
                let stored = stored.ok_or_else(|| Problem::new(Code::NoDefaultSmdp))?;
                let address: ServerAddress = stored.parse().map_err(|error| {
                    Problem::new(Code::InvalidAddress)
                        .detail(format!("The card holds the address {stored:?}: {error}."))
                })?;
                Ok(of_eid(address))
            }
        }
    }

    async fn install(
        &mut self,
        ticket: &Ticket,
        request: Download,
        order: Order,
    ) -> Result<Achievement, Unfinished> {
        let Self {
            card,
            context,
            outbox,
            ..
        } = self;
        let server = &*context.server;
        let address = order.address.clone();
        // The TLS handshake runs while the card opens its channel.
        let connect = async {
            tokio::select! {
                biased;
                connected = server.connect(&address) => connected.map_err(Problem::from),
                () = ticket.cancelled() => Err(Problem::new(Code::Cancelled)),
            }
        };
        let (isdr, connected) = tokio::join!(card.session(), connect);
        let mut isdr = isdr.map_err(Problem::from)?;
        if let Err(problem) = connected {
            close(isdr).await;
            return Err(problem.code_consumed(CodeConsumed::No).into());
        }
        remember_port(context, &address);
        let server = Interruptible::new(server, ticket.cancellation());
        let mut session = DownloadSession {
            context,
            server: &server,
            ticket,
            request: &request,
            name: None,
            accepted: None,
        };
        let ended = session.run(&mut isdr, order).await;
        let name = session.name;
        if ended.as_ref().map_or_else(Ended::is_reported, |_| true) {
            outbox.has_answered(&address);
        }
        let (doubt, cause) = match ended {
            Ok(installed) => {
                let reading = match request.enable {
                    true => Reading::Later,
                    false => Reading::Now,
                };
                let wound_up = wind_up(context, outbox, ticket, isdr, reading).await;
                return Ok(achievement(&installed, name, wound_up));
            }
            Err(Ended::Download(DownloadError {
                session: SessionEnd::InDoubt(doubt),
                failure,
                step,
            })) => {
                tracing::warn!(%step, error = %failure, "the answer is lost; asking the card");
                close(isdr).await;
                (doubt, failure)
            }
            Err(ended) => {
                match ended.is_reported() {
                    // The result of a failed installation waits for its delivery like any other.
                    true => drop(wind_up(context, outbox, ticket, isdr, Reading::Now).await),
                    false => close(isdr).await,
                }
                return Err(ended.into_problem(ticket).into());
            }
        };
        let settled = settle(card, context, outbox, ticket, &doubt, &cause).await;
        let (installed, wound_up) = settled?;
        Ok(achievement(&installed, name, wound_up))
    }
}

/// A server without an order for this EID is no failure when it was asked for whatever it has.
fn is_nothing_there(problem: &Problem) -> bool {
    problem.code == Code::NothingToDownload
}

fn remember_port<C>(context: &Context<C>, address: &ServerAddress) {
    let host = address.host().to_ascii_lowercase();
    let known = context.journal.intent().host_ports.get(&host).copied();
    if (known.is_some() || address.port() != HTTPS)
        && let Err(error) = context.journal.reached(&host, address.port())
    {
        tracing::warn!(%error, "the journal cannot be written");
    }
}

fn achievement(installed: &Installed, name: Option<String>, wound_up: WoundUp) -> Achievement {
    wound_up.add_to(Achievement {
        iccid: Some(installed.iccid.to_string()),
        profile_name: name,
        enabled: Some(false),
        ..Achievement::default()
    })
}

/// Asks the card how an installation ended whose answer was lost.
async fn settle<O: OpenPort, C: Connect + 'static>(
    card: &mut CardPort<O>,
    context: &Context<C>,
    outbox: &mut crate::engine::outbox::Outbox<C>,
    ticket: &Ticket,
    doubt: &InDoubt,
    cause: &Failure,
) -> Result<(Installed, WoundUp), Unfinished> {
    ticket.stage(Stage::ReadingCard);
    // Without the card nobody can tell: the journal keeps the operation until it is back.
    let unknown = |problem: Problem| {
        let detail = format!(
            "The card was lost in the middle of the installation, and nobody can tell yet how it \
             ended: {cause}. Since then: {}",
            problem.detail
        );
        let problem = problem
            .detail(detail)
            .next_step("Bring the modem back; then this operation says how it ended.")
            .code_consumed(CodeConsumed::Unknown);
        Unfinished::in_doubt(problem)
    };
    let result = resolve_when_back(card, doubt).await.map_err(unknown)?;
    let wound_up = wind_up_anew(card, context, outbox, ticket).await;
    let problem = match result {
        Some(Ok(installed)) => return Ok((installed, wound_up)),
        Some(Err(failure)) => {
            let was_cut_off = matches!(failure, Failure::Installation { reason, .. }
                if reason == ErrorReason::INTERRUPTION);
            let problem = Problem::from(DownloadError {
                step: Step::Install,
                session: SessionEnd::Reported,
                failure,
            });
            match was_cut_off {
                true => problem.detail(cut_off(cause)),
                false => problem,
            }
        }
        None => Problem::new(Code::InstallationFailed)
            .detail(cut_off(cause))
            .next_step("Download again; the order is still there.")
            .code_consumed(CodeConsumed::No),
    };
    Err(problem.into())
}

fn cut_off(cause: &Failure) -> String {
    format!("The installation was cut off, and the card does not have the profile: {cause}.")
}

async fn resolve_when_back<O: OpenPort>(
    card: &mut CardPort<O>,
    doubt: &InDoubt,
) -> Result<Option<Result<Installed, Failure>>, Problem> {
    let patience = Patience::new(CARD_RETURNS);
    loop {
        let problem = match card.session().await {
            Ok(mut isdr) => {
                let resolved = resolve(&mut isdr, doubt).await;
                close(isdr).await;
                match resolved {
                    Ok(result) => return Ok(result),
                    Err(error) => error.into(),
                }
            }
            Err(error) => error.into(),
        };
        if !patience.is_left(&problem).await {
            return Err(problem);
        }
    }
}

/// Why a download session brought no profile.
#[derive(Debug)]
enum Ended {
    Download(DownloadError),
    Problem(Problem),
}

impl From<DownloadError> for Ended {
    fn from(error: DownloadError) -> Self {
        Self::Download(error)
    }
}

impl Ended {
    /// Whether the card has a result for the server.
    fn is_reported(&self) -> bool {
        matches!(
            self,
            Self::Download(DownloadError {
                session: SessionEnd::Reported,
                ..
            })
        )
    }

    fn into_problem(self, ticket: &Ticket) -> Problem {
        match self {
            Self::Problem(problem) => problem,
            Self::Download(error) => {
                let problem = Problem::from(error);
                match problem.code {
                    Code::Postponed if ticket.is_cancelled() => {
                        Problem::new(Code::Cancelled).code_consumed(CodeConsumed::No)
                    }
                    _ => problem,
                }
            }
        }
    }
}

/// One run through the states of a download.
struct DownloadSession<'a, C> {
    context: &'a Context<C>,
    server: &'a Interruptible<'a, Es9Client<C>>,
    ticket: &'a Ticket,
    request: &'a Download,
    /// The profile's name, as soon as it is known.
    name: Option<String>,
    /// What somebody has accepted already, and with which confirmation code.
    accepted: Option<(Shown, Option<Secret>)>,
}

impl<C: Connect + 'static> DownloadSession<'_, C> {
    /// Runs once, and once more after a hiccup that another session may get over.
    async fn run<T: Transport>(
        &mut self,
        card: &mut Isdr<T>,
        order: Order,
    ) -> Result<Installed, Ended> {
        match self.attempt(card, order.clone()).await {
            Err(Ended::Download(error))
                if error.deserves_another_session() && !self.ticket.is_cancelled() =>
            {
                tracing::warn!(%error, "starting again");
                self.attempt(card, order).await
            }
            ended => ended,
        }
    }

    async fn attempt<T: Transport>(
        &mut self,
        card: &mut Isdr<T>,
        order: Order,
    ) -> Result<Installed, Ended> {
        let (server, ticket) = (self.server, self.ticket);
        let of_eid = order.matching_id.expose().is_empty();
        let initiated = Initiated::start(card, server, order).await?;
        ticket.stage(Stage::Authenticating);
        let device = Device {
            imei: self.context.imei.clone(),
        };
        let authenticated = initiated.authenticate_server(card, server, &device).await?;
        if ticket.is_cancelled() {
            return Err(authenticated.cancel(card, server, LATER).await.into());
        }
        let offer = match authenticated.offer(card, server).await {
            Ok(offer) => offer,
            Err(error) if error.deserves_another_session() || ticket.is_cancelled() => {
                return Err(error.into());
            }
            Err(error) => return Err(refused_offer(error, of_eid)),
        };
        let (offer, code) = self.consent(card, offer).await?;
        ticket.stage(Stage::Preparing);
        let prepared = offer.accept(card, server, code.as_ref()).await?;
        if ticket.is_cancelled() {
            return Err(prepared.cancel(card, server, LATER).await.into());
        }
        ticket.stage(Stage::Downloading);
        let bound = prepared.fetch(card, server).await?;
        let Ok(committed) = ticket.commit() else {
            return Err(bound.cancel(card, server, LATER).await.into());
        };
        if let Err(problem) = self.intend(&bound.in_doubt()) {
            bound.cancel(card, server, LATER).await;
            return Err(Ended::Problem(problem.code_consumed(CodeConsumed::No)));
        }
        ticket.stage(Stage::Installing);
        let progress = |done: usize, total: usize| {
            let octets = |count| u64::try_from(count).unwrap_or(u64::MAX);
            ticket.progress(Progress {
                done: octets(done),
                total: octets(total),
            });
        };
        let total = bound.len();
        progress(0, total);
        let loaded = |now: crate::procedure::download::Progress| progress(now.done, now.total);
        let installed = bound.install(card, server, &committed, loaded).await?;
        // The last segment is answered by the result, not by its count.
        progress(total, total);
        Ok(installed)
    }

    /// Asks whoever has to be asked, and gives the offer back with the confirmation code.
    async fn consent<T: Transport>(
        &mut self,
        card: &mut Isdr<T>,
        offer: Offer,
    ) -> Result<(Offer, Option<Secret>), Ended> {
        let (server, ticket) = (self.server, self.ticket);
        let shown = shown(&offer, self.request.confirmation_code.is_some());
        self.name = Some(shown.profile_name.clone()).filter(|name| !name.is_empty());
        let installed = &self.context.snapshot.borrow().profiles.clone();
        if installed.iter().any(|profile| profile.iccid == shown.iccid) {
            let detail = format!("The profile {} is installed already.", shown.iccid);
            offer.decline(card, server, LATER).await;
            return Err(Ended::Problem(
                Problem::new(Code::ProfileInstalled)
                    .detail(detail)
                    .code_consumed(CodeConsumed::No),
            ));
        }
        let code = self.request.confirmation_code.clone();
        // Rules that need express consent are shown to somebody even when the rest is accepted.
        if self.request.consent == Consent::Accept && !shown.policy_consent_required {
            return Ok((offer, code));
        }
        if let Some((accepted, code)) = &self.accepted
            && *accepted == shown
        {
            return Ok((offer, code.clone()));
        }
        let longest = Duration::from_secs(self.context.config.consent_timeout_s);
        let reason = match ticket.ask(shown.clone(), longest).await {
            Reply::Answered(answer) => match answer.answer {
                Decision::Accept => {
                    let code = code.or(answer.confirmation_code);
                    self.accepted = Some((shown, code.clone()));
                    return Ok((offer, code));
                }
                Decision::Decline => CancelSessionReason::END_USER_REJECTION,
                Decision::Postpone => CancelSessionReason::POSTPONED,
            },
            Reply::Cancelled => LATER,
            Reply::TimedOut => CancelSessionReason::TIMEOUT,
        };
        Err(offer.decline(card, server, reason).await.into())
    }

    fn intend(&self, doubt: &InDoubt) -> Result<(), Problem> {
        self.context.intend(Record::LoadingBpp {
            operation: self.ticket.id(),
            transaction_id: hex::encode_upper(doubt.transaction_id.octets()),
            iccid: doubt
                .iccid
                .map(|iccid| iccid.to_string())
                .unwrap_or_default(),
        })
    }
}

fn shown(offer: &Offer, has_code: bool) -> Shown {
    let metadata = offer.metadata();
    let text = |text: &Option<es10_apdu::types::Text>| {
        text.as_ref()
            .map(|text| text.to_string())
            .unwrap_or_default()
    };
    let (class, consent) = (metadata.class(), offer.consent());
    Shown {
        iccid: metadata.iccid.to_string(),
        service_provider: text(&metadata.service_provider_name),
        profile_name: text(&metadata.profile_name),
        class: class
            .meaning()
            .map_or_else(|| class.0.to_string(), str::to_owned),
        policy_rules: consent.rules.names().map(str::to_owned).collect(),
        policy_consent_required: consent.strong,
        confirmation_code_required: offer.confirmation_code_required() && !has_code,
    }
}

/// Asked for whatever it has for this EID, a server that knows of no order has nothing to download.
fn refused_offer(error: DownloadError, of_eid: bool) -> Ended {
    let problem = Problem::from(error);
    match problem.code {
        Code::MatchingIdRefused | Code::EidRefused if of_eid => Ended::Problem(Problem {
            code: Code::NothingToDownload,
            ..problem
        }),
        _ => Ended::Problem(problem),
    }
}

/// What keeps the order when it was not somebody's no.
const LATER: CancelSessionReason = CancelSessionReason::POSTPONED;
/// How long a card that broke off is waited for.
const CARD_RETURNS: Duration = Duration::from_secs(60);
const HTTPS: u16 = 443;
