//! The certificate issuers that are trusted: those of the GSMA, and what a folder adds.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, alg_id};
use thiserror::Error;

use crate::certificate::{Certificate, CertificateError, KeyId, PublicKey, Timestamp};

/// A set of trusted certificate issuers, found by the identifier of their key.
#[derive(Clone, Debug, Default)]
pub struct Roots(Vec<Root>);

impl Roots {
    /// No issuer at all: every server is refused until roots are added.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The certificate issuers of the GSMA that issue for production, without those that expired
    /// before this version was made.
    pub fn gsma() -> Self {
        Self(GSMA.iter().map(BuiltIn::root).collect())
    }

    /// Adds the issuer with this certificate: a root with a P-256 key and a subject key identifier.
    /// A key that is already there is trusted until the later of both dates, because issuers renew
    /// their certificates under the same key.
    pub fn add_der(&mut self, der: &[u8]) -> Result<(), CertificateError> {
        let certificate = Certificate::parse(der)?;
        let subject = certificate.subject();
        let issues = certificate.extensions.basic_constraints.as_ref();
        let Some(key_id) = certificate.extensions.subject_key_id else {
            return Err(CertificateError::Malformed("subjectKeyIdentifier"));
        };
        // A root certifies itself; an issuer below one is trusted through its root or not at all.
        let above = certificate.extensions.authority_key_id.as_ref();
        let is_root = above.is_none_or(|above| *above == key_id);
        if !is_root || !issues.is_some_and(|constraints| constraints.ca) {
            return Err(CertificateError::NotAnIssuer { subject });
        }
        if certificate.public_key.algorithm != alg_id::ECDSA_P256.as_ref() {
            return Err(CertificateError::UnsupportedAlgorithm { subject });
        }
        let root = Root {
            name: subject,
            key_id,
            public_key: certificate.public_key,
            not_after: certificate.not_after,
        };
        match self.0.iter_mut().find(|known| known.has_key_of(&root)) {
            Some(known) => known.not_after = known.not_after.max(root.not_after),
            None => self.0.push(root),
        }
        Ok(())
    }

    /// Adds every root from the files `*.der`, `*.pem`, `*.crt` and `*.cer` of a folder, in whatever
    /// case, each in DER or PEM, and returns how many there were. Hidden files are left out. Other
    /// certificates are not trusted for lying there; a log line says so. A file that cannot be used is
    /// an error that names it.
    pub fn add_folder(&mut self, folder: &Path) -> Result<usize, RootsError> {
        let unreadable = |path: &Path| {
            let path = path.to_path_buf();
            move |cause| RootsError::Io { path, cause }
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
            let path = entry.map_err(unreadable(folder))?.path();
            if is_certificate(&path) {
                files.push(path);
            }
        }
        files.sort();
        let mut count = 0;
        for path in files {
            let bytes = read(&path).map_err(unreadable(&path))?;
            for der in certificates(&bytes, &path)? {
                match self.add_der(&der) {
                    Ok(()) => count += 1,
                    Err(CertificateError::NotAnIssuer { subject }) => {
                        tracing::warn!(path = %path.display(), subject, "not the certificate of a root: not trusted");
                    }
                    Err(cause) => {
                        let path = path.clone();
                        return Err(RootsError::Certificate { path, cause });
                    }
                }
            }
        }
        Ok(count)
    }

    /// The issuers whose keys have this identifier: one, unless two have chosen the same.
    pub fn with_key_id(&self, key_id: &KeyId) -> impl Iterator<Item = &Root> {
        self.0.iter().filter(move |root| root.key_id == *key_id)
    }

    /// All issuers.
    pub fn iter(&self) -> impl Iterator<Item = &Root> {
        self.0.iter()
    }
}

/// A trusted certificate issuer.
#[derive(Clone, Debug)]
pub struct Root {
    name: String,
    key_id: KeyId,
    not_after: Timestamp,
    pub(crate) public_key: PublicKey,
}

impl Root {
    /// The issuer's name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The identifier of its key.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Until when the issuer may be trusted.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    fn has_key_of(&self, other: &Self) -> bool {
        self.key_id == other.key_id && self.public_key == other.public_key
    }
}

/// Why a folder of certificate issuers cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RootsError {
    /// The folder or a file cannot be read.
    #[error("{}: {cause}", .path.display())]
    Io {
        /// The folder or the file.
        path: PathBuf,
        /// What the operating system says.
        cause: io::Error,
    },
    /// A file is not the certificate of an issuer.
    #[error("{}: {cause}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: CertificateError,
    },
    /// A file says it is PEM, and no certificate is in it or it is damaged.
    #[error("{}: not a PEM file with certificates", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
    },
}

/// Whether a file is meant to hold a certificate, by its name.
fn is_certificate(path: &Path) -> bool {
    let is_hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let suffix = path.extension().and_then(|suffix| suffix.to_str());
    !is_hidden
        && suffix.is_some_and(|suffix| SUFFIXES.iter().any(|s| suffix.eq_ignore_ascii_case(s)))
}

/// What a regular file holds: reading a pipe might never return, and a device might never end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let unusable = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    if !fs::metadata(path)?.is_file() {
        return Err(unusable("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= LONGEST => Ok(bytes),
        _ => Err(unusable("it is too large for certificates")),
    }
}

/// The certificates in a file, whichever of the two forms it has.
fn certificates(bytes: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    if bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match list {
        Ok(list) if !list.is_empty() => Ok(list),
        _ => Err(RootsError::Pem {
            path: path.to_path_buf(),
        }),
    }
}

/// A root as this program carries it: all have P-256 keys.
struct BuiltIn {
    name: &'static str,
    key_id: &'static str,
    x: &'static str,
    y: &'static str,
    not_after: i64,
}

impl BuiltIn {
    fn root(&self) -> Root {
        let point = format!("04{}{}", self.x, self.y);
        let bytes = |hexadecimal| hex::decode(hexadecimal).expect("the table is hexadecimal");
        Root {
            name: self.name.to_owned(),
            key_id: KeyId(bytes(self.key_id)),
            not_after: Timestamp(self.not_after),
            public_key: PublicKey {
                algorithm: alg_id::ECDSA_P256.as_ref().to_vec(),
                bits: bytes(&point),
            },
        }
    }
}

/// More than a bundle of certificates has.
const LONGEST: u64 = 1024 * 1024;
const SUFFIXES: &[&str] = &["cer", "crt", "der", "pem"];

/// The certificate issuers of the GSMA for production, as read from their certificates.
const GSMA: &[BuiltIn] = &[
    BuiltIn {
        name: "OISTE GSMA CI G1",
        key_id: "4C27967AD20C14B391E9601E41E604AD57C0222F",
        x: "BD9DECDCF142E0D82B09C08C98727A0C9EBABB3007B8B72F8C99CE9FE4ED04D4",
        y: "E14BB6072C3C8709ADAFEC3FB34CFF974ED82A81C2E8079E8685AF44410438C4",
        not_after: 2_809_207_058, // 2059-01-07 23:17:38
    },
    BuiltIn {
        name: "CMCA eSIM Root CA_NIST",
        key_id: "CDF6D1C0A7B07F98A861B6E378B82F648D99663E",
        x: "32DA8B48CA0D5CF5A341B4F662D1E9485F646387078F2E3496ED5286F5C92405",
        y: "27895BC9D257988108C686AC3E7C2064FA17BFA9F12DCD9221498B148A7D77A8",
        not_after: 2_609_114_400, // 2052-09-05 02:00:00
    },
    BuiltIn {
        name: "GSM Association - RSP2 Root CI1",
        key_id: "81370F5125D0B1D408D4C3B232E6D25E795BEBFB",
        x: "9D6ABAD2F41C2317E76189EBF8DE89BB00A997D42D68FF5F5D29FCC8A7EAC799",
        y: "37E85FE65968BDB08DB81DA7BA72F3F8EF140F4494081515A3C7BA9FD5F54EE6",
        not_after: 2_592_172_799, // 2052-02-21 23:59:59
    },
    BuiltIn {
        name: "Entrust eSIM Certification Authority",
        key_id: "16704B7F351E3607F18C4B70005C3A003DFD414A",
        x: "0773C061DE43559BD9FE039874C1C91E7F2162F726E810D54DFDD3C6BEF9B1DD",
        y: "96DF934C0ECAE1CE5C619FB9D58CFF860FDB69CC60B8F0E1F6E4142BA5A0DDAE",
        not_after: 2_581_086_842, // 2051-10-16 16:34:02
    },
    BuiltIn {
        name: "MC4 OT ROOT CI v1",
        key_id: "CD6E60B72D7A063CBC84625B91E80FE30406E13E",
        x: "1DBFC66A3B77399C6E6834A49414040F894E77A3C63CB4AFB5F90CF79DAE6DDC",
        y: "B2E39B49C00780D1E1228B408BAC54FAB5C7D7916F87FF9990C8C4576805244F",
        not_after: 2_425_334_399, // 2046-11-08 23:59:59
    },
    BuiltIn {
        name: "China Unicom eSIM Root CA",
        key_id: "16B5D16048E3EA02BD4B606E5F77A4BF20808D83",
        x: "5502401681B4C18EC82209DB5F91654658FA7D0803881A356F8CDECED69F3CDD",
        y: "3349AA2FA326FB0910033C466E2F47D11714BB96144495FD888FB071BFCB2506",
        not_after: 2_119_971_600, // 2037-03-06 17:00:00
    },
    BuiltIn {
        name: "SubMan V4.2 CI Google Pixel",
        key_id: "B60F0B897FD630B88CFED6161F8EA808C5382AC3",
        x: "7368ADF689B06CEA58D6B0C80865200BFD40BDBFF9BF51B14A2CA34EADFDD297",
        y: "D4C46BE42509E7569CBEFE530058502889A5F9DC0B6C59D5E5A3BEF16E99C316",
        not_after: 1_809_907_200, // 2027-05-10 00:00:00
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{certificate, temporary_folder};

    #[test]
    fn every_built_in_identifier_is_the_hash_of_its_key() {
        let roots = Roots::gsma();
        assert_eq!(roots.iter().count(), 7);
        for root in roots.iter() {
            let hash = ring::digest::digest(
                &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
                &root.public_key.bits,
            );
            assert_eq!(root.key_id().0, hash.as_ref(), "{}", root.name());
        }
    }

    #[test]
    fn no_built_in_root_is_a_test_root_or_had_expired_when_it_was_built_in() {
        let november_2026 = Timestamp(1_793_491_200);
        for root in Roots::gsma().iter() {
            assert!(root.not_after() > november_2026, "{}", root.name());
            assert!(
                !root.name().to_lowercase().contains("test"),
                "{}",
                root.name()
            );
        }
    }

    #[test]
    fn a_folder_adds_roots_in_der_and_pem_and_ignores_other_files() {
        let folder = temporary_folder();
        let der = certificate("CI");
        fs::write(folder.path().join("a.der"), &der).unwrap();
        fs::write(folder.path().join("b.pem"), pem(&der)).unwrap();
        fs::write(folder.path().join("c.CRT"), &der).unwrap();
        fs::write(folder.path().join("README"), "not a certificate").unwrap();
        fs::write(folder.path().join(".d.pem"), "not a certificate").unwrap();
        let mut roots = Roots::empty();
        assert_eq!(roots.add_folder(folder.path()).unwrap(), 3);
        let names: Vec<_> = roots.iter().map(Root::name).collect();
        assert_eq!(names, ["Vector CI"]);
    }

    #[test]
    fn certificates_below_a_root_are_not_trusted_for_lying_beside_it() {
        let folder = temporary_folder();
        for name in ["CI", "EUM", "DPTLS"] {
            fs::write(folder.path().join(format!("{name}.der")), certificate(name)).unwrap();
        }
        let mut roots = Roots::empty();
        assert_eq!(roots.add_folder(folder.path()).unwrap(), 1);
        let names: Vec<_> = roots.iter().map(Root::name).collect();
        assert_eq!(names, ["Vector CI"]);
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        for (bytes, reason) in [
            (b"0garbage".to_vec(), "cannot be read"),
            (b"garbage".to_vec(), "not a PEM file"),
            (Vec::new(), "not a PEM file"),
        ] {
            let folder = temporary_folder();
            fs::write(folder.path().join("broken.crt"), bytes).unwrap();
            let error = Roots::empty()
                .add_folder(folder.path())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("broken.crt: ") && error.contains(reason),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_regular_file_or_too_large_is_refused_and_never_waited_for() {
        let folder = temporary_folder();
        let path = folder.path().join("a.pem");
        let refused = |why: &str| {
            let error = Roots::empty().add_folder(folder.path()).unwrap_err();
            assert!(error.to_string().ends_with(why), "{error}");
            fs::remove_file(&path).unwrap();
        };
        for endless in ["/dev/zero", "/dev/tty"] {
            std::os::unix::fs::symlink(endless, &path).unwrap();
            refused("a.pem: it is no regular file");
        }
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        refused("a.pem: it is no regular file");
        File::create(&path).unwrap().set_len(LONGEST + 1).unwrap();
        refused("a.pem: it is too large for certificates");
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_error_that_names_it() {
        let folder = temporary_folder();
        let missing = folder.path().join("ci.d");
        let error = Roots::empty().add_folder(&missing).unwrap_err();
        assert!(error.to_string().contains("ci.d: "), "{error}");
    }

    fn pem(der: &[u8]) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        format!(
            "Subject: an issuer\n-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
    }
}
