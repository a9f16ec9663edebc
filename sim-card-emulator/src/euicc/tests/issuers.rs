//! Cards of several certificate issuers, and of curves other than NIST P-256.

use es10_apdu::asn1::read;
use es10_apdu::es10b::{
    AuthenticateErrorCode, AuthenticateServerResponse, DownloadErrorCode, GetEuiccInfo1Request,
    GetEuiccInfo2Request, OtherSignedNotification, PrepareDownloadResponse,
};
use es10_apdu::types::SubjectKeyIdentifier;
use rsp_common::certificate::Role;
use rsp_common::key::{Curve, PrivateKey, PublicKey};
use rsp_common::pki::{CertificateSpec, Hierarchy, Pki, PkiOptions};

use super::bench::{Authenticate, Bench, ICCID, Prepare, configuration, now, signature_of};
use crate::euicc::{Identity, PersonalisationError, Settings};

/// notificationEvent of a deletion, as a BIT STRING.
const DELETE: [u8; 2] = [0x04, 0x10];

fn pki(curves: &[Curve]) -> Pki {
    let options = PkiOptions {
        curves: curves.to_vec(),
        ..PkiOptions::default()
    };
    Pki::generate(&options).unwrap()
}

fn bench(curves: &[Curve]) -> Bench {
    Bench::with(pki(curves), Settings::default())
}

fn identifier(hierarchy: &Hierarchy) -> Vec<u8> {
    let ci = hierarchy.certificate(Role::Ci).unwrap();
    ci.subject_key_identifier().unwrap().to_vec()
}

/// The server of one hierarchy asks for the eUICC's certificate of another.
fn authenticate(bench: &Bench, server: usize, euicc: usize) -> Authenticate {
    let all: Vec<_> = bench.pki.hierarchies().collect();
    Authenticate {
        certificate: all[server].certificate(Role::DpAuth).unwrap().clone(),
        key: all[server].key(Role::DpAuth).unwrap().clone(),
        ci_key_identifier: identifier(all[euicc]),
        ..Authenticate::new(&bench.pki)
    }
}

#[test]
fn a_profile_is_installed_below_a_brainpool_issuer() {
    let mut bench = bench(&[Curve::Brainpool]);
    let package = bench.session();
    let result = bench.load(&package.segments()).unwrap();
    assert_eq!(
        bench.pki.key(Role::Euicc).unwrap().curve(),
        Curve::Brainpool
    );
    let key = bench.pki.key(Role::Euicc).unwrap().public_key();
    let data = &result.profile_installation_result_data;
    assert!(key.verifies(data.bytes(), result.euicc_sign_pir.contents()));
    assert_eq!(bench.euicc.memory().profiles.len(), 1);
}

#[test]
fn the_lists_hold_the_issuers_in_order_and_more_to_verify_than_to_sign() {
    let mut bench = bench(&[Curve::Brainpool]);
    let all: Vec<_> = bench.pki.hierarchies().map(identifier).collect();
    assert_eq!(all.len(), 2);
    let info = bench.call(&GetEuiccInfo1Request {});
    let octets = |list: &[SubjectKeyIdentifier]| {
        list.iter()
            .map(|id| id.octets().to_vec())
            .collect::<Vec<_>>()
    };
    assert_eq!(octets(&info.euicc_ci_pk_id_list_for_verification), all);
    assert_eq!(octets(&info.euicc_ci_pk_id_list_for_signing), all[..1]);
    let info = bench.call(&GetEuiccInfo2Request {});
    assert_eq!(octets(&info.euicc_ci_pk_id_list_for_verification), all);
    assert_eq!(octets(&info.euicc_ci_pk_id_list_for_signing), all[..1]);
}

#[test]
fn the_chain_the_server_names_signs_the_session() {
    let mut bench = bench(&[Curve::Nist, Curve::Brainpool]);
    for (server, euicc) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let request = authenticate(&bench, server, euicc);
        let AuthenticateServerResponse::AuthenticateResponseOk(ok) = bench.authenticate(&request)
        else {
            panic!("the server was refused");
        };
        let hierarchy = bench.pki.hierarchies().nth(euicc).unwrap();
        let own = hierarchy.certificate(Role::Euicc).unwrap();
        assert_eq!(ok.euicc_certificate.bytes(), own.der());
        let eum = hierarchy.certificate(Role::Eum).unwrap();
        assert_eq!(ok.eum_certificate.bytes(), eum.der());
        let key = own.public_key().unwrap();
        assert!(key.verifies(ok.euicc_signed1.bytes(), ok.euicc_signature1.contents()));
    }
}

#[test]
fn a_download_stays_with_the_issuer_of_the_session_and_on_its_curve() {
    let mut bench = bench(&[Curve::Nist, Curve::Brainpool]);
    let request = authenticate(&bench, 1, 0);
    let signature = signature_of(bench.authenticate(&request));
    let prepare = Prepare::new(&bench.pki, signature.clone());
    let PrepareDownloadResponse::DownloadResponseError(error) = bench.prepare(&prepare) else {
        panic!("a certificate of another issuer was accepted");
    };
    assert_eq!(
        error.download_error_code,
        DownloadErrorCode::INVALID_CERTIFICATE
    );
    let hierarchy = bench.pki.hierarchies().nth(1).unwrap();
    let prepare = Prepare {
        certificate: hierarchy.certificate(Role::DpPb).unwrap().clone(),
        key: hierarchy.key(Role::DpPb).unwrap().clone(),
        ..prepare
    };
    let PrepareDownloadResponse::DownloadResponseOk(ok) = bench.prepare(&prepare) else {
        panic!("the download was refused");
    };
    let otpk = PublicKey::from_point(ok.euicc_signed2.euicc_otpk.octets());
    assert_eq!(otpk.unwrap().curve(), Curve::Brainpool);
}

#[test]
fn notifications_of_a_profile_are_signed_by_the_chain_that_installed_it() {
    let mut bench = bench(&[Curve::Nist, Curve::Brainpool]);
    let both = bench.pki.clone();
    let brainpool = both.hierarchies().nth(1).unwrap();
    bench.pki = brainpool.clone().into();
    let events = configuration(&[DELETE]);
    bench.install(ICCID, &[events]);
    // A later session with the other chain changes nothing.
    bench.pki = both.clone();
    bench.session();
    let delete = hex::decode("BF330C5A0A981000000000000010F9").unwrap();
    assert_eq!(bench.send(&delete).unwrap(), [0xBF, 0x33, 3, 0x80, 1, 0]);
    let notification = bench.euicc.memory().notifications.last().unwrap();
    let signed: OtherSignedNotification = read(&notification.der).unwrap();
    let own = brainpool.certificate(Role::Euicc).unwrap();
    assert_eq!(signed.euicc_certificate.bytes(), own.der());
    let metadata = signed.tbs_other_notification.bytes();
    let signature = signed.euicc_notification_signature.contents();
    assert!(own.public_key().unwrap().verifies(metadata, signature));
}

#[test]
fn a_card_without_keys_lists_none_and_knows_no_server() {
    for (verification, signing) in [(true, true), (true, false), (false, true)] {
        let settings = Settings {
            no_verification_keys: verification,
            no_signing_keys: signing,
            ..Settings::default()
        };
        let mut bench = Bench::with(pki(&[Curve::Nist]), settings);
        let info = bench.call(&GetEuiccInfo1Request {});
        let lengths = (
            info.euicc_ci_pk_id_list_for_verification.len(),
            info.euicc_ci_pk_id_list_for_signing.len(),
        );
        assert_eq!(lengths, (usize::from(!verification), usize::from(!signing)));
        if verification && signing {
            let info = hex::encode_upper(bench.send(&[0xBF, 0x20, 0x00]).unwrap());
            assert!(info.ends_with("A900AA00"), "{info}");
        }
        let request = Authenticate::new(&bench.pki);
        let AuthenticateServerResponse::AuthenticateResponseError(error) =
            bench.authenticate(&request)
        else {
            panic!("the server was accepted");
        };
        assert_eq!(
            error.authenticate_error_code,
            AuthenticateErrorCode::CI_PK_UNKNOWN
        );
    }
}

#[test]
fn chains_of_different_cards_are_no_identity() {
    let mut pki = pki(&[Curve::Nist]);
    let other = PkiOptions {
        eid: "89049032123451234512345678901332".into(),
        ..PkiOptions::default()
    };
    pki.add(Pki::generate(&other).unwrap());
    assert!(matches!(
        Identity::from_pki(&pki),
        Err(PersonalisationError::DifferentEids(..))
    ));
}

/// A test eUICC may carry a certificate below the CI certificate of 2017 while servers are below
/// that of 2020: the issuer is its key, whatever it is called.
#[test]
fn an_issuer_is_known_by_its_key_and_not_by_its_name() {
    let mut bench = bench(&[Curve::Nist]);
    let hierarchy = bench.pki.hierarchy(Role::Ci);
    let key = hierarchy.key(Role::Ci).unwrap();
    let mut spec = CertificateSpec::ci(now());
    spec.subject[0].1 = "Another name".into();
    let renamed = spec.self_sign(key);
    let spec = CertificateSpec::dp_auth("2.999.10", now());
    let own = PrivateKey::generate().unwrap();
    let request = Authenticate {
        certificate: spec.issue(&own.public_key(), &renamed, key),
        key: own,
        ..Authenticate::new(&bench.pki)
    };
    signature_of(bench.authenticate(&request));
}
