//! Writes what a release has beside the programs.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{Parser, ValueEnum};
use clap_complete::Shell;
use lpad_packaging::{book, commands, manual};

/// Write what a release has beside the programs
#[derive(Debug, Parser)]
enum Arguments {
    /// Write the pages of the book that are made from the source into docs/
    Book,
    /// Write manual pages and completions
    Files {
        /// The folder they are written to: man/ and completions/
        folder: PathBuf,
        /// The date at the foot of the manual pages, such as 2026-11-27
        #[arg(long, default_value = "")]
        date: String,
    },
}

fn main() -> io::Result<()> {
    match Arguments::parse() {
        Arguments::Book => {
            let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
            for (name, text) in book() {
                fs::write(docs.join(name), text)?;
            }
            Ok(())
        }
        Arguments::Files { folder, date } => {
            let man = folder.join("man");
            fs::create_dir_all(&man)?;
            for (name, page) in manual::pages(&date)? {
                fs::write(man.join(name), page)?;
            }
            completions(&folder.join("completions"))
        }
    }
}

fn completions(folder: &Path) -> io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let folder = folder.join(shell.to_possible_value().expect("a name").get_name());
        fs::create_dir_all(&folder)?;
        for mut command in [commands::lpad(), commands::lpactl()] {
            let name = command.get_name().to_owned();
            clap_complete::generate_to(shell, &mut command, &name, &folder)?;
        }
    }
    Ok(())
}
