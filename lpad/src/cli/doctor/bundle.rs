//! The report as a file that anybody may read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::Report;
use crate::cli::CliError;
use crate::secret::Shortened;

/// Fails when there is a file by this name: nothing is overwritten.
pub(super) fn must_be_new(file: &Path) -> Result<(), CliError> {
    match fs::symlink_metadata(file) {
        Ok(_) => Err(unusable(file, &io::ErrorKind::AlreadyExists.into())),
        Err(_) => Ok(()),
    }
}

/// Writes the report, and the configuration without comments.
pub(super) fn write(file: &Path, report: &Report, config: &Path) -> Result<(), CliError> {
    let content = Bundle {
        report,
        configuration: configuration(config),
        system: fs::read_to_string("/proc/version").unwrap_or_default(),
    };
    let written = || {
        let mut value = serde_json::to_value(&content)?;
        redact(&mut value);
        let text = serde_json::to_string_pretty(&value)? + "\n";
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        file.write_all(text.as_bytes())
    };
    written().map_err(|error| unusable(file, &error))
}

#[derive(Serialize)]
struct Bundle<'r> {
    report: &'r Report,
    configuration: Value,
    system: String,
}

fn unusable(file: &Path, error: &io::Error) -> CliError {
    CliError::Usage(format!("--bundle: {}: {error}", file.display()))
}

/// Keys and values only: nobody knows what is in comments.
fn configuration(path: &Path) -> Value {
    let table = fs::read_to_string(path).ok();
    let table = table.and_then(|text| text.parse::<toml::Table>().ok());
    table.map_or(Value::Null, |table| json!(table))
}

/// Shortens every number and leaves out every code. What is told here should have none of both: this is
/// the second fence.
fn redact(value: &mut Value) {
    match value {
        Value::String(text) => *text = redacted(text),
        Value::Array(values) => values.iter_mut().for_each(redact),
        Value::Object(members) => members.values_mut().for_each(redact),
        _ => {}
    }
}

fn redacted(text: &str) -> String {
    without_numbers(&without_codes(text))
}

/// Runs of as many digits as an IMSI has, and more.
fn without_numbers(text: &str) -> String {
    let mut shortened = String::new();
    let is_digit = |letter: char| letter.is_ascii_digit();
    let mut rest = text;
    while let Some(start) = rest.find(is_digit) {
        let digits = &rest[start..];
        let end = digits
            .find(|letter| !is_digit(letter))
            .unwrap_or(digits.len());
        shortened.push_str(&rest[..start]);
        match end {
            14.. => shortened.push_str(&Shortened(&digits[..end]).to_string()),
            _ => shortened.push_str(&digits[..end]),
        }
        rest = &digits[end..];
    }
    shortened + rest
}

/// Whatever comes behind the server in an activation code.
fn without_codes(text: &str) -> String {
    let word = |word: &str| match word.split('$').collect::<Vec<_>>()[..] {
        [format, server, _, ..] if format.ends_with('1') => format!("{format}${server}$…"),
        _ => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_not_in_a_bundle() {
        for (text, shown) in [
            ("IMSI 001010123456789.", "IMSI 0010…6789."),
            ("IMEI 35693803564380", "IMEI 3569…4380"),
            ("at 1735689600 s", "at 1735689600 s"),
            (
                "89049032123451234512345678901235-8900123456789012341F",
                "8904…1235-8900…2341F",
            ),
            (
                "the code LPA:1$smdp.example.com$A-1$$1 is",
                "the code LPA:1$smdp.example.com$… is",
            ),
            ("1$smdp.example.com$A-1", "1$smdp.example.com$…"),
            ("costs 1$ or 2$", "costs 1$ or 2$"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn every_text_in_a_bundle_is_looked_at() {
        let mut value = json!({"a": [{"b": "1$x$SECRET"}, 1, null], "c": "8900123456789012341"});
        redact(&mut value);
        assert_eq!(
            value,
            json!({"a": [{"b": "1$x$…"}, 1, null], "c": "8900…2341"})
        );
    }
}
