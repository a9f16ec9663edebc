//! Making the modem read the card again.

use std::time::Duration;

use es10_apdu::at::AtPort;
use es10_apdu::transport::TransportError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::is_gone;

/// Switches the modem's radio and with it the card off and on, 3GPP TS 27.007 section 8.2.
///
/// # Errors
/// When the port is gone; it may come back under the same name.
///
/// # Cancel safety
/// The radio may stay off.
pub(crate) async fn reset_radio<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
) -> Result<(), TransportError> {
    for command in ["AT+CFUN=0", "AT+CFUN=1"] {
        match port.command(command, RADIO).await {
            Err(error) if is_gone(&error) => return Err(error),
            // After `AT+CFUN=0` that seems to have failed the radio may be off all the same, so it
            // is switched on in any case.
            Err(error) => tracing::warn!(command, %error, "the modem does not do it"),
            Ok(_) => {}
        }
        sleep(SETTLE).await;
    }
    Ok(())
}

/// How long a reset takes at most, where the modem needs all its time for both commands.
pub(crate) const RESET_TAKES: Duration = Duration::from_secs(62);
/// Deadline for switching the radio.
const RADIO: Duration = Duration::from_secs(30);
/// What modems need between switching off and on, and before the card answers.
const SETTLE: Duration = Duration::from_secs(1);
