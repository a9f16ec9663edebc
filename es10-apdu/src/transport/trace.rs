//! Logging of APDUs without their contents.

use tokio::time::Instant;
use tracing::debug;

use super::{Deadline, Session, Transport, TransportError};
use crate::apdu::{Command, Response};
use crate::types::Aid;

/// Logs header, lengths, status word and duration of every APDU, at debug level.
///
/// Payloads are never logged: they hold codes, keys and identifiers.
#[derive(Debug)]
pub struct Trace<T> {
    inner: T,
}

impl<T> Trace<T> {
    /// Logs what goes through `inner`.
    pub fn new(inner: T) -> Self {
        Self { inner }
    }
}

impl<T: Transport> Transport for Trace<T> {
    async fn transmit(
        &mut self,
        command: &Command,
        deadline: Deadline,
    ) -> Result<Response, TransportError> {
        let start = Instant::now();
        let result = self.inner.transmit(command, deadline).await;
        let took = start.elapsed();
        match &result {
            Ok(response) => debug!(?command, ?response, ?took, "APDU"),
            Err(error) => debug!(?command, %error, ?took, "APDU without response"),
        }
        result
    }
    fn has_sessions(&self) -> bool {
        self.inner.has_sessions()
    }

    async fn open_session(
        &mut self,
        aid: &Aid,
        deadline: Deadline,
    ) -> Result<Session, TransportError> {
        let start = Instant::now();
        let result = self.inner.open_session(aid, deadline).await;
        let took = start.elapsed();
        match &result {
            Ok(session) => debug!(%session, ?took, "session opened"),
            Err(error) => debug!(%error, ?took, "session refused"),
        }
        result
    }

    fn resume_session(&mut self, session: &Session) {
        self.inner.resume_session(session);
    }

    async fn close_session(&mut self, deadline: Deadline) -> Result<(), TransportError> {
        self.inner.close_session(deadline).await
    }
}
