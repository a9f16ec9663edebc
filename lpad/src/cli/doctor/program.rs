//! The program `lpad`, which looks at what takes its engine and TLS: started, waited for, and understood.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{env, io};

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::checks::{Check, Verdict};
use crate::look::Look;
use crate::runtime::closing::Closing;

/// How the program `lpad` is started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file; `None` when there is none.
    file: Option<PathBuf>,
    /// What comes before its options.
    role: Option<OsString>,
}

/// Why nothing was seen.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unseen {
    #[error("the program lpad is neither beside lpactl nor in a folder of PATH")]
    Missing,
    #[error("{}: {source}", file.display())]
    Unusable { file: PathBuf, source: io::Error },
    #[error("{said}")]
    Refused { command: String, said: String },
    #[error("`{command}` ended with {status}")]
    Failed { command: String, status: ExitStatus },
    #[error("`{command}` was not done within {} s", after.as_secs())]
    TooLate { command: String, after: Duration },
    #[error("`{command}` prints what lpactl {} does not understand: {why}", env!("CARGO_PKG_VERSION"))]
    Garbled { command: String, why: String },
    #[error("interrupted")]
    Interrupted,
}

impl Program {
    /// The installed one: beside this program, where a package has put it, or in a folder of PATH.
    pub fn installed() -> Self {
        let own = env::current_exe().unwrap_or_default();
        let own = own.parent().map(Path::to_owned).unwrap_or_default();
        let path = env::var_os("PATH").unwrap_or_default();
        let places = [own.clone(), own.with_file_name("sbin")];
        let mut files = (places.into_iter().chain(env::split_paths(&path)))
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join("lpad"));
        Self {
            file: files.find(|file| file.is_file()),
            role: None,
        }
    }

    /// This program, which is `lpad` when its first argument says so.
    pub fn own(role: &str) -> Self {
        Self {
            file: env::current_exe().ok(),
            role: Some(role.into()),
        }
    }

    /// Has it look at something, until `stop` is announced. `config` is its configuration.
    pub(super) async fn look<T: DeserializeOwned>(
        &self,
        what: &Look,
        config: &Path,
        longest: Duration,
        stop: &Closing,
    ) -> Result<T, Unseen> {
        let command = format!("lpad --config {} --look {what}", config.display());
        let seen = self.ask(&command, what, config, longest, stop).await?;
        let (version, json) = seen;
        serde_json::from_slice(json.as_bytes()).map_err(|error| Unseen::Garbled {
            command,
            why: format!("it is lpad {version}, and {error}"),
        })
    }

    /// The same for all that it looks at: its version, and JSON.
    async fn ask(
        &self,
        command: &str,
        what: &Look,
        config: &Path,
        longest: Duration,
        stop: &Closing,
    ) -> Result<(String, String), Unseen> {
        let file = self.file.as_ref().ok_or(Unseen::Missing)?;
        let mut child = Command::new(file)
            .args(&self.role)
            .arg("--config")
            .arg(config)
            .args(["--look", &what.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Unseen::Unusable {
                file: file.clone(),
                source,
            })?;
        let ended = tokio::select! {
            biased;
            ended = timeout(longest, printed(&mut child)) => ended,
            () = stop.announced() => {
                // It closes what it has open on the card. What is not done in time is killed.
                terminate(&child);
                let _ = child.wait().await;
                return Err(Unseen::Interrupted);
            }
        };
        let Ok(ended) = ended else {
            terminate(&child);
            let _ = timeout(CLOSING, child.wait()).await;
            let (command, after) = (command.to_owned(), longest);
            return Err(Unseen::TooLate { command, after });
        };
        let (status, out, said) = ended.map_err(|source| Unseen::Unusable {
            file: file.clone(),
            source,
        })?;
        let command = command.to_owned();
        let garbled = |why: &str| Unseen::Garbled {
            command: command.clone(),
            why: why.to_owned(),
        };
        if out.len() as u64 == MOST_SEEN {
            return Err(garbled("it is too much"));
        }
        // It says in one line what is wrong.
        let said = said.lines().next().unwrap_or_default();
        match (status.success(), said.strip_prefix("lpad: ")) {
            (true, _) => {
                let (version, json) = out.split_once('\n').unwrap_or((&out, ""));
                let version = version.strip_prefix("lpad ");
                let version = version.ok_or_else(|| garbled("it is no lpad"))?;
                Ok((version.to_owned(), json.to_owned()))
            }
            (false, Some(said)) => Err(Unseen::Refused {
                said: said.to_owned(),
                command,
            }),
            (false, None) => Err(Unseen::Failed { command, status }),
        }
    }
}

impl Unseen {
    pub(super) fn check(&self, verdict: Verdict, what: &'static str) -> Check {
        let next = match self {
            Self::Missing => {
                "Install the package lpad, or add the folder of the program to PATH.".to_owned()
            }
            Self::Unusable { .. } => "Run lpactl as a user who may start this program.".to_owned(),
            Self::Garbled { .. } => "Install lpad and lpactl of the same version.".to_owned(),
            Self::Refused { command, .. }
            | Self::Failed { command, .. }
            | Self::TooLate { command, .. } => format!("See what `{command}` says."),
            Self::Interrupted => String::new(),
        };
        Check::new(verdict, what, self.to_string(), next)
    }
}

/// How a program ended, and what it printed on standard output and error.
async fn printed(child: &mut Child) -> io::Result<(ExitStatus, String, String)> {
    let (out, error) = (child.stdout.take(), child.stderr.take());
    let (out, error) = tokio::try_join!(read(out, MOST_SEEN), read(error, MOST_SAID))?;
    Ok((child.wait().await?, out, error))
}

/// Reads until the end, or until it is too much; who goes on then writes to nobody.
async fn read(from: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<String> {
    let mut text = Vec::new();
    if let Some(from) = from {
        from.take(most).read_to_end(&mut text).await?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// What is seen of a card has some kilobytes, a configuration as many as its file.
const MOST_SEEN: u64 = 4 << 20;
const MOST_SAID: u64 = 4096;
/// How long closing what was opened on the card may take.
const CLOSING: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use serde_json::Value;

    use super::*;
    use crate::runtime::closing::closing;

    /// What comes of a program that is this script.
    async fn seen(script: &str, longest: Duration) -> Result<Value, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lpad");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        let program = Program {
            file: Some(file),
            role: None,
        };
        let (_closer, stop) = closing();
        let config = Path::new("a.toml");
        let seen = program
            .look(&Look::Configuration, config, longest, &stop)
            .await;
        seen.map_err(|error| error.check(Verdict::Failure, "Program").says)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_lpad_prints_is_read_and_what_it_refuses_is_told_in_its_words() {
        let seen = |script| seen(script, LONG);
        let asked = seen("printf 'lpad 0.1.0\\n'; printf '\"%s\"' \"$*\"").await;
        assert_eq!(asked.unwrap(), "--config a.toml --look configuration");
        let refused = seen("echo 'lpad: the disk is full' >&2; exit 1").await;
        assert_eq!(refused.unwrap_err(), "the disk is full");
    }

    #[tokio::test]
    async fn a_program_that_is_no_lpad_of_this_version_is_told() {
        for (script, why) in [
            ("echo hello", "does not understand: it is no lpad"),
            ("exit 0", "does not understand: it is no lpad"),
            (
                "echo lpad 9.9.9; echo '['",
                "does not understand: it is lpad 9.9.9, and EOF",
            ),
            ("exec yes", "does not understand: it is too much"),
            ("exec yes >&2", "ended with signal: 13 (SIGPIPE)"),
            ("kill -9 $$", "ended with signal: 9 (SIGKILL)"),
            ("exit 3", "ended with exit status: 3"),
        ] {
            let said = seen(script, LONG).await.unwrap_err();
            assert!(said.contains(why), "{script}: {said}");
        }
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_ended() {
        let late = seen("exec sleep 3600", Duration::from_millis(10)).await;
        let said = late.unwrap_err();
        assert!(said.contains("was not done within 0 s"), "{said}");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_told_with_what_helps() {
        let none = Program {
            file: None,
            role: None,
        };
        let (_closer, stop) = closing();
        let seen = none.look::<Value>(&Look::Ports, Path::new("a.toml"), LONG, &stop);
        let check = seen.await.unwrap_err().check(Verdict::Failure, "Program");
        assert!(check.says.contains("neither beside lpactl nor"));
        assert!(check.next_step.unwrap().starts_with("Install "));
    }
}
