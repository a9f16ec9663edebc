//! What is checked of a request before its content.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_connection_serves_many_requests_and_is_counted_once() {
    let smdp = smdp();
    let mut client = Client::tls(&smdp).await;
    for _ in 0..3 {
        let (parts, body) = client.initiate().await.unwrap();
        assert_eq!(parts.status, HttpStatus::OK);
        assert_eq!(parts.headers["x-admin-protocol"], "gsma/rsp/v2.5.0");
        let body: Value = serde_json::from_slice(&body).unwrap();
        let status = &body["header"]["functionExecutionStatus"];
        assert_eq!(status["status"], "Failed");
        assert_eq!(status["statusCodeData"]["reasonCode"], "2.2");
    }
    let counters = smdp.counters();
    assert_eq!((counters.connections, counters.handshakes), (1, 1));
    assert_eq!(counters.requests(Function::InitiateAuthentication), 3);
}

#[tokio::test(start_paused = true)]
async fn the_frame_of_a_request_is_checked_before_its_content() {
    let smdp = smdp();
    let mut client = Client::tls(&smdp).await;
    let path = "/gsma/rsp2/es9plus/initiateAuthentication";
    let text = Request::post(path).header("content-type", "text/plain");
    let (parts, _) = client.send(text, "{}").await.unwrap();
    assert_eq!(parts.status, HttpStatus::UNSUPPORTED_MEDIA_TYPE);
    let no_protocol = Request::post(path).header("content-type", "application/json");
    let (_, body) = client.send(no_protocol, "{}").await.unwrap();
    assert!(String::from_utf8_lossy(&body).contains("1.3.1"));
    let (parts, _) = client
        .send(es9("initiateAuthentication"), "[1]")
        .await
        .unwrap();
    assert_eq!(parts.status, HttpStatus::BAD_REQUEST);
    let (parts, _) = client.send(es9("somethingElse"), "{}").await.unwrap();
    assert_eq!(parts.status, HttpStatus::NOT_FOUND);
    let (parts, _) = client.send(Request::get(path), "").await.unwrap();
    assert_eq!(parts.status, HttpStatus::METHOD_NOT_ALLOWED);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_notification_is_kept_and_acknowledged() {
    let smdp = smdp();
    let mut client = Client::tls(&smdp).await;
    let body = r#"{"pendingNotification":"AAAA"}"#;
    let (parts, body) = client.send(es9("handleNotification"), body).await.unwrap();
    assert_eq!((parts.status, body.len()), (HttpStatus::NO_CONTENT, 0));
    assert_eq!(smdp.notifications()[0].bytes, [0, 0, 0]);
}
