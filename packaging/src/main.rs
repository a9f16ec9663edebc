//! Writes what a release has beside the programs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use clap::{Parser, ValueEnum};
use clap_complete::Shell;
use lpad_packaging::{book, commands, copyright, description, manual};

/// Write what a release has beside the programs
#[derive(Debug, Parser)]
enum Arguments {
    /// Write the description of the API, lpad/openapi.json
    Api,
    /// Write the pages of the book that are made from the source into docs/
    Book,
    /// Write manual pages, completions and copyright files
    Files {
        /// The folder they are written to, in a folder for each package
        folder: PathBuf,
        /// The folder with the built programs of the test bench, which are asked for their help
        #[arg(long)]
        programs: PathBuf,
        /// The date at the foot of the manual pages, such as 2026-11-27
        #[arg(long)]
        date: String,
    },
}

fn main() -> io::Result<()> {
    match Arguments::parse() {
        Arguments::Api => {
            let lpad = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lpad");
            fs::write(lpad.join("openapi.json"), description::text())
        }
        Arguments::Book => {
            let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
            for (name, text) in book() {
                fs::write(docs.join(name), text)?;
            }
            Ok(())
        }
        Arguments::Files {
            folder,
            programs,
            date,
        } => {
            daemon(&folder.join("lpad"), &date)?;
            test_bench(&folder.join("lpad-testbench"), &programs, &date)
        }
    }
}

fn daemon(folder: &Path, date: &str) -> io::Result<()> {
    for (name, page) in manual::pages(date)? {
        write(&folder.join("man").join(name), &page)?;
    }
    for mut command in [commands::lpad(), commands::lpactl()] {
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, &name, &mut script);
            let file = match shell {
                // The file of the name that is completed is loaded when it is.
                Shell::Bash => name.clone(),
                Shell::Zsh => format!("_{name}"),
                _ => format!("{name}.fish"),
            };
            let shell = shell.to_possible_value().expect("no shell is hidden");
            write(&folder.join(shell.get_name()).join(file), script)?;
        }
    }
    write(&folder.join("copyright"), copyright::file(&["lpad"])?)
}

fn test_bench(folder: &Path, programs: &Path, date: &str) -> io::Result<()> {
    for name in ["sim-card-emulator", "smdp", "smds"] {
        let help = Command::new(programs.join(name)).arg("--help").output()?;
        let help = String::from_utf8_lossy(&help.stdout);
        let page = manual::of_help(name, &help, date)?;
        write(&folder.join("man").join(format!("{name}.1")), page)?;
    }
    let crates = ["sim-card-emulator", "rsp-servers"];
    write(&folder.join("copyright"), copyright::file(&crates)?)
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    let folder = path.parent().expect("a file is in a folder");
    fs::create_dir_all(folder)?;
    fs::write(path, text)
}
