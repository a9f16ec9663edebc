//! The SM-DP+ is restarted: what it owes to eUICCs and operators, it still knows.

use lpad_tests::bed::{Bed, problem, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_common::pki::{Pki, PkiOptions};
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::{Calls, Config, Fault, Function, OrderId, OrderRequest, OrderState, Smdp};
use tempfile::TempDir;

/// A bed whose server keeps its state in a folder, with an order under `M-1`.
struct Story {
    bed: Bed,
    config: Config,
    order: OrderId,
    // Dropped last: the server's state is in it.
    _folder: TempDir,
}

impl Story {
    async fn new(change: impl FnOnce(&mut OrderRequest)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            state_folder: Some(folder.path().to_owned()),
            ..Config::new(HOST_NAME, Pki::generate(&PkiOptions::default()).unwrap())
        };
        let bed = Bed::with(Bench::with_smdp(config.clone()), "never").await;
        let profile = Profile::builder(Iccid::nth(1)).size(3000).build();
        let mut request = OrderRequest::with_matching_id(profile, "M-1");
        change(&mut request);
        let order = bed.bench.smdp.create_order(request);
        Self {
            bed,
            config,
            order,
            _folder: folder,
        }
    }

    /// Puts a server in the place of the one there is, with nothing but its folder.
    fn restart_server(&mut self) {
        let smdp = Smdp::new(self.config.clone()).unwrap();
        self.bed.bench.smdp = smdp.clone();
        let serve = move |stream| {
            let smdp = smdp.clone();
            async move { smdp.serve_stream(stream).await }
        };
        self.bed.bench.network().set_server(HOST_NAME, serve);
    }
}

#[tokio::test(start_paused = true)]
async fn a_package_handed_out_before_a_restart_is_handed_out_again() {
    let mut story = Story::new(|_| {}).await;
    let is_out = |smdp: &Smdp| smdp.order(story.order).unwrap().state() == OrderState::Downloaded;
    tokio::select! {
        biased;
        () = story.bed.bench.smdp.wait_until(is_out) => {}
        ended = story.bed.download_id("M-1") => panic!("{ended:?}"),
    }
    story.bed.kill().await;
    story.restart_server();
    let order = story.bed.bench.smdp.order(story.order).unwrap();
    assert_eq!(
        (order.state(), order.attempts()),
        (OrderState::Downloaded, 1)
    );
    story.bed.resume().await;
    story.bed.settle().await;
    let operation = story.bed.download_id("M-1").await;
    succeeded(&operation);
    assert_eq!(story.bed.order_state(story.order), OrderState::Installed);

    story.restart_server();
    assert_eq!(story.bed.order_state(story.order), OrderState::Installed);
    story.bed.fail("M-1").await;
    story.bed.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_result_that_arrives_after_a_restart_closes_its_order() {
    let mut story = Story::new(|_| {}).await;
    story.bed.bench.smdp.set_fault(
        Function::HandleNotification,
        Calls::Every,
        Fault::HttpStatus(500),
    );
    story.bed.download_id("M-1").await;
    assert_eq!(story.bed.order_state(story.order), OrderState::Downloaded);
    story.restart_server();
    story.bed.settle().await;
    assert_eq!(story.bed.order_state(story.order), OrderState::Installed);
}

#[tokio::test(start_paused = true)]
async fn wrong_confirmation_codes_are_counted_over_a_restart() {
    let mut story = Story::new(|request| {
        request.confirmation_code = Some("1234".into());
        request.max_confirmation_attempts = 2;
    })
    .await;
    for tries_left in [1, 0] {
        let request = lpad::api::downloads::DownloadRequest {
            confirmation_code: Some(lpad::secret::Secret::new("4321")),
            ..lpad_tests::bed::accepting(&format!("1${HOST_NAME}$M-1"))
        };
        problem(story.bed.download_as(&request).await);
        story.restart_server();
        let is_closed = story.bed.order_state(story.order) == OrderState::Error;
        assert_eq!(is_closed, tries_left == 0);
    }
}
