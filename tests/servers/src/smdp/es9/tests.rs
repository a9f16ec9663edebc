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

mod checks;
mod issuers;
mod notifications;
mod retries;

const HOST: &str = "smdp.example.com";
const OTHER_EID: &str = "89049032999999999999999999999955";
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
