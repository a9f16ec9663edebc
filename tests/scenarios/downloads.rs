//! Downloads that go well.

use lpad::api::downloads::DownloadRequest;
use lpad::job::Consent;
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState;
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, succeeded};
use lpad_tests::bench::Bench;
use rsp_servers::smdp::{OrderRequest, OrderState};

/// The story both ways of joining the parts must tell alike.
async fn an_activation_code_brings_a_profile(mut bed: Bed) {
    let order = bed.order("M-1");
    let operation = bed.download_id("M-1").await;
    succeeded(&operation);
    let result = operation.result.unwrap();
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    assert_eq!(result.iccid.as_deref(), Some(&*profiles[0].iccid));
    assert_eq!(profiles[0].state, ProfileState::Disabled);
    assert_eq!(
        bed.bench.smdp.order(order).unwrap().state(),
        OrderState::Installed
    );
    bed.must_be_sound().await;
    bed.stop().await;
    assert!(bed.bench.card.open_channels().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_activation_code_brings_a_profile_in_memory() {
    an_activation_code_brings_a_profile(Bed::start().await).await;
}

#[tokio::test]
async fn an_activation_code_brings_a_profile_over_a_pty_and_loopback() {
    an_activation_code_brings_a_profile(Bed::over_kernel_devices().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_reserved_for_the_eid_comes_from_the_default_smdp() {
    let mut bed = Bed::start().await;
    let profile = bed.profile();
    let order = bed
        .bench
        .smdp
        .create_order(OrderRequest::for_eid(profile, bed.bench.eid()));
    let set = bed
        .client
        .set_default_smdp(EUICC, "smdp.example.com")
        .await
        .unwrap();
    assert_eq!(
        bed.client.wait(set.id).await.unwrap().state,
        State::Succeeded
    );
    let request = DownloadRequest {
        default: true,
        consent: Consent::Accept,
        ..Default::default()
    };
    let operation = bed.download_as(&request).await;
    succeeded(&operation);
    assert_eq!(
        bed.bench.smdp.order(order).unwrap().state(),
        OrderState::Installed
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_card_gets_and_enables_its_profile_at_first_boot_by_itself() {
    let bench = Bench::new();
    let profile =
        rsp_servers::profile::Profile::builder(rsp_servers::profile::Iccid::nth(99)).build();
    let order = bench
        .smdp
        .create_order(OrderRequest::for_eid(profile, bench.eid()));
    let bed = Bed::with(bench, "empty").await;
    bed.bench
        .smdp
        .wait_until(|smdp| smdp.order(order).unwrap().state() == OrderState::Installed)
        .await;
    bed.bench
        .smdp
        .wait_until(|smdp| smdp.notifications().len() == 2)
        .await;
    bed.settle().await;
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    assert_eq!(profiles[0].state, ProfileState::Enabled);
}

#[tokio::test(start_paused = true)]
async fn profiles_are_downloaded_from_allowed_servers_alone() {
    let mut bed = Bed::start().await;
    for (allowed, is_allowed) in [
        ("*.example.net", false),
        ("example.com", false),
        ("*.example.com", true),
        ("SMDP.example.com", true),
    ] {
        bed.stop().await;
        bed.configuration().euiccs[0].smdp_allowed = vec![allowed.to_owned()];
        bed.resume().await;
        let calls = bed.bench.network().calls().len();
        match is_allowed {
            true => drop(bed.install().await),
            false => {
                let problem = bed.fail("M-1").await;
                assert_eq!(problem.code, Code::SmdpNotAllowed, "{allowed}");
                assert_eq!(bed.bench.network().calls().len(), calls, "{allowed}");
            }
        }
    }
    bed.must_be_sound().await;
}
