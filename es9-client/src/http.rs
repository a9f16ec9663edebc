//! One HTTP/1.1 connection over TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, USER_AGENT,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::envelope::{Answer, ProtocolError};
use crate::wire::ServerAddress;

/// A connection that is kept alive between calls.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: Task,
}

impl Connection {
    /// Begins HTTP/1.1 on a stream that is secure already.
    pub(crate) async fn open(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> hyper::Result<Self> {
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEADER_SIZE)
            .handshake(TokioIo::new(stream))
            .await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok(Self {
            sender,
            task: Task(task),
        })
    }

    /// Whether another request may be sent as far as is known here.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        max_body: usize,
    ) -> Result<Answer, ExchangeError> {
        read(self.send(request).await?, max_body).await
    }

    /// Sends one request and reads the head of the answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        // hyper notices here that the server has closed the connection meanwhile.
        if self.sender.ready().await.is_err() {
            return Err(ExchangeError::NotSent);
        }
        // hyper gives the request back only if nothing of it was written.
        let response = self.sender.try_send_request(request).await;
        response.map_err(|mut error| match error.take_message() {
            Some(_) => ExchangeError::NotSent,
            None => error.into_error().into(),
        })
    }

    /// Says goodbye to the server, and waits a moment until that is written.
    pub(crate) async fn close(self) {
        let Self { sender, mut task } = self;
        drop(sender);
        let _ = timeout(GOODBYE, &mut task.0).await;
    }
}

/// Drives a connection, and ends with it. Without the abort, hyper would wait for the answer to a
/// request that was given up, for as long as the server likes.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why an exchange on a connection brought no answer.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The connection was closed before the first byte of the request.
    NotSent,
    /// The connection was closed later.
    Closed,
    /// The body is larger than allowed.
    TooLarge,
    /// The server does not speak HTTP/1.1.
    NotHttp(String),
    /// The body is compressed, which was not asked for.
    Encoded(String),
}

impl From<hyper::Error> for ExchangeError {
    fn from(error: hyper::Error) -> Self {
        match error.is_parse() {
            true => Self::NotHttp(error.to_string()),
            false => Self::Closed,
        }
    }
}

/// The request of one function.
///
/// SGP.22 v2.5 section 6.2.
pub(crate) fn request(
    address: &ServerAddress,
    interface: &str,
    function: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, ProtocolError> {
    Request::post(format!("/gsma/rsp2/{interface}/{function}"))
        .header(HOST, address.to_string())
        .header(USER_AGENT, "gsma-rsp-lpad")
        .header("X-Admin-Protocol", ADMIN_PROTOCOL)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        // Without it any coding would be welcome, says RFC 9110 section 12.5.3.
        .header(ACCEPT_ENCODING, "identity")
        .body(Full::new(body))
        .map_err(|error| ProtocolError::Request {
            reason: error.to_string(),
        })
}

async fn read(response: Response<Incoming>, max_body: usize) -> Result<Answer, ExchangeError> {
    let (head, body) = response.into_parts();
    let header = |name: HeaderName| {
        let value = head.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    // The bodies of other statuses are not looked at, so their coding does not matter.
    if head.status == StatusCode::OK
        && let Some(coding) = header(CONTENT_ENCODING)
        && !coding.eq_ignore_ascii_case("identity")
    {
        return Err(ExchangeError::Encoded(coding));
    }
    // A server that announces too much need not be read first.
    if body.size_hint().lower() > max_body as u64 {
        return Err(ExchangeError::TooLarge);
    }
    let body = Limited::new(body, max_body).collect().await;
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(error) => ExchangeError::from(*error),
        Err(error) if error.is::<LengthLimitError>() => ExchangeError::TooLarge,
        Err(_) => ExchangeError::Closed,
    })?;
    Ok(Answer {
        status: head.status.as_u16(),
        content_type: header(CONTENT_TYPE),
        body: body.to_bytes(),
    })
}

/// Bytes that went over the wire, TLS included.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
}

/// A stream whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    pub(crate) stream: S,
    pub(crate) traffic: Arc<Traffic>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        self.traffic
            .received
            .fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.traffic.sent.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// SGP.22 wants the highest version that is supported here. LPAs in the field send this one, and no
/// server is known to act on it.
const ADMIN_PROTOCOL: &str = "gsma/rsp/v2.2.2";

/// Only `close_notify` is to be written. A server that does not take it in time misses nothing.
const GOODBYE: Duration = Duration::from_secs(2);
/// More than any server sends; hyper's own limits are 100 headers and 400 KiB.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_SIZE: usize = 32 * 1024;
