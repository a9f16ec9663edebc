use std::time::Duration;

use es10_apdu::apdu::StatusWord;
use es10_apdu::es10b::{
    AuthenticateErrorCode, AuthenticateServerResponse, CertificateList, DownloadErrorCode,
    LoadCrlError, LoadCrlRequest, LoadCrlResponse, PrepareDownloadResponse,
};
use es10_apdu::function::Es10Function;
use es10_apdu::types::RspCapability;
use rsp_common::certificate::Role;
use rsp_common::crl::{CrlSpec, Part, serial_number};
use rsp_common::pki::{Pki, PkiOptions};

use super::bench::{Authenticate, Bench, ICCID, Prepare, now, signature_of};
use crate::euicc::Euicc;

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.euicc.settings_mut().rsp_capability = RspCapability::CRL_SUPPORT;
    bench
}

fn request(pki: &Pki, spec: &CrlSpec) -> LoadCrlRequest {
    let (ci, key) = (
        pki.certificate(Role::Ci).unwrap(),
        pki.key(Role::Ci).unwrap(),
    );
    let crl = CertificateList::from_ber(&spec.issue(ci, key)).unwrap();
    LoadCrlRequest { crl }
}

/// Loads a list; gives the missing parts.
fn load(bench: &mut Bench, spec: &CrlSpec) -> Result<Vec<i64>, LoadCrlError> {
    let before = bench.euicc.memory().crls.clone();
    match bench.call(&request(&bench.pki, spec)) {
        LoadCrlResponse::LoadCrlResponseOk(ok) => {
            let parts = ok.0.missing_parts.unwrap_or_default();
            Ok(parts.iter().map(|part| part.0).collect())
        }
        LoadCrlResponse::LoadCrlResponseError(error) => {
            assert_eq!(bench.euicc.memory().crls, before);
            Err(error)
        }
    }
}

fn revoking(bench: &Bench, role: Role, number: u64) -> CrlSpec {
    let certificate = bench.pki.certificate(role).unwrap();
    CrlSpec {
        revoked: vec![serial_number(certificate).unwrap()],
        ..CrlSpec::new(number, now())
    }
}

fn authentication(bench: &mut Bench) -> Result<Vec<u8>, AuthenticateErrorCode> {
    let request = Authenticate::new(&bench.pki);
    match bench.authenticate(&request) {
        AuthenticateServerResponse::AuthenticateResponseError(error) => {
            Err(error.authenticate_error_code)
        }
        ok => Ok(signature_of(ok)),
    }
}

#[test]
fn only_an_euicc_with_that_capability_has_the_function() {
    let mut bench = Bench::new();
    let spec = CrlSpec::new(1, now());
    let request = request(&bench.pki, &spec).to_der();
    let unknown = Err(StatusWord::REFERENCED_DATA_NOT_FOUND);
    assert_eq!(bench.send(&request), unknown);
    bench.euicc.settings_mut().rsp_capability = RspCapability::CRL_SUPPORT;
    assert_eq!(bench.send(&request), Ok(vec![0xBF, 0x35, 0x02, 0xA0, 0x00]));
    let malformed = bench.send(&[&request[..], &[0]].concat());
    assert_eq!(malformed, Err(StatusWord::INCORRECT_DATA));
}

#[test]
fn a_revoked_server_is_refused_also_after_a_reset() {
    let mut bench = bench();
    authentication(&mut bench).unwrap();
    let spec = revoking(&bench, Role::DpAuth, 1);
    assert_eq!(load(&mut bench, &spec), Ok(Vec::new()));
    bench.euicc.reset();
    bench.select();
    let code = AuthenticateErrorCode::INVALID_CERTIFICATE;
    assert_eq!(authentication(&mut bench), Err(code));
    bench.euicc.settings_mut().v3_answers = true;
    let code = AuthenticateErrorCode::REVOKED_CERT;
    assert_eq!(authentication(&mut bench), Err(code));
    // The next list pardons it.
    load(&mut bench, &CrlSpec::new(2, now())).unwrap();
    authentication(&mut bench).unwrap();
}

#[test]
fn a_revoked_binding_certificate_ends_the_download() {
    let mut bench = bench();
    let spec = revoking(&bench, Role::DpPb, 1);
    load(&mut bench, &spec).unwrap();
    let signature = authentication(&mut bench).unwrap();
    let PrepareDownloadResponse::DownloadResponseError(error) =
        bench.prepare(&Prepare::new(&bench.pki, signature))
    else {
        panic!("the download was accepted");
    };
    let code = DownloadErrorCode::INVALID_CERTIFICATE;
    assert_eq!(error.download_error_code, code);
}

#[test]
fn a_list_must_be_sound_and_of_a_known_issuer() {
    let mut bench = bench();
    let good = CrlSpec::new(1, now());
    let spoilt = CrlSpec {
        wrong_signature: true,
        ..good.clone()
    };
    assert_eq!(
        load(&mut bench, &spoilt),
        Err(LoadCrlError::INVALID_SIGNATURE)
    );
    let odd = CrlSpec {
        unknown_critical_extension: true,
        ..good.clone()
    };
    assert_eq!(
        load(&mut bench, &odd),
        Err(LoadCrlError::INVALID_CRL_FORMAT)
    );
    let foreign = request(&Pki::generate(&PkiOptions::default()).unwrap(), &good);
    let LoadCrlResponse::LoadCrlResponseError(error) = bench.call(&foreign) else {
        panic!("the list was taken");
    };
    assert_eq!(error, LoadCrlError::VERIFICATION_KEY_NOT_FOUND);
}

#[test]
fn a_fresher_list_stays() {
    let mut bench = bench();
    load(&mut bench, &CrlSpec::new(5, now())).unwrap();
    let fresher = Err(LoadCrlError::FRESHER_CRL_ALREADY_LOADED);
    assert_eq!(load(&mut bench, &CrlSpec::new(4, now())), fresher);
    let earlier = CrlSpec::new(6, now() - Duration::from_secs(60));
    assert_eq!(load(&mut bench, &earlier), fresher);
    load(&mut bench, &CrlSpec::new(5, now())).unwrap();
    load(&mut bench, &CrlSpec::new(6, now())).unwrap();
    assert_eq!(bench.euicc.memory().crls.len(), 1);
}

#[test]
fn a_delta_needs_its_base_and_is_taken_over_by_the_next_whole_list() {
    let mut bench = bench();
    let delta = CrlSpec {
        base: Some(5),
        ..revoking(&bench, Role::DpAuth, 7)
    };
    let missing = Err(LoadCrlError::BASE_CRL_MISSING);
    assert_eq!(load(&mut bench, &delta), missing);
    load(&mut bench, &CrlSpec::new(4, now())).unwrap();
    assert_eq!(load(&mut bench, &delta), missing);
    load(&mut bench, &CrlSpec::new(5, now())).unwrap();
    assert_eq!(load(&mut bench, &delta), Ok(Vec::new()));
    assert!(authentication(&mut bench).is_err());
    load(&mut bench, &CrlSpec::new(8, now())).unwrap();
    assert!(authentication(&mut bench).is_ok());
    assert_eq!(bench.euicc.memory().crls.len(), 1);
}

#[test]
fn a_list_in_parts_says_which_are_missing() {
    let mut bench = bench();
    let part = |number| CrlSpec {
        part: Some(Part { number, total: 3 }),
        ..CrlSpec::new(1, now())
    };
    assert_eq!(load(&mut bench, &part(2)), Ok(vec![1, 3]));
    assert_eq!(load(&mut bench, &part(2)), Ok(vec![1, 3]));
    let delta = CrlSpec {
        base: Some(1),
        ..CrlSpec::new(2, now())
    };
    assert_eq!(
        load(&mut bench, &delta),
        Err(LoadCrlError::BASE_CRL_MISSING)
    );
    assert_eq!(load(&mut bench, &part(3)), Ok(vec![1]));
    let last = CrlSpec {
        revoked: revoking(&bench, Role::DpAuth, 1).revoked,
        ..part(1)
    };
    assert_eq!(load(&mut bench, &last), Ok(vec![]));
    assert!(authentication(&mut bench).is_err());
    assert_eq!(load(&mut bench, &delta), Ok(vec![]));
}

#[test]
fn lists_share_the_memory_with_profiles() {
    let mut bench = bench();
    let free = bench.euicc.free_memory();
    let spec = CrlSpec::new(1, now());
    load(&mut bench, &spec).unwrap();
    let size = bench.euicc.memory().crls[0].der.len();
    assert_eq!(bench.euicc.free_memory(), free - size);
    bench.install(ICCID, &[]);
    // Signatures differ in length by a few octets.
    bench.euicc.settings_mut().memory = free - bench.euicc.free_memory() + 8;
    assert_eq!(bench.euicc.free_memory(), 8);
    // A list as long as the one it replaces fits, a longer one does not.
    load(&mut bench, &CrlSpec::new(2, now())).unwrap();
    let longer = revoking(&bench, Role::DpAuth, 3);
    let full = Err(LoadCrlError::NOT_ENOUGH_MEMORY_SPACE);
    assert_eq!(load(&mut bench, &longer), full);
    // Lists survive power loss and a memory reset.
    let identity = bench.euicc.identity().clone();
    let (settings, memory) = (bench.euicc.settings().clone(), bench.euicc.memory().clone());
    bench.euicc = Euicc::new(identity, settings, memory);
    bench.select();
    bench
        .send(&[0xBF, 0x34, 0x04, 0x82, 0x02, 0x05, 0xE0])
        .unwrap();
    assert_eq!(bench.euicc.memory().crls.len(), 1);
}
