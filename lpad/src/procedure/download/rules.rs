//! Decisions without I/O.

use es10_apdu::es10b::{ProfilePolicyAuthorisationRule, StoreMetadataRequest};
use es10_apdu::types::{OperatorId, PprFlags, PprIds, ProfileClass};

/// What a profile's policy rules ask of the person who consents.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RequiredConsent {
    /// The rules the profile carries.
    pub rules: PprIds,
    /// Whether the consequences must be shown and agreed to expressly.
    pub strong: bool,
}

/// Why a profile must not be downloaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RuleRefusal {
    /// The eUICC never accepts the rule.
    #[error("the eUICC accepts no profile with the policy rule {rule}")]
    Forbidden {
        /// Its name.
        rule: &'static str,
    },
    /// No entry of the Rules Authorisation Table allows it for this operator.
    #[error("the eUICC does not allow the policy rule {rule} for this operator")]
    NotAuthorised {
        /// Its name.
        rule: &'static str,
    },
    /// A profile that cannot be disabled next to another one.
    #[error("a profile that may not be disabled cannot be added to another operational profile")]
    OtherProfileInstalled,
    /// The rules come without the operator they are for.
    #[error("the profile carries policy rules and does not name its operator")]
    OwnerMissing,
}

/// Judges the policy rules of a profile on offer, SGP.22 v2.5 section 2.9.3.
pub(super) fn judge_rules(
    metadata: &StoreMetadataRequest,
    forbidden: PprIds,
    table: &[impl std::ops::Deref<Target = ProfilePolicyAuthorisationRule>],
    operational_profile_installed: bool,
) -> Result<RequiredConsent, RuleRefusal> {
    let rules = metadata.rules();
    let mut consent = RequiredConsent {
        rules,
        strong: false,
    };
    for (bit, rule) in [(PprIds::PPR1, "ppr1"), (PprIds::PPR2, "ppr2")] {
        if !rules.contains(bit) {
            continue;
        }
        if forbidden.contains(bit) {
            return Err(RuleRefusal::Forbidden { rule });
        }
        let owner = metadata
            .profile_owner
            .as_deref()
            .ok_or(RuleRefusal::OwnerMissing)?;
        // The first entry decides, also when a later one would ask for less.
        let entry = table
            .iter()
            .find(|entry| {
                entry.ppr_ids.contains(bit)
                    && entry
                        .allowed_operators
                        .iter()
                        .any(|allowed| allows(allowed, owner))
            })
            .ok_or(RuleRefusal::NotAuthorised { rule })?;
        consent.strong |= entry.ppr_flags.contains(PprFlags::CONSENT_REQUIRED);
    }
    let operational = metadata.class() == ProfileClass::OPERATIONAL;
    if rules.contains(PprIds::PPR1) && operational && operational_profile_installed {
        return Err(RuleRefusal::OtherProfileInstalled);
    }
    Ok(consent)
}

/// Whether an entry of the table covers an operator. A nibble E stands for any digit, an empty
/// group identifier for any; one that is absent covers only an operator without it.
fn allows(allowed: &OperatorId, owner: &OperatorId) -> bool {
    let nibbles = |octets: &[u8]| -> Vec<u8> {
        octets
            .iter()
            .flat_map(|octet| [octet >> 4, octet & 0x0F])
            .collect()
    };
    let (pattern, digits) = (nibbles(&allowed.mcc_mnc), nibbles(&owner.mcc_mnc));
    let network = pattern.len() == digits.len()
        && pattern
            .iter()
            .zip(&digits)
            .all(|(pattern, digit)| *pattern == 0xE || pattern == digit);
    let group = |allowed: Option<&[u8]>, owner: Option<&[u8]>| match allowed {
        Some([]) => true,
        allowed => allowed == owner,
    };
    network
        && group(allowed.gid1.as_deref(), owner.gid1.as_deref())
        && group(allowed.gid2.as_deref(), owner.gid2.as_deref())
}

#[cfg(test)]
mod tests {
    use es10_apdu::asn1::Open;
    use es10_apdu::types::Iccid;

    use super::*;

    fn operator(mcc_mnc: [u8; 3]) -> OperatorId {
        OperatorId {
            mcc_mnc: mcc_mnc.to_vec().into(),
            gid1: None,
            gid2: None,
        }
    }

    fn profile(rules: PprIds, owner: Option<OperatorId>) -> StoreMetadataRequest {
        StoreMetadataRequest {
            iccid: Iccid::from_octets(&[0x98; 10]).unwrap(),
            service_provider_name: None,
            profile_name: None,
            icon_type: None,
            icon: None,
            profile_class: None,
            notification_configuration_info: None,
            profile_owner: owner.map(Open),
            profile_policy_rules: Some(rules),
            service_specific_data_stored_in_euicc: None,
        }
    }

    fn entry(
        rules: PprIds,
        allowed: OperatorId,
        flags: PprFlags,
    ) -> ProfilePolicyAuthorisationRule {
        ProfilePolicyAuthorisationRule {
            ppr_ids: rules,
            allowed_operators: vec![Open(allowed)].into(),
            ppr_flags: flags,
        }
    }

    const OWNER: [u8; 3] = [0x62, 0xF2, 0x10];

    #[test]
    fn a_profile_without_rules_needs_no_table() {
        let table: [Open<ProfilePolicyAuthorisationRule>; 0] = [];
        let judged = judge_rules(&profile(PprIds(0), None), PprIds::PPR1, &table, true);
        assert_eq!(judged, Ok(RequiredConsent::default()));
    }

    #[test]
    fn the_first_entry_for_rule_and_operator_decides() {
        let table = [
            Open(entry(PprIds::PPR2, operator([0xEE; 3]), PprFlags(0))),
            Open(entry(
                PprIds::PPR1,
                operator([0x62, 0xF2, 0xEE]),
                PprFlags::CONSENT_REQUIRED,
            )),
            Open(entry(PprIds::PPR1, operator([0xEE; 3]), PprFlags(0))),
        ];
        let offered = profile(PprIds::PPR1, Some(operator(OWNER)));
        let consent = judge_rules(&offered, PprIds(0), &table, false);
        assert_eq!(
            consent,
            Ok(RequiredConsent {
                rules: PprIds::PPR1,
                strong: true
            })
        );
        let refused = judge_rules(&offered, PprIds(0), &table[..1], false);
        assert_eq!(refused, Err(RuleRefusal::NotAuthorised { rule: "ppr1" }));
    }

    #[test]
    fn forbidden_ownerless_and_second_undisablable_profiles_are_refused() {
        let table = [Open(entry(PprIds::PPR1, operator([0xEE; 3]), PprFlags(0)))];
        let offered = profile(PprIds::PPR1, Some(operator(OWNER)));
        assert_eq!(
            judge_rules(&offered, PprIds::PPR1, &table, false),
            Err(RuleRefusal::Forbidden { rule: "ppr1" })
        );
        assert_eq!(
            judge_rules(&profile(PprIds::PPR1, None), PprIds(0), &table, false),
            Err(RuleRefusal::OwnerMissing)
        );
        assert_eq!(
            judge_rules(&offered, PprIds(0), &table, true),
            Err(RuleRefusal::OtherProfileInstalled)
        );
    }

    #[test]
    fn group_identifiers_match_when_equal_or_wild() {
        let with = |gid: Option<&[u8]>| OperatorId {
            gid1: gid.map(|gid| gid.to_vec().into()),
            ..operator(OWNER)
        };
        assert!(allows(&with(Some(&[])), &with(Some(&[1]))));
        assert!(allows(&with(Some(&[1])), &with(Some(&[1]))));
        assert!(!allows(&with(Some(&[1])), &with(Some(&[2]))));
        assert!(!allows(&with(None), &with(Some(&[1]))));
    }
}
