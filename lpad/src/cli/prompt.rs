//! Questions to a person at a terminal.

use std::io::{self, IsTerminal, Write, stderr, stdin};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
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

/// Asks for a code without showing what is typed, until there is one; nothing when the input ends.
pub(super) async fn secret(question: &str) -> io::Result<Option<Secret>> {
    // Before the question, because a program may answer it at once.
    let hidden = Hidden::begin()?;
    let answer = loop {
        let answer = ask(question).await;
        // The end of the line was typed unseen, too.
        let _ = writeln!(stderr());
        match answer {
            Ok(Some(line)) if line.trim().is_empty() => {}
            answer => break answer,
        }
    };
    drop(hidden);
    Ok(answer?.map(|code| Secret::new(code.trim())))
}

/// A terminal that does not show what is typed, until this is dropped: also when the question is
/// interrupted.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let shown = tcgetattr(stdin())?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(shown))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.0);
    }
}

/// A line without its end; nothing when the input ends, which is Ctrl-D at a terminal.
async fn ask(question: &str) -> io::Result<Option<String>> {
    let mut out = stderr();
    let mut input = BufReader::new(tokio::io::stdin());
    loop {
        write!(out, "{question}")?;
        out.flush()?;
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).await? == 0 {
            let _ = writeln!(out);
            return Ok(None);
        }
        // A slip of the keyboard, or a letter of another encoding, is no answer and no failure.
        if let Ok(line) = str::from_utf8(&line) {
            return Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()));
        }
    }
}
