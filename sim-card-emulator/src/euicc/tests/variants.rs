//! The named variants of certificates, shown to a card or held by one.

use es10_apdu::es10b::{AuthenticateServerResponse, PrepareDownloadResponse};
use rsp_common::certificate::Role;
use rsp_common::pki::{Pki, Variant};

use super::bench::{Authenticate, Bench, Prepare, now, signature_of};
use crate::euicc::{Euicc, Identity, NonVolatile, Settings};

/// The code a variant's explanation says the card answers.
fn code_of(variant: Variant) -> Option<i64> {
    let (_, rest) = variant.explanation().split_once("the card answers ")?;
    let (_, code) = rest.split_once('(')?;
    code.trim_end_matches(')').parse().ok()
}

fn applied(variant: Variant, pki: &Pki) -> Pki {
    let mut pki = pki.clone();
    variant.apply(&mut pki, now()).unwrap();
    pki
}

#[test]
fn the_card_answers_what_each_variant_of_a_server_certificate_says() {
    let mut bench = Bench::new();
    for variant in Variant::all().filter(|variant| variant.role() == Role::DpAuth) {
        let request = Authenticate::new(&applied(variant, &bench.pki));
        let code = match bench.authenticate(&request) {
            AuthenticateServerResponse::AuthenticateResponseError(error) => {
                Some(error.authenticate_error_code.0)
            }
            AuthenticateServerResponse::AuthenticateResponseOk(_) => None,
        };
        match variant.name() {
            "dpauth-no-aki" => assert_eq!(code, Some(1)),
            "dpauth-unknown-ci" | "dpauth-brainpool-only" => assert_eq!(code, Some(7)),
            name => assert_eq!(code, code_of(variant), "{name}"),
        }
    }
    let good = Authenticate::new(&bench.pki);
    let signature = signature_of(bench.authenticate(&good));
    for variant in Variant::all().filter(|variant| variant.role() == Role::DpPb) {
        let request = Prepare::new(&applied(variant, &bench.pki), signature.clone());
        let PrepareDownloadResponse::DownloadResponseError(error) = bench.prepare(&request) else {
            panic!("{variant} was accepted");
        };
        assert_eq!(
            Some(error.download_error_code.0),
            code_of(variant),
            "{variant}"
        );
    }
}

#[test]
fn a_card_can_be_given_certificates_that_servers_must_refuse() {
    let bench = Bench::new();
    for variant in Variant::all() {
        if !matches!(variant.role(), Role::Eum | Role::Euicc) {
            continue;
        }
        let pki = applied(variant, &bench.pki);
        let is_right = matches!(
            variant.name(),
            "eum-expired" | "euicc-expired" | "euicc-other-eid"
        );
        assert_eq!(Identity::from_pki(&pki).is_ok(), is_right, "{variant}");
        let identity = Identity::from_pki_unverified(&pki).unwrap();
        let euicc = Euicc::new(identity, Settings::default(), NonVolatile::default());
        let mut faulty = Bench {
            euicc,
            env: super::bench::Script::default(),
            pki,
        };
        faulty.select();
        let request = Authenticate::new(&faulty.pki);
        let AuthenticateServerResponse::AuthenticateResponseOk(ok) = faulty.authenticate(&request)
        else {
            panic!("{variant} made the card refuse the server");
        };
        let shown = match variant.role() {
            Role::Eum => ok.eum_certificate.bytes(),
            _ => ok.euicc_certificate.bytes(),
        };
        assert_ne!(shown, bench.pki.certificate(variant.role()).unwrap().der());
        assert_eq!(shown, faulty.pki.certificate(variant.role()).unwrap().der());
    }
}
