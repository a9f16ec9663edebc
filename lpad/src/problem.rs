//! What went wrong, for people and programs: a problem document of RFC 9457.
//!
//! It is made here of a [`JobFailure`], when it is shown, and decides nothing inside the daemon.

mod card;
mod code;
mod download;
mod server;

use std::fmt;

pub use code::Code;
use es10_apdu::transport::Outcome as Executed;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::{Guard, Holdout, Interruption, JobFailure, Returned, Told};
use crate::job::{OperationId, Outcome, Reason};
use crate::memory::operations::OperationError;
use crate::printable::without_error_numbers;
use crate::secret::shorten_numbers;

/// What went wrong, as RFC 9457 says. Inside an operation, an eUICC or an event it has no HTTP
/// status: only an error response has one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Problem {
    /// A URI that names the kind of problem; the part after the last colon is `code`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What went wrong, the same words for every problem of the kind.
    pub title: String,
    /// What went wrong this time.
    pub detail: String,
    /// The stable name for programs.
    pub code: Code,
    /// What to do about it.
    pub next_step: String,
    /// What the SM-DP+ said, when it said something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sgp22: Option<Sgp22Status>,
    /// What the card said, when it said something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardStatus>,
    /// For downloads: why the session could not be cancelled at the server, which ends it by
    /// itself; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Whether the same call may succeed later by itself.
    pub retryable: bool,
    /// For downloads, where it is known to matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_consumed: Option<CodeConsumed>,
    /// The operation that met the problem, or that is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
}

/// Subject and reason of SGP.22 v2.5 section 5.2.6.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Sgp22Status {
    /// What is affected, for example `8.2.6`.
    pub subject: String,
    /// Why, for example `3.8`.
    pub reason: String,
}

/// What the card answered.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct CardStatus {
    /// The ES10 function; empty when no function was reached.
    pub function: String,
    /// The function's result code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<i64>,
    /// The status word, four hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sw: Option<String>,
}

/// Whether an activation code or order is used up.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum CodeConsumed {
    /// It is; a new one is needed.
    Yes,
    /// It is not; it can be used again.
    No,
    /// It cannot be told from here; try again, or ask the operator.
    Unknown,
}

impl Problem {
    /// The problem with nothing known beyond its kind.
    pub fn new(code: Code) -> Self {
        let (name, retryable, title, next_step) = code.row();
        Self {
            kind: format!("urn:lpad:problem:{name}"),
            title: title.to_owned(),
            detail: format!("{title}."),
            code,
            next_step: next_step.to_owned(),
            sgp22: None,
            card: None,
            session: None,
            retryable,
            code_consumed: None,
            operation: None,
        }
    }

    /// Says what went wrong this time.
    pub fn detail(self, detail: impl fmt::Display) -> Self {
        let detail = detail.to_string();
        Self {
            detail: without_error_numbers(&detail).into_owned(),
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

    /// Says what helps on this modem, when that is known.
    fn hint(self, hint: &Option<String>) -> Self {
        match hint {
            Some(hint) => self.next_step(hint),
            None => self,
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

    /// What is to be kept of a failure, so that it is told the same after a restart: all that does not
    /// follow from the code.
    pub fn told(failure: &JobFailure) -> Told {
        // Every member can be written as JSON.
        let Ok(Value::Object(mut document)) = serde_json::to_value(Self::from(failure)) else {
            return Told::default();
        };
        document.remove("type");
        document.remove("title");
        Told(document)
    }

    /// What was told before a restart; nothing when it cannot be understood: a later version may have
    /// a code that this one does not know.
    fn again(told: &Told) -> Option<Self> {
        let code = told.0.get("code")?;
        let of_code = Self::new(Code::deserialize(code).ok()?);
        let mut document = told.0.clone();
        document.insert("type".to_owned(), of_code.kind.into());
        document.insert("title".to_owned(), of_code.title.into());
        serde_json::from_value(Value::Object(document)).ok()
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

impl From<&JobFailure> for Problem {
    fn from(failure: &JobFailure) -> Self {
        match failure {
            JobFailure::Cancelled => Self::new(Code::Cancelled).code_consumed(CodeConsumed::No),
            JobFailure::NothingToDownload(error) => Self {
                code: Code::NothingToDownload,
                ..error.into()
            },
            JobFailure::UnknownProfile(_) => Self::because(Code::UnknownProfile, failure),
            JobFailure::UnknownNotification(_) => Self::because(Code::UnknownNotification, failure),
            JobFailure::ProfileInstalled(_) => {
                Self::because(Code::ProfileInstalled, failure).code_consumed(CodeConsumed::No)
            }
            JobFailure::NoDefaultSmdp => Self::new(Code::NoDefaultSmdp),
            JobFailure::SmdpNotAllowed(_) => Self::because(Code::SmdpNotAllowed, failure),
            JobFailure::StoredAddress { .. } => Self::because(Code::InvalidAddress, failure),
            JobFailure::OtherCard { .. } => Self::because(Code::OtherCard, failure),
            JobFailure::LastProfile => Self::because(Code::LastProfile, failure),
            JobFailure::Port(failure) => failure.into(),
            JobFailure::ModemRefusedChannel { hint, .. } => {
                Self::because(Code::ModemRefused, failure).hint(hint)
            }
            JobFailure::CardRefusedChannel(error) => card::no_channel(error),
            JobFailure::NoIsdr { sw, hint } => Self::because(Code::NoEuicc, failure)
                .hint(hint)
                .card(card::status("SELECT", *sw)),
            JobFailure::Function(error) => error.into(),
            JobFailure::PartUnknown { because, .. } => Self {
                card: Self::from(&**because).card,
                ..Self::because(Code::PartUnknown, failure)
            },
            JobFailure::NotSwitched(Holdout::Card) => Self::because(Code::CardNotSwitched, failure),
            JobFailure::NotSwitched(Holdout::Modem) => {
                Self::because(Code::SwitchNotConfirmed, failure)
            }
            JobFailure::NoService(returned) => {
                let problem = Self::because(no_service(returned), failure).hint(&returned.hint);
                match returned.failed.first().map(|tried| tried.reason) {
                    Some(Reason::ModemKeptOld) => {
                        problem.next_step(
                            "Add a rung that restarts the modem to ladder in [euicc.modem], then try again.",
                        )
                    }
                    _ => problem,
                }
            }
            JobFailure::WouldStrand(guard) => Self::because(guarded(*guard), failure),
            JobFailure::Behind(id) => Self::because(Code::Busy, failure)
                .next_step("Wait until that operation tells how it ended, then ask again.")
                .of_operation(*id),
            JobFailure::NotEnabled(lost) => Self::from(&**lost),
            JobFailure::NotDone(lost) => Self::from(&**lost)
                .detail(sentence(failure))
                .next_step("Ask again."),
            JobFailure::Download(error) => error.into(),
            JobFailure::CutOff(None) => Self::because(Code::Interrupted, failure)
                .next_step("Download again; the order is still there.")
                .code_consumed(CodeConsumed::No),
            JobFailure::CutOff(Some(_)) => Self {
                retryable: true,
                ..Self::because(Code::InstallationFailed, failure)
                    .next_step("Download again; the order is still there.")
                    .code_consumed(CodeConsumed::No)
            },
            JobFailure::Journal(_) => {
                Self::because(Code::StateUnwritable, failure).code_consumed(CodeConsumed::No)
            }
            JobFailure::Interrupted(how) => interrupted(*how),
            JobFailure::FailedEarlier(told) => told
                .as_ref()
                .and_then(Self::again)
                .unwrap_or_else(|| Self::because(Code::FailedEarlier, failure)),
            JobFailure::InDoubt { lost, since } => in_doubt(lost, since.as_deref()),
        }
    }
}

fn no_service(returned: &Returned) -> Code {
    let reason = returned.failed.first().map(|tried| tried.reason);
    match returned.outcome {
        Outcome::Stranded => Code::SwitchStranded,
        Outcome::Diverted => Code::SwitchDiverted,
        _ if reason == Some(Reason::NotConfirmed) => Code::NotConfirmed,
        _ => Code::SwitchReverted,
    }
}

fn guarded(guard: Guard) -> Code {
    match guard {
        Guard::InUse | Guard::Last => Code::WouldStrand,
        Guard::Kept => Code::ProfileKept,
        Guard::NoWayBack => Code::NoWayBack,
        Guard::Undelivered => Code::NotificationUndelivered,
    }
}

fn interrupted(how: Interruption) -> Problem {
    let problem = Problem::because(Code::Interrupted, &how);
    match how {
        Interruption::Queued => problem.next_step("Ask again."),
        Interruption::BeforeLoading => problem.code_consumed(CodeConsumed::No),
        Interruption::Running => problem,
        Interruption::CardAway(_) => {
            problem.next_step("Put that card in again: lpad reads from it how this ended.")
        }
    }
}

/// The code is that of what keeps the card from being asked: it tells what to mend.
fn in_doubt(lost: &JobFailure, since: Option<&JobFailure>) -> Problem {
    let problem = Problem::from(since.unwrap_or(lost));
    let what = match lost {
        JobFailure::Download(_) => {
            "The card was lost in the middle of the installation, and it is not known yet how it ended"
        }
        JobFailure::NotEnabled(_) => {
            "The profile is installed, and it is not known yet whether it is enabled"
        }
        JobFailure::Port(_) => "The card was lost, and it is not known yet what it did",
        lost if lost.outcome() == Executed::Unknown => {
            "The answer was lost, and it is not known yet what the card did"
        }
        _ => "It is not known yet how this ended",
    };
    let detail = match since {
        Some(_) => format!("{what}: {lost}. Since then: {}", problem.detail),
        None => format!("{what}: {lost}."),
    };
    let problem = problem
        .detail(detail)
        .next_step("Bring the modem back; then this operation says how it ended.");
    match lost {
        JobFailure::Download(_) => problem.code_consumed(CodeConsumed::Unknown),
        _ => problem,
    }
}

impl From<JobFailure> for Problem {
    fn from(failure: JobFailure) -> Self {
        (&failure).into()
    }
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        let (code, operation) = match error {
            OperationError::Unknown(id) => (Code::UnknownOperation, id),
            OperationError::QueueFull(id) | OperationError::UnderWay(id) => (Code::Busy, id),
            OperationError::KeyReused(id) => (Code::IdempotencyKeyReused, id),
            OperationError::Unwritable(_) => {
                return Self::because(Code::StateUnwritable, &error);
            }
            OperationError::Ended(id) => (Code::OperationEnded, id),
            OperationError::PastPointOfNoReturn(id) => (Code::PastPointOfNoReturn, id),
            OperationError::NotAsking(id) | OperationError::Decided(id, _) => {
                (Code::NotAwaitingAnswer, id)
            }
            OperationError::CodeMissing(id) => (Code::ConfirmationCodeRequired, id),
        };
        Self::because(code, &error).of_operation(operation)
    }
}

impl Problem {
    /// The problem with the error's own words.
    pub(crate) fn because(code: Code, error: &dyn fmt::Display) -> Self {
        Self::new(code).detail(sentence(error))
    }
}

/// An error's text as a sentence.
fn sentence(error: &dyn fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.trim_end_matches('.').chars();
    let end = if text.ends_with('?') { "" } else { "." };
    match letters.next() {
        // Our own name, host names and functions keep their spelling.
        Some(first)
            if text
                .split([' ', ':'])
                .next()
                .is_some_and(|word| word.contains('.') || word == "lpad") =>
        {
            format!("{first}{}{end}", letters.as_str())
        }
        Some(first) => format!("{}{}{end}", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_text_becomes_a_sentence() {
        assert_eq!(sentence(&"the modem is gone"), "The modem is gone.");
        assert_eq!(
            sentence(&"smdp.example.com refused"),
            "smdp.example.com refused."
        );
        assert_eq!(sentence(&"ES10b.GetEID: no"), "ES10b.GetEID: no.");
        assert_eq!(sentence(&"lpad was stopped"), "lpad was stopped.");
        assert_eq!(sentence(&"is it plugged in?"), "Is it plugged in?");
    }

    #[test]
    fn every_code_has_its_own_name_and_a_next_step() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            let problem = Problem::new(*code);
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
        assert_eq!(json.get("status"), None, "only an answer has one");
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
