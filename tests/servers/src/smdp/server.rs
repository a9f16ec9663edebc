//! Connections and requests.

use std::future::ready;
use std::sync::PoisonError;

use es9_client::Answer;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode as HttpStatus};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use super::admin::{self, ApiRequest};
use super::es9::{Call, Function};
use super::{Smdp, control, es2};
use crate::rsp::faults::Fault;
use crate::rsp::http::{self, Body, CutOff};
use crate::rsp::server::{
    DirectRequest, RequestBody, accept, call, executed, failed, handshake, read, serve_http,
    with_protocol,
};
use crate::rsp::tls::{Endpoint, be_strange, swallow};

impl Smdp {
    /// Serves ES9+, and the reservation API, over TLS until `shutdown` completes.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let handle = |stream| {
            let smdp = self.clone();
            async move { smdp.serve_stream(stream).await }
        };
        accept(listener, shutdown, handle).await;
    }

    /// Serves the reservation API and a private one, see `/admin/v1/faults/names`, over plain HTTP
    /// until `shutdown` completes.
    pub async fn serve_admin(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let handle = |stream| {
            let smdp = self.clone();
            async move { serve_http(stream, |request| smdp.answer(request, Listener::Admin)).await }
        };
        accept(listener, shutdown, handle).await;
    }

    /// Serves one connection: the TLS handshake, then requests until the client closes it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; a request being executed is either executed
    /// completely or not at all.
    pub async fn serve_stream<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.update(|state| state.counters.connections += 1);
        let endpoint = self
            .0
            .tls
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .clone();
        match endpoint {
            Endpoint::Tls(config) => {
                if let Some(stream) = handshake(config, stream).await {
                    self.update(|state| state.counters.handshakes += 1);
                    let has_certificate = stream.get_ref().1.peer_certificates().is_some();
                    let listener = Listener::Tls { has_certificate };
                    serve_http(stream, |request| self.answer(request, listener)).await;
                }
            }
            Endpoint::Stranger(answer) => be_strange(stream, &answer).await,
            Endpoint::Closed => {}
            Endpoint::Silent => swallow(stream).await,
        }
    }

    /// Answers one request as over TLS with a trusted client, but without a connection.
    ///
    /// Nothing comes back when the request is not HTTP or a fault cuts the answer off.
    ///
    /// # Cancel safety
    ///
    /// The request is either executed completely or not at all.
    pub async fn answer_directly(&self, request: DirectRequest<'_>) -> Option<Answer> {
        let listener = Listener::Tls {
            has_certificate: true,
        };
        let answer = async |request| self.answer(request, listener).await;
        request.answered_by(answer).await
    }

    async fn answer<B: RequestBody>(
        &self,
        request: Request<B>,
        listener: Listener,
    ) -> Result<Response<Body>, CutOff> {
        self.look_into_folder();
        let path = request.uri().path();
        if admin::is_api(path) {
            return self.reservation_api(request, listener).await;
        }
        if let Some(function) = es2::Function::of_path(path) {
            if listener.has_certificate() || self.config().es2_client_roots.is_empty() {
                return self.es2(function, request).await;
            }
            return Ok(http::empty(HttpStatus::FORBIDDEN));
        }
        if path.starts_with(control::PATH) && listener == Listener::Admin {
            return Ok(self.private_api(request).await);
        }
        match Function::of_path(path) {
            Some(function) if listener != Listener::Admin => self.es9(function, request).await,
            _ => Ok(http::empty(HttpStatus::NOT_FOUND)),
        }
    }

    async fn reservation_api<B: RequestBody>(
        &self,
        request: Request<B>,
        listener: Listener,
    ) -> Result<Response<Body>, CutOff> {
        let (parts, body) = request.into_parts();
        let body = match read(body).await {
            Ok(body) => body,
            Err(status) => return Ok(http::empty(status)),
        };
        let host = parts
            .headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        self.answer_api(&ApiRequest {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            body: &body,
            base_url: &format!("{}://{host}", listener.scheme()),
        })
        .await
    }

    async fn es2<B: RequestBody>(
        &self,
        function: es2::Function,
        request: Request<B>,
    ) -> Result<Response<Body>, CutOff> {
        let execute = async |request: Value| match self.execute_es2(function, &request).await {
            Ok(members) => executed(members),
            Err(status) => failed(status),
        };
        call(request, None, execute).await
    }

    async fn private_api<B: RequestBody>(&self, request: Request<B>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match read(body).await {
            Ok(body) => self.control(&parts.method, parts.uri.path(), &body),
            Err(status) => http::empty(status),
        }
    }

    async fn es9<B: RequestBody>(
        &self,
        function: Function,
        request: Request<B>,
    ) -> Result<Response<Body>, CutOff> {
        let (number, fault) = self.update(|state| {
            state.counters.count(function);
            (state.requests.begin(&request), state.faults.next(function))
        });
        if let Some(fault) = &fault {
            tracing::info!(function = function.name(), ?fault, "fault");
        }
        let execute = |request| {
            self.update(|state| state.requests.read(number, &request));
            ready(self.execute(function, request, fault.as_ref()))
        };
        call(request, fault.as_ref(), execute).await
    }

    /// Executes a function and writes its answer.
    fn execute(&self, function: Function, request: Value, fault: Option<&Fault>) -> Response<Body> {
        let result = self.update(|state| {
            let config = &self.0.config;
            let mut call = Call {
                pki: &config.pki,
                host_name: &config.host_name,
                check_eligibility: config.check_eligibility,
                fault,
                state,
            };
            call.execute(function, request)
        });
        match result {
            Ok(_) if function == Function::HandleNotification => {
                with_protocol(http::empty(HttpStatus::NO_CONTENT))
            }
            Ok(mut members) => {
                let previous = self.update(|state| state.faults.answered(function, &members));
                if let (Some(Fault::PreviousAnswer), Some(previous)) = (fault, previous) {
                    members = previous;
                }
                if let Some(fault) = fault {
                    fault.alter(&mut members);
                }
                executed(members)
            }
            Err(status) => {
                tracing::info!(function = function.name(), %status, "refused");
                failed(status)
            }
        }
    }
}

/// Which listener a request came in by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Listener {
    Tls {
        /// Whether the client has shown a certificate that leads to an issuer of such.
        has_certificate: bool,
    },
    Admin,
}

impl Listener {
    /// A client of the plain port needs none.
    fn has_certificate(self) -> bool {
        matches!(
            self,
            Self::Admin
                | Self::Tls {
                    has_certificate: true
                }
        )
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Tls { .. } => "https",
            Self::Admin => "http",
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
