//! The program `sim-card-emulator`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use es10_apdu::at::{AtPort, Csim, ModemProfile, Serial};
use es10_apdu::es10a::{EuiccConfiguredAddressesRequest, SetDefaultDpAddressRequest};
use es10_apdu::isdr::{Isdr, IsdrOptions};
use rustix::process::{Pid, Signal, kill_process};
use sim_card_emulator::config::EXAMPLE;
use sim_card_emulator::modem::Quirks;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim-card-emulator"))
        .args(arguments)
        .output()
        .unwrap()
}

fn error(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn text(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A running emulator, ended when it is dropped.
struct Emulator {
    child: Child,
}

impl Emulator {
    /// Starts it and waits until its port can be opened.
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sim-card-emulator"))
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("ready") {
            let length = said.len();
            log.read_line(&mut said).unwrap();
            assert!(said.len() > length, "it ended: {said}");
        }
        // What else it says is not read; it is little, and the pipe must stay open.
        child.stderr = Some(log.into_inner());
        Self { child }
    }

    /// Asks it to end, and says whether it did so well.
    fn end(mut self) -> bool {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It has ended, or the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }
}

async fn open(link: &Path) -> AtPort<Serial> {
    let mut port = AtPort::new(Serial::open(link, 115_200).unwrap());
    port.init(&ModemProfile::default()).await.unwrap();
    port
}

#[test]
fn the_help_teaches() {
    let help = text(&["--help"]);
    for taught in [
        "Examples:",
        "--example-config",
        "--list-quirks",
        "--card",
        "--pki",
    ] {
        assert!(help.contains(taught), "{taught} is missing in {help}");
    }
    assert_eq!(text(&["--example-config"]), EXAMPLE);
    let quirks = text(&["--list-quirks"]);
    for name in Quirks::NAMES {
        let begins = |line: &str| line.trim_start().split('=').next() == Some(name);
        assert!(quirks.lines().any(begins), "{name}");
    }
}

#[test]
fn a_mistake_is_named_before_anything_is_made() {
    let folder = Folder::new();
    let config = folder.write("a.toml", "[card]\nmemroy = 5\n");
    let link = folder.path("modem");
    let link = link.to_str().unwrap();
    for (arguments, message) in [
        (
            &["--pty", link, "--config", &config][..],
            "a.toml:2: unknown key \"memroy\"; did you mean \"memory\"?",
        ),
        (
            &["--pty", link, "--card", "memory=much"],
            "--card memory=much: invalid type",
        ),
        (
            &["--pty", link, "--quirk", "mud"],
            "there is no quirk \"mud\"",
        ),
        (&["--pty", link, "--imei", "49"], "an IMEI has 15 digits"),
        (
            &[],
            "say where the card shall be: --pty LINK or --vpcd HOST:PORT",
        ),
        (&["--pty", link, "--vpcd", "a:1"], "cannot be used with"),
    ] {
        let error = error(arguments);
        assert!(error.contains(message), "{arguments:?} gives {error}");
    }
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn it_is_what_the_file_and_then_the_command_line_say_and_ends_without_a_trace() {
    let folder = Folder::new();
    let link = folder.path("modem");
    let config = format!(
        "[modem]\nimei = \"123456789012345\"\nmodel = \"EG25\"\n[pty]\nlink = \"{}\"\n",
        link.display()
    );
    let config = folder.write("a.toml", &config);
    let emulator = Emulator::start(&["--config", &config, "--imei", "490154203237518"]);
    let mut port = open(&link).await;
    let deadline = ModemProfile::default().command;
    assert_eq!(
        port.command("AT+CGSN", deadline).await.unwrap(),
        ["490154203237518"]
    );
    assert_eq!(port.command("AT+CGMM", deadline).await.unwrap(), ["EG25"]);
    assert!(emulator.end());
    assert!(fs::symlink_metadata(&link).is_err());
}

#[tokio::test]
async fn a_card_with_a_folder_goes_on_where_it_was_killed() {
    let folder = Folder::new();
    let (link, state) = (folder.path("modem"), folder.path("card"));
    let arguments = [
        "--pty",
        link.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
    ];
    let emulator = Emulator::start(&arguments);
    let mut port = open(&link).await;
    let mut card = Isdr::open(Csim::new(&mut port), &IsdrOptions::default())
        .await
        .unwrap();
    let default_dp_address = "smdp.example.com".into();
    card.call(&SetDefaultDpAddressRequest { default_dp_address })
        .await
        .unwrap();
    // SIGKILL, with the channel open.
    drop(emulator);
    let _emulator = Emulator::start(&arguments);
    let mut port = open(&link).await;
    let mut card = Isdr::open(Csim::new(&mut port), &IsdrOptions::default())
        .await
        .unwrap();
    let addresses = card
        .call(&EuiccConfiguredAddressesRequest {})
        .await
        .unwrap();
    assert_eq!(
        addresses.default_dp_address,
        Some("smdp.example.com".into())
    );
    card.close().await.unwrap();
}

#[tokio::test]
async fn a_card_comes_back_into_a_reader_that_was_gone() {
    let reader = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reader.local_addr().unwrap().to_string();
    let start = tokio::task::spawn_blocking(move || Emulator::start(&["--vpcd", &address]));
    for _ in 0..2 {
        let (mut card, _) = reader.accept().await.unwrap();
        // Power, and the answer to reset.
        card.write_all(&[0, 1, 1, 0, 1, 4]).await.unwrap();
        let mut length = [0; 2];
        card.read_exact(&mut length).await.unwrap();
        let mut atr = vec![0; u16::from_be_bytes(length).into()];
        card.read_exact(&mut atr).await.unwrap();
        assert_eq!(atr[0], 0x3B);
    }
    assert!(start.await.unwrap().end());
}

/// What the chapter about the test bench lets this program be called with, word by word.
fn calls_in_the_handbook() -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/test-bench.md");
    let text = fs::read_to_string(path).unwrap().replace("\\\n", " ");
    let calls = text
        .lines()
        .filter(|line| line.starts_with("sim-card-emulator "));
    let words = |call: &str| {
        let call = call
            .split(" #")
            .next()
            .unwrap()
            .split(" > ")
            .next()
            .unwrap();
        // What stands between apostrophes is one word.
        let parts = call.split('\'').enumerate();
        let parts = parts.flat_map(|(number, part)| match number % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        parts.skip(1).collect::<Vec<_>>()
    };
    let calls: Vec<_> = calls.map(words).collect();
    assert!(calls.len() > 5, "the chapter has no calls");
    calls
}

#[test]
fn what_the_handbook_says_can_be_said() {
    for call in calls_in_the_handbook() {
        if call[0] == "pki" {
            let help = text(&["pki", &call[1], "--help"]);
            let options = call.iter().filter(|word| word.starts_with("--"));
            options.for_each(|option| assert!(help.contains(option), "{option}"));
            continue;
        }
        // Everything is checked before the missing place of the card is noticed.
        let mut call: Vec<&str> = call.iter().map(String::as_str).collect();
        if let Some(place) = call
            .iter()
            .position(|word| matches!(*word, "--pty" | "--vpcd"))
        {
            call.drain(place..place + 2);
            let error = error(&call);
            assert!(
                error.contains("say where the card shall be"),
                "{call:?} gives {error}"
            );
        } else {
            text(&call);
        }
    }
}
