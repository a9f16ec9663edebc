//! The direction of dependencies between the crates, and what may be linked where.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn crates_depend_on_each_other_in_one_direction_only() {
    let metadata = metadata();
    for (package, allowed) in [
        ("es10-apdu", &[][..]),
        ("es9-client", &[]),
        ("lpad", &["es10-apdu", "es9-client"]),
        ("sim-card-emulator", &["es10-apdu"]),
        (
            "lpad-tests",
            &["es10-apdu", "es9-client", "lpad", "sim-card-emulator"],
        ),
    ] {
        let ours = dependencies(&metadata, package)
            .into_iter()
            .filter(|name| PACKAGES.contains(&name.as_str()));
        let unexpected: Vec<_> = ours
            .filter(|name| !allowed.contains(&name.as_str()))
            .collect();
        assert!(
            unexpected.is_empty(),
            "{package} must not depend on {unexpected:?}"
        );
    }
}

#[test]
fn only_the_test_bench_links_elliptic_curves_and_ciphers() {
    let metadata = metadata();
    for package in ["es10-apdu", "es9-client", "lpad"] {
        let cryptography: Vec<_> = dependencies(&metadata, package)
            .into_iter()
            .filter(|name| ["p256", "aes", "cbc", "cmac", "sha2", "ecdsa"].contains(&name.as_str()))
            .collect();
        assert!(
            cryptography.is_empty(),
            "{package} must not depend on {cryptography:?}"
        );
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

const PACKAGES: [&str; 5] = [
    "es10-apdu",
    "es9-client",
    "lpad",
    "lpad-tests",
    "sim-card-emulator",
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

/// Names of the direct dependencies of a package, those of its tests included.
fn dependencies(metadata: &Value, package: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("there are packages");
    let package = packages
        .iter()
        .find(|entry| entry["name"] == package)
        .expect("it is here");
    let dependencies = package["dependencies"].as_array().expect("a list");
    dependencies
        .iter()
        .map(|entry| entry["name"].as_str().unwrap_or_default().into())
        .collect()
}
