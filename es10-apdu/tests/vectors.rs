//! Every function against octets from outside this crate: `vectors/vectors.json`, a complete RSP
//! session made and checked by other implementations, and examples worked out by hand.

#![allow(
    clippy::unwrap_used,
    reason = "a vector that is not there fails the test"
)]

use es10_apdu::asn1::{self, Extensible, List, Raw};
use es10_apdu::es10a::*;
use es10_apdu::es10b::*;
use es10_apdu::es10c::*;
use es10_apdu::function::Es10Function;
use es10_apdu::tlv;
use es10_apdu::types::*;
use rasn::Encode;

fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../vectors/vectors.json")).unwrap()
}

fn vector(section: &str, key: &str) -> Vec<u8> {
    hex::decode(vectors()[section][key].as_str().unwrap()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

/// Reads `bytes`, writes them again, and gives what was read.
fn there_and_back<T: Encode + Extensible>(bytes: &[u8]) -> T {
    let value: T = asn1::read(bytes).unwrap();
    assert_eq!(hex::encode(asn1::encode(&value)), hex::encode(bytes));
    value
}

fn iccid() -> Iccid {
    "8901000000000000019".parse().unwrap()
}

fn tid() -> TransactionId {
    TransactionId::from_octets(&(1..=16).collect::<Vec<u8>>()).unwrap()
}

#[test]
fn every_request_is_the_octets_the_handbooks_of_the_field_print() {
    let requests: [(Vec<u8>, &str); 21] = [
        (EuiccConfiguredAddressesRequest {}.to_der(), "BF3C00"),
        (
            SetDefaultDpAddressRequest {
                default_dp_address: "a.b".into(),
            }
            .to_der(),
            "BF3F 05 8003 612E62",
        ),
        (GetEuiccInfo1Request {}.to_der(), "BF2000"),
        (GetEuiccInfo2Request {}.to_der(), "BF2200"),
        (GetEuiccChallengeRequest {}.to_der(), "BF2E00"),
        (ListNotificationRequest::default().to_der(), "BF2800"),
        (
            ListNotificationRequest {
                profile_management_operation: Some(NotificationEvent::INSTALL),
            }
            .to_der(),
            "BF28 04 81 02 0780",
        ),
        (
            RetrieveNotificationsListRequest::default().to_der(),
            "BF2B00",
        ),
        (
            RetrieveNotificationsListRequest {
                search_criteria: Some(SearchCriteria::SeqNumber(965)),
            }
            .to_der(),
            "BF2B 06 A0 04 80 02 03C5",
        ),
        (
            NotificationSentRequest { seq_number: 128 }.to_der(),
            "BF30 04 80 02 0080",
        ),
        (GetRatRequest {}.to_der(), "BF4300"),
        (ProfileInfoListRequest::default().to_der(), "BF2D00"),
        (
            ProfileInfoListRequest {
                search_criteria: Some(ProfileSearch::Iccid(iccid())),
                tag_list: Some(vec![0x5A, 0x9F, 0x70].into()),
            }
            .to_der(),
            "BF2D 13 A0 0C 5A 0A 981000000000000010F9 5C 03 5A9F70",
        ),
        (
            EnableProfileRequest {
                profile_identifier: ProfileIdentifier::Iccid(iccid()),
                refresh_flag: true,
            }
            .to_der(),
            "BF31 11 A0 0C 5A 0A 981000000000000010F9 81 01 FF",
        ),
        (
            DisableProfileRequest {
                profile_identifier: ProfileIdentifier::IsdpAid(
                    Aid::from_octets(&unhex("A0000005591010FFFFFFFF8900001100")).unwrap(),
                ),
                refresh_flag: false,
            }
            .to_der(),
            "BF32 17 A0 12 4F 10 A0000005591010FFFFFFFF8900001100 81 01 00",
        ),
        (
            DeleteProfileRequest::Iccid(iccid()).to_der(),
            "BF33 0C 5A 0A 981000000000000010F9",
        ),
        (
            SetNicknameRequest {
                iccid: iccid(),
                profile_nickname: "uno".into(),
            }
            .to_der(),
            "BF29 11 5A 0A 981000000000000010F9 90 03 756E6F",
        ),
        (GetEuiccDataRequest::default().to_der(), "BF3E 03 5C 01 5A"),
        (
            EuiccMemoryResetRequest {
                reset_options: ResetOptions::DELETE_OPERATIONAL_PROFILES
                    | ResetOptions::DELETE_FIELD_LOADED_TEST_PROFILES
                    | ResetOptions::RESET_DEFAULT_SMDP_ADDRESS,
            }
            .to_der(),
            "BF34 04 82 02 05E0",
        ),
        (
            CancelSessionRequest {
                transaction_id: tid(),
                reason: CancelSessionReason::END_USER_REJECTION,
            }
            .to_der(),
            "BF41 15 80 10 0102030405060708090A0B0C0D0E0F10 81 01 00",
        ),
        (
            CancelSessionRequest {
                transaction_id: tid(),
                reason: CancelSessionReason::UNDEFINED_REASON,
            }
            .to_der(),
            "BF41 15 80 10 0102030405060708090A0B0C0D0E0F10 81 01 7F",
        ),
    ];
    for (request, expected) in requests {
        assert_eq!(hex::encode_upper(request), expected.replace(' ', ""));
    }
}

#[test]
fn simple_answers_give_their_result_codes() {
    let code = |hex: &str| unhex(hex);
    let enable = EnableProfileRequest::response(&code("BF31 03 80 01 00")).unwrap();
    assert_eq!(enable.enable_result, EnableResult::OK);
    let disable = DisableProfileRequest::response(&code("BF32 03 80 01 02")).unwrap();
    assert_eq!(
        disable.disable_result,
        DisableResult::PROFILE_NOT_IN_ENABLED_STATE
    );
    let delete = DeleteProfileRequest::response(&code("BF33 03 80 01 03")).unwrap();
    assert_eq!(delete.delete_result, DeleteResult::DISALLOWED_BY_POLICY);
    let nickname = SetNicknameRequest::response(&code("BF29 03 80 01 01")).unwrap();
    assert_eq!(
        nickname.set_nickname_result,
        SetNicknameResult::ICCID_NOT_FOUND
    );
    let reset = EuiccMemoryResetRequest::response(&code("BF34 03 80 01 05")).unwrap();
    assert_eq!(reset.reset_result, ResetResult::CAT_BUSY);
    let sent = NotificationSentRequest::response(&code("BF30 03 80 01 01")).unwrap();
    assert_eq!(
        sent.delete_notification_status,
        DeleteNotificationStatus::NOTHING_TO_DELETE
    );
    let address = SetDefaultDpAddressRequest::response(&code("BF3F 03 80 01 7F")).unwrap();
    assert_eq!(
        address.set_default_dp_address_result,
        SetDefaultDpAddressResult::UNDEFINED_ERROR
    );
    let eid =
        GetEuiccDataRequest::response(&code("BF3E 12 5A 10 89049032123451234512345678901235"));
    assert_eq!(
        eid.unwrap().eid_value.to_string(),
        "89049032123451234512345678901235"
    );
    let unknown = EnableProfileRequest::response(&code("BF31 03 80 01 63")).unwrap();
    assert_eq!(unknown.enable_result.to_string(), "unknown value 99");
}

#[test]
fn configured_addresses_may_be_absent_or_empty() {
    let none = EuiccConfiguredAddressesRequest::response(&unhex("BF3C00")).unwrap();
    assert_eq!(none, EuiccConfiguredAddressesResponse::default());
    let both =
        EuiccConfiguredAddressesRequest::response(&unhex("BF3C 08 80 03 612E62 81 01 63")).unwrap();
    assert_eq!(both.default_dp_address.unwrap().to_str(), "a.b");
    assert_eq!(both.root_ds_address.unwrap().to_str(), "c");
}

#[test]
fn euicc_information_is_kept_as_received_and_read() {
    let bytes = vector("es10", "euiccInfo1");
    let info1 = GetEuiccInfo1Request::response(&bytes).unwrap();
    assert_eq!(info1.bytes(), bytes);
    assert_eq!(info1.euicc_ci_pk_id_list_for_signing.len(), 1);
    there_and_back::<EuiccInfo1>(&bytes);

    let bytes = vector("es10", "euiccInfo2");
    let info2 = there_and_back::<EuiccInfo2>(&bytes);
    assert_eq!(info2.svn.to_string(), "2.2.2");
    assert_eq!(info2.resources().free_non_volatile_memory, Some(0x80000));
    assert!(
        info2
            .rsp_capability
            .contains(RspCapability::TEST_PROFILE_SUPPORT)
    );
    assert!(
        !info2
            .rsp_capability
            .contains(RspCapability::DEVICE_INFO_EXTENSIBILITY_SUPPORT)
    );

    let challenge = vector("es10", "getEuiccChallengeResponse");
    let challenge = there_and_back::<GetEuiccChallengeResponse>(&challenge);
    assert_eq!(challenge.euicc_challenge.octets()[0], 0xAA);
}

#[test]
fn authentication_carries_what_was_signed_octet_by_octet() {
    let bytes = vector("es10", "authenticateServerRequest");
    let request = there_and_back::<AuthenticateServerRequest>(&bytes);
    assert_eq!(
        request.server_signed1.bytes(),
        vector("parts", "serverSigned1")
    );
    assert_eq!(
        request.server_signature1.bytes(),
        vector("parts", "serverSignature1")
    );
    assert_eq!(
        request.server_certificate.bytes(),
        vector("certificates", "DPAUTH")
    );
    assert_eq!(
        request.server_signed1.server_address.to_str(),
        "smdp.example.com"
    );
    let CtxParams1::CtxParamsForCommonAuthentication(context) = &request.ctx_params1;
    assert_eq!(context.matching_id.as_ref().unwrap().to_str(), "M-1");

    let bytes = vector("es10", "authenticateServerResponse");
    let response = AuthenticateServerRequest::response(&bytes).unwrap();
    assert_eq!(response.bytes(), bytes);
    there_and_back::<AuthenticateServerResponse>(&bytes);
    let AuthenticateServerResponse::AuthenticateResponseOk(ok) = &*response else {
        panic!("{response:?}");
    };
    assert_eq!(ok.euicc_signed1.bytes(), vector("parts", "euiccSigned1"));
    assert_eq!(
        ok.euicc_signed1.euicc_info2.bytes(),
        vector("es10", "euiccInfo2")
    );
    assert_eq!(ok.eum_certificate.bytes(), vector("certificates", "EUM"));

    let bytes = vector("es10", "authenticateServerError");
    let AuthenticateServerResponse::AuthenticateResponseError(error) = there_and_back(&bytes)
    else {
        panic!("not an error");
    };
    assert_eq!(
        error.authenticate_error_code,
        AuthenticateErrorCode::INVALID_SIGNATURE
    );
}

#[test]
fn download_preparation_carries_what_was_signed_octet_by_octet() {
    let bytes = vector("es10", "prepareDownloadRequest");
    let request = there_and_back::<PrepareDownloadRequest>(&bytes);
    assert_eq!(request.smdp_signed2.bytes(), vector("parts", "smdpSigned2"));
    assert!(request.smdp_signed2.cc_required_flag);
    assert_eq!(request.hash_cc.unwrap().octets(), vector("es10", "hashCc"));

    let bytes = vector("es10", "prepareDownloadResponse");
    let PrepareDownloadResponse::DownloadResponseOk(ok) = there_and_back(&bytes) else {
        panic!("not ok");
    };
    assert_eq!(ok.euicc_signed2.bytes(), vector("parts", "euiccSigned2"));
    assert_eq!(
        ok.euicc_signature2.bytes(),
        vector("parts", "euiccSignature2")
    );
    assert_eq!(
        ok.euicc_signed2.euicc_otpk.octets(),
        vector("publicKeys", "OTEUICC")
    );
}

#[test]
fn package_parts_and_metadata_are_read_and_written() {
    let channel = there_and_back::<InitialiseSecureChannelRequest>(&vector("parts", "bf23"));
    assert_eq!(
        channel.control_ref_template.host_id,
        vector("bsp", "hostId")
    );
    let metadata = there_and_back::<StoreMetadataRequest>(&vector("parts", "storeMetadata"));
    assert_eq!(metadata.iccid, iccid());
    assert_eq!(metadata.class(), ProfileClass::OPERATIONAL);
    assert_eq!(metadata.notification_configuration_info.unwrap().len(), 2);
    there_and_back::<ConfigureIsdpRequest>(&unhex("BF2400"));
}

#[test]
fn installation_results_tell_success_from_error() {
    let bytes = vector("es10", "pirSuccess");
    let result = there_and_back::<ProfileInstallationResult>(&bytes);
    let data = &result.profile_installation_result_data;
    assert_eq!(data.smdp_oid.as_ref().unwrap().to_string(), "2.999.10");
    let FinalResult::SuccessResult(success) = &data.final_result else {
        panic!("{data:?}")
    };
    assert_eq!(
        hex::encode(success.aid.octets()),
        "a0000005591010ffffffff8900001100"
    );

    let result = there_and_back::<ProfileInstallationResult>(&vector("es10", "pirError"));
    let data = &result.profile_installation_result_data;
    let FinalResult::ErrorResult(error) = &data.final_result else {
        panic!("{data:?}")
    };
    assert_eq!(error.bpp_command_id, BppCommandId::LOAD_PROFILE_ELEMENTS);
    assert_eq!(error.error_reason, ErrorReason::PE_PROCESSING_ERROR);
}

#[test]
fn pending_notifications_are_listed_with_their_octets() {
    let bytes = vector("es10", "retrieveNotificationsListResponse");
    let list = RetrieveNotificationsListRequest::response(&bytes).unwrap();
    let RetrieveNotificationsListResponse::NotificationList(list) = list else {
        panic!("no list")
    };
    assert_eq!(list[0].bytes(), vector("es10", "pirSuccess"));
    assert_eq!(
        list[1].bytes(),
        vector("es10", "otherSignedNotificationEnable")
    );
    assert_eq!(list[1].metadata().seq_number, 2);
    there_and_back::<RetrieveNotificationsListResponse>(&bytes);
    for (hex, expected) in [
        (
            "BF2B 02 A0 00",
            RetrieveNotificationsListResponse::NotificationList(List::default()),
        ),
        (
            "BF2B 03 81 01 01",
            RetrieveNotificationsListResponse::NotificationsListResultError(
                NotificationsError::NO_RESULT_AVAILABLE,
            ),
        ),
    ] {
        assert_eq!(
            RetrieveNotificationsListRequest::response(&unhex(hex)).unwrap(),
            expected
        );
    }
    let metadata = vector("es10", "otherSignedNotificationEnable");
    let metadata = tlv::Tlv::exactly(&metadata).unwrap();
    let metadata = metadata.child(0xBF2F).unwrap().encoding;
    let list = tlv::encode(0xBF28, &tlv::encode(0xA0, metadata));
    let list = ListNotificationRequest::response(&list).unwrap();
    let ListNotificationResponse::NotificationMetadataList(list) = list else {
        panic!("no list")
    };
    assert_eq!(
        list[0].profile_management_operation,
        NotificationEvent::ENABLE
    );
}

#[test]
fn cancelling_is_signed_by_the_card() {
    there_and_back::<CancelSessionRequest>(&vector("es10", "cancelSessionRequest"));
    let bytes = vector("es10", "cancelSessionResponse");
    let response = CancelSessionRequest::response(&bytes).unwrap();
    let CancelSessionResponse::CancelSessionResponseOk(ok) = &*response else {
        panic!()
    };
    assert_eq!(
        ok.euicc_cancel_session_signed.smdp_oid.to_string(),
        "2.999.10"
    );
    there_and_back::<CancelSessionResponse>(&bytes);
    let refused = CancelSessionRequest::response(&unhex("BF41 03 81 01 05")).unwrap();
    assert_eq!(
        *refused,
        CancelSessionResponse::CancelSessionResponseError(
            CancelSessionError::INVALID_TRANSACTION_ID
        )
    );
}

#[test]
fn rules_authorisation_table_entries_keep_their_wildcards() {
    let bytes =
        unhex("BF43 18 A0 16 30 14 80 02 0560 A1 0B 30 09 80 03 EEEEEE 81 00 82 00 82 01 00");
    let rat = GetRatRequest::response(&bytes).unwrap().rat;
    assert!(rat[0].ppr_ids.contains(PprIds::PPR1 | PprIds::PPR2));
    assert_eq!(rat[0].allowed_operators[0].gid1.as_deref(), Some(&[][..]));
    assert!(
        GetRatRequest::response(&unhex("BF43 02 A0 00"))
            .unwrap()
            .rat
            .is_empty()
    );
}

#[test]
fn fields_of_later_versions_cost_nothing_wherever_they_stand() {
    let info2 = vector("es10", "euiccInfo2");
    let contents = tlv::Tlv::exactly(&info2).unwrap().contents.to_vec();
    let later = unhex("90 01 FF B4 04 80 02 0102 9F50 01 00");
    for bytes in [
        tlv::encode(0xBF22, &[contents.as_slice(), &later].concat()),
        tlv::encode(0xBF22, &[&later, contents.as_slice()].concat()),
    ] {
        let read = GetEuiccInfo2Request::response(&bytes).unwrap();
        assert_eq!(read.bytes(), bytes, "signed octets stay as they are");
        assert_eq!(read.svn.to_string(), "2.2.2");
    }
    let out_of_order =
        unhex("BF2D 1A A0 18 E3 16 92 03 416263 9F70 01 01 BF76 00 5A 0A 981000000000000010F9");
    // The inner length counts 92, 9F70, BF76 and 5A.
    let list = ProfileInfoListRequest::response(&fix_lengths(&out_of_order)).unwrap();
    let ProfileInfoListResponse::ProfileInfoListOk(list) = list else {
        panic!("{list:?}")
    };
    assert_eq!(list[0].iccid, Some(iccid()));
    assert!(list[0].is_enabled());
}

/// Writes the lengths of a three-level structure anew, so that a test can state contents only.
fn fix_lengths(bytes: &[u8]) -> Vec<u8> {
    let contents = &bytes[7..];
    let element = tlv::encode(0xE3, contents);
    tlv::encode(0xBF2D, &tlv::encode(0xA0, &element))
}

#[test]
fn an_unreadable_element_costs_that_element_and_is_reported_with_its_place() {
    let good = tlv::encode(0xE3, &unhex("5A 0A 981000000000000010F9"));
    let bad = tlv::encode(0xE3, &unhex("5A 03 981000"));
    let text = tlv::encode(0xE3, &unhex("90 02 FFFE"));
    let elements = [good.as_slice(), &bad, &text].concat();
    let answer = tlv::encode(0xBF2D, &tlv::encode(0xA0, &elements));
    let list = ProfileInfoListRequest::response(&answer).unwrap();
    let ProfileInfoListResponse::ProfileInfoListOk(list) = list else {
        panic!("{list:?}")
    };
    assert_eq!(list.items.len(), 2);
    assert_eq!(list.unreadable.len(), 1);
    assert_eq!(list.unreadable[0].index, 1);
    assert!(list.unreadable[0].error.to_string().contains("ICCID"));
    assert_eq!(
        list[1].profile_nickname.as_ref().unwrap().to_str(),
        "\u{FFFD}\u{FFFD}"
    );
}

#[test]
fn wrong_answers_are_errors_that_name_the_type() {
    for (answer, words) in [
        ("", "EnableProfileResponse: the answer is empty"),
        ("BF3103800100 00", "1 octets follow"),
        ("BF31038001", "ends 1 octets too early"),
        ("BF3203800100", "EnableProfileResponse"),
    ] {
        let error = EnableProfileRequest::response(&unhex(answer))
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn non_canonical_coding_is_read_and_forwarded_as_received() {
    // Lengths in long form, an INTEGER with a leading zero.
    let contents = unhex("80 02 0005 81 8102 0640 0C 8103 612E62 5A 82000A 981000000000000010F9");
    let mut bytes = unhex("BF2F 8200 00");
    bytes.extend_from_slice(&contents);
    bytes[4] = u8::try_from(contents.len()).unwrap();
    let metadata: Raw<NotificationMetadata> = Raw::from_ber(&bytes).unwrap();
    assert_eq!((metadata.seq_number, metadata.iccid), (5, Some(iccid())));
    assert_eq!(metadata.bytes(), bytes);
}

#[test]
fn a_revocation_list_travels_under_another_tag() {
    let list = CertificateList::from_ber(&unhex("30 03 02 01 05")).unwrap();
    let bytes = unhex("BF35 05 A0 03 02 01 05");
    let request = there_and_back::<LoadCrlRequest>(&bytes);
    assert_eq!(request.crl, list);
    assert_eq!(request.crl.bytes(), unhex("30 03 02 01 05"));
    let long = CertificateList::from_ber(&tlv::encode(0x30, &[0; 300])).unwrap();
    there_and_back::<LoadCrlRequest>(&LoadCrlRequest { crl: long }.to_der());
    for no_list in ["BF35 05 30 03 02 01 05", "BF35 00", "BF35 04 A0 03 02 01"] {
        assert!(
            asn1::read::<LoadCrlRequest>(&unhex(no_list)).is_err(),
            "{no_list}"
        );
    }
    assert!(CertificateList::from_ber(&unhex("A0 03 02 01 05")).is_err());
}

#[test]
fn a_list_in_parts_names_the_parts_that_are_missing() {
    let ok = |missing_parts| {
        LoadCrlResponse::LoadCrlResponseOk(LoadCrlResponseOk { missing_parts }.into())
    };
    let numbers = List::from(vec![PartialCrlNumber(2), PartialCrlNumber(3)]);
    assert_eq!(
        there_and_back::<LoadCrlResponse>(&unhex("BF35 02 A0 00")),
        ok(None)
    );
    let parts = unhex("BF35 0A A0 08 A0 06 02 01 02 02 01 03");
    assert_eq!(there_and_back::<LoadCrlResponse>(&parts), ok(Some(numbers)));
    let error = there_and_back::<LoadCrlResponse>(&unhex("BF35 03 81 01 05"));
    let fresher = LoadCrlError::FRESHER_CRL_ALREADY_LOADED;
    assert_eq!(error, LoadCrlResponse::LoadCrlResponseError(fresher));
    // The form of the first module costs the numbers, not the answer.
    let oldest = LoadCrlRequest::response(&unhex("BF35 09 A0 07 A0 05 30 03 80 01 02")).unwrap();
    let LoadCrlResponse::LoadCrlResponseOk(oldest) = oldest else {
        panic!("it is an error");
    };
    assert_eq!(oldest.0.missing_parts.unwrap().unreadable.len(), 1);
}

#[test]
fn a_profile_may_carry_data_of_its_server() {
    let bytes = unhex("BF2D 16 A0 14 E3 12 B8 07 80 02 8837 81 01 05 BF22 06 A0 04 06 02 8837");
    let ProfileInfoListResponse::ProfileInfoListOk(list) = there_and_back(&bytes) else {
        panic!("there is no list");
    };
    assert_eq!(list[0].dp_proprietary_data.as_ref().unwrap().len(), 2);
    let specific = list[0].service_specific_data_stored_in_euicc.as_ref();
    assert_eq!(specific.unwrap().len(), 1);
}
