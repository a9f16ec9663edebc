//! Programs of the user's: without a shell, with a deadline, and ended with all that they started.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::{Instant, sleep};

/// Runs a program with its arguments, and ends it, with all that it started, when it takes longer than
/// `longest`. What it writes to standard error goes to `errors`; what it writes to standard output goes
/// nowhere.
///
/// `input` is what it can read, at most [`MOST_INPUT`] octets.
///
/// # Errors
/// When it cannot be started, fails or takes too long.
///
/// # Cancel safety
/// The program is ended.
pub(crate) async fn run(
    words: &[String],
    input: &[u8],
    errors: Stdio,
    longest: Duration,
) -> io::Result<()> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(());
    };
    let child = Command::new(program)
        .args(arguments)
        .stdin(match input {
            [] => Stdio::null(),
            _ => Stdio::piped(),
        })
        .stdout(Stdio::null())
        .stderr(errors)
        // A group of its own: a script's programs would outlive the script.
        .process_group(0)
        .spawn()?;
    let mut running = Running(child);
    if let Some(mut pipe) = running.0.stdin.take() {
        // A pipe has room for this. A program that does not want to read it may have closed its end.
        let input = input.get(..MOST_INPUT).unwrap_or(input);
        let _ = pipe.write_all(input);
    }
    let end = Instant::now() + longest;
    loop {
        if let Some(status) = running.0.try_wait()? {
            return match status.success() {
                true => Ok(()),
                false => Err(io::Error::other(format!("it ended with {status}"))),
            };
        }
        if Instant::now() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(LOOK).await;
    }
}

/// A program that does not outlive this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Its id is not given to another process before it is waited for.
        if let Ok(None) = self.0.try_wait() {
            let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
            // It is dead, so that this ends at once.
            let _ = self.0.wait();
        }
    }
}

/// What the smallest pipe has room for, so that writing it never waits for the program.
pub(crate) const MOST_INPUT: usize = 4096;
/// How often is looked whether a program has ended.
const LOOK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tokio::sync::oneshot;
    use tokio::task::spawn_blocking;
    use tokio::time::timeout;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    async fn run(words: &[&str], input: &[u8], longest: Duration) -> io::Result<()> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        super::run(&words, input, Stdio::null(), longest).await
    }

    /// A script's programs would go on with the modem's power when lpad thinks that they are over.
    #[tokio::test]
    async fn a_program_ends_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, &fifo, FileType::Fifo, mode, 0).unwrap();
        let script = format!("sleep 600 >{0} & sleep 600 >{0}", fifo.display());
        let (opened, is_open) = oneshot::channel();
        let ended = spawn_blocking(move || {
            let mut fifo = File::open(fifo).unwrap();
            opened.send(()).unwrap();
            fifo.read_to_end(&mut Vec::new()).unwrap()
        });
        let words = ["/bin/sh", "-c", &script];
        tokio::select! {
            ended = run(&words, b"", 10 * MINUTE) => panic!("{ended:?}"),
            opened = is_open => opened.unwrap(),
        }
        let ended = timeout(MINUTE, ended).await;
        assert_eq!(ended.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn a_program_has_to_succeed_in_time() {
        run(&["/bin/sh", "-c", "exit 0"], b"", MINUTE)
            .await
            .unwrap();
        let error = run(&["/bin/sh", "-c", "exit 3"], b"", MINUTE).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        let error = run(&["/bin/sleep", "60"], b"", Duration::ZERO).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let error = run(&["/nowhere/program"], b"", MINUTE).await;
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_program_reads_its_input_or_leaves_it() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        let script = format!("cat >{}", copy.display());
        let input = [b'x'; MOST_INPUT];
        run(&["/bin/sh", "-c", &script], &input, MINUTE)
            .await
            .unwrap();
        assert_eq!(fs::read(copy).unwrap(), input);
        run(&["/bin/true"], &input, MINUTE).await.unwrap();
    }
}
