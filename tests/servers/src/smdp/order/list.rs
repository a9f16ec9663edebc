//! All orders of a server.

use serde::{Deserialize, Serialize};

use super::progress::Progress;
use super::{Order, OrderId, OrderRequest, OrderState};
use crate::clock::Clock;
use crate::rsp::status::StatusCode;
use crate::smdp::es2::Event;

/// All orders of a server.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(in crate::smdp) struct Orders {
    list: Vec<Order>,
    #[serde(skip, default = "Clock::system")]
    clock: Clock,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            clock: Clock::system(),
        }
    }
}

impl Orders {
    pub(in crate::smdp) fn create(&mut self, request: OrderRequest) -> OrderId {
        let id = OrderId(self.list.last().map_or(1, |last| last.id.0 + 1));
        self.list.push(Order::new(id, request, self.clock.clone()));
        id
    }

    /// Tells the time from now on.
    pub(in crate::smdp) fn set_clock(&mut self, clock: &Clock) {
        for order in &mut self.list {
            order.clock = clock.clone();
        }
        self.clock = clock.clone();
    }

    /// The steps orders took since this was asked last, the oldest first for each order.
    pub(in crate::smdp) fn take_progress(&mut self) -> Vec<Progress> {
        let orders = self.list.iter_mut();
        orders
            .flat_map(|order| std::mem::take(&mut order.progress))
            .collect()
    }

    /// The events of orders that are closed, which no eUICC needs to learn of any more.
    pub(in crate::smdp) fn take_ended_events(&mut self, host_name: &str) -> Vec<Event> {
        let ended = self.list.iter_mut();
        let ended = ended.filter(|order| order.has_event && order.state.is_closed());
        ended
            .filter_map(|order| {
                order.has_event = false;
                order.event(host_name)
            })
            .collect()
    }

    /// The newest order for a profile that was not cancelled.
    pub(in crate::smdp) fn of_iccid(&self, iccid: &str) -> Option<OrderId> {
        let orders = self.list.iter().rev();
        let mut orders = orders.filter(|order| order.state != OrderState::Unavailable);
        let order = orders.find(|order| order.profile.metadata.iccid.to_string() == iccid)?;
        Some(order.id)
    }

    /// Whether an order was or is found by this matching ID; the empty one finds by EID.
    pub(in crate::smdp) fn is_matching_id_used(&self, matching_id: &str) -> bool {
        let mut orders = self.list.iter();
        !matching_id.is_empty()
            && orders.any(|order| {
                order.matching_id == matching_id && order.state != OrderState::Unavailable
            })
    }

    pub(in crate::smdp) fn all(&self) -> &[Order] {
        &self.list
    }

    pub(in crate::smdp) fn get(&self, id: OrderId) -> Option<&Order> {
        self.list.iter().find(|order| order.id == id)
    }

    pub(in crate::smdp) fn get_mut(&mut self, id: OrderId) -> Option<&mut Order> {
        self.list.iter_mut().find(|order| order.id == id)
    }

    /// The order a session was for, by its transaction ID.
    pub(in crate::smdp) fn of_transaction(&mut self, transaction_id: &[u8]) -> Option<&mut Order> {
        self.list.iter_mut().find(|order| {
            order
                .deliveries
                .iter()
                .any(|delivery| delivery.transaction_id == transaction_id)
        })
    }

    /// Finds the order an eUICC asks for.
    ///
    /// An empty matching ID finds what was ordered for the EID, whether it has a matching ID too
    /// or not. Closed orders are no longer found; among several the first one that can be
    /// downloaded is taken.
    pub(in crate::smdp) fn find(
        &mut self,
        matching_id: &str,
        eid: &str,
    ) -> Result<&mut Order, StatusCode> {
        let open = self
            .list
            .iter_mut()
            .filter(|order| !order.state.is_closed());
        if !matching_id.is_empty() {
            return open
                .filter(|order| order.matching_id == matching_id)
                .min_by_key(|order| !order.state.is_deliverable())
                .ok_or(StatusCode::MATCHING_ID_REFUSED);
        }
        let (mine, others): (Vec<_>, Vec<_>) = open
            .filter(|order| order.eid.is_some())
            .partition(|order| order.eid.as_deref() == Some(eid));
        let refused = match others.as_slice() {
            [] => StatusCode::MATCHING_ID_REFUSED,
            _ => StatusCode::EID_REFUSED,
        };
        mine.into_iter()
            .min_by_key(|order| !order.state.is_deliverable())
            .ok_or(refused)
    }
}
