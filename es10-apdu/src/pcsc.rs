//! A card in a PC/SC reader: on Linux, one that `pcscd` serves.
//!
//! PC/SC knows only calls that block, some of them for as long as the reader or its driver likes, and a
//! command to the card cannot be cancelled. Each connection has a thread of its own for them, which is
//! left behind while it hangs: nobody waits for it without a deadline.

use std::ffi::CString;
use std::io;
use std::thread::Builder;
use std::time::Duration;

use pcsc::{
    Card, Context, Disposition, Error, MAX_BUFFER_SIZE, Protocol, Protocols, Scope, ShareMode,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout_at};
use tracing::{debug, info};

use crate::apdu::{Command, Response};
use crate::transport::{Deadline, Fault, Garbled, Transport, TransportError};

/// Connects to the card in a reader, as often as it takes.
#[derive(Debug)]
pub struct Reader {
    name: String,
    /// Ends with the thread of the last connection, which has the card until then.
    ended: Option<oneshot::Receiver<()>>,
}

impl Reader {
    /// The reader that is called `name`, or whose name is the only one that contains it.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ended: None,
        }
    }

    /// Connects to the card for this process alone. The card gets its power anew, so that no logical
    /// channel is open and the profile that is enabled is in use.
    ///
    /// # Cancel safety
    /// The card is let go again as soon as PC/SC answers.
    pub async fn connect(
        &mut self,
        deadline: impl Into<Deadline>,
    ) -> Result<ReaderCard, ReaderError> {
        let until = deadline.into().until();
        if let Some(ended) = &mut self.ended {
            let ended = timeout_at(until, ended).await;
            // Its other end is dropped, never used.
            let _ = ended.map_err(|_| ReaderError::Silent)?;
        }
        let (requests, asked) = mpsc::channel(1);
        let (connected, connection) = oneshot::channel();
        let (alive, ended) = oneshot::channel::<()>();
        self.ended = Some(ended);
        let name = self.name.clone();
        let thread = Builder::new().name("pcsc".to_owned()).spawn(move || {
            // Dropped last.
            let _alive = alive;
            match connect(&name) {
                Ok(card) => {
                    if connected.send(Ok(())).is_ok() {
                        serve(&card, asked);
                    }
                }
                Err(error) => drop(connected.send(Err(error))),
            }
        });
        thread.map_err(ReaderError::Thread)?;
        match timeout_at(until, connection).await {
            Ok(Ok(connected)) => connected.map(|()| ReaderCard {
                requests,
                late: None,
            }),
            _ => Err(ReaderError::Silent),
        }
    }
}

/// A card in a reader, with nobody else using it. Dropping it resets the card.
#[derive(Debug)]
pub struct ReaderCard {
    /// Closed by the first call that fails. Whatever the reason, the card has to be connected anew.
    requests: mpsc::Sender<Request>,
    /// The answer to a request that nobody waited for to the end.
    late: Option<oneshot::Receiver<Vec<u8>>>,
}

/// What the thread of a card is asked to do; without a command, to look whether the card is there.
struct Request {
    command: Option<Command>,
    answer: oneshot::Sender<Vec<u8>>,
}

impl ReaderCard {
    /// Whether the card, the reader or the service is gone.
    pub fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Waits until the card is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn idle(&mut self) -> Fault {
        loop {
            // PC/SC tells only a thread that does nothing but wait for it.
            sleep(BETWEEN_LOOKS).await;
            if let Err(error) = self.ask(None, LOOK.into()).await
                && self.is_closed()
            {
                return error.fault;
            }
        }
    }

    /// Lets the card's thread do something. What it is still busy with goes first.
    async fn ask(
        &mut self,
        command: Option<Command>,
        deadline: Deadline,
    ) -> Result<Vec<u8>, TransportError> {
        let until = deadline.until();
        if let Some(late) = &mut self.late {
            let ended = timeout_at(until, late).await;
            // What it was is of no use any more.
            let _ = ended.map_err(|_| TransportError::not_sent(deadline.fault()))?;
            self.late = None;
        }
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.try_send(Request { command, answer });
        sent.map_err(|_| TransportError::not_sent(Fault::Closed))?;
        // Kept, so that it is not taken for another one's when this future is dropped.
        let answer = timeout_at(until, self.late.insert(answered)).await;
        let answer = answer.map_err(|_| TransportError::unanswered(deadline.fault()))?;
        self.late = None;
        answer.map_err(|_| TransportError::unanswered(Fault::Closed))
    }
}

impl Transport for ReaderCard {
    async fn transmit(
        &mut self,
        command: &Command,
        deadline: Deadline,
    ) -> Result<Response, TransportError> {
        let octets = self.ask(Some(command.clone()), deadline).await?;
        Response::parse(&octets)
            .map_err(|malformed| TransportError::unanswered(Garbled::from(malformed)))
    }
}

/// Connects to a card; in its thread.
fn connect(name: &str) -> Result<Card, ReaderError> {
    let context = Context::establish(Scope::System)?;
    let reader = find(name, context.list_readers_owned()?)?;
    let mut card = context.connect(&reader, ShareMode::Exclusive, Protocols::ANY)?;
    // Another program may have left channels open.
    card.reconnect(
        ShareMode::Exclusive,
        Protocols::ANY,
        Disposition::UnpowerCard,
    )?;
    Ok(card)
}

/// Does what it is asked, until a call fails or nobody is left who asks; in the card's thread.
fn serve(card: &Card, mut asked: mpsc::Receiver<Request>) {
    let status = card.status2_owned();
    let is_t0 = status.is_ok_and(|status| status.protocol2() == Some(Protocol::T0));
    debug!(is_t0, "the card in the reader has power");
    while let Some(Request { command, answer }) = asked.blocking_recv() {
        match call(card, is_t0, command) {
            // Who asked may have given up.
            Ok(octets) => drop(answer.send(octets)),
            Err(error) => {
                info!(%error, "the card in the reader is lost");
                // Before the answer is dropped: who misses it finds the card closed.
                asked.close();
            }
        }
    }
}

fn call(card: &Card, is_t0: bool, command: Option<Command>) -> Result<Vec<u8>, Error> {
    let Some(mut command) = command else {
        return card.status2_owned().map(|_| Vec::new());
    };
    // T=0 has no commands with data both ways: the card announces its answer, to be fetched.
    if is_t0 && !command.data.is_empty() {
        command.le = None;
    }
    let mut octets = [0; MAX_BUFFER_SIZE];
    card.transmit(&command.to_bytes(), &mut octets)
        .map(<[u8]>::to_vec)
}

/// The one reader a name means.
fn find(wanted: &str, readers: Vec<CString>) -> Result<CString, ReaderError> {
    let name = |reader: &CString| reader.to_string_lossy().into_owned();
    let is_called = |reader: &&CString| name(reader) == wanted;
    let called: Vec<&CString> = match readers.iter().find(is_called) {
        Some(reader) => vec![reader],
        None => readers
            .iter()
            .filter(|reader| name(reader).contains(wanted))
            .collect(),
    };
    match called[..] {
        [reader] => Ok(reader.clone()),
        [] if readers.is_empty() => Err(ReaderError::NoReaders),
        [] => Err(ReaderError::Unknown(readers.iter().map(name).collect())),
        _ => Err(ReaderError::Several(called.into_iter().map(name).collect())),
    }
}

/// The card in a reader cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReaderError {
    /// Another program uses the card.
    #[error("another program uses the card in the reader")]
    Busy,
    /// No card, or one without contact.
    #[error("there is no card in the reader that answers")]
    NoCard,
    /// Nobody serves PC/SC.
    #[error("the PC/SC service does not run")]
    NoService,
    /// This user may not.
    #[error("this user may not use the PC/SC service")]
    Permission,
    /// There is no reader at all.
    #[error("there is no reader")]
    NoReaders,
    /// None is called so; these are there.
    #[error("no reader has this name; there is {}", .0.join(", "))]
    Unknown(Vec<String>),
    /// These are called so.
    #[error("several readers have this name: {}", .0.join(", "))]
    Several(Vec<String>),
    /// Nothing came back in time.
    #[error("the PC/SC service does not answer")]
    Silent,
    /// The thread for the calls cannot be started.
    #[error("no thread can be started: {0}")]
    Thread(#[source] io::Error),
    /// Anything else, in the words of PC/SC.
    #[error("the PC/SC service says: {0}")]
    Service(#[source] Error),
}

impl From<Error> for ReaderError {
    fn from(error: Error) -> Self {
        match error {
            Error::SharingViolation => Self::Busy,
            Error::NoSmartcard
            | Error::RemovedCard
            | Error::UnpoweredCard
            | Error::UnresponsiveCard => Self::NoCard,
            Error::NoService | Error::ServiceStopped => Self::NoService,
            Error::SecurityViolation | Error::NoAccess => Self::Permission,
            Error::NoReadersAvailable => Self::NoReaders,
            error => Self::Service(error),
        }
    }
}

/// How often it is looked whether the card is there, while nothing else is asked.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);
/// How long such a look may take.
const LOOK: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn found(wanted: &str, readers: &[&str]) -> Result<String, String> {
        let readers = readers.iter().map(|name| CString::new(*name).unwrap());
        let reader = find(wanted, readers.collect()).map_err(|error| error.to_string())?;
        Ok(reader.into_string().unwrap())
    }

    #[test]
    fn a_reader_is_found_by_a_part_of_its_name_that_fits_no_other() {
        let readers = [
            "Gemalto USB Reader 00 00",
            "Virtual PCD 00 00",
            "Virtual PCD 00 01",
        ];
        assert_eq!(found("Gemalto", &readers).unwrap(), readers[0]);
        assert_eq!(found("PCD 00 01", &readers).unwrap(), readers[2]);
        // Nothing names the only one.
        assert_eq!(found("", &readers[..1]).unwrap(), readers[0]);
        // The name of one that is the beginning of another's.
        assert_eq!(found("A", &["A 1", "A"]).unwrap(), "A");
        assert_eq!(
            found("Virtual", &readers).unwrap_err(),
            "several readers have this name: Virtual PCD 00 00, Virtual PCD 00 01"
        );
        assert!(found("Omnikey", &readers).unwrap_err().contains(readers[0]));
        assert_eq!(found("Omnikey", &[]).unwrap_err(), "there is no reader");
    }
}
