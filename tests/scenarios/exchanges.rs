//! Whatever happens at an exchange with the SM-DP+, the truth is told afterwards.

use rsp_common::pki::{Pki, PkiOptions};
use rsp_servers::smdp::{Calls, Fault, Function};

use crate::crashes::newest;
use crate::truth::{Story, Task};

/// What happens while the server is waited for.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    /// Nothing else.
    Nothing,
    /// The daemon is killed, and starts again.
    Kill,
    /// The card was without power for a moment.
    CardReset,
    /// So was the modem.
    ModemReset,
}

/// The server does this at an exchange, and meanwhile something else happens.
async fn at(pki: &Pki, task: Task, function: Function, fault: &Fault, mishap: Mishap) {
    // Only seen when the test fails.
    eprintln!("{task:?}, {function:?}: {fault:?}, {mishap:?}");
    let mut story = Story::prepare(pki, task).await;
    let done = newest(&story.bed).await;
    let smdp = story.bed.bench.smdp.clone();
    let before = smdp.counters().requests(function);
    smdp.set_fault(function, Calls::NEXT, fault.clone());
    let is_asked = smdp.wait_until(|smdp| smdp.counters().requests(function) > before);
    let meanwhile = async {
        is_asked.await;
        match mishap {
            Mishap::Nothing | Mishap::Kill => {}
            Mishap::CardReset => story.bed.bench.card.reset(),
            Mishap::ModemReset => story.bed.bench.modem.hang_up(),
        }
    };
    if matches!(mishap, Mishap::Kill) {
        tokio::select! {
            biased;
            () = meanwhile => {}
            ended = story.run() => panic!("the exchange was never made: {ended:?}"),
        }
        story.bed.kill().await;
        smdp.clear_faults();
        story.bed.resume().await;
    } else {
        tokio::join!(meanwhile, story.run());
    }
    story.bed.settle().await;
    let operation = newest(&story.bed)
        .await
        .filter(|one| Some(one.id) > done.map(|one| one.id));
    story.must_end_well(operation).await;
}

async fn wherever_an_exchange_goes_wrong(task: Task) {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    let mut positions = 0;
    for function in [
        Function::InitiateAuthentication,
        Function::AuthenticateClient,
        Function::GetBoundProfilePackage,
        Function::HandleNotification,
    ] {
        for fault in [Fault::CloseConnection, Fault::LoseAnswer, Fault::Silence] {
            for mishap in [
                Mishap::Nothing,
                Mishap::Kill,
                Mishap::CardReset,
                Mishap::ModemReset,
            ] {
                at(&pki, task, function, &fault, mishap).await;
                positions += 1;
            }
        }
    }
    eprintln!("{positions} positions");
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_at_an_exchange_of_a_download_the_truth_is_told() {
    wherever_an_exchange_goes_wrong(Task::Download).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_at_an_exchange_of_a_first_boot_the_card_gets_its_first_profile() {
    wherever_an_exchange_goes_wrong(Task::FirstBoot).await;
}
