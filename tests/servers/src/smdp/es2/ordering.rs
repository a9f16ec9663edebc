//! The four functions an operator calls.
//!
//! SGP.22 v2.5 sections 5.3.1 to 5.3.4.

use serde_json::{Value, json};

use super::events::{Event, EventError, EventRegistrar};
use super::request::Request;
use super::stock::Wanted;
use crate::rsp::fields::Members;
use crate::rsp::status::StatusCode;
use crate::smdp::order::{Confirmation, Order, OrderId, OrderState};
use crate::smdp::store::State;
use crate::smdp::{Smdp, reservation};

/// A function of ES2+ that an operator calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::smdp) enum Function {
    DownloadOrder,
    ConfirmOrder,
    CancelOrder,
    ReleaseProfile,
}

impl Function {
    /// The function behind a path.
    pub(in crate::smdp) fn of_path(path: &str) -> Option<Self> {
        match path.strip_prefix(super::PATH)? {
            "downloadOrder" => Some(Self::DownloadOrder),
            "confirmOrder" => Some(Self::ConfirmOrder),
            "cancelOrder" => Some(Self::CancelOrder),
            "releaseProfile" => Some(Self::ReleaseProfile),
            _ => None,
        }
    }
}

impl Smdp {
    /// Executes a function; what is refused changes nothing.
    pub(in crate::smdp) async fn execute_es2(
        &self,
        function: Function,
        request: &Value,
    ) -> Result<Members, StatusCode> {
        let request = Request::read(request)?;
        let result = match function {
            Function::DownloadOrder => self.download_order(&request),
            Function::ConfirmOrder => self.confirm_order(&request).await,
            Function::CancelOrder => self.cancel_order(&request),
            Function::ReleaseProfile => self.release_profile(&request).await,
        };
        match &result {
            Ok(_) => tracing::info!(?function, requester = request.requester, "ES2+"),
            Err(status) => {
                tracing::info!(?function, requester = request.requester, %status, "ES2+ refused");
            }
        }
        result
    }

    fn download_order(&self, request: &Request<'_>) -> Result<Members, StatusCode> {
        let eid = request.eid()?;
        let wanted = match (request.optional_iccid()?, request.optional("profileType")?) {
            (None, None) => return Err(StatusCode::MISSING_INPUT),
            (Some(iccid), None) => Wanted::Iccid(iccid),
            (None, Some(name)) => Wanted::ProfileType(name),
            (Some(iccid), Some(name)) => {
                let state = self.state();
                if state.stock.profile_type(iccid).is_some_and(|is| is != name) {
                    return Err(StatusCode::INVALID_INPUT);
                }
                Wanted::Iccid(iccid)
            }
        };
        let iccid = self.update(|state| {
            let State { stock, orders, .. } = state;
            stock.order(orders, request.requester, &wanted, eid)
        })?;
        Ok(members(json!({ "iccid": iccid })))
    }

    async fn confirm_order(&self, request: &Request<'_>) -> Result<Members, StatusCode> {
        let iccid = request.iccid()?;
        let release = request.flag("releaseFlag")?;
        let matching_id = match request.matching_id()? {
            Some(matching_id) => matching_id.to_owned(),
            None => reservation::generated_matching_id(),
        };
        let smds_address = request.optional("smdsAddress")?;
        if smds_address.is_some() && matching_id.is_empty() {
            // An event is named by the matching ID.
            return Err(StatusCode::INVALID_INPUT);
        }
        let confirmation = Confirmation {
            eid: request.eid()?.map(str::to_owned),
            matching_id,
            confirmation_code: request.optional("confirmationCode")?.map(str::to_owned),
            smds_address: smds_address.map(str::to_owned),
        };
        let change = |order: &mut Order| {
            order.complete(confirmation.clone())?;
            match release {
                true => order.release(),
                false => Ok(()),
            }
        };
        let order = self.order_of(iccid, |state| {
            let matching_id = &confirmation.matching_id;
            match state.orders.is_matching_id_used(matching_id) {
                true => Err(StatusCode::MATCHING_ID_IN_USE),
                false => Ok(()),
            }
        })?;
        let order = self.change_with_event(order, change).await?;
        Ok(members(json!({
            "eid": order.ordered_eid(),
            "matchingId": order.matching_id(),
            "smdpAddress": self.config().host_name,
        })))
    }

    fn cancel_order(&self, request: &Request<'_>) -> Result<Members, StatusCode> {
        let iccid = request.iccid()?;
        let (eid, matching_id) = (request.eid()?, request.matching_id()?);
        let available = match request.text("finalProfileStatusIndicator")? {
            "Available" => true,
            "Unavailable" => false,
            _ => return Err(StatusCode::INVALID_INPUT),
        };
        self.update(|state| {
            let id = order_of(state, iccid, StatusCode::ICCID_IN_WRONG_STATE)?;
            if let Some(order) = state.orders.get_mut(id) {
                order.cancel(eid, matching_id)?;
            }
            state.stock.cancelled(id, available);
            Ok(Members::new())
        })
    }

    async fn release_profile(&self, request: &Request<'_>) -> Result<Members, StatusCode> {
        let iccid = request.iccid()?;
        let state = || order_of(&self.state(), iccid, StatusCode::ICCID_IN_WRONG_STATE);
        let order = state()?;
        self.change_with_event(order, Order::release).await?;
        Ok(Members::new())
    }

    fn order_of(
        &self,
        iccid: &str,
        check: impl FnOnce(&State) -> Result<(), StatusCode>,
    ) -> Result<OrderId, StatusCode> {
        let state = self.state();
        let order = order_of(&state, iccid, StatusCode::ICCID_UNKNOWN)?;
        if state.orders.get(order).is_some_and(Order::is_confirmable) {
            check(&state)?;
        }
        Ok(order)
    }

    /// Changes an order; when that releases one an SM-DS shall know of, only once it does.
    async fn change_with_event(
        &self,
        id: OrderId,
        change: impl Fn(&mut Order) -> Result<(), StatusCode>,
    ) -> Result<Order, StatusCode> {
        let mut draft = self.order(id).ok_or(StatusCode::ICCID_UNKNOWN)?;
        change(&mut draft)?;
        let is_released = draft.state() == OrderState::Released;
        let event = draft
            .event(&self.config().host_name)
            .filter(|_| is_released);
        if let Some(event) = event.clone() {
            self.register(event).await?;
        }
        let changed = self.update(|state| {
            let order = state.orders.get_mut(id).ok_or(StatusCode::ICCID_UNKNOWN)?;
            change(order)?;
            order.has_event = event.is_some();
            Ok(order.clone())
        });
        if let (Err(_), Some(event)) = (&changed, event) {
            self.forget(event);
        }
        changed
    }

    async fn register(&self, event: Event) -> Result<(), StatusCode> {
        let registered = match &self.config().event_registrar {
            None => Err(EventError::Inaccessible),
            Some(registrar) => {
                let registration = registrar.register(event);
                tokio::time::timeout(super::SMDS_DEADLINE, registration)
                    .await
                    .unwrap_or(Err(EventError::Inaccessible))
            }
        };
        registered.map_err(|error| match error {
            EventError::Inaccessible => StatusCode::SMDS_INACCESSIBLE,
            EventError::Refused => StatusCode::SMDS_FAILED,
        })
    }

    /// Makes the SM-DS forget an event, without waiting for it.
    pub(in crate::smdp) fn forget(&self, event: Event) {
        let registrar = self.config().event_registrar.clone();
        if let (Some(registrar), Ok(runtime)) = (registrar, tokio::runtime::Handle::try_current()) {
            runtime.spawn(delete(registrar, event));
        }
    }
}

async fn delete(registrar: std::sync::Arc<dyn EventRegistrar>, event: Event) {
    let deletion = registrar.delete(event);
    let deleted = tokio::time::timeout(super::SMDS_DEADLINE, deletion).await;
    if let Err(error) = deleted.unwrap_or(Err(EventError::Inaccessible)) {
        tracing::warn!(%error, "an event could not be deleted");
    }
}

/// The newest order for a profile; `without` is said of one in stock that was not ordered.
fn order_of(state: &State, iccid: &str, without: StatusCode) -> Result<OrderId, StatusCode> {
    match state.orders.of_iccid(iccid) {
        Some(order) => Ok(order),
        None if state.stock.knows(iccid) => Err(without),
        None => Err(StatusCode::ICCID_UNKNOWN),
    }
}

/// The members of an object that are not null.
fn members(object: Value) -> Members {
    match object {
        Value::Object(mut members) => {
            members.retain(|_, value| !value.is_null());
            members
        }
        _ => Members::new(),
    }
}
