use base64::{Engine, prelude::BASE64_STANDARD};
use es10_apdu::asn1;
use es10_apdu::es10b::{FinalResult, ProfileInstallationResult};
use es10_apdu::tlv::{Children, Header, Tlv};
use rsp_common::pki::{Pki, PkiOptions};
use serde_json::{Value, json};
use sim_card_emulator::card::Card;
use sim_card_emulator::euicc::{Identity, Settings};
use sim_card_emulator::modem::Card as _;

use super::*;
use crate::profile::{Iccid, Profile};
use crate::smdp::server::tests::Client;
use crate::smdp::{Calls, Config, Fault, Function, OrderRequest, Smdp};

const HOST_NAME: &str = "smdp.example.com";
const ISDR: &str = "00A4040010A0000005591010FFFFFFFF8900000100";

/// As little of an LPA as downloads take: it looks at nothing and sends whatever it gets.
struct Lpa {
    card: Card,
    smdp: Smdp,
}

/// What became of a download.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Outcome {
    /// The server refused.
    Refused(Function, String),
    /// The eUICC refused AuthenticateServer with this code.
    NotAuthenticated(i64),
    /// The eUICC refused PrepareDownload with this code.
    NotPrepared(i64),
    /// There is a result: success, or bppCommandId and errorReason.
    Result(Option<(i64, i64)>),
    /// Everything was sent and there is no result.
    NoResult,
}

impl Lpa {
    fn new(change: impl FnOnce(&mut OrderRequest)) -> Self {
        let pki = Pki::generate(&PkiOptions::default()).unwrap();
        let mut card = Card::new(Identity::from_pki(&pki).unwrap(), Settings::default());
        let smdp = Smdp::new(Config::new(HOST_NAME, pki)).unwrap();
        let profile = Profile::builder(Iccid::nth(1)).size(3000).build();
        let mut request = OrderRequest::with_matching_id(profile, "M-1");
        change(&mut request);
        smdp.create_order(request);
        let selected = card.transmit(&hex::decode(ISDR).unwrap());
        assert!(selected.ends_with(&[0x90, 0x00]) || selected[selected.len() - 2] == 0x61);
        Self { card, smdp }
    }

    /// One command in as many blocks as it takes.
    fn store_data(&mut self, command: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        let count = command.chunks(255).len();
        for (number, block) in command.chunks(255).enumerate() {
            let p1 = if number + 1 == count { 0x91 } else { 0x11 };
            let length = u8::try_from(block.len()).unwrap();
            let header = [0x80, 0xE2, p1, u8::try_from(number).unwrap(), length];
            let mut response = self.card.transmit(&[&header, block, &[0]].concat());
            loop {
                let status = response.split_off(response.len() - 2);
                answer.append(&mut response);
                match status[..] {
                    [0x90, 0x00] => break,
                    [0x61, length] => {
                        response = self.card.transmit(&[0x00, 0xC0, 0x00, 0x00, length]);
                    }
                    _ => panic!("{}", hex::encode(status)),
                }
            }
            if !answer.is_empty() {
                break;
            }
        }
        answer
    }

    async fn call(&self, function: Function, request: &Value) -> Result<Value, Outcome> {
        let mut client = Client::tls(&self.smdp).await;
        let (_, body) = client.call(function, &request.to_string()).await;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let status = &answer["header"]["functionExecutionStatus"];
        if status["status"] == "Failed" {
            let code = &status["statusCodeData"];
            let text = |name: &str| code[name].as_str().unwrap().to_owned();
            let code = format!("{}/{}", text("subjectCode"), text("reasonCode"));
            return Err(Outcome::Refused(function, code));
        }
        Ok(answer)
    }

    async fn download(&mut self) -> Outcome {
        self.try_to_download().await.unwrap_or_else(|outcome| outcome)
    }

    async fn try_to_download(&mut self) -> Result<Outcome, Outcome> {
        let challenge = self.store_data(&tlv(0xBF2E, &[]));
        let challenge = Tlv::exactly(&challenge).unwrap().child(0x80).unwrap();
        let request = json!({
            "smdpAddress": HOST_NAME,
            "euiccChallenge": BASE64_STANDARD.encode(challenge.contents),
            "euiccInfo1": BASE64_STANDARD.encode(self.store_data(&tlv(0xBF20, &[]))),
        });
        let answer = self.call(Function::InitiateAuthentication, &request).await?;
        let device = [tlv(0x80, &[0x35; 4]), tlv(0xA1, &[])].concat();
        let context = tlv(0xA0, &[tlv(0x80, b"M-1"), tlv(0xA1, &device)].concat());
        let server = [
            octets(&answer, "serverSigned1"),
            octets(&answer, "serverSignature1"),
            octets(&answer, "euiccCiPKIdToBeUsed"),
            octets(&answer, "serverCertificate"),
            context,
        ];
        let transaction_id = answer["transactionId"].clone();
        let response = self.store_data(&tlv(0xBF38, &server.concat()));
        if let Some(code) = error_code(&response) {
            return Err(Outcome::NotAuthenticated(code));
        }
        let request = json!({
            "transactionId": transaction_id,
            "authenticateServerResponse": BASE64_STANDARD.encode(response),
        });
        let answer = self.call(Function::AuthenticateClient, &request).await?;
        let download = [
            octets(&answer, "smdpSigned2"),
            octets(&answer, "smdpSignature2"),
            octets(&answer, "smdpCertificate"),
        ];
        let response = self.store_data(&tlv(0xBF21, &download.concat()));
        if let Some(code) = error_code(&response) {
            return Err(Outcome::NotPrepared(code));
        }
        let request = json!({
            "transactionId": transaction_id,
            "prepareDownloadResponse": BASE64_STANDARD.encode(response),
        });
        let answer = self.call(Function::GetBoundProfilePackage, &request).await?;
        for segment in segments(&octets(&answer, "boundProfilePackage")) {
            let result = self.store_data(&segment);
            if !result.is_empty() {
                return Ok(Outcome::Result(failure(&result)));
            }
        }
        Ok(Outcome::NoResult)
    }
}

fn octets(answer: &Value, member: &str) -> Vec<u8> {
    BASE64_STANDARD
        .decode(answer[member].as_str().unwrap())
        .unwrap()
}

/// The code of an error form, which has tag A1 in AuthenticateServer and PrepareDownload.
fn error_code(response: &[u8]) -> Option<i64> {
    let error = Tlv::exactly(response).unwrap().child(0xA1)?;
    let code = error.children().map_while(Result::ok).last()?;
    Some(i64::from(*code.contents.last()?))
}

fn failure(result: &[u8]) -> Option<(i64, i64)> {
    let result: ProfileInstallationResult = asn1::read(result).unwrap();
    match &result.profile_installation_result_data.final_result {
        FinalResult::SuccessResult(_) => None,
        FinalResult::ErrorResult(error) => {
            Some((error.bpp_command_id.0, error.error_reason.0))
        }
    }
}

/// Cuts a package as SGP.22 v2.5 section 2.5.5 says as long as there is something to cut.
fn segments(package: &[u8]) -> Vec<Vec<u8>> {
    let header = Header::read(package).unwrap().size;
    let (head, mut rest) = package.split_at(header);
    let mut segments = Vec::new();
    let mut before = head.to_vec();
    while !rest.is_empty() {
        let Ok((part, behind)) = Tlv::read(rest) else {
            segments.push([before, rest.to_vec()].concat());
            break;
        };
        if matches!(part.tag, 0xA0..=0xA3) {
            before.extend(part.header());
            if matches!(part.tag, 0xA1 | 0xA3) {
                segments.push(std::mem::take(&mut before));
            }
            for piece in Children::of(part.contents) {
                before.extend(piece.unwrap().encoding);
                segments.push(std::mem::take(&mut before));
            }
        } else {
            before.extend(part.encoding);
            segments.push(std::mem::take(&mut before));
        }
        rest = behind;
    }
    segments
}

fn plain(_: &mut OrderRequest) {}

fn with_profile_keys(order: &mut OrderRequest) {
    order.profile.ppk = true;
}

fn with_icon(order: &mut OrderRequest) {
    order.profile.metadata.icon = vec![0; 1024];
}

async fn delivered(fault: &str, change: impl FnOnce(&mut OrderRequest)) -> Outcome {
    let mut lpa = Lpa::new(change);
    let fault = Fault::Package(fault.parse().unwrap());
    let function = Function::GetBoundProfilePackage;
    lpa.smdp.set_fault(function, Calls::NEXT, fault);
    lpa.download().await
}

#[tokio::test]
async fn a_strict_card_takes_pieces_as_long_as_the_specification_says() {
    for (limit, expected) in [(1036, None), (1020, Some((5, 7)))] {
        let mut lpa = Lpa::new(plain);
        lpa.card
            .configure(|settings| settings.segment_limit = limit);
        let fault = Fault::Package("piece-size=1008".parse().unwrap());
        lpa.smdp
            .set_fault(Function::GetBoundProfilePackage, Calls::NEXT, fault);
        assert_eq!(lpa.download().await, Outcome::Result(expected), "{limit}");
    }
}

#[tokio::test]
async fn what_the_euicc_says_to_each_fault_of_a_package() {
    let change: fn(&mut OrderRequest) = plain;
    let mut wrong = Vec::new();
    let long = format!("configure-isdp={}", hex::encode(tlv(0xB8, &[0; 140])));
    for (fault, change, expected) in [
        ("flipped-mac=87:1", change, Some((1, 8))),
        ("flipped-mac=88:1", plain, Some((2, 8))),
        ("flipped-mac=86:1", plain, Some((5, 8))),
        ("flipped-mac=86:3", plain, Some((5, 8))),
        ("flipped-mac=87:2", with_profile_keys, Some((4, 8))),
        ("wrong-padding=87:1", plain, Some((1, 8))),
        ("wrong-padding=86:3", plain, Some((5, 8))),
        // The first block is not what was encrypted, and no profile begins like that.
        ("counter-not-raised=88:1", plain, Some((5, 12))),
        ("repeated-piece=87:1", plain, Some((1, 8))),
        ("repeated-piece=88:1", plain, Some((3, 8))),
        ("repeated-piece=86:1", plain, Some((5, 8))),
        ("extra-piece", plain, Some((5, 12))),
        ("piece-size=1008", plain, None),
        ("piece-size=1024", plain, Some((5, 7))),
        ("piece-size=991", plain, None),
        ("piece-size=100", plain, None),
        ("metadata-pieces=40", plain, None),
        ("metadata-pieces=1008", with_icon, None),
        ("metadata-pieces=2000", with_icon, Some((2, 7))),
        ("remote-operation=02", plain, Some((0, 5))),
        ("key-type=81", plain, Some((0, 4))),
        ("key-length=20", plain, Some((0, 4))),
        ("host-id=", plain, Some((0, 4))),
        ("host-id=0102030405060708090A0B0C0D0E0F1011", plain, Some((0, 4))),
        ("off-curve-key", plain, Some((0, 1))),
        ("configure-isdp=B80480028837", plain, None),
        (&*long, plain, Some((1, 1))),
        ("metadata=iccid", plain, Some((5, 13))),
        ("metadata=rules", plain, Some((2, 15))),
        ("metadata=owner", plain, None),
        ("metadata=class", plain, None),
        ("metadata=explicit-class", plain, None),
        ("metadata=provider", plain, None),
        ("metadata=name", plain, None),
        ("metadata=icon", plain, None),
        ("metadata=icon", with_icon, None),
        ("header-iccid", plain, Some((5, 13))),
        ("unknown-element", plain, Some((5, 12))),
        ("missing-end", plain, Some((5, 12))),
        ("profile-keys", plain, None),
        ("session-keys", with_profile_keys, None),
        ("wrong-chaining-value", plain, Some((5, 8))),
        ("short-profile-key", plain, Some((4, 1))),
        ("swapped=BF23:A0", plain, Some((0, 7))),
        ("swapped=A0:A1", plain, Some((1, 7))),
        ("swapped=A1:A2", with_profile_keys, Some((2, 7))),
        ("swapped=A1:A3", plain, Some((2, 7))),
        ("missing=BF23", plain, Some((0, 7))),
        ("missing=A0", plain, Some((1, 7))),
        ("missing=A1", plain, Some((2, 7))),
        ("missing=A2", with_profile_keys, Some((5, 8))),
        ("unknown-part=A4", plain, Some((5, 7))),
        ("long-length=BF36", plain, Some((0, 7))),
        ("long-length=BF23", plain, Some((0, 7))),
        ("long-length=A0", plain, Some((1, 7))),
        ("long-length=A1", plain, Some((2, 7))),
        ("long-length=A3", plain, Some((5, 7))),
        ("long-length=87", plain, Some((1, 7))),
        ("long-length=88", plain, Some((2, 7))),
        ("long-length=86", plain, Some((5, 7))),
        ("announced=1", plain, Some((0, 7))),
        ("announced=-1", plain, Some((0, 7))),
        ("truncated=10", plain, Some((5, 7))),
        // The result is there before the octets that should not be.
        ("trailing=10", plain, None),
    ] {
        let outcome = delivered(fault, change).await;
        if outcome != Outcome::Result(expected) {
            wrong.push(format!("{fault}: {outcome:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_package_without_its_elements_has_no_result() {
    assert_eq!(delivered("missing=A3", plain).await, Outcome::NoResult);
}

#[tokio::test]
async fn a_faulty_package_is_followed_by_a_right_one() {
    let mut lpa = Lpa::new(plain);
    let plan = "getBoundProfilePackage:1=package=truncated=1000";
    lpa.smdp.plan(plan.parse().unwrap());
    assert_eq!(lpa.download().await, Outcome::Result(Some((5, 7))));
    assert_eq!(lpa.download().await, Outcome::Result(None));
}

#[tokio::test]
async fn an_euicc_takes_what_is_signed_rightly_and_nothing_else() {
    let mut wrong = Vec::new();
    for (plan, expected) in [
        ("initiateAuthentication=long-lengths", Outcome::Result(None)),
        ("initiateAuthentication=version3", Outcome::Result(None)),
        ("initiateAuthentication=transaction-id=01", Outcome::Result(None)),
        ("authenticateClient=long-lengths", Outcome::Result(None)),
        ("initiateAuthentication=flipped-member=serverSignature1", Outcome::NotAuthenticated(2)),
        ("initiateAuthentication=euicc-challenge", Outcome::NotAuthenticated(6)),
        ("initiateAuthentication=unknown-signing-issuer", Outcome::NotAuthenticated(7)),
        (
            "initiateAuthentication=certificate=dpauth-role-dp-pb",
            Outcome::NotAuthenticated(5),
        ),
        (
            "initiateAuthentication=certificate=dpauth-unknown-ci",
            Outcome::NotAuthenticated(7),
        ),
        (
            "initiateAuthentication=certificate=dpauth-tampered-signature",
            Outcome::NotAuthenticated(1),
        ),
        // The server has another OID then, and CERT.DPpb is no longer its own.
        (
            "initiateAuthentication=certificate=dpauth-other-rid",
            Outcome::NotPrepared(1),
        ),
        (
            "authenticateClient=certificate=dppb-role-dp-auth",
            Outcome::NotPrepared(1),
        ),
        (
            "authenticateClient=certificate=dppb-other-rid",
            Outcome::NotPrepared(1),
        ),
        ("authenticateClient=flipped-member=smdpSignature2", Outcome::NotPrepared(2)),
        ("getBoundProfilePackage=other-session", Outcome::Result(Some((0, 3)))),
        ("getBoundProfilePackage=altered-channel-signature", Outcome::Result(Some((0, 2)))),
    ] {
        let mut lpa = Lpa::new(plain);
        lpa.smdp.plan(plan.parse().unwrap());
        let outcome = lpa.download().await;
        if outcome != expected {
            wrong.push(format!("{plan}: {outcome:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
