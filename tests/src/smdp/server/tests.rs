use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    client::conn::http1::{self as client, SendRequest},
    header::AUTHORIZATION,
    http::request::Builder,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use serde_json::json;
use sim_card_emulator::{
    certificate::Role,
    pki::{Pki, PkiOptions},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

use super::*;
use crate::{
    profile::{Iccid, Profile},
    smdp::{Calls, Config, OrderId, OrderRequest, OrderState, ReservationStatus, StatusCode},
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
struct Client(SendRequest<Full<Bytes>>);

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
    async fn tls(smdp: &Smdp) -> Self {
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
        let name = HOST.try_into().unwrap();
        Self::over(
            TlsConnector::from(Arc::new(config))
                .connect(name, near)
                .await
                .unwrap(),
        )
        .await
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
