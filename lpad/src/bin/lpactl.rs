//! `lpactl`: look after the eSIM of this gateway.

use std::process::ExitCode;

use clap::Parser;
use lpad::cli::{self, args::Arguments};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    cli::run(Arguments::parse()).await
}
