//! The API for tests.

use super::*;

/// A request to the private API: its status and answer.
async fn steer(admin: &Admin, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(format!("/admin/v1/{path}"));
    let stream = TcpStream::connect(admin.address).await.unwrap();
    let mut client = Client::over(stream).await;
    let (parts, body) = client.send(request, body).await.unwrap();
    let answer = match body.as_ref() {
        [] => Value::Null,
        body => serde_json::from_slice(body).unwrap(),
    };
    (parts.status.as_u16(), answer)
}

#[tokio::test]
async fn a_server_can_be_steered_without_rust() {
    let smdp = smdp();
    let admin = Admin::start(&smdp).await;
    let plan = r#"{"function":"authenticateClient","call":2,"fault":"http-status=503"}"#;
    assert_eq!(steer(&admin, "POST", "faults", plan).await.0, 201);
    let text = r#""cancelSession=silence""#;
    let (status, faults) = steer(&admin, "POST", "faults", text).await;
    assert_eq!(status, 201);
    assert_eq!(faults[0]["call"], 2);
    assert_eq!(faults[1]["call"], "every");
    assert_eq!(smdp.faults()[0].fault, Fault::HttpStatus(503));
    assert_eq!(steer(&admin, "DELETE", "faults", "").await.0, 204);
    assert_eq!(steer(&admin, "GET", "faults", "").await, (200, json!([])));
    let (_, names) = steer(&admin, "GET", "faults/names", "").await;
    assert_eq!(names["faults"][0]["name"], "http-status");
    assert_eq!(names["functions"][0], "initiateAuthentication");

    let (status, tls) = steer(&admin, "PUT", "tls", r#"{"tls":"expired"}"#).await;
    assert_eq!((status, &tls["tls"]), (200, &json!("expired")));
    assert_eq!(smdp.tls_choice(), TlsChoice::Expired);

    let order = r#"{"matching_id":"M-1","size":2000,"released":false}"#;
    let (status, order) = steer(&admin, "POST", "orders", order).await;
    assert_eq!((status, &order["state"]), (201, &json!("Allocated")));
    let path = format!("orders/{}", order["id"]);
    let (_, released) = steer(&admin, "POST", &format!("{path}/release"), "").await;
    assert_eq!(released["state"], "Released");
    assert_eq!(steer(&admin, "DELETE", &path, "").await.0, 204);
    let (_, orders) = steer(&admin, "GET", "orders", "").await;
    assert_eq!(orders[0]["state"], "Unavailable");

    let mut client = Client::over(TcpStream::connect(admin.address).await.unwrap()).await;
    let es9 = client.call(Function::HandleNotification, "{}").await;
    assert_eq!(es9.0, HttpStatus::NOT_FOUND);
    admin.stop().await;
}

#[tokio::test]
async fn what_a_client_asked_can_be_read_afterwards() {
    let smdp = smdp();
    let mut client = Client::tls(&smdp).await;
    client
        .call(Function::CancelSession, r#"{"transactionId":"00"}"#)
        .await;
    client
        .send(es9("handleNotification"), "no JSON")
        .await
        .unwrap();
    let admin = Admin::start(&smdp).await;
    let (status, requests) = steer(&admin, "GET", "requests", "").await;
    assert_eq!(status, 200);
    let first = &requests[0];
    assert_eq!(first["number"], 1);
    assert_eq!(first["method"], "POST");
    assert_eq!(first["path"], "/gsma/rsp2/es9plus/cancelSession");
    assert_eq!(first["version"], "HTTP/1.1");
    assert_eq!(first["body"], json!({"transactionId": "00"}));
    let headers = first["headers"].as_array().unwrap();
    assert!(
        headers.contains(&json!(["x-admin-protocol", "gsma/rsp/v2.2.2"])),
        "{headers:?}"
    );
    assert_eq!(requests[1]["body"], Value::Null);
    let (_, cancellations) = steer(&admin, "GET", "cancellations", "").await;
    assert_eq!(cancellations, json!([]), "no eUICC has signed one");
    admin.stop().await;
}

#[tokio::test]
async fn what_the_private_api_does_not_take_it_explains() {
    let smdp = smdp();
    let admin = Admin::start(&smdp).await;
    for (method, path, body, status, what) in [
        ("POST", "faults", "{", 400, "EOF"),
        (
            "POST",
            "faults",
            r#""cancelSession=silense""#,
            422,
            "did you mean",
        ),
        (
            "POST",
            "faults",
            r#"{"function":"x","fault":"silence"}"#,
            400,
            "no function",
        ),
        ("PUT", "tls", r#"{"tls":"x"}"#, 400, "no TLS choice"),
        (
            "POST",
            "orders",
            r#"{"size":1}"#,
            422,
            "matching_id or an eid",
        ),
        (
            "POST",
            "orders",
            r#"{"matching_id":"A","package":"/etc/hostname"}"#,
            422,
            "files",
        ),
        ("POST", "orders", r#"{"colour":1}"#, 400, "unknown field"),
        ("GET", "orders/7", "", 404, "nothing"),
        ("GET", "orders/x", "", 404, "nothing"),
        ("GET", "somewhere", "", 404, "nothing"),
        ("PATCH", "faults", "", 405, "cannot"),
    ] {
        let (answered, problem) = steer(&admin, method, path, body).await;
        assert_eq!(answered, status, "{method} {path}: {problem}");
        let error = problem["error"].as_str().unwrap();
        assert!(error.contains(what), "{method} {path}: {error}");
    }
    admin.stop().await;
    let mut client = Client::tls(&smdp).await;
    let (parts, _) = client
        .send(Request::get("/admin/v1/faults"), "")
        .await
        .unwrap();
    assert_eq!(parts.status, HttpStatus::NOT_FOUND, "it is private");
}
