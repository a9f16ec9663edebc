//! What failures of the modem and the card become.

#[cfg(feature = "pcsc")]
use std::io;

use es10_apdu::apdu::StatusWord;
use es10_apdu::channel::OpenError;
use es10_apdu::es10c::{
    DeleteProfileRequest, DeleteResult, DisableResult, EnableResult, SetNicknameRequest,
    SetNicknameResult,
};
use es10_apdu::function::Es10Function;
use es10_apdu::isdr::CallError;
#[cfg(feature = "pcsc")]
use es10_apdu::pcsc::ReaderError;
use es10_apdu::transport::{Fault, TransportError};

use super::{CardStatus, Code, Problem, sentence};
use crate::failure::PortFailure;
use crate::procedure::{FunctionError, Refusal};

impl From<&PortFailure> for Problem {
    fn from(failure: &PortFailure) -> Self {
        match failure {
            #[cfg(feature = "pcsc")]
            PortFailure::Open(error) => {
                let problem = Self::because(Code::ModemUnavailable, failure);
                match for_reader(error) {
                    Some(step) => problem.next_step(step),
                    None => problem,
                }
            }
            #[cfg(not(feature = "pcsc"))]
            PortFailure::Open(_) => Self::because(Code::ModemUnavailable, failure),
            PortFailure::Silent { port, baud } => Self::because(Code::ModemSilent, failure)
                .next_step(format!(
                    "Check that {} is the modem's AT port, and that it works at {baud} baud.",
                    port.display()
                )),
            PortFailure::NotYet => Self::because(Code::ModemUnavailable, failure)
                .next_step("Try again in a few seconds."),
            PortFailure::Gone => Self::because(Code::ModemUnavailable, failure)
                .next_step("lpad opens the port again as soon as it is back."),
            PortFailure::Lost(error) => error.into(),
        }
    }
}

/// What helps when the card in a reader cannot be used.
#[cfg(feature = "pcsc")]
fn for_reader(error: &io::Error) -> Option<&'static str> {
    let error: &ReaderError = error.get_ref()?.downcast_ref()?;
    Some(match error {
        ReaderError::Busy => "Stop the other program; it is often gpg's scdaemon.",
        ReaderError::NoCard => "Put the card into the reader; lpad goes on by itself.",
        ReaderError::NoService => "Install pcscd, and start pcscd.socket.",
        ReaderError::Permission => "Allow it to lpad's user by a rule of polkit.",
        ReaderError::NoReaders | ReaderError::Unknown(_) => {
            "Plug the reader in, or correct port under [[euicc]]."
        }
        ReaderError::Several(_) => "Write more of the reader's name into port under [[euicc]].",
        _ => "Plug the reader out and in, or restart pcscd.",
    })
}

pub(super) fn no_channel(error: &OpenError) -> Problem {
    let problem = Problem::because(Code::NoChannel, error);
    match error {
        OpenError::ManageChannel { sw } => problem.card(status("MANAGE CHANNEL", *sw)),
        _ => problem,
    }
}

impl From<&TransportError> for Problem {
    fn from(error: &TransportError) -> Self {
        let code = match error.fault {
            Fault::Timeout { .. } => Code::ModemTimeout,
            Fault::Garbled(_) => Code::CardGarbled,
            _ => Code::ModemUnavailable,
        };
        Self::because(code, error)
    }
}

impl From<&CallError> for Problem {
    fn from(error: &CallError) -> Self {
        let function = error.command().to_owned();
        let problem = match error {
            CallError::Codec { .. } | CallError::EarlyAnswer { .. } => Self::new(Code::CardGarbled),
            CallError::Status { .. } => Self::new(Code::CardRefused),
            CallError::TooLong { .. } => Self::new(Code::Internal),
            CallError::Transport { error, .. } => error.into(),
        };
        let sw = match error {
            CallError::Status { sw, .. } => Some(hex_status(*sw)),
            _ => None,
        };
        problem.detail(sentence(error)).card(CardStatus {
            function,
            result: None,
            sw,
        })
    }
}

impl From<&FunctionError> for Problem {
    fn from(error: &FunctionError) -> Self {
        match error {
            FunctionError::Call(cause) => cause.into(),
            FunctionError::Refused { function, refusal } => {
                let code = refused_code(function, refusal);
                Self::because(code, error).card(result(function, refusal.code))
            }
        }
    }
}

/// The meaning of a function's result: results above 2 mean the same in all of ES10c.
fn refused_code(function: &str, refusal: &Refusal) -> Code {
    const NOT_FOUND: i64 = EnableResult::ICCID_OR_AID_NOT_FOUND.0;
    const IN_USE: i64 = DeleteResult::PROFILE_NOT_IN_DISABLED_STATE.0;
    const POLICY: i64 = EnableResult::DISALLOWED_BY_POLICY.0;
    const BUSY: i64 = DisableResult::CAT_BUSY.0;
    let about_profiles = function.starts_with("ES10c.");
    match refusal.code {
        NOT_FOUND if about_profiles && function.ends_with("Profile") => Code::UnknownProfile,
        code if function == SetNicknameRequest::NAME
            && code == SetNicknameResult::ICCID_NOT_FOUND.0 =>
        {
            Code::UnknownProfile
        }
        IN_USE if function == DeleteProfileRequest::NAME => Code::ProfileEnabled,
        POLICY if about_profiles => Code::DisallowedByPolicy,
        BUSY if about_profiles => Code::CardBusy,
        _ => Code::CardRefused,
    }
}

pub(super) fn result(function: &str, code: i64) -> CardStatus {
    CardStatus {
        function: function.to_owned(),
        result: Some(code),
        sw: None,
    }
}

pub(super) fn status(function: &str, sw: StatusWord) -> CardStatus {
    CardStatus {
        function: function.to_owned(),
        result: None,
        sw: Some(hex_status(sw)),
    }
}

fn hex_status(sw: StatusWord) -> String {
    format!("{:04X}", sw.0)
}

#[cfg(test)]
mod tests {
    use es10_apdu::es10c::EnableProfileRequest;

    use super::*;
    use crate::failure::JobFailure;

    fn refused<F: Es10Function>(code: i64) -> Problem {
        let refusal = Refusal {
            code,
            text: "no".into(),
        };
        (&FunctionError::Refused {
            function: F::NAME,
            refusal,
        })
            .into()
    }

    #[test]
    fn a_result_of_the_card_is_named_with_its_function() {
        let problem = refused::<EnableProfileRequest>(EnableResult::CAT_BUSY.0);
        assert_eq!((problem.code, problem.retryable), (Code::CardBusy, true));
        let card = problem.card.unwrap();
        assert_eq!(
            (card.function.as_str(), card.result),
            ("ES10c.EnableProfile", Some(5))
        );
        assert_eq!(
            refused::<EnableProfileRequest>(1).code,
            Code::UnknownProfile
        );
        assert_eq!(
            refused::<EnableProfileRequest>(3).code,
            Code::DisallowedByPolicy
        );
        assert_eq!(
            refused::<DeleteProfileRequest>(2).code,
            Code::ProfileEnabled
        );
        assert_eq!(refused::<SetNicknameRequest>(1).code, Code::UnknownProfile);
        assert_eq!(refused::<EnableProfileRequest>(127).code, Code::CardRefused);
    }

    #[test]
    fn a_status_word_is_shown_in_hex() {
        let problem = Problem::from(&CallError::Status {
            command: "ES10b.GetEUICCChallenge",
            sw: StatusWord(0x6985),
            last: true,
        });
        assert_eq!(problem.code, Code::CardRefused);
        assert_eq!(problem.card.unwrap().sw.as_deref(), Some("6985"));
    }

    #[test]
    fn modem_card_and_missing_isdr_have_three_codes_with_three_next_steps() {
        let problem = |error: OpenError| Problem::from(JobFailure::from(error));
        let refused = problem(OpenError::ManageChannel {
            sw: StatusWord(0x6A81),
        });
        let missing = problem(OpenError::Select {
            sw: StatusWord(0x6A82),
        });
        assert_eq!(
            (refused.code, missing.code),
            (Code::NoChannel, Code::NoEuicc)
        );
        let steps = [
            refused.next_step,
            missing.next_step,
            Problem::new(Code::ModemRefused).next_step,
        ];
        assert!(steps[0] != steps[1] && steps[1] != steps[2] && steps[0] != steps[2]);
    }
}
