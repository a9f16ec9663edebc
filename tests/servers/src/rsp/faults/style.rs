//! Unusual and wrong ways to write down an answer that is right.

use serde_json::{Value, json};

use super::Fault;

/// Writes a JSON body the way the fault says; `None` when it is none of these faults.
pub(crate) fn rewrite(fault: &Fault, body: &[u8]) -> Option<String> {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else {
        return None;
    };
    Some(match fault {
        Fault::Bom => format!("\u{FEFF}{}", Value::Object(members)),
        Fault::WhiteSpace => {
            let lines = format!("{:#}", Value::Object(members)).replace("\": ", "\" :\t ");
            format!("\r\n \t{}\r\n\r\n", lines.replace('\n', "\r\n"))
        }
        Fault::WrappedBase64 => {
            for (name, value) in &mut members {
                if let Value::String(text) = value
                    && name != "transactionId"
                {
                    *text = wrapped(text);
                }
            }
            Value::Object(members).to_string()
        }
        Fault::EscapedSlashes => Value::Object(members).to_string().replace('/', "\\/"),
        Fault::UnknownMembers => {
            members.insert(
                "aVendorsOwn".to_owned(),
                json!({ "n": [1, null, { "m": "" }] }),
            );
            members.insert("zz".to_owned(), Value::Null);
            if let Some(Value::Object(header)) = members.get_mut("header") {
                header.insert("functionCallIdentifier".to_owned(), json!("42"));
            }
            Value::Object(members).to_string()
        }
        Fault::MembersReversed => {
            let written: Vec<_> = members
                .iter()
                .rev()
                .map(|(name, value)| format!("{}:{value}", json!(name)))
                .collect();
            format!("{{{}}}", written.join(","))
        }
        Fault::WithoutHeader => {
            members.remove("header");
            Value::Object(members).to_string()
        }
        Fault::Status(text) => {
            members["header"]["functionExecutionStatus"]["status"] = json!(text);
            Value::Object(members).to_string()
        }
        _ => return None,
    })
}

/// Lines of 64 characters, with a line break behind the last one too.
fn wrapped(text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + text.len() / 32);
    for (place, character) in text.chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            lines.push_str("\r\n");
        }
        lines.push(character);
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(fault: &Fault, body: &Value) -> String {
        rewrite(fault, body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_same_answer_is_written_in_other_ways() {
        let body = json!({ "a/b": "c/d", "header": { "x": 1 }, "z": true });
        let reversed = r#"{"z":true,"header":{"x":1},"a/b":"c/d"}"#;
        for (fault, expected) in [
            (
                Fault::Bom,
                "\u{FEFF}{\"a/b\":\"c/d\",\"header\":{\"x\":1},\"z\":true}",
            ),
            (
                Fault::EscapedSlashes,
                r#"{"a\/b":"c\/d","header":{"x":1},"z":true}"#,
            ),
            (Fault::MembersReversed, reversed),
            (Fault::WithoutHeader, r#"{"a/b":"c/d","z":true}"#),
        ] {
            assert_eq!(rewritten(&fault, &body), expected);
        }
        for fault in [
            Fault::WhiteSpace,
            Fault::EscapedSlashes,
            Fault::MembersReversed,
        ] {
            let read: Value = serde_json::from_str(&rewritten(&fault, &body)).unwrap();
            assert_eq!(read, body, "{fault}");
        }
        assert_eq!(rewrite(&Fault::Silence, body.to_string().as_bytes()), None);
    }

    #[test]
    fn long_text_is_broken_into_lines_and_the_transaction_id_is_not() {
        let body = json!({ "transactionId": "A".repeat(70), "z": "B".repeat(70) });
        let read: Value = serde_json::from_str(&rewritten(&Fault::WrappedBase64, &body)).unwrap();
        assert_eq!(read["transactionId"], body["transactionId"]);
        assert_eq!(
            read["z"],
            format!("{}\r\n{}\n", "B".repeat(64), "B".repeat(6))
        );
    }
}
