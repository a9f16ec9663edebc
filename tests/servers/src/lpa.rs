//! An LPA that checks nothing: card and servers are led through the procedures step by step.
//!
//! It says what a right LPA says, and so shows what the card and the servers make of it.

use std::fmt;

use es9_client::es9::{
    AuthenticateClientRequest, GetBoundProfilePackageRequest, HandleNotification,
    InitiateAuthenticationRequest,
};
use es9_client::{
    Answer, AnswerError, Connect, Es9Client, Es9Function, Options, Roots, ServerAddress,
    TransactionId,
};
use es10_apdu::apdu::{Command, Response};
use es10_apdu::asn1::{self, CodecError, Open, Raw};
use es10_apdu::bpp::{BoundProfilePackage, BppError, Segment};
use es10_apdu::channel::OpenError;
use es10_apdu::es10b::{
    AuthenticateServerRequest, AuthenticateServerResponse, CancelSessionReason,
    CancelSessionRequest, CancelSessionResponse, CtxParams1, CtxParamsForCommonAuthentication,
    DeviceCapabilities, DeviceInfo, GetEuiccChallengeRequest, GetEuiccInfo1Request,
    NotificationSentRequest, PrepareDownloadRequest, ProfileInstallationResult,
};
use es10_apdu::isdr::{CallError, Isdr, IsdrOptions};
use es10_apdu::transport::{Deadline, Fault, Transport, TransportError};
use es10_apdu::types::{self, Certificate, LengthError, Signature, VersionType};
use rsp_common::certificate::{self, CertificateError, Role};
use serde::{Deserialize, Serialize};

/// A card, opened, and a way to servers.
#[derive(Debug)]
pub struct BareLpa<C> {
    isdr: Isdr<Direct>,
    servers: Es9Client<C>,
}

/// A session in which the eUICC has authenticated the server.
#[derive(Clone, Debug)]
pub struct Session {
    /// The server.
    pub address: ServerAddress,
    /// The session's name.
    pub transaction_id: TransactionId,
    /// The server's certificate.
    pub certificate: certificate::Certificate,
    /// What the eUICC answered.
    pub response: Raw<AuthenticateServerResponse>,
}

impl Session {
    /// Whether the server is an SM-DS, by its certificate's policy.
    pub fn is_with_smds(&self) -> bool {
        self.certificate.role(&[Role::DsAuth]).is_ok()
    }
}

/// What an SM-DS tells of an event.
///
/// SGP.22 v2.5 section 5.8.2.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct EventEntry {
    /// What to ask the server with.
    #[serde(rename = "eventId")]
    pub event_id: String,
    /// The server that has it.
    #[serde(rename = "rspServerAddress")]
    pub rsp_server_address: String,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum BareError {
    /// There is no eUICC.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The card failed.
    #[error(transparent)]
    Card(#[from] CallError),
    /// The channel could not be closed.
    #[error(transparent)]
    Close(#[from] TransportError),
    /// The server failed or refused.
    #[error(transparent)]
    Server(#[from] es9_client::Error),
    /// Something the server sent cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The server's certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The session's name is too long for an eUICC.
    #[error(transparent)]
    TransactionId(#[from] LengthError),
    /// The package is none.
    #[error(transparent)]
    Package(#[from] BppError),
}

impl BareError {
    /// The subject and reason code of a server that refused.
    pub fn status(&self) -> Option<(&str, &str)> {
        match self {
            Self::Server(error) => error
                .status()
                .map(|data| (&*data.subject_code, &*data.reason_code)),
            _ => None,
        }
    }
}

impl<C: Connect> BareLpa<C> {
    /// Opens a card.
    pub async fn open(card: Direct, connect: C, roots: Roots) -> Result<Self, BareError> {
        Ok(Self {
            isdr: Isdr::open(card, &IsdrOptions::default()).await?,
            servers: Es9Client::new(connect, roots, Options::default()),
        })
    }

    /// Closes the card's logical channel.
    pub async fn close(self) -> Result<(), BareError> {
        Ok(self.isdr.close().await?)
    }

    /// Takes another card, and keeps the connections to the servers.
    pub async fn change_card(&mut self, card: Direct) -> Result<(), BareError> {
        let isdr = Isdr::open(card, &IsdrOptions::default()).await?;
        std::mem::replace(&mut self.isdr, isdr).close().await?;
        Ok(())
    }

    /// Lets the eUICC authenticate a server and ask it for what the matching ID stands for.
    ///
    /// SGP.22 v2.5 section 3.0.1, up to ES10b.AuthenticateServer. That the eUICC refuses the server
    /// is part of the session.
    pub async fn authenticate(
        &mut self,
        address: &ServerAddress,
        matching_id: &str,
    ) -> Result<Session, BareError> {
        let challenge = self.isdr.call(&GetEuiccChallengeRequest {}).await?;
        let info = self.isdr.call(&GetEuiccInfo1Request {}).await?;
        let request = InitiateAuthenticationRequest {
            euicc_challenge: challenge.euicc_challenge.octets().into(),
            euicc_info1: info.bytes().into(),
            smdp_address: address.host().to_owned(),
        };
        let initiated = self.servers.call(address, &request).await?;
        let request = AuthenticateServerRequest {
            server_signed1: Raw::from_ber(&initiated.server_signed1)?,
            server_signature1: Signature::from_ber(&initiated.server_signature1)?,
            euicc_ci_pk_id_to_be_used: asn1::read(&initiated.euicc_ci_pk_id_to_be_used)?,
            server_certificate: Certificate::from_ber(&initiated.server_certificate)?,
            ctx_params1: context(matching_id),
        };
        Ok(Session {
            address: address.clone(),
            transaction_id: initiated.transaction_id,
            certificate: certificate::Certificate::parse(&initiated.server_certificate)?,
            response: self.isdr.call(&request).await?,
        })
    }

    /// Shows an SM-DS what the eUICC said: the events that wait for it.
    ///
    /// ES11.AuthenticateClient, SGP.22 v2.5 section 5.8.2.
    pub async fn events(&self, session: &Session) -> Result<Vec<EventEntry>, BareError> {
        let request = AuthenticateClientEs11(session.authenticate_client());
        let answer = self.servers.call(&session.address, &request).await?;
        Ok(answer.event_entries)
    }

    /// Downloads and installs what the session is about, and delivers the notification.
    ///
    /// SGP.22 v2.5 section 3.1.3.
    pub async fn download(&mut self, session: &Session) -> Result<(), BareError> {
        let package = self.bind(session).await?;
        for segment in package.segments() {
            if let Some(result) = self.load(segment).await? {
                return self.report(session, &result).await;
            }
        }
        Ok(())
    }

    /// Lets the eUICC make a one-time key, and gets the package that is bound to it.
    ///
    /// ES9+.AuthenticateClient, ES10b.PrepareDownload and ES9+.GetBoundProfilePackage.
    pub async fn bind(&mut self, session: &Session) -> Result<BoundProfilePackage, BareError> {
        let request = session.authenticate_client();
        let offer = self.servers.call(&session.address, &request).await?;
        let request = PrepareDownloadRequest {
            smdp_signed2: Raw::from_ber(&offer.smdp_signed2)?,
            smdp_signature2: Signature::from_ber(&offer.smdp_signature2)?,
            hash_cc: None,
            smdp_certificate: Certificate::from_ber(&offer.smdp_certificate)?,
        };
        let prepared = self.isdr.call(&request).await?;
        let request = GetBoundProfilePackageRequest {
            transaction_id: session.transaction_id.clone(),
            prepare_download_response: prepared.bytes().into(),
        };
        let bound = self.servers.call(&session.address, &request).await?;
        Ok(BoundProfilePackage::cut(&bound.bound_profile_package)?)
    }

    /// Loads one segment of a package; the last one is answered with the result.
    ///
    /// ES10b.LoadBoundProfilePackage, SGP.22 v2.5 section 5.7.6.
    pub async fn load(
        &mut self,
        segment: &Segment,
    ) -> Result<Option<Raw<ProfileInstallationResult>>, BareError> {
        Ok(self.isdr.load_segment(&segment.bytes).await?)
    }

    /// Delivers the result of an installation, and removes its notification from the card.
    pub async fn report(
        &mut self,
        session: &Session,
        result: &Raw<ProfileInstallationResult>,
    ) -> Result<(), BareError> {
        let request = HandleNotification {
            pending_notification: result.bytes().into(),
        };
        self.servers.call(&session.address, &request).await?;
        let data = &result.profile_installation_result_data;
        let seq_number = data.notification_metadata.seq_number;
        self.isdr
            .call(&NotificationSentRequest { seq_number })
            .await?;
        Ok(())
    }

    /// Cancels the session on the card, and gives what the eUICC signed for the server.
    ///
    /// ES10b.CancelSession, SGP.22 v2.5 section 5.7.14.
    pub async fn cancel(
        &mut self,
        session: &Session,
        reason: CancelSessionReason,
    ) -> Result<Raw<CancelSessionResponse>, BareError> {
        let request = CancelSessionRequest {
            transaction_id: session.name()?,
            reason,
        };
        Ok(self.isdr.call(&request).await?)
    }
}

impl Session {
    fn name(&self) -> Result<types::TransactionId, LengthError> {
        types::TransactionId::from_octets(self.transaction_id.value())
    }

    fn authenticate_client(&self) -> AuthenticateClientRequest {
        AuthenticateClientRequest {
            transaction_id: self.transaction_id.clone(),
            authenticate_server_response: self.response.bytes().into(),
        }
    }
}

/// What a device that knows LTE says of itself.
fn context(matching_id: &str) -> CtxParams1 {
    CtxParams1::CtxParamsForCommonAuthentication(Open(CtxParamsForCommonAuthentication {
        matching_id: Some(matching_id.into()),
        device_info: Open(DeviceInfo {
            tac: vec![0x94, 0x10, 0x54, 0x30].into(),
            device_capabilities: Open(DeviceCapabilities {
                eutran_epc_supported_release: Some(VersionType([15, 0, 0])),
                ..DeviceCapabilities::default()
            }),
            imei: None,
        }),
    }))
}

/// A card without a modem: what it answers to a command.
pub struct Direct(Box<Transmit>);

/// From a command to its response.
type Transmit = dyn FnMut(&[u8]) -> Vec<u8> + Send;

impl Direct {
    /// A card that answers as `transmit` does.
    pub fn new(transmit: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        Self(Box::new(transmit))
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").finish_non_exhaustive()
    }
}

impl Transport for Direct {
    async fn transmit(
        &mut self,
        command: &Command,
        _: Deadline,
    ) -> Result<Response, TransportError> {
        let answer = (self.0)(&command.to_bytes());
        Response::parse(&answer).map_err(|_| TransportError::unanswered(Fault::Closed))
    }
}

/// ES11.AuthenticateClient: the request is that of ES9+, the answer is not.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct AuthenticateClientEs11(AuthenticateClientRequest);

#[derive(Debug, Deserialize)]
struct AuthenticateClientOkEs11 {
    #[serde(rename = "eventEntries")]
    event_entries: Vec<EventEntry>,
}

impl Es9Function for AuthenticateClientEs11 {
    const NAME: &'static str = "authenticateClient";
    type Response = AuthenticateClientOkEs11;

    fn response(answer: &Answer) -> Result<Self::Response, AnswerError> {
        answer.output()
    }
}
