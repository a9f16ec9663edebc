//! The card loses its power in the middle of something, and the daemon lives on.

use std::time::Duration;

use lpad_tests::bed::succeeded;
use rsp_common::pki::{Pki, PkiOptions};
use sim_card_emulator::card::PowerCut;
use tokio::time::sleep;

use crate::truth::{Story, Task};

/// How the power returns.
#[derive(Clone, Copy, Debug)]
enum Return {
    /// With the modem, which had none either: its port goes away and comes back.
    WithModem,
    /// To the card alone.
    CardAlone,
}

/// Cuts the power at the `nth` APDU of what is done; false when there are fewer.
async fn cut_at(pki: &Pki, task: Task, nth: u64, when: PowerCut, how: Return) -> bool {
    // Only seen when the test fails.
    eprintln!("cut at APDU {nth}, {when:?}, {how:?}");
    let story = Story::prepare(pki, task).await;
    let (card, modem) = (story.bed.bench.card.clone(), story.bed.bench.modem.clone());
    card.cut_power(nth, when);
    let mut counters = card.counters();
    let returns = tokio::spawn(async move {
        let is_cut = counters.wait_for(|so_far| so_far.power_cuts > 0).await;
        is_cut.unwrap();
        sleep(Duration::from_secs(3)).await;
        match how {
            Return::WithModem => modem.hang_up(),
            Return::CardAlone => card.reset(),
        }
    });
    let operation = story.run().await;
    if story.bed.bench.card.counters().borrow().power_cuts == 0 {
        succeeded(&operation);
        returns.abort();
        return false;
    }
    returns.await.unwrap();
    story.bed.settle().await;
    // What was in doubt when the operation ended is known now.
    let operation = story.bed.client.operation(operation.id, 0).await.unwrap();
    story.must_end_well(Some(operation)).await;
    true
}

async fn wherever_power_is_lost(task: Task, how: Return, least: u64) {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    for when in [PowerCut::BeforeExecution, PowerCut::AfterExecution] {
        let mut nth = 1;
        while cut_at(&pki, task, nth, when, how).await {
            nth += 1;
        }
        assert!(nth > least, "{nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn wherever_in_a_download_the_card_loses_its_power_the_daemon_finds_out_what_happened() {
    wherever_power_is_lost(Task::Download, Return::CardAlone, 40).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_in_a_download_the_modem_loses_its_power_the_daemon_finds_out_what_happened() {
    wherever_power_is_lost(Task::Download, Return::WithModem, 40).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_in_a_switch_power_is_lost_the_daemon_finds_out_what_happened() {
    for how in [Return::CardAlone, Return::WithModem] {
        wherever_power_is_lost(Task::Switch, how, 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn wherever_in_a_deletion_power_is_lost_the_daemon_finds_out_what_happened() {
    for how in [Return::CardAlone, Return::WithModem] {
        wherever_power_is_lost(Task::Delete, how, 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn wherever_in_a_first_boot_power_is_lost_the_card_gets_its_first_profile_all_the_same() {
    wherever_power_is_lost(Task::FirstBoot, Return::CardAlone, 40).await;
}
