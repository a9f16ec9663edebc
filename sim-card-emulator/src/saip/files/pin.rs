//! PIN and PUK codes of a profile.

use std::fmt;

use rsp_common::der::Tlv;

/// A PIN.
#[derive(Clone, Eq, PartialEq)]
pub struct Pin {
    /// Key reference: 1 to 8 for the PIN of an application, `81` to `88` for its second one.
    pub reference: u8,
    /// Eight octets, filled up with FF.
    pub value: Vec<u8>,
    /// Whether it is asked for.
    pub enabled: bool,
    /// How often it may be wrong.
    pub tries: u8,
    /// Key reference of the PUK that unblocks it.
    pub unblocking: Option<u8>,
}

/// A PUK.
#[derive(Clone, Eq, PartialEq)]
pub struct Puk {
    /// Key reference.
    pub reference: u8,
    /// How often it may be wrong.
    pub tries: u8,
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin")
            .field("reference", &self.reference)
            .field("enabled", &self.enabled)
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Puk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Puk")
            .field("reference", &self.reference)
            .field("tries", &self.tries)
            .finish()
    }
}

/// The codes of a PE-PINCodes; none when they are shared with another directory.
pub(super) fn pins(parts: &[Tlv<'_>]) -> Vec<Pin> {
    let list = parts
        .iter()
        .find(|part| part.tag == 0xA1)
        .and_then(Tlv::children);
    let list = list.and_then(|choice| choice.first()?.children());
    list.unwrap_or_default().iter().filter_map(pin).collect()
}

/// The codes of a PE-PUKCodes.
pub(super) fn puks(parts: &[Tlv<'_>]) -> Vec<Puk> {
    let list = parts
        .iter()
        .find(|part| part.tag == 0xA1)
        .and_then(Tlv::children);
    list.unwrap_or_default().iter().filter_map(puk).collect()
}

fn pin(configuration: &Tlv<'_>) -> Option<Pin> {
    let parts = configuration.children()?;
    let attributes = last_octet(&parts, 0x83).unwrap_or(DEFAULT_ATTRIBUTES);
    let value = parts.iter().find(|part| part.tag == 0x81)?.value;
    (value.len() == 8).then_some(())?;
    Some(Pin {
        reference: last_octet(&parts, 0x80)?,
        value: value.to_vec(),
        enabled: attributes & ENABLED != 0,
        tries: last_octet(&parts, 0x84).unwrap_or(DEFAULT_PIN_TRIES) & 0x0F,
        unblocking: last_octet(&parts, 0x82),
    })
}

fn puk(configuration: &Tlv<'_>) -> Option<Puk> {
    let parts = configuration.children()?;
    Some(Puk {
        reference: last_octet(&parts, 0x80)?,
        tries: last_octet(&parts, 0x82).unwrap_or(DEFAULT_PUK_TRIES) & 0x0F,
    })
}

/// The value of a small INTEGER.
fn last_octet(parts: &[Tlv<'_>], tag: u32) -> Option<u8> {
    parts
        .iter()
        .find(|part| part.tag == tag)?
        .value
        .last()
        .copied()
}

/// Bit 1 of pinAttributes: the PIN is enabled from the start.
const ENABLED: u8 = 0x01;
const DEFAULT_ATTRIBUTES: u8 = 7;
const DEFAULT_PIN_TRIES: u8 = 0x33;
const DEFAULT_PUK_TRIES: u8 = 0xAA;
