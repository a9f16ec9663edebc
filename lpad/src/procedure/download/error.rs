//! Why a download failed, and what became of the session.

use es9_client::{CertificateError, NextStep, ServerAddress, TransactionIdError};
use es10_apdu::asn1::CodecError;
use es10_apdu::bpp::BppError;
use es10_apdu::es10b::{
    AuthenticateErrorCode, CancelSessionReason, DownloadErrorCode, ErrorReason,
};
use es10_apdu::isdr::CallError;
use es10_apdu::types::{Iccid, Oid};

use super::InDoubt;
use super::rules::RuleRefusal;
use crate::procedure::{FunctionError, ServerError};

/// A download that did not end with an installed profile.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
pub struct DownloadError {
    /// Where it ended.
    pub step: Step,
    /// What became of the session.
    pub session: SessionEnd,
    /// Why.
    #[source]
    pub failure: Failure,
}

impl DownloadError {
    /// Whether another session may bring the profile at once: the server forgot this one, or the
    /// card had a hiccup, and can be spoken to all the same. The order was kept.
    pub fn deserves_another_session(&self) -> bool {
        match (&self.failure, &self.session) {
            (Failure::Server(cause), _) => cause.next_step() == NextStep::RestartSession,
            (Failure::Card(_), session) => match session {
                SessionEnd::NotOpened => self.step == Step::AuthenticateServer,
                SessionEnd::Cancelled(_) | SessionEnd::CancelFailed(_, CancelError::Server(_)) => {
                    true
                }
                SessionEnd::CancelFailed(_, CancelError::Card(cause)) => {
                    !matches!(cause, FunctionError::Call(CallError::Transport { .. }))
                }
                SessionEnd::Closed | SessionEnd::InDoubt(_) | SessionEnd::Reported => false,
            },
            _ => false,
        }
    }
}

/// The steps of a download, named for what is being done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// GetEUICCInfo1, GetEUICCChallenge, InitiateAuthentication.
    Initiate,
    /// AuthenticateServer.
    AuthenticateServer,
    /// AuthenticateClient.
    AuthenticateClient,
    /// The user, or the policy in place of one.
    Consent,
    /// PrepareDownload.
    PrepareDownload,
    /// GetBoundProfilePackage.
    GetBoundProfilePackage,
    /// LoadBoundProfilePackage.
    Install,
}

/// What became of the session at the server.
#[derive(Debug)]
pub enum SessionEnd {
    /// CancelSession was sent with this reason and accepted.
    Cancelled(CancelSessionReason),
    /// CancelSession failed as well; the session ends by itself.
    CancelFailed(CancelSessionReason, CancelError),
    /// The server closed it, or had its last word in it.
    Closed,
    /// An answer was lost, so its outcome is unknown until the card is read.
    InDoubt(InDoubt),
    /// There was none yet.
    NotOpened,
    /// The eUICC's result is on its way to the server as a notification.
    Reported,
}

/// Why CancelSession failed.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// On the card.
    #[error(transparent)]
    Card(#[from] FunctionError),
    /// On the server.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The eUICC refused the server.
    #[error("the eUICC refused the server: {0}")]
    AuthenticationRefused(AuthenticateErrorCode),
    /// The package is not built as the specification says.
    #[error("the server's package cannot be installed: {0}")]
    Bpp(#[from] BppError),
    /// The card did not answer, or refused a function that has no error of its own here.
    #[error(transparent)]
    Card(#[from] FunctionError),
    /// The server's certificate cannot be read.
    #[error("the server's certificate cannot be read: {0}")]
    Certificate(#[from] CertificateError),
    /// The server signed another challenge than the eUICC's.
    #[error("the server signed another challenge than the eUICC's")]
    ChallengeMismatch,
    /// A confirmation code is required and there is none.
    #[error("the profile needs a confirmation code and none was given")]
    ConfirmationCodeRequired,
    /// The user, or the policy in place of one, said no, later, or nothing.
    #[error("the download was not agreed to: {0}")]
    Declined(CancelSessionReason),
    /// The eUICC ended the installation with an error.
    #[error("the eUICC could not install the profile: {reason}{}", already(*.reason, *.iccid))]
    Installation {
        /// Why.
        reason: ErrorReason,
        /// The profile, when the eUICC named it.
        iccid: Option<Iccid>,
    },
    /// The package is for another profile than the one agreed to.
    #[error("the package differs from what was offered: {what}")]
    MetadataMismatch {
        /// What differs.
        what: &'static str,
    },
    /// The eUICC took the whole package and said nothing.
    #[error("the eUICC took the package and gave no result")]
    NoResult,
    /// The activation code names another SM-DP+.
    #[error("the activation code names the SM-DP+ {expected}, its certificate says {found}")]
    OidMismatch {
        /// From the activation code.
        expected: Oid,
        /// From the certificate.
        found: String,
    },
    /// The eUICC refused to prepare the download.
    #[error("the eUICC refused to prepare the download: {0}")]
    PreparationRefused(DownloadErrorCode),
    /// The eUICC does not allow the profile's policy rules.
    #[error("the profile is not allowed: {0}")]
    Rules(#[from] RuleRefusal),
    /// The server called itself by another name.
    #[error("the server signed the address {signed:?}, but {asked} was called")]
    ServerAddressMismatch {
        /// The address used.
        asked: ServerAddress,
        /// The address signed.
        signed: String,
    },
    /// The server failed or refused.
    #[error(transparent)]
    Server(#[from] es9_client::Error),
    /// What the server sent cannot be read.
    #[error("the server's {member} cannot be read: {error}")]
    ServerData {
        /// The JSON member.
        member: &'static str,
        /// Why.
        #[source]
        error: CodecError,
    },
    /// Session names that should be one differ.
    #[error("the server mixed up sessions: {member} has another transaction id")]
    TransactionIdMismatch {
        /// Where the other one stands.
        member: &'static str,
    },
    /// A session name the protocol does not allow.
    #[error("the server's transaction id is wrong: {0}")]
    TransactionId(#[from] TransactionIdError),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Card(error.into())
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Failed(error) => Self::Server(error),
            // Who cancels says "later": the order stays.
            ServerError::Interrupted => Self::Declined(CancelSessionReason::POSTPONED),
        }
    }
}

fn already(reason: ErrorReason, iccid: Option<Iccid>) -> String {
    match iccid {
        Some(iccid) if reason == ErrorReason::ICCID_ALREADY_EXISTS => format!(" (ICCID {iccid})"),
        _ => String::new(),
    }
}
