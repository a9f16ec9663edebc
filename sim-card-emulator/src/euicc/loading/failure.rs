//! Why a package is refused, as its result will say.

use es10_apdu::es10b::{BppCommandId, ErrorReason};
use rsp_common::bsp::BspError;

use crate::saip::PeFailure;

/// Why a package is refused.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// When it is not the part that was expected.
    pub(super) command_id: Option<BppCommandId>,
    pub(super) reason: ErrorReason,
    pub(super) sima_response: Option<Vec<u8>>,
}

impl Failure {
    pub(super) fn at(command_id: BppCommandId, reason: ErrorReason) -> Self {
        Self {
            command_id: Some(command_id),
            ..reason.into()
        }
    }
}

impl From<ErrorReason> for Failure {
    fn from(reason: ErrorReason) -> Self {
        Self {
            command_id: None,
            reason,
            sima_response: None,
        }
    }
}

impl From<BspError> for Failure {
    fn from(error: BspError) -> Self {
        match error {
            BspError::Structure => ErrorReason::BSP_STRUCTURE_ERROR.into(),
            BspError::Security => ErrorReason::BSP_SECURITY_ERROR.into(),
        }
    }
}

impl From<PeFailure> for Failure {
    fn from(failure: PeFailure) -> Self {
        Self {
            sima_response: Some(failure.sima_response()),
            ..ErrorReason::PE_PROCESSING_ERROR.into()
        }
    }
}
