use std::sync::{Arc, Mutex};

use hyper::{Method, StatusCode as HttpStatus};
use rsp_common::certificate::Role;
use rsp_common::pki::{Pki, PkiOptions};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;

use super::*;
use crate::profile::{Iccid, Profile};
use crate::rsp::status::StatusCode;
use crate::smdp::testing::{self, Admin};
use crate::smdp::{Config, OrderRequest, OrderState, Smdp};

const EID: &str = "89049032123451234512345678901235";
const OTHER_EID: &str = "89033024343000012200000000031331";
const HOST: &str = "smdp.example.com";

/// Names a function and the members of its request.
type Ask = (&'static str, Value);

struct Operator {
    smdp: Smdp,
    admin: Admin,
}

impl Operator {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(HOST, Pki::generate(&PkiOptions::default()).unwrap());
        change(&mut config);
        let smdp = Smdp::new(config).unwrap();
        for (number, profile_type, operator) in [
            (1, "gold", None),
            (2, "gold", None),
            (3, "silver", Some("2.999.7")),
        ] {
            smdp.stock(StockedProfile {
                profile: Profile::builder(Iccid::nth(number)).build(),
                profile_type: profile_type.into(),
                operator: operator.map(str::to_owned),
            });
        }
        let admin = Admin::start(&smdp).await;
        Self { smdp, admin }
    }

    async fn send(&self, function: &str, body: &Value) -> testing::Answer {
        let path = format!("/gsma/rsp2/es2plus/{function}");
        let headers = [
            ("content-type", "application/json"),
            ("x-admin-protocol", "gsma/rsp/v2.2.0"),
        ];
        self.admin
            .send(Method::POST, &path, &headers, body.to_string())
            .await
    }

    /// Calls a function: its answer's members, or subject and reason.
    async fn ask(&self, (function, mut body): Ask) -> Result<Value, String> {
        body["header"] = json!({
            "functionRequesterIdentifier": "2.999.1",
            "functionCallIdentifier": "call-1",
        });
        let answer = self.send(function, &body).await;
        assert_eq!(answer.status, HttpStatus::OK);
        assert_eq!(answer.headers["x-admin-protocol"], "gsma/rsp/v2.5.0");
        outcome(answer.json)
    }

    async fn refuse(&self, ask: Ask, status: StatusCode) {
        let refused = self.ask(ask.clone()).await;
        assert_eq!(refused, Err(status.to_string()), "{ask:?}");
    }

    fn state(&self) -> OrderState {
        self.smdp.orders().last().unwrap().state()
    }
}

fn outcome(mut answer: Value) -> Result<Value, String> {
    let status = answer["header"]["functionExecutionStatus"].take();
    answer.as_object_mut().unwrap().remove("header");
    match status["status"].as_str().unwrap() {
        "Executed-Success" => Ok(answer),
        _ => {
            assert_eq!(answer, json!({}), "a failure comes alone");
            let data = &status["statusCodeData"];
            let part = |name: &str| data[name].as_str().unwrap().to_owned();
            Err(format!("{}/{}", part("subjectCode"), part("reasonCode")))
        }
    }
}

fn iccid(number: u32) -> String {
    Iccid::nth(number).to_string()
}

fn download(number: u32) -> Ask {
    ("downloadOrder", json!({ "iccid": iccid(number) }))
}

fn confirm(number: u32, members: Value) -> Ask {
    let mut body = json!({ "iccid": iccid(number), "releaseFlag": false });
    let more = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    ("confirmOrder", body)
}

fn release(number: u32) -> Ask {
    ("releaseProfile", json!({ "iccid": iccid(number) }))
}

fn cancel(number: u32, finally: &str) -> Ask {
    let body = json!({ "iccid": iccid(number), "finalProfileStatusIndicator": finally });
    ("cancelOrder", body)
}

#[tokio::test]
async fn a_profile_is_ordered_confirmed_and_released_under_a_generated_matching_id() {
    let operator = Operator::new(|_| {}).await;
    let padded = json!({ "iccid": format!("{}F", iccid(1)) });
    let ordered = operator.ask(("downloadOrder", padded)).await.unwrap();
    assert_eq!(ordered, json!({ "iccid": iccid(1) }));
    assert_eq!(operator.state(), OrderState::Allocated);
    operator
        .refuse(release(1), StatusCode::ICCID_IN_WRONG_STATE)
        .await;
    let code = json!({ "confirmationCode": "1234" });
    let confirmed = operator.ask(confirm(1, code)).await.unwrap();
    assert_eq!(confirmed["smdpAddress"], HOST);
    assert_eq!(operator.state(), OrderState::Confirmed);
    assert_eq!(operator.ask(release(1)).await, Ok(json!({})));
    let order = operator.smdp.orders().pop().unwrap();
    assert_eq!(order.state(), OrderState::Released);
    assert_eq!(confirmed["matchingId"], order.matching_id());
    assert!(order.requires_confirmation_code() && order.matching_id().len() > 10);
    operator
        .refuse(release(1), StatusCode::ICCID_IN_WRONG_STATE)
        .await;
}

#[tokio::test]
async fn an_order_for_an_eid_is_linked_and_released_with_an_empty_matching_id() {
    let operator = Operator::new(|_| {}).await;
    let body = json!({ "profileType": "gold", "eid": EID });
    let ordered = operator.ask(("downloadOrder", body)).await.unwrap();
    assert_eq!(ordered["iccid"], iccid(1));
    assert_eq!(operator.state(), OrderState::Linked);
    let other = confirm(1, json!({ "eid": OTHER_EID, "matchingId": "" }));
    operator.refuse(other, StatusCode::EID_MISMATCH).await;
    let right = confirm(
        1,
        json!({ "eid": EID, "matchingId": "", "releaseFlag": true }),
    );
    let confirmed = operator.ask(right).await.unwrap();
    assert_eq!(
        confirmed,
        json!({ "eid": EID, "matchingId": "", "smdpAddress": HOST })
    );
    assert_eq!(operator.state(), OrderState::Released);
}

#[tokio::test]
async fn what_is_not_in_stock_cannot_be_ordered_and_the_answer_says_why() {
    let operator = Operator::new(|_| {}).await;
    let by_type = |name: &str| ("downloadOrder", json!({ "profileType": name }));
    for (ask, status) in [
        (download(9), StatusCode::ICCID_UNKNOWN),
        (download(3), StatusCode::ICCID_NOT_ALLOWED),
        (by_type("lead"), StatusCode::PROFILE_TYPE_UNKNOWN),
        (by_type("silver"), StatusCode::PROFILE_TYPE_NOT_ALLOWED),
        (("downloadOrder", json!({})), StatusCode::MISSING_INPUT),
        (
            ("downloadOrder", json!({ "iccid": "89" })),
            StatusCode::INVALID_INPUT,
        ),
        (
            ("downloadOrder", json!({ "iccid": 89 })),
            StatusCode::INVALID_INPUT,
        ),
        (
            (
                "downloadOrder",
                json!({ "profileType": "gold", "eid": "1" }),
            ),
            StatusCode::INVALID_INPUT,
        ),
        (
            (
                "downloadOrder",
                json!({ "profileType": "silver", "iccid": iccid(1) }),
            ),
            StatusCode::INVALID_INPUT,
        ),
    ] {
        operator.refuse(ask, status).await;
    }
    operator.ask(by_type("gold")).await.unwrap();
    operator.refuse(download(1), StatusCode::ICCID_IN_USE).await;
    operator.ask(by_type("gold")).await.unwrap();
    operator
        .refuse(by_type("gold"), StatusCode::PROFILE_TYPE_EXHAUSTED)
        .await;
}

#[tokio::test]
async fn an_order_is_confirmed_once_and_only_when_it_can_be_found() {
    let operator = Operator::new(|_| {}).await;
    operator
        .refuse(confirm(1, json!({})), StatusCode::ICCID_UNKNOWN)
        .await;
    operator.ask(download(1)).await.unwrap();
    operator.ask(download(2)).await.unwrap();
    for (members, status) in [
        (json!({ "matchingId": "" }), StatusCode::EID_MISSING),
        (json!({ "matchingId": "small" }), StatusCode::INVALID_INPUT),
        (
            json!({ "smdsAddress": "smds.example.com" }),
            StatusCode::EID_MISSING,
        ),
        (
            json!({ "smdsAddress": "smds.example.com", "matchingId": "", "eid": EID }),
            StatusCode::INVALID_INPUT,
        ),
        (json!({ "releaseFlag": "yes" }), StatusCode::INVALID_INPUT),
    ] {
        operator.refuse(confirm(1, members), status).await;
    }
    let without_flag = ("confirmOrder", json!({ "iccid": iccid(1) }));
    operator
        .refuse(without_flag, StatusCode::MISSING_INPUT)
        .await;
    let named = json!({ "matchingId": "M-1" });
    operator.ask(confirm(1, named.clone())).await.unwrap();
    operator
        .refuse(confirm(2, named.clone()), StatusCode::MATCHING_ID_IN_USE)
        .await;
    operator
        .refuse(confirm(1, named), StatusCode::ICCID_IN_USE)
        .await;
}

#[tokio::test]
async fn a_cancelled_profile_can_be_ordered_again_or_never_again() {
    let operator = Operator::new(|_| {}).await;
    operator
        .refuse(cancel(9, "Available"), StatusCode::ICCID_UNKNOWN)
        .await;
    operator
        .refuse(cancel(1, "Available"), StatusCode::ICCID_IN_WRONG_STATE)
        .await;
    let body = json!({ "iccid": iccid(1), "eid": EID });
    operator.ask(("downloadOrder", body)).await.unwrap();
    let named = confirm(1, json!({ "matchingId": "M-1", "releaseFlag": true }));
    operator.ask(named).await.unwrap();
    for (member, value, status) in [
        ("eid", OTHER_EID, StatusCode::EID_MISMATCH),
        ("matchingId", "M-2", StatusCode::MATCHING_ID_MISMATCH),
        (
            "finalProfileStatusIndicator",
            "Gone",
            StatusCode::INVALID_INPUT,
        ),
    ] {
        let (function, mut body) = cancel(1, "Available");
        body[member] = value.into();
        operator.refuse((function, body), status).await;
    }
    operator.ask(cancel(1, "Available")).await.unwrap();
    assert_eq!(operator.state(), OrderState::Unavailable);
    operator
        .refuse(cancel(1, "Available"), StatusCode::ICCID_IN_WRONG_STATE)
        .await;
    operator.ask(download(1)).await.unwrap();
    operator.ask(cancel(1, "Unavailable")).await.unwrap();
    operator.refuse(download(1), StatusCode::ICCID_IN_USE).await;
}

#[tokio::test]
async fn an_order_taken_otherwise_can_be_released_and_cancelled_too() {
    let operator = Operator::new(|_| {}).await;
    let profile = Profile::builder(Iccid::nth(20)).build();
    operator.smdp.create_order(OrderRequest {
        released: false,
        ..OrderRequest::for_eid(profile, EID)
    });
    let right = confirm(
        20,
        json!({ "eid": EID, "matchingId": "", "releaseFlag": true }),
    );
    operator.ask(right).await.unwrap();
    assert_eq!(operator.state(), OrderState::Released);
    operator.ask(cancel(20, "Unavailable")).await.unwrap();
    assert_eq!(operator.state(), OrderState::Unavailable);
}

#[tokio::test]
async fn the_header_names_the_caller() {
    let operator = Operator::new(|_| {}).await;
    let caller = "functionRequesterIdentifier";
    let call = "functionCallIdentifier";
    for (header, status) in [
        (Value::Null, StatusCode::REQUESTER_INVALID),
        (json!({ call: "1" }), StatusCode::REQUESTER_INVALID),
        (
            json!({ caller: " ", call: "1" }),
            StatusCode::REQUESTER_INVALID,
        ),
        (json!({ caller: "2.999.1" }), StatusCode::CALL_INVALID),
        (
            json!({ caller: "2.999.1", call: 7 }),
            StatusCode::CALL_INVALID,
        ),
    ] {
        let body = json!({ "header": header, "iccid": iccid(1) });
        let answer = operator.send("downloadOrder", &body).await;
        assert_eq!(outcome(answer.json), Err(status.to_string()), "{header}");
    }
    let path = "/gsma/rsp2/es2plus/downloadOrder";
    let json = [("content-type", "application/json")];
    let answer = operator.admin.send(Method::POST, path, &json, "{}").await;
    assert_eq!(
        outcome(answer.json),
        Err(StatusCode::MISSING_PROTOCOL.to_string())
    );
    let answer = operator.admin.send(Method::GET, path, &json, "").await;
    assert_eq!(answer.status, HttpStatus::METHOD_NOT_ALLOWED);
    let unknown = operator.send("orderLunch", &json!({})).await;
    assert_eq!(unknown.status, HttpStatus::NOT_FOUND);
}

/// An SM-DS that writes down what it is told, and answers as it is told.
#[derive(Debug, Default)]
struct Smds {
    log: Mutex<Vec<(&'static str, Event)>>,
    failure: Mutex<Option<EventError>>,
}

impl EventRegistrar for Smds {
    fn register(&self, event: Event) -> Registration<'_> {
        self.log.lock().unwrap().push(("register", event));
        let failure = *self.failure.lock().unwrap();
        Box::pin(async move { failure.map_or(Ok(()), Err) })
    }

    fn delete(&self, event: Event) -> Registration<'_> {
        self.log.lock().unwrap().push(("delete", event));
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn an_sm_ds_learns_of_an_order_when_it_is_released_and_forgets_it_when_it_is_closed() {
    let smds = Arc::new(Smds::default());
    let registrar = smds.clone();
    let operator = Operator::new(|config| config.event_registrar = Some(registrar)).await;
    operator.ask(download(1)).await.unwrap();
    let members = json!({ "eid": EID, "matchingId": "M-1", "smdsAddress": "smds.example.com" });
    operator.ask(confirm(1, members)).await.unwrap();
    assert_eq!(*smds.log.lock().unwrap(), []);
    *smds.failure.lock().unwrap() = Some(EventError::Inaccessible);
    operator
        .refuse(release(1), StatusCode::SMDS_INACCESSIBLE)
        .await;
    *smds.failure.lock().unwrap() = Some(EventError::Refused);
    operator.refuse(release(1), StatusCode::SMDS_FAILED).await;
    assert_eq!(operator.state(), OrderState::Confirmed);
    *smds.failure.lock().unwrap() = None;
    operator.ask(release(1)).await.unwrap();
    operator.ask(cancel(1, "Available")).await.unwrap();
    while smds.log.lock().unwrap().len() < 4 {
        tokio::task::yield_now().await;
    }
    let event = Event {
        smds_address: "smds.example.com".into(),
        eid: EID.into(),
        rsp_server_address: HOST.into(),
        event_id: "M-1".into(),
    };
    let log = smds.log.lock().unwrap();
    let register = ("register", event.clone());
    assert_eq!(
        *log,
        [
            register.clone(),
            register.clone(),
            register,
            ("delete", event)
        ]
    );
}

#[tokio::test]
async fn an_sm_ds_that_cannot_be_reached_keeps_an_order_from_being_confirmed() {
    let operator = Operator::new(|_| {}).await;
    operator.ask(download(1)).await.unwrap();
    let members = json!({
        "eid": EID, "matchingId": "M-1", "smdsAddress": "smds.example.com", "releaseFlag": true,
    });
    operator
        .refuse(confirm(1, members), StatusCode::SMDS_INACCESSIBLE)
        .await;
    assert_eq!(operator.state(), OrderState::Allocated);
}

#[tokio::test]
async fn the_stock_and_its_orders_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let operator = Operator::new(|config| config.state_folder = Some(path)).await;
    operator.ask(download(1)).await.unwrap();
    operator.ask(download(2)).await.unwrap();
    operator.ask(cancel(2, "Unavailable")).await.unwrap();
    let path = folder.path().to_owned();
    let operator = Operator::new(|config| config.state_folder = Some(path)).await;
    operator.refuse(download(1), StatusCode::ICCID_IN_USE).await;
    operator.refuse(download(2), StatusCode::ICCID_IN_USE).await;
    operator.ask(confirm(1, json!({}))).await.unwrap();
    operator.ask(release(1)).await.unwrap();
}

/// Orders a profile over TLS, with a client certificate; the HTTP status, if there is one.
async fn order_over_tls(smdp: &Smdp, caller: Option<&Pki>) -> Option<HttpStatus> {
    let mut roots = RootCertStore::empty();
    let ci = smdp.config().pki.certificate(Role::Ci).unwrap();
    roots.add(CertificateDer::from(ci.der().to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let client = match caller {
        None => client.with_no_client_auth(),
        Some(pki) => {
            let chain = pki.certificate(Role::DpTls).unwrap().der().to_vec();
            let key = pki.key(Role::DpTls).unwrap().to_pem();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            let chain = vec![CertificateDer::from(chain)];
            client.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let (near, far) = tokio::io::duplex(4096);
    let server = smdp.clone();
    tokio::spawn(async move { server.serve_stream(far).await });
    let connector = TlsConnector::from(Arc::new(client));
    let stream = connector
        .connect(HOST.try_into().unwrap(), near)
        .await
        .ok()?;
    let headers = [
        ("content-type", "application/json"),
        ("x-admin-protocol", "gsma/rsp/v2.2.0"),
    ];
    let path = "/gsma/rsp2/es2plus/downloadOrder";
    let answer = testing::send(stream, Method::POST, path, &headers, "{}").await;
    Some(answer.ok()?.status)
}

#[tokio::test(start_paused = true)]
async fn over_tls_an_operator_shows_a_certificate_when_the_server_wants_one() {
    let pki = || Pki::generate(&PkiOptions::default()).unwrap();
    let (own, operator, stranger) = (pki(), pki(), pki());
    let open = Smdp::new(Config::new(HOST, own.clone())).unwrap();
    assert_eq!(order_over_tls(&open, None).await, Some(HttpStatus::OK));
    let root = operator.certificate(Role::Ci).unwrap().clone();
    let strict = Smdp::new(Config {
        es2_client_roots: vec![root],
        ..Config::new(HOST, own)
    })
    .unwrap();
    let ok = order_over_tls(&strict, Some(&operator)).await;
    assert_eq!(ok, Some(HttpStatus::OK));
    let without = order_over_tls(&strict, None).await;
    assert_eq!(without, Some(HttpStatus::FORBIDDEN));
    assert_eq!(order_over_tls(&strict, Some(&stranger)).await, None);
}
