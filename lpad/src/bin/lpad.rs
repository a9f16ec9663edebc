//! `lpad`: the daemon.

use std::env;
use std::process::ExitCode;

use lpad::program;

fn main() -> ExitCode {
    program::run(env::args_os().skip(1).collect())
}
