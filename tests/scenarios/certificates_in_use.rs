//! Certificates, signatures and packages that do not fit: who finds out, and what is said.

use std::time::{Duration, SystemTime};

use es10_apdu::{es10b::FinalResult, types::PprIds};
use lpad::api::problem::{Code, CodeConsumed, Problem};
use lpad::operation::State;
use lpad_tests::{
    bed::{Bed, EUICC},
    bench::{Bench, HOST_NAME},
    profile::{
        Iccid, Metadata, NotificationEvent, PolicyRule, Profile, ProfileClass, ProfileOwner,
    },
    smdp::{
        Calls, Config, Failure, Fault, Function, OrderId, OrderRequest, OrderState,
        ReservationRequest, ReservationStatus, Verdict,
    },
};
use sim_card_emulator::{
    certificate::Role,
    euicc::any_operator,
    key::PrivateKey,
    pki::{CertificateSpec, Pki, PkiOptions},
};

#[tokio::test(start_paused = true)]
async fn a_server_certified_by_somebody_unknown_is_not_talked_to() {
    let root = PrivateKey::generate().unwrap();
    let ci = CertificateSpec::ci(now()).self_sign(&root);
    let issuer = hex::encode_upper(ci.subject_key_identifier().unwrap());
    let mut bed = Bed::start().await;
    let key = PrivateKey::generate().unwrap();
    let shown = dp_tls().issue(&key.public_key(), &ci, &root);
    bed.bench.smdp.set_tls(&[shown], &key).unwrap();
    let problem = distrusted(&mut bed).await;
    assert_eq!(
        problem.detail,
        format!(
            "No secure connection to smdp.example.com: the certificate of smdp.example.com was \
             issued by an unknown key ({issuer})."
        )
    );
    assert_eq!(problem.next_step, CHECK_TRUST);
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_named_with_its_date_and_the_clock_s() {
    let mut bed = Bed::start().await;
    let spec = CertificateSpec {
        not_before: now() - 20 * DAY,
        not_after: now() - 10 * DAY,
        ..dp_tls()
    };
    show(&bed, &spec);
    let problem = distrusted(&mut bed).await;
    let start = "No secure connection to smdp.example.com: the certificate of smdp.example.com \
                 expired on 20";
    assert!(problem.detail.starts_with(start), "{}", problem.detail);
    assert!(
        problem.detail.contains("; the clock here says 20"),
        "{}",
        problem.detail
    );
    assert_eq!(problem.next_step, CHECK_TRUST);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_valid_yet_points_at_the_clock() {
    let mut bed = Bed::start().await;
    let spec = CertificateSpec {
        not_before: now() + DAY,
        ..dp_tls()
    };
    show(&bed, &spec);
    let problem = distrusted(&mut bed).await;
    assert!(
        problem.detail.contains("is good from 20"),
        "{}",
        problem.detail
    );
    assert_eq!(
        problem.next_step,
        "Set the gateway's clock, then try again."
    );
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_another_host_is_named_with_the_hosts_it_is_for() {
    let mut bed = Bed::start().await;
    let spec = CertificateSpec {
        dns_names: vec![
            "other.example.com".to_owned(),
            "third.example.com".to_owned(),
        ],
        ..dp_tls()
    };
    show(&bed, &spec);
    let problem = distrusted(&mut bed).await;
    assert_eq!(
        problem.detail,
        "No secure connection to smdp.example.com: the certificate is not for smdp.example.com \
         but for other.example.com, third.example.com."
    );
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_another_role_is_no_server_s() {
    let mut bed = Bed::start().await;
    let spec = CertificateSpec {
        policies: CertificateSpec::dp_auth(OWNER, now()).policies,
        ..dp_tls()
    };
    show(&bed, &spec);
    let problem = distrusted(&mut bed).await;
    assert!(
        problem
            .detail
            .contains("the certificate of smdp.example.com is not for this role"),
        "{}",
        problem.detail
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_signs_another_address_gets_no_answer_of_the_card() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let fault = Fault::ServerAddress("other.example.com".to_owned());
    let problem = spoilt(&bed, Function::InitiateAuthentication, fault).await;
    assert_eq!(problem.code, Code::ServerNotTrusted);
    assert_eq!(
        problem.detail,
        "The server signed the address \"other.example.com\", smdp.example.com was asked."
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    must_not_have_asked_the_card(&bed);
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    assert_eq!(state(&bed, order), OrderState::Installed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn the_case_of_an_address_does_not_matter() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let fault = Fault::ServerAddress("SMDP.Example.COM".to_owned());
    let smdp = &bed.bench.smdp;
    smdp.set_fault(Function::InitiateAuthentication, Calls::NEXT, fault);
    let operation = bed.download_id("M-1").await;
    assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_challenge_or_session_name_of_somebody_else_never_reaches_the_card() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    for (fault, code, detail) in [
        (
            Fault::EuiccChallenge,
            Code::ServerNotTrusted,
            "The server signed another challenge than the eUICC's.",
        ),
        (
            Fault::WrongTransactionId,
            Code::ServerGarbled,
            "The server mixed up sessions: serverSigned1 has another transaction id.",
        ),
    ] {
        let problem = spoilt(&bed, Function::InitiateAuthentication, fault).await;
        assert_eq!((problem.code, &*problem.detail), (code, detail));
        assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
        must_not_have_asked_the_card(&bed);
    }
    assert!(bed.bench.smdp.cancellations().is_empty());
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

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
async fn a_server_signature_the_card_refuses_is_reported_to_the_server_once() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let fault = Fault::AlteredServerSignature1;
    let problem = spoilt(&bed, Function::InitiateAuthentication, fault).await;
    assert_refused_server(&problem, INVALID_SIGNATURE);
    assert_eq!(
        problem.detail,
        "The eUICC refused the server: invalid signature (2)."
    );
    let counters = bed.bench.smdp.counters();
    assert_eq!(counters.requests(Function::AuthenticateClient), 1);
    assert_eq!(counters.requests(Function::CancelSession), 0);
    assert_eq!(state(&bed, order), OrderState::Released);
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_with_the_wrong_kind_of_certificate_is_refused_by_the_card() {
    for (spec, result) in [
        (CertificateSpec::dp_pb(OWNER, now()), &[1, 5][..]),
        (
            CertificateSpec {
                wrong_signature: true,
                ..CertificateSpec::dp_auth(OWNER, now())
            },
            &[1],
        ),
    ] {
        let bed = Bed::with(bench_with(Role::DpAuth, &spec), "never").await;
        let problem = bed.fail("M-1").await;
        let given = problem.card.as_ref().and_then(|card| card.result);
        let given = given.expect("the card refused");
        assert!(result.contains(&given), "{problem:?}");
        assert_refused_server(&problem, given);
        assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
        let counters = bed.bench.smdp.counters();
        assert_eq!(counters.requests(Function::AuthenticateClient), 1);
        assert_eq!(counters.requests(Function::CancelSession), 0);
        bed.settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_under_an_issuer_the_card_does_not_know_says_so_itself() {
    let root = PrivateKey::generate().unwrap();
    let ci = CertificateSpec::ci(now()).self_sign(&root);
    let mut pki = Pki::generate(&PkiOptions::default()).unwrap();
    let key = PrivateKey::generate().unwrap();
    let foreign = CertificateSpec::dp_auth(OWNER, now()).issue(&key.public_key(), &ci, &root);
    pki.insert(Role::DpAuth, foreign, Some(key));
    let bed = Bed::with(Bench::with_pki(pki), "never").await;
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::ServerRefused);
    let status = problem.sgp22.unwrap();
    assert_eq!((&*status.subject, &*status.reason), ("8.8.4", "3.7"));
    assert!(
        problem
            .detail
            .contains("The server has no certificate that this eUICC can check"),
        "{}",
        problem.detail
    );
    must_not_have_asked_the_card(&bed);
    bed.settle().await;
}

#[tokio::test(start_paused = true)]
async fn an_offer_the_card_refuses_is_reported_to_the_server_once() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let fault = Fault::AlteredSmdpSignature2;
    let problem = spoilt(&bed, Function::AuthenticateClient, fault).await;
    assert_eq!(problem.code, Code::ServerNotTrusted);
    assert_eq!(problem.next_step, REPORT);
    assert_eq!(
        problem.detail,
        "The eUICC refused to prepare the download: invalid signature (2)."
    );
    let card = problem.card.unwrap();
    assert_eq!(card.function, "ES10b.PrepareDownload");
    assert_eq!(card.result, Some(INVALID_SIGNATURE));
    let counters = bed.bench.smdp.counters();
    assert_eq!(counters.requests(Function::GetBoundProfilePackage), 1);
    assert_eq!(counters.requests(Function::CancelSession), 0);
    assert_eq!(state(&bed, order), OrderState::Released);
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_package_maker_of_another_operator_or_role_is_refused_by_the_card() {
    for spec in [
        CertificateSpec::dp_pb("2.999.11", now()),
        CertificateSpec::dp_auth(OWNER, now()),
    ] {
        let mut bed = Bed::with(bench_with(Role::DpPb, &spec), "never").await;
        bed.order("M-1");
        let problem = bed.fail("M-1").await;
        assert_eq!(
            problem.detail,
            "The eUICC refused to prepare the download: invalid certificate (1)."
        );
        assert_eq!(problem.card.unwrap().result, Some(INVALID_CERTIFICATE));
        let counters = bed.bench.smdp.counters();
        assert_eq!(counters.requests(Function::GetBoundProfilePackage), 1);
        assert_eq!(counters.requests(Function::CancelSession), 0);
        bed.settle().await;
    }
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
    assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    assert_eq!(profiles[0].name, profile.metadata.profile_name);
    bed.must_be_sound().await;
}

const OWNER: &str = "2.999.10";
const DAY: Duration = Duration::from_secs(24 * 3600);
const CHECK_TRUST: &str = "Check the address and this machine's clock; for a private issuer, see \
                           [trust] extra_roots.";

const REPORT: &str = "Report this message to the operator of the server; the fault is on its side.";

const AUTHENTICATE_SERVER: u32 = 0xBF38;
const BOUND_PROFILE_PACKAGE: u32 = 0xBF36;
const PIECE: u32 = 0x86;

// Results of AuthenticateServer and PrepareDownload.
const INVALID_CERTIFICATE: i64 = 1;
const INVALID_SIGNATURE: i64 = 2;
// Reasons to cancel a session.
const METADATA_MISMATCH: i64 = 4;
const LOAD_BPP_ERROR: i64 = 5;
const UNDEFINED: i64 = 127;
// Reasons of a failed installation.
const INVALID_CHANNEL_SIGNATURE: i64 = 2;
const SECURITY_ERROR: i64 = 8;

fn now() -> SystemTime {
    SystemTime::now()
}

fn dp_tls() -> CertificateSpec {
    CertificateSpec::dp_tls(&[HOST_NAME.to_owned()], OWNER, now())
}

/// Lets the server present a certificate of the right issuer.
fn show(bed: &Bed, spec: &CertificateSpec) {
    let pki = &bed.bench.pki;
    let (ci, ci_key) = (
        pki.certificate(Role::Ci).unwrap(),
        pki.key(Role::Ci).unwrap(),
    );
    let key = PrivateKey::generate().unwrap();
    let shown = spec.issue(&key.public_key(), ci, ci_key);
    bed.bench.smdp.set_tls(&[shown], &key).unwrap();
}

/// A bench whose server has this certificate in place of a right one.
fn bench_with(role: Role, spec: &CertificateSpec) -> Bench {
    let mut pki = Pki::generate(&PkiOptions::default()).unwrap();
    pki.issue(role, Role::Ci, spec).unwrap();
    Bench::with_smdp(Config::new(HOST_NAME, pki))
}

/// A download from a server whose TLS certificate is refused, and everything after it.
async fn distrusted(bed: &mut Bed) -> Problem {
    let order = bed.order("M-1");
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::ServerNotTrusted);
    assert_eq!(problem.title, "The SM-DP+ could not prove who it is");
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    assert!(!problem.retryable);
    let counters = bed.bench.smdp.counters();
    assert!(counters.connections > 0);
    for function in Function::ALL {
        assert_eq!(counters.requests(function), 0, "{}", function.name());
    }
    must_not_have_asked_the_card(bed);
    show(bed, &dp_tls());
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    assert_eq!(state(bed, order), OrderState::Installed);
    bed.must_be_sound().await;
    problem
}

/// Downloads M-1 with one fault.
async fn spoilt(bed: &Bed, function: Function, fault: Fault) -> Problem {
    bed.bench.smdp.set_fault(function, Calls::NEXT, fault);
    bed.fail("M-1").await
}

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

fn assert_refused_server(problem: &Problem, result: i64) {
    assert_eq!(problem.code, Code::ServerNotTrusted);
    let card = problem.card.as_ref().unwrap();
    assert_eq!(card.function, "ES10b.AuthenticateServer");
    assert_eq!(card.result, Some(result));
    assert_eq!(problem.next_step, REPORT);
}

fn must_not_have_asked_the_card(bed: &Bed) {
    assert_eq!(
        bed.bench
            .card
            .counters()
            .borrow()
            .calls(AUTHENTICATE_SERVER),
        0
    );
}

fn must_not_have_loaded_anything(bed: &Bed) {
    let counters = bed.bench.card.counters().borrow().clone();
    assert_eq!(counters.calls(BOUND_PROFILE_PACKAGE), 0);
    assert_eq!(counters.calls(PIECE), 0);
}

fn state(bed: &Bed, order: OrderId) -> OrderState {
    bed.bench.smdp.order(order).unwrap().state()
}

fn failure(bed: &Bed, order: OrderId) -> Option<Failure> {
    bed.bench.smdp.order(order).unwrap().failure()
}
