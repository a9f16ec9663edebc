//! What is presented where TLS is expected.

use super::*;

#[tokio::test]
async fn each_tls_choice_is_what_its_name_says_in_a_real_handshake() {
    let smdp = smdp();
    for (choice, refused) in [
        ("right", None),
        ("tls1.2", None),
        ("tls1.3", None),
        ("other-ci", Some("UnknownIssuer")),
        // webpki says no more of a leaf that is its own issuer.
        ("self-signed", Some("UnknownIssuer")),
        ("expired", Some("certificate expired")),
        ("not-yet-valid", Some("certificate not valid yet")),
        ("wrong-signature", Some("BadSignature")),
        // Roles are not webpki's business; the certificate is looked at below.
        ("wrong-role", None),
        ("critical-policies", Some("UnsupportedCriticalExtension")),
        ("unknown-extension", Some("UnsupportedCriticalExtension")),
        ("other-host", Some("not valid for name")),
        ("wildcard", None),
        ("wildcard-elsewhere", Some("not valid for name")),
        ("common-name-only", Some("not valid for name")),
        ("ip-address", Some("not valid for name")),
        ("upper-case", None),
        ("second-name", None),
        ("sub-ca", Some("UnsupportedCriticalExtension")),
        ("sub-ca-missing", Some("UnknownIssuer")),
        ("with-root", None),
        ("client-only", Some("extended key usage")),
        ("no-extended-key-usage", None),
        ("key-agreement-only", None),
        ("other-key", Some("BadSignature")),
        ("abort", Some("HandshakeFailure")),
        ("protocol-version", Some("ProtocolVersion")),
        ("tls1.1", Some("ServerDoesNotSupportTls12Or13")),
        ("plain-http", Some("InvalidContentType")),
        ("close", Some("eof")),
    ] {
        must_meet(&smdp, choice, refused).await;
    }
}

#[tokio::test]
async fn each_tls_certificate_with_a_name_is_what_it_says_in_a_real_handshake() {
    let smdp = smdp();
    let met = [
        ("dptls-chain-a", None),
        ("dptls-chain-b", Some("UnsupportedCriticalExtension")),
        ("dptls-chain-c", Some("UnsupportedCriticalExtension")),
        ("dptls-client-only", Some("extended key usage")),
        ("dptls-cn-only", Some("not valid for name")),
        (
            "dptls-critical-policy",
            Some("UnsupportedCriticalExtension"),
        ),
        ("dptls-expired", Some("certificate expired")),
        // What a key is for, how long and in which role is not webpki's business.
        ("dptls-key-agreement", None),
        ("dptls-long-lived", None),
        ("dptls-no-san", Some("not valid for name")),
        ("dptls-not-yet-valid", Some("certificate not valid yet")),
        ("dptls-other-ci", Some("BadSignature")),
        ("dptls-other-host", Some("not valid for name")),
        ("dptls-role-dp-auth", None),
        ("dptls-self-signed", Some("UnknownIssuer")),
        ("dptls-tampered-signature", Some("BadSignature")),
        (
            "dptls-unknown-critical",
            Some("UnsupportedCriticalExtension"),
        ),
        ("dptls-wildcard", None),
    ];
    let mut names: Vec<_> = Variant::NAMES
        .into_iter()
        .filter(|name| name.starts_with("dptls-"))
        .collect();
    names.sort_unstable();
    assert_eq!(met.map(|(name, _)| name)[..], names);
    for (name, refused) in met {
        must_meet(&smdp, &format!("certificate={name}"), refused).await;
    }
}

async fn must_meet(smdp: &Smdp, choice: &str, refused: Option<&str>) {
    smdp.choose_tls(&choice.parse().unwrap()).unwrap();
    let met = match handshake(smdp).await {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    assert_eq!(met.is_some(), refused.is_some(), "{choice}: {met:?}");
    if let (Some(met), Some(refused)) = (met, refused) {
        assert!(met.contains(refused), "{choice}: {met}");
    }
}

#[tokio::test]
async fn a_tls_choice_is_visible_in_what_was_agreed_on() {
    let smdp = smdp();
    let met = async |choice: &str| {
        smdp.choose_tls(&choice.parse().unwrap()).unwrap();
        let stream = handshake(&smdp).await.unwrap();
        let (_, session) = stream.get_ref();
        let chain: Vec<_> = session
            .peer_certificates()
            .unwrap()
            .iter()
            .map(|one| Certificate::parse(one).unwrap())
            .collect();
        (session.protocol_version().unwrap(), chain)
    };
    assert_eq!(met("tls1.2").await.0, ProtocolVersion::TLSv1_2);
    assert_eq!(met("tls1.3").await.0, ProtocolVersion::TLSv1_3);
    assert_eq!(met("with-root").await.1.len(), 2);
    let (_, chain) = met("wrong-role").await;
    assert_eq!(chain[0].roles().collect::<Vec<_>>(), [Role::DpAuth]);
    let (_, chain) = met("wildcard").await;
    assert_eq!(chain[0].dns_names(), ["*.example.com"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_leaves_its_client_waiting() {
    let smdp = smdp();
    smdp.choose_tls(&TlsChoice::Silence).unwrap();
    let minute = Duration::from_secs(60);
    let handshake = tokio::time::timeout(minute, handshake(&smdp));
    assert!(handshake.await.is_err());
    assert_eq!(smdp.counters().handshakes, 0);
}

#[test]
fn a_tls_choice_needs_the_issuers_key_only_when_it_issues_something() {
    let mut config = smdp().config().clone();
    let ci = config.pki.certificate(Role::Ci).unwrap().clone();
    config.pki.insert(Role::Ci, ci, None);
    let smdp = Smdp::new(config).unwrap();
    smdp.choose_tls(&TlsChoice::Tls13).unwrap();
    let error = smdp.choose_tls(&TlsChoice::Expired).unwrap_err();
    assert_eq!(error.to_string(), "the PKI has no ci.key");
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
