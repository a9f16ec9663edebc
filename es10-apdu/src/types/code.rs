//! Named INTEGER values. The number is kept, so that a value of a later version stays visible.

/// A newtype over a named INTEGER: one line gives constant, documentation and text of a value.
macro_rules! result_code {
    (
        $(#[$doc:meta])* $name:ident {
            $( $constant:ident = $value:literal, $text:literal; )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, PartialEq)]
        pub struct $name(pub i64);

        impl rasn::AsnType for $name {
            const TAG: rasn::types::Tag = rasn::types::Tag::INTEGER;
        }

        impl rasn::Decode for $name {
            fn decode_with_tag_and_constraints<D: rasn::Decoder>(
                decoder: &mut D,
                tag: rasn::types::Tag,
                constraints: &rasn::types::Constraints,
            ) -> Result<Self, D::Error> {
                decoder.decode_integer(tag, constraints).map(Self)
            }
        }

        impl rasn::Encode for $name {
            fn encode_with_tag_and_constraints<'b, E: rasn::Encoder<'b>>(
                &self,
                encoder: &mut E,
                tag: rasn::types::Tag,
                constraints: &rasn::types::Constraints,
                identifier: rasn::types::Identifier,
            ) -> Result<(), E::Error> {
                encoder.encode_integer(tag, constraints, &self.0, identifier)?;
                Ok(())
            }
        }

        impl $name {
            $(
                #[doc = $text]
                pub const $constant: Self = Self($value);
            )+

            /// What the value means; `None` for one this version does not know.
            pub fn meaning(self) -> Option<&'static str> {
                match self.0 {
                    $( $value => Some($text), )+
                    _ => None,
                }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{self}")
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.meaning() {
                    Some(meaning) => write!(f, "{meaning} ({})", self.0),
                    None => write!(f, "unknown value {}", self.0),
                }
            }
        }

        impl crate::asn1::Extensible for $name {}
    };
}

pub(crate) use result_code;

result_code! {
    /// What kind of profile it is; tag 95. Absent means operational.
    ProfileClass {
        TEST = 0, "test";
        PROVISIONING = 1, "provisioning";
        OPERATIONAL = 2, "operational";
    }
}

result_code! {
    /// Whether a profile is the one in use; tag 9F70.
    ProfileState {
        DISABLED = 0, "disabled";
        ENABLED = 1, "enabled";
    }
}

result_code! {
    /// The format of a profile's icon; tag 93.
    IconType {
        JPG = 0, "jpg";
        PNG = 1, "png";
    }
}
