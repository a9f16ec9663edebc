//! Manners of cards while a package is loaded, and how its end is told.

use es10_apdu::asn1::read;
use es10_apdu::es10b::{
    BppCommandId, ErrorReason, FinalResult, PrepareDownloadResponse, ProfileInstallationResult,
};
use es10_apdu::types::RspCapability;
use rsp_common::certificate::Role;
use rsp_common::der::{constructed, tlv};

use super::bench::{
    Authenticate, Bench, ICCID, Package, Prepare, error_of, metadata_of, signature_of, upp,
};
use crate::euicc::{DamagedResult, Euicc, InstallationAnswer};

/// Loads a package with that metadata; gives part and reason of the failure.
fn refusal(bench: &mut Bench, metadata: &[Vec<u8>]) -> (BppCommandId, ErrorReason) {
    let package = Package {
        metadata: metadata_of(ICCID, metadata),
        ..bench.session()
    };
    let error = error_of(&bench.load(&package.segments()).unwrap());
    (error.bpp_command_id, error.error_reason)
}

fn cut_power(bench: &mut Bench) {
    let identity = bench.euicc.identity().clone();
    let (settings, memory) = (bench.euicc.settings().clone(), bench.euicc.memory().clone());
    bench.euicc = Euicc::new(identity, settings, memory);
    bench.select();
}

fn cancel(bench: &mut Bench) -> Vec<u8> {
    let request = format!("BF41158010{}810105", "07".repeat(16));
    bench.send(&hex::decode(request).unwrap()).unwrap()
}

#[test]
fn test_profiles_need_their_support_and_the_test_key() {
    let test = [tlv(0x95, &[0])];
    let metadata = BppCommandId::STORE_METADATA;
    let mut bench = Bench::new();
    bench.euicc.settings_mut().rsp_capability = RspCapability::ADDITIONAL_PROFILE;
    let unsupported = (metadata, ErrorReason::UNSUPPORTED_PROFILE_CLASS);
    assert_eq!(refusal(&mut bench, &test), unsupported);
    let mut bench = Bench::new();
    bench.euicc.settings_mut().foreign_naa_key = true;
    let foreign = (metadata, ErrorReason::INVALID_NAA_KEY);
    assert_eq!(refusal(&mut bench, &test), foreign);
    // Other profiles have keys of their own.
    bench.install(ICCID, &[tlv(0x95, &[1])]);
}

#[test]
fn whole_sequences_in_one_segment_are_a_matter_of_manners() {
    let configuration = constructed(0xBF24, &[tlv(0xB8, &tlv(0x80, &[0x88, 0x37]))]);
    let (first, second) = configuration.split_at(4);
    for uncut in [false, true] {
        let mut bench = Bench::new();
        bench.euicc.settings_mut().uncut_sequences = uncut;
        let package = Package {
            configuration: first.to_vec(),
            more_configuration: second.to_vec(),
            profile_keys: true,
            ..bench.session()
        };
        let mut segments = package.segments();
        let more = segments.remove(2);
        segments[1].extend(more);
        let result = bench.load(&segments).unwrap();
        let outcome = &result.profile_installation_result_data.final_result;
        assert_eq!(matches!(outcome, FinalResult::SuccessResult(_)), uncut);
        if !uncut {
            let error = error_of(&result);
            assert_eq!(error.bpp_command_id, BppCommandId::CONFIGURE_ISDP);
            assert_eq!(error.error_reason, ErrorReason::BSP_STRUCTURE_ERROR);
        }
        // Cut as it should be the package is taken in both cases.
        let other = "8901000000000000027F";
        let package = Package {
            configuration: first.to_vec(),
            more_configuration: second.to_vec(),
            metadata: metadata_of(other, &[]),
            upp: upp(other, 10),
            ..bench.session()
        };
        bench.load(&package.segments()).unwrap();
        let profile = bench.euicc.memory().profiles.last().unwrap();
        assert_eq!(profile.configuration, configuration);
    }
}

#[test]
fn a_card_may_be_silent_about_an_interruption() {
    for reported in [true, false] {
        for sent in 1..=6 {
            let mut bench = Bench::new();
            bench.euicc.settings_mut().interruption_reported = reported;
            let segments = bench.session().segments();
            bench.load(&segments[..sent]);
            cut_power(&mut bench);
            let memory = bench.euicc.memory();
            assert_eq!(memory.notifications.len(), usize::from(reported));
            assert!(memory.profiles.is_empty() && memory.installing.is_none());
            bench.install(ICCID, &[]);
        }
    }
}

#[test]
fn the_last_answer_may_be_empty_with_the_result_in_the_list() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().installation_answer = InstallationAnswer::Nothing;
    let segments = bench.session().segments();
    assert_eq!(bench.load(&segments), None);
    let memory = bench.euicc.memory();
    assert_eq!(memory.profiles.len(), 1);
    let result: ProfileInstallationResult = read(&memory.notifications[0].der).unwrap();
    let outcome = &result.profile_installation_result_data.final_result;
    assert!(matches!(outcome, FinalResult::SuccessResult(_)));
    assert_eq!(cancel(&mut bench), [0xBF, 0x41, 3, 0x81, 1, 5]);
}

#[test]
fn the_last_answer_may_be_empty_with_nothing_done() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().installation_answer = InstallationAnswer::NothingDone;
    let segments = bench.session().segments();
    assert_eq!(bench.load(&segments), None);
    assert!(bench.euicc.memory().profiles.is_empty());
    assert!(bench.euicc.memory().notifications.is_empty());
    let cancelled = cancel(&mut bench);
    assert!(cancelled.windows(3).any(|tag| tag == [0x5F, 0x37, 0x40]));
    assert!(bench.euicc.memory().notifications.is_empty());
    bench.euicc.settings_mut().installation_answer = InstallationAnswer::Result;
    bench.install(ICCID, &[]);
}

#[test]
fn results_may_be_damaged_and_are_kept_as_they_were_sent() {
    for damage in [DamagedResult::WithoutOutcome, DamagedResult::WrongSignature] {
        let mut bench = Bench::new();
        bench.euicc.settings_mut().damaged_result = Some(damage);
        let segments = bench.session().segments();
        let answers = segments.iter().map(|segment| bench.send(segment).unwrap());
        let answer = answers.last().unwrap();
        assert_eq!(bench.euicc.memory().notifications[0].der, answer);
        assert_eq!(bench.euicc.memory().profiles.len(), 1);
        let result = read::<ProfileInstallationResult>(&answer);
        match damage {
            DamagedResult::WithoutOutcome => {
                assert!(result.is_err());
                assert!(answer.starts_with(&[0xBF, 0x37]));
            }
            DamagedResult::WrongSignature => {
                let result = result.unwrap();
                let key = bench.pki.key(Role::Euicc).unwrap().public_key();
                let data = result.profile_installation_result_data.bytes();
                assert!(!key.verifies(data, result.euicc_sign_pir.contents()));
            }
        }
    }
}

#[test]
fn success_may_be_told_without_a_status() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().bare_sima_response = true;
    let segments = bench.session().segments();
    let result = bench.load(&segments).unwrap();
    let FinalResult::SuccessResult(success) = &result.profile_installation_result_data.final_result
    else {
        panic!("the profile was not installed");
    };
    assert_eq!(success.sima_response[..], [0x30, 0x00]);
}

#[test]
fn resources_that_cannot_be_read_are_reported_as_they_are_set() {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().card_resource = Some(vec![0x82, 0x01]);
    let answer = bench.send(&[0xBF, 0x22, 0]).unwrap();
    let reported = answer
        .windows(4)
        .any(|octets| octets == [0x84, 0x02, 0x82, 0x01]);
    assert!(reported, "{}", hex::encode(&answer));
}

#[test]
fn memory_is_reported_taken_and_given_back() {
    let mut bench = Bench::new();
    let free = |bench: &mut Bench| {
        let answer = bench.send(&[0xBF, 0x22, 0]).unwrap();
        let info: es10_apdu::es10b::EuiccInfo2 = read(&answer).unwrap();
        let resources = info.resources();
        let free = resources.free_non_volatile_memory.unwrap();
        (resources.installed_applications.unwrap(), free)
    };
    let (none, all) = free(&mut bench);
    assert_eq!((none, all), (0, 0x8_0000));
    let other = "8901000000000000027F";
    bench.install(other, &[]);
    let size = u64::try_from(upp(other, 100).len()).unwrap();
    assert_eq!(free(&mut bench), (1, all - size));
    // Room for one more of a certain size, and not an octet less.
    let wanted = upp(ICCID, 1500).len();
    let missing = usize::try_from(size).unwrap() + wanted - 1;
    bench.euicc.settings_mut().memory = missing;
    let full = (
        BppCommandId::LOAD_PROFILE_ELEMENTS,
        ErrorReason::INSUFFICIENT_MEMORY,
    );
    assert_eq!(refusal(&mut bench, &[]), full);
    bench.euicc.settings_mut().memory = missing + 1;
    let segments = bench.session().segments();
    bench.load(&segments).unwrap();
    assert_eq!(free(&mut bench), (2, 0));
    bench
        .send(&hex::decode("BF330C5A0A981000000000000020F7").unwrap())
        .unwrap();
    assert_eq!(free(&mut bench), (1, size));
}

#[test]
fn metadata_without_end_is_refused() {
    let mut bench = Bench::new();
    let package = Package {
        metadata: metadata_of(ICCID, &vec![tlv(0x9F7F, &[0; 500]); 40]),
        ..bench.session()
    };
    let error = error_of(&bench.load(&package.segments()).unwrap());
    assert_eq!(error.error_reason, ErrorReason::INCORRECT_INPUT_VALUES);
    assert_eq!(error.bpp_command_id, BppCommandId::STORE_METADATA2);
}

#[test]
fn a_key_is_used_up_by_the_first_good_opening_whatever_follows() {
    let mut bench = Bench::new();
    let package = bench.session();
    let again = |bench: &mut Bench, otpk: &[u8]| {
        let authenticate = Authenticate::new(&bench.pki);
        let euicc_signature1 = signature_of(bench.authenticate(&authenticate));
        let prepare = Prepare {
            otpk: Some(otpk.to_vec()),
            ..Prepare::new(&bench.pki, euicc_signature1)
        };
        let PrepareDownloadResponse::DownloadResponseOk(ok) = bench.prepare(&prepare) else {
            panic!("the download was refused");
        };
        ok.euicc_signed2.euicc_otpk.octets().to_vec()
    };
    // Before anything was loaded the key survives a loss of power, and the package fits again.
    cut_power(&mut bench);
    assert_eq!(again(&mut bench, &package.euicc_otpk), package.euicc_otpk);
    let segments = package.segments();
    assert_eq!(bench.send(&segments[0]), Ok(Vec::new()));
    cut_power(&mut bench);
    assert_ne!(again(&mut bench, &package.euicc_otpk), package.euicc_otpk);
    assert_eq!(bench.euicc.memory().one_time_keys.len(), 1);
}

#[test]
fn a_package_is_loaded_in_a_later_session_with_the_kept_key_and_a_new_opening() {
    for renewed in [true, false] {
        let mut bench = Bench::new();
        let old = bench.session();
        cut_power(&mut bench);
        let authenticate = Authenticate {
            transaction_id: vec![9; 16],
            ..Authenticate::new(&bench.pki)
        };
        let challenge = bench.challenge();
        let response = bench.authenticate_with(&challenge, &authenticate);
        let prepare = Prepare {
            transaction_id: vec![9; 16],
            otpk: Some(old.euicc_otpk.clone()),
            ..Prepare::new(&bench.pki, signature_of(response))
        };
        let PrepareDownloadResponse::DownloadResponseOk(ok) = bench.prepare(&prepare) else {
            panic!("the download was refused");
        };
        assert_eq!(ok.euicc_signed2.euicc_otpk.octets(), old.euicc_otpk);
        let transaction_id = if renewed { vec![9; 16] } else { vec![7; 16] };
        let package = Package {
            transaction_id,
            ..old
        };
        let result = bench.load(&package.segments()).unwrap();
        if renewed {
            assert_eq!(bench.euicc.memory().profiles.len(), 1);
        } else {
            let error = error_of(&result);
            assert_eq!(error.error_reason, ErrorReason::INVALID_TRANSACTION_ID);
            assert_eq!(bench.euicc.memory().one_time_keys.len(), 1);
        }
    }
}

#[test]
fn profiles_are_taken_until_the_memory_is_full_and_nothing_else_grows() {
    let mut bench = Bench::new();
    let size = upp(ICCID, 10).len();
    bench.euicc.settings_mut().memory = size * 5;
    bench.euicc.settings_mut().notifications = 3;
    for number in 1..=9 {
        let iccid = format!("890100000000000{number}000F");
        let package = Package {
            metadata: metadata_of(&iccid, &[]),
            upp: upp(&iccid, 10),
            ..bench.session()
        };
        let result = bench.load(&package.segments()).unwrap();
        if number > 5 {
            let reason = error_of(&result).error_reason;
            assert_eq!(reason, ErrorReason::INSUFFICIENT_MEMORY);
        }
        let memory = bench.euicc.memory();
        assert_eq!(memory.profiles.len(), number.min(5));
        assert_eq!(memory.notifications.len(), number.min(3));
        assert!(memory.one_time_keys.is_empty() && memory.installing.is_none());
    }
    // ISD-Ps have numbers of their own.
    let mut aids: Vec<_> = bench
        .euicc
        .memory()
        .profiles
        .iter()
        .map(|profile| &profile.aid)
        .collect();
    aids.dedup();
    assert_eq!(aids.len(), 5);
}
