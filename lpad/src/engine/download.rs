//! The download job: SGP.22 v2.5 section 3.1.3 from the order to the delivered notification.

use std::pin::pin;
use std::time::Duration;

use es9_client::{Connect, Es9Client, Restrict, ServerAddress};
use es10_apdu::asn1::Raw;
use es10_apdu::es10b::{CancelSessionReason, EuiccInfo1};

use super::context::Context;
use super::life::Up;
use super::session::ReadBackNow;
use super::waiting::{InSight, Waits};
use crate::config::Confirm;
use crate::failure::JobFailure;
use crate::job::{
    Achievement, Consent, Decision, Download, Offer as Shown, Progress, Reply, Stage, Switch,
    WaitingOn,
};
use crate::memory::journal::{OpenSwitch, Record};
use crate::memory::operations::Ticket;
use crate::modem::OpenPort;
use crate::procedure::download::{
    Device, DownloadError, Failure, InDoubt, Initiated, Installed, Offer, Order, SessionEnd, Step,
};
use crate::procedure::interruptible::Interruptible;
use crate::procedure::{Card, FunctionError};
use crate::secret::Secret;

impl<O: OpenPort, C: Restrict + 'static> Up<'_, O, C> {
    pub(super) async fn download(
        &mut self,
        ticket: &Ticket,
        request: Download,
    ) -> Result<Achievement, JobFailure> {
        ticket.stage(Stage::Initialising);
        let enable = request.enable;
        let order = self.context.order(&request.source)?;
        let mut achieved = match self.install(ticket, request, order).await {
            Ok(achieved) => achieved,
            Err(JobFailure::NothingToDownload(error)) => {
                tracing::info!(%error, "the server has nothing for this eUICC");
                return Ok(Achievement {
                    nothing_to_download: true,
                    ..Achievement::default()
                });
            }
            Err(failure) => return Err(failure),
        };
        if enable {
            achieved = self.enable_installed(ticket, achieved, None).await?;
        }
        Ok(achieved)
    }

    /// Enables the profile that was installed, or goes on with that. It is installed whatever comes of it, so
    /// a failure is told as a warning; when the modem is away, it is enabled once that is back.
    pub(super) async fn enable_installed(
        &mut self,
        ticket: &Ticket,
        mut achieved: Achievement,
        switch: Option<OpenSwitch>,
    ) -> Result<Achievement, JobFailure> {
        let Some(iccid) = achieved.iccid else {
            return Ok(achieved);
        };
        let switched = match switch {
            Some(open) => self.go_on(ticket, open, true).await,
            None => {
                let asked = self.context.operations.find(ticket.id());
                // No client waits to confirm what lpad does by itself.
                let confirm = asked
                    .is_ok_and(|asked| asked.by_itself)
                    .then_some(Confirm::Auto);
                let switch = Switch {
                    confirm,
                    ..Switch::to(iccid)
                };
                self.enable(ticket, &switch).await
            }
        };
        match switched {
            Ok(switched) => {
                achieved.enabled = Some(true);
                achieved.notifications_delivered += switched.notifications_delivered;
                achieved.notifications_pending = switched.notifications_pending;
                achieved.warnings.extend(switched.warnings);
            }
            Err(JobFailure::InDoubt { lost, since }) => {
                let lost = JobFailure::NotEnabled(lost).into();
                return Err(JobFailure::InDoubt { lost, since });
            }
            Err(failure) if failure.loses_card() => {
                let lost = JobFailure::NotEnabled(failure.into());
                return Err(JobFailure::in_doubt(lost, None));
            }
            Err(failure) => {
                let warning = match failure {
                    JobFailure::NoService(_) => {
                        format!("It is installed, and not in use: {failure}.")
                    }
                    _ => format!("It could not be enabled: {failure}."),
                };
                achieved.enabled = Some(false);
                achieved.warnings.push(warning);
            }
        }
        Ok(achieved)
    }

    async fn install(
        &mut self,
        ticket: &Ticket,
        request: Download,
        order: Order,
    ) -> Result<Achievement, JobFailure> {
        let context = self.context;
        let address = order.address.clone();
        let waits = context.waits();
        let server = InSight::new(&context.server, &waits);
        let server = Interruptible::new(&server, ticket.cancellation());
        let mut run = Run {
            context,
            server: &server,
            ticket,
            request: &request,
            device: Device {
                imei: self.card.imei.clone(),
            },
            info1: self.card.info1.clone(),
            name: None,
            accepted: None,
        };
        let read = match request.enable {
            true => ReadBackNow::No,
            false => ReadBackNow::Yes,
        };
        // The TLS handshake runs while the card opens its channel.
        let connect = connect(&context.server, &address, ticket, &waits);
        let ended = self
            .desk
            .in_session_beside(connect, async |session, connected| {
                connected?;
                remember_port(context, &address);
                let ended = run
                    .run(&mut session.card, order)
                    .await
                    .map_err(|failure| as_cancelled(failure, ticket));
                if ended.as_ref().map_or_else(is_reported, |_| true) {
                    session.outbox.has_answered(&address);
                }
                match ended {
                    Ok(installed) => {
                        if let Some(octets) = installed.notification {
                            session.outbox.hand_over(installed.seq_number, octets);
                        }
                        let achieved = Achievement {
                            iccid: Some(installed.iccid),
                            profile_name: run.name.take(),
                            enabled: Some(false),
                            ..Achievement::default()
                        };
                        let finished = session.finish(context, ticket, read).await;
                        Ok(finished.add_to(achieved))
                    }
                    Err(failure) => {
                        // The result of a failed installation waits for its delivery like any other.
                        if is_reported(&failure) {
                            drop(session.finish(context, ticket, ReadBackNow::Yes).await);
                        }
                        Err(failure)
                    }
                }
            })
            .await;
        match ended {
            Err(JobFailure::Download(error)) if matches!(error.session, SessionEnd::InDoubt(_)) => {
                let achieved = self.settle(ticket, error.into()).await?;
                Ok(Achievement {
                    profile_name: achieved.profile_name.or(run.name),
                    ..achieved
                })
            }
            // The card was not even asked for a challenge.
            Err(JobFailure::Function(FunctionError::Call(error))) => {
                Err(JobFailure::Download(DownloadError {
                    step: Step::Initiate,
                    session: SessionEnd::NotOpened,
                    failure: error.into(),
                }))
            }
            ended => ended,
        }
    }
}

/// Connects to the server, unless the operation is cancelled meanwhile.
async fn connect<C: Connect + 'static>(
    server: &Es9Client<C>,
    address: &ServerAddress,
    ticket: &Ticket,
    waits: &Waits,
) -> Result<(), JobFailure> {
    let longest = server.deadlines().response;
    let connect = pin!(server.connect(address));
    let connect = waits.on(WaitingOn::Server, longest, connect);
    tokio::select! {
        biased;
        () = ticket.cancelled() => Err(JobFailure::Cancelled),
        connected = connect => connected.map_err(|error| {
            JobFailure::Download(DownloadError {
                step: Step::Initiate,
                session: SessionEnd::NotOpened,
                failure: error.into(),
            })
        }),
    }
}

/// A session that was postponed because a client cancelled the operation.
fn as_cancelled(failure: JobFailure, ticket: &Ticket) -> JobFailure {
    match failure {
        JobFailure::Download(error)
            if ticket.is_cancelled() && matches!(error.failure, Failure::Declined(POSTPONED)) =>
        {
            JobFailure::Cancelled
        }
        failure => failure,
    }
}

/// Whether the card has a result for the server.
fn is_reported(failure: &JobFailure) -> bool {
    matches!(failure, JobFailure::Download(error) if matches!(error.session, SessionEnd::Reported))
}

fn remember_port<C>(context: &Context<C>, address: &ServerAddress) {
    let host = address.host().to_ascii_lowercase();
    context.journal.reached(&host, address.port());
}

/// One run through the states of a download.
struct Run<'a, C> {
    context: &'a Context<C>,
    server: &'a Interruptible<'a, InSight<'a, C>>,
    ticket: &'a Ticket,
    request: &'a Download,
    device: Device,
    info1: Option<Raw<EuiccInfo1>>,
    /// The profile's name, as soon as it is known.
    name: Option<String>,
    /// The offer that was accepted already, and with which confirmation code.
    accepted: Option<(Shown, Option<Secret>)>,
}

impl<C: Connect + 'static> Run<'_, C> {
    /// Runs once, and once more after a hiccup that another session may get over.
    async fn run(&mut self, card: &mut impl Card, order: Order) -> Result<Installed, JobFailure> {
        match self.attempt(card, order.clone()).await {
            Err(JobFailure::Download(error))
                if error.deserves_another_session() && !self.ticket.is_cancelled() =>
            {
                tracing::warn!(%error, "starting again");
                self.attempt(card, order).await
            }
            ended => ended,
        }
    }

    async fn attempt(
        &mut self,
        card: &mut impl Card,
        order: Order,
    ) -> Result<Installed, JobFailure> {
        let (server, ticket) = (self.server, self.ticket);
        let of_eid = order.matching_id.expose().is_empty();
        let initiated = Initiated::start(card, server, order, self.info1.clone()).await?;
        ticket.stage(Stage::Authenticating);
        let authenticated = initiated
            .authenticate_server(card, server, &self.device)
            .await?;
        if ticket.is_cancelled() {
            return Err(authenticated.cancel(card, server, POSTPONED).await.into());
        }
        let offer = match authenticated.offer(card, server).await {
            Ok(offer) => offer,
            Err(error) if error.deserves_another_session() || ticket.is_cancelled() => {
                return Err(error.into());
            }
            Err(error) if of_eid && is_nothing_there(&error) => {
                return Err(JobFailure::NothingToDownload(error));
            }
            Err(error) => return Err(error.into()),
        };
        let (offer, code) = self.consent(card, offer).await?;
        ticket.stage(Stage::Preparing);
        let prepared = offer.accept(card, server, code.as_ref()).await?;
        if ticket.is_cancelled() {
            return Err(prepared.cancel(card, server, POSTPONED).await.into());
        }
        ticket.stage(Stage::Downloading);
        let bound = prepared.fetch(card, server).await?;
        let Ok(committed) = ticket.commit() else {
            return Err(bound.cancel(card, server, POSTPONED).await.into());
        };
        if let Err(failure) = self.intend(&bound.in_doubt()) {
            bound.cancel(card, server, POSTPONED).await;
            return Err(failure);
        }
        ticket.stage(Stage::Installing);
        let progress = |done: usize, total: usize| {
            let octets = |count| u64::try_from(count).unwrap_or(u64::MAX);
            ticket.progress(Progress {
                done: octets(done),
                total: octets(total),
            });
        };
        let total = bound.size();
        progress(0, total);
        let loaded = |done| progress(done, total);
        let installed = bound.install(card, server, &committed, loaded).await?;
        // The last segment is answered by the result, not by its count.
        progress(total, total);
        Ok(installed)
    }

    /// Asks for consent where it is needed, and gives the offer back with the confirmation code.
    async fn consent(
        &mut self,
        card: &mut impl Card,
        offer: Offer,
    ) -> Result<(Offer, Option<Secret>), JobFailure> {
        let (server, ticket) = (self.server, self.ticket);
        let shown = shown(&offer, self.request.confirmation_code.is_some());
        self.name = Some(shown.profile_name.clone()).filter(|name| !name.is_empty());
        let iccid = offer.metadata().iccid;
        if self.context.has_profile(iccid) {
            offer.decline(card, server, POSTPONED).await;
            return Err(JobFailure::ProfileInstalled(iccid));
        }
        let code = self.request.confirmation_code.clone();
        // Rules that need express consent are shown to a person even when the rest is accepted.
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
            Reply::Cancelled => {
                return Err(offer.decline(card, server, POSTPONED).await.into());
            }
            Reply::TimedOut => CancelSessionReason::TIMEOUT,
        };
        Err(offer.decline(card, server, reason).await.into())
    }

    fn intend(&self, doubt: &InDoubt) -> Result<(), JobFailure> {
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
    let consent = offer.consent();
    Shown {
        iccid: metadata.iccid,
        service_provider: text(&metadata.service_provider_name),
        profile_name: text(&metadata.profile_name),
        class: metadata.class(),
        policy_rules: consent.rules,
        policy_consent_required: consent.strong,
        confirmation_code_required: offer.confirmation_code_required() && !has_code,
    }
}

/// Whether the server knows of no order for what it was asked.
fn is_nothing_there(error: &DownloadError) -> bool {
    let Failure::Server(cause) = &error.failure else {
        return false;
    };
    cause.status().is_some_and(|data| {
        matches!(
            (data.subject_code.trim(), data.reason_code.trim()),
            ("8.2.6", "3.8") | ("8.1.1", "3.8" | "3.10")
        )
    })
}

/// Keeps the order for another time.
const POSTPONED: CancelSessionReason = CancelSessionReason::POSTPONED;
