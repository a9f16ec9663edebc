//! The first boot: a card without a profile gets one by itself, and then no more.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use es10_apdu::apdu::StatusWord;
use lpad::api::body::{Euicc, Operation};
use lpad::api::euiccs::AddressesChange;
use lpad::config::{AfterUse, BootstrapConfig, BootstrapWhen, Config, Confirm, OrderSource};
use lpad::job::{Consent, Kind};
use lpad::memory::alarm::{Alarm, AlarmCode};
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState::{Disabled, Enabled};
use lpad::memory::snapshot::{Availability, FirstProfileState};
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, succeeded};
use lpad_tests::bench::HOST_NAME;
use rsp_servers::network::Reach;
use rsp_servers::profile::ProfileClass;
use rsp_servers::smdp::{Calls, Fault, Function, OrderId, OrderRequest, OrderState, Smdp};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sim_card_emulator::euicc::ForcedAnswer;
use sim_card_emulator::modem::{self, Effect, Moment, Pattern};
use tokio::time::{Instant, timeout};

#[tokio::test(start_paused = true)]
async fn the_configured_smdp_fills_an_empty_card_and_a_restart_asks_no_more() {
    let mut bed = Bed::start().await;
    let order = order_for_eid(&mut bed);
    first_boot(&mut bed, |_| {}).await;
    installed(&bed, order).await;
    let operation = last(&bed).await;
    assert_eq!(
        (operation.kind, operation.state),
        (Kind::Download, State::Succeeded)
    );
    let result = operation.result.unwrap();
    assert_eq!(result.enabled, Some(true));
    assert_eq!(result.notifications_delivered, 2);

    let asked = asked(&bed);
    let second = order_for_eid(&mut bed);
    for _ in 0..3 {
        bed.stop().await;
        bed.resume().await;
        a_day_passes().await;
    }
    assert_eq!(self::asked(&bed), asked);
    assert_eq!(
        bed.bench.smdp.order(second).unwrap().state(),
        OrderState::Released
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn days_without_network_use_up_no_attempt_and_end_when_it_comes_up() {
    let mut bed = Bed::start().await;
    let order = order_for_eid(&mut bed);
    let network = bed.bench.network();
    network.set_reach(HOST_NAME, Reach::NoRoute);
    first_boot(&mut bed, |bootstrap| bootstrap.attempts = 1).await;
    for _ in 0..3 {
        a_day_passes().await;
    }
    let tried = network.calls().len();
    assert!((50..300).contains(&tried), "{tried} attempts");
    let told = bed.client.euicc(EUICC).await.unwrap().first_profile;
    let told = told.unwrap();
    assert_eq!(told.state, FirstProfileState::BackingOff);
    assert_eq!(told.attempts, 0);
    network.set_reach(HOST_NAME, Reach::Open);
    let up = Instant::now();
    bed.network_comes_up();
    installed(&bed, order).await;
    within_a_minute(up);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn the_smdp_stored_on_the_card_is_asked_when_none_is_configured() {
    let mut bed = Bed::start().await;
    bed.ended(bed.client.set_default_smdp(EUICC, HOST_NAME).await)
        .await;
    let order = order_for_eid(&mut bed);
    first_boot(&mut bed, |bootstrap| bootstrap.default_smdp = None).await;
    installed(&bed, order).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_smdp_stored_while_the_daemon_runs_is_asked_at_once() {
    let mut bed = Bed::start().await;
    let order = order_for_eid(&mut bed);
    first_boot(&mut bed, |bootstrap| bootstrap.default_smdp = None).await;
    a_day_passes().await;
    assert_eq!(asked(&bed), 0, "no address is known");
    let told = bed.client.euicc(EUICC).await.unwrap().first_profile;
    let told = told.unwrap();
    assert_eq!(told.state, FirstProfileState::NoAddress);
    let next_step = told.next_step.unwrap();
    assert!(next_step.contains("set-default-smdp"), "{next_step}");
    let stored = Instant::now();
    bed.ended(bed.client.set_default_smdp(EUICC, HOST_NAME).await)
        .await;
    installed(&bed, order).await;
    within_a_minute(stored);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_activation_code_in_a_file_takes_the_place_of_an_smdp() {
    let mut bed = Bed::start().await;
    let order = order_with_code(&mut bed);
    let (code, confirmation) = (bed.folder().join("ac"), bed.folder().join("cc"));
    fs::write(&code, format!("LPA:1${HOST_NAME}$FIRST$$1\n")).unwrap();
    fs::write(&confirmation, "0815\n").unwrap();
    first_boot(&mut bed, |bootstrap| {
        bootstrap.default_smdp = None;
        bootstrap.activation_code_file = Some(code);
        bootstrap.confirmation_code_file = Some(confirmation);
        bootstrap.enable = false;
    })
    .await;
    installed(&bed, order).await;
    bed.settle().await;
    let profiles = bed.client.profiles(EUICC).await.unwrap();
    assert_eq!(profiles[0].state, Disabled);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_card_with_a_profile_is_left_alone_unless_the_rule_is_always() {
    let mut bed = Bed::start().await;
    bed.install().await;
    let order = order_for_eid(&mut bed);
    let before = asked(&bed);
    for when in [BootstrapWhen::Never, BootstrapWhen::Empty] {
        first_boot(&mut bed, |bootstrap| bootstrap.when = when).await;
        a_day_passes().await;
        assert_eq!(asked(&bed), before, "{when:?}");
    }
    first_boot(&mut bed, |bootstrap| bootstrap.when = BootstrapWhen::Always).await;
    installed(&bed, order).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_test_profile_does_not_make_a_card_full() {
    let mut bed = Bed::start().await;
    let mut profile = bed.profile();
    profile.metadata.class = ProfileClass::Test;
    bed.bench
        .smdp
        .create_order(OrderRequest::with_matching_id(profile, "TEST"));
    bed.download_id("TEST").await;
    let order = order_for_eid(&mut bed);
    first_boot(&mut bed, |_| {}).await;
    installed(&bed, order).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_comes_later_is_found_within_hours_and_no_operation_fails_meanwhile() {
    let mut bed = Bed::start().await;
    first_boot(&mut bed, |_| {}).await;
    bed.bench
        .smdp
        .wait_until(|smdp| smdp.counters().requests(ASKED) == 3)
        .await;
    for operation in bed.client.operations().await.unwrap() {
        let ended = bed.client.wait(operation.id).await.unwrap();
        succeeded(&ended);
        assert!(ended.result.unwrap().nothing_to_download);
    }
    let order = order_for_eid(&mut bed);
    let ordered = Instant::now();
    installed(&bed, order).await;
    assert!(
        ordered.elapsed() < Duration::from_secs(7 * 3600),
        "{:?}",
        ordered.elapsed()
    );
    bed.settle().await;
    assert_eq!(bed.client.profiles(EUICC).await.unwrap()[0].state, Enabled);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn without_network_it_is_tried_again_and_succeeds_when_the_network_is_there() {
    let mut bed = Bed::start().await;
    let order = order_for_eid(&mut bed);
    bed.bench
        .smdp
        .set_fault(ASKED, Calls::Every, Fault::CloseConnection);
    first_boot(&mut bed, |_| {}).await;
    bed.bench
        .smdp
        .wait_until(|smdp| smdp.counters().requests(ASKED) >= 3)
        .await;
    bed.bench.smdp.clear_faults();
    installed(&bed, order).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_never_works_is_not_tried_for_ever_not_even_over_restarts() {
    let mut bed = Bed::start().await;
    order_for_eid(&mut bed);
    let counted = Function::AuthenticateClient;
    bed.bench
        .smdp
        .set_fault(counted, Calls::Every, Fault::HttpStatus(503));
    first_boot(&mut bed, |bootstrap| bootstrap.attempts = 4).await;
    let requests = |bed: &Bed| bed.bench.smdp.counters().requests(counted);
    let twice = bed
        .bench
        .smdp
        .wait_until(|smdp| smdp.counters().requests(counted) >= 2);
    timeout(Duration::from_secs(24 * 3600), twice)
        .await
        .unwrap();
    last(&bed).await;
    bed.kill().await;
    bed.resume().await;
    a_day_passes().await;
    assert_eq!(requests(&bed), 4);
    bed.stop().await;
    bed.resume().await;
    a_day_passes().await;
    assert_eq!(requests(&bed), 4);
    let first_profile = bed
        .client
        .euicc(EUICC)
        .await
        .unwrap()
        .first_profile
        .unwrap();
    assert_eq!(first_profile.state, FirstProfileState::Stopped);
    assert_eq!(
        (first_profile.attempts, first_profile.most_attempts),
        (4, 4)
    );

    // A client need not wait for a restart.
    bed.bench.smdp.clear_faults();
    order_for_eid(&mut bed);
    let request = lpad::api::downloads::DownloadRequest {
        smdp: Some(HOST_NAME.into()),
        consent: Consent::Accept,
        ..Default::default()
    };
    let operation = bed.download_as(&request).await;
    succeeded(&operation);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_pipe_in_place_of_a_code_keeps_nothing_waiting_and_is_told() {
    let mut bed = Bed::start().await;
    let order = order_with_code(&mut bed);
    let (code, confirmation) = (bed.folder().join("ac"), bed.folder().join("cc"));
    for path in [&code, &confirmation] {
        mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    }
    first_boot(&mut bed, |bootstrap| {
        bootstrap.default_smdp = None;
        bootstrap.activation_code_file = Some(code.clone());
        bootstrap.confirmation_code_file = Some(confirmation.clone());
    })
    .await;
    for (path, text) in [
        (&code, format!("LPA:1${HOST_NAME}$FIRST$$1\n")),
        (&confirmation, "0815".to_owned()),
    ] {
        let why = format!(
            "cannot be read: {}: it is a pipe, not a file",
            path.display()
        );
        bed.euicc_when(EUICC, |euicc| {
            let first_profile = euicc.first_profile.as_ref();
            let last = first_profile.and_then(|known| known.last.as_ref());
            last.is_some_and(|last| last.contains(&why))
        })
        .await;
        fs::remove_file(path).unwrap();
        fs::write(path, text).unwrap();
    }
    installed(&bed, order).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_code_file_that_is_missing_is_named_and_waited_for_and_uses_no_attempt() {
    let mut bed = Bed::start().await;
    let order = order_with_code(&mut bed);
    let (code, confirmation) = (bed.folder().join("ac"), bed.folder().join("cc"));
    first_boot(&mut bed, |bootstrap| {
        bootstrap.default_smdp = None;
        bootstrap.activation_code_file = Some(code.clone());
        bootstrap.confirmation_code_file = Some(confirmation.clone());
        bootstrap.attempts = 1;
    })
    .await;
    for (path, text) in [
        (&code, format!("LPA:1${HOST_NAME}$FIRST$$1\n")),
        (&confirmation, "0815".to_owned()),
    ] {
        let told = bed
            .euicc_when(EUICC, |euicc| {
                let first_profile = euicc.first_profile.as_ref();
                let last = first_profile.and_then(|known| known.last.as_ref());
                last.is_some_and(|last| last.contains(&format!("{}: No such file", path.display())))
            })
            .await;
        let told = told.first_profile.unwrap();
        assert_eq!(told.state, FirstProfileState::BackingOff);
        assert_eq!(told.attempts, 0);
        fs::write(path, text).unwrap();
    }
    installed(&bed, order).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn each_place_is_asked_in_turn_and_one_that_is_over_is_left_out() {
    let mut bed = Bed::start().await;
    let code = bed.folder().join("ac");
    bed.ended(bed.client.set_default_smdp(EUICC, HOST_NAME).await)
        .await;
    bed.order("M-1");
    // Nothing at the address; the code is not there yet.
    first_boot(&mut bed, |bootstrap| {
        bootstrap.default_smdp = None;
        bootstrap.activation_code_file = Some(code.clone());
    })
    .await;
    let told = bed
        .euicc_when(EUICC, has_tried)
        .await
        .first_profile
        .unwrap();
    assert_eq!(told.state, FirstProfileState::BackingOff);
    let places = (Some(OrderSource::Code), Some(OrderSource::Card));
    assert_eq!((told.source, told.then), places);

    // A code that the server does not know is over at once, and the address is asked again.
    fs::write(&code, format!("LPA:1${HOST_NAME}$UNHEARD-OF\n")).unwrap();
    bed.euicc_when(EUICC, |euicc| {
        let told = euicc.first_profile.as_ref();
        told.is_some_and(|told| (told.source, told.then) == (Some(OrderSource::Card), None))
    })
    .await;
    let asked = asked(&bed);
    bed.kill().await;
    bed.resume().await;
    bed.euicc_when(EUICC, has_tried).await;
    // After a restart only the address is asked.
    assert_eq!(self::asked(&bed), asked + 1);

    // Another code is another order, and comes first.
    fs::write(&code, format!("LPA:1${HOST_NAME}$M-1\n")).unwrap();
    let order = order_for_eid(&mut bed);
    bed.kill().await;
    bed.resume().await;
    bed.euicc_when(EUICC, is_done).await;
    assert_eq!(
        bed.bench.smdp.order(order).unwrap().state(),
        OrderState::Released
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_dead_for_good_does_not_stand_before_the_others() {
    let mut bed = Bed::start().await;
    let order = order_for_eid(&mut bed);
    let code = bed.folder().join("ac");
    fs::write(&code, "LPA:1$dead.example.com$X\n").unwrap();
    let network = bed.bench.network();
    network.set_reach("dead.example.com", Reach::NoRoute);
    first_boot(&mut bed, |bootstrap| {
        bootstrap.activation_code_file = Some(code)
    })
    .await;
    installed(&bed, order).await;
    let calls = network.calls();
    let asked: Vec<&str> = calls.iter().map(|(host, _)| &**host).collect();
    // It has its turn first.
    assert_eq!(asked[..3], ["dead.example.com"; 3]);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_code_that_is_not_there_keeps_no_order_from_being_given_up() {
    let mut bed = Bed::start().await;
    let profile = bed.profile();
    bed.bench.smdp.create_order(OrderRequest {
        confirmation_code: Some("0815".into()),
        ..OrderRequest::for_eid(profile, bed.bench.eid())
    });
    bed.order("M-1");
    let code = bed.folder().join("ac");
    first_boot(&mut bed, |bootstrap| {
        bootstrap.activation_code_file = Some(code.clone())
    })
    .await;
    let told = bed
        .euicc_when(EUICC, is_given_up)
        .await
        .first_profile
        .unwrap();
    assert_eq!(told.source, Some(OrderSource::Config));
    let last = told.last.unwrap();
    assert!(last.contains("confirmation code"), "{last}");
    bed.stop().await;
    bed.resume().await;
    bed.euicc_when(EUICC, is_given_up).await;
    // It is looked for all the same.
    fs::write(&code, format!("LPA:1${HOST_NAME}$M-1\n")).unwrap();
    a_day_passes().await;
    bed.euicc_when(EUICC, is_done).await;
}

#[tokio::test(start_paused = true)]
async fn a_code_that_was_exchanged_meanwhile_is_not_put_away() {
    let mut bed = Bed::start().await;
    let order = bed.order("FIRST");
    let code = bed.folder().join("ac");
    fs::write(&code, format!("LPA:1${HOST_NAME}$FIRST\n")).unwrap();
    let mut hold = (bed.bench.modem).hold(Pattern::LAST_BLOCK, 14, Moment::BeforeExecution);
    bed.stop().await;
    let bootstrap = &mut bed.configuration().euiccs[0].bootstrap;
    bootstrap.when = BootstrapWhen::Empty;
    bootstrap.default_smdp = None;
    bootstrap.after_use = AfterUse::Remove;
    bootstrap.activation_code_file = Some(code.clone());
    bed.boot();
    hold.reached().await;
    let next = format!("LPA:1${HOST_NAME}$SECOND\n");
    fs::write(&code, &next).unwrap();
    hold.release();
    installed(&bed, order).await;
    a_day_passes().await;
    assert_eq!(fs::read_to_string(&code).ok(), Some(next));
}

#[tokio::test(start_paused = true)]
async fn nobody_has_to_confirm_what_lpad_does_by_itself() {
    let mut bed = Bed::start().await;
    let order = order_for_eid(&mut bed);
    bed.configuration().euiccs[0].switch.confirm = Confirm::Client;
    first_boot(&mut bed, |_| {}).await;
    installed(&bed, order).await;
    assert_eq!(last(&bed).await.result.unwrap().enabled, Some(true));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_as_what_it_is() {
    let mut bed = Bed::start().await;
    order_for_eid(&mut bed);
    bed.bench.network().set_reach(HOST_NAME, Reach::NoRoute);
    first_boot(&mut bed, |_| {}).await;
    bed.euicc_when(EUICC, has_tried).await;
    let state = bed.folder().join("state");
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "in the way").unwrap();
    bed.euicc_when(EUICC, |euicc| {
        let told = euicc.first_profile.as_ref();
        let last = told.and_then(|told| told.last.as_deref());
        last.is_some_and(|last| last.contains("the journal cannot be written"))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_a_client_has_downloaded_is_the_first_one_as_well() {
    let mut bed = Bed::start().await;
    first_boot(&mut bed, |_| {}).await;
    bed.euicc_when(EUICC, has_tried).await;
    bed.install().await;
    let told = bed.client.euicc(EUICC).await.unwrap().first_profile;
    assert_eq!(told.unwrap().state, FirstProfileState::NotNeeded);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_comes_and_goes_is_no_reason_to_ask_each_time() {
    let mut bed = Bed::start().await;
    order_for_eid(&mut bed);
    let network = bed.bench.network();
    network.set_reach(HOST_NAME, Reach::NoRoute);
    first_boot(&mut bed, |_| {}).await;
    a_day_passes().await;
    let before = network.calls().len();
    for _ in 0..720 {
        bed.network_comes_up();
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let asked = network.calls().len() - before;
    assert!((6..30).contains(&asked), "{asked} times in an hour");
}

#[tokio::test(start_paused = true)]
async fn the_file_of_a_used_code_is_put_away_as_configured() {
    for (after_use, left) in [
        (AfterUse::Keep, Some("ac")),
        (AfterUse::Rename, Some("ac.used")),
        (AfterUse::Remove, None),
    ] {
        let mut bed = Bed::start().await;
        bed.order("M-1");
        let code = bed.folder().join("ac");
        fs::write(&code, format!("LPA:1${HOST_NAME}$M-1\n")).unwrap();
        first_boot(&mut bed, |bootstrap| {
            bootstrap.default_smdp = None;
            bootstrap.activation_code_file = Some(code.clone());
            bootstrap.after_use = after_use;
        })
        .await;
        bed.euicc_when(EUICC, is_done).await;
        for name in ["ac", "ac.used"] {
            let is_there = bed.folder().join(name).exists();
            assert_eq!(is_there, left == Some(name), "{after_use:?} {name}");
        }
        // A code that is used is not used again, whatever becomes of the profile.
        let asked = asked(&bed);
        let iccid = last(&bed).await.result.unwrap().iccid.unwrap();
        succeeded(&bed.switch(&iccid, Disabled).await);
        succeeded(
            &bed.ended(bed.client.delete(EUICC, &iccid, true).await)
                .await,
        );
        bed.stop().await;
        bed.resume().await;
        a_day_passes().await;
        assert_eq!(self::asked(&bed), asked, "{after_use:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_that_others_can_write_is_not_taken() {
    let mut bed = Bed::start().await;
    bed.order("M-1");
    let code = bed.folder().join("ac");
    fs::write(&code, format!("LPA:1${HOST_NAME}$M-1\n")).unwrap();
    fs::set_permissions(&code, Permissions::from_mode(0o664)).unwrap();
    first_boot(&mut bed, |bootstrap| {
        bootstrap.default_smdp = None;
        bootstrap.activation_code_file = Some(code.clone());
    })
    .await;
    let told = bed
        .euicc_when(EUICC, has_tried)
        .await
        .first_profile
        .unwrap();
    let last = told.last.unwrap();
    assert!(
        last.ends_with("others than its owner can write to it; chmod go-w"),
        "{last}"
    );
    assert_eq!(asked(&bed), 0);
    fs::set_permissions(&code, Permissions::from_mode(0o640)).unwrap();
    bed.euicc_when(EUICC, is_done).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_time_to_check_certificates_by_nothing_is_asked_until_the_clock_is_set() {
    let mut bed = Bed::start().await;
    let order = order_for_eid(&mut bed);
    bed.days_pass(-50 * 365);
    first_boot(&mut bed, |_| {}).await;
    a_day_passes().await;
    let told = bed.client.euicc(EUICC).await.unwrap().first_profile;
    assert_eq!(told.unwrap().state, FirstProfileState::WaitingClock);
    assert_eq!(asked(&bed), 0);
    let set = Instant::now();
    bed.set_clock_right();
    installed(&bed, order).await;
    within_a_minute(set);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn who_sets_the_default_smdp_can_have_it_asked_at_once() {
    let mut bed = Bed::start().await;
    let order = order_for_eid(&mut bed);
    let change = AddressesChange {
        default_smdp: HOST_NAME.to_owned(),
        download: true,
    };
    let set = bed.client.change_addresses(EUICC, &change).await;
    let set = bed.ended(set).await;
    succeeded(&set);
    installed(&bed, order).await;
    let download = last(&bed).await;
    assert_eq!(download.kind, Kind::Download);
    assert_eq!(download.result.unwrap().enabled, Some(true));
    // Nothing is asked for an address that was not stored.
    let asked = asked(&bed);
    bed.bench
        .card
        .force(0xBF3F, 1, ForcedAnswer::Status(StatusWord(0x6A80)));
    let set = bed.client.change_addresses(EUICC, &change).await;
    assert_eq!(bed.ended(set).await.state, State::Failed);
    a_day_passes().await;
    assert_eq!(self::asked(&bed), asked);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_code_that_is_put_right_opens_the_order_again() {
    let mut bed = Bed::start().await;
    let order = order_with_code(&mut bed);
    let (code, confirmation) = (bed.folder().join("ac"), bed.folder().join("cc"));
    fs::write(&code, format!("LPA:1${HOST_NAME}$FIRST$$1\n")).unwrap();
    first_boot(&mut bed, |bootstrap| {
        bootstrap.default_smdp = None;
        bootstrap.activation_code_file = Some(code.clone());
    })
    .await;
    let told = bed.euicc_when(EUICC, is_given_up).await.first_profile;
    let next_step = told.unwrap().next_step.unwrap();
    assert!(next_step.contains("confirmation_code_file"), "{next_step}");

    fs::write(&confirmation, "4711\n").unwrap();
    bed.stop().await;
    bed.configuration().euiccs[0]
        .bootstrap
        .confirmation_code_file = Some(confirmation.clone());
    bed.resume().await;
    let next_step = format!(
        "Put the right confirmation code into {} and restart lpad, or download by hand with \
         `lpactl download`.",
        confirmation.display()
    );
    let told = bed.euicc_when(EUICC, is_given_up).await.first_profile;
    assert_eq!(told.unwrap().next_step, Some(next_step));
    let asked = asked(&bed);
    bed.stop().await;
    bed.resume().await;
    bed.euicc_when(EUICC, is_given_up).await;
    a_day_passes().await;
    assert_eq!(
        self::asked(&bed),
        asked,
        "the same wrong code is not tried twice"
    );

    fs::write(&confirmation, "0815\n").unwrap();
    bed.stop().await;
    bed.resume().await;
    installed(&bed, order).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_code_is_downloaded_once_even_if_the_rule_is_always() {
    let mut bed = Bed::start().await;
    let order = bed.order("FIRST");
    let code = bed.folder().join("ac");
    first_boot(&mut bed, |bootstrap| {
        bootstrap.when = BootstrapWhen::Always;
        bootstrap.default_smdp = None;
        bootstrap.activation_code_file = Some(code.clone());
    })
    .await;
    // Written after the card was read: what is kept is of this code all the same.
    fs::write(&code, format!("LPA:1${HOST_NAME}$FIRST\n")).unwrap();
    installed(&bed, order).await;
    let asked = asked(&bed);
    for _ in 0..2 {
        bed.kill().await;
        bed.resume().await;
        let is_done = |euicc: &Euicc| {
            let first_profile = euicc.first_profile.as_ref();
            first_profile.is_some_and(|known| known.state == FirstProfileState::Done)
        };
        bed.euicc_when(EUICC, is_done).await;
        a_day_passes().await;
        assert_eq!(self::asked(&bed), asked);
    }
    let second = bed.order("SECOND");
    fs::write(&code, format!("LPA:1${HOST_NAME}$SECOND\n")).unwrap();
    bed.stop().await;
    bed.resume().await;
    installed(&bed, second).await;
    bed.must_be_sound().await;
}

/// In real time: programs take what they take.
#[tokio::test]
async fn people_hear_of_a_first_profile_that_is_given_up() {
    let mut bed = Bed::over_kernel_devices().await;
    let (code, pipe) = (bed.folder().join("ac"), bed.folder().join("alarms"));
    fs::write(&code, format!("LPA:1${HOST_NAME}$UNHEARD-OF\n")).unwrap();
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let words = ["/bin/sh", "-c", "cat >$0", pipe.to_str().unwrap()];
    bed.configuration().alarm.command = words.map(str::to_owned).into();
    first_boot(&mut bed, |bootstrap| {
        bootstrap.default_smdp = None;
        bootstrap.activation_code_file = Some(code);
    })
    .await;
    let heard = tokio::task::spawn_blocking(|| fs::read_to_string(pipe));
    let heard = timeout(Duration::from_secs(60), heard).await;
    let alarm: Alarm = serde_json::from_str(&heard.unwrap().unwrap().unwrap()).unwrap();
    assert_eq!(alarm.code, AlarmCode::BootstrapStopped);
    let operation = last(&bed).await;
    assert_eq!(alarm.operation, Some(operation.id));
    let words = "No first profile is looked for any more: ";
    assert!(alarm.detail.starts_with(words), "{}", alarm.detail);
    assert!(!alarm.detail.contains("UNHEARD"), "{}", alarm.detail);
}

#[tokio::test(start_paused = true)]
async fn why_an_order_was_given_up_and_what_to_do_is_told_after_a_restart_as_well() {
    let mut bed = Bed::start().await;
    let code = bed.folder().join("ac");
    fs::write(&code, format!("LPA:1${HOST_NAME}$UNHEARD-OF\n")).unwrap();
    first_boot(&mut bed, |bootstrap| {
        bootstrap.default_smdp = None;
        bootstrap.activation_code_file = Some(code.clone());
    })
    .await;
    let told = bed.euicc_when(EUICC, is_given_up).await.first_profile;
    let told = told.unwrap();
    let last = told.last.clone().unwrap();
    assert!(last.contains("8.2.6"), "{last}");
    assert!(!last.contains("UNHEARD-OF"), "{last}");
    let next_step = format!(
        "Put another activation code into {} and restart lpad, or download by hand with \
         `lpactl download`.",
        code.display()
    );
    assert_eq!(told.next_step.as_ref(), Some(&next_step));
    for _ in 0..2 {
        bed.kill().await;
        bed.resume().await;
        let again = bed.euicc_when(EUICC, is_given_up).await.first_profile;
        assert_eq!(again.unwrap(), told);
    }
    let journal = bed.folder().join("state/journal.ndjson");
    let journal = fs::read_to_string(journal).unwrap();
    assert!(!journal.contains("UNHEARD-OF"), "{journal}");

    // Another code is another order.
    let order = bed.order("FIRST");
    fs::write(&code, format!("LPA:1${HOST_NAME}$FIRST\n")).unwrap();
    bed.stop().await;
    bed.resume().await;
    installed(&bed, order).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_hangs_up_in_each_package_is_not_tried_for_ever_not_even_over_a_kill() {
    let mut bed = Bed::start().await;
    order_for_eid(&mut bed);
    let (smdp, modem) = (bed.bench.smdp.clone(), bed.bench.modem.clone());
    let packages = |smdp: &Smdp| smdp.counters().requests(Function::GetBoundProfilePackage);
    let hangs_up = tokio::spawn(async move {
        for sent in 1.. {
            smdp.wait_until(|smdp| packages(smdp) >= sent).await;
            modem.inject(modem::Fault {
                pattern: Pattern::LAST_BLOCK,
                nth: 3,
                effect: Effect::HangUp { executed: true },
            });
        }
    });
    first_boot(&mut bed, |bootstrap| bootstrap.attempts = 4).await;
    let begun = Instant::now();
    let three = bed.bench.smdp.wait_until(|smdp| packages(smdp) >= 3);
    timeout(Duration::from_secs(24 * 3600), three)
        .await
        .unwrap();
    assert!(begun.elapsed() > Duration::from_secs(1), "it backs off");
    last(&bed).await;
    let status = bed.client.euicc(EUICC).await.unwrap().first_profile;
    assert_eq!(status.unwrap().attempts, 3);
    bed.kill().await;
    bed.resume().await;
    for _ in 0..2 {
        a_day_passes().await;
        assert_eq!(packages(&bed.bench.smdp), 4);
        let status = bed.client.euicc(EUICC).await.unwrap().first_profile;
        let status = status.unwrap();
        assert_eq!(status.state, FirstProfileState::Stopped);
        assert_eq!((status.attempts, status.most_attempts), (4, 4));
        bed.stop().await;
        bed.resume().await;
    }
    hangs_up.abort();
}

#[tokio::test(start_paused = true)]
async fn a_card_brought_up_by_a_client_gets_its_first_profile_as_well() {
    let mut bed = Bed::start().await;
    let order = order_for_eid(&mut bed);
    bed.stop().await;
    bed.bench.unplug();
    bed.configuration().euiccs[0].bootstrap.when = BootstrapWhen::Empty;
    bed.boot();
    bed.euicc_in(Availability::Unavailable).await;
    a_day_passes().await;
    bed.bench.plug_in();
    let delivered = bed.client.deliver_notifications(EUICC).await;
    let delivered = bed.ended(delivered).await;
    assert_eq!(delivered.state, State::Succeeded, "{delivered:?}");
    installed(&bed, order).await;
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_will_not_pass_is_not_repeated() {
    let mut bed = Bed::start().await;
    let profile = bed.profile();
    let order = bed.bench.smdp.create_order(OrderRequest {
        confirmation_code: Some("0815".into()),
        ..OrderRequest::for_eid(profile, bed.bench.eid())
    });
    first_boot(&mut bed, |_| {}).await;
    a_day_passes().await;
    assert_eq!(asked(&bed), 1);
    let problem = last(&bed).await.problem.unwrap();
    assert_eq!(problem.code, Code::ConfirmationCodeRequired);
    assert_eq!(
        bed.bench.smdp.order(order).unwrap().state(),
        OrderState::Released
    );
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn trouble_that_passes_never_ends_the_first_boot() {
    let troubles = [
        Fault::HttpStatus(403),
        Fault::HttpStatus(503),
        Fault::CloseConnection,
        Fault::Silence,
        Fault::TruncatedBody,
        Fault::Html,
    ];
    for trouble in troubles {
        let mut bed = Bed::start().await;
        let order = order_for_eid(&mut bed);
        bed.bench
            .smdp
            .set_fault(ASKED, Calls::Every, trouble.clone());
        first_boot(&mut bed, |bootstrap| bootstrap.attempts = 2).await;
        for _ in 0..3 {
            a_day_passes().await;
        }
        let known = bed.client.euicc(EUICC).await.unwrap();
        let first_profile = known.first_profile.unwrap();
        let goes_on = [FirstProfileState::BackingOff, FirstProfileState::Trying];
        assert!(goes_on.contains(&first_profile.state), "{trouble:?}");
        assert!(first_profile.last.is_some());
        bed.bench.smdp.clear_faults();
        installed(&bed, order).await;
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_card_that_refuses_for_a_while_gets_its_first_profile_all_the_same() {
    for sw in [0x6985, 0x6F00] {
        let mut bed = Bed::start().await;
        let order = order_for_eid(&mut bed);
        // GetEUICCChallenge.
        let refused = ForcedAnswer::Status(StatusWord(sw));
        bed.bench.card.force(0xBF2E, 1, refused);
        first_boot(&mut bed, |_| {}).await;
        installed(&bed, order).await;
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_section_an_empty_card_with_a_stored_address_is_left_alone() {
    let text = "[[euicc]]\nport = \"/dev/null\"\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lpad.toml");
    fs::write(&file, text).unwrap();
    let silent = Config::load(&file).unwrap().euiccs[0].bootstrap.clone();
    let mut bed = Bed::start().await;
    bed.ended(bed.client.set_default_smdp(EUICC, HOST_NAME).await)
        .await;
    order_for_eid(&mut bed);
    bed.stop().await;
    bed.configuration().euiccs[0].bootstrap = silent;
    bed.resume().await;
    a_day_passes().await;
    assert_eq!(asked(&bed), 0);
    assert!(bed.client.profiles(EUICC).await.unwrap().is_empty());
}

fn is_done(euicc: &Euicc) -> bool {
    let first_profile = euicc.first_profile.as_ref();
    first_profile.is_some_and(|known| {
        matches!(
            known.state,
            FirstProfileState::Done | FirstProfileState::NotNeeded
        )
    })
}

/// An attempt has failed, or there was nothing.
fn has_tried(euicc: &Euicc) -> bool {
    let first_profile = euicc.first_profile.as_ref();
    first_profile.is_some_and(|known| known.state == FirstProfileState::BackingOff)
}

fn is_given_up(euicc: &Euicc) -> bool {
    let first_profile = euicc.first_profile.as_ref();
    first_profile.is_some_and(|known| known.state == FirstProfileState::Stopped)
}

const ASKED: Function = Function::InitiateAuthentication;

/// How often the server was asked for a profile.
fn asked(bed: &Bed) -> u64 {
    bed.bench.smdp.counters().requests(ASKED)
}

fn order_for_eid(bed: &mut Bed) -> OrderId {
    let profile = bed.profile();
    let request = OrderRequest::for_eid(profile, bed.bench.eid());
    bed.bench.smdp.create_order(request)
}

/// An order under the matching id FIRST that wants the confirmation code 0815.
fn order_with_code(bed: &mut Bed) -> OrderId {
    let request = OrderRequest {
        confirmation_code: Some("0815".into()),
        ..OrderRequest::with_matching_id(bed.profile(), "FIRST")
    };
    bed.bench.smdp.create_order(request)
}

/// Starts the daemon anew with the rule `empty`, changed.
async fn first_boot(bed: &mut Bed, change: impl FnOnce(&mut BootstrapConfig)) {
    bed.stop().await;
    let bootstrap = &mut bed.configuration().euiccs[0].bootstrap;
    bootstrap.when = BootstrapWhen::Empty;
    // Paused time would run through the jitter anyway; without it the order of things is clear.
    bootstrap.jitter_s = 0;
    change(bootstrap);
    bed.resume().await;
}

async fn installed(bed: &Bed, order: OrderId) {
    let installed = bed
        .bench
        .smdp
        .wait_until(|smdp| smdp.order(order).unwrap().state() == OrderState::Installed);
    timeout(Duration::from_secs(24 * 3600), installed)
        .await
        .expect("it is installed");
    let id = last(bed).await.id;
    bed.client.wait(id).await.unwrap();
}

async fn last(bed: &Bed) -> Operation {
    let operations = bed.client.operations().await.unwrap();
    let last = operations.last().expect("there is an operation");
    bed.client.wait(last.id).await.unwrap()
}

#[track_caller]
fn within_a_minute(since: Instant) {
    let took = since.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
}

async fn a_day_passes() {
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
}
