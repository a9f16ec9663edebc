//! X.509 certificates as GSMA RSP uses them: reading, chains and roles.
//!
//! SGP.22 v2.5 section 4.5.2. Signatures are checked over the received octets. An eUICC has no
//! clock, so every check of dates takes the time as an option.

use std::time::{SystemTime, UNIX_EPOCH};

use es10_apdu::types::Oid;
use rasn_pkix as pkix;

use crate::der::Tlv;
use crate::key::{Curve, PublicKey};

mod extensions;

use extensions::Extensions;

/// The part a certificate plays, proved by its policy `id-rspRole` (2.23.146.1.2.1.x).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// Certificate issuer, the root.
    Ci,
    /// The eUICC itself.
    Euicc,
    /// eUICC manufacturer.
    Eum,
    /// TLS of an SM-DP+.
    DpTls,
    /// Authentication of an SM-DP+.
    DpAuth,
    /// Profile package binding of an SM-DP+.
    DpPb,
    /// TLS of an SM-DS.
    DsTls,
    /// Authentication of an SM-DS.
    DsAuth,
}

impl Role {
    const ALL: [Self; 8] = [
        Self::Ci,
        Self::Euicc,
        Self::Eum,
        Self::DpTls,
        Self::DpAuth,
        Self::DpPb,
        Self::DsTls,
        Self::DsAuth,
    ];

    /// The policy identifier in dotted form.
    pub fn policy(self) -> &'static str {
        match self {
            Self::Ci => "2.23.146.1.2.1.0",
            Self::Euicc => "2.23.146.1.2.1.1",
            Self::Eum => "2.23.146.1.2.1.2",
            Self::DpTls => "2.23.146.1.2.1.3",
            Self::DpAuth => "2.23.146.1.2.1.4",
            Self::DpPb => "2.23.146.1.2.1.5",
            Self::DsTls => "2.23.146.1.2.1.6",
            Self::DsAuth => "2.23.146.1.2.1.7",
        }
    }
}

/// Why a certificate was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The octets are no X.509 version 3 certificate.
    #[error("not an X.509 version 3 certificate: {0}")]
    Malformed(String),
    /// The signature algorithm is not ecdsa-with-SHA256.
    #[error("signature algorithm {0} is not ecdsa-with-SHA256")]
    UnsupportedAlgorithm(String),
    /// The public key is on no curve of RSP, or not on the curve of its chain.
    #[error("the public key is not on the curve of its chain, NIST P-256 or brainpoolP256r1")]
    UnsupportedCurve,
    /// There is no authority key identifier to find the issuer by.
    #[error("the certificate names no issuer key (authorityKeyIdentifier is missing)")]
    MissingAuthorityKeyIdentifier,
    /// The authority key identifier names another key than the issuer's.
    #[error("the certificate was issued by another key ({0})")]
    UnknownIssuer(String),
    /// The issuer's key did not make this signature.
    #[error("the certificate's signature is wrong")]
    BadSignature,
    /// An extension that must be understood is not known.
    #[error("the critical extension {0} is not known")]
    UnknownCriticalExtension(String),
    /// The validity period has not begun.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// The validity period is over.
    #[error("the certificate has expired")]
    Expired,
    /// The key usage does not allow what the key is used for.
    #[error("keyUsage does not allow this use of the key")]
    KeyUsage,
    /// An end entity where a CA is needed, or the other way round.
    #[error("basicConstraints do not fit the place in the chain")]
    BasicConstraints,
    /// A required extension is missing.
    #[error("the extension {0} is missing")]
    MissingExtension(&'static str),
    /// No policy names an accepted role.
    #[error("the certificate has another role (policies {0})")]
    WrongRole(String),
    /// The subject lies outside what the EUM certificate permits.
    #[error("the eUICC's EID or organisation lies outside the EUM's name constraints")]
    NameConstraints,
}

/// A parsed certificate with the octets it came in.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: Vec<u8>,
    parsed: pkix::Certificate,
    extensions: Extensions,
}

impl Certificate {
    /// Reads one DER certificate with nothing behind it.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let tbs = Tlv::exact(der)
            .and_then(|outer| outer.children())
            .and_then(|parts| parts.first().map(|tbs| tbs.bytes.to_vec()))
            .ok_or_else(|| malformed("it is not one SEQUENCE"))?;
        let parsed: pkix::Certificate = decode(der)?;
        if parsed.tbs_certificate.version != pkix::Version::V3 {
            return Err(malformed("it is not version 3"));
        }
        let extensions = Extensions::parse(parsed.tbs_certificate.extensions.as_deref())?;
        Ok(Self {
            der: der.to_vec(),
            tbs,
            parsed,
            extensions,
        })
    }

    /// Verifies an SM-DP+ or SM-DS certificate that stands directly below the CI.
    ///
    /// The role is left to [`Certificate::role`] and the curve to [`Certificate::public_key`],
    /// because an eUICC reports these two with codes of their own.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of SGP.22 v2.5 section 4.5.2.2.
    pub fn verify_server(&self, ci: &Self, at: Option<SystemTime>) -> Result<(), CertificateError> {
        self.verify_issued_by(ci, at)?;
        self.verify_signing_leaf()?;
        if self.extensions.policies.is_empty() {
            return Err(CertificateError::MissingExtension("certificatePolicies"));
        }
        if self.extensions.registered_ids.is_empty() {
            return Err(CertificateError::MissingExtension(
                "subjectAltName registeredID",
            ));
        }
        Ok(())
    }

    /// Verifies an EUM certificate that stands directly below the CI.
    pub fn verify_eum(&self, ci: &Self, at: Option<SystemTime>) -> Result<(), CertificateError> {
        self.verify_issued_by(ci, at)?;
        if !self.extensions.is_ca || ci.extensions.is_last_ca {
            return Err(CertificateError::BasicConstraints);
        }
        self.require_key_usage(KEY_CERT_SIGN)?;
        self.role(&[Role::Eum]).map(drop)
    }

    /// Verifies an eUICC certificate below its EUM's, the range of EIDs included.
    pub fn verify_euicc(&self, eum: &Self, at: Option<SystemTime>) -> Result<(), CertificateError> {
        self.verify_issued_by(eum, at)?;
        self.verify_signing_leaf()?;
        self.role(&[Role::Euicc])?;
        if eum.permits(self) {
            Ok(())
        } else {
            Err(CertificateError::NameConstraints)
        }
    }

    /// The first of the accepted roles that the certificate's policies name.
    pub fn role(&self, accepted: &[Role]) -> Result<Role, CertificateError> {
        accepted
            .iter()
            .copied()
            .find(|role| {
                self.extensions
                    .policies
                    .iter()
                    .any(|policy| policy == role.policy())
            })
            .ok_or_else(|| CertificateError::WrongRole(self.extensions.policies.join(", ")))
    }

    /// Every role the policies name.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        Role::ALL
            .into_iter()
            .filter(|role| self.role(&[*role]).is_ok())
    }

    /// The public key.
    pub fn public_key(&self) -> Result<PublicKey, CertificateError> {
        let info = &self.parsed.tbs_certificate.subject_public_key_info;
        let named_curve = info
            .algorithm
            .parameters
            .as_ref()
            .map(|curve| curve.as_bytes());
        let ec = info.algorithm.algorithm.as_ref() == [1, 2, 840, 10045, 2, 1];
        let curve = match named_curve {
            Some(PRIME256V1) if ec => Curve::Nist,
            Some(BRAINPOOL_P256R1) if ec => Curve::Brainpool,
            _ => return Err(CertificateError::UnsupportedCurve),
        };
        PublicKey::from_point_on(curve, info.subject_public_key.as_raw_slice())
            .ok_or(CertificateError::UnsupportedCurve)
    }

    /// The public key, when it is on the curve of the issuer's: one chain uses one curve.
    pub fn public_key_on_curve_of(&self, issuer: &Self) -> Result<PublicKey, CertificateError> {
        let (key, above) = (self.public_key()?, issuer.public_key()?);
        if key.curve() == above.curve() {
            Ok(key)
        } else {
            Err(CertificateError::UnsupportedCurve)
        }
    }

    /// The octets as received.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject key identifier.
    pub fn subject_key_identifier(&self) -> Option<&[u8]> {
        self.extensions.subject_key_identifier.as_deref()
    }

    /// The authority key identifier.
    pub fn authority_key_identifier(&self) -> Option<&[u8]> {
        self.extensions.authority_key_identifier.as_deref()
    }

    /// The owner's object identifier: the first registeredID of subjectAltName.
    pub fn owner(&self) -> Option<&Oid> {
        self.extensions.registered_ids.first()
    }

    /// The dNSNames of subjectAltName.
    pub fn dns_names(&self) -> &[String] {
        &self.extensions.dns_names
    }

    /// The subject's serialNumber, which is the EID in an eUICC certificate.
    pub fn subject_serial_number(&self) -> Option<String> {
        self.subject().find_map(|pair| text_of(pair, SERIAL_NUMBER))
    }

    /// The subject's organizationName.
    pub fn subject_organization(&self) -> Option<String> {
        self.subject().find_map(|pair| text_of(pair, ORGANIZATION))
    }

    /// The subject name in words.
    pub fn subject_text(&self) -> String {
        name_text(&self.parsed.tbs_certificate.subject)
    }

    /// The issuer name in words.
    pub fn issuer_text(&self) -> String {
        name_text(&self.parsed.tbs_certificate.issuer)
    }

    /// The serial number in hexadecimal, as the octets stand there.
    pub fn serial_number_text(&self) -> String {
        let parts = Tlv::exact(&self.tbs).and_then(|tbs| tbs.children());
        let serial = parts.as_ref().and_then(|parts| parts.get(1));
        serial.map_or_else(String::new, |serial| hex::encode_upper(serial.value))
    }

    /// The policy identifiers, dotted.
    pub fn policies(&self) -> &[String] {
        &self.extensions.policies
    }

    /// The names an EUM may issue for, in words.
    pub fn permitted_text(&self) -> Vec<String> {
        let permitted = self.extensions.permitted.iter().flatten();
        permitted.map(|name| rdns_text(name)).collect()
    }

    /// Verifies a CI certificate with its own key.
    pub fn verify_self_signed(&self) -> Result<(), CertificateError> {
        self.verify_algorithm()?;
        if !self.extensions.is_ca {
            return Err(CertificateError::BasicConstraints);
        }
        self.require_key_usage(KEY_CERT_SIGN)?;
        let signature = self.parsed.signature_value.as_raw_slice();
        if !self.public_key()?.verifies_der(&self.tbs, signature) {
            return Err(CertificateError::BadSignature);
        }
        self.role(&[Role::Ci]).map(drop)
    }

    /// Begin of the validity period.
    pub fn not_before(&self) -> i64 {
        unix_time(self.parsed.tbs_certificate.validity.not_before)
    }

    /// End of the validity period.
    pub fn not_after(&self) -> i64 {
        unix_time(self.parsed.tbs_certificate.validity.not_after)
    }

    /// The subject name as DER, to be copied into what this certificate's key issues.
    pub fn subject_der(&self) -> Vec<u8> {
        let parts = Tlv::exact(&self.tbs)
            .and_then(|tbs| tbs.children())
            .unwrap_or_default();
        parts
            .get(5)
            .map(|subject| subject.bytes.to_vec())
            .unwrap_or_default()
    }

    /// Issuer by key identifier, signature, unknown critical extensions, dates.
    fn verify_issued_by(
        &self,
        issuer: &Self,
        at: Option<SystemTime>,
    ) -> Result<(), CertificateError> {
        self.verify_algorithm()?;
        let named = self
            .authority_key_identifier()
            .ok_or(CertificateError::MissingAuthorityKeyIdentifier)?;
        if Some(named) != issuer.subject_key_identifier() {
            return Err(CertificateError::UnknownIssuer(hex::encode(named)));
        }
        if !issuer.extensions.is_ca {
            return Err(CertificateError::BasicConstraints);
        }
        issuer.require_key_usage(KEY_CERT_SIGN)?;
        let signature = self.parsed.signature_value.as_raw_slice();
        if !issuer.public_key()?.verifies_der(&self.tbs, signature) {
            return Err(CertificateError::BadSignature);
        }
        if let Some(oid) = &self.extensions.unknown_critical {
            return Err(CertificateError::UnknownCriticalExtension(oid.clone()));
        }
        at.map_or(Ok(()), |at| self.verify_dates(at))
    }

    fn verify_algorithm(&self) -> Result<(), CertificateError> {
        let (inner, outer) = (
            &self.parsed.tbs_certificate.signature,
            &self.parsed.signature_algorithm,
        );
        if inner.algorithm != outer.algorithm {
            return Err(malformed("the two signature algorithms differ"));
        }
        if outer.algorithm.as_ref() == [1, 2, 840, 10045, 4, 3, 2] {
            Ok(())
        } else {
            Err(CertificateError::UnsupportedAlgorithm(
                outer.algorithm.to_string(),
            ))
        }
    }

    /// Whether the certificate is valid at a time.
    pub(crate) fn verify_dates(&self, at: SystemTime) -> Result<(), CertificateError> {
        let at = at
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        let validity = &self.parsed.tbs_certificate.validity;
        if at < unix_time(validity.not_before) {
            Err(CertificateError::NotYetValid)
        } else if at > unix_time(validity.not_after) {
            Err(CertificateError::Expired)
        } else {
            Ok(())
        }
    }

    fn verify_signing_leaf(&self) -> Result<(), CertificateError> {
        if self.extensions.is_ca {
            return Err(CertificateError::BasicConstraints);
        }
        self.require_key_usage(DIGITAL_SIGNATURE)
    }

    fn require_key_usage(&self, bit: usize) -> Result<(), CertificateError> {
        let usage = self.extensions.key_usage.as_ref();
        match usage.and_then(|bits| bits.get(bit)).as_deref() {
            Some(true) => Ok(()),
            _ => Err(CertificateError::KeyUsage),
        }
    }

    /// The rule of SGP.22 for EUM name constraints, which is not the one of RFC 5280: the
    /// organisation is equal, and the EID begins with the serialNumber given.
    fn permits(&self, euicc: &Self) -> bool {
        let Some(permitted) = &self.extensions.permitted else {
            return false;
        };
        let (eid, organization) = (euicc.subject_serial_number(), euicc.subject_organization());
        permitted.iter().any(|name| {
            let find = |kind| {
                name.iter()
                    .flat_map(pairs)
                    .find_map(|pair| text_of(pair, kind))
            };
            let issuer_number = find(SERIAL_NUMBER);
            find(ORGANIZATION) == organization
                && eid
                    .as_ref()
                    .zip(issuer_number)
                    .is_some_and(|(eid, number)| {
                        !number.is_empty() && eid.starts_with(number.as_str())
                    })
        })
    }

    fn subject(&self) -> impl Iterator<Item = &pkix::AttributeTypeAndValue> {
        let pkix::Name::RdnSequence(names) = &self.parsed.tbs_certificate.subject;
        names.iter().flat_map(pairs)
    }
}

fn decode<T: rasn::Decode>(bytes: &[u8]) -> Result<T, CertificateError> {
    match rasn::ber::decode_with_remainder(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(malformed("octets are left over")),
        Err(error) => Err(malformed(&error.to_string())),
    }
}

fn malformed(why: &str) -> CertificateError {
    CertificateError::Malformed(why.to_owned())
}

fn unix_time(time: pkix::Time) -> i64 {
    match time {
        pkix::Time::Utc(time) => time.timestamp(),
        pkix::Time::General(time) => time.timestamp(),
    }
}

fn pairs(
    rdn: &pkix::RelativeDistinguishedName,
) -> impl Iterator<Item = &pkix::AttributeTypeAndValue> {
    rdn.to_vec().into_iter()
}

fn name_text(name: &pkix::Name) -> String {
    let pkix::Name::RdnSequence(rdns) = name;
    rdns_text(rdns)
}

fn rdns_text(rdns: &[pkix::RelativeDistinguishedName]) -> String {
    let parts = rdns.iter().flat_map(pairs).map(|pair| {
        let value = Tlv::exact(pair.value.as_bytes()).map_or(&[][..], |value| value.value);
        let value: String = String::from_utf8_lossy(value)
            .chars()
            .filter(|letter| !letter.is_control())
            .collect();
        let kind = match pair.r#type.as_ref() {
            [2, 5, 4, 3] => "CN".to_owned(),
            [2, 5, 4, 5] => "serialNumber".to_owned(),
            [2, 5, 4, 6] => "C".to_owned(),
            [2, 5, 4, 10] => "O".to_owned(),
            [2, 5, 4, 11] => "OU".to_owned(),
            _ => pair.r#type.to_string(),
        };
        format!("{kind}={value}")
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn text_of(pair: &pkix::AttributeTypeAndValue, kind: [u32; 4]) -> Option<String> {
    if pair.r#type.as_ref() != kind {
        return None;
    }
    let value = Tlv::exact(pair.value.as_bytes())?.value;
    String::from_utf8(value.to_vec()).ok()
}

const DIGITAL_SIGNATURE: usize = 0;
const KEY_CERT_SIGN: usize = 5;
const ORGANIZATION: [u32; 4] = [2, 5, 4, 10];
const SERIAL_NUMBER: [u32; 4] = [2, 5, 4, 5];
const PRIME256V1: &[u8] = &[0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const BRAINPOOL_P256R1: &[u8] = &[
    0x06, 0x09, 0x2B, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, 0x07,
];

#[cfg(test)]
mod tests;
