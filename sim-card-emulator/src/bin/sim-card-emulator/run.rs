//! The card at work, in a modem or in a reader.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use rsp_common::pki::{Pki, PkiOptions};
use sim_card_emulator::card::Card;
use sim_card_emulator::config::Config;
use sim_card_emulator::euicc::{Identity, PersonalisationError};
use sim_card_emulator::modem::Modem;
use sim_card_emulator::state_folder::StateFolder;
use sim_card_emulator::{pty, vpcd};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

/// Runs until it is told to end by SIGTERM or SIGINT.
pub(crate) async fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let place = match (&config.pty.link, &config.vpcd.address) {
        (Some(link), None) => Place::Modem(link),
        (None, Some(address)) => Place::Reader(address),
        (None, None) => {
            return Err("say where the card shall be: --pty LINK or --vpcd HOST:PORT".into());
        }
        (Some(_), Some(_)) => {
            return Err("one card is in a modem (--pty) or in a reader (--vpcd)".into());
        }
    };
    let card = card(config)?;
    let serve = async {
        match place {
            Place::Modem(link) => serve_port(card, link, config).await,
            Place::Reader(address) => serve_reader(card, address).await,
        }
    };
    tokio::select! {
        result = serve => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

enum Place<'c> {
    Modem(&'c Path),
    Reader(&'c str),
}

/// Puts the card into the PC/SC reader again and again: `pcscd` may start late, and restart.
async fn serve_reader(mut card: Card, address: &str) -> Result<(), Box<dyn Error>> {
    let eid = card.inspect(|euicc| euicc.eid());
    let mut pause = SHORTEST_PAUSE;
    loop {
        match timeout(LONGEST_PAUSE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                pause = SHORTEST_PAUSE;
                stream.set_nodelay(true)?;
                tracing::info!(reader = address, %eid, "the card is ready in the reader");
                match vpcd::serve(&mut card, stream).await {
                    Ok(ended) => tracing::info!(?ended, "the card is out of the reader"),
                    Err(error) => tracing::warn!(%error, "the card is out of the reader"),
                }
            }
            Ok(Err(error)) if pause == SHORTEST_PAUSE => {
                tracing::warn!(reader = address, %error, "no reader yet; does pcscd run?");
            }
            Ok(Err(_)) | Err(_) => {}
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Puts the card into a modem, whose port is found at `link`.
async fn serve_port(card: Card, link: &Path, config: &Config) -> Result<(), Box<dyn Error>> {
    let eid = card.inspect(|euicc| euicc.eid());
    let mut modem = Modem::new(card, config.modem.identity());
    config.modem.apply(&modem.control());
    tracing::info!(%eid, "the card is in the modem");
    match pty::serve(&mut modem, link, config.pty.baud).await {
        Ok(never) => match never {},
        Err(error) => Err(format!("{}: {error}", link.display()).into()),
    }
}

fn card(config: &Config) -> Result<Card, Box<dyn Error>> {
    let directory = config.state.directory.as_deref();
    let folder = directory.map(StateFolder::open).transpose()?;
    let identity = identity(config)?;
    if !identity.eid().has_valid_check_digits() {
        tracing::warn!("the check digits of the EID are wrong");
    }
    let settings = config.card.clone();
    Ok(match folder {
        Some(folder) => Card::in_folder(identity, settings, folder)?,
        None => Card::new(identity, settings),
    })
}

fn identity(config: &Config) -> Result<Identity, Box<dyn Error>> {
    let wanted = config.identity.eid;
    let mut options = PkiOptions::default();
    if let Some(eid) = wanted {
        options.eid = eid.to_string();
    }
    let in_state = config.state.directory.as_ref();
    let in_state = in_state.map(|state| state.join("pki"));
    let folder = config.identity.pki.as_deref().or(in_state.as_deref());
    let pki = match folder {
        Some(folder) => Pki::load_or_create(folder, &options)?,
        None => Pki::generate(&options)?,
    };
    let identity = match Identity::from_pki(&pki) {
        Err(error @ (PersonalisationError::Eum(_) | PersonalisationError::Euicc(_))) => {
            tracing::warn!(%error, "servers will refuse this card");
            Identity::from_pki_unverified(&pki)?
        }
        other => other?,
    };
    match (wanted, folder) {
        (Some(wanted), Some(folder)) if wanted != identity.eid() => Err(format!(
            "--eid {wanted}: the eUICC certificate in {} is for {}",
            folder.display(),
            identity.eid()
        )
        .into()),
        _ => Ok(identity),
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// Before the reader is tried again; a person who waits for it sees it come.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
