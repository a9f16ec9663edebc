//! The report as a file that anybody may read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::Report;
use crate::cli::CliError;
use crate::modem;
use crate::secret::shorten_runs;

/// Fails when there is a file by this name: nothing is overwritten.
pub(super) fn must_be_new(file: &Path) -> Result<(), CliError> {
    match fs::symlink_metadata(file) {
        Ok(_) => Err(unusable(file, &io::ErrorKind::AlreadyExists.into())),
        Err(_) => Ok(()),
    }
}

/// Writes the report, and the configuration: keys and values only, and of keys that lpad knows. Nobody
/// knows what is in comments and misspelt keys.
pub(super) fn write(
    file: &Path,
    report: &Report,
    mut configuration: Value,
) -> Result<(), CliError> {
    hide_values(&mut configuration);
    let content = Bundle {
        report,
        configuration,
        system: fs::read_to_string("/proc/version").unwrap_or_default(),
    };
    let written = || {
        let mut value = serde_json::to_value(&content)?;
        redact(&mut value);
        let text = serde_json::to_string_pretty(&value)? + "\n";
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut opened = options.open(file)?;
        let written = opened.write_all(text.as_bytes());
        if written.is_err() {
            // Half a report is none, and would be in the way of the next.
            let _ = fs::remove_file(file);
        }
        written
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

/// Leaves out what may be a PIN or a token: the values of AT lines, and the arguments of programs.
fn hide_values(value: &mut Value) {
    match value {
        Value::String(text)
            if text
                .get(..2)
                .is_some_and(|at| at.eq_ignore_ascii_case("AT")) =>
        {
            *text = modem::shown(text).to_owned();
        }
        Value::Array(values) => values.iter_mut().for_each(hide_values),
        Value::Object(members) => {
            if let Some(Value::Array(words)) = members.get_mut("run") {
                words.truncate(1);
            }
            members.values_mut().for_each(hide_values);
        }
        _ => {}
    }
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
    shorten_runs(&without_codes(text), LONG_NUMBER)
}

/// Digits of a number that is shortened: IMSI and IMEI have 15, and 14 without the check digit.
const LONG_NUMBER: usize = 14;

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
    use serde_json::json;

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
    fn a_configuration_is_told_without_what_may_be_secret() {
        let mut told = json!({"euicc": [{"modem": {
            "never": ["AT+CLCK=\"SC\",0,\"4711\""],
            "ladder": [
                {"send": ["AT+CFUN=4", "AT+CPIN=1234"]},
                {"run": ["/bin/true", "--token=SECRET"]},
            ],
        }}]});
        hide_values(&mut told);
        let told = told.to_string();
        for secret in ["4711", "1234", "SECRET"] {
            assert!(!told.contains(secret), "{told}");
        }
        for shown in ["AT+CLCK=", "AT+CFUN=4", "AT+CPIN=", "/bin/true"] {
            assert!(told.contains(shown), "{told}");
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
