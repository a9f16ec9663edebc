//! Whether an eUICC offers what a profile cannot do without.

use es10_apdu::types::UiccCapability;

/// Whether all services, given as tags of `eUICC-Mandatory-services`, are offered.
///
/// A service this server does not know is left to the eUICC to judge.
pub(super) fn has_services(capability: UiccCapability, services: &[u8]) -> bool {
    services.iter().all(|service| {
        let needed = CAPABILITIES.iter().find(|(tag, _)| tag == service);
        needed.is_none_or(|(_, needed)| capability.contains(*needed))
    })
}

/// The two specifications number the same features differently.
const CAPABILITIES: [(u8, UiccCapability); 24] = [
    (0x80, UiccCapability::CONTACTLESS_SUPPORT),
    (0x81, UiccCapability::USIM_SUPPORT),
    (0x82, UiccCapability::ISIM_SUPPORT),
    (0x83, UiccCapability::CSIM_SUPPORT),
    (0x84, UiccCapability::AKA_MILENAGE),
    (0x85, UiccCapability::AKA_TUAK128),
    (0x86, UiccCapability::AKA_CAVE),
    (0x87, UiccCapability::GBA_AUTHEN_USIM),
    (0x88, UiccCapability::GBA_AUTHEN_ISIM),
    (0x89, UiccCapability::MBMS_AUTHEN_USIM),
    (0x8A, UiccCapability::EAP_CLIENT),
    (0x8B, UiccCapability::JAVACARD),
    (0x8C, UiccCapability::MULTOS),
    (0x8D, UiccCapability::MULTIPLE_USIM_SUPPORT),
    (0x8E, UiccCapability::MULTIPLE_ISIM_SUPPORT),
    (0x8F, UiccCapability::MULTIPLE_CSIM_SUPPORT),
    (0x90, UiccCapability::AKA_TUAK256),
    (0x91, UiccCapability::USIM_TEST_ALGORITHM),
    (0x92, UiccCapability::BER_TLV_FILE_SUPPORT),
    (0x93, UiccCapability::DF_LINK_SUPPORT),
    (0x94, UiccCapability::CAT_TP),
    (0x95, UiccCapability::GET_IDENTITY),
    (0x96, UiccCapability::PROFILE_A_X25519),
    (0x97, UiccCapability::PROFILE_B_P256),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_service_makes_an_euicc_ineligible() {
        let capability = UiccCapability::USIM_SUPPORT | UiccCapability::AKA_MILENAGE;
        assert!(has_services(capability, &[0x81, 0x84]));
        assert!(!has_services(capability, &[0x81, 0x8B]));
    }

    #[test]
    fn an_unknown_service_is_left_to_the_euicc() {
        assert!(has_services(UiccCapability::default(), &[0x9A, 0x9F]));
    }
}
