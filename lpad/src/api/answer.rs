//! What each action is answered with.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use es10_apdu::types::{Iccid, ProfileClass};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::time::timeout;

use super::action::{Action, invalid};
use super::actor::{Actor, Permissions};
use super::body;
use super::connections::{Answering, Crowded};
use super::euiccs::EuiccList;
use super::events::EventStream;
use super::health::{Health, Version};
use super::notifications::NotificationList;
use super::operations::OperationList;
use super::profiles::ProfileList;
use super::status::ErrorResponse;
use crate::engine::EngineHandle;
use crate::failure::{JobFailure, PortFailure};
use crate::job::{OperationId, Part};
use crate::memory::events::Events;
use crate::memory::journal::{RequestKey, SharedJournal};
use crate::memory::key::Key;
use crate::memory::operations::{Asked, Operation, Operations};
use crate::memory::snapshot::{Availability, Shown, Snapshot, find, find_notification};
use crate::packed;
use crate::problem::{Code, Problem};
use crate::runtime::closing::Closing;

/// What the API answers from.
#[derive(Debug)]
pub struct Api {
    /// The engines by name.
    pub engines: BTreeMap<String, EngineHandle>,
    /// All operations.
    pub operations: Operations,
    /// What is kept on disk.
    pub journal: SharedJournal,
    /// Tells bodies apart without keeping them.
    pub key: Key,
    /// What happens.
    pub events: Events,
    /// Who may do what.
    pub permissions: Permissions,
    /// How many connections that do not wait are served at the same time.
    pub max_connections: usize,
}

impl Api {
    /// Does what is asked, and answers.
    pub(super) async fn act(
        &self,
        action: Action,
        actor: Actor,
        request_key: Option<RequestKey>,
        answering: &Answering,
        closing: Closing,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Problem> {
        if let Some(key) = &request_key
            && let Some(operation) = self.operations.repeated(key)?
        {
            return Ok(self.again(&action, &operation, answering));
        }
        match action {
            Action::Health => Ok(ok(&Health::new(self.availability(), &self.journal))),
            Action::Version => Ok(ok(&Version::own())),
            Action::OpenApi => Ok(text(StatusCode::OK, JSON, packed::OPENAPI.text())),
            Action::Euiccs => {
                let euiccs = self
                    .engines
                    .values()
                    .map(|engine| (&engine.snapshot().euicc).into())
                    .collect();
                Ok(ok(&EuiccList { euiccs }))
            }
            Action::Euicc { euicc, wait_s } => {
                let engine = self.engine(&euicc)?;
                let known = read(engine, wait_s, answering).await;
                Ok(ok(&body::Euicc::from(&known.euicc)))
            }
            Action::Examine { euicc } => {
                let engine = self.engine(&euicc)?;
                let _waits = answering.waits()?;
                if let Some(operation) = engine.snapshot().euicc.busy_with {
                    return Err(Problem::new(Code::Busy).of_operation(operation));
                }
                match engine.examine().await {
                    Some(found) => Ok(ok(&body::Examination::from(&found))),
                    None => Err(Problem::new(Code::Busy).next_step(EXAMINED_LATER)),
                }
            }
            Action::Addresses { euicc, wait_s } => {
                let known = self.card(&euicc, wait_s, answering).await?;
                let addresses = known.addresses.of(Part::Addresses)?;
                Ok(ok(&body::Addresses::from(addresses)))
            }
            Action::Service { euicc } => Ok(ok(&self.engine(&euicc)?.snapshot().service())),
            Action::Profiles { euicc, wait_s } => {
                let known = self.card(&euicc, wait_s, answering).await?;
                let profiles = known.profiles.of(Part::Profiles)?;
                let profiles = profiles.iter().map(body::Profile::from).collect();
                Ok(ok(&ProfileList {
                    profiles,
                    read_at_s: known.euicc.read_at_s,
                    problem: out_of_reach(&known),
                }))
            }
            Action::Profile {
                euicc,
                iccid,
                wait_s,
            } => {
                let known = self.card(&euicc, wait_s, answering).await?;
                let profiles = known.profiles.of(Part::Profiles)?;
                Ok(ok(&body::Profile::from(&find(profiles, iccid)?)))
            }
            Action::Notifications { euicc, wait_s } => {
                let known = self.card(&euicc, wait_s, answering).await?;
                let notifications = known.notifications.of(Part::Notifications)?;
                let notifications = notifications.iter();
                let notifications = notifications.map(body::Notification::from).collect();
                Ok(ok(&NotificationList {
                    notifications,
                    read_at_s: known.euicc.read_at_s,
                    problem: out_of_reach(&known),
                }))
            }
            Action::Notification {
                euicc,
                number,
                wait_s,
            } => {
                let known = self.card(&euicc, wait_s, answering).await?;
                let notifications = known.notifications.of(Part::Notifications)?;
                let one = find_notification(notifications, number)?;
                Ok(ok(&body::Notification::from(&one)))
            }
            Action::Start {
                euicc,
                job,
                may_wait,
                attended,
            } => {
                let asked = Asked {
                    client: Some(actor.process()),
                    lease: answering.lease().filter(|_| attended),
                    request: request_key,
                    may_wait,
                };
                Ok(accepted(&self.engine(&euicc)?.start(job, asked)?))
            }
            Action::Operations(filter) => {
                let operations = self.operations.list();
                if let Some(name) = &filter.euicc
                    && !self.engines.contains_key(name)
                    && !operations.iter().any(|one| one.euicc == *name)
                {
                    return Err(invalid(format!("no eUICC is called \"{name}\".")));
                }
                let operations = operations.iter().filter(|one| filter.takes(one));
                let operations = operations.map(body::Operation::from).collect();
                Ok(ok(&OperationList { operations }))
            }
            Action::Operation { id, wait_s } => {
                let now = self.operations.find(id)?;
                if wait_s == 0 || now.state.is_settled() {
                    return Ok(ok(&body::Operation::from(&now)));
                }
                let _waits = answering.waits()?;
                let wait = self.operations.wait(id, Duration::from_secs(wait_s));
                let now = tokio::select! {
                    operation = wait => operation?,
                    () = closing.announced() => self.operations.find(id)?,
                };
                Ok(ok(&body::Operation::from(&now)))
            }
            Action::Answer { id, answer } => {
                let answered = self.operations.answer(id, answer, request_key)?;
                Ok(ok(&body::Operation::from(&answered)))
            }
            Action::Decide { id, verdict } => {
                let decided = self.operations.decide(id, verdict)?;
                self.was_told(id, request_key);
                Ok(ok(&body::Operation::from(&decided)))
            }
            Action::Cancel(id) => {
                let cancelled = self.operations.cancel(id)?;
                self.was_told(id, request_key);
                Ok(accepted(&cancelled))
            }
            Action::Events { last_seen } => {
                answering.follows()?;
                let stream = EventStream::new(self.events.follow(last_seen), closing);
                Ok(event_stream(stream))
            }
        }
    }

    /// What a request is answered with that was carried out already: the operation as it is now.
    fn again(
        &self,
        action: &Action,
        operation: &Operation,
        answering: &Answering,
    ) -> Response<BoxBody<Bytes, Infallible>> {
        if let Action::Start { attended, .. } = action {
            let lease = answering.lease().filter(|_| *attended);
            self.operations.attended_by(operation.id, lease);
        }
        match action {
            Action::Start { .. } | Action::Cancel(_) => accepted(operation),
            _ => ok(&body::Operation::from(operation)),
        }
    }

    /// What may be said twice is kept once it was heard.
    fn was_told(&self, id: OperationId, request_key: Option<RequestKey>) {
        if let Some(key) = request_key {
            self.operations.was_told(id, key);
        }
    }

    fn availability(&self) -> BTreeMap<String, Availability> {
        self.engines
            .values()
            .map(|engine| {
                (
                    engine.name().to_owned(),
                    engine.snapshot().euicc.state.availability(),
                )
            })
            .collect()
    }

    /// Whether a profile is one for tests, or it is not known yet.
    pub(super) fn may_be_test(&self, euicc: &str, iccid: Iccid) -> bool {
        let engine = self.engines.get(euicc);
        let known = engine.map(EngineHandle::snapshot);
        let profiles = known.as_ref().and_then(|known| known.profiles.value());
        profiles.is_none_or(|profiles| {
            let mut profiles = profiles.iter();
            profiles.any(|one| one.iccid == iccid && one.class == ProfileClass::TEST)
        })
    }

    fn engine(&self, name: &str) -> Result<&EngineHandle, Problem> {
        self.engines.get(name).ok_or_else(|| {
            Problem::new(Code::UnknownEuicc).detail(format!("no eUICC is called \"{name}\"."))
        })
    }

    /// What is known of the card, unless nothing is.
    async fn card(
        &self,
        name: &str,
        wait_s: u64,
        answering: &Answering,
    ) -> Result<Snapshot, Problem> {
        let snapshot = read(self.engine(name)?, wait_s, answering).await;
        match snapshot.read_at {
            Some(_) => Ok(snapshot),
            None => Err(out_of_reach(&snapshot)
                .unwrap_or_else(|| JobFailure::from(PortFailure::NotYet).into())),
        }
    }
}

/// Why the card cannot be read now.
fn out_of_reach(known: &Snapshot) -> Option<Problem> {
    match &known.euicc.state {
        Shown::Unavailable { because, .. } => Some((&**because).into()),
        Shown::Starting | Shown::Ready => None,
    }
}

/// What is known of a card once it was read again, or the time is over.
async fn read(engine: &EngineHandle, wait_s: u64, answering: &Answering) -> Snapshot {
    if wait_s == 0 {
        return engine.snapshot();
    }
    // Where too many wait already, what is known must do.
    let Ok(_waits) = answering.waits() else {
        return engine.snapshot();
    };
    match timeout(Duration::from_secs(wait_s), engine.fresh()).await {
        Ok(fresh) => fresh,
        Err(_) => engine.snapshot(),
    }
}

impl From<Crowded> for Problem {
    fn from(crowded: Crowded) -> Self {
        Self::new(Code::TooManyReaders).detail(format!("{crowded}."))
    }
}

fn ok(body: &impl Serialize) -> Response<BoxBody<Bytes, Infallible>> {
    json(StatusCode::OK, JSON, body)
}

fn accepted(operation: &Operation) -> Response<BoxBody<Bytes, Infallible>> {
    let body = body::Operation::from(operation);
    let mut response = json(StatusCode::ACCEPTED, JSON, &body);
    if let Ok(location) = HeaderValue::try_from(format!("/v1/operations/{}", operation.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The answer of a request that failed.
pub(super) fn error_response(error: &ErrorResponse) -> Response<BoxBody<Bytes, Infallible>> {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, "application/problem+json", error);
    if let (false, Ok(allow)) = (
        error.allow.is_empty(),
        HeaderValue::try_from(error.allow.join(", ")),
    ) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

fn json(
    status: StatusCode,
    content_type: &'static str,
    body: &impl Serialize,
) -> Response<BoxBody<Bytes, Infallible>> {
    // The API's types have only string keys, so writing them cannot fail.
    text(
        status,
        content_type,
        serde_json::to_vec(body).unwrap_or_default(),
    )
}

fn text(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(body.into()).boxed());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn event_stream(stream: EventStream) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(stream.boxed());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// What to do when the engine had no time for an examination.
const EXAMINED_LATER: &str = "Try again when nothing else is under way on this eUICC.";
/// The type of what succeeds.
const JSON: &str = "application/json";
