//! Cards with manners of their own: the daemon lives with all of them.

use lpad::memory::snapshot::ProfileState::{Disabled, Enabled};
use lpad_tests::bed::{Bed, EUICC};
use rsp_servers::smdp::{Calls, Fault, Function};
use sim_card_emulator::euicc::Settings;

#[tokio::test(start_paused = true)]
async fn a_package_in_longer_pieces_than_the_specification_allows_is_installed() {
    let mut bed = Bed::start().await;
    let fault = Fault::Package("piece-size=1008".parse().unwrap());
    let function = Function::GetBoundProfilePackage;
    bed.bench.smdp.set_fault(function, Calls::NEXT, fault);
    let iccid = bed.install().await;
    let memory = bed.bench.card.memory();
    assert_eq!(memory.profiles[0].iccid.to_string(), iccid);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_profile_is_the_same_on_cards_with_other_manners() {
    for manner in [
        "v3_answers = true",
        "empty_list = 'undefined-error'",
        "empty_list = 'no-result-available'",
        "installation_answer = 'nothing'",
        "bare_sima_response = true",
        "full_store = 'refuse'\nnotifications = 4",
        "uncut_sequences = true",
        "always_get_response = true",
        "hash_cc_demanded = true",
        "segment_limit = 1020\nisdr_on_basic_channel = false\nisdr_in_directory = false",
    ] {
        let mut bed = Bed::start().await;
        let settings: Settings = toml::from_str(manner).unwrap();
        bed.bench.card.configure(|card| *card = settings);
        let (first, second) = (bed.install().await, bed.install().await);
        for (iccid, state) in [(&first, Enabled), (&second, Enabled), (&second, Disabled)] {
            let operation = bed.switch(iccid, state).await;
            assert_eq!(
                operation.problem.map(|problem| problem.title),
                None,
                "{manner}"
            );
        }
        let deleted = bed
            .ended(bed.client.delete(EUICC, &second, true).await)
            .await;
        assert_eq!(
            deleted.problem.map(|problem| problem.title),
            None,
            "{manner}"
        );
        let memory = bed.bench.card.memory();
        assert_eq!(memory.profiles.len(), 1, "{manner}");
        assert!(memory.notifications.is_empty(), "{manner}");
        bed.must_be_sound().await;
    }
}
