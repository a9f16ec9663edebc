use std::time::Duration;

use serde::Serialize;

use crate::deadlines::Deadlines;
use crate::envelope::{Answer, AnswerError};

/// One function of ES9+: the request is the type itself, serialised as the JSON body.
///
/// SGP.22 v2.5 section 6.5.
pub trait Es9Function: Serialize + Sync {
    /// The interface it belongs to, the element of the URL path before the last. ES11 is spoken
    /// under the name of ES9+.
    const INTERFACE: &'static str = "es9plus";

    /// The last element of the URL path, which is also the function's name in messages.
    const NAME: &'static str;

    /// Whether the request may be sent a second time when its answer was lost. It may if the
    /// server answers it in the same way again, or if a second time does no harm.
    const REPEATABLE: bool = false;

    /// What a successful answer holds.
    type Response: Send;

    /// How long a call may take, whatever it has to wait for.
    fn deadline(deadlines: &Deadlines) -> Duration {
        deadlines.response
    }

    /// Reads the server's answer.
    fn response(answer: &Answer) -> Result<Self::Response, AnswerError>;
}
