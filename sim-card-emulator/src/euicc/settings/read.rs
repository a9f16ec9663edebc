//! Settings as people write them.

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::{List, Open};
use es10_apdu::es10b::ProfilePolicyAuthorisationRule;
use es10_apdu::types::{
    Iccid, OperatorId, PprFlags, PprIds, RspCapability, UiccCapability, VersionType,
};
use serde::de::{Deserialize, Deserializer, Error};

use crate::euicc::Rule;

/// Three numbers with dots between them.
pub(super) fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VersionType, D::Error> {
    let text = String::deserialize(deserializer)?;
    let numbers: Option<Vec<u8>> = text.split('.').map(|number| number.parse().ok()).collect();
    let version = numbers.and_then(|numbers| numbers.try_into().ok());
    version
        .map(VersionType)
        .ok_or_else(|| Error::custom(format!("{text} is no version like 2.5.0")))
}

pub(super) fn uicc_capability<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<UiccCapability, D::Error> {
    bits(deserializer, |name| {
        UiccCapability::from_name(name)?.0.into()
    })
    .map(UiccCapability)
}

pub(super) fn rsp_capability<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<RspCapability, D::Error> {
    bits(deserializer, |name| {
        RspCapability::from_name(name)?.0.into()
    })
    .map(RspCapability)
}

pub(super) fn ppr_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PprIds, D::Error> {
    bits(deserializer, |name| PprIds::from_name(name)?.0.into()).map(PprIds)
}

/// The number of a profile.
pub(super) fn iccid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Iccid>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let iccid = text.parse();
    iccid
        .map(Some)
        .map_err(|_| Error::custom(format!("{text} is no ICCID")))
}

/// A tag in hexadecimal.
pub(super) fn tag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    u32::from_str_radix(&text, 16).map_err(|_| Error::custom(format!("{text} is no tag")))
}

/// A status word in hexadecimal.
pub(super) fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StatusWord, D::Error> {
    let text = String::deserialize(deserializer)?;
    let word = u16::from_str_radix(&text, 16).ok();
    word.filter(|_| text.len() == 4)
        .map(StatusWord)
        .ok_or_else(|| Error::custom(format!("{text} is no status word")))
}

/// Octets in hexadecimal.
pub(super) fn octets<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<u8>>, D::Error> {
    let octets = hex::decode(String::deserialize(deserializer)?);
    octets.map(Some).map_err(Error::custom)
}

/// A list of octets in hexadecimal.
pub(super) fn octet_strings<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Vec<u8>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let octets = texts.iter().map(hex::decode);
    octets.collect::<Result<_, _>>().map_err(Error::custom)
}

/// A list of the names the module gives to bits.
fn bits<'de, D: Deserializer<'de>>(
    deserializer: D,
    bit: impl Fn(&str) -> Option<u64>,
) -> Result<u64, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().try_fold(0, |bits, name| match bit(name) {
        Some(bit) => Ok(bits | bit),
        None => Err(Error::custom(format!("nothing is called {name} here"))),
    })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    #[serde(deserialize_with = "ppr_ids")]
    rules: PprIds,
    operators: Vec<OperatorText>,
    #[serde(default)]
    consent_required: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorText {
    /// Five or six digits, E for any.
    mcc_mnc: String,
    /// Hexadecimal; empty for any, absent for none.
    gid1: Option<String>,
    gid2: Option<String>,
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = RuleText::deserialize(deserializer)?;
        let operators = text.operators.iter().map(|operator| {
            operator
                .to_id()
                .map(Open)
                .ok_or_else(|| Error::custom(format!("{} is no operator", operator.mcc_mnc)))
        });
        Ok(Self(ProfilePolicyAuthorisationRule {
            ppr_ids: text.rules,
            allowed_operators: List::from(operators.collect::<Result<Vec<_>, _>>()?),
            ppr_flags: if text.consent_required {
                PprFlags::CONSENT_REQUIRED
            } else {
                PprFlags::default()
            },
        }))
    }
}

impl OperatorText {
    /// Digits in the order of TS 24.008: an MNC of two digits is filled with F.
    fn to_id(&self) -> Option<OperatorId> {
        let digits = self.mcc_mnc.chars().map(|digit| match digit {
            'E' | 'e' => Some(0x0E),
            digit => digit
                .to_digit(10)
                .and_then(|digit| u8::try_from(digit).ok()),
        });
        let digits = digits.collect::<Option<Vec<u8>>>()?;
        let (mcc, mnc1, mnc2, mnc3) = match digits[..] {
            [a, b, c, mnc1, mnc2] => ([a, b, c], mnc1, mnc2, 0x0F),
            [a, b, c, mnc1, mnc2, mnc3] => ([a, b, c], mnc1, mnc2, mnc3),
            _ => return None,
        };
        let mcc_mnc = vec![mcc[1] << 4 | mcc[0], mnc3 << 4 | mcc[2], mnc2 << 4 | mnc1];
        let group = |text: &Option<String>| text.as_ref().map(hex::decode).transpose().ok();
        Some(OperatorId {
            mcc_mnc: mcc_mnc.into(),
            gid1: group(&self.gid1)?.map(Into::into),
            gid2: group(&self.gid2)?.map(Into::into),
        })
    }
}
