//! Things with a name: what a person can ask the server for in text.

use std::fmt;

use rsp_common::config_file::nearest;

use super::status::StatusCode;

/// A name that can be written down, for help texts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Named {
    /// The name, such as `http-status`.
    pub name: &'static str,
    /// What stands behind `=`, if anything must.
    pub value: Option<&'static str>,
    /// What it does.
    pub about: &'static str,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.value.map_or(Ok(()), |value| write!(f, "=<{value}>"))
    }
}

/// A text that names nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// There is nothing of this name.
    #[error("there is no {kind} {name:?}{}", closest(.similar))]
    Unknown {
        /// What was looked for: a fault, a TLS choice.
        kind: &'static str,
        /// The name.
        name: String,
        /// The most similar name there is.
        similar: Option<&'static str>,
    },
    /// The name needs a value, or has one it cannot use.
    #[error("{name}={value} is not {expected}")]
    Value {
        /// The name.
        name: &'static str,
        /// What is wrong behind the equals sign.
        value: String,
        /// What the value must be.
        expected: &'static str,
    },
    /// A value stands behind a name that takes none.
    #[error("{0} takes no value")]
    NoValue(&'static str),
    /// The text does not begin with a function and a call.
    #[error("{0:?} is not FUNCTION=NAME, FUNCTION:N=NAME or either with =VALUE behind it")]
    Form(String),
}

impl NameError {
    pub(crate) fn unknown(
        kind: &'static str,
        name: &str,
        names: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        Self::Unknown {
            kind,
            name: name.to_owned(),
            similar: nearest(name, names),
        }
    }
}

fn closest(similar: &Option<&'static str>) -> String {
    similar.map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// Makes a server's functions, which have `ALL` and `name`, readable and writable by their names.
macro_rules! functions_by_name {
    ($function:ty) => {
        impl std::fmt::Display for $function {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $function {
            type Err = $crate::smdp::NameError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                let mut all = Self::ALL.into_iter();
                all.find(|function| function.name() == name).ok_or_else(|| {
                    let names = Self::ALL.map(Self::name);
                    $crate::smdp::NameError::unknown("function", name, names)
                })
            }
        }

        impl serde::Serialize for $function {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $function {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                name.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use functions_by_name;

/// A value behind a name.
pub(crate) trait Value: Sized {
    /// What it must be, as an error says it.
    const EXPECTED: &'static str;

    fn parse(text: &str) -> Option<Self>;

    fn show(&self) -> String;
}

/// Values that have a text form already.
macro_rules! plain_values {
    ($($kind:ty: $expected:literal,)+) => {$(
        impl Value for $kind {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

plain_values! {
    u8: "a number from 0 to 255",
    u16: "a number from 0 to 65535",
    u32: "a number",
    u64: "a number",
    usize: "a number",
    i64: "a number, with or without a sign",
    String: "a text",
    StatusCode: "a status code such as 8.2.6/3.8",
}

impl Value for Vec<u8> {
    const EXPECTED: &'static str = "an even number of hexadecimal digits";

    fn parse(text: &str) -> Option<Self> {
        hex::decode(text).ok()
    }

    fn show(&self) -> String {
        hex::encode_upper(self)
    }
}

/// Writes an enum whose variants have names, one value at most, and a description that is both
/// their documentation and their help.
macro_rules! named {
    (
        $(#[$meta:meta])*
        $visible:vis enum $kind:ident as $what:literal {
            $(
                $(#[doc = $about:literal])+
                $name:literal => $variant:ident $(($value:ident: $type:ty))?,
            )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Eq, PartialEq)]
        $visible enum $kind {
            $($(#[doc = $about])+ $variant $(($type))?,)+
        }

        impl $kind {
            /// All names there are.
            $visible const NAMES: &'static [$crate::rsp::names::Named] = &[
                $($crate::rsp::names::Named {
                    name: $name,
                    value: $crate::rsp::names::named!(@placeholder $($value)?),
                    about: concat!($($about),+).trim_ascii_start(),
                },)+
            ];
        }

        impl std::str::FromStr for $kind {
            type Err = $crate::rsp::names::NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (text, None),
                };
                match name {
                    $($name => $crate::rsp::names::named!(
                        @parse $kind $variant $name value $($type)?
                    ),)+
                    _ => {
                        let names = Self::NAMES.iter().map(|one| one.name);
                        Err(Self::Err::unknown($what, name, names))
                    }
                }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$variant $(($value))? => {
                        f.write_str($name)?;
                        $(write!(f, "={}", $crate::rsp::names::Value::show($value))?;)?
                        Ok(())
                    })+
                }
            }
        }

        impl TryFrom<String> for $kind {
            type Error = $crate::rsp::names::NameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(named: $kind) -> Self {
                named.to_string()
            }
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
    (@placeholder) => { None };
    (@placeholder $value:ident) => { Some(stringify!($value)) };
    (@parse $kind:ident $variant:ident $name:literal $given:ident) => {
        match $given {
            None => Ok($kind::$variant),
            Some(_) => Err($crate::rsp::names::NameError::NoValue($name)),
        }
    };
    (@parse $kind:ident $variant:ident $name:literal $given:ident $type:ty) => {{
        let value = $given.unwrap_or_default();
        <$type as $crate::rsp::names::Value>::parse(value)
            .map($kind::$variant)
            .ok_or_else(|| $crate::rsp::names::NameError::Value {
                name: $name,
                value: value.to_owned(),
                expected: <$type as $crate::rsp::names::Value>::EXPECTED,
            })
    }};
}

pub(crate) use named;

#[cfg(test)]
mod tests {
    named! {
        /// For these tests.
        enum Thing as "thing" {
            /// Nothing.
            "none" => Nothing,
            /// A number
            /// of something.
            "number" => Number(count: u8),
        }
    }

    #[test]
    fn a_name_stands_for_what_it_says_and_is_shown_as_it_was_written() {
        for (text, thing) in [("none", Thing::Nothing), ("number=7", Thing::Number(7))] {
            assert_eq!(text.parse(), Ok(thing.clone()));
            assert_eq!(thing.to_string(), text);
            let json = serde_json::to_string(&thing).unwrap();
            assert_eq!(serde_json::from_str::<Thing>(&json).unwrap(), thing);
        }
        assert_eq!(Thing::NAMES[1].to_string(), "number=<count>");
        assert_eq!(Thing::NAMES[1].about, "A number of something.");
    }

    #[test]
    fn a_name_that_is_none_is_an_error_that_helps() {
        let error = |text: &str| text.parse::<Thing>().unwrap_err().to_string();
        assert_eq!(
            error("nubmer"),
            "there is no thing \"nubmer\"; did you mean \"number\"?"
        );
        assert_eq!(error("something"), "there is no thing \"something\"");
        assert_eq!(error("none=1"), "none takes no value");
        assert_eq!(
            error("number=256"),
            "number=256 is not a number from 0 to 255"
        );
        assert_eq!(error("number"), "number= is not a number from 0 to 255");
    }
}
