use std::sync::Barrier;
use std::time::Duration;

use super::*;

fn pki() -> (Pki, PkiOptions) {
    let options = PkiOptions::default();
    (Pki::generate(&options).unwrap(), options)
}

fn folder() -> PathBuf {
    let suffix = hex::encode(random_suffix().unwrap());
    std::env::temp_dir().join(format!("lpad-pki-{suffix}"))
}

#[test]
fn a_fresh_pki_verifies_from_end_to_end() {
    let (pki, options) = pki();
    let now = Some(options.now);
    let ci = pki.certificate(Role::Ci).unwrap();
    let eum = pki.certificate(Role::Eum).unwrap();
    eum.verify_eum(ci, now).unwrap();
    let euicc = pki.certificate(Role::Euicc).unwrap();
    euicc.verify_euicc(eum, now).unwrap();
    assert_eq!(euicc.subject_serial_number(), Some(options.eid));
    assert_eq!(euicc.not_after(), 174_393_432_000);
    for role in [Role::DpAuth, Role::DpPb, Role::DpTls] {
        let certificate = pki.certificate(role).unwrap();
        certificate.verify_server(ci, now).unwrap();
        assert_eq!(certificate.roles().collect::<Vec<_>>(), [role]);
        assert_eq!(certificate.owner().unwrap().to_string(), "2.999.10");
        assert_eq!(
            certificate.public_key().unwrap(),
            pki.key(role).unwrap().public_key()
        );
    }
    assert_eq!(
        pki.certificate(Role::DpTls).unwrap().dns_names(),
        ["smdp.example.com"]
    );
    for role in [Role::DsAuth, Role::DsTls] {
        let certificate = pki.certificate(role).unwrap();
        certificate.verify_server(ci, now).unwrap();
        assert_eq!(certificate.roles().collect::<Vec<_>>(), [role]);
        assert_eq!(certificate.owner().unwrap().to_string(), "2.999.15");
    }
}

#[test]
fn a_folder_made_before_there_was_an_smds_loads_and_can_be_given_one() {
    let folder = folder();
    pki().0.save(&folder).unwrap();
    for file in ["dsauth.der", "dsauth.key", "dstls.der", "dstls.key"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    let mut pki = Pki::load(&folder).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(pki.certificate(Role::DsAuth).is_err());
    let hosts = ["ds.test".to_owned()];
    pki.issue_smds(&hosts, "2.999.16", SystemTime::now())
        .unwrap();
    let tls = pki.certificate(Role::DsTls).unwrap();
    assert_eq!(tls.dns_names(), hosts);
    assert!(pki.issue_smds(&hosts, "no oid", SystemTime::now()).is_err());
}

#[test]
fn each_fault_of_a_server_certificate_has_its_own_error() {
    type Fault = fn(&mut CertificateSpec);
    let (pki, options) = pki();
    let ci = pki.certificate(Role::Ci).unwrap();
    let day = Duration::from_secs(86_400);
    let cases: [(Fault, &str); 8] = [
        (|spec| spec.wrong_signature = true, "signature is wrong"),
        (
            |spec| spec.without_authority_key_identifier = true,
            "authorityKeyIdentifier",
        ),
        (|spec| spec.unknown_critical_extension = true, "2.999.99"),
        (|spec| spec.key_usage = None, "keyUsage"),
        (
            |spec| spec.key_usage = Some(KeyUsage::KeyAgreement),
            "keyUsage",
        ),
        (|spec| spec.rids.clear(), "registeredID"),
        (|spec| spec.policies.clear(), "certificatePolicies"),
        (
            |spec| spec.basic_constraints = Some(BasicConstraints { path_length: None }),
            "basicConstraints",
        ),
    ];
    let key = PrivateKey::generate().unwrap();
    for (fault, said) in cases {
        let mut spec = CertificateSpec::dp_auth("2.999.10", options.now);
        fault(&mut spec);
        let certificate = spec.issue(&key.public_key(), ci, pki.key(Role::Ci).unwrap());
        let error = certificate
            .verify_server(ci, Some(options.now))
            .unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let spec = CertificateSpec::dp_auth("2.999.10", options.now);
    let certificate = spec.issue(&key.public_key(), ci, pki.key(Role::Ci).unwrap());
    let at = |time| certificate.verify_server(ci, Some(time)).unwrap_err();
    assert_eq!(at(options.now - 2 * day), CertificateError::NotYetValid);
    assert_eq!(at(options.now + 3_660 * day), CertificateError::Expired);
    assert_eq!(certificate.verify_server(ci, None), Ok(()));
    assert!(matches!(
        certificate.role(&[Role::DpPb]),
        Err(CertificateError::WrongRole(_))
    ));
    let own = spec.self_sign(&key);
    let error = own.verify_server(ci, None).unwrap_err();
    assert_eq!(error, CertificateError::MissingAuthorityKeyIdentifier);
    let (other, _) = self::pki();
    let error = certificate
        .verify_server(other.certificate(Role::Ci).unwrap(), None)
        .unwrap_err();
    assert!(matches!(error, CertificateError::UnknownIssuer(_)));
}

#[test]
fn a_pki_of_several_curves_keeps_their_order_in_a_folder() {
    let options = PkiOptions {
        curves: vec![Curve::Brainpool, Curve::Nist],
        ..PkiOptions::default()
    };
    let folder = folder();
    Pki::generate(&options).unwrap().save(&folder).unwrap();
    let pki = Pki::load(&folder).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let curves = pki.hierarchies().map(|hierarchy| {
        let ci = hierarchy.certificate(Role::Ci).unwrap();
        let eum = hierarchy.certificate(Role::Eum).unwrap();
        eum.verify_eum(ci, Some(options.now)).unwrap();
        let auth = hierarchy.certificate(Role::DpAuth).unwrap();
        auth.verify_server(ci, Some(options.now)).unwrap();
        auth.public_key_on_curve_of(ci).unwrap().curve()
    });
    assert_eq!(curves.collect::<Vec<_>>(), options.curves);
    assert_eq!(pki.key(Role::DpAuth).unwrap().curve(), Curve::Brainpool);
    assert_eq!(pki.key(Role::DpTls).unwrap().curve(), Curve::Nist);
}

#[test]
fn a_brainpool_pki_has_an_issuer_of_its_own_for_tls() {
    let options = PkiOptions {
        curves: vec![Curve::Brainpool],
        ..PkiOptions::default()
    };
    let mut pki = Pki::generate(&options).unwrap();
    pki.issue_tls(&["localhost".into()], options.now).unwrap();
    let hierarchy = pki.hierarchy(Role::DpTls);
    let ci = hierarchy.certificate(Role::Ci).unwrap();
    let tls = pki.certificate(Role::DpTls).unwrap();
    tls.verify_server(ci, Some(options.now)).unwrap();
    assert_eq!(tls.dns_names(), ["localhost"]);
    assert_eq!(pki.key(Role::DpTls).unwrap().curve(), Curve::Nist);
    assert_eq!(pki.hierarchies().count(), 2);
    assert!(hierarchy.certificate(Role::Euicc).is_err());
}

#[test]
fn an_euicc_outside_its_manufacturers_range_is_refused() {
    let (mut pki, options) = pki();
    let spec = CertificateSpec::euicc("89033123123451234512345678901224", options.now);
    pki.issue(Role::Euicc, Role::Eum, &spec).unwrap();
    let eum = pki.certificate(Role::Eum).unwrap();
    let refused = pki
        .certificate(Role::Euicc)
        .unwrap()
        .verify_euicc(eum, None);
    assert_eq!(refused, Err(CertificateError::NameConstraints));
    let mut spec = CertificateSpec::euicc(&options.eid, options.now);
    spec.subject[1].1 = "Another EUM".into();
    pki.issue(Role::Euicc, Role::Eum, &spec).unwrap();
    let eum = pki.certificate(Role::Eum).unwrap();
    let refused = pki
        .certificate(Role::Euicc)
        .unwrap()
        .verify_euicc(eum, None);
    assert_eq!(refused, Err(CertificateError::NameConstraints));
}

#[test]
fn programs_started_together_on_one_folder_agree() {
    let folder = folder().join("pki");
    let barrier = Barrier::new(4);
    let identifiers = std::thread::scope(|scope| {
        let start = || {
            barrier.wait();
            let pki = Pki::load_or_create(&folder, &PkiOptions::default()).unwrap();
            pki.certificate(Role::Euicc).unwrap().der().to_vec()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(identifiers.windows(2).all(|pair| pair[0] == pair[1]));
    let parent = folder.parent().unwrap();
    assert_eq!(
        fs::read_dir(parent).unwrap().count(),
        1,
        "no draft is left behind"
    );
    fs::remove_dir_all(parent).unwrap();
}

#[test]
fn a_card_needs_no_server_keys_but_its_own() {
    let folder = folder();
    let (pki, _) = pki();
    pki.save(&folder).unwrap();
    for file in ["dpauth.key", "dppb.der", "dppb.key", "euicc.key"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    let loaded = Pki::load(&folder).unwrap();
    assert!(loaded.certificate(Role::DpAuth).is_ok());
    let missing = loaded.key(Role::Euicc).unwrap_err();
    assert_eq!(missing.to_string(), "the PKI has no euicc.key");
    assert!(loaded.certificate(Role::DpPb).is_err());
    fs::write(
        folder.join("eum.key"),
        loaded.key(Role::Ci).unwrap().to_pem(),
    )
    .unwrap();
    assert!(matches!(
        Pki::load(&folder),
        Err(PkiError::KeyMismatch { .. })
    ));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_tls_certificate_is_issued_for_further_hosts() {
    let (mut pki, options) = pki();
    pki.issue_tls(&["localhost".into(), "dp.test".into()], options.now)
        .unwrap();
    let tls = pki.certificate(Role::DpTls).unwrap();
    assert_eq!(tls.dns_names(), ["localhost", "dp.test"]);
    tls.verify_server(pki.certificate(Role::Ci).unwrap(), Some(options.now))
        .unwrap();
}

#[test]
fn every_variant_has_a_name_of_its_own_and_survives_a_folder() {
    let (right, options) = pki();
    let mut names = Variant::NAMES.to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Variant::all().count());
    for name in Variant::NAMES {
        let variant: Variant = name.parse().unwrap();
        let mut pki = right.clone();
        variant.apply(&mut pki, options.now).unwrap();
        let role = variant.role();
        let certificate = pki.certificate(role).unwrap();
        assert_ne!(certificate.der(), right.certificate(role).unwrap().der());
        let key = pki.key(role).unwrap().public_key();
        assert_eq!(certificate.public_key().unwrap(), key, "{name}");
        let folder = folder();
        pki.save(&folder).unwrap();
        let loaded = Pki::load(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let octets = |pki: &Pki| {
            let chain = pki.chain(role).unwrap();
            chain
                .iter()
                .map(|one| one.der().to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(octets(&loaded), octets(&pki), "{name}");
    }
    assert!("eum-too-late".parse::<Variant>().is_err());
}

#[test]
fn variant_c_has_two_subordinate_cas_that_lead_to_the_issuer() {
    let (mut pki, options) = pki();
    let variant: Variant = "dptls-chain-c".parse().unwrap();
    variant.apply(&mut pki, options.now).unwrap();
    let mut chain = pki.chain(Role::DpTls).unwrap();
    assert_eq!(chain.len(), 3);
    chain.push(pki.certificate(Role::Ci).unwrap().clone());
    for pair in chain.windows(2) {
        assert_eq!(
            pair[0].authority_key_identifier(),
            pair[1].subject_key_identifier()
        );
    }
}
