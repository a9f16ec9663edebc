//! Card, modem and SM-DP+ joined in memory: what the daemon sees, without kernel devices.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::{fmt, fs, io};

use es9_client::{Connect, NameNotResolved, Roots};
use sim_card_emulator::card::Card;
use sim_card_emulator::certificate::Role;
use sim_card_emulator::euicc::{Identity, Settings};
use sim_card_emulator::modem::{self, Ended, Modem, ModemControl};
use sim_card_emulator::pki::{Pki, PkiOptions};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::sync::Mutex;

use crate::smdp::{Config, Smdp};

/// The name of the test SM-DP+.
pub const HOST_NAME: &str = "smdp.example.com";

/// Octets an in-memory line holds before the writer has to wait.
const LINE: usize = 16 * 1024;

/// A card in a modem and a server that know the same certificate issuer.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The card.
    pub card: Card,
    /// Steers the modem.
    pub modem: ModemControl,
    /// The server.
    pub smdp: Smdp,
    /// All certificates and keys.
    pub pki: Pki,
    line: Line,
    network: Network,
}

impl Bench {
    /// A new card, an empty server.
    pub fn new() -> Self {
        let pki = Pki::generate(&PkiOptions::default()).expect("the default options are usable");
        Self::with_pki(pki)
    }

    /// A new card and an empty server with these certificates.
    pub fn with_pki(pki: Pki) -> Self {
        Self::with_smdp(Config::new(HOST_NAME, pki))
    }

    /// A new card and an empty server that is set up like this.
    pub fn with_smdp(config: Config) -> Self {
        Self::on_network(config, Network::default())
    }

    /// A new card and an empty server that is set up like this, which answers on this network to
    /// every name that is nobody else's.
    pub fn on_network(config: Config, network: Network) -> Self {
        let pki = config.pki.clone();
        let identity = Identity::from_pki(&pki).expect("the PKI is complete");
        let card = Card::new(identity, Settings::default());
        let smdp = Smdp::new(config).expect("the PKI is complete");
        let server = smdp.clone();
        network.set_others(move |stream| {
            let server = server.clone();
            async move { server.serve_stream(stream).await }
        });
        let modem = Modem::new(card.clone(), modem::Identity::default());
        let control = modem.control();
        let line = Line {
            modem: Arc::new(Mutex::new(modem)),
            is_unplugged: Arc::default(),
        };
        Self {
            card,
            modem: control,
            smdp,
            pki,
            line,
            network,
        }
    }

    /// The card's EID.
    pub fn eid(&self) -> String {
        self.card.inspect(|euicc| euicc.eid().to_string())
    }

    /// The issuer of the server's certificates, as a client's only root.
    pub fn roots(&self) -> Roots {
        let ci = self.pki.hierarchy(Role::DpTls).certificate(Role::Ci);
        let ci = ci.expect("the PKI is complete");
        let mut roots = Roots::empty();
        roots
            .add_der(ci.der())
            .expect("our own certificate can be read");
        roots
    }

    /// Writes a daemon's configuration into `folder`, where its socket, its state and the modem's
    /// port are too; `smdp` is where the server listens, `when` the rule of the first boot.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn configure(&self, folder: &Path, smdp: SocketAddr, when: &str) -> io::Result<PathBuf> {
        let roots = folder.join("ci.d");
        fs::create_dir(&roots)?;
        let ci = self.pki.hierarchy(Role::DpTls).certificate(Role::Ci);
        let ci = ci.expect("the PKI is complete");
        fs::write(roots.join("ci.der"), ci.der())?;
        let file = folder.join("lpad.toml");
        let folder = folder.display();
        let configuration = format!(
            r#"[api]
socket = "{folder}/lpad.sock"

[state]
directory = "{folder}/state"

[trust]
extra_roots = "{folder}/ci.d"

[es9]
connect_to = {{ "{HOST_NAME}" = "{smdp}" }}

[[euicc]]
port = "{folder}/modem"

[euicc.bootstrap]
when = "{when}"
default_smdp = "{HOST_NAME}"
"#
        );
        fs::write(&file, configuration)?;
        Ok(file)
    }

    /// The modem's line; each call of `open` is a new connection to it.
    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// Takes the modem's port away, and the modem's and the card's power with it: who has it open
    /// sees it hang up, and nobody can open it.
    pub fn unplug(&self) {
        self.line.is_unplugged.store(true, Ordering::Relaxed);
        if self.line.modem.try_lock().is_err() {
            self.modem.hang_up();
        }
    }

    /// Gives the port back.
    pub fn plug_in(&self) {
        self.line.is_unplugged.store(false, Ordering::Relaxed);
    }

    /// The network the server is on, in memory.
    pub fn network(&self) -> Network {
        self.network.clone()
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// The modem's AT port in memory.
#[derive(Clone, Debug)]
pub struct Line {
    modem: Arc<Mutex<Modem<Card>>>,
    is_unplugged: Arc<AtomicBool>,
}

impl Line {
    /// Opens the port, plugged in or not. The modem serves one client after the other.
    pub fn open(&self) -> DuplexStream {
        let (ours, theirs) = duplex(LINE);
        tokio::spawn(self.clone().serve(theirs, None));
        ours
    }

    /// Whether nobody finds the port, see [`Bench::unplug`].
    pub fn is_unplugged(&self) -> bool {
        self.is_unplugged.load(Ordering::Relaxed)
    }

    /// Serves a client on `stream` until it or the modem hangs up; `baud` limits the rate.
    /// A modem that restarts cannot be opened while it is away.
    ///
    /// # Cancel safety
    /// The modem can be served again.
    pub async fn serve<S>(self, stream: S, baud: Option<u32>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let mut modem = self.modem.lock().await;
        let ended = modem::serve(&mut modem, stream, baud).await;
        drop(modem);
        // A line that fails is one that hung up.
        if let Ok(Ended::HungUp { absent }) = ended
            && !absent.is_zero()
        {
            self.is_unplugged.store(true, Ordering::Relaxed);
            tokio::time::sleep(absent).await;
            self.is_unplugged.store(false, Ordering::Relaxed);
        }
    }
}

/// What happens to who connects to a host.
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
}

/// A network in memory. Clones are one network.
#[derive(Clone, Debug, Default)]
pub struct Network(Arc<std::sync::Mutex<Hosts>>);

#[derive(Default)]
struct Hosts {
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

    /// Puts a server behind all names that are nobody else's.
    pub fn set_others<F>(&self, serve: impl Fn(DuplexStream) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.lock().others = Some(in_task(serve));
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        match reach {
            Reach::Open => {}
            Reach::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
            Reach::Silent => std::future::pending().await,
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
