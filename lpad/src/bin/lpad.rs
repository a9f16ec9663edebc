//! `lpad`: the daemon.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lpad::config::Config;
use lpad::log;

/// Local Profile Assistant: downloads and switches the eSIM profiles of this gateway.
#[derive(Debug, Parser)]
#[command(name = "lpad", version)]
struct Arguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/lpad/lpad.toml")]
    config: PathBuf,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => return fail(&error, 2),
    };
    if arguments.check {
        let fine = writeln!(io::stdout(), "{}: fine", arguments.config.display());
        return ExitCode::from(u8::from(fine.is_err()));
    }
    log::init(config.log.level);
    match lpad::run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    // Without standard error nobody can be told.
    let _ = writeln!(io::stderr(), "lpad: {error}");
    ExitCode::from(code)
}
