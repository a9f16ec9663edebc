//! ES10b: what a download needs, and notifications.

mod authenticate_server;
mod bound_profile_package;
mod cancel_session;
mod info;
mod load_crl;
mod metadata;
mod notification;
mod notification_metadata;
mod prepare_download;
mod profile_installation_result;
mod rat;

pub use authenticate_server::{
    AuthenticateErrorCode, AuthenticateResponseError, AuthenticateResponseOk,
    AuthenticateServerRequest, AuthenticateServerResponse, CtxParams1,
    CtxParamsForCommonAuthentication, DeviceCapabilities, DeviceInfo, EuiccSigned1, ServerSigned1,
};
pub use bound_profile_package::{
    ConfigureIsdpRequest, ControlRefTemplate, InitialiseSecureChannelRequest,
    ReplaceSessionKeysRequest,
};
pub use cancel_session::{
    CancelSessionError, CancelSessionReason, CancelSessionRequest, CancelSessionResponse,
    CancelSessionResponseOk, EuiccCancelSessionSigned,
};
pub use info::{
    CertificationDataObject, EuiccInfo1, EuiccInfo2, ExtCardResource, GetEuiccChallengeRequest,
    GetEuiccChallengeResponse, GetEuiccInfo1Request, GetEuiccInfo2Request,
};
pub use load_crl::{
    CertificateList, LoadCrlError, LoadCrlRequest, LoadCrlResponse, LoadCrlResponseOk,
    PartialCrlNumber,
};
pub use metadata::{Opaque, StoreMetadataRequest};
pub use notification::{
    DeleteNotificationStatus, ListNotificationRequest, ListNotificationResponse,
    NotificationSentRequest, NotificationSentResponse, NotificationsError, OtherSignedNotification,
    PendingNotification, RetrieveNotificationsListRequest, RetrieveNotificationsListResponse,
    SearchCriteria,
};
pub use notification_metadata::NotificationMetadata;
pub use prepare_download::{
    DownloadErrorCode, EuiccSigned2, PrepareDownloadRequest, PrepareDownloadResponse,
    PrepareDownloadResponseError, PrepareDownloadResponseOk, SmdpSigned2,
};
pub use profile_installation_result::{
    BppCommandId, ErrorReason, ErrorResult, FinalResult, ProfileInstallationResult,
    ProfileInstallationResultData, SuccessResult,
};
pub use rat::{GetRatRequest, GetRatResponse, ProfilePolicyAuthorisationRule};
