//! Downloads that end without a profile because server or card said no.

use std::collections::BTreeSet;
use std::time::Duration;

use lpad::api::downloads::DownloadRequest;
use lpad::job::Consent;
use lpad::memory::operations::State;
use lpad::problem::{Code, CodeConsumed, Problem};
use lpad_tests::bed::{Bed, EUICC, problem, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_common::pki::{Pki, PkiOptions};
use rsp_servers::smdp::{
    Calls, Config, Failure, Fault, Function, OrderRequest, OrderState, StatusCode,
};

#[tokio::test(start_paused = true)]
async fn an_unknown_matching_id_is_explained() {
    let mut bed = Bed::start().await;
    let problem = bed.fail("NOBODY-KNOWS").await;
    assert_eq!(problem.code, Code::MatchingIdRefused);
    assert_eq!(
        problem.title,
        "The SM-DP+ does not know this activation code, or the code is used up"
    );
    assert_eq!(
        problem.detail,
        "smdp.example.com refused authenticateClient: The server does not know this code, or the \
         code has been used (status code 8.2.6/3.8)."
    );
    assert_eq!(
        problem.next_step,
        "Check the activation code for mistakes, and whether it has been used already."
    );
    assert_status(&problem, "8.2.6", "3.8");
    assert_eq!(problem.code_consumed, Some(CodeConsumed::Unknown));
    assert!(!problem.retryable);
    // The server has ended the session itself.
    let counters = bed.bench.smdp.counters();
    assert_eq!(counters.requests(Function::AuthenticateClient), 1);
    assert_eq!(counters.requests(Function::CancelSession), 0);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_code_serves_once() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::MatchingIdRefused);
    assert_status(&problem, "8.2.6", "3.8");
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_for_another_device_is_told_from_an_unknown_one() {
    let mut bed = Bed::start().await;
    let order = OrderRequest {
        eid: Some("89049032123451234512345678901999".to_owned()),
        ..OrderRequest::with_matching_id(bed.profile(), "M-1")
    };
    bed.bench.smdp.create_order(order);
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::EidRefused);
    assert_eq!(problem.title, "The order is for another eUICC");
    assert_eq!(
        problem.next_step,
        "Use the device for which this order was made, or ask the operator to change it."
    );
    assert_status(&problem, "8.1.1", "3.8");
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_is_not_released_yet_is_worth_another_try() {
    let mut bed = Bed::start().await;
    let order = OrderRequest {
        released: false,
        ..OrderRequest::with_matching_id(bed.profile(), "M-1")
    };
    let order = bed.bench.smdp.create_order(order);
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::NotReleased);
    assert_status(&problem, "8.2", "1.2");
    assert!(problem.retryable);
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    bed.bench.smdp.release(order);
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn every_refusal_is_explained_and_ends_the_session_at_once() {
    use Function::{AuthenticateClient, GetBoundProfilePackage, InitiateAuthentication};
    let mut bed = Bed::start().await;
    let mut explanations = BTreeSet::new();
    for (function, status, code) in [
        (
            InitiateAuthentication,
            StatusCode::ADDRESS_REFUSED,
            Code::ServerRefused,
        ),
        (
            InitiateAuthentication,
            StatusCode::NO_SIGNING_ISSUER,
            Code::ServerRefused,
        ),
        (
            InitiateAuthentication,
            StatusCode::VERSION_UNSUPPORTED,
            Code::ServerRefused,
        ),
        (
            InitiateAuthentication,
            StatusCode::NO_VERIFICATION_ISSUER,
            Code::ServerRefused,
        ),
        (
            AuthenticateClient,
            StatusCode::EUM_CERTIFICATE_INVALID,
            Code::ServerRefused,
        ),
        (
            AuthenticateClient,
            StatusCode::EUM_CERTIFICATE_EXPIRED,
            Code::ServerRefused,
        ),
        (
            AuthenticateClient,
            StatusCode::EUICC_CERTIFICATE_INVALID,
            Code::ServerRefused,
        ),
        (
            AuthenticateClient,
            StatusCode::EUICC_CERTIFICATE_EXPIRED,
            Code::ServerRefused,
        ),
        (
            AuthenticateClient,
            StatusCode::EUICC_VERIFICATION_FAILED,
            Code::ServerRefused,
        ),
        (
            AuthenticateClient,
            StatusCode::UNKNOWN_ISSUER,
            Code::ServerRefused,
        ),
        (
            AuthenticateClient,
            StatusCode::NOT_ELIGIBLE,
            Code::ServerRefused,
        ),
        (
            AuthenticateClient,
            StatusCode::NOT_RELEASED,
            Code::NotReleased,
        ),
        (
            AuthenticateClient,
            StatusCode::MATCHING_ID_REFUSED,
            Code::MatchingIdRefused,
        ),
        (
            AuthenticateClient,
            StatusCode::EID_REFUSED,
            Code::EidRefused,
        ),
        (
            AuthenticateClient,
            StatusCode::INSUFFICIENT_MEMORY,
            Code::CardFull,
        ),
        (
            AuthenticateClient,
            StatusCode::ORDER_EXPIRED,
            Code::OrderClosed,
        ),
        (
            AuthenticateClient,
            StatusCode::DOWNLOAD_TRIES_EXCEEDED,
            Code::OrderClosed,
        ),
        (
            GetBoundProfilePackage,
            StatusCode::REBINDING_REFUSED,
            Code::OrderClosed,
        ),
        (
            GetBoundProfilePackage,
            StatusCode::CONFIRMATION_CODE_REFUSED,
            Code::ConfirmationCodeRefused,
        ),
        (
            GetBoundProfilePackage,
            StatusCode::CONFIRMATION_CODE_TRIES_EXCEEDED,
            Code::OrderClosed,
        ),
    ] {
        bed.order("M-1");
        let smdp = &bed.bench.smdp;
        smdp.set_fault(function, Calls::NEXT, Fault::Refuse(status));
        let problem = bed.fail("M-1").await;
        assert_eq!(problem.code, code, "{status}");
        let (subject, reason) = (status.subject.to_string(), status.reason.to_string());
        assert_status(&problem, &subject, &reason);
        assert!(!problem.next_step.is_empty());
        assert_eq!(problem.retryable, code == Code::NotReleased, "{status}");
        assert!(
            explanations.insert(problem.detail),
            "{status} is not told from another"
        );
    }
    assert_eq!(
        bed.bench.smdp.counters().requests(Function::CancelSession),
        0
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_order_is_over() {
    let mut bed = Bed::start().await;
    let order = OrderRequest {
        expires: Some(std::time::UNIX_EPOCH),
        ..OrderRequest::with_matching_id(bed.profile(), "M-1")
    };
    bed.bench.smdp.create_order(order);
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::OrderClosed);
    assert_status(&problem, "8.8.5", "4.10");
    assert_eq!(problem.code_consumed, Some(CodeConsumed::Yes));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_default_smdp_without_an_order_has_nothing_to_download() {
    let mut bed = Bed::start().await;
    let operation = bed.download_as(&by_default()).await;
    succeeded(&operation);
    assert!(operation.result.unwrap().nothing_to_download);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_boot_without_an_order_asks_now_and_then_and_calls_it_no_failure() {
    let mut bed = Bed::with(Bench::new(), "empty").await;
    let asked = |bed: &Bed| {
        let counters = bed.bench.smdp.counters();
        counters.requests(Function::InitiateAuthentication)
    };
    bed.bench.smdp.wait_until(|_| asked(&bed) == 1).await;
    let day = Duration::from_secs(24 * 3600);
    tokio::time::sleep(day).await;
    let first_day = asked(&bed);
    assert!((2..=40).contains(&first_day), "{first_day}");
    tokio::time::sleep(10 * day).await;
    let a_day = (asked(&bed) - first_day) / 10;
    assert!((2..=16).contains(&a_day), "{a_day}");
    for operation in bed.client.operations().await.unwrap() {
        assert_eq!(operation.state, State::Succeeded, "{operation:?}");
    }

    let order = OrderRequest::for_eid(bed.profile(), bed.bench.eid());
    let order = bed.bench.smdp.create_order(order);
    let operation = bed.download_as(&by_default()).await;
    succeeded(&operation);
    assert_eq!(bed.order_state(order), OrderState::Installed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_code_for_another_smdp_is_found_out_before_the_card_answers_this_one() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let problem = problem(bed.download("1$smdp.example.com$M-1$2.999.11").await);
    assert_eq!(problem.code, Code::ServerNotTrusted);
    assert_eq!(
        problem.detail,
        "The activation code names the SM-DP+ 2.999.11, its certificate says 2.999.10."
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    let counters = bed.bench.smdp.counters();
    assert_eq!(counters.requests(Function::InitiateAuthentication), 1);
    assert_eq!(counters.requests(Function::AuthenticateClient), 0);
    assert_eq!(
        bed.bench
            .card
            .counters()
            .borrow()
            .calls(AUTHENTICATE_SERVER),
        0
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_is_there_already_is_not_downloaded_again() {
    let mut bed = Bed::start().await;
    let profile = bed.profile();
    for matching_id in ["M-1", "M-2"] {
        let order = OrderRequest::with_matching_id(profile.clone(), matching_id);
        bed.bench.smdp.create_order(order);
    }
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    let problem = bed.fail("M-2").await;
    assert_eq!(problem.code, Code::ProfileInstalled);
    let iccid = &profile.metadata.iccid;
    assert_eq!(
        problem.detail,
        format!("The profile {iccid} is installed already.")
    );
    assert_eq!(
        problem.next_step,
        "List the profiles; nothing has to be downloaded."
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    let counters = bed.bench.smdp.counters();
    assert_eq!(counters.requests(Function::GetBoundProfilePackage), 1);
    assert_eq!(bed.bench.smdp.cancellations(), [POSTPONED]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_another_program_put_on_the_card_is_refused_by_the_card() {
    let mut bed = Bed::start().await;
    let profile = bed.profile();
    for matching_id in ["M-1", "M-2"] {
        let order = OrderRequest::with_matching_id(profile.clone(), matching_id);
        bed.bench.smdp.create_order(order);
    }
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    let hidden = bed.bench.card.memory().profiles;
    let iccid = profile.metadata.iccid.to_string();
    delete(&bed, &iccid).await;
    let mut memory = bed.bench.card.memory();
    memory.profiles = hidden;
    bed.bench.card.restore(memory);

    let problem = bed.fail("M-2").await;
    assert_eq!(problem.code, Code::ProfileInstalled);
    assert!(problem.detail.contains(&iccid), "{}", problem.detail);
    let card = problem.card.unwrap();
    assert_eq!(card.function, "ES10b.LoadBoundProfilePackage");
    assert_eq!(card.result, Some(ICCID_ALREADY_EXISTS));
    let failure = Failure::Installation(ICCID_ALREADY_EXISTS);
    assert_eq!(bed.bench.smdp.orders()[1].failure(), Some(failure));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_card_says_so_and_takes_the_profile_once_another_one_is_gone() {
    let mut bed = Bed::with(without_eligibility_check(), "never").await;
    let first = bed.install().await;
    let order = bed.order("M-1");
    bed.bench.card.configure(|settings| settings.memory = 5000);
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::CardFull);
    assert_eq!(problem.title, "The card does not have enough memory");
    assert_eq!(
        problem.next_step,
        "Delete a profile that is not needed and try again."
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    assert_eq!(problem.card.unwrap().result, Some(INSUFFICIENT_MEMORY));
    assert_eq!(bed.order_state(order), OrderState::Downloaded);
    delete(&bed, &first).await;
    let operation = bed.download_id("M-1").await;
    succeeded(&operation);
    assert_eq!(bed.order_state(order), OrderState::Installed);
    bed.bench
        .card
        .configure(|settings| settings.memory = 50_000);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_that_the_card_is_full_gets_the_same_advice() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    bed.bench.card.configure(|settings| settings.memory = 1000);
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::CardFull);
    assert_status(&problem, "8.1", "4.8");
    assert_eq!(
        problem.next_step,
        "Delete a profile that is no longer needed, then try again."
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    assert_eq!(bed.order_state(order), OrderState::Released);
    bed.bench
        .card
        .configure(|settings| settings.memory = 50_000);
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

const AUTHENTICATE_SERVER: u32 = 0xBF38;
const POSTPONED: i64 = 1;
const ICCID_ALREADY_EXISTS: i64 = 9;
const INSUFFICIENT_MEMORY: i64 = 10;

/// Checks subject and reason.
#[track_caller]
pub(crate) fn assert_status(problem: &Problem, subject: &str, reason: &str) {
    let status = problem.sgp22.as_ref().expect("the server gave a status");
    assert_eq!((&*status.subject, &*status.reason), (subject, reason));
}

pub(crate) fn by_default() -> DownloadRequest {
    DownloadRequest {
        default: true,
        consent: Consent::Accept,
        ..DownloadRequest::default()
    }
}

async fn delete(bed: &Bed, iccid: &str) {
    let ended = bed.ended(bed.client.delete(EUICC, iccid, true).await).await;
    succeeded(&ended);
}

/// A server that leaves it to the card to find out that there is no room.
fn without_eligibility_check() -> Bench {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    Bench::with_smdp(Config {
        check_eligibility: false,
        ..Config::new(HOST_NAME, pki)
    })
}
