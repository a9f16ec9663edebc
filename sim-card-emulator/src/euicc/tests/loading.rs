use es10_apdu::apdu::StatusWord;
use es10_apdu::es10b::{BppCommandId, ErrorReason, FinalResult};
use es10_apdu::types::PprIds;
use rsp_common::certificate::Role;
use rsp_common::der::{constructed, tlv};

use super::bench::{Bench, ICCID, Package, error_of, metadata_of, segments, upp};
use crate::euicc::{Euicc, any_operator};

/// Loads the segments and gives part and reason of the refusal; checks that nothing is left.
fn refused(bench: &mut Bench, segments: &[Vec<u8>]) -> (BppCommandId, ErrorReason) {
    let profiles = bench.euicc.memory().profiles.clone();
    let result = bench.load(segments).expect("there is no result");
    let key = bench.pki.key(Role::Euicc).unwrap().public_key();
    let signed = result.profile_installation_result_data.bytes();
    assert!(key.verifies(signed, result.euicc_sign_pir.contents()));
    let kept = bench.euicc.memory().notifications.last().unwrap();
    assert_eq!(kept.der, result.bytes(), "the result is a notification");
    assert_eq!(bench.euicc.memory().profiles, profiles);
    assert_eq!(bench.euicc.memory().installing, None);
    // The session is over.
    assert_eq!(bench.send(&segments[0]), Err(StatusWord::CONDITIONS_OF_USE));
    let error = error_of(&result);
    assert_eq!(
        error.sima_response.is_some(),
        error.error_reason == ErrorReason::PE_PROCESSING_ERROR
    );
    (error.bpp_command_id, error.error_reason)
}

#[test]
fn a_package_is_installed_with_and_without_profile_keys() {
    for profile_keys in [false, true] {
        let mut bench = Bench::new();
        let package = Package {
            profile_keys,
            ..bench.session()
        };
        let result = bench.load(&package.segments()).unwrap();
        let data = &result.profile_installation_result_data;
        assert!(matches!(data.final_result, FinalResult::SuccessResult(_)));
        assert_eq!(data.smdp_oid.as_ref().unwrap().to_string(), "2.999.10");
        assert_eq!(bench.euicc.memory().profiles[0].package, package.upp);
        assert!(bench.euicc.memory().one_time_keys.is_empty());
        assert_eq!(bench.euicc.free_memory(), 0x8_0000 - package.upp.len());
        assert_eq!(bench.euicc.enabled_iccid(), None);
    }
}

#[test]
fn the_opening_is_checked_field_by_field() {
    type Fault = fn(&mut Package);
    let cases: [(Fault, ErrorReason); 4] = [
        (
            |package| package.operation = 2,
            ErrorReason::UNSUPPORTED_REMOTE_OPERATION_TYPE,
        ),
        (
            |package| package.transaction_id = vec![8; 16],
            ErrorReason::INVALID_TRANSACTION_ID,
        ),
        (
            |package| package.key_type = 0x81,
            ErrorReason::UNSUPPORTED_CRT_VALUES,
        ),
        (
            |package| package.binding_key = package.server_key.clone(),
            ErrorReason::INVALID_SIGNATURE,
        ),
    ];
    for (fault, reason) in cases {
        let mut bench = Bench::new();
        let mut package = bench.session();
        fault(&mut package);
        let opening = BppCommandId::INITIALISE_SECURE_CHANNEL;
        assert_eq!(refused(&mut bench, &package.segments()), (opening, reason));
        // The key was not used and is kept.
        assert_eq!(bench.euicc.memory().one_time_keys.len(), 1);
    }
}

#[test]
fn a_point_off_the_curve_is_an_incorrect_value() {
    let mut bench = Bench::new();
    let mut segments = bench.session().segments();
    let at = segments[0]
        .windows(3)
        .position(|octets| octets == [0x5F, 0x49, 0x41])
        .unwrap();
    segments[0][at + 10] ^= 1;
    let (_, reason) = refused(&mut bench, &segments);
    assert_eq!(reason, ErrorReason::INCORRECT_INPUT_VALUES);
}

#[test]
fn a_changed_octet_is_noticed_in_every_part() {
    let cases = [
        (1, BppCommandId::CONFIGURE_ISDP),
        (3, BppCommandId::STORE_METADATA),
        (4, BppCommandId::REPLACE_SESSION_KEYS),
        (6, BppCommandId::LOAD_PROFILE_ELEMENTS),
        (7, BppCommandId::LOAD_PROFILE_ELEMENTS),
    ];
    for (segment, part) in cases {
        let mut bench = Bench::new();
        let mut segments = Package {
            profile_keys: true,
            ..bench.session()
        }
        .segments();
        *segments[segment].last_mut().unwrap() ^= 1;
        assert_eq!(
            refused(&mut bench, &segments),
            (part, ErrorReason::BSP_SECURITY_ERROR)
        );
    }
}

#[test]
fn parts_in_a_wrong_order_or_number_are_structure_errors() {
    type Fault = fn(&mut Vec<Vec<u8>>);
    let metadata = BppCommandId::STORE_METADATA;
    let elements = BppCommandId::LOAD_PROFILE_ELEMENTS;
    let cases: [(Fault, BppCommandId); 7] = [
        // A1 before A0.
        (|segments| segments.swap(1, 2), BppCommandId::CONFIGURE_ISDP),
        // A3 where A1 belongs.
        (|segments| drop(segments.drain(2..4)), metadata),
        // The header of A1 and its element in one segment.
        (
            |segments| {
                let element = segments.remove(3);
                segments[2].extend(element);
            },
            metadata,
        ),
        // Two elements in one segment.
        (
            |segments| {
                let second = segments.remove(6);
                segments[5].extend(second);
            },
            elements,
        ),
        // Half an element.
        (|segments| segments[5].truncate(500), elements),
        // An element of another part.
        (|segments| segments[5] = segments[3].clone(), elements),
        // Octets that are no TLV.
        (|segments| segments[5] = vec![0x86, 0x80], elements),
    ];
    for (fault, part) in cases {
        let mut bench = Bench::new();
        let mut segments = bench.session().segments();
        fault(&mut segments);
        assert_eq!(
            refused(&mut bench, &segments),
            (part, ErrorReason::BSP_STRUCTURE_ERROR)
        );
    }
}

#[test]
fn after_the_profile_keys_the_elements_are_to_blame() {
    let mut bench = Bench::new();
    let mut segments = Package {
        profile_keys: true,
        ..bench.session()
    }
    .segments();
    segments[5][0] = 0xA4;
    let result = refused(&mut bench, &segments);
    let reason = ErrorReason::BSP_STRUCTURE_ERROR;
    assert_eq!(result, (BppCommandId::LOAD_PROFILE_ELEMENTS, reason));
}

#[test]
fn announced_lengths_must_be_true() {
    let mut bench = Bench::new();
    let package = bench.session();
    let mut segments = package.segments();
    let opening = package.opening();
    let length = segments.concat().len() - 4;
    // BF36 one octet longer than its parts.
    segments[0] = [
        &[0xBF, 0x36, 0x82][..],
        &u16::try_from(length).unwrap().to_be_bytes()[..],
        &opening,
    ]
    .concat();
    let result = refused(&mut bench, &segments);
    let reason = ErrorReason::BSP_STRUCTURE_ERROR;
    assert_eq!(result, (BppCommandId::INITIALISE_SECURE_CHANNEL, reason));
}

#[test]
fn an_overlong_element_is_a_structure_error() {
    // Elements of 1036 and of 1052 octets, at a card of the field and at a strict one.
    for (limit, piece, is_taken) in [(1036, 1008, true), (1036, 1024, false), (1020, 1008, false)] {
        let mut bench = Bench::new();
        bench.euicc.settings_mut().segment_limit = limit;
        let package = Package {
            piece,
            ..bench.session()
        };
        if is_taken {
            assert!(bench.load(&package.segments()).is_some());
            assert_eq!(bench.euicc.memory().profiles.len(), 1);
            continue;
        }
        let result = refused(&mut bench, &package.segments());
        assert_eq!(
            result,
            (
                BppCommandId::LOAD_PROFILE_ELEMENTS,
                ErrorReason::BSP_STRUCTURE_ERROR
            )
        );
    }
}

#[test]
fn metadata_is_checked_before_the_profile_arrives() {
    let long = tlv(0x91, &[b'x'; 33]);
    let rules = |bits: u8| tlv(0x99, &[0x05, bits]);
    let owner = constructed(0xB7, &[tlv(0x80, &[0x62, 0xF2, 0x20])]);
    let cases = [
        (
            constructed(0xBF25, &[tlv(0x5A, &[1; 9])]),
            ErrorReason::INCORRECT_INPUT_VALUES,
        ),
        (
            constructed(0xBF25, &[tlv(0x5A, &[1; 10]), long]),
            ErrorReason::INCORRECT_INPUT_VALUES,
        ),
        (
            metadata_of(ICCID, &[tlv(0x95, &[3])]),
            ErrorReason::UNSUPPORTED_PROFILE_CLASS,
        ),
        (
            metadata_of(ICCID, &[rules(0x40)]),
            ErrorReason::PPR_NOT_ALLOWED,
        ),
    ];
    for (metadata, reason) in cases {
        let mut bench = Bench::new();
        let package = Package {
            metadata,
            ..bench.session()
        };
        let result = refused(&mut bench, &package.segments());
        assert_eq!(result, (BppCommandId::STORE_METADATA, reason));
    }
    let metadata = metadata_of(ICCID, &[owner, rules(0x40)]);
    let mut bench = Bench::new();
    bench.euicc.settings_mut().rat = vec![any_operator(PprIds::PPR2, false)];
    let package = Package {
        metadata: metadata.clone(),
        ..bench.session()
    };
    assert_eq!(
        refused(&mut bench, &package.segments()).1,
        ErrorReason::PPR_NOT_ALLOWED
    );
    bench.euicc.settings_mut().rat = vec![any_operator(PprIds::PPR1, false)];
    let package = Package {
        metadata: metadata.clone(),
        ..bench.session()
    };
    bench.load(&package.segments()).unwrap();
    assert_eq!(bench.euicc.memory().profiles.len(), 1);
}

#[test]
fn long_metadata_comes_in_pieces_and_the_last_one_is_blamed() {
    let icon = [tlv(0x93, &[1]), tlv(0x94, &[0x89; 1024])];
    let mut bench = Bench::new();
    let package = Package {
        metadata: metadata_of(ICCID, &icon),
        ..bench.session()
    };
    bench.load(&package.segments()).unwrap();
    assert_eq!(
        bench.euicc.memory().profiles[0]
            .metadata
            .icon
            .as_ref()
            .unwrap()
            .len(),
        1024
    );
    let package = Package {
        metadata: metadata_of(ICCID, &icon),
        ..bench.session()
    };
    let result = refused(&mut bench, &package.segments());
    assert_eq!(
        result,
        (
            BppCommandId::STORE_METADATA2,
            ErrorReason::ICCID_ALREADY_EXISTS
        )
    );
}

#[test]
fn a_profile_is_installed_once() {
    let mut bench = Bench::new();
    bench.install(ICCID, &[]);
    let package = bench.session();
    let result = bench.load(&package.segments()).unwrap();
    assert_eq!(
        error_of(&result).error_reason,
        ErrorReason::ICCID_ALREADY_EXISTS
    );
    let metadata = &result
        .profile_installation_result_data
        .notification_metadata;
    assert_eq!(metadata.iccid.unwrap().to_string(), ICCID[..19]);
}

#[test]
fn the_profile_must_be_the_one_announced_and_whole() {
    let other = "8901000000000000027F";
    let whole = upp(ICCID, 1500);
    let elements = BppCommandId::LOAD_PROFILE_ELEMENTS;
    for (upp, reason) in [
        (upp(other, 1500), ErrorReason::DATA_MISMATCH),
        (
            whole[..whole.len() - 1].to_vec(),
            ErrorReason::PE_PROCESSING_ERROR,
        ),
        (
            [&whole[..], &[0xAA]].concat(),
            ErrorReason::PE_PROCESSING_ERROR,
        ),
        (whole[40..].to_vec(), ErrorReason::PE_PROCESSING_ERROR),
    ] {
        let mut bench = Bench::new();
        let package = Package {
            upp,
            ..bench.session()
        };
        assert_eq!(refused(&mut bench, &package.segments()), (elements, reason));
    }
}

#[test]
fn a_full_card_says_so_and_a_freed_one_takes_the_profile() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().memory = 1000;
    let package = bench.session();
    let (_, reason) = refused(&mut bench, &package.segments());
    assert_eq!(reason, ErrorReason::INSUFFICIENT_MEMORY);
    bench.euicc.settings_mut().memory = 100_000;
    bench.install(ICCID, &[]);
}

#[test]
fn proprietary_data_has_a_limit_and_profile_keys_a_length() {
    let mut bench = Bench::new();
    let data = constructed(
        0xBF24,
        &[tlv(0xB8, &[tlv(0x80, &[0x88, 0x37, 0x0A])].concat())],
    );
    let package = Package {
        configuration: data,
        ..bench.session()
    };
    bench.load(&package.segments()).unwrap();
    assert_eq!(bench.euicc.memory().profiles.len(), 1);
    let long = constructed(0xBF24, &[tlv(0xB8, &tlv(0x80, &[0x2A; 130]))]);
    let package = Package {
        configuration: long,
        ..bench.session()
    };
    let result = refused(&mut bench, &package.segments());
    assert_eq!(
        result,
        (
            BppCommandId::CONFIGURE_ISDP,
            ErrorReason::INCORRECT_INPUT_VALUES
        )
    );
}

#[test]
fn power_lost_inside_a_package_is_reported_when_it_comes_back() {
    for (sent, part, known) in [
        (1, BppCommandId::INITIALISE_SECURE_CHANNEL, false),
        (4, BppCommandId::STORE_METADATA, true),
        (6, BppCommandId::LOAD_PROFILE_ELEMENTS, true),
    ] {
        let mut bench = Bench::new();
        let segments = bench.session().segments();
        assert!(bench.load(&segments[..sent]).is_none());
        let flash = bench.euicc.memory().clone();
        let identity = bench.euicc.identity().clone();
        bench.euicc = Euicc::new(identity, bench.euicc.settings().clone(), flash);
        let [report] = &bench.euicc.memory().notifications[..] else {
            panic!("there is not one report");
        };
        let result = es10_apdu::asn1::Raw::from_ber(&report.der).unwrap();
        let error = error_of(&result);
        assert_eq!(error.error_reason, ErrorReason::INTERRUPTION);
        assert_eq!(error.bpp_command_id, part);
        let metadata = &result
            .profile_installation_result_data
            .notification_metadata;
        assert_eq!(metadata.iccid.is_some(), known);
        bench.select();
        bench.install(ICCID, &[]);
    }
}

#[test]
fn a_channel_that_is_closed_takes_the_half_loaded_package_with_it() {
    let mut bench = Bench::new();
    let segments = bench.session().segments();
    bench.load(&segments[..4]);
    assert_eq!(bench.apdu("00708001"), "9000");
    assert_eq!(bench.euicc.memory().notifications.len(), 1);
    bench.select();
    assert_eq!(
        bench.send(&segments[4]),
        Err(StatusWord::REFERENCED_DATA_NOT_FOUND)
    );
    bench.install(ICCID, &[]);
}

#[test]
fn a_new_challenge_ends_the_loading_and_other_functions_wait() {
    let mut bench = Bench::new();
    let segments = bench.session().segments();
    bench.load(&segments[..4]);
    assert_eq!(
        bench.send(&[0xBF, 0x2D, 0x00]),
        Err(StatusWord::CONDITIONS_OF_USE)
    );
    assert_eq!(bench.send(&segments[4]), Ok(Vec::new()));
    bench.challenge();
    let report = &bench.euicc.memory().notifications[0];
    let result = es10_apdu::asn1::Raw::from_ber(&report.der).unwrap();
    assert_eq!(error_of(&result).error_reason, ErrorReason::INTERRUPTION);
}

#[test]
fn a_session_takes_one_package_only() {
    let mut bench = Bench::new();
    let package = bench.session();
    bench.load(&package.segments()).unwrap();
    let other = segments(&package.opening(), &package.sequences());
    assert_eq!(bench.send(&other[0]), Err(StatusWord::CONDITIONS_OF_USE));
}
