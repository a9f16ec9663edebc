//! By which commands, and in which form, APDUs reach the card: it is found out, remembered, shown, and
//! found out anew when the modem or the settings have changed.

use lpad::config::{ApduPath, Route};
use lpad::memory::operations::State;
use lpad::problem::CodeConsumed;
use lpad_tests::bed::{Bed, EUICC, problem, succeeded};
use lpad_tests::bench::Bench;
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::OrderRequest;
use sim_card_emulator::modem::Quirk;

use crate::modems::entry;

async fn route(bed: &Bed) -> Option<Route> {
    let euicc = bed.client.euicc(EUICC).await.unwrap();
    euicc.modem.and_then(|modem| modem.apdu)
}

#[tokio::test(start_paused = true)]
async fn the_route_in_use_is_shown_and_left_when_the_modem_refuses_it() {
    let mut bed = Bed::by(Bench::new(), ApduPath::Auto).await;
    assert_eq!(route(&bed).await, Some(Route::Cgla));
    let gone = Quirk::NoCcho;
    bed.bench.modem.set_quirks(|quirks| quirks.turn_on(gone));
    bed.install().await;
    assert_eq!(route(&bed).await, Some(Route::Csim));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_was_changed_holds_from_the_next_start_on() {
    let mut bed = Bed::by(Bench::new(), ApduPath::Auto).await;
    for (asked, lines, used) in [
        (ApduPath::Csim, "", Route::Csim),
        (ApduPath::Auto, "", Route::Cgla),
        (ApduPath::Auto, "apdu = [\"csim\", \"cgla\"]\n", Route::Csim),
        (ApduPath::Cgla, "apdu = [\"csim\"]\n", Route::Cgla),
    ] {
        bed.stop().await;
        bed.configuration().euiccs[0].apdu = asked;
        bed.configuration().euiccs[0].modem = entry(lines);
        bed.resume().await;
        assert_eq!(route(&bed).await, Some(used), "{asked:?}, {lines}");
    }
    // A smaller block is one of the settings, and a modem that needs it is served by it.
    bed.stop().await;
    bed.configuration().euiccs[0].apdu = ApduPath::Csim;
    bed.configuration().euiccs[0].modem = entry("block_size = 60\n");
    let limit = Quirk::LineLimitSilent;
    bed.bench.modem.set_quirks(|quirks| quirks.set(limit, 200));
    bed.resume().await;
    bed.install().await;
    bed.must_be_sound().await;
}

/// A firmware update, or another modem of the same name: what was remembered does not hold any more. That
/// costs one operation at most, and that one loses nothing.
#[tokio::test(start_paused = true)]
async fn what_was_remembered_of_a_modem_is_found_out_anew_when_it_fails() {
    for by in [ApduPath::Cgla, ApduPath::Csim] {
        for (quirk, value) in [
            (Quirk::LeRequired, None),
            (Quirk::LeForbidden, None),
            (Quirk::GetResponseClass, None),
            (Quirk::LineLimit, Some(200)),
        ] {
            let mut bed = Bed::by(Bench::new(), by).await;
            bed.install().await;
            bed.stop().await;
            bed.bench.modem.set_quirks(|quirks| match value {
                Some(value) => quirks.set(quirk, value),
                None => quirks.turn_on(quirk),
            });
            bed.resume().await;
            bed.order("AGAIN");
            let first = bed.download_id("AGAIN").await;
            if first.state == State::Failed {
                let problem = problem(first);
                assert!(problem.retryable, "{problem:?}");
                assert_eq!(problem.code_consumed, Some(CodeConsumed::No));
                succeeded(&bed.download_id("AGAIN").await);
            }
            bed.must_be_sound().await;
        }
    }
}

/// What a download costs on the line, with its notification: a slow UART is where it shows.
#[tokio::test(start_paused = true)]
async fn a_download_takes_few_commands_by_either_route() {
    for by in [ApduPath::Csim, ApduPath::Cgla] {
        let bed = Bed::by(Bench::new(), by).await;
        let profile = Profile::builder(Iccid::nth(1)).size(12_000).build();
        let order = OrderRequest::with_matching_id(profile, "BENCH-1");
        bed.bench.smdp.create_order(order);
        let before = *bed.bench.modem.counters().borrow();
        succeeded(&bed.download_id("BENCH-1").await);
        bed.settle().await;
        let after = *bed.bench.modem.counters().borrow();
        let apdus = after.apdus - before.apdus;
        let octets = after.bytes_in + after.bytes_out - before.bytes_in - before.bytes_out;
        assert!(apdus <= 74, "{by:?}: {apdus}");
        assert!(octets <= 36_300, "{by:?}: {octets}");
        assert_eq!(bed.bench.smdp.counters().handshakes, 1, "{by:?}");
    }
}
