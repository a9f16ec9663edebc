//! The operator's guide, with `curl` as it prints it and only host and credentials changed; without
//! `curl` these stories say nothing.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lpad::api::downloads::DownloadRequest;
use lpad::job::Consent;
use lpad::memory::operations::State;
use lpad_tests::bed::{Bed, EUICC, succeeded};
use lpad_tests::bench::HOST_NAME;
use rsp_common::certificate::Role;
use rsp_servers::smdp::{Calls, Fault, Function, ReservationFault};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

#[tokio::test]
async fn a_profile_reserved_for_an_eid_is_downloaded_from_the_address_it_comes_with() {
    let mut bed = Bed::over_kernel_devices().await;
    let Some(operator) = Operator::plain(&bed).await else {
        return;
    };
    let (url, mut calls) = callbacks().await;
    let eid = bed.bench.eid();
    let (eid_field, url_field) = (format!("Eid={eid}"), format!("CallbackUrl={url}"));
    let created = operator
        .curl(
            &[
                "-X",
                "POST",
                "--data-urlencode",
                &eid_field,
                "--data-urlencode",
                &url_field,
            ],
            "",
        )
        .await;
    assert_eq!((created.status, created.text("status")), (201, "new"));
    assert_eq!(created.text("eid"), eid);
    for later in [
        "iccid",
        "smdp_plus_address",
        "matching_id",
        "activation_code",
        "error_code",
    ] {
        assert!(created.json[later].is_null(), "{later}");
    }
    let sid = created.text("sid").to_owned();
    let available = operator.becomes(&sid, "available").await;
    assert_eq!(available.text("smdp_plus_address"), HOST_NAME);
    assert!(available.json["activation_code"].is_null());
    assert!(available.json["matching_id"].is_null());
    let listed = operator
        .curl(&["-G", "-d", &eid_field, "-d", "Status=available"], "")
        .await;
    assert_eq!(listed.json["esim_profiles"][0]["sid"], *sid);
    assert_eq!(listed.json["meta"]["key"], "esim_profiles");

    let address = available.text("smdp_plus_address");
    bed.ended(bed.client.set_default_smdp(EUICC, address).await)
        .await;
    let request = DownloadRequest {
        default: true,
        consent: Consent::Accept,
        ..DownloadRequest::default()
    };
    let operation = bed.download_as(&request).await;
    succeeded(&operation);
    let installed = operator.becomes(&sid, "installed").await;
    assert_eq!(
        installed.json["iccid"],
        operation.result.unwrap().iccid.unwrap()
    );
    for status in ["available", "downloaded", "installed"] {
        let call = timeout(PATIENCE, calls.recv()).await.unwrap().unwrap();
        assert!(call.starts_with("POST /changed HTTP/1.1\r\n"), "{call}");
        assert!(call.contains(&format!("Status={status}")), "{call}");
        assert!(call.contains(&format!("ESimProfileSid={sid}")), "{call}");
    }
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_reserved_activation_code_is_downloaded_by_any_card_and_once() {
    let mut bed = Bed::over_kernel_devices().await;
    let Some(operator) = Operator::tls(&bed).await else {
        return;
    };
    let (url, mut calls) = callbacks().await;
    let url_field = format!("CallbackUrl={url}");
    let created = operator
        .curl(
            &[
                "-X",
                "POST",
                "--data-urlencode",
                "GenerateMatchingId=true",
                "--data-urlencode",
                &url_field,
                "--data-urlencode",
                "CallbackMethod=GET",
            ],
            "",
        )
        .await;
    assert_eq!((created.status, created.text("status")), (201, "new"));
    assert!(created.json["eid"].is_null());
    let sid = created.text("sid").to_owned();
    assert_eq!(
        created.text("url"),
        format!("https://{HOST_NAME}/v1/ESimProfiles/{sid}")
    );
    let available = operator.becomes(&sid, "available").await;
    let code = available.text("activation_code");
    let matching_id = available.text("matching_id");
    assert_eq!(code, format!("LPA:1${HOST_NAME}${matching_id}"));
    succeeded(&bed.download(code).await);
    operator.becomes(&sid, "installed").await;
    for status in ["available", "downloaded", "installed"] {
        let call = timeout(PATIENCE, calls.recv()).await.unwrap().unwrap();
        assert!(call.starts_with("GET /changed?"), "{call}");
        assert!(call.contains(&format!("Status={status}")), "{call}");
    }
    let again = bed.download(code).await;
    assert_eq!(again.state, State::Failed);
    assert_eq!(
        again.problem.unwrap().title,
        "The SM-DP+ does not know this activation code, or the code is used up"
    );
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_reservation_whose_installation_failed_says_so() {
    let mut bed = Bed::over_kernel_devices().await;
    let Some(operator) = Operator::plain(&bed).await else {
        return;
    };
    let created = operator.curl(&["-d", "GenerateMatchingId=true"], "").await;
    let sid = created.text("sid").to_owned();
    let available = operator.becomes(&sid, "available").await;
    let fault = Fault::AlteredPiece(1);
    bed.bench
        .smdp
        .set_fault(Function::GetBoundProfilePackage, Calls::NEXT, fault);
    let operation = bed.download(available.text("activation_code")).await;
    assert_eq!(operation.state, State::Failed);
    let failed = operator.becomes(&sid, "failed").await;
    assert!(
        failed.text("error_code").starts_with("installation-"),
        "{}",
        failed.json
    );
    assert!(!failed.text("error_message").is_empty());
    bed.must_be_sound().await;
}

#[tokio::test]
async fn wrong_requests_are_refused_in_the_form_of_the_operators_api() {
    let bed = Bed::over_kernel_devices().await;
    let Some(operator) = Operator::plain(&bed).await else {
        return;
    };
    let stranger = Operator {
        credentials: "AC00000000000000000000000000000000:wrong".into(),
        ..operator.clone()
    };
    let eid = format!("Eid={}", bed.bench.eid());
    for (reply, status, code) in [
        (stranger.curl(&[], "").await, 401, 20003),
        (
            operator
                .curl(&[], "/HP00000000000000000000000000000000")
                .await,
            404,
            20404,
        ),
        (operator.curl(&["-d", ""], "").await, 400, 20001),
        (operator.curl(&["-d", "Eid=12"], "").await, 400, 20001),
        (
            operator
                .curl(&["-d", &eid, "-d", "GenerateMatchingId=true"], "")
                .await,
            400,
            20001,
        ),
        (operator.curl(&["-X", "DELETE"], "").await, 405, 20004),
    ] {
        assert_eq!(
            (reply.status, &reply.json["code"]),
            (status, &code.into()),
            "{reply:?}"
        );
        assert_eq!(reply.json["status"], status);
        assert!(!reply.text("message").is_empty());
    }
    assert!(bed.bench.smdp.reservations().is_empty());
}

#[tokio::test]
async fn the_operators_guide_leads_from_its_first_call_to_a_profile_with_service() {
    let mut bed = Bed::over_kernel_devices().await;
    let Some(operator) = Operator::plain(&bed).await else {
        return;
    };
    let networks = "NetworkAccessProfile=HA00000000000000000000000000000001";
    let fleet = operator
        .call("/Fleets", &["-d", networks, "-d", "UniqueName=Pilot"])
        .await;
    assert_eq!(fleet.status, 201);
    let eid = format!("Eid={}", bed.bench.eid());
    let (url, mut calls) = callbacks().await;
    let callback = format!("CallbackUrl={url}");
    let reserve = ["--data-urlencode", &eid, "--data-urlencode", &callback];
    let created = operator.call("/ESimProfiles", &reserve).await;
    assert_eq!(created.status, 201);
    // Told that it is available, the customer looks at it.
    let call = timeout(PATIENCE, calls.recv()).await.unwrap().unwrap();
    assert!(call.contains("Status=available"), "{call}");
    let profile = operator.becomes(created.text("sid"), "available").await;
    let sim = format!("/Sims/{}", profile.text("sim_sid"));
    let new = operator.call(&sim, &[]).await;
    assert_eq!((new.status, new.text("status")), (200, "new"));
    assert_eq!(new.text("iccid"), profile.text("iccid"));

    let address = profile.text("smdp_plus_address");
    bed.ended(bed.client.set_default_smdp(EUICC, address).await)
        .await;
    let request = DownloadRequest {
        default: true,
        consent: Consent::Accept,
        enable: true,
        ..DownloadRequest::default()
    };
    succeeded(&bed.download_as(&request).await);
    operator.becomes(created.text("sid"), "installed").await;
    let waiting = operator.call(&sim, &[]).await;
    assert_eq!(
        waiting.text("status"),
        "new",
        "installing is not activating"
    );

    let activate = [
        "-d",
        "Fleet=Pilot",
        "-d",
        "Status=ready",
        "-d",
        "UniqueName=Bike",
    ];
    let scheduled = operator.call(&sim, &activate).await;
    assert_eq!(
        (scheduled.status, scheduled.text("status")),
        (200, "scheduled")
    );
    operator.sim_becomes("Bike", "ready").await;
    operator.call(&sim, &["-d", "Status=active"]).await;
    operator.sim_becomes("Bike", "active").await;
    let listed = operator.call("/Sims", &["-G", "-d", "Status=active"]).await;
    assert_eq!(listed.json["sims"][0]["fleet_sid"], fleet.json["sid"]);
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_sim_can_be_active_before_its_profile_is_on_any_device() {
    let bed = Bed::over_kernel_devices().await;
    let Some(operator) = Operator::tls(&bed).await else {
        return;
    };
    let networks = "NetworkAccessProfile=HA00000000000000000000000000000001";
    operator
        .call("/Fleets", &["-d", networks, "-d", "UniqueName=Pilot"])
        .await;
    let reserve = ["-d", "GenerateMatchingId=true"];
    let created = operator.call("/ESimProfiles", &reserve).await;
    let profile = operator.becomes(created.text("sid"), "available").await;
    let sim = profile.text("sim_sid");
    let activate = ["-d", "Fleet=Pilot", "-d", "Status=active"];
    operator.call(&format!("/Sims/{sim}"), &activate).await;
    operator.sim_becomes(sim, "active").await;
    succeeded(&bed.download(profile.text("activation_code")).await);
    operator.becomes(created.text("sid"), "installed").await;
    let sim = operator.call(&format!("/Sims/{sim}"), &[]).await;
    assert_eq!(sim.text("status"), "active");
}

#[tokio::test]
async fn a_customer_whose_reservation_comes_to_nothing_is_told_so_and_nothing_is_downloaded() {
    let bed = Bed::over_kernel_devices().await;
    let Some(operator) = Operator::plain(&bed).await else {
        return;
    };
    let smdp = &bed.bench.smdp;
    let fault = |name: &str| name.parse::<ReservationFault>().unwrap();
    let reserve = ["-d", "GenerateMatchingId=true"];
    smdp.set_reservation_fault(Calls::NEXT, fault("fails"));
    let created = operator.call("/ESimProfiles", &reserve).await;
    let failed = operator.becomes(created.text("sid"), "failed").await;
    assert!(!failed.text("error_code").is_empty());
    assert!(failed.json["activation_code"].is_null());
    for (name, status) in [("unauthorized", 401), ("too-many-requests", 429)] {
        smdp.set_reservation_fault(Calls::NEXT, fault(name));
        let refused = operator.call("/ESimProfiles", &reserve).await;
        assert_eq!(
            (refused.status, &refused.json["status"]),
            (status, &status.into())
        );
    }
    smdp.set_reservation_fault(Calls::NEXT, fault("silence"));
    let silent = operator
        .run(
            "/ESimProfiles",
            &["--max-time", "1", "-d", "GenerateMatchingId=true"],
        )
        .await;
    assert_eq!(silent.status.code(), Some(CURL_TIMEOUT));
    assert_eq!(smdp.reservations().len(), 1);
    assert_eq!(
        smdp.counters().requests(Function::InitiateAuthentication),
        0
    );
}

/// A customer of the operator, at a shell.
#[derive(Clone, Debug)]
struct Operator {
    url: String,
    credentials: String,
    options: Vec<String>,
}

#[derive(Debug)]
struct Reply {
    status: u16,
    json: Value,
}

impl Reply {
    #[track_caller]
    fn text(&self, member: &str) -> &str {
        let text = self.json[member].as_str();
        text.unwrap_or_else(|| panic!("no {member} in {}", self.json))
    }
}

impl Operator {
    /// On the port for this purpose; `None` without `curl`.
    async fn plain(bed: &Bed) -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let smdp = bed.bench.smdp.clone();
        tokio::spawn(async move { smdp.serve_admin(listener, std::future::pending()).await });
        Self::new(bed, url, Vec::new()).await
    }

    /// Over TLS, on the port of the SM-DP+; `None` without `curl`.
    async fn tls(bed: &Bed) -> Option<Self> {
        let target = bed.smdp_address();
        let issuer: PathBuf = bed.folder().join("ci.pem");
        let ci = bed.bench.pki.certificate(Role::Ci).unwrap();
        let pem = BASE64_STANDARD.encode(ci.der());
        let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
        fs::write(&issuer, pem).unwrap();
        let options = vec![
            "--cacert".to_owned(),
            issuer.display().to_string(),
            "--connect-to".to_owned(),
            format!("{HOST_NAME}:443:{}:{}", target.ip(), target.port()),
        ];
        Self::new(bed, format!("https://{HOST_NAME}/v1"), options).await
    }

    async fn new(bed: &Bed, url: String, options: Vec<String>) -> Option<Self> {
        let version = Command::new("curl")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .await;
        if version.is_err() {
            eprintln!("there is no curl; nothing is shown");
            return None;
        }
        let config = bed.bench.smdp.config();
        Some(Self {
            url,
            credentials: format!("{}:{}", config.account_sid, config.auth_token),
            options,
        })
    }

    async fn curl(&self, arguments: &[&str], path: &str) -> Reply {
        self.call(&format!("/ESimProfiles{path}"), arguments).await
    }

    /// Calls what is at `path` of the API.
    async fn call(&self, path: &str, arguments: &[&str]) -> Reply {
        let output = self.run(path, arguments).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "curl: {errors}");
        let (body, status) = text.rsplit_once('\n').unwrap();
        Reply {
            status: status.parse().unwrap(),
            json: serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}")),
        }
    }

    async fn run(&self, path: &str, arguments: &[&str]) -> Output {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--write-out", "\n%{http_code}"])
            .args(&self.options)
            .args(arguments)
            .arg(format!("{}{path}", self.url))
            .args(["-u", &self.credentials])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        timeout(PATIENCE, curl.output())
            .await
            .expect("it ends")
            .unwrap()
    }

    /// Asks until the reservation has this status.
    async fn becomes(&self, sid: &str, status: &str) -> Reply {
        self.shows(&format!("/ESimProfiles/{sid}"), status).await
    }

    /// Asks until the Sim has this status.
    async fn sim_becomes(&self, name: &str, status: &str) -> Reply {
        self.shows(&format!("/Sims/{name}"), status).await
    }

    async fn shows(&self, path: &str, status: &str) -> Reply {
        let mut ticks = interval(Duration::from_millis(50));
        let becomes = async {
            loop {
                ticks.tick().await;
                let reply = self.call(path, &[]).await;
                assert_eq!(reply.status, 200);
                if reply.text("status") == status {
                    return reply;
                }
            }
        };
        timeout(PATIENCE, becomes)
            .await
            .unwrap_or_else(|_| panic!("{path} is never {status}"))
    }
}

/// A web server of the customer: its URL, and what it is sent.
async fn callbacks() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/changed", listener.local_addr().unwrap());
    let (sender, calls) = mpsc::channel(10);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            // Both forms of a callback end with their last field.
            while !text.contains("Iccid=") {
                let mut piece = [0; 2048];
                let read = stream.read(&mut piece).await.unwrap();
                assert_ne!(read, 0, "{text}");
                text.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
            let answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            if sender.send(text).await.is_err() {
                return;
            }
        }
    });
    (url, calls)
}

/// What `curl` ends with when it had to wait too long.
const CURL_TIMEOUT: i32 = 28;

const PATIENCE: Duration = Duration::from_secs(30);
