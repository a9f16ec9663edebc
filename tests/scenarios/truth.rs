//! What must be true after a mishap in the middle of something.

use std::cell::OnceCell;
use std::time::Duration;

use lpad::api::body::Operation;
use lpad::api::downloads::DownloadRequest;
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState;
use lpad::problem::CodeConsumed;
use lpad_tests::bed::{Bed, EUICC, accepting};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_common::pki::Pki;
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::{OrderId, OrderRequest, OrderState};
use tokio::time::timeout;

/// What is done when the mishap comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Task {
    /// A first profile is downloaded and enabled.
    Download,
    /// Another profile than the one in use is enabled.
    Switch,
    /// A profile is deleted.
    Delete,
    /// An empty card gets its first profile, without being asked.
    FirstBoot,
}

/// A daemon about to do something.
pub(crate) struct Story {
    pub(crate) bed: Bed,
    task: Task,
    /// Of a first boot it is made when that begins.
    order: OnceCell<OrderId>,
    iccid: String,
}

impl Story {
    pub(crate) async fn prepare(pki: &Pki, task: Task) -> Self {
        let when = match task {
            Task::FirstBoot => "empty",
            _ => "never",
        };
        let mut bed = Bed::with(Bench::with_pki(pki.clone()), when).await;
        let (mut order, mut iccid) = (OnceCell::new(), String::new());
        match task {
            Task::Download => order = OnceCell::from(bed.order("M-1")),
            Task::FirstBoot => {}
            Task::Switch => {
                let first = bed.install().await;
                bed.switch(&first, ProfileState::Enabled).await;
                iccid = bed.install().await;
            }
            Task::Delete => iccid = bed.install().await,
        }
        Self {
            bed,
            task,
            order,
            iccid,
        }
    }

    /// Does it, and gives the operation when it has ended.
    pub(crate) async fn run(&self) -> Operation {
        let Self { bed, iccid, .. } = self;
        match self.task {
            Task::Download => bed.download_as(&download_and_enable()).await,
            Task::FirstBoot => self.first_profile().await,
            Task::Switch => bed.switch(iccid, ProfileState::Enabled).await,
            Task::Delete => {
                let operation = bed.client.delete(EUICC, iccid, true).await.unwrap();
                bed.client.wait(operation.id).await.unwrap()
            }
        }
    }

    /// Orders a profile for this card, waits until it has come by itself, and gives the operation.
    async fn first_profile(&self) -> Operation {
        let bench = &self.bed.bench;
        self.order.get_or_init(|| {
            let profile = Profile::builder(Iccid::nth(900)).size(3000).build();
            bench
                .smdp
                .create_order(OrderRequest::for_eid(profile, bench.eid()))
        });
        let mut card = bench.card.state();
        let installed = card.wait_for(|card| !card.installed.is_empty());
        let installed = timeout(DAYS, installed).await;
        drop(installed.expect("a first profile comes").unwrap());
        let operations = self.bed.client.operations().await.unwrap();
        let newest = operations.last().expect("it was downloaded").id;
        self.bed.client.wait(newest).await.unwrap()
    }

    /// Checks all that must hold afterwards; without an operation the daemon was killed before it
    /// was begun.
    pub(crate) async fn must_end_well(mut self, operation: Option<Operation>) {
        // Whatever happened, a first boot gets there in the end.
        let operation = match self.task {
            Task::FirstBoot => Some(self.run().await),
            _ => operation,
        };
        self.bed.settle().await;
        self.bed.must_tell_the_truth().await;
        if let Some(operation) = operation {
            self.must_be_true(&operation).await;
        }
        self.bed.must_be_sound().await;
    }

    /// Checks that the operation says what is on the card and at the server.
    async fn must_be_true(&self, operation: &Operation) {
        let Self { bed, iccid, .. } = self;
        let profiles = bed.client.profiles(EUICC).await.unwrap();
        let state_of = |iccid: &str| {
            let profile = profiles.iter().find(|profile| profile.iccid == iccid);
            profile.map(|profile| profile.state)
        };
        // Of one that ended before a restart it is told how it ended, not what it achieved.
        let result = operation.result.as_ref();
        let result = result.filter(|result| result.iccid.is_some());
        let is_done = match (self.task, result) {
            (Task::Download | Task::FirstBoot, None) => !profiles.is_empty(),
            (Task::Download | Task::FirstBoot, Some(result)) => {
                let state = state_of(result.iccid.as_deref().unwrap()).unwrap();
                let is_enabled = state == ProfileState::Enabled;
                assert_eq!(result.enabled, Some(is_enabled), "{result:?}");
                assert!(is_enabled || !result.warnings.is_empty(), "{result:?}");
                let order = bed.bench.smdp.order(*self.order.get().unwrap()).unwrap();
                assert_eq!(order.state(), OrderState::Installed);
                true
            }
            (Task::Switch, _) => state_of(iccid) == Some(ProfileState::Enabled),
            (Task::Delete, _) => state_of(iccid).is_none(),
        };
        assert_eq!(
            operation.state == State::Succeeded,
            is_done,
            "{operation:?}"
        );
        let Some(problem) = &operation.problem else {
            return;
        };
        assert!(problem.detail.ends_with('.'), "{problem:?}");
        // A client that is told to do it again, or that the code still works, can rely on it.
        if problem.retryable || problem.code_consumed == Some(CodeConsumed::No) {
            let again = self.run().await;
            let told = (problem, &again.problem);
            assert_eq!(again.state, State::Succeeded, "{told:?}");
        }
    }
}

fn download_and_enable() -> DownloadRequest {
    DownloadRequest {
        enable: true,
        ..accepting(&format!("1${HOST_NAME}$M-1"))
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
        const BEFORE: [u32; 6] = [0xBF3E, 0xBF20, 0xBF2E, 0xBF38, 0xBF43, 0xBF21];
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

/// How long a first profile may take, with all its back-off.
const DAYS: Duration = Duration::from_secs(3 * 24 * 3600);
