//! The figures of `docs/benchmarks.md`: `cargo bench -p lpad-tests`.
//!
//! Counts come from a download in memory. Memory, size and time come from the release binary of
//! the daemon against a card behind a PTY and an SM-DP+ on the loopback.

#![allow(clippy::print_stdout, reason = "it prints a report")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lpad::api::body::Operation;
use lpad::api::downloads::DownloadRequest;
use lpad::client::Client;
use lpad::job::Consent;
use lpad::memory::operations::State;
use lpad::secret::Secret;
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::{Function, OrderRequest};
use sim_card_emulator::pty::Pty;
use tokio::net::TcpListener;

/// As large as the GSMA's generic test profiles.
const PACKAGE_SIZE: usize = 12_000;

/// Bits a UART needs for an octet: start, eight, stop.
const BITS_PER_OCTET: f64 = 10.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let binary = build()?;
    println!("| figure | value |");
    println!("|---|---|");
    for program in ["lpad", "lpactl"] {
        let size = fs::metadata(binary.with_file_name(program))?.len();
        row(&format!("binary size of {program}"), &kilobytes(size));
    }
    let unlimited = measure(&binary, None).await?;
    row("profile package", &format!("{PACKAGE_SIZE} octets"));
    row(
        "APDUs of a download with its notification",
        &unlimited.apdus.to_string(),
    );
    row("octets over the AT port", &unlimited.octets.to_string());
    row("TLS handshakes", &unlimited.handshakes.to_string());
    row("HTTP requests", &unlimited.requests.to_string());
    row(
        "memory of lpad, idle (VmRSS)",
        &kilobytes(unlimited.idle_memory),
    );
    row(
        "memory of lpad, peak of a download (VmHWM)",
        &kilobytes(unlimited.peak_memory),
    );
    row("wall time, unlimited rate", &seconds(unlimited.time));
    let slow = measure(&binary, Some(115_200)).await?;
    row("wall time at 115200 baud", &seconds(slow.time));
    let line = slow.octets as f64 * BITS_PER_OCTET / 115_200.0;
    row(
        "of which the line alone needs",
        &seconds(Duration::from_secs_f64(line)),
    );
    Ok(())
}

/// What one download cost.
#[derive(Debug)]
struct Figures {
    apdus: u64,
    octets: u64,
    handshakes: u64,
    requests: u64,
    idle_memory: u64,
    peak_memory: u64,
    time: Duration,
}

/// Runs the daemon, downloads one profile, and looks at what it cost.
async fn measure(binary: &Path, baud: Option<u32>) -> Result<Figures, Box<dyn Error>> {
    let folder = tempfile::Builder::new().prefix("lpad-bench-").tempdir()?;
    let bench = Bench::new();
    let pty = Pty::open(&folder.path().join("modem"))?;
    tokio::spawn(bench.line().serve(pty, baud));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let smdp = bench.smdp.clone();
    tokio::spawn(async move { smdp.serve(listener, std::future::pending()).await });
    let configuration = bench.configure(folder.path(), address, "never")?;
    let profile = Profile::builder(Iccid::nth(1)).size(PACKAGE_SIZE).build();
    bench
        .smdp
        .create_order(OrderRequest::with_matching_id(profile, "BENCH-1"));

    let mut daemon = Command::new(binary)
        .arg("--config")
        .arg(configuration)
        .env("LPAD_LOG", "warn")
        .spawn()?;
    let client = Client::new(folder.path().join("lpad.sock"));
    let figures = download(&bench, &client, daemon.id()).await;
    daemon.kill()?;
    daemon.wait()?;
    figures
}

async fn download(bench: &Bench, client: &Client, pid: u32) -> Result<Figures, Box<dyn Error>> {
    let started = Instant::now();
    while client.profiles("default").await.is_err() {
        if started.elapsed() > Duration::from_secs(30) {
            return Err("the daemon does not come up".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let idle_memory = memory(pid, "VmRSS:")?;
    let before = *bench.modem.counters().borrow();
    let request = DownloadRequest {
        activation_code: Some(Secret::new(format!("1${HOST_NAME}$BENCH-1"))),
        consent: Consent::Accept,
        ..DownloadRequest::default()
    };
    let started = Instant::now();
    let Operation { id, .. } = client.download("default", &request).await?;
    let operation = client.wait(id).await?;
    let time = started.elapsed();
    if operation.state != State::Succeeded {
        return Err(format!("the download failed: {:?}", operation.problem).into());
    }
    let after = *bench.modem.counters().borrow();
    let smdp = bench.smdp.counters();
    Ok(Figures {
        apdus: after.apdus - before.apdus,
        octets: after.bytes_in + after.bytes_out - before.bytes_in - before.bytes_out,
        handshakes: smdp.handshakes,
        requests: Function::ALL
            .iter()
            .map(|function| smdp.requests(*function))
            .sum(),
        idle_memory,
        peak_memory: memory(pid, "VmHWM:")?,
        time,
    })
}

/// Builds both programs as they are shipped, and says where the daemon is.
fn build() -> Result<PathBuf, Box<dyn Error>> {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "-p", "lpad", "--bins"])
        .status()?;
    if !built.success() {
        return Err("lpad cannot be built".into());
    }
    // The benchmark itself lies in target/release/deps.
    let here = std::env::current_exe()?;
    let release = here.ancestors().nth(2).ok_or("no target folder")?;
    Ok(release.join("lpad"))
}

/// A line of `/proc/<pid>/status`, in octets.
fn memory(pid: u32, name: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .ok_or("no such line")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kibibytes * 1024)
}

fn row(figure: &str, value: &str) {
    println!("| {figure} | {value} |");
}

fn kilobytes(octets: u64) -> String {
    format!("{} kB", octets / 1000)
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
