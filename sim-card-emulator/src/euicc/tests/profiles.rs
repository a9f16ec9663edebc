use es10_apdu::apdu::StatusWord;
use es10_apdu::es10c::{
    DeleteProfileRequest, DeleteResult, DisableProfileRequest, DisableResult, EnableProfileRequest,
    EnableResult, EuiccMemoryResetRequest, ProfileIdentifier, ProfileInfo, ProfileInfoListError,
    ProfileInfoListRequest, ProfileInfoListResponse, ProfileSearch, ResetResult,
    SetNicknameRequest, SetNicknameResult,
};
use es10_apdu::types::{Aid, Iccid, ProfileClass, ProfileState, ResetOptions, RspCapability, Text};
use rsp_common::der::{Tlv, constructed, tlv};

use super::bench::{Bench, Package, metadata_of};

const FIRST: &str = "8901000000000000019F";
const SECOND: &str = "8901000000000000027F";
const THIRD: &str = "8901000000000000035F";

fn iccid(text: &str) -> Iccid {
    text.parse().unwrap()
}

fn enable(bench: &mut Bench, profile: &str, refresh_flag: bool) -> EnableResult {
    let profile_identifier = ProfileIdentifier::Iccid(iccid(profile));
    bench
        .call(&EnableProfileRequest {
            profile_identifier,
            refresh_flag,
        })
        .enable_result
}

fn disable(bench: &mut Bench, profile: &str, refresh_flag: bool) -> DisableResult {
    let profile_identifier = ProfileIdentifier::Iccid(iccid(profile));
    bench
        .call(&DisableProfileRequest {
            profile_identifier,
            refresh_flag,
        })
        .disable_result
}

fn delete(bench: &mut Bench, profile: &str) -> DeleteResult {
    bench
        .call(&DeleteProfileRequest::Iccid(iccid(profile)))
        .delete_result
}

fn list(bench: &mut Bench, request: &ProfileInfoListRequest) -> Vec<ProfileInfo> {
    match bench.call(request) {
        ProfileInfoListResponse::ProfileInfoListOk(list) => list.items,
        ProfileInfoListResponse::ProfileInfoListError(error) => panic!("{error}"),
    }
}

fn class(class: u8) -> Vec<u8> {
    tlv(0x95, &[class])
}

/// Policy rules with their operator: bit 1 is PPR1, bit 2 PPR2.
fn rules(bits: u8) -> Vec<Vec<u8>> {
    vec![
        tlv(0xB7, &tlv(0x80, &[0x62, 0xF2, 0x20])),
        tlv(0x99, &[0x05, bits]),
    ]
}

#[test]
fn at_most_one_profile_is_enabled() {
    let mut bench = Bench::new();
    bench.install(FIRST, &[]);
    bench.install(SECOND, &[]);
    assert_eq!(enable(&mut bench, FIRST, false), EnableResult::OK);
    assert_eq!(
        enable(&mut bench, FIRST, false),
        EnableResult::PROFILE_NOT_IN_DISABLED_STATE
    );
    assert_eq!(
        enable(&mut bench, THIRD, false),
        EnableResult::ICCID_OR_AID_NOT_FOUND
    );
    assert_eq!(enable(&mut bench, SECOND, false), EnableResult::OK);
    let states = list(&mut bench, &ProfileInfoListRequest::default());
    let states: Vec<_> = states
        .iter()
        .map(|profile| profile.profile_state.unwrap())
        .collect();
    assert_eq!(states, [ProfileState::DISABLED, ProfileState::ENABLED]);
    assert_eq!(
        disable(&mut bench, FIRST, false),
        DisableResult::PROFILE_NOT_IN_ENABLED_STATE
    );
    assert_eq!(disable(&mut bench, SECOND, false), DisableResult::OK);
    assert_eq!(bench.euicc.enabled_iccid(), None);
}

#[test]
fn with_the_refresh_flag_the_switch_waits_for_the_refresh() {
    let mut bench = Bench::new();
    bench.install(FIRST, &[]);
    bench.install(SECOND, &[]);
    let answer = bench.apdu("81E2910014BF3111A00C5A0A981000000000000010F98101FF00");
    assert_eq!(answer, "BF3103800100910B");
    assert_eq!(bench.euicc.enabled_iccid(), None);
    assert_eq!(enable(&mut bench, SECOND, true), EnableResult::CAT_BUSY);
    assert_eq!(
        delete(&mut bench, FIRST),
        DeleteResult::PROFILE_NOT_IN_DISABLED_STATE
    );
    assert!(bench.euicc.take_refresh());
    assert!(!bench.euicc.take_refresh());
    bench.euicc.reset();
    assert_eq!(bench.euicc.enabled_iccid(), Some(iccid(FIRST)));
    assert!(bench.euicc.open_channels().is_empty());
}

#[test]
fn a_terminal_that_fetches_the_refresh_and_answers_it_makes_the_switch() {
    let mut bench = Bench::new();
    bench.install(FIRST, &[]);
    assert_eq!(bench.apdu("801200000B"), "6985");
    enable(&mut bench, FIRST, true);
    assert_eq!(
        bench.apdu("801200000B"),
        "D009810301010482028182".to_owned() + "9000"
    );
    assert_eq!(bench.euicc.enabled_iccid(), None);
    assert_eq!(bench.apdu("801400000C810301010002028281830100"), "9000");
    assert_eq!(bench.euicc.enabled_iccid(), Some(iccid(FIRST)));
}

#[test]
fn policy_rules_bind_the_user() {
    let mut bench = Bench::new();
    bench.install(FIRST, &rules(0x60));
    bench.install(SECOND, &[]);
    assert_eq!(
        delete(&mut bench, FIRST),
        DeleteResult::DISALLOWED_BY_POLICY
    );
    assert_eq!(enable(&mut bench, FIRST, false), EnableResult::OK);
    assert_eq!(
        enable(&mut bench, SECOND, false),
        EnableResult::DISALLOWED_BY_POLICY
    );
    assert_eq!(
        disable(&mut bench, FIRST, false),
        DisableResult::DISALLOWED_BY_POLICY
    );
    bench.install(THIRD, &[class(1)]);
    assert_eq!(enable(&mut bench, THIRD, false), EnableResult::OK);
}

#[test]
fn after_a_test_profile_only_the_profile_before_comes_back() {
    let mut bench = Bench::new();
    bench.install(FIRST, &[]);
    bench.install(SECOND, &[]);
    bench.install(THIRD, &[class(0)]);
    enable(&mut bench, FIRST, false);
    enable(&mut bench, THIRD, false);
    assert_eq!(
        enable(&mut bench, SECOND, false),
        EnableResult::WRONG_PROFILE_REENABLING
    );
    assert_eq!(enable(&mut bench, FIRST, false), EnableResult::OK);
}

#[test]
fn only_disabled_profiles_are_deleted_and_their_memory_is_free_again() {
    let mut bench = Bench::new();
    let free = bench.euicc.free_memory();
    bench.install(FIRST, &[]);
    enable(&mut bench, FIRST, false);
    assert_eq!(
        delete(&mut bench, FIRST),
        DeleteResult::PROFILE_NOT_IN_DISABLED_STATE
    );
    disable(&mut bench, FIRST, false);
    assert_eq!(delete(&mut bench, FIRST), DeleteResult::OK);
    assert_eq!(
        delete(&mut bench, FIRST),
        DeleteResult::ICCID_OR_AID_NOT_FOUND
    );
    assert_eq!(bench.euicc.free_memory(), free);
    bench.install(FIRST, &[]);
}

#[test]
fn profiles_are_found_by_number_isdp_and_class() {
    let mut bench = Bench::new();
    bench.install(FIRST, &[]);
    bench.install(SECOND, &[class(0)]);
    let all = list(&mut bench, &ProfileInfoListRequest::default());
    assert_eq!(all[0].class(), ProfileClass::OPERATIONAL);
    assert_eq!(
        all[0].service_provider_name.as_ref().unwrap().to_string(),
        "Operator"
    );
    assert_eq!(all[0].notification_configuration_info, None);
    let search = |criteria| ProfileInfoListRequest {
        search_criteria: Some(criteria),
        tag_list: None,
    };
    for criteria in [
        ProfileSearch::Iccid(iccid(SECOND)),
        ProfileSearch::IsdpAid(all[1].isdp_aid.clone().unwrap()),
        ProfileSearch::ProfileClass(ProfileClass::TEST),
    ] {
        let found = list(&mut bench, &search(criteria));
        assert_eq!(found, [all[1].clone()]);
    }
    assert!(list(&mut bench, &search(ProfileSearch::Iccid(iccid(THIRD)))).is_empty());
    let only = |tags: &[u8]| ProfileInfoListRequest {
        search_criteria: None,
        tag_list: Some(tags.to_vec().into()),
    };
    let found = list(&mut bench, &only(&[0x9F, 0x70, 0x99, 0xBF, 0x22]));
    let state = ProfileInfo {
        profile_state: Some(ProfileState::DISABLED),
        ..Default::default()
    };
    assert_eq!(found, [state.clone(), state]);
    let ProfileInfoListResponse::ProfileInfoListError(error) = bench.call(&only(&[0x5A, 0x9F]))
    else {
        panic!("half a tag was accepted");
    };
    assert_eq!(error, ProfileInfoListError::INCORRECT_INPUT_VALUES);
}

#[test]
fn a_nickname_is_set_removed_and_not_too_long() {
    let mut bench = Bench::new();
    bench.install(FIRST, &[]);
    let mut name = |profile: &str, nickname: String| {
        let request = SetNicknameRequest {
            iccid: iccid(profile),
            profile_nickname: Text::from(nickname),
        };
        let result = bench.call(&request).set_nickname_result;
        let shown = list(&mut bench, &ProfileInfoListRequest::default())[0].clone();
        (result, shown.profile_nickname.map(|name| name.to_string()))
    };
    assert_eq!(
        name(FIRST, "Büro".into()),
        (SetNicknameResult::OK, Some("Büro".into()))
    );
    let refused = name(FIRST, "x".repeat(65));
    assert_eq!(
        refused,
        (SetNicknameResult::UNDEFINED_ERROR, Some("Büro".into()))
    );
    assert_eq!(
        name(SECOND, "x".into()).0,
        SetNicknameResult::ICCID_NOT_FOUND
    );
    assert_eq!(name(FIRST, String::new()), (SetNicknameResult::OK, None));
}

#[test]
fn a_memory_reset_ignores_states_and_rules_and_keeps_what_is_pending() {
    let mut bench = Bench::new();
    let operational = ResetOptions::DELETE_OPERATIONAL_PROFILES;
    let reset = |bench: &mut Bench, reset_options| {
        bench
            .call(&EuiccMemoryResetRequest { reset_options })
            .reset_result
    };
    assert_eq!(
        reset(&mut bench, operational),
        ResetResult::NOTHING_TO_DELETE
    );
    bench.install(FIRST, &rules(0x60));
    bench.install(SECOND, &[class(0)]);
    enable(&mut bench, FIRST, false);
    let sequence_number = bench.euicc.memory().sequence_number;
    assert_eq!(reset(&mut bench, operational), ResetResult::OK);
    assert_eq!(reset(&mut bench, operational), ResetResult::CAT_BUSY);
    assert!(bench.euicc.take_refresh());
    bench.euicc.reset();
    bench.select();
    let memory = bench.euicc.memory();
    assert_eq!(memory.profiles.len(), 1);
    assert_eq!(memory.sequence_number, sequence_number);
    assert_eq!(memory.notifications.len(), 2);
    let everything =
        ResetOptions::DELETE_FIELD_LOADED_TEST_PROFILES | ResetOptions::RESET_DEFAULT_SMDP_ADDRESS;
    assert_eq!(reset(&mut bench, everything), ResetResult::OK);
    assert!(bench.euicc.memory().profiles.is_empty());
}

#[test]
fn data_of_the_server_and_the_icon_are_told_when_asked_for() {
    let mut bench = Bench::new();
    let data = constructed(0xB8, &[tlv(0x80, &[0x88, 0x37]), tlv(0x81, &[1])]);
    let specific = constructed(0xBF22, &[tlv(0xA0, &tlv(0x06, &[0x88, 0x37]))]);
    let metadata = [
        tlv(0x93, &[1]),
        tlv(0x94, &[0x89; 900]),
        constructed(0xB7, &[tlv(0x80, &[0x62, 0xF2, 0x20])]),
        specific.clone(),
    ];
    let package = Package {
        configuration: constructed(0xBF24, std::slice::from_ref(&data)),
        metadata: metadata_of(FIRST, &metadata),
        ..bench.session()
    };
    bench.load(&package.segments()).unwrap();
    let mut ask = |tags: &[u8], supported: bool| {
        let capability = match supported {
            true => RspCapability::SERVICE_SPECIFIC_DATA_SUPPORT,
            false => RspCapability::default(),
        };
        bench.euicc.settings_mut().rsp_capability = capability;
        let request = match tags {
            [] => vec![0xBF, 0x2D, 0x00],
            tags => constructed(0xBF2D, &[tlv(0x5C, tags)]),
        };
        let answer = bench.send(&request).unwrap();
        let list = Tlv::exact(&answer).unwrap().children().unwrap()[0];
        let profile = list.children().unwrap()[0];
        assert_eq!(profile.tag, 0xE3);
        let parts = profile.children().unwrap();
        parts
            .iter()
            .map(|part| part.bytes.to_vec())
            .collect::<Vec<_>>()
    };
    assert_eq!(ask(&[0xB8], true), [data]);
    assert_eq!(ask(&[0xBF, 0x22], true), [specific]);
    assert!(ask(&[0xBF, 0x22], false).is_empty());
    let icon = [tlv(0x93, &[1]), tlv(0x94, &[0x89; 900])];
    assert_eq!(ask(&[0x94, 0x93], false), icon);
    // Unknown tags, and those of no profile, are passed over.
    let unknown = [0x9F, 0x1F, 0xBA, 0x5A, 0xDF, 0x01, 0x99, 0x90];
    assert_eq!(ask(&unknown, true), [tlv(0x5A, &FIRST_SWAPPED)]);
    let tags = |parts: &[Vec<u8>]| -> Vec<u32> {
        parts
            .iter()
            .map(|part| Tlv::exact(part).unwrap().tag)
            .collect()
    };
    let usual = [0x5A, 0x4F, 0x9F70, 0x91, 0x92, 0x93, 0x94, 0x95];
    assert_eq!(tags(&ask(&[], true)), usual);
    let all = [0xBF, 0x22, 0x99, 0xB8, 0xB7, 0xB6, 0x91, 0x5A];
    assert_eq!(tags(&ask(&all, true)), [0x5A, 0x91, 0xB7, 0xB8, 0xBF22]);
}

#[test]
fn a_proactive_session_is_in_the_way_of_a_switch_and_of_nothing_else() {
    let mut bench = Bench::new();
    bench.install(FIRST, &[]);
    bench.install(SECOND, &[]);
    enable(&mut bench, FIRST, false);
    let memory = bench.euicc.memory().clone();
    bench.euicc.settings_mut().cat_busy = true;
    for refresh in [false, true] {
        assert_eq!(enable(&mut bench, SECOND, refresh), EnableResult::CAT_BUSY);
        assert_eq!(disable(&mut bench, FIRST, refresh), DisableResult::CAT_BUSY);
        assert_eq!(
            enable(&mut bench, THIRD, refresh),
            EnableResult::ICCID_OR_AID_NOT_FOUND
        );
    }
    assert_eq!(*bench.euicc.memory(), memory);
    assert_eq!(delete(&mut bench, SECOND), DeleteResult::OK);
    bench.euicc.settings_mut().cat_busy = false;
    assert_eq!(disable(&mut bench, FIRST, false), DisableResult::OK);
}

#[test]
fn a_refresh_that_was_fetched_and_not_answered_is_in_the_way_too() {
    let mut bench = Bench::new();
    bench.install(FIRST, &[]);
    bench.install(SECOND, &[]);
    enable(&mut bench, FIRST, false);
    assert_eq!(disable(&mut bench, FIRST, true), DisableResult::OK);
    for _ in ["announced", "fetched"] {
        assert_eq!(enable(&mut bench, SECOND, true), EnableResult::CAT_BUSY);
        assert_eq!(disable(&mut bench, FIRST, false), DisableResult::CAT_BUSY);
        bench.euicc.take_refresh();
    }
    bench.euicc.reset();
    bench.select();
    assert_eq!(bench.euicc.enabled_iccid(), None);
    assert_eq!(enable(&mut bench, SECOND, true), EnableResult::OK);
}

#[test]
fn the_isdp_names_a_profile_as_well_as_its_number() {
    let mut bench = Bench::new();
    bench.install(FIRST, &[]);
    bench.install(SECOND, &[]);
    let aid = |number: usize| Aid::from_octets(&bench.euicc.memory().profiles[number].aid).unwrap();
    let (first, second) = (aid(0), aid(1));
    let unknown = Aid::from_octets(&[0xA0, 0, 0, 5, 0x59]).unwrap();
    let switch = |aid: &Aid| EnableProfileRequest {
        profile_identifier: ProfileIdentifier::IsdpAid(aid.clone()),
        refresh_flag: false,
    };
    assert_eq!(bench.call(&switch(&first)).enable_result, EnableResult::OK);
    assert_eq!(bench.euicc.enabled_iccid(), Some(iccid(FIRST)));
    let result = bench.call(&switch(&unknown)).enable_result;
    assert_eq!(result, EnableResult::ICCID_OR_AID_NOT_FOUND);
    let switch = |aid: &Aid| DisableProfileRequest {
        profile_identifier: ProfileIdentifier::IsdpAid(aid.clone()),
        refresh_flag: false,
    };
    let result = bench.call(&switch(&unknown)).disable_result;
    assert_eq!(result, DisableResult::ICCID_OR_AID_NOT_FOUND);
    assert_eq!(
        bench.call(&switch(&first)).disable_result,
        DisableResult::OK
    );
    let mut delete = |aid| {
        bench
            .call(&DeleteProfileRequest::IsdpAid(aid))
            .delete_result
    };
    assert_eq!(delete(unknown), DeleteResult::ICCID_OR_AID_NOT_FOUND);
    assert_eq!(delete(second.clone()), DeleteResult::OK);
    assert_eq!(delete(second), DeleteResult::ICCID_OR_AID_NOT_FOUND);
    assert_eq!(bench.euicc.memory().profiles[0].iccid, iccid(FIRST));
}

#[test]
fn the_eid_is_all_there_is_to_get() {
    let mut bench = Bench::new();
    let mut get = |request: &str| bench.send(&hex::decode(request).unwrap());
    let eid = get("BF3E035C015A").unwrap();
    assert_eq!(hex::encode(&eid[5..]), "89049032123451234512345678901235");
    for other in ["BF3E035C0142", "BF3E045C025A42", "BF3E025C00"] {
        assert_eq!(get(other), Err(StatusWord::REFERENCED_DATA_NOT_FOUND));
    }
    assert_eq!(get("BF3E00"), Err(StatusWord::INCORRECT_DATA));
}

const FIRST_SWAPPED: [u8; 10] = [0x98, 0x10, 0, 0, 0, 0, 0, 0, 0x10, 0xF9];
