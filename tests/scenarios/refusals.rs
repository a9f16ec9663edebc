//! Downloads that end without a profile because somebody said no: the server, the card, a person.

use std::{collections::BTreeSet, time::Duration};

use lpad::{
    api::{
        downloads::DownloadRequest,
        problem::{Code, CodeConsumed, Problem},
    },
    engine::Consent,
    operation::{Answer, Decision, Operation, State},
    secret::Secret,
};
use lpad_tests::{
    bed::{Bed, EUICC, accepting, problem},
    bench::{Bench, HOST_NAME},
    profile::{Iccid, PolicyRule, Profile, ProfileOwner},
    smdp::{
        Calls, Config, Failure, Fault, Function, OrderId, OrderRequest, OrderState, StatusCode,
    },
};
use sim_card_emulator::pki::{Pki, PkiOptions};

const REJECTED: i64 = 0;
const POSTPONED: i64 = 1;
const TIMEOUT: i64 = 2;
const PPR_NOT_ALLOWED: i64 = 3;

#[tokio::test(start_paused = true)]
async fn an_unknown_matching_id_is_explained() {
    let mut bed = Bed::start().await;
    let problem = bed.fail("NOBODY-KNOWS").await;
    assert_eq!(problem.code, Code::MatchingIdRefused);
    assert_eq!(
        problem.title,
        "The SM-DP+ does not know this activation code, or it is used up"
    );
    assert_eq!(
        problem.detail,
        "smdp.example.com refused authenticateClient: The server does not know this code or it \
         has been used (status code 8.2.6/3.8)."
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
        assert_status(&problem, status.subject, status.reason);
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
    assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
    assert!(operation.result.unwrap().nothing_to_download);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_boot_without_an_order_asks_now_and_then_and_gives_up_quietly() {
    let mut bed = Bed::with(Bench::new(), "empty").await;
    let asked = |bed: &Bed| {
        let counters = bed.bench.smdp.counters();
        counters.requests(Function::InitiateAuthentication)
    };
    bed.bench.smdp.wait_until(|_| asked(&bed) == 1).await;
    let day = Duration::from_secs(24 * 3600);
    tokio::time::sleep(day).await;
    let first_day = asked(&bed);
    assert!((2..=12).contains(&first_day), "{first_day}");
    let commands = bed.bench.card.counters().borrow().apdus;
    tokio::time::sleep(day).await;
    assert_eq!(asked(&bed), first_day);
    assert_eq!(bed.bench.card.counters().borrow().apdus, commands);
    for operation in bed.client.operations().await.unwrap() {
        assert_eq!(operation.state, State::Succeeded, "{operation:?}");
    }

    let order = OrderRequest::for_eid(bed.profile(), bed.bench.eid());
    let order = bed.bench.smdp.create_order(order);
    let operation = bed.download_as(&by_default()).await;
    assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
    assert_eq!(state(&bed, order), OrderState::Installed);
    bed.must_be_sound().await;
}

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
        assert_eq!(right.state, State::Succeeded, "{:?}", right.problem);
        assert_eq!(state(&bed, order), OrderState::Installed);
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
        let operation = offered(&bed, "M-1").await;
        assert!(operation.offer.unwrap().confirmation_code_required);
        let accept = |confirmation_code| Answer {
            answer: Decision::Accept,
            confirmation_code,
        };
        let without = bed.client.answer(operation.id, &accept(None)).await;
        let refusal = without.unwrap_err().to_string();
        assert!(refusal.contains("needs the confirmation code"), "{refusal}");
        let code = Some(Secret::new(code));
        bed.client
            .answer(operation.id, &accept(code))
            .await
            .unwrap();
        let ended = bed.client.wait(operation.id).await.unwrap();
        assert_eq!(ended.state, expected, "{:?}", ended.problem);
        if let Some(problem) = ended.problem {
            assert_eq!(problem.code, Code::ConfirmationCodeRefused);
        }
    }
    assert_eq!(state(&bed, order), OrderState::Installed);
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
    assert_eq!(state(&bed, order), OrderState::Error);
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
    assert_eq!(state(&bed, order), OrderState::Released);
    let operation = bed.download_as(&with_code("M-1", "1234")).await;
    assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_code_nobody_asks_for_does_no_harm() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let code = format!("1${HOST_NAME}$M-1$$1");
    let request = DownloadRequest {
        activation_code: Some(Secret::new(code)),
        ..with_code("M-1", "1234")
    };
    let operation = bed.download_as(&request).await;
    assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
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
        let operation = offered(&bed, &matching_id).await;
        let offer = operation.offer.as_ref().unwrap();
        assert_eq!(offer.service_provider, "Example Mobile");
        let answer = Answer {
            answer,
            confirmation_code: None,
        };
        bed.client.answer(operation.id, &answer).await.unwrap();
        let problem = problem(bed.client.wait(operation.id).await.unwrap());
        assert_eq!(problem.code, code);
        assert_eq!(problem.code_consumed, Some(consumed));
        assert_eq!(bed.bench.smdp.cancellations().last(), Some(&reason));
        let left = match consumed {
            CodeConsumed::No => OrderState::Released,
            _ => OrderState::Error,
        };
        assert_eq!(state(&bed, order), left);
    }
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_offer_nobody_answers_times_out_and_the_order_survives() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let operation = offered(&bed, "M-1").await;
    let problem = problem(bed.client.wait(operation.id).await.unwrap());
    assert_eq!(problem.code, Code::NoAnswer);
    assert_eq!(problem.title, "Nobody accepted the profile in time");
    assert_eq!(
        problem.next_step,
        "Download again, with --yes to accept it at once."
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    assert_eq!(bed.bench.smdp.cancellations(), [TIMEOUT]);
    assert_eq!(state(&bed, order), OrderState::Released);
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_cancelled_at_the_offer_keeps_its_order() {
    let mut bed = Bed::start().await;
    let order = bed.order("M-1");
    let operation = offered(&bed, "M-1").await;
    bed.client.cancel(operation.id).await.unwrap();
    let ended = bed.client.wait(operation.id).await.unwrap();
    assert_eq!(ended.state, State::Cancelled);
    let problem = ended.problem.unwrap();
    assert_eq!(problem.code, Code::Cancelled);
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    assert_eq!(bed.bench.smdp.cancellations(), [POSTPONED]);
    assert_eq!(state(&bed, order), OrderState::Released);
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
async fn a_profile_somebody_else_put_on_the_card_is_refused_by_the_card() {
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
    assert_eq!(problem.title, "The card has not enough memory");
    assert_eq!(
        problem.next_step,
        "Delete a profile that is not needed and try again."
    );
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    assert_eq!(problem.card.unwrap().result, Some(INSUFFICIENT_MEMORY));
    assert_eq!(state(&bed, order), OrderState::Downloaded);
    delete(&bed, &first).await;
    let operation = bed.download_id("M-1").await;
    assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
    assert_eq!(state(&bed, order), OrderState::Installed);
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
    assert_eq!(state(&bed, order), OrderState::Released);
    bed.bench
        .card
        .configure(|settings| settings.memory = 50_000);
    assert_eq!(bed.download_id("M-1").await.state, State::Succeeded);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn policy_rules_the_card_does_not_allow_end_the_download_before_anybody_is_asked() {
    let mut bed = Bed::start().await;
    bed.bench.card.configure(|settings| settings.rat.clear());
    let order = OrderRequest::with_matching_id(undisablable(1, OWNER), "M-1");
    let order = bed.bench.smdp.create_order(order);
    let operation = bed.download_as(&asking("M-1")).await;
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
    assert_eq!(state(&bed, order), OrderState::Error);
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
    let request = accepting(&format!("1${HOST_NAME}$M-1"));
    let operation = until_offered(&bed, &request).await;
    let offer = operation.offer.unwrap();
    assert_eq!(offer.policy_rules, ["ppr1"]);
    assert!(offer.policy_consent_required);
    let answer = Answer {
        answer: Decision::Accept,
        confirmation_code: None,
    };
    bed.client.answer(operation.id, &answer).await.unwrap();
    let ended = bed.client.wait(operation.id).await.unwrap();
    assert_eq!(ended.state, State::Succeeded, "{:?}", ended.problem);
    assert_eq!(state(&bed, order), OrderState::Installed);
    bed.must_be_sound().await;
}

const OWNER: Option<[u8; 3]> = Some([0x62, 0xF2, 0x10]);
const AUTHENTICATE_SERVER: u32 = 0xBF38;
const ICCID_ALREADY_EXISTS: i64 = 9;
const INSUFFICIENT_MEMORY: i64 = 10;

fn assert_status(problem: &Problem, subject: &str, reason: &str) {
    let status = problem.sgp22.as_ref().expect("the server gave a status");
    assert_eq!((&*status.subject, &*status.reason), (subject, reason));
}

fn state(bed: &Bed, order: OrderId) -> OrderState {
    bed.bench.smdp.order(order).unwrap().state()
}

fn by_default() -> DownloadRequest {
    DownloadRequest {
        default: true,
        consent: Consent::Accept,
        ..DownloadRequest::default()
    }
}

fn asking(matching_id: &str) -> DownloadRequest {
    DownloadRequest {
        consent: Consent::Ask,
        ..accepting(&format!("1${HOST_NAME}${matching_id}"))
    }
}

fn with_code(matching_id: &str, code: &str) -> DownloadRequest {
    DownloadRequest {
        confirmation_code: Some(Secret::new(code)),
        ..accepting(&format!("1${HOST_NAME}${matching_id}"))
    }
}

fn order_with_code(bed: &mut Bed, matching_id: &str, code: &str) -> OrderId {
    let order = OrderRequest {
        confirmation_code: Some(code.to_owned()),
        ..OrderRequest::with_matching_id(bed.profile(), matching_id)
    };
    bed.bench.smdp.create_order(order)
}

/// Asks for a download and waits until its profile is offered.
async fn offered(bed: &Bed, matching_id: &str) -> Operation {
    until_offered(bed, &asking(matching_id)).await
}

async fn until_offered(bed: &Bed, request: &DownloadRequest) -> Operation {
    let operation = bed.client.download(EUICC, request).await.unwrap();
    let operation = bed.client.operation(operation.id, 30).await.unwrap();
    assert_eq!(
        operation.state,
        State::AwaitingAnswer,
        "{:?}",
        operation.problem
    );
    operation
}

async fn delete(bed: &Bed, iccid: &str) {
    let operation = bed.client.delete(EUICC, iccid).await.unwrap();
    let ended = bed.client.wait(operation.id).await.unwrap();
    assert_eq!(ended.state, State::Succeeded, "{:?}", ended.problem);
}

/// A server that leaves it to the card to find out that there is no room.
fn without_eligibility_check() -> Bench {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    Bench::with_smdp(Config {
        check_eligibility: false,
        ..Config::new(HOST_NAME, pki)
    })
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
