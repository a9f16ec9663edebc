//! The session all states share: its name, its checks and its end.

use es9_client::es9::{
    AuthenticateClientOk, AuthenticateClientRequest, CancelSessionRequestEs9,
    GetBoundProfilePackageRequest,
};
use es9_client::{Es9Function, Opaque};
use es10_apdu::asn1::{self, CodecError, Raw};
use es10_apdu::bpp::BoundProfilePackage;
use es10_apdu::es10b::{
    AuthenticateServerResponse, CancelSessionReason, CancelSessionRequest, CancelSessionResponse,
    PrepareDownloadResponse, SmdpSigned2, StoreMetadataRequest,
};
use es10_apdu::types::{Certificate, Signature, TransactionId};

use super::{CancelError, DownloadError, Failure, InDoubt, Order, SessionEnd, Step};
use crate::procedure::{Card, FunctionError, Server, ServerError, call_with_retry};

/// What all states share.
#[derive(Debug)]
pub(super) struct RspSession {
    pub(super) order: Order,
    /// As the server spelled it, to be given back.
    pub(super) transaction_id: es9_client::TransactionId,
}

impl RspSession {
    pub(super) fn authenticate_client(
        &self,
        response: &Raw<AuthenticateServerResponse>,
    ) -> AuthenticateClientRequest {
        AuthenticateClientRequest {
            transaction_id: self.transaction_id.clone(),
            authenticate_server_response: response.bytes().into(),
        }
    }

    pub(super) fn get_bound_profile_package(
        &self,
        response: &Raw<PrepareDownloadResponse>,
    ) -> GetBoundProfilePackageRequest {
        GetBoundProfilePackageRequest {
            transaction_id: self.transaction_id.clone(),
            prepare_download_response: response.bytes().into(),
        }
    }

    pub(super) fn read_offer(&self, answer: AuthenticateClientOk) -> Result<Offered, Failure> {
        self.check(answer.transaction_id.value(), "authenticateClient")?;
        let offered = Offered {
            metadata: member("profileMetadata", &answer.profile_metadata, asn1::read)?,
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
        self.check(offered.smdp_signed2.transaction_id.octets(), "smdpSigned2")?;
        Ok(offered)
    }

    pub(super) fn check_package(
        &self,
        offered: &StoreMetadataRequest,
        package: BoundProfilePackage,
    ) -> Result<BoundProfilePackage, Failure> {
        let member = "boundProfilePackage";
        let unreadable = |error| Failure::ServerData { member, error };
        let channel = package.initialise_secure_channel().map_err(unreadable)?;
        self.check(channel.transaction_id.octets(), member)?;
        let packed = package.store_metadata().map_err(unreadable)?;
        // What the person, the rules and the list of profiles were asked about has to be what is
        // installed. Names are for people to read, and a difference there is no reason to refuse.
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

    /// Compares a transaction id, in JSON or inside DER, with the one the session began with.
    pub(super) fn check(&self, found: &[u8], member: &'static str) -> Result<(), Failure> {
        match found == self.transaction_id.value() {
            true => Ok(()),
            false => Err(Failure::TransactionIdMismatch { member }),
        }
    }

    /// Calls a function of the server; a failure ends the session.
    pub(super) async fn call<F: Es9Function>(
        &self,
        card: &mut impl Card,
        server: &impl Server,
        step: Step,
        request: &F,
    ) -> Result<F::Response, DownloadError> {
        match server.call(&self.order.address, request).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.server_failed(card, server, step, error).await),
        }
    }

    /// Forwards the eUICC's refusal, once. The server learns why and closes the session; whatever it
    /// answers is final.
    pub(super) async fn forward_refusal(&self, server: &impl Server, request: &impl Es9Function) {
        if let Err(error) = server.call(&self.order.address, request).await {
            tracing::debug!(%error, "the server's answer to the eUICC's refusal");
        }
    }

    async fn server_failed(
        &self,
        card: &mut impl Card,
        server: &impl Server,
        step: Step,
        error: ServerError,
    ) -> DownloadError {
        let is_refusal = matches!(&error, ServerError::Failed(cause)
            if cause.outcome() == es9_client::Outcome::Refused);
        if !is_refusal {
            return self.fail(card, server, step, error.into()).await;
        }
        // The server has closed the session, and CancelSession would be refused there.
        self.free_card(card).await;
        DownloadError {
            step,
            session: SessionEnd::Closed,
            failure: error.into(),
        }
    }

    /// Ends the session because a client, a person or a policy does not want the profile.
    pub(super) async fn decline(
        &self,
        card: &mut impl Card,
        server: &impl Server,
        step: Step,
        reason: CancelSessionReason,
    ) -> DownloadError {
        self.fail(card, server, step, Failure::Declined(reason))
            .await
    }

    /// Cancels the session on card and server, and makes the failure an error.
    pub(super) async fn fail(
        &self,
        card: &mut impl Card,
        server: &impl Server,
        step: Step,
        failure: Failure,
    ) -> DownloadError {
        let reason = cancel_reason(step, &failure);
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
        // The card first: the server takes no reason that the card has not signed.
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
        let request = CancelSessionRequest {
            transaction_id,
            reason,
        };
        let response = call_with_retry(card, &request).await?;
        match &*response {
            CancelSessionResponse::CancelSessionResponseOk(_) => Ok(response),
            CancelSessionResponse::CancelSessionResponseError(error) => Err(
                FunctionError::refused::<CancelSessionRequest>(error.0, error),
            ),
        }
    }

    /// Lets the card forget the session although the server needs to hear nothing: some cards
    /// refuse the next package until they are told.
    pub(super) async fn free_card(&self, card: &mut impl Card) {
        // The reason does not matter: what the card signs is not sent.
        let reason = CancelSessionReason::UNDEFINED_REASON;
        if let Err(error) = self.cancel_on_card(card, reason).await {
            tracing::debug!(%error, "the card did not forget the session");
        }
    }

    pub(super) fn in_doubt(&self, metadata: &StoreMetadataRequest) -> InDoubt {
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

/// The reason a session is cancelled with.
///
/// Only what the server sent, the card's rules and the person may end an order. Whatever else goes
/// wrong passes, and the same order is to work afterwards: "postponed" keeps it. Servers close the
/// order after endUserRejection, so only a person's no is sent as that.
fn cancel_reason(step: Step, failure: &Failure) -> CancelSessionReason {
    match failure {
        Failure::Declined(reason) => *reason,
        Failure::Rules(_) => CancelSessionReason::PPR_NOT_ALLOWED,
        Failure::MetadataMismatch { .. } => CancelSessionReason::METADATA_MISMATCH,
        Failure::Bpp(_) => CancelSessionReason::LOAD_BPP_EXECUTION_ERROR,
        Failure::ServerData { .. } | Failure::TransactionIdMismatch { .. } => match step {
            Step::GetBoundProfilePackage => CancelSessionReason::LOAD_BPP_EXECUTION_ERROR,
            _ => CancelSessionReason::UNDEFINED_REASON,
        },
        Failure::AuthenticationRefused(_)
        | Failure::Certificate(_)
        | Failure::ChallengeMismatch
        | Failure::Installation { .. }
        | Failure::OidMismatch { .. }
        | Failure::PreparationRefused(_)
        | Failure::ServerAddressMismatch { .. }
        | Failure::TransactionId(_) => CancelSessionReason::UNDEFINED_REASON,
        Failure::Card(_)
        | Failure::ConfirmationCodeRequired
        | Failure::NoResult
        | Failure::Server(_) => CancelSessionReason::POSTPONED,
    }
}

/// What AuthenticateClient gave, read.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) metadata: StoreMetadataRequest,
    pub(super) smdp_signed2: Raw<SmdpSigned2>,
    pub(super) smdp_signature2: Signature,
    pub(super) smdp_certificate: Certificate,
}

/// Reads a member of a server's answer, saying which one when it cannot be read.
pub(super) fn member<T>(
    member: &'static str,
    bytes: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, CodecError>,
) -> Result<T, Failure> {
    read(bytes).map_err(|error| Failure::ServerData { member, error })
}
