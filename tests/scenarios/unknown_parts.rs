//! Parts of the card that cannot be read are unknown, named, and block only what needs them.

use std::time::Duration;

use es10_apdu::apdu::StatusWord;
use lpad::api::downloads::DownloadRequest;
use lpad::client::ClientError;
use lpad::job::{Consent, Part};
use lpad::memory::operations::State;
use lpad::memory::snapshot::{Availability, ProfileState};
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, problem};
use lpad_tests::bench::HOST_NAME;
use sim_card_emulator::euicc::{Forced, ForcedAnswer};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_part_the_card_does_not_give_costs_only_what_needs_it() {
    for (function, part) in [
        (0xBF2D, Part::Profiles),
        (0xBF28, Part::Notifications),
        (0xBF3C, Part::Addresses),
        (0xBF22, Part::Info),
    ] {
        for sw in [0x6A80, 0x6A88] {
            // Only seen when the test fails.
            eprintln!("{part:?} {sw:X}");
            let mut bed = Bed::start().await;
            let iccid = bed.install().await;
            bed.stop().await;
            bed.configuration().euiccs[0].bootstrap.default_smdp = None;
            bed.bench.card.configure(|card| {
                card.forced.push(Forced {
                    function,
                    call: None,
                    answer: ForcedAnswer::Status(StatusWord(sw)),
                });
            });
            bed.resume().await;
            let euicc = bed.client.euicc(EUICC).await.unwrap();
            assert_eq!(euicc.state, Availability::Ready);
            let named: Vec<_> = euicc.unknown.iter().map(|one| one.part).collect();
            assert_eq!(named, [part]);
            let because = euicc.unknown[0].problem.card.as_ref().unwrap();
            assert_eq!(because.sw.as_deref(), Some(&*format!("{sw:X}")));
            lists_say(&bed, part).await;
            jobs_say(&mut bed, &iccid, part).await;

            bed.bench.card.configure(|card| card.forced.clear());
            sleep(Duration::from_secs(3)).await;
            let euicc = bed.client.euicc(EUICC).await.unwrap();
            assert_eq!(euicc.unknown, []);
            assert!(euicc.info.is_some());
            bed.must_be_sound().await;
        }
    }
}

/// Reading a list that is not known is an error, and the others are told.
async fn lists_say(bed: &Bed, unknown: Part) {
    let read = bed.client.profiles(EUICC).await.map(drop);
    is_as_known(read, unknown == Part::Profiles);
    let read = bed.client.notifications(EUICC).await.map(drop);
    is_as_known(read, unknown == Part::Notifications);
    let read = bed.client.addresses(EUICC).await.map(drop);
    is_as_known(read, unknown == Part::Addresses);
}

#[track_caller]
fn is_as_known(read: Result<(), ClientError>, unknown: bool) {
    match read {
        Ok(()) => assert!(!unknown, "an unknown part is told"),
        Err(ClientError::Problem(problem)) => {
            assert!(unknown);
            assert_eq!(problem.code, Code::PartUnknown);
        }
        Err(other) => panic!("{other}"),
    }
}

/// Jobs that need the part fail before anything is sent, the others work.
async fn jobs_say(bed: &mut Bed, iccid: &str, unknown: Part) {
    let client = bed.client.clone();
    let renamed = bed.ended(client.rename(EUICC, iccid, "Uplink").await).await;
    ends(renamed, unknown == Part::Profiles);
    let set = client.set_default_smdp(EUICC, HOST_NAME).await;
    ends(bed.ended(set).await, unknown == Part::Addresses);
    let delivered = client.deliver_notifications(EUICC).await;
    ends(bed.ended(delivered).await, unknown == Part::Notifications);
    bed.order("M-1");
    ends(bed.download_id("M-1").await, false);
    if unknown == Part::Addresses {
        let by_default = DownloadRequest {
            default: true,
            consent: Consent::Accept,
            ..DownloadRequest::default()
        };
        ends(bed.download_as(&by_default).await, true);
    }
    let enabled = bed.switch(iccid, ProfileState::Enabled).await;
    ends(enabled, unknown == Part::Profiles);
    let has_two = bed.bench.card.memory().profiles.len() == 2;
    assert!(has_two, "the download is on the card");
}

#[track_caller]
fn ends(operation: lpad::api::body::Operation, unknown: bool) {
    if unknown {
        let problem = problem(operation);
        assert_eq!(problem.code, Code::PartUnknown, "{problem:?}");
        assert!(problem.next_step.contains("unknown"), "{problem:?}");
    } else {
        assert_eq!(operation.state, State::Succeeded, "{operation:?}");
    }
}
