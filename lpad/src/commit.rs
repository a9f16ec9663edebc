//! Until when a job can be cancelled: the point of no return as a value.
//!
//! A procedure that changes the card takes a [`Committed`], which only [`Cancellation::commit`]
//! makes. So a job cannot change anything without passing the point of no return, and it cannot
//! pass it once a cancel was accepted.

use tokio::sync::watch;

/// Whether a job was cancelled or has passed the point of no return; clones share it.
#[derive(Clone, Debug)]
pub struct Cancellation(watch::Sender<Stand>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stand {
    Open,
    Cancelled,
    Committed,
}

/// The right to change the card: the job can no longer be cancelled.
///
/// Between [`Cancellation::commit`] and the command nothing is awaited but the journal. Otherwise
/// a client would be told "too late" while nothing has been done yet.
#[derive(Debug)]
pub struct Committed(());

/// The job was cancelled: it must not change the card.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the job was cancelled")]
pub struct Cancelled;

/// The job has passed the point of no return.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the job can no longer be cancelled")]
pub struct TooLate;

impl Default for Cancellation {
    fn default() -> Self {
        Self(watch::Sender::new(Stand::Open))
    }
}

impl Cancellation {
    /// Asks the job to stop; asking again changes nothing.
    pub fn cancel(&self) -> Result<(), TooLate> {
        match self.claim(Stand::Cancelled) {
            Stand::Committed => Err(TooLate),
            _ => Ok(()),
        }
    }

    /// Passes the point of no return. A job of two steps may commit twice.
    pub fn commit(&self) -> Result<Committed, Cancelled> {
        match self.claim(Stand::Committed) {
            Stand::Cancelled => Err(Cancelled),
            _ => Ok(Committed(())),
        }
    }

    /// Whether a cancel was accepted.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow() == Stand::Cancelled
    }

    /// Whether the job has passed the point of no return.
    pub fn is_committed(&self) -> bool {
        *self.0.borrow() == Stand::Committed
    }

    /// Resolves when a cancel is accepted.
    pub async fn cancelled(&self) {
        let mut stand = self.0.subscribe();
        // `self` holds a sender, so the channel does not end while this waits.
        let _ = stand.wait_for(|stand| *stand == Stand::Cancelled).await;
    }

    /// Takes a stand unless one was taken before, and gives the one that holds now. Both happen
    /// under one lock, so of cancel and commit exactly one wins.
    fn claim(&self, wanted: Stand) -> Stand {
        let mut now = wanted;
        self.0.send_if_modified(|stand| {
            let is_open = *stand == Stand::Open;
            if is_open {
                *stand = wanted;
            }
            now = *stand;
            is_open
        });
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_job_cannot_commit() {
        let cancellation = Cancellation::default();
        assert_eq!(cancellation.cancel(), Ok(()));
        assert_eq!(cancellation.commit().unwrap_err(), Cancelled);
        assert_eq!(cancellation.cancel(), Ok(()));
        assert!(cancellation.is_cancelled() && !cancellation.is_committed());
    }

    #[test]
    fn a_committed_job_cannot_be_cancelled_and_may_commit_again() {
        let cancellation = Cancellation::default();
        assert!(cancellation.commit().is_ok());
        assert_eq!(cancellation.cancel(), Err(TooLate));
        assert!(cancellation.commit().is_ok());
        assert!(cancellation.is_committed() && !cancellation.is_cancelled());
    }

    #[tokio::test]
    async fn those_who_wait_hear_of_a_cancel() {
        let cancellation = Cancellation::default();
        let waiting = tokio::spawn({
            let cancellation = cancellation.clone();
            async move { cancellation.cancelled().await }
        });
        cancellation.cancel().unwrap();
        waiting.await.unwrap();
    }
}
