//! Status codes of RSP servers: what they mean and what to do next.

use std::borrow::Cow;
use std::fmt;

use codes::{PAIRS, REASONS, SLIPPED, SUBJECTS};
use serde::Deserialize;

mod codes;

/// Why a server did not execute a function.
///
/// SGP.22 v2.5 section 5.2.6. Both codes are text: `3.10` is not `3.1`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct StatusCodeData {
    /// What is affected, such as `8.2.6` for the matching id.
    #[serde(rename = "subjectCode", default)]
    pub subject_code: String,
    /// What is wrong with it, such as `3.8` for refused.
    #[serde(rename = "reasonCode", default)]
    pub reason_code: String,
    /// Which one is affected, for example an EID.
    #[serde(rename = "subjectIdentifier")]
    pub subject_identifier: Option<String>,
    /// The server's own words: for the log, not for decisions.
    pub message: Option<String>,
}

impl StatusCodeData {
    /// The pairs of subject and reason that have a meaning of their own, in their order.
    pub fn known() -> impl Iterator<Item = (&'static str, &'static str)> {
        PAIRS
            .iter()
            .map(|(subject, reason, ..)| (*subject, *reason))
    }

    /// What the pair of codes means for a download.
    ///
    /// A pair that is not in the table is explained by its reason alone.
    pub fn meaning(&self) -> Meaning {
        let subject = self.subject_code.trim();
        let reason = self.reason_code.trim();
        exact(subject, reason)
            .or_else(|| exact(subject, without_slip(subject, reason)))
            .unwrap_or_else(|| general(subject, reason))
    }
}

impl fmt::Display for StatusCodeData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.subject_code, &*self.reason_code) {
            ("", "") => f.write_str("no status code"),
            (subject, reason) => {
                let (subject, reason) = (subject.escape_debug(), reason.escape_debug());
                write!(f, "status code {subject}/{reason}")
            }
        }
    }
}

/// The explanation of a status code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Meaning {
    /// What happened, in one sentence without a full stop.
    pub title: Cow<'static, str>,
    /// What to do about it.
    pub next_step: NextStep,
}

/// What a person or the daemon does after a failure.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum NextStep {
    /// The operator or the eUICC's maker has to change something.
    AskOperator,
    /// The order is closed: only another one helps.
    AskOperatorForNewCode,
    /// The activation code has a mistake, or belongs to another order.
    CheckActivationCode,
    /// The gateway's clock is wrong.
    CheckClock,
    /// The server cannot be reached.
    CheckNetwork,
    /// The confirmation code is missing or wrong; a new session asks for it again.
    EnterConfirmationCode,
    /// The eUICC is full.
    FreeSpaceOnEuicc,
    /// The server, or what stands between it and the gateway, does not follow SGP.22.
    ReportServerFault,
    /// The session is gone: start again once, from the beginning.
    RestartSession,
    /// Try again after a pause that grows.
    RetryLater,
    /// The order is reserved for another eUICC.
    UseOrderedDevice,
}

impl NextStep {
    /// Whether the same operation may succeed later by itself.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::RestartSession | Self::RetryLater)
    }

    /// The step in words, for the user.
    pub fn advice(self) -> &'static str {
        match self {
            Self::AskOperator => {
                "Give this message to the operator of the profile; trying again will not help."
            }
            Self::AskOperatorForNewCode => {
                "Ask the operator for a new activation code; this one will not work again."
            }
            Self::CheckActivationCode => {
                "Check the activation code for mistakes, and whether it has been used already."
            }
            Self::CheckClock => "Set the gateway's clock, then try again.",
            Self::CheckNetwork => {
                "Check the gateway's network connection, its name server and the server's address."
            }
            Self::EnterConfirmationCode => {
                "Enter the confirmation code that the operator sent apart from the activation code."
            }
            Self::FreeSpaceOnEuicc => "Delete a profile that is no longer needed, then try again.",
            Self::ReportServerFault => {
                "Report this message to the operator of the server; the fault is on its side."
            }
            Self::RestartSession => "Start the operation again from the beginning.",
            Self::RetryLater => "Try again later.",
            Self::UseOrderedDevice => {
                "Use the device for which this order was made, or ask the operator to change it."
            }
        }
    }
}

fn exact(subject: &str, reason: &str) -> Option<Meaning> {
    PAIRS
        .iter()
        .find(|(s, r, ..)| (*s, *r) == (subject, reason))
        .map(|(_, _, next_step, title)| Meaning {
            title: Cow::Borrowed(title),
            next_step: *next_step,
        })
}

/// Undoes the slip of servers that write the reasons 3.10 and 4.10 as numbers.
fn without_slip<'a>(subject: &str, reason: &'a str) -> &'a str {
    match reason {
        "3.1" if SLIPPED.contains(&subject) => "3.10",
        "4.1" if SLIPPED.contains(&subject) => "4.10",
        _ => reason,
    }
}

/// Explains a pair that the table does not have.
fn general(subject: &str, reason: &str) -> Meaning {
    let (what, fixed_step) = subject_of(subject);
    let (why, next_step) = REASONS
        .iter()
        .find(|(code, ..)| *code == reason)
        .map_or(("failed", NextStep::AskOperator), |(_, next_step, why)| {
            (*why, *next_step)
        });
    Meaning {
        title: Cow::Owned(format!("{what}: {why}")),
        next_step: fixed_step.unwrap_or(next_step),
    }
}

/// The name of a subject or of the nearest one above it, and the step it always leads to.
fn subject_of(subject: &str) -> (&'static str, Option<NextStep>) {
    let mut code = subject;
    loop {
        if let Some((_, name, step)) = SUBJECTS.iter().find(|(s, ..)| *s == code) {
            return (name, *step);
        }
        match code.rsplit_once('.') {
            Some((above, _)) => code = above,
            None => return ("The server refused", None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_pair_is_listed_once_and_reads_as_a_sentence() {
        let mut seen = HashSet::new();
        for (subject, reason, next_step, title) in PAIRS {
            assert!(
                seen.insert((subject, reason)),
                "{subject}/{reason} is there twice"
            );
            let meaning = data(subject, reason).meaning();
            assert_eq!(meaning.title, *title);
            assert_eq!(meaning.next_step, *next_step);
            assert!(title.len() > 15 && !title.ends_with('.'), "{title}");
            assert!(next_step.advice().ends_with('.'));
            assert!(subject_of(subject).0 != "The server refused", "{subject}");
            assert!(REASONS.iter().any(|(code, ..)| code == reason), "{reason}");
        }
    }

    #[test]
    fn the_next_step_follows_from_subject_and_reason() {
        for (subject, reason, next_step) in [
            ("8.1", "4.8", NextStep::FreeSpaceOnEuicc),
            ("8.1.1", "3.1", NextStep::AskOperator),
            ("8.1.1", "3.8", NextStep::UseOrderedDevice),
            ("8.2", "1.2", NextStep::RetryLater),
            ("8.2.7", "2.2", NextStep::EnterConfirmationCode),
            ("8.2.7", "6.4", NextStep::AskOperatorForNewCode),
            ("8.8.4", "3.7", NextStep::AskOperator),
            ("8.10.1", "3.9", NextStep::RestartSession),
            ("1.6", "2.1", NextStep::ReportServerFault),
            ("1.2.7", "9.9", NextStep::ReportServerFault),
            ("8.2.10", "5.1", NextStep::AskOperator),
        ] {
            let meaning = data(subject, reason).meaning();
            assert_eq!(meaning.next_step, next_step, "{subject}/{reason}");
        }
    }

    #[test]
    fn reason_3_1_means_3_10_where_servers_are_known_to_slip() {
        for (subject, slipped, meant) in [
            ("8.2.6", "3.1", "3.10"),
            ("8.8", "3.1", "3.10"),
            ("8.8.5", "4.1", "4.10"),
        ] {
            assert_eq!(
                data(subject, slipped).meaning(),
                data(subject, meant).meaning()
            );
        }
        assert_ne!(
            data("8.8.2", "3.1").meaning(),
            data("8.8.2", "3.10").meaning()
        );
    }

    #[test]
    fn an_unknown_pair_is_explained_by_its_reason() {
        let meaning = data("8.2.9", "5.2").meaning();
        assert_eq!(meaning.title, "Profile metadata: timed out");
        assert_eq!(meaning.next_step, NextStep::RetryLater);
        assert_eq!(
            data("8.2.7.1", "3.1").meaning().title,
            "Confirmation code: unsupported"
        );
        assert_eq!(
            data("9.9", "9.9").meaning().title,
            "The server refused: failed"
        );
        assert_eq!(data("", "").meaning().next_step, NextStep::AskOperator);
    }

    fn data(subject: &str, reason: &str) -> StatusCodeData {
        StatusCodeData {
            subject_code: subject.to_owned(),
            reason_code: reason.to_owned(),
            ..StatusCodeData::default()
        }
    }
}
