//! ES12: what SM-DP+s, and alternative SM-DSs, ask of an SM-DS.
//!
//! SGP.22 v2.5 section 5.4. The caller is not asked for a TLS certificate, only for the name it
//! gives itself in the request's header.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::{EventRecord, Root, Smds};
use crate::rsp::fields::Members;
use crate::rsp::random;
use crate::rsp::status::StatusCode;
use crate::smdp::{Event, EventError};

impl Smds {
    /// Answers ES12.RegisterEvent: an alternative SM-DS tells the root SM-DS first if it shall.
    pub(super) async fn register(&self, request: &Value) -> Result<Members, StatusCode> {
        let request = Request::read(request)?;
        let mut event = EventRecord::new(
            request.eid()?,
            request.event_id()?,
            request.text("rspServerAddress")?,
        );
        let forward = request.flag("forwardingIndicator")?;
        if self
            .state()
            .events
            .find(&event.eid, &event.event_id)
            .is_some()
        {
            return Err(StatusCode::EVENT_EXISTS);
        }
        let root = self.config().root.as_ref().filter(|_| forward);
        if let Some(root) = root {
            event.forwarded_as = Some(hex::encode_upper(random::<16>()));
            let told = self
                .forwarded(root, &event)
                .map(|told| root.registrar.register(told));
            reached(told).await?;
        }
        tracing::info!(%event, forwarded = root.is_some(), "event registered");
        let registered = self.update(|state| state.events.register(event.clone()));
        if registered.is_err() {
            self.withdraw(&event).await;
        }
        registered.map(|()| Members::new())
    }

    /// Answers ES12.DeleteEvent.
    pub(super) async fn delete(&self, request: &Value) -> Result<Members, StatusCode> {
        let request = Request::read(request)?;
        let (eid, event_id) = (request.eid()?, request.event_id()?);
        let event = self
            .update(|state| state.events.delete(eid, event_id))
            .ok_or(StatusCode::EVENT_UNKNOWN)?;
        tracing::info!(%event, "event deleted");
        self.withdraw(&event).await;
        Ok(Members::new())
    }

    /// Deletes at the root SM-DS what was forwarded there, as far as it can be reached.
    async fn withdraw(&self, event: &EventRecord) {
        let Some(root) = &self.config().root else {
            return;
        };
        let told = self
            .forwarded(root, event)
            .map(|told| root.registrar.delete(told));
        if let Err(error) = reached(told).await {
            tracing::warn!(%event, %error, "the root SM-DS still knows an event");
        }
    }

    /// What the root SM-DS is told of an event, when it is.
    fn forwarded(&self, root: &Root, event: &EventRecord) -> Option<Event> {
        Some(Event {
            smds_address: root.address.clone(),
            eid: event.eid.clone(),
            rsp_server_address: self.config().host_name.clone(),
            event_id: event.forwarded_as.clone()?,
        })
    }
}

/// Waits for an answer of the root SM-DS, if it was asked anything.
async fn reached(
    asked: Option<impl Future<Output = Result<(), EventError>>>,
) -> Result<(), StatusCode> {
    let Some(asked) = asked else {
        return Ok(());
    };
    let answer = timeout(ROOT_DEADLINE, asked).await;
    answer
        .unwrap_or(Err(EventError::Inaccessible))
        .map_err(|error| match error {
            EventError::Inaccessible => StatusCode::SMDS_INACCESSIBLE,
            EventError::Refused => StatusCode::SMDS_FAILED,
        })
}

/// The members of a request whose header is right.
struct Request<'a>(&'a Value);

impl<'a> Request<'a> {
    fn read(request: &'a Value) -> Result<Self, StatusCode> {
        let named = |name: &str| {
            let text = request
                .get("header")
                .and_then(|header| header.get(name)?.as_str());
            text.is_some_and(|text| !text.trim().is_empty())
        };
        if !named("functionRequesterIdentifier") {
            return Err(StatusCode::REQUESTER_INVALID);
        }
        if !named("functionCallIdentifier") {
            return Err(StatusCode::CALL_INVALID);
        }
        Ok(Self(request))
    }

    fn member(&self, name: &str) -> Result<&'a Value, StatusCode> {
        self.0.get(name).ok_or(StatusCode::MISSING_INPUT)
    }

    fn text(&self, name: &str) -> Result<&'a str, StatusCode> {
        let text = self.member(name)?.as_str();
        text.filter(|text| (1..=MAX_TEXT).contains(&text.len()))
            .ok_or(StatusCode::INVALID_INPUT)
    }

    fn flag(&self, name: &str) -> Result<bool, StatusCode> {
        self.member(name)?
            .as_bool()
            .ok_or(StatusCode::INVALID_INPUT)
    }

    fn eid(&self) -> Result<&'a str, StatusCode> {
        let eid = self.text("eid")?;
        let is_eid = eid.len() == 32 && eid.bytes().all(|digit| digit.is_ascii_digit());
        Some(eid)
            .filter(|_| is_eid)
            .ok_or(StatusCode::INVALID_INPUT)
    }

    /// An event ID serves as matching ID, and is written like one.
    fn event_id(&self) -> Result<&'a str, StatusCode> {
        let id = self.text("eventId")?;
        let is_allowed =
            |octet: u8| octet.is_ascii_uppercase() || octet.is_ascii_digit() || octet == b'-';
        Some(id)
            .filter(|id| id.bytes().all(is_allowed))
            .ok_or(StatusCode::INVALID_INPUT)
    }
}

const MAX_TEXT: usize = 255;
/// How long the root SM-DS may take; the caller waits for it.
const ROOT_DEADLINE: Duration = Duration::from_secs(30);
