use std::time::Duration;

use serde::Serialize;

use crate::deadlines::Deadlines;
use crate::envelope::{Answer, AnswerError};
use crate::function::Es9Function;
use crate::wire::Opaque;

/// Delivers one notification of the eUICC.
///
/// SGP.22 v2.5 section 5.6.4. `Ok` is the acknowledgement after which the notification may be
/// removed from the eUICC; after an error it must stay.
#[derive(Clone, Debug, Serialize)]
pub struct HandleNotification {
    /// PendingNotification: a ProfileInstallationResult `BF37` or an OtherSignedNotification `30`.
    #[serde(rename = "pendingNotification")]
    pub pending_notification: Opaque,
}

impl Es9Function for HandleNotification {
    const NAME: &'static str = "handleNotification";
    const REPEATABLE: bool = true;
    type Response = ();

    fn deadline(deadlines: &Deadlines) -> Duration {
        deadlines.notification
    }

    fn response(answer: &Answer) -> Result<Self::Response, AnswerError> {
        answer.acknowledged()
    }
}
