//! The profile elements a profile of our own is made of.

use es10_apdu::tlv::encode as tlv;
use rsp_common::der::unsigned;

use super::{Iccid, Imsi};

/// How much of a real profile is in a package.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Content {
    /// Header and end alone.
    Bare,
    /// ICCID and IMSI besides, for a modem to find the subscriber.
    #[default]
    Identity,
    /// A whole profile, as networks use them: codes, keys and a security domain too. A card that
    /// insists on whole profiles takes it.
    Whole,
}

impl Content {
    /// The templates the package uses, as eUICC-Mandatory-GFSTEList has them.
    pub(super) fn templates(self) -> Vec<u8> {
        match self {
            Self::Bare => Vec::new(),
            Self::Identity | Self::Whole => {
                let oids = [MF_TEMPLATE, USIM_TEMPLATE].map(|number| tlv(0x06, &template(number)));
                oids.concat()
            }
        }
    }

    /// The elements between header and end; each gets the next identification.
    pub(super) fn elements(self, subscriber: &Subscriber<'_>) -> Vec<Vec<u8>> {
        let parts: Vec<(u32, Vec<u8>)> = match self {
            Self::Bare => Vec::new(),
            Self::Identity => vec![master_file(subscriber.iccid), usim(subscriber)],
            Self::Whole => vec![
                master_file(subscriber.iccid),
                puk_codes(),
                global_pins(),
                usim(subscriber),
                local_pin(),
                authentication(),
                security_domain(),
            ],
        };
        (1..)
            .zip(parts)
            .map(|(number, (tag, part))| element(tag, number, &part))
            .collect()
    }
}

/// What the files of a profile are about.
pub(super) struct Subscriber<'a> {
    pub(super) iccid: &'a Iccid,
    pub(super) imsi: &'a Imsi,
    /// The name of the network in EF.SPN.
    pub(super) network: &'a str,
}

fn element(tag: u32, identification: u16, content: &[u8]) -> Vec<u8> {
    let header = [tlv(0x80, &[]), unsigned(0x81, identification.into())].concat();
    tlv(tag, &[&tlv(0xA0, &header), content].concat())
}

fn master_file(iccid: &Iccid) -> (u32, Vec<u8>) {
    let label = tlv(0x50, b"USIM");
    let application = tlv(0x61, &[tlv(0x4F, &USIM_AID), label].concat());
    let files = [
        tlv(0x81, &template(MF_TEMPLATE)),
        // The directory itself: access rules, and the codes that are valid in it.
        file(
            2,
            &[tlv(0x8B, &[0x2F, 0x06, 0x01]), tlv(0xC6, &[0x01, 0x0A])],
            &[],
        ),
        file(4, &[], &iccid.swapped()),
        file(5, &records(38, 1), &application),
        file(6, &records(RULES.len(), 1), &RULES),
    ];
    (0xB0, files.concat())
}

fn usim(subscriber: &Subscriber<'_>) -> (u32, Vec<u8>) {
    // A name too long for the file is cut at a whole character.
    let mut name = subscriber.network;
    while name.len() > LONGEST_NETWORK_NAME {
        let cut = name.char_indices().next_back().map_or(0, |(at, _)| at);
        name = &name[..cut];
    }
    let access_class = 1_u16 << subscriber.imsi.last_digit();
    let application = [
        tlv(0x83, &[0x7F, 0xD0]),
        tlv(0x84, &USIM_AID),
        tlv(0x8B, &[0x2F, 0x06, 0x01]),
        tlv(0xC6, &[0x01, 0x81, 0x0A]),
    ];
    let files = [
        tlv(0x81, &template(USIM_TEMPLATE)),
        file(2, &application, &[]),
        file(3, &[], &subscriber.imsi.coded()),
        file(4, &records(RULES.len(), 1), &RULES),
        file(8, &[tlv(0x80, &[17])], &SERVICES),
        file(0x0D, &[], &[&[0x01], name.as_bytes()].concat()),
        file(0x0E, &[], &[0x00]),
        file(0x12, &[], &access_class.to_be_bytes()),
        file(0x15, &[], &[0x00, 0x00, 0x00, 0x02]),
        file(0x16, &records(4, 1), &[0x11, 0xF2, 0xFF, 0x00]),
    ];
    (0xB3, files.concat())
}

fn puk_codes() -> (u32, Vec<u8>) {
    let puk = |reference: u8, digit: u8| {
        let reference = unsigned(0x80, reference.into());
        tlv(0x30, &[reference, tlv(0x81, &[digit; 8])].concat())
    };
    (
        0xA3,
        tlv(0xA1, &[puk(0x01, b'1'), puk(0x81, b'2')].concat()),
    )
}

fn global_pins() -> (u32, Vec<u8>) {
    (
        0xA2,
        pins(&[
            pin(0x01, b"0000\xFF\xFF\xFF\xFF", Some(0x01)),
            pin(0x0A, b"88888888", None),
        ]),
    )
}

fn local_pin() -> (u32, Vec<u8>) {
    (
        0xA2,
        pins(&[pin(0x81, b"0000\xFF\xFF\xFF\xFF", Some(0x81))]),
    )
}

fn pins(configurations: &[Vec<u8>]) -> Vec<u8> {
    tlv(0xA1, &tlv(0xA0, &configurations.concat()))
}

/// A code that is not asked for until it is enabled.
fn pin(reference: u8, value: &[u8], unblocking: Option<u8>) -> Vec<u8> {
    let unblocking = unblocking.map(|reference| unsigned(0x82, reference.into()));
    let fields = [
        unsigned(0x80, reference.into()),
        tlv(0x81, value),
        unblocking.unwrap_or_default(),
        tlv(0x83, &[0x06]),
    ];
    tlv(0x30, &fields.concat())
}

/// Milenage with keys that are public.
fn authentication() -> (u32, Vec<u8>) {
    let parameters = [
        tlv(0x80, &[1]),
        tlv(0x81, &[1]),
        tlv(0x82, b"lpad test key Ki"),
        tlv(0x83, b"lpad test key Op"),
    ];
    (0xA4, tlv(0xA1, &tlv(0xA1, &parameters.concat())))
}

/// The operator's security domain.
fn security_domain() -> (u32, Vec<u8>) {
    let instance = [
        tlv(0x4F, &[0xA0, 0x00, 0x00, 0x01, 0x51, 0x53, 0x50]),
        tlv(0x4F, &[0xA0, 0x00, 0x00, 0x01, 0x51, 0x53, 0x50, 0x41]),
        tlv(0x4F, &[0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00]),
        tlv(0x82, &[0x82, 0xDC, 0x00]),
        tlv(0x83, &[0x0F]),
        tlv(0xC9, &[0x81, 0x02, 0x80, 0x00]),
    ];
    (0xA6, tlv(0xA1, &instance.concat()))
}

/// The component of an element that is a file: what is said of it, and what is in it.
fn file(number: u32, parameters: &[Vec<u8>], content: &[u8]) -> Vec<u8> {
    let parameters = match parameters {
        [] => Vec::new(),
        parameters => tlv(0xA1, &parameters.concat()),
    };
    let content = match content {
        [] => Vec::new(),
        content => tlv(0x83, content),
    };
    tlv(0xA0 | number, &[parameters, content].concat())
}

/// The parameters of a linear fixed file.
fn records(length: usize, count: usize) -> [Vec<u8>; 2] {
    let [.., high, low] = length.to_be_bytes();
    let size = (length * count).to_be_bytes();
    let leading = size.iter().take_while(|octet| **octet == 0).count();
    [
        tlv(0x82, &[0x42, 0x21, high, low]),
        tlv(0x80, &size[leading..]),
    ]
}

/// 2.23.143.1.2.n.
fn template(number: u8) -> [u8; 6] {
    [0x67, 0x81, 0x0F, 0x01, 0x02, number]
}

const MF_TEMPLATE: u8 = 1;
const USIM_TEMPLATE: u8 = 4;
const USIM_AID: [u8; 16] = [
    0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x03, 0x02, 0x00, 0x00,
];
/// Access rules: reading is always allowed, anything else never.
const RULES: [u8; 10] = [0x80, 0x01, 0x01, 0x90, 0x00, 0x80, 0x01, 0x5A, 0x97, 0x00];
/// EF.UST: the name of the network, and GSM access.
const SERVICES: [u8; 17] = [0, 0, 0x04, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// EF.SPN has 17 octets, the first of which says how the name is shown.
const LONGEST_NETWORK_NAME: usize = 16;
