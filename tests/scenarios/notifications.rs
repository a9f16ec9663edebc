//! Notifications: each one arrives, in order, whatever becomes of the others.

use std::time::Duration;

use lpad::api::body::{Notification, Operation};
use lpad::client::ClientError;
use lpad::job::Kind;
use lpad::memory::alarm::AlarmCode;
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState::{Disabled, Enabled};
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, next_alarm, problem, set_state, succeeded};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::network::Reach;
use rsp_servers::smdp::{Calls, Fault, Function, OrderRequest, Verdict};
use sim_card_emulator::modem::{self, Effect, Pattern};
use tokio::time::{Instant, timeout};

use crate::truth::Package;

#[tokio::test(start_paused = true)]
async fn an_installation_is_reported_as_the_card_signed_it_and_then_forgotten() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let received = bed.bench.smdp.notifications();
    let [result] = &received[..] else {
        panic!("{received:?}");
    };
    assert_eq!(result.verdict, Verdict::Verified);
    assert_eq!(result.iccid(), Some(iccid));
    assert!(result.installation().is_some());
    assert!(bed.client.notifications(EUICC).await.unwrap().is_empty());
    assert!(bed.bench.card.memory().notifications.is_empty());
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_keeps_its_notifications_waiting_and_gets_them_later_in_order() {
    let mut bed = Bed::start().await;
    let first = bed.install().await;
    let second = bed.install().await;
    refuse(&bed, Calls::Every);
    let operation = bed.switch(&first, Enabled).await;
    succeeded(&operation);
    assert_eq!(operation.result.unwrap().notifications_pending, 1);
    succeeded(&bed.switch(&second, Enabled).await);
    succeeded(&bed.switch(&second, Disabled).await);
    let waiting = bed.client.notifications(EUICC).await.unwrap();
    assert_eq!(names(&waiting), ["enable", "disable", "enable", "disable"]);
    for notification in &waiting {
        assert_eq!(notification.address, HOST_NAME);
        assert!(notification.failed_attempts > 0);
        let error = notification.last_error.as_deref().unwrap();
        assert!(error.contains("503"), "{error}");
    }
    let before = bed.bench.smdp.notifications().len();
    bed.bench.smdp.clear_faults();
    // No client asks: the back-off finds the server well again.
    arrive(&bed, before + 4).await;
    in_order(&bed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_need_not_wait_for_the_next_attempt() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    refuse(&bed, Calls::Every);
    succeeded(&bed.switch(&iccid, Enabled).await);
    let failed = deliver(&bed).await;
    succeeded(&failed);
    let result = failed.result.unwrap();
    assert_eq!(
        (result.notifications_delivered, result.notifications_pending),
        (0, 1)
    );
    bed.bench.smdp.clear_faults();
    let asked = Instant::now();
    let result = deliver(&bed).await.result.unwrap();
    assert_eq!(
        (result.notifications_delivered, result.notifications_pending),
        (1, 0)
    );
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    let none = deliver(&bed).await.result.unwrap();
    assert_eq!(
        (none.notifications_delivered, none.notifications_pending),
        (0, 0)
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_one_is_sent_only_after_the_last_was_acknowledged() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    refuse(&bed, Calls::Every);
    for state in [Enabled, Disabled, Enabled] {
        succeeded(&bed.switch(&iccid, state).await);
    }
    bed.bench.smdp.clear_faults();
    let before = bed.bench.smdp.notifications().len();
    // The second of three is refused: the third must not overtake it.
    refuse(&bed, Calls::Nth(2));
    deliver(&bed).await;
    assert_eq!(bed.bench.smdp.notifications().len(), before + 1);
    arrive(&bed, before + 3).await;
    in_order(&bed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_recipient_keeps_no_other_one_waiting() {
    let mut bed = Bed::start().await;
    let dead = install_for(&mut bed, "dead.example.com").await;
    let living = bed.install().await;
    succeeded(&bed.switch(&dead, Enabled).await);
    let switched = bed.switch(&living, Enabled).await;
    succeeded(&switched);
    let result = switched.result.unwrap();
    assert_eq!(
        result.notifications_delivered, 1,
        "enable of the living one"
    );
    let waiting = bed.client.notifications(EUICC).await.unwrap();
    assert_eq!(names(&waiting), ["enable", "disable"]);
    for notification in &waiting {
        assert_eq!(notification.address, "dead.example.com");
        assert_eq!(notification.iccid.as_deref(), Some(&*dead));
        assert!(notification.last_error.is_some());
    }
    // A day later nothing has changed, and the dead one was not asked without end.
    let before = bed.bench.smdp.counters().connections;
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    let attempts = bed.bench.smdp.counters().connections - before;
    assert!(
        (10..100).contains(&attempts),
        "{attempts} attempts in a day"
    );
    assert_eq!(bed.client.notifications(EUICC).await.unwrap().len(), 2);
    assert!(bed.bench.card.open_channels().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_day_without_network_loses_none_of_fifty() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    refuse(&bed, Calls::Every);
    for round in 0..50 {
        let state = if round % 2 == 0 { Enabled } else { Disabled };
        succeeded(&bed.switch(&iccid, state).await);
    }
    assert_eq!(bed.client.notifications(EUICC).await.unwrap().len(), 50);
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    bed.bench.smdp.clear_faults();
    arrive(&bed, 51).await;
    in_order(&bed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_server_that_is_left_alone_is_not_read_again_and_again() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    refuse(&bed, Calls::Every);
    succeeded(&bed.switch(&iccid, Enabled).await);
    let contents_read = || bed.bench.card.counters().borrow().calls(0xBF2B);
    let before = contents_read();
    let operation = set_state(&bed.client, &iccid, Disabled).await.unwrap();
    let operation = bed.client.operation(operation.id, 5).await.unwrap();
    succeeded(&operation);
    assert_eq!(operation.result.unwrap().notifications_pending, 2);
    assert_eq!(contents_read(), before);
    bed.bench.smdp.clear_faults();
    arrive(&bed, 3).await;
    in_order(&bed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_waited_when_the_daemon_ended_is_delivered_at_its_next_start() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    refuse(&bed, Calls::Every);
    succeeded(&bed.switch(&iccid, Enabled).await);
    bed.stop().await;
    bed.bench.smdp.clear_faults();
    bed.resume().await;
    arrive(&bed, 2).await;
    in_order(&bed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_wants_no_notification_causes_only_that_of_its_installation() {
    let mut bed = Bed::start().await;
    let mut profile = bed.profile();
    profile.metadata.notification_events.clear();
    bed.bench
        .smdp
        .create_order(OrderRequest::with_matching_id(profile, "QUIET"));
    let operation = bed.download_id("QUIET").await;
    let iccid = operation.result.unwrap().iccid.unwrap();
    succeeded(&bed.switch(&iccid, Enabled).await);
    succeeded(&bed.switch(&iccid, Disabled).await);
    let deleted = bed
        .ended(bed.client.delete(EUICC, &iccid, true).await)
        .await;
    succeeded(&deleted);
    assert_eq!(deleted.result.unwrap().notifications_delivered, 0);
    assert_eq!(bed.bench.smdp.notifications().len(), 1);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_installation_is_reported_too() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let fault = Fault::AlteredPiece(1);
    bed.bench
        .smdp
        .set_fault(Function::GetBoundProfilePackage, Calls::NEXT, fault);
    let operation = bed.download_id("M-1").await;
    assert_eq!(operation.state, State::Failed);
    let received = bed.bench.smdp.notifications();
    let [result] = &received[..] else {
        panic!("{received:?}");
    };
    assert_eq!(result.verdict, Verdict::Verified);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_sm_dp_that_is_away_for_three_days_is_not_asked_without_end_and_gets_all_in_order() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let network = bed.bench.network();
    network.set_reach(HOST_NAME, Reach::NoRoute);
    for state in [Enabled, Disabled, Enabled, Disabled, Enabled] {
        succeeded(&bed.switch(&iccid, state).await);
    }
    let before = network.calls().len();
    for _ in 0..3 {
        tokio::time::sleep(DAY).await;
        // The power is out for a moment each day.
        bed.kill().await;
        bed.resume().await;
    }
    // Any time up to an hour apart, and sooner after each start.
    let attempts = network.calls().len() - before;
    eprintln!("{attempts} attempts in three days");
    assert!((72..300).contains(&attempts), "{attempts} attempts");
    assert_eq!(bed.client.notifications(EUICC).await.unwrap().len(), 5);
    network.set_reach(HOST_NAME, Reach::Open);
    arrive(&bed, 6).await;
    in_order(&bed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_comes_up_ends_the_wait_for_it() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let network = bed.bench.network();
    network.set_reach(HOST_NAME, Reach::NoRoute);
    succeeded(&bed.switch(&iccid, Enabled).await);
    tokio::time::sleep(DAY).await;
    network.set_reach(HOST_NAME, Reach::Open);
    let up = Instant::now();
    bed.network_comes_up();
    arrive(&bed, 2).await;
    assert!(up.elapsed() < Duration::from_secs(32), "{:?}", up.elapsed());
    // One that comes up when nothing waits for it does nothing.
    let calls = network.calls().len();
    bed.network_comes_up();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(network.calls().len(), calls);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_applet_leaves_on_the_card_is_found_within_a_day() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    refuse(&bed, Calls::Every);
    succeeded(&bed.switch(&iccid, Enabled).await);
    let memory = bed.bench.card.memory();
    bed.bench.smdp.clear_faults();
    arrive(&bed, 2).await;
    // As if the card had made it just now.
    bed.bench.card.restore(memory);
    let found = bed
        .bench
        .smdp
        .wait_until(|smdp| smdp.notifications().len() == 3);
    assert!(timeout(DAY + Duration::from_secs(60), found).await.is_ok());
    bed.settle().await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_stuck_for_a_day_is_told_once_a_day_also_after_a_restart() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    bed.bench.network().set_reach(HOST_NAME, Reach::NoRoute);
    succeeded(&bed.switch(&iccid, Enabled).await);
    succeeded(&bed.switch(&iccid, Disabled).await);
    let waiting = bed.client.notifications(EUICC).await.unwrap();
    let since = waiting[0].waiting_since_s.unwrap();
    // Half of the day before the power is out, half of it afterwards.
    tokio::time::sleep(DAY / 2).await;
    bed.kill().await;
    bed.resume().await;
    let mut events = bed.client.events(None).await.unwrap();
    tokio::time::sleep(DAY / 2 - Duration::from_secs(60)).await;
    let alarm = next_alarm(&mut events).await;
    assert_eq!(alarm.code, AlarmCode::NotificationsStuck);
    assert_eq!(alarm.euicc, EUICC);
    let day = since + DAY.as_secs();
    assert!((day..day + 7200).contains(&alarm.at_s), "{alarm:?}");
    let words = "2 of the card's notifications could not be delivered for a day or longer, number 2 for \
                 smdp.example.com: smdp.example.com cannot be reached";
    assert!(alarm.detail.starts_with(words), "{}", alarm.detail);
    let next = timeout(DAY - Duration::from_secs(60), next_alarm(&mut events));
    assert!(next.await.is_err(), "it is told once a day");
    next_alarm(&mut events).await;
    let after = bed.client.notifications(EUICC).await.unwrap();
    assert_eq!(after[0].waiting_since_s, Some(since));
    bed.bench.network().set_reach(HOST_NAME, Reach::Open);
    bed.network_comes_up();
    arrive(&bed, 3).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn one_notification_is_shown_delivered_in_its_turn_or_removed_by_force() {
    let mut bed = Bed::start().await;
    let dead = install_for(&mut bed, "dead.example.com").await;
    let living = bed.install().await;
    let refused = Reach::Refused;
    bed.bench.network().set_reach(HOST_NAME, refused);
    bed.bench.network().set_reach("dead.example.com", refused);
    for iccid in [&dead, &living, &dead] {
        succeeded(&bed.switch(iccid, Enabled).await);
    }
    let waiting = bed.client.notifications(EUICC).await.unwrap();
    let of = |address: &str| -> Vec<u64> {
        let waiting = waiting.iter().filter(|one| one.address == address);
        waiting.map(|one| one.sequence_number).collect()
    };
    let (to_living, to_dead) = (of(HOST_NAME), of("dead.example.com"));
    assert_eq!((to_living.len(), to_dead.len()), (2, 3), "{waiting:?}");
    let shown = bed.client.notification(EUICC, to_dead[0]).await.unwrap();
    assert!(waiting.contains(&shown));

    // Those before it to the same server go first.
    bed.bench.network().set_reach(HOST_NAME, Reach::Open);
    let delivered = bed.client.deliver_notification(EUICC, to_living[1]).await;
    let delivered = bed.ended(delivered).await;
    assert_eq!(delivered.result.unwrap().notifications_delivered, 2);

    let asked = bed.client.remove_notification(EUICC, to_dead[0], false);
    let refused = problem(bed.ended(asked.await).await);
    assert_eq!(refused.code, Code::NotificationUndelivered);
    for number in &to_dead {
        // Its answer is lost, after that of the EID; the card's list tells.
        bed.bench.modem.inject(modem::Fault {
            pattern: Pattern::LAST_BLOCK,
            nth: 2,
            effect: Effect::Silence { executed: true },
        });
        let removed = bed.client.remove_notification(EUICC, *number, true).await;
        let removed = bed.ended(removed).await;
        succeeded(&removed);
        assert_eq!(removed.kind, Kind::RemoveNotification);
    }
    assert!(bed.bench.card.memory().notifications.is_empty());
    let gone = bed.client.notification(EUICC, to_dead[0]).await;
    let ClientError::Problem(gone) = gone.unwrap_err() else {
        panic!("the daemon answers");
    };
    assert_eq!(gone.code, Code::UnknownNotification);
    let asked = bed.client.remove_notification(EUICC, to_dead[0], true);
    let unknown = problem(bed.ended(asked.await).await);
    assert_eq!(unknown.code, Code::UnknownNotification);
}

/// Installs a profile whose notifications go to this server.
async fn install_for(bed: &mut Bed, address: &str) -> String {
    let mut profile = bed.profile();
    profile.metadata.notification_address = Some(address.into());
    let order = OrderRequest::with_matching_id(profile, "OTHER");
    bed.bench.smdp.create_order(order);
    let operation = bed.download_id("OTHER").await;
    succeeded(&operation);
    operation.result.unwrap().iccid.unwrap()
}

fn refuse(bed: &Bed, calls: Calls) {
    let fault = Fault::HttpStatus(503);
    bed.bench
        .smdp
        .set_fault(Function::HandleNotification, calls, fault);
}

#[tokio::test(start_paused = true)]
async fn a_result_the_card_has_just_given_is_not_read_from_it_and_keeps_its_turn() {
    let mut bed = Bed::start().await;
    let readings = |bed: &Bed| bed.bench.card.counters().borrow().calls(RETRIEVE);
    bed.install().await;
    assert_eq!(readings(&bed), 0);
    let refused = Fault::HttpStatus(503);
    bed.bench
        .smdp
        .set_fault(Function::HandleNotification, Calls::Every, refused);
    bed.install().await;
    bed.bench.smdp.clear_faults();
    bed.install().await;
    // Only the one that had to wait was read, and it is delivered first.
    assert_eq!(readings(&bed), 1);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_is_lost_while_it_is_read_is_delivered_all_the_same() {
    for effect in [
        Effect::Silence { executed: false },
        Effect::Silence { executed: true },
        Effect::HangUp { executed: false },
    ] {
        let told = format!("{effect:?}");
        let mut bed = Bed::start().await;
        let package = Package::of(&mut bed).await;
        let refused = Fault::HttpStatus(503);
        bed.bench
            .smdp
            .set_fault(Function::HandleNotification, Calls::Every, refused);
        bed.install().await;
        bed.bench.smdp.clear_faults();
        bed.order("M-1");
        // After the package the notifications are listed, and the older one is read.
        bed.bench.modem.inject(modem::Fault {
            pattern: Pattern::LAST_BLOCK,
            nth: package.last + 2,
            effect,
        });
        let operation = bed.download_id("M-1").await;
        assert_eq!(operation.state, State::Succeeded, "{told} {operation:?}");
        let warnings = operation.result.unwrap().warnings;
        let words = "Notifications stay on the card for now: ES10b.Retrieve";
        assert!(warnings[0].starts_with(words), "{told} {warnings:?}");
        bed.must_be_sound().await;
    }
}

async fn deliver(bed: &Bed) -> Operation {
    bed.ended(bed.client.deliver_notifications(EUICC).await)
        .await
}

/// Waits until the server has so many, and the card none.
async fn arrive(bed: &Bed, count: usize) {
    let arrived = bed
        .bench
        .smdp
        .wait_until(|smdp| smdp.notifications().len() == count);
    let two_hours = Duration::from_secs(2 * 3600);
    if timeout(two_hours, arrived).await.is_err() {
        panic!(
            "{} of {count} arrived",
            bed.bench.smdp.notifications().len()
        );
    }
    bed.settle().await;
}

/// Numbers rise from the first to the last one received.
#[track_caller]
fn in_order(bed: &Bed) {
    let received = bed.bench.smdp.notifications();
    let numbers: Vec<_> = received
        .iter()
        .map(|one| one.seq_number().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
}

fn names(notifications: &[Notification]) -> Vec<&str> {
    notifications.iter().map(|one| one.event.as_str()).collect()
}

const DAY: Duration = Duration::from_secs(24 * 3600);
/// RetrieveNotificationsList.
const RETRIEVE: u32 = 0xBF2B;
