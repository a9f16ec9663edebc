//! An eUICC on a table, and a server that can be told to make mistakes.

use std::collections::VecDeque;
use std::time::SystemTime;

use es10_apdu::apdu::{Response, StatusWord};
use es10_apdu::asn1::{Raw, read};
use es10_apdu::es10b::{
    AuthenticateServerResponse, ErrorResult, FinalResult, PrepareDownloadResponse,
    ProfileInstallationResult,
};
use es10_apdu::function::Es10Function;
use rsp_common::bsp::{Bsp, BspKeys};
use rsp_common::certificate::{Certificate, Role};
use rsp_common::der::{constructed, tlv, unsigned};
use rsp_common::key::{Curve, PrivateKey, PublicKey};
use rsp_common::pki::{CertificateSpec, Pki, PkiOptions};

use crate::euicc::{Env, Euicc, Identity, NonVolatile, Settings, SystemRandom};

pub(crate) const ADDRESS: &[u8] = b"smdp.example.com";
pub(crate) const ISDR: &str = "A0000005591010FFFFFFFF8900000100";

/// Randomness that begins as it is told.
#[derive(Default)]
pub(crate) struct Script(pub(super) VecDeque<Vec<u8>>);

impl Env for Script {
    fn random(&mut self, out: &mut [u8]) {
        match self.0.pop_front() {
            Some(octets) => out.copy_from_slice(&octets),
            None => SystemRandom.random(out),
        }
    }
}

pub(crate) struct Bench {
    pub(crate) euicc: Euicc,
    pub(crate) env: Script,
    pub(crate) pki: Pki,
}

impl Bench {
    /// An eUICC with its ISD-R selected on channel 1.
    pub(crate) fn new() -> Self {
        let pki = Pki::generate(&PkiOptions::default()).unwrap();
        Self::with(pki, Settings::default())
    }

    pub(crate) fn with(pki: Pki, settings: Settings) -> Self {
        let identity = Identity::from_pki(&pki).unwrap();
        let euicc = Euicc::new(identity, settings, NonVolatile::default());
        let mut bench = Self {
            euicc,
            env: Script::default(),
            pki,
        };
        bench.select();
        bench
    }

    /// Another bench with a card that is in the same state, for one experiment.
    pub(crate) fn copy(&self) -> Self {
        Self {
            euicc: self.euicc.clone(),
            env: Script::default(),
            pki: Pki::default(),
        }
    }

    pub(crate) fn select(&mut self) {
        assert_eq!(self.apdu("0070000001"), "019000");
        assert!(self.apdu(&format!("01A4040010{ISDR}00")).ends_with("9000"));
    }

    /// One command APDU and its answer, both in hex.
    pub(crate) fn apdu(&mut self, command: &str) -> String {
        let response = self.handle(&hex::decode(command).unwrap());
        hex::encode_upper(response.to_bytes())
    }

    pub(crate) fn handle(&mut self, command: &[u8]) -> Response {
        self.euicc.handle(command, &mut self.env)
    }

    /// Sends an ES10 request or a segment on channel 1 and collects the whole answer.
    pub(crate) fn send(&mut self, data: &[u8]) -> Result<Vec<u8>, StatusWord> {
        let blocks: Vec<&[u8]> = data.chunks(255).collect();
        let mut response = Response::from(StatusWord::OK);
        for (number, block) in blocks.iter().enumerate() {
            let p1 = if number + 1 == blocks.len() {
                0x91
            } else {
                0x11
            };
            let (number, length) = (number.try_into().unwrap(), block.len().try_into().unwrap());
            let head = [0x81, 0xE2, p1, number, length];
            response = self.handle(&[&head[..], block, &[0]].concat());
        }
        let mut answer = response.data;
        while response.sw.has_more() {
            response = self.handle(&[0x81, 0xC0, 0, 0, response.sw.sw2()]);
            answer.extend(response.data);
        }
        if response.sw.is_success() {
            Ok(answer)
        } else {
            Err(response.sw)
        }
    }

    pub(crate) fn call<F: Es10Function>(&mut self, function: &F) -> F::Response {
        F::response(&self.send(&function.to_der()).unwrap()).unwrap()
    }

    pub(crate) fn challenge(&mut self) -> Vec<u8> {
        self.send(&[0xBF, 0x2E, 0x00]).unwrap()[5..].to_vec()
    }

    pub(crate) fn authenticate(&mut self, request: &Authenticate) -> AuthenticateServerResponse {
        let challenge = self.challenge();
        self.authenticate_with(&challenge, request)
    }

    pub(crate) fn authenticate_with(
        &mut self,
        challenge: &[u8],
        request: &Authenticate,
    ) -> AuthenticateServerResponse {
        let answer = self.send(&request.to_der(challenge)).unwrap();
        read(&answer).unwrap()
    }

    pub(crate) fn prepare(&mut self, request: &Prepare) -> PrepareDownloadResponse {
        read(&self.send(&request.to_der()).unwrap()).unwrap()
    }

    /// A session up to PrepareDownload, without faults; gives what a package is bound to.
    pub(crate) fn session(&mut self) -> Package {
        let authenticate = Authenticate::new(&self.pki);
        let signature = signature_of(self.authenticate(&authenticate));
        let prepare = Prepare::new(&self.pki, signature);
        let PrepareDownloadResponse::DownloadResponseOk(ok) = self.prepare(&prepare) else {
            panic!("the download was refused");
        };
        Package::new(&self.pki, ok.euicc_signed2.euicc_otpk.octets())
    }

    /// Sends segments until there is a result.
    pub(crate) fn load(&mut self, segments: &[Vec<u8>]) -> Option<Raw<ProfileInstallationResult>> {
        segments.iter().find_map(|segment| {
            let answer = self.send(segment).unwrap();
            (!answer.is_empty()).then(|| Raw::from_ber(&answer).unwrap())
        })
    }

    /// Downloads a package that is expected to be installed.
    pub(crate) fn install(&mut self, iccid: &str, metadata: &[Vec<u8>]) {
        let package = Package {
            metadata: metadata_of(iccid, metadata),
            upp: upp(iccid, 100),
            ..self.session()
        };
        let result = self.load(&package.segments()).unwrap();
        let ok = matches!(
            result.profile_installation_result_data.final_result,
            FinalResult::SuccessResult(_)
        );
        assert!(ok, "{result:?}");
    }
}

/// What the server sends first, and with whose identity.
#[derive(Clone)]
pub(crate) struct Authenticate {
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
    pub(crate) ci_key_identifier: Vec<u8>,
    pub(crate) transaction_id: Vec<u8>,
    pub(crate) wrong_signature: bool,
}

impl Authenticate {
    pub(crate) fn new(pki: &Pki) -> Self {
        let ci = pki.certificate(Role::Ci).unwrap();
        Self {
            certificate: pki.certificate(Role::DpAuth).unwrap().clone(),
            key: pki.key(Role::DpAuth).unwrap().clone(),
            ci_key_identifier: ci.subject_key_identifier().unwrap().to_vec(),
            transaction_id: vec![7; 16],
            wrong_signature: false,
        }
    }

    pub(crate) fn to_der(&self, challenge: &[u8]) -> Vec<u8> {
        let signed = constructed(
            0x30,
            &[
                tlv(0x80, &self.transaction_id),
                tlv(0x81, challenge),
                tlv(0x83, ADDRESS),
                tlv(0x84, &[9; 16]),
            ],
        );
        let device = constructed(
            0xA1,
            &[tlv(0x80, &[0x35, 0x29, 0x06, 0x11]), tlv(0xA1, &[])],
        );
        constructed(
            0xBF38,
            &[
                signed.clone(),
                sign(&self.key, &signed, self.wrong_signature),
                tlv(0x04, &self.ci_key_identifier),
                self.certificate.der().to_vec(),
                constructed(0xA0, &[tlv(0x80, b"MATCHING"), device]),
            ],
        )
    }
}

/// What the server sends second.
pub(crate) struct Prepare {
    pub(crate) certificate: Certificate,
    pub(crate) key: PrivateKey,
    pub(crate) transaction_id: Vec<u8>,
    pub(crate) euicc_signature1: Vec<u8>,
    pub(crate) otpk: Option<Vec<u8>>,
    pub(crate) cc_required: bool,
    pub(crate) hash_cc: Option<[u8; 32]>,
    pub(crate) wrong_signature: bool,
}

impl Prepare {
    pub(crate) fn new(pki: &Pki, euicc_signature1: Vec<u8>) -> Self {
        Self {
            certificate: pki.certificate(Role::DpPb).unwrap().clone(),
            key: pki.key(Role::DpPb).unwrap().clone(),
            transaction_id: vec![7; 16],
            euicc_signature1,
            otpk: None,
            cc_required: false,
            hash_cc: None,
            wrong_signature: false,
        }
    }

    pub(crate) fn to_der(&self) -> Vec<u8> {
        let otpk = self.otpk.as_ref().map(|point| tlv(0x5F49, point));
        let signed = constructed(
            0x30,
            &[
                tlv(0x80, &self.transaction_id),
                tlv(0x01, &[if self.cc_required { 0xFF } else { 0 }]),
                otpk.unwrap_or_default(),
            ],
        );
        let message = [&signed[..], &self.euicc_signature1].concat();
        let signature = sign(&self.key, &message, self.wrong_signature);
        let hash_cc = self.hash_cc.map(|hash| tlv(0x04, &hash));
        constructed(
            0xBF21,
            &[
                signed,
                signature,
                hash_cc.unwrap_or_default(),
                self.certificate.der().to_vec(),
            ],
        )
    }
}

/// What a bound profile package is made of.
#[derive(Clone)]
pub(crate) struct Package {
    pub(crate) transaction_id: Vec<u8>,
    pub(crate) operation: u8,
    pub(crate) key_type: u8,
    pub(crate) server_key: PrivateKey,
    pub(crate) binding_key: PrivateKey,
    pub(crate) euicc_otpk: Vec<u8>,
    pub(crate) configuration: Vec<u8>,
    /// A second piece of the request; none when empty.
    pub(crate) more_configuration: Vec<u8>,
    pub(crate) metadata: Vec<u8>,
    pub(crate) upp: Vec<u8>,
    pub(crate) piece: usize,
    pub(crate) profile_keys: bool,
}

impl Package {
    fn new(pki: &Pki, euicc_otpk: &[u8]) -> Self {
        Self {
            transaction_id: vec![7; 16],
            operation: 1,
            key_type: 0x88,
            server_key: PrivateKey::generate_on(pki.key(Role::DpPb).unwrap().curve()).unwrap(),
            binding_key: pki.key(Role::DpPb).unwrap().clone(),
            euicc_otpk: euicc_otpk.to_vec(),
            configuration: tlv(0xBF24, &[]),
            more_configuration: Vec::new(),
            metadata: metadata_of(ICCID, &[]),
            upp: upp(ICCID, 1500),
            piece: 1007,
            profile_keys: false,
        }
    }

    /// The TLV of InitialiseSecureChannel.
    pub(crate) fn opening(&self) -> Vec<u8> {
        let template = [
            tlv(0x80, &[self.key_type]),
            tlv(0x81, &[0x10]),
            tlv(0x84, HOST_ID),
        ];
        let body = [
            tlv(0x82, &[self.operation]),
            tlv(0x80, &self.transaction_id),
            constructed(0xA6, &template),
            tlv(0x5F49, &self.server_key.public_key().to_point()),
        ]
        .concat();
        let message = [&body[..], &tlv(0x5F49, &self.euicc_otpk)].concat();
        constructed(0xBF23, &[body, sign(&self.binding_key, &message, false)])
    }

    /// The protected TLVs, by the sequence they stand in.
    pub(crate) fn sequences(&self) -> Vec<(u32, Vec<Vec<u8>>)> {
        let euicc = PublicKey::from_point(&self.euicc_otpk).unwrap();
        let secret = self.server_key.diffie_hellman(&euicc).unwrap();
        let eid = hex::decode("89049032123451234512345678901235").unwrap();
        let mut bsp = Bsp::new(BspKeys::derive(&secret, HOST_ID, &eid.try_into().unwrap()));
        let pieces = [&self.configuration, &self.more_configuration];
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        let pieces = pieces.map(|piece| bsp.protect(0x87, piece)).collect();
        let mut sequences = vec![(0xA0, pieces)];
        let pieces = self
            .metadata
            .chunks(1008)
            .map(|piece| bsp.protect(0x88, piece));
        sequences.push((0xA1, pieces.collect()));
        if self.profile_keys {
            let keys = [[1; 16], [2; 16], [3; 16]];
            let [first, second, third] = keys.map(|key| key.to_vec());
            let request = [tlv(0x80, &first), tlv(0x81, &second), tlv(0x82, &third)];
            let request = constructed(0xBF26, &request);
            sequences.push((0xA2, vec![bsp.protect(0x87, &request)]));
            let [initial_mac_chaining_value, encryption, mac] = keys;
            bsp.replace_keys(BspKeys {
                initial_mac_chaining_value,
                encryption,
                mac,
            });
        }
        let pieces = self
            .upp
            .chunks(self.piece)
            .map(|piece| bsp.protect(0x86, piece));
        sequences.push((0xA3, pieces.collect()));
        sequences
    }

    /// The segments a correct LPA sends.
    pub(crate) fn segments(&self) -> Vec<Vec<u8>> {
        segments(&self.opening(), &self.sequences())
    }
}

/// Frames the parts of a package and cuts it into segments.
pub(crate) fn segments(opening: &[u8], sequences: &[(u32, Vec<Vec<u8>>)]) -> Vec<Vec<u8>> {
    let body: Vec<Vec<u8>> = sequences
        .iter()
        .map(|(tag, tlvs)| constructed(*tag, tlvs))
        .collect();
    let length = opening.len() + body.iter().map(Vec::len).sum::<usize>();
    let whole = tlv(0xBF36, &vec![0; length]);
    let mut segments = vec![[&whole[..whole.len() - length], opening].concat()];
    for (tag, tlvs) in sequences {
        let whole = constructed(*tag, tlvs);
        let header = whole[..whole.len() - tlvs.concat().len()].to_vec();
        if matches!(tag, 0xA0 | 0xA2) {
            segments.push([&header[..], &tlvs[0]].concat());
            segments.extend_from_slice(&tlvs[1..]);
        } else {
            segments.push(header);
            segments.extend_from_slice(tlvs);
        }
    }
    segments
}

/// StoreMetadata of a profile that reports every event.
pub(crate) fn metadata_of(iccid: &str, more: &[Vec<u8>]) -> Vec<u8> {
    let swapped: Vec<u8> = hex::decode(iccid)
        .unwrap()
        .iter()
        .map(|o| o.rotate_left(4))
        .collect();
    let head = [
        tlv(0x5A, &swapped),
        tlv(0x91, b"Operator"),
        tlv(0x92, b"Profile"),
    ];
    constructed(0xBF25, &[head.concat(), more.concat()])
}

/// notificationConfigurationInfo: one entry for each of the given events.
pub(crate) fn configuration(events: &[[u8; 2]]) -> Vec<u8> {
    let entries = events
        .iter()
        .map(|bits| constructed(0x30, &[tlv(0x80, bits), tlv(0x81, ADDRESS)]));
    constructed(0xB6, &entries.collect::<Vec<_>>())
}

pub(crate) fn upp(iccid: &str, filling: usize) -> Vec<u8> {
    let header = constructed(
        0xA0,
        &[
            tlv(0x80, &[2]),
            tlv(0x81, &[3]),
            tlv(0x83, &hex::decode(iccid).unwrap()),
            tlv(0xA5, &[0x81, 0x00]),
            tlv(0xA6, &[]),
        ],
    );
    let number = |number| tlv(0xA0, &unsigned(0x81, number));
    let filler = constructed(0xA9, &[number(1), tlv(0x82, &vec![0x5A; filling])]);
    [header, filler, tlv(0xAA, &number(2))].concat()
}

pub(crate) fn signature_of(response: AuthenticateServerResponse) -> Vec<u8> {
    match response {
        AuthenticateServerResponse::AuthenticateResponseOk(ok) => {
            ok.euicc_signature1.bytes().to_vec()
        }
        AuthenticateServerResponse::AuthenticateResponseError(error) => panic!("{error:?}"),
    }
}

pub(crate) fn error_of(result: &ProfileInstallationResult) -> ErrorResult {
    match &result.profile_installation_result_data.final_result {
        FinalResult::ErrorResult(error) => error.0.clone(),
        FinalResult::SuccessResult(_) => panic!("the profile was installed"),
    }
}

/// A certificate under the PKI's CI, made from a spec, and its key.
pub(crate) fn issue(pki: &Pki, spec: &CertificateSpec) -> (Certificate, PrivateKey) {
    issue_on(Curve::Nist, pki, spec)
}

pub(crate) fn issue_on(
    curve: Curve,
    pki: &Pki,
    spec: &CertificateSpec,
) -> (Certificate, PrivateKey) {
    let key = PrivateKey::generate_on(curve).unwrap();
    let ci = (
        pki.certificate(Role::Ci).unwrap(),
        pki.key(Role::Ci).unwrap(),
    );
    (spec.issue(&key.public_key(), ci.0, ci.1), key)
}

pub(crate) fn now() -> SystemTime {
    PkiOptions::default().now
}

fn sign(key: &PrivateKey, message: &[u8], wrong: bool) -> Vec<u8> {
    let mut signature = key.sign(message);
    if wrong {
        signature[63] ^= 1;
    }
    tlv(0x5F37, &signature)
}

/// The profile the tests install, 19 digits and F.
pub(crate) const ICCID: &str = "8901000000000000019F";
const HOST_ID: &[u8] = b"test-host";
