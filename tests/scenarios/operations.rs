//! What is told of operations lasts: who asked, what was done when, how it ended; and a request that is
//! sent again does nothing twice.

use std::fs;
use std::time::Duration;

use lpad::client::ClientError;
use lpad::config::{BootstrapWhen, Confirm, SwitchConfig};
use lpad::job::{OperationId, Stage};
use lpad::memory::journal::RequestKey;
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState;
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, accepting, asking, succeeded};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::smdp::{Calls, Fault, Function, OrderRequest};
use serde_json::{Value, json};
use sim_card_emulator::modem::{Hold, Moment, Pattern};

use crate::api::{Reply, ask, ask_with};
use crate::lpactl::lpactl;

#[tokio::test]
async fn who_asked_for_an_operation_is_told_and_is_the_same_after_each_restart() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let own_name = fs::read_to_string("/proc/self/comm").unwrap();
    let own = json!({
        "uid": rustix::process::geteuid().as_raw(),
        "gid": rustix::process::getegid().as_raw(),
        "pid": std::process::id(),
        "name": own_name.trim_end(),
    });
    let installed = told(&bed, 1).await;
    assert_eq!(installed["client"], own);
    assert_eq!(installed.get("by_itself"), None);
    let renamed = lpactl(&bed, &["profile", "rename", &iccid, "Uplink"]).await;
    assert_eq!(renamed.code, 0, "{renamed:?}");
    let renamed = told(&bed, 2).await;
    assert_eq!(renamed["client"]["name"], "demo", "{renamed}");
    assert_ne!(renamed["client"]["pid"], own["pid"]);
    let pid = &renamed["client"]["pid"];
    let shown = lpactl(&bed, &["operation", "show", "2"]).await;
    let line = format!("Asked by   demo (process {pid} of user {}", own["uid"]);
    assert!(shown.out.contains(&line), "{line}: {}", shown.out);
    bed.kill().await;
    bed.resume().await;
    assert_eq!(told(&bed, 1).await, installed);
    bed.stop().await;
    bed.resume().await;
    assert_eq!(told(&bed, 2).await, renamed);
    let again = lpactl(&bed, &["operation", "show", "2"]).await;
    assert_eq!(again.out, shown.out);

    // One that was cut off keeps its client until the card has told, and after that.
    let mut hold = bed.bench.modem.hold(Pattern::ANY, 9, Moment::BeforeAnswer);
    let deleted = bed.client.delete(EUICC, &iccid, true).await.unwrap();
    hold.reached().await;
    let queued = bed.client.deliver_notifications(EUICC).await.unwrap();
    bed.kill().await;
    hold.release();
    bed.bench.unplug();
    bed.boot();
    for id in [deleted.id, queued.id] {
        assert_eq!(told(&bed, id.0).await["client"], own);
    }
    bed.bench.plug_in();
    bed.settle().await;
    let settled = told(&bed, deleted.id.0).await;
    assert_eq!(
        (&settled["client"], &settled["state"]),
        (&own, &json!("succeeded"))
    );
    assert_eq!(settled["created_at_s"], deleted.created_at_s);
}

#[tokio::test(start_paused = true)]
async fn what_lpad_began_by_itself_says_so_after_each_restart() {
    let mut bed = Bed::start().await;
    let order = OrderRequest::for_eid(bed.profile(), bed.bench.eid());
    bed.bench.smdp.create_order(order);
    bed.stop().await;
    let bootstrap = &mut bed.configuration().euiccs[0].bootstrap;
    bootstrap.when = BootstrapWhen::Empty;
    bootstrap.jitter_s = 0;
    bed.resume().await;
    let mut events = bed.client.events(Some(0)).await.unwrap();
    while bed.client.operations().await.unwrap().is_empty() {
        events.next().await.unwrap();
    }
    succeeded(&bed.client.wait(OperationId(1)).await.unwrap());
    let first = told(&bed, 1).await;
    assert_eq!(first["by_itself"], true);
    assert_eq!(first.get("client"), None);
    bed.kill().await;
    bed.resume().await;
    assert_eq!(told(&bed, 1).await, first);
}

#[tokio::test]
async fn the_stages_of_an_operation_are_told_with_their_times() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let request = accepting(&format!("1${HOST_NAME}$M-1"));
    let mut hold = bed.bench.modem.hold(PIECE, 2, Moment::BeforeExecution);
    let started = bed.client.download(EUICC, &request).await.unwrap();
    assert!(started.stages.is_empty());
    hold.reached().await;
    let on_the_way = bed.client.operation(started.id, 0).await.unwrap();
    let last = on_the_way.stages.last().unwrap();
    assert_eq!(
        (on_the_way.stage, last.stage),
        (Some(last.stage), Stage::Installing)
    );
    hold.release();
    let ended = bed.client.wait(started.id).await.unwrap();
    let stages: Vec<_> = ended.stages.iter().map(|entry| entry.stage).collect();
    let expected = [
        Stage::Initialising,
        Stage::Authenticating,
        Stage::Preparing,
        Stage::Downloading,
        Stage::Installing,
    ];
    assert_eq!(stages[..5], expected);
    assert_eq!(stages.last(), Some(&Stage::Done));
    assert!(ended.stages.is_sorted_by_key(|entry| entry.at_s));
    assert!(ended.stages[0].at_s >= ended.created_at_s);
    assert_eq!(
        ended.stages.last().map(|entry| entry.at_s),
        ended.finished_at_s
    );

    let before = told(&bed, started.id.0).await;
    let shown = lpactl(&bed, &["operation", "show", "1"]).await;
    assert_eq!(shown.out.matches("\n  Stage ").count(), stages.len());
    for stage in stages {
        assert!(
            shown.out.contains(&format!("  {}\n", stage.name())),
            "{}",
            shown.out
        );
    }
    for _ in 0..2 {
        bed.kill().await;
        bed.resume().await;
        assert_eq!(told(&bed, started.id.0).await, before);
        assert_eq!(
            lpactl(&bed, &["operation", "show", "1"]).await.out,
            shown.out
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_tells_a_novel_is_quoted_in_the_same_words_after_each_restart() {
    let mut bed = Bed::start().await;
    let novel = format!("M-1 is \u{1b}[2J unknown: {}", "so it goes, ".repeat(200));
    let body = json!({"header": {"functionExecutionStatus": {
        "status": "Failed",
        "statusCodeData": {
            "subjectCode": novel, "reasonCode": "3.8", "subjectIdentifier": "M-1",
        },
    }}});
    let fault = Fault::Body(body.to_string());
    bed.bench
        .smdp
        .set_fault(Function::AuthenticateClient, Calls::NEXT, fault);
    let failed = bed.download_id("M-1").await;
    let before = told(&bed, failed.id.0).await;
    let detail = before["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("so it goes"), "{detail}");
    assert!(!detail.contains("M-1") && detail.len() < 2000, "{detail}");
    let list = ask(&bed, "GET", "/v1/operations", "").await.json;
    for _ in 0..2 {
        bed.kill().await;
        bed.resume().await;
        assert_eq!(told(&bed, failed.id.0).await, before);
        assert_eq!(ask(&bed, "GET", "/v1/operations", "").await.json, list);
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_that_is_a_common_word_leaves_the_rest_as_it_is() {
    let mut bed = Bed::start().await;
    for code in ["a", "-", "no", "matching-id-refused", "yes", "smdp"] {
        let failed = bed.download_id(code).await;
        let before = told(&bed, failed.id.0).await;
        assert_eq!(before["problem"]["code"], "matching-id-refused", "{before}");
        assert_eq!(before["problem"]["sgp22"]["subject"], "8.2.6");
        bed.kill().await;
        bed.resume().await;
        assert_eq!(told(&bed, failed.id.0).await, before);
    }
}

/// Whatever SIGTERM cuts off: what is told of it in the end was true, and is told for ever.
#[tokio::test(start_paused = true)]
async fn what_a_stop_cuts_off_is_told_truthfully_and_the_same_from_then_on() {
    for (nth, moment) in [
        (1, Moment::BeforeExecution),
        (4, Moment::BeforeAnswer),
        (8, Moment::BeforeExecution),
        (9, Moment::BeforeAnswer),
    ] {
        let mut bed = Bed::start().await;
        let iccid = bed.install().await;
        let mut hold = bed.bench.modem.hold(Pattern::ANY, nth, moment);
        let deleted = bed.client.delete(EUICC, &iccid, true).await.unwrap();
        hold.reached().await;
        let queued = bed.client.rename(EUICC, &iccid, "Uplink").await.unwrap();
        tokio::join!(bed.stop(), async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            hold.release();
        });
        bed.resume().await;
        bed.settle().await;
        let is_gone = bed.bench.card.memory().profiles.is_empty();
        let cut_off = told(&bed, deleted.id.0).await;
        let says_gone = cut_off["state"] == "succeeded";
        assert_eq!(says_gone, is_gone, "{nth} {moment:?}: {cut_off}");
        let never_begun = told(&bed, queued.id.0).await;
        assert_eq!(never_begun["state"], "failed");
        let detail = &never_begun["problem"]["detail"];
        assert_eq!(
            detail,
            "lpad was stopped before this was begun; nothing was done."
        );
        assert_eq!(never_begun.get("stages"), None);
        for _ in 0..2 {
            bed.kill().await;
            bed.resume().await;
            assert_eq!(told(&bed, deleted.id.0).await, cut_off);
            assert_eq!(told(&bed, queued.id.0).await, never_begun);
        }
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn queued_operations_are_told_as_never_begun_after_a_power_cut_and_none_is_forgotten() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let (running, hold) = held(&bed, &iccid).await;
    let mut queued = Vec::new();
    for number in 0..6 {
        let name = format!("Name {number}");
        queued.push(bed.client.rename(EUICC, &iccid, &name).await.unwrap());
    }
    bed.kill().await;
    hold.release();
    for _ in 0..2 {
        bed.resume().await;
        bed.settle().await;
        for asked in &queued {
            let told = bed.client.operation(asked.id, 0).await.unwrap();
            assert_eq!((told.state, told.kind), (State::Failed, asked.kind));
            assert_eq!(
                (&told.client, told.created_at_s),
                (&asked.client, asked.created_at_s)
            );
            let problem = told.problem.unwrap();
            assert_eq!(problem.code, Code::Interrupted);
            assert!(problem.detail.contains("nothing was done"), "{problem}");
        }
        let settled = bed.client.operation(running, 0).await.unwrap();
        assert!(settled.state.is_final());
        bed.kill().await;
    }
    bed.resume().await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn of_more_operations_than_are_kept_the_oldest_are_forgotten_with_their_keys() {
    let mut bed = remembering(3, 365).await;
    let mut tries = Vec::new();
    for number in 1..=5 {
        tries.push(deliver(&bed, &format!("k{number}")).await);
        bed.client.wait(OperationId(number)).await.unwrap();
    }
    let kept = |replies: Vec<Value>| replies.iter().map(id_of).collect::<Vec<_>>();
    for _ in 0..2 {
        assert_eq!(kept(list(&bed, "").await), [3, 4, 5]);
        let forgotten = ask(&bed, "GET", "/v1/operations/2", "").await;
        forgotten.is_problem(404, "unknown-operation");
        assert_eq!(id_of(&deliver(&bed, "k3").await.json), 3);
        bed.kill().await;
        bed.resume().await;
    }
    // What is not known any more is a new request.
    let anew = deliver(&bed, "k1").await;
    assert_eq!(id_of(&anew.json), 6);
    bed.client.wait(OperationId(6)).await.unwrap();
    assert_eq!(kept(list(&bed, "").await), [4, 5, 6]);

    // Less is kept from the next start on, and more only of what comes.
    for (history, left) in [(2, &[5, 6][..]), (1, &[6]), (250, &[6])] {
        bed.stop().await;
        bed.configuration().state.history = history;
        bed.resume().await;
        assert_eq!(kept(list(&bed, "").await), left);
    }
}

#[tokio::test(start_paused = true)]
async fn what_ended_too_long_ago_is_forgotten_also_over_a_restart() {
    let mut bed = remembering(100, 3).await;
    deliver(&bed, "k1").await;
    bed.client.wait(OperationId(1)).await.unwrap();
    bed.days_pass(2);
    let second = bed.client.deliver_notifications(EUICC).await;
    bed.ended(second).await;
    bed.kill().await;
    bed.resume().await;
    assert_eq!(list(&bed, "").await.len(), 2);
    // A question is no older than its operation, however long it waits.
    bed.order("M-1");
    let open = bed.offered(&asking(&format!("1${HOST_NAME}$M-1"))).await;
    bed.days_pass(2);
    let forgotten = ask(&bed, "GET", "/v1/operations/1", "").await;
    forgotten.is_problem(404, "unknown-operation");
    let kept: Vec<_> = list(&bed, "").await.iter().map(id_of).collect();
    assert_eq!(kept, [2, 3]);
    bed.ended(bed.client.cancel(open.id).await).await;
    bed.kill().await;
    bed.days_pass(2);
    bed.resume().await;
    let kept: Vec<_> = list(&bed, "").await.iter().map(id_of).collect();
    assert_eq!(kept, [3]);
    let anew = deliver(&bed, "k1").await;
    assert_eq!(id_of(&anew.json), 4);
}

#[tokio::test(start_paused = true)]
async fn a_compacted_journal_holds_no_more_than_the_history() {
    let mut bed = remembering(5, 365).await;
    let journal = bed.folder().join("state/journal.ndjson");
    let mut longest = 0;
    let last = loop {
        let done = bed.client.deliver_notifications(EUICC).await;
        let last = bed.ended(done).await.id.0;
        let length = fs::metadata(&journal).unwrap().len();
        if length < longest {
            break last;
        }
        longest = length;
        assert!(last < 2000, "it grows and grows: {length}");
    };
    assert!(longest > 100_000);
    let text = fs::read_to_string(&journal).unwrap();
    // What ended since is behind them.
    let count = text.matches("operation-finished").count();
    assert!((5..=6).contains(&count), "{count}");
    let before = list(&bed, "").await;
    assert_eq!(
        before.iter().map(id_of).collect::<Vec<_>>(),
        Vec::from_iter(last - 4..=last)
    );
    bed.kill().await;
    bed.resume().await;
    assert_eq!(list(&bed, "").await, before);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_sent_again_is_answered_the_same_and_given_once() {
    let mut bed = Bed::start().await;
    let order = OrderRequest {
        confirmation_code: Some("0815".into()),
        ..OrderRequest::with_matching_id(bed.profile(), "M-1")
    };
    bed.bench.smdp.create_order(order);
    let offered = bed.offered(&asking(&format!("1${HOST_NAME}$M-1"))).await;
    let path = format!("/v1/operations/{}/answer", offered.id);
    let answer = async |bed: &Bed, body: &str| {
        ask_with(bed, "POST", &path, &["Idempotency-Key: answer"], body).await
    };
    // A refused request was not carried out: its key is free.
    let refused = answer(&bed, r#"{"answer":"accept"}"#).await;
    refused.is_problem(422, "confirmation-code-required");
    let right = r#"{"answer":"accept","confirmation_code":"0815"}"#;
    let accepted = answer(&bed, right).await;
    assert_eq!(
        (accepted.status, id_of(&accepted.json)),
        (200, offered.id.0)
    );
    // The digest of a short code would give it away.
    let plain = RequestKey::new("answer", 0, "POST", &path, right.as_bytes());
    let journal = fs::read_to_string(bed.folder().join("state/journal.ndjson")).unwrap();
    assert!(!journal.contains(&plain.digest.to_string()));
    let at_once = answer(&bed, right).await;
    assert_eq!(
        (at_once.status, &at_once.json["state"]),
        (200, &json!("running"))
    );
    succeeded(&bed.client.wait(offered.id).await.unwrap());
    let later = answer(&bed, right).await;
    assert_eq!(
        (later.status, &later.json["state"]),
        (200, &json!("succeeded"))
    );
    for _ in 0..2 {
        let other = answer(&bed, r#"{"answer":"decline"}"#).await;
        other.is_problem(422, "idempotency-key-reused");
        assert_eq!(other.json["operation"], offered.id.to_string());
        bed.kill().await;
        bed.resume().await;
        let again = answer(&bed, right).await;
        assert_eq!((again.status, &again.json), (200, &later.json));
    }
    // With a new key it is a new answer, and too late.
    let key = ["Idempotency-Key: another"];
    let late = ask_with(&bed, "POST", &path, &key, right).await;
    late.is_problem(409, "not-awaiting-answer");
    assert_eq!(bed.client.profiles(EUICC).await.unwrap().len(), 1);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_key_cannot_be_kept_is_not_given() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let offered = bed.offered(&asking(&format!("1${HOST_NAME}$M-1"))).await;
    let state = bed.folder().join("state");
    fs::rename(&state, bed.folder().join("aside")).unwrap();
    fs::write(&state, "in the way").unwrap();
    let path = format!("/v1/operations/{}/answer", offered.id);
    let (key, body) = (["Idempotency-Key: answer"], r#"{"answer":"postpone"}"#);
    let refused = ask_with(&bed, "POST", &path, &key, body).await;
    refused.is_problem(503, "state-unwritable");
    let asked = bed.client.operation(offered.id, 0).await.unwrap();
    assert_eq!(asked.state, State::AwaitingAnswer);
    fs::remove_file(&state).unwrap();
    fs::rename(bed.folder().join("aside"), &state).unwrap();
    let taken = ask_with(&bed, "POST", &path, &key, body).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let ended = bed.client.wait(offered.id).await.unwrap();
    assert_eq!(ended.problem.unwrap().code, Code::Postponed);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_is_sent_again_is_answered_the_same_also_after_a_restart() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let offered = bed.offered(&asking(&format!("1${HOST_NAME}$M-1"))).await;
    let queued = bed.client.deliver_notifications(EUICC).await.unwrap();
    let key = ["Idempotency-Key: stop"];
    let cancel = |id: OperationId| format!("/v1/operations/{id}/cancel");
    let path = cancel(queued.id);
    let first = ask_with(&bed, "POST", &path, &key, "").await;
    assert_eq!(
        (first.status, &first.json["state"]),
        (202, &json!("cancelled"))
    );
    for _ in 0..2 {
        let again = ask_with(&bed, "POST", &path, &key, "").await;
        assert_eq!((again.status, &again.json), (202, &first.json));
        assert_eq!(again.header("location"), first.header("location"));
        ask(&bed, "POST", &path, "")
            .await
            .is_problem(409, "operation-ended");
        let other = ask_with(&bed, "POST", &cancel(offered.id), &key, "").await;
        other.is_problem(422, "idempotency-key-reused");
        bed.kill().await;
        bed.resume().await;
    }
    // A hundred of them, each with a key of its own, while it runs; and two at once with the same.
    let iccid = bed.install().await;
    let (running, hold) = held(&bed, &iccid).await;
    for number in 0..100 {
        let key = format!("Idempotency-Key: stop {number}");
        let reply = ask_with(&bed, "POST", &cancel(running), &[&key], "").await;
        assert_eq!(reply.status, 202, "{reply:?}");
    }
    let path = cancel(running);
    let twice = tokio::join!(
        ask_with(&bed, "POST", &path, &["Idempotency-Key: twice"], ""),
        ask_with(&bed, "POST", &path, &["Idempotency-Key: twice"], ""),
    );
    assert_eq!((twice.0.status, twice.1.status), (202, 202));
    hold.release();
    assert_eq!(
        bed.client.wait(running).await.unwrap().state,
        State::Cancelled
    );
    bed.kill().await;
    bed.resume().await;
    let last = ask_with(&bed, "POST", &path, &["Idempotency-Key: stop 99"], "").await;
    assert_eq!(
        (last.status, &last.json["state"]),
        (202, &json!("cancelled"))
    );
    let journal = fs::read_to_string(bed.folder().join("state/journal.ndjson")).unwrap();
    assert!(journal.len() < 64 * 1024, "{}", journal.len());
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_of_a_switch_may_be_sent_again_also_after_a_restart() {
    let mut bed = Bed::start().await;
    let iccids = [bed.install().await, bed.install().await];
    succeeded(&bed.switch(&iccids[0], ProfileState::Enabled).await);
    bed.stop().await;
    bed.configuration().euiccs[0].switch = SwitchConfig {
        confirm: Confirm::Client,
        ..SwitchConfig::default()
    };
    bed.resume().await;
    for (verdict, iccid, state) in [
        ("revert", &iccids[1], "failed"),
        ("confirm", &iccids[1], "succeeded"),
    ] {
        let started = bed.client.enable(EUICC, iccid).await.unwrap();
        let mut events = bed.client.events(Some(0)).await.unwrap();
        loop {
            let now = bed.client.operation(started.id, 0).await.unwrap();
            if now.stage == Some(Stage::AwaitingConfirm) {
                break;
            }
            events.next().await.unwrap();
        }
        let key = format!("Idempotency-Key: {verdict}");
        let path = format!("/v1/operations/{}/{verdict}", started.id);
        for _ in 0..2 {
            let reply = ask_with(&bed, "POST", &path, &[&key], "").await;
            assert_eq!((reply.status, id_of(&reply.json)), (200, started.id.0));
        }
        bed.client.wait(started.id).await.unwrap();
        bed.kill().await;
        bed.resume().await;
        let again = ask_with(&bed, "POST", &path, &[&key], "").await;
        assert_eq!((again.status, &again.json["state"]), (200, &json!(state)));
        ask(&bed, "POST", &path, "")
            .await
            .is_problem(409, "operation-ended");
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_of_any_kind_that_is_sent_twice_at_once_is_one_operation() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let profile = format!("/v1/euiccs/default/profiles/{iccid}");
    let (enable, name) = (r#"{"state":"enabled"}"#, r#"{"nickname":"Uplink"}"#);
    for (number, (method, path, body)) in [
        (
            "PUT",
            "/v1/euiccs/default/addresses",
            r#"{"default_smdp":"smdp.example.com"}"#,
        ),
        ("PATCH", &profile, enable),
        ("PATCH", &profile, name),
        ("POST", DELIVER, ""),
        (
            "POST",
            "/v1/euiccs/default/downloads",
            r#"{"default":true,"consent":"accept"}"#,
        ),
        ("DELETE", &profile, ""),
        (
            "POST",
            "/v1/euiccs/default/reset",
            r#"{"confirm":"default","test_profiles":true}"#,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("Idempotency-Key: {number}");
        let send = async || {
            let key = [key.as_str()];
            ask_with(&bed, method, path, &key, body).await
        };
        let (first, second) = tokio::join!(send(), send());
        assert_eq!((first.status, second.status), (202, 202), "{method} {path}");
        let id = id_of(&first.json);
        assert_eq!(id_of(&second.json), id);
        let ended = bed.client.wait(OperationId(id)).await.unwrap();
        let again = send().await;
        assert_eq!(again.json["state"], ended.state.name());
        assert_eq!(list(&bed, "").await.len(), 2 + number);
    }
    // A failure is told again as well, and not tried again.
    bed.kill().await;
    bed.resume().await;
    let all = list(&bed, "").await;
    let again = ask_with(&bed, "DELETE", &profile, &["Idempotency-Key: 5"], "").await;
    assert_eq!(again.json, all[6]);
    assert_eq!(again.json["problem"]["code"], "profile-enabled");
    assert_eq!(list(&bed, "").await.len(), all.len());
}

#[tokio::test]
async fn a_request_that_is_not_to_wait_is_refused_while_anything_is_under_way() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let now = format!("{DELIVER}?queue=false");
    let key = ["Idempotency-Key: now"];
    let free = ask_with(&bed, "POST", &now, &key, "").await;
    assert_eq!(free.status, 202, "{free:?}");
    bed.client
        .wait(OperationId(id_of(&free.json)))
        .await
        .unwrap();
    let (running, hold) = held(&bed, &iccid).await;
    let profile = format!("/v1/euiccs/default/profiles/{iccid}");
    for (method, path, body) in [
        ("POST", now.as_str(), ""),
        ("DELETE", &format!("{profile}?force=true&queue=false"), ""),
        (
            "PATCH",
            &format!("{profile}?queue=false"),
            r#"{"state":"enabled"}"#,
        ),
        (
            "PUT",
            "/v1/euiccs/default/addresses?queue=false",
            r#"{"default_smdp":""}"#,
        ),
        (
            "POST",
            "/v1/euiccs/default/downloads?queue=false",
            r#"{"default":true}"#,
        ),
        (
            "POST",
            "/v1/euiccs/default/reset?queue=false",
            r#"{"confirm":"default","test_profiles":true}"#,
        ),
    ] {
        let refused = ask(&bed, method, path, body).await;
        refused.is_problem(409, "busy");
        assert_eq!(refused.json["operation"], running.to_string());
        assert_eq!(refused.json["retryable"], true);
    }
    // What was asked for before is no new request.
    let again = ask_with(&bed, "POST", &now, &key, "").await;
    assert_eq!((again.status, id_of(&again.json)), (202, id_of(&free.json)));
    for arguments in [
        &["--no-queue", "notification", "deliver"][..],
        &["profile", "rename", &iccid, "Uplink", "--no-queue"],
        &[
            "profile",
            "delete",
            &iccid,
            "--yes",
            "--force",
            "--no-queue",
        ],
    ] {
        let refused = lpactl(&bed, arguments).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains("The eUICC is busy."), "{refused:?}");
        assert!(refused.err.contains("was not to wait"), "{refused:?}");
    }
    let waits = ask(&bed, "POST", &format!("{DELIVER}?queue=true"), "").await;
    assert_eq!(
        (waits.status, &waits.json["state"]),
        (202, &json!("queued"))
    );
    assert_eq!(list(&bed, "").await.len(), 4);
    hold.release();
    bed.client
        .wait(OperationId(id_of(&waits.json)))
        .await
        .unwrap();
    let done = lpactl(&bed, &["--no-queue", "profile", "list"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    bed.must_be_sound().await;
}

#[tokio::test]
async fn operations_are_listed_by_state_kind_euicc_and_time() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    bed.fail("UNHEARD-OF").await;
    bed.days_pass(1);
    let renamed = bed.client.rename(EUICC, &iccid, "Uplink").await;
    let renamed = bed.ended(renamed).await;
    let (_, hold) = held(&bed, &iccid).await;
    let since = format!("since={}", renamed.finished_at_s.unwrap());
    let after = format!("since={}", renamed.finished_at_s.unwrap() + 1);
    for (query, ids) in [
        ("", &[1, 2, 3, 4][..]),
        ("state=succeeded", &[1, 3]),
        ("state=running", &[4]),
        ("state=cancelled", &[]),
        ("kind=download", &[1, 2]),
        ("kind=download&state=failed", &[2]),
        ("euicc=default", &[1, 2, 3, 4]),
        ("since=0", &[1, 2, 3, 4]),
        (&since, &[3, 4]),
        (&after, &[4]),
        (
            &format!("{since}&kind=rename&euicc=default&state=succeeded"),
            &[3],
        ),
    ] {
        let found: Vec<_> = list(&bed, query).await.iter().map(id_of).collect();
        assert_eq!(found, ids, "{query}");
    }
    for query in [
        "state=",
        "state=Failed",
        "state=failed,running",
        "state=failed&state=running",
        "kind=dance",
        "kind=set_default_smdp",
        "euicc=nobody",
        "euicc=",
        "since=",
        "since=-1",
        "since=%2B1",
        "since=1.5",
        "since=2026-11-28T18:00:00Z",
        "since=99999999999999999999999",
        "until=7",
        "=",
    ] {
        let refused = ask(&bed, "GET", &format!("/v1/operations?{query}"), "").await;
        refused.is_problem(400, "invalid-request");
    }
    let detail = ask(&bed, "GET", "/v1/operations?kind=dance", "").await.json;
    let names = "kind is one of download, enable, disable,";
    assert!(
        detail["detail"].as_str().unwrap().starts_with(names),
        "{detail}"
    );

    let listed = async |arguments: &[&str]| {
        let arguments = [&["--json", "operation", "list"], arguments].concat();
        let run = lpactl(&bed, &arguments).await;
        assert_eq!(run.code, 0, "{run:?}");
        let list = run.json()["operations"].as_array().unwrap().clone();
        list.iter().map(id_of).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["--state", "failed"]).await, [2]);
    assert_eq!(
        listed(&["--kind", "rename", "--euicc", "default"]).await,
        [3]
    );
    assert_eq!(listed(&["--since", "1h"]).await, [1, 2, 3, 4]);
    assert_eq!(listed(&["--since", "2100-01-01T00:00:00Z"]).await, [4]);
    for wrong in [
        ["--state", "asleep"],
        ["--since", "soon"],
        ["--euicc", "nobody"],
    ] {
        let arguments = [&["operation", "list"][..], &wrong].concat();
        let run = lpactl(&bed, &arguments).await;
        assert_eq!(run.code, 2, "{run:?}");
    }
    hold.release();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_leaves_no_trace() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let request = asking(&format!("1${HOST_NAME}$M-1"));
    let offered = bed.offered(&request).await;
    // Nobody answers.
    let ended = bed.client.wait(offered.id).await.unwrap();
    assert_eq!(ended.problem.unwrap().code, Code::NoAnswer);
    let cancelled = bed.offered(&request).await;
    let (key, body) = (["Idempotency-Key: late"], r#"{"answer":"decline"}"#);
    let answer = |id: OperationId| format!("/v1/operations/{id}/answer");
    let path = format!("/v1/operations/{}", cancelled.id);
    // Cancelled just now, and not told so yet.
    let both = tokio::join!(
        ask(&bed, "DELETE", &path, ""),
        bed.client.wait(cancelled.id),
    );
    assert_eq!(both.0.status, 202);
    for id in [offered.id, cancelled.id] {
        let late = ask_with(&bed, "POST", &answer(id), &key, body).await;
        late.is_problem(409, "not-awaiting-answer");
    }
    // Its key is as free as before.
    let offered = bed.offered(&request).await;
    let taken = ask_with(&bed, "POST", &answer(offered.id), &key, body).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let ended = bed.client.wait(offered.id).await.unwrap();
    assert_eq!(ended.problem.unwrap().code, Code::Declined);
    let Err(ClientError::Problem(refused)) = bed.client.cancel(offered.id).await else {
        panic!("it has ended");
    };
    assert_eq!(refused.code, Code::OperationEnded);
}

/// What the API says of an operation.
async fn told(bed: &Bed, id: u64) -> Value {
    let reply = ask(bed, "GET", &format!("/v1/operations/{id}"), "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json
}

async fn list(bed: &Bed, query: &str) -> Vec<Value> {
    let reply = ask(bed, "GET", &format!("/v1/operations?{query}"), "").await;
    assert_eq!(reply.status, 200, "{query}: {reply:?}");
    reply.json["operations"].as_array().unwrap().clone()
}

fn id_of(operation: &Value) -> u64 {
    operation["id"].as_str().unwrap().parse().unwrap()
}

async fn deliver(bed: &Bed, key: &str) -> Reply {
    let key = format!("Idempotency-Key: {key}");
    let reply = ask_with(bed, "POST", DELIVER, &[&key], "").await;
    assert_eq!(reply.status, 202, "{reply:?}");
    reply
}

/// A daemon that keeps so many operations for so many days.
async fn remembering(history: usize, history_days: u64) -> Bed {
    let mut bed = Bed::start().await;
    bed.stop().await;
    let state = &mut bed.configuration().state;
    (state.history, state.history_days) = (history, history_days);
    bed.resume().await;
    bed
}

/// An operation that is under way, and can still be cancelled.
async fn held(bed: &Bed, iccid: &str) -> (OperationId, Hold) {
    let modem = &bed.bench.modem;
    let mut hold = modem.hold(Pattern::ANY, 1, Moment::BeforeExecution);
    let running = bed.client.delete(EUICC, iccid, true).await.unwrap();
    hold.reached().await;
    (running.id, hold)
}

const DELIVER: &str = "/v1/euiccs/default/notifications/deliver";
/// The last of the four blocks in which a whole piece of a profile package travels.
const PIECE: Pattern = Pattern {
    p2: Some(3),
    ..Pattern::LAST_BLOCK
};
