//! The one place that opens a session with the card, and closes each one.

use std::time::Duration;

use es9_client::Connect;
use es10_apdu::types::Eid;

use super::outbox::Outbox;
use super::port::{CardPort, OpenCard};
use crate::failure::JobFailure;
use crate::modem::OpenPort;
use crate::procedure::euicc;

/// Port, outbox, and the card both are bound to.
pub(super) struct Desk<O: OpenPort, C> {
    pub(super) port: CardPort<O>,
    pub(super) outbox: Outbox<C>,
    /// The card every session must find; `None` until one was read.
    eid: Option<Eid>,
}

/// The ISD-R of the card this desk is bound to, selected on a channel of its own.
pub(super) struct Session<'s, S, C> {
    pub(super) card: OpenCard<'s, S>,
    pub(super) outbox: &'s mut Outbox<C>,
}

impl<O: OpenPort, C: Connect + 'static> Desk<O, C> {
    pub(super) fn new(port: CardPort<O>, outbox: Outbox<C>) -> Self {
        Self {
            port,
            outbox,
            eid: None,
        }
    }

    /// Binds what follows to the card with this EID.
    pub(super) fn bind(&mut self, eid: Eid) {
        self.eid = Some(eid);
    }

    /// Forgets which card it was, before it is read anew.
    pub(super) fn unbind(&mut self) {
        self.eid = None;
    }

    /// Opens the ISD-R, does the work, and closes the channel whatever came of the work.
    ///
    /// # Cancel safety
    ///
    /// A dropped future leaves the channel open; the journal's record closes it later.
    pub(super) async fn in_session<R>(
        &mut self,
        work: impl AsyncFnOnce(&mut Session<'_, O::Port, C>) -> Result<R, JobFailure>,
    ) -> Result<R, JobFailure> {
        let nothing = std::future::ready(());
        self.in_session_beside(nothing, async |session, ()| work(session).await)
            .await
    }

    /// As [`Self::in_session`], with something that runs while the channel opens: a TLS handshake.
    pub(super) async fn in_session_beside<A, R>(
        &mut self,
        beside: impl Future<Output = A> + Send,
        work: impl AsyncFnOnce(&mut Session<'_, O::Port, C>, A) -> Result<R, JobFailure>,
    ) -> Result<R, JobFailure> {
        let Self { port, outbox, eid } = self;
        let (card, beside) = tokio::join!(open(port, *eid), beside);
        let mut session = Session {
            card: card?,
            outbox,
        };
        let done = work(&mut session, beside).await;
        session.card.close().await;
        done
    }
}

/// Opens the ISD-R and proves that it is the card meant: another one may have been put in behind an
/// open port, and must not get the work of the one before.
async fn open<O: OpenPort>(
    port: &mut CardPort<O>,
    wanted: Option<Eid>,
) -> Result<OpenCard<'_, O::Port>, JobFailure> {
    let mut card = port.session().await?;
    let Some(wanted) = wanted else {
        return Ok(card);
    };
    let failure = match euicc::eid(&mut card).await {
        Ok(found) if found == wanted => return Ok(card),
        Ok(found) => JobFailure::OtherCard { wanted, found },
        Err(error) => error.into(),
    };
    card.close().await;
    Err(failure)
}

/// How long a modem that restarts, or gets its power back, is waited for.
pub(super) const MODEM_RETURNS: Duration = Duration::from_secs(120);
