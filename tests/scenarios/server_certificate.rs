//! Which certificates an RSP server may show, and what is said about the others.
//!
//! Each story changes one thing in a certificate that is otherwise as SGP.22 v2.5 section 4.5.2 asks.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use es9_client::{
    CertificateError, Connect, Error, Es9Client, NextStep, Options, Outcome, Roots, ServerAddress,
    TlsError,
};
use rsp_common::certificate::Certificate;
use rsp_common::key::PrivateKey;
use rsp_common::pki::{BasicConstraints, CertificateSpec, KeyUsage};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;

/// Checks which refusal it is.
macro_rules! assert_is {
    ($refusal:expr, $kind:pat) => {
        assert!(matches!(&$refusal, $kind), "{}", $refusal)
    };
}

#[tokio::test]
async fn a_certificate_as_the_specification_has_it_is_accepted_in_tls_1_2_and_1_3() {
    let ci = Issuer::root();
    let server = ci.issue(&dp_tls());
    for version in [&TLS12, &TLS13] {
        Handshake {
            version,
            ..Handshake::new(&ci, &server)
        }
        .run()
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn critical_policies_are_accepted_in_tls_1_2_and_1_3() {
    let ci = Issuer::root();
    let server = ci.issue(&CertificateSpec {
        policies_critical: true,
        ..dp_tls()
    });
    for version in [&TLS12, &TLS13] {
        Handshake {
            version,
            ..Handshake::new(&ci, &server)
        }
        .run()
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_chain_that_brings_the_issuer_along_is_accepted() {
    let ci = Issuer::root();
    let server = ci.issue(&dp_tls());
    let others = vec![ci.certificate.clone()];
    Handshake {
        others,
        ..Handshake::new(&ci, &server)
    }
    .run()
    .await
    .unwrap();
}

#[tokio::test]
async fn a_wildcard_for_the_first_label_is_accepted_and_no_other() {
    let ci = Issuer::root();
    let server = ci.issue(&named(&["*.example.com"]));
    Handshake::new(&ci, &server).run().await.unwrap();
    for pattern in [
        "*.smdp.example.com",
        "*.example.org",
        "*.com",
        "*",
        "s*.example.com",
    ] {
        let refusal = refusal(&named(&[pattern])).await;
        assert!(
            matches!(refusal, CertificateError::WrongHost { .. }),
            "{pattern}: {refusal}"
        );
    }
}

#[tokio::test]
async fn another_issuer_is_named_by_its_key_and_the_error_says_what_to_do() {
    let server = Issuer::root().issue(&dp_tls());
    let error = Handshake::new(&Issuer::root(), &server)
        .run()
        .await
        .unwrap_err();
    let id = hex::encode_upper(server.certificate.authority_key_identifier().unwrap());
    assert_eq!(
        error.to_string(),
        format!(
            "no secure connection to smdp.example.com: \
             the certificate of smdp.example.com was issued by an unknown key ({id})"
        )
    );
    assert_eq!(error.outcome(), Outcome::NotReached);
    assert_eq!(error.next_step(), NextStep::ReportServerFault);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_its_date() {
    let spec = CertificateSpec {
        not_after: now() - DAY,
        ..dp_tls()
    };
    let refusal = refusal(&CertificateSpec {
        not_before: now() - 2 * DAY,
        ..spec
    })
    .await;
    assert_is!(refusal, CertificateError::Expired { .. });
    assert!(
        refusal.to_string().contains("expired on 2026-11-17"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_certificate_of_tomorrow_is_refused_and_the_clock_is_suspected() {
    let ci = Issuer::root();
    let server = ci.issue(&CertificateSpec {
        not_before: now() + DAY,
        ..dp_tls()
    });
    let error = Handshake::new(&ci, &server).run().await.unwrap_err();
    assert_eq!(error.next_step(), NextStep::CheckClock);
    let refusal = certificate_error(error);
    assert_is!(refusal, CertificateError::NotYetValid { .. });
}

#[tokio::test]
async fn a_gateway_whose_clock_was_never_set_blames_the_clock() {
    let ci = Issuer::root();
    let server = ci.issue(&dp_tls());
    let clock = Clock(UNIX_EPOCH + DAY);
    let error = Handshake {
        clock,
        ..Handshake::new(&ci, &server)
    }
    .run()
    .await
    .unwrap_err();
    assert_eq!(error.next_step(), NextStep::CheckClock);
    assert!(
        error
            .to_string()
            .ends_with("the clock is not set: it says 1970-01-02 00:00:00 UTC")
    );
}

#[tokio::test]
async fn another_host_is_refused_with_the_names_found() {
    let refusal = refusal(&named(&["other.example.com", "third.example.com"])).await;
    assert_eq!(
        refusal.to_string(),
        "the certificate is not for smdp.example.com but for other.example.com, third.example.com"
    );
}

#[tokio::test]
async fn a_host_name_in_the_common_name_only_does_not_count() {
    let refusal = refusal(&CertificateSpec {
        dns_names: Vec::new(),
        ..dp_tls()
    })
    .await;
    let CertificateError::WrongHost { found, .. } = refusal else {
        panic!("{refusal}");
    };
    assert!(found.is_empty());
}

#[tokio::test]
async fn another_role_or_none_is_refused() {
    let dp_auth = CertificateSpec::dp_auth(OWNER, now()).policies;
    for policies in [dp_auth.clone(), Vec::new()] {
        let refusal = refusal(&CertificateSpec {
            policies: policies.clone(),
            ..dp_tls()
        })
        .await;
        let CertificateError::WrongRole { found, .. } = refusal else {
            panic!("{refusal}");
        };
        assert_eq!(found, policies);
    }
}

#[tokio::test]
async fn a_key_that_is_not_for_tls_servers_is_refused() {
    let client_only = vec!["1.3.6.1.5.5.7.3.2".to_owned()];
    for spec in [
        CertificateSpec {
            extended_key_usage: client_only,
            ..dp_tls()
        },
        CertificateSpec {
            extended_key_usage: Vec::new(),
            ..dp_tls()
        },
        CertificateSpec {
            key_usage: Some(KeyUsage::KeyAgreement),
            ..dp_tls()
        },
        CertificateSpec {
            key_usage: None,
            ..dp_tls()
        },
    ] {
        let refusal = refusal(&spec).await;
        assert_is!(refusal, CertificateError::WrongKeyUsage { .. });
    }
}

#[tokio::test]
async fn a_server_that_could_issue_certificates_is_refused_in_tls_1_2_and_1_3() {
    let ci = Issuer::root();
    let server = ci.issue(&CertificateSpec {
        basic_constraints: Some(BasicConstraints { path_length: None }),
        ..dp_tls()
    });
    for version in [&TLS12, &TLS13] {
        let handshake = Handshake {
            version,
            ..Handshake::new(&ci, &server)
        };
        let refusal = certificate_error(handshake.run().await.unwrap_err());
        assert_is!(refusal, CertificateError::NotAServer { .. });
    }
}

#[tokio::test]
async fn a_critical_extension_that_is_not_understood_is_named() {
    let refusal = refusal(&CertificateSpec {
        unknown_critical_extension: true,
        ..dp_tls()
    })
    .await;
    assert!(
        matches!(&refusal, CertificateError::UnknownCriticalExtension { oid, .. } if oid == "2.999.99"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_server_that_certifies_itself_is_refused() {
    let key = PrivateKey::generate().unwrap();
    let certificate = dp_tls().self_sign(&key);
    let server = Issuer { certificate, key };
    let error = Handshake::new(&Issuer::root(), &server)
        .run()
        .await
        .unwrap_err();
    let refusal = certificate_error(error);
    assert_is!(refusal, CertificateError::SelfSigned { .. });
}

#[tokio::test]
async fn a_forged_signature_and_a_missing_issuer_are_refused() {
    let forged = refusal(&CertificateSpec {
        wrong_signature: true,
        ..dp_tls()
    })
    .await;
    assert_is!(forged, CertificateError::BadSignature { .. });
    let spec = CertificateSpec {
        without_authority_key_identifier: true,
        ..dp_tls()
    };
    let orphan = refusal(&spec).await;
    assert_is!(orphan, CertificateError::UnknownIssuer { issuer: None, .. });
}

#[tokio::test]
async fn a_server_that_does_not_own_the_key_of_its_certificate_is_refused() {
    let ci = Issuer::root();
    let thief = Issuer {
        key: PrivateKey::generate().unwrap(),
        ..ci.issue(&dp_tls())
    };
    for version in [&TLS12, &TLS13] {
        let handshake = Handshake {
            version,
            ..Handshake::new(&ci, &thief)
        };
        let error = handshake.run().await.unwrap_err();
        assert!(error.to_string().contains("handshake failed"), "{error}");
    }
}

#[tokio::test]
async fn the_issuers_between_root_and_server_of_sgp_22_v3_are_accepted() {
    let ci = Issuer::root();
    let ci_sub = ci.issue(&sub_ca(CI_SUB_CA, None));
    let dp_sub = ci_sub.issue(&sub_ca(DP_SUB_CA, Some(0)));
    let policies = vec!["2.23.146.1.2.1.0.0.1.0".to_owned()];
    let server = dp_sub.issue(&CertificateSpec {
        policies,
        policies_critical: true,
        ..dp_tls()
    });
    let others = vec![dp_sub.certificate.clone(), ci_sub.certificate.clone()];
    Handshake {
        others,
        ..Handshake::new(&ci, &server)
    }
    .run()
    .await
    .unwrap();

    let others = vec![dp_sub.certificate];
    let error = Handshake {
        others,
        ..Handshake::new(&ci, &server)
    }
    .run()
    .await
    .unwrap_err();
    let refusal = certificate_error(error);
    assert_is!(refusal, CertificateError::UnknownIssuer { .. });
}

#[tokio::test]
async fn an_issuer_in_between_needs_the_right_to_issue_this_certificate() {
    let eum = CertificateSpec {
        permitted: Vec::new(),
        ..CertificateSpec::eum("89049032", now())
    };
    let refusal = refusal_below(&[eum]).await;
    assert_is!(refusal, CertificateError::WrongRole { .. });

    let leaf = CertificateSpec {
        basic_constraints: None,
        ..sub_ca(DP_SUB_CA, None)
    };
    let signer = CertificateSpec {
        key_usage: Some(KeyUsage::DigitalSignature),
        ..sub_ca(DP_SUB_CA, None)
    };
    let short = sub_ca(CI_SUB_CA, Some(0));
    for chain in [
        vec![leaf],
        vec![signer],
        vec![short, sub_ca(DP_SUB_CA, None)],
    ] {
        let refusal = refusal_below(&chain).await;
        assert_is!(refusal, CertificateError::NotAnIssuer { .. });
    }

    let expired = CertificateSpec {
        not_after: now() - DAY,
        ..sub_ca(DP_SUB_CA, None)
    };
    let expired = CertificateSpec {
        not_before: now() - 2 * DAY,
        ..expired
    };
    let refusal = refusal_below(&[expired]).await;
    assert_is!(refusal, CertificateError::Expired { .. });

    let endless = vec![sub_ca(CI_SUB_CA, None); 3];
    let refusal = refusal_below(&endless).await;
    assert!(matches!(refusal, CertificateError::TooLong), "{refusal}");
}

#[tokio::test]
async fn an_issuer_that_may_only_certify_others_is_refused() {
    let permitted = Some(("Another Organisation".to_owned(), "1".to_owned()));
    let constrained = CertificateSpec {
        permitted: permitted.into_iter().collect(),
        ..sub_ca(DP_SUB_CA, None)
    };
    let refusal = refusal_below(&[constrained]).await;
    assert_is!(refusal, CertificateError::NameConstraint { .. });
}

#[tokio::test]
async fn every_issuer_with_the_key_of_a_certificate_is_tried() {
    let ci = Issuer::root();
    let good = ci.issue(&sub_ca(DP_SUB_CA, None));
    let expired = CertificateSpec {
        not_before: now() - 2 * DAY,
        not_after: now() - DAY,
        ..sub_ca(DP_SUB_CA, None)
    };
    let leaf = CertificateSpec {
        basic_constraints: None,
        ..sub_ca(DP_SUB_CA, None)
    };
    let renewed = |spec: &CertificateSpec| {
        let key = good.key.public_key();
        spec.issue(&key, &ci.certificate, &ci.key)
    };
    let stranger = Issuer::root();
    let cross = sub_ca(DP_SUB_CA, None);
    let cross = cross.issue(&good.key.public_key(), &stranger.certificate, &stranger.key);
    let server = good.issue(&dp_tls());
    let same_name = CertificateSpec {
        subject_key_identifier: good
            .certificate
            .subject_key_identifier()
            .map(<[u8]>::to_vec),
        ..sub_ca(DP_SUB_CA, None)
    };
    let others = vec![
        renewed(&expired),
        cross,
        renewed(&leaf),
        ci.issue(&same_name).certificate,
        good.certificate.clone(),
    ];
    for version in [&TLS12, &TLS13] {
        Handshake {
            version,
            others: others.clone(),
            ..Handshake::new(&ci, &server)
        }
        .run()
        .await
        .unwrap();
    }

    let others = others[..4].to_vec();
    let handshake = Handshake {
        others,
        ..Handshake::new(&ci, &server)
    };
    let refusal = certificate_error(handshake.run().await.unwrap_err());
    assert!(
        matches!(refusal, CertificateError::Expired { .. }),
        "the first reason is told: {refusal}"
    );
}

#[tokio::test]
async fn two_roots_with_one_key_identifier_do_not_hide_each_other() {
    let ci = Issuer::root();
    let key = PrivateKey::generate().unwrap();
    let id = ci.certificate.subject_key_identifier().map(<[u8]>::to_vec);
    let spec = CertificateSpec {
        subject_key_identifier: id,
        ..CertificateSpec::ci(now())
    };
    let certificate = spec.self_sign(&key);
    let other = Issuer { certificate, key };
    let server = ci.issue(&dp_tls());
    for trusted in [vec![&ci, &other], vec![&other, &ci]] {
        Handshake {
            trusted,
            ..Handshake::new(&ci, &server)
        }
        .run()
        .await
        .unwrap();
    }
}

/// Shows a certificate made to this specification by a trusted issuer.
async fn refusal(spec: &CertificateSpec) -> CertificateError {
    let ci = Issuer::root();
    let error = Handshake::new(&ci, &ci.issue(spec))
        .run()
        .await
        .unwrap_err();
    certificate_error(error)
}

/// Shows a good certificate that stands below further issuers, the first of them below the root.
async fn refusal_below(issuers: &[CertificateSpec]) -> CertificateError {
    let ci = Issuer::root();
    let mut chain = vec![ci];
    for spec in issuers {
        chain.push(chain[chain.len() - 1].issue(spec));
    }
    let server = chain[chain.len() - 1].issue(&dp_tls());
    let others = chain[1..]
        .iter()
        .map(|issuer| issuer.certificate.clone())
        .collect();
    let handshake = Handshake {
        others,
        ..Handshake::new(&chain[0], &server)
    };
    certificate_error(handshake.run().await.unwrap_err())
}

fn certificate_error(error: Error) -> CertificateError {
    match error {
        Error::Tls { cause, .. } => match *cause {
            TlsError::Certificate(refusal) => refusal,
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

/// A certificate with its key: a root, an issuer below it, or a server.
struct Issuer {
    certificate: Certificate,
    key: PrivateKey,
}

impl Issuer {
    fn root() -> Self {
        let key = PrivateKey::generate().unwrap();
        let certificate = CertificateSpec::ci(now()).self_sign(&key);
        Self { certificate, key }
    }

    fn issue(&self, spec: &CertificateSpec) -> Self {
        let key = PrivateKey::generate().unwrap();
        let certificate = spec.issue(&key.public_key(), &self.certificate, &self.key);
        Self { certificate, key }
    }
}

/// One attempt of the client to connect to a server over a stream in memory.
struct Handshake<'a> {
    trusted: Vec<&'a Issuer>,
    server: &'a Issuer,
    others: Vec<Certificate>,
    version: &'static SupportedProtocolVersion,
    clock: Clock,
}

impl<'a> Handshake<'a> {
    fn new(trusted: &'a Issuer, server: &'a Issuer) -> Self {
        Self {
            trusted: vec![trusted],
            server,
            others: Vec::new(),
            version: &TLS13,
            clock: Clock(now()),
        }
    }

    async fn run(self) -> Result<(), Error> {
        let mut roots = Roots::empty();
        for issuer in &self.trusted {
            roots.add_der(issuer.certificate.der()).unwrap();
        }
        let (near, far) = duplex(64 * 1024);
        let acceptor = TlsAcceptor::from(self.server_config());
        tokio::spawn(async move {
            if let Ok(mut stream) = acceptor.accept(far).await {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        let options = Options {
            clock: Arc::new(self.clock),
            ..Options::default()
        };
        let address: ServerAddress = HOST.parse().unwrap();
        Es9Client::new(OneStream(Mutex::new(Some(near))), roots, options)
            .connect(&address)
            .await
    }

    /// A resolver of its own, because the usual way to set a certificate refuses critical policies.
    fn server_config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::from_pem_slice(self.server.key.to_pem().as_bytes()).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        let chain = [&self.server.certificate].into_iter().chain(&self.others);
        let chain = chain.map(|certificate| CertificateDer::from(certificate.der().to_vec()));
        let certified = CertifiedKey::new(chain.collect(), key);
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        Arc::new(config)
    }
}

struct OneStream(Mutex<Option<DuplexStream>>);

impl Connect for OneStream {
    type Stream = DuplexStream;

    async fn connect(&self, _host: &str, _port: u16) -> io::Result<DuplexStream> {
        self.0
            .lock()
            .unwrap()
            .take()
            .ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }
}

#[derive(Debug)]
struct Clock(SystemTime);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        self.0
            .duration_since(UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_unix_epoch)
    }
}

fn dp_tls() -> CertificateSpec {
    named(&[HOST])
}

/// The certificate of a server whose common name is always the right host.
fn named(host_names: &[&str]) -> CertificateSpec {
    let dns_names = host_names.iter().map(ToString::to_string).collect();
    CertificateSpec {
        dns_names,
        ..CertificateSpec::dp_tls(&[HOST.to_owned()], OWNER, now())
    }
}

fn sub_ca(policy: &str, path_length: Option<u8>) -> CertificateSpec {
    CertificateSpec {
        policies: vec![policy.to_owned()],
        key_usage: Some(KeyUsage::CertificateAndCrlSign),
        basic_constraints: Some(BasicConstraints { path_length }),
        ..CertificateSpec::dp_auth(OWNER, now())
    }
}

/// 18 November 2026.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

const DAY: Duration = Duration::from_secs(86_400);
const HOST: &str = "smdp.example.com";
const OWNER: &str = "2.999.10";
const CI_SUB_CA: &str = "2.23.146.1.2.1.0.0";
const DP_SUB_CA: &str = "2.23.146.1.2.1.0.0.1";
