use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use es10_apdu::tlv::{Tlv, encode as tlv};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1 as client;
use hyper::client::conn::http1::SendRequest;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Builder;
use hyper_util::rt::TokioIo;
use rsp_common::certificate::{Certificate, Role};
use rsp_common::pki::{Pki, PkiOptions, Variant};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::profile::{Iccid, Profile};
use crate::smdp::{
    Calls, Config, OrderId, OrderRequest, OrderState, ReservationStatus, StatusCode, TlsChoice,
};

const EID: &str = "89049032123451234512345678901235";
const HOST: &str = "smdp.example.com";

fn smdp() -> Smdp {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    let reservation_step = Duration::from_millis(1);
    Smdp::new(Config {
        reservation_step,
        callback_pause: reservation_step,
        ..Config::new(HOST, pki)
    })
    .unwrap()
}

/// A client on a connection; it ends with the test.
pub(in crate::smdp) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Self(sender)
    }

    /// Connects in memory and completes the TLS handshake.
    pub(in crate::smdp) async fn tls(smdp: &Smdp) -> Self {
        Self::over(handshake(smdp).await.unwrap()).await
    }

    /// Calls a function: its HTTP status and body.
    pub(in crate::smdp) async fn call(
        &mut self,
        function: Function,
        body: &str,
    ) -> (HttpStatus, Bytes) {
        let (parts, body) = self.send(es9(function.name()), body).await.unwrap();
        (parts.status, body)
    }

    async fn send(&mut self, request: Builder, body: &str) -> hyper::Result<(Parts, Bytes)> {
        let request = request
            .header(HOST_HEADER, HOST)
            .body(Full::from(body.to_owned()))
            .unwrap();
        let (parts, body) = self.0.send_request(request).await?.into_parts();
        Ok((parts, body.collect().await?.to_bytes()))
    }

    /// Calls a function with a request it refuses at once.
    async fn initiate(&mut self) -> hyper::Result<(Parts, Bytes)> {
        self.send(
            es9("initiateAuthentication"),
            r#"{"smdpAddress":"smdp.example.com"}"#,
        )
        .await
    }
}

/// A TLS handshake in memory with a client that knows the server's CI and checks what webpki does.
async fn handshake(smdp: &Smdp) -> io::Result<TlsStream<DuplexStream>> {
    let mut roots = RootCertStore::empty();
    let ci = smdp.config().pki.certificate(Role::Ci).unwrap();
    roots.add(CertificateDer::from(ci.der().to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(4096);
    let server = smdp.clone();
    tokio::spawn(async move { server.serve_stream(far).await });
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(HOST.try_into().unwrap(), near).await
}

type Parts = hyper::http::response::Parts;

const HOST_HEADER: &str = "host";

fn es9(function: &str) -> Builder {
    Request::post(format!("/gsma/rsp2/es9plus/{function}"))
        .header("content-type", "application/json;charset=UTF-8")
        .header("x-admin-protocol", "gsma/rsp/v2.2.2")
}

fn with_credentials(request: Builder) -> Builder {
    let credentials = BASE64_STANDARD.encode("AC00000000000000000000000000000001:test-token");
    request.header(AUTHORIZATION, format!("Basic {credentials}"))
}

/// The reservation API on a socket of its own.
struct Admin {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Admin {
    async fn start(smdp: &Smdp) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let smdp = smdp.clone();
        let served = tokio::spawn(async move {
            smdp.serve_admin(listener, async { drop(stopped.await) })
                .await;
        });
        Self {
            address,
            stop,
            served,
        }
    }

    async fn send(&self, request: Builder, body: &str) -> (HttpStatus, Value) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (parts, body) = Client::over(stream)
            .await
            .send(request, body)
            .await
            .unwrap();
        (parts.status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.send(with_credentials(Request::get(path)), "").await;
        assert_eq!(status, HttpStatus::OK);
        value
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
    }
}

fn status_of(smdp: &Smdp, sid: &str) -> ReservationStatus {
    smdp.reservation(sid).unwrap().status
}

#[tokio::test]
async fn a_reservation_by_eid_runs_through_its_statuses_over_http() {
    let smdp = smdp();
    let admin = Admin::start(&smdp).await;
    let create = with_credentials(Request::post("/v1/ESimProfiles"));
    let (status, created) = admin.send(create, &format!("Eid={EID}")).await;
    assert_eq!(status, HttpStatus::CREATED);
    assert_eq!(created["status"], "new");
    assert_eq!(
        created["url"],
        format!("http://{HOST}/v1/ESimProfiles/{}", sid(&created))
    );
    smdp.wait_until(|smdp| status_of(smdp, sid(&created)) == ReservationStatus::Available)
        .await;
    let shown = admin
        .get(&format!("/v1/ESimProfiles/{}", sid(&created)))
        .await;
    assert_eq!(shown["smdp_plus_address"], HOST);
    assert!(shown["matching_id"].is_null() && shown["activation_code"].is_null());
    let list = admin
        .get(&format!("/v1/ESimProfiles?Eid={EID}&Status=available"))
        .await;
    assert_eq!(list["esim_profiles"], json!([shown]));
    let none = admin.get("/v1/ESimProfiles?Status=installed").await;
    assert_eq!(none["esim_profiles"], json!([]));
    admin.stop().await;
}

fn sid(reservation: &Value) -> &str {
    reservation["sid"].as_str().unwrap()
}

#[tokio::test]
async fn the_reservation_api_wants_credentials_and_knows_what_it_has() {
    let smdp = smdp();
    let admin = Admin::start(&smdp).await;
    let (status, problem) = admin.send(Request::get("/v1/ESimProfiles"), "").await;
    assert_eq!(
        (status, &problem["code"]),
        (HttpStatus::UNAUTHORIZED, &json!(20003))
    );
    let wrong = Request::get("/v1/ESimProfiles").header(AUTHORIZATION, "Basic AAAA");
    assert_eq!(admin.send(wrong, "").await.0, HttpStatus::UNAUTHORIZED);
    let unknown = with_credentials(Request::get("/v1/ESimProfiles/HP00"));
    let (status, problem) = admin.send(unknown, "").await;
    assert_eq!(
        (status, &problem["status"]),
        (HttpStatus::NOT_FOUND, &json!(404))
    );
    let neither = with_credentials(Request::post("/v1/ESimProfiles"));
    assert_eq!(admin.send(neither, "").await.0, HttpStatus::BAD_REQUEST);
    let delete = with_credentials(Request::delete("/v1/ESimProfiles"));
    assert_eq!(
        admin.send(delete, "").await.0,
        HttpStatus::METHOD_NOT_ALLOWED
    );
    admin.stop().await;
}

/// Reserves with a callback to a listener of the test: the request it gets when available.
async fn callback(method: &str) -> String {
    let smdp = smdp();
    let admin = Admin::start(&smdp).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http%3A%2F%2F{}%2Fchanged%3Fa%3Db",
        listener.local_addr().unwrap()
    );
    let form = format!("GenerateMatchingId=true&CallbackUrl={url}&CallbackMethod={method}");
    admin
        .send(with_credentials(Request::post("/v1/ESimProfiles")), &form)
        .await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !String::from_utf8_lossy(&request).contains("Iccid=") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    admin.stop().await;
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn a_status_change_is_told_by_post() {
    let request = callback("POST").await;
    assert!(
        request.starts_with("POST /changed?a=b HTTP/1.1\r\n"),
        "{request}"
    );
    let (_, form) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        form.contains("ESimProfileSid=HP") && form.contains("Status=available"),
        "{form}"
    );
}

#[tokio::test]
async fn a_status_change_is_told_by_get() {
    let request = callback("GET").await;
    assert!(
        request.starts_with("GET /changed?a=b&AccountSid=AC"),
        "{request}"
    );
    assert!(request.contains("&Status=available"), "{request}");
}

#[tokio::test(start_paused = true)]
async fn a_reservation_follows_its_order_to_the_end() {
    let smdp = smdp();
    let reservation = smdp.reserve(crate::smdp::ReservationRequest::default());
    assert_eq!(reservation.status, ReservationStatus::New);
    let available = |smdp: &Smdp| status_of(smdp, &reservation.sid) == ReservationStatus::Available;
    smdp.wait_until(available).await;
    smdp.withdraw(reservation.order);
    assert_eq!(
        status_of(&smdp, &reservation.sid),
        ReservationStatus::Failed
    );
}

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

/// What the function answers to a request that is right, over a connection of its own.
async fn initiated(fault: Fault) -> (Parts, Bytes) {
    initiated_again(&smdp(), fault).await
}

async fn initiated_again(smdp: &Smdp, fault: Fault) -> (Parts, Bytes) {
    let ci = smdp.config().pki.certificate(Role::Ci).unwrap();
    let issuers = tlv(0x04, ci.subject_key_identifier().unwrap());
    let info = [
        tlv(0x82, &[2, 5, 0]),
        tlv(0xA9, &issuers),
        tlv(0xAA, &issuers),
    ];
    let request = json!({
        "smdpAddress": HOST,
        "euiccChallenge": BASE64_STANDARD.encode([7; 16]),
        "euiccInfo1": BASE64_STANDARD.encode(tlv(0xBF20, &info.concat())),
    });
    smdp.set_fault(Function::InitiateAuthentication, Calls::NEXT, fault);
    let mut client = Client::tls(smdp).await;
    let call = es9("initiateAuthentication");
    client.send(call, &request.to_string()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_that_of_the_call_before() {
    let smdp = smdp();
    let (_, first) = initiated_again(&smdp, Fault::PreviousAnswer).await;
    let (_, second) = initiated_again(&smdp, Fault::PreviousAnswer).await;
    assert_eq!(first, second);
    let (_, third) = initiated_again(&smdp, Fault::SlowBody(1000)).await;
    assert_ne!(second, third);
}

/// The members of what is answered with this fault.
async fn members(fault: &str) -> Value {
    let (parts, body) = initiated(fault.parse().unwrap()).await;
    assert_eq!(parts.status, HttpStatus::OK);
    serde_json::from_slice(&body).unwrap()
}

fn octets(members: &Value, name: &str) -> Vec<u8> {
    BASE64_STANDARD
        .decode(members[name].as_str().unwrap())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_written_in_unusual_ways() {
    for name in [
        "white-space",
        "escaped-slashes",
        "members-reversed",
        "unknown-members",
    ] {
        let answer = members(name).await;
        assert_eq!(octets(&answer, "euiccCiPKIdToBeUsed").len(), 22, "{name}");
    }
    let (_, body) = initiated(Fault::Bom).await;
    assert!(body.starts_with(&[0xEF, 0xBB, 0xBF, b'{']));
    let wrapped = members("wrapped-base64").await;
    assert!(
        wrapped["serverCertificate"]
            .as_str()
            .unwrap()
            .contains("\r\n")
    );
    let (parts, body) = initiated(Fault::Chunked(7)).await;
    assert_eq!(parts.headers["transfer-encoding"], "chunked");
    assert!(serde_json::from_slice::<Value>(&body).is_ok());
    let (parts, _) = initiated(Fault::Protocol("gsma/rsp/v3.0.0".to_owned())).await;
    assert_eq!(parts.headers["x-admin-protocol"], "gsma/rsp/v3.0.0");
    let (parts, _) = initiated(Fault::Protocol(String::new())).await;
    assert!(!parts.headers.contains_key("x-admin-protocol"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_have_wrong_members() {
    let answer = members("missing-member=serverSigned1").await;
    assert!(answer.get("serverSigned1").is_none() && answer.get("header").is_some());
    assert_eq!(
        members("wrong-type=serverSigned1").await["serverSigned1"],
        7
    );
    let answer = members("invalid-base64=serverSigned1").await;
    let text = answer["serverSigned1"].as_str().unwrap();
    assert!(BASE64_STANDARD.decode(text).is_err());
    let answer = members("member=transactionId:0A0").await;
    assert_eq!(answer["transactionId"], "0A0");
    assert!(members("without-header").await.get("header").is_none());
    let answer = members("status=Executed-WithWarning").await;
    let status = &answer["header"]["functionExecutionStatus"]["status"];
    assert_eq!(status, "Executed-WithWarning");
    assert!(answer.get("serverSigned1").is_some());
    let bare = members("bare-signing-issuer").await;
    assert_eq!(octets(&bare, "euiccCiPKIdToBeUsed").len(), 20);
    let (parts, body) = initiated(Fault::Html).await;
    assert_eq!(parts.headers["content-type"], "text/html");
    assert!(body.starts_with(b"<!DOCTYPE html>"));
    let (parts, body) = initiated(Fault::ExecutedHttpStatus(502)).await;
    assert_eq!((parts.status, body.len()), (HttpStatus::BAD_GATEWAY, 0));
}

/// serverSigned1 and whether its signature is right.
async fn signed(fault: &str) -> (Value, Vec<u8>, bool) {
    let answer = members(fault).await;
    let certificate = Certificate::parse(&octets(&answer, "serverCertificate")).unwrap();
    let (signed, signature) = (
        octets(&answer, "serverSigned1"),
        octets(&answer, "serverSignature1"),
    );
    let verifies = certificate
        .public_key()
        .unwrap()
        .verifies(&signed, &signature[3..]);
    (answer, signed, verifies)
}

#[tokio::test(start_paused = true)]
async fn what_is_signed_wrongly_or_unusually_is_signed_all_the_same() {
    let (answer, signed1, verifies) = signed("transaction-id=0B").await;
    assert!(verifies && signed1[2..].starts_with(&[0x80, 1, 0x0B]));
    assert_eq!(answer["transactionId"], "0B");
    let seventeen = format!("transaction-id={}", "0C".repeat(17));
    let (_, signed1, verifies) = signed(&seventeen).await;
    assert!(verifies && signed1[2..].starts_with(&[0x80, 17]));
    let (_, signed1, verifies) = signed("long-lengths").await;
    assert!(verifies && signed1[2..].starts_with(&[0x80, 0x81, 16]));
    let (_, signed1, verifies) = signed("fields-reversed").await;
    assert!(verifies && signed1[2..].starts_with(&[0x84, 16]));
    let (answer, signed1, verifies) = signed("version3").await;
    assert!(verifies && Tlv::exactly(&signed1).unwrap().child(0xA5).is_some());
    assert_eq!(answer["otherCertsInChain"], json!([]));
    let (_, signed1, verifies) = signed("server-address=other.example.com").await;
    assert!(verifies && String::from_utf8_lossy(&signed1).contains("other.example.com"));
    let (answer, _, verifies) = signed("lower-case-transaction-id").await;
    let text = answer["transactionId"].as_str().unwrap();
    assert!(verifies && text == text.to_ascii_lowercase());
    for member in ["serverSigned1", "serverSignature1"] {
        let (_, _, verifies) = signed(&format!("flipped-member={member}")).await;
        assert!(!verifies, "{member}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_can_take_its_time() {
    let started = tokio::time::Instant::now();
    let (_, body) = initiated(Fault::SlowBody(100)).await;
    let expected = Duration::from_millis(body.len() as u64 * 10);
    let taken = started.elapsed();
    assert!(
        taken >= expected && taken < expected * 2,
        "{taken:?} {expected:?}"
    );
}

/// Sends a request without looking for the end of its answer: all that comes back.
async fn all_octets(smdp: &Smdp) -> String {
    let mut stream = handshake(smdp).await.unwrap();
    let request = format!(
        "POST /gsma/rsp2/es9plus/initiateAuthentication HTTP/1.1\r\nHost: {HOST}\r\n\
         Content-Type: application/json\r\nX-Admin-Protocol: gsma/rsp/v2.2.2\r\n\
         Connection: close\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Whether the end is announced does not matter here.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_sent_twice() {
    let smdp = smdp();
    smdp.set_fault(
        Function::InitiateAuthentication,
        Calls::NEXT,
        Fault::AnswerTwice,
    );
    let twice = all_octets(&smdp).await;
    let (one, other) = twice.split_at(twice.len() / 2);
    assert_eq!(one, other);
    assert!(
        one.starts_with("HTTP/1.1 200 OK") && one.ends_with('}'),
        "{one}"
    );
    let once = all_octets(&smdp).await;
    assert_eq!(once.matches("HTTP/1.1").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn notifications_can_be_acknowledged_in_unusual_ways() {
    let smdp = smdp();
    let mut client = Client::tls(&smdp).await;
    for (fault, status, content) in [
        ("status=Executed-Success", 200, "Executed-Success"),
        ("status=Failed", 200, "Failed"),
        ("body=", 200, ""),
        ("executed-http-status=500", 500, ""),
    ] {
        let plan = format!("handleNotification:1={fault}");
        smdp.plan(plan.parse().unwrap());
        let body = r#"{"pendingNotification":"AAAA"}"#;
        let (answered, body) = client.call(Function::HandleNotification, body).await;
        assert_eq!(answered, status, "{fault}");
        let body = String::from_utf8_lossy(&body);
        assert!(
            body.contains(content) && content.is_empty() == body.is_empty(),
            "{body}"
        );
    }
    assert_eq!(smdp.notifications().len(), 4);
    assert_eq!(smdp.faults(), []);
}

async fn faulty(fault: Fault) -> hyper::Result<(Parts, Bytes)> {
    let smdp = smdp();
    smdp.set_fault(Function::InitiateAuthentication, Calls::NEXT, fault);
    Client::tls(&smdp).await.initiate().await
}

#[tokio::test(start_paused = true)]
async fn each_fault_of_the_frame_does_what_its_name_says() {
    let (parts, _) = faulty(Fault::HttpStatus(500)).await.unwrap();
    assert_eq!(parts.status, HttpStatus::INTERNAL_SERVER_ERROR);
    for fault in [
        Fault::CloseConnection,
        Fault::LoseAnswer,
        Fault::Silence,
        Fault::TruncatedBody,
    ] {
        assert!(faulty(fault.clone()).await.is_err(), "{fault:?}");
    }
    let (_, body) = faulty(Fault::HugeBody(200_001)).await.unwrap();
    assert_eq!(body.len(), 200_001);
    let (parts, _) = faulty(Fault::Redirect("https://other.example.com/".into()))
        .await
        .unwrap();
    assert_eq!(parts.headers["location"], "https://other.example.com/");
    let (parts, _) = faulty(Fault::ContentType("text/html".into()))
        .await
        .unwrap();
    assert_eq!(parts.headers["content-type"], "text/html");
    let (_, body) = faulty(Fault::Refuse(StatusCode::ORDER_EXPIRED))
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&body).contains("8.8.5"));
}

#[tokio::test]
async fn each_tls_choice_is_what_its_name_says_in_a_real_handshake() {
    let smdp = smdp();
    for (choice, refused) in [
        ("right", None),
        ("tls1.2", None),
        ("tls1.3", None),
        ("other-ci", Some("UnknownIssuer")),
        // webpki says no more of a leaf that is its own issuer.
        ("self-signed", Some("UnknownIssuer")),
        ("expired", Some("certificate expired")),
        ("not-yet-valid", Some("certificate not valid yet")),
        ("wrong-signature", Some("BadSignature")),
        // Roles are not webpki's business; the certificate is looked at below.
        ("wrong-role", None),
        ("critical-policies", Some("UnsupportedCriticalExtension")),
        ("unknown-extension", Some("UnsupportedCriticalExtension")),
        ("other-host", Some("not valid for name")),
        ("wildcard", None),
        ("wildcard-elsewhere", Some("not valid for name")),
        ("common-name-only", Some("not valid for name")),
        ("ip-address", Some("not valid for name")),
        ("upper-case", None),
        ("second-name", None),
        ("sub-ca", Some("UnsupportedCriticalExtension")),
        ("sub-ca-missing", Some("UnknownIssuer")),
        ("with-root", None),
        ("client-only", Some("extended key usage")),
        ("no-extended-key-usage", None),
        ("key-agreement-only", None),
        ("other-key", Some("BadSignature")),
        ("abort", Some("HandshakeFailure")),
        ("protocol-version", Some("ProtocolVersion")),
        ("tls1.1", Some("ServerDoesNotSupportTls12Or13")),
        ("plain-http", Some("InvalidContentType")),
        ("close", Some("eof")),
    ] {
        must_meet(&smdp, choice, refused).await;
    }
}

#[tokio::test]
async fn each_tls_certificate_with_a_name_is_what_it_says_in_a_real_handshake() {
    let smdp = smdp();
    let met = [
        ("dptls-chain-a", None),
        ("dptls-chain-b", Some("UnsupportedCriticalExtension")),
        ("dptls-chain-c", Some("UnsupportedCriticalExtension")),
        ("dptls-client-only", Some("extended key usage")),
        ("dptls-cn-only", Some("not valid for name")),
        (
            "dptls-critical-policy",
            Some("UnsupportedCriticalExtension"),
        ),
        ("dptls-expired", Some("certificate expired")),
        // What a key is for, how long and in which role is not webpki's business.
        ("dptls-key-agreement", None),
        ("dptls-long-lived", None),
        ("dptls-no-san", Some("not valid for name")),
        ("dptls-not-yet-valid", Some("certificate not valid yet")),
        ("dptls-other-ci", Some("BadSignature")),
        ("dptls-other-host", Some("not valid for name")),
        ("dptls-role-dp-auth", None),
        ("dptls-self-signed", Some("UnknownIssuer")),
        ("dptls-tampered-signature", Some("BadSignature")),
        (
            "dptls-unknown-critical",
            Some("UnsupportedCriticalExtension"),
        ),
        ("dptls-wildcard", None),
    ];
    let mut names: Vec<_> = Variant::NAMES
        .into_iter()
        .filter(|name| name.starts_with("dptls-"))
        .collect();
    names.sort_unstable();
    assert_eq!(met.map(|(name, _)| name)[..], names);
    for (name, refused) in met {
        must_meet(&smdp, &format!("certificate={name}"), refused).await;
    }
}

async fn must_meet(smdp: &Smdp, choice: &str, refused: Option<&str>) {
    smdp.choose_tls(&choice.parse().unwrap()).unwrap();
    let met = match handshake(smdp).await {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    assert_eq!(met.is_some(), refused.is_some(), "{choice}: {met:?}");
    if let (Some(met), Some(refused)) = (met, refused) {
        assert!(met.contains(refused), "{choice}: {met}");
    }
}

#[tokio::test]
async fn a_tls_choice_is_visible_in_what_was_agreed_on() {
    let smdp = smdp();
    let met = async |choice: &str| {
        smdp.choose_tls(&choice.parse().unwrap()).unwrap();
        let stream = handshake(&smdp).await.unwrap();
        let (_, session) = stream.get_ref();
        let chain: Vec<_> = session
            .peer_certificates()
            .unwrap()
            .iter()
            .map(|one| Certificate::parse(one).unwrap())
            .collect();
        (session.protocol_version().unwrap(), chain)
    };
    assert_eq!(met("tls1.2").await.0, ProtocolVersion::TLSv1_2);
    assert_eq!(met("tls1.3").await.0, ProtocolVersion::TLSv1_3);
    assert_eq!(met("with-root").await.1.len(), 2);
    let (_, chain) = met("wrong-role").await;
    assert_eq!(chain[0].roles().collect::<Vec<_>>(), [Role::DpAuth]);
    let (_, chain) = met("wildcard").await;
    assert_eq!(chain[0].dns_names(), ["*.example.com"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_leaves_its_client_waiting() {
    let smdp = smdp();
    smdp.choose_tls(&TlsChoice::Silence).unwrap();
    let minute = Duration::from_secs(60);
    let handshake = tokio::time::timeout(minute, handshake(&smdp));
    assert!(handshake.await.is_err());
    assert_eq!(smdp.counters().handshakes, 0);
}

#[test]
fn a_tls_choice_needs_the_issuers_key_only_when_it_issues_something() {
    let mut config = smdp().config().clone();
    let ci = config.pki.certificate(Role::Ci).unwrap().clone();
    config.pki.insert(Role::Ci, ci, None);
    let smdp = Smdp::new(config).unwrap();
    smdp.choose_tls(&TlsChoice::Tls13).unwrap();
    let error = smdp.choose_tls(&TlsChoice::Expired).unwrap_err();
    assert_eq!(error.to_string(), "the PKI has no ci.key");
}

#[tokio::test(start_paused = true)]
async fn another_tls_certificate_is_presented_from_the_next_connection_on() {
    let smdp = smdp();
    let mut pki = smdp.config().pki.clone();
    pki.issue_tls(
        &["other.example.com".to_owned()],
        std::time::SystemTime::now(),
    )
    .unwrap();
    let chain = [pki.certificate(Role::DpTls).unwrap().clone()];
    let mut before = Client::tls(&smdp).await;
    smdp.set_tls(&chain, pki.key(Role::DpTls).unwrap()).unwrap();
    before.initiate().await.unwrap();
    let refused = tokio::spawn(async move { drop(Client::tls(&smdp).await) }).await;
    assert!(
        refused.is_err(),
        "the client does not accept the other name"
    );
}

#[tokio::test]
async fn orders_and_reservations_survive_a_restart() {
    let folder = std::env::temp_dir().join(format!(
        "lpad-smdp-{}",
        hex::encode(crate::rsp::random::<8>())
    ));
    std::fs::create_dir(&folder).unwrap();
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    let config = Config {
        state_folder: Some(folder.clone()),
        ..Config::new(HOST, pki)
    };
    let profile = Profile::builder(Iccid::nth(3)).build();
    let request = OrderRequest::for_eid(profile.clone(), EID);
    let (order, sid): (OrderId, String) = {
        let smdp = Smdp::new(config.clone()).unwrap();
        let order = smdp.create_order_once(request.clone());
        (
            order,
            smdp.reserve(crate::smdp::ReservationRequest::default()).sid,
        )
    };
    let smdp = Smdp::new(config).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(smdp.order(order).unwrap().profile(), &profile);
    assert_eq!(status_of(&smdp, &sid), ReservationStatus::Available);
    assert_eq!(smdp.create_order_once(request), order);
    let other = Profile::builder(Iccid::nth(4)).build();
    assert_ne!(
        smdp.create_order_once(OrderRequest::for_eid(other, EID)),
        order
    );
    assert_eq!(smdp.order(order).unwrap().state(), OrderState::Unavailable);
}
