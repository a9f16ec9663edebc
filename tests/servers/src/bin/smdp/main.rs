//! The test SM-DP+ as a program.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use rsp_common::pki::PkiError;
use rsp_servers::smdp::{
    Config, ConfigFile, ConfigFileError, FolderError, OrderSettingsError, Smdp, SmdpError,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::filter::LevelFilter;

mod arguments;
mod setup;

use arguments::Arguments;
use setup::config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(io::stderr)
        .init();
    let arguments = Arguments::parse();
    if arguments.example_config {
        print_example();
        return ExitCode::SUCCESS;
    }
    match run(arguments).await {
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
    ConfigFile(#[from] ConfigFileError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("there is nowhere to listen: give --listen, or listen in the configuration file")]
    NoListener,
    #[error("order {number}: {source}")]
    Order {
        number: usize,
        source: OrderSettingsError,
    },
    #[error("{path}: {problem}")]
    Certificate { path: PathBuf, problem: String },
    #[error("operator_url: {0}")]
    OperatorUrl(String),
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
    let file = arguments.settle()?;
    let listen = file.listen.as_ref().ok_or(Error::NoListener)?;
    let smdp = Smdp::new(config(&file)?)?;
    provide(&smdp, &file)?;
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
    let (listener, address) = bind(listen).await?;
    let admin = match &file.admin {
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

/// Takes the orders and plans the faults of the configuration.
fn provide(smdp: &Smdp, file: &ConfigFile) -> Result<(), Error> {
    if let Some(folder) = &file.profiles {
        smdp.serve_folder(folder)?;
    }
    for (place, settings) in file.orders.iter().enumerate() {
        let (settings, number, folder) = (settings.clone(), place + 1, Some("".as_ref()));
        let failed = |source| Error::Order { number, source };
        if settings.is_for_stock() {
            smdp.stock(settings.stocked(folder).map_err(failed)?);
        } else {
            smdp.create_order_once(settings.order(folder).map_err(failed)?);
        }
    }
    for plan in &file.faults {
        tracing::info!(function = %plan.function, call = %plan.calls, fault = %plan.fault, "fault");
        smdp.plan(plan.clone());
    }
    for plan in &file.reservation_faults {
        tracing::info!(call = %plan.calls, fault = ?plan.fault, "fault of the reservation API");
        smdp.set_reservation_fault(plan.calls, plan.fault);
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "this is the program's output")]
fn print_example() {
    print!("{}", ConfigFile::EXAMPLE);
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
        println!("Admin API on http://{admin}/admin/v1/");
    }
    println!("Reservation credentials {account_sid}:{auth_token}");
}
