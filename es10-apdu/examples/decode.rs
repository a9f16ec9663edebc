//! Explains an ES10 response given in hex: `cargo run -p es10-apdu --example decode -- BF3E125A10…`
//!
//! Blanks in the hex are ignored and a status word at the end is understood. Exits with 0 when the
//! response could be read, with 1 when it could not, with 2 when it is no hex.

use std::fmt::Debug;
use std::io::{Write, stdout};
use std::process::ExitCode;

use es10_apdu::apdu::StatusWord;
use es10_apdu::asn1::{self, CodecError, Extensible, List, Unreadable};
use es10_apdu::bpp::BoundProfilePackage;
use es10_apdu::es10a::*;
use es10_apdu::es10b::*;
use es10_apdu::es10c::*;
use es10_apdu::function::Es10Function;
use es10_apdu::tlv::{Tlv, TlvError, Tree};
use es10_apdu::types::Eid;

fn main() -> ExitCode {
    let hex: String = std::env::args()
        .skip(1)
        .flat_map(|part| part.chars().collect::<Vec<_>>())
        .filter(|character| !character.is_whitespace())
        .collect();
    let bytes = match hex::decode(&hex) {
        Ok(bytes) if !bytes.is_empty() => bytes,
        _ => {
            eprintln!("usage: decode HEX    an ES10 response, for example BF3E125A10…");
            return ExitCode::from(2);
        }
    };
    match explain(&bytes) {
        Ok(explanation) => {
            // The reader that closes the pipe, such as `head`, has seen enough.
            let _ = writeln!(stdout(), "{explanation}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cannot be read: {error}");
            ExitCode::FAILURE
        }
    }
}

fn explain(bytes: &[u8]) -> Result<String, CodecError> {
    if let (16, Ok(eid)) = (bytes.len(), Eid::from_octets(bytes)) {
        return Ok(format!(
            "the EID {eid} without a header, as GET DATA to the ECASD gives it"
        ));
    }
    let (tlv, rest) = Tlv::read(bytes)?;
    let status = match *rest {
        [] => String::new(),
        [sw1, sw2] => format!(
            "status word {}\n",
            StatusWord(u16::from_be_bytes([sw1, sw2]))
        ),
        _ => return Err(TlvError::Trailing { len: rest.len() }.into()),
    };
    let answer = tlv.encoding;
    let text = match tlv.tag {
        0xBF20 => function::<GetEuiccInfo1Request>(answer)?,
        0xBF21 => function::<PrepareDownloadRequest>(answer)?,
        0xBF22 => function::<GetEuiccInfo2Request>(answer)?,
        0xBF23 => structure::<InitialiseSecureChannelRequest>(answer)?,
        0xBF25 => structure::<StoreMetadataRequest>(answer)?,
        0xBF27 => structure::<ProfileInstallationResultData>(answer)?,
        0xBF28 => {
            listed::<ListNotificationRequest>(answer, |response: &ListNotificationResponse| {
                match response {
                    ListNotificationResponse::NotificationMetadataList(list) => unreadable(list),
                    ListNotificationResponse::ListNotificationsResultError(_) => Vec::new(),
                }
            })?
        }
        0xBF29 => function::<SetNicknameRequest>(answer)?,
        0xBF2B => listed::<RetrieveNotificationsListRequest>(
            answer,
            |response: &RetrieveNotificationsListResponse| match response {
                RetrieveNotificationsListResponse::NotificationList(list) => unreadable(list),
                RetrieveNotificationsListResponse::NotificationsListResultError(_) => Vec::new(),
            },
        )?,
        0xBF2D => {
            listed::<ProfileInfoListRequest>(answer, |response: &ProfileInfoListResponse| {
                match response {
                    ProfileInfoListResponse::ProfileInfoListOk(list) => unreadable(list),
                    ProfileInfoListResponse::ProfileInfoListError(_) => Vec::new(),
                }
            })?
        }
        0xBF2E => function::<GetEuiccChallengeRequest>(answer)?,
        0xBF2F => structure::<NotificationMetadata>(answer)?,
        0xBF30 => function::<NotificationSentRequest>(answer)?,
        0xBF31 => function::<EnableProfileRequest>(answer)?,
        0xBF32 => function::<DisableProfileRequest>(answer)?,
        0xBF33 => function::<DeleteProfileRequest>(answer)?,
        0xBF34 => function::<EuiccMemoryResetRequest>(answer)?,
        0xBF36 => package(answer)?,
        0x30 if tlv.child(0xBF2F).is_none() => String::from("an X.509 certificate\n"),
        0x30 | 0xBF37 => structure::<PendingNotification>(answer)?,
        0xBF38 => function::<AuthenticateServerRequest>(answer)?,
        0xBF3C => function::<EuiccConfiguredAddressesRequest>(answer)?,
        0xBF3E => function::<GetEuiccDataRequest>(answer)?,
        0xBF3F => function::<SetDefaultDpAddressRequest>(answer)?,
        0xBF35 => function::<LoadCrlRequest>(answer)?,
        0xBF41 => function::<CancelSessionRequest>(answer)?,
        0xBF43 => function::<GetRatRequest>(answer)?,
        tag => format!("{tag:X} is no tag of an ES10 function lpad uses\n"),
    };
    Ok(format!("{text}\n{}{status}", Tree(answer)))
}

fn function<F: Es10Function>(answer: &[u8]) -> Result<String, CodecError>
where
    F::Response: Debug,
{
    let response = F::response(answer)?;
    Ok(format!(
        "{}, SGP.22 v2.5 section {}\n{response:#?}\n",
        F::NAME,
        F::SECTION
    ))
}

fn structure<T: Extensible + Debug>(answer: &[u8]) -> Result<String, CodecError> {
    Ok(format!("{:#?}\n", asn1::read::<T>(answer)?))
}

/// An answer that is a list: what could not be read of it is said, and is a failure.
fn listed<F: Es10Function>(
    answer: &[u8],
    unreadable: impl Fn(&F::Response) -> Vec<Unreadable>,
) -> Result<String, CodecError>
where
    F::Response: Debug,
{
    let text = function::<F>(answer)?;
    match unreadable(&F::response(answer)?).into_iter().next() {
        None => Ok(text),
        Some(element) => {
            eprintln!("{text}element {} cannot be read", element.index);
            Err(element.error)
        }
    }
}

fn unreadable<T>(list: &List<T>) -> Vec<Unreadable> {
    list.unreadable.clone()
}

fn package(answer: &[u8]) -> Result<String, CodecError> {
    let package = BoundProfilePackage::cut(answer).map_err(|error| CodecError::Decode {
        type_name: "BoundProfilePackage",
        cause: error.to_string(),
    })?;
    let mut text =
        String::from("a Bound Profile Package; the segments LoadBoundProfilePackage sends:\n");
    for segment in package.segments() {
        text += &format!("{:?}, {} octets\n", segment.part, segment.bytes.len());
    }
    Ok(text)
}
