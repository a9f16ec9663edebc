//! The test SM-DP+ as a program.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::SystemTime,
};

use clap::Parser;
use es9_client::TcpConnect;
use lpad_tests::{
    smdp::{Config, FolderError, Smdp, SmdpError, orders_of_folder},
    smds::Es12Client,
};
use sim_card_emulator::{
    certificate::Role,
    pki::{Pki, PkiError, PkiOptions},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::filter::LevelFilter;

/// A test SM-DP+: serves profiles over ES9+ and takes reservations over HTTP.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to serve ES9+ over TLS, and the reservation API.
    #[arg(long, value_name = "HOST:PORT")]
    listen: String,
    /// The FQDN to answer to; the first name in the TLS certificate when left out.
    #[arg(long, value_name = "FQDN")]
    host_name: Option<String>,
    /// Folder of the PKI; a fresh one is made there when it is empty.
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
    /// Folder of profiles to serve: MATCHING-ID.der, with an optional MATCHING-ID.toml beside it.
    #[arg(long, value_name = "DIR")]
    profiles: Option<PathBuf>,
    /// Folder to keep orders and reservations in.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where to serve the reservation API over plain HTTP as well.
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// User of the reservation API.
    #[arg(long, value_name = "SID")]
    account_sid: Option<String>,
    /// Password of the reservation API.
    #[arg(long, value_name = "TOKEN")]
    auth_token: Option<String>,
    /// Where an SM-DS is reached whose name does not lead there; may be given several times.
    #[arg(long, value_name = "FQDN=HOST:PORT", value_parser = target)]
    connect_to: Vec<(String, String)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(io::stderr)
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smdp: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the program ends.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{address}: {source}")]
    Listen { address: String, source: io::Error },
    #[error("signals: {0}")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Smdp(#[from] SmdpError),
    #[error("{path}: {source}")]
    State { path: PathBuf, source: io::Error },
    #[error(
        "dptls.der is for {found} and not for {host_name}, and without ci.key no other TLS \
         certificate can be issued"
    )]
    WrongName { host_name: String, found: String },
}

impl From<PkiError> for Error {
    fn from(error: PkiError) -> Self {
        Self::Smdp(error.into())
    }
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    let smdp = Smdp::new(config(&arguments)?)?;
    if let Some(folder) = &arguments.profiles {
        for order in orders_of_folder(folder)? {
            smdp.create_order_once(order);
        }
    }
    for order in smdp.orders() {
        tracing::info!(
            order = %order.id(),
            state = ?order.state(),
            profile = order.profile().metadata.profile_name,
            "order"
        );
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let (listener, address) = bind(&arguments.listen).await?;
    let admin = match &arguments.admin {
        Some(admin) => Some(bind(admin).await?),
        None => None,
    };
    announce(&smdp, address, admin.as_ref().map(|(_, address)| *address));

    let (stop, stopped) = watch::channel(false);
    let shutdown = || {
        let mut stopped = stopped.clone();
        // The sender going away means the same.
        async move { drop(stopped.wait_for(|stopped| *stopped).await) }
    };
    let serve_admin = async {
        if let Some((listener, _)) = admin {
            smdp.serve_admin(listener, shutdown()).await;
        }
    };
    let wait_for_signal = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending");
        stop.send_replace(true);
    };
    tokio::join!(
        smdp.serve(listener, shutdown()),
        serve_admin,
        wait_for_signal
    );
    Ok(())
}

fn config(arguments: &Arguments) -> Result<Config, Error> {
    if let Some(folder) = &arguments.state {
        std::fs::create_dir_all(folder).map_err(|source| Error::State {
            path: folder.clone(),
            source,
        })?;
    }
    let in_state = arguments.state.as_ref().map(|folder| folder.join("pki"));
    let mut pki = load_pki(
        arguments.pki.as_deref().or(in_state.as_deref()),
        arguments.host_name.as_deref(),
    )?;
    let host_name = match &arguments.host_name {
        Some(host_name) => host_name.clone(),
        None => pki
            .certificate(Role::DpTls)
            .ok()
            .and_then(|certificate| certificate.dns_names().first().cloned())
            .unwrap_or_else(|| DEFAULT_HOST_NAME.to_owned()),
    };
    provide_tls(&mut pki, &host_name)?;
    let connect = TcpConnect::with_targets(arguments.connect_to.iter().cloned());
    let registrar = Es12Client::new(connect, &pki, host_name.clone(), true)?;
    let mut config = Config::new(host_name, pki);
    config.event_registrar = Some(Arc::new(registrar));
    config.state_folder = arguments.state.clone();
    for (setting, given) in [
        (&mut config.account_sid, &arguments.account_sid),
        (&mut config.auth_token, &arguments.auth_token),
    ] {
        if let Some(given) = given {
            setting.clone_from(given);
        }
    }
    Ok(config)
}

fn load_pki(folder: Option<&Path>, host_name: Option<&str>) -> Result<Pki, Error> {
    let host_names = vec![host_name.unwrap_or(DEFAULT_HOST_NAME).to_owned()];
    let options = PkiOptions {
        host_names,
        ..PkiOptions::default()
    };
    Ok(match folder {
        Some(folder) => Pki::load_or_create(folder, &options)?,
        None => {
            tracing::warn!("without --pki and --state nobody knows this server's issuer");
            Pki::generate(&options)?
        }
    })
}

/// Sees to it that there is a TLS certificate for this host; a new one stays in memory.
fn provide_tls(pki: &mut Pki, host_name: &str) -> Result<(), Error> {
    let names = match pki.certificate(Role::DpTls) {
        Ok(certificate) => certificate.dns_names().to_vec(),
        Err(_) => Vec::new(),
    };
    let is_named = names
        .iter()
        .any(|name| name.eq_ignore_ascii_case(host_name));
    if is_named && pki.key(Role::DpTls).is_ok() {
        return Ok(());
    }
    if pki.key(Role::Ci).is_ok() {
        tracing::info!(host_name, "issuing a TLS certificate");
        return Ok(pki.issue_tls(&[host_name.to_owned()], SystemTime::now())?);
    }
    if is_named {
        // The missing key is reported by whoever needs it.
        return Ok(());
    }
    let found = if names.is_empty() {
        "no host".to_owned()
    } else {
        names.join(", ")
    };
    Err(Error::WrongName {
        host_name: host_name.to_owned(),
        found,
    })
}

fn target(text: &str) -> Result<(String, String), &'static str> {
    let (host, target) = text.split_once('=').ok_or("it is not FQDN=HOST:PORT")?;
    Ok((host.to_owned(), target.to_owned()))
}

async fn bind(address: &str) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen {
        address: address.to_owned(),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// Says on standard output where the server can be reached, so that a script can wait for it.
#[allow(clippy::print_stdout, reason = "this is the program's output")]
fn announce(smdp: &Smdp, address: SocketAddr, admin: Option<SocketAddr>) {
    let Config {
        host_name,
        account_sid,
        auth_token,
        ..
    } = smdp.config();
    println!("ES9+ of {host_name} on https://{address}");
    if let Some(admin) = admin {
        println!("Reservations on http://{admin}/v1/ESimProfiles");
    }
    println!("Reservation credentials {account_sid}:{auth_token}");
}

const DEFAULT_HOST_NAME: &str = "smdp.example.com";

#[cfg(test)]
mod tests {
    use super::*;

    fn pki() -> Pki {
        Pki::generate(&PkiOptions::default()).unwrap()
    }

    /// What a folder made elsewhere holds: no key of the issuer.
    fn foreign_pki() -> Pki {
        let mut pki = pki();
        let ci = pki.certificate(Role::Ci).unwrap().clone();
        pki.insert(Role::Ci, ci, None);
        pki
    }

    #[test]
    fn a_certificate_for_the_host_is_kept() {
        let mut pki = foreign_pki();
        let before = pki.certificate(Role::DpTls).unwrap().der().to_vec();
        provide_tls(&mut pki, "SMDP.example.com").unwrap();
        assert_eq!(pki.certificate(Role::DpTls).unwrap().der(), before);
    }

    #[test]
    fn a_certificate_for_another_host_is_issued_when_the_issuer_is_ours() {
        let mut pki = pki();
        provide_tls(&mut pki, "localhost").unwrap();
        assert_eq!(
            pki.certificate(Role::DpTls).unwrap().dns_names(),
            ["localhost"]
        );
    }

    #[test]
    fn a_host_no_certificate_can_be_had_for_is_an_error_that_names_those_there_are() {
        let error = provide_tls(&mut foreign_pki(), "localhost")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("smdp.example.com") && error.contains("localhost"),
            "{error}"
        );
    }
}
