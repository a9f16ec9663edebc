//! InitialiseSecureChannel, the unprotected beginning of a package.

use es10_apdu::es10b::ErrorReason;
use rsp_common::bsp::{Bsp, BspKeys, KEY_LENGTH, KEY_TYPE_AES};
use rsp_common::der::{Header, Tlv};
use rsp_common::key::PublicKey;

use super::super::session::{Authenticated, Prepared};
use super::failure::Failure;

/// Checks the first segment in the order in which its errors are told apart, and agrees on keys.
pub(super) fn check(
    segment: &[u8],
    session: &Authenticated,
    prepared: &Prepared,
    eid: &[u8],
) -> Result<(Bsp, usize), Failure> {
    let structure = || Failure::from(ErrorReason::BSP_STRUCTURE_ERROR);
    let package = Header::parse(segment).ok_or_else(structure)?;
    let request = Tlv::exact(&segment[package.size..]).filter(|request| request.tag == 0xBF23);
    let request = request.ok_or_else(structure)?;
    let remaining = package
        .length
        .checked_sub(request.bytes.len())
        .ok_or_else(structure)?;
    let parts = request
        .children()
        .ok_or(ErrorReason::INCORRECT_INPUT_VALUES)?;
    let tags: Vec<u32> = parts.iter().map(|part| part.tag).collect();
    let [operation, transaction_id, template, one_time_key, signature] = parts[..] else {
        return Err(ErrorReason::INCORRECT_INPUT_VALUES.into());
    };
    if tags != [0x82, 0x80, 0xA6, 0x5F49, 0x5F37] {
        return Err(ErrorReason::INCORRECT_INPUT_VALUES.into());
    }
    if operation.value != [INSTALL_BOUND_PROFILE_PACKAGE] {
        return Err(ErrorReason::UNSUPPORTED_REMOTE_OPERATION_TYPE.into());
    }
    if transaction_id.value != session.transaction_id.octets() {
        return Err(ErrorReason::INVALID_TRANSACTION_ID.into());
    }
    let host_id = host_id(&template).ok_or(ErrorReason::UNSUPPORTED_CRT_VALUES)?;
    let server_key =
        PublicKey::from_point(one_time_key.value).ok_or(ErrorReason::INCORRECT_INPUT_VALUES)?;
    let secret = prepared.one_time_key.diffie_hellman(&server_key);
    let secret = secret.ok_or(ErrorReason::INCORRECT_INPUT_VALUES)?;
    let own_key = prepared.one_time_key.public_key().to_point();
    let message = [
        operation.bytes,
        transaction_id.bytes,
        template.bytes,
        one_time_key.bytes,
        &[0x5F, 0x49, 0x41],
        &own_key,
    ];
    if !prepared
        .binding_key
        .verifies(&message.concat(), signature.value)
    {
        return Err(ErrorReason::INVALID_SIGNATURE.into());
    }
    let eid = eid.try_into().map_err(|_| ErrorReason::UNKNOWN_ERROR)?;
    Ok((Bsp::new(BspKeys::derive(&secret, host_id, eid)), remaining))
}

/// The host identifier, when key type and length are the ones every eUICC has.
fn host_id<'a>(template: &Tlv<'a>) -> Option<&'a [u8]> {
    let parts = template.children()?;
    let [kind, length, host] = parts[..] else {
        return None;
    };
    let tags = (kind.tag, length.tag, host.tag) == (0x80, 0x81, 0x84);
    let values = (kind.value, length.value) == (&[KEY_TYPE_AES], &[KEY_LENGTH]);
    (tags && values && (1..=16).contains(&host.value.len())).then_some(host.value)
}

const INSTALL_BOUND_PROFILE_PACKAGE: u8 = 1;
