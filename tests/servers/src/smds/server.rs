//! Connections and requests.

use std::sync::PoisonError;

use es9_client::Answer;
use hyper::{Request, Response, StatusCode as HttpStatus};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use super::{Function, Smds};
use crate::rsp::faults::Fault;
use crate::rsp::http::{self, Body, CutOff};
use crate::rsp::server::{
    DirectRequest, RequestBody, accept, call, executed, failed, handshake, serve_http,
};

impl Smds {
    /// Serves ES11 and ES12 over TLS until `shutdown` completes.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let handle = |stream| {
            let smds = self.clone();
            async move { smds.serve_stream(stream).await }
        };
        accept(listener, shutdown, handle).await;
    }

    /// Serves one connection: the TLS handshake, then requests until the client closes it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection; a request being executed is either executed
    /// completely or not at all, but for what the root SM-DS was told.
    pub async fn serve_stream<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let config = self
            .0
            .tls
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(stream) = handshake(config, stream).await {
            serve_http(stream, |request| self.answer(request)).await;
        }
    }

    /// Answers one request without a connection.
    ///
    /// Nothing comes back when the request is not HTTP or a fault cuts the answer off.
    pub async fn answer_directly(&self, request: DirectRequest<'_>) -> Option<Answer> {
        request
            .answered_by(async |request| self.answer(request).await)
            .await
    }

    async fn answer<B: RequestBody>(&self, request: Request<B>) -> Result<Response<Body>, CutOff> {
        let Some(function) = Function::of_path(request.uri().path()) else {
            return Ok(http::empty(HttpStatus::NOT_FOUND));
        };
        let fault = self.update(|state| {
            state.requests[function as usize] += 1;
            state.faults.next(function)
        });
        if let Some(fault) = &fault {
            tracing::info!(function = function.name(), ?fault, "fault");
        }
        let execute = |request| self.execute(function, request, fault.as_ref());
        call(request, fault.as_ref(), execute).await
    }

    /// Executes a function and writes its answer.
    async fn execute(
        &self,
        function: Function,
        request: Value,
        fault: Option<&Fault>,
    ) -> Response<Body> {
        let result = match function {
            Function::InitiateAuthentication => self.initiate_authentication(&request, fault),
            Function::AuthenticateClient => self.authenticate_client(request, fault),
            Function::RegisterEvent => self.register(&request).await,
            Function::DeleteEvent => self.delete(&request).await,
        };
        match result {
            Ok(mut members) => {
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
