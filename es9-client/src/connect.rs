//! The byte stream below TLS: names become addresses, and the first address that answers wins.

use std::collections::HashMap;
use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Opens byte streams to servers. TLS and deadlines are put on top by the client.
pub trait Connect: Send + Sync {
    /// What comes out.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Opens a stream to a port of a host. The attempt ends when the future is dropped.
    ///
    /// An error whose inner error is [`NameNotResolved`] is reported as such.
    fn connect(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Can be told how to reach hosts.
pub trait Restrict: Connect + Clone {
    /// The same over one network interface alone, if one is named, and with no more patience with name
    /// servers than this.
    #[must_use]
    fn restricted(&self, interface: Option<&str>, resolve: Duration) -> Self;
}

/// Connects over TCP to the first address of a host that answers, as RFC 8305 describes it.
#[derive(Clone, Debug)]
pub struct TcpConnect {
    connect_to: HashMap<String, String>,
    resolve: fn(&str) -> io::Result<Vec<SocketAddr>>,
    resolvers: Arc<Semaphore>,
    interface: Option<Arc<str>>,
    patience: Duration,
}

impl TcpConnect {
    /// Connects to the server's own address.
    pub fn new() -> Self {
        Self::with_targets([])
    }

    /// Connects to `host:port` targets instead for the hosts named in the map. Names that are
    /// checked or signed stay as they are.
    pub fn with_targets(targets: impl IntoIterator<Item = (String, String)>) -> Self {
        let lower = |(host, target): (String, String)| (host.to_ascii_lowercase(), target);
        Self {
            connect_to: targets.into_iter().map(lower).collect(),
            resolve: |target| Ok(target.to_socket_addrs()?.collect()),
            resolvers: Arc::new(Semaphore::new(MAX_RESOLVERS)),
            interface: None,
            patience: RESOLVE,
        }
    }

    /// Asks the system's resolver, but does not wait for it for ever.
    ///
    /// The call of the C library cannot be interrupted. It has a thread of its own, because a
    /// runtime that ends waits for its blocking tasks: a dead name server would hold the daemon up.
    async fn addresses(&self, target: String) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = target.parse() {
            return Ok(vec![address]);
        }
        let resolved = async {
            let permit = Arc::clone(&self.resolvers).acquire_owned().await;
            let (answer, resolved) = oneshot::channel();
            let resolve = self.resolve;
            thread::Builder::new()
                .name("resolver".to_owned())
                .spawn(move || {
                    // The receiver is gone when the caller did not want to wait any longer. The
                    // permit is held until now all the same: it counts threads, not callers.
                    let _ = answer.send(resolve(&target));
                    drop(permit);
                })?;
            resolved
                .await
                .unwrap_or_else(|gone| Err(io::Error::other(gone)))
        };
        timeout(self.patience, resolved)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, SILENT)))
    }
}

impl Default for TcpConnect {
    fn default() -> Self {
        Self::new()
    }
}

impl Connect for TcpConnect {
    type Stream = TcpStream;

    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let target = match self.connect_to.get(&host.to_ascii_lowercase()) {
            Some(target) => target.clone(),
            None => format!("{host}:{port}"),
        };
        let addresses = self
            .addresses(target)
            .await
            .map_err(|cause| io::Error::new(cause.kind(), NameNotResolved(cause)))?;
        let over = |address| open(address, self.interface.clone());
        let stream = first_to_connect(interleaved(addresses), over).await?;
        // A request goes out in one write and waits for its answer: Nagle's algorithm only delays it.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Restrict for TcpConnect {
    fn restricted(&self, interface: Option<&str>, resolve: Duration) -> Self {
        Self {
            interface: interface.map(Arc::from),
            patience: resolve.min(self.patience),
            ..self.clone()
        }
    }
}

/// Connects, over one network interface alone if one is named: the kernel then uses no route that leads
/// elsewhere. It needs no privilege since Linux 5.7.
async fn open(address: SocketAddr, interface: Option<Arc<str>>) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.connect(address).await
}

/// The inner error of an [`io::Error`] when a host name could not be resolved.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct NameNotResolved(pub io::Error);

/// RFC 8305 section 4: the families take turns, so that one of them that leads nowhere costs one
/// pause and not one for each of its addresses. The resolver's first choice stays the first.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first_family = |address: &SocketAddr| address.is_ipv6() == addresses[0].is_ipv6();
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().partition(|one| is_first_family(one));
    let mut second = second.into_iter();
    let mut turns = Vec::with_capacity(addresses.len());
    for address in first {
        turns.push(address);
        turns.extend(second.next());
    }
    turns.extend(second);
    turns
}

/// RFC 8305 section 5: the next address is tried when one fails, or does not answer for a moment.
/// Earlier attempts go on meanwhile; those that come too late are dropped.
async fn first_to_connect<S, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<S>
where
    S: Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    let mut waiting = addresses.into_iter().peekable();
    let mut attempts = JoinSet::new();
    // The last error is the one reported: the first is often that of an IPv6 address without a route.
    let mut error = io::Error::new(io::ErrorKind::NotFound, NO_ADDRESS);
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(connect(address));
        }
        let ended = match waiting.peek() {
            Some(_) => match timeout(NEXT_ATTEMPT, attempts.join_next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            },
            None => attempts.join_next().await,
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(cause))) => error = cause,
            Some(Err(cause)) => error = cause.into(),
            None => return Err(error),
        }
    }
}

/// RFC 8305 section 8 recommends it.
const NEXT_ATTEMPT: Duration = Duration::from_millis(250);

/// Half of the usual deadline for a connection. The C library asks up to three name servers for 5 s
/// each.
const RESOLVE: Duration = Duration::from_secs(15);

/// How many names are resolved at the same time. A resolver that hangs must not collect threads.
const MAX_RESOLVERS: usize = 8;

const SILENT: &str = "the name server does not answer";
const NO_ADDRESS: &str = "the name has no address";

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use tokio::net::TcpListener;
    use tokio::runtime;
    use tokio::time::{Instant, sleep};

    use super::*;

    #[test]
    fn the_families_take_turns_and_the_first_address_stays_the_first() {
        let sorted = |list: &[&str]| {
            let addresses = list.iter().map(|text| address(text)).collect();
            let turns = interleaved(addresses).into_iter();
            turns.map(|one| one.ip().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            sorted(&["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"]),
            ["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]
        );
        assert_eq!(
            sorted(&["192.0.2.1", "2001:db8::1", "2001:db8::2"]),
            ["192.0.2.1", "2001:db8::1", "2001:db8::2"]
        );
        assert_eq!(sorted(&["192.0.2.1"]), ["192.0.2.1"]);
        assert!(sorted(&[]).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_swallows_packets_costs_a_quarter_of_a_second() {
        let begin = Instant::now();
        let reached = first_to_connect(addresses(), |address| async move {
            match address.is_ipv6() {
                true => pending().await,
                false => Ok(address),
            }
        });
        assert_eq!(reached.await.unwrap(), address("192.0.2.1"));
        assert_eq!(begin.elapsed(), NEXT_ATTEMPT);
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_address_that_refuses_the_next_one_is_tried_at_once() {
        let begin = Instant::now();
        let reached = first_to_connect(addresses(), |address| async move {
            match address.is_ipv6() {
                true => Err(io::ErrorKind::NetworkUnreachable.into()),
                false => Ok(address),
            }
        });
        assert_eq!(reached.await.unwrap(), address("192.0.2.1"));
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_may_win_and_the_losers_are_dropped() {
        let dropped = Arc::new(Mutex::new(0));
        let reached = first_to_connect(addresses(), |address| {
            let guard = Guard(dropped.clone());
            async move {
                let _guard = guard;
                match address == addresses()[0] {
                    true => sleep(2 * NEXT_ATTEMPT + NEXT_ATTEMPT / 2).await,
                    false => pending().await,
                }
                Ok(address)
            }
        });
        assert_eq!(reached.await.unwrap(), addresses()[0]);
        // Tasks are told to end, and do so when they get their turn.
        sleep(Duration::from_millis(1)).await;
        assert_eq!(*dropped.lock().unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_failure_is_told_when_no_address_answers() {
        let error = first_to_connect::<(), _>(addresses(), |address| async move {
            Err(match address.is_ipv6() {
                true => io::ErrorKind::NetworkUnreachable.into(),
                false => {
                    sleep(Duration::from_secs(1)).await;
                    io::ErrorKind::ConnectionRefused.into()
                }
            })
        });
        assert_eq!(
            error.await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        let error = first_to_connect(Vec::new(), |_| pending::<io::Result<()>>());
        assert_eq!(error.await.unwrap_err().to_string(), NO_ADDRESS);
    }

    #[tokio::test]
    async fn a_server_behind_a_dead_address_is_reached_over_tcp() {
        // Its queue holds one connection, and the kernel answers no further one.
        let dead = TcpSocket::new_v4().unwrap();
        dead.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let dead = dead.listen(0).unwrap();
        let _queued = TcpStream::connect(dead.local_addr().unwrap())
            .await
            .unwrap();

        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live = live.local_addr().unwrap();
        let addresses = vec![dead.local_addr().unwrap(), live];
        let stream = first_to_connect(addresses, TcpStream::connect).await;
        assert_eq!(stream.unwrap().peer_addr().unwrap(), live);
    }

    #[tokio::test]
    async fn a_server_is_reached_over_the_interface_that_is_named_and_over_no_other() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let over = |interface| {
            let connect = TcpConnect::new().restricted(Some(interface), RESOLVE);
            async move { connect.connect("127.0.0.1", port).await }
        };
        over("lo").await.unwrap();
        let error = over("lpad-none").await.unwrap_err();
        assert!(
            error
                .get_ref()
                .is_none_or(|inner| !inner.is::<NameNotResolved>())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_has_less_patience_with_a_name_server() {
        let connect = TcpConnect {
            resolve: |_| sleep_for_ever(),
            ..TcpConnect::new()
        };
        let begin = Instant::now();
        let patience = Duration::from_secs(5);
        let restricted = connect.restricted(None, patience);
        let error = restricted.connect("a.example", 443).await.unwrap_err();
        assert!(error.get_ref().unwrap().is::<NameNotResolved>());
        assert_eq!(begin.elapsed(), patience);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_never_answers_is_told_as_such_in_time_to_say_so() {
        let connect = TcpConnect {
            resolve: |_| sleep_for_ever(),
            ..TcpConnect::new()
        };
        let begin = Instant::now();
        for number in 1..=2 * MAX_RESOLVERS {
            let error = connect.connect("smdp.example.com", 443).await.unwrap_err();
            assert_eq!(error.to_string(), SILENT);
            assert!(error.get_ref().unwrap().is::<NameNotResolved>());
            assert_eq!(begin.elapsed(), RESOLVE * u32::try_from(number).unwrap());
        }
        assert_eq!(connect.resolvers.available_permits(), 0);
    }

    #[test]
    fn a_runtime_that_ends_does_not_wait_for_the_resolver() {
        let (ended, end) = channel();
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let connect = TcpConnect {
                    resolve: |_| sleep_for_ever(),
                    ..TcpConnect::new()
                };
                let resolving = connect.connect("smdp.example.com", 443);
                timeout(Duration::from_millis(10), resolving)
                    .await
                    .unwrap_err();
            });
            ended.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    fn sleep_for_ever() -> io::Result<Vec<SocketAddr>> {
        loop {
            thread::park();
        }
    }

    fn addresses() -> Vec<SocketAddr> {
        ["2001:db8::1", "192.0.2.1", "2001:db8::2"]
            .map(address)
            .into()
    }

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 443)
    }

    /// Counts itself when it is dropped.
    struct Guard(Arc<Mutex<u32>>);

    impl Drop for Guard {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
}
