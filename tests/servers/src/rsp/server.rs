//! Connections and requests.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use es9_client::Answer;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode as HttpStatus};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::echo::{Echo, Twice};
use super::faults::{Fault, rewrite};
use super::fields::Members;
use super::http::{self, Body, CutOff};
use super::status::StatusCode;

/// Accepts connections until `shutdown` completes, then closes those that are left.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
    handle: impl Fn(tokio::net::TcpStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    // Answers are written whole; waiting for more to send only delays them.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(handle(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Completes the TLS handshake; a client that cannot is only worth a line in the log.
pub(crate) async fn handshake<S>(config: Arc<ServerConfig>, stream: S) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = TlsAcceptor::from(config).accept(stream);
    match tokio::time::timeout(HANDSHAKE_DEADLINE, handshake).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::info!(%error, "TLS handshake failed"),
        Err(_) => tracing::info!("TLS handshake took too long"),
    }
    None
}

/// Answers the requests on a connection until the client closes it.
pub(crate) async fn serve_http<S, F>(stream: S, answer: impl Fn(Request<Incoming>) -> F)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = Result<Response<Body>, CutOff>>,
{
    let (stream, echo) = Echo::over(stream);
    let answer = |request| {
        let (answer, echo) = (answer(request), echo.clone());
        async move {
            let response = answer.await?;
            if response.extensions().get::<Twice>().is_some() {
                echo.repeat();
            }
            Ok::<_, CutOff>(response)
        }
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_DEADLINE)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

/// Answers one call of a function, with the fault planned for it.
///
/// SGP.22 v2.5 section 6.
pub(crate) async fn call<B: RequestBody, F: Future<Output = Response<Body>>>(
    request: Request<B>,
    fault: Option<&Fault>,
    execute: impl FnOnce(Value) -> F,
) -> Result<Response<Body>, CutOff> {
    if let Some(fault) = fault
        && let Some(answer) = instead_of_answer(fault).await
    {
        return answer;
    }
    if request.method() != Method::POST {
        return Ok(http::empty(HttpStatus::METHOD_NOT_ALLOWED));
    }
    let (parts, body) = request.into_parts();
    let body = match read(body).await {
        Ok(body) => body,
        Err(status) => return Ok(http::empty(status)),
    };
    let response = match parse(&parts.headers, &body) {
        Ok(request) => execute(request).await,
        Err(Refusal::Http(status)) => http::empty(status),
        Err(Refusal::Rsp(status)) => failed(status),
    };
    match fault {
        Some(fault) => spoil(fault, response),
        None => Ok(response),
    }
}

/// A request that no connection carries.
#[derive(Clone, Copy, Debug)]
pub struct DirectRequest<'a> {
    /// The method, such as `POST`.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Names and values of the headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

impl DirectRequest<'_> {
    /// Lets a server answer; nothing when the request is not HTTP or the answer is cut off.
    pub(crate) async fn answered_by(
        self,
        answer: impl AsyncFnOnce(Request<Full<Bytes>>) -> Result<Response<Body>, CutOff>,
    ) -> Option<Answer> {
        let mut request = Request::builder().method(self.method).uri(self.target);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(self.body));
        let (head, body) = answer(request.body(body).ok()?).await.ok()?.into_parts();
        let content_type = head.headers.get(CONTENT_TYPE);
        Some(Answer {
            status: head.status.as_u16(),
            content_type: content_type.and_then(|value| Some(value.to_str().ok()?.to_owned())),
            body: body.collect().await.ok()?.to_bytes(),
        })
    }
}

/// A body that can be read whole.
pub(crate) trait RequestBody:
    HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
{
}

impl<B> RequestBody for B where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
{
}

/// What a fault answers without looking at the request; `None` when it comes in later.
async fn instead_of_answer(fault: &Fault) -> Option<Result<Response<Body>, CutOff>> {
    Some(match fault {
        Fault::HttpStatus(status) => Ok(http::empty(http_status(*status))),
        Fault::Refuse(status) => Ok(failed(*status)),
        Fault::CloseConnection => Err(CutOff),
        Fault::Silence => {
            tokio::time::sleep(SILENCE).await;
            Err(CutOff)
        }
        Fault::HugeBody(length) => {
            let mut response = http::json(HttpStatus::OK, &Value::Null);
            *response.body_mut() = Body::Filler(*length);
            Ok(response)
        }
        Fault::Redirect(url) => {
            let mut response = http::empty(HttpStatus::TEMPORARY_REDIRECT);
            set(&mut response, LOCATION, url);
            Ok(response)
        }
        _ => return None,
    })
}

/// What a fault makes of a finished answer.
fn spoil(fault: &Fault, mut response: Response<Body>) -> Result<Response<Body>, CutOff> {
    let body = match response.body() {
        Body::Whole(body) => body.clone(),
        _ => Bytes::new(),
    };
    if let Some(text) = rewrite(fault, &body) {
        *response.body_mut() = Body::Whole(text.into());
        return Ok(response);
    }
    match fault {
        Fault::LoseAnswer => return Err(CutOff),
        Fault::ExecutedHttpStatus(status) => response = http::empty(http_status(*status)),
        Fault::Body(text) => response = http::whole(text.clone().into()),
        Fault::Html => {
            response = http::whole(PAGE.into());
            set(&mut response, CONTENT_TYPE, "text/html");
        }
        // Only a notification is answered without a body.
        Fault::Status(text) if body.is_empty() => {
            let status = json!({ "functionExecutionStatus": { "status": text } });
            response = with_protocol(http::json(HttpStatus::OK, &json!({ "header": status })));
        }
        Fault::ContentType(value) => set(&mut response, CONTENT_TYPE, value),
        Fault::Protocol(value) if value.is_empty() => {
            response.headers_mut().remove(PROTOCOL);
        }
        Fault::Protocol(value) => set(&mut response, PROTOCOL, value),
        Fault::AnswerTwice => drop(response.extensions_mut().insert(Twice)),
        Fault::SlowBody(rate) => *response.body_mut() = Body::slow(body, *rate),
        Fault::Chunked(octets) => *response.body_mut() = Body::chunked(body, *octets),
        Fault::TruncatedBody => {
            let (sent, announced) = (body.slice(..body.len() / 2), body.len() as u64);
            *response.body_mut() = Body::Cut { sent, announced };
        }
        _ => {}
    }
    Ok(response)
}

fn http_status(status: u16) -> HttpStatus {
    HttpStatus::from_u16(status).unwrap_or(HttpStatus::BAD_GATEWAY)
}

/// Sets a header; one that HTTP cannot carry stays as it was.
fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => drop(response.headers_mut().insert(name, value)),
        Err(error) => tracing::warn!(%name, value, %error, "this cannot be said in HTTP"),
    }
}

/// Why a request is not executed.
enum Refusal {
    Http(HttpStatus),
    Rsp(StatusCode),
}

/// Checks the frame of a request and reads its body.
///
/// SGP.22 v2.5 section 6.3: JSON, with the protocol version in a header of its own.
fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let media_type = header(CONTENT_TYPE.as_str()).and_then(|value| value.split(';').next());
    if !media_type.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Refusal::Http(HttpStatus::UNSUPPORTED_MEDIA_TYPE));
    }
    if !header(PROTOCOL.as_str()).is_some_and(|value| value.starts_with("gsma/rsp/v")) {
        return Err(Refusal::Rsp(StatusCode::MISSING_PROTOCOL));
    }
    serde_json::from_slice(body)
        .ok()
        .filter(Value::is_object)
        .ok_or(Refusal::Http(HttpStatus::BAD_REQUEST))
}

/// Reads a body of reasonable size in reasonable time.
pub(crate) async fn read<B: RequestBody>(body: B) -> Result<Bytes, HttpStatus> {
    let body = Limited::new(body, MAX_BODY).collect();
    match tokio::time::timeout(BODY_DEADLINE, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(HttpStatus::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(HttpStatus::BAD_REQUEST),
        Err(_) => Err(HttpStatus::REQUEST_TIMEOUT),
    }
}

/// A function was executed: what came of it.
pub(crate) fn executed(mut members: Members) -> Response<Body> {
    let status = json!({ "functionExecutionStatus": { "status": "Executed-Success" } });
    members.insert("header".to_owned(), status);
    with_protocol(http::json(HttpStatus::OK, &Value::Object(members)))
}

/// A function was not executed.
pub(crate) fn failed(status: StatusCode) -> Response<Body> {
    let data = json!({ "subjectCode": status.subject, "reasonCode": status.reason });
    let status = json!({ "status": "Failed", "statusCodeData": data });
    let body = json!({ "header": { "functionExecutionStatus": status } });
    with_protocol(http::json(HttpStatus::OK, &body))
}

/// The protocol version this server speaks, told with every answer to a function.
pub(crate) fn with_protocol(mut response: Response<Body>) -> Response<Body> {
    let version = HeaderValue::from_static("gsma/rsp/v2.5.0");
    response.headers_mut().insert(PROTOCOL, version);
    response
}

const PROTOCOL: HeaderName = HeaderName::from_static("x-admin-protocol");
const PAGE: &str = "<!DOCTYPE html>\n<html><body><h1>It works!</h1></body></html>\n";

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const BODY_DEADLINE: Duration = Duration::from_secs(60);
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(30);
const IDLE_DEADLINE: Duration = Duration::from_secs(600);
const SILENCE: Duration = Duration::from_secs(3600);
const MAX_BODY: usize = 1 << 20;
const MAX_CONNECTIONS: usize = 64;
