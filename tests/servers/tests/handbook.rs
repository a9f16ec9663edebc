//! What `docs/test-bench.md` says of the servers is what they know.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::process::Command;

use rsp_servers::smdp::{FaultPlan, Function, OrderSettings, TlsChoice};
use serde_json::Value;

fn chapter() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/test-bench.md");
    fs::read_to_string(path).unwrap().replace("\\\n", " ")
}

fn calls(program: &str) -> Vec<String> {
    let chapter = chapter();
    let lines = chapter.lines().filter(|line| line.starts_with(program));
    let calls: Vec<String> = lines.map(str::to_owned).collect();
    assert!(!calls.is_empty(), "the chapter does not call {program}");
    calls
}

#[test]
fn every_option_of_the_servers_in_the_handbook_is_in_their_help() {
    for (program, path) in [
        ("smdp ", env!("CARGO_BIN_EXE_smdp")),
        ("smds ", env!("CARGO_BIN_EXE_smds")),
    ] {
        let help = Command::new(path).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for call in calls(program) {
            let options = call
                .split_whitespace()
                .filter(|word| word.starts_with("--"));
            for option in options {
                assert!(
                    help.contains(&format!("{option} ")) || help.contains(&format!("{option}\n")),
                    "{option}"
                );
            }
        }
    }
}

#[test]
fn every_fault_and_tls_choice_in_the_handbook_has_that_name() {
    let mut plans = 0;
    for call in calls("smdp ") {
        for (option, name) in call.split_whitespace().zip(call.split_whitespace().skip(1)) {
            if option == "--fault" {
                name.parse::<FaultPlan<Function>>().unwrap();
                plans += 1;
            }
        }
    }
    let chapter = chapter();
    for body in chapter.split("-d '").skip(1) {
        let body = body.split('\'').next().unwrap();
        let value: Value = serde_json::from_str(body).unwrap();
        if let Some(tls) = value.get("tls") {
            tls.as_str().unwrap().parse::<TlsChoice>().unwrap();
            plans += 1;
        } else if value.get("fault").is_some() {
            serde_json::from_value::<FaultPlan<Function>>(value).unwrap();
            plans += 1;
        } else if value.get("matching_id").is_some() {
            serde_json::from_value::<OrderSettings>(value).unwrap();
            plans += 1;
        }
    }
    assert_eq!(
        plans, 5,
        "the chapter shows a fault, three bodies and an order"
    );
}
