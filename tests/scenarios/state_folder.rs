//! What lpad keeps on disk, and what happens to it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lpad::api::body::EventKind;
use lpad::job::{Kind, OperationId};
use lpad::memory::operations::State;
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC};
use lpad_tests::bench::Bench;
use sim_card_emulator::modem::{Moment, Pattern};
use tokio::time::timeout;

use crate::api::{ask, ask_with};
use crate::crashes::lpad;
use crate::lpactl::lpactl;

#[tokio::test(start_paused = true)]
async fn a_number_that_was_told_is_never_told_again() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let mut hold = bed
        .bench
        .modem
        .hold(Pattern::ANY, 1, Moment::BeforeExecution);
    let holder = bed.client.delete(EUICC, &iccid).await.unwrap().id;
    hold.reached().await;
    let queued = bed.client.rename(EUICC, &iccid, "Uplink").await.unwrap();
    assert_eq!(queued.state, State::Queued);
    bed.kill().await;
    hold.release();
    bed.resume().await;
    bed.settle().await;
    let told = bed.client.operation(queued.id, 0).await.unwrap();
    assert_eq!((told.kind, told.state), (Kind::Rename, State::Failed));
    let problem = told.problem.unwrap();
    assert_eq!(problem.code, Code::Interrupted);
    assert!(problem.detail.contains("nothing was done"), "{problem}");
    let settled = bed.client.operation(holder, 0).await.unwrap();
    assert!(settled.state.is_final(), "{settled:?}");
    let next = bed.client.deliver_notifications(EUICC).await.unwrap();
    assert!(next.id > queued.id, "{} {}", next.id, queued.id);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn how_an_operation_ended_is_told_after_each_restart() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let renamed = bed.client.rename(EUICC, &iccid, "Uplink").await;
    let renamed = bed.ended(renamed).await;
    let failed = bed.download_id("unknown").await;
    assert_eq!(failed.problem.unwrap().code, Code::MatchingIdRefused);
    for _ in 0..2 {
        bed.kill().await;
        bed.resume().await;
        let told = bed.client.operation(renamed.id, 0).await.unwrap();
        assert_eq!((told.kind, told.state), (Kind::Rename, State::Succeeded));
        assert_eq!(told.created_at_s, renamed.created_at_s);
        let told = bed.client.operation(failed.id, 0).await.unwrap();
        assert_eq!((told.kind, told.state), (Kind::Download, State::Failed));
        let problem = told.problem.unwrap();
        assert_eq!(problem.code, Code::FailedEarlier);
        assert_eq!(
            problem.detail,
            "This failed before lpad was restarted; the reason was told then."
        );
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_told_to_end_tells_what_waits_that_nothing_was_done() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let mut hold = bed.bench.modem.hold(Pattern::ANY, 1, Moment::BeforeAnswer);
    bed.client.delete(EUICC, &iccid).await.unwrap();
    hold.reached().await;
    let queued = bed.client.rename(EUICC, &iccid, "Uplink").await.unwrap();
    tokio::join!(bed.stop(), async { hold.release() });
    bed.resume().await;
    let told = bed.client.operation(queued.id, 0).await.unwrap();
    assert_eq!(told.problem.unwrap().code, Code::Interrupted);
    let next = bed.client.deliver_notifications(EUICC).await.unwrap();
    assert!(next.id > queued.id);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_used_for_another_request_is_refused_and_nothing_is_done() {
    let mut bed = Bed::start().await;
    let profiles = [bed.install().await, bed.install().await];
    let path = |iccid: &str| format!("/v1/euiccs/default/profiles/{iccid}");
    let key = ["Idempotency-Key: k1"];
    let deleted = ask_with(&bed, "DELETE", &path(&profiles[0]), &key, "").await;
    assert_eq!(deleted.status, 202);
    let id: OperationId = deleted.json["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(bed.client.wait(id).await.unwrap().state, State::Succeeded);
    for (method, iccid, body) in [
        ("DELETE", &profiles[1], ""),
        ("PATCH", &profiles[0], r#"{"nickname":"Uplink"}"#),
        ("DELETE", &profiles[0], " "),
    ] {
        let refused = ask_with(&bed, method, &path(iccid), &key, body).await;
        refused.is_problem(422, "idempotency-key-reused");
        assert_eq!(refused.json["operation"], id.to_string());
    }
    let kept = bed.client.profiles(EUICC).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].iccid, profiles[1]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_is_the_same_operation_after_a_restart() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let path = format!("/v1/euiccs/default/profiles/{iccid}");
    let key = ["Idempotency-Key: k1"];
    let deleted = ask_with(&bed, "DELETE", &path, &key, "").await;
    let id: OperationId = deleted.json["id"].as_str().unwrap().parse().unwrap();
    bed.client.wait(id).await.unwrap();
    for _ in 0..2 {
        bed.kill().await;
        bed.resume().await;
        let again = ask_with(&bed, "DELETE", &path, &key, "").await;
        assert_eq!(again.status, 202);
        assert_eq!(again.json["id"], id.to_string());
        assert_eq!(again.json["state"], "succeeded");
        let other = ask_with(&bed, "DELETE", &format!("{path}1"), &key, "").await;
        other.is_problem(422, "idempotency-key-reused");
    }
}

#[tokio::test(start_paused = true)]
async fn the_key_of_an_operation_that_was_killed_is_known_before_the_card_has_told() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let path = format!("/v1/euiccs/default/profiles/{iccid}");
    let key = ["Idempotency-Key: k1"];
    let mut hold = bed.bench.modem.hold(Pattern::ANY, 9, Moment::BeforeAnswer);
    let deleted = ask_with(&bed, "DELETE", &path, &key, "").await;
    hold.reached().await;
    bed.kill().await;
    hold.release();
    bed.bench.unplug();
    bed.boot();
    let again = ask_with(&bed, "DELETE", &path, &key, "").await;
    assert_eq!(again.json["id"], deleted.json["id"]);
    assert_eq!(again.json["state"], "running");
    let all = bed.client.operations().await.unwrap();
    let deletions = all.iter().filter(|one| one.kind == Kind::Delete);
    assert_eq!(deletions.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_state_folder_that_was_removed_is_made_again() {
    let mut bed = Bed::start().await;
    let first = bed.client.deliver_notifications(EUICC).await.unwrap();
    bed.client.wait(first.id).await.unwrap();
    let state = bed.folder().join("state");
    fs::remove_dir_all(&state).unwrap();
    assert_eq!(bed.client.health().await.unwrap().status, "ok");
    assert!(state.join("journal.ndjson").exists());
    fs::remove_dir_all(&state).unwrap();
    let second = bed.client.deliver_notifications(EUICC).await.unwrap();
    assert!(state.join("journal.ndjson").exists());
    bed.kill().await;
    bed.resume().await;
    let third = bed.client.deliver_notifications(EUICC).await.unwrap();
    assert!(third.id > second.id);
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_made_again_is_told_and_nothing_is_begun() {
    let bed = Bed::start().await;
    let state = bed.folder().join("state");
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "in the way").unwrap();
    let health = bed.client.health().await.unwrap();
    assert_eq!(health.status, "degraded");
    assert_eq!(health.problems[0].code, Code::StateUnwritable);
    let status = lpactl(&bed, &["status"]).await;
    assert!(status.out.contains("cannot be written"), "{status:?}");
    let path = "/v1/euiccs/default/notifications/deliver";
    let refused = ask(&bed, "POST", path, "").await;
    refused.is_problem(503, "state-unwritable");
    assert!(bed.client.operations().await.unwrap().is_empty());
    fs::remove_file(&state).unwrap();
    assert_eq!(ask(&bed, "POST", path, "").await.status, 202);
    assert_eq!(bed.client.health().await.unwrap().status, "ok");
}

#[tokio::test]
async fn a_damaged_journal_is_set_aside_and_told_and_what_is_behind_the_damage_is_kept() {
    let mut bed = Bed::start().await;
    for _ in 0..3 {
        let operation = bed.client.deliver_notifications(EUICC).await.unwrap();
        bed.client.wait(operation.id).await.unwrap();
    }
    bed.kill().await;
    let state = bed.folder().join("state");
    let journal = state.join("journal.ndjson");
    let mut content = fs::read(&journal).unwrap();
    content[20] ^= 1;
    fs::write(&journal, &content).unwrap();
    bed.resume().await;
    let aside = fs::read(state.join("journal.damaged-1")).unwrap();
    assert_eq!(aside, content);
    let health = bed.client.health().await.unwrap();
    assert_eq!(health.status, "ok");
    let problem = &health.problems[0];
    assert_eq!(problem.code, Code::JournalDamaged);
    assert!(problem.detail.contains("journal.damaged-1"), "{problem}");
    let status = lpactl(&bed, &["status"]).await;
    assert!(status.out.contains("journal.damaged-1"), "{status:?}");
    let next = bed.client.deliver_notifications(EUICC).await.unwrap();
    assert_eq!(next.id, OperationId(4));
    // The operator has looked at it.
    fs::remove_file(state.join("journal.damaged-1")).unwrap();
    assert!(bed.client.health().await.unwrap().problems.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_back_after_a_restart_is_told_that_it_missed_events() {
    let mut bed = Bed::start().await;
    bed.install().await;
    let mut events = bed.client.events(None).await.unwrap();
    let operation = bed.client.deliver_notifications(EUICC).await.unwrap();
    bed.client.wait(operation.id).await.unwrap();
    let seen = events.next().await.unwrap().unwrap().id;
    bed.kill().await;
    bed.resume().await;
    let mut events = bed.client.events(Some(seen)).await.unwrap();
    let missed = events.next().await.unwrap().unwrap();
    assert_eq!(missed.kind, EventKind::Missed);
    let next = events.next().await.unwrap().unwrap();
    assert!(next.id > seen && next.id < 1 << 53, "{}", next.id);
}

#[tokio::test]
async fn a_second_daemon_on_the_same_state_folder_is_refused() {
    let bed = Bed::start().await;
    let folder = tempfile::tempdir().unwrap();
    let said = refused(folder.path(), |configuration| {
        let own = format!("{}/state", folder.path().display());
        let other = bed.folder().join("state");
        configuration.replace(&own, &other.display().to_string())
    })
    .await;
    assert!(said.contains("another lpad keeps its state here"), "{said}");
    assert!(!folder.path().join("lpad.sock").exists());
}

#[tokio::test]
async fn a_journal_that_is_a_link_is_refused_and_what_it_names_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (state, other) = (folder.path().join("state"), folder.path().join("other"));
    fs::create_dir(&state).unwrap();
    fs::write(&other, "valuable").unwrap();
    for target in [&*other, Path::new("/dev/full")] {
        let journal = state.join("journal.ndjson");
        symlink(target, &journal).unwrap();
        let said = refused(folder.path(), |configuration| configuration).await;
        assert!(said.contains("journal.ndjson is a symbolic link"), "{said}");
        fs::remove_file(&journal).unwrap();
        fs::remove_file(folder.path().join("lpad.toml")).unwrap();
        fs::remove_dir_all(folder.path().join("ci.d")).unwrap();
    }
    assert_eq!(fs::read_to_string(&other).unwrap(), "valuable");
}

/// Starts a daemon that must end at once, and gives what it said.
pub(crate) async fn refused(folder: &Path, change: impl FnOnce(String) -> String) -> String {
    let address = "127.0.0.1:1".parse().unwrap();
    let configuration = Bench::new().configure(folder, address, "never").unwrap();
    let text = change(fs::read_to_string(&configuration).unwrap());
    fs::write(&configuration, text).unwrap();
    let ended = lpad(&configuration).stderr(Stdio::piped()).output();
    let ended = timeout(Duration::from_secs(60), ended).await;
    let ended = ended.expect("it ends").unwrap();
    assert_eq!(ended.status.code(), Some(1));
    String::from_utf8(ended.stderr).unwrap()
}
