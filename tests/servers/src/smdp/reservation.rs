//! Reservations: an operator's view of the orders, in the shape of a public eSIM profile API.
//!
//! A reservation says little of its own: its status is what the state of its order means to the
//! customer, so it cannot disagree with what an eUICC reported.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::callback::{Call, Callback};
use super::date::iso_8601;
use super::order::{Failure, Order, OrderId, OrderRequest, OrderState, Orders};
use super::sims::Sims;
use crate::profile::Profile;
use crate::rsp::random;

mod faults;

pub(super) use self::faults::ReservationFaults;
pub use self::faults::{ReservationFault, ReservationFaultPlan, UnknownReservationFault};

/// What a customer asks to have reserved.
#[derive(Clone, Debug, Default)]
pub struct ReservationRequest {
    /// The eUICC to reserve for, 32 digits; `None` generates a matching ID any device may claim.
    pub eid: Option<String>,
    /// Where changes of the status are told.
    pub callback: Option<Callback>,
}

/// The status of a reservation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReservationStatus {
    /// The request was accepted.
    New,
    /// The profile is being reserved at the SM-DP+.
    Reserving,
    /// The profile can be downloaded.
    Available,
    /// An eUICC fetched the package.
    Downloaded,
    /// The eUICC reported success.
    Installed,
    /// It will not be installed any more.
    Failed,
}

impl ReservationStatus {
    /// What the state of an order means to the customer.
    fn of(state: OrderState) -> Self {
        match state {
            OrderState::Allocated | OrderState::Linked => Self::New,
            OrderState::Confirmed => Self::Reserving,
            OrderState::Released => Self::Available,
            OrderState::Downloaded => Self::Downloaded,
            OrderState::Installed => Self::Installed,
            OrderState::Error | OrderState::Unavailable => Self::Failed,
        }
    }

    /// The word used for it in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Reserving => "reserving",
            Self::Available => "available",
            Self::Downloaded => "downloaded",
            Self::Installed => "installed",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for ReservationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One reservation.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Reservation {
    /// Its identifier, `HP` and 32 hexadecimal digits.
    pub sid: String,
    /// The Sim resource the profile will control, `HS` and 32 hexadecimal digits.
    pub(super) sim_sid: String,
    /// The order behind it.
    pub order: OrderId,
    /// Its status when it was last looked at.
    pub status: ReservationStatus,
    pub(super) callback: Option<Callback>,
    #[serde(default)]
    outcome: Outcome,
    created: u64,
    updated: u64,
}

/// What becomes of a reservation that is being prepared.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
enum Outcome {
    #[default]
    Available,
    Fails(u32),
    Stuck,
}

impl Reservation {
    /// The resource as the API shows it; fields that do not hold yet are null.
    pub(super) fn to_json(&self, order: &Order, context: &Context<'_>) -> Value {
        let reserved = !matches!(
            self.status,
            ReservationStatus::New | ReservationStatus::Reserving
        ) && !matches!(order.failure(), Some(Failure::Reservation(_)));
        let when = |holds: bool, value: &str| holds.then(|| value.to_owned());
        let by_code = reserved && !order.matching_id().is_empty();
        let host = context.host_name;
        let address = match context.address_as_url {
            true => format!("https://{host}"),
            false => host.to_owned(),
        };
        let code = format!("LPA:1${host}${}", order.matching_id());
        let failure = order
            .failure()
            .filter(|_| self.status == ReservationStatus::Failed);
        json!({
            "sid": self.sid,
            "account_sid": context.account_sid,
            "iccid": when(reserved, &order.profile().metadata.iccid.to_string()),
            "sim_sid": when(reserved, &self.sim_sid),
            "status": self.status,
            "eid": order.ordered_eid(),
            "smdp_plus_address": when(reserved, &address),
            "matching_id": when(by_code, order.matching_id()),
            "activation_code": when(by_code, &code),
            "error_code": failure.map(|failure| failure.code()),
            "error_message": failure.map(|failure| failure.to_string()),
            "date_created": iso_8601(self.created),
            "date_updated": iso_8601(self.updated),
            "url": format!("{}/v1/ESimProfiles/{}", context.base_url, self.sid),
        })
    }

    /// Makes the Sim the profile will control, once there is such a profile.
    pub(super) fn provide_sim(&self, order: &Order, sims: &mut Sims, now: u64) {
        use ReservationStatus::{Failed, New, Reserving};
        if !matches!(self.status, New | Reserving | Failed) {
            let iccid = order.profile().metadata.iccid.to_string();
            sims.add(&self.sim_sid, iccid, now);
        }
    }

    /// The call that tells the customer of the status, when it wants to hear of it.
    ///
    /// The steps before `available` are not told: nothing can be done with them.
    pub(super) fn call(&self, order: &Order, account_sid: &str) -> Option<Call> {
        use ReservationStatus::{New, Reserving};
        if matches!(self.status, New | Reserving) {
            return None;
        }
        let callback = self.callback.clone()?;
        Some(callback.call(&self.callback_fields(order, account_sid)))
    }

    /// The fields of a callback; their names are not documented anywhere.
    fn callback_fields(&self, order: &Order, account_sid: &str) -> Vec<(&str, String)> {
        let eid = order.ordered_eid().unwrap_or_default().to_owned();
        vec![
            ("AccountSid", account_sid.to_owned()),
            ("ESimProfileSid", self.sid.clone()),
            ("Status", self.status.to_string()),
            ("Eid", eid),
            ("SimSid", self.sim_sid.clone()),
            ("Iccid", order.profile().metadata.iccid.to_string()),
        ]
    }
}

/// What a resource needs to know about the server that shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) account_sid: &'a str,
    pub(super) host_name: &'a str,
    pub(super) address_as_url: bool,
    pub(super) base_url: &'a str,
}

/// All reservations, the oldest first.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Reservations(Vec<Reservation>);

impl Reservations {
    /// Accepts a request: its order exists from now on but is not released.
    pub(super) fn create(
        &mut self,
        orders: &mut Orders,
        request: ReservationRequest,
        profile: Profile,
        fault: Option<ReservationFault>,
        now: u64,
    ) -> Reservation {
        let order = match request.eid {
            Some(eid) => OrderRequest::for_eid(profile, eid),
            None => OrderRequest::with_matching_id(profile, generated_matching_id()),
        };
        let reservation = Reservation {
            sid: format!("HP{}", hex::encode(random::<16>())),
            sim_sid: format!("HS{}", hex::encode(random::<16>())),
            order: orders.create(OrderRequest {
                released: false,
                ..order
            }),
            status: ReservationStatus::New,
            callback: request.callback,
            outcome: match fault {
                Some(ReservationFault::Fails(code)) => Outcome::Fails(code),
                Some(ReservationFault::Stuck) => Outcome::Stuck,
                _ => Outcome::Available,
            },
            created: now,
            updated: now,
        };
        self.0.push(reservation.clone());
        reservation
    }

    pub(super) fn all(&self) -> &[Reservation] {
        &self.0
    }

    pub(super) fn get(&self, sid: &str) -> Option<&Reservation> {
        self.0.iter().find(|reservation| reservation.sid == sid)
    }

    /// Moves the preparation of a reservation one step on; false when it is over.
    pub(super) fn prepare(&self, orders: &mut Orders, sid: &str) -> bool {
        let Some(reservation) = self.get(sid) else {
            return false;
        };
        let Some(order) = orders.get_mut(reservation.order) else {
            return false;
        };
        match (order.state(), reservation.outcome) {
            (OrderState::Confirmed, Outcome::Stuck) => false,
            (OrderState::Confirmed, Outcome::Fails(code)) => {
                order.could_not_be_reserved(code);
                false
            }
            _ => order.prepare(),
        }
    }

    /// Brings every status up to its order's state; gives the reservations that changed.
    pub(super) fn follow(&mut self, orders: &Orders, now: u64) -> Vec<Reservation> {
        let mut changed = Vec::new();
        for reservation in &mut self.0 {
            let Some(order) = orders.get(reservation.order) else {
                continue;
            };
            let status = ReservationStatus::of(order.state());
            if status != reservation.status {
                reservation.status = status;
                reservation.updated = now;
                changed.push(reservation.clone());
            }
        }
        changed
    }
}

/// A matching ID of the recommended characters: upper-case letters, digits and hyphens.
pub(super) fn generated_matching_id() -> String {
    let digits = hex::encode_upper(random::<10>());
    [&digits[..5], &digits[5..10], &digits[10..15], &digits[15..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Iccid;

    const EID: &str = "89049032123451234512345678901235";
    const CONTEXT: Context<'_> = Context {
        account_sid: "AC00000000000000000000000000000000",
        host_name: "smdp.example.com",
        address_as_url: false,
        base_url: "http://127.0.0.1:8080",
    };

    fn reserved(eid: Option<&str>) -> (Orders, Reservations, String) {
        let (mut orders, mut reservations) = (Orders::default(), Reservations::default());
        let request = ReservationRequest {
            eid: eid.map(str::to_owned),
            callback: None,
        };
        let profile = Profile::builder(Iccid::nth(1)).build();
        let sid = reservations
            .create(&mut orders, request, profile, None, 0)
            .sid;
        (orders, reservations, sid)
    }

    fn shown(orders: &Orders, reservations: &Reservations, sid: &str) -> Value {
        let reservation = reservations.get(sid).unwrap();
        reservation.to_json(orders.get(reservation.order).unwrap(), &CONTEXT)
    }

    #[test]
    fn a_new_reservation_shows_nothing_that_does_not_hold_yet() {
        let (orders, reservations, sid) = reserved(Some(EID));
        let json = shown(&orders, &reservations, &sid);
        assert_eq!(json["status"], "new");
        assert_eq!(json["eid"], EID);
        for field in [
            "iccid",
            "sim_sid",
            "smdp_plus_address",
            "matching_id",
            "activation_code",
        ] {
            assert!(json[field].is_null(), "{field}");
        }
    }

    #[test]
    fn the_status_follows_the_order() {
        let (mut orders, mut reservations, sid) = reserved(None);
        let order = orders.all()[0].id();
        for (state, status) in [
            (OrderState::Confirmed, "reserving"),
            (OrderState::Released, "available"),
            (OrderState::Downloaded, "downloaded"),
            (OrderState::Installed, "installed"),
        ] {
            orders.get_mut(order).unwrap().state = state;
            assert_eq!(reservations.follow(&orders, 0).len(), 1);
            assert_eq!(reservations.follow(&orders, 0).len(), 0);
            assert_eq!(shown(&orders, &reservations, &sid)["status"], status);
        }
    }

    #[test]
    fn a_reservation_by_matching_id_shows_its_activation_code_once_available() {
        let (mut orders, mut reservations, sid) = reserved(None);
        let order = orders.all()[0].id();
        orders.get_mut(order).unwrap().state = OrderState::Released;
        reservations.follow(&orders, 0);
        let json = shown(&orders, &reservations, &sid);
        let matching_id = json["matching_id"].as_str().unwrap();
        assert_eq!(
            json["activation_code"],
            format!("LPA:1$smdp.example.com${matching_id}")
        );
        assert!(json["eid"].is_null());
    }

    #[test]
    fn a_failed_reservation_says_why() {
        let (mut orders, mut reservations, sid) = reserved(Some(EID));
        let order = orders.all()[0].id();
        orders.get_mut(order).unwrap().failed(12);
        reservations.follow(&orders, 0);
        let json = shown(&orders, &reservations, &sid);
        assert_eq!(json["status"], "failed");
        assert_eq!(json["error_code"], "installation-12");
    }
}
