//! Named BIT STRING values. DER drops trailing zero bits of these; cards do not always.

use rasn::types::{BitString, Constraints, Identifier, Tag};
use rasn::{AsnType, Decode, Decoder, Encode, Encoder};

use crate::asn1::elements;

/// A set of bits by number; bits beyond 63 are ignored.
macro_rules! named_bits {
    (
        $(#[$doc:meta])* $name:ident {
            $( $constant:ident = $bit:literal, $text:literal; )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
        pub struct $name(pub u64);

        impl $name {
            $(
                #[doc = $text]
                pub const $constant: Self = Self(1 << $bit);
            )+

            /// Whether all bits of `other` are set.
            pub fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any bit is set in both.
            pub fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// Whether no bit is set.
            pub fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// The bit that has this name.
            pub fn from_name(name: &str) -> Option<Self> {
                [$( (Self::$constant, $text) ),+]
                    .into_iter()
                    .find_map(|(bit, text)| (text == name).then_some(bit))
            }

            /// The names of the bits that are set and known.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                [$( (Self::$constant, $text) ),+]
                    .into_iter()
                    .filter_map(move |(bit, text)| self.contains(bit).then_some(text))
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))?;
                f.debug_set().entries(self.names()).finish()
            }
        }

        impl AsnType for $name {
            const TAG: Tag = Tag::BIT_STRING;
        }

        impl Decode for $name {
            fn decode_with_tag_and_constraints<D: Decoder>(
                decoder: &mut D,
                tag: Tag,
                constraints: &Constraints,
            ) -> Result<Self, D::Error> {
                let bits = decoder.decode_bit_string(tag, constraints)?;
                let set = bits.iter_ones().take_while(|&bit| bit < 64);
                Ok(Self(set.fold(0, |sum, bit| sum | 1 << bit)))
            }
        }

        impl Encode for $name {
            fn encode_with_tag_and_constraints<'b, E: Encoder<'b>>(
                &self,
                encoder: &mut E,
                tag: Tag,
                constraints: &Constraints,
                identifier: Identifier,
            ) -> Result<(), E::Error> {
                let len = 64 - self.0.leading_zeros();
                let bits: BitString = (0..len).map(|bit| self.0 >> bit & 1 == 1).collect();
                encoder.encode_bit_string(tag, constraints, &bits, identifier)?;
                Ok(())
            }
        }

        elements!($name);
    };
}

named_bits! {
    /// What happened to a profile. A notification has one bit, a configuration may have several.
    NotificationEvent {
        INSTALL = 0, "install";
        ENABLE = 1, "enable";
        DISABLE = 2, "disable";
        DELETE = 3, "delete";
    }
}

named_bits! {
    /// Profile Policy Rules; tag 99.
    PprIds {
        PPR_UPDATE_CONTROL = 0, "pprUpdateControl";
        PPR1 = 1, "ppr1";
        PPR2 = 2, "ppr2";
    }
}

named_bits! {
    /// Flags of an entry in the Rules Authorisation Table.
    PprFlags {
        CONSENT_REQUIRED = 0, "consentRequired";
    }
}

named_bits! {
    /// What an eUICC Memory Reset clears; the last two are of SGP.22 v3.
    ResetOptions {
        DELETE_OPERATIONAL_PROFILES = 0, "deleteOperationalProfiles";
        DELETE_FIELD_LOADED_TEST_PROFILES = 1, "deleteFieldLoadedTestProfiles";
        RESET_DEFAULT_SMDP_ADDRESS = 2, "resetDefaultSmdpAddress";
        DELETE_PRELOADED_TEST_PROFILES = 3, "deletePreLoadedTestProfiles";
        DELETE_PROVISIONING_PROFILES = 4, "deleteProvisioningProfiles";
    }
}

named_bits! {
    /// Remote SIM provisioning features of an eUICC.
    RspCapability {
        ADDITIONAL_PROFILE = 0, "additionalProfile";
        CRL_SUPPORT = 1, "crlSupport";
        RPM_SUPPORT = 2, "rpmSupport";
        TEST_PROFILE_SUPPORT = 3, "testProfileSupport";
        DEVICE_INFO_EXTENSIBILITY_SUPPORT = 4, "deviceInfoExtensibilitySupport";
        SERVICE_SPECIFIC_DATA_SUPPORT = 5, "serviceSpecificDataSupport";
    }
}

named_bits! {
    /// Profile package features of an eUICC, numbered as in the SAIP module.
    UiccCapability {
        CONTACTLESS_SUPPORT = 0, "contactlessSupport";
        USIM_SUPPORT = 1, "usimSupport";
        ISIM_SUPPORT = 2, "isimSupport";
        CSIM_SUPPORT = 3, "csimSupport";
        AKA_MILENAGE = 4, "akaMilenage";
        AKA_CAVE = 5, "akaCave";
        AKA_TUAK128 = 6, "akaTuak128";
        AKA_TUAK256 = 7, "akaTuak256";
        USIM_TEST_ALGORITHM = 8, "usimTestAlgorithm";
        GBA_AUTHEN_USIM = 10, "gbaAuthenUsim";
        GBA_AUTHEN_ISIM = 11, "gbaAuthenISim";
        MBMS_AUTHEN_USIM = 12, "mbmsAuthenUsim";
        EAP_CLIENT = 13, "eapClient";
        JAVACARD = 14, "javacard";
        MULTOS = 15, "multos";
        MULTIPLE_USIM_SUPPORT = 16, "multipleUsimSupport";
        MULTIPLE_ISIM_SUPPORT = 17, "multipleIsimSupport";
        MULTIPLE_CSIM_SUPPORT = 18, "multipleCsimSupport";
        BER_TLV_FILE_SUPPORT = 19, "berTlvFileSupport";
        DF_LINK_SUPPORT = 20, "dfLinkSupport";
        CAT_TP = 21, "catTp";
        GET_IDENTITY = 22, "getIdentity";
        PROFILE_A_X25519 = 23, "profile-a-x25519";
        PROFILE_B_P256 = 24, "profile-b-p256";
        SUCI_CALCULATOR_API = 25, "suciCalculatorApi";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asn1;

    #[test]
    fn trailing_zero_bits_are_dropped_on_the_way_out() {
        for (event, der) in [
            (NotificationEvent::INSTALL, "03020780"),
            (NotificationEvent::ENABLE, "03020640"),
            (NotificationEvent::DISABLE, "03020520"),
            (NotificationEvent::DELETE, "03020410"),
        ] {
            assert_eq!(hex::encode(asn1::encode(&event)), der);
        }
    }

    #[test]
    fn unused_bits_may_be_counted_in_any_way_on_the_way_in() {
        for ber in ["03020780", "03020080", "030407800000", "0302078f"] {
            let event: NotificationEvent = asn1::read(&hex::decode(ber).unwrap()).unwrap();
            assert!(event.contains(NotificationEvent::INSTALL), "{ber}");
        }
        let several: NotificationEvent = asn1::read(&hex::decode("03020470").unwrap()).unwrap();
        assert_eq!(
            several.names().collect::<Vec<_>>(),
            ["enable", "disable", "delete"]
        );
    }
}
