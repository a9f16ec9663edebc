//! The daemon on a card in a PC/SC reader: the real `pcscd`, with vsmartcard's virtual reader.
//!
//! They need Debian's packages `pcscd` and `vsmartcard-vpcd`, and the right to make a mount namespace:
//! there each service has a folder `/run/pcscd` of its own, beside any other that runs. And they need a
//! daemon with the feature `pcsc`. `.ci/run pcsc` has all that, or says what is missing.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lpad::api::body::{Euicc, Operation};
use lpad::client::Client;
use lpad::job::{Answer, Decision};
use lpad::memory::operations::State;
use lpad::memory::snapshot::{Availability, ProfileState};
use lpad::problem::Code;
use lpad_tests::bed::{EUICC, accepting, asking, set_state, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::{OrderRequest, OrderState};
use rustix::process::{Pid, Signal, kill_process};
use sim_card_emulator::card::PowerCut;
use sim_card_emulator::modem::Card as _;
use sim_card_emulator::vpcd;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

/// A machine with a reader and a daemon.
struct Machine {
    bench: Bench,
    client: Client,
    reader: SocketAddr,
    card: Option<JoinHandle<()>>,
    pcscd: Option<Child>,
    configuration: PathBuf,
    daemon: Child,
    // Dropped last: everything's files are in it.
    folder: TempDir,
}

impl Machine {
    /// A card is in the reader, and the daemon has read it.
    async fn start() -> Self {
        let mut machine = Self::without_service().await;
        machine.insert();
        machine.start_service(true).await;
        machine.is_usable().await;
        machine
    }

    /// Nobody serves the reader, in which there is no card.
    async fn without_service() -> Self {
        let (bench, folder) = (Bench::new(), tempfile::tempdir().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let smdp = listener.local_addr().unwrap();
        let server = bench.smdp.clone();
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
        let configuration = bench.configure(folder.path(), smdp, "never").unwrap();
        let text = fs::read_to_string(&configuration).unwrap();
        let port = format!("port = \"{}/modem\"", folder.path().display());
        assert!(text.contains(&port));
        let text = text.replace(&port, "port = \"pcsc:reader 00 00\"");
        // The story of a service that hangs waits for it.
        let text = format!("{text}[euicc.modem]\nopen_s = 5\n");
        fs::write(&configuration, text).unwrap();
        Self {
            client: Client::new(folder.path().join("lpad.sock")),
            reader: two_free_ports(),
            card: None,
            pcscd: None,
            daemon: lpad(&configuration, folder.path()),
            bench,
            configuration,
            folder,
        }
    }

    /// Starts the service, with a virtual reader or with none.
    async fn start_service(&mut self, has_reader: bool) {
        let (run, readers) = (
            self.folder.path().join("pcscd"),
            self.folder.path().join("readers"),
        );
        fs::create_dir_all(&run).unwrap();
        fs::create_dir_all(&readers).unwrap();
        let port = format!("{:#06x}", self.reader.port());
        let reader = format!(
            "FRIENDLYNAME \"lpad reader\"\nDEVICENAME /dev/null:{port}\nLIBPATH {DRIVER}\n\
             CHANNELID {port}\n"
        );
        let reader = if has_reader { &*reader } else { "" };
        fs::write(readers.join("vpcd"), reader).unwrap();
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs run /run && mkdir /run/pcscd && mount --bind \"$1\" /run/pcscd && \
                      exec pcscd --foreground --config \"$2\" $(pcscd --help | grep -o -e --disable-polkit)";
        command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(&run).arg(&readers);
        command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
        command.stdin(Stdio::null()).kill_on_drop(true);
        let mut pcscd = command.spawn().expect("unshare can be started");
        let socket = socket(self.folder.path());
        let is_up = until(async || match pcscd.try_wait() {
            Ok(None) => UnixStream::connect(&socket).await.ok().map(|_| true),
            _ => Some(false),
        });
        let needed = "it needs the packages pcscd and vsmartcard-vpcd, and a mount namespace";
        assert!(is_up.await, "pcscd has ended: {needed}");
        self.pcscd = Some(pcscd);
    }

    async fn end_service(&mut self) {
        self.pcscd.take().unwrap().kill().await.unwrap();
        fs::remove_dir_all(self.folder.path().join("pcscd")).unwrap();
    }

    /// Puts the card into the reader, where it stays until it is taken out, loses its power or the
    /// service ends.
    fn insert(&mut self) {
        let (mut card, reader) = (self.bench.card.clone(), self.reader);
        self.card = Some(tokio::spawn(async move {
            // The driver listens once the service has loaded it.
            let mut ticks = interval(TICK);
            let stream = loop {
                ticks.tick().await;
                if let Ok(stream) = TcpStream::connect(reader).await {
                    break stream;
                }
            };
            stream.set_nodelay(true).unwrap();
            let _ = vpcd::serve(&mut card, stream).await;
        }));
    }

    fn take_out(&mut self) {
        self.card.take().unwrap().abort();
    }

    async fn is_usable(&self) {
        self.shows(|euicc| euicc.state == Availability::Ready).await;
    }

    /// Waits until the card cannot be used for this reason, and something is said that helps.
    async fn cannot_be_used(&self, because: &str, next_step: &str) {
        let euicc = self.shows(|euicc| {
            let problem = euicc.problem.as_ref();
            problem.is_some_and(|problem| problem.detail == because)
        });
        let problem = euicc.await.problem.unwrap();
        assert_eq!(problem.code, Code::ModemUnavailable);
        assert_eq!(problem.next_step, next_step);
    }

    async fn shows(&self, what: impl Fn(&Euicc) -> bool) -> Euicc {
        until(async || {
            let euicc = self.client.euicc(EUICC).await.ok();
            euicc.filter(&what)
        })
        .await
    }

    async fn ended(&self, started: Operation) -> Operation {
        self.client.wait(started.id).await.unwrap()
    }

    async fn ends_for_want_of_the_card(&self, started: Operation) {
        let ended = self.ended(started).await;
        assert_eq!(ended.state, State::Failed);
        self.cannot_be_used(NO_CARD, PUT_IT_IN).await;
    }

    async fn switch(&self, iccid: &str, state: ProfileState) -> Operation {
        let started = set_state(&self.client, iccid, state).await.unwrap();
        self.ended(started).await
    }

    async fn profiles(&self) -> Vec<(String, ProfileState)> {
        let profiles = self.client.profiles(EUICC).await.unwrap();
        let profiles = profiles.into_iter();
        profiles
            .map(|profile| (profile.iccid, profile.state))
            .collect()
    }

    /// No channel is open, and the server has every notification.
    async fn is_clean(&self) {
        let card = &self.bench.card;
        until(async || {
            let waiting = card.memory().notifications.len();
            (card.open_channels().is_empty() && waiting == 0).then_some(())
        })
        .await;
    }

    /// An order at the server, and the code for it.
    fn order(&self) -> String {
        let profile = Profile::builder(Iccid::nth(1)).size(12_000).build();
        self.bench
            .smdp
            .create_order(OrderRequest::with_matching_id(profile, "M-1"));
        format!("1${HOST_NAME}$M-1")
    }

    async fn download(&self, code: &str) -> String {
        let started = self.client.download(EUICC, &accepting(code)).await.unwrap();
        let operation = self.ended(started).await;
        succeeded(&operation);
        let orders = self.bench.smdp.orders();
        assert_eq!(orders[0].state(), OrderState::Installed);
        operation.result.unwrap().iccid.unwrap()
    }
}

#[tokio::test]
#[ignore = "needs pcscd, a virtual reader and the feature pcsc: see .ci/run pcsc"]
async fn a_profile_is_downloaded_enabled_disabled_and_deleted_on_a_card_in_a_reader() {
    let machine = Machine::start().await;
    let iccid = machine.download(&machine.order()).await;
    let power_ups = machine.bench.card.power_ups();
    let enabled = machine.switch(&iccid, ProfileState::Enabled).await;
    succeeded(&enabled);
    let result = enabled.result.unwrap();
    assert_eq!((result.enabled, result.warnings), (Some(true), vec![]));
    // The card itself was reset: there is no modem that does so.
    assert!(machine.bench.card.power_ups() > power_ups);
    let enabled = [(iccid.clone(), ProfileState::Enabled)];
    assert_eq!(machine.profiles().await, enabled);
    succeeded(&machine.switch(&iccid, ProfileState::Disabled).await);
    let deleted = machine.client.delete(EUICC, &iccid, true).await.unwrap();
    succeeded(&machine.ended(deleted).await);
    assert_eq!(machine.profiles().await, []);
    machine.is_clean().await;
    let euicc = machine.client.euicc(EUICC).await.unwrap();
    assert_eq!((&*euicc.port, euicc.modem), ("pcsc:reader 00 00", None));
}

#[tokio::test]
#[ignore = "needs pcscd, a virtual reader and the feature pcsc: see .ci/run pcsc"]
async fn what_is_missing_at_the_start_is_told_until_it_is_there() {
    let mut machine = Machine::without_service().await;
    machine.cannot_be_used(NO_SERVICE, START_IT).await;
    machine.start_service(false).await;
    let plug_in = "Plug the reader in, or correct port under [[euicc]].";
    machine.cannot_be_used("There is no reader.", plug_in).await;
    machine.end_service().await;
    machine.start_service(true).await;
    machine.cannot_be_used(NO_CARD, PUT_IT_IN).await;
    machine.insert();
    machine.is_usable().await;
}

#[tokio::test]
#[ignore = "needs pcscd, a virtual reader and the feature pcsc: see .ci/run pcsc"]
async fn a_card_that_is_taken_out_in_the_middle_of_a_download_is_used_again_when_it_is_back() {
    let mut machine = Machine::start().await;
    let code = machine.order();
    let asked = asking(&code);
    let started = machine.client.download(EUICC, &asked).await.unwrap();
    until(async || {
        let operation = machine.client.operation(started.id, 0).await.ok()?;
        (operation.state == State::AwaitingAnswer).then_some(())
    })
    .await;
    machine.take_out();
    let accept = Answer {
        answer: Decision::Accept,
        confirmation_code: None,
    };
    let _ = machine.client.answer(started.id, &accept).await.unwrap();
    machine.ends_for_want_of_the_card(started).await;
    machine.insert();
    machine.is_usable().await;
    let iccid = machine.download(&code).await;
    succeeded(&machine.switch(&iccid, ProfileState::Enabled).await);
    machine.is_clean().await;
}

#[tokio::test]
#[ignore = "needs pcscd, a virtual reader and the feature pcsc: see .ci/run pcsc"]
async fn a_card_that_goes_in_the_middle_of_a_command_is_used_again_when_it_is_back() {
    let mut machine = Machine::start().await;
    let code = machine.order();
    machine.bench.card.cut_power(10, PowerCut::AfterExecution);
    let started = machine
        .client
        .download(EUICC, &accepting(&code))
        .await
        .unwrap();
    machine.ends_for_want_of_the_card(started).await;
    machine.insert();
    machine.is_usable().await;
    machine.download(&code).await;
    machine.is_clean().await;
}

#[tokio::test]
#[ignore = "needs pcscd, a virtual reader and the feature pcsc: see .ci/run pcsc"]
async fn a_service_that_is_restarted_while_nobody_asks_for_anything_is_used_again() {
    let mut machine = Machine::start().await;
    machine.end_service().await;
    machine.cannot_be_used(NO_SERVICE, START_IT).await;
    machine.insert();
    machine.start_service(true).await;
    machine.is_usable().await;
}

#[tokio::test]
#[ignore = "needs pcscd, a virtual reader and the feature pcsc: see .ci/run pcsc"]
async fn a_service_that_hangs_is_told_in_time_and_used_again_when_it_goes_on() {
    let machine = Machine::start().await;
    let pcscd = machine.pcscd.as_ref().and_then(Child::id).unwrap();
    let pcscd = Pid::from_raw(pcscd.cast_signed()).unwrap();
    kill_process(pcscd, Signal::STOP).unwrap();
    let code = accepting(&machine.order());
    let started = machine.client.download(EUICC, &code).await.unwrap();
    let silent = "The PC/SC service does not answer.";
    let restart = "Plug the reader out and in, or restart pcscd.";
    machine.cannot_be_used(silent, restart).await;
    kill_process(pcscd, Signal::CONT).unwrap();
    machine.is_usable().await;
    let problem = machine.ended(started).await.problem.unwrap();
    assert_eq!(problem.code, Code::ModemTimeout);
}

#[tokio::test]
#[ignore = "needs pcscd, a virtual reader and the feature pcsc: see .ci/run pcsc"]
async fn a_daemon_has_the_card_for_itself_and_leaves_it_to_the_next_one_when_it_is_killed() {
    let mut machine = Machine::start().await;
    let iccid = machine.download(&machine.order()).await;
    let other = machine.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let (smdp, when) = (([127, 0, 0, 1], 9).into(), "never");
    let configuration = machine.bench.configure(&other, smdp, when).unwrap();
    let text = fs::read_to_string(&configuration).unwrap();
    let port = format!("{}/modem", other.display());
    fs::write(&configuration, text.replace(&port, "pcsc:reader 00 00")).unwrap();
    let other_daemon = lpad(&configuration, machine.folder.path());
    let client = std::mem::replace(&mut machine.client, Client::new(other.join("lpad.sock")));
    let busy = "Another program uses the card in the reader.";
    let stop_it = "Stop the other program; it is often gpg's scdaemon.";
    machine.cannot_be_used(busy, stop_it).await;
    drop(other_daemon);
    machine.client = client;
    machine.daemon.kill().await.unwrap();
    machine.daemon = lpad(&machine.configuration, machine.folder.path());
    machine.is_usable().await;
    succeeded(&machine.switch(&iccid, ProfileState::Enabled).await);
    machine.is_clean().await;
}

/// Where a driver of virtual readers can listen: it takes the next port for a second slot.
fn two_free_ports() -> SocketAddr {
    loop {
        let first = StdListener::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let next = address.port().saturating_add(1);
        if StdListener::bind((address.ip(), next)).is_ok() {
            return address;
        }
    }
}

fn lpad(configuration: &Path, folder: &Path) -> Child {
    let daemon =
        env::var_os("LPAD_WITH_PCSC").expect("LPAD_WITH_PCSC names an lpad with the feature pcsc");
    let mut command = Command::new(daemon);
    command.arg("--config").arg(configuration);
    command.env("PCSCLITE_CSOCK_NAME", socket(folder));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().unwrap()
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("pcscd/pcscd.comm")
}

/// Waits for something in another process, which does not tell of it.
async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        let mut ticks = interval(TICK);
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("it comes about")
}

const NO_SERVICE: &str = "The PC/SC service does not run.";
const START_IT: &str = "Install pcscd, and start pcscd.socket.";
const NO_CARD: &str = "There is no card in the reader that answers.";
const PUT_IT_IN: &str = "Put the card into the reader; lpad goes on by itself.";
/// Where Debian has the driver of the virtual reader.
const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
/// How often is looked at another process.
const TICK: Duration = Duration::from_millis(10);
/// How long another process may take.
const PATIENCE: Duration = Duration::from_secs(60);
