//! A private API that steers the server while it runs, for tests of LPAs.
//!
//! It speaks JSON, asks for no credentials, and is served next to the reservation API on the plain
//! listener only ([`Smdp::serve_admin`]). Paths begin with `/admin/v1/`:
//!
//! | request | what it does |
//! |---|---|
//! | `GET faults` | the faults that are still to come |
//! | `POST faults` | plans one: `{"function": "authenticateClient", "call": 2, "fault": "http-status=503"}`, or the text of the command line as a JSON string |
//! | `DELETE faults` | forgets all of them |
//! | `GET faults/names` | the names of faults, and what they do |
//! | `GET tls`, `PUT tls` | what clients meet where they expect TLS: `{"tls": "expired"}` |
//! | `GET tls/names` | the names of TLS choices, and what they are |
//! | `GET notifications` | what eUICCs reported, and whether it is true |
//! | `GET requests` | what clients asked at ES9+: method, path, headers, body |
//! | `GET cancellations` | the reasons sessions were cancelled for, as eUICCs signed them |
//! | `GET orders`, `POST orders` | the orders; takes one, described as in the configuration file |
//! | `GET orders/N`, `DELETE orders/N` | one order; withdraws it |
//! | `POST orders/N/release` | releases one that was taken unreleased |

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use es10_apdu::es10b::FinalResult;
use hyper::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Calls, Fault, FaultPlan, Function, Order, OrderId, OrderSettings, PackageFault,
    ReceivedNotification, Smdp, TlsChoice,
};
use crate::rsp::http::{self, Body};
use crate::rsp::names::Named;

/// Where the API lives.
pub(super) const PATH: &str = "/admin/v1/";

impl Smdp {
    /// Answers a request of the API.
    pub(super) fn control(&self, method: &Method, path: &str, body: &[u8]) -> Response<Body> {
        let path: Vec<&str> = path.trim_start_matches(PATH).split('/').collect();
        match self.steer(method, &path, body) {
            Ok((StatusCode::NO_CONTENT, _)) => http::empty(StatusCode::NO_CONTENT),
            Ok((status, value)) => http::json(status, &value),
            Err(Problem { status, what }) => http::json(status, &json!({ "error": what })),
        }
    }

    fn steer(
        &self,
        method: &Method,
        path: &[&str],
        body: &[u8],
    ) -> Result<(StatusCode, Value), Problem> {
        const DONE: Result<(StatusCode, Value), Problem> =
            Ok((StatusCode::NO_CONTENT, Value::Null));
        let shown = |value| Ok((StatusCode::OK, value));
        match (method.as_str(), path) {
            ("GET", ["faults"]) => shown(json!(self.faults())),
            ("POST", ["faults"]) => {
                self.plan(fault_plan(body)?);
                Ok((StatusCode::CREATED, json!(self.faults())))
            }
            ("DELETE", ["faults"]) => {
                self.clear_faults();
                DONE
            }
            ("GET", ["faults", "names"]) => shown(json!({
                "functions": Function::ALL,
                "calls": [Calls::Every, Calls::NEXT],
                "faults": names(Fault::NAMES),
                "packageFaults": names(PackageFault::NAMES),
            })),
            ("GET", ["tls"]) => shown(json!({ "tls": self.tls_choice() })),
            ("PUT", ["tls"]) => {
                let TlsBody { tls } = parse(body)?;
                self.choose_tls(&tls).map_err(Problem::unprocessable)?;
                shown(json!({ "tls": tls }))
            }
            ("GET", ["tls", "names"]) => shown(names(TlsChoice::NAMES)),
            ("GET", ["notifications"]) => {
                shown(self.notifications().iter().map(notification).collect())
            }
            ("GET", ["cancellations"]) => shown(json!(self.cancellations())),
            ("GET", ["requests"]) => shown(json!(self.requests())),
            ("GET", ["orders"]) => shown(self.orders().iter().map(order).collect()),
            ("POST", ["orders"]) => {
                let settings: OrderSettings = parse(body)?;
                let request = settings.order(None).map_err(Problem::unprocessable)?;
                let taken = self.create_order(request);
                Ok((StatusCode::CREATED, order(&self.known(taken)?)))
            }
            ("GET", ["orders", number]) => shown(order(&self.numbered(number)?)),
            ("DELETE", ["orders", number]) => {
                self.withdraw(self.numbered(number)?.id());
                DONE
            }
            ("POST", ["orders", number, "release"]) => {
                let released = self.numbered(number)?.id();
                self.release(released);
                shown(order(&self.known(released)?))
            }
            (
                _,
                [
                    "cancellations" | "faults" | "notifications" | "orders" | "requests" | "tls",
                    ..,
                ],
            ) => Err(Problem {
                status: StatusCode::METHOD_NOT_ALLOWED,
                what: "this cannot be done here".to_owned(),
            }),
            _ => Err(Problem::not_found()),
        }
    }

    fn numbered(&self, number: &str) -> Result<Order, Problem> {
        let number = number.parse().map_err(|_| Problem::not_found())?;
        self.known(OrderId(number))
    }

    fn known(&self, order: OrderId) -> Result<Order, Problem> {
        self.order(order).ok_or_else(Problem::not_found)
    }
}

/// What a request asks for cannot be had.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    what: String,
}

impl Problem {
    fn not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            what: "there is nothing here".to_owned(),
        }
    }

    fn unprocessable(error: impl ToString) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            what: error.to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsBody {
    tls: TlsChoice,
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem {
        status: StatusCode::BAD_REQUEST,
        what: error.to_string(),
    })
}

/// A plan as an object, or as the text of the command line.
fn fault_plan(body: &[u8]) -> Result<FaultPlan<Function>, Problem> {
    match parse(body)? {
        Value::String(text) => text.parse().map_err(Problem::unprocessable),
        _ => parse(body),
    }
}

fn names(names: &[Named]) -> Value {
    let shown = names
        .iter()
        .map(|one| json!({ "name": one.name, "value": one.value, "about": one.about }));
    shown.collect()
}

fn notification(received: &ReceivedNotification) -> Value {
    let installation = received.installation().map(|result| match result {
        FinalResult::SuccessResult(_) => json!({ "result": "success" }),
        FinalResult::ErrorResult(error) => json!({
            "result": "error",
            "bppCommandId": error.bpp_command_id.0,
            "errorReason": error.error_reason.0,
        }),
    });
    json!({
        "seqNumber": received.seq_number(),
        "event": received.event().map(|event| event.names().collect::<String>()),
        "iccid": received.iccid(),
        "installation": installation,
        "verdict": format!("{:?}", received.verdict),
        "sequence": format!("{:?}", received.sequence),
        "pendingNotification": BASE64_STANDARD.encode(&received.bytes),
    })
}

fn order(order: &Order) -> Value {
    json!({
        "id": order.id(),
        "state": order.state(),
        "matchingId": order.matching_id(),
        "eid": order.eid(),
        "iccid": order.profile().metadata.iccid,
        "profileName": order.profile().metadata.profile_name,
        "packageSize": order.profile().package.len(),
        "downloads": order.downloads(),
        "attempts": order.attempts(),
        "failure": order.failure().map(|failure| failure.code()),
    })
}
