//! What the operator is told about an order's download.

use super::{Order, OrderId, StatusCode};

/// A step of a download an operator wants to hear of, with its notificationPointId.
///
/// SGP.22 v2.5 section 5.3.5.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::smdp) enum Point {
    /// The eUICC was found eligible or not, or the order was tried too often.
    Eligibility = 1,
    /// The confirmation code was missing or wrong.
    Confirmation = 2,
    /// The package was handed out.
    Download = 3,
    /// The eUICC sent the result of the installation.
    Installation = 4,
}

/// One step of a download.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::smdp) struct Progress {
    pub(in crate::smdp) order: OrderId,
    pub(in crate::smdp) point: Point,
    pub(in crate::smdp) eid: Option<String>,
    /// Why it failed, if it did.
    pub(in crate::smdp) failure: Option<StatusCode>,
    /// The notification with the eUICC's result, when there is one.
    pub(in crate::smdp) result: Vec<u8>,
    /// Seconds since 1970.
    pub(in crate::smdp) time: u64,
}

impl Order {
    pub(super) fn note(
        &mut self,
        point: Point,
        eid: Option<&str>,
        failure: Option<StatusCode>,
        result: &[u8],
    ) {
        self.progress.push(Progress {
            order: self.id,
            point,
            eid: eid.filter(|eid| !eid.is_empty()).map(str::to_owned),
            failure,
            result: result.to_vec(),
            time: self.clock.unix_seconds(),
        });
    }
}
