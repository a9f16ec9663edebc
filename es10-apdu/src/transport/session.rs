//! A logical channel that a device has opened itself.

use std::fmt;

/// What a device calls a logical channel that it has opened, such as `1` or `00000000038aa32f`.
///
/// It means something to the device alone: it is no channel number, and goes back as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session(Box<str>);

impl Session {
    /// The longest name taken; the longest one known has 16 digits.
    pub const MAX_LENGTH: usize = 32;

    /// Takes a name of hexadecimal digits.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..=Self::MAX_LENGTH).contains(&name.len());
        let plain = name.bytes().all(|letter| letter.is_ascii_hexdigit());
        (fits && plain).then(|| Self(name.into()))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
