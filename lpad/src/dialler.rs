//! The program that makes the data connection is told before a profile goes away, and when another one is
//! registered. lpad itself does not dial.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use es10_apdu::types::Iccid;
use serde_json::json;

use crate::config::{DiallerConfig, ProfileConfig};
use crate::runtime::program;

/// What a dialler is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hook {
    /// The profile in use goes away.
    Down,
    /// Another profile is registered in a network.
    Up,
}

/// What it has to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switched<'a> {
    /// The profile before.
    pub(crate) from: Option<Iccid>,
    /// The profile afterwards.
    pub(crate) to: Option<Iccid>,
    /// What is configured about that one.
    pub(crate) profile: Option<&'a ProfileConfig>,
    /// Whether the network is a foreign one, once that is known.
    pub(crate) roaming: Option<bool>,
    /// The modem's network interface.
    pub(crate) interface: Option<&'a str>,
}

impl Switched<'_> {
    /// As the program reads it. A password stays in its file: only the file's name is told.
    fn json(&self) -> String {
        let profile = self.profile;
        json!({
            "from": self.from.map(|iccid| iccid.to_string()),
            "to": self.to.map(|iccid| iccid.to_string()),
            "apn": profile.and_then(|known| known.apn.as_deref()),
            "ip_type": profile.and_then(|known| known.ip_type.as_deref()),
            "user": profile.and_then(|known| known.user.as_deref()),
            "password_file": profile.and_then(|known| known.password_file.as_deref()),
            "roaming": self.roaming,
            "interface": self.interface,
        })
        .to_string()
    }
}

/// Runs the program that is configured for this, if any, and waits for its end. Gives what is to be said of
/// one that fails, which stops nothing.
///
/// # Cancel safety
/// The program is ended.
pub(crate) async fn tell(
    config: &DiallerConfig,
    hook: Hook,
    switched: &Switched<'_>,
) -> Option<String> {
    let (words, key, longest) = match hook {
        Hook::Down => (&config.down, "down", DOWN),
        Hook::Up => (&config.up, "up", UP),
    };
    let program = words.first()?;
    tracing::info!(program, key, "telling the dialler");
    let input = switched.json();
    let run = program::run(words, input.as_bytes(), Stdio::inherit(), longest).await;
    let error = run.err()?;
    let why = match error.kind() {
        io::ErrorKind::TimedOut => format!("takes more than {} s", longest.as_secs()),
        _ => format!("fails: {error}"),
    };
    let warning = format!("The program {key} of the dialler, {program}, {why}.");
    tracing::warn!("{warning}");
    Some(warning)
}

/// How long a data connection may take to end.
pub(crate) const DOWN: Duration = Duration::from_secs(30);
/// How long it may take to come up.
pub(crate) const UP: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    fn script(text: String) -> Vec<String> {
        vec!["/bin/sh".to_owned(), "-c".to_owned(), text]
    }

    #[tokio::test]
    async fn a_dialler_reads_what_it_needs_and_no_password() {
        let folder = tempfile::tempdir().unwrap();
        let (heard, secret) = (folder.path().join("heard"), folder.path().join("password"));
        fs::write(&secret, "top-secret").unwrap();
        let config = DiallerConfig {
            up: script(format!("cat >{}", heard.display())),
            ..DiallerConfig::default()
        };
        let profile = ProfileConfig {
            apn: Some("iot.example".to_owned()),
            ip_type: Some("ipv4v6".to_owned()),
            user: Some("gateway".to_owned()),
            password_file: Some(secret.clone()),
            ..ProfileConfig::default()
        };
        let switched = Switched {
            from: None,
            to: Some("8944500000000000019".parse().unwrap()),
            profile: Some(&profile),
            roaming: Some(true),
            interface: Some("wwan0"),
        };
        assert_eq!(tell(&config, Hook::Down, &switched).await, None);
        assert!(!heard.exists());
        assert_eq!(tell(&config, Hook::Up, &switched).await, None);
        let heard: Value = serde_json::from_slice(&fs::read(heard).unwrap()).unwrap();
        let expected = json!({
            "from": null,
            "to": "8944500000000000019",
            "apn": "iot.example",
            "ip_type": "ipv4v6",
            "user": "gateway",
            "password_file": secret,
            "roaming": true,
            "interface": "wwan0",
        });
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn a_dialler_that_fails_is_a_warning() {
        let config = DiallerConfig {
            down: script("exit 3".to_owned()),
            up: vec!["/nowhere/ppp-up".to_owned()],
        };
        let switched = Switched {
            from: None,
            to: None,
            profile: None,
            roaming: None,
            interface: None,
        };
        let said = tell(&config, Hook::Down, &switched).await.unwrap();
        assert_eq!(
            said,
            "The program down of the dialler, /bin/sh, fails: it ended with exit status: 3."
        );
        let said = tell(&config, Hook::Up, &switched).await.unwrap();
        assert!(
            said.contains("up of the dialler, /nowhere/ppp-up, fails"),
            "{said}"
        );
    }
}
