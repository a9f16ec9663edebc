//! When a profile is in service: it has an address, and what is configured is in reach.

use std::fs;

use lpad::api::body::Operation;
use lpad::config::{Check, Need, ProfileConfig, Roaming, SwitchConfig};
use lpad::job::{Outcome, Reason};
use lpad::memory::snapshot::ProfileState;
use lpad_tests::bed::{Bed, EUICC, succeeded};
use rsp_servers::web::Web;
use serde_json::{Value, json};
use sim_card_emulator::card::Card;
use tokio::io::AsyncWriteExt;

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

/// In real time: programs take what they take.
#[tokio::test]
async fn the_dialler_is_told_before_a_switch_and_when_the_profile_is_registered() {
    let mut bed = Bed::over_kernel_devices().await;
    let iccids = [bed.install().await, bed.install().await];
    bed.stop().await;
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
