//! What lpad keeps on disk, and what happens to it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lpad::api::body::{EventKind, Operation};
use lpad::api::downloads::DownloadRequest;
use lpad::job::{Decision, Kind, OperationId};
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState;
use lpad::problem::{Code, CodeConsumed};
use lpad_tests::bed::{Bed, EUICC, accepting, asking, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_servers::smdp::{Calls, Fault, Function};
use sim_card_emulator::modem::{Moment, Pattern};
use tokio::time::timeout;

use crate::api::{ask, ask_with};
use crate::crashes::lpad;
use crate::lpactl::lpactl;
use crate::refusals::by_default;

#[tokio::test(start_paused = true)]
async fn a_number_that_was_told_is_never_told_again() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let mut hold = bed
        .bench
        .modem
        .hold(Pattern::ANY, 1, Moment::BeforeExecution);
    let holder = bed.client.delete(EUICC, &iccid, true).await.unwrap().id;
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

#[tokio::test]
async fn how_each_operation_ended_is_told_the_same_after_each_restart() {
    let mut bed = Bed::start().await;
    let nothing = bed.download_as(&by_default()).await;
    let failed = bed.download_id("UNHEARD-OF").await;
    let refused = Fault::HttpStatus(503);
    let smdp = bed.bench.smdp.clone();
    smdp.set_fault(Function::HandleNotification, Calls::Every, refused);
    bed.order("M-1");
    let installed = DownloadRequest {
        enable: true,
        ..accepting(&format!("1${HOST_NAME}$M-1"))
    };
    let installed = bed.download_as(&installed).await;
    let iccid = installed.result.clone().unwrap().iccid.unwrap();
    smdp.clear_faults();
    let delivered = bed.client.deliver_notifications(EUICC).await;
    let delivered = bed.ended(delivered).await;
    bed.order("M-2");
    let request = asking(&format!("1${HOST_NAME}$M-2"));
    let offered = bed.offered(&request).await;
    let postponed = bed.answer(&offered, Decision::Postpone, "").await;
    let offered = bed.offered(&request).await;
    let cancelled = bed.ended(bed.client.cancel(offered.id).await).await;
    let in_use = bed
        .ended(bed.client.delete(EUICC, &iccid, true).await)
        .await;
    let unchanged = bed.switch(&iccid, ProfileState::Enabled).await;
    let renamed = bed.client.rename(EUICC, &iccid, "Uplink").await;
    let renamed = bed.ended(renamed).await;
    let disabled = bed.switch(&iccid, ProfileState::Disabled).await;
    let deleted = bed
        .ended(bed.client.delete(EUICC, &iccid, true).await)
        .await;
    let ended = [
        nothing, failed, installed, delivered, postponed, cancelled, in_use, unchanged, renamed,
        disabled, deleted,
    ];
    let ids = ended.each_ref().map(|operation| operation.id);
    let told = told_of(&bed, &ids).await;
    // The story is the one this is about.
    for (told, (code, words)) in told.iter().zip([
        (6, "Nothing to download"),
        (1, "matching-id-refused"),
        (
            0,
            "is installed and enabled; notifications delivered: 0, still waiting: 2",
        ),
        (0, "Notifications delivered: 2"),
        (5, "postponed"),
        (5, "cancelled"),
        (1, "profile-enabled"),
        (0, "was enabled already"),
        (0, "is renamed"),
        (0, "is disabled"),
        (0, "is deleted"),
    ]) {
        let all = format!("{told:?}");
        assert!(told.code == code && all.contains(words), "{words}: {all}");
    }
    for _ in 0..2 {
        bed.kill().await;
        bed.resume().await;
        let again = told_of(&bed, &ids).await;
        for (told, again) in told.iter().zip(&again) {
            assert_eq!(told, again);
        }
    }
    let journal = fs::read_to_string(bed.folder().join("state/journal.ndjson")).unwrap();
    for code in ["UNHEARD-OF", "M-1", "M-2"] {
        assert!(!journal.contains(code), "{code}");
    }
    bed.must_be_sound().await;
}

#[tokio::test]
async fn how_an_installation_ended_that_was_cut_off_is_told_the_same_after_each_restart() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let smdp = bed.bench.smdp.clone();
    let request = accepting(&format!("1${HOST_NAME}$M-1"));
    let started = bed.client.download(EUICC, &request).await.unwrap();
    smdp.wait_until(|smdp| smdp.counters().requests(Function::GetBoundProfilePackage) == 1)
        .await;
    let mut hold = bed.bench.modem.hold(Pattern::ANY, 5, Moment::BeforeAnswer);
    hold.reached().await;
    bed.kill().await;
    hold.release();
    bed.resume().await;
    bed.settle().await;
    let told = told_of(&bed, &[started.id]).await;
    let problem = told[0].operation.problem.as_ref().unwrap();
    assert_eq!(problem.code, Code::Interrupted);
    assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
    assert!(problem.retryable, "{problem:?}");
    for _ in 0..2 {
        bed.kill().await;
        bed.resume().await;
        assert_eq!(told_of(&bed, &[started.id]).await, told);
    }
    succeeded(&bed.download_id("M-1").await);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_told_to_end_tells_what_waits_that_nothing_was_done() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let mut hold = bed.bench.modem.hold(Pattern::ANY, 1, Moment::BeforeAnswer);
    bed.client.delete(EUICC, &iccid, true).await.unwrap();
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
    let profile = format!("/v1/euiccs/default/profiles/{iccid}");
    let path = format!("{profile}?force=true");
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
        let other = ask_with(&bed, "DELETE", &format!("{profile}1"), &key, "").await;
        other.is_problem(422, "idempotency-key-reused");
    }
}

#[tokio::test(start_paused = true)]
async fn the_key_of_an_operation_that_was_killed_is_known_before_the_card_has_told() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let path = format!("/v1/euiccs/default/profiles/{iccid}?force=true");
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
    assert_eq!(
        (status.code, &*status.err),
        (7, "Not ready: lpad cannot write its state.\n")
    );
    let json = lpactl(&bed, &["--json", "status"]).await;
    assert_eq!((json.code, json.err), (7, status.err));
    let path = "/v1/euiccs/default/notifications/deliver";
    let refused = ask(&bed, "POST", path, "").await;
    refused.is_problem(503, "state-unwritable");
    assert!(bed.client.operations().await.unwrap().is_empty());
    fs::remove_file(&state).unwrap();
    assert_eq!(ask(&bed, "POST", path, "").await.status, 202);
    assert_eq!(bed.client.health().await.unwrap().status, "ok");
    assert_eq!(lpactl(&bed, &["status"]).await.code, 0);
}

#[tokio::test]
async fn a_folder_that_is_not_lpads_own_is_refused_without_advice_that_harms() {
    for (directory, why) in [
        ("/", "it is the root of the file system; name a folder"),
        ("/dev/null", "it is a device, not a folder; name a folder"),
        (
            "/tmp",
            "everybody may write to it (mode 1777); name a folder",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let said = refused(folder.path(), 2, |configuration| {
            let own = format!("{}/state", folder.path().display());
            configuration.replace(&own, directory)
        })
        .await;
        assert!(said.contains(why), "{said}");
        assert!(!said.contains("chmod"), "{said}");
    }
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
    let said = refused(folder.path(), 1, |configuration| {
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
        let said = refused(folder.path(), 1, |configuration| configuration).await;
        assert!(said.contains("journal.ndjson is a symbolic link"), "{said}");
        fs::remove_file(&journal).unwrap();
        fs::remove_file(folder.path().join("lpad.toml")).unwrap();
        fs::remove_dir_all(folder.path().join("ci.d")).unwrap();
    }
    assert_eq!(fs::read_to_string(&other).unwrap(), "valuable");
}

/// What is told of an operation that ended.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    /// By the API, but for who asked.
    pub(crate) operation: Operation,
    /// By `lpactl operation show`.
    pub(crate) shown: String,
    /// By `lpactl operation wait`, with its exit code.
    pub(crate) outcome: String,
    pub(crate) code: i32,
}

pub(crate) async fn told_of(bed: &Bed, ids: &[OperationId]) -> Vec<Told> {
    let mut told = Vec::new();
    for id in ids {
        let number = id.to_string();
        let shown = lpactl(bed, &["operation", "show", &number]).await;
        let ended = lpactl(bed, &["operation", "wait", &number]).await;
        told.push(Told {
            operation: bed.client.operation(*id, 0).await.unwrap(),
            shown: shown.out,
            outcome: ended.out + &ended.err,
            code: ended.code,
        });
    }
    told
}

/// Starts a daemon that must end at once, with this code, and gives what it said.
pub(crate) async fn refused(
    folder: &Path,
    code: i32,
    change: impl FnOnce(String) -> String,
) -> String {
    let address = "127.0.0.1:1".parse().unwrap();
    let configuration = Bench::new().configure(folder, address, "never").unwrap();
    let text = change(fs::read_to_string(&configuration).unwrap());
    fs::write(&configuration, text).unwrap();
    let ended = lpad(&configuration).stderr(Stdio::piped()).output();
    let ended = timeout(Duration::from_secs(60), ended).await;
    let ended = ended.expect("it ends").unwrap();
    assert_eq!(ended.status.code(), Some(code));
    String::from_utf8(ended.stderr).unwrap()
}
