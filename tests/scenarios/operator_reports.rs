//! What the SM-DP+ tells its operator while the daemon downloads.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Method;
use lpad::api::downloads::DownloadRequest;
use lpad::memory::operations::State as Ended;
use lpad::secret::Secret;
use lpad_tests::bed::{Bed, accepting, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_common::pki::{Pki, PkiOptions};
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::recorder::{Received, called};
use rsp_servers::smdp::{Config, OrderRequest, StockedProfile};
use serde_json::Value;
use tokio::sync::mpsc;

const CODE: &str = "1$smdp.example.com$M-1";

#[tokio::test]
async fn the_operator_is_told_of_every_step_of_a_download_in_order() {
    let (bed, mut told) = bed(&[204]).await;
    let profile = Profile::builder(Iccid::nth(1)).build();
    bed.bench.smdp.stock(StockedProfile {
        profile: profile.clone(),
        profile_type: "gold".into(),
        operator: None,
    });
    bed.bench.smdp.create_order(OrderRequest {
        confirmation_code: Some("1234".into()),
        ..OrderRequest::with_matching_id(profile, "M-1")
    });
    let refused = bed.download_as(&request("4321")).await;
    assert_eq!(refused.state, Ended::Failed);
    let installed = bed.download_as(&request("1234")).await;
    succeeded(&installed);
    for (point, failure) in [
        (1, None),
        (2, Some("8.2.7/3.8")),
        (1, None),
        (3, None),
        (4, None),
    ] {
        let (told_point, told_failure, body) = step(&mut told).await;
        assert_eq!((told_point, told_failure.as_deref()), (point, failure));
        assert_eq!(body["iccid"], Iccid::nth(1).to_string());
        assert_eq!(body["eid"], bed.bench.eid());
        assert_eq!(body["profileType"], "gold");
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
        let result = body.get("resultData").map(|data| {
            let data = data.as_str().unwrap();
            BASE64_STANDARD.decode(data).unwrap()
        });
        let received = bed.bench.smdp.notifications();
        let expected = (point == 4).then(|| received[0].bytes.clone());
        assert_eq!(result, expected, "{point}");
    }
}

#[tokio::test]
async fn the_operator_is_told_when_an_order_was_asked_for_too_late() {
    let (bed, mut told) = bed(&[204]).await;
    let profile = Profile::builder(Iccid::nth(1)).name("Gold").build();
    bed.bench.smdp.create_order(OrderRequest {
        expires: Some(UNIX_EPOCH + Duration::from_secs(1)),
        ..OrderRequest::with_matching_id(profile, "M-1")
    });
    assert_eq!(bed.download(CODE).await.state, Ended::Failed);
    let (point, failure, body) = step(&mut told).await;
    assert_eq!((point, failure.as_deref()), (1, Some("8.8.5/4.10")));
    // Without a stock the name stands for the type.
    assert_eq!(body["profileType"], "Gold");
}

#[tokio::test]
async fn an_operator_that_fails_is_told_again_and_delays_no_download() {
    let (mut bed, mut told) = bed(&[500, 200, 204]).await;
    bed.install().await;
    for point in [1, 1, 1, 3, 4] {
        assert_eq!(step(&mut told).await.0, point);
    }
    assert_eq!(
        told.try_recv().unwrap_err(),
        mpsc::error::TryRecvError::Empty
    );
}

/// A bed whose operator is told, and what it is told.
async fn bed(statuses: &[u16]) -> (Bed, mpsc::Receiver<Received>) {
    let (address, told) = called(statuses).await;
    let config = Config {
        operator_url: Some(format!("http://{address}/operator").parse().unwrap()),
        callback_pause: Duration::from_millis(1),
        ..Config::new(HOST_NAME, Pki::generate(&PkiOptions::default()).unwrap())
    };
    (Bed::with(Bench::with_smdp(config), "never").await, told)
}

/// The next step told: its point, and its subject and reason when it failed.
async fn step(told: &mut mpsc::Receiver<Received>) -> (u64, Option<String>, Value) {
    let call = told.recv().await.unwrap();
    assert_eq!(call.method, Method::POST);
    let path = "/operator/gsma/rsp2/es2plus/handleDownloadProgressInfo";
    assert_eq!(call.path, path);
    assert_eq!(call.headers["content-type"], "application/json");
    assert_eq!(call.headers["x-admin-protocol"], "gsma/rsp/v2.5.0");
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    let header = &body["header"];
    assert_eq!(header["functionRequesterIdentifier"], "2.999.10");
    assert!(
        !header["functionCallIdentifier"]
            .as_str()
            .unwrap()
            .is_empty()
    );
    let status = &body["notificationPointStatus"];
    let failure = match status["status"].as_str().unwrap() {
        "Executed-Success" => None,
        _ => {
            let data = &status["statusCodeData"];
            let part = |name: &str| data[name].as_str().unwrap();
            Some(format!("{}/{}", part("subjectCode"), part("reasonCode")))
        }
    };
    (body["notificationPointId"].as_u64().unwrap(), failure, body)
}

fn request(code: &str) -> DownloadRequest {
    DownloadRequest {
        confirmation_code: Some(Secret::new(code)),
        ..accepting(CODE)
    }
}
