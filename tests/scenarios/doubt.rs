//! The card is read anew when it may hold something else than is known, and only then.

use lpad::memory::operations::State;
use lpad_tests::bed::{Bed, EUICC};
use sim_card_emulator::modem::{Effect, Fault, Pattern};

/// GetEUICCInfo2, which is read whenever the card is read as a whole, and not by a deletion.
const EUICC_INFO_2: u32 = 0xBF22;

#[tokio::test(start_paused = true)]
async fn a_hiccup_that_left_nothing_unknown_costs_no_reading_of_the_whole_card() {
    // In the session of a deletion GetEID is first, and DeleteProfile second.
    for (nth, executed) in [(1, false), (1, true), (2, true)] {
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
        let deleted = bed
            .ended(bed.client.delete(EUICC, &iccid, true).await)
            .await;
        assert_eq!(
            deleted.state,
            State::Succeeded,
            "{nth} {executed}: {deleted:?}"
        );
        // The next operation finds the card read anew, if it was.
        bed.ended(bed.client.deliver_notifications(EUICC).await)
            .await;
        assert_eq!(self::readings(&bed), readings, "{nth} {executed}");
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_reads_each_part_of_the_card_once() {
    let mut bed = Bed::start().await;
    bed.stop().await;
    let counters = bed.bench.card.counters();
    let before = counters.borrow().clone();
    // How the modem wants to be used is known from the first start.
    bed.resume().await;
    // GetEID, GetEUICCInfo2, GetEuiccConfiguredAddresses, GetProfilesInfo, ListNotification.
    for function in [0xBF3E, EUICC_INFO_2, 0xBF3C, 0xBF2D, 0xBF28] {
        let now = counters.borrow().calls(function);
        assert_eq!(now - before.calls(function), 1, "{function:X}");
    }
}

fn readings(bed: &Bed) -> u64 {
    bed.bench.card.counters().borrow().calls(EUICC_INFO_2)
}
