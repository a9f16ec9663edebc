use serde::{Deserialize, Serialize};

use crate::envelope::{Answer, AnswerError};
use crate::function::Es9Function;
use crate::wire::{Opaque, TransactionId};

/// Asks for the profile package bound to the one-time key of this eUICC.
///
/// SGP.22 v2.5 section 5.6.2. The response of the eUICC may be its error form.
#[derive(Clone, Debug, Serialize)]
pub struct GetBoundProfilePackageRequest {
    /// The session.
    #[serde(rename = "transactionId")]
    pub transaction_id: TransactionId,
    /// PrepareDownloadResponse, the whole TLV `BF21`.
    #[serde(rename = "prepareDownloadResponse")]
    pub prepare_download_response: Opaque,
}

impl Es9Function for GetBoundProfilePackageRequest {
    const NAME: &'static str = "getBoundProfilePackage";
    const REPEATABLE: bool = true;
    type Response = GetBoundProfilePackageOk;

    fn response(answer: &Answer) -> Result<Self::Response, AnswerError> {
        answer.output()
    }
}

/// The bound profile package.
///
/// SGP.22 v2.5 section 5.6.2.
#[derive(Clone, Debug, Deserialize)]
pub struct GetBoundProfilePackageOk {
    /// The session.
    #[serde(rename = "transactionId")]
    pub transaction_id: TransactionId,
    /// BoundProfilePackage, the whole TLV `BF36`.
    #[serde(rename = "boundProfilePackage")]
    pub bound_profile_package: Opaque,
}
