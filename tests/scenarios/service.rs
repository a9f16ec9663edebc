//! When a profile is in service: it has an address, and what is configured is in reach.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lpad::api::body::Operation;
use lpad::api::profiles::ProfileChange;
use lpad::config::{Check, Need, ProfileConfig, Roaming, SwitchConfig};
use lpad::job::{Outcome, Reason, Verdict};
use lpad::memory::operations::State;
use lpad::memory::snapshot::ProfileState;
use lpad::problem::Code;
use lpad_tests::bed::{Bed, EUICC, problem, succeeded};
use rsp_servers::web::Web;
use serde_json::{Value, json};
use sim_card_emulator::card::Card;
use sim_card_emulator::modem::{Moment, Pattern};
use tokio::io::{AsyncWriteExt, DuplexStream};

/// A daemon whose card has two profiles, and checks the service of the second one by this configuration.
/// The first one is in use, and in service.
async fn bed(configure: impl FnOnce(&Bed, &[String; 2]) -> SwitchConfig) -> (Bed, [String; 2]) {
    let mut bed = Bed::start().await;
    let iccids = [bed.install().await, bed.install().await];
    bed.bench.set_interface("wwan0");
    succeeded(&bed.switch(&iccids[0], ProfileState::Enabled).await);
    bed.stop().await;
    let configured = configure(&bed, &iccids);
    bed.configuration().euiccs[0].switch = configured;
    bed.resume().await;
    (bed, iccids)
}

/// Whether this profile is in use.
fn is_in_use(card: &Card, iccid: &str) -> bool {
    let memory = card.memory();
    let mut profiles = memory.profiles.iter();
    profiles.any(|profile| profile.enabled && profile.iccid.to_string() == iccid)
}

/// An ordinary web server at its name, and a check that asks it. With the second profile in use, it answers
/// as `with_second` says.
fn web(bed: &Bed, second: &str, with_second: Answer) -> Check {
    let issuer = bed.folder().join("issuer.pem");
    fs::write(&issuer, Web::ISSUER).unwrap();
    let (card, second) = (bed.bench.card.clone(), second.to_owned());
    bed.bench
        .network()
        .set_server(Web::HOST, move |mut stream| {
            let is_second = is_in_use(&card, &second);
            async move {
                let web = Web::new();
                match with_second {
                    Answer::Garbage if is_second => {
                        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await;
                    }
                    Answer::Status(status) if is_second => {
                        web.set_status(status);
                        web.serve(stream).await;
                    }
                    _ => web.serve(stream).await,
                }
            }
        });
    Check {
        https: Some(format!("https://{}/health", Web::HOST)),
        ca_file: Some(issuer),
        ..Check::default()
    }
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Status(u16),
    Garbage,
}

fn outcome(operation: &Operation) -> Option<Outcome> {
    operation.switch.as_ref().and_then(|switch| switch.outcome)
}

/// What the second profile lacked.
fn lack(operation: &Operation) -> Option<Reason> {
    let switch = operation.switch.as_ref()?;
    switch.failed.first().map(|tried| tried.reason)
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_in_service_when_the_checks_succeed_over_its_interface() {
    let (mut bed, iccids) = bed(|bed, iccids| SwitchConfig {
        interface: "wwan0".to_owned(),
        check: vec![web(bed, &iccids[1], Answer::Status(200))],
        ..SwitchConfig::default()
    })
    .await;
    let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
    succeeded(&switched);
    assert_eq!(outcome(&switched), Some(Outcome::Confirmed));
    let asked = (Web::HOST.to_owned(), 443);
    let calls = bed.bench.network().calls();
    // Once before the switch, and at two looks after it.
    assert_eq!(calls.iter().filter(|call| **call == asked).count(), 3);
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_without_what_is_to_be_reached_is_left_again_and_says_why() {
    for (answer, reason) in [
        (Answer::Status(503), Reason::Status),
        (Answer::Garbage, Reason::Tls),
    ] {
        let (mut bed, iccids) = bed(|bed, iccids| SwitchConfig {
            check: vec![web(bed, &iccids[1], answer)],
            ..SwitchConfig::default()
        })
        .await;
        let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
        assert_eq!(outcome(&switched), Some(Outcome::Reverted), "{answer:?}");
        assert_eq!(lack(&switched), Some(reason));
        assert!(is_in_use(&bed.bench.card, &iccids[0]));
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_registers_and_carries_nothing_is_left_again() {
    for (network, interface, has_check, reason) in [
        ("no-address", "", false, Reason::NoAddress),
        ("no-address", "wwan0", false, Reason::NoAddress),
        ("no-packets", "wwan0", true, Reason::Connect),
    ] {
        let (mut bed, iccids) = bed(|bed, iccids| SwitchConfig {
            interface: interface.to_owned(),
            check: match has_check {
                true => vec![web(bed, &iccids[1], Answer::Status(200))],
                false => Vec::new(),
            },
            ..SwitchConfig::default()
        })
        .await;
        let network = network.parse().unwrap();
        bed.bench.modem.set_network(Some(&iccids[1]), network);
        let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
        assert_eq!(outcome(&switched), Some(Outcome::Reverted));
        assert_eq!(lack(&switched), Some(reason));
        assert!(is_in_use(&bed.bench.card, &iccids[0]));
        bed.must_be_sound().await;
    }
}

/// Its checks go over no other way.
#[tokio::test(start_paused = true)]
async fn a_profile_is_not_in_service_when_the_modem_s_interface_is_not_found() {
    let (mut bed, iccids) = bed(|bed, iccids| SwitchConfig {
        interface: "auto".to_owned(),
        check: vec![web(bed, &iccids[1], Answer::Status(200))],
        ..SwitchConfig::default()
    })
    .await;
    let before = bed.bench.network().calls().len();
    let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
    assert_ne!(outcome(&switched), Some(Outcome::Confirmed));
    assert_eq!(lack(&switched), Some(Reason::NoAddress));
    let calls = bed.bench.network().calls();
    let asked = calls[before..].iter().filter(|(host, _)| host == Web::HOST);
    assert_eq!(asked.count(), 0);
    bed.stop().await;
    bed.resume().await;
    bed.must_be_sound().await;
}

/// Clients wait behind a look.
#[tokio::test(start_paused = true)]
async fn the_checks_of_one_look_take_no_longer_than_a_minute_together() {
    let (bed, iccids) = bed(|bed, _| {
        let silent = |stream: DuplexStream| async move {
            let _open = stream;
            std::future::pending().await
        };
        bed.bench.network().set_server(Web::HOST, silent);
        let slow = Check {
            https: Some(format!("https://{}/health", Web::HOST)),
            timeout_s: 60,
            ..Check::default()
        };
        SwitchConfig {
            check: vec![slow; 5],
            ..SwitchConfig::default()
        }
    })
    .await;
    // It is enabled already, and looked at once.
    let begun = tokio::time::Instant::now();
    let unchanged = bed.switch(&iccids[0], ProfileState::Enabled).await;
    succeeded(&unchanged);
    let took = begun.elapsed().as_secs();
    assert!((55..70).contains(&took), "{took} s");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_network_will_do_unless_only_the_home_network_does() {
    for (roaming, expected) in [
        (Roaming::Allow, None),
        (Roaming::HomeOnly, Some(Reason::HomeOnly)),
    ] {
        let (mut bed, iccids) = bed(|_, _| SwitchConfig {
            roaming,
            ..SwitchConfig::default()
        })
        .await;
        let network = "roaming".parse().unwrap();
        bed.bench.modem.set_network(Some(&iccids[1]), network);
        let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
        assert_eq!(lack(&switched), expected);
        bed.must_be_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_the_checks_will_do_unless_all_have_to() {
    for (need, expected) in [
        (Need::Any, Outcome::Confirmed),
        (Need::All, Outcome::Reverted),
    ] {
        let (mut bed, iccids) = bed(|bed, iccids| {
            let strict = web(bed, &iccids[1], Answer::Status(204));
            let lenient = Check {
                status: vec![200, 204],
                ..strict.clone()
            };
            SwitchConfig {
                need,
                check: vec![strict, lenient],
                ..SwitchConfig::default()
            }
        })
        .await;
        let switched = bed.switch(&iccids[1], ProfileState::Enabled).await;
        assert_eq!(outcome(&switched), Some(expected), "{need:?}");
        bed.must_be_sound().await;
    }
}

/// Has the dialler told by programs that write down what they hear, and gives the file.
fn has_dialler(bed: &mut Bed) -> PathBuf {
    let told = bed.folder().join("told");
    let hook = |name: &str| {
        let script = format!("{{ echo {name}; cat; echo; }} >>{}", told.display());
        ["/bin/sh", "-c", &script].map(str::to_owned).into()
    };
    let (down, up) = (hook("down"), hook("up"));
    let euicc = &mut bed.configuration().euiccs[0];
    euicc.switch.stable_s = 1;
    euicc.dialler.down = down;
    euicc.dialler.up = up;
    told
}

/// What the dialler was told since it was asked last: which program, and the profile afterwards.
fn told_of(path: &Path) -> Vec<(String, Option<String>)> {
    let told = fs::read_to_string(path).unwrap_or_default();
    let _ = fs::remove_file(path);
    let lines: Vec<&str> = told.lines().collect();
    let calls = lines.chunks(2).map(|call| {
        let about: Value = serde_json::from_str(call[1]).unwrap();
        let to = about["to"].as_str().map(str::to_owned);
        (call[0].to_owned(), to)
    });
    calls.collect()
}

/// In real time: programs take what they take.
#[tokio::test]
async fn the_dialler_hears_how_a_switch_ended_that_was_cut_off_whether_or_not_it_was_verified() {
    let mut bed = Bed::start().await;
    let iccids = [bed.install().await, bed.install().await];
    succeeded(&bed.switch(&iccids[0], ProfileState::Enabled).await);
    bed.stop().await;
    let told = has_dialler(&mut bed);
    bed.resume().await;
    let call = |name: &str, to: &String| (name.to_owned(), Some(to.clone()));
    for (nth, verify) in [(LIST, false), (LIST, true), (ENABLE, false)] {
        let change = ProfileChange {
            verify,
            ..ProfileChange::to(ProfileState::Enabled)
        };
        let moment = Moment::BeforeAnswer;
        let mut hold = bed.bench.modem.hold(Pattern::LAST_BLOCK, nth, moment);
        let started = bed.client.change_profile(EUICC, &iccids[1], &change).await;
        hold.reached().await;
        bed.kill().await;
        hold.release();
        bed.resume().await;
        let ended = bed.client.operation(started.unwrap().id, 0).await;
        let ended = bed.ended(ended).await;
        let is_executed = nth == ENABLE;
        assert_eq!(ended.state == State::Succeeded, is_executed, "{ended:?}");
        let now = &iccids[usize::from(is_executed)];
        let expected = [call("down", &iccids[1]), call("up", now)];
        assert_eq!(told_of(&told), expected, "{nth} {verify}");
    }
    bed.must_be_sound().await;
}

#[tokio::test]
async fn the_dialler_hears_of_a_profile_that_stays_without_service_and_of_one_that_is_disabled() {
    let mut bed = Bed::start().await;
    let iccid = bed.install().await;
    bed.stop().await;
    let told = has_dialler(&mut bed);
    bed.configuration().euiccs[0].switch.deadline_s = 1;
    bed.resume().await;
    let modem = bed.bench.modem.clone();
    modem.set_network(None, "never".parse().unwrap());
    let call = |name: &str, to: Option<&String>| (name.to_owned(), to.cloned());
    let (down, up) = (call("down", Some(&iccid)), call("up", Some(&iccid)));
    let stays = bed.switch(&iccid, ProfileState::Enabled).await;
    assert_eq!(outcome(&stays), Some(Outcome::Unverified));
    assert_eq!(told_of(&told), [down, up.clone()]);
    let away = call("down", None);
    // It is cut off before the card has heard of it, and is in use all the same.
    let moment = Moment::BeforeAnswer;
    let mut hold = bed.bench.modem.hold(Pattern::LAST_BLOCK, LIST, moment);
    let cut_off = bed.client.disable(EUICC, &iccid, true).await.unwrap();
    hold.reached().await;
    bed.kill().await;
    hold.release();
    bed.resume().await;
    let cut_off = bed.ended(bed.client.operation(cut_off.id, 0).await).await;
    assert_eq!(problem(cut_off).code, Code::Interrupted);
    assert_eq!(told_of(&told), [away.clone(), up]);
    let disabled = bed.client.disable(EUICC, &iccid, true).await;
    succeeded(&bed.ended(disabled).await);
    assert_eq!(told_of(&told), [away]);
    bed.must_be_sound().await;
}

#[tokio::test]
async fn a_switch_that_is_cancelled_while_the_dialler_lets_go_ends_at_once() {
    let mut bed = Bed::start().await;
    let iccids = [bed.install().await, bed.install().await];
    succeeded(&bed.switch(&iccids[0], ProfileState::Enabled).await);
    bed.stop().await;
    let told = has_dialler(&mut bed);
    let began = bed.folder().join("began");
    let script = format!("mkfifo {0}; echo >{0}; sleep 20", began.display());
    let down = ["/bin/sh", "-c", &script].map(str::to_owned);
    bed.configuration().euiccs[0].dialler.down = down.into();
    bed.resume().await;
    let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
    while !began.exists() {
        tokio::task::yield_now().await;
    }
    let before = Instant::now();
    bed.client.cancel(started.id).await.unwrap();
    let ended = bed.ended(Ok(started)).await;
    assert_eq!(ended.state, State::Cancelled);
    assert!(before.elapsed() < Duration::from_secs(10));
    assert_eq!(told_of(&told), [("up".to_owned(), Some(iccids[0].clone()))]);
    assert!(is_in_use(&bed.bench.card, &iccids[0]));
    bed.must_be_sound().await;
}

/// In real time: programs take what they take.
#[tokio::test]
async fn an_end_in_good_order_or_a_revert_does_not_wait_for_the_dialler_and_an_end_is_not_held_against_the_profile()
 {
    let mut bed = Bed::start().await;
    let iccids = [bed.install().await, bed.install().await];
    succeeded(&bed.switch(&iccids[0], ProfileState::Enabled).await);
    bed.stop().await;
    let began = bed.folder().join("began");
    let to_second = format!("grep -q 'to\":\"{}' || exit 0", iccids[1]);
    let script = format!("{to_second}; touch {}; sleep 50", began.display());
    let euicc = &mut bed.configuration().euiccs[0];
    euicc.switch.stable_s = 1;
    euicc.dialler.up = ["/bin/sh", "-c", &script].map(str::to_owned).into();
    bed.resume().await;
    let before = Instant::now();
    let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
    for _ in 0..3 {
        while !began.exists() {
            tokio::task::yield_now().await;
        }
        fs::remove_file(&began).unwrap();
        bed.stop().await;
        bed.resume().await;
    }
    while !began.exists() {
        tokio::task::yield_now().await;
    }
    let now = bed.client.operation(started.id, 0).await.unwrap();
    assert_eq!(lack(&now), None);
    bed.client
        .decide(started.id, Verdict::Revert)
        .await
        .unwrap();
    let ended = bed.ended(Ok(now)).await;
    assert_eq!(outcome(&ended), Some(Outcome::Reverted));
    assert_eq!(lack(&ended), Some(Reason::Reverted));
    assert!(before.elapsed() < Duration::from_secs(40));
    assert!(is_in_use(&bed.bench.card, &iccids[0]));
    bed.must_be_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_is_cancelled_while_the_profile_before_is_looked_at_ends_at_once() {
    let (mut bed, iccids) = bed(|bed, _| {
        let silent = |stream: DuplexStream| async move {
            let _open = stream;
            std::future::pending().await
        };
        bed.bench.network().set_server(Web::HOST, silent);
        SwitchConfig {
            check: vec![Check {
                https: Some(format!("https://{}/health", Web::HOST)),
                timeout_s: 60,
                ..Check::default()
            }],
            ..SwitchConfig::default()
        }
    })
    .await;
    let started = bed.client.enable(EUICC, &iccids[1]).await.unwrap();
    let asked = (Web::HOST.to_owned(), 443);
    while !bed.bench.network().calls().contains(&asked) {
        tokio::task::yield_now().await;
    }
    let begun = tokio::time::Instant::now();
    bed.client.cancel(started.id).await.unwrap();
    let ended = bed.ended(Ok(started)).await;
    assert_eq!(ended.state, State::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(is_in_use(&bed.bench.card, &iccids[0]));
    bed.must_be_sound().await;
}

/// The command by which the card lists its profiles before it is asked to change one: it has said who it is.
const LIST: u32 = 2;
/// The command after that.
const ENABLE: u32 = 3;

/// In real time: programs take what they take.
#[tokio::test]
async fn the_dialler_is_told_before_a_switch_and_when_the_profile_is_registered() {
    let mut bed = Bed::over_kernel_devices().await;
    let iccids = [bed.install().await, bed.install().await];
    bed.stop().await;
    let told = has_dialler(&mut bed);
    let euicc = &mut bed.configuration().euiccs[0];
    euicc.profiles = vec![ProfileConfig {
        apn: Some("iot.example".to_owned()),
        ..ProfileConfig::about(&iccids[0])
    }];
    bed.resume().await;
    let started = bed.client.enable(EUICC, &iccids[0]).await;
    let switched = bed.ended(started).await;
    succeeded(&switched);
    let warnings = switched.result.unwrap().warnings;
    assert!(warnings.is_empty(), "{warnings:?}");
    let told = fs::read_to_string(&told).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    let [down, before, up, after] = lines[..] else {
        panic!("{told}");
    };
    assert_eq!((down, up), ("down", "up"));
    let about = |text| serde_json::from_str::<Value>(text).unwrap();
    let expected = |roaming: Value| {
        json!({
            "from": null,
            "to": iccids[0],
            "apn": "iot.example",
            "ip_type": null,
            "user": null,
            "password_file": null,
            "roaming": roaming,
            "interface": null,
        })
    };
    assert_eq!(about(before), expected(Value::Null));
    assert_eq!(about(after), expected(Value::Bool(false)));
}
