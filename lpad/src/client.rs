//! A typed client of the API, used by `lpactl` and by tests.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use crate::api::body::{
    Addresses, Euicc, Event, EventKind, Examination, Notification, Operation, Profile,
};
use crate::api::downloads::DownloadRequest;
use crate::api::euiccs::{AddressesChange, EuiccList, ResetRequest};
use crate::api::filter::OperationFilter;
use crate::api::health::{Health, Version};
use crate::api::notifications::NotificationList;
use crate::api::operations::OperationList;
use crate::api::profiles::{ProfileChange, ProfileList};
use crate::job::{Answer, OperationId, Verdict};
use crate::memory::service::Service;
use crate::memory::snapshot::ProfileState;
use crate::problem::{Code, Problem};

/// A client of one daemon. Every call opens a connection of its own, and fails as [`ClientError`] says.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    may_wait: bool,
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens on the socket, or the caller may not open it.
    #[error("cannot reach lpad on {}: {source}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon says no.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The connection broke.
    #[error("the connection to lpad broke: {0}")]
    Connection(#[from] hyper::Error),
    /// The answer is not what this version expects.
    #[error("the answer of lpad cannot be understood: {0}")]
    Garbled(String),
    /// No answer came for so long.
    #[error("lpad did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

impl Client {
    /// A client of the daemon that listens on `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            may_wait: true,
        }
    }

    /// Whether what it asks for may wait behind other operations of the eUICC, which it else may.
    pub fn may_wait(self, may_wait: bool) -> Self {
        Self { may_wait, ..self }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Finds out whether a daemon serves the socket. systemd keeps one while no daemon runs, and
    /// what is asked there waits for the next one, which is not what is wanted of a change.
    pub async fn must_be_served(&self) -> Result<(), ClientError> {
        let answered = timeout(FIRST_ANSWER, self.version()).await;
        answered
            .map_err(|_| ClientError::Timeout(FIRST_ANSWER))?
            .map(drop)
    }

    /// `GET /v1/health`.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.get("/v1/health").await
    }

    /// `GET /v1/version`.
    pub async fn version(&self) -> Result<Version, ClientError> {
        self.get("/v1/version").await
    }

    /// `GET /v1/euiccs`.
    pub async fn euiccs(&self) -> Result<Vec<Euicc>, ClientError> {
        Ok(self.get::<EuiccList>("/v1/euiccs").await?.euiccs)
    }

    /// `GET /v1/euiccs/{name}`.
    pub async fn euicc(&self, name: &str) -> Result<Euicc, ClientError> {
        self.get(&format!("/v1/euiccs/{name}")).await
    }

    /// `GET /v1/euiccs/{name}?wait=…`: a reading of the card is waited for no longer than this.
    pub async fn euicc_within(&self, name: &str, wait_s: u64) -> Result<Euicc, ClientError> {
        self.get(&format!("/v1/euiccs/{name}?wait={wait_s}")).await
    }

    /// `POST /v1/euiccs/{name}/examination`.
    pub async fn examine(&self, name: &str) -> Result<Examination, ClientError> {
        let path = format!("/v1/euiccs/{name}/examination");
        self.call(Method::POST, &path, NOTHING).await
    }

    /// `GET /v1/euiccs/{name}/service`.
    pub async fn service(&self, name: &str) -> Result<Service, ClientError> {
        self.get(&format!("/v1/euiccs/{name}/service")).await
    }

    /// `GET /v1/euiccs/{name}/addresses`.
    pub async fn addresses(&self, name: &str) -> Result<Addresses, ClientError> {
        self.get(&format!("/v1/euiccs/{name}/addresses")).await
    }

    /// `PUT /v1/euiccs/{name}/addresses`.
    pub async fn set_default_smdp(
        &self,
        name: &str,
        address: &str,
    ) -> Result<Operation, ClientError> {
        let change = AddressesChange {
            default_smdp: address.to_owned(),
            download: false,
        };
        self.change_addresses(name, &change).await
    }

    /// `PUT /v1/euiccs/{name}/addresses`.
    pub async fn change_addresses(
        &self,
        name: &str,
        change: &AddressesChange,
    ) -> Result<Operation, ClientError> {
        let path = format!("/v1/euiccs/{name}/addresses");
        self.start(Method::PUT, path, Some(change)).await
    }

    /// `GET /v1/euiccs/{name}/profiles`.
    pub async fn profile_list(&self, name: &str) -> Result<ProfileList, ClientError> {
        self.get(&format!("/v1/euiccs/{name}/profiles")).await
    }

    /// The profiles of [`Client::profile_list`].
    pub async fn profiles(&self, name: &str) -> Result<Vec<Profile>, ClientError> {
        let path = format!("/v1/euiccs/{name}/profiles");
        Ok(self.get::<ProfileList>(&path).await?.profiles)
    }

    /// `PATCH /v1/euiccs/{name}/profiles/{iccid}`.
    pub async fn change_profile(
        &self,
        name: &str,
        iccid: &str,
        change: &ProfileChange,
    ) -> Result<Operation, ClientError> {
        let path = format!("/v1/euiccs/{name}/profiles/{iccid}");
        self.start(Method::PATCH, path, Some(change)).await
    }

    /// Enables a profile, as configured.
    pub async fn enable(&self, name: &str, iccid: &str) -> Result<Operation, ClientError> {
        let change = ProfileChange::to(ProfileState::Enabled);
        self.change_profile(name, iccid, &change).await
    }

    /// Disables a profile; with `force` even the one in use.
    pub async fn disable(
        &self,
        name: &str,
        iccid: &str,
        force: bool,
    ) -> Result<Operation, ClientError> {
        let change = ProfileChange {
            force,
            ..ProfileChange::to(ProfileState::Disabled)
        };
        self.change_profile(name, iccid, &change).await
    }

    /// `PATCH /v1/euiccs/{name}/profiles/{iccid}` with a nickname.
    pub async fn rename(
        &self,
        name: &str,
        iccid: &str,
        nickname: &str,
    ) -> Result<Operation, ClientError> {
        let change = ProfileChange {
            nickname: Some(nickname.to_owned()),
            ..ProfileChange::default()
        };
        self.change_profile(name, iccid, &change).await
    }

    /// `DELETE /v1/euiccs/{name}/profiles/{iccid}`.
    ///
    /// With `force` even the last one, or one that is to be kept.
    pub async fn delete(
        &self,
        name: &str,
        iccid: &str,
        force: bool,
    ) -> Result<Operation, ClientError> {
        let query = if force { "?force=true" } else { "" };
        let path = format!("/v1/euiccs/{name}/profiles/{iccid}{query}");
        self.start(Method::DELETE, path, NOTHING).await
    }

    /// `POST /v1/euiccs/{name}/downloads`.
    pub async fn download(
        &self,
        name: &str,
        request: &DownloadRequest,
    ) -> Result<Operation, ClientError> {
        let path = format!("/v1/euiccs/{name}/downloads");
        self.start(Method::POST, path, Some(request)).await
    }

    /// `POST /v1/euiccs/{name}/downloads` of an attended download: a question is for this client
    /// alone, and is there as long as the returned [`Attendance`].
    pub async fn download_attended(
        &self,
        name: &str,
        request: &DownloadRequest,
    ) -> Result<(Operation, Attendance), ClientError> {
        let body = DownloadRequest {
            attended: true,
            ..request.clone()
        };
        let path = format!("/v1/euiccs/{name}/downloads");
        let path = self.started_by(path);
        let request = self.request(Method::POST, &path, json(&body)?)?;
        let call = async {
            let mut sender = self.connect().await?;
            let response = sender.send_request(request).await?;
            let operation = parsed(read(response).await?)?;
            let _connection = sender;
            Ok((operation, Attendance { _connection }))
        };
        timeout(DEADLINE, call)
            .await
            .map_err(|_| ClientError::Timeout(DEADLINE))?
    }

    /// What was known of the profiles when the card was read last, without waiting for the card.
    pub async fn known_profiles(&self, name: &str) -> Result<Vec<Profile>, ClientError> {
        let path = format!("/v1/euiccs/{name}/profiles?wait=0");
        Ok(self.get::<ProfileList>(&path).await?.profiles)
    }

    /// What was known of the notifications when the card was read last, without waiting for it.
    pub async fn known_notifications(&self, name: &str) -> Result<Vec<Notification>, ClientError> {
        let path = format!("/v1/euiccs/{name}/notifications?wait=0");
        Ok(self.get::<NotificationList>(&path).await?.notifications)
    }

    /// `GET /v1/euiccs/{name}/notifications`.
    pub async fn notification_list(&self, name: &str) -> Result<NotificationList, ClientError> {
        self.get(&format!("/v1/euiccs/{name}/notifications")).await
    }

    /// The notifications of [`Client::notification_list`].
    pub async fn notifications(&self, name: &str) -> Result<Vec<Notification>, ClientError> {
        let path = format!("/v1/euiccs/{name}/notifications");
        Ok(self.get::<NotificationList>(&path).await?.notifications)
    }

    /// `GET /v1/euiccs/{name}/notifications/{number}`.
    pub async fn notification(&self, name: &str, number: u64) -> Result<Notification, ClientError> {
        self.get(&format!("/v1/euiccs/{name}/notifications/{number}"))
            .await
    }

    /// `POST /v1/euiccs/{name}/notifications/{number}/deliver`.
    pub async fn deliver_notification(
        &self,
        name: &str,
        number: u64,
    ) -> Result<Operation, ClientError> {
        let path = format!("/v1/euiccs/{name}/notifications/{number}/deliver");
        self.start(Method::POST, path, NOTHING).await
    }

    /// `DELETE /v1/euiccs/{name}/notifications/{number}`.
    ///
    /// Without `force` one that was not delivered stays.
    pub async fn remove_notification(
        &self,
        name: &str,
        number: u64,
        force: bool,
    ) -> Result<Operation, ClientError> {
        let query = if force { "?force=true" } else { "" };
        let path = format!("/v1/euiccs/{name}/notifications/{number}{query}");
        self.start(Method::DELETE, path, NOTHING).await
    }

    /// `POST /v1/euiccs/{name}/notifications/deliver`.
    pub async fn deliver_notifications(&self, name: &str) -> Result<Operation, ClientError> {
        let path = format!("/v1/euiccs/{name}/notifications/deliver");
        self.start(Method::POST, path, NOTHING).await
    }

    /// `POST /v1/euiccs/{name}/reset`.
    pub async fn reset(
        &self,
        name: &str,
        request: &ResetRequest,
    ) -> Result<Operation, ClientError> {
        let path = format!("/v1/euiccs/{name}/reset");
        self.start(Method::POST, path, Some(request)).await
    }

    /// `GET /v1/operations`.
    pub async fn operations(&self) -> Result<Vec<Operation>, ClientError> {
        let path = "/v1/operations";
        Ok(self.get::<OperationList>(path).await?.operations)
    }

    /// `GET /v1/operations?…`.
    pub async fn operations_of(
        &self,
        filter: &OperationFilter,
    ) -> Result<Vec<Operation>, ClientError> {
        let path = format!("/v1/operations?{}", filter.query());
        Ok(self.get::<OperationList>(&path).await?.operations)
    }

    /// `GET /v1/operations/{id}?wait=…`, at most 60 seconds.
    pub async fn operation(&self, id: OperationId, wait_s: u64) -> Result<Operation, ClientError> {
        let path = format!("/v1/operations/{id}?wait={wait_s}");
        self.get(&path).await
    }

    /// Waits until the operation has ended.
    pub async fn wait(&self, id: OperationId) -> Result<Operation, ClientError> {
        loop {
            let operation = self.operation_or_later(id, LONG_POLL_S).await?;
            if operation.state.is_final() {
                return Ok(operation);
            }
            if operation.offer.is_some() {
                // A pending offer answers at once: do not ask in a tight loop.
                sleep(PAUSE).await;
            }
        }
    }

    /// As [`Client::operation`]; where too many clients wait already, the operation is looked at
    /// after a pause.
    pub async fn operation_or_later(
        &self,
        id: OperationId,
        wait_s: u64,
    ) -> Result<Operation, ClientError> {
        match self.operation(id, wait_s).await {
            Err(ClientError::Problem(problem)) if problem.code == Code::TooManyReaders => {
                sleep(PAUSE).await;
                self.operation(id, 0).await
            }
            operation => operation,
        }
    }

    /// `POST /v1/operations/{id}/answer`.
    pub async fn answer(&self, id: OperationId, answer: &Answer) -> Result<Operation, ClientError> {
        let path = format!("/v1/operations/{id}/answer");
        self.call(Method::POST, &path, Some(answer)).await
    }

    /// `POST /v1/operations/{id}/cancel`.
    pub async fn cancel(&self, id: OperationId) -> Result<Operation, ClientError> {
        let path = format!("/v1/operations/{id}/cancel");
        self.call(Method::POST, &path, NOTHING).await
    }

    /// `POST /v1/operations/{id}/confirm` or `/revert`.
    pub async fn decide(
        &self,
        id: OperationId,
        verdict: Verdict,
    ) -> Result<Operation, ClientError> {
        let path = format!("/v1/operations/{id}/{}", verdict.name());
        self.call(Method::POST, &path, NOTHING).await
    }

    /// `GET /v1/events`, from the event after `last_seen` on, or from now on.
    pub async fn events(&self, last_seen: Option<u64>) -> Result<EventReader, ClientError> {
        let mut request = self.request(Method::GET, "/v1/events", Bytes::new())?;
        if let Some(id) = last_seen {
            request.headers_mut().insert("last-event-id", id.into());
        }
        let response = timeout(DEADLINE, self.send(request));
        let response = response
            .await
            .map_err(|_| ClientError::Timeout(DEADLINE))??;
        match response.status() {
            StatusCode::OK => Ok(EventReader {
                body: response.into_body(),
                text: String::new(),
            }),
            status => {
                read(response).await?;
                Err(ClientError::Garbled(status.to_string()))
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, NOTHING).await
    }

    /// Asks for an operation.
    async fn start(
        &self,
        method: Method,
        path: String,
        body: Option<&impl Serialize>,
    ) -> Result<Operation, ClientError> {
        self.call(method, &self.started_by(path), body).await
    }

    /// The path of a request that starts an operation, with whether that may wait.
    fn started_by(&self, path: String) -> String {
        match (self.may_wait, path.contains('?')) {
            (true, _) => path,
            (false, true) => path + "&queue=false",
            (false, false) => path + "?queue=false",
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let body = body.map(json).transpose()?.unwrap_or_default();
        let call = self.exchange(&method, path, body);
        let answer = timeout(DEADLINE, call)
            .await
            .map_err(|_| ClientError::Timeout(DEADLINE))??;
        parsed(answer)
    }

    /// The same for all types.
    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let mut tries = 0;
        loop {
            let request = self.request(method.clone(), path, body.clone())?;
            let answer = async { read(self.send(request).await?).await };
            match answer.await {
                // In a crowd the daemon closes connections that have not asked yet.
                Err(ClientError::Connection(_)) if *method == Method::GET && tries < TRIES => {
                    tries += 1;
                    sleep(BUSY_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "lpad");
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body));
        request.map_err(|error| ClientError::Garbled(error.to_string()))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        Ok(self.connect().await?.send_request(request).await?)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let mut patience = BUSY_TRIES;
        let stream = loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => break stream,
                // The queue in front of the daemon is full: many connect at this moment.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && patience > 0 => {
                    patience -= 1;
                    sleep(BUSY_PAUSE).await;
                }
                Err(source) => {
                    let socket = self.socket.clone();
                    return Err(ClientError::Unreachable { socket, source });
                }
            }
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the last of the sender and the response's body; an error shows in the answer.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// Keeps the question of a download; when it is dropped before the answer, the profile is
/// postponed.
#[derive(Debug)]
pub struct Attendance {
    _connection: SendRequest<Full<Bytes>>,
}

fn json(body: &impl Serialize) -> Result<Bytes, ClientError> {
    let body = serde_json::to_vec(body);
    body.map(Bytes::from)
        .map_err(|error| ClientError::Garbled(error.to_string()))
}

/// The body of a success; anything else is an error.
async fn read(response: Response<Incoming>) -> Result<(StatusCode, Bytes), ClientError> {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect();
    let body = body.await.map_err(|error| garbled(status, &error))?;
    let body = body.to_bytes();
    if status.is_success() {
        return Ok((status, body));
    }
    Err(match serde_json::from_slice(&body) {
        Ok(problem) => ClientError::Problem(Box::new(problem)),
        Err(error) => garbled(status, &error),
    })
}

fn parsed<T: DeserializeOwned>((status, body): (StatusCode, Bytes)) -> Result<T, ClientError> {
    serde_json::from_slice(&body).map_err(|error| garbled(status, &error))
}

fn garbled(status: StatusCode, error: &dyn Display) -> ClientError {
    ClientError::Garbled(format!("{status}, {error}"))
}

/// Reads server-sent events.
#[derive(Debug)]
pub struct EventReader {
    body: Incoming,
    text: String,
}

impl EventReader {
    /// The next event, or `None` when the daemon ends.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(event) = parse_event(&block)? {
                    return Ok(Some(event));
                }
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Ok(data) = frame?.into_data() {
                self.text.push_str(&String::from_utf8_lossy(&data));
            }
            if self.text.len() > ANSWER_LIMIT {
                return Err(ClientError::Garbled("an event without end".into()));
            }
        }
    }
}

fn parse_event(block: &str) -> Result<Option<Event>, ClientError> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let Some(data) = field("data: ") else {
        return Ok(None);
    };
    let garbled = |error: serde_json::Error| ClientError::Garbled(error.to_string());
    let kind = field("event: ").unwrap_or_default();
    let kind: EventKind = serde_json::from_value(kind.into()).map_err(garbled)?;
    let id = field("id: ")
        .and_then(|id| id.parse().ok())
        .unwrap_or_default();
    Ok(Some(Event {
        id,
        kind,
        data: serde_json::from_str(data).map_err(garbled)?,
    }))
}

/// How long a daemon may take to say its version, which it does at once whatever the card does. After
/// one that has ended, systemd starts the next one only after ten seconds.
const FIRST_ANSWER: Duration = Duration::from_secs(15);
/// How long one answer of the daemon may take: longer than the longest `?wait=` and a slow card.
const DEADLINE: Duration = Duration::from_secs(100);
/// The largest answer read.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;
/// How long one `?wait=` of [`Client::wait`] asks for.
const LONG_POLL_S: u64 = 30;
/// How long is between two looks where waiting is not possible.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a question is asked again whose connection broke.
const TRIES: u32 = 20;
/// How often a full queue in front of the daemon is tried again.
const BUSY_TRIES: u32 = 100;
/// How long is between two tries.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// No body.
const NOTHING: Option<&()> = None;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_and_a_heartbeat_is_none() {
        let event = parse_event("id: 7\nevent: operation\ndata: {\"id\":\"1\"}\n\n").unwrap();
        let event = event.unwrap();
        assert_eq!((event.id, event.kind), (7, EventKind::Operation));
        assert_eq!(event.data["id"], "1");
        assert_eq!(parse_event(": still here\n\n").unwrap(), None);
        assert!(parse_event("event: other\ndata: 1\n\n").is_err());
    }
}
