//! Making profiles of our own.

use es10_apdu::tlv::encode as tlv;
use rsp_common::der::unsigned;

use super::content::{Content, Subscriber};
use super::{
    Iccid, Imsi, Metadata, NotificationEvent, PolicyRule, Profile, ProfileClass, ProfileOwner,
};

/// Makes a valid profile: header, files and codes as wished for, optional filler, end.
#[derive(Clone, Debug)]
pub struct ProfileBuilder {
    metadata: Metadata,
    imsi: Imsi,
    content: Content,
    size: usize,
    ppk: bool,
}

impl ProfileBuilder {
    pub(super) fn new(iccid: Iccid) -> Self {
        let name = format!("Test profile {}", iccid.last_digits());
        Self {
            metadata: Metadata::new(iccid.clone(), "Example Mobile".to_owned(), name),
            imsi: Imsi::of(&iccid),
            content: Content::default(),
            size: 0,
            ppk: false,
        }
    }

    /// Names the profile: the metadata's profileName and the header's profileType.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.metadata.profile_name = name.into();
        self
    }

    /// Names the service provider, which is the name of the network in EF.SPN too.
    pub fn service_provider(mut self, name: impl Into<String>) -> Self {
        self.metadata.service_provider = name.into();
        self
    }

    /// Chooses the subscriber; [`Imsi::of`] the ICCID by default.
    pub fn imsi(mut self, imsi: Imsi) -> Self {
        self.imsi = imsi;
        self
    }

    /// How much of a real profile there is in the package.
    pub fn content(mut self, content: Content) -> Self {
        self.content = content;
        self
    }

    /// Makes it a test or provisioning profile.
    pub fn class(mut self, class: ProfileClass) -> Self {
        self.metadata.class = class;
        self
    }

    /// Binds the user by rules, which need an owner the eUICC allows them to.
    pub fn policy_rules(mut self, rules: impl Into<Vec<PolicyRule>>) -> Self {
        self.metadata.policy_rules = rules.into();
        self
    }

    /// Names the operator the profile belongs to.
    pub fn owner(mut self, owner: ProfileOwner) -> Self {
        self.metadata.owner = Some(owner);
        self
    }

    /// Shows a picture, a PNG; [`icon`](fn@super::icon) makes one.
    pub fn icon(mut self, png: impl Into<Vec<u8>>) -> Self {
        self.metadata.icon = png.into();
        self
    }

    /// Reports these events, in this order, to `address` or else to the SM-DP+.
    pub fn notifications(
        mut self,
        events: impl Into<Vec<NotificationEvent>>,
        address: Option<&str>,
    ) -> Self {
        self.metadata.notification_events = events.into();
        self.metadata.notification_address = address.map(str::to_owned);
        self
    }

    /// Fills the package up to this many bytes with nonStandard elements, which a card may skip.
    ///
    /// The result can be up to [`FILLER_SLACK`] bytes shorter, never longer unless what must be in
    /// it is.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// Protects the package with keys of its own.
    pub fn ppk(mut self) -> Self {
        self.ppk = true;
        self
    }

    /// Builds the package and its metadata.
    pub fn build(self) -> Profile {
        let header = tlv(
            0xA0,
            &[
                tlv(0x80, &[2]),
                tlv(0x81, &[3]),
                tlv(0x82, self.metadata.profile_name.as_bytes()),
                tlv(0x83, &self.metadata.iccid.in_reading_order()),
                tlv(0xA5, &[tlv(0x81, &[]), tlv(0x84, &[])].concat()),
                tlv(0xA6, &self.content.templates()),
            ]
            .concat(),
        );
        let mut package = header;
        let mut identification = 1;
        let elements = self.content.elements(&Subscriber {
            iccid: &self.metadata.iccid,
            imsi: &self.imsi,
            network: &self.metadata.service_provider,
        });
        for element in elements {
            package.extend(element);
            identification += 1;
        }
        while let Some(element) = self.filler(package.len(), identification) {
            package.extend(element);
            identification += 1;
        }
        package.extend(end(identification));
        Profile {
            package,
            metadata: self.metadata,
            ppk: self.ppk,
        }
    }

    /// One more nonStandard element, when there is room for it before the end element.
    fn filler(&self, length: usize, identification: u16) -> Option<Vec<u8>> {
        let room = self.size.checked_sub(length + end(identification).len())?;
        // One element stays below 16 kB so that a card needs no more buffer than for a real one.
        // 24 bytes hold everything of an element but its content.
        let most = room.min(16_384).checked_sub(SMALLEST_FILLER)?;
        (0..=most)
            .rev()
            .map(|content| non_standard(identification, content))
            .find(|element| element.len() <= room)
    }
}

/// How many bytes a filled package can miss of the size asked for.
pub const FILLER_SLACK: usize = SMALLEST_FILLER + 4;

/// Bytes a nonStandard element needs besides its content, at least.
const SMALLEST_FILLER: usize = 13;

/// The element that only its issuer (here 2.999, the example arc) has to understand.
fn non_standard(identification: u16, content: usize) -> Vec<u8> {
    let content: Vec<u8> = (0..=250).cycle().take(content).collect();
    tlv(
        0xA9,
        &[
            tlv(0xA0, &unsigned(0x81, identification.into())),
            tlv(0x81, &[0x88, 0x37]),
            tlv(0x82, &content),
        ]
        .concat(),
    )
}

fn end(identification: u16) -> Vec<u8> {
    let header = [tlv(0x80, &[]), unsigned(0x81, identification.into())].concat();
    tlv(0xAA, &tlv(0xA0, &header))
}
