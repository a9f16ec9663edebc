//! An HTTP server that keeps the requests it receives: an operator whose callbacks a test looks at.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A request that was received.
#[derive(Debug)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

/// A server on the loopback that answers with these statuses, and stays with the last one.
///
/// # Panics
///
/// When no port is free.
pub async fn called(statuses: &[u16]) -> (SocketAddr, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let (sender, received) = mpsc::channel(100);
    let mut statuses = statuses.to_vec();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let status = match statuses.len() {
                1 => statuses[0],
                _ => statuses.remove(0),
            };
            tokio::spawn(serve_one(stream, status, sender.clone()));
        }
    });
    (address, received)
}

/// Answers the requests of one connection.
pub(crate) async fn serve_one<S>(stream: S, status: u16, sender: mpsc::Sender<Received>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = service_fn(|request: Request<Incoming>| async {
        let (parts, body) = request.into_parts();
        let received = Received {
            method: parts.method,
            path: parts.uri.to_string(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        };
        // A test that has ended receives nothing any more.
        let _ = sender.send(received).await;
        let mut answer = Response::new(Full::<Bytes>::default());
        *answer.status_mut() = status.try_into().unwrap_or_default();
        Ok::<_, hyper::Error>(answer)
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // The client may close the connection at any time.
    let _ = connection.await;
}
