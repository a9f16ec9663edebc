//! A network in memory: names, servers behind them, and names that lead nowhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use es9_client::{Connect, NameNotResolved, Restrict};
use tokio::io::{DuplexStream, duplex};

/// What happens to a client that connects to a host.
#[derive(Clone, Copy, Debug, Default)]
pub enum Reach {
    /// It answers.
    #[default]
    Open,
    /// It refuses the connection.
    Refused,
    /// It says nothing.
    Silent,
    /// Its name is not known.
    Unknown,
    /// No way leads to it.
    NoRoute,
}

impl From<bool> for Reach {
    /// Whether there is a way.
    fn from(is_up: bool) -> Self {
        match is_up {
            true => Self::Open,
            false => Self::NoRoute,
        }
    }
}

/// A network in memory. Clones are one network, which they see over one interface each, or over any.
#[derive(Clone, Debug, Default)]
pub struct Network {
    hosts: Arc<Mutex<Hosts>>,
    interface: Option<String>,
}

/// What an interface makes of a connection.
type Link = Arc<dyn Fn() -> Reach + Send + Sync>;

#[derive(Default)]
struct Hosts {
    interfaces: BTreeMap<String, Link>,
    made: Vec<(String, u16)>,
    reach: BTreeMap<String, Reach>,
    servers: BTreeMap<String, Server>,
    others: Option<Server>,
}

/// Serves a connection in a task of its own.
type Server = Arc<dyn Fn(DuplexStream) + Send + Sync>;

impl Network {
    /// Puts a server behind a name.
    pub fn set_server<F>(
        &self,
        host: &str,
        serve: impl Fn(DuplexStream) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let server = in_task(serve);
        self.lock()
            .servers
            .insert(host.to_ascii_lowercase(), server);
    }

    /// Puts a server behind all names that have no server of their own.
    pub fn set_others<F>(&self, serve: impl Fn(DuplexStream) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.lock().others = Some(in_task(serve));
    }

    /// Adds a network interface: what becomes of connections over it, as long as `link` says so; where
    /// it is open, the host decides.
    pub fn set_interface<R: Into<Reach>>(
        &self,
        name: &str,
        link: impl Fn() -> R + Send + Sync + 'static,
    ) {
        let link = Arc::new(move || link().into());
        self.lock().interfaces.insert(name.to_owned(), link);
    }

    /// The same network over an interface; over any without one.
    pub fn over(&self, interface: Option<&str>) -> Self {
        Self {
            hosts: Arc::clone(&self.hosts),
            interface: interface.map(str::to_owned),
        }
    }

    /// Whether an interface has an address.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn has_address(&self, interface: &str) -> io::Result<bool> {
        Ok(!matches!(self.link(interface)?, Reach::NoRoute))
    }

    fn link(&self, interface: &str) -> io::Result<Reach> {
        let link = self.lock().interfaces.get(interface).cloned();
        let link = link.ok_or_else(|| io::Error::other("there is no such interface"))?;
        Ok(link())
    }

    /// Every host and port asked for, the oldest first.
    pub fn calls(&self) -> Vec<(String, u16)> {
        self.lock().made.clone()
    }

    /// Sets what happens to those who connect to this host from now on.
    pub fn set_reach(&self, host: &str, reach: Reach) {
        self.lock().reach.insert(host.to_owned(), reach);
    }

    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_task<F>(serve: impl Fn(DuplexStream) -> F + Send + Sync + 'static) -> Server
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |stream| drop(tokio::spawn(serve(stream))))
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts")
            .field("made", &self.made)
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

impl Connect for Network {
    type Stream = DuplexStream;

    async fn connect(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        let (reach, server) = {
            let mut hosts = self.lock();
            hosts.made.push((host.to_owned(), port));
            let server = hosts.servers.get(&host.to_ascii_lowercase());
            (
                hosts.reach.get(host).copied().unwrap_or_default(),
                server.or(hosts.others.as_ref()).cloned(),
            )
        };
        let link = match &self.interface {
            Some(interface) => self.link(interface)?,
            None => Reach::Open,
        };
        let reach = match link {
            Reach::Open => reach,
            link => link,
        };
        match reach {
            Reach::Open => {}
            Reach::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
            Reach::Silent => std::future::pending().await,
            Reach::NoRoute => return Err(io::ErrorKind::NetworkUnreachable.into()),
            Reach::Unknown => {
                let cause = io::Error::other("no such host is known");
                return Err(io::Error::other(NameNotResolved(cause)));
            }
        }
        let server = server.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (ours, theirs) = duplex(LINE);
        server(theirs);
        Ok(ours)
    }
}

impl Restrict for Network {
    /// Name servers answer at once here.
    fn restricted(&self, interface: Option<&str>, _resolve: Duration) -> Self {
        self.over(interface)
    }
}

/// Octets a connection holds before the writer has to wait.
const LINE: usize = 16 * 1024;
