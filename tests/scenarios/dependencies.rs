//! The direction of dependencies between the crates, and what may be linked where.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn crates_depend_on_each_other_in_one_direction_only() {
    let metadata = metadata();
    for (package, allowed, in_tests) in CRATES {
        let all_allowed: BTreeSet<_> = allowed.iter().chain(*in_tests).copied().collect();
        for (kind, allowed) in [
            (Kind::Normal, allowed.iter().copied().collect()),
            (Kind::Test, all_allowed),
        ] {
            let dependencies = dependencies(&metadata, package, kind);
            let unexpected: Vec<_> = CRATES
                .iter()
                .map(|(name, _, _)| *name)
                .filter(|name| dependencies.contains(*name) && !allowed.contains(name))
                .collect();
            assert!(
                unexpected.is_empty(),
                "{package} must not depend on {unexpected:?}"
            );
        }
    }
}

#[test]
fn every_crate_of_the_workspace_has_its_place() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("there are packages");
    let members: BTreeSet<_> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let listed: BTreeSet<_> = CRATES.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(members, listed);
}

#[test]
fn only_the_test_bench_links_elliptic_curves_and_ciphers() {
    let metadata = metadata();
    for package in ["es10-apdu", "es9-client", "lpad"] {
        let cryptography: Vec<_> = dependencies(&metadata, package, Kind::Test)
            .into_iter()
            .filter(|name| {
                [
                    "aes",
                    "bp256",
                    "cbc",
                    "cmac",
                    "ecdsa",
                    "p256",
                    "rsp-common",
                    "sha2",
                ]
                .contains(&name.as_str())
            })
            .collect();
        assert!(
            cryptography.is_empty(),
            "{package} must not depend on {cryptography:?}"
        );
    }
}

/// Built without `cli`, the daemon has nothing of the command line's.
#[test]
fn what_only_lpactl_needs_is_left_out_with_its_feature() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("there are packages");
    let lpad = packages.iter().find(|package| package["name"] == "lpad");
    let lpad = lpad.expect("it is here");
    let needed = lpad["dependencies"].as_array().expect("a list").iter();
    let optional: BTreeSet<_> = needed
        .filter(|needed| needed["optional"] == true)
        .filter_map(|needed| needed["name"].as_str())
        .collect();
    let only_lpactl = ["clap", "comfy-table", "indicatif", "jiff"];
    let only_description = ["schemars"];
    let expected = only_lpactl.iter().chain(&only_description).copied();
    assert_eq!(optional, expected.collect());
    let features = lpad["features"]["cli"].as_array().expect("a feature");
    for name in only_lpactl {
        assert!(features.contains(&format!("dep:{name}").into()), "{name}");
    }
}

/// Other links to a card than a modem's bring no AT along.
#[test]
fn the_card_s_functions_do_not_know_at() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../es10-apdu/src");
    let mut folders = vec![source.clone()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the source") {
            let path = entry.expect("an entry").path();
            if path == source.join("at") || path == source.join("at.rs") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("it is text");
            for at in ["crate::at", "super::at", "serialport", "rustix"] {
                assert!(!text.contains(at), "{} uses {at}", path.display());
            }
            files += 1;
        }
    }
    assert!(files > 20, "only {files} files were looked at");
}

/// Each crate of the workspace, those of the others it may use, and those its tests may use too.
const CRATES: &[(&str, &[&str], &[&str])] = &[
    ("es10-apdu", &[], &[]),
    ("es9-client", &[], &[]),
    ("lpad", &["es10-apdu", "es9-client"], &[]),
    ("lpad-packaging", &["es9-client", "lpad"], &[]),
    ("rsp-common", &["es10-apdu"], &[]),
    ("sim-card-emulator", &["es10-apdu", "rsp-common"], &[]),
    (
        "rsp-servers",
        &["es10-apdu", "es9-client", "rsp-common"],
        &["sim-card-emulator"],
    ),
    (
        "lpad-tests",
        &[
            "es10-apdu",
            "es9-client",
            "lpad",
            "rsp-common",
            "rsp-servers",
            "sim-card-emulator",
        ],
        &[],
    ),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--no-deps",
            "--locked",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// What the crate itself needs.
    Normal,
    /// What its tests need as well.
    Test,
}

/// Names of the direct dependencies of a package.
fn dependencies(metadata: &Value, package: &str, kind: Kind) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("there are packages");
    let package = packages
        .iter()
        .find(|entry| entry["name"] == package)
        .expect("it is here");
    let dependencies = package["dependencies"].as_array().expect("a list");
    dependencies
        .iter()
        .filter(|entry| kind == Kind::Test || entry["kind"] != "dev")
        .map(|entry| entry["name"].as_str().unwrap_or_default().into())
        .collect()
}
