//! Every command in `README.md` and in `docs/test-bench.md` is run as it stands there, but for those
//! in a short list of exceptions.
//!
//! Only the files' place, the ports and what a person would fill in are others. The programs are those
//! that `cargo test` has built. Without `curl` and `openssl` these stories say nothing.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use lpad::client::Client;
use lpad::config::Config;
use lpad_tests::bed::{Bed, EUICC};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::smdp::OrderRequest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sim_card_emulator::config::Config as CardConfig;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

/// What commands begin with that are not run here, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("cargo build --release", "takes minutes"),
    ("cargo test", "this is one of its tests"),
    ("opensc-tool", "needs pcscd and its virtual reader"),
    ("socat", "is for typing by hand"),
    ("sudo", "changes the system"),
];

/// What blocks begin with that hold neither commands nor a configuration.
const NO_COMMANDS: &[(&str, &str)] = &[
    ("   lpactl, curl", "a picture"),
    ("# /etc/udev", "a rule of udev"),
];

#[tokio::test]
async fn every_command_of_the_readme_can_be_followed() {
    let Some(mut story) = Story::begin().await else {
        return;
    };
    // The gateway: a daemon whose card has a default address, and two profiles that wait for it.
    let mut bed = Bed::start().await;
    let first = bed.profile();
    let iccid = first.metadata.iccid.to_string();
    story.replace("8901000000000000019", &iccid);
    let ordered = OrderRequest::with_matching_id(first, "MATCHING-ID");
    bed.bench.smdp.create_order(ordered);
    let waiting = OrderRequest::for_eid(bed.profile(), bed.bench.eid());
    bed.bench.smdp.create_order(waiting);
    let address = bed.client.set_default_smdp(EUICC, HOST_NAME).await;
    bed.ended(address).await;
    let socket = bed.client.socket().display().to_string();
    story.replace("/run/lpad/lpad.sock", &socket);
    story.variables.insert("LPAD_SOCKET".to_owned(), socket);

    let blocks = blocks("README.md");
    for block in blocks.iter().filter(|block| block.language == "toml") {
        let file = story.folder.path().join("lpad.toml");
        fs::write(&file, story.adapted(&block.text)).unwrap();
        Config::load(&file).unwrap_or_else(|error| panic!("{}: {error}", block.place));
    }
    story.follow(&blocks).await;
    let installed = fs::read_dir(story.folder.path().join("card/profiles")).unwrap();
    assert_eq!(installed.count(), 1, "the profile reserved by hand");
    story.end().await;
}

#[tokio::test]
async fn every_command_of_the_page_on_the_test_bench_can_be_followed() {
    let Some(mut story) = Story::begin().await else {
        return;
    };
    let blocks = blocks("docs/test-bench.md");
    for block in blocks.iter().filter(|block| block.language == "toml") {
        CardConfig::parse(&block.text, Path::new(&block.place), &[]).unwrap();
    }
    story.follow(&blocks).await;
    story.end().await;
}

/// What stands between two fences.
#[derive(Debug)]
struct Block {
    place: String,
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = fs::read_to_string(path).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(language)) => {
                let indent = line.len() - line.trim_start().len();
                let block = Block {
                    place: format!("{page}:{}", number + 1),
                    language: language.to_owned(),
                    text: String::new(),
                };
                open = Some((indent, block));
            }
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
            (Some((indent, block)), None) => {
                block.text.push_str(line.get(*indent..).unwrap_or_default());
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(blocks.len() > 10, "{page} has few blocks");
    blocks
}

/// A command, where its output goes, and what a page says that it prints.
#[derive(Debug, Default)]
struct Call {
    words: Vec<String>,
    file: Option<String>,
    prints: Option<String>,
}

impl Block {
    fn calls(&self, variables: &BTreeMap<String, String>) -> Vec<Call> {
        if self.language == "sh" {
            return calls(&self.text, variables);
        }
        let dialogues = self.text.split("\n$ ");
        let dialogues = dialogues.map(|dialogue| dialogue.trim_start_matches("$ "));
        let dialogues = dialogues.map(|dialogue| {
            let mut end = 0;
            for line in dialogue.split_inclusive('\n') {
                end += line.len();
                if !line.ends_with("\\\n") {
                    break;
                }
            }
            let (command, prints) = dialogue.split_at(end);
            let mut call = calls(command, variables).remove(0);
            call.prints = Some(prints.trim().to_owned());
            call
        });
        dialogues.collect()
    }
}

/// Takes commands apart as a shell does: quotes, comments, variables, `>`.
fn calls(text: &str, variables: &BTreeMap<String, String>) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut call = Call::default();
    let mut word: Option<String> = None;
    let mut to_file = false;
    let mut letters = text.replace("\\\n", " ").chars().collect::<Vec<_>>();
    letters.push('\n');
    let mut letters = letters.into_iter().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                word.extend(letters.by_ref().take_while(|inner| *inner != letter));
            }
            '#' if word.is_none() => {
                while letters.peek().is_some_and(|letter| *letter != '\n') {
                    letters.next();
                }
            }
            '$' => {
                let mut name = String::new();
                while let Some(part) =
                    letters.next_if(|letter| letter.is_ascii_alphabetic() || *letter == '_')
                {
                    name.push(part);
                }
                let value = variables.get(&name).cloned();
                let value = value.or_else(|| std::env::var(&name).ok());
                word.get_or_insert_default()
                    .push_str(&value.unwrap_or_default());
            }
            '>' => to_file = true,
            ' ' | '\n' => {
                match word.take() {
                    Some(word) if to_file => call.file = Some(word),
                    Some(word) => call.words.push(word),
                    None if letter == ' ' => continue,
                    None => {}
                }
                if letter == '\n' && !call.words.is_empty() {
                    calls.push(std::mem::take(&mut call));
                    to_file = false;
                }
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    calls
}

/// A reader at a shell who follows a page.
struct Story {
    folder: TempDir,
    replaced: Vec<(String, String)>,
    variables: BTreeMap<String, String>,
    /// Programs in other terminals.
    running: Vec<(String, Child)>,
    /// The request whose answer will have an activation code.
    reservations: Option<Vec<String>>,
}

impl Story {
    /// `None` without the tools.
    async fn begin() -> Option<Self> {
        for tool in ["curl", "openssl"] {
            let version = if tool == "curl" {
                "--version"
            } else {
                "version"
            };
            let mut command = Command::new(tool);
            command.arg(version).stdout(Stdio::null());
            if command.status().await.is_err() {
                eprintln!("there is no {tool}; nothing is shown");
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let mut story = Self {
            replaced: vec![("/tmp/lpad".to_owned(), folder.path().display().to_string())],
            folder,
            variables: BTreeMap::new(),
            running: Vec::new(),
            reservations: None,
        };
        for address in ["127.0.0.1:8443", "127.0.0.1:8080", "127.0.0.1:35963"] {
            story.replace(address, &free_address());
        }
        Some(story)
    }

    fn replace(&mut self, what: &str, by: &str) {
        self.replaced.push((what.to_owned(), by.to_owned()));
    }

    fn adapted(&self, text: &str) -> String {
        let replaced = self.replaced.iter();
        replaced.fold(text.to_owned(), |text, (what, by)| text.replace(what, by))
    }

    async fn follow(&mut self, blocks: &[Block]) {
        for block in blocks {
            match block.language.as_str() {
                "sh" | "console" => {
                    let block = Block {
                        place: block.place.clone(),
                        language: block.language.clone(),
                        text: self.adapted(&block.text),
                    };
                    // One after the other: what one exports the next one may use.
                    for number in 0..block.calls(&self.variables).len() {
                        let call = block.calls(&self.variables).remove(number);
                        self.run(&block.place, call).await;
                    }
                }
                "toml" => {}
                _ => {
                    let begins = |(start, _): &&(&str, &str)| block.text.starts_with(start);
                    let known = NO_COMMANDS.iter().any(|entry| begins(&entry));
                    assert!(known, "{}: what is this block?", block.place);
                }
            }
        }
    }

    async fn run(&mut self, place: &str, mut call: Call) {
        let line = call.words.join(" ");
        if NOT_RUN.iter().any(|(start, _)| line.starts_with(start)) {
            return;
        }
        eprintln!("{place}: {line}");
        if let ["export", assignment] = words(&call)[..] {
            let (name, value) = assignment.split_once('=').unwrap();
            self.variables.insert(name.to_owned(), value.to_owned());
            return;
        }
        if line == "cargo demo -- --keep" {
            return keeps_running().await;
        }
        let (name, path) = program(place, &mut call.words).await;
        if name == "lpactl" && call.words.first().is_some_and(|word| word == "download") {
            self.fill_in(&mut call.words).await;
        }
        if is_endless(&name, &call.words) {
            return self.start(place, &name, &path, &call.words).await;
        }
        let output = self.output(&path, &call.words).await;
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{place}: {line}: {text}{errors}");
        if let Some(file) = call.file {
            fs::write(file, &output.stdout).unwrap();
        }
        if let Some(prints) = call.prints {
            assert_eq!(text.trim(), prints, "{place}");
        }
        if name == "curl" && line.ends_with("/v1/ESimProfiles") && !line.contains(" -d ") {
            self.reservations = Some(call.words);
        }
    }

    /// What a person adds to `lpactl download`: the code, and the answer to its question.
    async fn fill_in(&self, arguments: &mut Vec<String>) {
        if !arguments.iter().any(|argument| argument == "--yes") {
            arguments.push("--yes".to_owned());
        }
        let Some(code) = arguments.iter_mut().find(|word| word.ends_with('…')) else {
            return;
        };
        let list = self.reservations.as_ref().expect("profiles were listed");
        let mut ticks = interval(POLL);
        let found = async {
            loop {
                ticks.tick().await;
                let answer = self.output(Path::new("curl"), list).await.stdout;
                let answer: Value = serde_json::from_slice(&answer).unwrap();
                if let Some(code) = answer["esim_profiles"][0]["activation_code"].as_str() {
                    return code.to_owned();
                }
            }
        };
        *code = timeout(PATIENCE, found).await.expect("it is available");
    }

    fn command(&self, path: &Path, arguments: &[String]) -> Command {
        let mut command = Command::new(path);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .envs(self.variables.iter().filter(|(name, _)| *name != "PATH"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn output(&self, path: &Path, arguments: &[String]) -> std::process::Output {
        let mut command = self.command(path, arguments);
        let output = timeout(PATIENCE, command.output()).await;
        output
            .unwrap_or_else(|_| panic!("{path:?} {arguments:?} does not end"))
            .unwrap()
    }

    /// Starts a program in another terminal, where the last one of its kind ends before.
    async fn start(&mut self, place: &str, name: &str, path: &Path, arguments: &[String]) {
        if let Some(last) = self.running.iter().position(|(other, _)| other == name) {
            let (name, child) = self.running.remove(last);
            end(&name, child).await;
        }
        let log = self.folder.path().join(format!("{name}.log"));
        let mut command = self.command(path, arguments);
        command.stdout(Stdio::null());
        command.stderr(fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut ticks = interval(POLL);
        let ready = async {
            while !is_ready(name, arguments, self.folder.path()).await {
                if let Some(status) = child.try_wait().unwrap() {
                    let log = fs::read_to_string(&log).unwrap();
                    panic!("{place}: {name} ended with {status}: {log}");
                }
                ticks.tick().await;
            }
        };
        timeout(PATIENCE, ready).await.expect("it starts");
        let log = fs::read_to_string(&log).unwrap();
        let warns = name == "lpad" && log.contains("WARN");
        assert!(!warns, "{place}: {log}");
        self.running.push((name.to_owned(), child));
    }

    async fn end(self) {
        for (name, child) in self.running.into_iter().rev() {
            end(&name, child).await;
        }
    }
}

fn words(call: &Call) -> Vec<&str> {
    call.words.iter().map(String::as_str).collect()
}

/// The program that a command is about, whose arguments alone are left of it.
async fn program(place: &str, words: &mut Vec<String>) -> (String, PathBuf) {
    let mut name = words.remove(0);
    if name == "cargo" {
        let arguments = words.split_off(
            words
                .iter()
                .position(|word| word == "--")
                .map_or(words.len(), |at| at + 1),
        );
        let option = |wanted: &str| {
            let at = words.iter().position(|word| word == wanted)?;
            words.get(at + 1).cloned()
        };
        let chosen = option("--bin")
            .or_else(|| option("--example"))
            .or_else(|| option("-p"));
        name = match words.first().map(String::as_str) {
            Some("demo") => "demo".to_owned(),
            Some("run") => chosen.expect("a program is named"),
            _ => panic!("{place}: what does cargo {words:?}?"),
        };
        *words = arguments;
    }
    if TOOLS.contains(&&*name) {
        return (name.clone(), name.into());
    }
    let Some((_, package, kind)) = PROGRAMS.iter().find(|(program, ..)| *program == name) else {
        panic!("{place}: {name} is neither run nor among the exceptions");
    };
    let folder = Path::new(env!("CARGO_BIN_EXE_demo")).parent().unwrap();
    let path = match *kind {
        "--example" => folder.join("examples").join(&name),
        _ => folder.join(&name),
    };
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "-p", package, kind, &name]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().await.unwrap().success(), "{name} is built");
    }
    (name, path)
}

fn is_endless(name: &str, arguments: &[String]) -> bool {
    let has = |wanted: &[&str]| {
        arguments
            .iter()
            .any(|argument| wanted.contains(&argument.as_str()))
    };
    match name {
        "lpad" => !has(&["--check"]),
        "lpactl" => has(&["events"]),
        _ => has(&["--listen", "--pty", "--vpcd"]),
    }
}

async fn is_ready(name: &str, arguments: &[String], folder: &Path) -> bool {
    let option = |wanted: &str| {
        let at = arguments.iter().position(|argument| argument == wanted);
        at.map(|at| arguments[at + 1].as_str())
    };
    match (name, option("--listen"), option("--pty")) {
        ("lpad", ..) => Client::new(folder.join("lpad.sock")).health().await.is_ok(),
        (_, Some(address), _) => TcpStream::connect(address).await.is_ok(),
        (_, _, Some(link)) => Path::new(link).exists(),
        // Without a reader it says so, and goes on looking for one.
        ("sim-card-emulator", ..) => {
            let log = fs::read_to_string(folder.join("sim-card-emulator.log"));
            log.is_ok_and(|log| log.contains("no reader yet"))
        }
        _ => true,
    }
}

/// Ends a program in another terminal.
async fn end(name: &str, mut child: Child) {
    if let Some(status) = child.try_wait().unwrap() {
        panic!("{name} ended with {status}");
    }
    signal(&child, Signal::TERM);
    let status = timeout(PATIENCE, child.wait())
        .await
        .expect("it ends")
        .unwrap();
    // A follower of events has no way to end but this.
    assert!(
        status.success() || name == "lpactl",
        "{name} ended with {status}"
    );
}

fn signal(child: &Child, signal: Signal) {
    let id = child.id().expect("it runs").cast_signed();
    kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
}

/// `cargo demo -- --keep`: what it prints in the end fits a terminal, and Ctrl-C ends it.
async fn keeps_running() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_demo"))
        .arg("--keep")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut is_at_the_end = false;
    loop {
        let line = timeout(PATIENCE, lines.next_line())
            .await
            .expect("it goes on");
        let line = line.unwrap().expect("it does not end by itself");
        is_at_the_end |= line.starts_with("Everything keeps running");
        assert!(!is_at_the_end || line.chars().count() <= 80, "{line}");
        if line == "Ctrl-C ends it." {
            break;
        }
    }
    signal(&demo, Signal::INT);
    let status = timeout(PATIENCE, demo.wait())
        .await
        .expect("it ends")
        .unwrap();
    assert!(status.success(), "{status}");
}

/// An address for a program to listen on later. The kernel gives none of these ports to another test
/// meanwhile: they are below the range from which it chooses.
fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return format!("127.0.0.1:{port}");
        }
    }
}

/// Programs of the system that pages use.
const TOOLS: &[&str] = &["cp", "curl", "mkdir", "openssl"];

/// Our own: the package each is in, and what it is there.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("decode", "es10-apdu", "--example"),
    ("demo", "lpad-tests", "--bin"),
    ("lpactl", "lpad", "--bin"),
    ("lpad", "lpad", "--bin"),
    ("sim-card-emulator", "sim-card-emulator", "--bin"),
    ("smdp", "rsp-servers", "--bin"),
    ("smds", "rsp-servers", "--bin"),
];

const PATIENCE: Duration = Duration::from_secs(120);
/// How often something is asked that cannot be waited for.
const POLL: Duration = Duration::from_millis(50);
