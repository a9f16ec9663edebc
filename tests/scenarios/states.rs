//! What earlier versions left on disk is opened by this one, which tells the same of it.
//!
//! `tests/states` has a folder for each release, and one for the builds before the first one, made once
//! by the programs of that release and never changed: `cargo test -p lpad-tests --test scenarios -- --ignored states::make`.

use std::fs;
use std::path::{Path, PathBuf};

use lpad::api::body::Operation;
use lpad::config::BootstrapWhen;
use lpad::job::OperationId;
use lpad::memory::snapshot::{FirstProfileState, ProfileState};
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, accepting, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_common::pki::{Pki, PkiOptions};
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::{Calls, Config, Fault, Function, OrderRequest};
use serde_json::{Value, json};
use sim_card_emulator::modem::{Moment, Pattern};
use sim_card_emulator::state_folder::StateFolder;
use tempfile::TempDir;

use crate::state_folder::{refused, told_of};

/// What a daemon had gone through when it was killed.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// Everything had ended; the last notifications wait.
    Ended,
    /// The answer to a deletion was not seen.
    InDoubt,
    /// A part of a package was sent.
    InAPackage,
    /// The order of the first boot was given up.
    GivenUp,
}

impl Life {
    const ALL: [Self; 4] = [Self::Ended, Self::InDoubt, Self::InAPackage, Self::GivenUp];

    fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::InDoubt => "in-doubt",
            Self::InAPackage => "in-a-package",
            Self::GivenUp => "given-up",
        }
    }

    /// Leads a daemon through it, and kills it.
    async fn lead(self, bed: &mut Bed) {
        let smdp = bed.bench.smdp.clone();
        match self {
            Self::Ended => {
                let first = bed.install().await;
                succeeded(&bed.switch(&first, ProfileState::Enabled).await);
                let renamed = bed.client.rename(EUICC, &first, "Uplink").await;
                succeeded(&bed.ended(renamed).await);
                let second = bed.install().await;
                bed.fail("UNHEARD-OF").await;
                refuse_notifications(bed);
                succeeded(
                    &bed.ended(bed.client.delete(EUICC, &second, true).await)
                        .await,
                );
                succeeded(&bed.switch(&first, ProfileState::Disabled).await);
            }
            Self::InDoubt => {
                let first = bed.install().await;
                refuse_notifications(bed);
                // In its session GetEID is first.
                let modem = bed.bench.modem.clone();
                let mut hold = modem.hold(Pattern::LAST_BLOCK, 2, Moment::BeforeAnswer);
                bed.client.delete(EUICC, &first, true).await.unwrap();
                hold.reached().await;
                bed.kill().await;
                hold.release();
            }
            Self::InAPackage => {
                refuse_notifications(bed);
                bed.order("M-1");
                let request = accepting(&format!("1${HOST_NAME}$M-1"));
                bed.client.download(EUICC, &request).await.unwrap();
                smdp.wait_until(|smdp| {
                    smdp.counters().requests(Function::GetBoundProfilePackage) == 1
                })
                .await;
                let modem = bed.bench.modem.clone();
                let mut hold = modem.hold(Pattern::ANY, 5, Moment::BeforeAnswer);
                hold.reached().await;
                bed.kill().await;
                hold.release();
            }
            Self::GivenUp => {
                bed.stop().await;
                self.configure(bed);
                bed.resume().await;
                bed.euicc_when(EUICC, |euicc| {
                    let first_profile = euicc.first_profile.as_ref();
                    first_profile.is_some_and(|known| known.state == FirstProfileState::Stopped)
                })
                .await;
            }
        }
        bed.kill().await;
    }

    /// The configuration it was led with.
    fn configure(self, bed: &mut Bed) {
        if let Self::GivenUp = self {
            let code = bed.folder().join("code");
            fs::write(&code, format!("LPA:1${HOST_NAME}$UNHEARD-OF\n")).unwrap();
            let bootstrap = &mut bed.configuration().euiccs[0].bootstrap;
            bootstrap.when = BootstrapWhen::Empty;
            bootstrap.jitter_s = 0;
            bootstrap.default_smdp = None;
            bootstrap.activation_code_file = Some(code);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_every_release_left_is_opened_and_told_as_then() {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    for release in releases() {
        for life in Life::ALL {
            let state = release.join(life.name());
            let expected = fs::read_to_string(state.join("told.json")).unwrap();
            let expected: Value = serde_json::from_str(&expected).unwrap();
            let opened = open(&pki, &state, life, |_| {}).await;
            assert_eq!(told(&opened.bed).await, expected, "{}", state.display());
            opened.must_go_on(life).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_record_of_every_release_may_be_torn() {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    for release in releases() {
        for life in Life::ALL {
            let state = release.join(life.name());
            let tear = |journal: &mut Vec<u8>| journal.truncate(journal.len() - 7);
            let opened = open(&pki, &state, life, tear).await;
            let health = opened.bed.client.health().await.unwrap();
            assert_eq!(health.status, "ok", "{}", state.display());
            assert!(health.problems.is_empty(), "{:?}", health.problems);
            opened.must_go_on(life).await;
        }
    }
}

#[tokio::test]
async fn of_what_builds_before_the_first_release_wrote_nothing_is_claimed() {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    let state = states().join("before-0.1.0/ended");
    let mut opened = open(&pki, &state, Life::Ended, |_| {}).await;
    let bed = &mut opened.bed;
    let ids = [OperationId(1), OperationId(5)];
    let told = told_of(bed, &ids).await;
    let [done, failed] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(done.operation.result.as_ref().unwrap().details_unknown);
    assert_eq!(done.code, 0);
    assert_eq!(done.outcome, "It succeeded; more is not known any more.\n");
    let problem = failed.operation.problem.as_ref().unwrap();
    assert_eq!(problem.code, Code::FailedEarlier);
    let detail = "This failed before lpad was restarted; its reason was not kept.";
    assert_eq!(problem.detail, detail);
    assert!(failed.shown.contains(detail), "{}", failed.shown);
    for told in [done, failed] {
        let Operation {
            created_at_s,
            finished_at_s,
            ..
        } = told.operation;
        assert_eq!(finished_at_s, Some(created_at_s));
    }
    bed.kill().await;
    bed.resume().await;
    assert_eq!(told_of(bed, &ids).await, told);
}

#[tokio::test]
async fn a_journal_of_a_later_format_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let journal = concat!(
        r#"{"crc":"7a94eebf","len":47,"record":{"type":"daemon-started","number":3,"format":2}}"#,
        "\n"
    );
    fs::write(state.join("journal.ndjson"), journal).unwrap();
    let said = refused(folder.path(), 1, |configuration| configuration).await;
    assert!(said.contains("a later lpad wrote the journal"), "{said}");
    assert!(said.contains("install that lpad again"), "{said}");
    assert_eq!(
        fs::read_to_string(state.join("journal.ndjson")).unwrap(),
        journal
    );
}

/// Makes the states of the version at hand.
#[tokio::test(start_paused = true)]
#[ignore = "once for each release, by hand"]
async fn make() {
    let release = states().join(env!("CARGO_PKG_VERSION"));
    fs::create_dir(&release).expect("a release has its states once");
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    for life in Life::ALL {
        let state = release.join(life.name());
        let Opened { mut bed, server } = new_bed(&pki, |_| {}).await;
        life.lead(&mut bed).await;
        fs::create_dir(&state).unwrap();
        fs::copy(journal_of(&bed), state.join("journal.ndjson")).unwrap();
        fs::copy(server.path().join("orders.json"), state.join("orders.json")).unwrap();
        let mut card = StateFolder::open(&state.join("card")).unwrap();
        card.save(&bed.bench.card.memory()).unwrap();
        refuse_notifications(&bed);
        bed.resume().await;
        let told = serde_json::to_string_pretty(&told(&bed).await).unwrap();
        fs::write(state.join("told.json"), told + "\n").unwrap();
    }
}

/// A daemon, and the folder of its SM-DP+.
struct Opened {
    bed: Bed,
    server: TempDir,
}

impl Opened {
    /// What was left does not keep the daemon from work, and numbers are not given out again.
    async fn must_go_on(mut self, life: Life) {
        let bed = &mut self.bed;
        bed.bench.smdp.clear_faults();
        let known = bed.client.operations().await.unwrap();
        let highest = known.iter().map(|operation| operation.id).max();
        let profile = Profile::builder(Iccid::nth(77)).build();
        let order = OrderRequest::with_matching_id(profile, "GO-ON");
        bed.bench.smdp.create_order(order);
        let operation = bed.download_id("GO-ON").await;
        succeeded(&operation);
        assert!(Some(operation.id) > highest, "{life:?}");
    }
}

/// A daemon whose SM-DP+ keeps its orders, in a folder that is filled before.
async fn new_bed(pki: &Pki, fill: impl FnOnce(&Path)) -> Opened {
    let server = tempfile::tempdir().unwrap();
    fill(server.path());
    let mut config = Config::new(HOST_NAME, pki.clone());
    config.state_folder = Some(server.path().to_owned());
    let bed = Bed::with(Bench::with_smdp(config), "never").await;
    Opened { bed, server }
}

/// A daemon, card and SM-DP+ that go on with what is in a folder; the journal is changed before.
async fn open(pki: &Pki, state: &Path, life: Life, change: impl FnOnce(&mut Vec<u8>)) -> Opened {
    let mut opened = new_bed(pki, |server| {
        fs::copy(state.join("orders.json"), server.join("orders.json")).unwrap();
    })
    .await;
    let bed = &mut opened.bed;
    bed.kill().await;
    let mut journal = fs::read(state.join("journal.ndjson")).unwrap();
    change(&mut journal);
    fs::write(journal_of(bed), journal).unwrap();
    let card = bed.folder().join("card");
    copy_all(&state.join("card"), &card);
    let memory = StateFolder::open(&card).unwrap().load().unwrap();
    bed.bench.card.restore(memory);
    refuse_notifications(bed);
    life.configure(bed);
    bed.resume().await;
    opened
}

/// What the daemon, the card and the server tell that does not depend on when they are asked.
async fn told(bed: &Bed) -> Value {
    let mut operations = Vec::new();
    for operation in bed.client.operations().await.unwrap() {
        let ended = bed.client.wait(operation.id).await.unwrap();
        operations.push(outcome(&ended));
    }
    let euicc = bed.client.euicc(EUICC).await.unwrap();
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    let profiles = profiles
        .iter()
        .map(|profile| json!([profile.iccid, profile.state, profile.nickname]));
    let notifications = bed.client.notifications(EUICC).await.unwrap();
    let notifications = notifications
        .iter()
        .map(|waiting| json!([waiting.sequence_number, waiting.event, waiting.iccid]));
    let first_profile = euicc
        .first_profile
        .map(|known| json!({"state": known.state, "last": known.last}));
    let orders = bed.bench.smdp.orders();
    let orders = orders
        .iter()
        .map(|order| json!([order.matching_id(), format!("{:?}", order.state())]));
    json!({
        "operations": operations,
        "profiles": profiles.collect::<Vec<_>>(),
        "notifications": notifications.collect::<Vec<_>>(),
        "first_profile": first_profile,
        "orders": orders.collect::<Vec<_>>(),
    })
}

fn outcome(operation: &Operation) -> Value {
    assert!(operation.finished_at_s >= Some(operation.created_at_s));
    // Its words may become better ones.
    let problem = operation.problem.as_ref();
    let problem = problem.map(|told| json!([told.code, told.retryable, told.code_consumed]));
    json!({
        "id": operation.id,
        "result": operation.result,
        "kind": operation.kind,
        "state": operation.state,
        "problem": problem,
        "created_at_s": operation.created_at_s,
    })
}

fn refuse_notifications(bed: &Bed) {
    let refused = Fault::HttpStatus(503);
    let smdp = &bed.bench.smdp;
    smdp.set_fault(Function::HandleNotification, Calls::Every, refused);
}

fn journal_of(bed: &Bed) -> PathBuf {
    bed.folder().join("state/journal.ndjson")
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        match from.is_dir() {
            true => copy_all(&from, &to),
            false => drop(fs::copy(from, to).unwrap()),
        }
    }
}

/// The folders of all releases.
fn releases() -> Vec<PathBuf> {
    let entries = fs::read_dir(states()).unwrap();
    let releases: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!releases.is_empty());
    releases
}

fn states() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("states")
}
