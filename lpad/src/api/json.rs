//! A request's body, read without repeating in an error what is in it: it may be a secret.

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Error, Map, Value};

use crate::problem::{Code, Problem};

/// Reads a body.
///
/// # Errors
///
/// When it is no JSON or not what is wanted here. The detail names the member and the place and
/// says what is expected, but nothing of what is there.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // serde takes a list for an object as well, its values in the order of the members.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::new(Code::InvalidRequest)
            .detail("expected an object, not a list (line 1, column 1)."));
    }
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            Category::Data => fault::<T>(body, &error),
            _ => "the body is no JSON".to_owned(),
        };
        let (line, column) = (error.line(), error.column());
        Problem::new(Code::InvalidRequest).detail(format!("{what} (line {line}, column {column})."))
    })
}

/// What is wrong with the data, in the words of serde but for those that quote it.
fn fault<T: DeserializeOwned>(body: &[u8], error: &Error) -> String {
    let text = error.to_string();
    let text = match text.rsplit_once(" at line ") {
        Some((text, _)) => text,
        None => &text,
    };
    if text.starts_with("missing field `") || text.starts_with("duplicate field `") {
        // Both name a member that is known.
        return text.to_owned();
    }
    let expected = match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => "this cannot be used".to_owned(),
    };
    if let Some(name) = quoted(text, "unknown field `") {
        return match is_name(name) {
            true => format!("unknown field `{name}`, {expected}"),
            false => format!("unknown field, {expected}"),
        };
    }
    match culprit::<T>(body) {
        Some(name) => format!("`{name}`: {expected}"),
        None => expected,
    }
}

/// The member of an object that cannot be read: without it the error is gone, or another one.
fn culprit<T: DeserializeOwned>(body: &[u8]) -> Option<String> {
    let object: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let error = |object: &Map<String, Value>| {
        let read: Result<T, _> = serde_json::from_value(Value::Object(object.clone()));
        read.err().map(|error| error.to_string())
    };
    let whole = error(&object)?;
    let names = object.keys().filter(|name| is_name(name));
    let mut wrong = names.filter(|name| {
        let mut rest = object.clone();
        rest.remove(*name);
        error(&rest).as_ref() != Some(&whole)
    });
    wrong.next().cloned()
}

fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.split('`').next()
}

/// Whether it looks like the name of a member, and not like a code in the wrong place.
fn is_name(text: &str) -> bool {
    let fits = |letter: u8| letter.is_ascii_lowercase() || letter == b'_';
    (1..=24).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::downloads::DownloadRequest;
    use crate::job::Answer;

    fn detail<T: DeserializeOwned>(body: &str) -> String {
        let read: Result<T, _> = read(body.as_bytes());
        read.err().expect("it cannot be read").detail
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (body, said) in [
            (
                r#"{"default":"yes"}"#,
                "`default`: expected a boolean (line 1, column 16).",
            ),
            (
                r#"{"default":true,"consent":"sure"}"#,
                "`consent`: expected `ask` or `accept` (line 1, column 32).",
            ),
            (
                r#"{"activation_code":4711}"#,
                "`activation_code`: expected a string (line 1, column 23).",
            ),
            (
                r#"{"default":true,"default":true}"#,
                "duplicate field `default` (line 1, column 25).",
            ),
            ("[]", "expected an object, not a list"),
            ("{", "the body is no JSON (line 1, column 1)."),
        ] {
            let detail = detail::<DownloadRequest>(body);
            assert!(detail.contains(said), "{body}: {detail}");
        }
        let misspelt = detail::<DownloadRequest>(r#"{"enabel":true}"#);
        assert!(misspelt.contains("`enabel`") && misspelt.contains("`enable`"));
        let missing = detail::<Answer>(r#"{"confirmation_code":"1"}"#);
        assert_eq!(missing, "missing field `answer` (line 1, column 25).");
    }

    #[test]
    fn no_value_is_repeated() {
        for body in [
            r#"{"default":"SECRET"}"#,
            r#"{"consent":"SECRET"}"#,
            r#"{"enable":"SECRET, expected SECRET"}"#,
            r#"{"activation_code":{"SECRET":"SECRET"}}"#,
            r#"{"LPA:1$SECRET":true}"#,
            r#"{"confirmation_code":["SECRET"]}"#,
            r#"["SECRET"]"#,
            r#""SECRET""#,
            r#"{"default":true "SECRET"}"#,
        ] {
            let detail = detail::<DownloadRequest>(body);
            assert!(!detail.contains("SECRET"), "{detail}");
        }
        let number = detail::<DownloadRequest>(r#"{"confirmation_code":47110815}"#);
        assert!(!number.contains("4711"), "{number}");
    }
}
