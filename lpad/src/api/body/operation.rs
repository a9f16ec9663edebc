//! An operation as the API shows it.

use serde::{Deserialize, Serialize};

use super::is_default;
use super::profile::{class, rules};
use crate::job::{self, Kind, OperationId, Progress, Stage, StageTime, Switching, Waiting};
use crate::memory::operations::{self, ClientProcess, State};
use crate::problem::Problem;

/// Something that takes long. It goes on when the client leaves.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Operation {
    /// Its number.
    pub id: OperationId,
    /// The name of the eUICC it belongs to.
    pub euicc: String,
    /// What it does.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// What it has done so far, the latest at the end. Of one that was cut off with the daemon, only what
    /// came after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageTime>,
    /// How much of the profile package the card has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What it waits for, once that has lasted a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Whether it can still be cancelled.
    pub cancellable: bool,
    /// The profile that waits for an answer; only in state `awaiting-answer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// Where the change of the profile in use stands, or how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<Switching>,
    /// What it achieved; only in state `succeeded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Achievement>,
    /// Why it failed or was cancelled; only in these states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The process that asked for it; absent when lpad began it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientProcess>,
    /// Present when lpad began it by itself. Of what an older lpad left, neither this nor `client` is
    /// known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub by_itself: bool,
    /// Since when the offer waits for an answer, in seconds since 1970-01-01 UTC; only in state
    /// `awaiting-answer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at_s: Option<u64>,
    /// When it was asked for, in seconds since 1970-01-01 UTC.
    pub created_at_s: u64,
    /// When it ended, in seconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at_s: Option<u64>,
}

/// What an operation achieved.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Achievement {
    /// The profile it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iccid: Option<String>,
    /// That profile's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_name: Option<String>,
    /// Whether that profile is enabled now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Present when the server had nothing to download.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nothing_to_download: bool,
    /// Present when the card was as asked already.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nothing_to_change: bool,
    /// Notifications delivered.
    #[serde(default)]
    pub notifications_delivered: usize,
    /// Notifications that stay on the card until their recipient can be reached.
    #[serde(default)]
    pub notifications_pending: usize,
    /// What succeeded only in part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Present when all that is known is that it succeeded: it ended before lpad was upgraded from a
    /// version that kept no more. The other members then say nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub details_unknown: bool,
}

/// A profile that a person has to accept before it is downloaded.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Offer {
    /// Its ICCID.
    pub iccid: String,
    /// Who provides the service; may be empty.
    pub service_provider: String,
    /// Its name; may be empty.
    pub profile_name: String,
    /// `operational`, `test` or `provisioning`; a number when the card names a class that SGP.22
    /// does not know.
    pub class: String,
    /// Profile policy rules by name, SGP.22 v2.5 section 2.9.1; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_rules: Vec<String>,
    /// Whether accepting it means accepting the policy rules too.
    #[serde(default)]
    pub policy_consent_required: bool,
    /// Whether the answer has to bring a confirmation code.
    #[serde(default)]
    pub confirmation_code_required: bool,
}

impl From<&operations::Operation> for Operation {
    fn from(known: &operations::Operation) -> Self {
        let problem = known.failure.as_deref().map(Problem::from);
        let of_it = |problem: Problem| match problem.operation {
            // Another one is in the way.
            Some(_) => problem,
            None => problem.of_operation(known.id),
        };
        Self {
            id: known.id,
            euicc: known.euicc.clone(),
            kind: known.kind,
            state: known.state,
            stage: known.stage,
            stages: known.stages.clone(),
            progress: known.progress,
            waiting: known.waiting,
            cancellable: known.cancellable,
            offer: known.offer.as_ref().map(Offer::from),
            switch: known.switch.clone(),
            result: known.result.as_ref().map(Achievement::from),
            problem: problem.map(of_it),
            client: known.client.clone(),
            by_itself: known.by_itself,
            asked_at_s: known.asked_at_s,
            created_at_s: known.created_at_s,
            finished_at_s: known.finished_at_s,
        }
    }
}

impl From<&job::Achievement> for Achievement {
    fn from(achieved: &job::Achievement) -> Self {
        Self {
            iccid: achieved.iccid.map(|iccid| iccid.to_string()),
            profile_name: achieved.profile_name.clone(),
            enabled: achieved.enabled,
            nothing_to_download: achieved.nothing_to_download,
            nothing_to_change: achieved.nothing_to_change,
            notifications_delivered: achieved.notifications_delivered,
            notifications_pending: achieved.notifications_pending,
            warnings: achieved.warnings.clone(),
            details_unknown: achieved.details_unknown,
        }
    }
}

impl From<&job::Offer> for Offer {
    fn from(offer: &job::Offer) -> Self {
        Self {
            iccid: offer.iccid.to_string(),
            service_provider: offer.service_provider.clone(),
            profile_name: offer.profile_name.clone(),
            class: class(offer.class),
            policy_rules: rules(offer.policy_rules),
            policy_consent_required: offer.policy_consent_required,
            confirmation_code_required: offer.confirmation_code_required,
        }
    }
}
