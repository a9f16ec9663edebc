//! What modems do wrong: the daemon tells the truth, leaves no channel open, and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lpad::api::body::Operation;
use lpad::api::downloads::DownloadRequest;
use lpad::config::{AfterEnable, ApduPath};
use lpad::memory::operations::State;
use lpad::memory::snapshot::{Availability, ProfileState};
use lpad::problem::{Code, CodeConsumed, Problem};
use lpad_tests::bed::{Bed, EUICC, accepting, problem, succeeded};
use lpad_tests::bench::{Bench, HOST_NAME};
use rsp_servers::smdp::{OrderId, OrderState};
use sim_card_emulator::euicc::ForcedAnswer;
use sim_card_emulator::modem::{Card as _, Effect, Fault, Moment, Pattern, Quirk};
use tokio::time::{Instant, sleep};

use crate::log::Log;
use crate::modems;
use crate::truth::Package;

/// GetEUICCChallenge.
const CHALLENGE: u32 = 0xBF2E;
/// MANAGE CHANNEL, which opens a channel.
const OPEN: Pattern = Pattern {
    ins: Some(0x70),
    p1: Some(0x00),
    p2: None,
};

/// SELECT by name, of the ISD-R.
const SELECT: Pattern = Pattern {
    ins: Some(0xA4),
    p1: Some(0x04),
    p2: None,
};

const ERROR: Effect = Effect::Error {
    cme: None,
    executed: false,
};

/// A download whose `nth` command, counted by its last block, meets `effect`.
struct Trouble {
    bed: Bed,
    order: OrderId,
    operation: Operation,
}

impl Trouble {
    async fn at(nth: impl FnOnce(Package) -> u32, effect: Effect) -> Self {
        let mut bed = Bed::start().await;
        let package = Package::of(&mut bed).await;
        let order = bed.order("M-1");
        bed.bench.modem.inject(Fault {
            pattern: Pattern::LAST_BLOCK,
            nth: nth(package),
            effect,
        });
        let operation = bed.download_id("M-1").await;
        Self {
            bed,
            order,
            operation,
        }
    }

    /// The download has failed, its profile is not there, and the same code works now.
    async fn was_not_installed(mut self) -> Problem {
        let problem = problem(self.operation);
        self.bed.settle().await;
        assert_eq!(self.bed.client.profiles(EUICC).await.unwrap().len(), 1);
        self.bed.must_tell_the_truth().await;
        assert_eq!(problem.code_consumed, Some(CodeConsumed::No), "{problem:?}");
        let again = self.bed.download_id("M-1").await;
        succeeded(&again);
        self.bed.must_be_sound().await;
        problem
    }

    /// The profile is there, and daemon and server know.
    async fn was_installed(mut self) {
        let Self { operation, .. } = self;
        succeeded(&operation);
        let iccid = operation.result.unwrap().iccid.unwrap();
        self.bed.settle().await;
        let profiles = self.bed.client.profiles(EUICC).await.unwrap();
        assert!(profiles.iter().any(|profile| profile.iccid == iccid));
        let order = self.bed.bench.smdp.order(self.order).unwrap();
        assert_eq!(order.state(), OrderState::Installed);
        self.bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_before_anything_happened_is_told_in_the_modems_words() {
    for (cme, words) in [
        (None, "ERROR"),
        (Some(10), "+CME ERROR: 10 (SIM not inserted)"),
        (Some(13), "+CME ERROR: 13 (SIM failure)"),
        (Some(999), "+CME ERROR: 999"),
    ] {
        let mut bed = Bed::by(Bench::new(), ApduPath::Csim).await;
        bed.order("M-1");
        let effect = Effect::Error {
            cme,
            executed: false,
        };
        // As often as it is tried again.
        for _ in 0..3 {
            bed.bench.modem.inject(Fault::next(OPEN, effect.clone()));
        }
        let problem = bed.fail("M-1").await;
        assert_eq!(problem.code, Code::ModemRefused);
        let detail = format!("The modem answered {words}; the card may have executed the command.");
        assert_eq!(problem.detail, detail);
        assert!(problem.retryable);
        bed.bench.modem.clear_faults();
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_in_the_middle_of_the_package_ends_the_download_and_the_code_works_again() {
    for (cme, executed) in [
        (None, false),
        (None, true),
        (Some(0), false),
        (Some(13), true),
    ] {
        let trouble = Trouble::at(Package::middle, Effect::Error { cme, executed }).await;
        let problem = trouble.was_not_installed().await;
        assert_eq!(problem.code, Code::InstallationFailed);
        let modem_said = match cme {
            None => "ERROR",
            Some(0) => "+CME ERROR: 0 (phone failure)",
            Some(_) => "+CME ERROR: 13 (SIM failure)",
        };
        assert_eq!(
            problem.detail,
            format!(
                "The installation was cut off, and the card does not have the profile: \
                 ES10b.LoadBoundProfilePackage: the modem answered {modem_said}; the card may have \
                 executed the command."
            )
        );
        assert_eq!(
            problem.next_step,
            "Download again; the order is still there."
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_on_the_last_block_is_a_failure_when_the_card_did_not_get_it() {
    let effect = Effect::Error {
        cme: Some(0),
        executed: false,
    };
    let trouble = Trouble::at(|package| package.last, effect).await;
    let problem = trouble.was_not_installed().await;
    assert_eq!(problem.code, Code::InstallationFailed);
}

#[tokio::test(start_paused = true)]
async fn an_error_on_the_last_block_is_a_success_when_the_profile_is_on_the_card() {
    for cme in [None, Some(13)] {
        let effect = Effect::Error {
            cme,
            executed: true,
        };
        Trouble::at(|package| package.last, effect)
            .await
            .was_installed()
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_modem_is_given_up_at_the_deadline() {
    let begin = Instant::now();
    let trouble = Trouble::at(Package::middle, Effect::Silence { executed: false }).await;
    let problem = trouble.was_not_installed().await;
    let words = "the modem did not answer within";
    assert!(problem.detail.contains(words), "{}", problem.detail);
    assert!(begin.elapsed() < Duration::from_secs(600));
    Trouble::at(|package| package.last, Effect::Silence { executed: true })
        .await
        .was_installed()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_silent_from_the_start_is_named_as_the_culprit() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    bed.bench
        .modem
        .set_quirks(|quirks| quirks.turn_on(Quirk::Mute));
    let begin = Instant::now();
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::ModemTimeout);
    let words = "The modem did not answer within 20 s";
    assert!(problem.detail.starts_with(words), "{}", problem.detail);
    assert_eq!(
        problem.next_step,
        "Try again; if it stays silent, reset the modem."
    );
    assert!(begin.elapsed() < Duration::from_secs(120));
    let euicc = bed.euicc_in(Availability::Unavailable).await;
    assert_eq!(euicc.problem.unwrap().code, Code::ModemTimeout);
    bed.bench
        .modem
        .set_quirks(|quirks| quirks.turn_off(Quirk::Mute));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_is_never_taken_for_the_next_one() {
    // Later than the deadline: while the port is settled, and when it has long been given up.
    for late in [300, 600, 1500] {
        for (moment, at_last) in [
            (Moment::BeforeAnswer, true),
            (Moment::BeforeExecution, true),
            (Moment::BeforeAnswer, false),
        ] {
            let mut bed = Bed::start().await;
            let package = Package::of(&mut bed).await;
            let order = bed.order("M-1");
            let nth = if at_last {
                package.last
            } else {
                package.middle()
            };
            let hold = bed.bench.modem.hold(Pattern::LAST_BLOCK, nth, moment);
            let released = tokio::spawn(async move {
                let mut hold = hold;
                hold.reached().await;
                sleep(Duration::from_secs(late)).await;
                hold.release();
            });
            let operation = bed.download_id("M-1").await;
            // Until then the modem is as good as gone.
            released.await.unwrap();
            bed.settle().await;
            bed.must_tell_the_truth().await;
            let operation = bed.client.operation(operation.id, 0).await.unwrap();
            let profiles = bed.client.profiles(EUICC).await.unwrap().len();
            assert_eq!(profiles, if at_last { 2 } else { 1 });
            let expected = if at_last {
                State::Succeeded
            } else {
                State::Failed
            };
            assert_eq!(operation.state, expected, "{:?}", operation.problem);
            let state = bed.bench.smdp.order(order).unwrap().state();
            assert_eq!(state == OrderState::Installed, at_last);
            bed.must_be_sound().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_modem_with_bad_manners_works_all_the_same() {
    for manners in [
        "echo-stuck lower-case unquoted no-blank",
        "spaced-digits length-in-octets no-empty-line echo-returns",
        "glued-result split-at-random urc-with-results",
        "cr-only cme-shouted verbose-off quiet-on",
        "urc-flood",
        "split-writes stale-input nul-first drop-first",
        "late-answer",
        "quotes-required upper-case-only le-forbidden wrong-le",
        "get-response no-ccho first-channel iccid-padded huawei-results",
        "busy-at-start refresh-time",
        "refresh-hangs-up",
        "stuck-refresh",
        "preset:em05g",
    ] {
        let mut bed = Bed::start().await;
        bed.bench.modem.set_quirks(|quirks| {
            let mut manners = manners.split(' ');
            manners.try_for_each(|name| quirks.add(name)).unwrap();
        });
        let iccid = bed.install().await;
        let switched = bed.switch(&iccid, ProfileState::Enabled).await;
        assert_eq!(
            switched.state,
            State::Succeeded,
            "{manners} {:?}",
            switched.problem
        );
        let result = switched.result.unwrap();
        assert_eq!(result.warnings, [""; 0], "{manners}");
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_is_no_answer() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    // Read once more, and cut again.
    for nth in [1, 2] {
        bed.bench.modem.inject(Fault {
            pattern: Pattern::LAST_BLOCK,
            nth,
            effect: Effect::Truncate,
        });
    }
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::CardGarbled);
    assert!(problem.detail.contains("hexadecimal digits and gave"));
    bed.must_be_sound().await;
    Trouble::at(|package| package.last, Effect::Truncate)
        .await
        .was_installed()
        .await;
    Trouble::at(Package::middle, Effect::Truncate)
        .await
        .was_not_installed()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_status_word_in_the_middle_of_the_package_is_shown() {
    let response = vec![0x6A, 0x80];
    let trouble = Trouble::at(Package::middle, Effect::Instead { response }).await;
    let problem = trouble.was_not_installed().await;
    assert!(problem.detail.contains("6A80"), "{}", problem.detail);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_goes_away_and_comes_back_costs_nothing_but_the_download() {
    let unplugged = |executed| Effect::HangUp { executed };
    let problem = Trouble::at(|_| 2, unplugged(false))
        .await
        .was_not_installed()
        .await;
    assert_eq!(problem.code, Code::ModemUnavailable);
    assert!(problem.detail.contains("the port is gone"));
    for executed in [false, true] {
        let trouble = Trouble::at(Package::middle, unplugged(executed)).await;
        let problem = trouble.was_not_installed().await;
        assert_eq!(problem.code, Code::InstallationFailed);
        assert!(problem.detail.contains("the port is gone"));
    }
    Trouble::at(|package| package.last, unplugged(false))
        .await
        .was_not_installed()
        .await;
    Trouble::at(|package| package.last, unplugged(true))
        .await
        .was_installed()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_whose_answer_is_lost_and_that_the_card_denies_is_told_as_not_done() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    // The first command of a session asks for the EID.
    bed.bench.modem.inject(Fault {
        pattern: Pattern::LAST_BLOCK,
        nth: 2,
        effect: Effect::Silence { executed: false },
    });
    let deleted = bed
        .ended(bed.client.delete(EUICC, &iccid, true).await)
        .await;
    let problem = problem(deleted);
    assert_eq!(
        (problem.code, problem.retryable),
        (Code::ModemTimeout, true)
    );
    let detail = &problem.detail;
    let lost = "The answer was lost (ES10c.DeleteProfile: ";
    assert!(detail.starts_with(lost), "{problem:?}");
    let settled = "), and the card was read since: this was not done.";
    assert!(detail.ends_with(settled), "{problem:?}");
    assert!(!detail.contains("may have"), "{problem:?}");
    assert_eq!(problem.next_step, "Ask again.");
    bed.must_tell_the_truth().await;
    let deleted = bed
        .ended(bed.client.delete(EUICC, &iccid, true).await)
        .await;
    assert_eq!(deleted.state, State::Succeeded, "{deleted:?}");
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_stays_away_leaves_the_download_in_doubt_until_it_is_back() {
    for executed in [false, true] {
        let mut bed = Bed::start().await;
        let package = Package::of(&mut bed).await;
        bed.order("M-1");
        let moment = match executed {
            true => Moment::BeforeAnswer,
            false => Moment::BeforeExecution,
        };
        let mut hold = bed
            .bench
            .modem
            .hold(Pattern::LAST_BLOCK, package.last, moment);
        let bench = bed.bench.clone();
        tokio::spawn(async move {
            hold.reached().await;
            bench.unplug();
        });
        let operation = bed.download_id("M-1").await;
        let problem = problem(operation.clone());
        assert_eq!(problem.code, Code::ModemUnavailable);
        assert_eq!(problem.code_consumed, Some(CodeConsumed::Unknown));
        assert_eq!(
            problem.detail,
            "The card was lost in the middle of the installation, and it is not known yet how it \
             ended: ES10b.LoadBoundProfilePackage: the port is gone; the card may have \
             executed the command. Since then: Cannot open the port: there is no such device."
        );
        bed.euicc_in(Availability::Unavailable).await;
        bed.bench.plug_in();
        bed.settle().await;
        bed.must_tell_the_truth().await;
        let operation = bed.client.operation(operation.id, 0).await.unwrap();
        let expected = if executed {
            State::Succeeded
        } else {
            State::Failed
        };
        assert_eq!(operation.state, expected, "{:?}", operation.problem);
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_whose_modem_goes_away_before_it_is_enabled_is_enabled_once_that_is_back() {
    let mut bed = Bed::start().await;
    let package = Package::of(&mut bed).await;
    bed.order("M-1");
    let request = DownloadRequest {
        enable: true,
        ..accepting(&format!("1${HOST_NAME}$M-1"))
    };
    let modem = bed.bench.modem.clone();
    // After the package the notifications are listed, read and removed.
    let removed = package.last + 3;
    let mut hold = modem.hold(Pattern::LAST_BLOCK, removed, Moment::BeforeAnswer);
    let bench = bed.bench.clone();
    tokio::spawn(async move {
        hold.reached().await;
        bench.unplug();
    });
    let operation = bed.download_as(&request).await;
    let problem = problem(operation.clone());
    assert_eq!(problem.code, Code::ModemUnavailable, "{problem:?}");
    assert_eq!(
        problem.next_step,
        "Bring the modem back; then this operation says how it ended."
    );
    bed.bench.plug_in();
    bed.settle().await;
    let operation = bed.ended(Ok(operation)).await;
    succeeded(&operation);
    assert_eq!(operation.result.unwrap().enabled, Some(true));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_whose_answer_is_lost_is_told_by_the_card() {
    let effects = |executed| {
        [
            Effect::Error {
                cme: None,
                executed,
            },
            Effect::Error {
                cme: Some(13),
                executed,
            },
            Effect::Silence { executed },
            Effect::HangUp { executed },
        ]
    };
    for executed in [false, true] {
        for effect in effects(executed) {
            let told = format!("{effect:?}");
            let mut bed = Bed::start().await;
            let iccid = bed.install().await;
            // The first command of a switch reads the profiles.
            bed.bench.modem.inject(Fault {
                pattern: Pattern::LAST_BLOCK,
                nth: SWITCH,
                effect,
            });
            let operation = bed.switch(&iccid, ProfileState::Enabled).await;
            bed.settle().await;
            bed.must_tell_the_truth().await;
            let profiles = bed.client.profiles(EUICC).await.unwrap();
            // A card that turned out not to have switched is asked once more.
            assert_eq!(profiles[0].state, ProfileState::Enabled, "{told}");
            assert_eq!(
                operation.state,
                State::Succeeded,
                "{told} {:?}",
                operation.problem
            );
            assert_eq!(operation.result.unwrap().enabled, Some(true), "{told}");
            bed.must_be_sound().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_the_modem_swallows_is_delivered_all_the_same() {
    // After the package the notifications are listed and removed; the result is known already.
    for (after, effect) in [
        (1, Effect::Silence { executed: true }),
        (1, Effect::HangUp { executed: true }),
        (2, ERROR),
        (2, Effect::Silence { executed: false }),
        (2, Effect::Silence { executed: true }),
        (2, Effect::HangUp { executed: false }),
    ] {
        let told = format!("{after} {effect:?}");
        let trouble = Trouble::at(|package| package.last + after, effect).await;
        let warnings = trouble.operation.result.as_ref().unwrap().warnings.clone();
        let words = "Notifications stay on the card for now: ES10b.";
        assert!(warnings[0].starts_with(words), "{told} {warnings:?}");
        trouble.was_installed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn noise_in_an_answer_that_only_tells_costs_nothing() {
    let noise = Effect::Instead {
        response: vec![0xBF, 0x2C, 0x00, 0x90, 0x00],
    };
    for effect in [noise, Effect::Truncate, ERROR] {
        let told = format!("{effect:?}");
        let mut bed = Bed::start().await;
        let iccid = bed.install().await;
        // The first command of a switch reads the profiles.
        let fault = Fault::next(Pattern::LAST_BLOCK, effect);
        bed.bench.modem.inject(fault);
        let begin = Instant::now();
        let operation = bed.switch(&iccid, ProfileState::Enabled).await;
        let Operation { state, problem, .. } = operation;
        assert_eq!(state, State::Succeeded, "{told} {problem:?}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{told}");
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn noise_at_the_beginning_of_a_download_costs_nothing() {
    let mut challenges = Vec::new();
    for nth in 1..=2 {
        let mut bed = Bed::start().await;
        bed.order("M-1");
        bed.bench.modem.inject(Fault {
            pattern: Pattern::LAST_BLOCK,
            nth,
            effect: Effect::Truncate,
        });
        let Operation { state, problem, .. } = bed.download_id("M-1").await;
        assert_eq!(state, State::Succeeded, "{nth} {problem:?}");
        let counters = bed.bench.card.counters();
        challenges.push(counters.borrow().calls(CHALLENGE));
        bed.must_be_sound().await;
    }
    challenges.sort_unstable();
    assert_eq!(challenges, [1, 2], "one of them was a challenge");
}

/// What a modem does not tell is asked once, and is no reason to take it off the network.
#[tokio::test(start_paused = true)]
async fn a_modem_that_does_not_tell_its_profile_is_neither_waited_for_nor_reset() {
    for (after_enable, notes) in [(AfterEnable::Auto, 1), (AfterEnable::Nothing, 0)] {
        let mut bed = Bed::start().await;
        bed.stop().await;
        bed.configuration().euiccs[0].after_enable = after_enable;
        bed.resume().await;
        bed.bench.modem.set_quirks(|quirks| {
            quirks.turn_on(Quirk::IccidRefused);
            quirks.turn_on(Quirk::CrsmRefused);
        });
        let iccid = bed.install().await;
        let begin = Instant::now();
        for state in [ProfileState::Enabled, ProfileState::Disabled] {
            let operation = bed.switch(&iccid, state).await;
            succeeded(&operation);
            let warnings = operation.result.unwrap().warnings;
            assert_eq!(warnings.len(), notes, "{warnings:?}");
        }
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_modem_without_a_command_for_the_iccid_reads_it_from_the_card() {
    let mut bed = Bed::start().await;
    let quirk = Quirk::IccidRefused;
    bed.bench.modem.set_quirks(|quirks| quirks.turn_on(quirk));
    let iccid = bed.install().await;
    let operation = bed.switch(&iccid, ProfileState::Enabled).await;
    succeeded(&operation);
    assert_eq!(operation.result.unwrap().warnings, [""; 0]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_port_is_told_and_found_when_it_appears() {
    let mut bed = Bed::without_modem().await;
    let euicc = bed.euicc_in(Availability::Unavailable).await;
    let told = euicc.problem.unwrap();
    assert_eq!(told.code, Code::ModemUnavailable);
    assert_eq!(
        told.detail,
        "Cannot open the port: there is no such device."
    );
    assert_eq!(bed.client.health().await.unwrap().status, "degraded");
    bed.order("M-1");
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::ModemUnavailable);
    bed.bench.plug_in();
    let euicc = bed.euicc_in(Availability::Ready).await;
    assert_eq!(euicc.problem, None);
    assert_eq!(bed.client.health().await.unwrap().status, "ok");
    bed.must_be_sound().await;
    bed.bench.unplug();
    let told = bed.euicc_in(Availability::Unavailable).await.problem;
    assert_eq!(told.unwrap().detail, "The port is gone.");
    bed.bench.plug_in();
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_was_away_for_hours_is_used_as_soon_as_it_is_back() {
    let mut bed = Bed::without_modem().await;
    sleep(Duration::from_secs(5 * 3600)).await;
    bed.bench.plug_in();
    let plugged_in = Instant::now();
    bed.euicc_in(Availability::Ready).await;
    assert!(plugged_in.elapsed() < Duration::from_secs(3));
    // One that does not answer yet is asked more often than one that is away.
    bed.bench.unplug();
    sleep(Duration::from_secs(5 * 3600)).await;
    let mute = |on| {
        bed.bench.modem.set_quirks(|quirks| match on {
            true => quirks.turn_on(Quirk::Mute),
            false => quirks.turn_off(Quirk::Mute),
        });
    };
    mute(true);
    bed.bench.plug_in();
    sleep(Duration::from_secs(20)).await;
    mute(false);
    let starts = Instant::now();
    bed.euicc_in(Availability::Ready).await;
    assert!(starts.elapsed() < Duration::from_secs(20));
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_missing_device_is_named_and_found_when_it_appears() {
    let mut bed = Bed::over_kernel_devices().await;
    bed.bench.modem.hang_up();
    bed.euicc_in(Availability::Unavailable).await;
    bed.order("M-1");
    let problem = bed.fail("M-1").await;
    let port = bed.folder().join("modem").display().to_string();
    assert_eq!(
        problem.detail,
        format!(
            "Cannot open {port}: there is no such device; is the modem plugged in and powered?"
        )
    );
    bed.plug_in();
    bed.euicc_in(Availability::Ready).await;
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_device_unplugged_at_the_last_block_is_opened_again_and_tells_the_truth() {
    let mut bed = Bed::over_kernel_devices().await;
    let package = Package::of(&mut bed).await;
    let order = bed.order("M-1");
    let modem = bed.bench.modem.clone();
    let mut hold = modem.hold(Pattern::LAST_BLOCK, package.last, Moment::BeforeAnswer);
    let unplugged = async {
        hold.reached().await;
        modem.hang_up();
        // The old device goes away with the task that served it.
        while bed.folder().join("modem").exists() {
            tokio::task::yield_now().await;
        }
        bed.plug_in();
    };
    let (operation, ()) = tokio::join!(bed.download_id("M-1"), unplugged);
    succeeded(&operation);
    bed.settle().await;
    let state = bed.bench.smdp.order(order).unwrap().state();
    assert_eq!(state, OrderState::Installed);
    bed.must_be_sound().await;
}

/// Opens channels as another program does.
fn take_channels(bench: &Bench, numbers: impl IntoIterator<Item = u8>) {
    for number in numbers {
        let opened = bench.card.clone().transmit(&[0x00, 0x70, 0x00, 0x00, 0x01]);
        assert_eq!(opened, [number, 0x90, 0x00]);
    }
}

#[tokio::test(start_paused = true)]
async fn when_no_channel_is_free_the_daemons_own_is_taken_back_first() {
    let mut bed = Bed::by(Bench::new(), ApduPath::Csim).await;
    take_channels(&bed.bench, 1..=3);
    bed.install().await;
    assert_eq!(bed.bench.card.open_channels(), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn when_no_channel_was_ever_free_all_are_closed() {
    let bench = Bench::new();
    take_channels(&bench, 1..=3);
    let mut bed = Bed::with(bench, "never").await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn channels_of_others_are_left_alone_whatever_happens_to_the_own_one() {
    let own = |bed: &Bed| bed.bench.card.open_channels();
    for executed in [false, true] {
        let bench = Bench::new();
        // The modem itself holds the first channel, and the daemon always gets the second.
        take_channels(&bench, [1]);
        let mut bed = Bed::by(bench, ApduPath::Csim).await;
        let effect = Effect::Error {
            cme: Some(14),
            executed,
        };
        bed.bench.modem.inject(Fault::next(OPEN, effect));
        bed.install().await;
        assert_eq!(own(&bed), [1]);
        let hold = Moment::BeforeAnswer;
        let mut hold = bed.bench.modem.hold(Pattern::LAST_BLOCK, 1, hold);
        let client = bed.client.clone();
        let asked = tokio::spawn(async move { client.deliver_notifications(EUICC).await });
        hold.reached().await;
        asked.await.unwrap().unwrap();
        assert_eq!(own(&bed), [1, 2]);
        bed.kill().await;
        hold.release();
        bed.resume().await;
        bed.install().await;
        assert_eq!(own(&bed), [1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_card_without_channels_is_told_with_its_status_word() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    bed.bench.card.configure(|settings| settings.channels = 0);
    let problem = bed.fail("M-1").await;
    assert_eq!(problem.code, Code::NoChannel);
    assert_eq!(
        problem.detail,
        "The card opens no logical channel: 6A81 (function not supported or no free channel)."
    );
    assert!(
        problem
            .next_step
            .starts_with("Stop other programs that use the card")
    );
    assert_eq!(problem.card.unwrap().sw.as_deref(), Some("6A81"));
    bed.bench.card.configure(|settings| settings.channels = 3);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_a_card_and_a_missing_isdr_refuse_with_three_codes_and_three_next_steps() {
    let answer = |sw: [u8; 2]| Effect::Instead {
        response: sw.to_vec(),
    };
    let refused = |cme| Effect::Error {
        cme,
        executed: false,
    };
    let mut cases = vec![
        (OPEN, answer([0x6A, 0x81]), Code::NoChannel),
        (SELECT, answer([0x6A, 0x82]), Code::NoEuicc),
    ];
    for cme in [None, Some(14), Some(0), Some(3), Some(13)] {
        for pattern in [OPEN, SELECT] {
            cases.push((pattern, refused(cme), Code::ModemRefused));
        }
    }
    let mut next_steps = BTreeMap::new();
    for (pattern, effect, code) in cases {
        let mut bed = Bed::start().await;
        // As often as it may be tried again.
        for _ in 0..400 {
            bed.bench.modem.inject(Fault::next(pattern, effect.clone()));
        }
        let problem = problem(
            bed.ended(bed.client.deliver_notifications(EUICC).await)
                .await,
        );
        assert_eq!(problem.code, code, "{effect:?} {problem:?}");
        next_steps.insert(code.name(), problem.next_step);
        bed.bench.modem.clear_faults();
        bed.must_be_sound().await;
    }
    let different: BTreeSet<_> = next_steps.values().collect();
    assert_eq!(different.len(), 3, "{next_steps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_port_on_which_nothing_answers_is_named_with_its_rate() {
    let mut bed = Bed::without_modem().await;
    bed.euicc_in(Availability::Unavailable).await;
    bed.bench
        .modem
        .set_quirks(|quirks| quirks.turn_on(Quirk::Mute));
    bed.bench.plug_in();
    let euicc = bed
        .euicc_when(EUICC, |euicc| {
            let code = euicc.problem.as_ref().map(|problem| problem.code);
            code == Some(Code::ModemSilent) && euicc.trying.is_none()
        })
        .await;
    assert!(euicc.next_attempt_s.is_some(), "{euicc:?}");
    let problem = euicc.problem.unwrap();
    assert_eq!(problem.code, Code::ModemSilent);
    let port = bed.folder().join("modem").display().to_string();
    assert!(problem.next_step.contains(&port), "{problem:?}");
    assert!(problem.next_step.contains("115200 baud"), "{problem:?}");
    // While the next attempt waits for the modem, the state is told at once.
    let trying = bed
        .euicc_when(EUICC, |euicc| euicc.trying.is_some())
        .await
        .trying;
    let told = bed.client.euiccs().await.unwrap().remove(0);
    assert_eq!(told.trying, trying);
    assert_eq!(told.state, Availability::Unavailable);
    assert!(told.unavailable_since_s.is_some() && told.next_attempt_s.is_none());
    bed.bench
        .modem
        .set_quirks(|quirks| quirks.turn_off(Quirk::Mute));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn clients_that_ask_for_an_absent_card_do_not_put_off_the_next_attempt() {
    let mut bed = Bed::without_modem().await;
    bed.euicc_in(Availability::Unavailable).await;
    let begun = Instant::now();
    for _ in 0..6 {
        bed.client.euicc(EUICC).await.unwrap();
        let delivered = bed.client.deliver_notifications(EUICC).await;
        let problem = problem(bed.ended(delivered).await);
        assert_eq!(problem.code, Code::ModemUnavailable);
        sleep(Duration::from_millis(1100)).await;
    }
    // The timer's waits double: none is much longer than all before it.
    let longest = begun.elapsed() + Duration::from_secs(3);
    bed.bench.plug_in();
    let plugged_in = Instant::now();
    bed.euicc_in(Availability::Ready).await;
    let waited = plugged_in.elapsed();
    assert!(waited <= longest, "{waited:?} {longest:?}");
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_card_that_says_ok_and_switches_nothing_is_told_from_a_modem_that_does_not_follow() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    bed.bench.card.force(0xBF31, 1, ForcedAnswer::Code(0));
    let problem = problem(bed.switch(&iccid, ProfileState::Enabled).await);
    assert_eq!(problem.code, Code::CardNotSwitched, "{problem:?}");
    assert!(!problem.detail.contains("switched, "), "{problem:?}");
    let again = bed.switch(&iccid, ProfileState::Enabled).await;
    succeeded(&again);
    assert!(!again.result.unwrap().nothing_to_change);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn eighty_readings_behind_a_held_command_keep_no_job_out_and_cost_one_reading() {
    let mut bed = Bed::start().await;
    bed.install().await;
    sleep(Duration::from_secs(3)).await;
    let before = bed.bench.card.counters().borrow().apdus;
    bed.client.profiles(EUICC).await.unwrap();
    let one = bed.bench.card.counters().borrow().apdus - before;
    sleep(Duration::from_secs(3)).await;
    let before = bed.bench.card.counters().borrow().apdus;
    let mut hold = bed.bench.modem.hold(Pattern::ANY, 1, Moment::BeforeAnswer);
    let read = |_| {
        let client = bed.client.clone();
        tokio::spawn(async move { client.profiles(EUICC).await })
    };
    let sixteen: Vec<_> = (0..16).map(read).collect();
    hold.reached().await;
    hold.release();
    for reading in sixteen {
        assert_eq!(reading.await.unwrap().unwrap().len(), 1);
    }
    assert_eq!(bed.bench.card.counters().borrow().apdus - before, one);

    sleep(Duration::from_secs(3)).await;
    let mut hold = bed.bench.modem.hold(Pattern::ANY, 1, Moment::BeforeAnswer);
    let eighty: Vec<_> = (0..80).map(read).collect();
    hold.reached().await;
    let job = bed.client.deliver_notifications(EUICC).await;
    hold.release();
    let job = bed.ended(job).await;
    succeeded(&job);
    for reading in eighty {
        // Too many at once may be refused; none is left without an answer.
        let _ = reading.await.unwrap();
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_ignores_the_refresh_is_reset_until_it_is_true() {
    let mut bed = Bed::start().await;
    bed.bench
        .modem
        .set_quirks(|quirks| quirks.turn_on(Quirk::IgnoresRefresh));
    for state in [ProfileState::Enabled, ProfileState::Disabled] {
        let iccid = bed.install().await;
        for state in [ProfileState::Enabled, state] {
            let operation = bed.switch(&iccid, state).await;
            succeeded(&operation);
            let result = operation.result.unwrap();
            assert_eq!(result.enabled, Some(state == ProfileState::Enabled));
            assert_eq!(result.warnings, [""; 0]);
        }
    }
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_the_modem_never_makes_is_told_as_a_failure() {
    let mut bed = Bed::start().await;
    bed.stop().await;
    bed.configuration().euiccs[0].after_enable = AfterEnable::Nothing;
    bed.resume().await;
    bed.bench
        .modem
        .set_quirks(|quirks| quirks.turn_on(Quirk::IgnoresRefresh));
    let iccid = bed.install().await;
    let problem = problem(bed.switch(&iccid, ProfileState::Enabled).await);
    // The card waits for the REFRESH as well.
    assert_eq!(problem.code, Code::CardNotSwitched);
    assert!(problem.next_step.starts_with("Restart the modem"));
    bed.bench
        .modem
        .set_quirks(|quirks| quirks.turn_off(Quirk::IgnoresRefresh));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_does_not_follow_keeps_the_old_profile_until_its_ladder_has_what_helps() {
    for after_enable in [AfterEnable::Auto, AfterEnable::Radio, AfterEnable::Nothing] {
        let mut bed = Bed::start().await;
        bed.stop().await;
        let euicc = &mut bed.configuration().euiccs[0];
        euicc.after_enable = after_enable;
        // It is not restarted by itself.
        euicc.modem = modems::entry("ladder = [{ send = [\"AT+CFUN=0\", \"AT+CFUN=1\"] }]");
        bed.resume().await;
        let (first, second) = (bed.install().await, bed.install().await);
        let enabled = bed.switch(&first, ProfileState::Enabled).await;
        succeeded(&enabled);
        bed.bench
            .modem
            .set_quirks(|quirks| quirks.turn_on(Quirk::IccidOfStart));
        for _ in 0..3 {
            let problem = problem(bed.switch(&second, ProfileState::Enabled).await);
            assert_eq!(problem.code, Code::SwitchReverted, "{after_enable:?}");
            assert!(problem.next_step.starts_with("Add a rung that restarts"));
            // Card and modem use the same one.
            bed.must_tell_the_truth().await;
        }
        bed.stop().await;
        let euicc = &mut bed.configuration().euiccs[0];
        euicc.after_enable = AfterEnable::Auto;
        euicc.modem = modems::entry("ladder = [{ send = [\"AT+CFUN=1,1\"], port_leaves = true }]");
        bed.resume().await;
        succeeded(&bed.switch(&second, ProfileState::Enabled).await);
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_refusal_of_a_switch_has_its_own_words() {
    for (result, code, words) in [
        (1, Code::UnknownProfile, "no such profile"),
        (2, Code::CardRefused, "not disabled"),
        (3, Code::DisallowedByPolicy, "policy rule"),
        (4, Code::CardRefused, "after a test profile"),
        (127, Code::CardRefused, "undefined error"),
    ] {
        let mut bed = Bed::start().await;
        let iccid = bed.install().await;
        bed.bench.modem.inject(Fault {
            pattern: Pattern::LAST_BLOCK,
            nth: SWITCH,
            effect: refusal(result),
        });
        let problem = problem(bed.switch(&iccid, ProfileState::Enabled).await);
        assert_eq!(problem.code, code);
        assert!(problem.detail.contains(words), "{}", problem.detail);
        assert_eq!(problem.card.unwrap().result, Some(i64::from(result)));
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_card_is_asked_again_before_the_client_is_told() {
    for (times, expected) in [
        (1, State::Succeeded),
        (5, State::Succeeded),
        (6, State::Failed),
    ] {
        let mut bed = Bed::start().await;
        let iccid = bed.install().await;
        for _ in 0..times {
            bed.bench.modem.inject(Fault {
                pattern: Pattern::LAST_BLOCK,
                nth: SWITCH,
                effect: refusal(5),
            });
        }
        let operation = bed.switch(&iccid, ProfileState::Enabled).await;
        assert_eq!(operation.state, expected, "{times} {:?}", operation.problem);
        if let Some(problem) = operation.problem {
            assert_eq!((problem.code, problem.retryable), (Code::CardBusy, true));
        }
        bed.bench.modem.clear_faults();
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn enabling_the_enabled_profile_is_a_success_without_a_refresh() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    bed.switch(&iccid, ProfileState::Enabled).await;
    let resets = bed.bench.card.counters().borrow().resets;
    let again = bed.switch(&iccid, ProfileState::Enabled).await;
    assert_eq!(again.state, State::Succeeded);
    assert!(again.result.unwrap().nothing_to_change);
    assert_eq!(bed.bench.card.counters().borrow().resets, resets);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_is_not_there_is_named() {
    let mut bed = Bed::start().await;
    let problem = problem(
        bed.switch("8988211000000000005", ProfileState::Enabled)
            .await,
    );
    assert_eq!(problem.code, Code::UnknownProfile);
    assert_eq!(
        problem.detail,
        "No profile 8988211000000000005 is on the card."
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_stays_away_is_told_to_the_log_once_and_then_every_hour() {
    let log = Log::capture();
    let bed = Bed::without_modem().await;
    let warnings = || {
        let text = log.text();
        let lines = text.lines();
        let lines = lines.filter(|line| line.contains(" WARN "));
        lines
            .filter(|line| line.contains("the card cannot be used"))
            .count()
    };
    sleep(Duration::from_secs(5 * 3600 / 2)).await;
    assert_eq!(warnings(), 3, "{}", log.text());
    assert!(log.text().matches("still cannot be used").count() > 100);
    // Something else is wrong now.
    bed.bench.modem.hang_up();
    bed.bench.plug_in();
    bed.bench.modem.inject(Fault {
        pattern: SELECT,
        nth: 1,
        effect: ERROR,
    });
    bed.euicc_in(Availability::Ready).await;
    let before = warnings();
    bed.bench.unplug();
    bed.euicc_in(Availability::Unavailable).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(warnings(), before + 1, "{}", log.text());
}

/// The card's answer to EnableProfile with this result.
fn refusal(result: u8) -> Effect {
    Effect::Instead {
        response: vec![0xBF, 0x31, 0x03, 0x80, 0x01, result, 0x90, 0x00],
    }
}

/// A switch is the third function of its session, after GetEID and the profile list.
const SWITCH: u32 = 3;
