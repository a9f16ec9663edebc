//! The number of an operation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operation's number as a text of decimal digits: counted from 1 and never given out twice.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, Hash,
)]
#[serde(into = "String", try_from = "String")]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "OperationNumber")
)]
pub struct OperationId(pub u64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for OperationId {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // One operation has one name: "+7" and "07" are not its number.
        let is_plain = text.starts_with(|first: char| ('1'..='9').contains(&first));
        let number = text.parse().ok().filter(|_| is_plain);
        number.map(Self).ok_or(NotANumber)
    }
}

impl From<OperationId> for String {
    fn from(id: OperationId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for OperationId {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // A journal says 0 where no number was given out yet.
        text.parse().map(Self)
    }
}

/// A text is not the number of an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an operation's number is written in decimal digits, from 1")]
pub struct NotANumber;
