//! Runs an emulated eUICC behind an emulated AT modem on a pseudo terminal.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use sim_card_emulator::config;
use sim_card_emulator::modem::Quirks;

mod arguments;
mod run;

use arguments::Arguments;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .without_time()
        .init();
    match act(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sim-card-emulator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.example_config {
        return Ok(io::stdout().write_all(config::EXAMPLE.as_bytes())?);
    }
    if arguments.list_quirks {
        for name in Quirks::NAMES {
            writeln!(io::stdout(), "{name}")?;
        }
        return Ok(());
    }
    let config = arguments.config()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run::run(&config))
}
