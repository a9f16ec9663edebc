//! The other side of ES12: who registers events.

use std::fmt;

use es9_client::{
    Answer, AnswerError, Connect, Error, Es9Client, Es9Function, Options, Roots, ServerAddress,
};
use rsp_common::certificate::Role;
use rsp_common::pki::{Pki, PkiError};
use serde::Serialize;

use crate::rsp::random;
use crate::smdp::{Event, EventError, EventRegistrar, Registration};

/// Registers events at SM-DSs over HTTPS, for an SM-DP+ or an alternative SM-DS.
pub struct Es12Client<C> {
    client: Es9Client<C>,
    requester: String,
    forwarding: bool,
}

impl<C: Connect> Es12Client<C> {
    /// A client that calls itself `requester` and trusts servers of this PKI's issuer.
    ///
    /// `forwarding` tells an alternative SM-DS to pass events on to the root SM-DS.
    ///
    /// # Errors
    ///
    /// When the PKI has no issuer certificate that can be trusted.
    pub fn new(
        connect: C,
        pki: &Pki,
        requester: impl Into<String>,
        forwarding: bool,
    ) -> Result<Self, PkiError> {
        let mut roots = Roots::empty();
        let issuer = pki.certificate(Role::Ci)?;
        roots
            .add_der(issuer.der())
            .map_err(|_| PkiError::Missing("ci.der"))?;
        Ok(Self {
            client: Es9Client::new(connect, roots, Options::default()),
            requester: requester.into(),
            forwarding,
        })
    }

    fn header(&self) -> Header {
        Header {
            requester: self.requester.clone(),
            call: hex::encode_upper(random::<16>()),
        }
    }

    async fn call<F>(&self, smds: &str, function: &F) -> Result<(), EventError>
    where
        F: Es9Function<Response = ()>,
    {
        let address: ServerAddress = smds.parse().map_err(|error| {
            tracing::warn!(smds, %error, "this is no address of an SM-DS");
            EventError::Inaccessible
        })?;
        self.client.call(&address, function).await.map_err(|error| {
            tracing::warn!(smds, %error, "the SM-DS did not do it");
            match error {
                Error::Status { .. } => EventError::Refused,
                _ => EventError::Inaccessible,
            }
        })
    }
}

impl<C: Connect + 'static> EventRegistrar for Es12Client<C> {
    fn register(&self, event: Event) -> Registration<'_> {
        let request = RegisterEvent {
            header: self.header(),
            eid: event.eid,
            rsp_server_address: event.rsp_server_address,
            event_id: event.event_id,
            forwarding_indicator: self.forwarding,
        };
        Box::pin(async move { self.call(&event.smds_address, &request).await })
    }

    fn delete(&self, event: Event) -> Registration<'_> {
        let request = DeleteEvent {
            header: self.header(),
            eid: event.eid,
            event_id: event.event_id,
        };
        Box::pin(async move { self.call(&event.smds_address, &request).await })
    }
}

impl<C> fmt::Debug for Es12Client<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Es12Client")
            .field("requester", &self.requester)
            .field("forwarding", &self.forwarding)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Serialize)]
struct Header {
    #[serde(rename = "functionRequesterIdentifier")]
    requester: String,
    #[serde(rename = "functionCallIdentifier")]
    call: String,
}

#[derive(Debug, Serialize)]
struct RegisterEvent {
    header: Header,
    eid: String,
    #[serde(rename = "rspServerAddress")]
    rsp_server_address: String,
    #[serde(rename = "eventId")]
    event_id: String,
    #[serde(rename = "forwardingIndicator")]
    forwarding_indicator: bool,
}

#[derive(Debug, Serialize)]
struct DeleteEvent {
    header: Header,
    eid: String,
    #[serde(rename = "eventId")]
    event_id: String,
}

impl Es9Function for RegisterEvent {
    const INTERFACE: &'static str = "es12";
    const NAME: &'static str = "registerEvent";
    type Response = ();

    fn response(answer: &Answer) -> Result<(), AnswerError> {
        answer.executed()
    }
}

impl Es9Function for DeleteEvent {
    const INTERFACE: &'static str = "es12";
    const NAME: &'static str = "deleteEvent";
    type Response = ();

    fn response(answer: &Answer) -> Result<(), AnswerError> {
        answer.executed()
    }
}
