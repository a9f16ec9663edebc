//! Configuration files: TOML, where a mistake is answered with its line and the likely meaning.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::de::DeserializeOwned;
use strsim::levenshtein;

/// Reads a configuration file.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    parse(&read(path)?, path)
}

/// Reads the text of a configuration file.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Parses the text of a configuration file; `path` is for messages only.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.bytes().take(start);
        ConfigError::Syntax {
            path: path.to_owned(),
            line: 1 + before.filter(|octet| *octet == b'\n').count(),
            source: error.into(),
        }
    })
}

/// A value from a command line: as in a file, where a text needs no quotation marks.
pub fn value(text: &str) -> toml::Value {
    let table = toml::from_str::<toml::Table>(&format!("value = {text}"));
    let alone = table.ok().filter(|table| table.len() == 1);
    let value = alone.and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| text.into())
}

/// Why a configuration file cannot be used; the text is for the person who wrote it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is no TOML, or a key is unknown, missing or has an unusable value.
    #[error("{}:{line}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        source: UnusableKey,
    },
    /// An option of the command line is no key of the file, or has an unusable value.
    #[error("{option}: {source}")]
    Option {
        /// The option as it was written.
        option: String,
        /// What is wrong with it.
        source: UnusableKey,
    },
}

/// What is wrong with a key or its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnusableKey {
    message: String,
    nearest: Option<String>,
}

impl From<toml::de::Error> for UnusableKey {
    fn from(error: toml::de::Error) -> Self {
        let message = error.message();
        // serde names the unknown key first and then those it knows, each between backquotes.
        let mut names = message.split('`').skip(1).step_by(2);
        match names.next() {
            Some(unknown) if message.starts_with("unknown field") => Self {
                message: format!("unknown key \"{unknown}\""),
                nearest: nearest(unknown, names).map(str::to_owned),
            },
            _ => Self {
                message: message.replace('`', "\"").replace('\n', ", "),
                nearest: None,
            },
        }
    }
}

impl fmt::Display for UnusableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean \"{nearest}\"?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UnusableKey {}

/// The name that is most likely meant by `unknown`, if one looks like it.
pub fn nearest<'n>(unknown: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let (changes, name) = names
        .into_iter()
        .map(|name| (changes(unknown, name), name))
        .min()?;
    (changes <= name.len().div_ceil(3)).then_some(name)
}

/// How many letters differ; a name that was only begun, or that goes on, is as good as right.
fn changes(unknown: &str, name: &str) -> usize {
    if !unknown.is_empty() && (name.starts_with(unknown) || unknown.starts_with(name)) {
        return 0;
    }
    levenshtein(unknown, name)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct File {
        free_memory: u32,
        link: String,
    }

    impl Default for File {
        fn default() -> Self {
            Self {
                free_memory: 7,
                link: String::new(),
            }
        }
    }

    fn error(text: &str) -> String {
        let error = parse::<File>(text, Path::new("a.toml")).unwrap_err();
        error.to_string()
    }

    #[test]
    fn a_mistake_is_answered_with_its_line_and_the_likely_meaning() {
        for (text, expected) in [
            (
                "link = \"x\"\nfree-memory = 1",
                "a.toml:2: unknown key \"free-memory\"; did you mean \"free_memory\"?",
            ),
            (
                "free = 1",
                "a.toml:1: unknown key \"free\"; did you mean \"free_memory\"?",
            ),
            ("colour = 1", "a.toml:1: unknown key \"colour\""),
            (
                "\n\nlink = 5",
                "a.toml:3: invalid type: integer \"5\", expected a string",
            ),
        ] {
            assert_eq!(error(text), expected);
        }
        assert!(error("link = ").starts_with("a.toml:1: "));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<File>(Path::new("/nowhere/a.toml")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nowhere/a.toml: No such file")
        );
    }

    #[test]
    fn a_text_on_the_command_line_needs_no_quotation_marks() {
        assert_eq!(value("5"), toml::Value::Integer(5));
        assert_eq!(value("true"), toml::Value::Boolean(true));
        assert_eq!(value("2.3.1"), toml::Value::String("2.3.1".to_owned()));
        assert_eq!(value("\"5\""), toml::Value::String("5".to_owned()));
        assert_eq!(
            value("1\nb = 1"),
            toml::Value::String("1\nb = 1".to_owned())
        );
    }
}
