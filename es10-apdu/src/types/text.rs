//! Text a card or server sent.

use std::borrow::Cow;
use std::fmt;

use rasn::types::Tag;

use super::octets::octet_string;

/// A UTF8String that need not be UTF-8: cards hold what operators wrote into them, and a bad octet
/// in a nickname must not cost the profile list.
#[derive(Clone, Default, Eq, Hash, PartialEq)]
pub struct Text(Vec<u8>);

impl Text {
    /// The text, with replacement characters where it is not UTF-8.
    pub fn to_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The octets as received.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn from_octets(octets: &[u8]) -> Result<Self, std::convert::Infallible> {
        Ok(Self(octets.to_vec()))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_str().fmt(f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_str())
    }
}

octet_string!(Text, Tag::UTF8_STRING);
