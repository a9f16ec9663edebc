use es10_apdu::apdu::StatusWord;
use es10_apdu::es10b::{
    AuthenticateErrorCode, AuthenticateServerResponse, CancelSessionError, CancelSessionReason,
    CancelSessionRequest, CancelSessionResponse, DownloadErrorCode, PrepareDownloadResponse,
};
use es10_apdu::types::TransactionId;
use rsp_common::certificate::Role;
use rsp_common::der::{Tlv, constructed, tlv};
use rsp_common::key::Curve;
use rsp_common::pki::{CertificateSpec, Pki, PkiOptions};

use super::bench::{Authenticate, Bench, Prepare, issue, issue_on, now, signature_of};

fn refusal(response: AuthenticateServerResponse) -> AuthenticateErrorCode {
    match response {
        AuthenticateServerResponse::AuthenticateResponseError(error) => {
            assert_eq!(error.transaction_id.octets(), [7; 16]);
            error.authenticate_error_code
        }
        AuthenticateServerResponse::AuthenticateResponseOk(_) => panic!("the server was accepted"),
    }
}

fn download_refusal(response: PrepareDownloadResponse) -> DownloadErrorCode {
    match response {
        PrepareDownloadResponse::DownloadResponseError(error) => error.download_error_code,
        PrepareDownloadResponse::DownloadResponseOk(_) => panic!("the download was accepted"),
    }
}

fn cancel(bench: &mut Bench, transaction_id: [u8; 16]) -> Result<(), CancelSessionError> {
    let request = CancelSessionRequest {
        transaction_id: TransactionId::from_octets(&transaction_id).unwrap(),
        reason: CancelSessionReason::POSTPONED,
    };
    let response = bench.call(&request);
    let CancelSessionResponse::CancelSessionResponseOk(ok) = &*response else {
        let CancelSessionResponse::CancelSessionResponseError(error) = response.into_value() else {
            unreachable!("there are two alternatives")
        };
        return Err(error);
    };
    assert_eq!(
        ok.euicc_cancel_session_signed.smdp_oid.to_string(),
        "2.999.10"
    );
    let key = bench.pki.key(Role::Euicc).unwrap().public_key();
    let signed = ok.euicc_cancel_session_signed.bytes();
    assert!(key.verifies(signed, ok.euicc_cancel_session_signature.contents()));
    Ok(())
}

#[test]
fn a_challenge_is_good_for_one_attempt() {
    let mut bench = Bench::new();
    let request = Authenticate::new(&bench.pki);
    let early = bench.authenticate_with(&[0; 16], &request);
    assert_eq!(refusal(early), AuthenticateErrorCode::NO_SESSION_CONTEXT);
    let challenge = bench.challenge();
    let wrong = Authenticate {
        wrong_signature: true,
        ..request.clone()
    };
    let refused = bench.authenticate_with(&challenge, &wrong);
    assert_eq!(refusal(refused), AuthenticateErrorCode::INVALID_SIGNATURE);
    let refused = bench.authenticate_with(&challenge, &request);
    assert_eq!(refusal(refused), AuthenticateErrorCode::NO_SESSION_CONTEXT);
    let old = bench.challenge();
    assert_ne!(old, bench.challenge());
    let refused = bench.authenticate_with(&old, &request);
    assert_eq!(
        refusal(refused),
        AuthenticateErrorCode::EUICC_CHALLENGE_MISMATCH
    );
    signature_of(bench.authenticate(&request));
}

#[test]
fn a_server_with_a_doubtful_certificate_is_refused() {
    type Fault = fn(&mut CertificateSpec);
    let invalid = AuthenticateErrorCode::INVALID_CERTIFICATE;
    let cases: [(Fault, AuthenticateErrorCode); 7] = [
        (|spec| spec.wrong_signature = true, invalid),
        (|spec| spec.key_usage = None, invalid),
        (|spec| spec.rids.clear(), invalid),
        (|spec| spec.unknown_critical_extension = true, invalid),
        (|spec| spec.without_authority_key_identifier = true, invalid),
        (
            |spec| spec.policies = vec![Role::DpPb.policy().into()],
            AuthenticateErrorCode::INVALID_OID,
        ),
        (
            |spec| spec.policies = vec![Role::DpTls.policy().into()],
            AuthenticateErrorCode::INVALID_OID,
        ),
    ];
    let mut bench = Bench::new();
    for (fault, code) in cases {
        let mut spec = CertificateSpec::dp_auth("2.999.10", now());
        fault(&mut spec);
        let (certificate, key) = issue(&bench.pki, &spec);
        let request = Authenticate {
            certificate,
            key,
            ..Authenticate::new(&bench.pki)
        };
        assert_eq!(refusal(bench.authenticate(&request)), code);
    }
}

#[test]
fn a_server_key_on_another_curve_than_its_issuer_is_refused() {
    let mut bench = Bench::new();
    let spec = CertificateSpec::dp_auth("2.999.10", now());
    let (certificate, key) = issue_on(Curve::Brainpool, &bench.pki, &spec);
    let request = Authenticate {
        certificate,
        key,
        ..Authenticate::new(&bench.pki)
    };
    let code = AuthenticateErrorCode::UNSUPPORTED_CURVE;
    assert_eq!(refusal(bench.authenticate(&request)), code);
    let good = Authenticate::new(&bench.pki);
    let signature = signature_of(bench.authenticate(&good));
    let spec = CertificateSpec::dp_pb("2.999.10", now());
    let (certificate, key) = issue_on(Curve::Brainpool, &bench.pki, &spec);
    let request = Prepare {
        certificate,
        key,
        ..Prepare::new(&bench.pki, signature)
    };
    let code = DownloadErrorCode::UNSUPPORTED_CURVE;
    assert_eq!(download_refusal(bench.prepare(&request)), code);
}

#[test]
fn a_server_under_an_unknown_ci_is_refused() {
    let mut bench = Bench::new();
    let other = Authenticate::new(&Pki::generate(&PkiOptions::default()).unwrap());
    let own = Authenticate::new(&bench.pki);
    let unknown = AuthenticateErrorCode::CI_PK_UNKNOWN;
    assert_eq!(refusal(bench.authenticate(&other)), unknown);
    let certificate = Authenticate {
        ci_key_identifier: own.ci_key_identifier,
        ..other.clone()
    };
    assert_eq!(refusal(bench.authenticate(&certificate)), unknown);
    let wish = Authenticate {
        ci_key_identifier: other.ci_key_identifier,
        ..Authenticate::new(&bench.pki)
    };
    assert_eq!(refusal(bench.authenticate(&wish)), unknown);
}

#[test]
fn an_expired_server_certificate_is_no_matter_to_a_card_without_a_clock() {
    let mut bench = Bench::new();
    let mut spec = CertificateSpec::dp_auth("2.999.10", now());
    spec.not_after = spec.not_before;
    let (certificate, key) = issue(&bench.pki, &spec);
    let request = Authenticate {
        certificate,
        key,
        ..Authenticate::new(&bench.pki)
    };
    signature_of(bench.authenticate(&request));
}

#[test]
fn a_discovery_server_may_authenticate_and_not_bind() {
    let mut bench = Bench::new();
    let mut spec = CertificateSpec::dp_auth("2.999.10", now());
    spec.policies = vec![Role::DsAuth.policy().into()];
    let (certificate, key) = issue(&bench.pki, &spec);
    let request = Authenticate {
        certificate,
        key,
        ..Authenticate::new(&bench.pki)
    };
    let signature = signature_of(bench.authenticate(&request));
    let prepare = Prepare::new(&bench.pki, signature);
    assert_eq!(
        download_refusal(bench.prepare(&prepare)),
        DownloadErrorCode::INVALID_CERTIFICATE
    );
}

#[test]
fn a_download_belongs_to_the_session_and_the_server() {
    type Fault = fn(&mut CertificateSpec);
    let mut bench = Bench::new();
    let prepare = Prepare::new(&bench.pki, Vec::new());
    assert_eq!(
        download_refusal(bench.prepare(&prepare)),
        DownloadErrorCode::NO_SESSION_CONTEXT
    );
    let authenticate = Authenticate::new(&bench.pki);
    let signature = signature_of(bench.authenticate(&authenticate));
    let good = || Prepare::new(&bench.pki, signature.clone());
    let cases: [(Fault, DownloadErrorCode); 3] = [
        (
            |spec| spec.rids = vec!["2.999.12".into()],
            DownloadErrorCode::INVALID_CERTIFICATE,
        ),
        (
            |spec| spec.policies = vec![Role::DpAuth.policy().into()],
            DownloadErrorCode::INVALID_CERTIFICATE,
        ),
        (
            |spec| spec.wrong_signature = true,
            DownloadErrorCode::INVALID_CERTIFICATE,
        ),
    ];
    let mut requests = vec![
        (
            Prepare {
                transaction_id: vec![8; 16],
                ..good()
            },
            DownloadErrorCode::INVALID_TRANSACTION_ID,
        ),
        (
            Prepare {
                wrong_signature: true,
                ..good()
            },
            DownloadErrorCode::INVALID_SIGNATURE,
        ),
        (
            Prepare {
                euicc_signature1: vec![0; 67],
                ..good()
            },
            DownloadErrorCode::INVALID_SIGNATURE,
        ),
    ];
    for (fault, code) in cases {
        let mut spec = CertificateSpec::dp_pb("2.999.10", now());
        fault(&mut spec);
        let (certificate, key) = issue(&bench.pki, &spec);
        requests.push((
            Prepare {
                certificate,
                key,
                ..good()
            },
            code,
        ));
    }
    let good = good();
    for (request, code) in requests {
        assert_eq!(download_refusal(bench.prepare(&request)), code);
    }
    let PrepareDownloadResponse::DownloadResponseOk(ok) = bench.prepare(&good) else {
        panic!("the download was refused");
    };
    assert_eq!(ok.euicc_signed2.euicc_otpk.octets()[0], 0x04);
    assert_eq!(
        download_refusal(bench.prepare(&good)),
        DownloadErrorCode::NO_SESSION_CONTEXT
    );
}

#[test]
fn a_one_time_key_that_was_not_used_is_kept_for_a_retry() {
    let mut bench = Bench::new();
    let otpk = bench.session().euicc_otpk;
    cancel(&mut bench, [7; 16]).unwrap();
    bench.euicc.reset();
    bench.select();
    let authenticate = Authenticate::new(&bench.pki);
    let signature = signature_of(bench.authenticate(&authenticate));
    let wanted = Prepare {
        otpk: Some(otpk.clone()),
        ..Prepare::new(&bench.pki, signature)
    };
    let PrepareDownloadResponse::DownloadResponseOk(ok) = bench.prepare(&wanted) else {
        panic!("the download was refused");
    };
    assert_eq!(ok.euicc_signed2.euicc_otpk.octets(), otpk);
    // Without that wish every session has its own key.
    assert_ne!(bench.session().euicc_otpk, otpk);
}

#[test]
fn only_the_running_session_can_be_cancelled_and_only_once() {
    let mut bench = Bench::new();
    let invalid = Err(CancelSessionError::INVALID_TRANSACTION_ID);
    assert_eq!(cancel(&mut bench, [7; 16]), invalid);
    bench.session();
    assert_eq!(cancel(&mut bench, [8; 16]), invalid);
    assert_eq!(cancel(&mut bench, [7; 16]), Ok(()));
    assert_eq!(cancel(&mut bench, [7; 16]), invalid);
}

#[test]
fn without_a_session_there_is_one_of_two_errors() {
    let mut bench = Bench::new();
    let undefined = Err(CancelSessionError::UNDEFINED_ERROR);
    bench.euicc.settings_mut().vague_cancel_error = true;
    assert_eq!(cancel(&mut bench, [7; 16]), undefined);
    bench.challenge();
    assert_eq!(cancel(&mut bench, [7; 16]), undefined);
    bench.session();
    let invalid = Err(CancelSessionError::INVALID_TRANSACTION_ID);
    assert_eq!(cancel(&mut bench, [8; 16]), invalid);
    assert_eq!(cancel(&mut bench, [7; 16]), Ok(()));
    assert_eq!(cancel(&mut bench, [7; 16]), undefined);
}

#[test]
fn a_missing_confirmation_code_is_the_servers_affair_or_the_cards() {
    for demanded in [false, true] {
        let mut bench = Bench::new();
        bench.euicc.settings_mut().hash_cc_demanded = demanded;
        let signature = signature_of({
            let authenticate = Authenticate::new(&bench.pki);
            bench.authenticate(&authenticate)
        });
        let without = Prepare {
            cc_required: true,
            ..Prepare::new(&bench.pki, signature.clone())
        };
        let answer = bench.prepare(&without);
        if demanded {
            let code = DownloadErrorCode::UNDEFINED_ERROR;
            assert_eq!(download_refusal(answer), code);
            let with = Prepare {
                hash_cc: Some([5; 32]),
                ..without
            };
            let PrepareDownloadResponse::DownloadResponseOk(ok) = bench.prepare(&with) else {
                panic!("the download was refused");
            };
            let hash = ok.euicc_signed2.hash_cc.as_ref().map(|hash| hash.octets());
            assert_eq!(hash, Some(&[5; 32][..]));
        } else {
            let PrepareDownloadResponse::DownloadResponseOk(ok) = answer else {
                panic!("the download was refused");
            };
            assert_eq!(ok.euicc_signed2.hash_cc, None);
        }
    }
}

#[test]
fn preparing_needs_a_server_that_proved_itself_in_this_session() {
    let mut bench = Bench::new();
    let none = DownloadErrorCode::NO_SESSION_CONTEXT;
    let early = Prepare::new(&bench.pki, vec![0; 67]);
    assert_eq!(download_refusal(bench.prepare(&early)), none);
    bench.challenge();
    assert_eq!(download_refusal(bench.prepare(&early)), none);
    let authenticate = Authenticate::new(&bench.pki);
    let signature = signature_of(bench.authenticate(&authenticate));
    let late = Prepare::new(&bench.pki, signature);
    bench.euicc.reset();
    bench.select();
    assert_eq!(download_refusal(bench.prepare(&late)), none);
}

#[test]
fn keys_are_kept_for_a_few_servers_only() {
    let mut bench = Bench::new();
    for number in 0..10 {
        let owner = format!("2.999.{number}");
        let (auth, auth_key) = issue(&bench.pki, &CertificateSpec::dp_auth(&owner, now()));
        let (binding, binding_key) = issue(&bench.pki, &CertificateSpec::dp_pb(&owner, now()));
        let authenticate = Authenticate {
            certificate: auth,
            key: auth_key,
            ..Authenticate::new(&bench.pki)
        };
        let signature = signature_of(bench.authenticate(&authenticate));
        let prepare = Prepare {
            certificate: binding,
            key: binding_key,
            ..Prepare::new(&bench.pki, signature)
        };
        let answer = bench.prepare(&prepare);
        assert!(matches!(
            answer,
            PrepareDownloadResponse::DownloadResponseOk(_)
        ));
    }
    let keys = &bench.euicc.memory().one_time_keys;
    let owners: Vec<String> = keys.iter().map(|key| key.owner.to_string()).collect();
    assert_eq!(owners, ["2.999.6", "2.999.7", "2.999.8", "2.999.9"]);
}

#[test]
fn a_session_with_an_sm_ds_is_cancelled_but_prepares_no_download() {
    let mut bench = Bench::new();
    let certificate = bench.pki.certificate(Role::DsAuth).unwrap().clone();
    let owner = certificate.owner().unwrap().clone();
    let authenticate = Authenticate {
        certificate,
        key: bench.pki.key(Role::DsAuth).unwrap().clone(),
        ..Authenticate::new(&bench.pki)
    };
    let signature = signature_of(bench.authenticate(&authenticate));
    let code = DownloadErrorCode::INVALID_CERTIFICATE;
    let prepare = Prepare::new(&bench.pki, signature);
    assert_eq!(download_refusal(bench.prepare(&prepare)), code);
    let response = bench.call(&CancelSessionRequest {
        transaction_id: TransactionId::from_octets(&[7; 16]).unwrap(),
        reason: CancelSessionReason::UNDEFINED_REASON,
    });
    let CancelSessionResponse::CancelSessionResponseOk(ok) = &*response else {
        panic!("the session was not cancelled");
    };
    assert_eq!(ok.euicc_cancel_session_signed.smdp_oid, owner);
}

#[test]
fn an_address_no_host_can_have_is_incorrect_data() {
    let mut bench = Bench::new();
    let challenge = bench.challenge();
    let server = Authenticate::new(&bench.pki);
    let request = server.to_der(&challenge);
    let mut parts: Vec<Vec<u8>> = Tlv::exact(&request)
        .and_then(|request| request.children())
        .unwrap()
        .iter()
        .map(|part| part.bytes.to_vec())
        .collect();
    let signed = Tlv::exact(&parts[0]).unwrap().children().unwrap();
    let mut signed: Vec<Vec<u8>> = signed.iter().map(|part| part.bytes.to_vec()).collect();
    signed[2] = tlv(0x83, &[b'x'; 256]);
    parts[0] = constructed(0x30, &signed);
    parts[1] = tlv(0x5F37, &server.key.sign(&parts[0]));
    let answer = bench.send(&constructed(0xBF38, &parts));
    assert_eq!(answer, Err(StatusWord::INCORRECT_DATA));
}

#[test]
fn some_cards_have_no_word_of_their_own_for_a_wrong_role() {
    let mut bench = Bench::new();
    for (vague, code) in [
        (false, AuthenticateErrorCode::INVALID_OID),
        (true, AuthenticateErrorCode::INVALID_CERTIFICATE),
    ] {
        bench.euicc.settings_mut().vague_role_error = vague;
        let request = Authenticate {
            certificate: bench.pki.certificate(Role::DpPb).unwrap().clone(),
            key: bench.pki.key(Role::DpPb).unwrap().clone(),
            ..Authenticate::new(&bench.pki)
        };
        assert_eq!(refusal(bench.authenticate(&request)), code);
    }
}
