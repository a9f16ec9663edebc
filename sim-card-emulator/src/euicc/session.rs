//! The RSP session: challenge, AuthenticateServer, PrepareDownload, CancelSession.

use std::ops::RangeInclusive;

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::{Open, Raw, encode};
use es10_apdu::es10b::{
    AuthenticateResponseError, AuthenticateResponseOk, AuthenticateServerRequest,
    AuthenticateServerResponse, CancelSessionError, CancelSessionRequest, CancelSessionResponse,
    CancelSessionResponseOk, EuiccCancelSessionSigned, EuiccSigned1, EuiccSigned2,
    GetEuiccChallengeRequest, GetEuiccChallengeResponse, PrepareDownloadRequest,
    PrepareDownloadResponse, PrepareDownloadResponseError, PrepareDownloadResponseOk,
    ServerSigned1,
};
use es10_apdu::types::{self, Challenge, Oid, Signature, TransactionId};
use rsp_common::certificate::Role;
use rsp_common::der::{Tlv, constructed, tlv};
use rsp_common::key::{Curve, PrivateKey, PublicKey};

use super::loading::arrival::Loading;
use super::{Env, Euicc, OneTimeKey};

mod checks;

/// How far the one RSP session is.
#[derive(Clone, Debug, Default)]
pub(super) enum Session {
    /// There is none.
    #[default]
    None,
    /// A challenge was given out and not used.
    Challenged([u8; 16]),
    /// The server is known.
    Authenticated(Box<Authenticated>),
}

impl Session {
    pub(super) fn is_loading_on(&self, channel: u8) -> bool {
        match self {
            Self::Authenticated(session) => session
                .loading
                .as_ref()
                .is_some_and(|loading| loading.channel() == channel),
            _ => false,
        }
    }
}

/// A session with a server that proved itself.
#[derive(Clone, Debug)]
pub(super) struct Authenticated {
    pub(super) transaction_id: TransactionId,
    pub(super) server_address: String,
    pub(super) owner: Oid,
    role: Role,
    /// The issuer of the server's certificate.
    issuer: Vec<u8>,
    /// The issuer whose chain signs everything in this session.
    pub(super) ci_key_identifier: Vec<u8>,
    euicc_signature1: Signature,
    pub(super) prepared: Option<Prepared>,
    pub(super) loading: Option<Loading>,
}

/// What PrepareDownload has agreed to.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) one_time_key: PrivateKey,
    pub(super) binding_key: PublicKey,
}

impl Euicc {
    /// A new challenge ends whatever session there was; one-time keys stay for a retry.
    pub(super) fn euicc_challenge(
        &mut self,
        _: GetEuiccChallengeRequest,
        env: &mut dyn Env,
    ) -> Result<Vec<u8>, StatusWord> {
        let mut challenge = [0; 16];
        env.random(&mut challenge);
        self.session = Session::Challenged(challenge);
        self.report_interruption();
        let euicc_challenge =
            Challenge::from_octets(&challenge).map_err(|_| StatusWord::TECHNICAL_PROBLEM)?;
        Ok(encode(&GetEuiccChallengeResponse { euicc_challenge }))
    }

    pub(super) fn authenticate_server(
        &mut self,
        request: AuthenticateServerRequest,
        data: &[u8],
    ) -> Result<Vec<u8>, StatusWord> {
        let context = context(data).ok_or(StatusWord::INCORRECT_DATA)?;
        let server_address = std::str::from_utf8(request.server_signed1.server_address.octets())
            .ok()
            .filter(|address| address.len() <= LONGEST_ADDRESS)
            .ok_or(StatusWord::INCORRECT_DATA)?
            .to_owned();
        // The challenge is used up, whatever comes of it.
        let session = std::mem::take(&mut self.session);
        self.report_interruption();
        let transaction_id = request.server_signed1.transaction_id.clone();
        let server = match self.verify_server(&session, &request) {
            Ok(server) => server,
            Err(authenticate_error_code) => {
                let error = AuthenticateResponseError {
                    transaction_id,
                    authenticate_error_code,
                };
                return Ok(encode(
                    &AuthenticateServerResponse::AuthenticateResponseError(Open(error)),
                ));
            }
        };
        let euicc_signed1 = self.euicc_signed1(&request.server_signed1, context)?;
        let chain = self
            .identity
            .chain(request.euicc_ci_pk_id_to_be_used.octets());
        let euicc_signature1 = chain.sign(euicc_signed1.bytes());
        let (euicc_certificate, eum_certificate) = chain.certificates();
        self.session = Session::Authenticated(Box::new(Authenticated {
            transaction_id,
            server_address,
            owner: server.owner,
            role: server.role,
            issuer: server.issuer,
            ci_key_identifier: chain.ci_key_identifier.clone(),
            euicc_signature1: euicc_signature1.clone(),
            prepared: None,
            loading: None,
        }));
        let ok = AuthenticateResponseOk {
            euicc_signed1,
            euicc_signature1,
            euicc_certificate,
            eum_certificate,
        };
        Ok(encode(&AuthenticateServerResponse::AuthenticateResponseOk(
            Open(ok),
        )))
    }

    pub(super) fn prepare_download(
        &mut self,
        request: PrepareDownloadRequest,
        env: &mut dyn Env,
    ) -> Result<Vec<u8>, StatusWord> {
        let transaction_id = request.smdp_signed2.transaction_id.clone();
        let download = match self.verify_download(&request) {
            Ok(verified) => verified,
            Err(download_error_code) => {
                let error = PrepareDownloadResponseError {
                    transaction_id,
                    download_error_code,
                };
                return Ok(encode(&PrepareDownloadResponse::DownloadResponseError(
                    Open(error),
                )));
            }
        };
        let wanted = request.smdp_signed2.bpp_euicc_otpk.as_ref();
        let wanted = wanted.map(|key| key.octets());
        let curve = download.binding_key.curve();
        let one_time_key = self.one_time_key(&download.owner, curve, wanted, env);
        let point = one_time_key.public_key().to_point();
        let euicc_otpk =
            types::OneTimeKey::from_octets(&point).map_err(|_| StatusWord::TECHNICAL_PROBLEM)?;
        let euicc_signed2 = Raw::new(EuiccSigned2 {
            transaction_id,
            euicc_otpk,
            hash_cc: request.hash_cc,
        });
        let chain = self.identity.chain(&download.ci_key_identifier);
        let euicc_signature2 =
            chain.sign(&[euicc_signed2.bytes(), request.smdp_signature2.bytes()].concat());
        if let Session::Authenticated(session) = &mut self.session {
            session.prepared = Some(Prepared {
                one_time_key,
                binding_key: download.binding_key,
            });
        }
        let ok = PrepareDownloadResponseOk {
            euicc_signed2,
            euicc_signature2,
        };
        Ok(encode(&PrepareDownloadResponse::DownloadResponseOk(Open(
            ok,
        ))))
    }

    pub(super) fn cancel_session(
        &mut self,
        request: CancelSessionRequest,
    ) -> Result<Vec<u8>, StatusWord> {
        let (owner, ci_key_identifier) = match &self.session {
            Session::Authenticated(session) if session.transaction_id == request.transaction_id => {
                (session.owner.clone(), session.ci_key_identifier.clone())
            }
            session => {
                let none = !matches!(session, Session::Authenticated(_));
                let error = if none && self.settings.vague_cancel_error {
                    CancelSessionError::UNDEFINED_ERROR
                } else {
                    CancelSessionError::INVALID_TRANSACTION_ID
                };
                return Ok(encode(&CancelSessionResponse::CancelSessionResponseError(
                    error,
                )));
            }
        };
        let of_v3 = self.settings.v3_answers && REASONS_OF_V3.contains(&request.reason.0);
        if request.reason.meaning().is_none() && !of_v3 {
            let error = CancelSessionError::UNDEFINED_ERROR;
            return Ok(encode(&CancelSessionResponse::CancelSessionResponseError(
                error,
            )));
        }
        self.session = Session::None;
        if self.memory.installing.is_some() {
            // The server hears of the end by this answer; a second result would contradict it.
            self.flash().installing = None;
        }
        let signed = Raw::new(EuiccCancelSessionSigned {
            transaction_id: request.transaction_id,
            smdp_oid: owner,
            reason: request.reason,
        });
        let chain = self.identity.chain(&ci_key_identifier);
        let ok = CancelSessionResponseOk {
            euicc_cancel_session_signature: chain.sign(signed.bytes()),
            euicc_cancel_session_signed: signed,
        };
        Ok(encode(&CancelSessionResponse::CancelSessionResponseOk(
            Open(ok),
        )))
    }

    /// The context is signed as it came, with what this version does not know.
    fn euicc_signed1(
        &self,
        server: &ServerSigned1,
        context: &[u8],
    ) -> Result<Raw<EuiccSigned1>, StatusWord> {
        let parts = [
            tlv(0x80, server.transaction_id.octets()),
            tlv(0x83, server.server_address.octets()),
            tlv(0x84, server.server_challenge.octets()),
            self.info2(),
            context.to_vec(),
        ];
        Raw::from_ber(&constructed(0x30, &parts)).map_err(|_| StatusWord::TECHNICAL_PROBLEM)
    }

    /// Forgets a one-time key that a package was opened with.
    pub(super) fn consume_one_time_key(&mut self, owner: &Oid) {
        self.flash().one_time_keys.retain(|key| key.owner != *owner);
    }

    /// The kept key of that server when it is the one wanted, otherwise a new one.
    fn one_time_key(
        &mut self,
        owner: &Oid,
        curve: Curve,
        wanted: Option<&[u8]>,
        env: &mut dyn Env,
    ) -> PrivateKey {
        let kept = self
            .memory
            .one_time_keys
            .iter()
            .find(|key| key.owner == *owner);
        let kept = kept.filter(|key| key.curve == curve);
        let kept = kept.and_then(|key| PrivateKey::from_scalar_on(curve, &key.scalar));
        if let Some(key) = kept
            && wanted.is_some_and(|wanted| wanted == key.public_key().to_point())
        {
            return key;
        }
        let key = loop {
            let mut scalar = [0; 32];
            env.random(&mut scalar);
            if let Some(key) = PrivateKey::from_scalar_on(curve, &scalar) {
                break key;
            }
        };
        let keys = &mut self.flash().one_time_keys;
        keys.retain(|key| key.owner != *owner);
        let surplus = (keys.len() + 1).saturating_sub(MOST_ONE_TIME_KEYS);
        keys.drain(..surplus);
        keys.push(OneTimeKey {
            owner: owner.clone(),
            scalar: key.to_scalar().to_vec(),
            curve,
        });
        key
    }
}

/// ctxParams1 of AuthenticateServer as it was received.
fn context(request: &[u8]) -> Option<&[u8]> {
    let parts = Tlv::exact(request)?.children()?;
    let context = parts.into_iter().find(|part| part.tag == 0xA0)?;
    Some(context.bytes)
}

/// More than any name of a host has.
const LONGEST_ADDRESS: usize = 255;
const MOST_ONE_TIME_KEYS: usize = 4;
/// From sessionAborted to loadRpmPackageError.
const REASONS_OF_V3: RangeInclusive<i64> = 16..=29;
