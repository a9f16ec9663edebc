//! Activation codes: what is wrong with one is said before a server is called.

use lpad::api::downloads::DownloadRequest;
use lpad::api::status::status_of;
use lpad::client::ClientError;
use lpad::memory::operations::State;
use lpad::problem::{Code, CodeConsumed, Problem};
use lpad::secret::Secret;
use lpad_tests::bed::{Bed, EUICC, accepting, succeeded};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::smdp::{OrderRequest, OrderState};

use crate::lpactl::lpactl;

/// Codes that cannot be used, and what is said about them.
fn malformed() -> Vec<(String, &'static str)> {
    const EMPTY: &str = "The activation code is empty.";
    const FORMAT: &str = "The activation code does not start with 1$ (or LPA:1$): \
                          its format is not supported.";
    const INCOMPLETE: &str =
        "The activation code ends too early: it must be 1$<SM-DP+ address>$<matching id>.";
    const CHARACTER: &str = "The activation code contains a blank or a control character.";
    const PORT: &str = "The activation code's server address is wrong: \
                        the port of the server address must be a number from 1 to 65535.";
    let mut codes: Vec<_> = [
        ("", EMPTY),
        (" \n", EMPTY),
        ("LPA:", EMPTY),
        ("2$smdp.example.com$M-1", FORMAT),
        ("$smdp.example.com$M-1", FORMAT),
        ("smdp.example.com", FORMAT),
        ("M-1", FORMAT),
        ("1", INCOMPLETE),
        ("1$", INCOMPLETE),
        ("1$smdp.example.com", INCOMPLETE),
        (
            "1$$M-1",
            "The activation code's server address is wrong: the server address is empty.",
        ),
        (
            "1$192.0.2.1$M-1",
            "The activation code's server address is wrong: the server address must be a host \
             name such as smdp.example.com, not an IP address.",
        ),
        (
            "1$http://smdp.example.com$M-1",
            "The activation code's server address is wrong: the server address must be a host \
             name; of the schemes only https:// is possible.",
        ),
        ("1$smdp.example.com$M-1\u{7}", CHARACTER),
        ("1$smdp.example.com$M\n1", CHARACTER),
        ("1$smdp example.com$M-1", CHARACTER),
        ("1$smdp.example.com:0$M-1", PORT),
        ("1$smdp.example.com:70000$M-1", PORT),
        ("1$smdp.example.com:https$M-1", PORT),
        ("1$smdp.example.com:$M-1", PORT),
        (
            "1$smdp.example.com$M-1$2.x",
            "The activation code's SM-DP+ OID is wrong: not an object identifier.",
        ),
    ]
    .map(|(code, detail)| (code.to_owned(), detail))
    .into();
    let long = format!("1${HOST_NAME}${}", "M".repeat(256));
    codes.push((long, "The activation code has more than 255 characters."));
    codes
}

#[tokio::test(start_paused = true)]
async fn a_malformed_code_is_refused_before_the_card_or_a_server_hears_of_it() {
    let mut bed = Bed::start().await;
    let before = bed.bench.card.counters().borrow().clone();
    for (code, detail) in malformed() {
        let problem = refused(&bed, &accepting(&code)).await;
        assert_eq!(problem.code, Code::InvalidActivationCode, "{code}");
        assert_eq!(problem.detail, detail, "{code}");
        assert_eq!(status_of(problem.code), 422);
        assert_eq!(
            problem.next_step,
            "Check the code against the one you were given; it begins with LPA:1$ or 1$."
        );
    }
    assert_eq!(bed.bench.network().calls(), []);
    assert_eq!(*bed.bench.card.counters().borrow(), before);
    assert!(bed.client.operations().await.unwrap().is_empty());
    bed.must_be_sound().await;
}

#[tokio::test]
async fn lpactl_says_what_is_wrong_with_a_code_and_ends_with_2() {
    let mut bed = Bed::start().await;
    for (code, detail) in malformed() {
        let run = lpactl(&bed, &["download", "--yes", "--", &code]).await;
        let text = &run.err;
        assert_eq!(run.code, 2, "{code}: {text}");
        assert!(
            text.starts_with("The activation code cannot be read.\n"),
            "{code}: {text}"
        );
        assert!(text.contains(detail), "{code}: {text}");
        assert!(
            text.contains("Check the code against the one you were given"),
            "{text}"
        );
    }
    assert_eq!(bed.bench.network().calls(), []);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_code_is_read_as_it_is_typed_scanned_or_pasted() {
    let mut bed = Bed::start().await;
    for (number, (before, after)) in [
        ("1$smdp.example.com$", ""),
        ("LPA:1$smdp.example.com$", ""),
        ("lpa:1$smdp.example.com$", ""),
        ("  LPA:1$smdp.example.com$", "\n"),
        ("1$SMDP.EXAMPLE.COM$", ""),
        ("1$smdp.example.com:8443$", ""),
        ("1$https://smdp.example.com$", ""),
        ("1$smdp.example.com$", "$2.999.10"),
        ("1$smdp.example.com$", "$"),
        ("1$smdp.example.com$", "$$"),
        ("1$smdp.example.com$", "$$$x"),
        ("1$smdp.example.com$", "$$y"),
    ]
    .into_iter()
    .enumerate()
    {
        let matching_id = format!("m-{number}");
        let order = bed.order(&matching_id);
        let code = format!("{before}{matching_id}{after}");
        let operation = bed.download(&code).await;
        assert_eq!(
            operation.state,
            State::Succeeded,
            "{code}: {:?}",
            operation.problem
        );
        assert_eq!(bed.order_state(order), OrderState::Installed, "{code}");
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_matching_id_means_what_is_reserved_for_this_eid() {
    let mut bed = Bed::start().await;
    for code in ["1$smdp.example.com$", "1$smdp.example.com$$"] {
        let profile = bed.profile();
        let order = OrderRequest::for_eid(profile, bed.bench.eid());
        let order = bed.bench.smdp.create_order(order);
        let operation = bed.download(code).await;
        assert_eq!(
            operation.state,
            State::Succeeded,
            "{code}: {:?}",
            operation.problem
        );
        assert_eq!(bed.order_state(order), OrderState::Installed, "{code}");
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_port_in_a_code_is_used_for_the_session_and_for_the_notifications_after_it() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let operation = bed.download("1$smdp.example.com:8443$M-1").await;
    succeeded(&operation);
    let calls = bed.bench.network().calls();
    assert!(!calls.is_empty());
    assert!(
        calls
            .iter()
            .all(|call| *call == (HOST_NAME.to_owned(), 8443)),
        "{calls:?}"
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_code_that_announces_a_confirmation_code_is_not_tried_without_one() {
    let mut bed = Bed::start().await;
    let order = OrderRequest {
        confirmation_code: Some("1234".to_owned()),
        ..OrderRequest::with_matching_id(bed.profile(), "M-1")
    };
    let order = bed.bench.smdp.create_order(order);
    let without = accepting("1$smdp.example.com$M-1$$1");
    let problem = refused(&bed, &without).await;
    assert_eq!(problem.code, Code::ConfirmationCodeRequired);
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    assert_eq!(
        problem.next_step,
        "Give the confirmation code you got from the operator; lpactl takes it with --confirmation-code-file."
    );
    assert_eq!(bed.bench.network().calls(), []);
    let with = DownloadRequest {
        confirmation_code: Some(Secret::new("1234")),
        ..without
    };
    let operation = bed.download_as(&with).await;
    succeeded(&operation);
    assert_eq!(bed.order_state(order), OrderState::Installed);
    bed.must_be_sound().await;
}

/// Asks for a download that is refused at once.
async fn refused(bed: &Bed, request: &DownloadRequest) -> Problem {
    match bed.client.download(EUICC, request).await {
        Err(ClientError::Problem(problem)) => *problem,
        other => panic!("{other:?}"),
    }
}
