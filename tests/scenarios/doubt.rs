//! The card is read anew when it may hold something else than is known, and only then.

use lpad::memory::operations::State;
use lpad_tests::bed::{Bed, EUICC};
use sim_card_emulator::modem::{Effect, Fault, Pattern};

/// GetEUICCInfo2, which is read whenever the card is read as a whole, and not by a deletion.
const EUICC_INFO_2: u32 = 0xBF22;

#[tokio::test(start_paused = true)]
async fn a_hiccup_that_left_nothing_unknown_costs_no_reading_of_the_whole_card() {
    // In the session of a deletion GetEID is first, and DeleteProfile second.
    for nth in [1, 2] {
        for executed in [false, true] {
            let mut bed = Bed::start().await;
            let iccid = bed.install().await;
            let readings = readings(&bed);
            bed.bench.modem.inject(Fault {
                pattern: Pattern::LAST_BLOCK,
                nth,
                effect: Effect::Error {
                    cme: Some(14),
                    executed,
                },
            });
            let deleted = bed.ended(bed.client.delete(EUICC, &iccid).await).await;
            let is_deleted = nth == 1 || executed;
            let state = match is_deleted {
                true => State::Succeeded,
                false => State::Failed,
            };
            assert_eq!(deleted.state, state, "{nth} {executed}: {deleted:?}");
            // The next operation finds the card read anew, if it was.
            bed.ended(bed.client.deliver_notifications(EUICC).await)
                .await;
            assert_eq!(self::readings(&bed), readings, "{nth} {executed}");
            bed.must_be_sound().await;
        }
    }
}

fn readings(bed: &Bed) -> u64 {
    bed.bench.card.counters().borrow().calls(EUICC_INFO_2)
}
