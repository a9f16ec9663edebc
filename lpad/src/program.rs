//! The program `lpad`: its options, and what each does.

use std::borrow::Cow;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::vec;

use tokio::runtime::Builder;
use tracing::Level;

use crate::check::{check, longest_switches, unwise};
use crate::config::Config;
use crate::daemon;
use crate::look::Look;
use crate::packed;
use crate::printable::printable;
use crate::runtime::log;

/// Runs the program with its arguments, and tells how it went.
///
/// Neither generic nor asynchronous: who calls it would compile half of the engine a second time.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let arguments = match Arguments::parse(arguments.into_iter()) {
        Ok(arguments) => arguments,
        Err(error) => return fail(&*error, 2),
    };
    let runtime = Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(carry_out(arguments)),
        Err(error) => fail(&error, 1),
    }
}

async fn carry_out(arguments: Arguments) -> ExitCode {
    if let Some(text) = arguments.text {
        return say(&text);
    }
    if let Some(look) = arguments.look {
        return match look.seen(&arguments.config).await {
            Ok(seen) => say(&format!("{VERSION}{seen}\n")),
            Err(error) => fail(&*Box::<dyn Error>::from(error), 1),
        };
    }
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => return fail(&error, 2),
    };
    if arguments.check {
        let warnings = match check(&config, &arguments.config) {
            Ok(warnings) => warnings,
            Err(error) => return fail(&error, 2),
        };
        for warning in warnings {
            log::say(
                Level::WARN,
                &format!("lpad: warning: {}", printable(&warning)),
            );
        }
        let mut text = format!("{}: fine\n", arguments.config.display());
        for line in longest_switches(&config) {
            text += &format!("{line}\n");
        }
        return say(&text);
    }
    log::init(config.log.level);
    for warning in unwise(&config, &arguments.config) {
        tracing::warn!("{}", printable(&warning));
    }
    match daemon::run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, error.exit_code()),
    }
}

/// A few options do not need the 230 KB of `lpactl`'s parser.
#[derive(Debug)]
struct Arguments {
    config: PathBuf,
    check: bool,
    /// What `lpactl doctor` wants to know.
    look: Option<Look>,
    /// What was asked for in place of a daemon.
    text: Option<Cow<'static, str>>,
}

impl Arguments {
    fn parse(mut given: vec::IntoIter<OsString>) -> Result<Self, Box<dyn Error>> {
        let config = PathBuf::from("/etc/lpad/lpad.toml");
        let mut arguments = Self {
            config,
            check: false,
            look: None,
            text: None,
        };
        while let Some(argument) = given.next() {
            match argument.to_str() {
                Some("--check") => arguments.check = true,
                Some("--config") => {
                    arguments.config = given.next().ok_or("--config needs a file")?.into();
                }
                Some("--look") => {
                    let what = given.next().unwrap_or_default();
                    arguments.look = Some(what.to_string_lossy().parse()?);
                }
                Some("-h" | "--help") => arguments.text = Some(HELP.into()),
                Some("-V" | "--version") => arguments.text = Some(VERSION.into()),
                Some("--example-config") => arguments.text = Some(packed::EXAMPLE.text().into()),
                Some(option) if option.starts_with("--config=") => {
                    arguments.config = PathBuf::from(&option["--config=".len()..]);
                }
                _ => return Err(format!("{argument:?} is no option; see lpad --help").into()),
            }
        }
        Ok(arguments)
    }
}

fn say(text: &str) -> ExitCode {
    ExitCode::from(u8::from(io::stdout().write_all(text.as_bytes()).is_err()))
}

fn fail(error: &dyn Error, code: u8) -> ExitCode {
    let error = error.to_string();
    log::say(Level::ERROR, &format!("lpad: {}", printable(&error)));
    ExitCode::from(code)
}

const VERSION: &str = concat!("lpad ", env!("CARGO_PKG_VERSION"), "\n");

/// What `lpad --help` prints.
pub const HELP: &str = "\
Local Profile Assistant: downloads and switches the eSIM profiles of this gateway

Usage: lpad [OPTIONS]

Options:
      --config <FILE>   The configuration file [default: /etc/lpad/lpad.toml]
      --check           Check the configuration and exit
      --example-config  Print a configuration: every key with its default and its meaning
      --look <WHAT>     Print what lpactl doctor needs, as JSON, and exit
  -h, --help            Print help
  -V, --version         Print version
";
