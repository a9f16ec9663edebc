//! What is known about a modem, as data.

use std::time::Duration;

use crate::link::LinkOptions;

/// How a modem wants to be spoken to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModemProfile {
    /// How it passes APDUs on.
    pub link: LinkOptions,
    /// How long an ordinary AT command may take.
    pub command: Duration,
    /// How long a command of the start-up sequence may take.
    pub init: Duration,
}

impl Default for ModemProfile {
    fn default() -> Self {
        Self {
            link: LinkOptions::default(),
            command: Duration::from_secs(3),
            init: Duration::from_secs(5),
        }
    }
}
