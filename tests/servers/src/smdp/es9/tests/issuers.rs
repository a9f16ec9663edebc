//! Servers and eUICCs of several issuers, and certificates that must be refused.

use rsp_common::key::Curve;
use rsp_common::pki::{Hierarchy, Variant};

use super::*;

fn rig_of(curves: &[Curve]) -> Rig {
    let options = PkiOptions {
        curves: curves.to_vec(),
        ..PkiOptions::default()
    };
    Rig::with_pki(Pki::generate(&options).unwrap())
}

fn identifier(hierarchy: &Hierarchy) -> SubjectKeyIdentifier {
    let ci = hierarchy.certificate(Role::Ci).unwrap();
    SubjectKeyIdentifier::from_octets(ci.subject_key_identifier().unwrap()).unwrap()
}

fn info(verification: &[&SubjectKeyIdentifier], signing: &[&SubjectKeyIdentifier]) -> EuiccInfo1 {
    let list = |all: &[&SubjectKeyIdentifier]| all.iter().copied().cloned().collect::<Vec<_>>();
    EuiccInfo1 {
        svn: VersionType([2, 2, 2]),
        euicc_ci_pk_id_list_for_verification: list(verification).into(),
        euicc_ci_pk_id_list_for_signing: list(signing).into(),
    }
}

#[test]
fn the_server_shows_what_the_euicc_can_verify_and_takes_the_key_it_prefers() {
    let mut rig = rig_of(&[Curve::Nist, Curve::Brainpool]);
    let all: Vec<_> = rig.pki.hierarchies().cloned().collect();
    let [a, b] = &[identifier(&all[0]), identifier(&all[1])];
    let x = &SubjectKeyIdentifier::from_octets(&[7; 20]).unwrap();
    for (own, verification, chosen, signing) in [
        (0, vec![a], 0, vec![a]),
        (1, vec![b], 0, vec![a, b]),
        (0, vec![a], 1, vec![b, a]),
        (1, vec![x, b], 1, vec![x, b]),
    ] {
        let answer = rig.initiate(HOST, &info(&verification, &signing)).unwrap();
        let certificate = all[own].certificate(Role::DpAuth).unwrap();
        assert_eq!(octets(&answer, "serverCertificate"), certificate.der());
        let used = octets(&answer, "euiccCiPKIdToBeUsed");
        assert_eq!(used[2..], *identifier(&all[chosen]).octets());
        let signed = octets(&answer, "serverSigned1");
        let signature = &octets(&answer, "serverSignature1")[3..];
        let key = certificate.public_key().unwrap();
        assert!(key.verifies(&signed, signature));
    }
    for (verification, signing, refusal) in [
        (&[][..], &[][..], StatusCode::NO_VERIFICATION_ISSUER),
        (&[x], &[a], StatusCode::NO_VERIFICATION_ISSUER),
        (&[a], &[x], StatusCode::NO_SIGNING_ISSUER),
        (&[a], &[], StatusCode::NO_SIGNING_ISSUER),
    ] {
        let refused = rig.initiate(HOST, &info(verification, signing));
        assert_eq!(refused.unwrap_err(), refusal);
    }
}

#[test]
fn an_euicc_below_another_issuer_than_the_chosen_one_is_refused() {
    let mut rig = rig_of(&[Curve::Nist, Curve::Brainpool]);
    let [first, second] = [0, 1].map(|nth| rig.pki.hierarchies().nth(nth).map(identifier).unwrap());
    let answer = rig.initiate(HOST, &info(&[&first], &[&second])).unwrap();
    let server: ServerSigned1 = asn1::read(&octets(&answer, "serverSigned1")).unwrap();
    let proof = rig.proof(&server);
    let refused = rig.authenticate(&server.transaction_id, &proof.response());
    assert_eq!(refused.unwrap_err(), StatusCode::UNKNOWN_ISSUER);
}

#[test]
fn the_server_answers_what_each_variant_of_a_certificate_says() {
    let right = Rig::new();
    for variant in Variant::all() {
        let said = variant.explanation().rsplit(' ').next().unwrap_or_default();
        // Without its TLS certificate no client gets that far.
        if variant.role() == Role::DpTls {
            continue;
        }
        let mut pki = right.pki.clone();
        variant.apply(&mut pki, SystemTime::now()).unwrap();
        let mut rig = Rig::with_pki(pki);
        rig.order(|order| order.eid = Some(right.eid.clone()));
        let answer = match variant.role() {
            Role::Eum | Role::Euicc => {
                let server = rig.session();
                let proof = rig.proof(&server);
                rig.authenticate(&server.transaction_id, &proof.response())
            }
            Role::DpAuth if said.contains('/') => rig.initiate(HOST, &right.euicc_info1()),
            _ => continue,
        };
        assert_eq!(answer.unwrap_err().to_string(), said, "{variant}");
    }
}
