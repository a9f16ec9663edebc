//! Card, modem and SM-DP+ joined in memory: what the daemon sees, without kernel devices.

use std::{io, sync::Arc};

use es9_client::{Connect, Roots};
use sim_card_emulator::{
    card::Card,
    certificate::Role,
    euicc::{Identity, Settings},
    modem::{self, Modem, ModemControl},
    pki::{Pki, PkiOptions},
};
use tokio::{
    io::{DuplexStream, duplex},
    sync::Mutex,
};

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
}

impl Bench {
    /// A new card, an empty server.
    pub fn new() -> Self {
        let pki = Pki::generate(&PkiOptions::default()).expect("the default options are usable");
        Self::with_pki(pki)
    }

    /// A new card and an empty server with these certificates.
    pub fn with_pki(pki: Pki) -> Self {
        let identity = Identity::from_pki(&pki).expect("the PKI is complete");
        let card = Card::new(identity, Settings::default());
        let smdp = Smdp::new(Config::new(HOST_NAME, pki.clone())).expect("the PKI is complete");
        let modem = Modem::new(card.clone(), modem::Identity::default());
        let control = modem.control();
        let line = Line(Arc::new(Mutex::new(modem)));
        Self {
            card,
            modem: control,
            smdp,
            pki,
            line,
        }
    }

    /// The card's EID.
    pub fn eid(&self) -> String {
        self.card.inspect(|euicc| euicc.eid().to_string())
    }

    /// The issuer of the server's certificates, as a client's only root.
    pub fn roots(&self) -> Roots {
        let ci = self.pki.certificate(Role::Ci).expect("the PKI is complete");
        let mut roots = Roots::empty();
        roots
            .add_der(ci.der())
            .expect("our own certificate can be read");
        roots
    }

    /// The modem's line; each call of `open` is a new connection to it.
    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// Connects to the server in memory, whatever host is asked for.
    pub fn network(&self) -> Network {
        Network(self.smdp.clone())
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// The modem's AT port in memory.
#[derive(Clone, Debug)]
pub struct Line(Arc<Mutex<Modem<Card>>>);

impl Line {
    /// Opens the port. The modem serves one client after the other.
    pub fn open(&self) -> DuplexStream {
        let (ours, theirs) = duplex(LINE);
        let modem = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut modem = modem.lock().await;
            // An in-memory line fails only by being closed.
            let _ = modem::serve(&mut modem, theirs, None).await;
        });
        ours
    }
}

/// A network with one server.
#[derive(Clone, Debug)]
pub struct Network(Smdp);

impl Connect for Network {
    type Stream = DuplexStream;

    async fn connect(&self, _: &str, _: u16) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(LINE);
        let smdp = self.0.clone();
        tokio::spawn(async move { smdp.serve_stream(theirs).await });
        Ok(ours)
    }
}
