//! Calls this server makes by itself: callbacks to customers, reports to the operator.
//!
//! They are real HTTP requests with a deadline and a bounded number of tries. Those to one
//! recipient follow each other; others do not wait for them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use form_urlencoded::Serializer;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rsp_common::certificate::Certificate;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where a change is told, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Callback {
    /// An absolute URL, `http` or `https`.
    #[serde(with = "uri")]
    pub url: Uri,
    /// How to call it.
    pub method: CallbackMethod,
}

mod uri {
    use hyper::Uri;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(uri: &Uri, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(uri)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uri, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// The HTTP method of a callback.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum CallbackMethod {
    /// The fields travel in the query.
    Get,
    /// The fields travel in a form.
    #[default]
    Post,
}

impl CallbackMethod {
    /// Its name in HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

impl Callback {
    /// The call that carries these fields.
    pub(super) fn call(self, fields: &[(&str, String)]) -> Call {
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        match self.method {
            CallbackMethod::Get => {
                let separator = if path.contains('?') { '&' } else { '?' };
                Call {
                    path: format!("{path}{separator}{form}"),
                    url: self.url,
                    method: Method::GET,
                    headers: Vec::new(),
                    body: Bytes::new(),
                    acknowledged_by: StatusCode::is_success,
                }
            }
            CallbackMethod::Post => Call {
                path: path.to_owned(),
                url: self.url,
                method: Method::POST,
                headers: vec![(CONTENT_TYPE.as_str(), FORM)],
                body: form.into(),
                acknowledged_by: StatusCode::is_success,
            },
        }
    }
}

/// One request to be made.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) url: Uri,
    /// Path and query, which can differ from those of the URL.
    pub(super) path: String,
    pub(super) method: Method,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Bytes,
    /// Whether an answer with this status means that the call arrived.
    pub(super) acknowledged_by: fn(&StatusCode) -> bool,
}

impl Call {
    fn request(&self) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let authority = self.url.authority();
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(HOST, authority.map_or("", |authority| authority.as_str()))
            .header("Connection", "close");
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        request.body(Full::from(self.body.clone()))
    }
}

/// Why a call was not delivered.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("only http and https URLs with a host are called")]
    Url,
    #[error("no answer in time")]
    Timeout,
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Connect(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
}

/// Makes the calls, those of each queue one after the other.
#[derive(Clone, Debug)]
pub(super) struct Courier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tls: Arc<ClientConfig>,
    pause: Duration,
    queues: Mutex<HashMap<String, VecDeque<Call>>>,
}

impl Courier {
    /// Trusts these issuers and no others; `pause` is the wait before the second try.
    ///
    /// # Errors
    ///
    /// When a certificate cannot be an issuer's.
    pub(super) fn new<'a>(
        roots: impl Iterator<Item = &'a Certificate>,
        pause: Duration,
    ) -> Result<Self, rustls::Error> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(CertificateDer::from(root.der().to_vec()))?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self(Arc::new(Inner {
            tls: Arc::new(tls),
            pause,
            queues: Mutex::default(),
        })))
    }

    /// Makes a call after those of the same queue; without a tokio runtime nothing is called.
    pub(super) fn send(&self, queue: &str, call: Call) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            tracing::warn!(queue, "there is no runtime to make a call in");
            return;
        };
        let mut queues = self.queues();
        if let Some(waiting) = queues.get_mut(queue) {
            if waiting.len() < MAX_WAITING {
                waiting.push_back(call);
            } else {
                tracing::warn!(queue, "too many calls wait, one is given up");
            }
            return;
        }
        queues.insert(queue.to_owned(), VecDeque::from([call]));
        runtime.spawn(self.clone().work(queue.to_owned()));
    }

    async fn work(self, queue: String) {
        while let Some(call) = self.next(&queue) {
            match self.deliver(&call).await {
                Ok(status) => tracing::info!(queue, %status, "call delivered"),
                Err(error) => tracing::warn!(queue, %error, "call given up"),
            }
        }
    }

    fn next(&self, queue: &str) -> Option<Call> {
        let mut queues = self.queues();
        let call = queues.get_mut(queue).and_then(VecDeque::pop_front);
        if call.is_none() {
            queues.remove(queue);
        }
        call
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Call>>> {
        let queues = &self.0.queues;
        queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries until the call is acknowledged, with growing pauses, or the tries are used up.
    async fn deliver(&self, call: &Call) -> Result<StatusCode, CallError> {
        let mut pause = self.0.pause;
        for _ in 1..TRIES {
            match self.attempt(call).await {
                Err(CallError::Url) => return Err(CallError::Url),
                Err(error) => tracing::debug!(%error, "call failed, it is tried again"),
                delivered => return delivered,
            }
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
        self.attempt(call).await
    }

    async fn attempt(&self, call: &Call) -> Result<StatusCode, CallError> {
        let sent = tokio::time::timeout(DEADLINE, self.exchange(call)).await;
        let status = sent.unwrap_or(Err(CallError::Timeout))?;
        match (call.acknowledged_by)(&status) {
            true => Ok(status),
            false => Err(CallError::Status(status)),
        }
    }

    async fn exchange(&self, call: &Call) -> Result<StatusCode, CallError> {
        let url = &call.url;
        let host = url.host().ok_or(CallError::Url)?;
        // An IPv6 address stands in brackets in a URL, and nowhere else.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = |default| url.port_u16().unwrap_or(default);
        match url.scheme_str() {
            Some("http") => {
                let stream = TcpStream::connect((host, port(80))).await?;
                exchange(stream, call).await
            }
            Some("https") => {
                let name = host.to_owned().try_into().map_err(|_| CallError::Url)?;
                let stream = TcpStream::connect((host, port(443))).await?;
                let connector = TlsConnector::from(self.0.tls.clone());
                exchange(connector.connect(name, stream).await?, call).await
            }
            _ => Err(CallError::Url),
        }
    }
}

async fn exchange<S>(stream: S, call: &Call) -> Result<StatusCode, CallError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let request = call.request()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends by itself when the sender is dropped, with the deadline too.
    let connection = tokio::spawn(async move { drop(connection.await) });
    let response = sender.send_request(request).await;
    connection.abort();
    Ok(response?.status())
}

const DEADLINE: Duration = Duration::from_secs(10);
const FORM: &str = "application/x-www-form-urlencoded";
const MAX_WAITING: usize = 1000;
const TRIES: u32 = 3;
