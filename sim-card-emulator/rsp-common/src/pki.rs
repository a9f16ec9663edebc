//! The test PKI: a fresh one made in memory, or one kept in a folder.
//!
//! A folder holds `ci.der eum.der euicc.der dpauth.der dppb.der dptls.der dsauth.der dstls.der`,
//! and beside each the private key `*.key` in PEM. Each program asks the folder for what it needs,
//! so a card does without the server's keys and a server without the card's.
//!
//! There may be several certificate issuers (CIs). The first is in the folder itself, further ones
//! are in its sub-folders `ci2`, `ci3` and so on, with files of the same names. Their order is
//! their priority. A sub-folder with `ci.der` alone is an issuer a card trusts and has no
//! certificate under.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use es10_apdu::types::Oid;

use crate::certificate::{Certificate, CertificateError, Role};
use crate::key::{Curve, PrivateKey};

pub(crate) mod date;
mod explain;
mod spec;
mod variant;

pub use explain::explain;
pub use spec::{Attribute, BasicConstraints, CertificateSpec, KeyUsage};
pub use variant::{UnknownVariant, Variant};

/// Why a PKI could not be loaded, made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file does not hold a certificate.
    #[error("{path}: {source}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// A file does not hold a private key on one of RSP's curves in PEM.
    #[error("{path}: no private key on NIST P-256 or brainpoolP256r1 in PEM (PKCS#8 or SEC1)")]
    Key {
        /// Which file.
        path: PathBuf,
    },
    /// A private key belongs to another certificate.
    #[error("{path}: the private key does not belong to the certificate beside it")]
    KeyMismatch {
        /// Which file.
        path: PathBuf,
    },
    /// Something needed is not there.
    #[error("the PKI has no {0}")]
    Missing(&'static str),
    /// The EID is not 32 decimal digits.
    #[error("an EID has 32 decimal digits")]
    Eid,
    /// The object identifier of a server is not one.
    #[error("{0} is no object identifier")]
    Oid(String),
    /// The operating system had no randomness to give.
    #[error("no randomness: {0}")]
    Random(#[from] getrandom::Error),
}

/// What a fresh PKI shall be made for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PkiOptions {
    /// The eUICC's EID, 32 digits.
    pub eid: String,
    /// Host names of the SM-DP+, for its TLS certificate.
    pub host_names: Vec<String>,
    /// Object identifier of the SM-DP+, dotted.
    pub smdp_oid: String,
    /// Host names of the SM-DS, for its TLS certificate.
    pub smds_host_names: Vec<String>,
    /// Object identifier of the SM-DS, dotted.
    pub smds_oid: String,
    /// The curve of each issuer's hierarchy, in order of priority. TLS is always on NIST P-256:
    /// without it among them another issuer is added for TLS alone.
    pub curves: Vec<Curve>,
    /// The time the certificates begin to be valid at.
    pub now: SystemTime,
}

impl Default for PkiOptions {
    fn default() -> Self {
        Self {
            eid: "89049032123451234512345678901235".into(),
            host_names: vec!["smdp.example.com".into()],
            smdp_oid: "2.999.10".into(),
            smds_host_names: vec!["smds.example.com".into()],
            smds_oid: "2.999.15".into(),
            curves: vec![Curve::Nist],
            now: SystemTime::now(),
        }
    }
}

/// Certificates and private keys: the hierarchies of one or several issuers.
///
/// What is asked for by role is of the first hierarchy that has it.
#[derive(Clone, Debug, Default)]
pub struct Pki {
    first: Hierarchy,
    further: Vec<Hierarchy>,
}

/// The certificates below one issuer, with private keys, by role.
#[derive(Clone, Debug, Default)]
pub struct Hierarchy {
    certificates: BTreeMap<Role, Certificate>,
    keys: BTreeMap<Role, PrivateKey>,
    /// CAs between the CI and the certificate of a role, that next to it first.
    intermediates: BTreeMap<Role, Vec<Certificate>>,
}

impl Pki {
    /// Makes a complete, fresh PKI.
    pub fn generate(options: &PkiOptions) -> Result<Self, PkiError> {
        let PkiOptions { eid, now, .. } = options;
        if eid.len() != 32 || !eid.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(PkiError::Eid);
        }
        let mut pki = Self::default();
        for (nth, curve) in options.curves.iter().enumerate() {
            let mut hierarchy = Hierarchy::new(*curve, *now)?;
            hierarchy.issue(Role::Eum, Role::Ci, &CertificateSpec::eum(&eid[..8], *now))?;
            hierarchy.issue(Role::Euicc, Role::Eum, &CertificateSpec::euicc(eid, *now))?;
            hierarchy.issue_smdp(&options.smdp_oid, *now)?;
            hierarchy.issue_smds(&options.smds_oid, *now)?;
            if *curve == Curve::Nist {
                hierarchy.issue_tls(options)?;
            }
            match nth {
                0 => pki.first = hierarchy,
                _ => pki.further.push(hierarchy),
            }
        }
        if !options.curves.contains(&Curve::Nist) {
            let mut hierarchy = Hierarchy::new(Curve::Nist, *now)?;
            hierarchy.issue_tls(options)?;
            pki.further.push(hierarchy);
        }
        Ok(pki)
    }

    /// Reads what a folder holds.
    ///
    /// # Errors
    /// When a file that is there cannot be read or does not hold what its name says. A file that
    /// is not there is missed later, when it is needed.
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        let mut pki = Self {
            first: Hierarchy::load(folder)?,
            further: Vec::new(),
        };
        for number in 2.. {
            let folder = further_folder(folder, number);
            if !folder.is_dir() {
                break;
            }
            pki.further.push(Hierarchy::load(&folder)?);
        }
        Ok(pki)
    }

    /// Writes the PKI as a folder that appears at once and complete.
    ///
    /// # Errors
    /// When the folder exists and is not empty, or something cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), PkiError> {
        let mut draft = folder.as_os_str().to_owned();
        draft.push(format!(".{}.new", hex::encode(random_suffix()?)));
        let draft = PathBuf::from(draft);
        let result = self.write_files(&draft).and_then(|()| {
            fs::rename(&draft, folder).map_err(at(folder))?;
            let parent = folder
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            sync(parent.unwrap_or_else(|| Path::new(".")))
        });
        if result.is_err() {
            // The draft is of no use any more; the error to report is the first one.
            let _ = fs::remove_dir_all(&draft);
        }
        result
    }

    /// Loads the folder's PKI, after making a fresh one there when the folder is empty or missing.
    ///
    /// Programs started together on one folder agree: the folder is renamed into place, only one
    /// of them can do that, and the others load what it made.
    pub fn load_or_create(folder: &Path, options: &PkiOptions) -> Result<Self, PkiError> {
        if is_empty(folder)? {
            if let Some(parent) = folder.parent() {
                fs::create_dir_all(parent).map_err(at(parent))?;
            }
            let made = Self::generate(options)?.save(folder);
            if made.is_err() && is_empty(folder)? {
                made?;
            }
        }
        Self::load(folder)
    }

    /// The hierarchies in order of priority.
    pub fn hierarchies(&self) -> impl Iterator<Item = &Hierarchy> {
        std::iter::once(&self.first).chain(&self.further)
    }

    /// Adds the hierarchies of another PKI behind those there are.
    pub fn add(&mut self, other: Self) {
        self.further.push(other.first);
        self.further.extend(other.further);
    }

    /// The hierarchy that has the certificate of a role, or else its key; otherwise the first.
    pub fn hierarchy(&self, role: Role) -> &Hierarchy {
        match self.position(role) {
            Some(nth) => &self.further[nth],
            None => &self.first,
        }
    }

    /// As [`Pki::hierarchy`], to be changed.
    pub fn hierarchy_mut(&mut self, role: Role) -> &mut Hierarchy {
        match self.position(role) {
            Some(nth) => &mut self.further[nth],
            None => &mut self.first,
        }
    }

    /// The place of that hierarchy among the further ones.
    fn position(&self, role: Role) -> Option<usize> {
        let mut all = self.hierarchies();
        let certified = all.position(|one| one.certificates.contains_key(&role));
        let found = certified.or_else(|| {
            let mut all = self.hierarchies();
            all.position(|one| one.keys.contains_key(&role))
        });
        found?.checked_sub(1)
    }

    /// The issuer with this key.
    pub fn issuer(&self, key_identifier: &[u8]) -> Option<&Certificate> {
        self.hierarchies()
            .filter_map(|hierarchy| hierarchy.certificate(Role::Ci).ok())
            .find(|ci| ci.subject_key_identifier() == Some(key_identifier))
    }

    /// The certificate of a role.
    pub fn certificate(&self, role: Role) -> Result<&Certificate, PkiError> {
        self.hierarchy(role).certificate(role)
    }

    /// The certificate of a role and the subordinate CAs above it, without the CI: what a TLS
    /// server shows.
    pub fn chain(&self, role: Role) -> Result<Vec<Certificate>, PkiError> {
        let hierarchy = self.hierarchy(role);
        let leaf = hierarchy.certificate(role)?.clone();
        let above = hierarchy.intermediates.get(&role);
        let above = above.into_iter().flatten().cloned();
        Ok(std::iter::once(leaf).chain(above).collect())
    }

    /// The private key of a role.
    pub fn key(&self, role: Role) -> Result<&PrivateKey, PkiError> {
        self.hierarchy(role).key(role)
    }

    /// Puts a certificate in, in place of the one that was there.
    ///
    /// The key of the replaced certificate goes with it.
    pub fn insert(&mut self, role: Role, certificate: Certificate, key: Option<PrivateKey>) {
        self.hierarchy_mut(role).insert(role, certificate, key);
    }

    /// Makes a key and issues a certificate for it under another one of the same hierarchy.
    pub fn issue(
        &mut self,
        role: Role,
        issuer: Role,
        spec: &CertificateSpec,
    ) -> Result<(), PkiError> {
        self.hierarchy_mut(role).issue(role, issuer, spec)
    }

    /// Makes the keys of an SM-DP+ and issues their certificates: DPauth, DPpb and DPtls.
    pub fn issue_smdp(
        &mut self,
        host_names: &[String],
        owner: &str,
        now: SystemTime,
    ) -> Result<(), PkiError> {
        self.hierarchy_mut(Role::DpAuth).issue_smdp(owner, now)?;
        let spec = CertificateSpec::dp_tls(host_names, owner, now);
        self.for_tls(Role::DpTls)
            .issue(Role::DpTls, Role::Ci, &spec)
    }

    /// Makes the keys of an SM-DS and issues their certificates: DSauth and DStls.
    ///
    /// A folder made without them, or another SM-DS of the same issuer, gets them this way.
    pub fn issue_smds(
        &mut self,
        host_names: &[String],
        owner: &str,
        now: SystemTime,
    ) -> Result<(), PkiError> {
        self.hierarchy_mut(Role::DsAuth).issue_smds(owner, now)?;
        let spec = CertificateSpec::ds_tls(host_names, owner, now);
        self.for_tls(Role::DsTls)
            .issue(Role::DsTls, Role::Ci, &spec)
    }

    /// Replaces the SM-DP+ TLS certificate by one for other host names, with the same owner.
    ///
    /// # Errors
    /// When the CI's private key is missing, as it is in a PKI made elsewhere.
    pub fn issue_tls(&mut self, host_names: &[String], now: SystemTime) -> Result<(), PkiError> {
        let owner = self
            .certificate(Role::DpAuth)?
            .owner()
            .map(ToString::to_string);
        let owner = owner.ok_or(PkiError::Missing("owner in dpauth.der"))?;
        let spec = CertificateSpec::dp_tls(host_names, &owner, now);
        self.for_tls(Role::DpTls)
            .issue(Role::DpTls, Role::Ci, &spec)
    }

    /// Where a TLS certificate is or belongs: TLS needs an issuer on NIST P-256.
    fn for_tls(&mut self, role: Role) -> &mut Hierarchy {
        let is_there = self
            .hierarchies()
            .any(|hierarchy| hierarchy.certificates.contains_key(&role));
        let on_nist = |hierarchy: &Hierarchy| {
            let key = hierarchy.keys.get(&Role::Ci);
            key.is_some_and(|key| key.curve() == Curve::Nist)
        };
        if is_there || on_nist(&self.first) {
            return self.hierarchy_mut(role);
        }
        match self.further.iter().position(on_nist) {
            Some(nth) => &mut self.further[nth],
            None => &mut self.first,
        }
    }

    fn write_files(&self, folder: &Path) -> Result<(), PkiError> {
        self.first.write_files(folder)?;
        for (number, hierarchy) in (2..).zip(&self.further) {
            hierarchy.write_files(&further_folder(folder, number))?;
        }
        sync(folder)
    }
}

impl From<Hierarchy> for Pki {
    fn from(first: Hierarchy) -> Self {
        Self {
            first,
            further: Vec::new(),
        }
    }
}

impl Hierarchy {
    /// The roles there is a certificate of.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        self.certificates.keys().copied()
    }

    /// An issuer with nothing below it.
    pub fn new(curve: Curve, now: SystemTime) -> Result<Self, PkiError> {
        let root = PrivateKey::generate_on(curve)?;
        let mut hierarchy = Self::default();
        let ci = CertificateSpec::ci(now).self_sign(&root);
        hierarchy.insert(Role::Ci, ci, Some(root));
        Ok(hierarchy)
    }

    /// The certificate of a role.
    pub fn certificate(&self, role: Role) -> Result<&Certificate, PkiError> {
        self.certificates
            .get(&role)
            .ok_or_else(|| PkiError::Missing(certificate_file(role)))
    }

    /// The private key of a role.
    pub fn key(&self, role: Role) -> Result<&PrivateKey, PkiError> {
        self.keys
            .get(&role)
            .ok_or_else(|| PkiError::Missing(key_file(role)))
    }

    /// Puts a certificate in, in place of the one that was there.
    ///
    /// The key of the replaced certificate goes with it.
    pub fn insert(&mut self, role: Role, certificate: Certificate, key: Option<PrivateKey>) {
        self.certificates.insert(role, certificate);
        self.intermediates.remove(&role);
        match key {
            Some(key) => self.keys.insert(role, key),
            None => self.keys.remove(&role),
        };
    }

    /// Makes a key on the issuer's curve and issues a certificate for it.
    pub fn issue(
        &mut self,
        role: Role,
        issuer: Role,
        spec: &CertificateSpec,
    ) -> Result<(), PkiError> {
        let (above, issuer_key) = (self.certificate(issuer)?, self.key(issuer)?);
        let key = PrivateKey::generate_on(issuer_key.curve())?;
        let certificate = spec.issue(&key.public_key(), above, issuer_key);
        self.insert(role, certificate, Some(key));
        Ok(())
    }

    fn issue_smdp(&mut self, owner: &str, now: SystemTime) -> Result<(), PkiError> {
        require_oid(owner)?;
        let auth = CertificateSpec::dp_auth(owner, now);
        self.issue(Role::DpAuth, Role::Ci, &auth)?;
        self.issue(Role::DpPb, Role::Ci, &CertificateSpec::dp_pb(owner, now))
    }

    fn issue_smds(&mut self, owner: &str, now: SystemTime) -> Result<(), PkiError> {
        require_oid(owner)?;
        let auth = CertificateSpec::ds_auth(owner, now);
        self.issue(Role::DsAuth, Role::Ci, &auth)
    }

    fn issue_tls(&mut self, options: &PkiOptions) -> Result<(), PkiError> {
        let PkiOptions { now, .. } = options;
        let dp = CertificateSpec::dp_tls(&options.host_names, &options.smdp_oid, *now);
        self.issue(Role::DpTls, Role::Ci, &dp)?;
        let ds = CertificateSpec::ds_tls(&options.smds_host_names, &options.smds_oid, *now);
        self.issue(Role::DsTls, Role::Ci, &ds)
    }

    fn load(folder: &Path) -> Result<Self, PkiError> {
        let mut hierarchy = Self::default();
        for role in FILES {
            if let Some(der) = read(&folder.join(certificate_file(role)))? {
                let path = folder.join(certificate_file(role));
                let certificate = Certificate::parse(&der)
                    .map_err(|source| PkiError::Certificate { path, source })?;
                hierarchy.certificates.insert(role, certificate);
            }
            let above = read_intermediates(folder, role)?;
            if !above.is_empty() {
                hierarchy.intermediates.insert(role, above);
            }
            let path = folder.join(key_file(role));
            let Some(pem) = read(&path)? else {
                continue;
            };
            let key = std::str::from_utf8(&pem)
                .ok()
                .and_then(PrivateKey::from_pem);
            let key = key.ok_or_else(|| PkiError::Key { path: path.clone() })?;
            if let Some(certificate) = hierarchy.certificates.get(&role)
                && certificate.public_key().ok() != Some(key.public_key())
            {
                return Err(PkiError::KeyMismatch { path });
            }
            hierarchy.keys.insert(role, key);
        }
        Ok(hierarchy)
    }

    fn write_files(&self, folder: &Path) -> Result<(), PkiError> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        for (role, certificate) in &self.certificates {
            write(&folder.join(certificate_file(*role)), certificate.der())?;
        }
        for (role, above) in &self.intermediates {
            for (number, certificate) in (1..).zip(above) {
                write(&intermediate_file(folder, *role, number), certificate.der())?;
            }
        }
        for (role, key) in &self.keys {
            write(&folder.join(key_file(*role)), key.to_pem().as_bytes())?;
        }
        sync(folder)
    }
}

/// Where the subordinate CA of that number above a certificate is: `dptls-ca1.der` and so on.
fn intermediate_file(folder: &Path, role: Role, number: usize) -> PathBuf {
    let leaf = certificate_file(role);
    let stem = leaf.strip_suffix(".der").unwrap_or(leaf);
    folder.join(format!("{stem}-ca{number}.der"))
}

fn read_intermediates(folder: &Path, role: Role) -> Result<Vec<Certificate>, PkiError> {
    let mut found = Vec::new();
    for number in 1.. {
        let path = intermediate_file(folder, role, number);
        let Some(der) = read(&path)? else { break };
        let certificate = Certificate::parse(&der);
        found.push(certificate.map_err(|source| PkiError::Certificate { path, source })?);
    }
    Ok(found)
}

/// Where the hierarchy of that number is, the second and those behind it.
fn further_folder(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("ci{number}"))
}

fn require_oid(dotted: &str) -> Result<(), PkiError> {
    let oid = dotted.parse::<Oid>();
    oid.map(drop).map_err(|_| PkiError::Oid(dotted.to_owned()))
}

fn certificate_file(role: Role) -> &'static str {
    match role {
        Role::Ci => "ci.der",
        Role::Euicc => "euicc.der",
        Role::Eum => "eum.der",
        Role::DpTls => "dptls.der",
        Role::DpAuth => "dpauth.der",
        Role::DpPb => "dppb.der",
        Role::DsTls => "dstls.der",
        Role::DsAuth => "dsauth.der",
    }
}

fn key_file(role: Role) -> &'static str {
    match role {
        Role::Ci => "ci.key",
        Role::Euicc => "euicc.key",
        Role::Eum => "eum.key",
        Role::DpTls => "dptls.key",
        Role::DpAuth => "dpauth.key",
        Role::DpPb => "dppb.key",
        Role::DsTls => "dstls.key",
        Role::DsAuth => "dsauth.key",
    }
}

fn is_empty(folder: &Path) -> Result<bool, PkiError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(at(folder)(error)),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, PkiError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), PkiError> {
    let mut file = File::create(path).map_err(at(path))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(at(path))
}

fn sync(folder: &Path) -> Result<(), PkiError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

fn random_suffix() -> Result<[u8; 8], PkiError> {
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix)?;
    Ok(suffix)
}

fn at(path: &Path) -> impl Fn(io::Error) -> PkiError {
    move |source| PkiError::Io {
        path: path.to_owned(),
        source,
    }
}

const FILES: [Role; 8] = [
    Role::Ci,
    Role::Eum,
    Role::Euicc,
    Role::DpAuth,
    Role::DpPb,
    Role::DpTls,
    Role::DsAuth,
    Role::DsTls,
];

#[cfg(test)]
mod tests;
