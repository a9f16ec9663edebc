//! Hiccups of card and modem on the way to a profile: the order survives all of them.

use std::ops::RangeInclusive;

use es10_apdu::apdu::StatusWord;
use es10_apdu::types::PprIds;
use lpad::problem::{Code, CodeConsumed};
use lpad_tests::bed::{Bed, EUICC, accepting, problem, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_common::pki::{Pki, PkiOptions};
use rsp_servers::profile::{Iccid, PolicyRule, Profile, ProfileOwner};
use rsp_servers::smdp::{OrderId, OrderRequest, OrderState};
use sim_card_emulator::euicc::{Forced, ForcedAnswer, any_operator};
use sim_card_emulator::modem::{Effect, Fault, Moment, Pattern};

const POSTPONED: i64 = 1;
const PREPARE_DOWNLOAD: u32 = 0xBF21;

/// The command of a download, counted by its last block, that authenticates the server.
const AUTHENTICATE_SERVER: u32 = 3;
/// The first segment: policy rules cost three commands before PrepareDownload.
const FIRST_SEGMENT: u32 = 8;

#[tokio::test(start_paused = true)]
async fn a_hiccup_before_the_package_is_loaded_costs_neither_download_nor_order() {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    for effect in [
        Effect::Error {
            cme: Some(14),
            executed: false,
        },
        Effect::Silence { executed: true },
        Effect::Truncate,
        Effect::Instead {
            response: vec![0x6F, 0x00],
        },
    ] {
        for nth in apdus(&pki).await {
            // Only seen when the test fails.
            eprintln!("{effect:?} at APDU {nth}");
            let (bed, order) = prepare(&pki).await;
            bed.bench.modem.inject(Fault {
                pattern: Pattern::ANY,
                nth,
                effect: effect.clone(),
            });
            let operation = bed.download_id("M-1").await;
            succeeded(&operation);
            assert_eq!(bed.order_state(order), OrderState::Installed);
            let kept = |reason: &i64| *reason == POSTPONED;
            assert!(bed.bench.smdp.cancellations().iter().all(kept));
            bed.settle().await;
            bed.must_tell_the_truth().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_card_that_goes_on_refusing_costs_no_order() {
    for (function, status) in [
        (PREPARE_DOWNLOAD, StatusWord::CONDITIONS_OF_USE),
        (0xBF38, StatusWord::CONDITIONS_OF_USE),
        (0xBF43, StatusWord::EXECUTION_ERROR),
        (0xBF36, StatusWord::CONDITIONS_OF_USE),
    ] {
        let pki = Pki::generate(&PkiOptions::default()).unwrap();
        let (mut bed, order) = prepare(&pki).await;
        bed.bench.card.configure(|card| {
            card.forced.push(Forced {
                function,
                call: None,
                answer: ForcedAnswer::Status(status),
            });
        });
        let problem = problem(bed.download_id("M-1").await);
        assert_eq!(problem.code, Code::CardRefused, "{function:X}: {problem:?}");
        assert_eq!(
            problem.code_consumed,
            Some(CodeConsumed::No),
            "{function:X}"
        );
        let kept = |reason: &i64| *reason == POSTPONED;
        assert!(bed.bench.smdp.cancellations().iter().all(kept));
        bed.bench.card.configure(|card| card.forced.clear());
        succeeded(&bed.download_id("M-1").await);
        assert_eq!(bed.order_state(order), OrderState::Installed);
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_is_not_asked_again_after_a_hiccup() {
    use lpad_tests::bed::asking;
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let answer = ForcedAnswer::Status(StatusWord::EXECUTION_ERROR);
    bed.bench.card.force(PREPARE_DOWNLOAD, 1, answer);
    let offered = bed.offered(&asking(&format!("1${HOST_NAME}$M-1"))).await;
    let operation = bed.answer(&offered, lpad::job::Decision::Accept, "").await;
    succeeded(&operation);
    assert_eq!(bed.bench.smdp.cancellations(), [POSTPONED]);
    assert_eq!(bed.order_state(order), OrderState::Installed);
    bed.must_be_sound().await;
}

/// The APDUs of a download from AuthenticateServer to the first segment.
async fn apdus(pki: &Pki) -> RangeInclusive<u32> {
    let (bed, _) = prepare(pki).await;
    let before = bed.bench.card.counters().borrow().apdus;
    let mut reached = Vec::new();
    for nth in [AUTHENTICATE_SERVER - 1, FIRST_SEGMENT] {
        let (modem, last_block) = (&bed.bench.modem, Pattern::LAST_BLOCK);
        reached.push(modem.hold(last_block, nth, Moment::BeforeAnswer));
    }
    let request = accepting(&format!("1${HOST_NAME}$M-1"));
    bed.client.download(EUICC, &request).await.unwrap();
    let mut positions = Vec::new();
    for mut hold in reached {
        hold.reached().await;
        let apdus = bed.bench.card.counters().borrow().apdus;
        positions.push(u32::try_from(apdus - before).unwrap());
        hold.release();
    }
    positions[0] + 1..=positions[1]
}

/// A daemon and an order for a profile whose policy rules are allowed without asking.
async fn prepare(pki: &Pki) -> (Bed, OrderId) {
    let bed = Bed::with(Bench::with_pki(pki.clone()), "never").await;
    let mut profile = Profile::builder(Iccid::nth(900)).size(3000).build();
    profile.metadata.policy_rules = vec![PolicyRule::Ppr2];
    profile.metadata.owner = Some(ProfileOwner {
        mcc_mnc: [0x62, 0xF2, 0x10],
        gid1: Vec::new(),
        gid2: Vec::new(),
    });
    let allowed = vec![any_operator(PprIds::PPR2, false)];
    bed.bench.card.configure(|card| card.rat = allowed);
    let order = OrderRequest::with_matching_id(profile, "M-1");
    let order = bed.bench.smdp.create_order(order);
    (bed, order)
}
