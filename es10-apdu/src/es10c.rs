//! ES10c: managing profiles and the eUICC itself.

mod eid;
mod profiles_info;
mod reset;
mod state;

pub use eid::{GetEuiccDataRequest, GetEuiccDataResponse};
pub use profiles_info::{
    ProfileInfo, ProfileInfoListError, ProfileInfoListRequest, ProfileInfoListResponse,
    ProfileSearch, SetNicknameRequest, SetNicknameResponse, SetNicknameResult,
};
pub use reset::{EuiccMemoryResetRequest, EuiccMemoryResetResponse, ResetResult};
pub use state::{
    DeleteProfileRequest, DeleteProfileResponse, DeleteResult, DisableProfileRequest,
    DisableProfileResponse, DisableResult, EnableProfileRequest, EnableProfileResponse,
    EnableResult, ProfileIdentifier,
};
