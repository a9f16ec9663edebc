//! The package: fetched, checked, loaded.
//!
//! SGP.22 v2.5 section 3.1.3.3.

use es10_apdu::asn1::Raw;
use es10_apdu::bpp::{BoundProfilePackage, Segment};
use es10_apdu::es10b::{
    CancelSessionReason, FinalResult, PrepareDownloadResponse, ProfileInstallationResult,
    ProfileInstallationResultData, StoreMetadataRequest,
};
use es10_apdu::isdr::CallError;
use es10_apdu::transport::Outcome;

use super::session::RspSession;
use super::{DownloadError, Failure, InDoubt, Installed, SessionEnd, Step};
use crate::commit::Committed;
use crate::procedure::{Card, FunctionError, Server, notifications};

/// The eUICC made the key the package will be bound to.
#[derive(Debug)]
pub struct Prepared {
    pub(super) session: RspSession,
    pub(super) metadata: StoreMetadataRequest,
    pub(super) response: Raw<PrepareDownloadResponse>,
}

impl Prepared {
    /// Fetches the package and compares it with what was agreed to.
    ///
    /// # Cancel safety
    /// The package may count as delivered; the next attempt gets it again.
    pub async fn fetch(
        self,
        card: &mut impl Card,
        server: &impl Server,
    ) -> Result<Bound, DownloadError> {
        let Self {
            session,
            metadata,
            response,
        } = self;
        let step = Step::GetBoundProfilePackage;
        let request = session.get_bound_profile_package(&response);
        let answer = session.call(card, server, step, &request).await?;
        // Checked before anything is sent to the card: what it has taken cannot be taken back, and a
        // package for another profile would be installed without a question.
        let checked = session
            .check(answer.transaction_id.value(), "getBoundProfilePackage")
            .and_then(|()| Ok(BoundProfilePackage::cut(&answer.bound_profile_package)?))
            .and_then(|package| session.check_package(&metadata, package));
        match checked {
            Ok(package) => Ok(Bound {
                session,
                metadata,
                package,
            }),
            Err(failure) => Err(session.fail(card, server, step, failure).await),
        }
    }

    /// Ends the session instead.
    pub async fn cancel(
        self,
        card: &mut impl Card,
        server: &impl Server,
        reason: CancelSessionReason,
    ) -> DownloadError {
        self.session
            .decline(card, server, Step::GetBoundProfilePackage, reason)
            .await
    }
}

/// The package is here, checked and cut.
#[derive(Debug)]
pub struct Bound {
    session: RspSession,
    metadata: StoreMetadataRequest,
    package: BoundProfilePackage,
}

impl Bound {
    /// The session, for the journal: after a crash it tells which result to look for.
    pub fn in_doubt(&self) -> InDoubt {
        self.session.in_doubt(&self.metadata)
    }

    /// Octets to load.
    pub fn size(&self) -> usize {
        self.package.size()
    }

    /// Ends the session instead; the last moment to do so.
    pub async fn cancel(
        self,
        card: &mut impl Card,
        server: &impl Server,
        reason: CancelSessionReason,
    ) -> DownloadError {
        self.session
            .decline(card, server, Step::Install, reason)
            .await
    }

    /// Loads the package into the card, and tells after each segment how many octets the card has.
    /// A segment that the card may have seen is never sent again.
    ///
    /// # Errors
    /// With [`SessionEnd::Reported`] the eUICC said why. With [`SessionEnd::InDoubt`] an answer was
    /// lost: open the card again and [`resolve`] before saying anything.
    ///
    /// # Cancel safety
    /// The profile may be installed; [`resolve`] tells.
    pub async fn install(
        self,
        card: &mut impl Card,
        server: &impl Server,
        _: &Committed,
        mut progress: impl FnMut(usize) + Send,
    ) -> Result<Installed, DownloadError> {
        let mut done = 0;
        for Segment { bytes, .. } in self.package.segments() {
            match load(card, bytes).await {
                Ok(None) => {}
                Ok(Some(result)) => return self.conclude(&result),
                Err(error) => {
                    let is_first = done == 0;
                    return Err(self.segment_failed(card, server, error, is_first).await);
                }
            }
            done += bytes.len();
            progress(done);
        }
        // Everything was taken and nothing said: the result may be in the notification list.
        Err(self.doubtful(Failure::NoResult))
    }

    /// A segment failed. The first one only opens the secure channel, so whatever became of it
    /// nothing is installed. After a later one that was lost only the card, opened again, can tell.
    async fn segment_failed(
        self,
        card: &mut impl Card,
        server: &impl Server,
        error: CallError,
        is_first: bool,
    ) -> DownloadError {
        if error.outcome() == Outcome::Unknown && !is_first {
            return self.doubtful(error.into());
        }
        // A card that was not lost may have ended the installation all the same, and its answer with
        // the result may be what failed. The result outweighs the error.
        let found = match find_result(card, &self.in_doubt()).await {
            // A card that waits for the next segment lists no notifications.
            Err(cause) if is_first && !cause.loses_card() => Ok(None),
            found => found,
        };
        match found {
            Err(_) => self.doubtful(error.into()),
            Ok(Some(data)) => DownloadError {
                step: Step::Install,
                session: SessionEnd::Reported,
                failure: outcome_of(&data).err().unwrap_or_else(|| error.into()),
            },
            Ok(None) => {
                self.session
                    .fail(card, server, Step::Install, error.into())
                    .await
            }
        }
    }

    fn conclude(
        &self,
        result: &Raw<ProfileInstallationResult>,
    ) -> Result<Installed, DownloadError> {
        let data = &*result.profile_installation_result_data;
        // The result of another session says nothing of this one.
        self.session
            .check(data.transaction_id.octets(), "the eUICC's result")
            .map_err(|failure| self.doubtful(failure))?;
        match outcome_of(data) {
            Ok(installed) => Ok(Installed {
                notification: Some(result.bytes().to_vec()),
                ..installed
            }),
            Err(failure) => Err(DownloadError {
                step: Step::Install,
                session: SessionEnd::Reported,
                failure,
            }),
        }
    }

    fn doubtful(&self, failure: Failure) -> DownloadError {
        let session = SessionEnd::InDoubt(self.in_doubt());
        DownloadError {
            step: Step::Install,
            session,
            failure,
        }
    }
}

/// Sends a segment, and once more when the card has seen nothing of it: it waits for this one.
async fn load(
    card: &mut impl Card,
    segment: &[u8],
) -> Result<Option<Raw<ProfileInstallationResult>>, CallError> {
    match card.load_segment(segment).await {
        Err(error) if error.outcome() == Outcome::NotReached => {
            tracing::info!(%error, "the card was not reached: the segment once more");
            card.load_segment(segment).await
        }
        answer => answer,
    }
}

/// Asks the card how a session in doubt ended: its notifications hold the result.
///
/// `None` means that nothing of it is there and nothing was installed.
pub async fn resolve(
    card: &mut impl Card,
    doubt: &InDoubt,
) -> Result<Option<Result<Installed, Failure>>, FunctionError> {
    let result = find_result(card, doubt).await?;
    Ok(result.map(|data| outcome_of(&data)))
}

async fn find_result(
    card: &mut impl Card,
    doubt: &InDoubt,
) -> Result<Option<ProfileInstallationResultData>, FunctionError> {
    notifications::installation_result(card, &doubt.transaction_id, doubt.iccid).await
}

fn outcome_of(data: &ProfileInstallationResultData) -> Result<Installed, Failure> {
    let metadata = &data.notification_metadata;
    match &data.final_result {
        FinalResult::SuccessResult(success) => Ok(Installed {
            // A success without ICCID names no profile.
            iccid: metadata.iccid.ok_or(Failure::NoResult)?,
            isdp_aid: success.aid.clone(),
            seq_number: metadata.seq_number,
            notification: None,
        }),
        FinalResult::ErrorResult(error) => Err(Failure::Installation {
            reason: error.error_reason,
            iccid: metadata.iccid,
        }),
    }
}
