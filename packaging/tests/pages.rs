//! What is made from the source is what the source says now.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use lpad::config::{
    AlarmConfig, ApiConfig, BootstrapConfig, Config, DiallerConfig, Es9Config, EuiccConfig,
    LogConfig, ModemEntry, ModemsConfig, ProfileConfig, StateConfig, SwitchConfig, TrustConfig,
    WatchConfig,
};
use lpad_packaging::configuration::{Section, sections};
use lpad_packaging::{book, description, manual};
use serde::de::DeserializeOwned;

#[test]
fn the_pages_of_the_book_are_up_to_date() {
    for (name, text) in book() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs")
            .join(name);
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "docs/{name} is old; make it again with: cargo run -p lpad-packaging -- book"
        );
    }
}

#[test]
fn the_description_of_the_api_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lpad/openapi.json");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == description::text(),
        "lpad/openapi.json is old; make it again with: cargo run -p lpad-packaging -- api"
    );
}

#[test]
fn the_example_configuration_is_the_default_one() {
    let example = Config::parse(Config::EXAMPLE, Path::new("lpad.toml")).unwrap();
    let default = Config {
        euiccs: vec![EuiccConfig::new("/dev/ttyUSB2")],
        ..Config::default()
    };
    assert_eq!(example, default);
}

#[test]
fn the_example_configuration_has_every_key_and_no_other() {
    let shown = sections();
    let headers: Vec<_> = shown.iter().map(|section| &*section.header).collect();
    let tables = [
        "[api]",
        "[state]",
        "[log]",
        "[trust]",
        "[es9]",
        "[alarm]",
        "[modems]",
        "[[euicc]]",
    ];
    assert_eq!(headers[..8], tables);
    let parts = [
        "[euicc.modem]",
        "[euicc.switch]",
        "[euicc.watch]",
        "[euicc.dialler]",
        "[[euicc.profile]]",
        "[euicc.bootstrap]",
    ];
    assert_eq!(headers[8..], parts);
    let tables = tables.map(|header| header.trim_matches(['[', ']']));
    assert_eq!(tables[..], known::<Config>());
    let keys = |number: usize| -> Vec<_> {
        let keys = shown[number].keys.iter();
        keys.map(|key| key.name.clone()).collect()
    };
    assert_eq!(keys(0), known::<ApiConfig>());
    assert_eq!(keys(1), known::<StateConfig>());
    assert_eq!(keys(2), known::<LogConfig>());
    assert_eq!(keys(3), known::<TrustConfig>());
    assert_eq!(keys(4), known::<Es9Config>());
    assert_eq!(keys(5), known::<AlarmConfig>());
    assert_eq!(keys(6), known::<ModemsConfig>());
    let mut euicc = keys(7);
    let names = parts.map(|header| header.trim_matches(['[', ']']).replace("euicc.", ""));
    euicc.extend(names);
    assert_eq!(euicc, known::<EuiccConfig>());
    let mut modem = known::<ModemEntry>();
    // These say which modems an entry of the table is for.
    modem.retain(|key| !["id", "makers", "models", "verdict", "usb", "page"].contains(&&**key));
    assert_eq!(keys(8), modem);
    assert_eq!(keys(9), known::<SwitchConfig>());
    assert_eq!(keys(10), known::<WatchConfig>());
    assert_eq!(keys(11), known::<DiallerConfig>());
    assert_eq!(keys(12), known::<ProfileConfig>());
    assert_eq!(keys(13), known::<BootstrapConfig>());
}

#[test]
fn what_has_no_default_is_shown_as_an_example_that_can_be_used() {
    let parse = |text: &str| Config::parse(text, Path::new("lpad.toml"));
    let example = parse(Config::EXAMPLE).unwrap();
    let set =
        |text: &str, line: &str| text.replace(&format!("\n#{line}\n"), &format!("\n{line}\n"));
    for Section { header, keys, .. } in sections() {
        let line = |number: usize| format!("{} = {}", keys[number].name, keys[number].value);
        // A section that is an example as a whole needs the key that it begins with.
        let with_section = set(Config::EXAMPLE, &header);
        let around = match with_section == Config::EXAMPLE {
            true => with_section,
            false => set(&with_section, &line(0)),
        };
        for number in (0..keys.len()).filter(|number| !keys[*number].has_default) {
            let text = set(&around, &line(number));
            let key = &keys[number].name;
            let config = parse(&text).unwrap_or_else(|error| panic!("{header} {key}: {error}"));
            assert_ne!(config, example, "{header} {key}");
        }
    }
}

#[test]
fn the_manual_page_of_the_configuration_has_every_key_with_its_default() {
    let page = &manual::pages("2026-11-27").unwrap()["lpad.toml.5"];
    let page = page.replace('\\', "");
    for section in sections() {
        assert!(page.contains(&section.header));
        for key in section.keys {
            let shown = format!("fB{}fR = fI{}fR", key.name, key.value);
            assert!(page.contains(&shown), "{shown}");
        }
    }
}

/// The keys serde knows, which it lists when it meets one that it does not.
fn known<T: DeserializeOwned>() -> Vec<String> {
    let error = toml::from_str::<T>("no-such-key = 1").err().unwrap();
    let message = error.message().to_owned();
    assert!(
        message.starts_with("unknown field `no-such-key`"),
        "{message}"
    );
    let names = message.split('`').skip(1).step_by(2);
    names.skip(1).map(ToOwned::to_owned).collect()
}
