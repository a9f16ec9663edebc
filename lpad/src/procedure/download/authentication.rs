//! Common mutual authentication: the server first, then the eUICC.
//!
//! SGP.22 v2.5 section 3.0.1.

use es9_client::es9::{InitiateAuthenticationOkEs9, InitiateAuthenticationRequest};
use es10_apdu::asn1::{self, Open, Raw};
use es10_apdu::es10b::{
    AuthenticateServerRequest, AuthenticateServerResponse, CancelSessionReason, CtxParams1,
    CtxParamsForCommonAuthentication, EuiccInfo1, GetEuiccChallengeRequest, ServerSigned1,
};
use es10_apdu::types::{Certificate, Oid, Signature, SubjectKeyIdentifier};

use super::offer::{Offer, judge};
use super::session::{RspSession, member};
use super::{Device, DownloadError, Failure, Order, SessionEnd, Step};
use crate::procedure::{Card, Server, call_with_retry, euicc};

/// The server signed the eUICC's challenge; the eUICC has not seen it yet.
#[derive(Debug)]
pub struct Initiated {
    session: RspSession,
    server_signed1: Raw<ServerSigned1>,
    server_signature1: Signature,
    euicc_ci_pk_id_to_be_used: SubjectKeyIdentifier,
    server_certificate: Certificate,
}

impl Initiated {
    /// Opens a session with the server.
    ///
    /// EUICCInfo1 is read if it was not before: it stays the same as long as the eUICC has power. Any RSP
    /// session the eUICC had before is gone from here on.
    pub async fn start(
        card: &mut impl Card,
        server: &impl Server,
        order: Order,
        info1: Option<Raw<EuiccInfo1>>,
    ) -> Result<Self, DownloadError> {
        Self::initiate(card, server, order, info1)
            .await
            .map_err(|failure| DownloadError {
                step: Step::Initiate,
                session: SessionEnd::NotOpened,
                failure,
            })
    }

    async fn initiate(
        card: &mut impl Card,
        server: &impl Server,
        order: Order,
        info1: Option<Raw<EuiccInfo1>>,
    ) -> Result<Self, Failure> {
        let info1 = match info1 {
            Some(info1) => info1,
            None => euicc::info1(card).await?,
        };
        let challenge = call_with_retry(card, &GetEuiccChallengeRequest {}).await?;
        let challenge = challenge.euicc_challenge;
        let request = InitiateAuthenticationRequest {
            euicc_challenge: challenge.octets().into(),
            euicc_info1: info1.bytes().into(),
            smdp_address: order.address.host().to_owned(),
        };
        // No session exists yet that a failure would have to cancel: the eUICC has agreed to nothing.
        let answer = server.call(&order.address, &request).await?;
        let initiated = Self::read(order, answer)?;
        let signed = &initiated.server_signed1;
        let order = &initiated.session.order;
        // The eUICC cannot check this: it does not know which server was called. Without it one
        // server could pass on what another one signed.
        let signed_address = signed.server_address.to_str();
        if !order.address.is_host(&signed_address) {
            let (asked, signed) = (order.address.clone(), signed_address.into_owned());
            return Err(Failure::ServerAddressMismatch { asked, signed });
        }
        initiated
            .session
            .check(signed.transaction_id.octets(), "serverSigned1")?;
        if signed.euicc_challenge != challenge {
            return Err(Failure::ChallengeMismatch);
        }
        if let Some(expected) = &order.oid {
            check_oid(expected, &initiated.server_certificate)?;
        }
        Ok(initiated)
    }

    fn read(order: Order, answer: InitiateAuthenticationOkEs9) -> Result<Self, Failure> {
        Ok(Self {
            session: RspSession {
                order,
                transaction_id: answer.transaction_id,
            },
            server_signed1: member("serverSigned1", &answer.server_signed1, Raw::from_ber)?,
            server_signature1: member(
                "serverSignature1",
                &answer.server_signature1,
                Signature::from_ber,
            )?,
            euicc_ci_pk_id_to_be_used: member(
                "euiccCiPKIdToBeUsed",
                &answer.euicc_ci_pk_id_to_be_used,
                asn1::read,
            )?,
            server_certificate: member(
                "serverCertificate",
                &answer.server_certificate,
                Certificate::from_ber,
            )?,
        })
    }

    /// Presents the server to the eUICC. A refusal is forwarded to the server, once.
    pub async fn authenticate_server(
        self,
        card: &mut impl Card,
        server: &impl Server,
        device: &Device,
    ) -> Result<ServerAuthenticated, DownloadError> {
        let Self { session, .. } = self;
        let context = CtxParamsForCommonAuthentication {
            // Also when it is empty: that asks for what is reserved for this EID.
            matching_id: Some(session.order.matching_id.expose().into()),
            device_info: Open(device.info()),
        };
        let request = AuthenticateServerRequest {
            server_signed1: self.server_signed1,
            server_signature1: self.server_signature1,
            euicc_ci_pk_id_to_be_used: self.euicc_ci_pk_id_to_be_used,
            server_certificate: self.server_certificate,
            ctx_params1: CtxParams1::CtxParamsForCommonAuthentication(Open(context)),
        };
        let at = |session, failure| DownloadError {
            step: Step::AuthenticateServer,
            session,
            failure,
        };
        // Without the card's answer there is nothing that CancelSession could end: the server's session
        // runs out, and the order was not touched.
        let response = call_with_retry(card, &request)
            .await
            .map_err(|error| at(SessionEnd::NotOpened, error.into()))?;
        let AuthenticateServerResponse::AuthenticateResponseError(refusal) = &*response else {
            return Ok(ServerAuthenticated { session, response });
        };
        let failure = Failure::AuthenticationRefused(refusal.authenticate_error_code);
        let request = session.authenticate_client(&response);
        session.forward_refusal(server, &request).await;
        Err(at(SessionEnd::Closed, failure))
    }
}

/// The eUICC accepted the server.
#[derive(Debug)]
pub struct ServerAuthenticated {
    session: RspSession,
    response: Raw<AuthenticateServerResponse>,
}

impl ServerAuthenticated {
    /// Asks the server for the profile on order, and judges its policy rules.
    pub async fn offer(
        self,
        card: &mut impl Card,
        server: &impl Server,
    ) -> Result<Offer, DownloadError> {
        let Self { session, response } = self;
        let step = Step::AuthenticateClient;
        let request = session.authenticate_client(&response);
        let answer = session.call(card, server, step, &request).await?;
        let offered = match session.read_offer(answer) {
            Ok(offered) => offered,
            Err(failure) => return Err(session.fail(card, server, step, failure).await),
        };
        match judge(card, &offered.metadata).await {
            Ok(consent) => Ok(Offer {
                session,
                offered,
                consent,
            }),
            Err(failure) => Err(session.fail(card, server, Step::Consent, failure).await),
        }
    }

    /// Ends the session instead.
    pub async fn cancel(
        self,
        card: &mut impl Card,
        server: &impl Server,
        reason: CancelSessionReason,
    ) -> DownloadError {
        self.session
            .decline(card, server, Step::AuthenticateClient, reason)
            .await
    }
}

fn check_oid(expected: &Oid, certificate: &Certificate) -> Result<(), Failure> {
    let certificate = es9_client::Certificate::parse(certificate.bytes())?;
    let found = certificate.registered_ids();
    if found.iter().any(|id| *id == expected.to_string()) {
        return Ok(());
    }
    let found = match found {
        [] => "none".to_owned(),
        found => found.join(", "),
    };
    Err(Failure::OidMismatch {
        expected: expected.clone(),
        found,
    })
}
