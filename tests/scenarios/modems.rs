//! How a modem is handled is data: the table, the user's own table and `[euicc.modem]` decide what it is
//! asked and what it is sent.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lpad::api::body::{Modem, Operation};
use lpad::config::{AfterEnable, Config, ModemEntry, Route};
use lpad::memory::snapshot::ProfileState;
use lpad::modem::Identity;
use lpad::modem::table::{Because, Table};
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, problem, set_state, succeeded};
use lpad_tests::bench::Bench;
use sim_card_emulator::modem::{Effect, Fault, Network, Pattern, Preset, Quirk};
use tokio::time::Instant;

/// `[euicc.modem]` with these lines.
pub(crate) fn entry(lines: &str) -> ModemEntry {
    let text = format!("[[euicc]]\nport = \"/dev/ttyUSB2\"\n[euicc.modem]\n{lines}");
    let config = Config::parse(&text, Path::new("lpad.toml")).unwrap();
    config.euiccs[0].modem.clone()
}

/// A daemon whose modem is handled like this.
async fn bed(lines: &str) -> Bed {
    let mut bed = Bed::start().await;
    bed.stop().await;
    bed.configuration().euiccs[0].modem = entry(lines);
    bed.resume().await;
    bed
}

async fn shown(bed: &Bed) -> Modem {
    bed.client.euicc(EUICC).await.unwrap().modem.unwrap()
}

fn warnings(operation: Operation) -> Vec<String> {
    succeeded(&operation);
    operation.result.unwrap().warnings
}

#[tokio::test(start_paused = true)]
async fn a_modem_is_handled_as_its_entry_says_and_the_status_shows_which_one() {
    let mut bed = Bed::start().await;
    let by_itself = Modem {
        manufacturer: Some("lpad".into()),
        model: Some("sim-card-emulator".into()),
        firmware: Some(env!("CARGO_PKG_VERSION").into()),
        profile: "generic".into(),
        because: "no entry of the table names this modem".into(),
        apdu: Some(Route::Cgla),
    };
    assert_eq!(shown(&bed).await, by_itself);
    bed.stop().await;
    bed.configuration().euiccs[0].modem = entry("family = \"quectel-ec25\"\n");
    bed.resume().await;
    let configured = Modem {
        profile: "quectel-ec25".into(),
        because: "the configuration says how this modem is handled".into(),
        ..by_itself.clone()
    };
    assert_eq!(shown(&bed).await, configured);
    bed.stop().await;
    let table = bed.folder().join("modems.toml");
    let own = "[[modem]]\nid = \"ours\"\nmakers = [\"LPAD\"]\nmodels = [\"sim-card-*\"]\n";
    fs::write(&table, own).unwrap();
    bed.configuration().modems.table = Some(table);
    bed.configuration().euiccs[0].modem = ModemEntry::default();
    bed.resume().await;
    let ours = Modem {
        profile: "ours".into(),
        because: "the table knows this modem".into(),
        ..by_itself
    };
    assert_eq!(shown(&bed).await, ours);
    bed.must_be_sound().await;
}

/// Installs a profile, gives the modem these quirks, and enables the profile without a warning; gives how
/// long that took.
async fn must_switch(bed: &mut Bed, quirks: &[Quirk]) -> Duration {
    let iccid = bed.install().await;
    bed.bench
        .modem
        .set_quirks(|of_modem| quirks.iter().for_each(|&quirk| of_modem.turn_on(quirk)));
    let begin = Instant::now();
    let switched = bed.switch(&iccid, ProfileState::Enabled).await;
    assert_eq!(warnings(switched), [""; 0]);
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn rungs_are_climbed_until_the_modem_uses_the_profile() {
    let mut bed = bed("ladder = [\n\
         { within_s = 5 },\n\
         { send = [\"AT+NOSUCH\"], within_s = 5 },\n\
         { run = [\"/nowhere/modem-power\"], within_s = 5 },\n\
         { send = [\"AT+CFUN=0\", \"AT+CFUN=1\"] },\n\
         { send = [\"AT+CFUN=1,1\"], port_leaves = true },\n\
         ]\n")
    .await;
    let took = must_switch(&mut bed, &[Quirk::IgnoresRefresh]).await;
    // Until the REFRESH should have been acted on, and then rung by rung.
    assert!(took > Duration::from_secs(25), "{took:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_has_to_restart_is_restarted_at_last() {
    let mut bed = Bed::start().await;
    let iccids = [bed.install().await, bed.install().await];
    succeeded(&bed.switch(&iccids[0], ProfileState::Enabled).await);
    let quirk = Quirk::IccidOfStart;
    bed.bench.modem.set_quirks(|quirks| quirks.turn_on(quirk));
    let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
    assert_eq!(warnings(switched), [""; 0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_port_that_goes_with_the_radio_gets_both_lines_in_one_write() {
    let mut bed = bed("refresh_s = 2\n\
         never = [\"AT+CFUN=0\"]\n\
         ladder = [{ send = [\"AT+CFUN=0\", \"AT+CFUN=1\"], together = true, port_leaves = true }]\n")
    .await;
    must_switch(&mut bed, &[Quirk::IgnoresRefresh, Quirk::RadioOffHangsUp]).await;
    bed.must_be_sound().await;
}

/// Nobody said so of this modem before: what follows is sent when the port is back.
#[tokio::test(start_paused = true)]
async fn a_radio_whose_port_goes_unexpectedly_does_not_stay_off() {
    let mut bed = Bed::start().await;
    let took = must_switch(&mut bed, &[Quirk::IgnoresRefresh, Quirk::RadioOffDrops]).await;
    assert!(took < Duration::from_secs(40), "{took:?}");
    // The card lost its power with the radio, and that once.
    assert_eq!(bed.bench.card.counters().borrow().resets, 1);
    bed.must_be_sound().await;
}

/// Without its last line the radio stays off, and with it the box.
#[tokio::test(start_paused = true)]
async fn a_reset_that_is_cut_off_between_two_lines_is_ended() {
    for is_killed in [true, false] {
        let mut bed = bed("refresh_s = 1\n\
             ladder = [{ send = [\"AT+CFUN=0\", \"AT+CFUN=1\"], pause_s = 60 }]\n")
        .await;
        let iccid = bed.install().await;
        let quirk = Quirk::IgnoresRefresh;
        bed.bench.modem.set_quirks(|quirks| quirks.turn_on(quirk));
        let switch = set_state(&bed.client, &iccid, ProfileState::Enabled);
        switch.await.unwrap();
        let mut counters = bed.bench.card.counters();
        counters.wait_for(|card| card.resets == 1).await.unwrap();
        match is_killed {
            true => bed.kill().await,
            false => {
                bed.stop().await;
                // It is not the next start that ends it.
                fs::remove_dir_all(&bed.configuration().state.directory).unwrap();
            }
        }
        bed.resume().await;
        bed.settle().await;
        bed.must_tell_the_truth().await;
    }
}

/// `AT+CFUN=4` leaves the card within reach, so that nothing but this would tell of the radio.
#[tokio::test(start_paused = true)]
async fn a_modem_that_is_busy_is_told_again_to_switch_its_radio_on() {
    const LADDER: &str = "refresh_s = 1\nregistration = []\n\
                          ladder = [{ send = [\"AT+CFUN=4\", \"AT+CFUN=1\"] }]\n";
    let refused = "The modem refuses AT+CFUN=1, which ends its reset: its radio may be off. \
                   Restart the modem.";
    for (times, told) in [(2, None), (30, Some(refused))] {
        let mut bed = bed(LADDER).await;
        bed.stop().await;
        bed.configuration().euiccs[0].after_enable = AfterEnable::Radio;
        bed.resume().await;
        let iccids = [bed.install().await, bed.install().await];
        let quirk = Quirk::RadioBusy;
        bed.bench
            .modem
            .set_quirks(|quirks| quirks.set(quirk, times));
        // Each reset has all of its tries.
        for iccid in iccids.iter().cycle().take(4) {
            let switched = bed.switch(iccid, ProfileState::Enabled).await;
            let switched = warnings(switched);
            let said = switched
                .iter()
                .find(|warning| warning.contains("AT+CFUN=1"));
            assert_eq!(said.map(String::as_str), told, "{switched:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_takes_its_time_for_its_radio_is_waited_for() {
    let mut bed = Bed::start().await;
    must_switch(&mut bed, &[Quirk::IgnoresRefresh, Quirk::CfunTime]).await;
    bed.must_be_sound().await;
}

/// Until the modem acts on the REFRESH, the card refuses what it is asked.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_comes_late_is_waited_for() {
    for after_enable in [AfterEnable::Auto, AfterEnable::Nothing] {
        let mut bed = bed("refresh_s = 15\n").await;
        bed.stop().await;
        bed.configuration().euiccs[0].after_enable = after_enable;
        bed.resume().await;
        let iccid = bed.install().await;
        let quirk = Quirk::LateRefresh;
        bed.bench.modem.set_quirks(|quirks| quirks.turn_on(quirk));
        for state in [ProfileState::Enabled, ProfileState::Disabled] {
            let switched = bed.switch(&iccid, state).await;
            assert_eq!(warnings(switched), [""; 0], "{after_enable:?}");
        }
        let resets = bed.bench.card.counters().borrow().resets;
        assert_eq!(resets, 0, "a rung was climbed");
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_modem_of_the_bench_is_known_by_its_name() {
    for preset in Preset::ALL {
        let identity = Identity {
            manufacturer: Some(preset.maker().to_owned()),
            model: Some(preset.model().to_owned()),
            firmware: None,
        };
        let known = Table::default().look_up(identity, &ModemEntry::default());
        let is_nobodys = preset.known() == "no such modem";
        assert_eq!(
            known.because == Because::NoneFits,
            is_nobodys,
            "{}",
            preset.name()
        );
    }
}

/// A REFRESH that this modem never fetches would block the card, so that the card is told not to ask for
/// one from the first switch on.
#[tokio::test(start_paused = true)]
async fn a_modem_that_never_fetches_a_refresh_is_never_asked_for_one() {
    let mut bed = bed("family = \"cmcc-ml307\"\n").await;
    let iccid = bed.install().await;
    let quirk = Quirk::StuckRefresh;
    bed.bench.modem.set_quirks(|quirks| quirks.turn_on(quirk));
    for state in [ProfileState::Enabled, ProfileState::Disabled] {
        let begin = Instant::now();
        let switched = bed.switch(&iccid, state).await;
        assert_eq!(warnings(switched), [""; 0]);
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(90), "{took:?}");
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_profile_stays_where_the_modem_needs_one() {
    let mut bed = bed("needs_profile = true\n").await;
    let iccids = [bed.install().await, bed.install().await];
    succeeded(&bed.switch(&iccids[0], ProfileState::Enabled).await);
    let refused = problem(bed.switch(&iccids[0], ProfileState::Disabled).await);
    assert_eq!(
        (refused.code, refused.retryable),
        (Code::LastProfile, false)
    );
    assert_eq!(
        refused.detail,
        "This modem passes nothing on to a card without an enabled profile."
    );
    // The first way out that is named, and then the second one.
    let other = bed.switch(&iccids[1], ProfileState::Enabled).await;
    assert_eq!(warnings(other), [""; 0]);
    let nothing = bed.switch(&iccids[0], ProfileState::Disabled).await;
    assert!(nothing.result.unwrap().nothing_to_change);
    bed.stop().await;
    bed.configuration().euiccs[0].modem = entry("needs_profile = false\n");
    bed.resume().await;
    succeeded(&bed.switch(&iccids[1], ProfileState::Disabled).await);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn what_helps_on_this_modem_is_said_of_a_profile_without_service() {
    const HINT: &str = "Set AT+UMNOPROF=1.";
    for (network, told) in [
        ("never", "the modem is not registered in a network"),
        ("rejects-sim", "the network refuses it"),
    ] {
        let mut bed = bed(&format!("not_registered = \"{HINT}\"\n")).await;
        let first = bed.install().await;
        let modem = bed.bench.modem.clone();
        modem.set_network(None, network.parse().unwrap());
        let alone = warnings(bed.switch(&first, ProfileState::Enabled).await);
        assert!(alone[0].contains(told), "{alone:?}");
        assert!(alone[0].ends_with(HINT), "{alone:?}");
        modem.set_network(Some(&first), Network::default());
        let second = bed.install().await;
        let returned = problem(bed.switch(&second, ProfileState::Enabled).await);
        assert!(returned.detail.contains(told), "{}", returned.detail);
        assert_eq!(returned.next_step, HINT);
        bed.bench.modem.set_network(None, Network::default());
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_helps_where_the_isd_r_cannot_be_reached_is_said() {
    let open = Pattern {
        ins: Some(0x70),
        p1: Some(0x00),
        p2: None,
    };
    let select = Pattern {
        ins: Some(0xA4),
        p1: Some(0x04),
        p2: None,
    };
    let response = vec![0x6A, 0x82];
    let error = Effect::Error {
        cme: Some(3),
        executed: false,
    };
    for (pattern, effect, code) in [
        (select, Effect::Instead { response }, Code::NoEuicc),
        (open, error, Code::ModemRefused),
    ] {
        let mut bed = bed("no_isd_r = \"Select the slot of the eUICC.\"\n").await;
        bed.order("M-1");
        // As often as it may be tried again.
        for _ in 0..400 {
            bed.bench.modem.inject(Fault::next(pattern, effect.clone()));
        }
        let problem = bed.fail("M-1").await;
        assert_eq!(problem.code, code, "{problem:?}");
        assert_eq!(problem.next_step, "Select the slot of the eUICC.");
        bed.bench.modem.clear_faults();
        bed.must_be_sound().await;
    }
}

/// An ICCID that stands for no profile would else be another profile's, and a disabled one never be gone.
#[tokio::test(start_paused = true)]
async fn an_iccid_that_stands_for_no_profile_is_none() {
    let bench = Bench::new();
    let mut bed = Bed::with(bench, "never").await;
    let iccid = bed.install().await;
    bed.stop().await;
    bed.configuration().euiccs[0].modem = entry(&format!("no_profile_iccids = [\"{iccid}\"]\n"));
    bed.resume().await;
    let begin = Instant::now();
    let switched = bed.switch(&iccid, ProfileState::Enabled).await;
    let warnings = warnings(switched);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(begin.elapsed() < Duration::from_secs(400));
    succeeded(&bed.switch(&iccid, ProfileState::Disabled).await);
    bed.must_be_sound().await;
}
