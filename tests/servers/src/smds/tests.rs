use std::collections::VecDeque;

use es9_client::es9::InitiateAuthenticationRequest;
use es9_client::{Answer, AnswerError, Es9Client, Es9Function, Options, Roots, ServerAddress};
use es10_apdu::asn1;
use es10_apdu::es10b::{
    AuthenticateServerResponse, CancelSessionReason, CancelSessionResponse, EuiccInfo1,
};
use es10_apdu::types::{SubjectKeyIdentifier, VersionType};
use rsp_common::pki::PkiOptions;
use serde::Serialize;
use serde_json::{Value, json};
use sim_card_emulator::card::Card;
use sim_card_emulator::euicc::{Identity, Settings};
use sim_card_emulator::modem::Card as _;

use super::*;
use crate::lpa::{BareError, BareLpa, Direct, EventEntry};
use crate::network::{Network, Reach};
use crate::profile::{Iccid, Profile};
use crate::smdp::{self, DirectRequest, Event, EventError, OrderRequest, Smdp, StockedProfile};

const HOST_NAME: &str = "smdp.example.com";
const ROOT: &str = "smds.example.com";
const ALTERNATIVE: &str = "alternative.example.com";
const OTHER_EID: &str = "89049032999999999999999999999955";

/// A root SM-DS, an alternative one, an SM-DP+ and a card on one network.
struct Rig {
    card: Card,
    smdp: Smdp,
    network: Network,
    pki: Pki,
    root: Smds,
    alternative: Smds,
}

impl Rig {
    fn new() -> Self {
        let pki = Pki::generate(&PkiOptions {
            smds_host_names: vec![ROOT.to_owned(), ALTERNATIVE.to_owned()],
            ..PkiOptions::default()
        })
        .unwrap();
        let network = Network::default();
        let registrar = |requester: &str, forwarding| {
            let client = Es12Client::new(network.clone(), &pki, requester, forwarding);
            Arc::new(client.unwrap())
        };
        let root = Smds::new(Config::new(ROOT, pki.clone())).unwrap();
        let alternative = Smds::new(Config {
            root: Some(Root {
                address: ROOT.to_owned(),
                registrar: registrar("2.999.15", false),
            }),
            ..Config::new(ALTERNATIVE, pki.clone())
        })
        .unwrap();
        for (name, smds) in [(ROOT, &root), (ALTERNATIVE, &alternative)] {
            let smds = smds.clone();
            network.set_server(name, move |stream| {
                let smds = smds.clone();
                async move { smds.serve_stream(stream).await }
            });
        }
        let config = smdp::Config {
            event_registrar: Some(registrar("2.999.10", true)),
            ..smdp::Config::new(HOST_NAME, pki.clone())
        };
        let smdp = Smdp::new(config).unwrap();
        let server = smdp.clone();
        network.set_server(HOST_NAME, move |stream| {
            let smdp = server.clone();
            async move { smdp.serve_stream(stream).await }
        });
        Self {
            card: Card::new(Identity::from_pki(&pki).unwrap(), Settings::default()),
            smdp,
            network,
            pki,
            root,
            alternative,
        }
    }

    /// The card, without a modem.
    fn direct(&self) -> Direct {
        let mut card = self.card.clone();
        Direct::new(move |command| card.transmit(command))
    }

    fn eid(&self) -> String {
        self.card.inspect(|euicc| euicc.eid().to_string())
    }

    fn roots(&self) -> Roots {
        let mut roots = Roots::empty();
        roots
            .add_der(self.pki.certificate(Role::Ci).unwrap().der())
            .unwrap();
        roots
    }

    async fn lpa(&self) -> BareLpa<Network> {
        let lpa = BareLpa::open(self.direct(), self.network.clone(), self.roots());
        lpa.await.unwrap()
    }

    fn order(&self, number: u32, matching_id: &str) {
        let profile = Profile::builder(Iccid::nth(number)).size(1500).build();
        let order = OrderRequest::with_matching_id(profile, matching_id);
        self.smdp.create_order(order);
    }

    /// An event of the card's at the SM-DP+.
    fn event(&self, event_id: &str) -> EventRecord {
        EventRecord::new(self.eid(), event_id, HOST_NAME)
    }

    /// The ES12 client of the SM-DP+.
    fn registrar(&self) -> Arc<dyn EventRegistrar> {
        let registrar = &self.smdp.config().event_registrar;
        registrar.clone().unwrap()
    }

    /// The same event, as the SM-DP+ tells it to an SM-DS.
    fn told(&self, smds: &str, event_id: &str) -> Event {
        Event {
            smds_address: smds.to_owned(),
            eid: self.eid(),
            rsp_server_address: HOST_NAME.to_owned(),
            event_id: event_id.to_owned(),
        }
    }

    /// Orders a profile over ES2+ that the card shall learn of by this SM-DS.
    async fn order_at(&self, smds: &str) -> Result<(), StatusText> {
        let profile = Profile::builder(Iccid::nth(1)).size(1500).build();
        let request = json!({
            "header": { "functionRequesterIdentifier": "2.999.1", "functionCallIdentifier": "1" },
            "eid": self.eid(),
            "iccid": profile.metadata.iccid.to_string(),
            "matchingId": "M-1",
            "smdsAddress": smds,
            "releaseFlag": true,
        });
        self.smdp.stock(StockedProfile {
            profile,
            profile_type: "gold".to_owned(),
            operator: None,
        });
        let order = DownloadOrder(request.clone());
        self.call_at(HOST_NAME, order).await.unwrap();
        self.call_at(HOST_NAME, ConfirmOrder(request)).await
    }

    /// Calls a function of the root SM-DS with any request.
    async fn call<F: Es9Function<Response = ()>>(&self, function: F) -> Result<(), StatusText> {
        self.call_at(ROOT, function).await
    }

    async fn call_at<F: Es9Function<Response = ()>>(
        &self,
        host: &str,
        function: F,
    ) -> Result<(), StatusText> {
        let client = Es9Client::new(self.network.clone(), self.roots(), Options::default());
        let called = client.call(&address(host), &function).await;
        called.map_err(|error| status(&error))
    }

    fn installed(&self) -> usize {
        self.card.memory().profiles.len()
    }
}

type StatusText = (String, String);

fn status(error: &es9_client::Error) -> StatusText {
    let data = error.status().unwrap_or_else(|| panic!("{error}"));
    (data.subject_code.to_string(), data.reason_code.to_string())
}

fn refused(subject: &str, reason: &str) -> Result<(), StatusText> {
    Err((subject.to_owned(), reason.to_owned()))
}

fn address(host: &str) -> ServerAddress {
    host.parse().unwrap()
}

fn entry(event_id: &str, rsp_server_address: &str) -> EventEntry {
    EventEntry {
        event_id: event_id.to_owned(),
        rsp_server_address: rsp_server_address.to_owned(),
    }
}

/// What an SM-DS tells a card.
async fn ask(
    lpa: &mut BareLpa<Network>,
    host: &str,
    matching_id: &str,
) -> Result<Vec<EventEntry>, BareError> {
    let session = lpa.authenticate(&address(host), matching_id).await?;
    assert!(session.is_with_smds());
    lpa.events(&session).await
}

/// Follows every event, at most `limit` SM-DSs deep, and gives what came of each that led to an
/// SM-DP+, or too far.
async fn follow(lpa: &mut BareLpa<Network>, limit: usize) -> Vec<(String, Followed)> {
    let mut results = Vec::new();
    let mut waiting = VecDeque::from([(entry("", ROOT), 0)]);
    while let Some((event, depth)) = waiting.pop_front() {
        let server = address(&event.rsp_server_address);
        let session = lpa.authenticate(&server, &event.event_id).await.unwrap();
        if !session.is_with_smds() {
            let outcome = match lpa.download(&session).await {
                Ok(()) => Followed::Installed,
                Err(error) => Followed::Refused(error.status().unwrap().0.to_owned()),
            };
            results.push((event.event_id, outcome));
        } else if depth == limit {
            results.push((event.event_id, Followed::TooFar));
        } else {
            let found = lpa.events(&session).await.unwrap();
            waiting.extend(found.into_iter().map(|event| (event, depth + 1)));
        }
    }
    results
}

#[derive(Debug, Eq, PartialEq)]
enum Followed {
    Installed,
    Refused(String),
    TooFar,
}

#[tokio::test(start_paused = true)]
async fn an_euicc_is_told_of_its_own_events_and_of_no_others() {
    let rig = Rig::new();
    let mut lpa = rig.lpa().await;
    let other = EventRecord::new(OTHER_EID, "M-9", HOST_NAME);
    rig.root.register_event(other).unwrap();
    assert_eq!(ask(&mut lpa, ROOT, "").await.unwrap(), []);
    rig.root.register_event(rig.event("M-1")).unwrap();
    let only = [entry("M-1", HOST_NAME)];
    assert_eq!(ask(&mut lpa, ROOT, "").await.unwrap(), only);
    let [first] = only;
    for event_id in ["M-2", "M-3"] {
        rig.root.register_event(rig.event(event_id)).unwrap();
    }
    let (second, third) = (entry("M-2", HOST_NAME), entry("M-3", HOST_NAME));
    let all = ask(&mut lpa, ROOT, "").await.unwrap();
    assert_eq!(all, [first, second.clone(), third]);
    assert_eq!(ask(&mut lpa, ROOT, "M-2").await.unwrap(), [second]);
    for unknown in ["M-4", "M-9"] {
        let error = ask(&mut lpa, ROOT, unknown).await.unwrap_err();
        assert_eq!(error.status(), Some(("8.9.5", "3.9")), "{unknown}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_given_again_and_a_refused_session_is_over() {
    let rig = Rig::new();
    let mut lpa = rig.lpa().await;
    rig.root.register_event(rig.event("M-1")).unwrap();
    let asked = lpa.authenticate(&address(ROOT), "").await.unwrap();
    let (function, next) = (Function::AuthenticateClient, Calls::NEXT);
    rig.root.set_fault(function, next, Fault::LoseAnswer);
    lpa.events(&asked).await.unwrap_err();
    let told = lpa.events(&asked).await.unwrap();
    assert_eq!(told, [entry("M-1", HOST_NAME)]);

    let asked = lpa.authenticate(&address(ROOT), "M-7").await.unwrap();
    let mut refusals = Vec::new();
    for _ in 0..2 {
        let error = lpa.events(&asked).await.unwrap_err();
        let (subject, reason) = error.status().unwrap();
        refusals.push(format!("{subject}/{reason}"));
    }
    assert_eq!(refusals, ["8.9.5/3.9", "8.10.1/3.9"]);
}

#[tokio::test(start_paused = true)]
async fn an_sm_ds_gives_its_own_reasons_for_not_authenticating_itself() {
    let rig = Rig::new();
    let issuer = rig.pki.certificate(Role::Ci).unwrap();
    let issuer = issuer.subject_key_identifier().unwrap();
    let issuers = vec![SubjectKeyIdentifier::from_octets(issuer).unwrap()];
    let initiate = async |smdp_address: &str, verification: &[_], signing: &[_], svn| {
        let info = EuiccInfo1 {
            svn: VersionType(svn),
            euicc_ci_pk_id_list_for_verification: verification.to_vec().into(),
            euicc_ci_pk_id_list_for_signing: signing.to_vec().into(),
        };
        rig.call(Initiate(InitiateAuthenticationRequest {
            euicc_challenge: vec![0xCC; 16].into(),
            euicc_info1: asn1::encode(&info).into(),
            smdp_address: smdp_address.to_owned(),
        }))
        .await
    };
    let none: &[SubjectKeyIdentifier] = &[];
    let (old, new) = ([1, 9, 9], [2, 2, 2]);
    for (expected, answer) in [
        (("8.9.1", "3.8"), initiate(HOST_NAME, none, none, old).await),
        (("8.9.4", "3.7"), initiate(ROOT, none, none, old).await),
        (("8.9.2", "3.1"), initiate(ROOT, &issuers, none, old).await),
        (
            ("8.9.3", "3.1"),
            initiate(ROOT, &issuers, &issuers, old).await,
        ),
    ] {
        assert_eq!(answer, refused(expected.0, expected.1));
    }
    assert_eq!(initiate(ROOT, &issuers, &issuers, new).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_euicc_that_refuses_the_sm_ds_is_answered_as_by_an_sm_dp() {
    let rig = Rig::new();
    let mut lpa = rig.lpa().await;
    rig.root.set_fault(
        Function::InitiateAuthentication,
        Calls::NEXT,
        Fault::AlteredServerSignature1,
    );
    let session = lpa.authenticate(&address(ROOT), "").await.unwrap();
    let refused = matches!(
        *session.response,
        AuthenticateServerResponse::AuthenticateResponseError(_)
    );
    assert!(refused, "{:?}", session.response);
    let error = lpa.events(&session).await.unwrap_err();
    assert_eq!(error.status(), Some(("8.1", "6.1")));
}

#[tokio::test(start_paused = true)]
async fn an_euicc_cancels_a_session_with_an_sm_ds_under_the_name_of_the_sm_ds() {
    let rig = Rig::new();
    let mut lpa = rig.lpa().await;
    let owner = |role| {
        let certificate = rig.pki.certificate(role).unwrap();
        certificate.owner().unwrap().to_string()
    };
    assert_ne!(owner(Role::DsAuth), owner(Role::DpAuth));
    for (host, role) in [(ROOT, Role::DsAuth), (HOST_NAME, Role::DpAuth)] {
        let session = lpa.authenticate(&address(host), "").await.unwrap();
        let cancelled = lpa.cancel(&session, CancelSessionReason::POSTPONED).await;
        let CancelSessionResponse::CancelSessionResponseOk(ok) = cancelled.unwrap().into_value()
        else {
            panic!("not cancelled");
        };
        let signed = &ok.euicc_cancel_session_signed;
        assert_eq!(signed.smdp_oid.to_string(), owner(role));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_connection_is_answered_like_any_other() {
    let rig = Rig::new();
    let right = DirectRequest {
        method: "POST",
        target: "/gsma/rsp2/es9plus/initiateAuthentication",
        headers: &[
            ("content-type", "application/json"),
            ("x-admin-protocol", "gsma/rsp/v2.2.2"),
        ],
        body: b"{}",
    };
    let get = DirectRequest {
        method: "GET",
        ..right
    };
    let no_http = DirectRequest {
        method: "no method",
        ..right
    };
    for (request, status) in [(right, Some(200)), (get, Some(405)), (no_http, None)] {
        let answers = [
            rig.root.answer_directly(request).await,
            rig.smdp.answer_directly(request).await,
        ];
        for answer in answers {
            assert_eq!(answer.map(|answer| answer.status), status, "{request:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn functions_an_sm_ds_does_not_have_are_not_found() {
    let rig = Rig::new();
    let client = Es9Client::new(rig.network.clone(), rig.roots(), Options::default());
    let error = client
        .call(&address(ROOT), &CancelSession(json!({})))
        .await
        .unwrap_err();
    assert!(
        matches!(error, es9_client::Error::Http { status: 404, .. }),
        "{error}"
    );
    assert_eq!(
        Function::ALL.map(|function| rig.root.requests(function)),
        [0; 4]
    );
}

#[tokio::test(start_paused = true)]
async fn events_are_registered_and_deleted_over_es12() {
    let rig = Rig::new();
    let registrar = rig.registrar();
    registrar.register(rig.told(ROOT, "M-1")).await.unwrap();
    // A root SM-DS forwards to no other.
    assert_eq!(rig.root.events(), [rig.event("M-1")]);
    let again = registrar.register(rig.told(ROOT, "M-1")).await;
    assert_eq!(again, Err(EventError::Refused));
    registrar.delete(rig.told(ROOT, "M-1")).await.unwrap();
    assert_eq!(rig.root.events(), []);
    let again = registrar.delete(rig.told(ROOT, "M-1")).await;
    assert_eq!(again, Err(EventError::Refused));
    assert_eq!(rig.root.requests(Function::RegisterEvent), 2);
    assert_eq!(rig.root.requests(Function::DeleteEvent), 2);

    rig.network.set_reach(ROOT, Reach::Refused);
    let unreachable = Es12Client::new(rig.network.clone(), &rig.pki, "2.999.10", true);
    let answer = unreachable.unwrap().register(rig.told(ROOT, "M-1")).await;
    assert_eq!(answer, Err(EventError::Inaccessible));
}

#[tokio::test(start_paused = true)]
async fn each_wrong_member_of_an_es12_request_has_its_answer() {
    let rig = Rig::new();
    let right = json!({
        "header": { "functionRequesterIdentifier": "2.999.10", "functionCallIdentifier": "1" },
        "eid": rig.eid(),
        "rspServerAddress": HOST_NAME,
        "eventId": "M-1",
        "forwardingIndicator": false,
    });
    let with = |pointer: &str, value: Value| {
        let mut request = right.clone();
        *request.pointer_mut(pointer).unwrap() = value;
        request
    };
    let without = |member: &str| {
        let mut request = right.clone();
        request.as_object_mut().unwrap().remove(member);
        request
    };
    for (request, subject, reason) in [
        (without("header"), "1.2.1", "2.1"),
        (
            with("/header/functionRequesterIdentifier", " ".into()),
            "1.2.1",
            "2.1",
        ),
        (
            with("/header/functionCallIdentifier", 7.into()),
            "1.2.2",
            "2.1",
        ),
        (without("eid"), "1.6", "2.2"),
        (with("/eid", "8904".into()), "1.6", "2.1"),
        (without("eventId"), "1.6", "2.2"),
        (with("/eventId", "".into()), "1.6", "2.1"),
        (with("/eventId", "m_1".into()), "1.6", "2.1"),
        (without("rspServerAddress"), "1.6", "2.2"),
        (
            with("/rspServerAddress", "a".repeat(256).into()),
            "1.6",
            "2.1",
        ),
        (with("/forwardingIndicator", "no".into()), "1.6", "2.1"),
        (without("forwardingIndicator"), "1.6", "2.2"),
    ] {
        let answer = rig.call(RegisterEvent(request.clone())).await;
        assert_eq!(answer, refused(subject, reason), "{request}");
    }
    assert_eq!(rig.root.events(), []);
    rig.call(RegisterEvent(right.clone())).await.unwrap();
    let answer = rig.call(RegisterEvent(right.clone())).await;
    assert_eq!(answer, refused("8.9.5", "3.3"));
    rig.call(DeleteEvent(right.clone())).await.unwrap();
    let answer = rig.call(DeleteEvent(right)).await;
    assert_eq!(answer, refused("8.9.5", "3.9"));
}

#[tokio::test(start_paused = true)]
async fn an_event_at_an_alternative_sm_ds_is_found_through_the_root_and_leads_to_a_profile() {
    let rig = Rig::new();
    rig.order(1, "M-1");
    let told = rig.told(ALTERNATIVE, "M-1");
    rig.registrar().register(told.clone()).await.unwrap();
    let [at_root] = &rig.root.events()[..] else {
        panic!("{:?}", rig.root.events());
    };
    assert_eq!(at_root.rsp_server_address, ALTERNATIVE);
    assert_ne!(at_root.event_id, "M-1");
    let forwarded_as = Some(at_root.event_id.clone());
    let expected = EventRecord {
        forwarded_as,
        ..rig.event("M-1")
    };
    assert_eq!(rig.alternative.events(), [expected]);

    let mut lpa = rig.lpa().await;
    let followed = follow(&mut lpa, 2).await;
    assert_eq!(followed, [("M-1".to_owned(), Followed::Installed)]);
    assert_eq!(rig.installed(), 1);
    rig.registrar().delete(told).await.unwrap();
    assert_eq!(rig.root.events(), []);
    assert_eq!(rig.alternative.events(), []);
}

#[tokio::test(start_paused = true)]
async fn an_order_over_es2_is_known_to_its_sm_ds_until_the_profile_is_installed() {
    for smds in [ROOT, ALTERNATIVE] {
        let rig = Rig::new();
        rig.order_at(smds).await.unwrap();
        assert_eq!(rig.root.events().len(), 1);
        let mut lpa = rig.lpa().await;
        let followed = follow(&mut lpa, 2).await;
        assert_eq!(
            followed,
            [("M-1".to_owned(), Followed::Installed)],
            "{smds}"
        );
        for server in [&rig.root, &rig.alternative] {
            server.wait_until(|smds| smds.events().is_empty()).await;
        }
        assert_eq!(follow(&mut lpa, 2).await, []);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_learns_that_the_sm_ds_refused_or_could_not_be_reached() {
    let rig = Rig::new();
    rig.root.register_event(rig.event("M-1")).unwrap();
    assert_eq!(rig.order_at(ROOT).await, refused("8.9", "4.2"));
    let rig = Rig::new();
    rig.network.set_reach(ROOT, Reach::Refused);
    assert_eq!(rig.order_at(ROOT).await, refused("8.9", "5.1"));
}

#[tokio::test(start_paused = true)]
async fn what_the_root_does_not_take_the_alternative_sm_ds_does_not_keep() {
    let rig = Rig::new();
    let register = async || rig.registrar().register(rig.told(ALTERNATIVE, "M-1")).await;
    let refuse = Fault::Refuse(StatusCode::EVENT_EXISTS);
    for fault in [refuse, Fault::HttpStatus(500), Fault::Silence] {
        rig.root
            .set_fault(Function::RegisterEvent, Calls::NEXT, fault);
        assert_eq!(register().await, Err(EventError::Refused));
        assert_eq!(rig.alternative.events(), []);
    }
    assert_eq!(register().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn events_can_lead_in_a_circle() {
    let rig = Rig::new();
    for (smds, next) in [(&rig.root, ALTERNATIVE), (&rig.alternative, ROOT)] {
        let event = EventRecord::new(rig.eid(), "M-1", next);
        smds.register_event(event).unwrap();
    }
    let mut lpa = rig.lpa().await;
    let followed = follow(&mut lpa, 5).await;
    assert_eq!(followed, [("M-1".to_owned(), Followed::TooFar)]);
    assert_eq!(rig.root.requests(Function::AuthenticateClient), 3);
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_order_is_gone_does_not_keep_the_next_one_from_its_profile() {
    let rig = Rig::new();
    rig.order(1, "M-2");
    rig.order(2, "M-3");
    for event_id in ["M-1", "M-2", "M-3"] {
        rig.root.register_event(rig.event(event_id)).unwrap();
    }
    let mut lpa = rig.lpa().await;
    let followed = follow(&mut lpa, 1).await;
    let expected = [
        ("M-1".to_owned(), Followed::Refused("8.2.6".to_owned())),
        ("M-2".to_owned(), Followed::Installed),
        ("M-3".to_owned(), Followed::Installed),
    ];
    assert_eq!(followed, expected);
    assert_eq!(rig.installed(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_sm_ds_meets_the_call_it_was_planned_for() {
    let rig = Rig::new();
    let mut lpa = rig.lpa().await;
    rig.root.register_event(rig.event("M-1")).unwrap();
    let (function, next) = (Function::AuthenticateClient, Calls::NEXT);
    for fault in [
        Fault::HttpStatus(503),
        Fault::Refuse(StatusCode::SMDS_FAILED),
        Fault::TruncatedBody,
        "member=eventEntries:none".parse().unwrap(),
    ] {
        rig.root.set_fault(function, next, fault.clone());
        assert!(ask(&mut lpa, ROOT, "").await.is_err(), "{fault:?}");
    }
    rig.root.set_fault(function, Calls::Every, Fault::Silence);
    rig.root.clear_faults();
    assert_eq!(ask(&mut lpa, ROOT, "").await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_tls_certificate_is_presented_from_the_next_connection_on() {
    let rig = Rig::new();
    let pki = &rig.pki;
    let (certificate, key) = (pki.certificate(Role::DpTls), pki.key(Role::DpTls));
    let chain = [certificate.unwrap().clone()];
    rig.root.set_tls(&chain, key.unwrap()).unwrap();
    let mut lpa = rig.lpa().await;
    let error = ask(&mut lpa, ROOT, "").await.unwrap_err();
    let is_tls = matches!(error, BareError::Server(es9_client::Error::Tls { .. }));
    assert!(is_tls, "{error}");
}

#[test]
fn events_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        state_folder: Some(folder.path().to_owned()),
        ..Config::new(ROOT, Pki::generate(&PkiOptions::default()).unwrap())
    };
    let events = ["M-1", "M-2"].map(|id| EventRecord::new(OTHER_EID, id, HOST_NAME));
    let smds = Smds::new(config.clone()).unwrap();
    for event in events.clone() {
        smds.register_event(event).unwrap();
    }
    smds.delete_event(OTHER_EID, "M-1").unwrap();
    drop(smds);
    let smds = Smds::new(config.clone()).unwrap();
    assert_eq!(smds.events(), events[1..]);
    drop(smds);

    for (text, problem) in [
        (r#"{"version":1,"events":[{"#, "EOF"),
        (r#"{"version":2,"events":{}}"#, "its version is 2"),
    ] {
        std::fs::write(folder.path().join("events.json"), text).unwrap();
        let error = Smds::new(config.clone()).unwrap_err();
        let SmdsError::State { source, .. } = &error else {
            panic!("{error}")
        };
        assert!(source.to_string().contains(problem), "{source}");
    }
}

/// Functions with any request, and no interest in the answer.
macro_rules! any_request {
    ($name:ident, $request:ty, $interface:literal, $function:literal) => {
        #[derive(Serialize)]
        #[serde(transparent)]
        struct $name($request);

        impl Es9Function for $name {
            const INTERFACE: &'static str = $interface;
            const NAME: &'static str = $function;
            type Response = ();

            fn response(answer: &Answer) -> Result<(), AnswerError> {
                answer.executed()
            }
        }
    };
}

any_request!(RegisterEvent, Value, "es12", "registerEvent");
any_request!(DeleteEvent, Value, "es12", "deleteEvent");
any_request!(DownloadOrder, Value, "es2plus", "downloadOrder");
any_request!(ConfirmOrder, Value, "es2plus", "confirmOrder");
any_request!(CancelSession, Value, "es9plus", "cancelSession");
any_request!(
    Initiate,
    InitiateAuthenticationRequest,
    "es9plus",
    "initiateAuthentication"
);
