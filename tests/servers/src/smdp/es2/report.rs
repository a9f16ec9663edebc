//! What the operator is told of a download.
//!
//! SGP.22 v2.5 section 5.3.5, ES2+.HandleDownloadProgressInfo.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use crate::rsp::random;
use crate::smdp::callback::Call;
use crate::smdp::date::iso_8601;
use crate::smdp::order::progress::Progress;
use crate::smdp::store::State;

/// The call that tells the operator of a step.
pub(in crate::smdp) fn report(
    operator: &Uri,
    requester: &str,
    state: &State,
    progress: &Progress,
) -> Option<Call> {
    let order = state.orders.get(progress.order)?;
    let profile = order.profile();
    let iccid = profile.metadata.iccid.to_string();
    let profile_type = state.stock.profile_type(&iccid);
    let status = match progress.failure {
        None => json!({ "status": "Executed-Success" }),
        Some(failure) => json!({
            "status": "Failed",
            "statusCodeData": {
                "subjectCode": failure.subject,
                "reasonCode": failure.reason,
            },
        }),
    };
    let mut body = json!({
        "header": {
            "functionRequesterIdentifier": requester,
            "functionCallIdentifier": hex::encode_upper(random::<8>()),
        },
        "iccid": iccid,
        "profileType": profile_type.unwrap_or(&profile.metadata.profile_name),
        "timestamp": iso_8601(progress.time),
        "notificationPointId": progress.point as u8,
        "notificationPointStatus": status,
    });
    if let Some(eid) = &progress.eid {
        body["eid"] = Value::from(eid.as_str());
    }
    if !progress.result.is_empty() {
        body["resultData"] = BASE64_STANDARD.encode(&progress.result).into();
    }
    let base = operator.path().trim_end_matches('/');
    Some(Call {
        url: operator.clone(),
        path: format!("{base}{}handleDownloadProgressInfo", super::PATH),
        method: Method::POST,
        headers: vec![
            ("content-type", "application/json"),
            ("x-admin-protocol", "gsma/rsp/v2.5.0"),
        ],
        body: body.to_string().into(),
        acknowledged_by: |status| *status == StatusCode::NO_CONTENT,
    })
}
