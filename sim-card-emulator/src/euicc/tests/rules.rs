//! Policy rules: who may have them (GetRAT), and what they forbid.

use es10_apdu::es10b::{ErrorReason, GetRatRequest};
use es10_apdu::types::{PprFlags, PprIds};
use rsp_common::der::{constructed, tlv};

use super::bench::{Bench, ICCID, Package, error_of, metadata_of};
use crate::euicc::{Settings, UpdateError};

const OTHER: &str = "8901000000000000027F";
const THIRD: &str = "8901000000000000035F";
const PPR1: u8 = 0x40;
const PPR2: u8 = 0x20;
/// MCC 262, MNC 02.
const MCC_MNC: [u8; 3] = [0x62, 0xF2, 0x20];

/// A card whose table and forbidden rules are written as in a configuration file.
fn bench(card: &str) -> Bench {
    let mut bench = Bench::new();
    let settings: Settings = toml::from_str(card).unwrap();
    let own = bench.euicc.settings_mut();
    (own.rat, own.forbidden_rules) = (settings.rat, settings.forbidden_rules);
    bench
}

fn metadata(rules: u8, group: Option<&[u8]>) -> Vec<Vec<u8>> {
    let owner = [
        tlv(0x80, &MCC_MNC),
        group.map(|group| tlv(0x81, group)).unwrap_or_default(),
    ];
    vec![constructed(0xB7, &owner), tlv(0x99, &[0x05, rules])]
}

/// Whether the card takes a profile with these rules.
fn takes(bench: &mut Bench, metadata: &[Vec<u8>]) -> bool {
    let package = Package {
        metadata: metadata_of(ICCID, metadata),
        ..bench.session()
    };
    let result = bench.load(&package.segments()).unwrap();
    let installed = !bench.euicc.memory().profiles.is_empty();
    if !installed {
        let reason = error_of(&result).error_reason;
        assert_eq!(reason, ErrorReason::PPR_NOT_ALLOWED);
    }
    installed
}

fn send(bench: &mut Bench, request: &str) -> u8 {
    let request = hex::decode(request).unwrap();
    *bench.send(&request).unwrap().last().unwrap()
}

fn enable(bench: &mut Bench, iccid: &str) -> u8 {
    send(bench, &format!("BF3111A00C5A0A{}810100", swapped(iccid)))
}

fn swapped(iccid: &str) -> String {
    let digits = hex::decode(iccid).unwrap();
    hex::encode(
        digits
            .iter()
            .map(|octet| octet.rotate_left(4))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn the_first_entry_that_names_a_rule_decides() {
    let rule = |rules: &str, operator: &str| {
        format!("[[rat]]\nrules = [{rules}]\noperators = [{operator}]\n")
    };
    let own = "{ mcc_mnc = \"26202\" }";
    let any_of_country = "{ mcc_mnc = \"262EEE\", gid1 = \"\", gid2 = \"\" }";
    let foreign = "{ mcc_mnc = \"26203\", gid1 = \"\" }";
    let group = "{ mcc_mnc = \"26202\", gid1 = \"0A\" }";
    let both = "\"ppr1\", \"ppr2\"";
    for (card, rules, owners_group, taken) in [
        ("rat = []".to_owned(), PPR1, None, false),
        ("rat = []".to_owned(), 0x00, None, true),
        (rule(both, own), PPR1 | PPR2, None, true),
        (rule(both, own), PPR1, Some(&[0x0A][..]), false),
        (rule(both, foreign), PPR1, None, false),
        (rule(both, any_of_country), PPR1, Some(&[0x0A]), true),
        (rule(both, group), PPR1, Some(&[0x0A]), true),
        (rule(both, group), PPR1, Some(&[0x0B]), false),
        (rule(both, group), PPR1, None, false),
        (rule("\"ppr2\"", own), PPR1, None, false),
        (rule("\"ppr2\"", own), PPR2, None, true),
        (rule("\"ppr2\"", own), PPR1 | PPR2, None, false),
        (
            rule("\"ppr1\"", foreign) + &rule(both, own),
            PPR1,
            None,
            false,
        ),
        (
            rule("\"ppr1\"", foreign) + &rule(both, own),
            PPR2,
            None,
            true,
        ),
        (rule(both, &format!("{foreign}, {own}")), PPR1, None, true),
        (
            "forbidden_rules = [\"ppr1\"]\n".to_owned() + &rule(both, own),
            PPR1,
            None,
            false,
        ),
        (
            "forbidden_rules = [\"ppr1\"]\n".to_owned() + &rule(both, own),
            PPR2,
            None,
            true,
        ),
    ] {
        let mut bench = bench(&card);
        let metadata = metadata(rules, owners_group);
        assert_eq!(
            takes(&mut bench, &metadata),
            taken,
            "{card} {rules:02X} {owners_group:X?}"
        );
    }
}

#[test]
fn rules_without_an_owner_are_of_no_operator() {
    let mut bench = Bench::new();
    assert!(!takes(&mut bench, &[tlv(0x99, &[0x05, PPR1])]));
}

#[test]
fn the_table_is_told_as_it_is_and_survives_a_memory_reset() {
    let text = "
        [[rat]]
        rules = [\"ppr1\"]
        operators = [{ mcc_mnc = \"EEEEEE\", gid1 = \"\", gid2 = \"\" }]
        consent_required = true
        [[rat]]
        rules = [\"pprUpdateControl\", \"ppr2\"]
        operators = []
    ";
    let mut bench = bench(text);
    let table = bench.send(&[0xBF, 0x43, 0]).unwrap();
    let first = "301580020640A10B300980 03EEEEEE81008200820207 80".replace(' ', "");
    let second = "300A800205A0A10082 03".replace(' ', "");
    let hex = hex::encode_upper(&table);
    assert!(hex.contains(&first[4..]), "{hex}");
    assert!(hex.contains(&second[4..14]), "{hex}");
    let rat = bench.call(&GetRatRequest::default()).rat;
    assert_eq!(rat[0].ppr_flags, PprFlags::CONSENT_REQUIRED);
    assert_eq!(rat[1].ppr_ids, PprIds::PPR_UPDATE_CONTROL | PprIds::PPR2);
    assert!(rat[1].allowed_operators.is_empty() && rat[1].ppr_flags.is_empty());
    bench.install(ICCID, &[]);
    assert_eq!(send(&mut bench, "BF3404820205E0"), 0);
    assert_eq!(bench.send(&[0xBF, 0x43, 0]).unwrap(), table);
}

#[test]
fn a_profile_that_cannot_be_disabled_comes_to_an_empty_card_only() {
    for (class, shut_out) in [(2, true), (0, false), (1, false)] {
        let mut bench = Bench::new();
        bench.install(OTHER, &[tlv(0x95, &[class])]);
        let package = Package {
            metadata: metadata_of(ICCID, &metadata(PPR1, None)),
            ..bench.session()
        };
        bench.load(&package.segments()).unwrap();
        let installed = bench.euicc.memory().profiles.len() == 2;
        assert_eq!(installed, !shut_out);
    }
    // PPR2 may come at any time.
    let mut bench = Bench::new();
    bench.install(OTHER, &[]);
    bench.install(ICCID, &metadata(PPR2, None));
}

#[test]
fn ppr1_holds_the_profile_and_a_provisioning_profile_is_let_by() {
    let mut bench = Bench::new();
    bench.install(ICCID, &metadata(PPR1, None));
    bench.install(OTHER, &[]);
    bench.install(THIRD, &[tlv(0x95, &[1])]);
    assert_eq!(enable(&mut bench, ICCID), 0);
    let memory = bench.euicc.memory().clone();
    assert_eq!(enable(&mut bench, OTHER), 3);
    let disable = format!("BF3211A00C5A0A{}810100", swapped(ICCID));
    assert_eq!(send(&mut bench, &disable), 3);
    assert_eq!(*bench.euicc.memory(), memory);
    assert_eq!(enable(&mut bench, THIRD), 0);
    assert_eq!(enable(&mut bench, ICCID), 0);
    // PPR1 says nothing of deletion once another profile is in use.
    assert_eq!(enable(&mut bench, THIRD), 0);
    assert_eq!(
        send(&mut bench, &format!("BF330C5A0A{}", swapped(ICCID))),
        0
    );
}

#[test]
fn ppr2_keeps_the_profile_but_not_from_a_memory_reset() {
    let mut bench = Bench::new();
    bench.install(ICCID, &metadata(PPR2, None));
    let delete = format!("BF330C5A0A{}", swapped(ICCID));
    assert_eq!(send(&mut bench, &delete), 3);
    assert_eq!(enable(&mut bench, ICCID), 0);
    assert_eq!(send(&mut bench, &delete), 2);
    assert_eq!(send(&mut bench, "BF340482020780"), 0);
    assert!(bench.euicc.memory().profiles.is_empty());
}

#[test]
fn the_operator_takes_a_rule_away_but_does_not_add_one() {
    let mut bench = Bench::new();
    bench.install(ICCID, &metadata(PPR1 | PPR2, None));
    let rules = |rules: u8| constructed(0xBF2A, &[tlv(0x99, &[0x05, rules])]);
    let without_profile = bench.euicc.update_metadata(&rules(PPR2));
    assert_eq!(without_profile, Err(UpdateError::NoProfile));
    assert_eq!(enable(&mut bench, ICCID), 0);
    let disable = format!("BF3211A00C5A0A{}810100", swapped(ICCID));
    assert_eq!(send(&mut bench, &disable), 3);
    bench.euicc.update_metadata(&rules(PPR2)).unwrap();
    assert_eq!(send(&mut bench, &disable), 0);
    let delete = format!("BF330C5A0A{}", swapped(ICCID));
    assert_eq!(send(&mut bench, &delete), 3);
    assert_eq!(enable(&mut bench, ICCID), 0);
    let memory = bench.euicc.memory().clone();
    for (request, error) in [
        (rules(PPR1), UpdateError::AddsRule),
        (rules(PPR1 | PPR2), UpdateError::AddsRule),
        (
            constructed(0xBF2A, &[tlv(0x95, &[0])]),
            UpdateError::Malformed,
        ),
        (
            constructed(0xBF2A, &[tlv(0x91, &[b'x'; 33])]),
            UpdateError::Malformed,
        ),
        (
            constructed(0xBF2A, &[tlv(0x94, &[1])]),
            UpdateError::Malformed,
        ),
        (constructed(0xBF25, &[]), UpdateError::Malformed),
        (Vec::new(), UpdateError::Malformed),
    ] {
        assert_eq!(bench.euicc.update_metadata(&request), Err(error));
        assert_eq!(*bench.euicc.memory(), memory);
    }
    let named = constructed(0xBF2A, &[tlv(0x92, b"New name"), tlv(0x99, &[0x00])]);
    bench.euicc.update_metadata(&named).unwrap();
    let list = bench.send(&[0xBF, 0x2D, 0x00]).unwrap();
    assert!(list.windows(8).any(|name| name == b"New name"));
    assert_eq!(send(&mut bench, &disable), 0);
    assert_eq!(send(&mut bench, &delete), 0);
}
