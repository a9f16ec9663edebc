//! Reading X.509 certificates of the GSMA public key infrastructure.
//!
//! Only reading: who may be trusted for what is decided in [`tls`](crate::tls).

use std::fmt;

use rasn::ber::de::{Decoder as DerDecoder, DecoderOptions};
use rasn::de::Error as _;
use rasn::error::DecodeError;
use rasn::types::{
    Any, BitString, Class, Constraints, Ia5String, Integer, ObjectIdentifier, OctetString, Tag,
    TagTree, UtcTime,
};
use rasn::{AsnType, Codec, Decode, Decoder};
use rasn_pkix::{
    BasicConstraints, CertificatePolicies, ExtKeyUsageSyntax, Extension, KeyUsage, Name,
    RdnSequence, SubjectKeyIdentifier, TbsCertificate, Time, Version,
};
use thiserror::Error;

/// An X.509 v3 certificate with the extensions of SGP.22 v2.5 section 4.5.2.
///
/// The signed part is kept as received.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(crate) signed: Vec<u8>,
    pub(crate) signature_algorithm: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) public_key: PublicKey,
    pub(crate) subject: RdnSequence,
    pub(crate) issuer: RdnSequence,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) extensions: Extensions,
}

impl Certificate {
    /// Reads a version 3 certificate in DER. Every known extension must be readable, and no
    /// extension may be there twice.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let outer: SignedCertificate = decode(der, "certificate")?;
        let signed = outer.tbs_certificate.into_bytes();
        let tbs: TbsCertificate = decode(&signed, "tbsCertificate")?;
        if tbs.version != Version::V3 {
            return Err(CertificateError::Malformed("version"));
        }
        // The outer one is not signed: RFC 5280 section 4.1.1.2 wants both to be the same.
        if tbs.signature != outer.signature_algorithm {
            return Err(CertificateError::Malformed("signature algorithm"));
        }
        let key = &tbs.subject_public_key_info;
        let Name::RdnSequence(subject) = tbs.subject;
        let Name::RdnSequence(issuer) = tbs.issuer;
        Ok(Self {
            signature_algorithm: contents(&encode(&outer.signature_algorithm)?).to_vec(),
            signature: octets(&outer.signature_value, "signature")?,
            public_key: PublicKey {
                algorithm: contents(&encode(&key.algorithm)?).to_vec(),
                bits: octets(&key.subject_public_key, "public key")?,
            },
            signed,
            subject,
            issuer,
            not_before: (&tbs.validity.not_before).into(),
            not_after: (&tbs.validity.not_after).into(),
            extensions: Extensions::read(tbs.extensions.iter().flat_map(|list| list.iter()))?,
        })
    }

    /// The identifier of the certified key.
    pub fn subject_key_id(&self) -> Option<&KeyId> {
        self.extensions.subject_key_id.as_ref()
    }

    /// The identifier of the key that signed this certificate.
    pub fn authority_key_id(&self) -> Option<&KeyId> {
        self.extensions.authority_key_id.as_ref()
    }

    /// The object identifiers in subjectAltName, in dotted form.
    ///
    /// In CERT.DPauth.ECDSA this is the identity of the SM-DP+ that an activation code may name.
    pub fn registered_ids(&self) -> &[String] {
        &self.extensions.registered_ids
    }

    /// The host names in subjectAltName.
    pub fn dns_names(&self) -> &[String] {
        &self.extensions.dns_names
    }

    /// The roles this certificate was issued for, in dotted form.
    pub fn policies(&self) -> &[String] {
        &self.extensions.policies
    }

    /// The first day and second on which the certificate is good.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last day and second on which the certificate is good.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The common name of the subject, or the whole name if there is none.
    pub fn subject(&self) -> String {
        readable(&self.subject)
    }

    /// Whether the certificate names no issuer but itself.
    pub(crate) fn is_self_signed(&self) -> bool {
        let other_key = self
            .authority_key_id()
            .is_some_and(|id| Some(id) != self.subject_key_id());
        self.subject == self.issuer && !other_key
    }
}

/// What the extensions of a certificate say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) subject_key_id: Option<KeyId>,
    pub(crate) authority_key_id: Option<KeyId>,
    pub(crate) key_usage: Option<KeyUsage>,
    pub(crate) extended_key_usage: Vec<String>,
    pub(crate) policies: Vec<String>,
    pub(crate) dns_names: Vec<String>,
    pub(crate) registered_ids: Vec<String>,
    pub(crate) basic_constraints: Option<BasicConstraints>,
    pub(crate) permitted: Vec<GeneralSubtree>,
    pub(crate) excluded: Vec<GeneralSubtree>,
    pub(crate) unknown_critical: Option<String>,
}

impl Extensions {
    fn read<'a>(list: impl Iterator<Item = &'a Extension>) -> Result<Self, CertificateError> {
        let mut extensions = Self::default();
        let mut seen: Vec<&ObjectIdentifier> = Vec::new();
        for extension in list {
            if seen.contains(&&extension.extn_id) {
                return Err(CertificateError::Malformed("extensions"));
            }
            seen.push(&extension.extn_id);
            extensions.add(extension)?;
        }
        Ok(extensions)
    }

    fn add(&mut self, extension: &Extension) -> Result<(), CertificateError> {
        let value: &[u8] = &extension.extn_value;
        match extension.extn_id.as_ref() {
            [2, 5, 29, 14] => {
                let id: SubjectKeyIdentifier = decode(value, "subjectKeyIdentifier")?;
                self.subject_key_id = Some(KeyId(id.to_vec()));
            }
            [2, 5, 29, 15] => self.key_usage = Some(decode(value, "keyUsage")?),
            [2, 5, 29, 17] => {
                self.add_names(decode(value, "subjectAltName")?);
            }
            [2, 5, 29, 19] => self.basic_constraints = Some(decode(value, "basicConstraints")?),
            [2, 5, 29, 30] => {
                let constraints: NameConstraints = decode(value, "nameConstraints")?;
                self.permitted = constraints.permitted_subtrees.unwrap_or_default();
                self.excluded = constraints.excluded_subtrees.unwrap_or_default();
            }
            // Certificate revocation lists are the eUICC's business.
            [2, 5, 29, 31] => {}
            [2, 5, 29, 32] => {
                let policies: CertificatePolicies = decode(value, "certificatePolicies")?;
                let ids = policies.iter().map(|p| p.policy_identifier.to_string());
                self.policies = ids.collect();
            }
            [2, 5, 29, 35] => {
                let id: AuthorityKeyIdentifier = decode(value, "authorityKeyIdentifier")?;
                self.authority_key_id = id.key_identifier.map(|id| KeyId(id.to_vec()));
            }
            [2, 5, 29, 37] => {
                let usages: ExtKeyUsageSyntax = decode(value, "extKeyUsage")?;
                self.extended_key_usage = usages.iter().map(ToString::to_string).collect();
            }
            _ if extension.critical => {
                self.unknown_critical = Some(extension.extn_id.to_string());
            }
            _ => {}
        }
        Ok(())
    }

    fn add_names(&mut self, names: Vec<GeneralName>) {
        for name in names {
            match name {
                GeneralName::DnsName(name) => self.dns_names.push(name),
                GeneralName::RegisteredId(id) => self.registered_ids.push(id),
                GeneralName::DirectoryName(_) | GeneralName::Other => {}
            }
        }
    }

    pub(crate) fn has_key_usage(&self, usage: usize) -> bool {
        self.key_usage
            .as_ref()
            .and_then(|bits| bits.get(usage).map(|bit| *bit))
            .unwrap_or(false)
    }
}

/// A public key as certificates carry it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PublicKey {
    /// The content of the AlgorithmIdentifier, without its header.
    pub(crate) algorithm: Vec<u8>,
    pub(crate) bits: Vec<u8>,
}

/// The identifier of a key: 20 bytes, the SHA-1 of the key's bits in GSMA certificates.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct KeyId(pub Vec<u8>);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Seconds since 1970, in UTC.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(pub i64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UtcTime::from_timestamp(self.0, 0) {
            Some(time) => write!(f, "{time}"),
            None => write!(f, "{} s after 1970", self.0),
        }
    }
}

impl From<&Time> for Timestamp {
    fn from(time: &Time) -> Self {
        Self(match time {
            Time::Utc(time) => time.timestamp(),
            Time::General(time) => time.timestamp(),
        })
    }
}

/// Why a certificate is not accepted.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CertificateError {
    /// The signature on a certificate does not come from the key that should have made it.
    #[error("the signature on the certificate of {subject} is wrong")]
    BadSignature {
        /// Whose certificate it is.
        subject: String,
    },
    /// The certificate has expired.
    #[error("the certificate of {subject} expired on {not_after}; the clock here says {now}")]
    Expired {
        /// Whose certificate it is.
        subject: String,
        /// When it expired.
        not_after: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// The clock shows a time before this software was written.
    #[error("the clock is not set: it says {now}")]
    ImplausibleClock {
        /// The time here.
        now: Timestamp,
    },
    /// The certificate, or what it names, cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Malformed(&'static str),
    /// An issuer does not allow its subjects the name they have.
    #[error("the certificate of {issuer} does not allow the name of {subject}")]
    NameConstraint {
        /// The issuer.
        issuer: String,
        /// Whose certificate was issued.
        subject: String,
    },
    /// A certificate was used to issue another one and may not.
    #[error("{subject} is not allowed to issue this certificate")]
    NotAnIssuer {
        /// Whose certificate it is.
        subject: String,
    },
    /// A server showed the certificate of an issuer.
    #[error("the certificate of {subject} is for issuing certificates, not for a server")]
    NotAServer {
        /// Whose certificate it is.
        subject: String,
    },
    /// The certificate is not valid yet, or the clock is wrong.
    #[error(
        "the certificate of {subject} is valid from {not_before} on; the clock here says {now}"
    )]
    NotYetValid {
        /// Whose certificate it is.
        subject: String,
        /// When it begins.
        not_before: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// The server made its certificate itself.
    #[error("the certificate of {subject} is self-signed")]
    SelfSigned {
        /// Whose certificate it is.
        subject: String,
    },
    /// More certificates stand between the server and a root than SGP.22 knows.
    #[error("the certificate chain is too long")]
    TooLong,
    /// The certificate says something that is critical and not understood here.
    #[error("the certificate of {subject} has the unknown critical extension {oid}")]
    UnknownCriticalExtension {
        /// Whose certificate it is.
        subject: String,
        /// The extension.
        oid: String,
    },
    /// The chain does not lead to a certificate issuer that is trusted here.
    #[error("the certificate of {subject} was issued by an unknown key{}", of_key(issuer.as_ref()))]
    UnknownIssuer {
        /// Whose certificate it is.
        subject: String,
        /// The key that the certificate names as its issuer.
        issuer: Option<KeyId>,
    },
    /// The key or the signature is of a kind that GSMA certificates for TLS do not have.
    #[error("the certificate of {subject} needs an algorithm that is not supported")]
    UnsupportedAlgorithm {
        /// Whose certificate it is.
        subject: String,
    },
    /// The certificate is for another host.
    #[error("the certificate is not for {expected} but for {}", list(found))]
    WrongHost {
        /// The host that was called.
        expected: String,
        /// The host names in the certificate.
        found: Vec<String>,
    },
    /// The certificate is not for TLS servers.
    #[error("the certificate of {subject} is not for signing in a TLS handshake as server")]
    WrongKeyUsage {
        /// Whose certificate it is.
        subject: String,
    },
    /// The certificate was issued for another role.
    #[error(
        "the certificate of {subject} is not for this role; its policies are {}",
        list(found)
    )]
    WrongRole {
        /// Whose certificate it is.
        subject: String,
        /// The policies in the certificate.
        found: Vec<String>,
    },
}

/// A name of RFC 5280 section 4.2.1.6, in the forms that decide something here.
///
/// The type of rasn-pkix has them all, X.400 addresses too: it would double what is read and
/// written of X.509, and bring the table of all 65536 characters of a BMPString.
#[derive(Clone, Debug)]
pub(crate) enum GeneralName {
    DnsName(String),
    DirectoryName(RdnSequence),
    RegisteredId(String),
    Other,
}

impl GeneralName {
    fn read(der: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = DerDecoder::new(der, DecoderOptions::der());
        Ok(match der.first() {
            Some(0x82) => {
                let name = Ia5String::decode_with_tag(&mut decoder, Tag::new(Class::Context, 2))?;
                Self::DnsName(name.to_string())
            }
            // Its tag is explicit, as that of every CHOICE.
            Some(0xA4) => match rasn::der::decode_with_remainder(contents(der))? {
                (name, []) => Self::DirectoryName(name),
                _ => return Err(DecodeError::custom("octets follow the name", Codec::Der)),
            },
            Some(0x88) => {
                let tag = Tag::new(Class::Context, 8);
                let id = ObjectIdentifier::decode_with_tag(&mut decoder, tag)?;
                Self::RegisteredId(id.to_string())
            }
            _ => Self::Other,
        })
    }
}

impl AsnType for GeneralName {
    const TAG: Tag = Tag::EOC;
    const TAG_TREE: TagTree = TagTree::Choice(&[]);
}

impl Decode for GeneralName {
    fn decode_with_tag_and_constraints<D: Decoder>(
        decoder: &mut D,
        _: Tag,
        _: &Constraints,
    ) -> Result<Self, D::Error> {
        // `Tag::EOC` is rasn's "any tag".
        let name = decoder.decode_any(Tag::EOC)?;
        Self::read(name.as_bytes()).map_err(|error| D::Error::custom(error, Codec::Der))
    }
}

#[derive(AsnType, Decode)]
struct NameConstraints {
    #[rasn(tag(0))]
    permitted_subtrees: Option<Vec<GeneralSubtree>>,
    #[rasn(tag(1))]
    excluded_subtrees: Option<Vec<GeneralSubtree>>,
}

#[allow(dead_code, reason = "the rest is read so that it may be there")]
#[derive(AsnType, Clone, Debug, Decode)]
pub(crate) struct GeneralSubtree {
    pub(crate) base: GeneralName,
    #[rasn(tag(0))]
    minimum: Option<Integer>,
    #[rasn(tag(1))]
    maximum: Option<Integer>,
}

#[allow(dead_code, reason = "the rest is read so that it may be there")]
#[derive(AsnType, Decode)]
struct AuthorityKeyIdentifier {
    #[rasn(tag(0))]
    key_identifier: Option<OctetString>,
    #[rasn(tag(1))]
    authority_cert_issuer: Option<Vec<Any>>,
    #[rasn(tag(2))]
    authority_cert_serial_number: Option<Integer>,
}

/// A certificate whose signed part is not decoded: what was signed is checked over these bytes.
#[derive(AsnType, Decode)]
struct SignedCertificate {
    tbs_certificate: Any,
    signature_algorithm: rasn_pkix::AlgorithmIdentifier,
    signature_value: BitString,
}

/// Decodes DER and refuses anything after it.
fn decode<T: Decode>(der: &[u8], what: &'static str) -> Result<T, CertificateError> {
    match rasn::der::decode_with_remainder(der) {
        Ok((value, [])) => Ok(value),
        _ => Err(CertificateError::Malformed(what)),
    }
}

fn encode(value: &rasn_pkix::AlgorithmIdentifier) -> Result<Vec<u8>, CertificateError> {
    rasn::der::encode(value).map_err(|_| CertificateError::Malformed("algorithm"))
}

/// The content of one TLV with a tag of one byte.
fn contents(tlv: &[u8]) -> &[u8] {
    let header = match tlv.get(1) {
        Some(length @ 0x81..) => 2 + usize::from(length & 0x7F),
        _ => 2,
    };
    tlv.get(header..).unwrap_or_default()
}

/// The bytes of a bit string that must consist of whole ones.
fn octets(bits: &BitString, what: &'static str) -> Result<Vec<u8>, CertificateError> {
    match bits.len() % 8 {
        0 => Ok(bits.clone().into_vec()),
        _ => Err(CertificateError::Malformed(what)),
    }
}

fn readable(name: &RdnSequence) -> String {
    let attributes = || name.iter().flat_map(|rdn| rdn.to_vec());
    let text = |value: &Any| {
        let text = String::from_utf8_lossy(contents(value.as_bytes()));
        text.escape_debug().to_string()
    };
    attributes()
        .find(|attribute| attribute.r#type.as_ref() == COMMON_NAME)
        .map_or_else(
            || {
                attributes()
                    .map(|a| text(&a.value))
                    .collect::<Vec<_>>()
                    .join(", ")
            },
            |attribute| text(&attribute.value),
        )
}

fn of_key(issuer: Option<&KeyId>) -> String {
    issuer.map_or_else(String::new, |id| format!(" ({id})"))
}

fn list(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        names => names.join(", ").escape_debug().to_string(),
    }
}

const COMMON_NAME: &[u32] = &[2, 5, 4, 3];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{certificate, vectors};

    #[test]
    fn the_signing_certificate_of_an_sm_dp_tells_its_identity_and_role() {
        let dpauth = Certificate::parse(&certificate("DPAUTH")).unwrap();
        assert_eq!(dpauth.registered_ids(), ["2.999.10"]);
        assert_eq!(dpauth.policies(), ["2.23.146.1.2.1.4"]);
        assert_eq!(dpauth.subject(), "TEST SM-DP+");
        let ci = vectors()["ciPkid"].as_str().unwrap().to_uppercase();
        assert_eq!(dpauth.authority_key_id().unwrap().to_string(), ci);
        assert_eq!(dpauth.not_before().to_string(), "2026-01-01 00:00:00 UTC");
    }

    #[test]
    fn the_signed_part_is_kept_byte_for_byte() {
        for name in ["CI", "EUM", "EUICC", "DPAUTH", "DPPB", "DPTLS"] {
            let der = certificate(name);
            let parsed = Certificate::parse(&der).unwrap();
            assert_eq!(der[4..4 + parsed.signed.len()], parsed.signed, "{name}");
        }
    }

    #[test]
    fn a_certificate_that_is_cut_or_altered_anywhere_is_read_without_a_panic() {
        let der = certificate("DPTLS");
        for end in 0..der.len() {
            assert!(Certificate::parse(&der[..end]).is_err());
        }
        for position in 0..der.len() {
            for value in [0x00, 0x01, 0x30, 0x7F, 0x80, 0x84, 0xFF] {
                let mut altered = der.clone();
                altered[position] = value;
                if let Ok(certificate) = Certificate::parse(&altered) {
                    let _ = (certificate.subject(), certificate.not_after().to_string());
                }
            }
        }
    }

    #[test]
    fn bytes_after_a_certificate_are_refused() {
        let mut der = certificate("DPTLS");
        der.push(0);
        assert!(Certificate::parse(&der).is_err());
    }
}
