//! The list of cases an LPA must stand: each is there, and what provokes it exists.

use std::collections::BTreeSet;

use rsp_common::pki::Variant;
use rsp_servers::smdp::{Fault, OrderSettings, PackageFault, ReservationFault, TlsChoice};
use serde::de::DeserializeOwned;
use sim_card_emulator::euicc::Settings;
use sim_card_emulator::modem::{Network, Quirks};

#[test]
fn every_case_stands_in_the_list_once_and_in_order() {
    let expected = GROUPS
        .iter()
        .flat_map(|(group, cases)| (1..=*cases).map(move |case| format!("{group}{case:02}")));
    let listed: Vec<&str> = rows().iter().map(|row| row.case).collect();
    assert_eq!(listed, expected.collect::<Vec<_>>());
    assert_eq!(listed.len(), 150);
}

#[test]
fn what_provokes_a_case_exists() {
    for Row { case, knobs } in rows() {
        assert!(!knobs.is_empty(), "{case} has no knob");
        for knob in knobs {
            let (kind, name) = knob.split_once(' ').unwrap_or((knob, ""));
            assert!(exists(kind, name), "{case}: there is no {kind} {name:?}");
        }
    }
}

/// A case and what provokes it.
struct Row {
    case: &'static str,
    knobs: Vec<&'static str>,
}

fn rows() -> Vec<Row> {
    let rows = LIST.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let case = cells.next()?;
        let is_case = case.len() == 3 && case[1..].parse::<u8>().is_ok();
        // What stands between backticks is every second piece.
        let knobs = cells.next()?.split('`').skip(1).step_by(2).collect();
        is_case.then_some(Row { case, knobs })
    });
    rows.collect()
}

fn exists(kind: &str, name: &str) -> bool {
    match kind {
        "api" => HANDLERS.iter().any(|(path, handler)| {
            let last = name.rsplit('/').next().unwrap_or_default();
            let named = [name, last].map(|name| handler.contains(&format!("\"{name}\"")));
            name.starts_with(path) && named.contains(&true)
        }),
        "card" => is_key::<Settings>(name),
        "certificate" => Variant::NAMES.contains(&name),
        // Any text can be given to an LPA.
        "code" => !name.is_empty(),
        "fault" => Fault::NAMES.iter().any(|fault| fault.name == name),
        "handle" => name.split_once("::").is_some_and(|(kind, method)| {
            let declared = format!("pub fn {method}(");
            HANDLES
                .iter()
                .any(|(handle, source)| *handle == kind && source.contains(&declared))
        }),
        "network" => name.parse::<Network>().is_ok(),
        "order" => is_key::<OrderSettings>(name),
        "package" => PackageFault::NAMES.iter().any(|fault| fault.name == name),
        "quirk" => Quirks::NAMES.contains(&name),
        "option" => OPTIONS.contains(&format!(" {name}: ")),
        "reservation" => name.parse::<ReservationFault>().is_ok(),
        "tls" => TlsChoice::NAMES.iter().any(|choice| choice.name == name),
        _ => false,
    }
}

/// Whether a table of this kind has such a key; what it holds does not matter.
fn is_key<T: DeserializeOwned>(name: &str) -> bool {
    match toml::from_str::<T>(&format!("{name} = {{ nothing = true }}")) {
        Ok(_) => true,
        Err(error) => !error
            .message()
            .starts_with(&format!("unknown field `{name}`")),
    }
}

#[test]
fn an_unknown_name_is_told_from_one_that_exists() {
    assert!(is_key::<Settings>("svn"));
    let kinds: BTreeSet<&str> = rows()
        .iter()
        .flat_map(|row| row.knobs.iter().filter_map(|knob| knob.split(' ').next()))
        .filter(|kind| *kind != "code")
        .collect();
    for kind in kinds {
        assert!(!exists(kind, "no-such-thing"), "{kind}");
    }
}

const LIST: &str = include_str!("../../docs/conformance.md");
/// How many cases each group has.
const GROUPS: [(char, u8); 11] = [
    ('A', 11),
    ('B', 14),
    ('C', 7),
    ('D', 18),
    ('E', 18),
    ('F', 18),
    ('G', 20),
    ('H', 10),
    ('I', 13),
    ('J', 12),
    ('K', 9),
];
/// Where the methods of a handle are declared.
const HANDLES: [(&str, &str); 2] = [
    ("Card", include_str!("../../sim-card-emulator/src/card.rs")),
    (
        "ModemControl",
        include_str!("../../sim-card-emulator/src/modem/control.rs"),
    ),
];
const OPTIONS: &str =
    include_str!("../../sim-card-emulator/src/bin/sim-card-emulator/arguments.rs");
/// Where the requests below a path are answered.
const HANDLERS: [(&str, &str); 4] = [
    ("/admin/v1/", include_str!("../servers/src/smdp/control.rs")),
    (
        "/gsma/rsp2/es12/",
        include_str!("../servers/src/smds/es12.rs"),
    ),
    (
        "/gsma/rsp2/es12/",
        include_str!("../servers/src/smds/function.rs"),
    ),
    ("/v1/", include_str!("../servers/src/smdp/admin.rs")),
];
