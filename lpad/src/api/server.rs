//! The socket and the connections.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Response;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::action::{Access, Request};
use super::actor::Actor;
use super::answer::{Api, error_response};
use super::connections::{Admission, Answering, Connections, Slot};
use super::routes;
use super::socket::Socket;
use super::status::ErrorResponse;
use super::stream::ClientStream;
use crate::memory::journal::RequestKey;
use crate::problem::{Code, Problem};
use crate::runtime::closing::Closing;

impl Api {
    /// Serves until `closing` becomes true, then lets the requests under way end, but not for long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes every connection; operations go on.
    pub async fn serve(self, mut socket: Socket, closing: Closing) {
        let api = Arc::new(self);
        let mut connections = Connections::new(api.max_connections);
        loop {
            let accepted = tokio::select! {
                () = closing.announced() => break,
                () = connections.ended() => continue,
                () = socket.lost() => {
                    socket.make_again();
                    continue;
                }
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    // The kernel tells who connects, unless the client has left already.
                    let Ok(actor) = Actor::of(&stream) else {
                        continue;
                    };
                    let stream = ClientStream::new(stream);
                    if stream.is_closed() {
                        // It gave up while it waited, perhaps for a daemon that did not run, and
                        // does not expect any more what it asked for.
                        continue;
                    }
                    match connections.admit(actor.uid) {
                        Admission::Take(slot) => {
                            let (api, closing) = (Arc::clone(&api), closing.clone());
                            let place = Arc::clone(&slot);
                            connections.serve(&slot, api.connection(stream, actor, place, closing));
                        }
                        Admission::Refuse => connections.refuse(refuse(stream)),
                    }
                    // Lets the newcomer read its request, before it is idle for the next one.
                    yield_now().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Out of descriptors: give others time to close theirs.
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(socket);
        if timeout(DRAIN, connections.drain()).await.is_err() {
            tracing::warn!("clients are still connected and are left");
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: ClientStream,
        actor: Actor,
        slot: Arc<Slot>,
        closing: Closing,
    ) {
        let service = service_fn(|request| {
            let (api, closing) = (Arc::clone(&self), closing.clone());
            let answering = slot.answering();
            async move { Ok::<_, Infallible>(api.request(actor, request, answering, closing).await) }
        });
        let connection = http().serve_connection(TokioIo::new(stream.clone()), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            // First, because a request is heard that came before its client left. One that left
            // before it was accepted is not served at all.
            biased;
            ended = connection.as_mut() => ended,
            () = stream.closed() => return,
            () = slot.idle_too_long() => return,
            () = closing.announced() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn request(
        &self,
        actor: Actor,
        request: hyper::Request<Incoming>,
        answering: Answering,
        closing: Closing,
    ) -> Response<Answer> {
        let response = match self.answer(actor, request, &answering, closing).await {
            Ok(response) => response,
            Err(error) => error_response(&error),
        };
        response.map(|body| Answer {
            body,
            _until_sent: answering,
        })
    }

    async fn answer(
        &self,
        actor: Actor,
        request: hyper::Request<Incoming>,
        answering: &Answering,
        closing: Closing,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, ErrorResponse> {
        let access = self.permissions.access(actor);
        if access == Access::None {
            return Err(Problem::new(Code::Forbidden).into());
        }
        let (head, body) = request.into_parts();
        if head.headers.contains_key(ORIGIN) {
            // Only browsers send it, and no page of theirs has any business here.
            return Err(Problem::new(Code::Forbidden)
                .detail("Requests of web pages, with an Origin header, are refused.")
                .next_step("Use a client that is no web browser.")
                .into());
        }
        answering.receives();
        let body = read_body(body).await;
        answering.received();
        let body = body?;
        let key = header(&head.headers, "idempotency-key")?;
        let action = routes::route(&Request {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            last_event_id: header(&head.headers, "last-event-id")?,
            body: &body,
        })?;
        if access < action.access() {
            return Err(Problem::new(Code::Forbidden).into());
        }
        let lock = action.lock(|euicc, iccid| self.may_be_test(euicc, iccid));
        if lock.is_some_and(|lock| self.permissions.leaves_to_root(lock, actor)) {
            return Err(Problem::new(Code::Forbidden)
                .detail("root_only under [api] leaves this to root and the user of lpad.")
                .next_step("Run the command as root.")
                .into());
        }
        let key = key.filter(|_| action.access() == Access::Change);
        let request_key = key.map(|key| {
            RequestKey::new(
                key,
                actor.uid,
                head.method.as_str(),
                // Who asks by force asks for something else.
                head.uri
                    .path_and_query()
                    .map_or_else(|| head.uri.path(), |asked| asked.as_str()),
                self.key.mark(&body).as_ref(),
            )
        });
        let answer = self.act(action, actor, request_key, answering, closing);
        Ok(answer.await?)
    }
}

/// How every connection is served.
fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // The head's deadline is kept by `Slot::idle_too_long`, which knows who is waited for.
    http.timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(16 * 1024)
        // A client that says no more still wants its answer.
        .half_close(true)
        // A clock before 1970 or after 9999 has no such date, and hyper panics.
        .auto_date_header(false);
    http
}

/// Tells a client that there is no place for it.
async fn refuse(stream: ClientStream) {
    let service = service_fn(|_| async {
        let error = Problem::new(Code::TooManyConnections).into();
        Ok::<_, Infallible>(error_response(&error))
    });
    let mut http = http();
    let refused = http
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let _ = timeout(REFUSAL, refused).await;
}

/// The body of an answer, with the request it belongs to.
struct Answer {
    body: BoxBody<Bytes, Infallible>,
    _until_sent: Answering,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, Problem> {
    match timeout(REQUEST_DEADLINE, Limited::new(body, BODY_LIMIT).collect()).await {
        Err(_) => Err(Problem::new(Code::RequestTimeout)),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(Code::BodyTooLarge)),
        Ok(Err(_)) => {
            Err(Problem::new(Code::InvalidRequest).detail("the body ends before its end."))
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(
            Problem::new(Code::InvalidRequest).detail(format!("{name} is there more than once."))
        );
    }
    match value.to_str() {
        Ok(text) if (1..=128).contains(&text.len()) => Ok(Some(text)),
        _ => Err(Problem::new(Code::InvalidRequest)
            .detail(format!("{name} has 1 to 128 printable characters."))),
    }
}

/// The largest body a request may have.
const BODY_LIMIT: usize = 64 * 1024;
/// How long a request's head, and its body, may take to arrive.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// How long a client that is refused may take to hear it.
const REFUSAL: Duration = Duration::from_secs(1);
/// How long requests under way may take when the daemon ends.
const DRAIN: Duration = Duration::from_secs(3);
