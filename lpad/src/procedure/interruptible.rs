//! A server that is not waited for any longer once the job is cancelled.

use std::time::Duration;

use es9_client::{Es9Function, ServerAddress};
use tokio::time::timeout;

use super::{Server, ServerError};
use crate::commit::Cancellation;

/// A server as a job that may be cancelled sees it.
///
/// A server may take minutes to answer, and a name minutes to be resolved. A cancel and the end of
/// the daemon do not wait for that: the call under way ends at once as
/// [`ServerError::Interrupted`], and the procedure takes its ordinary way out. A call made after
/// that is the server's to hear that the session ends; it has a few seconds for it.
#[derive(Debug)]
pub struct Interruptible<'a, S> {
    server: &'a S,
    cancellation: &'a Cancellation,
}

impl<'a, S: Server> Interruptible<'a, S> {
    /// The server, until the job is cancelled.
    pub fn new(server: &'a S, cancellation: &'a Cancellation) -> Self {
        Self {
            server,
            cancellation,
        }
    }
}

impl<S: Server> Server for Interruptible<'_, S> {
    async fn call<F: Es9Function>(
        &self,
        address: &ServerAddress,
        function: &F,
    ) -> Result<F::Response, ServerError> {
        let call = self.server.call(address, function);
        if self.cancellation.is_cancelled() {
            let answer = timeout(LAST_WORD, call).await;
            return answer.unwrap_or(Err(ServerError::Interrupted));
        }
        tokio::select! {
            // An answer that is there counts, even when the cancel came at the same time: the server
            // has acted on the request.
            biased;
            answer = call => answer,
            () = self.cancellation.cancelled() => Err(ServerError::Interrupted),
        }
    }
}

/// How long a server is told of the end of a session that was cancelled.
const LAST_WORD: Duration = Duration::from_secs(3);
