//! What SELECT answers: file control parameters and information.

use es10_apdu::types::VersionType;
use rsp_common::der::{constructed, tlv};

use crate::saip::files::{Body, File, FileSystem, Pin};

/// The template of file control parameters, ETSI TS 102 221 section 11.1.1.3.
pub(super) fn file_control(files: &FileSystem, index: usize) -> Vec<u8> {
    let Some(file) = files.file(index) else {
        return Vec::new();
    };
    let identifier = tlv(0x83, &file.identifier.to_be_bytes());
    let life = tlv(0x8A, &[OPERATIONAL]);
    let access = tlv(0x8B, &file.access);
    let parts = match &file.body {
        Body::Directory { aid } => {
            let name = aid.as_ref().map(|aid| tlv(0x84, aid)).unwrap_or_default();
            let commands = match index {
                FileSystem::MASTER => tlv(0x87, &[TERMINAL_CAPABILITY_SUPPORTED]),
                _ => Vec::new(),
            };
            let proprietary = constructed(0xA5, &[tlv(0x80, &[CHARACTERISTICS]), commands]);
            let codes = pin_status(files.pins());
            vec![
                descriptor(file),
                identifier,
                name,
                proprietary,
                life,
                access,
                codes,
            ]
        }
        Body::Transparent(_) | Body::Records { .. } => {
            let short = file.short.map(|short| short << 3);
            let size = u16::try_from(file.content().len()).unwrap_or(u16::MAX);
            vec![
                descriptor(file),
                identifier,
                life,
                access,
                tlv(0x80, &size.to_be_bytes()),
                tlv(0x88, short.as_slice()),
            ]
        }
    };
    constructed(0x62, &parts)
}

/// What SELECT of the ISD-R answers: its AID, the longest data field, the version of SGP.22.
pub(super) fn application_control(aid: &[u8], svn: VersionType) -> Vec<u8> {
    let proprietary = tlv(0xA5, &tlv(0x9F65, &[0xFF]));
    let rsp = tlv(0xE0, &tlv(0x82, svn.octets()));
    constructed(0x6F, &[tlv(0x84, aid), proprietary, rsp])
}

fn descriptor(file: &File) -> Vec<u8> {
    match &file.body {
        Body::Directory { .. } => tlv(0x82, &[0x78, CODING]),
        Body::Transparent(_) => tlv(0x82, &[0x41, CODING]),
        Body::Records {
            cyclic,
            length,
            content,
        } => {
            let kind = if *cyclic { 0x46 } else { 0x42 };
            let octet = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
            let count = octet(content.len() / length.max(&1));
            tlv(0x82, &[kind, CODING, 0x00, octet(*length), count])
        }
    }
}

/// Which codes there are, and whether they are enabled.
fn pin_status(pins: &[Pin]) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut enabled = 0_u8;
    let mut references = Vec::new();
    for pin in pins {
        if seen.len() < 8 && !seen.contains(&pin.reference) {
            enabled |= u8::from(pin.enabled) << (7 - seen.len());
            seen.push(pin.reference);
            references.extend(tlv(0x83, &[pin.reference]));
        }
    }
    tlv(0xC6, &[tlv(0x90, &[enabled]), references].concat())
}

/// Life cycle status: operational, activated.
const OPERATIONAL: u8 = 0x05;
/// UICC characteristics: the clock may stop at either level, every class of supply voltage.
const CHARACTERISTICS: u8 = 0x71;
const TERMINAL_CAPABILITY_SUPPORTED: u8 = 0x01;
/// Data coding byte.
const CODING: u8 = 0x21;
