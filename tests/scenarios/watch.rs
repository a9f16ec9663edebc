//! The service of the profile in use is watched: lpad looks for another one, and for the wanted one again,
//! and does not switch without end.

use std::time::Duration;

use lpad::api::body::Operation;
use lpad::config::WatchConfig;
use lpad::job::{Kind, Outcome, Reason, Stage};
use lpad::memory::alarm::AlarmCode;
use lpad::memory::service::{NextStep, ServiceState};
use lpad::memory::snapshot::ProfileState;
use lpad_tests::bed::{Bed, EUICC, next_alarm, succeeded};
use sim_card_emulator::modem::{Network, Quirk};
use tokio::time::{Instant, sleep};

use crate::switch::{bed, by_itself, failed, must_use, network, outcome};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The same, watched for ever; the first profile is the one that a client has confirmed.
async fn watched(profiles: usize, most: u32) -> (Bed, Vec<String>) {
    let (mut bed, iccids) = bed(profiles).await;
    bed.stop().await;
    let euicc = &mut bed.configuration().euiccs[0];
    euicc.switch.max_switches_per_day = most;
    euicc.watch = WatchConfig {
        enable: true,
        ..WatchConfig::default()
    };
    bed.resume().await;
    // The probation after the first switch.
    sleep(HOUR).await;
    (bed, iccids)
}

/// How many operations there were after this one.
async fn since(bed: &Bed, after: &Operation) -> usize {
    let operations = bed.client.operations().await.unwrap();
    operations.iter().filter(|one| one.id > after.id).count()
}

async fn last(bed: &Bed) -> Operation {
    let operations = bed.client.operations().await.unwrap();
    operations.into_iter().max_by_key(|one| one.id).unwrap()
}

async fn killed(bed: &mut Bed) {
    bed.kill().await;
    bed.resume().await;
}

/// Waits for an operation of lpad's own until it looks for service.
async fn verifies(bed: &Bed, after: &Operation) {
    loop {
        let newest = last(bed).await;
        if newest.id > after.id && newest.stage == Some(Stage::Verifying) {
            return;
        }
        sleep(Duration::from_secs(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_dead_rests_and_recovers_when_one_comes_back() {
    for is_restarted in [false, true] {
        let (mut bed, iccids) = bed(3).await;
        let modem = bed.bench.modem.clone();
        modem.set_network(None, network("never"));
        let stranded = bed.switch(&iccids[1], ProfileState::Enabled).await;
        assert_eq!(outcome(&stranded), Some(Outcome::Stranded));
        must_use(&bed, &iccids[0]);
        if is_restarted {
            killed(&mut bed).await;
        }
        let told = bed.client.service(EUICC).await.unwrap();
        assert_eq!(told.next_step, Some(NextStep::Round));
        let begun = Instant::now();
        let first = by_itself(&bed, &stranded).await;
        // 15 minutes at most, and the round.
        assert!(begun.elapsed() < 50 * MINUTE, "{:?}", begun.elapsed());
        assert_eq!((first.kind, first.by_itself), (Kind::Enable, true));
        assert_eq!(outcome(&first), Some(Outcome::Stranded));
        assert_eq!(failed(&first).len(), 3);
        must_use(&bed, &iccids[0]);
        if is_restarted {
            verifies(&bed, &first).await;
            killed(&mut bed).await;
        }
        let second = by_itself(&bed, &first).await;
        assert_eq!(outcome(&second), Some(Outcome::Stranded));
        must_use(&bed, &iccids[0]);
        modem.set_network(Some(&iccids[2]), Network::default());
        let third = by_itself(&bed, &second).await;
        assert_eq!(outcome(&third), Some(Outcome::Diverted));
        must_use(&bed, &iccids[2]);
        // Without [euicc.watch] it is not looked at any more.
        let told = bed.client.service(EUICC).await.unwrap();
        assert_eq!(told.state, ServiceState::NotWatched);
        assert_eq!(told.preferred, Some(iccids[0].parse().unwrap()));
        assert!(told.on_fallback);
        sleep(DAY).await;
        assert_eq!(since(&bed, &third).await, 0);
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_end_when_the_profile_in_use_is_in_service_again() {
    let (mut bed, iccids) = bed(3).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(None, network("never"));
    let stranded = bed.switch(&iccids[1], ProfileState::Enabled).await;
    let first = by_itself(&bed, &stranded).await;
    modem.set_network(None, Network::default());
    sleep(2 * MINUTE).await;
    killed(&mut bed).await;
    sleep(DAY).await;
    assert!(since(&bed, &first).await <= 1);
    must_use(&bed, &iccids[0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn rounds_keep_within_the_budget_and_clients_do_not_wait_for_it() {
    let (mut bed, iccids) = bed(3).await;
    bed.stop().await;
    bed.configuration().euiccs[0].switch.max_switches_per_day = 4;
    bed.resume().await;
    let modem = bed.bench.modem.clone();
    modem.set_network(None, network("never"));
    let stranded = bed.switch(&iccids[1], ProfileState::Enabled).await;
    sleep(2 * DAY).await;
    // Each round makes three switches: a full bucket, two days, and what the last one was begun with.
    let rounds = since(&bed, &stranded).await;
    assert!((2..=4).contains(&rounds), "{rounds}");
    modem.set_network(Some(&iccids[2]), Network::default());
    let switched = bed.switch(&iccids[2], ProfileState::Enabled).await;
    succeeded(&switched);
    modem.set_network(None, Network::default());
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn service_lost_at_night_leaves_for_the_fallback() {
    for is_restarted in [false, true] {
        let (mut bed, iccids) = watched(3, 12).await;
        bed.stop().await;
        let euicc = &mut bed.configuration().euiccs[0];
        euicc.fallback = vec![iccids[2].parse().unwrap()];
        euicc.watch.return_s = 0;
        bed.resume().await;
        let before = last(&bed).await;
        let modem = bed.bench.modem.clone();
        sleep(8 * HOUR).await;
        assert_eq!(since(&bed, &before).await, 0);
        let told = bed.client.service(EUICC).await.unwrap();
        assert_eq!(told.state, ServiceState::InService);
        assert_eq!((told.next_step, told.switches_left), (None, 12));
        let mut events = bed.client.events(None).await.unwrap();
        modem.set_network(Some(&iccids[0]), network("never"));
        let begun = Instant::now();
        if is_restarted {
            sleep(10 * MINUTE).await;
            killed(&mut bed).await;
            events = bed.client.events(None).await.unwrap();
        }
        for (after, step) in [(5, NextStep::RestartRadio), (26, NextStep::Leave)] {
            sleep(after * MINUTE).await;
            let told = bed.client.service(EUICC).await.unwrap();
            assert_eq!(told.state, ServiceState::Lost);
            assert_eq!(told.reason, Some(Reason::NotRegistered));
            assert_eq!(told.next_step, Some(step));
        }
        let left = by_itself(&bed, &before).await;
        let took = begun.elapsed().as_secs();
        let later = if is_restarted { 600 } else { 0 };
        // Half an hour, the restart of the radio, and the switch.
        assert!((2000..2200).contains(&(took - later)), "{took} s");
        assert!(left.by_itself);
        assert_eq!(outcome(&left), Some(Outcome::Diverted));
        assert_eq!(failed(&left), [(iccids[0].clone(), Reason::NotRegistered)]);
        for code in [AlarmCode::ServiceLost, AlarmCode::SwitchDiverted] {
            assert_eq!(next_alarm(&mut events).await.code, code);
        }
        must_use(&bed, &iccids[2]);
        sleep(DAY).await;
        assert_eq!(since(&bed, &left).await, 0);
        modem.set_network(None, Network::default());
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_radio_may_be_all_that_is_needed() {
    let (mut bed, iccids) = watched(2, 12).await;
    let before = last(&bed).await;
    bed.bench
        .modem
        .set_network(Some(&iccids[0]), network("rejects=8,until-restart"));
    sleep(DAY).await;
    assert_eq!(since(&bed, &before).await, 0);
    must_use(&bed, &iccids[0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn tunnel_is_no_loss() {
    let (mut bed, iccids) = watched(2, 12).await;
    let before = last(&bed).await;
    let modem = bed.bench.modem.clone();
    let tunnel = network("registers,loses-after=10m,lost-for=25m");
    modem.set_network(Some(&iccids[0]), tunnel);
    for _ in 0..4 {
        sleep(3 * HOUR).await;
        killed(&mut bed).await;
    }
    // A modem that sleeps says nothing.
    modem.set_network(Some(&iccids[0]), network("never"));
    sleep(10 * MINUTE).await;
    modem.set_quirks(|quirks| quirks.turn_on(Quirk::Mute));
    sleep(2 * HOUR).await;
    modem.set_network(Some(&iccids[0]), Network::default());
    modem.set_quirks(|quirks| quirks.turn_off(Quirk::Mute));
    sleep(HOUR).await;
    assert_eq!(since(&bed, &before).await, 0);
    must_use(&bed, &iccids[0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn flapping_stops_at_budget() {
    let (mut bed, _) = watched(2, 4).await;
    bed.stop().await;
    bed.configuration().euiccs[0].watch.return_s = 0;
    bed.resume().await;
    let before = last(&bed).await;
    let modem = bed.bench.modem.clone();
    modem.set_network(None, network("registers,loses-after=10m,lost-for=50m"));
    let begun = Instant::now();
    let mut newest = before.clone();
    for _ in 0..4 {
        newest = by_itself(&bed, &newest).await;
    }
    assert!(begun.elapsed() < 4 * HOUR, "{:?}", begun.elapsed());
    // One more every six hours, also past a restart.
    for _ in 0..4 {
        killed(&mut bed).await;
        sleep(6 * HOUR).await;
    }
    let more = since(&bed, &newest).await;
    assert!((3..=5).contains(&more), "{more}");
    modem.set_network(None, Network::default());
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn the_preferred_profile_is_used_again_once_it_is_in_service() {
    for is_restarted in [false, true] {
        let (mut bed, iccids) = watched(2, 12).await;
        let before = last(&bed).await;
        let modem = bed.bench.modem.clone();
        modem.set_network(Some(&iccids[0]), network("never"));
        let left = by_itself(&bed, &before).await;
        must_use(&bed, &iccids[1]);
        if is_restarted {
            killed(&mut bed).await;
        }
        sleep(MINUTE).await;
        let told = bed.client.service(EUICC).await.unwrap();
        assert!(told.on_fallback);
        assert_eq!(told.next_step, Some(NextStep::Return));
        let begun = Instant::now();
        let in_vain = by_itself(&bed, &left).await;
        assert!(begun.elapsed() < 5 * HOUR, "{:?}", begun.elapsed());
        assert!(in_vain.by_itself);
        assert_eq!(outcome(&in_vain), Some(Outcome::Reverted));
        must_use(&bed, &iccids[1]);
        modem.set_network(Some(&iccids[0]), Network::default());
        if is_restarted {
            killed(&mut bed).await;
        }
        let returned = by_itself(&bed, &in_vain).await;
        succeeded(&returned);
        assert_eq!(outcome(&returned), Some(Outcome::Confirmed));
        must_use(&bed, &iccids[0]);
        sleep(2 * DAY).await;
        assert_eq!(since(&bed, &returned).await, 0);
        bed.must_be_sound().await;
    }
}
