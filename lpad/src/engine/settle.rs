//! How an operation ended whose answer was lost, or that the end of the daemon cut off: the card
//! knows. Jobs and the start ask the same function.

use std::sync::Arc;

use es10_apdu::asn1::List;
use es10_apdu::es10b::{ErrorReason, NotificationMetadata};
use es10_apdu::types::{Iccid, ProfileClass, TransactionId};

use super::reading::CardState;
use crate::failure::{Interruption, JobFailure};
use crate::job::{Achievement, Kind, Part, ResetScope};
use crate::memory::journal::StartedOperation;
use crate::memory::snapshot::{Addresses, Known, Profile, ProfileState};
use crate::procedure::download::{
    DownloadError, Failure, InDoubt, Installed, SessionEnd, Step, resolve,
};
use crate::procedure::{Card, notifications};

/// What was read of the card since.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadBack<'r> {
    pub(super) profiles: &'r Known<Vec<Profile>>,
    pub(super) addresses: &'r Known<Addresses>,
}

impl<'r> ReadBack<'r> {
    /// As the whole card was read.
    pub(super) fn of(state: &'r CardState) -> Self {
        Self {
            profiles: &state.profiles,
            addresses: &state.addresses,
        }
    }
}

/// How an operation ended.
#[derive(Debug)]
pub(super) enum Settled {
    /// The card is as was asked.
    Done(Achievement),
    /// It is not.
    NotDone(JobFailure),
    /// The part that would tell cannot be read.
    Unknown(JobFailure),
}

/// Asks the card how an operation ended. When it is lost again, the operation stays open.
pub(super) async fn operation(
    card: &mut impl Card,
    started: &StartedOperation,
    read: &ReadBack<'_>,
) -> Result<Settled, JobFailure> {
    Ok(match started.kind {
        Kind::Download => download(card, started, read).await?,
        Kind::RemoveNotification => match notifications::metadata(card).await {
            Ok(list) => is_removed(&list, started),
            Err(error) if error.loses_card() => return Err(error.into()),
            Err(error) => Settled::Unknown(error.into()),
        },
        kind => by_lists(kind, started, read),
    })
}

/// The result of the session tells, else the profile list: the result may have been delivered
/// already, or be one that cannot be read.
async fn download(
    card: &mut impl Card,
    started: &StartedOperation,
    read: &ReadBack<'_>,
) -> Result<Settled, JobFailure> {
    let Some(doubt) = in_doubt(started) else {
        return Ok(Settled::NotDone(JobFailure::Interrupted(
            Interruption::BeforeLoading,
        )));
    };
    let resolved = match resolve(card, &doubt).await.map_err(JobFailure::from) {
        Ok(resolved) => resolved,
        Err(failure) if failure.loses_card() => return Err(failure),
        Err(failure) => {
            let failure = failure.shortened();
            tracing::warn!(failure, "the result cannot be read; the profile list tells");
            None
        }
    };
    let listed = |iccid: Option<Iccid>| -> Result<Option<Achievement>, JobFailure> {
        let profiles = read.profiles.of(Part::Profiles)?;
        let found = profiles.iter().find(|profile| Some(profile.iccid) == iccid);
        Ok(found.map(Profile::achieved))
    };
    Ok(match resolved {
        Some(Ok(Installed { iccid, .. })) => match listed(Some(iccid)) {
            Ok(Some(achieved)) => Settled::Done(achieved),
            Ok(None) | Err(_) => Settled::Done(Achievement {
                iccid: Some(iccid),
                enabled: Some(false),
                ..Achievement::default()
            }),
        },
        Some(Err(Failure::Installation {
            reason: ErrorReason::INTERRUPTION,
            ..
        })) => Settled::NotDone(JobFailure::CutOff(None)),
        Some(Err(failure)) => Settled::NotDone(JobFailure::Download(DownloadError {
            step: Step::Install,
            session: SessionEnd::Reported,
            failure,
        })),
        None => match listed(iccid(started)) {
            Ok(Some(achieved)) => Settled::Done(achieved),
            Ok(None) => Settled::NotDone(JobFailure::CutOff(None)),
            Err(failure) => Settled::Unknown(failure),
        },
    })
}

fn in_doubt(started: &StartedOperation) -> Option<InDoubt> {
    let transaction_id = hex::decode(started.transaction_id.as_deref()?).ok()?;
    Some(InDoubt {
        address: started.address.as_deref()?.parse().ok()?,
        transaction_id: TransactionId::from_octets(&transaction_id).ok()?,
        iccid: iccid(started),
    })
}

/// The profile an operation is about.
fn iccid(started: &StartedOperation) -> Option<Iccid> {
    started.iccid.as_deref()?.parse().ok()
}

/// Every other operation shows in a list.
fn by_lists(kind: Kind, started: &StartedOperation, read: &ReadBack<'_>) -> Settled {
    let as_asked = match kind {
        Kind::SetDefaultSmdp => read
            .addresses
            .of(Part::Addresses)
            .map(|addresses| has_default(addresses, started.value.as_deref()))
            .map(|as_asked| as_asked.then(Achievement::default)),
        Kind::Reset => started
            .reset
            .map_or(Ok(None), |scope| is_erased(scope, read)),
        Kind::DeliverNotifications | Kind::RemoveNotification | Kind::Download => Ok(None),
        Kind::Enable | Kind::Disable | Kind::Delete | Kind::Rename => read
            .profiles
            .of(Part::Profiles)
            .map(|profiles| profile_is_as_asked(kind, started, profiles)),
    };
    match as_asked {
        Ok(Some(achieved)) => Settled::Done(achieved),
        Ok(None) => Settled::NotDone(JobFailure::Interrupted(Interruption::Running)),
        Err(failure) => Settled::Unknown(failure),
    }
}

fn is_removed(list: &List<NotificationMetadata>, started: &StartedOperation) -> Settled {
    let number = started.value.as_deref().and_then(|text| text.parse().ok());
    let mut numbers = list.items.iter().map(|one| Some(one.seq_number));
    match numbers.any(|listed| listed == number) {
        false => Settled::Done(Achievement::default()),
        true => Settled::NotDone(JobFailure::Interrupted(Interruption::Running)),
    }
}

fn profile_is_as_asked(
    kind: Kind,
    started: &StartedOperation,
    profiles: &[Profile],
) -> Option<Achievement> {
    let iccid = iccid(started)?;
    let profile = profiles.iter().find(|profile| profile.iccid == iccid);
    match (kind, profile) {
        (Kind::Enable, Some(profile)) if profile.state == ProfileState::Enabled => {
            Some(profile.achieved())
        }
        (Kind::Disable, Some(profile)) if profile.state == ProfileState::Disabled => {
            Some(profile.achieved())
        }
        (Kind::Rename, Some(profile)) if profile.nickname == not_empty(&started.value) => {
            Some(Achievement {
                enabled: None,
                ..profile.achieved()
            })
        }
        (Kind::Delete, None) => Some(Achievement {
            iccid: Some(iccid),
            ..Achievement::default()
        }),
        _ => None,
    }
}

fn has_default(addresses: &Addresses, wanted: Option<&str>) -> bool {
    addresses.default_smdp.as_deref().unwrap_or_default() == wanted.unwrap_or_default()
}

/// Whether all that was to be erased is gone.
fn is_erased(scope: ResetScope, read: &ReadBack<'_>) -> Result<Option<Achievement>, JobFailure> {
    let profiles = read.profiles.of(Part::Profiles)?;
    let has = |class| profiles.iter().any(|profile| profile.class == class);
    let address_is_gone = match scope.default_smdp {
        true => has_default(read.addresses.of(Part::Addresses)?, None),
        false => true,
    };
    let erased = address_is_gone
        && !(scope.operational_profiles && has(ProfileClass::OPERATIONAL))
        && !(scope.test_profiles && has(ProfileClass::TEST));
    Ok(erased.then(Achievement::default))
}

fn not_empty(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// What a job says of a loss that was settled.
pub(super) fn after_loss(settled: Settled, lost: JobFailure) -> Result<Achievement, JobFailure> {
    match settled {
        Settled::Done(achieved) => Ok(achieved),
        Settled::NotDone(JobFailure::CutOff(_)) => Err(JobFailure::CutOff(Some(Arc::new(lost)))),
        Settled::NotDone(JobFailure::Interrupted(_)) => Err(JobFailure::NotDone(Arc::new(lost))),
        Settled::NotDone(failure) => Err(failure),
        Settled::Unknown(failure) => Err(JobFailure::in_doubt(lost, Some(failure))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::OperationId;

    const ICCID: &str = "89000123456789012341";
    const OTHER: &str = "89000123456789012358";

    fn profiles(state: ProfileState) -> Known<Vec<Profile>> {
        Known::Value(vec![Profile {
            state,
            nickname: Some("spare".into()),
            ..Profile::of(ICCID)
        }])
    }

    fn started(kind: Kind, iccid: &str) -> StartedOperation {
        StartedOperation {
            iccid: Some(iccid.into()),
            ..StartedOperation::new(OperationId(3), "default", kind)
        }
    }

    fn ended(profiles: &Known<Vec<Profile>>, started: &StartedOperation) -> Settled {
        let addresses = Known::Value(Addresses::default());
        let read = ReadBack {
            profiles,
            addresses: &addresses,
        };
        by_lists(started.kind, started, &read)
    }

    #[test]
    fn the_profile_list_tells_how_a_switch_a_deletion_and_a_new_name_ended() {
        let enabled = profiles(ProfileState::Enabled);
        let done = |kind, iccid| matches!(ended(&enabled, &started(kind, iccid)), Settled::Done(_));
        assert!(done(Kind::Enable, ICCID));
        assert!(done(Kind::Delete, OTHER));
        assert!(!done(Kind::Disable, ICCID));
        assert!(!done(Kind::Delete, ICCID));
        assert!(!done(Kind::Enable, OTHER));
        let named = |name: &str| StartedOperation {
            value: Some(name.into()),
            ..started(Kind::Rename, ICCID)
        };
        assert!(matches!(ended(&enabled, &named("spare")), Settled::Done(_)));
        assert!(matches!(
            ended(&enabled, &named("other")),
            Settled::NotDone(_)
        ));
    }

    #[test]
    fn a_list_that_cannot_be_read_tells_nothing() {
        let refused = Arc::new(JobFailure::NoDefaultSmdp);
        let unknown = Known::Unknown(refused);
        assert!(matches!(
            ended(&unknown, &started(Kind::Delete, ICCID)),
            Settled::Unknown(JobFailure::PartUnknown { .. })
        ));
    }

    #[test]
    fn a_reset_is_done_when_all_of_its_scope_is_gone() {
        let scope = ResetScope {
            operational_profiles: true,
            test_profiles: false,
            default_smdp: false,
        };
        let reset = StartedOperation {
            reset: Some(scope),
            ..started(Kind::Reset, "")
        };
        let full = profiles(ProfileState::Enabled);
        assert!(matches!(ended(&full, &reset), Settled::NotDone(_)));
        let empty = Known::Value(Vec::new());
        assert!(matches!(ended(&empty, &reset), Settled::Done(_)));
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
