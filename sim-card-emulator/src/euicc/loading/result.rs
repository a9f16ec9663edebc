//! How an installation ends: its result, signed and kept (SGP.22 v2.5 section 2.5.6).

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::{Open, Raw};
use es10_apdu::es10b::{
    BppCommandId, ErrorReason, ErrorResult, FinalResult, ProfileInstallationResultData,
};
use es10_apdu::types::{NotificationEvent, TransactionId};
use rsp_common::der::{Tlv, constructed};

use super::super::session::{Authenticated, Session};
use super::super::{DamagedResult, Euicc, Installing};
use super::arrival::Loading;
use super::failure::Failure;

impl Euicc {
    /// Reports an installation that was cut off, if there was one.
    pub(in crate::euicc) fn report_interruption(&mut self) {
        if self.memory.installing.is_some() && !self.settings.interruption_reported {
            self.flash().installing = None;
        }
        if let Some(installing) = &self.memory.installing {
            let command_id = BppCommandId(installing.bpp_command_id);
            self.end_with_error(&ErrorReason::INTERRUPTION.into(), command_id);
        }
    }

    /// Refuses a package, for a reason that was wished for, when it could have been begun.
    pub(in crate::euicc) fn refuse_package(
        &mut self,
        reason: ErrorReason,
    ) -> Result<Vec<u8>, StatusWord> {
        let (session, _) = self.prepared().ok_or(StatusWord::CONDITIONS_OF_USE)?;
        let installing = installing(session);
        self.flash().installing = Some(installing);
        Ok(self.end_with_error(&reason.into(), BppCommandId::INITIALISE_SECURE_CHANNEL))
    }

    /// Refuses the segment that arrives, for a reason that was wished for.
    pub(in crate::euicc) fn refuse_segment(&mut self, reason: ErrorReason) -> Vec<u8> {
        let expected = match &self.session {
            Session::Authenticated(session) => session.loading.as_ref().map(Loading::command_id),
            _ => None,
        };
        let expected = expected.unwrap_or(BppCommandId::INITIALISE_SECURE_CHANNEL);
        self.end_with_error(&reason.into(), expected)
    }

    pub(super) fn end_with_error(&mut self, failure: &Failure, expected: BppCommandId) -> Vec<u8> {
        self.end(FinalResult::ErrorResult(Open(ErrorResult {
            bpp_command_id: failure.command_id.unwrap_or(expected),
            error_reason: failure.reason,
            sima_response: failure.sima_response.clone().map(Into::into),
        })))
    }

    /// Signs and keeps the result; the session is over.
    pub(super) fn end(&mut self, final_result: FinalResult) -> Vec<u8> {
        if matches!(self.session, Session::Authenticated(_)) {
            self.session = Session::None;
        }
        let Some(installing) = self.flash().installing.take() else {
            return Vec::new();
        };
        let Ok(transaction_id) = TransactionId::from_octets(&installing.transaction_id) else {
            return Vec::new();
        };
        let metadata = self.notification_metadata(
            NotificationEvent::INSTALL,
            installing.address.into(),
            installing.iccid,
        );
        let data = Raw::new(ProfileInstallationResultData {
            transaction_id,
            notification_metadata: metadata.clone(),
            smdp_oid: Some(installing.owner),
            final_result,
        });
        let (data, message) = match self.settings.damaged_result {
            None => (data.bytes().to_vec(), data.into_bytes()),
            Some(DamagedResult::WithoutOutcome) => {
                let data = without_outcome(data.bytes());
                (data.clone(), data)
            }
            Some(DamagedResult::WrongSignature) => (data.into_bytes(), Vec::new()),
        };
        let chain = self.identity.chain(&installing.ci_key_identifier);
        let signature = chain.sign(&message);
        let der = constructed(0xBF37, &[data, signature.bytes().to_vec()]);
        self.keep_notification(&metadata, der.clone());
        der
    }

    /// Keeps in flash how far the package is, for the report after a power loss.
    pub(super) fn note_progress(&mut self, loading: &Loading, expected: BppCommandId) {
        let Some(noted) = self.memory.installing.clone() else {
            return;
        };
        let iccid = loading.stored.as_ref().map(|metadata| metadata.iccid);
        let now = Installing {
            bpp_command_id: expected.0,
            iccid,
            ..noted.clone()
        };
        if now != noted {
            self.flash().installing = Some(now);
        }
    }
}

/// What is noted of a package that begins.
pub(super) fn installing(session: &Authenticated) -> Installing {
    Installing {
        transaction_id: session.transaction_id.octets().to_vec(),
        address: session.server_address.clone(),
        owner: session.owner.clone(),
        iccid: None,
        bpp_command_id: BppCommandId::INITIALISE_SECURE_CHANNEL.0,
        ci_key_identifier: session.ci_key_identifier.clone(),
    }
}

/// Result data that lacks its last part, the outcome.
fn without_outcome(data: &[u8]) -> Vec<u8> {
    let parts = Tlv::exact(data).and_then(|data| data.children());
    let parts = parts.unwrap_or_default();
    let kept = parts[..parts.len().saturating_sub(1)].iter();
    constructed(
        0xBF27,
        &kept.map(|part| part.bytes.to_vec()).collect::<Vec<_>>(),
    )
}
