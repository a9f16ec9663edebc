//! Certificates and signatures that do not fit: which side notices, and what is said.

use std::time::{Duration, SystemTime};

use lpad::memory::operations::State;
use lpad::problem::{Code, CodeConsumed, Problem};
use lpad_tests::bed::{Bed, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_common::certificate::Role;
use rsp_common::key::{Curve, PrivateKey};
use rsp_common::pki::{CertificateSpec, Pki, PkiOptions};
use rsp_servers::smdp::{Calls, Fault, Function, OrderState};

#[tokio::test(start_paused = true)]
async fn a_server_certified_by_an_unknown_issuer_is_not_talked_to() {
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
        problem.detail.contains("is valid from 20"),
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
        "The server signed the address \"other.example.com\", but smdp.example.com was called."
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    must_not_have_asked_the_card(&bed);
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    assert_eq!(bed.order_state(order), OrderState::Installed);
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
    succeeded(&operation);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_challenge_or_transaction_id_of_another_session_never_reaches_the_card() {
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
    assert_eq!(bed.order_state(order), OrderState::Released);
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_signing_key_the_card_does_not_have_is_refused_by_the_card() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let fault = Fault::UnknownSigningIssuer;
    let problem = spoilt(&bed, Function::InitiateAuthentication, fault).await;
    let card = problem.card.as_ref().unwrap();
    assert_eq!(card.function, "ES10b.AuthenticateServer");
    assert_eq!(card.result, Some(CI_PK_UNKNOWN));
    assert_eq!(
        problem.next_step,
        "Check that this eUICC and the SM-DP+ have a certificate issuer in common."
    );
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_signing_key_named_without_its_tag_is_understood() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let smdp = &bed.bench.smdp;
    let fault = Fault::BareSigningIssuer;
    smdp.set_fault(Function::InitiateAuthentication, Calls::NEXT, fault);
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

/// The daemon never touches these keys; TLS stays on NIST P-256.
#[tokio::test(start_paused = true)]
async fn a_profile_is_downloaded_below_a_brainpool_issuer() {
    for curves in [vec![Curve::Brainpool], vec![Curve::Brainpool, Curve::Nist]] {
        let options = PkiOptions {
            curves,
            ..PkiOptions::default()
        };
        let pki = Pki::generate(&options).unwrap();
        assert_eq!(pki.key(Role::Euicc).unwrap().curve(), Curve::Brainpool);
        assert_eq!(pki.key(Role::DpPb).unwrap().curve(), Curve::Brainpool);
        let mut bed = Bed::with(Bench::with_pki(pki), "never").await;
        let order = bed.order("M-1");
        assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
        assert_eq!(bed.order_state(order), OrderState::Installed);
        bed.must_be_sound().await;
    }
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
    assert_eq!(bed.order_state(order), OrderState::Released);
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

const OWNER: &str = "2.999.10";
const DAY: Duration = Duration::from_secs(24 * 3600);
const CHECK_TRUST: &str = "Check the address and this machine's clock; for a private issuer, see \
                           [trust] extra_roots.";

const REPORT: &str = "Report this message to the operator of the server; the fault is on its side.";

const AUTHENTICATE_SERVER: u32 = 0xBF38;

// Results of AuthenticateServer and PrepareDownload.
const INVALID_CERTIFICATE: i64 = 1;
const INVALID_SIGNATURE: i64 = 2;
const CI_PK_UNKNOWN: i64 = 7;

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
    Bench::with_pki(pki)
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
    assert_eq!(bed.order_state(order), OrderState::Installed);
    bed.must_be_sound().await;
    problem
}

/// Downloads M-1 with one fault.
pub(crate) async fn spoilt(bed: &Bed, function: Function, fault: Fault) -> Problem {
    bed.bench.smdp.set_fault(function, Calls::NEXT, fault);
    bed.fail("M-1").await
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
