//! Certificates that must be refused, or that test tolerance, by name.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use super::spec::{Attribute, BasicConstraints, CertificateSpec, DAY, KeyUsage, YEAR};
use super::{Hierarchy, Pki, PkiError};
use crate::certificate::{Certificate, Role};
use crate::key::{Curve, PrivateKey};

/// A certificate that differs in one thing from a right one.
///
/// [`Variant::apply`] puts it into a PKI in place of the right one; its key stays where that is
/// possible.
#[derive(Clone, Copy)]
pub struct Variant(&'static Entry);

struct Entry {
    name: &'static str,
    role: Role,
    explanation: &'static str,
    change: Change,
}

#[derive(Clone, Copy)]
enum Change {
    /// Another content, for the same key under the same issuer.
    Spec(fn(&mut CertificateSpec, SystemTime)),
    /// Issued by its own key, which it names as its issuer.
    SelfSigned,
    /// Issued by another CI that calls itself the same.
    OtherIssuer,
    /// A key on brainpoolP256r1 below an issuer on NIST P-256, or the other way round.
    OtherCurve,
    /// The server's certificates stand below a CI on brainpoolP256r1 only.
    BrainpoolOnly,
    /// So many subordinate CAs stand between the CI and the server, with the policies of v3.
    SubCas(usize),
}

impl Variant {
    /// Every name.
    pub const NAMES: [&'static str; ENTRIES.len()] = {
        let mut names = [""; ENTRIES.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = ENTRIES[at].name;
            at += 1;
        }
        names
    };

    /// Every variant.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(Self)
    }

    /// Its name, one of [`Variant::NAMES`].
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Whose certificate is changed.
    pub fn role(self) -> Role {
        self.0.role
    }

    /// What is changed, and what comes of it.
    pub fn explanation(self) -> &'static str {
        self.0.explanation
    }

    /// Puts the certificate into a PKI in place of the right one.
    ///
    /// # Errors
    /// When the PKI has no right certificate of that role, or lacks its issuer's private key.
    pub fn apply(self, pki: &mut Pki, now: SystemTime) -> Result<(), PkiError> {
        let role = self.0.role;
        let mut spec = spec_like(pki, role, now)?;
        let curve = pki.key(Role::Ci)?.curve();
        let hierarchy = pki.hierarchy_mut(role);
        let key = hierarchy.key(role)?.clone();
        match self.0.change {
            Change::Spec(change) => {
                change(&mut spec, now);
                hierarchy.reissue(role, &spec, key)
            }
            Change::SelfSigned => {
                let own = spec.self_sign(&key);
                let certificate = spec.issue(&key.public_key(), &own, &key);
                hierarchy.insert(role, certificate, Some(key));
                Ok(())
            }
            Change::OtherIssuer => {
                let other = Hierarchy::new(key.curve(), now)?;
                let issued = other.certify(&spec, &key)?;
                hierarchy.insert(role, issued, Some(key));
                Ok(())
            }
            Change::OtherCurve => {
                let other = match curve {
                    Curve::Nist => Curve::Brainpool,
                    Curve::Brainpool => Curve::Nist,
                };
                let key = PrivateKey::generate_on(other)?;
                hierarchy.reissue(role, &spec, key)
            }
            Change::BrainpoolOnly => {
                let other = Hierarchy::new(Curve::Brainpool, now)?;
                for role in [Role::DpAuth, Role::DpPb] {
                    let spec = spec_like(pki, role, now)?;
                    let key = PrivateKey::generate_on(Curve::Brainpool)?;
                    let issued = other.certify(&spec, &key)?;
                    pki.insert(role, issued, Some(key));
                }
                Ok(())
            }
            Change::SubCas(number) => hierarchy.issue_below(number, role, &spec, key, now),
        }
    }
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl PartialEq for Variant {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Variant {}

impl FromStr for Variant {
    type Err = UnknownVariant;

    fn from_str(name: &str) -> Result<Self, UnknownVariant> {
        Self::all()
            .find(|variant| variant.0.name == name)
            .ok_or_else(|| UnknownVariant(name.to_owned()))
    }
}

/// A name that is none of [`Variant::NAMES`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0} is no variant of a certificate")]
pub struct UnknownVariant(String);

impl Hierarchy {
    /// Issues another certificate in place of a role's.
    fn reissue(
        &mut self,
        role: Role,
        spec: &CertificateSpec,
        key: PrivateKey,
    ) -> Result<(), PkiError> {
        let issuer = if role == Role::Euicc {
            Role::Eum
        } else {
            Role::Ci
        };
        let certificate = spec.issue(
            &key.public_key(),
            self.certificate(issuer)?,
            self.key(issuer)?,
        );
        self.insert(role, certificate, Some(key));
        Ok(())
    }

    fn certify(&self, spec: &CertificateSpec, key: &PrivateKey) -> Result<Certificate, PkiError> {
        let (ci, ci_key) = (self.certificate(Role::Ci)?, self.key(Role::Ci)?);
        Ok(spec.issue(&key.public_key(), ci, ci_key))
    }

    /// Issues a server's certificate below subordinate CAs, which go with it.
    fn issue_below(
        &mut self,
        number: usize,
        role: Role,
        spec: &CertificateSpec,
        key: PrivateKey,
        now: SystemTime,
    ) -> Result<(), PkiError> {
        let mut issuer = self.certificate(Role::Ci)?.clone();
        let mut issuer_key = self.key(Role::Ci)?.clone();
        let mut above = Vec::new();
        for level in (0..number).rev() {
            let own = PrivateKey::generate_on(issuer_key.curve())?;
            let sub_ca = CertificateSpec {
                policies: vec![if level > 0 { CI_SUB_CA } else { DP_SUB_CA }.into()],
                basic_constraints: Some(BasicConstraints {
                    path_length: u8::try_from(level).ok(),
                }),
                subject: vec![(Attribute::CommonName, format!("lpad Test SubCA {level}"))],
                ..CertificateSpec::ci(now)
            };
            issuer = sub_ca.issue(&own.public_key(), &issuer, &issuer_key);
            issuer_key = own;
            above.insert(0, issuer.clone());
        }
        let spec = CertificateSpec {
            policies: vec![DP_TLS_V3.into()],
            ..spec.clone()
        };
        let certificate = spec.issue(&key.public_key(), &issuer, &issuer_key);
        self.insert(role, certificate, Some(key));
        self.intermediates.insert(role, above);
        Ok(())
    }
}

/// A right certificate like the one there is.
fn spec_like(pki: &Pki, role: Role, now: SystemTime) -> Result<CertificateSpec, PkiError> {
    let certificate = pki.certificate(role)?;
    let owner = certificate.owner().map(ToString::to_string);
    let owner = owner.unwrap_or_default();
    let hosts = certificate.dns_names();
    let eid = pki.certificate(Role::Euicc);
    let eid = eid.ok().and_then(Certificate::subject_serial_number);
    let eid = eid.unwrap_or_default();
    Ok(match role {
        Role::Ci => CertificateSpec::ci(now),
        Role::Eum => CertificateSpec::eum(eid.get(..8).unwrap_or_default(), now),
        Role::Euicc => CertificateSpec::euicc(&eid, now),
        Role::DpAuth => CertificateSpec::dp_auth(&owner, now),
        Role::DpPb => CertificateSpec::dp_pb(&owner, now),
        Role::DpTls => CertificateSpec::dp_tls(hosts, &owner, now),
        Role::DsAuth => CertificateSpec::ds_auth(&owner, now),
        Role::DsTls => CertificateSpec::ds_tls(hosts, &owner, now),
    })
}

fn expired(spec: &mut CertificateSpec, now: SystemTime) {
    spec.not_before = now - 2 * YEAR;
    spec.not_after = now - YEAR;
}

const fn entry(name: &'static str, role: Role, explanation: &'static str, change: Change) -> Entry {
    Entry {
        name,
        role,
        explanation,
        change,
    }
}

const CI_SUB_CA: &str = "2.23.146.1.2.1.0.0";
const DP_SUB_CA: &str = "2.23.146.1.2.1.0.0.1";
const DP_TLS_V3: &str = "2.23.146.1.2.1.0.0.1.0";
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
const OTHER_OWNER: &str = "2.999.12";
const OTHER_HOST: &str = "other.example.org";
/// Its check digits are right.
const FOREIGN_EID: &str = "89033023123451234512345678901224";

const ENTRIES: &[Entry] = &[
    entry(
        "eum-expired",
        Role::Eum,
        "the EUM certificate has expired: the server answers 8.1.2/6.3",
        Change::Spec(expired),
    ),
    entry(
        "eum-self-signed",
        Role::Eum,
        "the EUM certificate is its own issuer: the server answers 8.11.1/3.9",
        Change::SelfSigned,
    ),
    entry(
        "eum-other-ci",
        Role::Eum,
        "the EUM certificate is below an unknown CI: the server answers 8.11.1/3.9",
        Change::OtherIssuer,
    ),
    entry(
        "eum-no-aki",
        Role::Eum,
        "the EUM certificate names no issuer key: the server answers 8.1.2/6.1",
        Change::Spec(|spec, _| spec.without_authority_key_identifier = true),
    ),
    entry(
        "eum-role-dp-auth",
        Role::Eum,
        "the EUM certificate has the role of an SM-DP+: the server answers 8.1.2/6.1",
        Change::Spec(|spec, _| spec.policies = vec![Role::DpAuth.policy().into()]),
    ),
    entry(
        "eum-not-a-ca",
        Role::Eum,
        "the EUM certificate is no CA's: the server answers 8.1.2/6.1",
        Change::Spec(|spec, _| spec.basic_constraints = None),
    ),
    entry(
        "eum-tampered-signature",
        Role::Eum,
        "the CI's signature is wrong: the server answers 8.1.2/6.1",
        Change::Spec(|spec, _| spec.wrong_signature = true),
    ),
    entry(
        "eum-unknown-critical",
        Role::Eum,
        "the EUM certificate has an unknown critical extension: the server answers 8.1.2/6.1",
        Change::Spec(|spec, _| spec.unknown_critical_extension = true),
    ),
    entry(
        "eid-outside-eum-range",
        Role::Eum,
        "the EUM may issue for other EIDs only: the server answers 8.1.3/6.1",
        Change::Spec(|spec, _| {
            for (_, number) in &mut spec.permitted {
                FOREIGN_EID[..8].clone_into(number);
            }
        }),
    ),
    entry(
        "euicc-expired",
        Role::Euicc,
        "the eUICC certificate has expired: the server answers 8.1.3/6.3",
        Change::Spec(expired),
    ),
    entry(
        "euicc-self-signed",
        Role::Euicc,
        "the eUICC certificate is its own issuer: the server answers 8.1.3/6.1",
        Change::SelfSigned,
    ),
    entry(
        "euicc-other-organization",
        Role::Euicc,
        "the eUICC certificate has another O than its EUM: the server answers 8.1.3/6.1",
        Change::Spec(|spec, _| spec.set(Attribute::Organization, "Another EUM")),
    ),
    entry(
        "euicc-other-eid",
        Role::Euicc,
        "the card has another EID than the one of the PKI: an order for that is refused, 8.1.1/3.8",
        Change::Spec(|spec, _| {
            spec.set(Attribute::SerialNumber, "89049032123451234512345678901332")
        }),
    ),
    entry(
        "euicc-role-dp-auth",
        Role::Euicc,
        "the eUICC certificate has the role of an SM-DP+: the server answers 8.1.3/6.1",
        Change::Spec(|spec, _| spec.policies = vec![Role::DpAuth.policy().into()]),
    ),
    entry(
        "euicc-no-key-usage",
        Role::Euicc,
        "the eUICC certificate has no keyUsage: the server answers 8.1.3/6.1",
        Change::Spec(|spec, _| spec.key_usage = None),
    ),
    entry(
        "euicc-tampered-signature",
        Role::Euicc,
        "the EUM's signature is wrong: the server answers 8.1.3/6.1",
        Change::Spec(|spec, _| spec.wrong_signature = true),
    ),
    entry(
        "dpauth-role-dp-pb",
        Role::DpAuth,
        "DPauth has the role of DPpb: the card answers invalidOid (5)",
        Change::Spec(|spec, _| spec.policies = vec![Role::DpPb.policy().into()]),
    ),
    entry(
        "dpauth-other-rid",
        Role::DpAuth,
        "DPauth names another owner than DPpb and an activation code with an OID",
        Change::Spec(|spec, _| spec.rids = vec![OTHER_OWNER.into()]),
    ),
    entry(
        "dpauth-no-rid",
        Role::DpAuth,
        "DPauth names no owner: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| spec.rids.clear()),
    ),
    entry(
        "dpauth-no-policy",
        Role::DpAuth,
        "DPauth has no certificatePolicies: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| spec.policies.clear()),
    ),
    entry(
        "dpauth-no-aki",
        Role::DpAuth,
        "DPauth names no issuer key: the server finds no CI for the card, 8.8.4/3.7",
        Change::Spec(|spec, _| spec.without_authority_key_identifier = true),
    ),
    entry(
        "dpauth-unknown-ci",
        Role::DpAuth,
        "DPauth is below a CI no card knows: the server answers 8.8.4/3.7",
        Change::OtherIssuer,
    ),
    entry(
        "dpauth-brainpool-only",
        Role::DpAuth,
        "the server has certificates below a brainpoolP256r1 CI only: it answers 8.8.4/3.7",
        Change::BrainpoolOnly,
    ),
    entry(
        "dpauth-other-curve",
        Role::DpAuth,
        "DPauth's key is on another curve than its CI's: the card answers unsupportedCurve (3)",
        Change::OtherCurve,
    ),
    entry(
        "dpauth-is-a-ca",
        Role::DpAuth,
        "DPauth is a CA: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| {
            spec.basic_constraints = Some(BasicConstraints { path_length: None });
        }),
    ),
    entry(
        "dpauth-no-key-usage",
        Role::DpAuth,
        "DPauth has no keyUsage: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| spec.key_usage = None),
    ),
    entry(
        "dpauth-key-agreement",
        Role::DpAuth,
        "DPauth's key may not sign: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| spec.key_usage = Some(KeyUsage::KeyAgreement)),
    ),
    entry(
        "dpauth-unknown-critical",
        Role::DpAuth,
        "DPauth has an unknown critical extension: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| spec.unknown_critical_extension = true),
    ),
    entry(
        "dpauth-tampered-signature",
        Role::DpAuth,
        "the CI's signature on DPauth is wrong: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| spec.wrong_signature = true),
    ),
    entry(
        "dpauth-expired",
        Role::DpAuth,
        "DPauth has expired: a card has no clock and accepts it",
        Change::Spec(expired),
    ),
    entry(
        "dppb-role-dp-auth",
        Role::DpPb,
        "DPpb has the role of DPauth: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| spec.policies = vec![Role::DpAuth.policy().into()]),
    ),
    entry(
        "dppb-other-rid",
        Role::DpPb,
        "DPpb has another owner than DPauth: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| spec.rids = vec![OTHER_OWNER.into()]),
    ),
    entry(
        "dppb-other-ci",
        Role::DpPb,
        "DPpb is below another CI than DPauth: the card answers invalidCertificate (1)",
        Change::OtherIssuer,
    ),
    entry(
        "dppb-other-curve",
        Role::DpPb,
        "DPpb's key is on another curve than its CI's: the card answers unsupportedCurve (3)",
        Change::OtherCurve,
    ),
    entry(
        "dppb-no-key-usage",
        Role::DpPb,
        "DPpb has no keyUsage: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| spec.key_usage = None),
    ),
    entry(
        "dppb-unknown-critical",
        Role::DpPb,
        "DPpb has an unknown critical extension: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| spec.unknown_critical_extension = true),
    ),
    entry(
        "dppb-tampered-signature",
        Role::DpPb,
        "the CI's signature on DPpb is wrong: the card answers invalidCertificate (1)",
        Change::Spec(|spec, _| spec.wrong_signature = true),
    ),
    entry(
        "dptls-expired",
        Role::DpTls,
        "the TLS certificate has expired",
        Change::Spec(expired),
    ),
    entry(
        "dptls-not-yet-valid",
        Role::DpTls,
        "the TLS certificate is valid from tomorrow on",
        Change::Spec(|spec, now| spec.not_before = now + DAY),
    ),
    entry(
        "dptls-long-lived",
        Role::DpTls,
        "the TLS certificate is valid for more than 398 days, which an LPA accepts",
        Change::Spec(|spec, now| spec.not_after = now + 3 * YEAR),
    ),
    entry(
        "dptls-other-host",
        Role::DpTls,
        "the TLS certificate is for another host",
        Change::Spec(|spec, _| spec.dns_names = vec![OTHER_HOST.into()]),
    ),
    entry(
        "dptls-wildcard",
        Role::DpTls,
        "the TLS certificate is for *.DOMAIN, which an LPA may accept",
        Change::Spec(|spec, _| {
            for name in &mut spec.dns_names {
                let domain = name.split_once('.').map_or("", |(_, domain)| domain);
                *name = format!("*.{domain}");
            }
        }),
    ),
    entry(
        "dptls-no-san",
        Role::DpTls,
        "the TLS certificate has no subjectAltName and another commonName",
        Change::Spec(|spec, _| {
            spec.dns_names.clear();
            spec.rids.clear();
            spec.set(Attribute::CommonName, "TEST SM-DP+");
        }),
    ),
    entry(
        "dptls-cn-only",
        Role::DpTls,
        "the host stands in the TLS certificate's commonName only, where no client looks",
        Change::Spec(|spec, _| spec.dns_names.clear()),
    ),
    entry(
        "dptls-client-only",
        Role::DpTls,
        "the TLS certificate's extKeyUsage is clientAuth only",
        Change::Spec(|spec, _| spec.extended_key_usage = vec![CLIENT_AUTH.into()]),
    ),
    entry(
        "dptls-self-signed",
        Role::DpTls,
        "the TLS certificate is its own issuer",
        Change::SelfSigned,
    ),
    entry(
        "dptls-other-ci",
        Role::DpTls,
        "the TLS certificate is below another CI of the same name",
        Change::OtherIssuer,
    ),
    entry(
        "dptls-role-dp-auth",
        Role::DpTls,
        "the TLS certificate has the role of DPauth",
        Change::Spec(|spec, _| spec.policies = vec![Role::DpAuth.policy().into()]),
    ),
    entry(
        "dptls-critical-policy",
        Role::DpTls,
        "the TLS certificate's policies are critical, which an LPA must understand",
        Change::Spec(|spec, _| spec.policies_critical = true),
    ),
    entry(
        "dptls-unknown-critical",
        Role::DpTls,
        "the TLS certificate has an unknown critical extension",
        Change::Spec(|spec, _| spec.unknown_critical_extension = true),
    ),
    entry(
        "dptls-key-agreement",
        Role::DpTls,
        "the TLS certificate's key may not sign",
        Change::Spec(|spec, _| spec.key_usage = Some(KeyUsage::KeyAgreement)),
    ),
    entry(
        "dptls-tampered-signature",
        Role::DpTls,
        "the CI's signature on the TLS certificate is wrong",
        Change::Spec(|spec, _| spec.wrong_signature = true),
    ),
    entry(
        "dptls-chain-a",
        Role::DpTls,
        "variant A of v3: the TLS certificate is below the CI and has the policy of v3",
        Change::SubCas(0),
    ),
    entry(
        "dptls-chain-b",
        Role::DpTls,
        "variant B of v3: a subordinate CA of the SM-DP+ stands above the TLS certificate",
        Change::SubCas(1),
    ),
    entry(
        "dptls-chain-c",
        Role::DpTls,
        "variant C of v3: subordinate CAs of CI and SM-DP+ stand above the TLS certificate",
        Change::SubCas(2),
    ),
];
