//! Whether the modem is registered in a network.

use std::time::Duration;

use es10_apdu::at::AtPort;
use es10_apdu::transport::TransportError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use crate::config::Habits;

/// What a modem says of its registration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Registration {
    /// It is registered.
    Done,
    /// It is not, and does not say that a network refuses it.
    NotYet,
    /// A network refuses it.
    Denied,
    /// It does not tell.
    NotReported,
}

/// Waits until the modem is registered, as long as its habits say; gives what it said last. One that
/// does not tell is not waited for.
///
/// # Errors
/// When the port is gone.
pub(crate) async fn registration<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
    habits: &Habits,
    longest: Duration,
) -> Result<Registration, TransportError> {
    let end = Instant::now() + longest;
    loop {
        let said = ask(port, habits).await?;
        let is_over = matches!(said, Registration::Done | Registration::NotReported);
        if is_over || Instant::now() >= end {
            return Ok(said);
        }
        sleep(POLL).await;
    }
}

/// Asks in every way; each stands for some networks, and one registration is enough.
async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send>(
    port: &mut AtPort<S>,
    habits: &Habits,
) -> Result<Registration, TransportError> {
    let deadline = Duration::from_secs(habits.question_s);
    let mut said = Registration::NotReported;
    for question in &habits.registration {
        match port.command(question, deadline).await {
            Ok(lines) => match lines.iter().rev().find_map(|line| of_line(line)) {
                Some(Registration::Done) => return Ok(Registration::Done),
                Some(Registration::Denied) => said = Registration::Denied,
                Some(other) if said == Registration::NotReported => said = other,
                _ => {}
            },
            Err(error) if error.is_gone() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(said)
}

/// `+CEREG: <n>,<stat>…`, 3GPP TS 27.007 section 10.1.22. A code that was sent unasked and came in between
/// has no `<n>`; what follows its `<stat>` stands in quotation marks, or nothing does.
fn of_line(line: &str) -> Option<Registration> {
    let (_, values) = line.split_once(':')?;
    let mut values = values.split(',').map(str::trim);
    let first = values.next()?;
    let status = values
        .next()
        .filter(|value| value.len() == 1)
        .unwrap_or(first);
    match status.parse::<u8>().ok()? {
        // At home, roaming, for short messages only at home and roaming, without CS fallback.
        1 | 5 | 6 | 7 | 9 | 10 => Some(Registration::Done),
        3 => Some(Registration::Denied),
        0 | 2 | 4 | 8 => Some(Registration::NotYet),
        _ => None,
    }
}

/// How often the modem is asked.
const POLL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::tests::modem;
    use super::*;

    fn habits() -> Habits {
        Habits {
            question_s: 5,
            registration: ["AT+CEREG?", "AT+CREG?"].map(str::to_owned).into(),
            ..Habits::default()
        }
    }

    async fn said(answers: &'static [&'static str], seconds: u64) -> Registration {
        let longest = Duration::from_secs(seconds);
        registration(&mut modem(answers), &habits(), longest)
            .await
            .unwrap()
    }

    #[test]
    fn a_status_is_found_whatever_comes_with_it() {
        for (line, expected) in [
            ("+CEREG: 0,1", Some(Registration::Done)),
            (
                "+CEREG: 2,5,\"1A2B\",\"01234567\",7",
                Some(Registration::Done),
            ),
            ("+CREG:0, 2", Some(Registration::NotYet)),
            (
                "+CEREG: 1,\"002F\",\"0012BEEF\",7",
                Some(Registration::Done),
            ),
            ("+CGREG: 3", Some(Registration::Denied)),
            ("+CEREG: 0,11", Some(Registration::NotYet)),
            ("+CEREG: x", None),
            ("nothing", None),
        ] {
            assert_eq!(of_line(line), expected, "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_modem_is_waited_for_until_one_network_has_it() {
        const ERROR: &str = "\r\nERROR\r\n";
        const SEARCHING: &str = "\r\n+CEREG: 0,2\r\n\r\nOK\r\n";
        const DENIED: &str = "\r\n+CREG: 0,3\r\n\r\nOK\r\n";
        const ROAMING: &str = "\r\n+CREG: 0,5\r\n\r\nOK\r\n";
        assert_eq!(
            said(&[SEARCHING, DENIED, SEARCHING, ROAMING], 30).await,
            Registration::Done
        );
        assert_eq!(said(&[SEARCHING, DENIED], 0).await, Registration::Denied);
        assert_eq!(said(&[SEARCHING, ERROR], 0).await, Registration::NotYet);
        assert_eq!(said(&[ERROR, ERROR], 30).await, Registration::NotReported);
    }
}
