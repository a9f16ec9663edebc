//! The configuration file as its users read it: `lpad/lpad.toml` taken apart.

use std::mem::take;

use lpad::config::Config;

/// A section of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Section {
    /// As it is written, with its brackets.
    pub header: String,
    /// What it is about.
    pub text: String,
    /// Its keys, in the order of the file.
    pub keys: Vec<Key>,
}

/// A key of a section.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// The value shown, as it is written in TOML.
    pub value: String,
    /// Whether `value` is what holds without the key; if not, it is an example.
    pub has_default: bool,
    /// What it means, with unit and range.
    pub text: String,
}

/// The sections of `lpad/lpad.toml`.
///
/// # Panics
///
/// When the file has something else than comments, sections and keys of one line.
pub fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in Config::EXAMPLE.lines() {
        if line.is_empty() {
            // What stands alone is about the file.
            comment.clear();
        } else if let Some(text) = line.strip_prefix("# ") {
            comment.push(text);
        } else if let Some(header) = header(line) {
            sections.push(Section {
                header: header.to_owned(),
                text: take(&mut comment).join(" "),
                keys: Vec::new(),
            });
        } else {
            let (shown, has_default) = match line.strip_prefix('#') {
                Some(example) => (example, false),
                None => (line, true),
            };
            let (name, value) = shown.split_once(" = ").expect("a key and its value");
            let section = sections.last_mut().expect("keys stand in sections");
            section.keys.push(Key {
                name: name.to_owned(),
                value: value.to_owned(),
                has_default,
                text: take(&mut comment).join(" "),
            });
        }
    }
    sections
}

/// The header in a line; a section that is there only as an example has a `#` before it.
fn header(line: &str) -> Option<&str> {
    let line = line.strip_prefix('#').unwrap_or(line);
    line.starts_with('[').then_some(line)
}

/// `docs/configuration.md`.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for section in sections() {
        let Section { header, text, keys } = section;
        page += &format!("\n## `{header}`\n\n{}\n\n", with_code(&text));
        page += "| key | default | meaning |\n|---|---|---|\n";
        for key in keys {
            let default = match key.has_default {
                true => format!("`{}`", key.value),
                false => format!("none; an example is `{}`", key.value),
            };
            let text = with_code(&key.text);
            page += &format!("| `{}` | {default} | {text} |\n", key.name);
        }
    }
    page
}

/// Values of TOML in a text, in the type of code.
fn with_code(text: &str) -> String {
    let mut marked = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(['"', '[', '{']) {
        let (before, value) = rest.split_at(start);
        let close = match value.as_bytes()[0] {
            b'"' => '"',
            b'[' => ']',
            _ => '}',
        };
        let end = value[1..].find(close).expect("a value that is closed") + 2;
        marked += &format!("{before}`{}`", &value[..end]);
        rest = &value[end..];
    }
    marked + rest
}

const HEAD: &str = "\
# Configuration

This page is for those who run lpad on a gateway: every key of `/etc/lpad/lpad.toml`, with its default
and its meaning. `lpad --example-config` prints the same as a configuration file,
and `man lpad.toml` shows it as a manual page.

Only `port` has to be set:

```toml
[[euicc]]
port = \"/dev/ttyUSB2\"
```

lpad reads the file when it starts. `lpad --check` says what is wrong with it, and where;
`systemctl restart lpad` puts it into effect. The environment variable `LPAD_LOG` overrides
`level` in `[log]`.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_a_text_are_marked_as_code() {
        assert_eq!(
            with_code("\"a\" (b), [\"c\"] or { \"d\" = 1 }"),
            "`\"a\"` (b), `[\"c\"]` or `{ \"d\" = 1 }`"
        );
    }
}
