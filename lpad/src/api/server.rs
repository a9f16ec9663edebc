//! The socket, the connections and what each action is answered with.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::{self, Permissions as Mode};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::Mode as Umask;
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::action::{Access, Action, Request};
use super::actor::{Accounts, Actor, Permissions};
use super::connections::Connections;
use super::euiccs::EuiccList;
use super::events::EventStream;
use super::health::{Health, Version};
use super::notifications::NotificationList;
use super::operations::OperationList;
use super::profiles::ProfileList;
use super::{openapi, routes};
use crate::config::ApiConfig;
use crate::engine::EngineHandle;
use crate::memory::events::Events;
use crate::memory::journal::{RequestKey, SharedJournal};
use crate::memory::operations::{Operation, Operations};
use crate::memory::snapshot::{Availability, Snapshot};
use crate::problem::{Code, Problem};
use crate::runtime::closing::Closing;

/// Makes the socket: only root, the daemon's user and the admin group can open it.
///
/// A socket nobody listens on is what a killed daemon leaves, and is replaced.
///
/// # Errors
///
/// When another daemon listens on it, the path is something else than a socket, or it cannot be made.
pub fn bind(config: &ApiConfig) -> io::Result<UnixListener> {
    let path = &config.socket;
    remove_stale(path)?;
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        fs::create_dir_all(directory)?;
    }
    // Nobody else may connect before the permissions are set.
    let umask = rustix::process::umask(Umask::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(umask);
    let listener = listener?;
    let group = match config.reader_group {
        // Two groups cannot own one file; SO_PEERCRED sorts the callers out.
        Some(_) => None,
        None => Accounts::read().group_id(&config.admin_group),
    };
    if let Some(group) = group
        && let Err(error) = chown(path, None, Some(group))
    {
        tracing::warn!(group = config.admin_group, %error, "the socket stays with its group");
    }
    let mode = if config.reader_group.is_some() {
        0o666
    } else {
        0o660
    };
    fs::set_permissions(path, Mode::from_mode(mode))?;
    Ok(listener)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        let message = format!("{} exists and is no socket", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => {
            let message = format!("another lpad listens on {}", path.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
    }
}

/// What the API answers from.
#[derive(Debug)]
pub struct Api {
    /// The engines by name.
    pub engines: BTreeMap<String, EngineHandle>,
    /// All operations.
    pub operations: Operations,
    /// What is kept on disk.
    pub journal: SharedJournal,
    /// What happens.
    pub events: Events,
    /// Who may do what.
    pub permissions: Permissions,
    /// How many connections are served at the same time.
    pub max_connections: usize,
}

impl Api {
    /// Serves until `closing` becomes true, then lets the requests under way end, but not for long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes every connection; operations go on.
    pub async fn serve(self, listener: UnixListener, closing: Closing) {
        let api = Arc::new(self);
        let mut connections = Connections::new(api.max_connections);
        loop {
            let accepted = tokio::select! {
                () = closing.announced() => break,
                () = connections.ended() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    tokio::select! {
                        () = closing.announced() => break,
                        () = connections.make_room() => {}
                    }
                    let (api, closing) = (Arc::clone(&api), closing.clone());
                    connections.serve(|leave| api.connection(stream, leave, closing));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Out of descriptors: give others time to close theirs.
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        if timeout(DRAIN, connections.drain()).await.is_err() {
            tracing::warn!("clients are still connected and are left");
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: UnixStream,
        leave: oneshot::Receiver<()>,
        closing: Closing,
    ) {
        // The kernel tells who connected, unless the client has left already.
        let Ok(actor) = Actor::of(&stream) else {
            return;
        };
        let service = service_fn(|request| {
            let (api, closing) = (Arc::clone(&self), closing.clone());
            async move { Ok::<_, Infallible>(api.request(actor, request, closing).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_DEADLINE)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let told_to_end = async {
            tokio::select! {
                () = closing.announced() => {}
                _ = leave => {}
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = told_to_end => {
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
        closing: Closing,
    ) -> Response<BoxBody<Bytes, Infallible>> {
        match self.answer(actor, request, closing).await {
            Ok(response) => response,
            Err(problem) => problem_response(&problem),
        }
    }

    async fn answer(
        &self,
        actor: Actor,
        request: hyper::Request<Incoming>,
        closing: Closing,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Problem> {
        let access = self.permissions.access(actor);
        if access == Access::None {
            return Err(Problem::new(Code::Forbidden));
        }
        let (head, body) = request.into_parts();
        let body = read_body(body).await?;
        let action = routes::route(&Request {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            idempotency_key: header(&head.headers, "idempotency-key")?,
            last_event_id: header(&head.headers, "last-event-id")?,
            body: &body,
        })?;
        if access < action.access() {
            return Err(Problem::new(Code::Forbidden));
        }
        let request_key = match &action {
            Action::Start {
                idempotency_key: Some(key),
                ..
            } => Some(RequestKey::new(
                key,
                actor.uid,
                head.method.as_str(),
                head.uri.path(),
                &body,
            )),
            _ => None,
        };
        self.act(action, request_key, closing).await
    }

    async fn act(
        &self,
        action: Action,
        request_key: Option<RequestKey>,
        closing: Closing,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Problem> {
        match action {
            Action::Health => Ok(ok(&Health::new(self.availability(), &self.journal))),
            Action::Version => Ok(ok(&Version::own())),
            Action::OpenApi => Ok(text(StatusCode::OK, JSON, openapi::DOCUMENT)),
            Action::Euiccs => {
                let euiccs = self
                    .engines
                    .values()
                    .map(|engine| engine.snapshot().euicc)
                    .collect();
                Ok(ok(&EuiccList { euiccs }))
            }
            Action::Euicc(name) => Ok(ok(&self.engine(&name)?.fresh().await.euicc)),
            Action::Addresses(name) => Ok(ok(&self.card(&name).await?.addresses)),
            Action::Profiles(name) => Ok(ok(&ProfileList {
                profiles: self.card(&name).await?.profiles,
            })),
            Action::Profile { euicc, iccid } => {
                let profiles = self.card(&euicc).await?.profiles;
                let profile = profiles.iter().find(|profile| profile.iccid == iccid);
                profile.map(ok).ok_or_else(|| {
                    Problem::new(Code::UnknownProfile)
                        .detail(format!("no profile {iccid} is on the card."))
                })
            }
            Action::Notifications(name) => {
                let notifications = self.card(&name).await?.notifications;
                Ok(ok(&NotificationList { notifications }))
            }
            Action::Start { euicc, job, .. } => {
                Ok(accepted(&self.engine(&euicc)?.start(job, request_key)?))
            }
            Action::Operations => Ok(ok(&OperationList {
                operations: self.operations.list(),
            })),
            Action::Operation { id, wait_s } => {
                let wait = self.operations.wait(id, Duration::from_secs(wait_s));
                tokio::select! {
                    operation = wait => Ok(ok(&operation?)),
                    () = closing.announced() => {
                        Ok(ok(&self.operations.find(id)?))
                    }
                }
            }
            Action::Answer { id, answer } => Ok(ok(&self.operations.answer(id, answer)?)),
            Action::Cancel(id) => Ok(accepted(&self.operations.cancel(id)?)),
            Action::Events { last_seen } => {
                // Whoever follows stays: the other half is for those who come and go.
                let most = self.max_connections.div_ceil(2);
                if self.events.followers() >= most {
                    let problem = Problem::new(Code::TooManyReaders);
                    return Err(problem.detail(format!("{most} follow the events already.")));
                }
                let stream = EventStream::new(self.events.follow(last_seen), closing);
                Ok(event_stream(stream))
            }
        }
    }

    fn availability(&self) -> BTreeMap<String, Availability> {
        self.engines
            .values()
            .map(|engine| (engine.name().to_owned(), engine.snapshot().euicc.state))
            .collect()
    }

    fn engine(&self, name: &str) -> Result<&EngineHandle, Problem> {
        self.engines.get(name).ok_or_else(|| {
            Problem::new(Code::UnknownEuicc).detail(format!("no eUICC is called \"{name}\"."))
        })
    }

    /// What is known of the card, unless nothing is.
    async fn card(&self, name: &str) -> Result<Snapshot, Problem> {
        let snapshot = self.engine(name)?.fresh().await;
        match (snapshot.read_at, &snapshot.euicc.problem) {
            (Some(_), _) => Ok(snapshot),
            (None, Some(problem)) => Err(problem.clone()),
            (None, None) => Err(Problem::new(Code::ModemUnavailable)
                .detail("the card has not been read yet.")
                .next_step("Try again in a few seconds.")),
        }
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
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if (1..=128).contains(&text.len()) => Ok(Some(text)),
        _ => Err(Problem::new(Code::InvalidRequest)
            .detail(format!("{name} has 1 to 128 printable characters."))),
    }
}

fn ok(body: &impl Serialize) -> Response<BoxBody<Bytes, Infallible>> {
    json(StatusCode::OK, JSON, body)
}

fn accepted(operation: &Operation) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = json(StatusCode::ACCEPTED, JSON, operation);
    if let Ok(location) = HeaderValue::try_from(format!("/v1/operations/{}", operation.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn problem_response(problem: &Problem) -> Response<BoxBody<Bytes, Infallible>> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, "application/problem+json", problem);
    if let (false, Ok(allow)) = (
        problem.allow.is_empty(),
        HeaderValue::try_from(problem.allow.join(", ")),
    ) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

fn json(
    status: StatusCode,
    content_type: &'static str,
    body: &impl Serialize,
) -> Response<BoxBody<Bytes, Infallible>> {
    // The API's types have only string keys, so writing them cannot fail.
    text(
        status,
        content_type,
        serde_json::to_vec(body).unwrap_or_default(),
    )
}

fn text(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(body.into()).boxed());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn event_stream(stream: EventStream) -> Response<BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(stream.boxed());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The type of what succeeds.
const JSON: &str = "application/json";
/// The largest body a request may have.
const BODY_LIMIT: usize = 64 * 1024;
/// How long a request's head, and its body, may take to arrive.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// How long requests under way may take when the daemon ends.
const DRAIN: Duration = Duration::from_secs(3);
