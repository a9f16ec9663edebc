//! The figures of `docs/benchmarks.md`: `cargo bench -p lpad-tests`.
//!
//! They come from the release binary of the daemon against a card behind a PTY and an SM-DP+ on the
//! loopback. `--svg` draws the pictures of that page as well, `--lpac` puts another LPA beside lpad.

#![allow(clippy::print_stdout, reason = "it prints a report")]

mod chart;
mod lpac;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use lpad::api::body::Operation;
use lpad::api::downloads::DownloadRequest;
use lpad::client::Client;
use lpad::job::Consent;
use lpad::memory::operations::State;
use lpad::secret::Secret;
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_servers::lpa::{BareLpa, Direct};
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::OrderRequest;
use sim_card_emulator::modem::Card as _;
use tokio::net::TcpListener;

use self::chart::Chart;

/// As large as the GSMA's generic test profiles.
const PACKAGE_SIZE: usize = 12_000;

/// Bits a UART needs for an octet: start, eight, stop.
const BITS_PER_OCTET: f64 = 10.0;

/// Measures what a download costs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Draw the pictures of docs/benchmarks.md into this folder, which is one of the tree
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Measure this lpac beside lpad, and nothing else
    #[arg(long, value_name = "PROGRAM")]
    lpac: Option<PathBuf>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let binary = build()?;
    match (&arguments.lpac, &arguments.svg) {
        (Some(lpac), _) => compare(&binary, lpac).await,
        (None, Some(folder)) => draw(&binary, &Path::new(TREE).join(folder)).await,
        (None, None) => report(&binary).await,
    }
}

/// The table of `docs/benchmarks.md`.
async fn report(binary: &Path) -> Result<(), Box<dyn Error>> {
    println!("| figure | value |");
    println!("|---|---|");
    for program in ["lpad", "lpactl"] {
        let size = fs::metadata(binary.with_file_name(program))?.len();
        row(&format!("binary size of {program}"), &kilobytes(size));
    }
    let unlimited = measure(binary, "auto", None, PACKAGE_SIZE).await?;
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
    let slow = measure(binary, "auto", Some(115_200), PACKAGE_SIZE).await?;
    row("wall time at 115200 baud", &seconds(slow.time));
    row(
        "of which the line alone needs",
        &seconds(Duration::from_secs_f64(slow.line_needs(115_200))),
    );
    println!();
    on_the_line(binary).await
}

/// What a download with its notification costs on the line, beside what cannot be done without.
async fn on_the_line(binary: &Path) -> Result<(), Box<dyn Error>> {
    let csim = measure(binary, "csim", None, PACKAGE_SIZE).await?;
    let cgla = measure(binary, "cgla", None, PACKAGE_SIZE).await?;
    let (apdus, octets) = floor(PACKAGE_SIZE).await?;
    println!("| on the line | AT+CSIM | AT+CGLA | a bare LPA |");
    println!("|---|---|---|---|");
    println!("| APDUs | {} | {} | {apdus} |", csim.apdus, cgla.apdus);
    println!("| octets | {} | {} | {octets} |", csim.octets, cgla.octets);
    Ok(())
}

/// APDUs and octets of an LPA that checks nothing, reads nothing and cannot resume, by `AT+CSIM`.
async fn floor(size: usize) -> Result<(u64, u64), Box<dyn Error>> {
    let bench = Bench::new();
    order(&bench, size);
    let counted = Arc::new(Mutex::new((0, 0)));
    let counting = Arc::clone(&counted);
    let mut card = bench.card.clone();
    let card = Direct::new(move |command| {
        let answer = card.transmit(command);
        let lines =
            line("AT+CSIM=", command) + 1 + line("\r\n+CSIM: ", &answer) + "\r\n\r\nOK\r\n".len();
        let mut counted = counting.lock().unwrap_or_else(PoisonError::into_inner);
        *counted = (counted.0 + 1, counted.1 + lines as u64);
        answer
    });
    let mut lpa = BareLpa::open(card, bench.network(), bench.roots()).await?;
    let session = lpa.authenticate(&HOST_NAME.parse()?, "BENCH-1").await?;
    lpa.download(&session).await?;
    lpa.close().await?;
    let counted = *counted.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(counted)
}

/// Characters of an APDU in an AT line.
fn line(before: &str, apdu: &[u8]) -> usize {
    let digits = 2 * apdu.len();
    before.len() + format!("{digits},\"\"").len() + digits
}

fn order(bench: &Bench, size: usize) {
    let profile = Profile::builder(Iccid::nth(1)).size(size).build();
    let order = OrderRequest::with_matching_id(profile, "BENCH-1");
    bench.smdp.create_order(order);
}

/// The pictures of `docs/benchmarks.md`.
async fn draw(binary: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    for baud in [57_600, 115_200, 230_400, 460_800, 921_600] {
        let figures = measure(binary, "auto", Some(baud), PACKAGE_SIZE).await?;
        let (whole, line) = (figures.time.as_secs_f64(), figures.line_needs(baud));
        times.push((format!("{baud} baud"), [line, (whole - line).max(0.0)]));
    }
    let unlimited = measure(binary, "auto", None, PACKAGE_SIZE).await?;
    times.push(("no limit".to_owned(), [0.0, unlimited.time.as_secs_f64()]));
    let mut memory = Vec::new();
    for size in [3_000, 12_000, 48_000, 192_000] {
        let figures = measure(binary, "auto", None, size).await?;
        let megabytes = |octets: u64| octets as f64 / 1e6;
        let (idle, peak) = (figures.idle_memory, figures.peak_memory);
        let growth = megabytes(peak.saturating_sub(idle));
        memory.push((format!("{} kB", size / 1000), [megabytes(idle), growth]));
    }
    let pictures = [
        (
            "download-time.svg",
            Chart {
                title: "Time of a download by the rate of the line",
                parts: ["the line alone", "lpad, card and server"],
                unit: "s",
                bars: times,
            },
        ),
        (
            "download-memory.svg",
            Chart {
                title: "Memory of lpad by the size of the profile package",
                parts: ["idle", "more at the peak of the download"],
                unit: "MB",
                bars: memory,
            },
        ),
    ];
    for (name, chart) in pictures {
        let path = folder.join(name);
        fs::write(&path, chart.svg())?;
        println!("{}", path.display());
    }
    Ok(())
}

/// lpad and lpac, each downloading a profile and delivering its notification.
async fn compare(binary: &Path, lpac: &Path) -> Result<(), Box<dyn Error>> {
    let ours = measure(binary, "auto", None, PACKAGE_SIZE).await?;
    let theirs = lpac::measure(lpac).await?;
    println!("| figure | lpad | lpac |");
    println!("|---|---|---|");
    let rows = [
        ("APDUs", ours.apdus, theirs.apdus),
        ("octets over the AT port", ours.octets, theirs.octets),
        ("TLS handshakes", ours.handshakes, theirs.handshakes),
        ("HTTP requests", ours.requests, theirs.requests),
    ];
    for (figure, ours, theirs) in rows {
        println!("| {figure} | {ours} | {theirs} |");
    }
    println!(
        "| memory, peak | {} | {} |",
        kilobytes(ours.peak_memory),
        kilobytes(theirs.peak_memory)
    );
    println!(
        "| wall time | {} | {} |",
        seconds(ours.time),
        seconds(theirs.time)
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

impl Figures {
    /// How many seconds the octets take on a UART.
    fn line_needs(&self, baud: u32) -> f64 {
        self.octets as f64 * BITS_PER_OCTET / f64::from(baud)
    }
}

/// Runs the daemon, downloads one profile, and looks at what it cost.
async fn measure(
    binary: &Path,
    route: &str,
    baud: Option<u32>,
    size: usize,
) -> Result<Figures, Box<dyn Error>> {
    let folder = tempfile::Builder::new().prefix("lpad-bench-").tempdir()?;
    let bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    bench.serve(folder.path(), baud, listener)?;
    let configuration = bench.configure(folder.path(), address, "never")?;
    let keys = fs::read_to_string(&configuration)?;
    let keys = keys.replace("[[euicc]]", &format!("[[euicc]]\napdu = \"{route}\""));
    fs::write(&configuration, keys)?;
    order(&bench, size);
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
        requests: smdp.all_requests(),
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

/// The root of the tree.
const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn row(figure: &str, value: &str) {
    println!("| {figure} | {value} |");
}

fn kilobytes(octets: u64) -> String {
    format!("{} kB", octets / 1000)
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
