//! Servers that fail, fall silent or talk nonsense, during a download and afterwards.

use std::time::Duration;

use lpad::{api::downloads::DownloadRequest, engine::Consent};
use lpad::{
    api::problem::{Code, CodeConsumed, Problem},
    operation::{Answer, Decision, Operation, State},
    snapshot::{Notification, ProfileState},
};
use lpad_tests::{
    bed::{Bed, EUICC, accepting, problem},
    bench::{Bench, HOST_NAME, Reach},
    profile::{Iccid, Profile},
    smdp::{Calls, Fault, Function, OrderRequest, OrderState},
};
use sim_card_emulator::pki::{Pki, PkiOptions};
use tokio::time::{Instant, sleep};

/// What a server can do wrong in the answer to any function of a download.
fn troubles() -> Vec<Trouble> {
    let html = "<!DOCTYPE html><title>Please log in</title>";
    vec![
        Trouble {
            detail: " with HTTP status 500.",
            ..failed(Fault::HttpStatus(500))
        },
        Trouble {
            detail: " with HTTP status 503.",
            ..failed(Fault::HttpStatus(503))
        },
        Trouble {
            detail: " with HTTP status 404.",
            cancelled: false,
            ..garbled(Fault::HttpStatus(404))
        },
        Trouble {
            detail: " with HTTP status 307, which points elsewhere and is not followed.",
            cancelled: false,
            ..garbled(Fault::Redirect("https://other.example.com/".to_owned()))
        },
        Trouble {
            code: Code::ServerUnreachable,
            detail: "smdp.example.com closed the connection before it answered.",
            ..failed(Fault::CloseConnection)
        },
        Trouble {
            code: Code::ServerUnreachable,
            detail: "smdp.example.com closed the connection before it answered.",
            ..failed(Fault::LoseAnswer)
        },
        Trouble {
            code: Code::ServerUnreachable,
            detail: "smdp.example.com closed the connection before it answered.",
            ..failed(Fault::TruncatedBody)
        },
        Trouble {
            code: Code::ServerTimeout,
            detail: "smdp.example.com did not answer within 120 s.",
            ..failed(Fault::Silence)
        },
        Trouble {
            detail: " with more than 4194304 bytes.",
            ..garbled(Fault::HugeBody(64 << 20))
        },
        Trouble {
            detail: "the answer is not JSON",
            ..garbled(Fault::Body(html.to_owned()))
        },
        Trouble {
            detail: "the answer has no body",
            ..garbled(Fault::Body(String::new()))
        },
        Trouble {
            detail: "the answer cannot be read",
            ..garbled(Fault::Body("{}".to_owned()))
        },
        Trouble {
            detail: "the answer cannot be read",
            ..garbled(Fault::Body(r#"{"transactionId":7}"#.to_owned()))
        },
    ]
}

#[tokio::test(start_paused = true)]
async fn no_trouble_before_the_session_stands_costs_the_order() {
    trouble_costs_no_order(Function::InitiateAuthentication).await;
}

#[tokio::test(start_paused = true)]
async fn no_trouble_before_the_offer_costs_the_order() {
    trouble_costs_no_order(Function::AuthenticateClient).await;
}

#[tokio::test(start_paused = true)]
async fn no_trouble_with_the_package_costs_the_order() {
    trouble_costs_no_order(Function::GetBoundProfilePackage).await;
}

async fn trouble_costs_no_order(function: Function) {
    let mut bed = Bed::start().await;
    for (number, trouble) in troubles().into_iter().enumerate() {
        let (matching_id, fault) = (format!("M-{number}"), trouble.fault.clone());
        let order = bed.order(&matching_id);
        let cancelled = bed.bench.smdp.cancellations().len();
        bed.bench.smdp.set_fault(function, Calls::NEXT, fault);
        let begun = Instant::now();
        let problem = bed.fail(&matching_id).await;

        trouble.must_be_told(&problem);
        assert_eq!(problem.code_consumed, Some(CodeConsumed::No), "{trouble:?}");
        if trouble.fault == Fault::Silence {
            assert!(begun.elapsed() >= Duration::from_secs(120));
        }
        let in_session = function != Function::InitiateAuthentication;
        let expected: &[i64] = match trouble.cancelled && in_session {
            true => &[POSTPONED],
            false => &[],
        };
        assert_eq!(
            bed.bench.smdp.cancellations()[cancelled..],
            *expected,
            "{trouble:?}"
        );
        assert!(bed.bench.card.open_channels().is_empty(), "{trouble:?}");

        let operation = bed.download_id(&matching_id).await;
        assert_eq!(
            operation.state,
            State::Succeeded,
            "{trouble:?}: {operation:?}"
        );
        let order = bed.bench.smdp.order(order).unwrap();
        assert_eq!(order.state(), OrderState::Installed);
    }
    let calls = bed.bench.network().calls();
    assert!(calls.iter().all(|(host, _)| host == HOST_NAME), "{calls:?}");
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_right_answer_under_a_wrong_content_type_is_taken() {
    let mut bed = Bed::start().await;
    for function in Function::ALL {
        let fault = Fault::ContentType("text/html".to_owned());
        bed.bench.smdp.set_fault(function, Calls::Every, fault);
    }
    bed.install().await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_out_of_reach_is_told_from_one_nobody_knows_and_one_that_is_silent() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    for (reach, detail) in [
        (
            Reach::Refused,
            "smdp.example.com cannot be reached: connection refused.",
        ),
        (
            Reach::Unknown,
            "The name smdp.example.com cannot be resolved: no such host is known.",
        ),
        (
            Reach::Silent,
            "smdp.example.com did not accept a secure connection within 30 s.",
        ),
    ] {
        bed.bench.network().set_reach(HOST_NAME, reach);
        let problem = bed.fail("M-1").await;
        assert_eq!(
            (problem.code, &*problem.detail),
            (Code::ServerUnreachable, detail)
        );
        assert_eq!(
            problem.next_step,
            "Check the gateway's network connection, its name server and the server's address."
        );
        assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
        assert!(problem.retryable);
        assert!(bed.bench.card.open_channels().is_empty());
    }
    assert_eq!(bed.bench.smdp.counters().connections, 0);
    bed.bench.network().set_reach(HOST_NAME, Reach::Open);
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_no_the_server_did_not_hear_is_told_with_what_kept_it() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let smdp = &bed.bench.smdp;
    let fault = Fault::HttpStatus(500);
    smdp.set_fault(Function::CancelSession, Calls::Every, fault);
    let request = DownloadRequest {
        consent: Consent::Ask,
        ..accepting("1$smdp.example.com$M-1")
    };
    let operation = bed.client.download(EUICC, &request).await.unwrap();
    bed.client.operation(operation.id, 30).await.unwrap();
    let answer = Answer {
        answer: Decision::Decline,
        confirmation_code: None,
    };
    bed.client.answer(operation.id, &answer).await.unwrap();
    let problem = problem(bed.client.wait(operation.id).await.unwrap());
    assert_eq!(problem.code, Code::Declined);
    assert!(
        problem.detail.ends_with(
            "; the server could not be told: smdp.example.com answered cancelSession with HTTP \
             status 500."
        ),
        "{}",
        problem.detail
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::Unknown));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_boot_outlasts_a_server_that_is_down() {
    let bench = Bench::new();
    let profile = Profile::builder(Iccid::nth(99)).build();
    let order = OrderRequest::for_eid(profile, bench.eid());
    let order = bench.smdp.create_order(order);
    for nth in 1..=3 {
        let fault = Fault::HttpStatus(503);
        let calls = Calls::Nth(nth);
        bench
            .smdp
            .set_fault(Function::InitiateAuthentication, calls, fault);
    }
    let mut bed = Bed::with(bench, "empty").await;
    let installed =
        |smdp: &lpad_tests::smdp::Smdp| smdp.order(order).unwrap().state() == OrderState::Installed;
    bed.bench.smdp.wait_until(installed).await;
    let counters = bed.bench.smdp.counters();
    assert_eq!(counters.requests(Function::InitiateAuthentication), 4);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_notification_the_server_does_not_take_stays_until_it_does() {
    let mut bed = Bed::start().await;
    for (fault, error) in [
        (Fault::HttpStatus(500), "HTTP status 500"),
        (Fault::HttpStatus(404), "HTTP status 404"),
        (Fault::CloseConnection, "closed the connection"),
        (Fault::LoseAnswer, "closed the connection"),
        (Fault::Silence, "did not answer within 30 s"),
        (Fault::HugeBody(64 << 20), "more than 4194304 bytes"),
        (
            Fault::Redirect("https://other.example.com/".to_owned()),
            "is not followed",
        ),
        (Fault::Body("<html>".to_owned()), "the answer is not JSON"),
        (Fault::Body(String::new()), "the answer has no body"),
        (
            Fault::Body("{}".to_owned()),
            "the answer has no functionExecutionStatus",
        ),
        (Fault::Body(REFUSED.to_owned()), "status code 8.8/4.2"),
    ] {
        let smdp = bed.bench.smdp.clone();
        smdp.set_fault(Function::HandleNotification, Calls::Every, fault.clone());
        let operation = install(&mut bed).await;
        let result = operation.result.unwrap();
        assert_eq!(result.notifications_delivered, 0, "{fault:?}");
        assert_eq!(result.notifications_pending, 1, "{fault:?}");
        let waiting = waiting(&bed).await;
        assert_eq!(waiting.len(), 1);
        assert!(waiting[0].failed_attempts > 0, "{waiting:?}");
        let said = waiting[0].last_error.clone().unwrap();
        assert!(said.contains(error), "{fault:?}: {said}");

        smdp.clear_faults();
        bed.settle().await;
        assert_eq!(
            smdp.order(smdp.orders().last().unwrap().id())
                .unwrap()
                .state(),
            OrderState::Installed
        );
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_success_in_words_counts_as_an_acknowledgement() {
    let mut bed = Bed::start().await;
    let fault = Fault::Body(EXECUTED.to_owned());
    let smdp = &bed.bench.smdp;
    smdp.set_fault(Function::HandleNotification, Calls::NEXT, fault);
    let result = install(&mut bed).await.result.unwrap();
    assert_eq!(result.notifications_delivered, 1);
    assert_eq!(result.notifications_pending, 0);
    let counters = bed.bench.smdp.counters();
    assert_eq!(counters.requests(Function::HandleNotification), 1);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_for_a_day_is_asked_ever_more_rarely() {
    let mut bed = Bed::start().await;
    let smdp = bed.bench.smdp.clone();
    let fault = Fault::HttpStatus(500);
    smdp.set_fault(Function::HandleNotification, Calls::Every, fault);
    let attempts = || smdp.counters().requests(Function::HandleNotification);
    bed.install().await;
    assert_eq!(attempts(), 1);
    sleep(Duration::from_secs(3600)).await;
    let first_hour = attempts();
    assert!((8..=14).contains(&first_hour), "{first_hour}");
    sleep(Duration::from_secs(23 * 3600)).await;
    let day = attempts() - first_hour;
    assert!((23..=50).contains(&day), "{day}");
    smdp.clear_faults();
    bed.settle().await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn notifications_that_had_to_wait_arrive_in_order() {
    let mut bed = Bed::start().await;
    let smdp = bed.bench.smdp.clone();
    let fault = Fault::HttpStatus(503);
    smdp.set_fault(Function::HandleNotification, Calls::Every, fault);
    for _ in 0..2 {
        let iccid = bed.install().await;
        let operation = bed.switch(&iccid, ProfileState::Enabled).await;
        assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
    }
    // Installed and enabled, twice, and the first one disabled between.
    assert_eq!(waiting(&bed).await.len(), 5);
    assert!(smdp.notifications().is_empty());
    smdp.clear_faults();
    bed.settle().await;
    let received = smdp.notifications();
    let numbers: Vec<_> = received.iter().map(|one| one.seq_number()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5].map(Some));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_recipient_keeps_nobody_else_waiting() {
    let options = PkiOptions {
        host_names: vec![HOST_NAME.to_owned(), OTHER.to_owned()],
        ..PkiOptions::default()
    };
    let bench = Bench::with_pki(Pki::generate(&options).unwrap());
    let network = bench.network();
    let mut bed = Bed::with(bench, "never").await;
    network.set_reach(OTHER, Reach::Refused);
    let mut profile = bed.profile();
    profile.metadata.notification_address = Some(OTHER.to_owned());
    let iccid = profile.metadata.iccid.to_string();
    let smdp = bed.bench.smdp.clone();
    smdp.create_order(OrderRequest::with_matching_id(profile, "M-1"));
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    let enabled = bed.switch(&iccid, ProfileState::Enabled).await;
    assert_eq!(enabled.result.unwrap().notifications_pending, 1);

    let result = install(&mut bed).await.result.unwrap();
    assert_eq!(result.notifications_delivered, 1);
    assert_eq!(result.notifications_pending, 1);
    let left = waiting(&bed).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].address, OTHER);
    let said = left[0].last_error.as_deref().unwrap();
    assert!(
        said.contains("notify.example.com cannot be reached"),
        "{said}"
    );
    assert_eq!(smdp.notifications().len(), 2);

    network.set_reach(OTHER, Reach::Open);
    smdp.wait_until(|smdp| smdp.notifications().len() == 3)
        .await;
    bed.settle().await;
    assert!(waiting(&bed).await.is_empty());
}

/// One thing that goes wrong once, and what is said about it.
#[derive(Debug)]
struct Trouble {
    fault: Fault,
    code: Code,
    detail: &'static str,
    retryable: bool,
    /// Whether an open session is cancelled, so that the order survives.
    cancelled: bool,
}

impl Trouble {
    #[track_caller]
    fn must_be_told(&self, problem: &Problem) {
        assert_eq!(problem.code, self.code, "{problem:?}");
        assert!(problem.detail.contains(self.detail), "{}", problem.detail);
        assert!(problem.detail.contains(HOST_NAME), "{}", problem.detail);
        assert_eq!(problem.retryable, self.retryable, "{problem:?}");
        let next_step = match self.retryable {
            true => "Try again later.",
            false => "Report this message to the operator of the server; the fault is on its side.",
        };
        assert_eq!(problem.next_step, next_step);
    }
}

fn failed(fault: Fault) -> Trouble {
    Trouble {
        fault,
        code: Code::ServerFailed,
        detail: "",
        retryable: true,
        cancelled: true,
    }
}

fn garbled(fault: Fault) -> Trouble {
    Trouble {
        code: Code::ServerGarbled,
        retryable: false,
        ..failed(fault)
    }
}

/// Downloads one more profile.
async fn install(bed: &mut Bed) -> Operation {
    let matching_id = format!("M-{}", bed.bench.smdp.orders().len());
    bed.order(&matching_id);
    let operation = bed.download_id(&matching_id).await;
    assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
    operation
}

async fn waiting(bed: &Bed) -> Vec<Notification> {
    bed.client.notifications(EUICC).await.unwrap()
}

const OTHER: &str = "notify.example.com";
const POSTPONED: i64 = 1;
const EXECUTED: &str = r#"{"header":{"functionExecutionStatus":{"status":"Executed-Success"}}}"#;
const REFUSED: &str = r#"{"header":{"functionExecutionStatus":{"status":"Failed",
    "statusCodeData":{"subjectCode":"8.8","reasonCode":"4.2"}}}}"#;
