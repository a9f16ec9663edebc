//! `lpad`: the daemon.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use lpad::HELP;
use lpad::config::Config;
use lpad::printable::printable;
use lpad::runtime::log;
use tracing::Level;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => return fail(&*error, 2),
    };
    if let Some(text) = arguments.text {
        return say(text);
    }
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => return fail(&error, 2),
    };
    if arguments.check {
        let warnings = match lpad::check(&config, &arguments.config) {
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
        for line in lpad::longest_switches(&config) {
            text += &format!("{line}\n");
        }
        return say(&text);
    }
    log::init(config.log.level);
    for warning in lpad::unwise(&config, &arguments.config) {
        tracing::warn!("{}", printable(&warning));
    }
    match lpad::run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, error.exit_code()),
    }
}

/// Three options do not need the 230 KB of `lpactl`'s parser.
#[derive(Debug)]
struct Arguments {
    config: PathBuf,
    check: bool,
    /// What was asked for in place of a daemon.
    text: Option<&'static str>,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = OsString>) -> Result<Self, Box<dyn Error>> {
        let config = PathBuf::from("/etc/lpad/lpad.toml");
        let mut arguments = Self {
            config,
            check: false,
            text: None,
        };
        while let Some(argument) = given.next() {
            match argument.to_str() {
                Some("--check") => arguments.check = true,
                Some("--config") => {
                    arguments.config = given.next().ok_or("--config needs a file")?.into();
                }
                Some("-h" | "--help") => arguments.text = Some(HELP),
                Some("-V" | "--version") => {
                    arguments.text = Some(concat!("lpad ", env!("CARGO_PKG_VERSION"), "\n"));
                }
                Some("--example-config") => arguments.text = Some(Config::EXAMPLE),
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
