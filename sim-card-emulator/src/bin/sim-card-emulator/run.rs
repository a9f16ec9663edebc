//! The card and the modem at work.

use std::error::Error;
use std::path::Path;

use sim_card_emulator::card::Card;
use sim_card_emulator::config::Config;
use sim_card_emulator::euicc::Identity;
use sim_card_emulator::modem::{self, Ended, Modem};
use sim_card_emulator::pki::{Pki, PkiOptions};
use sim_card_emulator::pty::Pty;
use sim_card_emulator::state_folder::StateFolder;
use tokio::signal::unix::{SignalKind, signal};

/// Runs until it is told to end by SIGTERM or SIGINT.
pub(crate) async fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let Some(link) = config.pty.link.as_deref() else {
        return Err("say where the modem's port shall be: --pty LINK".into());
    };
    let card = card(config)?;
    tokio::select! {
        result = serve_port(card, link, config) => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Serves one terminal after the other; a modem that hung up comes back like one plugged in again.
async fn serve_port(card: Card, link: &Path, config: &Config) -> Result<(), Box<dyn Error>> {
    let eid = card.inspect(|euicc| euicc.eid());
    let mut modem = Modem::new(card, config.modem.identity());
    modem
        .control()
        .set_quirks(|quirks| *quirks = config.modem.quirks.clone());
    loop {
        let pty = Pty::open(link).map_err(|error| format!("{}: {error}", link.display()))?;
        tracing::info!(link = %link.display(), %eid, "the modem is ready");
        match modem::serve(&mut modem, pty, config.pty.baud).await? {
            Ended::ClientGone | Ended::HungUp => {}
        }
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
    let identity = Identity::from_pki(&pki)?;
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
