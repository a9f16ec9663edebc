//! A table of modems as a user may write it, and a modem that calls itself anything: what can be used holds
//! what it promises, and what cannot is told in one line.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use lpad::config::ModemEntry;
use lpad::modem::Identity;
use lpad::modem::table::Table;

fuzz_target!(|text: &str| {
    let (names, text) = text.split_once('\n').unwrap_or_default();
    let (manufacturer, model) = names.split_once(',').unwrap_or_default();
    let identity = Identity {
        manufacturer: Some(manufacturer.to_owned()),
        model: Some(model.to_owned()),
        firmware: None,
    };
    match Table::parse(text, Path::new("modems.toml")) {
        Ok(table) => {
            let known = table.look_up(identity, &ModemEntry::default());
            assert!(!known.family.is_empty());
            assert!((1..=600).contains(&known.habits.open_s));
            let sent = known.habits.ladder.iter().filter(|rung| !rung.together);
            for line in sent.flat_map(|rung| &rung.send) {
                assert!(line.is_ascii() && !line.contains(['\r', '\n']));
                assert!(!known.habits.never.contains(line));
            }
            table.usb_ports(manufacturer);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
