//! What a manufacturer puts into an eUICC: its number, the issuers it trusts, its own keys.

use es10_apdu::types::{self, Eid, Signature};
use rsp_common::certificate::{Certificate, CertificateError, Role};
use rsp_common::key::PrivateKey;
use rsp_common::pki::{Hierarchy, Pki, PkiError};

/// Why an eUICC could not be personalised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PersonalisationError {
    /// The PKI lacks something.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The CI certificate cannot be used to verify anything.
    #[error("ci.der: {0}")]
    Ci(CertificateError),
    /// The EUM certificate does not fit the CI.
    #[error("eum.der: {0}")]
    Eum(CertificateError),
    /// The eUICC certificate does not fit the EUM.
    #[error("euicc.der: {0}")]
    Euicc(CertificateError),
    /// The eUICC certificate names no EID.
    #[error("euicc.der: the subject's serialNumber is not an EID")]
    Eid,
    /// The eUICC certificates of several issuers are not for one EID.
    #[error("the eUICC certificates are for different EIDs, {0} and {1}")]
    DifferentEids(Eid, Eid),
    /// The private key is not the one of the eUICC certificate.
    #[error("euicc.key: the private key does not belong to euicc.der")]
    Key,
}

/// What a manufacturer puts into an eUICC once and for all.
///
/// There may be several issuers: all of them are trusted for verification, and under some the
/// eUICC has a certificate and key of its own. Both are in order of priority.
#[derive(Clone, Debug)]
pub struct Identity {
    eid: Eid,
    issuers: Vec<Certificate>,
    chains: Vec<Chain>,
}

/// The eUICC's certificate under one issuer, and its key.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) ci_key_identifier: Vec<u8>,
    pub(super) ci: Certificate,
    eum: Certificate,
    euicc: Certificate,
    key: PrivateKey,
}

impl Identity {
    /// Takes the eUICC's part of a PKI: each CI, and where there are any, the EUM and eUICC
    /// certificate below it with the eUICC's key.
    ///
    /// # Errors
    ///
    /// When there is no eUICC certificate and key at all, or the parts are not chains of one EID.
    pub fn from_pki(pki: &Pki) -> Result<Self, PersonalisationError> {
        let identity = Self::from_pki_unverified(pki)?;
        identity.chains.iter().try_for_each(Chain::verify)?;
        Ok(identity)
    }

    /// As [`Identity::from_pki`], for an eUICC whose own certificates servers must refuse: what
    /// stands above what is not verified.
    ///
    /// # Errors
    ///
    /// When a part is missing, a key does not fit, or the EIDs differ.
    pub fn from_pki_unverified(pki: &Pki) -> Result<Self, PersonalisationError> {
        let mut issuers = Vec::new();
        let mut chains = Vec::new();
        for hierarchy in pki.hierarchies() {
            let ci = hierarchy.certificate(Role::Ci)?;
            ci.public_key().map_err(PersonalisationError::Ci)?;
            issuers.push(ci.clone());
            if hierarchy.certificate(Role::Euicc).is_ok() {
                chains.push(Chain::new(hierarchy, ci)?);
            }
        }
        let Some(first) = chains.first() else {
            // The error says which file is missing.
            pki.certificate(Role::Euicc)?;
            return Err(PersonalisationError::Eid);
        };
        let eid = first.eid()?;
        for chain in &chains {
            let other = chain.eid()?;
            if other != eid {
                return Err(PersonalisationError::DifferentEids(eid, other));
            }
        }
        Ok(Self {
            eid,
            issuers,
            chains,
        })
    }

    /// The EID.
    pub fn eid(&self) -> Eid {
        self.eid
    }

    /// Key identifiers of the issuers whose server certificates the eUICC can verify.
    pub fn verification_key_identifiers(&self) -> impl Iterator<Item = &[u8]> {
        self.issuers
            .iter()
            .filter_map(Certificate::subject_key_identifier)
    }

    /// Key identifiers of the issuers the eUICC has a certificate under, the preferred one first.
    pub fn signing_key_identifiers(&self) -> impl Iterator<Item = &[u8]> {
        self.chains
            .iter()
            .map(|chain| chain.ci_key_identifier.as_slice())
    }

    /// The issuer with this key.
    pub(super) fn issuer(&self, key_identifier: &[u8]) -> Option<&Certificate> {
        self.issuers
            .iter()
            .find(|ci| ci.subject_key_identifier() == Some(key_identifier))
    }

    /// The chain under this issuer, or the preferred one: a profile installed before the card had
    /// several chains names none.
    pub(super) fn chain(&self, ci_key_identifier: &[u8]) -> &Chain {
        self.chains
            .iter()
            .find(|chain| chain.ci_key_identifier == ci_key_identifier)
            .unwrap_or(&self.chains[0])
    }
}

impl Chain {
    fn new(pki: &Hierarchy, ci: &Certificate) -> Result<Self, PersonalisationError> {
        let eum = pki.certificate(Role::Eum)?.clone();
        let euicc = pki.certificate(Role::Euicc)?.clone();
        let key = pki.key(Role::Euicc)?.clone();
        if euicc.public_key().ok() != Some(key.public_key()) {
            return Err(PersonalisationError::Key);
        }
        Ok(Self {
            ci_key_identifier: ci.subject_key_identifier().unwrap_or_default().to_vec(),
            ci: ci.clone(),
            eum,
            euicc,
            key,
        })
    }

    fn verify(&self) -> Result<(), PersonalisationError> {
        let eum = &self.eum;
        eum.verify_eum(&self.ci, None)
            .map_err(PersonalisationError::Eum)?;
        self.euicc
            .verify_euicc(eum, None)
            .map_err(PersonalisationError::Euicc)
    }

    fn eid(&self) -> Result<Eid, PersonalisationError> {
        let digits = self.euicc.subject_serial_number();
        let eid = digits.and_then(|digits| digits.parse().ok());
        eid.ok_or(PersonalisationError::Eid)
    }

    /// Signs with the key of the eUICC certificate.
    pub(super) fn sign(&self, message: &[u8]) -> Signature {
        Signature::new(&self.key.sign(message))
    }

    /// The eUICC certificate and its EUM's, for a server that verifies a signature.
    pub(super) fn certificates(&self) -> (types::Certificate, types::Certificate) {
        let carry = |certificate: &Certificate| {
            types::Certificate::from_ber(certificate.der())
                .expect("a parsed certificate is one SEQUENCE")
        };
        (carry(&self.euicc), carry(&self.eum))
    }
}
