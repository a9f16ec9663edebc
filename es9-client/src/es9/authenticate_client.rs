use serde::{Deserialize, Serialize};

use crate::envelope::{Answer, AnswerError};
use crate::function::Es9Function;
use crate::wire::{Opaque, TransactionId};

/// Authenticates the eUICC and asks for the profile order behind its matching id.
///
/// SGP.22 v2.5 section 5.6.3. The response of the eUICC may be its error form: the server then
/// closes the session and refuses.
#[derive(Clone, Debug, Serialize)]
pub struct AuthenticateClientRequest {
    /// The session that [`InitiateAuthenticationOkEs9`](super::InitiateAuthenticationOkEs9) opened.
    #[serde(rename = "transactionId")]
    pub transaction_id: TransactionId,
    /// AuthenticateServerResponse, the whole TLV `BF38`.
    #[serde(rename = "authenticateServerResponse")]
    pub authenticate_server_response: Opaque,
}

impl Es9Function for AuthenticateClientRequest {
    const NAME: &'static str = "authenticateClient";
    const REPEATABLE: bool = true;
    type Response = AuthenticateClientOk;

    fn response(answer: &Answer) -> Result<Self::Response, AnswerError> {
        answer.output()
    }
}

/// What the user's consent and ES10b.PrepareDownload need.
///
/// SGP.22 v2.5 section 5.6.3.
#[derive(Clone, Debug, Deserialize)]
pub struct AuthenticateClientOk {
    /// The session.
    #[serde(rename = "transactionId")]
    pub transaction_id: TransactionId,
    /// StoreMetadataRequest, the whole TLV `BF25`. Not signed here: it is for display only.
    #[serde(rename = "profileMetadata")]
    pub profile_metadata: Opaque,
    /// smdpSigned2, the whole TLV `30`.
    #[serde(rename = "smdpSigned2")]
    pub smdp_signed2: Opaque,
    /// smdpSignature2, the whole TLV `5F37`.
    #[serde(rename = "smdpSignature2")]
    pub smdp_signature2: Opaque,
    /// CERT.DPpb.ECDSA.
    #[serde(rename = "smdpCertificate")]
    pub smdp_certificate: Opaque,
}
