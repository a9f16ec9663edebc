//! Who the modem is.

use std::time::Duration;

use es10_apdu::at::AtPort;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a modem says of itself, 3GPP TS 27.007 section 5.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Identity {
    /// Its maker, `AT+CGMI`.
    pub manufacturer: Option<String>,
    /// Its model, `AT+CGMM`.
    pub model: Option<String>,
    /// Its firmware, `AT+CGMR`.
    pub firmware: Option<String>,
}

/// The modem's IMEI, 3GPP TS 27.007 section 5.4; `None` when it does not tell.
pub(crate) async fn imei<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
) -> Option<String> {
    let answer = port.query("AT+CGSN", QUESTION).await.ok()??;
    let digits: String = answer.chars().filter(char::is_ascii_digit).collect();
    (14..=16)
        .contains(&digits.len())
        .then(|| digits.chars().take(15).collect())
}

/// Deadline of the question.
const QUESTION: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::super::tests::modem;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_imei_is_read_however_it_is_written() {
        let mut port = modem(&["\r\n+CGSN: \"490154203237518\"\r\n\r\nOK\r\n"]);
        assert_eq!(imei(&mut port).await.as_deref(), Some("490154203237518"));
        let mut port = modem(&["\r\nERROR\r\n"]);
        assert_eq!(imei(&mut port).await, None);
    }
}
