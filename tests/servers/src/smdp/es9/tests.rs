use std::time::{Duration, SystemTime, UNIX_EPOCH};

use es10_apdu::asn1::{self, Open};
use es10_apdu::es10b::{
    AuthenticateErrorCode, AuthenticateResponseError, AuthenticateResponseOk,
    AuthenticateServerResponse, CancelSessionError, CancelSessionReason, CancelSessionResponseOk,
    CtxParams1, CtxParamsForCommonAuthentication, DeviceCapabilities, DeviceInfo,
    DownloadErrorCode, EuiccCancelSessionSigned, EuiccInfo1, EuiccSigned1, EuiccSigned2,
    PrepareDownloadResponseError, PrepareDownloadResponseOk, ServerSigned1,
};
use es10_apdu::types::{
    self, Challenge, HashCc, Signature, SubjectKeyIdentifier, UiccCapability, VersionType,
};
use rsp_common::certificate::Certificate;
use rsp_common::pki::{CertificateSpec, PkiOptions};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::clock::Clock;
use crate::profile::{Iccid, Profile};
use crate::rsp::random;
use crate::smdp::order::{OrderId, OrderRequest, OrderState};
use crate::smdp::server::tests::Client;
use crate::smdp::{Config, Sequence, Smdp};

const HOST: &str = "smdp.example.com";
const OTHER_EID: &str = "89049032999999999999999999999955";
mod issuers;

const CHALLENGE: [u8; 16] = [0xCC; 16];

/// EUICCInfo2 of the vectors: 512 kB free, usim and milenage among its services.
const EUICC_INFO2: &str = "bf227c810302030082030202028303010000840f8101008204000800008304000020008504\
    067f36c08603090200870302030088020490a916041400000000000000000000000000000000000000\
    00aa1604140000000000000000000000000000000000000000990206c004030100000c0d56452d43542d55502d3030\
    3031";

/// A server over HTTPS and an eUICC that answers as it is told.
struct Rig {
    pki: Pki,
    smdp: Smdp,
    client: Client,
    runtime: Runtime,
    eid: String,
}

impl Rig {
    fn new() -> Self {
        Self::with_pki(Pki::generate(&PkiOptions::default()).unwrap())
    }

    fn with_pki(pki: Pki) -> Self {
        let smdp = Smdp::new(Config::new(HOST, pki.clone())).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            client: runtime.block_on(Client::tls(&smdp)),
            runtime,
            pki,
            smdp,
            eid: PkiOptions::default().eid,
        }
    }

    fn call(&mut self, function: Function, request: Value) -> Result<Members, StatusCode> {
        let request = request.to_string();
        let call = self.client.call(function, &request);
        let (status, body) = self.runtime.block_on(call);
        if status == hyper::StatusCode::NO_CONTENT {
            return Ok(Members::new());
        }
        assert_eq!(status, hyper::StatusCode::OK);
        let mut answer: Members = serde_json::from_slice(&body).unwrap();
        let header = answer.remove("header").unwrap();
        let status = &header["functionExecutionStatus"];
        if status["status"] == "Executed-Success" {
            return Ok(answer);
        }
        assert_eq!((&status["status"], answer.len()), (&json!("Failed"), 0));
        let code = |name: &str| status["statusCodeData"][name].as_str().unwrap();
        let code = format!("{}/{}", code("subjectCode"), code("reasonCode"));
        Err(code.parse().unwrap())
    }

    fn order(&mut self, change: impl FnOnce(&mut OrderRequest)) -> OrderId {
        let profile = Profile::builder(Iccid::nth(1)).size(1500).build();
        let mut request = OrderRequest::with_matching_id(profile, "M-1");
        change(&mut request);
        self.smdp.state().orders.create(request)
    }

    /// Stops the server and starts it again: what it does not keep is gone.
    fn restart(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        self.smdp.state().save(folder.path()).unwrap();
        *self.smdp.state() = State::load(folder.path(), 0).unwrap();
    }

    fn state_of(&self, order: OrderId) -> OrderState {
        self.smdp.state().orders.get(order).unwrap().state()
    }

    fn euicc_info1(&self) -> EuiccInfo1 {
        let issuer = self
            .pki
            .certificate(Role::Ci)
            .unwrap()
            .subject_key_identifier()
            .unwrap();
        let list = vec![SubjectKeyIdentifier::from_octets(issuer).unwrap()];
        EuiccInfo1 {
            svn: VersionType([2, 2, 2]),
            euicc_ci_pk_id_list_for_verification: list.clone().into(),
            euicc_ci_pk_id_list_for_signing: list.into(),
        }
    }

    fn initiate(&mut self, address: &str, info: &EuiccInfo1) -> Result<Members, StatusCode> {
        let request = json!({
            "smdpAddress": address,
            "euiccChallenge": BASE64_STANDARD.encode(CHALLENGE),
            "euiccInfo1": BASE64_STANDARD.encode(asn1::encode(info)),
        });
        self.call(Function::InitiateAuthentication, request)
    }

    /// Opens a session: what the server signed.
    fn session(&mut self) -> ServerSigned1 {
        let answer = self.initiate(HOST, &self.euicc_info1()).unwrap();
        asn1::read(&octets(&answer, "serverSigned1")).unwrap()
    }

    fn proof(&self, server: &ServerSigned1) -> Proof {
        Proof {
            signed: EuiccSigned1 {
                transaction_id: server.transaction_id.clone(),
                server_address: HOST.into(),
                server_challenge: server.server_challenge.clone(),
                euicc_info2: Raw::from_ber(&hex::decode(EUICC_INFO2).unwrap()).unwrap(),
                ctx_params1: context("M-1"),
            },
            key: self.pki.key(Role::Euicc).unwrap().clone(),
            euicc: self.pki.certificate(Role::Euicc).unwrap().clone(),
            eum: self.pki.certificate(Role::Eum).unwrap().clone(),
        }
    }

    fn authenticate(
        &mut self,
        transaction_id: &TransactionId,
        response: &AuthenticateServerResponse,
    ) -> Result<Members, StatusCode> {
        self.call(
            Function::AuthenticateClient,
            request(
                transaction_id,
                "authenticateServerResponse",
                &asn1::encode(response),
            ),
        )
    }

    /// Goes as far as the answer of AuthenticateClient.
    fn authenticated(&mut self) -> (TransactionId, Members) {
        let server = self.session();
        let response = self.proof(&server).response();
        let answer = self
            .authenticate(&server.transaction_id, &response)
            .unwrap();
        (server.transaction_id, answer)
    }

    fn prepare(&self, signed: EuiccSigned2, answer: &Members) -> PrepareDownloadResponse {
        let signed = Raw::new(signed);
        let message = [signed.bytes(), &octets(answer, "smdpSignature2")].concat();
        let key = self.pki.key(Role::Euicc).unwrap();
        PrepareDownloadResponse::DownloadResponseOk(Open(PrepareDownloadResponseOk {
            euicc_signed2: signed,
            euicc_signature2: Signature::new(&key.sign(&message)),
        }))
    }

    fn get_package(
        &mut self,
        transaction_id: &TransactionId,
        response: &PrepareDownloadResponse,
    ) -> Result<Members, StatusCode> {
        self.call(
            Function::GetBoundProfilePackage,
            request(
                transaction_id,
                "prepareDownloadResponse",
                &asn1::encode(response),
            ),
        )
    }

    /// Downloads with this one-time key and hashed confirmation code.
    fn download(&mut self, number: u8, code: Option<&str>) -> Result<Vec<u8>, StatusCode> {
        let (transaction_id, answer) = self.authenticated();
        let signed = signed2(&transaction_id, number, code);
        let response = self.prepare(signed, &answer);
        let answer = self.get_package(&transaction_id, &response)?;
        Ok(octets(&answer, "boundProfilePackage"))
    }

    fn cancel(
        &mut self,
        transaction_id: &TransactionId,
        response: &CancelSessionResponse,
    ) -> Result<Members, StatusCode> {
        self.call(
            Function::CancelSession,
            request(
                transaction_id,
                "cancelSessionResponse",
                &asn1::encode(response),
            ),
        )
    }

    fn cancelling(&self, signed: EuiccCancelSessionSigned) -> CancelSessionResponse {
        let signed = Raw::new(signed);
        let signature = self.pki.key(Role::Euicc).unwrap().sign(signed.bytes());
        CancelSessionResponse::CancelSessionResponseOk(Open(CancelSessionResponseOk {
            euicc_cancel_session_signed: signed,
            euicc_cancel_session_signature: Signature::new(&signature),
        }))
    }

    /// Delivers an installation result of a session, signed by the eUICC.
    fn report(&mut self, transaction_id: &TransactionId, result: &[u8]) {
        self.report_to(&[0x88, 0x37, 0x0A], transaction_id, result);
    }

    /// Delivers an installation result that names this SM-DP+.
    fn report_to(&mut self, owner: &[u8], transaction_id: &TransactionId, result: &[u8]) {
        let data = [
            tlv::encode(0x80, transaction_id.octets()),
            notification_metadata(1),
            tlv::encode(0x06, owner),
            tlv::encode(0xA2, result),
        ];
        let data = tlv::encode(0xBF27, &data.concat());
        let signature = self.pki.key(Role::Euicc).unwrap().sign(&data);
        let result = tlv::encode(0xBF37, &[data, tlv::encode(0x5F37, &signature)].concat());
        self.deliver(&result);
    }

    /// Delivers a notification with this number, signed with this key under this PKI.
    fn notify(&mut self, number: u8, pki: &Pki, key: &PrivateKey) {
        let data = notification_metadata(number);
        let notification = [
            data.clone(),
            tlv::encode(0x5F37, &key.sign(&data)),
            pki.certificate(Role::Euicc).unwrap().der().to_vec(),
            pki.certificate(Role::Eum).unwrap().der().to_vec(),
        ];
        self.deliver(&tlv::encode(0x30, &notification.concat()));
    }

    fn deliver(&mut self, notification: &[u8]) {
        let request = json!({ "pendingNotification": BASE64_STANDARD.encode(notification) });
        self.call(Function::HandleNotification, request).unwrap();
    }

    /// What the server made of the last notification.
    fn last(&self) -> (Verdict, Sequence) {
        let last = self.smdp.notifications().pop().unwrap();
        (last.verdict, last.sequence)
    }
}

fn notification_metadata(number: u8) -> Vec<u8> {
    let metadata = [
        tlv::encode(0x80, &[number]),
        tlv::encode(0x81, &[7, 0x80]),
        tlv::encode(0x0C, HOST.as_bytes()),
    ];
    tlv::encode(0xBF2F, &metadata.concat())
}

/// The parts of an AuthenticateServerResponse.
struct Proof {
    signed: EuiccSigned1,
    key: PrivateKey,
    euicc: Certificate,
    eum: Certificate,
}

impl Proof {
    fn response(self) -> AuthenticateServerResponse {
        let signed = Raw::new(self.signed);
        let signature = self.key.sign(signed.bytes());
        let certificate =
            |certificate: &Certificate| types::Certificate::from_ber(certificate.der()).unwrap();
        AuthenticateServerResponse::AuthenticateResponseOk(Open(AuthenticateResponseOk {
            euicc_signed1: signed,
            euicc_signature1: Signature::new(&signature),
            euicc_certificate: certificate(&self.euicc),
            eum_certificate: certificate(&self.eum),
        }))
    }
}

fn context(matching_id: &str) -> CtxParams1 {
    CtxParams1::CtxParamsForCommonAuthentication(Open(CtxParamsForCommonAuthentication {
        matching_id: Some(matching_id.into()),
        device_info: Open(DeviceInfo {
            tac: vec![0x35; 4].into(),
            device_capabilities: Open(DeviceCapabilities::default()),
            imei: None,
        }),
    }))
}

fn signed2(transaction_id: &TransactionId, number: u8, code: Option<&str>) -> EuiccSigned2 {
    let point = PrivateKey::from_scalar(&[number; 32])
        .unwrap()
        .public_key()
        .to_point();
    let hash_cc = code.map(|code| {
        let hash = [Sha256::digest(code).as_slice(), transaction_id.octets()].concat();
        HashCc::from_octets(&Sha256::digest(hash)).unwrap()
    });
    EuiccSigned2 {
        transaction_id: transaction_id.clone(),
        euicc_otpk: OneTimeKey::from_octets(&point).unwrap(),
        hash_cc,
    }
}

fn request(transaction_id: &TransactionId, member: &str, value: &[u8]) -> Value {
    json!({ "transactionId": transaction_id.to_string(), member: BASE64_STANDARD.encode(value) })
}

fn octets(answer: &Members, member: &str) -> Vec<u8> {
    BASE64_STANDARD
        .decode(answer[member].as_str().unwrap())
        .unwrap()
}

fn unknown_transaction() -> TransactionId {
    TransactionId::from_octets(&random::<16>()).unwrap()
}

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
fn a_request_sent_again_after_its_answer_was_lost_gets_the_same_answer() {
    let mut rig = Rig::new();
    let order = rig.order(|_| {});
    let server = rig.session();
    let response = rig.proof(&server).response();
    let first = rig.authenticate(&server.transaction_id, &response).unwrap();
    let second = rig.authenticate(&server.transaction_id, &response).unwrap();
    assert_eq!(first, second);
    let response = rig.prepare(signed2(&server.transaction_id, 1, None), &first);
    let first = rig.get_package(&server.transaction_id, &response).unwrap();
    let second = rig.get_package(&server.transaction_id, &response).unwrap();
    assert_eq!(first, second);
    assert_eq!(rig.smdp.state().orders.get(order).unwrap().attempts(), 1);
}

#[test]
fn a_retry_with_the_kept_one_time_key_gets_the_kept_package_in_a_new_frame() {
    let mut rig = Rig::new();
    rig.order(|_| {});
    let (_, answer) = rig.authenticated();
    let signed: SmdpSigned2 = asn1::read(&octets(&answer, "smdpSigned2")).unwrap();
    assert_eq!(signed.bpp_euicc_otpk, None);
    let first = rig.download(1, None).unwrap();
    let (_, answer) = rig.authenticated();
    let signed: SmdpSigned2 = asn1::read(&octets(&answer, "smdpSigned2")).unwrap();
    assert_eq!(
        signed.bpp_euicc_otpk.unwrap(),
        signed2(&unknown_transaction(), 1, None).euicc_otpk
    );
    let second = rig.download(1, None).unwrap();
    let pieces = |package: &[u8]| {
        let package = tlv::Tlv::exactly(package).unwrap();
        (
            package.child(0xBF23).unwrap().encoding.to_vec(),
            package.child(0xA3).unwrap().encoding.to_vec(),
        )
    };
    assert_ne!(pieces(&first).0, pieces(&second).0);
    assert_eq!(pieces(&first).1, pieces(&second).1);
    let third = rig.download(2, None).unwrap();
    assert_ne!(pieces(&first).1, pieces(&third).1);
}

#[test]
fn a_retry_after_a_restart_of_the_server_gets_the_kept_package_in_a_new_frame() {
    let mut rig = Rig::new();
    let order = rig.order(|_| {});
    let first = rig.download(1, None).unwrap();
    rig.restart();
    let (_, answer) = rig.authenticated();
    let signed: SmdpSigned2 = asn1::read(&octets(&answer, "smdpSigned2")).unwrap();
    assert_eq!(
        signed.bpp_euicc_otpk.unwrap(),
        signed2(&unknown_transaction(), 1, None).euicc_otpk
    );
    let second = rig.download(1, None).unwrap();
    let (first, second) = (
        tlv::Tlv::exactly(&first).unwrap(),
        tlv::Tlv::exactly(&second).unwrap(),
    );
    for protected in [0xA0, 0xA1, 0xA3] {
        assert_eq!(
            first.child(protected).unwrap().encoding,
            second.child(protected).unwrap().encoding
        );
    }
    let channels = [first, second].map(|package| package.child(0xBF23).unwrap().contents.to_vec());
    assert_ne!(channels[0], channels[1]);
    assert_eq!(rig.smdp.state().orders.get(order).unwrap().attempts(), 2);
}

#[test]
fn a_result_that_comes_again_after_a_restart_is_verified_and_changes_nothing() {
    let mut rig = Rig::new();
    let order = rig.order(|request| request.max_downloads = Some(2));
    let (transaction_id, answer) = rig.authenticated();
    let response = rig.prepare(signed2(&transaction_id, 1, None), &answer);
    rig.get_package(&transaction_id, &response).unwrap();
    let aid = [tlv::encode(0x4F, &[0xA0; 16]), tlv::encode(0x04, &[])].concat();
    let success = tlv::encode(0xA0, &aid);
    rig.restart();
    rig.report(&transaction_id, &success);
    rig.restart();
    rig.report(&transaction_id, &success);
    assert_eq!(rig.smdp.state().notifications[0].verdict, Verdict::Verified);
    assert_eq!(rig.smdp.state().orders.get(order).unwrap().downloads(), 1);
}

#[test]
fn what_another_session_used_up_is_refused_to_an_euicc_already_admitted() {
    let mut rig = Rig::new();
    let order = rig.order(|_| {});
    let (transaction_id, answer) = rig.authenticated();
    let response = rig.prepare(signed2(&transaction_id, 1, None), &answer);
    rig.smdp.state().orders.get_mut(order).unwrap().withdraw();
    assert_eq!(
        rig.get_package(&transaction_id, &response),
        Err(StatusCode::MATCHING_ID_REFUSED)
    );
    assert_eq!(rig.state_of(order), OrderState::Unavailable);
}

#[test]
fn an_order_that_expires_in_a_session_is_refused_when_the_package_is_asked_for() {
    let time = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1000));
    let mut rig = Rig::new();
    let now = time.clone();
    let now =
        move || UNIX_EPOCH + Duration::from_secs(now.load(std::sync::atomic::Ordering::Relaxed));
    rig.smdp.state().orders.set_clock(&Clock::new(now));
    rig.order(|request| request.expires = Some(UNIX_EPOCH + Duration::from_secs(1001)));
    let (transaction_id, answer) = rig.authenticated();
    let response = rig.prepare(signed2(&transaction_id, 1, None), &answer);
    time.store(1001, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(
        rig.get_package(&transaction_id, &response),
        Err(StatusCode::ORDER_EXPIRED)
    );
}

#[test]
fn the_metadata_offered_is_the_metadata_in_the_package() {
    let mut rig = Rig::new();
    rig.order(|_| {});
    let (transaction_id, answer) = rig.authenticated();
    let offered = octets(&answer, "profileMetadata");
    let response = rig.prepare(signed2(&transaction_id, 1, None), &answer);
    let answer = rig.get_package(&transaction_id, &response).unwrap();
    let package = octets(&answer, "boundProfilePackage");
    let package = tlv::Tlv::exactly(&package).unwrap();
    let sequence = package.child(0xA1).unwrap();
    let stored = sequence.child(0x88).unwrap().contents;
    assert_eq!(stored[..stored.len() - 8], offered);
}

#[test]
fn an_installation_result_closes_the_order_once_and_only_when_its_signature_is_right() {
    let success = tlv::encode(
        0xA0,
        &[tlv::encode(0x4F, &[0xA0; 16]), tlv::encode(0x04, &[])].concat(),
    );
    let failure = |reason: u8| {
        tlv::encode(
            0xA1,
            &[tlv::encode(0x80, &[5]), tlv::encode(0x81, &[reason])].concat(),
        )
    };
    for (result, state) in [
        (success.clone(), OrderState::Installed),
        (failure(12), OrderState::Error),
        (failure(10), OrderState::Downloaded),
    ] {
        let mut rig = Rig::new();
        let order = rig.order(|_| {});
        let (transaction_id, answer) = rig.authenticated();
        let response = rig.prepare(signed2(&transaction_id, 1, None), &answer);
        rig.get_package(&transaction_id, &response).unwrap();
        assert_eq!(rig.state_of(order), OrderState::Downloaded);
        rig.report(&unknown_transaction(), &result);
        assert_eq!(rig.state_of(order), OrderState::Downloaded);
        rig.report(&transaction_id, &result);
        rig.report(&transaction_id, &success);
        assert_eq!(rig.state_of(order), state);
        let notifications = rig.smdp.notifications();
        let verdicts: Vec<_> = notifications.iter().map(|one| &one.verdict).collect();
        assert_eq!(
            verdicts,
            [
                &Verdict::UnknownSession,
                &Verdict::Verified,
                &Verdict::Verified
            ]
        );
    }
}

#[test]
fn an_installation_result_for_another_server_changes_nothing() {
    let mut rig = Rig::new();
    let order = rig.order(|_| {});
    let (transaction_id, _) = rig.authenticated();
    let failure = tlv::encode(0xA1, &[0x80, 1, 5, 0x81, 1, 12]);
    rig.report_to(&[0x88, 0x37, 0x0B], &transaction_id, &failure);
    assert_eq!(rig.last(), (Verdict::WrongOwner, Sequence::Unknown));
    assert_eq!(rig.state_of(order), OrderState::Released);
}

#[test]
fn notifications_are_to_come_in_rising_order_and_once() {
    let mut rig = Rig::new();
    let pki = rig.pki.clone();
    let key = pki.key(Role::Euicc).unwrap();
    for (number, sequence) in [
        (2, Sequence::Rising),
        (4, Sequence::Rising),
        (4, Sequence::Repeated),
        (3, Sequence::OutOfOrder),
        (5, Sequence::Rising),
    ] {
        rig.notify(number, &pki, key);
        assert_eq!(rig.last(), (Verdict::Verified, sequence), "{number}");
    }
}

#[test]
fn each_euicc_counts_its_notifications_itself_and_only_true_ones_count() {
    let mut rig = Rig::new();
    let pki = rig.pki.clone();
    let key = pki.key(Role::Euicc).unwrap();
    rig.notify(9, &pki, &PrivateKey::generate().unwrap());
    assert_eq!(rig.last(), (Verdict::BadSignature, Sequence::Unknown));
    rig.notify(8, &pki, key);
    assert_eq!(rig.last(), (Verdict::Verified, Sequence::Rising));

    let mut other = pki.clone();
    let euicc = CertificateSpec::euicc(OTHER_EID, SystemTime::now());
    other.issue(Role::Euicc, Role::Eum, &euicc).unwrap();
    let other_key = other.key(Role::Euicc).unwrap().clone();
    rig.notify(1, &other, &other_key);
    assert_eq!(rig.last(), (Verdict::Verified, Sequence::Rising));

    let stranger = Pki::generate(&PkiOptions::default()).unwrap();
    let own = stranger.key(Role::Euicc).unwrap().clone();
    rig.notify(9, &stranger, &own);
    let (verdict, sequence) = rig.last();
    assert!(matches!(verdict, Verdict::BadCertificate(_)), "{verdict:?}");
    assert_eq!(sequence, Sequence::Unknown);
}

#[test]
fn a_forged_installation_result_is_kept_and_changes_nothing() {
    let mut rig = Rig::new();
    let order = rig.order(|_| {});
    let (transaction_id, _) = rig.authenticated();
    let key = PrivateKey::generate().unwrap();
    let certificate = rig.pki.certificate(Role::Euicc).unwrap().clone();
    rig.pki.insert(Role::Euicc, certificate, Some(key));
    rig.report(
        &transaction_id,
        &tlv::encode(0xA1, &[0x80, 1, 5, 0x81, 1, 12]),
    );
    assert_eq!(rig.state_of(order), OrderState::Released);
    assert_eq!(
        rig.smdp.state().notifications[0].verdict,
        Verdict::BadSignature
    );
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
