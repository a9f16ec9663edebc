//! The truth about operations that an end of the daemon interrupted: the card knows it.

use es10_apdu::types::TransactionId;

use super::reading::CardState;
use super::switch::achieved;
use crate::job::{Achievement, Kind, Stage};
use crate::memory::journal::StartedOperation;
use crate::memory::operations::{Operation, State};
use crate::memory::snapshot::ProfileState;
use crate::problem::{Code, CodeConsumed, Problem};
use crate::procedure::download::{
    DownloadError, Failure, InDoubt, Installed, SessionEnd, Step, resolve,
};
use crate::procedure::{Card, FunctionError};

/// Reads from the card how an operation ended, and gives it as it belongs into the history.
pub(super) async fn resolve_operation(
    card: &mut impl Card,
    state: &CardState,
    started: &StartedOperation,
    now_s: u64,
) -> Result<Operation, FunctionError> {
    let outcome = match started.kind {
        Kind::Download => download(card, state, started).await?,
        kind => by_profiles(kind, state, started),
    };
    let outcome = outcome.map_err(|problem| problem.of_operation(started.operation));
    let (state, stage) = match &outcome {
        Ok(_) => (State::Succeeded, Some(Stage::Done)),
        Err(_) => (State::Failed, None),
    };
    let (result, problem) = match outcome {
        Ok(result) => (Some(result), None),
        Err(problem) => (None, Some(problem)),
    };
    Ok(Operation {
        id: started.operation,
        euicc: started.euicc.clone(),
        kind: started.kind,
        state,
        stage,
        progress: None,
        cancellable: false,
        offer: None,
        result,
        problem,
        client: None,
        asked_at_s: None,
        created_at_s: now_s,
        finished_at_s: Some(now_s),
    })
}

async fn download(
    card: &mut impl Card,
    state: &CardState,
    started: &StartedOperation,
) -> Result<Result<Achievement, Problem>, FunctionError> {
    let installed = |iccid: &str| state.profiles.iter().find(|profile| profile.iccid == iccid);
    let interrupted = |consumed, detail: &str| {
        Problem::new(Code::Interrupted)
            .detail(detail)
            .code_consumed(consumed)
    };
    let Some(doubt) = in_doubt(started) else {
        let detail = "lpad was stopped before the profile was sent to the card.";
        return Ok(Err(interrupted(CodeConsumed::No, detail)));
    };
    Ok(match resolve(card, &doubt).await? {
        Some(Ok(Installed { iccid, .. })) => {
            let iccid = iccid.to_string();
            let profile = installed(&iccid).cloned();
            Ok(profile.map_or_else(
                || Achievement {
                    iccid: Some(iccid),
                    ..Achievement::default()
                },
                |profile| achieved(&profile),
            ))
        }
        Some(Err(failure)) => Err(reported(failure)),
        // Its notification may have been delivered: then the profile itself tells.
        None => match started.iccid.as_deref().and_then(installed) {
            Some(profile) => Ok(achieved(profile)),
            None => {
                let detail =
                    "The installation was cut off, and the card does not have the profile.";
                Err(interrupted(CodeConsumed::No, detail).next_step("Download again."))
            }
        },
    })
}

fn reported(failure: Failure) -> Problem {
    DownloadError {
        step: Step::Install,
        session: SessionEnd::Reported,
        failure,
    }
    .into()
}

fn in_doubt(started: &StartedOperation) -> Option<InDoubt> {
    let transaction_id = hex::decode(started.transaction_id.as_deref()?).ok()?;
    Some(InDoubt {
        address: started.address.as_deref()?.parse().ok()?,
        transaction_id: TransactionId::from_octets(&transaction_id).ok()?,
        iccid: started
            .iccid
            .as_deref()
            .and_then(|iccid| iccid.parse().ok()),
    })
}

/// Every other operation shows in the profile list; those that do not may simply be repeated.
fn by_profiles(
    kind: Kind,
    state: &CardState,
    started: &StartedOperation,
) -> Result<Achievement, Problem> {
    let iccid = started.iccid.as_deref().unwrap_or_default();
    let profile = state.profiles.iter().find(|profile| profile.iccid == iccid);
    match (kind, profile) {
        (Kind::Enable, Some(profile)) if profile.state == ProfileState::Enabled => {
            Ok(achieved(profile))
        }
        (Kind::Disable, Some(profile)) if profile.state == ProfileState::Disabled => {
            Ok(achieved(profile))
        }
        (Kind::Delete, None) => Ok(Achievement {
            iccid: Some(iccid.to_owned()),
            ..Achievement::default()
        }),
        _ => Err(Problem::new(Code::Interrupted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::OperationId;
    use crate::memory::snapshot::{Addresses, EuiccInfo, Profile};

    fn state(profile_state: ProfileState) -> CardState {
        let profile = Profile {
            iccid: "8900".into(),
            state: profile_state,
            ..Profile::default()
        };
        CardState {
            eid: String::new(),
            info: EuiccInfo::default(),
            addresses: Addresses::default(),
            profiles: vec![profile],
        }
    }

    fn started(kind: Kind, iccid: &str) -> StartedOperation {
        StartedOperation {
            iccid: Some(iccid.into()),
            ..StartedOperation::new(OperationId(3), "default", kind)
        }
    }

    #[test]
    fn the_profile_list_tells_how_a_switch_ended() {
        let enabled = state(ProfileState::Enabled);
        let ended = |kind, iccid| by_profiles(kind, &enabled, &started(kind, iccid));
        assert!(ended(Kind::Enable, "8900").is_ok());
        assert!(ended(Kind::Delete, "8901").is_ok());
        assert_eq!(
            ended(Kind::Disable, "8900").unwrap_err().code,
            Code::Interrupted
        );
        assert_eq!(
            ended(Kind::Delete, "8900").unwrap_err().code,
            Code::Interrupted
        );
        assert_eq!(
            ended(Kind::Enable, "8901").unwrap_err().code,
            Code::Interrupted
        );
    }

    #[test]
    fn a_session_is_in_doubt_once_its_package_was_to_be_loaded() {
        let mut open = started(Kind::Download, "");
        open.address = Some("smdp.example.com".into());
        assert!(in_doubt(&open).is_none());
        open.transaction_id = Some("0102".into());
        assert_eq!(in_doubt(&open).unwrap().transaction_id.octets(), [1, 2]);
    }
}
