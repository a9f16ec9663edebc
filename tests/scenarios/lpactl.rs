//! The real `lpactl` as a process of its own.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lpad_tests::bed::Bed;
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, Winsize, tcgetattr, tcsetattr, tcsetwinsize,
};
use serde_json::Value;
use sim_card_emulator::pty::Pty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What a run of `lpactl` left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// What it printed, which must be JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs `lpactl` without a terminal and with nothing on standard input.
pub(crate) async fn lpactl(bed: &Bed, arguments: &[&str]) -> Run {
    lpactl_fed(bed, arguments, "").await
}

/// Runs `lpactl` without a terminal and with this on standard input.
pub(crate) async fn lpactl_fed(bed: &Bed, arguments: &[&str], input: &str) -> Run {
    run(command(bed.client.socket(), arguments), input).await
}

/// Runs a program to its end.
pub(crate) async fn run(mut command: Command, input: &str) -> Run {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end without reading.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("it ends").unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `lpactl` for a daemon, which dies with the test.
pub(crate) fn command(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command
        .args(["lpactl", "--socket"])
        .arg(socket)
        .args(arguments)
        .env_remove("LPAD_SOCKET")
        .kill_on_drop(true);
    command
}

/// `lpactl` on a terminal, with a person in front of it.
pub(crate) struct Terminal {
    screen: Pty,
    link: PathBuf,
    child: Child,
    text: String,
}

impl Terminal {
    pub(crate) fn run(bed: &Bed, arguments: &[&str]) -> Self {
        Self::of_width(80, bed, arguments)
    }

    /// As a shell leaves it to a program: lines, an echo, and Ctrl-D for the end of the input.
    pub(crate) fn of_width(columns: u16, bed: &Bed, arguments: &[&str]) -> Self {
        let link: PathBuf = bed.folder().join("terminal");
        let screen = Pty::open(&link).unwrap();
        let side = || open(&link);
        let mut modes = tcgetattr(side()).unwrap();
        modes.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        modes.local_modes |= LINES;
        tcsetattr(side(), OptionalActions::Now, &modes).unwrap();
        let size = Winsize {
            ws_col: columns,
            ws_row: 24,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(side(), size).unwrap();
        let child = command(bed.client.socket(), arguments)
            .env("TERM", "xterm")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        Self {
            screen,
            link,
            child,
            text: String::new(),
        }
    }

    /// Whether it still echoes what is typed, line by line.
    pub(crate) fn echoes(&self) -> bool {
        let modes = tcgetattr(open(&self.link)).unwrap();
        modes.local_modes.contains(LINES)
    }

    /// Reads until this is on the screen.
    pub(crate) async fn shows(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            let mut piece = [0; 1024];
            let read = timeout(PATIENCE, self.screen.read(&mut piece)).await;
            let read = read.unwrap_or_else(|_| panic!("no {wanted:?} in {:?}", self.text));
            self.text
                .push_str(&String::from_utf8_lossy(&piece[..read.unwrap()]));
        }
    }

    pub(crate) async fn types(&mut self, line: &str) {
        self.presses(&format!("{line}\n")).await;
    }

    pub(crate) async fn presses(&mut self, keys: &str) {
        self.presses_octets(keys.as_bytes()).await;
    }

    pub(crate) async fn presses_octets(&mut self, octets: &[u8]) {
        self.text.clear();
        self.screen.write_all(octets).await.unwrap();
    }

    /// What came since the last line typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The process behind the terminal.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What the terminal does at Ctrl-C.
    pub(crate) async fn interrupt(&self) {
        let pid = self.child.id().unwrap().to_string();
        let kill = Command::new("kill").args(["-INT", &pid]).status();
        assert!(kill.await.unwrap().success());
    }

    /// Reads to the end of the program.
    pub(crate) async fn ends(&mut self) {
        let mut piece = [0; 1024];
        let all = async {
            loop {
                tokio::select! {
                    biased;
                    read = self.screen.read(&mut piece) => {
                        let read = String::from_utf8_lossy(&piece[..read.unwrap()]).into_owned();
                        self.text.push_str(&read);
                    }
                    _ = self.child.wait() => return,
                }
            }
        };
        timeout(PATIENCE, all).await.expect("it ends");
    }

    pub(crate) async fn exit_code(mut self) -> i32 {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends").unwrap().code().unwrap()
    }
}

fn open(terminal: &Path) -> File {
    let terminal = OpenOptions::new().read(true).write(true).open(terminal);
    terminal.unwrap()
}

const LINES: LocalModes = LocalModes::ICANON.union(LocalModes::ECHO);
const PATIENCE: Duration = Duration::from_secs(60);
