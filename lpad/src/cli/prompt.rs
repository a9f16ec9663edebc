//! Questions to a person at a terminal.

use std::io::{self, BufRead, IsTerminal, Write, stderr, stdin};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::job::Decision;
use crate::secret::Secret;

/// Whether a person can be asked here.
pub(super) fn is_interactive() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Asks whether to take an offered profile. Just pressing Enter keeps the order.
pub(super) fn decide() -> io::Result<Decision> {
    loop {
        let answer = ask("Download it? yes, no (for ever), or later [later]: ")?;
        match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(Decision::Accept),
            "n" | "no" => return Ok(Decision::Decline),
            "" | "l" | "later" => return Ok(Decision::Postpone),
            _ => {}
        }
    }
}

/// Asks whether to go on with something that cannot be undone.
pub(super) fn confirm(question: &str) -> io::Result<bool> {
    let answer = ask(&format!("{question} [yes/NO]: "))?;
    Ok(answer.eq_ignore_ascii_case("yes"))
}

/// Asks for a code without showing what is typed.
pub(super) fn secret(question: &str) -> io::Result<Secret> {
    let terminal = stdin();
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let answer = ask(question);
    tcsetattr(&terminal, OptionalActions::Flush, &shown)?;
    let _ = writeln!(stderr());
    answer.map(Secret::new)
}

fn ask(question: &str) -> io::Result<String> {
    let mut out = stderr();
    write!(out, "{question}")?;
    out.flush()?;
    let mut line = String::new();
    match stdin().lock().read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
    }
}
