//! Which ES10 function an STORE DATA command calls.

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::{Extensible, encode, read};
use es10_apdu::types::RspCapability;
use rasn::Encode;
use rsp_common::der::Header;

use super::{Env, Euicc};

/// The interface a function belongs to; a terminal offers each of them or not (section 5.7.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Interface {
    /// Of the LDSd and the LUId: addresses.
    Es10a,
    /// Of the LPDd: downloads and notifications.
    Es10b,
    /// Of the LUId: profiles and the card itself.
    Es10c,
}

impl Euicc {
    /// Calls the function whose request the blocks hold; the answer is the response's TLV.
    pub(super) fn call(
        &mut self,
        channel: u8,
        data: &[u8],
        env: &mut dyn Env,
    ) -> Result<Vec<u8>, StatusWord> {
        let tag = Header::parse(data).map(|header| header.tag);
        if self.session.is_loading_on(channel) && !tag.is_some_and(is_function) {
            self.last_function = tag;
            if let Some(answer) = tag.and_then(|tag| self.take_forced(tag)) {
                return self.answer_segment(answer);
            }
            return Ok(self.load_segment(data));
        }
        let tag = tag.ok_or(StatusWord::INCORRECT_DATA)?;
        self.last_function = Some(tag);
        if self.session.is_loading_on(channel) && !matches!(tag, 0xBF2E | 0xBF41) {
            return Err(StatusWord::CONDITIONS_OF_USE);
        }
        let interface = interface(tag).ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
        self.check_interface(interface)?;
        if let Some(answer) = self.take_forced(tag) {
            return self.answer_forced(tag, data, answer);
        }
        match tag {
            0xBF20 => self.euicc_info1(request(data)?),
            0xBF21 => self.prepare_download(request(data)?, env),
            0xBF22 => self.euicc_info2(request(data)?),
            0xBF28 => self.list_notification(request(data)?),
            0xBF29 => self.set_nickname(request(data)?),
            0xBF2B => self.retrieve_notifications_list(request(data)?),
            0xBF2D => self.profiles_info(request(data)?),
            0xBF2E => self.euicc_challenge(request(data)?, env),
            0xBF30 => self.remove_notification(request(data)?),
            0xBF31 => self.enable_profile(request(data)?),
            0xBF32 => self.disable_profile(request(data)?),
            0xBF33 => self.delete_profile(request(data)?),
            0xBF34 => self.memory_reset(request(data)?),
            0xBF35 if self.supports_crl() => self.load_crl(request(data)?),
            0xBF36 => self.begin_loading(channel, data),
            0xBF38 if self.takes_extensions() => self.authenticate_server(extended(data)?, data),
            0xBF38 => self.authenticate_server(request(data)?, data),
            0xBF3C => self.configured_addresses(request(data)?),
            0xBF3E => self.euicc_data(request(data)?),
            0xBF3F if self.settings.v3_answers => {
                self.set_default_dp_address(extended(data)?, data)
            }
            0xBF3F => self.set_default_dp_address(request(data)?, data),
            0xBF41 => self.cancel_session(request(data)?),
            0xBF43 => self.rat(request(data)?),
            _ => Err(StatusWord::REFERENCED_DATA_NOT_FOUND),
        }
    }

    /// Whether the device may tell more of itself than the first versions knew.
    fn takes_extensions(&self) -> bool {
        let extensible = RspCapability::DEVICE_INFO_EXTENSIBILITY_SUPPORT;
        self.settings.v3_answers || self.settings.rsp_capability.contains(extensible)
    }
}

/// Which interface a function belongs to; none when there is no such function.
pub(super) fn interface(tag: u32) -> Option<Interface> {
    match tag {
        0xBF3C | 0xBF3F => Some(Interface::Es10a),
        0xBF20..=0xBF22
        | 0xBF28
        | 0xBF2B
        | 0xBF2E
        | 0xBF30
        | 0xBF35
        | 0xBF36
        | 0xBF38
        | 0xBF41
        | 0xBF43 => Some(Interface::Es10b),
        0xBF29 | 0xBF2D | 0xBF31..=0xBF34 | 0xBF3E => Some(Interface::Es10c),
        _ => None,
    }
}

/// Whether the tag looks like an ES10 function, not like a part of a package.
fn is_function(tag: u32) -> bool {
    (0xBF20..=0xBF7F).contains(&tag)
}

/// Decodes a request in which there may be data objects of later versions.
fn extended<T: Extensible>(data: &[u8]) -> Result<T, StatusWord> {
    read(data).map_err(|_| StatusWord::INCORRECT_DATA)
}

/// Decodes a request. What is not the one DER coding of a request this card knows is refused:
/// an LPA has no reason to send anything else.
fn request<T: Encode + Extensible>(data: &[u8]) -> Result<T, StatusWord> {
    let request = read(data).map_err(|_| StatusWord::INCORRECT_DATA)?;
    if encode(&request) == data {
        Ok(request)
    } else {
        Err(StatusWord::INCORRECT_DATA)
    }
}
