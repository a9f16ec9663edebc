//! eUICCMemoryReset: every option alone and with the others.

use es10_apdu::es10c::{EuiccMemoryResetRequest, ResetResult};
use es10_apdu::types::{NotificationEvent, ProfileClass, ResetOptions};
use rsp_common::der::tlv;

use super::bench::{Bench, configuration};

const OPERATIONAL: &str = "8901000000000000019F";
const TEST: &str = "8901000000000000027F";
const PROVISIONING: &str = "8901000000000000035F";

fn reset(bench: &mut Bench, options: u64) -> ResetResult {
    let reset_options = ResetOptions(options);
    bench
        .call(&EuiccMemoryResetRequest { reset_options })
        .reset_result
}

/// A card with a profile of each class, that of the given number enabled.
fn filled(enabled: Option<&str>) -> Bench {
    let mut bench = Bench::new();
    let deletion = configuration(&[[0x04, 0x10]]);
    for (iccid, class) in [(OPERATIONAL, 2), (TEST, 0), (PROVISIONING, 1)] {
        bench.install(iccid, &[tlv(0x95, &[class]), deletion.clone()]);
    }
    bench
        .send(&hex::decode("BF3F058003612E62").unwrap())
        .unwrap();
    if let Some(iccid) = enabled {
        let iccid: String = iccid
            .as_bytes()
            .chunks(2)
            .flat_map(|pair| [pair[1], pair[0]])
            .map(char::from)
            .collect();
        bench
            .send(&hex::decode(format!("BF3111A00C5A0A{iccid}810100")).unwrap())
            .unwrap();
    }
    bench
}

#[test]
fn every_combination_of_options_deletes_its_part_and_nothing_else() {
    for options in 0..=15 {
        let mut bench = filled(None);
        let before = bench.euicc.memory().clone();
        let (operational, test, address) = (options & 1 != 0, options & 2 != 0, options & 4 != 0);
        let result = reset(&mut bench, options);
        let memory = bench.euicc.memory();
        if !(operational || test || address) {
            assert_eq!(result, ResetResult::NOTHING_TO_DELETE);
            assert_eq!(*memory, before);
            continue;
        }
        assert_eq!(result, ResetResult::OK);
        let has = |class| {
            memory
                .profiles
                .iter()
                .any(|profile| profile.class() == class)
        };
        assert_eq!(has(ProfileClass::OPERATIONAL), !operational);
        assert_eq!(has(ProfileClass::TEST), !test);
        assert!(has(ProfileClass::PROVISIONING));
        assert_eq!(memory.default_dp_address.is_empty(), address);
        let deleted = memory.notifications.iter();
        let deleted = deleted
            .filter(|kept| kept.event == NotificationEvent::DELETE.0)
            .count();
        assert_eq!(deleted, usize::from(operational) + usize::from(test));
        assert_eq!(reset(&mut bench, options), ResetResult::NOTHING_TO_DELETE);
    }
}

#[test]
fn a_refresh_follows_only_when_the_profile_in_use_was_deleted() {
    for (enabled, options, refresh) in [
        (Some(OPERATIONAL), 1, true),
        (Some(OPERATIONAL), 7, true),
        (Some(OPERATIONAL), 2, false),
        (Some(OPERATIONAL), 4, false),
        (Some(TEST), 2, true),
        (Some(TEST), 1, false),
        (None, 7, false),
    ] {
        let mut bench = filled(enabled);
        assert_eq!(reset(&mut bench, options), ResetResult::OK);
        assert_eq!(bench.euicc.take_refresh(), refresh, "{enabled:?} {options}");
        let left = bench.euicc.enabled_iccid().is_some();
        assert_eq!(left, enabled.is_some() && !refresh);
        assert_eq!(bench.euicc.memory().pending_reset, None);
    }
}

#[test]
fn a_session_is_over_after_a_reset_but_not_after_a_refused_one() {
    let mut bench = filled(None);
    let segments = bench.session().segments();
    assert_eq!(reset(&mut bench, 0), ResetResult::NOTHING_TO_DELETE);
    assert_eq!(bench.send(&segments[0]), Ok(Vec::new()));
    bench.challenge();
    let segments = bench.session().segments();
    assert_eq!(reset(&mut bench, 4), ResetResult::OK);
    assert!(bench.send(&segments[0]).is_err());
}

#[test]
fn a_proactive_session_that_goes_on_is_in_the_way() {
    let mut bench = filled(None);
    let memory = bench.euicc.memory().clone();
    bench.euicc.settings_mut().cat_busy = true;
    assert_eq!(reset(&mut bench, 7), ResetResult::CAT_BUSY);
    assert_eq!(*bench.euicc.memory(), memory);
    bench.euicc.settings_mut().cat_busy = false;
    assert_eq!(reset(&mut bench, 7), ResetResult::OK);
}
