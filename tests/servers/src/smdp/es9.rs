//! The five ES9+ functions.
//!
//! SGP.22 v2.5 section 5.6. Checks come in a fixed order so that of several faults the same one is
//! always reported.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use es10_apdu::asn1::Raw;
use es10_apdu::es10b::{
    CancelSessionResponse, EuiccInfo2, PendingNotification, PrepareDownloadResponse, SmdpSigned2,
};
use es10_apdu::tlv;
use es10_apdu::types::{OneTimeKey, TransactionId};
use rsp_common::certificate::Role;
use rsp_common::key::{Curve, PrivateKey, PublicKey};
use rsp_common::pki::Pki;
use serde_json::Value;

use super::bpp::{self, Binding, BindingRequest};
use super::eligibility;
use super::notification::{self, Verdict};
use super::order::{Delivery, Order};
use super::store::State;
use crate::rsp::authentication::{self, Authenticated, Server};
use crate::rsp::faults::Fault;
use crate::rsp::fields::{Fields, Members, members};
use crate::rsp::random;
use crate::rsp::session::Session;
use crate::rsp::status::StatusCode;

mod client;
mod function;

pub(super) use self::client::Client;
pub use self::function::Function;

/// One call of a function.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) pki: &'a Pki,
    pub(super) host_name: &'a str,
    pub(super) check_eligibility: bool,
    pub(super) fault: Option<&'a Fault>,
    pub(super) state: &'a mut State,
}

impl<'a> Call<'a> {
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
        if let Some(Value::Object(answer)) = session.repeated(function.name(), &request) {
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
                    session.answered(function.name(), request, Value::Object(answer.clone()));
                }
            }
            Err(_) => self.state.sessions.close(&transaction_id),
        }
        result
    }

    fn initiate_authentication(&mut self, fields: &Fields<'_>) -> Result<Members, StatusCode> {
        let (session, answer) = self.server().initiate(fields)?;
        self.state.sessions.open(session);
        Ok(answer)
    }

    fn authenticate_client(
        &mut self,
        transaction_id: &[u8],
        fields: &Fields<'_>,
    ) -> Result<Members, StatusCode> {
        let server = self.server();
        let session = self.session(transaction_id)?;
        let issuer = session.own_issuer.clone();
        let euicc = server.authenticate(session, fields)?;
        let matching_id = euicc.matching_id();
        let Authenticated { eid, key, response } = euicc;
        let order = self.state.orders.find(&matching_id, &eid)?;
        order.admit(&eid)?;
        if self.check_eligibility {
            eligible(order, &response.euicc_signed1.euicc_info2)
                .inspect_err(|status| order.ineligible(&eid, *status))?;
        }
        order.remember(Delivery::new(transaction_id, &eid, &key));
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
        let signed2 = match self.fault {
            Some(fault) => fault.reshape(signed2.bytes().to_vec()),
            None => signed2.bytes().to_vec(),
        };
        let message = [&signed2, response.euicc_signature1.bytes()].concat();
        let (certificate, own_key) = server.shown(&issuer, Role::DpPb)?;
        let signature = tlv::encode(0x5F37, &own_key.sign(&message));
        let answer = members([
            ("transactionId", hex::encode_upper(transaction_id)),
            ("profileMetadata", BASE64_STANDARD.encode(metadata)),
            ("smdpSigned2", BASE64_STANDARD.encode(&signed2)),
            ("smdpSignature2", BASE64_STANDARD.encode(&signature)),
            ("smdpCertificate", BASE64_STANDARD.encode(certificate.der())),
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
        let issuer = self.session(transaction_id)?.own_issuer.clone();
        let dppb = self.server().key_under(&issuer, Role::DpPb)?;
        let host_name = self.host_name;
        let order = self
            .state
            .orders
            .get_mut(client.order)
            .ok_or(StatusCode::MATCHING_ID_REFUSED)?;
        order.check(&client.eid)?;
        order.confirm(
            transaction_id,
            signed.hash_cc.as_ref().map(|hash| hash.octets()),
        )?;
        let euicc_otpk = signed.euicc_otpk.octets();
        let binding = match order.binding_for(euicc_otpk)? {
            Some(kept) => kept.clone(),
            None => bind(order, &client.eid, euicc_otpk, dppb.curve(), host_name)?,
        };
        let signed_session = session_to_sign(self.fault, transaction_id);
        let package = match self.fault {
            Some(Fault::Package(fault)) => binding.faulty_package(&signed_session, dppb, fault),
            _ => binding.package(&signed_session, dppb),
        };
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
        let issuer = self.session(transaction_id)?.own_issuer.clone();
        let owner = self
            .server()
            .certificate_under(&issuer, Role::DpAuth)?
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
        let State {
            orders,
            notifications,
            ..
        } = &mut *self.state;
        let received = notification::receive(bytes, orders, notifications, self.pki);
        tracing::info!(
            seq_number = received.seq_number(),
            installation = received.installation().is_some(),
            verdict = ?received.verdict,
            sequence = ?received.sequence,
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
                order.reported(transaction_id, &data.final_result, &received.bytes);
            }
            self.state.sessions.close(transaction_id);
        }
        self.state.keep(received);
        Ok(())
    }

    fn session(&mut self, transaction_id: &[u8]) -> Result<&mut Session<Client>, StatusCode> {
        self.state
            .sessions
            .get_mut(transaction_id)
            .ok_or(StatusCode::UNKNOWN_TRANSACTION)
    }

    fn client(&mut self, transaction_id: &[u8]) -> Result<Client, StatusCode> {
        let client = self.session(transaction_id)?.client.clone();
        client.ok_or(StatusCode::UNKNOWN_TRANSACTION)
    }

    fn server(&self) -> Server<'a> {
        Server {
            pki: self.pki,
            host_name: self.host_name,
            role: Role::DpAuth,
            refusals: &authentication::SMDP,
            fault: self.fault,
        }
    }
}

/// The session an answer is signed for.
fn session_to_sign(fault: Option<&Fault>, transaction_id: &[u8]) -> Vec<u8> {
    match fault {
        Some(Fault::OtherSession) => random::<16>().to_vec(),
        _ => transaction_id.to_vec(),
    }
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
    curve: Curve,
    host_name: &str,
) -> Result<Binding, StatusCode> {
    let euicc_otpk =
        PublicKey::from_point_on(curve, euicc_otpk).ok_or(StatusCode::EUICC_VERIFICATION_FAILED)?;
    let eid = hex::decode(eid).ok().and_then(|eid| eid.try_into().ok());
    let profile = order.profile();
    let profile_keys = profile.ppk.then(bpp::profile_keys);
    Ok(Binding::new(&BindingRequest {
        one_time_key: &one_time_key(curve),
        host_id: &random::<8>(),
        euicc_otpk: &euicc_otpk,
        eid: &eid.ok_or(StatusCode::EUICC_CERTIFICATE_INVALID)?,
        metadata: &profile.metadata.to_der(host_name),
        package: &profile.package,
        profile_keys: profile_keys.as_ref(),
    }))
}

/// A fresh key; a random scalar is out of range once in 2³² times.
fn one_time_key(curve: Curve) -> PrivateKey {
    loop {
        if let Some(key) = PrivateKey::from_scalar_on(curve, &random::<32>()) {
            return key;
        }
    }
}

#[cfg(test)]
mod tests;
