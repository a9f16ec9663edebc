//! What must be true after a mishap in the middle of a download that is to be enabled.

use lpad::{
    api::{downloads::DownloadRequest, problem::CodeConsumed},
    operation::{Operation, State},
    snapshot::ProfileState,
};
use lpad_tests::{
    bed::{Bed, EUICC, accepting},
    bench::HOST_NAME,
    smdp::{OrderId, OrderState},
};

pub(crate) fn download_and_enable(matching_id: &str) -> DownloadRequest {
    DownloadRequest {
        enable: true,
        ..accepting(&format!("1${HOST_NAME}${matching_id}"))
    }
}

/// Checks that the operation says what is on the card and at the server.
pub(crate) async fn must_be_true(bed: &Bed, operation: &Operation, order: OrderId) {
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    match (&operation.result, &operation.problem) {
        (Some(result), None) => {
            assert_eq!(operation.state, State::Succeeded);
            let iccid = result.iccid.as_deref().unwrap();
            let profile = profiles
                .iter()
                .find(|profile| profile.iccid == iccid)
                .unwrap();
            let is_enabled = profile.state == ProfileState::Enabled;
            assert_eq!(result.enabled, Some(is_enabled), "{result:?}");
            assert!(is_enabled || !result.warnings.is_empty(), "{result:?}");
            let state = bed.bench.smdp.order(order).unwrap().state();
            assert_eq!(state, OrderState::Installed);
        }
        (None, Some(problem)) => {
            assert_eq!(operation.state, State::Failed);
            assert!(profiles.is_empty(), "{profiles:?} in spite of {problem:?}");
            assert!(problem.detail.ends_with('.'), "{problem:?}");
            if problem.code_consumed == Some(CodeConsumed::No) {
                let again = bed.download_as(&download_and_enable("M-1")).await;
                assert_eq!(
                    again.state,
                    State::Succeeded,
                    "{problem:?} {:?}",
                    again.problem
                );
            }
        }
        _ => panic!("{operation:?}"),
    }
}

/// Which of a download's commands, each counted by its last block, carry the package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Package {
    /// Finds out by a download that goes well.
    pub(crate) async fn of(bed: &mut Bed) -> Self {
        const BEFORE: [u32; 5] = [0xBF20, 0xBF2E, 0xBF38, 0xBF43, 0xBF21];
        const SEGMENTS: [u32; 7] = [0xBF36, 0xA0, 0xA1, 0x88, 0xA2, 0xA3, 0x86];
        let counters = bed.bench.card.counters();
        let calls = |tags: &[u32]| -> u64 {
            let counters = counters.borrow();
            tags.iter().map(|tag| counters.calls(*tag)).sum()
        };
        let before = (calls(&BEFORE), calls(&SEGMENTS));
        bed.install().await;
        let first = 1 + u32::try_from(calls(&BEFORE) - before.0).unwrap();
        let segments = u32::try_from(calls(&SEGMENTS) - before.1).unwrap();
        Self {
            first,
            last: first + segments - 1,
        }
    }

    /// Somewhere in the profile elements.
    pub(crate) fn middle(self) -> u32 {
        self.first.midpoint(self.last)
    }
}
