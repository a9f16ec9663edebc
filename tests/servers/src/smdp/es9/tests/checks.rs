//! Which of several faults is reported.

use super::*;

#[test]
fn initiate_authentication_reports_the_first_of_several_faults() {
    let mut rig = Rig::new();
    let right = rig.euicc_info1();
    let mut info = right.clone();
    info.euicc_ci_pk_id_list_for_verification = vec![].into();
    info.euicc_ci_pk_id_list_for_signing = vec![].into();
    info.svn = VersionType([1, 9, 9]);
    let refused =
        |rig: &mut Rig, address: &str, info: &EuiccInfo1| rig.initiate(address, info).unwrap_err();
    assert_eq!(
        refused(&mut rig, "other.example.com", &info),
        StatusCode::ADDRESS_REFUSED
    );
    assert_eq!(
        refused(&mut rig, HOST, &info),
        StatusCode::NO_VERIFICATION_ISSUER
    );
    info.euicc_ci_pk_id_list_for_verification = right.euicc_ci_pk_id_list_for_verification.clone();
    assert_eq!(
        refused(&mut rig, HOST, &info),
        StatusCode::NO_SIGNING_ISSUER
    );
    info.euicc_ci_pk_id_list_for_signing = right.euicc_ci_pk_id_list_for_signing.clone();
    assert_eq!(
        refused(&mut rig, HOST, &info),
        StatusCode::VERSION_UNSUPPORTED
    );
    for address in [HOST, "SMDP.Example.COM", "smdp.example.com:8443"] {
        rig.initiate(address, &right).unwrap();
    }
}

#[test]
fn what_the_server_signs_first_verifies_and_names_it() {
    let mut rig = Rig::new();
    let answer = rig.initiate(HOST, &rig.euicc_info1()).unwrap();
    let certificate = Certificate::parse(&octets(&answer, "serverCertificate")).unwrap();
    let (signed, signature) = (
        octets(&answer, "serverSigned1"),
        octets(&answer, "serverSignature1"),
    );
    assert_eq!(signature[..3], [0x5F, 0x37, 0x40]);
    assert!(
        certificate
            .public_key()
            .unwrap()
            .verifies(&signed, &signature[3..])
    );
    let signed: ServerSigned1 = asn1::read(&signed).unwrap();
    assert_eq!(signed.euicc_challenge.octets(), CHALLENGE);
    assert_eq!(signed.server_address.to_string(), HOST);
    assert_eq!(answer["transactionId"], signed.transaction_id.to_string());
    assert_eq!(octets(&answer, "euiccCiPKIdToBeUsed")[..2], [0x04, 0x14]);
}

/// What can be wrong with AuthenticateClient, in the order it is tested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wrong {
    Transaction,
    Issuer,
    EumExpired,
    EumRole,
    EuiccExpired,
    EuiccRange,
    Signature,
    TransactionInside,
    Challenge,
    MatchingId,
    Eid,
    NotReleased,
    Expired,
    Attempts,
    Services,
    Memory,
}

impl Wrong {
    const ALL: [(Self, StatusCode); 16] = [
        (Self::Transaction, StatusCode::UNKNOWN_TRANSACTION),
        (Self::Issuer, StatusCode::UNKNOWN_ISSUER),
        (Self::EumExpired, StatusCode::EUM_CERTIFICATE_EXPIRED),
        (Self::EumRole, StatusCode::EUM_CERTIFICATE_INVALID),
        (Self::EuiccExpired, StatusCode::EUICC_CERTIFICATE_EXPIRED),
        (Self::EuiccRange, StatusCode::EUICC_CERTIFICATE_INVALID),
        (Self::Signature, StatusCode::EUICC_VERIFICATION_FAILED),
        (Self::TransactionInside, StatusCode::UNKNOWN_TRANSACTION),
        (Self::Challenge, StatusCode::EUICC_VERIFICATION_FAILED),
        (Self::MatchingId, StatusCode::MATCHING_ID_REFUSED),
        (Self::Eid, StatusCode::EID_REFUSED),
        (Self::NotReleased, StatusCode::NOT_RELEASED),
        (Self::Expired, StatusCode::ORDER_EXPIRED),
        (Self::Attempts, StatusCode::DOWNLOAD_TRIES_EXCEEDED),
        (Self::Services, StatusCode::NOT_ELIGIBLE),
        (Self::Memory, StatusCode::INSUFFICIENT_MEMORY),
    ];
}

/// AuthenticateClient with all of these faults at once.
fn authenticate_with(wrongs: &[(Wrong, StatusCode)]) -> Result<Members, StatusCode> {
    let has = |wrong| wrongs.iter().any(|(one, _)| *one == wrong);
    let mut rig = Rig::new();
    let eid = rig.eid.clone();
    rig.order(|order| {
        order.eid = Some(if has(Wrong::Eid) {
            OTHER_EID.to_owned()
        } else {
            eid.clone()
        });
        order.released = !has(Wrong::NotReleased);
        order.expires = has(Wrong::Expired).then_some(UNIX_EPOCH);
        if has(Wrong::Attempts) {
            order.max_attempts = 0;
        }
        if has(Wrong::Memory) {
            order.profile = Profile::builder(Iccid::nth(1)).size(600_000).build();
        }
    });
    let server = rig.session();
    let mut proof = rig.proof(&server);
    (proof.eum, proof.euicc, proof.key) = certificates(&rig, &eid, has);
    let signed = &mut proof.signed;
    if has(Wrong::TransactionInside) {
        signed.transaction_id = unknown_transaction();
    }
    if has(Wrong::Challenge) {
        signed.server_challenge = Challenge::from_octets(&[0; 16]).unwrap();
    }
    if has(Wrong::MatchingId) {
        signed.ctx_params1 = context("M-2");
    }
    if has(Wrong::Services) {
        let mut info = signed.euicc_info2.clone().into_value();
        info.uicc_capability = UiccCapability::default();
        signed.euicc_info2 = Raw::new(info);
    }
    if has(Wrong::Signature) {
        proof.key = PrivateKey::generate().unwrap();
    }
    let transaction_id = match has(Wrong::Transaction) {
        true => unknown_transaction(),
        false => server.transaction_id,
    };
    rig.authenticate(&transaction_id, &proof.response())
}

fn certificates(
    rig: &Rig,
    eid: &str,
    has: impl Fn(Wrong) -> bool,
) -> (Certificate, Certificate, PrivateKey) {
    let now = SystemTime::now();
    let long_ago = |spec: &mut CertificateSpec| {
        spec.not_before = UNIX_EPOCH + Duration::from_secs(1_262_304_000);
        spec.not_after = spec.not_before + Duration::from_secs(86_400);
    };
    let mut eum = CertificateSpec::eum(&eid[..8], now);
    if has(Wrong::EumExpired) {
        long_ago(&mut eum);
    }
    if has(Wrong::EumRole) {
        eum.policies = vec![Role::DpAuth.policy().to_owned()];
    }
    let outside = "89033123123451234512345678901224";
    let mut euicc = CertificateSpec::euicc(if has(Wrong::EuiccRange) { outside } else { eid }, now);
    if has(Wrong::EuiccExpired) {
        long_ago(&mut euicc);
    }
    let other = Pki::generate(&PkiOptions::default()).unwrap();
    let pki = if has(Wrong::Issuer) { &other } else { &rig.pki };
    let (eum_key, key) = (
        PrivateKey::generate().unwrap(),
        PrivateKey::generate().unwrap(),
    );
    let (ci, ci_key) = (
        pki.certificate(Role::Ci).unwrap(),
        pki.key(Role::Ci).unwrap(),
    );
    let eum = eum.issue(&eum_key.public_key(), ci, ci_key);
    let euicc = euicc.issue(&key.public_key(), &eum, &eum_key);
    (eum, euicc, key)
}

#[test]
fn authenticate_client_reports_the_first_of_several_faults() {
    for (place, (wrong, status)) in Wrong::ALL.iter().enumerate() {
        let refused = authenticate_with(&Wrong::ALL[place..]).unwrap_err();
        assert_eq!(refused, *status, "{wrong:?} and all behind it");
        let refused = authenticate_with(&Wrong::ALL[place..=place]).unwrap_err();
        assert_eq!(refused, *status, "{wrong:?} alone");
    }
    authenticate_with(&[]).unwrap();
}

#[test]
fn an_eum_certificate_that_names_no_issuer_is_invalid_and_not_of_an_unknown_issuer() {
    let mut rig = Rig::new();
    let server = rig.session();
    let mut proof = rig.proof(&server);
    let mut spec = CertificateSpec::eum("89049032", SystemTime::now());
    spec.without_authority_key_identifier = true;
    let (ci, key) = (
        rig.pki.certificate(Role::Ci).unwrap(),
        rig.pki.key(Role::Ci).unwrap(),
    );
    proof.eum = spec.issue(&key.public_key(), ci, key);
    let refused = rig
        .authenticate(&server.transaction_id, &proof.response())
        .unwrap_err();
    assert_eq!(refused, StatusCode::EUM_CERTIFICATE_INVALID);
}

#[test]
fn every_error_the_euicc_reports_ends_the_session_as_not_verified() {
    let mut rig = Rig::new();
    rig.order(|_| {});
    let transaction_id = rig.session().transaction_id;
    let error =
        AuthenticateServerResponse::AuthenticateResponseError(Open(AuthenticateResponseError {
            transaction_id: transaction_id.clone(),
            authenticate_error_code: AuthenticateErrorCode::INVALID_SIGNATURE,
        }));
    let refused = rig.authenticate(&transaction_id, &error);
    assert_eq!(refused, Err(StatusCode::EUICC_VERIFICATION_FAILED));
    let again = rig.authenticate(&transaction_id, &error);
    assert_eq!(again, Err(StatusCode::UNKNOWN_TRANSACTION));

    let (transaction_id, _) = rig.authenticated();
    let error =
        PrepareDownloadResponse::DownloadResponseError(Open(PrepareDownloadResponseError {
            transaction_id: transaction_id.clone(),
            download_error_code: DownloadErrorCode::INVALID_SIGNATURE,
        }));
    let refused = rig.get_package(&transaction_id, &error);
    assert_eq!(refused, Err(StatusCode::EUICC_VERIFICATION_FAILED));

    let (transaction_id, _) = rig.authenticated();
    let error = CancelSessionResponse::CancelSessionResponseError(
        CancelSessionError::INVALID_TRANSACTION_ID,
    );
    let refused = rig.cancel(&transaction_id, &error);
    assert_eq!(refused, Err(StatusCode::EUICC_VERIFICATION_FAILED));
}

#[test]
fn get_bound_profile_package_reports_the_first_of_several_faults() {
    let mut rig = Rig::new();
    let order = rig.order(|order| {
        order.confirmation_code = Some("1234".to_owned());
        order.max_confirmation_attempts = 2;
        order.rebinding = false;
    });
    let (transaction_id, answer) = rig.authenticated();
    let signed = signed2(&unknown_transaction(), 1, None);
    let mut response = rig.prepare(signed, &answer);
    if let PrepareDownloadResponse::DownloadResponseOk(ok) = &mut response {
        ok.0.euicc_signature2 = Signature::new(&[1; 64]);
    }
    let unknown = Err(StatusCode::UNKNOWN_TRANSACTION);
    assert_eq!(rig.get_package(&unknown_transaction(), &response), unknown);
    assert_eq!(rig.get_package(&transaction_id, &response), unknown);

    let (transaction_id, answer) = rig.authenticated();
    let mut response = rig.prepare(signed2(&transaction_id, 1, None), &answer);
    if let PrepareDownloadResponse::DownloadResponseOk(ok) = &mut response {
        ok.0.euicc_signature2 = Signature::new(&[1; 64]);
    }
    let refused = rig.get_package(&transaction_id, &response);
    assert_eq!(refused, Err(StatusCode::EUICC_VERIFICATION_FAILED));

    assert_eq!(
        rig.download(1, None),
        Err(StatusCode::CONFIRMATION_CODE_MISSING)
    );
    assert_eq!(
        rig.download(1, Some("4321")),
        Err(StatusCode::CONFIRMATION_CODE_REFUSED)
    );
    rig.download(1, Some("1234")).unwrap();
    assert_eq!(
        rig.download(2, Some("1234")),
        Err(StatusCode::REBINDING_REFUSED)
    );
    let closed = rig.download(2, Some("4321"));
    assert_eq!(closed, Err(StatusCode::CONFIRMATION_CODE_TRIES_EXCEEDED));
    assert_eq!(rig.state_of(order), OrderState::Error);
}

#[test]
fn cancel_session_reports_the_first_of_several_faults() {
    let mut rig = Rig::new();
    let order = rig.order(|_| {});
    let signed = |transaction_id: &TransactionId, oid: &str| EuiccCancelSessionSigned {
        transaction_id: transaction_id.clone(),
        smdp_oid: oid.parse().unwrap(),
        reason: CancelSessionReason::END_USER_REJECTION,
    };
    let (transaction_id, _) = rig.authenticated();
    let mut response = rig.cancelling(signed(&unknown_transaction(), "2.999.11"));
    if let CancelSessionResponse::CancelSessionResponseOk(ok) = &mut response {
        ok.0.euicc_cancel_session_signature = Signature::new(&[1; 64]);
    }
    let unknown = Err(StatusCode::UNKNOWN_TRANSACTION);
    assert_eq!(rig.cancel(&unknown_transaction(), &response), unknown);
    let refused = rig.cancel(&transaction_id, &response);
    assert_eq!(refused, Err(StatusCode::EUICC_VERIFICATION_FAILED));

    let (transaction_id, _) = rig.authenticated();
    let response = rig.cancelling(signed(&unknown_transaction(), "2.999.11"));
    assert_eq!(
        rig.cancel(&transaction_id, &response),
        Err(StatusCode::OID_MISMATCH)
    );

    let (transaction_id, _) = rig.authenticated();
    let response = rig.cancelling(signed(&unknown_transaction(), "2.999.10"));
    assert_eq!(rig.cancel(&transaction_id, &response), unknown);
    assert_eq!(rig.state_of(order), OrderState::Released);

    let (transaction_id, _) = rig.authenticated();
    let response = rig.cancelling(signed(&transaction_id, "2.999.10"));
    rig.cancel(&transaction_id, &response).unwrap();
    assert_eq!(rig.state_of(order), OrderState::Error);
    assert_eq!(rig.cancel(&transaction_id, &response), unknown);
}

#[test]
fn unreadable_input_is_told_apart_from_missing_input() {
    let mut rig = Rig::new();
    let missing = rig.call(
        Function::InitiateAuthentication,
        json!({ "smdpAddress": HOST }),
    );
    assert_eq!(missing, Err(StatusCode::MISSING_INPUT));
    let unreadable = json!({
        "smdpAddress": HOST, "euiccChallenge": "AAAA", "euiccInfo1": "not base64",
    });
    let unreadable = rig.call(Function::InitiateAuthentication, unreadable);
    assert_eq!(unreadable, Err(StatusCode::INVALID_INPUT));
    let short = json!({
        "smdpAddress": HOST, "euiccChallenge": "AAAA",
        "euiccInfo1": BASE64_STANDARD.encode(asn1::encode(&rig.euicc_info1())),
    });
    assert_eq!(
        rig.call(Function::InitiateAuthentication, short),
        Err(StatusCode::INVALID_INPUT)
    );
    let garbage = json!({ "pendingNotification": "AAAA" });
    rig.call(Function::HandleNotification, garbage).unwrap();
    assert_eq!(
        rig.smdp.state().notifications[0].verdict,
        Verdict::Unreadable
    );
}
