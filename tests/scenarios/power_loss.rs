//! The card loses its power in the middle of something, and the daemon lives on.

use std::time::Duration;

use lpad::operation::State;
use lpad_tests::{bed::Bed, bench::Bench};
use sim_card_emulator::{
    card::PowerCut,
    pki::{Pki, PkiOptions},
};
use tokio::time::sleep;

use crate::truth::{download_and_enable, must_be_true};

/// How the power returns.
#[derive(Clone, Copy, Debug)]
enum Return {
    /// With the modem, which had none either: its port goes away and comes back.
    WithModem,
    /// To the card alone.
    CardAlone,
}

/// Cuts the power at the `nth` APDU of a download; false when there are fewer.
async fn cut_at(pki: &Pki, nth: u64, when: PowerCut, how: Return) -> bool {
    eprintln!("cut at APDU {nth}, {when:?}, {how:?}");
    let mut bed = Bed::with(Bench::with_pki(pki.clone()), "never").await;
    let order = bed.order("M-1");
    let (card, modem) = (bed.bench.card.clone(), bed.bench.modem.clone());
    card.cut_power(nth, when);
    let mut counters = card.counters();
    let returns = tokio::spawn(async move {
        counters
            .wait_for(|so_far| so_far.power_cuts > 0)
            .await
            .unwrap();
        sleep(Duration::from_secs(3)).await;
        match how {
            Return::WithModem => modem.hang_up(),
            Return::CardAlone => card.reset(),
        }
    });
    let operation = bed.download_as(&download_and_enable("M-1")).await;
    if bed.bench.card.counters().borrow().power_cuts == 0 {
        assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
        return false;
    }
    returns.await.unwrap();
    bed.settle().await;
    bed.must_tell_the_truth().await;
    let operation = bed.client.operation(operation.id, 0).await.unwrap();
    must_be_true(&bed, &operation, order).await;
    bed.must_be_sound().await;
    true
}

async fn wherever_power_is_lost(how: Return) {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    for when in [PowerCut::BeforeExecution, PowerCut::AfterExecution] {
        let mut nth = 1;
        while cut_at(&pki, nth, when, how).await {
            nth += 1;
        }
        assert!(nth > 40, "{nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn wherever_the_card_loses_its_power_the_daemon_finds_out_what_happened() {
    wherever_power_is_lost(Return::CardAlone).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_the_modem_loses_its_power_the_daemon_finds_out_what_happened() {
    wherever_power_is_lost(Return::WithModem).await;
}
