//! Reservations: an operator's view of the orders, in the shape of a public eSIM profile API.
//!
//! A reservation says little of its own: its status is what the state of its order means to the
//! customer, so it cannot disagree with what an eUICC reported.

use std::{fmt, time::SystemTime};

use hyper::Uri;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    order::{Order, OrderId, OrderRequest, OrderState, Orders, seconds},
    random,
};
use crate::profile::Profile;

/// What a customer asks to have reserved.
#[derive(Clone, Debug, Default)]
pub struct ReservationRequest {
    /// The eUICC to reserve for, 32 digits; `None` generates a matching ID any device may claim.
    pub eid: Option<String>,
    /// Whom to tell about changes of the status.
    pub callback: Option<Callback>,
}

/// Whom to tell about changes of a reservation's status, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Callback {
    /// An absolute URL; only plain HTTP ones are called.
    #[serde(with = "uri")]
    pub url: Uri,
    /// How to call it.
    pub method: CallbackMethod,
}

mod uri {
    use hyper::Uri;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(uri: &Uri, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(uri)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uri, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// The HTTP method of a callback.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum CallbackMethod {
    /// The fields travel in the query.
    Get,
    /// The fields travel in a form.
    #[default]
    Post,
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
    sim_sid: String,
    /// The order behind it.
    pub order: OrderId,
    /// Its status when it was last looked at.
    pub status: ReservationStatus,
    pub(super) callback: Option<Callback>,
    created: u64,
    updated: u64,
}

impl Reservation {
    /// The resource as the API shows it; fields that do not hold yet are null.
    pub(super) fn to_json(&self, order: &Order, context: &Context<'_>) -> Value {
        let reserved = !matches!(
            self.status,
            ReservationStatus::New | ReservationStatus::Reserving
        );
        let when = |holds: bool, value: &str| holds.then(|| value.to_owned());
        let by_code = reserved && !order.matching_id().is_empty();
        let host = context.host_name;
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
            "smdp_plus_address": when(reserved, host),
            "matching_id": when(by_code, order.matching_id()),
            "activation_code": when(by_code, &code),
            "error_code": failure.map(|failure| failure.code()),
            "error_message": failure.map(|failure| failure.to_string()),
            "date_created": iso_8601(self.created),
            "date_updated": iso_8601(self.updated),
            "url": format!("{}/v1/ESimProfiles/{}", context.base_url, self.sid),
        })
    }

    /// The fields of a callback, named like the parameters of the API.
    pub(super) fn callback_fields(&self, order: &Order, account_sid: &str) -> Vec<(&str, String)> {
        let eid = order.ordered_eid().unwrap_or_default().to_owned();
        vec![
            ("AccountSid", account_sid.to_owned()),
            ("ESimProfileSid", self.sid.clone()),
            ("Status", self.status.to_string()),
            ("Eid", eid),
            ("Iccid", order.profile().metadata.iccid.to_string()),
        ]
    }
}

/// What a resource needs to know about the server that shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) account_sid: &'a str,
    pub(super) host_name: &'a str,
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
    ) -> Reservation {
        let order = match request.eid {
            Some(eid) => OrderRequest::for_eid(profile, eid),
            None => OrderRequest::with_matching_id(profile, generated_matching_id()),
        };
        let now = seconds(SystemTime::now());
        let reservation = Reservation {
            sid: format!("HP{}", hex::encode(random::<16>())),
            sim_sid: format!("HS{}", hex::encode(random::<16>())),
            order: orders.create(OrderRequest {
                released: false,
                ..order
            }),
            status: ReservationStatus::New,
            callback: request.callback,
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

    /// Brings every status up to its order's state; gives the reservations that changed.
    pub(super) fn follow(&mut self, orders: &Orders) -> Vec<Reservation> {
        let now = seconds(SystemTime::now());
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
fn generated_matching_id() -> String {
    let digits = hex::encode_upper(random::<10>());
    [&digits[..5], &digits[5..10], &digits[10..15], &digits[15..]].join("-")
}

/// Seconds since 1970 as ISO 8601 in UTC.
fn iso_8601(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01 make the leap day the last day of a year; 400 years are 146 097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Iccid;

    const EID: &str = "89049032123451234512345678901235";
    const CONTEXT: Context<'_> = Context {
        account_sid: "AC00000000000000000000000000000000",
        host_name: "smdp.example.com",
        base_url: "http://127.0.0.1:8080",
    };

    fn reserved(eid: Option<&str>) -> (Orders, Reservations, String) {
        let (mut orders, mut reservations) = (Orders::default(), Reservations::default());
        let request = ReservationRequest {
            eid: eid.map(str::to_owned),
            callback: None,
        };
        let profile = Profile::builder(Iccid::nth(1)).build();
        let sid = reservations.create(&mut orders, request, profile).sid;
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
            assert_eq!(reservations.follow(&orders).len(), 1);
            assert_eq!(reservations.follow(&orders).len(), 0);
            assert_eq!(shown(&orders, &reservations, &sid)["status"], status);
        }
    }

    #[test]
    fn a_reservation_by_matching_id_shows_its_activation_code_once_available() {
        let (mut orders, mut reservations, sid) = reserved(None);
        let order = orders.all()[0].id();
        orders.get_mut(order).unwrap().state = OrderState::Released;
        reservations.follow(&orders);
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
        reservations.follow(&orders);
        let json = shown(&orders, &reservations, &sid);
        assert_eq!(json["status"], "failed");
        assert_eq!(json["error_code"], "installation-12");
    }

    #[test]
    fn dates_are_iso_8601() {
        assert_eq!(iso_8601(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_8601(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(iso_8601(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso_8601(1_795_363_198), "2026-11-22T15:59:58Z");
    }
}
