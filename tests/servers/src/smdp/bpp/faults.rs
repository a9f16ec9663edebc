//! What can be wrong with a bound profile package.

use es10_apdu::tlv::{self, Children, Tlv, encode as tlv};

use super::{Binding, profile_keys};
use crate::rsp::names::{Value, named};

named! {
    /// One thing wrong with a bound profile package, or only unusual about it.
    ///
    /// What is signed or protected around it is right, so that the eUICC finds just this.
    /// SGP.22 v2.5 sections 2.5 and 5.5.
    pub enum PackageFault as "package fault" {
        /// Flips the last bit of the MAC of one protected TLV: 87:1 is ConfigureISDP, 88:n a piece
        /// of StoreMetadata, 86:n a piece of the profile, 87:2 ReplaceSessionKeys.
        "flipped-mac" => FlippedMac(piece: Piece),
        /// Leaves out the 80 the padding of one encrypted TLV begins with; its MAC is right.
        "wrong-padding" => WrongPadding(piece: Piece),
        /// Does not raise the block counter behind one protected TLV.
        "counter-not-raised" => CounterNotRaised(piece: Piece),
        /// Sends one protected TLV twice.
        "repeated-piece" => RepeatedPiece(piece: Piece),
        /// Puts another protected TLV behind the last one of the profile.
        "extra-piece" => ExtraPiece,
        /// Protects so many octets of the profile in one TLV, 1007 being the most that is allowed:
        /// 1008 makes TLVs of 1036 octets, 991 those of 1004 that some servers send.
        "piece-size" => PieceSize(octets: usize),
        /// Cuts StoreMetadata into pieces of so many octets, 1008 being the most that is allowed.
        "metadata-pieces" => MetadataPieces(octets: usize),
        /// Names this remote operation, as an INTEGER's octets, instead of 01.
        "remote-operation" => RemoteOperation(octets: Vec<u8>),
        /// Names this key type instead of 88, AES.
        "key-type" => KeyType(octets: Vec<u8>),
        /// Names this key length instead of 10, 16 octets.
        "key-length" => KeyLength(octets: Vec<u8>),
        /// Names this host identifier, which 1 to 16 octets long should be, instead of its own.
        "host-id" => HostId(octets: Vec<u8>),
        /// Sends a one-time key that is no point of the curve.
        "off-curve-key" => OffCurveKey,
        /// Puts these contents into ConfigureISDP instead of none.
        "configure-isdp" => ConfigureIsdp(octets: Vec<u8>),
        /// Says something else in StoreMetadata than in the metadata offered: iccid, rules, owner,
        /// class, explicit-class (operational written down), provider, name or icon.
        "metadata" => Metadata(field: MetadataField),
        /// Has another ICCID in the header of the profile than in StoreMetadata.
        "header-iccid" => HeaderIccid,
        /// Puts an element into the profile that must be understood and that no card knows.
        "unknown-element" => UnknownElement,
        /// Leaves out the last element of the profile.
        "missing-end" => MissingEnd,
        /// Protects the profile with keys of its own, whatever the order says.
        "profile-keys" => ProfileKeys,
        /// Protects the profile with the session's keys, whatever the order says.
        "session-keys" => SessionKeys,
        /// Protects the profile with keys of its own and names another initial MAC chaining value.
        "wrong-chaining-value" => WrongChainingValue,
        /// Protects the profile with keys of its own, of which the MAC's is an octet short.
        "short-profile-key" => ShortProfileKey,
        /// Lets two parts change places: A0:A1, BF23:A0, A1:A3.
        "swapped" => Swapped(parts: TagPair),
        /// Leaves out a part: BF23, A0, A1, A2 or A3.
        "missing" => Missing(part: Tag),
        /// Puts a part with this unknown tag before A3.
        "unknown-part" => UnknownPart(tag: Tag),
        /// Writes the lengths behind this tag (BF36, BF23, A0 to A3, 86, 87 or 88) with an octet
        /// more than needed; the MAC is right.
        "long-length" => LongLength(tag: Tag),
        /// Announces so many octets more in the length of the package than there are, or less.
        "announced" => Announced(octets: i64),
        /// Leaves out so many octets at the end.
        "truncated" => Truncated(octets: usize),
        /// Puts so many octets 00 behind the package.
        "trailing" => Trailing(octets: usize),
    }
}

impl PackageFault {
    /// Moves the parts about.
    pub(super) fn rearrange(&self, parts: &mut Vec<(u32, Vec<u8>)>) {
        let place = |parts: &[(u32, Vec<u8>)], tag: Tag| {
            parts.iter().position(|(found, _)| *found == tag.0)
        };
        match self {
            Self::Swapped(TagPair(one, other)) => {
                if let (Some(one), Some(other)) = (place(parts, *one), place(parts, *other)) {
                    parts.swap(one, other);
                }
            }
            Self::Missing(tag) => parts.retain(|(found, _)| *found != tag.0),
            Self::UnknownPart(tag) => {
                let before = place(parts, Tag(0xA3)).unwrap_or(parts.len());
                parts.insert(before, (tag.0, tlv(0x87, &[0; 16])));
            }
            _ => {}
        }
    }

    /// The length BF36 announces.
    pub(super) fn announced(&self, length: usize) -> usize {
        match self {
            Self::Announced(more) => {
                length.saturating_add_signed(isize::try_from(*more).unwrap_or_default())
            }
            _ => length,
        }
    }

    /// Takes octets off the end, or puts some there.
    pub(super) fn cut(&self, package: &mut Vec<u8>) {
        match self {
            Self::Truncated(octets) => package.truncate(package.len().saturating_sub(*octets)),
            Self::Trailing(octets) => package.extend(vec![0; (*octets).min(MAX_TRAILING)]),
            _ => {}
        }
    }
}

impl Binding {
    /// The binding with the fault in what is protected.
    pub(super) fn altered(&self, fault: &PackageFault) -> Self {
        let mut binding = self.clone();
        match fault {
            PackageFault::Metadata(field) => binding.metadata = field.altered(&self.metadata),
            PackageFault::HeaderIccid => {
                alter_iccid(&mut binding.package);
            }
            PackageFault::UnknownElement => {
                let end = start_of_end(&self.package);
                binding.package.splice(end..end, unknown_element());
            }
            PackageFault::MissingEnd => binding.package.truncate(start_of_end(&self.package)),
            PackageFault::ProfileKeys
            | PackageFault::ShortProfileKey
            | PackageFault::WrongChainingValue => {
                binding.profile_keys.get_or_insert_with(profile_keys);
            }
            PackageFault::SessionKeys => binding.profile_keys = None,
            _ => {}
        }
        binding
    }
}

/// Tag and length, with an octet more than needed when the fault says so.
pub(super) fn header(fault: Option<&PackageFault>, tag: u32, length: usize) -> Vec<u8> {
    let header = tlv::header(tag, length);
    if fault != Some(&PackageFault::LongLength(Tag(tag))) {
        return header;
    }
    let octets = length.to_be_bytes();
    let needed = octets.len() - octets.iter().take_while(|octet| **octet == 0).count();
    // The short form becomes 81 and one octet, any other gets a leading zero.
    let long = if length < 0x80 { 1 } else { needed + 1 };
    let tag_length = header.len() - if length < 0x80 { 1 } else { 1 + needed };
    let mut header = header[..tag_length].to_vec();
    header.extend((0x81..).nth(long - 1));
    header.extend(&octets[octets.len() - long..]);
    header
}

/// Gives the profile another ICCID by its last digit: the octets stand behind tag 83.
fn alter_iccid(package: &mut [u8]) {
    let place = Tlv::read(package).ok().and_then(|(header, _)| {
        let iccid = header.child(0x83)?;
        Some(iccid.contents.as_ptr() as usize - package.as_ptr() as usize)
    });
    if let Some(octet) = place.and_then(|place| package.get_mut(place + 8)) {
        *octet ^= 0x10;
    }
}

/// Where the last element of a profile begins.
fn start_of_end(package: &[u8]) -> usize {
    let last = Children::of(package).map_while(Result::ok).last();
    last.map_or(package.len(), |last| package.len() - last.encoding.len())
}

/// An element of an unknown tag with the flag "mandated" and a number of its own.
fn unknown_element() -> Vec<u8> {
    let header = [tlv(0x80, &[]), tlv(0x81, &[0x7F, 0xFF])].concat();
    tlv(0xBF7F, &tlv(0xA0, &header))
}

/// One protected TLV of a package: its tag and its number among those of this tag, from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Piece {
    /// 86, 87 or 88.
    pub tag: u8,
    /// Which one.
    pub number: usize,
}

impl Value for Piece {
    const EXPECTED: &'static str = "86, 87 or 88, a colon and a number from 1, such as 86:2";

    fn parse(text: &str) -> Option<Self> {
        let (tag, number) = text.split_once(':')?;
        let tag = u8::from_str_radix(tag, 16).ok();
        Some(Self {
            tag: tag.filter(|tag| matches!(tag, 0x86..=0x88))?,
            number: number.parse().ok().filter(|number| *number > 0)?,
        })
    }

    fn show(&self) -> String {
        format!("{:X}:{}", self.tag, self.number)
    }
}

/// A tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tag(pub u32);

impl Value for Tag {
    const EXPECTED: &'static str = "a tag in hexadecimal digits";

    fn parse(text: &str) -> Option<Self> {
        u32::from_str_radix(text, 16).ok().map(Self)
    }

    fn show(&self) -> String {
        format!("{:X}", self.0)
    }
}

/// Two tags.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TagPair(pub Tag, pub Tag);

impl Value for TagPair {
    const EXPECTED: &'static str = "two tags in hexadecimal digits with a colon between them";

    fn parse(text: &str) -> Option<Self> {
        let (one, other) = text.split_once(':')?;
        Some(Self(Tag::parse(one)?, Tag::parse(other)?))
    }

    fn show(&self) -> String {
        format!("{}:{}", self.0.show(), self.1.show())
    }
}

/// What StoreMetadata can say differently.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MetadataField {
    /// iccid: another digit.
    Iccid,
    /// profilePolicyRules: with PPR2 where there were none, none where there were some.
    Rules,
    /// profileOwner: the network 001-01, or none where it was that.
    Owner,
    /// profileClass: provisioning.
    Class,
    /// profileClass: operational, written down although it is the default.
    ExplicitClass,
    /// serviceProviderName
    Provider,
    /// profileName
    Name,
    /// icon: a PNG of eight octets, or none where there was one.
    Icon,
}

impl MetadataField {
    const ALL: [(&'static str, Self); 8] = [
        ("iccid", Self::Iccid),
        ("rules", Self::Rules),
        ("owner", Self::Owner),
        ("class", Self::Class),
        ("explicit-class", Self::ExplicitClass),
        ("provider", Self::Provider),
        ("name", Self::Name),
        ("icon", Self::Icon),
    ];

    /// StoreMetadata with this field different.
    fn altered(self, metadata: &[u8]) -> Vec<u8> {
        let Ok(metadata) = Tlv::exactly(metadata) else {
            return metadata.to_vec();
        };
        let owner = tlv(0x80, &[0x00, 0xF1, 0x10]);
        let contents = |tag| metadata.child(tag).map(|field| field.contents.to_vec());
        let (tag, value) = match self {
            Self::Iccid => (0x5A, contents(0x5A).map(|iccid| last_digit(iccid, 8, 0x10))),
            Self::Rules => (0x99, none_or(contents(0x99), vec![0x05, 0x20])),
            Self::Owner => (
                0xB7,
                Some(owner.clone()).filter(|_| contents(0xB7) != Some(owner)),
            ),
            Self::Class => (0x95, Some(vec![0x01])),
            Self::ExplicitClass => (0x95, Some(vec![0x02])),
            Self::Provider => (0x91, Some(b"Another provider".to_vec())),
            Self::Name => (0x92, Some(b"Another profile".to_vec())),
            Self::Icon => (0x94, none_or(contents(0x94), PNG.to_vec())),
        };
        let mut fields: Vec<(u32, Vec<u8>)> = metadata
            .children()
            .map_while(Result::ok)
            .filter(|field| field.tag != tag && !(self == Self::Icon && field.tag == 0x93))
            .map(|field| (field.tag, field.encoding.to_vec()))
            .collect();
        if let Some(value) = value {
            if self == Self::Icon {
                fields.push((0x93, tlv(0x93, &[1])));
            }
            fields.push((tag, tlv(tag, &value)));
        }
        fields.sort_by_key(|(tag, _)| FIELD_ORDER.iter().position(|field| field == tag));
        let fields: Vec<_> = fields.into_iter().map(|(_, field)| field).collect();
        tlv(0xBF25, &fields.concat())
    }
}

impl Value for MetadataField {
    const EXPECTED: &'static str =
        "iccid, rules, owner, class, explicit-class, provider, name or icon";

    fn parse(text: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text)?;
        Some(found.1)
    }

    fn show(&self) -> String {
        let found = Self::ALL.iter().find(|(_, field)| field == self);
        found.map_or_else(String::new, |(name, _)| (*name).to_owned())
    }
}

/// Nothing where there was something.
fn none_or(found: Option<Vec<u8>>, other: Vec<u8>) -> Option<Vec<u8>> {
    found.is_none().then_some(other)
}

fn last_digit(mut octets: Vec<u8>, place: usize, bit: u8) -> Vec<u8> {
    if let Some(octet) = octets.get_mut(place) {
        *octet ^= bit;
    }
    octets
}

/// The order of the fields of StoreMetadata.
const FIELD_ORDER: [u32; 9] = [0x5A, 0x91, 0x92, 0x93, 0x94, 0x95, 0xB6, 0xB7, 0x99];
/// The signature every PNG begins with.
const PNG: [u8; 8] = [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A];
const MAX_TRAILING: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_package_can_be_written_down() {
        let values = [
            ("piece", "86:2"),
            ("octets", "12"),
            ("field", "explicit-class"),
            ("parts", "BF23:A0"),
            ("part", "A1"),
            ("tag", "BF36"),
        ];
        for name in PackageFault::NAMES {
            let value = values.iter().find(|(kind, _)| name.value == Some(kind));
            assert_eq!(value.is_some(), name.value.is_some(), "{name}");
            let text = match value {
                Some((_, value)) => format!("{}={value}", name.name),
                None => name.name.to_owned(),
            };
            assert_eq!(text.parse::<PackageFault>().unwrap().to_string(), text);
        }
        for wrong in [
            "flipped-mac=85:1",
            "flipped-mac=86:0",
            "missing=XY",
            "metadata=colour",
        ] {
            assert!(wrong.parse::<PackageFault>().is_err(), "{wrong}");
        }
    }
}
