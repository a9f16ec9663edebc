//! Servers that fail, fall silent or talk nonsense, during a download and afterwards.

use std::time::Duration;

use es9_client::Roots;
use lpad::api::body::{Notification, Operation};
use lpad::config::EuiccConfig;
use lpad::job::Decision;
use lpad::memory::operations::State;
use lpad::memory::snapshot::Availability;
use lpad::problem::{Code, CodeConsumed, Problem};
use lpad::runtime::clock::Clock;
use lpad::runtime::interfaces::Interfaces;
use lpad::runtime::uplink::Uplink;
use lpad::{Daemon, Parts};
use lpad_tests::bed::{Bed, EUICC, accepting, asking, problem, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_servers::network::Reach;
use rsp_servers::smdp::{Calls, Fault, Function, OrderRequest, OrderState, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use crate::crashes::Gateway;

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
        let cancelled = requests(&bed, Function::CancelSession);
        bed.bench.smdp.set_fault(function, Calls::Every, fault);
        let begun = Instant::now();
        let problem = bed.fail(&matching_id).await;

        bed.bench.smdp.clear_faults();
        trouble.must_be_told(&problem);
        assert_eq!(problem.code_consumed, Some(CodeConsumed::No), "{trouble:?}");
        if trouble.fault == Fault::Silence {
            assert_eq!(begun.elapsed().as_secs(), 120);
        }
        let in_session = function != Function::InitiateAuthentication;
        let cancelled = requests(&bed, Function::CancelSession) - cancelled;
        assert_eq!(
            cancelled == 1,
            trouble.cancelled && in_session,
            "{trouble:?}"
        );
        assert!(bed.bench.card.open_channels().is_empty(), "{trouble:?}");

        let operation = bed.download_id(&matching_id).await;
        assert_eq!(
            operation.state,
            State::Succeeded,
            "{trouble:?}: {operation:?}"
        );
        assert_eq!(bed.order_state(order), OrderState::Installed);
    }
    let reasons = bed.bench.smdp.cancellations();
    assert!(reasons.iter().all(|reason| *reason == POSTPONED));
    let calls = bed.bench.network().calls();
    assert!(calls.iter().all(|(host, _)| host == HOST_NAME), "{calls:?}");
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_body_of_64_megabytes_does_not_fill_the_memory() {
    let gateway = Gateway::start().await;
    gateway.order("M-1", 1);
    let before = gateway.peak_memory();
    for function in DOWNLOAD {
        let fault = Fault::HugeBody(64 << 20);
        gateway.bench.smdp.set_fault(function, Calls::NEXT, fault);
        let problem = problem(gateway.download("M-1").await);
        assert_eq!(problem.code, Code::ServerGarbled);
    }
    let more = gateway.peak_memory() - before;
    assert!(more < 16 << 10, "{more} kB");
    gateway.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_once_more_and_the_download_goes_on() {
    let mut bed = Bed::start().await;
    for function in DOWNLOAD {
        for fault in [
            Fault::CloseConnection,
            Fault::LoseAnswer,
            Fault::TruncatedBody,
        ] {
            let before = (requests(&bed, function), prepared(&bed));
            bed.bench.smdp.set_fault(function, Calls::NEXT, fault);
            install(&mut bed).await;
            assert_eq!(requests(&bed, function), before.0 + 2);
            assert_eq!(prepared(&bed), before.1 + 1, "the same package is fetched");
        }
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_the_server_forgot_is_begun_again_once_without_asking_twice() {
    let mut bed = Bed::start().await;
    let forgotten = || Fault::Refuse(StatusCode::UNKNOWN_TRANSACTION);
    for function in [
        Function::AuthenticateClient,
        Function::GetBoundProfilePackage,
    ] {
        let smdp = bed.bench.smdp.clone();
        let order = OrderRequest {
            confirmation_code: Some("1234".to_owned()),
            ..OrderRequest::with_matching_id(bed.profile(), "M-1")
        };
        let order = smdp.create_order(order);
        let begun = requests(&bed, Function::InitiateAuthentication);
        smdp.set_fault(function, Calls::NEXT, forgotten());
        let operation = bed.offered(&asking("1$smdp.example.com$M-1")).await;
        let ended = bed.answer(&operation, Decision::Accept, "1234").await;
        succeeded(&ended);
        assert_eq!(bed.order_state(order), OrderState::Installed);
        assert_eq!(requests(&bed, Function::InitiateAuthentication), begun + 2);

        bed.order("M-2");
        smdp.set_fault(function, Calls::Every, forgotten());
        let problem = bed.fail("M-2").await;
        assert_eq!(problem.code, Code::ServerFailed);
        assert!(
            problem
                .detail
                .contains("The server has forgotten the session"),
            "{}",
            problem.detail
        );
        assert_eq!(
            problem.next_step,
            "Start the operation again from the beginning."
        );
        assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
        assert!(problem.retryable);
        assert_eq!(requests(&bed, Function::InitiateAuthentication), begun + 4);
        smdp.clear_faults();
        assert_eq!(bed.download_id("M-2").await.state, State::Succeeded);
    }
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
async fn a_server_out_of_reach_an_unknown_name_and_a_silent_server_are_told_apart() {
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
async fn a_host_in_capitals_as_in_a_qr_code_is_sent_in_lower_case() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let operation = bed.download("LPA:1$SMDP.EXAMPLE.COM$M-1").await;
    succeeded(&operation);
    assert_eq!(bed.order_state(order), OrderState::Installed);
    let requests = bed.bench.smdp.requests();
    let mut addresses = requests
        .iter()
        .filter_map(|request| request.body.as_ref()?.get("smdpAddress"));
    assert_eq!(addresses.next().unwrap(), HOST_NAME);
    for request in &requests {
        let host = request.headers.iter().find(|(name, _)| name == "host");
        assert_eq!(host.unwrap().1, HOST_NAME);
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_for_one_euicc_does_not_delay_another() {
    let mut bed = Bed::start().await;
    bed.stop().await;
    for matching_id in ["M-1", "M-2"] {
        bed.order(matching_id);
    }
    let mut config = bed.configuration().clone();
    let second = EuiccConfig {
        name: "second".to_owned(),
        port: "second-modem".into(),
        ..config.euiccs[0].clone()
    };
    config.euiccs.push(second);
    let second = Bench::with_pki(bed.bench.pki.clone());
    let (one, other) = (bed.bench.line(), second.line());
    let daemon = Daemon::start(
        config,
        Parts {
            ports: |euicc: &EuiccConfig| match &*euicc.name {
                EUICC => one.clone(),
                _ => other.clone(),
            },
            connect: bed.bench.network(),
            interfaces: Interfaces::system(),
            uplink: Uplink::system(),
            roots: Roots::empty(),
            es9: es9_client::Options::default(),
            clock: Clock::system(),
            listener: None,
        },
    )
    .unwrap();

    // Both cards have the same EID: an operation under way on one would be settled by the other.
    for name in [EUICC, "second"] {
        let euicc = bed.client.euicc_within(name, 30).await.unwrap();
        assert_eq!(euicc.state, Availability::Ready);
    }

    let smdp = bed.bench.smdp.clone();
    let function = Function::GetBoundProfilePackage;
    smdp.set_fault(function, Calls::NEXT, Fault::Silence);
    let mut changes = smdp.changes();
    let request = accepting("1$smdp.example.com$M-1");
    let slow = bed.client.download(EUICC, &request).await.unwrap().id;
    while smdp.counters().requests(function) == 0 {
        changes.changed().await.unwrap();
    }
    let begun = Instant::now();
    let request = accepting("1$smdp.example.com$M-2");
    let quick = bed
        .ended(bed.client.download("second", &request).await)
        .await;
    succeeded(&quick);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let slow = bed.client.operation(slow, 0).await.unwrap();
    assert_eq!(slow.state, State::Running, "{:?}", slow.problem);
    daemon.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_no_the_server_did_not_hear_is_told_with_what_kept_it() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let smdp = &bed.bench.smdp;
    let fault = Fault::HttpStatus(500);
    smdp.set_fault(Function::CancelSession, Calls::Every, fault);
    let operation = bed.offered(&asking("1$smdp.example.com$M-1")).await;
    let problem = problem(bed.answer(&operation, Decision::Decline, "").await);
    assert_eq!(problem.code, Code::Declined);
    assert_eq!(
        problem.session.as_deref(),
        Some("smdp.example.com answered cancelSession with HTTP status 500.")
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::Unknown));
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
        // The operation does not wait for a server that says nothing.
        let tried = async {
            loop {
                let waiting = waiting(&bed).await;
                if waiting[0].failed_attempts > 0 {
                    break waiting;
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        let waiting = timeout(Duration::from_secs(60), tried).await.unwrap();
        assert_eq!(waiting.len(), 1);
        let said = waiting[0].last_error.clone().unwrap();
        assert!(said.contains(error), "{fault:?}: {said}");

        smdp.clear_faults();
        bed.settle().await;
        let orders = smdp.orders();
        assert_eq!(orders.last().unwrap().state(), OrderState::Installed);
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
    assert_eq!(requests(&bed, Function::HandleNotification), 1);
    bed.must_be_sound().await;
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
    succeeded(&operation);
    operation
}

fn requests(bed: &Bed, function: Function) -> u64 {
    bed.bench.smdp.counters().requests(function)
}

/// How often the card prepared a download.
fn prepared(bed: &Bed) -> u64 {
    bed.bench.card.counters().borrow().calls(0xBF21)
}

async fn waiting(bed: &Bed) -> Vec<Notification> {
    bed.client.notifications(EUICC).await.unwrap()
}

const DOWNLOAD: [Function; 3] = [
    Function::InitiateAuthentication,
    Function::AuthenticateClient,
    Function::GetBoundProfilePackage,
];
const POSTPONED: i64 = 1;
const EXECUTED: &str = r#"{"header":{"functionExecutionStatus":{"status":"Executed-Success"}}}"#;
const REFUSED: &str = r#"{"header":{"functionExecutionStatus":{"status":"Failed",
    "statusCodeData":{"subjectCode":"8.8","reasonCode":"4.2"}}}}"#;
