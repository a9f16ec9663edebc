//! Checking the certificate of an RSP server.
//!
//! The verifier of rustls cannot do this: it refuses every certificate with critical policies, as
//! GSMA certificates have them, and does not know the roles of SGP.22.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rasn_pkix::RdnSequence;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, alg_id};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, OtherError, PeerMisbehaved, SignatureScheme};
use thiserror::Error;

use crate::certificate::{
    Certificate, CertificateError, Extensions, GeneralName, GeneralSubtree, KeyId, PublicKey,
    Timestamp,
};
use crate::crypto;
use crate::roots::{Root, Roots};

/// Accepts a TLS server only if a trusted issuer certified it as the SM-DP+ or SM-DS of the host
/// called.
///
/// SGP.22 v2.5 section 2.6.6 and 4.5.2. There is no way to switch a check off.
#[derive(Debug)]
pub struct RspServerVerifier {
    roots: Roots,
    shown: Option<Arc<Shown>>,
}

/// The certificates that a server sent, its own first.
pub(crate) type Shown = Mutex<Vec<Vec<u8>>>;

impl RspServerVerifier {
    /// Trusts the given issuers and no others.
    pub fn new(roots: Roots) -> Self {
        Self { roots, shown: None }
    }

    /// Keeps what a server sends there as well, whatever becomes of it.
    pub(crate) fn showing(self, shown: Arc<Shown>) -> Self {
        Self {
            shown: Some(shown),
            ..self
        }
    }

    /// Checks a server's certificate and the further ones that came with it: the clock first, then
    /// chain and dates, then role and name.
    pub fn verify<'a>(
        &self,
        server: &[u8],
        others: impl IntoIterator<Item = &'a [u8]>,
        host: &str,
        now: Timestamp,
    ) -> Result<(), CertificateError> {
        // First, because otherwise a clock that was never set is reported as a bad certificate.
        if now < EARLIEST_PLAUSIBLE {
            return Err(CertificateError::ImplausibleClock { now });
        }
        let server = Certificate::parse(server)?;
        // Those that cannot be read are skipped, because servers send certificates of no use.
        let others: Vec<_> = others
            .into_iter()
            .take(MAX_SENT)
            .filter_map(|der| Certificate::parse(der).ok())
            .collect();
        // Role and name come last: only of a certificate that a trusted issuer signed they mean
        // anything, also in a message.
        self.check_chain(&server, &[], &others, now)?;
        server.check_server(host)
    }

    /// Checks that a trusted issuer stands above `subject`, and that each issuer in between may
    /// have issued what is below it, by key identifiers.
    ///
    /// Several certificates can have the same key identifier, for example an issuer's old and
    /// renewed one: all of them are tried, each with everything above it. There are few enough of
    /// them, and few enough levels, to do without a limit on the tries.
    fn check_chain(
        &self,
        subject: &Certificate,
        below: &[&Certificate],
        others: &[Certificate],
        now: Timestamp,
    ) -> Result<(), CertificateError> {
        subject.check_dates(now)?;
        subject.check_extensions()?;
        let Some(issuer_id) = subject.authority_key_id() else {
            return Err(subject.without_issuer(None));
        };
        let chain = [below, &[subject]].concat();
        let by_root = self.roots.with_key_id(issuer_id).map(|root| {
            root.check_dates(now)?;
            self.check_signature(subject, &root.public_key)
        });
        // A root that came along is skipped: only those known here are trusted.
        let issuers = others
            .iter()
            .filter(|other| other.subject_key_id() == Some(issuer_id) && !other.is_self_signed());
        let by_other = issuers.map(|issuer| {
            if chain.len() > MAX_INTERMEDIATES {
                return Err(CertificateError::TooLong);
            }
            issuer.check_issuer(&chain)?;
            self.check_signature(subject, &issuer.public_key)?;
            self.check_chain(issuer, &chain, others, now)
        });
        // The first refusal is reported: a root comes before what the server sent.
        let mut refusal = None;
        for attempt in by_root.chain(by_other) {
            match attempt {
                Ok(()) => return Ok(()),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| subject.without_issuer(Some(issuer_id))))
    }

    fn check_signature(
        &self,
        certificate: &Certificate,
        key: &PublicKey,
    ) -> Result<(), CertificateError> {
        let algorithm = &certificate.signature_algorithm;
        match verify_signature(key, algorithm, &certificate.signed, &certificate.signature) {
            Ok(()) => Ok(()),
            Err(SignatureError::Wrong) => Err(CertificateError::BadSignature {
                subject: certificate.subject(),
            }),
            Err(SignatureError::Unsupported) => Err(CertificateError::UnsupportedAlgorithm {
                subject: certificate.subject(),
            }),
        }
    }

    /// Verifies the server's signature in the handshake, which is the same in TLS 1.2 and 1.3
    /// because only one scheme is offered.
    fn verify_handshake(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if signed.scheme != crypto::SCHEME {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let server = Certificate::parse(server).map_err(into_rustls)?;
        let algorithm = alg_id::ECDSA_SHA256;
        verify_signature(
            &server.public_key,
            algorithm.as_ref(),
            message,
            signed.signature(),
        )
        .map(|()| HandshakeSignatureValid::assertion())
        .map_err(|_| rustls::CertificateError::BadSignature.into())
    }
}

impl ServerCertVerifier for RspServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(shown) = &self.shown {
            let chain = [end_entity].into_iter().chain(intermediates);
            let chain = chain.take(MAX_SENT).map(|der| der.to_vec()).collect();
            *shown.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        }
        let others = intermediates.iter().map(AsRef::as_ref);
        let now = Timestamp(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        self.verify(end_entity, others, &server_name.to_str(), now)
            .map(|()| ServerCertVerified::assertion())
            .map_err(into_rustls)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_handshake(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_handshake(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![crypto::SCHEME]
    }
}

/// Verifies with the one algorithm that fits both the key and the signature.
fn verify_signature(
    key: &PublicKey,
    algorithm: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    crypto::SIGNATURES
        .all
        .iter()
        .find(|candidate| {
            candidate.public_key_alg_id().as_ref() == key.algorithm
                && candidate.signature_alg_id().as_ref() == algorithm
        })
        .ok_or(SignatureError::Unsupported)?
        .verify_signature(&key.bits, message, signature)
        .map_err(|_| SignatureError::Wrong)
}

/// Why there is no secure connection.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The server's certificate was refused.
    #[error("{0}")]
    Certificate(CertificateError),
    /// Server and client could not agree, or one of them broke the protocol.
    #[error("the TLS handshake failed: {0}")]
    Handshake(rustls::Error),
    /// The connection broke during the handshake.
    #[error("the connection broke during the TLS handshake: {0}")]
    Interrupted(io::Error),
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        let inner = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) => {
                match other.0.downcast_ref::<CertificateError>() {
                    Some(refusal) => Self::Certificate(refusal.clone()),
                    None => Self::Interrupted(error),
                }
            }
            Some(inner) => Self::Handshake(inner.clone()),
            None => Self::Interrupted(error),
        }
    }
}

/// TLS 1.2 and 1.3 with [`RspServerVerifier`]. Sessions are not resumed, so that every connection
/// checks the certificate at the time it is made.
pub(crate) fn client_config(
    verifier: RspServerVerifier,
    clock: Arc<dyn TimeProvider>,
) -> ClientConfig {
    let mut config = ClientConfig::builder_with_details(Arc::new(crypto::provider()), clock)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("there are cipher suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// What a certificate must say in its place in the chain.
impl Certificate {
    /// SGP.22 v2.5 section 4.5.2.1.0.7: CERT.DP.TLS.
    fn check_server(&self, host: &str) -> Result<(), CertificateError> {
        let subject = || self.subject();
        self.check_role(SERVER_ROLES)?;
        // An issuer's key must not be in the hands of a server. RFC 5280 section 4.2.1.9 makes cA
        // the mark of an issuer, whatever else the certificate says.
        let constraints = self.extensions.basic_constraints.as_ref();
        if constraints.is_some_and(|constraints| constraints.ca) {
            return Err(CertificateError::NotAServer { subject: subject() });
        }
        if self.public_key.algorithm != alg_id::ECDSA_P256.as_ref() {
            return Err(CertificateError::UnsupportedAlgorithm { subject: subject() });
        }
        let extensions = &self.extensions;
        if !extensions.has_key_usage(DIGITAL_SIGNATURE)
            || !extensions
                .extended_key_usage
                .iter()
                .any(|usage| usage == SERVER_AUTH)
        {
            return Err(CertificateError::WrongKeyUsage { subject: subject() });
        }
        if !self
            .dns_names()
            .iter()
            .any(|pattern| host_matches(pattern, host))
        {
            return Err(CertificateError::WrongHost {
                expected: host.to_owned(),
                found: self.dns_names().to_vec(),
            });
        }
        Ok(())
    }

    fn check_role(&self, roles: &[&str]) -> Result<(), CertificateError> {
        let found = self.policies();
        match found.iter().any(|policy| roles.contains(&&**policy)) {
            true => Ok(()),
            false => Err(CertificateError::WrongRole {
                subject: self.subject(),
                found: found.to_vec(),
            }),
        }
    }

    /// An issuer between the server and the root; `below` are the certificates under it.
    fn check_issuer(&self, below: &[&Self]) -> Result<(), CertificateError> {
        let subject = || self.subject();
        let constraints = self.extensions.basic_constraints.as_ref();
        let may_issue = constraints.is_some_and(|constraints| {
            // RFC 5280 section 4.2.1.9 counts the issuers below this one, without the server.
            let room = constraints.path_len_constraint.as_ref();
            constraints.ca && room.is_none_or(|room| *room >= (below.len() - 1).into())
        });
        if !may_issue || !self.extensions.has_key_usage(KEY_CERT_SIGN) {
            return Err(CertificateError::NotAnIssuer { subject: subject() });
        }
        self.check_role(ISSUER_ROLES)?;
        match below
            .iter()
            .find(|certificate| !self.allows_names_of(certificate))
        {
            Some(refused) => Err(CertificateError::NameConstraint {
                issuer: subject(),
                subject: refused.subject(),
            }),
            None => Ok(()),
        }
    }

    /// RFC 5280 section 4.2.1.10 for host names and directory names. A constraint of another form
    /// cannot be checked and allows nothing.
    fn allows_names_of(&self, below: &Self) -> bool {
        let names = || {
            let hosts = below.dns_names().iter().map(|name| SubjectName::Host(name));
            hosts.chain([SubjectName::Directory(&below.subject)])
        };
        let Extensions {
            permitted,
            excluded,
            ..
        } = &self.extensions;
        let known = |subtree: &GeneralSubtree| {
            matches!(
                subtree.base,
                GeneralName::DnsName(_) | GeneralName::DirectoryName(_)
            )
        };
        // A name of a form that `permitted` does not speak of is free; `excluded` always counts.
        permitted.iter().chain(excluded).all(known)
            && names().all(|name| {
                let mut same_form = permitted.iter().filter(|s| name.has_form_of(s)).peekable();
                same_form.peek().is_none() || same_form.any(|subtree| name.is_within(subtree))
            })
            && !names().any(|name| excluded.iter().any(|subtree| name.is_within(subtree)))
    }

    fn check_dates(&self, now: Timestamp) -> Result<(), CertificateError> {
        if now < self.not_before {
            return Err(CertificateError::NotYetValid {
                subject: self.subject(),
                not_before: self.not_before,
                now,
            });
        }
        if now > self.not_after {
            return Err(CertificateError::Expired {
                subject: self.subject(),
                not_after: self.not_after,
                now,
            });
        }
        Ok(())
    }

    fn check_extensions(&self) -> Result<(), CertificateError> {
        match &self.extensions.unknown_critical {
            Some(oid) => Err(CertificateError::UnknownCriticalExtension {
                subject: self.subject(),
                oid: oid.clone(),
            }),
            None => Ok(()),
        }
    }

    fn without_issuer(&self, issuer: Option<&KeyId>) -> CertificateError {
        match self.is_self_signed() {
            true => CertificateError::SelfSigned {
                subject: self.subject(),
            },
            false => CertificateError::UnknownIssuer {
                subject: self.subject(),
                issuer: issuer.cloned(),
            },
        }
    }
}

impl Root {
    fn check_dates(&self, now: Timestamp) -> Result<(), CertificateError> {
        match now > self.not_after() {
            true => Err(CertificateError::Expired {
                subject: self.name().to_owned(),
                not_after: self.not_after(),
                now,
            }),
            false => Ok(()),
        }
    }
}

enum SignatureError {
    Unsupported,
    Wrong,
}

/// A name in a certificate that an issuer's name constraints are about.
enum SubjectName<'a> {
    Host(&'a str),
    Directory(&'a RdnSequence),
}

impl SubjectName<'_> {
    fn has_form_of(&self, subtree: &GeneralSubtree) -> bool {
        match self {
            Self::Host(_) => matches!(subtree.base, GeneralName::DnsName(_)),
            Self::Directory(_) => matches!(subtree.base, GeneralName::DirectoryName(_)),
        }
    }

    fn is_within(&self, subtree: &GeneralSubtree) -> bool {
        match (self, &subtree.base) {
            (Self::Host(host), GeneralName::DnsName(domain)) => {
                let (host, domain) = (host.to_ascii_lowercase(), domain.to_ascii_lowercase());
                let domain = domain.strip_prefix('.').unwrap_or(&domain);
                match host.strip_suffix(domain) {
                    Some(rest) => rest.is_empty() || rest.ends_with('.') || domain.is_empty(),
                    None => false,
                }
            }
            (Self::Directory(subject), GeneralName::DirectoryName(base)) => {
                subject.starts_with(base)
            }
            _ => false,
        }
    }
}

/// RFC 6125 section 6.4: case does not matter, and `*` stands for exactly the left-most label.
fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) if domain.contains('.') => host
            .split_once('.')
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
        Some(_) => false,
        None => pattern.eq_ignore_ascii_case(host),
    }
}

fn into_rustls(error: CertificateError) -> rustls::Error {
    rustls::CertificateError::Other(OtherError(Arc::new(error))).into()
}

/// 2025-01-01. A clock before it has never been set.
pub const EARLIEST_PLAUSIBLE: Timestamp = Timestamp(1_735_689_600);

/// How many certificates of a server are looked at.
const MAX_SENT: usize = 8;

/// A chain has at most four certificates, the root's included.
const MAX_INTERMEDIATES: usize = 2;

/// id-rspRole-dp-tls and id-rspRole-ds-tls, and the same roles in SGP.22 v3.
const SERVER_ROLES: &[&str] = &[
    "2.23.146.1.2.1.3",
    "2.23.146.1.2.1.6",
    "2.23.146.1.2.1.0.0.1.0",
    "2.23.146.1.2.1.0.0.2.0",
];

/// The SubCAs of SGP.22 v3 that may stand above a server: of the CI, the SM-DP+ and the SM-DS.
const ISSUER_ROLES: &[&str] = &[
    "2.23.146.1.2.1.0.0",
    "2.23.146.1.2.1.0.0.1",
    "2.23.146.1.2.1.0.0.2",
];

const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
const DIGITAL_SIGNATURE: usize = 0;
const KEY_CERT_SIGN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::certificate;

    #[test]
    fn a_server_certified_by_a_trusted_issuer_for_this_host_is_accepted() {
        assert_eq!(verify("DPTLS", "smdp.example.com", IN_2026), Ok(()));
        assert_eq!(verify("DPTLS", "SMDP.Example.COM", IN_2026), Ok(()));
    }

    #[test]
    fn a_chain_that_brings_its_root_along_is_accepted() {
        let (server, root) = (certificate("DPTLS"), certificate("CI"));
        let verifier = RspServerVerifier::new(roots());
        let others = [&root[..], b"garbage"];
        assert_eq!(
            verifier.verify(&server, others, "smdp.example.com", IN_2026),
            Ok(())
        );
    }

    #[test]
    fn another_host_is_refused_with_the_names_found() {
        assert_eq!(
            verify("DPTLS", "other.example.com", IN_2026),
            Err(CertificateError::WrongHost {
                expected: "other.example.com".to_owned(),
                found: vec!["smdp.example.com".to_owned()],
            })
        );
    }

    #[test]
    fn the_dates_are_checked_against_a_clock_that_must_be_set() {
        let error = |now| verify("DPTLS", "smdp.example.com", now).unwrap_err();
        let expired = error(Timestamp(2_090_000_000));
        assert!(
            matches!(expired, CertificateError::Expired { .. }),
            "{expired}"
        );
        assert!(expired.to_string().contains("2035-12-30"), "{expired}");
        let early = error(Timestamp(1_750_000_000));
        assert!(
            matches!(early, CertificateError::NotYetValid { .. }),
            "{early}"
        );
        let reset = error(Timestamp(0));
        assert_eq!(
            reset.to_string(),
            "the clock is not set: it says 1970-01-01 00:00:00 UTC"
        );
    }

    #[test]
    fn the_signing_certificate_of_the_same_server_has_the_wrong_role() {
        let error = verify("DPAUTH", "smdp.example.com", IN_2026).unwrap_err();
        let CertificateError::WrongRole { found, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(found, ["2.23.146.1.2.1.4"]);
    }

    #[test]
    fn an_issuer_that_is_not_trusted_is_named_by_its_key() {
        let verifier = RspServerVerifier::new(Roots::gsma());
        let error = verifier.verify(&certificate("DPTLS"), [], "smdp.example.com", IN_2026);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("1BB0640637E21C47D2646DA6D940F1933CE5715B"),
            "{error}"
        );
    }

    #[test]
    fn a_maker_of_euiccs_cannot_certify_servers() {
        let (euicc, eum) = (certificate("EUICC"), certificate("EUM"));
        let verifier = RspServerVerifier::new(roots());
        let error = verifier.verify(&euicc, [&eum[..]], "smdp.example.com", IN_2026);
        assert!(
            matches!(error, Err(CertificateError::WrongRole { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn a_changed_byte_in_the_signed_part_breaks_the_signature() {
        let mut server = certificate("DPTLS");
        let serial = server.iter().position(|byte| *byte == 0x09).unwrap();
        server[serial] = 0x08;
        let verifier = RspServerVerifier::new(roots());
        let error = verifier.verify(&server, [], "smdp.example.com", IN_2026);
        assert!(
            matches!(error, Err(CertificateError::BadSignature { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn a_root_as_server_is_self_signed_unless_it_has_the_role() {
        let error = RspServerVerifier::new(Roots::gsma())
            .verify(&certificate("CI"), [], "smdp.example.com", IN_2026)
            .unwrap_err();
        assert!(
            matches!(error, CertificateError::SelfSigned { .. }),
            "{error}"
        );
    }

    #[test]
    fn a_wildcard_stands_for_one_label_of_a_domain() {
        for (pattern, host, matches) in [
            ("smdp.example.com", "smdp.example.com", true),
            ("*.example.com", "smdp.EXAMPLE.com", true),
            ("*.example.com", "a.smdp.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.com", "example.com", false),
            ("*", "smdp.example.com", false),
            ("s*.example.com", "smdp.example.com", false),
            ("*.*.com", "smdp.example.com", false),
            ("", "smdp.example.com", false),
        ] {
            assert_eq!(host_matches(pattern, host), matches, "{pattern} {host}");
        }
    }

    fn verify(name: &str, host: &str, now: Timestamp) -> Result<(), CertificateError> {
        RspServerVerifier::new(roots()).verify(&certificate(name), [], host, now)
    }

    fn roots() -> Roots {
        let mut roots = Roots::empty();
        roots.add_der(&certificate("CI")).unwrap();
        roots
    }

    const IN_2026: Timestamp = Timestamp(1_795_000_000);
}
