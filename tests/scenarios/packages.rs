//! Offers and packages that do not fit their session, or each other: which side notices, and
//! what is said.

use es10_apdu::es10b::FinalResult;
use es10_apdu::types::PprIds;
use lpad::problem::{Code, CodeConsumed};
use lpad_tests::bed::{Bed, EUICC, succeeded};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::profile::{
    Iccid, Metadata, NotificationEvent, PolicyRule, Profile, ProfileClass, ProfileOwner,
};
use rsp_servers::smdp::{
    Calls, Failure, Fault, Function, NamedText, OrderId, OrderRequest, ReservationRequest,
    ReservationStatus, Verdict,
};
use sim_card_emulator::euicc::any_operator;

use crate::certificates_in_use::spoilt;

#[tokio::test(start_paused = true)]
async fn a_session_name_that_changes_on_the_way_ends_the_session_for_its_own_reason() {
    let mut bed = Bed::start().await;
    for (function, fault, member, reason) in [
        (
            Function::AuthenticateClient,
            Fault::WrongTransactionId,
            "authenticateClient",
            UNDEFINED,
        ),
        (
            Function::AuthenticateClient,
            Fault::OtherSession,
            "smdpSigned2",
            UNDEFINED,
        ),
        (
            Function::GetBoundProfilePackage,
            Fault::WrongTransactionId,
            "getBoundProfilePackage",
            LOAD_BPP_ERROR,
        ),
        (
            Function::GetBoundProfilePackage,
            Fault::OtherSession,
            "boundProfilePackage",
            LOAD_BPP_ERROR,
        ),
    ] {
        let order = bed.order("M-1");
        let problem = spoilt(&bed, function, fault).await;
        assert_eq!(problem.code, Code::ServerGarbled);
        assert_eq!(
            problem.detail,
            format!("The server mixed up sessions: {member} has another transaction id.")
        );
        assert_eq!(problem.code_consumed, Some(CodeConsumed::Yes));
        assert_eq!(bed.bench.smdp.cancellations().last(), Some(&reason));
        assert_eq!(failure(&bed, order), Some(Failure::Cancelled(reason)));
    }
    must_not_have_loaded_anything(&bed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_be_read_is_named_and_the_card_hears_nothing_of_it() {
    use Function::{AuthenticateClient, GetBoundProfilePackage, InitiateAuthentication};
    const EMPTY_SEQUENCE: &str = "MAA=";
    let mut bed = Bed::start().await;
    let long = "00".repeat(17);
    for (function, member, text, reason) in [
        (InitiateAuthentication, "transactionId", "", None),
        (InitiateAuthentication, "transactionId", "ABC", None),
        (InitiateAuthentication, "transactionId", "XYZW", None),
        (InitiateAuthentication, "transactionId", &long, None),
        (InitiateAuthentication, "serverSigned1", "!", None),
        (
            InitiateAuthentication,
            "serverSigned1",
            EMPTY_SEQUENCE,
            None,
        ),
        (
            InitiateAuthentication,
            "serverSignature1",
            EMPTY_SEQUENCE,
            None,
        ),
        (InitiateAuthentication, "serverCertificate", "MA==", None),
        (
            AuthenticateClient,
            "profileMetadata",
            EMPTY_SEQUENCE,
            Some(UNDEFINED),
        ),
        (
            AuthenticateClient,
            "smdpSigned2",
            EMPTY_SEQUENCE,
            Some(UNDEFINED),
        ),
        (
            AuthenticateClient,
            "smdpSignature2",
            EMPTY_SEQUENCE,
            Some(UNDEFINED),
        ),
        (AuthenticateClient, "smdpSigned2", "!", Some(POSTPONED)),
        (
            GetBoundProfilePackage,
            "boundProfilePackage",
            "!",
            Some(POSTPONED),
        ),
        (
            GetBoundProfilePackage,
            "boundProfilePackage",
            EMPTY_SEQUENCE,
            Some(LOAD_BPP_ERROR),
        ),
    ] {
        let case = format!("{member} {text}");
        bed.order("M-1");
        let cancelled = bed.bench.smdp.cancellations().len();
        let fault = Fault::Member(NamedText::new(member, text));
        let problem = spoilt(&bed, function, fault).await;
        assert_eq!(problem.code, Code::ServerGarbled, "{case}");
        let says = |what: &str| problem.detail.contains(what);
        assert!(
            says(function.name()) || says(member) || says("package"),
            "{case}: {}",
            problem.detail
        );
        let cancelled = bed.bench.smdp.cancellations()[cancelled..].to_vec();
        assert_eq!(cancelled, Vec::from_iter(reason), "{case}");
    }
    let counters = bed.bench.card.counters().borrow().clone();
    assert_eq!(counters.calls(PREPARE_DOWNLOAD), 2);
    must_not_have_loaded_anything(&bed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_forged_piece_stops_the_loading_right_there_and_the_server_hears_of_it() {
    let mut bed = Bed::start().await;
    for (spoilt_piece, fault, reason) in [
        (Some(2), Fault::AlteredPiece(2), SECURITY_ERROR),
        (
            None,
            Fault::AlteredChannelSignature,
            INVALID_CHANNEL_SIGNATURE,
        ),
    ] {
        let reservation = bed.bench.smdp.reserve(ReservationRequest::default());
        let matching_id = released(&bed, &reservation.sid).await;
        let before = bed.bench.card.counters().borrow().calls(PIECE);
        let smdp = &bed.bench.smdp;
        smdp.set_fault(Function::GetBoundProfilePackage, Calls::NEXT, fault);
        let problem = bed.fail(&matching_id).await;
        assert_eq!(problem.code, Code::InstallationFailed);
        assert_eq!(problem.title, "The card could not install the profile");
        assert_eq!(
            problem.next_step,
            "Ask the operator for a new profile; the error was reported to the SM-DP+."
        );
        assert_eq!(problem.code_consumed, Some(CodeConsumed::Yes));
        let card = problem.card.unwrap();
        assert_eq!(card.function, "ES10b.LoadBoundProfilePackage");
        assert_eq!(card.result, Some(reason));
        let pieces = bed.bench.card.counters().borrow().calls(PIECE) - before;
        assert_eq!(pieces, spoilt_piece.unwrap_or(0));

        let received = bed.bench.smdp.notifications();
        let received = received.last().unwrap();
        assert_eq!(received.verdict, Verdict::Verified);
        match received.installation() {
            Some(FinalResult::ErrorResult(error)) => assert_eq!(error.error_reason.0, reason),
            other => panic!("{other:?}"),
        }
        let failed = bed.bench.smdp.reservation(&reservation.sid).unwrap();
        assert_eq!(failed.status, ReservationStatus::Failed);
        let failure = failure(&bed, reservation.order);
        assert_eq!(failure, Some(Failure::Installation(reason)));
        assert!(bed.client.profiles(EUICC).await.unwrap().is_empty());
    }
    assert!(bed.bench.smdp.cancellations().is_empty());
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_package_is_not_begun() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let problem = spoilt(&bed, Function::GetBoundProfilePackage, Fault::HalfPackage).await;
    assert_eq!(problem.code, Code::ServerGarbled);
    assert!(
        problem
            .detail
            .starts_with("The server's package cannot be installed: "),
        "{}",
        problem.detail
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::Yes));
    assert_eq!(bed.bench.smdp.cancellations(), [LOAD_BPP_ERROR]);
    assert_eq!(
        failure(&bed, order),
        Some(Failure::Cancelled(LOAD_BPP_ERROR))
    );
    must_not_have_loaded_anything(&bed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_package_for_another_profile_than_the_one_offered_is_not_begun() {
    let mut bed = Bed::start().await;
    let profile = owned_profile();
    type Change = fn(&mut Metadata);
    let changes: [(Change, &str); 4] = [
        (|offered| offered.iccid = Iccid::nth(999), "ICCID"),
        (
            |offered| offered.policy_rules = vec![PolicyRule::Ppr2],
            "policy rules",
        ),
        (|offered| offered.owner = Some(owner(0x20)), "operator"),
        (
            |offered| offered.class = ProfileClass::Test,
            "profile class",
        ),
    ];
    for (change, what) in changes {
        let order = OrderRequest::with_matching_id(profile.clone(), "M-1");
        let order = bed.bench.smdp.create_order(order);
        bed.bench
            .card
            .configure(|settings| settings.rat = vec![any_operator(PprIds::PPR2, false)]);
        let problem = spoilt(&bed, Function::AuthenticateClient, offer(&profile, change)).await;
        assert_eq!(problem.code, Code::ServerGarbled);
        assert_eq!(
            problem.detail,
            format!("The package differs from what was offered: {what}.")
        );
        assert_eq!(
            bed.bench.smdp.cancellations().last(),
            Some(&METADATA_MISMATCH)
        );
        let failure = failure(&bed, order);
        assert_eq!(failure, Some(Failure::Cancelled(METADATA_MISMATCH)));
    }
    bed.order("M-1");
    let other = Fault::OtherIccidOffered;
    let problem = spoilt(&bed, Function::AuthenticateClient, other).await;
    assert!(problem.detail.ends_with(": ICCID."), "{}", problem.detail);
    must_not_have_loaded_anything(&bed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn names_may_change_between_offer_and_package() {
    let mut bed = Bed::start().await;
    let profile = owned_profile();
    let order = OrderRequest::with_matching_id(profile.clone(), "M-1");
    bed.bench.smdp.create_order(order);
    let fault = offer(&profile, |offered| {
        offered.profile_name = "An older name".to_owned();
        offered.notification_events = vec![NotificationEvent::Enable];
    });
    let smdp = &bed.bench.smdp;
    smdp.set_fault(Function::AuthenticateClient, Calls::NEXT, fault);
    let operation = bed.download_id("M-1").await;
    succeeded(&operation);
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    assert_eq!(profiles[0].name, profile.metadata.profile_name);
    bed.must_be_sound().await;
}

// Reasons to cancel a session.
const POSTPONED: i64 = 1;
const METADATA_MISMATCH: i64 = 4;
const LOAD_BPP_ERROR: i64 = 5;
const UNDEFINED: i64 = 127;
// Reasons of a failed installation.
const INVALID_CHANNEL_SIGNATURE: i64 = 2;
const SECURITY_ERROR: i64 = 8;

const PREPARE_DOWNLOAD: u32 = 0xBF21;
const BOUND_PROFILE_PACKAGE: u32 = 0xBF36;
const PIECE: u32 = 0x86;

/// Waits until a reserved profile can be downloaded, and gives its matching ID.
async fn released(bed: &Bed, sid: &str) -> String {
    let smdp = &bed.bench.smdp;
    let status = || smdp.reservation(sid).unwrap().status;
    smdp.wait_until(|_| status() == ReservationStatus::Available)
        .await;
    let order = smdp.reservation(sid).unwrap().order;
    smdp.order(order).unwrap().matching_id().to_owned()
}

/// Offers other metadata than the package's.
fn offer(profile: &Profile, change: impl FnOnce(&mut Metadata)) -> Fault {
    let mut offered = profile.metadata.clone();
    change(&mut offered);
    Fault::Offer(offered.to_der(HOST_NAME))
}

fn owned_profile() -> Profile {
    let mut profile = Profile::builder(Iccid::nth(500)).size(3000).build();
    profile.metadata.owner = Some(owner(0x10));
    profile
}

fn owner(mnc: u8) -> ProfileOwner {
    ProfileOwner {
        mcc_mnc: [0x62, 0xF2, mnc],
        gid1: Vec::new(),
        gid2: Vec::new(),
    }
}

fn must_not_have_loaded_anything(bed: &Bed) {
    let counters = bed.bench.card.counters().borrow().clone();
    assert_eq!(counters.calls(BOUND_PROFILE_PACKAGE), 0);
    assert_eq!(counters.calls(PIECE), 0);
}

fn failure(bed: &Bed, order: OrderId) -> Option<Failure> {
    bed.bench.smdp.order(order).unwrap().failure()
}
