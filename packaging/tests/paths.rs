//! The package, the units, the configuration's defaults and every page name the same paths and users.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lpad::config::{ApiConfig, Config, StateConfig};
use lpad_packaging::configuration::sections;

#[test]
fn the_units_start_what_the_package_has_as_the_user_it_makes() {
    let service = read("packaging/lpad.service");
    let socket = read("packaging/lpad.socket");
    let users = read("packaging/lpad.sysusers");
    let program = value(&service, "ExecStart");
    assert!(installed().contains(program), "{program}");
    let (user, group) = (value(&service, "User"), value(&service, "Group"));
    assert_eq!([user, group], ["lpad"; 2]);
    assert_eq!(value(&socket, "SocketUser"), user);
    assert_eq!(
        value(&socket, "SocketGroup"),
        ApiConfig::default().admin_group
    );
    let state = StateConfig::default().directory;
    let state = state.to_str().unwrap();
    // sysusers.d makes a group of the user's name with it.
    assert!(users.contains(&format!(
        "\nu {user} - \"Local Profile Assistant\" {state}\n"
    )));
    let further = value(&service, "SupplementaryGroups");
    assert!(users.contains(&format!("\nm {user} {further}\n")));
    assert_eq!(
        format!("/var/lib/{}", value(&service, "StateDirectory")),
        state
    );
}

#[test]
fn the_socket_is_where_the_configuration_s_default_says() {
    let path = ApiConfig::default().socket;
    let socket = read("packaging/lpad.socket");
    assert_eq!(Path::new(value(&socket, "ListenStream")), path);
    let service = read("packaging/lpad.service");
    let folder = Path::new("/run").join(value(&service, "RuntimeDirectory"));
    assert_eq!(Some(&*folder), path.parent());
}

#[test]
fn the_installed_configuration_is_the_one_the_daemon_reads() {
    assert!(lpad::HELP.contains("[default: /etc/lpad/lpad.toml]"));
    let assets = assets();
    let mut assets = assets.iter();
    let found = assets.find(|(_, target)| target == "/etc/lpad/lpad.toml");
    let (source, _) = found.unwrap();
    assert_eq!(read(&format!("lpad/{source}")), Config::EXAMPLE);
    let roots = sections().into_iter().flat_map(|section| section.keys);
    let roots = roots.into_iter().find(|key| key.name == "extra_roots");
    let roots = roots.unwrap().value;
    let made = format!("d {} ", roots.trim_matches('"'));
    assert!(read("packaging/lpad.tmpfiles").contains(&made), "{made}");
}

#[test]
fn every_path_of_lpad_in_a_page_or_unit_is_one_of_the_package() {
    let installed = installed();
    let mut named = BTreeSet::new();
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        for word in text.split(|c: char| c.is_whitespace() || "`\"'()[]<>=,;|:".contains(c)) {
            let word = word.trim_end_matches(['.', '/']);
            let is_installed = ["/usr/", "/etc/", "/run/", "/var/", "/lib/"];
            let is_installed = is_installed.iter().any(|start| word.starts_with(start));
            if is_installed && ["lpad", "lpactl"].iter().any(|name| word.contains(name)) {
                named.insert((word.to_owned(), file.clone()));
            }
        }
    }
    assert!(named.len() > 10, "only {} paths were found", named.len());
    named.retain(|(path, _)| {
        let is_own = OWN.iter().any(|start| path.starts_with(start));
        !installed.contains(path) && !MADE.contains(&&**path) && !is_own
    });
    assert!(named.is_empty(), "the package has none of {named:#?}");
}

/// What the package's units, its installation and the daemon make.
const MADE: &[&str] = &[
    "/etc/lpad",
    "/etc/lpad/ci.d",
    "/run/lpad",
    "/run/lpad/lpad.sock",
    "/var/lib/lpad",
    "/var/lib/lpad/journal.ndjson",
];

/// Where those who run lpad put files of their own, and where the package has many.
const OWN: &[&str] = &[
    "/etc/lpad/activation-code",
    "/etc/polkit-1/rules.d/70-lpad.rules",
    "/etc/lpad/ci.d/",
    "/etc/lpad/confirmation-code",
    "/etc/lpad/modems.toml",
    "/etc/credstore.encrypted/lpad-",
    "/etc/systemd/system/lpad.service.d",
    "/etc/systemd/system/lpad.socket.d",
    "/etc/udev/rules.d/70-lpad.rules",
    "/run/credentials/lpad.service/",
    "/usr/share/doc/lpad/",
];

/// The pages, units and examples.
fn files() -> Vec<PathBuf> {
    let folders = ["", "docs", "packaging", "packaging/examples"];
    let deeper = [
        "packaging/examples/lpad.service.d",
        "packaging/examples/lpad.socket.d",
    ];
    let mut found = Vec::new();
    for folder in folders.into_iter().chain(deeper) {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let kind = path
                .extension()
                .and_then(|kind| kind.to_str())
                .unwrap_or_default();
            let is_read = [
                "conf", "md", "rules", "service", "socket", "sysusers", "tmpfiles",
            ];
            if path.is_file() && is_read.contains(&kind) {
                found.push(path);
            }
        }
    }
    found
}

/// The files of the package, from the root.
fn installed() -> BTreeSet<String> {
    assets().into_iter().map(|(_, target)| target).collect()
}

/// Source and target of each file of the package that is not one of many.
fn assets() -> Vec<(String, String)> {
    let manifest: toml::Table = toml::from_str(&read("lpad/Cargo.toml")).unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"]
        .as_array()
        .unwrap();
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let assets = assets
        .iter()
        .map(|asset| (text(&asset[0]), format!("/{}", text(&asset[1]))));
    let single = assets.filter(|(source, _)| !source.contains('*'));
    single
        .map(|(source, target)| match target.strip_suffix('/') {
            Some(folder) => {
                let name = source.rsplit('/').next().unwrap();
                let target = format!("{folder}/{name}");
                (source, target)
            }
            None => (source, target),
        })
        .collect()
}

/// The value of a key of a unit, which is there once.
fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let start = format!("{key}=");
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(&start));
    let value = values.next().unwrap_or_else(|| panic!("there is no {key}"));
    assert_eq!(values.next(), None, "{key} is there twice");
    value
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
