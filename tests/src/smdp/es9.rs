//! The five ES9+ functions.
//!
//! SGP.22 v2.5 section 5.6. Checks come in a fixed order so that of several faults the same one is
//! always reported.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_STANDARD};
use es10_apdu::{
    asn1::{Extensible, Raw},
    es10b::{
        AuthenticateResponseOk, AuthenticateServerResponse, CancelSessionResponse, CtxParams1,
        EuiccInfo1, EuiccInfo2, FinalResult, PendingNotification, PrepareDownloadResponse,
        ServerSigned1, SmdpSigned2,
    },
    tlv,
    types::{Challenge, OneTimeKey, SubjectKeyIdentifier, TransactionId, VersionType},
};
use serde_json::{Map, Value, json};
use sim_card_emulator::{
    bsp::BspKeys,
    certificate::{Certificate, CertificateError, Role},
    key::{PrivateKey, PublicKey},
    pki::{Pki, PkiError},
};

use super::{
    bpp::{Binding, BindingRequest},
    eligibility,
    faults::Fault,
    notification::{self, Verdict},
    order::{Delivery, Order},
    random,
    session::{Client, Session},
    status::StatusCode,
    store::State,
};

/// A function of ES9+.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Function {
    /// ES9+.InitiateAuthentication, SGP.22 v2.5 section 5.6.1.
    InitiateAuthentication,
    /// ES9+.AuthenticateClient, SGP.22 v2.5 section 5.6.3.
    AuthenticateClient,
    /// ES9+.GetBoundProfilePackage, SGP.22 v2.5 section 5.6.2.
    GetBoundProfilePackage,
    /// ES9+.CancelSession, SGP.22 v2.5 section 5.6.5.
    CancelSession,
    /// ES9+.HandleNotification, SGP.22 v2.5 section 5.6.4.
    HandleNotification,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::InitiateAuthentication,
        Self::AuthenticateClient,
        Self::GetBoundProfilePackage,
        Self::CancelSession,
        Self::HandleNotification,
    ];

    /// Its name in the URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::InitiateAuthentication => "initiateAuthentication",
            Self::AuthenticateClient => "authenticateClient",
            Self::GetBoundProfilePackage => "getBoundProfilePackage",
            Self::CancelSession => "cancelSession",
            Self::HandleNotification => "handleNotification",
        }
    }

    /// The function behind a path.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let name = path.strip_prefix("/gsma/rsp2/es9plus/")?;
        Self::ALL
            .into_iter()
            .find(|function| function.name() == name)
    }
}

/// The members of a successful answer besides its header.
pub(super) type Members = Map<String, Value>;

/// One call of a function.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) pki: &'a Pki,
    pub(super) host_name: &'a str,
    pub(super) check_eligibility: bool,
    pub(super) fault: Option<&'a Fault>,
    pub(super) state: &'a mut State,
}

impl Call<'_> {
    /// Executes a function; whatever is refused ends its session.
    pub(super) fn execute(
        &mut self,
        function: Function,
        request: Value,
    ) -> Result<Members, StatusCode> {
        let fields = Fields(&request);
        if matches!(function, Function::InitiateAuthentication) {
            return self.initiate_authentication(&fields);
        }
        if matches!(function, Function::HandleNotification) {
            return self.handle_notification(&fields).map(|()| Members::new());
        }
        let transaction_id = fields.transaction_id()?;
        let session = self.session(&transaction_id)?;
        if let Some(Value::Object(answer)) = session.repeated(function, &request) {
            return Ok(answer);
        }
        let result = match function {
            Function::AuthenticateClient => self.authenticate_client(&transaction_id, &fields),
            Function::GetBoundProfilePackage => {
                self.bound_profile_package(&transaction_id, &fields)
            }
            _ => self.cancel_session(&transaction_id, &fields),
        };
        match &result {
            Ok(answer) => {
                if let Ok(session) = self.session(&transaction_id) {
                    session.answered(function, request, Value::Object(answer.clone()));
                }
            }
            Err(_) => self.state.sessions.close(&transaction_id),
        }
        result
    }

    fn initiate_authentication(&mut self, fields: &Fields<'_>) -> Result<Members, StatusCode> {
        let address = fields.text("smdpAddress")?;
        let challenge = fields.octets("euiccChallenge")?;
        let info: Raw<EuiccInfo1> = fields.ber("euiccInfo1")?;
        if !is_host(address, self.host_name) {
            return Err(StatusCode::ADDRESS_REFUSED);
        }
        let certificate = self.certificate(Role::DpAuth)?;
        let issuer = certificate.authority_key_identifier().unwrap_or_default();
        let knows = |list: &[SubjectKeyIdentifier]| list.iter().any(|id| id.octets() == issuer);
        if !knows(&info.euicc_ci_pk_id_list_for_verification) {
            return Err(StatusCode::NO_VERIFICATION_ISSUER);
        }
        if !knows(&info.euicc_ci_pk_id_list_for_signing) {
            return Err(StatusCode::NO_SIGNING_ISSUER);
        }
        if info.svn < VersionType(LOWEST_SVN) {
            return Err(StatusCode::VERSION_UNSUPPORTED);
        }
        let session = Session::new(random(), random());
        let server_address = match self.fault {
            Some(Fault::ServerAddress(other)) => other.as_str(),
            _ => self.host_name,
        };
        let euicc_challenge = match self.fault {
            Some(Fault::EuiccChallenge) => random::<16>().to_vec(),
            _ => challenge,
        };
        let signed = Raw::new(ServerSigned1 {
            transaction_id: TransactionId::from_octets(&session.transaction_id)
                .map_err(|_| StatusCode::INVALID_INPUT)?,
            euicc_challenge: Challenge::from_octets(&euicc_challenge)
                .map_err(|_| StatusCode::INVALID_INPUT)?,
            server_address: server_address.into(),
            server_challenge: Challenge::from_octets(&session.server_challenge)
                .map_err(|_| StatusCode::INVALID_INPUT)?,
        });
        let signature = tlv::encode(0x5F37, &self.key(Role::DpAuth)?.sign(signed.bytes()));
        let answer = members([
            ("transactionId", hex::encode_upper(session.transaction_id)),
            ("serverSigned1", BASE64_STANDARD.encode(signed.bytes())),
            ("serverSignature1", BASE64_STANDARD.encode(signature)),
            (
                "euiccCiPKIdToBeUsed",
                BASE64_STANDARD.encode(tlv::encode(0x04, issuer)),
            ),
            (
                "serverCertificate",
                BASE64_STANDARD.encode(certificate.der()),
            ),
        ]);
        self.state.sessions.open(session);
        Ok(answer)
    }

    fn authenticate_client(
        &mut self,
        transaction_id: &[u8],
        fields: &Fields<'_>,
    ) -> Result<Members, StatusCode> {
        let response: Raw<AuthenticateServerResponse> = fields.ber("authenticateServerResponse")?;
        let response = match response.into_value() {
            AuthenticateServerResponse::AuthenticateResponseOk(ok) => ok.0,
            AuthenticateServerResponse::AuthenticateResponseError(error) => {
                tracing::info!(error = %error.authenticate_error_code, "the eUICC refused us");
                return Err(StatusCode::EUICC_VERIFICATION_FAILED);
            }
        };
        let (eid, key) = self.verify_euicc(&response)?;
        let signed = &response.euicc_signed1;
        if !key.verifies(signed.bytes(), response.euicc_signature1.contents()) {
            return Err(StatusCode::EUICC_VERIFICATION_FAILED);
        }
        if signed.transaction_id.octets() != transaction_id {
            return Err(StatusCode::UNKNOWN_TRANSACTION);
        }
        if signed.server_challenge.octets() != self.session(transaction_id)?.server_challenge {
            return Err(StatusCode::EUICC_VERIFICATION_FAILED);
        }
        let CtxParams1::CtxParamsForCommonAuthentication(context) = &signed.ctx_params1;
        let matching_id = context.matching_id.as_ref().map(ToString::to_string);
        let order = self
            .state
            .orders
            .find(&matching_id.unwrap_or_default(), &eid)?;
        order.admit(&eid)?;
        if self.check_eligibility {
            eligible(order, &signed.euicc_info2)?;
        }
        order.remember(Delivery::new(transaction_id, &key));
        let signed_session = session_to_sign(self.fault, transaction_id);
        let signed2 = Raw::new(SmdpSigned2 {
            transaction_id: TransactionId::from_octets(&signed_session)
                .map_err(|_| StatusCode::INVALID_INPUT)?,
            cc_required_flag: order.requires_confirmation_code(),
            bpp_euicc_otpk: order
                .kept_euicc_otpk(&eid)
                .and_then(|otpk| OneTimeKey::from_octets(otpk).ok()),
        });
        let (order, metadata) = (order.id(), order.profile().metadata.to_der(self.host_name));
        let message = [signed2.bytes(), response.euicc_signature1.bytes()].concat();
        let signature = tlv::encode(0x5F37, &self.key(Role::DpPb)?.sign(&message));
        let answer = members([
            ("transactionId", hex::encode_upper(transaction_id)),
            ("profileMetadata", BASE64_STANDARD.encode(metadata)),
            ("smdpSigned2", BASE64_STANDARD.encode(signed2.bytes())),
            ("smdpSignature2", BASE64_STANDARD.encode(&signature)),
            (
                "smdpCertificate",
                BASE64_STANDARD.encode(self.certificate(Role::DpPb)?.der()),
            ),
        ]);
        tracing::info!(%order, "an eUICC is entitled to a profile");
        let client = Client {
            order,
            eid,
            key,
            smdp_signature2: signature,
        };
        self.session(transaction_id)?.client = Some(client);
        Ok(answer)
    }

    /// Verifies the chain from the CI to the eUICC: its EID and public key.
    fn verify_euicc(
        &self,
        response: &AuthenticateResponseOk,
    ) -> Result<(String, PublicKey), StatusCode> {
        let now = Some(SystemTime::now());
        let ci = self.certificate(Role::Ci)?;
        let eum = Certificate::parse(response.eum_certificate.bytes())
            .map_err(|_| StatusCode::EUM_CERTIFICATE_INVALID)?;
        let issuer = eum.authority_key_identifier();
        if issuer.is_some() && issuer != ci.subject_key_identifier() {
            return Err(StatusCode::UNKNOWN_ISSUER);
        }
        eum.verify_eum(ci, now).map_err(|error| match error {
            CertificateError::Expired => StatusCode::EUM_CERTIFICATE_EXPIRED,
            _ => StatusCode::EUM_CERTIFICATE_INVALID,
        })?;
        let euicc = Certificate::parse(response.euicc_certificate.bytes())
            .map_err(|_| StatusCode::EUICC_CERTIFICATE_INVALID)?;
        euicc.verify_euicc(&eum, now).map_err(|error| match error {
            CertificateError::Expired => StatusCode::EUICC_CERTIFICATE_EXPIRED,
            _ => StatusCode::EUICC_CERTIFICATE_INVALID,
        })?;
        let key = euicc
            .public_key()
            .map_err(|_| StatusCode::EUICC_CERTIFICATE_INVALID)?;
        let eid = euicc
            .subject_serial_number()
            .ok_or(StatusCode::EUICC_CERTIFICATE_INVALID)?;
        Ok((eid, key))
    }

    fn bound_profile_package(
        &mut self,
        transaction_id: &[u8],
        fields: &Fields<'_>,
    ) -> Result<Members, StatusCode> {
        let client = self.client(transaction_id)?;
        let response: Raw<PrepareDownloadResponse> = fields.ber("prepareDownloadResponse")?;
        let response = match response.into_value() {
            PrepareDownloadResponse::DownloadResponseOk(ok) => ok.0,
            PrepareDownloadResponse::DownloadResponseError(error) => {
                tracing::info!(error = %error.download_error_code, "the eUICC refused the download");
                return Err(StatusCode::EUICC_VERIFICATION_FAILED);
            }
        };
        let signed = &response.euicc_signed2;
        if signed.transaction_id.octets() != transaction_id {
            return Err(StatusCode::UNKNOWN_TRANSACTION);
        }
        let message = [signed.bytes(), &client.smdp_signature2].concat();
        if !client
            .key
            .verifies(&message, response.euicc_signature2.contents())
        {
            return Err(StatusCode::EUICC_VERIFICATION_FAILED);
        }
        let dppb = self.key(Role::DpPb)?.clone();
        let host_name = self.host_name;
        let order = self
            .state
            .orders
            .get_mut(client.order)
            .ok_or(StatusCode::MATCHING_ID_REFUSED)?;
        order.confirm(
            transaction_id,
            signed.hash_cc.as_ref().map(|hash| hash.octets()),
        )?;
        let euicc_otpk = signed.euicc_otpk.octets();
        let binding = match order.binding_for(euicc_otpk)? {
            Some(kept) => kept.clone(),
            None => bind(order, &client.eid, euicc_otpk, host_name)?,
        };
        let package = binding.package(&session_to_sign(self.fault, transaction_id), &dppb);
        order.delivered(&client.eid, binding);
        tracing::info!(order = %client.order, octets = package.len(), "package delivered");
        Ok(members([
            ("transactionId", hex::encode_upper(transaction_id)),
            ("boundProfilePackage", BASE64_STANDARD.encode(package)),
        ]))
    }

    fn cancel_session(
        &mut self,
        transaction_id: &[u8],
        fields: &Fields<'_>,
    ) -> Result<Members, StatusCode> {
        let client = self.session(transaction_id)?.client.clone();
        let response: Raw<CancelSessionResponse> = fields.ber("cancelSessionResponse")?;
        let CancelSessionResponse::CancelSessionResponseOk(response) = response.into_value() else {
            return Err(StatusCode::EUICC_VERIFICATION_FAILED);
        };
        let signed = &response.euicc_cancel_session_signed;
        let signature = response.euicc_cancel_session_signature.contents();
        // Without AuthenticateClient there is no certificate, so nothing can be verified.
        let client = client
            .filter(|client| client.key.verifies(signed.bytes(), signature))
            .ok_or(StatusCode::EUICC_VERIFICATION_FAILED)?;
        let owner = self
            .certificate(Role::DpAuth)?
            .owner()
            .map(ToString::to_string);
        if owner != Some(signed.smdp_oid.to_string()) {
            return Err(StatusCode::OID_MISMATCH);
        }
        if signed.transaction_id.octets() != transaction_id {
            return Err(StatusCode::UNKNOWN_TRANSACTION);
        }
        tracing::info!(order = %client.order, reason = %signed.reason, "session cancelled");
        if let Some(order) = self.state.orders.get_mut(client.order) {
            order.cancelled(signed.reason.0);
        }
        self.state.cancelled(signed.reason.0);
        self.state.sessions.close(transaction_id);
        Ok(Members::new())
    }

    fn handle_notification(&mut self, fields: &Fields<'_>) -> Result<(), StatusCode> {
        let bytes = fields.octets("pendingNotification")?;
        let received = notification::receive(bytes, &mut self.state.orders, self.pki);
        tracing::info!(
            seq_number = received.seq_number(),
            installation = received.installation().is_some(),
            verdict = ?received.verdict,
            "notification received"
        );
        if let Some(PendingNotification::ProfileInstallationResult(result)) = &received.content
            && received.verdict == Verdict::Verified
        {
            let data = &result.profile_installation_result_data;
            let transaction_id = data.transaction_id.octets();
            if let Some(order) = self.state.orders.of_transaction(transaction_id)
                && order.close_delivery(transaction_id)
            {
                match &data.final_result {
                    FinalResult::SuccessResult(_) => order.installed(),
                    FinalResult::ErrorResult(error) => order.failed(error.error_reason.0),
                }
            }
            self.state.sessions.close(transaction_id);
        }
        self.state.keep(received);
        Ok(())
    }

    fn session(&mut self, transaction_id: &[u8]) -> Result<&mut Session, StatusCode> {
        self.state
            .sessions
            .get_mut(transaction_id)
            .ok_or(StatusCode::UNKNOWN_TRANSACTION)
    }

    fn client(&mut self, transaction_id: &[u8]) -> Result<Client, StatusCode> {
        let client = self.session(transaction_id)?.client.clone();
        client.ok_or(StatusCode::UNKNOWN_TRANSACTION)
    }

    fn certificate(&self, role: Role) -> Result<&Certificate, StatusCode> {
        self.pki.certificate(role).map_err(unusable)
    }

    fn key(&self, role: Role) -> Result<&PrivateKey, StatusCode> {
        self.pki.key(role).map_err(unusable)
    }
}

/// The session an answer is signed for.
fn session_to_sign(fault: Option<&Fault>, transaction_id: &[u8]) -> Vec<u8> {
    match fault {
        Some(Fault::OtherSession) => random::<16>().to_vec(),
        _ => transaction_id.to_vec(),
    }
}

/// A server that is told to do without a certificate cannot serve any eUICC.
fn unusable(error: PkiError) -> StatusCode {
    tracing::error!(%error, "the server's PKI is not complete");
    StatusCode::NO_VERIFICATION_ISSUER
}

/// Whether an address, a port in it aside, names this host.
fn is_host(address: &str, host_name: &str) -> bool {
    let (host, port) = address.split_once(':').unwrap_or((address, ""));
    host.eq_ignore_ascii_case(host_name) && port.bytes().all(|digit| digit.is_ascii_digit())
}

fn eligible(order: &Order, info: &EuiccInfo2) -> Result<(), StatusCode> {
    if !eligibility::has_services(info.uicc_capability, &order.profile().mandatory_services()) {
        return Err(StatusCode::NOT_ELIGIBLE);
    }
    let needed = u64::try_from(order.profile().package.len()).unwrap_or(u64::MAX);
    if info
        .resources()
        .free_non_volatile_memory
        .is_some_and(|free| free < needed)
    {
        return Err(StatusCode::INSUFFICIENT_MEMORY);
    }
    Ok(())
}

/// Binds an order's profile to an eUICC's one-time key, with a fresh key of the server's.
fn bind(
    order: &Order,
    eid: &str,
    euicc_otpk: &[u8],
    host_name: &str,
) -> Result<Binding, StatusCode> {
    let euicc_otpk =
        PublicKey::from_point(euicc_otpk).ok_or(StatusCode::EUICC_VERIFICATION_FAILED)?;
    let eid = hex::decode(eid).ok().and_then(|eid| eid.try_into().ok());
    let profile = order.profile();
    let profile_keys = profile.ppk.then(|| BspKeys {
        initial_mac_chaining_value: random(),
        encryption: random(),
        mac: random(),
    });
    Ok(Binding::new(&BindingRequest {
        one_time_key: &one_time_key(),
        host_id: &random::<8>(),
        euicc_otpk: &euicc_otpk,
        eid: &eid.ok_or(StatusCode::EUICC_CERTIFICATE_INVALID)?,
        metadata: &profile.metadata.to_der(host_name),
        package: &profile.package,
        profile_keys: profile_keys.as_ref(),
    }))
}

/// A fresh key; a random scalar is out of range once in 2³² times.
fn one_time_key() -> PrivateKey {
    loop {
        if let Some(key) = PrivateKey::from_scalar(&random::<32>()) {
            return key;
        }
    }
}

fn members<const N: usize>(members: [(&str, String); N]) -> Members {
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect()
}

/// The members of a request.
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn text(&self, name: &str) -> Result<&'a str, StatusCode> {
        match self.0.get(name) {
            None => Err(StatusCode::MISSING_INPUT),
            Some(value) => value.as_str().ok_or(StatusCode::INVALID_INPUT),
        }
    }

    fn octets(&self, name: &str) -> Result<Vec<u8>, StatusCode> {
        BASE64_STANDARD
            .decode(self.text(name)?)
            .map_err(|_| StatusCode::INVALID_INPUT)
    }

    fn ber<T: Extensible>(&self, name: &str) -> Result<Raw<T>, StatusCode> {
        Raw::from_ber(&self.octets(name)?).map_err(|error| {
            tracing::info!(name, %error, "a member cannot be read");
            StatusCode::INVALID_INPUT
        })
    }

    fn transaction_id(&self) -> Result<Vec<u8>, StatusCode> {
        let text = self.text("transactionId")?;
        hex::decode(text).map_err(|_| StatusCode::UNKNOWN_TRANSACTION)
    }
}

/// The oldest specification version of an eUICC this server serves.
const LOWEST_SVN: [u8; 3] = [2, 0, 0];

#[cfg(test)]
mod tests;
