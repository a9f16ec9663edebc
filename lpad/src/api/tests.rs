//! The API as its clients see it, of a daemon whose modem is not plugged in.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use es9_client::{Options, Roots, TcpConnect};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{UnixListener, UnixStream};

use crate::api::body::EventKind;
use crate::api::downloads::DownloadRequest;
use crate::client::{Client, ClientError};
use crate::config::{Config, EuiccConfig};
use crate::job::OperationId;
use crate::memory::operations::State;
use crate::memory::snapshot::Availability;
use crate::modem::{Device, OpenPort};
use crate::problem::{Code, Problem};
use crate::runtime::clock::Clock;
use crate::runtime::interfaces::Interfaces;
use crate::runtime::uplink::Uplink;
use crate::{Daemon, Parts};

/// A port that is not there.
#[derive(Debug)]
struct Unplugged;

impl OpenPort for Unplugged {
    type Port = DuplexStream;

    async fn open(&mut self) -> io::Result<Device<DuplexStream>> {
        Err(io::Error::new(io::ErrorKind::NotFound, "no such device"))
    }
}

/// A daemon in a folder of its own.
struct Bed {
    folder: TempDir,
    daemon: Option<Daemon>,
}

impl Bed {
    fn start() -> Self {
        let mut bed = Self::new();
        bed.daemon = Some(bed.daemon(None).unwrap());
        bed
    }

    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            daemon: None,
        }
    }

    /// The daemon's folder, which it makes.
    fn path(&self) -> PathBuf {
        self.folder.path().join("lpad")
    }

    fn daemon(&self, listener: Option<UnixListener>) -> Result<Daemon, crate::DaemonError> {
        let mut config = Config::default();
        config.api.socket = self.path().join("lpad.sock");
        config.state.directory = self.path().join("state");
        config.euiccs = vec![EuiccConfig::new("/dev/unplugged")];
        let parts = Parts {
            ports: |_: &EuiccConfig| Unplugged,
            connect: TcpConnect::new(),
            interfaces: Interfaces::system(),
            uplink: Uplink::system(),
            roots: Roots::empty(),
            es9: Options::default(),
            clock: Clock::system(),
            listener,
        };
        Daemon::start(config, parts)
    }

    fn client(&self) -> Client {
        self.daemon.as_ref().unwrap().client()
    }

    /// Sends bytes as they are and returns the status line.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.client().socket()).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = [0; 512];
        let length = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]);
        answer.lines().next().unwrap_or_default().to_owned()
    }
}

fn problem<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Problem {
    match result.unwrap_err() {
        ClientError::Problem(problem) => *problem,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_daemon_without_its_modem_is_up_and_says_so() {
    let bed = Bed::start();
    let client = bed.client();
    assert_eq!(client.version().await.unwrap().api, "v1");
    let why = problem(client.profiles("default").await);
    assert_eq!(why.code, Code::ModemUnavailable);
    assert_eq!(why.detail, "No such device.");
    assert_eq!(client.health().await.unwrap().status, "degraded");
    let euicc = client.euicc("default").await.unwrap();
    assert_eq!((euicc.state, euicc.eid), (Availability::Unavailable, None));
    assert_eq!(
        problem(client.euicc("other").await).code,
        Code::UnknownEuicc
    );
}

#[tokio::test]
async fn a_socket_that_was_handed_over_is_used_and_left_to_its_owner() {
    let mut bed = Bed::new();
    std::fs::create_dir(bed.path()).unwrap();
    let socket = bed.path().join("lpad.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    bed.daemon = Some(bed.daemon(Some(listener)).unwrap());
    assert_eq!(bed.client().version().await.unwrap().api, "v1");
    if let Some(daemon) = bed.daemon.take() {
        daemon.shutdown().await;
    }
    assert!(socket.exists());
}

#[tokio::test]
async fn an_operation_ends_with_its_problem_and_stays_in_the_history() {
    let bed = Bed::start();
    let client = bed.client();
    let started = client.deliver_notifications("default").await.unwrap();
    let ended = client.wait(started.id).await.unwrap();
    assert_eq!(ended.state, State::Failed);
    let why = ended.problem.unwrap();
    assert_eq!(
        (why.code, why.operation),
        (Code::ModemUnavailable, Some(started.id))
    );
    assert_eq!(client.operations().await.unwrap().len(), 1);
    let why = problem(client.cancel(started.id).await);
    assert_eq!(why.code, Code::OperationEnded);
    assert_eq!(
        problem(client.operation(OperationId(99), 0).await).code,
        Code::UnknownOperation
    );
}

#[tokio::test]
async fn a_malformed_code_is_refused_before_there_is_an_operation() {
    let bed = Bed::start();
    let client = bed.client();
    let activation_code = Some(crate::secret::Secret::new("LPA:1$smdp.example.com"));
    let request = DownloadRequest {
        activation_code,
        ..DownloadRequest::default()
    };
    let why = problem(client.download("default", &request).await);
    assert_eq!(why.code, Code::InvalidActivationCode);
    assert!(client.operations().await.unwrap().is_empty());
}

#[tokio::test]
async fn events_tell_what_happens_and_can_be_resumed() {
    let bed = Bed::start();
    let client = bed.client();
    let mut events = client.events(None).await.unwrap();
    let started = client.deliver_notifications("default").await.unwrap();
    let first = loop {
        let event = events.next().await.unwrap().unwrap();
        if event.kind == EventKind::Operation {
            break event;
        }
    };
    assert_eq!(first.data["id"], started.id.to_string());
    client.wait(started.id).await.unwrap();
    let mut resumed = client.events(Some(first.id)).await.unwrap();
    assert_eq!(resumed.next().await.unwrap().unwrap().id, first.id + 1);
}

#[tokio::test]
async fn what_is_no_proper_request_is_refused_politely() {
    let bed = Bed::start();
    let cases: [(&[u8], &str); 4] = [
        (
            b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n",
            "HTTP/1.1 404 Not Found",
        ),
        (
            b"POST /v1/health HTTP/1.1\r\nhost: x\r\n\r\n",
            "HTTP/1.1 405 Method Not Allowed",
        ),
        (
            b"PUT /v1/euiccs/default/addresses HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n{",
            "HTTP/1.1 400 Bad Request",
        ),
        (b"\x00\x01\x02\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ];
    for (request, status) in cases {
        assert_eq!(bed.raw(request).await, status);
    }
    let mut large = b"POST /v1/euiccs/default/downloads HTTP/1.1\r\nhost: x\r\n".to_vec();
    large.extend_from_slice(b"content-length: 70000\r\n\r\n");
    large.extend(vec![b'x'; 70_000]);
    assert_eq!(bed.raw(&large).await, "HTTP/1.1 413 Payload Too Large");
}

#[tokio::test]
async fn a_second_daemon_does_not_take_the_socket_and_a_killed_ones_is_replaced() {
    let mut bed = Bed::start();
    let refused = bed.daemon(None).unwrap_err().to_string();
    assert!(refused.contains("another lpad listens"), "{refused}");
    bed.daemon.take().unwrap().shutdown().await;
    let socket = bed.path().join("lpad.sock");
    assert!(!socket.exists());
    // What SIGKILL leaves: a socket without a listener.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    bed.daemon = Some(bed.daemon(None).unwrap());
    bed.client().version().await.unwrap();
}

#[tokio::test]
async fn a_socket_is_not_made_where_every_user_could_exchange_it() {
    let bed = Bed::new();
    let folder = bed.path();
    std::fs::create_dir(&folder).unwrap();
    let open = |mode| std::fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
    open(0o777);
    let refused = bed.daemon(None).unwrap_err().to_string();
    let why = format!(
        "every user may write to {} (mode 0777); chmod o-w it",
        folder.display()
    );
    assert!(refused.ends_with(&why), "{refused}");
    open(0o1777);
    bed.daemon(None).unwrap().shutdown().await;
}

#[tokio::test]
async fn a_socket_whose_listener_takes_no_more_does_not_hang_the_start() {
    let bed = Bed::new();
    std::fs::create_dir(bed.path()).unwrap();
    let socket = bed.path().join("lpad.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut queue = Vec::new();
    let full = loop {
        match UnixStream::connect(&socket).await {
            Ok(stream) => queue.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let refused = bed.daemon(None).unwrap_err().to_string();
    assert!(refused.contains("does not answer"), "{refused}");
}

#[tokio::test]
async fn numbers_of_operations_go_on_after_a_restart() {
    let mut bed = Bed::start();
    let first = bed.client().deliver_notifications("default").await.unwrap();
    bed.client().wait(first.id).await.unwrap();
    bed.daemon.take().unwrap().shutdown().await;
    bed.daemon = Some(bed.daemon(None).unwrap());
    let next = bed.client().deliver_notifications("default").await.unwrap();
    assert!(next.id > first.id);
    let ended = bed.client().wait(next.id).await.unwrap();
    assert_eq!(ended.problem.unwrap().code, Code::ModemUnavailable);
}

#[tokio::test]
async fn shutting_down_answers_whoever_waits() {
    let mut bed = Bed::start();
    let client = bed.client();
    let mut events = client.events(None).await.unwrap();
    bed.daemon.take().unwrap().shutdown().await;
    let rest = async { while events.next().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(10), rest)
        .await
        .unwrap();
    let gone = client.version().await.unwrap_err();
    assert!(matches!(gone, ClientError::Unreachable { .. }), "{gone}");
}
