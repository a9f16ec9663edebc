//! A session that was recorded with another implementation, signature by signature: signatures are
//! deterministic (RFC 6979), so that every answer must be the recorded one to the last octet.

use es10_apdu::types::{PprIds, RspCapability, UiccCapability, VersionType};
use rsp_common::certificate::{Certificate, Role};
use rsp_common::key::PrivateKey;
use rsp_common::pki::Pki;
use serde_json::Value;

use super::bench::Bench;
use crate::euicc::Settings;

struct Vectors(Value);

impl Vectors {
    fn load() -> Self {
        let json = include_str!("../../../../es10-apdu/vectors/vectors.json");
        Self(serde_json::from_str(json).unwrap())
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        hex::decode(self.0.pointer(path).unwrap().as_str().unwrap()).unwrap()
    }

    fn list(&self, path: &str) -> Vec<Vec<u8>> {
        let list = self.0.pointer(path).unwrap().as_array().unwrap();
        list.iter()
            .map(|item| hex::decode(item.as_str().unwrap()).unwrap())
            .collect()
    }

    /// The card of the recording.
    fn bench(&self) -> Bench {
        let mut pki = Pki::default();
        for (role, name) in [(Role::Ci, "CI"), (Role::Eum, "EUM"), (Role::Euicc, "EUICC")] {
            let der = self.bytes(&format!("/certificates/{name}"));
            let key = PrivateKey::from_scalar(&self.bytes(&format!("/privateKeys/{name}")));
            pki.insert(role, Certificate::parse(&der).unwrap(), key);
        }
        let settings = Settings {
            profile_version: VersionType([2, 3, 0]),
            svn: VersionType([2, 2, 2]),
            uicc_capability: UiccCapability(
                [1, 2, 3, 4, 5, 6, 7, 10, 11, 13, 14, 16, 17]
                    .iter()
                    .map(|bit| 1 << bit)
                    .sum(),
            ),
            rsp_capability: RspCapability(0b1001),
            forbidden_rules: PprIds(0b11),
            sas_accreditation_number: "VE-CT-UP-0001".into(),
            ..Settings::default()
        };
        let mut bench = Bench::with(pki, settings);
        bench
            .env
            .0
            .push_back(hex::decode("aabbccddeeff00112233445566778899").unwrap());
        bench.env.0.push_back(self.bytes("/privateKeys/OTEUICC"));
        bench
    }

    /// The recorded session up to PrepareDownload.
    fn prepared(&self) -> Bench {
        let mut bench = self.bench();
        for (request, response) in [
            (vec![0xBF, 0x2E, 0x00], "/es10/getEuiccChallengeResponse"),
            (
                self.bytes("/es10/authenticateServerRequest"),
                "/es10/authenticateServerResponse",
            ),
            (
                self.bytes("/es10/prepareDownloadRequest"),
                "/es10/prepareDownloadResponse",
            ),
        ] {
            assert_same(&bench.send(&request).unwrap(), &self.bytes(response));
        }
        bench
    }
}

fn assert_same(answer: &[u8], recorded: &[u8]) {
    assert_eq!(hex::encode(answer), hex::encode(recorded));
}

#[test]
fn information_is_the_recorded_one() {
    let (vectors, mut bench) = (Vectors::load(), Vectors::load().bench());
    assert_same(
        &bench.send(&[0xBF, 0x20, 0]).unwrap(),
        &vectors.bytes("/es10/euiccInfo1"),
    );
    assert_same(
        &bench.send(&[0xBF, 0x22, 0]).unwrap(),
        &vectors.bytes("/es10/euiccInfo2"),
    );
}

#[test]
fn both_recorded_packages_are_installed_with_the_recorded_result() {
    for package in ["bpp", "bppWithPpk"] {
        let vectors = Vectors::load();
        let mut bench = vectors.prepared();
        let segments = vectors.list(&format!("/{package}/segments"));
        let (last, before) = segments.split_last().unwrap();
        for segment in before {
            assert!(bench.send(segment).unwrap().is_empty());
        }
        assert_same(
            &bench.send(last).unwrap(),
            &vectors.bytes("/es10/pirSuccess"),
        );
        let profile = &bench.euicc.memory().profiles[0];
        assert_same(&profile.package, &vectors.bytes("/parts/upp"));
        assert_same(
            profile.metadata.bytes(),
            &vectors.bytes("/parts/storeMetadata"),
        );
    }
}

#[test]
fn notifications_are_the_recorded_ones() {
    let vectors = Vectors::load();
    let mut bench = vectors.prepared();
    for segment in vectors.list("/bpp/segments") {
        bench.send(&segment).unwrap();
    }
    let enable = hex::decode("bf3111a00c5a0a981000000000000010f9810100").unwrap();
    assert_same(
        &bench.send(&enable).unwrap(),
        &[0xBF, 0x31, 0x03, 0x80, 0x01, 0x00],
    );
    let list = bench.send(&[0xBF, 0x2B, 0x00]).unwrap();
    assert_same(
        &list,
        &vectors.bytes("/es10/retrieveNotificationsListResponse"),
    );
    let one = bench
        .send(&hex::decode("bf2b05a003800102").unwrap())
        .unwrap();
    let recorded = vectors.bytes("/es10/otherSignedNotificationEnable");
    assert!(one.ends_with(&recorded) && one.len() < recorded.len() + 12);
}

#[test]
fn a_cancelled_session_is_signed_as_recorded() {
    let vectors = Vectors::load();
    let mut bench = vectors.prepared();
    let answer = bench
        .send(&vectors.bytes("/es10/cancelSessionRequest"))
        .unwrap();
    assert_same(&answer, &vectors.bytes("/es10/cancelSessionResponse"));
}

#[test]
fn a_spoilt_signature_gives_the_recorded_error() {
    let vectors = Vectors::load();
    let mut bench = vectors.bench();
    bench.send(&[0xBF, 0x2E, 0x00]).unwrap();
    let mut request = vectors.bytes("/es10/authenticateServerRequest");
    let signature = vectors.bytes("/parts/serverSignature1");
    let at = request
        .windows(67)
        .position(|octets| octets == signature)
        .unwrap();
    request[at + 66] ^= 1;
    assert_same(
        &bench.send(&request).unwrap(),
        &vectors.bytes("/es10/authenticateServerError"),
    );
}

#[test]
fn the_recorded_apdus_of_a_long_request_are_taken() {
    let vectors = Vectors::load();
    let mut bench = vectors.bench();
    bench.send(&[0xBF, 0x2E, 0x00]).unwrap();
    let apdus = vectors.list("/authenticateServerApdus");
    for apdu in &apdus[..2] {
        assert_eq!(bench.handle(apdu).to_bytes(), [0x90, 0x00]);
    }
    assert_eq!(hex::encode(bench.handle(&apdus[2]).to_bytes()), "6100");
}
