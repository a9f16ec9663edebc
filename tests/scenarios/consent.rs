//! What a person says to an offer: confirmation codes, a yes, a no, nothing; and the rules that need
//! a yes.

use std::time::Duration;

use lpad::api::downloads::DownloadRequest;
use lpad::job::{Answer, Decision};
use lpad::memory::operations::State;
use lpad::problem::{Code, CodeConsumed};
use lpad::secret::Secret;
use lpad_tests::bed::{Bed, EUICC, accepting, asking, problem, succeeded};
use rsp_servers::profile::{Iccid, PolicyRule, Profile, ProfileOwner};
use rsp_servers::smdp::{Function, OrderId, OrderRequest, OrderState};
use tokio::time::Instant;

use crate::lpactl::lpactl;
use crate::refusals::assert_status;

const REJECTED: i64 = 0;
const POSTPONED: i64 = 1;
const TIMEOUT: i64 = 2;
const PPR_NOT_ALLOWED: i64 = 3;

#[tokio::test(start_paused = true)]
async fn a_wrong_confirmation_code_costs_a_try_and_the_right_one_brings_the_profile() {
    let mut bed = Bed::start().await;
    let codes = ["1234", "0042", " 12 34 ", "naïve-ключ"];
    for (number, code) in codes.into_iter().enumerate() {
        let matching_id = format!("M-{number}");
        let order = order_with_code(&mut bed, &matching_id, code);
        let wrong = problem(bed.download_as(&with_code(&matching_id, "4321")).await);
        assert_eq!(wrong.code, Code::ConfirmationCodeRefused);
        assert_eq!(wrong.title, "The confirmation code is wrong");
        assert_status(&wrong, "8.2.7", "3.8");
        assert_eq!(wrong.code_consumed, Some(CodeConsumed::No));
        assert_eq!(
            wrong.next_step,
            "Enter the confirmation code that the operator sent apart from the activation code."
        );
        assert!(!wrong.retryable, "the same code must not be sent twice");
        let right = bed.download_as(&with_code(&matching_id, code)).await;
        succeeded(&right);
        assert_eq!(bed.order_state(order), OrderState::Installed);
    }
    assert_eq!(
        bed.bench.smdp.counters().requests(Function::CancelSession),
        0
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_code_can_come_with_the_answer_to_the_offer() {
    let mut bed = Bed::start().await;
    let order = order_with_code(&mut bed, "M-1", "1234");
    for (code, expected) in [("4321", State::Failed), ("1234", State::Succeeded)] {
        let operation = bed.offered(&asking(M_1)).await;
        let offer = operation.offer.as_ref().unwrap();
        assert!(offer.confirmation_code_required);
        for without in [None, Some(""), Some(" ")] {
            let without = Answer {
                answer: Decision::Accept,
                confirmation_code: without.map(Secret::new),
            };
            let refusal = bed.client.answer(operation.id, &without).await.unwrap_err();
            let refusal = refusal.to_string();
            assert!(refusal.contains("needs the confirmation code"), "{refusal}");
        }
        let ended = bed.answer(&operation, Decision::Accept, code).await;
        assert_eq!(ended.state, expected, "{:?}", ended.problem);
        if let Some(problem) = ended.problem {
            assert_eq!(problem.code, Code::ConfirmationCodeRefused);
        }
    }
    assert_eq!(bed.order_state(order), OrderState::Installed);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn too_many_wrong_confirmation_codes_close_the_order() {
    let mut bed = Bed::start().await;
    let order = order_with_code(&mut bed, "M-1", "1234");
    for expected in [Code::ConfirmationCodeRefused, Code::ConfirmationCodeRefused] {
        let problem = problem(bed.download_as(&with_code("M-1", "4321")).await);
        assert_eq!(problem.code, expected);
    }
    let problem = problem(bed.download_as(&with_code("M-1", "4321")).await);
    assert_eq!(problem.code, Code::OrderClosed);
    assert_status(&problem, "8.2.7", "6.4");
    assert_eq!(problem.code_consumed, Some(CodeConsumed::Yes));
    assert_eq!(
        problem.next_step,
        "Ask the operator for a new activation code; this one will not work again."
    );
    assert_eq!(bed.order_state(order), OrderState::Error);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_confirmation_code_postpones_the_download_and_the_order_survives() {
    let mut bed = Bed::start().await;
    let order = order_with_code(&mut bed, "M-1", "1234");
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::ConfirmationCodeRequired);
    assert_eq!(problem.title, "A confirmation code is needed");
    assert_eq!(
        problem.next_step,
        "Give the confirmation code you got from the operator; lpactl takes it with --confirmation-code-file."
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    assert_eq!(bed.bench.smdp.cancellations(), [POSTPONED]);
    assert_eq!(bed.order_state(order), OrderState::Released);
    let operation = bed.download_as(&with_code("M-1", "1234")).await;
    succeeded(&operation);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_code_that_the_order_does_not_need_does_no_harm() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let request = DownloadRequest {
        confirmation_code: Some(Secret::new("1234")),
        ..accepting("1$smdp.example.com$M-1$$1")
    };
    let operation = bed.download_as(&request).await;
    succeeded(&operation);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn the_server_hears_whether_a_profile_was_declined_or_postponed() {
    let mut bed = Bed::start().await;
    let cases = [
        (
            Decision::Decline,
            Code::Declined,
            REJECTED,
            CodeConsumed::Yes,
        ),
        (
            Decision::Postpone,
            Code::Postponed,
            POSTPONED,
            CodeConsumed::No,
        ),
    ];
    for (answer, code, reason, consumed) in cases {
        let matching_id = format!("M-{reason}");
        let order = bed.order(&matching_id);
        let operation = bed
            .offered(&asking(&format!("1$smdp.example.com${matching_id}")))
            .await;
        let offer = operation.offer.as_ref().unwrap();
        assert_eq!(offer.service_provider, "Example Mobile");
        let problem = problem(bed.answer(&operation, answer, "").await);
        assert_eq!(problem.code, code);
        assert_eq!(problem.code_consumed, Some(consumed));
        assert_eq!(bed.bench.smdp.cancellations().last(), Some(&reason));
        let left = match consumed {
            CodeConsumed::No => OrderState::Released,
            _ => OrderState::Error,
        };
        assert_eq!(bed.order_state(order), left);
    }
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_offer_without_an_answer_times_out_and_the_order_survives() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let operation = bed.offered(&asking(M_1)).await;
    let problem = problem(bed.client.wait(operation.id).await.unwrap());
    assert_eq!(problem.code, Code::NoAnswer);
    assert_eq!(problem.title, "The profile was not accepted in time");
    assert_eq!(
        problem.next_step,
        "Download again, with --yes to accept it at once."
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    assert_eq!(bed.bench.smdp.cancellations(), [TIMEOUT]);
    assert_eq!(bed.order_state(order), OrderState::Released);
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_attends_its_download_and_leaves_has_postponed_it() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let (operation, attendance) = bed
        .client
        .download_attended(EUICC, &asking(M_1))
        .await
        .unwrap();
    assert!(operation.client.is_some());
    let offered = bed.client.operation(operation.id, 60).await.unwrap();
    assert_eq!(offered.state, State::AwaitingAnswer);
    // A person may think for longer than a connection may be idle.
    tokio::time::advance(Duration::from_secs(60)).await;
    let offered = bed.client.operation(operation.id, 0).await.unwrap();
    assert_eq!(offered.state, State::AwaitingAnswer);
    let left = Instant::now();
    drop(attendance);
    let ended = problem(bed.client.wait(operation.id).await.unwrap());
    assert!(left.elapsed() < Duration::from_secs(10));
    assert_eq!(ended.code, Code::Postponed);
    assert_eq!(ended.code_consumed, Some(CodeConsumed::No));
    assert_eq!(bed.bench.smdp.cancellations(), [POSTPONED]);
    assert_eq!(bed.order_state(order), OrderState::Released);

    // One that leaves before it is asked.
    let attended = bed.client.download_attended(EUICC, &asking(M_1)).await;
    let (operation, attendance) = attended.unwrap();
    drop(attendance);
    let ended = problem(bed.client.wait(operation.id).await.unwrap());
    assert_eq!(ended.code, Code::Postponed);

    // One that stays gets what it answers.
    let attended = bed.client.download_attended(EUICC, &asking(M_1)).await;
    let (operation, attendance) = attended.unwrap();
    let offered = bed.client.operation(operation.id, 60).await.unwrap();
    let ended = bed.answer(&offered, Decision::Accept, "").await;
    succeeded(&ended);
    drop(attendance);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_cancelled_at_the_offer_keeps_its_order() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let operation = bed.offered(&asking(M_1)).await;
    bed.client.cancel(operation.id).await.unwrap();
    let ended = bed.client.wait(operation.id).await.unwrap();
    assert_eq!(ended.state, State::Cancelled);
    let problem = ended.problem.unwrap();
    assert_eq!(problem.code, Code::Cancelled);
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    assert_eq!(bed.bench.smdp.cancellations(), [POSTPONED]);
    assert_eq!(bed.order_state(order), OrderState::Released);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn policy_rules_the_card_does_not_allow_end_the_download_before_a_person_is_asked() {
    let mut bed = Bed::start().await;
    bed.bench.card.configure(|settings| settings.rat.clear());
    let order = OrderRequest::with_matching_id(undisablable(1, OWNER), "M-1");
    let order = bed.bench.smdp.create_order(order);
    let operation = bed.download_as(&asking(M_1)).await;
    let problem = problem(operation);
    assert_eq!(problem.code, Code::PolicyRulesForbidden);
    assert_eq!(
        problem.detail,
        "The profile is not allowed: the eUICC does not allow the policy rule ppr1 for this \
         operator."
    );
    assert_eq!(
        problem.next_step,
        "Ask the operator for a profile without policy rules."
    );
    assert_eq!(bed.bench.smdp.cancellations(), [PPR_NOT_ALLOWED]);
    assert_eq!(problem.code_consumed, Some(CodeConsumed::Yes));
    assert_eq!(bed.order_state(order), OrderState::Error);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn policy_rules_without_an_operator_or_beside_another_profile_are_refused() {
    let mut bed = Bed::start().await;
    let order = OrderRequest::with_matching_id(undisablable(1, None), "M-1");
    bed.bench.smdp.create_order(order);
    let problem = bed.fail("M-1").await;
    assert_eq!(
        problem.detail,
        "The profile is not allowed: the profile carries policy rules and does not name its \
         operator."
    );
    bed.install().await;
    let order = OrderRequest::with_matching_id(undisablable(2, OWNER), "M-2");
    bed.bench.smdp.create_order(order);
    let problem = bed.fail("M-2").await;
    assert_eq!(
        problem.detail,
        "The profile is not allowed: a profile that may not be disabled cannot be added to \
         another operational profile."
    );
    assert_eq!(
        bed.bench.smdp.cancellations(),
        [PPR_NOT_ALLOWED, PPR_NOT_ALLOWED]
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn policy_rules_that_need_consent_are_shown_even_when_everything_is_accepted() {
    let mut bed = Bed::start().await;
    let order = OrderRequest::with_matching_id(undisablable(1, OWNER), "M-1");
    let order = bed.bench.smdp.create_order(order);
    let operation = bed.offered(&accepting(M_1)).await;
    let offer = operation.offer.as_ref().unwrap();
    assert_eq!(offer.policy_rules, ["ppr1"]);
    assert!(offer.policy_consent_required);
    let ended = bed.answer(&operation, Decision::Accept, "").await;
    succeeded(&ended);
    assert_eq!(bed.order_state(order), OrderState::Installed);
    bed.must_be_sound().await;
}

#[tokio::test]
async fn policy_rules_are_not_accepted_by_a_script_that_accepts_everything_else() {
    let bed = Bed::start().await;
    let order = OrderRequest::with_matching_id(undisablable(1, OWNER), "M-1");
    let order = bed.bench.smdp.create_order(order);
    let refused = lpactl(&bed, &["download", M_1, "--yes"]).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(
        refused
            .err
            .contains("policy rules, which a person has to accept"),
        "{refused:?}"
    );
    let operations = bed.client.operations().await.unwrap();
    let ended = bed.client.wait(operations[0].id).await.unwrap();
    assert_eq!(ended.problem.unwrap().code, Code::Postponed);
    assert_eq!(bed.order_state(order), OrderState::Released);
}

const M_1: &str = "1$smdp.example.com$M-1";
const OWNER: Option<[u8; 3]> = Some([0x62, 0xF2, 0x10]);

fn with_code(matching_id: &str, code: &str) -> DownloadRequest {
    DownloadRequest {
        confirmation_code: Some(Secret::new(code)),
        ..accepting(&format!("1$smdp.example.com${matching_id}"))
    }
}

fn order_with_code(bed: &mut Bed, matching_id: &str, code: &str) -> OrderId {
    let order = OrderRequest {
        confirmation_code: Some(code.to_owned()),
        ..OrderRequest::with_matching_id(bed.profile(), matching_id)
    };
    bed.bench.smdp.create_order(order)
}

/// A profile with PPR1.
fn undisablable(number: u32, owner: Option<[u8; 3]>) -> Profile {
    let mut profile = Profile::builder(Iccid::nth(1000 + number))
        .size(3000)
        .build();
    profile.metadata.policy_rules = vec![PolicyRule::Ppr1];
    profile.metadata.owner = owner.map(|mcc_mnc| ProfileOwner {
        mcc_mnc,
        gid1: Vec::new(),
        gid2: Vec::new(),
    });
    profile
}
