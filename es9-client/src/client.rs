use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};
use tokio::time::Instant;

use crate::connect::Connect;
use crate::deadlines::{Deadline, Deadlines};
use crate::dial::{self, timed_out};
use crate::envelope::{Answer, AnswerError, ProtocolError};
use crate::error::{Error, Outcome, Phase};
use crate::function::Es9Function;
use crate::http::{self, Connection, Counted, ExchangeError, Traffic};
use crate::roots::Roots;
use crate::tls::{self, RspServerVerifier};
use crate::wire::ServerAddress;

/// Calls the functions of ES9+ on any number of servers.
///
/// There is one connection per server address. It is kept alive between calls, so that a whole
/// session needs one TLS handshake; calls to the same address wait for each other. eUICCs that must
/// not wait for each other need a client each.
///
/// Every future may be dropped at any await: a connection in the middle of a call is closed then,
/// and the next call makes a new one.
pub struct Es9Client<C> {
    connect: C,
    tls: Arc<ClientConfig>,
    options: Options,
    slots: Mutex<HashMap<ServerAddress, Arc<Slot>>>,
    handshakes: AtomicU64,
    requests: AtomicU64,
    traffic: Arc<Traffic>,
}

impl<C: Connect> Es9Client<C> {
    /// A client without connections.
    pub fn new(connect: C, roots: Roots, options: Options) -> Self {
        Self {
            connect,
            tls: Arc::new(tls::client_config(
                RspServerVerifier::new(roots),
                options.clock.clone(),
            )),
            options,
            slots: Mutex::default(),
            handshakes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            traffic: Arc::default(),
        }
    }

    /// Connects to a server before there is something to say, so that the handshake runs while the
    /// eUICC is still answering.
    ///
    /// [`Deadlines::connect`] is for the new connection. Before that, an earlier call to the server
    /// may take as long as calls may.
    pub async fn connect(&self, address: &ServerAddress) -> Result<(), Error> {
        let deadline = Deadline::after(self.options.deadlines.response);
        let slot = self.slot(address);
        let mut kept = lock(&slot, address, deadline).await?;
        if !kept.as_ref().is_some_and(Kept::is_usable) {
            let connection = self.dial(address, deadline).await?;
            *kept = Some(Kept::now(connection));
        }
        Ok(())
    }

    /// Calls one function and returns its answer.
    ///
    /// All of it happens within [`Es9Function::deadline`]. A request whose answer was lost because
    /// the connection closed is sent once more if the function is [`Es9Function::REPEATABLE`]; one
    /// that was not answered in time is not. [`Error::outcome`] tells what is known about the
    /// server. When the future is dropped, the server may have acted on the request.
    pub async fn call<F: Es9Function>(
        &self,
        address: &ServerAddress,
        function: &F,
    ) -> Result<F::Response, Error> {
        // Written once: a second request must be the same octets.
        let body = serde_json::to_vec(function).map_err(|error| Error::Protocol {
            host: address.host().to_owned(),
            function: F::NAME,
            cause: ProtocolError::Request {
                reason: error.to_string(),
            },
        })?;
        let call = Call {
            interface: F::INTERFACE,
            function: F::NAME,
            repeatable: F::REPEATABLE,
            body: body.into(),
            deadline: Deadline::after(F::deadline(&self.options.deadlines)),
        };
        // Behind a pointer: the future would be in the program once for every function.
        let exchange: Exchange<'_> = Box::pin(self.exchange(address, call));
        let answer = exchange.await?;
        F::response(&answer).map_err(|error| failed(address, F::NAME, error))
    }

    /// How long is waited for what.
    pub fn deadlines(&self) -> &Deadlines {
        &self.options.deadlines
    }

    /// Closes all connections on which no call is under way.
    pub async fn close(&self) {
        let slots = std::mem::take(&mut *self.lock_slots());
        for slot in slots.into_values() {
            let kept = slot.try_lock().ok().and_then(|mut kept| kept.take());
            if let Some(kept) = kept {
                kept.connection.close().await;
            }
        }
    }

    /// What the client has done so far.
    pub fn counters(&self) -> Counters {
        Counters {
            handshakes: self.handshakes.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            bytes_sent: self.traffic.sent.load(Ordering::Relaxed),
            bytes_received: self.traffic.received.load(Ordering::Relaxed),
        }
    }

    /// Sends a request on the kept connection or a new one, and once more if its answer is lost.
    async fn exchange(&self, address: &ServerAddress, call: Call) -> Result<Answer, Error> {
        let slot = self.slot(address);
        let mut kept = lock(&slot, address, call.deadline).await?;
        // Taken out, so that a future that is dropped closes the connection: the answer to its request
        // must not be taken for that of the next one.
        let connection = take_usable(&mut kept);
        let (connection, answer) = match self.exchange_once(connection, address, &call).await {
            // Not after a deadline: the server has the request, and is only slow.
            Err(lost @ Error::Closed { .. }) if call.repeatable => {
                tracing::info!(error = %lost, function = call.function, "asking once more");
                match self.exchange_once(None, address, &call).await {
                    // The server may have acted on the first request: that must not be hidden.
                    Err(error) if error.outcome() == Outcome::NotReached => Err(lost),
                    result => result,
                }
            }
            result => result,
        }?;
        *kept = Some(Kept::now(connection));
        tracing::debug!(
            host = address.host(),
            function = call.function,
            status = answer.status,
            bytes = answer.body.len(),
            "the server answered"
        );
        Ok(answer)
    }

    /// Sends a request on a connection, or on a new one if it could not be written there.
    async fn exchange_once(
        &self,
        kept: Option<Connection>,
        address: &ServerAddress,
        call: &Call,
    ) -> Result<(Connection, Answer), Error> {
        if let Some(connection) = kept {
            match self.exchange_on(connection, address, call).await {
                // Servers close idle connections just when a request is on its way. Nothing of it
                // was written, so even a function that must not be repeated may be sent again.
                Err(Error::Closed { sent: false, .. }) => {
                    tracing::debug!(host = address.host(), "the kept connection was closed");
                }
                result => return result,
            }
        }
        let connection = self.dial(address, call.deadline).await?;
        self.exchange_on(connection, address, call).await
    }

    /// Sends a request, and gives the connection back if it was answered.
    async fn exchange_on(
        &self,
        mut connection: Connection,
        address: &ServerAddress,
        call: &Call,
    ) -> Result<(Connection, Answer), Error> {
        let host = || address.host().to_owned();
        let Call {
            interface,
            function,
            deadline,
            ..
        } = *call;
        let protocol = |cause| Error::Protocol {
            host: host(),
            function,
            cause,
        };
        let limit = self.options.max_body;
        let body = call.body.clone();
        let request = http::request(address, interface, function, body).map_err(protocol)?;
        let result = deadline.limit(connection.exchange(request, limit)).await;
        // A request that ran into the deadline counts: it was sent.
        if !matches!(result, Ok(Err(ExchangeError::NotSent))) {
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
        let answer = result
            .map_err(|_| timed_out(address, Phase::Response, deadline))?
            .map_err(|error| match error {
                ExchangeError::NotSent => Error::Closed {
                    host: host(),
                    sent: false,
                },
                ExchangeError::Closed => Error::Closed {
                    host: host(),
                    sent: true,
                },
                ExchangeError::TooLarge => Error::TooLarge {
                    host: host(),
                    function,
                    limit,
                },
                ExchangeError::NotHttp(reason) => protocol(ProtocolError::NotHttp { reason }),
                ExchangeError::Encoded(coding) => protocol(ProtocolError::Encoded { coding }),
            })?;
        Ok((connection, answer))
    }

    /// Makes a new connection within the deadline for that, which ends with the call's.
    async fn dial(&self, address: &ServerAddress, call: Deadline) -> Result<Connection, Error> {
        let deadline = call.within(self.options.deadlines.connect);
        deadline
            .limit(self.dial_without_deadline(address))
            .await
            .unwrap_or_else(|_| Err(timed_out(address, Phase::Connect, deadline)))
    }

    async fn dial_without_deadline(&self, address: &ServerAddress) -> Result<Connection, Error> {
        let stream = Counted {
            stream: dial::open(&self.connect, address).await?,
            traffic: self.traffic.clone(),
        };
        let stream = dial::secure(self.tls.clone(), address.host(), stream).await?;
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(host = address.host(), "a secure connection stands");
        Connection::open(stream).await.map_err(|_| Error::Closed {
            host: address.host().to_owned(),
            sent: false,
        })
    }

    /// The slot of this address. Slots without a call or a usable connection are removed here:
    /// addresses come from activation codes and notifications, and would pile up.
    fn slot(&self, address: &ServerAddress) -> Arc<Slot> {
        let mut slots = self.lock_slots();
        slots.retain(|_, slot| {
            // Another call holds the slot, or waits for it.
            let in_use = Arc::strong_count(slot) > 1;
            in_use
                || slot
                    .try_lock()
                    .is_ok_and(|kept| kept.as_ref().is_some_and(Kept::is_usable))
        });
        slots.entry(address.clone()).or_default().clone()
    }

    fn lock_slots(&self) -> std::sync::MutexGuard<'_, HashMap<ServerAddress, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request to a server, whatever function it calls.
struct Call {
    interface: &'static str,
    function: &'static str,
    repeatable: bool,
    body: Bytes,
    deadline: Deadline,
}

/// The answer to a call, to be waited for.
type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send + 'a>>;

impl<C> fmt::Debug for Es9Client<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Es9Client")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// How a client works, all of it with defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long to wait.
    pub deadlines: Deadlines,
    /// The largest body of an answer that is read, in bytes. 4 MiB by default; a large profile
    /// takes some hundred kilobytes.
    pub max_body: usize,
    /// The time at which certificates are checked.
    pub clock: Arc<dyn TimeProvider>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadlines: Deadlines::default(),
            max_body: 4 * 1024 * 1024,
            clock: Arc::new(DefaultTimeProvider),
        }
    }
}

/// What a client has done since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// TLS handshakes that succeeded.
    pub handshakes: u64,
    /// HTTP requests.
    pub requests: u64,
    /// Bytes sent below TLS.
    pub bytes_sent: u64,
    /// Bytes received below TLS.
    pub bytes_received: u64,
}

/// Holds the one connection to a server between calls. A call holds the lock until it ends.
type Slot = AsyncMutex<Option<Kept>>;

/// A connection between two calls.
#[derive(Debug)]
struct Kept {
    connection: Connection,
    since: Instant,
}

impl Kept {
    fn now(connection: Connection) -> Self {
        let since = Instant::now();
        Self { connection, since }
    }

    /// Whether a request may be sent on it as far as is known here.
    fn is_usable(&self) -> bool {
        self.connection.is_open() && self.since.elapsed() < LONGEST_IDLE
    }
}

fn take_usable(kept: &mut Option<Kept>) -> Option<Connection> {
    let kept = kept.take()?;
    if kept.is_usable() {
        return Some(kept.connection);
    }
    // The call does not wait for the goodbye, which has a deadline of its own.
    tokio::spawn(kept.connection.close());
    None
}

/// Waits until no other call uses the connection.
async fn lock<'s>(
    slot: &'s Slot,
    address: &ServerAddress,
    deadline: Deadline,
) -> Result<AsyncMutexGuard<'s, Option<Kept>>, Error> {
    let lock = deadline.limit(slot.lock()).await;
    lock.map_err(|_| timed_out(address, Phase::EarlierCall, deadline))
}

/// Why the answer of a server is none.
fn failed(address: &ServerAddress, function: &'static str, error: AnswerError) -> Error {
    let host = address.host().to_owned();
    match error {
        AnswerError::Http(status) => Error::Http {
            host,
            function,
            status,
        },
        AnswerError::Protocol(cause) => Error::Protocol {
            host,
            function,
            cause,
        },
        AnswerError::Status { status, data } => {
            // The server's own words are for the log only: they help its operator, and may be in
            // any language.
            tracing::info!(
                host, function, %status, %data,
                server_message = data.message, "the server refused"
            );
            Error::Status {
                host,
                function,
                status,
                data: Box::new(data),
            }
        }
    }
}

/// Routers between here and the server forget idle connections without a word. A request on such a
/// one costs the whole deadline, a new handshake less than a second.
const LONGEST_IDLE: Duration = Duration::from_secs(20);
