//! Who asked for an operation, and whether that client is still there to answer a question.

use tokio::sync::watch;

use crate::memory::journal::{ClientProcess, RequestKey};

/// How an operation was asked for.
#[derive(Debug)]
pub struct Asked {
    /// The process that asked; `None` when lpad begins it by itself.
    pub client: Option<ClientProcess>,
    /// With it, a question is asked only while that client is there.
    pub lease: Option<Lease>,
    /// What tells the request from others, when the client gave it a key.
    pub request: Option<RequestKey>,
    /// Whether it may wait behind other operations.
    pub may_wait: bool,
}

impl Asked {
    /// By nobody.
    pub fn by_lpad() -> Self {
        Self {
            client: None,
            lease: None,
            request: None,
            may_wait: true,
        }
    }
}

/// The client's side of a [`Lease`]: the lease ends when it is dropped.
#[derive(Debug, Default)]
pub struct LeaseHolder(watch::Sender<()>);

/// Lasts as long as the client is there that is asked. Clones are the same lease.
#[derive(Clone, Debug)]
pub struct Lease(watch::Receiver<()>);

impl LeaseHolder {
    /// A lease that lasts as long as this.
    pub fn lease(&self) -> Lease {
        Lease(self.0.subscribe())
    }

    /// Whether a question may still come, or is being asked.
    pub fn is_needed(&self) -> bool {
        self.0.receiver_count() > 0
    }
}

impl Lease {
    /// Resolves when the client is gone.
    pub async fn ended(&self) {
        // An error says that the holder is gone; nothing is ever sent.
        let _ = self.0.clone().wait_for(|()| false).await;
    }
}
