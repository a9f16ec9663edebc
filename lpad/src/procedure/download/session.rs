//! The session all states share: its name, its checks and its end.

use es9_client::Opaque;
use es9_client::es9::{
    AuthenticateClientOk, AuthenticateClientRequest, CancelSessionRequestEs9,
    GetBoundProfilePackageRequest,
};
use es10_apdu::asn1::{CodecError, Extensible, Raw};
use es10_apdu::bpp::BoundProfilePackage;
use es10_apdu::es10b::{
    AuthenticateServerResponse, CancelSessionReason, CancelSessionRequest, CancelSessionResponse,
    PrepareDownloadResponse, SmdpSigned2, StoreMetadataRequest,
};
use es10_apdu::types::{Certificate, Signature, TransactionId};

use super::{CancelError, DownloadError, Failure, InDoubt, Order, SessionEnd, Step};
use crate::procedure::{Card, FunctionError, Server, ServerError, call_again};

/// What all states share.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) order: Order,
    /// As the server spelled it, to be given back.
    pub(super) transaction_id: es9_client::TransactionId,
}

impl Session {
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

    pub(super) fn check_package(
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
    pub(super) fn check(&self, found: &TransactionId, member: &'static str) -> Result<(), Failure> {
        match found.octets() == self.transaction_id.value() {
            true => Ok(()),
            false => Err(Failure::TransactionIdMismatch { member }),
        }
    }

    /// Compares a session name in JSON with the server's first one.
    pub(super) fn check_value(
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
    pub(super) async fn server_failed(
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
        // The server has closed the session; the card is told for its own sake only.
        self.free_card(card).await;
        DownloadError {
            step,
            session: SessionEnd::Closed,
            failure: error.into(),
        }
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
        let response = call_again(card, &request).await?;
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
/// wrong passes, and the same order is to work afterwards: "postponed" keeps it.
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
        | Failure::Function(_)
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

pub(super) fn read<T: Extensible>(bytes: &[u8]) -> Result<T, CodecError> {
    es10_apdu::asn1::read(bytes)
}

/// Reads a member of a server's answer, saying which one when it cannot be read.
pub(super) fn member<T>(
    member: &'static str,
    bytes: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, CodecError>,
) -> Result<T, Failure> {
    read(bytes).map_err(|error| Failure::ServerData { member, error })
}
