//! The network behind the modem, as the test bed has it: when a connection over it succeeds.

use std::io::ErrorKind;
use std::time::Duration;

use es9_client::Connect;
use lpad::memory::snapshot::ProfileState;
use lpad_tests::bed::{Bed, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use sim_card_emulator::modem::Data;
use tokio::time::{Instant, timeout};

/// What becomes of a connection over the modem: the kind of its error; or that nothing is heard.
async fn connects(bench: &Bench) -> Result<(), Option<ErrorKind>> {
    let network = bench.network().over(Some("wwan0"));
    let connecting = network.connect(HOST_NAME, 443);
    match timeout(Duration::from_secs(60), connecting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Some(error.kind())),
        Err(_) => Err(None),
    }
}

/// Waits until packets get through on the modem's interface as said.
async fn data_is(bench: &Bench, wanted: Data) {
    let mut data = bench.modem.data();
    let reached = data.wait_for(|data| *data == wanted);
    timeout(Duration::from_secs(1200), reached)
        .await
        .expect("it never is")
        .expect("the modem is there");
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_the_modem_needs_a_context_that_is_up() {
    let mut bed = Bed::start().await;
    bed.bench.set_interface("wwan0");
    let no_route = Err(Some(ErrorKind::NetworkUnreachable));
    assert_eq!(connects(&bed.bench).await, no_route);
    let iccid = bed.install().await;
    succeeded(&bed.switch(&iccid, ProfileState::Enabled).await);
    for (words, data, connected) in [
        ("registers", Data::Up, Ok(())),
        ("no-address", Data::Down, no_route),
        ("no-packets", Data::Stuck, Err(None)),
        ("roaming", Data::Up, Ok(())),
        ("never", Data::Down, no_route),
        ("registers", Data::Up, Ok(())),
    ] {
        let network = words.parse().unwrap();
        bed.bench.modem.set_network(Some(&iccid), network);
        data_is(&bed.bench, data).await;
        assert_eq!(connects(&bed.bench).await, connected, "{words}");
    }
    bed.bench.unplug();
    assert_eq!(connects(&bed.bench).await, no_route);
    bed.bench.plug_in();
    data_is(&bed.bench, Data::Up).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_profile_has_service_some_time_after_its_installation_was_reported() {
    let mut bed = Bed::start().await;
    bed.bench.provision();
    let network = "provisioned-after=2m,rejects=17".parse().unwrap();
    bed.bench.modem.set_network(None, network);
    let iccid = bed.install().await;
    bed.settle().await;
    let reported = Instant::now();
    succeeded(&bed.switch(&iccid, ProfileState::Enabled).await);
    assert_eq!(*bed.bench.modem.data().borrow(), Data::Up);
    let took = reported.elapsed().as_secs();
    assert!((120..900).contains(&took), "{took} s");
}
