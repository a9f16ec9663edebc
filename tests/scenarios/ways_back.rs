//! Wherever a switch that has to be undone goes wrong, the profile in service is in use at the end.

use lpad::api::body::Operation;
use lpad::job::Outcome;
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState;
use lpad_tests::bed::{Bed, EUICC, succeeded};
use lpad_tests::bench::Bench;
use rsp_common::pki::{Pki, PkiOptions};
use sim_card_emulator::card::PowerCut;
use sim_card_emulator::modem::{Effect, Fault, Moment, Pattern};

use crate::switch::{must_use, network, outcome};

/// What goes wrong at one APDU, or AT line, of a switch that has to be undone.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    /// The daemon is killed.
    Kill(Moment),
    /// The daemon is killed at an AT line of any kind.
    KillAtLine,
    /// The modem restarts at an AT line of any kind.
    RestartAtLine,
    /// The card loses its power for a moment, and the modem with it.
    PowerCut(PowerCut),
    /// The answer never comes.
    Silence,
}

/// Lets it go wrong at the `nth` APDU; `false` when there are fewer.
async fn goes_wrong_at(pki: &Pki, mishap: Mishap, nth: u32) -> bool {
    // Only seen when the test fails.
    eprintln!("{mishap:?} at number {nth}");
    let mut bed = Bed::with(Bench::with_pki(pki.clone()), "never").await;
    bed.stop().await;
    let switch = &mut bed.configuration().euiccs[0].switch;
    (switch.deadline_s, switch.radio_restart_s) = (30, 0);
    bed.resume().await;
    let iccids = [bed.install().await, bed.install().await];
    succeeded(&bed.switch(&iccids[0], ProfileState::Enabled).await);
    let (card, modem) = (bed.bench.card.clone(), bed.bench.modem.clone());
    modem.set_network(Some(&iccids[1]), network("never"));
    let started = match mishap {
        Mishap::Kill(moment) => {
            let mut hold = modem.hold(Pattern::ANY, nth, moment);
            let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
            let ended = tokio::select! {
                biased;
                () = hold.reached() => None,
                ended = bed.ended(Ok(started.clone())) => Some(ended),
            };
            if let Some(ended) = ended {
                assert_eq!(outcome(&ended), Some(Outcome::Reverted));
                return false;
            }
            bed.kill().await;
            hold.release();
            bed.resume().await;
            started
        }
        Mishap::KillAtLine | Mishap::RestartAtLine => {
            let mut counters = modem.counters();
            let last = counters.borrow().commands + u64::from(nth);
            let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
            let ended = tokio::select! {
                biased;
                is_there = counters.wait_for(|so_far| so_far.commands >= last) => {
                    is_there.unwrap();
                    None
                }
                ended = bed.ended(Ok(started.clone())) => Some(ended),
            };
            if let Some(ended) = ended {
                assert_eq!(outcome(&ended), Some(Outcome::Reverted));
                return false;
            }
            match mishap {
                Mishap::RestartAtLine => modem.hang_up(),
                _ => {
                    bed.kill().await;
                    bed.resume().await;
                }
            }
            started
        }
        Mishap::PowerCut(when) => {
            card.cut_power(u64::from(nth), when);
            let mut counters = card.counters();
            let returns = tokio::spawn(async move {
                let is_cut = counters.wait_for(|so_far| so_far.power_cuts > 0).await;
                is_cut.unwrap();
                modem.hang_up();
            });
            let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
            let ended = bed.ended(Ok(started.clone())).await;
            if card.counters().borrow().power_cuts == 0 {
                assert_eq!(outcome(&ended), Some(Outcome::Reverted));
                returns.abort();
                return false;
            }
            returns.await.unwrap();
            started
        }
        Mishap::Silence => {
            modem.inject(Fault {
                pattern: Pattern::ANY,
                nth,
                effect: Effect::Silence { executed: true },
            });
            let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
            let ended = bed.ended(Ok(started.clone())).await;
            if modem.waiting_faults() > 0 {
                assert_eq!(outcome(&ended), Some(Outcome::Reverted));
                return false;
            }
            started
        }
    };
    bed.settle().await;
    let ended = bed.ended(bed.client.operation(started.id, 0).await).await;
    assert_eq!(ended.state, State::Failed, "{ended:?}");
    let is_told = match outcome(&ended) {
        Some(outcome) => outcome == Outcome::Reverted,
        // It had not begun.
        None => failed_before(&ended),
    };
    assert!(is_told, "{ended:?}");
    bed.settle().await;
    must_use(&bed, &iccids[0]);
    bed.must_tell_the_truth().await;
    assert_eq!(bed.bench.card.open_channels(), [0; 0]);
    true
}

fn failed_before(operation: &Operation) -> bool {
    operation
        .switch
        .as_ref()
        .is_none_or(|switch| switch.failed.is_empty())
}

async fn wherever_it_goes_wrong(mishaps: &[Mishap]) {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    for mishap in mishaps {
        let mut nth = 1;
        // Lines are many and much alike: a restart that falls on every third one will do.
        let step = if matches!(mishap, Mishap::RestartAtLine) {
            3
        } else {
            1
        };
        while goes_wrong_at(&pki, *mishap, nth).await {
            nth += step;
        }
        eprintln!("{mishap:?}: {nth} positions");
        assert!(nth > 20, "{mishap:?}: {nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn wherever_the_daemon_is_killed_the_profile_in_service_is_in_use_at_the_end() {
    let moments = [Moment::BeforeExecution, Moment::BeforeAnswer];
    wherever_it_goes_wrong(&moments.map(Mishap::Kill)).await;
}

#[tokio::test(start_paused = true)]
async fn at_whichever_line_the_daemon_is_killed_the_profile_in_service_is_in_use_at_the_end() {
    wherever_it_goes_wrong(&[Mishap::KillAtLine]).await;
}

#[tokio::test(start_paused = true)]
async fn at_whichever_line_the_modem_restarts_the_profile_in_service_is_in_use_at_the_end() {
    wherever_it_goes_wrong(&[Mishap::RestartAtLine]).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_power_is_lost_the_profile_in_service_is_in_use_at_the_end() {
    let moments = [PowerCut::BeforeExecution, PowerCut::AfterExecution];
    wherever_it_goes_wrong(&moments.map(Mishap::PowerCut)).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_an_answer_is_lost_the_profile_in_service_is_in_use_at_the_end() {
    wherever_it_goes_wrong(&[Mishap::Silence]).await;
}
