use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::{Method, StatusCode as HttpStatus};
use rsp_common::certificate::Role;
use rsp_common::pki::{Pki, PkiOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::clock::Clock;
use crate::recorder::{Received, called, serve_one};
use crate::rsp::tls;
use crate::smdp::testing::{Admin, Answer};
use crate::smdp::{Config, ReservationStatus, SimStatus};

const EID: &str = "89049032123451234512345678901235";

/// A server and a customer of it.
struct Customer {
    smdp: Smdp,
    admin: Admin,
}

impl Customer {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let pki = Pki::generate(&PkiOptions::default()).unwrap();
        let mut config = Config {
            reservation_step: Duration::from_millis(1),
            callback_pause: Duration::from_millis(1),
            ..Config::new("smdp.example.com", pki)
        };
        change(&mut config);
        let smdp = Smdp::new(config).unwrap();
        let admin = Admin::start(&smdp).await;
        Self { smdp, admin }
    }

    async fn send(&self, method: Method, path: &str, form: &str) -> Answer {
        let config = self.smdp.config();
        let credentials = format!("{}:{}", config.account_sid, config.auth_token);
        let authorization = format!("Basic {}", BASE64_STANDARD.encode(credentials));
        let headers = [("authorization", authorization.as_str())];
        self.admin
            .send(method, path, &headers, form.to_owned())
            .await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.send(Method::GET, path, "").await;
        assert_eq!(answer.status, HttpStatus::OK, "{}", answer.json);
        answer.json
    }

    async fn post(&self, path: &str, form: &str) -> Answer {
        self.send(Method::POST, path, form).await
    }

    /// Reserves a profile: the SID.
    async fn reserve(&self, form: &str) -> String {
        let created = self.post("/v1/ESimProfiles", form).await;
        assert_eq!(created.status, HttpStatus::CREATED, "{}", created.json);
        created.json["sid"].as_str().unwrap().to_owned()
    }

    async fn becomes(&self, sid: &str, status: ReservationStatus) -> Value {
        let is = |smdp: &Smdp| smdp.reservation(sid).unwrap().status == status;
        self.smdp.wait_until(is).await;
        self.get(&format!("/v1/ESimProfiles/{sid}")).await
    }

    /// Reserves a profile that becomes available: the SID of its Sim.
    async fn sim(&self) -> String {
        let sid = self.reserve("GenerateMatchingId=true").await;
        let available = self.becomes(&sid, ReservationStatus::Available).await;
        available["sim_sid"].as_str().unwrap().to_owned()
    }

    async fn sim_becomes(&self, sid: &str, status: SimStatus) {
        let is = |smdp: &Smdp| smdp.sim(sid).unwrap().status == status;
        self.smdp.wait_until(is).await;
    }
}

fn callback_form(scheme: &str, address: impl std::fmt::Display) -> String {
    format!("Eid={EID}&CallbackUrl={scheme}%3A%2F%2F{address}%2Fchanged")
}

fn body(received: &Received) -> String {
    String::from_utf8(received.body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_sim_is_given_to_a_fleet_and_made_active_apart_from_its_profile() {
    let clock = Clock::new(|| UNIX_EPOCH + Duration::from_secs(951_782_400));
    let customer = Customer::new(|config| config.clock = clock).await;
    let profile = "HA00000000000000000000000000000001";
    let form = format!("NetworkAccessProfile={profile}&UniqueName=Pilot+fleet&DataLimit=500");
    let fleet = customer.post("/v1/Fleets", &form).await;
    assert_eq!(fleet.status, HttpStatus::CREATED);
    let fleet = fleet.json;
    let fleet_sid = fleet["sid"].as_str().unwrap();
    assert!(fleet_sid.starts_with("HF") && fleet_sid.len() == 34);
    assert_eq!(
        fleet,
        json!({
            "sid": fleet_sid,
            "unique_name": "Pilot fleet",
            "account_sid": "AC00000000000000000000000000000001",
            "data_enabled": true,
            "data_limit": 500,
            "data_metering": "payg",
            "sms_commands_enabled": true,
            "sms_commands_url": null,
            "sms_commands_method": "POST",
            "ip_commands_url": null,
            "ip_commands_method": "POST",
            "network_access_profile_sid": profile,
            "date_created": "2000-02-29T00:00:00Z",
            "date_updated": "2000-02-29T00:00:00Z",
            "url": format!("http://127.0.0.1/v1/Fleets/{fleet_sid}"),
        })
    );
    assert_eq!(customer.get("/v1/Fleets/Pilot%20fleet").await, fleet);

    let sid = customer.sim().await;
    let path = format!("/v1/Sims/{sid}");
    let sim = customer.get(&path).await;
    assert_eq!(sim["status"], "new");
    assert!(sim["fleet_sid"].is_null() && sim["unique_name"].is_null());
    let url = format!("http://127.0.0.1{path}");
    assert_eq!(sim["url"], url);
    assert_eq!(
        sim["links"]["billing_periods"],
        format!("{url}/BillingPeriods")
    );
    let form = "UniqueName=Bike-1&Status=ready&Fleet=Pilot%20fleet";
    let changed = customer.post(&path, form).await;
    assert_eq!(changed.status, HttpStatus::OK);
    assert_eq!(changed.json["status"], "scheduled");
    assert_eq!(changed.json["fleet_sid"], fleet_sid);
    customer.sim_becomes("Bike-1", SimStatus::Ready).await;
    customer.post("/v1/Sims/Bike-1", "Status=active").await;
    customer.sim_becomes(&sid, SimStatus::Active).await;
    let list = customer
        .get(&format!("/v1/Sims?Status=active&Fleet={fleet_sid}"))
        .await;
    assert_eq!(list["sims"][0]["sid"], *sid);
    assert_eq!(list["meta"]["key"], "sims");
    let none = customer.get("/v1/Sims?Iccid=89").await;
    assert_eq!(none["sims"], json!([]));
}

#[tokio::test]
async fn a_change_of_a_sim_that_cannot_be_made_is_refused_with_its_reason() {
    let customer = Customer::new(|_| {}).await;
    let fleet = "NetworkAccessProfile=HA1&UniqueName=Pilot";
    customer.post("/v1/Fleets", fleet).await;
    let sid = customer.sim().await;
    let other = customer.sim().await;
    let named = customer
        .post(&format!("/v1/Sims/{other}"), "UniqueName=Taken")
        .await;
    assert_eq!(
        named.json["status"], "new",
        "a name alone changes nothing else"
    );
    let sim = format!("/v1/Sims/{sid}");
    for (path, form, status, code) in [
        (&*sim, "Status=ready", 400, 20001),
        (&sim, "Status=new", 400, 20001),
        (&sim, "Status=inactive", 400, 83010),
        (&sim, "Fleet=Unknown", 400, 20001),
        (&sim, "UniqueName=Taken", 400, 20001),
        (&sim, "Fleet=Pilot&CallbackUrl=nowhere", 400, 20001),
        ("/v1/Sims/HS0", "Status=ready", 404, 20404),
        ("/v1/Sims", "Iccid=89", 405, 20004),
        ("/v1/Fleets", "", 400, 20001),
        ("/v1/Fleets", fleet, 400, 20001),
        (
            "/v1/Fleets",
            "NetworkAccessProfile=HA1&DataLimit=0",
            400,
            20001,
        ),
        (
            "/v1/Fleets",
            "NetworkAccessProfile=HA1&DataEnabled=1",
            400,
            20001,
        ),
    ] {
        let refused = customer.post(path, form).await;
        assert_eq!(refused.status.as_u16(), status, "{form}");
        assert_eq!(refused.json["code"], code, "{form}");
        assert_eq!(refused.json["status"], status, "{form}");
        let info = refused.json["more_info"].as_str().unwrap();
        assert!(info.ends_with(&code.to_string()), "{info}");
    }
    assert_eq!(customer.smdp.sim(&sid).unwrap().status, SimStatus::New);
}

#[tokio::test]
async fn sims_and_fleets_survive_a_restart_and_what_was_scheduled_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let customer = Customer::new(|config| {
        config.state_folder = Some(path);
    })
    .await;
    let sid = customer.sim().await;
    customer
        .post("/v1/Fleets", "NetworkAccessProfile=HA1&UniqueName=Pilot")
        .await;
    let update = SimUpdate {
        status: Some(SimStatus::Active),
        fleet: Some("Pilot".into()),
        ..SimUpdate::default()
    };
    let scheduled = customer
        .smdp
        .update(|state| state.sims.update(&sid, update, 0));
    assert_eq!(scheduled.unwrap().0.status, SimStatus::Scheduled);
    let path = folder.path().to_owned();
    let customer = Customer::new(|config| config.state_folder = Some(path)).await;
    let sim = customer.get(&format!("/v1/Sims/{sid}")).await;
    assert_eq!(sim["status"], "active");
    let fleet = customer.get("/v1/Fleets/Pilot").await;
    assert_eq!(sim["fleet_sid"], fleet["sid"]);
}

#[tokio::test]
async fn the_end_of_a_change_of_a_sim_is_told_to_the_client_that_asked_for_it() {
    let customer = Customer::new(|_| {}).await;
    customer
        .post("/v1/Fleets", "NetworkAccessProfile=HA1&UniqueName=Pilot")
        .await;
    let sid = customer.sim().await;
    let (address, mut calls) = called(&[200]).await;
    let form = format!(
        "Status=ready&Fleet=Pilot&CallbackUrl=http%3A%2F%2F{address}%2Fsim&CallbackMethod=GET"
    );
    customer.post(&format!("/v1/Sims/{sid}"), &form).await;
    let call = calls.recv().await.unwrap();
    assert_eq!(call.method, Method::GET);
    assert!(call.path.starts_with("/sim?AccountSid=AC"), "{}", call.path);
    assert!(
        call.path.contains(&format!("SimSid={sid}")),
        "{}",
        call.path
    );
    assert!(call.path.contains("Status=ready"), "{}", call.path);
}

#[tokio::test]
async fn a_callback_is_tried_again_a_few_times_and_the_next_one_waits_for_it() {
    let customer = Customer::new(|_| {}).await;
    let (address, mut calls) = called(&[500, 500, 500, 204]).await;
    let sid = customer.reserve(&callback_form("http", address)).await;
    customer.becomes(&sid, ReservationStatus::Available).await;
    let order = customer.smdp.reservation(&sid).unwrap().order;
    customer.smdp.withdraw(order);
    for _ in 0..3 {
        let call = calls.recv().await.unwrap();
        assert_eq!(
            (call.method.as_str(), call.path.as_str()),
            ("POST", "/changed")
        );
        assert_eq!(
            call.headers["content-type"],
            "application/x-www-form-urlencoded"
        );
        assert!(body(&call).contains("Status=available"), "{}", body(&call));
    }
    let call = calls.recv().await.unwrap();
    assert!(body(&call).contains("Status=failed"), "{}", body(&call));
}

/// A web server with a certificate for `localhost`; gives the port, what it was sent, and how the
/// handshakes ended.
async fn secure_server(pki: &Pki) -> (u16, mpsc::Receiver<Received>, mpsc::Receiver<bool>) {
    let mut pki = pki.clone();
    pki.issue_tls(&["localhost".to_owned()], std::time::SystemTime::now())
        .unwrap();
    let chain = [pki.certificate(Role::DpTls).unwrap().clone()];
    let key = pki.key(Role::DpTls).unwrap();
    let config = tls::server_config(&chain, key, rustls::ALL_VERSIONS, &[]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, received) = mpsc::channel(10);
    let (handshaken, handshakes) = mpsc::channel(10);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = TlsAcceptor::from(config.clone()).accept(stream).await;
            // A receiver that is gone asks nothing.
            let _ = handshaken.send(stream.is_ok()).await;
            if let Ok(stream) = stream {
                serve_one(stream, 204, sender.clone()).await;
            }
        }
    });
    (port, received, handshakes)
}

#[tokio::test]
async fn a_callback_over_https_trusts_the_pki_and_the_issuers_it_is_given() {
    let foreign = Pki::generate(&PkiOptions::default()).unwrap();
    let root = foreign.certificate(Role::Ci).unwrap().clone();
    let customer = Customer::new(|config| config.callback_roots.push(root)).await;
    for pki in [foreign, customer.smdp.config().pki.clone()] {
        let (port, mut calls, _) = secure_server(&pki).await;
        let form = callback_form("https", format_args!("localhost%3A{port}"));
        let sid = customer.reserve(&form).await;
        let call = calls.recv().await.unwrap();
        assert!(body(&call).contains(&sid), "{}", body(&call));
        assert_eq!(call.headers["host"], format!("localhost:{port}"));
    }
}

#[tokio::test]
async fn a_callback_to_a_server_of_an_unknown_issuer_is_given_up() {
    let customer = Customer::new(|_| {}).await;
    let stranger = Pki::generate(&PkiOptions::default()).unwrap();
    let (port, mut calls, mut handshakes) = secure_server(&stranger).await;
    let form = callback_form("https", format_args!("localhost%3A{port}"));
    customer.reserve(&form).await;
    for _ in 0..3 {
        assert_eq!(handshakes.recv().await, Some(false));
    }
    assert!(calls.try_recv().is_err());
}

#[tokio::test]
async fn a_reservation_can_fail_with_a_code_and_shows_nothing_that_was_not_reserved() {
    let customer = Customer::new(|_| {}).await;
    let fault = "fails=22005".parse().unwrap();
    customer.smdp.set_reservation_fault(Calls::NEXT, fault);
    let sid = customer.reserve("GenerateMatchingId=true").await;
    let failed = customer.becomes(&sid, ReservationStatus::Failed).await;
    assert_eq!(failed["error_code"], "22005");
    assert!(!failed["error_message"].as_str().unwrap().is_empty());
    for member in [
        "iccid",
        "sim_sid",
        "smdp_plus_address",
        "matching_id",
        "activation_code",
    ] {
        assert!(failed[member].is_null(), "{member}");
    }
    assert_eq!(customer.get("/v1/Sims").await["sims"], json!([]));
    let sid = customer.reserve("GenerateMatchingId=true").await;
    customer.becomes(&sid, ReservationStatus::Available).await;
}

#[tokio::test]
async fn a_reservation_can_be_stuck_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let customer = Customer::new(|config| config.state_folder = Some(path)).await;
    customer
        .smdp
        .set_reservation_fault(Calls::NEXT, ReservationFault::Stuck);
    let sid = customer.reserve("GenerateMatchingId=true").await;
    let later = customer.reserve("GenerateMatchingId=true").await;
    customer.becomes(&later, ReservationStatus::Available).await;
    customer.becomes(&sid, ReservationStatus::Reserving).await;
    let path = folder.path().to_owned();
    let customer = Customer::new(|config| config.state_folder = Some(path)).await;
    customer.becomes(&sid, ReservationStatus::Reserving).await;
}

#[tokio::test]
async fn the_address_of_the_server_can_be_a_url_and_the_activation_code_never_is() {
    let customer = Customer::new(|config| config.address_as_url = true).await;
    let sid = customer.reserve("GenerateMatchingId=true").await;
    let available = customer.becomes(&sid, ReservationStatus::Available).await;
    assert_eq!(available["smdp_plus_address"], "https://smdp.example.com");
    let code = available["activation_code"].as_str().unwrap();
    assert!(code.starts_with("LPA:1$smdp.example.com$"), "{code}");
}

#[tokio::test]
async fn each_fault_of_an_answer_does_what_its_name_says() {
    let customer = Customer::new(|_| {}).await;
    for (name, status, code) in [
        ("unauthorized", 401, 20003),
        ("too-many-requests", 429, 20429),
        ("unavailable", 503, 20503),
    ] {
        let fault: ReservationFault = name.parse().unwrap();
        customer.smdp.set_reservation_fault(Calls::NEXT, fault);
        let answer = customer.send(Method::GET, "/v1/Sims", "").await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.json["code"], code, "{name}");
        let retry_after = answer.headers.contains_key("retry-after");
        assert_eq!(retry_after, status == 429, "{name}");
        customer.get("/v1/Sims").await;
    }
    customer
        .smdp
        .set_reservation_fault(Calls::Every, ReservationFault::Unavailable);
    customer.smdp.clear_reservation_faults();
    customer.get("/v1/Sims").await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_answer_is_none() {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    let smdp = Smdp::new(Config::new("smdp.example.com", pki)).unwrap();
    smdp.set_reservation_fault(Calls::NEXT, "silence".parse().unwrap());
    let (uri, headers) = ("/v1/Sims".parse().unwrap(), hyper::HeaderMap::new());
    let request = crate::smdp::admin::ApiRequest {
        method: &Method::GET,
        uri: &uri,
        headers: &headers,
        body: &[],
        base_url: "http://127.0.0.1",
    };
    let begun = tokio::time::Instant::now();
    assert!(smdp.answer_api(&request).await.is_err());
    assert!(begun.elapsed() >= Duration::from_secs(600));
}

#[tokio::test]
async fn a_bearer_token_is_accepted_when_the_server_has_one() {
    let customer = Customer::new(|config| config.bearer_token = Some("t0ken".into())).await;
    let ask = async |authorization: &str| {
        let headers = [("authorization", authorization)];
        let answer = customer
            .admin
            .send(Method::GET, "/v1/Sims", &headers, "")
            .await;
        answer.status.as_u16()
    };
    assert_eq!(ask("Bearer t0ken").await, 200);
    assert_eq!(ask("bearer other").await, 401);
    customer.get("/v1/Sims").await;
    let without = Customer::new(|_| {}).await;
    let headers = [("authorization", "Bearer ")];
    let answer = without
        .admin
        .send(Method::GET, "/v1/Sims", &headers, "")
        .await;
    assert_eq!(answer.status.as_u16(), 401);
}

#[tokio::test]
async fn pages_of_profiles_follow_each_other_by_their_urls() {
    let customer = Customer::new(|_| {}).await;
    for _ in 0..3 {
        customer.reserve("GenerateMatchingId=true").await;
    }
    let first = customer.get("/v1/ESimProfiles?PageSize=2").await;
    let next = first["meta"]["next_page_url"].as_str().unwrap();
    customer.reserve("GenerateMatchingId=true").await;
    let next = customer
        .get(next.trim_start_matches("http://127.0.0.1"))
        .await;
    let sids = |page: &Value| {
        let page = page["esim_profiles"].as_array().unwrap().iter();
        page.map(|one| one["sid"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let created: Vec<_> = customer
        .smdp
        .reservations()
        .into_iter()
        .map(|one| one.sid)
        .collect();
    assert_eq!(sids(&first), [created[2].clone(), created[1].clone()]);
    assert_eq!(sids(&next), [created[0].clone()]);
    assert!(next["meta"]["next_page_url"].is_null());
}
