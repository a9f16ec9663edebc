use serde::{Deserialize, Deserializer, Serialize};

use crate::envelope::{Answer, AnswerError};
use crate::function::Es9Function;
use crate::wire::{Opaque, TransactionId};

/// Opens an RSP session and asks the SM-DP+ to prove itself to the eUICC.
///
/// SGP.22 v2.5 section 5.6.1. On success the server keeps a session under a new transaction id.
#[derive(Clone, Debug, Serialize)]
pub struct InitiateAuthenticationRequest {
    /// The 16 raw bytes of ES10b.GetEUICCChallenge, without a tag.
    #[serde(rename = "euiccChallenge")]
    pub euicc_challenge: Opaque,
    /// EUICCInfo1, the whole TLV `BF20`.
    #[serde(rename = "euiccInfo1")]
    pub euicc_info1: Opaque,
    /// The FQDN under which the LPA calls this server.
    #[serde(rename = "smdpAddress")]
    pub smdp_address: String,
}

impl Es9Function for InitiateAuthenticationRequest {
    const NAME: &'static str = "initiateAuthentication";
    const REPEATABLE: bool = true;
    type Response = InitiateAuthenticationOkEs9;

    fn response(answer: &Answer) -> Result<Self::Response, AnswerError> {
        answer.output()
    }
}

/// What ES10b.AuthenticateServer needs.
///
/// SGP.22 v2.5 section 5.6.1.
#[derive(Clone, Debug, Deserialize)]
pub struct InitiateAuthenticationOkEs9 {
    /// The session's name, as the server spelled it.
    #[serde(rename = "transactionId")]
    pub transaction_id: TransactionId,
    /// serverSigned1, the whole TLV `30`.
    #[serde(rename = "serverSigned1")]
    pub server_signed1: Opaque,
    /// serverSignature1, the whole TLV `5F37`.
    #[serde(rename = "serverSignature1")]
    pub server_signature1: Opaque,
    /// euiccCiPKIdToBeUsed, the whole TLV `04`.
    #[serde(
        rename = "euiccCiPKIdToBeUsed",
        deserialize_with = "subject_key_identifier"
    )]
    pub euicc_ci_pk_id_to_be_used: Opaque,
    /// CERT.DPauth.ECDSA.
    #[serde(rename = "serverCertificate")]
    pub server_certificate: Opaque,
}

/// Accepts a key identifier that came without its OCTET STRING header.
fn subject_key_identifier<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Opaque, D::Error> {
    let bytes = Opaque::deserialize(deserializer)?;
    Ok(match bytes.len() {
        20 => Opaque::from([&[0x04, 20], &bytes[..]].concat()),
        _ => bytes,
    })
}
