//! The one place where an error becomes what the API says: a problem document of RFC 9457.

mod causes;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::job::OperationId;
use crate::memory::operations::OperationError;
use crate::secret::shorten_numbers;

/// A problem document.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// A URI that names the kind of problem; `code` says the same in short.
    #[serde(rename = "type")]
    pub kind: String,
    /// What went wrong, the same words for every problem of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time.
    pub detail: String,
    /// The stable name for programs.
    pub code: Code,
    /// What to do about it.
    pub next_step: String,
    /// What the SM-DP+ said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sgp22: Option<Sgp22Status>,
    /// What the card said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardStatus>,
    /// Whether the same call may succeed later without anybody doing anything.
    pub retryable: bool,
    /// For downloads: whether the activation code or order is used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_consumed: Option<CodeConsumed>,
    /// The operation that met the problem, or that is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// For a method the resource does not take: those it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

/// Subject and reason of SGP.22 v2.5 section 5.2.6.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sgp22Status {
    /// What is affected, for example `8.2.6`.
    pub subject: String,
    /// Why, for example `3.8`.
    pub reason: String,
}

/// What the card answered.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CardStatus {
    /// The ES10 function.
    pub function: String,
    /// Its result code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<i64>,
    /// The status word in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sw: Option<String>,
}

/// Whether an activation code or order is used up.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodeConsumed {
    /// It is; a new one is needed.
    Yes,
    /// It is not; it can be used again.
    No,
    /// Nobody can tell; try again, or ask the operator.
    Unknown,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $retryable:literal,
       $title:literal, $next:literal;)*) => {
        /// The stable name of a kind of problem.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name used in the API.
            pub fn name(self) -> &'static str {
                self.row().0
            }

            fn row(self) -> (&'static str, u16, bool, &'static str, &'static str) {
                match self {
                    $(Self::$variant => ($name, $status, $retryable, $title, $next),)*
                }
            }
        }
    };
}

// One line per code: name, HTTP status, retryable, title, next step.
codes! {
    /// The caller may not do this.
    Forbidden = "forbidden", 403, false,
        "You may not do this", "Run the command as root or as a member of the admin group.";
    /// No such resource.
    NotFound = "not-found", 404, false,
        "There is nothing here", "Look the path up with GET /v1/openapi.json.";
    /// No such eUICC.
    UnknownEuicc = "unknown-euicc", 404, false,
        "There is no eUICC of this name", "List the eUICCs with GET /v1/euiccs.";
    /// No such operation.
    UnknownOperation = "unknown-operation", 404, false,
        "There is no such operation", "List the operations with GET /v1/operations; old ones are forgotten.";
    /// No such profile.
    UnknownProfile = "unknown-profile", 404, false,
        "There is no such profile on the card", "List the profiles and check the ICCID.";
    /// The path exists, the method does not.
    MethodNotAllowed = "method-not-allowed", 405, false,
        "This cannot be done with the resource", "Look the methods up with GET /v1/openapi.json.";
    /// The body or query cannot be read.
    InvalidRequest = "invalid-request", 400, false,
        "The request cannot be understood", "Correct what the detail names.";
    /// The body is too large.
    BodyTooLarge = "body-too-large", 413, false,
        "The body is too large", "Send at most 64 KiB.";
    /// The body took too long.
    RequestTimeout = "request-timeout", 408, true,
        "The request did not arrive in time", "Send the whole request at once.";
    /// Too many clients follow the events, or wait.
    TooManyReaders = "too-many-readers", 503, true,
        "Too many clients follow the events or wait", "Let some of them end, or raise max_connections under [api].";
    /// Every connection is taken by a request under way.
    TooManyConnections = "too-many-connections", 503, true,
        "Too many clients ask at the same time", "Try again in a moment, or raise max_connections under [api].";
    /// The activation code does not follow its grammar.
    InvalidActivationCode = "invalid-activation-code", 422, false,
        "The activation code cannot be read", "Check the code against the one you were given; it begins with LPA:1$ or 1$.";
    /// The address is no host name.
    InvalidAddress = "invalid-address", 422, false,
        "The address cannot be used", "Give the SM-DP+ as a host name such as smdp.example.com.";
    /// No SM-DP+ address is known.
    NoDefaultSmdp = "no-default-smdp", 422, false,
        "No default SM-DP+ is known", "Set one with `lpactl euicc set-default-smdp ADDRESS`, or use an activation code.";
    /// Too many operations wait.
    Busy = "busy", 409, true,
        "The eUICC is busy", "Wait until the operation named here has ended, or cancel it.";
    /// The idempotency key was used for something else.
    IdempotencyKeyReused = "idempotency-key-reused", 422, false,
        "The Idempotency-Key was used for another request", "Use a new key for a new request.";
    /// The operation has ended.
    OperationEnded = "operation-ended", 409, false,
        "The operation has ended", "Look at its result.";
    /// Too late to cancel.
    PastPointOfNoReturn = "past-point-of-no-return", 409, false,
        "The operation can no longer be cancelled", "Wait until it has ended.";
    /// Nothing is asked.
    NotAwaitingAnswer = "not-awaiting-answer", 409, false,
        "The operation does not wait for an answer", "Look at its state.";
    /// The confirmation code is missing.
    ConfirmationCodeRequired = "confirmation-code-required", 422, false,
        "A confirmation code is needed", "Give the confirmation code you got from the operator; lpactl takes it with --confirmation-code-file.";
    /// The confirmation code is wrong.
    ConfirmationCodeRefused = "confirmation-code-refused", 422, false,
        "The confirmation code is wrong", "Check the confirmation code and download again; too many wrong ones close the order.";
    /// Cancelled by somebody.
    Cancelled = "cancelled", 409, false,
        "The operation was cancelled", "Start it again when you want it.";
    /// Declined by somebody.
    Declined = "declined", 409, false,
        "The profile was declined", "Ask the operator for a new one if this was a mistake.";
    /// Postponed by somebody.
    Postponed = "postponed", 409, true,
        "The profile was postponed", "Download again when you want it; the order stays.";
    /// Nobody answered.
    NoAnswer = "no-answer", 504, true,
        "Nobody accepted the profile in time", "Download again, with --yes to accept it at once.";
    /// Profile policy rules are not acceptable.
    PolicyRulesForbidden = "policy-rules-forbidden", 409, false,
        "The card's rules do not allow this profile's policy rules", "Ask the operator for a profile without policy rules.";
    /// Profile policy rules stand against it.
    DisallowedByPolicy = "disallowed-by-policy", 409, false,
        "The profile's policy rules do not allow this", "Ask the operator of the profile.";
    /// The profile is enabled and must not be.
    ProfileEnabled = "profile-enabled", 409, false,
        "The profile is enabled", "Disable it, or enable another profile, first.";
    /// The profile is there already.
    ProfileInstalled = "profile-installed", 409, false,
        "The profile is installed already", "List the profiles; nothing has to be downloaded.";
    /// The card has no room.
    CardFull = "card-full", 409, false,
        "The card has not enough memory", "Delete a profile that is not needed and try again.";
    /// A proactive session runs on the card.
    CardBusy = "card-busy", 503, true,
        "The card is busy with the modem", "Try again in a minute; if it stays busy, reset the modem.";
    /// The SM-DP+ refused.
    ServerRefused = "server-refused", 409, false,
        "The SM-DP+ refused", "Ask the operator, with the subject and reason given here.";
    /// The matching identifier is unknown or used.
    MatchingIdRefused = "matching-id-refused", 409, false,
        "The SM-DP+ does not know this activation code, or it is used up", "Check the code, or ask the operator for a new one.";
    /// The server has nothing for this EID; inside the daemon only, an operation succeeds with it.
    NothingToDownload = "nothing-to-download", 404, true,
        "The SM-DP+ has nothing for this eUICC", "Ask the operator whether a profile was made for this EID.";
    /// The order is for another eUICC.
    EidRefused = "eid-refused", 409, false,
        "The order is for another eUICC", "Use the code on the device it was made for, or ask the operator.";
    /// The operator prepares the order still.
    NotReleased = "not-released", 409, true,
        "The operator has not released the profile yet", "Try again later; if it stays so, ask the operator.";
    /// The order has expired or is closed.
    OrderClosed = "order-closed", 409, false,
        "The download order is closed", "Ask the operator for a new activation code.";
    /// The server has a problem of its own.
    ServerFailed = "server-failed", 502, true,
        "The SM-DP+ failed", "Try again later; if it stays so, tell the operator.";
    /// The server cannot be reached.
    ServerUnreachable = "server-unreachable", 504, true,
        "The SM-DP+ cannot be reached", "Check the network, name resolution and firewall of this machine.";
    /// The server took too long.
    ServerTimeout = "server-timeout", 504, true,
        "The SM-DP+ did not answer in time", "Try again later; if it stays so, tell the operator.";
    /// The server is not who it should be.
    ServerNotTrusted = "server-not-trusted", 502, false,
        "The SM-DP+ could not prove who it is", "Check the address and this machine's clock; for a private issuer, see [trust] extra_roots.";
    /// The server sent something wrong.
    ServerGarbled = "server-garbled", 502, false,
        "The answer of the SM-DP+ cannot be used", "Tell the operator of the SM-DP+.";
    /// The card refused.
    CardRefused = "card-refused", 409, false,
        "The card refused", "Look at the function and result given here.";
    /// The card refused the profile package.
    InstallationFailed = "installation-failed", 502, false,
        "The card could not install the profile", "Ask the operator for a new profile; the error was reported to the SM-DP+.";
    /// The card's answer cannot be read.
    CardGarbled = "card-garbled", 503, false,
        "The card's answer cannot be understood", "Report this with a log at level debug.";
    /// No card, or no eUICC.
    NoEuicc = "no-euicc", 503, true,
        "No eUICC answers behind the modem", "Check that the card is an SGP.22 eUICC and that the slot is selected.";
    /// The modem is not there.
    ModemUnavailable = "modem-unavailable", 503, true,
        "The modem cannot be used", "Check the modem, its port in the configuration, and that no other program uses the port.";
    /// The modem took too long.
    ModemTimeout = "modem-timeout", 503, true,
        "The modem did not answer in time", "Try again; if it stays silent, reset the modem.";
    /// The modem did not take the new profile.
    SwitchNotConfirmed = "switch-not-confirmed", 503, false,
        "The card switched, but the modem still uses the old profile", "Restart the modem.";
    /// The daemon was stopped on the way.
    Interrupted = "interrupted", 503, true,
        "lpad was stopped while this was under way", "The card has been read again: look at its profiles, then try again.";
    /// lpad cannot write its state.
    StateUnwritable = "state-unwritable", 503, true,
        "lpad cannot write its state", "Check free space and permissions of the state folder.";
    /// A journal was damaged; lpad goes on with what can be read of it.
    JournalDamaged = "journal-damaged", 500, false,
        "The journal was damaged", "Check the medium; look at the files named here and remove them. Operations from before may be missing.";
    /// A mistake in lpad.
    Internal = "internal", 500, false,
        "lpad made a mistake", "Report this with the log.";
}

impl Code {
    /// Whether the card could not be spoken to, whatever it would have answered.
    pub fn is_card_out_of_reach(self) -> bool {
        matches!(
            self,
            Self::ModemUnavailable | Self::ModemTimeout | Self::NoEuicc
        )
    }
}

impl Problem {
    /// The problem with nothing known beyond its kind.
    pub fn new(code: Code) -> Self {
        let (name, status, retryable, title, next_step) = code.row();
        Self {
            kind: format!("urn:lpad:problem:{name}"),
            title: title.to_owned(),
            status,
            detail: format!("{title}."),
            code,
            next_step: next_step.to_owned(),
            sgp22: None,
            card: None,
            retryable,
            code_consumed: None,
            operation: None,
            allow: Vec::new(),
        }
    }

    /// Says what went wrong this time.
    pub fn detail(self, detail: impl fmt::Display) -> Self {
        Self {
            detail: detail.to_string(),
            ..self
        }
    }

    /// Says what to do, when that is known better than by kind.
    pub fn next_step(self, next_step: impl Into<String>) -> Self {
        Self {
            next_step: next_step.into(),
            ..self
        }
    }

    /// Adds what the SM-DP+ said.
    pub fn sgp22(self, subject: impl Into<String>, reason: impl Into<String>) -> Self {
        let status = Sgp22Status {
            subject: subject.into(),
            reason: reason.into(),
        };
        Self {
            sgp22: Some(status),
            ..self
        }
    }

    /// Adds what the card said.
    pub fn card(self, card: CardStatus) -> Self {
        Self {
            card: Some(card),
            ..self
        }
    }

    /// Says whether the activation code is used up.
    pub fn code_consumed(self, consumed: CodeConsumed) -> Self {
        Self {
            code_consumed: Some(consumed),
            ..self
        }
    }

    /// Names the operation.
    pub fn of_operation(self, operation: OperationId) -> Self {
        Self {
            operation: Some(operation),
            ..self
        }
    }
}

/// As a log may hold it: EID and ICCID shortened.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), shorten_numbers(&self.detail))
    }
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        let (code, operation) = match error {
            OperationError::Unknown(id) => (Code::UnknownOperation, id),
            OperationError::QueueFull(id) => (Code::Busy, id),
            OperationError::KeyReused(id) => (Code::IdempotencyKeyReused, id),
            OperationError::Unwritable(_) => {
                return Self::because(Code::StateUnwritable, &error);
            }
            OperationError::Ended(id) => (Code::OperationEnded, id),
            OperationError::PastPointOfNoReturn(id) => (Code::PastPointOfNoReturn, id),
            OperationError::NotAsking(id) => (Code::NotAwaitingAnswer, id),
            OperationError::CodeMissing(id) => (Code::ConfirmationCodeRequired, id),
        };
        Self::because(code, &error).of_operation(operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_name_a_status_and_a_next_step() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            let problem = Problem::new(*code);
            assert!((400..600).contains(&problem.status), "{problem}");
            assert!(problem.next_step.ends_with('.'), "{problem}");
            assert!(!problem.title.ends_with('.'), "{problem}");
        }
    }

    #[test]
    fn a_problem_reads_as_rfc_9457_says() {
        let problem = Problem::new(Code::MatchingIdRefused)
            .sgp22("8.2.6", "3.8")
            .code_consumed(CodeConsumed::Yes)
            .of_operation(OperationId(7));
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "urn:lpad:problem:matching-id-refused");
        assert_eq!(json["status"], 409);
        assert_eq!(json["code"], "matching-id-refused");
        assert_eq!(json["sgp22"]["subject"], "8.2.6");
        assert_eq!(json["code_consumed"], "yes");
        assert_eq!(json["operation"], "7");
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }

    #[test]
    fn a_refused_call_on_an_operation_names_the_operation() {
        let problem = Problem::from(OperationError::QueueFull(OperationId(3)));
        assert_eq!(
            (problem.code, problem.operation),
            (Code::Busy, Some(OperationId(3)))
        );
        assert_eq!(
            problem.detail,
            "Operation 3 and those behind it must end first."
        );
    }
}
