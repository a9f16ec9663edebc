//! A reader at a shell who follows a page.
//!
//! In front of the reader is a gateway as pages take for granted: a daemon, an empty card with a default
//! SM-DP+ that holds a profile for it, and a profile for every activation code on the page. Files are
//! in a folder of the reader's own, and ports are free ones.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use lpad::client::Client;
use lpad_tests::bed::Bed;
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::OrderRequest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

use super::calls::{Call, calls, is_printed, program};
use super::page::{Page, Purpose};
use super::toolbox::Toolbox;

#[derive(Debug)]
pub(super) struct Reader<'a> {
    tools: &'a Toolbox,
    folder: TempDir,
    bed: Bed,
    /// What is another here than on the page.
    replaced: Vec<(String, String)>,
    /// Programs in other terminals.
    running: Vec<(String, Child)>,
    /// The request whose answer will have an activation code.
    reservations: Option<String>,
}

impl<'a> Reader<'a> {
    pub(super) async fn follow(page: &Page, tools: &'a Toolbox) {
        let mut reader = Self::new(page, tools).await;
        for block in &page.blocks {
            match block.purpose() {
                Ok(Purpose::Commands) => {
                    for call in calls(block) {
                        reader.run(&block.place, call).await;
                    }
                }
                Ok(Purpose::File(name)) => {
                    let file = reader.folder.path().join(reader.adapted(name));
                    fs::write(file, reader.adapted(&block.text)).unwrap();
                }
                _ => {}
            }
        }
        for (name, child) in reader.running.into_iter().rev() {
            end(&name, child).await;
        }
    }

    async fn new(page: &Page, tools: &'a Toolbox) -> Self {
        let text = run_text(page);
        let mut bed = Bed::with(Bench::new(), "never").await;
        let card = &bed.bench.card;
        let mut memory = card.memory();
        HOST_NAME.clone_into(&mut memory.default_dp_address);
        card.restore(memory);
        bed.stop().await;
        bed.resume().await;
        let mut numbers = 1..;
        let mut profile = || profile(numbers.next().unwrap_or_default());
        let order = OrderRequest::for_eid(profile(), bed.bench.eid());
        bed.bench.smdp.create_order(order);
        for matching_id in matching_ids(&text) {
            let order = OrderRequest::with_matching_id(profile(), matching_id);
            bed.bench.smdp.create_order(order);
        }
        let folder = tempfile::tempdir().unwrap();
        let socket = bed.client.socket().display().to_string();
        let mut replaced = vec![
            ("/tmp/lpad".to_owned(), folder.path().display().to_string()),
            (SOCKET.to_owned(), socket),
        ];
        for address in addresses(&text) {
            replaced.push((address, free_address()));
        }
        let reader = Self {
            tools,
            folder,
            bed,
            replaced,
            running: Vec::new(),
            reservations: None,
        };
        fs::write(reader.folder.path().join(STATE), "").unwrap();
        reader
    }

    fn adapted(&self, text: &str) -> String {
        let replaced = self.replaced.iter();
        replaced.fold(text.to_owned(), |text, (what, by)| text.replace(what, by))
    }

    async fn run(&mut self, place: &str, call: Call) {
        let Call { command, prints } = call;
        eprintln!("{place}: {command}");
        let mut command = self.adapted(&command);
        let (name, arguments) = program(&command);
        if name == "demo" && arguments.contains(&"--keep".to_owned()) {
            return self.keep_demo().await;
        }
        if is_endless(&name, &arguments) {
            return self.start(place, &name, &arguments, &command).await;
        }
        if name == "lpactl" && command.contains("$…'") {
            command = command.replace("$…'", &format!("${}'", self.reserved().await));
        }
        let output = self.output(&command).await;
        let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            printed.push_str(&String::from_utf8_lossy(&output.stderr));
            assert!(prints.is_some(), "{place}: {command}: {printed}");
        }
        if let Some(prints) = prints.map(|prints| self.adapted(&prints)) {
            assert!(
                is_printed(&prints, &printed),
                "{place}: {command}\nprinted\n{printed}\nand not\n{prints}"
            );
        }
        if name == "curl"
            && command.trim().ends_with("/v1/ESimProfiles")
            && !command.contains(" -d ")
        {
            self.reservations = Some(command);
        }
    }

    /// What a person finds in the list of reservations: the matching ID of the first one.
    async fn reserved(&self) -> String {
        let list = self.reservations.as_ref().expect("profiles were listed");
        let mut ticks = interval(POLL);
        let found = async {
            loop {
                ticks.tick().await;
                let answer = self.output(list).await.stdout;
                let answer: Value = serde_json::from_slice(&answer).unwrap();
                let code = answer["esim_profiles"][0]["activation_code"].as_str();
                if let Some((_, matching_id)) = code.and_then(|code| code.rsplit_once('$')) {
                    return matching_id.to_owned();
                }
            }
        };
        timeout(PATIENCE, found).await.expect("it is available")
    }

    /// A shell that goes on where the last one ended.
    fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell
            .arg("-c")
            .arg(format!(". ./{STATE}\n{script}"))
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("LANG", "C.UTF-8")
            .env("LPAD_SOCKET", self.bed.client.socket())
            .env("PATH", self.tools.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        shell
    }

    async fn output(&self, command: &str) -> Output {
        let mut shell = self.shell(&format!("set -e\n{command}\nexport -p > {STATE}"));
        let output = timeout(PATIENCE, shell.output()).await;
        output
            .unwrap_or_else(|_| panic!("{command} does not end"))
            .unwrap()
    }

    /// Starts a program in another terminal, where the last one of its kind ends before.
    async fn start(&mut self, place: &str, name: &str, arguments: &[String], command: &str) {
        if let Some(last) = self.running.iter().position(|(other, _)| other == name) {
            let (name, child) = self.running.remove(last);
            end(&name, child).await;
        }
        let log = self.folder.path().join(format!("{name}.log"));
        let mut shell = self.shell(&format!("exec {command}"));
        shell.stdout(Stdio::null());
        shell.stderr(fs::File::create(&log).unwrap());
        let mut child = shell.spawn().unwrap();
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

    /// `cargo demo -- --keep`: what it prints in the end fits a terminal, and Ctrl-C ends it.
    async fn keep_demo(&self) {
        let mut shell = self.shell("exec demo --keep");
        let mut demo = shell.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
        let mut is_at_the_end = false;
        loop {
            let line = timeout(PATIENCE, lines.next_line()).await;
            let line = line.expect("it goes on").unwrap();
            let line = line.expect("it does not end by itself");
            is_at_the_end |= line.starts_with("Everything keeps running");
            assert!(!is_at_the_end || line.chars().count() <= 80, "{line}");
            if line == "Ctrl-C ends it." {
                break;
            }
        }
        signal(&demo, Signal::INT);
        let status = timeout(PATIENCE, demo.wait()).await.expect("it ends");
        assert!(status.unwrap().success());
    }
}

fn is_endless(name: &str, arguments: &[String]) -> bool {
    let has = |wanted: &[&str]| {
        let mut arguments = arguments.iter().map(String::as_str);
        arguments.any(|argument| wanted.contains(&argument))
    };
    match name {
        "lpad" => !has(&["--check", "--example-config", "--help", "--version"]),
        "lpactl" => has(&["events"]),
        "sim-card-emulator" | "smdp" | "smds" => has(&["--listen", "--pty", "--vpcd"]),
        _ => false,
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

/// What of a page is run or saved.
fn run_text(page: &Page) -> String {
    let blocks = page.blocks.iter();
    let run =
        blocks.filter(|block| matches!(block.purpose(), Ok(Purpose::Commands | Purpose::File(_))));
    run.map(|block| block.text.as_str()).collect()
}

/// The matching IDs of the activation codes, in their order.
fn matching_ids(text: &str) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for rest in text.split(&format!("LPA:1${HOST_NAME}$")).skip(1) {
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        let id = &rest[..end.unwrap_or(rest.len())];
        if !id.is_empty() && !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}

/// The addresses on the loopback.
fn addresses(text: &str) -> BTreeSet<String> {
    let found = text.split("127.0.0.1:").skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit());
        format!("127.0.0.1:{}", &rest[..end.unwrap_or(rest.len())])
    });
    found.collect()
}

/// The profile that a page calls its first, second and so on.
fn profile(number: u32) -> Profile {
    let iccid = Iccid::with_check_digit(&format!("89010000000000000{number}"));
    Profile::builder(iccid.expect("an ICCID"))
        .name(format!("Profile {number}"))
        .size(3000)
        .build()
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

/// Where a daemon listens that nobody has told otherwise.
const SOCKET: &str = "/run/lpad/lpad.sock";
/// What one command leaves to the next: the variables of the shell.
const STATE: &str = ".variables";
const PATIENCE: Duration = Duration::from_secs(120);
/// How often something is asked that cannot be waited for.
const POLL: Duration = Duration::from_millis(50);
