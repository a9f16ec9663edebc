//! Everything the demo runs: card and modem, SM-DP+, the daemon, and a folder for their files.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{fs, io};

use lpad::api::body::{EventKind, Operation};
use lpad::client::{Client, ClientError};
use lpad::job::{Kind, Progress, Stage};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_servers::smdp::ReservationStatus;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::operator::{Operator, Reservation};

/// The eUICC's name in the daemon's configuration.
pub(crate) const EUICC: &str = "default";

/// A running demo; dropping it ends the daemon and removes all files.
#[derive(Debug)]
pub(crate) struct World {
    bench: Bench,
    folder: TempDir,
    configuration: PathBuf,
    smdp_address: SocketAddr,
    operator: Operator,
    daemon: Option<Child>,
    client: Client,
}

impl World {
    /// Starts card, modem and SM-DP+, and writes the daemon's configuration.
    pub(crate) async fn new() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::Builder::new().prefix("lpad-demo-").tempdir()?;
        let bench = Bench::new();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let smdp_address = listener.local_addr()?;
        bench.serve(folder.path(), None, listener)?;

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let operator = Operator {
            address: listener.local_addr()?,
            account_sid: bench.smdp.config().account_sid.clone(),
            auth_token: bench.smdp.config().auth_token.clone(),
        };
        let smdp = bench.smdp.clone();
        tokio::spawn(async move { smdp.serve_admin(listener, std::future::pending()).await });

        let configuration = bench.configure(folder.path(), smdp_address, "empty")?;
        // Who watches has less patience than a network.
        let text = fs::read_to_string(&configuration)?;
        let text = text.replace(
            "[euicc.switch]",
            "[euicc.switch]\ndeadline_s = 30\nradio_restart_s = 0",
        );
        fs::write(&configuration, text)?;
        let client = Client::new(folder.path().join("lpad.sock"));
        let daemon = None;
        Ok(Self {
            bench,
            folder,
            configuration,
            smdp_address,
            operator,
            daemon,
            client,
        })
    }

    pub(crate) fn eid(&self) -> String {
        self.bench.eid()
    }

    pub(crate) fn modem_port(&self) -> PathBuf {
        self.folder.path().join("modem")
    }

    pub(crate) fn host_name(&self) -> &str {
        HOST_NAME
    }

    pub(crate) fn smdp_address(&self) -> SocketAddr {
        self.smdp_address
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn open_channels(&self) -> Vec<u8> {
        self.bench.card.open_channels()
    }

    /// Reserves a profile and waits until it can be downloaded.
    pub(crate) async fn reserve(
        &self,
        form: &[(&str, &str)],
    ) -> Result<Reservation, Box<dyn Error>> {
        let fields: Vec<_> = form
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        println!("  POST /v1/ESimProfiles  {}", fields.join(" "));
        let mut reservation = self.operator.create(form).await?;
        let mut shown = String::new();
        loop {
            if reservation.status != shown {
                println!("       {}  {}", reservation.sid, reservation.status);
                shown.clone_from(&reservation.status);
            }
            if reservation.status == ReservationStatus::Available.name() {
                return Ok(reservation);
            }
            sleep(POLL).await;
            reservation = self.operator.read(&reservation.sid).await?;
        }
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) async fn start_daemon(&mut self) -> Result<(), Box<dyn Error>> {
        let log = fs::File::create(self.folder.path().join("lpad.log"))?;
        let mut daemon = self.role("lpad")?;
        daemon.arg(&self.configuration).stderr(log);
        println!("  $ lpad --config {}", self.configuration.display());
        // A group of its own: Ctrl-C is for the demo, which then ends the daemon.
        let mut daemon = daemon.process_group(0).kill_on_drop(true).spawn()?;
        loop {
            match self.client.health().await {
                Ok(_) => break,
                Err(ClientError::Unreachable { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = daemon.try_wait()? {
                return Err(self.daemon_ended(status));
            }
            sleep(POLL).await;
        }
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Shows the daemon's first operation as it goes, and how it ended.
    pub(crate) async fn follow_first_operation(&self) -> Result<Operation, Box<dyn Error>> {
        let mut events = self.client.events(Some(0)).await?;
        let mut shown = None;
        while let Some(event) = events.next().await? {
            if event.kind != EventKind::Operation {
                continue;
            }
            let operation: Operation = serde_json::from_value(event.data)?;
            show(&operation, &mut shown);
            if operation.state.is_final() {
                return Ok(operation);
            }
        }
        Err("the daemon ended its events".into())
    }

    /// Runs `lpactl` on this terminal.
    pub(crate) async fn lpactl(&self, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
        println!("  $ lpactl {}", shell(arguments));
        let mut lpactl = self.role("lpactl")?;
        lpactl
            .arg("--socket")
            .arg(self.client.socket())
            .args(arguments);
        let status = lpactl.kill_on_drop(true).status().await?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("lpactl ended with {status}").into()),
        }
    }

    /// The same where it has to end with this code.
    pub(crate) async fn lpactl_fails(
        &self,
        arguments: &[&str],
        code: i32,
    ) -> Result<(), Box<dyn Error>> {
        let Err(why) = self.lpactl(arguments).await else {
            return Err("lpactl should have failed".into());
        };
        println!("  {why}");
        match why.to_string().ends_with(&format!(" {code}")) {
            true => Ok(()),
            false => Err(why),
        }
    }

    /// A profile is never let into a network.
    pub(crate) fn gets_no_service(&self, iccid: &str) -> Result<(), Box<dyn Error>> {
        self.bench.modem.set_network(Some(iccid), "never".parse()?);
        Ok(())
    }

    /// The ICCID that the last successful download brought.
    pub(crate) async fn newest_download(&self) -> Result<String, Box<dyn Error>> {
        let operations = self.client.operations().await?;
        let downloads = operations
            .into_iter()
            .filter(|operation| operation.kind == Kind::Download);
        let newest = downloads.max_by_key(|operation| operation.id);
        let iccid = newest
            .and_then(|operation| operation.result)
            .and_then(|result| result.iccid);
        iccid.ok_or_else(|| "no download has succeeded".into())
    }

    /// Waits until both sides have heard of everything, and shows what they heard.
    pub(crate) async fn delivered(&self, sids: &[&str]) -> Result<(), Box<dyn Error>> {
        while !self.client.notifications(EUICC).await?.is_empty() {
            sleep(POLL).await;
        }
        for notification in self.bench.smdp.notifications() {
            println!(
                "  {} received notification {}: {}",
                HOST_NAME,
                notification.seq_number().unwrap_or_default(),
                notification
                    .event()
                    .map(|event| event.names().collect::<String>())
                    .unwrap_or_default(),
            );
        }
        for sid in sids {
            let Reservation { status, .. } = self.operator.read(sid).await?;
            println!("  GET /v1/ESimProfiles/{sid}  {status}");
            if status != ReservationStatus::Installed.name() {
                return Err(format!("the reservation {sid} is {status}").into());
            }
        }
        Ok(())
    }

    /// Prints what can be tried.
    pub(crate) fn show_what_to_try(&self) {
        let socket = self.client.socket().display();
        println!("\nEverything keeps running. In another terminal, in this folder:\n");
        println!("  export LPAD_SOCKET={socket}");
        for command in ["status", "profile list", "euicc info", "events"] {
            println!("  cargo run -q --bin lpactl -- {command}");
        }
        println!("  curl --unix-socket $LPAD_SOCKET http://lpad/v1/euiccs/{EUICC}/profiles");
        let Operator {
            address,
            account_sid,
            auth_token,
        } = &self.operator;
        println!("\nReserve a profile, then download it:\n");
        for field in ["-d GenerateMatchingId=true ", ""] {
            println!("  curl -u {account_sid}:{auth_token} \\");
            println!("      {field}http://{address}/v1/ESimProfiles");
        }
        println!("  cargo run -q --bin lpactl -- download 'LPA:1${HOST_NAME}$…'");
        println!(
            "\nThe daemon's log: {}",
            self.folder.path().join("lpad.log").display()
        );
        println!("Ctrl-C ends it.");
    }

    /// Waits until the daemon ends, which it should not do by itself.
    pub(crate) async fn daemon_ends(&mut self) -> Box<dyn Error> {
        let ended = match &mut self.daemon {
            Some(daemon) => daemon.wait().await,
            None => std::future::pending().await,
        };
        match ended {
            Ok(status) => self.daemon_ended(status),
            Err(error) => error.into(),
        }
    }

    /// Ends the daemon as systemd would, and removes all files.
    pub(crate) async fn end(mut self) -> Result<(), Box<dyn Error>> {
        let Some(mut daemon) = self.daemon.take() else {
            return Ok(());
        };
        if let Some(id) = daemon.id() {
            let id = rustix::process::Pid::from_raw(id.cast_signed()).ok_or("no such process")?;
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        let status = daemon.wait().await?;
        match status.success() {
            true => Ok(()),
            false => Err(self.daemon_ended(status)),
        }
    }

    fn daemon_ended(&self, status: ExitStatus) -> Box<dyn Error> {
        let log = fs::read_to_string(self.folder.path().join("lpad.log")).unwrap_or_default();
        format!("the daemon ended with {status}\n{log}").into()
    }

    /// This program in another role.
    fn role(&self, name: &str) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name).stdin(Stdio::null());
        Ok(command)
    }
}

/// Prints a line when an operation enters a stage, and one for a finished installation.
fn show(operation: &Operation, shown: &mut Option<Stage>) {
    if operation.stage == *shown {
        return;
    }
    if let (Some(Stage::Installing), Some(Progress { done, total })) = (*shown, operation.progress)
    {
        println!("       {done} of {total} bytes");
    }
    if let Some(stage) = operation.stage {
        println!("  {}", stage.name());
    }
    *shown = operation.stage;
}

/// Quotes what a shell would not take as it is.
fn shell(arguments: &[&str]) -> String {
    let quote = |argument: &&str| match argument.contains('$') {
        true => format!("'{argument}'"),
        false => (*argument).to_owned(),
    };
    arguments.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// How often something is asked that cannot be waited for.
const POLL: Duration = Duration::from_millis(50);
