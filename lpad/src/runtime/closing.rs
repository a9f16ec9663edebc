//! The daemon's end, announced to everything that runs.

use tokio::sync::watch;

/// Announces the end; dropping it announces it too.
#[derive(Debug)]
pub struct Closer(watch::Sender<bool>);

/// Hears of the end; clones hear of it too.
#[derive(Clone, Debug)]
pub struct Closing(watch::Receiver<bool>);

/// A connected pair.
pub fn closing() -> (Closer, Closing) {
    let (sender, receiver) = watch::channel(false);
    (Closer(sender), Closing(receiver))
}

impl Closer {
    /// Announces the end.
    pub fn close(&self) {
        self.0.send_replace(true);
    }
}

impl Closing {
    /// Whether the end is announced.
    pub fn is_announced(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the end is announced.
    pub async fn announced(&self) {
        // An announcer that is gone means the same as an announcement.
        let _ = self.0.clone().wait_for(|closing| *closing).await;
    }
}
