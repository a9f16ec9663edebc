//! The answer to one APDU is lost, whichever it is, and the daemon lives on.

use std::collections::BTreeSet;
use std::time::Duration;

use lpad::memory::snapshot::ProfileState;
use lpad_tests::bed::{Bed, EUICC, succeeded};
use rsp_common::pki::{Pki, PkiOptions};
use sim_card_emulator::modem::{Effect, Fault, Moment, Pattern};
use tokio::time::sleep;

use crate::truth::{Story, Task};

/// How the answer to a command that the card has executed is lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// The modem gives it after the client has given up.
    Late,
    /// The modem never gives it, and answers what comes next.
    Never,
    /// The modem restarts, and the card with it.
    ModemRestarts,
}

/// Loses the answer to the `nth` APDU of what is done; false when there are fewer.
async fn lose_at(pki: &Pki, task: Task, nth: u32, loss: Loss) -> bool {
    // Only seen when the test fails.
    eprintln!("the answer to APDU {nth} is lost: {loss:?}");
    let story = Story::prepare(pki, task).await;
    let modem = story.bed.bench.modem.clone();
    let effect = match loss {
        Loss::Late => {
            let mut hold = modem.hold(Pattern::ANY, nth, Moment::BeforeAnswer);
            tokio::spawn(async move {
                hold.reached().await;
                sleep(LATE).await;
                hold.release();
            });
            None
        }
        Loss::Never => Some(Effect::Silence { executed: true }),
        Loss::ModemRestarts => Some(Effect::HangUp { executed: true }),
    };
    if let Some(effect) = effect {
        modem.inject(Fault {
            pattern: Pattern::ANY,
            nth,
            effect,
        });
    }
    let operation = story.run().await;
    if modem.waiting_faults() > 0 {
        succeeded(&operation);
        return false;
    }
    // The modem answers again.
    sleep(LATE).await;
    story.bed.settle().await;
    if task == Task::FirstBoot {
        must_have_its_first_profile(&story.bed).await;
    }
    // What was in doubt when the operation ended is known now.
    let operation = story.bed.client.operation(operation.id, 0).await.unwrap();
    story.must_end_well(Some(operation)).await;
    true
}

/// Checks that the card has one profile, enabled, that each notification was delivered once, and
/// that no operation is under way.
async fn must_have_its_first_profile(bed: &Bed) {
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    let states: Vec<_> = profiles.iter().map(|profile| profile.state).collect();
    let operations = bed.client.operations().await.unwrap();
    assert_eq!(states, [ProfileState::Enabled], "{operations:?}");
    let delivered = bed.bench.smdp.notifications();
    let numbers = delivered.iter().map(|received| received.seq_number());
    assert_eq!(numbers.collect::<BTreeSet<_>>().len(), delivered.len());
    for operation in operations {
        assert!(operation.state.is_final(), "{operation:?}");
    }
}

async fn wherever_an_answer_is_lost(task: Task, loss: Loss, least: u32) {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    let mut nth = 1;
    while lose_at(&pki, task, nth, loss).await {
        nth += 1;
    }
    assert!(nth > least, "{nth}");
}

#[tokio::test(start_paused = true)]
async fn wherever_in_a_first_boot_an_answer_comes_late_the_card_gets_its_first_profile() {
    wherever_an_answer_is_lost(Task::FirstBoot, Loss::Late, 40).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_in_a_first_boot_an_answer_never_comes_the_card_gets_its_first_profile() {
    wherever_an_answer_is_lost(Task::FirstBoot, Loss::Never, 40).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_in_a_first_boot_the_modem_restarts_the_card_gets_its_first_profile() {
    wherever_an_answer_is_lost(Task::FirstBoot, Loss::ModemRestarts, 40).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_in_an_operation_an_answer_never_comes_the_daemon_finds_out_what_happened() {
    wherever_an_answer_is_lost(Task::Download, Loss::Never, 40).await;
    wherever_an_answer_is_lost(Task::Switch, Loss::Never, 10).await;
    wherever_an_answer_is_lost(Task::Delete, Loss::Never, 10).await;
}

/// Longer than any command is waited for.
const LATE: Duration = Duration::from_secs(600);
