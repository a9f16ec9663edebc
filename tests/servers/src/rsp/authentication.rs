//! The common mutual authentication, the server's part of it.
//!
//! SGP.22 v2.5 section 3.0.1. Checks come in a fixed order so that of several faults the same one
//! is always reported.

use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use es10_apdu::asn1::Raw;
use es10_apdu::es10b::{
    AuthenticateResponseOk, AuthenticateServerResponse, CtxParams1, EuiccInfo1,
};
use es10_apdu::tlv;
use es10_apdu::types::{Challenge, SubjectKeyIdentifier, VersionType};
use rsp_common::certificate::{Certificate, CertificateError, Role};
use rsp_common::key::{PrivateKey, PublicKey};
use rsp_common::pki::{Hierarchy, Pki, PkiError};

use super::faults::Fault;
use super::fields::{Fields, Members, members};
use super::random;
use super::session::Session;
use super::status::StatusCode;

/// A server that authenticates itself and eUICCs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server<'a> {
    pub(crate) pki: &'a Pki,
    pub(crate) host_name: &'a str,
    /// Whose certificate and key it authenticates itself with.
    pub(crate) role: Role,
    pub(crate) refusals: &'a Refusals,
    pub(crate) fault: Option<&'a Fault>,
}

/// What servers answer when they cannot authenticate themselves to an eUICC.
#[derive(Debug)]
pub(crate) struct Refusals {
    pub(crate) address: StatusCode,
    pub(crate) signing_issuer: StatusCode,
    pub(crate) version: StatusCode,
    pub(crate) verification_issuer: StatusCode,
}

/// What an SM-DP+ answers.
pub(crate) const SMDP: Refusals = Refusals {
    address: StatusCode::ADDRESS_REFUSED,
    signing_issuer: StatusCode::NO_SIGNING_ISSUER,
    version: StatusCode::VERSION_UNSUPPORTED,
    verification_issuer: StatusCode::NO_VERIFICATION_ISSUER,
};

/// An eUICC that has proved who it is.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) eid: String,
    pub(crate) key: PublicKey,
    pub(crate) response: AuthenticateResponseOk,
}

impl Authenticated {
    /// The matching ID it asks with; none is an empty one.
    pub(crate) fn matching_id(&self) -> String {
        let CtxParams1::CtxParamsForCommonAuthentication(context) =
            &self.response.euicc_signed1.ctx_params1;
        let matching_id = context.matching_id.as_ref();
        matching_id.map(ToString::to_string).unwrap_or_default()
    }
}

impl<'a> Server<'a> {
    /// Answers InitiateAuthentication: a new session and what to say about it.
    ///
    /// SGP.22 v2.5 section 5.6.1.
    pub(crate) fn initiate<C>(
        &self,
        fields: &Fields<'_>,
    ) -> Result<(Session<C>, Members), StatusCode> {
        let address = fields.text("smdpAddress")?;
        let challenge = Challenge::from_octets(&fields.octets("euiccChallenge")?)
            .map_err(|_| StatusCode::INVALID_INPUT)?;
        let info: Raw<EuiccInfo1> = fields.ber("euiccInfo1")?;
        if !is_host(address, self.host_name) {
            return Err(self.refusals.address);
        }
        let known = info.euicc_ci_pk_id_list_for_verification.iter();
        let own = known
            .map(SubjectKeyIdentifier::octets)
            .find(|issuer| self.hierarchy(issuer).is_ok());
        let own = own.ok_or(self.refusals.verification_issuer)?;
        let preferred = info.euicc_ci_pk_id_list_for_signing.iter();
        let chosen = preferred
            .map(SubjectKeyIdentifier::octets)
            .find(|issuer| self.pki.issuer(issuer).is_some());
        let chosen = chosen.ok_or(self.refusals.signing_issuer)?;
        if info.svn < VersionType(LOWEST_SVN) {
            return Err(self.refusals.version);
        }
        let transaction_id = match self.fault {
            Some(Fault::TransactionId(other)) => other.clone(),
            _ => random::<16>().to_vec(),
        };
        let mut session = Session::new(transaction_id, random());
        session.own_issuer = own.to_vec();
        session.euicc_issuer = chosen.to_vec();
        let signed = self.server_signed1(&session, &challenge);
        let (certificate, key) = self.shown(own, self.role)?;
        let signature = tlv::encode(0x5F37, &key.sign(&signed));
        let answer = members([
            ("transactionId", hex::encode_upper(&session.transaction_id)),
            ("serverSigned1", BASE64_STANDARD.encode(&signed)),
            ("serverSignature1", BASE64_STANDARD.encode(signature)),
            (
                "euiccCiPKIdToBeUsed",
                BASE64_STANDARD.encode(tlv::encode(0x04, chosen)),
            ),
            (
                "serverCertificate",
                BASE64_STANDARD.encode(certificate.der()),
            ),
        ]);
        Ok((session, answer))
    }

    /// serverSigned1, by hand: it can be told to be what no type of ours holds.
    fn server_signed1<C>(&self, session: &Session<C>, challenge: &Challenge) -> Vec<u8> {
        let server_address = match self.fault {
            Some(Fault::ServerAddress(other)) => other.as_str(),
            _ => self.host_name,
        };
        let euicc_challenge = match self.fault {
            Some(Fault::EuiccChallenge) => random::<16>().to_vec(),
            _ => challenge.octets().to_vec(),
        };
        let fields = [
            tlv::encode(0x80, &session.transaction_id),
            tlv::encode(0x81, &euicc_challenge),
            tlv::encode(0x83, server_address.as_bytes()),
            tlv::encode(0x84, &session.server_challenge),
        ];
        let signed = tlv::encode(0x30, &fields.concat());
        match self.fault {
            Some(fault) => fault.reshape(signed),
            None => signed,
        }
    }

    /// Verifies what an eUICC answered to the session's InitiateAuthentication.
    ///
    /// SGP.22 v2.5 section 5.6.3.
    pub(crate) fn authenticate<C>(
        &self,
        session: &Session<C>,
        fields: &Fields<'_>,
    ) -> Result<Authenticated, StatusCode> {
        let response: Raw<AuthenticateServerResponse> = fields.ber("authenticateServerResponse")?;
        let response = match response.into_value() {
            AuthenticateServerResponse::AuthenticateResponseOk(ok) => ok.0,
            AuthenticateServerResponse::AuthenticateResponseError(error) => {
                tracing::info!(error = %error.authenticate_error_code, "the eUICC refused us");
                return Err(StatusCode::EUICC_VERIFICATION_FAILED);
            }
        };
        let (eid, key) = self.verify_euicc(&response, &session.euicc_issuer)?;
        let signed = &response.euicc_signed1;
        if !key.verifies(signed.bytes(), response.euicc_signature1.contents()) {
            return Err(StatusCode::EUICC_VERIFICATION_FAILED);
        }
        if signed.transaction_id.octets() != session.transaction_id {
            return Err(StatusCode::UNKNOWN_TRANSACTION);
        }
        if signed.server_challenge.octets() != session.server_challenge {
            return Err(StatusCode::EUICC_VERIFICATION_FAILED);
        }
        Ok(Authenticated { eid, key, response })
    }

    /// Verifies the chain from the CI to the eUICC: its EID and public key.
    fn verify_euicc(
        &self,
        response: &AuthenticateResponseOk,
        chosen: &[u8],
    ) -> Result<(String, PublicKey), StatusCode> {
        let now = Some(SystemTime::now());
        let ci = self.pki.issuer(chosen).ok_or(StatusCode::UNKNOWN_ISSUER)?;
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
            .public_key_on_curve_of(ci)
            .map_err(|_| StatusCode::EUICC_CERTIFICATE_INVALID)?;
        let eid = euicc
            .subject_serial_number()
            .ok_or(StatusCode::EUICC_CERTIFICATE_INVALID)?;
        Ok((eid, key))
    }

    /// The server's certificate under an issuer.
    pub(crate) fn certificate_under(
        &self,
        issuer: &[u8],
        role: Role,
    ) -> Result<&'a Certificate, StatusCode> {
        let certificate = self.hierarchy(issuer)?.certificate(role);
        certificate.map_err(|error| self.unusable(&error))
    }

    /// The key of the server's certificate under an issuer.
    pub(crate) fn key_under(
        &self,
        issuer: &[u8],
        role: Role,
    ) -> Result<&'a PrivateKey, StatusCode> {
        let key = self.hierarchy(issuer)?.key(role);
        key.map_err(|error| self.unusable(&error))
    }

    /// Certificate and key under an issuer, or those of the variant that is to be shown instead.
    pub(crate) fn shown(
        &self,
        issuer: &[u8],
        role: Role,
    ) -> Result<(Certificate, PrivateKey), StatusCode> {
        let own = (
            self.certificate_under(issuer, role)?.clone(),
            self.key_under(issuer, role)?.clone(),
        );
        match self.fault {
            Some(Fault::Certificate(variant)) if variant.role() == role => {
                let mut pki = self.pki.clone();
                let applied = variant.apply(&mut pki, SystemTime::now());
                let unusable = |error: PkiError| self.unusable(&error);
                applied.map_err(unusable)?;
                let certificate = pki.certificate(role).map_err(unusable)?.clone();
                Ok((certificate, pki.key(role).map_err(unusable)?.clone()))
            }
            _ => Ok(own),
        }
    }

    /// Where the server authenticates itself under this issuer.
    fn hierarchy(&self, issuer: &[u8]) -> Result<&'a Hierarchy, StatusCode> {
        let mut all = self.pki.hierarchies();
        let found = all.find(|hierarchy| {
            let own = hierarchy.certificate(self.role);
            own.is_ok_and(|own| own.authority_key_identifier() == Some(issuer))
        });
        found.ok_or(self.refusals.verification_issuer)
    }

    /// A server that is told to do without a certificate cannot serve any eUICC.
    fn unusable(&self, error: &PkiError) -> StatusCode {
        tracing::error!(%error, "the server's PKI is not complete");
        self.refusals.verification_issuer
    }
}

/// Whether an address, a port in it aside, names this host.
fn is_host(address: &str, host_name: &str) -> bool {
    let (host, port) = address.split_once(':').unwrap_or((address, ""));
    host.eq_ignore_ascii_case(host_name) && port.bytes().all(|digit| digit.is_ascii_digit())
}

/// The oldest specification version of an eUICC this server serves.
const LOWEST_SVN: [u8; 3] = [2, 0, 0];
