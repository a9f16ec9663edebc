//! The channel that was left open is closed again, and no other program's.

use lpad::config::ApduPath;
use lpad_tests::bed::{Bed, EUICC};
use lpad_tests::bench::Bench;
use sim_card_emulator::modem::{Card as _, Moment, Pattern};

/// SELECT by name, of the ISD-R.
const SELECT: Pattern = Pattern {
    ins: Some(0xA4),
    p1: Some(0x04),
    p2: None,
};

#[tokio::test(start_paused = true)]
async fn a_channel_another_program_opened_after_a_reset_of_the_card_is_left_alone() {
    let mut bed = Bed::start().await;
    is_killed_with_a_channel_open(&mut bed, Pattern::LAST_BLOCK).await;
    bed.bench.card.reset();
    let opened = bed
        .bench
        .card
        .clone()
        .transmit(&[0x00, 0x70, 0x00, 0x00, 0x01]);
    assert_eq!(opened, [1, 0x90, 0x00]);
    bed.resume().await;
    bed.install().await;
    assert_eq!(bed.bench.card.open_channels(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_was_opened_and_not_yet_selected_is_closed_at_the_next_start() {
    for pattern in [SELECT, Pattern::LAST_BLOCK] {
        let mut bed = Bed::by(Bench::new(), ApduPath::Csim).await;
        is_killed_with_a_channel_open(&mut bed, pattern).await;
        bed.resume().await;
        assert_eq!(bed.bench.card.open_channels(), [0; 0], "{pattern:?}");
        bed.must_be_sound().await;
    }
}

/// The modem had opened a session, and lpad was killed before it was told its number.
#[tokio::test(start_paused = true)]
async fn a_session_whose_number_was_never_told_is_closed_at_the_next_start() {
    let mut bed = Bed::by(Bench::new(), ApduPath::Cgla).await;
    let modem = bed.bench.modem.clone();
    let mut hold = modem.hold(SELECT, 1, Moment::BeforeAnswer);
    bed.client.deliver_notifications(EUICC).await.unwrap();
    hold.reached().await;
    bed.kill().await;
    hold.release();
    bed.resume().await;
    assert_eq!(bed.bench.card.open_channels(), [0; 0]);
    bed.must_be_sound().await;
}

async fn is_killed_with_a_channel_open(bed: &mut Bed, pattern: Pattern) {
    let modem = bed.bench.modem.clone();
    let mut hold = modem.hold(pattern, 1, Moment::BeforeExecution);
    bed.client.deliver_notifications(EUICC).await.unwrap();
    hold.reached().await;
    assert_eq!(bed.bench.card.open_channels(), [1]);
    bed.kill().await;
    hold.release();
}
