//! Making the modem read the card again, one rung of the ladder at a time.

use std::fmt;
use std::time::Duration;

use es10_apdu::at::AtPort;
use es10_apdu::transport::{Fault, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Rung;

/// What is written for a rung, one write each.
pub(crate) fn writes(rung: &Rung) -> Vec<String> {
    match rung.together {
        // The end of the last line is written by the port.
        true => vec![rung.send.join("\r")],
        false => rung.send.clone(),
    }
}

/// Of an AT line what can be logged: of one that is not known, no value.
pub(crate) fn shown(line: &str) -> &str {
    let is_known = line.starts_with("AT+CFUN=") && line.len() <= "AT+CFUN=16,1".len();
    match line.find('=') {
        Some(end) if !is_known => &line[..=end],
        _ => line,
    }
}

/// What of a rung can be logged.
impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.send.iter().map(|line| shown(line));
        let lines: Vec<&str> = lines.chain(self.run.first().map(String::as_str)).collect();
        f.write_str(&lines.join(", "))
    }
}

/// What a modem made of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Made {
    /// It says that it does it, or went away with it.
    Done,
    /// It says that it does not.
    Refused,
    /// It says nothing that can be understood.
    Unknown,
}

/// Writes what is written for a rung, which may take `longest`.
///
/// # Errors
/// When the port is gone, unless it went with what was written; it may come back under the same name.
///
/// # Cancel safety
/// The modem may do it or not.
pub(crate) async fn write<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
    line: &str,
    longest: Duration,
) -> Result<Made, TransportError> {
    match port.command(line, longest).await {
        Ok(_) => Ok(Made::Done),
        Err(error) if error.is_gone() && !error.sent => Err(error),
        // After `AT+CFUN=0` that seems to have failed the radio may be off all the same, so that what
        // follows is sent in any case.
        Err(error) => {
            let line = shown(line);
            tracing::info!(line, %error, "the modem does not say that it does it");
            Ok(match error.fault {
                _ if error.is_gone() => Made::Done,
                Fault::Device(_) => Made::Refused,
                _ => Made::Unknown,
            })
        }
    }
}

/// What modems need between two lines, and before the card answers.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What a modem is sent that answers `OK` to each write.
    async fn written(rung: Rung) -> Vec<String> {
        let (ours, mut theirs) = duplex(1024);
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            let mut chunk = [0; 128];
            while let Ok(count @ 1..) = theirs.read(&mut chunk).await {
                heard.push(String::from_utf8_lossy(&chunk[..count]).into_owned());
                theirs.write_all(b"\r\nOK\r\n").await.unwrap();
            }
            heard
        });
        let mut port = AtPort::new(ours);
        for line in writes(&rung) {
            let longest = Duration::from_secs(5);
            write(&mut port, &line, longest).await.unwrap();
        }
        drop(port);
        heard.await.unwrap()
    }

    fn rung(together: bool) -> Rung {
        Rung {
            send: ["AT+CFUN=0", "AT+CFUN=1"].map(str::to_owned).into(),
            together,
            ..Rung::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_sent_one_by_one_or_in_one_write() {
        assert_eq!(written(rung(false)).await, ["AT+CFUN=0\r", "AT+CFUN=1\r"]);
        assert_eq!(written(rung(true)).await, ["AT+CFUN=0\rAT+CFUN=1\r"]);
    }

    #[test]
    fn a_line_of_the_users_is_logged_without_its_value() {
        let rung = Rung {
            send: ["AT+CFUN=1,1", "AT+CPIN=1234", "AT^RESET"]
                .map(str::to_owned)
                .into(),
            ..Rung::default()
        };
        assert_eq!(rung.to_string(), "AT+CFUN=1,1, AT+CPIN=, AT^RESET");
    }
}
