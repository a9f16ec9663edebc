//! One command and its whole response.

use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use crate::apdu::{Command, Response, ins};
use crate::link::GetResponseClass;
use crate::transport::{Deadline, DeviceRefusalKind, Fault, Garbled, Transport, TransportError};

/// Sends a command and gathers its whole response.
pub(super) async fn exchange(
    transport: &mut impl Transport,
    command: &Command,
    class: GetResponseClass,
    deadline: Deadline,
) -> Result<Response, TransportError> {
    let mut response = exact(transport, command, deadline).await?;
    let mut data = std::mem::take(&mut response.data);
    let mut sw = response.sw;
    let mut empty_rounds = 0;
    for _ in 0..MAX_ROUNDS {
        if !sw.has_more() {
            return Ok(Response { data, sw });
        }
        // Modems that run GET RESPONSE themselves never show 61xx, so this serves both kinds.
        let fetch = Command {
            le: Some(sw.sw2()),
            ..Command::new(class.after(command.cla), ins::GET_RESPONSE, 0x00, 0x00)
        };
        // The card has executed the command, whatever becomes of its answer.
        let more = exact(transport, &fetch, deadline).await;
        let more = more.map_err(|error| TransportError::unanswered(error.fault))?;
        if more.data.is_empty() && more.sw.is_success() {
            return Err(Garbled::Unfetched.into());
        }
        empty_rounds = match more.data.is_empty() {
            true => empty_rounds + 1,
            false => 0,
        };
        data.extend(more.data);
        sw = more.sw;
        if empty_rounds == MAX_EMPTY_ROUNDS || data.len() > MAX_RESPONSE {
            break;
        }
    }
    match sw.has_more() {
        true => Err(Garbled::Endless.into()),
        false => Ok(Response { data, sw }),
    }
}

/// Sends a command, and once more with the Le the card asks for: a second 6Cxx is an answer.
pub(super) async fn exact(
    transport: &mut impl Transport,
    command: &Command,
    deadline: Deadline,
) -> Result<Response, TransportError> {
    let response = transport.transmit(command, deadline).await?;
    let Some(le) = response.sw.exact_le() else {
        return Ok(response);
    };
    // A wrong Le means that nothing was done, so that even a state-changing command is safe.
    let command = Command {
        le: Some(le),
        ..command.clone()
    };
    transport.transmit(&command, deadline).await
}

/// How often and after what pause something is tried again that does no harm when it is done twice.
///
/// A device that is busy is asked until the deadline; one that fails in another way only a few times:
/// EG95 answers `+CME ERROR: 0` to the first command on a new channel, and some answer a bare `ERROR`
/// while they read the card themselves.
#[derive(Debug)]
pub(crate) struct Persistence {
    pause: Duration,
    failures: u8,
}

impl Default for Persistence {
    fn default() -> Self {
        Self {
            pause: FIRST_PAUSE,
            failures: 0,
        }
    }
}

impl Persistence {
    /// Waits for the right moment to try again; whether there is one before the deadline.
    pub(crate) async fn again(&mut self, error: &TransportError, deadline: Deadline) -> bool {
        let Fault::Device(refusal) = &error.fault else {
            return false;
        };
        if !refusal.may_pass {
            return false;
        }
        if refusal.kind != DeviceRefusalKind::Busy {
            self.failures += 1;
        }
        if self.failures > MAX_FAILURES {
            return false;
        }
        if self.pause >= deadline.left() {
            return false;
        }
        debug!(%error, "trying again");
        sleep(self.pause).await;
        self.pause = LONGEST_PAUSE.min(2 * self.pause);
        true
    }
}

/// How long a device is left alone, twice as long each time. Modems that read the files of a new
/// profile say busy for some seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Failures other than being busy after which it is no use.
const MAX_FAILURES: u8 = 2;
/// Bytes of one response at most.
const MAX_RESPONSE: usize = 64 * 1024;
/// GET RESPONSE commands for one response at most: [`MAX_RESPONSE`] in pieces of 256, and some empty.
const MAX_ROUNDS: usize = 256 + 8;
/// Announcements without data in a row, after which the card is not believed any more: modems are
/// known that answer `6100` to every GET RESPONSE.
const MAX_EMPTY_ROUNDS: u8 = 2;
