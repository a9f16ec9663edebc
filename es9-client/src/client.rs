use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::deadlines::Deadlines;
use crate::envelope::{Answer, AnswerError, ProtocolError};
use crate::error::{Error, Phase};
use crate::function::Es9Function;
use crate::http::{self, Connect, Connection, Counted, ExchangeError, NameNotResolved, Traffic};
use crate::roots::Roots;
use crate::tls::{self, TlsError};
use crate::wire::ServerAddress;

/// Calls the functions of ES9+ on any number of servers.
///
/// There is one connection per server address. It is kept alive between calls, so that a whole
/// session needs one TLS handshake; calls to the same address wait for each other.
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
            tls: Arc::new(tls::client_config(roots, options.clock.clone())),
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
    /// # Errors
    ///
    /// When the server cannot be reached or its certificate is refused.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up; nothing was sent but the handshake.
    pub async fn connect(&self, address: &ServerAddress) -> Result<(), Error> {
        let slot = self.slot(address);
        let mut connection = slot.lock().await;
        if !connection.as_ref().is_some_and(Connection::is_open) {
            *connection = Some(self.dial(address).await?);
        }
        Ok(())
    }

    /// Calls one function and returns its answer.
    ///
    /// A request is sent once. When a kept connection turns out to be closed before any byte of the
    /// request was written, a new one is made; anything later is an error, and
    /// [`Error::outcome`] tells what is known about the server.
    ///
    /// # Errors
    ///
    /// When there is no connection, no answer in time, no answer that can be understood, or when
    /// the server refuses.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; the server may have acted on the request.
    pub async fn call<F: Es9Function>(
        &self,
        address: &ServerAddress,
        function: &F,
    ) -> Result<F::Response, Error> {
        let host = || address.host().to_owned();
        let protocol = |cause| Error::Protocol {
            host: host(),
            function: F::NAME,
            cause,
        };
        let body = serde_json::to_vec(function)
            .map(Bytes::from)
            .map_err(|error| {
                protocol(ProtocolError::Request {
                    reason: error.to_string(),
                })
            })?;
        let answer = self.exchange::<F>(address, body).await?;
        tracing::debug!(
            host = address.host(),
            function = F::NAME,
            status = answer.status,
            bytes = answer.body.len(),
            "the server answered"
        );
        F::response(&answer).map_err(|error| match error {
            AnswerError::Http(status) => Error::Http {
                host: host(),
                function: F::NAME,
                status,
            },
            AnswerError::Protocol(cause) => protocol(cause),
            AnswerError::Status { status, data } => {
                // The server's own words help its operator, and nobody else.
                tracing::info!(
                    host = address.host(), function = F::NAME, %status, %data,
                    server_message = data.message, "the server refused"
                );
                Error::Status {
                    host: host(),
                    function: F::NAME,
                    status,
                    data: Box::new(data),
                }
            }
        })
    }

    /// Closes all connections that are not in use.
    ///
    /// # Cancel safety
    ///
    /// Connections that are not closed yet are dropped.
    pub async fn close(&self) {
        let slots = std::mem::take(&mut *self.lock_slots());
        for slot in slots.into_values() {
            let connection = slot.try_lock().ok().and_then(|mut slot| slot.take());
            if let Some(connection) = connection {
                connection.close().await;
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

    /// Sends one request on the kept connection or a new one.
    async fn exchange<F: Es9Function>(
        &self,
        address: &ServerAddress,
        body: Bytes,
    ) -> Result<Answer, Error> {
        let slot = self.slot(address);
        let mut kept = slot.lock().await;
        loop {
            let (mut connection, is_new) = match kept.take().filter(Connection::is_open) {
                Some(connection) => (connection, false),
                None => (self.dial(address).await?, true),
            };
            match self
                .exchange_on::<F>(&mut connection, address, body.clone())
                .await
            {
                Err(Error::Closed { sent: false, .. }) if !is_new => {
                    tracing::debug!(host = address.host(), "the kept connection was closed");
                }
                Err(error) => return Err(error),
                Ok(answer) => {
                    *kept = Some(connection);
                    return Ok(answer);
                }
            }
        }
    }

    async fn exchange_on<F: Es9Function>(
        &self,
        connection: &mut Connection,
        address: &ServerAddress,
        body: Bytes,
    ) -> Result<Answer, Error> {
        let host = || address.host().to_owned();
        let function = F::NAME;
        let protocol = |cause| Error::Protocol {
            host: host(),
            function,
            cause,
        };
        let limit = self.options.max_body;
        let after = F::deadline(&self.options.deadlines);
        let request = http::request(address, F::INTERFACE, function, body).map_err(protocol)?;
        let Ok(result) = timeout(after, connection.exchange(request, limit)).await else {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let phase = Phase::Response;
            return Err(Error::Timeout {
                host: host(),
                phase,
                after,
            });
        };
        if !matches!(result, Err(ExchangeError::NotSent)) {
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
        result.map_err(|error| match error {
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
        })
    }

    /// Makes a new connection within the deadline for that.
    async fn dial(&self, address: &ServerAddress) -> Result<Connection, Error> {
        let after = self.options.deadlines.connect;
        timeout(after, self.dial_without_deadline(address))
            .await
            .unwrap_or_else(|_| {
                Err(Error::Timeout {
                    host: address.host().to_owned(),
                    phase: Phase::Connect,
                    after,
                })
            })
    }

    async fn dial_without_deadline(&self, address: &ServerAddress) -> Result<Connection, Error> {
        let host = || address.host().to_owned();
        let stream = self.connect.connect(address.host(), address.port()).await;
        let stream = stream.map_err(|cause| {
            match cause
                .get_ref()
                .is_some_and(|inner| inner.is::<NameNotResolved>())
            {
                true => Error::Dns {
                    host: host(),
                    cause,
                },
                false => Error::Connect {
                    host: host(),
                    cause,
                },
            }
        })?;
        let stream = Counted {
            stream,
            traffic: self.traffic.clone(),
        };
        let refused = |cause| Error::Tls {
            host: host(),
            cause: Box::new(cause),
        };
        let name = ServerName::try_from(host())
            .map_err(|_| refused(TlsError::Handshake(rustls::Error::UnsupportedNameType)))?;
        let stream = TlsConnector::from(self.tls.clone())
            .connect(name, stream)
            .await;
        let stream = stream.map_err(|error| refused(error.into()))?;
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(host = address.host(), "a secure connection stands");
        Connection::open(stream).await.map_err(|_| Error::Closed {
            host: host(),
            sent: false,
        })
    }

    /// The place of the connection to this address. Places that nobody needs any more go away.
    fn slot(&self, address: &ServerAddress) -> Arc<Slot> {
        let mut slots = self.lock_slots();
        slots.retain(|_, slot| {
            let in_use = Arc::strong_count(slot) > 1;
            in_use
                || slot
                    .try_lock()
                    .is_ok_and(|c| c.as_ref().is_some_and(Connection::is_open))
        });
        slots.entry(address.clone()).or_default().clone()
    }

    fn lock_slots(&self) -> std::sync::MutexGuard<'_, HashMap<ServerAddress, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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

type Slot = AsyncMutex<Option<Connection>>;
