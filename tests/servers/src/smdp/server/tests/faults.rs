//! Answers that are wrong by name.

use super::*;

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
