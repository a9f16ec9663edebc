//! Procedures against card and server in memory, with a paused clock and without the daemon.

use es9_client::{Es9Client, Options};
use es10_apdu::at::{AtPort, Csim, ModemProfile};
use es10_apdu::isdr::{Isdr, IsdrOptions};
use lpad::commit::Cancellation;
use lpad::procedure::download::{Device, Initiated, Order};
use lpad::procedure::notifications::Retrieved;
use lpad::procedure::{notifications, profiles};
use lpad::secret::Secret;
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::{OrderRequest, OrderState};

fn order(matching_id: &str) -> Order {
    Order {
        address: HOST_NAME.parse().unwrap(),
        matching_id: Secret::new(matching_id),
        oid: None,
    }
}

fn profile(number: u32) -> Profile {
    Profile::builder(Iccid::nth(number))
        .name("Story")
        .size(3000)
        .build()
}

#[tokio::test(start_paused = true)]
async fn a_profile_reserved_under_a_matching_id_is_installed_and_reported() {
    let bench = Bench::new();
    let ordered = bench
        .smdp
        .create_order(OrderRequest::with_matching_id(profile(1), "M-1"));
    let server = Es9Client::new(bench.network(), bench.roots(), Options::default());
    let mut port = AtPort::new(bench.line().open());
    port.init(&ModemProfile::default()).await.unwrap();
    let mut card = Isdr::open(Csim::new(&mut port), &IsdrOptions::default())
        .await
        .unwrap();

    let offer = Initiated::start(&mut card, &server, order("M-1"), None)
        .await
        .unwrap()
        .authenticate_server(&mut card, &server, &Device::default())
        .await
        .unwrap()
        .offer(&mut card, &server)
        .await
        .unwrap();
    assert!(!offer.confirmation_code_required());
    let bound = offer
        .accept(&mut card, &server, None)
        .await
        .unwrap()
        .fetch(&mut card, &server)
        .await
        .unwrap();
    let committed = Cancellation::default().commit().unwrap();
    let total = bound.size();
    let mut last = 0;
    let installed = bound
        .install(&mut card, &server, &committed, |done| last = done)
        .await
        .unwrap();
    assert!(
        last > 0 && last < total,
        "the last segment is answered with the result"
    );
    let list = profiles::list(&mut card).await.unwrap();
    assert_eq!(list[0].iccid, Some(installed.iccid));
    assert!(!list[0].is_enabled());

    let listed = notifications::metadata(&mut card).await.unwrap();
    for number in listed.items.iter().map(|one| one.seq_number) {
        let Retrieved::Octets(octets) = notifications::retrieve(&mut card, number).await.unwrap()
        else {
            panic!("{number} is listed and not there");
        };
        let address = HOST_NAME.parse().unwrap();
        notifications::deliver(&server, &address, &octets)
            .await
            .unwrap();
        notifications::remove(&mut card, number).await.unwrap();
    }
    assert_eq!(
        bench.smdp.order(ordered).unwrap().state(),
        OrderState::Installed
    );
    let left = notifications::metadata(&mut card).await.unwrap();
    assert!(left.items.is_empty());
    assert_eq!(server.counters().handshakes, 1);
    card.close().await.unwrap();
    assert!(bench.card.open_channels().is_empty());
}
