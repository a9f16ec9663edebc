//! Many clients at the same time, those that only wait, and those that leave.

use std::fs;
use std::time::Duration;

use lpad::job::OperationId;
use lpad::memory::operations::State;
use lpad_tests::bed::{Bed, EUICC, succeeded};
use serde_json::json;
use sim_card_emulator::modem::{Hold, Moment, Pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use crate::api::{ask, ask_with, connect, events, follow, read, request};

#[tokio::test(start_paused = true)]
async fn idle_and_half_open_connections_delay_no_other_client() {
    let bed = Bed::start().await;
    let mut live = events(&bed, None).await;
    let mut crowd = Vec::new();
    for number in 0..1500 {
        let mut stream = connect(&bed).await;
        if number % 2 == 0 {
            // The daemon may have closed it already.
            let _ = stream.write_all(b"GET /v1/health HTTP/1.1\r\nHo").await;
        }
        crowd.push(stream);
    }
    let asked = Instant::now();
    assert_eq!(ask(&bed, "GET", "/v1/health", "").await.status, 200);
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    // A reader of the events is not idle, however silent it is.
    assert_eq!(live.said().await, ": still here");
}

#[tokio::test(start_paused = true)]
async fn clients_that_wait_leave_room_for_short_requests() {
    let bed = Bed::start().await;
    let (hold, _, waiting) = clients_that_wait(&bed, 40).await;
    let asked = Instant::now();
    for path in ["/v1/health", "/v1/euiccs", "/v1/operations"] {
        assert_eq!(ask(&bed, "GET", path, "").await.status, 200);
    }
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    hold.release();
    for stream in waiting {
        assert_eq!(read(stream).await.json["state"], "succeeded");
    }
}

#[tokio::test(start_paused = true)]
async fn of_too_many_clients_that_wait_the_last_are_refused_and_waiting_again_works_later() {
    let bed = Bed::start().await;
    let (hold, running, mut waiting) = clients_that_wait(&bed, 128).await;
    let path = |seconds: u32| format!("/v1/operations/{running}?wait={seconds}");
    let refused = ask(&bed, "GET", &path(60), "").await;
    refused.is_problem(503, "too-many-readers");
    // Waiting clients that leave are not counted any more, though nothing was sent to them.
    waiting.truncate(100);
    let left = ask(&bed, "GET", &path(1), "").await;
    assert_eq!(left.json["state"], "running");
    hold.release();
    let ended = bed.client.wait(running).await.unwrap();
    succeeded(&ended);
}

/// Holds an operation, for whose end so many clients wait.
async fn clients_that_wait(bed: &Bed, count: usize) -> (Hold, OperationId, Vec<UnixStream>) {
    let modem = &bed.bench.modem;
    let mut hold = modem.hold(Pattern::ANY, 1, Moment::BeforeExecution);
    let running = bed.client.deliver_notifications(EUICC).await.unwrap().id;
    hold.reached().await;
    let text = request("GET", &format!("/v1/operations/{running}?wait=60"), &[], "");
    let mut waiting = Vec::new();
    for _ in 0..count {
        let mut stream = connect(bed).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    (hold, running, waiting)
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_the_events_that_leaves_makes_room_at_once() {
    let bed = Bed::start().await;
    let mut following = Vec::new();
    for _ in 0..16 {
        following.push(events(&bed, None).await);
    }
    ask(&bed, "GET", "/v1/events", "")
        .await
        .is_problem(503, "too-many-readers");
    following.clear();
    let asked = Instant::now();
    // The daemon may take the request before it has seen all of them leave.
    while let Err(refused) = follow(&bed, None).await {
        assert!(asked.elapsed() < AT_ONCE, "{refused}");
    }
}

#[tokio::test]
async fn a_client_that_has_said_all_it_has_to_say_gets_its_answer() {
    let bed = Bed::start().await;
    for path in ["/v1/health", "/v1/euiccs/default/profiles"] {
        for _ in 0..100 {
            let mut stream = connect(&bed).await;
            let text = request("GET", path, &[], "");
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(read(stream).await.status, 200);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_of_a_web_page_is_refused_before_its_body_is_read() {
    let bed = Bed::start().await;
    let mut page = connect(&bed).await;
    let head = "POST /v1/euiccs/default/downloads HTTP/1.1\r\nHost: localhost\r\n\
                Origin: http://evil.example\r\nContent-Length: 1000\r\n\r\n";
    page.write_all(head.as_bytes()).await.unwrap();
    let asked = Instant::now();
    let mut answer = [0; 2048];
    let length = timeout(Duration::from_secs(100), page.read(&mut answer)).await;
    let length = length.expect("an answer comes").unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    for (method, path) in [("GET", "/v1/health"), ("GET", "/v1/events"), ("GET", "/")] {
        let refused = ask_with(&bed, method, path, &["Origin: null"], "").await;
        refused.is_problem(403, "forbidden");
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_carries_a_date_so_that_no_clock_can_break_it() {
    let bed = Bed::start().await;
    for path in ["/v1/health", "/v1/nothing"] {
        assert_eq!(ask(&bed, "GET", path, "").await.header("date"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_is_not_known_is_refused_and_the_state_of_operations_chooses() {
    let bed = Bed::start().await;
    let done = bed.ended(bed.client.deliver_notifications(EUICC).await);
    assert_eq!(done.await.state, State::Succeeded);
    for (path, count) in [
        ("/v1/operations?state=running", 0),
        ("/v1/operations?state=succeeded", 1),
        ("/v1/operations", 1),
    ] {
        let reply = ask(&bed, "GET", path, "").await;
        assert_eq!(reply.json["operations"].as_array().unwrap().len(), count);
    }
    for (method, path) in [
        ("GET", "/v1/operations?state=asleep"),
        ("GET", "/v1/operations?status=running"),
        ("GET", "/v1/health?verbose=1"),
        ("GET", "/v1/euiccs?name=default"),
        ("GET", "/v1/euiccs/default/profiles?state=enabled"),
        ("GET", "/v1/euiccs/default?wait=61"),
        ("GET", "/v1/events?after=3"),
        ("DELETE", "/v1/operations/1?wait=3"),
        ("POST", "/v1/euiccs/default/notifications/deliver?now"),
    ] {
        let refused = ask(&bed, method, path, "").await;
        refused.is_problem(400, "invalid-request");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_has_one_number_and_a_request_one_key() {
    let bed = Bed::start().await;
    let done = bed.ended(bed.client.deliver_notifications(EUICC).await);
    assert_eq!(done.await.state, State::Succeeded);
    for id in ["+1", "01", "0", "1.0", "-1"] {
        let path = format!("/v1/operations/{id}");
        let unknown = ask(&bed, "GET", &path, "").await;
        unknown.is_problem(404, "unknown-operation");
        assert_eq!(unknown.json["operation"], json!(null), "{id}");
    }
    let keys = ["Idempotency-Key: a", "Idempotency-Key: b"];
    let path = "/v1/euiccs/default/notifications/deliver";
    let refused = ask_with(&bed, "POST", path, &keys, "").await;
    refused.is_problem(400, "invalid-request");
    assert_eq!(bed.client.operations().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_the_card_is_told_at_once_on_demand() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    // Old enough to be read again.
    tokio::time::advance(Duration::from_secs(10)).await;
    let mut hold = bed
        .bench
        .modem
        .hold(Pattern::ANY, 1, Moment::BeforeExecution);
    let asked = Instant::now();
    let known = ask(&bed, "GET", "/v1/euiccs/default/profiles?wait=0", "").await;
    assert_eq!(known.json["profiles"][0]["iccid"], *iccid);
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    for path in ["/v1/version", "/v1/health", "/v1/euiccs"] {
        assert_eq!(ask(&bed, "GET", path, "").await.status, 200);
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    }
    let mut stream = connect(&bed).await;
    let text = request("GET", "/v1/euiccs/default?wait=3", &[], "");
    stream.write_all(text.as_bytes()).await.unwrap();
    hold.reached().await;
    assert_eq!(read(stream).await.json["state"], "ready");
    assert_eq!(asked.elapsed().as_secs(), 3);
    hold.release();
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_socket_that_is_removed_under_the_daemon_is_made_again() {
    let bed = Bed::start().await;
    let socket = bed.client.socket().to_owned();
    let comes_back = async || {
        let answers = async {
            while UnixStream::connect(&socket).await.is_err() {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), answers).await.unwrap();
        assert_eq!(bed.client.version().await.unwrap().api, "v1");
    };
    fs::remove_file(&socket).unwrap();
    comes_back().await;
    fs::rename(&socket, socket.with_extension("old")).unwrap();
    comes_back().await;
    // What a killed daemon left is put in its place.
    let other = socket.with_extension("other");
    drop(UnixListener::bind(&other).unwrap());
    fs::rename(&other, &socket).unwrap();
    comes_back().await;
}

/// What a client notices as no delay; on the paused clock only a wait for a timer is longer.
const AT_ONCE: Duration = Duration::from_millis(100);
