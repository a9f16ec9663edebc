//! What the server is made of, from the configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use es9_client::TcpConnect;
use hyper::Uri;
use rsp_common::certificate::{Certificate, Role};
use rsp_common::pki::{Pki, PkiOptions};
use rsp_servers::smdp::{Config, ConfigFile};
use rsp_servers::smds::Es12Client;

use super::Error;

/// The configuration of the server; its folders are made when they are not there.
pub(super) fn config(file: &ConfigFile) -> Result<Config, Error> {
    if let Some(folder) = &file.state {
        fs::create_dir_all(folder).map_err(|source| Error::State {
            path: folder.clone(),
            source,
        })?;
    }
    let in_state = file.state.as_ref().map(|folder| folder.join("pki"));
    let mut pki = load_pki(
        file.pki.as_deref().or(in_state.as_deref()),
        file.host_name.as_deref(),
    )?;
    let host_name = match &file.host_name {
        Some(host_name) => host_name.clone(),
        None => pki
            .certificate(Role::DpTls)
            .ok()
            .and_then(|certificate| certificate.dns_names().first().cloned())
            .unwrap_or_else(|| DEFAULT_HOST_NAME.to_owned()),
    };
    provide_tls(&mut pki, &host_name)?;
    let connect = TcpConnect::with_targets(file.connect_to.clone());
    let registrar = Es12Client::new(connect, &pki, host_name.clone(), true)?;
    let defaults = Config::new(host_name, pki);
    let milliseconds = |given: Option<u64>, default| given.map_or(default, Duration::from_millis);
    Ok(Config {
        account_sid: file.account_sid.clone().unwrap_or(defaults.account_sid),
        auth_token: file.auth_token.clone().unwrap_or(defaults.auth_token),
        bearer_token: file.bearer_token.clone(),
        reservation_step: milliseconds(file.reservation_step_ms, defaults.reservation_step),
        reserved_profile_size: file
            .reserved_profile_size
            .unwrap_or(defaults.reserved_profile_size),
        state_folder: file.state.clone(),
        check_eligibility: file.check_eligibility.unwrap_or(defaults.check_eligibility),
        address_as_url: file.address_as_url.unwrap_or(defaults.address_as_url),
        es2_client_roots: certificates(&file.es2_client_roots)?,
        operator_url: match &file.operator_url {
            Some(url) => Some(operator_url(url)?),
            None => None,
        },
        callback_roots: certificates(&file.callback_roots)?,
        callback_pause: milliseconds(file.callback_pause_ms, defaults.callback_pause),
        event_registrar: Some(Arc::new(registrar)),
        tls: file.tls.clone(),
        ..defaults
    })
}

fn operator_url(text: &str) -> Result<Uri, Error> {
    let url: Uri = text
        .parse()
        .map_err(|error| Error::OperatorUrl(format!("{error}")))?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(url),
        _ => Err(Error::OperatorUrl(
            "it is no absolute http or https URL".into(),
        )),
    }
}

fn certificates(paths: &[PathBuf]) -> Result<Vec<Certificate>, Error> {
    paths.iter().map(|path| certificate(path)).collect()
}

fn certificate(path: &Path) -> Result<Certificate, Error> {
    let failed = |problem: String| Error::Certificate {
        path: path.to_owned(),
        problem,
    };
    let der = fs::read(path).map_err(|error| failed(error.to_string()))?;
    Certificate::parse(&der).map_err(|error| failed(error.to_string()))
}

fn load_pki(folder: Option<&Path>, host_name: Option<&str>) -> Result<Pki, Error> {
    let host_names = vec![host_name.unwrap_or(DEFAULT_HOST_NAME).to_owned()];
    let options = PkiOptions {
        host_names,
        ..PkiOptions::default()
    };
    Ok(match folder {
        Some(folder) => Pki::load_or_create(folder, &options)?,
        None => {
            tracing::warn!("without --pki and --state no client knows this server's issuer");
            Pki::generate(&options)?
        }
    })
}

/// Sees to it that there is a TLS certificate for this host; a new one stays in memory.
fn provide_tls(pki: &mut Pki, host_name: &str) -> Result<(), Error> {
    let names = match pki.certificate(Role::DpTls) {
        Ok(certificate) => certificate.dns_names().to_vec(),
        Err(_) => Vec::new(),
    };
    let is_named = names
        .iter()
        .any(|name| name.eq_ignore_ascii_case(host_name));
    if is_named && pki.key(Role::DpTls).is_ok() {
        return Ok(());
    }
    if pki.key(Role::Ci).is_ok() {
        tracing::info!(host_name, "issuing a TLS certificate");
        return Ok(pki.issue_tls(&[host_name.to_owned()], SystemTime::now())?);
    }
    if is_named {
        // The missing key is reported when it is needed.
        return Ok(());
    }
    let found = if names.is_empty() {
        "no host".to_owned()
    } else {
        names.join(", ")
    };
    Err(Error::WrongName {
        host_name: host_name.to_owned(),
        found,
    })
}

const DEFAULT_HOST_NAME: &str = "smdp.example.com";

#[cfg(test)]
mod tests {
    use super::*;

    fn pki() -> Pki {
        Pki::generate(&PkiOptions::default()).unwrap()
    }

    /// What a folder made elsewhere holds: no key of the issuer.
    fn foreign_pki() -> Pki {
        let mut pki = pki();
        let ci = pki.certificate(Role::Ci).unwrap().clone();
        pki.insert(Role::Ci, ci, None);
        pki
    }

    #[test]
    fn the_operator_is_reached_by_an_absolute_url() {
        assert!(operator_url("https://operator.example.com/es2").is_ok());
        for wrong in [
            "operator.example.com",
            "/es2",
            "ftp://operator.example.com",
            "",
        ] {
            let error = operator_url(wrong).unwrap_err().to_string();
            assert!(error.starts_with("operator_url: "), "{error}");
        }
    }

    #[test]
    fn a_certificate_for_the_host_is_kept() {
        let mut pki = foreign_pki();
        let before = pki.certificate(Role::DpTls).unwrap().der().to_vec();
        provide_tls(&mut pki, "SMDP.example.com").unwrap();
        assert_eq!(pki.certificate(Role::DpTls).unwrap().der(), before);
    }

    #[test]
    fn a_certificate_for_another_host_is_issued_when_the_issuer_is_ours() {
        let mut pki = pki();
        provide_tls(&mut pki, "localhost").unwrap();
        assert_eq!(
            pki.certificate(Role::DpTls).unwrap().dns_names(),
            ["localhost"]
        );
    }

    #[test]
    fn a_host_no_certificate_can_be_had_for_is_an_error_that_names_those_there_are() {
        let error = provide_tls(&mut foreign_pki(), "localhost")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("smdp.example.com") && error.contains("localhost"),
            "{error}"
        );
    }
}
