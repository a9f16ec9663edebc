//! What StoreMetadata may ask for: policy rules and the table that authorises them.

use es10_apdu::asn1::{List, Open};
use es10_apdu::es10b::{ProfilePolicyAuthorisationRule, StoreMetadataRequest};
use es10_apdu::types::{OperatorId, PprFlags, PprIds};

/// An entry of the Rules Authorisation Table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule(pub ProfilePolicyAuthorisationRule);

impl Rule {
    fn names(&self, rule: PprIds) -> bool {
        self.0.ppr_ids.contains(rule)
    }

    fn allows(&self, owner: Option<&OperatorId>) -> bool {
        let allowed = &self.0.allowed_operators;
        owner.is_some_and(|owner| allowed.iter().any(|entry| matches(entry, owner)))
    }
}

/// An entry that lets the profiles of any operator have these rules.
pub fn any_operator(rules: PprIds, consent_required: bool) -> Rule {
    let any = OperatorId {
        mcc_mnc: vec![0xEE; 3].into(),
        gid1: Some(Vec::new().into()),
        gid2: Some(Vec::new().into()),
    };
    Rule(ProfilePolicyAuthorisationRule {
        ppr_ids: rules,
        allowed_operators: List::from(vec![Open(any)]),
        ppr_flags: if consent_required {
            PprFlags::CONSENT_REQUIRED
        } else {
            PprFlags::default()
        },
    })
}

/// Whether a profile may have the rules it asks for: none is forbidden, and for each the first
/// entry of the table that names it allows the operator (SGP.22 v2.5 section 2.9.3).
pub(super) fn rules_allowed(
    metadata: &StoreMetadataRequest,
    forbidden: PprIds,
    table: &[Rule],
) -> bool {
    let rules = metadata.rules();
    if rules.intersects(forbidden) {
        return false;
    }
    let owner = metadata.profile_owner.as_deref();
    [PprIds::PPR1, PprIds::PPR2]
        .into_iter()
        .filter(|rule| rules.contains(*rule))
        .all(|rule| {
            table
                .iter()
                .find(|entry| entry.names(rule))
                .is_some_and(|entry| entry.allows(owner))
        })
}

fn matches(entry: &OperatorId, owner: &OperatorId) -> bool {
    entry.mcc_mnc.len() == owner.mcc_mnc.len()
        && digits(&entry.mcc_mnc)
            .zip(digits(&owner.mcc_mnc))
            .all(|(allowed, digit)| allowed == 0x0E || allowed == digit)
        && group_matches(entry.gid1.as_deref(), owner.gid1.as_deref())
        && group_matches(entry.gid2.as_deref(), owner.gid2.as_deref())
}

/// A group identifier of zero length stands for any, an absent one for none.
fn group_matches(entry: Option<&[u8]>, owner: Option<&[u8]>) -> bool {
    match entry {
        Some([]) => true,
        entry => entry == owner,
    }
}

fn digits(octets: &[u8]) -> impl Iterator<Item = u8> {
    octets.iter().flat_map(|octet| [octet & 0x0F, octet >> 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(mcc_mnc: [u8; 3], gid1: Option<&[u8]>) -> OperatorId {
        let gid1 = gid1.map(|gid| gid.to_vec().into());
        OperatorId {
            mcc_mnc: mcc_mnc.to_vec().into(),
            gid1,
            gid2: None,
        }
    }

    #[test]
    fn operators_are_compared_digit_by_digit_and_group_by_group() {
        let exact = owner([0x62, 0xF2, 0x20], None);
        assert!(matches(&exact, &owner([0x62, 0xF2, 0x20], None)));
        assert!(!matches(&exact, &owner([0x62, 0xF2, 0x10], None)));
        assert!(!matches(&exact, &owner([0x62, 0xF2, 0x20], Some(&[1]))));
        let country = owner([0x62, 0xE2, 0xEE], Some(&[]));
        assert!(matches(&country, &owner([0x62, 0xF2, 0x20], Some(&[1]))));
        assert!(!matches(&country, &owner([0x32, 0xF2, 0x20], None)));
    }
}
