//! The test SM-DS as a program.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use es9_client::TcpConnect;
use rsp_servers::smdp::Fault;
use rsp_servers::smds::{self, Es12Client, Root, Smds};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

mod config;
mod identity;

use config::{Arguments, Config, EXAMPLE};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(io::stderr)
        .init();
    match act(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smds: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn act(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.example_config {
        return Ok(io::stdout().write_all(EXAMPLE.as_bytes())?);
    }
    if arguments.list_faults {
        for named in Fault::NAMES {
            writeln!(io::stdout(), "{named}\n    {}", named.about)?;
        }
        return Ok(());
    }
    let config = arguments.config()?;
    let smds = server(&config)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(&config.listen)
        .await
        .map_err(|error| format!("{}: {error}", config.listen))?;
    // A script can wait for this line.
    writeln!(
        io::stdout(),
        "ES11 and ES12 of {} on https://{}",
        smds.config().host_name,
        listener.local_addr()?
    )?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending");
    };
    smds.serve(listener, stop).await;
    Ok(())
}

/// The server as it is configured, with its events.
fn server(config: &Config) -> Result<Smds, Box<dyn Error>> {
    if let Some(folder) = &config.state {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let (pki, host_name, owner) = identity::of(config)?;
    let root = match &config.root {
        None => None,
        Some(address) => {
            let connect = TcpConnect::with_targets(config.connect_to.clone());
            Some(Root {
                address: address.clone(),
                registrar: Arc::new(Es12Client::new(connect, &pki, owner, false)?),
            })
        }
    };
    let smds = Smds::new(smds::Config {
        root,
        state_folder: config.state.clone(),
        ..smds::Config::new(host_name, pki)
    })?;
    for event in &config.events {
        // One that is known from an earlier run stays as it is.
        if let Err(status) = smds.register_event(event.clone().into()) {
            tracing::info!(event = event.event_id, %status, "event not registered");
        }
    }
    for fault in &config.faults {
        smds.plan(fault.clone());
    }
    for event in smds.events() {
        tracing::info!(%event, "event");
    }
    Ok(smds)
}
