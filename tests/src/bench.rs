//! Card, modem and SM-DP+ joined in memory: what the daemon sees, without kernel devices.

use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::{fs, io, mem};

use es9_client::Roots;
use es10_apdu::types::NotificationEvent;
use rsp_common::certificate::Role;
use rsp_common::pki::{CertificateSpec, Pki, PkiOptions};
use rsp_servers::lpa::Direct;
use rsp_servers::network::{Network, Reach};
use rsp_servers::smdp::{Config, Smdp};
use sim_card_emulator::card::Card;
use sim_card_emulator::euicc::{Identity, Settings};
use sim_card_emulator::modem::{self, Card as _, Data, Ended, Modem, ModemControl};
use sim_card_emulator::pty::Pty;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

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
    /// every name that no other server has.
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
        let (line, control) = Line::with_card(card.clone());
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

[euicc.switch]
stable_s = 0
probation_s = 0

[euicc.bootstrap]
when = "{when}"
default_smdp = "{HOST_NAME}"
jitter_s = 0
"#
        );
        fs::write(&file, configuration)?;
        Ok(file)
    }

    /// The card without the modem.
    pub fn direct(&self) -> Direct {
        direct(&self.card)
    }

    /// Serves the modem's line as `modem` in this folder, and the SM-DP+ on a listener: what
    /// [`Self::configure`] tells a daemon in a process of its own.
    pub fn serve(&self, folder: &Path, baud: Option<u32>, listener: TcpListener) -> io::Result<()> {
        let pty = Pty::open(&folder.join("modem"))?;
        tokio::spawn(self.line().serve(pty, baud));
        let smdp = self.smdp.clone();
        tokio::spawn(async move { smdp.serve(listener, pending()).await });
        Ok(())
    }

    /// The modem's line; each call of `open` is a new connection to it.
    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// Takes the modem's port away, and the modem's and the card's power with it: a client that
    /// has it open sees it hang up, and no client can open it.
    pub fn unplug(&self) {
        self.line.is_unplugged.send_replace(true);
        if self.line.modem.try_lock().is_err() {
            self.modem.hang_up();
        }
    }

    /// Gives the port back.
    pub fn plug_in(&self) {
        self.line.is_unplugged.send_replace(false);
    }

    /// A card with this EID that the server knows as well.
    pub fn another_card(&self, eid: &str) -> Card {
        let mut pki = self.pki.clone();
        let now = PkiOptions::default().now;
        let spec = CertificateSpec::euicc(eid, now);
        pki.issue(Role::Euicc, Role::Eum, &spec)
            .expect("the PKI is complete");
        let identity = Identity::from_pki(&pki).expect("the PKI is complete");
        Card::new(identity, Settings::default())
    }

    /// Puts another card into the modem behind its open port, and gives the one before. From now
    /// on the bench's card is the other one.
    pub fn change_card(&mut self, card: Card) -> Card {
        self.line.change_card(card.clone());
        mem::replace(&mut self.card, card)
    }

    /// Adds the modem's interface to the network: connections over it need a context that is up.
    pub fn set_interface(&self, name: &str) {
        let data = self.modem.data();
        let is_unplugged = self.line.is_unplugged.subscribe();
        self.network
            .set_interface(name, move || match *data.borrow() {
                _ if *is_unplugged.borrow() => Reach::NoRoute,
                Data::Down => Reach::NoRoute,
                Data::Stuck => Reach::Silent,
                Data::Up => Reach::Open,
            });
    }

    /// From now on the modem's network knows of the installations that are reported to the server,
    /// see [`ModemControl::provisioned`].
    pub fn provision(&self) {
        let (smdp, network) = (self.smdp.clone(), self.modem.clone());
        let mut changes = smdp.changes();
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                for received in smdp.notifications() {
                    if received.event() == Some(NotificationEvent::INSTALL)
                        && let Some(iccid) = received.iccid()
                    {
                        network.provisioned(&iccid);
                    }
                }
            }
        });
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

/// A card, for an LPA that needs no modem.
pub fn direct(card: &Card) -> Direct {
    let mut card = card.clone();
    Direct::new(move |command| card.transmit(command))
}

/// The modem's AT port in memory.
#[derive(Clone, Debug)]
pub struct Line {
    modem: Arc<Mutex<Modem<Slot>>>,
    slot: Slot,
    is_unplugged: watch::Sender<bool>,
    /// Whether a client has looked for the port in vain.
    is_missed: bool,
}

impl Line {
    /// The line of a new modem with this card, and what steers the modem.
    pub fn with_card(card: Card) -> (Self, ModemControl) {
        let slot = Slot::new(card);
        let modem = Modem::new(slot.clone(), modem::Identity::default());
        let control = modem.control();
        let line = Self {
            modem: Arc::new(Mutex::new(modem)),
            slot,
            is_unplugged: watch::Sender::new(false),
            is_missed: false,
        };
        (line, control)
    }

    /// Puts another card into the modem; the port stays open.
    pub fn change_card(&self, card: Card) {
        self.slot.insert(card);
    }

    /// Opens the port, plugged in or not. The modem serves one client after the other.
    pub fn open(&self) -> DuplexStream {
        let (ours, theirs) = duplex(LINE);
        tokio::spawn(self.clone().serve(theirs, None));
        ours
    }

    /// Opens the port, when it is plugged in.
    pub fn find(&mut self) -> Option<DuplexStream> {
        self.is_missed = *self.is_unplugged.borrow();
        (!self.is_missed).then(|| self.open())
    }

    /// Waits until a port is there that [`Self::find`] has not found.
    pub async fn plugged_in(&self) {
        match self.is_missed {
            // The sender is this line's own.
            true => drop(self.is_unplugged.subscribe().wait_for(|away| !away).await),
            false => pending().await,
        }
    }

    /// Serves a client on `stream` until it or the modem hangs up; `baud` limits the rate.
    /// A modem that restarts cannot be opened while it is away.
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
            self.is_unplugged.send_replace(true);
            tokio::time::sleep(absent).await;
            self.is_unplugged.send_replace(false);
        }
    }
}

/// Where the modem's card is; it can be changed while the modem works.
#[derive(Clone, Debug)]
struct Slot {
    held: Arc<std::sync::Mutex<Held>>,
}

#[derive(Debug)]
struct Held {
    card: Card,
    /// How often the cards before this one had been reset.
    power_ups_before: u64,
}

impl Slot {
    fn new(card: Card) -> Self {
        let power_ups_before = 0;
        let held = Held {
            card,
            power_ups_before,
        };
        Self {
            held: Arc::new(std::sync::Mutex::new(held)),
        }
    }

    /// Both cards lose their power: the old one as it is taken out, the new one was without.
    fn insert(&self, card: Card) {
        let mut held = self.held();
        held.power_ups_before += held.card.power_ups() + 1;
        held.card.reset();
        card.reset();
        held.card = card;
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl modem::Card for Slot {
    fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        self.held().card.transmit(command)
    }

    fn transmit_own(&mut self, command: &[u8]) -> Vec<u8> {
        self.held().card.transmit_own(command)
    }

    fn reset(&mut self) {
        self.held().card.reset();
    }

    fn power_ups(&self) -> u64 {
        let held = self.held();
        held.power_ups_before + held.card.power_ups()
    }
}
