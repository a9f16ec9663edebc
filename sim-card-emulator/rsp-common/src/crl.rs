//! Certificate revocation lists of a CI: made for tests, and read as an eUICC does.
//!
//! RFC 5280 section 5 and SGP.22 v2.5 section 4.6. A list may be a delta to a base list, and may come
//! in parts, each signed on its own.

use std::collections::BTreeSet;
use std::time::SystemTime;

use es10_apdu::types::Oid;

use crate::certificate::Certificate;
use crate::der::{Tlv, constructed, tlv, unsigned};
use crate::key::PrivateKey;
use crate::pki::date;

/// Why octets are no revocation list an eUICC understands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a revocation list of version 2: {0}")]
pub struct CrlError(&'static str);

/// One of the parts a revocation list is cut into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u64,
    /// How many there are.
    pub total: u64,
}

/// A revocation list that was read, or a part of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevocationList {
    tbs: Vec<u8>,
    signature: Vec<u8>,
    issuer_key: Vec<u8>,
    number: u64,
    base: Option<u64>,
    part: Option<Part>,
    this_update: String,
    revoked: BTreeSet<Vec<u8>>,
}

impl RevocationList {
    /// Reads one DER list with nothing behind it.
    pub fn parse(der: &[u8]) -> Result<Self, CrlError> {
        let parts = sequence(der).ok_or(CrlError("it is not one SEQUENCE"))?;
        let [tbs, algorithm, signature] = parts[..] else {
            return Err(CrlError("it has not three parts"));
        };
        if algorithm.bytes != ECDSA_WITH_SHA256 || signature.tag != 0x03 {
            return Err(CrlError("it is not signed with ecdsa-with-SHA256"));
        }
        let signature = signature.value.strip_prefix(&[0]);
        let mut list = Self {
            tbs: tbs.bytes.to_vec(),
            signature: signature.ok_or(CrlError("the signature is cut"))?.to_vec(),
            issuer_key: Vec::new(),
            number: 0,
            base: None,
            part: None,
            this_update: String::new(),
            revoked: BTreeSet::new(),
        };
        list.read_contents(&tbs)?;
        Ok(list)
    }

    /// Whether the key of that certificate made the list's signature.
    pub fn is_signed_by(&self, issuer: &Certificate) -> bool {
        issuer
            .public_key()
            .is_ok_and(|key| key.verifies_der(&self.tbs, &self.signature))
    }

    /// The subject key identifier of the issuer.
    pub fn issuer_key(&self) -> &[u8] {
        &self.issuer_key
    }

    /// Rises with every list of an issuer; parts of one list have the same number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The number of the list this one is a delta to.
    pub fn base(&self) -> Option<u64> {
        self.base
    }

    /// Which part of a list it is, when the list comes in parts.
    pub fn part(&self) -> Option<Part> {
        self.part
    }

    /// When it was made, digits that can be compared.
    pub fn this_update(&self) -> &str {
        &self.this_update
    }

    /// Whether the certificate stands on the list of its issuer.
    pub fn revokes(&self, certificate: &Certificate) -> bool {
        // A serial number means something below its issuer only.
        certificate.authority_key_identifier() == Some(&self.issuer_key[..])
            && serial_number(certificate).is_some_and(|serial| self.revoked.contains(&serial))
    }

    fn read_contents(&mut self, tbs: &Tlv<'_>) -> Result<(), CrlError> {
        let parts = sequence(tbs.bytes).ok_or(CrlError("the list is no SEQUENCE"))?;
        let [version, algorithm, issuer, this_update, ref rest @ ..] = parts[..] else {
            return Err(CrlError("something is missing"));
        };
        if version.bytes != VERSION_2 || algorithm.bytes != ECDSA_WITH_SHA256 || issuer.tag != 0x30
        {
            return Err(CrlError("version, algorithm or issuer"));
        }
        self.this_update = time(&this_update).ok_or(CrlError("thisUpdate"))?;
        let mut rest = rest.iter().peekable();
        if let Some(next_update) = rest.next_if(|part| matches!(part.tag, 0x17 | 0x18)) {
            time(next_update).ok_or(CrlError("nextUpdate"))?;
        }
        if let Some(entries) = rest.next_if(|part| part.tag == 0x30) {
            self.revoked = revoked(entries).ok_or(CrlError("revokedCertificates"))?;
        }
        let extensions = rest.next().filter(|part| part.tag == 0xA0);
        let extensions = extensions.and_then(|part| sequence(part.value));
        if rest.next().is_some() {
            return Err(CrlError("octets are left over"));
        }
        self.read_extensions(&extensions.ok_or(CrlError("extensions"))?)
    }

    fn read_extensions(&mut self, extensions: &[Tlv<'_>]) -> Result<(), CrlError> {
        let (mut number, mut partial, mut total) = (None, None, None);
        for extension in extensions {
            let parts = sequence(extension.bytes).ok_or(CrlError("an extension"))?;
            let (oid, critical, value) = match parts[..] {
                [oid, value] => (oid, false, value),
                [oid, critical, value] => (oid, critical.value != [0], value),
                _ => return Err(CrlError("an extension")),
            };
            let integer = || integer(value.value).ok_or(CrlError("a number"));
            match &dotted(oid.value)[..] {
                CRL_NUMBER => number = Some(integer()?),
                DELTA_CRL_INDICATOR => self.base = Some(integer()?),
                TOTAL_PARTIAL_CRL_NUMBER => total = Some(integer()?),
                PARTIAL_CRL_NUMBER => partial = Some(integer()?),
                AUTHORITY_KEY_IDENTIFIER => {
                    let identifier = sequence(value.value).and_then(|parts| parts.first().copied());
                    let identifier = identifier.filter(|identifier| identifier.tag == 0x80);
                    let identifier = identifier.ok_or(CrlError("authorityKeyIdentifier"))?;
                    self.issuer_key = identifier.value.to_vec();
                }
                ISSUING_DISTRIBUTION_POINT => {}
                _ if critical => return Err(CrlError("an unknown critical extension")),
                _ => {}
            }
        }
        self.number = number.ok_or(CrlError("the number is missing"))?;
        self.part = match (partial, total) {
            (None, None) => None,
            (Some(number), Some(total)) if (1..=total).contains(&number) => {
                Some(Part { number, total })
            }
            _ => return Err(CrlError("the number of the part")),
        };
        if self.part.is_some_and(|part| part.total > MOST_PARTS) || self.issuer_key.is_empty() {
            return Err(CrlError("too many parts, or no issuer"));
        }
        Ok(())
    }
}

/// How a revocation list is made, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct CrlSpec {
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub this_update: SystemTime,
    /// Serial numbers of revoked certificates, see [`serial_number`].
    pub revoked: Vec<Vec<u8>>,
    /// The number of the list it is a delta to.
    pub base: Option<u64>,
    /// Which part it is.
    pub part: Option<Part>,
    /// Spoil the signature.
    pub wrong_signature: bool,
    /// Add an unknown critical extension.
    pub unknown_critical_extension: bool,
}

impl CrlSpec {
    /// A whole list that revokes nothing.
    pub fn new(number: u64, this_update: SystemTime) -> Self {
        Self {
            number,
            this_update,
            revoked: Vec::new(),
            base: None,
            part: None,
            wrong_signature: false,
            unknown_critical_extension: false,
        }
    }

    /// Makes the list in the name of an issuer.
    pub fn issue(&self, issuer: &Certificate, key: &PrivateKey) -> Vec<u8> {
        let time = date::encode(self.this_update);
        let entries = self
            .revoked
            .iter()
            .map(|serial| constructed(0x30, &[tlv(0x02, serial), time.clone()]));
        let entries = constructed(0x30, &entries.collect::<Vec<_>>());
        let tbs = constructed(
            0x30,
            &[
                VERSION_2.to_vec(),
                ECDSA_WITH_SHA256.to_vec(),
                issuer.subject_der(),
                time,
                if self.revoked.is_empty() {
                    Vec::new()
                } else {
                    entries
                },
                tlv(0xA0, &self.extensions(issuer)),
            ],
        );
        let mut signature = key.sign_der(&tbs);
        if self.wrong_signature {
            signature = key.sign_der(&[&tbs[..], &[0]].concat());
        }
        let signature = tlv(0x03, &[&[0], &signature[..]].concat());
        constructed(0x30, &[tbs, ECDSA_WITH_SHA256.to_vec(), signature])
    }

    fn extensions(&self, issuer: &Certificate) -> Vec<u8> {
        let identifier = issuer.subject_key_identifier().unwrap_or_default();
        let number = |number: u64| unsigned(0x02, number);
        let mut out = vec![
            extension(
                AUTHORITY_KEY_IDENTIFIER,
                false,
                &tlv(0x30, &tlv(0x80, identifier)),
            ),
            extension(CRL_NUMBER, false, &number(self.number)),
        ];
        out.extend(
            self.base
                .map(|base| extension(DELTA_CRL_INDICATOR, true, &number(base))),
        );
        if let Some(part) = self.part {
            out.push(extension(
                TOTAL_PARTIAL_CRL_NUMBER,
                true,
                &number(part.total),
            ));
            out.push(extension(PARTIAL_CRL_NUMBER, true, &number(part.number)));
        }
        if self.unknown_critical_extension {
            out.push(extension("2.999.99", true, &[0x05, 0x00]));
        }
        constructed(0x30, &out)
    }
}

/// The serial number of a certificate, contents of an INTEGER.
pub fn serial_number(certificate: &Certificate) -> Option<Vec<u8>> {
    let parts = sequence(certificate.der())?;
    let parts = sequence(parts.first()?.bytes)?;
    let serial = parts.iter().find(|part| part.tag == 0x02)?;
    Some(serial.value.to_vec())
}

fn sequence(der: &[u8]) -> Option<Vec<Tlv<'_>>> {
    Tlv::exact(der).filter(|tlv| tlv.tag == 0x30)?.children()
}

fn revoked(entries: &Tlv<'_>) -> Option<BTreeSet<Vec<u8>>> {
    let serial = |entry: &Tlv<'_>| match sequence(entry.bytes)?[..] {
        [serial, date, ..] if serial.tag == 0x02 && time(&date).is_some() => {
            Some(serial.value.to_vec())
        }
        _ => None,
    };
    entries.children()?.iter().map(serial).collect()
}

/// The digits of a UTCTime or GeneralizedTime, the century included.
fn time(time: &Tlv<'_>) -> Option<String> {
    let digits = std::str::from_utf8(time.value).ok()?.strip_suffix('Z')?;
    let all_digits = digits.bytes().all(|digit| digit.is_ascii_digit());
    match (time.tag, digits.len()) {
        _ if !all_digits => None,
        // RFC 5280 section 4.1.2.5.1: a year below 50 is one of this century.
        (0x17, 12) if digits < "50" => Some(format!("20{digits}")),
        (0x17, 12) => Some(format!("19{digits}")),
        (0x18, 14) => Some(digits.to_owned()),
        _ => None,
    }
}

fn integer(der: &[u8]) -> Option<u64> {
    let value = Tlv::exact(der).filter(|tlv| tlv.tag == 0x02)?.value;
    let positive = value.first().is_some_and(|first| *first < 0x80) && value.len() <= 8;
    positive.then(|| {
        value
            .iter()
            .fold(0, |sum, octet| sum << 8 | u64::from(*octet))
    })
}

fn dotted(oid: &[u8]) -> String {
    Oid::from_octets(oid).map_or_else(|_| String::new(), |oid| oid.to_string())
}

fn extension(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let kind: Oid = kind.parse().expect("the identifiers here are written out");
    let critical = if critical {
        tlv(0x01, &[0xFF])
    } else {
        Vec::new()
    };
    constructed(
        0x30,
        &[tlv(0x06, kind.octets()), critical, tlv(0x04, value)],
    )
}

const VERSION_2: [u8; 3] = [0x02, 0x01, 0x01];
const ECDSA_WITH_SHA256: [u8; 12] = [
    0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02,
];
const CRL_NUMBER: &str = "2.5.29.20";
const DELTA_CRL_INDICATOR: &str = "2.5.29.27";
const ISSUING_DISTRIBUTION_POINT: &str = "2.5.29.28";
const AUTHORITY_KEY_IDENTIFIER: &str = "2.5.29.35";
const TOTAL_PARTIAL_CRL_NUMBER: &str = "2.23.146.1.2.0.2";
const PARTIAL_CRL_NUMBER: &str = "2.23.146.1.2.0.3";
const MOST_PARTS: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Role;
    use crate::pki::{Pki, PkiOptions};

    #[test]
    fn a_list_that_was_made_is_read_again() {
        let pki = Pki::generate(&PkiOptions::default()).unwrap();
        let (ci, key) = (
            pki.certificate(Role::Ci).unwrap(),
            pki.key(Role::Ci).unwrap(),
        );
        let (auth, binding) = (
            pki.certificate(Role::DpAuth).unwrap(),
            pki.certificate(Role::DpPb).unwrap(),
        );
        let spec = CrlSpec {
            revoked: vec![serial_number(auth).unwrap()],
            base: Some(300),
            part: Some(Part {
                number: 2,
                total: 3,
            }),
            ..CrlSpec::new(301, PkiOptions::default().now)
        };
        let der = spec.issue(ci, key);
        let list = RevocationList::parse(&der).unwrap();
        assert!(list.is_signed_by(ci) && !list.is_signed_by(auth));
        assert_eq!(list.issuer_key(), ci.subject_key_identifier().unwrap());
        assert_eq!(
            (list.number(), list.base(), list.part()),
            (301, Some(300), spec.part)
        );
        assert!(list.revokes(auth) && !list.revokes(binding));
        assert!(list.this_update().starts_with("20"));
        for length in 0..der.len() {
            assert!(RevocationList::parse(&der[..length]).is_err());
        }
    }

    #[test]
    fn lists_of_another_kind_are_refused() {
        let pki = Pki::generate(&PkiOptions::default()).unwrap();
        let (ci, key) = (
            pki.certificate(Role::Ci).unwrap(),
            pki.key(Role::Ci).unwrap(),
        );
        let good = CrlSpec::new(1, PkiOptions::default().now);
        RevocationList::parse(&good.issue(ci, key)).unwrap();
        let part = |number, total| Some(Part { number, total });
        for spec in [
            CrlSpec {
                unknown_critical_extension: true,
                ..good.clone()
            },
            CrlSpec {
                part: part(0, 2),
                ..good.clone()
            },
            CrlSpec {
                part: part(3, 2),
                ..good.clone()
            },
            CrlSpec {
                part: part(1, 65),
                ..good.clone()
            },
        ] {
            assert!(
                RevocationList::parse(&spec.issue(ci, key)).is_err(),
                "{spec:?}"
            );
        }
        assert!(RevocationList::parse(ci.der()).is_err());
    }
}
