//! Cards with manners of their own: the daemon lives with all of them.

use lpad::snapshot::ProfileState::{Disabled, Enabled};
use lpad_tests::bed::{Bed, EUICC};
use sim_card_emulator::euicc::{EmptyList, FullStore, InstallationAnswer, Settings};

#[tokio::test(start_paused = true)]
async fn the_life_of_a_profile_is_the_same_on_cards_with_other_manners() {
    let manners: [(&str, fn(&mut Settings)); 9] = [
        ("answers of v3", |card| card.v3_answers = true),
        ("undefinedError for an empty list", |card| {
            card.empty_list = EmptyList::UndefinedError;
        }),
        ("noResultAvailable for an empty list", |card| {
            card.empty_list = EmptyList::NoResultAvailable;
        }),
        ("no answer to the last segment", |card| {
            card.installation_answer = InstallationAnswer::Nothing;
        }),
        ("success without a status", |card| {
            card.bare_sima_response = true
        }),
        ("short lists that are not overwritten", |card| {
            (card.full_store, card.notifications) = (FullStore::Refuse, 4);
        }),
        ("sequences in one segment", |card| {
            card.uncut_sequences = true
        }),
        ("61xx after every answer", |card| {
            card.always_get_response = true
        }),
        ("a confirmation code is the card's affair", |card| {
            card.hash_cc_demanded = true;
        }),
    ];
    for (name, change) in manners {
        let mut bed = Bed::start().await;
        bed.bench.card.configure(change);
        let (first, second) = (bed.install().await, bed.install().await);
        for (iccid, state) in [(&first, Enabled), (&second, Enabled), (&second, Disabled)] {
            let operation = bed.switch(iccid, state).await;
            assert_eq!(
                operation.problem.map(|problem| problem.title),
                None,
                "{name}"
            );
        }
        let deleted = bed.ended(bed.client.delete(EUICC, &second).await).await;
        assert_eq!(deleted.problem.map(|problem| problem.title), None, "{name}");
        let memory = bed.bench.card.memory();
        assert_eq!(memory.profiles.len(), 1, "{name}");
        assert!(memory.notifications.is_empty(), "{name}");
        bed.must_be_sound().await;
    }
}
