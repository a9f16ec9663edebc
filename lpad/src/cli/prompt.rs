//! Questions to a person at a terminal.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write, stderr, stdin};

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::job::Decision;
use crate::secret::Secret;

/// Whether a person can be asked here.
pub(super) fn is_interactive() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Asks whether to take an offered profile. Just pressing Enter keeps the order, and so does the end
/// of the input.
pub(super) async fn decide() -> io::Result<Decision> {
    loop {
        let answer = ask("Download it? yes, no (for ever), or later [later]: ").await?;
        match answer.unwrap_or_default().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(Decision::Accept),
            "n" | "no" => return Ok(Decision::Decline),
            "" | "l" | "later" => return Ok(Decision::Postpone),
            _ => {}
        }
    }
}

/// Asks whether to go on with something that cannot be undone.
pub(super) async fn confirm(question: &str) -> io::Result<bool> {
    let answer = ask(&format!("{question} [yes/NO]: ")).await?;
    Ok(answer.is_some_and(|answer| answer.eq_ignore_ascii_case("yes")))
}

/// Asks for a code without showing what is typed; nothing when the input ends.
///
/// It does not return to the runtime before the terminal shows again what is typed.
pub(super) fn secret(question: &str) -> io::Result<Option<Secret>> {
    let mut out = stderr();
    write!(out, "{question}")?;
    out.flush()?;
    // After su the terminal may be opened only by its other name.
    let terminals = ["/dev/stdin", "/dev/tty"];
    let terminal = terminals.into_iter().find(|path| File::open(path).is_ok());
    let how = rpassword::ConfigBuilder::new()
        .input_file_path(terminal.unwrap_or("/dev/tty"))
        .output_discard()
        .password_feedback_hide()
        .build();
    let answer = rpassword::read_password_with_config(how);
    let _ = writeln!(out);
    match answer {
        Ok(code) => Ok(Some(Secret::new(code))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// A line without its end; nothing when the input ends, which is Ctrl-D at a terminal.
async fn ask(question: &str) -> io::Result<Option<String>> {
    let mut out = stderr();
    write!(out, "{question}")?;
    out.flush()?;
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    if input.read_line(&mut line).await? == 0 {
        let _ = writeln!(out);
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}
