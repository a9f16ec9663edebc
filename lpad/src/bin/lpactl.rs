//! `lpactl`: look after the eSIM of this gateway.

use std::process::ExitCode;

use clap::Parser;
use lpad::cli;
use lpad::cli::args::Arguments;
use lpad::cli::doctor::program::Program;

fn main() -> ExitCode {
    cli::run(Arguments::parse(), Program::installed())
}
