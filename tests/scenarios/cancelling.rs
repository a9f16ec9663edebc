//! A cancel that was accepted is kept.

use lpad::api::euiccs::ResetRequest;
use lpad::job::OperationId;
use lpad::memory::operations::{Operation, State};
use lpad::memory::snapshot::ProfileState;
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC};
use sim_card_emulator::modem::{Moment, Pattern};

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
            Self::Delete => client.delete(EUICC, other).await,
            Self::Disable => {
                let state = ProfileState::Disabled;
                client.set_state(EUICC, enabled, state).await
            }
            Self::Enable => client.set_state(EUICC, other, ProfileState::Enabled).await,
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
    let mut hold = bed.bench.modem.hold(last_block, 1, Moment::BeforeExecution);
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

/// Profiles and addresses, as the daemon reads them.
async fn on_the_card(bed: &Bed) -> String {
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    let addresses = bed.client.addresses(EUICC).await.unwrap();
    format!("{profiles:#?} {addresses:#?}")
}

#[track_caller]
fn succeeded(operation: &Operation) {
    assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
}
