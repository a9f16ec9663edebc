//! What an operator does with an order; whatever the order's state forbids changes nothing.

use sha2::{Digest, Sha256};

use super::{Failure, Order, OrderState};
use crate::rsp::status::StatusCode;
use crate::smdp::es2::Event;

/// What confirming adds to an order.
#[derive(Clone)]
pub(in crate::smdp) struct Confirmation {
    pub(in crate::smdp) eid: Option<String>,
    pub(in crate::smdp) matching_id: String,
    pub(in crate::smdp) confirmation_code: Option<String>,
    pub(in crate::smdp) smds_address: Option<String>,
}

impl Order {
    /// Moves an order that is being prepared one state on; false when it cannot go further.
    pub(in crate::smdp) fn prepare(&mut self) -> bool {
        self.state = match self.state {
            OrderState::Allocated | OrderState::Linked => OrderState::Confirmed,
            OrderState::Confirmed => OrderState::Released,
            _ => return false,
        };
        true
    }

    /// Confirms an order: from now on it is known how it is found.
    pub(in crate::smdp) fn complete(
        &mut self,
        confirmation: Confirmation,
    ) -> Result<(), StatusCode> {
        if !self.is_confirmable() {
            return Err(StatusCode::ICCID_IN_USE);
        }
        self.must_belong_to(confirmation.eid.as_deref())?;
        let eid = confirmation.eid.or_else(|| self.eid.clone());
        let needs_eid = confirmation.matching_id.is_empty() || confirmation.smds_address.is_some();
        if needs_eid && eid.is_none() {
            return Err(StatusCode::EID_MISSING);
        }
        self.eid = eid;
        self.matching_id = confirmation.matching_id;
        self.smds_address = confirmation.smds_address;
        if let Some(code) = confirmation.confirmation_code {
            self.confirmation_code_hash = Sha256::digest(code).to_vec();
        }
        self.state = OrderState::Confirmed;
        Ok(())
    }

    /// Whether the operator has not confirmed the order yet.
    pub(in crate::smdp) fn is_confirmable(&self) -> bool {
        matches!(self.state, OrderState::Allocated | OrderState::Linked)
    }

    /// What an SM-DS tells the eUICC of the order while it is released.
    pub(in crate::smdp) fn event(&self, host_name: &str) -> Option<Event> {
        Some(Event {
            smds_address: self.smds_address.clone()?,
            eid: self.eid.clone()?,
            rsp_server_address: host_name.to_owned(),
            event_id: self.matching_id.clone(),
        })
    }

    /// The operator had no profile to reserve.
    pub(in crate::smdp) fn could_not_be_reserved(&mut self, code: u32) {
        self.failure = Some(Failure::Reservation(code));
        self.state = OrderState::Error;
    }

    /// Releases a confirmed order, and no other.
    pub(in crate::smdp) fn release(&mut self) -> Result<(), StatusCode> {
        match self.state {
            OrderState::Confirmed => {
                self.state = OrderState::Released;
                Ok(())
            }
            _ => Err(StatusCode::ICCID_IN_WRONG_STATE),
        }
    }

    /// Cancels an order of which no package was handed out.
    pub(in crate::smdp) fn cancel(
        &mut self,
        eid: Option<&str>,
        matching_id: Option<&str>,
    ) -> Result<(), StatusCode> {
        match self.state {
            OrderState::Downloaded | OrderState::Installed => {
                return Err(StatusCode::ICCID_IN_USE);
            }
            OrderState::Unavailable => return Err(StatusCode::ICCID_IN_WRONG_STATE),
            _ => {}
        }
        self.must_belong_to(eid)?;
        if matching_id.is_some_and(|matching_id| matching_id != self.matching_id) {
            return Err(StatusCode::MATCHING_ID_MISMATCH);
        }
        self.state = OrderState::Unavailable;
        Ok(())
    }

    /// Withdraws an order that is not closed yet.
    pub(in crate::smdp) fn withdraw(&mut self) {
        if !self.state.is_closed() {
            self.state = OrderState::Unavailable;
        }
    }

    fn must_belong_to(&self, eid: Option<&str>) -> Result<(), StatusCode> {
        match (eid, &self.eid) {
            (Some(eid), Some(bound)) if eid != bound => Err(StatusCode::EID_MISMATCH),
            _ => Ok(()),
        }
    }
}
