//! What lpad asks the modem itself: its IMEI, the ICCID it uses, and to read the card anew.

use std::time::Duration;

use es10_apdu::at::AtPort;
use es10_apdu::transport::{Fault, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

mod port;

pub use port::{OpenPort, SerialPort};

/// The modem's IMEI, 3GPP TS 27.007 section 5.4; `None` when it does not tell.
///
/// # Cancel safety
///
/// Nothing changes in the modem.
pub(crate) async fn imei<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
) -> Option<String> {
    let answer = port.query("AT+CGSN", QUERY).await.ok()??;
    let digits: String = answer.chars().filter(char::is_ascii_digit).collect();
    (14..=16)
        .contains(&digits.len())
        .then(|| digits.chars().take(15).collect())
}

/// The ICCID of the profile the modem uses; `None` when it has none or does not tell.
///
/// # Errors
///
/// When the port is gone.
///
/// # Cancel safety
///
/// Nothing changes in the modem.
pub(crate) async fn iccid<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
) -> Result<Option<String>, TransportError> {
    for command in ICCID_COMMANDS {
        match port.query(command, QUERY).await {
            Ok(Some(answer)) => {
                let answer = answer.trim().trim_matches('"').trim_end_matches(['F', 'f']);
                let plausible = (18..=20).contains(&answer.len())
                    && answer.bytes().all(|octet| octet.is_ascii_hexdigit());
                if plausible {
                    return Ok(Some(answer.to_ascii_uppercase()));
                }
            }
            Ok(None) => {}
            Err(error) if is_gone(&error) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(None)
}

/// What came of making the modem notice a switch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Noticed {
    /// It uses what it should.
    Yes,
    /// It still names another profile.
    No,
    /// It does not tell which profile it uses.
    Untold,
}

/// Waits until the modem uses the profile `wanted` (`None`: no profile at all), but at most
/// `longest`.
///
/// # Errors
///
/// When the port is gone.
///
/// # Cancel safety
///
/// Nothing changes in the modem.
pub(crate) async fn wait_for_profile<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
    wanted: Option<&str>,
    longest: Duration,
) -> Result<Noticed, TransportError> {
    let end = Instant::now() + longest;
    loop {
        let used = iccid(port).await?;
        let noticed = match (used.as_deref(), wanted) {
            (used, wanted) if used == wanted => return Ok(Noticed::Yes),
            (None, _) => Noticed::Untold,
            (Some(_), _) => Noticed::No,
        };
        if Instant::now() >= end {
            return Ok(noticed);
        }
        sleep(POLL).await;
    }
}

/// Switches the modem's radio and with it the card off and on, 3GPP TS 27.007 section 8.2.
///
/// # Errors
///
/// When the port is gone; it may come back under the same name.
///
/// # Cancel safety
///
/// The radio may stay off.
pub(crate) async fn reset_radio<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
) -> Result<(), TransportError> {
    for command in ["AT+CFUN=0", "AT+CFUN=1"] {
        match port.command(command, RADIO).await {
            Err(error) if is_gone(&error) => return Err(error),
            Err(error) => tracing::warn!(command, %error, "the modem does not do it"),
            Ok(_) => {}
        }
        sleep(SETTLE).await;
    }
    Ok(())
}

fn is_gone(error: &TransportError) -> bool {
    matches!(error.fault, Fault::Closed | Fault::Io(_))
}

/// The commands that ask for the ICCID, of several makers.
const ICCID_COMMANDS: [&str; 3] = ["AT+CCID", "AT+ICCID", "AT+QCCID"];
/// Deadline of a question.
const QUERY: Duration = Duration::from_secs(5);
/// Deadline for switching the radio.
const RADIO: Duration = Duration::from_secs(30);
/// What modems need between switching off and on, and before the card answers.
const SETTLE: Duration = Duration::from_secs(1);
/// How often the ICCID is asked for.
const POLL: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// A modem that gives each command the next of its answers.
    fn modem(answers: &'static [&'static str]) -> AtPort<DuplexStream> {
        let (ours, mut theirs) = duplex(1024);
        tokio::spawn(async move {
            for answer in answers {
                let mut octet = [0];
                while octet[0] != b'\r' {
                    theirs.read_exact(&mut octet).await.unwrap();
                }
                theirs.write_all(answer.as_bytes()).await.unwrap();
            }
            // Stays plugged in.
            let _ = theirs.read_u8().await;
        });
        AtPort::new(ours)
    }

    #[tokio::test(start_paused = true)]
    async fn an_imei_is_read_however_it_is_written() {
        let mut port = modem(&["\r\n+CGSN: \"490154203237518\"\r\n\r\nOK\r\n"]);
        assert_eq!(imei(&mut port).await.as_deref(), Some("490154203237518"));
        let mut port = modem(&["\r\nERROR\r\n"]);
        assert_eq!(imei(&mut port).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_iccid_is_asked_for_in_every_dialect() {
        let mut port = modem(&[
            "\r\nERROR\r\n",
            "\r\n+ICCID: 8900123456789012345F\r\n\r\nOK\r\n",
        ]);
        assert_eq!(
            iccid(&mut port).await.unwrap().as_deref(),
            Some("8900123456789012345")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_modem_is_given_time_to_notice() {
        let mut port = modem(&[
            "\r\n+CCID: 89001234567890123450\r\n\r\nOK\r\n",
            "\r\n+CCID: 89001234567890123457\r\n\r\nOK\r\n",
        ]);
        let noticed = wait_for_profile(
            &mut port,
            Some("89001234567890123457"),
            Duration::from_secs(5),
        );
        assert_eq!(noticed.await.unwrap(), Noticed::Yes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_modem_that_keeps_the_old_profile_is_told_apart_from_a_silent_one() {
        let mut port = modem(&["\r\n+CCID: 89001234567890123450\r\n\r\nOK\r\n"]);
        let noticed = wait_for_profile(&mut port, Some("89001234567890123457"), Duration::ZERO);
        assert_eq!(noticed.await.unwrap(), Noticed::No);
        let mut port = modem(&["\r\nERROR\r\n", "\r\nERROR\r\n", "\r\nERROR\r\n"]);
        let noticed = wait_for_profile(&mut port, Some("89001234567890123457"), Duration::ZERO);
        assert_eq!(noticed.await.unwrap(), Noticed::Untold);
    }
}
