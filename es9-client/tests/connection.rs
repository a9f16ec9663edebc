//! The client against servers that behave well and badly, over TLS in memory.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::future::{Future, pending};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use es9_client::es9::{CancelSessionRequestEs9, HandleNotification};
use es9_client::{
    Answer, AnswerError, CertificateError, Connect, Error, Es9Client, Es9Function, NameNotResolved,
    Opaque, Options, Outcome, Phase, ProtocolError, Roots, ServerAddress, TcpConnect, TlsError,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivateSec1KeyDer, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, copy_bidirectional, duplex};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

type Stream = tokio_rustls::server::TlsStream<DuplexStream>;

#[tokio::test(start_paused = true)]
async fn five_calls_and_an_early_connect_need_one_handshake() {
    let server = Server::start(answer_all);
    let client = client(&server);
    client.connect(&address()).await.unwrap();
    for _ in 0..5 {
        client.call(&address(), &cancel()).await.unwrap();
    }
    let counters = client.counters();
    assert_eq!((counters.handshakes, counters.requests), (1, 5));
    assert_eq!(server.connections(), 1);
    assert!(counters.bytes_sent > 1000 && counters.bytes_received > 1000);
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_while_the_handshake_runs_wait_for_it() {
    let server = Server::start(answer_all);
    let (client, address, cancel) = (client(&server), address(), cancel());
    let (early, first, second) = tokio::join!(
        client.connect(&address),
        client.call(&address, &cancel),
        client.call(&address, &cancel),
    );
    assert!(early.is_ok() && first.is_ok() && second.is_ok());
    assert_eq!(server.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_request_is_the_one_of_sgp_22() {
    let seen = Arc::new(Mutex::new(String::new()));
    let record = seen.clone();
    let server = Server::start(move |mut stream| {
        let record = record.clone();
        async move {
            *record.lock().unwrap() = read_request(&mut stream).await.unwrap();
            stream.write_all(NO_CONTENT).await.unwrap();
        }
    });
    let address: ServerAddress = "smdp.example.com:8443".parse().unwrap();
    client(&server)
        .call(&address, &notification())
        .await
        .unwrap();
    let request = seen.lock().unwrap().clone();
    for line in [
        "POST /gsma/rsp2/es9plus/handleNotification HTTP/1.1\r\n",
        "host: smdp.example.com:8443\r\n",
        "user-agent: gsma-rsp-lpad\r\n",
        "x-admin-protocol: gsma/rsp/v2.2.2\r\n",
        "content-type: application/json\r\n",
        "\r\n\r\n{\"pendingNotification\":\"vzcA\"}",
    ] {
        assert!(request.contains(line), "{line:?} is not in {request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_server_closed_between_calls_is_made_again() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(EXECUTED).await.unwrap();
    });
    let client = client(&server);
    for _ in 0..3 {
        client.call(&address(), &cancel()).await.unwrap();
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_was_idle_for_20_s_is_replaced_before_it_is_used() {
    let server = Server::start(answer_all);
    let client = client(&server);
    client.call(&address(), &cancel()).await.unwrap();
    sleep(Duration::from_secs(19)).await;
    client.call(&address(), &cancel()).await.unwrap();
    assert_eq!(server.connections(), 1);
    sleep(Duration::from_secs(20)).await;
    client.call(&address(), &cancel()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_once_more() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let server = Server::start(move |mut stream| {
        let count = count.clone();
        async move {
            read_request(&mut stream).await;
            if count.fetch_add(1, Ordering::Relaxed) == 1 {
                stream.write_all(EXECUTED).await.unwrap();
            }
        }
    });
    let client = client(&server);
    client.call(&address(), &cancel()).await.unwrap();
    assert_eq!(requests.load(Ordering::Relaxed), 2);
    assert_eq!(client.counters().requests, 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_never_sent_a_third_time() {
    let requests = Arc::new(AtomicUsize::new(0));
    let server = closes_without_an_answer(&requests);
    let client = client(&server);
    let error = client.call(&address(), &cancel()).await.unwrap_err();
    assert!(matches!(error, Error::Closed { sent: true, .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(requests.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_harm_twice_is_sent_once() {
    #[derive(Serialize)]
    struct RegisterEvent {}
    impl Es9Function for RegisterEvent {
        const NAME: &'static str = "registerEvent";
        type Response = ();

        fn response(answer: &Answer) -> Result<(), AnswerError> {
            answer.executed()
        }
    }
    let requests = Arc::new(AtomicUsize::new(0));
    let server = closes_without_an_answer(&requests);
    let client = client(&server);
    let error = client.call(&address(), &RegisterEvent {}).await;
    assert_eq!(error.unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_gone_when_asked_once_more_may_still_have_acted() {
    let requests = Arc::new(AtomicUsize::new(0));
    let server = closes_without_an_answer(&requests);
    let first = Mutex::new(Some(server.dial().unwrap()));
    let client = connecting(move |_| {
        let first = first.lock().unwrap().take();
        first.ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    });
    let error = client.call(&address(), &cancel()).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_no_answer() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream
            .write_all(&EXECUTED[..EXECUTED.len() - 1])
            .await
            .unwrap();
    });
    let error = client(&server)
        .call(&address(), &cancel())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Closed { sent: true, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn http_500_and_redirects_are_errors_with_their_status() {
    for (head, status, outcome) in [
        ("HTTP/1.1 500 Oops\r\n", 500, Outcome::Unknown),
        ("HTTP/1.1 404 Not Found\r\n", 404, Outcome::Refused),
        (
            "HTTP/1.1 302 Found\r\nLocation: https://evil.example.com/\r\n",
            302,
            Outcome::Refused,
        ),
    ] {
        let server = Server::start(move |mut stream| async move {
            read_request(&mut stream).await;
            let answer = format!("{head}Content-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            read_request(&mut stream).await;
        });
        let error = client(&server)
            .call(&address(), &cancel())
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Http { status: s, .. } if s == status),
            "{error}"
        );
        assert_eq!(error.outcome(), outcome, "{error}");
        assert!(
            error
                .to_string()
                .starts_with("smdp.example.com answered cancelSession")
        );
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_at_the_deadline_of_the_function() {
    let server = Server::start(be_silent);
    let client = client(&server);
    let begin = Instant::now();
    let error = client.call(&address(), &cancel()).await.unwrap_err();
    assert_eq!(begin.elapsed().as_secs(), 120);
    assert_eq!(client.counters().requests, 1);
    assert!(
        matches!(
            error,
            Error::Timeout {
                phase: Phase::Response,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(
        error.to_string(),
        "smdp.example.com did not answer within 120 s"
    );

    let begin = Instant::now();
    client.call(&address(), &notification()).await.unwrap_err();
    assert_eq!(begin.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_one_for_connecting_asking_and_asking_once_more() {
    let begin = Instant::now();
    let server = Server::start(move |mut stream| async move {
        read_request(&mut stream).await;
        match begin.elapsed().as_secs() {
            0..60 => sleep(Duration::from_secs(60)).await,
            _ => be_silent(stream).await,
        }
    });
    let client = connecting(slowly(&server, Duration::from_secs(20)));
    let error = client.call(&address(), &cancel()).await.unwrap_err();
    assert_eq!(begin.elapsed().as_secs(), 120);
    assert_eq!(
        error.to_string(),
        "smdp.example.com did not answer within 120 s"
    );
    assert_eq!(client.counters().requests, 2);
}

#[tokio::test(start_paused = true)]
async fn a_notification_has_one_deadline_for_the_connection_and_the_answer() {
    let server = Server::start(be_silent);
    let client = connecting(slowly(&server, Duration::from_secs(29)));
    let begin = Instant::now();
    let error = client.call(&address(), &notification()).await.unwrap_err();
    assert_eq!(begin.elapsed().as_secs(), 30);
    assert_eq!(error.outcome(), Outcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_an_earlier_call_counts() {
    let server = Server::start(be_silent);
    let client = client(&server);
    let (address, package, notification) = (address(), cancel(), notification());
    let begin = Instant::now();
    let earlier = client.call(&address, &package);
    let later = async {
        let error = client.call(&address, &notification).await.unwrap_err();
        assert_eq!(begin.elapsed().as_secs(), 30);
        error
    };
    let (earlier, later) = tokio::join!(earlier, later);
    earlier.unwrap_err();
    assert_eq!(begin.elapsed().as_secs(), 120);
    assert_eq!(
        later.to_string(),
        "smdp.example.com did not finish an earlier call within 30 s"
    );
    assert_eq!(later.outcome(), Outcome::NotReached);
    assert_eq!(client.counters().requests, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_sends_its_answer_byte_by_byte_forever_is_given_up_too() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        while stream.write_all(b"1\r\n \r\n").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    let error = client(&server)
        .call(&address(), &cancel())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Timeout {
                phase: Phase::Response,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_says_nothing_is_given_up_before_tls() {
    let held = Mutex::new(Vec::new());
    let client = connecting(move |_| {
        let (near, far) = duplex(1024);
        held.lock().unwrap().push(far);
        Ok(near)
    });
    let begin = Instant::now();
    let error = client.call(&address(), &cancel()).await.unwrap_err();
    assert_eq!(begin.elapsed().as_secs(), 30);
    assert!(
        matches!(
            error,
            Error::Timeout {
                phase: Phase::Connect,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.outcome(), Outcome::NotReached);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_64_megabytes_is_refused_without_reading_it() {
    let written = Arc::new(AtomicUsize::new(0));
    for head in ["Transfer-Encoding: chunked", "Content-Length: 67108864"] {
        let count = written.clone();
        let server = Server::start(move |mut stream| {
            let count = count.clone();
            async move {
                read_request(&mut stream).await;
                let head = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
                for _ in 0..1024 {
                    if stream.write_all(&chunk).await.is_err() {
                        return;
                    }
                    count.fetch_add(chunk.len(), Ordering::Relaxed);
                }
            }
        });
        let error = client(&server)
            .call(&address(), &cancel())
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::TooLarge {
                    limit: 4_194_304,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
    assert!(written.load(Ordering::Relaxed) < 6 * 1024 * 1024);
}

#[tokio::test(start_paused = true)]
async fn headers_without_end_and_foreign_protocols_are_no_http() {
    let endless = || {
        format!(
            "HTTP/1.1 200 OK\r\nX-Padding: {}\r\n\r\n",
            "x".repeat(100_000)
        )
    };
    for answer in [endless(), "SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned()] {
        let server = Server::start(move |mut stream| {
            let answer = answer.clone();
            async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                read_request(&mut stream).await;
            }
        });
        let error = client(&server)
            .call(&address(), &cancel())
            .await
            .unwrap_err();
        let cause = match error {
            Error::Protocol { cause, .. } => cause,
            error => panic!("{error}"),
        };
        assert!(matches!(cause, ProtocolError::NotHttp { .. }), "{cause}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_compressed_answer_is_called_one_unless_its_status_says_enough() {
    for (status, coding, error) in [
        (
            "200 OK",
            "gzip",
            Some(
                "smdp.example.com answered cancelSession in a way that cannot be understood: \
                 the answer has the content coding \"gzip\", which was not asked for",
            ),
        ),
        ("200 OK", "Identity", None),
        (
            "502 Bad Gateway",
            "gzip",
            Some("smdp.example.com answered cancelSession with HTTP status 502"),
        ),
    ] {
        let server = Server::start(move |mut stream| async move {
            let request = read_request(&mut stream).await.unwrap();
            assert!(
                request.contains("accept-encoding: identity\r\n"),
                "{request}"
            );
            let answer = String::from_utf8_lossy(EXECUTED);
            let answer =
                answer.replace("200 OK", &format!("{status}\r\nContent-Encoding: {coding}"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let answer = client(&server).call(&address(), &cancel()).await;
        assert_eq!(
            answer.err().map(|error| error.to_string()).as_deref(),
            error
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_may_be_dropped_at_any_await_and_the_next_one_works() {
    // One that is silent, one that takes no TLS, and a name that is never resolved.
    for stuck_at in [StuckAt::Answer, StuckAt::Handshake, StuckAt::Name] {
        let is_gone = Arc::new(AtomicBool::new(false));
        let server = Server::start({
            let is_gone = is_gone.clone();
            move |stream| {
                let is_gone = is_gone.clone();
                async move {
                    match is_gone.load(Ordering::Relaxed) {
                        true => answer_all(stream).await,
                        false => be_silent(stream).await,
                    }
                }
            }
        });
        let connect = Stuck {
            server: server.clone(),
            stuck_at,
            is_gone: is_gone.clone(),
            held: Mutex::default(),
        };
        let client = with_connect(connect);
        let (address, cancel) = (address(), cancel());
        let moment = Duration::from_secs(1);
        // The second one waits for the first one's connection.
        let (first, second) = tokio::join!(
            timeout(moment, client.call(&address, &cancel)),
            timeout(moment, client.call(&address, &cancel)),
        );
        assert!(first.is_err() && second.is_err(), "{stuck_at:?}");
        is_gone.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        client.call(&address, &cancel).await.unwrap();
        assert!(begin.elapsed() < moment, "{stuck_at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_another_may_be_dropped_without_disturbing_it() {
    let server = Server::start(|mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            sleep(Duration::from_secs(10)).await;
            stream.write_all(EXECUTED).await.unwrap();
        }
    });
    let (client, address, cancel) = (client(&server), address(), cancel());
    let (first, second) = tokio::join!(
        client.call(&address, &cancel),
        timeout(Duration::from_secs(1), client.call(&address, &cancel)),
    );
    first.unwrap();
    assert!(second.is_err());
    client.call(&address, &cancel).await.unwrap();
    assert_eq!((server.connections(), client.counters().requests), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_refused_certificate_keeps_its_reason_in_tls_1_2_and_1_3() {
    for version in [&TLS12, &TLS13] {
        let server = Server::start_with(version, |_| async {});
        let address: ServerAddress = "other.example.com".parse().unwrap();
        let error = client(&server).connect(&address).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotReached);
        assert_eq!(
            error.to_string(),
            "no secure connection to other.example.com: \
             the certificate is not for other.example.com but for smdp.example.com"
        );
        let cause = match error {
            Error::Tls { cause, .. } => *cause,
            error => panic!("{error}"),
        };
        let TlsError::Certificate(refusal) = cause else {
            panic!("{cause}");
        };
        assert!(
            matches!(refusal, CertificateError::WrongHost { .. }),
            "{refusal}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn tls_1_2_and_1_3_both_serve() {
    for version in [&TLS12, &TLS13] {
        let server = Server::start_with(version, |mut stream| async move {
            read_request(&mut stream).await;
            stream.write_all(EXECUTED).await.unwrap();
        });
        client(&server).call(&address(), &cancel()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_tls_is_refused() {
    let client = connecting(|_| {
        let (near, mut far) = duplex(1024);
        tokio::spawn(async move {
            let _ = far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = far.read_to_end(&mut Vec::new()).await;
        });
        Ok(near)
    });
    let error = client.call(&address(), &cancel()).await.unwrap_err();
    let cause = match error {
        Error::Tls { cause, .. } => *cause,
        error => panic!("{error}"),
    };
    assert!(matches!(cause, TlsError::Handshake(_)), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn failures_below_tls_are_told_apart() {
    let unknown = io::Error::new(
        io::ErrorKind::NotFound,
        NameNotResolved(io::Error::other("no such name")),
    );
    let unknown = Mutex::new(Some(unknown));
    let client = connecting(move |_| Err(unknown.lock().unwrap().take().unwrap()));
    let error = client.connect(&address()).await.unwrap_err();
    assert!(matches!(error, Error::Dns { .. }), "{error}");

    let client = connecting(|_| Err(io::ErrorKind::ConnectionRefused.into()));
    let error = client.connect(&address()).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");

    let client = connecting(|_| Ok(duplex(1024).0));
    let error = client.connect(&address()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Tls { cause, .. } if matches!(**cause, TlsError::Interrupted(_))),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn close_ends_the_connection_towards_the_server() {
    let (ended, mut end) = unbounded_channel();
    let server = Server::start(move |mut stream| {
        let ended = ended.clone();
        async move {
            assert!(read_request(&mut stream).await.is_none());
            ended.send(()).unwrap();
        }
    });
    let client = client(&server);
    client.connect(&address()).await.unwrap();
    client.close().await;
    assert_eq!(end.recv().await, Some(()));
}

#[tokio::test(start_paused = true)]
async fn close_spares_a_call_under_way() {
    let server = Server::start(|mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            sleep(Duration::from_secs(10)).await;
            stream.write_all(EXECUTED).await.unwrap();
        }
    });
    let (client, address, cancel) = (client(&server), address(), cancel());
    let (answer, ()) = tokio::join!(client.call(&address, &cancel), client.close());
    answer.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn tcp_goes_to_the_target_set_for_a_host() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let connect = TcpConnect::with_targets([("SMDP.example.com".to_owned(), target)]);
    let (stream, accepted) =
        tokio::join!(connect.connect("smdp.EXAMPLE.com", 443), listener.accept());
    assert_eq!(stream.unwrap().local_addr().unwrap(), accepted.unwrap().1);
}

#[test]
fn calls_can_be_spawned() {
    fn is_send<T: Send>(_: &T) {}
    let client = connecting(|_| Err(io::ErrorKind::NotFound.into()));
    let (address, cancel) = (address(), cancel());
    is_send(&client.call(&address, &cancel));
    is_send(&client.connect(&address));
    is_send(&client.close());
}

/// A client that trusts the test issuer, at a time in 2026.
fn connecting(
    connect: impl Fn(&str) -> io::Result<DuplexStream> + Send + Sync + 'static,
) -> Es9Client<Memory> {
    with_connect(Memory(Box::new(connect)))
}

fn with_connect<C: Connect>(connect: C) -> Es9Client<C> {
    let mut roots = Roots::empty();
    roots.add_der(&vector("certificates", "CI")).unwrap();
    let options = Options {
        clock: Arc::new(In2026),
        ..Options::default()
    };
    Es9Client::new(connect, roots, options)
}

fn client(server: &Server) -> Es9Client<Memory> {
    let server = server.clone();
    connecting(move |_| server.dial())
}

/// Reaches a server that takes its time to begin with TLS.
fn slowly(
    server: &Server,
    pause: Duration,
) -> impl Fn(&str) -> io::Result<DuplexStream> + Send + Sync + 'static {
    let server = server.clone();
    move |_| {
        let (near, mut far) = duplex(16 * 1024);
        let server = server.clone();
        tokio::spawn(async move {
            sleep(pause).await;
            let mut near = server.dial()?;
            copy_bidirectional(&mut near, &mut far).await
        });
        Ok(near)
    }
}

async fn answer_all(mut stream: Stream) {
    while read_request(&mut stream).await.is_some() {
        stream.write_all(EXECUTED).await.unwrap();
    }
}

async fn be_silent(mut stream: Stream) {
    while read_request(&mut stream).await.is_some() {}
}

fn closes_without_an_answer(requests: &Arc<AtomicUsize>) -> Server {
    let requests = requests.clone();
    Server::start(move |mut stream| {
        let requests = requests.clone();
        async move {
            read_request(&mut stream).await;
            requests.fetch_add(1, Ordering::Relaxed);
        }
    })
}

type Dial = dyn Fn(&str) -> io::Result<DuplexStream> + Send + Sync;

struct Memory(Box<Dial>);

impl Connect for Memory {
    type Stream = DuplexStream;

    async fn connect(&self, host: &str, _port: u16) -> io::Result<DuplexStream> {
        (self.0)(host)
    }
}

/// What keeps a server from answering for a while.
#[derive(Clone, Copy, Debug)]
enum StuckAt {
    Name,
    Answer,
    Handshake,
}

struct Stuck {
    server: Server,
    stuck_at: StuckAt,
    is_gone: Arc<AtomicBool>,
    held: Mutex<Vec<DuplexStream>>,
}

impl Connect for Stuck {
    type Stream = DuplexStream;

    async fn connect(&self, _host: &str, _port: u16) -> io::Result<DuplexStream> {
        match self.stuck_at {
            _ if self.is_gone.load(Ordering::Relaxed) => self.server.dial(),
            StuckAt::Name => pending().await,
            StuckAt::Answer => self.server.dial(),
            StuckAt::Handshake => {
                let (near, far) = duplex(1024);
                self.held.lock().unwrap().push(far);
                Ok(near)
            }
        }
    }
}

#[derive(Debug)]
struct In2026;

impl TimeProvider for In2026 {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            1_795_000_000,
        )))
    }
}

/// A TLS server with the test certificate for `smdp.example.com`.
#[derive(Clone)]
struct Server {
    incoming: UnboundedSender<DuplexStream>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start<F>(serve: impl Fn(Stream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(&TLS13, serve)
    }

    fn start_with<F>(
        version: &'static SupportedProtocolVersion,
        serve: impl Fn(Stream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(server_config(version));
        let (incoming, mut streams) = unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Some(stream) = streams.recv().await {
                count.fetch_add(1, Ordering::Relaxed);
                if let Ok(stream) = acceptor.accept(stream).await {
                    tokio::spawn(serve(stream));
                }
            }
        });
        Self {
            incoming,
            connections,
        }
    }

    fn dial(&self) -> io::Result<DuplexStream> {
        let (near, far) = duplex(16 * 1024);
        self.incoming
            .send(far)
            .map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn server_config(version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let key = PrivateKeyDer::Sec1(sec1(
        &vector("privateKeys", "DPTLS"),
        &vector("publicKeys", "DPTLS"),
    ));
    let key = provider.key_provider.load_private_key(key).unwrap();
    let chain = vec![CertificateDer::from(vector("certificates", "DPTLS"))];
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
            chain, key,
        ))));
    Arc::new(config)
}

/// RFC 5915: a private key on P-256 with its public point.
fn sec1(secret: &[u8], point: &[u8]) -> PrivateSec1KeyDer<'static> {
    let mut der = vec![0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
    der.extend(secret);
    der.extend([
        0xA0, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07,
    ]);
    der.extend([0xA1, 0x44, 0x03, 0x42, 0x00]);
    der.extend(point);
    PrivateSec1KeyDer::from(der)
}

/// Reads one request with its body, or nothing when the client closes first.
async fn read_request(stream: &mut Stream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn vector(group: &str, name: &str) -> Vec<u8> {
    let text = include_str!("../../es10-apdu/vectors/vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    hex::decode(vectors[group][name].as_str().unwrap()).unwrap()
}

fn address() -> ServerAddress {
    "smdp.example.com".parse().unwrap()
}

fn cancel() -> CancelSessionRequestEs9 {
    CancelSessionRequestEs9 {
        transaction_id: "0102".parse().unwrap(),
        cancel_session_response: Opaque::from(&[0xBF, 0x41, 0x00][..]),
    }
}

fn notification() -> HandleNotification {
    HandleNotification {
        pending_notification: Opaque::from(&[0xBF, 0x37, 0x00][..]),
    }
}

const EXECUTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\n\
    Content-Length: 69\r\n\r\n\
    {\"header\":{\"functionExecutionStatus\":{\"status\":\"Executed-Success\"}}}\n";

const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
