//! The test bed: a daemon with a card in a modem and an SM-DP+, driven through its socket.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use es9_client::{Options, Roots, TcpConnect};
use lpad::api::body::{Euicc, EventKind, Operation};
use lpad::api::downloads::DownloadRequest;
use lpad::client::{Client, ClientError, EventReader};
use lpad::config::{ApduPath, Config};
use lpad::job::{Answer, Consent, Decision};
use lpad::memory::alarm::Alarm;
use lpad::memory::operations::State;
use lpad::memory::snapshot::{Availability, ProfileState};
use lpad::modem::{Device, OpenPort, SerialPort};
use lpad::problem::Problem;
use lpad::runtime::clock::Clock;
use lpad::runtime::interfaces::Interfaces;
use lpad::runtime::uplink::Uplink;
use lpad::secret::Secret;
use lpad::{Daemon, Parts};
use rsp_servers::network::Network;
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::{OrderId, OrderRequest, OrderState};
use sim_card_emulator::pty::Pty;
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use crate::bench::{Bench, HOST_NAME, Line};

/// The eUICC's name in the daemon.
pub const EUICC: &str = "default";

/// Asks for a profile to be enabled, or to be disabled whatever that means for the box.
pub async fn set_state(
    client: &Client,
    iccid: &str,
    state: ProfileState,
) -> Result<Operation, ClientError> {
    match state {
        ProfileState::Enabled => client.enable(EUICC, iccid).await,
        ProfileState::Disabled => client.disable(EUICC, iccid, true).await,
    }
}

/// A daemon at work; dropping it ends everything at once.
#[derive(Debug)]
pub struct Bed {
    /// Card, modem and SM-DP+.
    pub bench: Bench,
    /// A client of the daemon.
    pub client: Client,
    daemon: Option<Daemon>,
    configuration: Config,
    kernel: bool,
    /// Modems beside the bench's, by their ports.
    lines: BTreeMap<PathBuf, Line>,
    next_profile: u32,
    /// Counts how often a network has come up.
    uplink: watch::Sender<u64>,
    clock: Clock,
    /// How far the daemon's clock is ahead, in seconds.
    ahead_s: Arc<AtomicI64>,
    /// Where ports are looked for, over kernel devices.
    root: PathBuf,
    // Dropped last: the daemon's files are in it.
    folder: TempDir,
}

impl Bed {
    /// A daemon in memory that does nothing by itself. The clock may be paused.
    pub async fn start() -> Self {
        Self::with(Bench::new(), "never").await
    }

    /// A daemon in memory that does nothing by itself, and takes the given route to the card.
    pub async fn by(bench: Bench, route: ApduPath) -> Self {
        let mut bed = Self::prepare(bench, "never", false).await;
        bed.configuration.euiccs[0].apdu = route;
        bed.resume().await;
        bed
    }

    /// A daemon in memory on this bench; `when` is its rule of the first boot.
    pub async fn with(bench: Bench, when: &str) -> Self {
        Self::new(bench, when, false).await
    }

    /// A daemon that does nothing by itself on a pseudo terminal and the loopback, in real time.
    pub async fn over_kernel_devices() -> Self {
        Self::new(Bench::new(), "never", true).await
    }

    /// A daemon in memory that does nothing by itself, whose modem is not plugged in.
    pub async fn without_modem() -> Self {
        let bench = Bench::new();
        bench.unplug();
        Self::booted(bench, "never").await
    }

    /// A daemon in memory on this bench that has only just been started.
    pub async fn booted(bench: Bench, when: &str) -> Self {
        let mut bed = Self::prepare(bench, when, false).await;
        bed.boot();
        bed
    }

    async fn new(bench: Bench, when: &str, kernel: bool) -> Self {
        let mut bed = Self::prepare(bench, when, kernel).await;
        bed.resume().await;
        bed
    }

    async fn prepare(bench: Bench, when: &str, kernel: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut smdp = "127.0.0.1:1".parse().expect("an address");
        if kernel {
            plug_pty(&bench, folder.path());
            let listener = TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a port is free");
            smdp = listener.local_addr().expect("it is bound");
            let server = bench.smdp.clone();
            tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
        }
        let file = bench
            .configure(folder.path(), smdp, when)
            .expect("files can be written");
        let configuration = Config::load(&file).expect("the configuration is right");
        let client = Client::new(&configuration.api.socket);
        let ahead_s = Arc::default();
        Self {
            bench,
            client,
            daemon: None,
            configuration,
            kernel,
            lines: BTreeMap::new(),
            next_profile: 1,
            uplink: watch::Sender::default(),
            clock: clock(Arc::clone(&ahead_s)),
            ahead_s,
            root: "/".into(),
            folder,
        }
    }

    /// The configuration, for changes that take effect with the next [`Bed::resume`].
    pub fn configuration(&mut self) -> &mut Config {
        &mut self.configuration
    }

    /// Where the daemon looks for ports over kernel devices, from the next [`Bed::resume`] on.
    pub fn look_for_ports_below(&mut self, root: &Path) {
        root.clone_into(&mut self.root);
    }

    /// Another modem for the daemon, from the next [`Bed::resume`] on.
    pub fn add_modem(&mut self, name: &str, line: Line) {
        let port = self.folder.path().join(name);
        let mut euicc = self.configuration.euiccs[0].clone();
        name.clone_into(&mut euicc.name);
        euicc.port.clone_from(&port);
        self.configuration.euiccs.push(euicc);
        self.lines.insert(port, line);
    }

    /// Puts the daemon's clock forward. Nothing else has aged by that.
    pub fn days_pass(&self, days: i64) {
        self.ahead_s.fetch_add(days * 24 * 3600, Ordering::Relaxed);
    }

    /// The kernel tells the daemon that a network has come up.
    pub fn network_comes_up(&self) {
        self.uplink.send_modify(|count| *count += 1);
    }

    /// The clock is right again, and the kernel says that it was set.
    pub fn set_clock_right(&self) {
        self.ahead_s.store(0, Ordering::Relaxed);
        self.network_comes_up();
    }

    /// The time of day, as the daemon has it.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Where the SM-DP+ listens, over kernel devices.
    pub fn smdp_address(&self) -> SocketAddr {
        self.configuration.es9.connect_to[HOST_NAME]
    }

    /// The folder with the daemon's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts the modem's port in its place again after it hung up, on kernel devices.
    pub fn plug_in(&self) {
        plug_pty(&self.bench, self.folder.path());
    }

    /// Starts the daemon, after [`Bed::stop`] or [`Bed::kill`], and waits until it has read the
    /// card and closed its channel.
    pub async fn resume(&mut self) {
        let card = &self.bench.card;
        let open_before = card.open_channels().len();
        let mut counters = card.counters();
        self.boot();
        self.euicc_in(Availability::Ready).await;
        let card = &self.bench.card;
        let closed = counters.wait_for(|_| card.open_channels().len() <= open_before);
        let closed = timeout(PATIENCE, closed).await;
        assert!(closed.is_ok(), "the channel stays open");
    }

    /// Starts the daemon.
    pub fn boot(&mut self) {
        let daemon = match self.kernel {
            true => Daemon::start(self.configuration.clone(), self.kernel_parts()),
            false => Daemon::start(self.configuration.clone(), self.memory_parts()),
        };
        self.daemon = Some(daemon.expect("the daemon starts"));
    }

    /// Waits until the eUICC is in this state, as the daemon sees it, and gives what is known then.
    pub async fn euicc_in(&self, state: Availability) -> Euicc {
        self.euicc_when(EUICC, |euicc| euicc.state == state).await
    }

    /// Waits until it is so with an eUICC, as the daemon sees it, and gives what is known then.
    pub async fn euicc_when(&self, name: &str, is_so: impl Fn(&Euicc) -> bool) -> Euicc {
        let daemon = self.daemon.as_ref().expect("the daemon was started");
        let mut known = daemon.engine(name).expect("it is configured").watch();
        let reached = known.wait_for(|known| is_so(&(&known.euicc).into()));
        if let Ok(known) = timeout(PATIENCE, reached).await {
            return (&known.expect("the engine runs").euicc).into();
        }
        panic!("it never is: {:?}", known.borrow().euicc);
    }

    /// Ends the daemon as SIGTERM does.
    pub async fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.shutdown().await;
        }
    }

    /// Ends the daemon in the middle of what it does.
    pub async fn kill(&mut self) {
        self.daemon = None;
        // Its tasks are gone when no server listens on its socket any more.
        while std::os::unix::net::UnixStream::connect(self.client.socket()).is_ok() {
            yield_now().await;
        }
    }

    /// An order under a matching ID for a profile no other order is for.
    pub fn order(&mut self, matching_id: &str) -> OrderId {
        let profile = self.profile();
        self.bench
            .smdp
            .create_order(OrderRequest::with_matching_id(profile, matching_id))
    }

    /// A profile no other order is for.
    pub fn profile(&mut self) -> Profile {
        let number = self.next_profile;
        self.next_profile += 1;
        Profile::builder(Iccid::nth(number))
            .name(format!("Profile {number}"))
            .size(3000)
            .build()
    }

    /// Downloads what `code` stands for, without being asked, and gives the operation when it has
    /// ended.
    pub async fn download(&self, code: &str) -> Operation {
        self.download_as(&accepting(code)).await
    }

    /// Downloads what `matching_id` stands for.
    pub async fn download_id(&self, matching_id: &str) -> Operation {
        self.download(&format!("1${HOST_NAME}${matching_id}")).await
    }

    /// Downloads what `matching_id` stands for, which must fail, and gives the reason.
    pub async fn fail(&self, matching_id: &str) -> Problem {
        problem(self.download_id(matching_id).await)
    }

    /// Downloads as the request says, and gives the operation when it has ended.
    pub async fn download_as(&self, request: &DownloadRequest) -> Operation {
        let operation = self
            .client
            .download(EUICC, request)
            .await
            .expect("it is queued");
        self.client
            .wait(operation.id)
            .await
            .expect("the daemon answers")
    }

    /// Asks for a download, and gives the operation when its profile is offered.
    pub async fn offered(&self, request: &DownloadRequest) -> Operation {
        let operation = self.client.download(EUICC, request).await;
        let id = operation.expect("it is queued").id;
        let offered = self.client.operation(id, 60).await;
        let offered = offered.expect("the daemon answers");
        assert_eq!(offered.state, State::AwaitingAnswer, "{offered:?}");
        offered
    }

    /// Answers an offer, and gives the operation when it has ended.
    pub async fn answer(&self, offered: &Operation, answer: Decision, code: &str) -> Operation {
        let answer = Answer {
            answer,
            confirmation_code: Some(Secret::new(code)).filter(|_| !code.is_empty()),
        };
        self.ended(self.client.answer(offered.id, &answer).await)
            .await
    }

    /// What became of an order.
    pub fn order_state(&self, order: OrderId) -> OrderState {
        self.bench.smdp.order(order).expect("it was made").state()
    }

    /// Brings a profile onto the card, and gives its ICCID.
    pub async fn install(&mut self) -> String {
        let matching_id = format!("INSTALL-{}", self.next_profile);
        self.order(&matching_id);
        let operation = self.download_id(&matching_id).await;
        succeeded(&operation);
        operation
            .result
            .and_then(|done| done.iccid)
            .expect("it is named")
    }

    /// Gives an operation that was just started when it has ended.
    pub async fn ended(&self, started: Result<Operation, ClientError>) -> Operation {
        let operation = started.expect("it is queued");
        self.client
            .wait(operation.id)
            .await
            .expect("the daemon answers")
    }

    /// Enables or disables a profile, and gives the operation when it has ended.
    pub async fn switch(&self, iccid: &str, state: ProfileState) -> Operation {
        let operation = set_state(&self.client, iccid, state).await;
        let operation = operation.expect("it is queued");
        self.client
            .wait(operation.id)
            .await
            .expect("the daemon answers")
    }

    /// Waits until the daemon has cleaned up after a mishap: the eUICC is ready, no channel is
    /// open and no notification waits.
    pub async fn settle(&self) {
        let card = &self.bench.card;
        let is_clean = || card.open_channels().is_empty() && card.memory().notifications.is_empty();
        let settled = async {
            self.euicc_in(Availability::Ready).await;
            let mut counters = card.counters();
            counters.wait_for(|_| is_clean()).await.is_ok()
        };
        if timeout(PATIENCE, settled).await.is_err() {
            let (open, waiting) = (card.open_channels(), card.memory().notifications.len());
            panic!("channels {open:?} are open, {waiting} notifications wait");
        }
    }

    /// Checks that the daemon tells what is on the card, that at most one profile is enabled there,
    /// and that the server got every notification, in order.
    pub async fn must_tell_the_truth(&self) {
        let memory = self.bench.card.memory();
        let profiles = self.client.profiles(EUICC).await;
        let told: Vec<_> = profiles
            .expect("the daemon answers")
            .into_iter()
            .map(|profile| (profile.iccid, profile.state == ProfileState::Enabled))
            .collect();
        let is: Vec<_> = memory
            .profiles
            .iter()
            .map(|profile| (profile.iccid.to_string(), profile.enabled))
            .collect();
        assert_eq!(told, is, "the profile list");
        assert!(
            is.iter().filter(|(_, enabled)| *enabled).count() <= 1,
            "{is:?}"
        );
        let mut numbers: Vec<_> = self
            .bench
            .smdp
            .notifications()
            .iter()
            .map(|received| received.seq_number().expect("it can be read"))
            .collect();
        // Those whose acknowledgement was lost are delivered again.
        let mut seen = BTreeSet::new();
        numbers.retain(|number| seen.insert(*number));
        let waiting = memory
            .notifications
            .iter()
            .map(|waiting| waiting.sequence_number);
        numbers.extend(waiting);
        assert_eq!(numbers, (1..=memory.sequence_number).collect::<Vec<_>>());
    }

    /// Checks what must hold after every mishap: no channel is open, no notification waits, and
    /// the next download works.
    pub async fn must_be_sound(&mut self) {
        self.settle().await;
        self.must_tell_the_truth().await;
        self.bench.smdp.clear_faults();
        self.bench.modem.clear_faults();
        self.bench.card.keep_power();
        let matching_id = format!("SOUND-{}", self.next_profile);
        self.order(&matching_id);
        let operation = self.download_id(&matching_id).await;
        succeeded(&operation);
        assert!(
            self.bench.card.open_channels().is_empty(),
            "channels are open"
        );
        let waiting = self
            .client
            .notifications(EUICC)
            .await
            .expect("the daemon answers");
        assert!(waiting.is_empty(), "{waiting:?}");
    }

    fn memory_parts(&self) -> Parts<impl FnMut(&lpad::config::EuiccConfig) -> Line, Network> {
        let (line, others) = (self.bench.line(), self.lines.clone());
        Parts {
            ports: move |euicc: &lpad::config::EuiccConfig| {
                others.get(&euicc.port).unwrap_or(&line).clone()
            },
            connect: self.bench.network(),
            interfaces: interfaces(self.bench.network()),
            uplink: Uplink::new(self.uplink.subscribe()),
            roots: Roots::empty(),
            es9: Options::default(),
            clock: self.clock.clone(),
            listener: None,
        }
    }

    fn kernel_parts(
        &self,
    ) -> Parts<impl FnMut(&lpad::config::EuiccConfig) -> SerialPort, TcpConnect> {
        let root = self.root.clone();
        let targets = self.configuration.es9.connect_to.iter();
        let targets = targets.map(|(host, target)| (host.clone(), target.to_string()));
        Parts {
            ports: move |euicc: &lpad::config::EuiccConfig| {
                SerialPort::below(&root, euicc, Arc::default())
            },
            connect: TcpConnect::with_targets(targets),
            interfaces: Interfaces::system(),
            uplink: Uplink::new(self.uplink.subscribe()),
            roots: Roots::empty(),
            es9: Options::default(),
            clock: self.clock.clone(),
            listener: None,
        }
    }
}

/// The time of day, which goes as tokio's clock does when that is paused, and may be ahead or behind.
fn clock(ahead_s: Arc<AtomicI64>) -> Clock {
    let (start, time) = (Instant::now(), SystemTime::now());
    Clock::new(move || {
        let ahead_s = ahead_s.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead_s.unsigned_abs());
        let now = time + start.elapsed();
        if ahead_s < 0 { now - by } else { now + by }
    })
}

/// The network interfaces that this network was given.
fn interfaces(network: Network) -> Interfaces {
    Interfaces::new(move |name| network.has_address(name))
}

fn plug_pty(bench: &Bench, folder: &Path) {
    let pty = Pty::open(&folder.join("modem")).expect("a PTY can be opened");
    tokio::spawn(bench.line().serve(pty, None));
}

/// The next alarm that people hear of.
pub async fn next_alarm(events: &mut EventReader) -> Alarm {
    loop {
        let event = events.next().await.expect("the daemon answers");
        let event = event.expect("the daemon runs");
        if event.kind == EventKind::Alarm {
            return serde_json::from_value(event.data).expect("an alarm");
        }
    }
}

/// A request to download what `code` stands for without being asked.
pub fn accepting(code: &str) -> DownloadRequest {
    DownloadRequest {
        activation_code: Some(Secret::new(code)),
        consent: Consent::Accept,
        ..DownloadRequest::default()
    }
}

/// A request to download what `code` stands for once a person has accepted it.
pub fn asking(code: &str) -> DownloadRequest {
    DownloadRequest {
        consent: Consent::Ask,
        ..accepting(code)
    }
}

/// Checks that an operation succeeded.
#[track_caller]
pub fn succeeded(operation: &Operation) {
    assert_eq!(operation.state, State::Succeeded, "{:?}", operation.problem);
}

/// Why an operation failed.
pub fn problem(operation: Operation) -> Problem {
    assert_eq!(operation.state, State::Failed, "{operation:?}");
    operation.problem.expect("a failure has a reason")
}

impl OpenPort for Line {
    type Port = DuplexStream;

    async fn open(&mut self) -> io::Result<Device<DuplexStream>> {
        self.find()
            .map(Device::from)
            .ok_or_else(|| io::Error::other("cannot open the port: there is no such device"))
    }

    async fn changed(&mut self) {
        self.plugged_in().await;
    }
}

/// How long a daemon may take to get over a mishap.
const PATIENCE: Duration = Duration::from_secs(1200);
