//! Runs an emulated eUICC behind an emulated AT modem on a pseudo terminal.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use sim_card_emulator::config;
use sim_card_emulator::modem::{Network, Preset, Quirk};

mod arguments;
mod pki;
mod run;

use arguments::{Action, Arguments};

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
    if let Some(Action::Pki(command)) = &arguments.action {
        return pki::act(command, &mut io::stdout());
    }
    if arguments.example_config {
        return Ok(io::stdout().write_all(config::EXAMPLE.as_bytes())?);
    }
    if arguments.list_quirks {
        return Ok(list_quirks(&mut io::stdout())?);
    }
    if arguments.list_networks {
        return Ok(list_networks(&mut io::stdout())?);
    }
    let config = arguments.config()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run::run(&config))
}

fn list_networks(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "What the network is made of (--network WORD,WORD…); in brackets what AT+CEREG? tells:\n"
    )?;
    for (word, about) in Network::WORDS {
        writeln!(out, "  {word}\n      {about}")?;
    }
    Ok(())
}

fn list_quirks(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "Quirks (--quirk NAME[=VALUE]), each as some real modem has it:\n"
    )?;
    for quirk in Quirk::ALL {
        let value = quirk.kind().usual();
        writeln!(out, "  {}{value}", quirk.name())?;
        writeln!(out, "      {}", quirk.about())?;
        writeln!(out, "      As {}.", quirk.imitates())?;
    }
    writeln!(out, "\nPresets (--quirk preset:NAME):\n")?;
    for preset in Preset::ALL {
        writeln!(out, "  {}", preset.name())?;
        let names = [preset.maker(), preset.model(), preset.firmware()].join(" ");
        if !names.trim().is_empty() {
            writeln!(out, "      {}", names.trim())?;
        }
        writeln!(out, "      Known of real ones: {}.", preset.known())?;
        writeln!(out, "      {}", preset.quirks().join(", "))?;
    }
    Ok(())
}
