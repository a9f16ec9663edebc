//! The API over its real socket, byte for byte as `curl` and scripts use it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lpad::api::action::{Access, Action};
use lpad::api::actor::{Actor, Permissions};
use lpad::api::downloads::DownloadRequest;
use lpad::job::{Consent, OperationId};
use lpad::memory::operations::{QUEUE_LENGTH, State};
use lpad::secret::Secret;
use lpad_tests::bed::{Bed, EUICC, accepting, succeeded};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::smdp::OrderRequest;
use serde_json::{Value, json};
use sim_card_emulator::modem::{Hold, Moment, Pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::log::Log;

#[tokio::test(start_paused = true)]
async fn everything_can_be_read() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    let profile = format!("/v1/euiccs/default/profiles/{iccid}");
    for (path, member) in [
        ("/v1/health", "status"),
        ("/v1/version", "version"),
        ("/v1/euiccs", "euiccs"),
        ("/v1/euiccs/default", "eid"),
        ("/v1/euiccs/default/addresses", "root_smds"),
        ("/v1/euiccs/default/profiles", "profiles"),
        (&profile, "iccid"),
        ("/v1/euiccs/default/notifications", "notifications"),
        ("/v1/operations", "operations"),
        ("/v1/operations/1", "state"),
    ] {
        let reply = ask(&bed, "GET", path, "").await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.json.get(member).is_some(), "{path}: {}", reply.json);
    }
    let health = ask(&bed, "GET", "/v1/health", "").await.json;
    assert_eq!(health, json!({"status": "ok", "euiccs": {EUICC: "ready"}}));
    let euicc = ask(&bed, "GET", "/v1/euiccs/default", "").await.json;
    assert_eq!(euicc["eid"], bed.bench.eid());
    assert_eq!(euicc["info"]["svn"], "2.5.0");
}

#[tokio::test]
async fn curl_reads_profiles_and_downloads_one() {
    let mut bed = Bed::start().await;
    bed.order("CURL");
    let code = format!(r#"{{"activation_code":"LPA:1${HOST_NAME}$CURL","consent":"accept"}}"#);
    // Without a word about the content type, as one types it.
    let Some(started) = curl(&bed, &["-d", &code, "/v1/euiccs/default/downloads"]).await else {
        return;
    };
    let id = started["id"].as_str().unwrap();
    let ended = curl(&bed, &[&format!("/v1/operations/{id}?wait=30")]).await;
    assert_eq!(ended.unwrap()["state"], "succeeded");
    let listed = curl(&bed, &["/v1/euiccs/default/profiles"]).await.unwrap();
    let iccid = &listed["profiles"][0]["iccid"];
    let body = r#"{"nickname":"Lager"}"#;
    let path = format!("/v1/euiccs/default/profiles/{}", iccid.as_str().unwrap());
    let renamed = curl(&bed, &["-X", "PATCH", "-d", body, &path]).await;
    assert_eq!(renamed.unwrap()["kind"], "rename");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_accepted_with_its_operation_and_the_place_to_follow_it() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let reply = ask(&bed, "POST", DOWNLOADS, &download("M-1")).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.json["kind"], "download");
    assert_eq!(reply.json["state"], "queued");
    let location = reply.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/v1/operations/{}", id(&reply.json)));
    let ended = ask(&bed, "GET", &format!("{location}?wait=30"), "").await;
    assert_eq!(ended.json["state"], "succeeded");
    assert_eq!(ended.json["stage"], "done");
    assert_eq!(ended.json["result"]["notifications_delivered"], 1);
    let progress = &ended.json["progress"];
    assert!(progress["done"].as_u64() > Some(0) && progress["total"].as_u64() > Some(3000));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_its_time_and_the_operation_goes_on() {
    let mut bed = Bed::start().await;
    let (operation, hold) = held_download(&mut bed).await;
    let asked = Instant::now();
    let path = format!("/v1/operations/{operation}?wait=7");
    let reply = ask(&bed, "GET", &path, "").await;
    assert_eq!(asked.elapsed().as_secs(), 7);
    assert_eq!(reply.json["state"], "running");
    hold.release();
    let ended = bed.client.wait(operation).await.unwrap();
    succeeded(&ended);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_does_not_stop_its_operation() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let mut stream = connect(&bed).await;
    let request = request("POST", DOWNLOADS, &[], &download("M-1"));
    stream.write_all(request.as_bytes()).await.unwrap();
    // Gone as soon as it is known to have been heard.
    stream.readable().await.unwrap();
    drop(stream);
    let ended = bed.client.wait(OperationId(1)).await.unwrap();
    succeeded(&ended);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_with_the_same_key_is_the_same_operation() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let key = ["Idempotency-Key: 4c7e-0001"];
    let first = ask_with(&bed, "POST", DOWNLOADS, &key, &download("M-1")).await;
    let again = ask_with(&bed, "POST", DOWNLOADS, &key, &download("M-1")).await;
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.json["id"], again.json["id"]);
    bed.client.wait(OperationId(1)).await.unwrap();
    let later = ask_with(&bed, "POST", DOWNLOADS, &key, &download("M-1")).await;
    assert_eq!(later.json["id"], first.json["id"]);
    assert_eq!(later.json["state"], "succeeded");

    let other = ask_with(&bed, "POST", DOWNLOADS, &key, &download("M-2")).await;
    other.is_problem(422, "idempotency-key-reused");
    assert_eq!(other.json["operation"], first.json["id"]);
    assert_eq!(bed.client.operations().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn operations_queue_up_and_a_full_queue_names_the_operation_that_holds_the_euicc() {
    let mut bed = Bed::start().await;
    let (holder, hold) = held_download(&mut bed).await;
    let path = "/v1/euiccs/default/notifications/deliver";
    for _ in 1..QUEUE_LENGTH {
        let reply = ask(&bed, "POST", path, "").await;
        assert_eq!(
            (reply.status, &reply.json["state"]),
            (202, &json!("queued"))
        );
    }
    let refused = ask(&bed, "POST", path, "").await;
    refused.is_problem(409, "busy");
    assert_eq!(refused.json["operation"], holder.to_string());
    assert_eq!(refused.json["retryable"], true);
    hold.release();
    for operation in bed.client.operations().await.unwrap() {
        let ended = bed.client.wait(operation.id).await.unwrap();
        succeeded(&ended);
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_queued_operation_is_cancelled_at_once_and_a_running_one_at_its_next_safe_point() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let asking = DownloadRequest {
        consent: Consent::Ask,
        ..accepting(&format!("1${HOST_NAME}$M-1"))
    };
    let asking = bed.client.download(EUICC, &asking).await.unwrap();
    let asking = bed.client.operation(asking.id, 30).await.unwrap();
    assert_eq!(asking.state, State::AwaitingAnswer);
    assert_eq!(asking.offer.unwrap().profile_name, "Profile 1");

    let queued = bed.client.deliver_notifications(EUICC).await.unwrap();
    let reply = ask(&bed, "POST", &cancel(queued.id), "").await;
    assert_eq!(
        (reply.status, &reply.json["state"]),
        (202, &json!("cancelled"))
    );

    let reply = ask(&bed, "POST", &cancel(asking.id), "").await;
    assert_eq!(reply.status, 202);
    let ended = ask(
        &bed,
        "GET",
        &format!("/v1/operations/{}?wait=30", asking.id),
        "",
    )
    .await;
    assert_eq!(ended.json["state"], "cancelled");
    assert_eq!(ended.json["problem"]["code"], "cancelled");
    assert_eq!(ended.json["problem"]["code_consumed"], "no");
    let again = ask(&bed, "POST", &cancel(asking.id), "").await;
    again.is_problem(409, "operation-ended");

    let operation = bed.download_id("M-1").await;
    succeeded(&operation);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn past_the_point_of_no_return_a_cancel_is_refused_and_the_download_succeeds() {
    let mut bed = Bed::start().await;
    let (operation, hold) = held_download(&mut bed).await;
    let running = bed.client.operation(operation, 0).await.unwrap();
    assert!(!running.cancellable);
    for (method, path) in [
        ("POST", cancel(operation)),
        ("DELETE", format!("/v1/operations/{operation}")),
    ] {
        let refused = ask(&bed, method, &path, "").await;
        refused.is_problem(409, "past-point-of-no-return");
        assert_eq!(refused.json["operation"], operation.to_string());
    }
    hold.release();
    let ended = bed.client.wait(operation).await.unwrap();
    succeeded(&ended);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_a_complete_problem_document() {
    let bed = Bed::start().await;
    let profile = "/v1/euiccs/default/profiles/8901999000000000017";
    let addresses = "/v1/euiccs/default/addresses";
    let reset = "/v1/euiccs/default/reset";
    let too_large = format!(r#"{{"smdp":"{}"}}"#, "a".repeat(65 * 1024));
    for (method, path, body, status, code) in [
        ("GET", "/", "", 404, "not-found"),
        ("GET", "/v1/nothing", "", 404, "not-found"),
        ("GET", "/v1/../etc/passwd", "", 404, "not-found"),
        ("GET", "/v1/euiccs/nobody", "", 404, "unknown-euicc"),
        (
            "POST",
            "/v1/euiccs/nobody/downloads",
            r#"{"default":true}"#,
            404,
            "unknown-euicc",
        ),
        ("GET", profile, "", 404, "unknown-profile"),
        (
            "GET",
            "/v1/euiccs/default/profiles/12",
            "",
            404,
            "unknown-profile",
        ),
        ("GET", "/v1/operations/77", "", 404, "unknown-operation"),
        (
            "POST",
            "/v1/operations/77/cancel",
            "",
            404,
            "unknown-operation",
        ),
        ("GET", "/v1/operations/last", "", 404, "unknown-operation"),
        (
            "GET",
            "/v1/operations/1?wait=61",
            "",
            400,
            "invalid-request",
        ),
        ("POST", DOWNLOADS, "", 400, "invalid-request"),
        ("POST", DOWNLOADS, "default=true", 400, "invalid-request"),
        (
            "POST",
            DOWNLOADS,
            r#"{"default":true"#,
            400,
            "invalid-request",
        ),
        (
            "POST",
            DOWNLOADS,
            r#"{"default":true,"enabel":true}"#,
            400,
            "invalid-request",
        ),
        (
            "POST",
            DOWNLOADS,
            r#"{"default":"yes"}"#,
            400,
            "invalid-request",
        ),
        ("POST", DOWNLOADS, "[]", 400, "invalid-request"),
        ("POST", DOWNLOADS, &too_large, 413, "body-too-large"),
        (
            "POST",
            DOWNLOADS,
            r#"{"activation_code":"hello"}"#,
            422,
            "invalid-activation-code",
        ),
        (
            "PUT",
            addresses,
            r#"{"default_smdp":"a b"}"#,
            422,
            "invalid-address",
        ),
        (
            "POST",
            reset,
            r#"{"confirm":"yes","test_profiles":true}"#,
            400,
            "invalid-request",
        ),
    ] {
        let reply = ask(&bed, method, path, body).await;
        reply.is_problem(status, code);
    }
    // A misspelt member is named, and so are those that are known.
    let misspelt = ask(&bed, "POST", DOWNLOADS, r#"{"default":true,"enabel":true}"#).await;
    let detail = misspelt.json["detail"].as_str().unwrap();
    assert!(
        detail.contains("`enabel`") && detail.contains("`enable`"),
        "{detail}"
    );
    assert!(bed.client.operations().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_method_that_is_not_there_is_answered_with_those_that_are() {
    let bed = Bed::start().await;
    for (method, path, allow) in [
        ("POST", "/v1/health", "GET"),
        ("DELETE", "/v1/euiccs", "GET"),
        ("GET", DOWNLOADS, "POST"),
        ("POST", "/v1/euiccs/default/addresses", "GET, PUT"),
        (
            "PUT",
            "/v1/euiccs/default/profiles/8901999000000000017",
            "GET, PATCH, DELETE",
        ),
        ("PATCH", "/v1/operations/1", "GET, DELETE"),
        ("GET", "/v1/operations/1/cancel", "POST"),
        ("POST", "/v1/events", "GET"),
    ] {
        let reply = ask(&bed, method, path, "").await;
        reply.is_problem(405, "method-not-allowed");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_numbered_and_go_on_after_the_last_one_seen() {
    let mut bed = Bed::start().await;
    let mut live = events(&bed, None).await;
    bed.order("M-1");
    let operation = bed.download_id("M-1").await;
    let mut seen = Vec::new();
    let ended = |event: &SeenEvent| event.data["state"] == "succeeded";
    while !seen.last().is_some_and(ended) {
        let event = live.next().await;
        if event.name == "operation" {
            assert_eq!(event.data["id"], operation.id.to_string());
            seen.push(event);
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0].id < pair[1].id));
    let stages: Vec<_> = seen
        .iter()
        .filter_map(|event| event.data["stage"].as_str())
        .collect();
    for stage in [
        "initialising",
        "authenticating",
        "preparing",
        "downloading",
        "installing",
    ] {
        assert!(stages.contains(&stage), "{stage} is not among {stages:?}");
    }
    let bytes = seen
        .iter()
        .filter_map(|event| event.data["progress"]["done"].as_u64());
    assert!(
        bytes
            .collect::<Vec<_>>()
            .windows(2)
            .all(|pair| pair[0] <= pair[1])
    );

    // The connection breaks in the middle; what came afterwards is told again.
    let last = seen[seen.len() / 2].id;
    let mut resumed = events(&bed, Some(last)).await;
    for expected in &seen[seen.len() / 2 + 1..] {
        let mut event = resumed.next().await;
        while event.name != "operation" {
            event = resumed.next().await;
        }
        assert_eq!((event.id, &event.data), (expected.id, &expected.data));
    }
    let refused = ask_with(&bed, "GET", "/v1/events", &["Last-Event-ID: soon"], "").await;
    refused.is_problem(400, "invalid-request");
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_of_events_shows_that_it_lives() {
    let bed = Bed::start().await;
    let mut live = events(&bed, None).await;
    let asked = Instant::now();
    assert_eq!(live.said().await, ": still here");
    assert_eq!(live.said().await, ": still here");
    assert!(
        (20..=40).contains(&asked.elapsed().as_secs()),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_hundred_idle_connections_keep_no_client_out() {
    let bed = Bed::start().await;
    let mut live = events(&bed, None).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(connect(&bed).await);
    }
    let asked = Instant::now();
    assert_eq!(ask(&bed, "GET", "/v1/health", "").await.status, 200);
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    // A client that really follows something was not sent away for it.
    assert_eq!(live.said().await, ": still here");
}

#[tokio::test(start_paused = true)]
async fn clients_that_follow_the_events_leave_room_for_others() {
    let bed = Bed::start().await;
    let mut following = Vec::new();
    for _ in 0..16 {
        following.push(events(&bed, None).await);
    }
    let refused = ask(&bed, "GET", "/v1/events", "").await;
    refused.is_problem(503, "too-many-readers");
    assert_eq!(refused.json["retryable"], true);
    assert_eq!(ask(&bed, "GET", "/v1/health", "").await.status, 200);
    following.truncate(15);
    // The daemon notices a reader that left as soon as it has something to tell it.
    following[0].said().await;
    events(&bed, None).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_slowly_is_served_and_one_that_stops_is_told_so() {
    let bed = Bed::start().await;
    let text = request("POST", DOWNLOADS, &[], r#"{"default":true}"#);
    let mut slow = connect(&bed).await;
    for piece in text.as_bytes().chunks(20) {
        slow.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(read(slow).await.status, 202);

    let mut stuck = connect(&bed).await;
    stuck
        .write_all(&text.as_bytes()[..text.len() - 1])
        .await
        .unwrap();
    let asked = Instant::now();
    read(stuck).await.is_problem(408, "request-timeout");
    assert!(asked.elapsed() < Duration::from_secs(30));
    assert_eq!(ask(&bed, "GET", "/v1/health", "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_socket_is_open_to_owner_and_group_alone() {
    let mut bed = Bed::start().await;
    let socket = bed.client.socket().to_owned();
    let metadata = fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    let state = fs::metadata(bed.folder().join("state")).unwrap();
    assert_eq!(state.permissions().mode() & 0o777, 0o700);
    bed.stop().await;
    assert!(!socket.exists(), "a stopped daemon leaves no socket");
}

#[test]
fn strangers_may_nothing_and_readers_only_look() {
    let api = lpad::config::ApiConfig {
        admin_group: "no-such-group".into(),
        // Group 0 is the primary group of root alone on every Linux system.
        reader_group: Some("root".into()),
        ..Default::default()
    };
    let permissions = Permissions::new(&api);
    let access = |uid, gid| {
        permissions.access(Actor {
            uid,
            gid,
            pid: None,
        })
    };
    assert_eq!(access(0, 0), Access::Change);
    assert_eq!(access(54_321, 0), Access::Read);
    assert_eq!(access(54_321, 54_321), Access::None);
    assert!(Access::Read >= Action::Health.access());
    assert!(Access::Read < Action::Cancel(OperationId(1)).access());
}

#[tokio::test(start_paused = true)]
async fn codes_are_found_neither_in_logs_nor_events_nor_operations_nor_files() {
    const MATCHING_ID: &str = "SECRET-MATCHING-ID-4711";
    const CONFIRMATION_CODE: &str = "SECRET-CONFIRMATION-0815";
    let log = Log::capture();
    let mut bed = Bed::start().await;
    let profile = bed.profile();
    bed.bench.smdp.create_order(OrderRequest {
        confirmation_code: Some(CONFIRMATION_CODE.into()),
        ..OrderRequest::with_matching_id(profile, MATCHING_ID)
    });
    let wrong = DownloadRequest {
        confirmation_code: Some(Secret::new("SECRET-WRONG-CODE")),
        ..accepting(&format!("1${HOST_NAME}${MATCHING_ID}$$1"))
    };
    let operation = bed.download_as(&wrong).await;
    assert_eq!(operation.state, State::Failed);

    let right = DownloadRequest {
        confirmation_code: Some(Secret::new(CONFIRMATION_CODE)),
        ..wrong
    };
    let mut hold = bed.bench.modem.hold(PIECE, 2, Moment::BeforeExecution);
    let operation = bed.client.download(EUICC, &right).await.unwrap();
    hold.reached().await;
    let on_the_way = files(bed.folder());
    hold.release();
    let operation = bed.client.wait(operation.id).await.unwrap();
    succeeded(&operation);
    bed.client.wait(operation.id).await.unwrap();

    let operations = ask(&bed, "GET", "/v1/operations", "")
        .await
        .json
        .to_string();
    let mut told = events(&bed, Some(0)).await;
    let mut event = told.next().await;
    let mut all_events = String::new();
    while event.data["id"] != operation.id.to_string() || event.data["state"] != "succeeded" {
        all_events.push_str(&event.data.to_string());
        event = told.next().await;
    }
    for detail in ["AT+CGLA=", "APDU", "the server answered"] {
        assert!(log.text().contains(detail), "no {detail} in {}", log.text());
    }
    for (place, text) in [
        ("the log", log.text()),
        ("the events", all_events),
        ("the operations", operations),
        ("the files on the way", on_the_way),
        ("the files afterwards", files(bed.folder())),
    ] {
        for secret in [MATCHING_ID, CONFIRMATION_CODE, "SECRET-WRONG-CODE"] {
            let octets = hex::encode_upper(secret);
            let found = text.contains(secret) || text.to_uppercase().contains(&octets);
            assert!(!found, "{place}: {secret} is there");
        }
    }
}

/// Every file in a folder and below, as text.
fn files(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&files(&path));
        } else if path.is_file() {
            text.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
    text
}

/// A download stopped while its package is loaded: past the point of no return.
async fn held_download(bed: &mut Bed) -> (OperationId, Hold) {
    bed.order("HELD");
    let mut hold = bed.bench.modem.hold(PIECE, 2, Moment::BeforeExecution);
    let request = accepting(&format!("1${HOST_NAME}$HELD"));
    let operation = bed.client.download(EUICC, &request).await.unwrap();
    hold.reached().await;
    (operation.id, hold)
}

/// The last of the four blocks in which a whole piece of a profile package travels; the request
/// that prepares the download before it has four blocks as well.
const PIECE: Pattern = Pattern {
    p2: Some(3),
    ..Pattern::LAST_BLOCK
};

const DOWNLOADS: &str = "/v1/euiccs/default/downloads";

fn download(matching_id: &str) -> String {
    json!({"activation_code": format!("1${HOST_NAME}${matching_id}"), "consent": "accept"})
        .to_string()
}

fn cancel(id: OperationId) -> String {
    format!("/v1/operations/{id}/cancel")
}

fn id(operation: &Value) -> &str {
    operation["id"].as_str().unwrap()
}

/// What a client gets for one request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) json: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Checks that it is this problem, with everything a problem has.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        let document = &self.json;
        assert_eq!(
            (self.status, document["code"].as_str()),
            (status, Some(code)),
            "{document}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(document["type"], format!("urn:lpad:problem:{code}"));
        assert_eq!(document["status"], status);
        assert!(document["retryable"].is_boolean(), "{document}");
        for member in ["title", "detail", "next_step"] {
            let text = document[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "no {member}: {document}");
        }
    }
}

pub(crate) async fn ask(bed: &Bed, method: &str, path: &str, body: &str) -> Reply {
    ask_with(bed, method, path, &[], body).await
}

pub(crate) async fn ask_with(
    bed: &Bed,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Reply {
    let mut stream = connect(bed).await;
    let request = request(method, path, headers, body);
    // A server that has heard enough may close before everything is written.
    let _ = stream.write_all(request.as_bytes()).await;
    read(stream).await
}

pub(crate) async fn connect(bed: &Bed) -> UnixStream {
    UnixStream::connect(bed.client.socket()).await.unwrap()
}

/// The bytes `curl` sends.
pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: lpad\r\nUser-Agent: curl/8.5.0\r\n");
    head.push_str("Accept: */*\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(&format!("{header}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        head.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
    }
    format!("{head}\r\n{body}")
}

pub(crate) async fn read(mut stream: UnixStream) -> Reply {
    let mut text = Vec::new();
    // A reset after the answer is the end as well.
    let _ = timeout(Duration::from_secs(100), stream.read_to_end(&mut text))
        .await
        .unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Reply {
        status: status.unwrap(),
        head: head.to_owned(),
        json: serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}")),
    }
}

/// Runs `curl` on the daemon's socket; `None` where there is no `curl`.
async fn curl(bed: &Bed, arguments: &[&str]) -> Option<Value> {
    let (path, options) = arguments.split_last().unwrap();
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--fail-with-body",
        "--unix-socket",
    ])
    .arg(bed.client.socket())
    .args(options)
    .arg(format!("http://lpad{path}"))
    .stdin(Stdio::null())
    .kill_on_drop(true);
    let output = match curl.output().await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    Some(serde_json::from_str(&text).unwrap())
}

/// One event as it came.
#[derive(Debug)]
struct SeenEvent {
    id: u64,
    name: String,
    data: Value,
}

/// A stream of events read line by line.
pub(crate) struct Stream {
    socket: UnixStream,
    text: String,
}

pub(crate) async fn events(bed: &Bed, last_seen: Option<u64>) -> Stream {
    let stream = follow(bed, last_seen).await;
    stream.unwrap_or_else(|refused| panic!("{refused}"))
}

/// Follows the events; where that is refused, the status line of the answer.
pub(crate) async fn follow(bed: &Bed, last_seen: Option<u64>) -> Result<Stream, String> {
    let mut socket = connect(bed).await;
    let header = last_seen.map(|id| format!("Last-Event-ID: {id}"));
    let headers: Vec<&str> = header.as_deref().into_iter().collect();
    let request = request("GET", "/v1/events", &headers, "");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut stream = Stream {
        socket,
        text: String::new(),
    };
    let mut head = stream.line().await;
    if head != "HTTP/1.1 200 OK" {
        return Err(head);
    }
    while !head.is_empty() {
        head = stream.line().await.to_ascii_lowercase();
        if let Some(kind) = head.strip_prefix("content-type: ") {
            assert_eq!(kind, "text/event-stream");
        }
    }
    Ok(stream)
}

impl Stream {
    /// The next line that says something.
    pub(crate) async fn said(&mut self) -> String {
        loop {
            let line = self.line().await;
            // Sizes of chunks and the blanks around them belong to HTTP.
            if !line.is_empty() && usize::from_str_radix(&line, 16).is_err() {
                return line;
            }
        }
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.text.find('\n') {
                let line: String = self.text.drain(..=end).collect();
                return line.trim_end().to_owned();
            }
            let mut piece = [0; 4096];
            let read = timeout(Duration::from_secs(600), self.socket.read(&mut piece)).await;
            let read = read.expect("something comes").unwrap();
            assert_ne!(read, 0, "the stream ended");
            self.text.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    }

    async fn next(&mut self) -> SeenEvent {
        let mut lines = [String::new(), String::new(), String::new()];
        loop {
            let line = self.said().await;
            for (name, place) in ["id: ", "event: ", "data: "].iter().zip(&mut lines) {
                if let Some(value) = line.strip_prefix(name) {
                    *place = value.to_owned();
                }
            }
            if !lines[2].is_empty() {
                let [id, name, data] = lines;
                return SeenEvent {
                    id: id.parse().unwrap(),
                    name,
                    data: serde_json::from_str(&data).unwrap(),
                };
            }
        }
    }
}
