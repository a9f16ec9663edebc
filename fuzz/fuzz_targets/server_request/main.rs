//! What any client may ask the servers for: an SM-DP+ and an SM-DS answer any sequence of requests,
//! right ones with something changed among them, so that every stage of a session is reached.
//!
//! An input is a list of steps; see [`Step::read`]. The sessions are real, and so are keys and
//! challenges: two runs of one input differ in them, but not in what is changed where.

#![no_main]

use std::sync::LazyLock;

use es9_client::es9::{
    AuthenticateClientOk, AuthenticateClientRequest, CancelSessionRequestEs9,
    GetBoundProfilePackageOk, GetBoundProfilePackageRequest, HandleNotification,
    InitiateAuthenticationOkEs9, InitiateAuthenticationRequest,
};
use es9_client::{Answer, Opaque};
use es10_apdu::asn1::{self, Open, Raw};
use es10_apdu::bpp::BoundProfilePackage;
use es10_apdu::es10b::{
    AuthenticateServerRequest, CancelSessionReason, CancelSessionRequest, CtxParams1,
    CtxParamsForCommonAuthentication, DeviceCapabilities, DeviceInfo, GetEuiccChallengeRequest,
    GetEuiccInfo1Request, PrepareDownloadRequest,
};
use es10_apdu::isdr::{Isdr, IsdrOptions};
use es10_apdu::types::{Certificate, Signature, TransactionId, VersionType};
use libfuzzer_sys::fuzz_target;
use rsp_common::pki::{Pki, PkiOptions};
use rsp_servers::lpa::Direct;
use rsp_servers::profile::{Iccid, Profile};
use rsp_servers::smdp::{self, DirectRequest, OrderRequest, Smdp, StockedProfile};
use rsp_servers::smds::{self, EventRecord, Smds};
use serde_json::{Value, json};
use sim_card_emulator::card::Card;
use sim_card_emulator::euicc::{Identity, Settings};
use sim_card_emulator::modem::Card as _;
use tokio::runtime::Runtime;

use change::{Bytes, change};

mod change;

const SMDP: &str = "smdp.example.com";
const SMDS: &str = "smds.example.com";

static PKI: LazyLock<(Pki, Identity, String)> = LazyLock::new(|| {
    let options = PkiOptions::default();
    let pki = Pki::generate(&options).expect("the default options are usable");
    let identity = Identity::from_pki(&pki).expect("the PKI is complete");
    (pki, identity, options.eid)
});

static PROFILE: LazyLock<Profile> =
    LazyLock::new(|| Profile::builder(Iccid::nth(1)).size(600).build());

fuzz_target!(|bytes: &[u8]| {
    // Tasks are never waited for: nothing is called back, and no time passes.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be made");
    let mut world = World::new(&runtime);
    let mut input = Bytes(bytes);
    for _ in 0..MAX_STEPS {
        if input.0.is_empty() {
            break;
        }
        let step = Step::read(&mut input, &mut world);
        world.send(&step);
    }
});

/// The servers, a card, and how far they are with each other.
struct World<'a> {
    runtime: &'a Runtime,
    smdp: Smdp,
    smds: Smds,
    isdr: Isdr<Direct>,
    /// Which of the two servers the session is with.
    host: &'static str,
    initiated: Option<InitiateAuthenticationOkEs9>,
    offer: Option<AuthenticateClientOk>,
    bound: Option<GetBoundProfilePackageOk>,
    notification: Option<Vec<u8>>,
}

impl<'a> World<'a> {
    fn new(runtime: &'a Runtime) -> Self {
        let (pki, identity, eid) = &*PKI;
        let _context = runtime.enter();
        let smdp = Smdp::new(smdp::Config::new(SMDP, pki.clone())).expect("the PKI is complete");
        let order = |id: &str| OrderRequest::with_matching_id(PROFILE.clone(), id);
        smdp.create_order(order("A"));
        smdp.create_order(OrderRequest {
            confirmation_code: Some("1".into()),
            ..order("B")
        });
        smdp.create_order(OrderRequest::for_eid(PROFILE.clone(), eid.clone()));
        smdp.stock(StockedProfile {
            profile: PROFILE.clone(),
            profile_type: "P".into(),
            operator: None,
        });
        let smds = Smds::new(smds::Config::new(SMDS, pki.clone())).expect("the PKI is complete");
        let event = EventRecord::new(eid.clone(), "A", SMDP);
        smds.register_event(event).expect("it is the first one");
        let mut card = Card::new(identity.clone(), Settings::default());
        let card = Direct::new(move |command| card.transmit(command));
        let options = IsdrOptions::default();
        let isdr = Isdr::open(card, &options);
        Self {
            runtime,
            smdp,
            smds,
            isdr: runtime.block_on(isdr).expect("there is an eUICC"),
            host: SMDP,
            initiated: None,
            offer: None,
            bound: None,
            notification: None,
        }
    }

    /// Lets both servers answer, and remembers what brings a session further.
    fn send(&mut self, step: &Step) {
        let request = DirectRequest {
            method: step.method,
            target: &step.target,
            headers: &step.headers,
            body: &step.body,
        };
        let answer = self.runtime.block_on(async {
            match step.host {
                SMDS => self.smds.answer_directly(request).await,
                _ => self.smdp.answer_directly(request).await,
            }
        });
        // Without a fault planned only what is not HTTP has no answer.
        let Some(answer) = answer else {
            return;
        };
        assert!(answer.status < 500, "{}", answer.status);
        self.learn(step, &answer);
    }

    fn learn(&mut self, step: &Step, answer: &Answer) {
        let last = step.target.rsplit('/').next();
        match last.unwrap_or_default() {
            "initiateAuthentication" => {
                if let Ok(initiated) = answer.output() {
                    self.host = step.host;
                    self.initiated = Some(initiated);
                    (self.offer, self.bound) = (None, None);
                }
            }
            "authenticateClient" => self.offer = answer.output().ok().or(self.offer.take()),
            "getBoundProfilePackage" => self.bound = answer.output().ok().or(self.bound.take()),
            _ => {}
        }
    }

    fn call<F: es10_apdu::function::Es10Function>(&mut self, function: &F) -> Option<F::Response> {
        self.runtime.block_on(self.isdr.call(function)).ok()
    }

    fn initiate(&mut self, host: &str) -> Option<Value> {
        let challenge = self.call(&GetEuiccChallengeRequest {})?;
        let info = self.call(&GetEuiccInfo1Request {})?;
        serde_json::to_value(InitiateAuthenticationRequest {
            euicc_challenge: challenge.euicc_challenge.octets().into(),
            euicc_info1: info.bytes().into(),
            smdp_address: host.to_owned(),
        })
        .ok()
    }

    fn authenticate(&mut self, matching_id: &str) -> Option<Value> {
        let initiated = self.initiated.clone()?;
        let context = CtxParamsForCommonAuthentication {
            matching_id: Some(matching_id.into()),
            device_info: Open(DeviceInfo {
                tac: vec![0x35; 4].into(),
                device_capabilities: Open(DeviceCapabilities {
                    eutran_epc_supported_release: Some(VersionType([15, 0, 0])),
                    ..DeviceCapabilities::default()
                }),
                imei: None,
            }),
        };
        let response = self.call(&AuthenticateServerRequest {
            server_signed1: Raw::from_ber(&initiated.server_signed1).ok()?,
            server_signature1: Signature::from_ber(&initiated.server_signature1).ok()?,
            euicc_ci_pk_id_to_be_used: asn1::read(&initiated.euicc_ci_pk_id_to_be_used).ok()?,
            server_certificate: Certificate::from_ber(&initiated.server_certificate).ok()?,
            ctx_params1: CtxParams1::CtxParamsForCommonAuthentication(Open(context)),
        })?;
        serde_json::to_value(AuthenticateClientRequest {
            transaction_id: initiated.transaction_id,
            authenticate_server_response: response.bytes().into(),
        })
        .ok()
    }

    fn prepare(&mut self) -> Option<Value> {
        let (initiated, offer) = (self.initiated.clone()?, self.offer.clone()?);
        let response = self.call(&PrepareDownloadRequest {
            smdp_signed2: Raw::from_ber(&offer.smdp_signed2).ok()?,
            smdp_signature2: Signature::from_ber(&offer.smdp_signature2).ok()?,
            hash_cc: None,
            smdp_certificate: Certificate::from_ber(&offer.smdp_certificate).ok()?,
        })?;
        serde_json::to_value(GetBoundProfilePackageRequest {
            transaction_id: initiated.transaction_id,
            prepare_download_response: response.bytes().into(),
        })
        .ok()
    }

    fn cancel(&mut self, reason: u8) -> Option<Value> {
        let initiated = self.initiated.clone()?;
        let transaction_id = TransactionId::from_octets(initiated.transaction_id.value()).ok()?;
        let reason = CancelSessionReason(reason.into());
        let response = self.call(&CancelSessionRequest {
            transaction_id,
            reason,
        })?;
        serde_json::to_value(CancelSessionRequestEs9 {
            transaction_id: initiated.transaction_id,
            cancel_session_response: response.bytes().into(),
        })
        .ok()
    }

    /// The installation result, of a package that is loaded now if there is one.
    fn notify(&mut self) -> Option<Value> {
        if let Some(bound) = self.bound.take() {
            let package = BoundProfilePackage::cut(&bound.bound_profile_package).ok()?;
            for segment in package.segments() {
                let load = self.isdr.load_segment(&segment.bytes);
                if let Some(result) = self.runtime.block_on(load).ok()? {
                    self.notification = Some(result.bytes().to_vec());
                    break;
                }
            }
        }
        let pending_notification: Opaque = self.notification.clone()?.into();
        serde_json::to_value(HandleNotification {
            pending_notification,
        })
        .ok()
    }
}

/// One request.
struct Step {
    host: &'static str,
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
}

impl Step {
    /// Reads a step: what is asked for, and then what is changed about it.
    ///
    /// The lowest bits of the first octet choose the function, the highest ones the kind: a right
    /// request, one with a member changed, one with a body out of the input, one with its frame
    /// changed.
    fn read(input: &mut Bytes<'_>, world: &mut World<'_>) -> Self {
        let choice = input.octet();
        let eid = &PKI.2;
        let header = json!({
            "functionRequesterIdentifier": "2.999.1", "functionCallIdentifier": "1",
        });
        let iccid = Iccid::nth(1).to_string();
        let ids = ["A", "B", "", "C"];
        let id = ids[usize::from(choice >> 4 & 3)];
        let (host, path, body) = match choice & 0x0F {
            0 => (SMDP, "es9plus/initiateAuthentication", world.initiate(SMDP)),
            1 => (
                world.host,
                "es9plus/authenticateClient",
                world.authenticate(id),
            ),
            2 => (SMDP, "es9plus/getBoundProfilePackage", world.prepare()),
            3 => (SMDP, "es9plus/handleNotification", world.notify()),
            4 => (SMDP, "es9plus/cancelSession", world.cancel(choice >> 4 & 3)),
            5 => (SMDS, "es9plus/initiateAuthentication", world.initiate(SMDS)),
            6 | 7 => {
                let name = ["es12/registerEvent", "es12/deleteEvent"][usize::from(choice & 1)];
                let body = json!({
                    "header": header, "eid": eid, "eventId": id, "rspServerAddress": SMDP,
                    "forwardingIndicator": true,
                });
                (SMDS, name, Some(body))
            }
            8 => {
                let body = json!({ "header": header, "eid": eid, "profileType": "P" });
                (SMDP, "es2plus/downloadOrder", Some(body))
            }
            9 => {
                let body = json!({
                    "header": header, "iccid": iccid, "eid": eid, "matchingId": "D",
                    "confirmationCode": "1", "releaseFlag": choice & 0x10 == 0,
                });
                (SMDP, "es2plus/confirmOrder", Some(body))
            }
            10 => {
                let body = json!({
                    "header": header, "iccid": iccid, "finalProfileStatusIndicator": "Available",
                });
                (SMDP, "es2plus/cancelOrder", Some(body))
            }
            11 => {
                let body = json!({ "header": header, "iccid": iccid });
                (SMDP, "es2plus/releaseProfile", Some(body))
            }
            _ => return Self::of_the_reservation_api(choice, input),
        };
        let mut step = Self {
            host,
            method: "POST",
            target: format!("/gsma/rsp2/{path}"),
            headers: vec![
                ("content-type", "application/json"),
                ("x-admin-protocol", "gsma/rsp/v2.2.2"),
            ],
            body: Vec::new(),
        };
        let mut body = body.unwrap_or(json!({}));
        match choice >> 6 {
            0 => {}
            1 => {
                for _ in 0..1 + input.octet() % 3 {
                    change(&mut body, input);
                }
            }
            2 => {
                step.body = input.piece().to_vec();
                return step;
            }
            _ => step.spoil_frame(input.octet()),
        }
        step.body = body.to_string().into_bytes();
        step
    }

    fn of_the_reservation_api(choice: u8, input: &mut Bytes<'_>) -> Self {
        let resource = ["ESimProfiles", "Sims", "Fleets", "ESimProfiles/HP1"];
        let resource = resource[usize::from(choice >> 4 & 3)];
        let form = String::from_utf8_lossy(input.piece()).into_owned();
        let (method, target, body) = match choice & 3 {
            0 => ("POST", format!("/v1/{resource}"), form),
            1 => ("GET", format!("/v1/{resource}?{form}"), String::new()),
            2 => ("POST", format!("/v1/{form}"), "Eid=1".to_owned()),
            _ => ("GET", format!("/v1/{resource}/{form}"), String::new()),
        };
        Self {
            host: SMDP,
            method,
            target,
            headers: vec![
                ("content-type", "application/x-www-form-urlencoded"),
                ("host", "localhost:1"),
                // AC00000000000000000000000000000001:test-token
                (
                    "authorization",
                    "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTp0ZXN0LXRva2Vu",
                ),
            ],
            body: body.into_bytes(),
        }
    }

    fn spoil_frame(&mut self, choice: u8) {
        match choice % 8 {
            0 => self.method = "PUT",
            1 => self.method = "GET",
            2 => self.headers.truncate(1),
            3 => self.headers[1].1 = "gsma/rsp/v",
            4 => self.headers[0].1 = "application/json; charset=\"utf-8\";;",
            5 => self.headers[0].1 = "text/plain",
            6 => self.target.push_str("/%2e%2e/?x"),
            _ => self.target = self.target.to_uppercase(),
        }
    }
}

/// Enough for a whole download, and an SM-DS before it.
const MAX_STEPS: usize = 24;
