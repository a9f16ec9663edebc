//! Named faults of the operator's API: what it does wrong on purpose.

use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::rsp::faults::Calls;

/// Something an operator's API can do wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReservationFault {
    /// `unauthorized`: answers 401 to right credentials.
    Unauthorized,
    /// `too-many-requests`: answers 429 with a Retry-After.
    TooManyRequests,
    /// `unavailable`: answers 503.
    Unavailable,
    /// `silence`: takes the request and says nothing.
    Silence,
    /// `fails` or `fails=CODE`: the profile cannot be reserved, and the reservation ends `failed`
    /// with this error_code.
    Fails(u32),
    /// `stuck`: the reservation stays `reserving` for good.
    Stuck,
}

impl ReservationFault {
    /// Whether it is about what becomes of a reservation, not about the answer to a request.
    fn is_later(self) -> bool {
        matches!(self, Self::Fails(_) | Self::Stuck)
    }
}

/// There is no fault of this name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is none of unauthorized, too-many-requests, unavailable, silence, fails, fails=CODE, stuck"
)]
pub struct UnknownReservationFault(String);

impl FromStr for ReservationFault {
    type Err = UnknownReservationFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownReservationFault(text.to_owned());
        Ok(match text {
            "unauthorized" => Self::Unauthorized,
            "too-many-requests" => Self::TooManyRequests,
            "unavailable" => Self::Unavailable,
            "silence" => Self::Silence,
            "fails" => Self::Fails(DEFAULT_ERROR_CODE),
            "stuck" => Self::Stuck,
            other => {
                let code = other.strip_prefix("fails=").ok_or_else(unknown)?;
                Self::Fails(code.parse().map_err(|_| unknown())?)
            }
        })
    }
}

/// A fault of the reservation API and when it comes: `NAME` always, `N:NAME` the n-th time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReservationFaultPlan {
    /// When.
    pub calls: Calls,
    /// What.
    pub fault: ReservationFault,
}

impl FromStr for ReservationFaultPlan {
    type Err = UnknownReservationFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbered = text
            .split_once(':')
            .and_then(|(number, name)| Some((number.parse().ok()?, name)));
        let (calls, name) = match numbered {
            Some((number, name)) => (Calls::Nth(number), name),
            None => (Calls::Every, text),
        };
        Ok(Self {
            calls,
            fault: name.parse()?,
        })
    }
}

impl<'de> Deserialize<'de> for ReservationFaultPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// The faults planned.
#[derive(Debug, Default)]
pub(in crate::smdp) struct ReservationFaults(Vec<(Calls, ReservationFault)>);

impl ReservationFaults {
    pub(in crate::smdp) fn plan(&mut self, calls: Calls, fault: ReservationFault) {
        self.0.push((calls, fault));
    }

    pub(in crate::smdp) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts a request: the first fault planned for it.
    pub(in crate::smdp) fn next_answer(&mut self) -> Option<ReservationFault> {
        self.next(false)
    }

    /// Counts a reservation: the first fault planned for it.
    pub(in crate::smdp) fn next_reservation(&mut self) -> Option<ReservationFault> {
        self.next(true)
    }

    fn next(&mut self, later: bool) -> Option<ReservationFault> {
        let mut due = None;
        self.0.retain_mut(|(calls, fault)| {
            if fault.is_later() != later {
                return true;
            }
            match calls {
                Calls::Every => {
                    due.get_or_insert(*fault);
                    true
                }
                Calls::Nth(0 | 1) => {
                    due.get_or_insert(*fault);
                    false
                }
                Calls::Nth(left) => {
                    *left -= 1;
                    true
                }
            }
        });
        due
    }
}

/// Of a reservation that fails and was given no other code.
const DEFAULT_ERROR_CODE: u32 = 22_001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found_by_name() {
        let found = |name: &str| name.parse::<ReservationFault>().unwrap();
        assert_eq!(found("stuck"), ReservationFault::Stuck);
        assert_eq!(found("fails"), ReservationFault::Fails(DEFAULT_ERROR_CODE));
        assert_eq!(found("fails=7"), ReservationFault::Fails(7));
        let error = "faults=x".parse::<ReservationFault>().unwrap_err();
        assert!(error.to_string().contains("too-many-requests"), "{error}");
    }

    #[test]
    fn a_fault_comes_always_or_the_time_that_is_named() {
        let plan = |text: &str| text.parse::<ReservationFaultPlan>();
        let (calls, fault) = (Calls::Nth(2), ReservationFault::Fails(7));
        assert_eq!(plan("2:fails=7"), Ok(ReservationFaultPlan { calls, fault }));
        assert_eq!(plan("stuck").unwrap().calls, Calls::Every);
        assert!(plan("x:stuck").is_err() && plan("2:").is_err());
    }

    #[test]
    fn a_fault_of_a_reservation_is_not_used_up_by_other_requests() {
        let mut faults = ReservationFaults::default();
        faults.plan(Calls::NEXT, ReservationFault::Stuck);
        faults.plan(Calls::Nth(2), ReservationFault::Silence);
        assert_eq!(faults.next_answer(), None);
        assert_eq!(faults.next_answer(), Some(ReservationFault::Silence));
        assert_eq!(faults.next_reservation(), Some(ReservationFault::Stuck));
        assert_eq!(faults.next_reservation(), None);
    }
}
