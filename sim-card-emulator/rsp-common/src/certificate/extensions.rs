//! The extensions of a certificate that RSP knows.

use es10_apdu::types::Oid;
use rasn::types::BitString;
use rasn_pkix as pkix;

use super::{CertificateError, decode, malformed};

#[derive(Clone, Debug, Default)]
pub(super) struct Extensions {
    pub(super) subject_key_identifier: Option<Vec<u8>>,
    pub(super) authority_key_identifier: Option<Vec<u8>>,
    pub(super) key_usage: Option<BitString>,
    pub(super) is_ca: bool,
    /// No further CA may stand below this one.
    pub(super) is_last_ca: bool,
    pub(super) policies: Vec<String>,
    pub(super) registered_ids: Vec<Oid>,
    pub(super) dns_names: Vec<String>,
    pub(super) permitted: Option<Vec<Vec<pkix::RelativeDistinguishedName>>>,
    pub(super) unknown_critical: Option<String>,
}

impl Extensions {
    pub(super) fn parse(list: Option<&Vec<pkix::Extension>>) -> Result<Self, CertificateError> {
        let mut found = Self::default();
        let mut seen = Vec::new();
        for extension in list.into_iter().flatten() {
            let oid = extension.extn_id.to_string();
            if seen.contains(&oid) {
                return Err(malformed("an extension stands there twice"));
            }
            found.read(&oid, extension)?;
            seen.push(oid);
        }
        Ok(found)
    }

    fn read(&mut self, oid: &str, extension: &pkix::Extension) -> Result<(), CertificateError> {
        let value: &[u8] = &extension.extn_value;
        match oid {
            "2.5.29.14" => {
                let identifier: pkix::SubjectKeyIdentifier = decode(value)?;
                self.subject_key_identifier = Some(identifier.to_vec());
            }
            "2.5.29.15" => self.key_usage = Some(decode(value)?),
            "2.5.29.17" => self.read_names(decode(value)?),
            "2.5.29.19" => {
                let constraints: pkix::BasicConstraints = decode(value)?;
                self.is_ca = constraints.ca;
                let length = constraints.path_len_constraint;
                self.is_last_ca = length.is_some_and(|length| length == 0.into());
            }
            "2.5.29.30" => self.read_constraints(decode(value)?),
            "2.5.29.31" => {}
            "2.5.29.32" => {
                let policies: pkix::CertificatePolicies = decode(value)?;
                self.policies = policies
                    .iter()
                    .map(|policy| policy.policy_identifier.to_string())
                    .collect();
            }
            "2.5.29.35" => {
                let authority: pkix::AuthorityKeyIdentifier = decode(value)?;
                self.authority_key_identifier = authority.key_identifier.map(|id| id.to_vec());
            }
            "2.5.29.37" => {}
            unknown if extension.critical => self.unknown_critical = Some(unknown.to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn read_names(&mut self, names: pkix::SubjectAltName) {
        for name in names {
            match name {
                pkix::GeneralName::RegisteredId(oid) => {
                    self.registered_ids.extend(oid.to_string().parse::<Oid>());
                }
                pkix::GeneralName::DnsName(name) => self.dns_names.push(name.to_string()),
                _ => {}
            }
        }
    }

    fn read_constraints(&mut self, constraints: pkix::NameConstraints) {
        let subtrees = constraints.permitted_subtrees.unwrap_or_default();
        let names = subtrees
            .into_iter()
            .filter_map(|subtree| match subtree.base {
                pkix::GeneralName::DirectoryName(pkix::Name::RdnSequence(name)) => Some(name),
                _ => None,
            });
        self.permitted = Some(names.collect());
    }
}
