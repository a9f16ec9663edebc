//! The profile on offer, and consent.
//!
//! SGP.22 v2.5 section 3.1.3.

use es10_apdu::es10b::{
    CancelSessionReason, GetRatRequest, PrepareDownloadRequest, PrepareDownloadResponse,
    StoreMetadataRequest,
};
use es10_apdu::types::{HashCc, PprIds, ProfileClass};
use ring::digest::{Context, SHA256, digest};

use super::package::Prepared;
use super::rules::{self, RequiredConsent};
use super::session::{Offered, RspSession};
use super::{DownloadError, Failure, SessionEnd, Step};
use crate::procedure::{Card, Server, call_with_retry, euicc, profiles};
use crate::secret::Secret;

/// The server accepted the eUICC and offers a profile.
#[derive(Debug)]
pub struct Offer {
    pub(super) session: RspSession,
    pub(super) offered: Offered,
    pub(super) consent: RequiredConsent,
}

impl Offer {
    /// What the profile says of itself.
    pub fn metadata(&self) -> &StoreMetadataRequest {
        &self.offered.metadata
    }

    /// The profile's policy rules, and whether they need express consent.
    pub fn consent(&self) -> RequiredConsent {
        self.consent
    }

    /// Whether a confirmation code is required.
    pub fn confirmation_code_required(&self) -> bool {
        self.offered.smdp_signed2.cc_required_flag
    }

    /// Agrees. A code that is not required is not used; one that is required and missing
    /// postpones the download, so that the order survives.
    ///
    /// # Cancel safety
    /// The eUICC keeps its one-time key for the next attempt.
    pub async fn accept(
        self,
        card: &mut impl Card,
        server: &impl Server,
        confirmation_code: Option<&Secret>,
    ) -> Result<Prepared, DownloadError> {
        let hash_cc = match (self.confirmation_code_required(), confirmation_code) {
            (false, _) => None,
            (true, Some(code)) => Some(hash_cc(code, self.session.transaction_id.value())),
            (true, None) => {
                let failure = Failure::ConfirmationCodeRequired;
                let step = Step::Consent;
                return Err(self.session.fail(card, server, step, failure).await);
            }
        };
        let Self {
            session, offered, ..
        } = self;
        let request = PrepareDownloadRequest {
            smdp_signed2: offered.smdp_signed2,
            smdp_signature2: offered.smdp_signature2,
            hash_cc,
            smdp_certificate: offered.smdp_certificate,
        };
        let step = Step::PrepareDownload;
        let response = match call_with_retry(card, &request).await {
            Ok(response) => response,
            Err(error) => return Err(session.fail(card, server, step, error.into()).await),
        };
        let PrepareDownloadResponse::DownloadResponseError(refusal) = &*response else {
            return Ok(Prepared {
                session,
                metadata: offered.metadata,
                response,
            });
        };
        let failure = Failure::PreparationRefused(refusal.download_error_code);
        let request = session.get_bound_profile_package(&response);
        session.forward_refusal(server, &request).await;
        session.free_card(card).await;
        Err(DownloadError {
            step,
            session: SessionEnd::Closed,
            failure,
        })
    }

    /// Does not agree: rejected, postponed, or not answered in time.
    pub async fn decline(
        self,
        card: &mut impl Card,
        server: &impl Server,
        reason: CancelSessionReason,
    ) -> DownloadError {
        self.session
            .decline(card, server, Step::Consent, reason)
            .await
    }
}

/// Judges the policy rules on offer; a profile without any costs no APDU.
pub(super) async fn judge(
    card: &mut impl Card,
    metadata: &StoreMetadataRequest,
) -> Result<RequiredConsent, Failure> {
    let rules = metadata.rules();
    if !rules.intersects(PprIds::PPR1 | PprIds::PPR2) {
        return Ok(RequiredConsent {
            rules,
            strong: false,
        });
    }
    let forbidden = euicc::info2(card)
        .await?
        .forbidden_profile_policy_rules
        .unwrap_or_default();
    let table = card.call(&GetRatRequest {}).await?.rat;
    let operational = profiles::list(card)
        .await?
        .iter()
        .any(|profile| profile.class() == ProfileClass::OPERATIONAL);
    Ok(rules::judge_rules(
        metadata,
        forbidden,
        &table,
        operational,
    )?)
}

/// SHA-256(SHA-256(code) ‖ transactionId), the code exactly as entered.
fn hash_cc(code: &Secret, transaction_id: &[u8]) -> HashCc {
    let mut context = Context::new(&SHA256);
    context.update(digest(&SHA256, code.expose().as_bytes()).as_ref());
    context.update(transaction_id);
    // SHA-256 has the 32 octets of the type.
    HashCc::from_octets(context.finish().as_ref()).expect("a SHA-256 value has 32 octets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashed_confirmation_code_is_the_one_of_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../../es10-apdu/vectors/vectors.json"))
                .unwrap();
        let transaction_id: Vec<u8> = (1..=16).collect();
        let hashed = hash_cc(&Secret::new("1234"), &transaction_id);
        assert_eq!(
            hex::encode(hashed.octets()),
            vectors["es10"]["hashCc"].as_str().unwrap()
        );
    }
}
