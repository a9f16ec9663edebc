use serde::Serialize;

use crate::envelope::{Answer, AnswerError};
use crate::function::Es9Function;
use crate::wire::{Opaque, TransactionId};

/// Tells the SM-DP+ that the session ends, with the reason signed by the eUICC.
///
/// SGP.22 v2.5 section 5.6.5.
#[derive(Clone, Debug, Serialize)]
pub struct CancelSessionRequestEs9 {
    /// The session.
    #[serde(rename = "transactionId")]
    pub transaction_id: TransactionId,
    /// CancelSessionResponse, the whole TLV `BF41`.
    #[serde(rename = "cancelSessionResponse")]
    pub cancel_session_response: Opaque,
}

impl Es9Function for CancelSessionRequestEs9 {
    const NAME: &'static str = "cancelSession";
    const REPEATABLE: bool = true;
    type Response = CancelSessionOk;

    fn response(answer: &Answer) -> Result<Self::Response, AnswerError> {
        answer.executed().map(|()| CancelSessionOk)
    }
}

/// The session is closed on the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CancelSessionOk;
