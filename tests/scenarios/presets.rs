//! Every modem and every quirk the bench has: what lpad makes of it.
//!
//! What comes of them is told at the end of docs/modem-quirks.md. With `UPDATE_TABLES=1` the tests write
//! it there, one after the other (`--test-threads=1`); otherwise the page must agree.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::mem::swap;
use std::time::Duration;
use std::{env, fs, iter};

use lpad::api::body::Operation;
use lpad::memory::operations::State;
use lpad::memory::snapshot::{Availability, ProfileState};
use lpad::problem::Problem;
use lpad_tests::bed::{Bed, EUICC, succeeded};
use lpad_tests::bench::Bench;
use rsp_common::pki::{Pki, PkiOptions};
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::OrderRequest;
use sim_card_emulator::euicc::NonVolatile;
use sim_card_emulator::modem::{Preset, Quirk, Quirks};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep, timeout};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/modem-quirks.md");

/// How long an operation may take, however slow the modem is.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// Before the first operation: modems change their minds when nobody asks for anything.
const IDLE: Duration = Duration::from_secs(120);

/// What a person does about a modem with which something does not work, as lpad's next step says.
enum Remedy {
    /// Has a profile enabled before the card comes into this modem.
    EnabledProfile,
    /// Gives these commands on its port, with lpad stopped, and waits so long.
    Commands(&'static [&'static str], Duration),
    /// Takes another modem.
    Replace,
}

/// The presets with which something does not work, and what helps.
const REMEDIES: [(&str, Remedy); 10] = [
    ("ec800g-6100", Remedy::Replace),
    (
        "rg650e-lpa",
        Remedy::Commands(
            &["AT+QESIM=\"lpa_enable\",0", "AT+CFUN=1,1"],
            Duration::from_secs(60),
        ),
    ),
    ("em061k-noprofile", Remedy::EnabledProfile),
    (
        "fm350-window-bare",
        Remedy::Commands(&["AT+GTDUALSIM=1"], Duration::from_secs(600)),
    ),
    ("sierra-em9191-reject", Remedy::Replace),
    ("nrf91-noprofile", Remedy::EnabledProfile),
    ("huawei-finals", Remedy::Replace),
    ("wavecom-filter", Remedy::Replace),
    ("cinterion-mf-reset", Remedy::Replace),
    // Without a profile it refuses AT+CSIM, and over AT+CGLA nothing tells the card of an LPA.
    ("sierra-em7455-noprofile", Remedy::EnabledProfile),
];

#[tokio::test(start_paused = true)]
async fn every_modem_works_or_lpad_says_what_to_do_and_that_works() {
    let stock = Stock::new().await;
    let mut table = String::from(
        "| Preset | Taken for | First download | Switch | Download | Delete |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut said: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for preset in Preset::ALL {
        let name = preset.name();
        // Only seen when the test fails.
        eprintln!("{name}");
        let quirk = format!("preset:{name}");
        let mut bed = stock.modem(&quirk, NonVolatile::default()).await;
        let modem = bed.client.euicc(EUICC).await.unwrap().modem;
        let profile = modem.map(|modem| modem.profile).unwrap_or_default();
        sleep(IDLE).await;
        let first = Ended::download(&bed, 901).await;
        let others = the_others(&mut bed, &stock, &first).await;
        let cells = others.each_ref().map(Ended::cell).join(" | ");
        let first_cell = first.cell();
        writeln!(table, "| `{name}` | {profile} | {first_cell} | {cells} |").unwrap();
        let all = iter::once(&first).chain(&others);
        let problems: Vec<_> = all.filter_map(Ended::problem).collect();
        for problem in &problems {
            eprintln!("  {problem:?}");
            let names = said.entry(problem.next_step.clone()).or_default();
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        let remedy = REMEDIES.iter().find(|(of, _)| *of == name);
        match (problems.is_empty(), remedy) {
            (true, None) => {}
            (false, Some((_, remedy))) => stock.is_cured(bed, &quirk, remedy).await,
            (true, Some(_)) => panic!("{name} needs no remedy"),
            (false, None) => panic!("{name} has no remedy: {problems:?}"),
        }
    }
    for (next_step, names) in said {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        write!(table, "\n- {}: {next_step}", names.join(", ")).unwrap();
    }
    must_be_told("Preset by preset", table.trim_end());
}

/// Switch, download and delete after the first download; with another card when that failed.
async fn the_others(bed: &mut Bed, stock: &Stock, first: &Ended) -> [Ended; 3] {
    let first = first.0.result.as_ref();
    let first = first.and_then(|result| result.iccid.clone());
    let iccid = match first {
        Some(iccid) => iccid,
        None => {
            bed.bench.card.restore(stock.memory.clone());
            bed.bench.modem.hang_up();
            // The daemon tries again by itself.
            sleep(IDLE).await;
            stock.idle.clone()
        }
    };
    let switched = Ended::switch(bed, &iccid).await;
    let downloaded = Ended::download(bed, 902).await;
    let unused = match downloaded.is_done() {
        true => Iccid::nth(902).to_string(),
        false => stock.idle.clone(),
    };
    let deleted = Ended::delete(bed, &unused).await;
    let profiles = bed.bench.card.memory().profiles;
    let find = |wanted: &str| {
        let mut profiles = profiles.iter();
        profiles.find(|profile| profile.iccid.to_string() == wanted)
    };
    let is_enabled = find(&iccid).is_some_and(|profile| profile.enabled);
    assert!(is_enabled || !switched.is_done(), "the switch");
    assert!(
        find(&unused).is_none() || !deleted.is_done(),
        "the deletion"
    );
    [switched, downloaded, deleted]
}

#[tokio::test(start_paused = true)]
async fn every_quirk_alone_works_or_is_told_and_is_over_when_it_is_gone() {
    let stock = Stock::new().await;
    let mut bed = stock.modem("preset:ideal", stock.memory.clone()).await;
    let (mut in_use, mut idle) = (&stock.in_use, &stock.idle);
    let mut table = String::from("| Quirk | Download | Switch |\n| --- | --- | --- |\n");
    for (quirk, number) in Quirk::ALL.into_iter().zip(901..) {
        let begun = Instant::now();
        let name = format!("{}{}", quirk.name(), quirk.kind().usual());
        eprintln!("{name}");
        let wants_empty_card = name.starts_with("empty-");
        bed.bench.modem.set_quirks(|set| {
            set.turn_on(quirk);
            // Otherwise lpad has no reason to restart anything.
            if RESTARTS.contains(&quirk) {
                set.turn_on(Quirk::IgnoresRefresh);
            }
        });
        if wants_empty_card {
            bed.bench.card.restore(NonVolatile::default());
        }
        bed.bench.modem.hang_up();
        if ONCE.contains(&quirk) {
            bed = stock.modem(&name, stock.memory.clone()).await;
            (in_use, idle) = (&stock.in_use, &stock.idle);
        }
        let downloaded = Ended::download(&bed, number).await;
        let new = Iccid::nth(number).to_string();
        let other = if wants_empty_card { &new } else { idle };
        let switched = Ended::switch(&bed, other).await;
        let both = [&downloaded, &switched];
        let cells = both.map(Ended::cell);
        if cells.iter().any(|cell| cell != "yes") {
            writeln!(table, "| `{name}` | {} |", cells.join(" | ")).unwrap();
        }
        for problem in both.into_iter().filter_map(Ended::problem) {
            eprintln!("  {problem:?}");
        }
        bed.bench.modem.set_quirks(|set| *set = Quirks::default());
        if wants_empty_card {
            bed.bench.card.restore(stock.memory.clone());
            (in_use, idle) = (&stock.in_use, &stock.idle);
        }
        bed.bench.modem.hang_up();
        bed.euicc_in(Availability::Ready).await;
        let card = bed.bench.card.memory();
        let mut enabled = card.profiles.iter().filter(|profile| profile.enabled);
        if enabled
            .next()
            .is_some_and(|profile| profile.iccid.to_string() == *idle)
        {
            swap(&mut in_use, &mut idle);
        }
        let is_there = downloaded.is_done() && !wants_empty_card;
        let next = if is_there {
            Ended::delete(&bed, &new).await
        } else {
            swap(&mut in_use, &mut idle);
            Ended::switch(&bed, in_use).await
        };
        assert_eq!(next.cell(), "yes", "{name}: {:?}", next.problem());
        eprintln!("  {:?}", begun.elapsed());
    }
    must_be_told("Quirk by quirk", table.trim_end());
}

/// Quirks that show once in the life of a modem.
const ONCE: [Quirk; 3] = [
    Quirk::LateAnswer,
    Quirk::RebootsAfter,
    Quirk::LeakedSessions,
];

/// Quirks that show when lpad restarts the modem, its radio or the card.
const RESTARTS: [Quirk; 10] = [
    Quirk::RestartLeavesAfter,
    Quirk::RestartAbsent,
    Quirk::RestartStays,
    Quirk::RadioOffDrops,
    Quirk::RadioOffHangsUp,
    Quirk::RadioOffRestarts,
    Quirk::CfunTime,
    Quirk::RadioBusy,
    Quirk::RadioKept,
    Quirk::CardKeepsPower,
];

/// A card with a profile in use and another one beside it, and the servers it belongs to.
struct Stock {
    pki: Pki,
    memory: NonVolatile,
    in_use: String,
    idle: String,
}

impl Stock {
    async fn new() -> Self {
        let pki = Pki::generate(&PkiOptions::default()).unwrap();
        let mut bed = Bed::with(Bench::with_pki(pki.clone()), "never").await;
        let (in_use, idle) = (bed.install().await, bed.install().await);
        succeeded(&bed.switch(&in_use, ProfileState::Enabled).await);
        bed.settle().await;
        let memory = bed.bench.card.memory();
        Self {
            pki,
            memory,
            in_use,
            idle,
        }
    }

    /// A daemon that has tried a new modem with a card that holds this.
    async fn modem(&self, quirk: &str, card: NonVolatile) -> Bed {
        let bench = Bench::with_pki(self.pki.clone());
        bench.card.restore(card);
        bench.modem.set_quirks(|set| set.add(quirk).unwrap());
        let bed = Bed::booted(bench, "never").await;
        bed.euicc_when(EUICC, |euicc| {
            euicc.state == Availability::Ready || euicc.problem.is_some()
        })
        .await;
        bed
    }

    /// Does what lpad says to do, after which everything must work.
    async fn is_cured(&self, mut bed: Bed, quirk: &str, remedy: &Remedy) {
        bed.bench.card.restore(self.memory.clone());
        match remedy {
            Remedy::EnabledProfile => bed.bench.modem.hang_up(),
            Remedy::Replace => {
                bed.bench.modem.set_quirks(|set| *set = Quirks::default());
                bed.bench.modem.hang_up();
            }
            Remedy::Commands(commands, then) => {
                bed.stop().await;
                let mut port = bed.bench.line().open();
                for command in *commands {
                    let answered = type_in(&mut port, command);
                    timeout(DEADLINE, answered).await.expect("it answers");
                }
                drop(port);
                sleep(*then).await;
                bed.boot();
            }
        }
        bed.euicc_in(Availability::Ready).await;
        let switched = Ended::switch(&bed, &self.idle).await;
        let downloaded = Ended::download(&bed, 903).await;
        let deleted = Ended::delete(&bed, &self.in_use).await;
        for ended in [switched, downloaded, deleted] {
            assert_eq!(ended.cell(), "yes", "{quirk}: {:?}", ended.problem());
        }
    }
}

/// Types a command in, and waits until it was answered.
async fn type_in(port: &mut DuplexStream, command: &str) {
    port.write_all(format!("{command}\r").as_bytes())
        .await
        .unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"\r\nOK\r\n") {
        let mut more = [0; 64];
        let count = port.read(&mut more).await.unwrap();
        assert_ne!(count, 0, "the port is closed");
        said.extend(&more[..count]);
    }
}

/// What has been asked of lpad, and what came of it.
struct Ended(Operation);

impl Ended {
    /// Downloads a small profile with this number.
    async fn download(bed: &Bed, number: u32) -> Self {
        let profile = Profile::builder(Iccid::nth(number)).size(3000).build();
        let matching_id = format!("M-{number}");
        let order = OrderRequest::with_matching_id(profile, &matching_id);
        bed.bench.smdp.create_order(order);
        Self::in_time(bed.download_id(&matching_id)).await
    }

    async fn switch(bed: &Bed, iccid: &str) -> Self {
        Self::in_time(bed.switch(iccid, ProfileState::Enabled)).await
    }

    async fn delete(bed: &Bed, iccid: &str) -> Self {
        let deleted = async { bed.ended(bed.client.delete(EUICC, iccid, true).await).await };
        Self::in_time(deleted).await
    }

    async fn in_time(operation: impl Future<Output = Operation>) -> Self {
        let ended = timeout(DEADLINE, operation).await;
        Self(ended.expect("it ends in time"))
    }

    fn is_done(&self) -> bool {
        self.0.state == State::Succeeded
    }

    fn problem(&self) -> Option<&Problem> {
        self.0.problem.as_ref()
    }

    /// As it stands in a table.
    fn cell(&self) -> String {
        let result = self.0.result.as_ref();
        let warns = result.is_some_and(|result| !result.warnings.is_empty());
        match self.problem() {
            None if warns => "yes, with a warning".to_owned(),
            None => "yes".to_owned(),
            Some(problem) => format!("`{}`", problem.code.name()),
        }
    }
}

/// Compares what is below a heading of the page with what was found, or writes it there.
fn must_be_told(heading: &str, found: &str) {
    let page = fs::read_to_string(PAGE).unwrap();
    let heading = format!("\n### {heading}\n");
    let section = page.find(&heading).expect("there is the heading");
    let table = section + page[section..].find("\n|").expect("there is a table") + 1;
    let (before, rest) = page.split_at(table);
    let (told, after) = rest.split_at(rest.find("\n### ").unwrap_or(rest.len()));
    let found = format!("{found}\n");
    if env::var_os("UPDATE_TABLES").is_some() {
        fs::write(PAGE, format!("{before}{found}{after}")).unwrap();
    } else {
        assert_eq!(told, found, "UPDATE_TABLES=1 writes it into the page");
    }
}
