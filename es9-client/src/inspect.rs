//! Looking at a server: what it shows of itself, also when it is refused.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustls::ProtocolVersion;
use tokio::time::Instant;

use crate::certificate::Certificate;
use crate::client::Options;
use crate::connect::Connect;
use crate::deadlines::Deadline;
use crate::dial::{self, timed_out};
use crate::error::{Error, Phase};
use crate::roots::Roots;
use crate::tls::{self, RspServerVerifier, Shown};
use crate::wire::ServerAddress;

/// What a server showed of itself.
#[derive(Debug, Default)]
pub struct Inspection {
    /// How long its name and the TCP connection took; `None` when there was none.
    pub connected_in: Option<Duration>,
    /// How long the TLS handshake took; `None` when it failed.
    pub secured_in: Option<Duration>,
    /// The version of TLS, for people; `None` when the handshake failed.
    pub tls: Option<&'static str>,
    /// The certificates it sent, its own first, without those that cannot be read. Nothing is proven of
    /// them when `error` is there.
    pub chain: Vec<Certificate>,
    /// Why there is no secure connection.
    pub error: Option<Error>,
}

/// Connects to a server as [`Es9Client`](crate::Es9Client) does, and gives the connection up again.
///
/// [`Deadlines::connect`](crate::Deadlines::connect) is for the connection, and once more for the handshake.
pub async fn inspect<C: Connect>(
    connect: &C,
    roots: Roots,
    options: &Options,
    address: &ServerAddress,
) -> Inspection {
    let mut found = Inspection::default();
    let shown = Arc::default();
    found.error = look(connect, roots, options, address, &mut found, &shown)
        .await
        .err();
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
    let certificates = shown.iter().filter_map(|der| Certificate::parse(der).ok());
    found.chain = certificates.collect();
    found
}

async fn look<C: Connect>(
    connect: &C,
    roots: Roots,
    options: &Options,
    address: &ServerAddress,
    found: &mut Inspection,
    shown: &Arc<Shown>,
) -> Result<(), Error> {
    let step = || Deadline::after(options.deadlines.connect);
    let deadline = step();
    let too_late = |_| timed_out(address, Phase::Connect, deadline);
    let begun = Instant::now();
    let stream = deadline.limit(dial::open(connect, address)).await;
    let stream = stream.map_err(too_late)??;
    found.connected_in = Some(begun.elapsed());
    let verifier = RspServerVerifier::new(roots).showing(Arc::clone(shown));
    let tls = Arc::new(tls::client_config(verifier, options.clock.clone()));
    let begun = Instant::now();
    let stream = step()
        .limit(dial::secure(tls, address.host(), stream))
        .await;
    let stream = stream.map_err(too_late)??;
    found.secured_in = Some(begun.elapsed());
    found.tls = Some(match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS 1.2",
    });
    Ok(())
}
