//! The rate at which the modem's client works.

use std::fmt;

/// Where the client's rate is known from.
pub(super) enum ClientRate {
    Fixed(Option<u32>),
    Followed(Box<dyn Fn() -> Option<u32> + Send>),
}

impl ClientRate {
    pub(super) fn now(&self) -> Option<u32> {
        match self {
            Self::Fixed(rate) => *rate,
            Self::Followed(rate) => rate(),
        }
    }
}

impl fmt::Debug for ClientRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(rate) => write!(f, "Fixed({rate:?})"),
            Self::Followed(_) => f.write_str("Followed"),
        }
    }
}
