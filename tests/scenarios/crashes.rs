//! The daemon dies, and the next one has to find out what happened.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;
use std::{fs, io};

use es9_client::{Options, Roots};
use lpad::api::body::Operation;
use lpad::client::{Client, ClientError};
use lpad::config::EuiccConfig;
use lpad::job::{Consent, OperationId};
use lpad::memory::operations::State;
use lpad::memory::snapshot::Availability;
use lpad::modem::{Device, OpenPort};
use lpad::problem::Code;
use lpad::runtime::clock::Clock;
use lpad::runtime::interfaces::Interfaces;
use lpad::runtime::uplink::Uplink;
use lpad::{Daemon, DaemonError, Parts};
use lpad_tests::bed::{Bed, EUICC, accepting, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_common::pki::{Pki, PkiOptions};
use rsp_servers::smdp::{OrderId, OrderRequest, OrderState};
use rustix::process::{Pid, Signal, kill_process};
use sim_card_emulator::modem::{Moment, Pattern};
use tempfile::TempDir;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, timeout};

use crate::api::{read, request};
use crate::truth::{Package, Story, Task};

/// A port whose opening is a mistake in the program.
struct Mistake;

impl OpenPort for Mistake {
    type Port = DuplexStream;

    async fn open(&mut self) -> io::Result<Device<DuplexStream>> {
        panic!("a mistake in lpad");
    }
}

#[tokio::test]
async fn a_daemon_that_has_lost_an_engine_to_a_mistake_does_not_go_on_without_it() {
    let mut bed = Bed::start().await;
    bed.stop().await;
    let parts = Parts {
        ports: |_: &EuiccConfig| Mistake,
        connect: bed.bench.network(),
        interfaces: Interfaces::system(),
        uplink: Uplink::system(),
        roots: Roots::empty(),
        es9: Options::default(),
        clock: Clock::system(),
        listener: None,
    };
    let mut daemon = Daemon::start(bed.configuration().clone(), parts).unwrap();
    let failed = timeout(Duration::from_secs(60), daemon.failed()).await;
    assert!(matches!(failed, Ok(DaemonError::Failed(Some(_)))));
    daemon.shutdown().await;
}

/// Kills the daemon at the `nth` APDU of what it does; false when there are fewer.
async fn kill_at(pki: &Pki, task: Task, nth: u32, moment: Moment) -> bool {
    // Only seen when the test fails.
    eprintln!("killed at APDU {nth}, {moment:?}");
    let mut story = Story::prepare(pki, task).await;
    let done = newest(&story.bed).await;
    let mut hold = story.bed.bench.modem.hold(Pattern::ANY, nth, moment);
    tokio::select! {
        biased;
        () = hold.reached() => {}
        operation = story.run() => {
            succeeded(&operation);
            return false;
        }
    }
    story.bed.kill().await;
    hold.release();
    story.bed.resume().await;
    story.bed.settle().await;
    // What was done before is told as well.
    let operation = newest(&story.bed)
        .await
        .filter(|one| Some(one.id) > done.map(|one| one.id));
    story.must_end_well(operation).await;
    true
}

/// The newest operation, when it has ended: one that is resumed goes on after the card was read.
pub(crate) async fn newest(bed: &Bed) -> Option<Operation> {
    let operations = bed.client.operations().await.unwrap();
    let newest = operations.into_iter().max_by_key(|operation| operation.id);
    Some(bed.ended(Ok(newest?)).await)
}

async fn wherever_the_daemon_is_killed(task: Task, least: u32) {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    for moment in [Moment::BeforeExecution, Moment::BeforeAnswer] {
        let mut nth = 1;
        while kill_at(&pki, task, nth, moment).await {
            nth += 1;
        }
        assert!(nth > least, "{nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn wherever_a_download_is_killed_the_next_daemon_tells_the_truth() {
    wherever_the_daemon_is_killed(Task::Download, 40).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_a_switch_is_killed_the_next_daemon_tells_the_truth() {
    wherever_the_daemon_is_killed(Task::Switch, 10).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_a_deletion_is_killed_the_next_daemon_tells_the_truth() {
    wherever_the_daemon_is_killed(Task::Delete, 10).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_a_first_boot_is_killed_the_next_daemon_brings_it_to_its_end() {
    wherever_the_daemon_is_killed(Task::FirstBoot, 40).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_a_download_is_told_to_end_the_daemon_ends_in_time_and_closes_its_channel() {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    for nth in 1.. {
        // Only seen when the test fails.
        eprintln!("told to end at APDU {nth}");
        let mut story = Story::prepare(&pki, Task::Download).await;
        let modem = story.bed.bench.modem.clone();
        let mut hold = modem.hold(Pattern::ANY, nth, Moment::BeforeAnswer);
        let has_ended = tokio::select! {
            biased;
            () = hold.reached() => false,
            _ = story.run() => true,
        };
        if has_ended {
            assert!(nth > 40, "{nth}");
            break;
        }
        let begin = Instant::now();
        tokio::join!(story.bed.stop(), async { hold.release() });
        assert!(begin.elapsed() < Duration::from_secs(60), "{begin:?}");
        assert_eq!(story.bed.bench.card.open_channels(), [0; 0]);
        story.bed.resume().await;
        story.bed.settle().await;
        let operation = newest(&story.bed).await;
        story.must_end_well(operation).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_killed_again_while_it_finds_out_leaves_it_to_the_next_one() {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    let package = Package::of(&mut Bed::start().await).await;
    for nth in 1.. {
        eprintln!("killed again at APDU {nth}");
        let mut story = Story::prepare(&pki, Task::Download).await;
        let modem = story.bed.bench.modem.clone();
        let mut hold = modem.hold(Pattern::LAST_BLOCK, package.last, Moment::BeforeAnswer);
        tokio::select! {
            () = hold.reached() => {}
            operation = story.run() => unreachable!("{operation:?}"),
        }
        story.bed.kill().await;
        hold.release();
        let mut hold = modem.hold(Pattern::ANY, nth, Moment::BeforeAnswer);
        story.bed.boot();
        let recovered = async {
            let smdp = &story.bed.bench.smdp;
            smdp.wait_until(|smdp| smdp.notifications().len() == 2)
                .await;
            story.bed.settle().await;
        };
        let was_killed = tokio::select! {
            biased;
            () = hold.reached() => true,
            () = recovered => false,
        };
        if was_killed {
            story.bed.kill().await;
            hold.release();
            story.bed.resume().await;
        }
        modem.clear_faults();
        story.bed.settle().await;
        let operation = newest(&story.bed).await;
        story.must_end_well(operation).await;
        if !was_killed {
            assert!(nth > 20, "{nth}");
            break;
        }
    }
}

/// The daemon as a process of its own, on a pseudo terminal and the loopback.
pub(crate) struct Gateway {
    pub(crate) bench: Bench,
    client: Client,
    daemon: Child,
    configuration: PathBuf,
    // Dropped last: the daemon's files are in it.
    _folder: TempDir,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let (bench, folder) = (Bench::new(), tempfile::tempdir().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        bench.serve(folder.path(), None, listener).unwrap();
        let configuration = bench.configure(folder.path(), address, "never").unwrap();
        let client = Client::new(folder.path().join("lpad.sock"));
        let daemon = lpad(&configuration).spawn().unwrap();
        let gateway = Self {
            bench,
            client,
            daemon,
            configuration,
            _folder: folder,
        };
        gateway.is_ready().await;
        gateway
    }

    async fn start_again(&mut self) {
        self.daemon = lpad(&self.configuration).spawn().unwrap();
        self.is_ready().await;
    }

    async fn is_ready(&self) {
        self.until(async || {
            let health = self.client.health().await;
            health.is_ok_and(|health| health.status == "ok")
        })
        .await;
    }

    /// Waits for something in another process, which does not tell of it.
    async fn until(&self, is_so: impl AsyncFn() -> bool) {
        let asked = async {
            let mut ticks = interval(Duration::from_millis(10));
            while !is_so().await {
                ticks.tick().await;
            }
        };
        timeout(PATIENCE, asked).await.expect("it comes about");
    }

    async fn kill(&mut self) {
        self.daemon.kill().await.unwrap();
    }

    /// Starts the daemon again with a socket that systemd would have kept.
    async fn start_again_on(&mut self, socket: UnixListener) {
        let (demo, configuration) = (env!("CARGO_BIN_EXE_demo"), self.configuration.display());
        let script = format!(
            "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec '{demo}' lpad '{configuration}'"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(OwnedFd::from(socket));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.daemon = command.kill_on_drop(true).spawn().unwrap();
        self.is_ready().await;
    }

    /// Sends SIGTERM and waits for the end.
    async fn terminate(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.daemon.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
        let ended = timeout(PATIENCE, self.daemon.wait()).await;
        ended.expect("it ends").unwrap()
    }

    pub(crate) fn order(&self, matching_id: &str, number: u32) -> OrderId {
        let profile =
            rsp_servers::profile::Profile::builder(rsp_servers::profile::Iccid::nth(number))
                .size(3000)
                .build();
        let request = OrderRequest::with_matching_id(profile, matching_id);
        self.bench.smdp.create_order(request)
    }

    async fn begin(&self, matching_id: &str) -> OperationId {
        let request = accepting(&format!("1${HOST_NAME}${matching_id}"));
        self.client.download(EUICC, &request).await.unwrap().id
    }

    pub(crate) async fn download(&self, matching_id: &str) -> Operation {
        let id = self.begin(matching_id).await;
        self.client.wait(id).await.unwrap()
    }

    /// The most memory the daemon has had so far, in kilobytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.daemon.id().unwrap());
        let status = fs::read_to_string(status).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.unwrap().trim().trim_end_matches(" kB");
        peak.parse().unwrap()
    }

    async fn lpactl(&self, arguments: &[&str]) -> Output {
        let socket = self.client.socket().to_str().unwrap();
        Command::new(env!("CARGO_BIN_EXE_demo"))
            .args(["lpactl", "--socket", socket])
            .args(arguments)
            .output()
            .await
            .unwrap()
    }

    /// No channel is open, no notification waits, and the next download works.
    pub(crate) async fn must_be_sound(&self) {
        let card = &self.bench.card;
        let clean = || card.open_channels().is_empty() && card.memory().notifications.is_empty();
        self.until(async || clean()).await;
        self.order("SOUND", 99);
        let operation = self.download("SOUND").await;
        succeeded(&operation);
        assert!(clean());
    }
}

pub(crate) fn lpad(configuration: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.arg("lpad").arg(configuration);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).kill_on_drop(true);
    command
}

/// Kills the daemon with SIGKILL at a block of the package, and starts it again.
async fn kill_in_package(nth: impl FnOnce(Package) -> u32, moment: Moment) -> (Gateway, OrderId) {
    let package = Package::of(&mut Bed::start().await).await;
    let mut gateway = Gateway::start().await;
    let order = gateway.order("M-1", 1);
    let modem = gateway.bench.modem.clone();
    let mut hold = modem.hold(Pattern::LAST_BLOCK, nth(package), moment);
    gateway.begin("M-1").await;
    hold.reached().await;
    assert_eq!(gateway.bench.card.open_channels().len(), 1);
    gateway.kill().await;
    hold.release();
    gateway.start_again().await;
    let card = gateway.bench.card.clone();
    gateway
        .until(async || card.open_channels().is_empty() && card.memory().notifications.is_empty())
        .await;
    (gateway, order)
}

#[tokio::test]
async fn a_daemon_killed_in_the_middle_of_the_package_says_that_nothing_was_installed() {
    for moment in [Moment::BeforeExecution, Moment::BeforeAnswer] {
        let (gateway, order) = kill_in_package(Package::middle, moment).await;
        assert!(gateway.client.profiles(EUICC).await.unwrap().is_empty());
        let operations = gateway.client.operations().await.unwrap();
        assert_eq!(operations[0].state, State::Failed);
        let problem = operations[0].problem.clone().unwrap();
        assert!(
            [Code::Interrupted, Code::InstallationFailed].contains(&problem.code),
            "{problem:?}"
        );
        assert!(
            problem.next_step.starts_with("Download again"),
            "{problem:?}"
        );
        let told = gateway.lpactl(&["operation", "list"]).await;
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.contains("failed"), "{told}");
        let again = gateway.download("M-1").await;
        succeeded(&again);
        let state = gateway.bench.smdp.order(order).unwrap().state();
        assert_eq!(state, OrderState::Installed);
        gateway.must_be_sound().await;
    }
}

#[tokio::test]
async fn a_daemon_killed_before_it_heard_of_the_installation_finds_the_profile() {
    let (gateway, order) = kill_in_package(|package| package.last, Moment::BeforeAnswer).await;
    let state = gateway.bench.smdp.order(order).unwrap().state();
    assert_eq!(state, OrderState::Installed);
    let profiles = gateway.client.profiles(EUICC).await.unwrap();
    let operations = gateway.client.operations().await.unwrap();
    assert_eq!(
        operations[0].state,
        State::Succeeded,
        "{:?}",
        operations[0].problem
    );
    let result = operations[0].result.clone().unwrap();
    assert_eq!(result.iccid.as_deref(), Some(&*profiles[0].iccid));
    let told = gateway.lpactl(&["profile", "list"]).await;
    assert!(told.status.success());
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains(&profiles[0].iccid), "{told}");
    gateway.must_be_sound().await;
}

#[tokio::test]
async fn sigterm_in_the_middle_of_the_package_lets_the_installation_end() {
    let package = Package::of(&mut Bed::start().await).await;
    let mut gateway = Gateway::start().await;
    let order = gateway.order("M-1", 1);
    let modem = gateway.bench.modem.clone();
    let mut hold = modem.hold(Pattern::LAST_BLOCK, package.middle(), Moment::BeforeAnswer);
    gateway.begin("M-1").await;
    hold.reached().await;
    let (status, ()) = tokio::join!(gateway.terminate(), async { hold.release() });
    assert_eq!(status.code(), Some(0));
    assert!(gateway.bench.card.open_channels().is_empty());
    assert!(!gateway.client.socket().exists());
    let state = gateway.bench.smdp.order(order).unwrap().state();
    assert_eq!(state, OrderState::Installed);
    gateway.start_again().await;
    assert_eq!(gateway.client.profiles(EUICC).await.unwrap().len(), 1);
    gateway.must_be_sound().await;
}

#[tokio::test]
async fn sigterm_while_a_person_is_asked_ends_the_download_and_keeps_the_order() {
    let mut gateway = Gateway::start().await;
    gateway.order("M-1", 1);
    let mut request = accepting(&format!("1${HOST_NAME}$M-1"));
    request.consent = Consent::Ask;
    let id = gateway.client.download(EUICC, &request).await.unwrap().id;
    let client = gateway.client.clone();
    gateway
        .until(async || {
            let operation = client.operation(id, 0).await.unwrap();
            operation.state == State::AwaitingAnswer
        })
        .await;
    assert_eq!(gateway.terminate().await.code(), Some(0));
    assert!(gateway.bench.card.open_channels().is_empty());
    gateway.start_again().await;
    let again = gateway.download("M-1").await;
    succeeded(&again);
    gateway.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_is_stuck_does_not_keep_the_daemon_from_ending() {
    let mut bed = Bed::start().await;
    let package = Package::of(&mut bed).await;
    bed.order("M-1");
    let mut hold = bed.bench.modem.hold(
        Pattern::LAST_BLOCK,
        package.middle(),
        Moment::BeforeExecution,
    );
    let request = accepting(&format!("1${HOST_NAME}$M-1"));
    bed.client.download(EUICC, &request).await.unwrap();
    hold.reached().await;
    let begin = Instant::now();
    bed.stop().await;
    assert!(
        begin.elapsed() < Duration::from_secs(60),
        "{:?}",
        begin.elapsed()
    );
    hold.release();
    bed.resume().await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_journal_with_a_torn_end_is_read_up_to_there() {
    let mut bed = Bed::start().await;
    let package = Package::of(&mut bed).await;
    bed.order("M-1");
    let mut hold = bed
        .bench
        .modem
        .hold(Pattern::LAST_BLOCK, package.last, Moment::BeforeAnswer);
    let request = accepting(&format!("1${HOST_NAME}$M-1"));
    let id = bed.client.download(EUICC, &request).await.unwrap().id;
    hold.reached().await;
    bed.kill().await;
    hold.release();
    let journal = bed.folder().join("state/journal.ndjson");
    let mut content = fs::read(&journal).unwrap();
    content.extend_from_slice(b"{\"crc\":\"0badc0de\",\"len\":57,\"reco");
    fs::write(&journal, content).unwrap();
    bed.resume().await;
    let operation = bed.client.operation(id, 0).await.unwrap();
    succeeded(&operation);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_journal_costs_the_history_and_nothing_else() {
    let mut bed = Bed::start().await;
    let package = Package::of(&mut bed).await;
    let order = bed.order("M-1");
    let mut hold = bed
        .bench
        .modem
        .hold(Pattern::LAST_BLOCK, package.last, Moment::BeforeAnswer);
    let request = accepting(&format!("1${HOST_NAME}$M-1"));
    bed.client.download(EUICC, &request).await.unwrap();
    hold.reached().await;
    bed.kill().await;
    hold.release();
    fs::remove_dir_all(bed.folder().join("state")).unwrap();
    bed.resume().await;
    bed.bench
        .smdp
        .wait_until(|smdp| smdp.order(order).unwrap().state() == OrderState::Installed)
        .await;
    assert_eq!(bed.client.profiles(EUICC).await.unwrap().len(), 2);
    // That channel 1 was left open is forgotten; it is closed when no other is free.
    for _ in 0..3 {
        bed.install().await;
    }
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new();
    let address = "127.0.0.1:1".parse().unwrap();
    let configuration = bench.configure(folder.path(), address, "never").unwrap();
    let state = folder.path().join("state");
    fs::write(&state, "not a folder").unwrap();
    let ended = lpad(&configuration).stderr(Stdio::piped()).output().await;
    let ended = ended.unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8(ended.stderr).unwrap();
    let words = format!(
        "lpad: [state] directory {}: it is a file, not a folder",
        state.display()
    );
    assert!(said.contains(&words), "{said}");
}

#[tokio::test]
async fn what_a_client_asked_that_gave_up_before_the_daemon_came_is_not_done() {
    let mut gateway = Gateway::start().await;
    assert_eq!(gateway.terminate().await.code(), Some(0));
    let path = gateway.client.socket().to_owned();
    let socket = UnixListener::bind(&path).unwrap();
    let ask = async |address: &str| {
        let body = format!("{{\"default_smdp\": \"{address}\"}}");
        let text = request("PUT", "/v1/euiccs/default/addresses", &[], &body);
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    };
    drop(ask("gave-up.example.com").await);
    let waits = ask("waits.example.com").await;
    // It says no more, and listens.
    let mut listens = ask("listens.example.com").await;
    listens.shutdown().await.unwrap();
    let mut gone = ask("gone.example.com").await;
    gone.shutdown().await.unwrap();
    drop(gone);
    gateway.start_again_on(socket).await;
    for stream in [waits, listens] {
        let reply = read(stream).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        let id = reply.json["id"].as_str().unwrap().parse().unwrap();
        succeeded(&gateway.client.wait(id).await.unwrap());
    }
    assert_eq!(gateway.client.operations().await.unwrap().len(), 2);
    let addresses = gateway.client.addresses(EUICC).await.unwrap();
    assert_eq!(
        addresses.default_smdp.as_deref(),
        Some("listens.example.com")
    );
    // A socket that is not its own stays.
    assert_eq!(gateway.terminate().await.code(), Some(0));
    assert!(path.exists());
}

#[tokio::test]
async fn without_room_for_the_journal_nothing_is_begun_on_the_card() {
    let mut gateway = Gateway::start().await;
    gateway.order("M-1", 1);
    assert_eq!(gateway.terminate().await.code(), Some(0));
    // No file may grow any more: what a full disk looks like to the daemon.
    let demo = env!("CARGO_BIN_EXE_demo");
    let configuration = gateway.configuration.display();
    let script = format!("ulimit -f 0; exec '{demo}' lpad '{configuration}'");
    gateway.daemon = Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    gateway
        .until(async || {
            let euicc = gateway.client.euicc(EUICC).await;
            euicc.is_ok_and(|euicc| euicc.state == Availability::Ready)
        })
        .await;
    let health = gateway.client.health().await.unwrap();
    assert_eq!(health.status, "degraded");
    let request = accepting(&format!("1${HOST_NAME}$M-1"));
    let refused = gateway.client.download(EUICC, &request).await.unwrap_err();
    let ClientError::Problem(problem) = refused else {
        panic!("{refused}");
    };
    assert_eq!(problem.code, Code::StateUnwritable);
    assert_eq!(health.problems[0].code, problem.code);
    assert!(problem.detail.contains("File too large"), "{problem}");
    assert_eq!(
        problem.next_step,
        "Check free space and permissions of the state folder."
    );
    assert!(gateway.client.operations().await.unwrap().is_empty());
    assert!(gateway.bench.card.open_channels().is_empty());
    assert_eq!(gateway.bench.card.memory().profiles.len(), 0);
    gateway.terminate().await;
    gateway.start_again().await;
    let again = gateway.download("M-1").await;
    succeeded(&again);
    gateway.must_be_sound().await;
}

/// How long something in another process may take.
const PATIENCE: Duration = Duration::from_secs(60);
