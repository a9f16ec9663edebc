//! What a server must prove before the eUICC signs anything for it.

use es10_apdu::es10b::{
    AuthenticateErrorCode, AuthenticateServerRequest, DownloadErrorCode, PrepareDownloadRequest,
};
use es10_apdu::types::Oid;
use rsp_common::certificate::{Certificate, Role};
use rsp_common::key::PublicKey;

use super::Session;
use crate::euicc::Euicc;

/// A server that proved itself.
pub(super) struct Server {
    pub(super) role: Role,
    pub(super) owner: Oid,
    pub(super) issuer: Vec<u8>,
}

/// A download that may be prepared.
pub(super) struct Download {
    pub(super) binding_key: PublicKey,
    pub(super) owner: Oid,
    pub(super) ci_key_identifier: Vec<u8>,
}

impl Euicc {
    /// The checks of SGP.22 v2.5 section 5.7.13, in the order in which their codes are given.
    pub(super) fn verify_server(
        &self,
        session: &Session,
        request: &AuthenticateServerRequest,
    ) -> Result<Server, AuthenticateErrorCode> {
        let Session::Challenged(challenge) = session else {
            return Err(AuthenticateErrorCode::NO_SESSION_CONTEXT);
        };
        let wanted = request.euicc_ci_pk_id_to_be_used.octets();
        let mut own = self.identity.signing_key_identifiers();
        if self.settings.no_signing_keys || !own.any(|identifier| identifier == wanted) {
            return Err(AuthenticateErrorCode::CI_PK_UNKNOWN);
        }
        let certificate = Certificate::parse(request.server_certificate.bytes())
            .map_err(|_| AuthenticateErrorCode::INVALID_CERTIFICATE)?;
        let issuer = certificate
            .authority_key_identifier()
            .ok_or(AuthenticateErrorCode::INVALID_CERTIFICATE)?;
        let ci = self.identity.issuer(issuer);
        let ci = ci.filter(|_| !self.settings.no_verification_keys);
        let ci = ci.ok_or(AuthenticateErrorCode::CI_PK_UNKNOWN)?;
        certificate
            .verify_server(ci, None)
            .map_err(|_| AuthenticateErrorCode::INVALID_CERTIFICATE)?;
        if self.is_revoked(&certificate) {
            return Err(if self.settings.v3_answers {
                AuthenticateErrorCode::REVOKED_CERT
            } else {
                AuthenticateErrorCode::INVALID_CERTIFICATE
            });
        }
        let owner = certificate
            .owner()
            .ok_or(AuthenticateErrorCode::INVALID_CERTIFICATE)?
            .clone();
        let role = certificate
            .role(&[Role::DpAuth, Role::DsAuth])
            .map_err(|_| match self.settings.vague_role_error {
                true => AuthenticateErrorCode::INVALID_CERTIFICATE,
                false => AuthenticateErrorCode::INVALID_OID,
            })?;
        let key = certificate
            .public_key_on_curve_of(ci)
            .map_err(|_| AuthenticateErrorCode::UNSUPPORTED_CURVE)?;
        let signed = &request.server_signed1;
        if !key.verifies(signed.bytes(), request.server_signature1.contents()) {
            return Err(AuthenticateErrorCode::INVALID_SIGNATURE);
        }
        if signed.euicc_challenge.octets() != challenge {
            return Err(AuthenticateErrorCode::EUICC_CHALLENGE_MISMATCH);
        }
        Ok(Server {
            role,
            owner,
            issuer: issuer.to_vec(),
        })
    }

    /// The checks of SGP.22 v2.5 section 5.7.5, in the order in which their codes are given.
    pub(super) fn verify_download(
        &self,
        request: &PrepareDownloadRequest,
    ) -> Result<Download, DownloadErrorCode> {
        let session = match &self.session {
            Session::Authenticated(session) if session.prepared.is_none() => session,
            _ => return Err(DownloadErrorCode::NO_SESSION_CONTEXT),
        };
        if request.smdp_signed2.transaction_id != session.transaction_id {
            return Err(DownloadErrorCode::INVALID_TRANSACTION_ID);
        }
        let invalid = DownloadErrorCode::INVALID_CERTIFICATE;
        let certificate =
            Certificate::parse(request.smdp_certificate.bytes()).map_err(|_| invalid)?;
        let ci = self.identity.issuer(&session.issuer).ok_or(invalid)?;
        certificate.verify_server(ci, None).map_err(|_| invalid)?;
        if self.is_revoked(&certificate) {
            return Err(invalid);
        }
        certificate.role(&[Role::DpPb]).map_err(|_| invalid)?;
        if session.role != Role::DpAuth || certificate.owner() != Some(&session.owner) {
            return Err(invalid);
        }
        let binding_key = certificate
            .public_key_on_curve_of(ci)
            .map_err(|_| DownloadErrorCode::UNSUPPORTED_CURVE)?;
        let message = [
            request.smdp_signed2.bytes(),
            session.euicc_signature1.bytes(),
        ]
        .concat();
        if !binding_key.verifies(&message, request.smdp_signature2.contents()) {
            return Err(DownloadErrorCode::INVALID_SIGNATURE);
        }
        let incomplete = request.smdp_signed2.cc_required_flag && request.hash_cc.is_none();
        if (incomplete && self.settings.hash_cc_demanded) || !self.has_room_for(1) {
            return Err(DownloadErrorCode::UNDEFINED_ERROR);
        }
        Ok(Download {
            binding_key,
            owner: session.owner.clone(),
            ci_key_identifier: session.ci_key_identifier.clone(),
        })
    }
}
