use std::time::Duration;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadlines {
    /// Name resolution, TCP and TLS together. 30 s by default.
    pub connect: Duration,
    /// An answer. 120 s by default, because some servers are slow in making a profile package.
    pub response: Duration,
    /// The acknowledgement of a notification. 30 s by default.
    pub notification: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            response: Duration::from_secs(120),
            notification: Duration::from_secs(30),
        }
    }
}
