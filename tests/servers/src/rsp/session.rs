//! RSP sessions, from initiateAuthentication to the installation result.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// A session, found by its transaction ID; `C` is what the server knows of an authenticated eUICC.
#[derive(Debug)]
pub(crate) struct Session<C> {
    pub(crate) transaction_id: Vec<u8>,
    pub(crate) server_challenge: [u8; 16],
    /// Key identifier of the issuer of the server's own certificates.
    pub(crate) own_issuer: Vec<u8>,
    /// euiccCiPKIdToBeUsed: key identifier of the issuer of the eUICC's.
    pub(crate) euicc_issuer: Vec<u8>,
    /// The eUICC, once it has authenticated.
    pub(crate) client: Option<C>,
    /// The last request and its answer, for a client that lost the answer and asks again.
    last: Option<(&'static str, Value, Value)>,
    since: Instant,
}

impl<C> Session<C> {
    pub(crate) fn new(transaction_id: Vec<u8>, server_challenge: [u8; 16]) -> Self {
        Self {
            transaction_id,
            server_challenge,
            own_issuer: Vec::new(),
            euicc_issuer: Vec::new(),
            client: None,
            last: None,
            since: Instant::now(),
        }
    }

    /// The answer already given to exactly this request.
    pub(crate) fn repeated(&self, function: &'static str, request: &Value) -> Option<Value> {
        let (last, asked, answer) = self.last.as_ref()?;
        (*last == function && asked == request).then(|| answer.clone())
    }

    pub(crate) fn answered(&mut self, function: &'static str, request: Value, answer: Value) {
        self.last = Some((function, request, answer));
    }
}

/// The sessions that are open.
#[derive(Debug)]
pub(crate) struct Sessions<C>(Vec<Session<C>>);

impl<C> Default for Sessions<C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C> Sessions<C> {
    /// Opens a session; abandoned ones make room.
    pub(crate) fn open(&mut self, session: Session<C>) {
        self.0
            .retain(|session| session.since.elapsed() < SESSION_LIFETIME);
        if self.0.len() == MAX_SESSIONS {
            self.0.remove(0);
        }
        self.0.push(session);
    }

    pub(crate) fn get_mut(&mut self, transaction_id: &[u8]) -> Option<&mut Session<C>> {
        self.0.iter_mut().find(|session| {
            session.transaction_id == transaction_id && session.since.elapsed() < SESSION_LIFETIME
        })
    }

    pub(crate) fn close(&mut self, transaction_id: &[u8]) {
        self.0
            .retain(|session| session.transaction_id != transaction_id);
    }
}

/// How long a session waits for its client: the slowest serial line needs minutes, not hours.
const SESSION_LIFETIME: Duration = Duration::from_secs(3600);
const MAX_SESSIONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_whose_client_did_not_come_back_is_unknown() {
        let mut sessions = Sessions::<()>::default();
        sessions.open(Session::new(vec![1; 16], [2; 16]));
        assert!(sessions.get_mut(&[1; 16]).is_some());
        tokio::time::advance(SESSION_LIFETIME).await;
        assert!(sessions.get_mut(&[1; 16]).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_session_makes_room() {
        let mut sessions = Sessions::<()>::default();
        for number in 0..=MAX_SESSIONS {
            sessions.open(Session::new(vec![number.to_be_bytes()[7]; 16], [0; 16]));
        }
        assert!(sessions.get_mut(&[0; 16]).is_none());
        assert!(sessions.get_mut(&[1; 16]).is_some());
    }
}
