//! A profile that gets no service is left again: the box is never stranded on it.

use std::fs;
use std::time::Duration;

use lpad::api::body::Operation;
use lpad::api::downloads::DownloadRequest;
use lpad::api::profiles::ProfileChange;
use lpad::client::ClientError;
use lpad::config::{Confirm, ProfileConfig, SwitchConfig};
use lpad::job::{OperationId, Outcome, Reason, Stage, Verdict};
use lpad::memory::alarm::AlarmCode;
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState;
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, accepting, next_alarm, problem, set_state, succeeded};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::profile::ProfileClass;
use rsp_servers::smdp::OrderRequest;
use sim_card_emulator::euicc::ForcedAnswer;
use sim_card_emulator::modem::{Effect, Fault, Moment, Network, Pattern, Quirk};
use tokio::time::Instant;

use crate::api::ask_with;
use crate::modems;

/// A daemon whose card has these many profiles; the first one is in use, and in service.
pub(crate) async fn bed(profiles: usize) -> (Bed, Vec<String>) {
    let mut bed = Bed::start().await;
    bed.stop().await;
    bed.configuration().euiccs[0].switch = SwitchConfig::default();
    bed.resume().await;
    let mut iccids = Vec::new();
    for _ in 0..profiles {
        iccids.push(bed.install().await);
    }
    let switched = bed.switch(&iccids[0], ProfileState::Enabled).await;
    succeeded(&switched);
    assert_eq!(outcome(&switched), Some(Outcome::Confirmed));
    (bed, iccids)
}

pub(crate) fn outcome(operation: &Operation) -> Option<Outcome> {
    operation.switch.as_ref().and_then(|switch| switch.outcome)
}

/// What was tried in vain, by profile and reason.
pub(crate) fn failed(operation: &Operation) -> Vec<(String, Reason)> {
    let switch = operation.switch.as_ref().expect("it is a switch");
    let tried = switch.failed.iter();
    tried
        .map(|tried| (tried.iccid.to_string(), tried.reason))
        .collect()
}

/// Checks that the card and the modem use this profile.
pub(crate) fn must_use(bed: &Bed, iccid: &str) {
    let memory = bed.bench.card.memory();
    let enabled = memory.profiles.iter().find(|profile| profile.enabled);
    let enabled = enabled.map(|profile| profile.iccid.to_string());
    assert_eq!(enabled.as_deref(), Some(iccid));
}

/// The operation is told in the same words after a restart.
async fn must_be_told_the_same_after_a_restart(bed: &mut Bed, before: &Operation) {
    for is_killed in [false, true] {
        match is_killed {
            true => bed.kill().await,
            false => bed.stop().await,
        }
        bed.resume().await;
        let after = bed.client.operation(before.id, 0).await.unwrap();
        let without_client = |operation: &Operation| Operation {
            client: None,
            ..operation.clone()
        };
        assert_eq!(without_client(before), without_client(&after));
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_never_registers_is_left_again_in_time() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&iccids[1]), network("never"));
    let mut events = bed.client.events(None).await.unwrap();
    let begun = Instant::now();
    let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
    let took = begun.elapsed().as_secs();
    assert!((420..600).contains(&took), "{took} s");
    let alarm = next_alarm(&mut events).await;
    assert_eq!(alarm.code, AlarmCode::SwitchReverted);
    assert_eq!(alarm.operation, Some(switched.id));
    assert_eq!(switched.state, State::Failed);
    assert_eq!(outcome(&switched), Some(Outcome::Reverted));
    assert_eq!(
        failed(&switched),
        [(iccids[1].clone(), Reason::NotRegistered)]
    );
    let said = problem(switched.clone());
    assert_eq!(said.code, Code::SwitchReverted);
    assert!(
        said.detail.ends_with(&format!(
            "the modem is not registered in a network; {} is in service again.",
            iccids[0]
        )),
        "{}",
        said.detail
    );
    must_use(&bed, &iccids[0]);
    must_be_told_the_same_after_a_restart(&mut bed, &switched).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_network_is_believed_after_a_while_and_a_restart_of_the_radio() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&iccids[1]), network("rejects-sim"));
    let begun = Instant::now();
    let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
    let took = begun.elapsed().as_secs();
    assert!((180..300).contains(&took), "{took} s");
    assert_eq!(failed(&switched), [(iccids[1].clone(), Reason::Denied)]);
    must_use(&bed, &iccids[0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_provisioned_late_stays() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&iccids[1]), network("rejects-sim"));
    let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
    in_stage(&bed, &started, Stage::Verifying).await;
    tokio::time::advance(Duration::from_secs(120)).await;
    modem.set_network(Some(&iccids[1]), Network::default());
    let switched = bed.ended(Ok(started)).await;
    succeeded(&switched);
    assert_eq!(outcome(&switched), Some(Outcome::Confirmed));
    must_use(&bed, &iccids[1]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn when_neither_is_in_service_another_profile_takes_over_in_the_configured_order() {
    let (mut bed, iccids) = bed(4).await;
    bed.stop().await;
    bed.configuration().euiccs[0].fallback = vec![iccids[3].parse().unwrap()];
    bed.resume().await;
    let modem = bed.bench.modem.clone();
    for dead in &iccids[..2] {
        modem.set_network(Some(dead), network("never"));
    }
    // The one in use was lost before the switch, and is no rescue: it was the last in service, and gets one try.
    let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
    assert_eq!(outcome(&switched), Some(Outcome::Diverted));
    let lost = [&iccids[1], &iccids[0]].map(|iccid| (iccid.clone(), Reason::NotRegistered));
    assert_eq!(failed(&switched), lost);
    assert_eq!(problem(switched.clone()).code, Code::SwitchDiverted);
    must_use(&bed, &iccids[3]);
    must_be_told_the_same_after_a_restart(&mut bed, &switched).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn without_any_service_the_profile_that_had_it_last_stays_in_use() {
    let (mut bed, iccids) = bed(3).await;
    bed.bench.modem.set_network(None, network("never"));
    let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
    assert_eq!(outcome(&switched), Some(Outcome::Stranded));
    assert_eq!(failed(&switched).len(), 3);
    assert_eq!(problem(switched.clone()).code, Code::SwitchStranded);
    must_use(&bed, &iccids[0]);
    must_be_told_the_same_after_a_restart(&mut bed, &switched).await;
    bed.bench.modem.set_network(None, Network::default());
    bed.must_be_sound().await;
}

/// Enables a profile without a look at the network.
async fn enable_unverified(bed: &Bed, iccid: &str) {
    let change = ProfileChange {
        verify: false,
        ..ProfileChange::to(ProfileState::Enabled)
    };
    let started = bed.client.change_profile(EUICC, iccid, &change).await;
    succeeded(&bed.ended(started).await);
}

/// What the journal calls so may be long ago: the look before the switch tells it anew.
#[tokio::test(start_paused = true)]
async fn without_any_service_the_profile_that_had_it_at_the_beginning_stays_in_use() {
    for is_deleted in [false, true] {
        let (mut bed, iccids) = bed(3).await;
        let modem = bed.bench.modem.clone();
        enable_unverified(&bed, &iccids[1]).await;
        if is_deleted {
            let deleted = bed.client.delete(EUICC, &iccids[0], true).await;
            succeeded(&bed.ended(deleted).await);
        }
        let started = bed.client.enable(EUICC, &iccids[2]).await.unwrap();
        in_stage(&bed, &started, Stage::Verifying).await;
        for iccid in &iccids {
            modem.set_network(Some(iccid), network("never"));
        }
        let switched = bed.ended(Ok(started)).await;
        assert_eq!(outcome(&switched), Some(Outcome::Stranded));
        must_use(&bed, &iccids[1]);
        for iccid in &iccids {
            modem.set_network(Some(iccid), Network::default());
        }
        bed.stop().await;
        bed.resume().await;
        bed.must_be_sound().await;
    }
}

/// The journal calls a profile good that its operator has cancelled since, and the one in use has lost its
/// network before the switch.
#[tokio::test(start_paused = true)]
async fn without_any_service_a_profile_that_was_refused_does_not_stay_in_use() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    succeeded(&bed.switch(&iccids[1], ProfileState::Enabled).await);
    enable_unverified(&bed, &iccids[0]).await;
    modem.set_network(Some(&iccids[0]), network("never"));
    modem.set_network(Some(&iccids[1]), network("rejects=8"));
    let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
    assert_eq!(outcome(&switched), Some(Outcome::Stranded));
    must_use(&bed, &iccids[0]);
    modem.set_network(Some(&iccids[0]), Network::default());
    bed.stop().await;
    bed.resume().await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_the_modem_cannot_work_with_or_says_nothing_of_is_left_again() {
    for (words, reason) in [
        ("sim-failure", Reason::NotRegistered),
        ("untold", Reason::ModemGone),
    ] {
        let (mut bed, iccids) = bed(2).await;
        let modem = bed.bench.modem.clone();
        modem.set_network(Some(&iccids[1]), network(words));
        let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
        assert_eq!(outcome(&switched), Some(Outcome::Reverted), "{words}");
        assert_eq!(failed(&switched), [(iccids[1].clone(), reason)]);
        must_use(&bed, &iccids[0]);
        bed.must_be_sound().await;
    }
}

/// A modem that has never told is not held against any profile.
#[tokio::test(start_paused = true)]
async fn a_modem_that_never_tells_whether_it_is_registered_may_be() {
    let mut bed = Bed::start().await;
    bed.bench.modem.set_network(None, network("untold"));
    let iccids = [bed.install().await, bed.install().await];
    for iccid in &iccids {
        let switched = bed.switch(iccid, ProfileState::Enabled).await;
        succeeded(&switched);
        assert_eq!(outcome(&switched), Some(Outcome::Unverified));
        must_use(&bed, iccid);
    }
    bed.bench.modem.set_network(None, Network::default());
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_may_say_again_after_the_end_what_was_heard() {
    let (mut bed, iccids) = bed(2).await;
    let change = ProfileChange {
        confirm: Some(Confirm::Client),
        ..ProfileChange::to(ProfileState::Enabled)
    };
    let started = bed.client.change_profile(EUICC, &iccids[1], &change).await;
    let started = started.unwrap();
    in_stage(&bed, &started, Stage::AwaitingConfirm).await;
    let confirm = async || bed.client.decide(started.id, Verdict::Confirm).await;
    confirm().await.unwrap();
    let ended = bed.ended(Ok(started.clone())).await;
    succeeded(&ended);
    assert_eq!(confirm().await.unwrap(), ended);
    let other = bed.client.decide(started.id, Verdict::Revert).await;
    assert_eq!(code(other), Code::OperationEnded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_would_be_ignored_without_a_look_is_refused() {
    let (bed, iccids) = bed(2).await;
    let path = format!("/v1/euiccs/{EUICC}/profiles/{}", iccids[1]);
    for member in [r#""confirm":"client""#, r#""deadline_s":60"#] {
        let body = format!(r#"{{"state":"enabled","verify":false,{member}}}"#);
        let refused = ask_with(&bed, "PATCH", &path, &[], &body).await;
        refused.is_problem(400, "invalid-request");
    }
    must_use(&bed, &iccids[0]);
}

#[tokio::test(start_paused = true)]
async fn people_hear_of_a_download_that_ends_without_service_and_of_one_that_loses_it_for_good() {
    let (mut bed, iccids) = bed(2).await;
    let mut events = bed.client.events(None).await.unwrap();
    bed.order("NEW");
    bed.bench.modem.set_network(None, network("never"));
    let request = DownloadRequest {
        enable: true,
        ..accepting(&format!("1${HOST_NAME}$NEW"))
    };
    let downloaded = bed.download_as(&request).await;
    assert_eq!(outcome(&downloaded), Some(Outcome::Stranded));
    let alarm = next_alarm(&mut events).await;
    assert_eq!(alarm.code, AlarmCode::SwitchStranded);
    assert_eq!(alarm.operation, Some(downloaded.id));
    bed.bench.modem.set_network(None, Network::default());
    bed.bench
        .modem
        .set_network(Some(&iccids[1]), network("loses-after=10m"));
    succeeded(&bed.switch(&iccids[1], ProfileState::Enabled).await);
    for profile in bed.client.profiles(EUICC).await.unwrap() {
        if profile.iccid != iccids[1] {
            let deleted = bed.client.delete(EUICC, &profile.iccid, true).await;
            succeeded(&bed.ended(deleted).await);
        }
    }
    let alarm = next_alarm(&mut events).await;
    assert_eq!(alarm.code, AlarmCode::SwitchStranded);
}

#[tokio::test(start_paused = true)]
async fn the_only_profile_stays_in_use_without_service_and_says_so() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    bed.bench.modem.set_network(None, network("never"));
    let switched = bed.switch(&iccid, ProfileState::Enabled).await;
    succeeded(&switched);
    assert_eq!(outcome(&switched), Some(Outcome::Unverified));
    let warnings = switched.result.unwrap().warnings;
    assert!(
        warnings[0].ends_with("and there is no other profile to go back to."),
        "{warnings:?}"
    );
    must_use(&bed, &iccid);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_box_that_is_switched_off_again_and_again_goes_back_all_the_same() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&iccids[1]), network("never"));
    let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
    for _ in 0..2 {
        in_stage(&bed, &started, Stage::Verifying).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        bed.kill().await;
        bed.resume().await;
    }
    let switched = bed.ended(bed.client.operation(started.id, 0).await).await;
    assert_eq!(outcome(&switched), Some(Outcome::Reverted));
    assert_eq!(failed(&switched), [(iccids[1].clone(), Reason::GivenUp)]);
    must_use(&bed, &iccids[0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_may_have_the_last_word() {
    let (mut bed, iccids) = bed(2).await;
    bed.stop().await;
    bed.configuration().euiccs[0].switch.confirm = Confirm::Client;
    bed.resume().await;
    for (verdict, reason, in_use) in [
        (Some(Verdict::Revert), Some(Reason::Reverted), 0),
        (None, Some(Reason::NotConfirmed), 0),
        (Some(Verdict::Confirm), None, 1),
    ] {
        let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
        in_stage(&bed, &started, Stage::AwaitingConfirm).await;
        if let Some(verdict) = verdict {
            bed.client.decide(started.id, verdict).await.unwrap();
        }
        let switched = bed.ended(Ok(started)).await;
        let expected = reason.map(|reason| (iccids[1].clone(), reason));
        assert_eq!(failed(&switched), Vec::from_iter(expected));
        must_use(&bed, &iccids[in_use]);
        let other = match verdict {
            Some(Verdict::Revert) => Verdict::Confirm,
            _ => Verdict::Revert,
        };
        let too_late = bed.client.decide(switched.id, other).await;
        assert_eq!(code(too_late), Code::OperationEnded);
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_may_undo_a_switch_that_has_not_ended_and_confirm_nothing_else() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&iccids[1]), network("never"));
    let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
    in_stage(&bed, &started, Stage::Verifying).await;
    let unasked = bed.client.decide(started.id, Verdict::Confirm).await;
    assert_eq!(code(unasked), Code::NotAwaitingAnswer);
    bed.client
        .decide(started.id, Verdict::Revert)
        .await
        .unwrap();
    let begun = Instant::now();
    let switched = bed.ended(Ok(started)).await;
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(failed(&switched), [(iccids[1].clone(), Reason::Reverted)]);
    must_use(&bed, &iccids[0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_is_not_to_be_verified_is_over_when_the_modem_uses_the_profile() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&iccids[1]), network("never"));
    let change = ProfileChange {
        verify: false,
        ..ProfileChange::to(ProfileState::Enabled)
    };
    let started = bed.client.change_profile(EUICC, &iccids[1], &change).await;
    let begun = Instant::now();
    let switched = bed.ended(started).await;
    assert!(begun.elapsed() < Duration::from_secs(60));
    succeeded(&switched);
    assert_eq!(outcome(&switched), Some(Outcome::Unverified));
    must_use(&bed, &iccids[1]);
    // Enabled already: that it is not in service is said.
    let again = bed.switch(&iccids[1], ProfileState::Enabled).await;
    let result = again.result.unwrap();
    assert!(result.nothing_to_change);
    assert_eq!(
        result.warnings,
        ["The profile is not in service: the modem is not registered in a network."]
    );
    modem.set_network(Some(&iccids[1]), Network::default());
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_download_that_enables_a_profile_without_service_goes_back_and_keeps_the_profile() {
    let (mut bed, iccids) = bed(1).await;
    bed.bench.modem.set_network(None, network("never"));
    bed.bench
        .modem
        .set_network(Some(&iccids[0]), Network::default());
    bed.order("NEW");
    let mut request = accepting(&format!("1${HOST_NAME}$NEW"));
    request.enable = true;
    let downloaded = bed.download_as(&request).await;
    succeeded(&downloaded);
    assert_eq!(outcome(&downloaded), Some(Outcome::Reverted));
    let result = downloaded.result.clone().unwrap();
    assert_eq!(result.enabled, Some(false));
    assert!(
        result.warnings[0].starts_with("It is installed, and not in use: "),
        "{:?}",
        result.warnings
    );
    must_use(&bed, &iccids[0]);
    must_be_told_the_same_after_a_restart(&mut bed, &downloaded).await;
    bed.bench.modem.set_network(None, Network::default());
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_way_into_a_network_is_not_given_up_by_mistake() {
    let (mut bed, iccids) = bed(2).await;
    let refused = bed.ended(bed.client.disable(EUICC, &iccids[0], false).await);
    assert_eq!(problem(refused.await).code, Code::WouldStrand);
    bed.stop().await;
    bed.configuration().euiccs[0].profiles = vec![ProfileConfig {
        keep: true,
        ..ProfileConfig::about(&iccids[1])
    }];
    bed.resume().await;
    let kept = bed.ended(bed.client.delete(EUICC, &iccids[1], false).await);
    assert_eq!(problem(kept.await).code, Code::ProfileKept);
    succeeded(
        &bed.ended(bed.client.delete(EUICC, &iccids[1], true).await)
            .await,
    );
    succeeded(
        &bed.ended(set_state(&bed.client, &iccids[0], ProfileState::Disabled).await)
            .await,
    );
    let last = bed.ended(bed.client.delete(EUICC, &iccids[0], false).await);
    assert_eq!(problem(last.await).code, Code::WouldStrand);
    succeeded(
        &bed.ended(bed.client.delete(EUICC, &iccids[0], true).await)
            .await,
    );
    bed.must_be_sound().await;
}

fn code<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Code {
    match answer {
        Err(ClientError::Problem(problem)) => problem.code,
        other => panic!("{other:?}"),
    }
}

/// Waits until an operation is in this stage.
async fn in_stage(bed: &Bed, operation: &Operation, stage: Stage) {
    let mut events = bed.client.events(Some(0)).await.unwrap();
    loop {
        let now = bed.client.operation(operation.id, 0).await.unwrap();
        if now.stage == Some(stage) {
            return;
        }
        assert!(!now.state.is_final(), "{now:?}");
        events.next().await.unwrap();
    }
}

/// Asks for a switch that a client has to confirm.
async fn switch_with_client(bed: &Bed, iccid: &str) -> Operation {
    let change = ProfileChange {
        confirm: Some(Confirm::Client),
        ..ProfileChange::to(ProfileState::Enabled)
    };
    let started = bed.client.change_profile(EUICC, iccid, &change).await;
    started.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_client_has_confirmed_stays_confirmed_however_often_the_daemon_is_killed() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    for nth in 1.. {
        let started = switch_with_client(&bed, &iccids[1]).await;
        in_stage(&bed, &started, Stage::AwaitingConfirm).await;
        // The switch ends with a session of the card.
        let mut hold = modem.hold(Pattern::ANY, nth, Moment::BeforeAnswer);
        for _ in 0..2 {
            let confirmed = bed.client.decide(started.id, Verdict::Confirm).await;
            confirmed.unwrap();
        }
        let other = bed.client.decide(started.id, Verdict::Revert).await;
        assert!(matches!(
            code(other),
            Code::NotAwaitingAnswer | Code::OperationEnded
        ));
        let is_over = tokio::select! {
            biased;
            () = hold.reached() => false,
            _ = bed.ended(Ok(started.clone())) => true,
        };
        if is_over {
            assert!(nth > 3, "{nth}");
            break;
        }
        bed.kill().await;
        hold.release();
        for _ in 0..3 {
            bed.resume().await;
            in_stage(&bed, &started, Stage::Verifying).await;
            bed.kill().await;
        }
        bed.resume().await;
        let ended = bed.ended(bed.client.operation(started.id, 0).await).await;
        succeeded(&ended);
        assert_eq!(outcome(&ended), Some(Outcome::Confirmed), "{nth}");
        must_use(&bed, &iccids[1]);
        succeeded(&bed.switch(&iccids[0], ProfileState::Enabled).await);
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_after_the_last_look_is_told_so() {
    let (mut bed, iccids) = bed(2).await;
    let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
    in_stage(&bed, &started, Stage::Verifying).await;
    let mut hold = bed
        .bench
        .modem
        .hold(Pattern::ANY, 1, Moment::BeforeExecution);
    hold.reached().await;
    let too_late = bed.client.decide(started.id, Verdict::Revert).await;
    assert_eq!(code(too_late), Code::NotAwaitingAnswer);
    hold.release();
    let ended = bed.ended(Ok(started)).await;
    assert_eq!(outcome(&ended), Some(Outcome::Confirmed));
    must_use(&bed, &iccids[1]);
    bed.must_be_sound().await;
}

/// The command after the one that enables the profile.
const AFTER_ENABLE: u32 = 4;

#[tokio::test(start_paused = true)]
async fn a_switch_is_shown_and_can_be_undone_from_the_moment_the_card_is_asked() {
    for is_killed in [false, true] {
        let (mut bed, iccids) = bed(2).await;
        let modem = bed.bench.modem.clone();
        let moment = Moment::BeforeExecution;
        let mut hold = modem.hold(Pattern::LAST_BLOCK, AFTER_ENABLE, moment);
        let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
        hold.reached().await;
        let now = bed.client.operation(started.id, 0).await.unwrap();
        let shown = now.switch.unwrap().profile.unwrap();
        assert_eq!(shown.to_string(), iccids[1]);
        must_use(&bed, &iccids[1]);
        let decided = bed.client.decide(started.id, Verdict::Revert).await;
        decided.unwrap();
        let begun = Instant::now();
        if is_killed {
            bed.kill().await;
        }
        hold.release();
        if is_killed {
            bed.resume().await;
        }
        let ended = bed.ended(bed.client.operation(started.id, 0).await).await;
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert_eq!(outcome(&ended), Some(Outcome::Reverted));
        assert_eq!(failed(&ended), [(iccids[1].clone(), Reason::Reverted)]);
        must_use(&bed, &iccids[0]);
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_apn_that_is_refused_is_named_even_if_the_modem_goes_on_searching() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&iccids[1]), network("apn=iot.example"));
    let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
    assert_eq!(failed(&switched), [(iccids[1].clone(), Reason::Apn)]);
    must_use(&bed, &iccids[0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_seen_on_the_way_back_is_not_claimed() {
    let (mut bed, iccids) = bed(2).await;
    bed.stop().await;
    let euicc = &mut bed.configuration().euiccs[0];
    // None of its modem's questions, so that it tells nothing.
    euicc.modem = modems::entry("registration = [\"AT+UNKNOWN?\"]");
    euicc.dialler.up = vec!["/nowhere/ppp-up".to_owned()];
    bed.resume().await;
    let started = switch_with_client(&bed, &iccids[1]).await;
    in_stage(&bed, &started, Stage::AwaitingConfirm).await;
    let decided = bed.client.decide(started.id, Verdict::Revert).await;
    decided.unwrap();
    let ended = bed.ended(Ok(started)).await;
    assert_eq!(outcome(&ended), Some(Outcome::Reverted));
    must_use(&bed, &iccids[0]);
    let said = problem(ended.clone()).detail;
    let now = format!("{} is in use again. ", iccids[0]);
    let warnings = [
        "The program up of the dialler, /nowhere/ppp-up, fails: ",
        "The modem does not tell whether it is registered.",
    ];
    for words in [&*now, warnings[0], warnings[1]] {
        assert!(said.contains(words), "{said}");
    }
    must_be_told_the_same_after_a_restart(&mut bed, &ended).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_way_back_goes_on_although_the_journal_cannot_be_written() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    // It uses another profile only after a reset.
    modem.set_quirks(|quirks| quirks.turn_on(Quirk::IgnoresRefresh));
    modem.set_network(Some(&iccids[1]), network("never"));
    let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
    in_stage(&bed, &started, Stage::Verifying).await;
    let state = bed.folder().join("state");
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "in the way").unwrap();
    // What cannot be kept is not promised.
    let refused = bed.client.decide(started.id, Verdict::Revert).await;
    assert_eq!(code(refused), Code::StateUnwritable);
    let ended = bed.ended(Ok(started)).await;
    assert_eq!(outcome(&ended), Some(Outcome::Reverted));
    let reason = Reason::NotRegistered;
    assert_eq!(failed(&ended), [(iccids[1].clone(), reason)]);
    must_use(&bed, &iccids[0]);
    fs::remove_file(&state).unwrap();
    must_be_told_the_same_after_a_restart(&mut bed, &ended).await;
    bed.must_be_sound().await;
}

/// The tag of ES10c.GetProfilesInfo.
const GET_PROFILES_INFO: u32 = 0xBF2D;

/// Wherever the card does not give its list of profiles twice, so that the older one cannot be gone on with.
#[tokio::test(start_paused = true)]
async fn a_job_that_comes_while_a_switch_is_open_waits_or_is_refused() {
    let mut is_refused = false;
    let pairs = (1..=3).flat_map(|first| (first + 1..=4).map(move |second| [first, second]));
    for calls in pairs {
        let (mut bed, iccids) = bed(3).await;
        let modem = bed.bench.modem.clone();
        modem.set_network(Some(&iccids[1]), network("never"));
        let older = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
        in_stage(&bed, &older, Stage::Verifying).await;
        let decided = bed.client.decide(older.id, Verdict::Revert).await;
        decided.unwrap();
        bed.kill().await;
        for call in calls {
            let refused = ForcedAnswer::Code(127);
            bed.bench.card.force(GET_PROFILES_INFO, call, refused);
        }
        bed.boot();
        let newer = bed.switch(&iccids[2], ProfileState::Enabled).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let older = bed.ended(bed.client.operation(older.id, 0).await).await;
        // Each changed the profile in use in its turn, or not at all.
        let expected = match newer.state {
            State::Succeeded => &iccids[2],
            _ => &iccids[0],
        };
        must_use(&bed, expected);
        let is_older = [Some(Outcome::Reverted), None].contains(&outcome(&older));
        assert!(is_older, "{calls:?} {older:?}");
        if let Some(said) = newer.problem.filter(|said| said.code == Code::Busy) {
            is_refused = true;
            assert_eq!(said.operation, Some(older.id));
        }
        bed.must_tell_the_truth().await;
    }
    assert!(is_refused);
}

#[tokio::test(start_paused = true)]
async fn a_switch_whose_modem_is_lost_goes_before_what_is_asked_for_when_it_is_back() {
    let (mut bed, iccids) = bed(3).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&iccids[1]), network("never"));
    let older = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
    in_stage(&bed, &older, Stage::Verifying).await;
    bed.bench.unplug();
    let lost = bed.ended(Ok(older)).await;
    let said = problem(lost.clone()).detail;
    assert!(said.contains("not known yet"), "{said}");
    assert!(!said.contains("installed"), "{said}");
    let meanwhile = bed.switch(&iccids[2], ProfileState::Enabled).await;
    assert_eq!(problem(meanwhile).code, Code::ModemUnavailable);
    bed.bench.plug_in();
    let newer = bed.switch(&iccids[2], ProfileState::Enabled).await;
    succeeded(&newer);
    let older = bed.ended(bed.client.operation(lost.id, 0).await).await;
    assert_eq!(outcome(&older), Some(Outcome::Reverted));
    assert!(older.finished_at_s <= newer.finished_at_s);
    must_use(&bed, &iccids[2]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_was_gone_back_from_is_not_begun_again_by_the_same_request() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&iccids[1]), network("never"));
    let path = format!("/v1/euiccs/{EUICC}/profiles/{}", iccids[1]);
    let key = ["Idempotency-Key: k1"];
    let body = r#"{"state":"enabled"}"#;
    let first = ask_with(&bed, "PATCH", &path, &key, body).await;
    let id: OperationId = first.json["id"].as_str().unwrap().parse().unwrap();
    let ended = bed.ended(bed.client.operation(id, 0).await).await;
    assert_eq!(outcome(&ended), Some(Outcome::Reverted));
    for _ in 0..2 {
        bed.kill().await;
        bed.resume().await;
        let again = ask_with(&bed, "PATCH", &path, &key, body).await;
        assert_eq!(again.json["id"], first.json["id"]);
        assert_eq!(again.json["state"], "failed");
    }
    must_use(&bed, &iccids[0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_test_profile_is_left_again_only_if_a_client_has_the_last_word() {
    let (mut bed, iccids) = bed(1).await;
    let mut profile = bed.profile();
    profile.metadata.class = ProfileClass::Test;
    let order = OrderRequest::with_matching_id(profile, "TEST");
    bed.bench.smdp.create_order(order);
    let installed = bed.download_id("TEST").await;
    let test = installed.result.unwrap().iccid.unwrap();
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&test), network("never"));
    let switched = bed.switch(&test, ProfileState::Enabled).await;
    succeeded(&switched);
    assert_eq!(outcome(&switched), Some(Outcome::Unverified));
    must_use(&bed, &test);
    succeeded(&bed.switch(&iccids[0], ProfileState::Enabled).await);
    let started = switch_with_client(&bed, &test).await;
    in_stage(&bed, &started, Stage::AwaitingConfirm).await;
    must_use(&bed, &test);
    let ended = bed.ended(Ok(started)).await;
    assert_eq!(outcome(&ended), Some(Outcome::Reverted));
    assert_eq!(failed(&ended), [(test, Reason::NotConfirmed)]);
    must_use(&bed, &iccids[0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn whenever_a_client_undoes_a_switch_it_is_undone_or_the_client_is_refused() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    let mut times = [0, 0];
    for nth in 1.. {
        let mut hold = modem.hold(Pattern::ANY, nth, Moment::BeforeAnswer);
        let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
        tokio::select! {
            biased;
            () = hold.reached() => {}
            _ = bed.ended(Ok(started.clone())) => break,
        }
        let decided = bed.client.decide(started.id, Verdict::Revert).await;
        hold.release();
        let ended = bed.ended(Ok(started)).await;
        let (expected, in_use) = match decided {
            Ok(_) => (Outcome::Reverted, 0),
            Err(_) => (Outcome::Confirmed, 1),
        };
        assert_eq!(outcome(&ended), Some(expected), "{nth}");
        must_use(&bed, &iccids[in_use]);
        times[in_use] += 1;
        succeeded(&bed.switch(&iccids[0], ProfileState::Enabled).await);
    }
    assert!(times.iter().all(|times| *times > 2), "{times:?}");
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_told_to_end_does_not_wait_for_the_network() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&iccids[1]), network("never"));
    for stage in [Stage::Verifying, Stage::AwaitingConfirm] {
        let started = switch_with_client(&bed, &iccids[1]).await;
        in_stage(&bed, &started, stage).await;
        // However often that is.
        for _ in 0..3 {
            let begun = Instant::now();
            bed.stop().await;
            assert!(begun.elapsed() < Duration::from_secs(5), "{stage:?}");
            bed.resume().await;
            // The next life looks anew, and asks the client again.
            in_stage(&bed, &started, stage).await;
        }
        bed.client
            .decide(started.id, Verdict::Revert)
            .await
            .unwrap();
        let ended = bed.ended(bed.client.operation(started.id, 0).await).await;
        assert_eq!(outcome(&ended), Some(Outcome::Reverted));
        must_use(&bed, &iccids[0]);
        modem.set_network(Some(&iccids[1]), Network::default());
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_is_silent_for_a_while_proves_nothing() {
    for seconds in [40, 90] {
        let (mut bed, iccids) = bed(2).await;
        let modem = bed.bench.modem.clone();
        modem.set_network(Some(&iccids[1]), network("never"));
        let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
        in_stage(&bed, &started, Stage::Verifying).await;
        modem.set_quirks(|quirks| quirks.turn_on(Quirk::Mute));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        modem.set_quirks(|quirks| quirks.turn_off(Quirk::Mute));
        let switched = bed.ended(Ok(started)).await;
        assert_eq!(outcome(&switched), Some(Outcome::Reverted), "{seconds} s");
        must_use(&bed, &iccids[0]);
        bed.must_be_sound().await;
    }
}

/// Whichever command it is, and before and after a restart.
#[tokio::test(start_paused = true)]
async fn a_profile_list_that_cannot_be_read_for_once_does_not_end_the_switch() {
    let unreadable = vec![0xBF, 0x2D, 0x03, 0x81, 0x01, 0x7F, 0x90, 0x00];
    for is_restarted in [false, true] {
        for nth in 1..=12 {
            let (mut bed, iccids) = bed(2).await;
            let modem = bed.bench.modem.clone();
            modem.set_network(Some(&iccids[1]), network("never"));
            let fault = Fault {
                pattern: Pattern::LAST_BLOCK,
                nth,
                effect: Effect::Instead {
                    response: unreadable.clone(),
                },
            };
            if !is_restarted {
                modem.inject(fault.clone());
            }
            let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
            if is_restarted {
                in_stage(&bed, &started, Stage::Verifying).await;
                bed.kill().await;
                modem.inject(fault);
                bed.resume().await;
            }
            tokio::time::sleep(Duration::from_secs(3600)).await;
            let ended = bed.client.operation(started.id, 0).await.unwrap();
            assert!(ended.state.is_final(), "{is_restarted} {nth} {ended:?}");
            let memory = bed.bench.card.memory();
            let is_used = memory
                .profiles
                .iter()
                .any(|one| one.enabled && one.iccid.to_string() == iccids[0]);
            assert!(is_used, "{is_restarted} {nth} {ended:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_is_away_for_long_after_a_restart_does_not_end_the_switch() {
    let (mut bed, iccids) = bed(2).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(Some(&iccids[1]), network("never"));
    let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
    in_stage(&bed, &started, Stage::Verifying).await;
    bed.kill().await;
    bed.resume().await;
    bed.bench.unplug();
    tokio::time::sleep(Duration::from_secs(200)).await;
    bed.bench.plug_in();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let ended = bed.ended(bed.client.operation(started.id, 0).await).await;
    assert_eq!(outcome(&ended), Some(Outcome::Reverted), "{ended:?}");
    must_use(&bed, &iccids[0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_impatient_with_the_new_profile_is_not_with_the_one_before() {
    let (mut bed, iccids) = bed(2).await;
    bed.bench
        .modem
        .set_network(None, network("registers-after=20s"));
    let change = ProfileChange {
        deadline_s: Some(1),
        ..ProfileChange::to(ProfileState::Enabled)
    };
    let started = bed.client.change_profile(EUICC, &iccids[1], &change).await;
    let switched = bed.ended(started).await;
    assert_eq!(outcome(&switched), Some(Outcome::Reverted));
    must_use(&bed, &iccids[0]);
    bed.must_be_sound().await;
}

/// Waits for an operation that no client asked for, and gives it when it has ended.
pub(crate) async fn by_itself(bed: &Bed, after: &Operation) -> Operation {
    let mut events = bed.client.events(Some(0)).await.unwrap();
    loop {
        let operations = bed.client.operations().await.unwrap();
        let newest = operations.into_iter().max_by_key(|one| one.id).unwrap();
        if newest.id > after.id {
            return bed.ended(Ok(newest)).await;
        }
        events.next().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_loses_its_service_soon_after_the_switch_is_left_again() {
    for is_restarted in [false, true] {
        let (mut bed, iccids) = bed(2).await;
        let modem = bed.bench.modem.clone();
        modem.set_network(Some(&iccids[1]), network("registers,loses-after=10m"));
        let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
        assert_eq!(outcome(&switched), Some(Outcome::Confirmed));
        let begun = Instant::now();
        if is_restarted {
            tokio::time::sleep(Duration::from_secs(300)).await;
            bed.kill().await;
            bed.resume().await;
        }
        let left = by_itself(&bed, &switched).await;
        let took = begun.elapsed().as_secs();
        assert!((1020..1200).contains(&took), "{took} s");
        assert_eq!(outcome(&left), Some(Outcome::Reverted));
        assert_eq!(failed(&left), [(iccids[1].clone(), Reason::NotRegistered)]);
        must_use(&bed, &iccids[0]);
        must_be_told_the_same_after_a_restart(&mut bed, &left).await;
        // It is not tried again by itself, and nothing is left of what is in service.
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        must_use(&bed, &iccids[0]);
        let operations = bed.client.operations().await.unwrap();
        assert_eq!(operations.iter().map(|one| one.id).max(), Some(left.id));
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_loss_a_late_one_and_one_of_a_profile_that_is_not_watched_change_nothing() {
    for (network_of_new, probation_s) in [
        ("registers,loses-after=10m,lost-for=5m", 1800),
        ("registers,loses-after=1h", 1800),
        ("registers,loses-after=10m", 0),
    ] {
        let (mut bed, iccids) = bed(2).await;
        bed.stop().await;
        bed.configuration().euiccs[0].switch.probation_s = probation_s;
        bed.resume().await;
        let modem = bed.bench.modem.clone();
        modem.set_network(Some(&iccids[1]), network(network_of_new));
        let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        must_use(&bed, &iccids[1]);
        let operations = bed.client.operations().await.unwrap();
        assert_eq!(
            operations.iter().map(|one| one.id).max(),
            Some(switched.id),
            "{network_of_new}"
        );
        modem.set_network(Some(&iccids[1]), Network::default());
        bed.must_be_sound().await;
    }
}

pub(crate) fn network(text: &str) -> Network {
    text.parse().unwrap()
}
