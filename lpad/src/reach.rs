//! Whether what is configured can be reached over the modem's data connection.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use es9_client::{NameNotResolved, Restrict, WebClient};
use tokio::time::timeout;

use crate::config::{Check, Need, SwitchConfig, Target};
use crate::files::read_file;
use crate::job::Reason;
use crate::runtime::interfaces::Interfaces;
use crate::runtime::program;

/// What is asked whether something can be reached.
#[derive(Clone, Debug)]
pub(crate) struct Reach<C> {
    connect: C,
    interfaces: Interfaces,
}

/// Something cannot be reached.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Unreachable {
    /// The kind of it.
    pub(crate) reason: Reason,
    /// The interface, host or program.
    pub(crate) what: String,
    /// In words.
    pub(crate) why: String,
}

impl<C> Reach<C> {
    pub(crate) fn new(connect: C, interfaces: Interfaces) -> Self {
        Self {
            connect,
            interfaces,
        }
    }

    /// Whether a network interface has an address.
    pub(crate) fn has_address(&self, interface: &str) -> Result<(), Unreachable> {
        let why = match self.interfaces.has_address(interface) {
            Ok(true) => return Ok(()),
            Ok(false) => "it is down, or has no address".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Unreachable {
            reason: Reason::NoAddress,
            what: interface.to_owned(),
            why,
        })
    }
}

impl<C: Restrict> Reach<C> {
    /// Looks once whether the checks succeed that are configured, over this network interface alone if
    /// there is one. They are made one after the other, each within its own time, which is shortened if all
    /// would take too long. Without any, an address will do.
    ///
    /// # Errors
    /// Of several checks that fail, the first one.
    pub(crate) async fn look(
        &self,
        config: &SwitchConfig,
        interface: Option<&str>,
    ) -> Result<(), Unreachable> {
        interface.map_or(Ok(()), |interface| self.has_address(interface))?;
        let mut failed = None;
        for check in &config.check {
            let longest = config.longest_of(check);
            match (self.check(check, interface, longest).await, config.need) {
                (Ok(()), Need::Any) => return Ok(()),
                (Ok(()), Need::All) => {}
                (Err(why), Need::All) => return Err(why),
                (Err(why), Need::Any) => failed = failed.or(Some(why)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn check(
        &self,
        check: &Check,
        interface: Option<&str>,
        longest: Duration,
    ) -> Result<(), Unreachable> {
        let mut at = Reason::Connect;
        let checked = match check.target() {
            Some(Ok(target)) => {
                // What is left is for the connection: a silent name server is told apart from a silent host.
                let connect = self.connect.restricted(interface, longest / 2);
                let asked = ask(&connect, &target, check, &mut at);
                let asked = timeout(longest, asked).await;
                asked.unwrap_or_else(|_| Err(format!("no answer within {} s", longest.as_secs())))
            }
            Some(Err(why)) => Err(why.to_owned()),
            None => {
                at = Reason::Command;
                let told = serde_json::json!({ "interface": interface }).to_string();
                // What it says is not lpad's to log, over and over.
                let nowhere = Stdio::null();
                let run = program::run(&check.command, told.as_bytes(), nowhere, longest).await;
                run.map_err(|error| error.to_string())
            }
        };
        checked.map_err(|why| {
            let what = check.name();
            let reason = at;
            tracing::info!(what, why, "{}", reason.lack());
            Unreachable { reason, what, why }
        })
    }
}

/// Connects, and asks for a page if one is named; `at` tells how far that went.
async fn ask<C: Restrict>(
    connect: &C,
    target: &Target<'_>,
    check: &Check,
    at: &mut Reason,
) -> Result<(), String> {
    let stream = connect.connect(target.host, target.port).await;
    let stream = stream.map_err(|error| {
        let inner = error.get_ref();
        if inner.is_some_and(|inner| inner.is::<NameNotResolved>()) {
            *at = Reason::Dns;
        }
        error.to_string()
    })?;
    let Some(path) = &target.path else {
        return Ok(());
    };
    *at = Reason::Tls;
    let web = issuers(check.ca_file.as_deref()).map_err(|error| error.to_string())?;
    let host = target.host.trim_matches(['[', ']']);
    let connection = web.secure(host, stream).await;
    let connection = connection.map_err(|error| error.to_string())?;
    *at = Reason::Status;
    let status = connection.status(target.authority, path).await;
    let status = status.map_err(|error| error.to_string())?;
    match check.status.contains(&status) {
        true => Ok(()),
        false => Err(format!("status {status}")),
    }
}

/// Trusts the issuers in a file, or else those of the system.
pub(crate) fn issuers(file: Option<&Path>) -> io::Result<WebClient> {
    let mut system = BUNDLES.iter().map(Path::new).filter(|path| path.exists());
    let path = file.or_else(|| system.next()).ok_or_else(|| {
        let why = "this system has no certificate issuers; name some with ca_file";
        io::Error::new(io::ErrorKind::NotFound, why)
    })?;
    let read = read_file(path, LONGEST_BUNDLE).and_then(|issuers| WebClient::new(&issuers));
    read.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Where systems have the certificate issuers of the web: Debian, OpenWrt, Yocto and Arch; Fedora; Alpine.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// More than any system has.
const LONGEST_BUNDLE: u64 = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use es9_client::TcpConnect;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    fn reach() -> Reach<TcpConnect> {
        let interfaces = Interfaces::new(|name| match name {
            "lo" => Ok(true),
            "wwan0" => Ok(false),
            _ => Err(io::Error::other("there is no such interface")),
        });
        Reach::new(TcpConnect::new(), interfaces)
    }

    fn tcp(target: &str) -> Check {
        Check {
            tcp: Some(target.to_owned()),
            ..Check::default()
        }
    }

    fn https(port: u16, ca_file: &Path) -> Check {
        Check {
            https: Some(format!("https://127.0.0.1:{port}/health?token=secret")),
            ca_file: Some(ca_file.to_owned()),
            ..Check::default()
        }
    }

    fn command(script: &str) -> Check {
        Check {
            command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            ..Check::default()
        }
    }

    async fn look(need: Need, check: &[&Check], interface: Option<&str>) -> Option<Unreachable> {
        let config = SwitchConfig {
            need,
            check: check.iter().map(|&check| check.clone()).collect(),
            ..SwitchConfig::default()
        };
        reach().look(&config, interface).await.err()
    }

    async fn reason(check: &Check) -> Option<Reason> {
        let failed = look(Need::Any, &[check], None).await;
        failed.map(|failed| failed.reason)
    }

    /// A server, and a port where there is none.
    async fn ports() -> (TcpListener, u16, u16) {
        let (server, gone) = tokio::join!(
            TcpListener::bind("127.0.0.1:0"),
            TcpListener::bind("127.0.0.1:0")
        );
        let (server, gone) = (server.unwrap(), gone.unwrap());
        let (live, dead) = (server.local_addr(), gone.local_addr());
        (server, live.unwrap().port(), dead.unwrap().port())
    }

    #[tokio::test]
    async fn each_failure_has_its_reason() {
        let (server, live, dead) = ports().await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await;
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let issuers = folder.path().join("issuers.pem");
        std::fs::write(&issuers, ISSUER).unwrap();
        let missing = folder.path().join("missing.pem");
        for (check, expected) in [
            (tcp(&format!("127.0.0.1:{live}")), None),
            (tcp(&format!("127.0.0.1:{dead}")), Some(Reason::Connect)),
            // Names of this domain are never resolved, RFC 6761.
            (tcp(&format!("lpad.invalid:{live}")), Some(Reason::Dns)),
            (https(live, &issuers), Some(Reason::Tls)),
            (https(live, &missing), Some(Reason::Tls)),
            (https(dead, &issuers), Some(Reason::Connect)),
            (command("exit 0"), None),
            (command("exit 3"), Some(Reason::Command)),
        ] {
            assert_eq!(reason(&check).await, expected, "{check:?}");
        }
    }

    #[tokio::test]
    async fn one_check_will_do_or_all_have_to() {
        let (good, bad, worse) = (command("exit 0"), command("exit 3"), command("exit 4"));
        assert_eq!(look(Need::Any, &[], None).await, None);
        assert_eq!(look(Need::All, &[], None).await, None);
        assert_eq!(look(Need::Any, &[&bad, &good], None).await, None);
        assert_eq!(look(Need::All, &[&good, &good], None).await, None);
        let failed = look(Need::All, &[&good, &bad, &worse], None).await.unwrap();
        assert!(failed.why.contains("exit status: 3"), "{failed}");
        let failed = look(Need::Any, &[&bad, &worse], None).await.unwrap();
        assert!(failed.why.contains("exit status: 3"), "{failed}");
    }

    #[tokio::test]
    async fn checks_go_over_the_interface_which_has_to_have_an_address() {
        let (_server, live, _) = ports().await;
        let check = tcp(&format!("127.0.0.1:{live}"));
        assert_eq!(look(Need::Any, &[&check], Some("lo")).await, None);
        let script = r#"test "$(cat)" = '{"interface":"lo"}'"#;
        assert_eq!(look(Need::Any, &[&command(script)], Some("lo")).await, None);
        for (interface, why) in [
            ("wwan0", "wwan0: it is down, or has no address"),
            ("wwan7", "wwan7: there is no such interface"),
        ] {
            let failed = look(Need::Any, &[&check], Some(interface)).await.unwrap();
            assert_eq!(failed.reason, Reason::NoAddress);
            assert_eq!(failed.to_string(), why);
        }
    }

    #[tokio::test]
    async fn what_may_be_a_secret_is_not_told() {
        let (_server, _, dead) = ports().await;
        let check = https(dead, Path::new("/nowhere"));
        let failed = look(Need::Any, &[&check], None).await.unwrap();
        assert_eq!(failed.what, format!("127.0.0.1:{dead}"));
        assert!(!failed.to_string().contains("secret"), "{failed}");
    }

    /// An issuer, of whom no server here has a certificate.
    const ISSUER: &str = include_str!("../../es9-client/tests/web/issuer-p384.pem");
}
