//! lpac in the place of lpad. It has no option for another port or address of the server, so that the
//! server is where its name says.

use std::error::Error;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_common::certificate::Role;
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::{Function, OrderRequest};
use tokio::net::{TcpListener, lookup_host};
use tokio::process::Command;
use tokio::time::interval;

use super::{Figures, PACKAGE_SIZE, memory};

/// Where HTTPS is.
const PORT: u16 = 443;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Downloads a profile with `program`, delivers the notification, and looks at what it cost.
///
/// Variables of the environment are passed on, so that lpac's own settings can be tried.
pub(crate) async fn measure(program: &Path) -> Result<Figures, Box<dyn Error>> {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut found = lookup_host((HOST_NAME, PORT)).await.into_iter().flatten();
    if !found.any(|address| address.ip() == here) {
        return Err(format!("add \"{here} {HOST_NAME}\" to /etc/hosts").into());
    }
    let listener = TcpListener::bind((here, PORT)).await;
    let listener = listener.map_err(|error| format!("port {PORT}, which lpac calls: {error}"))?;

    let folder = tempfile::Builder::new().prefix("lpac-bench-").tempdir()?;
    let bench = Bench::new();
    bench.serve(folder.path(), None, listener)?;
    let profile = Profile::builder(Iccid::nth(1)).size(PACKAGE_SIZE).build();
    let order = OrderRequest::with_matching_id(profile, "BENCH-1");
    bench.smdp.create_order(order);
    let ci = bench.pki.hierarchy(Role::DpTls).certificate(Role::Ci);
    let issuer = folder.path().join("ci.pem");
    fs::write(&issuer, pem(ci?.der()))?;

    let code = format!("LPA:1${HOST_NAME}$BENCH-1");
    let started = Instant::now();
    let mut peak_memory = 0;
    for arguments in [
        ["profile", "download", "-a", code.as_str()],
        ["notification", "process", "-a", "-r"],
    ] {
        let mut lpac = Command::new(program);
        if std::env::var_os("LPAC_APDU").is_none() {
            lpac.env("LPAC_APDU", "at_csim");
        }
        lpac.args(arguments)
            .env("LPAC_APDU_AT_DEVICE", folder.path().join("modem"))
            .env("LPAC_HTTP", "curl")
            .env("SSL_CERT_FILE", &issuer)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut lpac = lpac.spawn()?;
        let mut looks = interval(LOOK);
        let status = loop {
            looks.tick().await;
            if let Some(status) = lpac.try_wait()? {
                break status;
            }
            if let Some(used) = lpac.id().and_then(|pid| memory(pid, "VmHWM:").ok()) {
                peak_memory = peak_memory.max(used);
            }
        };
        if !status.success() {
            return Err(format!("lpac {} ended with {status}", arguments.join(" ")).into());
        }
    }
    let (octets, smdp) = (*bench.modem.counters().borrow(), bench.smdp.counters());
    if smdp.requests(Function::HandleNotification) == 0 {
        return Err("lpac reports success, and no notification has arrived".into());
    }
    Ok(Figures {
        apdus: octets.apdus,
        octets: octets.bytes_in + octets.bytes_out,
        handshakes: smdp.handshakes,
        requests: smdp.all_requests(),
        idle_memory: 0,
        peak_memory,
        time: started.elapsed(),
    })
}

fn pem(certificate: &[u8]) -> String {
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    // 48 octets are a line of 64 characters.
    for octets in certificate.chunks(48) {
        pem.push_str(&STANDARD.encode(octets));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}
