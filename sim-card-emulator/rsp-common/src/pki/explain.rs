//! What a PKI consists of, in words.

use std::fmt;
use std::time::SystemTime;

use super::{Hierarchy, Pki, certificate_file, date, key_file};
use crate::certificate::{Certificate, CertificateError, Role};

/// Explains every certificate of a PKI: whose it is, what it says, and whether its chain verifies.
///
/// A certificate that is not valid at the given time is marked.
pub fn explain(pki: &Pki, at: SystemTime) -> impl fmt::Display + '_ {
    Explanation { pki, at }
}

struct Explanation<'a> {
    pki: &'a Pki,
    at: SystemTime,
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, hierarchy) in (1..).zip(self.pki.hierarchies()) {
            let folder = match number {
                1 => String::new(),
                _ => format!("ci{number}/"),
            };
            let signs = hierarchy.certificate(Role::Euicc).is_ok();
            writeln!(
                f,
                "Issuer {number}: a card verifies with it{}",
                if signs {
                    " and has a certificate under it"
                } else {
                    ""
                }
            )?;
            for role in super::FILES {
                self.explain_role(f, &folder, hierarchy, role)?;
            }
        }
        Ok(())
    }
}

impl Explanation<'_> {
    fn explain_role(
        &self,
        f: &mut fmt::Formatter<'_>,
        folder: &str,
        hierarchy: &Hierarchy,
        role: Role,
    ) -> fmt::Result {
        let Ok(certificate) = hierarchy.certificate(role) else {
            return match hierarchy.key(role) {
                Ok(_) => writeln!(f, "\n  {folder}{}  without a certificate", key_file(role)),
                Err(_) => Ok(()),
            };
        };
        let line = |f: &mut fmt::Formatter<'_>, what: &str, said: &str| {
            if said.is_empty() {
                Ok(())
            } else {
                writeln!(f, "    {what:<9}{said}")
            }
        };
        writeln!(f, "\n  {folder}{}  {}", certificate_file(role), title(role))?;
        line(f, "subject", &certificate.subject_text())?;
        line(f, "issuer", &certificate.issuer_text())?;
        line(f, "serial", &certificate.serial_number_text())?;
        line(f, "valid", &self.validity(certificate))?;
        line(f, "key", &key(hierarchy, certificate, role))?;
        line(f, "id", &identifier(certificate.subject_key_identifier()))?;
        line(
            f,
            "below",
            &identifier(certificate.authority_key_identifier()),
        )?;
        line(f, "role", &roles(certificate))?;
        line(f, "names", &names(certificate))?;
        line(f, "permits", &certificate.permitted_text().join("; "))?;
        line(f, "chain", &self.chain(hierarchy, certificate, role))
    }

    fn validity(&self, certificate: &Certificate) -> String {
        let (from, to) = (certificate.not_before(), certificate.not_after());
        let mark = match certificate.verify_dates(self.at) {
            Err(CertificateError::NotYetValid) => "  NOT VALID YET",
            Err(_) => "  EXPIRED",
            Ok(()) => "",
        };
        format!("{} to {}{mark}", date::text(from), date::text(to))
    }

    fn chain(&self, hierarchy: &Hierarchy, certificate: &Certificate, role: Role) -> String {
        if let Some(above) = hierarchy.intermediates.get(&role) {
            return format!("{} subordinate CA above it, sent with it", above.len());
        }
        let issuer = match role {
            Role::Euicc => Role::Eum,
            _ => Role::Ci,
        };
        let Ok(above) = hierarchy.certificate(issuer) else {
            return format!("not verified: there is no {}", certificate_file(issuer));
        };
        // Dates are marked where they stand.
        let verified = match role {
            Role::Ci => certificate.verify_self_signed(),
            Role::Eum => certificate.verify_eum(above, None),
            Role::Euicc => certificate.verify_euicc(above, None),
            _ => certificate
                .verify_server(above, None)
                .and_then(|()| certificate.role(&[role]).map(drop))
                .and_then(|()| certificate.public_key_on_curve_of(above).map(drop)),
        };
        match verified {
            Ok(()) if role == Role::Ci => "signed by itself".to_owned(),
            Ok(()) => format!("verified with {}", certificate_file(issuer)),
            Err(error) => format!("WRONG: {error}"),
        }
    }
}

fn title(role: Role) -> &'static str {
    match role {
        Role::Ci => "certificate issuer (CI)",
        Role::Eum => "eUICC manufacturer (EUM)",
        Role::Euicc => "eUICC",
        Role::DpAuth => "SM-DP+, authentication (CERT.DPauth)",
        Role::DpPb => "SM-DP+, profile package binding (CERT.DPpb)",
        Role::DpTls => "SM-DP+, TLS (CERT.DPtls)",
        Role::DsAuth => "SM-DS, authentication (CERT.DSauth)",
        Role::DsTls => "SM-DS, TLS (CERT.DStls)",
    }
}

fn key(hierarchy: &Hierarchy, certificate: &Certificate, role: Role) -> String {
    let Ok(public) = certificate.public_key() else {
        return "on a curve that is none of RSP".to_owned();
    };
    let file = key_file(role);
    let private = match hierarchy.key(role) {
        Ok(key) if key.public_key() == public => format!("{file} fits"),
        Ok(_) => format!("{file} DOES NOT FIT"),
        Err(_) => format!("no {file}"),
    };
    format!("{}, {private}", public.curve())
}

fn identifier(octets: Option<&[u8]>) -> String {
    octets.map(hex::encode_upper).unwrap_or_default()
}

fn roles(certificate: &Certificate) -> String {
    let known = certificate.roles().map(Role::policy);
    let known: Vec<_> = known.collect();
    let all = certificate.policies().iter().map(|policy| {
        if known.contains(&policy.as_str()) {
            policy.clone()
        } else {
            format!("{policy} (none of version 2)")
        }
    });
    all.collect::<Vec<_>>().join(", ")
}

fn names(certificate: &Certificate) -> String {
    let owner = certificate.owner().map(|owner| format!("RID {owner}"));
    let hosts = certificate.dns_names().iter();
    let hosts = hosts.map(|name| format!("DNS {name}"));
    hosts.chain(owner).collect::<Vec<_>>().join(", ")
}
