//! One operation, and where it stands.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::failure::{Interruption, JobFailure};
use crate::job::{
    Achievement, Kind, Offer, OperationId, Progress, Stage, StageTime, Switching, Waiting,
};
use crate::memory::journal::{AskedOperation, ClientProcess, EndDetails, Ending};

/// Where an operation stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "OperationState")
)]
pub enum State {
    /// Waiting for the eUICC.
    Queued,
    /// Under way.
    Running,
    /// Waiting for a person to accept or decline the profile.
    AwaitingAnswer,
    /// Done as asked.
    Succeeded,
    /// Ended with a problem.
    Failed,
    /// Ended because a client cancelled it.
    Cancelled,
}

impl State {
    /// Every state, in the order of an operation's life.
    pub const ALL: &[Self] = &[
        Self::Queued,
        Self::Running,
        Self::AwaitingAnswer,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether nothing changes until a client does something, if ever.
    pub fn is_settled(self) -> bool {
        self.is_final() || self == Self::AwaitingAnswer
    }

    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The state of one that ended like this.
    pub(super) fn of(ending: Ending) -> Self {
        match ending {
            Ending::Succeeded => Self::Succeeded,
            Ending::Failed | Ending::NotBegun => Self::Failed,
            Ending::Cancelled => Self::Cancelled,
        }
    }

    /// The name used in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::AwaitingAnswer => "awaiting-answer",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its number.
    pub id: OperationId,
    /// The eUICC it belongs to.
    pub euicc: String,
    /// What it does.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// What it is doing.
    pub stage: Option<Stage>,
    /// What it has done so far, the latest at the end; at most [`STAGES_KEPT`].
    pub stages: Vec<StageTime>,
    /// How much of the profile package the card has.
    pub progress: Option<Progress>,
    /// What it waits for, once that has lasted a while.
    pub waiting: Option<Waiting>,
    /// Whether it can still be cancelled.
    pub cancellable: bool,
    /// The profile that waits for an answer.
    pub offer: Option<Offer>,
    /// What became of the profile in use, when that was to be changed.
    pub switch: Option<Switching>,
    /// What it achieved, once it has succeeded.
    pub result: Option<Achievement>,
    /// Why it failed or was cancelled.
    pub failure: Option<Arc<JobFailure>>,
    /// The process that asked for it.
    pub client: Option<ClientProcess>,
    /// Whether lpad began it by itself. Of one that an older lpad left, neither is known.
    pub by_itself: bool,
    /// Since when the offer waits for an answer, in seconds since 1970.
    pub asked_at_s: Option<u64>,
    /// When it was asked for, in seconds since 1970.
    pub created_at_s: u64,
    /// When it ended, in seconds since 1970.
    pub finished_at_s: Option<u64>,
}

impl Operation {
    pub(crate) fn new(id: OperationId, euicc: &str, kind: Kind) -> Self {
        Self {
            id,
            euicc: euicc.to_owned(),
            kind,
            state: State::Queued,
            stage: None,
            stages: Vec::new(),
            progress: None,
            waiting: None,
            switch: None,
            cancellable: true,
            offer: None,
            result: None,
            failure: None,
            client: None,
            by_itself: false,
            asked_at_s: None,
            created_at_s: 0,
            finished_at_s: None,
        }
    }

    /// One that was asked for.
    pub(super) fn asked(asked: &AskedOperation) -> Self {
        Self {
            client: asked.client.clone(),
            by_itself: asked.by_itself,
            created_at_s: asked.at_s,
            ..Self::new(asked.operation, &asked.euicc, asked.kind)
        }
    }

    /// It does something else from now on.
    pub(super) fn enter(&mut self, stage: Stage, at_s: u64) {
        if self.stage != Some(stage) {
            let beyond = (self.stages.len() + 1).saturating_sub(STAGES_KEPT);
            self.stages.drain(..beyond);
            self.stages.push(StageTime { stage, at_s });
        }
        self.stage = Some(stage);
    }

    /// It has ended like this.
    pub(super) fn end(
        &mut self,
        state: State,
        outcome: Result<Achievement, Arc<JobFailure>>,
        at_s: u64,
    ) {
        let (result, failure) = match outcome {
            Ok(achieved) => (Some(achieved), None),
            Err(failure) => (None, Some(failure)),
        };
        self.state = state;
        let is_in_doubt = failure
            .as_ref()
            .is_some_and(|failure| failure.is_in_doubt());
        // Nothing came of it: the profile before is in use as it was.
        let is_nothing = |switch: &Switching| switch.outcome.is_none() && switch.failed.is_empty();
        self.switch = self
            .switch
            .take()
            .filter(|switch| is_in_doubt || !is_nothing(switch));
        self.offer = None;
        self.waiting = None;
        self.asked_at_s = None;
        if let Some(switch) = &mut self.switch {
            switch.deadline_s = None;
        }
        self.result = result;
        self.failure = failure;
        self.finished_at_s = Some(at_s);
        if state == State::Succeeded {
            self.enter(Stage::Done, at_s);
        }
    }

    /// One that ended in an earlier life of the daemon, with what the journal knows of it.
    pub(super) fn ended_earlier(
        asked: &AskedOperation,
        ending: Ending,
        details: EndDetails,
    ) -> Self {
        let outcome = match ending {
            Ending::Succeeded => Ok(details.result.unwrap_or_else(|| Achievement {
                details_unknown: true,
                ..Achievement::default()
            })),
            Ending::Failed => Err(JobFailure::FailedEarlier(details.problem)),
            Ending::Cancelled => Err(JobFailure::Cancelled),
            Ending::NotBegun => Err(JobFailure::Interrupted(Interruption::Queued)),
        };
        let mut operation = Self {
            stage: details.stage,
            stages: details.stages.unwrap_or_default(),
            progress: details.progress,
            switch: details.switch.map(|switch| *switch),
            cancellable: false,
            ..Self::asked(asked)
        };
        // Of an older journal only this is known: it was not before.
        let at_s = details.at_s.unwrap_or(asked.at_s);
        operation.end(State::of(ending), outcome.map_err(Arc::new), at_s);
        operation
    }
}

/// How many stages of an operation are kept.
pub const STAGES_KEPT: usize = 64;
