//! Callbacks of the reservation API: real HTTP requests, with a deadline and without repetition.

use std::{io, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Uri,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    order::Order,
    reservation::{Callback, CallbackMethod, Reservation},
};

/// Tells a customer about a status, if it asked for that; must be called in a tokio runtime.
///
/// The steps before `available` are not told: nothing can be done with them.
pub(super) fn spawn(reservation: &Reservation, order: &Order, account_sid: &str) {
    use super::ReservationStatus::{New, Reserving};
    let Some(callback) = reservation.callback.clone() else {
        return;
    };
    if matches!(reservation.status, New | Reserving) {
        return;
    }
    let fields = reservation.callback_fields(order, account_sid);
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let form = pairs.join("&");
    let sid = reservation.sid.clone();
    tokio::spawn(async move {
        let sent = tokio::time::timeout(DEADLINE, send(&callback, form)).await;
        match sent.unwrap_or(Err(CallbackError::Timeout)) {
            Ok(status) => tracing::info!(sid, %status, "callback delivered"),
            Err(error) => tracing::warn!(sid, %error, "callback failed"),
        }
    });
}

/// Why a callback was not delivered.
#[derive(Debug, thiserror::Error)]
enum CallbackError {
    #[error("only http URLs with a host are called")]
    Url,
    #[error("no answer in time")]
    Timeout,
    #[error(transparent)]
    Connect(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
}

async fn send(callback: &Callback, form: String) -> Result<hyper::StatusCode, CallbackError> {
    let url = &callback.url;
    let host = url
        .host()
        .filter(|_| url.scheme_str() == Some("http"))
        .ok_or(CallbackError::Url)?;
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = request(url, callback.method, form)?;
    // It ends by itself when the sender is dropped, with the deadline too.
    let connection = tokio::spawn(async move { drop(connection.await) });
    let response = sender.send_request(request).await;
    connection.abort();
    Ok(response?.status())
}

fn request(
    url: &Uri,
    method: CallbackMethod,
    form: String,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let request = Request::builder()
        .header(HOST, authority)
        .header("Connection", "close");
    match method {
        CallbackMethod::Get => {
            let separator = if path.contains('?') { '&' } else { '?' };
            request
                .method(Method::GET)
                .uri(format!("{path}{separator}{form}"))
                .body(Full::default())
        }
        CallbackMethod::Post => request
            .method(Method::POST)
            .uri(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form)),
    }
}

const DEADLINE: Duration = Duration::from_secs(10);
