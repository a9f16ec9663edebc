//! Which certificates the server has.

use std::error::Error;
use std::time::SystemTime;

use rsp_common::certificate::Role;
use rsp_common::pki::{CertificateSpec, Pki, PkiError, PkiOptions};
use rsp_servers::smds;

use super::config::Config;

/// The PKI, the FQDN to answer to, and the server's object identifier.
pub(crate) fn of(config: &Config) -> Result<(Pki, String, String), Box<dyn Error>> {
    let options = PkiOptions::default();
    let names = match &config.host_name {
        Some(name) => vec![name.clone()],
        None => options.smds_host_names.clone(),
    };
    let options = PkiOptions {
        smds_host_names: names.clone(),
        ..options
    };
    let in_state = config.state.as_ref().map(|folder| folder.join("pki"));
    let mut pki = match config.pki.as_ref().or(in_state.as_ref()) {
        Some(folder) => Pki::load_or_create(folder, &options)?,
        None => {
            tracing::warn!("without --pki and --state no client knows this server's issuer");
            Pki::generate(&options)?
        }
    };
    if pki.certificate(Role::DsAuth).is_err() {
        tracing::info!("issuing the certificates of an SM-DS");
        pki.issue_smds(&names, &options.smds_oid, SystemTime::now())?;
    }
    let owner = pki.certificate(Role::DsAuth)?.owner();
    let owner = owner.ok_or(PkiError::Missing("owner in dsauth.der"))?;
    let owner = owner.to_string();
    let host_name = match (&config.host_name, pki.certificate(Role::DsTls)) {
        (None, Ok(tls)) if !tls.dns_names().is_empty() => tls.dns_names()[0].clone(),
        _ => names[0].clone(),
    };
    provide_tls(&mut pki, &host_name, &owner)?;
    Ok((pki, host_name, owner))
}

/// Sees to it that there is a TLS certificate for this host; a new one stays in memory.
fn provide_tls(pki: &mut Pki, host_name: &str, owner: &str) -> Result<(), Box<dyn Error>> {
    let names = match pki.certificate(Role::DsTls) {
        Ok(certificate) => certificate.dns_names().to_vec(),
        Err(_) => Vec::new(),
    };
    if names
        .iter()
        .any(|name| name.eq_ignore_ascii_case(host_name))
    {
        return Ok(());
    }
    if pki.key(Role::Ci).is_err() {
        let found = names.join(", ");
        return Err(format!(
            "dstls.der is for \"{found}\" and not for {host_name}, and without ci.key no other \
             TLS certificate can be issued"
        )
        .into());
    }
    tracing::info!(host_name, "issuing a TLS certificate");
    let spec = CertificateSpec::ds_tls(&[host_name.to_owned()], owner, SystemTime::now());
    pki.issue(Role::DsTls, Role::Ci, &spec)?;
    Ok(())
}

impl From<super::config::Event> for smds::EventRecord {
    fn from(event: super::config::Event) -> Self {
        Self::new(event.eid, event.event_id, event.rsp_server_address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &std::path::Path, host_name: Option<&str>) -> Config {
        Config {
            host_name: host_name.map(str::to_owned),
            pki: Some(folder.to_owned()),
            ..Config::default()
        }
    }

    #[test]
    fn a_folder_has_the_servers_name_unless_another_is_wished_for() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("pki");
        let (made, host_name, _) = of(&config(&folder, None)).unwrap();
        assert_eq!(host_name, "smds.example.com");
        let der = |pki: &Pki, role| pki.certificate(role).unwrap().der().to_vec();
        let (same, _, _) = of(&config(&folder, Some("SMDS.example.com"))).unwrap();
        let (other, host_name, _) = of(&config(&folder, Some("other.example.com"))).unwrap();
        assert_eq!(host_name, "other.example.com");
        assert_eq!(der(&made, Role::DsTls), der(&same, Role::DsTls));
        assert_ne!(der(&made, Role::DsTls), der(&other, Role::DsTls));
        assert_eq!(der(&made, Role::DsAuth), der(&other, Role::DsAuth));
    }

    #[test]
    fn without_the_issuers_key_a_name_no_certificate_has_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("pki");
        of(&config(&folder, None)).unwrap();
        std::fs::remove_file(folder.join("ci.key")).unwrap();
        of(&config(&folder, None)).unwrap();
        let error = of(&config(&folder, Some("other.example.com"))).unwrap_err();
        let error = error.to_string();
        let names_both = error.contains("smds.example.com") && error.contains("other.example.com");
        assert!(names_both, "{error}");
    }
}
