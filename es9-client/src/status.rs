//! Status codes of RSP servers: what they mean and what to do next.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

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
    /// What the pair of codes means for somebody who wants a profile.
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

impl Meaning {
    /// Whether the order behind the activation code is closed for good.
    pub fn code_consumed(&self) -> bool {
        self.next_step == NextStep::AskOperatorForNewCode
    }
}

/// What a person or the daemon does after a failure.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum NextStep {
    /// Somebody at the operator or the eUICC's maker has to change something.
    AskOperator,
    /// The order is closed: only another one helps.
    AskOperatorForNewCode,
    /// The activation code has a mistake, or belongs to somebody else's order.
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
    /// The class of this step.
    pub fn reaction(self) -> Reaction {
        match self {
            Self::AskOperator => Reaction::Stop,
            Self::AskOperatorForNewCode
            | Self::CheckActivationCode
            | Self::CheckClock
            | Self::CheckNetwork
            | Self::FreeSpaceOnEuicc
            | Self::UseOrderedDevice => Reaction::UserMustAct,
            Self::EnterConfirmationCode => Reaction::AskAgain,
            Self::ReportServerFault => Reaction::Report,
            Self::RestartSession | Self::RetryLater => Reaction::Retry,
        }
    }

    /// Whether the same operation may succeed later although nobody did anything.
    pub fn is_retryable(self) -> bool {
        self.reaction() == Reaction::Retry
    }

    /// The step in words, for whoever stands in front of the gateway.
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

/// How an LPA reacts to a status code.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reaction {
    /// A fault of the server or its configuration: give up and report.
    Report,
    /// The user has to do something first.
    UserMustAct,
    /// Ask the user again and start a new session.
    AskAgain,
    /// It may pass: start again or try later, with a pause that grows.
    Retry,
    /// Nobody here can do anything: the operator has to act.
    Stop,
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

/// Subjects for which some servers write 3.10 as 3.1 and 4.10 as 4.1.
const SLIPPED: &[&str] = &["8.1.1", "8.2.1", "8.2.6", "8.8", "8.8.5"];

/// SGP.22 v2.5 section 5.2.6 and the functions' own tables, as an LPA meets them.
const PAIRS: &[(&str, &str, NextStep, &str)] = {
    use NextStep::*;
    &[
        (
            "1.2.1",
            "2.1",
            ReportServerFault,
            "The server did not accept the sender of the request",
        ),
        (
            "1.2.2",
            "2.1",
            ReportServerFault,
            "The server did not accept the number of the request",
        ),
        (
            "1.3.1",
            "2.2",
            ReportServerFault,
            "The server missed protocol data in the request",
        ),
        (
            "1.6",
            "1.2",
            ReportServerFault,
            "The server does not allow this function",
        ),
        (
            "1.6",
            "2.1",
            ReportServerFault,
            "The server found the request invalid",
        ),
        (
            "8.1",
            "4.8",
            FreeSpaceOnEuicc,
            "The eUICC has not enough free memory for this profile",
        ),
        (
            "8.1",
            "6.1",
            AskOperator,
            "The server did not accept the signature of the eUICC",
        ),
        (
            "8.1.1",
            "2.1",
            AskOperator,
            "The server does not support this EID",
        ),
        (
            "8.1.1",
            "2.2",
            AskOperator,
            "The order needs an EID and has none",
        ),
        (
            "8.1.1",
            "3.1",
            AskOperator,
            "The order belongs to another EID, or this EID is not supported",
        ),
        (
            "8.1.1",
            "3.8",
            UseOrderedDevice,
            "The order was made for another eUICC",
        ),
        (
            "8.1.1",
            "3.9",
            AskOperator,
            "The server does not know this eUICC",
        ),
        (
            "8.1.1",
            "3.10",
            UseOrderedDevice,
            "The order is already tied to another eUICC",
        ),
        (
            "8.1.2",
            "6.1",
            AskOperator,
            "The server did not accept the certificate of the eUICC's maker",
        ),
        (
            "8.1.2",
            "6.3",
            AskOperator,
            "The certificate of the eUICC's maker has expired",
        ),
        (
            "8.1.3",
            "6.1",
            AskOperator,
            "The server did not accept the certificate of the eUICC",
        ),
        (
            "8.1.3",
            "6.3",
            AskOperator,
            "The certificate of the eUICC has expired",
        ),
        (
            "8.1.4",
            "6.1",
            AskOperator,
            "The EID is outside the range of the eUICC's maker",
        ),
        (
            "8.2",
            "1.2",
            RetryLater,
            "The operator has not released the profile yet",
        ),
        (
            "8.2",
            "3.7",
            AskOperatorForNewCode,
            "The profile package is bound to an earlier attempt",
        ),
        ("8.2", "3.8", AskOperator, "The server refused the profile"),
        (
            "8.2.5",
            "1.2",
            AskOperator,
            "This type of profile is not allowed here",
        ),
        (
            "8.2.5",
            "3.7",
            AskOperator,
            "The operator has no profile of this type left",
        ),
        (
            "8.2.5",
            "3.8",
            AskOperator,
            "The server refused this type of profile",
        ),
        (
            "8.2.5",
            "3.9",
            AskOperator,
            "The server does not know this type of profile",
        ),
        (
            "8.2.5",
            "4.3",
            AskOperator,
            "No profile of this order suits this device and eUICC",
        ),
        (
            "8.2.6",
            "3.3",
            AskOperator,
            "The matching id is already in use",
        ),
        (
            "8.2.6",
            "3.8",
            CheckActivationCode,
            "The server does not know this code, or it has been used",
        ),
        (
            "8.2.6",
            "3.10",
            UseOrderedDevice,
            "The code is tied to another order or eUICC",
        ),
        (
            "8.2.7",
            "2.2",
            EnterConfirmationCode,
            "The profile needs a confirmation code",
        ),
        (
            "8.2.7",
            "3.8",
            EnterConfirmationCode,
            "The confirmation code is wrong",
        ),
        (
            "8.2.7",
            "6.4",
            AskOperatorForNewCode,
            "Too many wrong confirmation codes: the order is closed",
        ),
        (
            "8.8",
            "3.10",
            AskOperator,
            "The server's identity is not the one the session began with",
        ),
        (
            "8.8",
            "4.2",
            RetryLater,
            "The server failed to execute the request",
        ),
        (
            "8.8.1",
            "3.8",
            CheckActivationCode,
            "The server does not answer to this address",
        ),
        (
            "8.8.2",
            "3.1",
            AskOperator,
            "The server and the eUICC share no certificate issuer to sign with",
        ),
        (
            "8.8.3",
            "3.1",
            AskOperator,
            "The server does not support the version of this eUICC",
        ),
        (
            "8.8.4",
            "3.7",
            AskOperator,
            "The server has no certificate that this eUICC can check",
        ),
        (
            "8.8.5",
            "4.10",
            AskOperatorForNewCode,
            "The order has expired",
        ),
        (
            "8.8.5",
            "6.4",
            AskOperatorForNewCode,
            "Too many attempts to download: the order is closed",
        ),
        (
            "8.9",
            "4.2",
            RetryLater,
            "The discovery server failed to execute the request",
        ),
        (
            "8.9",
            "5.1",
            RetryLater,
            "The discovery server cannot be reached",
        ),
        (
            "8.9.1",
            "3.8",
            ReportServerFault,
            "The discovery server does not answer to this address",
        ),
        (
            "8.9.2",
            "3.1",
            AskOperator,
            "The discovery server and the eUICC share no certificate issuer",
        ),
        (
            "8.9.3",
            "3.1",
            AskOperator,
            "The discovery server does not support the version of this eUICC",
        ),
        (
            "8.9.4",
            "3.7",
            AskOperator,
            "The discovery server has no certificate that this eUICC can check",
        ),
        (
            "8.9.5",
            "3.3",
            CheckActivationCode,
            "The discovery server has this event already",
        ),
        (
            "8.9.5",
            "3.9",
            CheckActivationCode,
            "The discovery server does not know this event",
        ),
        (
            "8.10.1",
            "3.9",
            RestartSession,
            "The server has forgotten the session",
        ),
        (
            "8.11.1",
            "3.9",
            AskOperator,
            "The server does not know the issuer of the eUICC's certificates",
        ),
    ]
};

/// Reasons, for subjects that have no entry of their own.
const REASONS: &[(&str, NextStep, &str)] = {
    use NextStep::*;
    &[
        ("1.1", ReportServerFault, "unknown"),
        ("1.2", ReportServerFault, "not allowed"),
        ("2.1", ReportServerFault, "invalid input"),
        ("2.2", ReportServerFault, "mandatory input is missing"),
        ("2.3", ReportServerFault, "conditional input is missing"),
        ("3.1", AskOperator, "unsupported"),
        ("3.3", AskOperator, "already in use"),
        ("3.4", ReportServerFault, "invalid destination"),
        ("3.5", AskOperator, "invalid transition"),
        ("3.6", AskOperator, "related objects exist"),
        ("3.7", AskOperator, "unavailable"),
        ("3.8", CheckActivationCode, "refused"),
        ("3.9", RestartSession, "unknown"),
        ("3.10", UseOrderedDevice, "invalid association"),
        ("3.11", RestartSession, "the value has changed"),
        ("3.12", AskOperator, "no match"),
        ("4.2", RetryLater, "execution failed"),
        ("4.3", AskOperator, "stopped on a warning"),
        ("4.8", FreeSpaceOnEuicc, "not enough memory"),
        ("4.10", AskOperatorForNewCode, "expired"),
        ("5.1", RetryLater, "not accessible"),
        ("5.2", RetryLater, "timed out"),
        ("5.3", RetryLater, "the request's time to live has run out"),
        ("5.4", RetryLater, "delivered, with unknown result"),
        ("5.5", RetryLater, "connection lost"),
        ("6.1", AskOperator, "verification failed"),
        ("6.3", AskOperator, "expired certificate"),
        ("6.4", AskOperatorForNewCode, "too many attempts"),
    ]
};

/// Subjects, and the step they lead to whatever the reason.
const SUBJECTS: &[(&str, &str, Option<NextStep>)] = {
    use NextStep::*;
    &[
        ("1.1", "Requester of the function", Some(ReportServerFault)),
        ("1.2", "Provider of the function", Some(ReportServerFault)),
        ("1.3", "Protocol", Some(ReportServerFault)),
        ("1.3.1", "Format of the request", Some(ReportServerFault)),
        ("1.3.2", "Version of the protocol", Some(ReportServerFault)),
        ("1.6", "Function", Some(ReportServerFault)),
        ("8.1", "eUICC", None),
        ("8.1.1", "EID", None),
        ("8.1.2", "Certificate of the eUICC's maker", None),
        ("8.1.3", "Certificate of the eUICC", None),
        ("8.2", "Profile", None),
        ("8.2.1", "ICCID", None),
        ("8.2.2", "Profile policy", None),
        ("8.2.3", "Profile policy", None),
        ("8.2.5", "Profile type", None),
        ("8.2.6", "Matching id", None),
        ("8.2.7", "Confirmation code", None),
        ("8.2.8", "Profile policy rules", None),
        ("8.2.9", "Profile metadata", None),
        ("8.2.10", "Bound profile package", Some(AskOperator)),
        ("8.8", "SM-DP+", None),
        ("8.8.1", "Address of the SM-DP+", None),
        ("8.8.2", "Security configuration of the SM-DP+", None),
        ("8.8.3", "eUICC version at the SM-DP+", None),
        ("8.8.4", "Certificate of the SM-DP+", None),
        ("8.8.5", "Download order", None),
        ("8.9", "Discovery server", None),
        ("8.9.1", "Address of the discovery server", None),
        (
            "8.9.2",
            "Security configuration of the discovery server",
            None,
        ),
        ("8.9.3", "eUICC version at the discovery server", None),
        ("8.9.4", "Certificate of the discovery server", None),
        ("8.9.5", "Event record", None),
        ("8.10", "Session", None),
        ("8.10.1", "Transaction id", None),
        ("8.11", "Certificate issuer", None),
        ("8.11.1", "Key of the certificate issuer", None),
    ]
};

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
    fn an_order_that_is_closed_is_never_retried() {
        for (subject, reason, ..) in PAIRS {
            let meaning = data(subject, reason).meaning();
            assert!(
                !(meaning.code_consumed() && meaning.next_step.is_retryable()),
                "{subject}/{reason}"
            );
        }
        assert!(data("8.8.5", "4.10").meaning().code_consumed());
        assert!(!data("8.2.7", "3.8").meaning().code_consumed());
    }

    #[test]
    fn reactions_follow_the_specifications_classes() {
        for (subject, reason, reaction) in [
            ("8.1", "4.8", Reaction::UserMustAct),
            ("8.1.1", "3.1", Reaction::Stop),
            ("8.1.1", "3.8", Reaction::UserMustAct),
            ("8.2", "1.2", Reaction::Retry),
            ("8.2.5", "4.3", Reaction::Stop),
            ("8.2.6", "3.8", Reaction::UserMustAct),
            ("8.2.7", "2.2", Reaction::AskAgain),
            ("8.2.7", "3.8", Reaction::AskAgain),
            ("8.2.7", "6.4", Reaction::UserMustAct),
            ("8.8.4", "3.7", Reaction::Stop),
            ("8.10.1", "3.9", Reaction::Retry),
            ("1.6", "2.1", Reaction::Report),
            ("1.2.7", "9.9", Reaction::Report),
            ("8.2.10", "5.1", Reaction::Stop),
        ] {
            let meaning = data(subject, reason).meaning();
            assert_eq!(meaning.next_step.reaction(), reaction, "{subject}/{reason}");
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
