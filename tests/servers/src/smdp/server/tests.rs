use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use es10_apdu::tlv::{Tlv, encode as tlv};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1 as client;
use hyper::client::conn::http1::SendRequest;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Builder;
use hyper_util::rt::TokioIo;
use rsp_common::certificate::{Certificate, Role};
use rsp_common::pki::{Pki, PkiOptions, Variant};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::profile::{Iccid, Profile};
use crate::smdp::{
    Calls, Config, OrderId, OrderRequest, OrderState, ReservationStatus, StatusCode, TlsChoice,
};

mod faults;
mod frame;
mod reservations;
mod steering;
mod tls;

const EID: &str = "89049032123451234512345678901235";
const HOST: &str = "smdp.example.com";

fn smdp() -> Smdp {
    let pki = Pki::generate(&PkiOptions::default()).unwrap();
    let reservation_step = Duration::from_millis(1);
    Smdp::new(Config {
        reservation_step,
        callback_pause: reservation_step,
        ..Config::new(HOST, pki)
    })
    .unwrap()
}

/// A client on a connection; it ends with the test.
pub(in crate::smdp) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Self(sender)
    }

    /// Connects in memory and completes the TLS handshake.
    pub(in crate::smdp) async fn tls(smdp: &Smdp) -> Self {
        Self::over(handshake(smdp).await.unwrap()).await
    }

    /// Calls a function: its HTTP status and body.
    pub(in crate::smdp) async fn call(
        &mut self,
        function: Function,
        body: &str,
    ) -> (HttpStatus, Bytes) {
        let (parts, body) = self.send(es9(function.name()), body).await.unwrap();
        (parts.status, body)
    }

    async fn send(&mut self, request: Builder, body: &str) -> hyper::Result<(Parts, Bytes)> {
        let request = request
            .header(HOST_HEADER, HOST)
            .body(Full::from(body.to_owned()))
            .unwrap();
        let (parts, body) = self.0.send_request(request).await?.into_parts();
        Ok((parts, body.collect().await?.to_bytes()))
    }

    /// Calls a function with a request it refuses at once.
    async fn initiate(&mut self) -> hyper::Result<(Parts, Bytes)> {
        self.send(
            es9("initiateAuthentication"),
            r#"{"smdpAddress":"smdp.example.com"}"#,
        )
        .await
    }
}

/// A TLS handshake in memory with a client that knows the server's CI and checks what webpki does.
async fn handshake(smdp: &Smdp) -> io::Result<TlsStream<DuplexStream>> {
    let mut roots = RootCertStore::empty();
    let ci = smdp.config().pki.certificate(Role::Ci).unwrap();
    roots.add(CertificateDer::from(ci.der().to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(4096);
    let server = smdp.clone();
    tokio::spawn(async move { server.serve_stream(far).await });
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(HOST.try_into().unwrap(), near).await
}

type Parts = hyper::http::response::Parts;

const HOST_HEADER: &str = "host";

fn es9(function: &str) -> Builder {
    Request::post(format!("/gsma/rsp2/es9plus/{function}"))
        .header("content-type", "application/json;charset=UTF-8")
        .header("x-admin-protocol", "gsma/rsp/v2.2.2")
}

fn with_credentials(request: Builder) -> Builder {
    let credentials = BASE64_STANDARD.encode("AC00000000000000000000000000000001:test-token");
    request.header(AUTHORIZATION, format!("Basic {credentials}"))
}

/// The reservation API on a socket of its own.
struct Admin {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Admin {
    async fn start(smdp: &Smdp) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let smdp = smdp.clone();
        let served = tokio::spawn(async move {
            smdp.serve_admin(listener, async { drop(stopped.await) })
                .await;
        });
        Self {
            address,
            stop,
            served,
        }
    }

    async fn send(&self, request: Builder, body: &str) -> (HttpStatus, Value) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (parts, body) = Client::over(stream)
            .await
            .send(request, body)
            .await
            .unwrap();
        (parts.status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.send(with_credentials(Request::get(path)), "").await;
        assert_eq!(status, HttpStatus::OK);
        value
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
    }
}
