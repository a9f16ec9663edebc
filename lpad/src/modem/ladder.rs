//! Making the modem read the card again, one rung of the ladder at a time.

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use es10_apdu::at::AtPort;
use es10_apdu::transport::TransportError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use crate::config::Rung;

/// What is written for a rung, one write each.
pub(crate) fn writes(rung: &Rung) -> Vec<String> {
    match rung.together {
        // The end of the last line is written by the port.
        true => vec![rung.send.join("\r")],
        false => rung.send.clone(),
    }
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
) -> Result<(), TransportError> {
    match port.command(line, longest).await {
        Err(error) if error.is_gone() && !error.sent => return Err(error),
        // After `AT+CFUN=0` that seems to have failed the radio may be off all the same, so that what
        // follows is sent in any case.
        Err(error) => tracing::info!(line, %error, "the modem does not say that it does it"),
        Ok(_) => {}
    }
    Ok(())
}

/// Runs the program of a rung, and ends it when it takes longer than `longest`.
///
/// # Errors
/// When it cannot be started, fails or takes too long.
///
/// # Cancel safety
/// The program runs on.
pub(crate) async fn run(rung: &Rung, longest: Duration) -> io::Result<()> {
    let Some((program, arguments)) = rung.run.split_first() else {
        return Ok(());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let end = Instant::now() + longest;
    loop {
        if let Some(status) = child.try_wait()? {
            return match status.success() {
                true => Ok(()),
                false => Err(io::Error::other(format!("it ended with {status}"))),
            };
        }
        if Instant::now() >= end {
            child.kill()?;
            // It is dead, so that this ends at once.
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(LOOK).await;
    }
}

/// What modems need between two lines, and before the card answers.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);
/// How often is looked whether a program has ended.
const LOOK: Duration = Duration::from_millis(100);

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

    #[tokio::test]
    async fn a_program_has_to_succeed_in_time() {
        let run = async |words: &[&str], longest| {
            let run = words.iter().map(|&word| word.to_owned()).collect();
            let rung = Rung {
                run,
                ..Rung::default()
            };
            super::run(&rung, longest).await
        };
        let minute = Duration::from_secs(60);
        run(&["/bin/sh", "-c", "exit 0"], minute).await.unwrap();
        let error = run(&["/bin/sh", "-c", "exit 3"], minute).await.unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        let error = run(&["/bin/sleep", "60"], Duration::ZERO)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = run(&["/nowhere/program"], minute).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
