//! Modems people have, as combinations of quirks.

use std::str::FromStr;

use super::quirks::QuirkError;

/// A modem somebody has met, or an ideal one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Preset {
    name: &'static str,
    quirks: &'static [&'static str],
}

impl Preset {
    /// All there are.
    pub const ALL: [Self; 1] = [Self::new("ideal", &[])];

    /// The names `preset:NAME` knows.
    pub const NAMES: [&'static str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].name;
            index += 1;
        }
        names
    };

    /// What it is called.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Its quirks, as [`super::Quirks::add`] reads them.
    pub const fn quirks(self) -> &'static [&'static str] {
        self.quirks
    }

    const fn new(name: &'static str, quirks: &'static [&'static str]) -> Self {
        Self { name, quirks }
    }
}

impl FromStr for Preset {
    type Err = QuirkError;

    fn from_str(name: &str) -> Result<Self, QuirkError> {
        let found = Self::ALL.into_iter().find(|preset| preset.name == name);
        found.ok_or_else(|| QuirkError::Preset {
            name: name.to_owned(),
        })
    }
}
