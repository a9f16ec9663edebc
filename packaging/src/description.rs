//! `lpad/openapi.json`: the description of the API, made from its types and paths.

use lpad::api::description::document;
use serde_json::{Map, Value};

/// The text of `lpad/openapi.json`.
pub fn text() -> String {
    let mut text = String::new();
    write(&document(), &[], 0, &mut text);
    text + "\n"
}

/// Writes JSON with members in the order people read them: what a thing is first, and members of an
/// object that are always there before the others.
fn write(value: &Value, first: &[Value], depth: usize, text: &mut String) {
    let line = |depth: usize| format!("\n{}", "  ".repeat(depth));
    match value {
        Value::Object(members) if !members.is_empty() => {
            let mut names: Vec<_> = members.keys().collect();
            names.sort_by_key(|name| (place(name, first), *name));
            text.push('{');
            for (number, name) in names.into_iter().enumerate() {
                text.push_str(if number > 0 { "," } else { "" });
                text.push_str(&line(depth + 1));
                text.push_str(&format!("{}: ", Value::from(name.as_str())));
                let first = required(name, members);
                write(&members[name], first, depth + 1, text);
            }
            text.push_str(&line(depth));
            text.push('}');
        }
        Value::Array(values) if !values.is_empty() => {
            text.push('[');
            for (number, value) in values.iter().enumerate() {
                text.push_str(if number > 0 { "," } else { "" });
                text.push_str(&line(depth + 1));
                write(value, &[], depth + 1, text);
            }
            text.push_str(&line(depth));
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// Of the members of an object, those that are always there.
fn required<'v>(name: &str, schema: &'v Map<String, Value>) -> &'v [Value] {
    match (name, schema.get("required")) {
        ("properties", Some(Value::Array(required))) => required,
        _ => &[],
    }
}

fn place(name: &str, first: &[Value]) -> usize {
    let known = ORDER.iter().position(|known| *known == name);
    match first.is_empty() {
        true => known.unwrap_or(ORDER.len()),
        false => first
            .iter()
            .position(|known| known == name)
            .unwrap_or(first.len()),
    }
}

const ORDER: &[&str] = &[
    "openapi",
    "info",
    "servers",
    "tags",
    "paths",
    "components",
    "operationId",
    "name",
    "in",
    "summary",
    "$ref",
    "type",
    "title",
    "description",
    "required",
    "properties",
    "parameters",
    "requestBody",
    "responses",
];
