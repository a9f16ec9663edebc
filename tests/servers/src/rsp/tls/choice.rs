//! What a server can show, or do, where a TLS handshake is expected.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rsp_common::certificate::{Certificate, Role};
use rsp_common::key::PrivateKey;
use rsp_common::pki::{
    Attribute, BasicConstraints, CertificateSpec, KeyUsage, Pki, PkiError, Variant,
};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{TlsError, server_config};
use crate::rsp::names::named;

named! {
    /// What a client meets when it wants to speak TLS; one thing differs from what is right.
    ///
    /// Certificates are issued for it when it is chosen, most of them under the server's own CI,
    /// whose private key must be there.
    pub enum TlsChoice as "TLS choice" {
        /// The server's own certificate.
        "right" => Right,
        /// TLS 1.2 and no later version.
        "tls1.2" => Tls12,
        /// TLS 1.3 and no earlier version.
        "tls1.3" => Tls13,
        /// A certificate under an unknown issuer, as every web server has.
        "other-ci" => OtherCi,
        /// A certificate signed by its own key.
        "self-signed" => SelfSigned,
        /// A certificate that expired a day ago.
        "expired" => Expired,
        /// A certificate that is valid from tomorrow on.
        "not-yet-valid" => NotYetValid,
        /// A certificate whose signature is wrong.
        "wrong-signature" => WrongSignature,
        /// A certificate whose policy names the role of CERT.DPauth.
        "wrong-role" => WrongRole,
        /// A certificate with critical policies, as those of the other roles are.
        "critical-policies" => CriticalPolicies,
        /// A certificate with an unknown critical extension.
        "unknown-extension" => UnknownExtension,
        /// A certificate for another host.
        "other-host" => OtherHost,
        /// A certificate for every host in the server's domain.
        "wildcard" => Wildcard,
        /// A certificate for every host in another domain.
        "wildcard-elsewhere" => WildcardElsewhere,
        /// A certificate that has the host's name as its common name only.
        "common-name-only" => CommonNameOnly,
        /// A certificate for an IP address that is written as a name.
        "ip-address" => IpAddress,
        /// A certificate with the host's name in upper case.
        "upper-case" => UpperCase,
        /// A certificate with another name before the host's.
        "second-name" => SecondName,
        /// A certificate under a subordinate CI, which is sent with it (SGP.22 v3, variant B).
        "sub-ca" => SubCa,
        /// A certificate under a subordinate CI, which is not sent.
        "sub-ca-missing" => SubCaMissing,
        /// The right certificate, sent with the issuer's, which the client has anyway.
        "with-root" => WithRoot,
        /// A certificate for clients only.
        "client-only" => ClientOnly,
        /// A certificate that does not say what it is for (no extKeyUsage).
        "no-extended-key-usage" => NoExtendedKeyUsage,
        /// A certificate whose key may agree on keys and not sign.
        "key-agreement-only" => KeyAgreementOnly,
        /// The chain of this variant of CERT.DPtls.
        "certificate" => Certificate(variant: Variant),
        /// The right certificate with a signature of another key in the handshake.
        "other-key" => OtherKey,
        /// The alert handshake_failure.
        "abort" => Abort,
        /// The alert protocol_version, which a server of TLS 1.1 sends.
        "protocol-version" => ProtocolVersion,
        /// A ServerHello of TLS 1.1.
        "tls1.1" => Tls11,
        /// An answer of plain HTTP.
        "plain-http" => PlainHttp,
        /// The end of the connection.
        "close" => Close,
        /// Nothing.
        "silence" => Silence,
    }
}

#[allow(
    clippy::derivable_impls,
    reason = "the macro has no place for an attribute of a variant"
)]
impl Default for TlsChoice {
    fn default() -> Self {
        Self::Right
    }
}

/// What stands behind a port.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    Tls(Arc<ServerConfig>),
    /// Something that says this as soon as a client has said something.
    Stranger(Vec<u8>),
    /// Something that closes the connection at once.
    Closed,
    /// Something that never answers.
    Silent,
}

impl TlsChoice {
    /// What a server with this host name then is.
    pub(crate) fn endpoint(
        &self,
        pki: &Pki,
        host_name: &str,
        versions: &[&'static SupportedProtocolVersion],
        client_roots: &[Certificate],
    ) -> Result<Endpoint, TlsError> {
        let versions = match self {
            Self::Tls12 => &[&version::TLS12],
            Self::Tls13 => &[&version::TLS13],
            _ => versions,
        };
        Ok(match self {
            Self::Abort => Endpoint::Stranger(alert(HANDSHAKE_FAILURE)),
            Self::ProtocolVersion => Endpoint::Stranger(alert(PROTOCOL_VERSION)),
            Self::Tls11 => Endpoint::Stranger(old_server_hello()),
            Self::PlainHttp => Endpoint::Stranger(PLAIN_HTTP.to_vec()),
            Self::Close => Endpoint::Closed,
            Self::Silence => Endpoint::Silent,
            _ => {
                let (chain, key) = self.certificates(pki, host_name)?;
                Endpoint::Tls(server_config(&chain, &key, versions, client_roots)?)
            }
        })
    }

    /// The chain to show, the leaf first, and the key to sign with.
    fn certificates(
        &self,
        pki: &Pki,
        host_name: &str,
    ) -> Result<(Vec<Certificate>, PrivateKey), PkiError> {
        let own = || pki.certificate(Role::DpTls).cloned();
        match self {
            Self::Right | Self::Tls12 | Self::Tls13 => {
                return Ok((pki.chain(Role::DpTls)?, pki.key(Role::DpTls)?.clone()));
            }
            Self::OtherKey => return Ok((vec![own()?], PrivateKey::generate()?)),
            Self::WithRoot => {
                let root = pki.hierarchy(Role::DpTls).certificate(Role::Ci)?.clone();
                return Ok((vec![own()?, root], pki.key(Role::DpTls)?.clone()));
            }
            Self::Certificate(variant) => {
                let mut pki = pki.clone();
                variant.apply(&mut pki, SystemTime::now())?;
                return Ok((pki.chain(Role::DpTls)?, pki.key(Role::DpTls)?.clone()));
            }
            _ => {}
        }
        let now = SystemTime::now();
        let spec = self.spec(pki, host_name, now)?;
        let key = PrivateKey::generate()?;
        if *self == Self::SelfSigned {
            return Ok((vec![spec.self_sign(&key)], key));
        }
        let mut issuer = match self {
            Self::OtherCi => {
                let key = PrivateKey::generate()?;
                let spec = CertificateSpec {
                    subject: vec![(Attribute::CommonName, "Another CI".to_owned())],
                    ..CertificateSpec::ci(now)
                };
                (spec.self_sign(&key), key)
            }
            _ => {
                let above = pki.hierarchy(Role::DpTls);
                let ci = above.certificate(Role::Ci)?;
                (ci.clone(), above.key(Role::Ci)?.clone())
            }
        };
        let mut chain = Vec::new();
        if matches!(self, Self::SubCa | Self::SubCaMissing) {
            let key = PrivateKey::generate()?;
            let certificate = sub_ca(now).issue(&key.public_key(), &issuer.0, &issuer.1);
            issuer = (certificate, key);
        }
        chain.push(spec.issue(&key.public_key(), &issuer.0, &issuer.1));
        if *self == Self::SubCa {
            chain.push(issuer.0);
        }
        Ok((chain, key))
    }

    /// What the leaf says.
    fn spec(
        &self,
        pki: &Pki,
        host_name: &str,
        now: SystemTime,
    ) -> Result<CertificateSpec, PkiError> {
        let owner = pki.certificate(Role::DpAuth)?.owner();
        let owner = owner.map(ToString::to_string).unwrap_or_default();
        let mut spec = CertificateSpec::dp_tls(&[host_name.to_owned()], &owner, now);
        let names = &mut spec.dns_names;
        let domain = host_name
            .split_once('.')
            .map_or(host_name, |(_, rest)| rest);
        match self {
            Self::Expired => {
                spec.not_before = now - 10 * DAY;
                spec.not_after = now - DAY;
            }
            Self::NotYetValid => spec.not_before = now + DAY,
            Self::WrongSignature => spec.wrong_signature = true,
            Self::WrongRole => spec.policies = vec![Role::DpAuth.policy().to_owned()],
            Self::CriticalPolicies => spec.policies_critical = true,
            Self::UnknownExtension => spec.unknown_critical_extension = true,
            Self::OtherHost => *names = vec![ELSEWHERE.to_owned()],
            Self::Wildcard => *names = vec![format!("*.{domain}")],
            Self::WildcardElsewhere => *names = vec![format!("*.{ELSEWHERE}")],
            Self::CommonNameOnly => names.clear(),
            Self::IpAddress => *names = vec!["127.0.0.1".to_owned()],
            Self::UpperCase => *names = vec![host_name.to_ascii_uppercase()],
            Self::SecondName => names.insert(0, ELSEWHERE.to_owned()),
            Self::ClientOnly => spec.extended_key_usage = vec![CLIENT_AUTH.to_owned()],
            Self::NoExtendedKeyUsage => spec.extended_key_usage.clear(),
            Self::KeyAgreementOnly => spec.key_usage = Some(KeyUsage::KeyAgreement),
            _ => {}
        }
        Ok(spec)
    }
}

/// Meets a client that wants to speak TLS, and does not.
pub(crate) async fn be_strange<S>(mut stream: S, answer: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut said = [0; 512];
    let heard = tokio::time::timeout(PATIENCE, stream.read(&mut said)).await;
    if matches!(heard, Ok(Ok(octets)) if octets > 0) && stream.write_all(answer).await.is_ok() {
        // The client shall read it before it learns that the connection is gone.
        let _ = stream.shutdown().await;
        swallow(stream).await;
    }
}

/// Listens to a client that wants to speak TLS, and says nothing.
pub(crate) async fn swallow<S: AsyncRead + Unpin>(mut stream: S) {
    let mut said = [0; 512];
    let until_it_ends = async { while matches!(stream.read(&mut said).await, Ok(1..)) {} };
    // It does not matter which of the two gives up first.
    let _ = tokio::time::timeout(PATIENCE, until_it_ends).await;
}

/// A subordinate CI of an SM-DP+, with the policy SGP.22 version 3 gives it.
fn sub_ca(now: SystemTime) -> CertificateSpec {
    CertificateSpec {
        subject: vec![(Attribute::CommonName, "lpad Test SM-DP+ SubCA".to_owned())],
        policies: vec!["2.23.146.1.2.1.0.0.1".to_owned()],
        basic_constraints: Some(BasicConstraints {
            path_length: Some(0),
        }),
        rids: Vec::new(),
        ..CertificateSpec::ci(now)
    }
}

/// A fatal alert.
fn alert(description: u8) -> Vec<u8> {
    vec![0x15, 0x03, 0x03, 0x00, 0x02, 0x02, description]
}

/// A ServerHello that chooses TLS 1.1 with ECDHE-ECDSA-AES128-SHA.
fn old_server_hello() -> Vec<u8> {
    let hello = [&[0x03, 0x02][..], &[0x5A; 32], &[0x00, 0xC0, 0x09, 0x00]].concat();
    let length = u8::try_from(hello.len()).expect("a fixed message of 38 octets");
    let handshake = [&[0x02, 0x00, 0x00, length][..], &hello].concat();
    [&[0x16, 0x03, 0x02, 0x00, length + 4][..], &handshake].concat()
}

const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
const DAY: Duration = Duration::from_secs(86_400);
const ELSEWHERE: &str = "elsewhere.example.org";
const HANDSHAKE_FAILURE: u8 = 40;
const PATIENCE: Duration = Duration::from_secs(3600);
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nTLS?";
const PROTOCOL_VERSION: u8 = 70;
