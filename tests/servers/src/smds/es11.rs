//! ES11: what an LPA asks of an SM-DS.
//!
//! SGP.22 v2.5 section 5.8.

use rsp_common::certificate::Role;
use serde_json::{Value, json};

use super::{EventRecord, Events, Function, Smds, State};
use crate::rsp::authentication::{Authenticated, Refusals, Server};
use crate::rsp::faults::Fault;
use crate::rsp::fields::{Fields, Members};
use crate::rsp::status::StatusCode;

impl Smds {
    /// Answers ES11.InitiateAuthentication.
    pub(super) fn initiate_authentication(
        &self,
        request: &Value,
        fault: Option<&Fault>,
    ) -> Result<Members, StatusCode> {
        let (session, answer) = self.authenticator(fault).initiate(&Fields(request))?;
        self.update(|state| state.sessions.open(session));
        Ok(answer)
    }

    /// Answers ES11.AuthenticateClient; whatever is refused ends its session.
    pub(super) fn authenticate_client(
        &self,
        request: Value,
        fault: Option<&Fault>,
    ) -> Result<Members, StatusCode> {
        const NAME: &str = Function::AuthenticateClient.name();
        let fields = Fields(&request);
        let transaction_id = fields.transaction_id()?;
        self.update(|state| {
            let State {
                sessions, events, ..
            } = state;
            let session = sessions
                .get_mut(&transaction_id)
                .ok_or(StatusCode::UNKNOWN_TRANSACTION)?;
            if let Some(Value::Object(answer)) = session.repeated(NAME, &request) {
                return Ok(answer);
            }
            let euicc = self.authenticator(fault).authenticate(session, &fields);
            let found = euicc.and_then(|euicc| entries(events, &euicc));
            let Ok(entries) = found else {
                sessions.close(&transaction_id);
                return found.map(|_| Members::new());
            };
            let answer = Members::from_iter([
                (
                    "transactionId".to_owned(),
                    hex::encode_upper(&transaction_id).into(),
                ),
                ("eventEntries".to_owned(), entries),
            ]);
            session.answered(NAME, request.clone(), Value::Object(answer.clone()));
            Ok(answer)
        })
    }

    fn authenticator<'a>(&'a self, fault: Option<&'a Fault>) -> Server<'a> {
        Server {
            pki: &self.config().pki,
            host_name: &self.config().host_name,
            role: Role::DsAuth,
            refusals: &REFUSALS,
            fault,
        }
    }
}

/// What waits for an eUICC, as it is told.
fn entries(events: &Events, euicc: &Authenticated) -> Result<Value, StatusCode> {
    let events = events.meant(&euicc.eid, &euicc.matching_id())?;
    tracing::info!(events = events.len(), "an eUICC asked for events");
    let entry = |event: &EventRecord| {
        json!({
            "eventId": event.event_id,
            "rspServerAddress": event.rsp_server_address,
        })
    };
    Ok(events.into_iter().map(entry).collect())
}

/// What an SM-DS answers when it cannot authenticate itself to an eUICC.
const REFUSALS: Refusals = Refusals {
    address: StatusCode::SMDS_ADDRESS_REFUSED,
    signing_issuer: StatusCode::SMDS_NO_SIGNING_ISSUER,
    version: StatusCode::SMDS_VERSION_UNSUPPORTED,
    verification_issuer: StatusCode::SMDS_NO_VERIFICATION_ISSUER,
};
