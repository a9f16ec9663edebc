//! Runs an emulated eUICC behind an emulated AT modem on a pseudo terminal.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use es10_apdu::types::Eid;
use sim_card_emulator::card::Card;
use sim_card_emulator::euicc::{Identity, Settings};
use sim_card_emulator::modem::{self, Ended, Modem, Quirks};
use sim_card_emulator::pki::{Pki, PkiOptions};
use sim_card_emulator::pty::Pty;
use sim_card_emulator::state_folder::StateFolder;
use tokio::signal::unix::{SignalKind, signal};

/// An eUICC (SGP.22) behind an AT modem, on a pseudo terminal.
///
/// The terminal is found at the path of a symbolic link, which is used like the serial port of a
/// real modem: AT+CSIM reaches the card, AT+CGSN, AT+CCID, AT+CFUN and the like answer too.
///
/// The card is strict: it verifies every certificate and signature, and opens real bound profile
/// packages. Without --pki it makes a test PKI of its own; a test SM-DP+ that is started on the
/// same --pki folder belongs to it.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// Where the symbolic link to the terminal is put; it is removed at the end
    #[arg(long, value_name = "LINK")]
    pty: PathBuf,
    /// Folder that keeps profiles and notifications; without it a restart is a new card
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The eUICC's number for a PKI that is made now; of an existing PKI it must be the one
    #[arg(long, value_name = "32 DIGITS")]
    eid: Option<Eid>,
    /// Folder of the PKI (ci.der, eum.der, euicc.der, euicc.key); a fresh one is made when empty
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
    /// Make the line as slow as this many bits per second
    #[arg(long, value_name = "BITS/S")]
    baud: Option<u32>,
    /// A bad habit of the modem; may be given several times
    #[arg(long = "quirk", value_name = "NAME", value_parser = PossibleValuesParser::new(Quirks::NAMES))]
    quirks: Vec<String>,
    /// The modem's IMEI
    #[arg(long, value_name = "15 DIGITS", value_parser = imei)]
    imei: Option<String>,
    /// Memory of the card for profiles, in bytes
    #[arg(long, value_name = "BYTES")]
    free_memory: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  sim-card-emulator --pty /tmp/modem --state /tmp/card
  sim-card-emulator --pty /tmp/modem --pki /tmp/pki --baud 115200 --quirk ignores-refresh
  minicom -D /tmp/modem        (then type AT+CGSN)";

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(&Arguments::parse())),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sim-card-emulator: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let folder = arguments
        .state
        .as_deref()
        .map(StateFolder::open)
        .transpose()?;
    let identity = identity(arguments)?;
    let eid = identity.eid();
    if !eid.has_valid_check_digits() {
        tracing::warn!("the check digits of the EID are wrong");
    }
    let mut settings = Settings::default();
    settings.memory = arguments.free_memory.unwrap_or(settings.memory);
    let card = match folder {
        Some(folder) => Card::in_folder(identity, settings, folder)?,
        None => Card::new(identity, settings),
    };
    let mut modem = Modem::new(card, modem_identity(arguments));
    let mut quirks = Quirks::default();
    arguments
        .quirks
        .iter()
        .try_for_each(|name| quirks.add(name))?;
    modem.control().set_quirks(|active| *active = quirks);
    tokio::select! {
        result = serve(&mut modem, arguments, eid) => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Serves one terminal after the other; a modem that hung up comes back like one plugged in again.
async fn serve(
    modem: &mut Modem<Card>,
    arguments: &Arguments,
    eid: Eid,
) -> Result<(), Box<dyn Error>> {
    loop {
        let pty = Pty::open(&arguments.pty)
            .map_err(|error| format!("{}: {error}", arguments.pty.display()))?;
        tracing::info!(link = %arguments.pty.display(), %eid, "the modem is ready");
        match modem::serve(modem, pty, arguments.baud).await? {
            Ended::ClientGone | Ended::HungUp => {}
        }
    }
}

fn identity(arguments: &Arguments) -> Result<Identity, Box<dyn Error>> {
    let mut options = PkiOptions {
        now: SystemTime::now(),
        ..PkiOptions::default()
    };
    if let Some(eid) = arguments.eid {
        options.eid = eid.to_string();
    }
    let in_state = arguments.state.as_deref().map(|state| state.join("pki"));
    let pki = match arguments.pki.as_deref().or(in_state.as_deref()) {
        Some(folder) => Pki::load_or_create(folder, &options)?,
        None => Pki::generate(&options)?,
    };
    let identity = Identity::from_pki(&pki)?;
    match arguments.eid {
        Some(wanted) if wanted != identity.eid() => {
            let folder = arguments
                .pki
                .as_deref()
                .unwrap_or_else(|| Path::new("the PKI"));
            let found = identity.eid();
            Err(format!(
                "--eid {wanted}: the eUICC certificate in {} is for {found}",
                folder.display()
            )
            .into())
        }
        _ => Ok(identity),
    }
}

fn modem_identity(arguments: &Arguments) -> modem::Identity {
    let standard = modem::Identity::default();
    let imei = arguments
        .imei
        .clone()
        .unwrap_or_else(|| standard.imei.clone());
    modem::Identity { imei, ..standard }
}

fn imei(text: &str) -> Result<String, String> {
    if text.len() == 15 && text.bytes().all(|digit| digit.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("an IMEI has 15 digits".to_owned())
    }
}
