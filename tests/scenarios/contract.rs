//! Everything the daemon answers is as `lpad/openapi.json` says, and everything it says is true.

mod call;
mod description;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use std::{fmt, fs};

use hyper::Method;
use lpad::api::action::{Access, Request};
use lpad::api::body::{
    Achievement, Addresses, Euicc, EuiccInfo, EventKind, Examination, ExaminedRoute, FirstProfile,
    Modem, Notification, Offer, Operation as LpadOperation, Profile, Trying, UnknownPart,
};
use lpad::api::downloads::DownloadRequest;
use lpad::api::euiccs::{AddressesChange, EuiccList, ResetRequest};
use lpad::api::health::{Health, Version};
use lpad::api::notifications::NotificationList;
use lpad::api::operations::OperationList;
use lpad::api::profiles::{ProfileChange, ProfileList};
use lpad::api::routes::route;
use lpad::api::status::{ErrorResponse, status_of};
use lpad::config::{Confirm, OrderSource, Route};
use lpad::job::{
    Answer, Consent, Decision, Kind, OperationId, Outcome, Part, Progress, Reason, Stage,
    StageTime, Switching, Tried, Waiting, WaitingOn,
};
use lpad::memory::alarm::{Alarm, AlarmCode};
use lpad::memory::operations::{ClientProcess, QUEUE_LENGTH, State};
use lpad::memory::service::{NextStep, Service, ServiceState};
use lpad::memory::snapshot::{Availability, FirstProfileState, ProfileState};
use lpad::problem::{CardStatus, Code, CodeConsumed, Problem, Sgp22Status};
use lpad_tests::bed::{Bed, EUICC};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::network::Reach;
use rsp_servers::smdp::OrderRequest;
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde_json::{Value, json};
use sim_card_emulator::modem::{Effect, Fault, Moment, Pattern};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::sleep;

use self::call::{Call, Reply};
use self::description::{Description, Operation};

#[tokio::test(start_paused = true)]
async fn every_answer_is_as_described_and_every_described_answer_is_given() {
    let mut bed = Bed::start().await;
    let mut api = Api::of(&bed).await;
    api.reading_works(&mut bed).await;
    api.changing_works(&mut bed).await;
    api.offers_are_answered(&mut bed).await;
    api.switches_are_decided_on(&mut bed).await;
    api.repeated_requests_are_recognised(&mut bed).await;
    api.a_full_queue_takes_no_more(&mut bed).await;
    api.what_is_not_there_is_not_found(&bed).await;
    api.other_methods_are_refused(&bed).await;
    api.broken_requests_are_refused(&bed).await;
    api.addresses_and_codes_are_looked_at(&bed).await;
    api.events_are_as_described(&bed).await;
    api.too_many_cannot_wait(&bed).await;
    api.a_card_that_was_never_read_is_a_problem(&Bed::without_modem().await, 503)
        .await;
    api.a_card_that_was_never_read_is_a_problem(&refusing_card().await, 409)
        .await;
    api.nothing_starts_without_its_state(&mut Bed::start().await)
        .await;
    // The tests run as the daemon's own user, who may do everything.
    let unseen = api.description.unseen().into_iter();
    let unseen: Vec<_> = unseen.filter(|reply| !reply.ends_with("403")).collect();
    assert!(unseen.is_empty(), "no request was answered {unseen:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_daemon_answers_on_no_path_that_is_not_described() {
    let description = Api::of(&Bed::start().await).await.description;
    let words = words_of_the_router();
    let mut found = BTreeSet::new();
    let mut unexplored = vec!["/v1".to_owned()];
    while let Some(path) = unexplored.pop() {
        let near = words.iter().map(|word| format!("{path}/{word}"));
        let far = near
            .clone()
            .flat_map(|path| words.iter().map(move |word| format!("{path}/{word}")));
        for path in near.chain(far).filter(|path| is_answered(path)) {
            let template = description.template(&path);
            let template = template.unwrap_or_else(|| panic!("{path} is not described"));
            if found.insert(template.to_owned()) {
                unexplored.push(path);
            }
        }
    }
    let described = description.operations().into_iter();
    let described: BTreeSet<_> = described.map(|operation| operation.template).collect();
    assert_eq!(found, described);
}

#[tokio::test(start_paused = true)]
async fn each_operation_says_truly_who_may_call_it() {
    let description = Api::of(&Bed::start().await).await.description;
    for operation in description.operations() {
        let body = sample(&operation, EUICC);
        let request = Request {
            method: &Method::from_bytes(operation.method.as_bytes()).unwrap(),
            path: &target(&operation, EUICC, "1"),
            query: None,
            last_event_id: None,
            body: body.as_bytes(),
        };
        let says = match route(&request).unwrap().access() {
            Access::Change => "Only admins may call it.",
            Access::Read | Access::None => "Readers and admins may call it.",
        };
        assert!(operation.description.ends_with(says), "{operation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn members_values_and_codes_are_the_programs_own() {
    let description = Api::of(&Bed::start().await).await.description;
    // An event is no JSON object on its way: its schema shows its lines.
    let described = description.names().filter(|(name, _)| *name != "Event");
    let program = BTreeMap::from([
        ("Achievement", names::<Achievement>()),
        ("Addresses", names::<Addresses>()),
        ("AddressesChange", names::<AddressesChange>()),
        ("Alarm", names::<Alarm>()),
        ("AlarmCode", names::<AlarmCode>()),
        ("Answer", names::<Answer>()),
        ("Availability", names::<Availability>()),
        ("CardStatus", names::<CardStatus>()),
        ("ClientProcess", names::<ClientProcess>()),
        ("CodeConsumed", names::<CodeConsumed>()),
        ("Confirm", names::<Confirm>()),
        ("Consent", names::<Consent>()),
        ("Decision", names::<Decision>()),
        ("DownloadRequest", names::<DownloadRequest>()),
        ("Euicc", names::<Euicc>()),
        ("EuiccInfo", names::<EuiccInfo>()),
        ("EuiccList", names::<EuiccList>()),
        ("EventKind", names::<EventKind>()),
        ("ExaminedRoute", names::<ExaminedRoute>()),
        ("Examination", names::<Examination>()),
        ("FirstProfile", names::<FirstProfile>()),
        ("FirstProfileState", names::<FirstProfileState>()),
        ("Health", names::<Health>()),
        ("Notification", names::<Notification>()),
        ("NotificationList", names::<NotificationList>()),
        ("Offer", names::<Offer>()),
        ("Operation", names::<LpadOperation>()),
        ("OperationKind", names::<Kind>()),
        ("OperationList", names::<OperationList>()),
        ("OperationState", names::<State>()),
        ("OrderSource", names::<OrderSource>()),
        ("Part", names::<Part>()),
        ("Problem", names::<Problem>()),
        ("ProblemCode", names::<Code>()),
        ("Profile", names::<Profile>()),
        ("ProfileChange", names::<ProfileChange>()),
        ("ProfileList", names::<ProfileList>()),
        ("ProfileState", names::<ProfileState>()),
        ("Progress", names::<Progress>()),
        ("ResetRequest", names::<ResetRequest>()),
        ("Route", names::<Route>()),
        ("NextStep", names::<NextStep>()),
        ("Service", names::<Service>()),
        ("ServiceState", names::<ServiceState>()),
        ("Sgp22Status", names::<Sgp22Status>()),
        ("Stage", names::<Stage>()),
        ("StageTime", names::<StageTime>()),
        ("SwitchOutcome", names::<Outcome>()),
        ("SwitchReason", names::<Reason>()),
        ("Switching", names::<Switching>()),
        ("Tried", names::<Tried>()),
        ("Modem", names::<Modem>()),
        ("Trying", names::<Trying>()),
        ("UnknownPart", names::<UnknownPart>()),
        ("Version", names::<Version>()),
        ("Waiting", names::<Waiting>()),
        ("WaitingOn", names::<WaitingOn>()),
    ]);
    assert_eq!(described.collect::<BTreeMap<_, _>>(), program);
    let all = Kind::ALL.iter().map(|kind| kind.name());
    assert_eq!(all.collect::<BTreeSet<_>>(), names::<Kind>());
}

#[tokio::test(start_paused = true)]
async fn every_problem_there_can_be_is_described() {
    let description = Api::of(&Bed::start().await).await.description;
    for code in Code::ALL {
        let problem = Problem::new(*code)
            .sgp22("8.2.6", "3.8")
            .code_consumed(CodeConsumed::Unknown)
            .of_operation(OperationId(7))
            .card(CardStatus {
                function: "ES10c.EnableProfile".into(),
                result: Some(-1),
                sw: Some("6A80".into()),
            });
        let response = ErrorResponse {
            allow: vec!["GET".into()],
            ..problem.clone().into()
        };
        let problem = serde_json::to_value(problem).unwrap();
        description.must_fit("/components/schemas/Problem", &problem);
        let response = serde_json::to_value(response).unwrap();
        description.must_fit("/components/schemas/ErrorResponse", &response);
        let listed = format!("`{}` ({})", code.name(), status_of(*code));
        description.must_mention("/components/schemas/ProblemCode", &listed);
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_the_daemon_cannot_understand_do_not_fit_their_schemas() {
    let bed = Bed::start().await;
    let mut api = Api::of(&bed).await;
    let operations = api.description.operations();
    for (id, bodies) in [
        (
            "setAddresses",
            &[r#"{}"#, r#"{"default_smdp":1}"#, r#"{"default":"a.b"}"#][..],
        ),
        (
            "changeProfile",
            &[
                r#"{}"#,
                r#"{"state":"on"}"#,
                r#"{"state":"enabled","nickname":"x"}"#,
                r#"{"nick":"x"}"#,
            ],
        ),
        (
            "startDownload",
            &[
                r#"{}"#,
                r#"{"default":false}"#,
                r#"{"default":true,"smdp":"a.b"}"#,
                r#"{"default":true,"activation_code":"1$a.b$c"}"#,
                r#"{"smdp":"a.b","activation_code":"1$a.b$c"}"#,
                r#"{"default":true,"consent":"yes"}"#,
                r#"{"default":true,"enabel":true}"#,
            ],
        ),
        (
            "resetEuicc",
            &[
                r#"{"test_profiles":true}"#,
                r#"{"confirm":"default"}"#,
                r#"{"confirm":"default","test_profiles":false}"#,
            ],
        ),
        (
            "answerOffer",
            &[r#"{}"#, r#"{"answer":"maybe"}"#, "[]", "yes"],
        ),
    ] {
        let operation = operations.iter().find(|known| known.id == id).unwrap();
        for body in bodies {
            let reply = api
                .ask(
                    &bed,
                    &operation.method,
                    &target(operation, EUICC, "1"),
                    body,
                )
                .await;
            assert_eq!(reply.status, 400, "{id} {body}");
            assert!(!api.description.takes(operation, body), "{id} {body}");
        }
        assert!(api.description.takes(operation, &sample(operation, EUICC)));
    }
}

#[tokio::test(start_paused = true)]
async fn texts_that_fit_their_schemas_are_taken_and_others_are_refused() {
    let bed = Bed::start().await;
    let mut api = Api::of(&bed).await;
    let operations = api.description.operations();
    let long = format!("{}.example", "a".repeat(64));
    let code = |rest: &str| format!("1$smdp.example.com${rest}");
    let addresses = [
        "smdp.example.com",
        "SMDP.Example.COM",
        "smdp:8443",
        "smdp:65535",
        "smdp:65536",
        "smdp:0",
        "smdp:",
        "https://smdp.example.com/",
        "HTTPS://smdp.example.com:443",
        "http://smdp.example.com",
        "smdp.example.com/",
        "smdp.example.com/path",
        "a b",
        "-a.example",
        "a-.example",
        "a..example",
        ".example",
        "192.0.2.1",
        "smdp.1a",
        "smdp_1.example",
        "smdp.example.com$",
        "",
        &long,
    ];
    let codes = [
        code("A-1"),
        format!("LPA:{}", code("A-1")),
        format!("lpa:{}", code("A-1")),
        code(""),
        code("A-1$1.3.6.1"),
        code("A-1$$1"),
        code("A-1$2.999$1$later"),
        code("A-1$3.1"),
        code("A-1$1.40"),
        code("A-1$oid"),
        code("A 1"),
        code("A\u{7}1"),
        code(&"A".repeat(236)),
        code(&"A".repeat(300)),
        "1$smdp.example.com".into(),
        "2$smdp.example.com$A".into(),
        "1$192.0.2.1$A".into(),
        "1$$A".into(),
        "hello".into(),
        String::new(),
    ];
    let addresses = addresses.iter().flat_map(|address| {
        [
            ("setAddresses", json!({ "default_smdp": address })),
            ("startDownload", json!({ "smdp": address })),
        ]
    });
    let codes = codes.iter();
    let codes = codes.map(|code| ("startDownload", json!({ "activation_code": code })));
    for (id, body) in addresses.chain(codes) {
        let operation = operations.iter().find(|known| known.id == id).unwrap();
        let target = target(operation, EUICC, "1");
        let call = Call {
            method: &operation.method,
            target,
            body: body.to_string(),
            ..Call::default()
        };
        let reply = call.send(bed.client.socket()).await;
        let is_taken = reply.status == 202;
        assert_eq!(
            api.description.takes(operation, &call.body),
            is_taken,
            "{id} {body}: {reply:?}"
        );
        if is_taken {
            api.ask(&bed, "DELETE", &reply.headers["location"], "")
                .await;
            api.ended(&bed, &reply).await;
        }
    }
}

/// The API as its description shows it.
struct Api {
    description: Description,
}

impl Api {
    /// What a daemon says of itself.
    async fn of(bed: &Bed) -> Self {
        let call = Call {
            method: "GET",
            target: "/v1/openapi.json".into(),
            ..Call::default()
        };
        let reply = call.send(bed.client.socket()).await;
        Self {
            description: Description::new(reply.json),
        }
    }

    /// Asks, and holds request and reply against the description.
    async fn ask(&mut self, bed: &Bed, method: &str, target: &str, body: &str) -> Reply {
        let call = Call {
            method,
            target: target.to_owned(),
            body: body.to_owned(),
            ..Call::default()
        };
        self.send(bed, &call).await
    }

    async fn send(&mut self, bed: &Bed, call: &Call<'_>) -> Reply {
        let reply = call.send(bed.client.socket()).await;
        self.description.check(call, &reply);
        reply
    }

    /// Asks for a change and waits until it is done.
    async fn change(&mut self, bed: &Bed, method: &str, target: &str, body: &Value) -> Value {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let reply = self.ask(bed, method, target, &body).await;
        assert_eq!(reply.status, 202, "{method} {target}: {reply:?}");
        self.ended(bed, &reply).await
    }

    async fn ended(&mut self, bed: &Bed, started: &Reply) -> Value {
        let target = format!("{}?wait=60", started.headers["location"]);
        self.ask(bed, "GET", &target, "").await.json
    }

    async fn reading_works(&mut self, bed: &mut Bed) {
        let iccid = bed.install().await;
        // A notification that no server takes stays to be listed.
        bed.bench.network().set_reach(HOST_NAME, Reach::Refused);
        bed.switch(&iccid, ProfileState::Enabled).await;
        for operation in self.description.operations() {
            if operation.method == "GET" {
                let target = target(&operation, EUICC, "1").replace(ICCID, &iccid);
                let reply = self.ask(bed, "GET", &target, "").await;
                assert_eq!(reply.status, 200, "{target}: {reply:?}");
                if let Value::Array(list) = &reply.json[target.rsplit('/').next().unwrap()] {
                    assert!(!list.is_empty(), "{target} shows nothing");
                }
            }
        }
        bed.bench.network().set_reach(HOST_NAME, Reach::Open);
        let found = self.ask(bed, "POST", EXAMINATION, "").await;
        assert_eq!(found.json["profiles"], 1, "{found:?}");
    }

    async fn changing_works(&mut self, bed: &mut Bed) {
        let iccid = bed.install().await;
        let profile = format!("/v1/euiccs/default/profiles/{iccid}");
        let euicc = "/v1/euiccs/default";
        let smdp = json!({"default_smdp": HOST_NAME});
        let reset = json!({"confirm": EUICC, "operational_profiles": true, "default_smdp": true});
        for (method, target, body) in [
            (
                "POST",
                format!("{euicc}/notifications/deliver"),
                json!(null),
            ),
            ("PUT", format!("{euicc}/addresses"), smdp),
            ("PATCH", profile.clone(), json!({"nickname": "Lager"})),
            ("PATCH", profile.clone(), json!({"state": "enabled"})),
            ("PATCH", profile.clone(), json!({"state": "enabled"})),
            (
                "PATCH",
                profile.clone(),
                json!({"state": "disabled", "force": true}),
            ),
            ("GET", profile.clone(), json!(null)),
            ("DELETE", format!("{profile}?force=true"), json!(null)),
            (
                "POST",
                format!("{euicc}/downloads"),
                json!({"default": true}),
            ),
            ("POST", format!("{euicc}/reset"), reset),
        ] {
            if method == "GET" {
                let reply = self.ask(bed, method, &target, "").await;
                assert_eq!(reply.json["nickname"], "Lager");
                continue;
            }
            let ended = self.change(bed, method, &target, &body).await;
            assert_eq!(ended["state"], "succeeded", "{method} {target}: {ended}");
        }
        // What goes wrong later is the operation's problem.
        let gone = json!({"state": "enabled"});
        let ended = self.change(bed, "PATCH", &profile, &gone).await;
        assert_eq!(ended["problem"]["code"], "unknown-profile");
        let notification = format!("{euicc}/notifications/4711");
        for (method, target) in [
            ("POST", format!("{notification}/deliver")),
            ("DELETE", format!("{notification}?force=true")),
        ] {
            let ended = self.change(bed, method, &target, &json!(null)).await;
            assert_eq!(ended["problem"]["code"], "unknown-notification");
        }
        let unknown = json!({"activation_code": code("NEVER"), "consent": "accept"});
        let ended = self.change(bed, "POST", DOWNLOADS, &unknown).await;
        assert_eq!(ended["problem"]["sgp22"]["subject"], "8.2.6");
    }

    async fn offers_are_answered(&mut self, bed: &mut Bed) {
        let profile = bed.profile();
        bed.bench.smdp.create_order(OrderRequest {
            confirmation_code: Some("0815".into()),
            ..OrderRequest::with_matching_id(profile, "OFFER")
        });
        let download = json!({"activation_code": code("OFFER")});
        let asking = self.change(bed, "POST", DOWNLOADS, &download).await;
        assert_eq!(asking["state"], "awaiting-answer");
        assert_eq!(asking["offer"]["confirmation_code_required"], true);
        let operation = format!("/v1/operations/{}", asking["id"].as_str().unwrap());
        let answer = format!("{operation}/answer");
        for (body, status) in [
            (r#"{"answer":"accept"}"#, 422),
            (r#"{"answer":"accept","confirmation_code":"0815"}"#, 200),
            (r#"{"answer":"decline"}"#, 409),
        ] {
            let reply = self.ask(bed, "POST", &answer, body).await;
            assert_eq!(reply.status, status, "{body}: {reply:?}");
        }
        let wait = format!("{operation}?wait=60");
        let ended = self.ask(bed, "GET", &wait, "").await;
        assert_eq!(ended.json["state"], "succeeded", "{ended:?}");
        assert!(ended.json["progress"]["done"].is_u64());
        for (method, target) in [
            ("DELETE", operation.clone()),
            ("POST", operation + "/cancel"),
        ] {
            let reply = self.ask(bed, method, &target, "").await;
            assert_eq!(reply.json["code"], "operation-ended");
        }
    }

    async fn switches_are_decided_on(&mut self, bed: &mut Bed) {
        let enable = json!({"state": "enabled", "confirm": "client", "deadline_s": 60});
        for (verdict, state) in [("confirm", "succeeded"), ("revert", "failed")] {
            let iccid = bed.install().await;
            let profile = format!("/v1/euiccs/default/profiles/{iccid}");
            let asked = enable.to_string();
            let started = self.ask(bed, "PATCH", &profile, &asked).await;
            let operation = &started.headers["location"];
            loop {
                let now = self.ask(bed, "GET", operation, "").await;
                if now.json["stage"] == "awaiting-confirm" {
                    assert_eq!(now.json["switch"]["profile"], iccid);
                    break;
                }
                assert_eq!(now.json["state"], "running", "{now:?}");
                sleep(Duration::from_secs(1)).await;
            }
            let decide = format!("{operation}/{verdict}");
            let [kept, away] = ["state", "away"].map(|name| bed.folder().join(name));
            fs::rename(&kept, &away).unwrap();
            fs::write(&kept, "in the way").unwrap();
            let unkept = self.ask(bed, "POST", &decide, "").await;
            assert_eq!(unkept.json["code"], "state-unwritable");
            fs::remove_file(&kept).unwrap();
            fs::rename(&away, &kept).unwrap();
            let decided = self.ask(bed, "POST", &decide, "").await;
            assert_eq!(decided.status, 200, "{decided:?}");
            let ended = self.ended(bed, &started).await;
            assert_eq!(ended["state"], state, "{ended}");
            // Its answer may have been lost.
            let again = self.ask(bed, "POST", &decide, "").await;
            assert_eq!((again.status, &again.json["state"]), (200, &json!(state)));
            let other = match verdict {
                "confirm" => "revert",
                _ => "confirm",
            };
            let late = format!("{operation}/{other}");
            let late = self.ask(bed, "POST", &late, "").await;
            assert_eq!(late.json["code"], "operation-ended");
        }
    }

    async fn repeated_requests_are_recognised(&mut self, bed: &mut Bed) {
        bed.order("KEY");
        let mut call = Call {
            method: "POST",
            target: DOWNLOADS.into(),
            headers: vec![("Idempotency-Key", "4c7e-0001")],
            body: json!({"activation_code": code("KEY"), "consent": "accept"}).to_string(),
            missing: 0,
        };
        let first = self.send(bed, &call).await;
        let again = self.send(bed, &call).await;
        assert_eq!(first.json["id"], again.json["id"]);
        call.body = r#"{"default":true}"#.into();
        let refused = self.send(bed, &call).await;
        assert_eq!(refused.json["code"], "idempotency-key-reused");
        for operation in self.changing_operations() {
            let other = Call {
                method: &operation.method,
                target: target(&operation, EUICC, "1"),
                body: sample(&operation, EUICC),
                ..call.clone()
            };
            let refused = self.send(bed, &other).await;
            assert_eq!(refused.status, 422, "{operation:?}: {refused:?}");
        }
        self.ended(bed, &first).await;
    }

    async fn nothing_starts_without_its_state(&mut self, bed: &mut Bed) {
        bed.order("OPEN");
        let download = json!({"activation_code": code("OPEN")});
        let asking = self.change(bed, "POST", DOWNLOADS, &download).await;
        let answer = Call {
            method: "POST",
            target: format!("/v1/operations/{}/answer", asking["id"].as_str().unwrap()),
            headers: vec![("Idempotency-Key", "4c7e-0002")],
            body: r#"{"answer":"postpone"}"#.into(),
            missing: 0,
        };
        let state = bed.folder().join("state");
        fs::remove_dir_all(&state).unwrap();
        fs::write(&state, "in the way").unwrap();
        let health = self.ask(bed, "GET", "/v1/health", "").await;
        assert_eq!(health.json["problems"][0]["code"], "state-unwritable");
        for operation in self.starting_operations() {
            let target = target(&operation, EUICC, "1");
            let body = sample(&operation, EUICC);
            let reply = self.ask(bed, &operation.method, &target, &body).await;
            assert_eq!(reply.json["code"], "state-unwritable", "{target}");
        }
        let reply = self.send(bed, &answer).await;
        assert_eq!(reply.json["code"], "state-unwritable", "{reply:?}");
    }

    /// Those that take a key.
    fn changing_operations(&self) -> Vec<Operation> {
        let operations = self.description.operations().into_iter();
        operations
            .filter(|operation| operation.method != "GET" && operation.id != "examineEuicc")
            .collect()
    }

    fn starting_operations(&self) -> Vec<Operation> {
        let mut operations = self.changing_operations();
        operations.retain(|operation| operation.template.contains("{euicc}"));
        operations
    }

    /// While an offer waits for its answer, nothing else gets its turn.
    async fn a_full_queue_takes_no_more(&mut self, bed: &mut Bed) {
        bed.order("FULL");
        let download = json!({"activation_code": code("FULL")});
        let asking = self.change(bed, "POST", DOWNLOADS, &download).await;
        assert_eq!(asking["state"], "awaiting-answer");
        let deliver = "/v1/euiccs/default/notifications/deliver";
        let mut queued = Vec::new();
        for _ in 1..QUEUE_LENGTH {
            queued.push(self.ask(bed, "POST", deliver, "").await);
        }
        let euicc = self.ask(bed, "GET", "/v1/euiccs/default", "").await;
        assert_eq!(euicc.json["busy_with"], asking["id"]);
        for operation in self.starting_operations() {
            let target = target(&operation, EUICC, "1");
            let body = sample(&operation, EUICC);
            let reply = self.ask(bed, &operation.method, &target, &body).await;
            assert_eq!(reply.json["code"], "busy", "{target}");
        }
        let examined = self.ask(bed, "POST", EXAMINATION, "").await;
        assert_eq!(examined.json["operation"], asking["id"]);
        let asking = format!("/v1/operations/{}", asking["id"].as_str().unwrap());
        let first = &queued[0].headers["location"];
        let cancel = self.ask(bed, "POST", &format!("{first}/cancel"), "").await;
        assert_eq!(cancel.json["state"], "cancelled");
        let cancel = self.ask(bed, "DELETE", &asking, "").await;
        assert_eq!(self.ended(bed, &cancel).await["state"], "cancelled");
        for started in &queued {
            self.ended(bed, started).await;
        }
    }

    async fn what_is_not_there_is_not_found(&mut self, bed: &Bed) {
        for operation in self.description.operations() {
            if operation.template.contains('{') {
                let target = target(&operation, "nobody", "4711");
                let body = sample(&operation, "nobody");
                let reply = self.ask(bed, &operation.method, &target, &body).await;
                assert_eq!(reply.status, 404, "{target}: {reply:?}");
            }
        }
        for target in ["/", "/v1", "/v1/nothing", "/v1/euiccs/default/nothing"] {
            let reply = self.ask(bed, "GET", target, "").await;
            assert_eq!(reply.json["code"], "not-found", "{target}");
        }
        for iccid in [ICCID, "12"] {
            let target = format!("/v1/euiccs/default/profiles/{iccid}");
            let reply = self.ask(bed, "GET", &target, "").await;
            assert_eq!(reply.json["code"], "unknown-profile");
        }
    }

    async fn other_methods_are_refused(&mut self, bed: &Bed) {
        let operations = self.description.operations();
        let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        for operation in &operations {
            for method in methods {
                let is_described = operations
                    .iter()
                    .any(|known| known.template == operation.template && known.method == method);
                if !is_described {
                    let target = target(operation, EUICC, "1");
                    let reply = self.ask(bed, method, &target, "").await;
                    assert_eq!(reply.status, 405, "{method} {target}");
                }
            }
        }
    }

    async fn broken_requests_are_refused(&mut self, bed: &Bed) {
        for operation in self.description.operations() {
            let call = Call {
                method: &operation.method,
                target: target(&operation, EUICC, "1"),
                body: sample(&operation, EUICC),
                ..Call::default()
            };
            let header = Call {
                headers: vec![("Idempotency-Key", "")],
                ..call.clone()
            };
            let late = Call {
                missing: 1,
                ..call.clone()
            };
            let large = Call {
                body: " ".repeat(64 * 1024 + 1),
                ..call.clone()
            };
            for (call, status) in [(header, 400), (late, 408), (large, 413)] {
                assert_eq!(self.send(bed, &call).await.status, status, "{operation:?}");
            }
        }
        for target in ["/v1/operations/1?wait=61", "/v1/operations/1?for=1"] {
            assert_eq!(self.ask(bed, "GET", target, "").await.status, 400);
        }
        for operation in self.description.operations() {
            let target = target(&operation, EUICC, "1") + "?unknown=1";
            let body = sample(&operation, EUICC);
            let reply = self.ask(bed, &operation.method, &target, &body).await;
            assert_eq!(reply.status, 400, "{target}: {reply:?}");
        }
        for target in [
            "/v1/euiccs/default?wait=0",
            "/v1/euiccs/default/profiles?wait=60",
            "/v1/operations?state=succeeded",
        ] {
            assert_eq!(self.ask(bed, "GET", target, "").await.status, 200);
        }
    }

    async fn addresses_and_codes_are_looked_at(&mut self, bed: &Bed) {
        let addresses = "/v1/euiccs/default/addresses";
        let announced = json!({"activation_code": code("X$$1"), "consent": "accept"});
        for (method, target, body, code) in [
            (
                "PUT",
                addresses,
                json!({"default_smdp": "a b"}),
                "invalid-address",
            ),
            (
                "POST",
                DOWNLOADS,
                json!({"smdp": "http://a.b"}),
                "invalid-address",
            ),
            (
                "POST",
                DOWNLOADS,
                json!({"activation_code": "hello"}),
                "invalid-activation-code",
            ),
            ("POST", DOWNLOADS, announced, "confirmation-code-required"),
        ] {
            let reply = self.ask(bed, method, target, &body.to_string()).await;
            assert_eq!((reply.status, &reply.json["code"]), (422, &json!(code)));
        }
    }

    /// Everything that happened so far is still to be had.
    async fn events_are_as_described(&mut self, bed: &Bed) {
        let call = Call {
            method: "GET",
            target: "/v1/events".into(),
            headers: vec![("Last-Event-ID", "0")],
            ..Call::default()
        };
        self.send(bed, &call).await;
        let last = self.ask(bed, "POST", "/v1/euiccs/default/notifications/deliver", "");
        let last = last.await.json;
        let mut events = bed.client.events(Some(0)).await.unwrap();
        let mut kinds = BTreeSet::new();
        loop {
            let event = events.next().await.unwrap().unwrap();
            let kind = event.kind.name();
            let is_last = event.data["id"] == last["id"] && event.data["finished_at_s"].is_u64();
            let lines = json!({"id": event.id, "event": kind, "data": event.data});
            self.description
                .must_fit("/components/schemas/Event", &lines);
            kinds.insert(kind);
            if is_last {
                break;
            }
        }
        assert!(kinds.contains("operation") && kinds.contains("euicc"));
        let mut readers = Vec::new();
        for _ in 0..100 {
            readers.extend(bed.client.events(None).await);
        }
        let refused = self.ask(bed, "GET", "/v1/events", "").await;
        assert_eq!(refused.json["code"], "too-many-readers");
    }

    async fn too_many_cannot_wait(&mut self, bed: &Bed) {
        let any = Pattern::ANY;
        let mut hold = bed.bench.modem.hold(any, 1, Moment::BeforeExecution);
        let running = bed.client.deliver_notifications(EUICC).await.unwrap();
        hold.reached().await;
        let target = format!("/v1/operations/{}", running.id);
        let mut waiting = Vec::new();
        for _ in 0..128 {
            let mut stream = UnixStream::connect(bed.client.socket()).await.unwrap();
            let request = format!("GET {target}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            waiting.push(stream);
        }
        let refused = self.ask(bed, "GET", &format!("{target}?wait=1"), "").await;
        assert_eq!(refused.json["code"], "too-many-readers");
        let refused = self.ask(bed, "POST", EXAMINATION, "").await;
        assert_eq!(refused.json["code"], "too-many-readers");
        let now = self.ask(bed, "GET", &format!("{target}?wait=0"), "").await;
        assert_eq!(now.json["state"], "running");
        drop(waiting);
        hold.release();
        bed.client.wait(running.id).await.unwrap();
    }

    async fn a_card_that_was_never_read_is_a_problem(&mut self, bed: &Bed, status: u16) {
        let euicc = bed.euicc_in(Availability::Unavailable).await;
        assert_eq!(status_of(euicc.problem.unwrap().code), status);
        for target in ["/v1/health", "/v1/euiccs", "/v1/euiccs/default"] {
            assert_eq!(self.ask(bed, "GET", target, "").await.status, 200);
        }
        for part in [
            "addresses",
            "notifications",
            "notifications/2",
            "profiles",
            "profiles/8901999000000000017",
        ] {
            let target = format!("/v1/euiccs/default/{part}");
            assert_eq!(self.ask(bed, "GET", &target, "").await.status, status);
        }
    }
}

/// A daemon in front of a card that refuses to be read.
async fn refusing_card() -> Bed {
    let mut bed = Bed::without_modem().await;
    bed.stop().await;
    for nth in 1..100 {
        bed.bench.modem.inject(Fault {
            pattern: Pattern::LAST_BLOCK,
            nth,
            effect: Effect::Instead {
                response: vec![0x69, 0x85],
            },
        });
    }
    bed.bench.plug_in();
    bed.boot();
    bed
}

/// The path with a name or number in place of each parameter.
fn target(operation: &Operation, euicc: &str, id: &str) -> String {
    operation
        .template
        .replace("{euicc}", euicc)
        .replace("{iccid}", ICCID)
        .replace("{number}", NUMBER)
        .replace("{id}", id)
}

/// A body the operation takes, when it takes one.
fn sample(operation: &Operation, euicc: &str) -> String {
    let body = match operation.id.as_str() {
        "setAddresses" => json!({"default_smdp": HOST_NAME}),
        "changeProfile" => json!({"state": "enabled"}),
        "startDownload" => json!({"default": true}),
        "resetEuicc" => json!({"confirm": euicc, "test_profiles": true}),
        "answerOffer" => json!({"answer": "decline"}),
        _ => return String::new(),
    };
    body.to_string()
}

fn code(matching_id: &str) -> String {
    format!("LPA:1${HOST_NAME}${matching_id}")
}

const EXAMINATION: &str = "/v1/euiccs/default/examination";

/// Every word in quotes in the API's source, and what stands for names and numbers.
fn words_of_the_router() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lpad/src/api");
    let mut words = BTreeSet::from([ICCID, "1"].map(str::to_owned));
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_word = |word: &&str| {
            let fits = |letter: char| letter.is_ascii_lowercase() || "-_.".contains(letter);
            !word.is_empty() && word.chars().all(fits)
        };
        words.extend(code.split('"').filter(is_word).map(str::to_owned));
    }
    words
}

/// Whether any method finds something there.
fn is_answered(path: &str) -> bool {
    let methods = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    methods.iter().any(|method| {
        let request = Request {
            method,
            path,
            query: None,
            last_event_id: None,
            body: &[],
        };
        !matches!(route(&request), Err(error) if error.problem.code == Code::NotFound)
    })
}

/// The names of a type's members or values, as it gives them when it is read.
fn names<T: DeserializeOwned>() -> BTreeSet<&'static str> {
    match T::deserialize(Inquiry) {
        Err(Names(names)) => names.iter().copied().collect(),
        Ok(_) => panic!("there was nothing to read"),
    }
}

struct Inquiry;

impl<'de> Deserializer<'de> for Inquiry {
    type Error = Names;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Names> {
        Err(Names(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Names> {
        Err(Names(fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Names> {
        Err(Names(variants))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

#[derive(Debug)]
struct Names(&'static [&'static str]);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Names {}

impl Error for Names {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

const DOWNLOADS: &str = "/v1/euiccs/default/downloads";
/// A profile that is on no card here.
/// The card's second notification, which is the first that waits.
const NUMBER: &str = "2";
const ICCID: &str = "8901999000000000017";
