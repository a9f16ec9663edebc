//! Who asked for an operation, and whether that client is still there to answer a question.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A process, as the kernel tells it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ClientProcess {
    /// Its user.
    pub uid: u32,
    /// Its number; absent when the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
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
