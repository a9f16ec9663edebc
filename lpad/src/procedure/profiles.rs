//! Local profile management: list, enable, disable, delete, name.
//!
//! Each function that changes something is sent once. After an error whose outcome is unknown, or
//! when a future was dropped, the caller reads the list before saying anything.

use es10_apdu::asn1::List;
use es10_apdu::es10c::{
    DeleteProfileRequest, DisableProfileRequest, EnableProfileRequest, ProfileIdentifier,
    ProfileInfo, ProfileInfoListRequest, ProfileInfoListResponse, SetNicknameRequest,
};
use es10_apdu::types::Iccid;

use super::{Card, FunctionError, accepted};
use crate::commit::Committed;

/// Lists the profiles. An error is never an empty list.
pub async fn list(card: &mut impl Card) -> Result<List<ProfileInfo>, FunctionError> {
    match card.call(&ProfileInfoListRequest::all_but_icons()).await? {
        ProfileInfoListResponse::ProfileInfoListOk(profiles) => Ok(profiles),
        ProfileInfoListResponse::ProfileInfoListError(error) => Err(FunctionError::refused::<
            ProfileInfoListRequest,
        >(error.0, &error)),
    }
}

/// Enables a profile. With `refresh` the switch happens when the modem acts on the REFRESH.
pub async fn enable(
    card: &mut impl Card,
    iccid: Iccid,
    refresh: bool,
    _: &Committed,
) -> Result<(), FunctionError> {
    let profile_identifier = ProfileIdentifier::Iccid(iccid);
    let request = EnableProfileRequest {
        profile_identifier,
        refresh_flag: refresh,
    };
    let result = card.call(&request).await?.enable_result;
    accepted::<EnableProfileRequest>(result.0, &result)
}

/// Disables a profile. With `refresh` it happens when the modem acts on the REFRESH.
pub async fn disable(
    card: &mut impl Card,
    iccid: Iccid,
    refresh: bool,
    _: &Committed,
) -> Result<(), FunctionError> {
    let profile_identifier = ProfileIdentifier::Iccid(iccid);
    let request = DisableProfileRequest {
        profile_identifier,
        refresh_flag: refresh,
    };
    let result = card.call(&request).await?.disable_result;
    accepted::<DisableProfileRequest>(result.0, &result)
}

/// Deletes a disabled profile.
pub async fn delete(
    card: &mut impl Card,
    iccid: Iccid,
    _: &Committed,
) -> Result<(), FunctionError> {
    let request = DeleteProfileRequest::Iccid(iccid);
    let result = card.call(&request).await?.delete_result;
    accepted::<DeleteProfileRequest>(result.0, &result)
}

/// Names a profile; an empty name removes the old one.
pub async fn set_nickname(
    card: &mut impl Card,
    iccid: Iccid,
    nickname: &str,
    _: &Committed,
) -> Result<(), FunctionError> {
    let request = SetNicknameRequest {
        iccid,
        profile_nickname: nickname.into(),
    };
    let result = card.call(&request).await?.set_nickname_result;
    accepted::<SetNicknameRequest>(result.0, &result)
}
