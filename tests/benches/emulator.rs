//! The test bench's figures in `docs/benchmarks.md`: `cargo bench -p lpad-tests --bench emulator`.
//!
//! Everything is in memory and on one thread, so that the figures are for one core.

#![allow(clippy::print_stdout, reason = "it prints a report")]

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use es9_client::ServerAddress;
use es10_apdu::isdr::ISDR_AID;
use lpad_tests::bench::{Bench, HOST_NAME, direct};
use rsp_common::certificate::Role;
use rsp_common::pki::{CertificateSpec, Pki, PkiOptions};
use rsp_servers::lpa::BareLpa;
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::OrderRequest;
use sim_card_emulator::card::Card;
use sim_card_emulator::euicc::{Euicc, Identity, NonVolatile, Settings, SystemRandom};
use sim_card_emulator::modem::{self, Modem};
use tokio::io::duplex;

/// Linux counts in hundredths of a second for programs.
const MILLISECONDS_PER_TICK: u64 = 10;
/// How long something is repeated.
const WHILE: Duration = Duration::from_secs(3);
/// As large as the GSMA's generic test profiles.
const PACKAGE_SIZE: usize = 12_000;
const CARDS: u64 = 1000;
/// GetEID in one STORE DATA block on channel 1.
const GET_EID: [u8; 12] = [
    0x81, 0xE2, 0x91, 0x00, 0x06, 0xBF, 0x3E, 0x03, 0x5C, 0x01, 0x5A, 0x00,
];
/// GetEUICCInfo2, the longest answer of a card without profiles.
const GET_INFO2: [u8; 9] = [0x81, 0xE2, 0x91, 0x00, 0x03, 0xBF, 0x22, 0x00, 0x00];
/// GetEUICCChallenge.
const GET_CHALLENGE: [u8; 9] = [0x81, 0xE2, 0x91, 0x00, 0x03, 0xBF, 0x2E, 0x00, 0x00];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("| figure | value |");
    println!("|---|---|");
    // The memory first: what others have freed would be used again.
    let (bare, in_modem) = memory_per_card().await?;
    let with_eid = memory_per_identity()?;
    row("memory of an idle card", &kilobytes(bare));
    row(
        "memory of an idle card in a modem that is served",
        &kilobytes(in_modem),
    );
    row(
        "memory of an EID of its own, with certificate and key",
        &kilobytes(with_eid),
    );
    for (name, command) in [
        ("GetEID", &GET_EID[..]),
        ("GetEUICCInfo2", &GET_INFO2),
        ("GetEUICCChallenge", &GET_CHALLENGE),
    ] {
        let rate = apdus_per_second(command)?;
        row(&format!("APDUs per second, {name}"), &format!("{rate:.0}"));
    }
    let with_handshakes = downloads_per_second(true).await?;
    row(
        "downloads per second, a TLS connection each",
        &format!("{with_handshakes:.1}"),
    );
    let without = downloads_per_second(false).await?;
    row(
        "downloads per second over one connection",
        &format!("{without:.1}"),
    );
    Ok(())
}

/// What cards that share an identity take: alone, and in modems that wait for a command.
async fn memory_per_card() -> Result<(u64, u64), Box<dyn Error>> {
    let identity = Arc::new(identity()?);
    let before = resident()?;
    let new = |_| Card::new(identity.clone(), Settings::default());
    let cards: Vec<Card> = (0..CARDS).map(new).collect();
    let bare = resident()? - before;
    let mut lines = Vec::new();
    for card in &cards {
        let mut modem = Modem::new(card.clone(), modem::Identity::default());
        let (port, line) = duplex(1024);
        tokio::spawn(async move { modem::serve(&mut modem, line, None).await });
        lines.push(port);
    }
    tokio::task::yield_now().await;
    let in_modem = resident()? - before;
    Ok((bare / CARDS, in_modem / CARDS))
}

/// What it takes that a card does not share the identity of another one.
fn memory_per_identity() -> Result<u64, Box<dyn Error>> {
    let mut pki = Pki::generate(&PkiOptions::default())?;
    let mut identities = Vec::new();
    let before = resident()?;
    for number in 0..CARDS {
        let spec = CertificateSpec::euicc(&format!("89049032{number:024}"), SystemTime::now());
        pki.issue(Role::Euicc, Role::Eum, &spec)?;
        identities.push(Identity::from_pki(&pki)?);
    }
    Ok((resident()? - before) / CARDS)
}

/// How often a command is executed by a card without its holder.
fn apdus_per_second(command: &[u8]) -> Result<f64, Box<dyn Error>> {
    let mut euicc = Euicc::new(identity()?, Settings::default(), NonVolatile::default());
    let select = [&[0x01, 0xA4, 0x04, 0x00, 0x10], &ISDR_AID[..], &[0]].concat();
    for command in [&[0x00, 0x70, 0x00, 0x00, 0x01][..], &select, command] {
        let response = euicc.handle(command, &mut SystemRandom);
        if !response.sw.is_success() {
            return Err(format!("the card says {:?}", response.sw).into());
        }
    }
    let started = busy()?;
    let mut count = 0_u32;
    while busy()? - started < WHILE {
        for _ in 0..1000 {
            euicc.handle(command, &mut SystemRandom);
        }
        count += 1000;
    }
    Ok(f64::from(count) / (busy()? - started).as_secs_f64())
}

/// How often a profile is downloaded to a new card, its notification delivered and removed.
async fn downloads_per_second(anew: bool) -> Result<f64, Box<dyn Error>> {
    let bench = Bench::new();
    let address: ServerAddress = HOST_NAME.parse()?;
    let identity = Arc::new(Identity::from_pki(&bench.pki)?);
    let profile = Profile::builder(Iccid::nth(1)).size(PACKAGE_SIZE).build();
    let mut lpa = BareLpa::open(bench.direct(), bench.network(), bench.roots()).await?;
    let started = busy()?;
    let mut count = 0_u32;
    while busy()? - started < WHILE {
        let matching_id = format!("BENCH-{count}");
        let order = OrderRequest::with_matching_id(profile.clone(), &*matching_id);
        bench.smdp.create_order(order);
        let card = Card::new(identity.clone(), Settings::default());
        match anew {
            true => lpa = BareLpa::open(direct(&card), bench.network(), bench.roots()).await?,
            false => lpa.change_card(direct(&card)).await?,
        }
        let session = lpa.authenticate(&address, &matching_id).await?;
        lpa.download(&session).await?;
        let memory = card.memory();
        if memory.profiles.len() != 1 || !memory.notifications.is_empty() {
            return Err("the profile is not installed and reported".into());
        }
        count += 1;
    }
    Ok(f64::from(count) / (busy()? - started).as_secs_f64())
}

fn identity() -> Result<Identity, Box<dyn Error>> {
    let pki = Pki::generate(&PkiOptions::default())?;
    Ok(Identity::from_pki(&pki)?)
}

/// How long this process has had a core so far: what else the machine does is left out.
fn busy() -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field, the name, may hold anything but ends with a parenthesis.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
    let [user, system] = [11, 12].map(|field| fields.split_whitespace().nth(field));
    let ticks =
        user.ok_or("no utime")?.parse::<u64>()? + system.ok_or("no stime")?.parse::<u64>()?;
    Ok(Duration::from_millis(ticks * MILLISECONDS_PER_TICK))
}

/// The memory this process has in use, in octets.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .ok_or("no VmRSS")?
        .parse()?;
    Ok(kibibytes * 1024)
}

fn row(figure: &str, value: &str) {
    println!("| {figure} | {value} |");
}

fn kilobytes(octets: u64) -> String {
    format!("{:.1} kB", octets as f64 / 1000.0)
}
