//! The systemd units: nothing in them is unknown to systemd, and the service can do little harm.
//!
//! `packaging/tests/unit` runs the daemon under them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

#[test]
fn the_service_is_exposed_by_no_more_than_it_needs() {
    let Some(mut analyze) = analyze() else { return };
    analyze.args(["security", "--offline=true", "--threshold=15"]);
    let output = analyze.arg(packaging().join("lpad.service")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "above 1.5:\n{}", text(&output));
    assert!(text(&output).contains("lpad.service: "), "it was looked at");
}

#[test]
fn systemd_finds_nothing_to_say_about_the_units() {
    let Some(analyze) = analyze() else { return };
    let units = units();
    assert_eq!(verified(analyze, &units), "");
}

#[test]
fn systemd_finds_nothing_to_say_about_any_of_the_examples() {
    let Some(version) = version() else { return };
    let mut count = 0;
    for unit in ["lpad.service", "lpad.socket"] {
        let drop_ins = format!("{unit}.d");
        for example in fs::read_dir(packaging().join("examples").join(&drop_ins)).unwrap() {
            let example = example.unwrap();
            let name = example.file_name().into_string().unwrap();
            let too_new = name == "restart-backoff.conf" && version < 254;
            if too_new {
                continue;
            }
            let units = units();
            let folder = units.path().join(&drop_ins);
            fs::create_dir(&folder).unwrap();
            fs::copy(example.path(), folder.join(&name)).unwrap();
            let said = verified(analyze().unwrap(), &units);
            assert_eq!(said, "", "{drop_ins}/{name}");
            count += 1;
        }
    }
    assert!(count > 5, "{count} examples");
}

/// systemd does look: what it does not know it names.
#[test]
fn an_option_that_systemd_does_not_know_is_told() {
    let Some(analyze) = analyze() else { return };
    let units = units();
    let file = units.path().join("lpad.service");
    let service = fs::read_to_string(&file).unwrap();
    let mistaken = service.replace("ProtectHome=", "ProtectHomes=");
    fs::write(&file, mistaken).unwrap();
    let said = verified(analyze, &units);
    assert!(said.contains("ProtectHomes"), "{said}");
}

/// A copy of the units whose program exists here.
fn units() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let service = fs::read_to_string(packaging().join("lpad.service")).unwrap();
    let start = "ExecStart=/usr/sbin/lpad\n";
    assert_eq!(service.matches(start).count(), 1, "the program's path");
    let service = service.replace(start, &format!("ExecStart={}\n", program.display()));
    fs::write(folder.path().join("lpad.service"), service).unwrap();
    let socket = packaging().join("lpad.socket");
    fs::copy(socket, folder.path().join("lpad.socket")).unwrap();
    folder
}

/// What `systemd-analyze verify` says.
fn verified(mut analyze: Command, units: &TempDir) -> String {
    // The page of the manual is installed with the package.
    analyze.args(["verify", "--man=no"]);
    let files = ["lpad.service", "lpad.socket"].map(|name| units.path().join(name));
    let output = analyze.args(files).output().unwrap();
    text(&output)
}

fn text(output: &Output) -> String {
    let octets = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8(octets).unwrap()
}

/// `systemd-analyze`, or nothing on a machine without it, which CI's must not be.
fn analyze() -> Option<Command> {
    let analyze = || Command::new("systemd-analyze");
    if analyze().arg("--version").output().is_ok() {
        return Some(analyze());
    }
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "there is no systemd-analyze; install systemd");
    eprintln!("there is no systemd-analyze; the units are not checked");
    None
}

fn version() -> Option<u32> {
    let output = analyze()?.arg("--version").output().unwrap();
    let text = text(&output);
    let version = text.split_whitespace().nth(1).unwrap();
    Some(version.parse().unwrap())
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}
