//! Text of others, made fit for a terminal and a log.
//!
//! A profile's name, a server's message and a modem's words are chosen by others. Some characters
//! are not seen and change what is: escape sequences move the cursor, U+202E turns the text behind
//! it around, U+200B makes two names look the same.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::RangeInclusive;

/// The text with an escape, such as `\u{202e}`, in place of each character that cannot be seen.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_seen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Writing to a String does not fail.
        match is_seen(c) {
            true => shown.push(c),
            false if has_no_shape(c) => _ = write!(shown, "{}", c.escape_unicode()),
            false => _ = write!(shown, "{}", c.escape_debug()),
        }
    }
    Cow::Owned(shown)
}

/// The text without the numbers that Rust puts behind the words of the operating system, such as
/// ` (os error 2)`: they tell people nothing.
pub fn without_error_numbers(text: &str) -> Cow<'_, str> {
    let mut kept = Cow::Borrowed("");
    let mut rest = text;
    while let Some((before, number)) = rest.split_once(OS_ERROR) {
        let after = number.trim_start_matches(|c: char| c.is_ascii_digit());
        kept += before;
        match after.strip_prefix(')') {
            Some(after) if after.len() + 1 < number.len() => rest = after,
            _ => {
                kept += OS_ERROR;
                rest = number;
            }
        }
    }
    kept + rest
}

fn is_seen(c: char) -> bool {
    match c {
        ' '..='~' => true,
        _ if has_no_shape(c) => false,
        // An accent of its own is escaped in front and stays behind a letter: it belongs to names.
        _ => {
            let mut buffer = [0; 5];
            buffer[0] = b'a';
            let length = 1 + c.encode_utf8(&mut buffer[1..]).len();
            let pair = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
            pair.escape_debug().eq(pair.chars())
        }
    }
}

fn has_no_shape(c: char) -> bool {
    INVISIBLE.iter().any(|range| range.contains(&c))
}

const OS_ERROR: &str = " (os error ";
/// Letters and marks without a shape, which Unicode counts among those that have one.
const INVISIBLE: [RangeInclusive<char>; 8] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        for (text, shown) in [
            ("a\x1b[2Jb", r"a\u{1b}[2Jb"),
            ("two\r\nlines\t", r"two\r\nlines\t"),
            ("\u{202e}knaB", r"\u{202e}knaB"),
            ("Acme\u{200b}", r"Acme\u{200b}"),
            (
                "\u{2066}\u{2067}\u{2068}\u{2069}",
                r"\u{2066}\u{2067}\u{2068}\u{2069}",
            ),
            ("\u{feff}Acme\u{ad}", r"\u{feff}Acme\u{ad}"),
            ("\u{200c}\u{200d}\u{200e}", r"\u{200c}\u{200d}\u{200e}"),
            ("\u{2028}\u{2029}\u{85}", r"\u{2028}\u{2029}\u{85}"),
            ("A\u{e0041}\u{e000}", r"A\u{e0041}\u{e000}"),
            ("\u{3164}\u{2800}\u{fe0f}", r"\u{3164}\u{2800}\u{fe0f}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn numbers_of_the_operating_system_are_left_out() {
        for (text, shown) in [
            ("/a: Not a directory (os error 20)", "/a: Not a directory"),
            ("x (os error 2), y (os error 111).", "x, y."),
            ("x (os error )", "x (os error )"),
            ("x (os error 2", "x (os error 2"),
            ("x (os error  (os error 2)", "x (os error "),
            ("", ""),
        ] {
            assert_eq!(without_error_numbers(text), shown);
        }
    }

    #[test]
    fn names_of_all_languages_stay_as_they_are() {
        for name in [
            "Acme \"IoT\" \\ 100 %",
            "Müller & Söhne",
            "e\u{301}toile",
            "Оператор",
            "運営者",
            "ผู้ให้บริการ",
            "مشغل",
            "हिन्दी",
            "📶",
        ] {
            assert!(matches!(printable(name), Cow::Borrowed(_)), "{name}");
        }
    }
}
