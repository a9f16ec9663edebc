//! Notifications that many, few or none can read, remove or take: each costs only itself.

use std::time::Duration;

use es10_apdu::apdu::StatusWord;
use lpad::api::body::Operation;
use lpad::memory::operations::State;
use lpad::memory::snapshot::Availability;
use lpad::memory::snapshot::ProfileState::{Disabled, Enabled};
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, set_state, succeeded};
use rsp_servers::network::Reach;
use rsp_servers::smdp::{Calls, Fault, Function, OrderRequest, Verdict};
use sim_card_emulator::euicc::{DamagedResult, Forced, ForcedAnswer};
use tokio::time::{Instant, sleep, timeout};

/// RemoveNotificationFromList.
const REMOVE: u32 = 0xBF30;
/// ListNotification.
const LIST: u32 = 0xBF28;
/// RetrieveNotificationsList.
const RETRIEVE: u32 = 0xBF2B;
const DEAD: &str = "dead.example.com";

#[tokio::test(start_paused = true)]
async fn any_number_of_notifications_may_wait_and_all_arrive_also_after_a_restart() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    refuse(&bed);
    for round in 0..60 {
        let state = if round % 2 == 0 { Enabled } else { Disabled };
        succeeded(&bed.switch(&iccid, state).await);
    }
    let octets = |bed: &Bed| -> usize {
        let waiting = bed.bench.card.memory().notifications;
        waiting.iter().map(|one| one.der.len()).sum()
    };
    assert!(octets(&bed) > 64 * 1024, "{}", octets(&bed));
    assert_eq!(bed.client.notifications(EUICC).await.unwrap().len(), 60);
    bed.stop().await;
    bed.resume().await;
    assert_eq!(bed.client.notifications(EUICC).await.unwrap().len(), 60);
    bed.bench.smdp.clear_faults();
    let delivered = bed.client.deliver_notifications(EUICC).await;
    let result = bed.ended(delivered).await.result.unwrap();
    assert_eq!(
        (result.notifications_delivered, result.notifications_pending),
        (60, 0)
    );
    in_order(&bed, 61);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_notification_the_card_does_not_remove_costs_only_itself() {
    let mut bed = Bed::start().await;
    let refused = ForcedAnswer::Code(127);
    bed.bench.card.force(REMOVE, 1, refused);
    let iccid = bed.install().await;
    // It is told in the list and in the status, and the eUICC is ready.
    let waiting = bed.client.notifications(EUICC).await.unwrap();
    let why = waiting[0].set_aside.as_deref().unwrap();
    assert!(why.contains("does not remove it"), "{why}");
    let euicc = bed.euicc_in(Availability::Ready).await;
    assert_eq!(euicc.notifications_set_aside, 1);
    // Other operations and notifications go on.
    let switched = bed.switch(&iccid, Enabled).await;
    succeeded(&switched);
    let result = switched.result.unwrap();
    assert_eq!(
        (result.notifications_delivered, result.notifications_pending),
        (1, 1)
    );
    // The next attempt removes it, and no server got it twice.
    bed.settle().await;
    in_order(&bed, 2);
    assert_eq!(
        bed.euicc_in(Availability::Ready)
            .await
            .notifications_set_aside,
        0
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_card_that_never_removes_anything_is_asked_less_and_less_often() {
    let mut bed = Bed::start().await;
    let forced = Forced {
        function: REMOVE,
        call: None,
        answer: ForcedAnswer::Code(127),
    };
    bed.bench.card.configure(|card| card.forced.push(forced));
    bed.install().await;
    sleep(Duration::from_secs(24 * 3600)).await;
    let tries = bed.bench.card.counters().borrow().calls(REMOVE);
    assert!((5..30).contains(&tries), "{tries} tries in a day");
    assert_eq!(bed.bench.smdp.notifications().len(), 1);
    bed.euicc_in(Availability::Ready).await;
    bed.bench.card.configure(|card| card.forced.clear());
    // A client that asks need not wait.
    let asked = Instant::now();
    let result = deliver(&bed).await.result.unwrap();
    assert_eq!(
        (result.notifications_delivered, result.notifications_pending),
        (1, 0)
    );
    assert!(asked.elapsed() < Duration::from_secs(5));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_card_that_does_not_give_its_notifications_is_ready_all_the_same() {
    for (function, answer) in [
        (LIST, ForcedAnswer::Status(StatusWord(0x6A80))),
        (LIST, ForcedAnswer::Status(StatusWord(0x6A88))),
        (RETRIEVE, ForcedAnswer::Status(StatusWord(0x6A80))),
        (RETRIEVE, ForcedAnswer::Status(StatusWord(0x6A88))),
        (RETRIEVE, ForcedAnswer::Code(127)),
    ] {
        let mut bed = Bed::start().await;
        let iccid = bed.install().await;
        refuse(&bed);
        succeeded(&bed.switch(&iccid, Enabled).await);
        bed.stop().await;
        bed.bench.smdp.clear_faults();
        let forced = Forced {
            function,
            call: None,
            answer,
        };
        bed.bench.card.configure(|card| card.forced.push(forced));
        bed.resume().await;
        let renamed = bed.client.rename(EUICC, &iccid, "Renamed").await;
        let renamed = bed.ended(renamed).await;
        let is_about_notifications = function == LIST;
        if !is_about_notifications {
            succeeded(&renamed);
        }
        bed.bench.card.configure(|card| card.forced.clear());
        bed.settle().await;
        in_order(&bed, 2);
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_lpad_cannot_read_is_shown_while_it_waits_and_forwarded_as_it_is() {
    let mut bed = Bed::start().await;
    let damaged = Some(DamagedResult::WithoutOutcome);
    bed.bench
        .card
        .configure(|card| card.damaged_result = damaged);
    refuse(&bed);
    bed.order("M-1");
    bed.download_id("M-1").await;
    let waiting = bed.client.notifications(EUICC).await.unwrap();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let stored = bed.bench.card.memory().notifications[0].der.clone();
    bed.bench.smdp.clear_faults();
    bed.settle().await;
    let received = bed.bench.smdp.notifications();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].verdict, Verdict::Unreadable);
    assert_eq!(received[0].bytes, stored);
}

#[tokio::test(start_paused = true)]
async fn a_profile_whose_result_is_damaged_is_installed_and_its_result_waits_and_is_forwarded() {
    for damaged in [DamagedResult::WithoutOutcome, DamagedResult::WrongSignature] {
        let mut bed = Bed::start().await;
        bed.bench
            .card
            .configure(|card| card.damaged_result = Some(damaged));
        refuse(&bed);
        bed.order("M-1");
        let operation = bed.download_id("M-1").await;
        succeeded(&operation);
        let result = operation.result.unwrap();
        assert_eq!(
            (result.notifications_delivered, result.notifications_pending),
            (0, 1),
            "{damaged:?}"
        );
        let profiles = bed.client.profiles(EUICC).await.unwrap();
        assert_eq!(result.iccid.as_ref(), Some(&profiles[0].iccid));
        let known = bed.client.known_notifications(EUICC).await.unwrap();
        assert_eq!(known.len(), 1, "{damaged:?}");
        assert_eq!(bed.client.notifications(EUICC).await.unwrap().len(), 1);
        let stored = bed.bench.card.memory().notifications[0].der.clone();
        bed.bench.smdp.clear_faults();
        bed.settle().await;
        assert_eq!(bed.bench.smdp.notifications()[0].bytes, stored);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_just_answered_is_given_what_waits_for_it() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    refuse(&bed);
    succeeded(&bed.switch(&iccid, Enabled).await);
    deliver(&bed).await;
    bed.bench.smdp.clear_faults();
    bed.order("M-2");
    let operation = bed.download_id("M-2").await;
    succeeded(&operation);
    let result = operation.result.unwrap();
    assert_eq!(
        (result.notifications_delivered, result.notifications_pending),
        (2, 0)
    );
    in_order(&bed, 3);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn one_server_written_in_two_ways_gets_its_notifications_in_order() {
    let mut bed = Bed::start().await;
    let mut iccids = Vec::new();
    for (number, address) in ["SMDP.Example.COM", "smdp.example.com"]
        .into_iter()
        .enumerate()
    {
        let mut profile = bed.profile();
        profile.metadata.notification_address = Some(address.into());
        let matching_id = format!("M-{number}");
        let order = OrderRequest::with_matching_id(profile, &matching_id);
        bed.bench.smdp.create_order(order);
        let operation = bed.download_id(&matching_id).await;
        succeeded(&operation);
        iccids.push(operation.result.unwrap().iccid.unwrap());
    }
    refuse(&bed);
    for iccid in [&iccids[0], &iccids[1], &iccids[0]] {
        succeeded(&bed.switch(iccid, Enabled).await);
    }
    bed.bench.smdp.clear_faults();
    assert_eq!(deliver(&bed).await.result.unwrap().notifications_pending, 0);
    in_order(&bed, 7);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_recipient_that_says_nothing_does_not_hold_up_an_operation() {
    let mut bed = Bed::start().await;
    let dead = profile_of_a_dead_server(&mut bed).await;
    let asked = Instant::now();
    let operation = bed.client.rename(EUICC, &dead, "Renamed").await;
    succeeded(&bed.ended(operation).await);
    assert!(asked.elapsed() < Duration::from_secs(10), "{asked:?}");
    let switched = set_state(&bed.client, &dead, Enabled).await;
    let asked = Instant::now();
    succeeded(&bed.ended(switched).await);
    // An operator may activate a profile only when it has heard of its installation: that is waited for.
    assert!(
        asked.elapsed() < Duration::from_secs(80),
        "{:?}",
        asked.elapsed()
    );
    assert!(bed.bench.card.open_channels().is_empty());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_recipient_that_says_nothing_can_be_cancelled() {
    let mut bed = Bed::start().await;
    profile_of_a_dead_server(&mut bed).await;
    let operation = bed.client.deliver_notifications(EUICC).await.unwrap();
    sleep(Duration::from_secs(8)).await;
    // Nothing holds the channel meanwhile.
    assert!(bed.bench.card.open_channels().is_empty());
    let asked = Instant::now();
    assert!(bed.client.cancel(operation.id).await.is_ok());
    let ended = bed.client.wait(operation.id).await.unwrap();
    assert_eq!(ended.state, State::Cancelled, "{ended:?}");
    assert_eq!(ended.problem.unwrap().code, Code::Cancelled);
    assert!(asked.elapsed() < Duration::from_secs(5));
}

/// Installs a profile whose notifications go to a server that never says anything.
async fn profile_of_a_dead_server(bed: &mut Bed) -> String {
    bed.bench.network().set_reach(DEAD, Reach::Silent);
    let mut profile = bed.profile();
    profile.metadata.notification_address = Some(DEAD.into());
    let order = OrderRequest::with_matching_id(profile, "DEAD");
    bed.bench.smdp.create_order(order);
    let operation = bed.download_id("DEAD").await;
    succeeded(&operation);
    let iccid = operation.result.unwrap().iccid.unwrap();
    let enabled = bed.switch(&iccid, Enabled).await;
    succeeded(&enabled);
    succeeded(&bed.switch(&iccid, Disabled).await);
    iccid
}

fn refuse(bed: &Bed) {
    let fault = Fault::HttpStatus(503);
    bed.bench
        .smdp
        .set_fault(Function::HandleNotification, Calls::Every, fault);
}

async fn deliver(bed: &Bed) -> Operation {
    let operation = bed.client.deliver_notifications(EUICC).await;
    let operation = timeout(Duration::from_secs(600), bed.ended(operation)).await;
    operation.unwrap()
}

/// Each of so many notifications was received once, the numbers rising.
#[track_caller]
fn in_order(bed: &Bed, count: i64) {
    let received = bed.bench.smdp.notifications();
    let numbers: Vec<_> = received
        .iter()
        .map(|one| one.seq_number().unwrap())
        .collect();
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
}
