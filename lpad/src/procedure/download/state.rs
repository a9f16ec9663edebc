//! The states of a download.

use es9_client::{
    Opaque, ServerAddress,
    es9::{
        AuthenticateClientOk, AuthenticateClientRequest, CancelSessionRequestEs9,
        GetBoundProfilePackageRequest, InitiateAuthenticationOkEs9, InitiateAuthenticationRequest,
    },
};
use es10_apdu::{
    asn1::{CodecError, Extensible, Open, Raw},
    bpp::{BoundProfilePackage, Segment},
    es10b::{
        AuthenticateServerRequest, AuthenticateServerResponse, CancelSessionReason,
        CancelSessionRequest, CancelSessionResponse, CtxParams1, CtxParamsForCommonAuthentication,
        DeviceCapabilities, DeviceInfo, FinalResult, GetEuiccChallengeRequest,
        GetEuiccInfo1Request, GetRatRequest, PendingNotification, PrepareDownloadRequest,
        PrepareDownloadResponse, ProfileInstallationResult, ProfileInstallationResultData,
        ServerSigned1, SmdpSigned2, StoreMetadataRequest,
    },
    isdr::CallError,
    transport::Outcome,
    types::{
        Aid, Certificate, HashCc, Iccid, Oid, PprIds, ProfileClass, Signature,
        SubjectKeyIdentifier, TransactionId, VersionType,
    },
};
use ring::digest::{Context, SHA256, digest};

use super::{CancelError, DownloadError, Failure, SessionEnd, Step};
use crate::{
    policy::{self, Consent},
    procedure::{Card, FunctionError, Server, euicc, notifications, profiles},
    secret::Secret,
};

/// Which profile to download.
#[derive(Clone, Debug)]
pub struct Order {
    /// The SM-DP+.
    pub address: ServerAddress,
    /// The token of the activation code; empty for a profile reserved for this EID.
    pub matching_id: Secret,
    /// The object identifier the SM-DP+ must have.
    pub oid: Option<Oid>,
}

/// The device the eUICC is in.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// The IMEI, 15 digits or 14 without the check digit; `None` when the modem does not tell.
    pub imei: Option<String>,
}

/// The server signed the eUICC's challenge; the eUICC has not seen it yet.
#[derive(Debug)]
pub struct Initiated {
    session: Session,
    server_signed1: Raw<ServerSigned1>,
    server_signature1: Signature,
    euicc_ci_pk_id_to_be_used: SubjectKeyIdentifier,
    server_certificate: Certificate,
}

/// The eUICC accepted the server.
#[derive(Debug)]
pub struct ServerAuthenticated {
    session: Session,
    response: Raw<AuthenticateServerResponse>,
}

/// The server accepted the eUICC and offers a profile.
#[derive(Debug)]
pub struct Offer {
    session: Session,
    metadata: StoreMetadataRequest,
    consent: Consent,
    smdp_signed2: Raw<SmdpSigned2>,
    smdp_signature2: Signature,
    smdp_certificate: Certificate,
}

/// The eUICC made the key the package will be bound to.
#[derive(Debug)]
pub struct Prepared {
    session: Session,
    metadata: StoreMetadataRequest,
    response: Raw<PrepareDownloadResponse>,
}

/// The package is here, checked and cut.
#[derive(Debug)]
pub struct Bound {
    session: Session,
    metadata: StoreMetadataRequest,
    package: BoundProfilePackage,
}

/// The profile is installed, and disabled.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The profile.
    pub iccid: Iccid,
    /// Its ISD-P.
    pub isdp_aid: Aid,
    /// The number of the notification that says so.
    pub seq_number: i64,
}

/// A session whose end was lost on the way: the card knows, see [`resolve`].
#[derive(Clone, Debug)]
pub struct InDoubt {
    /// The server of the session.
    pub address: ServerAddress,
    /// The session.
    pub transaction_id: TransactionId,
    /// The profile.
    pub iccid: Option<Iccid>,
}

/// Octets of a package the card has taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// So far.
    pub done: usize,
    /// In all.
    pub total: usize,
}

/// What all states share.
#[derive(Debug)]
struct Session {
    order: Order,
    /// As the server spelled it, to be given back.
    transaction_id: es9_client::TransactionId,
}

impl Initiated {
    /// Opens a session with the server.
    ///
    /// Any RSP session the eUICC had before is gone from here on.
    ///
    /// # Errors
    /// When the card or server fails, or the server signed something else than it was asked.
    ///
    /// # Cancel safety
    /// The server forgets the session by itself.
    pub async fn start(
        card: &mut impl Card,
        server: &impl Server,
        order: Order,
    ) -> Result<Self, DownloadError> {
        Self::initiate(card, server, order)
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
    ) -> Result<Self, Failure> {
        let info1 = card.call(&GetEuiccInfo1Request {}).await?;
        let challenge = card
            .call(&GetEuiccChallengeRequest {})
            .await?
            .euicc_challenge;
        let request = InitiateAuthenticationRequest {
            euicc_challenge: challenge.octets().into(),
            euicc_info1: info1.bytes().into(),
            smdp_address: order.address.host().to_owned(),
        };
        let answer = server.call(&order.address, &request).await?;
        let initiated = Self::read(order, answer)?;
        let signed = &initiated.server_signed1;
        let order = &initiated.session.order;
        let signed_address = signed.server_address.to_str();
        if !order.address.is_host(&signed_address) {
            let (asked, signed) = (order.address.clone(), signed_address.into_owned());
            return Err(Failure::ServerAddressMismatch { asked, signed });
        }
        initiated
            .session
            .check(&signed.transaction_id, "serverSigned1")?;
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
            session: Session {
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
                read,
            )?,
            server_certificate: member(
                "serverCertificate",
                &answer.server_certificate,
                Certificate::from_ber,
            )?,
        })
    }

    /// Presents the server to the eUICC. A refusal is forwarded to the server, once.
    ///
    /// # Errors
    /// When the card fails or refuses the server.
    ///
    /// # Cancel safety
    /// The challenge is used up; start again.
    pub async fn authenticate_server(
        self,
        card: &mut impl Card,
        server: &impl Server,
        device: &Device,
    ) -> Result<ServerAuthenticated, DownloadError> {
        let Self { session, .. } = self;
        let context = CtxParamsForCommonAuthentication {
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
        let response = card
            .call(&request)
            .await
            .map_err(|error| at(SessionEnd::NotOpened, Failure::Card(error)))?;
        let AuthenticateServerResponse::AuthenticateResponseError(refusal) = &*response else {
            return Ok(ServerAuthenticated { session, response });
        };
        let failure = Failure::AuthenticationRefused(refusal.authenticate_error_code);
        // The server learns why and closes the session; whatever it answers is final.
        let request = session.authenticate_client(&response);
        if let Err(error) = server.call(&session.order.address, &request).await {
            tracing::debug!(%error, "the server's answer to the eUICC's refusal");
        }
        Err(at(SessionEnd::Closed, failure))
    }
}

impl ServerAuthenticated {
    /// Asks the server for the profile on order, and judges its policy rules.
    ///
    /// # Errors
    /// When the server refuses, or what it offers is not allowed on this eUICC.
    ///
    /// # Cancel safety
    /// The server forgets the session by itself.
    pub async fn offer(
        self,
        card: &mut impl Card,
        server: &impl Server,
    ) -> Result<Offer, DownloadError> {
        let Self { session, response } = self;
        let request = session.authenticate_client(&response);
        let answer = match server.call(&session.order.address, &request).await {
            Ok(answer) => answer,
            Err(error) => {
                let step = Step::AuthenticateClient;
                return Err(session.server_failed(card, server, step, error).await);
            }
        };
        let offer = match session.read_offer(answer) {
            Ok(offer) => offer,
            Err(failure) => {
                let reason = CancelSessionReason::UNDEFINED_REASON;
                let step = Step::AuthenticateClient;
                return Err(session.fail(card, server, step, reason, failure).await);
            }
        };
        let judged = judge(card, &offer.metadata).await;
        let Offered {
            metadata,
            smdp_signed2,
            smdp_signature2,
            smdp_certificate,
        } = offer;
        match judged {
            Ok(consent) => Ok(Offer {
                session,
                metadata,
                consent,
                smdp_signed2,
                smdp_signature2,
                smdp_certificate,
            }),
            Err(failure) => {
                let reason = match failure {
                    Failure::Rules(_) => CancelSessionReason::PPR_NOT_ALLOWED,
                    _ => CancelSessionReason::UNDEFINED_REASON,
                };
                Err(session
                    .fail(card, server, Step::Consent, reason, failure)
                    .await)
            }
        }
    }

    /// Ends the session instead.
    ///
    /// # Cancel safety
    /// The server forgets the session by itself.
    pub async fn cancel(
        self,
        card: &mut impl Card,
        server: &impl Server,
        reason: CancelSessionReason,
    ) -> DownloadError {
        let failure = Failure::Declined(reason);
        self.session
            .fail(card, server, Step::AuthenticateClient, reason, failure)
            .await
    }
}

impl Offer {
    /// What the profile says of itself.
    pub fn metadata(&self) -> &StoreMetadataRequest {
        &self.metadata
    }

    /// The profile's policy rules, and whether they need express consent.
    pub fn consent(&self) -> Consent {
        self.consent
    }

    /// Whether a confirmation code is required.
    pub fn confirmation_code_required(&self) -> bool {
        self.smdp_signed2.cc_required_flag
    }

    /// Agrees. A code that is not required is not used; one that is required and missing
    /// postpones the download, so that the order survives.
    ///
    /// # Errors
    /// When the code is missing, or the card fails or refuses.
    ///
    /// # Cancel safety
    /// The eUICC keeps its one-time key for the next attempt.
    pub async fn accept(
        self,
        card: &mut impl Card,
        server: &impl Server,
        confirmation_code: Option<&Secret>,
    ) -> Result<Prepared, DownloadError> {
        let hash_cc = match (self.confirmation_code_required(), confirmation_code) {
            (false, _) => None,
            (true, Some(code)) => Some(hash_cc(code, self.session.transaction_id.value())),
            (true, None) => {
                let reason = CancelSessionReason::POSTPONED;
                let failure = Failure::ConfirmationCodeRequired;
                let step = Step::Consent;
                return Err(self.session.fail(card, server, step, reason, failure).await);
            }
        };
        let Self {
            session, metadata, ..
        } = self;
        let request = PrepareDownloadRequest {
            smdp_signed2: self.smdp_signed2,
            smdp_signature2: self.smdp_signature2,
            hash_cc,
            smdp_certificate: self.smdp_certificate,
        };
        let step = Step::PrepareDownload;
        let response = match card.call(&request).await {
            Ok(response) => response,
            Err(error) => {
                let reason = CancelSessionReason::UNDEFINED_REASON;
                return Err(session.fail(card, server, step, reason, error.into()).await);
            }
        };
        let PrepareDownloadResponse::DownloadResponseError(refusal) = &*response else {
            return Ok(Prepared {
                session,
                metadata,
                response,
            });
        };
        let failure = Failure::PreparationRefused(refusal.download_error_code);
        // The server learns why and closes the session; whatever it answers is final.
        let request = session.get_bound_profile_package(&response);
        if let Err(error) = server.call(&session.order.address, &request).await {
            tracing::debug!(%error, "the server's answer to the eUICC's refusal");
        }
        session.free_card(card).await;
        Err(DownloadError {
            step,
            session: SessionEnd::Closed,
            failure,
        })
    }

    /// Does not agree: rejected, postponed, or nobody answered.
    ///
    /// # Cancel safety
    /// The server forgets the session by itself, and the order stays.
    pub async fn decline(
        self,
        card: &mut impl Card,
        server: &impl Server,
        reason: CancelSessionReason,
    ) -> DownloadError {
        let failure = Failure::Declined(reason);
        self.session
            .fail(card, server, Step::Consent, reason, failure)
            .await
    }
}

impl Prepared {
    /// Fetches the package and compares it with what was agreed to.
    ///
    /// # Errors
    /// When the server refuses, or its package is damaged or for another profile.
    ///
    /// # Cancel safety
    /// The package may count as delivered; the next attempt gets it again.
    pub async fn fetch(
        self,
        card: &mut impl Card,
        server: &impl Server,
    ) -> Result<Bound, DownloadError> {
        let Self {
            session,
            metadata,
            response,
        } = self;
        let step = Step::GetBoundProfilePackage;
        let request = session.get_bound_profile_package(&response);
        let answer = match server.call(&session.order.address, &request).await {
            Ok(answer) => answer,
            Err(error) => return Err(session.server_failed(card, server, step, error).await),
        };
        let checked = session
            .check_value(&answer.transaction_id, "getBoundProfilePackage")
            .and_then(|()| Ok(BoundProfilePackage::cut(&answer.bound_profile_package)?))
            .and_then(|package| session.check_package(&metadata, package));
        match checked {
            Ok(package) => Ok(Bound {
                session,
                metadata,
                package,
            }),
            Err(failure) => {
                let reason = match failure {
                    Failure::MetadataMismatch { .. } => CancelSessionReason::METADATA_MISMATCH,
                    _ => CancelSessionReason::LOAD_BPP_EXECUTION_ERROR,
                };
                Err(session.fail(card, server, step, reason, failure).await)
            }
        }
    }

    /// Ends the session instead.
    ///
    /// # Cancel safety
    /// The server forgets the session by itself.
    pub async fn cancel(
        self,
        card: &mut impl Card,
        server: &impl Server,
        reason: CancelSessionReason,
    ) -> DownloadError {
        let failure = Failure::Declined(reason);
        self.session
            .fail(card, server, Step::GetBoundProfilePackage, reason, failure)
            .await
    }
}

impl Bound {
    /// The session, for the journal: after a crash it tells which result to look for.
    pub fn in_doubt(&self) -> InDoubt {
        self.session.in_doubt(&self.metadata)
    }

    /// Octets to load.
    pub fn len(&self) -> usize {
        self.package.len()
    }

    /// Whether there is nothing to load, which never happens.
    pub fn is_empty(&self) -> bool {
        self.package.is_empty()
    }

    /// Ends the session instead; the last moment to do so.
    ///
    /// # Cancel safety
    /// The server forgets the session by itself.
    pub async fn cancel(
        self,
        card: &mut impl Card,
        server: &impl Server,
        reason: CancelSessionReason,
    ) -> DownloadError {
        let failure = Failure::Declined(reason);
        self.session
            .fail(card, server, Step::Install, reason, failure)
            .await
    }

    /// Loads the package into the card. No segment is ever sent twice.
    ///
    /// # Errors
    /// With [`SessionEnd::Reported`] the eUICC said why. With [`SessionEnd::InDoubt`] an answer was
    /// lost: open the card anew and [`resolve`] before saying anything.
    ///
    /// # Cancel safety
    /// The profile may be installed; [`resolve`] tells.
    pub async fn install(
        self,
        card: &mut impl Card,
        server: &impl Server,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Installed, DownloadError> {
        let total = self.package.len();
        let mut done = 0;
        for Segment { bytes, .. } in self.package.segments() {
            match card.load_segment(bytes).await {
                Ok(None) => {}
                Ok(Some(result)) => return self.conclude(&result),
                Err(error) => return Err(self.broken_off(card, server, error).await),
            }
            done += bytes.len();
            progress(Progress { done, total });
        }
        // Everything was taken and nothing said: the result may be in the notification list.
        Err(self.doubtful(Failure::NoResult))
    }

    async fn broken_off(
        self,
        card: &mut impl Card,
        server: &impl Server,
        error: CallError,
    ) -> DownloadError {
        if error.outcome() == Outcome::Unknown {
            return self.doubtful(error.into());
        }
        let data = match notifications::pending(card).await {
            Ok(pending) => find_result(&pending.notifications, &self.in_doubt()),
            Err(_) => return self.doubtful(error.into()),
        };
        match data {
            Some(data) => DownloadError {
                step: Step::Install,
                session: SessionEnd::Reported,
                failure: outcome_of(&data).err().unwrap_or_else(|| error.into()),
            },
            None => {
                let reason = CancelSessionReason::LOAD_BPP_EXECUTION_ERROR;
                self.session
                    .fail(card, server, Step::Install, reason, error.into())
                    .await
            }
        }
    }

    fn conclude(&self, result: &ProfileInstallationResult) -> Result<Installed, DownloadError> {
        let data = &*result.profile_installation_result_data;
        if data.transaction_id.octets() != self.session.transaction_id.value() {
            let member = "the eUICC's result";
            return Err(self.doubtful(Failure::TransactionIdMismatch { member }));
        }
        outcome_of(data).map_err(|failure| DownloadError {
            step: Step::Install,
            session: SessionEnd::Reported,
            failure,
        })
    }

    fn doubtful(&self, failure: Failure) -> DownloadError {
        let session = SessionEnd::InDoubt(self.in_doubt());
        DownloadError {
            step: Step::Install,
            session,
            failure,
        }
    }
}

/// Asks the card how a session in doubt ended: its notifications hold the result.
///
/// `None` means that nothing of it is there and nothing was installed.
///
/// # Errors
/// When the card cannot be asked.
///
/// # Cancel safety
/// Nothing changes on the card.
pub async fn resolve(
    card: &mut impl Card,
    doubt: &InDoubt,
) -> Result<Option<Result<Installed, Failure>>, FunctionError> {
    let pending = notifications::pending(card).await?.notifications;
    Ok(find_result(&pending, doubt).map(|data| outcome_of(&data)))
}

fn find_result(
    pending: &[Raw<PendingNotification>],
    doubt: &InDoubt,
) -> Option<ProfileInstallationResultData> {
    pending
        .iter()
        .find_map(|notification| match &**notification {
            PendingNotification::ProfileInstallationResult(result) => {
                let data = &result.profile_installation_result_data;
                (data.transaction_id == doubt.transaction_id).then(|| (**data).clone())
            }
            PendingNotification::OtherSignedNotification(_) => None,
        })
}

fn outcome_of(data: &ProfileInstallationResultData) -> Result<Installed, Failure> {
    let metadata = &data.notification_metadata;
    match &data.final_result {
        FinalResult::SuccessResult(success) => Ok(Installed {
            // A result without ICCID would be a success nobody can name.
            iccid: metadata.iccid.ok_or(Failure::NoResult)?,
            isdp_aid: success.aid.clone(),
            seq_number: metadata.seq_number,
        }),
        FinalResult::ErrorResult(error) => Err(Failure::Installation {
            command: error.bpp_command_id,
            reason: error.error_reason,
            iccid: metadata.iccid,
            sima_response: error
                .sima_response
                .as_ref()
                .map(|response| response.to_vec()),
        }),
    }
}

/// What AuthenticateClient gave, read.
struct Offered {
    metadata: StoreMetadataRequest,
    smdp_signed2: Raw<SmdpSigned2>,
    smdp_signature2: Signature,
    smdp_certificate: Certificate,
}

impl Session {
    fn authenticate_client(
        &self,
        response: &Raw<AuthenticateServerResponse>,
    ) -> AuthenticateClientRequest {
        AuthenticateClientRequest {
            transaction_id: self.transaction_id.clone(),
            authenticate_server_response: response.bytes().into(),
        }
    }

    fn get_bound_profile_package(
        &self,
        response: &Raw<PrepareDownloadResponse>,
    ) -> GetBoundProfilePackageRequest {
        GetBoundProfilePackageRequest {
            transaction_id: self.transaction_id.clone(),
            prepare_download_response: response.bytes().into(),
        }
    }

    fn read_offer(&self, answer: AuthenticateClientOk) -> Result<Offered, Failure> {
        self.check_value(&answer.transaction_id, "authenticateClient")?;
        let offered = Offered {
            metadata: member("profileMetadata", &answer.profile_metadata, read)?,
            smdp_signed2: member("smdpSigned2", &answer.smdp_signed2, Raw::from_ber)?,
            smdp_signature2: member(
                "smdpSignature2",
                &answer.smdp_signature2,
                Signature::from_ber,
            )?,
            smdp_certificate: member(
                "smdpCertificate",
                &answer.smdp_certificate,
                Certificate::from_ber,
            )?,
        };
        self.check(&offered.smdp_signed2.transaction_id, "smdpSigned2")?;
        Ok(offered)
    }

    fn check_package(
        &self,
        offered: &StoreMetadataRequest,
        package: BoundProfilePackage,
    ) -> Result<BoundProfilePackage, Failure> {
        let inside = |member| move |error| Failure::ServerData { member, error };
        let channel = package
            .initialise_secure_channel()
            .map_err(inside("boundProfilePackage"))?;
        self.check(&channel.transaction_id, "boundProfilePackage")?;
        let packed = package
            .store_metadata()
            .map_err(inside("boundProfilePackage"))?;
        let differs = [
            (packed.iccid != offered.iccid, "ICCID"),
            (packed.rules() != offered.rules(), "policy rules"),
            (packed.profile_owner != offered.profile_owner, "operator"),
            (packed.class() != offered.class(), "profile class"),
        ];
        if let Some((_, what)) = differs.into_iter().find(|(differs, _)| *differs) {
            return Err(Failure::MetadataMismatch { what });
        }
        if packed.profile_name != offered.profile_name
            || packed.service_provider_name != offered.service_provider_name
        {
            tracing::info!("the package's names differ from those offered");
        }
        Ok(package)
    }

    /// Compares a session name inside DER with the server's.
    fn check(&self, found: &TransactionId, member: &'static str) -> Result<(), Failure> {
        match found.octets() == self.transaction_id.value() {
            true => Ok(()),
            false => Err(Failure::TransactionIdMismatch { member }),
        }
    }

    /// Compares a session name in JSON with the server's first one.
    fn check_value(
        &self,
        found: &es9_client::TransactionId,
        member: &'static str,
    ) -> Result<(), Failure> {
        match found.value() == self.transaction_id.value() {
            true => Ok(()),
            false => Err(Failure::TransactionIdMismatch { member }),
        }
    }

    /// Ends the session after the server refused, or was lost.
    async fn server_failed(
        &self,
        card: &mut impl Card,
        server: &impl Server,
        step: Step,
        error: es9_client::Error,
    ) -> DownloadError {
        if error.outcome() != es9_client::Outcome::Refused {
            // The order must survive a bad line: postponed keeps it, other reasons may end it.
            let reason = CancelSessionReason::POSTPONED;
            return self.fail(card, server, step, reason, error.into()).await;
        }
        // The server has closed the session; the card is told for its own sake only.
        self.free_card(card).await;
        DownloadError {
            step,
            session: SessionEnd::Closed,
            failure: error.into(),
        }
    }

    /// Cancels the session on card and server, and makes the failure an error.
    async fn fail(
        &self,
        card: &mut impl Card,
        server: &impl Server,
        step: Step,
        reason: CancelSessionReason,
        failure: Failure,
    ) -> DownloadError {
        let session = match self.cancel(card, server, reason).await {
            Ok(()) => SessionEnd::Cancelled(reason),
            Err(error) => SessionEnd::CancelFailed(reason, error),
        };
        DownloadError {
            step,
            session,
            failure,
        }
    }

    async fn cancel(
        &self,
        card: &mut impl Card,
        server: &impl Server,
        reason: CancelSessionReason,
    ) -> Result<(), CancelError> {
        let response = self.cancel_on_card(card, reason).await?;
        let request = CancelSessionRequestEs9 {
            transaction_id: self.transaction_id.clone(),
            cancel_session_response: Opaque::from(response.bytes()),
        };
        server.call(&self.order.address, &request).await?;
        Ok(())
    }

    async fn cancel_on_card(
        &self,
        card: &mut impl Card,
        reason: CancelSessionReason,
    ) -> Result<Raw<CancelSessionResponse>, FunctionError> {
        let transaction_id = self.octets();
        let response = card
            .call(&CancelSessionRequest {
                transaction_id,
                reason,
            })
            .await?;
        match &*response {
            CancelSessionResponse::CancelSessionResponseOk(_) => Ok(response),
            CancelSessionResponse::CancelSessionResponseError(error) => Err(
                FunctionError::refused::<CancelSessionRequest>(error.0, error),
            ),
        }
    }

    /// Lets the card forget the session although the server needs to hear nothing: some cards
    /// refuse the next package until they are told.
    async fn free_card(&self, card: &mut impl Card) {
        let reason = CancelSessionReason::UNDEFINED_REASON;
        if let Err(error) = self.cancel_on_card(card, reason).await {
            tracing::debug!(%error, "the card did not forget the session");
        }
    }

    fn in_doubt(&self, metadata: &StoreMetadataRequest) -> InDoubt {
        InDoubt {
            address: self.order.address.clone(),
            transaction_id: self.octets(),
            iccid: Some(metadata.iccid),
        }
    }

    fn octets(&self) -> TransactionId {
        // Both types hold 1 to 16 octets.
        TransactionId::from_octets(self.transaction_id.value())
            .expect("the client checked the length")
    }
}

impl Device {
    fn info(&self) -> DeviceInfo {
        let digits: Vec<u8> = self
            .imei
            .iter()
            .flat_map(|imei| {
                imei.bytes()
                    .filter(u8::is_ascii_digit)
                    .map(|digit| digit - b'0')
            })
            .collect();
        let swapped = |digits: &[u8]| -> Vec<u8> {
            let nibble = |pair: &[u8], at: usize| pair.get(at).copied().unwrap_or(0xF);
            digits
                .chunks(2)
                .map(|pair| nibble(pair, 1) << 4 | nibble(pair, 0))
                .collect()
        };
        let tac = match digits.get(..8) {
            Some(tac) => swapped(tac),
            None => vec![0; 4],
        };
        let imei = (digits.len() == 15).then(|| {
            let mut octets = swapped(&digits[..14]);
            // The check digit stands in the high half of the last octet.
            octets.push(digits[14] << 4 | 0xF);
            octets
        });
        let release = |major| Some(VersionType([major, 0, 0]));
        let device_capabilities = Open(DeviceCapabilities {
            gsm_supported_release: release(9),
            utran_supported_release: release(9),
            eutran_epc_supported_release: release(9),
            ..DeviceCapabilities::default()
        });
        DeviceInfo {
            tac: tac.into(),
            device_capabilities,
            imei: imei.map(Into::into),
        }
    }
}

/// Judges the policy rules on offer; a profile without any costs no APDU.
async fn judge(card: &mut impl Card, metadata: &StoreMetadataRequest) -> Result<Consent, Failure> {
    let rules = metadata.rules();
    if !rules.intersects(PprIds::PPR1 | PprIds::PPR2) {
        return Ok(Consent {
            rules,
            strong: false,
        });
    }
    let forbidden = euicc::info2(card)
        .await?
        .forbidden_profile_policy_rules
        .unwrap_or_default();
    let table = card.call(&GetRatRequest {}).await?.rat;
    let operational = profiles::list(card)
        .await?
        .iter()
        .any(|profile| profile.class() == ProfileClass::OPERATIONAL);
    Ok(policy::judge_rules(
        metadata,
        forbidden,
        &table,
        operational,
    )?)
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

/// SHA-256(SHA-256(code) ‖ transactionId), the code exactly as entered.
fn hash_cc(code: &Secret, transaction_id: &[u8]) -> HashCc {
    let mut context = Context::new(&SHA256);
    context.update(digest(&SHA256, code.expose().as_bytes()).as_ref());
    context.update(transaction_id);
    // SHA-256 has the 32 octets of the type.
    HashCc::from_octets(context.finish().as_ref()).expect("a SHA-256 value has 32 octets")
}

fn read<T: Extensible>(bytes: &[u8]) -> Result<T, CodecError> {
    es10_apdu::asn1::read(bytes)
}

/// Reads a member of a server's answer, saying which one when it cannot be read.
fn member<T>(
    member: &'static str,
    bytes: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, CodecError>,
) -> Result<T, Failure> {
    read(bytes).map_err(|error| Failure::ServerData { member, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashed_confirmation_code_is_the_one_of_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../../es10-apdu/vectors/vectors.json"))
                .unwrap();
        let transaction_id: Vec<u8> = (1..=16).collect();
        let hashed = hash_cc(&Secret::new("1234"), &transaction_id);
        assert_eq!(
            hex::encode(hashed.octets()),
            vectors["es10"]["hashCc"].as_str().unwrap()
        );
    }

    #[test]
    fn the_imei_is_coded_with_its_check_digit_in_the_high_half() {
        let device = Device {
            imei: Some("356938035643809".into()),
        };
        let info = device.info();
        assert_eq!(hex::encode(&info.tac), "53968330");
        assert_eq!(hex::encode(info.imei.unwrap()), "539683306534089f");
        let unknown = Device::default().info();
        assert_eq!((unknown.tac.len(), unknown.imei), (4, None));
    }
}
