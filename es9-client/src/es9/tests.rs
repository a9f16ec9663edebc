use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::envelope::{Answer, AnswerError};
use crate::function::Es9Function;
use crate::tests::vectors;
use crate::wire::{Opaque, TransactionId};

#[test]
fn every_request_is_written_as_in_the_recorded_session() {
    let requests = [
        written(&InitiateAuthenticationRequest {
            euicc_challenge: bytes("initiateAuthentication", "euiccChallenge"),
            euicc_info1: bytes("initiateAuthentication", "euiccInfo1"),
            smdp_address: "smdp.example.com".to_owned(),
        }),
        written(&AuthenticateClientRequest {
            transaction_id: session(),
            authenticate_server_response: bytes("authenticateClient", "authenticateServerResponse"),
        }),
        written(&GetBoundProfilePackageRequest {
            transaction_id: session(),
            prepare_download_response: bytes("getBoundProfilePackage", "prepareDownloadResponse"),
        }),
        written(&HandleNotification {
            pending_notification: bytes("handleNotification", "pendingNotification"),
        }),
        written(&CancelSessionRequestEs9 {
            transaction_id: session(),
            cancel_session_response: bytes("cancelSession", "cancelSessionResponse"),
        }),
    ];
    assert_eq!(requests.len(), vectors()["es9"].as_array().unwrap().len());
    for (function, request) in requests {
        assert_eq!(request, exchange(function)["request"], "{function}");
    }
}

#[test]
fn initiate_authentication_gives_what_the_euicc_signed_over() {
    let ok = answered::<InitiateAuthenticationRequest>();
    assert_eq!(ok.transaction_id, session());
    assert_eq!(*ok.server_signed1, part("serverSigned1"));
    assert_eq!(
        *ok.server_signature1,
        [&[0x5F, 0x37, 0x40], &ok.server_signature1[3..]].concat()
    );
    let key_id = [
        vec![0x04, 20],
        hex::decode(vectors()["ciPkid"].as_str().unwrap()).unwrap(),
    ];
    assert_eq!(*ok.euicc_ci_pk_id_to_be_used, key_id.concat());
    assert_eq!(*ok.server_certificate, crate::tests::certificate("DPAUTH"));
}

#[test]
fn authenticate_client_and_get_bound_profile_package_give_whole_objects() {
    let ok = answered::<AuthenticateClientRequest>();
    assert_eq!(ok.profile_metadata[..2], [0xBF, 0x25]);
    assert_eq!(ok.smdp_signed2[0], 0x30);
    assert_eq!(ok.smdp_signature2[..3], [0x5F, 0x37, 0x40]);
    assert_eq!(*ok.smdp_certificate, crate::tests::certificate("DPPB"));
    let ok = answered::<GetBoundProfilePackageRequest>();
    assert_eq!(ok.transaction_id, session());
    let bpp = hex::decode(vectors()["bpp"]["der"].as_str().unwrap()).unwrap();
    assert_eq!(*ok.bound_profile_package, bpp);
}

#[test]
fn cancel_session_and_handle_notification_are_told_that_it_is_done() {
    assert_eq!(answered::<CancelSessionRequestEs9>(), CancelSessionOk);
    let status = exchange("handleNotification")["responseStatus"]
        .as_u64()
        .unwrap();
    let acknowledged = Answer {
        status: u16::try_from(status).unwrap(),
        content_type: None,
        body: Bytes::new(),
    };
    assert_eq!(HandleNotification::response(&acknowledged), Ok(()));
}

#[test]
fn a_missing_member_is_named() {
    for member in [
        "transactionId",
        "serverSigned1",
        "serverSignature1",
        "euiccCiPKIdToBeUsed",
        "serverCertificate",
    ] {
        let mut response = exchange("initiateAuthentication")["response"].clone();
        response.as_object_mut().unwrap().remove(member);
        let error = InitiateAuthenticationRequest::response(&answer(&response)).unwrap_err();
        assert!(
            error.to_string().contains(&format!("`{member}`")),
            "{error}"
        );
    }
}

#[test]
fn a_bare_key_identifier_gets_its_header() {
    let mut response = exchange("initiateAuthentication")["response"].clone();
    response["euiccCiPKIdToBeUsed"] = json!("G7BkBjfiHEfSZG2m2UDxkzzlcVs=");
    let ok = InitiateAuthenticationRequest::response(&answer(&response)).unwrap();
    assert_eq!(ok.euicc_ci_pk_id_to_be_used[..3], [0x04, 0x14, 0x1B]);
}

#[test]
fn members_of_later_versions_are_passed_over() {
    let mut response = exchange("initiateAuthentication")["response"].clone();
    response["otherCertsInChain"] = json!(["MIIB"]);
    response["crlList"] = json!(null);
    assert!(InitiateAuthenticationRequest::response(&answer(&response)).is_ok());
}

#[test]
fn a_real_servers_refusal_with_eid_and_message_is_understood() {
    let refusal = json!({"header": {"functionExecutionStatus": {"status": "Failed",
        "statusCodeData": {"subjectCode": "8.1.1", "reasonCode": "3.8",
            "subjectIdentifier": "89049032123451234512345678901235",
            "message": "The EID is not the same between reservation and request."}}}});
    let error = AuthenticateClientRequest::response(&answer(&refusal)).unwrap_err();
    let AnswerError::Status { data, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(data.meaning().title, "The order was made for another eUICC");
    assert!(data.subject_identifier.is_some());
}

#[test]
fn an_answer_cut_or_altered_anywhere_is_read_without_a_panic() {
    let text = exchange("authenticateClient")["response"]
        .to_string()
        .into_bytes();
    for position in 0..text.len() {
        let mut altered = text.clone();
        altered[position] = altered[position].wrapping_add(1);
        for body in [&text[..position], &altered[..]] {
            let _ = AuthenticateClientRequest::response(&Answer {
                status: 200,
                content_type: None,
                body: Bytes::copy_from_slice(body),
            });
        }
    }
}

#[test]
fn what_the_euicc_says_does_not_show_in_debug() {
    let request = AuthenticateClientRequest {
        transaction_id: session(),
        authenticate_server_response: Opaque::from(&b"MATCHING-ID"[..]),
    };
    assert!(!format!("{request:?}").contains("77"), "{request:?}");
}

fn exchange(function: &str) -> Value {
    let exchanges = vectors()["es9"].clone();
    let found = exchanges
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["function"] == function);
    found.unwrap().clone()
}

fn written<F: Es9Function>(function: &F) -> (&'static str, Value) {
    (F::NAME, serde_json::to_value(function).unwrap())
}

fn answered<F: Es9Function>() -> F::Response {
    F::response(&answer(&exchange(F::NAME)["response"])).unwrap()
}

fn answer(body: &Value) -> Answer {
    Answer {
        status: 200,
        content_type: Some("application/json;charset=UTF-8".to_owned()),
        body: body.to_string().into(),
    }
}

/// The bytes of a member of a recorded request.
fn bytes(function: &str, member: &str) -> Opaque {
    serde_json::from_value(exchange(function)["request"][member].clone()).unwrap()
}

fn session() -> TransactionId {
    "0102030405060708090A0B0C0D0E0F10".parse().unwrap()
}

fn part(name: &str) -> Vec<u8> {
    hex::decode(vectors()["parts"][name].as_str().unwrap()).unwrap()
}
