//! The operator's side: the reservation API over plain HTTP, as `curl` would use it.

use std::error::Error;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::Serializer;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// A reservation as the API shows it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) sid: String,
    pub(crate) status: String,
    pub(crate) activation_code: Option<String>,
}

/// A customer of the operator.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    pub(crate) address: SocketAddr,
    pub(crate) account_sid: String,
    pub(crate) auth_token: String,
}

impl Operator {
    /// `POST /v1/ESimProfiles`.
    pub(crate) async fn create(
        &self,
        form: &[(&str, &str)],
    ) -> Result<Reservation, Box<dyn Error>> {
        let form = Serializer::new(String::new()).extend_pairs(form).finish();
        self.call(Method::POST, PATH, form).await
    }

    /// `GET /v1/ESimProfiles/{sid}`.
    pub(crate) async fn read(&self, sid: &str) -> Result<Reservation, Box<dyn Error>> {
        self.call(Method::GET, &format!("{PATH}/{sid}"), String::new())
            .await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        form: String,
    ) -> Result<Reservation, Box<dyn Error>> {
        let credentials = STANDARD.encode(format!("{}:{}", self.account_sid, self.auth_token));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Basic {credentials}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))?;
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), 64 * 1024)
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        match status.is_success() {
            true => Ok(serde_json::from_slice(&body)?),
            false => Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()),
        }
    }
}

const PATH: &str = "/v1/ESimProfiles";
