//! Issuing certificates in the shapes RSP asks for, and in shapes it must refuse.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use es10_apdu::types::Oid;
use sha2::{Digest, Sha256};

use super::date;
use crate::certificate::{Certificate, Role};
use crate::der::{constructed, tlv, unsigned};
use crate::key::{PrivateKey, PublicKey};

/// What a certificate shall say.
///
/// The constructors give the shapes of SGP.22 v2.5 section 4.5.2. For a test, one field is changed
/// with the update syntax:
///
/// ```
/// use std::time::SystemTime;
/// use rsp_common::pki::CertificateSpec;
///
/// let now = SystemTime::now();
/// let unrelated =
///     CertificateSpec { rids: Vec::new(), ..CertificateSpec::dp_auth("2.999.10", now) };
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateSpec {
    /// Subject name, one attribute per RDN.
    pub subject: Vec<(Attribute, String)>,
    /// Begin of the validity period.
    pub not_before: SystemTime,
    /// End of the validity period.
    pub not_after: SystemTime,
    /// Policy identifiers, dotted.
    pub policies: Vec<String>,
    /// Whether the policies are marked critical.
    pub policies_critical: bool,
    /// What the key may be used for; `None` leaves the extension out.
    pub key_usage: Option<KeyUsage>,
    /// Present for a CA.
    pub basic_constraints: Option<BasicConstraints>,
    /// Extended key usages, dotted; critical when any is given.
    pub extended_key_usage: Vec<String>,
    /// dNSNames of subjectAltName.
    pub dns_names: Vec<String>,
    /// registeredIDs of subjectAltName, dotted.
    pub rids: Vec<String>,
    /// Organisations and issuer identification numbers an EUM may issue for.
    pub permitted: Vec<(String, String)>,
    /// A subject key identifier other than the key's own, as of a key made elsewhere.
    pub subject_key_identifier: Option<Vec<u8>>,
    /// Addresses of revocation lists.
    pub crl_distribution_points: Vec<String>,
    /// Leave the authority key identifier out.
    pub without_authority_key_identifier: bool,
    /// Add an unknown critical extension.
    pub unknown_critical_extension: bool,
    /// Spoil the signature.
    pub wrong_signature: bool,
}

/// An attribute type of a distinguished name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attribute {
    /// commonName
    CommonName,
    /// countryName
    Country,
    /// organizationName
    Organization,
    /// organizationalUnitName
    OrganizationalUnit,
    /// serialNumber
    SerialNumber,
}

/// What keyUsage says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyUsage {
    /// keyCertSign and cRLSign
    CertificateAndCrlSign,
    /// keyCertSign
    CertificateSign,
    /// digitalSignature
    DigitalSignature,
    /// keyAgreement, which RSP has no use for
    KeyAgreement,
}

/// basicConstraints of a CA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BasicConstraints {
    /// Number of CAs that may stand between this one and an end entity.
    pub path_length: Option<u8>,
}

impl CertificateSpec {
    /// A certificate issuer, valid for 35 years.
    pub fn ci(now: SystemTime) -> Self {
        Self {
            subject: vec![
                (Attribute::CommonName, "lpad Test CI".into()),
                (Attribute::OrganizationalUnit, "TESTCERT".into()),
                (Attribute::Organization, "LPADTEST".into()),
                (Attribute::Country, "IT".into()),
            ],
            not_after: now + 35 * YEAR,
            key_usage: Some(KeyUsage::CertificateAndCrlSign),
            basic_constraints: Some(BasicConstraints { path_length: None }),
            rids: vec!["2.999.1".into()],
            crl_distribution_points: crl_distribution_points(&["A", "B"]),
            ..Self::new(Role::Ci, now)
        }
    }

    /// An eUICC manufacturer that may issue for EIDs that begin with the given digits.
    pub fn eum(issuer_number: &str, now: SystemTime) -> Self {
        Self {
            subject: vec![
                (Attribute::Country, "ES".into()),
                (Attribute::Organization, EUM_ORGANIZATION.into()),
                (Attribute::CommonName, "EUM Test".into()),
            ],
            not_after: now + 30 * YEAR,
            key_usage: Some(KeyUsage::CertificateSign),
            basic_constraints: Some(BasicConstraints {
                path_length: Some(0),
            }),
            rids: vec!["2.999.5".into()],
            permitted: vec![(EUM_ORGANIZATION.into(), issuer_number.into())],
            crl_distribution_points: crl_distribution_points(&["B"]),
            ..Self::new(Role::Eum, now)
        }
    }

    /// An eUICC, valid to the year 7496 as the GSMA's test eUICC is.
    pub fn euicc(eid: &str, now: SystemTime) -> Self {
        Self {
            subject: vec![
                (Attribute::Country, "ES".into()),
                (Attribute::Organization, EUM_ORGANIZATION.into()),
                (Attribute::SerialNumber, eid.into()),
                (Attribute::CommonName, "Test eUICC".into()),
            ],
            not_after: UNIX_EPOCH + Duration::from_secs(YEAR_7496),
            crl_distribution_points: Vec::new(),
            ..Self::new(Role::Euicc, now)
        }
    }

    /// The authentication certificate of an SM-DP+.
    pub fn dp_auth(owner: &str, now: SystemTime) -> Self {
        Self {
            rids: vec![owner.into()],
            ..Self::new(Role::DpAuth, now)
        }
    }

    /// The profile package binding certificate of an SM-DP+.
    pub fn dp_pb(owner: &str, now: SystemTime) -> Self {
        Self {
            rids: vec![owner.into()],
            ..Self::new(Role::DpPb, now)
        }
    }

    /// The TLS certificate of an SM-DP+, valid for 397 days.
    pub fn dp_tls(host_names: &[String], owner: &str, now: SystemTime) -> Self {
        Self::tls(Role::DpTls, host_names, owner, now)
    }

    /// The authentication certificate of an SM-DS.
    pub fn ds_auth(owner: &str, now: SystemTime) -> Self {
        Self {
            subject: vec![
                (Attribute::Organization, "ACME".into()),
                (Attribute::CommonName, "TEST SM-DS".into()),
            ],
            rids: vec![owner.into()],
            ..Self::new(Role::DsAuth, now)
        }
    }

    /// The TLS certificate of an SM-DS, valid for 397 days.
    pub fn ds_tls(host_names: &[String], owner: &str, now: SystemTime) -> Self {
        Self::tls(Role::DsTls, host_names, owner, now)
    }

    fn tls(role: Role, host_names: &[String], owner: &str, now: SystemTime) -> Self {
        Self {
            subject: vec![
                (Attribute::Organization, "ACME".into()),
                (
                    Attribute::CommonName,
                    host_names.first().cloned().unwrap_or_default(),
                ),
            ],
            not_after: now + 397 * DAY,
            policies_critical: false,
            extended_key_usage: vec!["1.3.6.1.5.5.7.3.1".into(), "1.3.6.1.5.5.7.3.2".into()],
            dns_names: host_names.to_vec(),
            rids: vec![owner.into()],
            ..Self::new(role, now)
        }
    }

    /// Issues the certificate for a key.
    ///
    /// # Panics
    ///
    /// When an object identifier of the spec is not one, or a date lies outside the years 1970 to
    /// 9999: a spec is written by hand, not received.
    pub fn issue(
        &self,
        subject_key: &PublicKey,
        issuer: &Certificate,
        issuer_key: &PrivateKey,
    ) -> Certificate {
        self.sign(subject_key, &issuer.subject_der(), issuer_key, true)
    }

    /// Issues the certificate under its own key.
    ///
    /// # Panics
    ///
    /// As [`CertificateSpec::issue`].
    pub fn self_sign(&self, key: &PrivateKey) -> Certificate {
        self.sign(&key.public_key(), &name(&self.subject), key, false)
    }

    /// Gives an attribute of the subject another value.
    pub(super) fn set(&mut self, wanted: Attribute, value: &str) {
        for (attribute, old) in &mut self.subject {
            if *attribute == wanted {
                value.clone_into(old);
            }
        }
    }

    fn new(role: Role, now: SystemTime) -> Self {
        Self {
            subject: vec![
                (Attribute::Organization, "ACME".into()),
                (Attribute::CommonName, "TEST SM-DP+".into()),
            ],
            not_before: now - DAY,
            not_after: now + 10 * YEAR,
            policies: vec![role.policy().into()],
            policies_critical: true,
            key_usage: Some(KeyUsage::DigitalSignature),
            basic_constraints: None,
            extended_key_usage: Vec::new(),
            dns_names: Vec::new(),
            rids: Vec::new(),
            permitted: Vec::new(),
            subject_key_identifier: None,
            crl_distribution_points: crl_distribution_points(&["A", "B"]),
            without_authority_key_identifier: false,
            unknown_critical_extension: false,
            wrong_signature: false,
        }
    }

    fn sign(
        &self,
        subject_key: &PublicKey,
        issuer_name: &[u8],
        issuer_key: &PrivateKey,
        authority: bool,
    ) -> Certificate {
        let authority = authority && !self.without_authority_key_identifier;
        let algorithm = constructed(0x30, &[object("1.2.840.10045.4.3.2")]);
        let tbs = constructed(
            0x30,
            &[
                tlv(0xA0, &unsigned(0x02, 2)),
                tlv(0x02, &serial_number(subject_key)),
                algorithm.clone(),
                issuer_name.to_vec(),
                constructed(
                    0x30,
                    &[date::encode(self.not_before), date::encode(self.not_after)],
                ),
                name(&self.subject),
                public_key_info(subject_key),
                tlv(
                    0xA3,
                    &constructed(0x30, &self.extensions(subject_key, issuer_key, authority)),
                ),
            ],
        );
        let mut signature = issuer_key.sign_der(&tbs);
        if self.wrong_signature {
            signature = issuer_key.sign_der(&[&tbs[..], &[0]].concat());
        }
        let der = constructed(0x30, &[tbs, algorithm, bit_string(&signature)]);
        Certificate::parse(&der).expect("what this module writes is a certificate")
    }

    fn extensions(
        &self,
        subject_key: &PublicKey,
        issuer_key: &PrivateKey,
        authority: bool,
    ) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if authority {
            let identifier = tlv(0x80, &key_identifier(&issuer_key.public_key()));
            out.push(extension("2.5.29.35", false, &tlv(0x30, &identifier)));
        }
        out.push(extension(
            "2.5.29.14",
            false,
            &tlv(0x04, &self.key_identifier(subject_key)),
        ));
        if let Some(usage) = self.key_usage {
            out.push(extension("2.5.29.15", true, &usage.to_der()));
        }
        if !self.policies.is_empty() {
            let list = self
                .policies
                .iter()
                .map(|policy| tlv(0x30, &object(policy)));
            let list = constructed(0x30, &list.collect::<Vec<_>>());
            out.push(extension("2.5.29.32", self.policies_critical, &list));
        }
        if let Some(constraints) = self.basic_constraints {
            out.push(extension("2.5.29.19", true, &constraints.to_der()));
        }
        if !self.extended_key_usage.is_empty() {
            let list = self.extended_key_usage.iter().map(|usage| object(usage));
            let list = constructed(0x30, &list.collect::<Vec<_>>());
            out.push(extension("2.5.29.37", true, &list));
        }
        if !(self.dns_names.is_empty() && self.rids.is_empty()) {
            out.push(extension("2.5.29.17", false, &self.subject_alt_name()));
        }
        if !self.permitted.is_empty() {
            let constraints = name_constraints(&self.permitted);
            out.push(extension("2.5.29.30", true, &constraints));
        }
        if !self.crl_distribution_points.is_empty() {
            let list = self
                .crl_distribution_points
                .iter()
                .map(|uri| tlv(0x30, &tlv(0xA0, &tlv(0xA0, &tlv(0x86, uri.as_bytes())))));
            let list = constructed(0x30, &list.collect::<Vec<_>>());
            out.push(extension("2.5.29.31", false, &list));
        }
        if self.unknown_critical_extension {
            out.push(extension("2.999.99", true, &[0x05, 0x00]));
        }
        out
    }

    fn key_identifier(&self, key: &PublicKey) -> Vec<u8> {
        let other = self.subject_key_identifier.clone();
        other.unwrap_or_else(|| key_identifier(key))
    }

    fn subject_alt_name(&self) -> Vec<u8> {
        let dns = self.dns_names.iter().map(|name| tlv(0x82, name.as_bytes()));
        let rids = self.rids.iter().map(|rid| tlv(0x88, &oid_content(rid)));
        constructed(0x30, &dns.chain(rids).collect::<Vec<_>>())
    }
}

impl Attribute {
    fn to_der(self, value: &str) -> Vec<u8> {
        let (kind, tag) = match self {
            Self::CommonName => ("2.5.4.3", 0x0C),
            Self::Country => ("2.5.4.6", 0x13),
            Self::Organization => ("2.5.4.10", 0x0C),
            Self::OrganizationalUnit => ("2.5.4.11", 0x0C),
            Self::SerialNumber => ("2.5.4.5", 0x13),
        };
        tlv(
            0x31,
            &constructed(0x30, &[object(kind), tlv(tag, value.as_bytes())]),
        )
    }
}

impl KeyUsage {
    fn to_der(self) -> Vec<u8> {
        let bits = match self {
            Self::CertificateAndCrlSign => [0x01, 0x06],
            Self::CertificateSign => [0x02, 0x04],
            Self::DigitalSignature => [0x07, 0x80],
            Self::KeyAgreement => [0x03, 0x08],
        };
        tlv(0x03, &bits)
    }
}

impl BasicConstraints {
    fn to_der(self) -> Vec<u8> {
        let length = self.path_length.map(|length| unsigned(0x02, length.into()));
        constructed(0x30, &[tlv(0x01, &[0xFF]), length.unwrap_or_default()])
    }
}

/// The identifier of a key: the first 20 octets of its SHA-256 (RFC 7093 section 2, method 1).
fn key_identifier(key: &PublicKey) -> Vec<u8> {
    Sha256::digest(key.to_point())[..20].to_vec()
}

/// Nine octets that differ from key to key.
fn serial_number(key: &PublicKey) -> Vec<u8> {
    let mut serial = vec![0x02];
    serial.extend_from_slice(&key.to_point()[1..9]);
    serial
}

fn name(attributes: &[(Attribute, String)]) -> Vec<u8> {
    let rdns = attributes
        .iter()
        .map(|(attribute, value)| attribute.to_der(value));
    constructed(0x30, &rdns.collect::<Vec<_>>())
}

fn public_key_info(key: &PublicKey) -> Vec<u8> {
    let curve = object(key.curve().oid());
    let algorithm = constructed(0x30, &[object("1.2.840.10045.2.1"), curve]);
    constructed(0x30, &[algorithm, bit_string(&key.to_point())])
}

fn name_constraints(permitted: &[(String, String)]) -> Vec<u8> {
    let subtrees = permitted.iter().map(|(organization, number)| {
        let permitted = name(&[
            (Attribute::Organization, organization.clone()),
            (Attribute::SerialNumber, number.clone()),
        ]);
        tlv(0x30, &tlv(0xA4, &permitted))
    });
    let subtrees: Vec<_> = subtrees.collect();
    tlv(0x30, &constructed(0xA0, &subtrees))
}

fn extension(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical {
        tlv(0x01, &[0xFF])
    } else {
        Vec::new()
    };
    constructed(0x30, &[object(kind), critical, tlv(0x04, value)])
}

fn bit_string(octets: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], octets].concat())
}

fn object(dotted: &str) -> Vec<u8> {
    tlv(0x06, &oid_content(dotted))
}

fn oid_content(dotted: &str) -> Vec<u8> {
    let oid: Oid = dotted
        .parse()
        .unwrap_or_else(|_| panic!("{dotted} is no object identifier"));
    oid.octets().to_vec()
}

fn crl_distribution_points(lists: &[&str]) -> Vec<String> {
    lists
        .iter()
        .map(|list| format!("http://ci.example.com/CRL-{list}.crl"))
        .collect()
}

const EUM_ORGANIZATION: &str = "RSP Test EUM";
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const YEAR: Duration = Duration::from_secs(365 * 86_400 + 21_600);
/// 24 January 7496, 12:00 UTC.
const YEAR_7496: u64 = 174_393_432_000;
