//! Why a quirk could not be added.

/// Why a quirk could not be added.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuirkError {
    /// There is none of that name.
    #[error("there is no quirk {name:?}; there are {}", .known.join(", "))]
    Name {
        /// The name.
        name: String,
        /// The names there are.
        known: &'static [&'static str],
    },
    /// There is no preset of that name.
    #[error("there is no preset {name:?}; there are {}", .known.join(", "))]
    Preset {
        /// The name.
        name: String,
        /// The names there are.
        known: &'static [&'static str],
    },
    /// Its value is none.
    #[error("the quirk {text:?} takes {takes}")]
    Value {
        /// What was given.
        text: String,
        /// What it takes.
        takes: &'static str,
    },
}
