//! Opening the port to a modem.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem, process};

use es10_apdu::at::{Serial, SerialCause};
#[cfg(feature = "pcsc")]
use es10_apdu::pcsc::Reader;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::device::Device;
use super::place::Place;
use super::ports::{Candidate, answers_at, candidates, of_one_modem};
use super::table::Table;
use crate::config::EuiccConfig;

/// Opens the byte stream to a modem, or what there is in its place, as often as it has to be opened again.
pub trait OpenPort: Send + 'static {
    /// The stream to a modem.
    type Port: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens it. The text of an error is for people.
    fn open(&mut self) -> impl Future<Output = io::Result<Device<Self::Port>>> + Send;

    /// Waits until opening it again may end otherwise than the last time. An opener that is told of
    /// nothing never ends this: the port is tried now and then in any case.
    ///
    /// # Cancel safety
    ///
    /// What has changed is found by the next call as well.
    fn changed(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Opens what a configuration names: a serial port, or a reader.
#[derive(Debug)]
pub struct SerialPort {
    which: Which,
    baud: u32,
}

#[derive(Debug)]
enum Which {
    /// The one that is configured.
    Configured(Place),
    /// That of the one modem there is.
    Any(Finder),
    /// The reader that is configured.
    #[cfg(feature = "pcsc")]
    Reader(Reader),
}

impl SerialPort {
    /// The port of a configured eUICC; `modems` knows the ports of modems, should it be looked for.
    pub fn new(config: &EuiccConfig, modems: Arc<Table>) -> Self {
        Self::below(Path::new("/"), config, modems)
    }

    /// The same, looked for in the folders `dev` and `sys` below another root.
    pub fn below(root: &Path, config: &EuiccConfig, modems: Arc<Table>) -> Self {
        let which = match config.reader() {
            #[cfg(feature = "pcsc")]
            Some(name) => Which::Reader(Reader::new(name)),
            _ if config.is_any_port() => Which::Any(Finder::new(root, modems)),
            _ => Which::Configured(Place::new(config.port.clone())),
        };
        let baud = config.baud;
        Self { which, baud }
    }
}

impl OpenPort for SerialPort {
    type Port = Serial;

    async fn open(&mut self) -> io::Result<Device<Serial>> {
        match &mut self.which {
            Which::Configured(place) => open(place, self.baud),
            Which::Any(finder) => finder.open(self.baud).await,
            #[cfg(feature = "pcsc")]
            Which::Reader(reader) => {
                let card = reader.connect(CONNECTING).await;
                return card.map(Device::Reader).map_err(io::Error::other);
            }
        }
        .map(Device::from)
    }

    async fn changed(&mut self) {
        match &self.which {
            Which::Configured(place) => place.changed().await,
            Which::Any(finder) => finder.changed().await,
            #[cfg(feature = "pcsc")]
            Which::Reader(_) => std::future::pending().await,
        }
    }
}

/// Finds the AT port of the one modem there is.
#[derive(Clone, Debug)]
struct Finder {
    root: PathBuf,
    modems: Arc<Table>,
    /// Where ports appear.
    devices: Place,
    /// The port that has answered, and when it was there last.
    found: Option<(Place, Instant)>,
    /// Ports that did not answer, while there are others to ask.
    mute: Vec<PathBuf>,
}

impl Finder {
    fn new(root: &Path, modems: Arc<Table>) -> Self {
        Self {
            root: root.to_owned(),
            modems,
            devices: Place::new(root.join("dev")),
            found: None,
            mute: Vec::new(),
        }
    }

    async fn open(&mut self, baud: u32) -> io::Result<Serial> {
        self.devices.look();
        if let Some((place, there)) = &mut self.found {
            let opened = open(place, baud);
            if place.is_taken() {
                *there = Instant::now();
            }
            // A modem that restarts is away for a while, and its ports come back one by one. Without
            // a name that stays, its port may have another one then.
            let returns = place.path().starts_with(self.root.join("dev/serial"));
            if place.is_taken() || (returns && there.elapsed() < RETURNS) {
                return opened;
            }
            self.found = None;
        }
        let ports = of_one_modem(candidates(&self.root, &self.modems))?;
        let end = Instant::now() + ASKING;
        let mut because = None;
        for port in &ports {
            if self.mute.contains(&port.path) {
                continue;
            }
            if Instant::now() > end {
                return Err(io::Error::other("no port of the modem has answered AT yet"));
            }
            let mut place = Place::new(port.name().to_owned());
            match open(&mut place, baud) {
                Ok(mut serial) => {
                    if answers_at(&mut serial).await {
                        self.take(port, place);
                        return Ok(serial);
                    }
                    self.mute.push(port.path.clone());
                }
                // Another port of the modem may be free.
                Err(error) => because = because.or(Some(error)),
            }
        }
        // All are asked again next time: the modem may have been starting.
        let mute = mem::take(&mut self.mute);
        Err(because.unwrap_or_else(|| nothing_answers(&mute)))
    }

    fn take(&mut self, port: &Candidate, place: Place) {
        let (name, modem, why) = (
            port.name().display(),
            &port.description,
            port.verdict.words(),
        );
        tracing::info!(port = %name, modem, why, "found the modem");
        self.found = Some((place, Instant::now()));
        self.mute.clear();
    }

    async fn changed(&self) {
        let known = async {
            match &self.found {
                Some((place, _)) => place.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = known => {}
            () = self.devices.changed() => {}
        }
    }
}

fn nothing_answers(mute: &[PathBuf]) -> io::Error {
    let mute: Vec<_> = mute.iter().map(|path| path.display().to_string()).collect();
    let mute = mute.join(", ");
    io::Error::other(format!(
        "no port of the modem answers AT; asked were {mute}"
    ))
}

fn open(place: &mut Place, baud: u32) -> io::Result<Serial> {
    place.look();
    Serial::open(place.path(), baud).map_err(|error| match error.cause {
        SerialCause::Busy(Some(holder)) if holder.pid == process::id() => {
            let port = place.path().display();
            io::Error::other(format!(
                "cannot open {port}: lpad itself uses it, for another [[euicc]] section"
            ))
        }
        _ => io::Error::other(error),
    })
}

/// How long ports may be asked at a time: two more fit into what opening may take.
const ASKING: Duration = Duration::from_secs(6);
/// How long a modem may be away before another of its ports, or another modem, is taken.
const RETURNS: Duration = Duration::from_secs(120);
/// How long a reader may take to give its card power, which fits into what opening may take.
#[cfg(feature = "pcsc")]
const CONNECTING: Duration = Duration::from_secs(9);
