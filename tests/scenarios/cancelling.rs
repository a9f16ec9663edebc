//! A cancel that was accepted is kept.

use std::time::Duration;

use lpad::api::euiccs::ResetRequest;
use lpad::job::OperationId;
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState;
use lpad::problem::{Code, CodeConsumed};
use lpad_tests::bed::{Bed, EUICC, accepting, set_state, succeeded};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::network::Reach;
use rsp_servers::smdp::{Calls, Fault, Function, OrderState};
use sim_card_emulator::modem::{Moment, Pattern};
use tokio::time::{Instant, sleep};

use crate::truth::Package;

const POSTPONED: i64 = 1;

/// MANAGE CHANNEL, which opens a channel.
const OPEN: Pattern = Pattern {
    ins: Some(0x70),
    p1: Some(0x00),
    p2: None,
};

/// What changes the card at one stroke.
#[derive(Clone, Copy, Debug)]
enum Change {
    Delete,
    Disable,
    Enable,
    Rename,
    Reset,
    SetDefaultSmdp,
}

impl Change {
    const ALL: [Self; 6] = [
        Self::Delete,
        Self::Disable,
        Self::Enable,
        Self::Rename,
        Self::Reset,
        Self::SetDefaultSmdp,
    ];

    async fn ask(self, bed: &Bed, enabled: &str, other: &str) -> OperationId {
        let client = &bed.client;
        let everything = ResetRequest {
            confirm: EUICC.to_owned(),
            operational_profiles: true,
            test_profiles: true,
            default_smdp: true,
        };
        let operation = match self {
            Self::Delete => client.delete(EUICC, other, true).await,
            Self::Disable => {
                let state = ProfileState::Disabled;
                set_state(client, enabled, state).await
            }
            Self::Enable => set_state(client, other, ProfileState::Enabled).await,
            Self::Rename => client.rename(EUICC, other, "Renamed").await,
            Self::Reset => client.reset(EUICC, &everything).await,
            Self::SetDefaultSmdp => client.set_default_smdp(EUICC, "new.example.com").await,
        };
        operation.unwrap().id
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_before_its_command_went_out_changes_nothing() {
    let mut bed = Bed::start().await;
    let enabled = bed.install().await;
    bed.switch(&enabled, ProfileState::Enabled).await;
    let other = bed.install().await;
    let before = on_the_card(&bed).await;
    for change in Change::ALL {
        let mut hold = bed.bench.modem.hold(OPEN, 1, Moment::BeforeExecution);
        let id = change.ask(&bed, &enabled, &other).await;
        hold.reached().await;
        let running = bed.client.operation(id, 0).await.unwrap();
        assert!(running.cancellable, "{change:?}");
        bed.client.cancel(id).await.unwrap();
        hold.release();
        let ended = bed.client.wait(id).await.unwrap();
        assert_eq!(ended.state, State::Cancelled, "{change:?}: {ended:?}");
        assert_eq!(ended.problem.unwrap().code, Code::Cancelled, "{change:?}");
        assert_eq!(on_the_card(&bed).await, before, "{change:?}");
        assert!(bed.bench.card.open_channels().is_empty(), "{change:?}");
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_changes_the_card_cannot_be_cancelled_any_more() {
    let mut bed = Bed::start().await;
    let other = bed.install().await;
    let last_block = Pattern::LAST_BLOCK;
    // The first one is GetEID, which every session begins with.
    let mut hold = bed.bench.modem.hold(last_block, 2, Moment::BeforeExecution);
    let id = Change::Delete.ask(&bed, "", &other).await;
    hold.reached().await;
    let running = bed.client.operation(id, 0).await.unwrap();
    assert!(!running.cancellable);
    assert!(bed.client.cancel(id).await.is_err());
    hold.release();
    succeeded(&bed.client.wait(id).await.unwrap());
    assert!(bed.bench.card.memory().profiles.is_empty());
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_ends_loads_the_package_to_its_end_even_over_a_slow_line() {
    let mut bed = Bed::start().await;
    let package = Package::of(&mut bed).await;
    let order = bed.order("M-1");
    let modem = bed.bench.modem.clone();
    let slow = package.middle()..=package.last;
    assert!(slow.clone().count() >= 4);
    let mut holds: Vec<_> = slow
        .take(4)
        .map(|nth| modem.hold(Pattern::LAST_BLOCK, nth, Moment::BeforeExecution))
        .collect();
    let id = download(&bed).await;
    holds[0].reached().await;
    let begun = Instant::now();
    let line = async {
        for mut hold in holds {
            hold.reached().await;
            sleep(Duration::from_secs(12)).await;
            hold.release();
        }
    };
    tokio::join!(bed.stop(), line);
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(45) && took < Duration::from_secs(60),
        "{took:?}"
    );

    bed.resume().await;
    succeeded(&bed.client.wait(id).await.unwrap());
    bed.bench
        .smdp
        .wait_until(|smdp| smdp.order(order).unwrap().state() == OrderState::Installed)
        .await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_download_is_cancelled_at_once_while_its_server_says_nothing() {
    use Function::{AuthenticateClient, GetBoundProfilePackage, InitiateAuthentication};
    for (function, told) in [
        (InitiateAuthentication, 0),
        (AuthenticateClient, 1),
        (GetBoundProfilePackage, 1),
    ] {
        let mut bed = Bed::start().await;
        let order = bed.order("M-1");
        let smdp = bed.bench.smdp.clone();
        smdp.set_fault(function, Calls::NEXT, Fault::Silence);
        let id = download(&bed).await;
        smdp.wait_until(|smdp| smdp.counters().requests(function) == 1)
            .await;
        must_end_at_once(&bed, id).await;
        let cancels = smdp.counters().requests(Function::CancelSession);
        assert_eq!(cancels, told, "{function:?}");
        assert!(
            smdp.cancellations()
                .iter()
                .all(|reason| *reason == POSTPONED)
        );
        assert!(!bed.order_state(order).is_closed(), "{function:?}");
        succeeded(&bed.download_id("M-1").await);
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_is_cancelled_at_once_while_its_server_is_not_reached() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let network = bed.bench.network();
    network.set_reach(HOST_NAME, Reach::Silent);
    let id = download(&bed).await;
    while network.calls().is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    must_end_at_once(&bed, id).await;
    network.set_reach(HOST_NAME, Reach::Open);
    succeeded(&bed.download_id("M-1").await);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_told_to_end_does_not_wait_for_a_silent_server() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let smdp = bed.bench.smdp.clone();
    let function = Function::GetBoundProfilePackage;
    smdp.set_fault(function, Calls::NEXT, Fault::Silence);
    download(&bed).await;
    smdp.wait_until(|smdp| smdp.counters().requests(function) == 1)
        .await;
    let told = Instant::now();
    bed.stop().await;
    assert!(
        told.elapsed() < Duration::from_secs(8),
        "{:?}",
        told.elapsed()
    );
    assert_eq!(smdp.cancellations(), [POSTPONED]);
    assert!(!bed.order_state(order).is_closed());
    bed.resume().await;
    succeeded(&bed.download_id("M-1").await);
    bed.must_be_sound().await;
}

async fn download(bed: &Bed) -> OperationId {
    let request = accepting(&format!("1${HOST_NAME}$M-1"));
    bed.client.download(EUICC, &request).await.unwrap().id
}

async fn must_end_at_once(bed: &Bed, id: OperationId) {
    let asked = Instant::now();
    bed.client.cancel(id).await.unwrap();
    let ended = bed.client.wait(id).await.unwrap();
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(ended.state, State::Cancelled, "{ended:?}");
    let problem = ended.problem.unwrap();
    assert_eq!(problem.code, Code::Cancelled);
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
}

/// Profiles and addresses, as the daemon reads them.
async fn on_the_card(bed: &Bed) -> String {
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    let addresses = bed.client.addresses(EUICC).await.unwrap();
    format!("{profiles:#?} {addresses:#?}")
}
