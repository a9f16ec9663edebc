//! The configuration file of the program `smdp`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::Deserialize;

use super::{FaultPlan, Function, OrderSettings, ReservationFaultPlan, TlsChoice};

/// What the file can say, in TOML; every key can be left out, an unknown one is an error.
///
/// Relative paths begin in the folder of the file. What the command line says as well, the command
/// line decides.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// Where to serve ES9+ over TLS, and the reservation API: `HOST:PORT`.
    pub listen: Option<String>,
    /// Where to serve the private admin API over plain HTTP, and the reservation API as well.
    pub admin: Option<String>,
    /// The FQDN to answer to; the first name in the TLS certificate without this key.
    pub host_name: Option<String>,
    /// Folder of the PKI; a fresh one is made there when it is empty.
    pub pki: Option<PathBuf>,
    /// Folder of profiles to serve: `MATCHING-ID.der`, with an optional `MATCHING-ID.toml` beside
    /// it that has the keys of an order.
    pub profiles: Option<PathBuf>,
    /// Folder to keep orders and reservations in.
    pub state: Option<PathBuf>,
    /// User of the reservation API.
    pub account_sid: Option<String>,
    /// Password of the reservation API.
    pub auth_token: Option<String>,
    /// A token the reservation API takes as well, as `Authorization: Bearer`.
    pub bearer_token: Option<String>,
    /// How long a reservation stays `new`, and then `reserving`, in milliseconds.
    pub reservation_step_ms: Option<u64>,
    /// How large the packages of reserved profiles are, in octets.
    pub reserved_profile_size: Option<usize>,
    /// Whether an eUICC without the memory or the services for a profile is refused.
    pub check_eligibility: Option<bool>,
    /// Whether the reservation API gives the server's address as a URL.
    pub address_as_url: Option<bool>,
    /// Faults of the reservation API: `NAME` always, `N:NAME` the n-th time.
    pub reservation_faults: Vec<ReservationFaultPlan>,
    /// Files with the certificates, in DER, of the issuers of those who may call ES2+ over TLS;
    /// without any every caller is accepted.
    pub es2_client_roots: Vec<PathBuf>,
    /// The operator: where ES2+.HandleDownloadProgressInfo goes, `http` or `https`.
    pub operator_url: Option<String>,
    /// Files with the certificates that callbacks and reports over `https` accept besides the
    /// PKI's CI, in DER.
    pub callback_roots: Vec<PathBuf>,
    /// How long a callback or report that failed waits before it is tried again, in milliseconds.
    pub callback_pause_ms: Option<u64>,
    /// Where an SM-DS is reached whose name does not lead there: its FQDN and `HOST:PORT`.
    pub connect_to: BTreeMap<String, String>,
    /// What clients meet where they expect TLS, by its name.
    pub tls: TlsChoice,
    /// Faults, in the order they were planned.
    #[serde(rename = "fault")]
    pub faults: Vec<FaultPlan<Function>>,
    /// Orders to take; one that was taken in an earlier run is not taken again.
    #[serde(rename = "order")]
    pub orders: Vec<OrderSettings>,
}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigFile")
            .field("listen", &self.listen)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file says something else than it can.
    #[error("{path}: {source}")]
    Toml {
        /// Which one.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
}

impl ConfigFile {
    /// A file with every key, and what each is for.
    pub const EXAMPLE: &'static str = include_str!("../../smdp.toml");

    /// Reads a file; its relative paths become paths from here.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or says something it cannot.
    pub fn read(path: &Path) -> Result<Self, ConfigFileError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigFileError::Io {
            path: path.to_owned(),
            source,
        })?;
        let mut file: Self = toml::from_str(&text).map_err(|source| ConfigFileError::Toml {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let own = [&mut file.pki, &mut file.profiles, &mut file.state];
        let orders = file.orders.iter_mut();
        let of_orders = orders.flat_map(|order| [&mut order.package, &mut order.icon]);
        let optional = own.into_iter().chain(of_orders).flatten();
        let roots = file.callback_roots.iter_mut();
        let roots = roots.chain(&mut file.es2_client_roots);
        for path in optional.chain(roots) {
            *path = folder.join(&path);
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smdp::{Calls, Fault};

    /// The example with every key that is commented out put in.
    fn complete_example() -> String {
        let lines = ConfigFile::EXAMPLE.lines();
        let uncommented = lines.map(|line| {
            let key = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
            key.unwrap_or(line).to_owned() + "\n"
        });
        uncommented.collect()
    }

    #[test]
    fn the_example_can_be_read_as_it_is_and_with_every_key() {
        let file: ConfigFile = toml::from_str(ConfigFile::EXAMPLE).unwrap();
        assert_eq!(file.listen.as_deref(), Some("127.0.0.1:8443"));
        assert_eq!(file.orders.len(), 1);
        let file: ConfigFile = toml::from_str(&complete_example()).unwrap();
        assert_eq!(file.tls, TlsChoice::Tls12);
        assert_eq!(file.faults[0].calls, Calls::Nth(2));
        assert_eq!(file.faults[0].fault, Fault::HttpStatus(503));
        assert_eq!(file.faults[1].calls, Calls::Every);
        assert!(file.orders.len() > 1);
    }

    #[test]
    fn every_key_of_the_file_is_in_the_example() {
        // Of an unknown key serde lists those there are.
        let complete = complete_example();
        for (prefix, text) in [("", "x_y_z = 1"), ("[[order]]", "[[order]]\nx_y_z = 1")] {
            let error = toml::from_str::<ConfigFile>(text).unwrap_err().to_string();
            let (_, keys) = error.split_once("expected one of ").unwrap();
            let keys = keys.split(['`', ',', ' ', '\n']);
            for key in keys.filter(|key| !key.is_empty()) {
                let named = complete.lines().any(|line| {
                    line.starts_with(&format!("{key} =")) || line == format!("[[{key}]]")
                });
                assert!(named, "{prefix} {key}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_an_error_that_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("smdp.toml");
        for (text, expected) in [
            ("listne = \"x\"", "unknown field `listne`"),
            ("tls = \"expierd\"", "did you mean \"expired\"?"),
            (
                "[[fault]]\nfunction = \"x\"\nfault = \"silence\"",
                "there is no function \"x\"",
            ),
            (
                "[[order]]\nmatchingid = \"x\"",
                "unknown field `matchingid`",
            ),
        ] {
            fs::write(&path, text).unwrap();
            let error = ConfigFile::read(&path).unwrap_err().to_string();
            assert!(
                error.contains("smdp.toml") && error.contains(expected),
                "{error}"
            );
        }
    }

    #[test]
    fn relative_paths_begin_where_the_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("smdp.toml");
        let text = "pki = \"pki\"\n[[order]]\nmatching_id = \"A\"\npackage = \"a.der\"\n";
        fs::write(&path, text).unwrap();
        let file = ConfigFile::read(&path).unwrap();
        assert_eq!(file.pki, Some(folder.path().join("pki")));
        assert_eq!(file.orders[0].package, Some(folder.path().join("a.der")));
    }
}
