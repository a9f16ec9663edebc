//! Text that must never appear in a log, an event or an error.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// An activation code or confirmation code on its way in.
///
/// `Debug` shows only the length; the memory is overwritten on drop.
#[derive(Clone, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema), schemars(inline))]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether nothing but space is in it.
    pub(crate) fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// The text itself; the caller must not log or store it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} characters)", self.0.chars().count())
    }
}

/// Shows an EID or ICCID shortened, as logs may hold it: `8904…1235`.
#[derive(Clone, Copy, Debug)]
pub struct Shortened<'a>(pub &'a str);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        match (
            text.get(..4),
            text.len().checked_sub(4).and_then(|at| text.get(at..)),
        ) {
            (Some(head), Some(tail)) if text.len() > 10 => write!(f, "{head}…{tail}"),
            _ => f.write_str(text),
        }
    }
}

/// Shortens every EID and ICCID in a text: each run of 18 digits and more.
pub fn shorten_numbers(text: &str) -> String {
    shorten_runs(text, 18)
}

/// Shortens each run of so many digits and more.
pub(crate) fn shorten_runs(text: &str, least: usize) -> String {
    let mut shortened = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let digits = &rest[start..];
        let end = digits
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(digits.len());
        shortened.push_str(&rest[..start]);
        match end >= least {
            true => shortened.push_str(&Shortened(&digits[..end]).to_string()),
            false => shortened.push_str(&digits[..end]),
        }
        rest = &digits[end..];
    }
    shortened + rest
}

/// As the journal may keep a text: a server may repeat a code, and tell a novel.
pub(crate) fn in_few_words(text: &str, codes: &[Secret]) -> String {
    let codes = codes.iter().map(Secret::expose);
    let text = codes
        .filter(|code| !code.is_empty())
        .fold(text.to_owned(), |text, code| without(&text, code));
    match text.char_indices().nth(FEW_WORDS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A text without a code. A short one may be part of any word, and is only looked for as a whole one.
fn without(text: &str, code: &str) -> String {
    let is_short = code.len() < SHORT;
    let is_letter = |letter: char| letter.is_ascii_alphanumeric();
    let (mut left, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(code) {
        left.push_str(before);
        let is_part = left.ends_with(is_letter) || after.starts_with(is_letter);
        left.push_str(if is_short && is_part { code } else { "…" });
        rest = after;
    }
    left + rest
}

/// A code of fewer bytes is a short one.
const SHORT: usize = 4;
/// So many characters of a text are kept.
const FEW_WORDS: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_secret_shows_no_part_of_it() {
        let shown = format!("{:?}", Secret::new("1$smdp.example.com$A-1"));
        assert_eq!(shown, "Secret(22 characters)");
    }

    #[test]
    fn identifiers_keep_their_ends_in_logs() {
        assert_eq!(
            Shortened("89049032123451234512345678901235").to_string(),
            "8904…1235"
        );
        assert_eq!(Shortened("default").to_string(), "default");
        let text = "Profile 89000123456789012341 of EID 89049032123451234512345678901235: 6A82.";
        assert_eq!(
            shorten_numbers(text),
            "Profile 8900…2341 of EID 8904…1235: 6A82."
        );
        assert_eq!(shorten_numbers("no number"), "no number");
    }

    #[test]
    fn a_text_is_kept_in_few_words_and_without_codes() {
        let codes = [Secret::new("M-1"), Secret::default()];
        let told = in_few_words(&format!("M-1 is unknown: {}", "ä".repeat(1000)), &codes);
        assert!(told.starts_with("… is unknown: ä"), "{told}");
        assert_eq!(told.chars().count(), FEW_WORDS + 1);
        assert_eq!(in_few_words("refused", &codes), "refused");
        let codes = [Secret::new("a"), Secret::new("card")];
        for (text, kept) in [
            ("a card: (a)", "… …: (…)"),
            ("a-a has waxa, aa", "…-… has waxa, aa"),
            ("discarding cardcard", "dis…ing ……"),
        ] {
            assert_eq!(in_few_words(text, &codes), kept);
        }
    }
}
