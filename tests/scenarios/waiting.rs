//! What an operation waits for shows once that has lasted a while, and is gone when the answer came.

use lpad::api::body::{EventKind, Operation};
use lpad::client::EventReader;
use lpad::job::{OperationId, Waiting, WaitingOn};
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState;
use lpad_tests::bed::{Bed, EUICC, accepting, set_state};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::smdp::{Calls, Fault, Function};
use sim_card_emulator::modem::{Moment, Pattern, Quirk};

#[tokio::test(start_paused = true)]
async fn a_card_that_takes_its_time_is_what_is_waited_for_until_it_answers() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    // The first one is GetEID, which every session begins with.
    let moment = Moment::BeforeAnswer;
    let hold = bed.bench.modem.hold(Pattern::LAST_BLOCK, 2, moment);
    let mut waits = Waits::of(&bed).await;
    waits.follow(bed.client.delete(EUICC, &iccid, true).await.unwrap());
    let waiting = waits.next().await.unwrap();
    assert_eq!(waiting.on, WaitingOn::Card);
    assert!(seconds_from_now(&bed, waiting) <= 60, "{waiting:?}");
    hold.release();
    assert_eq!(waits.next().await, None);
    let ended = bed.client.wait(waits.id).await.unwrap();
    assert_eq!(ended.state, State::Succeeded, "{ended:?}");
    assert_eq!(ended.waiting, None);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_what_is_waited_for_until_the_download_ends() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let function = Function::GetBoundProfilePackage;
    bed.bench
        .smdp
        .set_fault(function, Calls::NEXT, Fault::Silence);
    let mut waits = Waits::of(&bed).await;
    let request = accepting(&format!("1${HOST_NAME}$M-1"));
    waits.follow(bed.client.download(EUICC, &request).await.unwrap());
    let waiting = waits.next().await.unwrap();
    assert_eq!(waiting.on, WaitingOn::Server);
    assert!(seconds_from_now(&bed, waiting) <= 120, "{waiting:?}");
    bed.client.cancel(waits.id).await.unwrap();
    assert_eq!(waits.next().await, None);
    let ended = bed.client.wait(waits.id).await.unwrap();
    assert_eq!((ended.state, ended.waiting), (State::Cancelled, None));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_does_not_follow_a_switch_is_what_is_waited_for() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    bed.bench
        .modem
        .set_quirks(|quirks| quirks.turn_on(Quirk::IgnoresRefresh));
    let mut waits = Waits::of(&bed).await;
    let enabled = ProfileState::Enabled;
    waits.follow(set_state(&bed.client, &iccid, enabled).await.unwrap());
    assert_eq!(waits.next().await.unwrap().on, WaitingOn::Modem);
    let ended = bed.client.wait(waits.id).await.unwrap();
    assert_eq!(
        (ended.state, ended.waiting),
        (State::Succeeded, None),
        "{:?}",
        ended.problem
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_at_once_is_not_shown_as_waited_for() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let mut waits = Waits::of(&bed).await;
    let request = accepting(&format!("1${HOST_NAME}$M-1"));
    waits.follow(bed.client.download(EUICC, &request).await.unwrap());
    assert_eq!(waits.next().await, None);
}

/// What an operation waits for, as its events tell.
struct Waits {
    events: EventReader,
    id: OperationId,
    last: Option<Waiting>,
}

impl Waits {
    async fn of(bed: &Bed) -> Self {
        Self {
            events: bed.client.events(None).await.unwrap(),
            id: OperationId(0),
            last: None,
        }
    }

    fn follow(&mut self, operation: Operation) {
        self.id = operation.id;
    }

    /// What it waits for next, or no longer; at its end nothing.
    async fn next(&mut self) -> Option<Waiting> {
        loop {
            let event = self.events.next().await.unwrap().unwrap();
            if event.kind != EventKind::Operation {
                continue;
            }
            let operation: Operation = serde_json::from_value(event.data).unwrap();
            if operation.id != self.id {
                continue;
            }
            if operation.waiting != self.last || operation.state.is_final() {
                self.last = operation.waiting;
                return operation.waiting;
            }
        }
    }
}

fn seconds_from_now(bed: &Bed, waiting: Waiting) -> u64 {
    let now = bed.clock().unix_seconds();
    waiting.until_s.checked_sub(now).unwrap()
}
