//! The card is changed while the daemon runs, or while it does not: work, records and readings of
//! one card are never another one's.

use std::time::Duration;

use lpad::api::euiccs::ResetRequest;
use lpad::memory::operations::State;
use lpad::memory::snapshot::Availability;
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, accepting, problem};
use lpad_tests::bench::{HOST_NAME, Line};
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::{Calls, Fault, Function, OrderRequest, OrderState};
use sim_card_emulator::card::Card;
use sim_card_emulator::euicc::{Forced, ForcedAnswer};
use sim_card_emulator::modem::{Moment, Pattern};
use tokio::time::sleep;

use crate::log::Log;
use crate::truth::Package;

const OTHER_EID: &str = "89049032123451234512345678909965";

/// DeleteProfile, eUICCMemoryReset, SetDefaultDpAddress, SetNickname.
const CHANGES: [u32; 4] = [0xBF33, 0xBF34, 0xBF3F, 0xBF29];
/// RemoveNotificationFromList.
const REMOVE: u32 = 0xBF30;

#[tokio::test(start_paused = true)]
async fn work_that_waits_for_one_card_is_not_done_on_another() {
    for moment in [Moment::BeforeExecution, Moment::BeforeAnswer] {
        let mut bed = Bed::start().await;
        let other = other_card(&mut bed).await;
        let iccid = bed.install().await;
        // The worst case: the other card has a profile of the same number.
        assert_eq!(iccids(&other), [iccid.as_str()]);

        let mut hold = bed.bench.modem.hold(Pattern::ANY, 1, moment);
        let renamed = bed.client.rename(EUICC, &iccid, "Uplink").await.unwrap();
        hold.reached().await;
        let everything = ResetRequest {
            confirm: EUICC.to_owned(),
            operational_profiles: true,
            test_profiles: true,
            default_smdp: true,
        };
        let waiting = [
            bed.client.delete(EUICC, &iccid, true).await.unwrap().id,
            bed.client.reset(EUICC, &everything).await.unwrap().id,
            bed.client
                .set_default_smdp(EUICC, HOST_NAME)
                .await
                .unwrap()
                .id,
        ];
        let first = bed.bench.change_card(other.clone());
        hold.release();
        let renamed = bed.client.wait(renamed.id).await.unwrap();
        assert_eq!(renamed.state, State::Failed, "{renamed:?}");
        for id in waiting {
            let problem = problem(bed.client.wait(id).await.unwrap());
            assert_eq!(problem.code, Code::OtherCard, "{problem:?}");
            let both = [OTHER_EID, &first.inspect(|card| card.eid().to_string())];
            assert!(both.iter().all(|eid| problem.detail.contains(eid)));
        }
        let counters = other.counters();
        for function in CHANGES {
            assert_eq!(counters.borrow().calls(function), 0, "{function:X}");
        }
        bed.euicc_when(EUICC, |euicc| euicc.eid.as_deref() == Some(OTHER_EID))
            .await;
        assert_eq!(told(&bed).await, [iccid.as_str()]);

        // Asked for again, it is done on this card.
        let deleted = bed
            .ended(bed.client.delete(EUICC, &iccid, true).await)
            .await;
        assert_eq!(deleted.state, State::Succeeded, "{deleted:?}");
        assert_eq!(iccids(&other), [""; 0]);
        assert_eq!(iccids(&first), [iccid]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_change_of_cards_holds_no_whole_eid() {
    let log = Log::capture();
    let mut bed = Bed::start().await;
    let other = other_card(&mut bed).await;
    let first = bed.bench.change_card(other);
    let delivered = bed.client.deliver_notifications(EUICC).await;
    assert_eq!(bed.ended(delivered).await.state, State::Failed);
    bed.euicc_when(EUICC, |euicc| euicc.eid.as_deref() == Some(OTHER_EID))
        .await;
    let log = log.text();
    let told = log
        .lines()
        .find(|line| line.contains("the card was changed"));
    let told = told.expect("it is logged");
    assert!(told.contains("8904…9965"), "{told}");
    let first = first.inspect(|card| card.eid().to_string());
    for eid in [&first, OTHER_EID] {
        // What the wire carried is another matter, at another level.
        let warned = log.lines().filter(|line| line.contains(" WARN "));
        assert!(!warned.collect::<String>().contains(eid), "{log}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reading_after_a_change_of_cards_tells_the_new_one_and_never_a_mixture() {
    let mut bed = Bed::start().await;
    let other = other_card(&mut bed).await;
    bed.install().await;
    let second = bed.install().await;
    bed.ended(bed.client.set_default_smdp(EUICC, HOST_NAME).await)
        .await;
    // What was read a moment ago is not read again.
    sleep(Duration::from_secs(3)).await;
    let first = bed.bench.change_card(other.clone());
    let euicc = bed.client.euicc(EUICC).await.unwrap();
    assert_eq!(euicc.eid.as_deref(), Some(OTHER_EID), "{euicc:?}");
    assert_eq!(euicc.state, Availability::Ready);
    assert_eq!(told(&bed).await, iccids(&other));
    let addresses = bed.client.addresses(EUICC).await.unwrap();
    assert_eq!(addresses.default_smdp, None);

    // The first of several parts that is asked for may be another one.
    sleep(Duration::from_secs(3)).await;
    bed.bench.change_card(first.clone());
    assert_eq!(told(&bed).await, iccids(&first));
    let addresses = bed.client.addresses(EUICC).await.unwrap();
    assert_eq!(addresses.default_smdp.as_deref(), Some(HOST_NAME));
    let deleted = bed
        .ended(bed.client.delete(EUICC, &second, true).await)
        .await;
    assert_eq!(deleted.state, State::Succeeded, "{deleted:?}");
}

#[tokio::test(start_paused = true)]
async fn ports_that_come_back_swapped_do_not_lose_an_installation_that_was_cut_off() {
    for enable in [false, true] {
        let mut bed = Bed::start().await;
        let package = Package::of(&mut bed).await;
        let card = bed.bench.card.clone();
        let eid = bed.bench.eid();
        let other = bed.bench.another_card(OTHER_EID);
        let (line, _) = Line::with_card(other.clone());
        bed.stop().await;
        bed.add_modem("right", line.clone());
        bed.resume().await;
        is_ready(&bed, "right", OTHER_EID).await;

        let order = bed.order("M-1");
        let modem = bed.bench.modem.clone();
        let mut hold = modem.hold(Pattern::LAST_BLOCK, package.last, Moment::BeforeAnswer);
        let request = lpad::api::downloads::DownloadRequest {
            enable,
            ..accepting(&format!("1${HOST_NAME}$M-1"))
        };
        let id = bed.client.download(EUICC, &request).await.unwrap().id;
        hold.reached().await;
        bed.kill().await;
        hold.release();
        bed.bench.line().change_card(other);
        line.change_card(card.clone());
        bed.resume().await;
        is_ready(&bed, EUICC, OTHER_EID).await;
        is_ready(&bed, "right", &eid).await;

        let operation = bed.client.wait(id).await.unwrap();
        assert_eq!(operation.state, State::Succeeded, "{operation:?}");
        let result = operation.result.unwrap();
        let iccid = result.iccid.unwrap();
        assert!(iccids(&card).contains(&iccid), "{iccid}");
        assert_eq!(result.enabled, Some(enable));
        assert_eq!(told(&bed).await, [""; 0]);
        bed.bench
            .smdp
            .wait_until(|smdp| smdp.order(order).unwrap().state() == OrderState::Installed)
            .await;
        for operation in bed.client.operations().await.unwrap() {
            let next_step = operation.problem.map(|problem| problem.next_step);
            assert!(!next_step.is_some_and(|step| step.contains("ownload again")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_card_has_delivered_is_not_removed_from_another() {
    let mut bed = Bed::start().await;
    let (first, other) = (bed.bench.card.clone(), bed.bench.another_card(OTHER_EID));
    // On the other card the notification with number 1 waits, and was not delivered.
    bed.bench.change_card(other.clone());
    is_ready_after_reading(&bed, OTHER_EID).await;
    let refused = Fault::HttpStatus(503);
    bed.bench
        .smdp
        .set_fault(Function::HandleNotification, Calls::Every, refused);
    bed.install().await;
    let undelivered = other.memory().notifications[0].clone();
    assert_eq!(undelivered.sequence_number, 1);

    // Number 1 of the first card is delivered, and cannot be removed.
    bed.bench.change_card(first.clone());
    sleep(Duration::from_secs(3)).await;
    bed.client.euicc(EUICC).await.unwrap();
    bed.bench.smdp.clear_faults();
    first.configure(|card| {
        card.forced.push(Forced {
            function: REMOVE,
            call: None,
            answer: ForcedAnswer::Code(127),
        });
    });
    bed.install().await;
    let delivered = first.memory().notifications[0].clone();
    assert_eq!(delivered.sequence_number, 1);
    let received = |bed: &Bed, der: &[u8]| {
        let received = bed.bench.smdp.notifications();
        received.iter().filter(|one| one.bytes == der).count()
    };
    assert_eq!(received(&bed, &delivered.der), 1);
    assert_eq!(received(&bed, &undelivered.der), 0);

    first.configure(|card| card.forced.clear());
    bed.bench.change_card(other);
    is_ready_after_reading(&bed, OTHER_EID).await;
    bed.settle().await;
    assert_eq!(received(&bed, &undelivered.der), 1);
    // Back in the slot, the first card gets rid of its own; it may be delivered once more.
    let eid = first.inspect(|card| card.eid().to_string());
    bed.bench.change_card(first);
    is_ready_after_reading(&bed, &eid).await;
    bed.settle().await;
}

/// A card that already has the first profile, with nothing left to be delivered.
async fn other_card(bed: &mut Bed) -> Card {
    let other = bed.bench.another_card(OTHER_EID);
    let first = bed.bench.change_card(other.clone());
    is_ready_after_reading(bed, OTHER_EID).await;
    let profile = Profile::builder(Iccid::nth(1))
        .name("Profile 1")
        .size(3000)
        .build();
    let order = OrderRequest::with_matching_id(profile, "OTHER");
    bed.bench.smdp.create_order(order);
    let operation = bed.download_id("OTHER").await;
    assert_eq!(operation.state, State::Succeeded, "{operation:?}");
    let eid = first.inspect(|card| card.eid().to_string());
    bed.bench.change_card(first);
    is_ready_after_reading(bed, &eid).await;
    other
}

async fn is_ready_after_reading(bed: &Bed, eid: &str) {
    sleep(Duration::from_secs(3)).await;
    bed.client.euicc(EUICC).await.unwrap();
    is_ready(bed, EUICC, eid).await;
}

async fn is_ready(bed: &Bed, name: &str, eid: &str) {
    bed.euicc_when(name, |euicc| {
        euicc.state == Availability::Ready && euicc.eid.as_deref() == Some(eid)
    })
    .await;
}

fn iccids(card: &Card) -> Vec<String> {
    let profiles = card.memory().profiles;
    profiles
        .iter()
        .map(|profile| profile.iccid.to_string())
        .collect()
}

/// The profiles as a client is told.
async fn told(bed: &Bed) -> Vec<String> {
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    profiles.into_iter().map(|profile| profile.iccid).collect()
}
